#include "services/gateway/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/assert.h"

enum {
    LISTEN_BACKLOG = 1024,
    ACCEPT_PER_TURN = 64,
    REFUSED_MAX = 64, /* refused connections that linger; the oldest makes room */
    REFUSED_LINGER_US = 500 * 1000,
    PAUSE_US = 100 * 1000,
    ADDRESS_TEXT_MAX = 300,
};

static const char refusal[] =
    "HTTP/1.1 503 Service Unavailable\r\n"
    "Content-Type: application/json\r\n"
    "Connection: close\r\n"
    "Retry-After: 1\r\n"
    "Content-Length: 122\r\n"
    "\r\n"
    "{\"error\":{\"code\":\"too_many_connections\",\"message\":\"the gateway serves no more "
    "connections at the moment; try again soon\"}}";
/* The length above is that of the body. */
_Static_assert(sizeof(refusal) - 1 == 124 + 122, "Content-Length of the refusal");

struct refused {
    int fd; /* -1: free */
    int64_t close_us;
};

struct listener {
    struct ria_loop *loop;
    struct listener_callbacks callbacks;
    int fd;
    uint16_t port;
    struct ria_timer pause;  /* accepting goes on when it fires */
    struct ria_timer linger; /* close refused connections */
    struct refused refused[REFUSED_MAX];
    uint32_t refused_next;
};

/* --- refusing ----------------------------------------------------------------------------------*/

static void close_refused(struct refused *refused)
{
    char rest[4096];

    if (refused->fd < 0) {
        return;
    }
    /* Unread bytes would turn the close into a reset, which may overtake the answer. */
    while (recv(refused->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0) {
    }
    (void)close(refused->fd);
    refused->fd = -1;
}

static void refuse(struct listener *listener, int fd)
{
    struct refused *slot = &listener->refused[listener->refused_next];
    struct ria_timers *timers = ria_loop_timers(listener->loop);

    listener->refused_next = (listener->refused_next + 1) % REFUSED_MAX;
    close_refused(slot);
    (void)send(fd, refusal, sizeof(refusal) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    slot->fd = fd;
    slot->close_us = ria_clock_mono_us(timers->clock) + REFUSED_LINGER_US;
    if (!listener->linger.active) {
        ria_timer_start(timers, &listener->linger, REFUSED_LINGER_US);
    }
    listener->callbacks.refused(listener->callbacks.arg);
}

static void linger_due(struct ria_timer *timer, void *arg)
{
    struct listener *listener = arg;
    struct ria_timers *timers = ria_loop_timers(listener->loop);
    int64_t now_us = ria_clock_mono_us(timers->clock);
    bool left = false;

    for (size_t i = 0; i < REFUSED_MAX; i++) {
        if (listener->refused[i].close_us <= now_us) {
            close_refused(&listener->refused[i]);
        }
        left = left || listener->refused[i].fd >= 0;
    }
    if (left) {
        ria_timer_start(timers, timer, REFUSED_LINGER_US / 4);
    }
}

/* --- accepting ---------------------------------------------------------------------------------*/

static void readable(void *arg, uint32_t events)
{
    struct listener *listener = arg;
    struct ria_timers *timers = ria_loop_timers(listener->loop);

    (void)events;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        struct sockaddr *generic = (struct sockaddr *)&address;
        int fd = accept4(listener->fd, generic, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            /* It would be ready again at once, for ever. */
            ria_loop_unwatch(listener->loop, listener->fd);
            ria_timer_start(timers, &listener->pause, PAUSE_US);
            return;
        }
        if (fd < 0) {
            return; /* nothing more, or a connection that has gone already */
        }
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (listener->callbacks.may_accept(listener->callbacks.arg)) {
            listener->callbacks.accepted(listener->callbacks.arg, fd, generic, size);
        } else {
            refuse(listener, fd);
        }
    }
}

static void pause_due(struct ria_timer *timer, void *arg)
{
    struct listener *listener = arg;

    if (ria_loop_watch(listener->loop, listener->fd, EPOLLIN, readable, listener) != RIA_OK) {
        ria_timer_start(ria_loop_timers(listener->loop), timer, PAUSE_US);
    }
}

/* --- opening -----------------------------------------------------------------------------------*/

/* Splits "host:port" in place; false if it is not of that form. */
static bool split(char *text, char **out_host, char **out_port)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL || colon[1] == '\0') {
        return false;
    }
    *colon = '\0';
    *out_port = colon + 1;
    *out_host = text;
    size_t size = strlen(text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text[size - 1] = '\0';
        *out_host = text + 1;
    }
    return true;
}

static ria_err open_socket(struct listener *listener, const struct addrinfo *info)
{
    int on = 1;

    listener->fd = socket(
        info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info->ai_protocol
    );
    if (listener->fd < 0) {
        return ria_err_from_errno(errno);
    }
    (void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener->fd, info->ai_addr, info->ai_addrlen) != 0 ||
        listen(listener->fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE) {
            return RIA_ERR_EXISTS;
        }
        return errno == EADDRNOTAVAIL ? RIA_ERR_INVALID : ria_err_from_errno(errno);
    }
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &size) == 0) {
        listener->port = bound.ss_family == AF_INET6
                             ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port)
                             : ntohs(((struct sockaddr_in *)&bound)->sin_port);
    }
    return ria_loop_watch(listener->loop, listener->fd, EPOLLIN, readable, listener);
}

static ria_err open_address(struct listener *listener, const char *address)
{
    char text[ADDRESS_TEXT_MAX];
    char *host = NULL;
    char *port = NULL;
    struct addrinfo *infos = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};

    int n = snprintf(text, sizeof(text), "%s", address);
    if (n < 0 || (size_t)n >= sizeof(text) || !split(text, &host, &port)) {
        return RIA_ERR_INVALID;
    }
    bool any = host[0] == '\0' || strcmp(host, "*") == 0;
    if (getaddrinfo(any ? "0.0.0.0" : host, port, &hints, &infos) != 0) {
        return RIA_ERR_INVALID;
    }
    ria_err err = open_socket(listener, infos);
    freeaddrinfo(infos);
    return err;
}

ria_err listener_new(
    struct ria_loop *loop,
    const char *address,
    const struct listener_callbacks *callbacks,
    struct listener **out_listener
)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    if (listener == NULL) {
        return RIA_ERR_NOMEM;
    }
    listener->loop = loop;
    listener->callbacks = *callbacks;
    listener->fd = -1;
    ria_timer_init(&listener->pause, pause_due, listener);
    ria_timer_init(&listener->linger, linger_due, listener);
    for (size_t i = 0; i < REFUSED_MAX; i++) {
        listener->refused[i].fd = -1;
    }
    ria_err err = open_address(listener, address);
    if (err != RIA_OK) {
        listener_free(listener);
        return err;
    }
    *out_listener = listener;
    return RIA_OK;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

void listener_free(struct listener *listener)
{
    if (listener == NULL) {
        return;
    }
    ria_timer_stop(ria_loop_timers(listener->loop), &listener->pause);
    ria_timer_stop(ria_loop_timers(listener->loop), &listener->linger);
    for (size_t i = 0; i < REFUSED_MAX; i++) {
        close_refused(&listener->refused[i]);
    }
    if (listener->fd >= 0) {
        ria_loop_unwatch(listener->loop, listener->fd);
        (void)close(listener->fd);
    }
    free(listener);
}
