#include "services/replication/peer.h"

#include <stdlib.h>

#include "common/assert.h"

#include "services/replication/internal.h"

enum { PROBE_US = 200 * 1000 }; /* between two attempts to reach a node that did not answer */

struct peer *peer_new(struct replication *service, int32_t node)
{
    struct peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL) {
        return NULL;
    }
    peer->service = service;
    peer->node = node;
    ria_list_init(&peer->link);
    ria_list_init(&peer->flush_link);
    ria_list_init(&peer->feeds);
    ria_list_init(&peer->epochs);
    ria_list_init(&peer->reports);
    ria_list_init(&peer->wishes);
    ria_list_init(&peer->forgotten);
    peer->session_lost = true; /* there is none yet */
    ria_list_init(&peer->prepares);
    ria_list_init(&peer->pieces);
    ria_list_init(&peer->bulk);
    ria_list_init(&peer->near);
    ria_list_init(&peer->far);
    ria_list_init(&peer->blocked);
    peer->window.total = &service->metrics.buffered_bytes.value;
    return peer;
}

void peer_free(struct peer *peer)
{
    RIA_ASSERT(ria_list_is_empty(&peer->feeds));
    RIA_ASSERT(ria_list_is_empty(&peer->pieces));
    RIA_ASSERT(ria_list_is_empty(&peer->bulk));
    peer_drop_forgotten(peer);
    ria_list_remove(&peer->link);
    ria_list_remove(&peer->flush_link);
    free(peer);
}

void peer_flush(struct peer *peer)
{
    if (replication_address(peer->service, peer) == NULL) {
        return; /* the node's arrival in the metadata flushes again */
    }
    /* Reports first: they release acknowledgements. */
    peer_send_reports(peer);
    peer_send_appends(peer);
    peer_send_epochs(peer);
    peer_send_prepares(peer);
    peer_send_fetch(peer);
    peer_send_catch_ups(peer);
}

/* If it is a node that has no room, the feed is looked at again when it has. */
static void wait_for_room(struct feed *feed)
{
    struct follower *full = feed_full_node(feed);

    if (full != NULL && !ria_list_is_linked(&feed->full_link)) {
        ria_list_push_back(&full->peer->blocked, &feed->full_link);
    }
}

void peer_consider(struct feed *feed)
{
    struct follower *laggard;

    if (feed->stopped) {
        return;
    }
    if (feed_wants_history(feed) && !ria_list_is_linked(&feed->epochs_link)) {
        ria_list_push_back(&feed->leader->epochs, &feed->epochs_link);
        replication_flush_later(feed->leader);
    }
    laggard = feed_laggard(feed);
    if (laggard != NULL) {
        peer_drop_pieces(laggard);
    }
    if (feed_wants_wish(feed)) {
        peer_wish(feed);
    } else if (!feed_wants_data(feed)) {
        wait_for_room(feed);
    }
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        if (follower_wants_catch_up(&feed->followers[i])) {
            peer_want_catch_up(&feed->followers[i]);
        }
    }
}

bool peer_may_retry(struct peer *peer)
{
    int64_t now_us = ria_clock_mono_us(peer->service->env->clock);

    if (!peer->unreachable) {
        return true;
    }
    if (now_us < peer->probe_at_us) {
        return false;
    }
    peer->probe_at_us = now_us + PROBE_US;
    return true;
}

void peer_note_reached(struct peer *peer, ria_err err)
{
    peer->unreachable = err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED;
    if (peer->unreachable) {
        peer->probe_at_us = ria_clock_mono_us(peer->service->env->clock) + PROBE_US;
    }
}

void peer_fail_follower(struct follower *follower)
{
    struct replication *service = follower->peer->service;

    if (follower->feed->stopped || follower->state == FOLLOWER_WAITING) {
        return;
    }
    service->metrics.follower_failures.value++;
    peer_drop_pieces(follower);
    follower_failed(follower, ria_clock_mono_us(service->env->clock));
    replication_retry_later(follower->feed);
    peer_consider(follower->feed);
}

bool peer_tell_watermark(struct feed *feed)
{
    bool untold = false;

    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower->state != FOLLOWER_READY || follower->sent_watermark >= feed->high_watermark) {
            continue;
        }
        if (follower->pending_bytes > 0 || !ria_list_is_empty(&follower->pieces)) {
            untold = true; /* the data on its way carries it */
            continue;
        }
        if (peer_queue(follower, NULL, RIA_SLICE_NULL, follower->sent_offset, false) != RIA_OK) {
            untold = true;
        }
    }
    return untold;
}

void peer_stop_feed(struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        peer_drop_pieces(follower);
        follower->generation++;
        ria_list_remove(&follower->prepare_link);
        ria_list_remove(&follower->report_link);
        ria_list_remove(&follower->lag_link);
    }
    peer_forget_wish(feed);
    ria_list_remove(&feed->full_link);
    ria_list_remove(&feed->epochs_link);
    ria_list_remove(&feed->feed_link);
    ria_list_remove(&feed->apart_link);
    ria_list_remove(&feed->retry_link);
    feed->stopped = true;
    feed->leader->service->metrics.feeds.value--;
    feed_unref(feed);
}

struct chunk *chunk_new(struct ria_msg *frame)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));

    if (chunk == NULL) {
        ria_msg_free(frame);
        return NULL;
    }
    chunk->refs = 1;
    chunk->frame = frame;
    return chunk;
}

void chunk_unref(struct chunk *chunk)
{
    if (chunk != NULL && --chunk->refs == 0) {
        ria_msg_free(chunk->frame);
        free(chunk);
    }
}
