/* POST /v1/groups/{group}/commit, extend and release, and DELETE .../members/{member}: what a
 * consumer says without reading. */
#include "common/json.h"

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_leave.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/group_input.h"

typedef enum commit_verb { VERB_COMMIT, VERB_EXTEND, VERB_RELEASE } commit_verb;

struct group_word {
    struct gateway *gateway;
    struct request *request;
    commit_verb verb;
    bool keep; /* of a commit: the leases go on */
    struct group_cursor cursor;
    struct group_commit commit;
    struct group_leave leave;
    struct commit_check check;
    struct group_op op;
};

typedef struct group_commit_result_group_committed committed;

/* --- answering ---------------------------------------------------------------------------------*/

/* Nobody else has had the records: the client, or this gateway, repeats itself. */
static bool is_done(const struct group_word *word, uint32_t i, const committed *said, bool repeated)
{
    if (said->error_code == 0) {
        return true;
    }
    if (word->verb != VERB_COMMIT) {
        return word->verb == VERB_RELEASE && repeated;
    }
    return said->position == word->cursor.entries[i].offset;
}

static ria_err render_entry(
    const struct group_word *word,
    const struct group_cursor_entry *entry,
    const committed *said,
    bool first,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, first ? "{\"topic\":" : ",{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(entry->partition->topic->name)));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"partition\":%d,\"position\":%lld",
        (int)entry->partition->number,
        (long long)said->position
    ));
    if (word->verb == VERB_EXTEND && said->error_code == 0) {
        RIA_TRY(ria_buf_printf(out, ",\"lease_ms\":%lld", (long long)said->left_ms));
    }
    return ria_buf_append_str(out, "}");
}

static ria_err render_gone(
    const struct group_word *word,
    const struct group_cursor_gone *gone,
    bool first,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, first ? "{" : ",{"));
    RIA_TRY(group_input_render_lost(word->gateway->cluster, &gone->topic_id, out));
    return ria_buf_printf(out, ",\"partition\":%d,\"position\":null}", (int)gone->partition);
}

/* Entries that were done, or those that were not. */
static ria_err render_list(
    const struct group_word *word,
    const struct group_commit_result *result,
    bool repeated,
    bool done,
    struct ria_buf *out
)
{
    bool first = true;

    for (uint32_t i = 0; i < result->entries_count; i++) {
        if (is_done(word, i, &result->entries[i], repeated) == done) {
            RIA_TRY(render_entry(word, &word->cursor.entries[i], &result->entries[i], first, out));
            first = false;
        }
    }
    for (uint32_t i = 0; !done && i < word->cursor.gone_count; i++) {
        RIA_TRY(render_gone(word, &word->cursor.gone[i], first, out));
        first = false;
    }
    return RIA_OK;
}

static ria_err render_error(struct ria_buf *out)
{
    struct failure failure;

    failure_set(
        &failure,
        409,
        "lost",
        "cursor",
        "the leases of the cursor count no more: they were given back, or others have been given "
        "the records"
    );
    RIA_TRY(ria_buf_append_str(out, "\"error\":{"));
    RIA_TRY(failure_render_members(&failure, out));
    return ria_buf_append_str(out, "},");
}

static ria_err render(
    const struct group_word *word,
    const struct group_commit_result *result,
    bool repeated,
    bool none,
    struct ria_buf *out
)
{
    static const char *const names[] = {"committed", "extended", "released"};

    RIA_TRY(ria_buf_append_str(out, "{"));
    if (none) {
        RIA_TRY(render_error(out));
    }
    RIA_TRY(ria_buf_printf(out, "\"%s\":[", names[word->verb]));
    RIA_TRY(render_list(word, result, repeated, true, out));
    RIA_TRY(ria_buf_append_str(out, "],\"lost\":["));
    RIA_TRY(render_list(word, result, repeated, false, out));
    return ria_buf_append_str(out, "]}\n");
}

static void committed_all(struct group_op *op, const struct group_op_result *result)
{
    struct group_word *word = op->arg;
    const struct group_commit_result *said = result->body;
    struct failure failure;
    struct ria_buf out;
    uint32_t done = 0;

    if (result->err == RIA_OK && said->entries_count != word->cursor.count) {
        request_fail_err(word->request, RIA_ERR_MALFORMED, "");
        return;
    }
    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        request_fail(word->request, &failure);
        return;
    }
    for (uint32_t i = 0; i < said->entries_count; i++) {
        done += is_done(word, i, &said->entries[i], result->repeated);
    }
    bool none = done == 0 && word->cursor.count > 0;
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render(word, said, result->repeated, none, &out);
    gateway_respond_json(word->request, none ? 409 : 200, err, &out);
}

static void left(struct group_op *op, const struct group_op_result *result)
{
    struct group_word *word = op->arg;
    struct failure failure;

    if (result->err == RIA_OK || (result->err == RIA_ERR_NOT_FOUND && result->repeated)) {
        request_respond_static(word->request, 204, NULL, NULL);
        return;
    }
    group_failure(&failure, result);
    request_fail(word->request, &failure);
}

/* --- asking ------------------------------------------------------------------------------------*/

static void send(struct group_word *word, group_op_kind kind, const void *body, group_op_fn done)
{
    struct gateway *gateway = word->gateway;

    word->op = (struct group_op){
        .kind = kind,
        .body = body,
        .deadline_us = ria_clock_mono_us(gateway->env->clock) +
                       (int64_t)gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = done,
        .arg = word,
    };
    group_op_start(&gateway->group_ops, &word->op);
}

static void checked(struct commit_check *check, ria_err err, const struct marks_at *at)
{
    struct group_word *word = check->arg;
    struct failure failure;

    if (err != RIA_OK) {
        commit_check_failure(&failure, "cursor", err, at);
        request_fail(word->request, &failure);
        return;
    }
    send(word, GROUP_OP_COMMIT, &word->commit, committed_all);
}

static ria_err build(struct group_word *word, struct ria_slice group, int64_t lease_ms)
{
    struct ria_arena *arena = &word->request->arena;
    struct group_commit *body = &word->commit;

    group_commit_init(body);
    body->group = group;
    body->lease_ms = (int32_t)lease_ms;
    body->entries = ria_arena_alloc_array(arena, word->cursor.count, sizeof(*body->entries));
    word->check.at = ria_arena_alloc_array(arena, word->cursor.count, sizeof(*word->check.at));
    if (body->entries == NULL || word->check.at == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < word->cursor.count; i++) {
        struct group_commit_group_commit_entry *to = &body->entries[body->entries_count++];
        group_commit_group_commit_entry_init(to);
        to->topic_id = word->cursor.entries[i].partition->topic->id;
        to->partition = word->cursor.entries[i].partition->number;
        to->lease_id = word->cursor.entries[i].lease;
        to->offset = word->verb == VERB_COMMIT ? word->cursor.entries[i].offset : -1;
        to->keep = word->verb == VERB_EXTEND || word->keep;
        word->check.at[i] = (struct marks_at){word->cursor.entries[i].partition, to->offset - 1};
    }
    return RIA_OK;
}

static struct group_word *
open_word(struct gateway *gateway, struct request *request, commit_verb verb)
{
    struct group_word *word = ria_arena_alloc(&request->arena, sizeof(*word));

    if (word == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return NULL;
    }
    word->gateway = gateway;
    word->request = request;
    word->verb = verb;
    return word;
}

static void say(struct gateway *gateway, struct request *request, commit_verb verb)
{
    static const char *const known[][5] = {
        [VERB_COMMIT] = {"cursor", "member", "lease_ms", "keep", NULL},
        [VERB_EXTEND] = {"cursor", "member", "lease_ms", NULL},
        [VERB_RELEASE] = {"cursor", "member", NULL},
    };
    struct group_word *word = open_word(gateway, request, verb);
    struct group_input input;
    struct ria_slice text = RIA_SLICE_NULL;
    struct ria_slice member = RIA_SLICE_NULL;
    struct failure failure;
    int64_t lease_ms = GROUP_LEASE_MS_DEFAULT;

    if (word == NULL || !group_input_open(&input, gateway, request, known[verb])) {
        return;
    }
    bool fine = group_input_cursor(&input, "cursor", &word->cursor) &&
                group_input_text(&input, "cursor", &text) &&
                group_input_text(&input, "member", &member) &&
                (verb != VERB_COMMIT || group_input_flag(&input, "keep", &word->keep)) &&
                (verb == VERB_RELEASE || group_input_i64(
                                             &input,
                                             "lease_ms",
                                             GROUP_LEASE_MS_MIN,
                                             GROUP_LEASE_MS_MAX,
                                             GROUP_LEASE_MS_DEFAULT,
                                             &lease_ms
                                         ));
    group_input_close(&input);
    if (!fine) {
        return;
    }
    if (ria_slice_is_null(text)) {
        failure_set(&failure, 400, "invalid", "cursor", "cursor is missing: what a read returned");
        request_fail(request, &failure);
        return;
    }
    if (member.size > 0 && !group_input_name(request, "member", member)) {
        return;
    }
    ria_err err = build(word, input.group, lease_ms);
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
        return;
    }
    if (member.size > 0) {
        word->commit.member = member; /* it is heard of */
    }
    word->check.marks = &gateway->marks;
    word->check.leaders = &gateway->leaders;
    word->check.count = word->cursor.count;
    word->check.timeout_ms = gateway->options.request_timeout_ms;
    word->check.done = checked;
    word->check.arg = word;
    commit_check_start(&word->check);
}

void handle_group_commit(struct gateway *gateway, struct request *request)
{
    say(gateway, request, VERB_COMMIT);
}

void handle_group_extend(struct gateway *gateway, struct request *request)
{
    say(gateway, request, VERB_EXTEND);
}

void handle_group_release(struct gateway *gateway, struct request *request)
{
    say(gateway, request, VERB_RELEASE);
}

void handle_group_leave(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {NULL};
    struct group_word *word = open_word(gateway, request, VERB_RELEASE);
    struct group_input input;

    if (word == NULL || !group_input_open(&input, gateway, request, known)) {
        return;
    }
    group_input_close(&input);
    if (!group_input_name(request, "member", request->params[1])) {
        return;
    }
    group_leave_init(&word->leave);
    word->leave.group = input.group;
    word->leave.member = request->params[1];
    send(word, GROUP_OP_LEAVE, &word->leave, left);
}
