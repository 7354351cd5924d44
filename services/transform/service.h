/* service: a transform worker: computes the derived topics whose tasks are leased to it.
 *
 * Promises: README.md. It holds no truth and no files: it may be killed, doubled or replaced at any
 * moment, and every source record is still reflected exactly once.
 *
 * Thread: one loop owns everything.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"
#include "common/uuid.h"

enum {
    /* Bytes of all tasks together, see budget.h. What holds them (half-filled buffers, the heap)
     * takes about as much again: the process stays below 64 MiB. */
    TRANSFORM_BUFFER_MAX = 20 * 1024 * 1024,
};

struct transform;

struct transform_options {
    const char *coordinator; /* tcp://host:port, several separated by commas */
    const char *address;     /* where this process is reached, for CheckTransform */
};

/* Borrows env; copies options. Errors: RIA_ERR_NOMEM, RIA_ERR_INVALID (the coordinators). */
ria_err transform_new(
    const struct ria_env *env,
    const struct transform_options *options,
    struct transform **out_transform
) RIA_MUST_USE;

/* Begin to answer, to heartbeat, to pull metadata and to work. */
void transform_start(struct transform *transform);

void transform_register_metrics(struct transform *transform, struct ria_metrics *metrics);

/* Read nothing more; *out_done becomes true when all that has been read is acknowledged and the
 * positions are committed, and the coordinator knows that others may have its tasks (or does not
 * answer). */
void transform_stop(struct transform *transform, bool *out_done);

/* Also without transform_stop(): as a crash, but memory is given back. Accepts NULL. */
void transform_free(struct transform *transform);

/* The identity under which tasks are leased to it. */
struct ria_uuid transform_uuid(const struct transform *transform);

/* Nothing is buffered: no record waits for anything here. */
bool transform_is_idle(const struct transform *transform);

/* Records processed since the start. */
uint64_t transform_records_in(const struct transform *transform);

/* Tasks that are running: for tests and the simulator. */
uint32_t transform_running_count(const struct transform *transform);

/* Invariants; aborts on a broken one. */
void transform_check(const struct transform *transform);
