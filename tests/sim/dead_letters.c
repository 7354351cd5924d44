#include "tests/sim/dead_letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"

#include "tests/sim/records.h"
#include "tests/sim/world.h"

enum { READ_SIZE = 256 * 1024 /* larger than any batch of ours */, NAME_SIZE = 96 };

/* A queue's dead-letter topic. */
struct dead_topic {
    struct world *world;
    uint32_t group;
    uint32_t topic; /* the queue's */
    struct ria_uuid id;
    int32_t partition_count;
};

/* False: nothing was dead yet. */
static bool find_topic(const struct world *world, uint32_t group, struct dead_topic *out)
{
    const struct plan_group *plan = &world->plan->groups[group];
    struct coordinator *coordinator = world->nodes[0].coordinator;
    char queue[WORLD_NAME_SIZE];
    char name[NAME_SIZE];

    if (!plan->is_queue || coordinator == NULL) {
        return false;
    }
    out->group = group;
    out->topic = 0;
    while ((plan->topics >> out->topic & 1) == 0) {
        out->topic++;
    }
    world_topic_name(world, out->topic, queue);
    (void)snprintf(name, sizeof(name), "%s.group-%" PRIu32 ".dead", queue, group);
    return coordinator_find_topic(coordinator, name, &out->id, &out->partition_count);
}

/* NULL: nobody leads it. */
static const struct sim_node *find_leader(
    const struct world *world,
    const struct dead_topic *topic,
    int32_t partition,
    struct storage_replica_info *out_info
)
{
    const struct sim_node *found = NULL;
    struct storage_replica_info info;

    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (node->storage != NULL &&
            storage_describe_replica(node->storage, &topic->id, partition, &info) && info.open &&
            info.leader && (found == NULL || info.leader_epoch > out_info->leader_epoch)) {
            found = node;
            *out_info = info;
        }
    }
    return found;
}

bool dead_letters_are_readable(const struct world *world)
{
    struct storage_replica_info info;
    struct dead_topic topic;

    for (uint32_t g = 0; g < world->plan->group_count; g++) {
        int32_t count = find_topic(world, g, &topic) ? topic.partition_count : 0;
        for (int32_t p = 0; p < count; p++) {
            if (find_leader(world, &topic, p, &info) == NULL ||
                info.high_watermark != info.end_offset) {
                return false;
            }
        }
    }
    return true;
}

/* ---- records ---- */

/* What the gateway says of where it comes from. */
struct origin {
    bool is_ours; /* by topic and group */
    int64_t partition;
    int64_t offset;
    int64_t deliveries;
    bool is_rejected;
};

static bool is_named(const struct batch_record_header *header, const char *name)
{
    return ria_slice_equal(header->name, ria_slice_cstr(name));
}

static int64_t number_of(const struct batch_record_header *header)
{
    char text[24] = "";
    size_t size = ria_min_size(header->value.size, sizeof(text) - 1);

    if (size > 0) {
        memcpy(text, header->value.data, size);
    }
    return size == 0 ? -1 : strtoll(text, NULL, 10);
}

static ria_err
read_origin(const struct dead_topic *topic, const struct batch_record *record, struct origin *out)
{
    char queue[WORLD_NAME_SIZE];
    char group[24];
    struct ria_slice rest = record->headers;
    struct batch_record_header header;
    uint32_t names = 0;

    *out = (struct origin){.partition = -1, .offset = -1, .deliveries = -1};
    world_topic_name(topic->world, topic->topic, queue);
    (void)snprintf(group, sizeof(group), "group-%" PRIu32, topic->group);
    for (bool more = true; more;) {
        RIA_TRY(batch_record_header_next(&rest, &header, &more));
        if (!more) {
            break;
        }
        if (is_named(&header, "riacho-dead-topic")) {
            names += ria_slice_equal(header.value, ria_slice_cstr(queue));
        } else if (is_named(&header, "riacho-dead-group")) {
            names += ria_slice_equal(header.value, ria_slice_cstr(group));
        } else if (is_named(&header, "riacho-dead-partition")) {
            out->partition = number_of(&header);
        } else if (is_named(&header, "riacho-dead-offset")) {
            out->offset = number_of(&header);
        } else if (is_named(&header, "riacho-dead-deliveries")) {
            out->deliveries = number_of(&header);
        } else if (is_named(&header, "riacho-dead-reason")) {
            out->is_rejected = ria_slice_equal(header.value, RIA_SLICE_LITERAL("rejected"));
        }
    }
    const struct plan_topic *of = &topic->world->plan->topics[topic->topic];
    out->is_ours = names == 2 && out->offset >= 0 && out->partition >= 0 &&
                   out->partition < of->partition_count;
    return RIA_OK;
}

static void note(const struct dead_topic *topic, const struct origin *origin, uint64_t value)
{
    struct world *world = topic->world;
    const struct plan_group *group = &world->plan->groups[topic->group];
    struct history_event event = {
        .time_us = world->now_us,
        .kind = HISTORY_DEAD,
        .group = topic->group,
        .partition =
            world->plan->topics[topic->topic].first_partition + (uint32_t)origin->partition,
        .offset = origin->offset,
        .value = value,
        .action = origin->is_rejected ? HISTORY_ACTION_REJECT : HISTORY_ACTION_NACK,
    };

    if (!origin->is_rejected && origin->deliveries < group->deliveries_max &&
        !plan_is_group_deleted(world->plan, topic->group)) {
        world_break(
            world,
            "dead-early",
            event.partition,
            "offset %" PRId64 " of queue %" PRIu32 " is dead after %" PRId64
            " deliveries, may have %" PRId32,
            origin->offset,
            topic->group,
            origin->deliveries,
            group->deliveries_max
        );
    }
    history_add(&world->history, &event);
}

/* The records of some whole batches. */
static ria_err walk(const struct dead_topic *topic, struct ria_slice batches, int64_t *next)
{
    struct batch_header header;
    struct batch_iter iter;
    struct batch_record record;
    struct origin origin;
    uint64_t value = 0;

    while (batches.size > 0) {
        RIA_TRY(batch_header_decode(batches, &header));
        size_t size = batch_size(&header);
        if (size > batches.size) {
            return RIA_ERR_MALFORMED;
        }
        struct ria_slice batch = ria_slice_sub(batches, 0, size);
        RIA_TRY(batch_check_crc(batch));
        RIA_TRY(batch_iter_init(&iter, batch));
        for (bool more = true; more;) {
            RIA_TRY(batch_iter_next(&iter, &record, &more));
            if (!more) {
                break;
            }
            RIA_TRY(read_origin(topic, &record, &origin));
            if (!origin.is_ours || !records_parse(record.value, &value)) {
                return RIA_ERR_MALFORMED;
            }
            note(topic, &origin, value);
        }
        *next = batch_last_offset(&header) + 1;
        batches = ria_slice_sub(batches, size, batches.size);
    }
    return RIA_OK;
}

/* The log of one node; what it holds twice, or another node too, is noted twice. */
static ria_err record_log(
    const struct dead_topic *topic,
    const struct sim_node *node,
    int32_t partition,
    int64_t end,
    uint8_t *bytes
)
{
    for (int64_t next = 0; next < end;) {
        size_t size = 0;
        RIA_TRY(storage_read_replica(
            node->storage, &topic->id, partition, next, bytes, READ_SIZE, &size
        ));
        if (size == 0) {
            return RIA_ERR_NOT_FOUND;
        }
        RIA_TRY(walk(topic, ria_slice_of(bytes, size), &next));
    }
    return RIA_OK;
}

/* The leader's log; where that is of a bad disk, which may rot where nobody reads, any that is as
 * long. */
static void record_partition(const struct dead_topic *topic, int32_t partition, uint8_t *bytes)
{
    struct world *world = topic->world;
    struct storage_replica_info info;
    const struct sim_node *leader = find_leader(world, topic, partition, &info);
    ria_err err = leader == NULL ? RIA_ERR_NO_LEADER
                                 : record_log(topic, leader, partition, info.end_offset, bytes);

    for (uint32_t i = 0;
         leader != NULL && leader->has_bad_disk && err != RIA_OK && i < world->node_count;
         i++) {
        const struct sim_node *node = &world->nodes[i];
        if (node->storage != NULL && node != leader) {
            err = record_log(topic, node, partition, info.end_offset, bytes);
        }
    }
    if (err != RIA_OK) {
        world_break(
            world,
            "bad-dead-letter",
            world->plan->topics[topic->topic].first_partition,
            "partition %" PRId32 " of the dead-letter topic of queue %" PRIu32 ": %s",
            partition,
            topic->group,
            ria_err_name(err)
        );
    }
}

void dead_letters_record(struct world *world)
{
    struct dead_topic topic = {.world = world};
    uint8_t *bytes = malloc(READ_SIZE);

    RIA_ASSERT(bytes != NULL);
    for (uint32_t g = 0; g < world->plan->group_count; g++) {
        int32_t count = find_topic(world, g, &topic) ? topic.partition_count : 0;
        for (int32_t p = 0; p < count; p++) {
            record_partition(&topic, p, bytes);
        }
    }
    free(bytes);
}
