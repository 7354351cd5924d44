#include "tests/unit/services/coordinator/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/metadata_request.h"

#include "services/coordinator/apply_groups.h"
#include "services/shared/membership.h"

enum { FIXTURE_ARENA_SIZE_MAX = 512 * 1024 * 1024, INCARNATION = 100 };

struct ria_uuid fixture_uuid(uint32_t n)
{
    struct ria_uuid uuid = {{0}};

    for (int i = 0; i < 4; i++) {
        uuid.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    }
    return uuid;
}

struct register_node_request fixture_register(uint32_t node, int64_t incarnation)
{
    return (struct register_node_request){
        .process_uuid = fixture_uuid(node),
        .incarnation = incarnation,
        .address = RIA_SLICE_LITERAL("tcp://node:1"),
        .rack = RIA_SLICE_EMPTY,
    };
}

struct create_topic_request
fixture_topic(uint32_t id, const char *name, int32_t partitions, int16_t replicas)
{
    return (struct create_topic_request){
        .topic_id = fixture_uuid(id),
        .name = ria_slice_cstr(name),
        .partition_count = partitions,
        .replication_factor = replicas,
    };
}

struct create_transform_request fixture_transform(uint32_t id, const char *name, const char *source)
{
    return (struct create_transform_request){
        .transform_id = fixture_uuid(id),
        .output_topic_id = fixture_uuid(id + 1),
        .errors_topic_id = fixture_uuid(id + 2),
        .name = ria_slice_cstr(name),
        .sql = RIA_SLICE_LITERAL("CREATE STREAM x AS SELECT 1"),
        .source_topic = ria_slice_cstr(source),
        .from_beginning = true,
    };
}

/* ---- a state machine alone ---- */

void fixture_machine_open(struct fixture_machine *m)
{
    char reason[512];
    const struct ria_uuid cluster = fixture_uuid(0xc1);

    memset(m, 0, sizeof(*m));
    m->time_ms = 1000;
    m->sender_id = -1;
    ria_arena_init(&m->arena, FIXTURE_ARENA_SIZE_MAX);
    ria_err err = meta_db_open(":memory:", NULL, NULL, reason, sizeof(reason), &m->db);
    RIA_ASSERT(err == RIA_OK);
    state_found_cluster(m->db, &cluster);
    err = state_new(m->db, &m->state);
    RIA_ASSERT(err == RIA_OK);
}

void fixture_machine_close(struct fixture_machine *m)
{
    state_free(m->state);
    meta_db_close(m->db);
    ria_arena_fini(&m->arena);
}

ria_err fixture_apply(struct fixture_machine *m, int16_t kind, const void *body)
{
    const struct schema_message *message = state_command_schema(kind);
    uint32_t body_size = message->size(body, 0);
    uint8_t *encoded = malloc(body_size + 1);
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct command command = {
        .kind = kind,
        .time_ms = m->time_ms++,
        .lease_ms = m->lease_ms,
        .sender_id = m->sender_id,
        .default_partitions = 6,
        .default_replicas = (int16_t)ria_max_i64(1, ria_min_i64(3, m->live_count)),
        .live_nodes = m->live,
        .live_nodes_count = m->live_count,
        .body = ria_slice_of(encoded, body_size),
    };

    RIA_ASSERT(encoded != NULL);
    struct ria_writer writer = ria_writer_of(encoded, body_size);
    message->encode(body, 0, &writer);
    ria_err err = state_encode_command(&command, &bytes, &size);
    RIA_ASSERT(err == RIA_OK);
    state_begin(m->state);
    state_apply(m->state, ++m->index, ria_slice_of(bytes, size), &m->result);
    state_commit(m->state, m->index);
    free(bytes);
    free(encoded);
    return m->result.err;
}

struct group_request_group_operation
fixture_operation(struct ria_arena *arena, int8_t kind, const void *body)
{
    const struct schema_message *message = group_operation_record(kind);

    RIA_ASSERT(message != NULL);
    uint32_t size = message->size(body, 0);
    uint8_t *bytes = ria_arena_alloc(arena, size);
    RIA_ASSERT(bytes != NULL);
    struct ria_writer writer = ria_writer_of(bytes, size);
    message->encode(body, 0, &writer);
    return (struct group_request_group_operation){
        .kind = kind,
        .body = ria_slice_of(bytes, size),
    };
}

void fixture_operation_result(
    struct ria_arena *arena,
    int8_t kind,
    const struct group_response_group_result *result,
    void *out_result
)
{
    const struct schema_message *message = group_operation_result(kind);
    uint8_t *copy = ria_arena_alloc(arena, result->body.size);

    RIA_ASSERT(result->error_code == RIA_OK && copy != NULL);
    memcpy(copy, result->body.data, result->body.size);
    struct ria_reader reader = ria_reader_of(ria_slice_of(copy, result->body.size));
    ria_err err = message->decode(out_result, 0, &reader, arena);
    RIA_ASSERT(err == RIA_OK && ria_reader_left(&reader) == 0);
}

ria_err fixture_group(struct fixture_machine *m, int8_t kind, const void *body, void *out_result)
{
    struct group_request_group_operation operation = fixture_operation(&m->arena, kind, body);
    const struct group_request request = {.operations = &operation, .operations_count = 1};

    m->text[0] = '\0';
    ria_err err = fixture_apply(m, API_GROUP, &request);
    RIA_ASSERT(err == RIA_OK && m->result.response.group.results_count == 1);
    const struct group_response_group_result *result = m->result.response.group.results;
    if (result->error_code != RIA_OK) {
        (void)snprintf(m->text, sizeof(m->text), RIA_SLICE_FMT, RIA_SLICE_ARG(result->error_text));
    } else if (out_result != NULL) {
        fixture_operation_result(&m->arena, kind, result, out_result);
    }
    return (ria_err)result->error_code;
}

void fixture_nodes(struct fixture_machine *m, uint32_t count, const char *const *racks)
{
    RIA_ASSERT(count <= RIA_COUNT(m->live));
    for (uint32_t i = 0; i < count; i++) {
        struct register_node_request request = fixture_register(i + 1, INCARNATION);
        request.rack = ria_slice_cstr(racks == NULL ? "" : racks[i]);
        ria_err err = fixture_apply(m, API_REGISTER_NODE, &request);
        RIA_ASSERT(err == RIA_OK);
        m->live[i] = (int32_t)i + 1;
    }
    m->live_count = count;
}

int64_t fixture_number(struct fixture_machine *m, meta_sql sql)
{
    struct meta_stmt *stmt = meta_query(m->db, sql);
    int64_t value = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;

    meta_done(stmt);
    return value;
}

/* ---- the world ---- */

struct ria_rpc_request {
    struct ria_msg *msg;
    struct ria_msg *reply;
    bool dropped;
    int16_t api_key;
    ria_rpc_gone_fn gone;
    void *gone_arg;
};

struct fixture_request {
    struct ria_rpc_request rpc;
    struct fixture_request *next;
};

static const struct fixture *of_clock(const struct ria_clock *clock)
{
    return (const void *)((const char *)clock - offsetof(struct fixture, clock));
}

static int64_t clock_mono(const struct ria_clock *clock)
{
    return of_clock(clock)->mono_us;
}

static int64_t clock_wall(const struct ria_clock *clock)
{
    return of_clock(clock)->wall_ms;
}

static void rpc_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct fixture *f = RIA_CONTAINER(rpc, struct fixture, rpc);

    f->handler = handler;
    f->handler_arg = arg;
}

static struct ria_msg *rpc_request_msg(const struct ria_rpc_request *request)
{
    return request->msg;
}

static void rpc_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    (void)rpc;
    RIA_ASSERT(request->reply == NULL && !request->dropped);
    request->reply = msg;
}

static void rpc_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    (void)rpc;
    RIA_ASSERT(request->reply == NULL && !request->dropped);
    request->dropped = true;
}

static void
rpc_on_gone(struct ria_rpc *rpc, struct ria_rpc_request *request, ria_rpc_gone_fn fn, void *arg)
{
    (void)rpc;
    RIA_ASSERT(request->gone == NULL);
    request->gone = fn;
    request->gone_arg = arg;
}

void fixture_disconnect(struct fixture_request *request)
{
    struct ria_rpc_request *rpc = &request->rpc;

    if (rpc->gone != NULL && rpc->reply == NULL && !rpc->dropped) {
        rpc->gone(rpc->gone_arg);
    }
}

void fixture_open(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->clock = (struct ria_clock){.mono_us = clock_mono, .wall_ms = clock_wall};
    f->mono_us = 1000000;
    f->wall_ms = 1700000000000;
    ria_timers_init(&f->timers, &f->clock);
    ria_rand_init(&f->rand, 7);
    ria_err err = ria_fs_sim_new(&f->timers, &f->rand, &f->fs);
    RIA_ASSERT(err == RIA_OK);
    f->rpc_ops = (struct ria_rpc_ops){
        .set_handler = rpc_set_handler,
        .request_msg = rpc_request_msg,
        .reply = rpc_reply,
        .drop = rpc_drop,
        .on_gone = rpc_on_gone,
    };
    f->rpc.ops = &f->rpc_ops;
    f->env = (struct ria_env){
        .clock = &f->clock,
        .timers = &f->timers,
        .rpc = &f->rpc,
        .fs = f->fs,
        .rand = &f->rand,
    };
    f->options = (struct coordinator_options){
        .process = {.listen = "tcp://coordinator:1"},
        .data_dir = "/var/coordinator",
        .default_partitions = 6,
        .default_replicas = 3,
        .simulated_disk = true,
    };
    ria_arena_init(&f->arena, FIXTURE_ARENA_SIZE_MAX);
}

static void request_free(struct fixture_request *request)
{
    ria_msg_free(request->rpc.msg);
    ria_msg_free(request->rpc.reply);
    free(request);
}

void fixture_close(struct fixture *f)
{
    fixture_stop(f);
    while (f->unanswered != NULL) {
        struct fixture_request *request = f->unanswered;
        f->unanswered = request->next;
        request_free(request);
    }
    ria_fs_sim_free(f->fs);
    ria_timers_fini(&f->timers);
    ria_arena_fini(&f->arena);
}

ria_err fixture_start(struct fixture *f)
{
    RIA_ASSERT(f->coordinator == NULL);
    ria_err err = coordinator_new(&f->env, &f->options, f->reason, &f->coordinator);
    if (err == RIA_OK) {
        coordinator_start(f->coordinator);
    }
    return err;
}

void fixture_up(struct fixture *f)
{
    fixture_open(f);
    ria_err err = fixture_start(f);
    RIA_ASSERT(err == RIA_OK);
}

void fixture_stop(struct fixture *f)
{
    if (f->coordinator != NULL) {
        coordinator_stop(f->coordinator);
        coordinator_free(f->coordinator);
        f->coordinator = NULL;
    }
}

void fixture_crash(struct fixture *f, bool lose_unsynced)
{
    ria_fs_sim_crash(f->fs, lose_unsynced);
    coordinator_free(f->coordinator);
    f->coordinator = NULL;
}

void fixture_advance(struct fixture *f, int64_t ms)
{
    int64_t end_us = f->mono_us + ms * 1000;

    while (ria_timers_next_us(&f->timers) <= end_us) {
        f->mono_us = ria_max_i64(f->mono_us, ria_timers_next_us(&f->timers));
        (void)ria_timers_run(&f->timers);
    }
    f->mono_us = end_us;
    f->wall_ms += ms;
}

struct fixture_request *fixture_send_frame(struct fixture *f, struct ria_msg *frame)
{
    struct fixture_request *request = calloc(1, sizeof(*request));

    RIA_ASSERT(request != NULL && frame != NULL && f->coordinator != NULL);
    request->rpc.msg = frame;
    request->next = f->unanswered;
    f->unanswered = request;
    f->handler(f->handler_arg, &request->rpc);
    return request;
}

struct fixture_request *fixture_send(struct fixture *f, int16_t api_key, const void *body)
{
    struct ria_msg *frame = envelope_request(api_key, 0, -1, 1000, body, 0, NULL);

    RIA_ASSERT(frame != NULL);
    struct fixture_request *request = fixture_send_frame(f, frame);
    request->rpc.api_key = api_key;
    return request;
}

bool fixture_is_answered(const struct fixture_request *request)
{
    return request->rpc.reply != NULL;
}

bool fixture_is_dropped(const struct fixture_request *request)
{
    return request->rpc.dropped;
}

ria_err fixture_error_code(const struct fixture_request *request)
{
    struct response_header header;
    const struct ria_msg *reply = request->rpc.reply;
    struct ria_reader reader =
        ria_reader_of(ria_slice_of(ria_msg_data(reply), ria_msg_size(reply)));

    ria_err err = response_header_decode(&header, 0, &reader, NULL);
    RIA_ASSERT(err == RIA_OK);
    return (ria_err)header.error_code;
}

static ria_err decode(struct fixture *f, const struct ria_rpc_request *rpc, void *out_response)
{
    struct response_header header = {0};
    struct ria_slice body = RIA_SLICE_NULL;
    struct ria_slice payload = RIA_SLICE_NULL;

    RIA_TRY(envelope_open_reply(
        rpc->reply, rpc->api_key, &header, &body, &payload, f->text, sizeof(f->text)
    ));
    if (out_response == NULL) {
        return RIA_OK;
    }
    /* Slices of the response outlive the frame: decode a copy. */
    uint8_t *copy = ria_arena_alloc(&f->arena, body.size + 1);
    RIA_ASSERT(copy != NULL);
    memcpy(copy, body.data, body.size);
    return envelope_decode_body(
        schema_response(rpc->api_key), 0, ria_slice_of(copy, body.size), &f->arena, out_response
    );
}

ria_err fixture_answer(struct fixture *f, struct fixture_request *request, void *out_response)
{
    struct fixture_request **link = &f->unanswered;

    while (*link != request) {
        RIA_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = request->next;
    f->text[0] = '\0';
    ria_arena_reset(&f->arena);
    ria_err err = RIA_ERR_TIMEOUT;
    if (request->rpc.reply != NULL) {
        err = decode(f, &request->rpc, out_response);
    }
    request_free(request);
    return err;
}

ria_err fixture_call(struct fixture *f, int16_t api_key, const void *body, void *out_response)
{
    struct fixture_request *request = fixture_send(f, api_key, body);

    fixture_advance(f, 0);
    RIA_ASSERT(fixture_is_answered(request)); /* nothing may hold it: see fixture_send() */
    return fixture_answer(f, request, out_response);
}

ria_err fixture_group_call(struct fixture *f, int8_t kind, const void *body, void *out_result)
{
    struct ria_arena arena;
    struct group_response response;

    ria_arena_init(&arena, FIXTURE_ARENA_SIZE_MAX);
    struct group_request_group_operation operation = fixture_operation(&arena, kind, body);
    const struct group_request request = {.operations = &operation, .operations_count = 1};
    ria_err err = fixture_call(f, API_GROUP, &request, &response);
    ria_arena_fini(&arena);
    if (err != RIA_OK) {
        return err;
    }
    RIA_ASSERT(response.results_count == 1);
    const struct group_response_group_result *result = &response.results[0];
    (void)snprintf(f->text, sizeof(f->text), RIA_SLICE_FMT, RIA_SLICE_ARG(result->error_text));
    if (result->error_code == RIA_OK && out_result != NULL) {
        fixture_operation_result(&f->arena, kind, result, out_result);
    }
    return (ria_err)result->error_code;
}

ria_err fixture_heartbeat(struct fixture *f, uint32_t uuid, int role, void *out_response)
{
    struct heartbeat_request request = {
        .process_uuid = fixture_uuid(uuid),
        .incarnation = INCARNATION,
        .role = (int8_t)role,
        .node_id = role == PROCESS_STORAGE ? (int32_t)uuid : -1,
        .address = RIA_SLICE_LITERAL("tcp://process:1"),
    };

    return fixture_call(f, API_HEARTBEAT, &request, out_response);
}

void fixture_register_nodes(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct register_node_request request = fixture_register(i + 1, INCARNATION);
        ria_err err = fixture_call(f, API_REGISTER_NODE, &request, NULL);
        RIA_ASSERT(err == RIA_OK);
    }
}

ria_err fixture_create_topic(struct fixture *f, uint32_t id, const char *name)
{
    const struct create_topic_request request = fixture_topic(id, name, 4, 1);

    return fixture_call(f, API_CREATE_TOPIC, &request, NULL);
}

ria_err fixture_metadata(struct fixture *f, int64_t known, struct metadata_response *out)
{
    struct metadata_request request = {.known_version = known};

    return fixture_call(f, API_METADATA, &request, out);
}
