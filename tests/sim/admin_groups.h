/* admin_groups: what operators ask of groups and queues, over HTTP, through any of the gateways: a
 * group is deleted, a queue is set back to its beginning, dead letters are put back.
 *
 * That it was asked for goes into the history first: nobody knows when it is done, since an attempt
 * whose answer was lost may still be on its way.
 */
#pragma once

#include "common/base.h"

struct admin_op;

/* Sends an attempt; what comes of it is told to admin_take_answer(). */
void admin_groups_send(struct admin_op *op);
