/* A leader's in-sync set: who is proposed to leave and to return, and what the answers change. */
#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/alter_isr_response.h"

#include "services/shared/cluster.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup(const char *replicas, const char *setting)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, replicas, setting);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

/* The proposal under way as digits ("12"), or "" if there is none. */
static const char *proposal(struct storage_fixture *f)
{
    static char text[16];
    struct alter_isr_request request;
    const struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_ALTER_ISR);
    uint32_t i = 0;

    if (call != NULL) {
        ria_arena_reset(&f->arena);
        fake_rpc_decode(call, &f->arena, &request);
        for (; i < request.isr_count; i++) {
            text[i] = (char)('0' + request.isr[i]);
        }
        CU_ASSERT_EQUAL(request.leader_epoch, 5);
    }
    text[i] = '\0';
    return text;
}

static void agree(struct storage_fixture *f, int32_t partition_epoch)
{
    struct alter_isr_response response = {.partition_epoch = partition_epoch};
    struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_ALTER_ISR);

    CU_ASSERT_PTR_NOT_NULL(call);
    if (call != NULL) {
        fake_rpc_answer(call, &response);
    }
}

static void refuse(struct storage_fixture *f, ria_err err)
{
    struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_ALTER_ISR);

    CU_ASSERT_PTR_NOT_NULL(call);
    if (call != NULL) {
        fake_rpc_refuse(call, err);
    }
}

/* Nodes 2 and 3 have said that they are there. */
static void hear_all(struct storage_fixture *f)
{
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, fixture_info(f).end_offset), RIA_OK);
    CU_ASSERT_EQUAL(fixture_report(f, 3, 5, fixture_info(f).end_offset), RIA_OK);
}

static void a_follower_that_stays_behind_is_proposed_to_leave(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 900);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    fixture_run_ms(f, 300);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    CU_ASSERT_FALSE(request->done); /* a smaller set counts only when it is agreed */
    agree(f, 2);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    fixture_run_ms(f, 5000);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    teardown(f);
}

static void reports_commit_nothing_while_a_smaller_set_is_only_proposed(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 1200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_FALSE(request->done);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    agree(f, 2);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void an_idle_follower_that_has_everything_stays(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    fixture_run_ms(f, 10000);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    /* The lag begins with the record, not with the last report. */
    (void)fixture_produce_one(f);
    fixture_run_ms(f, 800);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    hear_all(f);
    teardown(f);
}

static void a_follower_that_is_slow_but_moves_stays(void)
{
    struct storage_fixture *f = setup("12", "replica.lag.time.max.ms=1000");

    (void)fixture_report(f, 2, 5, 0);
    for (int64_t i = 0; i < 30; i++) { /* always one record behind */
        (void)fixture_produce_one(f);
        fixture_run_ms(f, 200);
        (void)fixture_report(f, 2, 5, i);
    }
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    (void)fixture_report(f, 2, 5, 30);
    teardown(f);
}

static void a_follower_never_heard_of_leaves_an_empty_log(void)
{
    struct storage_fixture *f = setup("12", "replica.lag.time.max.ms=1000");

    fixture_run_ms(f, 1500);
    CU_ASSERT_STRING_EQUAL(proposal(f), "1");
    agree(f, 2);
    teardown(f);
}

static void a_follower_that_returns_is_proposed_and_counts_at_once(void)
{
    struct storage_fixture *f = setup("123", NULL);

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    (void)fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    (void)fixture_report(f, 3, 5, 0); /* misses a committed record */
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    (void)fixture_report(f, 3, 5, 1);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    /* Maximal ISR: until the answer is in, the larger set counts. */
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 2);
    CU_ASSERT_FALSE(request->done);
    agree(f, 3);
    CU_ASSERT_FALSE(request->done);
    (void)fixture_report(f, 3, 5, 2);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void a_follower_of_an_older_epoch_does_not_return_before_the_epochs_start(void)
{
    struct storage_fixture *f = setup("12", NULL);

    (void)fixture_produce_one(f);
    (void)fixture_produce_one(f);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 1), RIA_OK); /* hw is 0, but the epoch began at 2 */
    CU_ASSERT_EQUAL(fake_rpc_count(&f->rpc, API_ALTER_ISR), 0);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 2), RIA_OK);
    CU_ASSERT_EQUAL(fake_rpc_count(&f->rpc, API_ALTER_ISR), 1);
    teardown(f);
}

static void a_follower_that_was_put_out_does_not_return_before_it_moves(void)
{
    struct storage_fixture *f = setup("12", "replica.lag.time.max.ms=1000");

    (void)fixture_report(f, 2, 5, 0);
    (void)fixture_produce_one(f);
    fixture_run_ms(f, 1500);
    CU_ASSERT_STRING_EQUAL(proposal(f), "1");
    agree(f, 2);
    /* One in sync is fewer than two: the high watermark stays where the follower is. */
    fixture_run_ms(f, 5000);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    (void)fixture_report(f, 2, 5, 0);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    agree(f, 3);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void a_conflict_keeps_the_old_set(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 1200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    refuse(f, RIA_ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    CU_ASSERT_FALSE(request->done);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    /* What the conflict was with arrives: the next proposal is based on it. */
    fixture_partition(f, 1, 0, 1, 5, 7, "123", "123");
    fixture_publish(f);
    fixture_run_ms(f, 700);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    agree(f, 8);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void an_answer_that_never_came_keeps_the_larger_set(void)
{
    struct storage_fixture *f = setup("123", NULL);

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    (void)fixture_report(f, 2, 5, 0);
    (void)fixture_report(f, 3, 5, 0);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    fake_rpc_fail(fake_rpc_find(&f->rpc, API_ALTER_ISR), RIA_ERR_TIMEOUT);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_FALSE(request->done); /* node 3 may be in the set by now */
    fixture_run_ms(f, 700);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123"); /* the same again */
    refuse(f, RIA_ERR_CONFLICT);                /* it was applied */
    CU_ASSERT_FALSE(request->done);
    fixture_partition(f, 1, 0, 1, 5, 3, "123", "123");
    fixture_publish(f);
    CU_ASSERT_FALSE(request->done);
    (void)fixture_report(f, 3, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

/* Of a version that is not known here: what this node cannot read says nothing of what was done. */
static void an_answer_that_cannot_be_read_keeps_the_larger_set(void)
{
    struct storage_fixture *f = setup("123", NULL);
    const struct request_header to = {.api_key = API_ALTER_ISR};
    struct alter_isr_response response = {.partition_epoch = 3};
    struct response_header header;

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    (void)fixture_report(f, 2, 5, 0);
    (void)fixture_report(f, 3, 5, 0);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    struct ria_msg *msg = envelope_reply(&to, &response, 0, NULL);
    struct ria_reader reader = ria_reader_of(ria_slice_of(ria_msg_data(msg), ria_msg_size(msg)));
    CU_ASSERT_EQUAL(response_header_decode(&header, 0, &reader, NULL), RIA_OK);
    header.api_version = ALTER_ISR_RESPONSE_VERSION_MAX + 1;
    struct ria_writer writer = ria_writer_of(ria_msg_data(msg), ria_msg_size(msg));
    response_header_encode(&header, 0, &writer);
    fake_rpc_answer_msg(fake_rpc_find(&f->rpc, API_ALTER_ISR), msg);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_FALSE(request->done); /* node 3 may be in the set by now */
    (void)fixture_report(f, 3, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void metadata_that_is_newer_decides_a_proposal(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 1200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    agree(f, 2); /* comes too late to matter */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void nothing_changes_while_the_coordinator_is_silent(void)
{
    struct storage_fixture *f = setup("123", "replica.lag.time.max.ms=1000");

    hear_all(f);
    f->coordinator_away = true;
    fixture_run_ms(f, 5000);
    struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 5000);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    CU_ASSERT_FALSE(request->done);
    (void)fixture_report(f, 3, 5, 1); /* the data plane goes on */
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

/* ---- what the coordinator does by itself (docs/design/008-failover.md) ---- */

/* Once a dead follower cost the first write to an idle partition replica.lag.time.max.ms. */
static void a_fenced_follower_costs_the_first_write_nothing(void)
{
    struct storage_fixture *f = setup("123", NULL);

    hear_all(f);
    fixture_run_ms(f, 60000); /* idle; node 3 dies and is fenced */
    fixture_node(f, 3, CLUSTER_NODE_SILENT);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void a_set_made_smaller_by_the_coordinator_commits_at_once(void)
{
    struct storage_fixture *f = setup("123", NULL);

    hear_all(f);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_BUSY);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12"); /* the same leader epoch */
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void a_set_made_too_small_by_the_coordinator_refuses_before_it_appends(void)
{
    struct storage_fixture *f = setup("123", "min.insync.replicas=2");

    hear_all(f);
    const struct ria_rpc_request *waiting = fixture_produce_one(f);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_BUSY); /* not committed by one alone */
    const struct ria_rpc_request *refused = fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_error(refused), RIA_ERR_NOT_ENOUGH_REPLICAS);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    fixture_partition(f, 1, 0, 1, 5, 3, "123", "12");
    fixture_publish(f);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_OK);
    teardown(f);
}

static void a_fenced_node_is_not_proposed_and_keeps_nobody_out(void)
{
    struct storage_fixture *f = setup("123", NULL);

    fixture_node(f, 3, CLUSTER_NODE_SHUT_DOWN);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    hear_all(f);
    fixture_run_ms(f, 200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    agree(f, 3);
    fixture_run_ms(f, 5000);
    CU_ASSERT_STRING_EQUAL(proposal(f), "");
    fixture_node(f, 3, CLUSTER_NODE_ACTIVE); /* heard again: nothing else changes */
    fixture_publish(f);
    fixture_run_ms(f, 200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    teardown(f);
}

static void a_refused_proposal_does_not_spin(void)
{
    struct storage_fixture *f = setup("12", "min.insync.replicas=1");
    unsigned proposals = 0;

    fixture_partition(f, 1, 0, 1, 5, 2, "12", "1");
    fixture_publish(f);
    (void)fixture_report(f, 2, 5, 0);
    for (int i = 0; i < 100; i++) { /* the coordinator knows it fenced, this node does not yet */
        if (proposal(f)[0] != '\0') {
            proposals++;
            refuse(f, RIA_ERR_CONFLICT);
        }
        fixture_run_ms(f, 50);
    }
    CU_ASSERT_TRUE(proposals >= 5);
    CU_ASSERT_TRUE(proposals <= 11); /* PARTITION_ISR_RETRY_MS */
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    teardown(f);
}

/* Sent once without an answer, refused when sent again because the node is fenced by now: the high
 * watermark waited for that node until it came back. */
static void an_unanswered_proposal_that_cannot_be_had_any_more_is_withdrawn(void)
{
    struct storage_fixture *f = setup("123", NULL);

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    hear_all(f);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    fake_rpc_fail(fake_rpc_find(&f->rpc, API_ALTER_ISR), RIA_ERR_TIMEOUT);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_node(f, 3, CLUSTER_NODE_SILENT);
    fixture_publish(f);
    fixture_run_ms(f, 700);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    refuse(f, RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_BUSY); /* the first may still be applied */
    fixture_run_ms(f, 700);
    CU_ASSERT_STRING_EQUAL(proposal(f), "12");
    agree(f, 3);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void what_an_unfit_replica_reported_before_does_not_count(void)
{
    struct storage_fixture *f = setup("123", NULL);

    hear_all(f);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_unfit(f, 1, 0, "3");
    fixture_publish(f);
    fixture_run_ms(f, 2000);
    CU_ASSERT_STRING_EQUAL(proposal(f), ""); /* what it had may be lost */
    (void)fixture_report(f, 3, 5, 0);
    fixture_run_ms(f, 200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    teardown(f);
}

static void what_a_replica_reported_before_it_was_started_anew_does_not_count(void)
{
    struct storage_fixture *f = setup("123", NULL);

    f->reporter_incarnation = 7;
    hear_all(f);
    fixture_node(f, 3, CLUSTER_NODE_ACTIVE);
    f->node_rows[0].incarnation = 8;
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    fixture_run_ms(f, 2000);
    CU_ASSERT_STRING_EQUAL(proposal(f), ""); /* its log may have lost its end */
    f->reporter_incarnation = 8;
    (void)fixture_report(f, 3, 5, 0);
    fixture_run_ms(f, 200);
    CU_ASSERT_STRING_EQUAL(proposal(f), "123");
    teardown(f);
}

static void a_late_report_of_the_process_before_changes_nothing(void)
{
    struct storage_fixture *f = setup("123", "min.insync.replicas=1");

    fixture_node(f, 2, CLUSTER_NODE_ACTIVE);
    f->node_rows[0].incarnation = 8;
    fixture_partition(f, 1, 0, 1, 5, 2, "12", "12");
    fixture_publish(f);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    fixture_run_ms(f, 5);
    f->reporter_incarnation = 8;
    (void)fixture_report(f, 2, 5, 0);
    f->reporter_incarnation = 7;
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_BUSY); /* no answer yet */
    f->reporter_incarnation = 8;
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void a_partition_without_a_leader_takes_nothing_and_comes_back(void)
{
    struct storage_fixture *f = setup("12", "min.insync.replicas=1");

    const struct ria_rpc_request *waiting = fixture_produce_one(f);
    fixture_partition(f, 1, 0, -1, 5, 2, "12", "1");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_ERR_NOT_LEADER);
    fixture_partition(f, 1, 0, 1, 6, 3, "12", "1");
    fixture_publish(f);
    const struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 6});
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_follower_that_stays_behind_is_proposed_to_leave),
    HARNESS_TEST(reports_commit_nothing_while_a_smaller_set_is_only_proposed),
    HARNESS_TEST(an_idle_follower_that_has_everything_stays),
    HARNESS_TEST(a_follower_that_is_slow_but_moves_stays),
    HARNESS_TEST(a_follower_never_heard_of_leaves_an_empty_log),
    HARNESS_TEST(a_follower_that_returns_is_proposed_and_counts_at_once),
    HARNESS_TEST(a_follower_of_an_older_epoch_does_not_return_before_the_epochs_start),
    HARNESS_TEST(a_follower_that_was_put_out_does_not_return_before_it_moves),
    HARNESS_TEST(a_conflict_keeps_the_old_set),
    HARNESS_TEST(an_answer_that_never_came_keeps_the_larger_set),
    HARNESS_TEST(an_answer_that_cannot_be_read_keeps_the_larger_set),
    HARNESS_TEST(metadata_that_is_newer_decides_a_proposal),
    HARNESS_TEST(nothing_changes_while_the_coordinator_is_silent),
    HARNESS_TEST(a_fenced_follower_costs_the_first_write_nothing),
    HARNESS_TEST(a_set_made_smaller_by_the_coordinator_commits_at_once),
    HARNESS_TEST(a_set_made_too_small_by_the_coordinator_refuses_before_it_appends),
    HARNESS_TEST(a_fenced_node_is_not_proposed_and_keeps_nobody_out),
    HARNESS_TEST(a_refused_proposal_does_not_spin),
    HARNESS_TEST(an_unanswered_proposal_that_cannot_be_had_any_more_is_withdrawn),
    HARNESS_TEST(what_an_unfit_replica_reported_before_does_not_count),
    HARNESS_TEST(what_a_replica_reported_before_it_was_started_anew_does_not_count),
    HARNESS_TEST(a_late_report_of_the_process_before_changes_nothing),
    HARNESS_TEST(a_partition_without_a_leader_takes_nothing_and_comes_back),
};
HARNESS_MAIN(tests);
