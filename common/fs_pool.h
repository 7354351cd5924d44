/* fs_pool: threads that run syncs, and hand them back to the loop when done. A part of fs_posix. */
#pragma once

#include "common/fs.h"
#include "common/loop.h"

enum { RIA_FS_POOL_THREADS_MAX = 64 };

struct ria_fs_pool;

/* run does the work of one sync, on a pool thread; its result goes to sync->result. Borrows loop
 * for the pool's life. Errors: RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err ria_fs_pool_new(
    struct ria_loop *loop,
    unsigned threads,
    ria_err (*run)(struct ria_fs_sync *sync),
    struct ria_fs_pool **out_pool
) RIA_MUST_USE;

/* The loop's thread. Uses sync->impl[0]. sync->done runs on the loop, in the order of completion.
 */
void ria_fs_pool_start(struct ria_fs_pool *pool, struct ria_fs_sync *sync);

/* Runs what was started to its end; no callback runs any more. Accepts NULL. */
void ria_fs_pool_free(struct ria_fs_pool *pool);
