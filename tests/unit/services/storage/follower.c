#include "tests/unit/services/storage/follower.h"

#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "tests/lib/harness.h"

struct storage_fixture *follower_new(const char *setting)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_follow(f, "12", setting);
    return f;
}

void follower_free(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

struct ria_rpc_request *follower_send_prepare(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t start,
    int64_t end,
    follower_epoch *epochs,
    uint32_t epoch_count
)
{
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1),
        .partition = 0,
        .leader_epoch = epoch,
        .log_start_offset = start,
        .end_offset = end,
        .epochs = epochs,
        .epochs_count = epoch_count,
    };
    struct replica_prepare_request request = {.partitions = &partition, .partitions_count = 1};

    return fixture_send(f, API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
}

ria_err follower_prepare_result(
    struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end
)
{
    struct replica_prepare_response response;

    RIA_TRY(fixture_reply(f, API_REPLICA_PREPARE, sent, &response));
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    *out_end = response.partitions[0].end_offset;
    return (ria_err)response.partitions[0].error_code;
}

ria_err follower_prepare(
    struct storage_fixture *f, int32_t epoch, int32_t written_epoch, int64_t end, int64_t *out_end
)
{
    follower_epoch entry = {.epoch = written_epoch, .start_offset = 0};

    const struct ria_rpc_request *sent =
        follower_send_prepare(f, epoch, 0, end, &entry, end > 0 ? 1 : 0);
    fixture_run_ms(f, 5);
    return follower_prepare_result(f, sent, out_end);
}

struct ria_rpc_request *follower_send_append(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t base,
    int count,
    int32_t written_epoch,
    int64_t hw
)
{
    struct ria_slice batches =
        count > 0 ? fixture_batches(base, count, written_epoch) : (struct ria_slice){NULL, 0};
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .partition = 0,
        .leader_epoch = epoch,
        .base_offset = base,
        .high_watermark = hw,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};

    struct ria_rpc_request *sent = fixture_send(f, API_REPLICA_APPEND, &request, batches);
    free((void *)(uintptr_t)batches.data);
    return sent;
}

ria_err follower_append_result(
    struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end
)
{
    struct replica_append_response response;

    RIA_TRY(fixture_reply(f, API_REPLICA_APPEND, sent, &response));
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    *out_end = response.partitions[0].end_offset;
    return (ria_err)response.partitions[0].error_code;
}

ria_err follower_append(
    struct storage_fixture *f, int32_t epoch, int64_t base, int count, int64_t hw, int64_t *out_end
)
{
    const struct ria_rpc_request *sent = follower_send_append(f, epoch, base, count, epoch, hw);

    fixture_run_ms(f, 5);
    return follower_append_result(f, sent, out_end);
}

struct storage_fixture *follower_new_with(int count, int64_t hw)
{
    struct storage_fixture *f = follower_new(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(follower_append(f, 5, 0, count, hw, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, count);
    return f;
}
