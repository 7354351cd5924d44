/* rand: randomness as an input. Seeded, so that a simulation repeats. Not for secrets. */
#pragma once

#include "common/base.h"

struct ria_rand {
    uint64_t state[4]; /* xoshiro256** */
};

void ria_rand_init(struct ria_rand *rand, uint64_t seed);

/* Seeded from getrandom(2), for real processes. */
void ria_rand_init_system(struct ria_rand *rand);

uint64_t ria_rand_u64(struct ria_rand *rand);

/* Uniform in [0, bound). bound > 0. */
uint64_t ria_rand_below(struct ria_rand *rand, uint64_t bound);

/* True once in `n` calls on average. */
bool ria_rand_one_in(struct ria_rand *rand, uint64_t n);

void ria_rand_bytes(struct ria_rand *rand, uint8_t *out, size_t size);
