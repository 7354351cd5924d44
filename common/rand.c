#include "common/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "common/assert.h"

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* splitmix64, as the authors of xoshiro advise: it turns any seed, 0 included, into a good state.
 */
static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void ria_rand_init(struct ria_rand *rand, uint64_t seed)
{
    for (size_t i = 0; i < RIA_COUNT(rand->state); i++) {
        rand->state[i] = splitmix(&seed);
    }
}

void ria_rand_init_system(struct ria_rand *rand)
{
    uint64_t seed = 0;
    ssize_t n;

    do {
        n = getrandom(&seed, sizeof(seed), 0);
    } while (n < 0 && errno == EINTR);
    RIA_ASSERT(n == (ssize_t)sizeof(seed));
    ria_rand_init(rand, seed);
}

/* xoshiro256** 1.0, Blackman and Vigna. */
uint64_t ria_rand_u64(struct ria_rand *rand)
{
    uint64_t *s = rand->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t ria_rand_below(struct ria_rand *rand, uint64_t bound)
{
    uint64_t value;

    RIA_ASSERT(bound > 0);

    /* Refuse the 2^64 mod bound smallest values: what is left divides evenly. */
    uint64_t refused = (0 - bound) % bound;
    do {
        value = ria_rand_u64(rand);
    } while (value < refused);
    return value % bound;
}

bool ria_rand_one_in(struct ria_rand *rand, uint64_t n)
{
    return ria_rand_below(rand, n) == 0;
}

void ria_rand_bytes(struct ria_rand *rand, uint8_t *out, size_t size)
{
    while (size > 0) {
        uint64_t value = ria_rand_u64(rand);
        size_t n = ria_min_size(size, sizeof(value));
        memcpy(out, &value, n);
        out += n;
        size -= n;
    }
}
