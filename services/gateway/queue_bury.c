#include "services/gateway/queue_bury.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/timers.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_receive.h"

#include "services/gateway/gateway.h"
#include "services/gateway/queue_fetch.h"
#include "services/gateway/queue_names.h"
#include "services/gateway/queue_read.h"

enum {
    BURIAL_ARENA_MAX = 4 * 1024 * 1024,
    BURIAL_BYTES_MAX = 1024 * 1024, /* read in one go; what is left waits for the next */
    DEAD_HEADERS = 7,
    NUMBER_MAX = 24,
    LOOK_US = 50 * 1000,
};

struct burial {
    struct queue_burials *owner;
    struct ria_list link;
    struct ria_arena arena;
    struct ria_slice group;
    struct cluster_topic *topic;
    char *dead_name;
    struct cluster_topic *dead_topic;
    struct create_topic_request creation;
    struct queue_receive sweep;
    struct queue_read read;
    struct produce_call call;
    uint32_t *sent; /* of each result: which record */
    struct queue_ack ack;
    struct group_op op;
    struct ria_timer timer;
    int64_t look_until_us;
    bool is_full; /* there may be more */
};

/* --- life --------------------------------------------------------------------------------------*/

static void burial_free(struct burial *burial)
{
    if (burial->timer.active) {
        ria_timer_stop(burial->owner->gateway->env->timers, &burial->timer);
    }
    queue_read_drop(&burial->read);
    ria_list_remove(&burial->link);
    burial->owner->count--;
    ria_arena_fini(&burial->arena);
    free(burial);
}

/* The leases end, and the next one tries. */
static void give_up(struct burial *burial, ria_err err, const char *text)
{
    struct queue_burials *burials = burial->owner;
    struct gateway *gateway = burials->gateway;
    char group[128];
    char why[160];

    gateway->numbers.queue_bury_failures.value++;
    if (!burials->is_failing) {
        burials->is_failing = true;
        ria_log_warn(
            gateway->env->log,
            "gateway.queue_bury_failed",
            "group=%s topic=%s dead_topic=%s err=%s text=%s",
            ria_log_quote(
                group, sizeof(group), (const char *)burial->group.data, burial->group.size
            ),
            burial->topic->name,
            burial->dead_name == NULL ? "-" : burial->dead_name,
            ria_err_name(err),
            ria_log_quote(why, sizeof(why), text, strlen(text))
        );
    }
    burial_free(burial);
}

static struct burial *
burial_new(struct queue_burials *burials, struct ria_slice group, struct cluster_topic *topic)
{
    struct burial *burial = burials->count >= QUEUE_BURIALS_MAX ? NULL : calloc(1, sizeof(*burial));

    if (burial == NULL) {
        return NULL;
    }
    burial->owner = burials;
    burials->count++;
    ria_list_push_back(&burials->live, &burial->link);
    ria_arena_init(&burial->arena, BURIAL_ARENA_MAX);
    const char *name = ria_arena_strdup(&burial->arena, group);
    if (name == NULL) {
        burial_free(burial);
        return NULL;
    }
    burial->group = ria_slice_of(name, group.size);
    burial->topic = topic;
    return burial;
}

void queue_burials_init(struct queue_burials *burials, struct gateway *gateway)
{
    burials->gateway = gateway;
    ria_list_init(&burials->live);
}

void queue_burials_fini(struct queue_burials *burials)
{
    while (!ria_list_is_empty(&burials->live)) {
        burial_free(RIA_CONTAINER(burials->live.next, struct burial, link));
    }
}

static int64_t deadline_us(const struct burial *burial)
{
    const struct gateway *gateway = burial->owner->gateway;

    return ria_clock_mono_us(gateway->env->clock) +
           (int64_t)gateway->options.request_timeout_ms * 1000;
}

/* --- buried ------------------------------------------------------------------------------------*/

static void acknowledged(struct group_op *op, const struct group_op_result *result)
{
    struct burial *burial = op->arg;
    const struct queue_ack_result *said = result->body;
    uint32_t done = 0;

    if (result->err != RIA_OK) {
        give_up(burial, result->err, result->text);
        return;
    }
    for (uint32_t i = 0; i < said->entries_count; i++) {
        done += said->entries[i].error_code == 0;
    }
    burial->owner->gateway->numbers.queue_buried.value += done;
    burial->owner->is_failing = false;
    if (burial->is_full && done > 0) {
        queue_bury_sweep(burial->owner, burial->group, burial->topic);
    }
    burial_free(burial);
}

static void add_entry(struct queue_ack *body, const struct queue_record *record)
{
    struct queue_ack_queue_ack_entry *entry = &body->entries[body->entries_count++];

    queue_ack_queue_ack_entry_init(entry);
    entry->partition = record->grant->range.partition;
    entry->lease_id = record->grant->range.lease;
    entry->first = record->offset;
    entry->last = record->offset;
    entry->action = QUEUE_BURIED;
}

/* What was stored, and what does not exist any more. */
static void acknowledge(struct burial *burial)
{
    struct queue_ack *body = &burial->ack;
    const struct queue_read *read = &burial->read;
    ria_err err = RIA_OK;

    queue_ack_init(body);
    body->group = burial->group;
    body->topic_id = burial->topic->id;
    body->entries =
        ria_arena_alloc_array(&burial->arena, read->record_count, sizeof(*body->entries));
    if (body->entries == NULL) {
        give_up(burial, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < burial->call.count; i++) {
        if (burial->call.results[i].err == RIA_OK) {
            add_entry(body, &read->records[burial->sent[i]]);
        } else if (err == RIA_OK) {
            err = burial->call.results[i].err;
        }
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        if (!read->records[i].exists) {
            add_entry(body, &read->records[i]);
        }
    }
    if (body->entries_count == 0) {
        give_up(burial, err, burial->call.text);
        return;
    }
    burial->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_ACK,
        .body = body,
        .answer_size = (size_t)body->entries_count * 16,
        .deadline_us = deadline_us(burial),
        .repeat = true,
        .done = acknowledged,
        .arg = burial,
    };
    group_op_start(&burial->owner->gateway->group_ops, &burial->op);
}

static void stored(struct produce_call *call)
{
    acknowledge(call->arg);
}

/* --- storing -----------------------------------------------------------------------------------*/

static struct batch_record_header
header_of(struct ria_arena *arena, const char *name, struct ria_slice value)
{
    const char *copy = ria_arena_strdup(arena, value);

    return (struct batch_record_header){
        .name = ria_slice_cstr(name),
        .value = copy == NULL ? RIA_SLICE_EMPTY : ria_slice_of(copy, value.size),
    };
}

static struct batch_record_header
number_of(struct ria_arena *arena, const char *name, int64_t value)
{
    char text[NUMBER_MAX];

    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    return header_of(arena, name, ria_slice_cstr(text));
}

/* The record's own, then ours. */
static ria_err
make_headers(struct burial *burial, const struct queue_record *record, struct produce_record *out)
{
    struct ria_arena *arena = &burial->arena;
    uint32_t own = record->record.header_count;
    struct batch_record_header *headers =
        ria_arena_alloc_array(arena, own + DEAD_HEADERS, sizeof(*headers));
    struct ria_slice rest = record->record.headers;
    bool more = true;
    uint32_t count = 0;

    if (headers == NULL) {
        return ria_arena_err(arena);
    }
    while (count < own) {
        RIA_TRY(batch_record_header_next(&rest, &headers[count], &more));
        if (!more) {
            break;
        }
        count++;
    }
    const struct queue_grant *grant = record->grant;
    int64_t now_ms = ria_clock_wall_ms(burial->owner->gateway->env->clock);
    struct ria_slice topic = ria_slice_cstr(burial->topic->name);
    headers[count++] = header_of(arena, DEAD_HEADER_PREFIX "topic", topic);
    headers[count++] = number_of(arena, DEAD_HEADER_PREFIX "partition", grant->range.partition);
    headers[count++] = number_of(arena, DEAD_HEADER_PREFIX "offset", record->offset);
    headers[count++] = header_of(arena, DEAD_HEADER_PREFIX "group", burial->group);
    headers[count++] = number_of(arena, DEAD_HEADER_PREFIX "deliveries", grant->deliveries);
    headers[count++] = header_of(arena, DEAD_HEADER_PREFIX "reason", grant->reason);
    headers[count++] = number_of(arena, DEAD_HEADER_PREFIX "time", now_ms);
    out->headers = headers;
    out->header_count = count;
    return ria_arena_err(arena);
}

static ria_err
make_record(struct burial *burial, const struct queue_record *record, struct produce_record *out)
{
    *out = (struct produce_record){
        .timestamp_ms = record->record.timestamp_ms,
        .partition = record->grant->range.partition % burial->dead_topic->partition_count,
        .key = record->record.key,
        .value = record->record.value,
    };
    RIA_TRY(make_headers(burial, record, out));
    return produce_check(burial->owner->gateway->produce, burial->dead_topic, out);
}

static void store(struct burial *burial)
{
    struct queue_read *read = &burial->read;
    struct produce *produce = burial->owner->gateway->produce;
    struct produce_record *records =
        ria_arena_alloc_array(&burial->arena, read->record_count, sizeof(*records));
    uint32_t count = 0;
    ria_err refused = RIA_OK;

    burial->sent = ria_arena_alloc_array(&burial->arena, read->record_count, sizeof(uint32_t));
    burial->call = (struct produce_call){
        .topic = burial->dead_topic,
        .results = ria_arena_alloc_array(
            &burial->arena, read->record_count, sizeof(*burial->call.results)
        ),
        .capacity = read->record_count,
        .done = stored,
        .arg = burial,
    };
    if (records == NULL || burial->sent == NULL || burial->call.results == NULL) {
        give_up(burial, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        if (read->records[i].exists) {
            ria_err err = make_record(burial, &read->records[i], &records[count]);
            refused = refused == RIA_OK ? err : refused;
            burial->sent[count] = i;
            count += err == RIA_OK;
        }
    }
    if (count == 0 && refused != RIA_OK) {
        give_up(burial, refused, "");
        return;
    }
    if (count == 0) {
        acknowledge(burial);
        return;
    }
    produce_begin(produce, &burial->call);
    for (uint32_t i = 0; i < count; i++) {
        ria_err err = produce_add(produce, &burial->call, &records[i]);
        (void)err; /* its result says so */
    }
    if (!produce_end(produce, &burial->call)) {
        acknowledge(burial);
    }
}

/* --- reading -----------------------------------------------------------------------------------*/

static void read_done(struct queue_read *read, bool entered)
{
    struct burial *burial = read->arg;

    if (!entered) {
        give_up(burial, RIA_ERR_BUSY, "");
    } else if (read->record_count == 0) {
        give_up(burial, read->err == RIA_OK ? RIA_ERR_TIMEOUT : read->err, read->text);
    } else {
        store(burial);
    }
}

static void read_dead(struct burial *burial)
{
    struct queue_read *read = &burial->read;

    read->bytes_max = BURIAL_BYTES_MAX;
    read->deadline_us = deadline_us(burial);
    read->done = read_done;
    read->arg = burial;
    ria_err err = queue_read_start(read);
    if (err != RIA_OK) {
        give_up(burial, err, "");
    }
}

/* --- the dead-letter topic ---------------------------------------------------------------------*/

/* Our view has it, or will soon. */
static void look(struct ria_timer *timer, void *arg)
{
    struct burial *burial = arg;
    struct gateway *gateway = burial->owner->gateway;

    (void)timer;
    burial->dead_topic = cluster_topic_by_name(gateway->cluster, burial->dead_name);
    if (burial->dead_topic != NULL && burial->dead_topic->partition_count > 0) {
        read_dead(burial);
    } else if (ria_clock_mono_us(gateway->env->clock) >= burial->look_until_us) {
        give_up(burial, RIA_ERR_UNKNOWN_TOPIC, "");
    } else {
        ria_timer_start(gateway->env->timers, &burial->timer, LOOK_US);
    }
}

static void created(void *arg, ria_err err, const char *text, const void *response)
{
    struct burial *burial = arg;
    const struct ria_env *env = burial->owner->gateway->env;

    (void)response;
    if (err != RIA_OK && err != RIA_ERR_EXISTS) {
        give_up(burial, err, text);
        return;
    }
    burial->look_until_us = ria_clock_mono_us(env->clock) + (int64_t)VIEW_TIMEOUT_MS * 1000;
    ria_timer_init(&burial->timer, look, burial);
    ria_timer_start(env->timers, &burial->timer, LOOK_US);
}

static void create(struct burial *burial)
{
    struct gateway *gateway = burial->owner->gateway;
    uint8_t random[RIA_UUID_SIZE];

    create_topic_request_init(&burial->creation);
    ria_rand_bytes(gateway->env->rand, random, sizeof(random));
    burial->creation.topic_id = ria_uuid_v4(random);
    burial->creation.name = ria_slice_cstr(burial->dead_name);
    burial->creation.partition_count = burial->topic->partition_count;
    burial->creation.replication_factor = burial->topic->replication_factor;
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_CREATE_TOPIC,
        &burial->creation,
        ADMIN_TIMEOUT_MS,
        created,
        burial
    );
    if (err != RIA_OK) {
        give_up(burial, err, "");
    }
}

/* --- what is dead ------------------------------------------------------------------------------*/

static bool take_dead(struct burial *burial, const struct queue_receive_result *result)
{
    struct gateway *gateway = burial->owner->gateway;
    struct queue_read *read = &burial->read;
    int64_t count = 0;

    struct ria_slice name =
        queue_dead_resolve(&burial->arena, result->dead_topic, burial->topic->name, burial->group);
    burial->dead_name = ria_arena_strdup(&burial->arena, name);
    read->grants = ria_arena_alloc_array(&burial->arena, result->dead_count, sizeof(*read->grants));
    if (burial->dead_name == NULL || read->grants == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < result->dead_count; i++) {
        const struct queue_receive_result_queue_dead *dead = &result->dead[i];
        struct cluster_partition *partition =
            cluster_partition(gateway->cluster, &burial->topic->id, dead->partition);
        const char *reason = ria_arena_strdup(&burial->arena, dead->reason);
        count += dead->last - dead->first + 1;
        if (partition == NULL || reason == NULL || count > QUEUE_DEAD_MAX) {
            continue; /* the lease ends */
        }
        read->grants[read->grant_count++] = (struct queue_grant){
            .partition = partition,
            .range = {dead->partition, dead->lease_id, dead->first, dead->last},
            .deliveries = dead->deliveries,
            .reason = ria_slice_of(reason, dead->reason.size),
        };
    }
    burial->is_full = count >= QUEUE_DEAD_MAX;
    read->gateway = gateway;
    read->arena = &burial->arena;
    return read->grant_count > 0;
}

static void begin(struct burial *burial, const struct queue_receive_result *result)
{
    if (!take_dead(burial, result)) {
        give_up(burial, RIA_ERR_NOMEM, "");
        return;
    }
    burial->dead_topic = cluster_topic_by_name(burial->owner->gateway->cluster, burial->dead_name);
    if (burial->dead_topic == NULL || burial->dead_topic->partition_count == 0) {
        create(burial);
    } else {
        read_dead(burial);
    }
}

void queue_bury(
    struct queue_burials *burials,
    struct ria_slice group,
    struct cluster_topic *topic,
    const struct queue_receive_result *result
)
{
    struct burial *burial = burial_new(burials, group, topic);

    if (burial != NULL) {
        begin(burial, result);
    }
}

static void swept(struct group_op *op, const struct group_op_result *result)
{
    struct burial *burial = op->arg;
    const struct queue_receive_result *said = result->body;

    if (result->err != RIA_OK || said->dead_count == 0) {
        burial_free(burial); /* whoever receives next takes it on */
        return;
    }
    begin(burial, said);
}

void queue_bury_sweep(
    struct queue_burials *burials, struct ria_slice group, struct cluster_topic *topic
)
{
    struct burial *burial = burial_new(burials, group, topic);

    if (burial == NULL) {
        return;
    }
    queue_receive_init(&burial->sweep);
    burial->sweep.group = burial->group;
    burial->sweep.topic_id = topic->id;
    burial->sweep.dead_max = QUEUE_DEAD_MAX;
    burial->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_RECEIVE,
        .body = &burial->sweep,
        .answer_size = (size_t)QUEUE_DEAD_MAX * 300 + (size_t)topic->partition_count * 24,
        .deadline_us = deadline_us(burial),
        .repeat = true,
        .done = swept,
        .arg = burial,
    };
    group_op_start(&burials->gateway->group_ops, &burial->op);
}

/* A topic that we do not know yet: the coordinator finds the queue again. */
void queue_bury_overdue(void *burials, const struct heartbeat_response *response)
{
    const struct queue_burials *own = burials;

    for (uint32_t i = 0; i < response->overdue_count; i++) {
        const struct heartbeat_response_overdue_queue *queue = &response->overdue[i];
        struct cluster_topic *topic = cluster_topic_by_id(own->gateway->cluster, &queue->topic_id);
        if (topic != NULL && !topic->deleted && topic->partition_count > 0) {
            queue_bury_sweep(burials, queue->group, topic);
        }
    }
}
