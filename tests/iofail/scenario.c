#include "tests/iofail/scenario.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/messages.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "tests/iofail/alloc.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum {
    SCENARIO_BATCHES = 10,      /* for the partition that is led */
    SCENARIO_VALUE_SIZE = 9000, /* eight of them fill a segment */
    SCENARIO_FOLLOWED = 4,      /* batches for the other one, before and after the cut */
    SCENARIO_TRIES = 3,         /* of a request that fails definitely */
    SCENARIO_ANSWER_MS = 31000, /* every request ends within its deadline */
    SCENARIO_CHECKPOINT_MS = 1500,
    SCENARIO_REGISTER_AGAIN_MS = 150, /* when the coordinator knows a later start than the folder */
    SCENARIO_READ_MAX = 1 << 20,
    SCENARIO_TIMERS_MAX = 256,
    SCENARIO_NESTED_MAX = 16,
    SCENARIO_PRODUCER = 7,
    SCENARIO_EPOCH = 5,
    SCENARIO_EPOCHS_MAX = 8,
};

typedef enum fate { FATE_NONE, FATE_ACKED, FATE_DEFINITE, FATE_UNKNOWN } fate;

struct scenario {
    struct storage_fixture f;
    struct fault_fs *fs;
    struct ria_rpc rpc; /* in front of the fixture's */
    ria_rpc_handler_fn handler;
    void *handler_arg;
    bool armed[SCENARIO_NESTED_MAX]; /* before each around() that has not ended */
    size_t nested;
    bool failing; /* the fault may strike */

    fate fates[SCENARIO_BATCHES + 1]; /* of the batch with this sequence */
    int64_t offsets[SCENARIO_BATCHES + 1];
    int64_t followed_end; /* acknowledged */
    int32_t followed_epoch;
    struct replica_prepare_request_prepare_epoch_entry epochs[SCENARIO_EPOCHS_MAX];
    uint32_t epoch_count; /* of what is acknowledged */
    char *why;
    size_t why_size;
};

RIA_PRINTF(2, 3)
static bool broken(struct scenario *s, const char *fmt, ...)
{
    va_list args;

    if (s->why[0] == '\0') {
        va_start(args, fmt);
        (void)vsnprintf(s->why, s->why_size, fmt, args);
        va_end(args);
    }
    return false;
}

/* ---- whose allocations may fail ---- */

static void around(void *arg, bool core)
{
    struct scenario *s = arg;

    RIA_ASSERT(s->nested < SCENARIO_NESTED_MAX);
    s->armed[s->nested++] = alloc_arm(core && s->failing);
}

static void around_end(struct scenario *s)
{
    RIA_ASSERT(s->nested > 0);
    (void)alloc_arm(s->armed[--s->nested]);
}

/* The disk's calls come as pairs of false and true. */
static void around_disk(void *arg, bool core)
{
    if (core) {
        around_end(arg);
    } else {
        around(arg, false);
    }
}

/* The fixture's as pairs of true and false. */
static void around_core(void *arg, bool core)
{
    if (core) {
        around(arg, true);
    } else {
        around_end(arg);
    }
}

/* A call of the core, to arm its answer. */
struct call {
    struct scenario *s;
    ria_rpc_done_fn done;
    void *arg;
};

static struct scenario *of_rpc(struct ria_rpc *rpc)
{
    return RIA_CONTAINER(rpc, struct scenario, rpc);
}

static void on_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct call call = *(struct call *)arg;

    free(arg);
    around(call.s, true);
    call.done(call.arg, err, reply);
    around_end(call.s);
}

static void rpc_call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct scenario *s = of_rpc(rpc);

    around(s, false);
    struct call *call = malloc(sizeof(*call));
    RIA_ASSERT(call != NULL);
    *call = (struct call){s, done, arg};
    ria_rpc_call(&s->f.rpc.rpc, address, msg, timeout_ms, on_done, call);
    around_end(s);
}

static void on_request(void *arg, struct ria_rpc_request *request)
{
    struct scenario *s = arg;

    around(s, true);
    s->handler(s->handler_arg, request);
    around_end(s);
}

static void rpc_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct scenario *s = of_rpc(rpc);

    s->handler = handler;
    s->handler_arg = arg;
    ria_rpc_set_handler(&s->f.rpc.rpc, on_request, s);
}

static struct ria_msg *rpc_request_msg(const struct ria_rpc_request *request)
{
    return request->msg;
}

/* A reply that could not be made is NULL: the frame is not sent. */
static void rpc_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    struct ria_rpc *inner = &of_rpc(rpc)->f.rpc.rpc;

    if (msg == NULL) {
        ria_rpc_drop(inner, request);
    } else {
        ria_rpc_reply(inner, request, msg);
    }
}

static void rpc_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    ria_rpc_drop(&of_rpc(rpc)->f.rpc.rpc, request);
}

static const struct ria_rpc_ops rpc_ops = {
    .call = rpc_call,
    .set_handler = rpc_set_handler,
    .request_msg = rpc_request_msg,
    .reply = rpc_reply,
    .drop = rpc_drop,
};

/* ---- life ---- */

static void on_timer(struct ria_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
}

/* Timers abort when their heap cannot grow (common/timers.h): it has grown beforehand. */
static void grow_timers(struct ria_timers *timers)
{
    struct ria_timer many[SCENARIO_TIMERS_MAX];

    for (int i = 0; i < SCENARIO_TIMERS_MAX; i++) {
        ria_timer_init(&many[i], on_timer, NULL);
        ria_timer_start(timers, &many[i], 1000);
    }
    for (int i = 0; i < SCENARIO_TIMERS_MAX; i++) {
        ria_timer_stop(timers, &many[i]);
    }
}

static void scenario_init(struct scenario *s, char *why, size_t why_size)
{
    const struct ria_fs_sim_faults none = {0};

    memset(s, 0, sizeof(*s));
    s->why = why;
    s->why_size = why_size;
    why[0] = '\0';
    fixture_init(&s->f);
    ria_fs_sim_set_faults(s->f.fs, &none);
    grow_timers(&s->f.timers);
    s->fs = fault_fs_new(s->f.fs, &s->f.timers, around_disk, s);
    s->rpc.ops = &rpc_ops;
    s->f.env.fs = fault_fs_fs(s->fs);
    s->f.env.rpc = &s->rpc;
    s->f.around = around_core;
    s->f.around_arg = s;
    s->followed_epoch = SCENARIO_EPOCH;
}

static void scenario_fini(struct scenario *s)
{
    RIA_ASSERT(s->nested == 0);
    fixture_fini(&s->f);
    fault_fs_free(s->fs);
}

/* The rows of the metadata, under these leader epochs. */
static void publish(struct scenario *s, int32_t led_epoch)
{
    struct storage_fixture *f = &s->f;

    fixture_topic(f, 1, 2, 1, false, "segment.bytes=65536");
    fixture_partition(f, 1, 0, FIXTURE_NODE, led_epoch, led_epoch, "1", "1");
    fixture_partition(f, 1, 1, 2, s->followed_epoch, s->followed_epoch, "21", "21");
    fixture_publish(f);
    fixture_run_ms(f, 5);
}

static bool is_up(const struct scenario *s)
{
    return s->f.storage != NULL && s->f.fatal[0] == '\0';
}

/* ---- requests ---- */

/* Until it is answered; then what it says. */
static ria_err answer(struct scenario *s, struct ria_rpc_request *request, int16_t api, void *out)
{
    fixture_run_ms(&s->f, 5);
    if (!request->done) {
        fixture_run_ms(&s->f, SCENARIO_ANSWER_MS);
    }
    if (!request->done) {
        (void)broken(s, "a request was not answered");
        return RIA_ERR_TIMEOUT;
    }
    ria_err err = fixture_reply(&s->f, api, request, out);
    if (err != RIA_OK && err != RIA_ERR_DISCONNECTED && fixture_error_text(request)[0] == '\0') {
        (void)broken(s, "an error without a text: %s", ria_err_text(err));
    }
    fake_rpc_forget(request);
    return err;
}

static ria_err produce(struct scenario *s, int32_t epoch, int32_t sequence, int64_t *out_offset)
{
    struct produce_response response;
    struct ria_rpc_request *request = fixture_produce(
        &s->f,
        (struct produce_args
        ){.leader_epoch = epoch,
          .producer_id = SCENARIO_PRODUCER,
          .sequence = sequence,
          .value_size = SCENARIO_VALUE_SIZE}
    );

    ria_err err = answer(s, request, API_PRODUCE, &response);
    if (err == RIA_OK) {
        *out_offset = response.base_offset;
    }
    return err;
}

/* In order; what has an unknown outcome is sent again as it is, and then either was stored or is
 * not known to be. Ends at the first batch that cannot be stored. */
static void produce_all(struct scenario *s)
{
    for (int32_t i = 0; i < SCENARIO_BATCHES; i++) {
        for (int t = 0; t < SCENARIO_TRIES && s->fates[i] != FATE_ACKED && is_up(s); t++) {
            ria_err err = produce(s, SCENARIO_EPOCH, i, &s->offsets[i]);
            if (err == RIA_OK) {
                s->fates[i] = FATE_ACKED;
            } else if (!ria_err_is_definite(err)) {
                s->fates[i] = FATE_UNKNOWN;
            } else if (s->fates[i] == FATE_NONE) {
                s->fates[i] = FATE_DEFINITE;
            }
        }
        if (s->fates[i] != FATE_ACKED) {
            return;
        }
    }
}

/* The follower has everything up to there; what is new is of the newest epoch. */
static void note_end(struct scenario *s, int64_t end)
{
    bool is_new = s->epoch_count == 0 || s->epochs[s->epoch_count - 1].epoch < s->followed_epoch;

    if (end > s->followed_end && is_new) {
        RIA_ASSERT(s->epoch_count < SCENARIO_EPOCHS_MAX);
        s->epochs[s->epoch_count++] = (struct replica_prepare_request_prepare_epoch_entry
        ){s->followed_epoch, s->followed_end};
    }
    s->followed_end = end;
}

/* The leader's log ends at `end`. */
static ria_err prepare(struct scenario *s, int64_t end)
{
    struct replica_prepare_request_replica_prepare_partition in;
    struct replica_prepare_request body = {.partitions = &in, .partitions_count = 1};
    struct replica_prepare_response response;

    replica_prepare_request_replica_prepare_partition_init(&in);
    in.topic_id = fixture_topic_id(1);
    in.partition = 1;
    in.leader_epoch = s->followed_epoch;
    in.log_start_offset = 0;
    in.end_offset = end;
    in.epochs = s->epochs;
    in.epochs_count = s->epoch_count;
    struct ria_rpc_request *request =
        fixture_send(&s->f, API_REPLICA_PREPARE, &body, RIA_SLICE_NULL);
    ria_err err = answer(s, request, API_REPLICA_PREPARE, &response);
    if (err == RIA_OK) {
        err = (ria_err)response.partitions[0].error_code;
    }
    if (err == RIA_OK) { /* further than we know: the answer to an append was lost */
        note_end(s, response.partitions[0].end_offset);
    }
    return err;
}

static ria_err append(struct scenario *s)
{
    struct replica_append_request_replica_append_partition in;
    struct replica_append_request body = {.partitions = &in, .partitions_count = 1};
    struct replica_append_response response;
    struct ria_slice batches =
        fixture_batches(s->followed_end, SCENARIO_FOLLOWED, s->followed_epoch);

    replica_append_request_replica_append_partition_init(&in);
    in.topic_id = fixture_topic_id(1);
    in.partition = 1;
    in.leader_epoch = s->followed_epoch;
    in.base_offset = s->followed_end;
    in.size = (int32_t)batches.size;
    struct ria_rpc_request *request = fixture_send(&s->f, API_REPLICA_APPEND, &body, batches);
    ria_err err = answer(s, request, API_REPLICA_APPEND, &response);
    if (err == RIA_OK) {
        err = (ria_err)response.partitions[0].error_code;
    }
    if (err == RIA_OK) {
        note_end(s, response.partitions[0].end_offset);
    }
    union {
        const uint8_t *from;
        void *to;
    } memory = {.from = batches.data};
    free(memory.to);
    return err;
}

/* As the worker does: whatever went wrong, prepare again. */
static void follow(struct scenario *s)
{
    for (int t = 0; t < SCENARIO_TRIES && is_up(s); t++) {
        if (prepare(s, s->followed_end) == RIA_OK && append(s) == RIA_OK) {
            return;
        }
    }
}

static void follow_and_cut(struct scenario *s)
{
    follow(s);
    if (!is_up(s)) {
        return;
    }
    s->followed_end /= 2; /* the new leader has no more */
    s->followed_epoch++;
    publish(s, SCENARIO_EPOCH);
    follow(s);
}

/* ---- afterwards ---- */

static bool check_led(struct scenario *s, const uint8_t *bytes, size_t size, int64_t *out_end)
{
    bool seen[SCENARIO_BATCHES + 1] = {false};
    struct ria_slice left = ria_slice_of(bytes, size);
    struct batch_header header;
    int64_t next = 0;

    while (left.size > 0) {
        RIA_ASSERT(batch_header_decode(left, &header) == RIA_OK);
        struct ria_slice one = ria_slice_of(left.data, batch_size(&header));
        int32_t i = header.base_sequence;
        if (header.base_offset != next || batch_check_crc(one) != RIA_OK || i < 0 ||
            i > SCENARIO_BATCHES || seen[i] || s->fates[i] == FATE_NONE) {
            return broken(s, "a batch at %" PRId64 " that should not be there", next);
        }
        if (s->fates[i] == FATE_DEFINITE) {
            return broken(s, "sequence %d failed definitely and is there", i);
        }
        if (s->fates[i] == FATE_ACKED && s->offsets[i] != header.base_offset) {
            return broken(s, "sequence %d was acknowledged at another offset", i);
        }
        seen[i] = true;
        next = batch_last_offset(&header) + 1;
        left = ria_slice_of(left.data + one.size, left.size - one.size);
    }
    for (int32_t i = 0; i <= SCENARIO_BATCHES; i++) {
        if (s->fates[i] == FATE_ACKED && !seen[i]) {
            return broken(s, "sequence %d was acknowledged and is lost", i);
        }
    }
    *out_end = next;
    return true;
}

static bool read_led(struct scenario *s, int64_t *out_end)
{
    struct ria_uuid id = fixture_topic_id(1);
    uint8_t *bytes = malloc(SCENARIO_READ_MAX);
    size_t size = 0;
    size_t total = 0;
    bool good = true;

    RIA_ASSERT(bytes != NULL);
    for (int64_t offset = 0; good; offset++) { /* one record per batch */
        ria_err err = storage_read_replica(
            s->f.storage, &id, 0, offset, bytes + total, SCENARIO_READ_MAX - total, &size
        );
        if (err == RIA_ERR_OFFSET_OUT_OF_RANGE || (err == RIA_OK && size == 0)) {
            break;
        }
        if (err != RIA_OK) {
            good = broken(s, "cannot be read: %s", ria_err_text(err));
        }
        struct batch_header header;
        for (size_t at = total; good && at < total + size; at += batch_size(&header)) {
            RIA_ASSERT(
                batch_header_decode(ria_slice_of(bytes + at, total + size - at), &header) == RIA_OK
            );
            offset = header.base_offset;
        }
        total += size;
    }
    good = good && check_led(s, bytes, total, out_end);
    free(bytes);
    return good;
}

static bool check_replica(struct scenario *s, int32_t partition)
{
    struct storage_replica_info info;
    struct ria_uuid id = fixture_topic_id(1);

    if (!storage_describe_replica(s->f.storage, &id, partition, &info) || !info.open) {
        return broken(s, "partition %d does not open", partition);
    }
    if (info.damaged || info.failed) {
        return broken(s, "partition %d is %s", partition, info.damaged ? "damaged" : "failed");
    }
    if (partition == 1 && info.end_offset < s->followed_end) {
        return broken(s, "follower: %" PRId64 " of %" PRId64, info.end_offset, s->followed_end);
    }
    return true;
}

/* The same folder without the fault. */
static bool check_next_life(struct scenario *s)
{
    int64_t end = 0;
    int64_t offset = -1;
    int32_t led_epoch = SCENARIO_EPOCH + 1;

    if (!fixture_start(&s->f)) {
        return broken(s, "it does not start again: %s", s->f.fatal);
    }
    s->followed_epoch++;
    publish(s, led_epoch);
    fixture_run_ms(&s->f, 5);
    if (is_up(s) && !storage_is_ready(s->f.storage)) {
        fixture_run_ms(
            &s->f, SCENARIO_REGISTER_AGAIN_MS
        ); /* the start before could not be counted */
    }
    if (!is_up(s) || !storage_is_ready(s->f.storage)) {
        return broken(s, "it does not get ready: %s", s->f.fatal);
    }
    if (!check_replica(s, 0) || !check_replica(s, 1) || !read_led(s, &end)) {
        return false;
    }
    /* One record per batch: the end is the next sequence. */
    ria_err err = produce(s, led_epoch, (int32_t)end, &offset);
    if (err != RIA_OK || offset != end) {
        return broken(s, "takes nothing any more: %s", ria_err_text(err));
    }
    int64_t before = s->followed_end;
    follow(s);
    if (s->followed_end != before + SCENARIO_FOLLOWED) {
        return broken(s, "does not follow any more");
    }
    return true;
}

static void end_life(struct scenario *s, bool power_cut)
{
    if (s->f.storage == NULL) {
        return;
    }
    if (power_cut) {
        fault_fs_crash(s->fs);
        fixture_power_cut(&s->f);
    } else {
        fixture_stop(&s->f);
    }
}

static void live(struct scenario *s, const struct scenario_plan *plan)
{
    if (!fixture_start(&s->f)) {
        if (s->f.fatal[0] == '\0') {
            (void)broken(s, "it does not start, and does not say why");
        }
        return;
    }
    publish(s, SCENARIO_EPOCH);
    produce_all(s);
    if (is_up(s)) {
        follow_and_cut(s);
    }
    fixture_run_ms(&s->f, SCENARIO_CHECKPOINT_MS);
    end_life(s, plan->power_cut);
}

bool scenario_run(
    const struct scenario_plan *plan, bool *out_struck, char *out_why, size_t out_why_size
)
{
    const struct fault none = {.at = 0};
    struct scenario *s = malloc(sizeof(*s));

    RIA_ASSERT(s != NULL);
    scenario_init(s, out_why, out_why_size);
    fault_fs_set(s->fs, &plan->fault);
    alloc_fail_at(plan->failing_alloc);
    s->failing = true;
    live(s, plan);
    s->failing = false;
    *out_struck = fault_fs_has_struck(s->fs) || alloc_has_failed();
    fault_fs_set(s->fs, &none);
    alloc_fail_at(0);
    if (fault_fs_open_count(s->fs) > 0) {
        (void)broken(s, "%zu files are still open", fault_fs_open_count(s->fs));
    } else if (check_next_life(s)) {
        end_life(s, false);
    }
    if (s->f.storage != NULL) {
        end_life(s, true);
    }
    scenario_fini(s);
    free(s);
    return out_why[0] == '\0';
}
