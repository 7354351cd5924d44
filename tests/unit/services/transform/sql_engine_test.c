/* What statements make of records. */
#include "services/transform/sql_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

#define STREAM "CREATE STREAM s AS "

static struct sql_engine *compile(const char *sql)
{
    struct sql_engine *engine = NULL;
    struct statement_refusal refusal = {.text = ""};

    if (sql_engine_new(ria_slice_cstr(sql), &engine, &refusal) != RIA_OK) {
        (void)printf("    %s\n    -> %s\n", sql, refusal.text);
    }
    return engine;
}

/* What a run gave, as text: "0:key=value\n" or "1!reason\n"; null is NULL. */
struct result {
    char text[16384];
    size_t size;
};

static void append_bytes(struct result *result, struct ria_slice bytes)
{
    if (ria_slice_is_null(bytes)) {
        bytes = RIA_SLICE_LITERAL("NULL");
    }
    size_t size = ria_min_size(bytes.size, sizeof(result->text) - 1 - result->size);
    memcpy(result->text + result->size, bytes.data, size);
    result->size += size;
    result->text[result->size] = '\0';
}

static void append_number(struct result *result, uint32_t row, const char *behind)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%u%s", row, behind);
    append_bytes(result, ria_slice_cstr(text));
}

static bool on_record(void *arg, uint32_t row, struct ria_slice key, struct ria_slice value)
{
    append_number(arg, row, ":");
    append_bytes(arg, key);
    append_bytes(arg, RIA_SLICE_LITERAL("="));
    append_bytes(arg, value);
    append_bytes(arg, RIA_SLICE_LITERAL("\n"));
    return true;
}

static bool on_failed(void *arg, uint32_t row, const char *reason)
{
    append_number(arg, row, "!");
    append_bytes(arg, ria_slice_cstr(reason));
    append_bytes(arg, RIA_SLICE_LITERAL("\n"));
    return true;
}

static const struct sql_sink sink = {.record = on_record, .failed = on_failed};

static void run_engine(
    struct sql_engine *engine, const struct batch_record *rows, uint32_t count, struct result *out
)
{
    out->size = 0;
    out->text[0] = '\0';
    CU_ASSERT_EQUAL(sql_engine_run(engine, 7, rows, count, &sink, out), count);
}

static void
run_rows(const char *select, const struct batch_record *rows, uint32_t count, struct result *out)
{
    char sql[1024];

    (void)snprintf(sql, sizeof(sql), STREAM "%s", select);
    struct sql_engine *engine = compile(sql);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    run_engine(engine, rows, count, out);
    sql_engine_free(engine);
}

static struct batch_record record(const char *key, const char *value)
{
    return (struct batch_record){
        .offset = 100,
        .timestamp_ms = 1700000000123,
        .key = ria_slice_cstr(key),
        .value = ria_slice_cstr(value),
    };
}

/* One record with key "k" through one SELECT. */
static void expect(const char *select, const char *value, const char *text)
{
    struct batch_record row = record("k", value);
    struct result result;

    run_rows(select, &row, 1, &result);
    if (strcmp(result.text, text) != 0) {
        (void)printf("    %s of %s\n    -> %s", select, value, result.text);
        CU_FAIL("another result");
    }
}

static void json_members_become_fields(void)
{
    const char *value =
        "{\"n\":12,\"x\":1.5,\"t\":\"a\\\"b\",\"b\":true,\"z\":null,\"o\":{\"p\":[1,2]}}";

    expect("SELECT value->>'n' AS n FROM t", value, "0:k={\"n\":12}\n");
    expect("SELECT value->>'x' AS x FROM t", value, "0:k={\"x\":1.5}\n");
    expect("SELECT value->>'t' AS t FROM t", value, "0:k={\"t\":\"a\\\"b\"}\n");
    expect("SELECT value->>'b' AS b FROM t", value, "0:k={\"b\":1}\n");
    expect("SELECT value->'b' AS b FROM t", value, "0:k={\"b\":true}\n");
    expect("SELECT value->>'z' AS z FROM t", value, "0:k={\"z\":null}\n");
    expect("SELECT value->>'none' AS none FROM t", value, "0:k={\"none\":null}\n");
    expect("SELECT value->'o' AS o FROM t", value, "0:k={\"o\":{\"p\":[1,2]}}\n");
    expect("SELECT value->>'o' AS o FROM t", value, "0:k={\"o\":\"{\\\"p\\\":[1,2]}\"}\n");
    expect("SELECT value->>'$.o.p[1]' AS p FROM t", value, "0:k={\"p\":2}\n");
    expect(
        "SELECT json_array(1, key, json('{}')) AS a, json_quote('q') AS q FROM t",
        value,
        "0:k={\"a\":[1,\"k\",{}],\"q\":\"q\"}\n"
    );
    expect(
        "SELECT value->>'n' AS \"a \"\"quoted\"\" name\", 2 AS \xC3\xA9 FROM t",
        value,
        "0:k={\"a \\\"quoted\\\" name\":12,\"\xC3\xA9\":2}\n"
    );
}

static void numbers_keep_their_value(void)
{
    expect("SELECT 9223372036854775807 AS n FROM t", "", "0:k={\"n\":9223372036854775807}\n");
    expect("SELECT -9223372036854775808 AS n FROM t", "", "0:k={\"n\":-9223372036854775808}\n");
    expect("SELECT 0.1 + 0.2 AS n FROM t", "", "0:k={\"n\":0.30000000000000004}\n");
    expect("SELECT 0.1 AS n FROM t", "", "0:k={\"n\":0.1}\n");
    expect("SELECT 3.0 AS n FROM t", "", "0:k={\"n\":3.0}\n");
    expect("SELECT 1e300 AS n FROM t", "", "0:k={\"n\":1e+300}\n");
    expect("SELECT 1e400 AS n FROM t", "", "0!column \"n\" is infinite, which JSON cannot say\n");
    expect(
        "SELECT value->>'n' AS n FROM t",
        "{\"n\":12345678901234567890}",
        "0:k={\"n\":1.2345678901234567e+19}\n"
    );
}

static void key_is_the_inputs_unless_the_result_has_one(void)
{
    expect("SELECT 1 AS n FROM t", "", "0:k={\"n\":1}\n");
    expect("SELECT upper(key) AS key, 1 AS n FROM t", "", "0:K={\"n\":1}\n");
    expect("SELECT NULL AS key, 1 AS n FROM t", "", "0:NULL={\"n\":1}\n");
    expect("SELECT 42 AS Key, 1 AS n FROM t", "", "0:42={\"n\":1}\n");
    expect("SELECT 1.5 AS key, 1 AS n FROM t", "", "0:1.5={\"n\":1}\n");
    expect("SELECT '' AS key, 1 AS n FROM t", "", "0:={\"n\":1}\n");
}

static void column_value_is_the_whole_record(void)
{
    expect("SELECT * FROM t", "plain text", "0:k=plain text\n");
    expect("SELECT value FROM t WHERE value IS NULL", NULL, "0:k=NULL\n");
    expect("SELECT NULL AS value FROM t", "x", "0:k=NULL\n");
    expect("SELECT '' AS value FROM t", "x", "0:k=\n");
    expect("SELECT 17 AS value FROM t", "x", "0:k=17\n");
    expect("SELECT 0.5 AS value FROM t", "x", "0:k=0.5\n");
    expect("SELECT json_object('a', 1) AS value FROM t", "x", "0:k={\"a\":1}\n");
    expect("SELECT value || '!' AS VALUE FROM t", "x", "0:k=x!\n");
}

static void other_columns_are_there(void)
{
    expect(
        "SELECT offset, partition, timestamp, headers FROM t",
        "",
        "0:k={\"offset\":100,\"partition\":7,\"timestamp\":1700000000123,\"headers\":{}}\n"
    );
    expect(
        "SELECT strftime('%Y-%m-%d', timestamp / 1000, 'unixepoch') AS day FROM t",
        "",
        "0:k={\"day\":\"2023-11-14\"}\n"
    );
}

static void headers_are_json(void)
{
    struct batch_builder builder;
    struct batch_iter iter;
    struct batch_record row;
    struct result result;
    bool more = false;
    const struct batch_record_header headers[] = {
        {RIA_SLICE_LITERAL("trace"), RIA_SLICE_LITERAL("a\"b")},
        {RIA_SLICE_LITERAL("none"), RIA_SLICE_NULL},
        {RIA_SLICE_LITERAL("raw"), RIA_SLICE_LITERAL("\xFF\x01")},
    };

    batch_builder_init(&builder, 4096);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, 1, RIA_SLICE_NULL, RIA_SLICE_EMPTY, headers, 3), RIA_OK
    );
    CU_ASSERT_EQUAL(batch_iter_init(&iter, batch_builder_finish(&builder, -1, -1, -1)), RIA_OK);
    CU_ASSERT_EQUAL(batch_iter_next(&iter, &row, &more), RIA_OK);
    run_rows("SELECT headers AS h, headers->>'trace' AS t FROM t", &row, 1, &result);
    CU_ASSERT_STRING_EQUAL(
        result.text,
        "0:NULL={\"h\":{\"trace\":\"a\\\"b\",\"none\":null,\"raw\":{\"base64\":\"/wE=\"}},"
        "\"t\":\"a\\\"b\"}\n"
    );
    batch_builder_fini(&builder);
}

static void bytes_that_are_no_text_are_blobs(void)
{
    struct batch_record row = record("k", NULL);
    struct result result;

    row.value = RIA_SLICE_LITERAL("\xFF\x00\x80");
    row.key = RIA_SLICE_LITERAL("\xC0\x80");
    run_rows("SELECT typeof(key) AS a, typeof(value) AS b, value AS c FROM t", &row, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "\"c\":\"/wCA\"}"));
    run_rows(
        "SELECT typeof(key) AS a, typeof(value) AS b, length(value) AS c FROM t", &row, 1, &result
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "{\"a\":\"blob\",\"b\":\"blob\",\"c\":3}"));
    run_rows("SELECT value FROM t", &row, 1, &result);
    CU_ASSERT_EQUAL(memcmp(result.text, "0:\xC0\x80=\xFF\x00\x80\n", 9), 0);
}

static void text_of_any_script_passes_unchanged(void)
{
    struct batch_record row = record("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA4\\u20ac\"");
    struct result result;

    run_rows("SELECT length(key) AS n, key AS k, value->>'$' AS v FROM t", &row, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        result.text,
        "{\"n\":3,\"k\":\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\",\"v\":\"\xC3\xA4\xE2\x82\xAC\"}"
    ));
    row.value = RIA_SLICE_LITERAL("a\0b"); /* a text that holds a NUL, and keeps it */
    run_rows("SELECT value FROM t WHERE typeof(value) = 'text'", &row, 1, &result);
    CU_ASSERT_EQUAL(result.size, strlen("0:") + row.key.size + strlen("=a0b\n"));
}

static void control_characters_are_escaped(void)
{
    expect("SELECT value AS v FROM t WHERE 1", "a\nb\tc\x01", "0:k={\"v\":\"a\\nb\\tc\\u0001\"}\n");
    expect(
        "SELECT CAST(x'ff41' AS TEXT) AS v FROM t",
        "",
        "0:k={\"v\":\"\xEF\xBF\xBD"
        "A\"}\n"
    );
}

/* ---- several records ---- */

static void rows_keep_their_order_and_number(void)
{
    enum { COUNT = 100 };
    static struct batch_record rows[COUNT];
    static char values[COUNT][32];
    char expected[4096] = "";
    struct result result;

    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(values[i], sizeof(values[i]), "{\"n\":%d}", i);
        rows[i] = record("k", values[i]);
        if (i % 7 == 3) {
            (void)snprintf(expected + strlen(expected), 64, "%d:k={\"n\":%d}\n", i, i);
        }
    }
    run_rows("SELECT value->>'n' AS n FROM t WHERE value->>'n' % 7 = 3", rows, COUNT, &result);
    CU_ASSERT_STRING_EQUAL(result.text, expected);
}

static void an_error_is_its_rows_and_the_next_goes_on(void)
{
    const struct batch_record rows[] = {
        record("k", "{bad"),
        record("k", "{\"n\":1}"),
        record("k", "{\"n\":"),
        record("k", "nonsense"),
        record("k", NULL),
        record("k", "{\"n\":2}"),
        record("k", ""),
    };
    struct result result;

    run_rows("SELECT value->>'n' AS n FROM t", rows, RIA_COUNT(rows), &result);
    CU_ASSERT_STRING_EQUAL(
        result.text,
        "0!malformed JSON\n1:k={\"n\":1}\n2!malformed JSON\n3!malformed JSON\n"
        "4:k={\"n\":null}\n5:k={\"n\":2}\n6!malformed JSON\n"
    );
    run_rows(
        "SELECT value->>'n' AS n FROM t WHERE value->>'n' > 1", rows, RIA_COUNT(rows), &result
    );
    CU_ASSERT_STRING_EQUAL(
        result.text,
        "0!malformed JSON\n2!malformed JSON\n3!malformed JSON\n5:k={\"n\":2}\n6!malformed JSON\n"
    );
}

static void arithmetic_can_fail_too(void)
{
    expect("SELECT abs(-9223372036854775807 - 1) AS n FROM t", "", "0!integer overflow\n");
    expect("SELECT abs(value) AS n FROM t", "-3", "0:k={\"n\":3.0}\n");
    expect("SELECT 1 / 0 AS n FROM t", "", "0:k={\"n\":null}\n");
}

static void time_is_not_to_be_had(void)
{
    const struct batch_record rows[] = {
        record("k", "2020-01-01"),
        record("k", "now"),
        record("k", "2021-01-01"),
    };
    struct result result;

    run_rows("SELECT date(value) AS d FROM t", rows, RIA_COUNT(rows), &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "0:k={\"d\":\"2020-01-01\"}\n1!'now' is not allowed")
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "\n2:k={\"d\":\"2021-01-01\"}\n"));
    run_rows("SELECT value FROM t WHERE date(value) > '2020-06-01'", rows, 3, &result);
    CU_ASSERT_EQUAL(strncmp(result.text, "1!'now' is not allowed", 22), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "\n2:k=2021-01-01\n"));
    run_rows("SELECT date(value, 'localtime') AS d FROM t", rows, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "{\"d\":\"20"));
}

static void a_runaway_row_fails_alone(void)
{
    const struct batch_record rows[] = {
        record("k", "1"), record("k", "{\"n\":2}"), record("k", "3")};
    char sql[RIA_SQL_MAX] = STREAM "SELECT CASE WHEN value->>'$.n' = 2 THEN 0";
    struct result result;

    for (int i = 0; i < 150; i++) {
        (void)strcat(sql, "+coalesce(nullif(value,'x'),1,2)");
    }
    (void)strcat(sql, " ELSE 5 END AS n FROM t");
    struct sql_engine *engine = compile(sql);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    sql_engine_set_steps_max(engine, 1); /* checked every thousand steps */
    run_engine(engine, rows, RIA_COUNT(rows), &result);
    CU_ASSERT_STRING_EQUAL(
        result.text,
        "0:k={\"n\":5}\n1!the statement takes more than 1 steps for this record\n2:k={\"n\":5}\n"
    );
    sql_engine_free(engine);
}

static void a_value_past_the_limit_fails(void)
{
    struct batch_record row = record("k", "x");
    struct result result;

    run_rows("SELECT zeroblob(100000000) AS v FROM t", &row, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "0!a text or blob of more than 8388608 bytes"));
    run_rows(
        "SELECT replace(hex(zeroblob(2000)), '00', hex(zeroblob(4000))) AS v FROM t",
        &row,
        1,
        &result
    );
    CU_ASSERT_EQUAL(strncmp(result.text, "0!", 2), 0);
    run_rows("SELECT zeroblob(8000000) AS a, zeroblob(8000000) AS b FROM t", &row, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "makes the value larger than a record can be"));
}

static void a_large_value_passes(void)
{
    enum { SIZE = RIA_BATCH_SIZE_MAX - 1000 };
    struct batch_record row = record("k", NULL);
    char *value = malloc(SIZE);
    struct result result;

    CU_ASSERT_PTR_NOT_NULL_FATAL(value);
    memset(value, 'x', SIZE);
    row.value = ria_slice_of(value, SIZE);
    run_rows("SELECT length(value) AS n FROM t", &row, 1, &result);
    CU_ASSERT_STRING_EQUAL(result.text, "0:k={\"n\":8387608}\n");
    run_rows("SELECT value FROM t", &row, 1, &result);
    CU_ASSERT_EQUAL(result.size, sizeof(result.text) - 1); /* as much as fits here */
    run_rows("SELECT value || value AS value FROM t", &row, 1, &result);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.text, "0!a text or blob of more than"));
    free(value);
}

static void an_engine_is_used_again_and_again(void)
{
    struct sql_engine *engine =
        compile(STREAM "SELECT value->>'n' AS n FROM t WHERE partition = 7");
    struct result result;

    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    for (int i = 0; i < 100; i++) {
        char value[32];
        char expected[64];
        (void)snprintf(value, sizeof(value), "{\"n\":%d}", i);
        (void)snprintf(expected, sizeof(expected), "0:k={\"n\":%d}\n1!malformed JSON\n", i);
        const struct batch_record rows[] = {record("k", value), record("k", "{")};
        run_engine(engine, rows, 2, &result);
        CU_ASSERT_STRING_EQUAL(result.text, expected);
        run_engine(engine, rows, 0, &result);
        CU_ASSERT_STRING_EQUAL(result.text, "");
    }
    sql_engine_free(engine);
}

static void engines_do_not_meet(void)
{
    struct sql_engine *a = compile(STREAM "SELECT 'a' AS v FROM t");
    struct sql_engine *b = compile(STREAM "SELECT 'b' AS v FROM t");
    struct batch_record row = record("k", "x");
    struct result result;

    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    sql_engine_free(a);
    run_engine(b, &row, 1, &result);
    CU_ASSERT_STRING_EQUAL(result.text, "0:k={\"v\":\"b\"}\n");
    sql_engine_free(b);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(json_members_become_fields),
    HARNESS_TEST(numbers_keep_their_value),
    HARNESS_TEST(key_is_the_inputs_unless_the_result_has_one),
    HARNESS_TEST(column_value_is_the_whole_record),
    HARNESS_TEST(other_columns_are_there),
    HARNESS_TEST(headers_are_json),
    HARNESS_TEST(bytes_that_are_no_text_are_blobs),
    HARNESS_TEST(text_of_any_script_passes_unchanged),
    HARNESS_TEST(control_characters_are_escaped),
    HARNESS_TEST(rows_keep_their_order_and_number),
    HARNESS_TEST(an_error_is_its_rows_and_the_next_goes_on),
    HARNESS_TEST(arithmetic_can_fail_too),
    HARNESS_TEST(time_is_not_to_be_had),
    HARNESS_TEST(a_runaway_row_fails_alone),
    HARNESS_TEST(a_value_past_the_limit_fails),
    HARNESS_TEST(a_large_value_passes),
    HARNESS_TEST(an_engine_is_used_again_and_again),
    HARNESS_TEST(engines_do_not_meet),
};
HARNESS_MAIN(tests);
