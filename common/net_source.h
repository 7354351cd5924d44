/* net_source: where links come from: a listener accepts them, a dialer makes them. A part of net.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/net_inbox.h"
#include "common/net_link.h"

struct ria_net_listener;
struct ria_net_dialer;

/* err == RIA_OK: a new connection; the callee owns link and starts or frees it. */
typedef void (*ria_net_link_fn)(void *arg, ria_err err, struct ria_net_link *link);

/* fn is called for each connection. Borrows inbox and arg.
 * Errors: RIA_ERR_EXISTS if the address is in use, RIA_ERR_INVALID if it is no tcp:// address of
 * this machine, RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err ria_net_listener_new(
    struct ria_net_inbox *inbox,
    const char *address,
    ria_net_link_fn fn,
    void *arg,
    struct ria_net_listener **out_listener
) RIA_MUST_USE;

/* The port really bound. */
uint16_t ria_net_listener_port(const struct ria_net_listener *listener);

/* Its links live on. Accepts NULL. */
void ria_net_listener_free(struct ria_net_listener *listener);

/* Borrows inbox and arg. Errors: RIA_ERR_INVALID if it is no tcp:// address, RIA_ERR_NOMEM. */
ria_err ria_net_dialer_new(
    struct ria_net_inbox *inbox,
    const char *address,
    ria_net_link_fn fn,
    void *arg,
    struct ria_net_dialer **out_dialer
) RIA_MUST_USE;

/* Try to connect, for 5 s: fn is called once, with RIA_ERR_DISCONNECTED if it failed. One at a
 * time. */
void ria_net_dialer_dial(struct ria_net_dialer *dialer);

/* Its links live on. Accepts NULL. */
void ria_net_dialer_free(struct ria_net_dialer *dialer);
