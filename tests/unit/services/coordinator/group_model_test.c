/* Random operations on stream groups of a whole coordinator, with power cuts, against a model that
 * knows the rules of docs/design/010-consuming.md and nothing else. Who is planned for what is
 * taken from the coordinator and only judged (even, living members only); everything else is
 * foretold: positions, leases, deadlines, which commits count, what is granted, offered, and when
 * to ask again. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_leave.h"

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

enum {
    GROUPS = 3, /* of consumers without names, of names in calls, of made members that hold */
    MEMBERS = 4,
    PARTITIONS = GROUP_PARTITIONS_A,
    CURSORS = 32,
    STEPS = 1500,
    NOBODY = -1,
};

struct model_member {
    bool lives;
    int32_t epoch;
    int64_t deadline;
};

struct model_partition {
    int64_t position;
    int64_t lease; /* the last one, 0 = given back or void */
    int holder;
    bool held;
    int64_t deadline; /* of one that is not held */
    int64_t next;
    int owner; /* by plan */
};

struct model_group {
    bool exists;
    struct model_member members[MEMBERS];
    struct model_partition partitions[PARTITIONS];
};

struct cursor {
    int32_t partition;
    int64_t lease;
};

struct world {
    struct fixture f;
    struct ria_rand rand;
    int64_t now_ms;            /* lease clock */
    int64_t written_ms;        /* what the last command has written of it */
    int64_t end;               /* of every partition */
    int64_t lease_max[GROUPS]; /* any lease id or epoch that was ever seen of the name */
    struct model_group groups[GROUPS];
    struct cursor cursors[GROUPS][CURSORS]; /* stale ones, too */
    uint32_t counts[16];                    /* of what happened */
};

static const char *const group_names[GROUPS] = {"nameless", "named", "made"};
static const char *const member_names[MEMBERS] = {"a", "b", "c", "d"};

enum happened { GRANTED, COMMITTED, LOST, REFUSED_BACK, EXPIRED, TAKEN_OVER, RESTARTED, RESET };

static uint64_t below(struct world *w, uint64_t limit)
{
    return ria_rand_below(&w->rand, limit);
}

/* ---- the rules ---- */

static void void_lease(struct model_partition *p)
{
    p->lease = 0;
    p->held = false;
    p->holder = NOBODY;
}

static void forget_member(struct model_group *group, int member, bool leases_too)
{
    group->members[member].lives = false;
    for (int i = 0; i < PARTITIONS; i++) {
        struct model_partition *p = &group->partitions[i];
        if (p->lease != 0 && p->holder == member && (leases_too || p->held)) {
            void_lease(p);
        }
    }
}

static void expire(struct world *w, struct model_group *group)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (group->members[i].lives && group->members[i].deadline <= w->now_ms) {
            forget_member(group, i, false);
            w->counts[EXPIRED]++;
        }
    }
}

static bool is_out(const struct world *w, const struct model_partition *p)
{
    return p->lease != 0 && (p->held || p->deadline > w->now_ms);
}

static int living(const struct model_group *group)
{
    int count = 0;

    for (int i = 0; i < MEMBERS; i++) {
        count += group->members[i].lives ? 1 : 0;
    }
    return count;
}

static void make_model(struct model_group *group)
{
    if (!group->exists) {
        memset(group, 0, sizeof(*group));
        group->exists = true;
        for (int i = 0; i < PARTITIONS; i++) {
            group->partitions[i].position = -1;
            group->partitions[i].holder = NOBODY;
            group->partitions[i].owner = NOBODY;
        }
    }
}

/* ---- looking ---- */

static int member_of(struct ria_slice name)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (ria_slice_equal(name, ria_slice_cstr(member_names[i]))) {
            return i;
        }
    }
    return NOBODY;
}

static void describe(struct world *w, int g, struct describe_groups_response *out)
{
    const struct describe_groups_request r = {
        .name = ria_slice_cstr(group_names[g]), .after = RIA_SLICE_EMPTY};

    CU_ASSERT_EQUAL_FATAL(fixture_call(&w->f, API_DESCRIBE_GROUPS, &r, out), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(out->groups_count, 1);
}

/* Take over the plan: living members only, even give or take one; held leases go with it. */
static void take_plan(struct world *w, int g)
{
    struct describe_groups_response response;
    struct model_group *group = &w->groups[g];
    int counts[MEMBERS] = {0};

    describe(w, g, &response);
    for (int i = 0; i < PARTITIONS; i++) {
        group->partitions[i].owner = NOBODY;
    }
    for (uint32_t i = 0; i < response.groups[0].partitions_count; i++) {
        const struct describe_groups_response_described_group_partition *p =
            &response.groups[0].partitions[i];
        group->partitions[p->partition].owner = member_of(p->member);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        struct model_partition *p = &group->partitions[i];
        CU_ASSERT_EQUAL(p->owner == NOBODY, living(group) == 0);
        if (p->owner != NOBODY) {
            CU_ASSERT_TRUE(group->members[p->owner].lives);
            counts[p->owner]++;
        }
        if (p->lease != 0 && p->held && p->holder != p->owner) {
            void_lease(p);
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        if (group->members[i].lives) {
            int share = PARTITIONS / living(group);
            CU_ASSERT_TRUE(counts[i] == share || counts[i] == share + 1);
        }
    }
}

/* What the coordinator says of every partition is what the model says. */
static void compare(struct world *w, int g)
{
    struct describe_groups_response response;
    const struct model_group *group = &w->groups[g];

    describe(w, g, &response);
    CU_ASSERT_EQUAL(response.groups[0].member_count, living(group));
    for (uint32_t i = 0; i < response.groups[0].partitions_count; i++) {
        const struct describe_groups_response_described_group_partition *p =
            &response.groups[0].partitions[i];
        const struct model_partition *expected = &group->partitions[p->partition];
        CU_ASSERT_EQUAL(p->position, expected->position);
        CU_ASSERT_EQUAL(p->lease_id, expected->lease);
        if (expected->lease != 0) {
            int64_t deadline =
                expected->held ? group->members[expected->holder].deadline : expected->deadline;
            CU_ASSERT_EQUAL(p->lease_left_ms, deadline - w->now_ms);
            CU_ASSERT_EQUAL(member_of(p->holder), expected->holder);
            CU_ASSERT_EQUAL(p->next, expected->held ? expected->next : -1);
        }
    }
}

/* ---- reading ---- */

static struct cursor *any_cursor(struct world *w, int g)
{
    struct cursor *cursor = &w->cursors[g][below(w, CURSORS)];

    return cursor->lease == 0 ? NULL : cursor;
}

static void remember(struct world *w, int g, int32_t partition, int64_t lease)
{
    w->cursors[g][below(w, CURSORS)] = (struct cursor){partition, lease};
}

/* What a commit in a Read does. True: it counts. */
static bool commit_in_read(
    struct world *w, struct model_group *group, const struct group_read_group_read_commit *commit
)
{
    struct model_partition *p = &group->partitions[commit->partition];

    if (commit->lease_id != p->lease) {
        return commit->offset == p->position;
    }
    bool ok = commit->offset >= p->position;
    p->position = ok ? commit->offset : p->position;
    void_lease(p);
    w->counts[COMMITTED] += ok ? 1 : 0;
    return ok;
}

static void check_grant(
    struct world *w,
    int g,
    int reader,
    const struct group_ask *ask,
    const struct group_read_result_group_grant *grant
)
{
    struct model_group *group = &w->groups[g];
    struct model_partition *p = &group->partitions[grant->partition];
    bool own = p->lease != 0 && p->held && ask->hold && p->holder == reader;

    CU_ASSERT_TRUE(own || !is_out(w, p));
    CU_ASSERT_EQUAL(p->owner, reader);
    CU_ASSERT_EQUAL(grant->offset, own ? p->next : p->position);
    CU_ASSERT_TRUE(grant->offset < w->end);
    if (own) {
        CU_ASSERT_EQUAL(grant->lease_id, p->lease);
    } else {
        CU_ASSERT_TRUE(grant->lease_id > w->lease_max[g]);
        w->lease_max[g] = grant->lease_id;
        *p = (struct model_partition){
            .position = p->position,
            .lease = grant->lease_id,
            .holder = reader,
            .held = ask->hold,
            .deadline = w->now_ms + GROUP_LEASE_MS,
            .next = p->position,
            .owner = p->owner,
        };
    }
    remember(w, g, grant->partition, grant->lease_id);
    w->counts[GRANTED]++;
}

/* Every partition of the reader is granted, offered, somebody's, or one too many; returns when to
 * ask again. */
static int64_t foretell(
    struct world *w,
    int g,
    int reader,
    const struct group_ask *ask,
    const struct group_read_result *result
)
{
    int64_t retry_at = INT64_MAX;
    uint32_t grantable = 0;
    uint32_t offered = 0;
    const struct model_group *group = &w->groups[g];

    for (int32_t i = 0; i < PARTITIONS; i++) {
        const struct model_partition *p = &group->partitions[i];
        if (p->owner != reader) {
            continue;
        }
        bool own = p->lease != 0 && p->held && ask->hold && p->holder == reader;
        int64_t offset = own ? p->next : p->position;
        if (is_out(w, p) && !own) {
            retry_at = p->held ? retry_at : ria_min_i64(retry_at, p->deadline);
        } else if (offset < w->end) {
            grantable++;
        } else {
            CU_ASSERT_TRUE(group_offered(result, i));
            offered++;
        }
    }
    CU_ASSERT_EQUAL(result->offered_count, offered);
    CU_ASSERT_EQUAL(result->granted_count, ria_min_i64(grantable, ask->max));
    for (int i = 0; i < MEMBERS; i++) {
        if (reader != NOBODY && i != reader && group->members[i].lives) {
            retry_at = ria_min_i64(retry_at, group->members[i].deadline);
        }
    }
    return retry_at;
}

static uint32_t random_commits(struct world *w, int g, struct group_read_group_read_commit *out)
{
    uint32_t count = 0;

    while (count < 3 && below(w, 3) > 0) {
        const struct cursor *cursor = any_cursor(w, g);
        if (cursor == NULL) {
            break;
        }
        out[count++] = (struct group_read_group_read_commit){
            .topic_id = fixture_uuid(GROUP_TOPIC_A),
            .partition = cursor->partition,
            .lease_id = cursor->lease,
            .offset = (int64_t)below(w, (uint64_t)w->end + 1),
        };
    }
    return count;
}

/* The model's part of a member's coming. */
static void hear(struct world *w, int g, int member, int32_t epoch)
{
    struct model_group *group = &w->groups[g];

    group->members[member].lives = true;
    group->members[member].epoch = epoch;
    group->members[member].deadline = w->now_ms + GROUP_SESSION_MS;
    w->lease_max[g] = ria_max_i64(w->lease_max[g], epoch); /* taken from the lease ids */
}

static void commit_delivered(struct model_group *group, int member)
{
    for (int i = 0; i < PARTITIONS; i++) {
        struct model_partition *p = &group->partitions[i];
        if (p->lease != 0 && p->held && p->holder == member && p->next > p->position) {
            p->position = p->next;
        }
    }
}

static void step_read(struct world *w, int g)
{
    struct model_group *group = &w->groups[g];
    struct group_read_group_read_commit commits[3];
    struct group_read_result result;
    int reader = g == 0 ? NOBODY : (int)below(w, MEMBERS);
    struct group_ask ask = {
        .group = group_names[g],
        .member = reader == NOBODY ? NULL : member_names[reader],
        .max = 1 + (int32_t)below(w, PARTITIONS),
        .end = w->end,
        .hold = g == 2,
        .commit_delivered = g == 2 && below(w, 4) == 0,
        .commits = commits,
        .commits_count = random_commits(w, g, commits),
    };
    uint32_t lost = 0;

    expire(w, group);
    if (g == 2 && (!group->exists || !group->members[reader].lives)) {
        ask.epoch = 1 << 30; /* of a member that is gone */
        ria_err err = group_call_read(&w->f, ask, &result);
        CU_ASSERT_EQUAL(err, RIA_ERR_NOT_FOUND);
        w->written_ms = w->now_ms;
        return;
    }
    ask.epoch = g == 2 ? group->members[reader].epoch : 0;
    CU_ASSERT_EQUAL_FATAL(group_call_read(&w->f, ask, &result), RIA_OK);
    struct group_read_result answer = result;
    struct group_read_result_group_grant grants[PARTITIONS];
    struct group_read_result_group_offer offers[PARTITIONS];
    CU_ASSERT_TRUE_FATAL(result.granted_count <= PARTITIONS && result.offered_count <= PARTITIONS);
    memcpy(grants, result.granted, result.granted_count * sizeof(grants[0]));
    memcpy(offers, result.offered, result.offered_count * sizeof(offers[0]));
    answer.granted = grants;
    answer.offered = offers;
    w->written_ms = w->now_ms;
    make_model(group);
    if (reader != NOBODY) {
        hear(w, g, reader, result.member_epoch);
    }
    take_plan(w, g);
    if (ask.commit_delivered) {
        commit_delivered(group, reader);
    }
    for (uint32_t i = 0; i < ask.commits_count; i++) {
        lost += commit_in_read(w, group, &commits[i]) ? 0 : 1;
    }
    CU_ASSERT_EQUAL(answer.lost_count, lost);
    w->counts[LOST] += lost;
    for (int i = 0; i < PARTITIONS; i++) {
        if (group->partitions[i].owner == reader && group->partitions[i].position == -1) {
            group->partitions[i].position = 0;
        }
    }
    int64_t retry_at = foretell(w, g, reader, &ask, &answer);
    CU_ASSERT_EQUAL(answer.retry_after_ms, retry_at == INT64_MAX ? -1 : retry_at - w->now_ms);
    for (uint32_t i = 0; i < answer.granted_count; i++) {
        check_grant(w, g, reader, &ask, &grants[i]);
    }
    compare(w, g);
}

/* ---- the other operations ---- */

static void step_commit(struct world *w, int g)
{
    struct model_group *group = &w->groups[g];
    struct cursor *cursor = any_cursor(w, g);
    struct group_commit_result result;

    if (cursor == NULL || !group->exists) {
        return;
    }
    struct group_commit_group_commit_entry entry =
        group_entry(cursor->partition, cursor->lease, (int64_t)below(w, (uint64_t)w->end + 1));
    entry.keep = below(w, 2) == 0;
    struct group_commit r = {
        .group = ria_slice_cstr(group_names[g]),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .lease_ms = GROUP_LEASE_MS,
        .entries = &entry,
        .entries_count = 1,
    };
    expire(w, group);
    struct model_partition *p = &group->partitions[cursor->partition];
    bool current = p->lease == cursor->lease;
    if (current && p->held && entry.keep) {
        entry.delivered = (int64_t)below(w, (uint64_t)w->end + 1);
    }
    CU_ASSERT_EQUAL_FATAL(fixture_group_call(&w->f, GROUP_OPERATION_COMMIT, &r, &result), RIA_OK);
    w->written_ms = w->now_ms;
    int16_t err = result.entries[0].error_code;
    take_plan(w, g);
    current = p->lease == cursor->lease; /* a held one may have gone with the plan */
    if (!current) {
        bool again = entry.offset == p->position && !entry.keep;
        CU_ASSERT_EQUAL(err, again ? RIA_OK : RIA_ERR_CONFLICT);
    } else if (entry.offset < p->position) {
        CU_ASSERT_EQUAL(err, RIA_ERR_INVALID);
        w->counts[REFUSED_BACK]++;
    } else {
        CU_ASSERT_EQUAL(err, RIA_OK);
        p->position = entry.offset;
        p->deadline = w->now_ms + GROUP_LEASE_MS;
        if (entry.delivered >= 0) {
            p->next = entry.delivered;
        }
        if (!entry.keep) {
            void_lease(p);
        }
        w->counts[COMMITTED]++;
    }
    compare(w, g);
}

static void step_make(struct world *w)
{
    struct model_group *group = &w->groups[2];
    int member = (int)below(w, MEMBERS);
    struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_A);
    struct group_member_result result;
    const struct group_member r = {
        .group = ria_slice_cstr(group_names[2]),
        .member = ria_slice_cstr(member_names[member]),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .make = true,
        .subscription = &topic,
        .subscription_count = 1,
    };

    expire(w, group);
    CU_ASSERT_EQUAL_FATAL(fixture_group_call(&w->f, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    w->written_ms = w->now_ms;
    CU_ASSERT_TRUE(result.member_epoch > w->lease_max[2]);
    make_model(group);
    if (group->members[member].lives) {
        forget_member(group, member, true);
        w->counts[TAKEN_OVER]++;
    }
    hear(w, 2, member, result.member_epoch);
    take_plan(w, 2);
    compare(w, 2);
}

static void step_leave(struct world *w, int g)
{
    struct model_group *group = &w->groups[g];
    int member = (int)below(w, MEMBERS);
    const struct group_leave r = {
        .group = ria_slice_cstr(group_names[g]),
        .member = ria_slice_cstr(member_names[member]),
        .member_epoch = -1,
        .commit_delivered = below(w, 2) == 0,
    };

    expire(w, group);
    ria_err err = fixture_group_call(&w->f, GROUP_OPERATION_LEAVE, &r, NULL);
    w->written_ms = w->now_ms;
    if (!group->exists || !group->members[member].lives) {
        CU_ASSERT_EQUAL(err, RIA_ERR_NOT_FOUND);
        return;
    }
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    if (r.commit_delivered) {
        /* The plan of before it left may have ended none of its leases: it was heard. */
        commit_delivered(group, member);
    }
    forget_member(group, member, true);
    take_plan(w, g);
    compare(w, g);
}

static void step_reset(struct world *w, int g)
{
    struct model_group *group = &w->groups[g];
    struct group_reset_group_reset_entry entry = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .partition = (int32_t)below(w, PARTITIONS),
        .offset = (int64_t)below(w, (uint64_t)w->end + 1),
    };
    const struct group_reset r = {
        .group = ria_slice_cstr(group_names[g]),
        .force = below(w, 2) == 0,
        .entries = &entry,
        .entries_count = 1,
    };

    expire(w, group);
    if (!group->exists) {
        return;
    }
    struct model_partition *p = &group->partitions[entry.partition];
    ria_err err = fixture_group_call(&w->f, GROUP_OPERATION_RESET, &r, NULL);
    w->written_ms = w->now_ms;
    if (err == RIA_ERR_CONFLICT) {
        CU_ASSERT_TRUE(is_out(w, p) && !r.force);
        return;
    }
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    take_plan(w, g);
    CU_ASSERT_TRUE(!is_out(w, p) || r.force);
    void_lease(p);
    p->position = entry.offset;
    w->counts[RESET]++;
    compare(w, g);
}

static void step_delete(struct world *w, int g)
{
    struct model_group *group = &w->groups[g];
    bool in_use = false;
    const struct group_delete r = {
        .group = ria_slice_cstr(group_names[g]), .force = below(w, 2) == 0};

    expire(w, group);
    for (int i = 0; i < PARTITIONS; i++) {
        in_use = in_use || is_out(w, &group->partitions[i]);
    }
    in_use = in_use || living(group) > 0;
    ria_err err = fixture_group_call(&w->f, GROUP_OPERATION_DELETE, &r, NULL);
    w->written_ms = w->now_ms;
    if (!group->exists) {
        CU_ASSERT_EQUAL(err, RIA_ERR_NOT_FOUND);
    } else if (in_use && !r.force) {
        CU_ASSERT_EQUAL(err, RIA_ERR_CONFLICT);
    } else {
        CU_ASSERT_EQUAL(err, RIA_OK);
        memset(group, 0, sizeof(*group)); /* its cursors are kept: they must not fit again */
    }
}

static void restart(struct world *w)
{
    fixture_crash(&w->f, true);
    w->f.mono_us += (int64_t)below(w, 100000) * 1000;
    CU_ASSERT_EQUAL_FATAL(fixture_start(&w->f), RIA_OK);
    w->now_ms = w->written_ms;
    w->counts[RESTARTED]++;
}

static void step(struct world *w)
{
    int g = (int)below(w, GROUPS);
    uint64_t dice = below(w, 1000);

    w->end += (int64_t)below(w, 3);
    if (dice < 120) {
        int64_t ms = (int64_t)below(w, below(w, 4) == 0 ? 50000 : 3000);
        fixture_advance(&w->f, ms);
        w->now_ms += ms;
    } else if (dice < 580) {
        step_read(w, g);
    } else if (dice < 800) {
        step_commit(w, g);
    } else if (dice < 890) {
        step_make(w);
    } else if (dice < 930 && g != 0) {
        step_leave(w, g);
    } else if (dice < 970) {
        step_reset(w, g);
    } else if (dice < 985) {
        step_delete(w, g);
    } else {
        restart(w);
    }
}

static void random_histories_keep_the_rules(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w = {.end = 10};
        ria_rand_init(&w.rand, seed);
        group_up(&w.f);
        for (int i = 0; i < STEPS; i++) {
            unsigned int failures = CU_get_number_of_failures();
            step(&w);
            if (CU_get_number_of_failures() != failures) {
                (void)printf("seed %d step %d\n", (int)seed, i);
                break;
            }
        }
        for (int i = GRANTED; i <= RESET; i++) {
            CU_ASSERT_TRUE(w.counts[i] > 5);
        }
        fixture_close(&w.f);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(random_histories_keep_the_rules),
};
HARNESS_MAIN(tests);
