/* journal: what one process did to its files, and what others learned meanwhile, in one file.
 *
 * Two write it, both by appending whole entries: preload.c inside the process under test (what it
 * wrote, synced, renamed...), and the workload (what was sent and acknowledged). images.c reads it.
 * An entry of the process is there before any other process can know that the call has returned.
 * Numbers are in the machine's own order: the file never leaves it.
 */
#pragma once

#include <stdint.h>

/* What a call is about is in `path` (names) or in `fd` (an open file). */
/* clang-format off */
#define JOURNAL_KINDS(X)                                                                           \
    X(START,      "a process begins: no file is open")                                             \
    X(OPEN,       "fd = open(path); made if there was none")                                       \
    X(WRITE,      "data at `at`")                                                                  \
    X(TRUNCATE,   "to `at` bytes")                                                                 \
    X(SYNC_BEGIN, "sync number `id` of file or folder fd begins")                                  \
    X(SYNC_END,   "and has succeeded")                                                             \
    X(RENAME,     "path to data (a name with its NUL)")                                            \
    X(UNLINK,     "path")                                                                          \
    X(MKDIR,      "path")                                                                          \
    X(RMDIR,      "path")                                                                          \
    X(MARK,       "data is a struct journal_mark")
/* clang-format on */

#define JOURNAL_ENUM_(name, about) JOURNAL_##name,
typedef enum journal_kind { JOURNAL_KINDS(JOURNAL_ENUM_) } journal_kind;

/* Followed by path (with its NUL) and data, path_size and data_size bytes. Paths are relative to
 * the data folder; "" is the folder itself. */
struct journal_entry {
    uint32_t kind;
    int32_t fd;
    uint64_t at;
    uint32_t id;
    uint32_t path_size;
    uint32_t data_size;
    uint32_t zero;
};

typedef enum journal_mark_kind {
    JOURNAL_SENT,    /* a batch is on its way to the process: it may be found from now on */
    JOURNAL_ACKED,   /* it is stored at base_offset: it must be found from now on */
    JOURNAL_CUTTING, /* what is at or behind base_offset may go from now on */
    JOURNAL_CUT,     /* and is gone for good */
} journal_mark_kind;

/* A batch is known by its CRC, which covers its unique values but neither offset nor epoch. */
struct journal_mark {
    uint32_t kind;
    int32_t partition;
    int64_t base_offset; /* SENT: -1 if the process is to choose it */
    uint32_t crc;
    int32_t leader_epoch;
    int32_t record_count;
    int32_t base_sequence; /* -1: not of an idempotent producer */
    int64_t producer_id;
};
