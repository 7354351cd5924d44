#include "services/coordinator/consensus.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/list.h"

struct proposal {
    struct ria_list link;
    uint8_t *command;
    size_t command_size;
    consensus_done_fn done;
    void *arg;
    int64_t index; /* set when it is applied */
};

struct consensus {
    const struct ria_env *env;
    struct consensus_machine machine;
    struct ria_timer group_timer; /* due at once: the end of the loop's turn */
    struct ria_list pending;
    int64_t applied_index;
    bool in_group;
    struct consensus_stats stats;
    struct command_result results[CONSENSUS_GROUP_MAX];
};

static void
proposal_end(struct proposal *proposal, ria_err err, const struct command_result *result)
{
    proposal->done(proposal->arg, err, proposal->index, result);
    free(proposal->command);
    free(proposal);
}

/* Move up to a group of proposals through the machine, then tell the proposers. */
static void run_group(struct consensus *consensus)
{
    struct ria_list group;
    uint32_t count = 0;
    size_t kept_size = 0;
    const struct ria_clock *clock = consensus->env->clock;
    int64_t end_us = ria_clock_mono_us(clock) + CONSENSUS_GROUP_US;

    RIA_ASSERT(!consensus->in_group);
    consensus->in_group = true;
    ria_list_init(&group);
    consensus->machine.begin(consensus->machine.arg);
    while (count < CONSENSUS_GROUP_MAX && !ria_list_is_empty(&consensus->pending) &&
           kept_size < CONSENSUS_GROUP_SIZE && ria_clock_mono_us(clock) <= end_us) {
        struct proposal *proposal = RIA_CONTAINER(consensus->pending.next, struct proposal, link);
        struct ria_slice command = ria_slice_of(proposal->command, proposal->command_size);

        proposal->index = ++consensus->applied_index;
        consensus->machine.apply(
            consensus->machine.arg, proposal->index, command, &consensus->results[count]
        );
        ria_list_remove(&proposal->link);
        ria_list_push_back(&group, &proposal->link);
        kept_size += consensus->results[count].kept_size;
        count++;
    }
    consensus->machine.commit(consensus->machine.arg, consensus->applied_index);
    consensus->stats.groups++;
    consensus->stats.commands += count;
    consensus->stats.pending -= count;

    for (uint32_t i = 0; i < count; i++) {
        struct proposal *proposal = RIA_CONTAINER(group.next, struct proposal, link);
        ria_list_remove(&proposal->link);
        proposal_end(proposal, RIA_OK, &consensus->results[i]);
    }
    consensus->in_group = false;
}

static void arm(struct consensus *consensus)
{
    if (!consensus->group_timer.active && !ria_list_is_empty(&consensus->pending)) {
        ria_timer_start(consensus->env->timers, &consensus->group_timer, 0);
    }
}

static void on_group_timer(struct ria_timer *timer, void *arg)
{
    struct consensus *consensus = arg;

    (void)timer;
    run_group(consensus);
    arm(consensus);
}

ria_err consensus_new(
    const struct ria_env *env,
    const struct consensus_machine *machine,
    int64_t applied_index,
    struct consensus **out_consensus
)
{
    struct consensus *consensus = calloc(1, sizeof(*consensus));

    if (consensus == NULL) {
        return RIA_ERR_NOMEM;
    }
    consensus->env = env;
    consensus->machine = *machine;
    consensus->applied_index = applied_index;
    ria_list_init(&consensus->pending);
    ria_timer_init(&consensus->group_timer, on_group_timer, consensus);
    *out_consensus = consensus;
    return RIA_OK;
}

void consensus_free(struct consensus *consensus)
{
    struct ria_list *link = NULL;

    if (consensus == NULL) {
        return;
    }
    RIA_ASSERT(!consensus->in_group);
    ria_timer_stop(consensus->env->timers, &consensus->group_timer);
    while ((link = ria_list_pop_front(&consensus->pending)) != NULL) {
        proposal_end(RIA_CONTAINER(link, struct proposal, link), RIA_ERR_SHUTDOWN, NULL);
    }
    free(consensus);
}

ria_err consensus_propose(
    struct consensus *consensus,
    uint8_t *command,
    size_t command_size,
    consensus_done_fn done,
    void *arg
)
{
    if (consensus->stats.pending >= CONSENSUS_PENDING_MAX) {
        return RIA_ERR_BUSY;
    }
    struct proposal *proposal = calloc(1, sizeof(*proposal));
    if (proposal == NULL) {
        return RIA_ERR_NOMEM;
    }
    proposal->command = command;
    proposal->command_size = command_size;
    proposal->done = done;
    proposal->arg = arg;
    ria_list_push_back(&consensus->pending, &proposal->link);
    consensus->stats.pending++;
    if (!consensus->in_group) {
        arm(consensus);
    }
    return RIA_OK;
}

consensus_role consensus_get_role(const struct consensus *consensus)
{
    (void)consensus;
    return CONSENSUS_LEADER;
}

void consensus_flush(struct consensus *consensus)
{
    while (!ria_list_is_empty(&consensus->pending)) {
        run_group(consensus);
    }
    ria_timer_stop(consensus->env->timers, &consensus->group_timer);
}

void consensus_get_stats(const struct consensus *consensus, struct consensus_stats *out_stats)
{
    *out_stats = consensus->stats;
}
