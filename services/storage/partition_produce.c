/* Producing to a leader: what is checked, what is a duplicate, who waits for the commit. */
#include "common/assert.h"

#include "services/storage/partition.h"

/* ---- acks ---- */

void partition_end_acks(struct partition *p, ria_err err)
{
    struct ria_list *node = NULL;

    while ((node = ria_list_pop_front(&p->acks)) != NULL) {
        p->ack_count--;
        p->host->ack(p, RIA_CONTAINER(node, struct partition_ack, link), err);
    }
    RIA_ASSERT(p->ack_count == 0);
}

/* By last offset; only a duplicate goes anywhere but to the end. */
static void add_ack(struct partition *p, struct partition_ack *ack)
{
    struct ria_list *before = p->acks.prev;

    while (before != &p->acks &&
           RIA_CONTAINER(before, struct partition_ack, link)->last_offset > ack->last_offset) {
        before = before->prev;
    }
    ria_list_push_front(before, &ack->link);
    p->ack_count++;
}

void partition_release_acks(struct partition *p)
{
    while (!ria_list_is_empty(&p->acks)) {
        struct partition_ack *ack = RIA_CONTAINER(p->acks.next, struct partition_ack, link);
        if (ack->last_offset >= p->high_watermark) {
            break;
        }
        ria_list_remove(&ack->link);
        p->ack_count--;
        p->host->ack(p, ack, RIA_OK);
    }
}

void partition_expire_acks(struct partition *p, int64_t now_us)
{
    RIA_LIST_FOREACH (node, &p->acks) {
        struct partition_ack *ack = RIA_CONTAINER(node, struct partition_ack, link);
        if (ack->deadline_us <= now_us) {
            ria_list_remove(&ack->link);
            p->ack_count--;
            p->host->ack(p, ack, RIA_ERR_TIMEOUT);
        }
    }
}

/* ---- produce ---- */

static ria_err check_log_writable(const struct partition *p, const char **out_reason)
{
    if (!partition_log_can_lead(p->log)) {
        *out_reason = "this replica's log is damaged; it takes no records until it is repaired";
        return RIA_ERR_NO_LEADER;
    }
    if (partition_log_has_failed(p->log)) {
        *out_reason = "this replica's disk failed; it takes no records until the node is restarted";
        return RIA_ERR_NO_LEADER;
    }
    return RIA_OK;
}

static ria_err
check_produce(const struct partition *p, int32_t leader_epoch, const char **out_reason)
{
    ria_err err = partition_check_leader(p, leader_epoch);
    if (err != RIA_OK) {
        *out_reason = ria_err_text(err);
        return err;
    }
    RIA_TRY(check_log_writable(p, out_reason));
    if (partition_isr_count(p) < p->config.min_insync_replicas) {
        *out_reason = "fewer in-sync replicas than min.insync.replicas";
        return RIA_ERR_NOT_ENOUGH_REPLICAS;
    }
    if (p->ack_count >= PARTITION_ACKS_MAX) {
        *out_reason = "too many produces wait for this partition";
        return RIA_ERR_BUSY;
    }
    return RIA_OK;
}

static int64_t producer_last_offset(const struct partition *p, int64_t producer_id)
{
    const struct producer_state *state = partition_log_producer(p->log, producer_id);

    return state == NULL || state->batch_count == 0
               ? -1
               : state->batches[state->batch_count - 1].last_offset;
}

/* A batch of the current producer epoch from before the window of five: it was stored, for each
 * sequence follows the one before, but nobody remembers where. Saying OUT_OF_ORDER would make its
 * sender believe that it was not, and send it anew (Kafka: DUPLICATE_SEQUENCE_NUMBER). Returns the
 * offset below which it must be, -1 if it is no such batch. */
static int64_t forgotten_duplicate(const struct partition *p, const struct batch_header *header)
{
    const struct producer_state *state = partition_log_producer(p->log, header->producer_id);

    if (state == NULL || state->epoch != header->producer_epoch || state->batch_count == 0) {
        return -1;
    }
    /* Sequences wrap at 2^31: behind is what is less than half of that away. */
    uint32_t behind =
        ((uint32_t)state->batches[0].first_sequence - (uint32_t)header->base_sequence) & INT32_MAX;
    return behind > 0 && behind < INT32_MAX / 2 ? state->batches[0].base_offset : -1;
}

/* Where the batch is already; base_offset -1: not there. Errors as for partition_produce(). */
static ria_err find_duplicate(
    const struct partition *p,
    const struct batch_header *header,
    struct partition_ack *ack,
    const char **out_reason
)
{
    int64_t base_offset = -1;

    ria_err err = partition_log_check_producer(p->log, header, &base_offset);
    int64_t below = err == RIA_ERR_OUT_OF_ORDER ? forgotten_duplicate(p, header) : -1;
    if (below >= 0) {
        ack->duplicate = true;
        ack->base_offset = -1;
        ack->last_offset = below - 1;
        return RIA_OK;
    }
    if (err != RIA_OK) {
        *out_reason = ria_err_text(err);
        return err;
    }
    ack->duplicate = base_offset >= 0;
    ack->base_offset = base_offset;
    ack->last_offset = base_offset + header->last_offset_delta;
    return RIA_OK;
}

/* Errors as for partition_produce(). */
static ria_err append_batch(
    struct partition *p,
    const struct partition_produce *produce,
    const struct batch_header *header,
    struct partition_ack *ack,
    const char **out_reason
)
{
    int64_t old_end = partition_log_end_offset(p->log);

    if (produce->producer_last_offset != -2 &&
        produce->producer_last_offset != producer_last_offset(p, header->producer_id)) {
        *out_reason = "producerLastOffset is not the last offset of this producer";
        return RIA_ERR_CONFLICT;
    }
    if (!p->host->take_space(p, DISK_SPACE_LEADER, produce->size)) {
        *out_reason = "the leader's disk is full";
        return RIA_ERR_NO_SPACE;
    }
    ria_err err =
        partition_log_append(p->log, produce->batch, header, p->leader_epoch, &ack->base_offset);
    if (err != RIA_OK) {
        *out_reason = ria_err_text(err);
        if (partition_log_has_failed(p->log)) {
            partition_end_acks(p, RIA_ERR_IO);
        }
        return err;
    }
    ack->last_offset = ack->base_offset + header->last_offset_delta;
    partition_isr_appended(p, old_end);
    return RIA_OK;
}

ria_err partition_produce(
    struct partition *p,
    const struct partition_produce *produce,
    struct partition_ack *ack,
    bool *out_appended,
    const char **out_reason
)
{
    struct batch_header header;

    RIA_TRY(check_produce(p, produce->leader_epoch, out_reason));
    RIA_TRY(batch_validate(
        ria_slice_of(produce->batch, produce->size),
        (size_t)p->config.max_message_bytes,
        &header,
        out_reason
    ));
    RIA_TRY(find_duplicate(p, &header, ack, out_reason));
    if (!ack->duplicate) {
        RIA_TRY(append_batch(p, produce, &header, ack, out_reason));
    }
    *out_appended = !ack->duplicate;
    if (ack->last_offset < p->high_watermark) {
        p->host->ack(p, ack, RIA_OK);
        return RIA_OK;
    }
    add_ack(p, ack);
    p->host->want_tick(p);
    return RIA_OK;
}
