/* group_bench: how fast the coordinator's state machine does operations on consumer groups on this
 * machine, on one core, without the service.
 *
 *     group_bench FOLDER [milliseconds per step, default 2000]
 *
 * Prints one JSON object. An operation is a GroupRead that commits what the last one leased and
 * leases again, six partitions each, of one of many groups; 1, 10 or 100 of them are a request, and
 * each request is a transaction with its sync, or 64 requests are ("grouped": what the coordinator
 * does under load). Bytes are what the process wrote, write-ahead log and checkpoints together.
 * "named": by named members, four in a group. "wide": one group of 1,000 partitions. "join": a
 * thousand members come to a group of 1,000 partitions, each with a new plan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/assert.h"
#include "common/clock.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/meta_db.h"
#include "services/coordinator/state_machine.h"
#include "services/shared/group_operations.h"

enum {
    GROUPS = 1000,
    MEMBERS = 4,
    PARTITIONS = 6,
    PARTITIONS_WIDE = 1000,
    BATCH_MAX = 100,
    GROUPED = 64,
    BODY_SIZE = 1024 * 1024,
    CURSORS_MAX = 8,
    STRIDE = 367, /* prime to the consumers: who comes next is nobody's neighbour */
};

/* Who reads: a consumer of a group, with what it was leased. */
struct consumer {
    char group[24];
    char member[24];
    uint32_t count;
    struct group_read_group_read_commit cursors[CURSORS_MAX];
};

struct bench {
    struct meta_db *db;
    struct state_machine *state;
    struct ria_arena arena;
    uint8_t *body;
    int64_t index;
    int64_t lease_ms;
    int64_t offset;
    struct ria_uuid narrow;
    struct ria_uuid wide;
    struct consumer *consumers;
    uint32_t consumers_count;
    uint32_t next;
    uint32_t stride;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static double cpu_us(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void must(ria_err err, const char *what)
{
    if (err != RIA_OK) {
        (void)fprintf(stderr, "group_bench: %s: %s\n", what, ria_err_text(err));
        exit(EXIT_FAILURE);
    }
}

/* Bytes that this process has handed to write calls. */
static int64_t bytes_written(void)
{
    long long bytes = 0;
    char line[128];
    FILE *file = fopen("/proc/self/io", "r");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "wchar: %lld", &bytes) == 1) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return bytes;
}

/* ---- commands ---- */

static void
apply(struct bench *b, int16_t kind, const void *body, struct command_result *out_result)
{
    const struct schema_message *message = state_command_schema(kind);
    struct ria_writer writer = ria_writer_of(b->body, BODY_SIZE);
    int32_t live[] = {1};
    uint8_t *bytes = NULL;
    size_t size = 0;

    message->encode(body, 0, &writer);
    const struct command command = {
        .kind = kind,
        .time_ms = 1,
        .sender_id = -1,
        .live_nodes = live,
        .live_nodes_count = 1,
        .lease_ms = b->lease_ms,
        .body = ria_slice_of(b->body, writer.pos),
    };
    must(state_encode_command(&command, &bytes, &size), "encode");
    state_apply(b->state, ++b->index, ria_slice_of(bytes, size), out_result);
    must(out_result->err, out_result->text);
    free(bytes);
}

static void apply_alone(struct bench *b, int16_t kind, const void *body)
{
    static struct command_result result;

    state_begin(b->state);
    apply(b, kind, body, &result);
    state_commit(b->state, b->index);
}

static struct ria_slice encode_read(struct bench *b, const struct group_read *read)
{
    size_t size = group_read_size(read, 0);
    uint8_t *bytes = ria_arena_alloc(&b->arena, size);

    RIA_ASSERT(bytes != NULL);
    struct ria_writer writer = ria_writer_of(bytes, size);
    group_read_encode(read, 0, &writer);
    return ria_slice_of(bytes, size);
}

static struct group_request_group_operation
operation_of(struct bench *b, struct consumer *consumer, bool wide)
{
    uint32_t count = wide ? PARTITIONS_WIDE : PARTITIONS;
    struct group_read_group_read_topic topic = {
        .topic_id = wide ? b->wide : b->narrow,
        .starts = ria_arena_alloc_array(&b->arena, count, sizeof(*topic.starts)),
        .ends = ria_arena_alloc_array(&b->arena, count, sizeof(*topic.ends)),
        .ends_count = count,
        .starts_count = consumer->count == 0 ? count : 0,
    };

    RIA_ASSERT(topic.starts != NULL && topic.ends != NULL);
    for (uint32_t i = 0; i < count; i++) {
        topic.starts[i].partition = (int32_t)i;
        topic.ends[i].partition = (int32_t)i;
        topic.ends[i].offset = b->offset + 1;
    }
    for (uint32_t i = 0; i < consumer->count; i++) {
        consumer->cursors[i].offset = b->offset;
    }
    const struct group_read read = {
        .group = ria_slice_cstr(consumer->group),
        .member = ria_slice_cstr(consumer->member),
        .member_epoch = -1,
        .session_ms = 45000,
        .lease_ms = 30000,
        .partitions_max = PARTITIONS,
        .commits = consumer->cursors,
        .commits_count = consumer->count,
        .topics = &topic,
        .topics_count = 1,
    };
    return (struct group_request_group_operation
    ){.kind = GROUP_OPERATION_READ, .body = encode_read(b, &read)};
}

static void
take_grants(struct bench *b, struct consumer *consumer, const struct group_response_group_result *r)
{
    struct group_read_result result;
    struct ria_reader reader = ria_reader_of(r->body);

    must((ria_err)r->error_code, "operation");
    must(group_read_result_decode(&result, 0, &reader, &b->arena), "result");
    RIA_ASSERT(result.lost_count == 0 && result.granted_count <= CURSORS_MAX);
    consumer->count = result.granted_count;
    for (uint32_t i = 0; i < result.granted_count; i++) {
        consumer->cursors[i] = (struct group_read_group_read_commit){
            .topic_id = result.granted[i].topic_id,
            .partition = result.granted[i].partition,
            .lease_id = result.granted[i].lease_id,
        };
    }
}

static struct consumer *consumer_at(struct bench *b, uint32_t turn)
{
    return &b->consumers[(uint64_t)turn * b->stride % b->consumers_count];
}

/* One request of batch operations, applied. */
static void request(struct bench *b, uint32_t batch, bool wide)
{
    static struct command_result result;
    struct group_request_group_operation operations[BATCH_MAX];
    uint32_t first = b->next;
    const struct group_request body = {.operations = operations, .operations_count = batch};

    ria_arena_reset(&b->arena);
    b->offset++;
    for (uint32_t i = 0; i < batch; i++) {
        operations[i] = operation_of(b, consumer_at(b, first + i), wide);
    }
    b->next = (first + batch) % b->consumers_count;
    apply(b, API_GROUP, &body, &result);
    for (uint32_t i = 0; i < batch; i++) {
        take_grants(b, consumer_at(b, first + i), &result.response.group.results[i]);
    }
}

/* ---- the steps ---- */

static void
measure(struct bench *b, const char *name, uint32_t batch, uint32_t requests, bool wide, int64_t ms)
{
    int64_t count = 0;
    int64_t bytes = bytes_written();
    double cpu = cpu_us();
    int64_t start_us = now_us();

    while (now_us() - start_us < ms * 1000) {
        state_begin(b->state);
        for (uint32_t i = 0; i < requests; i++) {
            request(b, batch, wide);
        }
        state_commit(b->state, b->index);
        count += (int64_t)batch * requests;
        b->lease_ms++;
    }
    double seconds = (double)(now_us() - start_us) / 1e6;
    (void)printf(
        "\"%s\": {\"per_s\": %.0f, \"cpu_us\": %.1f, \"bytes\": %.0f}",
        name,
        (double)count / seconds,
        (cpu_us() - cpu) / (double)count,
        (double)(bytes_written() - bytes) / (double)count
    );
}

static void set_consumers(struct bench *b, const char *prefix, uint32_t groups, uint32_t members)
{
    b->consumers_count = groups * (members > 0 ? members : 1);
    b->next = 0;
    b->stride = 1;
    free(b->consumers);
    b->consumers = calloc(b->consumers_count, sizeof(*b->consumers));
    RIA_ASSERT(b->consumers != NULL);
    for (uint32_t i = 0; i < b->consumers_count; i++) {
        struct consumer *consumer = &b->consumers[i];
        (void)snprintf(consumer->group, sizeof(consumer->group), "%s-%u", prefix, i % groups);
        if (members > 0) {
            (void)snprintf(consumer->member, sizeof(consumer->member), "m%u", i / groups);
        }
    }
    /* Everybody is there, and has something to commit. */
    uint32_t batch = groups == 1 ? 1 : 50;
    for (uint32_t i = 0; i < 2 * b->consumers_count; i += batch) {
        state_begin(b->state);
        request(b, batch, groups == 1);
        state_commit(b->state, b->index);
        b->lease_ms += members > 0 ? 1000 : 1;
    }
    b->stride = STRIDE;
}

/* A group of 1,000 partitions to which a thousand members come, one after the other. */
static void rebalance(struct bench *b)
{
    struct group_read_group_read_topic topic = {.topic_id = b->wide};
    struct group_request_group_operation operation = {.kind = GROUP_OPERATION_READ};
    const struct group_request body = {.operations = &operation, .operations_count = 1};
    char member[24];
    double slowest = 0;
    double sum = 0;
    int64_t bytes = bytes_written();

    for (int i = 0; i < PARTITIONS_WIDE; i++) {
        (void)snprintf(member, sizeof(member), "m%04d", i);
        const struct group_read read = {
            .group = RIA_SLICE_LITERAL("many"),
            .member = ria_slice_cstr(member),
            .member_epoch = -1,
            .session_ms = 3600 * 1000,
            .lease_ms = 30000,
            .partitions_max = 1,
            .topics = &topic,
            .topics_count = 1,
        };
        ria_arena_reset(&b->arena);
        operation.body = encode_read(b, &read);
        double start = cpu_us();
        apply_alone(b, API_GROUP, &body);
        double took = cpu_us() - start;
        sum += took;
        slowest = took > slowest ? took : slowest;
    }
    (void)printf(
        "\"join_1000\": {\"per_s\": %.0f, \"cpu_us\": %.1f, \"bytes\": %.0f, \"slowest_us\": %.0f}",
        PARTITIONS_WIDE * 1e6 / sum,
        sum / PARTITIONS_WIDE,
        (double)(bytes_written() - bytes) / PARTITIONS_WIDE,
        slowest
    );
}

static void run(struct bench *b, int64_t ms)
{
    static const uint32_t batches[] = {1, 10, 100};
    char name[64];

    set_consumers(b, "bench", GROUPS, 0);
    for (size_t i = 0; i < RIA_COUNT(batches); i++) {
        (void)snprintf(name, sizeof(name), "read_commit_%u", batches[i]);
        measure(b, name, batches[i], 1, false, ms);
        (void)printf(", ");
    }
    measure(b, "read_commit_1_grouped", 1, GROUPED, false, ms);
    (void)printf(", ");
    set_consumers(b, "named", GROUPS / MEMBERS, MEMBERS);
    measure(b, "named_100", 100, 1, false, ms);
    (void)printf(", ");
    set_consumers(b, "wide", 1, 0);
    measure(b, "wide_1", 1, 1, true, ms);
    (void)printf(", ");
    rebalance(b);
}

static struct ria_uuid uuid_of(uint8_t n)
{
    struct ria_uuid uuid = {{0}};

    uuid.bytes[15] = n;
    return uuid;
}

static void make_topic(struct bench *b, uint8_t id, const char *name, int32_t partitions)
{
    const struct create_topic_request topic = {
        .topic_id = uuid_of(id),
        .name = ria_slice_cstr(name),
        .partition_count = partitions,
        .replication_factor = 1,
    };

    apply_alone(b, API_CREATE_TOPIC, &topic);
}

int main(int argc, char **argv)
{
    struct bench b = {.lease_ms = 1000, .narrow = uuid_of(1), .wide = uuid_of(2)};
    long ms = argc > 2 ? strtol(argv[2], NULL, 10) : 2000;
    const struct ria_uuid cluster = uuid_of(9);
    const struct register_node_request node = {
        .process_uuid = uuid_of(3),
        .incarnation = 1,
        .address = RIA_SLICE_LITERAL("tcp://node:1"),
        .rack = RIA_SLICE_EMPTY,
    };
    char path[512];
    char reason[512];

    if (argc < 2 || ms <= 0) {
        (void)fprintf(stderr, "usage: group_bench FOLDER [milliseconds per step]\n");
        return 2;
    }
    (void)snprintf(path, sizeof(path), "%s/meta.db", argv[1]);
    must(meta_db_open(path, NULL, NULL, reason, sizeof(reason), &b.db), "open");
    state_found_cluster(b.db, &cluster);
    must(state_new(b.db, &b.state), "state");
    ria_arena_init(&b.arena, SIZE_MAX);
    b.body = malloc(BODY_SIZE);
    RIA_ASSERT(b.body != NULL);
    apply_alone(&b, API_REGISTER_NODE, &node);
    make_topic(&b, 1, "narrow", PARTITIONS);
    make_topic(&b, 2, "wide", PARTITIONS_WIDE);
    (void)printf("{");
    run(&b, ms);
    (void)printf("}\n");
    state_free(b.state);
    meta_db_close(b.db);
    ria_arena_fini(&b.arena);
    free(b.consumers);
    free(b.body);
    return 0;
}
