#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { BUF_CAPACITY_MIN = 64 };

void ria_buf_init(struct ria_buf *buf, size_t limit)
{
    RIA_ASSERT(limit < SIZE_MAX / 2);
    *buf = (struct ria_buf){.limit = limit};
}

void ria_buf_fini(struct ria_buf *buf)
{
    free(buf->data);
    *buf = (struct ria_buf){.limit = buf->limit};
}

/* Allocates one byte more than capacity says: the NUL that vsnprintf insists on goes there. */
ria_err ria_buf_reserve(struct ria_buf *buf, size_t more)
{
    RIA_ASSERT(buf->size <= buf->capacity);

    if (more <= buf->capacity - buf->size) {
        return RIA_OK;
    }
    if (more > buf->limit - ria_min_size(buf->size, buf->limit)) {
        return RIA_ERR_LIMIT;
    }
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity * 2;
    if (capacity < buf->size + more) {
        capacity = buf->size + more;
    }
    capacity = ria_min_size(capacity, buf->limit);

    uint8_t *data = realloc(buf->data, capacity + 1);
    if (data == NULL) {
        return RIA_ERR_NOMEM;
    }
    buf->data = data;
    buf->capacity = capacity;
    return RIA_OK;
}

ria_err ria_buf_append(struct ria_buf *buf, const void *data, size_t size)
{
    if (size == 0) {
        return RIA_OK;
    }
    RIA_TRY(ria_buf_reserve(buf, size));
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return RIA_OK;
}

ria_err ria_buf_append_str(struct ria_buf *buf, const char *text)
{
    return ria_buf_append(buf, text, strlen(text));
}

ria_err ria_buf_printf(struct ria_buf *buf, const char *fmt, ...)
{
    va_list args;

    /* Try in place; if it does not fit, the length is known and the second try cannot fail. */
    RIA_TRY(ria_buf_reserve(buf, ria_min_size(1, buf->limit - buf->size)));
    if (buf->data == NULL) { /* limit 0 */
        return RIA_ERR_LIMIT;
    }
    for (;;) {
        size_t room = buf->capacity - buf->size;
        va_start(args, fmt);
        int n = vsnprintf((char *)buf->data + buf->size, room + 1, fmt, args);
        va_end(args);
        if (n < 0) {
            return RIA_ERR_LIMIT; /* longer than INT_MAX */
        }
        if ((size_t)n <= room) {
            buf->size += (size_t)n;
            return RIA_OK;
        }
        RIA_TRY(ria_buf_reserve(buf, (size_t)n));
    }
}

void ria_buf_take(struct ria_buf *buf, uint8_t **out_data, size_t *out_size)
{
    *out_data = RIA_STEAL(&buf->data);
    *out_size = buf->size;
    buf->size = 0;
    buf->capacity = 0;
}
