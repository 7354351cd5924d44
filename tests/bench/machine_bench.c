/* machine_bench: what this machine can do at best, so that figures from two machines can be
 * related.
 *
 *     machine_bench FOLDER [milliseconds per step, default 1000]
 *
 * Prints one JSON object: fdatasync after a 1000-byte append (one file, and three files at once: a
 * leader and two followers on one disk), large synced writes, a ping-pong of 100 bytes over
 * loopback TCP between two threads, the speed of memcpy and of our CRC-32C on one core.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/crc.h"

enum {
    SAMPLES_MAX = 1 << 20,
    APPEND_SIZE = 1000,
    LARGE_SIZE = 8 * 1024 * 1024,
    PING_SIZE = 100,
    COPY_SIZE = 64 * 1024 * 1024, /* far beyond the caches */
    WRITERS_MAX = 3,
};

struct samples {
    int64_t *us;
    size_t count;
};

struct writer {
    char path[4096];
    int64_t run_us;
    size_t write_size;
    struct samples samples;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static void *allocate(size_t size)
{
    void *memory = malloc(size);

    RIA_ASSERT(memory != NULL);
    memset(memory, 'x', size);
    return memory;
}

static void samples_init(struct samples *samples)
{
    samples->us = allocate(SAMPLES_MAX * sizeof(*samples->us));
    samples->count = 0;
}

static void samples_add(struct samples *samples, int64_t us)
{
    if (samples->count < SAMPLES_MAX) {
        samples->us[samples->count++] = us;
    }
}

static int compare_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* "name":{"p50_us":1,"p99_us":2,"per_s":3} */
static void samples_print(const char *name, struct samples *samples, int64_t elapsed_us)
{
    RIA_ASSERT(samples->count > 0);
    qsort(samples->us, samples->count, sizeof(*samples->us), compare_i64);
    (void)printf(
        "\"%s\":{\"p50_us\":%lld,\"p99_us\":%lld,\"per_s\":%.0f}",
        name,
        (long long)samples->us[samples->count / 2],
        (long long)samples->us[samples->count * 99 / 100],
        (double)samples->count * 1e6 / (double)elapsed_us
    );
}

static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    uint8_t *data = allocate(writer->write_size);
    int fd = open(writer->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0) {
        perror(writer->path);
        exit(1);
    }
    int64_t end_us = now_us() + writer->run_us;
    for (int64_t now = now_us(); now < end_us;) {
        int64_t start = now;
        ssize_t n = write(fd, data, writer->write_size);
        RIA_ASSERT(n == (ssize_t)writer->write_size);
        int failed = fdatasync(fd);
        RIA_ASSERT(failed == 0);
        now = now_us();
        samples_add(&writer->samples, now - start);
    }
    (void)close(fd);
    (void)unlink(writer->path);
    free(data);
    return NULL;
}

/* write_count files at once; the samples of all go into *out_samples. Returns the time it took. */
static int64_t run_writers(
    const char *folder,
    size_t writer_count,
    size_t write_size,
    int64_t run_us,
    struct samples *out_samples
)
{
    static struct writer writers[WRITERS_MAX];
    pthread_t threads[WRITERS_MAX];
    int64_t start = now_us();

    RIA_ASSERT(writer_count <= WRITERS_MAX);
    for (size_t i = 0; i < writer_count; i++) {
        (void)snprintf(writers[i].path, sizeof(writers[i].path), "%s/sync-%zu", folder, i);
        writers[i].run_us = run_us;
        writers[i].write_size = write_size;
        samples_init(&writers[i].samples);
        int failed = pthread_create(&threads[i], NULL, run_writer, &writers[i]);
        RIA_ASSERT(failed == 0);
    }
    for (size_t i = 0; i < writer_count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    int64_t elapsed = now_us() - start;
    out_samples->count = 0;
    for (size_t i = 0; i < writer_count; i++) {
        for (size_t n = 0; n < writers[i].samples.count; n++) {
            samples_add(out_samples, writers[i].samples.us[n]);
        }
        free(writers[i].samples.us);
    }
    return elapsed;
}

static void transfer(int fd, uint8_t *data, bool sending)
{
    for (size_t done = 0; done < PING_SIZE;) {
        ssize_t n = sending ? send(fd, data + done, PING_SIZE - done, MSG_NOSIGNAL)
                            : recv(fd, data + done, PING_SIZE - done, 0);
        if (n <= 0) {
            pthread_exit(NULL); /* the pinging side has ended */
        }
        done += (size_t)n;
    }
}

/* Two threads on one core answer each other ten times sooner than on two, and the scheduler
 * chooses anew each time: say where. Without a second core nothing changes. */
static void stay_on_core(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *run_pong(void *arg)
{
    int fd = *(int *)arg;
    uint8_t data[PING_SIZE];

    stay_on_core(1);
    for (;;) {
        transfer(fd, data, false);
        transfer(fd, data, true);
    }
    return NULL;
}

static int64_t run_ping_pong(int64_t run_us, struct samples *samples)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_size = sizeof(address);
    int on = 1;
    uint8_t data[PING_SIZE] = {0};
    pthread_t thread;

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(listener, (struct sockaddr *)&address, sizeof(address));
    RIA_ASSERT(failed == 0);
    failed = listen(listener, 1);
    RIA_ASSERT(failed == 0);
    (void)getsockname(listener, (struct sockaddr *)&address, &address_size);
    int ping = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    failed = connect(ping, (struct sockaddr *)&address, sizeof(address));
    RIA_ASSERT(failed == 0);
    int pong = accept(listener, NULL, NULL);
    RIA_ASSERT(pong >= 0);
    (void)setsockopt(ping, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(pong, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    failed = pthread_create(&thread, NULL, run_pong, &pong);
    RIA_ASSERT(failed == 0);

    cpu_set_t everywhere;
    (void)pthread_getaffinity_np(pthread_self(), sizeof(everywhere), &everywhere);
    stay_on_core(0);
    samples->count = 0;
    int64_t began = now_us();
    for (int64_t now = began; now < began + run_us;) {
        int64_t start = now;
        transfer(ping, data, true);
        transfer(ping, data, false);
        now = now_us();
        samples_add(samples, now - start);
    }
    int64_t elapsed = now_us() - began;
    (void)pthread_setaffinity_np(pthread_self(), sizeof(everywhere), &everywhere);
    (void)shutdown(ping, SHUT_RDWR);
    (void)pthread_join(thread, NULL);
    (void)close(ping);
    (void)close(pong);
    (void)close(listener);
    return elapsed;
}

/* Somebody might look at it, so the compiler computes it. */
static volatile uint32_t computed;

static void run_memory(int64_t run_us)
{
    uint8_t *from = allocate(COPY_SIZE);
    uint8_t *to = allocate(COPY_SIZE);
    double copied = 0;
    double summed = 0;
    uint32_t crc = 0;

    int64_t start = now_us();
    while (now_us() < start + run_us) {
        from[0]++; /* or the compiler may drop a copy */
        memcpy(to, from, COPY_SIZE);
        copied += COPY_SIZE;
    }
    int64_t copy_us = now_us() - start;
    start = now_us();
    while (now_us() < start + run_us) {
        crc = ria_crc32c_extend(crc, to, COPY_SIZE);
        summed += COPY_SIZE;
    }
    int64_t crc_us = now_us() - start;
    (void)printf(
        "\"memcpy_mb_s\":%.0f,\"crc32c_mb_s\":%.0f",
        copied / (double)copy_us,
        summed / (double)crc_us
    );
    computed = crc;
    free(from);
    free(to);
}

int main(int argc, char **argv)
{
    int64_t run_us = (argc > 2 ? atoi(argv[2]) : 1000) * (int64_t)1000;
    struct samples samples;

    if (argc < 2 || run_us <= 0) {
        (void)fprintf(stderr, "usage: machine_bench FOLDER [milliseconds per step]\n");
        return 2;
    }
    samples_init(&samples);
    (void)printf("{");
    int64_t elapsed = run_writers(argv[1], 1, APPEND_SIZE, run_us, &samples);
    samples_print("fdatasync", &samples, elapsed);
    (void)printf(",");
    elapsed = run_writers(argv[1], 3, APPEND_SIZE, run_us, &samples);
    samples_print("fdatasync_3_files", &samples, elapsed);
    (void)printf(",");
    elapsed = run_writers(argv[1], 1, LARGE_SIZE, run_us, &samples);
    (void
    )printf("\"synced_write_mb_s\":%.0f,", (double)samples.count * LARGE_SIZE / (double)elapsed);
    elapsed = run_ping_pong(run_us, &samples);
    samples_print("tcp_ping_pong", &samples, elapsed);
    (void)printf(",");
    run_memory(run_us);
    (void)printf("}\n");
    free(samples.us);
    return 0;
}
