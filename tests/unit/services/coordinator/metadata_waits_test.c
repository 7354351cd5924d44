#include "services/coordinator/metadata_waits.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

struct world {
    struct fixture f;
    struct metadata_waits *parked;
    int answered;
    int64_t known[8];
    int dropped;
    struct ria_rpc_ops ops;
};

/* Requests are only passed through: any address will do. */
static struct ria_rpc_request *request_of(struct world *w)
{
    return (struct ria_rpc_request *)(void *)w;
}

static void on_answer(
    void *arg,
    struct ria_rpc_request *request,
    const struct request_header *header,
    int64_t known_version
)
{
    struct world *w = arg;

    CU_ASSERT_PTR_EQUAL(request, request_of(w));
    CU_ASSERT_EQUAL(header->correlation_id, (int32_t)known_version);
    if (w->answered < 8) {
        w->known[w->answered] = known_version;
    }
    w->answered++;
}

static void on_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    struct fixture *f = RIA_CONTAINER(rpc, struct fixture, rpc);
    struct world *w = RIA_CONTAINER(f, struct world, f);

    CU_ASSERT_PTR_EQUAL(request, request_of(w));
    w->dropped++;
}

static void set_up(struct world *w)
{
    memset(w, 0, sizeof(*w));
    fixture_open(&w->f);
    w->ops.drop = on_drop;
    w->f.rpc.ops = &w->ops;
    CU_ASSERT_EQUAL_FATAL(metadata_waits_new(&w->f.env, on_answer, w, &w->parked), RIA_OK);
}

static void tear_down(struct world *w)
{
    metadata_waits_free(w->parked);
    fixture_close(&w->f);
}

static ria_err park(struct world *w, int64_t known, int64_t wait_ms)
{
    const struct request_header header = {.correlation_id = (int32_t)known};

    return metadata_waits_add(w->parked, request_of(w), &header, known, wait_ms);
}

static void only_those_who_know_less_are_woken(void)
{
    struct world w;

    set_up(&w);
    CU_ASSERT_EQUAL(park(&w, 5, 1000), RIA_OK);
    CU_ASSERT_EQUAL(park(&w, 3, 1000), RIA_OK);
    CU_ASSERT_EQUAL(park(&w, 9, 1000), RIA_OK);
    CU_ASSERT_EQUAL(park(&w, 3, 1000), RIA_OK);
    metadata_waits_wake(w.parked, 5);
    CU_ASSERT_EQUAL(w.answered, 2);
    CU_ASSERT_EQUAL(metadata_waits_count(w.parked), 2);
    metadata_waits_wake(w.parked, 6);
    CU_ASSERT_EQUAL(w.answered, 3);
    CU_ASSERT_EQUAL(w.known[0], 3);
    CU_ASSERT_EQUAL(w.known[1], 3);
    CU_ASSERT_EQUAL(w.known[2], 5);
    tear_down(&w);
    CU_ASSERT_EQUAL(w.dropped, 1);
}

static void each_leaves_when_its_time_is_up(void)
{
    struct world w;

    set_up(&w);
    CU_ASSERT_EQUAL(park(&w, 1, 100), RIA_OK);
    CU_ASSERT_EQUAL(park(&w, 2, 50), RIA_OK);
    fixture_advance(&w.f, 49);
    CU_ASSERT_EQUAL(w.answered, 0);
    fixture_advance(&w.f, 1);
    CU_ASSERT_EQUAL(w.answered, 1);
    CU_ASSERT_EQUAL(w.known[0], 2);
    fixture_advance(&w.f, 50);
    CU_ASSERT_EQUAL(w.answered, 2);
    CU_ASSERT_EQUAL(metadata_waits_count(w.parked), 0);
    tear_down(&w);
}

static void nobody_waits_for_ever(void)
{
    struct world w;

    set_up(&w);
    CU_ASSERT_EQUAL(park(&w, 1, INT64_MAX), RIA_OK);
    fixture_advance(&w.f, METADATA_WAITS_WAIT_MS_MAX);
    CU_ASSERT_EQUAL(w.answered, 1);
    tear_down(&w);
}

static void one_too_many_is_refused(void)
{
    struct world w;

    set_up(&w);
    for (int i = 0; i < METADATA_WAITS_MAX; i++) {
        if (park(&w, 1, 1000) != RIA_OK) {
            CU_FAIL("refused too early");
        }
    }
    CU_ASSERT_EQUAL(park(&w, 1, 1000), RIA_ERR_BUSY);
    metadata_waits_wake(w.parked, 2);
    CU_ASSERT_EQUAL(w.answered, METADATA_WAITS_MAX);
    CU_ASSERT_EQUAL(park(&w, 2, 1000), RIA_OK);
    tear_down(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(only_those_who_know_less_are_woken),
    HARNESS_TEST(each_leaves_when_its_time_is_up),
    HARNESS_TEST(nobody_waits_for_ever),
    HARNESS_TEST(one_too_many_is_refused),
};
HARNESS_MAIN(tests);
