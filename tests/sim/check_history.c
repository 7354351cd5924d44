/* check_history: judges a history that was written down, by the rules of checker.h.
 *
 *   check_history FILE...
 *       FILE: see "Histories as text" in README.md; - is standard input. Several files are one
 *       history, by time. The exit code is 0 without a violation, 1 with one, 2 if a file cannot be
 *       read or is none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/checker.h"
#include "tests/sim/history_text.h"

enum { EXIT_VIOLATED = 1, EXIT_USAGE = 2, LINES_MAX = 40 };

static bool read_file(struct history *history, const char *path)
{
    char reason[HISTORY_REASON_SIZE];
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");

    if (in == NULL) {
        perror(path);
        return false;
    }
    ria_err err = history_read(history, in, reason);
    if (err != RIA_OK) {
        (void)fprintf(stderr, "check_history: %s: %s\n", path, reason);
    }
    if (in != stdin) {
        (void)fclose(in);
    }
    return err == RIA_OK;
}

int main(int argc, char **argv)
{
    struct history history;
    struct checker_result result;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: check_history FILE...\n");
        return EXIT_USAGE;
    }
    history_init(&history);
    for (int i = 1; i < argc; i++) {
        if (!read_file(&history, argv[i])) {
            history_fini(&history);
            return EXIT_USAGE;
        }
    }
    history_sort(&history);
    checker_run(&history, &result);
    checker_report(&result, &history, stdout, LINES_MAX);
    (void)printf(
        "%s: %zu events, %" PRIu64 " records acknowledged, %" PRIu64 " read, %zu violations\n",
        result.count == 0 ? "passed" : "FAILED",
        history.count,
        result.records_acked,
        result.records_read,
        result.count
    );
    history_fini(&history);
    return result.count == 0 ? 0 : EXIT_VIOLATED;
}
