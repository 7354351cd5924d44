/* group_streams: all live streams of groups at this gateway (group_stream.h).
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/timers.h"

struct gateway;

struct group_streams {
    struct gateway *gateway;
    struct ria_list all;
    struct ria_timer tick;
};

void group_streams_init(struct group_streams *streams, struct gateway *gateway);

/* Forgets all; after everything that they may wait for. Their requests may still be released. */
void group_streams_fini(struct group_streams *streams);

/* The gateway ends: every stream is told so. */
void group_streams_stop(struct group_streams *streams);

/* Streams of deleted topics end. */
void group_streams_view_changed(struct group_streams *streams);
