/* peer_epochs: the leaders' epoch histories, asked of a node for many feeds at once. */
#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_epochs_request.h"
#include "schemas/gen/replica_epochs_response.h"

#include "services/replication/internal.h"

enum { EPOCHS_PER_REQUEST = 256 };

/* A request under way for many feeds; entries are in the order of the request. */
struct read_call {
    struct peer *peer;
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
    struct ria_arena arena;

    ria_arena_init(&arena, PEER_ARENA_MAX);
    call->peer->asking = false;
    if (err == RIA_OK) {
        err = envelope_read_reply(reply, REPLICA_EPOCHS_API_KEY, &arena, &response, NULL, NULL, 0);
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
        envelope_request(REPLICA_EPOCHS_API_KEY, 0, -1, PEER_CALL_MS, &request, 0, NULL),
        PEER_CALL_MS,
        on_epochs,
        call
    );
}
