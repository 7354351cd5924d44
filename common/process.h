/* process: what the five services' main() have in common.
 *
 * Loads options (each service's table, plus the ones every service has), answers --help, --version
 * and --options-markdown, builds loop, net, fs and env, runs the service until SIGTERM or SIGINT.
 */
#pragma once

#include "common/base.h"
#include "common/config.h"
#include "common/env.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/net.h"

/* First member of each service's options struct. */
struct ria_process_options {
    const char *config;    /* file of options */
    const char *log_level; /* debug|info|warn|error */
    const char *listen;    /* "tcp://127.0.0.1:9100"; NULL or "" = does not listen */
};

/* The rows of the option table for them, to be put first in a service's table. */
#define RIA_PROCESS_OPTIONS(default_listen)                                                        \
    {"config",                                                                                     \
     RIA_OPTION_STRING,                                                                            \
     offsetof(struct ria_process_options, config),                                                 \
     "",                                                                                           \
     0,                                                                                            \
     4096,                                                                                         \
     NULL,                                                                                         \
     "PATH",                                                                                       \
     "file of `name = value` lines"},                                                              \
        {"log-level",                                                                              \
         RIA_OPTION_CHOICE,                                                                        \
         offsetof(struct ria_process_options, log_level),                                          \
         "info",                                                                                   \
         0,                                                                                        \
         0,                                                                                        \
         "debug|info|warn|error",                                                                  \
         "LEVEL",                                                                                  \
         "least severe level that is logged"},                                                     \
    {                                                                                              \
        "listen", RIA_OPTION_STRING, offsetof(struct ria_process_options, listen), default_listen, \
            0, 255, NULL, "ADDRESS", "nng address for the other services, tcp://host:port"         \
    }

struct ria_process {
    struct ria_env env;
    struct ria_loop *loop;
    struct ria_net *net; /* env.rpc is its interface */
    struct ria_metrics *metrics;
    struct ria_log log;
    struct ria_rand rand;
    struct ria_config config;
};

struct ria_process_spec {
    const char *program; /* "riacho-storage" */
    const char *about;
    const struct ria_option *options;
    void *out_options;     /* starts with struct ria_process_options */
    unsigned sync_threads; /* 0 = the service has no files: env.fs is NULL */

    /* Build the service on process->env; *out_service is given to the others. On an error the
     * process exits 1; say why in one sentence on the log. */
    ria_err (*start)(struct ria_process *process, void **out_service);

    /* SIGTERM or SIGINT came: finish what can be finished, within timeout; the loop is not running,
     * ria_loop_run_until() may be used. May be NULL. */
    void (*stop)(struct ria_process *process, void *service);
    void (*free)(void *service);
};

/* Everything main() does. Returns the exit status: 0, 1 (failed) or 2 (usage). */
int ria_process_main(const struct ria_process_spec *spec, int argc, char **argv, char **environ_);
