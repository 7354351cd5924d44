/* RegisterNode and AlterIsr. */
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/shutdown_node_request.h"

#include "services/coordinator/node_list.h"
#include "services/coordinator/partition_row.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static struct partition_row
read_partition(struct fixture_machine *m, uint32_t topic, int32_t number)
{
    struct partition_row row = {.leader = -1};
    struct ria_uuid id = fixture_uuid(topic);

    CU_ASSERT_TRUE(partition_row_read(m->db, &id, number, &row));
    return row;
}

static void set_up(struct fixture_machine *m)
{
    struct create_topic_request topic = fixture_topic(50, "t", 6, 3);

    fixture_machine_open(m);
    fixture_nodes(m, 3, NULL);
    CU_ASSERT_EQUAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
}

/* ---- RegisterNode ---- */

static void node_ids_count_from_one_and_stay(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(2, 777);

    fixture_machine_open(&m);
    fixture_nodes(&m, 3, NULL);
    CU_ASSERT_EQUAL(m.result.response.register_node.node_id, 3);
    CU_ASSERT_TRUE(ria_uuid_equal(m.result.response.register_node.cluster_id, fixture_uuid(0xc1)));
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.register_node.node_id, 2);
    fixture_machine_close(&m);
}

static void same_incarnation_again_changes_nothing(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 100);

    set_up(&m);
    struct partition_row before = read_partition(&m, 50, 0);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).leader_epoch, before.leader_epoch);
    fixture_machine_close(&m);
}

static void new_incarnation_gives_what_it_led_to_others_in_sync(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 101);
    struct partition_row before[6];

    set_up(&m);
    for (int32_t i = 0; i < 6; i++) {
        before[i] = read_partition(&m, 50, i);
    }
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.leader_changes, 2);
    for (int32_t i = 0; i < 6; i++) {
        struct partition_row p = read_partition(&m, 50, i);
        bool led = before[i].leader == 1;
        CU_ASSERT_EQUAL(p.leader, led ? before[i].replicas.ids[1] : before[i].leader);
        CU_ASSERT_EQUAL(p.leader_epoch, led ? 1 : 0);
        /* It may lack its log's end: it is in sync when it has caught up. */
        CU_ASSERT_EQUAL(p.partition_epoch, 1);
        CU_ASSERT_EQUAL(p.isr.count, 2);
        CU_ASSERT_FALSE(node_list_has(&p.isr, 1));
    }
    fixture_machine_close(&m);
}

static void registrations_of_former_lives_that_come_late_change_nothing(void)
{
    struct fixture_machine m;
    struct register_node_request former = fixture_register(1, 100);
    struct register_node_request now = fixture_register(1, 101);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &now), RIA_OK);
    struct partition_row before = read_partition(&m, 50, 0);
    for (former.incarnation = 98; former.incarnation <= 100; former.incarnation++) {
        former.address =
            ria_slice_cstr("tcp://where-it-was:1"); /* 98 and 99 never got here before */
        CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &former), RIA_OK);
        CU_ASSERT_FALSE(m.result.changed);
        CU_ASSERT_EQUAL(m.result.response.register_node.incarnation, 101);
    }
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).partition_epoch, before.partition_epoch);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &now), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    now.incarnation = 102; /* and on it goes */
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &now), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.response.register_node.incarnation, 102);
    fixture_machine_close(&m);
}

static void new_incarnation_after_a_shutdown_stays_where_it_was(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 101);
    struct create_topic_request topic = fixture_topic(60, "single", 3, 1);
    const struct shutdown_node_request shutdown = {.node_id = 1, .incarnation = 100};

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_SHUTDOWN_NODE, &shutdown), RIA_OK);
    struct partition_row before = read_partition(&m, 50, 0);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).partition_epoch, before.partition_epoch);
    fixture_machine_close(&m);
}

static void new_incarnation_of_the_only_one_goes_on_under_a_new_epoch(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 101);
    struct create_topic_request topic = fixture_topic(60, "single", 3, 1);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    m.live_count = 0; /* nobody else is heard */
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.leader_changes, 0);
    for (int32_t i = 0; i < 6; i++) {
        struct partition_row p = read_partition(&m, 50, i);
        CU_ASSERT_EQUAL(p.leader_epoch, p.leader == 1 ? 1 : 0);
        CU_ASSERT_EQUAL(p.isr.count, 3);
    }
    for (int32_t i = 0; i < 3; i++) {
        struct partition_row p = read_partition(&m, 60, i);
        CU_ASSERT_EQUAL(p.leader_epoch, p.leader == 1 ? 1 : 0);
    }
    fixture_machine_close(&m);
}

/* What it had was in a page cache: it is not known to have what was committed. */
static void new_incarnation_is_not_eligible_for_relaxed_topics(void)
{
    struct create_topic_request_create_topic_config config = {
        .name = RIA_SLICE_LITERAL("durability"), .value = RIA_SLICE_LITERAL("relaxed")};
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(60, "quick", 1, 2);
    struct node_list isr = {.count = 1};

    set_up(&m);
    topic.configs = &config;
    topic.configs_count = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    struct partition_row p = read_partition(&m, 60, 0);
    int32_t follower = p.replicas.ids[1];
    isr.ids[0] = p.leader;
    struct alter_isr_request alone = {
        .topic_id = fixture_uuid(60), .isr = isr.ids, .isr_count = isr.count};
    for (int64_t incarnation = 101; incarnation <= 102; incarnation++) {
        struct register_node_request request = fixture_register((uint32_t)follower, incarnation);
        CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
        p = read_partition(&m, 60, 0);
        CU_ASSERT_TRUE(node_list_equal(&p.isr, &isr));
        CU_ASSERT_EQUAL(p.eligible.count, 0);
        alone.partition_epoch = p.partition_epoch; /* it comes back, and is put out */
        alone.isr = p.replicas.ids;
        alone.isr_count = 2;
        CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &alone), RIA_OK);
        alone.partition_epoch++;
        alone.isr = isr.ids;
        alone.isr_count = 1;
        CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &alone), RIA_OK);
    }
    fixture_machine_close(&m);
}

static void new_address_is_a_change_without_new_epochs(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(1, 100);

    set_up(&m);
    request.address = RIA_SLICE_LITERAL("tcp://moved:2");
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).leader_epoch, 0);
    fixture_machine_close(&m);
}

static void another_clusters_node_is_refused(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(9, 1);

    fixture_machine_open(&m);
    request.cluster_id = fixture_uuid(0xbad);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_ERR_WRONG_CLUSTER);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "00000bad"));
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "000000c1"));
    request.cluster_id = fixture_uuid(0xc1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_OK);
    fixture_machine_close(&m);
}

static void node_without_uuid_or_address_is_refused(void)
{
    struct fixture_machine m;
    struct register_node_request request = fixture_register(0, 1);

    fixture_machine_open(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "processUuid"));
    request = fixture_register(1, 1);
    request.address = RIA_SLICE_EMPTY;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "address"));
    fixture_machine_close(&m);
}

static void one_node_too_many_is_refused(void)
{
    struct fixture_machine m;

    fixture_machine_open(&m);
    for (uint32_t i = 1; i <= RIA_NODES_MAX; i++) {
        struct register_node_request request = fixture_register(i, 1);
        if (fixture_apply(&m, API_REGISTER_NODE, &request) != RIA_OK) {
            CU_FAIL("refused too early");
        }
    }
    struct register_node_request more = fixture_register(RIA_NODES_MAX + 1, 1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &more), RIA_ERR_LIMIT);
    fixture_machine_close(&m);
}

/* ---- AlterIsr ---- */

/* A valid proposal to shrink partition 0 to its leader. */
static struct alter_isr_request
shrink(struct fixture_machine *m, int32_t *isr, struct partition_row *out_partition)
{
    *out_partition = read_partition(m, 50, 0);
    isr[0] = out_partition->leader;
    m->sender_id = out_partition->leader;
    return (struct alter_isr_request){
        .topic_id = fixture_uuid(50),
        .leader_epoch = out_partition->leader_epoch,
        .partition_epoch = out_partition->partition_epoch,
        .isr = isr,
        .isr_count = 1,
    };
}

static void isr_shrinks_and_grows(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_isr.partition_epoch, 1);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).isr.count, 1);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).leader_epoch, 0);

    request.partition_epoch = 1;
    request.isr = p.replicas.ids;
    request.isr_count = 3;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_isr.partition_epoch, 2);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).isr.count, 3);
    fixture_machine_close(&m);
}

/* A leader that does not know what came of a proposal, and cannot have it any more, proposes the
 * set it has: from then on the first attempt, which may still be on its way, must be void. */
static void isr_as_it_is_makes_older_proposals_void(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request late = shrink(&m, isr, &p);
    struct alter_isr_request same = late;
    same.isr = p.isr.ids;
    same.isr_count = 3;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &same), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.alter_isr.partition_epoch, p.partition_epoch + 1);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &late), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).isr.count, 3);
    CU_ASSERT_EQUAL(read_partition(&m, 50, 0).partition_epoch, p.partition_epoch + 1);
    fixture_machine_close(&m);
}

static void isr_proposal_on_an_old_state_is_refused(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(m.result.changed);
    request.partition_epoch = 7;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

static void isr_proposal_of_another_epoch_is_refused(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    request.leader_epoch = -1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_FENCED_EPOCH);
    request.leader_epoch = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_UNKNOWN_EPOCH);
    fixture_machine_close(&m);
}

static void isr_proposal_of_a_follower_is_refused(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    m.sender_id = p.replicas.ids[1];
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_NOT_LEADER);
    fixture_machine_close(&m);
}

static void isr_is_replicas_only_once_each_and_has_the_leader(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    request.isr_count = 0;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_INVALID);
    isr[0] = p.replicas.ids[1];
    request.isr_count = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "leader"));
    isr[0] = p.leader;
    isr[1] = 99;
    request.isr_count = 2;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "99"));
    isr[1] = p.leader;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "twice"));
    fixture_machine_close(&m);
}

static void isr_of_nothing_is_refused(void)
{
    struct fixture_machine m;
    struct partition_row p;
    int32_t isr[3];

    set_up(&m);
    struct alter_isr_request request = shrink(&m, isr, &p);
    request.partition = 6;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_UNKNOWN_PARTITION);
    request.topic_id = fixture_uuid(51);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &request), RIA_ERR_UNKNOWN_TOPIC);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(node_ids_count_from_one_and_stay),
    HARNESS_TEST(same_incarnation_again_changes_nothing),
    HARNESS_TEST(new_incarnation_gives_what_it_led_to_others_in_sync),
    HARNESS_TEST(registrations_of_former_lives_that_come_late_change_nothing),
    HARNESS_TEST(new_incarnation_after_a_shutdown_stays_where_it_was),
    HARNESS_TEST(new_incarnation_of_the_only_one_goes_on_under_a_new_epoch),
    HARNESS_TEST(new_incarnation_is_not_eligible_for_relaxed_topics),
    HARNESS_TEST(new_address_is_a_change_without_new_epochs),
    HARNESS_TEST(another_clusters_node_is_refused),
    HARNESS_TEST(node_without_uuid_or_address_is_refused),
    HARNESS_TEST(one_node_too_many_is_refused),
    HARNESS_TEST(isr_shrinks_and_grows),
    HARNESS_TEST(isr_as_it_is_makes_older_proposals_void),
    HARNESS_TEST(isr_proposal_on_an_old_state_is_refused),
    HARNESS_TEST(isr_proposal_of_another_epoch_is_refused),
    HARNESS_TEST(isr_proposal_of_a_follower_is_refused),
    HARNESS_TEST(isr_is_replicas_only_once_each_and_has_the_leader),
    HARNESS_TEST(isr_of_nothing_is_refused),
};
HARNESS_MAIN(tests);
