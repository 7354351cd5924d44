/* vector_checks: what must hold for every encoded message; the data is generated.
 *
 * A vector is a struct and the bytes it must become, written by the generator's own encoder, which
 * shares nothing with the C one. Included by generated tests only.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/codec.h"

#include "schemas/gen/messages.h"

#include "tests/lib/harness.h"

typedef enum { LENGTH_I16, LENGTH_I32, LENGTH_COMPACT } length_kind;

/* A length or count inside a vector's bytes. */
struct vector_length {
    uint32_t offset;
    length_kind kind;
    bool nullable;
    uint32_t max; /* 0: of a tagged-field section, which has no maximum */
};

struct vector {
    const char *message;
    const char *style; /* "empty", "full", "mixed" */
    int16_t version;
    const void *value;
    const uint8_t *bytes;
    size_t size;
    const uint8_t *newer; /* the same with unknown tagged fields in every struct; may be NULL */
    size_t newer_size;
    const struct vector_length *lengths;
    size_t length_count;
};

enum { VECTOR_ARENA_LIMIT = 1024 * 1024 };

static void expect(bool ok, const struct vector *v, const char *what, size_t at)
{
    if (!ok) {
        (void)fprintf(stderr, "%s v%d %s: %s at %zu\n", v->message, v->version, v->style, what, at);
    }
    CU_ASSERT_TRUE(ok);
}

/* The decoded struct of exactly these bytes, copied to where a sanitizer sees one byte too far. */
struct decoded {
    const struct schema_message *message;
    struct ria_arena arena;
    uint8_t *bytes;
    void *value;
    size_t consumed;
    ria_err err;
};

static struct decoded decode(const struct vector *v, const uint8_t *bytes, size_t size)
{
    struct decoded d = {.message = schema_find(v->message)};

    RIA_ASSERT(d.message != NULL);
    ria_arena_init(&d.arena, VECTOR_ARENA_LIMIT);
    d.bytes = malloc(size > 0 ? size : 1);
    d.value = malloc(d.message->struct_size);
    RIA_ASSERT(d.bytes != NULL && d.value != NULL);
    if (size > 0) {
        memcpy(d.bytes, bytes, size);
    }
    struct ria_reader r = ria_reader_of(ria_slice_of(d.bytes, size));
    d.err = d.message->decode(d.value, v->version, &r, &d.arena);
    d.consumed = r.pos;
    return d;
}

static void decoded_fini(struct decoded *d)
{
    ria_arena_fini(&d->arena);
    free(d->bytes);
    free(d->value);
}

static void
expect_encodes(const struct vector *v, const struct schema_message *message, const void *value)
{
    size_t size = message->size(value, v->version);

    expect(size == v->size, v, "size", size);
    if (size != v->size) {
        return;
    }
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    RIA_ASSERT(bytes != NULL);
    struct ria_writer w = ria_writer_of(bytes, size);
    message->encode(value, v->version, &w);
    expect(w.pos == size, v, "bytes written", w.pos);
    size_t at = 0;
    while (at < size && bytes[at] == v->bytes[at]) {
        at++;
    }
    expect(at == size, v, "encoded bytes", at);
    free(bytes);
}

static void check_round_trip(const struct vector *v)
{
    const struct schema_message *message = schema_find(v->message);

    CU_ASSERT_PTR_NOT_NULL_FATAL(message);
    expect_encodes(v, message, v->value);
    struct decoded d = decode(v, v->bytes, v->size);
    expect(d.err == RIA_OK, v, "decode", d.consumed);
    expect(d.consumed == v->size, v, "bytes read", d.consumed);
    expect_encodes(v, message, d.value);
    decoded_fini(&d);
}

static void check_newer(const struct vector *v)
{
    if (v->newer == NULL) {
        return;
    }
    struct decoded d = decode(v, v->newer, v->newer_size);
    expect(d.err == RIA_OK, v, "decode with unknown tags", d.consumed);
    expect(d.consumed == v->newer_size, v, "bytes read with unknown tags", d.consumed);
    expect_encodes(v, d.message, d.value);
    decoded_fini(&d);
}

static void check_truncated(const struct vector *v)
{
    for (size_t size = 0; size < v->size; size++) {
        struct decoded d = decode(v, v->bytes, size);
        expect(d.err == RIA_ERR_MALFORMED, v, "truncated", size);
        decoded_fini(&d);
    }
}

/* Every byte set to a few values: any outcome, no accident (the sanitizers are the check). */
static void check_flipped(const struct vector *v)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t *bytes = malloc(v->size > 0 ? v->size : 1);

    RIA_ASSERT(bytes != NULL);
    for (size_t at = 0; at < v->size; at++) {
        for (size_t i = 0; i < RIA_COUNT(values); i++) {
            memcpy(bytes, v->bytes, v->size);
            bytes[at] = values[i];
            struct decoded d = decode(v, bytes, v->size);
            expect(d.consumed <= v->size, v, "bytes read of damaged", at);
            decoded_fini(&d);
        }
    }
    free(bytes);
}

static size_t length_size(const struct vector *v, const struct vector_length *length)
{
    size_t size = 1;

    switch (length->kind) {
    case LENGTH_I16:
        return sizeof(int16_t);
    case LENGTH_I32:
        return sizeof(int32_t);
    case LENGTH_COMPACT:
        while (v->bytes[length->offset + size - 1] >= 0x80) {
            size++;
        }
        break;
    }
    return size;
}

/* The vector with another length at one place; value -1 is null. */
static void check_length(const struct vector *v, const struct vector_length *length, int64_t value)
{
    size_t old_size = length_size(v, length);
    size_t tail = length->offset + old_size;
    uint8_t *bytes = malloc(v->size + RIA_UVARINT_SIZE_MAX);

    RIA_ASSERT(bytes != NULL);
    memcpy(bytes, v->bytes, length->offset);
    struct ria_writer w = ria_writer_of(bytes, v->size + RIA_UVARINT_SIZE_MAX);
    w.pos = length->offset;
    switch (length->kind) {
    case LENGTH_I16:
        ria_write_i16(&w, (int16_t)value);
        break;
    case LENGTH_I32:
        ria_write_i32(&w, (int32_t)value);
        break;
    case LENGTH_COMPACT:
        ria_write_uvarint(&w, (uint32_t)(value + 1));
        break;
    }
    ria_write_bytes(&w, ria_slice_of(v->bytes + tail, v->size - tail));
    struct decoded d = decode(v, bytes, w.pos);
    expect(d.err != RIA_OK, v, "hostile length", length->offset);
    /* No more than the bytes could have justified: each item in memory takes at least one. */
    expect(ria_arena_used(&d.arena) <= 512 * (v->size + 1), v, "arena", length->offset);
    decoded_fini(&d);
    free(bytes);
}

static void check_lengths(const struct vector *v)
{
    for (size_t i = 0; i < v->length_count; i++) {
        const struct vector_length *length = &v->lengths[i];
        int64_t huge = length->kind == LENGTH_I16 ? INT16_MAX : INT32_MAX;

        check_length(v, length, huge);
        if (length->kind == LENGTH_COMPACT) {
            check_length(v, length, (int64_t)UINT32_MAX - 1);
        } else {
            check_length(v, length, length->kind == LENGTH_I16 ? INT16_MIN : INT32_MIN);
            check_length(v, length, -2);
        }
        if (length->max > 0 && length->max < huge) {
            check_length(v, length, (int64_t)length->max + 1);
        }
        if (!length->nullable && length->max > 0) {
            check_length(v, length, -1);
        }
    }
}

#define VECTOR_CHECKS_TEST(name, check, vectors)          \
    static void name(void)                                \
    {                                                     \
        for (size_t i = 0; i < RIA_COUNT(vectors); i++) { \
            check(&(vectors)[i]);                         \
        }                                                 \
    }

#define VECTOR_CHECKS_MAIN(vectors)                                                          \
    VECTOR_CHECKS_TEST(encodes_and_decodes_to_the_expected_bytes, check_round_trip, vectors) \
    VECTOR_CHECKS_TEST(unknown_tagged_fields_are_skipped, check_newer, vectors)              \
    VECTOR_CHECKS_TEST(truncation_at_every_byte_is_malformed, check_truncated, vectors)      \
    VECTOR_CHECKS_TEST(damage_of_any_byte_is_harmless, check_flipped, vectors)               \
    VECTOR_CHECKS_TEST(hostile_lengths_are_refused, check_lengths, vectors)                  \
    static const struct harness_test tests[] = {                                             \
        HARNESS_TEST(encodes_and_decodes_to_the_expected_bytes),                             \
        HARNESS_TEST(unknown_tagged_fields_are_skipped),                                     \
        HARNESS_TEST(truncation_at_every_byte_is_malformed),                                 \
        HARNESS_TEST(damage_of_any_byte_is_harmless),                                        \
        HARNESS_TEST(hostile_lengths_are_refused),                                           \
    };                                                                                       \
    HARNESS_MAIN(tests)
