/* peer_fetch: the parked read of a leader node, for all feeds that it leads: the worker's side of
 * docs/formats/fetch-session.md. */
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/replication/internal.h"

enum {
    FETCH_WAIT_MS = 1000,
    FETCH_BYTES = 4 * 1024 * 1024, /* one reply, all partitions */
    PARTITION_BYTES = 1024 * 1024, /* one reply, one partition */
    NAMES_PER_FETCH = 10000,       /* more go with the next, at once */
    FETCHES_IN_FLIGHT_MAX = 4,     /* the parked one, and those that replace one another */
    RETRY_US = 100 * 1000,
};

struct fetch_call {
    struct peer *peer;
    int64_t number;
};

/* A partition that is not to be waited for any more. */
struct forgotten {
    struct ria_list link;
    struct ria_uuid topic_id;
    int32_t partition;
};

/* ---- what came ---- */

static void feed_all(struct feed *feed, struct chunk *chunk, struct ria_slice batches)
{
    int64_t base = -1;
    int64_t end = -1;

    if (feed->cursor < 0) {
        return;
    }
    if (!peer_batches_extent(batches, &base, &end) || base > feed->cursor || end <= feed->cursor) {
        return; /* read under a cursor that has moved since */
    }
    if (feed_is_over(feed)) {
        return; /* it is asked for again when there is room */
    }
    /* Who takes it is decided before the cursor moves. */
    bool attached[RIA_REPLICAS_MAX];
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        attached[i] = follower_is_attached(&feed->followers[i]) &&
                      !follower_is_left_behind(&feed->followers[i]);
    }
    feed_advance(feed, end);
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        if (attached[i] && feed->followers[i].sent_offset < end) {
            peer_feed_follower(&feed->followers[i], chunk, batches, end, false);
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
    if (batches.size > 0 || fetched->error_code != RIA_OK) {
        feed->wish_number = 0; /* granted */
    }
    if (fetched->error_code != RIA_OK) {
        /* Not the leader, another epoch, out of range, damaged: find out anew where everybody is.
         */
        fail_feed(feed);
        return;
    }
    feed->config_epoch = (int32_t)ria_max_i64(feed->config_epoch, fetched->config_epoch);
    if (fetched->high_watermark > feed->high_watermark) {
        feed->high_watermark = fetched->high_watermark;
        replication_retry_later(feed); /* the followers are to hear of it, data or not */
    }
    if (batches.size > 0) {
        feed_all(feed, chunk, batches);
    }
    peer_consider(feed);
}

/* The feed that an entry of the reply is for; NULL if it is void. */
static struct feed *find_feed(
    const struct fetch_call *call,
    const struct replica_fetch_response_replica_fetched_partition *fetched
)
{
    const struct cluster_partition *partition =
        cluster_partition(call->peer->service->cluster, &fetched->topic_id, fetched->partition);
    struct feed *feed = partition == NULL ? NULL : partition->user;

    if (feed == NULL || feed->leader != call->peer || feed->wish_number == 0 ||
        feed->wish_number > call->number) {
        return NULL;
    }
    return feed;
}

/* Takes reply. *out_idle: nothing came while the fetch was parked. */
static ria_err
take_fetch_reply(const struct fetch_call *call, struct ria_msg *reply, bool *out_idle)
{
    struct replica_fetch_response response = {0};
    struct ria_slice payload = RIA_SLICE_EMPTY;
    struct ria_arena arena;
    struct chunk *chunk = chunk_new(reply);

    if (chunk == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_arena_init(&arena, PEER_ARENA_MAX);
    ria_err err =
        envelope_read_reply(reply, REPLICA_FETCH_API_KEY, &arena, &response, &payload, NULL, 0);
    call->peer->service->metrics.bytes_fetched.value += payload.size;
    for (uint32_t i = 0; err == RIA_OK && i < response.partitions_count; i++) {
        const struct replica_fetch_response_replica_fetched_partition *fetched =
            &response.partitions[i];
        struct feed *feed = find_feed(call, fetched);
        if (fetched->size < 0 || (size_t)fetched->size > payload.size) {
            err = RIA_ERR_MALFORMED;
            break;
        }
        struct ria_slice batches = {payload.data, (size_t)fetched->size};
        payload.data += batches.size;
        payload.size -= batches.size;
        if (feed != NULL) {
            take_fetched(feed, fetched, chunk, batches);
        }
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
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower->state == FOLLOWER_READY && follower->acked_offset > feed->high_watermark &&
            !ria_list_is_linked(&follower->report_link)) {
            ria_list_push_back(&feed->leader->reports, &follower->report_link);
        }
    }
}

/* Nobody knows which wishes stand: the next fetch names them all. */
static void lose_session(const struct fetch_call *call, ria_err err)
{
    struct peer *peer = call->peer;
    struct replication *service = peer->service;

    if (call->number < peer->full_number) {
        return; /* it has begun anew already */
    }
    peer->session_lost = true;
    if (err == RIA_ERR_NOT_FOUND && call->number > peer->full_number) {
        return; /* the node has restarted, or forgotten us: at once */
    }
    peer->fetch_retry_at_us = ria_clock_mono_us(service->env->clock) + RETRY_US;
    if (!ria_list_is_empty(&peer->feeds)) {
        replication_retry_later(RIA_CONTAINER(peer->feeds.next, struct feed, feed_link));
    }
}

static void on_fetch(void *arg, ria_err err, struct ria_msg *reply)
{
    struct fetch_call *call = arg;
    struct peer *peer = call->peer;
    bool idle = false;

    peer->fetches--;
    if (call->number == peer->fetch_number) {
        peer->fetch_parked = false;
    }
    if (err == RIA_OK) {
        err = take_fetch_reply(call, reply, &idle);
    }
    if (err != RIA_OK) {
        lose_session(call, err);
    } else if (idle && !peer->fetch_parked) {
        RIA_LIST_FOREACH (it, &peer->feeds) {
            ask_watermark(RIA_CONTAINER(it, struct feed, feed_link));
        }
    }
    replication_flush_later(peer);
    free(call);
}

/* ---- what to ask for ---- */

void peer_wish(struct feed *feed)
{
    if (!ria_list_is_linked(&feed->wish_link)) {
        ria_list_push_back(&feed->leader->wishes, &feed->wish_link);
    }
    replication_flush_later(feed->leader);
}

void peer_forget_wish(struct feed *feed)
{
    struct peer *leader = feed->leader;
    struct forgotten *forgotten = NULL;

    ria_list_remove(&feed->wish_link);
    if (feed->wish_number == 0 || leader->session_lost) {
        return;
    }
    feed->wish_number = 0;
    forgotten = calloc(1, sizeof(*forgotten));
    if (forgotten == NULL) {
        leader->session_lost = true;
        return;
    }
    forgotten->topic_id = feed->topic_id;
    forgotten->partition = feed->partition;
    ria_list_push_back(&leader->forgotten, &forgotten->link);
    replication_flush_later(leader);
}

void peer_drop_forgotten(struct peer *peer)
{
    while (!ria_list_is_empty(&peer->forgotten)) {
        struct forgotten *forgotten = RIA_CONTAINER(peer->forgotten.next, struct forgotten, link);
        ria_list_remove(&forgotten->link);
        free(forgotten);
    }
}

static void name_all(struct peer *peer)
{
    peer_drop_forgotten(peer);
    RIA_LIST_FOREACH (it, &peer->feeds) {
        struct feed *feed = RIA_CONTAINER(it, struct feed, feed_link);
        feed->wish_number = 0;
        if (feed_wants_wish(feed)) {
            peer_wish(feed);
        }
    }
}

static uint32_t list_size(const struct ria_list *list, uint32_t max)
{
    uint32_t count = 0;

    for (const struct ria_list *it = list->next; it != list && count < max; it = it->next) {
        count++;
    }
    return count;
}

static ria_err
fill_forgotten(struct peer *peer, struct replica_fetch_request *request, struct ria_arena *arena)
{
    uint32_t count = list_size(&peer->forgotten, NAMES_PER_FETCH);

    request->forgotten = ria_arena_alloc_array(arena, count, sizeof(request->forgotten[0]));
    if (request->forgotten == NULL) {
        return RIA_ERR_NOMEM;
    }
    request->forgotten_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct forgotten *forgotten = RIA_CONTAINER(peer->forgotten.next, struct forgotten, link);
        ria_list_remove(&forgotten->link);
        request->forgotten[i].topic_id = forgotten->topic_id;
        request->forgotten[i].partition = forgotten->partition;
        free(forgotten);
    }
    return RIA_OK;
}

static ria_err
fill_wishes(struct peer *peer, struct replica_fetch_request *request, struct ria_arena *arena)
{
    uint32_t count = list_size(&peer->wishes, NAMES_PER_FETCH);

    request->partitions = ria_arena_alloc_array(arena, count, sizeof(request->partitions[0]));
    if (request->partitions == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct feed *feed = RIA_CONTAINER(peer->wishes.next, struct feed, wish_link);
        ria_list_remove(&feed->wish_link);
        if (!feed_wants_wish(feed)) {
            continue; /* not any more */
        }
        feed->wish_number = request->number;
        feed->wish_offset = feed->cursor;
        request->partitions[request->partitions_count++] =
            (struct replica_fetch_request_replica_fetch_partition){
                .topic_id = feed->topic_id,
                .partition = feed->partition,
                .leader_epoch = feed->leader_epoch,
                .offset = feed->cursor,
                .max_bytes = PARTITION_BYTES,
            };
    }
    return RIA_OK;
}

static void send_fetch(struct peer *peer, struct fetch_call *call)
{
    struct replication *service = peer->service;
    uint32_t timeout_ms = FETCH_WAIT_MS + PEER_CALL_MS;
    struct ria_arena arena;
    struct ria_msg *frame = NULL;
    struct replica_fetch_request request = {
        .session_id = service->session_id,
        .number = ++peer->fetch_number,
        .is_full = peer->session_lost,
        .wait_ms = FETCH_WAIT_MS,
        .max_bytes = FETCH_BYTES,
    };

    ria_arena_init(&arena, PEER_ARENA_MAX);
    if (request.is_full) {
        peer->full_number = request.number;
        peer->session_lost = false;
        name_all(peer);
    }
    ria_err err = fill_forgotten(peer, &request, &arena);
    if (err == RIA_OK) {
        err = fill_wishes(peer, &request, &arena);
    }
    if (err == RIA_OK) {
        frame = envelope_request(REPLICA_FETCH_API_KEY, 0, -1, timeout_ms, &request, 0, NULL);
    }
    *call = (struct fetch_call){.peer = peer, .number = request.number};
    peer->fetches++;
    peer->fetch_parked = true;
    service->metrics.fetches.value++;
    /* Without a frame the call ends with NOMEM, and the session with it. */
    ria_rpc_call(
        service->env->rpc, replication_address(service, peer), frame, timeout_ms, on_fetch, call
    );
    ria_arena_fini(&arena);
}

void peer_send_fetch(struct peer *peer)
{
    struct replication *service = peer->service;
    bool has_names = !ria_list_is_empty(&peer->wishes) || !ria_list_is_empty(&peer->forgotten) ||
                     peer->session_lost;

    if (ria_list_is_empty(&peer->feeds)) {
        peer_drop_forgotten(peer);
        peer->session_lost = true; /* the leader will forget it, too */
        return;
    }
    if (peer->fetch_parked && !has_names) {
        return;
    }
    if (peer->fetches >= FETCHES_IN_FLIGHT_MAX ||
        ria_clock_mono_us(service->env->clock) < peer->fetch_retry_at_us) {
        return; /* a fetch that ends, or the tick, flushes again */
    }
    struct fetch_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return;
    }
    send_fetch(peer, call);
    if (!ria_list_is_empty(&peer->wishes) || !ria_list_is_empty(&peer->forgotten)) {
        replication_flush_later(peer);
    }
}
