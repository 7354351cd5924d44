#include "services/replication/leases.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/map.h"

void leases_init(struct leases *leases)
{
    *leases = (struct leases){.workers = NULL};
}

void leases_fini(struct leases *leases)
{
    free(leases->workers);
    leases_init(leases);
}

static uint64_t worker_hash(const struct ria_uuid *worker)
{
    return ria_hash_bytes(worker->bytes, RIA_UUID_SIZE);
}

bool leases_are(
    const struct leases *leases,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    uint32_t self
)
{
    bool same = leases->worker_count == worker_count && leases->self == self;

    for (uint32_t i = 0; same && i < worker_count; i++) {
        same = leases->workers[i] == worker_hash(&workers[i]);
    }
    return same;
}

ria_err leases_set(
    struct leases *leases, const struct ria_uuid *workers, uint32_t worker_count, uint32_t self
)
{
    RIA_ASSERT(self < worker_count);

    uint64_t *hashes = calloc(worker_count, sizeof(hashes[0]));
    if (hashes == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        hashes[i] = worker_hash(&workers[i]);
    }
    free(leases->workers);
    *leases = (struct leases){hashes, worker_count, self};
    return RIA_OK;
}

/* 16 bytes of the topic's id, partition number big-endian. */
static uint64_t partition_hash(const struct ria_uuid *topic_id, int32_t partition)
{
    uint32_t number = (uint32_t)partition;
    uint8_t key[RIA_UUID_SIZE + 4];

    for (size_t i = 0; i < RIA_UUID_SIZE; i++) {
        key[i] = topic_id->bytes[i];
    }
    key[RIA_UUID_SIZE] = (uint8_t)(number >> 24);
    key[RIA_UUID_SIZE + 1] = (uint8_t)(number >> 16);
    key[RIA_UUID_SIZE + 2] = (uint8_t)(number >> 8);
    key[RIA_UUID_SIZE + 3] = (uint8_t)number;
    return ria_hash_bytes(key, sizeof(key));
}

/* The finaliser of splitmix64: each pair of a worker and a partition has a weight of its own. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint32_t
leases_owner(const struct leases *leases, const struct ria_uuid *topic_id, int32_t partition)
{
    uint64_t hash = partition_hash(topic_id, partition);
    uint64_t heaviest = 0;
    uint32_t owner = 0;

    RIA_ASSERT(leases->worker_count > 0);

    for (uint32_t i = 0; i < leases->worker_count; i++) {
        uint64_t weight = mix(hash ^ leases->workers[i]);
        if (i == 0 || weight > heaviest) {
            heaviest = weight;
            owner = i;
        }
    }
    return owner;
}

bool leases_has(const struct leases *leases, const struct ria_uuid *topic_id, int32_t partition)
{
    return leases->worker_count > 0 && leases_owner(leases, topic_id, partition) == leases->self;
}
