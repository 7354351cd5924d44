#include "services/replication/feed.h"

#include "tests/lib/harness.h"

/* The feed never looks into a peer: any address will do. */
static char leader_place;
static char other_place;
static struct peer *const leader = (struct peer *)(void *)&leader_place;
static struct peer *const other = (struct peer *)(void *)&other_place;

static const struct ria_uuid topic_id = {{1}};

static struct feed *new_feed(uint32_t followers)
{
    struct feed *feed = feed_new(&topic_id, 3, 7, leader);

    CU_ASSERT_PTR_NOT_NULL_FATAL(feed);
    for (uint32_t i = 0; i < followers; i++) {
        feed_add_follower(feed, (int32_t)i + 2, other);
    }
    return feed;
}

static void end_feed(struct feed *feed)
{
    feed_check(feed);
    feed->stopped = true;
    feed_unref(feed);
}

/* As peer_read.c does when the leader's history has come. */
static void prepare(struct follower *follower, int64_t end_offset)
{
    struct leader_history *history = leader_history_new(1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(history);
    follower->state = FOLLOWER_PREPARING;
    follower->history = history;
    follower_prepared(follower, end_offset);
}

static void new_followers_want_the_history_and_no_data(void)
{
    struct feed *feed = new_feed(2);

    CU_ASSERT_TRUE(feed_wants_history(feed));
    CU_ASSERT_FALSE(feed_wants_data(feed));
    feed->asking = true;
    CU_ASSERT_FALSE(feed_wants_history(feed));
    end_feed(feed);
}

static void first_prepared_follower_sets_the_cursor(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    CU_ASSERT_EQUAL(feed->cursor, 10);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[0]));
    CU_ASSERT_TRUE(feed_wants_data(feed));
    end_feed(feed);
}

static void follower_behind_the_cursor_catches_up_alone(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 4);
    CU_ASSERT_EQUAL(feed->cursor, 10);
    CU_ASSERT_FALSE(follower_is_attached(&feed->followers[1]));
    CU_ASSERT_TRUE(follower_wants_catch_up(&feed->followers[1]));
    CU_ASSERT_FALSE(follower_wants_catch_up(&feed->followers[0]));
    feed->followers[1].sent_offset = 10;
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    end_feed(feed);
}

static void follower_ahead_of_the_cursor_is_attached(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 4);
    prepare(&feed->followers[1], 10);
    CU_ASSERT_EQUAL(feed->cursor, 4);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    end_feed(feed);
}

static void cursor_goes_back_when_the_last_attached_fails(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 4);
    follower_failed(&feed->followers[0], 0);
    CU_ASSERT_EQUAL(feed->cursor, 4);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    follower_failed(&feed->followers[1], 0);
    CU_ASSERT_EQUAL(feed->cursor, -1);
    CU_ASSERT_FALSE(feed_wants_data(feed));
    end_feed(feed);
}

static void failed_follower_waits_longer_each_time(void)
{
    struct feed *feed = new_feed(1);
    struct follower *follower = &feed->followers[0];
    int64_t waits[6];

    for (int i = 0; i < 6; i++) {
        uint32_t generation = follower->generation;
        follower_failed(follower, 1000);
        CU_ASSERT_EQUAL(follower->generation, generation + 1);
        waits[i] = follower->retry_at_us - 1000;
        CU_ASSERT_FALSE(feed_retry(feed, follower->retry_at_us - 1));
        CU_ASSERT_TRUE(feed_retry(feed, follower->retry_at_us));
        CU_ASSERT_TRUE(feed_wants_history(feed));
    }
    CU_ASSERT_TRUE(waits[1] > waits[0]);
    CU_ASSERT_EQUAL(waits[5], 1000 * 1000);
    follower_acked(follower, 0);
    CU_ASSERT_EQUAL(follower->failures, 0);
    end_feed(feed);
}

static void full_window_stops_reading_until_a_laggard_is_detached(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 10);
    feed->followers[1].pending_bytes = 64 * 1024 * 1024;
    CU_ASSERT_FALSE(feed_wants_data(feed));
    CU_ASSERT_PTR_EQUAL(feed_laggard(feed), &feed->followers[1]);
    feed->followers[0].pending_bytes = 1;
    CU_ASSERT_PTR_NULL(feed_laggard(feed));
    end_feed(feed);
}

static void acknowledged_offset_never_falls(void)
{
    struct feed *feed = new_feed(1);
    struct follower *follower = &feed->followers[0];

    prepare(follower, 10);
    follower->sent_offset = 30;
    follower_acked(follower, 30);
    follower_acked(follower, 20);
    CU_ASSERT_EQUAL(follower->acked_offset, 30);
    end_feed(feed);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(new_followers_want_the_history_and_no_data),
    HARNESS_TEST(first_prepared_follower_sets_the_cursor),
    HARNESS_TEST(follower_behind_the_cursor_catches_up_alone),
    HARNESS_TEST(follower_ahead_of_the_cursor_is_attached),
    HARNESS_TEST(cursor_goes_back_when_the_last_attached_fails),
    HARNESS_TEST(failed_follower_waits_longer_each_time),
    HARNESS_TEST(full_window_stops_reading_until_a_laggard_is_detached),
    HARNESS_TEST(acknowledged_offset_never_falls),
};

HARNESS_MAIN(tests);
