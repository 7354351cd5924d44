#include "services/gateway/queue_lock.h"

#include "common/assert.h"
#include "common/base64.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

enum {
    LOCK_VERSION = 1,
    LOCK_KIND = 3, /* behind cursor_kind's */
    CHECK_SIZE = 4,
    HEAD_SIZE = 2 + 4 + 4 + RIA_UUID_SIZE, /* version, kind, cluster, group, topic */
    COUNT_MAX = 2,
    RANGE_MAX = 4 * RIA_UVARLONG_SIZE_MAX,
    RANGE_MIN = 4,
};
_Static_assert(QUEUE_LOCK_RANGES_MAX < 1 << 14, "COUNT_MAX");

static uint32_t cluster_tag(const struct ria_uuid *cluster_id)
{
    return ria_crc32c(cluster_id->bytes, sizeof(cluster_id->bytes));
}

/* Wraps: any two numbers have a difference, and the sum gives the number back. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

ria_err queue_lock_encode(
    const struct queue_lock *lock,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct ria_buf *out
)
{
    size_t raw_max = HEAD_SIZE + COUNT_MAX + (size_t)lock->count * RANGE_MAX + CHECK_SIZE;
    uint8_t *raw = ria_arena_alloc(arena, raw_max);
    struct queue_range before = {0};

    RIA_ASSERT(lock->count > 0 && lock->count <= QUEUE_LOCK_RANGES_MAX);
    if (raw == NULL) {
        return ria_arena_err(arena);
    }
    struct ria_writer w = ria_writer_of(raw, raw_max);
    ria_write_u8(&w, LOCK_VERSION);
    ria_write_u8(&w, LOCK_KIND);
    ria_write_u32(&w, cluster_tag(cluster_id));
    ria_write_u32(&w, lock->group);
    ria_write_uuid(&w, lock->topic_id);
    ria_write_uvarint(&w, lock->count);
    for (uint32_t i = 0; i < lock->count; i++) {
        const struct queue_range *range = &lock->ranges[i];
        RIA_ASSERT(range->partition >= 0 && range->first >= 0 && range->last >= range->first);
        ria_write_varlong(&w, range->partition - before.partition);
        ria_write_varlong(&w, minus(range->lease, before.lease));
        ria_write_varlong(&w, minus(range->first, before.last));
        ria_write_varlong(&w, range->last - range->first);
        before = *range;
    }
    ria_write_u32(&w, ria_crc32c(raw, w.pos));
    RIA_TRY(ria_buf_reserve(out, ria_base64_size(w.pos)));
    out->size += ria_base64url_encode((char *)out->data + out->size, ria_slice_of(raw, w.pos));
    return RIA_OK;
}

static void read_range(struct ria_reader *r, struct queue_range *before, struct queue_range *out)
{
    int64_t partition = plus(before->partition, ria_read_varlong(r));

    out->lease = plus(before->lease, ria_read_varlong(r));
    out->first = plus(before->last, ria_read_varlong(r));
    out->last = plus(out->first, ria_read_varlong(r));
    if (partition < 0 || partition >= RIA_PARTITIONS_MAX || out->first < 0 ||
        out->last < out->first || out->last == INT64_MAX) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return;
    }
    out->partition = (int32_t)partition;
    *before = *out;
}

static lock_verdict
read_ranges(struct ria_reader *r, struct ria_arena *arena, struct queue_lock *lock)
{
    struct queue_range before = {0};

    lock->count = ria_read_uvarint(r);
    if (lock->count == 0 || lock->count > QUEUE_LOCK_RANGES_MAX ||
        lock->count > ria_reader_left(r) / RANGE_MIN) {
        return LOCK_MALFORMED;
    }
    lock->ranges = ria_arena_alloc_array(arena, lock->count, sizeof(*lock->ranges));
    if (lock->ranges == NULL) {
        return LOCK_NO_MEMORY;
    }
    for (uint32_t i = 0; i < lock->count && r->err == RIA_OK; i++) {
        read_range(r, &before, &lock->ranges[i]);
    }
    return r->err == RIA_OK && ria_reader_left(r) == 0 ? LOCK_FINE : LOCK_MALFORMED;
}

lock_verdict queue_lock_decode(
    struct ria_slice text,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct queue_lock *out_lock
)
{
    struct queue_lock lock = {0};
    size_t size = 0;

    if (text.size == 0 || text.size > QUEUE_LOCK_TEXT_MAX) {
        return LOCK_MALFORMED;
    }
    uint8_t *raw = ria_arena_alloc(arena, text.size + 3);
    if (raw == NULL) {
        return LOCK_NO_MEMORY;
    }
    if (ria_base64url_decode(raw, text, &size) != RIA_OK || size < HEAD_SIZE + 1 + CHECK_SIZE ||
        raw[0] != LOCK_VERSION || raw[1] != LOCK_KIND) {
        return LOCK_MALFORMED;
    }
    size -= CHECK_SIZE;
    struct ria_reader check = ria_reader_of(ria_slice_of(raw + size, CHECK_SIZE));
    if (ria_read_u32(&check) != ria_crc32c(raw, size)) {
        return LOCK_DAMAGED;
    }
    struct ria_reader r = ria_reader_of(ria_slice_of(raw + 2, size - 2));
    if (ria_read_u32(&r) != cluster_tag(cluster_id)) {
        return LOCK_FOREIGN;
    }
    lock.group = ria_read_u32(&r);
    lock.topic_id = ria_read_uuid(&r);
    lock_verdict verdict = read_ranges(&r, arena, &lock);
    if (verdict == LOCK_FINE) {
        *out_lock = lock;
    }
    return verdict;
}

const char *lock_verdict_text(lock_verdict verdict)
{
    switch (verdict) {
    case LOCK_MALFORMED:
        return "this is no lock that a gateway has made";
    case LOCK_DAMAGED:
        return "the lock is damaged: it was cut off or changed on the way";
    case LOCK_FOREIGN:
        return "the lock is of another cluster";
    case LOCK_NO_MEMORY:
        return "out of memory";
    case LOCK_FINE:
        break;
    }
    RIA_ASSERT(false);
    return "";
}
