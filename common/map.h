/* map: hash map from byte keys to pointers. Open addressing, keys borrowed.
 *
 * The map does not copy keys: a key must live (usually inside its value) as long as its entry.
 * Iteration order depends only on the history of inserts and removes, so a seeded simulation
 * repeats. No callback, no lock.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct ria_map_slot {
    uint64_t hash; /* 0 = empty */
    const void *key;
    size_t key_size;
    void *value;
};

struct ria_map {
    struct ria_map_slot *slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

void ria_map_init(struct ria_map *map);

/* Frees the table only: keys and values are the caller's. */
void ria_map_fini(struct ria_map *map);

/* NULL if absent. */
void *ria_map_get(const struct ria_map *map, const void *key, size_t key_size);

/* Replaces the value (and the key pointer) if the key is present. value is not NULL.
 * Errors: RIA_ERR_NOMEM. */
ria_err
ria_map_put(struct ria_map *map, const void *key, size_t key_size, void *value) RIA_MUST_USE;

/* Returns the removed value, NULL if absent. */
void *ria_map_remove(struct ria_map *map, const void *key, size_t key_size);

/* Iterate: start with *cursor = 0; NULL at the end. The current entry may be removed only after
 * the walk; nothing may be put during it. */
void *ria_map_next(const struct ria_map *map, size_t *cursor);

/* The hash it uses, for others (FNV-1a with a finaliser). */
uint64_t ria_hash_bytes(const void *data, size_t size);
