/* metadata_waits: Metadata requests that wait for something newer than they know.
 *
 * Bounded; each leaves when the version passes what it knows or when its time is up, and then the
 * owner answers it. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"

#include "schemas/gen/request_header.h"

enum {
    METADATA_WAITS_MAX = 4096,              /* Rejected: BUSY */
    METADATA_WAITS_WAIT_MS_MAX = 60 * 1000, /* longer waits end here */
};

/* Takes request: answer it. known_version is what it was parked with. */
typedef void (*metadata_waits_fn
)(void *arg,
  struct ria_rpc_request *request,
  const struct request_header *header,
  int64_t known_version);

struct metadata_waits;

/* Borrows env. Errors: RIA_ERR_NOMEM. */
ria_err metadata_waits_new(
    const struct ria_env *env,
    metadata_waits_fn answer,
    void *arg,
    struct metadata_waits **out_waits
) RIA_MUST_USE;

/* Drops what is still parked. Accepts NULL. */
void metadata_waits_free(struct metadata_waits *waits);

/* Takes request on success. Errors: RIA_ERR_BUSY, RIA_ERR_NOMEM. */
ria_err metadata_waits_add(
    struct metadata_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    int64_t known_version,
    int64_t wait_ms
) RIA_MUST_USE;

/* Answer those that know less than version, those with equal knowledge next to each other. */
void metadata_waits_wake(struct metadata_waits *waits, int64_t version);

uint32_t metadata_waits_count(const struct metadata_waits *waits);
