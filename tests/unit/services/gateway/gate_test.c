#include "services/gateway/gate.h"

#include <stdlib.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/world.h"

enum { LIMIT = 1000, PASSES = 8 };

struct setup {
    struct world world;
    struct gate gate;
    struct gate_pass passes[PASSES];
    int entered[PASSES]; /* 1 let in, -1 turned away */
    int order[PASSES];
    int count;
};

static void on_pass(struct gate_pass *pass, bool may_enter)
{
    struct setup *s = pass->arg;
    int i = (int)(pass - s->passes);

    s->entered[i] = may_enter ? 1 : -1;
    s->order[s->count++] = i;
}

static void setup(struct setup *s)
{
    *s = (struct setup){.count = 0};
    world_init(&s->world, 1);
    s->world.budget.limit = LIMIT;
    gate_init(&s->gate, &s->world.env, &s->world.budget, NULL);
}

static void teardown(struct setup *s)
{
    gate_fini(&s->gate);
    world_fini(&s->world);
}

static void enter(struct setup *s, int i, size_t size)
{
    s->passes[i] = (struct gate_pass){
        .size = size,
        .deadline_us = s->world.now_us + 1000 * 1000,
        .fn = on_pass,
        .arg = s,
    };
    gate_enter(&s->gate, &s->passes[i]);
}

static void reads_pass_up_to_their_share(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 4; i++) {
        enter(&s, i, 200);
    }
    CU_ASSERT_TRUE(s.entered[0] == 1 && s.entered[1] == 1);
    CU_ASSERT_TRUE(s.entered[2] == 0 && s.entered[3] == 0);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 400);
    CU_ASSERT_TRUE(budget_take(&s.world.budget, 600)); /* writes have the rest */
    gate_resize(&s.world.budget, 200, 10);
    world_advance(&s.world, 2000);
    CU_ASSERT_EQUAL(s.entered[2], 0); /* the budget is full */
    budget_give(&s.world.budget, 600);
    world_advance(&s.world, 2000);
    CU_ASSERT_EQUAL(s.entered[2], 1);
    CU_ASSERT_EQUAL(s.entered[3], 0);
    teardown(&s);
}

static void who_waits_passes_in_order(void)
{
    struct setup s;

    setup(&s);
    enter(&s, 0, 500);
    enter(&s, 1, 400);
    enter(&s, 2, 1); /* would fit, but came later */
    enter(&s, 3, 50);
    CU_ASSERT_EQUAL(s.count, 1);
    gate_resize(&s.world.budget, 500, 0);
    world_advance(&s.world, 2000);
    CU_ASSERT_EQUAL(s.count, 4);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(s.order[i], i);
    }
    teardown(&s);
}

static void a_pass_larger_than_the_share_goes_alone(void)
{
    struct setup s;

    setup(&s);
    enter(&s, 0, 5000);
    CU_ASSERT_EQUAL(s.entered[0], 1);
    enter(&s, 1, 1);
    CU_ASSERT_EQUAL(s.entered[1], 0);
    gate_resize(&s.world.budget, 5000, 0);
    world_advance(&s.world, 2000);
    CU_ASSERT_EQUAL(s.entered[1], 1);
    teardown(&s);
}

static void who_waits_too_long_is_turned_away(void)
{
    struct setup s;

    setup(&s);
    enter(&s, 0, 500);
    enter(&s, 1, 100);
    world_advance(&s.world, 1100 * 1000);
    CU_ASSERT_EQUAL(s.entered[1], -1);
    CU_ASSERT_EQUAL(s.world.budget.refused.value, 1);
    teardown(&s);
}

static void an_answer_is_charged_until_it_was_sent(void)
{
    struct setup s;
    struct response response = {.status = 200};
    uint8_t *text = calloc(1, 100);

    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    setup(&s);
    enter(&s, 0, 500);
    gate_resize(&s.world.budget, 500, 100);
    CU_ASSERT_TRUE_FATAL(
        gate_fill_response(&response, &s.world.budget, NULL, text, ria_slice_of(text, 100))
    );
    CU_ASSERT_TRUE(response.is_charged);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 100);
    gate_fini(&s.gate); /* the gateway may be gone by then */
    response.release(response.owner);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s.world.budget.reads, 0);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(reads_pass_up_to_their_share),
    HARNESS_TEST(who_waits_passes_in_order),
    HARNESS_TEST(a_pass_larger_than_the_share_goes_alone),
    HARNESS_TEST(who_waits_too_long_is_turned_away),
    HARNESS_TEST(an_answer_is_charged_until_it_was_sent),
};

HARNESS_MAIN(tests);
