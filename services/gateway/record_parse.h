/* record_parse: what the body formats of records.h share. Private to records*.c.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/records.h"

/* Begin with an empty set and room for all base64 of the body. False: failure says why, as below.
 */
bool record_begin_body(struct record_set *set, struct ria_slice body, struct failure *failure);

/* Tokens of text, a part of the body, into set->json. */
bool record_parse_json(struct record_set *set, struct ria_slice text, struct failure *failure);

ria_json_type record_type(const struct record_set *set, uint32_t token);

/* The token is a string with exactly this text between its quotes. */
bool record_name_is(const struct record_set *set, uint32_t token, const char *name);

/* The bytes that a base64 string stands for. */
bool record_base64(
    struct record_set *set,
    uint32_t token,
    const char *field,
    struct ria_slice *out,
    struct failure *failure
);

/* An integer from 0 on, or null. */
bool record_partition(
    struct record_set *set, uint32_t token, struct produce_record *record, struct failure *failure
);

/* "record 3: FIELD RULE (byte 17 of the body)"; false. field is static. */
bool record_wrong(
    const struct record_set *set,
    uint32_t token,
    const char *field,
    struct failure *failure,
    const char *rule
);

/* A member that is none of those allowed; false. */
bool record_unknown_member(
    const struct record_set *set, uint32_t name, const char *allowed, struct failure *failure
);

void record_no_memory(struct failure *failure);
