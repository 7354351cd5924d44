/* ReplicaFetch: a replication worker reads what was appended, committed or not.
 *
 * Sessions: docs/formats/fetch-session.md. The reply names only partitions that have batches, an
 * error, or a high watermark that no worker has been told yet (size 0); empty means "nothing came
 * in time". The bytes of each partition are read straight into the reply's frame. */
#include "common/limits.h"

#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "services/storage/handle.h"

enum { ENTRIES_MAX = 4096 }; /* of one reply; the others come with the next */

typedef struct replica_fetch_response_replica_fetched_partition fetched_partition;

/* What a worker wants of one partition. */
struct wanted {
    struct partition_id id;
    int32_t leader_epoch;
    int64_t offset;
    int32_t size_max;
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
    struct fetch_wish *wish; /* NULL: no session */
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
                .config_epoch = -1,
            },
        .replica = handle_find_leader(s, &wanted->id, wanted->leader_epoch, &err),
    };

    if (found.replica != NULL) {
        const struct partition *p = &found.replica->partition;
        found.out.high_watermark = p->high_watermark;
        found.out.log_start_offset = partition_log_start_offset(p->log);
        found.out.end_offset = partition_log_end_offset(p->log);
        found.out.config_epoch = p->config_epoch;
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

static int64_t room_of(int32_t size_max)
{
    return ria_min_i64(ria_max_i64(size_max, 1), RIA_FETCH_SIZE_MAX);
}

/* ---- sessions ---- */

/* There are batches, but this reply has no room for them. */
static bool is_left_out(const struct found *found, const struct fetch_wish *wish)
{
    return found->out.error_code == RIA_OK && found->out.size == 0 &&
           found->out.end_offset > wish->offset;
}

/* Look at the ready wishes: those with news go to `found`, those without wait. Those that there is
 * no room for stay ready. */
static uint32_t collect(struct fetch_session *session, int32_t size_max, struct found *found)
{
    struct storage *s = session->set->arg;
    int64_t room = room_of(size_max);
    uint32_t count = 0;
    bool is_first = true;

    RIA_LIST_FOREACH (node, &session->ready) {
        struct fetch_wish *wish = RIA_CONTAINER(node, struct fetch_wish, link);
        if (count == ENTRIES_MAX || room <= 0) {
            break;
        }
        struct wanted wanted = {wish->id, wish->leader_epoch, wish->offset, wish->size_max};
        found[count] = find(s, &wanted, &room, is_first);
        found[count].wish = wish;
        if (is_left_out(&found[count], wish)) {
            break;
        }
        if (!is_news(&found[count])) {
            fetch_wish_wait(wish, &found[count].replica->waits[REPLICA_APPENDED]);
            continue;
        }
        if (found[count].replica != NULL) {
            (void)storage_tell_high_watermark(found[count].replica);
        }
        is_first = is_first && found[count].out.size == 0;
        count++;
    }
    return count;
}

/* What went out with batches or an error is not wished for any more. */
static void grant(const struct found *found, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (found[i].out.size > 0 || found[i].out.error_code != RIA_OK) {
            fetch_wish_free(found[i].wish);
        } else {
            fetch_wish_wait(found[i].wish, &found[i].replica->waits[REPLICA_APPENDED]);
        }
    }
}

/* Answer with what there is for the session's ready wishes. False: nothing new, not answered. */
static bool
reply_ready(const struct handle_request *r, struct fetch_session *session, int32_t size_max)
{
    uint32_t capacity = session->ready_count < ENTRIES_MAX ? session->ready_count : ENTRIES_MAX;
    struct found *found = NULL;

    if (capacity == 0) {
        return false;
    }
    found = handle_alloc(r, (size_t)capacity + 1, sizeof(*found));
    if (found == NULL) {
        return true;
    }
    uint32_t count = collect(session, size_max, found);
    if (count == 0) {
        return false;
    }
    reply_found(r, found, count);
    grant(found, count);
    return true;
}

/* Forgets what does not fit into memory, and the session with it: the worker begins anew. */
static ria_err
take_wishes(struct fetch_session *session, const struct replica_fetch_request *request)
{
    for (uint32_t i = 0; i < request->forgotten_count; i++) {
        struct partition_id id =
            partition_id_of(&request->forgotten[i].topic_id, request->forgotten[i].partition);
        struct fetch_wish *wish = fetch_session_find(session, &id);
        if (wish != NULL) {
            fetch_wish_free(wish);
        }
    }
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct replica_fetch_request_replica_fetch_partition *in = &request->partitions[i];
        struct partition_id id = partition_id_of(&in->topic_id, in->partition);
        struct fetch_wish *wish = NULL;
        RIA_TRY(fetch_session_wish(session, &id, &wish));
        wish->leader_epoch = in->leader_epoch;
        wish->offset = in->offset;
        wish->size_max = in->max_bytes;
    }
    return RIA_OK;
}

void storage_answer_fetch(void *arg, struct fetch_session *session, fetch_end end)
{
    struct storage *s = arg;

    if (end == FETCH_NOTHING) {
        struct ria_rpc_request *request = fetch_session_unpark(session);
        /* Perhaps from inside a newer fetch, which is still using the arena. */
        struct handle_request r = handle_resumed(s, request, false);
        reply_empty(&r);
        return;
    }
    struct handle_request r = handle_resumed(s, session->request, true);
    if (reply_ready(&r, session, session->size_max)) {
        (void)fetch_session_unpark(session);
    }
}

static void
fetch_in_session(const struct handle_request *r, const struct replica_fetch_request *request)
{
    struct storage *s = r->storage;
    struct fetch_session *session = NULL;

    ria_err err = fetch_sessions_take(
        &s->fetch_sessions, request->session_id, request->number, request->is_full, &session
    );
    if (err != RIA_OK) {
        handle_reply_error(
            r,
            err,
            err == RIA_ERR_NOT_FOUND  ? "the fetch session is not known here: open it anew"
            : err == RIA_ERR_CONFLICT ? "the fetch session has had a newer fetch"
                                      : "too many fetch sessions on this node"
        );
        return;
    }
    err = take_wishes(session, request);
    if (err != RIA_OK) {
        fetch_session_forget(session);
        handle_reply_error(r, err, "too many partitions are waited for on this node");
        return;
    }
    if (reply_ready(r, session, request->max_bytes)) {
        return;
    }
    uint32_t wait_ms = handle_wait_ms(&r->header, request->wait_ms);
    if (wait_ms == 0) {
        reply_empty(r);
        return;
    }
    fetch_session_park(session, r->request, request->max_bytes, wait_ms);
}

/* ---- without a session ---- */

/* In the order of the request: who does not fit is asked for again. */
static void fetch_once(const struct handle_request *r, const struct replica_fetch_request *request)
{
    struct found *found = handle_alloc(r, request->partitions_count, sizeof(*found));
    int64_t room = room_of(request->max_bytes);
    uint32_t count = 0;
    bool is_first = true;

    if (found == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct replica_fetch_request_replica_fetch_partition *in = &request->partitions[i];
        struct wanted wanted = {
            partition_id_of(&in->topic_id, in->partition),
            in->leader_epoch,
            in->offset,
            in->max_bytes,
        };
        found[count] = find(r->storage, &wanted, &room, is_first);
        is_first = is_first && found[count].out.size == 0;
        if (found[count].out.size > 0 || found[count].out.error_code != RIA_OK) {
            count++;
        }
    }
    reply_found(r, found, count);
}

void handle_replica_fetch(const struct handle_request *r)
{
    struct replica_fetch_request request;

    if (!handle_decode(r, &request)) {
        return;
    }
    if (request.session_id < 0) {
        fetch_once(r, &request);
    } else {
        fetch_in_session(r, &request);
    }
}
