/* Watch: one request that waits for the high watermarks of many partitions, and for the ends of
 * their logs, which are ahead of them: whoever has something to do before it reads can begin. */
#include <string.h>

#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/storage/handle.h"

typedef struct watch_request_watch_partition watch_partition;
typedef struct watch_response_watched_partition watched_partition;

static bool wants_log_end(const watch_partition *wanted)
{
    return wanted->log_end_offset > 0;
}

static void reply_empty(const struct handle_request *r)
{
    struct watch_response response;

    watch_response_init(&response);
    handle_reply(r, &response);
}

/* It says that there is more to be fetched, and is no reader's to see: so a leader that is not
 * settled wakes whom it can serve, too. */
static watched_partition describe(const struct storage *s, const struct partition_id *id)
{
    ria_err err = RIA_OK;
    const struct replica *replica = handle_find_leader(s, id, PARTITION_ANY_EPOCH, &err);

    return (watched_partition){
        .topic_id = id->topic_id,
        .partition = partition_id_number(id),
        .error_code = (int16_t)err,
        .high_watermark = replica == NULL ? -1 : replica->partition.high_watermark,
        .log_end_offset = replica == NULL ? 0 : partition_log_end_offset(replica->partition.log),
    };
}

static void on_watch_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct storage *s = arg;
    struct handle_request r = handle_parked(s, parked, end);
    struct watch_response response;

    if (end != PARKED_READY) {
        reply_empty(&r);
        return;
    }
    watch_response_init(&response);
    response.partitions = handle_alloc(&r, parked->woken_count, sizeof(response.partitions[0]));
    bool *told = response.partitions == NULL
                     ? NULL
                     : handle_alloc(&r, parked->wait_count, sizeof(told[0])); /* by index */
    if (told == NULL) {
        return;
    }
    memset(told, 0, parked->wait_count * sizeof(told[0]));
    RIA_LIST_FOREACH (node, &parked->woken) {
        const struct parked_wait *wait = RIA_CONTAINER(node, struct parked_wait, link);
        if (!told[wait->index]) { /* perhaps it woke in two ways */
            told[wait->index] = true;
            response.partitions[response.partitions_count++] = describe(s, &wait->id);
        }
    }
    handle_reply(&r, &response);
}

/* Those that need not be waited for; all of them have room in `out`. */
static uint32_t
find_moved(const struct storage *s, const struct watch_request *request, watched_partition *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < request->partitions_count; i++) {
        struct partition_id id =
            partition_id_of(&request->partitions[i].topic_id, request->partitions[i].partition);
        watched_partition now = describe(s, &id);
        const watch_partition *wanted = &request->partitions[i];
        if (now.error_code != RIA_OK || now.high_watermark > wanted->offset ||
            (wants_log_end(wanted) && now.log_end_offset >= wanted->log_end_offset)) {
            out[count++] = now;
        }
    }
    return count;
}

static uint32_t count_waits(const struct watch_request *request)
{
    uint32_t count = request->partitions_count;

    for (uint32_t i = 0; i < request->partitions_count; i++) {
        count += wants_log_end(&request->partitions[i]) ? 1 : 0;
    }
    return count;
}

static void park_watch(const struct handle_request *r, const struct watch_request *request)
{
    struct storage *s = r->storage;
    struct parked *parked = NULL;
    uint32_t wait_ms = handle_wait_ms(&r->header, request->wait_ms);

    if (wait_ms == 0 || request->partitions_count == 0) {
        reply_empty(r);
        return;
    }
    ria_err err = parked_new(&s->parked, r->request, &r->header, count_waits(request), &parked);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "too many partitions are watched on this node");
        return;
    }
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        struct partition_id id =
            partition_id_of(&request->partitions[i].topic_id, request->partitions[i].partition);
        struct replica *replica = storage_find_id(s, &id); /* find_moved() saw that it is there */
        struct parked_wait *wait =
            parked_add(parked, &replica->waits[REPLICA_COMMITTED], &replica->partition.id);
        wait->index = i;
        wait->offset = request->partitions[i].offset;
        if (wants_log_end(&request->partitions[i])) {
            wait = parked_add(parked, &replica->waits[REPLICA_WRITTEN], &replica->partition.id);
            wait->index = i;
            wait->offset = request->partitions[i].log_end_offset - 1;
        }
    }
    parked_start(parked, 1, wait_ms, on_watch_resumed);
    if (parked_join(parked, PARKED_WATCH, request->watch_id) != RIA_OK) {
        ria_log_warn(s->env->log, "storage.watch_without_session", "err=\"out of memory\"");
    }
}

void handle_watch(const struct handle_request *r)
{
    struct watch_request request;
    struct watch_response response;

    if (!handle_decode(r, &request)) {
        return;
    }
    parked_replace(&r->storage->parked, PARKED_WATCH, request.watch_id);

    watch_response_init(&response);
    response.partitions = handle_alloc(r, request.partitions_count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    response.partitions_count = find_moved(r->storage, &request, response.partitions);
    if (response.partitions_count > 0) {
        handle_reply(r, &response);
        return;
    }
    park_watch(r, &request);
}
