#include "services/coordinator/leader_choice.h"

#include "common/assert.h"

static bool
may_lead(const struct partition_row *row, const struct node_set *usable, int32_t node_id)
{
    return node_set_has(usable, node_id) && !node_list_has(&row->unfit, node_id);
}

int32_t leader_choice(const struct partition_row *row, const struct node_set *usable)
{
    const struct node_list *sets[] = {&row->isr, &row->eligible};

    for (size_t k = 0; k < RIA_COUNT(sets); k++) {
        for (uint32_t i = 0; i < row->replicas.count; i++) {
            int32_t id = row->replicas.ids[i];
            if (node_list_has(sets[k], id) && may_lead(row, usable, id)) {
                return id;
            }
        }
    }
    return -1;
}

int32_t leader_preferred(const struct partition_row *row, const struct node_set *usable)
{
    int32_t first = row->replicas.ids[0];

    RIA_ASSERT(row->replicas.count > 0);
    return row->leader != -1 && row->leader != first && node_list_has(&row->isr, first) &&
                   may_lead(row, usable, first)
               ? first
               : -1;
}

void leader_bound_eligible(struct partition_row *row, int64_t min_insync)
{
    if (row->leader == -1) {
        return;
    }
    int64_t room = ria_max_i64(0, min_insync - (int64_t)row->isr.count);

    row->eligible.count = (uint32_t)ria_min_i64(row->eligible.count, room);
}

void leader_change_isr(struct partition_row *row, const struct node_list *isr, int64_t min_insync)
{
    struct node_list eligible = {.count = 0};

    RIA_ASSERT(isr->count > 0);
    for (uint32_t i = 0; i < row->isr.count; i++) {
        if (!node_list_has(isr, row->isr.ids[i])) {
            node_list_add(&eligible, row->isr.ids[i]);
        }
    }
    for (uint32_t i = 0; i < row->eligible.count; i++) {
        if (!node_list_has(isr, row->eligible.ids[i])) {
            node_list_add(&eligible, row->eligible.ids[i]);
        }
    }
    row->isr = *isr;
    row->eligible = eligible;
    leader_bound_eligible(row, min_insync);
}

void leader_leave(struct partition_row *row, int32_t node_id, int64_t min_insync)
{
    struct node_list isr = row->isr;

    if (isr.count > 1 && node_list_has(&isr, node_id)) {
        node_list_remove(&isr, node_id);
        leader_change_isr(row, &isr, min_insync);
    }
}

void leader_set(struct partition_row *row, int32_t node_id, int64_t min_insync)
{
    if (!node_list_has(&row->isr, node_id)) {
        const struct node_list alone = {.ids = {node_id}, .count = 1};
        RIA_ASSERT(node_list_has(&row->eligible, node_id));
        leader_change_isr(row, &alone, min_insync);
    }
    row->leader = node_id;
    row->leader_epoch++;
    leader_bound_eligible(row, min_insync);
}

void leader_force(struct partition_row *row, int32_t node_id)
{
    RIA_ASSERT(node_list_has(&row->replicas, node_id));
    row->isr = (struct node_list){.ids = {node_id}, .count = 1};
    row->eligible.count = 0;
    row->leader = node_id;
    row->leader_epoch++;
    row->forced_epoch = row->leader_epoch;
}

void leader_retire(
    struct partition_row *row,
    int32_t node_id,
    const struct node_set *usable,
    int64_t min_insync,
    bool keep
)
{
    struct partition_row next = *row;
    bool led = row->leader == node_id;

    next.leader = led ? -1 : row->leader;
    leader_leave(&next, node_id, min_insync);
    if (led) {
        struct node_set others = *usable;
        node_set_remove(&others, node_id);
        int32_t leader = leader_choice(&next, &others);
        if (leader != -1) {
            leader_set(&next, leader, min_insync);
        } else if (keep) {
            return;
        }
    }
    *row = next;
}
