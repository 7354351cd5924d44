/* net: the rpc interface over TCP connections, which nng carries (net_link.c, net_source.c).
 *
 * A listener takes connections from guests, who send requests; each peer that is called gets one
 * connection, dialled again by itself (50 to 250 ms). The bytes are those of nanomsg's REQ/REP
 * (net_wire.h). Request ids are ours, and nothing is ever sent twice behind our back. Frames of a
 * connection are handed out in the order they came in. nng's threads only read, write and wake the
 * loop; everything else happens on the loop's thread.
 *
 * Reading order: net_wire (bytes), net_inbox (threads to loop), net_link (a connection), net_source
 * (where connections come from), net (requests and calls).
 *
 * Failure modes:
 * - no connection: calls wait for it until their deadline, then RIA_ERR_DISCONNECTED;
 * - connection lost: calls that were sent end at once, RIA_ERR_DISCONNECTED; the others wait;
 * - connection up but silent: RIA_ERR_TIMEOUT; after 3 s of timeouts without any frame from the
 * peer the connection is closed and dialled again (a machine that vanished leaves such
 * connections);
 * - guests that speak something else are turned away and counted.
 *
 * Bounds: RIA_FRAME_SIZE_MAX per frame, RIA_RPC_INFLIGHT_MAX and RIA_RPC_QUEUE_MAX per peer.
 * Nothing is read from guests while RIA_RPC_HELD_MAX requests are held, from anybody while too many
 * bytes wait for the loop, from a guest that does not read its replies: TCP then slows the senders
 * down.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/rpc.h"

struct ria_net;

struct ria_net_stats {
    uint64_t requests_received;
    uint64_t replies_sent;
    uint64_t calls_sent;
    uint64_t calls_timed_out;
    uint64_t calls_disconnected;
    uint64_t frames_malformed;    /* received and dropped; most are replies that came too late */
    uint64_t frames_oversized;    /* of ours: not sent */
    uint64_t connections_refused; /* turned away: wrong greeting, none within 10 s, too many */
    uint64_t connections_lost;    /* to peers */
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint32_t connections; /* accepted, now */
    uint32_t requests_held;
    uint32_t peers;
};

/* listen_address may be NULL (a process that only calls). Borrows loop for its life. Requests are
 * read from the first ria_rpc_set_handler() on.
 * Errors: RIA_ERR_EXISTS if the address is in use, RIA_ERR_INVALID if it is no tcp:// address,
 * RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err ria_net_new(struct ria_loop *loop, const char *listen_address, struct ria_net **out_net)
    RIA_MUST_USE;

struct ria_rpc *ria_net_rpc(struct ria_net *net);

/* The port really bound (for "tcp://127.0.0.1:0"), 0 if not listening. */
uint16_t ria_net_port(const struct ria_net *net);

void ria_net_stats(const struct ria_net *net, struct ria_net_stats *out_stats);

/* Every call under way ends with RIA_ERR_SHUTDOWN before this returns, later ones as soon as they
 * can; no request is handed out any more. Replies still go out: call this, end the requests that
 * are held (free the service), then ria_net_free(). */
void ria_net_stop(struct ria_net *net);

/* Stops, writes the last replies (up to 1 s), closes. Frees requests that are still held: nobody
 * may touch them any more. Not from inside a callback. Accepts NULL. */
void ria_net_free(struct ria_net *net);
