/* ReassignPartitions, AlterNode, AlterRebalance, and the end of a move. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/fence_nodes.h"
#include "schemas/gen/reassign_partitions_request.h"
#include "schemas/gen/report_replicas_request.h"

#include "services/coordinator/node_list.h"
#include "services/coordinator/node_set.h"
#include "services/coordinator/partition_row.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 50, NODES = 6 };

/* Lists of nodes are digits: "123". */
static struct node_list digits(const char *text)
{
    struct node_list list = {.count = 0};

    for (; *text != '\0'; text++) {
        list.ids[list.count++] = *text - '0';
    }
    return list;
}

static struct partition_row row_of(struct fixture_machine *m, int32_t partition)
{
    struct partition_row row;
    struct ria_uuid id = fixture_uuid(TOPIC);

    CU_ASSERT_TRUE_FATAL(partition_row_read(m->db, &id, partition, &row));
    return row;
}

static bool is(struct node_list list, const char *text)
{
    struct node_list wanted = digits(text);
    char is[NODE_LIST_TEXT_SIZE];

    if (!node_list_equal(&list, &wanted)) {
        node_list_format(list.ids, list.count, is);
        (void)printf("[%s, not %s]", is, text);
        return false;
    }
    return true;
}

/* Node counters are what the rows say. */
static void check_counts(struct fixture_machine *m)
{
    int64_t replicas[NODES + 1] = {0};
    int64_t leaders[NODES + 1] = {0};
    struct partition_walk walk;

    partition_walk_all(&walk, m->db);
    while (partition_walk_next(&walk)) {
        for (uint32_t i = 0; i < walk.count; i++) {
            const struct partition_row *row = &walk.rows[i];
            for (uint32_t k = 0; k < row->replicas.count; k++) {
                replicas[row->replicas.ids[k]]++;
            }
            if (row->leader != -1) {
                leaders[row->leader]++;
            }
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

/* A topic of one partition on nodes 1, 2 and 3, led by 1, all in sync; nodes 4 to 6 are empty. */
static void set_up_partitions(struct fixture_machine *m, int32_t partitions)
{
    struct create_topic_request topic = fixture_topic(TOPIC, "orders", partitions, 3);

    fixture_machine_open(m);
    fixture_nodes(m, NODES, NULL);
    m->live_count = 3;
    CU_ASSERT_EQUAL_FATAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
    m->live_count = NODES;
}

static void set_up(struct fixture_machine *m)
{
    set_up_partitions(m, 1);
}

static void tear_down(struct fixture_machine *m)
{
    check_counts(m);
    fixture_machine_close(m);
}

static ria_err move_at(struct fixture_machine *m, int32_t partition, const char *to, int32_t epoch)
{
    struct node_list target = digits(to);
    struct reassign_partitions_request_reassigned_partition entry = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = partition,
        .partition_epoch = epoch,
        .target = target.ids,
        .target_count = target.count,
    };
    struct reassign_partitions_request request = {.partitions = &entry, .partitions_count = 1};

    return fixture_apply(m, API_REASSIGN_PARTITIONS, &request);
}

static ria_err move(struct fixture_machine *m, const char *to)
{
    return move_at(m, 0, to, -1);
}

/* The leader proposes this in-sync set. */
static ria_err sync_at(struct fixture_machine *m, int32_t partition, const char *isr)
{
    struct partition_row row = row_of(m, partition);
    struct node_list nodes = digits(isr);
    struct alter_isr_request request = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = partition,
        .leader_epoch = row.leader_epoch,
        .partition_epoch = row.partition_epoch,
        .isr = nodes.ids,
        .isr_count = nodes.count,
    };

    return fixture_apply(m, API_ALTER_ISR, &request);
}

static ria_err in_sync(struct fixture_machine *m, const char *isr)
{
    return sync_at(m, 0, isr);
}

static ria_err alter_node(struct fixture_machine *m, int32_t node, int8_t action)
{
    struct alter_node_request request = {.node_id = node, .action = action, .drain_epoch = -1};

    return fixture_apply(m, API_ALTER_NODE, &request);
}

static void fence(struct fixture_machine *m, int32_t node)
{
    struct fence_nodes_fenced_node entry = {.node_id = node, .incarnation = 100, .fenced = true};
    struct fence_nodes request = {.nodes = &entry, .nodes_count = 1};

    CU_ASSERT_EQUAL(fixture_apply(m, COMMAND_FENCE_NODES, &request), RIA_OK);
}

/* ---- beginning ---- */

static void a_move_adds_new_replicas_and_keeps_the_old(void)
{
    struct fixture_machine m;

    set_up(&m);
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(move(&m, "453"), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.response.reassign_partitions.version, 9);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(is(row.replicas, "45312"));
    CU_ASSERT_TRUE(is(row.target, "453"));
    CU_ASSERT_TRUE(node_list_equal(&row.origin, &before.replicas));
    CU_ASSERT_TRUE(node_list_equal(&row.isr, &before.isr));
    CU_ASSERT_TRUE(is(row.dropped, ""));
    CU_ASSERT_EQUAL(row.leader, before.leader);
    CU_ASSERT_EQUAL(row.leader_epoch, before.leader_epoch); /* in-sync traffic is not disturbed */
    CU_ASSERT_EQUAL(row.partition_epoch, before.partition_epoch + 1);
    tear_down(&m);
}

static void bad_targets_are_refused_by_name(void)
{
    static const struct {
        const char *target;
        const char *text;
    } rows[] = {
        {"12", "target of partition 0 of topic \"orders\" has 2 nodes, but the topic has 3"},
        {"1234", "has 4 nodes, but the topic has 3 replicas: the number cannot be changed"},
        {"122", "has node 2 twice"},
        {"129", "has node 9, which does not exist"},
        {"124", "has node 4, which is being drained"},
        {"125", "has node 5, which is not there"},
        {"126", "has node 6, which was removed"},
    };
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter_node(&m, 4, 1), RIA_OK);
    fence(&m, 5);
    fence(&m, 6);
    CU_ASSERT_EQUAL(alter_node(&m, 6, 3), RIA_OK);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        CU_ASSERT_EQUAL(move(&m, rows[i].target), RIA_ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, rows[i].text));
        CU_ASSERT_FALSE(m.result.changed);
    }
    CU_ASSERT_EQUAL(move_at(&m, 1, "123", -1), RIA_ERR_UNKNOWN_PARTITION);
    CU_ASSERT_EQUAL(move_at(&m, 0, "123", 7), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "partitionEpoch is 7"));
    tear_down(&m);
}

static void a_replica_may_stay_on_a_node_that_takes_no_new_ones(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter_node(&m, 2, 1), RIA_OK);
    fence(&m, 3);
    CU_ASSERT_EQUAL(move(&m, "234"), RIA_OK);
    CU_ASSERT_TRUE(is(row_of(&m, 0).target, "234"));
    tear_down(&m);
}

static void all_or_none_of_a_request(void)
{
    struct fixture_machine m;

    set_up_partitions(&m, 2);
    struct node_list good = digits("456");
    struct node_list bad = digits("457");
    struct reassign_partitions_request_reassigned_partition entries[] = {
        {.topic_id = fixture_uuid(TOPIC),
         .partition = 0,
         .partition_epoch = -1,
         .target = good.ids,
         .target_count = 3},
        {.topic_id = fixture_uuid(TOPIC),
         .partition = 1,
         .partition_epoch = -1,
         .target = bad.ids,
         .target_count = 3},
    };
    struct reassign_partitions_request request = {.partitions = entries, .partitions_count = 2};
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REASSIGN_PARTITIONS, &request), RIA_ERR_INVALID);
    CU_ASSERT_TRUE(is(row_of(&m, 0).target, ""));
    CU_ASSERT_EQUAL(fixture_number(&m, META_MOVES_COUNT), 0);
    tear_down(&m);
}

static void no_more_than_so_many_move_at_once(void)
{
    struct fixture_machine m;
    static struct reassign_partitions_request_reassigned_partition entries[STATE_MOVES_MAX + 1];
    struct node_list target = digits("456");
    struct reassign_partitions_request request = {
        .partitions = entries,
        .partitions_count = STATE_MOVES_MAX + 1,
    };

    set_up_partitions(&m, STATE_MOVES_MAX + 1);
    for (int32_t i = 0; i <= STATE_MOVES_MAX; i++) {
        entries[i] = (struct reassign_partitions_request_reassigned_partition){
            .topic_id = fixture_uuid(TOPIC),
            .partition = i,
            .partition_epoch = -1,
            .target = target.ids,
            .target_count = 3,
        };
    }
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REASSIGN_PARTITIONS, &request), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(fixture_number(&m, META_MOVES_COUNT), 0);
    request.partitions_count--;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REASSIGN_PARTITIONS, &request), RIA_OK);
    CU_ASSERT_EQUAL(fixture_number(&m, META_MOVES_COUNT), STATE_MOVES_MAX);
    CU_ASSERT_EQUAL(move_at(&m, STATE_MOVES_MAX, "456", -1), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(move_at(&m, 0, "", -1), RIA_OK); /* the way out stays open */
    tear_down(&m);
}

static void the_replicas_as_they_are_are_no_move(void)
{
    struct fixture_machine m;
    struct node_list now;
    char text[4] = "";

    set_up(&m);
    now = row_of(&m, 0).replicas;
    for (int i = 0; i < 3; i++) {
        text[i] = (char)('0' + now.ids[i]);
    }
    CU_ASSERT_EQUAL(move(&m, text), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    tear_down(&m);
}

static void another_order_of_replicas_in_sync_is_done_at_once(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "321"), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(is(row.replicas, "321"));
    CU_ASSERT_TRUE(is(row.target, ""));
    CU_ASSERT_TRUE(is(row.origin, ""));
    CU_ASSERT_TRUE(is(row.dropped, ""));
    tear_down(&m);
}

/* ---- the end ---- */

static void a_move_ends_when_the_whole_target_is_in_sync(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "453"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "1234"), RIA_OK);
    CU_ASSERT_TRUE(is(row_of(&m, 0).target, "453")); /* 5 is missing */
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(in_sync(&m, "12345"), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(is(row.replicas, "453"));
    CU_ASSERT_TRUE(is(row.isr, "345"));
    CU_ASSERT_TRUE(is(row.target, ""));
    CU_ASSERT_TRUE(is(row.origin, ""));
    CU_ASSERT_TRUE(is(row.dropped, "12"));
    CU_ASSERT_TRUE(node_list_has(&row.isr, row.leader));
    CU_ASSERT_EQUAL(row.leader_epoch, before.leader_epoch + (before.leader == 3 ? 0 : 1));
    tear_down(&m);
}

/* A leader takes the set it asked for under the epoch of the answer; what the end of the move made
 * of it must come under a newer one, or the leader would wait for replicas that are gone. */
static void the_end_of_a_move_has_a_partition_epoch_of_its_own(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "453"), RIA_OK);
    int32_t epoch = row_of(&m, 0).partition_epoch;
    CU_ASSERT_EQUAL(in_sync(&m, "12345"), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_isr.partition_epoch, epoch + 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).partition_epoch, epoch + 2);
    tear_down(&m);
}

static void a_leader_that_is_dropped_hands_over_under_a_new_epoch(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(in_sync(&m, "123456"), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.leader, 4);
    CU_ASSERT_EQUAL(row.leader_epoch, before.leader_epoch + 1);
    CU_ASSERT_EQUAL(row.dropped.count, 3);
    tear_down(&m);
}

/* Nobody of the target is alive as far as the coordinator knows: the old ones stay until somebody
 * is. */
static void a_move_does_not_end_without_a_leader(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    m.live_count = 3;
    CU_ASSERT_EQUAL(in_sync(&m, "123456"), RIA_OK);
    CU_ASSERT_TRUE(is(row_of(&m, 0).target, "456"));
    CU_ASSERT_EQUAL(row_of(&m, 0).dropped.count, 0);
    m.live_count = NODES;
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK); /* what the mover does */
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "456"));
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 4);
    tear_down(&m);
}

static void report(struct fixture_machine *m, int32_t node, int8_t state)
{
    struct report_replicas_request_reported_replica entry = {
        .topic_id = fixture_uuid(TOPIC), .state = state};
    struct report_replicas_request request = {
        .node_id = node, .incarnation = 100, .replicas = &entry, .replicas_count = 1};

    CU_ASSERT_EQUAL(fixture_apply(m, API_REPORT_REPLICAS, &request), RIA_OK);
}

/* It takes part in the in-sync set by what it gets, but what is damaged there has to come from
 * those that are about to be dropped. */
static void a_move_does_not_end_while_a_replica_of_the_target_is_unfit(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    report(&m, 4, 2);
    CU_ASSERT_EQUAL(in_sync(&m, "123456"), RIA_OK);
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "456123"));
    CU_ASSERT_TRUE(is(row_of(&m, 0).dropped, ""));
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK); /* what the mover does */
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "456123"));
    report(&m, 4, 0);
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "456"));
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 4);
    tear_down(&m);
}

/* Without a leader nobody has to follow one: the mover ended the move, and who came back deleted
 * the only good copy. */
static void a_move_without_a_leader_does_not_drop_the_last_whole_replica(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    for (int32_t node = 4; node <= 6; node++) {
        report(&m, node, 2);
    }
    CU_ASSERT_EQUAL(in_sync(&m, "123456"), RIA_OK);
    for (int32_t node = 1; node <= 3; node++) {
        fence(&m, node);
    }
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    CU_ASSERT_TRUE(is(row_of(&m, 0).isr, "456"));
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK); /* what the mover does */
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "456123"));
    CU_ASSERT_TRUE(is(row_of(&m, 0).dropped, ""));
    tear_down(&m);
}

static void a_move_is_not_called_off_onto_unfit_replicas(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "145"), RIA_OK);
    report(&m, 1, 2);
    CU_ASSERT_EQUAL(in_sync(&m, "145"), RIA_OK);
    fence(&m, 4);
    fence(&m, 5);
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, -1);
    CU_ASSERT_TRUE(is(row_of(&m, 0).isr, "1"));
    CU_ASSERT_EQUAL(move(&m, ""), RIA_ERR_CONFLICT);
    CU_ASSERT_TRUE(is(row_of(&m, 0).dropped, ""));
    tear_down(&m);
}

/* ---- another target, none ---- */

static void a_move_that_is_called_off_drops_what_was_added(void)
{
    struct fixture_machine m;

    set_up(&m);
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(move(&m, "453"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "1234"), RIA_OK);
    CU_ASSERT_EQUAL(move(&m, ""), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(node_list_equal(&row.replicas, &before.replicas));
    CU_ASSERT_TRUE(is(row.isr, "123"));
    CU_ASSERT_TRUE(is(row.target, ""));
    CU_ASSERT_TRUE(is(row.origin, ""));
    CU_ASSERT_TRUE(is(row.dropped, "45"));
    CU_ASSERT_EQUAL(move(&m, ""), RIA_OK); /* again: nothing */
    CU_ASSERT_FALSE(m.result.changed);
    tear_down(&m);
}

/* Only a new replica has what is committed: the old ones must not be all that is left. */
static void a_move_is_not_called_off_onto_replicas_out_of_sync(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "456"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "1234"), RIA_OK);
    for (int32_t node = 1; node <= 3; node++) {
        fence(&m, node);
    }
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_TRUE(is(before.isr, "4"));
    CU_ASSERT_EQUAL(move(&m, ""), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "cannot be called off"));
    CU_ASSERT_EQUAL(row_of(&m, 0).leader, 4);
    tear_down(&m);
}

static void another_target_drops_the_first_ones_at_once(void)
{
    struct fixture_machine m;

    set_up(&m);
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(move(&m, "423"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "123"), RIA_OK);
    CU_ASSERT_EQUAL(move(&m, "523"), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(is(row.replicas, "5231"));
    CU_ASSERT_TRUE(is(row.target, "523"));
    CU_ASSERT_TRUE(node_list_equal(&row.origin, &before.replicas));
    CU_ASSERT_TRUE(is(row.dropped, "4"));
    CU_ASSERT_EQUAL(in_sync(&m, "1235"), RIA_OK);
    CU_ASSERT_TRUE(is(row_of(&m, 0).replicas, "523"));
    tear_down(&m);
}

/* ---- dropped ---- */

/* A leader that was not told of the two changes in between would count what the replica had before
 * it deleted its data, and take it into the in-sync set empty. */
static void a_replica_that_comes_back_begins_a_new_epoch(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(move(&m, "412"), RIA_OK);
    CU_ASSERT_EQUAL(in_sync(&m, "1234"), RIA_OK);
    struct partition_row dropped = row_of(&m, 0);
    CU_ASSERT_TRUE(is(dropped.dropped, "3"));
    CU_ASSERT_EQUAL(move(&m, "312"), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_TRUE(is(row.replicas, "3124"));
    CU_ASSERT_TRUE(is(row.dropped, ""));
    CU_ASSERT_EQUAL(row.leader, dropped.leader);
    CU_ASSERT_EQUAL(row.leader_epoch, dropped.leader_epoch + 1);
    tear_down(&m);
}

static void the_oldest_falls_out_of_dropped_with_a_new_epoch(void)
{
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(TOPIC, "orders", 1, 1);

    fixture_machine_open(&m);
    fixture_nodes(&m, 20, NULL);
    m.live_count = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    m.live_count = 20;
    for (int32_t node = 2; node <= 20; node++) {
        struct partition_row before = row_of(&m, 0);
        struct reassign_partitions_request_reassigned_partition entry = {
            .topic_id = fixture_uuid(TOPIC),
            .partition_epoch = -1,
            .target = &node,
            .target_count = 1,
        };
        struct reassign_partitions_request request = {.partitions = &entry, .partitions_count = 1};
        CU_ASSERT_EQUAL(fixture_apply(&m, API_REASSIGN_PARTITIONS, &request), RIA_OK);
        struct alter_isr_request isr = {
            .topic_id = fixture_uuid(TOPIC),
            .leader_epoch = before.leader_epoch,
            .partition_epoch = before.partition_epoch + 1,
            .isr = (int32_t[]){node - 1, node},
            .isr_count = 2,
        };
        CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &isr), RIA_OK);
        struct partition_row row = row_of(&m, 0);
        CU_ASSERT_EQUAL(row.leader, node);
        CU_ASSERT_TRUE(row.leader_epoch > before.leader_epoch);
        CU_ASSERT_EQUAL(row.dropped.count, (uint32_t)ria_min_i64(node - 1, RIA_REPLICAS_MAX));
        CU_ASSERT_EQUAL(row.dropped.ids[row.dropped.count - 1], node - 1);
    }
    CU_ASSERT_EQUAL(row_of(&m, 0).dropped.ids[0], 4); /* 1, 2 and 3 fell out */
    fixture_machine_close(&m);
}

/* ---- nodes ---- */

static void draining_is_said_and_taken_back(void)
{
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(60, "later", 12, 3);

    set_up(&m);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 1), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_node.replicas, 1);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 1), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 1), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_node.replicas, 1); /* no new ones */
    CU_ASSERT_EQUAL(alter_node(&m, 1, 2), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(alter_node(&m, 9, 1), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 4), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 0), RIA_ERR_INVALID);
    tear_down(&m);
}

static void a_node_is_removed_only_empty_and_stopped(void)
{
    struct fixture_machine m;
    struct register_node_request again = fixture_register(4, 101);

    set_up(&m);
    CU_ASSERT_EQUAL(alter_node(&m, 1, 3), RIA_ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(m.result.text, "node 1 has 1 replicas: drain it first");
    CU_ASSERT_EQUAL(alter_node(&m, 4, 3), RIA_ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(m.result.text, "node 4 is running: stop it first");
    fence(&m, 4);
    CU_ASSERT_EQUAL(alter_node(&m, 4, 3), RIA_OK);
    CU_ASSERT_EQUAL(alter_node(&m, 4, 3), RIA_OK); /* again */
    CU_ASSERT_EQUAL(alter_node(&m, 4, 1), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &again), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "was removed"));
    tear_down(&m);
}

static void rebalancing_is_remembered(void)
{
    struct fixture_machine m;
    struct alter_rebalance_request request = {.run = true};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_number(&m, META_REBALANCING_GET), 0);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_REBALANCE, &request), RIA_OK);
    CU_ASSERT_FALSE(m.result.response.alter_rebalance.was_running);
    CU_ASSERT_EQUAL(fixture_number(&m, META_REBALANCING_GET), 1);
    request.run = false;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_REBALANCE, &request), RIA_OK);
    CU_ASSERT_TRUE(m.result.response.alter_rebalance.was_running);
    CU_ASSERT_EQUAL(fixture_number(&m, META_REBALANCING_GET), 0);
    tear_down(&m);
}

/* ---- with everything else, at random ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void random_step(struct fixture_machine *m, uint64_t *state)
{
    static const char *const targets[] = {"123", "456", "135", "246", "612", "", "341", "", "552"};
    struct partition_row row = row_of(m, 0);
    int32_t node = 1 + (int32_t)(next_random(state) % NODES);

    switch (next_random(state) % 7) {
    case 0:
    case 1:
        (void)move(m, targets[next_random(state) % RIA_COUNT(targets)]);
        break;
    case 2:
    case 3: { /* the leader takes in or puts out one */
        struct node_list isr = row.isr;
        char text[RIA_REPLICAS_MAX + 1] = "";
        int32_t other = row.replicas.ids[next_random(state) % row.replicas.count];
        if (node_list_has(&isr, other) && other != row.leader) {
            node_list_remove(&isr, other);
        } else {
            node_list_add(&isr, other);
        }
        for (uint32_t i = 0; i < isr.count; i++) {
            text[i] = (char)('0' + isr.ids[i]);
        }
        (void)in_sync(m, text);
        break;
    }
    case 4: {
        struct fence_nodes_fenced_node entry = {
            .node_id = node, .incarnation = 100, .fenced = next_random(state) % 2 == 0};
        struct fence_nodes request = {.nodes = &entry, .nodes_count = 1};
        (void)fixture_apply(m, COMMAND_FENCE_NODES, &request);
        break;
    }
    case 5:
        (void)alter_node(m, node, 1 + (int8_t)(next_random(state) % 2));
        break;
    default: {
        struct elect_leader_request request = {
            .topic_id = fixture_uuid(TOPIC),
            .node = node,
            .partition_epoch = -1,
            .force = next_random(state) % 4 == 0,
        };
        (void)fixture_apply(m, API_ELECT_LEADER, &request);
        break;
    }
    }
}

/* What holds after every command. */
static bool is_sound(const struct partition_row *before, const struct partition_row *row)
{
    bool moving = row->target.count > 0;
    bool sound = row->isr.count > 0 && row->leader_epoch >= before->leader_epoch &&
                 row->partition_epoch >= before->partition_epoch &&
                 (row->leader == before->leader || row->leader == -1 ||
                  row->leader_epoch > before->leader_epoch);

    sound = sound && (moving ? row->target.count == 3 && row->origin.count == 3
                             : row->replicas.count == 3 && row->origin.count == 0);
    for (uint32_t i = 0; i < before->replicas.count; i++) { /* who goes is named */
        int32_t id = before->replicas.ids[i];
        sound = sound && (node_list_has(&row->replicas, id) || node_list_has(&row->dropped, id));
    }
    for (uint32_t i = 0; i < row->replicas.count; i++) { /* who comes back is new */
        int32_t id = row->replicas.ids[i];
        sound = sound && !node_list_has(&row->dropped, id) &&
                (!node_list_has(&before->dropped, id) || row->leader_epoch > before->leader_epoch);
        sound = sound &&
                (!moving || node_list_has(&row->target, id) || node_list_has(&row->origin, id));
    }
    for (uint32_t i = 0; i < row->isr.count; i++) { /* nobody is in sync that was not a replica */
        sound = sound && node_list_has(&row->replicas, row->isr.ids[i]);
    }
    return sound;
}

static void whatever_comes_in_between_rows_stay_sound(void)
{
    uint32_t broken = 0;
    uint32_t ended = 0;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fixture_machine m;
        uint64_t state = seed;
        set_up(&m);
        for (int step = 0; step < 150; step++) {
            struct partition_row before = row_of(&m, 0);
            random_step(&m, &state);
            struct partition_row row = row_of(&m, 0);
            broken += is_sound(&before, &row) ? 0 : 1;
            ended += before.target.count > 0 && row.target.count == 0 ? 1 : 0;
        }
        tear_down(&m);
    }
    CU_ASSERT_EQUAL(broken, 0);
    CU_ASSERT_TRUE(ended > 50);
}

static void a_late_copy_of_a_drain_does_not_begin_it_again(void)
{
    struct fixture_machine m;
    const struct alter_node_request first = {.node_id = 4, .action = 1, .drain_epoch = 0};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_NODE, &first), RIA_OK);
    CU_ASSERT_EQUAL(alter_node(&m, 4, 2), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_NODE, &first), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "drain of node 4"));
    CU_ASSERT_FALSE(m.result.changed);
    tear_down(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_late_copy_of_a_drain_does_not_begin_it_again),
    HARNESS_TEST(a_move_adds_new_replicas_and_keeps_the_old),
    HARNESS_TEST(bad_targets_are_refused_by_name),
    HARNESS_TEST(a_replica_may_stay_on_a_node_that_takes_no_new_ones),
    HARNESS_TEST(all_or_none_of_a_request),
    HARNESS_TEST(no_more_than_so_many_move_at_once),
    HARNESS_TEST(the_replicas_as_they_are_are_no_move),
    HARNESS_TEST(another_order_of_replicas_in_sync_is_done_at_once),
    HARNESS_TEST(a_move_ends_when_the_whole_target_is_in_sync),
    HARNESS_TEST(the_end_of_a_move_has_a_partition_epoch_of_its_own),
    HARNESS_TEST(a_leader_that_is_dropped_hands_over_under_a_new_epoch),
    HARNESS_TEST(a_move_does_not_end_without_a_leader),
    HARNESS_TEST(a_move_does_not_end_while_a_replica_of_the_target_is_unfit),
    HARNESS_TEST(a_move_without_a_leader_does_not_drop_the_last_whole_replica),
    HARNESS_TEST(a_move_is_not_called_off_onto_unfit_replicas),
    HARNESS_TEST(a_move_that_is_called_off_drops_what_was_added),
    HARNESS_TEST(a_move_is_not_called_off_onto_replicas_out_of_sync),
    HARNESS_TEST(another_target_drops_the_first_ones_at_once),
    HARNESS_TEST(a_replica_that_comes_back_begins_a_new_epoch),
    HARNESS_TEST(the_oldest_falls_out_of_dropped_with_a_new_epoch),
    HARNESS_TEST(draining_is_said_and_taken_back),
    HARNESS_TEST(a_node_is_removed_only_empty_and_stopped),
    HARNESS_TEST(rebalancing_is_remembered),
    HARNESS_TEST(whatever_comes_in_between_rows_stay_sound),
};
HARNESS_MAIN(tests);
