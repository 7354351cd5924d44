#include "services/coordinator/vfs_db.h"

#include <stdio.h>
#include <string.h>

#include "services/coordinator/meta_db.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { ROWS = 20, LIVES = 10 };

static void open_db(struct vfs_db *vfs, struct meta_db **out_db)
{
    char reason[256];
    ria_err err =
        meta_db_open("/data/meta.db", vfs_db_name(vfs), NULL, reason, sizeof(reason), out_db);

    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
}

static void set_up(struct fixture *f, uint64_t seed, struct vfs_db **out_vfs)
{
    fixture_open(f);
    ria_rand_init(&f->rand, seed);
    CU_ASSERT_EQUAL_FATAL(ria_fs_mkdir(f->fs, "/data"), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sync_dir(f->fs, "/"), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(vfs_db_new(&f->env, out_vfs), RIA_OK);
}

/* Enough rows to fill pages: a torn commit would show. */
static void write_rows(struct meta_db *db, int64_t index)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        char name[32];
        struct ria_uuid id = fixture_uuid((uint32_t)index * 100 + i);
        struct meta_stmt *stmt = meta_query(db, META_TOPIC_INSERT);
        (void)snprintf(name, sizeof(name), "t%d-%u", (int)index, i);
        meta_bind_uuid(stmt, 1, &id);
        meta_bind_text(stmt, 2, ria_slice_cstr(name));
        for (int k = 3; k <= 6; k++) {
            meta_bind_int(stmt, k, index);
        }
        CU_ASSERT_EQUAL(meta_run(stmt), RIA_OK);
    }
    struct meta_stmt *stmt = meta_query(db, META_CLUSTER_APPLIED);
    meta_bind_int(stmt, 1, index);
    CU_ASSERT_EQUAL(meta_run(stmt), RIA_OK);
}

static int64_t topic_count(struct meta_db *db)
{
    struct meta_stmt *stmt = meta_query(db, META_TOPIC_COUNT);
    int64_t count = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;

    meta_done(stmt);
    return count;
}

/* One life: some commits, then the power goes, perhaps in the middle of a transaction. */
static void live_and_die(struct fixture *f, struct vfs_db *vfs, int64_t *index)
{
    struct meta_db *db = NULL;
    struct state_summary summary;

    open_db(vfs, &db);
    CU_ASSERT_TRUE(state_summary(db, &summary));
    CU_ASSERT_EQUAL(summary.applied_index, *index);
    CU_ASSERT_EQUAL(topic_count(db), *index * ROWS);
    for (uint64_t n = ria_rand_below(&f->rand, 5); n > 0; n--) {
        meta_begin(db);
        write_rows(db, ++*index);
        meta_commit(db);
    }
    if (ria_rand_one_in(&f->rand, 2)) {
        meta_db_checkpoint(db);
    }
    if (ria_rand_one_in(&f->rand, 2)) {
        meta_begin(db);
        write_rows(db, *index + 1);
    }
    ria_fs_sim_crash(f->fs, true);
    meta_db_close(db);
}

static void what_was_committed_survives_power_cuts(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;
        struct vfs_db *vfs = NULL;
        struct meta_db *db = NULL;
        struct ria_uuid cluster = fixture_uuid(1);
        int64_t index = 0;

        set_up(&f, seed, &vfs);
        open_db(vfs, &db);
        state_found_cluster(db, &cluster);
        meta_db_close(db);
        for (int life = 0; life < LIVES; life++) {
            live_and_die(&f, vfs, &index);
        }
        CU_ASSERT_EQUAL(ria_fs_sim_open_count(f.fs), 0);
        vfs_db_free(vfs);
        fixture_close(&f);
    }
}

static void closing_leaves_nothing_open(void)
{
    struct fixture f;
    struct vfs_db *vfs = NULL;
    struct meta_db *db = NULL;

    set_up(&f, 1, &vfs);
    open_db(vfs, &db);
    CU_ASSERT_TRUE(ria_fs_sim_open_count(f.fs) > 0);
    meta_db_close(db);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(f.fs), 0);
    vfs_db_free(vfs);
    fixture_close(&f);
}

static void a_missing_folder_is_an_error(void)
{
    struct fixture f;
    struct vfs_db *vfs = NULL;
    struct meta_db *db = NULL;
    char reason[256];

    set_up(&f, 1, &vfs);
    CU_ASSERT_NOT_EQUAL(
        meta_db_open("/none/meta.db", vfs_db_name(vfs), NULL, reason, sizeof(reason), &db), RIA_OK
    );
    CU_ASSERT_PTR_NULL(db);
    vfs_db_free(vfs);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_was_committed_survives_power_cuts),
    HARNESS_TEST(closing_leaves_nothing_open),
    HARNESS_TEST(a_missing_folder_is_an_error),
};
HARNESS_MAIN(tests);
