#include "services/cli/record_line.h"

#include "common/arena.h"
#include "common/base64.h"

enum {
    LINE_TOKENS_MAX = 1 << 20,
    LINE_ARENA_MAX = 64 * 1024 * 1024,
};

static bool write_out(const void *data, size_t size)
{
    return fwrite(data, 1, size, stdout) == size;
}

static bool print_base64(struct ria_slice text, struct ria_arena *arena)
{
    size_t size = 0;
    uint8_t *bytes = ria_arena_alloc(arena, text.size + 1);

    return bytes != NULL && ria_base64_decode(bytes, text, &size) == RIA_OK &&
           write_out(bytes, size);
}

/* The value's bytes: JSON as it stands in the line, text and base64 decoded. */
static bool print_value(struct ria_json *json, struct ria_slice line)
{
    struct ria_slice encoding = RIA_SLICE_NULL;
    struct ria_slice text = RIA_SLICE_NULL;
    struct ria_arena arena;
    bool fine = false;

    if (ria_json_parse(json, line, LINE_TOKENS_MAX) != RIA_OK) {
        return false;
    }
    int64_t value = ria_json_member(json, 0, "value");
    int64_t kind = ria_json_member(json, 0, "value_encoding");
    if (value < 0) {
        return false;
    }
    ria_arena_init(&arena, LINE_ARENA_MAX);
    if (kind < 0) {
        struct ria_slice raw = ria_json_raw(json, (uint32_t)value);
        fine = json->tokens[value].type == RIA_JSON_NULL || write_out(raw.data, raw.size);
    } else if (ria_json_string(json, (uint32_t)kind, &arena, &encoding) == RIA_OK && ria_json_string(json, (uint32_t)value, &arena, &text) == RIA_OK) {
        fine = ria_slice_equal(encoding, RIA_SLICE_LITERAL("base64"))
                   ? print_base64(text, &arena)
                   : write_out(text.data, text.size);
    }
    ria_arena_fini(&arena);
    return fine;
}

bool record_line_print(struct ria_json *json, cli_output output, struct ria_slice line)
{
    switch (output) {
    case CLI_OUTPUT_JSON:
        return write_out(line.data, line.size) && write_out("\n", 1);
    case CLI_OUTPUT_VALUE:
        return print_value(json, line) && write_out("\n", 1);
    case CLI_OUTPUT_RAW:
        return print_value(json, line);
    }
    return false;
}
