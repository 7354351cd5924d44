/* Fetch and ListOffsets: reading committed records from their leader. */
#include <inttypes.h>

#include "common/limits.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/storage/handle.h"

static void
reply_out_of_range(const struct handle_request *r, const struct partition *p, int64_t at)
{
    handle_reply_error(
        r,
        RIA_ERR_OFFSET_OUT_OF_RANGE,
        "offset %" PRId64 " is outside the log, which holds %" PRId64 " to %" PRId64,
        at,
        partition_log_start_offset(p->log),
        p->high_watermark
    );
}

/* What is below the high watermark is served whether the leader is settled or not.
 * The bytes go from the page cache straight into the reply's frame. */
static void reply_range(
    const struct handle_request *r,
    const struct partition *p,
    const struct partition_log_range *range
)
{
    uint8_t *payload = NULL;
    struct fetch_response response = {
        .high_watermark = partition_told_high_watermark(p),
        .log_start_offset = partition_log_start_offset(p->log),
    };

    struct ria_msg *msg = envelope_reply(&r->header, &response, range->size, &payload);
    if (msg != NULL && range->size > 0) {
        ria_err err = partition_log_read(p->log, range, payload);
        if (err != RIA_OK) {
            ria_msg_free(msg);
            handle_reply_error(r, err, "reading the log: %s", ria_err_text(err));
            return;
        }
    }
    r->storage->metrics.fetch_bytes.value += range->size;
    handle_reply_msg(r, msg);
}

static void on_fetch_resumed(void *arg, struct parked *parked, parked_end end);

/* True: parked. */
static bool park_fetch(
    const struct handle_request *r, struct replica *replica, const struct fetch_request *request
)
{
    struct parked *parked = NULL;
    uint32_t wait_ms = handle_wait_ms(&r->header, request->wait_ms);

    if (wait_ms == 0 ||
        parked_new(&r->storage->parked, r->request, &r->header, 1, &parked) != RIA_OK) {
        return false;
    }
    struct parked_wait *wait =
        parked_add(parked, &replica->waits[REPLICA_COMMITTED], &replica->partition.id);
    wait->offset = request->offset;
    parked_start(parked, 1, wait_ms, on_fetch_resumed);
    return true;
}

static void fetch(const struct handle_request *r, bool may_park)
{
    struct fetch_request request;
    struct partition_log_range range = {0};

    if (!handle_decode(r, &request)) {
        return;
    }
    struct replica *replica = handle_leader(
        r, &request.topic_id, request.partition, handle_optional_epoch(request.leader_epoch)
    );
    if (replica == NULL) {
        return;
    }
    struct partition *p = &replica->partition;
    bool is_beyond = request.offset > partition_log_end_offset(p->log);
    if (is_beyond || request.offset < partition_log_start_offset(p->log)) {
        if (!is_beyond || !handle_confirm(r)) {
            reply_out_of_range(r, p, request.offset);
        }
        return;
    }
    if (request.offset >= p->high_watermark) {
        if (!may_park || !park_fetch(r, replica, &request)) {
            reply_range(r, p, &range);
        }
        return;
    }
    int64_t max_bytes = ria_min_i64(ria_max_i64(request.max_bytes, 1), RIA_FETCH_SIZE_MAX);
    ria_err err = partition_log_locate(
        p->log, request.offset, p->high_watermark, (uint32_t)max_bytes, &range
    );
    if (err != RIA_OK) {
        handle_reply_error(
            r, err, "reading at offset %" PRId64 ": %s", request.offset, ria_err_text(err)
        );
        return;
    }
    reply_range(r, p, &range);
}

static void on_fetch_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct handle_request r = handle_parked(arg, parked, end);

    if (end == PARKED_CLOSED) {
        handle_reply_error(&r, RIA_ERR_SHUTDOWN, "this storage node is shutting down");
        return;
    }
    fetch(&r, false);
}

void handle_fetch(const struct handle_request *r)
{
    fetch(r, true);
}

void handle_list_offsets(const struct handle_request *r)
{
    struct list_offsets_request request;

    if (!handle_decode(r, &request)) {
        return;
    }
    const struct replica *replica = handle_leader(
        r, &request.topic_id, request.partition, handle_optional_epoch(request.leader_epoch)
    );
    if (replica == NULL) {
        return;
    }
    const struct partition *p = &replica->partition;
    if (!partition_is_settled(p)) {
        handle_reply_error(
            r, RIA_ERR_NO_LEADER, "the leader has just begun and waits to hear what is committed"
        );
        return;
    }
    if (p->high_watermark < request.expected_offset && handle_confirm(r)) {
        return;
    }
    struct list_offsets_response response = {
        .log_start_offset = partition_log_start_offset(p->log),
        .high_watermark = p->high_watermark,
        .offset = -1,
        .offset_timestamp = -1,
    };
    if (request.timestamp >= 0) {
        ria_err err = partition_log_find_time(
            p->log,
            request.timestamp,
            p->high_watermark,
            &response.offset,
            &response.offset_timestamp
        );
        if (err != RIA_OK) {
            handle_reply_error(r, err, "searching the log: %s", ria_err_text(err));
            return;
        }
    }
    handle_reply(r, &response);
}
