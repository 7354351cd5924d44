#include "services/gateway/consumer_notes.h"

#include <stdlib.h>

#include "common/arena.h"

#include "schemas/gen/group_commit.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/group_reading.h"
#include "services/gateway/group_release.h"

enum {
    NOTE_TIMEOUT_US = 5 * 1000 * 1000,
    NOTE_ARENA_MAX = 64 * 1024,
};

struct consumer_note {
    struct ria_list link;
    struct consumer_notes *owner;
    struct ria_arena arena;
    struct group_commit commit;
    struct group_member member;
    struct group_op commit_op;
    struct group_op member_op;
    uint32_t under_way;
};

static void note_free(struct consumer_note *note)
{
    ria_list_remove(&note->link);
    ria_arena_fini(&note->arena);
    free(note);
}

void consumer_notes_init(struct consumer_notes *notes, struct group_ops *ops)
{
    notes->ops = ops;
    ria_list_init(&notes->live);
}

void consumer_notes_fini(struct consumer_notes *notes)
{
    while (!ria_list_is_empty(&notes->live)) {
        note_free(RIA_CONTAINER(notes->live.next, struct consumer_note, link));
    }
}

/* The instance without the mark, unless somebody has changed it since the mark was set. */
static bool fill_detail(struct consumer_note *note, struct consumer_call *call)
{
    call->instance.answering = 0;
    struct ria_slice detail = consumer_detail(call);
    const char *copy = ria_arena_strdup(&note->arena, detail);

    note->member.detail = ria_slice_of(copy, detail.size);
    note->member.detail_hash = call->detail_hash;
    return copy != NULL;
}

static bool fill(struct consumer_note *note, struct consumer_call *call, uint32_t count)
{
    const char *group = ria_arena_strdup(&note->arena, call->group);
    const char *name = ria_arena_strdup(&note->arena, call->name);

    group_commit_init(&note->commit);
    consumer_member_init(&note->member, call);
    note->commit.entries =
        ria_arena_alloc_array(&note->arena, count, sizeof(*note->commit.entries));
    if (group == NULL || name == NULL || note->commit.entries == NULL || !fill_detail(note, call)) {
        return false;
    }
    note->commit.group = ria_slice_of(group, call->group.size);
    note->commit.member = ria_slice_of(name, call->name.size);
    note->commit.member_epoch = call->epoch;
    note->commit.lease_ms = GROUP_LEASE_MS_DEFAULT; /* of none: held leases have no deadline */
    note->member.group = note->commit.group;
    note->member.member = note->commit.member;
    return true;
}

struct consumer_note *consumer_note_new(
    struct consumer_notes *notes,
    struct consumer_call *call,
    const struct group_held *held,
    uint32_t count
)
{
    struct consumer_note *note = calloc(1, sizeof(*note));

    if (note == NULL) {
        return NULL;
    }
    note->owner = notes;
    ria_list_push_back(&notes->live, &note->link);
    ria_arena_init(&note->arena, NOTE_ARENA_MAX);
    if (!fill(note, call, count)) {
        note_free(note);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (held[i].next > held[i].offset) {
            struct group_commit_group_commit_entry *entry =
                &note->commit.entries[note->commit.entries_count++];
            group_commit_group_commit_entry_init(entry);
            entry->topic_id = held[i].partition->topic->id;
            entry->partition = held[i].partition->number;
            entry->lease_id = held[i].lease;
            entry->offset = -1;
            entry->keep = true;
            entry->delivered = held[i].next;
        }
    }
    return note;
}

static void said(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_note *note = op->arg;

    (void)result;
    note->under_way--;
    if (note->under_way == 0) {
        note_free(note);
    }
}

static void
say(struct consumer_note *note, struct group_op *op, group_op_kind kind, const void *body)
{
    *op = (struct group_op){
        .kind = kind,
        .body = body,
        .deadline_us = ria_clock_mono_us(note->owner->ops->env->clock) + NOTE_TIMEOUT_US,
        .repeat = true,
        .done = said,
        .arg = note,
    };
    note->under_way++;
    group_op_start(note->owner->ops, op);
}

void consumer_note_end(struct consumer_note *note, bool delivered)
{
    if (delivered && note->commit.entries_count > 0) {
        say(note, &note->commit_op, GROUP_OP_COMMIT, &note->commit);
    }
    say(note, &note->member_op, GROUP_OP_MEMBER, &note->member);
}
