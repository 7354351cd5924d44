/* stream_flock: what streams.c (one client), stream_flock.c (those who stand together),
 * stream_read.c (what is under way for them) and stream_class.c (who may stand together) share.
 *
 * A flock is a chain of nodes: all but the last have a piece; a stream holds the node that it
 * sends, or the last one, where it waits. Nodes behind all streams are freed by themselves. What
 * comes next is read when a stream waits at the end of the chain, never before.
 * Waking a thousand streams is work: for as long as that took they are left alone afterwards, so
 * that each takes more at a time.
 *
 * The flock of a class that has caught up with all its partitions leads: it alone watches them.
 * Other flocks read up to where the leading one stands, and join it there.
 *
 * Thread: the loop's.
 */
#pragma once

#include "services/gateway/streams.h"

/* Streams that want the same. */
struct stream_class {
    struct streams *streams;
    struct ria_slice key; /* own memory */
    struct cluster_topic *topic;
    struct stream_shape shape; /* owns its partitions and filter */
    stream_policy policy;
    struct ria_list flocks;
    struct flock *lead; /* NULL: none has caught up */
};

struct stream_node {
    uint32_t refs;
    struct stream_piece *piece; /* NULL: not there yet, or (with next) nothing: go on */
    struct stream_node *next;   /* NULL: the last one */
    uint64_t position;          /* bytes of the flock in front of it */
};

struct flock_read;

struct flock {
    struct ria_list link; /* class->flocks */
    struct stream_class *class;
    struct ria_list streams;
    uint32_t hungry; /* streams that wait at the end of the chain */
    struct stream_node *last;
    struct ria_timer wake; /* those who wait are woken when it fires */
    int64_t woken_us;
    int64_t served_us;     /* when a stream last had taken all there was */
    uint64_t woken;        /* position up to which they were woken */
    uint64_t checked;      /* position up to which slow streams were looked for */
    struct ria_list ahead; /* of the leading one: flocks that wait for it to go on */
    struct ria_list ahead_link;
    uint32_t reading;  /* slots with a fetch under way */
    uint32_t watching; /* with a wait */
    uint32_t next_slot;
    int64_t *offsets;          /* behind the chain */
    int64_t *highs;            /* known high watermarks; INT64_MAX: look */
    struct flock_read **reads; /* what is under way; NULL: nothing */
};

struct stream {
    struct ria_list link;    /* flock->streams */
    struct ria_list all;     /* streams->all */
    struct streams *streams; /* NULL: the gateway is gone */
    struct request *request;
    struct flock *flock;
    struct stream_node *node;
    struct stream_piece *piece; /* being sent; the node's, or one left over when it was evicted */
    uint32_t mark;              /* events of it that were sent */
    uint32_t mark_end;          /* events of it to send */
    size_t at;                  /* bytes of it that were sent */
    bool hungry;
    bool was_fed; /* it had events since it was last hungry, from this flock */
    bool beat_due;
    bool is_begun;    /* it was asked for the first piece */
    bool is_finished; /* after the control text nothing comes */
    uint8_t *control; /* text of its own: beginning, heartbeat, end */
    size_t control_size;
    size_t control_at;
    const char *end_code; /* not NULL: it is to end. A reason, or with a message an error */
    char *end_message;
    int64_t heartbeat_us;
    int64_t sent_us;
    int64_t pulled_us;
    int64_t ends_us;      /* INT64_MAX: never */
    int64_t records_left; /* -1: no limit */
};

/* stream_class.c */

/* The class for a wish, made if there is none. Errors: RIA_ERR_NOMEM, RIA_ERR_INVALID (filter). */
ria_err stream_class_get(
    struct streams *streams, const struct stream_wish *wish, struct stream_class **out_class
) RIA_MUST_USE;

/* Without flocks it is freed. */
void stream_class_check(struct stream_class *class);

void stream_class_free(struct stream_class *class);

/* stream_flock.c */

/* Into a flock that stands at these offsets, or one of its own. Errors: RIA_ERR_NOMEM. */
ria_err flock_join(
    struct stream_class *class, struct stream *stream, const int64_t *offsets, const int64_t *highs
) RIA_MUST_USE;

/* From its flock into one that stands at these offsets. What it was sending is dropped, but for
 * stream->piece. Errors: RIA_ERR_NOMEM (it stays where it was). */
ria_err flock_change(struct stream *stream, const int64_t *offsets) RIA_MUST_USE;

/* The flock may be freed; the class is not. */
void flock_leave(struct stream *stream);

/* Somebody waits: read on. The flock may be gone when it returns: merged, or failed. */
void flock_feed(struct flock *flock);

/* Forget what is under way and free it, whatever stands in it. */
void flock_free(struct flock *flock);

void stream_node_unref(struct stream_node *node);

/* Offsets behind what the stream has sent. */
void stream_place(const struct stream *stream, int64_t *out_offsets);

/* The piece follows; takes it. The flock may be gone afterwards. */
void flock_fill(struct flock *flock, struct stream_piece *piece);

/* All streams of the flock end with this error. */
void flock_fail(struct flock *flock, const char *code, const char *message);

/* stream_read.c */

/* Fetch what the slot has before bound, into flock_fill(). False: no memory, all have been told. */
bool flock_read_start(struct flock *flock, uint32_t slot, int64_t bound);

/* The slot has nothing: wait for more. False: as above. */
bool flock_watch_start(struct flock *flock, uint32_t slot);

/* The flock watches nothing any more. */
void flock_watch_stop(struct flock *flock);

/* Forget it. */
void flock_read_free(struct flock_read *read);

/* streams.c */

/* It ends: with a reason (message NULL) or an error. The first one counts. Both texts are copied
 * but for code, which is static. */
void stream_end(struct stream *stream, const char *code, const char *message);

/* The stream falls out of its flock, and goes on alone from where it stands. It holds nothing any
 * more, but an event that it has begun. */
void stream_evict(struct stream *stream);
