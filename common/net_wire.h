/* net_wire: the bytes of a connection between services. Pure: no socket, no thread.
 *
 * Nanomsg's REQ/REP over TCP, so that nng's own tools can talk to a service:
 *
 *   greeting   00 53 50 00  PP PP  00 00      both sides, once; PP PP: who sends it
 *   frame      u64 size of the rest | u32 request id, top bit set | body
 *
 * Big-endian. A request carries its id and the reply brings it back. Requests that came through a
 * forwarder (more than one id in front of the body) are not accepted.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/msg.h"

enum {
    RIA_NET_GREETING_SIZE = 8,
    RIA_NET_HEAD_SIZE = 12,
    RIA_NET_BUFFER_SIZE = 8 * 1024, /* per connection; holds many small frames per read */
};

/* The numbers of the SP protocols. */
typedef enum ria_net_role {
    RIA_NET_ROLE_CALLER = 0x30, /* REQ */
    RIA_NET_ROLE_SERVER = 0x31, /* REP */
} ria_net_role;

void ria_net_wire_greeting(uint8_t out[RIA_NET_GREETING_SIZE], ria_net_role own);

/* What stands in front of a body. The id's top bit is set. */
void ria_net_wire_head(uint8_t out[RIA_NET_HEAD_SIZE], uint32_t id, size_t body_size);

/* Cuts received bytes into frames. Large bodies are received in place. */
struct ria_net_reader {
    ria_net_role peer; /* whose greeting is expected */
    bool greeted;      /* it has come */
    size_t start;      /* of the bytes in buffer that are not yet cut */
    size_t size;       /* their number */
    struct ria_msg *partial;
    uint32_t partial_id;
    size_t partial_got;
    uint8_t buffer[RIA_NET_BUFFER_SIZE];
};

struct ria_net_space {
    void *data;
    size_t size;
};

void ria_net_reader_init(struct ria_net_reader *reader, ria_net_role peer);
void ria_net_reader_fini(struct ria_net_reader *reader);

/* Where the next bytes go, in this order; call after ria_net_reader_next() had no more. Returns the
 * number of places, 1 or 2; never an empty one. */
size_t ria_net_reader_space(struct ria_net_reader *reader, struct ria_net_space out_places[2]);

/* So many bytes have been put there. */
void ria_net_reader_filled(struct ria_net_reader *reader, size_t size);

/* The next whole frame: *out_msg is the caller's, NULL if more bytes are needed first.
 * Errors, after which the connection is of no use: RIA_ERR_MALFORMED (greeting, id, size),
 * RIA_ERR_TOO_LARGE (above RIA_FRAME_SIZE_MAX), RIA_ERR_NOMEM. */
ria_err ria_net_reader_next(
    struct ria_net_reader *reader, uint32_t *out_id, struct ria_msg **out_msg
) RIA_MUST_USE;
