/* net_link: one connection. A part of net; with net_source the only file that knows nng.
 *
 * Bytes travel over an nng stream; net_wire cuts them into frames.
 *
 *   bytes -> frames -> inbox -> loop -> on_frame
 *   ria_net_link_send() -> queue -> one send at a time, of several frames; what the socket takes
 *                          at once is sent inside of ria_net_link_send()
 *
 * nng's raw REQ/REP sockets would do most of this, but those of nng 1.5 stop for ever when a
 * connection goes down while data comes in: their reaper waits for a receive that was refused
 * silently.
 *
 * Bounds: while too much waits in the inbox nothing is read from any link, and while a link's peer
 * does not read its replies nothing is read from that link: TCP then slows the senders down.
 *
 * Thread: the loop's, if nothing else is said.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/list.h"
#include "common/msg.h"
#include "common/net_inbox.h"
#include "common/net_wire.h"

struct ria_net_link;
struct nng_stream;

/* A message to send, embedded in whatever it belongs to. */
struct ria_net_frame {
    struct ria_list link;
    struct ria_msg *msg; /* NULL once it is being sent */
    uint32_t id;
};

struct ria_net_link_events {
    /* The peer has greeted. */
    void (*on_up)(void *arg);

    /* Takes msg. */
    void (*on_frame)(void *arg, uint32_t id, struct ria_msg *msg);

    /* At most once, and the last event. why: RIA_ERR_DISCONNECTED, _TIMEOUT (did not greet in 10
     * s), _MALFORMED, _TOO_LARGE, _NOMEM. The owner frees the link, now or later. */
    void (*on_lost)(void *arg, ria_err why);

    /* The frame's message is being sent, or was given up with the link. Any thread, no lock held.
     * NULL: frames stay the sender's, see ria_net_link_forget(). */
    void (*on_sent)(struct ria_net_frame *frame);
};

/* For net_source: a link over stream, which it takes, also if it fails. Errors: RIA_ERR_NOMEM. */
ria_err ria_net_link_new(
    struct ria_net_inbox *inbox,
    struct nng_stream *stream,
    bool accepted,
    struct ria_net_link **out_link
) RIA_MUST_USE;

/* Greet and receive. Borrows events and arg. */
void ria_net_link_start(
    struct ria_net_link *link, const struct ria_net_link_events *events, void *arg
);

/* Takes frame->msg; borrows frame until its msg is NULL or it is forgotten. */
void ria_net_link_send(struct ria_net_link *link, struct ria_net_frame *frame);

/* Nobody waits for this frame any more: drop it, unless it is being sent. */
void ria_net_link_forget(struct ria_net_link *link, struct ria_net_frame *frame);

/* Everything given to it has been handed to the system. */
bool ria_net_link_is_idle(struct ria_net_link *link);

/* Close the connection. No event comes any more. Waits for nng's threads to let go of it (well
 * below a millisecond). Accepts NULL. */
void ria_net_link_free(struct ria_net_link *link);
