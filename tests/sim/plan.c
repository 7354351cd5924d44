#include "tests/sim/plan.h"

#include <string.h>

#include "common/assert.h"
#include "common/rand.h"

enum {
    CHAOS_US_MIN = 6 * 1000 * 1000,
    CHAOS_US_MAX = 16 * 1000 * 1000,
    WALL_SKEW_MS_MAX = 3600 * 1000,
    CLOCK_JUMP_MS_MAX = 48 * 3600 * 1000,
    OPERATIONS_MAX = 10, /* of operators */
};

#define PLAN_WEIGHT_(name, text, weight, about) weight,
static const int64_t kind_weights[] = {PLAN_FAULT_KINDS(PLAN_WEIGHT_)};

int64_t plan_between(struct ria_rand *rand, int64_t low, int64_t high)
{
    return low + (int64_t)ria_rand_below(rand, (uint64_t)(high - low) + 1);
}

int64_t plan_between_log(struct ria_rand *rand, int64_t low, int64_t high)
{
    int64_t top = low;

    while (top * 2 <= high && !ria_rand_one_in(rand, 4)) {
        top *= 2;
    }
    return plan_between(rand, low, ria_min_i64(2 * top, high));
}

bool plan_coin(struct ria_rand *rand)
{
    return ria_rand_one_in(rand, 2);
}

/* ---- the cluster ---- */

static void add_nodes(struct plan *plan, plan_role role, uint32_t count, struct ria_rand *rand)
{
    for (uint32_t i = 0; i < count; i++) {
        RIA_ASSERT(plan->node_count < PLAN_NODES_MAX);
        struct plan_node *node = &plan->nodes[plan->node_count++];
        *node = (struct plan_node){.role = role, .boot_us = plan_between_log(rand, 1, 1000 * 1000)};
        node->wall_skew_ms =
            plan_coin(rand) ? 0 : plan_between(rand, -WALL_SKEW_MS_MAX, WALL_SKEW_MS_MAX);
        node->sync_us_min = plan_between_log(rand, 10, 2000);
        node->sync_us_max = node->sync_us_min + plan_between_log(rand, 10, 20 * 1000);
        if (ria_rand_one_in(rand, 4)) { /* a slow one: the others are ahead of it */
            node->sync_us_max += plan_between_log(rand, 10 * 1000, 300 * 1000);
        }
    }
}

static void draw_cluster(struct plan *plan, struct ria_rand *rand)
{
    add_nodes(plan, PLAN_COORDINATOR, 1, rand);
    plan->storage_count = ria_rand_one_in(rand, 4) ? 4 : 3;
    add_nodes(plan, PLAN_STORAGE, plan->storage_count, rand);
    add_nodes(plan, PLAN_WORKER, plan_coin(rand) ? 1 : 2, rand);
    plan->gateway_first = plan->node_count;
    plan->gateway_count = plan_coin(rand) ? 1 : 2;
    add_nodes(plan, PLAN_GATEWAY, plan->gateway_count, rand);
    if (plan->has_transform) {
        add_nodes(plan, PLAN_TRANSFORM, plan_coin(rand) ? 1 : 2, rand);
    }
    add_nodes(plan, PLAN_CLIENT, plan_coin(rand) ? 1 : 2, rand);
    plan->open_segments = (uint32_t)plan_between(rand, 2, 16);
    plan->profile.latency_us_min = plan_between_log(rand, 20, 500);
    plan->profile.latency_us_max = plan->profile.latency_us_min + plan_between_log(rand, 10, 5000);
    if (plan_coin(rand)) {
        plan->profile.spike_one_in = (uint32_t)plan_between_log(rand, 50, 2000);
        plan->profile.spike_us_max = plan_between_log(rand, 10 * 1000, 3 * 1000 * 1000);
    }
    if (plan_coin(rand)) {
        plan->profile.reset_one_in = (uint32_t)plan_between_log(rand, 300, 10000);
    }
    if (plan_coin(rand)) {
        plan->profile.linger_us_max = plan_between_log(rand, 10 * 1000, 8 * 1000 * 1000);
    }
}

static struct plan_topic *add_topic(struct plan *plan, int32_t partition_count)
{
    RIA_ASSERT(plan->topic_count < PLAN_TOPICS_MAX);
    RIA_ASSERT(plan->partition_count + (uint32_t)partition_count <= PLAN_PARTITIONS_MAX);

    struct plan_topic *topic = &plan->topics[plan->topic_count++];
    topic->partition_count = partition_count;
    topic->first_partition = plan->partition_count;
    plan->partition_count += (uint32_t)partition_count;
    return topic;
}

static void draw_topic(struct plan *plan, bool is_doomed, struct ria_rand *rand)
{
    struct plan_topic *topic = add_topic(plan, (int32_t)plan_between(rand, 1, is_doomed ? 2 : 3));

    topic->is_doomed = is_doomed;
    topic->replicas = (int16_t)(ria_rand_one_in(rand, 5) ? plan_between(rand, 1, 2) : 3);
    topic->min_insync = (int32_t)plan_between(rand, 1, topic->replicas);
    if (topic->replicas == 3 && plan_coin(rand)) {
        topic->min_insync = 2;
    }
    topic->segment_bytes = plan_between_log(rand, 65536, 1024 * 1024);
    topic->lag_ms = plan_between_log(rand, 500, 10000);
    topic->relaxed = ria_rand_one_in(rand, 6);
}

/* As the coordinator makes them: with the source's partitions and replicas, and default settings.
 */
static void
add_derived(struct plan *plan, plan_topic_kind kind, uint32_t source, struct ria_rand *rand)
{
    const struct plan_topic *from = &plan->topics[source];
    struct plan_topic *topic = add_topic(plan, from->partition_count);

    topic->kind = kind;
    topic->source = source;
    topic->replicas = from->replicas;
    topic->min_insync = from->replicas == 1 ? 1 : 2;
    topic->skip_one_in = ria_rand_one_in(rand, 3) ? 0 : (uint32_t)plan_between(rand, 2, 5);
}

static void draw_topics(struct plan *plan, struct ria_rand *rand)
{
    bool has_doomed = ria_rand_one_in(rand, 4);

    draw_topic(plan, false, rand);
    if (ria_rand_one_in(rand, 3)) {
        draw_topic(plan, false, rand);
    }
    if (has_doomed) {
        draw_topic(plan, true, rand);
    }
    if (plan->has_transform) {
        add_derived(plan, PLAN_TOPIC_DERIVED, 0, rand);
        add_derived(plan, PLAN_TOPIC_ERRORS, 0, rand);
    }
}

/* ---- what is asked beside the load ---- */

static void
add_admin(struct plan *plan, int64_t at_us, plan_admin_kind kind, uint32_t topic, int64_t amount)
{
    RIA_ASSERT(plan->admin_count < PLAN_ADMIN_MAX);

    plan->admin[plan->admin_count++] =
        (struct plan_admin){.at_us = at_us, .kind = kind, .topic = topic, .amount = amount};
}

static void draw_admin(struct plan *plan, struct ria_rand *rand)
{
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        switch (plan->topics[i].kind) {
        case PLAN_TOPIC_PLAIN:
            add_admin(plan, plan_between_log(rand, 1, 500 * 1000), PLAN_CREATE_TOPIC, i, 0);
            break;
        case PLAN_TOPIC_DERIVED:
            add_admin(plan, plan_between_log(rand, 1, 5000 * 1000), PLAN_CREATE_TRANSFORM, i, 0);
            break;
        case PLAN_TOPIC_ERRORS: /* comes with the derived one */
            break;
        }
        if (plan->topics[i].is_doomed) {
            add_admin(plan, plan_between(rand, 500 * 1000, CHAOS_US_MAX), PLAN_DELETE_TOPIC, i, 0);
        }
    }
}

/* ---- the load ---- */

uint32_t plan_draw_client(const struct plan *plan, struct ria_rand *rand)
{
    uint32_t first = plan->node_count;

    while (first > 0 && plan->nodes[first - 1].role == PLAN_CLIENT) {
        first--;
    }
    return (uint32_t)plan_between(rand, first, plan->node_count - 1);
}

static void draw_producer(struct plan *plan, uint32_t partition, struct ria_rand *rand)
{
    if (plan->producer_count == PLAN_PRODUCERS_MAX) {
        return;
    }
    plan->producers[plan->producer_count++] = (struct plan_producer){
        .client = plan_draw_client(plan, rand),
        .partition = partition,
        .via_gateway = plan_coin(rand),
        .idempotent = !ria_rand_one_in(rand, 4),
        .gives_up = plan_coin(rand),
        .key_count = plan_coin(rand) ? 0 : (uint32_t)plan_between(rand, 1, 9),
        .window = (uint32_t)plan_between(rand, 1, 5),
        .records_max = (uint32_t)plan_between_log(rand, 1, 20),
        .padding_max = (uint32_t)plan_between_log(rand, 1, 4096),
        .think_us_mean = plan_between_log(rand, 5 * 1000, 300 * 1000),
        .timeout_ms = (uint32_t)plan_between_log(rand, 300, 8000),
    };
}

/* Every partition has one of each, so that it is seen to live; some have two producers. */
static void draw_load(struct plan *plan, struct ria_rand *rand)
{
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        plan_topic_kind kind = plan->topics[plan_topic_of(plan, i)].kind;
        uint32_t producers = ria_rand_one_in(rand, 3) ? 2 : 1;
        for (uint32_t j = 0; j < producers && kind == PLAN_TOPIC_PLAIN; j++) {
            draw_producer(plan, i, rand);
        }
        if (kind == PLAN_TOPIC_ERRORS) {
            continue;
        }
        plan->readers[plan->reader_count++] = (struct plan_reader){
            .client = plan_draw_client(plan, rand),
            .partition = i,
            .via_gateway = plan_coin(rand),
            .as_text = plan_coin(rand),
            .max_bytes = (uint32_t)plan_between_log(rand, 100, 256 * 1024),
            .wait_ms = plan_coin(rand) ? 0 : (uint32_t)plan_between_log(rand, 10, 2000),
            .think_us = plan_between_log(rand, 5000, 500 * 1000),
            .jump_one_in = plan_coin(rand) ? 0 : (uint32_t)plan_between_log(rand, 10, 100),
        };
    }
}

/* ---- the trouble ---- */

static uint32_t draw_server(const struct plan *plan, struct ria_rand *rand)
{
    uint32_t node;

    do {
        node = (uint32_t)ria_rand_below(rand, plan->node_count);
    } while (plan->nodes[node].role == PLAN_CLIENT);
    return node;
}

static uint32_t draw_storage(const struct plan *plan, struct ria_rand *rand)
{
    return (uint32_t)plan_between(rand, 1, plan->storage_count);
}

static uint32_t draw_worker(const struct plan *plan, struct ria_rand *rand)
{
    uint32_t node;

    do {
        node = (uint32_t)ria_rand_below(rand, plan->node_count);
    } while (plan->nodes[node].role != PLAN_WORKER);
    return node;
}

/* In a run one disk at most breaks its promises. */
static uint32_t bad_disk(const struct plan *plan)
{
    return 1 + (uint32_t)(plan->seed % plan->storage_count);
}

/* Of a server, or between it and another process; without an amount. */
static struct plan_fault
draw_plain_fault(const struct plan *plan, plan_fault_kind kind, struct ria_rand *rand)
{
    struct plan_fault fault = {
        .kind = kind,
        .a = draw_server(plan, rand),
        .duration_us = plan_between_log(rand, 50 * 1000, 6 * 1000 * 1000),
    };

    do {
        fault.b = (uint32_t)ria_rand_below(rand, plan->node_count);
    } while (fault.b == fault.a);
    return fault;
}

static struct plan_fault
draw_fault(const struct plan *plan, plan_fault_kind kind, struct ria_rand *rand)
{
    struct plan_fault fault = draw_plain_fault(plan, kind, rand);

    switch (kind) {
    case PLAN_RESET:
        fault.amount = ria_rand_one_in(rand, 4);
        break;
    case PLAN_ORPHAN: /* long enough for another worker to take over */
        fault.a = draw_worker(plan, rand);
        fault.b = 0;
        fault.duration_us = plan_between(rand, 2, 8) * 1000 * 1000;
        break;
    case PLAN_MINORITY:
        fault.a = draw_storage(plan, rand);
        fault.b = plan->gateway_first + (uint32_t)ria_rand_below(rand, plan->gateway_count);
        break;
    case PLAN_DUPLICATE:
        fault.amount = plan_between_log(rand, 1, 100);
        break;
    case PLAN_SLOW_NET:
        fault.amount = plan_between_log(rand, 1000, 300 * 1000);
        break;
    case PLAN_SLOW_DISK:
        fault.a = draw_storage(plan, rand);
        fault.amount = plan_between_log(rand, 10 * 1000, 1500 * 1000);
        break;
    case PLAN_KILL_AT:
    case PLAN_POWER_AT:
        fault.a = draw_storage(plan, rand);
        fault.amount = plan_between_log(rand, 1, 500);
        break;
    case PLAN_KILL_SEND:
    case PLAN_POWER_SEND:
        fault.a = plan_coin(rand) ? draw_storage(plan, rand) : fault.a;
        fault.amount = plan_between_log(rand, 1, 500);
        break;
    case PLAN_STOP:
    case PLAN_KILL:
    case PLAN_POWER:
        /* Storage is where the records are. */
        fault.a = plan_coin(rand) ? draw_storage(plan, rand) : fault.a;
        break;
    case PLAN_CLOCK:
        fault.amount = plan_between_log(rand, 1000, CLOCK_JUMP_MS_MAX) * (plan_coin(rand) ? 1 : -1);
        break;
    case PLAN_DISK_FULL:
        fault.a = draw_storage(plan, rand);
        fault.amount = plan_coin(rand) ? 0 : plan_between_log(rand, 4096, 256 * 1024);
        break;
    case PLAN_IO_ERROR:
    case PLAN_SYNC_ERROR:
        fault.a = bad_disk(plan);
        fault.amount = plan_between_log(rand, 1, 200);
        break;
    case PLAN_ROT:
        fault.a = bad_disk(plan);
        fault.amount = plan_between_log(rand, 1, 16);
        break;
    case PLAN_PARTITION:
    case PLAN_ONE_WAY:
    case PLAN_ISOLATE:
    case PLAN_PAUSE:
    case PLAN_FAULT_KIND_COUNT:
        break;
    }
    return fault;
}

/* Of one run in three a single kind, of the others a mixture. */
static int64_t
draw_weights(int64_t *out_weights, const struct plan_choice *choice, struct ria_rand *rand)
{
    uint32_t kinds = choice == NULL ? 0 : choice->fault_kinds;
    bool is_only = kinds != 0 && (kinds & (kinds - 1)) == 0;
    bool is_alone = ria_rand_one_in(rand, 3);
    uint64_t alone = ria_rand_below(rand, PLAN_FAULT_KIND_COUNT);
    int64_t total = 0;

    for (size_t i = 0; i < PLAN_FAULT_KIND_COUNT; i++) {
        int64_t weight_max = kinds == 0 ? kind_weights[i] : (kinds >> i & 1) * 8;
        int64_t weight = weight_max == 0 ? 0 : plan_between(rand, 1, weight_max);
        bool is_in = is_alone ? i == alone : plan_coin(rand);
        out_weights[i] = is_in || is_only ? weight : 0;
        total += out_weights[i];
    }
    return total;
}

static void draw_faults(struct plan *plan, const struct plan_choice *choice, struct ria_rand *rand)
{
    int64_t weights[PLAN_FAULT_KIND_COUNT];
    int64_t mean_us = plan_between_log(rand, 150 * 1000, 4 * 1000 * 1000);
    int64_t at_us = plan_coin(rand) ? 0 : 2 * 1000 * 1000; /* also before anything is set up */
    int64_t total = draw_weights(weights, choice, rand);

    plan->chaos_us = plan_between(rand, CHAOS_US_MIN, CHAOS_US_MAX);
    while (total > 0 && plan->fault_count < PLAN_FAULTS_MAX) {
        at_us += plan_between(rand, 1, 2 * mean_us);
        if (at_us >= plan->chaos_us) {
            break;
        }
        int64_t draw = (int64_t)ria_rand_below(rand, (uint64_t)total);
        size_t kind = 0;
        while (draw >= weights[kind]) {
            draw -= weights[kind++];
        }
        struct plan_fault fault = draw_fault(plan, (plan_fault_kind)kind, rand);
        fault.at_us = at_us;
        plan->faults[plan->fault_count++] = fault;
    }
}

/* ---- operators ---- */

/* Whoever is drained stays: its drain ends while the faults go on. */
static void draw_drain(struct plan *plan, int64_t at_us, struct ria_rand *rand)
{
    int64_t node = plan_between(rand, 1, plan->storage_count);

    add_admin(plan, at_us, PLAN_DRAIN, 0, node);
    add_admin(plan, plan_between(rand, at_us, plan->chaos_us), PLAN_END_DRAIN, 0, node);
}

/* Behind everything else, so that runs without operators stay as they are. */
static void draw_operators(struct plan *plan, struct ria_rand *rand)
{
    static const plan_admin_kind kinds[] = {
        PLAN_REASSIGN,
        PLAN_REASSIGN,
        PLAN_REASSIGN,
        PLAN_CANCEL_MOVE,
        PLAN_ELECT_LEADER,
        PLAN_DRAIN,
        PLAN_REBALANCE,
        PLAN_SET_MIN_INSYNC,
        PLAN_SET_MIN_INSYNC,
        PLAN_SET_DURABILITY,
        PLAN_SET_DURABILITY,
    };
    int64_t count = plan_coin(rand) ? 0 : plan_between_log(rand, 1, OPERATIONS_MAX);

    for (int64_t i = 0; i < count; i++) {
        int64_t at_us = plan_between(rand, 500 * 1000, plan->chaos_us);
        uint32_t topic = (uint32_t)ria_rand_below(rand, plan->topic_count);
        plan_admin_kind kind = kinds[ria_rand_below(rand, RIA_COUNT(kinds))];
        if (kind == PLAN_DRAIN) {
            draw_drain(plan, at_us, rand);
        } else if (kind == PLAN_REBALANCE) {
            add_admin(plan, at_us, kind, 0, !ria_rand_one_in(rand, 4));
        } else if (kind == PLAN_SET_MIN_INSYNC) {
            add_admin(
                plan, at_us, kind, topic, plan_between(rand, 1, plan->topics[topic].replicas)
            );
        } else if (kind == PLAN_SET_DURABILITY) {
            add_admin(plan, at_us, kind, topic, plan_coin(rand));
        } else {
            add_admin(plan, at_us, kind, topic, plan_between(rand, 0, INT32_MAX));
        }
    }
}

/* A setting that is changed, so that nothing is asked for that was not promised. */
static void
temper_setting(struct plan *plan, struct plan_admin *admin, bool loses_power, bool loses_disk)
{
    if (admin->kind == PLAN_SET_MIN_INSYNC && loses_disk) {
        admin->amount = 2;
    } else if (admin->kind == PLAN_SET_DURABILITY) {
        admin->amount = loses_power || loses_disk ? 0 : admin->amount;
        plan->topics[admin->topic].may_be_relaxed |= admin->amount != 0;
    }
}

/* Nothing is asked for that was not promised. */
static void temper(struct plan *plan)
{
    bool loses_power = plan_has(plan, PLAN_POWER) || plan_has(plan, PLAN_POWER_AT) ||
                       plan_has(plan, PLAN_POWER_SEND);
    bool loses_disk = plan_has(plan, PLAN_IO_ERROR) || plan_has(plan, PLAN_SYNC_ERROR) ||
                      plan_has(plan, PLAN_ROT);

    for (uint32_t i = 0; i < plan->topic_count; i++) {
        struct plan_topic *topic = &plan->topics[i];
        if (loses_power || loses_disk) {
            topic->relaxed = false;
        }
        if (loses_disk) {
            topic->replicas = 3;
            topic->min_insync = 2;
        }
        topic->may_be_relaxed = topic->relaxed;
    }
    for (uint32_t i = 0; i < plan->admin_count; i++) {
        temper_setting(plan, &plan->admin[i], loses_power, loses_disk);
    }
    if (plan_has(plan, PLAN_ROT)) {
        plan_spare_dead_letters(plan);
    }
}

void plan_draw(struct plan *plan, uint64_t seed, const struct plan_choice *choice)
{
    struct ria_rand rand;

    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    ria_rand_init(&rand, seed);
    plan->has_transform = plan_coin(&rand);
    draw_cluster(plan, &rand);
    draw_topics(plan, &rand);
    draw_admin(plan, &rand);
    draw_load(plan, &rand);
    draw_faults(plan, choice, &rand);
    draw_operators(plan, &rand);
    plan_draw_groups(plan, &rand);
    temper(plan);
}

/* ---- asking ---- */

uint32_t plan_topic_of(const struct plan *plan, uint32_t partition)
{
    uint32_t topic = plan->topic_count - 1;

    while (plan->topics[topic].first_partition > partition) {
        topic--;
    }
    return topic;
}

bool plan_is_doomed(const struct plan *plan, uint32_t partition)
{
    return plan->topics[plan_topic_of(plan, partition)].is_doomed;
}

bool plan_may_be_relaxed(const struct plan *plan, uint32_t partition)
{
    return plan->topics[plan_topic_of(plan, partition)].may_be_relaxed;
}

bool plan_has(const struct plan *plan, plan_fault_kind kind)
{
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        if (plan->faults[i].kind == kind) {
            return true;
        }
    }
    return false;
}
