/* riacho-coordinator: the coordinator core in a process of its own. */
#include <string.h>

#include "common/process.h"

#include "services/coordinator/service.h"

#define OFFSET(field) offsetof(struct coordinator_options, field)

/* clang-format off */
static const struct ria_option options[] = {
    RIA_PROCESS_OPTIONS("tcp://127.0.0.1:9100"),
    {"data-dir", RIA_OPTION_STRING, OFFSET(data_dir), "var/coordinator", 1, 4000, NULL, "PATH",
     "folder of the cluster's metadata; made if it is missing"},
    {"default-partitions", RIA_OPTION_INT, OFFSET(default_partitions), "6", 1, 10000, NULL, "N",
     "partitions of a topic that does not say how many"},
    {"default-replicas", RIA_OPTION_INT, OFFSET(default_replicas), "3", 1, 16, NULL, "N",
     "replicas of a topic that does not say how many, if that many nodes live"},
    {"moves-max", RIA_OPTION_INT, OFFSET(moves_max), "32", 1, 1000, NULL, "N",
     "partitions that drains and rebalancing move at once"},
    RIA_OPTION_END,
};
/* clang-format on */

/* The process's own; the service borrows it. */
static struct coordinator_options values;

static ria_err start(struct ria_process *process, void **out_service)
{
    struct coordinator *coordinator = NULL;
    char reason[COORDINATOR_REASON_SIZE];
    char quoted[2 * COORDINATOR_REASON_SIZE];

    ria_err err = coordinator_new(&process->env, &values, reason, &coordinator);
    if (err != RIA_OK) {
        ria_log_error(
            &process->log,
            "coordinator.start_failed",
            "reason=%s",
            ria_log_quote(quoted, sizeof(quoted), reason, strlen(reason))
        );
        return err;
    }
    coordinator_add_metrics(coordinator, process->metrics);
    coordinator_start(coordinator);
    *out_service = coordinator;
    return RIA_OK;
}

static void stop(struct ria_process *process, void *service)
{
    (void)process;
    coordinator_stop(service);
}

static void free_service(void *service)
{
    coordinator_free(service);
}

int main(int argc, char **argv)
{
    extern char **environ;
    const struct ria_process_spec spec = {
        .program = "riacho-coordinator",
        .about = "Keeps the cluster's metadata: nodes, topics, partitions, leaders, transforms.",
        .options = options,
        .out_options = &values,
        .sync_threads = 1,
        .start = start,
        .stop = stop,
        .free = free_service,
    };

    return ria_process_main(&spec, argc, argv, environ);
}
