/* envelope: frames between services.
 *
 * Format: docs/formats/messages.md. A frame is a fixed-size header, the encoded body, and a raw
 * payload behind it (record batches), which is never encoded, copied or looked into here. Builders
 * return a frame the caller owns; openers borrow slices from the frame.
 *
 * Pure: frames are memory (common/msg.h), nothing is sent. No thread.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/msg.h"
#include "common/slice.h"

#include "schemas/gen/messages.h"
#include "schemas/gen/request_header.h"
#include "schemas/gen/response_header.h"

enum { ENVELOPE_REQUEST_HEADER_SIZE = 20, ENVELOPE_RESPONSE_HEADER_SIZE = 14 };

/* A request with correlation id 0 and room for payload_size bytes of payload at *out_payload (may
 * be NULL if payload_size is 0), which the caller fills in. body is the api's request struct. A
 * deadline past INT32_MAX is cut off there. NULL: no memory. */
struct ria_msg *envelope_request(
    int16_t api_key,
    int16_t version,
    int32_t sender_id,
    uint32_t deadline_ms,
    const void *body,
    size_t payload_size,
    uint8_t **out_payload
);

/* The answer to the request with header `to`: body is the api's response struct in the request's
 * version. NULL: no memory. */
struct ria_msg *envelope_reply(
    const struct request_header *to, const void *body, size_t payload_size, uint8_t **out_payload
);

/* An answer that says why there is none; err != RIA_OK. The text is cut off at
 * RIA_ERROR_TEXT_MAX bytes. `to` may name an api or a version unknown here. NULL: no memory. */
struct ria_msg *
envelope_reply_error(const struct request_header *to, ria_err err, const char *fmt, ...)
    RIA_PRINTF(3, 4);

/* Errors: RIA_ERR_MALFORMED; RIA_ERR_UNKNOWN_TYPE and RIA_ERR_UNKNOWN_VERSION, for which the header
 * is filled so that envelope_reply_error() can answer. */
ria_err envelope_open_request(
    const struct ria_msg *msg,
    struct request_header *out_header,
    struct ria_slice *out_body,
    struct ria_slice *out_payload
) RIA_MUST_USE;

/* Decode a whole body: bytes behind it are malformed. out holds what the message's decode says.
 * Errors: those of decode. */
ria_err envelope_decode_body(
    const struct schema_message *message,
    int16_t version,
    struct ria_slice body,
    struct ria_arena *arena,
    void *out
) RIA_MUST_USE;

/* RIA_OK: a reply to a request of this api, its slices are set and error_text is "".
 *
 * Errors: what the remote handler answered, with its text in error_text; then out_header is filled
 * and its error_code is not 0. RIA_ERR_MALFORMED and RIA_ERR_UNKNOWN_VERSION with error_code 0 are
 * our own verdict on the frame; an error number that is not in the table is RIA_ERR_MALFORMED. */
ria_err envelope_open_reply(
    const struct ria_msg *msg,
    int16_t api_key,
    struct response_header *out_header,
    struct ria_slice *out_body,
    struct ria_slice *out_payload,
    char *error_text,
    size_t error_text_size
) RIA_MUST_USE;

/* The same, and its body is decoded into out, whose arrays come from the arena. out_payload NULL:
 * it has none that matters. Errors: those of decode, too, which are our own verdict. */
ria_err envelope_read_reply(
    const struct ria_msg *msg,
    int16_t api_key,
    struct ria_arena *arena,
    void *out,
    struct ria_slice *out_payload,
    char *error_text,
    size_t error_text_size
) RIA_MUST_USE;

/* Rewrite the correlation id of a request frame that was built here. */
void envelope_set_correlation_id(struct ria_msg *request, int32_t correlation_id);
