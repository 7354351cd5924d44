/* cursor: where a reader stands, as a word that any gateway of the cluster takes back.
 *
 * Format: docs/formats/cursor.md. Opaque to clients and checked, not secret: everything in it is
 * bytes from a user.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

enum {
    CURSOR_TOPICS_MAX = 64,
    CURSOR_ENTRIES_MAX = 1024,  /* of all topics */
    CURSOR_TEXT_MAX = 7 * 1024, /* so that it fits into REQUEST_URI_MAX */
    CURSOR_FITS_TOPIC = 400,    /* entries of a topic's cursor that always fit */
    CURSOR_FITS_GROUP = 200,    /* of a group's, whatever the number of topics up to 16 */
    CURSOR_FITS_GROUP_TOPICS = 16,
    CURSOR_ARENA_MAX = 64 * 1024 /* that cursor_decode() may take of its arena */
};

typedef enum cursor_kind {
    CURSOR_TOPIC = 1,
    CURSOR_GROUP = 2,
} cursor_kind;

struct cursor_entry {
    int32_t partition;
    int64_t offset; /* the next one to read */
    int64_t lease;  /* of a group: what was handed out; -1 = none */
};

struct cursor_topic {
    struct ria_uuid id;
    const struct cursor_entry *entries; /* by partition, ascending */
    uint32_t count;
};

struct cursor {
    cursor_kind kind;
    uint32_t group;                    /* cursor_group_hash() of a group's name; 0 of a topic's */
    const struct cursor_topic *topics; /* by id, ascending */
    uint32_t topic_count;
};

typedef enum cursor_verdict {
    CURSOR_FINE,
    CURSOR_MALFORMED,  /* never a cursor */
    CURSOR_DAMAGED,    /* was one: cut off or changed */
    CURSOR_FOREIGN,    /* of another cluster */
    CURSOR_OTHER_KIND, /* of a group where a topic's is wanted, or the other way round */
    CURSOR_NO_MEMORY,
} cursor_verdict;

/* Writes at most CURSOR_TEXT_MAX characters and a NUL. Topics (a group's may be none), partitions
 * and counts are in order and in range, offsets are not negative: else it is our bug. Errors:
 * RIA_ERR_LIMIT (too many partitions for one cursor; never within CURSOR_FITS_x). */
ria_err cursor_encode(
    const struct cursor *cursor,
    const struct ria_uuid *cluster_id,
    char out_text[CURSOR_TEXT_MAX + 1],
    size_t *out_size
) RIA_MUST_USE;

/* What it points to is in the arena. Without CURSOR_FINE nothing is written to *out_cursor. */
cursor_verdict cursor_decode(
    struct ria_slice text,
    cursor_kind kind,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct cursor *out_cursor
) RIA_MUST_USE;

uint32_t cursor_group_hash(struct ria_slice name);

/* For people: "the cursor is damaged: ...". Not of CURSOR_FINE. */
const char *cursor_verdict_text(cursor_verdict verdict);

/* The entry of a partition; NULL: there is none. */
const struct cursor_entry *cursor_entry_of(const struct cursor_topic *topic, int32_t partition);
