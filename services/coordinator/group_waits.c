#include "services/coordinator/group_waits.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/list.h"
#include "common/map.h"

struct entry;

/* One group of one watch. */
struct interest {
    struct ria_list link;       /* of the group's name */
    struct ria_list entry_link; /* of the watch: all, or what has changed */
    struct entry *entry;
    struct watched *watched;
    int64_t known;
    int64_t changed;
    bool marked;
};

/* A name that somebody watches. */
struct watched {
    struct ria_list interests;
    size_t name_size;
    uint8_t name[];
};

/* A watch. */
struct entry {
    struct ria_list link;   /* of all */
    struct ria_list due;    /* of those to be answered */
    struct ria_timer timer; /* the end of the park, or of the watch */
    struct group_waits *waits;
    struct ria_rpc_request *request; /* that is parked, or NULL */
    struct request_header header;
    int64_t watch_id;
    int64_t sequence;
    struct ria_list interests;
    struct ria_list marked;
};

struct group_waits {
    const struct ria_env *env;
    group_waits_fn answer;
    void *arg;
    struct ria_map names; /* struct watched */
    struct ria_map ids;   /* struct entry, by watch id */
    struct ria_list entries;
    struct ria_list due;
    uint32_t count;
    uint32_t groups;
};

ria_err group_waits_new(
    const struct ria_env *env, group_waits_fn answer, void *arg, struct group_waits **out_waits
)
{
    struct group_waits *waits = calloc(1, sizeof(*waits));

    if (waits == NULL) {
        return RIA_ERR_NOMEM;
    }
    waits->env = env;
    waits->answer = answer;
    waits->arg = arg;
    ria_map_init(&waits->names);
    ria_map_init(&waits->ids);
    ria_list_init(&waits->entries);
    ria_list_init(&waits->due);
    *out_waits = waits;
    return RIA_OK;
}

/* ---- names ---- */

static struct watched *watched_get(struct group_waits *waits, struct ria_slice name)
{
    struct watched *watched = ria_map_get(&waits->names, name.data, name.size);

    if (watched != NULL) {
        return watched;
    }
    watched = malloc(sizeof(*watched) + name.size);
    if (watched == NULL) {
        return NULL;
    }
    ria_list_init(&watched->interests);
    watched->name_size = name.size;
    if (name.size > 0) {
        memcpy(watched->name, name.data, name.size);
    }
    if (ria_map_put(&waits->names, watched->name, watched->name_size, watched) != RIA_OK) {
        free(watched);
        return NULL;
    }
    return watched;
}

static struct interest *interest_of(const struct entry *entry, struct ria_slice name)
{
    struct watched *watched = ria_map_get(&entry->waits->names, name.data, name.size);

    if (watched != NULL) {
        RIA_LIST_FOREACH (link, &watched->interests) {
            struct interest *interest = RIA_CONTAINER(link, struct interest, link);
            if (interest->entry == entry) {
                return interest;
            }
        }
    }
    return NULL;
}

static void interest_end(struct interest *interest)
{
    struct watched *watched = interest->watched;
    struct group_waits *waits = interest->entry->waits;

    ria_list_remove(&interest->entry_link);
    ria_list_remove(&interest->link);
    if (ria_list_is_empty(&watched->interests)) {
        (void)ria_map_remove(&waits->names, watched->name, watched->name_size);
        free(watched);
    }
    waits->groups--;
    free(interest);
}

static void interest_mark(struct interest *interest, int64_t changed)
{
    struct entry *entry = interest->entry;

    interest->changed = changed;
    if (!interest->marked) {
        interest->marked = true;
        ria_list_remove(&interest->entry_link);
        ria_list_push_back(&entry->marked, &interest->entry_link);
    }
    if (entry->request != NULL && !ria_list_is_linked(&entry->due)) {
        ria_list_push_back(&entry->waits->due, &entry->due);
    }
}

/* It has been told. */
static void interest_unmark(struct interest *interest)
{
    interest->known = ria_max_i64(interest->known, interest->changed);
    interest->marked = false;
    ria_list_remove(&interest->entry_link);
    ria_list_push_back(&interest->entry->interests, &interest->entry_link);
}

/* ---- entries ---- */

static void list_end(struct ria_list *list)
{
    while (!ria_list_is_empty(list)) {
        interest_end(RIA_CONTAINER(list->next, struct interest, entry_link));
    }
}

/* Forget the watch. Nothing of it is parked. */
static void entry_end(struct entry *entry)
{
    struct group_waits *waits = entry->waits;

    RIA_ASSERT(entry->request == NULL);
    ria_timer_stop(waits->env->timers, &entry->timer);
    (void)ria_map_remove(&waits->ids, &entry->watch_id, sizeof(entry->watch_id));
    ria_list_remove(&entry->link);
    ria_list_remove(&entry->due);
    list_end(&entry->interests);
    list_end(&entry->marked);
    waits->count--;
    free(entry);
}

static void entry_drop(struct entry *entry)
{
    struct group_waits *waits = entry->waits;

    if (entry->request != NULL) {
        ria_rpc_drop(waits->env->rpc, RIA_STEAL(&entry->request));
    }
    entry_end(entry);
}

void group_waits_free(struct group_waits *waits)
{
    if (waits == NULL) {
        return;
    }
    while (!ria_list_is_empty(&waits->entries)) {
        entry_drop(RIA_CONTAINER(waits->entries.next, struct entry, link));
    }
    ria_map_fini(&waits->names);
    ria_map_fini(&waits->ids);
    free(waits);
}

/* The parked request ends, with no more than so many of the changes. */
static void answer(struct entry *entry, uint32_t groups_max)
{
    struct group_waits *waits = entry->waits;
    struct watch_groups_response response = {.groups_count = 0};

    response.groups = calloc((size_t)groups_max + 1, sizeof(*response.groups));
    if (response.groups == NULL) { /* the watcher times out and begins anew */
        entry_drop(entry);
        return;
    }
    while (response.groups_count < groups_max && !ria_list_is_empty(&entry->marked)) {
        struct interest *interest = RIA_CONTAINER(entry->marked.next, struct interest, entry_link);
        response.groups[response.groups_count++] = (struct watch_groups_response_watched_group){
            .group = ria_slice_of(interest->watched->name, interest->watched->name_size),
            .changed = interest->changed,
        };
        interest_unmark(interest);
    }
    ria_list_remove(&entry->due);
    ria_timer_start(waits->env->timers, &entry->timer, GROUP_WAITS_IDLE_MS * INT64_C(1000));
    waits->answer(waits->arg, RIA_STEAL(&entry->request), &entry->header, &response);
    free(response.groups);
}

static void on_time_up(struct ria_timer *timer, void *arg)
{
    struct entry *entry = arg;

    (void)timer;
    if (entry->request != NULL) {
        answer(entry, GROUP_WAITS_ANSWER_MAX);
    } else {
        entry_end(entry);
    }
}

static void on_gone(void *arg)
{
    entry_drop(arg);
}

/* ---- watching ---- */

static ria_err entry_new(struct group_waits *waits, int64_t watch_id, struct entry **out_entry)
{
    if (waits->count >= GROUP_WAITS_MAX) {
        return RIA_ERR_BUSY;
    }
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return RIA_ERR_NOMEM;
    }
    entry->waits = waits;
    entry->watch_id = watch_id;
    ria_timer_init(&entry->timer, on_time_up, entry);
    ria_list_init(&entry->due);
    ria_list_init(&entry->interests);
    ria_list_init(&entry->marked);
    ria_err err = ria_map_put(&waits->ids, &entry->watch_id, sizeof(watch_id), entry);
    if (err != RIA_OK) {
        free(entry);
        return err;
    }
    ria_list_push_back(&waits->entries, &entry->link);
    waits->count++;
    *out_entry = entry;
    return RIA_OK;
}

/* The watch that the request is the next one of. What is parked of it ends. */
static ria_err entry_of(
    struct group_waits *waits, const struct watch_groups_request *watch, struct entry **out_entry
)
{
    struct entry *entry = ria_map_get(&waits->ids, &watch->watch_id, sizeof(watch->watch_id));
    bool is_new = watch->sequence <= 1;

    if (!is_new && (entry == NULL || entry->sequence + 1 != watch->sequence)) {
        return RIA_ERR_CONFLICT;
    }
    if (entry != NULL && entry->request != NULL) {
        answer(entry, 0);
        entry = ria_map_get(&waits->ids, &watch->watch_id, sizeof(watch->watch_id));
    }
    if (entry != NULL && is_new) {
        entry_end(RIA_STEAL(&entry));
    }
    if (entry == NULL) {
        RIA_TRY(is_new ? entry_new(waits, watch->watch_id, &entry) : RIA_ERR_CONFLICT);
    }
    entry->sequence = ria_max_i64(watch->sequence, 1);
    *out_entry = entry;
    return RIA_OK;
}

static ria_err
add(struct entry *entry,
    const struct watch_groups_request_watch_group *group,
    struct interest **out_interest)
{
    struct interest *interest = interest_of(entry, group->group);

    if (interest != NULL) {
        interest->known = group->changed;
        *out_interest = interest;
        return RIA_OK;
    }
    interest = calloc(1, sizeof(*interest));
    if (interest == NULL) {
        return RIA_ERR_NOMEM;
    }
    interest->watched = watched_get(entry->waits, group->group);
    if (interest->watched == NULL) {
        free(interest);
        return RIA_ERR_NOMEM;
    }
    interest->entry = entry;
    interest->known = group->changed;
    ria_list_push_back(&interest->watched->interests, &interest->link);
    ria_list_push_back(&entry->interests, &interest->entry_link);
    entry->waits->groups++;
    *out_interest = interest;
    return RIA_OK;
}

/* What is new is looked at: it may have changed before it was watched. */
static ria_err apply(
    struct entry *entry,
    const struct watch_groups_request *watch,
    group_waits_look_fn look,
    void *look_arg
)
{
    for (uint32_t i = 0; i < watch->gone_count; i++) {
        struct interest *interest = interest_of(entry, watch->gone[i]);
        if (interest != NULL) {
            interest_end(interest);
        }
    }
    if (watch->groups_count > GROUP_WAITS_GROUPS_MAX - entry->waits->groups) {
        return RIA_ERR_BUSY;
    }
    for (uint32_t i = 0; i < watch->groups_count; i++) {
        struct interest *interest = NULL;
        RIA_TRY(add(entry, &watch->groups[i], &interest));
        int64_t changed = look(look_arg, watch->groups[i].group);
        if (changed == -1 || changed > watch->groups[i].changed) {
            interest_mark(interest, changed);
        }
    }
    return RIA_OK;
}

ria_err group_waits_watch(
    struct group_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_request *watch,
    group_waits_look_fn look,
    void *look_arg
)
{
    struct entry *entry = NULL;
    int64_t wait_ms = ria_min_i64(watch->wait_ms, GROUP_WAITS_WAIT_MS_MAX);

    RIA_TRY(entry_of(waits, watch, &entry));
    ria_err err = apply(entry, watch, look, look_arg);
    if (err != RIA_OK) {
        entry_end(entry);
        return err;
    }
    entry->request = request;
    entry->header = *header;
    if (!ria_list_is_empty(&entry->marked) || wait_ms <= 0) {
        answer(entry, GROUP_WAITS_ANSWER_MAX);
        return RIA_OK;
    }
    ria_timer_start(waits->env->timers, &entry->timer, wait_ms * 1000);
    ria_rpc_on_gone(waits->env->rpc, request, on_gone, entry);
    return RIA_OK;
}

/* ---- changes ---- */

void group_waits_note(struct group_waits *waits, struct ria_slice group, int64_t changed)
{
    struct watched *watched = ria_map_get(&waits->names, group.data, group.size);

    if (watched == NULL) {
        return;
    }
    RIA_LIST_FOREACH (link, &watched->interests) {
        struct interest *interest = RIA_CONTAINER(link, struct interest, link);
        if (changed == -1 || changed > interest->known) {
            interest_mark(interest, changed);
        }
    }
}

void group_waits_wake(struct group_waits *waits)
{
    while (!ria_list_is_empty(&waits->due)) {
        answer(RIA_CONTAINER(waits->due.next, struct entry, due), GROUP_WAITS_ANSWER_MAX);
    }
}

void group_waits_wake_all(struct group_waits *waits)
{
    group_waits_wake(waits);
    while (!ria_list_is_empty(&waits->entries)) {
        struct entry *entry = RIA_CONTAINER(waits->entries.next, struct entry, link);
        if (entry->request != NULL) {
            answer(entry, 0);
        } else {
            entry_end(entry);
        }
    }
}

bool group_waits_is_due(const struct group_waits *waits)
{
    return !ria_list_is_empty(&waits->due);
}

uint32_t group_waits_count(const struct group_waits *waits)
{
    return waits->count;
}
