#include "common/fs_posix.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/common/fs_contract.h"

enum { SYNCS = 100 };

struct disk {
    struct ria_loop *loop;
    struct ria_fs *fs;
    char dir[256];
};

static void disk_init(struct disk *disk)
{
    harness_tmpdir(disk->dir, sizeof(disk->dir));
    CU_ASSERT_EQUAL_FATAL(ria_loop_new(&disk->loop), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_posix_new(disk->loop, 3, &disk->fs), RIA_OK);
}

static void disk_fini(struct disk *disk)
{
    ria_fs_posix_free(disk->fs);
    ria_loop_free(disk->loop);
}

static void run_check(void (*check)(struct ria_fs *fs, const char *dir))
{
    struct disk disk;

    disk_init(&disk);
    check(disk.fs, disk.dir);
    disk_fini(&disk);
}

static void open_flags(void)
{
    run_check(fs_check_open_flags);
}

static void read_write(void)
{
    run_check(fs_check_read_write);
}

static void list_is_in_name_order(void)
{
    run_check(fs_check_list);
}

static void names(void)
{
    run_check(fs_check_names);
}

static void unlinked_file_stays_usable(void)
{
    run_check(fs_check_unlinked_file_stays_usable);
}

static void lock_is_exclusive(void)
{
    run_check(fs_check_lock);
}

static void replace_and_read_all(void)
{
    run_check(fs_check_replace_and_read_all);
}

static void free_bytes(void)
{
    run_check(fs_check_free_bytes);
}

static void create_does_not_follow_a_link(void)
{
    struct disk disk;
    struct ria_file *file = NULL;
    unsigned flags = RIA_FS_WRITE | RIA_FS_CREATE;

    disk_init(&disk);
    struct fs_path target = fs_path(disk.dir, "target");
    struct fs_path link_path = fs_path(disk.dir, "link");
    CU_ASSERT_EQUAL_FATAL(symlink(target.text, link_path.text), 0);
    CU_ASSERT_EQUAL(ria_fs_open(disk.fs, link_path.text, flags, &file), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_lock(disk.fs, link_path.text, &file), RIA_ERR_IO);
    CU_ASSERT_FALSE(fs_exists(disk.fs, target.text));
    disk_fini(&disk);
}

struct sync_test {
    struct ria_fs_sync sync;
    pthread_t thread; /* that done ran on */
    size_t *done_count;
    bool *all_done;
    bool done;
};

static void sync_done(struct ria_fs_sync *sync)
{
    struct sync_test *test = RIA_CONTAINER(sync, struct sync_test, sync);

    test->done = true;
    test->thread = pthread_self();
    *test->all_done = ++*test->done_count == SYNCS;
}

static void every_sync_calls_back_once_on_the_loop(void)
{
    static struct sync_test tests[SYNCS];
    struct disk disk;
    struct ria_file *file = NULL;
    size_t done_count = 0;
    bool all_done = false;

    disk_init(&disk);
    struct fs_path path = fs_path(disk.dir, "a");
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(disk.fs, path.text, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK
    );
    for (size_t i = 0; i < SYNCS; i++) {
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "x", 1, i), RIA_OK);
        tests[i] = (struct sync_test){
            .sync = {.done = sync_done, .result = RIA_ERR_IO, .with_dir = i % 2 == 0},
            .done_count = &done_count,
            .all_done = &all_done,
        };
        ria_fs_sync_start(file, &tests[i].sync);
    }
    CU_ASSERT_EQUAL(done_count, 0); /* never from inside sync_start */
    ria_loop_run_until(disk.loop, &all_done, 30000);
    CU_ASSERT_EQUAL(done_count, SYNCS);
    for (size_t i = 0; i < SYNCS; i++) {
        CU_ASSERT_TRUE(tests[i].done);
        CU_ASSERT_EQUAL(tests[i].sync.result, RIA_OK);
        CU_ASSERT_TRUE(pthread_equal(tests[i].thread, pthread_self()));
    }
    ria_fs_close(file);
    disk_fini(&disk);
}

static void failed_sync_fails_all_later_ones(void)
{
    struct disk disk;
    struct ria_file *file = NULL;
    size_t done_count = SYNCS - 1;
    bool done = false;

    disk_init(&disk);
    CU_ASSERT_EQUAL_FATAL(ria_fs_mkdir(disk.fs, fs_path(disk.dir, "sub").text), RIA_OK);
    struct fs_path path = fs_path(disk.dir, "sub/a");
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(disk.fs, path.text, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK
    );
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    /* The folder to sync is not there any more. */
    CU_ASSERT_EQUAL(ria_fs_unlink(disk.fs, path.text), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_rmdir(disk.fs, fs_path(disk.dir, "sub").text), RIA_OK);
    struct sync_test test = {
        .sync = {.done = sync_done, .with_dir = true},
        .done_count = &done_count,
        .all_done = &done,
    };
    ria_fs_sync_start(file, &test.sync);
    ria_loop_run_until(disk.loop, &done, 30000);
    CU_ASSERT_EQUAL(test.sync.result, RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_ERR_NOT_FOUND);
    ria_fs_close(file);
    disk_fini(&disk);
}

static void reads_in_the_pool_bring_what_is_there(void)
{
    struct disk disk;
    struct ria_file *file = NULL;
    size_t done_count = SYNCS - 1;
    char data[16] = "................";
    bool done = false;

    disk_init(&disk);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(disk.fs, fs_path(disk.dir, "a").text, RIA_FS_WRITE | RIA_FS_CREATE, &file),
        RIA_OK
    );
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "0123456789", 10, 0), RIA_OK);
    struct sync_test test = {
        .sync = {.done = sync_done},
        .done_count = &done_count,
        .all_done = &done,
    };
    ria_fs_read_start(file, &test.sync, data, 8, 4);
    CU_ASSERT_FALSE(done); /* never from inside */
    ria_loop_run_until(disk.loop, &done, 30000);
    CU_ASSERT_EQUAL(test.sync.result, RIA_OK);
    CU_ASSERT_EQUAL(test.sync.got, 6); /* the end of the file */
    CU_ASSERT_EQUAL(memcmp(data, "456789..", 8), 0);
    ria_fs_close(file);
    disk_fini(&disk);
}

static void free_waits_for_syncs_and_drops_their_callbacks(void)
{
    static struct sync_test tests[SYNCS];
    struct disk disk;
    struct ria_file *file = NULL;
    size_t done_count = 0;
    bool done = false;

    disk_init(&disk);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(disk.fs, fs_path(disk.dir, "a").text, RIA_FS_WRITE | RIA_FS_CREATE, &file),
        RIA_OK
    );
    for (size_t i = 0; i < SYNCS; i++) {
        tests[i] = (struct sync_test){
            .sync = {.done = sync_done},
            .done_count = &done_count,
            .all_done = &done,
        };
        ria_fs_sync_start(file, &tests[i].sync);
    }
    struct ria_fs only_ops = *disk.fs;
    ria_fs_posix_free(disk.fs);
    ria_loop_run_until(disk.loop, &done, 10);
    CU_ASSERT_EQUAL(done_count, 0);
    file->fs = &only_ops; /* close finds its way without the file system that is gone */
    ria_fs_close(file);
    ria_fs_posix_free(NULL);
    ria_loop_free(disk.loop);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(open_flags),
    HARNESS_TEST(read_write),
    HARNESS_TEST(list_is_in_name_order),
    HARNESS_TEST(names),
    HARNESS_TEST(unlinked_file_stays_usable),
    HARNESS_TEST(lock_is_exclusive),
    HARNESS_TEST(replace_and_read_all),
    HARNESS_TEST(free_bytes),
    HARNESS_TEST(create_does_not_follow_a_link),
    HARNESS_TEST(every_sync_calls_back_once_on_the_loop),
    HARNESS_TEST(failed_sync_fails_all_later_ones),
    HARNESS_TEST(reads_in_the_pool_bring_what_is_there),
    HARNESS_TEST(free_waits_for_syncs_and_drops_their_callbacks),
};

HARNESS_MAIN(tests);
