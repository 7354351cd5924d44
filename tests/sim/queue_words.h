/* queue_words: what a consumer of a queue says of the records that it has (ack, nack, extend,
 * reject), and what it is told of it. Both go into the history.
 */
#pragma once

#include "common/base.h"

#include "tests/sim/queue_consumer.h"

enum { QUEUE_WORDS_SIZE = QUEUE_ITEMS_MAX * (QUEUE_LOCK_SIZE + 4) + 256 };

/* The call's path ends with it: "ack". */
const char *queue_words_verb(history_action action);

/* Say consumer->action of every item that is to have it: SAY of each; the call's body into out,
 * which has QUEUE_WORDS_SIZE bytes. */
void queue_words_say(struct queue_consumer *consumer, char *out);

/* An answer with status 200, 207 or 409 to what was just said: TOLD of each. Items whose extension
 * was refused go. */
void queue_words_take(struct queue_consumer *consumer, int status, const struct sim_http *http);

/* Until when a record is surely the consumer's that a gateway, by its wall clock, says is locked
 * until locked_until_ms. */
int64_t queue_words_until(const struct queue_consumer *consumer, int64_t locked_until_ms);

/* The latest that a lock of now can end, by the coordinator's clock; HISTORY_NO_CLOCK: not known.
 */
int64_t queue_words_deadline(const struct queue_consumer *consumer);
