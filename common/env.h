/* env: everything a core may take from the world, as one bundle of borrowed inputs.
 *
 * A shell fills it with the real parts, the simulator with its own. A core keeps the pointer for
 * its life and touches the world through nothing else.
 */
#pragma once

#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/rand.h"
#include "common/rpc.h"
#include "common/timers.h"

struct ria_env {
    const struct ria_clock *clock;
    struct ria_timers *timers;
    struct ria_rpc *rpc;
    struct ria_fs *fs; /* NULL in services without files */
    struct ria_rand *rand;
    const struct ria_log *log;
};
