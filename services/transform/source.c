#include "services/transform/source.h"

#include <stdlib.h>

#include "common/assert.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/messages.h"

enum {
    FETCH_TIMEOUT_MS = 4000,
    RETRY_MS_MIN = 50,
    RETRY_MS_MAX = 1000,
};

static void drop_frame(struct source *source)
{
    if (source->frame == NULL) {
        return;
    }
    budget_give(source->options.budget, source->frame_size);
    ria_msg_free(source->frame);
    free(source->rows);
    source->frame = NULL;
    source->rows = NULL;
    source->frame_size = 0;
    source->in_batch = false;
    source->rest = RIA_SLICE_NULL;
}

static void look_again(struct ria_timer *timer, void *arg)
{
    struct source *source = arg;

    (void)timer;
    source->options.host->ready(source->options.arg);
}

static void woken(struct watcher_entry *entry, void *arg)
{
    struct source *source = arg;

    (void)entry;
    source->at_end = false;
    source->options.host->ready(source->options.arg);
}

void source_init(struct source *source, const struct source_options *options)
{
    *source = (struct source){.options = *options};
    call_group_init(&source->calls, options->env);
    ria_timer_init(&source->retry, look_again, source);
    watcher_entry_init(&source->watch, woken, source);
}

void source_fini(struct source *source)
{
    call_group_fini(&source->calls);
    ria_timer_stop(source->options.env->timers, &source->retry);
    watcher_remove(&source->watch);
    drop_frame(source);
}

void source_reset(struct source *source, int64_t next_offset)
{
    source_fini(source);
    source->next_offset = next_offset;
    source->at_end = false;
    source->failures = 0;
}

bool source_is_busy(const struct source *source)
{
    return !call_group_is_idle(&source->calls) || source->retry.active ||
           ria_list_is_linked(&source->watch.link);
}

void source_leader_changed(struct source *source)
{
    const struct cluster_partition *partition = source->options.partition;
    bool abandon =
        !call_group_is_idle(&source->calls) && partition->leader >= 0 &&
        (source->sent_leader != partition->leader || source->sent_epoch != partition->leader_epoch);

    if (abandon) {
        call_group_fini(&source->calls);
        source->failures = 0;
    }
    if (abandon || source->retry.active) {
        ria_timer_start(source->options.env->timers, &source->retry, 0);
    }
}

static void retry_later(struct source *source, ria_err err, const char *text)
{
    const struct ria_env *env = source->options.env;
    int64_t delay_ms =
        ria_min_i64(RETRY_MS_MAX, (int64_t)RETRY_MS_MIN << ria_min_size(source->failures, 5));

    source->failures++;
    delay_ms = delay_ms / 2 + (int64_t)ria_rand_below(env->rand, (uint64_t)delay_ms / 2 + 1);
    ria_timer_start(env->timers, &source->retry, delay_ms * 1000);
    source->options.host->troubled(source->options.arg, err, text);
}

/* For a call that is made now. */
static const char *leader_address(struct source *source)
{
    const struct cluster_partition *partition = source->options.partition;
    const struct cluster_node *node = cluster_node(source->options.cluster, partition->leader);

    source->sent_leader = partition->leader;
    source->sent_epoch = partition->leader_epoch;
    return node == NULL ? NULL : node->address;
}

/* ---- the log's ends ---- */

/* The next offset is outside the log: either retention has overtaken us, or the leader has just
 * begun to lead and does not know yet how far the log is committed. */
static void ends_are_known(void *arg, struct call_reply *reply)
{
    struct source *source = arg;
    struct list_offsets_response response;

    ria_err err = reply->err;
    if (err == RIA_OK) {
        err = call_decode_plain(reply, &response);
    }
    if (err != RIA_OK) {
        retry_later(source, err, reply->err != RIA_OK ? reply->text : ria_err_text(err));
        return;
    }
    if (source->next_offset < response.log_start_offset) {
        int64_t from = source->next_offset;
        source->next_offset = response.log_start_offset;
        source->options.host->skipped(source->options.arg, from, response.log_start_offset);
        source->options.host->ready(source->options.arg);
        return;
    }
    retry_later(
        source, RIA_ERR_OFFSET_OUT_OF_RANGE, "the source's leader does not have what was read"
    );
}

static void ask_ends(struct source *source)
{
    const struct cluster_partition *partition = source->options.partition;
    const char *address = leader_address(source);
    struct list_offsets_request request;

    list_offsets_request_init(&request);
    request.topic_id = partition->topic->id;
    request.partition = partition->number;
    request.leader_epoch = partition->leader_epoch;
    ria_err err = address == NULL ? RIA_ERR_NO_LEADER
                                  : call_start(
                                        &source->calls,
                                        address,
                                        API_LIST_OFFSETS,
                                        &request,
                                        RIA_SLICE_NULL,
                                        FETCH_TIMEOUT_MS,
                                        ends_are_known,
                                        source
                                    );
    if (err != RIA_OK) {
        retry_later(source, err, ria_err_text(err));
    }
}

/* ---- fetching ---- */

/* Takes the reply's frame. */
static ria_err hold_frame(struct source *source, struct call_reply *reply)
{
    source->rows = malloc(SOURCE_SLICE_ROWS * sizeof(source->rows[0]));
    if (source->rows == NULL) {
        return RIA_ERR_NOMEM;
    }
    source->rest = reply->payload;
    source->frame = RIA_STEAL(&reply->frame);
    source->frame_size = ria_msg_size(source->frame);
    budget_take(source->options.budget, source->frame_size);
    return RIA_OK;
}

static void fetched(void *arg, struct call_reply *reply)
{
    struct source *source = arg;
    struct fetch_response response;

    if (reply->err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
        ask_ends(source);
        return;
    }
    ria_err err = reply->err;
    if (err == RIA_OK) {
        err = call_decode_plain(reply, &response);
    }
    bool empty = reply->payload.size == 0;
    if (err == RIA_OK && !empty) {
        err = hold_frame(source, reply);
    }
    if (err != RIA_OK) {
        retry_later(source, err, reply->err != RIA_OK ? reply->text : ria_err_text(err));
        return;
    }
    source->failures = 0;
    source->at_end = empty;
    source->high_watermark = response.high_watermark;
    source->options.host->ready(source->options.arg);
}

void source_fetch(struct source *source, size_t size)
{
    struct cluster_partition *partition = source->options.partition;
    const char *address = leader_address(source);
    struct fetch_request request;
    ria_err err = RIA_OK;

    RIA_ASSERT(source->frame == NULL && !source_is_busy(source));
    if (source->at_end) {
        err = watcher_add(source->options.watcher, &source->watch, partition, source->next_offset);
        if (err != RIA_OK) {
            retry_later(source, err, ria_err_text(err));
        }
        return;
    }
    fetch_request_init(&request);
    request.topic_id = partition->topic->id;
    request.partition = partition->number;
    request.leader_epoch = partition->leader_epoch;
    request.offset = source->next_offset;
    request.max_bytes = (int32_t)size;
    err = address == NULL ? RIA_ERR_NO_LEADER
                          : call_start(
                                &source->calls,
                                address,
                                API_FETCH,
                                &request,
                                RIA_SLICE_NULL,
                                FETCH_TIMEOUT_MS,
                                fetched,
                                source
                            );
    if (err != RIA_OK) {
        retry_later(source, err, ria_err_text(err));
    }
}

/* ---- records ---- */

/* Begin the frame's next batch. *out_more = false: there is none. */
static ria_err next_batch(struct source *source, bool *out_more)
{
    struct batch_header header;

    *out_more = source->rest.size > 0;
    if (!*out_more) {
        return RIA_OK;
    }
    RIA_TRY(batch_header_decode(source->rest, &header));
    size_t size = batch_size(&header);
    if (size > source->rest.size) {
        return RIA_ERR_MALFORMED;
    }
    struct ria_slice batch = ria_slice_sub(source->rest, 0, size);
    RIA_TRY(batch_check_crc(batch));
    RIA_TRY(batch_iter_init(&source->iter, batch));
    source->rest = ria_slice_sub(source->rest, size, SIZE_MAX);
    source->in_batch = true;
    return RIA_OK;
}

static ria_err fill_rows(struct source *source, uint32_t *out_count)
{
    *out_count = 0;
    while (*out_count < SOURCE_SLICE_ROWS) {
        bool more = true;
        if (!source->in_batch) {
            RIA_TRY(next_batch(source, &more));
            if (!more) {
                return RIA_OK;
            }
        }
        struct batch_record *row = &source->rows[*out_count];
        RIA_TRY(batch_iter_next(&source->iter, row, &more));
        if (!more) {
            source->in_batch = false;
            /* Compaction may have left the batch's last offsets empty. */
            source->next_offset =
                ria_max_i64(source->next_offset, batch_last_offset(&source->iter.header) + 1);
        } else if (row->offset >= source->next_offset) { /* the first batch may begin before */
            source->next_offset = row->offset + 1;
            ++*out_count;
        }
    }
    return RIA_OK;
}

ria_err
source_next(struct source *source, const struct batch_record **out_rows, uint32_t *out_count)
{
    int64_t from = source->next_offset;
    uint32_t count = 0;

    if (source->frame != NULL) {
        ria_err err = fill_rows(source, &count);
        if (err != RIA_OK) {
            source->next_offset = from;
            drop_frame(source);
            return err;
        }
        if (count == 0) {
            drop_frame(source);
            source->at_end = source->next_offset >= source->high_watermark;
        }
    }
    *out_rows = source->rows;
    *out_count = count;
    return RIA_OK;
}
