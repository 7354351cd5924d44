#include "services/gateway/cursor.h"

#include <stdio.h>
#include <string.h>

#include "common/base64.h"
#include "common/crc.h"
#include "common/limits.h"

#include "tests/lib/harness.h"

static const struct ria_uuid ours = {{1, 2, 3}};
static const struct ria_uuid theirs = {{1, 2, 4}};

struct text {
    char text[CURSOR_TEXT_MAX + 1];
    size_t size;
};

static struct cursor topic_cursor(const struct cursor_topic *topic)
{
    return (struct cursor){.kind = CURSOR_TOPIC, .topics = topic, .topic_count = 1};
}

static cursor_verdict decode(const char *text, cursor_kind kind)
{
    struct ria_arena arena;
    struct cursor cursor;

    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    cursor_verdict verdict = cursor_decode(ria_slice_cstr(text), kind, &ours, &arena, &cursor);
    ria_arena_fini(&arena);
    return verdict;
}

static bool comes_back(const struct cursor *cursor)
{
    struct text text;
    struct ria_arena arena;
    struct cursor back;

    if (cursor_encode(cursor, &ours, text.text, &text.size) != RIA_OK ||
        text.size != strlen(text.text)) {
        return false;
    }
    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    struct ria_slice slice = ria_slice_of(text.text, text.size);
    bool same = cursor_decode(slice, cursor->kind, &ours, &arena, &back) == CURSOR_FINE &&
                back.topic_count == cursor->topic_count && back.group == cursor->group;
    for (uint32_t t = 0; same && t < cursor->topic_count; t++) {
        const struct cursor_topic *a = &cursor->topics[t];
        const struct cursor_topic *b = &back.topics[t];
        same = ria_uuid_equal(a->id, b->id) && a->count == b->count;
        for (uint32_t i = 0; same && i < a->count; i++) {
            int64_t lease = cursor->kind == CURSOR_GROUP ? a->entries[i].lease : -1;
            same = a->entries[i].partition == b->entries[i].partition &&
                   a->entries[i].offset == b->entries[i].offset && lease == b->entries[i].lease;
        }
    }
    ria_arena_fini(&arena);
    return same;
}

static void positions_come_back(void)
{
    const struct cursor_entry entries[] = {
        {0, 0, -1}, {1, INT64_MAX, 5}, {7, 3, INT64_MIN}, {9999, 1000000, INT64_MAX}};
    const struct cursor_topic topics[] = {
        {{{1}}, entries, 4}, {{{2}}, entries + 1, 2}, {{{2, 1}}, entries + 3, 1}};
    const struct cursor one = topic_cursor(&topics[0]);
    const struct cursor group = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(RIA_SLICE_LITERAL("g")),
        .topics = topics,
        .topic_count = 3,
    };
    const struct cursor nothing = {.kind = CURSOR_GROUP, .group = 7};

    CU_ASSERT_TRUE(comes_back(&one));
    CU_ASSERT_TRUE(comes_back(&group));
    CU_ASSERT_TRUE(comes_back(&nothing));
}

/* The text of docs/formats/cursor.md never changes. */
static void the_format_is_fixed(void)
{
    const struct cursor_entry entries[] = {{0, 5, -1}, {2, 300, -1}};
    const struct cursor_topic topic = {{{0xff, 0xfe}}, entries, 2};
    const struct cursor cursor = topic_cursor(&topic);
    struct text text;

    CU_ASSERT_EQUAL(cursor_encode(&cursor, &ours, text.text, &text.size), RIA_OK);
    CU_ASSERT_STRING_EQUAL(text.text, "AQGDaJLcAf_-AAAAAAAAAAAAAAAAAAACAAoBzgTa9kRo");
}

static void a_hundred_partitions_fit_into_a_header(void)
{
    struct cursor_entry entries[CURSOR_ENTRIES_MAX];
    const struct cursor_topic topic = {{{1}}, entries, 100};
    const struct cursor cursor = topic_cursor(&topic);
    struct text text;

    for (int32_t i = 0; i < 100; i++) {
        entries[i] = (struct cursor_entry){i, 1000000000 + i * 7919 % 100 * 1000000, -1};
    }
    CU_ASSERT_EQUAL(cursor_encode(&cursor, &ours, text.text, &text.size), RIA_OK);
    CU_ASSERT_TRUE(text.size < 900);
    CU_ASSERT_TRUE(comes_back(&cursor));
}

static void the_worst_case_fits_and_what_does_not_is_refused(void)
{
    static struct cursor_entry entries[CURSOR_ENTRIES_MAX];
    struct cursor_topic topic = {{{1}}, entries, CURSOR_FITS_TOPIC};
    struct cursor cursor = topic_cursor(&topic);
    struct text text;

    for (int32_t i = 0; i < CURSOR_ENTRIES_MAX; i++) {
        entries[i] = (struct cursor_entry){
            i * (RIA_PARTITIONS_MAX / CURSOR_ENTRIES_MAX),
            i % 2 == 0 ? INT64_MAX : 0,
            i % 2 == 0 ? INT64_MAX : INT64_MIN + 1,
        };
    }
    CU_ASSERT_TRUE(comes_back(&cursor));
    cursor.kind = CURSOR_GROUP;
    topic.count = CURSOR_FITS_GROUP;
    CU_ASSERT_TRUE(comes_back(&cursor));
    topic.count = CURSOR_ENTRIES_MAX;
    CU_ASSERT_EQUAL(cursor_encode(&cursor, &ours, text.text, &text.size), RIA_ERR_LIMIT);
}

static struct text example(cursor_kind kind)
{
    static const struct cursor_entry entries[] = {{0, 12, 3}, {1, 900, 4}};
    static const struct cursor_topic topic = {{{9}}, entries, 2};
    struct cursor cursor = topic_cursor(&topic);
    struct text text;

    cursor.kind = kind;
    CU_ASSERT_EQUAL(cursor_encode(&cursor, &ours, text.text, &text.size), RIA_OK);
    return text;
}

static void what_is_no_cursor_is_malformed(void)
{
    char text[CURSOR_TEXT_MAX + 8];

    CU_ASSERT_EQUAL(decode("", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("A", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("AQE", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("hello world", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("AQEAAAAAAAAAAAAAAAAAAAAAAAA+", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("AQEAAAAAAAAAAAAAAAAAAAAAAAA=", CURSOR_TOPIC), CURSOR_MALFORMED);
    CU_ASSERT_EQUAL(decode("AgEAAAAAAAAAAAAAAAAAAAAAAAAA", CURSOR_TOPIC), CURSOR_MALFORMED);
    memset(text, 'A', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CU_ASSERT_EQUAL(decode(text, CURSOR_TOPIC), CURSOR_MALFORMED);
}

static void every_changed_or_missing_character_is_noticed(void)
{
    struct text text = example(CURSOR_TOPIC);

    for (size_t i = 0; i < text.size; i++) {
        struct text other = text;
        other.text[i] = other.text[i] == 'x' ? 'y' : 'x';
        cursor_verdict verdict = decode(other.text, CURSOR_TOPIC);
        CU_ASSERT_TRUE(verdict == CURSOR_DAMAGED || verdict == CURSOR_MALFORMED);
        other = text;
        other.text[i] = '\0';
        verdict = decode(other.text, CURSOR_TOPIC);
        CU_ASSERT_TRUE(verdict == CURSOR_DAMAGED || verdict == CURSOR_MALFORMED);
    }
}

static void the_cluster_and_the_kind_are_told_apart(void)
{
    struct text text = example(CURSOR_TOPIC);
    struct ria_arena arena;
    struct cursor cursor;

    CU_ASSERT_EQUAL(decode(text.text, CURSOR_TOPIC), CURSOR_FINE);
    CU_ASSERT_EQUAL(decode(text.text, CURSOR_GROUP), CURSOR_OTHER_KIND);
    CU_ASSERT_EQUAL(decode(example(CURSOR_GROUP).text, CURSOR_TOPIC), CURSOR_OTHER_KIND);
    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    CU_ASSERT_EQUAL(
        cursor_decode(ria_slice_cstr(text.text), CURSOR_TOPIC, &theirs, &arena, &cursor),
        CURSOR_FOREIGN
    );
    ria_arena_fini(&arena);
}

/* Bodies that nobody made, with the right check. */
static cursor_verdict forged(const uint8_t *body, size_t size)
{
    uint8_t raw[128] = {1, CURSOR_TOPIC};
    uint32_t tag = ria_crc32c(ours.bytes, RIA_UUID_SIZE);
    char text[200];

    for (int i = 0; i < 4; i++) {
        raw[2 + i] = (uint8_t)(tag >> (24 - 8 * i));
    }
    memcpy(raw + 6, body, size);
    uint32_t crc = ria_crc32c(raw, size + 6);
    for (int i = 0; i < 4; i++) {
        raw[size + 6 + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    ria_base64_encode(text, ria_slice_of(raw, size + 10));
    size_t length = ria_base64_size(size + 10);
    while (text[length - 1] == '=') {
        length--;
    }
    text[length] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        *c = (char)(*c == '+' ? '-' : *c == '/' ? '_' : *c);
    }
    return decode(text, CURSOR_TOPIC);
}

static void made_up_bodies_are_malformed(void)
{
    uint8_t body[64] = {1};

    /* one topic, one partition 0 at offset 0, is fine */
    body[17] = 1;
    CU_ASSERT_EQUAL(forged(body, 20), CURSOR_FINE);
    CU_ASSERT_EQUAL(forged(body, 21), CURSOR_MALFORMED); /* a byte behind it */
    CU_ASSERT_EQUAL(forged(body, 19), CURSOR_MALFORMED);
    body[19] = 1; /* offset -1 */
    CU_ASSERT_EQUAL(forged(body, 20), CURSOR_MALFORMED);
    body[19] = 0;
    body[17] = 0; /* no partition */
    CU_ASSERT_EQUAL(forged(body, 18), CURSOR_MALFORMED);
    body[17] = 100; /* more than there is room for */
    CU_ASSERT_EQUAL(forged(body, 60), CURSOR_MALFORMED);
    body[17] = 1;
    body[18] = 0x90; /* partition 10000 */
    body[19] = 0x4e;
    CU_ASSERT_EQUAL(forged(body, 21), CURSOR_MALFORMED);
    body[18] = 0x8f; /* partition 9999 */
    CU_ASSERT_EQUAL(forged(body, 21), CURSOR_FINE);
    body[0] = 0;
    CU_ASSERT_EQUAL(forged(body, 1), CURSOR_MALFORMED);
    body[0] = 2;
    CU_ASSERT_EQUAL(forged(body, 40), CURSOR_MALFORMED);
}

static void an_entry_is_found_by_its_partition(void)
{
    const struct cursor_entry entries[] = {{1, 10, -1}, {4, 40, -1}, {5, 50, -1}};
    const struct cursor_topic topic = {{{1}}, entries, 3};

    CU_ASSERT_PTR_NULL(cursor_entry_of(&topic, 0));
    CU_ASSERT_PTR_EQUAL(cursor_entry_of(&topic, 1), &entries[0]);
    CU_ASSERT_PTR_NULL(cursor_entry_of(&topic, 3));
    CU_ASSERT_PTR_EQUAL(cursor_entry_of(&topic, 4), &entries[1]);
    CU_ASSERT_PTR_EQUAL(cursor_entry_of(&topic, 5), &entries[2]);
    CU_ASSERT_PTR_NULL(cursor_entry_of(&topic, 6));
}

static void each_verdict_has_a_sentence(void)
{
    for (int i = CURSOR_MALFORMED; i <= CURSOR_NO_MEMORY; i++) {
        CU_ASSERT_TRUE(strlen(cursor_verdict_text((cursor_verdict)i)) > 5);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(positions_come_back),
    HARNESS_TEST(the_format_is_fixed),
    HARNESS_TEST(a_hundred_partitions_fit_into_a_header),
    HARNESS_TEST(the_worst_case_fits_and_what_does_not_is_refused),
    HARNESS_TEST(what_is_no_cursor_is_malformed),
    HARNESS_TEST(every_changed_or_missing_character_is_noticed),
    HARNESS_TEST(the_cluster_and_the_kind_are_told_apart),
    HARNESS_TEST(made_up_bodies_are_malformed),
    HARNESS_TEST(an_entry_is_found_by_its_partition),
    HARNESS_TEST(each_verdict_has_a_sentence),
};
HARNESS_MAIN(tests);
