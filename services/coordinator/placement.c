#include "services/coordinator/placement.h"

#include <string.h>

#include "common/assert.h"

void placement_init(
    struct placement *placement, struct placement_node *nodes, uint32_t count, uint32_t *rack_used
)
{
    uint32_t racks = 0;

    for (uint32_t i = 0; i < count; i++) {
        RIA_ASSERT(i == 0 || nodes[i - 1].id < nodes[i].id);
        nodes[i].topic_replicas = 0;
        nodes[i].topic_leaders = 0;
        nodes[i].chosen = false;
        nodes[i].rack_index = UINT32_MAX;
        for (uint32_t j = 0; j < i && nodes[i].rack[0] != '\0'; j++) {
            if (strcmp(nodes[i].rack, nodes[j].rack) == 0) {
                nodes[i].rack_index = nodes[j].rack_index;
                break;
            }
        }
        if (nodes[i].rack_index == UINT32_MAX) {
            nodes[i].rack_index = racks++;
        }
        rack_used[i] = 0;
    }
    *placement = (struct placement){.nodes = nodes, .count = count, .rack_used = rack_used};
}

/* True if a is the better home for one more replica. Equal: the one with the smaller id, which
 * comes first in the array. */
static bool
better(const struct placement *p, const struct placement_node *a, const struct placement_node *b)
{
    uint32_t rack_a = p->rack_used[a->rack_index];
    uint32_t rack_b = p->rack_used[b->rack_index];

    if (rack_a != rack_b) {
        return rack_a < rack_b;
    }
    if (a->topic_replicas != b->topic_replicas) {
        return a->topic_replicas < b->topic_replicas;
    }
    return a->replicas < b->replicas;
}

static struct placement_node *choose(struct placement *p)
{
    struct placement_node *best = NULL;

    for (uint32_t i = 0; i < p->count; i++) {
        struct placement_node *node = &p->nodes[i];
        if (!node->chosen && (best == NULL || better(p, node, best))) {
            best = node;
        }
    }
    RIA_ASSERT(best != NULL);
    best->chosen = true;
    p->rack_used[best->rack_index]++;
    return best;
}

static bool leads_less(const struct placement_node *a, const struct placement_node *b)
{
    if (a->topic_leaders != b->topic_leaders) {
        return a->topic_leaders < b->topic_leaders;
    }
    return a->leaders < b->leaders;
}

void placement_next(struct placement *placement, uint32_t replica_count, int32_t *out_ids)
{
    struct placement_node *chosen[RIA_REPLICAS_MAX];
    uint32_t leader = 0;

    RIA_ASSERT(replica_count > 0 && replica_count <= RIA_REPLICAS_MAX);
    RIA_ASSERT(replica_count <= placement->count);

    for (uint32_t i = 0; i < replica_count; i++) {
        chosen[i] = choose(placement);
        if (leads_less(chosen[i], chosen[leader])) {
            leader = i;
        }
    }
    struct placement_node *first = chosen[leader];
    memmove(chosen + 1, chosen, leader * sizeof(chosen[0]));
    chosen[0] = first;
    first->leaders++;
    first->topic_leaders++;
    for (uint32_t i = 0; i < replica_count; i++) {
        out_ids[i] = chosen[i]->id;
        chosen[i]->replicas++;
        chosen[i]->topic_replicas++;
        chosen[i]->chosen = false;
        placement->rack_used[chosen[i]->rack_index] = 0;
    }
}
