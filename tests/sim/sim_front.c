#include "tests/sim/sim_front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/assert.h"
#include "common/list.h"

#include "services/gateway/budget.h"
#include "services/gateway/service.h"
#include "tests/sim/sim_http.h"

enum {
    FRONT_BUDGET = 16 * 1024 * 1024,
    FRONT_BODY_MAX = 4 * 1024 * 1024,
    FRONT_TIMEOUT_MS = 5000, /* of a record; less than the default, so that it is met */
    FRONT_HEAD_MAX = 4096,
    FRONT_STREAMS_MAX = 100,
    FRONT_PIECE = 16 * 1024, /* of a stream, at a time, at most */
    PAUSES_ONE_IN = 8,       /* pieces, before a socket has room again */
    PAUSE_US_MAX = 20 * 1000,
    STUCK_ONE_IN = 50, /* pauses: so long that a stream gives up what it holds */
    STUCK_US_MAX = 2000 * 1000,
    GOES_ONE_IN = 8,     /* streams' clients, where there are groups */
    GOES_NOW_ONE_IN = 4, /* pauses of such a one */
};

struct sim_front {
    const struct ria_env *env;
    struct gateway *gateway;
    struct budget budget;
    struct ria_list requests;
    uint32_t cut_one_in;
    int64_t calm_us;
    sim_front_handed_fn handed;
    void *handed_arg;
    bool is_stopping;
};

struct front_request {
    struct request request; /* first: the casts below */
    struct ria_list link;
    struct sim_front *front;
    struct ria_rpc_request *rpc;
    struct ria_msg *frame; /* outlives the answer */
    struct sim_http http;
    size_t charged;
    bool is_answered;
    /* of a stream: it becomes one frame, sent when it ends */
    struct response stream; /* pull is NULL: it is none */
    struct ria_timer pull;
    struct ria_buf text;
    size_t told; /* of the text */
    bool goes;   /* its client goes away in the middle */
};
_Static_assert(offsetof(struct front_request, request) == 0, "front_of casts");

static const struct front_request *front_of(const struct request *request)
{
    return (const struct front_request *)(const void *)request;
}

/* ---- struct request_ops ---- */

static struct ria_slice op_header(const struct request *request, const char *name)
{
    return sim_http_header(&front_of(request)->http, name);
}

static void op_each_header(const struct request *request, request_header_fn fn, void *arg)
{
    struct ria_slice headers = front_of(request)->http.headers;
    struct ria_slice name;
    struct ria_slice value;

    while (sim_http_next_header(&headers, &name, &value)) {
        fn(arg, name, value);
    }
}

static void give_back(struct front_request *front)
{
    budget_give(&front->front->budget, front->charged);
    front->charged = 0;
}

/* frame NULL: the connection broke off. What was handed to the network may get lost still: as of a
 * socket. */
static void
end_request(struct front_request *front, const struct response *response, struct ria_msg *frame)
{
    struct ria_rpc *rpc = front->front->env->rpc;

    if (frame == NULL) {
        ria_rpc_drop(rpc, RIA_STEAL(&front->rpc));
    } else {
        ria_rpc_reply(rpc, RIA_STEAL(&front->rpc), frame);
    }
    ria_timer_stop(front->front->env->timers, &front->pull);
    request_ended(&front->request, frame != NULL);
    if (response->release != NULL) {
        response->release(response->owner);
    }
    give_back(front);
    front->is_answered = true; /* its handler may still look at it */
}

static void
send_frame(struct front_request *front, const struct response *response, struct ria_slice body)
{
    char head[FRONT_HEAD_MAX];
    int size = snprintf(head, sizeof(head), "%d\n", response->status);

    for (uint32_t i = 0; i < response->header_count; i++) {
        size += snprintf(
            head + size,
            sizeof(head) - (size_t)size,
            "%s: %s\n",
            response->headers[i].name,
            response->headers[i].value
        );
        RIA_ASSERT((size_t)size < sizeof(head));
    }
    bool is_cut = front->front->cut_one_in > 0 &&
                  ria_rand_one_in(front->front->env->rand, front->front->cut_one_in);
    end_request(front, response, is_cut ? NULL : sim_http_frame(head, body));
}

static void hand(struct front_request *front)
{
    struct ria_slice text = ria_buf_slice(&front->text);

    front->told += front->front->handed(
        front->front->handed_arg, &front->http, ria_slice_sub(text, front->told, text.size)
    );
}

/* How long its socket has no room; 0: it has. */
static int64_t draw_pause(struct front_request *front)
{
    struct ria_rand *rand = front->front->env->rand;

    bool is_calm = ria_clock_mono_us(front->front->env->clock) >= front->front->calm_us;

    if (is_calm || !ria_rand_one_in(rand, PAUSES_ONE_IN)) {
        return 0;
    }
    return 1 +
           (int64_t
           )ria_rand_below(rand, ria_rand_one_in(rand, STUCK_ONE_IN) ? STUCK_US_MAX : PAUSE_US_MAX);
}

/* Its socket never has room again. */
static bool client_goes(struct front_request *front)
{
    return front->goes && ria_rand_one_in(front->front->env->rand, GOES_NOW_ONE_IN);
}

/* What comes of a stream is kept until its end. */
static void pull_due(struct ria_timer *timer, void *arg)
{
    struct front_request *front = arg;
    int64_t pause_us = 0;
    int64_t given;

    do {
        size_t room = FRONT_PIECE - (size_t)ria_rand_below(front->front->env->rand, FRONT_PIECE);
        ria_err err = ria_buf_reserve(&front->text, room);
        RIA_ASSERT(err == RIA_OK); /* clients of the simulator bound their streams */
        given = front->stream.pull(front->stream.owner, front->text.data + front->text.size, room);
        front->text.size += (size_t)ria_max_i64(given, 0);
        pause_us = given > 0 ? draw_pause(front) : 0;
    } while (given > 0 && pause_us == 0);
    hand(front);
    if (given > 0 && !client_goes(front)) {
        ria_timer_start(front->front->env->timers, timer, pause_us);
    } else if (given != 0) {
        struct response response = front->stream;
        front->stream.pull = NULL;
        if (given > 0) {
            end_request(front, &response, NULL);
        } else {
            send_frame(front, &response, ria_buf_slice(&front->text));
        }
    }
}

static void op_respond(struct request *request, const struct response *response)
{
    struct front_request *front = RIA_CONTAINER(request, struct front_request, request);

    RIA_ASSERT(!front->is_answered && front->stream.pull == NULL);
    if (response->pull == NULL) {
        send_frame(front, response, ria_slice_of(response->data, response->size));
        return;
    }
    front->stream = *response;
    front->goes =
        front->front->cut_one_in > 0 && ria_rand_one_in(front->front->env->rand, GOES_ONE_IN);
    request->ops->more(request);
}

static void op_more(struct request *request)
{
    struct front_request *front = RIA_CONTAINER(request, struct front_request, request);

    if (front->stream.pull != NULL && !front->pull.active) {
        ria_timer_start(front->front->env->timers, &front->pull, 0);
    }
}

/* A client that is gone is not seen: its stream ends by its own limits. */
static void op_watch_hangup(struct request *request)
{
    (void)request;
}

static void op_drop_body(struct request *request)
{
    give_back(RIA_CONTAINER(request, struct front_request, request));
}

static const struct request_ops ops = {
    .header = op_header,
    .each_header = op_each_header,
    .respond = op_respond,
    .drop_body = op_drop_body,
    .more = op_more,
    .watch_hangup = op_watch_hangup,
};

/* ---- requests ---- */

static void request_free(struct front_request *front)
{
    ria_list_remove(&front->link);
    ria_timer_stop(front->front->env->timers, &front->pull);
    ria_buf_fini(&front->text);
    ria_arena_fini(&front->request.arena);
    ria_msg_free(front->frame);
    free(front);
}

/* Those that have had their answer: their handlers have returned by now. */
static void sweep(struct sim_front *front)
{
    RIA_LIST_FOREACH (it, &front->requests) {
        struct front_request *request = RIA_CONTAINER(it, struct front_request, link);
        if (request->is_answered) {
            request_free(request);
        }
    }
}

static http_method method_of(struct ria_slice name)
{
    static const struct {
        const char *name;
        http_method method;
    } methods[] = {
        {"GET", HTTP_GET},
        {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},
        {"PATCH", HTTP_PATCH},
        {"DELETE", HTTP_DELETE},
    };

    for (size_t i = 0; i < RIA_COUNT(methods); i++) {
        if (ria_slice_equal(name, ria_slice_cstr(methods[i].name))) {
            return methods[i].method;
        }
    }
    return HTTP_OTHER;
}

/* "GET /path?query" */
static void set_target(struct request *request, struct ria_slice first)
{
    const uint8_t *space = memchr(first.data, ' ', first.size);
    RIA_ASSERT(space != NULL);
    size_t method_size = (size_t)(space - first.data);
    struct ria_slice target = ria_slice_sub(first, method_size + 1, first.size);
    const uint8_t *mark = memchr(target.data, '?', target.size);
    size_t path_size = mark == NULL ? target.size : (size_t)(mark - target.data);

    request->method = method_of(ria_slice_sub(first, 0, method_size));
    request->path = ria_slice_sub(target, 0, path_size);
    request->query =
        mark == NULL ? RIA_SLICE_EMPTY : ria_slice_sub(target, path_size + 1, target.size);
}

/* As http.c: head, then the body under the limits, then the handler. */
static void serve(struct sim_front *front, struct front_request *request)
{
    struct request *base = &request->request;
    struct ria_slice body = request->http.body;
    size_t body_max = 0;

    gateway_begin(front->gateway, base, &body_max);
    if (request->is_answered) {
        return;
    }
    if (body.size > body_max) {
        gateway_refuse(front->gateway, base, 413, "too large");
    } else if (!budget_take(&front->budget, body.size)) {
        gateway_refuse(front->gateway, base, 429, "overloaded");
    } else {
        request->charged = body.size;
        base->body = body;
        gateway_handle(front->gateway, base);
    }
}

static void on_request(void *arg, struct ria_rpc_request *rpc)
{
    struct sim_front *front = arg;
    struct front_request *request = calloc(1, sizeof(*request));

    RIA_ASSERT(request != NULL);
    sweep(front);
    request->frame = ria_msg_copy(ria_rpc_request_msg(front->env->rpc, rpc));
    RIA_ASSERT(request->frame != NULL);
    if (!sim_http_open(request->frame, &request->http) || front->is_stopping) {
        ria_rpc_drop(front->env->rpc, rpc);
        ria_msg_free(request->frame);
        free(request);
        return;
    }
    request->front = front;
    ria_timer_init(&request->pull, pull_due, request);
    ria_buf_init(&request->text, SIM_HTTP_FRAME_MAX);
    request->rpc = rpc;
    request->request.ops = &ops;
    request->request.received_us = ria_clock_mono_us(front->env->clock);
    ria_arena_init(&request->request.arena, REQUEST_ARENA_MAX);
    set_target(&request->request, request->http.first);
    ria_list_push_back(&front->requests, &request->link);
    serve(front, request);
}

/* ---- life ---- */

struct sim_front *sim_front_new(
    const struct ria_env *env,
    const char *coordinator,
    uint32_t cut_one_in,
    int64_t calm_us,
    sim_front_handed_fn handed,
    void *arg
)
{
    struct sim_front *front = calloc(1, sizeof(*front));
    const struct gateway_options options = {
        .coordinator = coordinator,
        .body_max = FRONT_BODY_MAX,
        .request_timeout_ms = FRONT_TIMEOUT_MS,
        .streams_max = FRONT_STREAMS_MAX,
    };

    RIA_ASSERT(front != NULL);
    front->env = env;
    front->cut_one_in = cut_one_in;
    front->calm_us = calm_us;
    front->handed = handed;
    front->handed_arg = arg;
    front->budget.limit = FRONT_BUDGET;
    ria_list_init(&front->requests);
    ria_err err = gateway_new(env, &options, &front->budget, NULL, &front->gateway);
    RIA_ASSERT(err == RIA_OK);
    ria_rpc_set_handler(env->rpc, on_request, front);
    gateway_start(front->gateway);
    return front;
}

void sim_front_free(struct sim_front *front)
{
    if (front == NULL) {
        return;
    }
    bool is_idle = sim_front_is_idle(front);
    gateway_free(front->gateway);
    while (!ria_list_is_empty(&front->requests)) {
        struct front_request *request =
            RIA_CONTAINER(front->requests.next, struct front_request, link);
        if (request->stream.pull != NULL && request->stream.release != NULL) {
            request->stream.release(request->stream.owner);
        }
        if (request->rpc != NULL) {
            ria_rpc_drop(front->env->rpc, RIA_STEAL(&request->rpc));
        }
        give_back(request);
        request_free(request);
    }
    /* What was under way is forgotten, and its bytes with it. */
    RIA_ASSERT(!is_idle || front->budget.used.value == 0);
    free(front);
}

void sim_front_stop(struct sim_front *front)
{
    front->is_stopping = true;
    gateway_stop(front->gateway);
}

bool sim_front_is_idle(const struct sim_front *front)
{
    RIA_LIST_FOREACH (it, &front->requests) {
        if (!RIA_CONTAINER(it, struct front_request, link)->is_answered) {
            return false;
        }
    }
    return gateway_is_idle(front->gateway);
}
