/* data_dir: the coordinator's folder: who may use it, and whose cluster it is.
 *
 * Format: docs/formats/meta-db.md. `lock` is held while the process lives; `identity` is text, so
 * that a person can tell folders apart; `meta.db` is the database.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/uuid.h"

enum { DATA_DIR_FORMAT = 1, DATA_DIR_PATH_MAX = 4096, DATA_DIR_REASON_SIZE = 1024 };

struct data_dir {
    struct ria_fs *fs;
    struct ria_file *lock;
    char path[DATA_DIR_PATH_MAX];
    bool has_identity;
    struct ria_uuid cluster_id; /* if has_identity */
};

/* Create the folder if it is missing (its parents too), lock it, read its identity. Borrows fs.
 * On an error nothing is held and reason (DATA_DIR_REASON_SIZE bytes) says what to do. Errors:
 * RIA_ERR_BUSY, RIA_ERR_UNSUPPORTED (another format), RIA_ERR_CORRUPT (no coordinator's folder),
 * RIA_ERR_IO, RIA_ERR_LIMIT. */
ria_err
data_dir_open(struct data_dir *dir, struct ria_fs *fs, const char *path, char *reason) RIA_MUST_USE;

/* Make the folder the given cluster's, durably. */
ria_err data_dir_write_identity(
    struct data_dir *dir, const struct ria_uuid *cluster_id, char *reason
) RIA_MUST_USE;

/* out_path: DATA_DIR_PATH_MAX + 16 bytes. */
void data_dir_file(const struct data_dir *dir, const char *name, char *out_path);

/* Lets go of the lock. Safe on a zeroed one. */
void data_dir_close(struct data_dir *dir);
