#include "common/msg.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

struct ria_msg {
    size_t size;
    _Alignas(max_align_t) uint8_t data[];
};

struct ria_msg *ria_msg_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct ria_msg)) {
        return NULL;
    }
    struct ria_msg *msg = malloc(sizeof(*msg) + size);
    if (msg != NULL) {
        msg->size = size;
    }
    return msg;
}

struct ria_msg *ria_msg_copy(const struct ria_msg *msg)
{
    struct ria_msg *copy = ria_msg_new(msg->size);

    if (copy != NULL) {
        memcpy(copy->data, msg->data, msg->size);
    }
    return copy;
}

uint8_t *ria_msg_data(const struct ria_msg *msg)
{
    return (uint8_t *)(uintptr_t)msg->data; /* a frame's bytes are its owner's to write */
}

size_t ria_msg_size(const struct ria_msg *msg)
{
    return msg->size;
}

void ria_msg_truncate(struct ria_msg *msg, size_t size)
{
    RIA_ASSERT(size <= msg->size);
    msg->size = size;
}

void ria_msg_free(struct ria_msg *msg)
{
    free(msg);
}

void ria_msg_freep(struct ria_msg **msg)
{
    ria_msg_free(*msg);
    *msg = NULL;
}
