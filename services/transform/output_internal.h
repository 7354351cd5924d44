/* output_internal: what the output*.c files share.
 *
 *   output.c          life, adding records, building batches
 *   output_recover.c  reading the position back from the log
 *   output_send.c     sending batches until they are acknowledged
 */
#pragma once

#include "services/transform/output.h"

typedef enum output_batch_state {
    BATCH_QUEUED, /* to be sent, or sent again */
    BATCH_SENT,
    BATCH_ACKED, /* waits for those before it */
} output_batch_state;

/* A batch that has its sequence. Owned by the output's list. */
struct output_batch {
    struct ria_list link;
    struct output *output;
    output_batch_state state;
    uint8_t *data;
    size_t size;
    int64_t first_source; /* source offset of its first record */
    size_t charged;       /* bytes counted in the budget */
};

void output_batch_free(struct output_batch *batch);

/* Address of the partition's leader, for a call that is made now; NULL if there is none. */
const char *output_leader_address(struct output *output);

/* What was read or acknowledged is too old to go on from. */
bool output_is_stale(const struct output *output);

/* Start the retry timer: longer with each failure in a row. */
void output_retry_later(struct output *output);

/* Give up: no call of this output is answered any more. */
void output_stop(struct output *output, ria_err err, const char *text);

/* The retry timer fired, or need not be waited for. */
void output_recover_again(struct output *output);
void output_send(struct output *output);

/* Whatever is under way gets no answer; what it carried is to be sent again. */
void output_send_abandon(struct output *output);
