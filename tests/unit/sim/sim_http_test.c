#include "tests/sim/sim_http.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/sim/history.h"
#include "tests/sim/records.h"

static void a_frame_is_taken_apart_as_it_was_made(void)
{
    struct ria_msg *msg =
        sim_http_frame("GET /a?b=1\nAccept: x\nN: -7\n", RIA_SLICE_LITERAL("body\n\nmore"));
    struct sim_http http;

    CU_ASSERT_TRUE_FATAL(sim_http_open(msg, &http));
    CU_ASSERT_TRUE(ria_slice_equal(http.first, RIA_SLICE_LITERAL("GET /a?b=1")));
    CU_ASSERT_TRUE(ria_slice_equal(http.body, RIA_SLICE_LITERAL("body\n\nmore")));
    CU_ASSERT_TRUE(ria_slice_equal(sim_http_header(&http, "accept"), RIA_SLICE_LITERAL("x")));
    CU_ASSERT_TRUE(ria_slice_is_null(sim_http_header(&http, "Acc")));
    CU_ASSERT_EQUAL(sim_http_header_i64(&http, "n", 1), -7);
    CU_ASSERT_EQUAL(sim_http_header_i64(&http, "m", 1), 1);
    ria_msg_free(msg);
}

static void what_has_no_empty_line_is_no_frame(void)
{
    struct ria_msg *msg = sim_http_frame("GET /\nA: b", RIA_SLICE_NULL);
    struct sim_http http;

    CU_ASSERT_FALSE(sim_http_open(msg, &http));
    ria_msg_free(msg);
}

static void an_error_names_its_code_and_whether_it_is_definite(void)
{
    bool is_definite = false;

    CU_ASSERT_EQUAL(
        sim_http_error(
            RIA_SLICE_LITERAL("{\"error\":{\"code\":\"no_leader\",\"outcome\":\"not_stored\"}}"),
            &is_definite
        ),
        RIA_ERR_NO_LEADER
    );
    CU_ASSERT_TRUE(is_definite);
    CU_ASSERT_EQUAL(
        sim_http_error(
            RIA_SLICE_LITERAL("{\"error\":{\"code\":\"timeout\",\"outcome\":\"unknown\"}}"),
            &is_definite
        ),
        RIA_ERR_TIMEOUT
    );
    CU_ASSERT_FALSE(is_definite);
    CU_ASSERT_EQUAL(
        sim_http_error(RIA_SLICE_LITERAL("{\"error\":{\"code\":\"no\"}}"), &is_definite),
        RIA_ERR_INVALID
    );
    CU_ASSERT_EQUAL(sim_http_error(RIA_SLICE_LITERAL("{\"offset\":1}"), &is_definite), RIA_OK);
}

static void a_record_carries_its_value(void)
{
    char text[RECORDS_TEXT_MAX];
    uint64_t value = 0;
    size_t size = records_text(history_value(3, 17), 5, text);

    CU_ASSERT_STRING_EQUAL(text, "{\"v\":\"0000000300000011\",\"n\":17,\"p\":\"xxxxx\"}");
    CU_ASSERT_EQUAL(size, strlen(text));
    CU_ASSERT_TRUE(records_parse(ria_slice_of(text, size), &value));
    CU_ASSERT_EQUAL(value, history_value(3, 17));
    CU_ASSERT_FALSE(records_parse(RIA_SLICE_LITERAL("{\"v\":\"000000030000001g\"}"), &value));
    CU_ASSERT_FALSE(records_parse(RIA_SLICE_LITERAL("{\"v\":\"00"), &value));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_frame_is_taken_apart_as_it_was_made),
    HARNESS_TEST(what_has_no_empty_line_is_no_frame),
    HARNESS_TEST(an_error_names_its_code_and_whether_it_is_definite),
    HARNESS_TEST(a_record_carries_its_value),
};
HARNESS_MAIN(tests);
