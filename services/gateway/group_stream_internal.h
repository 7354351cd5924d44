/* group_stream_internal: what group_stream.c (the client's side), group_stream_parts.c (leases) and
 * group_stream_text.c (what is sent) share.
 *
 * Thread: the loop's.
 */
#pragma once

#include "schemas/gen/group_commit.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_stream.h"

/* A leased partition. */
struct group_part {
    struct group_stream *stream;
    struct cluster_partition *partition;
    int64_t lease;
    int64_t next;      /* to be read */
    int64_t written;   /* handed to the socket up to here */
    int64_t committed; /* and this is known to be the group's position */
    int64_t renew_us;  /* extend it by then */
    int64_t retry_us;  /* reading failed: not before; 0 = it did not */
    bool is_new;       /* there may be records that nobody has told of */
    bool is_lost;      /* somebody else has it; told, and gone when nothing refers to it */
    bool is_told;
    bool goes;  /* to be given back, and leased anew */
    bool waits; /* for records */
    struct watch_wait wait;
};

/* The end of an event, or (at the end of the text) of what was read without one. */
struct group_mark {
    uint32_t end;
    uint32_t part;
    int64_t from;
    int64_t next;
    bool is_record;
};

struct group_stream {
    struct ria_list link;         /* in gateway->group_streams.all */
    struct gateway *gateway;      /* NULL: it is gone */
    struct request *request;      /* NULL: it has ended */
    struct ria_arena arena;       /* what it was asked */
    struct ria_arena fetch_arena; /* of the fetch under way */
    struct ria_arena commit_arena;
    struct ria_slice group;
    struct ria_slice member;
    struct filter_set *filter;
    stream_form form;
    bool client_commits;
    int64_t lease_ms;
    int64_t heartbeat_us;
    int64_t ends_us;      /* INT64_MAX: never */
    int64_t records_left; /* -1: no limit */
    uint32_t parts_max;
    /* what its cursor has and counts no more: told at the beginning */
    group_lost *lost;
    uint32_t lost_count;
    uint32_t lost_told;
    /* leases */
    struct group_part *parts; /* parts_max of them, by topic and number */
    uint32_t part_count;
    struct group_fetch wish; /* as each fetch begins */
    struct group_fetch fetch;
    bool acquires;
    bool has_acquired;  /* the fetch's leases are to be taken over */
    int64_t acquire_us; /* not before */
    int64_t generation; /* of the plan, -1: not known */
    bool is_moving;     /* the plan has changed: everything is given back */
    struct group_reading reading;
    struct group_held held[GROUP_PARTITIONS_MAX];
    bool reads;
    bool has_read;
    struct group_op op;
    struct group_commit commit;
    bool commits;
    /* what is sent */
    struct ria_buf text;
    struct ria_buf marks;
    size_t charged;
    size_t at;     /* bytes of the text that were given to the socket */
    uint32_t mark; /* marks before it that were handed over */
    struct ria_buf control;
    size_t control_at;
    bool is_answered; /* the request has the stream */
    bool is_begun;    /* it was asked for the first piece */
    bool hungry;
    bool beat_due;
    bool is_finished;
    const char *end_code;
    char *end_message;
    int64_t sent_us;
    int64_t pulled_us;
};

static inline int64_t group_stream_now(const struct group_stream *stream)
{
    return ria_clock_mono_us(stream->gateway->env->clock);
}

/* --- group_stream.c */

/* A reason (message NULL) or an error; the first one counts. */
void group_stream_end(struct group_stream *stream, const char *code, const char *message);

/* There may be something to send. */
void group_stream_wake(struct group_stream *stream);

/* Something under way has ended: the stream is freed if it was the last thing of one that is gone.
 * True: it is gone, do nothing more. */
bool group_stream_is_gone(struct group_stream *stream);

/* --- group_stream_parts.c */

/* Lease what there is; the first time without waiting. */
void group_stream_acquire(struct group_stream *stream, group_fetch_fn done, int64_t wait_us);

/* What has come becomes text; what is to be read next is asked for. Only while there is no text. */
void group_stream_feed(struct group_stream *stream);

/* Commit, extend, give back what is due. */
void group_stream_commit(struct group_stream *stream);

/* The client has gone. */
void group_stream_give_back(struct group_stream *stream);

/* --- group_stream_text.c */

/* Records of the batches for the part, behind the text. Errors: RIA_ERR_MALFORMED,
 * RIA_ERR_UNSUPPORTED, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err group_stream_render(struct group_stream *stream, uint32_t part, struct ria_slice batches)
    RIA_MUST_USE;

/* The chunk is complete. */
ria_err group_stream_finish_text(struct group_stream *stream) RIA_MUST_USE;

/* The socket has taken what it was given. */
void group_stream_handed(struct group_stream *stream);

/* All but the rest of the event that was begun is read again later. */
void group_stream_drop_text(struct group_stream *stream);

void group_stream_clear_text(struct group_stream *stream);

/* Into control. Errors: RIA_ERR_NOMEM. */
ria_err group_stream_say_beginning(struct group_stream *stream) RIA_MUST_USE;
ria_err group_stream_say_beat(struct group_stream *stream) RIA_MUST_USE;
ria_err
group_stream_say_lost(struct group_stream *stream, const struct group_part *part) RIA_MUST_USE;
ria_err
group_stream_say_uncommitted(struct group_stream *stream, const group_lost *lost) RIA_MUST_USE;
ria_err group_stream_say_end(struct group_stream *stream) RIA_MUST_USE;
