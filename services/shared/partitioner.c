#include "services/shared/partitioner.h"

#include "common/assert.h"

static uint32_t load_u32_le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Kafka's clients/.../common/utils/Utils.java, murmur2(): its int arithmetic wraps as ours does. */
uint32_t partitioner_murmur2(struct ria_slice key)
{
    const uint32_t seed = 0x9747b28c;
    const uint32_t m = 0x5bd1e995;
    const uint8_t *p = key.data;
    size_t left = key.size;
    uint32_t h = seed ^ (uint32_t)key.size;

    for (; left >= 4; p += 4, left -= 4) {
        uint32_t k = load_u32_le(p) * m;
        k ^= k >> 24;
        h = (h * m) ^ (k * m);
    }
    if (left > 0) {
        while (left-- > 0) {
            h ^= (uint32_t)p[left] << (8 * left);
        }
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int32_t partitioner_of_key(struct ria_slice key, int32_t partition_count)
{
    RIA_ASSERT(key.data != NULL);
    RIA_ASSERT(partition_count > 0);

    return (int32_t)((partitioner_murmur2(key) & INT32_MAX) % (uint32_t)partition_count);
}
