/* RangeFetch: another replica's node reads what is damaged there. Any replica answers, leader or
 * not: what is below its high watermark is committed, and the same everywhere. Who is to lead and
 * may lack the end of its log (tails.h) is given the rest, too. */
#include <inttypes.h>

#include "common/limits.h"

#include "schemas/gen/range_fetch_request.h"
#include "schemas/gen/range_fetch_response.h"

#include "services/storage/handle.h"

typedef struct range_fetch_response_range_epoch wire_epoch;

/* False: answered with the error. */
static bool copy_epochs(
    const struct handle_request *r,
    const struct partition_log *log,
    struct range_fetch_response *response
)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(log, &count);

    response->epochs = handle_alloc(r, count, sizeof(wire_epoch));
    if (response->epochs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        response->epochs[i] =
            (wire_epoch){.epoch = epochs[i].epoch, .start_offset = epochs[i].start_offset};
    }
    response->epochs_count = count;
    return true;
}

/* What there is of the range; *out_range is empty if it is not committed yet, as far as we know,
 * and that is asked for. */
static ria_err locate(
    const struct partition *p,
    const struct range_fetch_request *request,
    struct partition_log_range *out_range
)
{
    int64_t end_offset = request->is_tail ? partition_log_end_offset(p->log) : p->high_watermark;
    int64_t to_offset = ria_min_i64(request->to_offset, end_offset);
    int64_t max_bytes = ria_min_i64(ria_max_i64(request->max_bytes, 1), RIA_FETCH_SIZE_MAX);

    *out_range = (struct partition_log_range){.size = 0};
    if (request->from_offset < partition_log_start_offset(p->log)) {
        return RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    if (request->from_offset >= to_offset) {
        return RIA_OK;
    }
    return partition_log_locate(
        p->log, request->from_offset, to_offset, (uint32_t)max_bytes, out_range
    );
}

void handle_range_fetch(const struct handle_request *r)
{
    struct range_fetch_request request;
    struct range_fetch_response response;
    struct partition_log_range range;
    uint8_t *payload = NULL;
    ria_err err = RIA_OK;

    if (!handle_decode(r, &request)) {
        return;
    }
    struct partition_id id = partition_id_of(&request.topic_id, request.partition);
    const struct replica *replica = storage_find_open(r->storage, &id, &err);
    if (replica != NULL) {
        err = locate(&replica->partition, &request, &range);
    }
    if (err != RIA_OK) {
        handle_reply_error(
            r, err, "reading at offset %" PRId64 ": %s", request.from_offset, ria_err_text(err)
        );
        return;
    }
    const struct partition *p = &replica->partition;
    range_fetch_response_init(&response);
    response.high_watermark = p->high_watermark;
    response.log_start_offset = partition_log_start_offset(p->log);
    response.leader_epoch = p->role == PARTITION_LEADER ? p->leader_epoch : -1;
    response.end_offset = partition_log_end_offset(p->log);
    if (!copy_epochs(r, p->log, &response)) {
        return;
    }
    struct ria_msg *msg = envelope_reply(&r->header, &response, range.size, &payload);
    if (msg != NULL && range.size > 0) {
        err = partition_log_read(p->log, &range, payload); /* checks every batch */
        if (err != RIA_OK) {
            ria_msg_free(msg);
            handle_reply_error(r, err, "reading the log: %s", ria_err_text(err));
            return;
        }
    }
    r->storage->metrics.range_fetch_bytes.value += range.size;
    handle_reply_msg(r, msg);
}
