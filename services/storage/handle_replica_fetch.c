/* ReplicaFetch: a replication worker reads what was appended, committed or not.
 *
 * The reply names only partitions that have batches, an error, or a high watermark that no worker
 * has been told yet (size 0), in the order of the request; empty means "nothing came in time". The
 * bytes of each partition are read straight into the reply's frame. */
#include <stdlib.h>

#include "common/limits.h"

#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/storage/handle.h"

typedef struct replica_fetch_response_replica_fetched_partition fetched_partition;

/* One partition that is to be in the reply. */
struct wanted {
    struct partition_id id;
    int32_t leader_epoch;
    int64_t offset;
    int32_t size_max;
    uint32_t index; /* in the request */
};

static void reply_empty(const struct handle_request *r)
{
    struct replica_fetch_response response;

    replica_fetch_response_init(&response);
    handle_reply(r, &response);
}

/* What is found for one partition. */
struct found {
    fetched_partition out;
    struct partition_log_range range;
    struct replica *replica; /* NULL: out has an error */
};

/* Something the worker does not know yet. */
static bool is_news(const struct found *found)
{
    return found->out.size > 0 || found->out.error_code != RIA_OK ||
           found->out.high_watermark > found->replica->told_high_watermark;
}

/* Find batches at `offset`, which is in the log. Errors: those of partition_log_locate(). */
static ria_err
find_batches(struct found *found, int64_t offset, int32_t size_max, int64_t *room, bool is_first)
{
    struct partition_log *log = found->replica->partition.log;
    int64_t limit = ria_min_i64(ria_max_i64(size_max, 1), *room);
    struct partition_log_range range;

    RIA_TRY(partition_log_locate(log, offset, found->out.end_offset, (uint32_t)limit, &range));
    if (range.size > *room && !is_first) {
        *room = 0; /* its first batch does not fit any more */
        return RIA_OK;
    }
    found->range = range;
    found->out.size = (int32_t)range.size;
    *room -= range.size;
    return RIA_OK;
}

/* What there is of one partition. *room shrinks by what was found. */
static struct found
find(const struct storage *s, const struct wanted *wanted, int64_t *room, bool is_first)
{
    ria_err err = RIA_OK;
    struct found found = {
        .out =
            {
                .topic_id = wanted->id.topic_id,
                .partition = partition_id_number(&wanted->id),
                .high_watermark = -1,
                .log_start_offset = -1,
                .end_offset = -1,
            },
        .replica = handle_find_leader(s, &wanted->id, wanted->leader_epoch, &err),
    };

    if (found.replica != NULL) {
        const struct partition *p = &found.replica->partition;
        found.out.high_watermark = p->high_watermark;
        found.out.log_start_offset = partition_log_start_offset(p->log);
        found.out.end_offset = partition_log_end_offset(p->log);
        if (wanted->offset < found.out.log_start_offset || wanted->offset > found.out.end_offset) {
            err = RIA_ERR_OFFSET_OUT_OF_RANGE;
        } else if (wanted->offset<found.out.end_offset && * room> 0) {
            err = find_batches(&found, wanted->offset, wanted->size_max, room, is_first);
        }
    }
    found.out.error_code = (int16_t)err;
    return found;
}

/* On errors, partition *out_bad could not be read. */
static ria_err
read_all(const struct found *found, uint32_t count, uint8_t *payload, uint32_t *out_bad)
{
    for (uint32_t i = 0; i < count; i++) {
        if (found[i].out.size == 0) {
            continue;
        }
        ria_err err = partition_log_read(found[i].replica->partition.log, &found[i].range, payload);
        if (err != RIA_OK) {
            *out_bad = i;
            return err;
        }
        payload += found[i].out.size;
    }
    return RIA_OK;
}

static size_t copy_out(const struct found *found, uint32_t count, fetched_partition *out)
{
    size_t size = 0;

    for (uint32_t i = 0; i < count; i++) {
        out[i] = found[i].out;
        size += (size_t)found[i].out.size;
    }
    return size;
}

/* A partition that cannot be read must not hold up the others: it goes out as an error. */
static void reply_found(const struct handle_request *r, struct found *found, uint32_t count)
{
    struct storage *s = r->storage;
    struct replica_fetch_response response;

    replica_fetch_response_init(&response);
    response.partitions = handle_alloc(r, count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    response.partitions_count = count;
    for (;;) {
        uint8_t *payload = NULL;
        uint32_t bad = 0;
        size_t size = copy_out(found, count, response.partitions);
        struct ria_msg *msg = envelope_reply(&r->header, &response, size, &payload);
        if (msg == NULL) {
            handle_reply_msg(r, NULL);
            return;
        }
        ria_err err = read_all(found, count, payload, &bad);
        if (err == RIA_OK) {
            s->metrics.replica_fetch_bytes.value += size;
            handle_reply_msg(r, msg);
            return;
        }
        ria_msg_free(msg);
        found[bad].out.size = 0;
        found[bad].out.error_code = (int16_t)err;
    }
}

/* Leave out those with nothing new; the order stays. Returns how many are left. */
static uint32_t compact(struct found *found, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (is_news(&found[i])) {
            found[kept++] = found[i];
        }
    }
    for (uint32_t i = 0; i < kept; i++) {
        if (found[i].replica != NULL) {
            (void)storage_tell_high_watermark(found[i].replica);
        }
    }
    return kept;
}

/* Answer with what the wanted partitions have. False: nothing new in any of them, not answered. */
static bool reply_wanted(
    const struct handle_request *r, const struct wanted *wanted, uint32_t count, int32_t size_max
)
{
    struct storage *s = r->storage;
    int64_t room = ria_min_i64(ria_max_i64(size_max, 1), RIA_FETCH_SIZE_MAX);
    struct found *found = handle_alloc(r, count, sizeof(*found));

    if (found == NULL) {
        return true;
    }
    bool is_first = true;
    uint32_t from = count == 0 ? 0 : s->fetch_rotor++ % count; /* nobody is always served last */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (from + i) % count;
        found[at] = find(s, &wanted[at], &room, is_first);
        is_first = is_first && found[at].out.size == 0;
    }
    uint32_t kept = compact(found, count);
    if (kept == 0) {
        return false;
    }
    reply_found(r, found, kept);
    return true;
}

static int by_index(const void *a, const void *b)
{
    const struct wanted *x = a;
    const struct wanted *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static void on_replica_fetch_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct storage *s = arg;
    struct handle_request r = handle_parked(s, parked, end);

    if (end != PARKED_READY) {
        reply_empty(&r);
        return;
    }
    struct wanted *wanted = handle_alloc(&r, parked->woken_count, sizeof(*wanted));
    uint32_t count = 0;
    if (wanted == NULL) {
        return;
    }
    RIA_LIST_FOREACH (node, &parked->woken) {
        const struct parked_wait *wait = RIA_CONTAINER(node, struct parked_wait, link);
        wanted[count++] = (struct wanted){
            .id = wait->id,
            .leader_epoch = wait->leader_epoch,
            .offset = wait->offset,
            .size_max = wait->size_max,
            .index = wait->index,
        };
    }
    qsort(wanted, count, sizeof(*wanted), by_index);
    if (!reply_wanted(&r, wanted, count, parked->size_max)) {
        reply_empty(&r);
    }
}

static void park_replica_fetch(
    const struct handle_request *r,
    const struct replica_fetch_request *request,
    const struct wanted *wanted
)
{
    struct storage *s = r->storage;
    struct parked *parked = NULL;
    uint32_t wait_ms = handle_wait_ms(&r->header, request->wait_ms);

    if (wait_ms == 0 || request->partitions_count == 0) {
        reply_empty(r);
        return;
    }
    ria_err err =
        parked_new(&s->parked, r->request, &r->header, request->partitions_count, &parked);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "too many partitions are waited for on this node");
        return;
    }
    parked->size_max = request->max_bytes;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        struct replica *replica = storage_find_id(s, &wanted[i].id); /* no error: it is there */
        struct parked_wait *wait =
            parked_add(parked, &replica->waits[REPLICA_APPENDED], &wanted[i].id);
        wait->leader_epoch = wanted[i].leader_epoch;
        wait->offset = wanted[i].offset;
        wait->size_max = wanted[i].size_max;
        wait->index = i;
    }
    parked_start(parked, 1, wait_ms, on_replica_fetch_resumed);
    if (parked_join(parked, PARKED_REPLICA_FETCH, request->session_id) != RIA_OK) {
        ria_log_warn(s->env->log, "storage.fetch_without_session", "err=\"out of memory\"");
    }
}

void handle_replica_fetch(const struct handle_request *r)
{
    struct replica_fetch_request request;

    if (!handle_decode(r, &request)) {
        return;
    }
    parked_replace(&r->storage->parked, PARKED_REPLICA_FETCH, request.session_id);

    struct wanted *wanted = handle_alloc(r, request.partitions_count, sizeof(*wanted));
    if (wanted == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        const struct replica_fetch_request_replica_fetch_partition *in = &request.partitions[i];
        wanted[i] = (struct wanted){
            .id = partition_id_of(&in->topic_id, in->partition),
            .leader_epoch = in->leader_epoch,
            .offset = in->offset,
            .size_max = in->max_bytes,
        };
    }
    if (!reply_wanted(r, wanted, request.partitions_count, request.max_bytes)) {
        park_replica_fetch(r, &request, wanted);
    }
}
