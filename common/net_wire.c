#include "common/net_wire.h"

#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#define NET_ID_BIT UINT32_C(0x80000000)

enum { NET_LENGTH_SIZE = 8, NET_ID_SIZE = 4 };

_Static_assert((int)RIA_NET_HEAD_SIZE == (int)NET_LENGTH_SIZE + (int)NET_ID_SIZE, "size and id");

static void put_be(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(value >> 8 * (size - 1 - i));
    }
}

static uint64_t get_be(const uint8_t *data, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

void ria_net_wire_greeting(uint8_t out[RIA_NET_GREETING_SIZE], ria_net_role own)
{
    memcpy(out, "\0SP\0\0\0\0", RIA_NET_GREETING_SIZE);
    out[5] = (uint8_t)own;
}

void ria_net_wire_head(uint8_t out[RIA_NET_HEAD_SIZE], uint32_t id, size_t body_size)
{
    RIA_ASSERT((id & NET_ID_BIT) != 0);
    RIA_ASSERT(body_size <= RIA_FRAME_SIZE_MAX);

    put_be(out, NET_ID_SIZE + body_size, NET_LENGTH_SIZE);
    put_be(out + NET_LENGTH_SIZE, id, NET_ID_SIZE);
}

void ria_net_reader_init(struct ria_net_reader *reader, ria_net_role peer)
{
    reader->peer = peer;
    reader->greeted = false;
    reader->start = 0;
    reader->size = 0;
    reader->partial = NULL;
    reader->partial_got = 0;
}

void ria_net_reader_fini(struct ria_net_reader *reader)
{
    ria_msg_freep(&reader->partial);
}

size_t ria_net_reader_space(struct ria_net_reader *reader, struct ria_net_space out_places[2])
{
    size_t count = 0;

    memmove(reader->buffer, reader->buffer + reader->start, reader->size);
    reader->start = 0;
    if (reader->partial != NULL) {
        RIA_ASSERT(reader->size == 0); /* what there was of it is in the message */
        out_places[count].data = ria_msg_data(reader->partial) + reader->partial_got;
        out_places[count].size = ria_msg_size(reader->partial) - reader->partial_got;
        RIA_ASSERT(out_places[count].size > 0);
        count++;
    }
    out_places[count].data = reader->buffer + reader->size;
    out_places[count].size = sizeof(reader->buffer) - reader->size;
    RIA_ASSERT(out_places[count].size > 0); /* less than a head is left in it */
    return count + 1;
}

void ria_net_reader_filled(struct ria_net_reader *reader, size_t size)
{
    if (reader->partial != NULL) {
        size_t missing = ria_msg_size(reader->partial) - reader->partial_got;
        size_t taken = ria_min_size(size, missing);
        reader->partial_got += taken;
        size -= taken;
    }
    reader->size += size;
    RIA_ASSERT(reader->start == 0 && reader->size <= sizeof(reader->buffer));
}

static void consume(struct ria_net_reader *reader, size_t size)
{
    RIA_ASSERT(size <= reader->size);
    reader->start += size;
    reader->size -= size;
}

/* The greeting is checked byte by byte as it comes: who speaks something else need not finish. */
static ria_err read_greeting(struct ria_net_reader *reader)
{
    uint8_t want[RIA_NET_GREETING_SIZE];

    ria_net_wire_greeting(want, reader->peer);
    if (memcmp(want, reader->buffer + reader->start, ria_min_size(reader->size, sizeof(want))) !=
        0) {
        return RIA_ERR_MALFORMED;
    }
    if (reader->size >= sizeof(want)) {
        consume(reader, sizeof(want));
        reader->greeted = true;
    }
    return RIA_OK;
}

/* Checked as soon as it is there, which may be before the id. */
static ria_err check_size(uint64_t size)
{
    if (size < NET_ID_SIZE) {
        return RIA_ERR_MALFORMED;
    }
    return size - NET_ID_SIZE > RIA_FRAME_SIZE_MAX ? RIA_ERR_TOO_LARGE : RIA_OK;
}

/* Make room for the frame whose head is in the buffer, and move there what has come of its body. */
static ria_err start_frame(struct ria_net_reader *reader)
{
    const uint8_t *head = reader->buffer + reader->start;
    uint64_t size = get_be(head, NET_LENGTH_SIZE);

    RIA_TRY(check_size(size));
    if (reader->size < RIA_NET_HEAD_SIZE) {
        return RIA_OK;
    }
    uint32_t id = (uint32_t)get_be(head + NET_LENGTH_SIZE, NET_ID_SIZE);
    if ((id & NET_ID_BIT) == 0) {
        return RIA_ERR_MALFORMED;
    }
    reader->partial = ria_msg_new((size_t)size - NET_ID_SIZE);
    if (reader->partial == NULL) {
        return RIA_ERR_NOMEM;
    }
    reader->partial_id = id;
    reader->partial_got =
        ria_min_size(ria_msg_size(reader->partial), reader->size - RIA_NET_HEAD_SIZE);
    memcpy(ria_msg_data(reader->partial), head + RIA_NET_HEAD_SIZE, reader->partial_got);
    consume(reader, RIA_NET_HEAD_SIZE + reader->partial_got);
    return RIA_OK;
}

ria_err
ria_net_reader_next(struct ria_net_reader *reader, uint32_t *out_id, struct ria_msg **out_msg)
{
    struct ria_msg *msg = NULL;

    if (!reader->greeted) {
        RIA_TRY(read_greeting(reader));
    }
    if (reader->greeted && reader->partial == NULL && reader->size >= NET_LENGTH_SIZE) {
        RIA_TRY(start_frame(reader));
    }
    if (reader->partial != NULL && reader->partial_got == ria_msg_size(reader->partial)) {
        *out_id = reader->partial_id;
        msg = RIA_STEAL(&reader->partial);
    }
    *out_msg = msg;
    return RIA_OK;
}
