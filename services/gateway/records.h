/* records: from the body of a request to records that produce.h takes.
 *
 * Nothing is stored unless the whole body is right, so parsing comes first and fills a set whose
 * slices point into the body, or into the set's own memory where bytes had to be unescaped or
 * decoded. One set serves all requests of a gateway, one after the other.
 *
 * Formats: docs/http.md. Pure. Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/buf.h"
#include "common/json.h"

#include "services/gateway/failure.h"
#include "services/gateway/produce.h"

enum {
    RECORDS_MAX = 100 * 1000,         /* in one request. Refused: 413 */
    RECORDS_TOKENS_MAX = 1024 * 1024, /* JSON values and names in one document. Refused: 413 */
};

struct record_set {
    struct produce_record *records;
    uint32_t count;
    uint32_t capacity;
    struct ria_json json;
    struct ria_arena arena; /* unescaped text, headers */
    struct ria_buf bytes;   /* decoded base64: reserved once per body, so slices stay good */
    struct ria_slice body;
    int64_t deliver_at_max; /* latest delivery time that a line may name; set before parsing */
};

void record_set_init(struct record_set *set);
void record_set_fini(struct record_set *set);

/* Empty again; memory is kept up to a bound. */
void record_set_reset(struct record_set *set);

typedef enum record_format {
    RECORD_JSON,   /* keys and values are stored as the JSON text they are */
    RECORD_BINARY, /* keys and values are base64 strings */
} record_format;

/* v2: {"records":[{"key":...,"value":...,"partition":n}]}. Borrows body. False: failure says why.
 */
bool records_parse_v2(
    struct record_set *set,
    struct ria_slice body,
    record_format format,
    bool may_name_partition,
    struct failure *failure
);

/* One record a line. value_lines: the line is the value, and its member key_field (may be NULL) the
 * key; else the line is {"key":...,"value":...,...}. */
bool records_parse_ndjson(
    struct record_set *set,
    struct ria_slice body,
    bool value_lines,
    const char *key_field,
    struct failure *failure
);

/* Room for one more record, all fields unset; NULL: failure says why. */
struct produce_record *record_set_add(struct record_set *set, struct failure *failure);

/* The record's header that says when queues may hand it out. */
bool record_set_deliver_at(
    struct record_set *set, struct produce_record *record, int64_t at_ms, struct failure *failure
);

/* The record says so already. */
bool record_has_deliver_at(const struct produce_record *record);
