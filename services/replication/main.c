/* riacho-replication: carries batches from leaders to followers. See README.md. */
#include "common/process.h"

#include "services/replication/service.h"

enum { STOP_MS_MAX = 1000 };

struct options {
    struct ria_process_options process;
    const char *coordinator;
    int64_t catch_up_rate;
};

/* clang-format off */
static const struct ria_option options_table[] = {
    RIA_PROCESS_OPTIONS(""),
    {"coordinator", RIA_OPTION_STRING, offsetof(struct options, coordinator),
     "tcp://127.0.0.1:9100", 1, 1024, NULL, "ADDRESS",
     "the coordinator, tcp://host:port; several separated by commas"},
    {"catch-up-rate", RIA_OPTION_INT, offsetof(struct options, catch_up_rate), "50", 0, 100000, NULL,
     "MB/S", "bytes a second for followers that are more than a few MiB behind; 0 = unlimited"},
    RIA_OPTION_END,
};
/* clang-format on */

static struct options options;

static ria_err start(struct ria_process *process, void **out_service)
{
    struct replication_options wanted = {
        .coordinator = options.coordinator,
        .catch_up_bytes_per_second = options.catch_up_rate * 1000 * 1000,
    };
    struct replication *service = NULL;

    RIA_TRY(replication_new(&process->env, &wanted, &service));
    replication_register_metrics(service, process->metrics);
    replication_start(service);
    *out_service = service;
    return RIA_OK;
}

static void stop(struct ria_process *process, void *service)
{
    static bool done;

    replication_stop(service, &done);
    ria_loop_run_until(process->loop, &done, STOP_MS_MAX);
}

static void end(void *service)
{
    replication_free(service);
}

int main(int argc, char **argv)
{
    static const struct ria_process_spec spec = {
        .program = "riacho-replication",
        .about = "Carries record batches from the leaders of partitions to their followers.",
        .options = options_table,
        .out_options = &options,
        .sync_threads = 0,
        .start = start,
        .stop = stop,
        .free = end,
    };
    extern char **environ;

    return ria_process_main(&spec, argc, argv, environ);
}
