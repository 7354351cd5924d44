#include "services/shared/membership.h"

#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/metadata_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/shared/fake_env.h"

static const struct ria_uuid process_uuid = {{0x77}};

struct fixture {
    struct fake_env fake;
    struct cluster *cluster;
    struct membership *membership;
    struct membership_state told; /* last */
    int told_count;
};

static void hear(void *arg, const struct membership_state *state)
{
    struct fixture *f = arg;

    f->told = *state;
    f->told_count++;
}

static void set_up(struct fixture *f, process_role role)
{
    struct membership_identity identity = {
        .process_uuid = process_uuid,
        .incarnation = 42,
        .role = role,
        .address = "tcp://me:1",
    };

    memset(f, 0, sizeof(*f));
    fake_env_init(&f->fake);
    ria_err err = cluster_new(&f->fake.env, "tcp://c:1,tcp://c:2", NULL, NULL, &f->cluster);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    err = membership_new(&f->fake.env, f->cluster, &identity, hear, f, &f->membership);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    membership_start(f->membership);
}

static void tear_down(struct fixture *f)
{
    membership_free(f->membership);
    cluster_free(f->cluster);
    fake_env_fini(&f->fake);
}

static struct fake_call *beat(struct fixture *f)
{
    struct fake_call *call = fake_env_call(&f->fake, API_HEARTBEAT);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

static void answer(struct fixture *f, struct heartbeat_response response)
{
    fake_call_reply(beat(f), &response);
}

static void heartbeat_says_who_we_are(void)
{
    struct fixture f;
    struct heartbeat_request request;

    set_up(&f, PROCESS_GATEWAY);
    struct fake_call *call = beat(&f);
    fake_call_body(call, API_HEARTBEAT, &request);
    CU_ASSERT_STRING_EQUAL(call->address, "tcp://c:1");
    CU_ASSERT_EQUAL(call->timeout_ms, 500);
    CU_ASSERT_TRUE(ria_uuid_equal(request.process_uuid, process_uuid));
    CU_ASSERT_EQUAL(request.incarnation, 42);
    CU_ASSERT_EQUAL(request.role, PROCESS_GATEWAY);
    CU_ASSERT_EQUAL(request.node_id, -1);
    CU_ASSERT_EQUAL(request.wait_ms, MEMBERSHIP_HOLD_MS);
    CU_ASSERT_EQUAL(request.workers_hash, 0);
    CU_ASSERT_TRUE(ria_slice_equal(request.address, RIA_SLICE_LITERAL("tcp://me:1")));
    tear_down(&f);
}

static void the_next_heartbeat_follows_the_answer_at_once(void)
{
    struct fixture f;

    set_up(&f, PROCESS_GATEWAY);
    for (int i = 0; i < 10; i++) {
        fake_env_advance_ms(&f.fake, 250); /* held back */
        answer(&f, (struct heartbeat_response){0});
        fake_env_advance_ms(&f.fake, 0);
        CU_ASSERT_PTR_NOT_NULL(fake_env_call(&f.fake, API_HEARTBEAT));
    }
    CU_ASSERT_EQUAL(f.fake.call_count, 11);
    tear_down(&f);
}

static void answers_that_are_not_held_back_make_no_storm(void)
{
    struct fixture f;

    set_up(&f, PROCESS_GATEWAY);
    answer(&f, (struct heartbeat_response){0});
    fake_env_advance_ms(&f.fake, 49);
    CU_ASSERT_EQUAL(f.fake.call_count, 1);
    fake_env_advance_ms(&f.fake, 1);
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    fake_call_fail(beat(&f), RIA_ERR_DISCONNECTED);
    fake_env_advance_ms(&f.fake, 99);
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    fake_env_advance_ms(&f.fake, 1);
    CU_ASSERT_EQUAL(f.fake.call_count, 3);
    tear_down(&f);
}

static void workers_are_told_and_their_hash_is_sent_back(void)
{
    struct fixture f;
    struct heartbeat_request request;
    struct ria_uuid two[] = {{{1}}, {{2}}};
    struct ria_uuid other[] = {{{1}}, {{3}}};
    struct heartbeat_response response = {
        .worker_index = 1,
        .worker_count = 2,
        .workers = two,
        .workers_count = 2,
        .workers_hash = 77,
    };

    set_up(&f, PROCESS_REPLICATION);
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 1);
    CU_ASSERT_EQUAL(f.told.worker_count, 2);
    CU_ASSERT_TRUE(ria_uuid_equal(f.told.workers[1], two[1]));
    fake_env_advance_ms(&f.fake, 250);
    fake_call_body(beat(&f), API_HEARTBEAT, &request);
    CU_ASSERT_EQUAL(request.workers_hash, 77);
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 1); /* the same */
    fake_env_advance_ms(&f.fake, 250);
    response.workers = other; /* as many, the same place, and another one */
    response.workers_hash = 78;
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 2);
    CU_ASSERT_TRUE(ria_uuid_equal(membership_state(f.membership)->workers[1], other[1]));
    fake_env_advance_ms(&f.fake, 250);
    response = (struct heartbeat_response){0};
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 3);
    CU_ASSERT_EQUAL(f.told.worker_count, 0);
    CU_ASSERT_PTR_NULL(f.told.workers);
    tear_down(&f);
}

static void only_one_heartbeat_is_under_way(void)
{
    struct fixture f;

    set_up(&f, PROCESS_GATEWAY);
    fake_env_advance_ms(&f.fake, 5000);
    CU_ASSERT_EQUAL(f.fake.call_count, 1);
    answer(&f, (struct heartbeat_response){0});
    fake_env_advance_ms(&f.fake, 0);
    CU_ASSERT_EQUAL(f.fake.call_count, 2); /* the next was due long ago */
    tear_down(&f);
}

static void storage_is_silent_until_it_has_a_node_id(void)
{
    struct fixture f;
    struct heartbeat_request request;

    set_up(&f, PROCESS_STORAGE);
    fake_env_advance_ms(&f.fake, 5000);
    CU_ASSERT_EQUAL(f.fake.call_count, 0);
    membership_set_node_id(f.membership, 3);
    fake_call_body(beat(&f), API_HEARTBEAT, &request);
    CU_ASSERT_EQUAL(request.node_id, 3);
    tear_down(&f);
}

static void state_is_told_when_it_changes(void)
{
    struct fixture f;
    struct heartbeat_response response = {.worker_index = 1, .worker_count = 3};

    set_up(&f, PROCESS_REPLICATION);
    CU_ASSERT_FALSE(membership_state(f.membership)->heard);
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 1);
    CU_ASSERT_TRUE(f.told.heard);
    CU_ASSERT_EQUAL(f.told.worker_index, 1);
    CU_ASSERT_EQUAL(f.told.worker_count, 3);
    fake_env_advance_ms(&f.fake, 500);
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 1);
    fake_env_advance_ms(&f.fake, 500);
    response.worker_count = 4;
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 2);
    CU_ASSERT_EQUAL(membership_state(f.membership)->worker_count, 4);
    tear_down(&f);
}

static void index_outside_its_count_is_no_lease(void)
{
    static const int32_t pairs[][2] = {{3, 3}, {-1, 3}, {0, 0}, {0, -1}, {INT32_MAX, 1}};

    for (size_t i = 0; i < RIA_COUNT(pairs); i++) {
        struct fixture f;

        set_up(&f, PROCESS_REPLICATION);
        answer(
            &f,
            (struct heartbeat_response){.worker_index = pairs[i][0], .worker_count = pairs[i][1]}
        );
        CU_ASSERT_TRUE(f.told.heard);
        CU_ASSERT_EQUAL(f.told.worker_index, 0);
        CU_ASSERT_EQUAL(f.told.worker_count, 0);
        tear_down(&f);
    }
}

static void silence_ends_the_session_and_keeps_what_is_known(void)
{
    struct fixture f;
    struct heartbeat_response response = {.worker_index = 1, .worker_count = 3};

    set_up(&f, PROCESS_REPLICATION);
    answer(&f, response);
    for (int i = 0; i < 11; i++) {
        fake_env_advance_ms(&f.fake, 100);
        if (fake_env_call(&f.fake, API_HEARTBEAT) != NULL) {
            fake_call_fail(beat(&f), RIA_ERR_TIMEOUT);
        }
    }
    CU_ASSERT_TRUE(f.told.heard);
    fake_env_advance_ms(&f.fake, 100);
    CU_ASSERT_EQUAL(f.told_count, 2);
    CU_ASSERT_FALSE(f.told.heard);
    CU_ASSERT_EQUAL(f.told.worker_count, 3);

    fake_env_advance_ms(&f.fake, 500);
    answer(&f, response);
    CU_ASSERT_EQUAL(f.told_count, 3);
    CU_ASSERT_TRUE(f.told.heard);
    tear_down(&f);
}

static void error_answered_is_not_heard(void)
{
    struct fixture f;

    set_up(&f, PROCESS_GATEWAY);
    fake_call_reply_error(beat(&f), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(f.told_count, 0);
    fake_env_advance_ms(&f.fake, 500);
    CU_ASSERT_STRING_EQUAL(beat(&f)->address, "tcp://c:2");
    tear_down(&f);
}

static void unregistered_node_is_told_and_registers_again(void)
{
    struct fixture f;
    struct heartbeat_response good = {.registered = true};
    struct heartbeat_response bad = {.registered = false};

    set_up(&f, PROCESS_STORAGE);
    membership_set_node_id(f.membership, 3);
    answer(&f, good);
    CU_ASSERT_EQUAL(f.told_count, 1);
    CU_ASSERT_TRUE(f.told.registered);
    fake_env_advance_ms(&f.fake, 500);
    answer(&f, bad);
    CU_ASSERT_EQUAL(f.told_count, 2);
    CU_ASSERT_FALSE(f.told.registered);

    /* The one under way was sent before: what it says of the registration is old. */
    fake_env_advance_ms(&f.fake, 500);
    membership_set_node_id(f.membership, 3);
    answer(&f, bad);
    CU_ASSERT_EQUAL(f.told_count, 2);
    CU_ASSERT_TRUE(membership_state(f.membership)->registered);
    fake_env_advance_ms(&f.fake, 500);
    answer(&f, bad);
    CU_ASSERT_EQUAL(f.told_count, 3);
    CU_ASSERT_FALSE(f.told.registered);
    tear_down(&f);
}

static void answer_hints_at_newer_metadata(void)
{
    struct fixture f;

    set_up(&f, PROCESS_GATEWAY);
    cluster_start(f.cluster);
    fake_call_fail(fake_env_call(&f.fake, API_METADATA), RIA_ERR_DISCONNECTED);
    CU_ASSERT_PTR_NULL(fake_env_call(&f.fake, API_METADATA));
    answer(&f, (struct heartbeat_response){.metadata_version = 1});
    CU_ASSERT_PTR_NOT_NULL(fake_env_call(&f.fake, API_METADATA));
    tear_down(&f);
}

static bool as_told(void *arg)
{
    return *(const bool *)arg;
}

static void a_full_node_says_so_with_each_heartbeat(void)
{
    struct fixture f;
    struct heartbeat_request request;
    bool full = true;

    set_up(&f, PROCESS_GATEWAY);
    membership_ask_full(f.membership, as_told, &full);
    for (int i = 0; i < 2; i++) {
        answer(&f, (struct heartbeat_response){0});
        fake_env_advance_ms(&f.fake, 300);
        fake_call_body(beat(&f), API_HEARTBEAT, &request);
        CU_ASSERT_EQUAL(request.full, full);
        full = false;
    }
    tear_down(&f);
}

/* One is nearly always under way, held back: the last one does not wait for it. */
static void who_leaves_says_so_and_nothing_more(void)
{
    struct fixture f;
    struct heartbeat_request request;
    bool done = true;

    set_up(&f, PROCESS_REPLICATION);
    struct fake_call *held = beat(&f);
    membership_leave(f.membership, &done);
    CU_ASSERT_FALSE(done);
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    fake_call_reply(held, &(struct heartbeat_response){.worker_count = 1});
    CU_ASSERT_FALSE(done);
    CU_ASSERT_EQUAL(f.told_count, 0);
    struct fake_call *last = beat(&f);
    fake_call_body(last, API_HEARTBEAT, &request);
    CU_ASSERT_TRUE(request.leaving);
    fake_call_reply(last, &(struct heartbeat_response){0});
    CU_ASSERT_TRUE(done);
    fake_env_advance_ms(&f.fake, 10 * MEMBERSHIP_SESSION_MS);
    CU_ASSERT_EQUAL(f.fake.call_count, 2);
    tear_down(&f);
}

static void who_leaves_does_not_wait_for_a_coordinator_that_is_gone(void)
{
    struct fixture f;
    bool done = false;

    set_up(&f, PROCESS_REPLICATION);
    fake_call_reply(beat(&f), &(struct heartbeat_response){.worker_count = 1});
    membership_leave(f.membership, &done);
    fake_call_fail(beat(&f), RIA_ERR_TIMEOUT);
    CU_ASSERT_TRUE(done);
    tear_down(&f);
}

static void membership_can_be_freed_with_a_heartbeat_under_way(void)
{
    struct fixture f;
    struct heartbeat_response response = {0};

    set_up(&f, PROCESS_GATEWAY);
    struct fake_call *call = beat(&f);
    membership_free(f.membership);
    fake_call_reply(call, &response);
    fake_env_advance_ms(&f.fake, 5000);
    CU_ASSERT_EQUAL(f.fake.call_count, 1);
    CU_ASSERT_EQUAL(f.told_count, 0);
    cluster_free(f.cluster);
    fake_env_fini(&f.fake);
    membership_free(NULL);
}

static void roles_have_names(void)
{
    CU_ASSERT_STRING_EQUAL(process_role_name(PROCESS_GATEWAY), "gateway");
    CU_ASSERT_STRING_EQUAL(process_role_name(PROCESS_STORAGE), "storage");
    CU_ASSERT_STRING_EQUAL(process_role_name(PROCESS_REPLICATION), "replication");
    CU_ASSERT_STRING_EQUAL(process_role_name(PROCESS_COORDINATOR), "coordinator");
    CU_ASSERT_STRING_EQUAL(process_role_name(PROCESS_TRANSFORM), "transform");
    CU_ASSERT_STRING_EQUAL(process_role_name((process_role)0), "unknown");
}

static const struct harness_test tests[] = {
    HARNESS_TEST(heartbeat_says_who_we_are),
    HARNESS_TEST(the_next_heartbeat_follows_the_answer_at_once),
    HARNESS_TEST(answers_that_are_not_held_back_make_no_storm),
    HARNESS_TEST(workers_are_told_and_their_hash_is_sent_back),
    HARNESS_TEST(only_one_heartbeat_is_under_way),
    HARNESS_TEST(storage_is_silent_until_it_has_a_node_id),
    HARNESS_TEST(state_is_told_when_it_changes),
    HARNESS_TEST(index_outside_its_count_is_no_lease),
    HARNESS_TEST(silence_ends_the_session_and_keeps_what_is_known),
    HARNESS_TEST(error_answered_is_not_heard),
    HARNESS_TEST(unregistered_node_is_told_and_registers_again),
    HARNESS_TEST(answer_hints_at_newer_metadata),
    HARNESS_TEST(a_full_node_says_so_with_each_heartbeat),
    HARNESS_TEST(who_leaves_says_so_and_nothing_more),
    HARNESS_TEST(who_leaves_does_not_wait_for_a_coordinator_that_is_gone),
    HARNESS_TEST(membership_can_be_freed_with_a_heartbeat_under_way),
    HARNESS_TEST(roles_have_names),
};

HARNESS_MAIN(tests);
