/* sim_disk: one machine's disk (common/fs_sim.h) as its processes are given it: cut off from them
 * when they die, and able to die in the middle of what they do.
 *
 * A process that is torn down after its crash may close its files; whatever else it tries fails
 * with RIA_ERR_IO and changes nothing. A crash can be set to strike at a call that changes the
 * disk: so it hits between the steps of a roll, a truncation or a recovery, which the simulated
 * process would otherwise always get through in one turn.
 */
#pragma once

#include "common/base.h"
#include "common/fs.h"
#include "common/fs_sim.h"

#include "tests/sim/trace.h"

struct sim_disk;

/* The disk has crashed in the middle of a call: the process must not have any further effect. */
typedef void (*sim_disk_crash_fn)(void *arg, bool lose_unsynced);

/* Borrows timers and rand. Out of memory aborts. */
struct sim_disk *sim_disk_new(
    struct ria_timers *timers, struct ria_rand *rand, sim_disk_crash_fn on_crash, void *arg
);
/* No file may be open. Accepts NULL. */
void sim_disk_free(struct sim_disk *disk);

/* For the environment of a process. */
struct ria_fs *sim_disk_fs(struct sim_disk *disk);

/* For ria_fs_sim_set_faults() and the like. */
struct ria_fs *sim_disk_inner(struct sim_disk *disk);

/* The machine is up again: the disk answers. */
void sim_disk_boot(struct sim_disk *disk);

/* The process is dead, if it was not already; with lose_unsynced the machine lost its power.
 * on_crash is not called. */
void sim_disk_crash(struct sim_disk *disk, bool lose_unsynced);

/* Crash at the `calls`th call from now that changes the disk (1 = the next); 0 = do not. A boot
 * keeps it. */
void sim_disk_crash_at(struct sim_disk *disk, uint64_t calls, bool lose_unsynced);

/* Flip some bit of some file of some partition. Says which. */
void sim_disk_rot(struct sim_disk *disk, struct ria_rand *rand, struct trace *trace);

bool sim_disk_is_dead(const struct sim_disk *disk);
