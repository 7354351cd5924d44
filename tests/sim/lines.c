#include "tests/sim/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/map.h"

#include "tests/sim/history.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

bool lines_next(struct ria_slice *lines, struct ria_slice *out_line)
{
    const uint8_t *end = lines->size == 0 ? NULL : memchr(lines->data, '\n', lines->size);

    if (end == NULL) {
        return false;
    }
    size_t size = (size_t)(end - lines->data);
    *out_line = ria_slice_sub(*lines, 0, size);
    *lines = ria_slice_sub(*lines, size + 1, lines->size);
    return true;
}

struct ria_slice lines_behind(struct ria_slice line, const char *mark)
{
    size_t size = strlen(mark);
    const uint8_t *found = line.size == 0 ? NULL : memmem(line.data, line.size, mark, size);

    return found == NULL ? RIA_SLICE_NULL
                         : ria_slice_sub(line, (size_t)(found - line.data) + size, line.size);
}

bool lines_number(struct ria_slice line, const char *mark, int64_t *out_number)
{
    struct ria_slice rest = lines_behind(line, mark);

    if (rest.size == 0) {
        return false;
    }
    *out_number = strtoll((const char *)rest.data, NULL, 10);
    return true;
}

struct ria_slice lines_text(struct ria_slice line, const char *mark)
{
    struct ria_slice rest = lines_behind(line, mark);
    const uint8_t *end = rest.size == 0 ? NULL : memchr(rest.data, '"', rest.size);

    return end == NULL ? RIA_SLICE_NULL : ria_slice_sub(rest, 0, (size_t)(end - rest.data));
}

static bool find_topic(const struct world *world, struct ria_slice line, uint32_t *out_topic)
{
    char name[WORLD_NAME_SIZE];
    char mark[WORLD_NAME_SIZE + 16];

    for (uint32_t i = 0; i < world->plan->topic_count; i++) {
        world_topic_name(world, i, name);
        int size = snprintf(mark, sizeof(mark), "{\"topic\":\"%s\",", name);
        if (line.size > (size_t)size && memcmp(line.data, mark, (size_t)size) == 0) {
            *out_topic = i;
            return true;
        }
    }
    return false;
}

bool lines_parse(const struct world *world, struct ria_slice line, struct line_record *out)
{
    const struct plan *plan = world->plan;
    struct ria_slice value = lines_behind(line, "\"value\":");
    uint32_t topic = 0;
    int64_t number = 0;

    if (!find_topic(world, line, &topic) || !lines_number(line, ",\"partition\":", &number) ||
        !lines_number(line, ",\"offset\":", &out->offset) ||
        number >= plan->topics[topic].partition_count || !records_parse(value, &out->value)) {
        return false;
    }
    struct ria_slice head = ria_slice_sub(line, 0, line.size - value.size);
    struct ria_slice key = lines_text(head, ",\"key\":\"");
    out->partition = plan->topics[topic].first_partition + (uint32_t)number;
    out->key = key.size == 0 ? HISTORY_NO_KEY : (int64_t)(ria_hash_bytes(key.data, key.size) >> 1);
    return true;
}
