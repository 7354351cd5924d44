/* GET /v1/topics/{t}/stream: the records of a topic as they come.
 *
 *   query -> where each partition begins -> a stream (streams.h)
 *
 * Everything that can be told by a status is told before the stream begins. */
#include "common/assert.h"

#include "services/gateway/gateway.h"
#include "services/gateway/stream_query.h"

/* A range that the position is not in: by the policy. False: the request was answered. */
static bool settle(const struct stream_ask *ask, struct position *item)
{
    struct failure failure;

    if (item->offset < 0) {
        request_fail_err(
            ask->request,
            item->err == RIA_OK ? RIA_ERR_NO_LEADER : item->err,
            "the leader of a partition does not tell where it begins"
        );
        return false;
    }
    if (position_is_in_range(item)) {
        return true;
    }
    if (ask->policy == STREAM_FAIL) {
        failure_set(
            &failure,
            400,
            "offset_out_of_range",
            ask->from,
            "offset %lld is outside of partition %d: it has %lld to %lld",
            (long long)item->offset,
            (int)item->partition->number,
            (long long)item->log_start,
            (long long)item->high_watermark
        );
        request_fail(ask->request, &failure);
        return false;
    }
    item->offset = ask->policy == STREAM_EARLIEST ? item->log_start : item->high_watermark;
    return true;
}

static void open_stream(const struct stream_ask *ask)
{
    int32_t partitions[CURSOR_FITS_TOPIC];
    int64_t offsets[CURSOR_FITS_TOPIC];
    int64_t asked[CURSOR_FITS_TOPIC];
    int64_t highs[CURSOR_FITS_TOPIC];
    const struct stream_wish wish = {
        .topic = ask->topic,
        .partitions = partitions,
        .offsets = offsets,
        .asked = asked,
        .highs = highs,
        .slot_count = ask->count,
        .form = ask->form,
        .policy = ask->policy,
        .filter_texts = ask->filters,
        .filter_count = ask->filter_count,
        .heartbeat_ms = ask->heartbeat_ms,
        .records_max = ask->records_max,
        .time_max_ms = ask->time_max_ms,
    };

    for (uint32_t i = 0; i < ask->count; i++) {
        partitions[i] = ask->items[i].partition->number;
        offsets[i] = ask->items[i].offset;
        asked[i] = ask->items[i].kind == POSITION_OFFSET ? ask->items[i].value : offsets[i];
        highs[i] = ask->items[i].known ? ask->items[i].high_watermark : INT64_MAX;
    }
    ria_err err = streams_open(&ask->gateway->streams, ask->request, &wish);
    if (err != RIA_OK) {
        request_fail_err(ask->request, err, "");
    }
}

static void positions_known(struct positions *positions)
{
    struct stream_ask *ask = positions->arg;

    for (uint32_t i = 0; i < ask->count; i++) {
        if (!settle(ask, &ask->items[i])) {
            streams_unreserve(&ask->gateway->streams);
            return;
        }
    }
    open_stream(ask);
}

static void begin(struct stream_ask *ask)
{
    struct gateway *gateway = ask->gateway;
    struct request *request = ask->request;

    ask->topic = gateway_topic(gateway, request);
    if (ask->topic == NULL || !stream_query_read(ask)) {
        return;
    }
    if (!stream_query_admit(gateway, request)) {
        return;
    }
    ria_err err = positions_start(
        &gateway->leaders,
        &request->arena,
        ask->items,
        ask->count,
        gateway->options.request_timeout_ms,
        positions_known,
        ask
    );
    if (err != RIA_OK) {
        streams_unreserve(&gateway->streams);
        request_fail_err(request, err, "");
    }
}

static void view_came(void *arg, bool reached)
{
    struct stream_ask *ask = arg;

    if (reached) {
        begin(ask);
    } else {
        request_fail_err(ask->request, RIA_ERR_TIMEOUT, "the coordinator does not answer");
    }
}

/* A gateway that has just started waits until it knows its topics: a browser that comes back to it
 * would take any status but 200 for final. */
void handle_stream(struct gateway *gateway, struct request *request)
{
    struct stream_ask *ask = ria_arena_alloc(&request->arena, sizeof(*ask));

    if (ask == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    ask->gateway = gateway;
    ask->request = request;
    if (cluster_is_ready(gateway->cluster)) {
        begin(ask);
    } else {
        cluster_wait_version(
            gateway->cluster, 1, gateway->options.request_timeout_ms, view_came, ask
        );
    }
}
