#include "services/shared/confirm.h"

#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/shared/fake_env.h"

static const struct ria_uuid cluster_uuid = {{0xc1}};

enum { WAITS_MAX = 3 };

struct asker {
    struct fixture *fixture;
    struct confirm_wait wait;
    unsigned confirmed;
    unsigned not_confirmed;
    bool asks_again;
};

struct fixture {
    struct fake_env fake;
    struct cluster *cluster;
    struct confirm confirm;
    struct asker askers[WAITS_MAX];
};

static void told(void *arg, bool confirmed)
{
    struct asker *asker = arg;

    asker->confirmed += confirmed ? 1 : 0;
    asker->not_confirmed += confirmed ? 0 : 1;
    if (asker->asks_again) {
        asker->asks_again = false;
        confirm_start(&asker->fixture->confirm, &asker->wait);
    }
}

/* The pull (false), or the question. NULL: it is not under way. */
static struct fake_call *find(struct fixture *f, bool is_question)
{
    RIA_LIST_FOREACH (link, &f->fake.calls) {
        struct fake_call *call = RIA_CONTAINER(link, struct fake_call, link);
        struct metadata_request request;
        fake_call_body(call, API_METADATA, &request);
        if ((request.known_version == INT64_MAX) == is_question) {
            return call;
        }
    }
    return NULL;
}

static void answer(struct fixture *f, bool is_question, int64_t version)
{
    struct metadata_response response;
    struct fake_call *call = find(f, is_question);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    metadata_response_init(&response);
    response.version = version;
    response.cluster_id = cluster_uuid;
    fake_call_reply(call, &response);
}

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    fake_env_init(&f->fake);
    ria_err err = cluster_new(&f->fake.env, "tcp://c:1", NULL, NULL, &f->cluster);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    cluster_start(f->cluster);
    answer(f, false, 7);
    confirm_init(&f->confirm, &f->fake.env, f->cluster);
    for (int i = 0; i < WAITS_MAX; i++) {
        f->askers[i] = (struct asker){.fixture = f};
        f->askers[i].wait = (struct confirm_wait){.fn = told, .arg = &f->askers[i]};
    }
}

static void tear_down(struct fixture *f)
{
    confirm_fini(&f->confirm);
    cluster_free(f->cluster);
    fake_env_fini(&f->fake);
}

static void ask(struct fixture *f, int i)
{
    confirm_start(&f->confirm, &f->askers[i].wait);
}

static void a_view_that_is_the_newest_is_confirmed(void)
{
    struct fixture f;
    struct metadata_request request;

    set_up(&f);
    ask(&f, 0);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 0);
    fake_call_body(find(&f, true), API_METADATA, &request);
    CU_ASSERT_EQUAL(request.wait_ms, 0);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 1);
    CU_ASSERT_EQUAL(f.askers[0].not_confirmed, 0);
    tear_down(&f);
}

static void a_view_that_is_behind_is_confirmed_when_it_has_caught_up(void)
{
    struct fixture f;

    set_up(&f);
    ask(&f, 0);
    answer(&f, true, 9);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 0);
    answer(&f, false, 8);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 0);
    answer(&f, false, 9);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 1);

    ask(&f, 1);
    answer(&f, true, 11);
    fake_env_advance_ms(&f.fake, 600);
    CU_ASSERT_EQUAL(f.askers[1].confirmed, 0);
    CU_ASSERT_EQUAL(f.askers[1].not_confirmed, 1);
    tear_down(&f);
}

static void an_answer_to_an_older_question_confirms_nothing(void)
{
    struct fixture f;

    set_up(&f);
    ask(&f, 0);
    ask(&f, 1);
    ask(&f, 2);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 1);
    CU_ASSERT_EQUAL(f.askers[1].confirmed + f.askers[2].confirmed, 0);
    answer(&f, true, 7); /* one question for both */
    CU_ASSERT_EQUAL(f.askers[1].confirmed, 1);
    CU_ASSERT_EQUAL(f.askers[2].confirmed, 1);
    CU_ASSERT_PTR_NULL(find(&f, true));
    tear_down(&f);
}

/* It was given an old copy of its database: what it says of who leads is of another history. */
static void a_coordinator_that_knows_less_confirms_nothing(void)
{
    struct fixture f;

    set_up(&f);
    ask(&f, 0);
    answer(&f, false, 8); /* this may overtake the answer */
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 1);
    ask(&f, 1);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[1].not_confirmed, 1);
    tear_down(&f);
}

static void silence_errors_and_other_clusters_confirm_nothing(void)
{
    struct fixture f;
    struct metadata_response response;

    set_up(&f);
    ask(&f, 0);
    ask(&f, 1);
    fake_call_fail(find(&f, true), RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL(f.askers[0].not_confirmed, 1);
    CU_ASSERT_EQUAL(f.askers[1].not_confirmed, 0);
    fake_call_reply_error(find(&f, true), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(f.askers[1].not_confirmed, 1);
    ask(&f, 2);
    metadata_response_init(&response);
    response.version = 7;
    response.cluster_id = (struct ria_uuid){{0xc2}};
    fake_call_reply(find(&f, true), &response);
    CU_ASSERT_EQUAL(f.askers[2].not_confirmed, 1);
    ask(&f, 2);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[2].confirmed, 1);
    tear_down(&f);
}

static void who_is_told_may_ask_again_and_who_cancelled_is_not_told(void)
{
    struct fixture f;

    set_up(&f);
    f.askers[0].asks_again = true;
    ask(&f, 0);
    ask(&f, 1);
    confirm_cancel(&f.askers[1].wait);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 1);
    answer(&f, true, 7);
    CU_ASSERT_EQUAL(f.askers[0].confirmed, 2);
    CU_ASSERT_EQUAL(f.askers[1].confirmed + f.askers[1].not_confirmed, 0);
    tear_down(&f);
}

static void it_can_end_with_a_question_under_way(void)
{
    struct fixture f;

    set_up(&f);
    ask(&f, 0);
    confirm_cancel(&f.askers[0].wait);
    confirm_fini(&f.confirm);
    answer(&f, true, 7);
    confirm_init(&f.confirm, &f.fake.env, f.cluster);

    ask(&f, 1);
    answer(&f, true, 9); /* and while the view catches up */
    confirm_cancel(&f.askers[1].wait);
    tear_down(&f);
    CU_ASSERT_EQUAL(f.askers[0].confirmed + f.askers[1].confirmed, 0);
    CU_ASSERT_EQUAL(f.askers[0].not_confirmed + f.askers[1].not_confirmed, 0);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_view_that_is_the_newest_is_confirmed),
    HARNESS_TEST(a_view_that_is_behind_is_confirmed_when_it_has_caught_up),
    HARNESS_TEST(an_answer_to_an_older_question_confirms_nothing),
    HARNESS_TEST(a_coordinator_that_knows_less_confirms_nothing),
    HARNESS_TEST(silence_errors_and_other_clusters_confirm_nothing),
    HARNESS_TEST(who_is_told_may_ask_again_and_who_cancelled_is_not_told),
    HARNESS_TEST(it_can_end_with_a_question_under_way),
};

HARNESS_MAIN(tests);
