/* cursor_fuzz: the first byte chooses the kind wanted, and what the rest is.
 *
 * As text: whatever a client sends. As bytes whose check and cluster are put right first, so that
 * the rules behind them are reached. What is accepted is written again and must be the same text:
 * one position has one text.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/base64.h"
#include "common/crc.h"

#include "services/gateway/cursor.h"

enum { RAW_MAX = CURSOR_TEXT_MAX / 4 * 3 + 64, FUZZ_HEAD = 6, FUZZ_CHECK = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ria_uuid cluster = {{3, 1, 4}};

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void try_text(struct ria_slice text, cursor_kind kind)
{
    char again[CURSOR_TEXT_MAX + 1];
    size_t again_size = 0;
    struct ria_arena arena;
    struct cursor cursor;

    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    cursor_verdict verdict = cursor_decode(text, kind, &cluster, &arena, &cursor);
    RIA_ASSERT(verdict != CURSOR_NO_MEMORY);
    if (verdict == CURSOR_FINE) {
        /* The limit on writing is a little earlier than that on reading. */
        if (cursor_encode(&cursor, &cluster, again, &again_size) == RIA_OK) {
            RIA_ASSERT(ria_slice_equal(text, ria_slice_of(again, again_size)));
        } else {
            RIA_ASSERT(text.size > CURSOR_TEXT_MAX - 64);
        }
    }
    ria_arena_fini(&arena);
}

static void try_bytes(const uint8_t *data, size_t size, cursor_kind kind)
{
    uint8_t raw[RAW_MAX];
    char text[RAW_MAX / 3 * 4 + 8];

    if (size > RAW_MAX - FUZZ_HEAD - FUZZ_CHECK) {
        return;
    }
    raw[0] = 1;
    raw[1] = (uint8_t)kind;
    put_u32(raw + 2, ria_crc32c(cluster.bytes, RIA_UUID_SIZE));
    memcpy(raw + FUZZ_HEAD, data, size);
    put_u32(raw + FUZZ_HEAD + size, ria_crc32c(raw, FUZZ_HEAD + size));
    size_t raw_size = FUZZ_HEAD + size + FUZZ_CHECK;
    ria_base64_encode(text, ria_slice_of(raw, raw_size));
    size_t text_size = (raw_size * 4 + 2) / 3;
    for (size_t i = 0; i < text_size; i++) {
        text[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
    }
    try_text(ria_slice_of(text, text_size), kind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    cursor_kind kind = (data[0] & 1) == 0 ? CURSOR_TOPIC : CURSOR_GROUP;
    if ((data[0] & 2) == 0) {
        try_bytes(data + 1, size - 1, kind);
    } else {
        try_text(ria_slice_of(data + 1, size - 1), kind);
    }
    return 0;
}
