/* Plans as text. */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/plan.h"
#include "tests/sim/world.h"

const char *plan_node_name(const struct plan *plan, uint32_t node)
{
    static const char *const storages[] = {"storage-1", "storage-2", "storage-3", "storage-4"};
    static const char *const workers[] = {"worker-1", "worker-2"};
    static const char *const gateways[] = {"gateway-1", "gateway-2"};
    static const char *const transforms[] = {"transform-1", "transform-2"};
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
    case PLAN_GATEWAY:
        return gateways[place];
    case PLAN_TRANSFORM:
        return transforms[place];
    case PLAN_CLIENT:
        return clients[place];
    }
    return "";
}

#define PLAN_NAME_(name, text, weight, about) text,
static const char *const fault_names[] = {PLAN_FAULT_KINDS(PLAN_NAME_)};

#define PLAN_ABOUT_(name, text, weight, about) {about, weight},

static const struct {
    const char *about;
    int weight;
} kinds[] = {PLAN_FAULT_KINDS(PLAN_ABOUT_)};

#define PLAN_ADMIN_NAME_(name, text, about) text,
static const char *const admin_names[] = {PLAN_ADMIN_KINDS(PLAN_ADMIN_NAME_)};

const char *plan_fault_name(plan_fault_kind kind)
{
    return fault_names[kind];
}

const char *plan_admin_name(plan_admin_kind kind)
{
    return admin_names[kind];
}

/* As the history's and the trace's times are. */
static double on_clock(int64_t at_us)
{
    return (double)(WORLD_START_US + at_us) / 1e6;
}

void plan_print_kinds(FILE *out)
{
    for (size_t i = 0; i < RIA_COUNT(kinds); i++) {
        const char *drawn = kinds[i].weight > 0 ? "" : " (only if asked for)";
        (void)fprintf(out, "%-11s %s%s\n", fault_names[i], kinds[i].about, drawn);
    }
}

bool plan_parse_kinds(const char *text, uint32_t *out_kinds, const char **out_bad)
{
    uint32_t bits = 0;

    while (text[0] != '\0') {
        size_t size = strcspn(text, ",");
        uint32_t kind = 0;
        while (kind < PLAN_FAULT_KIND_COUNT &&
               (strlen(fault_names[kind]) != size || memcmp(fault_names[kind], text, size) != 0)) {
            kind++;
        }
        if (kind == PLAN_FAULT_KIND_COUNT) {
            *out_bad = text;
            return false;
        }
        bits |= UINT32_C(1) << kind;
        text += size + (text[size] == ',');
    }
    *out_kinds = bits;
    *out_bad = text;
    return bits != 0;
}

void plan_format_fault(
    const struct plan *plan, const struct plan_fault *fault, char *out, size_t out_size
)
{
    bool has_b = fault->kind == PLAN_PARTITION || fault->kind == PLAN_ONE_WAY ||
                 fault->kind == PLAN_MINORITY || fault->kind == PLAN_RESET;

    int size = snprintf(
        out,
        out_size,
        "%s %s%s%s for=%.3fs",
        fault_names[fault->kind],
        plan_node_name(plan, fault->a),
        has_b ? " " : "",
        has_b ? plan_node_name(plan, fault->b) : "",
        (double)fault->duration_us / 1e6
    );
    bool has_amount = strstr(kinds[fault->kind].about, "amount") != NULL;
    if (has_amount && size > 0 && (size_t)size < out_size) {
        (void)snprintf(out + size, out_size - (size_t)size, " amount=%" PRId64, fault->amount);
    }
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
            topic->is_doomed ? ", to be deleted" : ""
        );
        if (topic->kind != PLAN_TOPIC_PLAIN) {
            (void)fprintf(
                out,
                "    %s topic %" PRIu32 ", skips one in %" PRIu32 "\n",
                topic->kind == PLAN_TOPIC_DERIVED ? "derived from" : "errors of",
                topic->source,
                topic->skip_one_in
            );
        }
    }
}

static void print_load(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        const struct plan_producer *producer = &plan->producers[i];
        (void)fprintf(
            out,
            "  producer %" PRIu32 ": partition %" PRIu32 " from %s%s, %s%s, window %" PRIu32
            ", up to %" PRIu32 " x %" PRIu32 " bytes each %" PRId64 " us, timeout %" PRIu32 " ms"
            ", one in %" PRIu32 " later by up to %" PRId64 " ms\n",
            i,
            producer->partition,
            plan_node_name(plan, producer->client),
            producer->via_gateway ? " over HTTP" : "",
            producer->idempotent ? "idempotent" : "plain",
            producer->gives_up ? ", gives up" : "",
            producer->window,
            producer->records_max,
            producer->padding_max,
            producer->think_us_mean,
            producer->timeout_ms,
            producer->delays_one_in,
            producer->delay_ms
        );
    }
    for (uint32_t i = 0; i < plan->admin_count; i++) {
        const struct plan_admin *admin = &plan->admin[i];
        (void)fprintf(
            out,
            "  %10.6f %s: topic %" PRIu32 ", amount %" PRId64 "\n",
            on_clock(admin->at_us),
            admin_names[admin->kind],
            admin->topic,
            admin->amount
        );
    }
}

static void print_groups(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->group_count; i++) {
        const struct plan_group *group = &plan->groups[i];
        (void)fprintf(
            out,
            "  group %" PRIu32 ": %s of topics %#" PRIx32 ", leases %" PRId32 " ms%s%s%s%s\n",
            i,
            group->is_queue ? "queue" : "stream",
            group->topics,
            group->lease_ms,
            group->has_names ? ", named members" : "",
            group->is_ordered ? ", order per key" : "",
            group->buries ? ", many die" : "",
            group->reset_at_us > 0 ? ", is reset" : ""
        );
    }
    for (uint32_t i = 0; i < plan->consumer_count; i++) {
        const struct plan_consumer *consumer = &plan->consumers[i];
        (void)fprintf(
            out,
            "  consumer %" PRIu32 ": of group %" PRIu32 " from %s, %" PRIu32
            " records at once, waits %" PRIu32 " ms, thinks %" PRId64 " us, dies one in %" PRIu32
            ", streams of %" PRIu32 " ms%s\n",
            i,
            consumer->group,
            plan_node_name(plan, consumer->client),
            consumer->records_max,
            consumer->wait_ms,
            consumer->think_us,
            consumer->dies_one_in,
            consumer->stream_ms,
            consumer->acks_written ? " that commit what was written" : ""
        );
    }
}

static void print_streams(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        const struct plan_stream *stream = &plan->streams[i];
        (void)fprintf(
            out,
            "  stream %" PRIu32 ": of topic %" PRIu32 " from %s, %" PRIu32 " records or %" PRIu32
            " ms each, one in %" PRIu32 " breaks\n",
            i,
            stream->topic,
            plan_node_name(plan, stream->client),
            stream->records_max,
            stream->max_ms,
            stream->breaks_one_in
        );
    }
}

void plan_print(const struct plan *plan, FILE *out)
{
    char text[256];

    (void)fprintf(
        out,
        "seed %" PRIu64 ": %" PRIu32 " nodes, latency %" PRId64 "..%" PRId64 " us, spike 1/%" PRIu32
        " up to %" PRId64 " us, reset 1/%" PRIu32 ", linger %" PRId64 " us, faults until %.3f s\n",
        plan->seed,
        plan->node_count,
        plan->profile.latency_us_min,
        plan->profile.latency_us_max,
        plan->profile.spike_one_in,
        plan->profile.spike_us_max,
        plan->profile.reset_one_in,
        plan->profile.linger_us_max,
        on_clock(plan->chaos_us)
    );
    print_disks(plan, out);
    print_topics(plan, out);
    print_load(plan, out);
    print_groups(plan, out);
    print_streams(plan, out);
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        plan_format_fault(plan, &plan->faults[i], text, sizeof(text));
        (void)fprintf(
            out,
            "  %10.6f fault %" PRIu32 ": %-50s %s\n",
            on_clock(plan->faults[i].at_us),
            i,
            text,
            kinds[plan->faults[i].kind].about
        );
    }
}
