#include "tests/lib/harness.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/TestRun.h>

enum { TMPDIR_COUNT_MAX = 256, TMPDIR_PATH_MAX = 512, SUITE_NAME_MAX = 128, FD_MAX = 16 };

/* CUnit and atexit() call back without a context argument, hence the statics of this file. */
static char tmpdirs[TMPDIR_COUNT_MAX][TMPDIR_PATH_MAX];
static size_t tmpdir_count;
static pid_t tmpdir_owner; /* a forked child must not remove its parent's folders */

static unsigned passed_count;
static unsigned failed_count;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void remove_tmpdirs(void)
{
    if (getpid() != tmpdir_owner) {
        return;
    }
    for (size_t i = 0; i < tmpdir_count; i++) {
        (void)nftw(tmpdirs[i], remove_entry, FD_MAX, FTW_DEPTH | FTW_PHYS);
    }
}

void harness_tmpdir(char *out_path, size_t out_size)
{
    const char *parent = getenv("TMPDIR");
    char path[TMPDIR_PATH_MAX];

    if (parent == NULL || parent[0] == '\0') {
        parent = "/tmp";
    }
    int n = snprintf(path, sizeof(path), "%s/riacho_test_XXXXXX", parent);
    if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= out_size ||
        tmpdir_count == TMPDIR_COUNT_MAX || mkdtemp(path) == NULL) {
        (void)fprintf(stderr, "harness_tmpdir: no folder under %s: %s\n", parent, strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (tmpdir_count == 0) {
        tmpdir_owner = getpid();
        (void)atexit(remove_tmpdirs);
    }
    memcpy(tmpdirs[tmpdir_count], path, (size_t)n + 1);
    tmpdir_count++;
    memcpy(out_path, path, (size_t)n + 1);
}

/* "tests/unit/common/buf_test.c" -> "buf" */
static void suite_name(const char *file, char *out_name, size_t out_size)
{
    const char *slash = strrchr(file, '/');
    const char *start = slash == NULL ? file : slash + 1;
    const char *end = strstr(start, "_test.c");
    size_t size = end == NULL ? strlen(start) : (size_t)(end - start);

    if (size >= out_size) {
        size = out_size - 1;
    }
    memcpy(out_name, start, size);
    out_name[size] = '\0';
}

static bool is_named(const char *arg, const char *suite, const char *test)
{
    size_t suite_size = strlen(suite);

    if (strcmp(arg, suite) == 0 || strcmp(arg, test) == 0) {
        return true;
    }
    return strncmp(arg, suite, suite_size) == 0 && arg[suite_size] == '.' &&
           strcmp(arg + suite_size + 1, test) == 0;
}

/* The name comes out before the test runs: after a crash the last line says where it happened. */
static void on_start(const CU_pTest test, const CU_pSuite suite)
{
    (void)printf("%s.%s ... ", suite->pName, test->pName);
    (void)fflush(stdout);
}

static void on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord first)
{
    (void)test;
    (void)suite;
    (void)printf("%s\n", first == NULL ? "ok" : "FAILED");
    for (const CU_FailureRecord *f = first; f != NULL; f = f->pNext) {
        (void)printf("  %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
    }
    passed_count += first == NULL;
    failed_count += first != NULL;
    (void)fflush(stdout);
}

static bool names_exist(
    const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv
)
{
    bool all = true;

    for (int i = 1; i < argc; i++) {
        bool found = false;
        for (size_t t = 0; t < count && !found; t++) {
            found = is_named(argv[i], suite, tests[t].name);
        }
        if (!found) {
            (void)fprintf(stderr, "%s: there is no test named %s\n", suite, argv[i]);
            all = false;
        }
    }
    return all;
}

/* Adds the chosen tests; false if CUnit refused one, for example for a second test of one name. */
static bool register_tests(
    const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv
)
{
    CU_pSuite registered = CU_add_suite(suite, NULL, NULL);

    if (registered == NULL) {
        return false;
    }
    for (size_t t = 0; t < count; t++) {
        bool chosen = argc == 1;
        for (int i = 1; i < argc && !chosen; i++) {
            chosen = is_named(argv[i], suite, tests[t].name);
        }
        if (chosen && CU_add_test(registered, tests[t].name, tests[t].run) == NULL) {
            (void)fprintf(stderr, "%s.%s: %s\n", suite, tests[t].name, CU_get_error_msg());
            return false;
        }
    }
    return true;
}

int harness_main(
    const char *file, const struct harness_test *tests, size_t test_count, int argc, char **argv
)
{
    char suite[SUITE_NAME_MAX];

    suite_name(file, suite, sizeof(suite));
    if (!names_exist(suite, tests, test_count, argc, argv)) {
        return 2;
    }
    if (CU_initialize_registry() != CUE_SUCCESS ||
        !register_tests(suite, tests, test_count, argc, argv)) {
        return EXIT_FAILURE;
    }
    CU_set_test_start_handler(on_start);
    CU_set_test_complete_handler(on_complete);
    (void)CU_run_all_tests();
    CU_cleanup_registry();

    (void)printf("%u passed, %u failed\n", passed_count, failed_count);
    return failed_count == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
