#include "services/gateway/watch.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/marks.h"

enum {
    WATCH_GATHER_US = 500, /* waits that come together are told together */
    WATCH_RETRY_US = 100 * 1000,
    WATCH_PARK_MS = 30 * 1000,
    WATCH_TIMEOUT_MS = WATCH_PARK_MS + 5000,
    WATCH_REPLY_MAX = 16 * 1024 * 1024,
};

struct watch_node {
    struct ria_list link;
    struct watches *watches;
    int32_t id;
    struct ria_list waits;
    struct outcall *parked;
    struct ria_timer tell; /* send the waits */
    bool hurries;          /* what is waited for is about to come */
};

static struct watch_wait *wait_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct watch_wait, link);
}

void watches_init(
    struct watches *watches, const struct ria_env *env, struct cluster *cluster, struct marks *marks
)
{
    watches->env = env;
    watches->cluster = cluster;
    watches->marks = marks;
    watches->watch_id = (int64_t)(ria_rand_u64(env->rand) >> 1);
    outcalls_init(&watches->outcalls, env->rpc);
    ria_list_init(&watches->nodes);
    ria_list_init(&watches->homeless);
}

static void forget(struct watches *watches, struct ria_list *waits)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(waits)) != NULL) {
        ria_timer_stop(watches->env->timers, &wait_at(link)->timer);
    }
}

void watches_fini(struct watches *watches)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&watches->nodes)) != NULL) {
        struct watch_node *node = RIA_CONTAINER(link, struct watch_node, link);
        forget(watches, &node->waits);
        ria_timer_stop(watches->env->timers, &node->tell);
        free(node);
    }
    forget(watches, &watches->homeless);
    outcalls_fini(&watches->outcalls);
}

static void wait_ends(struct watch_wait *wait, bool moved)
{
    ria_list_remove(&wait->link);
    ria_timer_stop(wait->watches->env->timers, &wait->timer);
    wait->done(wait, moved);
}

static void deadline_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    /* The node keeps watching it until it is told anew: a needless wake, at most. */
    wait_ends(arg, false);
}

/* --- answers -----------------------------------------------------------------------------------*/

static bool
has_moved(const struct watch_wait *wait, const struct watch_response_watched_partition *now)
{
    return now->error_code != 0 || now->high_watermark > wait->offset ||
           (wait->ahead && now->log_end_offset > wait->offset);
}

static void wake(struct watch_node *node, const struct watch_response_watched_partition *moved)
{
    struct ria_list awake;
    struct ria_list *link;

    ria_list_init(&awake);
    RIA_LIST_FOREACH (it, &node->waits) {
        struct watch_wait *wait = wait_at(it);
        if (wait->partition->number != moved->partition ||
            !ria_uuid_equal(wait->partition->topic->id, moved->topic_id)) {
            continue;
        }
        if (!has_moved(wait, moved)) {
            node->hurries = node->hurries || moved->log_end_offset > wait->offset;
            continue;
        }
        wait->err = ria_err_from_wire(moved->error_code);
        wait->high_watermark = moved->high_watermark;
        ria_list_remove(it);
        ria_list_push_back(&awake, it);
    }
    while ((link = ria_list_pop_front(&awake)) != NULL) {
        wait_ends(wait_at(link), true);
    }
}

/* Whoever is woken by the first asks for all at once. */
static void note(struct watches *watches, const struct watch_response *response)
{
    for (uint32_t i = 0; i < response->partitions_count; i++) {
        const struct watch_response_watched_partition *moved = &response->partitions[i];
        const struct cluster_partition *partition =
            cluster_partition(watches->cluster, &moved->topic_id, moved->partition);
        if (partition != NULL && moved->error_code == 0) {
            marks_note(watches->marks, partition, moved->high_watermark);
            marks_announce(watches->marks, partition, moved->log_end_offset);
        }
    }
}

static ria_err read_reply(struct watch_node *node, const struct ria_msg *reply)
{
    struct watch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, WATCH_REPLY_MAX);
    ria_err err = envelope_read_reply(reply, API_WATCH, &arena, &response, NULL, NULL, 0);
    if (err == RIA_OK) {
        note(node->watches, &response);
    }
    for (uint32_t i = 0; err == RIA_OK && i < response.partitions_count; i++) {
        wake(node, &response.partitions[i]);
    }
    ria_arena_fini(&arena);
    return err;
}

static void parked_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct watch_node *node = arg;

    node->parked = NULL;
    node->hurries = false;
    if (err == RIA_OK) {
        err = read_reply(node, reply);
        ria_msg_free(reply);
    }
    if (!ria_list_is_empty(&node->waits) && !node->tell.active) {
        ria_timer_start(
            node->watches->env->timers,
            &node->tell,
            err != RIA_OK   ? WATCH_RETRY_US
            : node->hurries ? 0
                            : WATCH_GATHER_US
        );
    }
}

/* --- telling -----------------------------------------------------------------------------------*/

static struct ria_msg *build(const struct watch_node *node, struct ria_arena *arena)
{
    struct watch_request request;
    uint32_t count = 0;

    RIA_LIST_FOREACH (it, &node->waits) {
        (void)it;
        count++;
    }
    watch_request_init(&request);
    request.watch_id = node->watches->watch_id;
    request.wait_ms = WATCH_PARK_MS;
    request.partitions = ria_arena_alloc_array(arena, count, sizeof(*request.partitions));
    if (request.partitions == NULL) {
        return NULL;
    }
    RIA_LIST_FOREACH (it, &node->waits) {
        const struct watch_wait *wait = wait_at(it);
        request.partitions[request.partitions_count++] = (struct watch_request_watch_partition){
            .topic_id = wait->partition->topic->id,
            .partition = wait->partition->number,
            .offset = wait->offset,
            .log_end_offset = wait->ahead ? wait->offset + 1 : 0,
        };
    }
    return envelope_request(API_WATCH, 0, -1, WATCH_TIMEOUT_MS, &request, 0, NULL);
}

static void tell_due(struct ria_timer *timer, void *arg)
{
    struct watch_node *node = arg;
    struct watches *watches = node->watches;
    const struct cluster_node *to = cluster_node(watches->cluster, node->id);
    struct ria_arena arena;

    if (ria_list_is_empty(&node->waits)) {
        return;
    }
    if (to == NULL || to->address[0] == '\0') {
        ria_timer_start(watches->env->timers, timer, WATCH_RETRY_US);
        return;
    }
    /* The node ends the older request at once when the newer one comes. */
    outcall_cancel(RIA_STEAL(&node->parked));
    ria_arena_init(&arena, WATCH_REPLY_MAX);
    struct ria_msg *msg = build(node, &arena);
    ria_arena_fini(&arena);
    node->parked =
        outcall_start(&watches->outcalls, to->address, msg, WATCH_TIMEOUT_MS, parked_done, node);
    if (node->parked == NULL) {
        ria_timer_start(watches->env->timers, timer, WATCH_RETRY_US);
    }
}

/* NULL: no memory. */
static struct watch_node *node_of(struct watches *watches, int32_t id)
{
    RIA_LIST_FOREACH (link, &watches->nodes) {
        struct watch_node *node = RIA_CONTAINER(link, struct watch_node, link);
        if (node->id == id) {
            return node;
        }
    }
    struct watch_node *node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    node->watches = watches;
    node->id = id;
    ria_list_init(&node->waits);
    ria_timer_init(&node->tell, tell_due, node);
    ria_list_push_back(&watches->nodes, &node->link);
    return node;
}

/* wait is in no list. */
static void place(struct watches *watches, struct watch_wait *wait)
{
    int32_t leader = wait->partition->leader;
    struct watch_node *node = leader < 0 ? NULL : node_of(watches, leader);

    if (node == NULL) {
        ria_list_push_back(&watches->homeless, &wait->link);
        return;
    }
    ria_list_push_back(&node->waits, &wait->link);
    if (!node->tell.active) {
        ria_timer_start(watches->env->timers, &node->tell, WATCH_GATHER_US);
    }
}

void watch_start(struct watches *watches, struct watch_wait *wait)
{
    int64_t now_us = ria_clock_mono_us(watches->env->clock);

    RIA_ASSERT(wait->done != NULL);
    wait->watches = watches;
    ria_list_init(&wait->link);
    ria_timer_init(&wait->timer, deadline_due, wait);
    ria_timer_start(watches->env->timers, &wait->timer, ria_max_i64(wait->deadline_us - now_us, 0));
    place(watches, wait);
}

void watch_cancel(struct watch_wait *wait)
{
    /* As at its deadline: the node keeps watching until it is told anew. */
    ria_list_remove(&wait->link);
    ria_timer_stop(wait->watches->env->timers, &wait->timer);
}

static void end_all(struct ria_list *waits)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(waits)) != NULL) {
        wait_ends(wait_at(link), false);
    }
}

void watches_end(struct watches *watches)
{
    RIA_LIST_FOREACH (it, &watches->nodes) {
        end_all(&RIA_CONTAINER(it, struct watch_node, link)->waits);
    }
    end_all(&watches->homeless);
}

/* Waits that are in the list of a node (-1: of none) which does not lead their partition. */
static void take(struct ria_list *from, int32_t node_id, struct ria_list *to)
{
    RIA_LIST_FOREACH (it, from) {
        if (wait_at(it)->partition->leader != node_id) {
            ria_list_remove(it);
            ria_list_push_back(to, it);
        }
    }
}

void watches_view_changed(struct watches *watches)
{
    struct ria_list moving;
    struct ria_list *link;

    ria_list_init(&moving);
    take(&watches->homeless, -1, &moving);
    RIA_LIST_FOREACH (it, &watches->nodes) {
        struct watch_node *node = RIA_CONTAINER(it, struct watch_node, link);
        take(&node->waits, node->id, &moving);
    }
    while ((link = ria_list_pop_front(&moving)) != NULL) {
        place(watches, wait_at(link));
    }
}
