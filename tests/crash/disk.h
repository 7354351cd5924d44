/* disk: the files of the journaled process as its journal tells them, and what a power cut may
 * leave of them.
 *
 * Durable is what a sync that has succeeded found written when it began: the bytes of a file, the
 * names of a folder; a file's sync says nothing about its name. Everything since is an operation
 * that may have reached the disk or not:
 * - bytes: each 4 KiB page by itself, as it was after any of the operations on it, in one in four
 * by sectors of 512 bytes; a file that grew has any size up to its last one, what is missing in it
 *   reads as zeros;
 * - names: all up to a point, or each operation by itself; a rename is never half done.
 *
 * Out of memory aborts: this code runs in tests only.
 */
#pragma once

#include "common/fs.h"
#include "common/rand.h"

#include "tests/crash/journal.h"

struct disk;

/* One entry of the journal, with what stands behind it. */
struct disk_step {
    const struct journal_entry *entry;
    const char *path;
    const uint8_t *data; /* borrowed for the disk's life */
};

struct disk *disk_new(void);
void disk_free(struct disk *disk);

/* Every entry but marks. */
void disk_apply(struct disk *disk, const struct disk_step *step);

/* How much of what was not synced is there. */
#define DISK_CUTS(X)                                             \
    X(KILL, "all of it: the process died, the machine lives on") \
    X(LOSE, "none of it")                                        \
    X(PREFIX, "bytes at random, names up to a point in time")    \
    X(MIX, "bytes and names at random")

#define DISK_ENUM_(name, about) DISK_##name,
typedef enum disk_cut { DISK_CUTS(DISK_ENUM_) } disk_cut;

/* Writes what is left to `root`, a folder of fs that exists and is empty; all of it is synced. */
void disk_image(
    const struct disk *disk,
    struct ria_rand *rand,
    disk_cut cut,
    struct ria_fs *fs,
    const char *root
);
