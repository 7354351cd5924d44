#include "tests/sim/plan.h"

#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/rand.h"

enum {
    CHAOS_US_MIN = 6 * 1000 * 1000,
    CHAOS_US_MAX = 16 * 1000 * 1000,
    WALL_SKEW_MS_MAX = 3600 * 1000,
};

static int64_t between(struct ria_rand *rand, int64_t low, int64_t high)
{
    return low + (int64_t)ria_rand_below(rand, (uint64_t)(high - low) + 1);
}

/* Every order of magnitude is equally likely. */
static int64_t between_log(struct ria_rand *rand, int64_t low, int64_t high)
{
    int64_t top = low;

    while (top * 2 <= high && !ria_rand_one_in(rand, 4)) {
        top *= 2;
    }
    return between(rand, low, ria_min_i64(2 * top, high));
}

static bool coin(struct ria_rand *rand)
{
    return ria_rand_one_in(rand, 2);
}

/* ---- the cluster ---- */

static void add_nodes(struct plan *plan, plan_role role, uint32_t count, struct ria_rand *rand)
{
    for (uint32_t i = 0; i < count; i++) {
        RIA_ASSERT(plan->node_count < PLAN_NODES_MAX);
        struct plan_node *node = &plan->nodes[plan->node_count++];
        *node = (struct plan_node){.role = role, .boot_us = between_log(rand, 1, 1000 * 1000)};
        node->wall_skew_ms = coin(rand) ? 0 : between(rand, -WALL_SKEW_MS_MAX, WALL_SKEW_MS_MAX);
        node->sync_us_min = between_log(rand, 10, 2000);
        node->sync_us_max = node->sync_us_min + between_log(rand, 10, 20 * 1000);
        if (ria_rand_one_in(rand, 4)) { /* a slow one: the others are ahead of it */
            node->sync_us_max += between_log(rand, 10 * 1000, 300 * 1000);
        }
    }
}

static void draw_cluster(struct plan *plan, struct ria_rand *rand)
{
    add_nodes(plan, PLAN_COORDINATOR, 1, rand);
    plan->storage_count = ria_rand_one_in(rand, 4) ? 4 : 3;
    add_nodes(plan, PLAN_STORAGE, plan->storage_count, rand);
    add_nodes(plan, PLAN_WORKER, coin(rand) ? 1 : 2, rand);
    add_nodes(plan, PLAN_CLIENT, coin(rand) ? 1 : 2, rand);
    plan->open_segments = (uint32_t)between(rand, 2, 16);
    plan->profile.latency_us_min = between_log(rand, 20, 500);
    plan->profile.latency_us_max = plan->profile.latency_us_min + between_log(rand, 10, 5000);
    if (coin(rand)) {
        plan->profile.spike_one_in = (uint32_t)between_log(rand, 50, 2000);
        plan->profile.spike_us_max = between_log(rand, 10 * 1000, 3 * 1000 * 1000);
    }
    if (coin(rand)) {
        plan->profile.reset_one_in = (uint32_t)between_log(rand, 300, 10000);
    }
}

static void draw_topics(struct plan *plan, struct ria_rand *rand)
{
    bool has_doomed = ria_rand_one_in(rand, 4);

    plan->topic_count = (ria_rand_one_in(rand, 3) ? 2u : 1u) + (has_doomed ? 1u : 0u);
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        struct plan_topic *topic = &plan->topics[i];
        bool is_doomed = has_doomed && i == plan->topic_count - 1;
        topic->doomed_us = is_doomed ? between(rand, 500 * 1000, CHAOS_US_MAX) : 0;
        topic->partition_count = (int32_t)between(rand, 1, is_doomed ? 2 : 3);
        topic->replicas = (int16_t)(ria_rand_one_in(rand, 5) ? between(rand, 1, 2) : 3);
        topic->min_insync = (int32_t)between(rand, 1, topic->replicas);
        if (topic->replicas == 3 && coin(rand)) {
            topic->min_insync = 2;
        }
        topic->segment_bytes = between_log(rand, 65536, 1024 * 1024);
        topic->lag_ms = between_log(rand, 500, 10000);
        topic->relaxed = ria_rand_one_in(rand, 6);
        topic->first_partition = plan->partition_count;
        plan->partition_count += (uint32_t)topic->partition_count;
    }
    RIA_ASSERT(plan->partition_count <= PLAN_PARTITIONS_MAX);
}

/* ---- the load ---- */

static uint32_t draw_client(const struct plan *plan, struct ria_rand *rand)
{
    uint32_t first = plan->node_count;

    while (first > 0 && plan->nodes[first - 1].role == PLAN_CLIENT) {
        first--;
    }
    return (uint32_t)between(rand, first, plan->node_count - 1);
}

static void draw_load(struct plan *plan, struct ria_rand *rand)
{
    /* Every partition has one of each, so that it is seen to live; some have two. */
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        int64_t producers = ria_rand_one_in(rand, 3) ? 2 : 1;
        for (int64_t j = 0; j < producers && plan->producer_count < PLAN_PRODUCERS_MAX; j++) {
            plan->producers[plan->producer_count++] = (struct plan_producer){
                .client = draw_client(plan, rand),
                .partition = i,
                .idempotent = !ria_rand_one_in(rand, 4),
                .gives_up = coin(rand),
                .window = (uint32_t)between(rand, 1, 5),
                .records_max = (uint32_t)between_log(rand, 1, 20),
                .padding_max = (uint32_t)between_log(rand, 1, 4096),
                .think_us_mean = between_log(rand, 5 * 1000, 300 * 1000),
                .timeout_ms = (uint32_t)between_log(rand, 300, 8000),
            };
        }
        plan->readers[plan->reader_count++] = (struct plan_reader){
            .client = draw_client(plan, rand),
            .partition = i,
            .max_bytes = (uint32_t)between_log(rand, 100, 256 * 1024),
            .wait_ms = coin(rand) ? 0 : (uint32_t)between_log(rand, 10, 2000),
            .think_us = between_log(rand, 5000, 500 * 1000),
            .jump_one_in = coin(rand) ? 0 : (uint32_t)between_log(rand, 10, 100),
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
    return (uint32_t)between(rand, 1, plan->storage_count);
}

static uint32_t draw_worker(const struct plan *plan, struct ria_rand *rand)
{
    uint32_t node;

    do {
        node = (uint32_t)ria_rand_below(rand, plan->node_count);
    } while (plan->nodes[node].role != PLAN_WORKER);
    return node;
}

static struct plan_fault
draw_fault(const struct plan *plan, plan_fault_kind kind, struct ria_rand *rand)
{
    struct plan_fault fault = {
        .kind = kind,
        .a = draw_server(plan, rand),
        .duration_us = between_log(rand, 50 * 1000, 6 * 1000 * 1000),
    };

    do {
        fault.b = (uint32_t)ria_rand_below(rand, plan->node_count);
    } while (fault.b == fault.a);
    switch (kind) {
    case PLAN_RESET:
        fault.amount = ria_rand_one_in(rand, 4);
        break;
    case PLAN_ORPHAN: /* long enough for another worker to take over */
        fault.a = draw_worker(plan, rand);
        fault.b = 0;
        fault.duration_us = between(rand, 2, 8) * 1000 * 1000;
        break;
    case PLAN_SLOW_NET:
        fault.amount = between_log(rand, 1000, 300 * 1000);
        break;
    case PLAN_SLOW_DISK:
        fault.a = draw_storage(plan, rand);
        fault.amount = between_log(rand, 10 * 1000, 1500 * 1000);
        break;
    case PLAN_KILL_AT:
    case PLAN_POWER_AT:
        fault.a = draw_storage(plan, rand);
        fault.amount = between_log(rand, 1, 500);
        break;
    case PLAN_KILL_SEND:
    case PLAN_POWER_SEND:
        fault.a = coin(rand) ? draw_storage(plan, rand) : fault.a;
        fault.amount = between_log(rand, 1, 500);
        break;
    case PLAN_STOP:
        fault.a = coin(rand) ? draw_storage(plan, rand) : fault.a;
        break;
    case PLAN_KILL:
    case PLAN_POWER:
        /* Storage is where the records are. */
        fault.a = coin(rand) ? draw_storage(plan, rand) : fault.a;
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

static void draw_faults(struct plan *plan, struct ria_rand *rand)
{
    int64_t weights[PLAN_FAULT_KIND_COUNT];
    int64_t total = 0;
    int64_t mean_us = between_log(rand, 150 * 1000, 4 * 1000 * 1000);
    int64_t at_us = coin(rand) ? 0 : 2 * 1000 * 1000; /* also before anything is set up */

    for (size_t i = 0; i < PLAN_FAULT_KIND_COUNT; i++) {
        weights[i] = coin(rand) ? 0 : between(rand, 1, 8);
        total += weights[i];
    }
    plan->chaos_us = between(rand, CHAOS_US_MIN, CHAOS_US_MAX);
    while (total > 0 && plan->fault_count < PLAN_FAULTS_MAX) {
        at_us += between(rand, 1, 2 * mean_us);
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

static bool loses_power(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        plan_fault_kind kind = plan->faults[i].kind;
        if (kind == PLAN_POWER || kind == PLAN_POWER_AT || kind == PLAN_POWER_SEND) {
            return true;
        }
    }
    return false;
}

void plan_draw(struct plan *plan, uint64_t seed)
{
    struct ria_rand rand;

    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    ria_rand_init(&rand, seed);
    draw_cluster(plan, &rand);
    draw_topics(plan, &rand);
    draw_load(plan, &rand);
    draw_faults(plan, &rand);
    for (uint32_t i = 0; i < plan->topic_count && loses_power(plan); i++) {
        plan->topics[i].relaxed = false; /* which promises nothing then */
    }
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
    return plan->topics[plan_topic_of(plan, partition)].doomed_us > 0;
}

/* ---- printing ---- */

const char *plan_node_name(const struct plan *plan, uint32_t node)
{
    static const char *const storages[] = {"storage-1", "storage-2", "storage-3", "storage-4"};
    static const char *const workers[] = {"worker-1", "worker-2"};
    static const char *const clients[] = {"client-1", "client-2"};
    uint32_t place = 0;

    for (uint32_t i = 0; i < node; i++) {
        place += plan->nodes[i].role == plan->nodes[node].role;
    }
    switch (plan->nodes[node].role) {
    case PLAN_COORDINATOR:
        return "coordinator";
    case PLAN_STORAGE:
        return storages[place];
    case PLAN_WORKER:
        return workers[place];
    case PLAN_CLIENT:
        return clients[place];
    }
    return "";
}

#define PLAN_NAME_(name, text, about) text,
static const char *const fault_names[] = {PLAN_FAULT_KINDS(PLAN_NAME_)};

void plan_format_fault(
    const struct plan *plan, const struct plan_fault *fault, char *out, size_t out_size
)
{
    bool has_b =
        fault->kind == PLAN_PARTITION || fault->kind == PLAN_ONE_WAY || fault->kind == PLAN_RESET;

    (void)snprintf(
        out,
        out_size,
        "%s %s%s%s amount=%" PRId64 " for=%.3fs",
        fault_names[fault->kind],
        plan_node_name(plan, fault->a),
        has_b ? " " : "",
        has_b ? plan_node_name(plan, fault->b) : "",
        fault->amount,
        (double)fault->duration_us / 1e6
    );
}

static void print_disks(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->node_count; i++) {
        const struct plan_node *node = &plan->nodes[i];
        if (node->role == PLAN_STORAGE || node->role == PLAN_COORDINATOR) {
            (void)fprintf(
                out,
                "  %s: a sync takes %" PRId64 "..%" PRId64 " us\n",
                plan_node_name(plan, i),
                node->sync_us_min,
                node->sync_us_max
            );
        }
    }
}

static void print_topics(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        const struct plan_topic *topic = &plan->topics[i];
        (void)fprintf(
            out,
            "  topic %" PRIu32 ": partitions %" PRIu32 "..%" PRIu32 ", replicas %d, min.insync %d, "
            "segment.bytes %" PRId64 ", lag %" PRId64 " ms, %s%s\n",
            i,
            topic->first_partition,
            topic->first_partition + (uint32_t)topic->partition_count - 1,
            topic->replicas,
            topic->min_insync,
            topic->segment_bytes,
            topic->lag_ms,
            topic->relaxed ? "relaxed" : "synced",
            topic->doomed_us > 0 ? ", to be deleted" : ""
        );
    }
}

static void print_load(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        const struct plan_producer *producer = &plan->producers[i];
        (void)fprintf(
            out,
            "  producer %" PRIu32 ": partition %" PRIu32 " from %s, %s%s, window %" PRIu32
            ", up to %" PRIu32 " x %" PRIu32 " bytes each %" PRId64 " us, timeout %" PRIu32 " ms\n",
            i,
            producer->partition,
            plan_node_name(plan, producer->client),
            producer->idempotent ? "idempotent" : "plain",
            producer->gives_up ? ", gives up" : "",
            producer->window,
            producer->records_max,
            producer->padding_max,
            producer->think_us_mean,
            producer->timeout_ms
        );
    }
}

void plan_print(const struct plan *plan, FILE *out)
{
    char text[256];

    (void)fprintf(
        out,
        "seed %" PRIu64 ": %" PRIu32 " nodes, latency %" PRId64 "..%" PRId64 " us, spike 1/%" PRIu32
        " up to %" PRId64 " us, reset 1/%" PRIu32 ", chaos %.3f s\n",
        plan->seed,
        plan->node_count,
        plan->profile.latency_us_min,
        plan->profile.latency_us_max,
        plan->profile.spike_one_in,
        plan->profile.spike_us_max,
        plan->profile.reset_one_in,
        (double)plan->chaos_us / 1e6
    );
    print_disks(plan, out);
    print_topics(plan, out);
    print_load(plan, out);
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        plan_format_fault(plan, &plan->faults[i], text, sizeof(text));
        (void)fprintf(
            out, "  %10.6f fault %" PRIu32 ": %s\n", (double)plan->faults[i].at_us / 1e6, i, text
        );
    }
}
