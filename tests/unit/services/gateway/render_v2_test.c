#include "services/gateway/render_v2.h"

#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"

#include "tests/lib/harness.h"

struct setup {
    struct batch_builder builder;
    struct ria_buf out;
    struct render_v2 render;
    int64_t next;
};

static void setup(struct setup *s)
{
    batch_builder_init(&s->builder, RIA_BATCH_SIZE_MAX);
    ria_buf_init(&s->out, 1 << 20);
    s->render = (struct render_v2){.bytes_max = 1 << 20, .size_max = 1 << 20};
    s->next = -1;
}

static void teardown(struct setup *s)
{
    batch_builder_fini(&s->builder);
    ria_buf_fini(&s->out);
}

static void add(struct setup *s, struct ria_slice key, struct ria_slice value)
{
    CU_ASSERT_EQUAL(batch_builder_add(&s->builder, 5, key, value, NULL, 0), RIA_OK);
}

/* The records, which begin at offset 7, from `offset` on. */
static bool gives(struct setup *s, int64_t offset, const char *expected)
{
    struct ria_slice bytes = batch_builder_finish(&s->builder, -1, -1, -1);

    batch_patch(s->builder.buf.data, 7, 1);
    ria_buf_clear(&s->out);
    CU_ASSERT_EQUAL(
        render_v2_batches(&s->render, "t", 3, bytes, offset, &s->out, &s->next), RIA_OK
    );
    bool same = ria_slice_equal(ria_buf_slice(&s->out), ria_slice_cstr(expected));
    if (!same) {
        (void)printf("[%.*s]", (int)s->out.size, (const char *)s->out.data);
    }
    return same;
}

static void binary_is_base64(void)
{
    struct setup s;

    setup(&s);
    add(&s, RIA_SLICE_LITERAL("k"), RIA_SLICE_LITERAL("\xff{}"));
    add(&s, RIA_SLICE_NULL, RIA_SLICE_NULL);
    CU_ASSERT_TRUE(gives(
        &s,
        7,
        "{\"topic\":\"t\",\"key\":\"aw==\",\"value\":\"/3t9\",\"partition\":3,\"offset\":7},"
        "{\"topic\":\"t\",\"key\":null,\"value\":null,\"partition\":3,\"offset\":8}"
    ));
    CU_ASSERT_EQUAL(s.next, 9);
    teardown(&s);
}

static void what_is_no_json_is_marked(void)
{
    struct setup s;

    setup(&s);
    s.render.is_json = true;
    s.render.extras = true;
    add(&s, RIA_SLICE_LITERAL("\"k\""), RIA_SLICE_LITERAL("{\"a\":[1]}"));
    add(&s, RIA_SLICE_LITERAL("k"), RIA_SLICE_LITERAL("{"));
    add(&s, RIA_SLICE_NULL, RIA_SLICE_EMPTY);
    CU_ASSERT_TRUE(gives(
        &s,
        7,
        "{\"topic\":\"t\",\"key\":\"k\",\"value\":{\"a\":[1]},\"partition\":3,\"offset\":7,"
        "\"timestamp\":5},"
        "{\"topic\":\"t\",\"key\":\"aw==\",\"key_encoding\":\"base64\",\"value\":\"ew==\","
        "\"value_encoding\":\"base64\",\"partition\":3,\"offset\":8,\"timestamp\":5},"
        "{\"topic\":\"t\",\"key\":null,\"value\":\"\",\"value_encoding\":\"base64\","
        "\"partition\":3,\"offset\":9,\"timestamp\":5}"
    ));
    teardown(&s);
}

static void one_record_comes_whatever_the_limit(void)
{
    struct setup s;

    setup(&s);
    s.render.bytes_max = 0;
    add(&s, RIA_SLICE_NULL, RIA_SLICE_LITERAL("1"));
    add(&s, RIA_SLICE_NULL, RIA_SLICE_LITERAL("2"));
    CU_ASSERT_TRUE(gives(
        &s, 8, "{\"topic\":\"t\",\"key\":null,\"value\":\"Mg==\",\"partition\":3,\"offset\":8}"
    ));
    CU_ASSERT_EQUAL(s.next, 9);
    /* And no other, of this partition or the next. */
    CU_ASSERT_TRUE(gives(&s, 7, ""));
    CU_ASSERT_EQUAL(s.next, 7);
    teardown(&s);
}

static void the_limit_counts_keys_and_values(void)
{
    struct setup s;

    setup(&s);
    s.render.bytes_max = 4;
    for (int i = 0; i < 3; i++) {
        add(&s, RIA_SLICE_LITERAL("k"), RIA_SLICE_LITERAL("v"));
    }
    CU_ASSERT_TRUE(gives(
        &s,
        7,
        "{\"topic\":\"t\",\"key\":\"aw==\",\"value\":\"dg==\",\"partition\":3,\"offset\":7},"
        "{\"topic\":\"t\",\"key\":\"aw==\",\"value\":\"dg==\",\"partition\":3,\"offset\":8}"
    ));
    CU_ASSERT_EQUAL(s.next, 9);
    CU_ASSERT_EQUAL(s.render.count, 2);
    teardown(&s);
}

static void what_is_no_batch_is_refused(void)
{
    struct setup s;

    setup(&s);
    CU_ASSERT_EQUAL(
        render_v2_batches(&s.render, "t", 3, RIA_SLICE_LITERAL("no batch"), 0, &s.out, &s.next),
        RIA_ERR_MALFORMED
    );
    CU_ASSERT_EQUAL(s.next, -1);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(binary_is_base64),
    HARNESS_TEST(what_is_no_json_is_marked),
    HARNESS_TEST(one_record_comes_whatever_the_limit),
    HARNESS_TEST(the_limit_counts_keys_and_values),
    HARNESS_TEST(what_is_no_batch_is_refused),
};

HARNESS_MAIN(tests);
