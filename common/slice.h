/* slice: bytes that somebody else owns.
 *
 * A slice borrows: it must not outlive the memory it points into (a frame, an arena, a literal).
 * data == NULL means "null", which the wire formats distinguish from empty; a null slice has size
 * 0.
 */
#pragma once

#include <string.h>

#include "common/base.h"

struct ria_slice {
    const uint8_t *data; /* NULL = null */
    size_t size;
};

#define RIA_SLICE_NULL  ((struct ria_slice){NULL, 0})
#define RIA_SLICE_EMPTY RIA_SLICE_LITERAL("")
/* Of a string literal, without its NUL. */
#define RIA_SLICE_LITERAL(s) ((struct ria_slice){(const uint8_t *)("" s ""), sizeof(s) - 1})

/* printf("name=" RIA_SLICE_FMT, RIA_SLICE_ARG(name)): the bytes up to a NUL or the end. */
#define RIA_SLICE_FMT    "%.*s"
#define RIA_SLICE_ARG(s) ria_slice_printf_size_(s), ria_slice_printf_data_(s)

static inline struct ria_slice ria_slice_of(const void *data, size_t size)
{
    return (struct ria_slice){data, size};
}

/* NULL gives the null slice. */
static inline struct ria_slice ria_slice_cstr(const char *text)
{
    return (struct ria_slice){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

static inline bool ria_slice_is_null(struct ria_slice s)
{
    return s.data == NULL;
}

/* Compares contents: null and empty are equal. */
static inline bool ria_slice_equal(struct ria_slice a, struct ria_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Bytes [offset, offset + size) of s, cut off at its end. */
static inline struct ria_slice ria_slice_sub(struct ria_slice s, size_t offset, size_t size)
{
    if (offset > s.size) {
        offset = s.size;
    }
    if (size > s.size - offset) {
        size = s.size - offset;
    }
    return (struct ria_slice){s.data == NULL ? NULL : s.data + offset, size};
}

static inline int ria_slice_printf_size_(struct ria_slice s)
{
    return s.size > INT32_MAX ? INT32_MAX : (int)s.size;
}

static inline const char *ria_slice_printf_data_(struct ria_slice s)
{
    return s.data == NULL ? "" : (const char *)s.data;
}
