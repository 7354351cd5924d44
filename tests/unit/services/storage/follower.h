/* follower: a storage node (storage_fixture.h) that follows topic 1's partition 0, and what the
 * workers of its leader, node 2, send it. */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/replica_prepare_request.h"

#include "tests/unit/services/storage/storage_fixture.h"

typedef struct replica_prepare_request_prepare_epoch_entry follower_epoch;

/* In epoch 5, both replicas in sync; started. setting: of the topic, "name=value" or NULL. */
struct storage_fixture *follower_new(const char *setting);

/* The same, with the records [0, count) of epoch 5, committed up to hw. */
struct storage_fixture *follower_new_with(int count, int64_t hw);
void follower_free(struct storage_fixture *f);

/* The leader's log is [start, end), with these epochs. */
struct ria_rpc_request *follower_send_prepare(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t start,
    int64_t end,
    follower_epoch *epochs,
    uint32_t epoch_count
);
ria_err follower_prepare_result(
    struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end
);

/* Send it, let the disk finish, and look. The leader's log is [0, end), all of it written under
 * `written_epoch`. */
ria_err follower_prepare(
    struct storage_fixture *f, int32_t epoch, int32_t written_epoch, int64_t end, int64_t *out_end
);

/* `count` batches of one record from base on (0: none, as a sign of life). */
struct ria_rpc_request *follower_send_append(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t base,
    int count,
    int32_t written_epoch,
    int64_t hw
);
ria_err follower_append_result(
    struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end
);

/* Send it, let the disk finish, and look. */
ria_err follower_append(
    struct storage_fixture *f, int32_t epoch, int64_t base, int count, int64_t hw, int64_t *out_end
);
