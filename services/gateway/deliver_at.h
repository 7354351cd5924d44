/* deliver_at: when queues may hand a record out.
 *
 * A record's header says it, in milliseconds since 1970 as decimal digits. Everything else reads
 * the record at once.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/slice.h"

#include "schemas/batch.h"

#define DELIVER_AT_HEADER    "riacho-deliver-at"
#define DELIVER_AFTER_MS_MAX (INT64_C(30) * 24 * 60 * 60 * 1000)

/* Milliseconds since 1970; 0: it says nothing that can be read. */
int64_t deliver_at_of(const struct batch_record *record);

/* RFC 3339 ("2030-01-31T12:00:00.250+02:00") or milliseconds since 1970. */
bool deliver_at_parse(struct ria_slice text, int64_t *out_ms);

/* May DELIVER_AT_HEADER have this value, as a header like any other? NULL: it may; else the rule.
 */
const char *deliver_at_rule(struct ria_slice value, int64_t max_ms);

/* The header that says at_ms; false: no memory. */
bool deliver_at_header(struct ria_arena *arena, int64_t at_ms, struct batch_record_header *out);
