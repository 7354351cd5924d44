#include "services/coordinator/consensus.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

/* A machine that counts: each command is one byte, which is its result's err. */
struct world {
    struct fixture f; /* for its clock and timers */
    struct consensus *consensus;
    int groups;
    bool in_group;
    int64_t applied;
    int64_t committed;
    int done_calls;
    int64_t done_index;
    ria_err done_err;
    ria_err done_result;
    bool propose_again;
    int64_t us_per_command;
};

static void machine_begin(void *arg)
{
    struct world *w = arg;

    CU_ASSERT_FALSE(w->in_group);
    w->in_group = true;
}

static void
machine_apply(void *arg, int64_t index, struct ria_slice command, struct command_result *out_result)
{
    struct world *w = arg;

    CU_ASSERT_TRUE(w->in_group);
    CU_ASSERT_EQUAL(index, w->applied + 1);
    memset(out_result, 0, sizeof(*out_result));
    out_result->err = (ria_err)command.data[0];
    w->applied = index;
    w->f.mono_us += w->us_per_command;
}

static void machine_commit(void *arg, int64_t index)
{
    struct world *w = arg;

    CU_ASSERT_TRUE(w->in_group);
    CU_ASSERT_EQUAL(index, w->applied);
    w->in_group = false;
    w->committed = index;
    w->groups++;
}

static ria_err propose(struct world *w, ria_err result);

static void on_done(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct world *w = arg;

    if (err == RIA_OK) {
        CU_ASSERT_TRUE(index <= w->committed);
        CU_ASSERT_EQUAL(index, w->done_index + 1); /* in order */
        w->done_result = result->err;
    } else {
        CU_ASSERT_PTR_NULL(result);
    }
    w->done_index = index;
    w->done_err = err;
    w->done_calls++;
    if (w->propose_again) {
        w->propose_again = false;
        CU_ASSERT_EQUAL(propose(w, RIA_OK), RIA_OK);
    }
}

static ria_err propose(struct world *w, ria_err result)
{
    uint8_t *command = malloc(1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(command);
    command[0] = (uint8_t)result;
    ria_err err = consensus_propose(w->consensus, command, 1, on_done, w);
    if (err != RIA_OK) {
        free(command);
    }
    return err;
}

static void set_up(struct world *w, int64_t applied)
{
    const struct consensus_machine machine = {
        .begin = machine_begin,
        .apply = machine_apply,
        .commit = machine_commit,
        .arg = w,
    };

    memset(w, 0, sizeof(*w));
    fixture_open(&w->f);
    w->applied = applied;
    w->done_index = applied;
    CU_ASSERT_EQUAL_FATAL(consensus_new(&w->f.env, &machine, applied, &w->consensus), RIA_OK);
}

static void tear_down(struct world *w)
{
    consensus_free(w->consensus);
    fixture_close(&w->f);
}

static void nothing_happens_inside_propose(void)
{
    struct world w;

    set_up(&w, 0);
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    CU_ASSERT_EQUAL(w.applied, 0);
    CU_ASSERT_EQUAL(w.done_calls, 0);
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.done_calls, 1);
    CU_ASSERT_EQUAL(w.done_err, RIA_OK);
    tear_down(&w);
}

static void indexes_go_on_from_the_applied_one(void)
{
    struct world w;

    set_up(&w, 41);
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.done_index, 42);
    tear_down(&w);
}

static void one_turns_proposals_are_one_group(void)
{
    struct world w;
    struct consensus_stats stats;

    set_up(&w, 0);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    }
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.groups, 1);
    CU_ASSERT_EQUAL(w.done_calls, 100);
    consensus_get_stats(w.consensus, &stats);
    CU_ASSERT_EQUAL(stats.commands, 100);
    CU_ASSERT_EQUAL(stats.groups, 1);
    CU_ASSERT_EQUAL(stats.pending, 0);
    tear_down(&w);
}

static void large_turns_are_several_groups(void)
{
    struct world w;

    set_up(&w, 0);
    for (int i = 0; i < 2 * CONSENSUS_GROUP_MAX + 1; i++) {
        CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    }
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.groups, 3);
    CU_ASSERT_EQUAL(w.done_calls, 2 * CONSENSUS_GROUP_MAX + 1);
    tear_down(&w);
}

static void a_slow_group_ends_early(void)
{
    struct world w;

    set_up(&w, 0);
    w.us_per_command = CONSENSUS_GROUP_US / 2;
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    }
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.groups, 1);
    CU_ASSERT_EQUAL(w.done_calls, 3);
    fixture_advance(&w.f, 1000);
    CU_ASSERT_EQUAL(w.groups, 2);
    CU_ASSERT_EQUAL(w.done_calls, 6);
    tear_down(&w);
}

static void a_commands_own_error_is_a_result(void)
{
    struct world w;

    set_up(&w, 0);
    CU_ASSERT_EQUAL(propose(&w, RIA_ERR_EXISTS), RIA_OK);
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.done_err, RIA_OK);
    CU_ASSERT_EQUAL(w.done_result, RIA_ERR_EXISTS);
    tear_down(&w);
}

static void proposing_from_a_callback_is_the_next_group(void)
{
    struct world w;

    set_up(&w, 0);
    w.propose_again = true;
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(w.groups, 2);
    CU_ASSERT_EQUAL(w.done_calls, 2);
    tear_down(&w);
}

static void too_many_proposals_are_refused(void)
{
    struct world w;

    set_up(&w, 0);
    for (int i = 0; i < CONSENSUS_PENDING_MAX; i++) {
        if (propose(&w, RIA_OK) != RIA_OK) {
            CU_FAIL("refused too early");
        }
    }
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_ERR_BUSY);
    fixture_advance(&w.f, 0);
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    tear_down(&w);
}

static void freeing_ends_what_is_under_way(void)
{
    struct world w;

    set_up(&w, 0);
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    consensus_free(w.consensus);
    w.consensus = NULL;
    CU_ASSERT_EQUAL(w.done_calls, 1);
    CU_ASSERT_EQUAL(w.done_err, RIA_ERR_SHUTDOWN);
    CU_ASSERT_EQUAL(w.applied, 0);
    tear_down(&w);
}

static void flush_commits_at_once(void)
{
    struct world w;

    set_up(&w, 0);
    CU_ASSERT_EQUAL(propose(&w, RIA_OK), RIA_OK);
    consensus_flush(w.consensus);
    CU_ASSERT_EQUAL(w.done_calls, 1);
    CU_ASSERT_EQUAL(w.committed, 1);
    tear_down(&w);
}

static void one_node_always_leads(void)
{
    struct world w;

    set_up(&w, 0);
    CU_ASSERT_EQUAL(consensus_get_role(w.consensus), CONSENSUS_LEADER);
    tear_down(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(nothing_happens_inside_propose),
    HARNESS_TEST(indexes_go_on_from_the_applied_one),
    HARNESS_TEST(one_turns_proposals_are_one_group),
    HARNESS_TEST(large_turns_are_several_groups),
    HARNESS_TEST(a_slow_group_ends_early),
    HARNESS_TEST(a_commands_own_error_is_a_result),
    HARNESS_TEST(proposing_from_a_callback_is_the_next_group),
    HARNESS_TEST(too_many_proposals_are_refused),
    HARNESS_TEST(freeing_ends_what_is_under_way),
    HARNESS_TEST(flush_commits_at_once),
    HARNESS_TEST(one_node_always_leads),
};
HARNESS_MAIN(tests);
