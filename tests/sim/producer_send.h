/* producer_send: how a producer's batch gets to the log and its answer back: a Produce call to the
 * leader, or a POST to a gateway.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "tests/sim/producer.h"

struct producer_part {
    ria_err err;
    bool is_definite; /* with an err */
    int64_t offset;   /* with RIA_OK */
};

struct producer_answer {
    ria_err err;
    bool is_definite; /* with an err: nothing is stored, nor will be by this attempt */
    int64_t offset;   /* with RIA_OK: of the first record, the others follow it */
    const struct producer_part *parts; /* not NULL: each record's own, and the above is unset */
};

/* Attempt it once: its answer comes to producer_take_answer(), never from inside. False: it is not
 * known where to. */
bool producer_send(struct outgoing *batch);
void producer_take_answer(struct outgoing *batch, const struct producer_answer *answer);

/* The answer comes to producer_take_id(), never from inside. */
void producer_ask_for_id(struct producer *producer);
void producer_take_id(struct producer *producer, ria_err err, int64_t producer_id);
