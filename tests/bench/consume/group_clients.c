/* group_clients: consumers of groups and queues, as fast as the gateway serves them.
 *
 *     group_clients read  PORT TOPIC GROUP SECONDS CONSUMERS ACCEPT MAX_PARTITIONS MAX_BYTES
 *     group_clients poll  PORT TOPIC GROUP SECONDS PERIOD_MS
 *     group_clients churn PORT TOPIC GROUP SECONDS RATE GROUPS SESSION_MS
 *     group_clients queue PORT TOPIC GROUP SECONDS CONSUMERS BATCH
 *
 * read: each consumer follows its cursor (each call commits the last one); one that finds nothing
 * more goes on with the next group, GROUP-1, GROUP-2, ... poll: one consumer waits in a long poll,
 * one client writes a record with the time in it every PERIOD_MS; latency from before the write to
 * the answer, and of the write's own answer. churn: RATE new named members a second, spread over
 * GROUPS groups, one call each; every second one leaves, the others are not heard of again. queue:
 * each consumer receives BATCH records at most and acknowledges them with one call, until the time
 * is over or nothing comes; latency of the pair.
 *
 * Prints one JSON object. One thread, poll(): the clients shall cost little on a machine that they
 * share with the servers.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/bench/consume/bench_http.h"

enum {
    CLIENTS_MAX = 256,
    CHURN_CLIENTS = 16,
    CURSOR_MAX = 16 * 1024,
    PATH_MAX_SIZE = CURSOR_MAX + 1024,
    STALL_US = 30 * 1000 * 1000,
    TICK_US = 1000,
    WAIT_US = 1000 * 1000,
};

struct client {
    struct bench_http http;
    int number;
    bool busy;
    bool done;
    int round;               /* read: which group */
    int64_t member;          /* churn */
    uint64_t records;        /* queue: received and not acknowledged yet */
    int64_t began_us;        /* queue: of the pair */
    char cursor[CURSOR_MAX]; /* "": none */
};

struct bench {
    const struct mode *mode;
    const char *topic;
    const char *group;
    int64_t begin_us;
    int64_t end_us;
    struct client *clients;
    int count;
    /* options of the modes */
    const char *accept;
    int partitions_max;
    long bytes_max;
    int64_t period_us;
    int64_t rate;
    int groups;
    int session_ms;
    int batch;
    /* results */
    struct bench_times times;
    struct bench_times publishing; /* poll: from before the write to its answer */
    uint64_t calls;
    uint64_t bytes;
    uint64_t records;
    uint64_t started; /* records written, or members */
    uint64_t empty;
    uint64_t errors;
};

struct mode {
    const char *name;
    int arguments; /* behind SECONDS */
    void (*init)(struct bench *bench, char **argv);
    void (*begin)(struct bench *bench, struct client *client);
    void (*replied)(struct bench *bench, struct client *client);
    int64_t (*tick)(struct bench *bench); /* when it is to be called again, in us */
};

static void send_get(struct client *client, const char *path, const char *accept)
{
    client->busy = true;
    bench_http_send(&client->http, "GET", path, accept, NULL, NULL);
}

/* Counts what is not 2xx; shows the first. */
static bool is_fine(struct bench *bench, const struct client *client)
{
    int status = bench_http_status(&client->http);
    struct ria_slice body = bench_http_body(&client->http);

    bench->calls++;
    if (status >= 200 && status < 300) {
        return true;
    }
    if (bench->errors++ == 0) {
        (void)fprintf(stderr, "%d " RIA_SLICE_FMT "\n", status, RIA_SLICE_ARG(body));
    }
    return false;
}

/* ---- read ---- */

static void read_init(struct bench *bench, char **argv)
{
    bench->count = atoi(argv[0]);
    bench->accept = argv[1];
    bench->partitions_max = atoi(argv[2]);
    bench->bytes_max = atol(argv[3]);
}

static void read_ask(struct bench *bench, struct client *client)
{
    char path[PATH_MAX_SIZE];

    (void)snprintf(
        path,
        sizeof(path),
        "/v1/groups/%s-%d/records?topics=%s&max_partitions=%d&max_bytes=%ld&wait_ms=20%s%s",
        bench->group,
        client->round,
        bench->topic,
        bench->partitions_max,
        bench->bytes_max,
        client->cursor[0] == '\0' ? "" : "&after=",
        client->cursor
    );
    send_get(client, path, bench->accept);
}

static void read_replied(struct bench *bench, struct client *client)
{
    static const char nothing[] = "{\"records\":[]";
    struct ria_slice body = bench_http_body(&client->http);

    client->cursor[0] = '\0';
    if (is_fine(bench, client)) {
        bool is_empty = body.size == 0 || (body.size >= sizeof(nothing) - 1 &&
                                           memcmp(body.data, nothing, sizeof(nothing) - 1) == 0);
        if (is_empty) {
            bench->empty++;
            client->round++;
        } else {
            (void)bench_http_header(
                &client->http, "Riacho-Cursor", client->cursor, sizeof(client->cursor)
            );
            bench->bytes += body.size;
            bench_times_add(&bench->times, bench_now_us() - client->http.asked_us);
        }
    }
    read_ask(bench, client);
}

/* ---- poll ---- */

static void poll_init(struct bench *bench, char **argv)
{
    bench->count = 2;
    bench->period_us = atol(argv[0]) * 1000;
}

static void poll_ask(struct bench *bench, struct client *client)
{
    char path[PATH_MAX_SIZE];

    (void)snprintf(
        path,
        sizeof(path),
        "/v1/groups/%s/records?topics=%s&wait_ms=30000&from=latest%s%s",
        bench->group,
        bench->topic,
        client->cursor[0] == '\0' ? "" : "&after=",
        client->cursor
    );
    send_get(client, path, NULL);
}

static void poll_begin(struct bench *bench, struct client *client)
{
    if (client->number == 0) {
        poll_ask(bench, client);
    }
}

/* Each {"ts":123} of the answer. */
static void poll_count(struct bench *bench, struct ria_slice body)
{
    static const char mark[] = "{\"ts\":";
    int64_t now_us = bench_now_us();
    const uint8_t *at = body.data;
    const uint8_t *end = body.data + body.size;

    while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        at += sizeof(mark) - 1;
        bench_times_add(&bench->times, now_us - strtoll((const char *)at, NULL, 10));
        bench->records++;
    }
}

static void poll_replied(struct bench *bench, struct client *client)
{
    bool fine = is_fine(bench, client);

    if (client->number == 0) {
        if (fine) {
            poll_count(bench, bench_http_body(&client->http));
            (void)bench_http_header(
                &client->http, "Riacho-Cursor", client->cursor, sizeof(client->cursor)
            );
        }
        poll_ask(bench, client);
    } else if (fine) {
        bench_times_add(&bench->publishing, bench_now_us() - client->http.asked_us);
    }
}

static int64_t poll_tick(struct bench *bench)
{
    struct client *writer = &bench->clients[1];
    int64_t now_us = bench_now_us();
    int64_t due_us = bench->begin_us + ((int64_t)bench->started + 1) * bench->period_us;
    char path[512];
    char body[128];

    if (writer->busy) {
        return now_us + bench->period_us; /* or when its answer comes */
    }
    if (now_us < due_us) {
        return due_us;
    }
    (void)snprintf(path, sizeof(path), "/v1/topics/%s/records", bench->topic);
    (void)snprintf(body, sizeof(body), "{\"ts\":%" PRId64 ",\"text\":\"%060d\"}", now_us, 7);
    bench->started++;
    writer->busy = true;
    bench_http_send(&writer->http, "POST", path, NULL, "application/json", body);
    return due_us + bench->period_us;
}

/* ---- churn ---- */

static void churn_init(struct bench *bench, char **argv)
{
    bench->count = CHURN_CLIENTS;
    bench->rate = atol(argv[0]);
    bench->groups = atoi(argv[1]);
    bench->session_ms = atoi(argv[2]);
}

static void churn_begin(struct bench *bench, struct client *client)
{
    (void)bench;
    client->member = -1;
}

static void churn_replied(struct bench *bench, struct client *client)
{
    bool fine = is_fine(bench, client);
    int64_t member = client->member;
    char path[512];

    bench_times_add(&bench->times, bench_now_us() - client->http.asked_us);
    client->member = -1;
    if (fine && member >= 0 && member % 2 == 0) {
        (void)snprintf(
            path,
            sizeof(path),
            "/v1/groups/%s-%d/members/m%" PRId64,
            bench->group,
            (int)(member / 2 % bench->groups),
            member
        );
        client->busy = true;
        bench_http_send(&client->http, "DELETE", path, NULL, NULL, NULL);
    }
}

static int64_t churn_tick(struct bench *bench)
{
    int64_t due = (bench_now_us() - bench->begin_us) * bench->rate / 1000000;
    char path[512];

    for (int i = 0; i < bench->count && (int64_t)bench->started < due; i++) {
        struct client *client = &bench->clients[i];
        if (client->busy) {
            continue;
        }
        client->member = (int64_t)bench->started++;
        (void)snprintf(
            path,
            sizeof(path),
            "/v1/groups/%s-%d/records?topics=%s&member=m%" PRId64 "&session_ms=%d&lease_ms=1000",
            bench->group,
            (int)(client->member / 2 % bench->groups),
            bench->topic,
            client->member,
            bench->session_ms
        );
        send_get(client, path, NULL);
    }
    return bench_now_us() + TICK_US;
}

/* ---- queue ---- */

static void queue_init(struct bench *bench, char **argv)
{
    bench->count = atoi(argv[0]);
    bench->batch = atoi(argv[1]);
}

static void queue_ask(struct bench *bench, struct client *client)
{
    char path[512];
    char body[128];

    (void)snprintf(path, sizeof(path), "/v1/queues/%s/%s/receive", bench->topic, bench->group);
    (void)snprintf(body, sizeof(body), "{\"max_records\":%d,\"wait_ms\":500}", bench->batch);
    client->records = 0;
    client->busy = true;
    client->began_us = bench_now_us();
    bench_http_send(&client->http, "POST", path, NULL, "application/json", body);
}

static uint64_t count_of(struct ria_slice body, const char *mark)
{
    const uint8_t *at = body.data;
    const uint8_t *end = body.data + body.size;
    uint64_t count = 0;

    while ((at = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL) {
        at += strlen(mark);
        count++;
    }
    return count;
}

/* One lock of all that was received. */
static void queue_ack(struct bench *bench, struct client *client)
{
    static const char mark[] = "\"locks\":\"";
    struct ria_slice reply = bench_http_body(&client->http);
    const uint8_t *at = memmem(reply.data, reply.size, mark, sizeof(mark) - 1);
    const uint8_t *end = reply.data + reply.size;
    char path[512];
    char body[CURSOR_MAX];

    if (at == NULL) {
        bench->empty++;
        client->done = true;
        return;
    }
    at += sizeof(mark) - 1;
    const uint8_t *quote = memchr(at, '"', (size_t)(end - at));
    RIA_ASSERT(quote != NULL);
    client->records = count_of(reply, "\"deliveries\":");
    int size =
        snprintf(body, sizeof(body), "{\"lock\":\"%.*s\"}", (int)(quote - at), (const char *)at);
    RIA_ASSERT(size > 0 && (size_t)size < sizeof(body));
    (void)snprintf(path, sizeof(path), "/v1/queues/%s/%s/ack", bench->topic, bench->group);
    client->busy = true;
    bench_http_send(&client->http, "POST", path, NULL, "application/json", body);
}

static void queue_replied(struct bench *bench, struct client *client)
{
    if (!is_fine(bench, client)) {
        queue_ask(bench, client);
    } else if (client->records == 0) {
        queue_ack(bench, client);
    } else {
        bench->records += client->records;
        bench_times_add(&bench->times, bench_now_us() - client->began_us);
        queue_ask(bench, client);
    }
}

/* ---- all of them ---- */

static const struct mode modes[] = {
    {"read", 4, read_init, read_ask, read_replied, NULL},
    {"poll", 1, poll_init, poll_begin, poll_replied, poll_tick},
    {"churn", 3, churn_init, churn_begin, churn_replied, churn_tick},
    {"queue", 2, queue_init, queue_ask, queue_replied, NULL},
};

static bool all_done(const struct bench *bench)
{
    for (int i = 0; i < bench->count; i++) {
        if (!bench->clients[i].done) {
            return false;
        }
    }
    return true;
}

static void run(struct bench *bench)
{
    struct pollfd polled[CLIENTS_MAX];
    int64_t last_us = bench->begin_us;
    int64_t due_us = last_us;

    for (int i = 0; i < bench->count; i++) {
        polled[i] = (struct pollfd){.fd = bench->clients[i].http.fd, .events = POLLIN};
        bench->mode->begin(bench, &bench->clients[i]);
    }
    while (bench_now_us() < bench->end_us && !all_done(bench)) {
        int64_t left_us = ria_max_i64(due_us - bench_now_us(), 0);
        int ready = poll(polled, (nfds_t)bench->count, (int)((left_us + 999) / 1000));
        for (int i = 0; ready > 0 && i < bench->count; i++) {
            struct client *client = &bench->clients[i];
            if (polled[i].revents != 0 && bench_http_receive(&client->http)) {
                client->busy = false;
                last_us = bench_now_us();
                bench->mode->replied(bench, client);
            }
        }
        due_us = bench->mode->tick == NULL ? bench_now_us() + WAIT_US : bench->mode->tick(bench);
        if (bench_now_us() - last_us > STALL_US) {
            bench_die("no answer for 30 s");
        }
    }
}

static void print(struct bench *bench, int64_t elapsed_us)
{
    (void)printf(
        "{\"seconds\":%.3f,\"calls\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"records\":%" PRIu64
        ",\"started\":%" PRIu64 ",\"empty\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"timed\":%zu"
        ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f"
        ",\"publishing_p50_ms\":%.3f,\"publishing_p99_ms\":%.3f}\n",
        (double)elapsed_us / 1e6,
        bench->calls,
        bench->bytes,
        bench->records,
        bench->started,
        bench->empty,
        bench->errors,
        bench->times.count,
        bench_times_ms(&bench->times, 500),
        bench_times_ms(&bench->times, 990),
        bench_times_ms(&bench->times, 999),
        bench_times_ms(&bench->publishing, 500),
        bench_times_ms(&bench->publishing, 990)
    );
}

static const struct mode *find_mode(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].name, argv[1]) == 0 && argc == 6 + modes[i].arguments) {
            return &modes[i];
        }
    }
    bench_die("wants MODE PORT TOPIC GROUP SECONDS and the options of the mode");
}

int main(int argc, char **argv)
{
    struct bench bench = {.mode = find_mode(argc, argv)};

    bench.topic = argv[3];
    bench.group = argv[4];
    bench.mode->init(&bench, argv + 6);
    if (bench.count < 1 || bench.count > CLIENTS_MAX) {
        bench_die("1 to %d clients", CLIENTS_MAX);
    }
    bench.clients = calloc((size_t)bench.count, sizeof(*bench.clients));
    RIA_ASSERT(bench.clients != NULL);
    for (int i = 0; i < bench.count; i++) {
        bench.clients[i].number = i;
        bench_http_open(&bench.clients[i].http, atoi(argv[2]));
    }
    bench.begin_us = bench_now_us();
    bench.end_us = bench.begin_us + (int64_t)(atof(argv[5]) * 1e6);
    run(&bench);
    print(&bench, bench_now_us() - bench.begin_us);
    return 0;
}
