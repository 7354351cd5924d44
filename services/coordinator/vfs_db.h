/* vfs_db: SQLite's files through the file seam, so that the simulator's disk holds meta.db too: its
 * crashes lose what SQLite had not synced, its seed decides what survives.
 *
 * Only for one connection in exclusive locking mode: there are no locks and no shared memory. A
 * real process uses the operating system's files, so that a person can look into meta.db while it
 * runs.
 *
 * SQLite draws the salts of its write-ahead log from a generator of its own, which nobody seeds:
 * bytes differ between two runs of one seed, behaviour does not.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"

struct vfs_db;

/* Register a file layer with SQLite under a name of its own. Borrows env (fs, clock, rand) for its
 * life. Errors: RIA_ERR_NOMEM. */
ria_err vfs_db_new(const struct ria_env *env, struct vfs_db **out_vfs) RIA_MUST_USE;

/* No file may be open. Accepts NULL. */
void vfs_db_free(struct vfs_db *vfs);

/* For meta_db_open(). */
const char *vfs_db_name(const struct vfs_db *vfs);
