#include "services/transform/check.h"

#include "common/arena.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/check_transform_request.h"
#include "schemas/gen/check_transform_response.h"

#include "services/transform/sql_engine.h"

enum { DECODED_SIZE_MAX = 64 * 1024 };

static struct ria_msg *
describe(const struct request_header *header, const struct sql_engine *engine)
{
    struct check_transform_response_checked_column columns[SQL_COLUMNS_MAX];
    struct check_transform_response response;

    check_transform_response_init(&response);
    response.name = ria_slice_cstr(sql_engine_name(engine));
    response.source_topic = ria_slice_cstr(sql_engine_source(engine));
    response.columns = columns;
    response.columns_count = sql_engine_column_count(engine);
    for (uint32_t i = 0; i < response.columns_count; i++) {
        columns[i].name = ria_slice_cstr(sql_engine_column(engine, i));
    }
    return envelope_reply(header, &response, 0, NULL);
}

static struct ria_msg *check(const struct request_header *header, struct ria_slice sql)
{
    struct sql_engine *engine = NULL;
    struct statement_refusal refusal = {.text = ""};

    ria_err err = sql_engine_new(sql, &engine, &refusal);
    if (err != RIA_OK) {
        const char *text = refusal.text[0] != '\0' ? refusal.text : ria_err_text(err);
        return envelope_reply_error(header, err, "%s", text);
    }
    struct ria_msg *msg = describe(header, engine);
    sql_engine_free(engine);
    return msg;
}

static struct ria_msg *answer(const struct request_header *header, struct ria_slice body)
{
    struct check_transform_request request;
    struct ria_arena arena;

    if (header->api_key != API_CHECK_TRANSFORM) {
        return envelope_reply_error(
            header,
            RIA_ERR_UNKNOWN_TYPE,
            "%s is not for a transform worker",
            api_name(header->api_key)
        );
    }
    ria_arena_init(&arena, DECODED_SIZE_MAX);
    ria_err err = envelope_decode_body(
        schema_request(API_CHECK_TRANSFORM), header->api_version, body, &arena, &request
    );
    struct ria_msg *msg =
        err == RIA_OK
            ? check(header, request.sql)
            : envelope_reply_error(header, err, "sql: at most %d bytes of text", RIA_SQL_MAX);
    ria_arena_fini(&arena);
    return msg;
}

void check_handle(const struct ria_env *env, struct ria_rpc_request *request)
{
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_msg *msg = NULL;

    ria_err err =
        envelope_open_request(ria_rpc_request_msg(env->rpc, request), &header, &body, &payload);
    if (err == RIA_OK) {
        msg = answer(&header, body);
    } else if (err == RIA_ERR_UNKNOWN_TYPE || err == RIA_ERR_UNKNOWN_VERSION) {
        msg = envelope_reply_error(
            &header,
            err,
            "message type %d version %d: %s",
            header.api_key,
            header.api_version,
            ria_err_text(err)
        );
    }
    if (msg == NULL) { /* no request at all, or no memory */
        ria_rpc_drop(env->rpc, request);
        return;
    }
    ria_rpc_reply(env->rpc, request, msg);
}
