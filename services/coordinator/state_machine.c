#include "services/coordinator/state_machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/assert.h"
#include "common/codec.h"

#include "schemas/gen/messages.h"

#include "services/coordinator/apply.h"
#include "services/shared/topic_config.h"

enum {
    COMMAND_RECORD_VERSION = 0,
    STATE_ARENA_SIZE_MAX = 64 * 1024 * 1024,
    STATE_KEPT_SIZE_MAX = 256 * 1024 * 1024,
};

struct state_machine {
    struct meta_db *db;
    struct ria_arena arena;   /* a command's */
    struct ria_arena scratch; /* an operation's of a GroupRequest */
    struct ria_arena kept;    /* a group's: what its replies are made of */
    struct rows woken;        /* struct state_woken, in kept */
    int64_t index;            /* last applied; -1 until the first state_begin() */
};

struct command_kind {
    int16_t kind;
    ria_err (*apply)(struct apply *apply, const void *body);
    const char *record; /* of a kind that is no request */
};

static const struct command_kind kinds[] = {
    {API_REGISTER_NODE, apply_register_node, NULL},
    {API_ALTER_ISR, apply_alter_isr, NULL},
    {API_CREATE_TOPIC, apply_create_topic, NULL},
    {API_ALTER_TOPIC, apply_alter_topic, NULL},
    {API_DELETE_TOPIC, apply_delete_topic, NULL},
    {API_ALLOCATE_PRODUCER_IDS, apply_allocate_producer_ids, NULL},
    {API_CREATE_TRANSFORM, apply_create_transform, NULL},
    {API_DELETE_TRANSFORM, apply_delete_transform, NULL},
    {API_COMMIT_TASK, apply_commit_task, NULL},
    {API_SHUTDOWN_NODE, apply_shutdown_node, NULL},
    {API_REPORT_REPLICAS, apply_report_replicas, NULL},
    {API_ELECT_LEADER, apply_elect_leader, NULL},
    {API_REASSIGN_PARTITIONS, apply_reassign_partitions, NULL},
    {API_ALTER_NODE, apply_alter_node, NULL},
    {API_ALTER_REBALANCE, apply_alter_rebalance, NULL},
    {API_GROUP, apply_group, NULL},
    {COMMAND_ASSIGN_TASKS, apply_assign_tasks, "AssignTasks"},
    {COMMAND_FENCE_NODES, apply_fence_nodes, "FenceNodes"},
    {COMMAND_ELECT_LEADERS, apply_elect_leaders, "ElectLeaders"},
    {COMMAND_SWEEP_RANGES, apply_sweep_ranges, "SweepRanges"},
};

static const struct command_kind *kind_find(int16_t kind)
{
    for (size_t i = 0; i < RIA_COUNT(kinds); i++) {
        if (kinds[i].kind == kind) {
            return &kinds[i];
        }
    }
    return NULL;
}

bool state_is_command(int16_t api_key)
{
    return api_key < COMMAND_ASSIGN_TASKS && kind_find(api_key) != NULL;
}

const struct schema_message *state_command_schema(int16_t kind)
{
    const struct command_kind *found = kind_find(kind);

    RIA_ASSERT(found != NULL);
    return found->record != NULL ? schema_find(found->record) : schema_request(kind);
}

/* ---- life ---- */

ria_err state_new(struct meta_db *db, struct state_machine **out_state)
{
    struct state_machine *state = calloc(1, sizeof(*state));

    if (state == NULL) {
        return RIA_ERR_NOMEM;
    }
    state->db = db;
    state->index = -1;
    ria_arena_init(&state->arena, STATE_ARENA_SIZE_MAX);
    ria_arena_init(&state->scratch, STATE_ARENA_SIZE_MAX);
    ria_arena_init(&state->kept, STATE_KEPT_SIZE_MAX);
    state->woken = rows_of(&state->kept, sizeof(struct state_woken));
    *out_state = state;
    return RIA_OK;
}

void state_free(struct state_machine *state)
{
    if (state != NULL) {
        ria_arena_fini(&state->arena);
        ria_arena_fini(&state->scratch);
        ria_arena_fini(&state->kept);
        free(state);
    }
}

bool state_summary(struct meta_db *db, struct state_summary *out_summary)
{
    struct meta_stmt *stmt = meta_query(db, META_CLUSTER_GET);
    bool found = meta_step(stmt);

    if (found) {
        *out_summary = (struct state_summary){
            .cluster_id = meta_column_uuid(stmt, 0),
            .applied_index = meta_column_int(stmt, 1),
            .version = meta_column_int(stmt, 3),
            .lease_ms = meta_column_int(stmt, 6),
        };
    }
    meta_done(stmt);
    return found;
}

void state_found_cluster(struct meta_db *db, const struct ria_uuid *cluster_id)
{
    meta_begin(db);
    struct meta_stmt *stmt = meta_query(db, META_CLUSTER_INIT);
    meta_bind_uuid(stmt, 1, cluster_id);
    ria_err err = meta_run(stmt);
    RIA_ASSERT(err == RIA_OK);
    meta_commit(db);
}

/* ---- helpers of the commands ---- */

int64_t apply_version(struct apply *apply)
{
    if (!apply->result->changed) {
        apply->result->changed = true;
        apply->version++;
    }
    return apply->version;
}

ria_err apply_fail(struct apply *apply, ria_err err, const char *fmt, ...)
{
    va_list args;

    RIA_ASSERT(err != RIA_OK);
    va_start(args, fmt);
    (void)vsnprintf(apply->result->text, sizeof(apply->result->text), fmt, args);
    va_end(args);
    return err;
}

ria_err
apply_check_range(struct apply *apply, const char *field, int64_t value, int64_t min, int64_t max)
{
    if (value >= min && value <= max) {
        return RIA_OK;
    }
    return apply_fail(
        apply,
        RIA_ERR_INVALID,
        "%s is %" PRId64 ", must be %" PRId64 "..%" PRId64,
        field,
        value,
        min,
        max
    );
}

ria_err apply_check_id(struct apply *apply, const char *field, const struct ria_uuid *id)
{
    if (ria_uuid_is_zero(*id)) {
        return apply_fail(apply, RIA_ERR_INVALID, "%s must not be all zeros", field);
    }
    return RIA_OK;
}

ria_err apply_check_name(struct apply *apply, struct ria_slice name)
{
    char reason[512];

    ria_err err = topic_name_check(name, reason, sizeof(reason));
    return err == RIA_OK ? RIA_OK : apply_fail(apply, err, "%s", reason);
}

ria_err apply_wake_group(struct apply *apply, struct ria_slice name, int64_t changed)
{
    struct state_woken *woken = rows_add(apply->woken);

    if (woken == NULL || !rows_copy_text(apply->kept, name, &woken->name)) {
        return ria_arena_err(apply->kept);
    }
    woken->changed = changed;
    return RIA_OK;
}

/* ---- apply ---- */

static void load_counters(struct apply *apply)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_CLUSTER_GET);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    apply->cluster_id = meta_column_uuid(stmt, 0);
    apply->version = meta_column_int(stmt, 3);
    apply->next_node_id = meta_column_int(stmt, 4);
    apply->next_producer_id = meta_column_int(stmt, 5);
    meta_done(stmt);
}

static ria_err store_counters(struct apply *apply)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_CLUSTER_COUNTERS);

    meta_bind_int(stmt, 1, apply->version);
    meta_bind_int(stmt, 2, apply->next_node_id);
    meta_bind_int(stmt, 3, apply->next_producer_id);
    return meta_run(stmt);
}

static ria_err decode_body(struct apply *apply, void **out_body)
{
    const struct command *command = apply->command;
    const struct schema_message *message = state_command_schema(command->kind);
    struct ria_reader reader = ria_reader_of(command->body);

    RIA_ASSERT(message != NULL);
    void *body = ria_arena_alloc(apply->arena, message->struct_size);
    if (body == NULL) {
        return ria_arena_err(apply->arena);
    }
    ria_err err = message->decode(body, command->body_version, &reader, apply->arena);
    if (err == RIA_OK && ria_reader_left(&reader) > 0) {
        err = RIA_ERR_MALFORMED;
    }
    if (err != RIA_OK) {
        return apply_fail(apply, err, "%s: %s", message->name, ria_err_text(err));
    }
    *out_body = body;
    return RIA_OK;
}

static ria_err check_live_nodes(struct apply *apply)
{
    const struct command *command = apply->command;

    for (uint32_t i = 1; i < command->live_nodes_count; i++) {
        if (command->live_nodes[i - 1] >= command->live_nodes[i]) {
            return apply_fail(apply, RIA_ERR_MALFORMED, "liveNodes must be ascending");
        }
    }
    return RIA_OK;
}

static ria_err apply_decoded(struct apply *apply)
{
    void *body = NULL;
    int64_t producer_id = 0;
    const struct command_kind *kind = kind_find(apply->command->kind);

    if (kind == NULL) {
        return apply_fail(
            apply, RIA_ERR_UNKNOWN_TYPE, "kind is %d, no command has it", apply->command->kind
        );
    }
    RIA_TRY(check_live_nodes(apply));
    RIA_TRY(decode_body(apply, &body));
    load_counters(apply);
    producer_id = apply->next_producer_id;
    RIA_TRY(kind->apply(apply, body));
    RIA_TRY(apply_write_loads(apply));
    if (apply->result->changed || apply->next_producer_id != producer_id) {
        RIA_TRY(store_counters(apply));
    }
    return RIA_OK;
}

static ria_err apply_bytes(struct state_machine *state, struct ria_slice bytes, struct apply *apply)
{
    struct command command;
    struct ria_reader reader = ria_reader_of(bytes);
    int16_t version = ria_read_i16(&reader);
    ria_err err = reader.err;

    if (err == RIA_OK) {
        err = command_decode(&command, version, &reader, &state->arena);
    }
    if (err != RIA_OK) {
        return apply_fail(apply, err, "command: %s", ria_err_text(err));
    }
    apply->command = &command;
    apply->result->kind = command.kind;
    err = apply_decoded(apply);
    apply->command = NULL;
    return err;
}

void state_begin(struct state_machine *state)
{
    struct state_summary summary;
    bool found = state_summary(state->db, &summary);

    RIA_ASSERT(found);
    RIA_ASSERT(state->index == -1 || state->index == summary.applied_index);
    state->index = summary.applied_index;
    ria_arena_reset(&state->kept);
    state->woken = rows_of(&state->kept, sizeof(struct state_woken));
    meta_begin(state->db);
}

void state_apply(
    struct state_machine *state,
    int64_t index,
    struct ria_slice command,
    struct command_result *out_result
)
{
    struct apply apply = {
        .db = state->db,
        .arena = &state->arena,
        .scratch = &state->scratch,
        .kept = &state->kept,
        .woken = &state->woken,
        .result = out_result,
    };
    uint32_t woken_before = state->woken.count;
    size_t kept_before = ria_arena_used(&state->kept);

    RIA_ASSERT(meta_in_transaction(state->db));
    RIA_ASSERT(index == state->index + 1);

    memset(out_result, 0, sizeof(*out_result));
    meta_savepoint(state->db);
    ria_err err = apply_bytes(state, command, &apply);
    /* Memory is no input of the state machine: a command that failed for want of it would be
     * applied elsewhere. */
    RIA_ASSERT(err != RIA_ERR_NOMEM);
    if (err == RIA_OK) {
        meta_savepoint_keep(state->db);
    } else {
        meta_savepoint_undo(state->db);
        out_result->changed = false;
        out_result->leader_changes = 0;
        state->woken.count = woken_before;
        if (out_result->text[0] == '\0') {
            (void)snprintf(out_result->text, sizeof(out_result->text), "%s", ria_err_text(err));
        }
    }
    out_result->err = err;
    out_result->kept_size = ria_arena_used(&state->kept) - kept_before;
    state->index = index;
    ria_arena_reset(&state->arena);
}

void state_commit(struct state_machine *state, int64_t index)
{
    RIA_ASSERT(index == state->index);

    struct meta_stmt *stmt = meta_query(state->db, META_CLUSTER_APPLIED);
    meta_bind_int(stmt, 1, index);
    ria_err err = meta_run(stmt);
    RIA_ASSERT(err == RIA_OK);
    meta_commit(state->db);
}

const struct state_woken *state_woken(const struct state_machine *state, uint32_t *out_count)
{
    *out_count = state->woken.count;
    return state->woken.items;
}

/* ---- propose ---- */

ria_err state_encode_command(const struct command *command, uint8_t **out_bytes, size_t *out_size)
{
    if (command->body.size > STATE_BODY_MAX) {
        return RIA_ERR_TOO_LARGE;
    }
    size_t size = sizeof(int16_t) + command_size(command, COMMAND_RECORD_VERSION);
    uint8_t *bytes = malloc(size);

    if (bytes == NULL) {
        return RIA_ERR_NOMEM;
    }
    struct ria_writer writer = ria_writer_of(bytes, size);
    ria_write_i16(&writer, COMMAND_RECORD_VERSION);
    command_encode(command, COMMAND_RECORD_VERSION, &writer);
    RIA_ASSERT(writer.pos == size);
    *out_bytes = bytes;
    *out_size = size;
    return RIA_OK;
}
