/* sim: the whole cluster in one process and one thread, under virtual time.
 *
 *   sim --seed=N [--verbose] [--history=FILE]
 *       one run: its plan, what went wrong, the history that matters; if something did, then the
 *       smallest plan under which it still does, and its history. With --verbose every frame and
 *       log line instead; with --history all that clients and disks saw goes to a file
 *   sim --seeds=A..B [--jobs=N]
 *       many, quietly; the last line is "N passed, N failed"
 *
 * --faults=KIND,... lets the plans have faults of these kinds only, those that are off included;
 * --faults=list says which there are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/many.h"
#include "tests/sim/run.h"
#include "tests/sim/shrink.h"

enum { EXIT_USAGE = 2 };

struct options {
    bool has_seed;
    bool has_seeds;
    bool verbose;
    const char *history;
    struct plan_choice choice;
    uint64_t seed;
    uint64_t first;
    uint64_t last;
    uint64_t jobs;
};

/* From its plan to the smallest one that breaks the same, and that one's history. */
static void explain(const struct options *options, const struct shrink_trial *trial)
{
    struct plan *plan = malloc(sizeof(*plan));
    struct shrink_trial again;
    struct shrink_stats stats;

    if (plan == NULL) {
        return;
    }
    plan_draw(plan, options->seed, &options->choice);
    (void)printf("looking for the smallest plan that breaks the same: %s\n", trial->what);
    shrink_plan(plan, trial, &stats);
    (void)printf(
        "%" PRIu32 " of %" PRIu32 " faults are enough (%" PRIu32 " runs%s):\n",
        stats.faults_after,
        stats.faults_before,
        stats.runs,
        stats.is_minimal ? "" : ", given up before the end"
    );
    const struct run_options run = {.seed = plan->seed, .plan = plan, .report = stdout};
    shrink_try(&run, &again);
    free(plan);
    (void)printf(
        "what the rules say: tests/sim/checker.h, tests/sim/inspect.h; every frame and log line of "
        "the first run: add --verbose\n"
    );
}

static int run_one(const struct options *options)
{
    struct run_options run = {
        .seed = options->seed,
        .choice = options->choice,
        .verbose = options->verbose,
        .report = stdout,
    };
    struct shrink_trial trial;

    if (options->history != NULL) {
        run.history = fopen(options->history, "w");
        if (run.history == NULL) {
            perror(options->history);
            return EXIT_USAGE;
        }
    }
    shrink_try(&run, &trial);
    if (run.history != NULL && fclose(run.history) != 0) {
        perror(options->history);
    }
    if (trial.what[0] != '\0' && !options->verbose) {
        explain(options, &trial);
    }
    return trial.what[0] == '\0' ? 0 : 1;
}

static int usage(void)
{
    (void)fprintf(
        stderr,
        "usage: sim --seed=N [--verbose] [--history=FILE] | --seeds=A..B [--jobs=N]  "
        "[--faults=KIND,...]\n"
    );
    return EXIT_USAGE;
}

static bool parse_number(const char *text, const char *end, uint64_t *out_number)
{
    char *stop = NULL;

    *out_number = strtoull(text, &stop, 10);
    return stop != text && stop == end && text[0] != '-';
}

/* Returns what follows `name` in arg, NULL if it begins otherwise. */
static const char *value_of(const char *arg, const char *name)
{
    size_t size = strlen(name);

    return strncmp(arg, name, size) == 0 ? arg + size : NULL;
}

static bool parse_faults(const char *names, struct plan_choice *choice)
{
    const char *bad = NULL;

    if (strcmp(names, "list") == 0) {
        plan_print_kinds(stdout);
        exit(0);
    }
    if (plan_parse_kinds(names, &choice->fault_kinds, &bad)) {
        return true;
    }
    int size = (int)strcspn(bad, ",");
    (void)fprintf(stderr, "sim: there is no fault \"%.*s\"; there are:\n", size, bad);
    plan_print_kinds(stderr);
    exit(EXIT_USAGE);
}

static bool parse_option(const char *arg, struct options *options)
{
    const char *end = arg + strlen(arg);
    const char *value = NULL;

    if (strcmp(arg, "--verbose") == 0) {
        options->verbose = true;
        return true;
    }
    if ((value = value_of(arg, "--history=")) != NULL) {
        options->history = value;
        return true;
    }
    if ((value = value_of(arg, "--faults=")) != NULL) {
        return parse_faults(value, &options->choice);
    }
    if ((value = value_of(arg, "--seed=")) != NULL) {
        options->has_seed = true;
        return parse_number(value, end, &options->seed);
    }
    if ((value = value_of(arg, "--jobs=")) != NULL) {
        return parse_number(value, end, &options->jobs) && options->jobs >= 1 &&
               options->jobs <= MANY_JOBS_MAX;
    }
    if ((value = value_of(arg, "--seeds=")) != NULL) {
        const char *dots = strstr(value, "..");
        options->has_seeds = true;
        return dots != NULL && parse_number(value, dots, &options->first) &&
               parse_number(dots + 2, end, &options->last) && options->first <= options->last;
    }
    return false;
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options options = {.jobs = cores < 1 ? 1 : (uint64_t)cores};

    for (int i = 1; i < argc; i++) {
        if (!parse_option(argv[i], &options)) {
            (void)fprintf(stderr, "sim: %s is unknown or has a bad value\n", argv[i]);
            return usage();
        }
    }
    if (options.has_seed == options.has_seeds) {
        return usage();
    }
    if (options.jobs > MANY_JOBS_MAX) {
        options.jobs = MANY_JOBS_MAX;
    }
    return options.has_seed
               ? run_one(&options)
               : run_many(options.first, options.last, (uint32_t)options.jobs, &options.choice);
}
