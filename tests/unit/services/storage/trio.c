#include "tests/unit/services/storage/trio.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/range_fetch_request.h"
#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/report_replicas_response.h"

#include "tests/lib/harness.h"

enum { ROUNDS_MAX = 3000 };

#define LOG_PATH "data/aa000000-0000-0000-0000-000000000001-0/00000000000000000000.log"

static void begin_node(struct trio *t, int32_t number)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    t->nodes[number] = f;
    t->told[number] = -1;
    fixture_init(f);
    f->node_id = number;
    CU_ASSERT_TRUE_FATAL(fixture_start(f));
    for (int32_t n = 1; n <= TRIO_NODES; n++) {
        fixture_node(f, n, 0);
    }
    fixture_topic(f, 1, 1, 3, false, NULL);
    fixture_partition(f, 1, 0, 2, 5, 1, "123", "123");
    fixture_publish(f);
    fixture_run_ms(f, 5);
}

void trio_deliver(struct trio *t, struct fake_rpc_call *call)
{
    int to = call->address[strlen("tcp://node-")] - '0';
    struct ria_slice bytes = ria_slice_of(ria_msg_data(call->msg), ria_msg_size(call->msg));
    struct ria_msg *copy = ria_msg_new(bytes.size);

    t->range_calls++;
    CU_ASSERT(to >= 1 && to <= TRIO_NODES);
    if (to == t->unreadable) {
        ria_msg_free(copy);
        fake_rpc_refuse(call, RIA_ERR_IO);
        return;
    }
    if (t->nodes[to]->storage == NULL) {
        ria_msg_free(copy);
        fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
        return;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(ria_msg_data(copy), bytes.data, bytes.size);
    struct ria_rpc_request *request = fake_rpc_send(&t->nodes[to]->rpc, copy);
    CU_ASSERT_TRUE_FATAL(request->done);
    fake_rpc_answer_msg(call, RIA_STEAL(&request->reply));
    fake_rpc_forget(request);
}

static void answer_report(struct trio *t, int32_t number, struct fake_rpc_call *call)
{
    struct report_replicas_request request;
    struct report_replicas_response response;

    if (t->coordinator_refuses) {
        fake_rpc_refuse(call, RIA_ERR_BUSY);
        return;
    }
    fake_rpc_decode(call, &t->nodes[number]->arena, &request);
    CU_ASSERT_EQUAL(request.node_id, number);
    CU_ASSERT_EQUAL(request.incarnation, t->nodes[number]->incarnation);
    CU_ASSERT_EQUAL(request.replicas_count, 1);
    t->told[number] = request.replicas[0].state;
    report_replicas_response_init(&response);
    fake_rpc_answer(call, &response);
}

void trio_run_ms(struct trio *t, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        for (int32_t n = 1; n <= TRIO_NODES; n++) {
            struct fake_rpc_call *call = NULL;
            if (t->nodes[n]->storage == NULL) {
                continue;
            }
            fixture_run_ms(t->nodes[n], 1);
            while ((call = fake_rpc_find(&t->nodes[n]->rpc, API_RANGE_FETCH)) != NULL) {
                trio_deliver(t, call);
            }
            while ((call = fake_rpc_find(&t->nodes[n]->rpc, API_REPORT_REPLICAS)) != NULL) {
                answer_report(t, n, call);
            }
        }
    }
}

ria_err trio_append(struct trio *t, int32_t number, int64_t base, int count, int64_t high_watermark)
{
    int64_t end = -1;

    return follower_append(t->nodes[number], 5, base, count, high_watermark, &end);
}

ria_err trio_prepare(struct trio *t, int32_t number, int64_t end)
{
    int64_t own_end = -1;

    return follower_prepare(t->nodes[number], 5, 5, end, &own_end);
}

void trio_begin(struct trio *t)
{
    t->range_calls = 0;
    t->unreadable = 0;
    t->coordinator_refuses = false;
    for (int32_t n = 1; n <= TRIO_NODES; n++) {
        begin_node(t, n);
    }
    for (int i = 0; i < TRIO_RECORDS; i++) {
        (void)fixture_produce_one(t->nodes[2]);
    }
    for (int32_t n = 1; n <= TRIO_NODES; n += 2) {
        CU_ASSERT_EQUAL(trio_prepare(t, n, 0), RIA_OK);
        CU_ASSERT_EQUAL(trio_append(t, n, 0, TRIO_RECORDS, TRIO_RECORDS), RIA_OK);
        CU_ASSERT_EQUAL(fixture_report(t->nodes[2], n, 5, TRIO_RECORDS), RIA_OK);
    }
    CU_ASSERT_EQUAL(fixture_info(t->nodes[2]).high_watermark, TRIO_RECORDS);
    trio_run_ms(t, 1500); /* the checkpoint */
}

void trio_end(struct trio *t)
{
    for (int32_t n = 1; n <= TRIO_NODES; n++) {
        fixture_fini(t->nodes[n]);
        free(t->nodes[n]);
    }
}

size_t trio_batch_bytes(void)
{
    struct ria_slice one = fixture_batches(0, 1, 5);
    free((void *)(uintptr_t)one.data);
    return one.size;
}

void trio_flip(struct trio *t, int32_t number, int64_t offset, uint64_t byte)
{
    uint64_t at = (uint64_t)offset * trio_batch_bytes() + byte;
    CU_ASSERT_EQUAL_FATAL(ria_fs_sim_flip_bit(t->nodes[number]->fs, LOG_PATH, at, 3), RIA_OK);
}

void trio_restart(struct trio *t, int32_t number)
{
    fixture_kill(t->nodes[number]);
    CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[number]));
    fixture_run_ms(t->nodes[number], 10);
}

/* The file, byte for byte. */
static size_t read_file(struct trio *t, int32_t number, uint8_t *out)
{
    uint8_t *data = NULL;
    size_t size = 0;

    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(t->nodes[number]->fs, LOG_PATH, TRIO_BYTES_MAX, &data, &size), RIA_OK
    );
    memcpy(out, data, size);
    free(data);
    return size;
}

void trio_check_same_files(struct trio *t)
{
    static uint8_t one[TRIO_BYTES_MAX];
    static uint8_t other[TRIO_BYTES_MAX];
    size_t size = (size_t)TRIO_RECORDS * trio_batch_bytes();

    CU_ASSERT_EQUAL(read_file(t, 2, one), size);
    for (int32_t n = 1; n <= TRIO_NODES; n += 2) {
        CU_ASSERT(read_file(t, n, other) >= size);
        CU_ASSERT_EQUAL(memcmp(one, other, size), 0);
    }
}

void trio_heal(struct trio *t, int32_t number)
{
    for (int i = 0; i < ROUNDS_MAX && fixture_info(t->nodes[number]).damaged; i++) {
        trio_run_ms(t, 10);
    }
    CU_ASSERT_FALSE(fixture_info(t->nodes[number]).damaged);
    trio_run_ms(t, 50);
}

struct ria_rpc_request *trio_range_fetch(struct trio *t, int32_t number, int64_t from, int64_t to)
{
    struct range_fetch_request request = {
        .topic_id = fixture_topic_id(1),
        .from_offset = from,
        .to_offset = to,
        .max_bytes = 1 << 20,
    };

    return fixture_send(t->nodes[number], API_RANGE_FETCH, &request, RIA_SLICE_NULL);
}

void trio_lose_tail(struct trio *t, int32_t number, int64_t offset)
{
    struct ria_file *file = NULL;

    fixture_kill(t->nodes[number]);
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(t->nodes[number]->fs, LOG_PATH, RIA_FS_WRITE, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_truncate(file, (uint64_t)offset * trio_batch_bytes() + 7), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    ria_fs_close(file);
    CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[number]));
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[number]).end_offset, offset);
    CU_ASSERT_EQUAL(t->told[number], 2);
}

void trio_publish(
    struct trio *t, int32_t number, int32_t leader, int32_t epoch, int32_t forced_epoch
)
{
    fixture_partition(t->nodes[number], 1, 0, leader, epoch, epoch, "123", "123");
    t->nodes[number]->partitions[0].forced_epoch = forced_epoch;
    fixture_publish(t->nodes[number]);
}
