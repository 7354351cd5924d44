/* FenceNodes, ElectLeaders, ElectLeader, ShutdownNode, ReportReplicas; and what fences mean to
 * AlterIsr, RegisterNode and placement. */
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/elect_leaders.h"
#include "schemas/gen/fence_nodes.h"
#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/shutdown_node_request.h"

#include "services/coordinator/partition_row.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 50, INCARNATION = 100, PARTITIONS = 6 };

static struct partition_row row_of(struct fixture_machine *m, int32_t partition)
{
    struct partition_row row = {.leader = -99};
    struct ria_uuid id = fixture_uuid(TOPIC);

    CU_ASSERT_TRUE(partition_row_read(m->db, &id, partition, &row));
    return row;
}

/* Three nodes, six partitions on all of them. */
static void set_up(struct fixture_machine *m)
{
    struct create_topic_request topic = fixture_topic(TOPIC, "t", PARTITIONS, 3);

    fixture_machine_open(m);
    fixture_nodes(m, 3, NULL);
    CU_ASSERT_EQUAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
}

/* The command's liveNodes. */
static void live(struct fixture_machine *m, const char *ids)
{
    m->live_count = 0;
    for (; *ids != '\0'; ids++) {
        m->live[m->live_count++] = *ids - '0';
    }
}

static ria_err fence(struct fixture_machine *m, int32_t node_id, bool fenced)
{
    struct fence_nodes_fenced_node node = {
        .node_id = node_id, .incarnation = INCARNATION, .fenced = fenced};
    const struct fence_nodes body = {.nodes = &node, .nodes_count = 1};

    return fixture_apply(m, COMMAND_FENCE_NODES, &body);
}

static ria_err elect(struct fixture_machine *m, int8_t reason, int32_t partition, int32_t epoch)
{
    struct elect_leaders_elected_partition entry = {
        .topic_id = fixture_uuid(TOPIC), .partition = partition, .partition_epoch = epoch};
    const struct elect_leaders body = {
        .reason = reason, .partitions = &entry, .partitions_count = 1};

    return fixture_apply(m, COMMAND_ELECT_LEADERS, &body);
}

static ria_err elect_one(struct fixture_machine *m, int32_t partition, int32_t node_id, bool force)
{
    const struct elect_leader_request body = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = partition,
        .node = node_id,
        .partition_epoch = -1,
        .force = force,
    };

    return fixture_apply(m, API_ELECT_LEADER, &body);
}

static ria_err shut_down(struct fixture_machine *m, int32_t node_id)
{
    const struct shutdown_node_request body = {.node_id = node_id, .incarnation = INCARNATION};

    return fixture_apply(m, API_SHUTDOWN_NODE, &body);
}

static ria_err report_of_life(
    struct fixture_machine *m, int64_t incarnation, int32_t node_id, int32_t partition, int8_t state
)
{
    struct report_replicas_request_reported_replica entry = {
        .topic_id = fixture_uuid(TOPIC), .partition = partition, .state = state};
    const struct report_replicas_request body = {
        .node_id = node_id,
        .incarnation = incarnation,
        .replicas = &entry,
        .replicas_count = 1,
    };

    return fixture_apply(m, API_REPORT_REPLICAS, &body);
}

static ria_err report(struct fixture_machine *m, int32_t node_id, int32_t partition, int8_t state)
{
    return report_of_life(m, INCARNATION, node_id, partition, state);
}

static ria_err alter(struct fixture_machine *m, int32_t partition, const char *ids)
{
    struct partition_row row = row_of(m, partition);
    struct node_list isr = {.count = 0};

    for (; *ids != '\0'; ids++) {
        node_list_add(&isr, *ids - '0');
    }
    m->sender_id = row.leader;
    const struct alter_isr_request body = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = partition,
        .leader_epoch = row.leader_epoch,
        .partition_epoch = row.partition_epoch,
        .isr = isr.ids,
        .isr_count = isr.count,
    };
    return fixture_apply(m, API_ALTER_ISR, &body);
}

/* A list as "12"; compares without order. */
static bool has(struct node_list list, const char *ids)
{
    bool all = list.count == strlen(ids);

    for (; *ids != '\0'; ids++) {
        all = all && node_list_has(&list, *ids - '0');
    }
    return all;
}

/* nodes.replica_count and leader_count are what the partitions say. */
static void check_counters(struct fixture_machine *m)
{
    int64_t replicas[8] = {0};
    int64_t leaders[8] = {0};

    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct partition_row row = row_of(m, i);
        leaders[row.leader == -1 ? 0 : row.leader]++;
        for (uint32_t k = 0; k < row.replicas.count; k++) {
            replicas[row.replicas.ids[k]]++;
        }
    }
    struct meta_stmt *stmt = meta_query(m->db, META_NODES_BY_ID);
    while (meta_step(stmt)) {
        int64_t id = meta_column_int(stmt, 0);
        CU_ASSERT_EQUAL(meta_column_int(stmt, 4), replicas[id]);
        CU_ASSERT_EQUAL(meta_column_int(stmt, 5), leaders[id]);
    }
    meta_done(stmt);
}

static int64_t state_of(struct fixture_machine *m, int32_t node_id)
{
    struct meta_stmt *stmt = meta_query(m->db, META_NODE_BY_ID);

    meta_bind_int(stmt, 1, node_id);
    int64_t state = meta_step(stmt) ? meta_column_int(stmt, 1) : -1;
    meta_done(stmt);
    return state;
}

/* Partition 0 with leader 1 in sync alone, 2 eligible, 3 neither. */
static void reduce(struct fixture_machine *m)
{
    CU_ASSERT_EQUAL(row_of(m, 0).leader, 1);
    CU_ASSERT_EQUAL(alter(m, 0, "12"), RIA_OK);
    CU_ASSERT_EQUAL(alter(m, 0, "1"), RIA_OK);
    CU_ASSERT_TRUE(has(row_of(m, 0).isr, "1"));
    CU_ASSERT_TRUE(has(row_of(m, 0).eligible, "2"));
}

/* ---- FenceNodes ---- */

static void a_fenced_node_leads_nothing_and_leaves_the_sets(void)
{
    struct fixture_machine m;

    set_up(&m);
    live(&m, "23");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    CU_ASSERT_EQUAL(m.result.leader_changes, 2);
    CU_ASSERT_EQUAL(state_of(&m, 1), 1);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct partition_row row = row_of(&m, i);
        CU_ASSERT_TRUE(has(row.isr, "23"));
        CU_ASSERT_EQUAL(row.eligible.count, 0); /* the minimum is 2 */
        CU_ASSERT_NOT_EQUAL(row.leader, 1);
        CU_ASSERT_EQUAL(row.leader_epoch, row.replicas.ids[0] == 1 ? 1 : 0);
        CU_ASSERT_EQUAL(row.partition_epoch, 1);
    }
    check_counters(&m);
    fixture_machine_close(&m);
}

static void fencing_again_or_another_life_changes_nothing(void)
{
    struct fixture_machine m;
    struct fence_nodes_fenced_node node = {.node_id = 2, .incarnation = 99, .fenced = true};
    const struct fence_nodes body = {.nodes = &node, .nodes_count = 1};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, COMMAND_FENCE_NODES, &body), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    node.node_id = 77; /* unknown */
    CU_ASSERT_EQUAL(fixture_apply(&m, COMMAND_FENCE_NODES, &body), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(fence(&m, 2, false), RIA_OK); /* it is not fenced */
    CU_ASSERT_FALSE(m.result.changed);
    fixture_machine_close(&m);
}

static void the_last_in_sync_stays_and_leads_again_when_it_is_heard(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, 0, "12"), RIA_OK);
    live(&m, "13");
    CU_ASSERT_EQUAL(fence(&m, 2, true), RIA_OK);
    CU_ASSERT_TRUE(has(row_of(&m, 0).isr, "1"));
    CU_ASSERT_TRUE(has(row_of(&m, 0).eligible, "2"));
    live(&m, "3");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, -1); /* node 3 lives, but may lack something */
    CU_ASSERT_EQUAL(row.leader_epoch, 0);
    CU_ASSERT_TRUE(has(row.isr, "1"));
    CU_ASSERT_EQUAL(row_of(&m, 2).leader, 3); /* it was in sync there */
    check_counters(&m);
    live(&m, "13");
    CU_ASSERT_EQUAL(fence(&m, 1, false), RIA_OK);
    row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, 1);
    CU_ASSERT_EQUAL(row.leader_epoch, 1);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void an_eligible_node_that_is_heard_again_leads(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, 0, "12"), RIA_OK);
    live(&m, "13");
    CU_ASSERT_EQUAL(fence(&m, 2, true), RIA_OK);
    live(&m, "3");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    live(&m, "23");
    CU_ASSERT_EQUAL(fence(&m, 2, false), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, 2);
    CU_ASSERT_EQUAL(row.leader_epoch, 1);
    CU_ASSERT_TRUE(has(row.isr, "2"));
    CU_ASSERT_TRUE(has(row.eligible, "1"));
    CU_ASSERT_EQUAL(alter(&m, 0, "23"), RIA_OK); /* the minimum */
    CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 0);
    check_counters(&m);
    fixture_machine_close(&m);
}

/* None of those that fall silent together is chosen in place of another. */
/* Its log may lack its end, and eligible means that it does not: only who is in sync may lead. */
static void an_eligible_node_that_restarted_is_eligible_no_more(void)
{
    struct register_node_request restarted = fixture_register(2, 101);
    struct fixture_machine m;

    for (int pass = 0; pass < 2; pass++) {
        set_up(&m);
        if (pass == 0) {
            reduce(&m); /* it was eligible before */
        } else {
            CU_ASSERT_EQUAL(alter(&m, 0, "12"), RIA_OK); /* it leaves the set by its restart */
        }
        CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &restarted), RIA_OK);
        CU_ASSERT_TRUE(has(row_of(&m, 0).isr, "1"));
        CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 0);
        live(&m, "23");
        CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
        CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
        live(&m, "123");
        CU_ASSERT_EQUAL(fence(&m, 1, false), RIA_OK);
        CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
        check_counters(&m);
        fixture_machine_close(&m);
    }
}

static void nodes_that_fall_silent_together(void)
{
    struct fixture_machine m;
    struct fence_nodes_fenced_node nodes[] = {
        {.node_id = 1, .incarnation = INCARNATION, .fenced = true},
        {.node_id = 2, .incarnation = INCARNATION, .fenced = true},
    };
    const struct fence_nodes body = {.nodes = nodes, .nodes_count = 2};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, COMMAND_FENCE_NODES, &body), RIA_OK);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct partition_row row = row_of(&m, i);
        CU_ASSERT_EQUAL(row.leader, 3);
        CU_ASSERT_TRUE(has(row.isr, "3"));
        CU_ASSERT_EQUAL(row.eligible.count, 1);
        CU_ASSERT_TRUE(row.leader_epoch <= 1);
    }
    check_counters(&m);
    fixture_machine_close(&m);
}

static void a_fenced_node_cannot_join_a_set(void)
{
    struct fixture_machine m;

    set_up(&m);
    live(&m, "12");
    CU_ASSERT_EQUAL(fence(&m, 3, true), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, 0, "123"), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "node 3"));
    live(&m, "123");
    CU_ASSERT_EQUAL(fence(&m, 3, false), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, 0, "123"), RIA_OK);
    fixture_machine_close(&m);
}

static void a_new_incarnation_is_active_and_leads_what_nobody_led(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 101);

    set_up(&m);
    reduce(&m);
    live(&m, "3");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_EQUAL(state_of(&m, 1), 0);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader_epoch, 1);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void topics_are_not_placed_on_fenced_nodes(void)
{
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(60, "u", 3, 3);

    set_up(&m);
    CU_ASSERT_EQUAL(fence(&m, 3, true), RIA_OK); /* liveNodes still has it */
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_ERR_NOT_ENOUGH_NODES);
    topic.replication_factor = 2;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    fixture_machine_close(&m);
}

/* ---- ElectLeaders ---- */

static void the_preferred_leader_comes_back(void)
{
    struct fixture_machine m;

    set_up(&m);
    live(&m, "23");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    live(&m, "123");
    CU_ASSERT_EQUAL(fence(&m, 1, false), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(elect(&m, 2, 0, row.partition_epoch), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed); /* it is not in sync */
    CU_ASSERT_EQUAL(alter(&m, 0, "123"), RIA_OK);
    CU_ASSERT_EQUAL(elect(&m, 2, 0, row.partition_epoch), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed); /* based on an older state */
    CU_ASSERT_EQUAL(elect(&m, 2, 0, row.partition_epoch + 1), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader_epoch, row.leader_epoch + 1);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void who_was_not_heard_when_it_was_needed_is_elected_later(void)
{
    struct fixture_machine m;

    set_up(&m);
    live(&m, "");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, -1);
    live(&m, "3");
    CU_ASSERT_EQUAL(elect(&m, 1, 0, row.partition_epoch), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 3);
    CU_ASSERT_EQUAL(elect(&m, 3, 0, 0), RIA_ERR_INVALID);
    check_counters(&m);
    fixture_machine_close(&m);
}

/* ---- ElectLeader ---- */

static void an_operator_moves_a_leader_within_the_set(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(elect_one(&m, 0, 3, false), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.elect_leader.leader, 3);
    CU_ASSERT_EQUAL(m.result.response.elect_leader.leader_epoch, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).forced_epoch, -1);
    CU_ASSERT_EQUAL(elect_one(&m, 0, 3, true), RIA_OK); /* nothing is lost: nothing is forced */
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(elect_one(&m, 0, 9, true), RIA_ERR_INVALID);
    live(&m, "13");
    CU_ASSERT_EQUAL(elect_one(&m, 0, 2, true), RIA_ERR_CONFLICT);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void only_force_lets_one_lead_that_lacks_records(void)
{
    struct fixture_machine m;

    set_up(&m);
    reduce(&m);
    live(&m, "3");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    CU_ASSERT_EQUAL(elect_one(&m, 0, -1, false), RIA_ERR_NO_LEADER);
    CU_ASSERT_EQUAL(elect_one(&m, 0, 3, false), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "lost"));
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    CU_ASSERT_EQUAL(elect_one(&m, 0, -1, true), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, 3);
    CU_ASSERT_EQUAL(row.forced_epoch, row.leader_epoch);
    CU_ASSERT_TRUE(has(row.isr, "3"));
    CU_ASSERT_EQUAL(row.eligible.count, 0);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void an_operator_who_saw_another_state_is_refused(void)
{
    struct fixture_machine m;
    struct elect_leader_request body = {
        .topic_id = fixture_uuid(TOPIC), .node = 3, .partition_epoch = 5};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ELECT_LEADER, &body), RIA_ERR_CONFLICT);
    body.partition_epoch = 0;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ELECT_LEADER, &body), RIA_OK);
    body.partition = 99;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ELECT_LEADER, &body), RIA_ERR_UNKNOWN_PARTITION);
    body.topic_id = fixture_uuid(1234);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ELECT_LEADER, &body), RIA_ERR_UNKNOWN_TOPIC);
    fixture_machine_close(&m);
}

/* ---- ShutdownNode ---- */

static void who_shuts_down_gives_its_partitions_away(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(shut_down(&m, 1), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.shutdown_node.leaders_left, 0);
    CU_ASSERT_EQUAL(state_of(&m, 1), 2);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_TRUE(has(row_of(&m, i).isr, "23"));
        CU_ASSERT_NOT_EQUAL(row_of(&m, i).leader, 1);
    }
    CU_ASSERT_EQUAL(fence(&m, 1, false), RIA_OK); /* being heard does not end it */
    CU_ASSERT_EQUAL(state_of(&m, 1), 2);
    CU_ASSERT_EQUAL(alter(&m, 0, "123"), RIA_ERR_CONFLICT);
    struct register_node_request request = fixture_register(1, 101);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_EQUAL(state_of(&m, 1), 0);
    CU_ASSERT_EQUAL(shut_down(&m, 1), RIA_ERR_FENCED_EPOCH); /* of its last life */
    CU_ASSERT_EQUAL(shut_down(&m, 9), RIA_ERR_NOT_FOUND);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void who_shuts_down_leads_on_what_nobody_else_can_until_it_is_silent(void)
{
    struct fixture_machine m;

    set_up(&m);
    reduce(&m);
    live(&m, "13"); /* the eligible one is not there */
    CU_ASSERT_EQUAL(shut_down(&m, 1), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.shutdown_node.leaders_left, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader_epoch, 0);
    CU_ASSERT_EQUAL(alter(&m, 0, "13"), RIA_OK); /* another one caught up: it may take over */
    CU_ASSERT_EQUAL(elect(&m, 1, 0, row_of(&m, 0).partition_epoch), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 3);
    CU_ASSERT_TRUE(has(row_of(&m, 0).isr, "3"));
    CU_ASSERT_TRUE(has(row_of(&m, 0).eligible, "1"));
    check_counters(&m);
    live(&m, "");
    CU_ASSERT_EQUAL(shut_down(&m, 3), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 3);
    CU_ASSERT_EQUAL(fence(&m, 3, true), RIA_OK);
    CU_ASSERT_EQUAL(state_of(&m, 3), 2);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    check_counters(&m);
    fixture_machine_close(&m);
}

/* ---- ReportReplicas ---- */

static void an_unfit_replica_does_not_lead_until_it_is_fit(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(report(&m, 1, 0, 1), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(m.result.response.report_replicas.unknown, 0);
    CU_ASSERT_TRUE(has(row.unfit, "1"));
    CU_ASSERT_TRUE(has(row.isr, "23"));
    CU_ASSERT_EQUAL(row.leader, row.replicas.ids[1]);
    CU_ASSERT_EQUAL(alter(&m, 0, "123"), RIA_OK); /* it may be in sync */
    CU_ASSERT_EQUAL(elect(&m, 2, 0, row.partition_epoch + 1), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(elect_one(&m, 0, 1, false), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(report(&m, 1, 0, 0), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).unfit.count, 0);
    CU_ASSERT_EQUAL(elect(&m, 2, 0, row_of(&m, 0).partition_epoch), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
    CU_ASSERT_EQUAL(report(&m, 1, 0, 0), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void the_only_one_that_is_damaged_leads_again_when_it_is_fit(void)
{
    struct fixture_machine m;

    set_up(&m);
    reduce(&m);
    live(&m, "13");
    CU_ASSERT_EQUAL(report(&m, 1, 0, 2), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    CU_ASSERT_TRUE(has(row_of(&m, 0).isr, "1")); /* the last one */
    struct register_node_request restarted = fixture_register(1, 101);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &restarted), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1); /* a restart mends nothing */
    CU_ASSERT_TRUE(has(row_of(&m, 0).unfit, "1"));
    restarted.incarnation = 102;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &restarted), RIA_OK);
    CU_ASSERT_EQUAL(report_of_life(&m, 102, 1, 0, 0), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 1);
    check_counters(&m);
    fixture_machine_close(&m);
}

static void set_min_insync_1(struct fixture_machine *m)
{
    struct create_topic_request topic = fixture_topic(TOPIC, "t", PARTITIONS, 3);
    struct create_topic_request_create_topic_config config = {
        .name = RIA_SLICE_LITERAL("min.insync.replicas"), .value = RIA_SLICE_LITERAL("1")};

    fixture_machine_open(m);
    fixture_nodes(m, 3, NULL);
    topic.configs = &config;
    topic.configs_count = 1;
    CU_ASSERT_EQUAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
}

/* The set was large enough without the leader, so it was let go; and then nobody could lead until
 * the unfit one was repaired, whole as the other one was. */
static void the_last_fit_one_is_not_forgotten_for_an_unfit_one(void)
{
    struct fixture_machine m;

    for (int pass = 0; pass < 2; pass++) {
        set_min_insync_1(&m);
        live(&m, "123");
        CU_ASSERT_EQUAL(report(&m, 2, 0, 2), RIA_OK);
        CU_ASSERT_EQUAL(alter(&m, 0, "12"), RIA_OK); /* an unfit one may be in sync */
        live(&m, "23");
        CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
        struct partition_row row = row_of(&m, 0);
        CU_ASSERT_EQUAL(row.leader, -1);
        CU_ASSERT_TRUE(has(row.isr, "2"));
        CU_ASSERT_TRUE(has(row.eligible, "1"));
        if (pass == 0) {
            live(&m, "123");
            CU_ASSERT_EQUAL(fence(&m, 1, false), RIA_OK);
            row = row_of(&m, 0);
            CU_ASSERT_EQUAL(row.leader, 1);
            CU_ASSERT_TRUE(has(row.isr, "1"));
        } else {
            CU_ASSERT_EQUAL(report(&m, 2, 0, 0), RIA_OK);
            row = row_of(&m, 0);
            CU_ASSERT_EQUAL(row.leader, 2);
            CU_ASSERT_TRUE(has(row.isr, "2"));
        }
        CU_ASSERT_EQUAL(row.eligible.count, 0); /* it commits alone from now on */
        check_counters(&m);
        fixture_machine_close(&m);
    }
}

/* It was on its way, and the forced leader lost what the operator had just given it. */
static void a_late_word_of_damage_does_not_depose_who_was_forced(void)
{
    struct fixture_machine m;

    set_up(&m);
    reduce(&m);
    live(&m, "23");
    CU_ASSERT_EQUAL(fence(&m, 1, true), RIA_OK);
    live(&m, "3");
    CU_ASSERT_EQUAL(elect_one(&m, 0, 3, true), RIA_OK);
    int32_t epoch = row_of(&m, 0).leader_epoch;
    CU_ASSERT_EQUAL(report(&m, 3, 0, 2), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, 3);
    CU_ASSERT_EQUAL(row.leader_epoch, epoch);
    CU_ASSERT_TRUE(has(row.unfit, "3")); /* it will say so when that is wrong */
    CU_ASSERT_EQUAL(alter(&m, 0, "23"), RIA_OK);
    live(&m, "23");
    CU_ASSERT_EQUAL(report(&m, 3, 0, 2), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 2); /* somebody else has it all now */
    check_counters(&m);
    fixture_machine_close(&m);
}

/* Its log takes nothing: nobody would lead. */
static void a_forced_leader_whose_disk_has_failed_leads_no_more(void)
{
    struct fixture_machine m;

    set_up(&m);
    reduce(&m);
    live(&m, "3");
    CU_ASSERT_EQUAL(elect_one(&m, 0, 3, true), RIA_OK);
    CU_ASSERT_EQUAL(report(&m, 3, 0, 1), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    fixture_machine_close(&m);
}

static void strange_reports_do_nothing(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(report(&m, 1, 99, 1), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.report_replicas.unknown, 1);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(report(&m, 1, 0, 3), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(report(&m, 7, 0, 1), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_fenced_node_leads_nothing_and_leaves_the_sets),
    HARNESS_TEST(fencing_again_or_another_life_changes_nothing),
    HARNESS_TEST(the_last_in_sync_stays_and_leads_again_when_it_is_heard),
    HARNESS_TEST(an_eligible_node_that_is_heard_again_leads),
    HARNESS_TEST(an_eligible_node_that_restarted_is_eligible_no_more),
    HARNESS_TEST(nodes_that_fall_silent_together),
    HARNESS_TEST(a_fenced_node_cannot_join_a_set),
    HARNESS_TEST(a_new_incarnation_is_active_and_leads_what_nobody_led),
    HARNESS_TEST(topics_are_not_placed_on_fenced_nodes),
    HARNESS_TEST(the_preferred_leader_comes_back),
    HARNESS_TEST(who_was_not_heard_when_it_was_needed_is_elected_later),
    HARNESS_TEST(an_operator_moves_a_leader_within_the_set),
    HARNESS_TEST(only_force_lets_one_lead_that_lacks_records),
    HARNESS_TEST(an_operator_who_saw_another_state_is_refused),
    HARNESS_TEST(who_shuts_down_gives_its_partitions_away),
    HARNESS_TEST(who_shuts_down_leads_on_what_nobody_else_can_until_it_is_silent),
    HARNESS_TEST(an_unfit_replica_does_not_lead_until_it_is_fit),
    HARNESS_TEST(the_only_one_that_is_damaged_leads_again_when_it_is_fit),
    HARNESS_TEST(the_last_fit_one_is_not_forgotten_for_an_unfit_one),
    HARNESS_TEST(a_late_word_of_damage_does_not_depose_who_was_forced),
    HARNESS_TEST(a_forced_leader_whose_disk_has_failed_leads_no_more),
    HARNESS_TEST(strange_reports_do_nothing),
};
HARNESS_MAIN(tests);
