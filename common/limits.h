/* limits: every bound of the system that more than one module must agree on, with its reason.
 *
 * A bound that only one module knows lives in that module. Full always means a documented policy:
 * the comment says which (reject, wait, shed oldest).
 */
#pragma once

#include "common/base.h"

enum {
    /* Bytes of one frame between services. nng allocates what the peer announces, so every listener
     * and dialer sets this as RECVMAXSZ. Larger frames: the connection is closed. */
    RIA_FRAME_SIZE_MAX = 20 * 1024 * 1024,

    /* Bytes of one record batch, header included (Kafka: max.message.bytes). Rejected: TOO_LARGE.
     */
    RIA_BATCH_SIZE_MAX = 8 * 1024 * 1024,

    /* Payload bytes of one fetch reply. Always at least one whole batch is returned. */
    RIA_FETCH_SIZE_MAX = 8 * 1024 * 1024,

    /* Requests without a reply on one connection; further calls wait in the peer's queue. Large
     * enough that appends which wait for a slow follower do not hold up everything else between two
     * nodes. */
    RIA_RPC_INFLIGHT_MAX = 1000,

    /* Calls that wait for one peer's connection or in-flight slot. Rejected: BUSY. */
    RIA_RPC_QUEUE_MAX = 16384,

    /* Requests that one process holds unanswered (parked ones included). Rejected: BUSY. */
    RIA_RPC_HELD_MAX = 65536,

    RIA_TOPIC_NAME_MAX = 200,     /* bytes, as security.md: [A-Za-z0-9._-]{1,200} */
    RIA_PARTITIONS_MAX = 10000,   /* per topic. Rejected: INVALID */
    RIA_REPLICAS_MAX = 16,        /* per partition. Rejected: INVALID */
    RIA_NODES_MAX = 1024,         /* per cluster */
    RIA_ADDRESS_MAX = 255,        /* bytes of "tcp://host:port" */
    RIA_CONFIG_ENTRIES_MAX = 64,  /* per topic */
    RIA_CONFIG_VALUE_MAX = 256,   /* bytes */
    RIA_SQL_MAX = 16 * 1024,      /* bytes of one transform statement */
    RIA_RECORD_HEADERS_MAX = 256, /* per record. Rejected: INVALID */
    RIA_ERROR_TEXT_MAX = 1024,    /* bytes of an error's text on the wire */
};

_Static_assert(RIA_BATCH_SIZE_MAX <= RIA_FETCH_SIZE_MAX, "a fetch must be able to carry any batch");
_Static_assert(RIA_FETCH_SIZE_MAX * 2 < RIA_FRAME_SIZE_MAX, "a reply plus one batch must fit");

/* Producer ids from here on are the platform's own (gateways, transform tasks): a client that makes
 * up an id must never meet one of them. Ids below are the clients'. */
#define RIA_PRODUCER_ID_INTERNAL (INT64_C(1) << 62)
