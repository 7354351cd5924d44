/* workload: what the journaled node is made to do; see README.md.
 *
 *   workload --program=riacho-storage --preload=preload.so --dir=FOLDER --journal=FILE [--seed=N]
 *
 * Several partitions that are led, several that follow; rolls in each of them; followers cut back
 * and started anew; idle seconds, in which checkpoints are written; clean ends; a kill -9, after
 * which what had no answer is sent again; a topic that is deleted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/rand.h"

#include "schemas/batch.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "tests/crash/node.h"

enum {
    IN_FLIGHT = 3,
    BATCH_BYTES_MAX = 64 * 1024,
    VALUE_MAX = 9000,
    EPOCHS_MAX = 64,
    BOUNDARIES_MAX = 4096,
    TRIES = 400,
    RETRY_MS = 25,
};

/* A batch between being made and being stored. */
struct outgoing {
    bool used;
    struct journal_mark mark;
    uint8_t *bytes;
    size_t size;
    struct node_call call;
};

/* What the peer, who leads, knows of a partition that the node follows. */
struct history {
    struct replica_prepare_request_prepare_epoch_entry epochs[EPOCHS_MAX];
    uint32_t epoch_count;
    int64_t boundaries[BOUNDARIES_MAX]; /* where batches begin; the last one is the end */
    uint32_t boundary_count;
    int64_t high_watermark;
};

struct workload {
    struct node node;
    struct ria_rand rand;
    uint64_t value; /* of the next record */
    int32_t sequences[LAYOUT_PARTITIONS];
    struct outgoing outgoing[LAYOUT_PARTITIONS][IN_FLIGHT];
    struct history histories[LAYOUT_PARTITIONS];
};

static bool is_led(int32_t partition)
{
    return partition < LAYOUT_LED || partition == LAYOUT_DELETED;
}

static struct history *history_of(struct workload *w, int32_t partition)
{
    RIA_ASSERT(!is_led(partition));
    return &w->histories[partition];
}

static int64_t end_of(const struct history *history)
{
    return history->boundaries[history->boundary_count - 1];
}

/* ---- batches ---- */

/* Mostly small ones, some that span pages. Every value is unique, and so is each batch's CRC. */
static void make_batch(struct workload *w, int32_t partition, struct outgoing *out)
{
    static uint8_t value[VALUE_MAX];
    struct batch_builder b;
    int32_t count = 1 + (int32_t)ria_rand_below(&w->rand, 4);
    bool plain = !is_led(partition) || partition == LAYOUT_PLAIN;

    batch_builder_init(&b, BATCH_BYTES_MAX);
    for (int32_t i = 0; i < count; i++) {
        size_t size =
            16 +
            (size_t)ria_rand_below(&w->rand, ria_rand_one_in(&w->rand, 3) ? VALUE_MAX - 16 : 300);
        ria_rand_bytes(&w->rand, value, size);
        memcpy(value, &w->value, sizeof(w->value));
        w->value++;
        ria_err err =
            batch_builder_add(&b, 1000, RIA_SLICE_NULL, ria_slice_of(value, size), NULL, 0);
        RIA_ASSERT(err == RIA_OK);
    }
    struct ria_slice batch = batch_builder_finish(
        &b, plain ? -1 : 100 + partition, plain ? -1 : 0, plain ? -1 : w->sequences[partition]
    );
    struct batch_header header;
    RIA_ASSERT(batch_header_decode(batch, &header) == RIA_OK);
    *out = (struct outgoing){
        .used = true,
        .mark =
            {
                .kind = JOURNAL_SENT,
                .partition = partition,
                .base_offset = -1,
                .crc = header.crc,
                .leader_epoch = -1,
                .record_count = count,
                .base_sequence = header.base_sequence,
                .producer_id = header.producer_id,
            },
        .size = batch.size,
    };
    out->bytes = malloc(batch.size);
    RIA_ASSERT(out->bytes != NULL);
    memcpy(out->bytes, batch.data, batch.size);
    if (!plain) {
        w->sequences[partition] = batch_next_sequence(w->sequences[partition], count);
    }
    batch_builder_fini(&b);
}

static void drop_batch(struct outgoing *out)
{
    free(out->bytes);
    *out = (struct outgoing){.used = false};
}

/* ---- partitions that are led ---- */

static void send_produce(struct workload *w, int32_t partition, struct outgoing *out)
{
    struct produce_request body;

    produce_request_init(&body);
    body.topic_id = layout_topic_id(partition);
    body.partition = layout_number(partition);
    body.leader_epoch = w->node.rows[partition].leader_epoch;
    out->mark.leader_epoch = -1; /* a duplicate keeps the one it was stored under */
    node_mark(&w->node, &out->mark);
    node_call(&w->node, API_PRODUCE, &body, ria_slice_of(out->bytes, out->size), &out->call);
}

/* False: it is not known to be stored. */
static bool end_produce(struct workload *w, struct outgoing *out)
{
    struct produce_response response;

    node_wait(&w->node, &out->call);
    if (node_end_call(&w->node, &out->call, &response) != RIA_OK) {
        return false;
    }
    out->mark.kind = JOURNAL_ACKED;
    out->mark.base_offset = response.base_offset;
    node_mark(&w->node, &out->mark);
    drop_batch(out);
    return true;
}

/* Everything that waits goes out, in order. True: all of it is stored. */
static bool flush(struct workload *w)
{
    bool all = true;

    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        for (int i = 0; i < IN_FLIGHT; i++) {
            if (w->outgoing[p][i].used) {
                send_produce(w, p, &w->outgoing[p][i]);
            }
        }
    }
    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        for (int i = 0; i < IN_FLIGHT; i++) {
            struct outgoing *out = &w->outgoing[p][i];
            if (!out->used || end_produce(w, out)) {
                continue;
            }
            all = false;
            if (p == LAYOUT_PLAIN) { /* sent again it might be stored twice */
                drop_batch(out);
            }
        }
    }
    return all;
}

/* Until the node has taken everything; false: it has died. */
static bool flush_all(struct workload *w)
{
    for (int i = 0; i < TRIES && !flush(w); i++) {
        if (node_is_dead(&w->node)) {
            return false;
        }
        node_run_ms(&w->node, RETRY_MS);
    }
    return true;
}

static bool produce_round(struct workload *w)
{
    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        uint64_t count =
            is_led(p) && !w->node.rows[p].deleted ? ria_rand_below(&w->rand, IN_FLIGHT + 1) : 0;
        for (uint64_t i = 0; i < count; i++) {
            make_batch(w, p, &w->outgoing[p][i]);
        }
    }
    return flush_all(w);
}

/* ---- partitions that follow ---- */

/* The node takes the partition under its newest epoch, whose leader has the log up to end. */
static bool prepare(struct workload *w, int32_t partition, int64_t start, int64_t end)
{
    struct history *history = history_of(w, partition);
    struct replica_prepare_request_replica_prepare_partition in;
    struct replica_prepare_request request = {.partitions = &in, .partitions_count = 1};
    struct replica_prepare_response response;
    struct node_call call;

    replica_prepare_request_replica_prepare_partition_init(&in);
    in.topic_id = layout_topic_id(partition);
    in.partition = layout_number(partition);
    in.leader_epoch = w->node.rows[partition].leader_epoch;
    in.log_start_offset = start;
    in.end_offset = end;
    in.epochs = history->epochs;
    in.epochs_count = history->epoch_count;
    for (int i = 0; i < TRIES && !node_is_dead(&w->node); i++) {
        node_call(&w->node, API_REPLICA_PREPARE, &request, RIA_SLICE_NULL, &call);
        node_wait(&w->node, &call);
        if (node_end_call(&w->node, &call, &response) == RIA_OK) {
            RIA_ASSERT(response.partitions_count == 1);
            if (response.partitions[0].error_code == RIA_OK) {
                RIA_ASSERT(response.partitions[0].end_offset == end);
                return true;
            }
        }
        node_run_ms(&w->node, RETRY_MS);
    }
    RIA_ASSERT(node_is_dead(&w->node));
    return false;
}

/* After a start: nothing is cut, what is there may be appended to. What was under way when it died
 * may be there or not, so the peer forgets it. */
static void prepare_all(struct workload *w)
{
    for (int32_t p = LAYOUT_LED; p < LAYOUT_LED + LAYOUT_FOLLOWED; p++) {
        struct journal_mark mark = {.kind = JOURNAL_CUTTING, .partition = p, .crc = 0};
        mark.base_offset = end_of(history_of(w, p));
        node_mark(&w->node, &mark);
        w->node.rows[p].leader_epoch++;
        w->node.rows[p].partition_epoch++;
    }
    node_publish(&w->node);
    for (int32_t p = LAYOUT_LED; p < LAYOUT_LED + LAYOUT_FOLLOWED; p++) {
        struct history *history = history_of(w, p);
        struct journal_mark mark = {.kind = JOURNAL_CUT, .partition = p, .crc = 0};
        mark.base_offset = end_of(history);
        bool prepared = prepare(w, p, history->boundaries[0], end_of(history));
        RIA_ASSERT(prepared);
        node_mark(&w->node, &mark);
    }
}

static void
note_appended(struct history *history, int32_t epoch, int64_t base_offset, int32_t count)
{
    if (history->epoch_count == 0 || history->epochs[history->epoch_count - 1].epoch < epoch) {
        RIA_ASSERT(history->epoch_count < EPOCHS_MAX);
        history->epochs[history->epoch_count++] =
            (struct replica_prepare_request_prepare_epoch_entry){epoch, base_offset};
    }
    RIA_ASSERT(history->boundary_count < BOUNDARIES_MAX);
    history->boundaries[history->boundary_count++] = base_offset + count;
}

/* One request with some batches for one follower. False: it was not answered. */
static bool append(struct workload *w, int32_t partition)
{
    struct history *history = history_of(w, partition);
    struct outgoing batches[IN_FLIGHT];
    struct replica_append_request_replica_append_partition in;
    struct replica_append_request request = {.partitions = &in, .partitions_count = 1};
    struct replica_append_response response;
    struct node_call call;
    struct ria_buf payload;
    uint64_t count = 1 + ria_rand_below(&w->rand, IN_FLIGHT);
    int64_t next = end_of(history);

    ria_buf_init(&payload, IN_FLIGHT * BATCH_BYTES_MAX);
    replica_append_request_replica_append_partition_init(&in);
    in.topic_id = layout_topic_id(partition);
    in.partition = layout_number(partition);
    in.leader_epoch = w->node.rows[partition].leader_epoch;
    in.base_offset = next;
    in.high_watermark = history->high_watermark;
    in.log_start_offset = history->boundaries[0];
    for (uint64_t i = 0; i < count; i++) {
        struct outgoing *out = &batches[i];
        make_batch(w, partition, out);
        out->mark.base_offset = next;
        out->mark.leader_epoch = in.leader_epoch;
        batch_patch(out->bytes, next, in.leader_epoch);
        node_mark(&w->node, &out->mark);
        RIA_ASSERT(ria_buf_append(&payload, out->bytes, out->size) == RIA_OK);
        next += out->mark.record_count;
    }
    in.size = (int32_t)payload.size;
    node_call(&w->node, API_REPLICA_APPEND, &request, ria_buf_slice(&payload), &call);
    node_wait(&w->node, &call);
    bool done = node_end_call(&w->node, &call, &response) == RIA_OK;
    if (done) {
        RIA_ASSERT(response.partitions_count == 1 && response.partitions[0].error_code == RIA_OK);
        RIA_ASSERT(response.partitions[0].end_offset == next);
    }
    for (uint64_t i = 0; i < count; i++) {
        struct journal_mark *mark = &batches[i].mark;
        if (done) {
            mark->kind = JOURNAL_ACKED;
            node_mark(&w->node, mark);
            note_appended(history, in.leader_epoch, mark->base_offset, mark->record_count);
        }
        drop_batch(&batches[i]);
    }
    ria_buf_fini(&payload);
    return done;
}

static bool append_round(struct workload *w)
{
    for (int32_t p = LAYOUT_LED; p < LAYOUT_LED + LAYOUT_FOLLOWED; p++) {
        if (!append(w, p)) { /* connections end a moment before the process does */
            for (int i = 0; i < TRIES && !node_is_dead(&w->node); i++) {
                node_run_ms(&w->node, RETRY_MS);
            }
            RIA_ASSERT(node_is_dead(&w->node));
            return false;
        }
    }
    return true;
}

static void forget_behind(struct history *history, int64_t offset)
{
    while (history->boundary_count > 1 && end_of(history) > offset) {
        history->boundary_count--;
    }
    while (history->epoch_count > 0 &&
           history->epochs[history->epoch_count - 1].start_offset >= offset) {
        history->epoch_count--;
    }
}

/* Another leader, who lacks the last batches; what lies below the high watermark stays. */
static void cut(struct workload *w, int32_t partition)
{
    struct history *history = history_of(w, partition);
    uint32_t count = history->boundary_count;
    uint32_t back = 1 + (uint32_t)ria_rand_below(&w->rand, ria_min_size(count - 1, 12));
    int64_t offset = ria_max_i64(history->boundaries[count - 1 - back], history->high_watermark);
    struct journal_mark mark = {.partition = partition, .base_offset = offset};

    mark.kind = JOURNAL_CUTTING;
    node_mark(&w->node, &mark);
    forget_behind(history, offset);
    w->node.rows[partition].leader_epoch++;
    w->node.rows[partition].partition_epoch++;
    node_publish(&w->node);
    bool done = prepare(w, partition, history->boundaries[0], offset);
    RIA_ASSERT(done);
    mark.kind = JOURNAL_CUT;
    node_mark(&w->node, &mark);
}

/* The leader's log begins behind the node's end. */
static void start_anew(struct workload *w, int32_t partition)
{
    struct history *history = history_of(w, partition);
    int64_t start = end_of(history) + 1000;
    struct journal_mark mark = {.partition = partition, .base_offset = 0};

    mark.kind = JOURNAL_CUTTING;
    node_mark(&w->node, &mark);
    w->node.rows[partition].leader_epoch++;
    w->node.rows[partition].partition_epoch++;
    *history = (struct history){.boundaries = {start}, .boundary_count = 1};
    history->high_watermark = start;
    node_publish(&w->node);
    bool done = prepare(w, partition, start, start);
    RIA_ASSERT(done);
    mark.kind = JOURNAL_CUT;
    node_mark(&w->node, &mark);
}

static void commit_some(struct workload *w, int32_t partition)
{
    struct history *history = history_of(w, partition);
    uint64_t at = ria_rand_below(&w->rand, history->boundary_count);

    history->high_watermark = ria_max_i64(history->high_watermark, history->boundaries[at]);
}

/* ---- the script ---- */

/* False: it has died. */
static bool load(struct workload *w, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (!produce_round(w) || !append_round(w)) {
            return false;
        }
        if (ria_rand_one_in(&w->rand, 4)) {
            commit_some(w, LAYOUT_LED + (int32_t)ria_rand_below(&w->rand, LAYOUT_FOLLOWED));
        }
    }
    return true;
}

static void load_alive(struct workload *w, int rounds)
{
    bool alive = load(w, rounds);

    RIA_ASSERT(alive);
}

enum { CHECKPOINT_MS = 1300 /* the node writes one a second after something moved */ };

static void run(struct workload *w)
{
    struct node *node = &w->node;

    node_start(node, 0);
    prepare_all(w);
    load_alive(w, 8);
    node_run_ms(node, CHECKPOINT_MS);
    for (int32_t i = 0; i < 2 * LAYOUT_FOLLOWED; i++) {
        load_alive(w, 2);
        cut(w, LAYOUT_LED + i % LAYOUT_FOLLOWED);
    }
    node_run_ms(node, CHECKPOINT_MS);
    load_alive(w, 2);
    start_anew(w, LAYOUT_LED + LAYOUT_FOLLOWED - 1);
    load_alive(w, 3);
    node_stop(node);

    node_start(node, 150 + (unsigned)ria_rand_below(&w->rand, 50)); /* it dies in between */
    prepare_all(w);
    bool alive = load(w, 1000);
    RIA_ASSERT(!alive);
    node_bury(node);

    node_start(node, 0);
    prepare_all(w);
    bool flushed = flush_all(w);
    RIA_ASSERT(flushed);
    load_alive(w, 4);
    cut(w, LAYOUT_LED);
    struct journal_mark mark = {.kind = JOURNAL_CUTTING, .partition = LAYOUT_DELETED};
    node_mark(node, &mark);
    node->rows[LAYOUT_DELETED].deleted = true;
    node_publish(node);
    load_alive(w, 2);
    node_run_ms(node, CHECKPOINT_MS);
    node_stop(node);
}

int main(int argc, char **argv)
{
    struct workload w;
    const char *values[5] = {NULL, NULL, NULL, NULL, "1"};
    static const char *const names[] = {
        "--program=", "--preload=", "--dir=", "--journal=", "--seed="};

    for (int i = 1; i < argc; i++) {
        for (int k = 0; k < 5; k++) {
            if (strncmp(argv[i], names[k], strlen(names[k])) == 0) {
                values[k] = argv[i] + strlen(names[k]);
            }
        }
    }
    for (int k = 0; k < 5; k++) {
        if (values[k] == NULL) {
            (void)fprintf(stderr, "workload: %s is missing\n", names[k]);
            return 2;
        }
    }
    memset(&w, 0, sizeof(w));
    ria_rand_init(&w.rand, strtoull(values[4], NULL, 10));
    w.node.program = values[0];
    w.node.preload = values[1];
    w.node.dir = values[2];
    w.node.journal = values[3];
    for (int p = 0; p < LAYOUT_PARTITIONS; p++) {
        w.histories[p].boundary_count = 1;
    }
    node_init(&w.node);
    run(&w);
    node_fini(&w.node);
    for (int p = 0; p < LAYOUT_PARTITIONS; p++) {
        for (int i = 0; i < IN_FLIGHT; i++) {
            drop_batch(&w.outgoing[p][i]);
        }
    }
    return 0;
}
