/* consumer_notes: what an answer with records has delivered, noted when the socket has it.
 *
 * One request to the coordinator: the held leases' next offsets, and the mark of the answer is
 * taken from the instance's detail (consumer_call.h). If it cannot be said, or the gateway dies
 * before, nothing counts as delivered and the records come again.
 *
 * Bounded: as many as there are answers; they hold what they copy.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"

#include "services/gateway/group_ops.h"

struct consumer_call;
struct group_held;

struct consumer_notes {
    struct group_ops *ops;
    struct ria_list live;
};

void consumer_notes_init(struct consumer_notes *notes, struct group_ops *ops);

/* Forgets those under way. */
void consumer_notes_fini(struct consumer_notes *notes);

struct consumer_note;

/* Before the answer: everything is copied. count 0: nothing was delivered, only the mark goes.
 * NULL: no memory. */
struct consumer_note *consumer_note_new(
    struct consumer_notes *notes,
    struct consumer_call *call,
    const struct group_held *held,
    uint32_t count
);

/* The answer has ended: says so, and frees the note. */
void consumer_note_end(struct consumer_note *note, bool delivered);
