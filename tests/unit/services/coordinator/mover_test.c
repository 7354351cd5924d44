/* Drains and rebalancing, carried out by a whole coordinator; the test plays the storage nodes. */
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_node_response.h"
#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/alter_rebalance_response.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/plan_rebalance_request.h"
#include "schemas/gen/plan_rebalance_response.h"
#include "schemas/gen/reassign_partitions_request.h"

#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 50, PARTITIONS_MAX = 64 };

struct world {
    struct fixture f;
    uint32_t nodes;
    uint32_t silent; /* this node is not heard; 0 = all are */
};

/* Time passes; the nodes are heard. */
static void live(struct world *w, int64_t ms)
{
    for (int64_t at = 0; at < ms; at += 100) {
        for (uint32_t node = 1; node <= w->nodes; node++) {
            if (node != w->silent) {
                CU_ASSERT_EQUAL(fixture_heartbeat(&w->f, node, PROCESS_STORAGE, NULL), RIA_OK);
            }
        }
        fixture_advance(&w->f, 100);
    }
}

/* `old` nodes with a topic spread over them, then more nodes. The coordinator has listened for a
 * session. */
static void
set_up(struct world *w, uint32_t old, uint32_t more, int32_t partitions, int16_t replicas)
{
    struct create_topic_request topic = fixture_topic(TOPIC, "orders", partitions, replicas);

    memset(w, 0, sizeof(*w));
    fixture_up(&w->f);
    w->nodes = old;
    fixture_register_nodes(&w->f, old);
    live(w, 4000);
    CU_ASSERT_EQUAL_FATAL(fixture_call(&w->f, API_CREATE_TOPIC, &topic, NULL), RIA_OK);
    w->nodes = old + more;
    fixture_register_nodes(&w->f, w->nodes);
    live(w, 200);
}

/* All rows of partitions; valid until the next request. */
static struct metadata_response look(struct world *w)
{
    struct metadata_response response;

    CU_ASSERT_EQUAL_FATAL(fixture_metadata(&w->f, 0, &response), RIA_OK);
    return response;
}

static bool has(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static uint32_t count_moving(struct world *w)
{
    struct metadata_response response = look(w);
    uint32_t count = 0;

    for (uint32_t i = 0; i < response.partitions_count; i++) {
        count += response.partitions[i].target_count > 0 ? 1 : 0;
    }
    return count;
}

static uint32_t count_replicas(struct world *w, int32_t node)
{
    struct metadata_response response = look(w);
    uint32_t count = 0;

    for (uint32_t i = 0; i < response.partitions_count; i++) {
        count += has(response.partitions[i].replicas, response.partitions[i].replicas_count, node);
    }
    return count;
}

/* Every follower catches up: leaders propose all replicas. Returns how many of them moved. */
static uint32_t catch_up(struct world *w)
{
    int32_t isr[PARTITIONS_MAX][RIA_REPLICAS_MAX];
    struct alter_isr_request requests[PARTITIONS_MAX];
    struct metadata_response response = look(w);
    uint32_t count = 0;

    for (uint32_t i = 0; i < response.partitions_count; i++) {
        const struct metadata_response_metadata_partition *row = &response.partitions[i];
        if (row->target_count == 0) {
            continue;
        }
        memcpy(isr[count], row->replicas, row->replicas_count * sizeof(isr[0][0]));
        requests[count] = (struct alter_isr_request){
            .topic_id = row->topic_id,
            .partition = row->partition,
            .leader_epoch = row->leader_epoch,
            .partition_epoch = row->partition_epoch,
            .isr = isr[count],
            .isr_count = row->replicas_count,
        };
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(fixture_call(&w->f, API_ALTER_ISR, &requests[i], NULL), RIA_OK);
    }
    return count;
}

static int32_t alter_node(struct world *w, int32_t node, int8_t action)
{
    struct alter_node_request request = {.node_id = node, .action = action, .drain_epoch = -1};
    struct alter_node_response response = {.replicas = -1};

    CU_ASSERT_EQUAL(fixture_call(&w->f, API_ALTER_NODE, &request, &response), RIA_OK);
    return response.replicas;
}

static bool rebalance(struct world *w, bool run)
{
    struct alter_rebalance_request request = {.run = run};
    struct alter_rebalance_response response;

    CU_ASSERT_EQUAL(fixture_call(&w->f, API_ALTER_REBALANCE, &request, &response), RIA_OK);
    return response.was_running;
}

static struct plan_rebalance_response plan(struct world *w, int8_t kind, int32_t node)
{
    struct plan_rebalance_request request = {.kind = kind, .node_id = node, .moves_max = 1000};
    struct plan_rebalance_response response;

    CU_ASSERT_EQUAL_FATAL(fixture_call(&w->f, API_PLAN_REBALANCE, &request, &response), RIA_OK);
    return response;
}

/* ---- drains ---- */

static void a_draining_node_becomes_empty_in_bounded_steps(void)
{
    struct world w;
    uint32_t steps = 0;

    set_up(&w, 4, 0, 40, 3);
    w.f.options.moves_max = 4;
    uint32_t replicas = count_replicas(&w, 2);
    CU_ASSERT_EQUAL((uint32_t)alter_node(&w, 2, 1), replicas);
    for (; count_replicas(&w, 2) > 0 && steps < 100; steps++) {
        live(&w, 1000);
        CU_ASSERT_TRUE(count_moving(&w) <= 4);
        (void)catch_up(&w);
    }
    CU_ASSERT_EQUAL(count_replicas(&w, 2), 0);
    CU_ASSERT_TRUE(steps >= replicas / 4);
    CU_ASSERT_TRUE(steps <= replicas / 4 + 3);
    live(&w, 2000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    fixture_close(&w.f);
}

static void a_drain_goes_on_after_a_crash_of_the_coordinator(void)
{
    struct world w;

    set_up(&w, 4, 0, 8, 3);
    w.f.options.moves_max = 2;
    (void)alter_node(&w, 1, 1);
    live(&w, 1000);
    CU_ASSERT_EQUAL(count_moving(&w), 2);
    fixture_crash(&w.f, true);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&w.f), RIA_OK);
    CU_ASSERT_EQUAL(count_moving(&w), 2);
    for (int i = 0; i < 12; i++) {
        live(&w, 1000);
        (void)catch_up(&w);
    }
    CU_ASSERT_EQUAL(count_replicas(&w, 1), 0);
    fixture_close(&w.f);
}

static void a_drain_that_is_taken_back_begins_nothing_new(void)
{
    struct world w;

    set_up(&w, 4, 0, 16, 3);
    w.f.options.moves_max = 2;
    (void)alter_node(&w, 1, 1);
    live(&w, 1000);
    (void)alter_node(&w, 1, 2);
    uint32_t left = count_replicas(&w, 1);
    CU_ASSERT_EQUAL(catch_up(&w), 2);
    live(&w, 2000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    CU_ASSERT_EQUAL(count_replicas(&w, 1), left - 2);
    fixture_close(&w.f);
}

static void a_silent_node_can_be_drained(void)
{
    struct world w;

    set_up(&w, 4, 0, 8, 3);
    w.silent = 3;
    live(&w, 4000);
    (void)alter_node(&w, 3, 1);
    live(&w, 1000);
    CU_ASSERT_TRUE(count_moving(&w) > 0);
    struct metadata_response response = look(&w);
    for (uint32_t i = 0; i < response.partitions_count; i++) {
        CU_ASSERT_FALSE(has(response.partitions[i].target, response.partitions[i].target_count, 3));
    }
    fixture_close(&w.f);
}

static void nothing_moves_to_a_node_that_is_silent(void)
{
    struct world w;

    set_up(&w, 3, 1, 8, 3);
    w.silent = 4;
    live(&w, 4000);
    (void)alter_node(&w, 3, 1);
    live(&w, 2000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    struct plan_rebalance_response response = plan(&w, 2, -1);
    CU_ASSERT_EQUAL(response.stuck, 8);
    w.silent = 0; /* it is heard: the drain goes on */
    live(&w, 2000);
    CU_ASSERT_EQUAL(count_moving(&w), 8);
    fixture_close(&w.f);
}

static void be_heard_full(struct world *w, uint32_t node, bool full)
{
    const struct heartbeat_request request = {
        .process_uuid = fixture_uuid(node),
        .incarnation = 100,
        .role = PROCESS_STORAGE,
        .node_id = (int32_t)node,
        .full = full,
    };

    CU_ASSERT_EQUAL(fixture_call(&w->f, API_HEARTBEAT, &request, NULL), RIA_OK);
}

static void nothing_moves_to_a_node_without_room(void)
{
    struct world w;

    set_up(&w, 3, 1, 8, 3);
    w.silent = 4; /* live() does not speak for it */
    be_heard_full(&w, 4, true);
    (void)alter_node(&w, 3, 1);
    live(&w, 500);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    CU_ASSERT_EQUAL(plan(&w, 2, -1).stuck, 8);
    be_heard_full(&w, 4, false);
    live(&w, 500);
    CU_ASSERT_EQUAL(count_moving(&w), 8);
    fixture_close(&w.f);
}

/* ---- rebalancing ---- */

static void rebalancing_gives_a_new_node_its_share_and_ends(void)
{
    struct world w;

    set_up(&w, 3, 1, 16, 3);
    w.f.options.moves_max = 3;
    live(&w, 2000);
    CU_ASSERT_EQUAL(count_moving(&w), 0); /* by itself nothing moves */
    CU_ASSERT_FALSE(rebalance(&w, true));
    CU_ASSERT_TRUE(plan(&w, 1, -1).rebalancing);
    for (int i = 0; i < 20; i++) {
        live(&w, 1000);
        CU_ASSERT_TRUE(count_moving(&w) <= 3);
        (void)catch_up(&w);
    }
    CU_ASSERT_EQUAL(count_replicas(&w, 4), 12);
    CU_ASSERT_FALSE(rebalance(&w, false)); /* it had ended by itself */
    fixture_close(&w.f);
}

static void rebalancing_goes_on_after_a_crash(void)
{
    struct world w;

    set_up(&w, 3, 1, 16, 3);
    w.f.options.moves_max = 3;
    (void)rebalance(&w, true);
    live(&w, 1000);
    fixture_crash(&w.f, false);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&w.f), RIA_OK);
    for (int i = 0; i < 20; i++) {
        live(&w, 1000);
        (void)catch_up(&w);
    }
    CU_ASSERT_EQUAL(count_replicas(&w, 4), 12);
    fixture_close(&w.f);
}

static void rebalancing_that_is_stopped_begins_nothing_new(void)
{
    struct world w;

    set_up(&w, 3, 1, 16, 3);
    w.f.options.moves_max = 3;
    (void)rebalance(&w, true);
    live(&w, 1000);
    CU_ASSERT_TRUE(rebalance(&w, false));
    CU_ASSERT_EQUAL(catch_up(&w), 3);
    live(&w, 3000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    CU_ASSERT_EQUAL(count_replicas(&w, 4), 3);
    fixture_close(&w.f);
}

/* ---- targets that die ---- */

/* It waited for the node, or for an operator, for ever. */
static void a_move_to_a_node_that_stays_away_is_called_off(void)
{
    struct world w;

    set_up(&w, 3, 1, 8, 3);
    (void)rebalance(&w, true);
    live(&w, 1000);
    uint32_t moving = count_moving(&w);
    CU_ASSERT_TRUE(moving > 0);
    w.silent = 4;
    live(&w, 50 * 1000);
    CU_ASSERT_EQUAL(count_moving(&w), moving); /* it may be back soon */
    live(&w, 15 * 1000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    CU_ASSERT_EQUAL(count_replicas(&w, 4), 0);
    w.silent = 0;
    (void)rebalance(&w, true); /* if it has ended for want of anything to do */
    live(&w, 2000);
    CU_ASSERT_TRUE(count_moving(&w) > 0);
    fixture_close(&w.f);
}

static void a_drain_finds_another_home_if_one_stays_away(void)
{
    struct world w;
    bool was_to_go[10] = {false};
    uint32_t count = 0;

    set_up(&w, 5, 0, 10, 3);
    (void)alter_node(&w, 1, 1);
    live(&w, 1000);
    struct metadata_response response = look(&w);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        const struct metadata_response_metadata_partition *row = &response.partitions[i];
        was_to_go[i] = has(row->target, row->target_count, 5) && !has(row->isr, row->isr_count, 5);
        count += was_to_go[i];
    }
    CU_ASSERT_TRUE(count > 0);
    w.silent = 5;
    live(&w, 10 * 1000);
    fixture_crash(&w.f, true); /* nothing hangs on what the coordinator remembers */
    CU_ASSERT_EQUAL_FATAL(fixture_start(&w.f), RIA_OK);
    live(&w, 66 * 1000);
    response = look(&w);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        const struct metadata_response_metadata_partition *row = &response.partitions[i];
        CU_ASSERT_FALSE(was_to_go[i] && has(row->replicas, row->replicas_count, 5));
        CU_ASSERT_FALSE(was_to_go[i] && row->target_count == 0);
    }
    fixture_close(&w.f);
}

/* Its data may be there only. */
static void a_move_is_not_called_off_while_nobody_else_has_the_records(void)
{
    struct world w;
    int32_t target[] = {-1};
    struct reassign_partitions_request_reassigned_partition move = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = 0,
        .partition_epoch = -1,
        .target = target,
        .target_count = 1,
    };
    struct reassign_partitions_request request = {.partitions = &move, .partitions_count = 1};

    set_up(&w, 2, 0, 1, 1);
    int32_t origin = look(&w).partitions[0].leader;
    target[0] = 3 - origin;
    CU_ASSERT_EQUAL(fixture_call(&w.f, API_REASSIGN_PARTITIONS, &request, NULL), RIA_OK);
    CU_ASSERT_EQUAL(count_moving(&w), 1);
    w.nodes = 0; /* both are away */
    live(&w, 70 * 1000);
    CU_ASSERT_EQUAL(count_moving(&w), 1);
    w.nodes = 2;
    w.silent = (uint32_t)target[0]; /* who has them is back */
    live(&w, 3000);
    CU_ASSERT_EQUAL(count_moving(&w), 0);
    CU_ASSERT_EQUAL(look(&w).partitions[0].replicas[0], origin);
    fixture_close(&w.f);
}

/* ---- PlanRebalance ---- */

static void a_plan_changes_nothing_and_says_what_is_under_way(void)
{
    struct world w;

    set_up(&w, 3, 1, 16, 3);
    w.f.options.moves_max = 5;
    int64_t version = coordinator_version(w.f.coordinator);
    struct plan_rebalance_response response = plan(&w, 1, -1);
    CU_ASSERT_EQUAL(response.version, version);
    CU_ASSERT_TRUE(response.moves_count >= 12);
    CU_ASSERT_EQUAL(response.moves_max, 5);
    CU_ASSERT_EQUAL(response.moving, 0);
    CU_ASSERT_FALSE(response.rebalancing);
    for (uint32_t i = 0; i < response.moves_count; i++) {
        CU_ASSERT_EQUAL(response.moves[i].target_count, 3);
        CU_ASSERT_EQUAL(response.moves[i].replicas_count, 3);
    }
    CU_ASSERT_EQUAL(coordinator_version(w.f.coordinator), version);
    (void)rebalance(&w, true);
    live(&w, 1000);
    CU_ASSERT_EQUAL(plan(&w, 1, -1).moving, 5);
    fixture_close(&w.f);
}

static void a_node_can_be_planned_empty_before_it_is_drained(void)
{
    struct world w;

    set_up(&w, 4, 0, 8, 3);
    uint32_t replicas = count_replicas(&w, 2);
    CU_ASSERT_EQUAL(plan(&w, 2, -1).moves_count, 0);
    CU_ASSERT_EQUAL(plan(&w, 2, 2).moves_count, replicas);
    fixture_close(&w.f);
}

static void bad_plans_are_refused(void)
{
    struct world w;
    struct plan_rebalance_request request = {.kind = 3, .node_id = -1, .moves_max = 10};

    set_up(&w, 1, 0, 1, 1);
    CU_ASSERT_EQUAL(fixture_call(&w.f, API_PLAN_REBALANCE, &request, NULL), RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(w.f.text, "kind is 3, must be 1..2");
    request.kind = 2;
    request.node_id = 9;
    CU_ASSERT_EQUAL(fixture_call(&w.f, API_PLAN_REBALANCE, &request, NULL), RIA_ERR_NOT_FOUND);
    request.node_id = -1;
    request.moves_max = -1;
    CU_ASSERT_EQUAL(fixture_call(&w.f, API_PLAN_REBALANCE, &request, NULL), RIA_ERR_INVALID);
    fixture_close(&w.f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_draining_node_becomes_empty_in_bounded_steps),
    HARNESS_TEST(a_drain_goes_on_after_a_crash_of_the_coordinator),
    HARNESS_TEST(a_drain_that_is_taken_back_begins_nothing_new),
    HARNESS_TEST(a_silent_node_can_be_drained),
    HARNESS_TEST(nothing_moves_to_a_node_that_is_silent),
    HARNESS_TEST(nothing_moves_to_a_node_without_room),
    HARNESS_TEST(rebalancing_gives_a_new_node_its_share_and_ends),
    HARNESS_TEST(rebalancing_goes_on_after_a_crash),
    HARNESS_TEST(rebalancing_that_is_stopped_begins_nothing_new),
    HARNESS_TEST(a_move_to_a_node_that_stays_away_is_called_off),
    HARNESS_TEST(a_drain_finds_another_home_if_one_stays_away),
    HARNESS_TEST(a_move_is_not_called_off_while_nobody_else_has_the_records),
    HARNESS_TEST(a_plan_changes_nothing_and_says_what_is_under_way),
    HARNESS_TEST(a_node_can_be_planned_empty_before_it_is_drained),
    HARNESS_TEST(bad_plans_are_refused),
};
HARNESS_MAIN(tests);
