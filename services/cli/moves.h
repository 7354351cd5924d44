/* moves: how plans and moves of partitions are printed, for more than one command. */
#pragma once

#include <jansson.h>

#include "common/base.h"

/* "1,2,3" from an array of numbers; cut at size. */
const char *moves_ids(const json_t *ids, char *out, size_t size);

/* A plan (GET /v1/rebalance): with `each` every partition, then what it comes to. rate: MB a
 * second that the copying is expected to have. */
void moves_print_plan(const json_t *plan, bool each, double rate);

/* Moves under way (GET /v1/moves). */
void moves_print(const json_t *moves);
