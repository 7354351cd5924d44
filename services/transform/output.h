/* output: one task's idempotent producer to one output partition.
 *
 * What makes it exactly once (docs/design/004-exactly-once-transforms.md):
 * - the producer id is the task's for ever, the producer epoch is that of its lease;
 * - the last record of every batch says in the header OUTPUT_SOURCE_HEADER up to which source
 *   offset this partition is complete: "<source partition>:<next source offset>";
 * - before anything is written, that position is read back from the last batch in the log;
 * - the first batch of a lease is refused (CONFLICT) if that was not the last one after all; later
 *   ones are in sequence, and older epochs are fenced by then.
 *
 * Batches go out in order, at most OUTPUT_IN_FLIGHT_MAX without an answer, the first one of a lease
 * alone. Where an answer is an error or missing, the batches without one go out again, in order and
 * with the sequences they had, until the leader has them or says that it cannot be. A leader that
 * is none any more is not waited for: the new one knows what is stored.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/env.h"
#include "common/list.h"

#include "schemas/batch.h"

#include "services/shared/cluster.h"
#include "services/transform/budget.h"
#include "services/transform/call.h"

#define OUTPUT_SOURCE_HEADER "riacho.source"

enum {
    OUTPUT_BATCH_SIZE = 256 * 1024, /* a batch is sent when it gets larger */
    OUTPUT_IN_FLIGHT_MAX = 5,       /* the leader knows duplicates of a producer's last five */

    /* A leader forgets a producer that is silent for a day, and with it everything that would tell
     * it that a batch comes twice or too late. So what was read or acknowledged grows old: */
    OUTPUT_FRESH_MS = 60 * 1000,               /* before the first acknowledgement of a lease */
    OUTPUT_PROVED_FRESH_MS = 12 * 3600 * 1000, /* after it */
};

typedef enum output_state {
    OUTPUT_NEW,
    OUTPUT_DESCRIBING, /* asks the leader for this producer's last batch */
    OUTPUT_READING,    /* reads that batch */
    OUTPUT_READY,      /* position is known, records may be added */
    OUTPUT_STOPPED,    /* gave up; the task has to begin again */
} output_state;

struct output;

/* None may free the output: they take note, and act on the next turn. */
struct output_host {
    void (*ready)(void *arg, struct output *output);
    void (*acked)(void *arg, struct output *output);
    /* RIA_ERR_CONFLICT: somebody else wrote, read everything again. RIA_ERR_OUT_OF_ORDER: the
     * leader has forgotten us. RIA_ERR_FENCED_PRODUCER: the lease is somebody else's. Others: the
     * leader will not have it; text says why. */
    void (*stopped)(void *arg, struct output *output, ria_err err, const char *text);
    /* No progress, it goes on trying. */
    void (*troubled)(void *arg, struct output *output, ria_err err, const char *text);
};

struct output_options {
    const struct ria_env *env;
    const struct cluster *cluster;
    struct cluster_partition *partition; /* written to; the view's */
    int32_t source_partition;
    int64_t producer_id;
    int16_t producer_epoch;
    struct budget *budget;
    const struct output_host *host;
    void *arg;
};

struct output {
    struct output_options options;
    struct ria_list link; /* the task's */
    output_state state;
    struct call_group calls;
    struct ria_timer retry;
    unsigned failures;   /* in a row */
    int32_t sent_leader; /* whom the calls under way ask */
    int32_t sent_epoch;

    /* From the log. */
    int64_t position;     /* records caused by smaller source offsets are there */
    int64_t last_offset;  /* of the producer's last batch; -1 = none */
    int32_t leader_epoch; /* under which that was said */
    bool committed;       /* that batch was below the high watermark */
    int64_t fresh_us;     /* when that was asked, or the newest batch acknowledged */
    int32_t next_sequence;
    bool proved; /* a batch of this lease was acknowledged */

    /* Being built. The newest record waits outside: it gets the header if it is the last. */
    size_t batch_size_max;
    struct batch_builder builder;
    int64_t building_first_source; /* source offset of the first record, -1 = nothing is built */
    size_t building_charged;       /* bytes counted in the budget */
    bool has_pending;
    struct ria_buf pending; /* key, value, headers */
    int64_t pending_timestamp_ms;
    int64_t pending_source;
    size_t pending_key_size; /* SIZE_MAX = null */
    size_t pending_value_size;
    size_t pending_headers_size;

    /* Built, in order. */
    struct ria_list batches;
    uint32_t in_flight;
    bool draining; /* wait for the answers under way, then send again */
};

/* One output record. Slices are borrowed for the call. */
struct output_record {
    int64_t source_offset; /* of the record it comes from */
    int64_t timestamp_ms;
    struct ria_slice key;     /* data == NULL: null */
    struct ria_slice value;   /* likewise */
    struct ria_slice headers; /* encoded, as in batch_record: forwarded */
};

/* Borrows what options point to. Errors: RIA_ERR_NOMEM. */
ria_err output_new(const struct output_options *options, struct output **out_output) RIA_MUST_USE;

/* What was not acknowledged is given up. Accepts NULL. */
void output_free(struct output *output);

/* Find out the position. Ends in host->ready or host->stopped. */
void output_start(struct output *output);

/* Before records are added: is what was read or acknowledged still fresh? If not, it is read again,
 * and the output is not ready meanwhile. */
void output_refresh(struct output *output);

/* Would the record fit into a batch of its own? */
bool output_fits(const struct output *output, const struct output_record *record);

/* Only if it is OUTPUT_READY and the record fits; source offsets ascend. A record that is in the
 * log already is dropped. Errors: RIA_ERR_NOMEM. */
ria_err output_add(struct output *output, const struct output_record *record) RIA_MUST_USE;

/* Send what has been added, even if the batch is small. Errors: RIA_ERR_NOMEM. */
ria_err output_flush(struct output *output) RIA_MUST_USE;

/* The same, if nothing else is under way (then the answer brings the next). */
ria_err output_flush_if_idle(struct output *output) RIA_MUST_USE;

/* Everything caused by source offsets below is acknowledged: INT64_MAX if nothing waits. */
int64_t output_complete_below(const struct output *output);

/* The view of its partition has changed: go to the new leader, and do not wait to try again. */
void output_leader_changed(struct output *output);

/* Invariants; aborts on a broken one. */
void output_check(const struct output *output);
