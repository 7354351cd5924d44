/* Partitions that move from replicas to replicas. */
#include "services/coordinator/apply.h"

/* Without a target there is nothing to settle, and nothing sets one yet. */
ria_err apply_moves_settle(struct apply *apply, struct partition_row *row)
{
    RIA_ASSERT(row->target.count == 0);
    (void)apply;
    return RIA_OK;
}
