/* fault_fs: a file seam in front of the simulated disk that fails one chosen call.
 *
 * Syncs in the pool take FAULT_FS_SYNC_US, on timers of its own, so that the simulated disk has
 * none. A failed sync leaves each page durable or not (common/fs_sim.h); any other failed call has
 * done nothing, but for a write, which may have left half of its bytes.
 */
#pragma once

#include "common/fs.h"
#include "common/timers.h"

enum { FAULT_FS_SYNC_US = 1000 };

/* clang-format off */
#define FAULT_KINDS(X)                                    \
    X(OPEN, open) X(READ, pread) X(WRITE, pwrite) X(SIZE, size) X(TRUNCATE, truncate)  \
    X(SYNC, sync) X(SYNC_DIR, sync_dir) X(MKDIR, mkdir) X(RENAME, rename) X(UNLINK, unlink) \
    X(LIST, list) X(FREE_BYTES, free_bytes)
/* clang-format on */

#define FAULT_ENUM_(name, text) FAULT_##name,
typedef enum fault_kind { FAULT_KINDS(FAULT_ENUM_) FAULT_KIND_COUNT } fault_kind;

const char *fault_kind_name(fault_kind kind);

/* Which call fails: the `at`th of this kind (1 = the next one), and how. */
struct fault {
    fault_kind kind;
    uint64_t at; /* 0: none */
    ria_err err;
    bool half;       /* WRITE: half of it is written */
    bool and_later;  /* the calls of this kind that follow as well, until the fault is taken back */
    bool any_change; /* instead of kind: calls that change the disk */
};

struct fault_fs;

/* Borrows inner (fs_sim) and timers. around (may be NULL) is called with false before the simulated
 * disk does something, and with true afterwards. */
struct fault_fs *fault_fs_new(
    struct ria_fs *inner, struct ria_timers *timers, void (*around)(void *arg, bool core), void *arg
);

/* No file may be open. */
void fault_fs_free(struct fault_fs *fs);

/* The machine has crashed: syncs under way do not call back. */
void fault_fs_crash(struct fault_fs *fs);

/* For the environment of a core. */
struct ria_fs *fault_fs_fs(struct fault_fs *fs);

void fault_fs_set(struct fault_fs *fs, const struct fault *fault);

/* Whether it struck. */
bool fault_fs_has_struck(const struct fault_fs *fs);

/* Files the core has open now. */
size_t fault_fs_open_count(const struct fault_fs *fs);
