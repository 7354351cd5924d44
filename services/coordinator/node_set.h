/* node_set: a set of storage nodes, and what state one can be in. Node ids count from 1 and are
 * never reused, so a bit for each is enough. Pure. */
#pragma once

#include "common/assert.h"
#include "common/base.h"
#include "common/limits.h"

/* nodes.state */
enum node_state {
    NODE_ACTIVE = 0,
    NODE_SILENT = 1,    /* fenced: silent for a session */
    NODE_SHUT_DOWN = 2, /* fenced until its next incarnation: it said so */
    NODE_REMOVED = 3,   /* for good */
};

enum { NODE_SET_WORDS = (RIA_NODES_MAX + 1 + 63) / 64 };

struct node_set {
    uint64_t words[NODE_SET_WORDS];
};

/* False for an id that is none. */
static inline bool node_set_has(const struct node_set *set, int32_t node_id)
{
    return node_id >= 0 && node_id <= RIA_NODES_MAX &&
           ((set->words[node_id / 64] >> (node_id % 64)) & 1) != 0;
}

static inline void node_set_add(struct node_set *set, int32_t node_id)
{
    RIA_ASSERT(node_id >= 0);
    RIA_ASSERT(node_id <= RIA_NODES_MAX);
    set->words[node_id / 64] |= UINT64_C(1) << (node_id % 64);
}

static inline void node_set_remove(struct node_set *set, int32_t node_id)
{
    RIA_ASSERT(node_id >= 0);
    RIA_ASSERT(node_id <= RIA_NODES_MAX);
    set->words[node_id / 64] &= ~(UINT64_C(1) << (node_id % 64));
}
