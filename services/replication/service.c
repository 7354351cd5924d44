#include "services/replication/service.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/map.h"

#include "services/replication/internal.h"

enum {
    TICK_US = 50 * 1000,
    APART_US = 1000 * 1000,
};

/* ---- helpers for the peers ---- */

void replication_flush_later(struct peer *peer)
{
    struct replication *service = peer->service;

    if (!ria_list_is_linked(&peer->flush_link)) {
        ria_list_push_back(&service->dirty_peers, &peer->flush_link);
    }
    if (!service->flush_timer.active) {
        ria_timer_start(service->env->timers, &service->flush_timer, 0);
    }
}

void replication_retry_later(struct feed *feed)
{
    struct replication *service = feed->leader->service;

    if (!feed->stopped && !ria_list_is_linked(&feed->retry_link)) {
        ria_list_push_back(&service->retries, &feed->retry_link);
    }
    if (!service->retry_timer.active) {
        ria_timer_start(service->env->timers, &service->retry_timer, TICK_US);
    }
}

const char *replication_address(const struct replication *service, const struct peer *peer)
{
    const struct cluster_node *node = cluster_node(service->cluster, peer->node);

    return node == NULL || node->address[0] == '\0' ? NULL : node->address;
}

static void on_flush(struct ria_timer *timer, void *arg)
{
    struct replication *service = arg;
    struct ria_list dirty;

    (void)timer;
    /* A flush may mark peers dirty again: they wait for the next turn. */
    ria_list_init(&dirty);
    ria_list_splice(&dirty, &service->dirty_peers);
    while (!ria_list_is_empty(&dirty)) {
        peer_flush(RIA_CONTAINER(ria_list_pop_front(&dirty), struct peer, flush_link));
    }
}

/* Those whose time has come and whose node can be reached, as far as is known. True: others wait.
 */
static bool retry_followers(struct feed *feed, int64_t now_us)
{
    bool waiting = false;

    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        if (follower->state == FOLLOWER_WAITING && follower->retry_at_us <= now_us &&
            peer_may_retry(follower->peer)) {
            (void)follower_retry(follower, now_us);
        }
        waiting = waiting || follower->state == FOLLOWER_WAITING;
    }
    return waiting;
}

void replication_throttled(struct replication *service, int64_t wait_us)
{
    if (!service->throttle_timer.active) {
        ria_timer_start(service->env->timers, &service->throttle_timer, wait_us);
    }
}

static void on_throttle_due(struct ria_timer *timer, void *arg)
{
    struct replication *service = arg;

    (void)timer;
    RIA_LIST_FOREACH (it, &service->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        if (!ria_list_is_empty(&peer->far)) {
            replication_flush_later(peer);
        }
    }
    /* The first of them takes most: the next time it is another's turn. */
    if (!ria_list_is_empty(&service->peers)) {
        struct ria_list *first = ria_list_pop_front(&service->peers);
        ria_list_push_back(&service->peers, first);
    }
}

static void on_tick(struct ria_timer *timer, void *arg)
{
    struct replication *service = arg;
    int64_t now_us = ria_clock_mono_us(service->env->clock);
    struct ria_list due;

    (void)timer;
    ria_list_init(&due);
    ria_list_splice(&due, &service->retries);
    while (!ria_list_is_empty(&due)) {
        struct feed *feed = RIA_CONTAINER(ria_list_pop_front(&due), struct feed, retry_link);
        bool again = peer_tell_watermark(feed);
        again = retry_followers(feed, now_us) || again;
        again = again || feed->leader->fetch_retry_at_us > now_us;
        peer_consider(feed);
        replication_flush_later(feed->leader);
        if (again) {
            replication_retry_later(feed);
        }
    }
}

/* ---- leases ---- */

static struct peer *get_peer(struct replication *service, int32_t node)
{
    RIA_LIST_FOREACH (it, &service->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        if (peer->node == node) {
            return peer;
        }
    }
    struct peer *peer = peer_new(service, node);
    if (peer != NULL) {
        ria_list_push_back(&service->peers, &peer->link);
    }
    return peer;
}

static struct feed *
start_feed(struct replication *service, const struct cluster_partition *partition)
{
    struct peer *leader = get_peer(service, partition->leader);
    struct feed *feed;

    if (leader == NULL) {
        return NULL;
    }
    feed = feed_new(&partition->topic->id, partition->number, partition->leader_epoch, leader);
    if (feed == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        int32_t node = partition->replicas[i];
        struct peer *peer = node == partition->leader ? NULL : get_peer(service, node);
        if (peer != NULL) {
            feed_add_follower(feed, node, peer, &peer->window);
            feed->followers[feed->follower_count - 1].unfit =
                cluster_nodes_has(&partition->unfit, node);
        }
    }
    ria_list_push_back(&leader->feeds, &feed->feed_link);
    service->metrics.feeds.value++;
    peer_consider(feed);
    return feed;
}

static bool same_replicas(const struct feed *feed, const struct cluster_partition *partition)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < partition->replica_count; i++) {
        for (uint32_t f = 0; f < feed->follower_count; f++) {
            found += feed->followers[f].node == partition->replicas[i];
        }
    }
    return found == feed->follower_count && partition->replica_count == found + 1;
}

/* A replica that is called unfit may not have what it said it had, and its leader does not count
 * that any more: where it stands is found out and told anew, else nobody would while nothing is
 * produced. The same when it is fit again, for the leader may have heard that it was unfit after
 * the report.
 */
static void follow_fitness(struct feed *feed, const struct cluster_partition *partition)
{
    for (uint32_t i = 0; i < feed->follower_count; i++) {
        struct follower *follower = &feed->followers[i];
        bool unfit = cluster_nodes_has(&partition->unfit, follower->node);
        if (unfit != follower->unfit) {
            follower->unfit = unfit;
            peer_fail_follower(follower);
        }
    }
}

/* A leader may forget a report after it has come, when its metadata is late. Where nothing is
 * produced nobody would tell it again, so those who are not in sync are reported every second. */
static void report_apart(struct ria_timer *timer, void *arg)
{
    struct replication *service = arg;

    RIA_LIST_FOREACH (it, &service->apart) {
        struct feed *feed = RIA_CONTAINER(it, struct feed, apart_link);
        for (uint32_t i = 0; i < feed->follower_count; i++) {
            struct follower *follower = &feed->followers[i];
            if (!follower->in_sync && follower->state == FOLLOWER_READY &&
                !ria_list_is_linked(&follower->report_link)) {
                ria_list_push_back(&feed->leader->reports, &follower->report_link);
                replication_flush_later(feed->leader);
            }
        }
    }
    if (!ria_list_is_empty(&service->apart)) {
        ria_timer_start(service->env->timers, timer, APART_US);
    }
}

static bool is_in_sync(const struct cluster_partition *partition, int32_t node)
{
    for (uint32_t i = 0; i < partition->isr_count; i++) {
        if (partition->isr[i] == node) {
            return true;
        }
    }
    return false;
}

static void note_in_sync(
    struct replication *service, struct feed *feed, const struct cluster_partition *partition
)
{
    bool all = true;

    for (uint32_t i = 0; i < feed->follower_count; i++) {
        feed->followers[i].in_sync = is_in_sync(partition, feed->followers[i].node);
        all = all && feed->followers[i].in_sync;
    }
    ria_list_remove(&feed->apart_link);
    if (all) {
        return;
    }
    ria_list_push_back(&service->apart, &feed->apart_link);
    if (!service->apart_timer.active) {
        ria_timer_start(service->env->timers, &service->apart_timer, APART_US);
    }
}

/* Make what runs for this partition what metadata and the lease say. */
static void settle(struct replication *service, struct cluster_partition *partition)
{
    struct feed *feed = partition->user;
    bool wanted = leases_has(&service->leases, &partition->topic->id, partition->number) &&
                  !partition->topic->deleted && partition->leader >= 0 &&
                  partition->replica_count > 1;

    if (feed != NULL &&
        (!wanted || feed->leader_epoch != partition->leader_epoch ||
         feed->leader->node != partition->leader || !same_replicas(feed, partition))) {
        peer_stop_feed(feed);
        partition->user = NULL;
        feed = NULL;
    }
    if (feed != NULL) {
        follow_fitness(feed, partition);
    } else if (wanted) {
        feed = start_feed(service, partition);
        partition->user = feed;
    }
    if (feed != NULL) {
        note_in_sync(service, feed, partition);
    }
}

static void settle_topic(struct replication *service, struct cluster_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) {
        settle(service, topic->partitions[i]);
    }
}

static void settle_all(struct replication *service)
{
    RIA_LIST_FOREACH (it, cluster_topics(service->cluster)) {
        settle_topic(service, RIA_CONTAINER(it, struct cluster_topic, link));
    }
}

/* A node that was started anew follows nothing until it is prepared, and its leaders have forgotten
 * what it reported. Without new records nobody would notice. */
static void prepare_anew(struct replication *service, int32_t node)
{
    RIA_LIST_FOREACH (it, &service->peers) {
        struct peer *leader = RIA_CONTAINER(it, struct peer, link);
        RIA_LIST_FOREACH (link, &leader->feeds) {
            struct feed *feed = RIA_CONTAINER(link, struct feed, feed_link);
            for (uint32_t i = 0; i < feed->follower_count; i++) {
                if (feed->followers[i].node == node) {
                    peer_fail_follower(&feed->followers[i]);
                }
            }
        }
    }
}

static void on_node(void *arg, struct cluster_node *node)
{
    struct replication *service = arg;

    RIA_LIST_FOREACH (it, &service->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        if (peer->node == node->id) {
            peer->unreachable = false; /* perhaps it is another address */
            replication_flush_later(peer);
        }
    }
    if (node->restarted) {
        prepare_anew(service, node->id);
    }
}

static void on_topic(void *arg, struct cluster_topic *topic)
{
    settle_topic(arg, topic);
}

static void on_partition(void *arg, struct cluster_partition *partition)
{
    settle(arg, partition);
}

static void on_membership(void *arg, const struct membership_state *state)
{
    struct replication *service = arg;

    /* While the coordinator is silent the leases stay: others may take over, which does no harm. */
    if (state->workers == NULL || state->worker_count == 0 ||
        leases_are(&service->leases, state->workers, state->worker_count, state->worker_index)) {
        return;
    }
    if (leases_set(&service->leases, state->workers, state->worker_count, state->worker_index) !=
        RIA_OK) {
        return; /* the next change of state tries again */
    }
    ria_log_info(
        service->env->log,
        "replication.leased",
        "worker_index=%u worker_count=%u",
        state->worker_index,
        state->worker_count
    );
    settle_all(service);
}

/* ---- life ---- */

ria_err replication_new(
    const struct ria_env *env,
    const struct replication_options *options,
    struct replication **out_replication
)
{
    static const struct cluster_callbacks callbacks = {
        .node = on_node, .topic = on_topic, .partition = on_partition};
    struct membership_identity identity = {.role = PROCESS_REPLICATION};
    uint8_t random_bytes[RIA_UUID_SIZE];
    struct replication *service = calloc(1, sizeof(*service));

    if (service == NULL) {
        return RIA_ERR_NOMEM;
    }
    service->env = env;
    leases_init(&service->leases);
    ria_list_init(&service->peers);
    ria_list_init(&service->dirty_peers);
    ria_list_init(&service->retries);
    ria_list_init(&service->apart);
    ria_timer_init(&service->apart_timer, report_apart, service);
    ria_timer_init(&service->flush_timer, on_flush, service);
    ria_timer_init(&service->retry_timer, on_tick, service);
    ria_timer_init(&service->throttle_timer, on_throttle_due, service);
    throttle_init(
        &service->throttle, options->catch_up_bytes_per_second, ria_clock_mono_us(env->clock)
    );
    service->session_id = (int64_t)(ria_rand_u64(env->rand) >> 1);
    ria_rand_bytes(env->rand, random_bytes, sizeof(random_bytes));
    identity.process_uuid = ria_uuid_v4(random_bytes);
    identity.incarnation = service->session_id;
    ria_err err = cluster_new(env, options->coordinator, &callbacks, service, &service->cluster);
    if (err == RIA_OK) {
        err = membership_new(
            env, service->cluster, &identity, on_membership, service, &service->membership
        );
    }
    if (err != RIA_OK) {
        replication_free(service);
        return err;
    }
    *out_replication = service;
    return RIA_OK;
}

void replication_start(struct replication *replication)
{
    cluster_start(replication->cluster);
    membership_start(replication->membership);
}

void replication_stop(struct replication *replication, bool *out_done)
{
    membership_leave(replication->membership, out_done);
}

static void refresh_metrics(void *arg)
{
    struct replication *service = arg;
    int64_t unready = 0;

    RIA_LIST_FOREACH (it, &service->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        RIA_LIST_FOREACH (link, &peer->feeds) {
            struct feed *feed = RIA_CONTAINER(link, struct feed, feed_link);
            for (uint32_t i = 0; i < feed->follower_count; i++) {
                unready += feed->followers[i].state == FOLLOWER_READY ? 0 : 1;
            }
        }
    }
    service->metrics.unready.value = unready;
}

void replication_register_metrics(struct replication *replication, struct ria_metrics *metrics)
{
    struct replication_metrics *m = &replication->metrics;

    ria_metrics_add_counter(
        metrics,
        "riacho_replication_fetched_bytes_total",
        "",
        "Bytes read from leaders",
        &m->bytes_fetched
    );
    ria_metrics_add_counter(
        metrics,
        "riacho_replication_appended_bytes_total",
        "",
        "Bytes appended to followers",
        &m->bytes_appended
    );
    ria_metrics_add_counter(
        metrics,
        "riacho_replication_caught_up_bytes_total",
        "",
        "Bytes read from leaders for single followers that were behind",
        &m->bytes_caught_up
    );
    ria_metrics_add_counter(
        metrics, "riacho_replication_fetches_total", "", "Reads of leaders", &m->fetches
    );
    ria_metrics_add_counter(
        metrics, "riacho_replication_appends_total", "", "Frames sent to followers", &m->appends
    );
    ria_metrics_add_counter(
        metrics,
        "riacho_replication_follower_failures_total",
        "",
        "Followers that had to be prepared again",
        &m->follower_failures
    );
    ria_metrics_add_gauge(
        metrics, "riacho_replication_partitions", "", "Partitions carried by this worker", &m->feeds
    );
    ria_metrics_add_refresh(metrics, refresh_metrics, replication);
    ria_metrics_add_gauge(
        metrics,
        "riacho_replication_unready_followers",
        "",
        "Followers that are not, or not yet, appended to",
        &m->unready
    );
    ria_metrics_add_gauge(
        metrics,
        "riacho_replication_buffered_bytes",
        "",
        "Read and not yet on the followers' disks",
        &m->buffered_bytes
    );
}

static void stop_all(struct replication *service)
{
    RIA_LIST_FOREACH (it, cluster_topics(service->cluster)) {
        struct cluster_topic *topic = RIA_CONTAINER(it, struct cluster_topic, link);
        for (int32_t i = 0; i < topic->partition_count; i++) {
            if (topic->partitions[i]->user != NULL) {
                peer_stop_feed(topic->partitions[i]->user);
                topic->partitions[i]->user = NULL;
            }
        }
    }
}

void replication_free(struct replication *replication)
{
    if (replication == NULL) {
        return;
    }
    if (replication->cluster != NULL) {
        stop_all(replication);
    }
    while (!ria_list_is_empty(&replication->peers)) {
        peer_free(RIA_CONTAINER(replication->peers.next, struct peer, link));
    }
    ria_timer_stop(replication->env->timers, &replication->flush_timer);
    ria_timer_stop(replication->env->timers, &replication->apart_timer);
    ria_timer_stop(replication->env->timers, &replication->retry_timer);
    ria_timer_stop(replication->env->timers, &replication->throttle_timer);
    leases_fini(&replication->leases);
    membership_free(replication->membership);
    cluster_free(replication->cluster);
    free(replication);
}

void replication_check(const struct replication *replication)
{
    int64_t feeds = 0;
    int64_t bytes = 0;

    RIA_LIST_FOREACH (it, &replication->peers) {
        const struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        RIA_ASSERT(peer->bulk_bytes >= 0 && peer->window.bytes >= peer->bulk_bytes);
        bytes += peer->window.bytes;
        RIA_LIST_FOREACH (link, &peer->feeds) {
            feed_check(RIA_CONTAINER(link, struct feed, feed_link));
            feeds++;
        }
    }
    RIA_ASSERT(feeds == replication->metrics.feeds.value);
    RIA_ASSERT(replication->metrics.buffered_bytes.value == bytes);
}
