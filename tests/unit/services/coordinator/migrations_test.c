#include "services/coordinator/migrations.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

#define FOLDER "schemas/sql/coordinator"

/* Tests run in the tree's root. NULL: there is no such file. The caller frees. */
static char *read_file(const char *name)
{
    char path[512];
    char *text = NULL;

    (void)snprintf(path, sizeof(path), FOLDER "/%s", name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    (void)fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    if (size >= 0) {
        text = calloc(1, (size_t)size + 1);
    }
    if (text != NULL && fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    (void)fclose(file);
    return text;
}

static void the_program_holds_the_files(void)
{
    CU_ASSERT_TRUE(migrations_count >= 1);
    for (size_t i = 0; i < migrations_count; i++) {
        char *text = read_file(migrations[i].name);
        CU_ASSERT_PTR_NOT_NULL(text);
        if (text != NULL) {
            CU_ASSERT_STRING_EQUAL(migrations[i].sql, text);
        }
        free(text);
    }
}

static void numbers_count_from_one(void)
{
    for (size_t i = 0; i < migrations_count; i++) {
        CU_ASSERT_EQUAL(strtoul(migrations[i].name, NULL, 10), i + 1);
        CU_ASSERT_EQUAL(migrations[i].name[3], '-');
    }
}

static void no_file_is_forgotten(void)
{
    size_t files = 0;
    DIR *dir = opendir(FOLDER);

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        files += strstr(entry->d_name, ".sql") != NULL ? 1 : 0;
    }
    (void)closedir(dir);
    CU_ASSERT_EQUAL(files, migrations_count);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_program_holds_the_files),
    HARNESS_TEST(numbers_count_from_one),
    HARNESS_TEST(no_file_is_forgotten),
};
HARNESS_MAIN(tests);
