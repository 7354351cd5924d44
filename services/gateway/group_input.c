#include "services/gateway/group_input.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/utf8.h"

#include "services/gateway/cursor.h"
#include "services/gateway/document.h"

static void fail_parameter(struct request *request, const char *name, const char *rule)
{
    struct failure failure;

    failure_set(&failure, 400, "invalid_query", name, "%s %s", name, rule);
    request_fail(request, &failure);
}

/* --- names -------------------------------------------------------------------------------------*/

bool group_input_name(struct request *request, const char *field, struct ria_slice name)
{
    struct failure failure;

    if (name.size > 0 && name.size <= GROUP_NAME_SIZE_MAX && ria_utf8_printable(name)) {
        return true;
    }
    failure_set(
        &failure,
        400,
        "invalid",
        field,
        "%s must be 1 to %d bytes of UTF-8 without control characters",
        field,
        GROUP_NAME_SIZE_MAX
    );
    request_fail(request, &failure);
    return false;
}

/* --- parameters --------------------------------------------------------------------------------*/

bool group_input_open(
    struct group_input *input,
    struct gateway *gateway,
    struct request *request,
    const char *const *known
)
{
    struct failure failure;

    *input = (struct group_input){.gateway = gateway, .request = request};
    if (request->param_count > 0) {
        input->group = request->params[0];
    }
    if ((request->param_count > 0 && !group_input_name(request, "group", input->group)) ||
        !gateway_query_known(request, known)) {
        return false;
    }
    if ((request->method != HTTP_POST && request->method != HTTP_PUT) || request->body.size == 0) {
        return true;
    }
    input->document = document_load(request, &failure);
    if (input->document == NULL || !document_known(input->document, known, &failure)) {
        json_decref(input->document);
        request_fail(request, &failure);
        return false;
    }
    return true;
}

void group_input_close(struct group_input *input)
{
    json_decref(input->document);
    input->document = NULL;
}

bool group_input_text(struct group_input *input, const char *name, struct ria_slice *out_text)
{
    struct request *request = input->request;
    const json_t *member = json_object_get(input->document, name);

    if (request_query(request, name, out_text) != RIA_OK) {
        fail_parameter(request, name, "cannot be decoded");
        return false;
    }
    if (!ria_slice_is_null(*out_text) || member == NULL || json_is_null(member)) {
        return true;
    }
    *out_text = document_scalar(member, &request->arena);
    if (ria_slice_is_null(*out_text)) {
        fail_parameter(request, name, "must be a string or a number");
        return false;
    }
    return true;
}

bool group_input_i64(
    struct group_input *input,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t fallback,
    int64_t *out_value
)
{
    struct ria_slice text;
    char rule[96];
    int64_t value = 0;

    if (!group_input_text(input, name, &text)) {
        return false;
    }
    if (ria_slice_is_null(text)) {
        *out_value = fallback;
        return true;
    }
    if (request_parse_i64(text, &value) && value >= min && value <= max) {
        *out_value = value;
        return true;
    }
    (void)snprintf(
        rule,
        sizeof(rule),
        "must be a whole number from %lld to %lld",
        (long long)min,
        (long long)max
    );
    fail_parameter(input->request, name, rule);
    return false;
}

bool group_input_word(
    struct group_input *input, const char *name, const char *const *words, int *out_index
)
{
    struct ria_slice text;
    char rule[96] = "must be one of";

    if (!group_input_text(input, name, &text)) {
        return false;
    }
    *out_index = 0;
    if (ria_slice_is_null(text)) {
        return true;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (words[i][0] == '\0') {
            continue; /* what its absence means */
        }
        if (ria_slice_equal(text, ria_slice_cstr(words[i]))) {
            *out_index = i;
            return true;
        }
        size_t used = strlen(rule);
        (void)snprintf(rule + used, sizeof(rule) - used, " %s", words[i]);
    }
    fail_parameter(input->request, name, rule);
    return false;
}

bool group_input_flag(struct group_input *input, const char *name, bool *out_value)
{
    static const char *const words[] = {"false", "true", NULL};
    int index = 0;

    if (!group_input_word(input, name, words, &index)) {
        return false;
    }
    *out_value = index == 1;
    return true;
}

/* --- topics ------------------------------------------------------------------------------------*/

struct cluster_topic *
group_input_topic(struct group_input *input, const char *field, struct ria_slice name)
{
    char text[RIA_TOPIC_NAME_MAX + 1];
    struct cluster_topic *topic = NULL;
    struct failure failure;

    if (name.size <= RIA_TOPIC_NAME_MAX) {
        memcpy(text, name.size == 0 ? (const uint8_t *)"" : name.data, name.size);
        text[name.size] = '\0';
        topic = cluster_topic_by_name(input->gateway->cluster, text);
    }
    if (topic != NULL && topic->partition_count > 0) {
        return topic;
    }
    if (!cluster_is_ready(input->gateway->cluster)) {
        failure_set(
            &failure,
            503,
            "not_ready",
            NULL,
            "the gateway has not heard from the coordinator yet and knows no topics"
        );
        failure.retry_after_s = 1;
    } else {
        failure_set(
            &failure,
            404,
            "unknown_topic",
            field,
            "topic \"" RIA_SLICE_FMT "\" does not exist; create it with POST /v1/topics",
            RIA_SLICE_ARG(ria_slice_sub(name, 0, RIA_TOPIC_NAME_MAX))
        );
    }
    request_fail(input->request, &failure);
    return NULL;
}

static bool add_topic(
    struct group_input *input,
    const char *field,
    struct ria_slice name,
    uint32_t count_max,
    struct cluster_topic **topics,
    uint32_t *count
)
{
    char rule[48];
    struct cluster_topic *topic = group_input_topic(input, field, name);

    if (topic == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < *count; i++) {
        if (topics[i] == topic) {
            return true;
        }
    }
    if (*count == count_max) {
        (void)snprintf(rule, sizeof(rule), "may name at most %u", (unsigned)count_max);
        fail_parameter(input->request, field, rule);
        return false;
    }
    topics[(*count)++] = topic;
    return true;
}

static bool add_array(
    struct group_input *input,
    const char *name,
    const json_t *array,
    uint32_t count_max,
    struct cluster_topic **topics,
    uint32_t *count
)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item)) {
            fail_parameter(input->request, name, "must be names of topics");
            return false;
        }
        struct ria_slice text = ria_slice_of(json_string_value(item), json_string_length(item));
        if (!add_topic(input, name, text, count_max, topics, count)) {
            return false;
        }
    }
    return true;
}

bool group_input_topics(
    struct group_input *input,
    const char *name,
    uint32_t count_max,
    struct cluster_topic ***out_topics,
    uint32_t *out_count
)
{
    const json_t *array = json_object_get(input->document, name);
    struct ria_slice rest;

    *out_count = 0;
    *out_topics = ria_arena_alloc_array(&input->request->arena, count_max, sizeof(**out_topics));
    if (*out_topics == NULL) {
        request_fail_err(input->request, RIA_ERR_NOMEM, "");
        return false;
    }
    if (json_is_array(array)) {
        return add_array(input, name, array, count_max, *out_topics, out_count);
    }
    if (!group_input_text(input, name, &rest)) {
        return false;
    }
    if (!ria_slice_is_null(rest) && rest.size == 0) {
        fail_parameter(input->request, name, "is empty: it wants names, with commas between");
        return false;
    }
    while (!ria_slice_is_null(rest)) {
        const uint8_t *comma = rest.size == 0 ? NULL : memchr(rest.data, ',', rest.size);
        size_t size = comma == NULL ? rest.size : (size_t)(comma - rest.data);
        struct ria_slice topic = ria_slice_sub(rest, 0, size);
        rest = comma == NULL ? RIA_SLICE_NULL : ria_slice_sub(rest, size + 1, rest.size);
        if (!add_topic(input, name, topic, count_max, *out_topics, out_count)) {
            return false;
        }
    }
    return true;
}

/* --- cursors -----------------------------------------------------------------------------------*/

static bool fail_cursor(
    struct group_input *input, int status, const char *code, const char *name, const char *text
)
{
    struct failure failure;

    failure_set(&failure, status, code, name, "%s: %s", name, text);
    request_fail(input->request, &failure);
    return false;
}

static bool is_there(const struct cluster_topic *topic)
{
    return topic != NULL && !topic->deleted;
}

static void take_gone(const struct cursor_topic *topic, struct group_cursor *out)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        if (topic->entries[i].lease > 0) {
            out->gone[out->gone_count++] =
                (struct group_cursor_gone){topic->id, topic->entries[i].partition};
        }
    }
}

static bool take_entries(
    struct group_input *input,
    const char *name,
    const struct cursor_topic *topic,
    const struct cluster_topic *known,
    struct group_cursor *out
)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        const struct cursor_entry *from = &topic->entries[i];
        if (from->partition >= known->partition_count) {
            return fail_cursor(
                input, 400, "malformed_cursor", name, "the cursor has a partition that is not there"
            );
        }
        if (from->lease > 0) {
            out->entries[out->count++] = (struct group_cursor_entry){
                .partition = known->partitions[from->partition],
                .lease = from->lease,
                .offset = from->offset,
            };
        }
    }
    return true;
}

/* What belongs to topics that are gone does not hold up the rest. */
static bool take_topics(
    struct group_input *input,
    const char *name,
    const struct cursor *cursor,
    struct group_cursor *out
)
{
    bool any = cursor->topic_count == 0;

    for (uint32_t i = 0; i < cursor->topic_count; i++) {
        const struct cursor_topic *topic = &cursor->topics[i];
        const struct cluster_topic *known =
            cluster_topic_by_id(input->gateway->cluster, &topic->id);
        if (!is_there(known)) {
            take_gone(topic, out);
            continue;
        }
        any = true;
        if (!take_entries(input, name, topic, known, out)) {
            return false;
        }
    }
    return any || fail_cursor(
                      input,
                      410,
                      "stale_cursor",
                      name,
                      "no topic of the cursor exists any more (one of the same name is another "
                      "one); go on without the cursor"
                  );
}

bool group_input_cursor_text(
    struct group_input *input,
    const char *name,
    struct ria_slice text,
    struct group_cursor *out_cursor
)
{
    struct ria_uuid cluster_id_now = cluster_id(input->gateway->cluster);
    struct ria_arena *arena = &input->request->arena;
    struct failure failure;
    struct cursor cursor;

    *out_cursor = (struct group_cursor){0};
    if (ria_slice_is_null(text) || text.size == 0) {
        return true;
    }
    if (!cluster_is_ready(input->gateway->cluster)) {
        gateway_fail_not_ready(input->request); /* whose cursor it is cannot be told */
        return false;
    }
    cursor_verdict verdict = cursor_decode(text, CURSOR_GROUP, &cluster_id_now, arena, &cursor);
    if (verdict != CURSOR_FINE) {
        failure_of_cursor(&failure, verdict, name);
        request_fail(input->request, &failure);
        return false;
    }
    if (cursor.group != cursor_group_hash(input->group)) {
        return fail_cursor(input, 400, "other_cursor", name, "the cursor is of another group");
    }
    out_cursor->entries =
        ria_arena_alloc_array(arena, CURSOR_ENTRIES_MAX, sizeof(*out_cursor->entries));
    out_cursor->gone = ria_arena_alloc_array(arena, CURSOR_ENTRIES_MAX, sizeof(*out_cursor->gone));
    if (out_cursor->entries == NULL || out_cursor->gone == NULL) {
        request_fail_err(input->request, RIA_ERR_NOMEM, "");
        return false;
    }
    return take_topics(input, name, &cursor, out_cursor);
}

bool group_input_cursor(
    struct group_input *input, const char *name, struct group_cursor *out_cursor
)
{
    struct ria_slice text;

    return group_input_text(input, name, &text) &&
           group_input_cursor_text(input, name, text, out_cursor);
}

ria_err group_input_render_lost(
    const struct cluster *cluster, const struct ria_uuid *topic_id, struct ria_buf *out
)
{
    const struct cluster_topic *topic = cluster_topic_by_id(cluster, topic_id);
    char id[RIA_UUID_TEXT_SIZE];

    RIA_TRY(ria_buf_append_str(out, "\"topic\":"));
    RIA_TRY(
        topic == NULL ? ria_buf_append_str(out, "null")
                      : ria_json_append_string(out, ria_slice_cstr(topic->name))
    );
    if (is_there(topic)) {
        return RIA_OK;
    }
    bool is_anew = topic != NULL && cluster_topic_by_name(cluster, topic->name) != NULL;
    ria_uuid_format(*topic_id, id);
    return ria_buf_printf(
        out,
        ",\"topic_id\":\"%s\",\"reason\":\"%s\"",
        id,
        is_anew ? "topic_recreated" : "topic_deleted"
    );
}
