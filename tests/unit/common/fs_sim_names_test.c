/* Names of files and folders at a crash of the simulated disk. */
#include "common/fs_sim.h"
#include "common/map.h"

#include "tests/unit/common/fs_sim_disk.h"

enum { SEEDS = 200 };

static void new_name_is_durable_only_with_its_folder(void)
{
    bool lost = false, kept = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        struct fs_sim_disk_sync test = {.sync = {.done = fs_sim_disk_synced, .with_dir = true}};
        fs_sim_disk_init(&disk, seed);
        struct ria_file *a = fs_sim_disk_open_new(&disk, "d/a");
        struct ria_file *b = fs_sim_disk_open_new(&disk, "d/b");
        CU_ASSERT_EQUAL(ria_fs_pwrite(a, "a", 1, 0), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(a), RIA_OK);
        if (seed % 2 == 0) {
            ria_fs_sync_start(b, &test.sync);
            fs_sim_disk_advance(&disk, 0);
        }
        ria_fs_sim_crash(disk.fs, true);
        bool exists = fs_exists(disk.fs, "d/a");
        CU_ASSERT_TRUE(exists ? fs_file_holds(disk.fs, "d/a", "a") : seed % 2 == 1);
        CU_ASSERT_TRUE(seed % 2 == 1 || fs_exists(disk.fs, "d/b"));
        lost = lost || !exists;
        kept = kept || (seed % 2 == 1 && exists);
        ria_fs_close(a);
        ria_fs_close(b);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(lost && kept);
}

static void lost_folder_takes_its_files_along(void)
{
    bool lost = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        CU_ASSERT_EQUAL(ria_fs_mkdir(disk.fs, "d/sub"), RIA_OK);
        struct ria_file *file = fs_sim_disk_open_new(&disk, "d/sub/a");
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "d/sub"), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        struct fs_listing all = {.left = SIZE_MAX};
        CU_ASSERT_EQUAL(ria_fs_list(disk.fs, "d", fs_list_one, &all), RIA_OK);
        bool exists = fs_exists(disk.fs, "d/sub/a");
        CU_ASSERT_STRING_EQUAL(all.text, exists ? "sub/ " : "");
        lost = lost || !exists;
        CU_ASSERT_EQUAL(ria_fs_mkdir(disk.fs, "d/sub"), exists ? RIA_ERR_EXISTS : RIA_OK);
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(lost);
}

static void removal_may_be_undone_until_the_folder_is_synced(void)
{
    bool back = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        ria_fs_close(fs_sim_disk_open_durable(&disk, "d/a", "content"));
        CU_ASSERT_EQUAL(ria_fs_unlink(disk.fs, "d/a"), RIA_OK);
        if (seed % 2 == 0) {
            CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "d"), RIA_OK);
        }
        ria_fs_sim_crash(disk.fs, true);
        bool exists = fs_exists(disk.fs, "d/a");
        CU_ASSERT_TRUE(!exists || (seed % 2 == 1 && fs_file_holds(disk.fs, "d/a", "content")));
        back = back || exists;
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(back);
}

/* All of ria_fs_replace() but the last step. */
static void rename_without_sync_leaves_old_or_new(void)
{
    bool old = false, new = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        ria_fs_close(fs_sim_disk_open_durable(&disk, "d/a", "old"));
        struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a.tmp");
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "new", 3, 0), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
        ria_fs_close(file);
        CU_ASSERT_EQUAL(ria_fs_rename(disk.fs, "d/a.tmp", "d/a"), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        bool is_new = fs_file_holds(disk.fs, "d/a", "new");
        CU_ASSERT_TRUE(is_new || fs_file_holds(disk.fs, "d/a", "old"));
        CU_ASSERT_FALSE(is_new && fs_exists(disk.fs, "d/a.tmp"));
        old = old || !is_new;
        new = new || is_new;
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(old && new);
}

static void replaced_file_is_durable(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        CU_ASSERT_EQUAL(ria_fs_replace(disk.fs, "d/a", "old", 3), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_replace(disk.fs, "d/a", "new", 3), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "new"));
        fs_sim_disk_fini(&disk);
    }
}

/* Rotation: the old file moves away, a new one takes its name. The old content is never lost. */
static void name_is_not_taken_from_a_file_that_did_not_move(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        ria_fs_close(fs_sim_disk_open_durable(&disk, "d/a", "old"));
        CU_ASSERT_EQUAL(ria_fs_rename(disk.fs, "d/a", "d/b"), RIA_OK);
        fs_write_file(disk.fs, "d/a", "new");
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_TRUE(
            fs_file_holds(disk.fs, "d/a", "old") || fs_file_holds(disk.fs, "d/b", "old")
        );
        fs_sim_disk_fini(&disk);
    }
}

static void sync_of_one_folder_moves_a_file_whole(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        CU_ASSERT_EQUAL(ria_fs_mkdir(disk.fs, "e"), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "."), RIA_OK);
        struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a");
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
        ria_fs_close(file);
        CU_ASSERT_EQUAL(ria_fs_rename(disk.fs, "d/a", "e/a"), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "e"), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "d"), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_FALSE(fs_exists(disk.fs, "d/a"));
        CU_ASSERT_TRUE(fs_exists(disk.fs, "e/a"));
        fs_sim_disk_fini(&disk);
    }
}

/* Anything may happen to names, but the disk stays usable and repeats. */
static void random_name(struct fs_sim_disk *disk, char *out, size_t out_size)
{
    static const char *const dirs[] = {"", "d/", "d/x/", "d/y/"};
    static const char *const leaves[] = {"x", "y", "z"};

    (void)snprintf(
        out,
        out_size,
        "%s%s",
        dirs[ria_rand_below(&disk->rand, RIA_COUNT(dirs))],
        leaves[ria_rand_below(&disk->rand, RIA_COUNT(leaves))]
    );
}

static void random_step(struct fs_sim_disk *disk)
{
    char path[32], other[32];
    struct ria_file *file = NULL;
    ria_err err = RIA_OK;

    random_name(disk, path, sizeof(path));
    random_name(disk, other, sizeof(other));
    switch (ria_rand_below(&disk->rand, 9)) {
    case 0:
    case 1:
        err = ria_fs_mkdir(disk->fs, path);
        break;
    case 2:
    case 3:
        err = ria_fs_rename(disk->fs, path, other);
        break;
    case 4:
        err = ria_fs_unlink(disk->fs, path);
        break;
    case 5:
        err = ria_fs_rmdir(disk->fs, path);
        break;
    case 6:
        err = ria_fs_sync_dir(disk->fs, path);
        break;
    case 7:
        err = ria_fs_open(disk->fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file);
        if (err == RIA_OK) {
            err = ria_fs_pwrite(file, path, strlen(path), 0);
            ria_fs_close(file);
        }
        break;
    default:
        if (ria_rand_one_in(&disk->rand, 4)) {
            ria_fs_sim_crash(disk->fs, ria_rand_one_in(&disk->rand, 2));
        }
        break;
    }
    CU_ASSERT_NOT_EQUAL(err, RIA_ERR_NOMEM);
}

static uint64_t digest(uint64_t seed)
{
    static const char *const dirs[] = {"", "d", "d/x", "d/y"};
    struct fs_sim_disk disk;
    struct fs_listing all = {.left = SIZE_MAX};

    fs_sim_disk_init(&disk, seed);
    for (int i = 0; i < 300; i++) {
        random_step(&disk);
    }
    for (size_t i = 0; i < RIA_COUNT(dirs); i++) {
        ria_err err = ria_fs_list(disk.fs, dirs[i], fs_list_one, &all);
        CU_ASSERT_TRUE(err == RIA_OK || err == RIA_ERR_NOT_FOUND || err == RIA_ERR_IO);
    }
    fs_sim_disk_fini(&disk);
    return ria_hash_bytes(all.text, strlen(all.text)) ^ ria_rand_u64(&disk.rand);
}

static void random_names_repeat_with_their_seed(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        CU_ASSERT_EQUAL(digest(seed), digest(seed));
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(new_name_is_durable_only_with_its_folder),
    HARNESS_TEST(lost_folder_takes_its_files_along),
    HARNESS_TEST(removal_may_be_undone_until_the_folder_is_synced),
    HARNESS_TEST(rename_without_sync_leaves_old_or_new),
    HARNESS_TEST(replaced_file_is_durable),
    HARNESS_TEST(name_is_not_taken_from_a_file_that_did_not_move),
    HARNESS_TEST(sync_of_one_folder_moves_a_file_whole),
    HARNESS_TEST(random_names_repeat_with_their_seed),
};

HARNESS_MAIN(tests);
