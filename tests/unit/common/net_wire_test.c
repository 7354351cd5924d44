#include "common/net_wire.h"

#include <string.h>

#include "common/limits.h"
#include "common/rand.h"

#include "tests/lib/harness.h"

enum { STREAM_MAX = 256 * 1024 };

static uint8_t stream[STREAM_MAX];
static size_t stream_size;

static void begin(ria_net_role role)
{
    ria_net_wire_greeting(stream, role);
    stream_size = RIA_NET_GREETING_SIZE;
}

/* A frame with this id whose body bytes are the id's lowest byte. */
static void append_frame(uint32_t id, size_t size)
{
    ria_net_wire_head(stream + stream_size, id, size);
    memset(stream + stream_size + RIA_NET_HEAD_SIZE, (int)(id & 0xff), size);
    stream_size += RIA_NET_HEAD_SIZE + size;
}

/* Up to `size` bytes into the places the reader names. Returns how many fitted. */
static size_t feed(struct ria_net_reader *reader, const uint8_t *data, size_t size)
{
    struct ria_net_space places[2];
    size_t count = ria_net_reader_space(reader, places);
    size_t fed = 0;

    for (size_t i = 0; i < count && fed < size; i++) {
        size_t n = ria_min_size(places[i].size, size - fed);
        memcpy(places[i].data, data + fed, n);
        fed += n;
    }
    ria_net_reader_filled(reader, fed);
    return fed;
}

static bool noisy; /* ids and bodies may be anything */

/* Read the stream in pieces of at most piece_max bytes (0: of random size); count good frames,
 * whose ids must go up by one. */
static ria_err
read_all(ria_net_role peer, size_t piece_max, struct ria_rand *rand, size_t *out_count)
{
    static struct ria_net_reader reader;
    uint32_t id_next = UINT32_C(0x80000000);
    size_t count = 0;
    ria_err err = RIA_OK;

    ria_net_reader_init(&reader, peer);
    for (size_t at = 0; at < stream_size && err == RIA_OK;) {
        size_t piece = piece_max == 0 ? 1 + (size_t)ria_rand_below(rand, 20000) : piece_max;
        at += feed(&reader, stream + at, ria_min_size(piece, stream_size - at));
        struct ria_msg *msg = NULL;
        uint32_t id;
        while ((err = ria_net_reader_next(&reader, &id, &msg)) == RIA_OK && msg != NULL) {
            size_t size = ria_msg_size(msg);
            CU_ASSERT_TRUE(noisy || id == id_next);
            CU_ASSERT_TRUE(noisy || size == 0 || ria_msg_data(msg)[0] == (id & 0xff));
            CU_ASSERT_TRUE(noisy || size == 0 || ria_msg_data(msg)[size - 1] == (id & 0xff));
            id_next++;
            count++;
            ria_msg_free(msg);
        }
    }
    ria_net_reader_fini(&reader);
    *out_count = count;
    return err;
}

static void frames_come_out_however_the_bytes_come_in(void)
{
    static const size_t sizes[] = {
        0,
        1,
        16,
        100,
        RIA_NET_BUFFER_SIZE - 20,
        RIA_NET_BUFFER_SIZE,
        RIA_NET_BUFFER_SIZE + 1,
        0,
        50000,
        3,
        3,
        3,
        3,
        3,
        20000,
        7};
    static const size_t pieces[] = {1, 2, 3, 7, 11, 12, 13, 4096, RIA_NET_BUFFER_SIZE, STREAM_MAX};
    struct ria_rand rand;
    size_t count;

    ria_rand_init(&rand, 1);
    begin(RIA_NET_ROLE_CALLER);
    for (uint32_t i = 0; i < RIA_COUNT(sizes); i++) {
        append_frame(UINT32_C(0x80000000) + i, sizes[i]);
    }
    for (size_t i = 0; i < RIA_COUNT(pieces); i++) {
        CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, pieces[i], &rand, &count), RIA_OK);
        CU_ASSERT_EQUAL(count, RIA_COUNT(sizes));
    }
    for (size_t i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, 0, &rand, &count), RIA_OK);
        CU_ASSERT_EQUAL(count, RIA_COUNT(sizes));
    }
}

static void bytes_are_those_of_nanomsg(void)
{
    static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    static const uint8_t head[] = {0, 0, 0, 0, 0, 1, 2, 7, 0x81, 2, 3, 4};
    uint8_t out[RIA_NET_HEAD_SIZE];

    ria_net_wire_greeting(out, RIA_NET_ROLE_CALLER);
    CU_ASSERT_EQUAL(memcmp(out, greeting, sizeof(greeting)), 0);
    ria_net_wire_head(out, 0x81020304, 0x10203);
    CU_ASSERT_EQUAL(memcmp(out, head, sizeof(head)), 0);
}

static void wrong_greeting_fails_at_its_first_wrong_byte(void)
{
    size_t count;

    for (size_t i = 0; i < RIA_NET_GREETING_SIZE; i++) {
        begin(RIA_NET_ROLE_CALLER);
        stream[i] ^= 1;
        stream_size = i;
        CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, 1, NULL, &count), RIA_OK);
        stream_size = i + 1;
        CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, 1, NULL, &count), RIA_ERR_MALFORMED);
    }
    begin(RIA_NET_ROLE_SERVER);
    CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, 8, NULL, &count), RIA_ERR_MALFORMED);
}

static void frames_before_a_bad_one_still_come_out(void)
{
    size_t count;

    begin(RIA_NET_ROLE_SERVER);
    append_frame(0x80000000, 10);
    append_frame(0x80000001, 10);
    stream[stream_size - 10 - 4] = 0; /* the id's top byte */
    CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_SERVER, 100, NULL, &count), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(count, 1);
}

static void sizes_are_checked_before_memory_is_taken(void)
{
    static const struct {
        uint64_t size;
        ria_err err;
    } cases[] = {
        {0, RIA_ERR_MALFORMED},
        {3, RIA_ERR_MALFORMED},
        {4, RIA_OK},
        {(uint64_t)RIA_FRAME_SIZE_MAX + 4, RIA_OK},
        {(uint64_t)RIA_FRAME_SIZE_MAX + 5, RIA_ERR_TOO_LARGE},
        {UINT64_MAX, RIA_ERR_TOO_LARGE},
        {UINT64_C(1) << 63, RIA_ERR_TOO_LARGE},
    };
    size_t count;

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        begin(RIA_NET_ROLE_CALLER);
        append_frame(0x80000000, 0);
        for (size_t b = 0; b < 8; b++) {
            stream[RIA_NET_GREETING_SIZE + b] = (uint8_t)(cases[i].size >> (56 - 8 * b));
        }
        CU_ASSERT_EQUAL(read_all(RIA_NET_ROLE_CALLER, 100, NULL, &count), cases[i].err);
    }
}

static void noise_never_crashes(void)
{
    struct ria_rand rand;
    size_t count;

    noisy = true;
    ria_rand_init(&rand, 7);
    for (size_t i = 0; i < 2000; i++) {
        begin(RIA_NET_ROLE_CALLER);
        append_frame(0x80000000, (size_t)ria_rand_below(&rand, 100));
        append_frame(0x80000001, (size_t)ria_rand_below(&rand, 100));
        size_t at = (size_t)ria_rand_below(&rand, RIA_NET_GREETING_SIZE + RIA_NET_HEAD_SIZE);
        stream[at] = (uint8_t)ria_rand_u64(&rand);
        ria_err err = read_all(RIA_NET_ROLE_CALLER, 1 + i % 40, &rand, &count);
        CU_ASSERT_TRUE(err == RIA_OK || err == RIA_ERR_MALFORMED || err == RIA_ERR_TOO_LARGE);
    }
    noisy = false;
}

static const struct harness_test tests[] = {
    HARNESS_TEST(frames_come_out_however_the_bytes_come_in),
    HARNESS_TEST(bytes_are_those_of_nanomsg),
    HARNESS_TEST(wrong_greeting_fails_at_its_first_wrong_byte),
    HARNESS_TEST(frames_before_a_bad_one_still_come_out),
    HARNESS_TEST(sizes_are_checked_before_memory_is_taken),
    HARNESS_TEST(noise_never_crashes),
};
HARNESS_MAIN(tests);
