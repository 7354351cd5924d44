/* stream_piece: records of one partition as a client of a stream gets them, made once for all who
 * stand at the same place.
 *
 * A piece begins at a place (an offset per partition) and holds events of one partition, each with
 * the cursor that stands behind it. It is counted: streams and the chains they follow share it.
 * Texts, in both forms (docs/http.md):
 *
 *   id: CURSOR                                  {"partition":0,"offset":7,...}
 *   data: {"partition":0,"offset":7,...}        {"partition":0,"offset":8,...,"cursor":"CURSOR"}
 *
 * In lines only the last of a piece has the cursor.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/gateway/budget.h"
#include "services/gateway/cursor.h"
#include "services/gateway/filter.h"

typedef enum stream_form {
    STREAM_EVENTS, /* server-sent events */
    STREAM_LINES,  /* NDJSON */
} stream_form;

/* What is the same for all who may share pieces. A slot is an index into partitions. */
struct stream_shape {
    struct ria_uuid cluster_id;
    struct ria_uuid topic_id;
    const int32_t *partitions; /* ascending */
    uint32_t slot_count;       /* at most CURSOR_FITS_TOPIC */
    stream_form form;
    const struct filter_set *filter; /* NULL: all records */
};

/* The end of an event. */
struct stream_mark {
    uint32_t end; /* in text */
    int64_t next_offset;
};

struct stream_piece {
    uint32_t refs;
    uint32_t slot;
    int64_t next_offset; /* behind all that was read for it, also what the filter left out */
    bool has_records;    /* else its one event tells of a gap */
    uint32_t mark_count;
    struct stream_mark *marks;
    uint8_t *text;
    size_t charged;
    struct budget *budget;
    int64_t offsets[]; /* of all slots, before it */
};

/* The cursor of a place, and NUL. */
void stream_place_text(
    const struct stream_shape *shape,
    const int64_t *offsets,
    char out_text[CURSOR_TEXT_MAX + 1],
    size_t *out_size
);

/* Of the batches, the records of the slot from its offset on and before bound. At least one record,
 * then until the text has size_max bytes. out_filtered counts what the filter left out. The piece
 * has one reference and may have no event. Errors: RIA_ERR_MALFORMED, RIA_ERR_UNSUPPORTED,
 * RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err stream_piece_new(
    const struct stream_shape *shape,
    const int64_t *offsets,
    uint32_t slot,
    struct ria_slice batches,
    int64_t bound,
    size_t size_max,
    struct filter_scratch *scratch,
    struct budget *budget,
    struct stream_piece **out_piece,
    uint64_t *out_filtered
) RIA_MUST_USE;

/* One event that says that records of the slot are left out: they are not there any more, or the
 * position was beyond the end. Errors: RIA_ERR_NOMEM. */
ria_err stream_piece_gap(
    const struct stream_shape *shape,
    const int64_t *offsets,
    uint32_t slot,
    int64_t next_offset,
    struct budget *budget,
    struct stream_piece **out_piece
) RIA_MUST_USE;

struct stream_piece *stream_piece_ref(struct stream_piece *piece);

/* Accepts NULL. */
void stream_piece_unref(struct stream_piece *piece);
