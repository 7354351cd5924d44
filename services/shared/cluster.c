#include "services/shared/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

#include "services/shared/cluster_view.h"

enum {
    PULL_WAIT_MS = 20000, /* how long the coordinator parks a pull */
    PULL_TIMEOUT_MS = 30000,
    PROBE_TIMEOUT_MS = 5000, /* of a pull that does not park */
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,

    /* A coordinator that does not park would be asked in a circle. */
    EMPTY_ANSWER_MS_MIN = 100,

    /* A parked pull that has not brought what we were told exists for this long is lost (the peer
     * hangs, or the network swallowed it). Long enough that few are left behind in the rpc. */
    HINT_PATIENCE_MS = 3000,

    /* Failures of one address are seen by several callers: they count once in this time. */
    ROTATE_MS_MIN = 100,

    /* Decoded rows of one reply: a frame's worth with the pointers of its arrays. */
    DECODED_SIZE_MAX = 8 * RIA_FRAME_SIZE_MAX,
};
_Static_assert(PULL_WAIT_MS < PULL_TIMEOUT_MS, "a parked pull is answered before it times out");

typedef enum pull_state {
    PULL_STARTING, /* nothing heard yet, nothing said about it */
    PULL_GOOD,     /* the last one was answered: the next one parks */
    PULL_LOST,     /* no answer; logged */
    PULL_REFUSED,  /* answered, but not with something to merge; logged */
} pull_state;

/* One Metadata request under way. Outlives the cluster if that is freed first, or gives up. */
struct cluster_pull {
    struct cluster *cluster; /* NULL: nobody waits for it any more */
    int64_t started_us;
    bool parks;
};

struct cluster_waiter {
    struct cluster *cluster;
    struct ria_list link;
    struct ria_timer timer;
    int64_t version;
    cluster_wait_fn fn;
    void *arg;
};

struct cluster {
    const struct ria_env *env;
    struct cluster_callbacks callbacks;
    void *arg;

    char *addresses[CLUSTER_COORDINATORS_MAX];
    uint32_t address_count;
    uint32_t address_current;
    int64_t rotated_us; /* INT64_MIN: never */

    struct cluster_view view;
    bool ready;
    bool started;
    pull_state state;
    struct cluster_pull *pull; /* NULL: between two pulls, retry is active */
    struct ria_timer retry;
    int64_t backoff_ms; /* of the next failure */
    int64_t hinted_us;  /* since when we know of something newer, -1 = we don't */

    struct ria_list waiters;
};

static void pull_start(struct cluster *cluster);

/* ---- coordinator's addresses ---- */

/* Splits `list` at its commas. */
static ria_err parse_addresses(struct cluster *cluster, const char *list)
{
    for (const char *p = list;; p++) {
        size_t size = strcspn(p, ",");

        if (size == 0 || size > RIA_ADDRESS_MAX ||
            cluster->address_count == CLUSTER_COORDINATORS_MAX) {
            return RIA_ERR_INVALID;
        }
        char *address = strndup(p, size);
        if (address == NULL) {
            return RIA_ERR_NOMEM;
        }
        cluster->addresses[cluster->address_count++] = address;
        p += size;
        if (*p == '\0') {
            return RIA_OK;
        }
    }
}

const char *cluster_coordinator(const struct cluster *cluster)
{
    return cluster->addresses[cluster->address_current];
}

void cluster_coordinator_failed(struct cluster *cluster)
{
    int64_t now_us = ria_clock_mono_us(cluster->env->clock);

    if (cluster->rotated_us != INT64_MIN &&
        now_us - cluster->rotated_us < ROTATE_MS_MIN * INT64_C(1000)) {
        return;
    }
    cluster->rotated_us = now_us;
    cluster->address_current = (cluster->address_current + 1) % cluster->address_count;
}

/* ---- waiting for a version ---- */

/* Takes the waiter. */
static void waiter_end(struct cluster_waiter *waiter, bool reached)
{
    cluster_wait_fn fn = waiter->fn;
    void *arg = waiter->arg;

    ria_list_remove(&waiter->link);
    ria_timer_stop(waiter->cluster->env->timers, &waiter->timer);
    free(waiter);
    fn(arg, reached);
}

static void waiter_timed_out(struct ria_timer *timer, void *arg)
{
    (void)timer;
    waiter_end(arg, false);
}

static void waiters_wake(struct cluster *cluster)
{
    struct ria_list ready;

    /* Gathered first: a waiter's function may add others. */
    ria_list_init(&ready);
    RIA_LIST_FOREACH (it, &cluster->waiters) {
        struct cluster_waiter *waiter = RIA_CONTAINER(it, struct cluster_waiter, link);
        if (waiter->version <= cluster->view.version) {
            ria_list_remove(it);
            ria_list_push_back(&ready, it);
        }
    }
    while (!ria_list_is_empty(&ready)) {
        waiter_end(RIA_CONTAINER(ready.next, struct cluster_waiter, link), true);
    }
}

void cluster_wait_version(
    struct cluster *cluster, int64_t version, uint32_t timeout_ms, cluster_wait_fn fn, void *arg
)
{
    if (version <= cluster->view.version) {
        fn(arg, true);
        return;
    }
    struct cluster_waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL) {
        fn(arg, false);
        return;
    }
    *waiter = (struct cluster_waiter){.cluster = cluster, .version = version, .fn = fn, .arg = arg};
    ria_timer_init(&waiter->timer, waiter_timed_out, waiter);
    ria_timer_start(cluster->env->timers, &waiter->timer, timeout_ms * INT64_C(1000));
    ria_list_push_back(&cluster->waiters, &waiter->link);
    cluster_hint(cluster, version);
}

/* ---- pulling ---- */

static void retry_later(struct cluster *cluster)
{
    int64_t half_ms = cluster->backoff_ms / 2;
    int64_t delay_ms = half_ms + (int64_t)ria_rand_below(cluster->env->rand, (uint64_t)half_ms + 1);

    cluster->backoff_ms = ria_min_i64(cluster->backoff_ms * 2, BACKOFF_MAX_MS);
    ria_timer_start(cluster->env->timers, &cluster->retry, delay_ms * 1000);
}

static void retry_now(struct ria_timer *timer, void *arg)
{
    (void)timer;
    pull_start(arg);
}

/* text: "" or what the other side says about it. */
static void pull_lost(struct cluster *cluster, ria_err err, const char *text)
{
    if (cluster->state != PULL_LOST) {
        char quoted[RIA_ERROR_TEXT_MAX + 32];
        const char *why = text[0] != '\0' ? text : ria_err_text(err);
        ria_log_warn(
            cluster->env->log,
            "cluster.coordinator_lost",
            "coordinator=%s version=%" PRId64 " err=%s",
            cluster_coordinator(cluster),
            cluster->view.version,
            ria_log_quote(quoted, sizeof(quoted), why, strlen(why))
        );
    }
    cluster->state = PULL_LOST;
    cluster_coordinator_failed(cluster);
    retry_later(cluster);
}

static void pull_refused(struct cluster *cluster, ria_err err, const char *reason)
{
    if (cluster->state != PULL_REFUSED) {
        char quoted[CLUSTER_VIEW_REASON_SIZE + 32];
        ria_log_error(
            cluster->env->log,
            "cluster.metadata_refused",
            "coordinator=%s version=%" PRId64 " err=%s reason=%s",
            cluster_coordinator(cluster),
            cluster->view.version,
            ria_err_name(err),
            ria_log_quote(quoted, sizeof(quoted), reason, strlen(reason))
        );
    }
    cluster->state = PULL_REFUSED;
    cluster_coordinator_failed(cluster);
    retry_later(cluster);
}

static void pull_answered(struct cluster *cluster)
{
    if (cluster->state == PULL_LOST || cluster->state == PULL_REFUSED) {
        ria_log_info(
            cluster->env->log,
            "cluster.coordinator_back",
            "coordinator=%s version=%" PRId64,
            cluster_coordinator(cluster),
            cluster->view.version
        );
    }
    cluster->state = PULL_GOOD;
    cluster->ready = true;
}

/* Merges a decoded reply and pulls on. */
static void take_response(
    struct cluster *cluster,
    const struct cluster_pull *pull,
    const struct metadata_response *response
)
{
    char reason[CLUSTER_VIEW_REASON_SIZE] = "";
    int64_t version_before = cluster->view.version;
    bool first = !cluster->ready;

    ria_err err = cluster_view_merge(&cluster->view, response, reason);
    if (err != RIA_OK) {
        pull_refused(cluster, err, reason);
        return;
    }
    if (reason[0] != '\0') {
        char quoted[CLUSTER_VIEW_REASON_SIZE + 32];
        ria_log_warn(
            cluster->env->log,
            "cluster.setting_ignored",
            "reason=%s",
            ria_log_quote(quoted, sizeof(quoted), reason, strlen(reason))
        );
    }
    pull_answered(cluster);

    bool changed = first || response->version > version_before;
    int64_t took_us = ria_clock_mono_us(cluster->env->clock) - pull->started_us;
    if (!changed && pull->parks && took_us < EMPTY_ANSWER_MS_MIN * INT64_C(1000)) {
        retry_later(cluster);
        return;
    }
    cluster->backoff_ms = BACKOFF_MIN_MS;
    if (changed) {
        cluster->hinted_us = -1;
    }
    pull_start(cluster);
    if (changed) {
        cluster_view_announce(&cluster->view, response, &cluster->callbacks, cluster->arg);
        waiters_wake(cluster);
    }
}

/* Borrows reply. */
static void
take_reply(struct cluster *cluster, const struct cluster_pull *pull, const struct ria_msg *reply)
{
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    struct response_header header = {0};
    struct ria_slice body = RIA_SLICE_NULL;
    struct ria_slice payload = RIA_SLICE_NULL;
    struct metadata_response response;
    struct ria_arena arena;

    ria_err err =
        envelope_open_reply(reply, API_METADATA, &header, &body, &payload, text, sizeof(text));
    if (err != RIA_OK) {
        pull_lost(cluster, err, text);
        return;
    }
    ria_arena_init(&arena, DECODED_SIZE_MAX);
    err = envelope_decode_body(
        schema_response(API_METADATA), header.api_version, body, &arena, &response
    );
    if (err == RIA_OK) {
        take_response(cluster, pull, &response);
    } else {
        pull_refused(cluster, err, "the reply cannot be decoded");
    }
    ria_arena_fini(&arena);
}

static void pull_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct cluster_pull *pull = arg;
    struct cluster *cluster = pull->cluster;

    if (cluster != NULL) {
        RIA_ASSERT(cluster->pull == pull);
        cluster->pull = NULL;
        if (err == RIA_OK) {
            take_reply(cluster, pull, reply);
        } else if (err != RIA_ERR_SHUTDOWN) { /* our own: nothing is lost, we are going */
            pull_lost(cluster, err, "");
        }
    }
    ria_msg_free(reply);
    free(pull);
}

static void pull_start(struct cluster *cluster)
{
    bool parks = cluster->state == PULL_GOOD;
    uint32_t timeout_ms = parks ? PULL_TIMEOUT_MS : PROBE_TIMEOUT_MS;
    struct metadata_request body = {
        .known_version = cluster->view.version,
        .wait_ms = parks ? PULL_WAIT_MS : 0,
    };

    RIA_ASSERT(cluster->pull == NULL);
    RIA_ASSERT(!cluster->retry.active);

    struct cluster_pull *pull = calloc(1, sizeof(*pull));
    struct ria_msg *msg = envelope_request(
        API_METADATA, METADATA_REQUEST_VERSION_MAX, -1, timeout_ms, &body, 0, NULL
    );
    if (pull == NULL || msg == NULL) {
        free(pull);
        ria_msg_free(msg);
        pull_lost(cluster, RIA_ERR_NOMEM, "");
        return;
    }
    pull->cluster = cluster;
    pull->started_us = ria_clock_mono_us(cluster->env->clock);
    pull->parks = parks;
    cluster->pull = pull;
    ria_rpc_call(cluster->env->rpc, cluster_coordinator(cluster), msg, timeout_ms, pull_done, pull);
}

/* What comes back of it is not looked at any more. */
static void pull_abandon(struct cluster *cluster)
{
    if (cluster->pull != NULL) {
        cluster->pull->cluster = NULL;
        cluster->pull = NULL;
    }
}

void cluster_hint(struct cluster *cluster, int64_t version)
{
    int64_t now_us = ria_clock_mono_us(cluster->env->clock);
    int64_t patience_us = HINT_PATIENCE_MS * INT64_C(1000);

    if (version <= cluster->view.version || !cluster->started) {
        return;
    }
    if (cluster->pull == NULL && cluster->retry.active) {
        ria_timer_stop(cluster->env->timers, &cluster->retry);
        pull_start(cluster);
        return;
    }
    if (cluster->pull == NULL || !cluster->pull->parks) {
        return; /* the answer is on its way */
    }
    if (cluster->hinted_us < 0) {
        cluster->hinted_us = now_us;
    }
    if (now_us - ria_max_i64(cluster->hinted_us, cluster->pull->started_us) >= patience_us) {
        pull_abandon(cluster);
        cluster->hinted_us = -1;
        pull_lost(cluster, RIA_ERR_TIMEOUT, "a newer version exists but is not sent");
    }
}

/* ---- life ---- */

ria_err cluster_new(
    const struct ria_env *env,
    const char *coordinator,
    const struct cluster_callbacks *callbacks,
    void *arg,
    struct cluster **out_cluster
)
{
    RIA_ASSERT(env->rpc != NULL && env->timers != NULL && env->rand != NULL);

    struct cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL) {
        return RIA_ERR_NOMEM;
    }
    cluster->env = env;
    cluster->arg = arg;
    cluster->rotated_us = INT64_MIN;
    cluster->backoff_ms = BACKOFF_MIN_MS;
    cluster->hinted_us = -1;
    if (callbacks != NULL) {
        cluster->callbacks = *callbacks;
    }
    cluster_view_init(&cluster->view);
    ria_timer_init(&cluster->retry, retry_now, cluster);
    ria_list_init(&cluster->waiters);

    ria_err err = parse_addresses(cluster, coordinator);
    if (err != RIA_OK) {
        cluster_free(cluster);
        return err;
    }
    *out_cluster = cluster;
    return RIA_OK;
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    pull_abandon(cluster);
    ria_timer_stop(cluster->env->timers, &cluster->retry);
    while (!ria_list_is_empty(&cluster->waiters)) {
        waiter_end(RIA_CONTAINER(cluster->waiters.next, struct cluster_waiter, link), false);
    }
    cluster_view_fini(&cluster->view);
    for (uint32_t i = 0; i < cluster->address_count; i++) {
        free(cluster->addresses[i]);
    }
    free(cluster);
}

void cluster_start(struct cluster *cluster)
{
    if (!cluster->started) {
        cluster->started = true;
        pull_start(cluster);
    }
}

/* ---- looking things up ---- */

int64_t cluster_version(const struct cluster *cluster)
{
    return cluster->view.version;
}

struct ria_uuid cluster_id(const struct cluster *cluster)
{
    return cluster->view.cluster_id;
}

bool cluster_is_ready(const struct cluster *cluster)
{
    return cluster->ready;
}

struct cluster_topic *cluster_topic_by_name(const struct cluster *cluster, const char *name)
{
    return ria_map_get(&cluster->view.topics_by_name, name, strlen(name));
}

struct cluster_topic *
cluster_topic_by_id(const struct cluster *cluster, const struct ria_uuid *topic_id)
{
    return ria_map_get(&cluster->view.topics, topic_id, sizeof(*topic_id));
}

struct cluster_partition *
cluster_partition(const struct cluster *cluster, const struct ria_uuid *topic_id, int32_t partition)
{
    struct cluster_topic *topic = cluster_topic_by_id(cluster, topic_id);

    if (topic == NULL || partition < 0 || partition >= topic->partition_count) {
        return NULL;
    }
    return topic->partitions[partition];
}

struct cluster_node *cluster_node(const struct cluster *cluster, int32_t node_id)
{
    return ria_map_get(&cluster->view.nodes, &node_id, sizeof(node_id));
}

struct cluster_transform *cluster_transform_by_name(const struct cluster *cluster, const char *name)
{
    return ria_map_get(&cluster->view.transforms_by_name, name, strlen(name));
}

struct cluster_transform *
cluster_transform_by_id(const struct cluster *cluster, const struct ria_uuid *transform_id)
{
    return ria_map_get(&cluster->view.transforms, transform_id, sizeof(*transform_id));
}

struct ria_list *cluster_topics(struct cluster *cluster)
{
    return &cluster->view.topic_list;
}

struct ria_list *cluster_transforms(struct cluster *cluster)
{
    return &cluster->view.transform_list;
}
