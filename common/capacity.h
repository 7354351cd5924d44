/* capacity: how arrays grow that have a limit. */
#pragma once

#include "common/base.h"

/* How large an array of `capacity` entries, `count` of them in use, is to become for `more`: it
 * doubles at least, within [min, max]. At max it may still be too small. */
static inline uint32_t
ria_capacity_for(uint32_t capacity, uint32_t count, uint32_t more, uint32_t min, uint32_t max)
{
    uint64_t wanted = (uint64_t)count + more;

    wanted = wanted < (uint64_t)capacity * 2 ? (uint64_t)capacity * 2 : wanted;
    wanted = wanted < min ? min : wanted;
    return wanted > max ? max : (uint32_t)wanted;
}
