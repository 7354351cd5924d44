/* node_window: how much may be on its way to one follower node.
 *
 * A node that does not answer must not take the room of the others: each may have at most half of
 * what is left of the worker's budget (dynamic thresholds, Choudhury and Hahne 1998), so however
 * many are stuck, there is room for one more.
 */
#pragma once

#include "common/base.h"

enum {
    NODE_WINDOW_BYTES_MAX = 8 * 1024 * 1024,
    NODE_WINDOW_BYTES_MIN = 256 * 1024,
    NODE_WINDOW_SLACK = 4 * 1024 * 1024,  /* what was asked for before the window was full */
    NODE_WINDOW_BUDGET = 48 * 1024 * 1024 /* of all nodes together */
};

struct node_window {
    int64_t bytes;        /* queued or under way */
    const int64_t *total; /* of all nodes of the worker */
};

static inline int64_t node_window_limit(const struct node_window *window)
{
    int64_t share = (NODE_WINDOW_BUDGET - *window->total) / 2;

    return ria_max_i64(NODE_WINDOW_BYTES_MIN, ria_min_i64(share, NODE_WINDOW_BYTES_MAX));
}

/* Nothing more is to be asked for. */
static inline bool node_window_is_full(const struct node_window *window)
{
    return window->bytes >= node_window_limit(window);
}

/* Nothing more is to be taken. */
static inline bool node_window_is_over(const struct node_window *window)
{
    return window->bytes >= node_window_limit(window) + NODE_WINDOW_SLACK;
}
