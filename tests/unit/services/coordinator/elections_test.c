/* Who is heard, and who leads because of it. */
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/shutdown_node_request.h"
#include "schemas/gen/shutdown_node_response.h"

#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 50, BEAT_MS = 200, SETTLED_MS = MEMBERSHIP_SESSION_MS + 100 };

/* Let time pass in which these nodes ("13") are heard. */
static void pass(struct fixture *f, const char *nodes, int64_t ms)
{
    for (int64_t left = ms; left > 0; left -= BEAT_MS) {
        for (const char *node = nodes; *node != '\0'; node++) {
            (void)fixture_heartbeat(f, (uint32_t)(*node - '0'), PROCESS_STORAGE, NULL);
        }
        fixture_advance(f, BEAT_MS);
    }
}

static void create(struct fixture *f, int32_t partitions, int16_t replicas)
{
    const struct create_topic_request body = fixture_topic(TOPIC, "t", partitions, replicas);

    CU_ASSERT_EQUAL(fixture_call(f, API_CREATE_TOPIC, &body, NULL), RIA_OK);
}

/* Three nodes, settled, a topic on all of them. */
static void set_up(struct fixture *f, int32_t partitions)
{
    fixture_up(f);
    fixture_register_nodes(f, 3);
    pass(f, "123", SETTLED_MS);
    create(f, partitions, 3);
}

static struct coordinator_partition_info info(struct fixture *f, int32_t partition)
{
    struct coordinator_partition_info out = {.leader = -99};
    struct ria_uuid id = fixture_uuid(TOPIC);

    CU_ASSERT_TRUE(coordinator_describe_partition(f->coordinator, &id, partition, &out));
    return out;
}

static int led_by(struct fixture *f, int32_t partitions, int32_t node_id)
{
    int led = 0;

    for (int32_t i = 0; i < partitions; i++) {
        led += info(f, i).leader == node_id ? 1 : 0;
    }
    return led;
}

/* Every leader takes the node into its in-sync set. */
static void join(struct fixture *f, int32_t partitions, int32_t node_id)
{
    for (int32_t i = 0; i < partitions; i++) {
        struct coordinator_partition_info p = info(f, i);
        p.isr[p.isr_count++] = node_id;
        const struct alter_isr_request body = {
            .topic_id = fixture_uuid(TOPIC),
            .partition = i,
            .leader_epoch = p.leader_epoch,
            .partition_epoch = p.partition_epoch,
            .isr = p.isr,
            .isr_count = p.isr_count,
        };
        if (fixture_call(f, API_ALTER_ISR, &body, NULL) != RIA_OK) {
            CU_FAIL("refused");
        }
    }
}

static void a_silent_node_loses_what_it_led(void)
{
    struct fixture f;

    set_up(&f, 6);
    CU_ASSERT_EQUAL(led_by(&f, 6, 1), 2);
    pass(&f, "23", MEMBERSHIP_SESSION_MS + 2 * BEAT_MS);
    CU_ASSERT_EQUAL(led_by(&f, 6, 1), 0);
    CU_ASSERT_EQUAL(led_by(&f, 6, -1), 0);
    CU_ASSERT_EQUAL(info(&f, 0).isr_count, 2);
    fixture_close(&f);
}

static void preferred_leaders_come_back_a_few_at_a_time(void)
{
    struct fixture f;
    enum { PARTITIONS = 300 };

    set_up(&f, PARTITIONS);
    pass(&f, "23", MEMBERSHIP_SESSION_MS + 2 * BEAT_MS);
    CU_ASSERT_EQUAL(led_by(&f, PARTITIONS, 1), 0);
    pass(&f, "123", 2 * BEAT_MS);
    join(&f, PARTITIONS, 1);
    CU_ASSERT_EQUAL(led_by(&f, PARTITIONS, 1), 0);
    int before = 0;
    for (int i = 0; i < 20; i++) {
        pass(&f, "123", BEAT_MS);
        int now = led_by(&f, PARTITIONS, 1);
        CU_ASSERT_TRUE(now - before <= 64);
        before = now;
    }
    CU_ASSERT_EQUAL(led_by(&f, PARTITIONS, 1), 100);
    fixture_close(&f);
}

static void nobody_is_fenced_while_the_coordinator_is_young(void)
{
    struct fixture f;

    set_up(&f, 6);
    fixture_stop(&f);
    fixture_advance(&f, 60000);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    pass(&f, "2", MEMBERSHIP_SESSION_MS - BEAT_MS);
    CU_ASSERT_EQUAL(led_by(&f, 6, 1), 2);
    CU_ASSERT_EQUAL(led_by(&f, 6, 3), 2);
    pass(&f, "2", 1000);
    CU_ASSERT_EQUAL(led_by(&f, 6, 2), 6);
    fixture_close(&f);
}

static void a_node_that_is_heard_again_leads_what_nobody_led(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    pass(&f, "1", SETTLED_MS);
    create(&f, 2, 1);
    fixture_advance(&f, MEMBERSHIP_SESSION_MS + 600);
    CU_ASSERT_EQUAL(led_by(&f, 2, -1), 2);
    pass(&f, "1", BEAT_MS);
    CU_ASSERT_EQUAL(led_by(&f, 2, 1), 2);
    CU_ASSERT_EQUAL(info(&f, 0).leader_epoch, 1);
    fixture_close(&f);
}

/* Not heard when its leader was fenced, which was too early for it to be fenced itself. */
static void a_node_that_was_late_is_elected_when_it_is_heard(void)
{
    struct fixture f;

    set_up(&f, 1);
    CU_ASSERT_EQUAL(info(&f, 0).leader, 1);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    fixture_advance(&f, SETTLED_MS + 600); /* nobody was heard: all are fenced */
    CU_ASSERT_EQUAL(info(&f, 0).leader, -1);
    pass(&f, "3", BEAT_MS);
    int32_t last = info(&f, 0).isr[0];
    CU_ASSERT_EQUAL(info(&f, 0).isr_count, 1);
    pass(&f, "123", BEAT_MS);
    CU_ASSERT_TRUE(info(&f, 0).leader == last || info(&f, 0).leader == 3);
    fixture_close(&f);
}

static void who_shuts_down_is_helped_at_once_even_after_a_restart(void)
{
    struct fixture f;
    const struct shutdown_node_request body = {.node_id = 1, .incarnation = 100};
    struct shutdown_node_response response;

    set_up(&f, 6);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(&f, API_SHUTDOWN_NODE, &body, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.leaders_left, 2); /* nobody else was heard */
    pass(&f, "123", BEAT_MS);
    CU_ASSERT_EQUAL(led_by(&f, 6, 1), 0);
    CU_ASSERT_EQUAL(info(&f, 0).isr_count, 2);
    fixture_close(&f);
}

/* Nobody could take over when it said so; then somebody came into sync. */
static void who_shuts_down_is_helped_when_another_is_in_sync(void)
{
    struct fixture f;
    const struct shutdown_node_request body = {.node_id = 1, .incarnation = 100};
    struct coordinator_partition_info p;
    struct shutdown_node_response response;

    set_up(&f, 1);
    p = info(&f, 0);
    CU_ASSERT_EQUAL(p.leader, 1);
    const struct alter_isr_request alone = {
        .topic_id = fixture_uuid(TOPIC), .isr = &p.leader, .isr_count = 1};
    CU_ASSERT_EQUAL(fixture_call(&f, API_ALTER_ISR, &alone, NULL), RIA_OK);
    pass(&f, "13", MEMBERSHIP_SESSION_FAST_MS + 2 * BEAT_MS);
    CU_ASSERT_EQUAL(fixture_call(&f, API_SHUTDOWN_NODE, &body, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.leaders_left, 1);
    CU_ASSERT_EQUAL(info(&f, 0).leader, 1);
    join(&f, 1, 3);
    pass(&f, "13", 600);
    CU_ASSERT_EQUAL(info(&f, 0).leader, 3);
    fixture_close(&f);
}

static void a_node_that_shut_down_and_is_gone_leads_nothing(void)
{
    struct fixture f;
    const struct shutdown_node_request body = {.node_id = 1, .incarnation = 100};

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    pass(&f, "1", SETTLED_MS);
    create(&f, 2, 1);
    CU_ASSERT_EQUAL(fixture_call(&f, API_SHUTDOWN_NODE, &body, NULL), RIA_OK);
    pass(&f, "1", 1000);
    CU_ASSERT_EQUAL(led_by(&f, 2, 1), 2);
    fixture_advance(&f, MEMBERSHIP_SESSION_MS + 600);
    CU_ASSERT_EQUAL(led_by(&f, 2, -1), 2);
    fixture_close(&f);
}

/* It was paused: what the nodes sent meanwhile is read after its own timers have run. */
static void a_coordinator_that_stood_still_blames_nobody(void)
{
    struct fixture f;

    set_up(&f, 6);
    int64_t version = coordinator_version(f.coordinator);
    f.mono_us += 10 * INT64_C(1000000);
    pass(&f, "", 2 * BEAT_MS);
    pass(&f, "123", 2000);
    CU_ASSERT_EQUAL(coordinator_version(f.coordinator), version);
    pass(&f, "23", MEMBERSHIP_SESSION_FAST_MS + 2 * BEAT_MS); /* that one really died */
    CU_ASSERT_EQUAL(led_by(&f, 6, 1), 0);
    fixture_close(&f);
}

/* Nothing that stays as it is may cost a command, or a sync, twice a second for ever. */
static void a_cluster_at_rest_proposes_nothing(void)
{
    struct fixture f;

    set_up(&f, 6);
    pass(&f, "23", SETTLED_MS + 1000);
    int64_t index = coordinator_applied_index(f.coordinator);
    pass(&f, "23", 5000);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), index);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_silent_node_loses_what_it_led),
    HARNESS_TEST(preferred_leaders_come_back_a_few_at_a_time),
    HARNESS_TEST(nobody_is_fenced_while_the_coordinator_is_young),
    HARNESS_TEST(a_node_that_is_heard_again_leads_what_nobody_led),
    HARNESS_TEST(a_node_that_was_late_is_elected_when_it_is_heard),
    HARNESS_TEST(who_shuts_down_is_helped_at_once_even_after_a_restart),
    HARNESS_TEST(who_shuts_down_is_helped_when_another_is_in_sync),
    HARNESS_TEST(a_node_that_shut_down_and_is_gone_leads_nothing),
    HARNESS_TEST(a_coordinator_that_stood_still_blames_nobody),
    HARNESS_TEST(a_cluster_at_rest_proposes_nothing),
};
HARNESS_MAIN(tests);
