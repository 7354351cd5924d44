#include "services/coordinator/data_dir.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static char reason[DATA_DIR_REASON_SIZE];

static void write_file(struct fixture *f, const char *path, const char *text)
{
    CU_ASSERT_EQUAL(ria_fs_replace(f->fs, path, text, strlen(text)), RIA_OK);
}

static void missing_folders_are_made(void)
{
    struct fixture f;
    struct data_dir dir;

    fixture_open(&f);
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a/b/c", reason), RIA_OK);
    CU_ASSERT_FALSE(dir.has_identity);
    data_dir_close(&dir);
    fixture_close(&f);
}

static void identity_is_kept(void)
{
    struct fixture f;
    struct data_dir dir;
    struct ria_uuid id = fixture_uuid(0xabc);

    fixture_open(&f);
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), RIA_OK);
    CU_ASSERT_EQUAL(data_dir_write_identity(&dir, &id, reason), RIA_OK);
    data_dir_close(&dir);
    ria_fs_sim_crash(f.fs, true);
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), RIA_OK);
    CU_ASSERT_TRUE(dir.has_identity);
    CU_ASSERT_TRUE(ria_uuid_equal(dir.cluster_id, id));
    data_dir_close(&dir);
    fixture_close(&f);
}

static void a_folder_in_use_is_refused(void)
{
    struct fixture f;
    struct data_dir dir;
    struct data_dir other;

    fixture_open(&f);
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), RIA_OK);
    CU_ASSERT_EQUAL(data_dir_open(&other, f.fs, "/a", reason), RIA_ERR_BUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "in use"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "/a"));
    data_dir_close(&dir);
    CU_ASSERT_EQUAL(data_dir_open(&other, f.fs, "/a", reason), RIA_OK);
    data_dir_close(&other);
    fixture_close(&f);
}

static void a_folder_that_cannot_be_made_is_refused(void)
{
    struct fixture f;
    struct data_dir dir;

    fixture_open(&f);
    write_file(&f, "/file", "no folder");
    CU_ASSERT_NOT_EQUAL(data_dir_open(&dir, f.fs, "/file/sub", reason), RIA_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "--data-dir"));
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "", reason), RIA_ERR_LIMIT);
    fixture_close(&f);
}

static void another_identity_is_refused(void)
{
    static const struct {
        const char *text;
        ria_err err;
        const char *word;
    } cases[] = {
        {"riacho coordinator data folder\nformat 2\ncluster x\n", RIA_ERR_UNSUPPORTED, "\"2\""},
        {"riacho coordinator data folder\ncluster x\n", RIA_ERR_UNSUPPORTED, "format"},
        {"riacho coordinator data folder\nformat 1\ncluster x\n", RIA_ERR_CORRUPT, "damaged"},
        {"riacho coordinator data folder\nformat 1\n", RIA_ERR_CORRUPT, "damaged"},
        {"riacho storage data folder\nformat 1\n", RIA_ERR_CORRUPT, "not a coordinator's"},
        {"", RIA_ERR_CORRUPT, "not a coordinator's"},
    };
    struct fixture f;
    struct data_dir dir;

    fixture_open(&f);
    CU_ASSERT_EQUAL(ria_fs_mkdir(f.fs, "/a"), RIA_OK);
    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        write_file(&f, "/a/identity", cases[i].text);
        CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), cases[i].err);
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, cases[i].word));
    }
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(f.fs), 0);
    fixture_close(&f);
}

static void somebody_elses_folder_is_refused(void)
{
    struct fixture f;
    struct data_dir dir;

    fixture_open(&f);
    CU_ASSERT_EQUAL(ria_fs_mkdir(f.fs, "/a"), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_mkdir(f.fs, "/a/lost+found"), RIA_OK);
    write_file(&f, "/a/.hidden", "");
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), RIA_OK);
    data_dir_close(&dir);
    write_file(&f, "/a/node", "a storage node's");
    CU_ASSERT_EQUAL(data_dir_open(&dir, f.fs, "/a", reason), RIA_ERR_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "holds node"));
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(f.fs), 0);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(missing_folders_are_made),
    HARNESS_TEST(identity_is_kept),
    HARNESS_TEST(a_folder_in_use_is_refused),
    HARNESS_TEST(a_folder_that_cannot_be_made_is_refused),
    HARNESS_TEST(another_identity_is_refused),
    HARNESS_TEST(somebody_elses_folder_is_refused),
};
HARNESS_MAIN(tests);
