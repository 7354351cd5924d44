/* riacho-gateway: HTTP in front of a Riacho cluster. */
#include <malloc.h>
#include <sys/resource.h>

#include "common/limits.h"
#include "common/process.h"

#include "services/gateway/budget.h"
#include "services/gateway/cors.h"
#include "services/gateway/http.h"
#include "services/gateway/service.h"

extern char **environ;

enum {
    DRAIN_MS_MAX = 10 * 1000,
    DRAIN_STEP_MS = 20,
    TRIM_US = 5 * 1000 * 1000,
    TRIM_BYTES_MIN = 8 * 1024 * 1024,
    CONNECTION_BYTES = 26 * 1024,
    OTHER_DESCRIPTORS = 256, /* than connections of clients: other services, refused connections */
};

struct options {
    struct ria_process_options process;
    const char *http_listen;
    const char *coordinator;
    int64_t max_body;
    int64_t max_connections;
    int64_t max_inflight_bytes;
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t max_streams;
    const char *cors_origins;
    int64_t consumer_timeout_ms;
    const char *advertised_url;
};

#define FIELD(name) offsetof(struct options, name)

/* clang-format off */
static const struct ria_option table[] = {
    {"config", RIA_OPTION_STRING, FIELD(process.config), "", 0, 4096, NULL, "PATH",
     "file of `name = value` lines"},
    {"log-level", RIA_OPTION_CHOICE, FIELD(process.log_level), "info", 0, 0,
     "debug|info|warn|error", "LEVEL", "least severe level that is logged"},
    {"http-listen", RIA_OPTION_STRING, FIELD(http_listen), "127.0.0.1:8080", 1, 255, NULL,
     "HOST:PORT", "where HTTP clients connect; an empty host or * is every interface"},
    {"coordinator", RIA_OPTION_STRING, FIELD(coordinator), "tcp://127.0.0.1:9100", 1, 4096, NULL,
     "ADDRESSES", "the coordinators, tcp://host:port, separated by commas"},
    {"max-body", RIA_OPTION_SIZE, FIELD(max_body), "16MiB", 1024, INT64_C(64) << 20, NULL, "BYTES",
     "largest body of a request that stores records; larger ones get 413"},
    {"max-connections", RIA_OPTION_INT, FIELD(max_connections), "4096", 1, 1000000, NULL, "COUNT",
     "connections served at a time; further ones get 503"},
    {"max-inflight-bytes", RIA_OPTION_SIZE, FIELD(max_inflight_bytes), "64MiB", 1 << 20,
     INT64_C(64) << 30, NULL, "BYTES",
     "bodies, batches and answers held at a time; requests past it get 429"},
    {"request-timeout-ms", RIA_OPTION_INT, FIELD(request_timeout_ms), "30000", 100, 600000, NULL,
     "MS", "how long a record may take to be stored, or a read to find its leader"},
    {"idle-timeout-ms", RIA_OPTION_INT, FIELD(idle_timeout_ms), "60000", 1000, 3600000, NULL, "MS",
     "connections without a request are closed after it"},
    {"max-streams", RIA_OPTION_INT, FIELD(max_streams), "2048", 0, 1000000, NULL, "COUNT",
     "live streams at a time, of the connections; further ones get 429"},
    {"cors-origins", RIA_OPTION_STRING, FIELD(cors_origins), "", 0, 4096, NULL, "ORIGINS",
     "pages of these origins may use /v1 in a browser: https://a.example,http://b.example:8080, or *"},
    {"consumer-timeout-ms", RIA_OPTION_INT, FIELD(consumer_timeout_ms), "300000", 1000, 43200000,
     NULL, "MS", "instances of /consumers that make no call for so long are gone"},
    {"advertised-url", RIA_OPTION_STRING, FIELD(advertised_url), "", 0, 1024, NULL, "URL",
     "how clients reach the gateways, for base_uri; default: as the request says"},
    RIA_OPTION_END,
};
/* clang-format on */

struct shell {
    struct budget budget;
    struct gateway *gateway;
    struct http *http;
    struct ria_timers *timers;
    struct ria_timer trim;
    int64_t held_max; /* bytes, about, since memory was last given back */
};

static struct options options;
static struct shell shell;

static void add_metrics(struct ria_metrics *to, const struct http_metrics *m)
{
#define COUNTER(name, labels, help, field) \
    ria_metrics_add_counter(to, name, labels, help, &m->field)
    COUNTER("riacho_gateway_http_requests_total", "", "Requests, by their heads.", requests);
    COUNTER("riacho_gateway_http_replies_total", "class=\"2xx\"", "Answers.", replies_2xx);
    COUNTER("riacho_gateway_http_replies_total", "class=\"3xx\"", "Answers.", replies_3xx);
    COUNTER("riacho_gateway_http_replies_total", "class=\"4xx\"", "Answers.", replies_4xx);
    COUNTER("riacho_gateway_http_replies_total", "class=\"5xx\"", "Answers.", replies_5xx);
    COUNTER(
        "riacho_gateway_http_connections_total", "", "Connections taken.", connections_accepted
    );
    COUNTER(
        "riacho_gateway_http_connections_refused_total",
        "",
        "Connections answered 503 because of --max-connections.",
        connections_refused
    );
    COUNTER(
        "riacho_gateway_http_connections_timed_out_total",
        "",
        "Connections closed because the client was slow or silent.",
        connections_timed_out
    );
    COUNTER("riacho_gateway_http_received_bytes_total", "", "Bytes of bodies.", bytes_received);
    COUNTER("riacho_gateway_http_sent_bytes_total", "", "Bytes of answers.", bytes_sent);
    ria_metrics_add_gauge(
        to, "riacho_gateway_http_connections", "", "Connections now.", &m->connections
    );
#undef COUNTER
}

/* As many connections as the process may have descriptors for; the limit is raised if it may be. */
static uint32_t connections_max(const struct ria_process *process)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)options.max_connections + OTHER_DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return (uint32_t)options.max_connections;
    }
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= wanted) {
        return (uint32_t)options.max_connections;
    }
    rlim_t room = limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS
                                                         : limit.rlim_cur / 2;
    ria_log_warn(
        &process->log,
        "gateway.few_descriptors",
        "max_connections=%llu wanted=%lld reason=\"ulimit -n is %llu\"",
        (unsigned long long)room,
        (long long)options.max_connections,
        (unsigned long long)limit.rlim_cur
    );
    return (uint32_t)room;
}

static ria_err open_http(struct ria_process *process)
{
    const struct http_options http_options = {
        .listen = options.http_listen,
        .connections_max = connections_max(process),
        .idle_timeout_ms = (uint32_t)options.idle_timeout_ms,
        .stream_stall_ms = HTTP_STREAM_STALL_MS,
    };
    const struct http_service service = {
        .begin = gateway_begin,
        .handle = gateway_handle,
        .refuse = gateway_refuse,
        .arg = shell.gateway,
    };

    ria_err err = http_new(process->loop, &http_options, &service, &shell.budget, &shell.http);
    if (err == RIA_ERR_EXISTS) {
        ria_log_error(
            &process->log,
            "gateway.cannot_listen",
            "cannot listen on %s: the port is in use; stop the other process or choose another "
            "--http-listen",
            options.http_listen
        );
    } else if (err == RIA_ERR_INVALID) {
        ria_log_error(
            &process->log,
            "gateway.cannot_listen",
            "cannot listen on %s: it is no address of this machine; give --http-listen=host:port",
            options.http_listen
        );
    } else if (err != RIA_OK) {
        ria_log_error(
            &process->log,
            "gateway.cannot_listen",
            "cannot listen on %s: %s",
            options.http_listen,
            ria_err_text(err)
        );
    }
    return err;
}

/* After a flood of connections or bytes the allocator would keep their memory for ever. */
static void trim_due(struct ria_timer *timer, void *arg)
{
    struct shell *s = arg;
    int64_t peak = s->budget.peak + http_peak_connections(s->http) * CONNECTION_BYTES;
    int64_t held =
        s->budget.used.value + http_metrics(s->http)->connections.value * CONNECTION_BYTES;

    s->budget.peak = s->budget.used.value;
    s->held_max = ria_max_i64(s->held_max, peak);
    if (s->held_max > TRIM_BYTES_MIN && held < s->held_max / 4) {
        (void)malloc_trim(0);
        s->held_max = held;
    }
    ria_timer_start(s->timers, timer, TRIM_US);
}

static ria_err start(struct ria_process *process, void **out_service)
{
    const struct gateway_options gateway_options = {
        .coordinator = options.coordinator,
        .body_max = options.max_body,
        .request_timeout_ms = (uint32_t)options.request_timeout_ms,
        .streams_max = (uint32_t)options.max_streams,
        .cors_origins = options.cors_origins,
        .consumer_session_ms = (int32_t)options.consumer_timeout_ms,
        .advertised_url = options.advertised_url,
    };

    if (!cors_is_valid(options.cors_origins)) {
        ria_log_error(
            &process->log,
            "gateway.cannot_start",
            "cannot start with --cors-origins=%s: give *, or origins as browsers send them "
            "(scheme://host or scheme://host:port, in lower case, without a path), with commas",
            options.cors_origins
        );
        return RIA_ERR_INVALID;
    }
    shell.budget.limit = options.max_inflight_bytes;
    ria_err err = gateway_new(
        &process->env, &gateway_options, &shell.budget, process->metrics, &shell.gateway
    );
    if (err != RIA_OK) {
        ria_log_error(
            &process->log,
            "gateway.cannot_start",
            "cannot start with --coordinator=%s: %s",
            options.coordinator,
            ria_err_text(err)
        );
        return err;
    }
    err = open_http(process);
    if (err != RIA_OK) {
        gateway_free(shell.gateway);
        return err;
    }
    add_metrics(process->metrics, http_metrics(shell.http));
    shell.timers = ria_loop_timers(process->loop);
    ria_timer_init(&shell.trim, trim_due, &shell);
    ria_timer_start(shell.timers, &shell.trim, TRIM_US);
    gateway_start(shell.gateway);
    ria_log_info(
        &process->log,
        "gateway.listening",
        "http=%s port=%u coordinator=%s",
        options.http_listen,
        (unsigned)http_port(shell.http),
        options.coordinator
    );
    *out_service = &shell;
    return RIA_OK;
}

/* Requests under way are finished; new ones are not taken. */
static void stop(struct ria_process *process, void *service)
{
    const struct shell *s = service;
    bool never = false;

    http_stop(s->http);
    gateway_stop(s->gateway);
    for (int waited_ms = 0; waited_ms < DRAIN_MS_MAX; waited_ms += DRAIN_STEP_MS) {
        if (http_is_idle(s->http) && gateway_is_idle(s->gateway)) {
            break;
        }
        ria_loop_run_until(process->loop, &never, DRAIN_STEP_MS);
    }
}

static void free_service(void *service)
{
    struct shell *s = service;

    ria_timer_stop(s->timers, &s->trim);
    /* What is given up now is answered, then sent. */
    gateway_free(s->gateway);
    http_free(s->http);
}

int main(int argc, char **argv)
{
    const struct ria_process_spec spec = {
        .program = "riacho-gateway",
        .about = "HTTP front of a Riacho cluster: produce, read, topics, transforms.",
        .options = table,
        .out_options = &options,
        .sync_threads = 0,
        .start = start,
        .stop = stop,
        .free = free_service,
    };

    return ria_process_main(&spec, argc, argv, environ);
}
