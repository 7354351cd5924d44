/* group_fixture: operations on stream groups in a few words, for the tests of apply_group_*.c. */
#pragma once

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_member_result.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/group_reset.h"

#include "services/coordinator/group_row.h"
#include "tests/unit/services/coordinator/fixture.h"

enum {
    GROUP_TOPIC_A = 1, /* "a": four partitions */
    GROUP_TOPIC_B = 2, /* "b": two */
    GROUP_PARTITIONS_A = 4,
    GROUP_PARTITIONS_B = 2,
    GROUP_LEASE_MS = 30000,
    GROUP_SESSION_MS = 45000,
};

/* A state machine with nodes and the two topics; the lease clock begins at 1,000,000. */
void group_open(struct fixture_machine *m);

/* A whole coordinator with the two topics. */
void group_up(struct fixture *f);

/* A GroupRead. Zeros are the usual: group "g", topic a, ten partitions at most. */
struct group_ask {
    const char *group;
    const char *member;
    int32_t epoch; /* 0 = any */
    int32_t max;
    bool hold;
    bool commit_delivered;
    bool topics_none; /* as it is */
    bool both;        /* topics a and b */
    bool no_starts;   /* else every partition without a position starts at 0 */
    int64_t end;      /* of all partitions; 0 = nothing is known */
    int32_t lease_ms; /* 0 = GROUP_LEASE_MS */
    int32_t session_ms;
    struct group_read_group_read_commit *commits;
    uint32_t commits_count;
};

ria_err group_read(struct fixture_machine *m, struct group_ask ask, struct group_read_result *out);

ria_err group_call_read(struct fixture *f, struct group_ask ask, struct group_read_result *out);

/* The grant of a partition of topic a, NULL if there is none; whether one is offered. */
const struct group_read_result_group_grant *
group_granted(const struct group_read_result *result, int32_t partition);
bool group_offered(const struct group_read_result *result, int32_t partition);

/* Commits for a GroupRead: of topic a. */
struct group_read_group_read_commit
group_cursor(const struct group_read_result_group_grant *granted, int64_t offset);

/* A GroupCommit of one entry for topic a, in group "g". Returns the operation's error, or the
 * entry's. out (may be NULL) gets the entry's answer. */
struct group_commit_group_commit_entry
group_entry(int32_t partition, int64_t lease_id, int64_t offset);
ria_err group_commit_one(
    struct fixture_machine *m,
    const char *member,
    int32_t epoch,
    bool is_free,
    struct group_commit_group_commit_entry entry,
    struct group_commit_result_group_committed *out
);

/* Make a member of group "g" that subscribes to topic a. */
ria_err group_make(struct fixture_machine *m, const char *member, struct group_member_result *out);
ria_err group_leave(struct fixture_machine *m, const char *member, int32_t epoch, bool commit);

/* Reset partition 0 of topic a in group "g". */
ria_err group_reset_one(struct fixture_machine *m, int64_t offset, bool force);
ria_err group_delete(struct fixture_machine *m, const char *group, bool force);
ria_err group_delete_topic(struct fixture_machine *m, const char *topic);

/* Rows of group "g". */
struct group_row group_row_of(struct fixture_machine *m);
struct group_partition group_partition_of(struct fixture_machine *m, int32_t partition);

/* Was the group woken by the last command? */
bool group_was_woken(struct fixture_machine *m, const char *group);
