#include "services/storage/record_file.h"

#include <string.h>

#include "services/storage/log_path.h"
#include "tests/lib/harness.h"

static void make(struct ria_buf *buf, int16_t version)
{
    struct ria_writer w;

    ria_buf_init(buf, 1024);
    CU_ASSERT_EQUAL(record_file_begin(buf, 5, &w), RIA_OK);
    ria_write_bytes(&w, RIA_SLICE_LITERAL("hello"));
    record_file_finish(buf, "TEST", version);
}

static void a_frame_gives_its_body_back(void)
{
    struct ria_buf buf;
    struct ria_slice body;
    int16_t version = -1;

    make(&buf, 2);
    CU_ASSERT_EQUAL(buf.size, RECORD_FILE_HEADER_SIZE + 5);
    CU_ASSERT_EQUAL(record_file_open(ria_buf_slice(&buf), "TEST", 2, &version, &body), RIA_OK);
    CU_ASSERT_EQUAL(version, 2);
    CU_ASSERT_TRUE(ria_slice_equal(body, RIA_SLICE_LITERAL("hello")));
    CU_ASSERT_EQUAL(
        record_file_open(ria_buf_slice(&buf), "ELSE", 2, &version, &body), RIA_ERR_CORRUPT
    );
    CU_ASSERT_EQUAL(
        record_file_open(ria_buf_slice(&buf), "TEST", 1, &version, &body), RIA_ERR_UNKNOWN_VERSION
    );
    ria_buf_fini(&buf);
}

static void any_bit_and_any_length_counts(void)
{
    struct ria_buf buf;
    struct ria_slice body;
    int16_t version = 0;

    make(&buf, 0);
    for (size_t i = 0; i < buf.size * 8; i++) {
        buf.data[i / 8] ^= (uint8_t)(1 << i % 8);
        CU_ASSERT_EQUAL(
            record_file_open(ria_buf_slice(&buf), "TEST", 9, &version, &body), RIA_ERR_CORRUPT
        );
        buf.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t size = 0; size < buf.size; size++) {
        CU_ASSERT_EQUAL(
            record_file_open(ria_slice_of(buf.data, size), "TEST", 9, &version, &body),
            RIA_ERR_CORRUPT
        );
    }
    CU_ASSERT_EQUAL(ria_buf_append(&buf, "x", 1), RIA_OK);
    CU_ASSERT_EQUAL(
        record_file_open(ria_buf_slice(&buf), "TEST", 9, &version, &body), RIA_ERR_CORRUPT
    );
    ria_buf_fini(&buf);
}

static void names_are_parsed_as_they_are_written(void)
{
    char path[LOG_PATH_MAX];
    int64_t offset = 0;

    log_path_of(path, "d", 1234, LOG_PATH_LOG);
    CU_ASSERT_STRING_EQUAL(path, "d/00000000000000001234.log");
    for (int kind = LOG_PATH_LOG; kind <= LOG_PATH_DISCARDED; kind++) {
        log_path_of(path, "d", INT64_MAX, (log_path_kind)kind);
        CU_ASSERT_EQUAL(log_path_parse(path + 2, &offset), (log_path_kind)kind);
        CU_ASSERT_EQUAL(offset, INT64_MAX);
    }
    CU_ASSERT_EQUAL(log_path_parse("09223372036854775808.log", &offset), LOG_PATH_OTHER);
    CU_ASSERT_EQUAL(log_path_parse("0000000000000000123.log", &offset), LOG_PATH_OTHER);
    CU_ASSERT_EQUAL(log_path_parse("0000000000000000123x.log", &offset), LOG_PATH_OTHER);
    CU_ASSERT_EQUAL(log_path_parse("-0000000000000000123.log", &offset), LOG_PATH_OTHER);
    CU_ASSERT_EQUAL(log_path_parse("leader-epochs", &offset), LOG_PATH_OTHER);
    CU_ASSERT_EQUAL(log_path_parse("leader-epochs.tmp", &offset), LOG_PATH_TEMP);
    CU_ASSERT_EQUAL(log_path_parse("", &offset), LOG_PATH_OTHER);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_frame_gives_its_body_back),
    HARNESS_TEST(any_bit_and_any_length_counts),
    HARNESS_TEST(names_are_parsed_as_they_are_written),
};
HARNESS_MAIN(tests);
