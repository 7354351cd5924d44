#include "services/gateway/queue_names.h"

#include <stdio.h>
#include <string.h>

#include "common/crc.h"
#include "common/limits.h"

#include "services/shared/queue_dead.h"

enum {
    SUFFIX_SIZE = 5,      /* ".dead" */
    SUM_SIZE = 9,         /* "-" and eight digits */
    GROUP_SIZE_MAX = 255, /* docs/design/010-consuming.md */
};

#define REDRIVE_SUFFIX ".redrive"

static bool is_name_character(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

struct ria_slice
queue_dead_topic(struct ria_arena *arena, const char *topic, struct ria_slice group)
{
    size_t topic_size = strlen(topic);
    size_t size = topic_size + 1 + group.size;
    size_t room = RIA_TOPIC_NAME_MAX - SUFFIX_SIZE;
    char *name = ria_arena_alloc(arena, size + SUM_SIZE + SUFFIX_SIZE + 1);
    bool same = size <= room;

    if (name == NULL) {
        return RIA_SLICE_NULL;
    }
    memcpy(name, topic, topic_size);
    name[topic_size] = '.';
    for (size_t i = 0; i < group.size; i++) {
        bool fine = is_name_character(group.data[i]);
        name[topic_size + 1 + i] = fine ? (char)group.data[i] : '_';
        same = same && fine;
    }
    if (!same) {
        uint32_t sum = ria_crc32c(group.data, group.size) ^ ria_crc32c(topic, topic_size);
        size = size < room - SUM_SIZE ? size : room - SUM_SIZE;
        (void)snprintf(name + size, SUM_SIZE + 1, "-%08x", (unsigned)sum);
        size += SUM_SIZE;
    }
    memcpy(name + size, ".dead", SUFFIX_SIZE + 1);
    return ria_slice_of(name, size + SUFFIX_SIZE);
}

struct ria_slice queue_dead_resolve(
    struct ria_arena *arena, struct ria_slice setting, const char *topic, struct ria_slice group
)
{
    if (setting.size == 0) {
        return RIA_SLICE_EMPTY;
    }
    bool is_default = ria_slice_equal(setting, RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT));
    return is_default ? queue_dead_topic(arena, topic, group) : setting;
}

struct ria_slice queue_redrive_group(struct ria_arena *arena, struct ria_slice group)
{
    size_t suffix = strlen(REDRIVE_SUFFIX);
    size_t size = group.size;
    char *name = ria_arena_alloc(arena, size + SUM_SIZE + suffix + 1);

    if (name == NULL) {
        return RIA_SLICE_NULL;
    }
    memcpy(name, group.data, size);
    if (size + suffix > GROUP_SIZE_MAX) {
        size = GROUP_SIZE_MAX - suffix - SUM_SIZE;
        while (size > 0 && ((uint8_t)name[size] & 0xc0) == 0x80) {
            size--; /* between two characters */
        }
        uint32_t sum = ria_crc32c(group.data, group.size);
        (void)snprintf(name + size, SUM_SIZE + 1, "-%08x", (unsigned)sum);
        size += SUM_SIZE;
    }
    memcpy(name + size, REDRIVE_SUFFIX, suffix + 1);
    return ria_slice_of(name, size + suffix);
}
