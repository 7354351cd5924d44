/* queue_bench: how fast queue operations are in the coordinator's state machine on this machine, on
 * one core, without network and consensus: GroupRequests of many operations, one transaction and
 * one sync each, as gateways send them under load.
 *
 *     queue_bench FOLDER [milliseconds for each, default 2000]
 *
 * Prints one JSON object. For records received and acknowledged one by one and by 100, without and
 * with order per key: records per second, microseconds of processor time per record, and bytes
 * written per record. Every partition has a record at the position that is never acknowledged, so
 * that finished ranges stay and have to be joined.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/assert.h"
#include "common/clock.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/group_request.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/state_machine.h"
#include "services/shared/group_operations.h"

enum {
    PARTITIONS = 8,
    OPERATIONS = 64, /* in a request: so many consumers */
    RECORDS_MAX = 100,
    KEYS = 1000000,
    LOOK_AHEAD = 200,
    ARENA_SIZE_MAX = 64 * 1024 * 1024,
};

/* What a consumer has. */
struct consumer {
    struct queue_ack_queue_ack_entry entries[RECORDS_MAX + LOOK_AHEAD];
    uint32_t count;
};

struct bench {
    struct meta_db *db;
    struct state_machine *state;
    int64_t index;
    int64_t lease_ms;
    struct ria_arena request; /* bodies of the operations */
    struct ria_arena answer;  /* what they were answered */
    struct ria_uuid topic_id;
    char group[32];
    bool key_order;
    int32_t records_max;
    int64_t operations;
    int64_t records;
    int64_t read_id; /* of the next receive, as a gateway counts them */
    struct queue_receive_result received[OPERATIONS];
    struct consumer consumers[OPERATIONS];
};

static void must(ria_err err, const char *what)
{
    if (err != RIA_OK) {
        (void)fprintf(stderr, "queue_bench: %s: %s\n", what, ria_err_text(err));
        exit(EXIT_FAILURE);
    }
}

static double seconds(void)
{
    return (double)ria_clock_mono_us(ria_clock_system()) / 1e6;
}

static double cpu_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* By write calls of this process. */
static int64_t bytes_written(void)
{
    char line[128];
    int64_t bytes = 0;
    FILE *io = fopen("/proc/self/io", "r");

    while (io != NULL && fgets(line, sizeof(line), io) != NULL) {
        if (strncmp(line, "wchar: ", 7) == 0) {
            bytes = strtoll(line + 7, NULL, 10);
        }
    }
    if (io != NULL) {
        (void)fclose(io);
    }
    return bytes;
}

/* ---- commands ---- */

static struct ria_slice
encode(struct ria_arena *arena, const struct schema_message *message, const void *body)
{
    uint32_t size = message->size(body, 0);
    uint8_t *bytes = ria_arena_alloc(arena, size);

    RIA_ASSERT(bytes != NULL);
    struct ria_writer writer = ria_writer_of(bytes, size);
    message->encode(body, 0, &writer);
    return ria_slice_of(bytes, size);
}

/* One transaction. */
static void apply(struct bench *b, int16_t kind, const void *body, struct command_result *result)
{
    static const int32_t live[] = {1};
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct ria_slice encoded = encode(&b->request, state_command_schema(kind), body);
    const struct command command = {
        .kind = kind,
        .time_ms = b->lease_ms,
        .lease_ms = b->lease_ms,
        .sender_id = -1,
        .default_partitions = PARTITIONS,
        .default_replicas = 1,
        .live_nodes = (int32_t[]){live[0]},
        .live_nodes_count = 1,
        .body = encoded,
    };

    must(state_encode_command(&command, &bytes, &size), "encode");
    state_begin(b->state);
    state_apply(b->state, ++b->index, ria_slice_of(bytes, size), result);
    state_commit(b->state, b->index);
    free(bytes);
    must(result->err, result->text);
}

static void group_request(
    struct bench *b,
    struct group_request_group_operation *operations,
    uint32_t count,
    struct command_result *result
)
{
    const struct group_request request = {.operations = operations, .operations_count = count};

    apply(b, API_GROUP, &request, result);
    for (uint32_t i = 0; i < count; i++) {
        must((ria_err)result->response.group.results[i].error_code, "operation");
    }
    b->operations += count;
    b->lease_ms++;
    ria_arena_reset(&b->request);
}

static struct group_request_group_operation
operation(struct bench *b, group_operation kind, const char *record, const void *body)
{
    return (struct group_request_group_operation
    ){.kind = (int8_t)kind, .body = encode(&b->request, schema_find(record), body)};
}

/* ---- a round: everybody receives, settles and acknowledges ---- */

/* What follows what it has is one entry with it. The first record of a partition is kept. */
static void
hand_out(struct consumer *c, int32_t partition, int64_t lease_id, int64_t first, int64_t last)
{
    struct queue_ack_queue_ack_entry *before = c->count > 0 ? &c->entries[c->count - 1] : NULL;

    first = first == 0 ? 1 : first;
    if (first > last) {
        return;
    }
    if (before != NULL && before->partition == partition && before->lease_id == lease_id &&
        before->last + 1 == first) {
        before->last = last;
        return;
    }
    c->entries[c->count++] = (struct queue_ack_queue_ack_entry){
        .partition = partition,
        .lease_id = lease_id,
        .first = first,
        .last = last,
        .action = 1,
        .delay_ms = -1,
    };
}

static void receive_all(struct bench *b)
{
    struct group_request_group_operation operations[OPERATIONS];
    struct command_result result;
    struct queue_receive_queue_start starts[PARTITIONS];
    struct queue_receive_queue_end ends[PARTITIONS];
    struct queue_receive request = {
        .group = ria_slice_cstr(b->group),
        .topic_id = b->topic_id,
        .consumer = RIA_SLICE_LITERAL("worker"),
        .lock_ms = -1,
        .records_max = b->records_max,
        .look_ahead = b->key_order ? LOOK_AHEAD : 0,
        .starts = starts,
        .starts_count = PARTITIONS,
        .ends = ends,
        .ends_count = PARTITIONS,
    };

    for (int32_t i = 0; i < PARTITIONS; i++) {
        starts[i] = (struct queue_receive_queue_start){.partition = i};
        ends[i] = (struct queue_receive_queue_end){.partition = i, .offset = INT64_MAX / 2};
    }
    request.heard_below = b->read_id;
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        request.read_id = b->read_id++;
        operations[i] = operation(b, GROUP_OPERATION_QUEUE_RECEIVE, "QueueReceive", &request);
    }
    group_request(b, operations, OPERATIONS, &result);
    ria_arena_reset(&b->answer);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        struct ria_reader reader = ria_reader_of(result.response.group.results[i].body);
        struct queue_receive_result *received = &b->received[i];
        must(queue_receive_result_decode(received, 0, &reader, &b->answer), "decode");
        b->consumers[i].count = 0;
        for (uint32_t k = 0; k < received->granted_count; k++) {
            const struct queue_receive_result_queue_grant *grant = &received->granted[k];
            if (!grant->unsettled) {
                hand_out(
                    &b->consumers[i], grant->partition, grant->lease_id, grant->first, grant->last
                );
            }
        }
    }
}

/* The keys of a consumer's unsettled ranges. The first so many of the records it wants. */
static uint32_t settle_entries(
    struct bench *b,
    const struct queue_receive_result *received,
    struct queue_settle_queue_settle_entry *entries
)
{
    uint32_t count = 0;
    int64_t wanted = b->records_max;

    for (uint32_t i = 0; i < received->granted_count; i++) {
        const struct queue_receive_result_queue_grant *grant = &received->granted[i];
        for (int64_t k = grant->first; k <= grant->last && grant->unsettled; k++) {
            entries[count++] = (struct queue_settle_queue_settle_entry){
                .partition = grant->partition,
                .lease_id = grant->lease_id,
                .offset = k,
                .has_key = true,
                .key = k * 2654435761 % KEYS,
                .leave = wanted <= 0,
            };
            wanted--;
        }
        wanted -= grant->unsettled ? 0 : grant->last - grant->first + 1;
    }
    return count;
}

static void take_settled(
    struct bench *b,
    struct consumer *consumer,
    struct ria_slice body,
    const struct queue_settle_queue_settle_entry *entries
)
{
    struct queue_settle_result settled;
    struct ria_reader reader = ria_reader_of(body);

    must(queue_settle_result_decode(&settled, 0, &reader, &b->answer), "decode");
    for (uint32_t i = 0; i < settled.entries_count; i++) {
        const struct queue_settle_queue_settle_entry *entry = &entries[i];
        if (settled.entries[i].hand_out) {
            hand_out(consumer, entry->partition, entry->lease_id, entry->offset, entry->offset);
        }
    }
}

static void settle_all(struct bench *b)
{
    static struct queue_settle_queue_settle_entry entries[OPERATIONS][RECORDS_MAX + LOOK_AHEAD];
    struct group_request_group_operation operations[OPERATIONS];
    struct consumer *consumers[OPERATIONS];
    struct command_result result;
    uint32_t count = 0;

    for (uint32_t i = 0; i < OPERATIONS; i++) {
        struct queue_settle request = {
            .group = ria_slice_cstr(b->group), .topic_id = b->topic_id, .entries = entries[count]};
        request.entries_count = settle_entries(b, &b->received[i], entries[count]);
        if (request.entries_count > 0) {
            consumers[count] = &b->consumers[i];
            operations[count++] =
                operation(b, GROUP_OPERATION_QUEUE_SETTLE, "QueueSettle", &request);
        }
    }
    if (count == 0) {
        return;
    }
    group_request(b, operations, count, &result);
    for (uint32_t i = 0; i < count; i++) {
        take_settled(b, consumers[i], result.response.group.results[i].body, entries[i]);
    }
}

static void ack_all(struct bench *b)
{
    struct group_request_group_operation operations[OPERATIONS];
    struct command_result result;
    uint32_t count = 0;

    for (uint32_t i = 0; i < OPERATIONS; i++) {
        struct consumer *consumer = &b->consumers[i];
        const struct queue_ack request = {
            .group = ria_slice_cstr(b->group),
            .topic_id = b->topic_id,
            .entries = consumer->entries,
            .entries_count = consumer->count,
        };
        for (uint32_t k = 0; k < consumer->count; k++) {
            b->records += consumer->entries[k].last - consumer->entries[k].first + 1;
        }
        if (consumer->count > 0) {
            operations[count++] = operation(b, GROUP_OPERATION_QUEUE_ACK, "QueueAck", &request);
        }
    }
    if (count > 0) {
        group_request(b, operations, count, &result);
    }
}

/* ---- the whole ---- */

static void set_up(struct bench *b, const char *folder)
{
    char path[512];
    char reason[512] = "";
    struct command_result result;
    const struct ria_uuid cluster = {.bytes = {1}};
    const struct register_node_request node = {
        .process_uuid = {.bytes = {2}},
        .incarnation = 1,
        .address = RIA_SLICE_LITERAL("tcp://node:1"),
        .rack = RIA_SLICE_EMPTY,
    };

    (void)snprintf(path, sizeof(path), "%s/queue_bench.db", folder);
    must(meta_db_open(path, NULL, NULL, reason, sizeof(reason), &b->db), reason);
    state_found_cluster(b->db, &cluster);
    must(state_new(b->db, &b->state), "state");
    ria_arena_init(&b->request, ARENA_SIZE_MAX);
    ria_arena_init(&b->answer, ARENA_SIZE_MAX);
    apply(b, API_REGISTER_NODE, &node, &result);
}

static void run(struct bench *b, bool key_order, int32_t records_max, double duration, bool last)
{
    char name[32];
    struct command_result result;

    b->key_order = key_order;
    b->records_max = records_max;
    (void)snprintf(name, sizeof(name), "topic-%d-%d", key_order, (int)records_max);
    (void)snprintf(b->group, sizeof(b->group), "group-%d-%d", key_order, (int)records_max);
    b->topic_id = (struct ria_uuid){.bytes = {3, key_order ? 1 : 0, (uint8_t)records_max}};
    const struct create_topic_request topic = {
        .topic_id = b->topic_id,
        .name = ria_slice_cstr(name),
        .partition_count = PARTITIONS,
        .replication_factor = 1,
    };
    struct queue_open settings;
    queue_open_init(&settings);
    settings.group = ria_slice_cstr(b->group);
    settings.key_order = key_order ? 1 : 0;
    apply(b, API_CREATE_TOPIC, &topic, &result);
    struct group_request_group_operation open =
        operation(b, GROUP_OPERATION_QUEUE_OPEN, "QueueOpen", &settings);
    group_request(b, &open, 1, &result);

    int64_t bytes = bytes_written();
    double cpu = cpu_seconds();
    double start = seconds();
    b->operations = 0;
    b->records = 0;
    while (seconds() < start + duration) {
        receive_all(b);
        settle_all(b);
        ack_all(b);
    }
    double took = seconds() - start;
    (void)printf(
        "  \"%s_by_%d\": {\"per_s\": %.0f, \"operations_s\": %.0f, \"cpu_us\": %.2f,"
        " \"bytes\": %.0f}%s\n",
        key_order ? "by_key" : "unordered",
        (int)records_max,
        (double)b->records / took,
        (double)b->operations / took,
        (cpu_seconds() - cpu) * 1e6 / (double)b->records,
        (double)(bytes_written() - bytes) / (double)b->records,
        last ? "" : ","
    );
}

int main(int argc, char **argv)
{
    static struct bench b = {.lease_ms = 1000, .read_id = (1 << 24) + 1};
    double duration = argc > 2 ? strtod(argv[2], NULL) / 1000 : 2;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: queue_bench FOLDER [milliseconds for each]\n");
        return EXIT_FAILURE;
    }
    set_up(&b, argv[1]);
    (void)printf("{\n");
    run(&b, false, 1, duration, false);
    run(&b, false, 100, duration, false);
    run(&b, true, 1, duration, false);
    run(&b, true, 100, duration, true);
    (void)printf("}\n");
    state_free(b.state);
    meta_db_close(b.db);
    ria_arena_fini(&b.request);
    ria_arena_fini(&b.answer);
    return EXIT_SUCCESS;
}
