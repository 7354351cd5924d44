#include "tests/sim/shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"

enum {
    TRIAL_SECONDS_MAX = 60,
    RUNS_MAX = 300,
    TURNS_MAX = 8 * 1000 * 1000, /* of all runs; under a minute without optimization */
    LINE_SIZE = 512,
};

/* ---- one attempt ---- */

RIA_NORETURN static void cannot(const char *what)
{
    perror(what);
    exit(2);
}

/* In the child: what is said on `out` is one line for the parent. */
RIA_NORETURN static void run_child(const struct run_options *options, int out)
{
    struct run_result result;

    (void)alarm(TRIAL_SECONDS_MAX);
    if (dup2(out, STDERR_FILENO) < 0) {
        cannot("sim: dup2");
    }
    run_seed(options, &result);
    (void)fflush(stdout);
    (void)dprintf(
        out,
        "\nresult %" PRIu64 " %s\n",
        result.turns,
        result.verdict.count == 0 ? "" : result.verdict.violations[0].rule
    );
    _exit(0); /* a run that went wrong leaves its memory behind */
}

/* From what a process said before it died: the line that names the reason. */
static void take_last_words(const char *line, char *what)
{
    static const char *const marks[] = {"assertion failed", "SUMMARY: ", "runtime error: "};

    for (size_t i = 0; i < RIA_COUNT(marks) && what[0] == '\0'; i++) {
        if (strstr(line, marks[i]) != NULL) {
            (void)snprintf(what, SHRINK_WHAT_SIZE, "%.200s", line);
        }
    }
}

/* True: it came to its end. */
static bool read_child(int in, struct shrink_trial *trial)
{
    char line[LINE_SIZE];
    FILE *file = fdopen(in, "r");
    bool has_ended = false;

    if (file == NULL) {
        cannot("sim: fdopen");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "result ", 7) == 0) {
            char *rest = NULL;
            trial->turns = strtoull(line + 7, &rest, 10);
            (void)snprintf(trial->what, sizeof(trial->what), "%.200s", rest + (*rest == ' '));
            has_ended = true;
        } else if (line[0] != '\0') {
            (void)fprintf(stderr, "%s\n", line);
            take_last_words(line, trial->what);
        }
    }
    (void)fclose(file);
    return has_ended;
}

void shrink_try(const struct run_options *options, struct shrink_trial *out_trial)
{
    int ends[2];
    int status = 0;

    *out_trial = (struct shrink_trial){.turns = 0};
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
        run_child(options, ends[1]);
    }
    (void)close(ends[1]);
    bool has_ended = read_child(ends[0], out_trial);
    if (waitpid(pid, &status, 0) != pid) {
        cannot("sim: waitpid");
    }
    if (!has_ended && out_trial->what[0] == '\0') {
        (void)snprintf(
            out_trial->what,
            sizeof(out_trial->what),
            "ended by signal %d",
            WIFSIGNALED(status) ? WTERMSIG(status) : 0
        );
    }
}

/* ---- fewer and fewer ---- */

struct shrinking {
    struct plan *plan; /* the smallest so far */
    const struct shrink_trial *first;
    uint64_t turns;
    struct shrink_stats *stats;
};

/* Take the candidate if it breaks the same. */
static bool take_if_bad(struct shrinking *s, const struct plan *candidate)
{
    const struct run_options options = {.seed = candidate->seed, .plan = candidate};
    struct shrink_trial trial;

    if (s->stats->runs >= RUNS_MAX || s->turns >= TURNS_MAX) {
        s->stats->is_minimal = false;
        return false;
    }
    shrink_try(&options, &trial);
    s->stats->runs++;
    /* One that did not come to its end does not say what it cost. */
    s->turns += trial.turns == 0 ? s->first->turns + TURNS_MAX / RUNS_MAX : trial.turns;
    if (strcmp(trial.what, s->first->what) != 0) {
        return false;
    }
    *s->plan = *candidate;
    return true;
}

static bool try_without(struct shrinking *s, uint32_t first, uint32_t count)
{
    struct plan candidate = *s->plan;
    uint32_t behind = candidate.fault_count - first - count;

    memmove(
        &candidate.faults[first],
        &candidate.faults[first + count],
        behind * sizeof(candidate.faults[0])
    );
    candidate.fault_count -= count;
    return take_if_bad(s, &candidate);
}

/* From the last ones to the first. True: some could be spared. */
static bool spare_groups(struct shrinking *s, uint32_t size)
{
    bool any = false;

    for (uint32_t end = s->plan->fault_count; end > 0;) {
        uint32_t first = end > size ? end - size : 0;
        any = try_without(s, first, end - first) || any;
        end = first;
    }
    return any;
}

static void spare_network(struct shrinking *s)
{
    struct plan candidate = *s->plan;

    candidate.profile.spike_one_in = 0;
    (void)take_if_bad(s, &candidate);
    candidate = *s->plan;
    candidate.profile.reset_one_in = 0;
    (void)take_if_bad(s, &candidate);
    candidate = *s->plan;
    candidate.profile.linger_us_max = 0;
    (void)take_if_bad(s, &candidate);
}

/* End soon after the last fault began. */
static void spare_time(struct shrinking *s)
{
    struct plan candidate = *s->plan;
    int64_t last_us = candidate.fault_count == 0
                          ? 0
                          : candidate.faults[candidate.fault_count - 1].at_us +
                                candidate.faults[candidate.fault_count - 1].duration_us;

    candidate.chaos_us = last_us + 1000 * 1000;
    if (candidate.chaos_us < s->plan->chaos_us) {
        (void)take_if_bad(s, &candidate);
    }
}

void shrink_plan(
    struct plan *plan, const struct shrink_trial *trial, struct shrink_stats *out_stats
)
{
    *out_stats = (struct shrink_stats){.faults_before = plan->fault_count, .is_minimal = true};
    struct shrinking s = {.plan = plan, .first = trial, .stats = out_stats};

    for (uint32_t size = (plan->fault_count + 1) / 2; size > 1; size = (size + 1) / 2) {
        (void)spare_groups(&s, size);
    }
    while (plan->fault_count > 0 && spare_groups(&s, 1)) {
    }
    spare_network(&s);
    spare_time(&s);
    out_stats->faults_after = plan->fault_count;
}
