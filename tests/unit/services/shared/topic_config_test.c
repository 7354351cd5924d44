#include "services/shared/topic_config.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "tests/lib/harness.h"

enum { REASON_SIZE = 256 };

static char reason[REASON_SIZE];

static ria_err set(struct topic_config *config, const char *name, const char *value)
{
    reason[0] = '\0';
    return topic_config_set(
        config, ria_slice_cstr(name), ria_slice_cstr(value), reason, sizeof(reason)
    );
}

static ria_err set_new(const char *name, const char *value)
{
    struct topic_config config;

    topic_config_init(&config, 3);
    return set(&config, name, value);
}

static void defaults_depend_on_the_replicas(void)
{
    struct topic_config config;

    topic_config_init(&config, 3);
    CU_ASSERT_EQUAL(config.min_insync_replicas, 2);
    CU_ASSERT_EQUAL(config.segment_bytes, 134217728);
    CU_ASSERT_EQUAL(config.max_message_bytes, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(config.replica_lag_ms, 10000);
    CU_ASSERT_EQUAL(config.durability, TOPIC_DURABILITY_SYNCED);
    topic_config_init(&config, 1);
    CU_ASSERT_EQUAL(config.min_insync_replicas, 1);
}

static void values_within_their_range_are_taken(void)
{
    struct topic_config config;

    topic_config_init(&config, 3);
    CU_ASSERT_EQUAL(set(&config, "min.insync.replicas", "1"), RIA_OK);
    CU_ASSERT_EQUAL(config.min_insync_replicas, 1);
    CU_ASSERT_EQUAL(set(&config, "min.insync.replicas", "16"), RIA_OK);
    CU_ASSERT_EQUAL(set(&config, "segment.bytes", "2147483647"), RIA_OK);
    CU_ASSERT_EQUAL(config.segment_bytes, INT32_MAX);
    CU_ASSERT_EQUAL(set(&config, "max.message.bytes", "1024"), RIA_OK);
    CU_ASSERT_EQUAL(config.max_message_bytes, 1024);
    CU_ASSERT_EQUAL(set(&config, "replica.lag.time.max.ms", "0500"), RIA_OK);
    CU_ASSERT_EQUAL(config.replica_lag_ms, 500);
    CU_ASSERT_EQUAL(set(&config, "durability", "relaxed"), RIA_OK);
    CU_ASSERT_EQUAL(config.durability, TOPIC_DURABILITY_RELAXED);
    CU_ASSERT_EQUAL(set(&config, "durability", "synced"), RIA_OK);
    CU_ASSERT_EQUAL(config.durability, TOPIC_DURABILITY_SYNCED);
}

static void bad_value_changes_nothing_and_the_reason_names_it(void)
{
    static const char *const bad[] = {
        "",
        "-",
        "0",
        "17",
        "-1",
        " 1",
        "1 ",
        "+1",
        "1.0",
        "0x1",
        "1e1",
        "two",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999999",
    };
    struct topic_config config;

    topic_config_init(&config, 3);
    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(set(&config, "min.insync.replicas", bad[i]), RIA_ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, "min.insync.replicas"));
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, "between 1 and 16"));
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, bad[i]));
        CU_ASSERT_EQUAL(config.min_insync_replicas, 2);
    }
    CU_ASSERT_EQUAL(set(&config, "durability", "Synced"), RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(reason, "durability must be synced or relaxed, not \"Synced\"");
    CU_ASSERT_EQUAL(set(&config, "durability", ""), RIA_ERR_INVALID);
}

static void unknown_setting_is_invalid_and_named(void)
{
    CU_ASSERT_EQUAL(set_new("segment.byte", "1"), RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(reason, "segment.byte is not a topic setting");
    CU_ASSERT_EQUAL(set_new("", "1"), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(set_new("Segment.Bytes", "100000"), RIA_ERR_INVALID);
}

static void kafkas_settings_are_unsupported_not_ignored(void)
{
    static const char *const pairs[][2] = {
        {"cleanup.policy", "delete"},
        {"cleanup.policy", "compact"},
        {"retention.ms", "604800000"},
        {"retention.bytes", "1000"},
        {"compression.type", "gzip"},
        {"message.timestamp.type", "LogAppendTime"},
        {"flush.messages", "1"},
        {"flush.ms", "1000"},
        {"delete.retention.ms", "1"},
        {"unclean.leader.election.enable", "true"},
        {"segment.ms", "1000"},
    };

    for (size_t i = 0; i < RIA_COUNT(pairs); i++) {
        CU_ASSERT_EQUAL(set_new(pairs[i][0], pairs[i][1]), RIA_ERR_UNSUPPORTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, pairs[i][0]));
    }
}

static void what_is_done_anyway_may_be_asked_for(void)
{
    CU_ASSERT_EQUAL(set_new("retention.ms", "-1"), RIA_OK);
    CU_ASSERT_EQUAL(set_new("retention.bytes", "-1"), RIA_OK);
    CU_ASSERT_EQUAL(set_new("compression.type", "producer"), RIA_OK);
    CU_ASSERT_EQUAL(set_new("message.timestamp.type", "CreateTime"), RIA_OK);
    CU_ASSERT_EQUAL(set_new("unclean.leader.election.enable", "false"), RIA_OK);
}

static void reason_stays_within_its_size_and_on_one_line(void)
{
    struct topic_config config;
    char name[1000];
    char small[10];

    memset(name, '\n', sizeof(name));
    topic_config_init(&config, 3);
    ria_err err = topic_config_set(
        &config, ria_slice_of(name, sizeof(name)), RIA_SLICE_EMPTY, reason, sizeof(reason)
    );
    CU_ASSERT_EQUAL(err, RIA_ERR_INVALID);
    CU_ASSERT_PTR_NULL(strchr(reason, '\n'));
    CU_ASSERT_TRUE(strlen(reason) < 120);

    err = topic_config_set(&config, ria_slice_cstr("x"), RIA_SLICE_EMPTY, small, sizeof(small));
    CU_ASSERT_EQUAL(err, RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(small, "x is not ");
}

static void more_in_sync_than_replicas_is_invalid(void)
{
    struct topic_config config;

    topic_config_init(&config, 3);
    CU_ASSERT_EQUAL(topic_config_check(&config, 2, reason, sizeof(reason)), RIA_OK);
    CU_ASSERT_EQUAL(topic_config_check(&config, 1, reason, sizeof(reason)), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "min.insync.replicas"));
}

static void every_setting_can_be_read_back(void)
{
    struct topic_config config;

    topic_config_init(&config, 3);
    for (size_t i = 0; i < topic_config_count(); i++) {
        char text[RIA_CONFIG_VALUE_MAX];

        topic_config_text(&config, i, text, sizeof(text));
        CU_ASSERT_EQUAL(set(&config, topic_config_name(i), text), RIA_OK);
    }
    CU_ASSERT_EQUAL(topic_config_count(), 6);
}

/* Room for the page, and some. */
static char page[64 * 1024];

static void read_page(void)
{
    FILE *file = fopen("docs/topic-config.md", "r"); /* tests run in the root of the tree */

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    if (file != NULL) {
        size_t size = fread(page, 1, sizeof(page) - 1, file);
        page[size] = '\0';
        (void)fclose(file);
    }
}

static void page_tells_every_setting(void)
{
    read_page();
#define CHECK_ROW_(field, setting, type, fallback, min, max, about)                               \
    {                                                                                             \
        static const char range[] = "| `" setting "` | " #min " to " #max;                        \
        static const char text[] = "| " about;                                                    \
        CU_ASSERT_PTR_NOT_NULL(strstr(page, range));                                              \
        CU_ASSERT_TRUE(strstr(page, text) != NULL || strcmp(#field, "min_insync_replicas") == 0); \
    }
    TOPIC_CONFIG_TABLE(CHECK_ROW_)
    CU_ASSERT_PTR_NOT_NULL(strstr(page, "| `durability` | `synced`, `relaxed` | `synced` |"));
}

/* The rows of the page's second table: | `name` | - or `value` | ... */
static void page_tells_the_truth_about_kafkas_settings(void)
{
    int rows = 0;

    read_page();
    for (char *p = strstr(page, "## Kafka"); p != NULL; p = strstr(p + 1, "\n| `")) {
        char name[128];
        char accepted[128];

        if (sscanf(p, "\n| `%127[^`]` | %127[^|]|", name, accepted) != 2) {
            continue;
        }
        rows++;
        CU_ASSERT_EQUAL(set_new(name, "no value of it"), RIA_ERR_UNSUPPORTED);
        char *quote = strchr(accepted + 1, '`');
        if (accepted[0] == '`' && quote != NULL) {
            *quote = '\0';
            CU_ASSERT_EQUAL(set_new(name, accepted + 1), RIA_OK);
        } else if (strncmp(accepted, "empty", 5) == 0) {
            CU_ASSERT_EQUAL(set_new(name, ""), RIA_OK);
        } else {
            CU_ASSERT_EQUAL(set_new(name, ""), RIA_ERR_UNSUPPORTED);
        }
    }
    CU_ASSERT_TRUE(rows > 30);
}

/* ---- names ---- */

static ria_err check_name(const char *name)
{
    reason[0] = '\0';
    return topic_name_check(ria_slice_cstr(name), reason, sizeof(reason));
}

static void legal_names_are_accepted(void)
{
    char longest[RIA_TOPIC_NAME_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    longest[RIA_TOPIC_NAME_MAX] = '\0';
    CU_ASSERT_EQUAL(check_name("a"), RIA_OK);
    CU_ASSERT_EQUAL(check_name("Az09._-"), RIA_OK);
    CU_ASSERT_EQUAL(check_name("..."), RIA_OK);
    CU_ASSERT_EQUAL(check_name("__x"), RIA_OK);
    CU_ASSERT_EQUAL(check_name(longest), RIA_OK);
}

static void illegal_names_are_refused_with_the_rule(void)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        " ",
        "a b",
        "a/b",
        "a\\b",
        "a\n",
        "\xc3\xa4",
        "a:b",
        "a*",
        "{",
        "@",
        "`",
        "[",
    };
    char too_long[RIA_TOPIC_NAME_MAX + 2];

    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(check_name(bad[i]), RIA_ERR_INVALID);
        CU_ASSERT_TRUE(reason[0] != '\0');
    }
    memset(too_long, 'x', sizeof(too_long));
    too_long[RIA_TOPIC_NAME_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(check_name(too_long), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "200"));
    CU_ASSERT_EQUAL(
        topic_name_check(ria_slice_of("a\0b", 3), reason, sizeof(reason)), RIA_ERR_INVALID
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "position 1"));
    CU_ASSERT_EQUAL(topic_name_check(RIA_SLICE_NULL, reason, sizeof(reason)), RIA_ERR_INVALID);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(defaults_depend_on_the_replicas),
    HARNESS_TEST(values_within_their_range_are_taken),
    HARNESS_TEST(bad_value_changes_nothing_and_the_reason_names_it),
    HARNESS_TEST(unknown_setting_is_invalid_and_named),
    HARNESS_TEST(kafkas_settings_are_unsupported_not_ignored),
    HARNESS_TEST(what_is_done_anyway_may_be_asked_for),
    HARNESS_TEST(reason_stays_within_its_size_and_on_one_line),
    HARNESS_TEST(more_in_sync_than_replicas_is_invalid),
    HARNESS_TEST(every_setting_can_be_read_back),
    HARNESS_TEST(page_tells_every_setting),
    HARNESS_TEST(page_tells_the_truth_about_kafkas_settings),
    HARNESS_TEST(legal_names_are_accepted),
    HARNESS_TEST(illegal_names_are_refused_with_the_rule),
};

HARNESS_MAIN(tests);
