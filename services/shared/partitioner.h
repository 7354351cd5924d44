/* partitioner: which partition a key belongs to, as Kafka's clients compute it.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

/* Kafka's 32-bit murmur2 (seed 0x9747b28c). */
uint32_t partitioner_murmur2(struct ria_slice key);

/* (murmur2 & 0x7fffffff) % partition_count. key.data != NULL. */
int32_t partitioner_of_key(struct ria_slice key, int32_t partition_count);
