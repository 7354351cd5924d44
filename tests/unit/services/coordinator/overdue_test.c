/* Queues that nobody comes for: handed to gateways with the answers to their heartbeats. */
#include <stdio.h>

#include "schemas/gen/group_delete.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"

#include "services/coordinator/coordinator.h"
#include "services/shared/group_operations.h"
#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum {
    TOPIC = 1,
    GATEWAY = 70,
    LOCK_MS = 1000,
    GRACE_MS = 2000,
    ROUND_MS = 2000,     /* a walk over a few queues, and the pause before it */
    DEAD_MS = 30 * 1000, /* of a gateway's lease of dead records */
};

static void set_up(struct fixture *f)
{
    fixture_up(f);
    fixture_register_nodes(f, 1);
    CU_ASSERT_EQUAL_FATAL(fixture_create_topic(f, TOPIC, "jobs"), RIA_OK);
}

/* A queue whose records are dead after so many deliveries. */
static void make_queue(struct fixture *f, const char *group, int32_t deliveries_max)
{
    struct queue_open request;

    queue_open_init(&request);
    request.group = ria_slice_cstr(group);
    request.lock_ms = LOCK_MS;
    request.deliveries_max = deliveries_max;
    request.dead_topic = RIA_SLICE_LITERAL("letters");
    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_OPEN, &request, NULL), RIA_OK);
}

static ria_err receive(
    struct fixture *f,
    const char *group,
    int32_t partition,
    int32_t records,
    struct queue_receive_result *out
)
{
    struct queue_receive_queue_start start = {.partition = partition, .offset = 0};
    struct queue_receive_queue_end end = {.partition = partition, .offset = 10};
    const struct queue_receive request = {
        .group = ria_slice_cstr(group),
        .topic_id = fixture_uuid(TOPIC),
        .lock_ms = -1,
        .records_max = records,
        .dead_max = records == 0 ? 100 : 0,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };

    return fixture_group_call(f, GROUP_OPERATION_QUEUE_RECEIVE, &request, out);
}

static ria_err bury(struct fixture *f, const struct queue_receive_result_queue_dead *dead)
{
    struct queue_ack_queue_ack_entry entry = {
        .partition = dead->partition,
        .lease_id = dead->lease_id,
        .first = dead->first,
        .last = dead->last,
        .action = 6,
        .delay_ms = -1,
    };
    const struct queue_ack request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(TOPIC),
        .entries = &entry,
        .entries_count = 1,
    };
    struct queue_ack_result result;

    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_ACK, &request, &result), RIA_OK);
    return (ria_err)result.entries[0].error_code;
}

static uint32_t told(struct fixture *f, process_role role, struct heartbeat_response *out)
{
    CU_ASSERT_EQUAL(fixture_heartbeat(f, GATEWAY, (int)role, out), RIA_OK);
    return out->overdue_count;
}

/* Is it told of one queue, within a round? */
static bool is_told(struct fixture *f, const char *group)
{
    struct heartbeat_response response;
    uint32_t count = 0;

    for (int i = 0; count == 0 && i < ROUND_MS / 100; i++) {
        fixture_advance(f, 100);
        count = told(f, PROCESS_GATEWAY, &response);
    }
    return count == 1 && ria_slice_equal(response.overdue[0].group, ria_slice_cstr(group)) &&
           ria_uuid_equal(response.overdue[0].topic_id, fixture_uuid(TOPIC));
}

static bool nothing_is_told(struct fixture *f)
{
    struct heartbeat_response response;

    for (int i = 0; i < 2 * ROUND_MS / 100; i++) {
        fixture_advance(f, 100);
        if (told(f, PROCESS_GATEWAY, &response) != 0) {
            return false;
        }
    }
    return true;
}

static void a_gateway_is_told_whose_dead_nobody_comes_for(void)
{
    struct fixture f;
    struct queue_receive_result received;
    struct heartbeat_response response;

    set_up(&f);
    make_queue(&f, "q", 1);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 3, &received), RIA_OK);
    fixture_advance(&f, LOCK_MS + GRACE_MS - 500);
    CU_ASSERT_EQUAL(told(&f, PROCESS_GATEWAY, &response), 0); /* somebody may come yet */
    fixture_advance(&f, ROUND_MS);
    CU_ASSERT_EQUAL(told(&f, PROCESS_TRANSFORM, &response), 0); /* it is no work for others */
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 0, &received), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(received.dead_count, 1);
    CU_ASSERT_EQUAL(received.dead[0].first, 0);
    CU_ASSERT_EQUAL(received.dead[0].last, 2);
    CU_ASSERT_TRUE(nothing_is_told(&f)); /* it has them */
    CU_ASSERT_EQUAL(bury(&f, &received.dead[0]), RIA_OK);
    fixture_advance(&f, 2 * DEAD_MS);
    CU_ASSERT_TRUE(nothing_is_told(&f));
    fixture_close(&f);
}

static void dead_records_of_a_gateway_that_died_go_to_another(void)
{
    struct fixture f;
    struct queue_receive_result received;

    set_up(&f);
    make_queue(&f, "q", 1);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 3, &received), RIA_OK);
    fixture_advance(&f, LOCK_MS + GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 0, &received), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(received.dead_count, 1);
    struct queue_receive_result_queue_dead first = received.dead[0];
    fixture_advance(&f, DEAD_MS + GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 0, &received), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(received.dead_count, 1);
    CU_ASSERT_EQUAL(bury(&f, &first), RIA_ERR_CONFLICT); /* it was only slow: too late */
    CU_ASSERT_EQUAL(bury(&f, &received.dead[0]), RIA_OK);
    CU_ASSERT_TRUE(nothing_is_told(&f));
    fixture_close(&f);
}

static void a_lost_answer_is_made_up_for_by_the_next_walk(void)
{
    struct fixture f;
    struct queue_receive_result received;

    set_up(&f);
    make_queue(&f, "q", 1);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 3, &received), RIA_OK);
    fixture_advance(&f, LOCK_MS + GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_TRUE(is_told(&f, "q"));
    fixture_crash(&f, true);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    fixture_advance(&f, GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    fixture_close(&f);
}

/* What may still be delivered waits for consumers, without a word: it is looked at once. */
static void an_abandoned_queue_is_looked_after_once(void)
{
    struct fixture f;
    struct queue_receive_result received;

    set_up(&f);
    make_queue(&f, "q", 16);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 3, &received), RIA_OK);
    fixture_advance(&f, LOCK_MS + GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 0, &received), RIA_OK);
    CU_ASSERT_EQUAL(received.dead_count, 0);
    CU_ASSERT_TRUE(nothing_is_told(&f));
    fixture_close(&f);
}

/* A queue that was deleted since is not made again by whoever looks after it. */
static void a_deleted_queue_stays_deleted(void)
{
    struct fixture f;
    struct queue_receive_result received;
    const struct group_delete request = {.group = RIA_SLICE_LITERAL("q"), .force = true};

    set_up(&f);
    make_queue(&f, "q", 1);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 3, &received), RIA_OK);
    fixture_advance(&f, LOCK_MS + GRACE_MS);
    CU_ASSERT_TRUE(is_told(&f, "q"));
    CU_ASSERT_EQUAL(fixture_group_call(&f, GROUP_OPERATION_DELETE, &request, NULL), RIA_OK);
    CU_ASSERT_EQUAL(receive(&f, "q", 0, 0, &received), RIA_ERR_NOT_FOUND);
    CU_ASSERT_TRUE(nothing_is_told(&f));
    fixture_close(&f);
}

/* More than are kept at a time, on two partitions each: all of them in the end, each once. */
static void many_are_handed_out_by_and_by(void)
{
    enum { QUEUES = 2 * OVERDUE_FOUND_MAX + 3 };
    struct fixture f;
    struct queue_receive_result received;
    struct heartbeat_response response;
    uint32_t count = 0;
    char name[16];

    set_up(&f);
    for (int i = 0; i < QUEUES; i++) {
        (void)snprintf(name, sizeof(name), "q%d", i);
        make_queue(&f, name, 1);
        CU_ASSERT_EQUAL(receive(&f, name, 0, 3, &received), RIA_OK);
        CU_ASSERT_EQUAL(receive(&f, name, 1, 3, &received), RIA_OK);
    }
    fixture_advance(&f, LOCK_MS + GRACE_MS);
    for (int i = 0; i < 100 && count < QUEUES; i++) {
        fixture_advance(&f, 250);
        uint32_t some = told(&f, PROCESS_GATEWAY, &response);
        CU_ASSERT_TRUE_FATAL(some <= 8);
        char names[8][16];
        for (uint32_t k = 0; k < some; k++) {
            struct ria_slice group = response.overdue[k].group;
            (void)snprintf(names[k], sizeof(names[k]), RIA_SLICE_FMT, RIA_SLICE_ARG(group));
        }
        for (uint32_t k = 0; k < some; k++) {
            CU_ASSERT_EQUAL(receive(&f, names[k], 0, 0, &received), RIA_OK);
            CU_ASSERT_EQUAL(received.dead_count, 2); /* both partitions */
        }
        count += some;
    }
    CU_ASSERT_EQUAL(count, QUEUES);
    CU_ASSERT_TRUE(nothing_is_told(&f));
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_gateway_is_told_whose_dead_nobody_comes_for),
    HARNESS_TEST(dead_records_of_a_gateway_that_died_go_to_another),
    HARNESS_TEST(a_lost_answer_is_made_up_for_by_the_next_walk),
    HARNESS_TEST(an_abandoned_queue_is_looked_after_once),
    HARNESS_TEST(a_deleted_queue_stays_deleted),
    HARNESS_TEST(many_are_handed_out_by_and_by),
};

HARNESS_MAIN(tests);
