#include "services/gateway/openapi.h"

/* The compiler runs in the root of the tree (module.mk makes the object depend on the file). */
__asm__(".section .rodata\n"
        ".balign 16\n"
        "riacho_openapi_begin:\n"
        ".incbin \"schemas/openapi.yaml\"\n"
        "riacho_openapi_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t riacho_openapi_begin[] __attribute__((visibility("hidden")));
extern const uint8_t riacho_openapi_end[] __attribute__((visibility("hidden")));

struct ria_slice openapi_text(void)
{
    return ria_slice_of(riacho_openapi_begin, (size_t)(riacho_openapi_end - riacho_openapi_begin));
}
