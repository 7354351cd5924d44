/* listener: accepts TCP connections, up to a limit.
 *
 * Past the limit a connection gets one "503, Connection: close" and is closed a moment later, so
 * that the client can read it. At the process's limit of descriptors accepting pauses.
 *
 * Thread: the loop's.
 */
#pragma once

#include <sys/socket.h>

#include "common/base.h"
#include "common/err.h"
#include "common/loop.h"

struct listener;

struct listener_callbacks {
    bool (*may_accept)(void *arg);
    /* Takes fd (non-blocking). */
    void (*accepted)(void *arg, int fd, const struct sockaddr *address, socklen_t address_size);
    void (*refused)(void *arg);
    void *arg;
};

/* address: "host:port" or "[v6]:port", numeric or a name; an empty host or * is every interface.
 * Errors: RIA_ERR_INVALID, RIA_ERR_EXISTS, RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err listener_new(
    struct ria_loop *loop,
    const char *address,
    const struct listener_callbacks *callbacks,
    struct listener **out_listener
) RIA_MUST_USE;

uint16_t listener_port(const struct listener *listener);

/* Accepts NULL. */
void listener_free(struct listener *listener);
