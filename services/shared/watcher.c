#include "services/shared/watcher.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/map.h"

#include "schemas/envelope.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

enum {
    WATCH_WAIT_MS = 20000,
    WATCH_TIMEOUT_MS = 30000,
    /* Readers become idle one after the other: they go into one request. */
    WATCH_GATHER_US = 1000,
    /* After a failure, and between two answers that say nothing. */
    WATCH_PAUSE_US = 200 * 1000,
    WATCH_DECODED_MAX = 64 * 1024 * 1024,
};
_Static_assert(WATCH_WAIT_MS < WATCH_TIMEOUT_MS, "a parked watch is answered before it times out");

/* What is watched at one storage node. Kept for the watcher's life. */
struct watch_node {
    struct watcher *watcher;
    int32_t node_id;
    struct ria_list entries;
    struct ria_timer timer; /* sends the next request */
    struct watch_call *call;
};

/* A request under way. Outlives the watcher. */
struct watch_call {
    struct watch_node *node; /* NULL: superseded or forgotten */
    int64_t started_us;
};

struct watcher {
    const struct ria_env *env;
    const struct cluster *cluster;
    int64_t watch_id;
    struct ria_map nodes; /* id -> struct watch_node */
};

static void node_send(struct watch_node *node);

/* ---- entries ---- */

void watcher_entry_init(struct watcher_entry *entry, watcher_fn fn, void *arg)
{
    *entry = (struct watcher_entry){.fn = fn, .arg = arg};
    ria_list_init(&entry->link);
}

void watcher_remove(struct watcher_entry *entry)
{
    ria_list_remove(&entry->link);
}

/* Wake those in `woken`; any of them may be removed by the function of another. */
static void wake(struct ria_list *woken)
{
    for (;;) {
        struct ria_list *link = ria_list_pop_front(woken);
        if (link == NULL) {
            return;
        }
        struct watcher_entry *entry = RIA_CONTAINER(link, struct watcher_entry, link);
        entry->fn(entry, entry->arg);
    }
}

static void take_partition(
    struct watch_node *node,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct ria_list *out_woken
)
{
    RIA_LIST_FOREACH (it, &node->entries) {
        struct watcher_entry *entry = RIA_CONTAINER(it, struct watcher_entry, link);
        if (entry->partition->number == partition &&
            ria_uuid_equal(entry->partition->topic->id, *topic_id)) {
            ria_list_remove(it);
            ria_list_push_back(out_woken, it);
        }
    }
}

/* ---- requests ---- */

static void send_after(struct watch_node *node, int64_t delay_us)
{
    ria_timer_start(node->watcher->env->timers, &node->timer, delay_us);
}

static void send_now(struct ria_timer *timer, void *arg)
{
    (void)timer;
    node_send(arg);
}

/* Everybody looks for himself: whoever cannot reach the leader will find out. */
static void wake_all(struct watch_node *node)
{
    struct ria_list woken;

    ria_list_init(&woken);
    ria_list_splice(&woken, &node->entries);
    wake(&woken);
}

/* Those the reply names. *out_any: it named some. */
static ria_err take_named(
    struct watch_node *node, const struct ria_msg *reply, struct ria_list *out_woken, bool *out_any
)
{
    struct watch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, WATCH_DECODED_MAX);
    ria_err err = envelope_read_reply(reply, API_WATCH, &arena, &response, NULL, NULL, 0);
    if (err == RIA_OK) {
        *out_any = response.partitions_count > 0;
        for (uint32_t i = 0; i < response.partitions_count; i++) {
            take_partition(
                node, &response.partitions[i].topic_id, response.partitions[i].partition, out_woken
            );
        }
    }
    ria_arena_fini(&arena);
    return err;
}

static void call_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct watch_call *call = arg;
    struct watch_node *node = call->node;
    int64_t started_us = call->started_us;
    struct ria_list woken;
    bool any = false;

    free(call);
    if (node == NULL) {
        ria_msg_free(reply);
        return;
    }
    const struct ria_clock *clock = node->watcher->env->clock;
    node->call = NULL;
    ria_list_init(&woken);
    if (err == RIA_OK) {
        err = take_named(node, reply, &woken, &any);
    }
    ria_msg_free(reply);
    /* Decided before anybody is woken, who may add to the node again. */
    if (err != RIA_OK) {
        wake_all(node);
    } else if (!ria_list_is_empty(&node->entries)) {
        bool quick = ria_clock_mono_us(clock) - started_us < WATCH_PAUSE_US;
        send_after(node, !any && quick ? WATCH_PAUSE_US : WATCH_GATHER_US);
    }
    wake(&woken);
}

static struct ria_msg *build_request(struct watch_node *node)
{
    struct watch_request request;
    uint32_t count = 0;

    watch_request_init(&request);
    request.watch_id = node->watcher->watch_id;
    request.wait_ms = WATCH_WAIT_MS;
    RIA_LIST_FOREACH (it, &node->entries) {
        count++;
    }
    request.partitions = calloc(count, sizeof(request.partitions[0]));
    if (request.partitions == NULL) {
        return NULL;
    }
    RIA_LIST_FOREACH (it, &node->entries) {
        const struct watcher_entry *entry = RIA_CONTAINER(it, struct watcher_entry, link);
        request.partitions[request.partitions_count++] = (struct watch_request_watch_partition){
            .topic_id = entry->partition->topic->id,
            .partition = entry->partition->number,
            .offset = entry->offset,
        };
    }
    struct ria_msg *msg = envelope_request(API_WATCH, 0, -1, WATCH_TIMEOUT_MS, &request, 0, NULL);
    free(request.partitions);
    return msg;
}

static void node_send(struct watch_node *node)
{
    struct watcher *watcher = node->watcher;
    const struct cluster_node *to = cluster_node(watcher->cluster, node->node_id);

    if (ria_list_is_empty(&node->entries)) {
        return; /* the request under way, if any, ends by itself */
    }
    struct watch_call *call = calloc(1, sizeof(*call));
    struct ria_msg *msg = build_request(node);
    if (call == NULL || msg == NULL || to == NULL) {
        free(call);
        ria_msg_free(msg);
        send_after(node, WATCH_PAUSE_US);
        return;
    }
    if (node->call != NULL) {
        node->call->node = NULL; /* ended by this one; what it would say, this one says */
    }
    *call = (struct watch_call){.node = node, .started_us = ria_clock_mono_us(watcher->env->clock)};
    node->call = call;
    ria_rpc_call(watcher->env->rpc, to->address, msg, WATCH_TIMEOUT_MS, call_done, call);
}

/* ---- watcher ---- */

ria_err
watcher_new(const struct ria_env *env, const struct cluster *cluster, struct watcher **out_watcher)
{
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    if (watcher == NULL) {
        return RIA_ERR_NOMEM;
    }
    watcher->env = env;
    watcher->cluster = cluster;
    watcher->watch_id = (int64_t)(ria_rand_u64(env->rand) >> 1);
    ria_map_init(&watcher->nodes);
    *out_watcher = watcher;
    return RIA_OK;
}

void watcher_free(struct watcher *watcher)
{
    if (watcher == NULL) {
        return;
    }
    size_t cursor = 0;
    for (struct watch_node *node = ria_map_next(&watcher->nodes, &cursor); node != NULL;
         node = ria_map_next(&watcher->nodes, &cursor)) {
        while (ria_list_pop_front(&node->entries) != NULL) {
        }
        ria_timer_stop(watcher->env->timers, &node->timer);
        if (node->call != NULL) {
            node->call->node = NULL;
        }
        free(node);
    }
    ria_map_fini(&watcher->nodes);
    free(watcher);
}

static struct watch_node *find_node(struct watcher *watcher, int32_t node_id)
{
    struct watch_node *node = ria_map_get(&watcher->nodes, &node_id, sizeof(node_id));

    if (node != NULL) {
        return node;
    }
    node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    node->watcher = watcher;
    node->node_id = node_id;
    ria_list_init(&node->entries);
    ria_timer_init(&node->timer, send_now, node);
    if (ria_map_put(&watcher->nodes, &node->node_id, sizeof(node->node_id), node) != RIA_OK) {
        free(node);
        return NULL;
    }
    return node;
}

ria_err watcher_add(
    struct watcher *watcher,
    struct watcher_entry *entry,
    struct cluster_partition *partition,
    int64_t offset
)
{
    if (cluster_node(watcher->cluster, partition->leader) == NULL) {
        return RIA_ERR_NO_LEADER;
    }
    struct watch_node *node = find_node(watcher, partition->leader);
    if (node == NULL) {
        return RIA_ERR_NOMEM;
    }
    entry->partition = partition;
    entry->offset = offset;
    ria_list_push_back(&node->entries, &entry->link);
    if (!node->timer.active) {
        send_after(node, WATCH_GATHER_US);
    }
    return RIA_OK;
}

void watcher_partition_changed(struct watcher *watcher, const struct cluster_partition *partition)
{
    struct ria_list woken;
    size_t cursor = 0;

    ria_list_init(&woken);
    for (struct watch_node *node = ria_map_next(&watcher->nodes, &cursor); node != NULL;
         node = ria_map_next(&watcher->nodes, &cursor)) {
        if (node->node_id != partition->leader) {
            take_partition(node, &partition->topic->id, partition->number, &woken);
        }
    }
    wake(&woken);
}
