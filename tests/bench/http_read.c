/* http_read: reads a topic through the gateway with several connections, as fast as it gives.
 *
 *     http_read HOST PORT TOPIC PARTITIONS CONNECTIONS SECONDS ACCEPT MAX_BYTES
 *
 * Each connection reads one partition after the other's turn (connection i has partition
 * i % PARTITIONS) from offset 0, page by page, and begins again at the end, until the time is over.
 * ACCEPT is application/vnd.riacho.batch (raw record batches; the headers of the batches are walked
 * and give the next offset) or application/json (the next offset is the page's own). Prints one
 * JSON object: bytes of bodies, pages, errors, latency of a page.
 *
 * One thread, poll(): the client shall cost little on a machine that it shares with the servers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/slice.h"

#include "schemas/batch.h"

enum {
    CONNECTIONS_MAX = 256,
    HEAD_MAX = 16 * 1024,
    BODY_MAX = 64 * 1024 * 1024,
    PAGES_MAX = 1 << 22, /* of which the latency is remembered */
    STALL_MS = 30000,
};

struct connection {
    int fd;
    int partition;
    int64_t next_offset;
    int64_t asked_us;
    uint8_t *data; /* head and body of one reply */
    size_t used;
    size_t capacity;
    size_t head_size; /* 0: not whole yet */
    size_t body_size;
};

struct reader {
    struct sockaddr_in address;
    const char *host;
    const char *topic;
    const char *accept;
    long max_bytes;
    bool is_raw;
    struct connection connections[CONNECTIONS_MAX];
    int64_t *page_us;
    size_t page_count;
    uint64_t bytes;
    uint64_t empty_pages; /* the ends of partitions */
    uint64_t errors;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static void die(const char *why)
{
    (void)fprintf(stderr, "http_read: %s\n", why);
    exit(1);
}

/* ---- one page ---- */

static void ask(struct reader *reader, struct connection *connection)
{
    char head[1024];
    int size = snprintf(
        head,
        sizeof(head),
        "GET /v1/topics/%s/partitions/%d/records?offset=%" PRId64 "&max_bytes=%ld HTTP/1.1\r\n"
        "Host: %s\r\nAccept: %s\r\n\r\n",
        reader->topic,
        connection->partition,
        connection->next_offset,
        reader->max_bytes,
        reader->host,
        reader->accept
    );

    RIA_ASSERT(size > 0 && (size_t)size < sizeof(head));
    connection->used = 0;
    connection->head_size = 0;
    connection->asked_us = now_us();
    /* A few hundred bytes always fit into an idle connection's buffer. */
    if (send(connection->fd, head, (size_t)size, MSG_NOSIGNAL) != size) {
        die("the gateway closed a connection");
    }
}

static void open_connection(struct reader *reader, struct connection *connection)
{
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 ||
        connect(connection->fd, (struct sockaddr *)&reader->address, sizeof(reader->address)) !=
            0) {
        die("cannot connect to the gateway");
    }
    connection->capacity = HEAD_MAX;
    connection->data = malloc(connection->capacity);
    RIA_ASSERT(connection->data != NULL);
}

/* The number behind `name:` at the start of a line of the head; -1 if it is not there. */
static long long header_number(const struct connection *connection, const char *name)
{
    const char *at = (const char *)connection->data;
    const char *end = at + connection->head_size;
    size_t name_size = strlen(name);

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) {
            break;
        }
        if ((size_t)(line_end - at) > name_size && strncasecmp(at, name, name_size) == 0 &&
            at[name_size] == ':') {
            return strtoll(at + name_size + 1, NULL, 10);
        }
        at = line_end + 1;
    }
    return -1;
}

/* The head is whole when its blank line is here. */
static void read_head(struct connection *connection)
{
    const uint8_t *blank = memmem(connection->data, connection->used, "\r\n\r\n", 4);

    if (blank == NULL) {
        if (connection->used == HEAD_MAX) {
            die("a reply's head is too large");
        }
        return;
    }
    connection->head_size = (size_t)(blank - connection->data) + 4;
    long long body_size = header_number(connection, "Content-Length");
    if (body_size < 0 || body_size > BODY_MAX) {
        die("a reply has no usable Content-Length");
    }
    connection->body_size = (size_t)body_size;
    size_t wanted = connection->head_size + connection->body_size;
    if (wanted > connection->capacity) {
        connection->data = realloc(connection->data, wanted);
        RIA_ASSERT(connection->data != NULL);
        connection->capacity = wanted;
    }
}

/* ---- the next offset ---- */

static int64_t raw_next_offset(struct reader *reader, struct ria_slice rest, int64_t next)
{
    while (rest.size > 0) {
        struct batch_header header;
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            reader->errors++;
            break;
        }
        next = batch_last_offset(&header) + 1;
        rest.data += batch_size(&header);
        rest.size -= batch_size(&header);
    }
    return next;
}

static int64_t json_next_offset(struct reader *reader, struct ria_slice body, int64_t next)
{
    static const char name[] = "\"next_offset\":";
    /* It stands before or behind the records, not among them. */
    size_t edge = body.size < 512 ? body.size : 512;
    const uint8_t *at = memmem(body.data, edge, name, sizeof(name) - 1);

    if (at == NULL) {
        at = memmem(body.data + body.size - edge, edge, name, sizeof(name) - 1);
    }
    if (at == NULL) {
        reader->errors++;
        return next;
    }
    return strtoll((const char *)at + sizeof(name) - 1, NULL, 10);
}

static void finish_page(struct reader *reader, struct connection *connection)
{
    const uint8_t *body_data = connection->data + connection->head_size;
    struct ria_slice body = {.data = body_data, .size = connection->body_size};
    int64_t next = connection->next_offset;

    if (strncmp((const char *)connection->data, "HTTP/1.1 200", 12) != 0) {
        if (reader->errors++ == 0) {
            (void)fprintf(stderr, "%.*s\n", (int)connection->used, (char *)connection->data);
        }
    } else if (reader->is_raw) {
        next = raw_next_offset(reader, body, next);
    } else {
        next = json_next_offset(reader, body, next);
    }
    if (next > connection->next_offset) {
        reader->bytes += body.size;
        if (reader->page_count < PAGES_MAX) {
            reader->page_us[reader->page_count++] = now_us() - connection->asked_us;
        }
        connection->next_offset = next;
    } else {
        reader->empty_pages++;
        connection->next_offset = 0;
    }
}

/* Returns true when the page is whole. */
static bool receive(struct connection *connection)
{
    size_t whole = connection->head_size + connection->body_size;
    size_t room = connection->head_size == 0 ? HEAD_MAX : whole;
    ssize_t n = recv(
        connection->fd, connection->data + connection->used, room - connection->used, MSG_DONTWAIT
    );

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        die("the gateway closed a connection");
    }
    if (n < 0) {
        return false;
    }
    connection->used += (size_t)n;
    if (connection->head_size == 0) {
        read_head(connection);
    }
    return connection->head_size > 0 &&
           connection->used == connection->head_size + connection->body_size;
}

static void run(struct reader *reader, int connection_count, int64_t end_us)
{
    struct pollfd polled[CONNECTIONS_MAX];

    for (int i = 0; i < connection_count; i++) {
        polled[i] = (struct pollfd){.fd = reader->connections[i].fd, .events = POLLIN};
        ask(reader, &reader->connections[i]);
    }
    while (now_us() < end_us) {
        int ready = poll(polled, (nfds_t)connection_count, STALL_MS);
        if (ready <= 0) {
            die("no data for 30 s");
        }
        for (int i = 0; i < connection_count; i++) {
            struct connection *connection = &reader->connections[i];
            if (polled[i].revents != 0 && receive(connection)) {
                finish_page(reader, connection);
                ask(reader, connection);
            }
        }
    }
}

/* ---- result ---- */

static int compare_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static double quantile_ms(const struct reader *reader, size_t per_mille)
{
    return reader->page_count == 0
               ? 0
               : (double)reader->page_us[reader->page_count * per_mille / 1000] / 1000;
}

static void print(struct reader *reader, int64_t elapsed_us)
{
    qsort(reader->page_us, reader->page_count, sizeof(*reader->page_us), compare_i64);
    (void)printf(
        "{\"seconds\":%.3f,\"bytes\":%" PRIu64 ",\"pages\":%zu,\"empty_pages\":%" PRIu64
        ",\"errors\":%" PRIu64 ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f}\n",
        (double)elapsed_us / 1e6,
        reader->bytes,
        reader->page_count,
        reader->empty_pages,
        reader->errors,
        quantile_ms(reader, 500),
        quantile_ms(reader, 990),
        quantile_ms(reader, 999)
    );
}

int main(int argc, char **argv)
{
    static struct reader reader;

    if (argc != 9) {
        die("wants HOST PORT TOPIC PARTITIONS CONNECTIONS SECONDS ACCEPT MAX_BYTES");
    }
    int partitions = atoi(argv[4]);
    int connections = atoi(argv[5]);
    reader.address.sin_family = AF_INET;
    reader.address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &reader.address.sin_addr) != 1) {
        die("HOST is not an IPv4 address");
    }
    if (partitions < 1 || connections < 1 || connections > CONNECTIONS_MAX) {
        die("PARTITIONS or CONNECTIONS is out of range");
    }
    reader.host = argv[1];
    reader.topic = argv[3];
    reader.accept = argv[7];
    reader.is_raw = strstr(argv[7], "riacho.batch") != NULL;
    reader.max_bytes = atol(argv[8]);
    reader.page_us = malloc(PAGES_MAX * sizeof(*reader.page_us));
    RIA_ASSERT(reader.page_us != NULL);
    for (int i = 0; i < connections; i++) {
        reader.connections[i].partition = i % partitions;
        open_connection(&reader, &reader.connections[i]);
    }
    int64_t start_us = now_us();
    run(&reader, connections, start_us + (int64_t)(atof(argv[6]) * 1e6));
    print(&reader, now_us() - start_us);
    return 0;
}
