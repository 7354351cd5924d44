/* messages_fuzz: the first byte picks a message, the second a version, the rest is its encoding.
 *
 * What decodes must encode again, to bytes that decode to the same bytes. (The input itself may
 * differ: unknown tagged fields are dropped.)
 */
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/codec.h"

#include "schemas/gen/messages.h"

enum { FUZZ_ARENA_LIMIT = 16 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ria_slice encode(const struct schema_message *message, int16_t version, void *value)
{
    size_t size = message->size(value, version);
    uint8_t *bytes = malloc(size > 0 ? size : 1);

    RIA_ASSERT(bytes != NULL);
    struct ria_writer w = ria_writer_of(bytes, size);
    message->encode(value, version, &w);
    RIA_ASSERT(w.pos == size);
    return ria_slice_of(bytes, size);
}

/* The encoding of what bytes decode to; null if they do not. The caller frees it. */
static struct ria_slice
recode(const struct schema_message *message, int16_t version, struct ria_slice bytes)
{
    struct ria_slice out = RIA_SLICE_NULL;
    struct ria_reader r = ria_reader_of(bytes);
    struct ria_arena arena;
    void *value = malloc(message->struct_size);

    RIA_ASSERT(value != NULL);
    ria_arena_init(&arena, FUZZ_ARENA_LIMIT);
    if (message->decode(value, version, &r, &arena) == RIA_OK) {
        out = encode(message, version, value);
    }
    ria_arena_fini(&arena);
    free(value);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const struct schema_message *message = schema_at(data[0] % schema_count());
    int versions = message->version_max - message->version_min + 1;
    int16_t version = (int16_t)(message->version_min + data[1] % versions);

    struct ria_slice once = recode(message, version, ria_slice_of(data + 2, size - 2));
    if (once.data != NULL) {
        struct ria_slice twice = recode(message, version, once);
        RIA_ASSERT(twice.data != NULL);
        RIA_ASSERT(ria_slice_equal(once, twice));
        free((void *)(uintptr_t)twice.data);
    }
    free((void *)(uintptr_t)once.data);
    return 0;
}
