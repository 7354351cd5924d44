/* peer_read: what a worker asks of a node as a leader: histories, new batches, catch-up. */
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/replica_epochs_request.h"
#include "schemas/gen/replica_epochs_response.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/replication/internal.h"

enum {
    CALL_TIMEOUT_MS = 5000, /* two lost in a row still leave time to recover in 15 s */
    FETCH_WAIT_MS = 1000,
    FETCH_BYTES = 4 * 1024 * 1024, /* one reply, all partitions */
    PARTITION_BYTES = 1024 * 1024, /* one reply, one partition */
    CATCH_UP_BYTES = 1024 * 1024,
    BUFFERED_BYTES_MAX = 24 * 1024 * 1024, /* fetched and not yet appended: stop reading above it */
    EPOCHS_PER_REQUEST = 256,
    RETRY_US = 100 * 1000,
    ARENA_LIMIT = 64 * 1024 * 1024,
};

/* A request under way for many feeds; entries are in the order of the request. */
struct read_call {
    struct peer *peer;
    uint64_t number; /* fetch only */
    uint32_t count;
    struct feed *feeds[];
};

static struct read_call *read_call_new(struct peer *peer, uint32_t capacity)
{
    struct read_call *call = calloc(1, sizeof(*call) + capacity * sizeof(struct feed *));

    if (call != NULL) {
        call->peer = peer;
    }
    return call;
}

static void read_call_free(struct read_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        feed_unref(call->feeds[i]);
    }
    free(call);
}

/* ---- histories ---- */

static void fail_new_followers(struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        if (feed->followers[i].state == FOLLOWER_NEW) {
            peer_fail_follower(&feed->followers[i]);
        }
    }
}

static void
take_history(struct feed *feed, const struct replica_epochs_response_replica_epochs_result *result)
{
    struct leader_history *history;

    if (feed->stopped) {
        return;
    }
    history = result->error_code == RIA_OK ? leader_history_new(result->epochs_count) : NULL;
    if (history == NULL) {
        fail_new_followers(feed);
        return;
    }
    history->start_offset = result->log_start_offset;
    history->end_offset = result->end_offset;
    history->high_watermark = result->high_watermark;
    for (uint32_t i = 0; i < result->epochs_count; i++) {
        history->entries[i].epoch = result->epochs[i].epoch;
        history->entries[i].start_offset = result->epochs[i].start_offset;
    }
    feed->high_watermark = ria_max_i64(feed->high_watermark, history->high_watermark);
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower->state == FOLLOWER_NEW) {
            follower->state = FOLLOWER_PREPARING;
            follower->history = leader_history_ref(history);
            ria_list_push_back(&follower->peer->prepares, &follower->prepare_link);
            replication_flush_later(follower->peer);
        }
    }
    leader_history_unref(history);
}

static void on_epochs(void *arg, ria_err err, struct ria_msg *reply)
{
    struct read_call *call = arg;
    struct replica_epochs_response response = {0};
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, ARENA_LIMIT);
    call->peer->asking = false;
    if (err == RIA_OK) {
        err = envelope_open_reply(reply, REPLICA_EPOCHS_API_KEY, &header, &body, &payload, NULL, 0);
    }
    if (err == RIA_OK) {
        err = envelope_decode_body(
            schema_response(REPLICA_EPOCHS_API_KEY), header.api_version, body, &arena, &response
        );
    }
    bool whole = err == RIA_OK && response.partitions_count == call->count;
    for (uint32_t i = 0; i < call->count; i++) {
        struct feed *feed = call->feeds[i];
        feed->asking = false;
        if (whole && ria_uuid_equal(response.partitions[i].topic_id, feed->topic_id) &&
            response.partitions[i].partition == feed->partition) {
            take_history(feed, &response.partitions[i]);
        } else {
            fail_new_followers(feed);
        }
        peer_consider(feed);
    }
    replication_flush_later(call->peer);
    ria_arena_fini(&arena);
    ria_msg_free(reply);
    read_call_free(call);
}

void peer_send_epochs(struct peer *peer)
{
    struct replica_epochs_request_replica_epochs_partition entries[EPOCHS_PER_REQUEST];
    struct replica_epochs_request request = {.partitions = entries};
    struct read_call *call;

    if (peer->asking || ria_list_is_empty(&peer->epochs)) {
        return;
    }
    call = read_call_new(peer, EPOCHS_PER_REQUEST);
    if (call == NULL) {
        return; /* the next flush tries again */
    }
    while (call->count < EPOCHS_PER_REQUEST && !ria_list_is_empty(&peer->epochs)) {
        struct feed *feed =
            RIA_CONTAINER(ria_list_pop_front(&peer->epochs), struct feed, epochs_link);
        entries[call->count] = (struct replica_epochs_request_replica_epochs_partition){
            .topic_id = feed->topic_id,
            .partition = feed->partition,
            .leader_epoch = feed->leader_epoch,
        };
        feed->asking = true;
        call->feeds[call->count++] = feed_ref(feed);
    }
    request.partitions_count = call->count;
    peer->asking = true;
    ria_rpc_call(
        peer->service->env->rpc,
        replication_address(peer->service, peer),
        envelope_request(REPLICA_EPOCHS_API_KEY, 0, -1, CALL_TIMEOUT_MS, &request, 0, NULL),
        CALL_TIMEOUT_MS,
        on_epochs,
        call
    );
}

/* ---- new batches ---- */

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

/* First and next offset of a run of whole batches. False if it is none. */
static bool batches_extent(struct ria_slice batches, int64_t *out_base, int64_t *out_end)
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

/* Give a run of batches to one follower, from where it stands. */
static void
feed_follower(struct follower *follower, struct chunk *chunk, struct ria_slice batches, int64_t end)
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

static void feed_all(struct feed *feed, struct chunk *chunk, struct ria_slice batches)
{
    int64_t base = -1;
    int64_t end = -1;

    if (feed->cursor < 0) {
        return;
    }
    if (!batches_extent(batches, &base, &end) || base > feed->cursor || end <= feed->cursor) {
        return; /* read under a cursor that has moved since */
    }
    /* Who is attached is decided before the cursor moves. */
    bool attached[RIA_REPLICAS_MAX];
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        attached[i] = follower_is_attached(&feed->followers[i]);
    }
    feed_advance(feed, end);
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        if (attached[i] && feed->followers[i].sent_offset < end) {
            feed_follower(&feed->followers[i], chunk, batches, end);
        }
    }
}

static void fail_feed(struct feed *feed)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        peer_fail_follower(&feed->followers[i]);
    }
}

static void take_fetched(
    struct feed *feed,
    const struct replica_fetch_response_replica_fetched_partition *fetched,
    struct chunk *chunk,
    struct ria_slice batches
)
{
    if (feed->stopped) {
        return;
    }
    if (fetched->error_code != RIA_OK) {
        /* Not the leader, another epoch, out of range, damaged: find out anew where everybody is.
         */
        fail_feed(feed);
        return;
    }
    if (fetched->high_watermark > feed->high_watermark) {
        feed->high_watermark = fetched->high_watermark;
        replication_retry_later(feed); /* the followers are to hear of it, data or not */
    }
    if (batches.size > 0) {
        feed_all(feed, chunk, batches);
    }
    peer_consider(feed);
}

static struct feed *find_feed(
    const struct read_call *call,
    uint32_t *cursor,
    const struct replica_fetch_response_replica_fetched_partition *fetched
)
{
    /* Replies keep the order of the request and leave out those with nothing new. */
    for (; *cursor < call->count; (*cursor)++) {
        struct feed *feed = call->feeds[*cursor];
        if (ria_uuid_equal(feed->topic_id, fetched->topic_id) &&
            feed->partition == fetched->partition) {
            (*cursor)++;
            return feed;
        }
    }
    return NULL;
}

/* Takes reply. *out_idle: nothing came while the fetch was parked. */
static ria_err take_fetch_reply(struct read_call *call, struct ria_msg *reply, bool *out_idle)
{
    struct replica_fetch_response response = {0};
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;
    struct chunk *chunk = chunk_new(reply);
    uint32_t cursor = 0;

    if (chunk == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_arena_init(&arena, ARENA_LIMIT);
    ria_err err =
        envelope_open_reply(reply, REPLICA_FETCH_API_KEY, &header, &body, &payload, NULL, 0);
    if (err == RIA_OK) {
        err = envelope_decode_body(
            schema_response(REPLICA_FETCH_API_KEY), header.api_version, body, &arena, &response
        );
    }
    call->peer->service->metrics.bytes_fetched.value += payload.size;
    for (uint32_t i = 0; err == RIA_OK && i < response.partitions_count; i++) {
        const struct replica_fetch_response_replica_fetched_partition *fetched =
            &response.partitions[i];
        struct feed *feed = find_feed(call, &cursor, fetched);
        if (fetched->size < 0 || (size_t)fetched->size > payload.size || feed == NULL) {
            err = RIA_ERR_MALFORMED;
            break;
        }
        struct ria_slice batches = {payload.data, (size_t)fetched->size};
        payload.data += batches.size;
        payload.size -= batches.size;
        take_fetched(feed, fetched, chunk, batches);
    }
    *out_idle = err == RIA_OK && response.partitions_count == 0;
    ria_arena_fini(&arena);
    chunk_unref(chunk);
    return err;
}

/* The leader commits when the last disk has answered. If that was its own, no reply to a report has
 * told the high watermark: ask by reporting again, while the partition is idle. */
static void ask_watermark(struct feed *feed)
{
    for (uint32_t i = 0; !feed->stopped && i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower->state == FOLLOWER_READY && follower->acked_offset > feed->high_watermark &&
            !ria_list_is_linked(&follower->report_link)) {
            ria_list_push_back(&feed->leader->reports, &follower->report_link);
        }
    }
}

static void on_fetch(void *arg, ria_err err, struct ria_msg *reply)
{
    struct read_call *call = arg;
    struct peer *peer = call->peer;

    bool idle = false;

    peer->fetches--;
    if (err == RIA_OK) {
        err = take_fetch_reply(call, reply, &idle);
    }
    if (call->number == peer->fetch_number) {
        peer->fetch_wanted = true;
        for (uint32_t i = 0; idle && i < call->count; i++) {
            ask_watermark(call->feeds[i]);
        }
        if (err != RIA_OK) {
            peer->fetch_retry_at_us = ria_clock_mono_us(peer->service->env->clock) + RETRY_US;
            if (call->count > 0) {
                replication_retry_later(call->feeds[0]);
            }
        }
        replication_flush_later(peer);
    }
    read_call_free(call);
}

static uint32_t fill_fetch(
    struct peer *peer,
    struct replica_fetch_request_replica_fetch_partition *entries,
    struct read_call *call,
    uint32_t capacity
)
{
    RIA_LIST_FOREACH (it, &peer->feeds) {
        struct feed *feed = RIA_CONTAINER(it, struct feed, feed_link);
        if (!feed_wants_data(feed) || call->count == capacity) {
            continue;
        }
        entries[call->count] = (struct replica_fetch_request_replica_fetch_partition){
            .topic_id = feed->topic_id,
            .partition = feed->partition,
            .leader_epoch = feed->leader_epoch,
            .offset = feed->cursor,
            .max_bytes = PARTITION_BYTES,
        };
        call->feeds[call->count++] = feed_ref(feed);
    }
    return call->count;
}

static void send_fetch(
    struct peer *peer,
    struct read_call *call,
    struct replica_fetch_request *request,
    ria_rpc_done_fn done
)
{
    uint32_t timeout_ms = (uint32_t)request->wait_ms + CALL_TIMEOUT_MS;

    peer->service->metrics.fetches.value++;
    ria_rpc_call(
        peer->service->env->rpc,
        replication_address(peer->service, peer),
        envelope_request(REPLICA_FETCH_API_KEY, 0, -1, timeout_ms, request, 0, NULL),
        timeout_ms,
        done,
        call
    );
}

static uint32_t feed_count(const struct peer *peer)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (it, &peer->feeds) {
        count++;
    }
    return count;
}

void peer_send_fetch(struct peer *peer)
{
    struct replication *service = peer->service;
    uint32_t capacity = feed_count(peer);

    if (!peer->fetch_wanted || capacity == 0 ||
        service->metrics.buffered_bytes.value > BUFFERED_BYTES_MAX ||
        ria_clock_mono_us(service->env->clock) < peer->fetch_retry_at_us) {
        return; /* an append that ends, or the tick, flushes again */
    }
    struct read_call *call = read_call_new(peer, capacity);
    struct replica_fetch_request_replica_fetch_partition *entries =
        calloc(capacity, sizeof(entries[0]));
    if (call == NULL || entries == NULL) {
        free(call);
        free(entries);
        return;
    }
    peer->fetch_wanted = false;
    if (fill_fetch(peer, entries, call, capacity) == 0) {
        read_call_free(call);
        free(entries);
        return;
    }
    struct replica_fetch_request request = {
        .session_id = service->session_id,
        .wait_ms = FETCH_WAIT_MS,
        .max_bytes = FETCH_BYTES,
        .partitions = entries,
        .partitions_count = call->count,
    };
    call->number = ++peer->fetch_number;
    peer->fetches++;
    send_fetch(peer, call, &request, on_fetch);
    free(entries);
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
    ria_arena_init(&arena, ARENA_LIMIT);
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
            err = batches_extent(payload, &base, &end) ? RIA_OK : RIA_ERR_MALFORMED;
        }
        if (err == RIA_OK && payload.size > 0) {
            feed_follower(follower, chunk, payload, end);
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

    if (leader->service->metrics.buffered_bytes.value > BUFFERED_BYTES_MAX ||
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
        envelope_request(REPLICA_FETCH_API_KEY, 0, -1, CALL_TIMEOUT_MS, &request, 0, NULL),
        CALL_TIMEOUT_MS,
        on_catch_up,
        call
    );
}
