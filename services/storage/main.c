/* riacho-storage: the storage core in a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/fs_posix.h"
#include "common/limits.h"
#include "common/process.h"

#include "services/shared/advertise.h"
#include "services/storage/service.h"

enum {
    STOP_MS_MAX = 10000,
    SYNC_THREADS_MAX = 64,
    OPEN_SEGMENTS_MIN = 16,
    OPEN_SEGMENTS_MAX = 500000,
    SCRUB_PERIOD_HOURS_MAX = 24 * 366,
    SCRUB_RATE_MB_MAX = 10000,
};

struct options {
    struct ria_process_options process;
    const char *data_dir;
    const char *coordinator;
    const char *advertise;
    const char *rack;
    int64_t sync_threads;
    int64_t open_segments;
    int64_t disk_reserve;
    bool forget_missing_dirs;
    int64_t scrub_period; /* hours */
    int64_t scrub_rate;   /* MB/s */

    /* Not options: how it ended. */
    bool failed;  /* a reason was printed */
    bool stopped; /* clean */
};

static const struct ria_option table[] = {
    RIA_PROCESS_OPTIONS("tcp://127.0.0.1:9111"),
    {"data-dir",
     RIA_OPTION_STRING,
     offsetof(struct options, data_dir),
     NULL,
     1,
     8000,
     NULL,
     "PATH",
     "folder for the logs; created if missing; belongs to this node for ever; several, separated "
     "by "
     "commas: one per disk"},
    {"forget-missing-dirs",
     RIA_OPTION_BOOL,
     offsetof(struct options, forget_missing_dirs),
     "false",
     0,
     0,
     NULL,
     NULL,
     "give up for good what is in data folders that are missing: their replicas are made anew from "
     "other nodes"},
    {"coordinator",
     RIA_OPTION_STRING,
     offsetof(struct options, coordinator),
     "tcp://127.0.0.1:9100",
     1,
     4096,
     NULL,
     "ADDRESS",
     "coordinators, tcp://host:port, separated by commas"},
    {"advertise",
     RIA_OPTION_STRING,
     offsetof(struct options, advertise),
     "",
     0,
     RIA_ADDRESS_MAX,
     NULL,
     "ADDRESS",
     "where other services reach this node; default: the listen address, or with 0.0.0.0 this "
     "machine's own"},
    {"rack",
     RIA_OPTION_STRING,
     offsetof(struct options, rack),
     "",
     0,
     RIA_TOPIC_NAME_MAX,
     NULL,
     "NAME",
     "failure domain; replicas of a partition are spread over racks"},
    {"sync-threads",
     RIA_OPTION_INT,
     offsetof(struct options, sync_threads),
     "4",
     1,
     SYNC_THREADS_MAX,
     NULL,
     "COUNT",
     "threads that wait for the disk"},
    {"open-segments",
     RIA_OPTION_INT,
     offsetof(struct options, open_segments),
     "512",
     OPEN_SEGMENTS_MIN,
     OPEN_SEGMENTS_MAX,
     NULL,
     "COUNT",
     "segment files kept open at once"},
    {"disk-reserve",
     RIA_OPTION_SIZE,
     offsetof(struct options, disk_reserve),
     "1GiB",
     0,
     INT64_MAX,
     NULL,
     "SIZE",
     "space that is kept free: records are refused before the disk is full; at most 5 % of the "
     "disk"},
    {"scrub-period",
     RIA_OPTION_INT,
     offsetof(struct options, scrub_period),
     "168",
     0,
     SCRUB_PERIOD_HOURS_MAX,
     NULL,
     "HOURS",
     "all logs are read and checked once in this time, in the background; 0 = never"},
    {"scrub-rate",
     RIA_OPTION_INT,
     offsetof(struct options, scrub_rate),
     "10",
     1,
     SCRUB_RATE_MB_MAX,
     NULL,
     "MB/S",
     "bytes that this reads in a second, in millions"},
    RIA_OPTION_END,
};

/* The one piece of file-level state: a process has one main(), and its spec's callbacks get no
 * argument of ours. */
static struct options options;

/* ---- the process ---- */

static void say(const char *reason)
{
    options.failed = true;
    (void)fprintf(stderr, "riacho-storage: %s\n", reason);
}

static void on_fatal(void *arg, const char *reason)
{
    struct ria_process *process = arg;

    say(reason);
    ria_loop_stop(process->loop);
}

static ria_err start(struct ria_process *process, void **out_service)
{
    char address[RIA_ADDRESS_MAX + 1];
    char reason[STORAGE_REASON_MAX];
    struct storage *storage = NULL;

    if (!advertise_address(
            options.advertise, options.process.listen, ria_net_port(process->net), address
        )) {
        say("cannot tell where others reach this node; give --advertise=tcp://host:port");
        return RIA_ERR_INVALID;
    }
    /* Here and not by ria_process_main(), because the number of threads is an option. */
    ria_err err = ria_fs_posix_new(process->loop, (unsigned)options.sync_threads, &process->env.fs);
    if (err != RIA_OK) {
        say(ria_err_text(err));
        return err;
    }
    struct storage_options storage_options = {
        .data_dir = options.data_dir,
        .coordinator = options.coordinator,
        .address = address,
        .rack = options.rack,
        .open_segments = options.open_segments,
        .disk_reserve = options.disk_reserve,
        .forget_missing_dirs = options.forget_missing_dirs,
        .scrub_period_ms = options.scrub_period * 3600 * 1000,
        .scrub_rate = options.scrub_rate * 1000 * 1000,
    };
    err = storage_new(&process->env, &storage_options, on_fatal, process, reason, &storage);
    if (err != RIA_OK) {
        say(reason);
        return err;
    }
    storage_register_metrics(storage, process->metrics);
    storage_start(storage);
    *out_service = storage;
    return RIA_OK;
}

static void stop(struct ria_process *process, void *service)
{
    storage_stop(service, &options.stopped);
    ria_loop_run_until(process->loop, &options.stopped, STOP_MS_MAX);
    if (!options.stopped) {
        ria_log_warn(
            &process->log,
            "storage.stop_timed_out",
            "note=\"the next start recovers what was not closed\""
        );
    }
}

static void release(void *service)
{
    /* A sync that is still under way writes into the log it belongs to: then the memory stays. */
    if (options.stopped) {
        storage_free(service);
    }
}

int main(int argc, char **argv)
{
    const struct ria_process_spec spec = {
        .program = "riacho-storage",
        .about = "Keeps the partition logs of a Riacho cluster on this machine's disk.",
        .options = table,
        .out_options = &options,
        .start = start,
        .stop = stop,
        .free = release,
    };

    int status = ria_process_main(&spec, argc, argv, environ);
    return status == 0 && options.failed ? 1 : status;
}
