/* producer_table: what one partition remembers of its idempotent producers.
 *
 * Snapshot format: docs/formats/producer-snapshot.md. Rules: kafka-protocol 2.4. Each producer id
 * has an epoch and its last five batches, which is why a producer may have five in flight: a batch
 * that comes again within that window is recognised and gets its first offset back.
 *
 * Bounded: PRODUCER_TABLE_MAX ids; past it the one silent for longest is forgotten. An id is
 * forgotten anyway after a day of silence, as this process measures it (a monotonic clock: neither
 * the clients' timestamps nor a jump of the wall clock can expire it). A forgotten producer must
 * begin anew, as a new one must: at sequence 0. If it could begin anywhere, the second of two
 * batches that are under way might be taken while the first is not, and the first, when it comes
 * again, would look like one that was stored long ago.
 *
 * Thread: the owner's. Pure: no files, no clock here.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

enum {
    PRODUCER_WINDOW = 5,         /* batches; Kafka's max.in.flight.requests.per.connection */
    PRODUCER_TABLE_KEPT = 10000, /* that many are kept however long they are silent */
    PRODUCER_TABLE_MAX = 100000, /* ids of one partition. Full: the longest silent one is shed */
};

struct producer_batch {
    int32_t first_sequence;
    int32_t last_sequence;
    int64_t base_offset;
    int64_t last_offset;
};

struct producer_state {
    int64_t producer_id;
    int16_t epoch;
    uint32_t batch_count; /* newest last */
    struct producer_batch batches[PRODUCER_WINDOW];
    int64_t last_timestamp_ms; /* newest record timestamp of its last batch */
};

struct producer_entry;

/* Entries in one array, found through a hash of slots, listed by age. */
struct producer_table {
    struct producer_entry *entries;
    uint32_t capacity;
    uint32_t count;
    uint32_t free_head; /* indexes into entries; UINT32_MAX = none */
    uint32_t oldest;
    uint32_t newest;
    uint32_t *slots; /* index + 1; 0 = empty */
    uint32_t slot_count;
    uint64_t shed_count; /* for the metric */
};

void producer_table_init(struct producer_table *table);
void producer_table_fini(struct producer_table *table);
void producer_table_clear(struct producer_table *table);

/* NULL if nothing is known of the id. Valid until the table changes. */
const struct producer_state *
producer_table_find(const struct producer_table *table, int64_t producer_id);

/* May a leader append this batch? A producer id of -1: always. *out_duplicate_offset is the
 * original base offset if it is in the log already, else -1. An id of which nothing is known, and
 * a new epoch, begin at sequence 0. Errors: RIA_ERR_OUT_OF_ORDER,
 * RIA_ERR_FENCED_PRODUCER. */
ria_err producer_table_admit(
    const struct producer_table *table,
    const struct batch_header *header,
    int64_t *out_duplicate_offset
) RIA_MUST_USE;

/* Room for `more` new ids, so that producer_table_note() cannot fail. Errors: RIA_ERR_NOMEM. */
ria_err producer_table_reserve(struct producer_table *table, uint32_t more) RIA_MUST_USE;

/* The batch is in the log at header->base_offset. Room must have been reserved. Checks nothing:
 * what is in the log is true. now_us: monotonic. Also forgets who has been silent for a day. */
void producer_table_note(
    struct producer_table *table, const struct batch_header *header, int64_t now_us
);

/* True if any remembered batch reaches offset or beyond: then a truncation there must rebuild. */
bool producer_table_reaches(const struct producer_table *table, int64_t offset);

/* The content of a snapshot: the state below `offset`. Ages are kept, as silence so far.
 * Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err producer_table_encode(
    const struct producer_table *table, int64_t offset, int64_t now_us, struct ria_buf *out
) RIA_MUST_USE;

/* Replaces the table. `offset` must be the snapshot's own.
 * Errors: RIA_ERR_CORRUPT, RIA_ERR_UNKNOWN_VERSION, RIA_ERR_NOMEM: the table is empty then. */
ria_err producer_table_decode(
    struct producer_table *table, struct ria_slice file, int64_t offset, int64_t now_us
) RIA_MUST_USE;

void producer_table_check(const struct producer_table *table);
