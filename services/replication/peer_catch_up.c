/* peer_catch_up: reads for a follower that is behind its feed's cursor. */
#include <stdlib.h>

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/replication/internal.h"

enum { CATCH_UP_BYTES = 1024 * 1024 };

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
    struct follower *follower, struct chunk *chunk, struct ria_slice batches, int64_t end
)
{
    struct ria_slice rest;

    if (end <= follower->sent_offset) {
        return; /* it got there by another way meanwhile */
    }
    rest = slice_from(batches, follower->sent_offset);
    if (rest.size == 0 || peer_queue(follower, chunk, rest, follower->sent_offset, end) != RIA_OK) {
        peer_fail_follower(follower);
    }
}

/* ---- catch-up ---- */

struct catch_up_call {
    struct feed *feed;
    uint32_t follower;
    uint32_t generation;
};

/* Takes reply. */
static ria_err take_catch_up(struct follower *follower, struct ria_msg *reply)
{
    struct replica_fetch_response response = {0};
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;
    struct chunk *chunk = chunk_new(reply);
    int64_t base;
    int64_t end;

    if (chunk == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_arena_init(&arena, PEER_ARENA_MAX);
    ria_err err =
        envelope_open_reply(reply, REPLICA_FETCH_API_KEY, &header, &body, &payload, NULL, 0);
    if (err == RIA_OK) {
        err = envelope_decode_body(
            schema_response(REPLICA_FETCH_API_KEY), header.api_version, body, &arena, &response
        );
    }
    if (err == RIA_OK && response.partitions_count == 1) {
        err = ria_err_from_wire(response.partitions[0].error_code);
        if (err == RIA_OK && payload.size > 0) {
            err = peer_batches_extent(payload, &base, &end) ? RIA_OK : RIA_ERR_MALFORMED;
        }
        if (err == RIA_OK && payload.size > 0) {
            peer_feed_follower(follower, chunk, payload, end);
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

    if (call->feed->stopped || follower->generation != call->generation) {
        ria_msg_free(reply);
    } else {
        follower->catching_up = false;
        if (err == RIA_OK) {
            err = take_catch_up(follower, reply);
        }
        if (err != RIA_OK) {
            peer_fail_follower(follower);
        } else if (follower->pending_bytes == 0) {
            /* Nothing there at its offset though the cursor is past it: look again on the tick. */
            replication_retry_later(call->feed);
        }
    }
    feed_unref(call->feed);
    free(call);
}

void peer_send_catch_up(struct follower *follower)
{
    struct feed *feed = follower->feed;
    struct peer *leader = feed->leader;
    struct catch_up_call *call;

    if (leader->service->metrics.buffered_bytes.value > PEER_BUFFERED_MAX ||
        replication_address(leader->service, leader) == NULL) {
        replication_retry_later(feed);
        return;
    }
    call = calloc(1, sizeof(*call));
    if (call == NULL) {
        replication_retry_later(feed);
        return;
    }
    call->feed = feed_ref(feed);
    call->follower = (uint32_t)(follower - feed->followers);
    call->generation = follower->generation;
    follower->catching_up = true;
    struct replica_fetch_request_replica_fetch_partition entry = {
        .topic_id = feed->topic_id,
        .partition = feed->partition,
        .leader_epoch = feed->leader_epoch,
        .offset = follower->sent_offset,
        .max_bytes = CATCH_UP_BYTES,
    };
    /* Does not park, so it must not end the parked fetch either: a session of its own. */
    struct replica_fetch_request request = {
        .session_id = -1,
        .wait_ms = 0,
        .max_bytes = CATCH_UP_BYTES,
        .partitions = &entry,
        .partitions_count = 1,
    };
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
