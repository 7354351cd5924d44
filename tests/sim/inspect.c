#include "tests/sim/inspect.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "tests/sim/client.h"
#include "tests/sim/consumers.h"
#include "tests/sim/inspect_internal.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

bool inspect_describe(
    const struct sim_node *node, uint32_t partition, struct storage_replica_info *out_info
)
{
    uint32_t topic = 0;
    int32_t number = 0;

    if (node->storage == NULL) {
        return false;
    }
    world_find_partition(node->world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(node->world, topic);
    return storage_describe_replica(node->storage, &id, number, out_info) && out_info->open;
}

bool inspect_find_leader(
    const struct world *world, uint32_t partition, struct storage_replica_info *out_info
)
{
    struct storage_replica_info info;
    bool found = false;

    /* One that has not heard of its successor may be left: the newest counts. */
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (inspect_describe(&world->nodes[i], partition, &info) && info.leader &&
            (!found || info.leader_epoch > out_info->leader_epoch)) {
            *out_info = info;
            found = true;
        }
    }
    return found;
}

int64_t inspect_leader_end(const struct world *world, uint32_t partition)
{
    struct storage_replica_info info;

    return inspect_find_leader(world, partition, &info) ? info.end_offset : -1;
}

/* ---- records of one log ---- */

struct walk {
    struct world *world;
    uint32_t node;
    uint32_t partition;
    history_kind kind;
    int64_t until; /* records at and behind it are not reported */
    int64_t watermark;
    int64_t next;
};

static void on_record(void *arg, int64_t offset, uint64_t value)
{
    struct walk *walk = arg;
    struct history_event event = {
        .time_us = walk->world->now_us,
        .kind = walk->kind,
        .actor = walk->node,
        .partition = walk->partition,
        .offset = offset,
        .value = value,
        .watermark = walk->watermark,
    };

    if (offset < walk->until) {
        history_add(&walk->world->history, &event);
        walk->next = offset + 1;
    }
}

/* Report the log from walk->next up to walk->until. */
static void walk_log(struct walk *walk, const struct sim_node *node)
{
    uint32_t topic = 0;
    int32_t number = 0;
    uint8_t *bytes = walk->world->scratch;

    world_find_partition(walk->world, walk->partition, &topic, &number);
    struct ria_uuid id = world_topic_id(walk->world, topic);
    while (walk->next < walk->until) {
        size_t size = 0;
        int64_t before = walk->next;
        int64_t next = before;
        ria_err err = storage_read_replica(
            node->storage, &id, number, walk->next, bytes, WORLD_SCRATCH_SIZE, &size
        );
        if (err == RIA_OK && size > 0) {
            err = records_walk(ria_slice_of(bytes, size), walk->next, on_record, walk, &next);
        }
        bool may_fail = (node->has_bad_disk || plan_has(walk->world->plan, PLAN_ROT)) &&
                        walk->kind == HISTORY_STORED;
        /* TOO_LARGE: a length of which a bit is wrong. */
        bool is_bad = err == RIA_ERR_CORRUPT || err == RIA_ERR_IO || err == RIA_ERR_TOO_LARGE;
        if (is_bad && may_fail) {
            break; /* it must be mended in the end */
        }
        if (err != RIA_OK || size == 0) {
            world_break(
                walk->world,
                "bad-log",
                walk->partition,
                "%s: its log cannot be read at %" PRId64 ": %s",
                node->name,
                walk->next,
                err == RIA_OK ? "nothing there" : ria_err_name(err)
            );
            break;
        }
        if (walk->next <= before) {
            break; /* holes; the checker will say so */
        }
    }
}

/* ---- transforms ---- */

struct counting {
    uint32_t skip_one_in;
    int64_t passing;
};

static void count_passing(void *arg, int64_t offset, uint64_t value)
{
    struct counting *counting = arg;

    (void)offset;
    counting->passing += history_passes(value, counting->skip_one_in);
}

static const struct sim_node *leader_node(const struct world *world, uint32_t partition)
{
    struct storage_replica_info leader;
    struct storage_replica_info info;

    for (uint32_t i = 0; inspect_find_leader(world, partition, &leader) && i < world->node_count;
         i++) {
        if (inspect_describe(&world->nodes[i], partition, &info) && info.leader &&
            info.leader_epoch == leader.leader_epoch) {
            return &world->nodes[i];
        }
    }
    return NULL;
}

/* Records of the partition's log that its transform must pass on; -1: it cannot be read now. */
static int64_t count_source(
    const struct world *world, uint32_t partition, uint32_t skip_one_in, struct inspect_count *count
)
{
    const struct sim_node *node = leader_node(world, partition);
    struct storage_replica_info info;
    uint32_t topic = 0;
    int32_t number = 0;
    ria_err err = RIA_OK;

    if (node == NULL || !inspect_describe(node, partition, &info)) {
        return -1;
    }
    if (count->node != node->number || count->epoch != info.leader_epoch) {
        *count = (struct inspect_count){.node = node->number, .epoch = info.leader_epoch};
    }
    struct counting counting = {.skip_one_in = skip_one_in, .passing = count->passing};
    int64_t next = ria_max_i64(count->next, info.start_offset);
    uint8_t *bytes = world->scratch;
    world_find_partition(world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(world, topic);
    while (err == RIA_OK && next < info.end_offset) {
        size_t size = 0;
        err = storage_read_replica(
            node->storage, &id, number, next, bytes, WORLD_SCRATCH_SIZE, &size
        );
        if (err == RIA_OK) {
            struct ria_slice batches = ria_slice_of(bytes, size);
            err = size == 0 ? RIA_ERR_NOT_FOUND
                            : records_walk(batches, next, count_passing, &counting, &next);
        }
    }
    if (err != RIA_OK) {
        return -1;
    }
    count->next = next;
    count->passing = counting.passing;
    return count->passing;
}

bool inspect_is_derived(
    const struct world *world,
    uint32_t topic_number,
    struct inspect_count *counts,
    int64_t *out_missing
)
{
    const struct plan_topic *topic = &world->plan->topics[topic_number];
    const struct plan_topic *source = &world->plan->topics[topic->source];
    int64_t missing = 0;

    for (uint32_t i = 0; i < (uint32_t)source->partition_count; i++) {
        uint32_t from = source->first_partition + i;
        int64_t end = inspect_leader_end(world, topic->first_partition + i);
        int64_t count = count_source(world, from, topic->skip_one_in, &counts[from]);
        if (end < 0 || count < 0) {
            *out_missing = -1;
            return false;
        }
        missing += count - end;
    }
    *out_missing = missing;
    return missing == 0;
}

/* ---- during the run ---- */

void inspector_init(struct inspector *inspector, struct world *world)
{
    *inspector = (struct inspector){.world = world};
    for (size_t i = 0; i < RIA_COUNT(inspector->positions); i++) {
        inspector->positions[i] = -1;
    }
}

static void look_at(struct inspector *inspector, struct sim_node *node, uint32_t partition)
{
    struct world *world = inspector->world;
    struct storage_replica_info info;

    if (!inspect_describe(node, partition, &info)) {
        return;
    }
    /* A leader's flipped epoch may look like the followers'. */
    bool may_be_damaged = node->has_bad_disk || plan_has(world->plan, PLAN_ROT);
    if ((info.damaged && !may_be_damaged) || (info.failed && !node->has_bad_disk)) {
        world_break(
            world,
            "bad-log",
            partition,
            "%s says its log is %s",
            node->name,
            info.damaged ? "damaged" : "failed"
        );
        world->is_broken = true;
        return;
    }
    if (info.leader) {
        struct history_event event = {
            .time_us = world->now_us,
            .kind = HISTORY_WATERMARK,
            .actor = node->number,
            .partition = partition,
            .epoch = info.leader_epoch,
            .watermark = info.high_watermark,
        };
        history_add(&world->history, &event);
    }
    struct walk walk = {
        .world = world,
        .node = node->number,
        .partition = partition,
        .kind = HISTORY_STORED,
        .until = info.high_watermark,
        .watermark = info.high_watermark,
        .next = ria_max_i64(inspector->cursors[node->number][partition], info.start_offset),
    };
    walk_log(&walk, node);
    inspector->cursors[node->number][partition] = walk.next;
}

/* It was dropped from the partition, and has deleted its data; or it never had any. */
static bool holds_nothing(const struct sim_node *node, uint32_t partition)
{
    uint32_t topic = 0;
    int32_t number = 0;
    struct storage_replica_info info;

    world_find_partition(node->world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(node->world, topic);
    return storage_is_ready(node->storage) &&
           !storage_describe_replica(node->storage, &id, number, &info);
}

static void note_replica(struct sim_node *node, uint32_t partition)
{
    struct storage_replica_info info;

    if (!inspect_describe(node, partition, &info)) {
        if (holds_nothing(node, partition)) {
            node->durable[partition] = 0;
            node->on_disk[partition] = 0;
        }
        return;
    }
    bool is_relaxed = plan_may_be_relaxed(node->world->plan, partition);
    int64_t durable = is_relaxed ? info.end_offset : info.synced_offset;
    if (durable < node->durable[partition]) {
        trace_say(
            &node->world->trace,
            "%s has cut partition %" PRIu32 " from %" PRId64 " to %" PRId64,
            node->name,
            partition,
            node->durable[partition],
            durable
        );
    }
    node->durable[partition] = durable;
    node->on_disk[partition] = info.durable_offset;
    node->node_id = storage_node_id(node->storage);
}

static void note_committed(struct sim_node *node, uint32_t partition)
{
    struct coordinator_partition_info *known = &node->known[partition];
    struct coordinator_partition_info info;
    uint32_t topic = 0;
    int32_t number = 0;

    world_find_partition(node->world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(node->world, topic);
    if (!coordinator_describe_partition(node->coordinator, &id, number, &info)) {
        node->is_known[partition] =
            false; /* not made yet, or deleted: the replicas go one by one */
        return;
    }
    if (node->is_known[partition] && (info.leader_epoch < known->leader_epoch ||
                                      info.partition_epoch < known->partition_epoch)) {
        world_break(
            node->world,
            "epoch-back",
            partition,
            "leader epoch %" PRId32 " and partition epoch %" PRId32 " became %" PRId32
            " and %" PRId32,
            known->leader_epoch,
            known->partition_epoch,
            info.leader_epoch,
            info.partition_epoch
        );
    }
    node->is_known[partition] = true;
    *known = info;
}

/* What the coordinator knows of groups and queues holds together, whatever has happened to it. */
static void check_groups(struct sim_node *node)
{
    const char *wrong = coordinator_check_queues(node->coordinator);

    if (wrong != NULL) {
        world_break(node->world, "queue-ranges", 0, "%s", wrong);
    }
    wrong = coordinator_check_groups(node->coordinator);
    if (wrong != NULL) {
        world_break(node->world, "groups", 0, "%s", wrong);
    }
}

void inspect_note_durable(struct sim_node *node)
{
    if (node->coordinator != NULL) {
        check_groups(node);
    }
    for (uint32_t p = 0; p < node->world->plan->partition_count; p++) {
        if (node->storage != NULL) {
            note_replica(node, p);
        } else if (node->coordinator != NULL) {
            note_committed(node, p);
        }
    }
}

bool inspect_has_member(const struct coordinator_partition_info *known, int32_t node_id)
{
    for (uint32_t i = 0; i < known->isr_count; i++) {
        if (known->isr[i] == node_id) {
            return true;
        }
    }
    return false;
}

/* A member is up or down; what it had on disk when it died it has for ever. is_synced: the leader
 * says of what it acknowledges that it is on disk. */
static void check_members(
    struct world *world,
    const struct coordinator_partition_info *known,
    uint32_t partition,
    int64_t watermark,
    bool is_synced
)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        int64_t has = is_synced ? ria_min_i64(node->on_disk[partition], node->durable[partition])
                                : node->durable[partition];
        /* A bad disk may have lost what it had; the others of the set have it. */
        if (node->role == PLAN_STORAGE && node->node_id >= 0 &&
            inspect_has_member(known, node->node_id) && !node->has_bad_disk && has < watermark) {
            world_break(
                world,
                "commit-beyond-isr",
                partition,
                "the high watermark is %" PRId64 ", but %s, which is in sync, has only %" PRId64
                " on disk",
                watermark,
                node->name,
                has
            );
        }
    }
}

static void check_commits(struct world *world, uint32_t partition)
{
    const struct sim_node *coordinator = &world->nodes[0];
    struct storage_replica_info info;

    for (uint32_t i = 0; i < world->node_count && coordinator->is_known[partition]; i++) {
        if (inspect_describe(&world->nodes[i], partition, &info) && info.leader) {
            check_members(
                world,
                &coordinator->known[partition],
                partition,
                info.high_watermark,
                info.is_synced
            );
        }
    }
}

void inspector_look(struct inspector *inspector)
{
    struct world *world = inspector->world;

    if (world->plan->group_count > 0 && world->nodes[0].coordinator != NULL) {
        check_groups(&world->nodes[0]);
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct sim_node *node = &world->nodes[i];
        sim_node_check(node);
        for (uint32_t p = 0; p < world->plan->partition_count; p++) {
            if (inspector->boots[i] != node->boots) {
                inspector->cursors[i][p] = 0;
            }
            look_at(inspector, node, p);
        }
        inspector->boots[i] = node->boots;
    }
}

void inspector_glance(struct inspector *inspector)
{
    struct world *world = inspector->world;
    struct coordinator *coordinator = world->nodes[0].coordinator;

    for (uint32_t i = 0; i < world->node_count; i++) {
        bool changed = world->nodes[i].storage != NULL;
        if (i == 0 && coordinator != NULL) {
            changed = coordinator_version(coordinator) != inspector->version;
            inspector->version = coordinator_version(coordinator);
        }
        if (changed) {
            inspect_note_durable(&world->nodes[i]);
        }
    }
    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        check_commits(world, p);
    }
    if (world->plan->group_count > 0 && coordinator != NULL &&
        coordinator_applied_index(coordinator) != inspector->applied) {
        inspector->applied = coordinator_applied_index(coordinator);
        consumers_note_positions(world, inspector->positions);
    }
}

/* ---- at the end ---- */

const struct cluster_partition *inspect_metadata(const struct world *world, uint32_t partition)
{
    const struct sim_node *client = &world->nodes[world->plan->producers[0].client];
    uint32_t topic = 0;
    int32_t number = 0;

    world_find_partition(world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(world, topic);
    return cluster_partition(client->client->cluster, &id, number);
}

static bool is_in_sync(const struct world *world, uint32_t partition, const struct sim_node *node)
{
    const struct cluster_partition *found = inspect_metadata(world, partition);

    for (uint32_t i = 0; found != NULL && i < found->isr_count; i++) {
        if (found->isr[i] == storage_node_id(node->storage)) {
            return true;
        }
    }
    return false;
}

/* Where something of a deleted topic is left; false: nowhere. */
static bool find_remains(const struct world *world, uint32_t partition, char *out, size_t out_size)
{
    uint32_t topic = 0;
    int32_t number = 0;
    char id_text[RIA_UUID_TEXT_SIZE];
    char folder[64];
    struct storage_replica_info info;

    world_find_partition(world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(world, topic);
    ria_uuid_format(id, id_text);
    (void)snprintf(folder, sizeof(folder), "/data/%s-%" PRId32 "/partition.meta", id_text, number);
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        struct ria_file *file = NULL;
        if (node->storage == NULL) {
            continue;
        }
        bool is_held = storage_describe_replica(node->storage, &id, number, &info);
        bool is_stored = ria_fs_open(sim_disk_fs(node->disk), folder, RIA_FS_READ, &file) == RIA_OK;
        ria_fs_close(file);
        if (is_held || is_stored) {
            (void)snprintf(out, out_size, "was deleted and is still on %s", node->name);
            return true;
        }
    }
    return false;
}

/* Of a bad disk: is there a record that cannot be read? Who reads finds damage, and has it
 * repaired; what nobody reads may rot unseen, which no node can know. */
static bool
has_unseen_damage(const struct sim_node *node, uint32_t partition, int64_t offset, int64_t end)
{
    uint32_t topic = 0;
    int32_t number = 0;
    ria_err err = RIA_OK;
    struct counting ignored = {.skip_one_in = 0};
    uint8_t *bytes = node->world->scratch;

    world_find_partition(node->world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(node->world, topic);
    while (node->has_bad_disk && err == RIA_OK && offset < end) {
        size_t size = 0;
        err = storage_read_replica(
            node->storage, &id, number, offset, bytes, WORLD_SCRATCH_SIZE, &size
        );
        if (err == RIA_OK) {
            struct ria_slice batches = ria_slice_of(bytes, size);
            err = size == 0 ? RIA_ERR_NOT_FOUND
                            : records_walk(batches, offset, count_passing, &ignored, &offset);
        }
    }
    return err != RIA_OK;
}

/* Why the partition is not whole; false: it is. */
static bool find_flaw(const struct world *world, uint32_t partition, char *out, size_t out_size)
{
    if (plan_is_doomed(world->plan, partition)) {
        return find_remains(world, partition, out, out_size);
    }
    const struct cluster_partition *known = inspect_metadata(world, partition);
    struct storage_replica_info leader;
    struct storage_replica_info info;
    uint32_t replicas = 0;

    if (known == NULL || !inspect_find_leader(world, partition, &leader)) {
        (void)snprintf(out, out_size, "has no leader");
        return true;
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (!inspect_describe(node, partition, &info)) {
            continue;
        }
        replicas++;
        if (info.damaged || info.failed) {
            (void)snprintf(
                out, out_size, "is %s on %s", info.damaged ? "damaged" : "failed", node->name
            );
            return true;
        }
        if (info.end_offset != leader.end_offset || info.high_watermark != leader.end_offset) {
            (void)snprintf(
                out,
                out_size,
                "ends at %" PRId64 ", on %s at %" PRId64 " with high watermark %" PRId64,
                leader.end_offset,
                node->name,
                info.end_offset,
                info.high_watermark
            );
            return true;
        }
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (inspect_describe(node, partition, &info) &&
            has_unseen_damage(node, partition, info.start_offset, info.end_offset)) {
            (void)snprintf(out, out_size, "cannot be read as a whole on %s", node->name);
            return true;
        }
    }
    if (known->target.count > 0) {
        (void)snprintf(out, out_size, "is still moving");
        return true;
    }
    if (known->isr_count != known->replica_count || replicas != known->replica_count) {
        (void)snprintf(
            out,
            out_size,
            "has %" PRIu32 " replicas, %" PRIu32 " of them open, %" PRIu32 " in sync",
            known->replica_count,
            replicas,
            known->isr_count
        );
        return true;
    }
    return false;
}

bool inspect_is_whole(const struct world *world)
{
    char text[256];

    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (!node->is_up || (node->storage != NULL && !storage_is_ready(node->storage))) {
            return false;
        }
    }
    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        if (find_flaw(world, p, text, sizeof(text))) {
            return false;
        }
    }
    return true;
}

int64_t inspect_count_holes(const struct world *world)
{
    struct storage_replica_info info;
    int64_t count = 0;

    for (uint32_t i = 0; i < world->node_count; i++) {
        for (uint32_t p = 0; p < world->plan->partition_count; p++) {
            count += inspect_describe(&world->nodes[i], p, &info) ? info.hole_count : 0;
        }
    }
    return count;
}

void inspect_report_stuck(struct world *world)
{
    char text[256];

    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (!node->is_up || (node->storage != NULL && !storage_is_ready(node->storage))) {
            world_break(world, "liveness", 0, "%s is not ready", node->name);
        }
    }
    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        if (find_flaw(world, p, text, sizeof(text))) {
            world_break(world, "liveness", p, "partition %" PRIu32 " %s", p, text);
        }
    }
}

static void record_log(
    struct world *world, const struct sim_node *node, uint32_t partition, int32_t leader_epoch
)
{
    struct storage_replica_info info;

    if (!inspect_describe(node, partition, &info)) {
        return;
    }
    struct history_event event = {
        .time_us = world->now_us,
        .kind = HISTORY_REPLICA,
        .actor = node->number,
        .partition = partition,
        .epoch = info.leader_epoch,
        .offset = info.start_offset,
        .count = info.end_offset - info.start_offset,
        .watermark = info.high_watermark,
        .is_leader = info.leader && info.leader_epoch == leader_epoch,
        .is_in_sync = is_in_sync(world, partition, node),
    };
    history_add(&world->history, &event);
    struct walk walk = {
        .world = world,
        .node = node->number,
        .partition = partition,
        .kind = HISTORY_RECORD,
        .until = info.end_offset,
        .watermark = info.high_watermark,
        .next = info.start_offset,
    };
    walk_log(&walk, node);
}

void inspect_record_logs(struct world *world)
{
    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        struct storage_replica_info leader = {.leader_epoch = -1};
        if (plan_is_doomed(world->plan, p)) {
            struct history_event event = {
                .time_us = world->now_us, .kind = HISTORY_DROPPED, .partition = p};
            history_add(&world->history, &event);
            continue;
        }
        (void)inspect_find_leader(world, p, &leader);
        for (uint32_t i = 0; i < world->node_count; i++) {
            record_log(world, &world->nodes[i], p, leader.leader_epoch);
        }
    }
}
