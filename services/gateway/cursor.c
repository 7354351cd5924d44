#include "services/gateway/cursor.h"

#include <string.h>

#include "common/assert.h"
#include "common/base64.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

enum {
    CURSOR_VERSION = 1,
    CHECK_SIZE = 4,
    HEAD_SIZE = 6, /* version, kind, cluster */
    GROUP_SIZE = 4,
    RAW_MAX = CURSOR_TEXT_MAX / 4 * 3,
    RAW_MIN = HEAD_SIZE + 1 + CHECK_SIZE,
    GAP_MAX = 2, /* bytes: partitions are below RIA_PARTITIONS_MAX */
    COUNT_MAX = 2,
};
_Static_assert(RIA_PARTITIONS_MAX < 1 << 14, "GAP_MAX");
_Static_assert(CURSOR_ENTRIES_MAX < 1 << 14, "COUNT_MAX");
_Static_assert(
    HEAD_SIZE + 1 + RIA_UUID_SIZE + COUNT_MAX +
            CURSOR_FITS_TOPIC * (GAP_MAX + RIA_UVARLONG_SIZE_MAX) + CHECK_SIZE <=
        RAW_MAX,
    "CURSOR_FITS_TOPIC"
);
_Static_assert(
    HEAD_SIZE + GROUP_SIZE + 1 + CURSOR_FITS_GROUP_TOPICS * (RIA_UUID_SIZE + COUNT_MAX) +
            CURSOR_FITS_GROUP * (GAP_MAX + 2 * RIA_UVARLONG_SIZE_MAX) + CHECK_SIZE <=
        RAW_MAX,
    "CURSOR_FITS_GROUP"
);

static uint32_t cluster_tag(const struct ria_uuid *cluster_id)
{
    return ria_crc32c(cluster_id->bytes, sizeof(cluster_id->bytes));
}

uint32_t cursor_group_hash(struct ria_slice name)
{
    return ria_crc32c(name.data, name.size);
}

/* Wraps: any two offsets have a difference, and the sum gives the offset back. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* --- writing -----------------------------------------------------------------------------------*/

static bool has_room(const struct ria_writer *w, size_t size)
{
    return w->size - w->pos >= size + CHECK_SIZE;
}

static ria_err write_topic(struct ria_writer *w, const struct cursor_topic *topic, bool has_leases)
{
    struct cursor_entry before = {.partition = -1};

    RIA_ASSERT(topic->count > 0);
    if (!has_room(w, RIA_UUID_SIZE + COUNT_MAX)) {
        return RIA_ERR_LIMIT;
    }
    ria_write_uuid(w, topic->id);
    ria_write_uvarint(w, topic->count);
    for (uint32_t i = 0; i < topic->count; i++) {
        const struct cursor_entry *entry = &topic->entries[i];
        RIA_ASSERT(entry->partition > before.partition);
        RIA_ASSERT(entry->partition < RIA_PARTITIONS_MAX);
        RIA_ASSERT(entry->offset >= 0);
        if (!has_room(w, GAP_MAX + 2 * RIA_UVARLONG_SIZE_MAX)) {
            return RIA_ERR_LIMIT;
        }
        ria_write_uvarint(w, (uint32_t)(entry->partition - before.partition - 1));
        ria_write_varlong(w, minus(entry->offset, before.offset));
        if (has_leases) {
            ria_write_varlong(w, minus(entry->lease, before.lease));
        }
        before = *entry;
    }
    return RIA_OK;
}

ria_err cursor_encode(
    const struct cursor *cursor,
    const struct ria_uuid *cluster_id,
    char out_text[CURSOR_TEXT_MAX + 1],
    size_t *out_size
)
{
    uint8_t raw[RAW_MAX];
    struct ria_writer w = ria_writer_of(raw, sizeof(raw));
    uint32_t entries = 0;

    RIA_ASSERT(cursor->topic_count <= CURSOR_TOPICS_MAX);
    RIA_ASSERT(cursor->kind == CURSOR_GROUP || cursor->topic_count == 1);
    ria_write_u8(&w, CURSOR_VERSION);
    ria_write_u8(&w, (uint8_t)cursor->kind);
    ria_write_u32(&w, cluster_tag(cluster_id));
    if (cursor->kind == CURSOR_GROUP) {
        ria_write_u32(&w, cursor->group);
    }
    ria_write_uvarint(&w, cursor->topic_count);
    for (uint32_t i = 0; i < cursor->topic_count; i++) {
        const struct cursor_topic *topic = &cursor->topics[i];
        RIA_ASSERT(i == 0 || memcmp(&topic[-1].id, &topic->id, RIA_UUID_SIZE) < 0);
        entries += topic->count;
        if (entries > CURSOR_ENTRIES_MAX) {
            return RIA_ERR_LIMIT;
        }
        RIA_TRY(write_topic(&w, topic, cursor->kind == CURSOR_GROUP));
    }
    ria_write_u32(&w, ria_crc32c(raw, w.pos));
    *out_size = ria_base64url_encode(out_text, ria_slice_of(raw, w.pos));
    out_text[*out_size] = '\0';
    return RIA_OK;
}

/* --- reading -----------------------------------------------------------------------------------*/

static bool decode_text(uint8_t *out, struct ria_slice text, size_t *out_size)
{
    return text.size > 0 && text.size <= CURSOR_TEXT_MAX &&
           ria_base64url_decode(out, text, out_size) == RIA_OK;
}

static void
read_entries(struct ria_reader *r, struct cursor_entry *entries, uint32_t count, bool has_leases)
{
    struct cursor_entry before = {.partition = -1};

    for (uint32_t i = 0; i < count && r->err == RIA_OK; i++) {
        uint32_t gap = ria_read_uvarint(r);
        if (gap >= RIA_PARTITIONS_MAX ||
            before.partition + (int32_t)gap + 1 >= RIA_PARTITIONS_MAX) {
            ria_reader_fail(r, RIA_ERR_MALFORMED);
            return;
        }
        struct cursor_entry *entry = &entries[i];
        entry->partition = before.partition + (int32_t)gap + 1;
        entry->offset = plus(before.offset, ria_read_varlong(r));
        entry->lease = has_leases ? plus(before.lease, ria_read_varlong(r)) : -1;
        if (entry->offset < 0) {
            ria_reader_fail(r, RIA_ERR_MALFORMED);
        }
        before = *entry;
    }
}

/* False: no memory. */
static bool read_topic(
    struct ria_reader *r,
    struct ria_arena *arena,
    bool has_leases,
    uint32_t *left,
    struct cursor_topic *out
)
{
    out->id = ria_read_uuid(r);
    out->count = ria_read_uvarint(r);
    if (out->count == 0 || out->count > *left || out->count > ria_reader_left(r) / 2) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return true;
    }
    *left -= out->count;
    struct cursor_entry *entries = ria_arena_alloc_array(arena, out->count, sizeof(*entries));
    if (entries == NULL) {
        return false;
    }
    read_entries(r, entries, out->count, has_leases);
    out->entries = entries;
    return true;
}

static cursor_verdict
read_topics(struct ria_reader *r, struct ria_arena *arena, cursor_kind kind, struct cursor *out)
{
    uint32_t left = CURSOR_ENTRIES_MAX;

    out->topic_count = ria_read_uvarint(r);
    if (kind == CURSOR_GROUP ? out->topic_count > CURSOR_TOPICS_MAX : out->topic_count != 1) {
        return CURSOR_MALFORMED;
    }
    struct cursor_topic *topics = ria_arena_alloc_array(arena, out->topic_count, sizeof(*topics));
    if (topics == NULL) {
        return CURSOR_NO_MEMORY;
    }
    out->topics = topics;
    for (uint32_t i = 0; i < out->topic_count && r->err == RIA_OK; i++) {
        if (!read_topic(r, arena, kind == CURSOR_GROUP, &left, &topics[i])) {
            return CURSOR_NO_MEMORY;
        }
        if (i > 0 && memcmp(&topics[i - 1].id, &topics[i].id, RIA_UUID_SIZE) >= 0) {
            return CURSOR_MALFORMED;
        }
    }
    return r->err == RIA_OK && ria_reader_left(r) == 0 ? CURSOR_FINE : CURSOR_MALFORMED;
}

cursor_verdict cursor_decode(
    struct ria_slice text,
    cursor_kind kind,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct cursor *out_cursor
)
{
    uint8_t raw[CURSOR_TEXT_MAX + 3];
    size_t size = 0;
    struct cursor cursor = {.kind = kind};

    if (!decode_text(raw, text, &size) || size < RAW_MIN || raw[0] != CURSOR_VERSION ||
        (raw[1] != CURSOR_TOPIC && raw[1] != CURSOR_GROUP)) {
        return CURSOR_MALFORMED;
    }
    size -= CHECK_SIZE;
    struct ria_reader check = ria_reader_of(ria_slice_of(raw + size, CHECK_SIZE));
    if (ria_read_u32(&check) != ria_crc32c(raw, size)) {
        return CURSOR_DAMAGED;
    }
    struct ria_reader r = ria_reader_of(ria_slice_of(raw + 2, size - 2));
    if (ria_read_u32(&r) != cluster_tag(cluster_id)) {
        return CURSOR_FOREIGN;
    }
    if (raw[1] != (uint8_t)kind) {
        return CURSOR_OTHER_KIND;
    }
    cursor.group = kind == CURSOR_GROUP ? ria_read_u32(&r) : 0;
    cursor_verdict verdict = read_topics(&r, arena, kind, &cursor);
    if (verdict == CURSOR_FINE) {
        *out_cursor = cursor;
    }
    return verdict;
}

const char *cursor_verdict_text(cursor_verdict verdict)
{
    switch (verdict) {
    case CURSOR_MALFORMED:
        return "this is no cursor that a gateway has made";
    case CURSOR_DAMAGED:
        return "the cursor is damaged: it was cut off or changed on the way";
    case CURSOR_FOREIGN:
        return "the cursor is of another cluster";
    case CURSOR_OTHER_KIND:
        return "the cursor is of another kind: a topic's stream does not take a group's, nor a "
               "group a topic's";
    case CURSOR_NO_MEMORY:
        return "out of memory";
    case CURSOR_FINE:
        break;
    }
    RIA_ASSERT(false);
    return "";
}

const struct cursor_entry *cursor_entry_of(const struct cursor_topic *topic, int32_t partition)
{
    uint32_t low = 0;
    uint32_t high = topic->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (topic->entries[middle].partition < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < topic->count && topic->entries[low].partition == partition ? &topic->entries[low]
                                                                            : NULL;
}
