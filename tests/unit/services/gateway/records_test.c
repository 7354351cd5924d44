#include "services/gateway/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

static bool is(struct ria_slice slice, const char *wanted)
{
    return wanted == NULL
               ? ria_slice_is_null(slice)
               : !ria_slice_is_null(slice) && ria_slice_equal(slice, ria_slice_cstr(wanted));
}

struct parsed {
    struct record_set set;
    struct failure failure;
    bool fine;
};

static void v2(struct parsed *p, const char *body, record_format format)
{
    record_set_init(&p->set);
    p->fine = records_parse_v2(&p->set, ria_slice_cstr(body), format, true, &p->failure);
}

static void lines(struct parsed *p, const char *body, bool values, const char *key)
{
    record_set_init(&p->set);
    p->fine = records_parse_ndjson(&p->set, ria_slice_cstr(body), values, key, &p->failure);
}

static void fini(struct parsed *p)
{
    record_set_fini(&p->set);
}

/* --- v2 ----------------------------------------------------------------------------------------*/

static void json_values_pass_through_untouched(void)
{
    struct parsed p;

    v2(&p,
       "{\"records\":[{\"value\": {\"a\" : [1, 2.50] } , \"key\":\"k\\n\"}, {\"value\":null},"
       "{\"key\":17,\"value\":\"s\",\"partition\":3}]}",
       RECORD_JSON);
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_EQUAL(p.set.count, 3);
    CU_ASSERT_TRUE(is(p.set.records[0].value, "{\"a\" : [1, 2.50] }"));
    CU_ASSERT_TRUE(is(p.set.records[0].key, "\"k\\n\""));
    CU_ASSERT_EQUAL(p.set.records[0].partition, -1);
    CU_ASSERT_TRUE(is(p.set.records[1].value, NULL));
    CU_ASSERT_TRUE(is(p.set.records[2].key, "17"));
    CU_ASSERT_TRUE(is(p.set.records[2].value, "\"s\""));
    CU_ASSERT_EQUAL(p.set.records[2].partition, 3);
    fini(&p);
}

static void binary_values_are_decoded(void)
{
    struct parsed p;

    v2(&p,
       "{\"records\":[{\"key\":\"az\\u0045=\",\"value\":\"aGVsbG8=\"},{\"value\":null},"
       "{\"value\":\"\"}]}",
       RECORD_BINARY);
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_TRUE(is(p.set.records[0].key, "k1"));
    CU_ASSERT_TRUE(is(p.set.records[0].value, "hello"));
    CU_ASSERT_TRUE(is(p.set.records[1].value, NULL));
    CU_ASSERT_TRUE(is(p.set.records[2].value, ""));
    fini(&p);
}

/* Refused with this status, and a message that has `part`. */
static void refused_v2(const char *body, record_format format, int status, const char *part)
{
    struct parsed p;

    v2(&p, body, format);
    CU_ASSERT_FALSE(p.fine);
    if (!p.fine) {
        CU_ASSERT_EQUAL(p.failure.status, status);
        CU_ASSERT_PTR_NOT_NULL(strstr(p.failure.message, part));
    }
    fini(&p);
}

static void malformed_json_is_refused_with_its_position(void)
{
    refused_v2("", RECORD_JSON, 422, "byte 0");
    refused_v2("{\"records\":[{\"value\":1}", RECORD_JSON, 422, "byte 23");
    refused_v2("{\"records\":[{\"value\":01}]}", RECORD_JSON, 422, "byte 2");
    refused_v2("{\"records\":[{\"value\":1}]} x", RECORD_JSON, 422, "byte 26");
    refused_v2("{\"records\":[{\"value\":\"\xff\"}]}", RECORD_JSON, 422, "byte 22");
}

static void wrong_documents_are_refused(void)
{
    refused_v2("[]", RECORD_JSON, 422, "records");
    refused_v2("{}", RECORD_JSON, 422, "records");
    refused_v2("{\"records\":{}}", RECORD_JSON, 422, "records");
    refused_v2("{\"records\":[]}", RECORD_JSON, 422, "at least one");
    refused_v2("{\"records\":[1]}", RECORD_JSON, 422, "objects");
    refused_v2("{\"records\":[{\"valu\":1}]}", RECORD_JSON, 422, "\"valu\"");
    refused_v2("{\"record\":[{\"value\":1}]}", RECORD_JSON, 422, "\"record\"");
    refused_v2("{\"records\":[{\"value\":1}],\"value_schema\":\"x\"}", RECORD_JSON, 422, "schema");
    refused_v2("{\"records\":[{\"partition\":-1}]}", RECORD_JSON, 422, "partition");
    refused_v2("{\"records\":[{\"partition\":1.5}]}", RECORD_JSON, 422, "partition");
    refused_v2("{\"records\":[{\"partition\":2147483648}]}", RECORD_JSON, 422, "partition");
}

static void bad_base64_is_refused_with_its_record(void)
{
    refused_v2(
        "{\"records\":[{\"value\":\"aGVsbG8=\"},{\"value\":\"aGVsbG8\"}]}",
        RECORD_BINARY,
        422,
        "record 1: value"
    );
    refused_v2("{\"records\":[{\"value\":1}]}", RECORD_BINARY, 422, "base64 string");
    refused_v2("{\"records\":[{\"key\":\"!!!!\"}]}", RECORD_BINARY, 422, "key");
}

static void a_partition_in_path_and_body_is_refused(void)
{
    struct record_set set;
    struct failure failure;

    record_set_init(&set);
    CU_ASSERT_FALSE(records_parse_v2(
        &set, RIA_SLICE_LITERAL("{\"records\":[{\"partition\":0}]}"), RECORD_JSON, false, &failure
    ));
    CU_ASSERT_EQUAL(failure.status, 422);
    record_set_fini(&set);
}

static void schema_members_may_be_null(void)
{
    struct parsed p;

    v2(&p, "{\"key_schema\":null,\"records\":[{\"value\":1}],\"value_schema_id\":null}", RECORD_JSON
    );
    CU_ASSERT_TRUE(p.fine);
    fini(&p);
}

/* --- lines -------------------------------------------------------------------------------------*/

static void lines_are_records(void)
{
    struct parsed p;

    lines(
        &p,
        "{\"key\":\"k\\u00e9\",\"value\":{\"a\":1},\"timestamp\":12,\"partition\":2}\r\n"
        "\n"
        "{\"key\":{\"x\":1},\"value\":null,\"offset\":99}\n"
        "{\"value\":\"text\"}",
        false,
        NULL
    );
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_EQUAL(p.set.count, 3);
    CU_ASSERT_TRUE(is(p.set.records[0].key, "k\xc3\xa9"));
    CU_ASSERT_TRUE(is(p.set.records[0].value, "{\"a\":1}"));
    CU_ASSERT_EQUAL(p.set.records[0].timestamp_ms, 12);
    CU_ASSERT_EQUAL(p.set.records[0].partition, 2);
    CU_ASSERT_TRUE(is(p.set.records[1].key, "{\"x\":1}"));
    CU_ASSERT_TRUE(is(p.set.records[1].value, NULL));
    CU_ASSERT_TRUE(is(p.set.records[2].key, NULL));
    CU_ASSERT_TRUE(is(p.set.records[2].value, "\"text\""));
    CU_ASSERT_EQUAL(p.set.records[2].timestamp_ms, -1);
    fini(&p);
}

static void encodings_choose_the_bytes(void)
{
    struct parsed p;

    lines(
        &p,
        "{\"key\":\"k\",\"key_encoding\":\"json\",\"value\":\"v\",\"value_encoding\":\"text\"}\n"
        "{\"key\":\"azE=\",\"key_encoding\":\"base64\",\"value\":\"\",\"value_encoding\":"
        "\"base64\"}\n"
        "{\"key\":null,\"key_encoding\":\"base64\",\"value\":null,\"value_encoding\":\"text\"}\n",
        false,
        NULL
    );
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_TRUE(is(p.set.records[0].key, "\"k\""));
    CU_ASSERT_TRUE(is(p.set.records[0].value, "v"));
    CU_ASSERT_TRUE(is(p.set.records[1].key, "k1"));
    CU_ASSERT_TRUE(is(p.set.records[1].value, ""));
    CU_ASSERT_TRUE(is(p.set.records[2].key, NULL));
    CU_ASSERT_TRUE(is(p.set.records[2].value, NULL));
    fini(&p);
}

static void headers_keep_names_values_and_repeats(void)
{
    struct parsed p;

    lines(
        &p,
        "{\"value\":1,\"headers\":{\"a\":\"1\",\"b\":[\"2\",null,{\"base64\":\"/"
        "w==\"}],\"c\":null}}",
        false,
        NULL
    );
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_EQUAL_FATAL(p.set.records[0].header_count, 5);
    const struct batch_record_header *headers = p.set.records[0].headers;
    CU_ASSERT_TRUE(is(headers[0].name, "a") && is(headers[0].value, "1"));
    CU_ASSERT_TRUE(is(headers[1].name, "b") && is(headers[1].value, "2"));
    CU_ASSERT_TRUE(is(headers[2].name, "b") && is(headers[2].value, NULL));
    CU_ASSERT_TRUE(is(headers[3].name, "b") && is(headers[3].value, "\xff"));
    CU_ASSERT_TRUE(is(headers[4].name, "c") && is(headers[4].value, NULL));
    fini(&p);
}

static void whole_lines_may_be_values(void)
{
    struct parsed p;

    lines(&p, " {\"package\":\"ba\\\"sh\",\"n\":1} \n[1]\n", true, NULL);
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_TRUE(is(p.set.records[0].value, "{\"package\":\"ba\\\"sh\",\"n\":1}"));
    CU_ASSERT_TRUE(is(p.set.records[0].key, NULL));
    CU_ASSERT_TRUE(is(p.set.records[1].value, "[1]"));
    fini(&p);
    lines(&p, "{\"package\":\"ba\\\"sh\",\"n\":1}\n{\"n\":2,\"package\":7}\n", true, "package");
    CU_ASSERT_TRUE(p.fine);
    CU_ASSERT_TRUE(is(p.set.records[0].key, "ba\"sh"));
    CU_ASSERT_TRUE(is(p.set.records[1].key, "7"));
    fini(&p);
}

static void refused_lines(const char *body, bool values, const char *key, const char *part)
{
    struct parsed p;

    lines(&p, body, values, key);
    CU_ASSERT_FALSE(p.fine);
    if (!p.fine) {
        CU_ASSERT_EQUAL(p.failure.status, 422);
        CU_ASSERT_EQUAL(
            p.failure.outcome, strstr(part, "no lines") ? OUTCOME_NONE : OUTCOME_NOT_STORED
        );
        CU_ASSERT_PTR_NOT_NULL(strstr(p.failure.message, part));
    }
    fini(&p);
}

static void wrong_lines_are_refused_with_their_position(void)
{
    refused_lines("", false, NULL, "no lines");
    refused_lines("\n \r\n", false, NULL, "no lines");
    refused_lines("{\"value\":1}\n{\"value\":}\n", false, NULL, "byte 21");
    refused_lines("{\"value\":1}\n{\"value\":1,\"extra\":2}\n", false, NULL, "\"extra\"");
    refused_lines("{\"key\":1}\n", false, NULL, "value is missing");
    refused_lines("[1]\n", false, NULL, "line must be");
    refused_lines("{\"value\":1,\"timestamp\":-1}", false, NULL, "timestamp");
    refused_lines("{\"value\":1,\"timestamp\":\"now\"}", false, NULL, "timestamp");
    refused_lines("{\"value\":1,\"headers\":[]}", false, NULL, "headers");
    refused_lines("{\"value\":1,\"headers\":{\"a\":1}}", false, NULL, "headers");
    refused_lines("{\"value\":1,\"value_encoding\":\"utf8\"}", false, NULL, "encoding");
    refused_lines("{\"value\":1,\"value_encoding\":\"text\"}", false, NULL, "string");
    refused_lines("{\"a\":1}\n", true, "b", "key");
    refused_lines("1\n", true, "b", "key");
}

static void too_many_records_are_refused(void)
{
    struct parsed p;
    size_t size = (size_t)(RECORDS_MAX + 1) * 2;
    char *body = malloc(size + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    for (size_t i = 0; i < size; i += 2) {
        body[i] = '1';
        body[i + 1] = '\n';
    }
    body[size] = '\0';
    lines(&p, body, true, NULL);
    CU_ASSERT_FALSE(p.fine);
    CU_ASSERT_EQUAL(p.failure.status, 413);
    fini(&p);
    free(body);
}

static void a_set_serves_one_body_after_another(void)
{
    struct record_set set;
    struct failure failure;

    record_set_init(&set);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(records_parse_ndjson(
            &set,
            RIA_SLICE_LITERAL("{\"value\":1,\"headers\":{\"a\\t\":\"b\"}}\n"),
            false,
            NULL,
            &failure
        ));
        CU_ASSERT_EQUAL(set.count, 1);
        CU_ASSERT_TRUE(records_parse_v2(
            &set,
            RIA_SLICE_LITERAL("{\"records\":[{\"value\":\"AAAA\"},{\"value\":\"AAAA\"}]}"),
            RECORD_BINARY,
            true,
            &failure
        ));
        CU_ASSERT_EQUAL(set.count, 2);
    }
    record_set_fini(&set);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(json_values_pass_through_untouched),
    HARNESS_TEST(binary_values_are_decoded),
    HARNESS_TEST(malformed_json_is_refused_with_its_position),
    HARNESS_TEST(wrong_documents_are_refused),
    HARNESS_TEST(bad_base64_is_refused_with_its_record),
    HARNESS_TEST(a_partition_in_path_and_body_is_refused),
    HARNESS_TEST(schema_members_may_be_null),
    HARNESS_TEST(lines_are_records),
    HARNESS_TEST(encodings_choose_the_bytes),
    HARNESS_TEST(headers_keep_names_values_and_repeats),
    HARNESS_TEST(whole_lines_may_be_values),
    HARNESS_TEST(wrong_lines_are_refused_with_their_position),
    HARNESS_TEST(too_many_records_are_refused),
    HARNESS_TEST(a_set_serves_one_body_after_another),
};

HARNESS_MAIN(tests);
