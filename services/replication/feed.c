#include "services/replication/feed.h"

#include <stdlib.h>

#include "common/assert.h"

enum {
    WINDOW_BYTES = 4 * 1024 * 1024, /* queued or under way for one follower of one partition */
    BACKOFF_US_MIN = 50 * 1000,
    BACKOFF_US_MAX = 1000 * 1000,
};

struct leader_history *leader_history_new(uint32_t count)
{
    struct leader_history *history =
        calloc(1, sizeof(*history) + count * sizeof(history->entries[0]));

    if (history != NULL) {
        history->refs = 1;
        history->count = count;
    }
    return history;
}

struct leader_history *leader_history_ref(struct leader_history *history)
{
    history->refs++;
    return history;
}

void leader_history_unref(struct leader_history *history)
{
    if (history != NULL && --history->refs == 0) {
        free(history);
    }
}

struct feed *feed_new(
    const struct ria_uuid *topic_id, int32_t partition, int32_t leader_epoch, struct peer *leader
)
{
    struct feed *feed = calloc(1, sizeof(*feed));

    if (feed == NULL) {
        return NULL;
    }
    feed->topic_id = *topic_id;
    feed->partition = partition;
    feed->leader_epoch = leader_epoch;
    feed->leader = leader;
    feed->refs = 1;
    feed->cursor = -1;
    feed->config_epoch = -1;
    ria_list_init(&feed->epochs_link);
    ria_list_init(&feed->feed_link);
    ria_list_init(&feed->wish_link);
    ria_list_init(&feed->full_link);
    ria_list_init(&feed->apart_link);
    ria_list_init(&feed->retry_link);
    return feed;
}

void feed_add_follower(
    struct feed *feed, int32_t node, struct peer *peer, const struct node_window *window
)
{
    RIA_ASSERT(feed->follower_count < RIA_REPLICAS_MAX);

    struct follower *follower = &feed->followers[feed->follower_count++];
    *follower = (struct follower){
        .feed = feed,
        .peer = peer,
        .window = window,
        .node = node,
        .state = FOLLOWER_NEW,
        .acked_offset = -1,
        .sent_offset = -1,
        .reported_offset = -1,
        .sent_watermark = -1,
    };
    ria_list_init(&follower->prepare_link);
    ria_list_init(&follower->report_link);
    ria_list_init(&follower->lag_link);
    ria_list_init(&follower->pieces);
}

struct feed *feed_ref(struct feed *feed)
{
    feed->refs++;
    return feed;
}

void feed_unref(struct feed *feed)
{
    if (feed == NULL || --feed->refs > 0) {
        return;
    }
    RIA_ASSERT(feed->stopped);
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        RIA_ASSERT(ria_list_is_empty(&feed->followers[i].pieces));
        leader_history_unref(feed->followers[i].history);
    }
    free(feed);
}

bool feed_wants_history(const struct feed *feed)
{
    if (feed->stopped || feed->asking) {
        return false;
    }
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        if (feed->followers[i].state == FOLLOWER_NEW) {
            return true;
        }
    }
    return false;
}

static bool is_full(const struct follower *follower)
{
    return follower->pending_bytes >= WINDOW_BYTES || node_window_is_full(follower->window);
}

/* Someone attached has room and nothing to do. */
static bool has_idle(const struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        const struct follower *follower = &feed->followers[i];
        if (follower_is_attached(follower) && follower->pending_bytes == 0 && !is_full(follower)) {
            return true;
        }
    }
    return false;
}

bool feed_wants_data(const struct feed *feed)
{
    bool attached = false;
    bool full = false;

    if (feed->stopped || feed->cursor < 0) {
        return false;
    }
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        const struct follower *follower = &feed->followers[i];
        if (follower_is_attached(follower)) {
            attached = true;
            full = full || is_full(follower);
        }
    }
    return attached && (!full || has_idle(feed));
}

bool follower_is_left_behind(const struct follower *follower)
{
    return is_full(follower) && has_idle(follower->feed);
}

struct follower *feed_full_node(struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower_is_attached(follower) && node_window_is_full(follower->window)) {
            return follower;
        }
    }
    return NULL;
}

bool feed_is_over(const struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        const struct follower *follower = &feed->followers[i];
        if (follower_is_attached(follower) && !node_window_is_over(follower->window)) {
            return false;
        }
    }
    return true;
}

bool feed_wants_wish(const struct feed *feed)
{
    return feed_wants_data(feed) && (feed->wish_number == 0 || feed->wish_offset != feed->cursor);
}

bool follower_wants_catch_up(const struct follower *follower)
{
    return !follower->feed->stopped && follower->state == FOLLOWER_READY &&
           follower->sent_offset < follower->feed->cursor && !follower->catching_up &&
           follower->pending_bytes == 0;
}

/* The cursor stands where the furthest attached follower stands. When nobody is left at or past it,
 * it goes back to the furthest of the ready ones, so that somebody is attached as long as one is
 * ready. */
static void place_cursor(struct feed *feed)
{
    int64_t furthest = -1;
    bool attached = false;

    for (uint32_t i = 0; i < feed->follower_count; i++) {
        const struct follower *follower = &feed->followers[i];
        if (follower->state == FOLLOWER_READY) {
            furthest = ria_max_i64(furthest, follower->sent_offset);
            attached = attached || follower_is_attached(follower);
        }
    }
    if (!attached) {
        feed->cursor = furthest;
    }
}

void follower_prepared(struct follower *follower, int64_t incarnation, int64_t end_offset)
{
    RIA_ASSERT(follower->state == FOLLOWER_PREPARING);
    RIA_ASSERT(end_offset >= 0);

    leader_history_unref(follower->history);
    follower->history = NULL;
    follower->state = FOLLOWER_READY;
    follower->incarnation = incarnation;
    follower->acked_offset = end_offset;
    follower->sent_offset = end_offset;
    follower->reported_offset = -1; /* the leader may have restarted: tell it again */
    follower->sent_watermark = -1;
    follower->pending_bytes = 0;
    follower->bulk_bytes = 0;
    follower->caught_bytes = 0;
    follower->catching_up = false;
    place_cursor(follower->feed);
}

void follower_acked(struct follower *follower, int64_t end_offset)
{
    follower->failures = 0;
    follower->acked_offset = ria_max_i64(follower->acked_offset, end_offset);
}

void follower_failed(struct follower *follower, int64_t now_us)
{
    int64_t backoff = BACKOFF_US_MIN;

    for (uint32_t i = 0; i < follower->failures && backoff < BACKOFF_US_MAX; i++) {
        backoff *= 2;
    }
    follower->failures++;
    follower->generation++;
    follower->state = FOLLOWER_WAITING;
    follower->retry_at_us = now_us + ria_min_i64(backoff, BACKOFF_US_MAX);
    follower->acked_offset = -1;
    follower->sent_offset = -1;
    follower->pending_bytes = 0;
    follower->bulk_bytes = 0;
    follower->catching_up = false;
    leader_history_unref(follower->history);
    follower->history = NULL;
    ria_list_remove(&follower->prepare_link);
    ria_list_remove(&follower->report_link);
    ria_list_remove(&follower->lag_link);
    place_cursor(follower->feed);
}

bool follower_retry(struct follower *follower, int64_t now_us)
{
    if (follower->state != FOLLOWER_WAITING || follower->retry_at_us > now_us) {
        return false;
    }
    follower->state = FOLLOWER_NEW;
    return true;
}

void feed_advance(struct feed *feed, int64_t end_offset)
{
    RIA_ASSERT(feed->cursor >= 0);
    RIA_ASSERT(end_offset > feed->cursor);

    feed->cursor = end_offset;
}

struct follower *feed_laggard(struct feed *feed)
{
    if (!has_idle(feed)) {
        return NULL;
    }
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower_is_attached(follower) && is_full(follower) && follower->pending_bytes > 0 &&
            !ria_list_is_empty(&follower->pieces)) {
            return follower;
        }
    }
    return NULL;
}

void feed_check(const struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        const struct follower *follower = &feed->followers[i];
        RIA_ASSERT(follower->feed == feed);
        RIA_ASSERT(follower->bulk_bytes >= 0);
        RIA_ASSERT(follower->pending_bytes >= follower->bulk_bytes);
        RIA_ASSERT((follower->history != NULL) == (follower->state == FOLLOWER_PREPARING));
        if (follower->state == FOLLOWER_READY) {
            RIA_ASSERT(feed->cursor >= 0);
            RIA_ASSERT(follower->acked_offset <= follower->sent_offset);
        }
    }
}
