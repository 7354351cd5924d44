/* dead_letters: what the dead-letter topics of the plan's queues hold at the end. Gateways make
 * them when they are needed, under ids of their own, so they are no topics of the plan: of what is
 * in them is judged that it is somebody's dead record, and that what is not acknowledged is there.
 */
#pragma once

#include "common/base.h"

struct world;

/* Every partition of those that exist has a leader whose whole log is committed. */
bool dead_letters_are_readable(const struct world *world);

/* DEAD of every record. The coordinator is up. */
void dead_letters_record(struct world *world);
