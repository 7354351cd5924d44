/* alloc: malloc and its relatives as the linker wraps them (-Wl,--wrap), failing at a given call
 * while a core runs. Other code of the test, which has no answer to that, is left alone.
 *
 * One thread only. The state is the allocator's, hence file-level.
 */
#pragma once

#include "common/base.h"

/* The `at`th allocation from now that is made while armed fails (0: none). Disarms. */
void alloc_fail_at(uint64_t at);
bool alloc_has_failed(void);

/* Returns what it was. */
bool alloc_arm(bool armed);
