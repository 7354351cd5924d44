/* AlterTopic. */
#include <string.h>

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/alter_topic_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/fence_nodes.h"

#include "services/coordinator/metadata_view.h"
#include "services/coordinator/partition_row.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 50, CONFIGS_MAX = 4 };

typedef struct alter_topic_request_alter_topic_config change;

/* One topic of three partitions on three nodes, min.insync.replicas 2. */
static void set_up(struct fixture_machine *m)
{
    struct create_topic_request topic = fixture_topic(TOPIC, "t", 3, 3);

    fixture_machine_open(m);
    fixture_nodes(m, 4, NULL);
    m->live_count = 3;
    CU_ASSERT_EQUAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
    m->live_count = 4;
}

static struct alter_topic_request request_of(const change *configs, uint32_t count)
{
    return (struct alter_topic_request){
        .topic_id = fixture_uuid(TOPIC),
        .config_epoch = -1,
        .configs = (change *)(uintptr_t)configs,
        .configs_count = count,
        .partition_count = -1,
    };
}

static change to(const char *name, const char *value)
{
    return (change){
        .name = ria_slice_cstr(name),
        .value = value == NULL ? RIA_SLICE_NULL : ria_slice_cstr(value),
    };
}

static ria_err alter(struct fixture_machine *m, const char *name, const char *value)
{
    const change one = to(name, value);
    const struct alter_topic_request request = request_of(&one, 1);

    return fixture_apply(m, API_ALTER_TOPIC, &request);
}

static ria_err grow(struct fixture_machine *m, int32_t count)
{
    struct alter_topic_request request = request_of(NULL, 0);

    request.partition_count = count;
    return fixture_apply(m, API_ALTER_TOPIC, &request);
}

static struct partition_row row_of(struct fixture_machine *m, int32_t partition)
{
    struct partition_row row = {.leader = -99};
    struct ria_uuid id = fixture_uuid(TOPIC);

    CU_ASSERT_TRUE(partition_row_read(m->db, &id, partition, &row));
    return row;
}

/* The topic's row as others see it; "" if the setting was not given. */
static struct metadata_response_metadata_topic
seen(struct fixture_machine *m, const char *name, char *out_value)
{
    struct metadata_response response;
    struct metadata_response_metadata_topic topic = {.config_epoch = -99};
    struct ria_arena arena;
    struct ria_uuid cluster = {{0}};

    out_value[0] = '\0';
    ria_arena_init(&arena, 1024 * 1024);
    CU_ASSERT_EQUAL(metadata_view_read(m->db, &cluster, 0, INT64_MAX, &arena, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.topics_count, 1);
    if (response.topics_count == 1) {
        topic = response.topics[0];
        for (uint32_t i = 0; i < topic.configs_count; i++) {
            if (ria_slice_equal(topic.configs[i].name, ria_slice_cstr(name))) {
                memcpy(out_value, topic.configs[i].value.data, topic.configs[i].value.size);
                out_value[topic.configs[i].value.size] = '\0';
            }
        }
    }
    ria_arena_fini(&arena);
    return topic;
}

static ria_err set_isr(struct fixture_machine *m, int32_t partition, uint32_t count)
{
    struct partition_row row = row_of(m, partition);
    int32_t isr[4] = {row.leader};
    uint32_t isr_count = 1;

    for (uint32_t i = 0; i < row.replicas.count && isr_count < count; i++) {
        if (row.replicas.ids[i] != row.leader) {
            isr[isr_count++] = row.replicas.ids[i];
        }
    }
    const struct alter_isr_request request = {
        .topic_id = fixture_uuid(TOPIC),
        .partition = partition,
        .leader_epoch = row.leader_epoch,
        .partition_epoch = row.partition_epoch,
        .isr = isr,
        .isr_count = isr_count,
    };
    m->sender_id = row.leader;
    return fixture_apply(m, API_ALTER_ISR, &request);
}

/* ---- settings ---- */

static void a_setting_changes_and_everybody_is_told(void)
{
    struct fixture_machine m;
    char value[300];

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "3"), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_FALSE(m.result.response.alter_topic.stale);
    CU_ASSERT_EQUAL(m.result.response.alter_topic.config_epoch, 1);
    CU_ASSERT_EQUAL(m.result.response.alter_topic.version, 1 + 4 + 1 + 1);
    CU_ASSERT_EQUAL(seen(&m, "min.insync.replicas", value).config_epoch, 1);
    CU_ASSERT_STRING_EQUAL(value, "3");
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "1"), RIA_OK);
    CU_ASSERT_EQUAL(seen(&m, "min.insync.replicas", value).config_epoch, 2);
    CU_ASSERT_STRING_EQUAL(value, "1");
    fixture_machine_close(&m);
}

static void null_goes_back_to_the_default(void)
{
    struct fixture_machine m;
    char value[300];

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "delivery", "queue"), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, "delivery", NULL), RIA_OK);
    CU_ASSERT_EQUAL(seen(&m, "delivery", value).config_epoch, 2);
    CU_ASSERT_STRING_EQUAL(value, "");
    CU_ASSERT_EQUAL(alter(&m, "delivery", NULL), RIA_OK); /* nothing to do */
    CU_ASSERT_FALSE(m.result.changed);
    fixture_machine_close(&m);
}

static void the_same_again_changes_nothing(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "segment.bytes", "1000000"), RIA_OK);
    int64_t version = m.result.response.alter_topic.version;
    int32_t epoch = row_of(&m, 0).partition_epoch;
    CU_ASSERT_EQUAL(alter(&m, "segment.bytes", "1000000"), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.response.alter_topic.version, version);
    CU_ASSERT_EQUAL(m.result.response.alter_topic.config_epoch, 1);
    CU_ASSERT_EQUAL(row_of(&m, 0).partition_epoch, epoch);
    fixture_machine_close(&m);
}

static void a_late_copy_of_a_change_changes_nothing(void)
{
    struct fixture_machine m;
    char value[300];
    const change first = to("min.insync.replicas", "3");
    struct alter_topic_request request = request_of(&first, 1);

    set_up(&m);
    request.config_epoch = 0;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "1"), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_OK);
    CU_ASSERT_TRUE(m.result.response.alter_topic.stale);
    CU_ASSERT_EQUAL(m.result.response.alter_topic.config_epoch, 2);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(seen(&m, "min.insync.replicas", value).config_epoch, 2);
    CU_ASSERT_STRING_EQUAL(value, "1");
    fixture_machine_close(&m);
}

static void a_late_copy_does_not_reach_a_topic_of_the_same_name(void)
{
    struct fixture_machine m;
    const struct delete_topic_request gone = {.name = RIA_SLICE_LITERAL("t")};
    struct create_topic_request another = fixture_topic(TOPIC + 1, "t", 3, 3);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TOPIC, &gone), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, "delivery", "queue"), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &another), RIA_OK);
    CU_ASSERT_EQUAL(alter(&m, "delivery", "queue"), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "topicId"));
    fixture_machine_close(&m);
}

static void all_of_a_command_or_nothing(void)
{
    struct fixture_machine m;
    char value[300];
    const change two[] = {to("delivery", "queue"), to("segment.bytes", "1")};
    const struct alter_topic_request request = request_of(two, 2);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "segment.bytes"));
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(seen(&m, "delivery", value).config_epoch, 0);
    CU_ASSERT_STRING_EQUAL(value, "");
    fixture_machine_close(&m);
}

static void bad_settings_are_refused_by_name(void)
{
    static const struct {
        const char *name;
        const char *value;
        ria_err err;
    } bad[] = {
        {"min.insync.replicas", "4", RIA_ERR_INVALID}, /* of three replicas */
        {"min.insync.replicas", "0", RIA_ERR_INVALID},
        {"durability", "perhaps", RIA_ERR_INVALID},
        {"delivery", "both", RIA_ERR_INVALID},
        {"nonsense", "1", RIA_ERR_INVALID},
        {"nonsense", NULL, RIA_ERR_INVALID},
        {"cleanup.policy", "compact", RIA_ERR_UNSUPPORTED},
        {"cleanup.policy", NULL, RIA_ERR_UNSUPPORTED},
        {"retention.ms", "1000", RIA_ERR_UNSUPPORTED},
    };
    const change twice[] = {to("delivery", "queue"), to("delivery", "stream")};
    const struct alter_topic_request request = request_of(twice, 2);
    struct fixture_machine m;

    set_up(&m);
    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(alter(&m, bad[i].name, bad[i].value), bad[i].err);
        CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, bad[i].name));
        CU_ASSERT_FALSE(m.result.changed);
    }
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "delivery is given twice"));
    CU_ASSERT_EQUAL(alter(&m, "retention.ms", "-1"), RIA_OK); /* is done anyway */
    CU_ASSERT_EQUAL(alter(&m, "retention.ms", NULL), RIA_OK);
    fixture_machine_close(&m);
}

static void validating_does_nothing(void)
{
    struct fixture_machine m;
    char value[300];
    const change one = to("delivery", "queue");
    const change wrong = to("delivery", "both");
    struct alter_topic_request request = request_of(&one, 1);

    set_up(&m);
    request.validate_only = true;
    request.partition_count = 5;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(seen(&m, "delivery", value).partition_count, 3);
    CU_ASSERT_STRING_EQUAL(value, "");
    request.configs = (change *)(uintptr_t)&wrong;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &request), RIA_ERR_INVALID);
    fixture_machine_close(&m);
}

static void a_topic_that_was_relaxed_is_remembered(void)
{
    struct fixture_machine m;
    char value[300];

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "durability", "relaxed"), RIA_OK);
    CU_ASSERT_FALSE(seen(&m, "durability", value).was_relaxed);
    CU_ASSERT_EQUAL(alter(&m, "durability", NULL), RIA_OK);
    CU_ASSERT_TRUE(seen(&m, "durability", value).was_relaxed);
    CU_ASSERT_EQUAL(alter(&m, "delivery", "queue"), RIA_OK);
    CU_ASSERT_TRUE(seen(&m, "durability", value).was_relaxed);
    fixture_machine_close(&m);
}

/* ---- what min.insync.replicas means for who may lead ---- */

static void a_lower_minimum_leaves_nobody_eligible(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(set_isr(&m, 0, 2), RIA_OK);
    CU_ASSERT_EQUAL(set_isr(&m, 0, 1), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 1); /* nothing is committed without it */
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "1"), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 0); /* the leader commits alone now */
    fixture_machine_close(&m);
}

static void a_higher_minimum_voids_what_was_proposed_by_the_lower_one(void)
{
    struct fixture_machine m;
    int32_t alone[1];

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "1"), RIA_OK);
    CU_ASSERT_EQUAL(set_isr(&m, 0, 2), RIA_OK);
    struct partition_row before = row_of(&m, 0);
    CU_ASSERT_EQUAL(alter(&m, "min.insync.replicas", "2"), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).partition_epoch, before.partition_epoch + 1);

    /* Its leader may commit alone as soon as this is applied: it must not make the other one, which
     * then lacks records, eligible. */
    alone[0] = before.leader;
    const struct alter_isr_request late = {
        .topic_id = fixture_uuid(TOPIC),
        .leader_epoch = before.leader_epoch,
        .partition_epoch = before.partition_epoch,
        .isr = alone,
        .isr_count = 1,
    };
    m.sender_id = before.leader;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_ISR, &late), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 0);
    CU_ASSERT_EQUAL(row_of(&m, 0).isr.count, 2);
    fixture_machine_close(&m);
}

static void other_settings_leave_the_partitions_alone(void)
{
    struct fixture_machine m;

    set_up(&m);
    int32_t epoch = row_of(&m, 0).partition_epoch;
    CU_ASSERT_EQUAL(alter(&m, "max.message.bytes", "4096"), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).partition_epoch, epoch);
    fixture_machine_close(&m);
}

static void a_node_of_a_once_relaxed_topic_that_crashed_is_not_eligible(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(alter(&m, "durability", "relaxed"), RIA_OK);
    CU_ASSERT_EQUAL(set_isr(&m, 0, 2), RIA_OK);
    CU_ASSERT_EQUAL(set_isr(&m, 0, 1), RIA_OK);
    struct partition_row row = row_of(&m, 0);
    CU_ASSERT_EQUAL(row.eligible.count, 1);
    CU_ASSERT_EQUAL(alter(&m, "durability", "synced"), RIA_OK);
    struct register_node_request again =
        fixture_register((uint32_t)row.eligible.ids[0], 1000); /* its page cache is gone */
    CU_ASSERT_EQUAL(fixture_apply(&m, API_REGISTER_NODE, &again), RIA_OK);
    CU_ASSERT_EQUAL(row_of(&m, 0).eligible.count, 0);
    fixture_machine_close(&m);
}

/* ---- more partitions ---- */

static void partitions_are_added_as_a_new_topic_would_place_them(void)
{
    struct fixture_machine m;
    char value[300];
    int32_t on_the_new_node = 0;
    int32_t leads = 0;

    set_up(&m); /* three partitions on nodes 1 to 3, node 4 has none */
    CU_ASSERT_EQUAL(grow(&m, 7), RIA_OK);
    CU_ASSERT_EQUAL(seen(&m, "x", value).partition_count, 7);
    CU_ASSERT_EQUAL(seen(&m, "x", value).config_epoch, 0);
    for (int32_t i = 0; i < 7; i++) {
        struct partition_row row = row_of(&m, i);
        CU_ASSERT_EQUAL(row.isr.count, 3);
        for (uint32_t k = 0; k < row.replicas.count; k++) {
            on_the_new_node += row.replicas.ids[k] == 4 ? 1 : 0;
        }
        leads += row.leader == 4 ? 1 : 0;
    }
    CU_ASSERT_EQUAL(on_the_new_node, 4); /* it has the fewest of this topic: one of each */
    CU_ASSERT_TRUE(leads >= 1);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 7);
    CU_ASSERT_EQUAL(grow(&m, 7), RIA_OK); /* a copy of the request */
    CU_ASSERT_FALSE(m.result.changed);
    fixture_machine_close(&m);
}

static void replicas_of_added_partitions_are_counted_once(void)
{
    struct fixture_machine m;
    struct meta_stmt *stmt;
    int64_t replicas = 0;
    int64_t leaders = 0;

    set_up(&m);
    CU_ASSERT_EQUAL(grow(&m, 7), RIA_OK);
    stmt = meta_query(m.db, META_NODES_BY_ID);
    while (meta_step(stmt)) {
        replicas += meta_column_int(stmt, 4);
        leaders += meta_column_int(stmt, 5);
    }
    meta_done(stmt);
    CU_ASSERT_EQUAL(replicas, 21);
    CU_ASSERT_EQUAL(leaders, 7);
    const struct delete_topic_request gone = {.name = RIA_SLICE_LITERAL("t")};
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TOPIC, &gone), RIA_OK);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 0);
    fixture_machine_close(&m);
}

static void fewer_partitions_are_refused(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(grow(&m, 2), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "partitionCount"));
    CU_ASSERT_EQUAL(grow(&m, 100000), RIA_ERR_INVALID);
    m.live_count = 2;
    CU_ASSERT_EQUAL(grow(&m, 4), RIA_ERR_NOT_ENOUGH_NODES);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 3);
    fixture_machine_close(&m);
}

static void a_topic_with_a_transform_does_not_grow(void)
{
    struct fixture_machine m;
    struct create_transform_request transform = fixture_transform(60, "d", "t");

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TRANSFORM, &transform), RIA_OK);
    CU_ASSERT_EQUAL(grow(&m, 4), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "\"d\""));
    CU_ASSERT_EQUAL(grow(&m, 3), RIA_OK); /* has them already */
    CU_ASSERT_EQUAL(alter(&m, "segment.bytes", "1000000"), RIA_OK);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_setting_changes_and_everybody_is_told),
    HARNESS_TEST(null_goes_back_to_the_default),
    HARNESS_TEST(the_same_again_changes_nothing),
    HARNESS_TEST(a_late_copy_of_a_change_changes_nothing),
    HARNESS_TEST(a_late_copy_does_not_reach_a_topic_of_the_same_name),
    HARNESS_TEST(all_of_a_command_or_nothing),
    HARNESS_TEST(bad_settings_are_refused_by_name),
    HARNESS_TEST(validating_does_nothing),
    HARNESS_TEST(a_topic_that_was_relaxed_is_remembered),
    HARNESS_TEST(a_lower_minimum_leaves_nobody_eligible),
    HARNESS_TEST(a_higher_minimum_voids_what_was_proposed_by_the_lower_one),
    HARNESS_TEST(other_settings_leave_the_partitions_alone),
    HARNESS_TEST(a_node_of_a_once_relaxed_topic_that_crashed_is_not_eligible),
    HARNESS_TEST(partitions_are_added_as_a_new_topic_would_place_them),
    HARNESS_TEST(replicas_of_added_partitions_are_counted_once),
    HARNESS_TEST(fewer_partitions_are_refused),
    HARNESS_TEST(a_topic_with_a_transform_does_not_grow),
};
HARNESS_MAIN(tests);
