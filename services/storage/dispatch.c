/* Requests of other processes: to the handler of their api, and from it an answer (handle.h). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "services/storage/handle.h"

struct handler {
    int16_t api_key;
    bool while_stopping; /* replication goes on until the last produce is acknowledged */
    void (*run)(const struct handle_request *r);
};

static const struct handler handlers[] = {
    {API_PRODUCE, false, handle_produce},
    {API_FETCH, false, handle_fetch},
    {API_LIST_OFFSETS, false, handle_list_offsets},
    {API_WATCH, false, handle_watch},
    {API_DESCRIBE_PRODUCER, false, handle_describe_producer},
    {API_DESCRIBE_LOGS, false, handle_describe_logs},
    {API_REPLICA_FETCH, true, handle_replica_fetch},
    {API_REPLICA_APPEND, true, handle_replica_append},
    {API_REPLICA_REPORT, true, handle_replica_report},
    {API_REPLICA_EPOCHS, true, handle_replica_epochs},
    {API_REPLICA_PREPARE, true, handle_replica_prepare},
    {API_RANGE_FETCH, true, handle_range_fetch},
};

static const struct handler *find_handler(int16_t api_key)
{
    for (size_t i = 0; i < RIA_COUNT(handlers); i++) {
        if (handlers[i].api_key == api_key) {
            return &handlers[i];
        }
    }
    return NULL;
}

void storage_handle(const struct handle_request *r)
{
    const struct storage *s = r->storage;
    const struct handler *handler = find_handler(r->header.api_key);

    if (handler == NULL) {
        handle_reply_error(
            r,
            RIA_ERR_UNKNOWN_TYPE,
            "storage does not answer requests of type %d (%s)",
            r->header.api_key,
            api_name(r->header.api_key)
        );
        return;
    }
    if (s->stopped || (s->stopping && !handler->while_stopping)) {
        /* NOT_LEADER is definite, and makes a gateway look for the leader elsewhere. */
        handle_reply_error(
            r,
            handler->while_stopping ? RIA_ERR_SHUTDOWN : RIA_ERR_NOT_LEADER,
            "this storage node is shutting down"
        );
        return;
    }
    handler->run(r);
}

void storage_on_request(void *arg, struct ria_rpc_request *request)
{
    struct storage *s = arg;
    struct handle_request r = {.storage = s, .request = request};

    s->metrics.requests.value++;
    ria_err err = envelope_open_request(
        ria_rpc_request_msg(s->env->rpc, request), &r.header, &r.body, &r.payload
    );
    if (err == RIA_ERR_MALFORMED) {
        s->metrics.requests_malformed.value++;
        ria_rpc_drop(s->env->rpc, request);
        return;
    }
    if (err == RIA_ERR_UNKNOWN_VERSION) {
        handle_reply_error(
            &r, err, "version %d of this request is not known here", r.header.api_version
        );
        return;
    }
    ria_arena_reset(&s->arena);
    storage_handle(&r);
}

bool handle_decode(const struct handle_request *r, void *out)
{
    const struct schema_message *message = schema_request(r->header.api_key);

    ria_err err =
        envelope_decode_body(message, r->header.api_version, r->body, &r->storage->arena, out);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "the body of %s cannot be decoded", message->name);
        return false;
    }
    return true;
}

struct handle_request handle_parked(struct storage *s, const struct parked *parked, parked_end end)
{
    /* If it was replaced the newer request is still using the arena. */
    return handle_resumed(s, parked->request, end != PARKED_REPLACED);
}

struct handle_request
handle_resumed(struct storage *s, struct ria_rpc_request *request, bool new_turn)
{
    struct handle_request r = {.storage = s, .request = request};

    if (new_turn) {
        ria_arena_reset(&s->arena);
    }
    ria_err err = envelope_open_request(
        ria_rpc_request_msg(s->env->rpc, request), &r.header, &r.body, &r.payload
    );
    RIA_ASSERT(err == RIA_OK); /* it was opened before */
    return r;
}

void handle_reply_msg(const struct handle_request *r, struct ria_msg *msg)
{
    if (msg == NULL || r->storage->freeing) {
        ria_msg_free(msg);
        ria_rpc_drop(r->storage->env->rpc, r->request);
        return;
    }
    ria_rpc_reply(r->storage->env->rpc, r->request, msg);
}

void handle_reply(const struct handle_request *r, const void *response)
{
    handle_reply_msg(r, envelope_reply(&r->header, response, 0, NULL));
}

void handle_reply_error(const struct handle_request *r, ria_err err, const char *fmt, ...)
{
    char text[RIA_ERROR_TEXT_MAX + 1];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    handle_reply_msg(r, envelope_reply_error(&r->header, err, "%s", text));
}

struct replica *handle_find_leader(
    const struct storage *s, const struct partition_id *id, int32_t leader_epoch, ria_err *out_err
)
{
    struct replica *replica = storage_find_open(s, id, out_err);

    if (replica == NULL) {
        return NULL;
    }
    *out_err = partition_check_leader(&replica->partition, leader_epoch);
    return *out_err == RIA_OK ? replica : NULL;
}

struct replica *handle_leader(
    const struct handle_request *r,
    const struct ria_uuid *topic_id,
    int32_t number,
    int32_t leader_epoch
)
{
    struct partition_id id = partition_id_of(topic_id, number);
    ria_err err = RIA_OK;
    struct replica *replica = handle_find_leader(r->storage, &id, leader_epoch, &err);

    if (replica == NULL) {
        char text[RIA_UUID_TEXT_SIZE];
        ria_uuid_format(*topic_id, text);
        handle_reply_error(r, err, "partition %s-%d: %s", text, number, ria_err_text(err));
    }
    return replica;
}

uint32_t handle_wait_ms(const struct request_header *header, int32_t wait_ms)
{
    int64_t wait = ria_min_i64(ria_max_i64(wait_ms, 0), PARKED_MS_MAX);

    if (header->deadline_ms > 0) {
        wait = ria_min_i64(wait, header->deadline_ms);
    }
    return (uint32_t)wait;
}

void *handle_alloc(const struct handle_request *r, size_t count, size_t item_size)
{
    void *memory = ria_arena_alloc_array(&r->storage->arena, count, item_size);

    if (memory == NULL) {
        handle_reply_error(
            r, ria_arena_err(&r->storage->arena), "no room to answer for that many partitions"
        );
    }
    return memory;
}
