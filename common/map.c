#include "common/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { MAP_CAPACITY_MIN = 16 };
_Static_assert((MAP_CAPACITY_MIN & (MAP_CAPACITY_MIN - 1)) == 0, "slots are found by masking");

/* FNV-1a mixes the low bits of short keys badly, and the low bits choose the slot: hence the
 * finaliser of MurmurHash3. */
uint64_t ria_hash_bytes(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ (hash >> 33);
}

/* 0 marks an empty slot. */
static uint64_t slot_hash(const void *key, size_t key_size)
{
    uint64_t hash = ria_hash_bytes(key, key_size);

    return hash == 0 ? 1 : hash;
}

/* The slot of the key, or the empty slot where it would go. There is always an empty one. */
static struct ria_map_slot *
find(const struct ria_map *map, uint64_t hash, const void *key, size_t key_size)
{
    size_t mask = map->capacity - 1;

    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct ria_map_slot *slot = &map->slots[i];
        if (slot->hash == 0) {
            return slot;
        }
        if (slot->hash == hash && slot->key_size == key_size &&
            (key_size == 0 || memcmp(slot->key, key, key_size) == 0)) {
            return slot;
        }
    }
}

static ria_err grow(struct ria_map *map)
{
    struct ria_map larger = {
        .capacity = map->capacity == 0 ? MAP_CAPACITY_MIN : map->capacity * 2,
        .count = map->count,
    };

    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        const struct ria_map_slot *slot = &map->slots[i];
        if (slot->hash != 0) {
            *find(&larger, slot->hash, slot->key, slot->key_size) = *slot;
        }
    }
    free(map->slots);
    *map = larger;
    return RIA_OK;
}

void ria_map_init(struct ria_map *map)
{
    *map = (struct ria_map){0};
}

void ria_map_fini(struct ria_map *map)
{
    free(map->slots);
    *map = (struct ria_map){0};
}

void *ria_map_get(const struct ria_map *map, const void *key, size_t key_size)
{
    if (map->count == 0) {
        return NULL;
    }
    return find(map, slot_hash(key, key_size), key, key_size)->value;
}

ria_err ria_map_put(struct ria_map *map, const void *key, size_t key_size, void *value)
{
    RIA_ASSERT(value != NULL);

    uint64_t hash = slot_hash(key, key_size);
    struct ria_map_slot *slot = map->count == 0 ? NULL : find(map, hash, key, key_size);
    if (slot == NULL || slot->hash == 0) {
        /* Linear probing stays short below three quarters. */
        if ((map->count + 1) * 4 > map->capacity * 3) {
            RIA_TRY(grow(map));
            slot = NULL;
        }
        if (slot == NULL) {
            slot = find(map, hash, key, key_size);
        }
        map->count++;
    }
    *slot = (struct ria_map_slot){.hash = hash, .key = key, .key_size = key_size, .value = value};
    return RIA_OK;
}

/* Without tombstones: entries behind the hole that may not stay behind it move up. */
void *ria_map_remove(struct ria_map *map, const void *key, size_t key_size)
{
    if (map->count == 0) {
        return NULL;
    }
    struct ria_map_slot *slot = find(map, slot_hash(key, key_size), key, key_size);
    if (slot->hash == 0) {
        return NULL;
    }
    void *value = slot->value;
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(slot - map->slots);

    for (size_t i = (hole + 1) & mask; map->slots[i].hash != 0; i = (i + 1) & mask) {
        size_t home = (size_t)map->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct ria_map_slot){0};
    map->count--;
    return value;
}

void *ria_map_next(const struct ria_map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        const struct ria_map_slot *slot = &map->slots[(*cursor)++];
        if (slot->hash != 0) {
            return slot->value;
        }
    }
    return NULL;
}
