/* peer_write: what a worker tells a node: preparation and data as a follower, progress as a leader.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/replica_report_request.h"
#include "schemas/gen/replica_report_response.h"

#include "services/replication/internal.h"

enum {
    PREPARES_PER_REQUEST = 512,
    PREPARE_ENTRIES_MAX = 16384, /* of all histories in one request; at least one partition goes */
    PIECES_PER_REQUEST = 512,
    REPORTS_PER_REQUEST = 512,
    APPENDS_IN_FLIGHT_MAX = 4,          /* frames to one node: enough to keep its disk busy */
    APPEND_BYTES_MAX = 4 * 1024 * 1024, /* of one frame; at least one piece goes */
    BULKS_IN_FLIGHT_MAX = 2,            /* frames of catch-up data to one node */
    BULK_BYTES_MAX = 512 * 1024,        /* of one: what comes behind it waits little */
};

/* One partition in a frame under way. Void if the follower's generation has moved on. */
struct write_item {
    struct feed *feed;
    uint32_t follower;
    uint32_t generation;
    int64_t end_offset;
    int64_t high_watermark;
    size_t bytes;
};

struct write_call {
    struct peer *peer;
    bool is_bulk; /* append of catch-up data */
    uint32_t count;
    struct write_item items[];
};

static struct write_call *write_call_new(struct peer *peer, uint32_t capacity)
{
    /* Each item is set when it is added: room for hundreds is not cleared for a few. */
    struct write_call *call = malloc(sizeof(*call) + capacity * sizeof(struct write_item));

    if (call != NULL) {
        *call = (struct write_call){.peer = peer};
    }
    return call;
}

static struct write_item *write_call_add(struct write_call *call, struct follower *follower)
{
    struct write_item *item = &call->items[call->count++];

    *item = (struct write_item){
        .feed = feed_ref(follower->feed),
        .follower = (uint32_t)(follower - follower->feed->followers),
        .generation = follower->generation,
    };
    return item;
}

static void write_call_free(struct write_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        feed_unref(call->items[i].feed);
    }
    free(call);
}

/* The follower the item was sent for, NULL if the item is void. */
static struct follower *item_follower(const struct write_item *item)
{
    struct follower *follower = &item->feed->followers[item->follower];

    return item->feed->stopped || follower->generation != item->generation ? NULL : follower;
}

static bool is_item(const struct write_item *item, struct ria_uuid topic_id, int32_t partition)
{
    return ria_uuid_equal(item->feed->topic_id, topic_id) && item->feed->partition == partition;
}

/* Opens and decodes a reply. */
static ria_err open_reply(
    const struct ria_msg *reply, ria_err err, int16_t api_key, struct ria_arena *arena, void *out
)
{
    RIA_TRY(err);
    return envelope_read_reply(reply, api_key, arena, out, NULL, NULL, 0);
}

static void call_peer(struct peer *peer, struct ria_msg *frame, ria_rpc_done_fn done, void *arg)
{
    ria_rpc_call(
        peer->service->env->rpc,
        replication_address(peer->service, peer),
        frame,
        PEER_CALL_MS,
        done,
        arg
    );
}

/* ---- prepare ---- */

static void on_prepared(void *arg, ria_err err, struct ria_msg *reply)
{
    struct write_call *call = arg;
    struct replica_prepare_response response = {0};
    struct ria_arena arena;

    ria_arena_init(&arena, PEER_ARENA_MAX);
    call->peer->preparing = false;
    peer_note_reached(call->peer, err);
    err = open_reply(reply, err, REPLICA_PREPARE_API_KEY, &arena, &response);
    bool whole = err == RIA_OK && response.partitions_count == call->count;
    for (uint32_t i = 0; i < call->count; i++) {
        const struct write_item *item = &call->items[i];
        struct follower *follower = item_follower(item);
        if (follower == NULL) {
            continue;
        }
        if (whole &&
            is_item(item, response.partitions[i].topic_id, response.partitions[i].partition) &&
            response.partitions[i].error_code == RIA_OK && response.partitions[i].end_offset >= 0) {
            follower_prepared(follower, response.incarnation, response.partitions[i].end_offset);
            if (!ria_list_is_linked(&follower->report_link)) {
                ria_list_push_back(&item->feed->leader->reports, &follower->report_link);
            }
            replication_flush_later(item->feed->leader);
            replication_retry_later(item->feed); /* its high watermark is untold */
            peer_consider(item->feed);
        } else {
            peer_fail_follower(follower);
        }
    }
    replication_flush_later(call->peer);
    ria_arena_fini(&arena);
    ria_msg_free(reply);
    write_call_free(call);
}

static bool fill_prepare(
    struct replica_prepare_request_replica_prepare_partition *entry,
    const struct follower *follower,
    struct ria_arena *arena
)
{
    const struct leader_history *history = follower->history;

    *entry = (struct replica_prepare_request_replica_prepare_partition){
        .topic_id = follower->feed->topic_id,
        .partition = follower->feed->partition,
        .leader_epoch = follower->feed->leader_epoch,
        .log_start_offset = history->start_offset,
        .end_offset = history->end_offset,
        .epochs = ria_arena_alloc_array(arena, history->count, sizeof(entry->epochs[0])),
        .epochs_count = history->count,
    };
    if (entry->epochs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < history->count; i++) {
        entry->epochs[i].epoch = history->entries[i].epoch;
        entry->epochs[i].start_offset = history->entries[i].start_offset;
    }
    return true;
}

void peer_send_prepares(struct peer *peer)
{
    struct replica_prepare_request_replica_prepare_partition entries[PREPARES_PER_REQUEST];
    struct replica_prepare_request request = {.partitions = entries};
    struct ria_arena arena;
    uint32_t entry_count = 0;

    if (peer->preparing || ria_list_is_empty(&peer->prepares)) {
        return;
    }
    struct write_call *call = write_call_new(peer, PREPARES_PER_REQUEST);
    if (call == NULL) {
        return;
    }
    ria_arena_init(&arena, PEER_ARENA_MAX);
    while (call->count < PREPARES_PER_REQUEST && entry_count < PREPARE_ENTRIES_MAX &&
           !ria_list_is_empty(&peer->prepares)) {
        struct follower *follower =
            RIA_CONTAINER(ria_list_pop_front(&peer->prepares), struct follower, prepare_link);
        entry_count += follower->history->count;
        if (!fill_prepare(&entries[call->count], follower, &arena)) {
            peer_fail_follower(follower);
            continue;
        }
        (void)write_call_add(call, follower);
    }
    request.partitions_count = call->count;
    if (call->count == 0) {
        write_call_free(call);
    } else {
        peer->preparing = true;
        call_peer(
            peer,
            envelope_request(REPLICA_PREPARE_API_KEY, 0, -1, PEER_CALL_MS, &request, 0, NULL),
            on_prepared,
            call
        );
    }
    ria_arena_fini(&arena);
}

/* ---- append ---- */

static void count_bytes(struct follower *follower, int64_t bytes, bool is_bulk)
{
    follower->pending_bytes += bytes;
    follower->bulk_bytes += is_bulk ? bytes : 0;
}

static void count_node_bytes(struct peer *peer, int64_t bytes, bool is_bulk)
{
    peer->window.bytes += bytes;
    peer->bulk_bytes += is_bulk ? bytes : 0;
    peer->service->metrics.buffered_bytes.value += bytes;
}

ria_err peer_queue(
    struct follower *follower,
    struct chunk *chunk,
    struct ria_slice bytes,
    int64_t end_offset,
    bool is_bulk
)
{
    struct peer *peer = follower->peer;
    struct piece *piece = calloc(1, sizeof(*piece));

    if (piece == NULL) {
        return RIA_ERR_NOMEM;
    }
    piece->follower = follower;
    piece->bytes = bytes;
    piece->base_offset = follower->sent_offset;
    piece->end_offset = end_offset;
    /* Nothing may overtake what the follower is to be sent before. */
    piece->is_bulk = bytes.size > 0 && (is_bulk || follower->bulk_bytes > 0);
    if (bytes.size > 0) {
        chunk->refs++;
        piece->chunk = chunk;
    }
    ria_list_init(&piece->peer_link);
    ria_list_init(&piece->follower_link);
    ria_list_push_back(piece->is_bulk ? &peer->bulk : &peer->pieces, &piece->peer_link);
    ria_list_push_back(&follower->pieces, &piece->follower_link);
    follower->sent_offset = end_offset;
    count_bytes(follower, (int64_t)bytes.size, piece->is_bulk);
    count_node_bytes(peer, (int64_t)bytes.size, piece->is_bulk);
    replication_flush_later(peer);
    return RIA_OK;
}

static void piece_free(struct piece *piece)
{
    ria_list_remove(&piece->peer_link);
    ria_list_remove(&piece->follower_link);
    chunk_unref(piece->chunk);
    free(piece);
}

void peer_drop_pieces(struct follower *follower)
{
    while (!ria_list_is_empty(&follower->pieces)) {
        /* From the back: what is left to send must stay contiguous. */
        struct piece *piece = RIA_CONTAINER(follower->pieces.prev, struct piece, follower_link);
        follower->sent_offset = piece->base_offset;
        count_bytes(follower, -(int64_t)piece->bytes.size, piece->is_bulk);
        count_node_bytes(follower->peer, -(int64_t)piece->bytes.size, piece->is_bulk);
        piece_free(piece);
    }
}

static void take_appended(
    struct follower *follower,
    const struct write_item *item,
    bool is_bulk,
    const struct replica_append_response_replica_appended_partition *appended
)
{
    count_bytes(follower, -(int64_t)item->bytes, is_bulk);
    if (appended->error_code != RIA_OK || appended->end_offset < item->end_offset) {
        peer_fail_follower(follower);
        return;
    }
    follower_acked(follower, item->end_offset);
    follower->sent_watermark = ria_max_i64(follower->sent_watermark, item->high_watermark);
    if (follower->acked_offset > follower->reported_offset &&
        !ria_list_is_linked(&follower->report_link)) {
        ria_list_push_back(&item->feed->leader->reports, &follower->report_link);
        replication_flush_later(item->feed->leader);
    }
    peer_consider(item->feed);
}

/* The node has room again: read for those that need it. */
static void consider_blocked(struct peer *peer)
{
    struct ria_list blocked;

    if (node_window_is_full(&peer->window)) {
        return;
    }
    ria_list_init(&blocked);
    ria_list_splice(&blocked, &peer->blocked);
    while (!ria_list_is_empty(&blocked)) {
        struct feed *feed = RIA_CONTAINER(blocked.next, struct feed, full_link);
        ria_list_remove(&feed->full_link);
        peer_consider(feed);
    }
}

static void on_appended(void *arg, ria_err err, struct ria_msg *reply)
{
    struct write_call *call = arg;
    struct replica_append_response response = {0};
    struct ria_arena arena;

    ria_arena_init(&arena, PEER_ARENA_MAX);
    peer_note_reached(call->peer, err);
    if (call->is_bulk) {
        call->peer->bulk_appends--;
    } else {
        call->peer->appends--;
    }
    err = open_reply(reply, err, REPLICA_APPEND_API_KEY, &arena, &response);
    bool whole = err == RIA_OK && response.partitions_count == call->count;
    for (uint32_t i = 0; i < call->count; i++) {
        const struct write_item *item = &call->items[i];
        struct follower *follower = item_follower(item);
        count_node_bytes(call->peer, -(int64_t)item->bytes, call->is_bulk);
        if (follower == NULL) {
            continue;
        }
        if (whole &&
            is_item(item, response.partitions[i].topic_id, response.partitions[i].partition)) {
            take_appended(follower, item, call->is_bulk, &response.partitions[i]);
        } else {
            peer_fail_follower(follower);
        }
    }
    consider_blocked(call->peer);
    replication_flush_later(call->peer);
    ria_arena_fini(&arena);
    ria_msg_free(reply);
    write_call_free(call);
}

/* Move pieces from the queue into the frame's entries; returns their bytes in all. */
static size_t fill_append(
    struct ria_list *queue,
    struct replica_append_request_replica_append_partition *entries,
    struct piece **pieces,
    struct write_call *call
)
{
    size_t bytes_max = call->is_bulk ? BULK_BYTES_MAX : APPEND_BYTES_MAX;
    size_t total = 0;

    while (call->count < PIECES_PER_REQUEST && !ria_list_is_empty(queue)) {
        struct piece *piece = RIA_CONTAINER(queue->next, struct piece, peer_link);
        struct feed *feed = piece->follower->feed;
        if (total > 0 && total + piece->bytes.size > bytes_max) {
            break;
        }
        ria_list_remove(&piece->peer_link);
        ria_list_remove(&piece->follower_link);
        entries[call->count] = (struct replica_append_request_replica_append_partition){
            .topic_id = feed->topic_id,
            .partition = feed->partition,
            .leader_epoch = feed->leader_epoch,
            .base_offset = piece->base_offset,
            .high_watermark = feed->high_watermark,
            .log_start_offset = 0,
            .size = (int32_t)piece->bytes.size,
            .config_epoch = feed->config_epoch,
        };
        pieces[call->count] = piece;
        struct write_item *item = write_call_add(call, piece->follower);
        item->end_offset = piece->end_offset;
        item->high_watermark = feed->high_watermark;
        item->bytes = piece->bytes.size;
        total += piece->bytes.size;
    }
    return total;
}

static void send_append(struct peer *peer, struct write_call *call)
{
    struct replica_append_request_replica_append_partition entries[PIECES_PER_REQUEST];
    struct piece *pieces[PIECES_PER_REQUEST];
    struct replica_append_request request = {.partitions = entries};
    uint8_t *payload = NULL;

    struct ria_list *queue = call->is_bulk ? &peer->bulk : &peer->pieces;
    size_t total = fill_append(queue, entries, pieces, call);
    request.partitions_count = call->count;
    struct ria_msg *frame =
        envelope_request(REPLICA_APPEND_API_KEY, 0, -1, PEER_CALL_MS, &request, total, &payload);
    for (uint32_t i = 0; i < call->count; i++) {
        if (frame != NULL && pieces[i]->bytes.size > 0) {
            memcpy(payload, pieces[i]->bytes.data, pieces[i]->bytes.size);
            payload += pieces[i]->bytes.size;
        }
        piece_free(pieces[i]);
    }
    if (call->is_bulk) {
        peer->bulk_appends++;
    } else {
        peer->appends++;
    }
    peer->service->metrics.appends.value++;
    peer->service->metrics.bytes_appended.value += total;
    call_peer(peer, frame, on_appended, call);
}

void peer_send_appends(struct peer *peer)
{
    while (peer->appends < APPENDS_IN_FLIGHT_MAX && !ria_list_is_empty(&peer->pieces)) {
        struct write_call *call = write_call_new(peer, PIECES_PER_REQUEST);
        if (call == NULL) {
            return; /* the next flush tries again */
        }
        send_append(peer, call);
    }
    /* Catch-up takes what is left: less while in-sync data has to wait, but never nothing. */
    uint32_t bulk_max = ria_list_is_empty(&peer->pieces) ? BULKS_IN_FLIGHT_MAX : 1;
    while (peer->bulk_appends < bulk_max && !ria_list_is_empty(&peer->bulk)) {
        struct write_call *call = write_call_new(peer, PIECES_PER_REQUEST);
        if (call == NULL) {
            return;
        }
        call->is_bulk = true;
        send_append(peer, call);
    }
}

/* ---- report ---- */

static void on_reported(void *arg, ria_err err, struct ria_msg *reply)
{
    struct write_call *call = arg;
    struct replica_report_response response = {0};
    struct ria_arena arena;

    ria_arena_init(&arena, PEER_ARENA_MAX);
    err = open_reply(reply, err, REPLICA_REPORT_API_KEY, &arena, &response);
    bool whole = err == RIA_OK && response.partitions_count == call->count;
    for (uint32_t i = 0; i < call->count; i++) {
        const struct write_item *item = &call->items[i];
        struct follower *follower = item_follower(item);
        if (follower == NULL) {
            continue;
        }
        if (!whole || response.partitions[i].error_code != RIA_OK) {
            peer_fail_follower(follower);
            continue;
        }
        if (response.partitions[i].high_watermark > item->feed->high_watermark) {
            item->feed->high_watermark = response.partitions[i].high_watermark;
        }
        if (follower->sent_watermark < item->feed->high_watermark) {
            replication_retry_later(item->feed);
        }
    }
    ria_arena_fini(&arena);
    ria_msg_free(reply);
    write_call_free(call);
}

static void send_report(struct peer *peer, struct write_call *call)
{
    struct replica_report_request_replica_report_partition entries[REPORTS_PER_REQUEST];
    struct replica_report_request request = {.partitions = entries};

    while (call->count < REPORTS_PER_REQUEST && !ria_list_is_empty(&peer->reports)) {
        struct follower *follower =
            RIA_CONTAINER(ria_list_pop_front(&peer->reports), struct follower, report_link);
        entries[call->count] = (struct replica_report_request_replica_report_partition){
            .topic_id = follower->feed->topic_id,
            .partition = follower->feed->partition,
            .leader_epoch = follower->feed->leader_epoch,
            .replica = follower->node,
            .incarnation = follower->incarnation,
            .end_offset = follower->acked_offset,
        };
        follower->reported_offset = follower->acked_offset;
        (void)write_call_add(call, follower);
    }
    request.partitions_count = call->count;
    call_peer(
        peer,
        envelope_request(REPLICA_REPORT_API_KEY, 0, -1, PEER_CALL_MS, &request, 0, NULL),
        on_reported,
        call
    );
}

void peer_send_reports(struct peer *peer)
{
    while (!ria_list_is_empty(&peer->reports)) {
        struct write_call *call = write_call_new(peer, REPORTS_PER_REQUEST);
        if (call == NULL) {
            return;
        }
        send_report(peer, call);
    }
}
