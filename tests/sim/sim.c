/* sim: the whole cluster in one process and one thread, under virtual time.
 *
 *   sim --seed=N [--verbose] [--history=FILE]
 *       one run: its plan, what went wrong, the history that matters; with --verbose every frame
 *       and log line as well; with --history all that clients and disks saw goes to a file
 *   sim --seeds=A..B [--jobs=N]
 *       many, quietly; the last line is "N passed, N failed"
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/run.h"

enum { JOBS_MAX = 64, SEED_SECONDS_MAX = 120, EXIT_USAGE = 2 };

struct options {
    bool has_seed;
    bool has_seeds;
    bool verbose;
    const char *history;
    uint64_t seed;
    uint64_t first;
    uint64_t last;
    uint64_t jobs;
};

/* ---- one seed ---- */

static int run_one(const struct options *options)
{
    struct run_result result;
    struct run_options run = {.seed = options->seed, .verbose = options->verbose, .report = stdout};

    if (options->history != NULL) {
        run.history = fopen(options->history, "w");
        if (run.history == NULL) {
            perror(options->history);
            return EXIT_USAGE;
        }
    }
    run_seed(&run, &result);
    if (run.history != NULL && fclose(run.history) != 0) {
        perror(options->history);
    }
    (void)fflush(stdout);
    return result.verdict.count == 0 ? 0 : 1;
}

/* ---- many ---- */

struct job {
    pid_t pid; /* 0: none */
    uint64_t seed;
};

/* In a process of its own, so that a crash ends one seed only. */
static pid_t start_seed(uint64_t seed)
{
    (void)fflush(NULL);
    pid_t pid = fork();

    if (pid == 0) {
        const struct run_options run = {.seed = seed};
        struct run_result result;
        (void)alarm(SEED_SECONDS_MAX);
        run_seed(&run, &result);
        for (size_t i = 0; i < result.verdict.count && i < 1; i++) {
            const struct checker_violation *violation = &result.verdict.violations[i];
            (void)printf(
                "seed %" PRIu64 ": %s, partition %" PRIu32 ": %s\n",
                seed,
                violation->rule,
                violation->partition,
                violation->text
            );
        }
        (void)fflush(NULL);
        exit(result.verdict.count == 0 ? 0 : 1);
    }
    if (pid < 0) {
        perror("sim: fork");
        exit(EXIT_USAGE);
    }
    return pid;
}

/* Wait for one of them; returns it, free again. */
static struct job *finish_seed(struct job *jobs, uint64_t job_count, bool *out_passed)
{
    int status = 0;
    pid_t pid = wait(&status);

    for (uint64_t i = 0; i < job_count; i++) {
        if (pid > 0 && jobs[i].pid == pid) {
            jobs[i].pid = 0;
            *out_passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            if (WIFSIGNALED(status)) {
                (void
                )printf("seed %" PRIu64 ": ended by signal %d\n", jobs[i].seed, WTERMSIG(status));
            } else if (WIFEXITED(status) && WEXITSTATUS(status) > 1) {
                (void)printf("seed %" PRIu64 ": exit code %d\n", jobs[i].seed, WEXITSTATUS(status));
            }
            return &jobs[i];
        }
    }
    perror("sim: wait");
    exit(EXIT_USAGE);
}

static int run_many(const struct options *options)
{
    struct job jobs[JOBS_MAX] = {{0}};
    uint64_t running = 0;
    uint64_t passed = 0;
    uint64_t failed = 0;
    uint64_t first_failed = 0;

    for (uint64_t next = options->first; next <= options->last || running > 0;) {
        struct job *job = NULL;
        if (running < options->jobs && next <= options->last) {
            job = jobs;
            while (job->pid != 0) {
                job++;
            }
            job->seed = next++;
            job->pid = start_seed(job->seed);
            running++;
            continue;
        }
        bool ok = false;
        job = finish_seed(jobs, options->jobs, &ok);
        running--;
        passed += ok;
        if (!ok && failed++ == 0) {
            first_failed = job->seed;
        }
    }
    if (failed > 0) {
        (void)printf("again, with its history: make sim SEED=%" PRIu64 "\n", first_failed);
    }
    (void)printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

/* ---- command line ---- */

static int usage(const char *why)
{
    (void)fprintf(
        stderr,
        "sim: %s\nusage: sim --seed=N [--verbose] [--history=FILE] | --seeds=A..B [--jobs=N]\n",
        why
    );
    return EXIT_USAGE;
}

static bool parse_number(const char *text, const char *end, uint64_t *out_number)
{
    char *stop = NULL;

    *out_number = strtoull(text, &stop, 10);
    return stop != text && stop == end && text[0] != '-';
}

static bool parse_option(const char *arg, struct options *options)
{
    const char *end = arg + strlen(arg);
    const char *dots = strstr(arg, "..");

    if (strcmp(arg, "--verbose") == 0) {
        options->verbose = true;
        return true;
    }
    if (strncmp(arg, "--history=", 10) == 0) {
        options->history = arg + 10;
        return true;
    }
    if (strncmp(arg, "--seed=", 7) == 0) {
        options->has_seed = true;
        return parse_number(arg + 7, end, &options->seed);
    }
    if (strncmp(arg, "--seeds=", 8) == 0 && dots != NULL) {
        options->has_seeds = true;
        return parse_number(arg + 8, dots, &options->first) &&
               parse_number(dots + 2, end, &options->last) && options->first <= options->last;
    }
    if (strncmp(arg, "--jobs=", 7) == 0) {
        return parse_number(arg + 7, end, &options->jobs) && options->jobs >= 1 &&
               options->jobs <= JOBS_MAX;
    }
    return false;
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options options = {
        .jobs = cores < 1          ? 1
                : cores > JOBS_MAX ? JOBS_MAX
                                   : (uint64_t)cores};

    for (int i = 1; i < argc; i++) {
        if (!parse_option(argv[i], &options)) {
            return usage("an option is unknown or has a bad value");
        }
    }
    if (options.has_seed == options.has_seeds) {
        return usage("give either --seed or --seeds");
    }
    return options.has_seed ? run_one(&options) : run_many(&options);
}
