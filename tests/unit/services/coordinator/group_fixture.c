#include "tests/unit/services/coordinator/group_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_leave.h"

#include "services/shared/group_operations.h"

void group_up(struct fixture *f)
{
    struct create_topic_request a = fixture_topic(GROUP_TOPIC_A, "a", GROUP_PARTITIONS_A, 1);
    struct create_topic_request b = fixture_topic(GROUP_TOPIC_B, "b", GROUP_PARTITIONS_B, 1);

    fixture_up(f);
    fixture_register_nodes(f, 1);
    ria_err err = fixture_call(f, API_CREATE_TOPIC, &a, NULL);
    RIA_ASSERT(err == RIA_OK);
    err = fixture_call(f, API_CREATE_TOPIC, &b, NULL);
    RIA_ASSERT(err == RIA_OK);
}

void group_open(struct fixture_machine *m)
{
    struct create_topic_request a = fixture_topic(GROUP_TOPIC_A, "a", GROUP_PARTITIONS_A, 1);
    struct create_topic_request b = fixture_topic(GROUP_TOPIC_B, "b", GROUP_PARTITIONS_B, 1);

    fixture_machine_open(m);
    fixture_nodes(m, 1, NULL);
    m->lease_ms = 1000000;
    ria_err err = fixture_apply(m, API_CREATE_TOPIC, &a);
    RIA_ASSERT(err == RIA_OK);
    err = fixture_apply(m, API_CREATE_TOPIC, &b);
    RIA_ASSERT(err == RIA_OK);
}

static struct ria_slice text_or_empty(const char *text)
{
    return text == NULL ? RIA_SLICE_EMPTY : ria_slice_cstr(text);
}

static const char *group_name(const char *group)
{
    return group == NULL ? "g" : group;
}

/* Fill a request; its topics' arrays are in parts. */
struct parts {
    struct group_read_group_start starts[2][GROUP_PARTITIONS_A];
    struct group_read_group_end ends[2][GROUP_PARTITIONS_A];
    struct group_read_group_read_topic topics[2];
};

static struct group_read request_of(const struct group_ask *ask, struct parts *parts)
{
    const uint32_t counts[2] = {GROUP_PARTITIONS_A, GROUP_PARTITIONS_B};

    for (uint32_t t = 0; t < 2; t++) {
        for (uint32_t i = 0; i < counts[t]; i++) {
            parts->starts[t][i] = (struct group_read_group_start){.partition = (int32_t)i};
            parts->ends[t][i] =
                (struct group_read_group_end){.partition = (int32_t)i, .offset = ask->end};
        }
        parts->topics[t] = (struct group_read_group_read_topic){
            .topic_id = fixture_uuid(t == 0 ? GROUP_TOPIC_A : GROUP_TOPIC_B),
            .starts = parts->starts[t],
            .starts_count = ask->no_starts ? 0 : counts[t],
            .ends = parts->ends[t],
            .ends_count = ask->end == 0 ? 0 : counts[t],
        };
    }
    return (struct group_read){
        .group = ria_slice_cstr(group_name(ask->group)),
        .member = text_or_empty(ask->member),
        .member_epoch = ask->epoch == 0 ? -1 : ask->epoch,
        .session_ms = ask->session_ms == 0 ? GROUP_SESSION_MS : ask->session_ms,
        .lease_ms = ask->lease_ms == 0 ? GROUP_LEASE_MS : ask->lease_ms,
        .partitions_max = ask->max == 0 ? 10 : ask->max,
        .hold = ask->hold,
        .commit_delivered = ask->commit_delivered,
        .commits = ask->commits,
        .commits_count = ask->commits_count,
        .topics = parts->topics,
        .topics_count = ask->topics_none ? 0
                        : ask->both      ? 2
                                         : 1,
    };
}

ria_err group_read(struct fixture_machine *m, struct group_ask ask, struct group_read_result *out)
{
    struct parts parts;
    struct group_read r = request_of(&ask, &parts);

    return fixture_group(m, GROUP_OPERATION_READ, &r, out);
}

ria_err group_call_read(struct fixture *f, struct group_ask ask, struct group_read_result *out)
{
    struct parts parts;
    struct group_read r = request_of(&ask, &parts);

    return fixture_group_call(f, GROUP_OPERATION_READ, &r, out);
}

const struct group_read_result_group_grant *
group_granted(const struct group_read_result *result, int32_t partition)
{
    for (uint32_t i = 0; i < result->granted_count; i++) {
        if (result->granted[i].partition == partition &&
            ria_uuid_equal(result->granted[i].topic_id, fixture_uuid(GROUP_TOPIC_A))) {
            return &result->granted[i];
        }
    }
    return NULL;
}

bool group_offered(const struct group_read_result *result, int32_t partition)
{
    for (uint32_t i = 0; i < result->offered_count; i++) {
        if (result->offered[i].partition == partition &&
            ria_uuid_equal(result->offered[i].topic_id, fixture_uuid(GROUP_TOPIC_A))) {
            return true;
        }
    }
    return false;
}

struct group_read_group_read_commit
group_cursor(const struct group_read_result_group_grant *granted, int64_t offset)
{
    return (struct group_read_group_read_commit){
        .topic_id = granted->topic_id,
        .partition = granted->partition,
        .lease_id = granted->lease_id,
        .offset = offset,
    };
}

struct group_commit_group_commit_entry
group_entry(int32_t partition, int64_t lease_id, int64_t offset)
{
    return (struct group_commit_group_commit_entry){
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .partition = partition,
        .lease_id = lease_id,
        .offset = offset,
        .delivered = -1,
        .metadata = RIA_SLICE_EMPTY,
    };
}

ria_err group_commit_one(
    struct fixture_machine *m,
    const char *member,
    int32_t epoch,
    bool is_free,
    struct group_commit_group_commit_entry entry,
    struct group_commit_result_group_committed *out
)
{
    struct group_commit_result result;
    const struct group_commit r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = text_or_empty(member),
        .member_epoch = epoch == 0 ? -1 : epoch,
        .lease_ms = GROUP_LEASE_MS,
        .entries = &entry,
        .entries_count = 1,
        .free = is_free,
    };

    ria_err err = fixture_group(m, GROUP_OPERATION_COMMIT, &r, &result);
    if (err != RIA_OK) {
        return err;
    }
    RIA_ASSERT(result.entries_count == 1);
    if (out != NULL) {
        *out = result.entries[0];
    }
    return (ria_err)result.entries[0].error_code;
}

ria_err group_make(struct fixture_machine *m, const char *member, struct group_member_result *out)
{
    struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_A);
    const struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = ria_slice_cstr(member),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .make = true,
        .subscription = &topic,
        .subscription_count = 1,
    };

    return fixture_group(m, GROUP_OPERATION_MEMBER, &r, out);
}

ria_err group_leave(struct fixture_machine *m, const char *member, int32_t epoch, bool commit)
{
    const struct group_leave r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = text_or_empty(member),
        .member_epoch = epoch == 0 ? -1 : epoch,
        .commit_delivered = commit,
    };

    return fixture_group(m, GROUP_OPERATION_LEAVE, &r, NULL);
}

ria_err group_reset_one(struct fixture_machine *m, int64_t offset, bool force)
{
    struct group_reset_group_reset_entry entry = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .offset = offset,
    };
    const struct group_reset r = {
        .group = RIA_SLICE_LITERAL("g"),
        .force = force,
        .entries = &entry,
        .entries_count = 1,
    };

    return fixture_group(m, GROUP_OPERATION_RESET, &r, NULL);
}

ria_err group_delete(struct fixture_machine *m, const char *group, bool force)
{
    const struct group_delete r = {.group = ria_slice_cstr(group), .force = force};

    return fixture_group(m, GROUP_OPERATION_DELETE, &r, NULL);
}

ria_err group_delete_topic(struct fixture_machine *m, const char *topic)
{
    const struct delete_topic_request r = {.name = ria_slice_cstr(topic)};

    return fixture_apply(m, API_DELETE_TOPIC, &r);
}

struct group_row group_row_of(struct fixture_machine *m)
{
    struct group_row row;
    ria_err err = group_row_read(m->db, RIA_SLICE_LITERAL("g"), &m->arena, &row);

    RIA_ASSERT(err == RIA_OK);
    return row;
}

struct group_partition group_partition_of(struct fixture_machine *m, int32_t partition)
{
    struct group_partition row;
    struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_A);
    ria_err err =
        group_partition_read(m->db, group_row_of(m).id, &topic, partition, &m->arena, &row);

    RIA_ASSERT(err == RIA_OK);
    return row;
}

bool group_was_woken(struct fixture_machine *m, const char *group)
{
    uint32_t count = 0;
    const struct state_woken *woken = state_woken(m->state, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (ria_slice_equal(woken[i].name, ria_slice_cstr(group))) {
            return true;
        }
    }
    return false;
}
