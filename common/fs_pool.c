#include "common/fs_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "common/assert.h"

/* First in, first out; linked through impl[0]. */
struct sync_queue {
    struct ria_fs_sync *head;
    struct ria_fs_sync *tail;
};

struct ria_fs_pool {
    struct ria_loop *loop;
    ria_err (*run)(struct ria_fs_sync *sync);
    struct ria_loop_work done_work; /* runs the callbacks of what is in done */
    pthread_t threads[RIA_FS_POOL_THREADS_MAX];
    unsigned thread_count; /* started */

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t more;
    struct sync_queue todo;
    struct sync_queue done;
    bool done_posted;
    bool stop;
};

static void queue_push(struct sync_queue *queue, struct ria_fs_sync *sync)
{
    sync->impl[0] = NULL;
    if (queue->head == NULL) {
        queue->head = sync;
    } else {
        queue->tail->impl[0] = sync;
    }
    queue->tail = sync;
}

static struct ria_fs_sync *queue_pop(struct sync_queue *queue)
{
    struct ria_fs_sync *sync = queue->head;

    if (sync != NULL) {
        queue->head = sync->impl[0];
    }
    return sync;
}

void ria_fs_pool_start(struct ria_fs_pool *pool, struct ria_fs_sync *sync)
{
    RIA_ASSERT(sync->done != NULL);

    (void)pthread_mutex_lock(&pool->lock);
    queue_push(&pool->todo, sync);
    (void)pthread_mutex_unlock(&pool->lock);
    (void)pthread_cond_signal(&pool->more);
}

/* The loop's thread. A callback may start syncs, and free its own. */
static void run_done(struct ria_loop_work *work)
{
    struct ria_fs_pool *pool = RIA_CONTAINER(work, struct ria_fs_pool, done_work);
    struct ria_fs_sync *sync;

    (void)pthread_mutex_lock(&pool->lock);
    struct sync_queue done = pool->done;
    pool->done = (struct sync_queue){NULL, NULL};
    pool->done_posted = false;
    (void)pthread_mutex_unlock(&pool->lock);

    while ((sync = queue_pop(&done)) != NULL) {
        sync->done(sync);
    }
}

/* A pool thread, with the lock, which it lets go while it works. */
static void run_sync(struct ria_fs_pool *pool, struct ria_fs_sync *sync)
{
    (void)pthread_mutex_unlock(&pool->lock);
    sync->result = pool->run(sync);
    (void)pthread_mutex_lock(&pool->lock);

    queue_push(&pool->done, sync);
    if (!pool->done_posted) {
        pool->done_posted = true;
        ria_loop_post(pool->loop, &pool->done_work);
    }
}

/* What was started is done even if stop has been asked for. */
static void *pool_main(void *arg)
{
    struct ria_fs_pool *pool = arg;

    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct ria_fs_sync *sync = queue_pop(&pool->todo);
        if (sync != NULL) {
            run_sync(pool, sync);
        } else if (pool->stop) {
            break;
        } else {
            (void)pthread_cond_wait(&pool->more, &pool->lock);
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Pool threads take no signals: those are the loop's. */
static ria_err start_threads(struct ria_fs_pool *pool, unsigned threads)
{
    sigset_t all, before;
    int result = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (result == 0 && pool->thread_count < threads) {
        result = pthread_create(&pool->threads[pool->thread_count], NULL, pool_main, pool);
        pool->thread_count += result == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0 ? RIA_OK : ria_err_from_errno(result);
}

ria_err ria_fs_pool_new(
    struct ria_loop *loop,
    unsigned threads,
    ria_err (*run)(struct ria_fs_sync *sync),
    struct ria_fs_pool **out_pool
)
{
    RIA_ASSERT(loop != NULL);
    RIA_ASSERT(threads > 0);
    RIA_ASSERT(threads <= RIA_FS_POOL_THREADS_MAX);

    struct ria_fs_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return RIA_ERR_NOMEM;
    }
    pool->loop = loop;
    pool->run = run;
    pool->done_work.fn = run_done;
    (void)pthread_mutex_init(&pool->lock, NULL); /* neither can fail with default attributes */
    (void)pthread_cond_init(&pool->more, NULL);

    ria_err err = start_threads(pool, threads);
    if (err != RIA_OK) {
        ria_fs_pool_free(pool);
        return err;
    }
    *out_pool = pool;
    return RIA_OK;
}

void ria_fs_pool_free(struct ria_fs_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    (void)pthread_mutex_unlock(&pool->lock);
    (void)pthread_cond_broadcast(&pool->more);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    ria_loop_unpost(pool->loop, &pool->done_work);
    (void)pthread_cond_destroy(&pool->more);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}
