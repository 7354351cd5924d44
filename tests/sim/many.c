#include "tests/sim/many.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"

#include "tests/sim/run.h"

enum {
    CHUNK_SEEDS = 20, /* for one process: it costs something to start and to end */
    SEED_SECONDS_MAX = 120,
    EXIT_BROKEN = 2, /* this program cannot go on */
};

struct range {
    uint64_t first;
    uint64_t end; /* the first one that is not in it */
};

struct job {
    pid_t pid; /* 0: none */
    int progress;
    struct range seeds;
};

struct many {
    const struct plan_choice *choice;
    struct range todo;
    struct range left[MANY_JOBS_MAX]; /* behind a seed that ended its process */
    uint32_t left_count;
    struct job jobs[MANY_JOBS_MAX];
    uint32_t job_count;
    uint32_t running;
    uint64_t passed;
    uint64_t failed;
    uint64_t first_failed;
};

RIA_NORETURN static void cannot(const char *what)
{
    perror(what);
    exit(EXIT_BROKEN);
}

/* ---- the process that runs seeds ---- */

static bool run_quietly(uint64_t seed, const struct plan_choice *choice)
{
    const struct run_options options = {.seed = seed, .choice = *choice};
    struct run_result result;

    (void)alarm(SEED_SECONDS_MAX);
    run_seed(&options, &result);
    if (result.verdict.count > 0) {
        const struct checker_violation *violation = &result.verdict.violations[0];
        (void)printf(
            "seed %" PRIu64 ": %s, partition %" PRIu32 ": %s\n",
            seed,
            violation->rule,
            violation->partition,
            violation->text
        );
        (void)fflush(stdout);
    }
    return result.verdict.count == 0;
}

/* One byte to `progress` for each seed that has ended: whether it passed. */
RIA_NORETURN static void
run_range(struct range seeds, const struct plan_choice *choice, int progress)
{
    for (uint64_t seed = seeds.first; seed < seeds.end; seed++) {
        uint8_t passed = run_quietly(seed, choice);
        if (write(progress, &passed, 1) != 1) {
            cannot("sim: write");
        }
    }
    exit(0); /* not _exit: here leaks are found */
}

/* ---- the process that starts them ---- */

static bool next_range(struct many *many, struct range *out_seeds)
{
    if (many->left_count > 0) {
        *out_seeds = many->left[--many->left_count];
        return true;
    }
    if (many->todo.first == many->todo.end) {
        return false;
    }
    uint64_t count = many->todo.end - many->todo.first;
    *out_seeds = many->todo;
    if (count > CHUNK_SEEDS) {
        out_seeds->end = many->todo.first + CHUNK_SEEDS;
    }
    many->todo.first = out_seeds->end;
    return true;
}

static void start(struct many *many, struct range seeds)
{
    struct job *job = many->jobs;
    int ends[2];

    while (job->pid != 0) {
        job++;
    }
    (void)fflush(NULL);
    if (pipe(ends) != 0) {
        cannot("sim: pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        cannot("sim: fork");
    }
    if (pid == 0) {
        (void)close(ends[0]);
        run_range(seeds, many->choice, ends[1]);
    }
    (void)close(ends[1]);
    *job = (struct job){.pid = pid, .progress = ends[0], .seeds = seeds};
    many->running++;
}

static void note_failed(struct many *many, uint64_t seed)
{
    if (many->failed++ == 0 || seed < many->first_failed) {
        many->first_failed = seed;
    }
}

/* The seed that was running, or, if none was, the whole range (a leak). */
static void note_bad_end(struct many *many, const struct job *job, uint64_t seed, int status)
{
    if (seed == job->seeds.end) {
        (void)printf("one of seeds %" PRIu64 "..%" PRIu64, job->seeds.first, seed - 1);
        many->passed--;
        note_failed(many, seed - 1);
    } else {
        (void)printf("seed %" PRIu64, seed);
        note_failed(many, seed);
        RIA_ASSERT(many->left_count < MANY_JOBS_MAX);
        if (seed + 1 < job->seeds.end) {
            many->left[many->left_count++] = (struct range){seed + 1, job->seeds.end};
        }
    }
    if (WIFSIGNALED(status)) {
        (void)printf(": ended by signal %d\n", WTERMSIG(status));
    } else {
        (void)printf(": ended with exit code %d\n", WEXITSTATUS(status));
    }
}

static void finish(struct many *many)
{
    int status = 0;
    uint8_t passed = 0;
    struct job *job = many->jobs;
    pid_t pid = wait(&status);

    if (pid < 0) {
        cannot("sim: wait");
    }
    while (job->pid != pid) {
        job++;
        RIA_ASSERT(job < many->jobs + many->job_count);
    }
    uint64_t seed = job->seeds.first;
    while (read(job->progress, &passed, 1) == 1) {
        if (passed != 0) {
            many->passed++;
        } else {
            note_failed(many, seed);
        }
        seed++;
    }
    (void)close(job->progress);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        note_bad_end(many, job, seed, status);
    }
    job->pid = 0;
    many->running--;
}

int run_many(uint64_t first, uint64_t last, uint32_t jobs, const struct plan_choice *choice)
{
    struct many *many = calloc(1, sizeof(*many));

    RIA_ASSERT(many != NULL);
    many->todo = (struct range){first, last + 1};
    many->job_count = jobs;
    many->choice = choice;
    for (;;) {
        struct range seeds;
        if (many->running < jobs && next_range(many, &seeds)) {
            start(many, seeds);
        } else if (many->running > 0) {
            finish(many);
        } else {
            break;
        }
    }
    if (many->failed > 0) {
        (void)printf("again, with its history: make sim SEED=%" PRIu64 "\n", many->first_failed);
    }
    (void)printf("%" PRIu64 " passed, %" PRIu64 " failed\n", many->passed, many->failed);
    int code = many->failed == 0 ? 0 : 1;
    free(many);
    return code;
}
