/* checkpoint: how far each log of a data folder was synced and committed, in one file.
 *
 * Format: docs/formats/checkpoint.md. Loaded once at start; kept up to date in memory and written
 * by the service about once a second if something changed. Entries of partitions that are not open
 * (yet) stay: losing one would make damage below its synced offset look like an unsynced tail.
 *
 *     ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
 *     checkpoint_encode(checkpoint, &bytes) == RIA_OK && !checkpoint_writer_is_busy(&writer)
 *         -> checkpoint_writer_start(&writer, ria_buf_slice(&bytes))
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/env.h"
#include "common/uuid.h"

#include "services/storage/partition_log.h"

enum {
    CHECKPOINT_PARTITIONS_MAX = 100000,     /* entries of one file. Full: LIMIT */
    CHECKPOINT_SIZE_MAX = 16 * 1024 * 1024, /* bytes of it */
};

struct checkpoint;

/* Reads "<data_dir>/checkpoint". Missing: empty. Both copies bad, or of a newer format: empty and
 * partial, and logged; it is no reason not to start. Blocks. Errors: RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err checkpoint_load(
    const struct ria_env *env, const char *data_dir, struct checkpoint **out_checkpoint
) RIA_MUST_USE;

/* Accepts NULL. */
void checkpoint_free(struct checkpoint *checkpoint);

/* Entries were lost with a bad file, by this process or one before: what has none may have been
 * there. checkpoint_set_whole(): every log that is here has one by now. */
bool checkpoint_is_partial(const struct checkpoint *checkpoint);

/* Marks were lost (marks.h): more may have been on disk than the entries say, which become unknown
 * until they are put anew, and what has none is unknown, too. */
void checkpoint_doubt(struct checkpoint *checkpoint);
/* Or it is partial. */
bool checkpoint_is_doubted(const struct checkpoint *checkpoint);
void checkpoint_set_whole(struct checkpoint *checkpoint);

/* The last encode did not reach the disk. */
void checkpoint_set_changed(struct checkpoint *checkpoint);

/* Zeros if there is no entry; is_unknown then, if the checkpoint is doubted. */
void checkpoint_get(
    const struct checkpoint *checkpoint,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_log_checkpoint *out_entry
);

/* Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err checkpoint_put(
    struct checkpoint *checkpoint,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_checkpoint *entry
) RIA_MUST_USE;

/* The partition's folder is gone. */
void checkpoint_remove(
    struct checkpoint *checkpoint, const struct ria_uuid *topic_id, int32_t partition
);

/* Whether a put or remove changed anything since the last encode. */
bool checkpoint_is_changed(const struct checkpoint *checkpoint);

/* The file's content, in out (emptied first). Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err checkpoint_encode(struct checkpoint *checkpoint, struct ria_buf *out) RIA_MUST_USE;

/* Replaces the file without blocking the loop: temp file into the page cache, sync in the pool,
 * rename, sync with the folder in the pool. A crash leaves the old file or the new one. */
struct checkpoint_writer {
    const struct ria_env *env;
    char *path;
    char *temp_path;
    struct ria_file *file; /* the temp file, while busy */
    struct ria_fs_sync sync;
    bool renamed;
    void (*done)(void *arg, ria_err err);
    void *arg;
};

/* Copies data_dir. done runs once per started write, from the loop. Errors: RIA_ERR_NOMEM. */
ria_err checkpoint_writer_init(
    struct checkpoint_writer *writer,
    const struct ria_env *env,
    const char *data_dir,
    void (*done)(void *arg, ria_err err),
    void *arg
) RIA_MUST_USE;

/* Must not be busy, unless its callback cannot come any more (as partition_log_free()). */
void checkpoint_writer_fini(struct checkpoint_writer *writer);

bool checkpoint_writer_is_busy(const struct checkpoint_writer *writer);

/* Must not be busy. Borrows content for the call. An error here means that done does not run.
 * Errors: as ria_fs_open() and ria_fs_pwrite(). */
ria_err
checkpoint_writer_start(struct checkpoint_writer *writer, struct ria_slice content) RIA_MUST_USE;

/* The same, blocking: for the end of the process. Must not be busy. */
ria_err
checkpoint_writer_write(struct checkpoint_writer *writer, struct ria_slice content) RIA_MUST_USE;
