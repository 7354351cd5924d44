#include "services/storage/disk_space.h"

#include "common/assert.h"

static void look(struct disk_space *space, int64_t now_us)
{
    uint64_t free_bytes = 0;

    ria_err err = ria_fs_free_bytes(space->env->fs, space->path, &free_bytes);
    space->free_bytes = err == RIA_OK ? (int64_t)(free_bytes & INT64_MAX) : -1;
    space->written = 0;
    space->looked_us = now_us;
}

void disk_space_init(
    struct disk_space *space, const struct ria_env *env, const char *path, int64_t reserve_bytes
)
{
    uint64_t total_bytes = 0;

    *space = (struct disk_space){.env = env, .path = path, .reserve_bytes = reserve_bytes};
    if (ria_fs_total_bytes(env->fs, path, &total_bytes) == RIA_OK) {
        int64_t part = (int64_t)(total_bytes / DISK_SPACE_RESERVE_PART & INT64_MAX);
        space->reserve_bytes = ria_min_i64(reserve_bytes, part);
    }
    look(space, ria_clock_mono_us(env->clock));
}

static int64_t left(const struct disk_space *space)
{
    return space->free_bytes - space->written;
}

int64_t disk_space_free_bytes(struct disk_space *space)
{
    look(space, ria_clock_mono_us(space->env->clock));
    return space->free_bytes;
}

/* Not full any more: somewhat more is free, or it would be full again at once. */
static int64_t enough(const struct disk_space *space)
{
    return space->reserve_bytes + space->reserve_bytes / 8;
}

/* What must stay free behind what the user writes. */
static int64_t kept(const struct disk_space *space, disk_space_user user)
{
    if (user == DISK_SPACE_FOLLOWER) {
        return space->reserve_bytes / 2;
    }
    return space->full ? enough(space) : space->reserve_bytes;
}

bool disk_space_take(struct disk_space *space, disk_space_user user, size_t size)
{
    int64_t now_us = ria_clock_mono_us(space->env->clock);
    int64_t bytes = (int64_t)size;

    RIA_ASSERT(size <= INT64_MAX);

    if (space->reserve_bytes == 0) {
        return true;
    }
    bool is_near = left(space) - bytes < 2 * space->reserve_bytes;
    int64_t age_ms = is_near ? DISK_SPACE_LOOK_NEAR_MS : DISK_SPACE_LOOK_MS;
    if (now_us - space->looked_us >= age_ms * 1000) {
        look(space, now_us);
    }
    if (space->free_bytes < 0) {
        return true;
    }
    bool has_room = left(space) - bytes >= kept(space, user);
    space->full = !has_room || (space->full && left(space) - bytes < enough(space));
    space->written += has_room ? bytes : 0;
    return has_room;
}
