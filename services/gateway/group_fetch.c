#include "services/gateway/group_fetch.h"

#include "common/assert.h"

#include "services/gateway/group_fetch_internal.h"

enum {
    ROUND_ARENA_MAX = 16 * 1024 * 1024,
    OFFER_SIZE = 40, /* of an answer, for each partition */
    ENDS_MAX = 8000, /* of all topics of one Read: GROUP_OP_SIZE_MAX */
};

static int64_t now_us(const struct group_fetch *fetch)
{
    return ria_clock_mono_us(fetch->gateway->env->clock);
}

int64_t group_fetch_deadline_us(const struct group_fetch *fetch)
{
    return now_us(fetch) + (int64_t)fetch->gateway->options.request_timeout_ms * 1000;
}

static size_t count_partitions(const struct group_fetch *fetch)
{
    size_t count = 0;

    for (uint32_t i = 0; i < fetch->topic_count; i++) {
        count += (size_t)fetch->topics[i]->partition_count;
    }
    return count;
}

/* All ends are named, so those that are announced, too. */
static bool may_be_ahead(const struct group_fetch *fetch)
{
    return !fetch->hold && count_partitions(fetch) <= ENDS_MAX;
}

/* --- the end -----------------------------------------------------------------------------------*/

void group_failure(struct failure *failure, const struct group_op_result *result)
{
    failure_of_err(failure, result->err, result->text);
    if (result->err == RIA_ERR_LIMIT) {
        failure->status = 429;
        failure->v2_code = 429;
        failure->code = "limit";
        failure->retry_after_s = 10;
    } else if (result->err == RIA_ERR_FENCED_EPOCH) {
        failure->status = 409;
        failure->code = "fenced_member";
        failure->retry_after_s = 0;
    } else if (result->err == RIA_ERR_UNKNOWN_OUTCOME) {
        failure->outcome = OUTCOME_UNKNOWN;
    }
}

void group_fetch_release(struct group_fetch *fetch)
{
    struct group_lease leases[GROUP_PARTITIONS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < fetch->held_count && !fetch->hold; i++) {
        const struct group_held *held = &fetch->held[i];
        if (held->next <= held->offset && count < GROUP_PARTITIONS_MAX) {
            leases[count++] = (struct group_lease){
                .topic_id = held->partition->topic->id,
                .partition = held->partition->number,
                .id = held->lease,
            };
        }
    }
    group_release(&fetch->gateway->group_releases, fetch->group, fetch->member, leases, count);
    group_reading_drop(&fetch->reading);
}

void group_fetch_finish(struct group_fetch *fetch)
{
    ria_list_remove(&fetch->link);
    ria_arena_fini(&fetch->round);
    fetch->done(fetch, NULL);
}

/* fetch->failure says why. */
void group_fetch_fail(struct group_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->held_count; i++) {
        fetch->held[i].next = fetch->held[i].offset;
    }
    group_fetch_release(fetch);
    fetch->held_count = 0;
    /* Whatever woke it may be there for another one. */
    group_watch_pass_on(&fetch->gateway->group_watch, fetch->group, fetch->member);
    ria_list_remove(&fetch->link);
    ria_arena_fini(&fetch->round);
    fetch->done(fetch, &fetch->failure);
}

void group_fetch_fail_err(struct group_fetch *fetch, ria_err err, const char *text)
{
    failure_of_err(&fetch->failure, err, text);
    group_fetch_fail(fetch);
}

/* --- waiting -----------------------------------------------------------------------------------*/

static void woken(struct group_wait *wait, group_wake why)
{
    struct group_fetch *fetch = wait->arg;

    fetch->waits = false;
    if (why == GROUP_WAKE_DEADLINE) {
        group_fetch_finish(fetch);
        return;
    }
    fetch->rounds = 0;
    fetch->ahead = may_be_ahead(fetch);
    offers_forget(&fetch->offers);
    group_fetch_ask(fetch);
}

static struct group_news news_of(const struct group_fetch *fetch)
{
    int64_t retry_ms = fetch->retry_after_ms;

    /* Who waits is heard of in time. */
    if (fetch->member.size > 0 && (retry_ms < 0 || retry_ms > fetch->session_ms * 2 / 3)) {
        retry_ms = fetch->session_ms * 2 / 3;
    }
    return (struct group_news){
        .group = fetch->group,
        .member = fetch->member,
        .changed = fetch->changed,
        .retry_after_ms = retry_ms,
        .offers = fetch->offers.at,
        .offer_count = fetch->offers.count,
        .ahead = may_be_ahead(fetch),
    };
}

void group_fetch_wait(struct group_fetch *fetch)
{
    struct gateway *gateway = fetch->gateway;
    struct group_news news = news_of(fetch);

    if (fetch->wait_until_us <= now_us(fetch) || gateway->stopping) {
        group_fetch_finish(fetch);
        return;
    }
    fetch->wait = (struct group_wait){
        .topics = fetch->topic_ids,
        .topic_count = fetch->topic_count,
        .deadline_us = fetch->wait_until_us,
        .done = woken,
        .arg = fetch,
    };
    if (group_wait_start(&gateway->group_watch, &fetch->wait, &news) != RIA_OK) {
        group_fetch_finish(fetch);
        return;
    }
    fetch->waits = true;
}

void group_fetch_hang_up(struct group_fetch *fetch)
{
    fetch->wait_until_us = 0; /* nor will it, when what is under way has been answered */
    if (fetch->waits) {
        fetch->waits = false;
        group_wait_cancel(&fetch->gateway->group_watch, &fetch->wait);
        group_fetch_finish(fetch);
    }
}

/* --- offers ------------------------------------------------------------------------------------*/

static void looked(struct offers *offers)
{
    struct group_fetch *fetch = offers->arg;

    if (offers_have_news(offers)) {
        group_fetch_ask(fetch);
    } else {
        group_fetch_wait(fetch);
    }
}

static void started(struct offers *offers)
{
    struct group_fetch *fetch = offers->arg;

    if (offers->fresh_count > 0) {
        group_fetch_ask(fetch);
    } else if (fetch->held_count > 0) {
        group_fetch_read(fetch);
    } else {
        group_fetch_wait(fetch);
    }
}

static void go_on(struct group_fetch *fetch)
{
    bool waits = fetch->wait_until_us > now_us(fetch);

    if (fetch->offers.fresh_count > 0 && !fetch->offers.starts_tried &&
        (int32_t)fetch->held_count < fetch->partitions_max) {
        ria_err err = offers_find_starts(&fetch->offers);
        if (err != RIA_OK) {
            group_fetch_fail_err(fetch, err, "");
        }
        return;
    }
    if (fetch->held_count > 0) {
        group_fetch_read(fetch);
        return;
    }
    if (offers_have_news(&fetch->offers) && fetch->rounds < GROUP_FETCH_ROUNDS_MAX) {
        fetch->rounds++;
        group_fetch_ask(fetch);
        return;
    }
    if (!offers_look(&fetch->offers, waits)) {
        group_fetch_wait(fetch);
    }
}

struct group_held *group_fetch_find(struct group_fetch *fetch, const struct cluster_partition *p)
{
    for (uint32_t i = 0; i < fetch->held_count; i++) {
        if (fetch->held[i].partition == p) {
            return &fetch->held[i];
        }
    }
    return NULL;
}

/* --- the coordinator's answer ------------------------------------------------------------------*/

/* The operation was repeated, or the client repeats itself: what is committed is not lost. Who
 * finds the position further on cannot tell whether it was there before others were. */
static bool is_committed(const struct group_fetch *fetch, const group_lost *lost)
{
    for (uint32_t i = 0; i < fetch->commit_count; i++) {
        const struct group_read_group_read_commit *commit = &fetch->commits[i];
        if (commit->partition == lost->partition &&
            ria_uuid_equal(commit->topic_id, lost->topic_id)) {
            return lost->position == commit->offset;
        }
    }
    return false;
}

static ria_err take_lost(struct group_fetch *fetch, const struct group_read_result *result)
{
    group_lost *before = fetch->lost;

    if (result->lost_count == 0) {
        return RIA_OK;
    }
    fetch->lost = ria_arena_alloc_array(
        fetch->arena, fetch->lost_count + result->lost_count, sizeof(*fetch->lost)
    );
    if (fetch->lost == NULL) {
        return ria_arena_err(fetch->arena);
    }
    for (uint32_t i = 0; i < fetch->lost_count; i++) {
        fetch->lost[i] = before[i];
    }
    for (uint32_t i = 0; i < result->lost_count; i++) {
        if (!is_committed(fetch, &result->lost[i])) {
            fetch->lost[fetch->lost_count++] = result->lost[i];
        }
    }
    return RIA_OK;
}

static ria_err take_offers(struct group_fetch *fetch, const struct group_read_result *result)
{
    RIA_TRY(offers_begin(&fetch->offers, result->offered_count));
    for (uint32_t i = 0; i < result->offered_count; i++) {
        offers_add(
            &fetch->offers,
            &result->offered[i].topic_id,
            result->offered[i].partition,
            result->offered[i].offset
        );
    }
    return RIA_OK;
}

static void take_grants(struct group_fetch *fetch, const struct group_read_result *result)
{
    for (uint32_t i = 0; i < result->granted_count; i++) {
        struct cluster_partition *partition = cluster_partition(
            fetch->gateway->cluster, &result->granted[i].topic_id, result->granted[i].partition
        );
        if (partition == NULL || fetch->held_count >= (uint32_t)fetch->partitions_max ||
            group_fetch_find(fetch, partition) != NULL) {
            continue;
        }
        fetch->held[fetch->held_count++] = (struct group_held){
            .partition = partition,
            .lease = result->granted[i].lease_id,
            .offset = result->granted[i].offset,
            .next = result->granted[i].offset,
            .records_max = fetch->records_max,
            .left_ms = result->granted[i].left_ms,
            .batches = RIA_SLICE_EMPTY,
        };
    }
}

static void answered(struct group_op *op, const struct group_op_result *result)
{
    struct group_fetch *fetch = op->arg;
    const struct group_read_result *said = result->body;

    if (result->err != RIA_OK) {
        group_failure(&fetch->failure, result);
        group_fetch_fail(fetch);
        return;
    }
    ria_arena_reset(&fetch->round);
    fetch->epoch = said->member_epoch;
    fetch->generation = said->generation;
    fetch->changed = said->changed;
    fetch->retry_after_ms = said->retry_after_ms;
    take_grants(fetch, said);
    ria_err err = take_offers(fetch, said);
    if (err == RIA_OK && fetch->body.commits_count > 0) {
        err = take_lost(fetch, said);
    }
    if (err != RIA_OK) {
        group_fetch_fail_err(fetch, err, "");
        return;
    }
    struct group_news news = news_of(fetch);
    group_watch_note(&fetch->gateway->group_watch, &news);
    /* There may be more than it may have. */
    if (fetch->held_count == (uint32_t)fetch->partitions_max) {
        group_watch_pass_on(&fetch->gateway->group_watch, fetch->group, fetch->member);
    }
    go_on(fetch);
}

/* --- asking ------------------------------------------------------------------------------------*/

static bool is_of(const struct marks_at *at, const struct cluster_topic *topic)
{
    return at->partition->topic == topic;
}

static ria_err add_starts(
    struct group_fetch *fetch,
    const struct cluster_topic *topic,
    struct group_read_group_read_topic *out
)
{
    out->starts =
        ria_arena_alloc_array(&fetch->round, fetch->offers.fresh_count, sizeof(*out->starts));
    if (out->starts == NULL) {
        return ria_arena_err(&fetch->round);
    }
    for (uint32_t i = 0; i < fetch->offers.fresh_count; i++) {
        if (fetch->offers.fresh[i].offset >= 0 && is_of(&fetch->offers.fresh[i], topic)) {
            out->starts[out->starts_count++] = (struct group_read_group_start){
                .partition = fetch->offers.fresh[i].partition->number,
                .offset = fetch->offers.fresh[i].offset,
            };
        }
    }
    return RIA_OK;
}

static void add_end(
    const struct group_fetch *fetch,
    const struct cluster_partition *partition,
    uint32_t *room,
    struct group_read_group_read_topic *out
)
{
    int64_t mark = marks_get(&fetch->gateway->marks, partition);

    if (fetch->ahead) {
        mark = ria_max_i64(mark, marks_coming(&fetch->gateway->marks, partition));
    }
    if (mark > 0 && *room > 0) {
        out->ends[out->ends_count++] =
            (struct group_read_group_end){.partition = partition->number, .offset = mark};
        *room -= 1;
    }
}

/* All ends that are known: nobody here knows the positions. Where there is no room for all, those
 * of what was offered come first, or the last ones would never have their turn. */
static ria_err add_ends(
    struct group_fetch *fetch,
    const struct cluster_topic *topic,
    uint32_t *room,
    struct group_read_group_read_topic *out
)
{
    uint32_t first = count_partitions(fetch) > ENDS_MAX ? fetch->offers.count : 0;
    size_t count = ria_min_size(first + (size_t)topic->partition_count, *room);

    out->ends = ria_arena_alloc_array(&fetch->round, count, sizeof(*out->ends));
    if (out->ends == NULL) {
        return ria_arena_err(&fetch->round);
    }
    for (uint32_t i = 0; i < first; i++) {
        const struct marks_at *offer = &fetch->offers.at[i];
        if (is_of(offer, topic) &&
            marks_get(&fetch->gateway->marks, offer->partition) > offer->offset) {
            add_end(fetch, offer->partition, room, out);
        }
    }
    for (int32_t i = 0; i < topic->partition_count; i++) {
        add_end(fetch, topic->partitions[i], room, out);
    }
    return RIA_OK;
}

static ria_err build(struct group_fetch *fetch)
{
    struct group_read *body = &fetch->body;
    uint32_t room = ENDS_MAX;

    group_read_init(body);
    body->group = fetch->group;
    body->member = fetch->member;
    body->member_epoch = fetch->member_epoch;
    body->session_ms = fetch->session_ms;
    body->lease_ms = fetch->lease_ms;
    body->partitions_max = fetch->partitions_max - (int32_t)fetch->held_count;
    body->hold = fetch->hold;
    body->read_id = (int64_t)(ria_rand_u64(fetch->gateway->env->rand) >> 1) | 1;
    if (!fetch->asked_before) {
        body->commit_delivered = fetch->commit_delivered;
        body->commits = fetch->commits;
        body->commits_count = fetch->commit_count;
    }
    body->topics = ria_arena_alloc_array(&fetch->round, fetch->topic_count, sizeof(*body->topics));
    if (body->topics == NULL) {
        return ria_arena_err(&fetch->round);
    }
    body->topics_count = fetch->topic_count;
    for (uint32_t i = 0; i < fetch->topic_count; i++) {
        group_read_group_read_topic_init(&body->topics[i]);
        body->topics[i].topic_id = fetch->topic_ids[i];
        RIA_TRY(add_starts(fetch, fetch->topics[i], &body->topics[i]));
        RIA_TRY(add_ends(fetch, fetch->topics[i], &room, &body->topics[i]));
    }
    return RIA_OK;
}

void group_fetch_ask(struct group_fetch *fetch)
{
    ria_err err = build(fetch);

    if (err != RIA_OK) {
        group_fetch_fail_err(fetch, err, "");
        return;
    }
    fetch->asked_before = true;
    fetch->asked_ahead = fetch->ahead;
    fetch->ahead = false;
    fetch->op = (struct group_op){
        .kind = GROUP_OP_READ,
        .body = &fetch->body,
        .answer_size = count_partitions(fetch) * OFFER_SIZE,
        .deadline_us = group_fetch_deadline_us(fetch),
        .repeat = true,
        .done = answered,
        .arg = fetch,
    };
    group_op_start(&fetch->gateway->group_ops, &fetch->op);
}

/* --- commits -----------------------------------------------------------------------------------*/

static void checked(struct commit_check *check, ria_err err, const struct marks_at *at)
{
    struct group_fetch *fetch = check->arg;

    if (err == RIA_OK) {
        group_fetch_ask(fetch);
        return;
    }
    commit_check_failure(&fetch->failure, "after", err, at);
    group_fetch_fail(fetch);
}

static void check_commits(struct group_fetch *fetch)
{
    struct commit_check *check = &fetch->check;

    for (uint32_t i = 0; i < fetch->commit_count; i++) {
        const struct group_read_group_read_commit *commit = &fetch->commits[i];
        struct cluster_partition *partition =
            cluster_partition(fetch->gateway->cluster, &commit->topic_id, commit->partition);
        if (partition != NULL) {
            check->at[check->count++] =
                (struct marks_at){.partition = partition, .offset = commit->offset - 1};
        }
    }
    check->marks = &fetch->gateway->marks;
    check->leaders = &fetch->gateway->leaders;
    check->timeout_ms = fetch->gateway->options.request_timeout_ms;
    check->done = checked;
    check->arg = fetch;
    commit_check_start(check);
}

ria_err group_fetch_start(struct group_fetch *fetch)
{
    struct ria_arena *arena = fetch->arena;

    RIA_ASSERT(fetch->done != NULL);
    RIA_ASSERT(fetch->topic_count > 0);
    RIA_ASSERT(fetch->partitions_max > 0 && fetch->partitions_max <= GROUP_PARTITIONS_MAX);
    fetch->held = ria_arena_alloc_array(arena, (size_t)fetch->partitions_max, sizeof(*fetch->held));
    fetch->topic_ids = ria_arena_alloc_array(arena, fetch->topic_count, sizeof(*fetch->topic_ids));
    fetch->check.at = ria_arena_alloc_array(arena, fetch->commit_count, sizeof(*fetch->check.at));
    if (fetch->held == NULL || fetch->topic_ids == NULL || fetch->check.at == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < fetch->topic_count; i++) {
        fetch->topic_ids[i] = fetch->topics[i]->id;
    }
    fetch->changed = -1;
    fetch->epoch = -1;
    fetch->reading.gate = &fetch->gateway->gate;
    ria_arena_init(&fetch->round, ROUND_ARENA_MAX);
    fetch->offers = (struct offers){
        .gateway = fetch->gateway,
        .arena = &fetch->round,
        .from_latest = fetch->from_latest,
        .started = started,
        .looked = looked,
        .arg = fetch,
    };
    ria_list_push_back(&fetch->gateway->group_fetches, &fetch->link);
    check_commits(fetch);
    return RIA_OK;
}

void group_fetches_fini(struct gateway *gateway)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&gateway->group_fetches)) != NULL) {
        struct group_fetch *fetch = RIA_CONTAINER(link, struct group_fetch, link);
        group_reading_drop(&fetch->reading);
        ria_arena_fini(&fetch->round);
    }
}
