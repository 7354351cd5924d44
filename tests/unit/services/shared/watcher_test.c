#include "services/shared/watcher.h"

#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/metadata_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/shared/fake_env.h"

enum { PARTITIONS = 4 };

static const struct ria_uuid topic_id = {{0xa}};

struct fixture {
    struct fake_env fake;
    struct cluster *cluster;
    struct watcher *watcher;
    struct watcher_entry entries[PARTITIONS];
    int woken[PARTITIONS];
    bool add_again;
};

static void count_wake(struct watcher_entry *entry, void *arg)
{
    struct fixture *f = arg;

    f->woken[entry - f->entries]++;
    if (f->add_again) {
        ria_err err = watcher_add(f->watcher, entry, entry->partition, entry->offset + 1);
        CU_ASSERT_EQUAL(err, RIA_OK);
    }
}

/* Partitions 0 and 1 are led by node 1, 2 by node 2, 3 by nobody. */
static void answer_metadata(struct fixture *f, int64_t version, const int32_t leaders[PARTITIONS])
{
    struct metadata_response_metadata_node nodes[2] = {
        {.node_id = 1, .address = RIA_SLICE_LITERAL("tcp://s:1")},
        {.node_id = 2, .address = RIA_SLICE_LITERAL("tcp://s:2")},
    };
    struct metadata_response_metadata_topic topic = {
        .topic_id = topic_id,
        .name = RIA_SLICE_LITERAL("a"),
        .partition_count = PARTITIONS,
        .replication_factor = 1,
    };
    struct metadata_response_metadata_partition partitions[PARTITIONS];
    int32_t replicas[PARTITIONS];

    for (int32_t i = 0; i < PARTITIONS; i++) {
        replicas[i] = leaders[i] < 0 ? 1 : leaders[i];
        partitions[i] = (struct metadata_response_metadata_partition){
            .topic_id = topic_id,
            .partition = i,
            .leader = leaders[i],
            .leader_epoch = (int32_t)version,
            .partition_epoch = (int32_t)version,
            .replicas = &replicas[i],
            .replicas_count = 1,
            .isr = &replicas[i],
            .isr_count = 1,
        };
    }
    struct metadata_response response = {
        .version = version,
        .cluster_id = {{0xc}},
        .nodes = nodes,
        .nodes_count = 2,
        .topics = &topic,
        .topics_count = 1,
        .partitions = partitions,
        .partitions_count = PARTITIONS,
    };
    struct fake_call *call = fake_env_call(&f->fake, API_METADATA);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    fake_call_reply(call, &response);
}

static void set_up(struct fixture *f)
{
    static const int32_t leaders[PARTITIONS] = {1, 1, 2, -1};

    memset(f, 0, sizeof(*f));
    fake_env_init(&f->fake);
    ria_err err = cluster_new(&f->fake.env, "tcp://c:1", NULL, NULL, &f->cluster);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    cluster_start(f->cluster);
    answer_metadata(f, 1, leaders);
    err = watcher_new(&f->fake.env, f->cluster, &f->watcher);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    for (int i = 0; i < PARTITIONS; i++) {
        watcher_entry_init(&f->entries[i], count_wake, f);
    }
}

static void tear_down(struct fixture *f)
{
    watcher_free(f->watcher);
    cluster_free(f->cluster);
    fake_env_fini(&f->fake);
}

static ria_err add(struct fixture *f, int32_t partition, int64_t offset)
{
    return watcher_add(
        f->watcher,
        &f->entries[partition],
        cluster_partition(f->cluster, &topic_id, partition),
        offset
    );
}

/* The oldest watch under way: its address, how many partitions it names, and its id. */
static struct fake_call *watch(struct fixture *f, uint32_t *out_count, int64_t *out_id)
{
    struct fake_call *call = fake_env_call(&f->fake, API_WATCH);
    struct watch_request request = {.watch_id = 0};
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;

    if (call == NULL) {
        return NULL;
    }
    ria_arena_init(&arena, 65536);
    CU_ASSERT_EQUAL(envelope_open_request(call->msg, &header, &body, &payload), RIA_OK);
    CU_ASSERT_EQUAL(
        envelope_decode_body(schema_request(API_WATCH), 0, body, &arena, &request), RIA_OK
    );
    *out_count = request.partitions_count;
    *out_id = request.watch_id;
    ria_arena_fini(&arena);
    return call;
}

static void answer(struct fake_call *call, int32_t partition)
{
    struct watch_response_watched_partition moved = {.topic_id = topic_id, .partition = partition};
    struct watch_response response = {
        .partitions = &moved, .partitions_count = partition < 0 ? 0 : 1};

    fake_call_reply(call, &response);
}

/* ---- tests ---- */

static void those_of_a_node_share_one_request(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t id = 0;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    CU_ASSERT_EQUAL(add(&f, 1, 5), RIA_OK);
    CU_ASSERT_EQUAL(add(&f, 2, 5), RIA_OK);
    unsigned before = f.fake.call_count;
    fake_env_advance_ms(&f.fake, 2);
    CU_ASSERT_EQUAL(f.fake.call_count, before + 2);
    struct fake_call *call = watch(&f, &count, &id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    CU_ASSERT_STRING_EQUAL(call->address, "tcp://s:1");
    CU_ASSERT_EQUAL(count, 2);
    answer(call, 1);
    CU_ASSERT_EQUAL(f.woken[0], 0);
    CU_ASSERT_EQUAL(f.woken[1], 1);
    call = watch(&f, &count, &id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    CU_ASSERT_STRING_EQUAL(call->address, "tcp://s:2");
    CU_ASSERT_EQUAL(count, 1);
    tear_down(&f);
}

static void a_newer_request_takes_the_place_of_an_older(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t first = 0;
    int64_t second = 0;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 2);
    struct fake_call *old = watch(&f, &count, &first);
    CU_ASSERT_EQUAL(add(&f, 1, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 2);
    answer(old, -1); /* as storage does when the newer one comes */
    struct fake_call *call = watch(&f, &count, &second);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(first, second);
    CU_ASSERT_EQUAL(f.woken[0] + f.woken[1], 0);
    answer(call, 0);
    CU_ASSERT_EQUAL(f.woken[0], 1);
    tear_down(&f);
}

static void who_is_woken_may_wait_again(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t id = 0;

    set_up(&f);
    f.add_again = true;
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    for (int i = 1; i <= 3; i++) {
        fake_env_advance_ms(&f.fake, 2);
        struct fake_call *call = watch(&f, &count, &id);
        CU_ASSERT_PTR_NOT_NULL_FATAL(call);
        answer(call, 0);
        CU_ASSERT_EQUAL(f.woken[0], i);
    }
    tear_down(&f);
}

static void an_error_wakes_everybody(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t id = 0;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    CU_ASSERT_EQUAL(add(&f, 1, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 2);
    fake_call_fail(watch(&f, &count, &id), RIA_ERR_DISCONNECTED);
    CU_ASSERT_EQUAL(f.woken[0], 1);
    CU_ASSERT_EQUAL(f.woken[1], 1);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 300);
    fake_call_reply_error(watch(&f, &count, &id), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(f.woken[0], 2);
    tear_down(&f);
}

static void empty_answers_are_not_asked_for_in_a_circle(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t id = 0;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 2);
    unsigned before = f.fake.call_count;
    for (int i = 0; i < 1000; i++) { /* one second of a node that does not park */
        struct fake_call *call = watch(&f, &count, &id);
        if (call != NULL) {
            answer(call, -1);
        }
        fake_env_advance_ms(&f.fake, 1);
    }
    CU_ASSERT(f.fake.call_count - before < 10);
    CU_ASSERT_EQUAL(f.woken[0], 0);
    tear_down(&f);
}

static void a_new_leader_wakes_those_who_watch_the_old_one(void)
{
    static const int32_t leaders[PARTITIONS] = {2, 1, 2, -1};
    struct fixture f;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    CU_ASSERT_EQUAL(add(&f, 1, 5), RIA_OK);
    answer_metadata(&f, 2, leaders);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        watcher_partition_changed(f.watcher, cluster_partition(f.cluster, &topic_id, i));
    }
    CU_ASSERT_EQUAL(f.woken[0], 1);
    CU_ASSERT_EQUAL(f.woken[1], 0);
    tear_down(&f);
}

static void a_partition_without_a_leader_cannot_be_watched(void)
{
    struct fixture f;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 3, 0), RIA_ERR_NO_LEADER);
    watcher_remove(&f.entries[3]);
    tear_down(&f);
}

static void who_is_removed_is_not_woken(void)
{
    struct fixture f;
    uint32_t count = 0;
    int64_t id = 0;

    set_up(&f);
    CU_ASSERT_EQUAL(add(&f, 0, 5), RIA_OK);
    fake_env_advance_ms(&f.fake, 2);
    watcher_remove(&f.entries[0]);
    struct fake_call *call = watch(&f, &count, &id);
    answer(call, 0);
    CU_ASSERT_EQUAL(f.woken[0], 0);
    fake_env_advance_ms(&f.fake, 1000);
    CU_ASSERT_PTR_NULL(watch(&f, &count, &id));
    tear_down(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(those_of_a_node_share_one_request),
    HARNESS_TEST(a_newer_request_takes_the_place_of_an_older),
    HARNESS_TEST(who_is_woken_may_wait_again),
    HARNESS_TEST(an_error_wakes_everybody),
    HARNESS_TEST(empty_answers_are_not_asked_for_in_a_circle),
    HARNESS_TEST(a_new_leader_wakes_those_who_watch_the_old_one),
    HARNESS_TEST(a_partition_without_a_leader_cannot_be_watched),
    HARNESS_TEST(who_is_removed_is_not_woken),
};
HARNESS_MAIN(tests);
