/* peer_catch_up: reads for a follower that is behind its feed's cursor. */
#include <stdlib.h>

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/replication/internal.h"

enum {
    CATCH_UP_BYTES = 256 * 1024, /* of one read: what comes behind it on the leader waits little */
    READS_IN_FLIGHT_MAX = 4,     /* for one follower node */
    BULK_PENDING_MAX = 1024 * 1024,   /* queued or under way to one node: no more reads above it */
    NEAR_BYTES_MAX = 4 * 1024 * 1024, /* who is not further behind is not throttled */
};

/* ---- runs of batches ---- */

/* Bytes of `batches` from the batch that starts at offset on; a null slice if none does. */
static struct ria_slice slice_from(struct ria_slice batches, int64_t offset)
{
    struct batch_header header;

    while (batch_header_decode(batches, &header) == RIA_OK && batch_size(&header) <= batches.size) {
        if (header.base_offset == offset) {
            return batches;
        }
        batches.data += batch_size(&header);
        batches.size -= batch_size(&header);
    }
    return RIA_SLICE_NULL;
}

bool peer_batches_extent(struct ria_slice batches, int64_t *out_base, int64_t *out_end)
{
    struct batch_header header;
    int64_t end = -1;

    while (batches.size > 0) {
        if (batch_header_decode(batches, &header) != RIA_OK || batch_size(&header) > batches.size ||
            (end >= 0 && header.base_offset != end)) {
            return false;
        }
        if (end < 0) {
            *out_base = header.base_offset;
        }
        end = batch_last_offset(&header) + 1;
        batches.data += batch_size(&header);
        batches.size -= batch_size(&header);
    }
    *out_end = end;
    return end >= 0;
}

void peer_feed_follower(
    struct follower *follower,
    struct chunk *chunk,
    struct ria_slice batches,
    int64_t end,
    bool is_bulk
)
{
    struct ria_slice rest;

    if (end <= follower->sent_offset) {
        return; /* it got there by another way meanwhile */
    }
    rest = slice_from(batches, follower->sent_offset);
    if (rest.size == 0 || peer_queue(follower, chunk, rest, end, is_bulk) != RIA_OK) {
        peer_fail_follower(follower);
    }
}

/* ---- catch-up ---- */

struct catch_up_call {
    struct peer *peer; /* the follower's node */
    struct feed *feed;
    uint32_t follower;
    uint32_t generation;
    bool is_far;
};

/* Takes reply. */
static ria_err take_catch_up(struct follower *follower, bool is_far, struct ria_msg *reply)
{
    struct replica_fetch_response response = {0};
    struct ria_slice payload = RIA_SLICE_EMPTY;
    struct ria_arena arena;
    struct chunk *chunk = chunk_new(reply);
    int64_t base;
    int64_t end;

    if (chunk == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_arena_init(&arena, PEER_ARENA_MAX);
    ria_err err =
        envelope_read_reply(reply, REPLICA_FETCH_API_KEY, &arena, &response, &payload, NULL, 0);
    if (is_far) {
        throttle_take(&follower->feed->leader->service->throttle, (int64_t)payload.size);
    }
    if (err == RIA_OK && response.partitions_count == 1) {
        err = ria_err_from_wire(response.partitions[0].error_code);
        follower->feed->leader->service->metrics.bytes_caught_up.value += payload.size;
        follower->feed->config_epoch =
            (int32_t)ria_max_i64(follower->feed->config_epoch, response.partitions[0].config_epoch);
        if (err == RIA_OK && payload.size > 0) {
            err = peer_batches_extent(payload, &base, &end) ? RIA_OK : RIA_ERR_MALFORMED;
        }
        if (err == RIA_OK && payload.size > 0) {
            /* What takes it to the cursor is what the attached get, and goes as theirs. */
            bool is_bulk = end < follower->feed->cursor;
            follower->caught_bytes = is_bulk ? follower->caught_bytes + (int64_t)payload.size : 0;
            peer_feed_follower(follower, chunk, payload, end, is_bulk);
        }
    }
    ria_arena_fini(&arena);
    chunk_unref(chunk);
    return err;
}

static void on_catch_up(void *arg, ria_err err, struct ria_msg *reply)
{
    struct catch_up_call *call = arg;
    struct follower *follower = &call->feed->followers[call->follower];

    call->peer->bulk_reads--;
    if (call->feed->stopped || follower->generation != call->generation) {
        ria_msg_free(reply);
    } else {
        follower->catching_up = false;
        if (err == RIA_OK) {
            err = take_catch_up(follower, call->is_far, reply);
        }
        if (err != RIA_OK) {
            peer_fail_follower(follower);
        } else if (follower->pending_bytes == 0) {
            /* Nothing there at its offset though the cursor is past it: look again on the tick. */
            replication_retry_later(call->feed);
        }
    }
    replication_flush_later(call->peer);
    feed_unref(call->feed);
    free(call);
}

static bool is_near(const struct follower *follower)
{
    return follower->caught_bytes < NEAR_BYTES_MAX;
}

void peer_want_catch_up(struct follower *follower)
{
    struct peer *peer = follower->peer;

    if (!ria_list_is_linked(&follower->lag_link)) {
        ria_list_push_back(is_near(follower) ? &peer->near : &peer->far, &follower->lag_link);
    }
    replication_flush_later(peer);
}

static void send_read(struct follower *follower, struct catch_up_call *call)
{
    struct feed *feed = follower->feed;
    struct peer *leader = feed->leader;
    struct replica_fetch_request_replica_fetch_partition entry = {
        .topic_id = feed->topic_id,
        .partition = feed->partition,
        .leader_epoch = feed->leader_epoch,
        .offset = follower->sent_offset,
        .max_bytes = CATCH_UP_BYTES,
    };
    struct replica_fetch_request request = {
        .session_id = -1,
        .max_bytes = CATCH_UP_BYTES,
        .partitions = &entry,
        .partitions_count = 1,
    };

    *call = (struct catch_up_call){
        .peer = follower->peer,
        .feed = feed_ref(feed),
        .follower = (uint32_t)(follower - feed->followers),
        .generation = follower->generation,
        .is_far = !is_near(follower),
    };
    follower->catching_up = true;
    follower->peer->bulk_reads++;
    leader->service->metrics.fetches.value++;
    ria_rpc_call(
        leader->service->env->rpc,
        replication_address(leader->service, leader),
        envelope_request(REPLICA_FETCH_API_KEY, 0, -1, PEER_CALL_MS, &request, 0, NULL),
        PEER_CALL_MS,
        on_catch_up,
        call
    );
}

/* One read more for this node? */
static bool has_room(const struct peer *peer)
{
    int64_t expected = (int64_t)peer->bulk_reads * CATCH_UP_BYTES;

    return peer->bulk_reads < READS_IN_FLIGHT_MAX &&
           peer->bulk_bytes + expected < BULK_PENDING_MAX && !node_window_is_full(&peer->window);
}

/* False: there is no memory now. */
static bool read_next(struct ria_list *lagging)
{
    struct follower *follower = RIA_CONTAINER(lagging->next, struct follower, lag_link);
    struct replication *service = follower->peer->service;
    struct catch_up_call *call = NULL;

    if (!follower_wants_catch_up(follower)) {
        ria_list_remove(&follower->lag_link);
        return true;
    }
    if (replication_address(service, follower->feed->leader) == NULL) {
        ria_list_remove(&follower->lag_link);
        replication_retry_later(follower->feed);
        return true;
    }
    call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return false;
    }
    ria_list_remove(&follower->lag_link);
    send_read(follower, call);
    return true;
}

void peer_send_catch_ups(struct peer *peer)
{
    struct replication *service = peer->service;

    while (!ria_list_is_empty(&peer->near) && has_room(peer)) {
        if (!read_next(&peer->near)) {
            return;
        }
    }
    while (!ria_list_is_empty(&peer->far) && has_room(peer)) {
        int64_t wait_us =
            throttle_wait_us(&service->throttle, ria_clock_mono_us(service->env->clock));
        if (wait_us > 0) {
            replication_throttled(service, wait_us);
            return;
        }
        if (!read_next(&peer->far)) {
            return;
        }
    }
}
