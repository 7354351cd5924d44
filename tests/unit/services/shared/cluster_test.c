#include "services/shared/cluster.h"

#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/shared/fake_env.h"

static const struct ria_uuid cluster_uuid = {{0xc1}};
static const struct ria_uuid topic_a = {{0xa}};

struct fixture {
    struct fake_env fake;
    struct cluster *cluster;
    int done_calls;
    int waits_reached;
    int waits_not_reached;
};

static void count_done(void *arg)
{
    ((struct fixture *)arg)->done_calls++;
}

static void count_wait(void *arg, bool reached)
{
    struct fixture *f = arg;

    if (reached) {
        f->waits_reached++;
    } else {
        f->waits_not_reached++;
    }
}

static void set_up(struct fixture *f, const char *coordinators)
{
    static const struct cluster_callbacks callbacks = {.done = count_done};

    memset(f, 0, sizeof(*f));
    fake_env_init(&f->fake);
    ria_err err = cluster_new(&f->fake.env, coordinators, &callbacks, f, &f->cluster);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    cluster_start(f->cluster);
}

static void tear_down(struct fixture *f)
{
    cluster_free(f->cluster);
    fake_env_fini(&f->fake);
}

/* The pull under way; there must be one. */
static struct fake_call *pull(struct fixture *f, struct metadata_request *out_request)
{
    struct fake_call *call = fake_env_call(&f->fake, API_METADATA);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    if (call != NULL) {
        fake_call_body(call, API_METADATA, out_request);
    }
    return call;
}

/* Answer the pull under way with the version and one topic. */
static void answer(struct fixture *f, int64_t version)
{
    struct metadata_request request;
    struct metadata_response_metadata_topic topic = {
        .topic_id = topic_a,
        .name = RIA_SLICE_LITERAL("a"),
        .partition_count = 1,
        .replication_factor = 1,
    };
    struct metadata_response response = {
        .version = version,
        .cluster_id = cluster_uuid,
        .topics = &topic,
        .topics_count = 1,
    };

    fake_call_reply(pull(f, &request), &response);
}

static void answer_nothing_new(struct fixture *f)
{
    struct metadata_request request;
    struct fake_call *call = pull(f, &request);
    struct metadata_response response = {
        .version = request.known_version, .cluster_id = cluster_uuid};

    fake_call_reply(call, &response);
}

static void fail(struct fixture *f, ria_err err)
{
    struct metadata_request request;

    fake_call_fail(pull(f, &request), err);
}

/* ---- the pull loop ---- */

static void first_pull_does_not_park_and_the_next_does(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    struct fake_call *call = pull(&f, &request);
    CU_ASSERT_STRING_EQUAL(call->address, "tcp://c:1");
    CU_ASSERT_EQUAL(request.known_version, 0);
    CU_ASSERT_EQUAL(request.wait_ms, 0);

    answer(&f, 5);
    call = pull(&f, &request);
    CU_ASSERT_EQUAL(request.known_version, 5);
    CU_ASSERT_EQUAL(request.wait_ms, 20000);
    CU_ASSERT_EQUAL(call->timeout_ms, 30000);
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    tear_down(&f);
}

static void empty_cluster_is_ready_after_the_first_answer(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    CU_ASSERT_FALSE(cluster_is_ready(f.cluster));
    CU_ASSERT_TRUE(ria_uuid_is_zero(cluster_id(f.cluster)));
    answer_nothing_new(&f);
    CU_ASSERT_TRUE(cluster_is_ready(f.cluster));
    CU_ASSERT_TRUE(ria_uuid_equal(cluster_id(f.cluster), cluster_uuid));
    CU_ASSERT_EQUAL(cluster_version(f.cluster), 0);
    CU_ASSERT_EQUAL(f.done_calls, 1);
    tear_down(&f);
}

static void answer_is_found_by_name_and_id(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    struct cluster_topic *topic = cluster_topic_by_name(f.cluster, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    CU_ASSERT_PTR_EQUAL(cluster_topic_by_id(f.cluster, &topic_a), topic);
    CU_ASSERT_PTR_EQUAL(cluster_partition(f.cluster, &topic_a, 0), topic->partitions[0]);
    CU_ASSERT_PTR_NULL(cluster_partition(f.cluster, &topic_a, 1));
    CU_ASSERT_PTR_NULL(cluster_partition(f.cluster, &topic_a, -1));
    CU_ASSERT_PTR_NULL(cluster_partition(f.cluster, &cluster_uuid, 0));
    CU_ASSERT_PTR_NULL(cluster_topic_by_name(f.cluster, "b"));
    CU_ASSERT_PTR_NULL(cluster_node(f.cluster, 1));
    CU_ASSERT_PTR_NULL(cluster_transform_by_name(f.cluster, "t"));
    CU_ASSERT_PTR_NULL(cluster_transform_by_id(f.cluster, &topic_a));
    CU_ASSERT_PTR_EQUAL(cluster_topics(f.cluster)->next, &topic->link);
    CU_ASSERT_TRUE(ria_list_is_empty(cluster_transforms(f.cluster)));
    CU_ASSERT_EQUAL(f.done_calls, 1);
    tear_down(&f);
}

static void parked_pull_that_brings_nothing_calls_nobody(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    fake_env_advance_ms(&f.fake, 20000);
    answer_nothing_new(&f);
    CU_ASSERT_EQUAL(f.done_calls, 1);
    CU_ASSERT_EQUAL(f.fake.call_count, 3); /* asked again at once */
    tear_down(&f);
}

static void coordinator_that_does_not_park_is_not_asked_in_a_circle(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    for (int i = 0; i < 100; i++) {
        if (fake_env_call(&f.fake, API_METADATA) != NULL) {
            answer_nothing_new(&f);
        }
        fake_env_advance_ms(&f.fake, 50);
    }
    CU_ASSERT_TRUE(f.fake.call_count < 20);
    CU_ASSERT_TRUE(f.fake.call_count > 4);
    tear_down(&f);
}

/* ---- failures ---- */

static void lost_coordinator_is_logged_once_and_once_when_it_is_back(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    for (int i = 0; i < 20; i++) {
        fail(&f, i % 2 == 0 ? RIA_ERR_DISCONNECTED : RIA_ERR_TIMEOUT);
        fake_env_advance_ms(&f.fake, 1000);
    }
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.coordinator_lost"), 1);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.coordinator_back"), 0);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic_by_name(f.cluster, "a"));

    (void)pull(&f, &request);
    CU_ASSERT_EQUAL(request.wait_ms, 0); /* to know at once that it is back */
    CU_ASSERT_EQUAL(request.known_version, 5);
    answer_nothing_new(&f);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.coordinator_back"), 1);
    (void)pull(&f, &request);
    CU_ASSERT_EQUAL(request.wait_ms, 20000);
    tear_down(&f);
}

static void back_off_grows_from_50_ms_to_a_second(void)
{
    struct fixture f;
    int64_t low_ms = 25;

    set_up(&f, "tcp://c:1");
    for (int i = 0; i < 10; i++) {
        int64_t high_ms = low_ms * 2;

        fail(&f, RIA_ERR_DISCONNECTED);
        unsigned calls = f.fake.call_count;
        fake_env_advance_ms(&f.fake, low_ms - 1);
        CU_ASSERT_EQUAL(f.fake.call_count, calls);
        fake_env_advance_ms(&f.fake, high_ms - low_ms + 2);
        CU_ASSERT_EQUAL(f.fake.call_count, calls + 1);
        low_ms = low_ms * 2 > 500 ? 500 : low_ms * 2;
    }
    answer(&f, 1);
    fail(&f, RIA_ERR_DISCONNECTED);
    unsigned calls = f.fake.call_count;
    fake_env_advance_ms(&f.fake, 51);
    CU_ASSERT_EQUAL(f.fake.call_count, calls + 1); /* short again */
    tear_down(&f);
}

static void next_coordinator_is_asked_after_a_failure(void)
{
    static const char *const expected[] = {"tcp://b:2", "tcp://c:3", "tcp://a:1"};
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://a:1,tcp://b:2,tcp://c:3");
    CU_ASSERT_STRING_EQUAL(pull(&f, &request)->address, "tcp://a:1");
    for (size_t i = 0; i < 6; i++) {
        fail(&f, RIA_ERR_TIMEOUT);
        fake_env_advance_ms(&f.fake, 1001);
        CU_ASSERT_STRING_EQUAL(pull(&f, &request)->address, expected[i % 3]);
        CU_ASSERT_STRING_EQUAL(cluster_coordinator(f.cluster), expected[i % 3]);
    }
    tear_down(&f);
}

static void failure_seen_by_many_rotates_once(void)
{
    struct fixture f;

    set_up(&f, "tcp://a:1,tcp://b:2,tcp://c:3");
    for (int i = 0; i < 5; i++) {
        cluster_coordinator_failed(f.cluster);
    }
    CU_ASSERT_STRING_EQUAL(cluster_coordinator(f.cluster), "tcp://b:2");
    fake_env_advance_ms(&f.fake, 200);
    cluster_coordinator_failed(f.cluster);
    CU_ASSERT_STRING_EQUAL(cluster_coordinator(f.cluster), "tcp://c:3");
    tear_down(&f);
}

static void error_answered_counts_as_lost(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    fake_call_reply_error(pull(&f, &request), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.coordinator_lost"), 1);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "said the fake"), 1);
    CU_ASSERT_FALSE(cluster_is_ready(f.cluster));
    fake_env_advance_ms(&f.fake, 51);
    answer(&f, 1);
    CU_ASSERT_TRUE(cluster_is_ready(f.cluster));
    tear_down(&f);
}

static void older_version_keeps_the_view_and_is_logged_once(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    answer(&f, 9);
    for (int i = 0; i < 5; i++) {
        answer(&f, 3);
        CU_ASSERT_EQUAL(cluster_version(f.cluster), 9);
        fake_env_advance_ms(&f.fake, 1001);
        (void)pull(&f, &request);
        CU_ASSERT_EQUAL(request.known_version, 9);
    }
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "error cluster.metadata_refused"), 1);
    CU_ASSERT_EQUAL(f.done_calls, 1);
    answer(&f, 10);
    CU_ASSERT_EQUAL(cluster_version(f.cluster), 10);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.coordinator_back"), 1);
    tear_down(&f);
}

static void garbage_is_refused(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    struct fake_call *call = pull(&f, &request);
    struct metadata_response good = {.version = 1, .cluster_id = cluster_uuid};
    struct request_header header = {.api_key = API_METADATA};
    struct ria_msg *reply = envelope_reply(&header, &good, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
    memset(ria_msg_data(reply) + ENVELOPE_RESPONSE_HEADER_SIZE + 24, 0xff, 6);
    fake_call_reply_frame(call, reply);
    CU_ASSERT_FALSE(cluster_is_ready(f.cluster));
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "cluster.metadata_refused"), 1);
    fake_env_advance_ms(&f.fake, 51);
    answer(&f, 1);
    CU_ASSERT_TRUE(cluster_is_ready(f.cluster));
    tear_down(&f);
}

/* ---- waiting, hints ---- */

static void wait_for_a_version_that_is_there_ends_at_once(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    cluster_wait_version(f.cluster, 5, 1000, count_wait, &f);
    CU_ASSERT_EQUAL(f.waits_reached, 1);
    tear_down(&f);
}

static void wait_ends_when_the_version_has_come(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    cluster_wait_version(f.cluster, 6, 1000, count_wait, &f);
    cluster_wait_version(f.cluster, 7, 1000, count_wait, &f);
    cluster_wait_version(f.cluster, 8, 1000, count_wait, &f);
    CU_ASSERT_EQUAL(f.waits_reached, 0);
    answer(&f, 7);
    CU_ASSERT_EQUAL(f.waits_reached, 2);
    fake_env_advance_ms(&f.fake, 999);
    CU_ASSERT_EQUAL(f.waits_not_reached, 0);
    fake_env_advance_ms(&f.fake, 1);
    CU_ASSERT_EQUAL(f.waits_not_reached, 1);
    CU_ASSERT_EQUAL(f.waits_reached, 2);
    tear_down(&f);
}

static void open_wait_ends_when_the_view_is_freed(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    cluster_wait_version(f.cluster, 1, 1000, count_wait, &f);
    cluster_free(f.cluster);
    CU_ASSERT_EQUAL(f.waits_not_reached, 1);
    fake_env_fini(&f.fake);
}

static void hint_ends_a_back_off(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    fail(&f, RIA_ERR_DISCONNECTED);
    CU_ASSERT_PTR_NULL(fake_env_call(&f.fake, API_METADATA));
    cluster_hint(f.cluster, 5);
    CU_ASSERT_PTR_NULL(fake_env_call(&f.fake, API_METADATA));
    cluster_hint(f.cluster, 6);
    CU_ASSERT_PTR_NOT_NULL(fake_env_call(&f.fake, API_METADATA));
    answer(&f, 6);
    fake_env_advance_ms(&f.fake, 1001); /* the back-off is over for good */
    CU_ASSERT_EQUAL(cluster_version(f.cluster), 6);
    CU_ASSERT_EQUAL(f.fake.call_count, 4);
    tear_down(&f);
}

static void pull_that_hangs_is_given_up_when_hints_insist(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    fake_env_advance_ms(&f.fake, 10000);
    struct fake_call *hanging = pull(&f, &request);
    for (int i = 0; i < 6; i++) { /* as heartbeats come */
        cluster_hint(f.cluster, 6);
        CU_ASSERT_EQUAL(f.fake.call_count, 2);
        fake_env_advance_ms(&f.fake, 500);
    }
    cluster_hint(f.cluster, 6);
    fake_env_advance_ms(&f.fake, 51);
    CU_ASSERT_EQUAL(f.fake.call_count, 3);

    /* What it brings after all is not looked at. */
    struct metadata_response late = {.version = 100, .cluster_id = cluster_uuid};
    fake_call_reply(hanging, &late);
    CU_ASSERT_EQUAL(cluster_version(f.cluster), 5);
    answer(&f, 6);
    CU_ASSERT_EQUAL(cluster_version(f.cluster), 6);
    tear_down(&f);
}

static void stale_hint_does_nothing(void)
{
    struct fixture f;

    set_up(&f, "tcp://c:1");
    answer(&f, 5);
    for (int i = 0; i < 100; i++) {
        cluster_hint(f.cluster, i % 6);
        fake_env_advance_ms(&f.fake, 500);
    }
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    CU_ASSERT_EQUAL(fake_env_logged(&f.fake, "lost"), 0);
    tear_down(&f);
}

/* ---- life ---- */

static void view_can_be_freed_with_a_pull_under_way(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f, "tcp://c:1");
    struct fake_call *call = pull(&f, &request);
    cluster_free(f.cluster);
    struct metadata_response response = {.version = 1, .cluster_id = cluster_uuid};
    fake_call_reply(call, &response);
    fake_env_advance_ms(&f.fake, 60000);
    CU_ASSERT_EQUAL(f.fake.call_count, 1);
    fake_env_fini(&f.fake);
    cluster_free(NULL);
}

static void bad_list_of_coordinators_is_invalid(void)
{
    static const char *const bad[] = {
        "",
        ",",
        "tcp://a:1,",
        ",tcp://a:1",
        "tcp://a:1,,tcp://b:2",
        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
    };
    char long_address[RIA_ADDRESS_MAX + 2];
    struct fake_env fake;
    struct cluster *cluster = NULL;

    memset(long_address, 'a', sizeof(long_address));
    long_address[sizeof(long_address) - 1] = '\0';
    fake_env_init(&fake);
    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        ria_err err = cluster_new(&fake.env, bad[i], NULL, NULL, &cluster);
        CU_ASSERT_EQUAL(err, RIA_ERR_INVALID);
    }
    CU_ASSERT_EQUAL(cluster_new(&fake.env, long_address, NULL, NULL, &cluster), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NULL(cluster);
    fake_env_fini(&fake);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(first_pull_does_not_park_and_the_next_does),
    HARNESS_TEST(empty_cluster_is_ready_after_the_first_answer),
    HARNESS_TEST(answer_is_found_by_name_and_id),
    HARNESS_TEST(parked_pull_that_brings_nothing_calls_nobody),
    HARNESS_TEST(coordinator_that_does_not_park_is_not_asked_in_a_circle),
    HARNESS_TEST(lost_coordinator_is_logged_once_and_once_when_it_is_back),
    HARNESS_TEST(back_off_grows_from_50_ms_to_a_second),
    HARNESS_TEST(next_coordinator_is_asked_after_a_failure),
    HARNESS_TEST(failure_seen_by_many_rotates_once),
    HARNESS_TEST(error_answered_counts_as_lost),
    HARNESS_TEST(older_version_keeps_the_view_and_is_logged_once),
    HARNESS_TEST(garbage_is_refused),
    HARNESS_TEST(wait_for_a_version_that_is_there_ends_at_once),
    HARNESS_TEST(wait_ends_when_the_version_has_come),
    HARNESS_TEST(open_wait_ends_when_the_view_is_freed),
    HARNESS_TEST(hint_ends_a_back_off),
    HARNESS_TEST(pull_that_hangs_is_given_up_when_hints_insist),
    HARNESS_TEST(stale_hint_does_nothing),
    HARNESS_TEST(view_can_be_freed_with_a_pull_under_way),
    HARNESS_TEST(bad_list_of_coordinators_is_invalid),
};

HARNESS_MAIN(tests);
