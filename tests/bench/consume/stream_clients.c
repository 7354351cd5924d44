/* stream_clients: many clients of one topic's live stream, and one who writes to it.
 *
 *     stream_clients PORT TOPIC CLIENTS SECONDS RATE [PATH]
 *
 * Opens CLIENTS connections to 127.0.0.1:PORT and a server-sent stream of the topic on each (PATH,
 * if given, instead), prints "ready" when all have begun and waits for a line on its standard
 * input. Then it writes RATE records a second, each with the time in it, for so many SECONDS, and
 * prints one JSON object: records written and received, latencies from before the write to the
 * read. RATE 0: only sleeps.
 *
 * One thread, epoll: the clients shall cost little on a machine that they share with the servers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/base.h"
#include "common/clock.h"

enum {
    EVENTS_MAX = 256,
    CARRY_MAX = 40, /* of a time that is not whole yet */
    CHUNK = 64 * 1024,
    BURST_US = 10 * 1000,
    OPEN_AT_A_TIME = 200,
    READY_S = 120,
    BUCKETS = 200 * 1000, /* of 10 us */
    BUCKET_US = 10,
    AFTER_US = 3 * 1000 * 1000, /* for what is still under way */
};

struct client {
    int fd;
    bool has_begun;
    size_t carried;
    char carry[CARRY_MAX];
};

struct bench {
    int epoll_fd;
    struct sockaddr_in address;
    struct client *clients;
    size_t count;
    size_t begun;
    size_t lost;
    uint64_t received;
    uint32_t *buckets;
    int producer;
    uint64_t written;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static int dial(const struct bench *bench)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    RIA_ASSERT(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&bench->address, sizeof(bench->address)) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        RIA_ASSERT(n > 0);
        data += n;
        size -= (size_t)n;
    }
}

static void open_client(struct bench *bench, struct client *client, const char *path)
{
    char head[512];
    int size = snprintf(
        head,
        sizeof(head),
        "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
        path
    );
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};

    client->fd = dial(bench);
    send_all(client->fd, head, (size_t)size);
    RIA_ASSERT(epoll_ctl(bench->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) == 0);
}

static void count(struct bench *bench, int64_t sent_us, int64_t read_us)
{
    int64_t bucket = (read_us - sent_us) / BUCKET_US;

    bench->buckets[ria_min_i64(ria_max_i64(bucket, 0), BUCKETS - 1)]++;
    bench->received++;
}

/* Finds {"ts":123} in what came; text is ended by a NUL. */
static void
scan(struct bench *bench, struct client *client, char *text, size_t size, int64_t read_us)
{
    static const char mark[] = "{\"ts\":";
    char *at = text;
    char *end = text + size;

    while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        char *digits = at + sizeof(mark) - 1;
        char *behind = digits;
        int64_t sent_us = strtoll(digits, &behind, 10);
        if (behind == end) {
            break; /* it may go on */
        }
        count(bench, sent_us, read_us);
        at = behind;
    }
    const char *from = at != NULL ? at : end - ria_min_size(size, sizeof(mark) - 2);
    client->carried = ria_min_size((size_t)(end - from), CARRY_MAX);
    memcpy(client->carry, end - client->carried, client->carried);
}

static void readable(struct bench *bench, struct client *client)
{
    static char text[CARRY_MAX + CHUNK + 1];

    memcpy(text, client->carry, client->carried);
    ssize_t n = recv(client->fd, text + client->carried, CHUNK, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            bench->lost++;
            (void)close(client->fd);
        }
        return;
    }
    size_t size = client->carried + (size_t)n;
    text[size] = '\0';
    if (!client->has_begun && strstr(text, "id: ") != NULL) {
        client->has_begun = true;
        bench->begun++;
    }
    scan(bench, client, text, size, now_us());
}

static void turn(struct bench *bench, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(bench->epoll_fd, events, EVENTS_MAX, timeout_ms);

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL) {
            char reply[4096];
            (void)recv(bench->producer, reply, sizeof(reply), MSG_DONTWAIT);
        } else {
            readable(bench, events[i].data.ptr);
        }
    }
}

static void write_records(struct bench *bench, const char *topic, uint64_t records)
{
    char head[512];
    char *body = malloc(records * 160 + 1);
    size_t size = 0;

    RIA_ASSERT(body != NULL);
    for (uint64_t i = 0; i < records; i++) {
        size += (size_t)snprintf(
            body + size,
            160,
            "{\"key\":\"k%d\",\"value\":{\"ts\":%" PRId64 ",\"text\":\"%050d\"}}\n",
            (int)(i % 16),
            now_us(),
            (int)i
        );
    }
    int head_size = snprintf(
        head,
        sizeof(head),
        "POST /v1/topics/%s/records HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n",
        topic,
        size
    );
    send_all(bench->producer, head, (size_t)head_size);
    send_all(bench->producer, body, size);
    bench->written += records;
    free(body);
}

static void produce(struct bench *bench, const char *topic, int64_t seconds, int64_t rate)
{
    int64_t begin_us = now_us();
    int64_t end_us = begin_us + seconds * 1000000;
    int64_t next_us = begin_us;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    bench->producer = dial(bench);
    RIA_ASSERT(epoll_ctl(bench->epoll_fd, EPOLL_CTL_ADD, bench->producer, &event) == 0);
    while (now_us() < end_us) {
        if (now_us() >= next_us) {
            uint64_t due = (uint64_t)((now_us() - begin_us) * rate / 1000000);
            if (due > bench->written) {
                write_records(bench, topic, due - bench->written);
            }
            next_us += BURST_US;
        }
        turn(bench, 1);
    }
    while (now_us() < end_us + AFTER_US && bench->received < bench->written * bench->count) {
        turn(bench, 10);
    }
}

static double quantile_ms(const struct bench *bench, double q)
{
    uint64_t rank = (uint64_t)((double)bench->received * q);
    uint64_t seen = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        seen += bench->buckets[i];
        if (seen > rank) {
            return (double)i * BUCKET_US / 1000;
        }
    }
    return (double)BUCKETS * BUCKET_US / 1000;
}

static void open_all(struct bench *bench, const char *path)
{
    int64_t deadline_us = now_us() + READY_S * INT64_C(1000000);

    for (size_t i = 0; i < bench->count; i++) {
        open_client(bench, &bench->clients[i], path);
        while (i + 1 - bench->begun > OPEN_AT_A_TIME && now_us() < deadline_us) {
            turn(bench, 10);
        }
    }
    while (bench->begun < bench->count && now_us() < deadline_us) {
        turn(bench, 10);
    }
    if (bench->begun < bench->count) {
        (void)fprintf(stderr, "only %zu of %zu began\n", bench->begun, bench->count);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    char path[300];
    char line[16];

    if (argc < 6) {
        (void)fprintf(stderr, "stream_clients PORT TOPIC CLIENTS SECONDS RATE [PATH]\n");
        return 2;
    }
    struct bench bench = {
        .address =
            {.sin_family = AF_INET,
             .sin_port = htons((uint16_t)atoi(argv[1])),
             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .count = (size_t)atol(argv[3]),
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
    };
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    bench.clients = calloc(bench.count, sizeof(*bench.clients));
    bench.buckets = calloc(BUCKETS, sizeof(*bench.buckets));
    RIA_ASSERT(bench.clients != NULL && bench.buckets != NULL);
    (void)snprintf(path, sizeof(path), "/v1/topics/%s/stream", argv[2]);
    open_all(&bench, argc > 6 ? argv[6] : path);
    (void)printf("ready\n");
    (void)fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return 1;
    }
    int64_t seconds = atol(argv[4]);
    if (atol(argv[5]) > 0) {
        produce(&bench, argv[2], seconds, atol(argv[5]));
    } else {
        int64_t end_us = now_us() + seconds * 1000000;
        while (now_us() < end_us) {
            turn(&bench, 100);
        }
    }
    (void)printf(
        "{\"clients\":%zu,\"lost\":%zu,\"written\":%" PRIu64 ",\"received\":%" PRIu64
        ",\"p50_ms\":%.2f,\"p90_ms\":%.2f,\"p99_ms\":%.2f,\"p999_ms\":%.2f}\n",
        bench.count,
        bench.lost,
        bench.written,
        bench.received,
        quantile_ms(&bench, 0.5),
        quantile_ms(&bench, 0.9),
        quantile_ms(&bench, 0.99),
        quantile_ms(&bench, 0.999)
    );
    return 0;
}
