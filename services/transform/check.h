/* check: CheckTransform, the one request a worker answers: may this statement become a transform?
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/env.h"

/* Takes request: answers it, whatever it is. */
void check_handle(const struct ria_env *env, struct ria_rpc_request *request);
