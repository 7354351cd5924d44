/* The groups and queues of a plan. A quarter of the seeds have some: they cost time. Their leases
 * are short, so that what somebody died with comes again before the run is over. */
#include <string.h>

#include "common/assert.h"

#include "tests/sim/plan.h"

enum {
    CONSUMERS_OF_GROUP_MAX = PLAN_CONSUMERS_MAX / PLAN_GROUPS_MAX,
    RESET_US_MIN = 2 * 1000 * 1000,
    OPERATE_US_MIN = 2 * 1000 * 1000,
    ORDERED_THINK_US_MIN = 50 * 1000,
    ORDERED_KEYS_MIN = 3,
    DELIVERIES_MAX = 1000, /* a queue's limit */
    GATEWAY_SKEW_MS_MAX = 300,
    DELAY_MS_MAX = 3000,
};

/* Of half of the queues many records die, so that there is always one on its way to the dead-letter
 * topic; and of what ends the life of a process, half ends a gateway's. */
static void draw_deaths(struct plan *plan, struct plan_group *group, struct ria_rand *rand)
{
    static const plan_fault_kind kinds[] = {
        PLAN_KILL, PLAN_POWER, PLAN_KILL_SEND, PLAN_POWER_SEND, PLAN_STOP};

    if (!plan_coin(rand)) {
        return;
    }
    group->buries = true;
    group->deliveries_max = (int32_t)plan_between(rand, 1, 3);
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        struct plan_fault *fault = &plan->faults[i];
        bool ends_a_life = false;
        for (size_t k = 0; k < RIA_COUNT(kinds); k++) {
            ends_a_life = ends_a_life || fault->kind == kinds[k];
        }
        if (ends_a_life && plan_coin(rand)) {
            fault->a = plan->gateway_first + (uint32_t)ria_rand_below(rand, plan->gateway_count);
        }
    }
}

static bool has_jumping_gateway(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        const struct plan_fault *fault = &plan->faults[i];
        if (fault->kind == PLAN_CLOCK && plan->nodes[fault->a].role == PLAN_GATEWAY) {
            return true;
        }
    }
    return false;
}

/* Gateways tell by their wall clocks whether a record's time has come: those are nearly right in
 * these runs, or an hour's skew would put off records by an hour. */
static void draw_delays(struct plan *plan, const struct plan_group *group, struct ria_rand *rand)
{
    if (has_jumping_gateway(plan) || !plan_coin(rand)) {
        return;
    }
    for (uint32_t i = 0; i < plan->gateway_count; i++) {
        plan->nodes[plan->gateway_first + i].wall_skew_ms %= GATEWAY_SKEW_MS_MAX;
    }
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        struct plan_producer *producer = &plan->producers[i];
        if ((group->topics >> plan_topic_of(plan, producer->partition) & 1) != 0) {
            producer->delays_one_in = (uint32_t)plan_between_log(rand, 1, 20);
            producer->delay_ms = plan_between_log(rand, 50, DELAY_MS_MAX);
        }
    }
}

int64_t plan_gateways_ahead_ms(const struct plan *plan)
{
    int64_t ahead_ms = 0;

    for (uint32_t i = 0; i < plan->gateway_count; i++) {
        ahead_ms = ria_max_i64(ahead_ms, plan->nodes[plan->gateway_first + i].wall_skew_ms);
    }
    return ahead_ms;
}

/* Topics that live to the end. The first one does. */
static uint32_t draw_topics(const struct plan *plan, bool is_queue, struct ria_rand *rand)
{
    uint32_t topics = 0;

    for (uint32_t i = 0; i < plan->topic_count; i++) {
        bool fits = !plan->topics[i].is_doomed && plan->topics[i].kind != PLAN_TOPIC_ERRORS &&
                    (!is_queue || plan->topics[i].kind == PLAN_TOPIC_PLAIN);
        if (fits && plan_coin(rand)) {
            topics = is_queue ? UINT32_C(1) << i : topics | UINT32_C(1) << i;
        }
    }
    return topics == 0 ? 1 : topics;
}

static uint32_t seldom(struct ria_rand *rand, int64_t low, int64_t high)
{
    return plan_coin(rand) ? 0 : (uint32_t)plan_between_log(rand, low, high);
}

static void draw_consumer(struct plan *plan, struct ria_rand *rand)
{
    RIA_ASSERT(plan->consumer_count < PLAN_CONSUMERS_MAX);

    plan->consumers[plan->consumer_count++] = (struct plan_consumer){
        .client = plan_draw_client(plan, rand),
        .group = plan->group_count,
        .records_max = (uint32_t)plan_between_log(rand, 2, 100),
        .max_bytes = (uint32_t)plan_between_log(rand, 100, 256 * 1024),
        .wait_ms = plan_coin(rand) ? 0 : (uint32_t)plan_between_log(rand, 10, 2000),
        .think_us =
            plan_between_log(rand, 4000, ria_rand_one_in(rand, 4) ? 3000 * 1000 : 300 * 1000),
        .dies_one_in = seldom(rand, 5, 100),
        .leaves_one_in = seldom(rand, 5, 50),
        .extends_one_in = seldom(rand, 3, 30),
        .gives_back_one_in = seldom(rand, 5, 50),
        .commits_one_in = seldom(rand, 2, 10),
        .nacks_one_in = seldom(rand, 5, 50),
        .rejects_one_in = plan->groups[plan->group_count].buries
                              ? (uint32_t)plan_between_log(rand, 2, 20)
                              : seldom(rand, 5, 100),
        .is_late_one_in = seldom(rand, 10, 50),
    };
}

static void draw_group(struct plan *plan, bool is_queue, struct ria_rand *rand)
{
    RIA_ASSERT(plan->group_count < PLAN_GROUPS_MAX);
    struct plan_group *group = &plan->groups[plan->group_count];

    *group = (struct plan_group){
        .is_queue = is_queue,
        .topics = draw_topics(plan, is_queue, rand),
        .lease_ms = (int32_t)plan_between_log(rand, 1000, 3000),
    };
    if (is_queue) {
        group->is_ordered = plan_coin(rand);
        group->deliveries_max = (int32_t)plan_between_log(rand, 2, 50);
        group->retry_ms = (int32_t)plan_between(rand, 0, 500);
        draw_deaths(plan, group, rand);
        draw_delays(plan, group, rand);
    } else {
        group->has_names = plan_coin(rand);
        group->session_ms = (int32_t)plan_between_log(rand, 1000, 4000);
        if (ria_rand_one_in(rand, 4)) {
            group->reset_at_us = plan_between(rand, RESET_US_MIN, plan->chaos_us);
            group->reset_by_force = plan_coin(rand);
        }
    }
    int64_t count = plan_between(rand, 1, CONSUMERS_OF_GROUP_MAX);
    for (int64_t i = 0; i < count; i++) {
        draw_consumer(plan, rand);
    }
    plan->group_count++;
}

void plan_spare_dead_letters(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->group_count; i++) {
        plan->groups[i].deliveries_max = DELIVERIES_MAX;
    }
    for (uint32_t i = 0; i < plan->consumer_count; i++) {
        plan->consumers[i].rejects_one_in = 0;
    }
}

/* ---- what operators do to them ---- */

static uint32_t first_topic(const struct plan_group *group)
{
    uint32_t topic = 0;

    while ((group->topics >> topic & 1) == 0) {
        topic++;
    }
    return topic;
}

static void
add_admin(struct plan *plan, plan_admin_kind kind, uint32_t group, struct ria_rand *rand)
{
    RIA_ASSERT(plan->admin_count < PLAN_ADMIN_MAX);

    plan->admin[plan->admin_count++] = (struct plan_admin){
        .at_us = plan_between(rand, OPERATE_US_MIN, plan->chaos_us),
        .kind = kind,
        .topic = first_topic(&plan->groups[group]),
        .amount = 2 * (int64_t)group + plan_coin(rand),
    };
}

static bool has_transform(const struct plan *plan, uint32_t topic)
{
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        if (plan->topics[i].kind == PLAN_TOPIC_DERIVED && plan->topics[i].source == topic) {
            return true;
        }
    }
    return false;
}

/* What is put back would be reflected twice by a transform. */
static void draw_operations(struct plan *plan, uint32_t number, struct ria_rand *rand)
{
    const struct plan_group *group = &plan->groups[number];

    if (ria_rand_one_in(rand, 5)) {
        add_admin(plan, PLAN_DELETE_GROUP, number, rand);
    }
    if (group->is_queue && ria_rand_one_in(rand, 5)) {
        add_admin(plan, PLAN_RESET_QUEUE, number, rand);
    }
    if (group->is_queue && !has_transform(plan, first_topic(group)) && plan_coin(rand)) {
        add_admin(plan, PLAN_REDRIVE, number, rand);
    }
}

/* One record of a key after the other: thousands of few keys would take minutes. */
static void spare_ordered(struct plan *plan, const struct plan_group *group)
{
    for (uint32_t i = 0; group->is_ordered && i < plan->producer_count; i++) {
        struct plan_producer *producer = &plan->producers[i];
        if ((group->topics >> plan_topic_of(plan, producer->partition) & 1) != 0) {
            producer->think_us_mean = ria_max_i64(producer->think_us_mean, ORDERED_THINK_US_MIN);
            producer->key_count += producer->key_count > 0 ? ORDERED_KEYS_MIN : 0;
        }
    }
}

/* A sixth of the seeds. Its topic lives to the end. */
static void draw_streams(struct plan *plan, struct ria_rand *rand)
{
    int64_t count = ria_rand_one_in(rand, 6) ? plan_between(rand, 1, PLAN_STREAMS_MAX) : 0;

    for (int64_t i = 0; i < count; i++) {
        uint32_t topics = draw_topics(plan, true, rand);
        uint32_t topic = 0;
        while ((topics >> topic & 1) == 0) {
            topic++;
        }
        plan->streams[plan->stream_count++] = (struct plan_stream){
            .client = plan_draw_client(plan, rand),
            .topic = topic,
            .records_max = (uint32_t)plan_between_log(rand, 10, 1000),
            .max_ms = (uint32_t)plan_between_log(rand, 50, 1500),
            .think_us = plan_between_log(rand, 1000, 300 * 1000),
            .breaks_one_in = seldom(rand, 2, 10),
        };
    }
}

/* Half of the consumers of stream groups do not poll. */
static void draw_live(struct plan *plan, struct ria_rand *rand)
{
    for (uint32_t i = 0; i < plan->consumer_count; i++) {
        struct plan_consumer *consumer = &plan->consumers[i];
        if (plan->groups[consumer->group].is_queue || plan_coin(rand)) {
            continue;
        }
        consumer->stream_ms = (uint32_t)plan_between_log(rand, 50, 3000);
        consumer->acks_written = plan_coin(rand);
        consumer->breaks_one_in = seldom(rand, 2, 10);
    }
}

/* Behind everything else, so that runs without groups stay as they are. */
void plan_draw_groups(struct plan *plan, struct ria_rand *rand)
{
    uint64_t draw = ria_rand_below(rand, 12);

    if (draw == 0 || draw == 1) {
        draw_group(plan, false, rand);
    }
    if (draw == 0 || draw == 2) {
        draw_group(plan, true, rand);
    }
    for (uint32_t i = 0; i < plan->group_count; i++) {
        draw_operations(plan, i, rand);
        spare_ordered(plan, &plan->groups[i]);
    }
    draw_streams(plan, rand);
    draw_live(plan, rand);
}

bool plan_consumes(const struct plan *plan, uint32_t group, uint32_t partition)
{
    return (plan->groups[group].topics >> plan_topic_of(plan, partition) & 1) != 0;
}

bool plan_is_group_deleted(const struct plan *plan, uint32_t group)
{
    for (uint32_t i = 0; i < plan->admin_count; i++) {
        if (plan->admin[i].kind == PLAN_DELETE_GROUP && plan->admin[i].amount / 2 == group) {
            return true;
        }
    }
    return false;
}
