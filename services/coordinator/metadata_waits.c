#include "services/coordinator/metadata_waits.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/list.h"

struct entry {
    struct ria_list link;
    struct ria_timer timer;
    struct metadata_waits *waits;
    struct ria_rpc_request *request;
    struct request_header header;
    int64_t known_version;
};

struct metadata_waits {
    const struct ria_env *env;
    metadata_waits_fn answer;
    void *arg;
    struct ria_list entries; /* by known_version, ascending */
    uint32_t count;
};

ria_err metadata_waits_new(
    const struct ria_env *env,
    metadata_waits_fn answer,
    void *arg,
    struct metadata_waits **out_waits
)
{
    struct metadata_waits *waits = calloc(1, sizeof(*waits));

    if (waits == NULL) {
        return RIA_ERR_NOMEM;
    }
    waits->env = env;
    waits->answer = answer;
    waits->arg = arg;
    ria_list_init(&waits->entries);
    *out_waits = waits;
    return RIA_OK;
}

/* Take the entry out; its request is the caller's now. */
static struct ria_rpc_request *entry_end(struct entry *entry)
{
    struct metadata_waits *waits = entry->waits;
    struct ria_rpc_request *request = entry->request;

    ria_timer_stop(waits->env->timers, &entry->timer);
    ria_list_remove(&entry->link);
    waits->count--;
    free(entry);
    return request;
}

void metadata_waits_free(struct metadata_waits *waits)
{
    if (waits == NULL) {
        return;
    }
    while (!ria_list_is_empty(&waits->entries)) {
        struct entry *entry = RIA_CONTAINER(waits->entries.next, struct entry, link);
        ria_rpc_drop(waits->env->rpc, entry_end(entry));
    }
    free(waits);
}

static void answer(struct entry *entry)
{
    struct metadata_waits *waits = entry->waits;
    struct request_header header = entry->header;
    int64_t known_version = entry->known_version;
    struct ria_rpc_request *request = entry_end(entry);

    waits->answer(waits->arg, request, &header, known_version);
}

static void on_time_up(struct ria_timer *timer, void *arg)
{
    (void)timer;
    answer(arg);
}

/* Where it belongs: most know the newest version, so the search starts at the end. */
static void insert(struct metadata_waits *waits, struct entry *entry)
{
    struct ria_list *after = waits->entries.prev;

    while (after != &waits->entries &&
           RIA_CONTAINER(after, struct entry, link)->known_version > entry->known_version) {
        after = after->prev;
    }
    ria_list_push_front(after, &entry->link);
}

ria_err metadata_waits_add(
    struct metadata_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    int64_t known_version,
    int64_t wait_ms
)
{
    if (waits->count >= METADATA_WAITS_MAX) {
        return RIA_ERR_BUSY;
    }
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return RIA_ERR_NOMEM;
    }
    entry->waits = waits;
    entry->request = request;
    entry->header = *header;
    entry->known_version = known_version;
    ria_timer_init(&entry->timer, on_time_up, entry);
    ria_timer_start(
        waits->env->timers, &entry->timer, ria_min_i64(wait_ms, METADATA_WAITS_WAIT_MS_MAX) * 1000
    );
    insert(waits, entry);
    waits->count++;
    return RIA_OK;
}

void metadata_waits_wake(struct metadata_waits *waits, int64_t version)
{
    while (!ria_list_is_empty(&waits->entries)) {
        struct entry *entry = RIA_CONTAINER(waits->entries.next, struct entry, link);
        if (entry->known_version >= version) {
            break;
        }
        answer(entry);
    }
}

uint32_t metadata_waits_count(const struct metadata_waits *waits)
{
    return waits->count;
}
