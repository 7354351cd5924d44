/* loop: one thread, one epoll. Owns timers; runs file callbacks and functions posted by others.
 *
 * Order in one turn: posted functions, ready files, due timers, end-of-turn hooks. Only
 * ria_loop_post() and ria_loop_stop() may be called from other threads or (stop only) a signal
 * handler. A loop with nothing to do sleeps in the kernel: nothing polls.
 */
#pragma once

#include "common/base.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/list.h"
#include "common/timers.h"

struct ria_loop;

/* events: EPOLLIN, EPOLLOUT... as epoll reports them. */
typedef void (*ria_loop_file_fn)(void *arg, uint32_t events);

/* Work handed over by another thread. Storage is the poster's until fn runs; fn may free it or post
 * it again. */
struct ria_loop_work {
    struct ria_loop_work *next;
    void (*fn)(struct ria_loop_work *work);
};

/* Runs at the end of each turn of the loop, after everything that was ready has been handled: the
 * place to flush what the turn has gathered. */
struct ria_loop_hook {
    struct ria_list link;
    void (*fn)(void *arg);
    void *arg;
};

/* Errors: RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err ria_loop_new(struct ria_loop **out_loop) RIA_MUST_USE;

/* Work still posted does not run. Accepts NULL. */
void ria_loop_free(struct ria_loop *loop);

struct ria_timers *ria_loop_timers(struct ria_loop *loop);
const struct ria_clock *ria_loop_clock(const struct ria_loop *loop);

/* Watch fd for `events`; fn stays until ria_loop_unwatch(). Watching a watched fd changes events
 * and fn. Errors: RIA_ERR_IO, RIA_ERR_NOMEM. */
ria_err ria_loop_watch(
    struct ria_loop *loop, int fd, uint32_t events, ria_loop_file_fn fn, void *arg
) RIA_MUST_USE;

/* To be called before fd is closed; fn does not run any more, not even in this turn. */
void ria_loop_unwatch(struct ria_loop *loop, int fd);

/* Any thread. Never fails, never blocks; order per thread is kept. work is not posted already. */
void ria_loop_post(struct ria_loop *loop, struct ria_loop_work *work);

/* The loop's thread. Take back posted work that has not run; no-op if it is not posted. */
void ria_loop_unpost(struct ria_loop *loop, struct ria_loop_work *work);

void ria_loop_add_hook(struct ria_loop *loop, struct ria_loop_hook *hook);
void ria_loop_remove_hook(struct ria_loop_hook *hook);

/* SIGTERM and SIGINT stop the loop (signalfd). SIGPIPE is ignored. Call before threads exist. */
ria_err ria_loop_catch_signals(struct ria_loop *loop) RIA_MUST_USE;

/* Run until ria_loop_stop(). */
void ria_loop_run(struct ria_loop *loop);

/* Run turns until *done or timeout_ms has passed: for drains at shutdown and tests. A stop does not
 * end it. */
void ria_loop_run_until(struct ria_loop *loop, const bool *done, int64_t timeout_ms);

/* Any thread, or a signal handler. */
void ria_loop_stop(struct ria_loop *loop);
