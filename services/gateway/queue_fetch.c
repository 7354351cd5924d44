#include "services/gateway/queue_fetch.h"

#include <string.h>

#include "common/assert.h"
#include "common/map.h"

#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/gateway/deliver_at.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/queue_bury.h"
#include "services/shared/queue_dead.h"

enum {
    ROUND_ARENA_MAX = 16 * 1024 * 1024,
    ROUNDS_MAX = 4,     /* Receives in a row of which nothing came: hints were wrong again */
    PROGRESS_MAX = 200, /* Receives whose records were held back, not due or gone */
    OFFER_SIZE = 24,    /* of an answer, for each partition */
    GRANT_SIZE = 48,
    SETTLED_SIZE = 12,
    READ_BITS = 24,   /* of an id of a Receive, which count */
    KEYS_SIZE = 2048, /* of a set of up to QUEUE_RECORDS_MAX keys */
};
_Static_assert((int)QUEUE_RECORDS_MAX <= (int)QUEUE_GRANTS_MAX, "each may be a range");
_Static_assert(KEYS_SIZE >= 2 * QUEUE_RECORDS_MAX, "the set has room");

static void ask(struct queue_fetch *fetch);

static int64_t now_us(const struct queue_fetch *fetch)
{
    return ria_clock_mono_us(fetch->gateway->env->clock);
}

static int64_t request_deadline_us(const struct queue_fetch *fetch)
{
    return now_us(fetch) + (int64_t)fetch->gateway->options.request_timeout_ms * 1000;
}

/* --- giving back -------------------------------------------------------------------------------*/

/* Ranges that are said one thing of; those that follow one another are one. */
struct collected {
    struct queue_range *ranges;
    uint32_t count;
};

static void collect(struct collected *to, const struct queue_range *range)
{
    struct queue_range *last = to->count == 0 ? NULL : &to->ranges[to->count - 1];

    if (last != NULL && last->partition == range->partition && last->lease == range->lease &&
        last->last + 1 == range->first) {
        last->last = range->last;
    } else if (to->count < QUEUE_LOCK_RANGES_MAX) {
        to->ranges[to->count++] = *range;
    }
}

static struct queue_range range_of(const struct queue_record *record)
{
    struct queue_range range = record->grant->range;

    range.first = record->offset;
    range.last = record->offset;
    return range;
}

static void say(struct queue_fetch *fetch, queue_verb verb, const struct collected *what)
{
    queue_ack_later(
        &fetch->gateway->queue_acks,
        fetch->group,
        &fetch->topic->id,
        verb,
        what->ranges,
        what->count
    );
}

static bool collected_init(struct ria_arena *arena, struct collected *out)
{
    out->count = 0;
    out->ranges = ria_arena_alloc_array(arena, QUEUE_LOCK_RANGES_MAX, sizeof(*out->ranges));
    return out->ranges != NULL;
}

void queue_fetch_give_back(struct queue_fetch *fetch, uint32_t from)
{
    struct collected back;

    if (from < fetch->read.record_count && collected_init(fetch->arena, &back)) {
        for (uint32_t i = from; i < fetch->read.record_count; i++) {
            if (fetch->read.records[i].is_out) {
                struct queue_range range = range_of(&fetch->read.records[i]);
                collect(&back, &range);
            }
        }
        say(fetch, QUEUE_GIVE_BACK, &back);
    }
    queue_read_drop(&fetch->read);
}

/* Nothing of it is settled or handed out. */
static void give_back_all(struct queue_fetch *fetch)
{
    struct collected back;

    if (fetch->read.grant_count > 0 && collected_init(&fetch->round, &back)) {
        for (uint32_t i = 0; i < fetch->read.grant_count; i++) {
            collect(&back, &fetch->read.grants[i].range);
        }
        say(fetch, QUEUE_GIVE_BACK, &back);
    }
    queue_read_drop(&fetch->read);
    fetch->read.grant_count = 0;
    fetch->granted = 0;
}

/* --- the end -----------------------------------------------------------------------------------*/

static void end(struct queue_fetch *fetch, const struct failure *failure)
{
    ria_list_remove(&fetch->link);
    ria_arena_fini(&fetch->round);
    fetch->done(fetch, failure);
}

/* fetch->failure says why. */
static void fail(struct queue_fetch *fetch)
{
    give_back_all(fetch);
    /* Whatever woke it may be there for another one. */
    group_watch_pass_on(&fetch->gateway->group_watch, fetch->group, RIA_SLICE_EMPTY);
    end(fetch, &fetch->failure);
}

static void fail_err(struct queue_fetch *fetch, ria_err err, const char *text)
{
    failure_of_err(&fetch->failure, err, text);
    fail(fetch);
}

/* --- waiting -----------------------------------------------------------------------------------*/

static void woken(struct group_wait *wait, group_wake why)
{
    struct queue_fetch *fetch = wait->arg;

    fetch->waits = false;
    if (why == GROUP_WAKE_DEADLINE) {
        end(fetch, NULL);
        return;
    }
    fetch->rounds = 0;
    fetch->progress = 0;
    offers_forget(&fetch->offers);
    ask(fetch);
}

static struct group_news news_of(const struct queue_fetch *fetch)
{
    return (struct group_news){
        .group = fetch->group,
        .member = RIA_SLICE_EMPTY,
        .changed = fetch->changed,
        .retry_after_ms = fetch->retry_after_ms,
        .offers = fetch->offers.at,
        .offer_count = fetch->offers.count,
    };
}

static void wait_or_end(struct queue_fetch *fetch)
{
    struct gateway *gateway = fetch->gateway;
    struct group_news news = news_of(fetch);

    queue_read_drop(&fetch->read);
    if (fetch->wait_until_us <= now_us(fetch) || gateway->stopping) {
        end(fetch, NULL);
        return;
    }
    fetch->wait = (struct group_wait){
        .topics = &fetch->topic->id,
        .topic_count = 1,
        .deadline_us = fetch->wait_until_us,
        .done = woken,
        .arg = fetch,
    };
    if (group_wait_start(&gateway->group_watch, &fetch->wait, &news) != RIA_OK) {
        end(fetch, NULL);
        return;
    }
    fetch->waits = true;
}

void queue_fetch_hang_up(struct queue_fetch *fetch)
{
    if (fetch->waits) {
        fetch->waits = false;
        group_wait_cancel(&fetch->gateway->group_watch, &fetch->wait);
        end(fetch, NULL);
    }
}

/* --- what was settled --------------------------------------------------------------------------*/

/* What does not exist is finished, what was not reached is given back. Records that are out stay.
 */
static bool tidy(struct queue_fetch *fetch)
{
    struct queue_read *read = &fetch->read;
    struct collected gone;
    struct collected back;

    if (!collected_init(&fetch->round, &gone) || !collected_init(&fetch->round, &back)) {
        return false;
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        struct queue_record *record = &read->records[i];
        if (record->is_out && !record->exists) {
            struct queue_range range = range_of(record);
            record->is_out = false;
            collect(&gone, &range);
        }
    }
    for (uint32_t i = 0; i < read->grant_count; i++) {
        const struct queue_grant *grant = &read->grants[i];
        struct queue_range range = grant->range;
        /* What a settled lease did not name is fresh again. */
        if (grant->reached <= range.last && !(grant->unsettled && grant->reached > range.first)) {
            range.first = grant->reached;
            collect(&back, &range);
        }
    }
    fetch->gateway->numbers.queue_gone.value += gone.count;
    say(fetch, QUEUE_DONE, &gone);
    say(fetch, QUEUE_GIVE_BACK, &back);
    return true;
}

static uint32_t keep_out(struct queue_read *read)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < read->record_count; i++) {
        if (read->records[i].is_out) {
            read->records[kept++] = read->records[i];
        }
    }
    read->record_count = kept;
    return kept;
}

/* What is out is known. */
static void conclude(struct queue_fetch *fetch)
{
    struct queue_read *read = &fetch->read;
    bool learnt = read->record_count > 0;

    if (!tidy(fetch)) {
        fail_err(fetch, RIA_ERR_NOMEM, "");
        return;
    }
    ria_err err = read->err;
    read->grant_count = keep_out(read) > 0 ? read->grant_count : 0;
    fetch->granted = 0;
    if (read->record_count > 0) {
        end(fetch, NULL);
    } else if (err != RIA_OK && !learnt) {
        fail_err(fetch, err, read->text);
    } else if (learnt ? fetch->progress++ < PROGRESS_MAX : fetch->rounds++ < ROUNDS_MAX) {
        queue_read_drop(read);
        ask(fetch);
    } else {
        wait_or_end(fetch);
    }
}

static void settled(struct group_op *op, const struct group_op_result *result)
{
    struct queue_fetch *fetch = op->arg;
    struct queue_read *read = &fetch->read;
    const struct queue_settle_result *said = result->body;
    uint32_t at = 0;

    if (result->err == RIA_OK && said->entries_count != fetch->settle.entries_count) {
        fail_err(fetch, RIA_ERR_MALFORMED, "");
        return;
    }
    if (result->err != RIA_OK) {
        group_failure(&fetch->failure, result);
        fail(fetch);
        return;
    }
    for (uint32_t i = 0; i < read->record_count && at < said->entries_count; i++) {
        const struct queue_settle_queue_settle_entry *asked = &fetch->settle.entries[at];
        struct queue_record *record = &read->records[i];
        if (asked->offset == record->offset && asked->partition == record->grant->range.partition) {
            record->is_out = said->entries[at].error_code == 0 && said->entries[at].hand_out;
            at++;
        }
    }
    fetch->changed = ria_max_i64(fetch->changed, said->changed);
    conclude(fetch);
}

/* --- settling ----------------------------------------------------------------------------------*/

/* Keys that this call has seen. */
struct key_set {
    uint64_t slots[KEYS_SIZE]; /* 0: free */
};

/* False: it was there. */
static bool key_set_add(struct key_set *set, uint64_t key)
{
    size_t at = (size_t)(key % KEYS_SIZE);

    key = key == 0 ? 1 : key;
    while (set->slots[at] != 0) {
        if (set->slots[at] == key) {
            return false;
        }
        at = (at + 1) % KEYS_SIZE;
    }
    set->slots[at] = key;
    return true;
}

static struct queue_settle_queue_settle_entry
entry_of(const struct queue_fetch *fetch, const struct queue_record *record)
{
    struct queue_settle_queue_settle_entry entry;
    int64_t now_ms = ria_clock_wall_ms(fetch->gateway->env->clock);

    queue_settle_queue_settle_entry_init(&entry);
    entry.partition = record->grant->range.partition;
    entry.lease_id = record->grant->range.lease;
    entry.offset = record->offset;
    if (record->exists) {
        int64_t at_ms = deliver_at_of(&record->record);
        entry.delay_ms = ria_min_i64(ria_max_i64(at_ms - now_ms, 0), DELIVER_AFTER_MS_MAX);
        entry.has_key = record->grant->unsettled && record->record.key.data != NULL;
    }
    if (entry.has_key) {
        struct ria_slice key = record->record.key;
        entry.key = (int64_t)(ria_hash_bytes(key.data, key.size) & INT64_MAX);
    }
    return entry;
}

/* The most that the consumer wants is left to others; only their keys are told. */
static ria_err build_settle(struct queue_fetch *fetch)
{
    const struct queue_read *read = &fetch->read;
    struct queue_settle *body = &fetch->settle;
    struct key_set *keys = ria_arena_alloc(&fetch->round, sizeof(*keys));
    int32_t wanted = fetch->records_max;

    queue_settle_init(body);
    body->group = fetch->group;
    body->topic_id = fetch->topic->id;
    body->entries =
        ria_arena_alloc_array(&fetch->round, read->record_count, sizeof(*body->entries));
    if (keys == NULL || body->entries == NULL) {
        return ria_arena_err(&fetch->round);
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        wanted -= read->records[i].exists && !read->records[i].grant->unsettled;
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        const struct queue_record *record = &read->records[i];
        struct queue_settle_queue_settle_entry entry = entry_of(fetch, record);
        if (!record->grant->unsettled && entry.delay_ms == 0) {
            continue;
        }
        uint64_t key = (uint64_t)entry.key ^ ((uint64_t)entry.partition << 48);
        bool is_free = !entry.has_key || key_set_add(keys, key);
        if (record->grant->unsettled && record->exists && is_free && entry.delay_ms == 0) {
            entry.leave = wanted <= 0;
            wanted--;
        }
        body->entries[body->entries_count++] = entry;
    }
    return RIA_OK;
}

static void read_done(struct queue_read *read, bool entered)
{
    struct queue_fetch *fetch = read->arg;

    if (!entered) {
        failure_overloaded(&fetch->failure);
        fetch->failure.outcome = OUTCOME_NONE;
        fail(fetch);
        return;
    }
    ria_err err = build_settle(fetch);
    if (err != RIA_OK) {
        fail_err(fetch, err, "");
        return;
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        read->records[i].is_out = true;
    }
    if (fetch->settle.entries_count == 0) {
        conclude(fetch);
        return;
    }
    fetch->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_SETTLE,
        .body = &fetch->settle,
        .answer_size = (size_t)fetch->settle.entries_count * SETTLED_SIZE,
        .deadline_us = request_deadline_us(fetch),
        .repeat = true,
        .done = settled,
        .arg = fetch,
    };
    group_op_start(&fetch->gateway->group_ops, &fetch->op);
}

static void read_granted(struct queue_fetch *fetch)
{
    struct queue_read *read = &fetch->read;

    read->bytes_max = fetch->bytes_max;
    read->deadline_us = request_deadline_us(fetch);
    read->done = read_done;
    read->arg = fetch;
    ria_err err = queue_read_start(read);
    if (err != RIA_OK) {
        fail_err(fetch, err, "");
    }
}

/* --- offers ------------------------------------------------------------------------------------*/

static void looked(struct offers *offers)
{
    struct queue_fetch *fetch = offers->arg;

    if (offers_have_news(offers)) {
        ask(fetch);
    } else {
        wait_or_end(fetch);
    }
}

static void started(struct offers *offers)
{
    struct queue_fetch *fetch = offers->arg;

    if (offers->fresh_count > 0) {
        ask(fetch);
    } else if (fetch->read.grant_count > 0) {
        read_granted(fetch);
    } else {
        wait_or_end(fetch);
    }
}

static void go_on(struct queue_fetch *fetch)
{
    bool waits = fetch->wait_until_us > now_us(fetch);

    if (fetch->offers.fresh_count > 0 && !fetch->offers.starts_tried) {
        ria_err err = offers_find_starts(&fetch->offers);
        if (err != RIA_OK) {
            fail_err(fetch, err, "");
        }
        return;
    }
    if (fetch->read.grant_count > 0) {
        read_granted(fetch);
        return;
    }
    if (offers_have_news(&fetch->offers) && fetch->rounds < ROUNDS_MAX) {
        fetch->rounds++;
        ask(fetch);
        return;
    }
    if (!offers_look(&fetch->offers, waits)) {
        wait_or_end(fetch);
    }
}

/* --- the coordinator's answer ------------------------------------------------------------------*/

/* A call may ask again and again: what there is is used again. */
static ria_err reserve_grants(struct queue_fetch *fetch, uint32_t more)
{
    struct queue_read *read = &fetch->read;
    uint32_t wanted = read->grant_count + more;
    struct queue_grant *before = read->grants;

    if (wanted <= fetch->grant_room) {
        return RIA_OK;
    }
    fetch->grant_room = fetch->grant_room > 0 ? QUEUE_GRANTS_MAX : wanted;
    read->grants = ria_arena_alloc_array(fetch->arena, fetch->grant_room, sizeof(*read->grants));
    if (read->grants == NULL) {
        read->grants = before;
        return ria_arena_err(fetch->arena);
    }
    if (read->grant_count > 0) {
        memcpy(read->grants, before, read->grant_count * sizeof(*before));
    }
    return RIA_OK;
}

static ria_err take_grants(struct queue_fetch *fetch, const struct group_op_result *answer)
{
    const struct queue_receive_result *result = answer->body;
    struct queue_read *read = &fetch->read;

    RIA_TRY(reserve_grants(fetch, result->granted_count));
    for (uint32_t i = 0; i < result->granted_count; i++) {
        const struct queue_receive_result_queue_grant *grant = &result->granted[i];
        struct cluster_partition *partition =
            cluster_partition(fetch->gateway->cluster, &fetch->topic->id, grant->partition);
        int64_t count = grant->last - grant->first + 1;
        /* A partition that our view does not have yet: the lease ends by itself. */
        if (partition == NULL || count < 1 || fetch->granted + count > QUEUE_GRANTS_MAX) {
            continue;
        }
        read->grants[read->grant_count++] = (struct queue_grant){
            .partition = partition,
            .range = {grant->partition, grant->lease_id, grant->first, grant->last},
            .deliveries = grant->deliveries,
            .unsettled = grant->unsettled,
            .until_ms = group_op_until_ms(&fetch->gateway->group_ops, answer, grant->left_ms),
            .reached = grant->first,
        };
        fetch->granted += count;
    }
    return RIA_OK;
}

static ria_err take_offers(struct queue_fetch *fetch, const struct queue_receive_result *result)
{
    RIA_TRY(offers_begin(&fetch->offers, result->offered_count));
    for (uint32_t i = 0; i < result->offered_count; i++) {
        offers_add(
            &fetch->offers,
            &fetch->topic->id,
            result->offered[i].partition,
            result->offered[i].offset
        );
    }
    return RIA_OK;
}

static void answered(struct group_op *op, const struct group_op_result *result)
{
    struct queue_fetch *fetch = op->arg;
    const struct queue_receive_result *said = result->body;

    ria_list_remove(&fetch->read_link);
    if (result->err != RIA_OK) {
        group_failure(&fetch->failure, result);
        fail(fetch);
        return;
    }
    ria_arena_reset(&fetch->round);
    fetch->changed = said->changed;
    fetch->retry_after_ms = said->retry_after_ms;
    fetch->full = said->full;
    ria_err err = take_grants(fetch, result);
    if (err == RIA_OK) {
        err = take_offers(fetch, said);
    }
    if (said->dead_count > 0) {
        queue_bury(&fetch->gateway->queue_burials, fetch->group, fetch->topic, said);
    }
    if (err != RIA_OK) {
        fail_err(fetch, err, "");
        return;
    }
    struct group_news news = news_of(fetch);
    group_watch_note(&fetch->gateway->group_watch, &news);
    /* There may be more than it may have. */
    if (fetch->granted >= fetch->records_max) {
        group_watch_pass_on(&fetch->gateway->group_watch, fetch->group, RIA_SLICE_EMPTY);
    }
    go_on(fetch);
}

/* --- asking ------------------------------------------------------------------------------------*/

static ria_err add_starts(struct queue_fetch *fetch)
{
    struct queue_receive *body = &fetch->body;

    body->starts =
        ria_arena_alloc_array(&fetch->round, fetch->offers.fresh_count, sizeof(*body->starts));
    if (body->starts == NULL) {
        return ria_arena_err(&fetch->round);
    }
    for (uint32_t i = 0; i < fetch->offers.fresh_count; i++) {
        if (fetch->offers.fresh[i].offset >= 0) {
            body->starts[body->starts_count++] = (struct queue_receive_queue_start){
                .partition = fetch->offers.fresh[i].partition->number,
                .offset = fetch->offers.fresh[i].offset,
            };
        }
    }
    return RIA_OK;
}

static ria_err add_ends(struct queue_fetch *fetch)
{
    const struct cluster_topic *topic = fetch->topic;
    struct queue_receive *body = &fetch->body;
    size_t count = (size_t)topic->partition_count;

    body->ends = ria_arena_alloc_array(&fetch->round, count, sizeof(*body->ends));
    body->floors = ria_arena_alloc_array(
        &fetch->round, fetch->floors == NULL ? 0 : count, sizeof(*body->floors)
    );
    if (body->ends == NULL || body->floors == NULL) {
        return ria_arena_err(&fetch->round);
    }
    for (int32_t i = 0; i < topic->partition_count; i++) {
        int64_t mark = marks_get(&fetch->gateway->marks, topic->partitions[i]);
        if (mark > 0) {
            body->ends[body->ends_count++] =
                (struct queue_receive_queue_end){.partition = i, .offset = mark};
        }
        if (fetch->floors != NULL && fetch->floors[i] > 0) {
            body->floors[body->floors_count++] =
                (struct queue_receive_queue_floor){.partition = i, .offset = fetch->floors[i]};
        }
    }
    return RIA_OK;
}

static ria_err build(struct queue_fetch *fetch)
{
    struct queue_receive *body = &fetch->body;
    int32_t left = fetch->records_max - (int32_t)ria_min_i64(fetch->granted, fetch->records_max);

    queue_receive_init(body);
    body->group = fetch->group;
    body->topic_id = fetch->topic->id;
    body->consumer = fetch->consumer;
    body->lock_ms = fetch->lock_ms;
    body->records_max = left;
    body->look_ahead = (int32_t)ria_min_i64(left, QUEUE_RECORDS_MAX - left - fetch->granted);
    body->look_ahead = body->look_ahead < 0 ? 0 : body->look_ahead;
    if (!fetch->is_admin) {
        body->dead_max = QUEUE_DEAD_MAX;
        body->new_dead_topic = RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT);
    }
    RIA_TRY(add_starts(fetch));
    return add_ends(fetch);
}

static int64_t first_read_id(struct gateway *gateway)
{
    uint64_t own = ria_rand_u64(gateway->env->rand) >> (READ_BITS + 1);

    return (int64_t)(own << READ_BITS) + 1;
}

/* It is repeated under this id. Those below the oldest one under way are not repeated any more. */
static void take_read_id(struct queue_fetch *fetch)
{
    struct gateway *gateway = fetch->gateway;

    fetch->body.read_id = gateway->queue_read_next++;
    if (gateway->queue_read_next % (1 << READ_BITS) == 0) {
        gateway->queue_read_next = first_read_id(gateway);
    }
    ria_list_push_back(&gateway->queue_reads, &fetch->read_link);
    const struct queue_fetch *oldest =
        RIA_CONTAINER(gateway->queue_reads.next, struct queue_fetch, read_link);
    fetch->body.heard_below = oldest->body.read_id;
}

static void ask(struct queue_fetch *fetch)
{
    ria_err err = build(fetch);

    if (err != RIA_OK) {
        fail_err(fetch, err, "");
        return;
    }
    take_read_id(fetch);
    fetch->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_RECEIVE,
        .body = &fetch->body,
        .answer_size = (size_t)fetch->topic->partition_count * OFFER_SIZE +
                       (size_t)(fetch->body.records_max + fetch->body.dead_max) * GRANT_SIZE,
        .deadline_us = request_deadline_us(fetch),
        .repeat = true,
        .done = answered,
        .arg = fetch,
    };
    group_op_start(&fetch->gateway->group_ops, &fetch->op);
}

void queue_fetch_start(struct queue_fetch *fetch)
{
    RIA_ASSERT(fetch->done != NULL);
    RIA_ASSERT(fetch->records_max >= 0 && fetch->records_max <= QUEUE_RECORDS_MAX);
    fetch->changed = -1;
    fetch->retry_after_ms = -1;
    fetch->read.gateway = fetch->gateway;
    fetch->read.arena = fetch->arena;
    ria_arena_init(&fetch->round, ROUND_ARENA_MAX);
    fetch->offers = (struct offers){
        .gateway = fetch->gateway,
        .arena = &fetch->round,
        .started = started,
        .looked = looked,
        .arg = fetch,
    };
    ria_list_push_back(&fetch->gateway->queue_fetches, &fetch->link);
    ask(fetch);
}

void queue_fetches_init(struct gateway *gateway)
{
    ria_list_init(&gateway->queue_fetches);
    ria_list_init(&gateway->queue_reads);
    gateway->queue_read_next = first_read_id(gateway);
}

void queue_fetches_fini(struct gateway *gateway)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&gateway->queue_fetches)) != NULL) {
        struct queue_fetch *fetch = RIA_CONTAINER(link, struct queue_fetch, link);
        queue_read_drop(&fetch->read);
        ria_arena_fini(&fetch->round);
    }
}
