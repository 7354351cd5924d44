#include "services/gateway/group_query.h"

bool group_query_is_head(struct request *request, const char *allow)
{
    struct failure failure;

    if (request->is_head) {
        request_add_header(request, "Allow", allow);
        failure_set(&failure, 405, "method_not_allowed", NULL, "a HEAD would lease records");
        request_fail(request, &failure);
    }
    return request->is_head;
}

bool group_query_commits(
    struct group_input *input, const char *name, struct ria_slice text, struct group_fetch *fetch
)
{
    struct ria_arena *arena = &input->request->arena;
    struct group_cursor cursor;

    bool fine = ria_slice_is_null(text) ? group_input_cursor(input, name, &cursor)
                                        : group_input_cursor_text(input, name, text, &cursor);
    if (!fine) {
        return false;
    }
    fetch->commit_count = cursor.count;
    fetch->commits = ria_arena_alloc_array(arena, cursor.count, sizeof(*fetch->commits));
    fetch->lost = ria_arena_alloc_array(arena, cursor.gone_count, sizeof(*fetch->lost));
    if (fetch->commits == NULL || fetch->lost == NULL) {
        request_fail_err(input->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (uint32_t i = 0; i < fetch->commit_count; i++) {
        fetch->commits[i] = (struct group_read_group_read_commit){
            .topic_id = cursor.entries[i].partition->topic->id,
            .partition = cursor.entries[i].partition->number,
            .lease_id = cursor.entries[i].lease,
            .offset = cursor.entries[i].offset,
        };
    }
    for (uint32_t i = 0; i < cursor.gone_count; i++) {
        fetch->lost[fetch->lost_count++] = (group_lost){
            .topic_id = cursor.gone[i].topic_id,
            .partition = cursor.gone[i].partition,
            .position = -1,
        };
    }
    return true;
}

/* What is shared out record by record is not also read in order. */
static bool all_are_streams(struct request *request, const struct group_fetch *fetch)
{
    struct failure failure;

    for (uint32_t i = 0; i < fetch->topic_count; i++) {
        if (fetch->topics[i]->config.delivery == TOPIC_DELIVERY_QUEUE) {
            failure_set(
                &failure,
                409,
                "conflict",
                "topics",
                "topic %s is a queue (setting delivery): POST /v1/queues/{topic}/{group}/receive",
                fetch->topics[i]->name
            );
            request_fail(request, &failure);
            return false;
        }
    }
    return true;
}

bool group_query_names(struct group_input *input, struct group_fetch *fetch)
{
    struct failure failure;

    fetch->group = input->group;
    if (!group_input_text(input, "member", &fetch->member)) {
        return false;
    }
    if (fetch->member.size == 0) {
        fetch->member = RIA_SLICE_EMPTY;
    } else if (!group_input_name(input->request, "member", fetch->member)) {
        return false;
    }
    if (!group_input_topics(
            input, "topics", GROUP_TOPICS_MAX, &fetch->topics, &fetch->topic_count
        )) {
        return false;
    }
    if (fetch->topic_count == 0) {
        failure_set(
            &failure,
            400,
            "invalid_query",
            "topics",
            "topics is missing: names, with commas between"
        );
        request_fail(input->request, &failure);
        return false;
    }
    return all_are_streams(input->request, fetch);
}

bool group_query_policies(struct group_input *input, struct group_fetch *fetch)
{
    static const char *const froms[] = {"earliest", "latest", NULL};
    static const char *const ranges[] = {"error", "earliest", "latest", NULL};
    int from = 0;
    int range = 0;

    if (!group_input_word(input, "from", froms, &from) ||
        !group_input_word(input, "on_out_of_range", ranges, &range)) {
        return false;
    }
    fetch->from_latest = from == 1;
    fetch->on_range = (group_range_policy)range;
    return true;
}
