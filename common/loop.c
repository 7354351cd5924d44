#include "common/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "common/assert.h"

enum { LOOP_EVENTS_MAX = 128, LOOP_WATCHES_MIN = 64 };

/* What a descriptor's events call. */
struct watch {
    ria_loop_file_fn fn; /* NULL: not watched */
    void *arg;
    uint32_t generation; /* tells events of this watch from those of the one before it */
};

struct work_queue {
    struct ria_loop_work *head;
    struct ria_loop_work **tail;
};

struct ria_loop {
    int epoll_fd;
    int wake_fd;   /* eventfd: posted work, or stop */
    int signal_fd; /* -1 until signals are caught */
    atomic_bool stop;
    struct ria_timers timers;
    struct ria_list hooks;
    struct watch *watches; /* by descriptor */
    size_t watch_count;
    uint32_t generation_last;
    struct work_queue running; /* taken from posted, this turn */

    pthread_mutex_t lock; /* of posted */
    struct work_queue posted;
};

static void queue_init(struct work_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static void queue_push(struct work_queue *queue, struct ria_loop_work *work)
{
    work->next = NULL;
    *queue->tail = work;
    queue->tail = &work->next;
}

/* Empties `from` into `to`, which is empty. */
static void queue_move(struct work_queue *to, struct work_queue *from)
{
    if (from->head != NULL) {
        *to = *from;
        queue_init(from);
    }
}

static struct ria_loop_work *queue_pop(struct work_queue *queue)
{
    struct ria_loop_work *work = queue->head;

    if (work != NULL) {
        queue->head = work->next;
        if (queue->head == NULL) {
            queue->tail = &queue->head;
        }
    }
    return work;
}

static void queue_remove(struct work_queue *queue, const struct ria_loop_work *work)
{
    for (struct ria_loop_work **at = &queue->head; *at != NULL; at = &(*at)->next) {
        if (*at == work) {
            *at = work->next;
            if (*at == NULL) {
                queue->tail = at;
            }
            return;
        }
    }
}

static void wake(const struct ria_loop *loop)
{
    static const uint64_t one = 1;
    int saved = errno; /* a signal handler may call ria_loop_stop() */

    /* Fails only with EAGAIN, when a wake is pending anyway. */
    ssize_t n = write(loop->wake_fd, &one, sizeof(one));
    (void)n;
    errno = saved;
}

static void freep(struct ria_loop **loop)
{
    ria_loop_free(*loop);
    *loop = NULL;
}

static ria_err
add_fd(const struct ria_loop *loop, int op, int fd, uint32_t events, uint32_t generation)
{
    struct epoll_event event = {
        .events = events,
        .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
    };

    return epoll_ctl(loop->epoll_fd, op, fd, &event) == 0 ? RIA_OK : ria_err_from_errno(errno);
}

ria_err ria_loop_new(struct ria_loop **out_loop)
{
    RIA_CLEANUP(freep) struct ria_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return RIA_ERR_NOMEM;
    }
    loop->epoll_fd = -1;
    loop->wake_fd = -1;
    loop->signal_fd = -1;
    ria_timers_init(&loop->timers, ria_clock_system());
    ria_list_init(&loop->hooks);
    queue_init(&loop->posted);
    queue_init(&loop->running);
    atomic_init(&loop->stop, false);
    (void)pthread_mutex_init(&loop->lock, NULL); /* cannot fail with default attributes */

    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return ria_err_from_errno(errno);
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return ria_err_from_errno(errno);
    }
    RIA_TRY(add_fd(loop, EPOLL_CTL_ADD, loop->wake_fd, EPOLLIN, 0));

    *out_loop = RIA_STEAL(&loop);
    return RIA_OK;
}

void ria_loop_free(struct ria_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    if (loop->signal_fd >= 0) {
        (void)close(loop->signal_fd);
    }
    if (loop->wake_fd >= 0) {
        (void)close(loop->wake_fd);
    }
    if (loop->epoll_fd >= 0) {
        (void)close(loop->epoll_fd);
    }
    ria_timers_fini(&loop->timers);
    free(loop->watches);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}

struct ria_timers *ria_loop_timers(struct ria_loop *loop)
{
    return &loop->timers;
}

const struct ria_clock *ria_loop_clock(const struct ria_loop *loop)
{
    return loop->timers.clock;
}

/* --- files ------------------------------------------------------------------------------------*/

static ria_err reserve_watch(struct ria_loop *loop, size_t index)
{
    if (index < loop->watch_count) {
        return RIA_OK;
    }
    size_t count = loop->watch_count == 0 ? LOOP_WATCHES_MIN : loop->watch_count;
    while (count <= index) {
        count *= 2;
    }
    struct watch *watches = realloc(loop->watches, count * sizeof(*watches));
    if (watches == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (size_t i = loop->watch_count; i < count; i++) {
        watches[i] = (struct watch){0};
    }
    loop->watches = watches;
    loop->watch_count = count;
    return RIA_OK;
}

ria_err
ria_loop_watch(struct ria_loop *loop, int fd, uint32_t events, ria_loop_file_fn fn, void *arg)
{
    RIA_ASSERT(fd >= 0);
    RIA_ASSERT(fn != NULL);

    RIA_TRY(reserve_watch(loop, (size_t)fd));
    struct watch *watch = &loop->watches[fd];
    int op = watch->fn == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    loop->generation_last += loop->generation_last == UINT32_MAX ? 2 : 1; /* 0 is the wake's */
    uint32_t generation = loop->generation_last;
    RIA_TRY(add_fd(loop, op, fd, events, generation));
    *watch = (struct watch){.fn = fn, .arg = arg, .generation = generation};
    return RIA_OK;
}

void ria_loop_unwatch(struct ria_loop *loop, int fd)
{
    RIA_ASSERT(fd >= 0);
    if ((size_t)fd >= loop->watch_count || loop->watches[fd].fn == NULL) {
        return;
    }
    loop->watches[fd] = (struct watch){0};
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void run_file(struct ria_loop *loop, const struct epoll_event *event)
{
    struct watch watch = loop->watches[(uint32_t)event->data.u64];
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);

    if (watch.fn != NULL && watch.generation == generation) {
        watch.fn(watch.arg, event->events);
    }
}

/* --- posted work ------------------------------------------------------------------------------*/

void ria_loop_post(struct ria_loop *loop, struct ria_loop_work *work)
{
    RIA_ASSERT(work->fn != NULL);

    (void)pthread_mutex_lock(&loop->lock);
    bool was_empty = loop->posted.head == NULL;
    queue_push(&loop->posted, work);
    (void)pthread_mutex_unlock(&loop->lock);
    if (was_empty) {
        wake(loop);
    }
}

void ria_loop_unpost(struct ria_loop *loop, struct ria_loop_work *work)
{
    (void)pthread_mutex_lock(&loop->lock);
    queue_remove(&loop->posted, work);
    (void)pthread_mutex_unlock(&loop->lock);
    queue_remove(&loop->running, work);
}

static void run_posted(struct ria_loop *loop)
{
    uint64_t wakes;
    struct ria_loop_work *work;

    /* Clear the wake first: whoever posts from here on sets it again. */
    ssize_t n = read(loop->wake_fd, &wakes, sizeof(wakes));
    (void)n;

    RIA_ASSERT(loop->running.head == NULL); /* the loop does not run inside itself */
    (void)pthread_mutex_lock(&loop->lock);
    queue_move(&loop->running, &loop->posted);
    (void)pthread_mutex_unlock(&loop->lock);

    while ((work = queue_pop(&loop->running)) != NULL) {
        work->fn(work);
    }
}

/* --- hooks ------------------------------------------------------------------------------------*/

void ria_loop_add_hook(struct ria_loop *loop, struct ria_loop_hook *hook)
{
    RIA_ASSERT(hook->fn != NULL);
    ria_list_push_back(&loop->hooks, &hook->link);
}

void ria_loop_remove_hook(struct ria_loop_hook *hook)
{
    ria_list_remove(&hook->link);
}

static void run_hooks(struct ria_loop *loop)
{
    struct ria_list todo;
    struct ria_list *link;

    /* Each hook is back on the loop's list before it runs, so that it may remove any of them. */
    ria_list_init(&todo);
    ria_list_splice(&todo, &loop->hooks);
    while ((link = ria_list_pop_front(&todo)) != NULL) {
        struct ria_loop_hook *hook = RIA_CONTAINER(link, struct ria_loop_hook, link);
        ria_list_push_back(&loop->hooks, link);
        hook->fn(hook->arg);
    }
}

/* --- turns ------------------------------------------------------------------------------------*/

/* Sleep until something is ready or wait_us have passed (-1: no limit). */
static int wait_events(struct ria_loop *loop, struct epoll_event *events, int64_t wait_us)
{
    struct timespec timeout = {
        .tv_sec = (time_t)(wait_us / 1000000),
        .tv_nsec = (long)(wait_us % 1000000) * 1000,
    };
    int n =
        epoll_pwait2(loop->epoll_fd, events, LOOP_EVENTS_MAX, wait_us < 0 ? NULL : &timeout, NULL);
    if (n < 0 && errno == ENOSYS) { /* Linux before 5.11 */
        int64_t wait_ms = wait_us < 0 ? -1 : ria_min_i64((wait_us + 999) / 1000, INT32_MAX);
        n = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS_MAX, (int)wait_ms);
    }
    RIA_ASSERT(n >= 0 || errno == EINTR);
    return n;
}

static bool is_wake(const struct epoll_event *event)
{
    return event->data.u64 >> 32 == 0; /* watches have generations from 1 */
}

/* One turn. limit_us: mono time at which it must be over even if nothing happens. */
static void turn(struct ria_loop *loop, int64_t limit_us)
{
    struct epoll_event events[LOOP_EVENTS_MAX];
    int64_t wait_us = -1;
    int64_t until_us = ria_min_i64(ria_timers_next_us(&loop->timers), limit_us);

    if (until_us != INT64_MAX) {
        wait_us = ria_max_i64(until_us - ria_clock_mono_us(loop->timers.clock), 0);
    }
    int n = wait_events(loop, events, wait_us);

    for (int i = 0; i < n; i++) {
        if (is_wake(&events[i])) {
            run_posted(loop);
        }
    }
    for (int i = 0; i < n; i++) {
        if (!is_wake(&events[i])) {
            run_file(loop, &events[i]);
        }
    }
    (void)ria_timers_run(&loop->timers);
    run_hooks(loop);
}

void ria_loop_run(struct ria_loop *loop)
{
    while (!atomic_exchange(&loop->stop, false)) {
        turn(loop, INT64_MAX);
    }
}

void ria_loop_run_until(struct ria_loop *loop, const bool *done, int64_t timeout_ms)
{
    int64_t limit_us = ria_clock_mono_us(loop->timers.clock) + timeout_ms * 1000;

    while (!*done && ria_clock_mono_us(loop->timers.clock) < limit_us) {
        turn(loop, limit_us);
    }
}

void ria_loop_stop(struct ria_loop *loop)
{
    atomic_store(&loop->stop, true);
    wake(loop);
}

/* --- signals ----------------------------------------------------------------------------------*/

static void signal_ready(void *arg, uint32_t events)
{
    struct ria_loop *loop = arg;
    struct signalfd_siginfo info;

    (void)events;
    while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        ria_loop_stop(loop);
    }
}

ria_err ria_loop_catch_signals(struct ria_loop *loop)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    RIA_ASSERT(loop->signal_fd < 0);

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
        return RIA_ERR_IO;
    }
    loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signal_fd < 0) {
        return ria_err_from_errno(errno);
    }
    return ria_loop_watch(loop, loop->signal_fd, EPOLLIN, signal_ready, loop);
}
