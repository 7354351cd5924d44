/* images: recovers what power cuts may leave of a journaled process's disk, and judges it.
 *
 *   images --journal=FILE [--images=COUNT] [--seed=N] [--only=N] [--verbose]
 *
 * Image n is a point in the journal and a choice of what had reached the disk by then (disk.h),
 * both drawn from the seed and n. The real recovery opens every log on it (partition_log_open, with
 * the checkpoint file as checkpoint_load finds it), and the judge reads them. In every second image
 * the power fails once before, in the middle of that recovery. Then the recovered node goes on:
 * each log takes a batch and syncs it, the power fails again, and everything must be there once
 * more.
 *
 * Each image is one test. --only repeats one of them; what it was is printed, and what recovery
 * logged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/fs_sim.h"

#include "services/storage/checkpoint.h"
#include "services/storage/identity.h"
#include "services/storage/segment_cache.h"
#include "tests/crash/disk.h"
#include "tests/crash/judge.h"
#include "tests/crash/layout.h"
#include "tests/lib/fault_fs.h"

#define DATA "data"

enum {
    IMAGES_DEFAULT = 1000,
    SEGMENT_BYTES = 65536, /* as the workload's topics have it */
    OPEN_FILES = 16,
    RECOVERY_CALLS_MAX = 60, /* that change the disk: about as many as one makes */
    LINES_MAX = 64 * 1024,
};

static const char *const cut_names[] = {
#define CUT_NAME_(name, about) #name,
    DISK_CUTS(CUT_NAME_)
#undef CUT_NAME_
};

/* ---- the journal ---- */

struct journal {
    uint8_t *bytes;
    size_t size;
    struct disk_step *steps;
    size_t count;
};

static void load_journal(const char *path, struct journal *journal)
{
    FILE *file = fopen(path, "rb");

    RIA_ASSERT(file != NULL);
    RIA_ASSERT(fseek(file, 0, SEEK_END) == 0);
    journal->size = (size_t)ftell(file);
    rewind(file);
    journal->bytes = malloc(journal->size + 1);
    RIA_ASSERT(journal->bytes != NULL);
    RIA_ASSERT(fread(journal->bytes, 1, journal->size, file) == journal->size);
    (void)fclose(file);
}

/* Entries are not aligned in the file: their headers are copied. */
static void split_journal(struct journal *journal)
{
    size_t capacity = journal->size / sizeof(struct journal_entry) + 1;
    struct journal_entry *entries = calloc(capacity, sizeof(*entries));

    journal->steps = calloc(capacity, sizeof(*journal->steps));
    RIA_ASSERT(entries != NULL && journal->steps != NULL);
    for (size_t at = 0; at < journal->size; journal->count++) {
        struct journal_entry *entry = &entries[journal->count];
        RIA_ASSERT(journal->size - at >= sizeof(*entry));
        memcpy(entry, journal->bytes + at, sizeof(*entry));
        at += sizeof(*entry);
        RIA_ASSERT(journal->size - at >= (size_t)entry->path_size + entry->data_size);
        journal->steps[journal->count] = (struct disk_step){
            .entry = entry,
            .path = entry->path_size == 0 ? "" : (const char *)journal->bytes + at,
            .data = journal->bytes + at + entry->path_size,
        };
        at += (size_t)entry->path_size + entry->data_size;
    }
    RIA_ASSERT(journal->count > 0);
}

static void free_journal(struct journal *journal)
{
    union {
        const struct journal_entry *from;
        void *to;
    } entries = {.from = journal->steps[0].entry};

    free(entries.to);
    free(journal->steps);
    free(journal->bytes);
}

/* ---- a machine that comes up with such a disk ---- */

struct machine {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log logger;
    struct ria_fs *fs;      /* the disk */
    struct fault_fs *fault; /* what the node sees of it */
    int64_t now_us;
    struct segment_cache *cache;
    struct checkpoint *checkpoint;
    struct partition_log *logs[LAYOUT_PARTITIONS];
    char lines[LINES_MAX];
    size_t lines_size;
    bool must_have_number; /* the node had acknowledged something */
    char why[512];
};

static int64_t now_us(const struct ria_clock *clock)
{
    return ((const struct machine *)(const void
                                         *)((const char *)clock - offsetof(struct machine, clock)))
        ->now_us;
}

static void write_line(void *arg, const char *line, size_t size)
{
    struct machine *m = arg;

    if (m->lines_size + size < LINES_MAX) {
        memcpy(m->lines + m->lines_size, line, size);
        m->lines_size += size;
        m->lines[m->lines_size] = '\0';
    }
}

static void machine_init(struct machine *m, uint64_t seed)
{
    memset(m, 0, sizeof(*m));
    m->now_us = 1000000;
    m->clock = (struct ria_clock){.mono_us = now_us, .wall_ms = now_us};
    m->logger = (struct ria_log){.level = RIA_LOG_DEBUG, .write = write_line, .arg = m};
    ria_timers_init(&m->timers, &m->clock);
    ria_rand_init(&m->rand, seed);
    m->env = (struct ria_env
    ){.clock = &m->clock, .timers = &m->timers, .rand = &m->rand, .log = &m->logger};
    RIA_ASSERT(ria_fs_sim_new(&m->timers, &m->rand, &m->fs) == RIA_OK);
    m->fault = fault_fs_new(m->fs, &m->timers, NULL, NULL);
    m->env.fs = fault_fs_fs(m->fault);
    RIA_ASSERT(ria_fs_mkdir(m->fs, DATA) == RIA_OK);
    RIA_ASSERT(ria_fs_sync_dir(m->fs, ".") == RIA_OK);
}

/* What the process knew is gone. */
static void forget(struct machine *m)
{
    for (int p = 0; p < LAYOUT_PARTITIONS; p++) {
        partition_log_free(m->logs[p]);
        m->logs[p] = NULL;
    }
    segment_cache_free(m->cache);
    m->cache = NULL;
    checkpoint_free(m->checkpoint);
    m->checkpoint = NULL;
}

static void machine_fini(struct machine *m)
{
    forget(m);
    fault_fs_free(m->fault);
    ria_fs_sim_free(m->fs);
    ria_timers_fini(&m->timers);
}

static void on_synced(void *arg, ria_err err)
{
    (void)arg;
    RIA_ASSERT(err == RIA_OK);
}

static bool note_name(void *arg, const char *name, bool is_dir)
{
    const char **wanted = arg;

    if (is_dir && strcmp(name, *wanted) == 0) {
        *wanted = NULL;
    }
    return *wanted != NULL;
}

static bool has_folder(struct machine *m, const char *name)
{
    RIA_ASSERT(ria_fs_list(m->fs, DATA, note_name, &name) == RIA_OK);
    return name == NULL;
}

/* Opens the log if its folder is there; one that is not there is a new, empty log. */
static ria_err open_log(struct machine *m, int32_t p)
{
    const struct partition_log_options options = {.segment_bytes = SEGMENT_BYTES};
    struct partition_log_checkpoint entry;
    struct ria_uuid topic_id = layout_topic_id(p);
    char name[64];
    char dir[80];
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(topic_id, text);
    (void)snprintf(name, sizeof(name), "%s-%" PRId32, text, layout_number(p));
    (void)snprintf(dir, sizeof(dir), "%s/%s", DATA, name);
    if (!has_folder(m, name) && p == LAYOUT_DELETED) {
        return RIA_OK; /* the topic is gone, or its folder has not been made yet */
    }
    checkpoint_get(m->checkpoint, &topic_id, layout_number(p), &entry);
    return partition_log_open(
        &m->env,
        m->cache,
        dir,
        &topic_id,
        layout_number(p),
        &options,
        &entry,
        on_synced,
        m,
        &m->logs[p]
    );
}

static bool check_identity(struct machine *m)
{
    struct identity identity = {.node_id = -1};

    ria_err err = identity_load(m->env.fs, DATA, &identity);
    bool is_good = err == RIA_OK || err == RIA_ERR_NOT_FOUND; /* a new folder gets a new one */
    if (is_good && (!m->must_have_number || identity.node_id == LAYOUT_NODE)) {
        return true;
    }
    (void)snprintf(
        m->why,
        sizeof(m->why),
        "the node is number %" PRId32 ": %s",
        identity.node_id,
        ria_err_text(err)
    );
    return false;
}

static bool recover(struct machine *m, struct judge *judge)
{
    RIA_ASSERT(segment_cache_new(m->env.fs, OPEN_FILES, &m->cache) == RIA_OK);
    RIA_ASSERT(checkpoint_load(&m->env, DATA, &m->checkpoint) == RIA_OK);
    if (!check_identity(m)) {
        return false;
    }
    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        ria_err err = open_log(m, p);
        if (err != RIA_OK) {
            (void)snprintf(m->why, sizeof(m->why), "partition %d: %s", p, ria_err_text(err));
            return false;
        }
        bool good =
            m->logs[p] == NULL ? judge_expected(judge, p) == 0 : judge_log(judge, p, m->logs[p]);
        if (!good) {
            (void)snprintf(
                m->why,
                sizeof(m->why),
                "partition %d: %s",
                p,
                m->logs[p] == NULL ? "its folder is gone" : judge->why
            );
            return false;
        }
        if (m->logs[p] != NULL) {
            partition_log_check(m->logs[p]);
        }
    }
    return true;
}

/* ---- and goes on ---- */

static void append_one(struct machine *m, struct judge *judge, int32_t p)
{
    struct batch_builder b;
    struct batch_header header;
    const char *reason = NULL;
    uint8_t value[64];
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(m->logs[p], &count);
    struct journal_mark mark = {.kind = JOURNAL_SENT, .partition = p, .record_count = 1};

    mark.leader_epoch = count == 0 ? 1 : epochs[count - 1].epoch + 1;
    ria_rand_bytes(&m->rand, value, sizeof(value));
    batch_builder_init(&b, SEGMENT_BYTES);
    ria_err err =
        batch_builder_add(&b, 1000, RIA_SLICE_NULL, ria_slice_of(value, sizeof(value)), NULL, 0);
    RIA_ASSERT(err == RIA_OK);
    struct ria_slice batch = batch_builder_finish(&b, -1, -1, -1);
    RIA_ASSERT(batch_validate(batch, SEGMENT_BYTES, &header, &reason) == RIA_OK);
    err =
        partition_log_append(m->logs[p], b.buf.data, &header, mark.leader_epoch, &mark.base_offset);
    RIA_ASSERT(err == RIA_OK);
    mark.crc = header.crc;
    judge_note(judge, &mark);
    mark.kind = JOURNAL_ACKED;
    judge_note(judge, &mark);
    partition_log_sync(m->logs[p]);
    batch_builder_fini(&b);
}

static void go_on(struct machine *m, struct judge *judge)
{
    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        if (m->logs[p] != NULL) {
            append_one(m, judge, p);
        }
    }
    while (ria_timers_next_us(&m->timers) != INT64_MAX) {
        m->now_us = ria_max_i64(m->now_us, ria_timers_next_us(&m->timers));
        (void)ria_timers_run(&m->timers);
    }
}

static void cut_power(struct machine *m)
{
    fault_fs_crash(m->fault);
    ria_fs_sim_crash(m->fs, true);
    forget(m);
}

/* From this call on nothing reaches the disk, and then the power is gone. Whatever the recovery
 * makes of it, it is not asked. */
static void recover_in_part(struct machine *m, uint64_t calls)
{
    const struct fault fault = {
        .at = calls, .err = RIA_ERR_IO, .and_later = true, .any_change = true};
    const struct fault none = {.at = 0};
    struct identity identity;

    fault_fs_set(m->fault, &fault);
    ria_err err = segment_cache_new(m->env.fs, OPEN_FILES, &m->cache);
    RIA_ASSERT(err == RIA_OK);
    err = identity_load(m->env.fs, DATA, &identity);
    if (err == RIA_OK || err == RIA_ERR_NOT_FOUND) {
        err = checkpoint_load(&m->env, DATA, &m->checkpoint);
    }
    for (int32_t p = 0; err == RIA_OK && p < LAYOUT_PARTITIONS; p++) {
        err = open_log(m, p);
    }
    fault_fs_set(m->fault, &none);
    cut_power(m);
}

/* ---- images ---- */

struct image {
    uint64_t number;
    size_t point; /* entries of the journal that have happened */
    disk_cut cut;
    uint64_t seed;
    uint64_t recovery_calls; /* after so many the power fails once more; 0: it does not */
};

/* The judge's view is the journal's; what the machine does on its own is taken back. */
static bool
try_image(const struct image *image, const struct disk *disk, struct judge *judge, bool verbose)
{
    struct machine *m = malloc(sizeof(*m));
    struct ria_rand rand;
    size_t known = judge->count;

    RIA_ASSERT(m != NULL);
    machine_init(m, image->seed);
    ria_rand_init(&rand, image->seed);
    disk_image(disk, &rand, image->cut, m->fs, DATA);
    for (int32_t p = 0; p < LAYOUT_PARTITIONS; p++) {
        m->must_have_number = m->must_have_number || judge_expected(judge, p) > 0;
    }
    const char *when = "after the power cut";
    if (image->recovery_calls > 0) {
        recover_in_part(m, image->recovery_calls);
    }
    bool good = recover(m, judge);
    if (good) {
        go_on(m, judge);
        cut_power(m);
        when = "after the second power cut";
        good = recover(m, judge);
    }
    if (!good || verbose) {
        printf(
            "%s image %" PRIu64 " (%s at entry %zu)%s%s%s%s\n%s",
            good ? "ok  " : "FAIL",
            image->number,
            cut_names[image->cut],
            image->point,
            good ? "" : ", ",
            good ? "" : when,
            good ? "" : ": ",
            good ? "" : m->why,
            m->lines
        );
    }
    judge_forget(judge, known);
    machine_fini(m);
    free(m);
    return good;
}

static int by_point(const void *a, const void *b)
{
    const struct image *one = a;
    const struct image *two = b;

    if (one->point != two->point) {
        return one->point < two->point ? -1 : 1;
    }
    return one->number < two->number ? -1 : 1;
}

static struct image draw(uint64_t seed, uint64_t number, size_t count)
{
    struct ria_rand rand;
    struct image image = {.number = number};

    ria_rand_init(&rand, seed * 1000003 + number);
    image.point = 1 + (size_t)ria_rand_below(&rand, count);
    uint64_t how = ria_rand_below(&rand, 10);
    image.cut = how == 0 ? DISK_KILL : how < 3 ? DISK_LOSE : how < 6 ? DISK_PREFIX : DISK_MIX;
    image.seed = ria_rand_u64(&rand);
    image.recovery_calls =
        ria_rand_one_in(&rand, 2) ? 1 + ria_rand_below(&rand, RECOVERY_CALLS_MAX) : 0;
    return image;
}

struct options {
    const char *journal;
    uint64_t images;
    uint64_t seed;
    uint64_t only; /* 0 = all */
    bool verbose;
};

/* Returns how many failed. */
static uint64_t try_all(const struct options *options, const struct journal *journal)
{
    struct image *images = calloc(options->images, sizeof(*images));
    struct disk *disk = disk_new();
    struct judge judge;
    uint64_t failed = 0;
    size_t done = 0;

    RIA_ASSERT(images != NULL);
    judge_init(&judge);
    for (uint64_t i = 0; i < options->images; i++) {
        images[i] = draw(options->seed, options->only == 0 ? i + 1 : options->only, journal->count);
    }
    qsort(images, options->images, sizeof(*images), by_point);
    for (uint64_t i = 0; i < options->images; i++) {
        for (; done < images[i].point; done++) {
            const struct disk_step *step = &journal->steps[done];
            disk_apply(disk, step);
            if (step->entry->kind == JOURNAL_MARK) {
                struct journal_mark mark;
                RIA_ASSERT(step->entry->data_size == sizeof(mark));
                memcpy(&mark, step->data, sizeof(mark));
                judge_note(&judge, &mark);
            }
        }
        failed += try_image(&images[i], disk, &judge, options->verbose) ? 0 : 1;
    }
    judge_fini(&judge);
    disk_free(disk);
    free(images);
    return failed;
}

static bool parse(int argc, char **argv, struct options *out)
{
    *out = (struct options){.images = IMAGES_DEFAULT, .seed = 1};
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--journal=", 10) == 0) {
            out->journal = argv[i] + 10;
        } else if (strncmp(argv[i], "--images=", 9) == 0) {
            out->images = strtoull(argv[i] + 9, NULL, 10);
        } else if (strncmp(argv[i], "--seed=", 7) == 0) {
            out->seed = strtoull(argv[i] + 7, NULL, 10);
        } else if (strncmp(argv[i], "--only=", 7) == 0) {
            out->only = strtoull(argv[i] + 7, NULL, 10);
        } else if (strcmp(argv[i], "--verbose") == 0) {
            out->verbose = true;
        } else {
            return false;
        }
    }
    if (out->only != 0) {
        out->images = 1;
        out->verbose = true;
    }
    return out->journal != NULL && out->images > 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct journal journal = {.bytes = NULL};

    if (!parse(argc, argv, &options)) {
        (void
        )fprintf(stderr, "images --journal=FILE [--images=N] [--seed=N] [--only=N] [--verbose]\n");
        return 2;
    }
    load_journal(options.journal, &journal);
    split_journal(&journal);
    uint64_t failed = try_all(&options, &journal);
    printf("%zu entries in %zu bytes of journal\n", journal.count, journal.size);
    free_journal(&journal);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", options.images - failed, failed);
    return failed == 0 ? 0 : 1;
}
