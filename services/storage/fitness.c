#include "services/storage/fitness.h"

#include <stdlib.h>

#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/report_replicas_response.h"

#include "services/storage/storage.h"

enum {
    REPORT_REPLICAS_MAX = 1000, /* of one call; the rest follows */
    REPORT_CALL_MS = 2000,
    REPORT_DELAY_MS_MIN = 100, /* after a failure; doubles */
    REPORT_DELAY_MS_MAX = 2000,
};

typedef struct report_replicas_request_reported_replica reported;

/* A call under way. Outlives the service if that is freed first: then fitness is NULL. */
struct report_call {
    struct fitness *fitness;
    uint32_t count;
    reported replicas[];
};

struct fitness {
    struct storage *storage;
    struct ria_timer timer;
    struct ria_list pending; /* replica.fitness_link: to be told */
    struct report_call *call;
    uint32_t delay_ms;
    ria_err err; /* last one logged */
};

fitness_state fitness_of(const struct replica *replica)
{
    const struct partition_log *log = replica->partition.log;

    if (replica->state == REPLICA_FAILED || (log != NULL && partition_log_has_failed(log))) {
        return FITNESS_FAILED;
    }
    bool is_damaged = log != NULL && (partition_log_is_damaged(log) ||
                                      partition_has_impossible_epoch(&replica->partition));
    return is_damaged ? FITNESS_DAMAGED : FITNESS_FIT;
}

/* What the coordinator believes, by this node's last acknowledged word or by its metadata. */
static bool is_told(const struct replica *replica)
{
    const struct storage *s = replica->storage;
    const struct partition_id *id = &replica->partition.id;
    const struct cluster_partition *assigned =
        cluster_partition(s->cluster, &id->topic_id, partition_id_number(id));
    fitness_state state = fitness_of(replica);

    if (assigned == NULL || !storage_is_assigned(s, assigned)) {
        return true; /* no replica (any more): nobody asks */
    }
    bool is_unfit = cluster_nodes_has(&assigned->unfit, s->identity.node_id);

    return state == replica->fitness_told && is_unfit == (state != FITNESS_FIT);
}

static void add(struct fitness *fitness, struct replica *replica)
{
    if (replica->state == REPLICA_OPENING || replica->state == REPLICA_REMOVING ||
        ria_list_is_linked(&replica->fitness_link)) {
        return;
    }
    ria_list_push_back(&fitness->pending, &replica->fitness_link);
    if (!fitness->timer.active && fitness->call == NULL) {
        ria_timer_start(fitness->storage->env->timers, &fitness->timer, 0);
    }
}

void storage_report_fitness(struct replica *replica)
{
    if (replica->storage->fitness != NULL && !is_told(replica)) {
        add(replica->storage->fitness, replica);
    }
}

void fitness_repeat(struct fitness *fitness)
{
    RIA_LIST_FOREACH (node, &fitness->storage->replicas) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        if (fitness_of(replica) != FITNESS_FIT) {
            add(fitness, replica);
        }
    }
    if (!ria_list_is_empty(&fitness->pending) && fitness->call == NULL) {
        ria_timer_start(fitness->storage->env->timers, &fitness->timer, 0);
    }
}

/* ---- the call ---- */

static ria_err open_answer(struct storage *s, struct ria_msg *reply)
{
    struct report_replicas_response response;

    ria_arena_reset(&s->arena);
    return envelope_read_reply(reply, API_REPORT_REPLICAS, &s->arena, &response, NULL, NULL, 0);
}

/* What was said is known, or has to be said again. */
static void take_answer(struct fitness *fitness, const struct report_call *call, ria_err err)
{
    struct storage *s = fitness->storage;

    for (uint32_t i = 0; i < call->count; i++) {
        struct replica *replica =
            storage_find(s, &call->replicas[i].topic_id, call->replicas[i].partition);
        if (replica == NULL) {
            continue;
        }
        if (err == RIA_OK) {
            replica->fitness_told = (fitness_state)call->replicas[i].state;
        }
        if (err != RIA_OK || replica->fitness_told != fitness_of(replica)) {
            add(fitness, replica);
        }
    }
}

static void retry(struct fitness *fitness, ria_err err)
{
    struct storage *s = fitness->storage;

    if (err != fitness->err) { /* once per reason */
        fitness->err = err;
        ria_log_warn(s->env->log, "storage.report_failed", "err=\"%s\"", ria_err_text(err));
    }
    int64_t delay_ms = fitness->delay_ms;
    fitness->delay_ms = (uint32_t)ria_min_i64(delay_ms * 2, REPORT_DELAY_MS_MAX);
    int64_t delay_us =
        delay_ms * 500 + (int64_t)ria_rand_below(s->env->rand, (uint64_t)delay_ms * 500 + 1);
    ria_timer_start(s->env->timers, &fitness->timer, delay_us);
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct report_call *call = arg;
    struct fitness *fitness = call->fitness;

    if (fitness == NULL) {
        ria_msg_free(reply);
        free(call);
        return;
    }
    struct storage *s = fitness->storage;
    fitness->call = NULL;
    if (err == RIA_OK) {
        err = open_answer(s, reply);
        ria_msg_free(reply);
    }
    if (err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED || err == RIA_ERR_NOT_LEADER ||
        err == RIA_ERR_NO_LEADER) {
        cluster_coordinator_failed(s->cluster);
    }
    take_answer(fitness, call, err);
    free(call);
    if (err != RIA_OK) {
        retry(fitness, err);
        return;
    }
    fitness->err = RIA_OK;
    fitness->delay_ms = REPORT_DELAY_MS_MIN;
    if (!ria_list_is_empty(&fitness->pending)) {
        ria_timer_start(s->env->timers, &fitness->timer, 0);
    }
}

static struct report_call *gather(struct fitness *fitness)
{
    struct report_call *call =
        malloc(sizeof(*call) + REPORT_REPLICAS_MAX * sizeof(call->replicas[0]));
    struct ria_list *node = NULL;

    if (call == NULL) {
        return NULL;
    }
    *call = (struct report_call){.fitness = fitness};
    while (call->count < REPORT_REPLICAS_MAX &&
           (node = ria_list_pop_front(&fitness->pending)) != NULL) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, fitness_link);
        reported *out = &call->replicas[call->count];
        if (replica->state == REPLICA_OPENING || replica->state == REPLICA_REMOVING) {
            continue;
        }
        report_replicas_request_reported_replica_init(out);
        out->topic_id = replica->partition.id.topic_id;
        out->partition = partition_id_number(&replica->partition.id);
        out->state = (int8_t)fitness_of(replica);
        call->count++;
    }
    return call;
}

static void send(struct fitness *fitness)
{
    struct storage *s = fitness->storage;
    struct report_call *call = gather(fitness);

    if (call == NULL) {
        retry(fitness, RIA_ERR_NOMEM);
        return;
    }
    if (call->count == 0) {
        free(call);
        return;
    }
    struct report_replicas_request request = {
        .node_id = s->identity.node_id,
        .incarnation = s->incarnation,
        .replicas = call->replicas,
        .replicas_count = call->count,
    };
    struct ria_msg *msg = envelope_request(
        API_REPORT_REPLICAS,
        REPORT_REPLICAS_REQUEST_VERSION_MAX,
        s->identity.node_id,
        REPORT_CALL_MS,
        &request,
        0,
        NULL
    );
    if (msg == NULL) {
        take_answer(fitness, call, RIA_ERR_NOMEM);
        free(call);
        retry(fitness, RIA_ERR_NOMEM);
        return;
    }
    fitness->call = call;
    ria_rpc_call(
        s->env->rpc, cluster_coordinator(s->cluster), msg, REPORT_CALL_MS, on_answer, call
    );
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct fitness *fitness = arg;

    (void)timer;
    if (fitness->call == NULL && fitness->storage->registered && !fitness->storage->stopping) {
        send(fitness);
    }
}

/* ---- life ---- */

ria_err fitness_new(struct storage *s, struct fitness **out_fitness)
{
    struct fitness *fitness = calloc(1, sizeof(*fitness));

    if (fitness == NULL) {
        return RIA_ERR_NOMEM;
    }
    fitness->storage = s;
    fitness->delay_ms = REPORT_DELAY_MS_MIN;
    ria_list_init(&fitness->pending);
    ria_timer_init(&fitness->timer, on_due, fitness);
    *out_fitness = fitness;
    return RIA_OK;
}

void fitness_free(struct fitness *fitness)
{
    if (fitness == NULL) {
        return;
    }
    if (fitness->call != NULL) {
        fitness->call->fitness = NULL;
    }
    ria_timer_stop(fitness->storage->env->timers, &fitness->timer);
    while (ria_list_pop_front(&fitness->pending) != NULL) {
    }
    free(fitness);
}
