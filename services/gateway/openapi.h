/* openapi: schemas/openapi.yaml, as it was when the program was built. */
#pragma once

#include "common/slice.h"

struct ria_slice openapi_text(void);
