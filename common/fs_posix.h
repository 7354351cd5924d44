/* fs_posix: the file seam on a real disk. Syncs run on a small pool of threads.
 *
 * Linux reports a failed write-back once and then calls the lost pages clean, so the first failed
 * sync of an open file fails all later ones on it. New files are 0640, new folders 0750.
 */
#pragma once

#include "common/fs.h"
#include "common/loop.h"

/* Borrows loop: sync callbacks are posted to it. threads > 0. Errors: RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err
ria_fs_posix_new(struct ria_loop *loop, unsigned threads, struct ria_fs **out_fs) RIA_MUST_USE;

/* Waits for syncs under way; their callbacks do not run. Accepts NULL. */
void ria_fs_posix_free(struct ria_fs *fs);
