/* Queues against a model that knows every record by itself: thousands of random operations of
 * several consumers, with time that jumps, answers that are lost and restarts. The model says what
 * each operation must do:
 * - a record is given to nobody while somebody holds it, by the lease clock; nor while an earlier
 *   one of its key is not finished;
 * - an ack counts exactly while its lease is alive;
 * - whoever was given nothing is woken before there is anything for it;
 * - the position is the lowest record that is not finished, and in the end all are finished. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/rand.h"

#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_settle.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

enum {
    PARTITIONS = 3,
    RECORDS = 400, /* of a partition, at most */
    KEYS = 4,
    CONSUMERS = 5,
    HELD_MAX = 12, /* ranges that a consumer remembers */
    STEPS = 2000,
    DELIVERIES_MAX = 3,
    RETRY_MS = 400,
};

typedef enum record_state {
    FRESH,
    LEASED,
    WAITING,
    HELD,
    DEAD,
    DONE,
} record_state;

struct record {
    record_state state;
    int key;        /* -1 = none */
    int64_t due_at; /* delivery time */
    int64_t lease_id;
    int64_t deadline;
    int64_t ready_at; /* 0 = ready */
    int32_t deliveries;
};

struct partition {
    struct record records[RECORDS];
    int64_t end;
    int64_t frontier;
    int64_t unsettled; /* lease, 0 = none */
    int64_t unsettled_end;
    int64_t unsettled_deadline;
};

/* What a consumer remembers: it may be over. */
struct held {
    int32_t partition;
    int64_t lease_id;
    int64_t first;
    int64_t last;
    bool dead;
    bool unsettled;
};

struct consumer {
    struct held held[HELD_MAX];
    uint32_t count;
};

/* Somebody who was given nothing, and waits as it was told. */
struct waiter {
    bool waits;
    int64_t changed;
    int64_t retry_at;            /* INT64_MAX = never */
    int64_t watched[PARTITIONS]; /* wakes when the end is larger; INT64_MAX = not watched */
};

struct model {
    struct queue_world w;
    struct ria_rand rand;
    bool key_order;
    bool has_dead_topic;
    struct partition partitions[PARTITIONS];
    struct consumer consumers[CONSUMERS];
    struct waiter waiter;
    int64_t now;
    int step;
    bool wrong;
    int64_t granted; /* records: does anything happen? */
    int64_t acked;
    int64_t late;
    int64_t buried;
};

/* Once per test: the rest is a consequence. */
static void wrong(struct model *m, const char *what, int32_t partition, int64_t offset)
{
    if (!m->wrong) {
        (void)printf(
            "[step %d, partition %d, offset %d: %s]", m->step, (int)partition, (int)offset, what
        );
        CU_FAIL("the queue does not do what the model does");
    }
    m->wrong = true;
}

static int64_t below(struct model *m, int64_t bound)
{
    return (int64_t)ria_rand_below(&m->rand, (uint64_t)bound);
}

static struct record *at(struct model *m, int32_t partition, int64_t offset)
{
    return &m->partitions[partition].records[offset];
}

/* ---- what records do ---- */

static bool is_unfinished_before(struct model *m, int32_t partition, int64_t offset, int key)
{
    for (int64_t i = 0; i < offset; i++) {
        const struct record *record = at(m, partition, i);
        if (record->key == key && record->state != DONE) {
            return true;
        }
    }
    return false;
}

static void finish(struct model *m, int32_t partition, int64_t offset)
{
    struct record *record = at(m, partition, offset);

    record->state = DONE;
    if (record->key == -1) {
        return;
    }
    for (int64_t i = offset + 1; i < m->partitions[partition].frontier; i++) {
        struct record *next = at(m, partition, i);
        if (next->key == record->key && next->state != DONE) {
            if (next->state == HELD) {
                next->state = WAITING;
                next->ready_at = 0;
            }
            return;
        }
    }
}

static void kill(struct model *m, int32_t partition, int64_t offset)
{
    struct record *record = at(m, partition, offset);

    if (!m->has_dead_topic) {
        finish(m, partition, offset);
        return;
    }
    record->state = DEAD;
    record->lease_id = 0;
    record->ready_at = 0;
}

static void put_back(struct model *m, struct record *record, int64_t ready_at)
{
    record->state = WAITING;
    record->lease_id = 0;
    record->ready_at = ready_at <= m->now ? 0 : ready_at;
}

static void fail(struct model *m, int32_t partition, int64_t offset, int64_t ready_at)
{
    struct record *record = at(m, partition, offset);

    if (record->deliveries >= DELIVERIES_MAX) {
        kill(m, partition, offset);
    } else {
        put_back(m, record, ready_at);
    }
}

static int64_t over_at(const struct record *record)
{
    return record->deadline + (record->deliveries >= DELIVERIES_MAX ? 0 : RETRY_MS);
}

/* Whatever is due, is. */
static void expire(struct model *m)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct partition *partition = &m->partitions[p];
        if (partition->unsettled_deadline <= m->now) {
            partition->unsettled = 0;
        }
        for (int64_t i = 0; i < partition->frontier; i++) {
            struct record *record = &partition->records[i];
            if (record->state == LEASED && over_at(record) <= m->now) {
                fail(m, p, i, 0);
            } else if (record->state == WAITING && record->ready_at <= m->now) {
                record->ready_at = 0;
            }
        }
    }
}

static bool
is_held_by(const struct model *m, const struct record *record, int64_t lease_id, bool dead)
{
    return record->state == (dead ? DEAD : LEASED) && record->lease_id == lease_id &&
           record->deadline > m->now;
}

/* ---- receive ---- */

/* Where it is remembered, for what else is to be said. */
static struct held *remember(struct model *m, uint32_t consumer, struct held held)
{
    struct consumer *c = &m->consumers[consumer];
    int64_t index = c->count < HELD_MAX ? c->count++ : below(m, HELD_MAX);

    c->held[index] = held;
    return &c->held[index];
}

static void
check_grant(struct model *m, const struct queue_receive_result_queue_grant *grant, int64_t lock_ms)
{
    struct partition *partition = &m->partitions[grant->partition];

    if (grant->unsettled) {
        if (!m->key_order || partition->unsettled != 0 || grant->first != partition->frontier ||
            grant->last >= partition->end) {
            wrong(m, "unsettled grant", grant->partition, grant->first);
        }
        partition->unsettled = grant->lease_id;
        partition->unsettled_end = grant->last + 1;
        partition->unsettled_deadline = m->now + lock_ms;
        return;
    }
    for (int64_t i = grant->first; i <= grant->last; i++) {
        struct record *record = &partition->records[i];
        bool is_fresh = i == partition->frontier && i < partition->end && !m->key_order;
        bool is_ready =
            i < partition->frontier && record->state == WAITING && record->ready_at == 0;
        if (!is_fresh && !is_ready) {
            wrong(m, "given out, but not ready", grant->partition, i);
        }
        if (record->key != -1 && m->key_order &&
            is_unfinished_before(m, grant->partition, i, record->key)) {
            wrong(m, "passed an earlier one of its key", grant->partition, i);
        }
        if (grant->deliveries != record->deliveries + 1) {
            wrong(m, "deliveries", grant->partition, i);
        }
        partition->frontier += is_fresh ? 1 : 0;
        record->state = LEASED;
        record->lease_id = grant->lease_id;
        record->deadline = m->now + lock_ms;
        record->deliveries++;
    }
}

static void check_dead(struct model *m, const struct queue_receive_result_queue_dead *dead)
{
    for (int64_t i = dead->first; i <= dead->last; i++) {
        struct record *record = at(m, dead->partition, i);
        if (record->state != DEAD || (record->lease_id != 0 && record->deadline > m->now)) {
            wrong(m, "not dead, or somebody's", dead->partition, i);
        }
        if (dead->deliveries != record->deliveries) {
            wrong(m, "deliveries of a dead record", dead->partition, i);
        }
        record->lease_id = dead->lease_id;
        record->deadline = m->now + QUEUE_DEAD_MS;
        record->ready_at = record->deadline;
    }
}

/* The highest offset that was given out again must have nothing ready below it. */
static void check_lowest_first(struct model *m)
{
    int64_t highest[PARTITIONS] = {-1, -1, -1};
    const struct queue_receive_result *received = &m->w.received;

    for (uint32_t i = 0; i < received->granted_count; i++) {
        highest[received->granted[i].partition] = received->granted[i].last;
    }
    for (int32_t p = 0; p < PARTITIONS; p++) {
        for (int64_t i = 0; i < highest[p] && i < m->partitions[p].frontier; i++) {
            const struct record *record = at(m, p, i);
            if (record->state == WAITING && record->ready_at == 0) {
                wrong(m, "left out, though lower and ready", p, i);
            }
        }
    }
}

/* The earliest moment at which anything changes by itself; 0 = there is something now. */
static int64_t next_moment(struct model *m, bool with_dead)
{
    int64_t next = INT64_MAX;

    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = &m->partitions[p];
        for (int64_t i = 0; i < partition->frontier; i++) {
            const struct record *record = &partition->records[i];
            if (record->state == LEASED) {
                next = ria_min_i64(next, over_at(record));
            } else if (record->state == WAITING || (record->state == DEAD && with_dead)) {
                next = ria_min_i64(next, record->ready_at);
            }
        }
        if (partition->unsettled != 0) {
            next = ria_min_i64(next, partition->unsettled_deadline);
        } else if (partition->end > partition->frontier) {
            next = 0;
        }
    }
    return next;
}

/* It got less than it asked for: there is no more, and it is told when there will be. */
static void check_exhausted(struct model *m, int32_t dead_max)
{
    const struct queue_receive_result *received = &m->w.received;
    int64_t next = next_moment(m, dead_max > 0);
    int64_t told = received->retry_after_ms == -1 ? INT64_MAX : m->now + received->retry_after_ms;

    if (next <= m->now && received->dead_count == 0) {
        wrong(m, "something is ready and was not given out", -1, -1);
    }
    if (ria_max_i64(next, m->now) != told) {
        wrong(m, "retryAfterMs is not the next moment", -1, next - told);
    }
}

/* Who waited as it was told has been woken if there is anything for it. */
static void check_waiter(struct model *m)
{
    struct waiter *waiter = &m->waiter;
    const struct queue_receive_result *received = &m->w.received;
    bool woken = received->changed > waiter->changed || m->now >= waiter->retry_at;

    for (int32_t p = 0; p < PARTITIONS; p++) {
        woken = woken || m->partitions[p].end > waiter->watched[p];
    }
    if (waiter->waits && !woken && received->granted_count + received->dead_count > 0) {
        wrong(m, "whoever waited was not woken", -1, -1);
    }
    waiter->waits = waiter->waits && !woken;
}

static void begin_to_wait(struct model *m)
{
    struct waiter *waiter = &m->waiter;
    const struct queue_receive_result *received = &m->w.received;

    waiter->waits = true;
    waiter->changed = received->changed;
    waiter->retry_at =
        received->retry_after_ms == -1 ? INT64_MAX : m->now + received->retry_after_ms;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        waiter->watched[p] = INT64_MAX;
    }
    for (uint32_t i = 0; i < received->offered_count; i++) {
        waiter->watched[received->offered[i].partition] = received->offered[i].offset;
    }
}

static void receive(struct model *m, uint32_t consumer)
{
    int32_t records_max = (int32_t)(1 + below(m, 12));
    int64_t records = 0;
    bool forgets = ria_rand_one_in(&m->rand, 15); /* the answer is lost */
    struct queue_world *w = &m->w;

    w->lock_ms = (int32_t)(1000 + below(m, 4000));
    w->look_ahead = (int32_t)(ria_rand_one_in(&m->rand, 3) ? below(m, 20) : 0);
    w->dead_max = ria_rand_one_in(&m->rand, 2) ? (int32_t)(1 + below(m, 8)) : 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        w->ends[p] = m->partitions[p].end;
    }
    if (queue_world_receive(w, records_max) != RIA_OK) {
        wrong(m, "receive is refused", -1, -1);
        return;
    }
    expire(m);
    check_waiter(m);
    for (uint32_t i = 0; i < w->received.dead_count; i++) {
        const struct queue_receive_result_queue_dead *dead = &w->received.dead[i];
        check_dead(m, dead);
        if (!forgets) {
            struct held held = {dead->partition, dead->lease_id, dead->first, dead->last, 0, 0};
            remember(m, consumer, held)->dead = true;
        }
    }
    for (uint32_t i = 0; i < w->received.granted_count; i++) {
        const struct queue_receive_result_queue_grant *grant = &w->received.granted[i];
        check_grant(m, grant, w->lock_ms);
        records += grant->last - grant->first + 1;
        if (!forgets) {
            struct held held = {grant->partition, grant->lease_id, grant->first, grant->last, 0, 0};
            remember(m, consumer, held)->unsettled = grant->unsettled;
        }
    }
    check_lowest_first(m);
    m->granted += records;
    if (records > records_max + (m->key_order ? w->look_ahead : 0)) {
        wrong(m, "more than was asked for", -1, -1);
    } else if (records < records_max) {
        check_exhausted(m, w->dead_max);
    }
    if (records == 0 && w->received.dead_count == 0 && w->dead_max > 0) {
        begin_to_wait(m);
    }
}

/* ---- settle ---- */

/* What must become of record offset, and what becomes of it in the model. */
static bool settle_fresh(
    struct model *m, const struct held *held, const struct queue_settle_queue_settle_entry *entry
)
{
    int64_t offset = entry->offset;
    struct partition *partition = &m->partitions[held->partition];
    struct record *record = &partition->records[offset];

    partition->frontier = offset + 1;
    if (record->key != -1 && is_unfinished_before(m, held->partition, offset, record->key)) {
        record->state = HELD;
        return false;
    }
    if (entry->leave || entry->delay_ms > 0) {
        put_back(m, record, entry->leave ? 0 : m->now + entry->delay_ms);
        return false;
    }
    record->state = LEASED;
    record->lease_id = held->lease_id;
    record->deadline = partition->unsettled_deadline;
    record->deliveries = 1;
    return true;
}

static bool
settle_leased(struct model *m, const struct held *held, int64_t offset, int64_t delay_ms)
{
    struct record *record = at(m, held->partition, offset);

    if (!is_held_by(m, record, held->lease_id, false)) {
        return false;
    }
    if (delay_ms > 0) {
        record->deliveries--;
        put_back(m, record, m->now + delay_ms);
        return false;
    }
    return true;
}

static uint32_t
fill_settle(struct model *m, const struct held *held, struct queue_settle_queue_settle_entry *out)
{
    uint32_t count = 0;
    int64_t last = held->last;

    if (held->unsettled && ria_rand_one_in(&m->rand, 4)) {
        last = held->first + below(m, last - held->first + 1); /* it could not read all of it */
    }
    for (int64_t i = held->first; i <= last; i++) {
        const struct record *record = at(m, held->partition, i);
        out[count++] = (struct queue_settle_queue_settle_entry){
            .partition = held->partition,
            .lease_id = held->lease_id,
            .offset = i,
            .has_key = record->key != -1,
            .key = record->key,
            .delay_ms = ria_max_i64(0, record->due_at - m->now),
            .leave = ria_rand_one_in(&m->rand, 3),
        };
    }
    return count;
}

static void settle(struct model *m, const struct held *held)
{
    struct queue_settle_queue_settle_entry entries[64];
    struct partition *partition = &m->partitions[held->partition];
    bool is_alive =
        partition->unsettled == held->lease_id && partition->unsettled_deadline > m->now;
    bool is_fresh = is_alive && held->first == partition->frontier;
    struct queue_settle request = {
        .group = ria_slice_cstr(m->w.group),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = entries,
        .entries_count = fill_settle(m, held, entries),
    };

    if (queue_world_run(&m->w, GROUP_OPERATION_QUEUE_SETTLE, &request, &m->w.settled) != RIA_OK) {
        wrong(m, "settle is refused", held->partition, held->first);
        return;
    }
    for (uint32_t i = 0; i < request.entries_count; i++) {
        int64_t offset = entries[i].offset;
        bool hand_out = is_fresh ? settle_fresh(m, held, &entries[i])
                                 : settle_leased(m, held, offset, entries[i].delay_ms);
        if (m->w.settled.entries[i].hand_out != hand_out) {
            wrong(m, "handed out, or not", held->partition, offset);
        }
    }
    if (is_fresh) {
        partition->unsettled = 0;
    }
}

/* ---- ack ---- */

static void
act_on_record(struct model *m, int32_t partition, int64_t offset, int8_t action, int64_t arg)
{
    struct record *record = at(m, partition, offset);

    switch (action) {
    case QUEUE_ACK:
        m->acked++;
        finish(m, partition, offset);
        break;
    case QUEUE_BURIED:
        m->buried++;
        finish(m, partition, offset);
        break;
    case QUEUE_NACK:
        fail(m, partition, offset, m->now + (arg == -1 ? RETRY_MS : arg));
        break;
    case QUEUE_EXTEND:
        record->deadline = m->now + arg;
        break;
    case QUEUE_REJECT:
        kill(m, partition, offset);
        break;
    default:
        record->deliveries--;
        put_back(m, record, 0);
        break;
    }
}

static int8_t choose_action(struct model *m, const struct held *held)
{
    static const int8_t actions[] = {
        QUEUE_ACK,
        QUEUE_ACK,
        QUEUE_ACK,
        QUEUE_ACK,
        QUEUE_ACK,
        QUEUE_NACK,
        QUEUE_NACK,
        QUEUE_EXTEND,
        QUEUE_REJECT,
        QUEUE_GIVE_BACK,
        QUEUE_BURIED};

    if (held->dead && !ria_rand_one_in(&m->rand, 8)) {
        return QUEUE_BURIED;
    }
    return actions[below(m, (int64_t)RIA_COUNT(actions))];
}

static void
act(struct model *m, const struct held *held, int64_t first, int64_t last, int8_t action)
{
    int64_t arg = action == QUEUE_EXTEND ? 1000 + below(m, 3000)
                  : action == QUEUE_NACK ? below(m, 1500) - 1
                                         : -1;
    bool expected = true;

    for (int64_t i = first; i <= last; i++) {
        expected = expected &&
                   is_held_by(m, at(m, held->partition, i), held->lease_id, action == QUEUE_BURIED);
    }
    ria_err err = queue_world_act(&m->w, held->partition, held->lease_id, first, last, action, arg);
    if ((err == RIA_OK) != expected || (!expected && err != RIA_ERR_CONFLICT)) {
        wrong(
            m, expected ? "refused while its lease is alive" : "accepted", held->partition, first
        );
    }
    m->late += expected ? 0 : 1;
    for (int64_t i = first; i <= last && expected; i++) {
        act_on_record(m, held->partition, i, action, arg);
    }
}

/* Do something with something that it remembers. */
static void work(struct model *m, uint32_t consumer)
{
    struct consumer *c = &m->consumers[consumer];

    if (c->count == 0) {
        return;
    }
    uint32_t index = (uint32_t)below(m, c->count);
    struct held held = c->held[index];
    if (!held.dead && (held.unsettled || ria_rand_one_in(&m->rand, 3))) {
        settle(m, &held);
        c->held[index].unsettled = false;
        return;
    }
    int64_t first = held.first + below(m, held.last - held.first + 1);
    int64_t last = first + below(m, held.last - first + 1);
    if (ria_rand_one_in(&m->rand, 3)) {
        first = held.first;
        last = held.last;
    }
    act(m, &held, first, last, choose_action(m, &held));
    if (ria_rand_one_in(&m->rand, 3)) {
        c->held[index] = c->held[--c->count];
    }
}

/* ---- the world ---- */

static void produce(struct model *m)
{
    struct partition *partition = &m->partitions[below(m, PARTITIONS)];
    int64_t count = ria_min_i64(1 + below(m, 6), RECORDS - partition->end);

    for (int64_t i = 0; i < count; i++) {
        struct record *record = &partition->records[partition->end++];
        record->key = m->key_order && !ria_rand_one_in(&m->rand, 4) ? (int)below(m, KEYS) : -1;
        record->due_at = ria_rand_one_in(&m->rand, 10) ? m->now + below(m, 6000) : 0;
    }
}

static void restart(struct model *m)
{
    state_free(m->w.m.state);
    ria_err err = state_new(m->w.m.db, &m->w.m.state);
    CU_ASSERT_EQUAL(err, RIA_OK);
}

static void check_positions(struct model *m)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = &m->partitions[p];
        struct queue_row row = queue_world_row(&m->w, p);
        int64_t lowest = 0;
        while (lowest < partition->frontier && partition->records[lowest].state == DONE) {
            lowest++;
        }
        if (row.frontier != partition->frontier) {
            wrong(m, "the frontier", p, row.frontier);
        }
        /* What is lazily discarded is finished in the model and not yet in the rows. */
        if (row.position > lowest || (m->has_dead_topic && row.position != lowest)) {
            wrong(m, "the position is not the lowest unfinished", p, row.position);
        }
    }
}

static void advance(struct model *m, int64_t ms)
{
    m->now += ms;
    m->w.m.lease_ms = m->now;
}

static void step(struct model *m)
{
    uint32_t consumer = (uint32_t)below(m, CONSUMERS);
    int64_t choice = below(m, 120);

    if (choice < 10) {
        produce(m);
    } else if (choice < 20) {
        advance(m, ria_rand_one_in(&m->rand, 40) ? below(m, 40000) : below(m, 100));
    } else if (choice < 60) {
        receive(m, consumer);
    } else if (choice == 60) {
        restart(m);
    } else {
        work(m, consumer);
    }
}

static bool is_finished(struct model *m)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (queue_world_row(&m->w, p).position < m->partitions[p].end) {
            return false;
        }
    }
    return true;
}

/* Consumers go on, and nobody makes mistakes any more. */
static void drain(struct model *m)
{
    for (int round = 0; round < 5000 && !m->wrong && !is_finished(m); round++) {
        struct consumer *c = &m->consumers[0];
        receive(m, 0);
        for (uint32_t i = 0; i < c->count && !m->wrong; i++) {
            struct held held = c->held[i];
            if (held.unsettled || !held.dead) {
                settle(m, &held);
            }
            for (int64_t k = held.first; k <= held.last; k++) {
                if (is_held_by(m, at(m, held.partition, k), held.lease_id, held.dead)) {
                    act(m, &held, k, k, held.dead ? QUEUE_BURIED : QUEUE_ACK);
                }
            }
        }
        c->count = 0;
        advance(m, 500);
    }
}

static void check_all_finished(struct model *m)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct queue_row row = queue_world_row(&m->w, p);
        CU_ASSERT_EQUAL(row.position, m->partitions[p].end);
        CU_ASSERT_EQUAL(row.row_count, 0);
    }
    CU_ASSERT_TRUE(m->granted > STEPS / 4);
    CU_ASSERT_TRUE(m->acked > STEPS / 10);
    CU_ASSERT_TRUE(m->late > 0);
    CU_ASSERT_EQUAL(m->buried > 0, m->has_dead_topic);
}

static void run_seed(uint64_t seed, bool key_order, bool has_dead_topic)
{
    struct model *m = calloc(1, sizeof(*m));
    uint32_t retry_ms = RETRY_MS;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    queue_world_open(&m->w, PARTITIONS);
    ria_rand_init(&m->rand, seed);
    m->now = m->w.m.lease_ms;
    m->key_order = key_order;
    m->has_dead_topic = has_dead_topic;
    struct queue_open settings = queue_world_settings(&m->w);
    settings.key_order = key_order ? 1 : 0;
    settings.deliveries_max = DELIVERIES_MAX;
    settings.retry_ms = &retry_ms;
    settings.retry_ms_count = 1;
    settings.dead_topic = ria_slice_cstr(has_dead_topic ? "jobs.dead" : "");
    CU_ASSERT_EQUAL_FATAL(queue_world_set(&m->w, &settings), RIA_OK);
    receive(m, 0);
    for (m->step = 0; m->step < STEPS && !m->wrong; m->step++) {
        m->w.unchecked = m->step % 16 != 0; /* it reads every row */
        step(m);
        check_positions(m);
    }
    drain(m);
    check_all_finished(m);
    if (m->wrong) {
        (void)printf("[seed %" PRIu64 "]", seed);
    }
    queue_world_close(&m->w);
    free(m);
}

static void run(uint64_t first_seed, bool key_order, bool has_dead_topic)
{
    for (uint64_t seed = first_seed; seed < first_seed + 3; seed++) {
        run_seed(seed, key_order, has_dead_topic);
    }
}

static void an_unordered_queue_with_dead_letters(void)
{
    run(1, false, true);
}

static void an_unordered_queue_without_dead_letters(void)
{
    run(11, false, false);
}

static void a_queue_ordered_by_key_with_dead_letters(void)
{
    run(21, true, true);
}

static void a_queue_ordered_by_key_without_dead_letters(void)
{
    run(31, true, false);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(an_unordered_queue_with_dead_letters),
    HARNESS_TEST(an_unordered_queue_without_dead_letters),
    HARNESS_TEST(a_queue_ordered_by_key_with_dead_letters),
    HARNESS_TEST(a_queue_ordered_by_key_without_dead_letters),
};
HARNESS_MAIN(tests);
