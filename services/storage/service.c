#include "services/storage/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/storage/log_path.h"
#include "services/storage/storage.h"

/* ---- timers ---- */

static void on_flush_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_flush(arg);
}

static void on_relaxed_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_sync_relaxed(arg);
}

static void on_tick_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_tick(arg);
}

static void on_open_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_open_step(arg);
}

static void on_checkpoint_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_checkpoint(arg);
}

static void on_prepare_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_prepare_step(arg);
}

static void on_drain_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_drain_step(arg);
}

static void on_register_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    storage_register(arg);
}

/* ---- metadata ---- */

static void on_node(void *arg, struct cluster_node *node)
{
    struct storage *s = arg;

    if (!s->stopped) {
        storage_note_node(s, node);
    }
}

static void on_topic(void *arg, struct cluster_topic *topic)
{
    struct storage *s = arg;

    if (s->stopped) {
        return;
    }
    if (topic->deleted) {
        storage_remove_topic(s, topic);
    } else {
        storage_configure(s, topic);
    }
}

static void on_partition(void *arg, struct cluster_partition *assigned)
{
    struct storage *s = arg;

    if (!s->stopped) {
        storage_assign(s, assigned);
    }
}

static void on_metadata(void *arg)
{
    struct storage *s = arg;

    if (s->stopped) {
        return;
    }
    if (!s->scanned) {
        s->scanned = true;
        storage_scan_folders(s);
        storage_settle_lost(s);
        scrub_start(s->scrub);
    }
    storage_note_ready(s);
}

static const struct cluster_callbacks cluster_callbacks = {
    .node = on_node,
    .topic = on_topic,
    .partition = on_partition,
    .done = on_metadata,
};

static void on_membership(void *arg, const struct membership_state *state)
{
    struct storage *s = arg;

    if (!state->registered && s->registered) {
        storage_register(s); /* the same incarnation: no epoch changes */
    }
}

static bool is_full(void *arg)
{
    struct storage *s = arg;

    return data_dirs_are_full(&s->dirs);
}

/* ---- life ---- */

void storage_fatal(struct storage *s, const char *fmt, ...)
{
    char reason[STORAGE_REASON_MAX];
    va_list args;

    if (s->is_fatal) {
        return;
    }
    s->is_fatal = true;
    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    s->on_fatal(s->fatal_arg, reason);
}

bool storage_is_ready(const struct storage *s)
{
    if (!s->registered || !s->scanned) {
        return false;
    }
    for (const struct ria_list *it = s->replicas.next; it != &s->replicas; it = it->next) {
        if (replica_at(it)->state == REPLICA_OPENING) {
            return false;
        }
    }
    return true;
}

void storage_note_ready(struct storage *s)
{
    if (!s->ready_logged && storage_is_ready(s)) {
        s->ready_logged = true;
        ria_log_info(
            s->env->log,
            "storage.ready",
            "node=%d replicas=%lld leaders=%lld",
            s->identity.node_id,
            (long long)s->metrics.replicas.value,
            (long long)storage_count_leaders(s)
        );
    }
}

int32_t storage_node_id(const struct storage *s)
{
    return s->identity.node_id;
}

static void refresh_metrics(void *arg)
{
    struct storage *s = arg;

    s->metrics.leaders.value = storage_count_leaders(s);
    s->metrics.parked.value = (int64_t)s->parked.count + s->fetch_sessions.parked_count;
    s->metrics.waiting_produces.value = s->ack_count;
    s->metrics.waiting_bytes.value = (int64_t)s->ack_bytes;
    s->metrics.damaged_replicas.value = 0;
    RIA_LIST_FOREACH (node, &s->replicas) {
        const struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        bool damaged = fitness_of(replica) == FITNESS_DAMAGED;
        s->metrics.damaged_replicas.value += damaged ? 1 : 0;
    }
}

void storage_register_metrics(struct storage *s, struct ria_metrics *metrics)
{
    ria_metrics_add_refresh(metrics, refresh_metrics, s);
    storage_metrics_register(&s->metrics, metrics);
    log_metrics_register(segment_cache_metrics(s->cache), metrics);
}

static ria_err copy_options(struct storage *s, const struct storage_options *options)
{
    s->data_dir = strdup(options->data_dir);
    s->address = strdup(options->address);
    s->rack = strdup(options->rack);
    return s->data_dir == NULL || s->address == NULL || s->rack == NULL ? RIA_ERR_NOMEM : RIA_OK;
}

static void init(struct storage *s, const struct ria_env *env)
{
    s->env = env;
    ria_map_init(&s->by_id);
    ria_list_init(&s->orphans);
    ria_list_init(&s->replicas);
    ria_list_init(&s->opening);
    ria_list_init(&s->removing);
    ria_list_init(&s->dirty);
    ria_list_init(&s->relaxed);
    ria_list_init(&s->ticking);
    ria_list_init(&s->changed);
    ria_list_init(&s->proposals);
    ria_list_init(&s->prepares);
    ria_list_init(&s->unsure);
    ria_arena_init(&s->arena, STORAGE_ARENA_MAX);
    ria_timer_init(&s->register_timer, on_register_due, s);
    ria_timer_init(&s->flush_timer, on_flush_due, s);
    ria_timer_init(&s->tick_timer, on_tick_due, s);
    ria_timer_init(&s->relaxed_timer, on_relaxed_due, s);
    ria_timer_init(&s->open_timer, on_open_due, s);
    ria_timer_init(&s->checkpoint_timer, on_checkpoint_due, s);
    ria_timer_init(&s->drain_timer, on_drain_due, s);
    ria_timer_init(&s->prepare_timer, on_prepare_due, s);
}

static ria_err new_parts(struct storage *s, const struct storage_options *options)
{
    struct membership_identity identity = {
        .process_uuid = s->identity.node_uuid,
        .role = PROCESS_STORAGE,
    };
    const struct ria_env *env = s->env;

    (void)snprintf(identity.address, sizeof(identity.address), "%s", options->address);
    (void)snprintf(identity.rack, sizeof(identity.rack), "%s", options->rack);
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        struct data_dir *dir = &s->dirs.items[i];
        if (!dir->failed) {
            RIA_TRY(checkpoint_writer_init(
                &dir->writer, env, dir->path, storage_on_checkpoint_written, dir
            ));
            dir->writer_ready = true;
            storage_forget_removed(s, dir);
            storage_begin_marks(s, dir);
        }
    }
    RIA_TRY(fitness_new(s, &s->fitness));
    RIA_TRY(repairs_new(s, &s->repairs));
    RIA_TRY(doubts_new(s, &s->doubts));
    RIA_TRY(tails_new(s, &s->tails));
    RIA_TRY(scrub_new(s, options->scrub_period_ms, options->scrub_rate, &s->scrub));
    RIA_TRY(segment_cache_new(env->fs, (uint32_t)options->open_segments, &s->cache));
    RIA_TRY(cluster_new(env, options->coordinator, &cluster_callbacks, s, &s->cluster));
    RIA_TRY(membership_new(env, s->cluster, &identity, on_membership, s, &s->membership));
    membership_ask_full(s->membership, is_full, s);
    confirm_init(&s->confirm, env, s->cluster);
    return RIA_OK;
}

static void on_parked_ready(void *arg)
{
    storage_want_flush(arg);
}

ria_err storage_new(
    const struct ria_env *env,
    const struct storage_options *options,
    storage_fatal_fn on_fatal,
    void *arg,
    char reason[STORAGE_REASON_MAX],
    struct storage **out_storage
)
{
    (void)snprintf(reason, STORAGE_REASON_MAX, "%s", ria_err_text(RIA_ERR_NOMEM));
    struct storage *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return RIA_ERR_NOMEM;
    }
    init(s, env);
    s->on_fatal = on_fatal;
    s->fatal_arg = arg;
    parked_set_init(&s->parked, env, on_parked_ready, s);
    fetch_sessions_init(&s->fetch_sessions, env, storage_answer_fetch, on_parked_ready, s);

    ria_err err = copy_options(s, options);
    if (err == RIA_OK) {
        struct data_dirs_options dirs = {
            .paths = s->data_dir,
            .forget_missing = options->forget_missing_dirs,
            .disk_reserve = options->disk_reserve,
        };
        err = data_dirs_open(&s->dirs, env, &dirs, &s->identity, reason, STORAGE_REASON_MAX);
    }
    if (err == RIA_OK) {
        err = new_parts(s, options);
        (void)snprintf(
            reason,
            STORAGE_REASON_MAX,
            err == RIA_ERR_INVALID ? "--coordinator: must be tcp://host:port, or several of them "
                                     "separated by commas"
                                   : "cannot start in data folder %s: %s",
            s->data_dir,
            ria_err_text(err)
        );
    }
    if (err != RIA_OK) {
        storage_free(s);
        return err;
    }
    ria_rpc_set_handler(env->rpc, storage_on_request, s);
    *out_storage = s;
    return RIA_OK;
}

void storage_count_start(struct storage *s)
{
    data_dirs_count_start(&s->dirs, &s->identity);
    s->incarnation = (s->identity.starts << IDENTITY_START_SHIFT) |
                     (int64_t)(ria_rand_u64(s->env->rand) >> (64 - IDENTITY_START_SHIFT));
    membership_set_incarnation(s->membership, s->incarnation);
}

void storage_start(struct storage *s)
{
    storage_count_start(s);
    storage_register(s);
}

static void free_replicas(struct storage *s)
{
    RIA_LIST_FOREACH (node, &s->replicas) {
        partition_resign(&RIA_CONTAINER(node, struct replica, link)->partition);
    }
    fetch_sessions_close(&s->fetch_sessions);
    parked_close(&s->parked);
    storage_end_prepares(s); /* of which one may have been parked, and due */
    while (!ria_list_is_empty(&s->replicas)) {
        struct replica *replica = RIA_CONTAINER(s->replicas.next, struct replica, link);
        partition_log_free(replica->partition.log);
        storage_replica_free(replica);
    }
}

void storage_free(struct storage *s)
{
    if (s == NULL) {
        return;
    }
    struct ria_timers *timers = s->env->timers;

    storage_forget_registration(s);
    storage_forget_handover(s);
    storage_forget_proposals(s);
    s->freeing = true; /* nobody is answered any more */
    storage_end_unsure(s);
    if (s->confirm.env != NULL) {
        confirm_fini(&s->confirm);
    }
    membership_free(s->membership);
    fitness_free(RIA_STEAL(&s->fitness));
    cluster_free(s->cluster);
    if (s->repairs != NULL) {
        repairs_stop(s->repairs);
    }
    if (s->doubts != NULL) {
        doubts_stop(s->doubts);
    }
    if (s->tails != NULL) {
        tails_stop(s->tails);
    }
    free_replicas(s);
    repairs_free(s->repairs);
    doubts_free(s->doubts);
    tails_free(s->tails);
    scrub_free(s->scrub);
    fetch_sessions_fini(&s->fetch_sessions);
    storage_forget_orphans(s);
    parked_set_fini(&s->parked);
    ria_timer_stop(timers, &s->register_timer);
    ria_timer_stop(timers, &s->flush_timer);
    ria_timer_stop(timers, &s->tick_timer);
    ria_timer_stop(timers, &s->relaxed_timer);
    ria_timer_stop(timers, &s->open_timer);
    ria_timer_stop(timers, &s->checkpoint_timer);
    ria_timer_stop(timers, &s->drain_timer);
    segment_cache_free(s->cache);
    data_dirs_close(&s->dirs);
    ria_map_fini(&s->by_id);
    ria_arena_fini(&s->arena);
    free(s->data_dir);
    free(s->address);
    free(s->rack);
    free(s);
}
