#include "services/coordinator/state_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/delete_transform_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

/* One command of a random history; many are refused, which is part of it. */
static void random_command(struct fixture_machine *m, struct ria_rand *rand)
{
    char name[16];
    char source[16];
    uint32_t n = (uint32_t)ria_rand_below(rand, 12);

    (void)snprintf(name, sizeof(name), "n%u", n);
    (void)snprintf(source, sizeof(source), "n%u", (uint32_t)ria_rand_below(rand, 12));
    switch (ria_rand_below(rand, 7)) {
    case 0: {
        struct register_node_request r = fixture_register(n, (int64_t)ria_rand_below(rand, 3));
        (void)fixture_apply(m, API_REGISTER_NODE, &r);
        break;
    }
    case 1: {
        uint32_t id = 1 + (uint32_t)ria_rand_below(rand, 40);
        struct create_topic_request r =
            fixture_topic(id, name, (int32_t)ria_rand_below(rand, 8), -1);
        (void)fixture_apply(m, API_CREATE_TOPIC, &r);
        break;
    }
    case 2: {
        struct delete_topic_request r = {.name = ria_slice_cstr(name)};
        (void)fixture_apply(m, API_DELETE_TOPIC, &r);
        break;
    }
    case 3: {
        uint32_t id = 1000 + 10 * (uint32_t)ria_rand_below(rand, 20);
        struct create_transform_request r = fixture_transform(id, name, source);
        (void)fixture_apply(m, API_CREATE_TRANSFORM, &r);
        break;
    }
    case 4: {
        struct delete_transform_request r = {.name = ria_slice_cstr(name)};
        (void)fixture_apply(m, API_DELETE_TRANSFORM, &r);
        break;
    }
    case 5: {
        struct allocate_producer_ids_request r = {.count = (int32_t)n};
        (void)fixture_apply(m, API_ALLOCATE_PRODUCER_IDS, &r);
        break;
    }
    default: {
        int32_t isr = (int32_t)ria_rand_below(rand, 4);
        struct alter_isr_request r = {.topic_id = fixture_uuid(1 + n), .isr = &isr, .isr_count = 1};
        (void)fixture_apply(m, API_ALTER_ISR, &r);
        break;
    }
    }
}

static void set_up(struct fixture_machine *m)
{
    fixture_machine_open(m);
    for (int32_t i = 0; i < 5; i++) {
        m->live[i] = i + 1;
    }
    m->live_count = 5;
}

static void same_commands_same_state(void)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct fixture_machine a;
        struct fixture_machine b;
        struct ria_rand rand_a;
        struct ria_rand rand_b;
        set_up(&a);
        set_up(&b);
        ria_rand_init(&rand_a, seed);
        ria_rand_init(&rand_b, seed);
        for (int i = 0; i < 150; i++) {
            random_command(&a, &rand_a);
            random_command(&b, &rand_b);
            CU_ASSERT_EQUAL(a.result.err, b.result.err);
            CU_ASSERT_STRING_EQUAL(a.result.text, b.result.text);
        }
        CU_ASSERT_EQUAL(meta_db_hash(a.db), meta_db_hash(b.db));
        CU_ASSERT_TRUE(fixture_number(&a, META_TOPIC_COUNT) > 0);
        fixture_machine_close(&a);
        fixture_machine_close(&b);
    }
}

static void other_commands_other_state(void)
{
    struct fixture_machine a;
    struct fixture_machine b;
    struct register_node_request node = fixture_register(1, 1);

    set_up(&a);
    set_up(&b);
    CU_ASSERT_EQUAL(meta_db_hash(a.db), meta_db_hash(b.db));
    CU_ASSERT_EQUAL(fixture_apply(&a, API_REGISTER_NODE, &node), RIA_OK);
    node.incarnation = 2;
    CU_ASSERT_EQUAL(fixture_apply(&b, API_REGISTER_NODE, &node), RIA_OK);
    CU_ASSERT_NOT_EQUAL(meta_db_hash(a.db), meta_db_hash(b.db));
    fixture_machine_close(&a);
    fixture_machine_close(&b);
}

/* ---- bytes ---- */

static void apply_bytes(struct fixture_machine *m, const void *bytes, size_t size)
{
    state_begin(m->state);
    state_apply(m->state, ++m->index, ria_slice_of(bytes, size), &m->result);
    state_commit(m->state, m->index);
}

static void apply_command(struct fixture_machine *m, const struct command *command)
{
    uint8_t *bytes = NULL;
    size_t size = 0;

    CU_ASSERT_EQUAL_FATAL(state_encode_command(command, &bytes, &size), RIA_OK);
    apply_bytes(m, bytes, size);
    free(bytes);
}

static void grouping_does_not_change_the_state(void)
{
    struct fixture_machine one;
    struct fixture_machine all;
    uint8_t body[512];

    fixture_machine_open(&one);
    fixture_machine_open(&all);
    state_begin(all.state);
    for (uint32_t i = 1; i <= 20; i++) {
        struct register_node_request request = fixture_register(i, 1);
        struct ria_writer writer = ria_writer_of(body, sizeof(body));
        register_node_request_encode(&request, 0, &writer);
        const struct command command = {
            .kind = API_REGISTER_NODE, .body = ria_slice_of(body, writer.pos)};
        uint8_t *bytes = NULL;
        size_t size = 0;
        CU_ASSERT_EQUAL_FATAL(state_encode_command(&command, &bytes, &size), RIA_OK);
        state_apply(all.state, ++all.index, ria_slice_of(bytes, size), &all.result);
        apply_bytes(&one, bytes, size);
        free(bytes);
    }
    state_commit(all.state, all.index);
    CU_ASSERT_EQUAL(meta_db_hash(one.db), meta_db_hash(all.db));
    fixture_machine_close(&one);
    fixture_machine_close(&all);
}

static void garbage_is_an_ordinary_result(void)
{
    struct fixture_machine m;
    struct state_summary summary;
    const struct command command = {.kind = 999, .body = RIA_SLICE_EMPTY};

    fixture_machine_open(&m);
    apply_bytes(&m, "", 0);
    CU_ASSERT_EQUAL(m.result.err, RIA_ERR_MALFORMED);
    apply_bytes(&m, "\x7f\xff garbage", 10);
    CU_ASSERT_EQUAL(m.result.err, RIA_ERR_UNKNOWN_VERSION);
    apply_bytes(&m, "\0\0\0", 3);
    CU_ASSERT_EQUAL(m.result.err, RIA_ERR_MALFORMED);
    apply_command(&m, &command);
    CU_ASSERT_EQUAL(m.result.err, RIA_ERR_UNKNOWN_TYPE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "999"));
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.applied_index, 4);
    CU_ASSERT_EQUAL(summary.version, 1);
    fixture_machine_close(&m);
}

static void truncated_bodies_are_an_ordinary_result(void)
{
    struct fixture_machine m;
    uint8_t body[512];
    struct create_topic_request request = fixture_topic(1, "a", 1, 1);
    struct ria_writer writer = ria_writer_of(body, sizeof(body));

    fixture_machine_open(&m);
    create_topic_request_encode(&request, 0, &writer);
    for (size_t size = 0; size < writer.pos; size++) {
        const struct command command = {.kind = API_CREATE_TOPIC, .body = ria_slice_of(body, size)};
        apply_command(&m, &command);
        CU_ASSERT_EQUAL(m.result.err, RIA_ERR_MALFORMED);
    }
    body[writer.pos] = 0;
    const struct command longer = {
        .kind = API_CREATE_TOPIC, .body = ria_slice_of(body, writer.pos + 1)};
    apply_command(&m, &longer);
    CU_ASSERT_EQUAL(m.result.err, RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_COUNT), 0);
    fixture_machine_close(&m);
}

static void live_nodes_must_be_ascending(void)
{
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(1, "a", 1, 1);

    fixture_machine_open(&m);
    fixture_nodes(&m, 2, NULL);
    m.live[0] = 2;
    m.live[1] = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_ERR_MALFORMED);
    m.live[0] = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_ERR_MALFORMED);
    fixture_machine_close(&m);
}

static void only_requests_that_change_something_are_commands(void)
{
    CU_ASSERT_TRUE(state_is_command(API_CREATE_TOPIC));
    CU_ASSERT_TRUE(state_is_command(API_COMMIT_TASK));
    CU_ASSERT_FALSE(state_is_command(API_METADATA));
    CU_ASSERT_FALSE(state_is_command(API_HEARTBEAT));
    CU_ASSERT_FALSE(state_is_command(API_PRODUCE));
    CU_ASSERT_FALSE(state_is_command(COMMAND_ASSIGN_TASKS)); /* nobody outside may ask for it */
}

static void each_change_has_one_version(void)
{
    struct fixture_machine m;
    struct state_summary summary;
    struct create_topic_request topic = fixture_topic(1, "a", 100, 2);

    fixture_machine_open(&m);
    fixture_nodes(&m, 2, NULL);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.version, 1 + 2 + 1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.version, 1 + 2 + 1);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(same_commands_same_state),
    HARNESS_TEST(other_commands_other_state),
    HARNESS_TEST(grouping_does_not_change_the_state),
    HARNESS_TEST(garbage_is_an_ordinary_result),
    HARNESS_TEST(truncated_bodies_are_an_ordinary_result),
    HARNESS_TEST(live_nodes_must_be_ascending),
    HARNESS_TEST(only_requests_that_change_something_are_commands),
    HARNESS_TEST(each_change_has_one_version),
};
HARNESS_MAIN(tests);
