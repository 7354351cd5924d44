/* write_probe: writes to every partition of a topic, over and over, and tells how long a fault kept
 * each of them from being written.
 *
 *     write_probe HOST PORT TOPIC VALUE_SIZE
 *
 * Partitions come in groups; each group has a connection of its own and is written by one request
 * with a record for each of its partitions, every `period`. A group is best made of partitions that
 * share a leader, for a request is answered when its slowest partition is. Commands, one a line:
 *
 *     group LEADER PARTITION...      before `go`; a partition is in one group
 *     go PERIOD_MS                   begin, or change the period
 *     fault PID SIGNAL LEADER        send the signal; answered with one line of JSON when each
 * group has been acknowledged by a request that was sent after it stats latencies since the last
 * `stats` or `fault`, one line of JSON quit
 *
 * After a fault every group is written at once, whatever the period. What is measured is from the
 * signal to the acknowledgement, for partitions of the groups of LEADER and for the others. A
 * request that fails is counted and sent again after 5 ms.
 *
 * One thread, poll(): it shares the machine with the cluster.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"

enum {
    GROUPS_MAX = 1024,
    GROUP_PARTITIONS_MAX = 1000,
    PARTITIONS_MAX = 100 * 1000,
    LINE_MAX_SIZE = 64 * 1024,
    REPLY_MAX = 256 * 1024,
    LATENCIES_MAX = 1 << 20,
    RETRY_US = 5 * 1000,
    FAULT_US_MAX = 120 * 1000 * 1000,
};

struct group {
    int fd;
    int leader;
    int partitions[GROUP_PARTITIONS_MAX];
    int partition_count;
    char *request;
    size_t request_size;
    char *reply; /* as much as has come */
    size_t reply_used;
    bool is_waiting; /* for its reply */
    int64_t sent_us;
    int64_t next_us; /* when it is to be written again */
    bool is_due;     /* for the fault: not acknowledged since */
};

struct latencies {
    int64_t *us;
    size_t count;
};

struct probe {
    struct sockaddr_in address;
    const char *host;
    const char *topic;
    int value_size;
    struct group groups[GROUPS_MAX];
    int group_count;
    bool is_going;
    int64_t period_us;

    char line[LINE_MAX_SIZE]; /* of stdin */
    size_t line_used;

    int64_t fault_us; /* 0: none is looked at */
    int fault_leader;
    int due_count;
    int64_t dead_us[2][PARTITIONS_MAX]; /* by partition: of other leaders, of the one */
    size_t dead_count[2];

    struct latencies acks;
    int64_t stats_us;
    uint64_t errors;
    uint64_t errors_in_fault;
};

static int64_t now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

static void die(const char *why)
{
    (void)fprintf(stderr, "write_probe: %s\n", why);
    exit(1);
}

/* ---- figures ---- */

static int compare_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* Sorts. "p50_ms":..,"p99_ms":..,"max_ms":.. */
static void print_quantiles(int64_t *us, size_t count)
{
    qsort(us, count, sizeof(*us), compare_i64);
    (void)printf(
        "\"count\":%zu,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f",
        count,
        count == 0 ? 0 : (double)us[count / 2] / 1000,
        count == 0 ? 0 : (double)us[count * 99 / 100] / 1000,
        count == 0 ? 0 : (double)us[count - 1] / 1000
    );
}

static void print_stats(struct probe *probe)
{
    (void)printf(
        "{\"seconds\":%.2f,\"errors\":%" PRIu64 ",",
        (double)(now_us() - probe->stats_us) / 1e6,
        probe->errors
    );
    print_quantiles(probe->acks.us, probe->acks.count);
    (void)printf("}\n");
    (void)fflush(stdout);
    probe->acks.count = 0;
    probe->errors = 0;
    probe->stats_us = now_us();
}

static void print_fault(struct probe *probe)
{
    (void)printf("{\"errors\":%" PRIu64 ",\"hit\":{", probe->errors_in_fault);
    print_quantiles(probe->dead_us[1], probe->dead_count[1]);
    (void)printf("},\"others\":{");
    print_quantiles(probe->dead_us[0], probe->dead_count[0]);
    (void)printf("}}\n");
    (void)fflush(stdout);
    probe->fault_us = 0;
    probe->acks.count = 0;
    probe->errors = 0;
    probe->stats_us = now_us();
}

/* ---- groups ---- */

static void connect_group(struct probe *probe, struct group *group)
{
    int one = 1;

    if (group->fd >= 0) {
        (void)close(group->fd);
    }
    group->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (group->fd < 0 ||
        connect(group->fd, (struct sockaddr *)&probe->address, sizeof(probe->address)) != 0) {
        die("cannot connect to the gateway");
    }
    (void)setsockopt(group->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* The same bytes each time. */
static void build_request(struct probe *probe, struct group *group)
{
    size_t record_max = (size_t)probe->value_size + 64;
    size_t body_max = record_max * (size_t)group->partition_count;
    char *body = malloc(body_max);
    size_t size = 0;

    group->request = malloc(body_max + 512);
    group->reply = malloc(REPLY_MAX);
    RIA_ASSERT(body != NULL && group->request != NULL && group->reply != NULL);
    for (int i = 0; i < group->partition_count; i++) {
        size += (size_t)snprintf(
            body + size,
            body_max - size,
            "{\"value\":\"%0*d\",\"partition\":%d}\n",
            probe->value_size,
            i,
            group->partitions[i]
        );
    }
    int head = snprintf(
        group->request,
        512,
        "POST /v1/topics/%s/records HTTP/1.1\r\nHost: %s\r\n"
        "Content-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n",
        probe->topic,
        probe->host,
        size
    );
    RIA_ASSERT(head > 0 && head < 512);
    memcpy(group->request + head, body, size);
    group->request_size = (size_t)head + size;
    free(body);
}

static void add_group(struct probe *probe, char *text)
{
    struct group *group = &probe->groups[probe->group_count];
    char *rest = NULL;
    char *word = strtok_r(text, " ", &rest);

    if (probe->group_count == GROUPS_MAX || word == NULL) {
        die("too many groups, or one without a leader");
    }
    group->fd = -1;
    group->leader = atoi(word);
    while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
        if (group->partition_count == GROUP_PARTITIONS_MAX) {
            die("too many partitions in a group");
        }
        group->partitions[group->partition_count++] = atoi(word);
    }
    if (group->partition_count == 0) {
        die("a group without partitions");
    }
    build_request(probe, group);
    connect_group(probe, group);
    probe->group_count++;
}

static void write_group(struct probe *probe, struct group *group)
{
    size_t sent = 0;

    (void)probe;
    while (sent < group->request_size) {
        ssize_t n =
            send(group->fd, group->request + sent, group->request_size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            die("the gateway closed a connection");
        }
        sent += n < 0 ? 0 : (size_t)n;
    }
    group->is_waiting = true;
    group->sent_us = now_us();
    group->reply_used = 0;
}

static void acknowledged(struct probe *probe, struct group *group)
{
    int64_t now = now_us();

    if (probe->acks.count < LATENCIES_MAX) {
        probe->acks.us[probe->acks.count++] = now - group->sent_us;
    }
    group->next_us = ria_max_i64(group->next_us + probe->period_us, now);
    if (probe->fault_us == 0 || !group->is_due) {
        return;
    }
    if (group->sent_us < probe->fault_us) {
        group->next_us = now; /* that one says nothing: it may have been stored before */
        return;
    }
    int kind = group->leader == probe->fault_leader;
    for (int i = 0; i < group->partition_count; i++) {
        probe->dead_us[kind][probe->dead_count[kind]++] = now - probe->fault_us;
    }
    group->is_due = false;
    probe->due_count--;
    if (probe->due_count == 0) {
        print_fault(probe);
    }
}

static bool reply_is_whole(const struct group *group)
{
    static const char name[] = "Content-Length:";
    const char *blank = memmem(group->reply, group->reply_used, "\r\n\r\n", 4);

    if (blank == NULL) {
        return false;
    }
    const char *length = strcasestr(group->reply, name);
    if (length == NULL || length > blank) {
        die("a reply has no Content-Length");
    }
    size_t head = (size_t)(blank - group->reply) + 4;
    return group->reply_used >= head + (size_t)strtoull(length + sizeof(name) - 1, NULL, 10);
}

static void read_group(struct probe *probe, struct group *group)
{
    ssize_t n = recv(
        group->fd, group->reply + group->reply_used, REPLY_MAX - 1 - group->reply_used, MSG_DONTWAIT
    );

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        die("the gateway closed a connection");
    }
    if (n < 0) {
        return;
    }
    group->reply_used += (size_t)n;
    group->reply[group->reply_used] = '\0';
    if (group->reply_used == REPLY_MAX - 1) {
        die("a reply is too large");
    }
    if (!reply_is_whole(group)) {
        return;
    }
    group->is_waiting = false;
    if (strncmp(group->reply, "HTTP/1.1 200", 12) == 0) {
        acknowledged(probe, group);
        return;
    }
    probe->errors++;
    if (probe->errors_in_fault++ < 3) {
        (void)fprintf(stderr, "write_probe: %.300s\n", group->reply);
    }
    group->next_us = now_us() + RETRY_US;
}

/* ---- commands ---- */

/* Spread over the period, so that the load is even. */
static void go(struct probe *probe, int64_t period_us)
{
    int64_t now = now_us();

    probe->period_us = period_us;
    probe->is_going = true;
    probe->stats_us = now;
    for (int i = 0; i < probe->group_count; i++) {
        probe->groups[i].next_us = now + period_us * i / probe->group_count;
    }
}

static void fault(struct probe *probe, int pid, int sig, int leader)
{
    probe->dead_count[0] = probe->dead_count[1] = 0;
    probe->errors_in_fault = 0;
    probe->fault_leader = leader;
    probe->due_count = probe->group_count;
    if (kill(pid, sig) != 0) {
        die("cannot send the signal");
    }
    probe->fault_us = now_us();
    for (int i = 0; i < probe->group_count; i++) {
        probe->groups[i].is_due = true;
        probe->groups[i].next_us = probe->fault_us;
    }
}

static void command(struct probe *probe, char *line)
{
    int a = 0;
    int b = 0;
    int c = 0;

    if (strncmp(line, "group ", 6) == 0) {
        add_group(probe, line + 6);
    } else if (sscanf(line, "go %d", &a) == 1 && a > 0) {
        go(probe, (int64_t)a * 1000);
    } else if (sscanf(line, "fault %d %d %d", &a, &b, &c) == 3 && probe->is_going) {
        fault(probe, a, b, c);
    } else if (strcmp(line, "stats") == 0) {
        print_stats(probe);
    } else if (strcmp(line, "quit") == 0) {
        exit(0);
    } else {
        die("unknown command");
    }
}

static void read_commands(struct probe *probe)
{
    ssize_t n = read(
        STDIN_FILENO, probe->line + probe->line_used, sizeof(probe->line) - 1 - probe->line_used
    );

    if (n <= 0) {
        exit(0);
    }
    probe->line_used += (size_t)n;
    probe->line[probe->line_used] = '\0';
    char *end;
    while ((end = strchr(probe->line, '\n')) != NULL) {
        *end = '\0';
        command(probe, probe->line);
        probe->line_used -= (size_t)(end + 1 - probe->line);
        memmove(probe->line, end + 1, probe->line_used + 1);
    }
    if (probe->line_used == sizeof(probe->line) - 1) {
        die("a command is too long");
    }
}

/* ---- the loop ---- */

/* Writes what is due; milliseconds until something else will be. */
static int write_due(struct probe *probe)
{
    int64_t now = now_us();
    int64_t next = now + 1000 * 1000;

    if (!probe->is_going) {
        return -1;
    }
    for (int i = 0; i < probe->group_count; i++) {
        struct group *group = &probe->groups[i];
        if (!group->is_waiting && group->next_us <= now) {
            write_group(probe, group);
        } else if (!group->is_waiting) {
            next = ria_min_i64(next, group->next_us);
        }
    }
    if (probe->fault_us != 0 && now - probe->fault_us > FAULT_US_MAX) {
        die("a partition could not be written for two minutes");
    }
    return (int)ria_max_i64(0, (next - now + 999) / 1000);
}

static void run(struct probe *probe)
{
    static struct pollfd polled[GROUPS_MAX + 1];

    for (;;) {
        int timeout_ms = write_due(probe);
        polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        for (int i = 0; i < probe->group_count; i++) {
            polled[i + 1] = (struct pollfd){.fd = probe->groups[i].fd, .events = POLLIN};
        }
        int ready = poll(polled, (nfds_t)probe->group_count + 1, timeout_ms);
        if (ready < 0 && errno != EINTR) {
            die("poll");
        }
        for (int i = 0; ready > 0 && i < probe->group_count; i++) {
            if (polled[i + 1].revents != 0) {
                read_group(probe, &probe->groups[i]);
            }
        }
        if (ready > 0 && polled[0].revents != 0) {
            read_commands(probe);
        }
    }
}

int main(int argc, char **argv)
{
    static struct probe probe;

    if (argc != 5) {
        die("wants HOST PORT TOPIC VALUE_SIZE");
    }
    probe.host = argv[1];
    probe.topic = argv[3];
    probe.value_size = atoi(argv[4]);
    probe.address.sin_family = AF_INET;
    probe.address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &probe.address.sin_addr) != 1) {
        die("HOST is not an IPv4 address");
    }
    if (probe.value_size < 1 || probe.value_size > 1 << 16) {
        die("VALUE_SIZE is out of range");
    }
    probe.acks.us = malloc(LATENCIES_MAX * sizeof(*probe.acks.us));
    RIA_ASSERT(probe.acks.us != NULL);
    run(&probe);
    return 0;
}
