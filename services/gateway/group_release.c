#include "services/gateway/group_release.h"

#include <stdlib.h>

#include "common/arena.h"

#include "schemas/gen/group_commit.h"

enum {
    RELEASE_TIMEOUT_US = 5 * 1000 * 1000,
    RELEASE_ARENA_MAX = 256 * 1024,
};

struct release {
    struct ria_list link;
    struct group_releases *owner;
    struct ria_arena arena;
    struct group_commit body;
    struct group_op op;
};

static void release_free(struct release *release)
{
    ria_list_remove(&release->link);
    release->owner->count--;
    ria_arena_fini(&release->arena);
    free(release);
}

void group_releases_init(struct group_releases *releases, struct group_ops *ops)
{
    releases->ops = ops;
    releases->count = 0;
    ria_list_init(&releases->live);
}

void group_releases_fini(struct group_releases *releases)
{
    while (!ria_list_is_empty(&releases->live)) {
        release_free(RIA_CONTAINER(releases->live.next, struct release, link));
    }
}

static void released(struct group_op *op, const struct group_op_result *result)
{
    (void)result;
    release_free(op->arg);
}

static bool
fill(struct release *release, struct ria_slice group, struct ria_slice member, uint32_t count)
{
    struct group_commit *body = &release->body;
    const char *group_copy = ria_arena_strdup(&release->arena, group);
    const char *member_copy = ria_arena_strdup(&release->arena, member);

    group_commit_init(body);
    body->lease_ms = 0; /* those that may still commit are over at once */
    body->entries = ria_arena_alloc_array(&release->arena, count, sizeof(*body->entries));
    if (group_copy == NULL || member_copy == NULL || body->entries == NULL) {
        return false;
    }
    body->group = ria_slice_of(group_copy, group.size);
    body->member = ria_slice_of(member_copy, member.size);
    body->entries_count = count;
    return true;
}

void group_release(
    struct group_releases *releases,
    struct ria_slice group,
    struct ria_slice member,
    const struct group_lease *leases,
    uint32_t count
)
{
    struct release *release = NULL;

    if (count == 0 || releases->count >= GROUP_RELEASES_MAX) {
        return;
    }
    release = calloc(1, sizeof(*release));
    if (release == NULL) {
        return;
    }
    release->owner = releases;
    releases->count++;
    ria_list_push_back(&releases->live, &release->link);
    ria_arena_init(&release->arena, RELEASE_ARENA_MAX);
    if (!fill(release, group, member, count)) {
        release_free(release);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct group_commit_group_commit_entry *entry = &release->body.entries[i];
        group_commit_group_commit_entry_init(entry);
        entry->topic_id = leases[i].topic_id;
        entry->partition = leases[i].partition;
        entry->lease_id = leases[i].id;
        entry->offset = leases[i].commit > 0 ? leases[i].commit : -1;
        entry->keep = leases[i].may_commit;
    }
    release->op = (struct group_op){
        .kind = GROUP_OP_COMMIT,
        .body = &release->body,
        .deadline_us = ria_clock_mono_us(releases->ops->env->clock) + RELEASE_TIMEOUT_US,
        .repeat = true,
        .done = released,
        .arg = release,
    };
    group_op_start(releases->ops, &release->op);
}
