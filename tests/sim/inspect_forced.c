/* Leaders that an operator forces (inspect.h): whom he would, when he should not have to, and what
 * clients are told of it. */
#include <inttypes.h>

#include "tests/sim/client.h"
#include "tests/sim/inspect_internal.h"

int32_t inspect_successor(const struct world *world, uint32_t partition)
{
    struct storage_replica_info info;
    struct storage_replica_info best = {.last_epoch = -1, .end_offset = -1};
    int32_t node_id = -1;

    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (!inspect_describe(node, partition, &info)) {
            continue;
        }
        if (info.leader) {
            return -1;
        }
        bool is_newer = info.last_epoch > best.last_epoch ||
                        (info.last_epoch == best.last_epoch && info.end_offset > best.end_offset);
        if (!info.damaged && !info.failed && !node->has_bad_disk && is_newer) {
            best = info;
            node_id = storage_node_id(node->storage);
        }
    }
    return node_id;
}

/* A member of the in-sync set that could lead; NULL: there is none. */
static const struct sim_node *fit_member(const struct world *world, uint32_t partition)
{
    const struct sim_node *coordinator = &world->nodes[0];
    struct storage_replica_info info;

    for (uint32_t i = 0; coordinator->is_known[partition] && i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (inspect_describe(node, partition, &info) && !info.damaged && !info.failed &&
            inspect_has_member(&coordinator->known[partition], storage_node_id(node->storage))) {
            return node;
        }
    }
    return NULL;
}

void inspect_check_elections(struct world *world)
{
    struct storage_replica_info leader;

    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        const struct sim_node *node = fit_member(world, p);
        if (!plan_is_doomed(world->plan, p) && node != NULL &&
            !inspect_find_leader(world, p, &leader)) {
            world_break(
                world,
                "no-election",
                p,
                "nobody leads partition %" PRIu32 ", although %s is in sync and whole",
                p,
                node->name
            );
        }
    }
}

const char *inspect_judge_forced(const struct inspect_forced *forced, int32_t told_epoch)
{
    if (told_epoch >= 0 && !forced->is_asked) {
        return "forced-unasked";
    }
    return forced->epoch >= 0 && told_epoch < forced->epoch ? "forced-unsaid" : NULL;
}

void inspect_check_forced(
    struct world *world, uint32_t partition, const struct inspect_forced *forced
)
{
    const struct cluster_partition *known = inspect_metadata(world, partition);
    const char *rule = known == NULL ? NULL : inspect_judge_forced(forced, known->forced_epoch);

    if (rule != NULL) {
        world_break(
            world,
            rule,
            partition,
            "clients are told that a leader was forced in epoch %" PRId32
            " (-1: never), the operator of epoch %" PRId32,
            known->forced_epoch,
            forced->epoch
        );
    }
}
