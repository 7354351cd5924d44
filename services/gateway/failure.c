#include "services/gateway/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

#include "services/gateway/router.h"

enum { FAILURE_BODY_MAX = 8 * 1024 };

struct row {
    ria_err err;
    int status;
    int v2_code;
    const char *code;
    int retry_after_s;
};

/* v2's numbers: 50003 = "retriable", 50002 = "not retriable", 40002 = "the broker refused it". */
static const struct row rows[] = {
    {RIA_ERR_NOMEM, 503, 50003, "no_memory", 1},
    {RIA_ERR_IO, 500, 50002, "storage_error", 0},
    {RIA_ERR_CORRUPT, 500, 50002, "damaged", 0},
    {RIA_ERR_MALFORMED, 500, 50002, "internal", 0},
    {RIA_ERR_LIMIT, 413, 413, "too_large", 0},
    {RIA_ERR_INVALID, 400, 40002, "invalid", 0},
    {RIA_ERR_UNKNOWN_TYPE, 500, 50002, "internal", 0},
    {RIA_ERR_UNKNOWN_VERSION, 500, 50002, "internal", 0},
    {RIA_ERR_TIMEOUT, 503, 50003, "timeout", 1},
    {RIA_ERR_DISCONNECTED, 503, 50302, "unreachable", 1},
    {RIA_ERR_BUSY, 503, 50003, "busy", 1},
    {RIA_ERR_SHUTDOWN, 503, 50003, "shutting_down", 1},
    {RIA_ERR_UNSUPPORTED, 400, 40002, "unsupported", 0},
    {RIA_ERR_EXISTS, 409, 40002, "already_exists", 0},
    {RIA_ERR_NOT_FOUND, 404, 404, "not_found", 0},
    {RIA_ERR_UNKNOWN_TOPIC, 404, 40401, "unknown_topic", 0},
    {RIA_ERR_UNKNOWN_PARTITION, 404, 40402, "unknown_partition", 0},
    {RIA_ERR_NOT_LEADER, 503, 50003, "not_leader", 1},
    {RIA_ERR_NO_LEADER, 503, 50003, "no_leader", 1},
    {RIA_ERR_FENCED_EPOCH, 503, 50003, "not_leader", 1},
    {RIA_ERR_UNKNOWN_EPOCH, 503, 50003, "not_leader", 1},
    {RIA_ERR_NOT_ENOUGH_REPLICAS, 503, 50003, "not_enough_replicas", 1},
    {RIA_ERR_OFFSET_OUT_OF_RANGE, 400, 40002, "offset_out_of_range", 0},
    {RIA_ERR_TOO_LARGE, 413, 413, "record_too_large", 0},
    {RIA_ERR_OUT_OF_ORDER, 409, 50002, "out_of_order_sequence", 0},
    {RIA_ERR_FENCED_PRODUCER, 409, 50002, "fenced_producer", 0},
    {RIA_ERR_CONFLICT, 409, 50002, "conflict", 0},
    {RIA_ERR_NO_SPACE, 503, 50003, "no_space", 5},
    {RIA_ERR_WRONG_CLUSTER, 500, 50002, "wrong_cluster", 0},
    {RIA_ERR_NOT_ENOUGH_NODES, 400, 40002, "not_enough_nodes", 0},
    {RIA_ERR_UNKNOWN_OUTCOME, 503, 50003, "timeout", 1},
    {RIA_ERR_SQL, 400, 40002, "invalid_sql", 0},
};

void failure_set(
    struct failure *failure, int status, const char *code, const char *field, const char *fmt, ...
)
{
    va_list args;

    *failure = (struct failure){.status = status, .code = code, .v2_code = status, .field = field};
    va_start(args, fmt);
    (void)vsnprintf(failure->message, sizeof(failure->message), fmt, args);
    va_end(args);
}

void failure_of_err(struct failure *failure, ria_err err, const char *text)
{
    bool has_text = text != NULL && text[0] != '\0';

    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        if (rows[i].err == err) {
            failure_set(
                failure,
                rows[i].status,
                rows[i].code,
                NULL,
                "%s",
                has_text ? text : ria_err_text(err)
            );
            failure->v2_code = rows[i].v2_code;
            failure->retry_after_s = rows[i].retry_after_s;
            return;
        }
    }
    failure_set(failure, 500, "internal", NULL, "%s", has_text ? text : ria_err_text(err));
    failure->v2_code = 50002;
}

void failure_of_write(struct failure *failure, ria_err err, const char *text)
{
    failure_of_err(failure, err, text);

    bool is_definite = ria_err_is_definite(err);
    size_t used = strlen(failure->message);
    failure->outcome = is_definite ? OUTCOME_NOT_STORED : OUTCOME_UNKNOWN;
    (void)snprintf(
        failure->message + used,
        sizeof(failure->message) - used,
        "%s",
        is_definite ? "; the record is not stored"
                    : "; the record may or may not be stored: sending it again may store it twice"
    );
}

static const char *cursor_code(cursor_verdict verdict)
{
    switch (verdict) {
    case CURSOR_DAMAGED:
        return "damaged_cursor";
    case CURSOR_FOREIGN:
        return "foreign_cursor";
    case CURSOR_OTHER_KIND:
        return "other_cursor";
    case CURSOR_MALFORMED:
    case CURSOR_NO_MEMORY:
    case CURSOR_FINE:
        break;
    }
    return "malformed_cursor";
}

void failure_of_cursor(struct failure *failure, cursor_verdict verdict, const char *field)
{
    if (verdict == CURSOR_NO_MEMORY) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return;
    }
    failure_set(failure, 400, cursor_code(verdict), field, "%s", cursor_verdict_text(verdict));
}

void failure_overloaded(struct failure *failure)
{
    failure_set(
        failure,
        429,
        "overloaded",
        NULL,
        "the gateway holds as many bytes as it may (--max-inflight-bytes); try again"
    );
    failure->v2_code = 429;
    failure->outcome = OUTCOME_NOT_STORED;
    failure->retry_after_s = 1;
}

static const char *outcome_word(failure_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_NONE:
        return NULL;
    case OUTCOME_NOT_STORED:
        return "not_stored";
    case OUTCOME_UNKNOWN:
        return "unknown";
    }
    return NULL;
}

ria_err failure_render_members(const struct failure *failure, struct ria_buf *out)
{
    const char *outcome = outcome_word(failure->outcome);

    RIA_TRY(ria_buf_printf(out, "\"code\":\"%s\",\"message\":", failure->code));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(failure->message)));
    if (failure->field != NULL) {
        RIA_TRY(ria_buf_append_str(out, ",\"field\":"));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(failure->field)));
    }
    if (outcome != NULL) {
        RIA_TRY(ria_buf_printf(out, ",\"outcome\":\"%s\"", outcome));
    }
    return RIA_OK;
}

ria_err failure_render(const struct failure *failure, bool is_v2, struct ria_buf *out)
{
    if (is_v2) {
        RIA_TRY(ria_buf_printf(out, "{\"error_code\":%d,\"message\":", failure->v2_code));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(failure->message)));
        return ria_buf_append_str(out, "}\n");
    }
    RIA_TRY(ria_buf_append_str(out, "{\"error\":{"));
    RIA_TRY(failure_render_members(failure, out));
    return ria_buf_append_str(out, "}}\n");
}

void request_fail(struct request *request, const struct failure *failure)
{
    bool is_v2 = router_is_v2(request);
    const char *type = is_v2 ? "application/vnd.kafka.v2+json" : "application/json";
    struct ria_buf body;

    if (failure->retry_after_s > 0) {
        request_add_header_i64(request, "Retry-After", failure->retry_after_s);
    }
    ria_buf_init(&body, FAILURE_BODY_MAX);
    if (failure_render(failure, is_v2, &body) != RIA_OK) {
        ria_buf_fini(&body);
        request_respond_static(request, failure->status, NULL, NULL);
        return;
    }
    request_respond_buf(request, failure->status, type, &body);
}

void request_fail_err(struct request *request, ria_err err, const char *text)
{
    struct failure failure;

    failure_of_err(&failure, err, text);
    request_fail(request, &failure);
}
