/* net_bench: round trip and throughput of the rpc interface between two processes on loopback.
 *
 *     net_bench [seconds per step, default 2]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/metrics.h"
#include "common/msg.h"
#include "common/net.h"

enum { CALL_TIMEOUT_MS = 10000 };

struct bench {
    struct ria_loop *loop;
    struct ria_net *net;
    char address[64];
    size_t size;
    int64_t end_us;
    unsigned under_way;
    uint64_t calls;
    uint64_t failures;
    struct ria_histogram latency;
    bool done;
};

struct one {
    struct bench *bench;
    int64_t start_us;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static void echo(void *arg, struct ria_rpc_request *request)
{
    struct ria_rpc *rpc = arg;
    struct ria_msg *reply = ria_msg_new(sizeof(uint32_t));

    RIA_ASSERT(reply != NULL);
    memset(ria_msg_data(reply), 0, sizeof(uint32_t));
    ria_rpc_reply(rpc, request, reply);
}

/* The server: tells its port on fd, then runs until SIGTERM. */
static int run_server(int fd)
{
    struct ria_loop *loop;
    struct ria_net *net;

    ria_err err = ria_loop_new(&loop);
    RIA_ASSERT(err == RIA_OK);
    err = ria_loop_catch_signals(loop);
    RIA_ASSERT(err == RIA_OK);
    err = ria_net_new(loop, "tcp://127.0.0.1:0", &net);
    RIA_ASSERT(err == RIA_OK);
    ria_rpc_set_handler(ria_net_rpc(net), echo, ria_net_rpc(net));
    uint16_t port = ria_net_port(net);
    ssize_t n = write(fd, &port, sizeof(port));
    RIA_ASSERT(n == (ssize_t)sizeof(port));
    ria_loop_run(loop);
    ria_net_free(net);
    ria_loop_free(loop);
    return 0;
}

static void start_one(struct one *one);

static void on_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct one *one = arg;
    struct bench *bench = one->bench;
    int64_t now = now_us();

    bench->calls++;
    bench->failures += err != RIA_OK;
    ria_histogram_record(&bench->latency, now - one->start_us);
    ria_msg_free(reply);
    if (now < bench->end_us) {
        start_one(one);
    } else {
        bench->done = --bench->under_way == 0;
    }
}

static void start_one(struct one *one)
{
    struct bench *bench = one->bench;
    struct ria_msg *msg = ria_msg_new(bench->size);

    RIA_ASSERT(msg != NULL);
    memset(ria_msg_data(msg), 'x', bench->size);
    one->start_us = now_us();
    ria_rpc_call(ria_net_rpc(bench->net), bench->address, msg, CALL_TIMEOUT_MS, on_done, one);
}

static void run_step(struct bench *bench, unsigned depth, size_t size, int64_t run_us)
{
    struct one *ones = calloc(depth, sizeof(*ones));

    RIA_ASSERT(ones != NULL);
    bench->size = size;
    bench->calls = 0;
    bench->failures = 0;
    bench->latency = (struct ria_histogram){.count = 0};
    bench->done = false;
    bench->under_way = depth;
    int64_t start_us = now_us();
    bench->end_us = start_us + run_us;
    for (unsigned i = 0; i < depth; i++) {
        ones[i].bench = bench;
        start_one(&ones[i]);
    }
    ria_loop_run_until(bench->loop, &bench->done, run_us / 1000 + 2 * CALL_TIMEOUT_MS);
    double seconds = (double)(now_us() - start_us) / 1e6;
    (void)printf(
        "depth %4u  size %8zu  %9.0f calls/s  %8.1f MB/s  p50 %6lld us  p99 %6lld us  failed "
        "%llu\n",
        depth,
        size,
        (double)bench->calls / seconds,
        (double)bench->calls * (double)size / seconds / 1e6,
        (long long)ria_histogram_quantile(&bench->latency, 0.5),
        (long long)ria_histogram_quantile(&bench->latency, 0.99),
        (unsigned long long)bench->failures
    );
    free(ones);
}

static void run_client(uint16_t port, int64_t run_us)
{
    static const struct {
        unsigned depth;
        size_t size;
    } steps[] = {
        {1, 1024},
        {8, 1024},
        {60, 1024},
        {600, 1024},
        {16, 64 * 1024},
        {8, 1024 * 1024},
        {4, 8 << 20}};
    struct bench bench = {.done = false};
    struct rusage usage;

    ria_err err = ria_loop_new(&bench.loop);
    RIA_ASSERT(err == RIA_OK);
    err = ria_net_new(bench.loop, NULL, &bench.net);
    RIA_ASSERT(err == RIA_OK);
    (void)snprintf(bench.address, sizeof(bench.address), "tcp://127.0.0.1:%u", (unsigned)port);
    for (size_t i = 0; i < RIA_COUNT(steps); i++) {
        run_step(&bench, steps[i].depth, steps[i].size, run_us);
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)printf("client: %ld KiB at most\n", usage.ru_maxrss);
    ria_net_free(bench.net);
    ria_loop_free(bench.loop);
}

int main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? atoi(argv[1]) : 2;
    int fds[2];
    uint16_t port;

    int failed = pipe(fds);
    RIA_ASSERT(failed == 0);
    pid_t pid = fork(); /* before nng has threads */
    RIA_ASSERT(pid >= 0);
    if (pid == 0) {
        return run_server(fds[1]);
    }
    ssize_t n = read(fds[0], &port, sizeof(port));
    RIA_ASSERT(n == (ssize_t)sizeof(port));
    run_client(port, seconds * 1000000);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    return 0;
}
