#include "services/gateway/marks.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/leader_call.h"

enum {
    PROBE_ARENA_MAX = 16 * 1024 * 1024,
};

typedef struct watch_response_watched_partition watched_partition;

struct mark {
    const struct cluster_partition *partition;
    int64_t high_watermark;
    int64_t announced; /* -1: nothing */
    int64_t announced_us;
    struct marks_sizes sizes;
};

void marks_init(struct marks *marks, const struct ria_env *env, struct cluster *cluster)
{
    marks->env = env;
    marks->cluster = cluster;
    ria_map_init(&marks->map);
    outcalls_init(&marks->outcalls, env->rpc);
    ria_list_init(&marks->checks);
}

void marks_fini(struct marks *marks)
{
    size_t cursor = 0;
    struct mark *mark;

    while ((mark = ria_map_next(&marks->map, &cursor)) != NULL) {
        free(mark);
    }
    ria_map_fini(&marks->map);
    outcalls_fini(&marks->outcalls);
}

int64_t marks_get(const struct marks *marks, const struct cluster_partition *partition)
{
    const struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    return mark == NULL ? -1 : mark->high_watermark;
}

void marks_note(
    struct marks *marks, const struct cluster_partition *partition, int64_t high_watermark
)
{
    struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    if (high_watermark < 0) {
        return;
    }
    if (mark == NULL) {
        mark = malloc(sizeof(*mark));
        if (mark == NULL) {
            return;
        }
        mark->partition = partition;
        mark->announced = -1;
        mark->sizes = (struct marks_sizes){0};
        if (ria_map_put(&marks->map, &mark->partition, sizeof(mark->partition), mark) != RIA_OK) {
            free(mark);
            return;
        }
    }
    mark->high_watermark = high_watermark;
}

void marks_announce(struct marks *marks, const struct cluster_partition *partition, int64_t log_end)
{
    struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    if (mark != NULL && log_end > 0) {
        mark->announced = log_end;
        mark->announced_us = ria_clock_mono_us(marks->env->clock);
    }
}

int64_t marks_announced(const struct marks *marks, const struct cluster_partition *partition)
{
    const struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    return mark == NULL ? -1 : mark->announced;
}

int64_t marks_coming(const struct marks *marks, const struct cluster_partition *partition)
{
    const struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    if (mark == NULL || mark->announced <= mark->high_watermark ||
        ria_clock_mono_us(marks->env->clock) >=
            mark->announced_us + (int64_t)MARKS_COMING_MS * 1000) {
        return -1;
    }
    return mark->announced;
}

struct marks_sizes
marks_sizes_get(const struct marks *marks, const struct cluster_partition *partition)
{
    const struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    return mark == NULL ? (struct marks_sizes){0} : mark->sizes;
}

void marks_sizes_note(
    struct marks *marks, const struct cluster_partition *partition, struct marks_sizes sizes
)
{
    struct mark *mark = ria_map_get(&marks->map, &partition, sizeof(partition));

    if (mark != NULL) {
        mark->sizes = sizes;
    }
}

/* --- probes ------------------------------------------------------------------------------------*/

static ria_err take_reply(struct marks *marks, const struct ria_msg *reply, bool *out_complete)
{
    struct watch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, PROBE_ARENA_MAX);
    ria_err err = envelope_read_reply(reply, API_WATCH, &arena, &response, NULL, NULL, 0);
    for (uint32_t i = 0; err == RIA_OK && i < response.partitions_count; i++) {
        const watched_partition *from = &response.partitions[i];
        const struct cluster_partition *partition =
            cluster_partition(marks->cluster, &from->topic_id, from->partition);
        if (from->error_code != 0) {
            *out_complete = false;
        } else if (partition != NULL) {
            marks_note(marks, partition, from->high_watermark);
        }
    }
    ria_arena_fini(&arena);
    return err;
}

static void node_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct marks_probe *probe = arg;

    if (err == RIA_OK) {
        err = take_reply(probe->marks, reply, &probe->complete);
        ria_msg_free(reply);
    }
    probe->complete = probe->complete && err == RIA_OK;
    if (--probe->under_way == 0) {
        probe->done(probe);
    }
}

/* What one leader is asked; NULL: no memory. */
static struct ria_msg *
build(const struct marks_probe *probe, int32_t leader, struct ria_arena *arena)
{
    struct watch_request request;

    watch_request_init(&request);
    /* Not the id of anybody who waits: nobody's watch must end. */
    request.watch_id = (int64_t)(ria_rand_u64(probe->marks->env->rand) >> 1);
    request.wait_ms = 0;
    request.partitions = ria_arena_alloc_array(arena, probe->count, sizeof(*request.partitions));
    if (request.partitions == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < probe->count; i++) {
        const struct marks_at *at = &probe->at[i];
        if (at->partition->leader == leader) {
            request.partitions[request.partitions_count++] = (struct watch_request_watch_partition){
                .topic_id = at->partition->topic->id,
                .partition = at->partition->number,
                .offset = at->offset,
            };
        }
    }
    return envelope_request(API_WATCH, 0, -1, probe->timeout_ms, &request, 0, NULL);
}

static void ask(struct marks_probe *probe, const struct cluster_partition *partition)
{
    struct marks *marks = probe->marks;
    const char *address = leader_address(marks->cluster, partition);
    struct ria_arena arena;

    ria_arena_init(&arena, PROBE_ARENA_MAX);
    struct ria_msg *msg = build(probe, partition->leader, &arena);
    ria_arena_fini(&arena);
    if (outcall_start(&marks->outcalls, address, msg, probe->timeout_ms, node_done, probe) ==
        NULL) {
        probe->complete = false;
    } else {
        probe->under_way++;
    }
}

bool marks_probe_start(struct marks *marks, struct marks_probe *probe)
{
    uint64_t asked[RIA_NODES_MAX / 64 + 1] = {0};

    RIA_ASSERT(probe->done != NULL);
    probe->marks = marks;
    probe->under_way = 0;
    probe->complete = true;
    for (uint32_t i = 0; i < probe->count; i++) {
        const struct cluster_partition *partition = probe->at[i].partition;
        int32_t leader = partition->leader;
        if (leader < 0 || leader > RIA_NODES_MAX ||
            leader_address(marks->cluster, partition) == NULL) {
            probe->complete = false;
            continue;
        }
        uint64_t bit = UINT64_C(1) << (leader % 64);
        if ((asked[leader / 64] & bit) == 0) {
            asked[leader / 64] |= bit;
            ask(probe, partition);
        }
    }
    return probe->under_way > 0;
}
