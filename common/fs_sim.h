/* fs_sim: the file seam in memory, for simulation and for tests of recovery.
 *
 * One instance is one machine's disk and outlives the crashes of the process on it. Written data is
 * visible at once and durable after a sync; ria_fs_sim_crash() throws away, page by page on the
 * seed's choice, what was not synced: unsynced pages may survive or not, in any order, the last one
 * torn at a 512-byte sector; a file that grew has any size up to its last one (what did not survive
 * reads as zeros); unsynced names (creates, renames, unlinks) may be undone, each by itself, but a
 * rename is never half done. A file all of whose names are lost is gone.
 *
 * A sync that fails leaves each page it took durable or not, and clean: a later sync that succeeds
 * does not save it, as on Linux. sim_content.h and sim_names.h are the model; out of memory aborts.
 */
#pragma once

#include "common/clock.h"
#include "common/fs.h"
#include "common/rand.h"
#include "common/timers.h"

/* 0 = never, unlimited. All start as 0. */
struct ria_fs_sim_faults {
    uint32_t fail_write_one_in; /* RIA_ERR_IO; leaves part of the data */
    uint32_t fail_sync_one_in;  /* RIA_ERR_IO; of files and folders */
    uint32_t fail_open_one_in;  /* RIA_ERR_IO; also lock */
    uint64_t capacity_bytes;    /* RIA_ERR_NO_SPACE past it; leaves part of the data */
    int64_t sync_delay_us_min;  /* of sync_start; the other calls take no time */
    int64_t sync_delay_us_max;
};

/* Borrows timers (sync completions run on them) and rand. */
ria_err ria_fs_sim_new(struct ria_timers *timers, struct ria_rand *rand, struct ria_fs **out_fs)
    RIA_MUST_USE;
void ria_fs_sim_free(struct ria_fs *fs);

void ria_fs_sim_set_faults(struct ria_fs *fs, const struct ria_fs_sim_faults *faults);

/* Power cut or (lose_unsynced = false) kill -9: open files are gone without close, syncs under way
 * never call back, locks are free. A process that is torn down after its crash may still close its
 * files; any other use of them fails with RIA_ERR_IO (sync_start: never calls back). */
void ria_fs_sim_crash(struct ria_fs *fs, bool lose_unsynced);

/* Flip one bit of a file's durable and visible content. RIA_ERR_NOT_FOUND, RIA_ERR_INVALID. */
ria_err
ria_fs_sim_flip_bit(struct ria_fs *fs, const char *path, uint64_t byte, unsigned bit) RIA_MUST_USE;

/* What capacity_bytes is compared with. */
uint64_t ria_fs_sim_used_bytes(const struct ria_fs *fs);

/* Files open now: a leak check. */
size_t ria_fs_sim_open_count(const struct ria_fs *fs);
