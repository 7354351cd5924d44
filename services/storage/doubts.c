#include "services/storage/doubts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_doubt.h"
#include "services/storage/range_call.h"
#include "services/storage/storage.h"

enum {
    STEP_US = 2000,      /* between two questions: other work comes first */
    QUIET_MS = 100,      /* a sync is in the way */
    RETRY_MS_MIN = 1000, /* nobody answers; doubles */
    RETRY_MS_MAX = 60 * 1000,
};

struct doubts {
    struct storage *storage;
    struct ria_timer timer;
    struct ria_list queue; /* replica.doubt_link */
    bool stopped;

    struct replica *replica; /* whose turn it is, the first in the queue; NULL: nobody's */
    struct log_doubt doubt;
    bool comparing;          /* doubt is known; else the history is asked for */
    struct range_call *call; /* the question under way */
};

static void wake_in(struct doubts *doubts, int64_t us)
{
    ria_timer_start(doubts->storage->env->timers, &doubts->timer, us);
}

/* ---- the end of a turn ---- */

static void end_turn(struct doubts *doubts)
{
    range_call_forget(RIA_STEAL(&doubts->call));
    if (doubts->comparing) {
        log_doubt_fini(&doubts->doubt);
    }
    doubts->comparing = false;
    doubts->replica = NULL;
    wake_in(doubts, STEP_US);
}

/* It is known what there was to know, or that it cannot be known. */
static void finish_turn(struct doubts *doubts)
{
    ria_list_remove(&doubts->replica->doubt_link);
    doubts->replica->doubt_failures = 0;
    end_turn(doubts);
}

static void ask_again_in(struct doubts *doubts, int64_t ms)
{
    struct replica *replica = doubts->replica;

    replica->doubt_us = ria_clock_mono_us(doubts->storage->env->clock) + ms * 1000;
    ria_list_remove(&replica->doubt_link);
    ria_list_push_back(&doubts->queue, &replica->doubt_link);
    end_turn(doubts);
}

static void fail_turn(struct doubts *doubts)
{
    uint32_t failures = doubts->replica->doubt_failures++;

    ask_again_in(
        doubts, ria_min_i64((int64_t)RETRY_MS_MIN << ria_min_i64(failures, 6), RETRY_MS_MAX)
    );
}

static void log_settled(const struct doubts *doubts)
{
    const struct partition_id *id = &doubts->replica->partition.id;
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(id->topic_id, text);
    ria_log_warn(
        doubts->storage->env->log,
        "storage.epochs_corrected",
        "topic=%s partition=%d from=%" PRId64 " to=%" PRId64,
        text,
        partition_id_number(id),
        doubts->doubt.from_offset,
        doubts->doubt.to_offset
    );
}

/* ---- answers ---- */

static bool is_quiet(const struct partition_log *log)
{
    return !partition_log_is_syncing(log) &&
           partition_log_synced_offset(log) == partition_log_end_offset(log);
}

/* The leader's end is newer than this process. False: not now. */
static bool hear_end(struct replica *replica, const struct range_fetch_response *response)
{
    struct partition *p = &replica->partition;

    if (partition_log_lost_offset(p->log) == 0 || response->leader_epoch < 0 ||
        response->leader_epoch != p->prepared_epoch) {
        return true; /* a prepare comes first, and asks again */
    }
    if (!is_quiet(p->log)) {
        return false;
    }
    ria_err err = partition_log_truncate(
        p->log, ria_max_i64(partition_log_end_offset(p->log), response->end_offset)
    );
    storage_mark_changed(replica);
    storage_report_fitness(replica);
    storage_apply_again(replica);
    return err == RIA_OK || err == RIA_ERR_IO;
}

static void take_history(struct doubts *doubts, const struct range_fetch_response *response)
{
    struct replica *replica = doubts->replica;
    struct leader_epoch_entry *epochs = NULL;

    if (range_call_epochs(doubts->storage, response, &epochs) != RIA_OK) {
        fail_turn(doubts);
        return;
    }
    if (!hear_end(replica, response)) {
        ask_again_in(doubts, QUIET_MS);
        return;
    }
    doubts->comparing = log_doubt_find(
        replica->partition.log,
        epochs,
        response->epochs_count,
        response->high_watermark,
        &doubts->doubt
    );
    if (!doubts->comparing) {
        finish_turn(doubts);
    }
}

static void take_batches(struct doubts *doubts, struct ria_slice batches)
{
    struct replica *replica = doubts->replica;
    struct partition_log *log = replica->partition.log;
    struct log_doubt *doubt = &doubts->doubt;

    if (batches.size == 0) {
        finish_turn(doubts); /* cut off meanwhile */
        return;
    }
    ria_err err = log_doubt_compare(log, doubt, batches);
    if (err == RIA_OK && doubt->next_offset < doubt->to_offset) {
        return;
    }
    if (err == RIA_OK) {
        err = log_doubt_settle(log, doubt);
    }
    if (err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT || err == RIA_ERR_NO_SPACE) {
        fail_turn(doubts);
        return;
    }
    if (err != RIA_OK) {
        finish_turn(doubts); /* they are other records: an operator has to choose */
        return;
    }
    log_settled(doubts);
    storage_report_fitness(replica);
    ask_again_in(doubts, 0); /* there may be another */
}

static void on_answer(
    void *arg, ria_err err, const struct range_fetch_response *response, struct ria_slice batches
)
{
    struct doubts *doubts = arg;

    doubts->call = NULL;
    if (err != RIA_OK) {
        fail_turn(doubts);
    } else if (doubts->comparing) {
        take_batches(doubts, batches);
    } else {
        take_history(doubts, response);
    }
    wake_in(doubts, STEP_US);
}

/* ---- questions ---- */

/* The leader; another replica if this node leads, or nobody does. NULL: nobody can be asked. */
static const struct cluster_node *peer_of(const struct storage *s, const struct partition_id *id)
{
    const struct cluster_partition *assigned =
        cluster_partition(s->cluster, &id->topic_id, partition_id_number(id));
    int32_t self = s->identity.node_id;

    if (assigned == NULL) {
        return NULL;
    }
    if (assigned->leader >= 0 && assigned->leader != self) {
        return cluster_node(s->cluster, assigned->leader);
    }
    for (uint32_t i = 0; i < assigned->replica_count; i++) {
        if (assigned->replicas[i] != self) {
            return cluster_node(s->cluster, assigned->replicas[i]);
        }
    }
    return NULL;
}

static void ask(struct doubts *doubts)
{
    struct storage *s = doubts->storage;
    const struct partition_id *id = &doubts->replica->partition.id;
    const struct cluster_node *node = peer_of(s, id);
    struct range_fetch_request request = {
        .topic_id = id->topic_id,
        .partition = partition_id_number(id),
        .from_offset = doubts->comparing ? doubts->doubt.next_offset : INT64_MAX,
        .to_offset = doubts->comparing ? doubts->doubt.to_offset : INT64_MAX,
    };

    if (node != NULL) {
        doubts->call = range_call_start(s, node, &request, on_answer, doubts);
    }
    if (doubts->call == NULL) {
        fail_turn(doubts);
    }
}

static void begin_turn(struct doubts *doubts)
{
    int64_t now_us = ria_clock_mono_us(doubts->storage->env->clock);
    int64_t next_us = INT64_MAX;

    RIA_LIST_FOREACH (node, &doubts->queue) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, doubt_link);
        if (replica->state != REPLICA_OPEN || partition_log_has_failed(replica->partition.log)) {
            ria_list_remove(node);
        } else if (replica->doubt_us > now_us) {
            next_us = ria_min_i64(next_us, replica->doubt_us);
        } else {
            doubts->replica = replica;
            ask(doubts);
            return;
        }
    }
    if (next_us != INT64_MAX) {
        wake_in(doubts, next_us - now_us);
    }
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct doubts *doubts = arg;

    (void)timer;
    if (doubts->stopped || doubts->call != NULL) {
        return;
    }
    if (doubts->replica == NULL) {
        begin_turn(doubts);
    } else {
        ask(doubts);
    }
}

/* ---- from outside ---- */

ria_err doubts_new(struct storage *s, struct doubts **out_doubts)
{
    struct doubts *doubts = calloc(1, sizeof(*doubts));

    if (doubts == NULL) {
        return RIA_ERR_NOMEM;
    }
    doubts->storage = s;
    ria_list_init(&doubts->queue);
    ria_timer_init(&doubts->timer, on_due, doubts);
    *out_doubts = doubts;
    return RIA_OK;
}

void doubts_stop(struct doubts *doubts)
{
    doubts->stopped = true;
    end_turn(doubts);
    ria_timer_stop(doubts->storage->env->timers, &doubts->timer);
}

void doubts_free(struct doubts *doubts)
{
    if (doubts == NULL) {
        return;
    }
    doubts_stop(doubts);
    while (ria_list_pop_front(&doubts->queue) != NULL) {
    }
    free(doubts);
}

void doubts_want(struct doubts *doubts, struct replica *replica)
{
    if (doubts->stopped) {
        return;
    }
    if (!ria_list_is_linked(&replica->doubt_link)) {
        replica->doubt_us = 0;
        ria_list_push_back(&doubts->queue, &replica->doubt_link);
    }
    if (!doubts->timer.active && doubts->call == NULL) {
        wake_in(doubts, 0);
    }
}

void doubts_forget(struct doubts *doubts, struct replica *replica)
{
    ria_list_remove(&replica->doubt_link);
    if (doubts->replica == replica) {
        end_turn(doubts);
    }
}
