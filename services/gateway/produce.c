#include "services/gateway/produce.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/allocate_producer_ids_response.h"

#include "services/gateway/produce_batch.h"
#include "services/shared/partitioner.h"

enum {
    IDS_PER_REQUEST = 100, /* an id serves a partition for 32768 epochs */
    IDS_TIMEOUT_MS = 3600 * 1000,
    IDS_RETRY_US = 500 * 1000,
    SIZE_SLACK = 256, /* more than a batch header and a record's own fields take */
    STICKY_TRIES = 4,
    STALLED_SHARE = 2,         /* of the budget: one in */
    OPEN_US_MAX = 1000 * 1000, /* older open batches take no more: their deadline is the first's */
};

static void flush_due(struct ria_timer *timer, void *arg);

ria_err produce_new(
    const struct ria_env *env,
    struct cluster *cluster,
    struct coordinator_calls *coordinator,
    struct budget *budget,
    const struct produce_options *options,
    struct produce **out_produce
)
{
    struct produce *core = calloc(1, sizeof(*core));

    RIA_ASSERT(options->in_flight_max >= 1);
    RIA_ASSERT(options->in_flight_max <= PRODUCE_IN_FLIGHT_MAX);
    if (core == NULL) {
        return RIA_ERR_NOMEM;
    }
    core->env = env;
    core->cluster = cluster;
    core->coordinator = coordinator;
    core->budget = budget;
    core->options = *options;
    outcalls_init(&core->outcalls, env->rpc);
    ria_list_init(&core->partitions);
    ria_list_init(&core->dirty);
    ria_list_init(&core->directs);
    ria_list_init(&core->free_parts);
    ria_list_init(&core->free_batches);
    ria_timer_init(&core->flush, flush_due, core);
    batch_builder_init(&core->sizer, RIA_BATCH_SIZE_MAX);
    *out_produce = core;
    return RIA_OK;
}

static void free_pools(struct produce *core)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&core->free_parts)) != NULL) {
        free(RIA_CONTAINER(link, struct produce_part, link));
    }
    while ((link = ria_list_pop_front(&core->free_batches)) != NULL) {
        struct produce_batch *batch = RIA_CONTAINER(link, struct produce_batch, link);
        batch_builder_fini(&batch->builder);
        free(batch);
    }
}

void produce_free(struct produce *core)
{
    if (core == NULL) {
        return;
    }
    while (!ria_list_is_empty(&core->directs)) {
        produce_direct_forget(core);
    }
    while (!ria_list_is_empty(&core->partitions)) {
        struct produce_partition *partition =
            RIA_CONTAINER(core->partitions.next, struct produce_partition, link);
        partition->view->user = NULL;
        partition->view->topic->user = NULL;
        produce_partition_fini(partition);
        free(partition);
    }
    ria_timer_stop(core->env->timers, &core->flush);
    outcalls_fini(&core->outcalls);
    free_pools(core);
    batch_builder_fini(&core->sizer);
    free(core);
}

/* --- producer ids ------------------------------------------------------------------------------*/

static void ids_came(void *arg, ria_err err, const char *text, const void *response)
{
    const struct allocate_producer_ids_response *ids = response;
    struct produce *core = arg;

    core->id_asked = false;
    if (err != RIA_OK) {
        ria_log_warn(
            core->env->log, "gateway.no_producer_ids", "err=%s text=\"%s\"", ria_err_name(err), text
        );
        /* Batches wait for it: ask again soon, not only when the next one comes. */
        RIA_LIST_FOREACH (link, &core->partitions) {
            struct produce_partition *waiting = RIA_CONTAINER(link, struct produce_partition, link);
            if (waiting->producer_id < 0) {
                waiting->retry_at_us = ria_clock_mono_us(core->env->clock) + IDS_RETRY_US;
                produce_partition_mark(waiting);
            }
        }
        return;
    }
    core->id_next = RIA_PRODUCER_ID_INTERNAL + ids->first_producer_id;
    core->id_end = core->id_next + IDS_PER_REQUEST;
    RIA_LIST_FOREACH (link, &core->partitions) {
        produce_partition_mark(RIA_CONTAINER(link, struct produce_partition, link));
    }
}

void produce_want_ids(struct produce *core)
{
    if (core->id_asked) {
        return;
    }
    allocate_producer_ids_request_init(&core->id_request);
    core->id_request.count = IDS_PER_REQUEST;
    core->id_asked = coordinator_call(
                         core->coordinator,
                         API_ALLOCATE_PRODUCER_IDS,
                         &core->id_request,
                         IDS_TIMEOUT_MS,
                         ids_came,
                         core
                     ) == RIA_OK;
}

void produce_start(struct produce *core)
{
    produce_want_ids(core);
}

/* --- partitions --------------------------------------------------------------------------------*/

static void flush_due(struct ria_timer *timer, void *arg)
{
    struct produce *core = arg;
    struct ria_list todo;
    struct ria_list *link;

    (void)timer;
    ria_list_init(&todo);
    ria_list_splice(&todo, &core->dirty);
    while ((link = ria_list_pop_front(&todo)) != NULL) {
        produce_partition_pump(RIA_CONTAINER(link, struct produce_partition, dirty_link));
    }
}

/* NULL: no memory. */
static struct produce_partition *partition_of(struct produce *core, struct cluster_partition *view)
{
    if (view->user == NULL) {
        struct produce_partition *partition = calloc(1, sizeof(*partition));
        if (partition == NULL) {
            return NULL;
        }
        produce_partition_init(partition, core, view);
        ria_list_push_back(&core->partitions, &partition->link);
        view->user = partition;
    }
    return view->user;
}

void produce_partition_changed(struct produce *core, struct cluster_partition *view)
{
    (void)core;
    if (view->user != NULL) {
        produce_partition_refresh(view->user);
    }
}

void produce_view_changed(struct produce *core)
{
    produce_directs_refresh(core);
}

void produce_topic_changed(struct produce *core, struct cluster_topic *topic)
{
    for (int32_t p = 0; topic->deleted && p < topic->partition_count; p++) {
        produce_partition_changed(core, topic->partitions[p]);
    }
}

bool produce_is_idle(const struct produce *core)
{
    RIA_LIST_FOREACH (link, &core->partitions) {
        const struct produce_partition *partition =
            RIA_CONTAINER(link, struct produce_partition, link);
        if (partition->open != NULL || !ria_list_is_empty(&partition->queue) ||
            !ria_list_is_empty(&partition->flight)) {
            return false;
        }
    }
    return ria_list_is_empty(&core->directs);
}

const struct produce_metrics *produce_metrics(const struct produce *core)
{
    return &core->metrics;
}

/* A keyless record goes where the open batch of its topic is, unless that stalls, else to a
 * partition chosen at random among those that have a leader and no queue. NULL: no memory. */
static struct produce_partition *sticky_partition(struct produce *core, struct cluster_topic *topic)
{
    struct produce_partition *chosen = topic->user;

    if (chosen != NULL && !chosen->stalled) {
        return chosen;
    }
    for (int i = 0; i < STICKY_TRIES; i++) {
        uint64_t p = ria_rand_below(core->env->rand, (uint64_t)topic->partition_count);
        struct produce_partition *candidate = partition_of(core, topic->partitions[p]);
        if (candidate == NULL) {
            return NULL;
        }
        chosen = candidate;
        if (!candidate->stalled && ria_list_is_empty(&candidate->queue)) {
            break;
        }
    }
    topic->user = chosen;
    return chosen;
}

static struct produce_partition *choose_partition(
    struct produce *core, struct cluster_topic *topic, const struct produce_record *record
)
{
    int32_t number = record->partition;

    if (number < 0 && ria_slice_is_null(record->key)) {
        return sticky_partition(core, topic);
    }
    if (number < 0) {
        number = partitioner_of_key(record->key, topic->partition_count);
    }
    RIA_ASSERT(number < topic->partition_count);
    return partition_of(core, topic->partitions[number]);
}

/* --- adding ------------------------------------------------------------------------------------*/

/* Is there room for a record of a partition that stalls? */
static ria_err check_stalled(
    struct produce *core, struct cluster_topic *topic, const struct produce_record *record
)
{
    const struct produce_partition *partition = choose_partition(core, topic, record);

    if (partition == NULL) {
        return RIA_ERR_NOMEM;
    }
    return partition->stalled ? RIA_ERR_BUSY : RIA_OK;
}

ria_err produce_check(
    struct produce *core, struct cluster_topic *topic, const struct produce_record *record
)
{
    size_t limit = (size_t)topic->config.max_message_bytes;
    size_t size = record->key.size + record->value.size + SIZE_SLACK;

    if (record->partition >= topic->partition_count || topic->partition_count == 0) {
        return RIA_ERR_UNKNOWN_PARTITION;
    }
    if (record->header_count > 0 || size > limit) {
        size = batch_builder_size_with(
            &core->sizer, 0, record->key, record->value, record->headers, record->header_count
        );
    }
    if (size > limit) {
        return RIA_ERR_TOO_LARGE;
    }
    if (core->metrics.stalled_bytes.value > core->budget->limit / STALLED_SHARE) {
        return check_stalled(core, topic, record);
    }
    return RIA_OK;
}

void produce_begin(struct produce *core, struct produce_call *call)
{
    (void)core;
    RIA_ASSERT(call->topic != NULL);
    RIA_ASSERT(call->done != NULL);
    call->count = 0;
    call->failed_count = 0;
    call->synced = true;
    call->duplicate = false;
    call->text[0] = '\0';
    call->parts_left = 0;
    call->direct = NULL;
}

/* The batch the record goes to; NULL: no memory. */
static struct produce_batch *open_batch(
    struct produce *core, struct produce_partition *partition, const struct produce_record *r
)
{
    struct produce_batch *open = partition->open;

    if (open != NULL) {
        size_t size = batch_builder_size_with(
            &open->builder, r->timestamp_ms, r->key, r->value, r->headers, r->header_count
        );
        size_t limit = ria_min_size(open->builder.buf.limit, PRODUCE_COALESCE_MAX);
        int64_t age_us = ria_clock_mono_us(core->env->clock) - open->created_us;
        if (size <= limit && age_us < OPEN_US_MAX) {
            return open;
        }
        produce_partition_close(partition);
    }
    open = produce_batch_new(
        core, partition, (size_t)partition->view->topic->config.max_message_bytes
    );
    partition->open = open;
    return open;
}

static ria_err
add(struct produce *core,
    struct produce_call *call,
    const struct produce_record *record,
    struct produce_result *result)
{
    struct produce_partition *partition = choose_partition(core, call->topic, record);

    if (partition == NULL) {
        return RIA_ERR_NOMEM;
    }
    result->partition = partition->view->number;
    if (call->direct != NULL) {
        return produce_direct_add(core, call, record, partition);
    }
    struct produce_batch *batch = open_batch(core, partition, record);
    if (batch == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = produce_batch_add(core, batch, call, record);
    if (err != RIA_OK && batch->builder.record_count == 0) {
        partition->open = NULL;
        produce_batch_free(core, batch);
    } else {
        produce_partition_mark(partition);
    }
    return err;
}

ria_err
produce_add(struct produce *core, struct produce_call *call, const struct produce_record *record)
{
    struct produce_record stamped = *record;
    struct produce_result *result = &call->results[call->count];

    RIA_ASSERT(call->count < call->capacity);
    if (stamped.timestamp_ms < 0) {
        stamped.timestamp_ms = ria_clock_wall_ms(core->env->clock);
    }
    *result = (struct produce_result){.offset = -1, .partition = -1, .next = PRODUCE_RESULT_NONE};
    ria_err err = add(core, call, &stamped, result);
    if (err != RIA_OK) {
        result->err = err;
        call->failed_count++;
    }
    call->count++;
    return err;
}

bool produce_end(struct produce *core, struct produce_call *call)
{
    if (call->direct != NULL && call->parts_left > 0) {
        produce_direct_end(core, call->direct);
    }
    return call->parts_left > 0;
}

void produce_check_invariants(const struct produce *core)
{
    int64_t in_flight = 0;
    int64_t stalled = 0;

    RIA_LIST_FOREACH (link, &core->partitions) {
        const struct produce_partition *partition =
            RIA_CONTAINER(link, struct produce_partition, link);
        produce_partition_check(partition);
        in_flight += partition->flight_count;
        stalled += partition->stalled ? (int64_t)partition->charged : 0;
    }
    RIA_ASSERT(stalled == core->metrics.stalled_bytes.value);
    RIA_ASSERT(in_flight == core->metrics.batches_in_flight.value);
    RIA_ASSERT(!produce_is_idle(core) || core->budget->used.value >= 0);
}
