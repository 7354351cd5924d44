/* group_input: what requests of groups have in common: names, parameters, cursors.
 *
 * A parameter is in the query, or a member of a POST's or PUT's JSON document; the query counts
 * first. The functions that return bool answer the request themselves when they return false.
 *
 * Thread: the loop's.
 */
#pragma once

#include <jansson.h>

#include "common/base.h"

#include "services/gateway/gateway.h"

enum {
    GROUP_NAME_SIZE_MAX = 255,
    GROUP_LEASE_MS_MIN = 1000,
    GROUP_LEASE_MS_MAX = 12 * 60 * 60 * 1000,
    GROUP_SESSION_MS_DEFAULT = 45 * 1000,
};

struct group_input {
    struct gateway *gateway;
    struct request *request;
    json_t *document;       /* NULL: the request has no body */
    struct ria_slice group; /* the path's first parameter */
};

/* known (ended by NULL): every parameter there is. Ended with group_input_close() if it returned
 * true. */
bool group_input_open(
    struct group_input *input,
    struct gateway *gateway,
    struct request *request,
    const char *const *known
);
void group_input_close(struct group_input *input);

/* 1 to 255 bytes of UTF-8 without control characters. */
bool group_input_name(struct request *request, const char *field, struct ria_slice name);

/* Null if it is absent. */
bool group_input_text(struct group_input *input, const char *name, struct ria_slice *out_text);

/* The fallback if it is absent. */
bool group_input_i64(
    struct group_input *input,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t fallback,
    int64_t *out_value
);

/* One of the words (ended by NULL): its index; 0 if it is absent. "" as the first one: it is
 * absent, and nobody can say so. */
bool group_input_word(
    struct group_input *input, const char *name, const char *const *words, int *out_index
);

/* true or false, false if it is absent. */
bool group_input_flag(struct group_input *input, const char *name, bool *out_value);

/* Names separated by commas (or an array), each once, all of topics that are there; the array is in
 * the request's arena. Absent: none. */
bool group_input_topics(
    struct group_input *input,
    const char *name,
    uint32_t count_max,
    struct cluster_topic ***out_topics,
    uint32_t *out_count
);

/* A topic by its name; NULL: answered. */
struct cluster_topic *
group_input_topic(struct group_input *input, const char *field, struct ria_slice name);

/* What a cursor of this group says of a partition. */
struct group_cursor_entry {
    struct cluster_partition *partition;
    int64_t lease;
    int64_t offset;
};

/* And of a partition whose topic was deleted: it cannot be committed any more. */
struct group_cursor_gone {
    struct ria_uuid topic_id;
    int32_t partition;
};

/* In the request's arena. */
struct group_cursor {
    struct group_cursor_entry *entries;
    uint32_t count;
    struct group_cursor_gone *gone;
    uint32_t gone_count;
};

/* The cursor in parameter `name`; absent: none. Refused with 410 if none of its topics is there any
 * more. */
bool group_input_cursor(
    struct group_input *input, const char *name, struct group_cursor *out_cursor
);

/* The same of a text that comes in another way; null or empty: none. */
bool group_input_cursor_text(
    struct group_input *input,
    const char *name,
    struct ria_slice text,
    struct group_cursor *out_cursor
);

/* Members of an object that names a lost commit's topic: "topic" and, if that was deleted, its
 * "topic_id" and the "reason"; its name is null if this gateway has never known it. */
ria_err group_input_render_lost(
    const struct cluster *cluster, const struct ria_uuid *topic_id, struct ria_buf *out
) RIA_MUST_USE;
