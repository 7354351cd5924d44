/* trio: three storage nodes (storage_fixture.h) that hold one partition, and what goes between them
 * when one of them has lost something: RangeFetch is delivered, ReportReplicas is taken. */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "tests/unit/services/storage/follower.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { TRIO_NODES = 3, TRIO_RECORDS = 60, TRIO_BYTES_MAX = 64 * 1024 };

struct trio {
    struct storage_fixture *nodes[TRIO_NODES + 1]; /* by number */
    unsigned range_calls;
    int8_t told[TRIO_NODES + 1]; /* state of the last acknowledged ReportReplicas; -1: none */
    bool coordinator_refuses;
    int unreadable; /* node that answers RangeFetch with IO; 0: none */
};

/* Node 2 leads in epoch 5; everybody has the same records, all committed. */
void trio_begin(struct trio *t);
void trio_end(struct trio *t);
void trio_run_ms(struct trio *t, int64_t ms);

/* --- what the leader's worker sends ------------------------------------------------------------*/

ria_err
trio_append(struct trio *t, int32_t number, int64_t base, int count, int64_t high_watermark);
ria_err trio_prepare(struct trio *t, int32_t number, int64_t end);

/* --- damage ------------------------------------------------------------------------------------*/

/* Flip a bit of the record at offset; a node that runs does not notice. */
void trio_flip(struct trio *t, int32_t number, int64_t offset, uint64_t byte);
void trio_restart(struct trio *t, int32_t number);

/* A node's file loses what is behind offset; the node starts. */
void trio_lose_tail(struct trio *t, int32_t number, int64_t offset);

/* Another row of the partition, for one node. */
void trio_publish(
    struct trio *t, int32_t number, int32_t leader, int32_t epoch, int32_t forced_epoch
);

/* --- repair ------------------------------------------------------------------------------------*/

/* Until the node has nothing damaged. */
void trio_heal(struct trio *t, int32_t number);

/* All files begin with the same bytes: those of the records. */
void trio_check_same_files(struct trio *t);

/* Of each record's batch. */
size_t trio_batch_bytes(void);

/* What trio_run_ms() does with a RangeFetch: the node that it is for answers. */
void trio_deliver(struct trio *t, struct fake_rpc_call *call);

/* A peer's question. */
struct ria_rpc_request *trio_range_fetch(struct trio *t, int32_t number, int64_t from, int64_t to);
