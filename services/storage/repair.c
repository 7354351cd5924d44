#include "services/storage/repair.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_repair.h"
#include "services/storage/range_call.h"
#include "services/storage/storage.h"

enum {
    STEP_US = 2000,       /* between two steps: other work comes first */
    SYNC_POLL_US = 10000, /* while the disk works */
    FINDS_MAX = 64,       /* more damage found in one replica, until a repair ends well */
    RETRY_MS_MIN = 1000,  /* no peer could help, or the disk is full */
    RETRY_MS_MAX = 60 * 1000,
};

struct repairs {
    struct storage *storage;
    struct ria_timer timer;
    struct ria_list queue; /* replica.repair_link */
    bool stopped;

    struct replica *replica;   /* whose turn it is; NULL: nobody's */
    struct log_repair *repair; /* of its log */
    struct range_call *call;   /* NULL: none is under way */
    uint32_t peer;             /* in the order of peer_at() */
    struct log_repair *ending; /* cancelled; its sync has not ended */
};

static void wake_in(struct repairs *repairs, int64_t us)
{
    ria_timer_start(repairs->storage->env->timers, &repairs->timer, us);
}

static const struct partition_id *id_of(const struct repairs *repairs)
{
    return &repairs->replica->partition.id;
}

/* ---- the end of a turn ---- */

static void end_turn(struct repairs *repairs)
{
    range_call_forget(RIA_STEAL(&repairs->call));
    if (log_repair_is_syncing(repairs->repair)) {
        RIA_ASSERT(repairs->ending == NULL);
        log_repair_cancel(repairs->repair);
        repairs->ending = repairs->repair;
    } else {
        log_repair_free(repairs->repair);
    }
    repairs->repair = NULL;
    repairs->replica = NULL;
    repairs->peer = 0;
}

static void log_failed(const struct repairs *repairs, ria_err err)
{
    char text[RIA_UUID_TEXT_SIZE];
    int64_t from = 0;
    int64_t to = 0;

    log_repair_wanted(repairs->repair, &from, &to);
    ria_uuid_format(id_of(repairs)->topic_id, text);
    ria_log_warn(
        repairs->storage->env->log,
        "storage.repair_failed",
        "topic=%s partition=%d from=%" PRId64 " to=%" PRId64 " err=\"%s\" note=\"tried again\"",
        text,
        partition_id_number(id_of(repairs)),
        from,
        to,
        ria_err_text(err)
    );
}

static void fail_turn(struct repairs *repairs, ria_err err)
{
    struct replica *replica = repairs->replica;
    struct storage *s = repairs->storage;
    int64_t delay_ms = (int64_t)RETRY_MS_MIN << ria_min_i64(replica->repair_failures, 6);

    if (replica->repair_err != err) { /* once per reason */
        replica->repair_err = err;
        log_failed(repairs, err);
    }
    s->metrics.repair_failures.value++;
    replica->repair_failures++;
    replica->repair_us =
        ria_clock_mono_us(s->env->clock) + ria_min_i64(delay_ms, RETRY_MS_MAX) * 1000;
    ria_list_remove(&replica->repair_link);
    ria_list_push_back(&repairs->queue, &replica->repair_link); /* others have their turn */
    end_turn(repairs);
}

/* Whatever comes next is not what failed. */
static void forget_failures(struct replica *replica)
{
    replica->repair_failures = 0;
    replica->repair_finds = 0;
    replica->repair_err = RIA_OK;
}

/* More damage was found, and is known now: that is a step forward. */
static void begin_again(struct repairs *repairs)
{
    struct replica *replica = repairs->replica;

    if (replica->repair_finds++ < FINDS_MAX) {
        end_turn(repairs);
    } else {
        fail_turn(repairs, RIA_ERR_CORRUPT);
    }
}

static void finish_turn(struct repairs *repairs)
{
    struct replica *replica = repairs->replica;
    char text[RIA_UUID_TEXT_SIZE];
    uint64_t fetched = 0;
    int64_t from = 0;
    int64_t to = 0;

    log_repair_result(repairs->repair, &from, &to, &fetched);
    ria_uuid_format(id_of(repairs)->topic_id, text);
    ria_log_info(
        repairs->storage->env->log,
        "storage.repaired",
        "topic=%s partition=%d from=%" PRId64 " to=%" PRId64 " bytes=%" PRIu64 " by=%s",
        text,
        partition_id_number(id_of(repairs)),
        from,
        to,
        fetched,
        fetched > 0 ? "peers" : "reading"
    );
    forget_failures(replica);
    storage_mark_changed(replica);
    end_turn(repairs);
    storage_report_fitness(replica);
    if (!partition_log_is_damaged(replica->partition.log)) {
        storage_apply_again(replica); /* it may lead again */
    }
}

/* ---- asking peers ---- */

/* The n-th peer to ask: the leader, then the other replicas. -1: there are no more. */
static int32_t peer_at(const struct repairs *repairs, uint32_t n)
{
    const struct storage *s = repairs->storage;
    const struct cluster_partition *assigned = cluster_partition(
        s->cluster, &id_of(repairs)->topic_id, partition_id_number(id_of(repairs))
    );
    int32_t self = s->identity.node_id;
    bool asks_leader = assigned != NULL && assigned->leader >= 0 && assigned->leader != self;

    if (assigned == NULL) {
        return -1;
    }
    if (asks_leader && n-- == 0) {
        return assigned->leader;
    }
    for (uint32_t i = 0; i < assigned->replica_count; i++) {
        int32_t node_id = assigned->replicas[i];
        if (node_id != self && node_id != assigned->leader && n-- == 0) {
            return node_id;
        }
    }
    return -1;
}

static ria_err take_batches(
    struct repairs *repairs, const struct range_fetch_response *response, struct ria_slice batches
)
{
    const struct partition *p = &repairs->replica->partition;
    struct leader_epoch_entry *epochs = NULL;

    RIA_TRY(range_call_epochs(repairs->storage, response, &epochs));
    struct log_repair_source source = {
        .batches = batches,
        .epochs = epochs,
        .epoch_count = response->epochs_count,
        .end_offset = response->high_watermark,
        .is_leader = response->leader_epoch >= 0 && response->leader_epoch == p->prepared_epoch,
    };
    return batches.size == 0 ? log_repair_doubt_end(repairs->repair, &source)
                             : log_repair_put(repairs->repair, &source);
}

/* An error of this node's own, which another peer would not mend. */
static bool is_own(ria_err err)
{
    return err == RIA_ERR_FENCED_EPOCH || err == RIA_ERR_NO_SPACE || err == RIA_ERR_IO ||
           err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT;
}

/* RIA_ERR_NOT_FOUND: it has nothing of the range, or does not know it to be committed. The same
 * errors may be this node's own. */
static void on_answer(
    void *arg, ria_err err, const struct range_fetch_response *response, struct ria_slice batches
)
{
    struct repairs *repairs = arg;
    bool own = false;

    repairs->call = NULL;
    if (err == RIA_OK) {
        err = take_batches(repairs, response, batches);
        own = is_own(err) || (batches.size == 0 && err == RIA_ERR_CORRUPT);
    }
    if (err == RIA_OK) {
        repairs->peer = 0; /* of what follows, another one may be good again */
        repairs->replica->repair_peer_err = RIA_OK;
    } else if (own && err == RIA_ERR_CORRUPT) {
        begin_again(repairs);
    } else if (own) {
        fail_turn(repairs, err);
    } else {
        if (err == RIA_ERR_CONFLICT && repairs->peer == 0) { /* whose history is wrong? */
            doubts_want(repairs->storage->doubts, repairs->replica);
        }
        repairs->replica->repair_peer_err = err;
        repairs->peer++;
    }
    wake_in(repairs, STEP_US);
}

/* False: nobody is left to be asked. */
static bool ask(struct repairs *repairs)
{
    struct storage *s = repairs->storage;
    int32_t node_id = peer_at(repairs, repairs->peer);
    const struct cluster_node *node = node_id < 0 ? NULL : cluster_node(s->cluster, node_id);
    struct range_fetch_request request = {
        .topic_id = id_of(repairs)->topic_id,
        .partition = partition_id_number(id_of(repairs)),
    };

    if (node_id < 0) {
        return false;
    }
    if (node == NULL) {
        repairs->peer++;
        wake_in(repairs, 0);
        return true;
    }
    log_repair_wanted(repairs->repair, &request.from_offset, &request.to_offset);
    repairs->call = range_call_start(s, node, &request, on_answer, repairs);
    return repairs->call != NULL;
}

/* ---- turns ---- */

/* Begin with the first in the queue whose time has come; leave out what needs nothing. */
static void begin_turn(struct repairs *repairs)
{
    int64_t now_us = ria_clock_mono_us(repairs->storage->env->clock);
    int64_t next_us = INT64_MAX;

    RIA_LIST_FOREACH (node, &repairs->queue) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, repair_link);
        if (replica->repair_us > now_us) {
            next_us = ria_min_i64(next_us, replica->repair_us);
            continue;
        }
        ria_err err = replica->state != REPLICA_OPEN
                          ? RIA_ERR_NOT_FOUND
                          : log_repair_new(replica->partition.log, &repairs->repair);
        if (err == RIA_OK) {
            repairs->replica = replica;
            repairs->peer = 0;
            wake_in(repairs, 0);
            return;
        }
        if (err == RIA_ERR_NOT_FOUND) { /* it may have been cut off */
            forget_failures(replica);
            ria_list_remove(node);
            continue;
        }
        replica->repair_us = now_us + (int64_t)RETRY_MS_MIN * 1000;
        next_us = ria_min_i64(next_us, replica->repair_us);
    }
    if (next_us != INT64_MAX) {
        wake_in(repairs, next_us - now_us);
    }
}

static void work(struct repairs *repairs)
{
    ria_err err = RIA_OK;
    int64_t next_us = STEP_US;

    switch (log_repair_get_state(repairs->repair)) {
    case LOG_REPAIR_WANTING:
        if (repairs->call == NULL && !ask(repairs)) {
            err = repairs->replica->repair_peer_err;
            fail_turn(repairs, err == RIA_OK ? RIA_ERR_NOT_FOUND : err);
            break;
        }
        return; /* the answer wakes us */
    case LOG_REPAIR_DONE:
        finish_turn(repairs);
        break;
    case LOG_REPAIR_SYNCING:
    case LOG_REPAIR_READY:
        next_us = SYNC_POLL_US;
        err = log_repair_step(repairs->repair);
        break;
    case LOG_REPAIR_CHECKING:
    case LOG_REPAIR_COPYING:
        err = log_repair_step(repairs->repair);
        break;
    }
    if (err == RIA_ERR_CORRUPT && repairs->repair != NULL) {
        begin_again(repairs);
    } else if (err != RIA_OK && repairs->repair != NULL) {
        fail_turn(repairs, err);
    }
    wake_in(repairs, next_us);
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct repairs *repairs = arg;

    (void)timer;
    if (repairs->ending != NULL) {
        if (log_repair_is_syncing(repairs->ending)) {
            wake_in(repairs, SYNC_POLL_US);
            return;
        }
        log_repair_free(RIA_STEAL(&repairs->ending));
    }
    if (repairs->stopped) {
        return;
    }
    if (repairs->repair == NULL) {
        begin_turn(repairs);
    } else {
        work(repairs);
    }
}

/* ---- from outside ---- */

ria_err repairs_new(struct storage *s, struct repairs **out_repairs)
{
    struct repairs *repairs = calloc(1, sizeof(*repairs));

    if (repairs == NULL) {
        return RIA_ERR_NOMEM;
    }
    repairs->storage = s;
    ria_list_init(&repairs->queue);
    ria_timer_init(&repairs->timer, on_due, repairs);
    *out_repairs = repairs;
    return RIA_OK;
}

void repairs_free(struct repairs *repairs)
{
    if (repairs == NULL) {
        return;
    }
    repairs_stop(repairs);
    ria_timer_stop(repairs->storage->env->timers, &repairs->timer);
    log_repair_free(repairs->ending);
    while (ria_list_pop_front(&repairs->queue) != NULL) {
    }
    free(repairs);
}

void repairs_want(struct repairs *repairs, struct replica *replica)
{
    if (repairs->stopped || ria_list_is_linked(&replica->repair_link)) {
        return;
    }
    ria_list_push_back(&repairs->queue, &replica->repair_link);
    if (!repairs->timer.active && repairs->call == NULL) {
        wake_in(repairs, 0);
    }
}

void repairs_forget(struct repairs *repairs, struct replica *replica)
{
    ria_list_remove(&replica->repair_link);
    if (repairs->replica == replica) {
        end_turn(repairs);
        wake_in(repairs, 0);
    }
}

void repairs_stop(struct repairs *repairs)
{
    repairs->stopped = true;
    if (repairs->repair != NULL) {
        end_turn(repairs);
    }
    if (repairs->ending != NULL) {
        wake_in(repairs, SYNC_POLL_US);
    }
}

bool repairs_is_busy(const struct repairs *repairs)
{
    return repairs->ending != NULL;
}
