#include "tests/unit/services/transform/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"

/* A call as its caller sees it. */
struct world_call {
    struct ria_list link;
    struct world *world;
    struct world_worker *from;
    ria_rpc_done_fn done;
    void *arg;
    struct ria_timer timeout;
    bool ended;    /* the callback has run */
    unsigned refs; /* the caller, the request, a notice of disconnection */
};

/* A reply on its way. */
struct reply {
    struct world *world;
    struct world_call *call;
    struct ria_msg *msg;
    struct ria_timer timer;
};

/* ---- time ---- */

static int64_t mono_us(const struct ria_clock *clock)
{
    const struct world *world = (const void *)clock; /* its first member */

    return world->now_us;
}

static int64_t wall_ms(const struct ria_clock *clock)
{
    return 1700000000000 + mono_us(clock) / 1000;
}

static bool step(struct world *world)
{
    int64_t next_us = ria_timers_next_us(&world->timers);

    if (next_us == INT64_MAX) {
        return false;
    }
    world->now_us = ria_max_i64(world->now_us, next_us);
    (void)ria_timers_run(&world->timers);
    for (uint32_t i = 0; i < world->worker_count; i++) {
        if (world->workers[i]->transform != NULL) {
            transform_check(world->workers[i]->transform);
        }
    }
    return true;
}

void world_run(struct world *world, int64_t us, uint64_t frames)
{
    int64_t end_us = world->now_us + us;
    uint64_t frames_end = frames == 0 ? UINT64_MAX : world->frames + frames;

    while (ria_timers_next_us(&world->timers) <= end_us && world->frames < frames_end) {
        (void)step(world);
    }
    if (world->frames < frames_end) {
        world->now_us = end_us;
    }
}

bool world_run_until(struct world *world, bool (*done)(struct world *world), int64_t us)
{
    int64_t end_us = world->now_us + us;

    while (!done(world)) {
        if (ria_timers_next_us(&world->timers) > end_us || !step(world)) {
            return false;
        }
    }
    return true;
}

/* ---- network ---- */

static bool happens(struct world *world, uint32_t one_in)
{
    return one_in > 0 && ria_rand_one_in(&world->rand, one_in);
}

static int64_t delay_us(struct world *world)
{
    return 50 + (int64_t)ria_rand_below(&world->rand, (uint64_t)world->delay_us_max + 1);
}

static void call_unref(struct world_call *call)
{
    if (--call->refs == 0) {
        free(call);
    }
}

static void call_end(struct world_call *call, ria_err err, struct ria_msg *reply)
{
    if (call->ended) {
        ria_msg_free(reply);
        return;
    }
    call->ended = true;
    ria_list_remove(&call->link);
    ria_timer_stop(&call->world->timers, &call->timeout);
    call->done(call->arg, err, reply);
    call_unref(call);
}

static void call_timed_out(struct ria_timer *timer, void *arg)
{
    struct world_call *call = arg;

    (void)timer;
    call_end(call, RIA_ERR_TIMEOUT, NULL);
}

static void reply_arrives(struct ria_timer *timer, void *arg)
{
    struct reply *reply = arg;
    struct world_call *call = reply->call;

    (void)timer;
    reply->world->frames++;
    call_end(call, RIA_OK, reply->msg);
    call_unref(call);
    free(reply);
}

static void call_disconnected(struct ria_timer *timer, void *arg)
{
    struct reply *reply = arg;

    (void)timer;
    call_end(reply->call, RIA_ERR_DISCONNECTED, NULL);
    call_unref(reply->call);
    free(reply);
}

static void answer(struct world_request *request, struct ria_msg *msg)
{
    struct world *world = request->world;
    struct reply *reply = calloc(1, sizeof(*reply));
    bool lost = happens(world, world->lose_reply) || (request->node == 0 && request->from->cut_off);

    RIA_ASSERT(reply != NULL);
    *reply = (struct reply){.world = world, .call = request->call, .msg = msg};
    if (lost) {
        ria_msg_free(msg);
        reply->msg = NULL;
    }
    ria_timer_init(&reply->timer, lost ? call_disconnected : reply_arrives, reply);
    ria_timer_start(&world->timers, &reply->timer, delay_us(world));
    ria_list_remove(&request->link);
    ria_timer_stop(&world->timers, &request->timer);
    ria_msg_free(request->msg);
    free(request);
}

/* The request is forgotten; its caller's time-out will tell. */
static void swallow(struct world_request *request)
{
    ria_list_remove(&request->link);
    ria_timer_stop(&request->world->timers, &request->timer);
    ria_msg_free(request->msg);
    call_unref(request->call);
    free(request);
}

static struct ria_msg *serve(struct world_request *request, bool last)
{
    return request->node == 0 ? world_coordinator(request, last) : world_storage(request, last);
}

static void request_expired(struct ria_timer *timer, void *arg)
{
    struct world_request *request = arg;

    (void)timer;
    if (request->world->silent[request->node]) {
        swallow(request);
        return;
    }
    answer(request, serve(request, true));
}

void world_changed(struct world *world)
{
    for (bool again = true; again;) {
        again = false;
        RIA_LIST_FOREACH (it, &world->parked) {
            struct world_request *request = RIA_CONTAINER(it, struct world_request, link);
            struct ria_msg *msg = world->silent[request->node] ? NULL : serve(request, false);
            if (msg != NULL) {
                answer(request, msg);
                again = true; /* the list has changed */
                break;
            }
        }
    }
}

static void request_arrives(struct ria_timer *timer, void *arg)
{
    struct world_request *request = arg;
    struct world *world = request->world;

    (void)timer;
    world->frames++;
    if (request->node == 0 && (world->coordinator_down || request->from->cut_off)) {
        swallow(request);
        return;
    }
    if (world->silent[request->node]) {
        swallow(request);
        return;
    }
    struct ria_msg *msg = serve(request, false);
    if (msg != NULL) {
        answer(request, msg);
        return;
    }
    ria_timer_init(&request->timer, request_expired, request);
    ria_timer_start(
        &world->timers, &request->timer, ria_max_i64(request->deadline_us - world->now_us, 0)
    );
    ria_list_push_back(&world->parked, &request->link);
}

/* Takes a reference. */
static void disconnect(struct world *world, struct world_call *call)
{
    struct reply *reply = calloc(1, sizeof(*reply));

    RIA_ASSERT(reply != NULL);
    *reply = (struct reply){.world = world, .call = call};
    ria_timer_init(&reply->timer, call_disconnected, reply);
    ria_timer_start(&world->timers, &reply->timer, delay_us(world));
}

/* A request that was lost on its way: the connection is seen to break, or nothing is seen. */
static void lose(struct world *world, struct world_call *call, struct ria_msg *msg)
{
    ria_msg_free(msg);
    if (ria_rand_one_in(&world->rand, 2)) {
        call_unref(call);
    } else {
        disconnect(world, call);
    }
}

/* "c" is the coordinator, "1".."3" are storage nodes. */
static int32_t node_of(const char *address)
{
    return address[0] == 'c' ? 0 : address[0] - '0';
}

static void rpc_call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct world_worker *worker = RIA_CONTAINER(rpc, struct world_worker, rpc);
    struct world *world = worker->world;
    struct world_call *call = calloc(1, sizeof(*call));
    struct world_request *request = calloc(1, sizeof(*request));
    int32_t node = node_of(address);

    RIA_ASSERT(call != NULL && request != NULL && node >= 0 && node <= WORLD_NODES);
    *call =
        (struct world_call){.world = world, .from = worker, .done = done, .arg = arg, .refs = 2};
    ria_list_push_back(&world->calls, &call->link);
    ria_timer_init(&call->timeout, call_timed_out, call);
    ria_timer_start(&world->timers, &call->timeout, timeout_ms * INT64_C(1000));
    if (happens(world, world->lose_request)) {
        free(request);
        lose(world, call, msg);
        return;
    }
    *request = (struct world_request
    ){.world = world, .from = worker, .node = node, .msg = msg, .call = call};
    ria_list_init(&request->link);
    ria_timer_init(&request->timer, request_arrives, request);
    if (happens(world, world->late_request)) {
        /* Left behind in a broken connection: read when others have come by a new one. */
        call->refs++;
        disconnect(world, call);
        ria_timer_start(
            &world->timers, &request->timer, (int64_t)ria_rand_below(&world->rand, 3000000)
        );
        return;
    }
    /* In order per address. */
    int64_t at_us = ria_max_i64(world->now_us + delay_us(world), worker->last_arrival_us[node] + 1);
    worker->last_arrival_us[node] = at_us;
    ria_timer_start(&world->timers, &request->timer, at_us - world->now_us);
}

static void rpc_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct world_worker *worker = RIA_CONTAINER(rpc, struct world_worker, rpc);

    worker->handler = handler;
    worker->handler_arg = arg;
}

struct ria_rpc_request {
    struct ria_msg *msg;
    struct ria_msg *answer;
};

static struct ria_msg *rpc_request_msg(const struct ria_rpc_request *request)
{
    return request->msg;
}

static void rpc_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    (void)rpc;
    request->answer = msg;
}

static void rpc_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    (void)rpc;
    (void)request;
}

struct ria_msg *world_ask(struct world_worker *worker, struct ria_msg *msg)
{
    struct ria_rpc_request request = {.msg = msg};

    worker->handler(worker->handler_arg, &request); /* a worker answers at once */
    ria_msg_free(msg);
    return request.answer;
}

static const struct ria_rpc_ops rpc_ops = {
    .call = rpc_call,
    .set_handler = rpc_set_handler,
    .request_msg = rpc_request_msg,
    .reply = rpc_reply,
    .drop = rpc_drop,
};

/* ---- workers ---- */

struct world_worker *world_start_worker(struct world *world)
{
    struct world_worker *worker = calloc(1, sizeof(*worker));
    struct transform_options options = {.coordinator = "c", .address = "w"};

    RIA_ASSERT(worker != NULL && world->worker_count < WORLD_WORKERS_MAX);
    worker->world = world;
    worker->rpc.ops = &rpc_ops;
    ria_rand_init(&worker->rand, ria_rand_u64(&world->rand));
    worker->env = (struct ria_env){
        .clock = &world->clock,
        .timers = &world->timers,
        .rpc = &worker->rpc,
        .rand = &worker->rand,
        .log = &world->log,
    };
    world->workers[world->worker_count++] = worker;
    ria_err err = transform_new(&worker->env, &options, &worker->transform);
    RIA_ASSERT(err == RIA_OK);
    transform_start(worker->transform);
    return worker;
}

void world_kill_worker(struct world_worker *worker)
{
    struct world *world = worker->world;

    transform_free(worker->transform);
    worker->transform = NULL;
    /* Nobody hears these; the memory behind them is given back. */
    for (bool again = true; again;) {
        again = false;
        RIA_LIST_FOREACH (it, &world->calls) {
            struct world_call *call = RIA_CONTAINER(it, struct world_call, link);
            if (call->from == worker) {
                call_end(call, RIA_ERR_SHUTDOWN, NULL);
                again = true;
                break;
            }
        }
    }
}

/* ---- life ---- */

static void log_init(struct world *world, struct world_log *log, uint8_t topic, int32_t partition)
{
    log->topic_id.bytes[0] = topic;
    log->partition = partition;
    log->leader = 1 + (int32_t)ria_rand_below(&world->rand, WORLD_NODES);
    log->leader_epoch = 1;
    log->changed_version = 1;
}

void world_init(struct world *world, uint64_t seed, const char *sql)
{
    memset(world, 0, sizeof(*world));
    world->clock = (struct ria_clock){.mono_us = mono_us, .wall_ms = wall_ms};
    world->log.level = getenv("WORLD_LOG") != NULL ? RIA_LOG_DEBUG : RIA_LOG_ERROR + 1;
    world->now_us = 1000000;
    world->version = 1;
    world->sql = sql;
    world->delay_us_max = 500;
    world->commit_us_max = 2000;
    ria_timers_init(&world->timers, &world->clock);
    ria_rand_init(&world->rand, seed);
    ria_list_init(&world->parked);
    ria_list_init(&world->calls);
    for (int32_t i = 0; i < WORLD_SOURCE_PARTITIONS; i++) {
        log_init(world, &world->source[i], 1, i);
        world->tasks[i].changed_version = 1;
    }
    for (int32_t i = 0; i < WORLD_DERIVED_PARTITIONS; i++) {
        log_init(world, &world->derived[i], 2, i);
    }
    for (int32_t i = 0; i < WORLD_ERRORS_PARTITIONS; i++) {
        log_init(world, &world->errors[i], 3, i);
    }
}

static void log_fini(struct world_log *log)
{
    for (uint32_t i = 0; i < log->batch_count; i++) {
        free(log->batches[i].data);
    }
}

void world_fini(struct world *world)
{
    for (uint32_t i = 0; i < world->worker_count; i++) {
        if (world->workers[i]->transform != NULL) {
            world_kill_worker(world->workers[i]);
        }
    }
    world_heal(world);
    world->coordinator_down = true;
    world_run(world, INT64_C(200) * 1000 * 1000, 0); /* every frame ends */
    RIA_ASSERT(ria_list_is_empty(&world->parked) && ria_list_is_empty(&world->calls));
    for (uint32_t i = 0; i < world->worker_count; i++) {
        free(world->workers[i]);
    }
    for (int i = 0; i < WORLD_SOURCE_PARTITIONS; i++) {
        log_fini(&world->source[i]);
    }
    for (int i = 0; i < WORLD_DERIVED_PARTITIONS; i++) {
        log_fini(&world->derived[i]);
    }
    for (int i = 0; i < WORLD_ERRORS_PARTITIONS; i++) {
        log_fini(&world->errors[i]);
    }
    ria_timers_fini(&world->timers);
}

void world_heal(struct world *world)
{
    world->lose_request = 0;
    world->lose_reply = 0;
    world->late_request = 0;
    world->coordinator_down = false;
    memset(world->silent, 0, sizeof(world->silent));
    for (uint32_t i = 0; i < world->worker_count; i++) {
        world->workers[i]->cut_off = false;
    }
}
