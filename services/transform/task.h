/* task: one source partition of one transform, while this worker holds its lease.
 *
 *   WAITING --begin--> RUNNING ---> PAUSED --+    (a fault: begin again after a back-off)
 *      ^                  |                   |
 *      |                  +-------> LOST -----+    (another worker seems to have the lease)
 *      +--------------------------------------+
 *
 * Running means: read a slice of the source, run the SELECT over it, give each result to the output
 * partition its key belongs to (or, as a failure record, to the errors topic), and once a second
 * tell the coordinator how far everything is acknowledged. Nothing is kept here: whoever gets the
 * lease next reads from the log what is done (output.h) and repeats the rest, which gives the same
 * records because the SELECT is a function of its record.
 *
 * It never begins without having heard from the coordinator that the lease is still its own: a
 * worker that was cut off for a day must not repeat what storage has forgotten about.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"

#include "services/shared/cluster.h"
#include "services/shared/watcher.h"
#include "services/transform/budget.h"
#include "services/transform/call.h"
#include "services/transform/output.h"
#include "services/transform/source.h"
#include "services/transform/sql_engine.h"

enum {
    TASK_BUFFER_MAX = 8 * 1024 * 1024,
    TASK_OUTPUT_MAX = 4 * 1024 * 1024, /* unacknowledged output, before more is computed */
    TASK_COMMIT_MS = 1000,             /* between two commits of the position */
    TASK_TEXT_SIZE = 512,
};

typedef enum task_state {
    TASK_WAITING, /* for task_begin(): options.waiting was called */
    TASK_RUNNING,
    TASK_PAUSED,
    TASK_LOST,
} task_state;

/* What is true once every record below position has been processed. A function of position. */
struct task_progress {
    int64_t position;
    int64_t records_in;
    int64_t records_out;
    int64_t errors;
};

/* Of all tasks of a process. */
struct task_metrics {
    struct ria_counter records_in;
    struct ria_counter records_out;
    struct ria_counter errors;
    struct ria_counter restarts;
    struct ria_counter commits;
};

struct task_options {
    const struct ria_env *env;
    struct cluster *cluster;
    struct watcher *watcher;
    struct budget *budget;      /* the process's */
    struct sql_engine *engine;  /* NULL: the statement cannot be compiled here */
    const char *engine_text;    /* then: why */
    struct cluster_task *lease; /* the view's; this worker's when the task is made */
    struct task_metrics *metrics;
    void (*waiting)(void *arg); /* task_begin() is wanted, not from inside */
    void *arg;
};

struct task {
    struct task_options options;
    int16_t epoch; /* of the lease this task was made for */
    task_state state;
    struct budget budget;
    struct call_group calls;
    struct ria_timer pump_timer;   /* work is to be done */
    struct ria_timer pause_timer;  /* PAUSED, LOST: when to look again */
    struct ria_timer commit_timer; /* when to take the next snapshot */
    unsigned failures;             /* in a row */

    struct source source;
    struct cluster_topic *topics[2]; /* TASK_DERIVED, TASK_ERRORS; NULL until it runs */
    struct output **outputs[2];      /* by partition; NULL until it is used */
    struct ria_list used;            /* output.link */

    /* The slice at hand. */
    const struct batch_record *rows;
    uint32_t row_count;
    uint32_t row_at;           /* first one not processed */
    struct output *blocked_by; /* it is not ready yet */
    bool short_of_memory;
    struct ria_buf failure; /* a failure record */

    struct task_progress done;      /* processed, outputs not necessarily acknowledged */
    struct task_progress snapshot;  /* to be committed when all below it is acknowledged */
    struct task_progress acked;     /* acknowledged: where to begin again */
    struct task_progress committed; /* the coordinator has it */
    bool has_snapshot;
    bool committing;
    bool text_changed;              /* last_text has not been committed */
    char last_text[TASK_TEXT_SIZE]; /* newest reason of a failure */

    /* An output gave up: to be handled by the next turn. */
    ria_err fault;
    char fault_text[TASK_TEXT_SIZE];
    ria_err trouble; /* already logged; RIA_OK after progress */

    bool draining;
    bool drained;
};

enum { TASK_DERIVED, TASK_ERRORS };

/* Borrows what options point to. Errors: RIA_ERR_NOMEM. */
ria_err task_new(const struct task_options *options, struct task **out_task) RIA_MUST_USE;

/* At once; what was not acknowledged is left to the next holder of the lease. Accepts NULL. */
void task_free(struct task *task);

/* What the coordinator has of it under this lease. */
void task_begin(struct task *task, const struct task_progress *committed, const char *last_text);

/* Some partition has another leader. */
void task_partition_changed(struct task *task, const struct cluster_partition *partition);

/* Shut down: read nothing more, send and commit what has been read. */
void task_drain(struct task *task);
bool task_is_drained(const struct task *task);

/* Invariants; aborts on a broken one. */
void task_check(const struct task *task);
