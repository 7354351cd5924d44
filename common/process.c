#include "common/process.h"

#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/fs_posix.h"

#ifndef RIA_VERSION
#    define RIA_VERSION "unknown"
#endif

enum {
    PROCESS_EXIT_FAILED = 1,
    PROCESS_EXIT_USAGE = 2,
    PROCESS_TEXT_MAX = 256 * 1024,       /* bytes of --help and the like */
    PROCESS_CLOSE_S_MAX = 5,             /* for tearing down, after everything is safe */
    PROCESS_ARENAS_MAX = 2,              /* of malloc: each costs memory that is not given back */
    PROCESS_MMAP_THRESHOLD = 256 * 1024, /* larger blocks go back to the system when freed */
    PROCESS_TRIM_THRESHOLD = 1024 * 1024,
};

/* What net counts, in the form that metrics wants. */
struct net_metrics {
    const struct ria_net *net;
    struct ria_counter requests_received;
    struct ria_counter replies_sent;
    struct ria_counter calls_sent;
    struct ria_counter calls_timed_out;
    struct ria_counter calls_disconnected;
    struct ria_counter frames_malformed;
    struct ria_counter frames_oversized;
    struct ria_counter connections_refused;
    struct ria_counter connections_lost;
    struct ria_counter bytes_sent;
    struct ria_counter bytes_received;
    struct ria_gauge connections;
    struct ria_gauge requests_held;
    struct ria_gauge peers;
};

#define NET_COUNTERS(X)                                                            \
    X(requests_received, "Requests received from other services.")                 \
    X(replies_sent, "Replies sent to other services.")                             \
    X(calls_sent, "Requests sent to other services.")                              \
    X(calls_timed_out, "Requests sent that got no answer in time.")                \
    X(calls_disconnected, "Requests that ended because the peer was unreachable.") \
    X(frames_malformed, "Frames dropped: late replies and frames that are none.")  \
    X(frames_oversized, "Frames not sent because they are too large.")             \
    X(connections_refused, "Connections turned away: another protocol.")           \
    X(connections_lost, "Connections to other services that were lost.")           \
    X(bytes_sent, "Bytes of frames sent.")                                         \
    X(bytes_received, "Bytes of frames received.")
#define NET_GAUGES(X)                                       \
    X(connections, "Connections from other services.")      \
    X(requests_held, "Requests that wait for their reply.") \
    X(peers, "Services that were called.")

/* Everything that has to be taken down again. */
struct running {
    struct ria_process process;
    struct net_metrics net_metrics;
    void *service;
};

static void refresh_net_metrics(void *arg)
{
    struct net_metrics *metrics = arg;
    struct ria_net_stats stats;

    ria_net_stats(metrics->net, &stats);
#define REFRESH_COUNTER(name, help) metrics->name.value = stats.name;
#define REFRESH_GAUGE(name, help)   metrics->name.value = (int64_t)stats.name;
    NET_COUNTERS(REFRESH_COUNTER)
    NET_GAUGES(REFRESH_GAUGE)
#undef REFRESH_COUNTER
#undef REFRESH_GAUGE
}

static void add_net_metrics(struct ria_metrics *to, struct net_metrics *metrics)
{
#define ADD_COUNTER(name, help) \
    ria_metrics_add_counter(to, "riacho_net_" #name "_total", "", help, &metrics->name);
#define ADD_GAUGE(name, help) \
    ria_metrics_add_gauge(to, "riacho_net_" #name, "", help, &metrics->name);
    NET_COUNTERS(ADD_COUNTER)
    NET_GAUGES(ADD_GAUGE)
#undef ADD_COUNTER
#undef ADD_GAUGE
    ria_metrics_add_refresh(to, refresh_net_metrics, metrics);
}

/* --- answers without running ------------------------------------------------------------------*/

static int print(ria_err err, struct ria_buf *text)
{
    if (err == RIA_OK && fwrite(text->data, 1, text->size, stdout) != text->size) {
        err = RIA_ERR_IO;
    }
    if (fflush(stdout) != 0) {
        err = RIA_ERR_IO;
    }
    ria_buf_fini(text);
    return err == RIA_OK ? 0 : PROCESS_EXIT_FAILED;
}

static int print_help(const struct ria_process_spec *spec)
{
    struct ria_buf text;

    ria_buf_init(&text, PROCESS_TEXT_MAX);
    return print(ria_config_help(spec->options, spec->program, spec->about, &text), &text);
}

static int print_markdown(const struct ria_process_spec *spec)
{
    struct ria_buf text;

    ria_buf_init(&text, PROCESS_TEXT_MAX);
    return print(ria_config_markdown(spec->options, &text), &text);
}

static int print_version(const struct ria_process_spec *spec)
{
    struct ria_buf text;

    ria_buf_init(&text, PROCESS_TEXT_MAX);
    return print(ria_buf_printf(&text, "%s %s\n", spec->program, RIA_VERSION), &text);
}

/* --- start ------------------------------------------------------------------------------------*/

/* The process cannot start: one line for whoever started it. */
RIA_PRINTF(2, 3)
static ria_err cannot(const struct ria_process_spec *spec, const char *fmt, ...)
{
    char text[RIA_CONFIG_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)fprintf(stderr, "%s: %s\n", spec->program, text);
    return RIA_ERR_IO;
}

/* Services are many on one machine and idle most of the time: little memory, given back. */
static void tune_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, PROCESS_ARENAS_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, PROCESS_MMAP_THRESHOLD);
    (void)mallopt(M_TRIM_THRESHOLD, PROCESS_TRIM_THRESHOLD);
}

static ria_err open_net(const struct ria_process_spec *spec, struct ria_process *process)
{
    const struct ria_process_options *options = spec->out_options;
    const char *listen = options->listen;

    if (listen != NULL && listen[0] == '\0') {
        listen = NULL;
    }
    ria_err err = ria_net_new(process->loop, listen, &process->net);
    if (err == RIA_ERR_EXISTS) {
        return cannot(
            spec,
            "cannot listen on %s: the address is in use; stop the other process or choose another "
            "--listen",
            listen
        );
    }
    if (err == RIA_ERR_INVALID) {
        return cannot(
            spec,
            "cannot listen on %s: it is no address of this machine; give --listen=tcp://host:port",
            listen
        );
    }
    if (err != RIA_OK) {
        return cannot(
            spec, "cannot listen on %s: %s", listen == NULL ? "nothing" : listen, ria_err_text(err)
        );
    }
    return RIA_OK;
}

static ria_err open_parts(const struct ria_process_spec *spec, struct running *running)
{
    struct ria_process *process = &running->process;
    const struct ria_process_options *options = spec->out_options;
    bool known = ria_log_level_parse(options->log_level, &process->log.level);

    RIA_ASSERT(known); /* the option's own choices */
    ria_rand_init_system(&process->rand);
    ria_err err = ria_loop_new(&process->loop);
    if (err == RIA_OK) {
        err = ria_loop_catch_signals(process->loop); /* before any thread exists */
    }
    if (err == RIA_OK) {
        err = ria_metrics_new(&process->metrics);
    }
    if (err == RIA_OK && spec->sync_threads > 0) {
        err = ria_fs_posix_new(process->loop, spec->sync_threads, &process->env.fs);
    }
    if (err != RIA_OK) {
        return cannot(spec, "cannot start: %s", ria_err_text(err));
    }
    RIA_TRY(open_net(spec, process));
    running->net_metrics.net = process->net;
    add_net_metrics(process->metrics, &running->net_metrics);
    process->env.clock = ria_loop_clock(process->loop);
    process->env.timers = ria_loop_timers(process->loop);
    process->env.rpc = ria_net_rpc(process->net);
    process->env.rand = &process->rand;
    process->env.log = &process->log;
    return RIA_OK;
}

/* --- run and stop -----------------------------------------------------------------------------*/

static void exit_done(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static void exit_failed(int signal_number)
{
    (void)signal_number;
    _exit(PROCESS_EXIT_FAILED);
}

/* Everything that matters is done when the service is freed. What follows is for tidiness: it gets
 * a few seconds, then the process ends without it (nng has a history of waiting for itself there).
 */
static void limit_closing(bool failed)
{
    struct sigaction action = {.sa_handler = failed ? exit_failed : exit_done};

    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(PROCESS_CLOSE_S_MAX);
}

static void close_parts(struct ria_process *process, bool failed)
{
    limit_closing(failed);
    ria_net_free(process->net);
    ria_fs_posix_free(process->env.fs);
    ria_metrics_free(process->metrics);
    ria_loop_free(process->loop);
    (void)alarm(0);
}

static ria_err run(const struct ria_process_spec *spec, struct running *running)
{
    struct ria_process *process = &running->process;
    const struct ria_process_options *options = spec->out_options;

    RIA_TRY(open_parts(spec, running));
    RIA_TRY(spec->start(process, &running->service)); /* says itself why not */
    ria_log_info(
        &process->log,
        "process.started",
        "program=%s version=%s listen=%s port=%u pid=%d",
        spec->program,
        RIA_VERSION,
        options->listen == NULL || options->listen[0] == '\0' ? "none" : options->listen,
        (unsigned)ria_net_port(process->net),
        (int)getpid()
    );
    ria_loop_run(process->loop);
    ria_log_info(&process->log, "process.stopping", "program=%s", spec->program);
    if (spec->stop != NULL) {
        spec->stop(process, running->service);
    }
    /* Calls end while the service is there to hear of it; then it ends the requests it holds. */
    ria_net_stop(process->net);
    spec->free(running->service);
    ria_log_info(&process->log, "process.stopped", "program=%s", spec->program);
    return RIA_OK;
}

static bool has_arg(int argc, char **argv, const char *arg)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], arg) == 0) {
            return true;
        }
    }
    return false;
}

int ria_process_main(const struct ria_process_spec *spec, int argc, char **argv, char **environ_)
{
    struct running running = {.service = NULL};
    struct ria_config *config = &running.process.config;

    if (has_arg(argc, argv, "--options-markdown")) {
        return print_markdown(spec);
    }
    ria_err err =
        ria_config_load(config, spec->options, spec->out_options, argc, argv, environ_, NULL, NULL);
    if (err != RIA_OK) {
        (void)cannot(
            spec, "%s (see --help)", err == RIA_ERR_INVALID ? config->error : ria_err_text(err)
        );
        ria_config_fini(config);
        return PROCESS_EXIT_USAGE;
    }
    if (config->help) {
        return print_help(spec);
    }
    if (config->version) {
        return print_version(spec);
    }
    tune_malloc();
    err = run(spec, &running);
    close_parts(&running.process, err != RIA_OK);
    ria_config_fini(config);
    return err == RIA_OK ? 0 : PROCESS_EXIT_FAILED;
}
