/* data_dirs: the folders a node keeps its logs in, one per disk.
 *
 * Format: docs/formats/node.md. Each folder names the node it belongs to and all folders of that
 * node, so that one that is missing (its disk is dead, or not mounted) is noticed: its replicas
 * were there, and must not be made anew as if they had never been. The node starts without it, with
 * what is in the others. Only the operator gives it up for good (--forget-missing-dirs).
 *
 * Nothing is written to a folder without an identity while another is missing: it is likely to be
 * the empty mount point of the missing disk.
 *
 * Thread: the loop's; blocks on the disk, at start only.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"

#include "services/storage/checkpoint.h"
#include "services/storage/disk_space.h"
#include "services/storage/identity.h"
#include "services/storage/marks.h"
#include "services/storage/trash.h"

enum { DATA_DIRS_MAX = IDENTITY_FOLDERS_MAX, DATA_DIR_FOLDER_NAME_MAX = 64 };

struct data_dir {
    char *path;
    struct ria_uuid id;
    bool failed;        /* not there, or not readable: nothing is done with it */
    bool suspect;       /* a log or the checkpoint on it failed: it gets no new replicas */
    bool no_checkpoint; /* writing it failed: never again (no second sync) */
    struct ria_file *lock;
    struct checkpoint *checkpoint;
    struct checkpoint_writer writer;
    bool writer_ready;
    struct marks marks;
    struct trash trash;
    struct disk_space space;
    uint32_t replica_count;
};

struct data_dirs {
    const struct ria_env *env;
    struct data_dir items[DATA_DIRS_MAX];
    uint32_t count;
    uint32_t missing_count; /* folders of this node that are not among the good ones */
};

struct data_dirs_options {
    const char *paths; /* separated by commas */
    bool forget_missing;
    int64_t disk_reserve;
};

/* Take the folders: their locks, their identity, their checkpoints. out_identity is the node's. On
 * an error `reason` says in one sentence what to do, and everything is closed again. Errors:
 * RIA_ERR_BUSY (in use by another process), RIA_ERR_UNKNOWN_VERSION (written by a newer one),
 * RIA_ERR_CORRUPT, RIA_ERR_INVALID (the paths; folders of several nodes; too few of them),
 * RIA_ERR_IO, RIA_ERR_NO_SPACE, RIA_ERR_NOMEM. */
ria_err data_dirs_open(
    struct data_dirs *dirs,
    const struct ria_env *env,
    const struct data_dirs_options *options,
    struct identity *out_identity,
    char *reason,
    size_t reason_size
) RIA_MUST_USE;

/* Of zeroed dirs, too. No checkpoint write may be able to call back. */
void data_dirs_close(struct data_dirs *dirs);

/* Write the identity into every good folder. Errors: those of identity_save(); some may have it. */
ria_err data_dirs_save(struct data_dirs *dirs, const struct identity *identity) RIA_MUST_USE;

/* Count a start in every good folder. What cannot be written is logged, and is no reason not to
 * start: the coordinator tells a node that has lost count (docs/formats/node.md). */
void data_dirs_count_start(struct data_dirs *dirs, struct identity *identity);

/* The checkpoint of one of them was bad; that, or its marks. */
bool data_dirs_are_partial(const struct data_dirs *dirs);
bool data_dirs_are_doubted(const struct data_dirs *dirs);

/* The first good folder. */
struct data_dir *data_dirs_first(struct data_dirs *dirs);

/* The good folder that has a folder of that name in it; NULL if there is none.
 * Errors: RIA_ERR_CORRUPT (two have), those of ria_fs_list(). */
ria_err
data_dirs_find(struct data_dirs *dirs, const char *name, struct data_dir **out_dir) RIA_MUST_USE;

/* Where a new replica goes: of the folders with much free space, the one with the fewest replicas.
 */
struct data_dir *data_dirs_place(struct data_dirs *dirs);

/* No good folder has room for another replica: records would soon be refused there. A disk that
 * does not say how much is free has room. Asks the file systems. */
bool data_dirs_are_full(struct data_dirs *dirs);
