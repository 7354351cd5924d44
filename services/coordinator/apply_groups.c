/* GroupRequest: its operations, one after the other, each in a savepoint. */
#include "services/coordinator/apply_groups.h"

#include <inttypes.h>

#include "common/assert.h"
#include "common/utf8.h"

#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"

#include "services/shared/group_operations.h"

enum {
    RECORD_VERSION = 0,
    ANSWER_ENTRY_SIZE = 64, /* of a result beside text and body, at most */
};

struct operation_kind {
    int8_t kind;
    ria_err (*apply)(struct group_call *call, const void *body, void *result);
    const char *record;
    const char *result_record;
};

static const struct operation_kind kinds[] = {
    {GROUP_OPERATION_READ, apply_group_read, "GroupRead", "GroupReadResult"},
    {GROUP_OPERATION_COMMIT, apply_group_commit, "GroupCommit", "GroupCommitResult"},
    {GROUP_OPERATION_MEMBER, apply_group_member, "GroupMember", "GroupMemberResult"},
    {GROUP_OPERATION_LEAVE, apply_group_leave, "GroupLeave", "GroupLeaveResult"},
    {GROUP_OPERATION_RESET, apply_group_reset, "GroupReset", "GroupResetResult"},
    {GROUP_OPERATION_DELETE, apply_group_delete, "GroupDelete", "GroupDeleteResult"},
    {GROUP_OPERATION_QUEUE_OPEN, apply_queue_open, "QueueOpen", "QueueOpenResult"},
    {GROUP_OPERATION_QUEUE_RECEIVE, apply_queue_receive, "QueueReceive", "QueueReceiveResult"},
    {GROUP_OPERATION_QUEUE_SETTLE, apply_queue_settle, "QueueSettle", "QueueSettleResult"},
    {GROUP_OPERATION_QUEUE_ACK, apply_queue_ack, "QueueAck", "QueueAckResult"},
};

static const struct operation_kind *kind_find(int8_t kind)
{
    for (size_t i = 0; i < RIA_COUNT(kinds); i++) {
        if (kinds[i].kind == kind) {
            return &kinds[i];
        }
    }
    return NULL;
}

const struct schema_message *group_operation_record(int8_t kind)
{
    const struct operation_kind *found = kind_find(kind);

    return found == NULL ? NULL : schema_find(found->record);
}

const struct schema_message *group_operation_result(int8_t kind)
{
    const struct operation_kind *found = kind_find(kind);

    return found == NULL ? NULL : schema_find(found->result_record);
}

/* ---- one operation ---- */

static ria_err decode_operation(
    struct group_call *call,
    const struct schema_message *message,
    struct ria_slice bytes,
    void **out_body
)
{
    struct ria_reader reader = ria_reader_of(bytes);
    void *body = ria_arena_alloc(call->arena, message->struct_size);

    if (body == NULL) {
        return ria_arena_err(call->arena);
    }
    ria_err err = message->decode(body, RECORD_VERSION, &reader, call->arena);
    if (err == RIA_OK && ria_reader_left(&reader) > 0) {
        err = RIA_ERR_MALFORMED;
    }
    if (err != RIA_OK) {
        return apply_fail(call->apply, err, "%s: %s", message->name, ria_err_text(err));
    }
    *out_body = body;
    return RIA_OK;
}

/* Encode the result where it stays until the response is sent. */
static ria_err keep_result(
    struct group_call *call,
    const struct schema_message *message,
    const void *result,
    struct ria_slice *out_bytes
)
{
    struct apply *apply = call->apply;
    uint32_t size = message->size(result, RECORD_VERSION);

    if (apply->answer_size + size > STATE_ANSWER_SIZE_MAX) {
        return apply_fail(
            apply, RIA_ERR_BUSY, "the results before this one fill the response: ask again"
        );
    }
    uint8_t *bytes = ria_arena_alloc(apply->kept, size);
    if (bytes == NULL) {
        return ria_arena_err(apply->kept);
    }
    struct ria_writer writer = ria_writer_of(bytes, size);
    message->encode(result, RECORD_VERSION, &writer);
    RIA_ASSERT(writer.pos == size);
    apply->answer_size += size;
    *out_bytes = ria_slice_of(bytes, size);
    return RIA_OK;
}

/* Write the group's row if it has changed; those who watch it hear of it. */
static ria_err finish_group(struct group_call *call)
{
    const struct group_row *after = &call->group;
    const struct group_row *before = &call->before;

    if (call->deleted) {
        return apply_wake_group(call->apply, after->name, -1);
    }
    if (!call->open) {
        return RIA_OK;
    }
    if (after->next_lease != before->next_lease || after->generation != before->generation ||
        after->changed != before->changed || after->member_count != before->member_count) {
        RIA_TRY(group_row_write(call->db, after));
    }
    return after->changed == before->changed
               ? RIA_OK
               : apply_wake_group(call->apply, after->name, after->changed);
}

static ria_err run_operation(
    struct group_call *call,
    const struct group_request_group_operation *operation,
    struct ria_slice *out_bytes
)
{
    void *body = NULL;
    const struct operation_kind *kind = kind_find(operation->kind);

    if (kind == NULL) {
        return apply_fail(
            call->apply,
            RIA_ERR_UNKNOWN_TYPE,
            "kind is %d, no operation on groups has it",
            operation->kind
        );
    }
    const struct schema_message *message = schema_find(kind->result_record);
    void *result = ria_arena_alloc(call->arena, message->struct_size);
    if (result == NULL) {
        return ria_arena_err(call->arena);
    }
    message->init(result);
    RIA_TRY(decode_operation(call, schema_find(kind->record), operation->body, &body));
    RIA_TRY(kind->apply(call, body, result));
    RIA_TRY(finish_group(call));
    return keep_result(call, message, result, out_bytes);
}

/* ---- all of them ---- */

/* Move the reason from the command's result, where apply_fail() puts it, to the operation's. */
static ria_err refuse(struct apply *apply, ria_err err, struct group_response_group_result *out)
{
    char *text = apply->result->text;
    struct ria_slice reason = ria_slice_cstr(text[0] == '\0' ? ria_err_text(err) : text);
    const char *copy = ria_arena_strdup(apply->kept, reason);

    if (copy == NULL) {
        return ria_arena_err(apply->kept);
    }
    out->error_code = (int16_t)err;
    out->error_text = ria_slice_cstr(copy);
    apply->answer_size += reason.size;
    text[0] = '\0';
    apply->result->operations_refused++;
    return RIA_OK;
}

static ria_err apply_operation(
    struct apply *apply,
    struct group_counters *counters,
    const struct group_request_group_operation *operation,
    struct group_response_group_result *out
)
{
    struct group_counters counters_before = *counters;
    uint32_t woken_before = apply->woken->count;
    struct group_call call = {
        .apply = apply,
        .db = apply->db,
        .arena = apply->scratch,
        .now_ms = counters->lease_ms,
        .time_ms = apply->command->time_ms,
        .counters = counters,
    };

    group_response_group_result_init(out);
    apply->answer_size += ANSWER_ENTRY_SIZE;
    apply->result->operations++;
    meta_savepoint(apply->db);
    ria_err err = run_operation(&call, operation, &out->body);
    ria_arena_reset(apply->scratch);
    if (err == RIA_OK) {
        meta_savepoint_keep(apply->db);
        apply->result->text[0] = '\0'; /* of a part that was refused */
        return RIA_OK;
    }
    meta_savepoint_undo(apply->db);
    *counters = counters_before;
    apply->woken->count = woken_before;
    return err == RIA_ERR_NOMEM ? err : refuse(apply, err, out);
}

ria_err apply_group(struct apply *apply, const void *body)
{
    const struct group_request *request = body;
    struct group_response *response = &apply->result->response.group;
    struct group_counters counters;

    group_counters_read(apply->db, &counters);
    counters.lease_ms = ria_max_i64(counters.lease_ms, apply->command->lease_ms);
    response->lease_clock_ms = counters.lease_ms;
    response->results =
        ria_arena_alloc_array(apply->kept, request->operations_count, sizeof(*response->results));
    if (response->results == NULL) {
        return ria_arena_err(apply->kept);
    }
    response->results_count = request->operations_count;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        RIA_TRY(apply_operation(apply, &counters, &request->operations[i], &response->results[i]));
    }
    return group_counters_write(apply->db, &counters);
}

/* ---- the group ---- */

ria_err group_check_name(struct group_call *call, const char *field, struct ria_slice name)
{
    if (name.size < 1 || name.size > GROUP_NAME_MAX) {
        return apply_fail(
            call->apply,
            RIA_ERR_INVALID,
            "%s has %zu bytes, must have 1..%d",
            field,
            name.size,
            GROUP_NAME_MAX
        );
    }
    if (!ria_utf8_printable(name)) {
        return apply_fail(
            call->apply, RIA_ERR_INVALID, "%s must be UTF-8 without control characters", field
        );
    }
    return RIA_OK;
}

ria_err group_find(struct group_call *call, struct ria_slice name)
{
    RIA_TRY(group_check_name(call, "group", name));
    ria_err err = group_row_read(call->db, name, call->arena, &call->group);
    if (err == RIA_ERR_NOT_FOUND) {
        return apply_fail(
            call->apply, err, "group \"" RIA_SLICE_FMT "\" does not exist", RIA_SLICE_ARG(name)
        );
    }
    call->before = call->group;
    call->open = err == RIA_OK;
    return err;
}

static const char *mode_text(group_mode mode)
{
    return mode == GROUP_QUEUE ? "queue" : "stream";
}

static ria_err check_mode(struct group_call *call, group_mode mode)
{
    if (call->group.mode == mode) {
        return RIA_OK;
    }
    return apply_fail(
        call->apply,
        RIA_ERR_CONFLICT,
        "group \"" RIA_SLICE_FMT "\" is of mode %s, not %s",
        RIA_SLICE_ARG(call->group.name),
        mode_text(call->group.mode),
        mode_text(mode)
    );
}

ria_err group_find_mode(struct group_call *call, struct ria_slice name, group_mode mode)
{
    RIA_TRY(group_find(call, name));
    return check_mode(call, mode);
}

static ria_err make_group(
    struct group_call *call,
    struct ria_slice name,
    group_mode mode,
    const struct group_row *settings
)
{
    struct group_counters *counters = call->counters;
    struct group_row row = settings != NULL ? *settings : (struct group_row){.id = 0};

    if (counters->group_count >= GROUP_COUNT_MAX) {
        return apply_fail(
            call->apply,
            RIA_ERR_LIMIT,
            "the cluster has %" PRId64 " groups, its limit",
            counters->group_count
        );
    }
    row.id = counters->next_group_id++;
    row.name = name;
    row.mode = mode;
    row.created_ms = call->time_ms;
    row.next_lease = counters->lease_floor;
    row.generation = 0;
    row.changed = counters->lease_floor;
    row.member_count = 0;
    counters->group_count++;
    RIA_TRY(group_row_insert(call->db, &row));
    call->group = row;
    call->before = row;
    call->open = true;
    return RIA_OK;
}

ria_err group_find_or_make(
    struct group_call *call,
    struct ria_slice name,
    group_mode mode,
    const struct group_row *settings
)
{
    RIA_TRY(group_check_name(call, "group", name));
    ria_err err = group_row_read(call->db, name, call->arena, &call->group);
    if (err == RIA_ERR_NOT_FOUND) {
        return make_group(call, name, mode, settings);
    }
    RIA_TRY(err);
    call->before = call->group;
    call->open = true;
    return check_mode(call, mode);
}

void group_changed(struct group_call *call)
{
    if (call->group.changed == call->before.changed) {
        call->group.changed++;
    }
}

/* ---- fields ---- */

ria_err group_check_topic(
    struct group_call *call,
    const char *field,
    const struct ria_uuid *topic_id,
    int32_t *out_partition_count
)
{
    struct meta_stmt *stmt = meta_query(call->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, topic_id);
    bool known = meta_step(stmt);
    bool found = known && meta_column_int(stmt, 1) == 0;
    if (found) {
        *out_partition_count = (int32_t)meta_column_int(stmt, 2);
    }
    ria_err err = RIA_ERR_UNKNOWN_TOPIC;
    if (known && !found) {
        struct ria_slice name = meta_column_text(stmt, 0);
        err = apply_fail(
            call->apply,
            err,
            "%s: topic \"" RIA_SLICE_FMT "\" was deleted",
            field,
            RIA_SLICE_ARG(name)
        );
    }
    meta_done(stmt);
    if (known && !found) {
        return err;
    }
    if (!found) {
        char id[RIA_UUID_TEXT_SIZE];
        ria_uuid_format(*topic_id, id);
        return apply_fail(call->apply, RIA_ERR_UNKNOWN_TOPIC, "%s %s does not exist", field, id);
    }
    return RIA_OK;
}

ria_err group_check_partition(
    struct group_call *call, const char *field, int32_t partition, int32_t partition_count
)
{
    if (partition >= 0 && partition < partition_count) {
        return RIA_OK;
    }
    return apply_fail(
        call->apply,
        RIA_ERR_UNKNOWN_PARTITION,
        "%s is %" PRId32 ", the topic has partitions 0..%" PRId32,
        field,
        partition,
        partition_count - 1
    );
}

/* ---- topics that grow, and that go ---- */

/* The partitions from `first` on begin with their first record, wherever the group wants to begin
 * otherwise: what was produced before somebody came to look would be missed. */
static ria_err begin_partitions(
    struct group_call *call, const struct ria_uuid *topic_id, int32_t first, int32_t count
)
{
    struct group_partition *rows = ria_arena_alloc_array(call->arena, (size_t)count, sizeof(*rows));

    if (rows == NULL) {
        return ria_arena_err(call->arena);
    }
    RIA_TRY(group_partitions_read(call->db, call->group.id, topic_id, count, call->arena, rows));
    for (int32_t i = first; i < count; i++) {
        if (rows[i].position == -1) {
            rows[i].position = 0;
            rows[i].frontier = call->group.mode == GROUP_QUEUE ? 0 : rows[i].frontier;
            RIA_TRY(group_partition_write(call->db, call->group.id, &rows[i]));
        }
    }
    return RIA_OK;
}

/* Plan the topic's new partitions, too, and tell those who wait. */
static ria_err grow_group(
    struct apply *apply,
    struct group_counters *counters,
    struct ria_slice name,
    const struct ria_uuid *topic_id,
    int32_t first,
    int32_t count
)
{
    struct group_call call = {
        .apply = apply,
        .db = apply->db,
        .arena = apply->scratch,
        .now_ms = counters->lease_ms,
        .time_ms = apply->command->time_ms,
        .counters = counters,
    };

    RIA_TRY(group_find(&call, name));
    RIA_TRY(begin_partitions(&call, topic_id, first, count));
    call.members_moved = call.group.member_count > 0;
    RIA_TRY(group_settle_members(&call));
    group_changed(&call);
    return finish_group(&call);
}

ria_err apply_groups_grow_topic(
    struct apply *apply, const struct ria_uuid *topic_id, int32_t first, int32_t count
)
{
    bool ok = true;
    struct group_counters counters;
    struct rows names = rows_of(apply->arena, sizeof(struct ria_slice));
    struct meta_stmt *stmt = meta_query(apply->db, META_GROUPS_OF_TOPIC);

    meta_bind_uuid(stmt, 1, topic_id);
    while (ok && meta_step(stmt)) {
        struct ria_slice *name = rows_add(&names);
        ok = name != NULL && rows_copy_text(apply->arena, meta_column_text(stmt, 0), name);
    }
    meta_done(stmt);
    group_counters_read(apply->db, &counters);
    for (uint32_t i = 0; ok && i < names.count; i++) {
        const struct ria_slice *name = &((const struct ria_slice *)names.items)[i];
        ria_err err = grow_group(apply, &counters, *name, topic_id, first, count);
        ria_arena_reset(apply->scratch);
        RIA_TRY(err);
    }
    return ok ? RIA_OK : ria_arena_err(apply->arena);
}

ria_err apply_groups_drop_topic(struct apply *apply, const struct ria_uuid *topic_id)
{
    static const meta_sql writes[] = {
        META_GROUPS_CHANGE_OF_TOPIC,
        META_LEFTOVERS_ADD_OF_TOPIC, /* by the partitions: before those */
        META_GROUP_PARTITIONS_DELETE_OF_TOPIC,
        META_GROUP_SUBSCRIPTIONS_DELETE_OF_TOPIC,
    };
    ria_err err = RIA_OK;
    struct meta_stmt *stmt = meta_query(apply->db, META_GROUPS_OF_TOPIC);

    meta_bind_uuid(stmt, 1, topic_id);
    while (err == RIA_OK && meta_step(stmt)) {
        err = apply_wake_group(apply, meta_column_text(stmt, 0), meta_column_int(stmt, 1));
    }
    meta_done(stmt);
    for (size_t i = 0; err == RIA_OK && i < RIA_COUNT(writes); i++) {
        stmt = meta_query(apply->db, writes[i]);
        meta_bind_uuid(stmt, 1, topic_id);
        err = meta_run(stmt);
    }
    return err;
}
