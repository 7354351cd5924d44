#include "services/storage/tails.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/range_call.h"
#include "services/storage/storage.h"

enum {
    CALLS_MAX = 64,           /* under way, of all replicas: thousands may wait after a restart */
    ASK_MS = 1000,            /* deadline of a question */
    FETCH_MS = 5000,          /* of a fetch */
    FETCH_SIZE = 1024 * 1024, /* of one */
    RETRY_MS = 200,           /* behind an answer that is of no use */
    POLL_MS = 10,             /* for room for a call, and for the disk */
    AGAIN_MAX = 10,
    NOBODY = -1,
    NOWHERE = -1,
};

/* A call under way. Outlives the question if that ends first: then tail is NULL. */
struct tail_call {
    struct tail *tail;
    uint32_t peer;
    bool fetches;
};

struct tail_peer {
    int32_t node_id;
    bool answered;
    bool has_more;      /* its log goes on where this one ends */
    bool is_damaged;    /* and cannot be read there: of no use until this is over */
    int64_t damaged_at; /* NOWHERE, or where that failed once: next time it knows its good part */
    int32_t last_epoch;
    int64_t end_offset;
    int64_t retry_us; /* not asked before */
    struct tail_call *call;
};

/* One replica's tail. */
struct tail {
    struct ria_list link; /* in tails.list */
    struct tails *tails;
    struct replica *replica;
    int32_t leader_epoch; /* it is to lead under this one */
    int64_t from_offset;  /* the log's end at first */
    int64_t until_us;
    uint32_t again_left; /* times that until_us may still be put off */
    int64_t due_us;      /* to be looked at */
    int32_t chosen;      /* index of the peer whose tail is taken */
    bool is_decided;     /* chosen is the best of all, or NOBODY has more */
    uint32_t peer_count;
    struct tail_peer peers[RIA_REPLICAS_MAX];
};

struct tails {
    struct storage *storage;
    struct ria_timer timer;
    struct ria_list list;
    uint32_t call_count;
    bool stopped;
};

static int64_t now_us(const struct tails *tails)
{
    return ria_clock_mono_us(tails->storage->env->clock);
}

static void wake_in(struct tails *tails, int64_t us)
{
    ria_timer_start(tails->storage->env->timers, &tails->timer, us);
}

static void look_in(struct tail *tail, int64_t ms)
{
    tail->due_us = now_us(tail->tails) + ms * 1000;
}

static const struct cluster_partition *assigned_of(const struct tail *tail)
{
    const struct partition_id *id = &tail->replica->partition.id;

    return cluster_partition(tail->tails->storage->cluster, &id->topic_id, partition_id_number(id));
}

/* ---- the end ---- */

static void tail_free(struct tail *tail)
{
    for (uint32_t i = 0; i < tail->peer_count; i++) {
        if (tail->peers[i].call != NULL) {
            tail->peers[i].call->tail = NULL;
            tail->tails->call_count--;
        }
    }
    ria_list_remove(&tail->link);
    tail->replica->tail = NULL;
    free(tail);
}

/* Who may have what this log lacks: did not answer, or cannot read it any more. */
static uint32_t count_silent(const struct tail *tail)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tail->peer_count; i++) {
        count += tail->peers[i].answered && !tail->peers[i].is_damaged ? 0 : 1;
    }
    return count;
}

/* Frees the tail. */
static void finish(struct tail *tail)
{
    struct replica *replica = tail->replica;
    struct storage *s = tail->tails->storage;
    uint32_t silent = count_silent(tail);
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(replica->partition.id.topic_id, text);
    ria_log_write(
        s->env->log,
        silent > 0 ? RIA_LOG_WARN : RIA_LOG_INFO,
        silent > 0 ? "storage.tail_unproven" : "storage.tail_proven",
        "topic=%s partition=%d from=%" PRId64 " to=%" PRId64 " asked=%u silent=%u",
        text,
        partition_id_number(&replica->partition.id),
        tail->from_offset,
        partition_log_end_offset(replica->partition.log),
        tail->peer_count,
        silent
    );
    tail_free(tail);
    partition_log_settle_tail(replica->partition.log);
    storage_apply_again(replica);
}

/* ---- answers ---- */

/* Another history than a moment ago, or no answer any more: all are asked anew. */
static void begin_again(struct tail *tail)
{
    if (tail->again_left > 0) {
        tail->again_left--;
        tail->until_us =
            ria_max_i64(tail->until_us, now_us(tail->tails) + (int64_t)(RETRY_MS + ASK_MS) * 1000);
    }
    tail->is_decided = false;
    tail->chosen = NOBODY;
    for (uint32_t i = 0; i < tail->peer_count; i++) {
        tail->peers[i].answered = false;
        tail->peers[i].has_more = false;
        tail->peers[i].retry_us = now_us(tail->tails) + (int64_t)RETRY_MS * 1000;
    }
}

/* The peer's log is this one, and goes on. Errors: RIA_ERR_CONFLICT, those of the arena. */
static ria_err check_history(const struct tail *tail, const struct range_fetch_response *response)
{
    const struct partition_log *log = tail->replica->partition.log;
    uint32_t count = response->epochs_count;
    struct leader_epoch_entry *epochs = NULL;
    int64_t end_offset = partition_log_end_offset(log);

    RIA_TRY(range_call_epochs(tail->tails->storage, response, &epochs));
    bool goes_on = count > 0 && response->end_offset > end_offset &&
                   response->log_start_offset <= end_offset &&
                   epochs[count - 1].epoch < tail->leader_epoch &&
                   partition_log_divergence(log, epochs, count, response->end_offset) == end_offset;
    return goes_on ? RIA_OK : RIA_ERR_CONFLICT;
}

static ria_err
take_answer(struct tail *tail, struct tail_peer *peer, const struct range_fetch_response *response)
{
    ria_err err = check_history(tail, response);

    if (err != RIA_OK && err != RIA_ERR_CONFLICT) {
        return err;
    }
    peer->answered = true;
    peer->has_more = err == RIA_OK;
    if (peer->has_more) {
        peer->last_epoch = response->epochs[response->epochs_count - 1].epoch;
        peer->end_offset = response->end_offset;
    }
    return RIA_OK;
}

static ria_err take_batches(
    struct tail *tail, const struct range_fetch_response *response, struct ria_slice batches
)
{
    struct replica *replica = tail->replica;

    RIA_TRY(check_history(tail, response));
    if (batches.size == 0) {
        return RIA_ERR_CONFLICT; /* an older version gives only what is committed */
    }
    int64_t old_end = partition_log_end_offset(replica->partition.log);
    ria_err err = partition_take_tail(&replica->partition, batches);
    if (partition_log_end_offset(replica->partition.log) > old_end) {
        storage_mark_dirty(replica);
        storage_mark_changed(replica);
    }
    return err;
}

/* Errors: those of the answer. */
static ria_err open_answer(const struct tail_call *call, struct ria_msg *reply)
{
    struct tail *tail = call->tail;
    struct storage *s = tail->tails->storage;
    struct response_header header;
    struct range_fetch_response response;
    struct ria_slice body;
    struct ria_slice payload;

    RIA_TRY(envelope_open_reply(reply, API_RANGE_FETCH, &header, &body, &payload, NULL, 0));
    ria_arena_reset(&s->arena);
    RIA_TRY(envelope_decode_body(
        schema_response(API_RANGE_FETCH), header.api_version, body, &s->arena, &response
    ));
    return call->fetches ? take_batches(tail, &response, payload)
                         : take_answer(tail, &tail->peers[call->peer], &response);
}

/* This node's own trouble: the peer is as good as before. */
static bool is_own(ria_err err)
{
    return err == RIA_ERR_NO_SPACE || err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT;
}

/* Its own repair asks the same replicas that are asked here, so there is nothing to wait for. */
static void note_damage(struct tail *tail, struct tail_peer *peer)
{
    int64_t at = partition_log_end_offset(tail->replica->partition.log);

    peer->is_damaged = peer->damaged_at == at;
    peer->damaged_at = at;
    tail->is_decided = false;
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct tail_call *call = arg;
    struct tail *tail = call->tail;

    if (tail == NULL) {
        free(call);
        ria_msg_free(reply);
        return;
    }
    struct tail_peer *peer = &tail->peers[call->peer];
    RIA_ASSERT(peer->call == call);
    peer->call = NULL;
    tail->tails->call_count--;
    look_in(tail, 0);
    if (err == RIA_OK) {
        err = tail->replica->partition.role == PARTITION_IDLE ? open_answer(call, reply) : RIA_OK;
        ria_msg_free(reply);
    }
    if (err == RIA_ERR_CORRUPT && call->fetches) {
        note_damage(tail, peer);
    } else if (err != RIA_OK && call->fetches && !is_own(err)) {
        begin_again(tail);
    }
    if (err != RIA_OK) {
        peer->retry_us = now_us(tail->tails) + (int64_t)RETRY_MS * 1000;
    }
    free(call);
    wake_in(tail->tails, 0);
}

/* ---- questions ---- */

static void ask(struct tail *tail, uint32_t i, bool fetches)
{
    struct storage *s = tail->tails->storage;
    struct tail_peer *peer = &tail->peers[i];
    const struct partition_id *id = &tail->replica->partition.id;
    const struct cluster_node *node = cluster_node(s->cluster, peer->node_id);
    uint32_t deadline_ms = fetches ? FETCH_MS : ASK_MS;
    struct range_fetch_request request = {
        .topic_id = id->topic_id,
        .partition = partition_id_number(id),
        .from_offset = fetches ? partition_log_end_offset(tail->replica->partition.log) : INT64_MAX,
        .to_offset = fetches ? peer->end_offset : INT64_MAX,
        .max_bytes = FETCH_SIZE,
        .is_tail = true,
    };

    peer->retry_us = now_us(tail->tails) + (int64_t)RETRY_MS * 1000;
    struct tail_call *call = node == NULL ? NULL : malloc(sizeof(*call));
    struct ria_msg *msg = call == NULL ? NULL
                                       : envelope_request(
                                             API_RANGE_FETCH,
                                             RANGE_FETCH_REQUEST_VERSION_MAX,
                                             s->identity.node_id,
                                             deadline_ms,
                                             &request,
                                             0,
                                             NULL
                                         );
    if (msg == NULL) {
        free(call);
        return;
    }
    *call = (struct tail_call){.tail = tail, .peer = i, .fetches = fetches};
    peer->call = call;
    tail->tails->call_count++;
    ria_rpc_call(s->env->rpc, node->address, msg, deadline_ms, on_answer, call);
}

static void ask_if_due(struct tail *tail, uint32_t i, bool fetches)
{
    struct tails *tails = tail->tails;
    struct tail_peer *peer = &tail->peers[i];

    if (peer->call != NULL) {
        return; /* the answer wakes us */
    }
    if (peer->retry_us > now_us(tails)) {
        tail->due_us = ria_min_i64(tail->due_us, peer->retry_us);
    } else if (tails->call_count >= CALLS_MAX) {
        tail->due_us = ria_min_i64(tail->due_us, now_us(tails) + (int64_t)POLL_MS * 1000);
    } else {
        ask(tail, i, fetches);
        if (peer->call == NULL) {
            tail->due_us = ria_min_i64(tail->due_us, peer->retry_us);
        }
    }
}

/* ---- turns ---- */

/* A newer last epoch: its leader began with all that was committed before, so what another has more
 * of an older one never was. */
static bool is_better(const struct tail_peer *a, const struct tail_peer *b)
{
    return a->last_epoch != b->last_epoch ? a->last_epoch > b->last_epoch
                                          : a->end_offset > b->end_offset;
}

static int32_t choose(const struct tail *tail)
{
    int32_t best = NOBODY;

    for (uint32_t i = 0; i < tail->peer_count; i++) {
        const struct tail_peer *peer = &tail->peers[i];
        if (peer->answered && peer->has_more && !peer->is_damaged &&
            (best == NOBODY || is_better(peer, &tail->peers[best]))) {
            best = (int32_t)i;
        }
    }
    return best;
}

/* Ask who has not answered. True: all have, or their time is over. */
static bool has_asked(struct tail *tail)
{
    bool all = true;

    for (uint32_t i = 0; i < tail->peer_count; i++) {
        if (!tail->peers[i].answered) {
            all = false;
            ask_if_due(tail, i, false);
        }
    }
    tail->due_us = ria_min_i64(tail->due_us, tail->until_us);
    return all || tail->until_us <= now_us(tail->tails);
}

/* May free the tail. */
static void step(struct tail *tail)
{
    const struct cluster_partition *assigned = assigned_of(tail);
    const struct partition *p = &tail->replica->partition;

    if (assigned == NULL || !partition_waits_for_tail(p, assigned) ||
        p->leader_epoch != tail->leader_epoch) {
        tail_free(tail); /* another leads, or it is doubted again under another epoch */
        return;
    }
    tail->due_us = INT64_MAX;
    if (!tail->is_decided && !has_asked(tail)) {
        return;
    }
    if (!tail->is_decided) {
        tail->is_decided = true;
        tail->chosen = choose(tail);
    }
    int64_t end_offset = partition_log_end_offset(p->log);
    if (tail->chosen != NOBODY && end_offset < tail->peers[tail->chosen].end_offset) {
        ask_if_due(tail, (uint32_t)tail->chosen, true);
    } else if (partition_log_synced_offset(p->log) < end_offset || partition_log_is_syncing(p->log)) {
        look_in(tail, POLL_MS);
    } else {
        finish(tail);
    }
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct tails *tails = arg;
    int64_t next_us = INT64_MAX;

    (void)timer;
    if (tails->stopped) {
        return;
    }
    RIA_LIST_FOREACH (node, &tails->list) {
        struct tail *tail = RIA_CONTAINER(node, struct tail, link);
        if (tail->due_us <= now_us(tails)) {
            step(tail);
        }
    }
    RIA_LIST_FOREACH (node, &tails->list) {
        next_us = ria_min_i64(next_us, RIA_CONTAINER(node, struct tail, link)->due_us);
    }
    if (next_us != INT64_MAX) {
        wake_in(tails, ria_max_i64(next_us - now_us(tails), 0));
    }
}

/* ---- from outside ---- */

ria_err tails_new(struct storage *s, struct tails **out_tails)
{
    struct tails *tails = calloc(1, sizeof(*tails));

    if (tails == NULL) {
        return RIA_ERR_NOMEM;
    }
    tails->storage = s;
    ria_list_init(&tails->list);
    ria_timer_init(&tails->timer, on_due, tails);
    *out_tails = tails;
    return RIA_OK;
}

void tails_stop(struct tails *tails)
{
    tails->stopped = true;
    ria_timer_stop(tails->storage->env->timers, &tails->timer);
    while (!ria_list_is_empty(&tails->list)) {
        tail_free(RIA_CONTAINER(tails->list.next, struct tail, link));
    }
}

void tails_free(struct tails *tails)
{
    if (tails != NULL) {
        tails_stop(tails);
        free(tails);
    }
}

static void add_peers(struct tail *tail, const struct cluster_partition *assigned)
{
    for (uint32_t i = 0; i < assigned->replica_count; i++) {
        if (assigned->replicas[i] != tail->tails->storage->identity.node_id) {
            tail->peers[tail->peer_count++] =
                (struct tail_peer){.node_id = assigned->replicas[i], .damaged_at = NOWHERE};
        }
    }
}

void tails_want(struct tails *tails, struct replica *replica)
{
    if (tails->stopped ||
        (replica->tail != NULL && replica->tail->leader_epoch == replica->partition.leader_epoch)) {
        return;
    }
    tails_forget(tails, replica);
    struct tail *tail = calloc(1, sizeof(*tail));
    if (tail == NULL) {
        storage_fatal(tails->storage, "out of memory while taking over a partition");
        return;
    }
    tail->tails = tails;
    tail->replica = replica;
    tail->leader_epoch = replica->partition.leader_epoch;
    tail->from_offset = partition_log_end_offset(replica->partition.log);
    tail->until_us = now_us(tails) + (int64_t)TAILS_WAIT_MS * 1000;
    tail->again_left = AGAIN_MAX;
    tail->chosen = NOBODY;
    add_peers(tail, assigned_of(tail));
    replica->tail = tail;
    ria_list_push_back(&tails->list, &tail->link);
    wake_in(tails, 0);
}

void tails_forget(struct tails *tails, struct replica *replica)
{
    (void)tails;
    if (replica->tail != NULL) {
        tail_free(replica->tail);
    }
}
