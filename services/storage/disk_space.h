/* disk_space: whether a disk has room for more records.
 *
 * Records are refused while the last bytes of the disk are still free, because the rest of a log
 * (indexes, snapshots, epochs, a cut) needs some, too, and because a file system that is full to
 * the last page may say so only when it is asked to sync, when records were accepted already.
 * Leaders stop at the reserve, followers at half of it: where all disks fill together, producers
 * hear a definite NO_SPACE before any follower falls out of the in-sync set.
 *
 * The file system is asked once in a while, and often when the end is near; between that, what was
 * written is counted. It heals by itself: somewhat more than the reserve is free again.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"

enum {
    DISK_SPACE_LOOK_MS = 1000,
    DISK_SPACE_LOOK_NEAR_MS = 20, /* less than twice the reserve is free */
    DISK_SPACE_RESERVE_PART = 20, /* the reserve is at most this part of the disk: 5 % */
};

typedef enum disk_space_user {
    DISK_SPACE_LEADER,
    DISK_SPACE_FOLLOWER,
} disk_space_user;

struct disk_space {
    const struct ria_env *env;
    const char *path; /* borrowed */
    int64_t reserve_bytes;
    int64_t free_bytes; /* when it was looked at last; -1 = not known */
    int64_t written;    /* since then */
    int64_t looked_us;
    bool full; /* somebody was refused, and there is not enough room yet */
};

/* Borrows env and path for its life. reserve_bytes 0: records are refused only by the file system
 * itself. Asks the file system. */
void disk_space_init(
    struct disk_space *space, const struct ria_env *env, const char *path, int64_t reserve_bytes
);

/* May `size` more bytes be written? They count as written if so. A file system that does not say
 * how much is free always has room. */
bool disk_space_take(struct disk_space *space, disk_space_user user, size_t size) RIA_MUST_USE;

/* Free bytes as they are now; -1 = not known. */
int64_t disk_space_free_bytes(struct disk_space *space);
