/* handle: the requests storage answers, one function each, and how they answer.
 *
 * Every handler takes the request and ends it in exactly one reply, now or later (parked). Slices
 * borrow from the request's frame, which lives until then. Decoded bodies live in the service's
 * arena until the next request.
 */
#pragma once

#include "services/storage/storage.h"

struct handle_request {
    struct storage *storage;
    struct ria_rpc_request *request;
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
    bool confirmed; /* the coordinator was asked since it came: who leads here leads */
};

void handle_produce(const struct handle_request *r);
void handle_fetch(const struct handle_request *r);
void handle_list_offsets(const struct handle_request *r);
void handle_watch(const struct handle_request *r);
void handle_describe_producer(const struct handle_request *r);
void handle_describe_logs(const struct handle_request *r);
void handle_replica_fetch(const struct handle_request *r);
void handle_replica_append(const struct handle_request *r);
void handle_replica_report(const struct handle_request *r);
void handle_replica_epochs(const struct handle_request *r);
void handle_range_fetch(const struct handle_request *r);
void handle_replica_prepare(const struct handle_request *r);

/* partition_host.ack: answers a produce that waited. */
void handle_produce_ended(struct partition *p, struct partition_ack *ack, ria_err err);

/* Decode the body into out (the api's request struct). False: answered with the error. */
bool handle_decode(const struct handle_request *r, void *out) RIA_MUST_USE;

/* A parked request as a handler sees it when it is resumed. */
struct handle_request handle_parked(struct storage *s, const struct parked *parked, parked_end end);

/* The same of any request that waited; new_turn: nobody uses the arena any more. */
struct handle_request
handle_resumed(struct storage *s, struct ria_rpc_request *request, bool new_turn);

/* Before a refusal for what this log lacks, which the log of a newer leader may have. True: the
 * coordinator is being asked, and the request comes to its handler again, confirmed; or it is
 * answered. False: it is confirmed. */
bool handle_confirm(const struct handle_request *r) RIA_MUST_USE;

/* Answer. msg == NULL: no memory, the caller will time out. */
void handle_reply_msg(const struct handle_request *r, struct ria_msg *msg);
void handle_reply(const struct handle_request *r, const void *response);
void handle_reply_error(const struct handle_request *r, ria_err err, const char *fmt, ...)
    RIA_PRINTF(3, 4);

/* The open replica that leads under leader_epoch (see partition_check_leader()). NULL: answered
 * with the error. */
struct replica *handle_leader(
    const struct handle_request *r,
    const struct ria_uuid *topic_id,
    int32_t number,
    int32_t leader_epoch
) RIA_MUST_USE;

/* The same without an answer. NULL: *out_err. */
struct replica *handle_find_leader(
    const struct storage *s, const struct partition_id *id, int32_t leader_epoch, ria_err *out_err
) RIA_MUST_USE;

/* -1 in a request that need not know the epoch. */
static inline int32_t handle_optional_epoch(int32_t leader_epoch)
{
    return leader_epoch == -1 ? PARTITION_ANY_EPOCH : leader_epoch;
}

/* How long to park: what is asked for, within the caller's deadline and our bound. */
uint32_t handle_wait_ms(const struct request_header *header, int32_t wait_ms);

/* An array of the response, zeroed, from the arena. NULL: answered with the error. */
void *handle_alloc(const struct handle_request *r, size_t count, size_t item_size) RIA_MUST_USE;
