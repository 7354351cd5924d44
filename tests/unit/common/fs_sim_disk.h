/* fs_sim_disk: a simulated disk with a folder "d", and a clock in the test's hands. */
#pragma once

#include "common/fs_sim.h"

#include "tests/unit/common/fs_contract.h"

struct fs_sim_disk {
    struct ria_clock clock;
    int64_t now_us;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_fs *fs;
};

static inline int64_t fs_sim_disk_mono_us(const struct ria_clock *clock)
{
    return ((const struct fs_sim_disk *)(const void *)clock)->now_us;
}
_Static_assert(offsetof(struct fs_sim_disk, clock) == 0, "fs_sim_disk_mono_us casts");

static inline void fs_sim_disk_init(struct fs_sim_disk *disk, uint64_t seed)
{
    *disk = (struct fs_sim_disk){.clock = {.mono_us = fs_sim_disk_mono_us}};
    ria_timers_init(&disk->timers, &disk->clock);
    ria_rand_init(&disk->rand, seed);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sim_new(&disk->timers, &disk->rand, &disk->fs), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_mkdir(disk->fs, "d"), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sync_dir(disk->fs, "/"), RIA_OK);
}

static inline void fs_sim_disk_fini(struct fs_sim_disk *disk)
{
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(disk->fs), 0);
    ria_fs_sim_free(disk->fs);
    ria_timers_fini(&disk->timers);
}

static inline void fs_sim_disk_advance(struct fs_sim_disk *disk, int64_t us)
{
    disk->now_us += us;
    (void)ria_timers_run(&disk->timers);
}

static inline struct ria_file *fs_sim_disk_open_new(struct fs_sim_disk *disk, const char *path)
{
    struct ria_file *file = NULL;
    unsigned flags = RIA_FS_WRITE | RIA_FS_CREATE;

    CU_ASSERT_EQUAL_FATAL(ria_fs_open(disk->fs, path, flags, &file), RIA_OK);
    return file;
}

/* A durable file, open. */
static inline struct ria_file *
fs_sim_disk_open_durable(struct fs_sim_disk *disk, const char *path, const char *content)
{
    struct ria_file *file = fs_sim_disk_open_new(disk, path);

    CU_ASSERT_EQUAL(ria_fs_pwrite(file, content, strlen(content), 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync_dir(disk->fs, "d"), RIA_OK);
    return file;
}

/* A sync that counts how often it was told to be done. */
struct fs_sim_disk_sync {
    struct ria_fs_sync sync;
    unsigned done_count;
};

static inline void fs_sim_disk_synced(struct ria_fs_sync *sync)
{
    RIA_CONTAINER(sync, struct fs_sim_disk_sync, sync)->done_count++;
}
