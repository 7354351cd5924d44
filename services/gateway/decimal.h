/* decimal: JSON numbers as they are written, compared exactly: of any size, with any number of
 * digits, 1e2 is 100.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

/* -1, 0 or 1. Both are numbers of JSON (RFC 8259, section 6): "-12.50e+3". */
int decimal_compare(struct ria_slice left, struct ria_slice right);
