#include "services/coordinator/assignment.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

/* Each pass over the topics evens the sums out further; it is good enough after a few. */
enum { PASSES_MAX = 8 };

struct ranked {
    bool keeps; /* has more than the base of the topic: taking that one away would move it */
    uint32_t load;
    uint32_t member;
};

struct plan {
    struct assignment_topic *topics;
    uint32_t topic_count;
    int32_t **before;      /* by topic: owners as they were */
    uint32_t *loads;       /* by member: partitions of all topics */
    uint32_t *counts;      /* by member: partitions of the topic at hand */
    uint32_t *quotas;      /* by member: what it shall have of it */
    int32_t *takers;       /* by member: who gets one of its partitions, -1 = nobody */
    bool *subscribed;      /* by member: to the topic at hand */
    struct ranked *givers; /* room for all members */
    struct ranked *others;
};

/* ---- one topic ---- */

/* Those who would lose one come first, then those who have least. */
static int compare_claims(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->keeps != y->keeps) {
        return x->keeps ? -1 : 1;
    }
    if (x->load != y->load) {
        return x->load < y->load ? -1 : 1;
    }
    return x->member < y->member ? -1 : x->member > y->member ? 1 : 0;
}

static void count_owned(struct plan *plan, struct assignment_topic *topic)
{
    for (uint32_t i = 0; i < topic->member_count; i++) {
        plan->subscribed[topic->members[i]] = true;
        plan->counts[topic->members[i]] = 0;
    }
    for (uint32_t p = 0; p < topic->partition_count; p++) {
        int32_t owner = topic->owners[p];
        if (owner >= 0 && plan->subscribed[owner]) {
            plan->counts[owner]++;
        } else {
            topic->owners[p] = -1;
        }
    }
}

static void set_quotas(struct plan *plan, const struct assignment_topic *topic)
{
    uint32_t base = topic->partition_count / topic->member_count;
    uint32_t extra = topic->partition_count % topic->member_count;

    for (uint32_t i = 0; i < topic->member_count; i++) {
        uint32_t member = topic->members[i];
        plan->quotas[member] = base;
        plan->givers[i] = (struct ranked){
            .keeps = plan->counts[member] > base,
            .load = plan->loads[member],
            .member = member,
        };
    }
    if (extra > 0) {
        qsort(plan->givers, topic->member_count, sizeof(*plan->givers), compare_claims);
    }
    for (uint32_t i = 0; i < extra; i++) {
        plan->quotas[plan->givers[i].member]++;
    }
}

static void take_surplus(struct plan *plan, struct assignment_topic *topic)
{
    for (uint32_t p = topic->partition_count; p-- > 0;) {
        int32_t owner = topic->owners[p];
        if (owner >= 0 && plan->counts[owner] > plan->quotas[owner]) {
            plan->counts[owner]--;
            topic->owners[p] = -1;
        }
    }
}

static void give_free(struct plan *plan, struct assignment_topic *topic)
{
    uint32_t i = 0;

    for (uint32_t p = 0; p < topic->partition_count; p++) {
        if (topic->owners[p] >= 0) {
            continue;
        }
        while (plan->counts[topic->members[i]] == plan->quotas[topic->members[i]]) {
            i++;
            RIA_ASSERT(i < topic->member_count); /* quotas add up to the partitions */
        }
        topic->owners[p] = (int32_t)topic->members[i];
        plan->counts[topic->members[i]]++;
    }
}

static void plan_topic(struct plan *plan, struct assignment_topic *topic)
{
    count_owned(plan, topic);
    if (topic->member_count > 0) {
        set_quotas(plan, topic);
        take_surplus(plan, topic);
        give_free(plan, topic);
    }
    for (uint32_t i = 0; i < topic->member_count; i++) {
        plan->loads[topic->members[i]] += plan->counts[topic->members[i]];
        plan->subscribed[topic->members[i]] = false;
    }
}

/* ---- evening out the sums ---- */

static int compare_most_first(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->load != y->load) {
        return x->load > y->load ? -1 : 1;
    }
    return x->member < y->member ? -1 : x->member > y->member ? 1 : 0;
}

static int compare_least_first(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->load != y->load) {
        return x->load < y->load ? -1 : 1;
    }
    return x->member < y->member ? -1 : x->member > y->member ? 1 : 0;
}

/* Who has one more of the topic hands it to one who has not, if its sum is larger by two. */
static bool choose_takers(struct plan *plan, const struct assignment_topic *topic)
{
    uint32_t base = topic->partition_count / topic->member_count;
    uint32_t givers = 0;
    uint32_t others = 0;
    bool any = false;

    for (uint32_t i = 0; i < topic->member_count; i++) {
        plan->counts[topic->members[i]] = 0;
        plan->takers[topic->members[i]] = -1;
    }
    for (uint32_t p = 0; p < topic->partition_count; p++) {
        plan->counts[topic->owners[p]]++;
    }
    for (uint32_t i = 0; i < topic->member_count; i++) {
        uint32_t member = topic->members[i];
        struct ranked ranked = {.load = plan->loads[member], .member = member};
        if (plan->counts[member] > base) {
            plan->givers[givers++] = ranked;
        } else {
            plan->others[others++] = ranked;
        }
    }
    qsort(plan->givers, givers, sizeof(*plan->givers), compare_most_first);
    qsort(plan->others, others, sizeof(*plan->others), compare_least_first);
    for (uint32_t i = 0; i < givers && i < others; i++) {
        uint32_t giver = plan->givers[i].member;
        uint32_t taker = plan->others[i].member;
        if (plan->loads[giver] < plan->loads[taker] + 2) {
            break;
        }
        plan->takers[giver] = (int32_t)taker;
        plan->loads[giver]--;
        plan->loads[taker]++;
        any = true;
    }
    return any;
}

/* First partitions that have moved already: they cost nothing more. */
static void hand_over(struct plan *plan, struct assignment_topic *topic, const int32_t *before)
{
    for (int any_owner = 0; any_owner <= 1; any_owner++) {
        for (uint32_t p = topic->partition_count; p-- > 0;) {
            int32_t owner = topic->owners[p];
            if (plan->takers[owner] >= 0 && (any_owner != 0 || before[p] != owner)) {
                topic->owners[p] = plan->takers[owner];
                plan->takers[owner] = -1;
            }
        }
    }
}

static void even_out(struct plan *plan)
{
    bool any = true;

    for (int pass = 0; pass < PASSES_MAX && any; pass++) {
        any = false;
        for (uint32_t i = 0; i < plan->topic_count; i++) {
            struct assignment_topic *topic = &plan->topics[i];
            if (topic->member_count > 0 && topic->partition_count % topic->member_count != 0 &&
                choose_takers(plan, topic)) {
                hand_over(plan, topic, plan->before[i]);
                any = true;
            }
        }
    }
}

/* ---- all of them ---- */

static ria_err remember(struct plan *plan, struct ria_arena *arena)
{
    plan->before = ria_arena_alloc_array(arena, plan->topic_count, sizeof(*plan->before));
    if (plan->before == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        const struct assignment_topic *topic = &plan->topics[i];
        size_t size = topic->partition_count * sizeof(*topic->owners);
        plan->before[i] = ria_arena_alloc(arena, size);
        if (plan->before[i] == NULL) {
            return ria_arena_err(arena);
        }
        if (size > 0) {
            memcpy(plan->before[i], topic->owners, size);
        }
    }
    return RIA_OK;
}

ria_err assignment_plan(
    struct assignment_topic *topics,
    uint32_t topic_count,
    uint32_t member_count,
    struct ria_arena *arena
)
{
    struct plan plan = {
        .topics = topics,
        .topic_count = topic_count,
        .loads = ria_arena_alloc_array(arena, member_count, sizeof(*plan.loads)),
        .counts = ria_arena_alloc_array(arena, member_count, sizeof(*plan.counts)),
        .quotas = ria_arena_alloc_array(arena, member_count, sizeof(*plan.quotas)),
        .takers = ria_arena_alloc_array(arena, member_count, sizeof(*plan.takers)),
        .subscribed = ria_arena_alloc_array(arena, member_count, sizeof(*plan.subscribed)),
        .givers = ria_arena_alloc_array(arena, member_count, sizeof(*plan.givers)),
        .others = ria_arena_alloc_array(arena, member_count, sizeof(*plan.others)),
    };

    if (plan.loads == NULL || plan.counts == NULL || plan.quotas == NULL || plan.takers == NULL ||
        plan.subscribed == NULL || plan.givers == NULL || plan.others == NULL) {
        return ria_arena_err(arena);
    }
    RIA_TRY(remember(&plan, arena));
    for (uint32_t i = 0; i < topic_count; i++) {
        plan_topic(&plan, &topics[i]);
    }
    even_out(&plan);
    return RIA_OK;
}
