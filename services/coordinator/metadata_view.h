/* metadata_view: what changed since a version, read from meta.db as a Metadata response.
 *
 * A reply must fit into a frame. If everything newer than the known version does not, the reply
 * ends at an older version than the newest one, and the caller asks again from there. Such a page
 * is still usable on its own: a topic or transform that any of its rows belong to is always in it
 * (by the version it was created at), at the state it has now.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/uuid.h"

#include "schemas/gen/metadata_response.h"

#include "services/coordinator/meta_db.h"

enum {
    METADATA_VIEW_ROWS_MAX = 20000,            /* no need to count bytes below this many rows... */
    METADATA_VIEW_TRANSFORMS_MAX = 200,        /* ...and this many transforms */
    METADATA_VIEW_BYTES_MAX = 8 * 1024 * 1024, /* a page ends at the version that passes this */
};

/* Everything newer than known_version, or the first page of it. Borrows from arena. newest: the
 * committed version. Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err metadata_view_read(
    struct meta_db *db,
    const struct ria_uuid *cluster_id,
    int64_t known_version,
    int64_t newest,
    struct ria_arena *arena,
    struct metadata_response *out_response
) RIA_MUST_USE;
