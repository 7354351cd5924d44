#include "common/crc.h"

#include <isa-l/crc.h>

/* ISA-L counts in int. */
enum { CRC_STEP_MAX = 1 << 30 };

uint32_t ria_crc32c(const void *data, size_t size)
{
    return ria_crc32c_extend(0, data, size);
}

/* crc32_iscsi() is the bare register: the complement before and after is the caller's. */
uint32_t ria_crc32c_extend(uint32_t crc, const void *data, size_t size)
{
    /* It only reads, but its parameter is not const. */
    unsigned char *bytes = (unsigned char *)(uintptr_t)data;

    crc = ~crc;
    while (size > 0) {
        size_t step = ria_min_size(size, CRC_STEP_MAX);
        crc = crc32_iscsi(bytes, (int)step, crc);
        bytes += step;
        size -= step;
    }
    return ~crc;
}
