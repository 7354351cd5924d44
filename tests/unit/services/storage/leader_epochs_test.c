#include "services/storage/leader_epochs.h"

#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/lib/harness.h"

enum { ENTRIES_MAX = 6 };

/* A history: entries up to the first with epoch -1, and where the log ends. */
struct history {
    struct leader_epoch_entry entries[ENTRIES_MAX];
    int64_t end_offset;
};

#define END   \
    {         \
        -1, 0 \
    }

static uint32_t count_of(const struct history *history)
{
    uint32_t count = 0;

    while (count < ENTRIES_MAX && history->entries[count].epoch >= 0) {
        count++;
    }
    return count;
}

static void fill(struct leader_epochs *epochs, const struct history *history)
{
    leader_epochs_init(epochs);
    RIA_ASSERT(leader_epochs_reserve(epochs, ENTRIES_MAX) == RIA_OK);
    for (uint32_t i = 0; i < count_of(history); i++) {
        RIA_ASSERT(
            leader_epochs_note(epochs, history->entries[i].epoch, history->entries[i].start_offset)
        );
    }
}

/* clang-format off */
static const struct {
    const char *what;
    struct history follower;
    struct history leader;
    int64_t expected;
} CASES[] = {
    {"the same log", {{{0, 0}, {1, 10}, END}, 20}, {{{0, 0}, {1, 10}, END}, 20}, 20},
    {"the follower is behind", {{{0, 0}, END}, 8}, {{{0, 0}, {1, 10}, END}, 20}, 8},
    {"the follower is ahead in the leader's last epoch",
        {{{0, 0}, {1, 10}, END}, 25}, {{{0, 0}, {1, 10}, END}, 20}, 20},
    {"KIP-101 scenario 1: the old leader wrote what nobody else has",
        {{{0, 0}, END}, 12}, {{{0, 0}, {1, 10}, END}, 15}, 10},
    {"KIP-101 scenario 2: both wrote at the same offset in different epochs",
        {{{0, 0}, {1, 10}, END}, 11}, {{{0, 0}, {2, 10}, END}, 11}, 10},
    {"KIP-279: the leader never had the follower's epoch; an older one is common",
        {{{0, 0}, {1, 10}, {2, 20}, END}, 30}, {{{0, 0}, {1, 10}, {3, 15}, END}, 40}, 15},
    {"KIP-279: the follower's newest epoch is newer than the leader's at that place",
        {{{0, 0}, {2, 12}, END}, 20}, {{{0, 0}, {1, 10}, {3, 18}, END}, 25}, 10},
    {"KIP-279: fast fail-over, epochs alternate",
        {{{1, 0}, {3, 10}, {5, 20}, END}, 30}, {{{1, 0}, {2, 5}, {4, 15}, {6, 25}, END}, 35}, 5},
    {"the leader's epoch began inside what the follower wrote before",
        {{{4, 0}, END}, 100}, {{{4, 0}, {5, 60}, {6, 80}, END}, 90}, 60},
    {"nothing in common: not even the first batch",
        {{{1, 0}, END}, 10}, {{{2, 0}, END}, 10}, 0},
    {"the follower began later, by a reset",
        {{{3, 50}, {4, 70}, END}, 90}, {{{1, 0}, {3, 40}, {4, 70}, END}, 80}, 80},
    {"the follower began later and differs at once",
        {{{2, 50}, END}, 90}, {{{1, 0}, {3, 40}, END}, 80}, 50},
    {"the leader's start has moved up: what is below cannot be compared",
        {{{0, 0}, {1, 10}, END}, 60}, {{{1, 30}, {2, 50}, END}, 70}, 50},
    {"the follower's log is empty", {{END}, 0}, {{{0, 0}, END}, 10}, 0},
    {"the leader's log is empty", {{{0, 0}, END}, 10}, {{END}, 4}, 4},
    {"the follower ends below the leader's first entry",
        {{{0, 0}, END}, 10}, {{{1, 30}, END}, 40}, 10},
    {"an epoch that one log wrote no batch in",
        {{{0, 0}, {2, 10}, END}, 20}, {{{0, 0}, {2, 10}, {3, 20}, END}, 20}, 20},
    {"histories that cannot be: the same epoch at different places",
        {{{1, 0}, {2, 10}, {3, 20}, END}, 30}, {{{1, 0}, {3, 15}, END}, 40}, 10},
};
/* clang-format on */

static void divergence_is_where_epochs_first_differ(void)
{
    for (size_t i = 0; i < RIA_COUNT(CASES); i++) {
        struct leader_epochs epochs;
        fill(&epochs, &CASES[i].follower);
        int64_t found = leader_epochs_divergence(
            &epochs,
            0,
            CASES[i].follower.end_offset,
            CASES[i].leader.entries,
            count_of(&CASES[i].leader),
            CASES[i].leader.end_offset
        );
        if (found != CASES[i].expected) {
            CU_FAIL("divergence");
            (void)fprintf(stderr, "%s: %lld\n", CASES[i].what, (long long)found);
        }
        leader_epochs_fini(&epochs);
    }
}

static void divergence_is_the_same_from_both_sides(void)
{
    for (size_t i = 0; i < RIA_COUNT(CASES); i++) {
        struct leader_epochs epochs;
        fill(&epochs, &CASES[i].leader);
        CU_ASSERT_EQUAL(
            leader_epochs_divergence(
                &epochs,
                0,
                CASES[i].leader.end_offset,
                CASES[i].follower.entries,
                count_of(&CASES[i].follower),
                CASES[i].follower.end_offset
            ),
            CASES[i].expected
        );
        leader_epochs_fini(&epochs);
    }
}

static void nonsense_from_a_peer_ends(void)
{
    static const struct leader_epoch_entry OTHER[] = {
        {5, 10},
        {1, 3},
        {1, 3},
        {9, INT64_MAX},
        {-7, -100},
        {2, 0},
    };
    struct leader_epochs epochs;

    fill(&epochs, &CASES[0].follower);
    for (uint32_t count = 0; count <= RIA_COUNT(OTHER); count++) {
        int64_t found = leader_epochs_divergence(&epochs, 0, 20, OTHER, count, INT64_MAX);
        CU_ASSERT(found >= 0 && found <= 20);
    }
    leader_epochs_fini(&epochs);
}

static void only_a_newer_epoch_makes_an_entry(void)
{
    struct leader_epochs epochs;

    leader_epochs_init(&epochs);
    CU_ASSERT_EQUAL(leader_epochs_last(&epochs), -1);
    CU_ASSERT_EQUAL(leader_epochs_reserve(&epochs, 2), RIA_OK);
    CU_ASSERT_TRUE(leader_epochs_note(&epochs, 0, 0));
    CU_ASSERT_FALSE(leader_epochs_note(&epochs, 0, 5));
    CU_ASSERT_TRUE(leader_epochs_note(&epochs, 3, 9));
    CU_ASSERT_FALSE(leader_epochs_note(&epochs, 2, 12));
    CU_ASSERT_EQUAL(epochs.count, 2);
    CU_ASSERT_FALSE(leader_epochs_truncate(&epochs, 10));
    CU_ASSERT_TRUE(leader_epochs_truncate(&epochs, 9));
    CU_ASSERT_EQUAL(leader_epochs_last(&epochs), 0);
    CU_ASSERT_EQUAL(leader_epochs_reserve(&epochs, LEADER_EPOCHS_MAX), RIA_ERR_LIMIT);
    leader_epochs_fini(&epochs);
}

static void a_file_gives_the_entries_back_and_any_bad_byte_is_noticed(void)
{
    struct leader_epochs epochs;
    struct leader_epochs back;
    struct ria_buf buf;

    fill(&epochs, &CASES[7].leader);
    leader_epochs_init(&back);
    ria_buf_init(&buf, 1024);
    CU_ASSERT_EQUAL_FATAL(leader_epochs_encode(&epochs, &buf), RIA_OK);
    CU_ASSERT_EQUAL(leader_epochs_decode(&back, ria_buf_slice(&buf)), RIA_OK);
    CU_ASSERT_EQUAL(back.count, epochs.count);
    CU_ASSERT_EQUAL(
        memcmp(back.entries, epochs.entries, sizeof(*epochs.entries) * epochs.count), 0
    );
    for (size_t i = 0; i < buf.size; i++) {
        buf.data[i] ^= 0x10;
        CU_ASSERT_EQUAL(leader_epochs_decode(&back, ria_buf_slice(&buf)), RIA_ERR_CORRUPT);
        buf.data[i] ^= 0x10;
        CU_ASSERT_EQUAL(leader_epochs_decode(&back, ria_slice_of(buf.data, i)), RIA_ERR_CORRUPT);
    }
    CU_ASSERT_EQUAL(back.count, epochs.count);
    leader_epochs_check(&back);
    leader_epochs_fini(&back);
    leader_epochs_fini(&epochs);
    ria_buf_fini(&buf);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(divergence_is_where_epochs_first_differ),
    HARNESS_TEST(divergence_is_the_same_from_both_sides),
    HARNESS_TEST(nonsense_from_a_peer_ends),
    HARNESS_TEST(only_a_newer_epoch_makes_an_entry),
    HARNESS_TEST(a_file_gives_the_entries_back_and_any_bad_byte_is_noticed),
};
HARNESS_MAIN(tests);
