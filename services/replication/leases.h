/* leases: which worker has which partition, by rendezvous hashing (highest random weight, Thaler
 * and Ravishankar 1998).
 *
 * Every worker computes the same from the list of live workers, which the coordinator tells them.
 * A worker that joins takes 1/N of the partitions from the others; those of one that leaves are
 * spread over the others; no other lease moves. Two workers that know different lists for a moment
 * may both have a partition, or neither: both do no harm (README.md).
 *
 * Thread: the service's loop.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/uuid.h"

struct leases {
    uint64_t *workers; /* their hashes, in the order of the list */
    uint32_t worker_count;
    uint32_t self; /* index of this worker */
};

void leases_init(struct leases *leases); /* nobody has any */
void leases_fini(struct leases *leases);

/* Copies what it needs. Errors (nothing changed): RIA_ERR_NOMEM. */
ria_err leases_set(
    struct leases *leases, const struct ria_uuid *workers, uint32_t worker_count, uint32_t self
) RIA_MUST_USE;

/* Is that the list it was set to? */
bool leases_are(
    const struct leases *leases,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    uint32_t self
);

/* Index of the worker that has it; there must be one. */
uint32_t
leases_owner(const struct leases *leases, const struct ria_uuid *topic_id, int32_t partition);

/* Does this worker have it? */
bool leases_has(const struct leases *leases, const struct ria_uuid *topic_id, int32_t partition);
