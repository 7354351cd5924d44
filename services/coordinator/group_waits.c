#include "services/coordinator/group_waits.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/list.h"
#include "common/map.h"

struct entry;

/* One group of one request. */
struct interest {
    struct ria_list link; /* of the group's name */
    struct entry *entry;
    struct watched *watched;
    int64_t known;
    int64_t changed;
    bool marked;
};

/* A name that somebody waits for. */
struct watched {
    struct ria_list interests;
    size_t name_size;
    uint8_t name[];
};

struct entry {
    struct ria_list link; /* of all, or of those that are marked */
    struct ria_timer timer;
    struct group_waits *waits;
    struct ria_rpc_request *request;
    struct request_header header;
    int64_t watch_id;
    bool marked;
    uint32_t count;
    struct interest interests[];
};

struct group_waits {
    const struct ria_env *env;
    group_waits_fn answer;
    void *arg;
    struct ria_map names; /* struct watched */
    struct ria_map ids;   /* struct entry, by watch id */
    struct ria_list entries;
    struct ria_list marked;
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
    ria_list_init(&waits->marked);
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

static void interest_end(struct group_waits *waits, struct interest *interest)
{
    struct watched *watched = interest->watched;

    ria_list_remove(&interest->link);
    if (ria_list_is_empty(&watched->interests)) {
        (void)ria_map_remove(&waits->names, watched->name, watched->name_size);
        free(watched);
    }
}

/* ---- entries ---- */

/* Take it out and free it; its request is the caller's now. */
static struct ria_rpc_request *entry_end(struct entry *entry)
{
    struct group_waits *waits = entry->waits;
    struct ria_rpc_request *request = entry->request;

    ria_timer_stop(waits->env->timers, &entry->timer);
    (void)ria_map_remove(&waits->ids, &entry->watch_id, sizeof(entry->watch_id));
    ria_list_remove(&entry->link);
    for (uint32_t i = 0; i < entry->count; i++) {
        interest_end(waits, &entry->interests[i]);
    }
    waits->count--;
    waits->groups -= entry->count;
    free(entry);
    return request;
}

void group_waits_free(struct group_waits *waits)
{
    struct ria_list *lists[2] = {NULL, NULL};

    if (waits == NULL) {
        return;
    }
    lists[0] = &waits->entries;
    lists[1] = &waits->marked;
    for (size_t i = 0; i < RIA_COUNT(lists); i++) {
        while (!ria_list_is_empty(lists[i])) {
            struct entry *entry = RIA_CONTAINER(lists[i]->next, struct entry, link);
            ria_rpc_drop(waits->env->rpc, entry_end(entry));
        }
    }
    ria_map_fini(&waits->names);
    ria_map_fini(&waits->ids);
    free(waits);
}

/* Names live in the entry until the answer is made. */
static void answer(struct entry *entry)
{
    struct group_waits *waits = entry->waits;
    struct request_header header = entry->header;
    struct watch_groups_response response = {.groups_count = 0};

    response.groups = calloc((size_t)entry->count + 1, sizeof(*response.groups));
    if (response.groups == NULL) { /* the watcher times out and asks again */
        ria_rpc_drop(waits->env->rpc, entry_end(entry));
        return;
    }
    for (uint32_t i = 0; i < entry->count; i++) {
        const struct interest *interest = &entry->interests[i];
        if (interest->marked) {
            response.groups[response.groups_count++] = (struct watch_groups_response_watched_group){
                .group = ria_slice_of(interest->watched->name, interest->watched->name_size),
                .changed = interest->changed,
            };
        }
    }
    struct ria_rpc_request *request = entry->request;
    waits->answer(waits->arg, request, &header, &response);
    (void)entry_end(entry);
    free(response.groups);
}

static void on_time_up(struct ria_timer *timer, void *arg)
{
    (void)timer;
    answer(arg);
}

static void on_gone(void *arg)
{
    struct entry *entry = arg;
    struct group_waits *waits = entry->waits;

    ria_rpc_drop(waits->env->rpc, entry_end(entry));
}

void group_waits_end(struct group_waits *waits, int64_t watch_id)
{
    struct entry *entry = ria_map_get(&waits->ids, &watch_id, sizeof(watch_id));

    if (entry != NULL) {
        answer(entry);
    }
}

/* The first of its interests that there is no memory for ends it. */
static ria_err add_interests(struct entry *entry, const struct watch_groups_request *watch)
{
    for (uint32_t i = 0; i < watch->groups_count; i++) {
        struct interest *interest = &entry->interests[i];
        struct watched *watched = watched_get(entry->waits, watch->groups[i].group);
        if (watched == NULL) {
            return RIA_ERR_NOMEM;
        }
        interest->entry = entry;
        interest->watched = watched;
        interest->known = watch->groups[i].changed;
        ria_list_push_back(&watched->interests, &interest->link);
        entry->count++;
        entry->waits->groups++;
    }
    return RIA_OK;
}

ria_err group_waits_add(
    struct group_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_request *watch
)
{
    if (waits->count >= GROUP_WAITS_MAX ||
        watch->groups_count > GROUP_WAITS_GROUPS_MAX - waits->groups) {
        return RIA_ERR_BUSY;
    }
    RIA_ASSERT(ria_map_get(&waits->ids, &watch->watch_id, sizeof(watch->watch_id)) == NULL);
    struct entry *entry =
        calloc(1, sizeof(*entry) + watch->groups_count * sizeof(entry->interests[0]));
    if (entry == NULL) {
        return RIA_ERR_NOMEM;
    }
    entry->waits = waits;
    entry->request = request;
    entry->header = *header;
    entry->watch_id = watch->watch_id;
    ria_timer_init(&entry->timer, on_time_up, entry);
    ria_list_push_back(&waits->entries, &entry->link);
    waits->count++;
    ria_err err = add_interests(entry, watch);
    if (err == RIA_OK) {
        err = ria_map_put(&waits->ids, &entry->watch_id, sizeof(entry->watch_id), entry);
    }
    if (err != RIA_OK) {
        (void)entry_end(entry);
        return err;
    }
    int64_t wait_ms = ria_min_i64(ria_max_i64(watch->wait_ms, 0), GROUP_WAITS_WAIT_MS_MAX);
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
    for (struct ria_list *link = watched->interests.next; link != &watched->interests;
         link = link->next) {
        struct interest *interest = RIA_CONTAINER(link, struct interest, link);
        if (changed != -1 && changed <= interest->known) {
            continue;
        }
        interest->changed = changed;
        interest->marked = true;
        if (!interest->entry->marked) {
            interest->entry->marked = true;
            ria_list_remove(&interest->entry->link);
            ria_list_push_back(&waits->marked, &interest->entry->link);
        }
    }
}

void group_waits_wake(struct group_waits *waits)
{
    while (!ria_list_is_empty(&waits->marked)) {
        answer(RIA_CONTAINER(waits->marked.next, struct entry, link));
    }
}

void group_waits_wake_all(struct group_waits *waits)
{
    group_waits_wake(waits);
    while (!ria_list_is_empty(&waits->entries)) {
        answer(RIA_CONTAINER(waits->entries.next, struct entry, link));
    }
}

bool group_waits_is_due(const struct group_waits *waits)
{
    return !ria_list_is_empty(&waits->marked);
}

uint32_t group_waits_count(const struct group_waits *waits)
{
    return waits->count;
}
