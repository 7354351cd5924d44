#include "services/gateway/group_watch.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/watch_groups_request.h"
#include "schemas/gen/watch_groups_response.h"

enum {
    GATHER_US = 500,
    TELL_MAX = 1000,   /* groups in one request, and as many that are gone */
    GONE_MAX = 100000, /* that are not told: then all others are told anew */
    CALLS_MAX = 2,     /* the one that is parked, and the one that ends it */
    RETRY_US = 100 * 1000,
    BUSY_RETRY_US = 1000 * 1000,
    PARK_MS = 30 * 1000,
    TIMEOUT_MS = PARK_MS + 5000,
    ARENA_MAX = 64 * 1024 * 1024,
    LINE_SPACING_US = 1000,                /* between wakes of a group's lines, for each of them */
    PART_WATCH_US = 10 * 60 * 1000 * 1000, /* then it is begun anew */
    NAME_MAX_SIZE = 255,
};

struct watched_group {
    struct group_watch *watch;
    char name[NAME_MAX_SIZE + 1];
    size_t name_size;
    int64_t known;          /* change number that its waits have been woken for */
    struct ria_list untold; /* in watch->untold: the coordinator does not know that it is watched */
    struct ria_list lines;
    uint32_t line_count;
    struct ria_timer spacing; /* the next wake of all named lines */
    int64_t spaced_until_us;
};

/* A group that is not watched any more, which the coordinator does not know. */
struct gone_group {
    struct ria_list link;
    size_t name_size;
    char name[];
};

struct group_line {
    struct watched_group *group;
    struct ria_list link;
    char member[NAME_MAX_SIZE + 1];
    size_t member_size;
    struct ria_list waits; /* oldest first */
    struct ria_map parts;  /* partition -> struct part */
    struct ria_timer retry;
};

/* A partition that a line waits for. */
struct part {
    struct group_line *line;
    const struct cluster_partition *key;
    struct watch_wait wait;
    struct ria_timer again; /* the leader could not tell */
};

static struct group_wait *wait_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct group_wait, link);
}

static struct group_line *line_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct group_line, link);
}

/* --- the coordinator's watch -------------------------------------------------------------------*/

/* Changes that come together are told together. */
static void tell_soon(struct group_watch *watch)
{
    if (!watch->tell.active) {
        ria_timer_start(watch->env->timers, &watch->tell, GATHER_US);
    }
}

static void forget_gone(struct group_watch *watch)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&watch->gone)) != NULL) {
        free(RIA_CONTAINER(link, struct gone_group, link));
    }
    watch->gone_count = 0;
}

/* The coordinator's watch is not ours: the next request begins anew, with all groups. */
static void begin_anew(struct group_watch *watch)
{
    struct watched_group *group;
    size_t cursor = 0;

    outcalls_fini(&watch->outcalls);
    outcalls_init(&watch->outcalls, watch->env->rpc);
    watch->calls = 0;
    watch->sequence = 0;
    forget_gone(watch);
    while ((group = ria_map_next(&watch->groups, &cursor)) != NULL) {
        if (!ria_list_is_linked(&group->untold)) {
            ria_list_push_back(&watch->untold, &group->untold);
        }
    }
}

/* It is told with what comes next: to watch it some time longer does no harm. */
static void tell_gone(struct group_watch *watch, const struct watched_group *group)
{
    struct gone_group *gone = NULL;

    if (watch->gone_count < GONE_MAX) {
        gone = malloc(sizeof(*gone) + group->name_size);
    }
    if (gone == NULL) {
        begin_anew(watch);
        tell_soon(watch);
        return;
    }
    gone->name_size = group->name_size;
    memcpy(gone->name, group->name, group->name_size);
    ria_list_push_back(&watch->gone, &gone->link);
    watch->gone_count++;
}

/* --- parts -------------------------------------------------------------------------------------*/

static bool is_asleep(const struct part *part)
{
    return part->again.active;
}

static void part_free(struct part *part)
{
    struct group_watch *watch = part->line->group->watch;

    if (is_asleep(part)) {
        ria_timer_stop(watch->env->timers, &part->again);
    } else {
        watch_cancel(&part->wait);
    }
    (void)ria_map_remove(&part->line->parts, &part->key, sizeof(part->key));
    free(part);
}

static void part_watch(struct part *part)
{
    struct group_watch *watch = part->line->group->watch;

    part->wait.deadline_us = ria_clock_mono_us(watch->env->clock) + PART_WATCH_US;
    watch_start(watch->watches, &part->wait);
}

static void again_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    part_watch(arg);
}

/* --- lines -------------------------------------------------------------------------------------*/

static void line_free(struct group_line *line)
{
    struct ria_timers *timers = line->group->watch->env->timers;
    size_t cursor = 0;
    struct part *part;

    RIA_ASSERT(ria_list_is_empty(&line->waits));
    while ((part = ria_map_next(&line->parts, &cursor)) != NULL) {
        ria_timer_stop(timers, &part->again);
        if (ria_list_is_linked(&part->wait.link)) {
            watch_cancel(&part->wait);
        }
        free(part);
    }
    ria_map_fini(&line->parts);
    ria_timer_stop(timers, &line->retry);
    ria_list_remove(&line->link);
    line->group->line_count--;
    free(line);
}

static void group_free(struct watched_group *group)
{
    struct group_watch *watch = group->watch;

    RIA_ASSERT(ria_list_is_empty(&group->lines));
    ria_timer_stop(watch->env->timers, &group->spacing);
    (void)ria_map_remove(&watch->groups, group->name, group->name_size);
    if (ria_list_is_linked(&group->untold)) {
        ria_list_remove(&group->untold);
    } else {
        tell_gone(watch, group);
    }
    free(group);
}

/* Nobody waits in it any more: it goes, and its group with the last of its lines. */
static void settle(struct group_line *line)
{
    struct watched_group *group = line->group;

    if (!ria_list_is_empty(&line->waits)) {
        return;
    }
    line_free(line);
    if (ria_list_is_empty(&group->lines)) {
        group_free(group);
    }
}

/* The line stays, even if it is empty now. */
static void wait_ends(struct group_wait *wait, group_wake why)
{
    struct group_watch *watch = wait->line->group->watch;

    ria_list_remove(&wait->link);
    ria_timer_stop(watch->env->timers, &wait->timer);
    watch->numbers.waiting.value--;
    watch->numbers.woken.value += why == GROUP_WAKE_WORK;
    wait->done(wait, why);
}

static bool reads(const struct group_wait *wait, const struct ria_uuid *topic)
{
    if (topic == NULL || wait->topics == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < wait->topic_count; i++) {
        if (ria_uuid_equal(wait->topics[i], *topic)) {
            return true;
        }
    }
    return false;
}

/* Wake the oldest one that reads the topic (NULL: any). The line may be gone afterwards. */
static void wake_one(struct group_line *line, const struct ria_uuid *topic)
{
    RIA_LIST_FOREACH (link, &line->waits) {
        if (reads(wait_at(link), topic)) {
            wait_ends(wait_at(link), GROUP_WAKE_WORK);
            break;
        }
    }
    settle(line);
}

static void deadline_due(struct ria_timer *timer, void *arg)
{
    struct group_wait *wait = arg;
    struct group_line *line = wait->line;

    (void)timer;
    wait_ends(wait, wait->is_stale ? GROUP_WAKE_WORK : GROUP_WAKE_DEADLINE);
    settle(line);
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    wake_one(arg, NULL);
}

static void part_ended(struct watch_wait *wait, bool moved)
{
    struct part *part = wait->arg;
    struct group_line *line = part->line;
    struct group_watch *watch = line->group->watch;
    struct ria_uuid topic = wait->partition->topic->id;

    bool is_deleted = wait->partition->topic->deleted; /* whoever asks is told */

    if (is_deleted || (moved && wait->err == RIA_OK)) {
        /* Whoever is woken takes what is there; nobody else need be until it is given back. */
        if (!is_deleted) {
            marks_note(watch->marks, wait->partition, wait->high_watermark);
        }
        (void)ria_map_remove(&line->parts, &part->key, sizeof(part->key));
        free(part);
        wake_one(line, &topic);
    } else {
        ria_timer_start(watch->env->timers, &part->again, moved ? RETRY_US : 0);
    }
}

/* --- groups ------------------------------------------------------------------------------------*/

/* One of every named line: a change may concern each of them, but they are not asked all the time.
 */
static void wake_lines(struct watched_group *group)
{
    struct group_watch *watch = group->watch;
    int64_t now_us = ria_clock_mono_us(watch->env->clock);

    if (group->line_count == 0 || group->spacing.active) {
        return;
    }
    if (now_us < group->spaced_until_us) {
        ria_timer_start(watch->env->timers, &group->spacing, group->spaced_until_us - now_us);
        return;
    }
    group->spaced_until_us = now_us + (int64_t)group->line_count * LINE_SPACING_US;
    RIA_LIST_FOREACH (link, &group->lines) {
        struct group_line *line = line_at(link);
        bool is_named = line->member_size > 0 && !ria_list_is_empty(&line->waits);
        if (is_named && wait_at(line->waits.next)->changed < group->known) {
            wait_ends(wait_at(line->waits.next), GROUP_WAKE_WORK);
        }
    }
}

/* One for each change, of those who have not heard of it. */
static void wake_nameless(struct group_line *line, int64_t changes)
{
    RIA_LIST_FOREACH (link, &line->waits) {
        if (changes == 0) {
            break;
        }
        if (wait_at(link)->changed < line->group->known) {
            changes--;
            wait_ends(wait_at(link), GROUP_WAKE_WORK);
        }
    }
}

/* Lines that the wakes have left empty. The group may be gone afterwards. */
static void settle_all(struct watched_group *group)
{
    RIA_LIST_FOREACH (link, &group->lines) {
        struct group_line *line = line_at(link);
        if (ria_list_is_empty(&line->waits)) {
            line_free(line);
        }
    }
    if (ria_list_is_empty(&group->lines)) {
        group_free(group);
    }
}

static void wake_all(struct watched_group *group)
{
    RIA_LIST_FOREACH (link, &group->lines) {
        RIA_LIST_FOREACH (it, &line_at(link)->waits) {
            wait_ends(wait_at(it), GROUP_WAKE_WORK);
        }
    }
    settle_all(group);
}

/* changed -1: there is no such group any more, and whoever waits makes it anew. */
static void group_changed(struct watched_group *group, int64_t changed)
{
    int64_t changes = changed - group->known;

    if (changed < 0) {
        wake_all(group);
        return;
    }
    if (changes <= 0) {
        return;
    }
    group->known = changed;
    RIA_LIST_FOREACH (link, &group->lines) {
        if (line_at(link)->member_size == 0) {
            wake_nameless(line_at(link), changes);
        }
    }
    wake_lines(group);
    settle_all(group);
}

static void spacing_due(struct ria_timer *timer, void *arg)
{
    struct watched_group *group = arg;

    (void)timer;
    wake_lines(group);
    settle_all(group);
}

static struct watched_group *find_group(const struct group_watch *watch, struct ria_slice name)
{
    return ria_map_get(&watch->groups, name.data, name.size);
}

static struct group_line *find_line(struct watched_group *group, struct ria_slice member)
{
    RIA_LIST_FOREACH (link, &group->lines) {
        struct group_line *line = line_at(link);
        if (ria_slice_equal(ria_slice_of(line->member, line->member_size), member)) {
            return line;
        }
    }
    return NULL;
}

/* NULL: no memory. */
static struct watched_group *
open_group(struct group_watch *watch, struct ria_slice name, int64_t changed)
{
    struct watched_group *group = find_group(watch, name);

    if (group != NULL) {
        return group;
    }
    group = calloc(1, sizeof(*group));
    if (group == NULL) {
        return NULL;
    }
    group->watch = watch;
    memcpy(group->name, name.data, name.size);
    group->name_size = name.size;
    group->known = changed;
    ria_list_init(&group->lines);
    ria_list_init(&group->untold);
    ria_timer_init(&group->spacing, spacing_due, group);
    if (ria_map_put(&watch->groups, group->name, group->name_size, group) != RIA_OK) {
        free(group);
        return NULL;
    }
    ria_list_push_back(&watch->untold, &group->untold);
    tell_soon(watch);
    return group;
}

static struct group_line *open_line(struct watched_group *group, struct ria_slice member)
{
    struct group_line *line = find_line(group, member);

    if (line != NULL) {
        return line;
    }
    line = calloc(1, sizeof(*line));
    if (line == NULL) {
        return NULL;
    }
    line->group = group;
    if (member.size > 0) {
        memcpy(line->member, member.data, member.size);
    }
    line->member_size = member.size;
    ria_list_init(&line->waits);
    ria_map_init(&line->parts);
    ria_timer_init(&line->retry, retry_due, line);
    ria_list_push_back(&group->lines, &line->link);
    group->line_count++;
    return line;
}

/* --- news --------------------------------------------------------------------------------------*/

/* If what was announced last is still to come, nothing is woken by what is announced behind it: it
 * is late, and may never come. */
static bool may_be_ahead(const struct group_watch *watch, const struct marks_at *at)
{
    return marks_announced(watch->marks, at->partition) <= at->offset;
}

static ria_err watch_part(struct group_line *line, const struct marks_at *at, bool ahead)
{
    const struct cluster_partition *key = at->partition;
    struct part *part = ria_map_get(&line->parts, &key, sizeof(key));

    RIA_ASSERT(at->offset >= 0);
    if (part != NULL && part->wait.offset == at->offset) {
        return RIA_OK;
    }
    if (part != NULL) {
        part_free(part);
    }
    part = calloc(1, sizeof(*part));
    if (part == NULL) {
        return RIA_ERR_NOMEM;
    }
    part->line = line;
    part->key = key;
    part->wait.partition = at->partition;
    part->wait.offset = at->offset;
    part->wait.ahead = ahead && may_be_ahead(line->group->watch, at);
    part->wait.done = part_ended;
    part->wait.arg = part;
    ria_timer_init(&part->again, again_due, part);
    ria_list_init(&part->wait.link);
    if (ria_map_put(&line->parts, &part->key, sizeof(part->key), part) != RIA_OK) {
        free(part);
        return RIA_ERR_NOMEM;
    }
    part_watch(part);
    return RIA_OK;
}

static ria_err take_news(struct group_line *line, const struct group_news *news)
{
    struct group_watch *watch = line->group->watch;

    if (news->retry_after_ms >= 0) {
        int64_t due_us = ria_clock_mono_us(watch->env->clock) + news->retry_after_ms * 1000;
        if (!line->retry.active || due_us < line->retry.deadline_us) {
            ria_timer_start(watch->env->timers, &line->retry, news->retry_after_ms * 1000);
        }
    }
    for (uint32_t i = 0; i < news->offer_count; i++) {
        RIA_TRY(watch_part(line, &news->offers[i], news->ahead));
    }
    return RIA_OK;
}

ria_err
group_wait_start(struct group_watch *watch, struct group_wait *wait, const struct group_news *news)
{
    int64_t left_us = wait->deadline_us - ria_clock_mono_us(watch->env->clock);

    RIA_ASSERT(wait->done != NULL);
    RIA_ASSERT(news->group.size > 0 && news->group.size <= NAME_MAX_SIZE);
    RIA_ASSERT(news->member.size <= NAME_MAX_SIZE);
    struct watched_group *group = open_group(watch, news->group, news->changed);
    if (group == NULL) {
        return RIA_ERR_NOMEM;
    }
    struct group_line *line = open_line(group, news->member);
    if (line == NULL || take_news(line, news) != RIA_OK) {
        settle_all(group);
        return RIA_ERR_NOMEM;
    }
    wait->line = line;
    wait->changed = news->changed;
    wait->is_stale = news->changed < group->known;
    ria_list_push_back(&line->waits, &wait->link);
    ria_timer_init(&wait->timer, deadline_due, wait);
    ria_timer_start(watch->env->timers, &wait->timer, wait->is_stale ? 0 : ria_max_i64(left_us, 0));
    watch->numbers.waiting.value++;
    return RIA_OK;
}

void group_wait_cancel(struct group_watch *watch, struct group_wait *wait)
{
    ria_list_remove(&wait->link);
    ria_timer_stop(watch->env->timers, &wait->timer);
    watch->numbers.waiting.value--;
    settle(wait->line);
}

void group_watch_note(struct group_watch *watch, const struct group_news *news)
{
    struct watched_group *group = find_group(watch, news->group);
    struct group_line *line = group == NULL ? NULL : find_line(group, news->member);

    if (line != NULL) {
        (void)take_news(line, news);
    }
}

void group_watch_pass_on(
    struct group_watch *watch, struct ria_slice group_name, struct ria_slice member
)
{
    struct watched_group *group = find_group(watch, group_name);
    struct group_line *line = group == NULL ? NULL : find_line(group, member);

    /* In the next turn: the caller may be one that was just woken. Whoever wakes then says when to
     * try again. */
    if (line != NULL) {
        ria_timer_start(watch->env->timers, &line->retry, 0);
    }
}

/* --- telling the coordinator -------------------------------------------------------------------*/

static ria_err read_reply(struct group_watch *watch, const struct ria_msg *reply)
{
    struct watch_groups_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, ARENA_MAX);
    ria_err err = envelope_read_reply(reply, API_WATCH_GROUPS, &arena, &response, NULL, NULL, 0);
    for (uint32_t i = 0; err == RIA_OK && i < response.groups_count; i++) {
        struct watched_group *group = find_group(watch, response.groups[i].group);
        if (group != NULL) {
            group_changed(group, response.groups[i].changed);
        }
    }
    ria_arena_fini(&arena);
    return err;
}

static bool has_more(const struct group_watch *watch)
{
    return !ria_list_is_empty(&watch->untold) || watch->gone_count > TELL_MAX;
}

/* Others are asked if it is away, but not if it has something against this request. */
static bool is_away(ria_err err)
{
    return err != RIA_ERR_BUSY && err != RIA_ERR_CONFLICT && err != RIA_ERR_NOMEM;
}

static void told(void *arg, ria_err err, struct ria_msg *reply)
{
    struct group_watch *watch = arg;

    watch->calls--;
    if (err == RIA_OK) {
        err = read_reply(watch, reply);
        ria_msg_free(reply);
    }
    if (err == RIA_OK) {
        if (watch->groups.count > 0 && (watch->calls == 0 || has_more(watch))) {
            tell_soon(watch);
        }
        return;
    }
    if (is_away(err)) {
        cluster_coordinator_failed(watch->cluster);
    }
    begin_anew(watch);
    ria_timer_start(
        watch->env->timers, &watch->tell, err == RIA_ERR_BUSY ? BUSY_RETRY_US : RETRY_US
    );
}

/* Takes what is not told yet, as much as one request holds. */
static struct ria_msg *build(struct group_watch *watch, struct ria_arena *arena)
{
    struct watch_groups_request request;
    struct ria_list *link;

    watch_groups_request_init(&request);
    request.watch_id = watch->watch_id;
    request.sequence = ++watch->sequence;
    request.groups = ria_arena_alloc_array(arena, TELL_MAX, sizeof(*request.groups));
    request.gone = ria_arena_alloc_array(arena, TELL_MAX, sizeof(*request.gone));
    if (request.groups == NULL || request.gone == NULL) {
        return NULL;
    }
    while (request.gone_count < TELL_MAX && (link = ria_list_pop_front(&watch->gone)) != NULL) {
        struct gone_group *gone = RIA_CONTAINER(link, struct gone_group, link);
        const char *name = ria_arena_strdup(arena, ria_slice_of(gone->name, gone->name_size));
        size_t name_size = gone->name_size;
        watch->gone_count--;
        free(gone);
        if (name == NULL) {
            return NULL;
        }
        request.gone[request.gone_count++] = ria_slice_of(name, name_size);
    }
    while (request.groups_count < TELL_MAX && (link = ria_list_pop_front(&watch->untold)) != NULL) {
        struct watched_group *group = RIA_CONTAINER(link, struct watched_group, untold);
        ria_list_init(link);
        request.groups[request.groups_count++] = (struct watch_groups_request_watch_group){
            .group = ria_slice_of(group->name, group->name_size),
            .changed = group->known,
        };
    }
    request.wait_ms = has_more(watch) ? 0 : PARK_MS;
    return envelope_request(API_WATCH_GROUPS, 0, -1, TIMEOUT_MS, &request, 0, NULL);
}

/* The coordinator ends the older request when the newer one comes. Its answer is not thrown away:
 * what it tells is not told again. */
static void tell_due(struct ria_timer *timer, void *arg)
{
    struct group_watch *watch = arg;
    struct ria_arena arena;

    if (watch->groups.count == 0) {
        return;
    }
    if (watch->calls >= CALLS_MAX) {
        ria_timer_start(watch->env->timers, timer, GATHER_US);
        return;
    }
    ria_arena_init(&arena, ARENA_MAX);
    struct ria_msg *msg = build(watch, &arena);
    ria_arena_fini(&arena);
    const char *address = cluster_coordinator(watch->cluster);
    if (outcall_start(&watch->outcalls, address, msg, TIMEOUT_MS, told, watch) == NULL) {
        begin_anew(watch);
        ria_timer_start(watch->env->timers, timer, RETRY_US);
        return;
    }
    watch->calls++;
}

/* --- life --------------------------------------------------------------------------------------*/

void group_watch_init(
    struct group_watch *watch,
    const struct ria_env *env,
    struct cluster *cluster,
    struct watches *watches,
    struct marks *marks
)
{
    *watch =
        (struct group_watch){.env = env, .cluster = cluster, .watches = watches, .marks = marks};
    outcalls_init(&watch->outcalls, env->rpc);
    ria_map_init(&watch->groups);
    ria_list_init(&watch->untold);
    ria_list_init(&watch->gone);
    watch->watch_id = (int64_t)(ria_rand_u64(env->rand) >> 1);
    ria_timer_init(&watch->tell, tell_due, watch);
}

/* Every wait ends with a callback if `tell` says so; groups and lines go. */
static void end_all(struct group_watch *watch, bool tell)
{
    struct watched_group *group;
    struct ria_list *link;

    for (size_t cursor = 0; (group = ria_map_next(&watch->groups, &cursor)) != NULL; cursor = 0) {
        while (!ria_list_is_empty(&group->lines)) {
            struct group_line *line = line_at(group->lines.next);
            while ((link = line->waits.next) != &line->waits) {
                if (tell) {
                    wait_ends(wait_at(link), GROUP_WAKE_DEADLINE);
                } else {
                    ria_timer_stop(watch->env->timers, &wait_at(link)->timer);
                    ria_list_remove(link);
                }
            }
            line_free(line);
        }
        group_free(group);
    }
}

void group_watch_end(struct group_watch *watch)
{
    end_all(watch, true);
}

void group_watch_fini(struct group_watch *watch)
{
    end_all(watch, false);
    ria_map_fini(&watch->groups);
    forget_gone(watch);
    outcalls_fini(&watch->outcalls);
    ria_timer_stop(watch->env->timers, &watch->tell);
}
