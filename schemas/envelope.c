#include "schemas/envelope.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/codec.h"
#include "common/limits.h"

#include "schemas/gen/error_body.h"

enum { HEADER_VERSION = 0, ERROR_BODY_VERSION = 0, CORRELATION_ID_OFFSET = 4 };
_Static_assert(REQUEST_HEADER_VERSION_MAX == 0, "headers have one version");
_Static_assert(RESPONSE_HEADER_VERSION_MAX == 0, "headers have one version");
_Static_assert(RIA_FRAME_SIZE_MAX <= INT32_MAX, "body_size is an int32");

/* ---- building ---- */

static void encode_request_header(uint8_t *data, const struct request_header *header)
{
    struct ria_writer w = ria_writer_of(data, ENVELOPE_REQUEST_HEADER_SIZE);

    request_header_encode(header, HEADER_VERSION, &w);
    RIA_ASSERT(w.pos == w.size);
}

static void encode_response_header(uint8_t *data, const struct response_header *header)
{
    struct ria_writer w = ria_writer_of(data, ENVELOPE_RESPONSE_HEADER_SIZE);

    response_header_encode(header, HEADER_VERSION, &w);
    RIA_ASSERT(w.pos == w.size);
}

/* A frame with its body encoded; the header is still to be written. */
static struct ria_msg *frame_new(
    size_t header_size,
    const struct schema_message *message,
    int16_t version,
    const void *body,
    uint32_t body_size,
    size_t payload_size,
    uint8_t **out_payload
)
{
    RIA_ASSERT(body != NULL);
    RIA_ASSERT(payload_size <= RIA_FRAME_SIZE_MAX);
    RIA_ASSERT(payload_size == 0 || out_payload != NULL);

    struct ria_msg *msg = ria_msg_new(header_size + body_size + payload_size);
    if (msg == NULL) {
        return NULL;
    }
    struct ria_writer w = ria_writer_of(ria_msg_data(msg) + header_size, body_size);
    message->encode(body, version, &w);
    RIA_ASSERT(w.pos == w.size);
    if (out_payload != NULL) {
        *out_payload = ria_msg_data(msg) + header_size + body_size;
    }
    return msg;
}

struct ria_msg *envelope_request(
    int16_t api_key,
    int16_t version,
    int32_t sender_id,
    uint32_t deadline_ms,
    const void *body,
    size_t payload_size,
    uint8_t **out_payload
)
{
    const struct schema_message *message = schema_request(api_key);

    RIA_ASSERT(message != NULL);
    RIA_ASSERT(sender_id >= -1);

    uint32_t body_size = message->size(body, version);
    struct ria_msg *msg = frame_new(
        ENVELOPE_REQUEST_HEADER_SIZE, message, version, body, body_size, payload_size, out_payload
    );
    if (msg == NULL) {
        return NULL;
    }
    struct request_header header = {
        .api_key = api_key,
        .api_version = version,
        .correlation_id = 0,
        .deadline_ms = deadline_ms > INT32_MAX ? INT32_MAX : (int32_t)deadline_ms,
        .sender_id = sender_id,
        .body_size = (int32_t)body_size,
    };
    encode_request_header(ria_msg_data(msg), &header);
    return msg;
}

static struct response_header
reply_header(const struct request_header *to, ria_err err, uint32_t body_size)
{
    return (struct response_header){
        .api_key = to->api_key,
        .api_version = to->api_version,
        .correlation_id = to->correlation_id,
        .error_code = (int16_t)err,
        .body_size = (int32_t)body_size,
    };
}

struct ria_msg *envelope_reply(
    const struct request_header *to, const void *body, size_t payload_size, uint8_t **out_payload
)
{
    const struct schema_message *message = schema_response(to->api_key);

    RIA_ASSERT(message != NULL);

    uint32_t body_size = message->size(body, to->api_version);
    struct ria_msg *msg = frame_new(
        ENVELOPE_RESPONSE_HEADER_SIZE,
        message,
        to->api_version,
        body,
        body_size,
        payload_size,
        out_payload
    );
    if (msg == NULL) {
        return NULL;
    }
    struct response_header header = reply_header(to, RIA_OK, body_size);
    encode_response_header(ria_msg_data(msg), &header);
    return msg;
}

struct ria_msg *
envelope_reply_error(const struct request_header *to, ria_err err, const char *fmt, ...)
{
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    va_list args;

    RIA_ASSERT(to != NULL);
    RIA_ASSERT(err != RIA_OK);

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    struct error_body body = {.message = ria_slice_cstr(text)};
    uint32_t body_size = error_body_size(&body, ERROR_BODY_VERSION);
    struct ria_msg *msg = ria_msg_new(ENVELOPE_RESPONSE_HEADER_SIZE + (size_t)body_size);
    if (msg == NULL) {
        return NULL;
    }
    struct response_header header = reply_header(to, err, body_size);
    encode_response_header(ria_msg_data(msg), &header);
    struct ria_writer w =
        ria_writer_of(ria_msg_data(msg) + ENVELOPE_RESPONSE_HEADER_SIZE, body_size);
    error_body_encode(&body, ERROR_BODY_VERSION, &w);
    RIA_ASSERT(w.pos == w.size);
    return msg;
}

void envelope_set_correlation_id(struct ria_msg *request, int32_t correlation_id)
{
    RIA_ASSERT(request != NULL);
    RIA_ASSERT(ria_msg_size(request) >= ENVELOPE_REQUEST_HEADER_SIZE);

    struct ria_writer w =
        ria_writer_of(ria_msg_data(request) + CORRELATION_ID_OFFSET, sizeof(correlation_id));
    ria_write_i32(&w, correlation_id);
}

/* ---- opening ---- */

/* What is behind the header, split at body_size. */
static ria_err split(
    struct ria_slice rest,
    int32_t body_size,
    struct ria_slice *out_body,
    struct ria_slice *out_payload
)
{
    if (body_size < 0 || (size_t)body_size > rest.size) {
        return RIA_ERR_MALFORMED;
    }
    *out_body = ria_slice_sub(rest, 0, (size_t)body_size);
    *out_payload = ria_slice_sub(rest, (size_t)body_size, SIZE_MAX);
    return RIA_OK;
}

ria_err envelope_open_request(
    const struct ria_msg *msg,
    struct request_header *out_header,
    struct ria_slice *out_body,
    struct ria_slice *out_payload
)
{
    struct request_header header;
    struct ria_slice frame = ria_slice_of(ria_msg_data(msg), ria_msg_size(msg));
    struct ria_reader r = ria_reader_of(frame);

    RIA_TRY(request_header_decode(&header, HEADER_VERSION, &r, NULL));
    if (header.deadline_ms < 0 || header.sender_id < -1) {
        return RIA_ERR_MALFORMED;
    }
    struct ria_slice body;
    struct ria_slice payload;
    RIA_TRY(split(ria_slice_sub(frame, r.pos, SIZE_MAX), header.body_size, &body, &payload));

    *out_header = header;
    const struct schema_message *message = schema_request(header.api_key);
    if (message == NULL) {
        return RIA_ERR_UNKNOWN_TYPE;
    }
    if (header.api_version < message->version_min || header.api_version > message->version_max) {
        return RIA_ERR_UNKNOWN_VERSION;
    }
    *out_body = body;
    *out_payload = payload;
    return RIA_OK;
}

ria_err envelope_decode_body(
    const struct schema_message *message,
    int16_t version,
    struct ria_slice body,
    struct ria_arena *arena,
    void *out
)
{
    struct ria_reader r = ria_reader_of(body);

    RIA_ASSERT(message != NULL);
    RIA_ASSERT(arena != NULL);

    RIA_TRY(message->decode(out, version, &r, arena));
    if (ria_reader_left(&r) > 0) {
        message->init(out);
        return RIA_ERR_MALFORMED;
    }
    return RIA_OK;
}

/* The remote error, or RIA_ERR_MALFORMED. */
static ria_err
open_error(int16_t error_code, struct ria_slice body, char *error_text, size_t error_text_size)
{
    struct error_body error;
    struct ria_reader r = ria_reader_of(body);
    ria_err err = ria_err_from_wire(error_code);

    RIA_TRY(error_body_decode(&error, ERROR_BODY_VERSION, &r, NULL));
    if (ria_reader_left(&r) > 0) {
        return RIA_ERR_MALFORMED;
    }
    if (error_text_size > 0) {
        (void)snprintf(error_text, error_text_size, RIA_SLICE_FMT, RIA_SLICE_ARG(error.message));
    }
    return err;
}

ria_err envelope_open_reply(
    const struct ria_msg *msg,
    int16_t api_key,
    struct response_header *out_header,
    struct ria_slice *out_body,
    struct ria_slice *out_payload,
    char *error_text,
    size_t error_text_size
)
{
    const struct schema_message *message = schema_response(api_key);
    struct ria_slice frame = ria_slice_of(ria_msg_data(msg), ria_msg_size(msg));
    struct ria_reader r = ria_reader_of(frame);
    struct ria_slice body;
    struct ria_slice payload;

    RIA_ASSERT(message != NULL);
    RIA_ASSERT(error_text != NULL || error_text_size == 0);

    if (error_text_size > 0) {
        error_text[0] = '\0';
    }
    response_header_init(out_header);
    struct response_header header;
    RIA_TRY(response_header_decode(&header, HEADER_VERSION, &r, NULL));
    RIA_TRY(split(ria_slice_sub(frame, r.pos, SIZE_MAX), header.body_size, &body, &payload));
    if (header.api_key != api_key) {
        return RIA_ERR_MALFORMED;
    }
    *out_header = header;
    if (header.error_code != RIA_OK) {
        return open_error(header.error_code, body, error_text, error_text_size);
    }
    if (header.api_version < message->version_min || header.api_version > message->version_max) {
        return RIA_ERR_UNKNOWN_VERSION;
    }
    *out_body = body;
    *out_payload = payload;
    return RIA_OK;
}

ria_err envelope_read_reply(
    const struct ria_msg *msg,
    int16_t api_key,
    struct ria_arena *arena,
    void *out,
    struct ria_slice *out_payload,
    char *error_text,
    size_t error_text_size
)
{
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;

    RIA_TRY(envelope_open_reply(msg, api_key, &header, &body, &payload, error_text, error_text_size)
    );
    RIA_TRY(envelope_decode_body(schema_response(api_key), header.api_version, body, arena, out));
    if (out_payload != NULL) {
        *out_payload = payload;
    }
    return RIA_OK;
}
