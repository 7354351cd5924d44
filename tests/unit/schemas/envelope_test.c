#include "schemas/envelope.h"

#include <string.h>

#include "common/codec.h"
#include "common/limits.h"

#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"

#include "tests/lib/harness.h"

enum { ARENA_LIMIT = 4096 };

struct opened {
    ria_err err;
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
};

static struct opened open_request(const struct ria_msg *msg)
{
    struct opened o = {.err = RIA_OK};

    o.err = envelope_open_request(msg, &o.header, &o.body, &o.payload);
    return o;
}

struct answer {
    ria_err err;
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    char text[RIA_ERROR_TEXT_MAX + 1];
};

static struct answer open_reply(const struct ria_msg *msg, int16_t api_key)
{
    struct answer a = {.err = RIA_OK, .text = "before"};

    a.err =
        envelope_open_reply(msg, api_key, &a.header, &a.body, &a.payload, a.text, sizeof(a.text));
    return a;
}

/* A produce request with the payload "records". */
static struct ria_msg *produce_frame(void)
{
    struct produce_request body;
    uint8_t *payload = NULL;

    produce_request_init(&body);
    body.partition = 7;
    struct ria_msg *msg = envelope_request(API_PRODUCE, 0, 3, 1500, &body, 7, &payload);
    RIA_ASSERT(msg != NULL && payload != NULL);
    memcpy(payload, "records", 7);
    return msg;
}

static const struct request_header produce_header = {
    .api_key = API_PRODUCE, .api_version = 0, .correlation_id = 99};

static void request_travels_with_its_payload(void)
{
    struct produce_request body;
    struct ria_arena arena;
    struct ria_msg *msg = produce_frame();

    envelope_set_correlation_id(msg, 0x01020304);
    struct opened o = open_request(msg);
    CU_ASSERT_EQUAL(o.err, RIA_OK);
    CU_ASSERT_EQUAL(o.header.api_key, API_PRODUCE);
    CU_ASSERT_EQUAL(o.header.api_version, 0);
    CU_ASSERT_EQUAL(o.header.correlation_id, 0x01020304);
    CU_ASSERT_EQUAL(o.header.deadline_ms, 1500);
    CU_ASSERT_EQUAL(o.header.sender_id, 3);
    CU_ASSERT_TRUE(ria_slice_equal(o.payload, ria_slice_cstr("records")));

    ria_arena_init(&arena, ARENA_LIMIT);
    const struct schema_message *message = schema_request(o.header.api_key);
    CU_ASSERT_EQUAL(envelope_decode_body(message, 0, o.body, &arena, &body), RIA_OK);
    CU_ASSERT_EQUAL(body.partition, 7);
    CU_ASSERT_EQUAL(body.producer_last_offset, -2);
    ria_arena_fini(&arena);
    ria_msg_free(msg);
}

static void deadline_past_int32_is_cut_off(void)
{
    struct heartbeat_request body;

    heartbeat_request_init(&body);
    struct ria_msg *msg = envelope_request(API_HEARTBEAT, 0, -1, UINT32_MAX, &body, 0, NULL);
    struct opened o = open_request(msg);
    CU_ASSERT_EQUAL(o.err, RIA_OK);
    CU_ASSERT_EQUAL(o.header.deadline_ms, INT32_MAX);
    CU_ASSERT_EQUAL(o.header.sender_id, -1);
    CU_ASSERT_EQUAL(o.payload.size, 0);
    ria_msg_free(msg);
}

static void body_with_bytes_behind_it_is_malformed(void)
{
    struct produce_request body;
    struct ria_arena arena;
    struct ria_msg *msg = produce_frame();
    struct opened o = open_request(msg);
    const struct schema_message *message = schema_request(API_PRODUCE);

    ria_arena_init(&arena, ARENA_LIMIT);
    o.body.size++; /* into the payload */
    CU_ASSERT_EQUAL(envelope_decode_body(message, 0, o.body, &arena, &body), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(body.partition, 0);
    CU_ASSERT_EQUAL(
        envelope_decode_body(message, 9, o.body, &arena, &body), RIA_ERR_UNKNOWN_VERSION
    );
    ria_arena_fini(&arena);
    ria_msg_free(msg);
}

static void request_shorter_than_header_and_body_is_malformed(void)
{
    struct ria_msg *msg = produce_frame();
    size_t size_min = ria_msg_size(msg) - 7;

    for (size_t size = 0; size < size_min; size++) {
        struct ria_msg *cut = ria_msg_new(size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
        if (size > 0) {
            memcpy(ria_msg_data(cut), ria_msg_data(msg), size);
        }
        CU_ASSERT_EQUAL(open_request(cut).err, RIA_ERR_MALFORMED);
        ria_msg_free(cut);
    }
    ria_msg_free(msg);
}

static void set_i16(struct ria_msg *msg, size_t offset, int16_t value)
{
    struct ria_writer w = ria_writer_of(ria_msg_data(msg) + offset, sizeof(value));
    ria_write_i16(&w, value);
}

static void set_i32(struct ria_msg *msg, size_t offset, int32_t value)
{
    struct ria_writer w = ria_writer_of(ria_msg_data(msg) + offset, sizeof(value));
    ria_write_i32(&w, value);
}

static void hostile_request_headers_are_malformed(void)
{
    static const struct {
        size_t offset;
        int32_t value;
    } cases[] = {{8, -1}, {12, -2}, {16, -1}, {16, INT32_MIN}, {16, INT32_MAX}};

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct ria_msg *msg = produce_frame();
        set_i32(msg, cases[i].offset, cases[i].value);
        CU_ASSERT_EQUAL(open_request(msg).err, RIA_ERR_MALFORMED);
        ria_msg_free(msg);
    }
}

static void unknown_type_and_version_can_be_answered(void)
{
    struct ria_msg *msg = produce_frame();

    envelope_set_correlation_id(msg, 5);
    set_i16(msg, 2, 77);
    struct opened o = open_request(msg);
    CU_ASSERT_EQUAL(o.err, RIA_ERR_UNKNOWN_VERSION);
    CU_ASSERT_EQUAL(o.header.api_version, 77);
    struct ria_msg *reply = envelope_reply_error(&o.header, o.err, "version %d", 77);
    struct answer a = open_reply(reply, API_PRODUCE);
    CU_ASSERT_EQUAL(a.err, RIA_ERR_UNKNOWN_VERSION);
    CU_ASSERT_EQUAL(a.header.correlation_id, 5);
    CU_ASSERT_STRING_EQUAL(a.text, "version 77");
    ria_msg_free(reply);

    set_i16(msg, 0, 32000);
    o = open_request(msg);
    CU_ASSERT_EQUAL(o.err, RIA_ERR_UNKNOWN_TYPE);
    CU_ASSERT_EQUAL(o.header.api_key, 32000);
    CU_ASSERT_EQUAL(o.header.correlation_id, 5);
    ria_msg_free(msg);
}

static void reply_travels_with_its_payload(void)
{
    struct produce_response body;
    struct ria_arena arena;
    uint8_t *payload = NULL;

    produce_response_init(&body);
    body.base_offset = 42;
    struct ria_msg *msg = envelope_reply(&produce_header, &body, 3, &payload);
    CU_ASSERT_PTR_NOT_NULL_FATAL(payload);
    memcpy(payload, "abc", 3);
    struct answer a = open_reply(msg, API_PRODUCE);
    CU_ASSERT_EQUAL(a.err, RIA_OK);
    CU_ASSERT_STRING_EQUAL(a.text, "");
    CU_ASSERT_EQUAL(a.header.correlation_id, 99);
    CU_ASSERT_TRUE(ria_slice_equal(a.payload, ria_slice_cstr("abc")));

    ria_arena_init(&arena, ARENA_LIMIT);
    const struct schema_message *message = schema_response(API_PRODUCE);
    CU_ASSERT_EQUAL(
        envelope_decode_body(message, a.header.api_version, a.body, &arena, &body), RIA_OK
    );
    CU_ASSERT_EQUAL(body.base_offset, 42);
    CU_ASSERT_EQUAL(open_reply(msg, API_FETCH).err, RIA_ERR_MALFORMED);
    ria_arena_fini(&arena);
    ria_msg_free(msg);
}

static void every_error_of_the_table_arrives(void)
{
#define EXPECT_ARRIVES(name, number, retry, definite, about)                              \
    if ((name) != RIA_OK) {                                                               \
        struct ria_msg *msg = envelope_reply_error(&produce_header, (name), "%s", about); \
        struct answer a = open_reply(msg, API_PRODUCE);                                   \
        CU_ASSERT_EQUAL(a.err, (name));                                                   \
        CU_ASSERT_STRING_EQUAL(a.text, about);                                            \
        CU_ASSERT_EQUAL(a.header.error_code, number);                                     \
        ria_msg_free(msg);                                                                \
    }
    RIA_ERR_TABLE(EXPECT_ARRIVES)
#undef EXPECT_ARRIVES
}

static void error_text_is_cut_off_at_both_ends_of_the_wire(void)
{
    char text[2 * RIA_ERROR_TEXT_MAX];
    char small[8];
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct ria_msg *msg = envelope_reply_error(&produce_header, RIA_ERR_BUSY, "%s", text);
    struct answer a = open_reply(msg, API_PRODUCE);
    CU_ASSERT_EQUAL(a.err, RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(strlen(a.text), RIA_ERROR_TEXT_MAX);
    ria_err err =
        envelope_open_reply(msg, API_PRODUCE, &header, &body, &payload, small, sizeof(small));
    CU_ASSERT_EQUAL(err, RIA_ERR_BUSY);
    CU_ASSERT_STRING_EQUAL(small, "xxxxxxx");
    err = envelope_open_reply(msg, API_PRODUCE, &header, &body, &payload, NULL, 0);
    CU_ASSERT_EQUAL(err, RIA_ERR_BUSY);
    ria_msg_free(msg);
}

static void a_reply_is_read_at_once_and_a_refusal_has_no_payload(void)
{
    struct produce_response body = {.base_offset = 5};
    struct produce_response read;
    struct ria_slice payload = RIA_SLICE_LITERAL("before");
    struct ria_arena arena;
    uint8_t *bytes = NULL;
    char text[16];

    ria_arena_init(&arena, ARENA_LIMIT);
    struct ria_msg *msg = envelope_reply_error(&produce_header, RIA_ERR_BUSY, "busy");
    ria_err err =
        envelope_read_reply(msg, API_PRODUCE, &arena, &read, &payload, text, sizeof(text));
    CU_ASSERT_EQUAL(err, RIA_ERR_BUSY);
    CU_ASSERT_STRING_EQUAL(text, "busy");
    CU_ASSERT_TRUE(ria_slice_equal(payload, RIA_SLICE_LITERAL("before")));
    ria_msg_free(msg);
    msg = envelope_reply(&produce_header, &body, 3, &bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, "abc", 3);
    err = envelope_read_reply(msg, API_PRODUCE, &arena, &read, &payload, NULL, 0);
    CU_ASSERT_EQUAL(err, RIA_OK);
    CU_ASSERT_EQUAL(read.base_offset, 5);
    CU_ASSERT_TRUE(ria_slice_equal(payload, RIA_SLICE_LITERAL("abc")));
    ria_msg_free(msg);
    ria_arena_fini(&arena);
}

static void error_number_outside_the_table_is_malformed(void)
{
    struct ria_msg *msg = envelope_reply_error(&produce_header, RIA_ERR_BUSY, "busy");

    set_i16(msg, 8, 31000);
    struct answer a = open_reply(msg, API_PRODUCE);
    CU_ASSERT_EQUAL(a.err, RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(a.header.error_code, 31000);
    set_i16(msg, 8, -1);
    CU_ASSERT_EQUAL(open_reply(msg, API_PRODUCE).err, RIA_ERR_MALFORMED);
    ria_msg_free(msg);
}

static void reply_cut_short_is_malformed(void)
{
    struct ria_msg *msg = envelope_reply_error(&produce_header, RIA_ERR_BUSY, "busy");

    for (size_t size = 0; size < ria_msg_size(msg); size++) {
        struct ria_msg *cut = ria_msg_new(size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
        if (size > 0) {
            memcpy(ria_msg_data(cut), ria_msg_data(msg), size);
        }
        struct answer a = open_reply(cut, API_PRODUCE);
        CU_ASSERT_EQUAL(a.err, RIA_ERR_MALFORMED);
        CU_ASSERT_EQUAL(a.header.error_code, 0);
        ria_msg_free(cut);
    }
    ria_msg_free(msg);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(request_travels_with_its_payload),
    HARNESS_TEST(deadline_past_int32_is_cut_off),
    HARNESS_TEST(body_with_bytes_behind_it_is_malformed),
    HARNESS_TEST(request_shorter_than_header_and_body_is_malformed),
    HARNESS_TEST(hostile_request_headers_are_malformed),
    HARNESS_TEST(unknown_type_and_version_can_be_answered),
    HARNESS_TEST(reply_travels_with_its_payload),
    HARNESS_TEST(every_error_of_the_table_arrives),
    HARNESS_TEST(error_text_is_cut_off_at_both_ends_of_the_wire),
    HARNESS_TEST(a_reply_is_read_at_once_and_a_refusal_has_no_payload),
    HARNESS_TEST(error_number_outside_the_table_is_malformed),
    HARNESS_TEST(reply_cut_short_is_malformed),
};

HARNESS_MAIN(tests);
