/* crc: CRC-32C (Castagnoli), hardware-accelerated by ISA-L where the CPU can. */
#pragma once

#include "common/base.h"

/* CRC-32C of the bytes, in Kafka's and iSCSI's presentation: ria_crc32c("123456789", 9) is
 * 0xE3069283. */
uint32_t ria_crc32c(const void *data, size_t size);

/* Continue: ria_crc32c_extend(ria_crc32c(a), b) is the CRC of a followed by b. */
uint32_t ria_crc32c_extend(uint32_t crc, const void *data, size_t size);
