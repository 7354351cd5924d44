#include "common/net_source.h"

#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>

#include "common/assert.h"
#include "common/limits.h"

/* nng's own threads run on_stream(). */

enum {
    DIAL_MS_MAX = 5000,
    ACCEPT_RETRY_US = 100 * 1000, /* after a failure: out of descriptors, most likely */
    SOURCE_THREADS_MAX = 4,       /* of each of nng's kinds, which otherwise grow with the CPUs */
};

/* Listener and dialer. */
struct source {
    struct ria_net_endpoint endpoint;
    nng_aio *aio;
    ria_net_link_fn fn;
    void *arg;
    struct ria_net_event event;
    nng_stream *stream; /* the result, from the callback to the event; NULL: it failed */
};

struct ria_net_listener {
    struct source source;
    nng_stream_listener *nng;
    struct ria_timer retry;
    uint16_t port;
};

struct ria_net_dialer {
    struct source source;
    nng_stream_dialer *nng;
};

_Static_assert(offsetof(struct ria_net_listener, source.endpoint) == 0, "freed as endpoint");
_Static_assert(offsetof(struct ria_net_dialer, source.endpoint) == 0, "freed as endpoint");

static ria_err err_of(int rv)
{
    switch (rv) {
    case 0:
        return RIA_OK;
    case NNG_ENOMEM:
        return RIA_ERR_NOMEM;
    case NNG_EADDRINUSE:
        return RIA_ERR_EXISTS;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
    case NNG_ENOTSUP:
        return RIA_ERR_INVALID;
    default:
        return RIA_ERR_IO;
    }
}

/* --- listener and dialer ----------------------------------------------------------------------*/

/* nng's threads: an accept or a dial has ended. */
static void on_stream(void *arg)
{
    struct source *source = arg;

    (void)pthread_mutex_lock(&source->endpoint.lock);
    source->stream = nng_aio_result(source->aio) == 0 ? nng_aio_get_output(source->aio, 0) : NULL;
    if (!source->endpoint.closing) {
        ria_net_inbox_push_one(source->endpoint.inbox, &source->event);
    }
    ria_net_endpoint_rest(&source->endpoint);
    (void)pthread_mutex_unlock(&source->endpoint.lock);
}

/* nng makes threads by the number of CPUs; five processes on a large machine need few of them. It
 * listens only before it has made any, and not to two threads at a time. */
static void limit_threads(void)
{
#if NNG_MAJOR_VERSION == 1 && NNG_MINOR_VERSION >= 7
    nng_init_set_parameter(NNG_INIT_MAX_TASK_THREADS, SOURCE_THREADS_MAX);
    nng_init_set_parameter(NNG_INIT_MAX_EXPIRE_THREADS, SOURCE_THREADS_MAX);
    nng_init_set_parameter(NNG_INIT_MAX_POLLER_THREADS, SOURCE_THREADS_MAX);
#endif
}

static ria_err source_init(
    struct source *source,
    void (*handle)(struct ria_net_endpoint *endpoint, struct ria_net_event *event),
    struct ria_net_inbox *inbox,
    ria_net_link_fn fn,
    void *arg
)
{
    static pthread_once_t limited = PTHREAD_ONCE_INIT;

    (void)pthread_once(&limited, limit_threads);
    ria_net_endpoint_init(&source->endpoint, inbox, handle);
    source->fn = fn;
    source->arg = arg;
    source->event =
        (struct ria_net_event){.kind = RIA_NET_EVENT_STREAM, .endpoint = &source->endpoint};
    return err_of(nng_aio_alloc(&source->aio, on_stream, source));
}

/* nng's side is closed: nothing new begins. */
static void source_free(struct source *source)
{
    ria_net_endpoint_wait(&source->endpoint);
    if (source->aio != NULL) {
        nng_aio_free(source->aio);
    }
    if (source->stream != NULL) {
        nng_stream_free(source->stream); /* it came too late for the owner */
    }
    ria_net_endpoint_free(&source->endpoint);
}

/* Give the owner what has come. */
static void source_deliver(struct source *source, bool accepted)
{
    struct ria_net_link *link = NULL;
    nng_stream *stream = RIA_STEAL(&source->stream);
    ria_err err = RIA_ERR_DISCONNECTED;

    if (stream != NULL) {
        err = ria_net_link_new(source->endpoint.inbox, stream, accepted, &link);
    }
    source->fn(source->arg, err, link);
}

static bool is_address(const char *address)
{
    static const char scheme[] = "tcp://";

    return strncmp(address, scheme, sizeof(scheme) - 1) == 0 && strlen(address) <= RIA_ADDRESS_MAX;
}

static void accept_next(struct ria_net_listener *listener)
{
    struct ria_net_endpoint *endpoint = &listener->source.endpoint;

    (void)pthread_mutex_lock(&endpoint->lock);
    endpoint->busy++;
    nng_stream_listener_accept(listener->nng, listener->source.aio);
    (void)pthread_mutex_unlock(&endpoint->lock);
}

static void accept_again(struct ria_timer *timer, void *arg)
{
    (void)timer;
    accept_next(arg);
}

static void
handle_accepted(struct ria_net_endpoint *endpoint, RIA_UNUSED struct ria_net_event *event)
{
    struct ria_net_listener *listener = (struct ria_net_listener *)(void *)endpoint;

    if (listener->source.stream == NULL) {
        ria_timer_start(
            ria_loop_timers(listener->source.endpoint.inbox->loop),
            &listener->retry,
            ACCEPT_RETRY_US
        );
        return;
    }
    source_deliver(&listener->source, true);
    if (!listener->source.endpoint.freed) {
        accept_next(listener);
    }
}

static void handle_dialed(struct ria_net_endpoint *endpoint, RIA_UNUSED struct ria_net_event *event)
{
    source_deliver(&((struct ria_net_dialer *)(void *)endpoint)->source, false);
}

static void listener_freep(struct ria_net_listener **listener)
{
    ria_net_listener_free(*listener);
    *listener = NULL;
}

ria_err ria_net_listener_new(
    struct ria_net_inbox *inbox,
    const char *address,
    ria_net_link_fn fn,
    void *arg,
    struct ria_net_listener **out_listener
)
{
    int port = 0;

    if (!is_address(address)) {
        return RIA_ERR_INVALID;
    }
    RIA_CLEANUP(listener_freep) struct ria_net_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_timer_init(&listener->retry, accept_again, listener);
    RIA_TRY(source_init(&listener->source, handle_accepted, inbox, fn, arg));
    RIA_TRY(err_of(nng_stream_listener_alloc(&listener->nng, address)));
    RIA_TRY(err_of(nng_stream_listener_set_bool(listener->nng, NNG_OPT_TCP_NODELAY, true)));
    RIA_TRY(err_of(nng_stream_listener_set_bool(listener->nng, NNG_OPT_TCP_KEEPALIVE, true)));
    RIA_TRY(err_of(nng_stream_listener_listen(listener->nng)));
    RIA_TRY(err_of(nng_stream_listener_get_int(listener->nng, NNG_OPT_TCP_BOUND_PORT, &port)));
    listener->port = (uint16_t)port;
    accept_next(listener);

    *out_listener = RIA_STEAL(&listener);
    return RIA_OK;
}

uint16_t ria_net_listener_port(const struct ria_net_listener *listener)
{
    return listener->port;
}

void ria_net_listener_free(struct ria_net_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    ria_timer_stop(ria_loop_timers(listener->source.endpoint.inbox->loop), &listener->retry);
    ria_net_endpoint_close(&listener->source.endpoint);
    if (listener->nng != NULL) {
        nng_stream_listener_close(listener->nng);
    }
    ria_net_endpoint_wait(&listener->source.endpoint);
    if (listener->nng != NULL) {
        nng_stream_listener_free(listener->nng);
    }
    source_free(&listener->source);
}

static void dialer_freep(struct ria_net_dialer **dialer)
{
    ria_net_dialer_free(*dialer);
    *dialer = NULL;
}

ria_err ria_net_dialer_new(
    struct ria_net_inbox *inbox,
    const char *address,
    ria_net_link_fn fn,
    void *arg,
    struct ria_net_dialer **out_dialer
)
{
    if (!is_address(address)) {
        return RIA_ERR_INVALID;
    }
    RIA_CLEANUP(dialer_freep) struct ria_net_dialer *dialer = calloc(1, sizeof(*dialer));
    if (dialer == NULL) {
        return RIA_ERR_NOMEM;
    }
    RIA_TRY(source_init(&dialer->source, handle_dialed, inbox, fn, arg));
    nng_aio_set_timeout(dialer->source.aio, DIAL_MS_MAX);
    RIA_TRY(err_of(nng_stream_dialer_alloc(&dialer->nng, address)));
    RIA_TRY(err_of(nng_stream_dialer_set_bool(dialer->nng, NNG_OPT_TCP_NODELAY, true)));
    RIA_TRY(err_of(nng_stream_dialer_set_bool(dialer->nng, NNG_OPT_TCP_KEEPALIVE, true)));

    *out_dialer = RIA_STEAL(&dialer);
    return RIA_OK;
}

void ria_net_dialer_dial(struct ria_net_dialer *dialer)
{
    struct ria_net_endpoint *endpoint = &dialer->source.endpoint;

    (void)pthread_mutex_lock(&endpoint->lock);
    RIA_ASSERT(endpoint->busy == 0);
    endpoint->busy++;
    nng_stream_dialer_dial(dialer->nng, dialer->source.aio);
    (void)pthread_mutex_unlock(&endpoint->lock);
}

void ria_net_dialer_free(struct ria_net_dialer *dialer)
{
    if (dialer == NULL) {
        return;
    }
    ria_net_endpoint_close(&dialer->source.endpoint);
    if (dialer->nng != NULL) {
        nng_stream_dialer_close(dialer->nng);
    }
    ria_net_endpoint_wait(&dialer->source.endpoint);
    if (dialer->nng != NULL) {
        nng_stream_dialer_free(dialer->nng);
    }
    source_free(&dialer->source);
}
