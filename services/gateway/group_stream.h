/* group_stream: a live stream to one consumer of a group.
 *
 *   acquire (group_fetch.h) -> leased partitions -> read on, one by one -> text -> socket
 *                                   |  watched at their ends      |
 *                                   +-- extended, committed ------+ what the socket has taken
 *
 * Leases are the stream's for as long as it lasts. Every GROUP_STREAM_TICK_US one operation commits
 * all that was handed to the socket (unless the client commits itself) and extends what is half
 * over. When the client has gone, what it was given is committed and the leases are given back.
 * Each event's id is the group's cursor behind it, with all leases: whoever comes back with it,
 * through any gateway, commits it and frees them.
 *
 * One chunk of text is held, no more is read until the socket has taken it; who takes nothing for a
 * second keeps only the rest of the event that it has begun, and the rest is read again.
 *
 * What the cursor that it began with has, and does not count any more, is told first (`lost`): of
 * a topic that was deleted, of a partition that others go on with. A lease that somebody else has
 * by now is told as well, and the stream goes on with the others. A named member whose share has
 * changed gives everything back and is given what is its own now.
 *
 * Thread: the loop's.
 */
#pragma once

#include "services/gateway/filter.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/group_streams.h"
#include "services/gateway/stream_piece.h"

#define GROUP_STREAM_TICK_US (100 * INT64_C(1000))

/* What a client asked for. Borrowed for the call, but for the filter. */
struct group_stream_wish {
    struct ria_slice group;
    struct ria_slice member;
    struct cluster_topic **topics;
    uint32_t topic_count;
    struct group_read_group_read_commit *commits; /* of the cursor it comes back with */
    uint32_t commit_count;
    group_lost *lost; /* and what is in it of topics that are gone */
    uint32_t lost_count;
    struct filter_set *filter; /* takes it, on errors too */
    stream_form form;
    bool client_commits;
    bool from_latest;
    group_range_policy on_range;
    int32_t partitions_max;
    int64_t lease_ms;
    int64_t session_ms;
    int64_t heartbeat_ms;
    int64_t records_max; /* 0 = no limit */
    int64_t time_max_ms; /* 0 = no limit */
};

/* Answers the request: with the stream, or why not. Takes a reservation of streams_reserve(). */
void group_stream_open(
    struct gateway *gateway, struct request *request, const struct group_stream_wish *wish
);
