/* harness: CUnit, with names you can select from the command line.
 *
 * A test file is functions, one table with a line per test, and HARNESS_MAIN. The suite is named
 * after the file: tests/unit/common/buf_test.c is "buf".
 *
 *     static const struct harness_test tests[] = {
 *         HARNESS_TEST(append_past_limit_writes_nothing),
 *     };
 *     HARNESS_MAIN(tests);
 *
 * Output: a line per test, a "file:line: condition" under each that failed, and last the line
 * "N passed, N failed", which tests/run reads. CU_ASSERT_x_FATAL jumps past cleanup: setup only.
 *
 * Thread: CUnit does not lock; assert on the thread that runs the test.
 */
#pragma once

#include <stddef.h>

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

struct harness_test {
    const char *name;
    CU_TestFunc run;
};

#define HARNESS_TEST(fn)       \
    {                          \
        .name = #fn, .run = fn \
    }

#define HARNESS_MAIN(tests)                                                                 \
    int main(int argc, char **argv)                                                         \
    {                                                                                       \
        return harness_main(__FILE__, tests, sizeof(tests) / sizeof(tests[0]), argc, argv); \
    }                                                                                       \
    _Static_assert(sizeof(tests) > 0, "a suite has tests")

/* Run every test, or only those named in argv[1..]: "suite", "suite.test" or "test". Borrows all.
 * Returns the exit code: 0 all passed, 1 some failed, 2 a name in argv is unknown. */
int harness_main(
    const char *file, const struct harness_test *tests, size_t test_count, int argc, char **argv
);

/* Create an empty folder under $TMPDIR (default /tmp) and write its path; ends the program if that
 * is impossible. The folder is removed, with what it then holds, when the process exits. */
void harness_tmpdir(char *out_path, size_t out_size);
