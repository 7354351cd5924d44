#include "common/fs_sim.h"

#include "common/map.h"

#include "tests/unit/common/fs_sim_disk.h"

enum { SEEDS = 200, FILE_MAX = 5 * 4096 + 100 };

/* --- the contract ------------------------------------------------------------------------------*/

static void run_check(void (*check)(struct ria_fs *fs, const char *dir))
{
    struct fs_sim_disk disk;

    fs_sim_disk_init(&disk, 1);
    check(disk.fs, "/d");
    fs_sim_disk_fini(&disk);
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

/* --- content at a crash ------------------------------------------------------------------------*/

/* What each byte of a file may be after a crash. */
struct model {
    uint8_t visible[FILE_MAX];
    uint8_t durable[FILE_MAX];
    bool allowed[FILE_MAX][256]; /* what it has been since it was last durable */
    size_t size;
    size_t size_low;
    size_t size_durable;
};

static void model_write(struct model *model, struct ria_rand *rand, struct ria_file *file)
{
    uint8_t data[6000];
    size_t at = (size_t)ria_rand_below(rand, FILE_MAX);
    size_t size = (size_t)ria_rand_below(rand, sizeof(data));

    size = ria_min_size(size, FILE_MAX - at);
    if (size == 0) {
        return;
    }
    ria_rand_bytes(rand, data, size);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, data, size, at), RIA_OK);
    for (size_t i = 0; i < size; i++) {
        model->visible[at + i] = data[i];
        model->allowed[at + i][data[i]] = true;
    }
    model->size = model->size < at + size ? at + size : model->size;
}

static void model_truncate(struct model *model, struct ria_rand *rand, struct ria_file *file)
{
    size_t size = (size_t)ria_rand_below(rand, FILE_MAX);

    CU_ASSERT_EQUAL(ria_fs_truncate(file, size), RIA_OK);
    for (size_t i = size; i < FILE_MAX; i++) {
        model->visible[i] = 0;
        model->allowed[i][0] = true;
    }
    model->size = size;
    model->size_low = ria_min_size(model->size_low, size);
}

static void model_sync(struct model *model, struct ria_file *file)
{
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    memcpy(model->durable, model->visible, sizeof(model->durable));
    memset(model->allowed, 0, sizeof(model->allowed));
    model->size_low = model->size_durable = model->size;
}

static bool model_allows(const struct model *model, struct ria_fs *fs, const char *path)
{
    uint8_t *data = NULL;
    size_t size = 0;
    bool allowed = true;

    if (ria_fs_read_all(fs, path, FILE_MAX, &data, &size) != RIA_OK) {
        return false;
    }
    if (size != model->size_durable && (size < model->size_low || size > model->size)) {
        allowed = false;
    }
    for (size_t i = 0; i < size; i++) {
        /* Behind the durable end there were zeros before anything was written. */
        bool was_zero = i >= model->size_durable || i >= model->size_low;
        allowed = allowed && (data[i] == model->durable[i] || model->allowed[i][data[i]] ||
                              (was_zero && data[i] == 0));
    }
    free(data);
    return allowed;
}

static void crash_leaves_only_what_was_written(void)
{
    static struct model model;
    struct fs_sim_disk disk;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        fs_sim_disk_init(&disk, seed);
        memset(&model, 0, sizeof(model));
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
        for (size_t step = 0; step < 10; step++) {
            uint64_t what = ria_rand_below(&disk.rand, 5);
            if (what == 0) {
                model_sync(&model, file);
            } else if (what == 1) {
                model_truncate(&model, &disk.rand, file);
            } else {
                model_write(&model, &disk.rand, file);
            }
        }
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_TRUE(model_allows(&model, disk.fs, "d/a"));
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
}

static void growing_after_a_crash_finds_zeros(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        uint64_t size = 0;
        uint8_t byte = 0;
        size_t n = 0;
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
        for (size_t at = 0; at < 4 * 4096; at += 512) {
            CU_ASSERT_EQUAL(ria_fs_pwrite(file, "0123456789", 10, at), RIA_OK);
        }
        ria_fs_sim_crash(disk.fs, true);
        ria_fs_close(file);
        CU_ASSERT_EQUAL_FATAL(ria_fs_open(disk.fs, "d/a", RIA_FS_WRITE, &file), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_truncate(file, 5 * 4096), RIA_OK);
        for (uint64_t at = size; at < 5 * 4096; at++) {
            CU_ASSERT_EQUAL(ria_fs_pread(file, &byte, 1, at, &n), RIA_OK);
            CU_ASSERT_TRUE(n == 1 && byte == 0);
        }
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
}

static void synced_content_survives_every_crash(void)
{
    struct fs_sim_disk disk;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "durable");
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "durable"));
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "durable"));
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
}

/* What is left of 16 sectors of ones written over 16 of zeros; bit i is sector i. 0x10000 set: the
 * sector is mixed. */
static unsigned crash_over_two_pages(uint64_t seed)
{
    struct fs_sim_disk disk;
    uint8_t page[8192] = {0};
    unsigned sectors = 0;
    size_t n = 0;

    fs_sim_disk_init(&disk, seed);
    struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, page, sizeof(page), 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    memset(page, 1, sizeof(page));
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, page, sizeof(page), 0), RIA_OK);
    ria_fs_sim_crash(disk.fs, true);
    ria_fs_close(file);
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(disk.fs, "d/a", RIA_FS_READ, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pread(file, page, sizeof(page), 0, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, sizeof(page));
    for (size_t i = 0; i < sizeof(page); i++) {
        if (page[i] != page[i / 512 * 512]) {
            sectors |= 0x10000;
        }
        sectors |= (unsigned)page[i] << (i / 512);
    }
    ria_fs_close(file);
    fs_sim_disk_fini(&disk);
    return sectors;
}

static void pages_survive_by_themselves_and_one_is_torn_between_sectors(void)
{
    bool none = false, all = false, first = false, second = false, torn = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        unsigned sectors = crash_over_two_pages(seed);
        CU_ASSERT_TRUE((sectors & 0x10000) == 0);
        bool first_torn = (sectors & 0xff) != 0 && (sectors & 0xff) != 0xff;
        bool second_torn = sectors >> 8 != 0 && sectors >> 8 != 0xff;
        CU_ASSERT_FALSE(first_torn && second_torn);
        none = none || sectors == 0;
        all = all || sectors == 0xffff;
        first = first || sectors == 0x00ff;
        second = second || sectors == 0xff00;
        torn = torn || first_torn || second_torn;
    }
    CU_ASSERT_TRUE(none && all && first && second && torn);
}

static void crash_repeats_with_its_seed(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        CU_ASSERT_EQUAL(crash_over_two_pages(seed), crash_over_two_pages(seed));
    }
}

static void growth_may_survive_without_its_content(void)
{
    bool shorter = false, whole = false, zeros = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        uint8_t *data = NULL;
        size_t size = 0;
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "abc");
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "XYZ", 3, 4096), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        CU_ASSERT_EQUAL_FATAL(ria_fs_read_all(disk.fs, "d/a", 9999, &data, &size), RIA_OK);
        CU_ASSERT_TRUE(size >= 3 && memcmp(data, "abc", 3) == 0);
        shorter = shorter || size == 3;
        whole = whole || (size == 4099 && memcmp(data + 4096, "XYZ", 3) == 0);
        zeros = zeros || (size == 4099 && memcmp(data + 4096, "\0\0\0", 3) == 0);
        free(data);
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(shorter && whole && zeros);
}

/* It is one change of the file's size: nothing writes zeros over what was there. */
static void truncation_that_is_undone_leaves_every_old_byte(void)
{
    bool undone = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        char old[3 * 4096];
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
        memset(old, 'o', sizeof(old));
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, old, sizeof(old), 0), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_truncate(file, 100), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "new", 3, 5000), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        uint8_t *data = NULL;
        size_t size = 0;
        CU_ASSERT_EQUAL_FATAL(ria_fs_read_all(disk.fs, "d/a", sizeof(old), &data, &size), RIA_OK);
        if (size == sizeof(old)) {
            undone = true;
            CU_ASSERT_EQUAL(memcmp(data, old, size), 0);
        }
        free(data);
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(undone);
}

static void truncation_is_durable_only_after_a_sync(void)
{
    bool undone = false, kept = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        struct ria_file *a = fs_sim_disk_open_durable(&disk, "d/a", "abcdef");
        struct ria_file *b = fs_sim_disk_open_durable(&disk, "d/b", "abcdef");
        CU_ASSERT_EQUAL(ria_fs_truncate(a, 3), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_truncate(b, 3), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(b), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_truncate(b, 6), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(b), RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        undone = undone || fs_file_holds(disk.fs, "d/a", "abcdef");
        kept = kept || fs_file_holds(disk.fs, "d/a", "abc");
        uint8_t *data = NULL;
        size_t size = 0;
        CU_ASSERT_EQUAL_FATAL(ria_fs_read_all(disk.fs, "d/b", 9, &data, &size), RIA_OK);
        CU_ASSERT_TRUE(size == 6 && memcmp(data, "abc\0\0\0", 6) == 0);
        free(data);
        ria_fs_close(a);
        ria_fs_close(b);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(undone && kept);
}

/* --- syncs -------------------------------------------------------------------------------------*/

static void sync_covers_what_was_written_before_it_started(void)
{
    bool later_lost = false, later_kept = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        struct fs_sim_disk_sync test = {.sync = {.done = fs_sim_disk_synced}};
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "........");
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "before", 6, 0), RIA_OK);
        ria_fs_sync_start(file, &test.sync);
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "after!", 6, 0), RIA_OK);
        CU_ASSERT_EQUAL(test.done_count, 0);
        fs_sim_disk_advance(&disk, 0);
        CU_ASSERT_EQUAL(test.done_count, 1);
        CU_ASSERT_EQUAL(test.sync.result, RIA_OK);
        ria_fs_sim_crash(disk.fs, true);
        bool lost = fs_file_holds(disk.fs, "d/a", "before..");
        bool kept = fs_file_holds(disk.fs, "d/a", "after!..");
        CU_ASSERT_TRUE(lost || kept);
        later_lost = later_lost || lost;
        later_kept = later_kept || kept;
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(later_lost && later_kept);
}

static void older_sync_that_ends_later_undoes_nothing(void)
{
    struct fs_sim_disk disk;
    struct fs_sim_disk_sync first = {.sync = {.done = fs_sim_disk_synced}};
    struct fs_sim_disk_sync second = {.sync = {.done = fs_sim_disk_synced}};

    fs_sim_disk_init(&disk, 1);
    struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
    ria_fs_sim_set_faults(
        disk.fs, &(struct ria_fs_sim_faults){.sync_delay_us_min = 50, .sync_delay_us_max = 50}
    );
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "old, longer", 11, 0), RIA_OK);
    ria_fs_sync_start(file, &first.sync);
    ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.sync_delay_us_max = 0});
    CU_ASSERT_EQUAL(ria_fs_truncate(file, 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "new", 3, 0), RIA_OK);
    ria_fs_sync_start(file, &second.sync);
    fs_sim_disk_advance(&disk, 10);
    CU_ASSERT_TRUE(first.done_count == 0 && second.done_count == 1);
    fs_sim_disk_advance(&disk, 40);
    CU_ASSERT_EQUAL(first.done_count, 1);
    ria_fs_sim_crash(disk.fs, true);
    CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "new"));
    ria_fs_close(file);
    fs_sim_disk_fini(&disk);
}

static void sync_takes_its_delay(void)
{
    struct fs_sim_disk disk;

    fs_sim_disk_init(&disk, 1);
    struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "");
    ria_fs_sim_set_faults(
        disk.fs, &(struct ria_fs_sim_faults){.sync_delay_us_min = 100, .sync_delay_us_max = 200}
    );
    for (int i = 0; i < 100; i++) {
        struct fs_sim_disk_sync test = {.sync = {.done = fs_sim_disk_synced}};
        ria_fs_sync_start(file, &test.sync);
        fs_sim_disk_advance(&disk, 99);
        CU_ASSERT_EQUAL(test.done_count, 0);
        fs_sim_disk_advance(&disk, 101);
        CU_ASSERT_EQUAL(test.done_count, 1);
    }
    ria_fs_close(file);
    fs_sim_disk_fini(&disk);
}

static void sync_after_a_failed_one_does_not_save_its_pages(void)
{
    bool lost = false, kept = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_durable(&disk, "d/a", "old");
        ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.fail_sync_one_in = 1});
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "new", 3, 0), RIA_OK);
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_ERR_IO);
        ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.fail_sync_one_in = 0});
        CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
        CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "new")); /* still in the cache */
        ria_fs_sim_crash(disk.fs, true);
        lost = lost || fs_file_holds(disk.fs, "d/a", "old");
        kept = kept || fs_file_holds(disk.fs, "d/a", "new");
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(lost && kept);
}

/* --- faults ------------------------------------------------------------------------------------*/

static void kill_keeps_content_and_frees_locks(void)
{
    struct fs_sim_disk disk;
    struct ria_file *lock = NULL;
    struct ria_file *next = NULL;
    struct fs_sim_disk_sync test = {.sync = {.done = fs_sim_disk_synced}};
    uint64_t size = 0;

    fs_sim_disk_init(&disk, 1);
    CU_ASSERT_EQUAL_FATAL(ria_fs_lock(disk.fs, "d/lock", &lock), RIA_OK);
    struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a");
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "unsynced", 8, 0), RIA_OK);
    ria_fs_sync_start(file, &test.sync);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(disk.fs), 2);
    ria_fs_sim_crash(disk.fs, false);
    fs_sim_disk_advance(&disk, 1000);
    CU_ASSERT_EQUAL(test.done_count, 0);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(disk.fs), 0);
    CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "unsynced"));
    CU_ASSERT_EQUAL_FATAL(ria_fs_lock(disk.fs, "d/lock", &next), RIA_OK);

    /* The old process's handles: useless, but may be closed; not closing them is no leak. */
    CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "x", 1, 0), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_ERR_IO);
    ria_fs_close(lock);
    CU_ASSERT_EQUAL(ria_fs_lock(disk.fs, "d/lock", &lock), RIA_ERR_BUSY);
    ria_fs_close(next);

    /* Pages whose sync died with the process are still dirty. */
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(disk.fs, "d/a", RIA_FS_WRITE, &next), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync(next), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync_dir(disk.fs, "d"), RIA_OK);
    ria_fs_close(next);
    ria_fs_sim_crash(disk.fs, true);
    CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "unsynced"));
    fs_sim_disk_fini(&disk);
}

static void full_disk_takes_what_fits(void)
{
    struct fs_sim_disk disk;
    uint8_t data[5 * 4096] = {0};
    uint64_t size = 0;
    uint64_t bytes = 1;

    fs_sim_disk_init(&disk, 1);
    ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.capacity_bytes = 3 * 4096 + 1});
    struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a");
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, data, 100, 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, data, sizeof(data), 100), RIA_ERR_NO_SPACE);
    CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_OK);
    CU_ASSERT_EQUAL(size, 3 * 4096);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(disk.fs, "d", &bytes), RIA_OK);
    CU_ASSERT_EQUAL(bytes, 1);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, data, 4096, 4096), RIA_OK); /* no new page */
    CU_ASSERT_EQUAL(ria_fs_truncate(file, 4096), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, data, 4096, 4096), RIA_OK);
    ria_fs_close(file);
    fs_sim_disk_fini(&disk);
}

static void failed_write_leaves_a_part(void)
{
    bool part = false;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim_disk disk;
        uint64_t size = 9;
        fs_sim_disk_init(&disk, seed);
        struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a");
        ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.fail_write_one_in = 1});
        CU_ASSERT_EQUAL(ria_fs_pwrite(file, "abcd", 4, 0), RIA_ERR_IO);
        CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_OK);
        CU_ASSERT_TRUE(size <= 4);
        part = part || (size > 0 && size < 4);
        ria_fs_close(file);
        fs_sim_disk_fini(&disk);
    }
    CU_ASSERT_TRUE(part);
}

static void failed_open_creates_nothing(void)
{
    struct fs_sim_disk disk;
    struct ria_file *file = NULL;

    fs_sim_disk_init(&disk, 1);
    ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.fail_open_one_in = 1});
    CU_ASSERT_EQUAL(ria_fs_open(disk.fs, "d/a", RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_lock(disk.fs, "d/lock", &file), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(disk.fs), 0);
    ria_fs_sim_set_faults(disk.fs, &(struct ria_fs_sim_faults){.fail_open_one_in = 0});
    CU_ASSERT_FALSE(fs_exists(disk.fs, "d/a"));
    fs_sim_disk_fini(&disk);
}

static void flipped_bit_survives_a_crash(void)
{
    struct fs_sim_disk disk;

    fs_sim_disk_init(&disk, 1);
    ria_fs_close(fs_sim_disk_open_durable(&disk, "d/a", "abc"));
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(disk.fs, "d/a", 1, 0), RIA_OK);
    CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "acc"));
    ria_fs_sim_crash(disk.fs, true);
    CU_ASSERT_TRUE(fs_file_holds(disk.fs, "d/a", "acc"));
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(disk.fs, "d/a", 3, 0), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(disk.fs, "d/a", 1, 8), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(disk.fs, "d", 0, 0), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(disk.fs, "d/b", 0, 0), RIA_ERR_NOT_FOUND);
    fs_sim_disk_fini(&disk);
}

static void free_ends_open_files_and_syncs(void)
{
    struct fs_sim_disk disk;
    struct fs_sim_disk_sync test = {.sync = {.done = fs_sim_disk_synced}};

    fs_sim_disk_init(&disk, 1);
    struct ria_file *file = fs_sim_disk_open_new(&disk, "d/a");
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "a", 1, 0), RIA_OK);
    ria_fs_sync_start(file, &test.sync);
    ria_fs_sim_free(disk.fs);
    ria_fs_sim_free(NULL);
    fs_sim_disk_advance(&disk, 1000);
    CU_ASSERT_EQUAL(test.done_count, 0);
    ria_timers_fini(&disk.timers);
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
    HARNESS_TEST(crash_leaves_only_what_was_written),
    HARNESS_TEST(growing_after_a_crash_finds_zeros),
    HARNESS_TEST(synced_content_survives_every_crash),
    HARNESS_TEST(pages_survive_by_themselves_and_one_is_torn_between_sectors),
    HARNESS_TEST(crash_repeats_with_its_seed),
    HARNESS_TEST(growth_may_survive_without_its_content),
    HARNESS_TEST(truncation_that_is_undone_leaves_every_old_byte),
    HARNESS_TEST(truncation_is_durable_only_after_a_sync),
    HARNESS_TEST(sync_covers_what_was_written_before_it_started),
    HARNESS_TEST(older_sync_that_ends_later_undoes_nothing),
    HARNESS_TEST(sync_takes_its_delay),
    HARNESS_TEST(sync_after_a_failed_one_does_not_save_its_pages),
    HARNESS_TEST(kill_keeps_content_and_frees_locks),
    HARNESS_TEST(full_disk_takes_what_fits),
    HARNESS_TEST(failed_write_leaves_a_part),
    HARNESS_TEST(failed_open_creates_nothing),
    HARNESS_TEST(flipped_bit_survives_a_crash),
    HARNESS_TEST(free_ends_open_files_and_syncs),
};

HARNESS_MAIN(tests);
