/* uuid: 16-byte identifiers (topics, partitions' directories, incarnations).
 *
 * Pure: randomness is handed in, so that one seed reproduces a run.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

enum { RIA_UUID_SIZE = 16, RIA_UUID_TEXT_SIZE = 37 /* with the NUL */ };

struct ria_uuid {
    uint8_t bytes[RIA_UUID_SIZE]; /* in the order they are written */
};
_Static_assert(sizeof(struct ria_uuid) == RIA_UUID_SIZE, "a uuid is its wire form");

/* All zero is "no id" in Kafka's protocol and in ours. */
bool ria_uuid_is_zero(struct ria_uuid uuid);
bool ria_uuid_equal(struct ria_uuid a, struct ria_uuid b);

/* For hash tables over ids we made ourselves; no defence against chosen ids. */
uint64_t ria_uuid_hash(struct ria_uuid uuid);

/* RFC 4122 version 4 from 16 random bytes: six bits are overwritten by version and variant. */
struct ria_uuid ria_uuid_v4(const uint8_t random_bytes[RIA_UUID_SIZE]);

/* 36 characters in lower case and a NUL. */
void ria_uuid_format(struct ria_uuid uuid, char out_text[RIA_UUID_TEXT_SIZE]);

/* The 36-character form, either case. Errors: RIA_ERR_MALFORMED. */
ria_err ria_uuid_parse(struct ria_slice text, struct ria_uuid *out_uuid) RIA_MUST_USE;
