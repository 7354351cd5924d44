/* riacho-transform: a transform worker in a process of its own. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/process.h"

#include "services/shared/advertise.h"
#include "services/transform/service.h"
#include "services/transform/sql_engine.h"

enum {
    STOP_MS_MAX = 5000,
    TRIM_US = 5 * 1000 * 1000, /* between two looks whether memory can be given back */
};

struct options {
    struct ria_process_options process;
    const char *coordinator;
    const char *advertise;
};

/* clang-format off */
static const struct ria_option options_table[] = {
    RIA_PROCESS_OPTIONS("tcp://127.0.0.1:9130"),
    {"coordinator", RIA_OPTION_STRING, offsetof(struct options, coordinator),
     "tcp://127.0.0.1:9100", 1, 4096, NULL, "ADDRESS",
     "coordinators, tcp://host:port, separated by commas"},
    {"advertise", RIA_OPTION_STRING, offsetof(struct options, advertise),
     "", 0, RIA_ADDRESS_MAX, NULL, "ADDRESS",
     "where gateways reach this worker; default: the listen address, or with 0.0.0.0 this "
     "machine's own"},
    RIA_OPTION_END,
};
/* clang-format on */

/* A process has one main(), and its spec's callbacks get no argument of ours. */
static struct options options;
static struct trim {
    struct ria_timer timer;
    const struct ria_process *process;
    const struct transform *transform;
    uint64_t worked; /* records processed when memory was last given back */
} trim;

/* What a burst of batches leaves in malloc's heap goes back to the system when there is a pause. */
static void give_memory_back(struct ria_timer *timer, void *arg)
{
    struct trim *t = arg;
    uint64_t worked = transform_records_in(t->transform);

    if (transform_is_idle(t->transform) && worked != t->worked) {
        t->worked = worked;
        (void)malloc_trim(0);
    }
    ria_timer_start(t->process->env.timers, timer, TRIM_US);
}

static ria_err start(struct ria_process *process, void **out_service)
{
    char address[RIA_ADDRESS_MAX + 1];
    struct transform *transform = NULL;

    uint16_t port = ria_net_port(process->net);
    if (!advertise_address(options.advertise, options.process.listen, port, address)) {
        (void)fprintf(
            stderr,
            "riacho-transform: cannot tell where others reach this worker; give "
            "--listen=tcp://host:port or --advertise=tcp://host:port\n"
        );
        return RIA_ERR_INVALID;
    }
    sql_engine_limit_process_memory(SQL_MEMORY_MAX);
    struct transform_options wanted = {.coordinator = options.coordinator, .address = address};
    ria_err err = transform_new(&process->env, &wanted, &transform);
    if (err != RIA_OK) {
        (void)fprintf(
            stderr,
            "riacho-transform: %s\n",
            err == RIA_ERR_INVALID ? "--coordinator must be tcp://host:port, several separated by "
                                     "commas"
                                   : ria_err_text(err)
        );
        return err;
    }
    transform_register_metrics(transform, process->metrics);
    transform_start(transform);
    trim.process = process;
    trim.transform = transform;
    ria_timer_init(&trim.timer, give_memory_back, &trim);
    ria_timer_start(process->env.timers, &trim.timer, TRIM_US);
    *out_service = transform;
    return RIA_OK;
}

static void stop(struct ria_process *process, void *service)
{
    static bool done;

    transform_stop(service, &done);
    ria_loop_run_until(process->loop, &done, STOP_MS_MAX);
    if (!done) {
        ria_log_warn(
            &process->log, "transform.stop_timed_out", "note=\"another worker repeats the rest\""
        );
    }
}

static void release(void *service)
{
    ria_timer_stop(trim.process->env.timers, &trim.timer);
    transform_free(service);
}

int main(int argc, char **argv)
{
    static const struct ria_process_spec spec = {
        .program = "riacho-transform",
        .about = "Computes derived topics with SQL, each source record exactly once.",
        .options = options_table,
        .out_options = &options,
        .sync_threads = 0,
        .start = start,
        .stop = stop,
        .free = release,
    };

    /* 'localtime' must mean the same on every worker: the result may depend on the record alone. */
    (void)setenv("TZ", "UTC", 1);
    tzset();
    return ria_process_main(&spec, argc, argv, environ);
}
