#include "common/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/harness.h"

static char seen[64];

static void note(char letter)
{
    size_t size = strlen(seen);

    seen[size] = letter;
    seen[size + 1] = '\0';
}

static struct ria_loop *loop;
static int pipes[2][2];

static void set_up(void)
{
    seen[0] = '\0';
    CU_ASSERT_EQUAL_FATAL(ria_loop_new(&loop), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(pipe(pipes[0]), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(pipes[1]), 0);
}

static void tear_down(void)
{
    for (int i = 0; i < 4; i++) {
        (void)close(pipes[i / 2][i % 2]);
    }
    ria_loop_free(loop);
}

static void fill(int i)
{
    CU_ASSERT_EQUAL(write(pipes[i][1], "x", 1), 1);
}

static void drain(int i)
{
    char byte;

    CU_ASSERT_EQUAL(read(pipes[i][0], &byte, 1), 1);
}

static void on_work(struct ria_loop_work *work)
{
    (void)work;
    note('w');
}

static void on_file(void *arg, uint32_t events)
{
    (void)arg;
    CU_ASSERT_EQUAL(events, EPOLLIN);
    drain(0);
    note('f');
}

static void on_timer(struct ria_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    note('t');
}

static void on_hook_stop(void *arg)
{
    (void)arg;
    note('h');
    ria_loop_stop(loop);
}

static void turn_runs_work_files_timers_hooks(void)
{
    struct ria_loop_work work = {.fn = on_work};
    struct ria_loop_hook hook = {.fn = on_hook_stop};
    struct ria_timer timer;

    set_up();
    ria_timer_init(&timer, on_timer, NULL);
    ria_timer_start(ria_loop_timers(loop), &timer, 0);
    CU_ASSERT_EQUAL(ria_loop_watch(loop, pipes[0][0], EPOLLIN, on_file, NULL), RIA_OK);
    fill(0);
    ria_loop_add_hook(loop, &hook);
    ria_loop_post(loop, &work);
    ria_loop_run(loop);
    CU_ASSERT_STRING_EQUAL(seen, "wfth");
    ria_loop_remove_hook(&hook);
    tear_down();
}

struct counted_work {
    struct ria_loop_work work;
    int poster;
    int number;
};

enum { POSTERS = 4, POSTS = 5000 };
static int last_number[POSTERS];
static int received;
static bool all_received;

static void on_counted(struct ria_loop_work *work)
{
    struct counted_work *counted = RIA_CONTAINER(work, struct counted_work, work);

    CU_ASSERT_EQUAL(counted->number, last_number[counted->poster] + 1);
    last_number[counted->poster] = counted->number;
    all_received = ++received == POSTERS * POSTS;
    free(counted);
}

static void *post_many(void *arg)
{
    int poster = *(int *)arg;

    for (int i = 1; i <= POSTS; i++) {
        struct counted_work *counted = malloc(sizeof(*counted));
        *counted = (struct counted_work){.work.fn = on_counted, .poster = poster, .number = i};
        ria_loop_post(loop, &counted->work);
    }
    return NULL;
}

static void posts_of_threads_arrive_in_their_order(void)
{
    pthread_t threads[POSTERS];
    int numbers[POSTERS];

    set_up();
    received = 0;
    all_received = false;
    for (int i = 0; i < POSTERS; i++) {
        numbers[i] = i;
        last_number[i] = 0;
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, post_many, &numbers[i]), 0);
    }
    ria_loop_run_until(loop, &all_received, 30000);
    for (int i = 0; i < POSTERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    CU_ASSERT_EQUAL(received, POSTERS * POSTS);
    tear_down();
}

static void unposted_work_does_not_run(void)
{
    struct ria_loop_work first = {.fn = on_work};
    struct ria_loop_work second = {.fn = on_work};
    struct ria_loop_work third = {.fn = on_work};
    bool never = false;

    set_up();
    ria_loop_post(loop, &first);
    ria_loop_post(loop, &second);
    ria_loop_unpost(loop, &second);
    ria_loop_unpost(loop, &second);
    ria_loop_post(loop, &third);
    ria_loop_run_until(loop, &never, 20);
    CU_ASSERT_STRING_EQUAL(seen, "ww");
    tear_down();
}

static void on_file_unwatch_both(void *arg, uint32_t events)
{
    (void)arg;
    (void)events;
    note('u');
    ria_loop_unwatch(loop, pipes[0][0]);
    ria_loop_unwatch(loop, pipes[1][0]);
}

static void unwatched_file_is_not_called_in_the_same_turn(void)
{
    bool never = false;

    set_up();
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            ria_loop_watch(loop, pipes[i][0], EPOLLIN, on_file_unwatch_both, NULL), RIA_OK
        );
        fill(i);
    }
    ria_loop_run_until(loop, &never, 20);
    CU_ASSERT_STRING_EQUAL(seen, "u");
    ria_loop_unwatch(loop, pipes[0][0]);
    CU_ASSERT_EQUAL(ria_loop_watch(loop, pipes[0][0], EPOLLIN, on_file, NULL), RIA_OK);
    ria_loop_run_until(loop, &never, 20);
    CU_ASSERT_STRING_EQUAL(seen, "uf");
    tear_down();
}

static void watch_of_a_bad_descriptor_fails(void)
{
    set_up();
    CU_ASSERT_EQUAL(ria_loop_watch(loop, 1000, EPOLLIN, on_file, NULL), RIA_ERR_IO);
    tear_down();
}

static void on_hook(void *arg)
{
    (void)arg;
    note('h');
}

static struct ria_loop_hook hooks[3];

static void on_hook_remove_others(void *arg)
{
    (void)arg;
    note('r');
    ria_loop_remove_hook(&hooks[0]);
    ria_loop_remove_hook(&hooks[2]);
}

static void hook_may_remove_hooks(void)
{
    struct ria_loop_work work = {.fn = on_work};
    bool never = false;

    set_up();
    for (int i = 0; i < 3; i++) {
        hooks[i] = (struct ria_loop_hook){.fn = i == 1 ? on_hook_remove_others : on_hook};
        ria_loop_add_hook(loop, &hooks[i]);
    }
    ria_loop_post(loop, &work);
    ria_loop_run_until(loop, &never, 20);
    CU_ASSERT_STRING_EQUAL(seen, "whrr"); /* the work's turn, and the one that ends the wait */
    ria_loop_remove_hook(&hooks[1]);
    tear_down();
}

static void timers_fire_with_microseconds(void)
{
    struct ria_timer timer;
    bool never = false;

    set_up();
    ria_timer_init(&timer, on_timer, NULL);
    ria_timer_start(ria_loop_timers(loop), &timer, 300);
    int64_t start_us = ria_clock_mono_us(ria_loop_clock(loop));
    ria_loop_run_until(loop, &never, 1);
    CU_ASSERT_STRING_EQUAL(seen, "t");
    CU_ASSERT_TRUE(ria_clock_mono_us(ria_loop_clock(loop)) - start_us >= 1000);
    tear_down();
}

static void *raise_term(void *arg)
{
    (void)arg;
    (void)usleep(10000);
    (void)kill(getpid(), SIGTERM);
    return NULL;
}

static void signal_stops_the_loop(void)
{
    pthread_t thread;
    sigset_t set;

    set_up();
    CU_ASSERT_EQUAL(ria_loop_catch_signals(loop), RIA_OK);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, raise_term, NULL), 0);
    ria_loop_run(loop);
    (void)pthread_join(thread, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    tear_down();
}

static void stop_before_run_is_not_lost(void)
{
    set_up();
    ria_loop_stop(loop);
    ria_loop_run(loop);
    tear_down();
}

static int64_t cpu_us(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void idle_loop_sleeps(void)
{
    struct ria_loop_work work = {.fn = on_work};
    bool never = false;

    set_up();
    ria_loop_post(loop, &work);
    int64_t start_us = cpu_us();
    ria_loop_run_until(loop, &never, 300);
    CU_ASSERT_TRUE(cpu_us() - start_us < 30000);
    CU_ASSERT_STRING_EQUAL(seen, "w");
    tear_down();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(turn_runs_work_files_timers_hooks),
    HARNESS_TEST(posts_of_threads_arrive_in_their_order),
    HARNESS_TEST(unposted_work_does_not_run),
    HARNESS_TEST(unwatched_file_is_not_called_in_the_same_turn),
    HARNESS_TEST(watch_of_a_bad_descriptor_fails),
    HARNESS_TEST(hook_may_remove_hooks),
    HARNESS_TEST(timers_fire_with_microseconds),
    HARNESS_TEST(signal_stops_the_loop),
    HARNESS_TEST(stop_before_run_is_not_lost),
    HARNESS_TEST(idle_loop_sleeps),
};
HARNESS_MAIN(tests);
