#include "services/gateway/render.h"

#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"

#include "services/gateway/records.h"
#include "tests/lib/harness.h"

/* A batch of the records, at base_offset, appended to out. */
static void append_batch(
    struct ria_buf *out, int64_t base_offset, const struct produce_record *records, uint32_t count
)
{
    struct batch_builder builder;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct produce_record *r = &records[i];
        CU_ASSERT_EQUAL(
            batch_builder_add(
                &builder, r->timestamp_ms, r->key, r->value, r->headers, r->header_count
            ),
            RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    size_t at = out->size;
    CU_ASSERT_EQUAL(ria_buf_append(out, bytes.data, bytes.size), RIA_OK);
    batch_patch(out->data + at, base_offset, 1);
    batch_builder_fini(&builder);
}

static bool renders(const struct produce_record *record, const char *wanted)
{
    struct render_range range = {.offset = 7};
    struct ria_buf data;
    struct ria_buf out;

    ria_buf_init(&data, 1 << 20);
    ria_buf_init(&out, 1 << 20);
    append_batch(&data, 7, record, 1);
    ria_err err = render_batches(ria_buf_slice(&data), RENDER_LINES, &range, &out);
    bool same = err == RIA_OK && range.count == 1 && range.next_offset == 8 &&
                ria_slice_equal(ria_buf_slice(&out), ria_slice_cstr(wanted));
    ria_buf_fini(&data);
    ria_buf_fini(&out);
    return same;
}

static bool value_renders(const char *value, const char *wanted)
{
    const struct produce_record record = {.timestamp_ms = 5, .value = ria_slice_cstr(value)};
    char line[256];

    (void)snprintf(
        line, sizeof(line), "{\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":%s}\n", wanted
    );
    return renders(&record, line);
}

static bool key_renders(struct ria_slice key, const char *wanted)
{
    const struct produce_record record = {
        .timestamp_ms = 5, .key = key, .value = RIA_SLICE_LITERAL("1")};
    char line[256];

    (void)snprintf(
        line, sizeof(line), "{\"offset\":7,\"timestamp\":5,\"key\":%s,\"value\":1}\n", wanted
    );
    return renders(&record, line);
}

static void json_values_are_embedded(void)
{
    CU_ASSERT_TRUE(value_renders("{\"a\": [1,2]}", "{\"a\": [1,2]}"));
    CU_ASSERT_TRUE(value_renders("\"s\"", "\"s\""));
    CU_ASSERT_TRUE(value_renders("12", "12"));
    CU_ASSERT_TRUE(value_renders(NULL, "null"));
}

static void json_on_several_lines_becomes_one(void)
{
    CU_ASSERT_TRUE(value_renders("{\n\"a\\n\":\n1}", "{ \"a\\n\": 1}"));
}

static void other_values_are_marked(void)
{
    CU_ASSERT_TRUE(value_renders("hello", "\"hello\",\"value_encoding\":\"text\""));
    CU_ASSERT_TRUE(value_renders("", "\"\",\"value_encoding\":\"text\""));
    CU_ASSERT_TRUE(value_renders("null", "\"null\",\"value_encoding\":\"text\""));
    CU_ASSERT_TRUE(value_renders("a\"\n", "\"a\\\"\\n\",\"value_encoding\":\"text\""));
    CU_ASSERT_TRUE(value_renders("\xff\xfe", "\"//4=\",\"value_encoding\":\"base64\""));
    CU_ASSERT_TRUE(value_renders("[1] x", "\"[1] x\",\"value_encoding\":\"text\""));
}

static void keys_are_text(void)
{
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_LITERAL("bash"), "\"bash\""));
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_LITERAL("42"), "\"42\""));
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_EMPTY, "\"\""));
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_LITERAL("\"k1\""), "\"k1\",\"key_encoding\":\"json\""));
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_LITERAL("[1"), "\"[1\""));
    CU_ASSERT_TRUE(key_renders(RIA_SLICE_LITERAL("\xff"), "\"/w==\",\"key_encoding\":\"base64\""));
}

static void headers_are_an_object_with_arrays_for_repeats(void)
{
    const struct batch_record_header headers[] = {
        {RIA_SLICE_LITERAL("a"), RIA_SLICE_LITERAL("1")},
        {RIA_SLICE_LITERAL("b"), RIA_SLICE_NULL},
        {RIA_SLICE_LITERAL("a"), RIA_SLICE_LITERAL("\xff")},
    };
    const struct produce_record record = {
        .timestamp_ms = 5,
        .value = RIA_SLICE_LITERAL("1"),
        .headers = headers,
        .header_count = 3,
    };

    CU_ASSERT_TRUE(renders(
        &record,
        "{\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1,"
        "\"headers\":{\"a\":[\"1\",{\"base64\":\"/w==\"}],\"b\":null}}\n"
    ));
}

/* Two batches of three records: offsets 10..12 and 13..15. */
static void two_batches(struct ria_buf *out)
{
    struct produce_record records[3] = {
        {.timestamp_ms = 1}, {.timestamp_ms = 2}, {.timestamp_ms = 3}};

    for (int i = 0; i < 3; i++) {
        records[i].value = RIA_SLICE_LITERAL("1");
    }
    ria_buf_init(out, 1 << 20);
    append_batch(out, 10, records, 3);
    append_batch(out, 13, records, 3);
}

static void records_before_the_offset_are_left_out(void)
{
    struct render_range range = {.offset = 12};
    struct ria_buf data;
    struct ria_buf out;

    two_batches(&data);
    ria_buf_init(&out, 1 << 20);
    CU_ASSERT_EQUAL(render_batches(ria_buf_slice(&data), RENDER_ARRAY, &range, &out), RIA_OK);
    CU_ASSERT_EQUAL(range.count, 4);
    CU_ASSERT_EQUAL(range.next_offset, 16);
    CU_ASSERT_EQUAL(memcmp(out.data, "{\"offset\":12,", 13), 0);
    ria_buf_fini(&data);
    ria_buf_fini(&out);
}

static void limits_end_between_records(void)
{
    struct render_range range = {.offset = 10, .records_max = 4};
    struct ria_buf data;
    struct ria_buf out;

    two_batches(&data);
    ria_buf_init(&out, 1 << 20);
    CU_ASSERT_EQUAL(render_batches(ria_buf_slice(&data), RENDER_ARRAY, &range, &out), RIA_OK);
    CU_ASSERT_EQUAL(range.count, 4);
    CU_ASSERT_EQUAL(range.next_offset, 14);
    range = (struct render_range){.offset = 10, .size_max = 1};
    ria_buf_clear(&out);
    CU_ASSERT_EQUAL(render_batches(ria_buf_slice(&data), RENDER_ARRAY, &range, &out), RIA_OK);
    CU_ASSERT_EQUAL(range.count, 1);
    CU_ASSERT_EQUAL(range.next_offset, 11);
    ria_buf_fini(&data);
    ria_buf_fini(&out);
}

static void a_cut_off_batch_is_left_out(void)
{
    struct ria_buf data;
    struct ria_buf out;

    two_batches(&data);
    ria_buf_init(&out, 1 << 20);
    for (size_t size = 0; size < data.size; size++) {
        struct render_range range = {.offset = 10};
        ria_buf_clear(&out);
        ria_err err = render_batches(ria_slice_of(data.data, size), RENDER_ARRAY, &range, &out);
        if (size == 0) {
            CU_ASSERT_TRUE(err == RIA_OK && range.next_offset == 10);
        } else if (size < data.size / 2) {
            CU_ASSERT_EQUAL(err, RIA_ERR_MALFORMED);
        } else {
            CU_ASSERT_TRUE(err == RIA_OK && range.count == 3 && range.next_offset == 13);
        }
    }
    ria_buf_fini(&data);
    ria_buf_fini(&out);
}

static void what_is_read_as_lines_can_be_written_again(void)
{
    const struct batch_record_header headers[] = {
        {RIA_SLICE_LITERAL("a"), RIA_SLICE_LITERAL("1")},
        {RIA_SLICE_LITERAL("a"), RIA_SLICE_LITERAL("\xff")},
        {RIA_SLICE_LITERAL("b"), RIA_SLICE_NULL},
    };
    static const char *const texts[] = {
        "plain", "\"k\"", "42", "{\"a\": 1}", "", "null", "\xff\x01", "tab\t\"quote\\", "[", NULL};
    struct record_set set;
    struct failure failure;

    record_set_init(&set);
    for (size_t k = 0; k < RIA_COUNT(texts); k++) {
        for (size_t v = 0; v < RIA_COUNT(texts); v++) {
            const struct produce_record record = {
                .timestamp_ms = 9,
                .key = ria_slice_cstr(texts[k]),
                .value = ria_slice_cstr(texts[v]),
                .headers = headers,
                .header_count = RIA_COUNT(headers),
            };
            struct render_range range = {.offset = 0};
            struct ria_buf data;
            struct ria_buf out;
            ria_buf_init(&data, 1 << 20);
            ria_buf_init(&out, 1 << 20);
            append_batch(&data, 0, &record, 1);
            CU_ASSERT_EQUAL(
                render_batches(ria_buf_slice(&data), RENDER_LINES, &range, &out), RIA_OK
            );
            CU_ASSERT_TRUE_FATAL(
                records_parse_ndjson(&set, ria_buf_slice(&out), false, NULL, &failure)
            );
            const struct produce_record *again = &set.records[0];
            CU_ASSERT_TRUE(ria_slice_equal(again->key, record.key));
            CU_ASSERT_EQUAL(ria_slice_is_null(again->key), ria_slice_is_null(record.key));
            CU_ASSERT_TRUE(ria_slice_equal(again->value, record.value));
            CU_ASSERT_EQUAL(ria_slice_is_null(again->value), ria_slice_is_null(record.value));
            CU_ASSERT_EQUAL(again->timestamp_ms, 9);
            CU_ASSERT_EQUAL_FATAL(again->header_count, 3);
            for (uint32_t h = 0; h < 3; h++) {
                CU_ASSERT_TRUE(ria_slice_equal(again->headers[h].name, headers[h].name));
                CU_ASSERT_TRUE(ria_slice_equal(again->headers[h].value, headers[h].value));
            }
            ria_buf_fini(&data);
            ria_buf_fini(&out);
        }
    }
    record_set_fini(&set);
}

static void integers_have_no_surprises(void)
{
    struct ria_buf out;

    ria_buf_init(&out, 1024);
    CU_ASSERT_EQUAL(render_i64(&out, 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append_str(&out, " "), RIA_OK);
    CU_ASSERT_EQUAL(render_i64(&out, INT64_MAX), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append_str(&out, " "), RIA_OK);
    CU_ASSERT_EQUAL(render_i64(&out, INT64_MIN), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(
        ria_buf_slice(&out), RIA_SLICE_LITERAL("0 9223372036854775807 -9223372036854775808")
    ));
    ria_buf_fini(&out);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(json_values_are_embedded),
    HARNESS_TEST(json_on_several_lines_becomes_one),
    HARNESS_TEST(other_values_are_marked),
    HARNESS_TEST(keys_are_text),
    HARNESS_TEST(headers_are_an_object_with_arrays_for_repeats),
    HARNESS_TEST(records_before_the_offset_are_left_out),
    HARNESS_TEST(limits_end_between_records),
    HARNESS_TEST(a_cut_off_batch_is_left_out),
    HARNESS_TEST(what_is_read_as_lines_can_be_written_again),
    HARNESS_TEST(integers_have_no_surprises),
};

HARNESS_MAIN(tests);
