/* buf: a growable byte buffer with an upper limit. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

struct ria_buf {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* bytes it may grow to */
};

void ria_buf_init(struct ria_buf *buf, size_t limit);
void ria_buf_fini(struct ria_buf *buf);

/* Room for `more` bytes behind size. Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err ria_buf_reserve(struct ria_buf *buf, size_t more) RIA_MUST_USE;

/* Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT (nothing is appended). */
ria_err ria_buf_append(struct ria_buf *buf, const void *data, size_t size) RIA_MUST_USE;
ria_err ria_buf_append_str(struct ria_buf *buf, const char *text) RIA_MUST_USE;
ria_err ria_buf_printf(struct ria_buf *buf, const char *fmt, ...) RIA_MUST_USE RIA_PRINTF(2, 3);

/* Take the memory away: *out_data is the caller's to free(); the buffer is empty afterwards. */
void ria_buf_take(struct ria_buf *buf, uint8_t **out_data, size_t *out_size);

static inline void ria_buf_clear(struct ria_buf *buf)
{
    buf->size = 0;
}

static inline struct ria_slice ria_buf_slice(const struct ria_buf *buf)
{
    return (struct ria_slice){.data = buf->data, .size = buf->size};
}
