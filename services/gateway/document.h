/* document: small JSON bodies of the administrative calls, read with jansson.
 *
 * Thread: the loop's.
 */
#pragma once

#include <jansson.h>

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/failure.h"
#include "services/gateway/request.h"

/* The body as a JSON object, ended with json_decref(); NULL: failure says why (415, 422 with the
 * position). Members that occur twice are refused. */
json_t *document_load(struct request *request, struct failure *failure);

/* Every member is among names (ended by NULL). */
bool document_known(const json_t *document, const char *const *names, struct failure *failure);

/* A member that must be there, as a copy in the arena. */
bool document_string(
    const json_t *document,
    const char *name,
    struct ria_arena *arena,
    struct ria_slice *out_value,
    struct failure *failure
);

/* An integer (or a string of one) in [min, max]; absent or null leaves *out_value. */
bool document_i64(
    const json_t *document,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t *out_value,
    struct failure *failure
);

/* The text of a string, number or boolean; null for anything else. */
struct ria_slice document_scalar(const json_t *value, struct ria_arena *arena);
