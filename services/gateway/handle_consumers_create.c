/* POST /consumers/{group} and DELETE /consumers/{group}/instances/{instance}.
 *
 * A name that lives is refused (40902), as Confluent does; "take.over": true ends the former life.
 * One whose session has ended is nobody's. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_leave.h"

#include "services/gateway/base_uri.h"
#include "services/gateway/consumer_input.h"
#include "services/gateway/document.h"
#include "services/gateway/group_input.h"

enum {
    FETCH_MIN_BYTES_MAX = 10 * 1000 * 1000,
    REQUEST_TIMEOUT_MS_DEFAULT = 1000,
    MODE_STREAM = 0,       /* DescribedGroup.mode */
    NAME_PREFIX_SIZE = 14, /* rest-consumer- */
};

struct creating {
    struct consumer_call *call;
    int64_t make_id;
    bool is_named;
    bool takes_over;
    struct describe_groups_request describe;
};

typedef struct describe_groups_response_described_group_member described_member;

/* --- the answer --------------------------------------------------------------------------------*/

static ria_err append_uri(const struct creating *creating, struct ria_buf *out)
{
    const struct consumer_call *call = creating->call;

    RIA_TRY(base_uri_append(out, call->request, call->gateway->options.advertised_url));
    RIA_TRY(ria_buf_append_str(out, "/consumers/"));
    RIA_TRY(base_uri_append_segment(out, call->group));
    RIA_TRY(ria_buf_append_str(out, "/instances/"));
    RIA_TRY(base_uri_append_segment(out, call->name));
    /* Nobody else comes by a name that was drawn here. */
    return creating->is_named ? ria_buf_printf(out, ";epoch=%d", (int)call->epoch) : RIA_OK;
}

static ria_err render(const struct creating *creating, struct ria_slice uri, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "{\"instance_id\":"));
    RIA_TRY(ria_json_append_string(out, creating->call->name));
    RIA_TRY(ria_buf_append_str(out, ",\"base_uri\":"));
    RIA_TRY(ria_json_append_string(out, uri));
    return ria_buf_append_str(out, "}");
}

static void respond(struct creating *creating)
{
    struct ria_buf uri;
    struct ria_buf out;

    ria_buf_init(&uri, DOCUMENT_MAX);
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = append_uri(creating, &uri);
    if (err == RIA_OK) {
        err = render(creating, ria_buf_slice(&uri), &out);
    }
    ria_buf_fini(&uri);
    consumer_respond(creating->call->request, err, &out);
}

static void refuse_name(struct creating *creating)
{
    consumer_refuse(
        creating->call->request,
        40902,
        "name",
        "consumer instance \"" RIA_SLICE_FMT "\" of group \"" RIA_SLICE_FMT
        "\" lives; \"take.over\": true ends it and goes on in its place",
        RIA_SLICE_ARG(creating->call->name),
        RIA_SLICE_ARG(creating->call->group)
    );
}

/* Is the member that lives ours? */
static bool is_own(const struct creating *creating, const described_member *member)
{
    struct consumer_call *call = creating->call;
    struct consumer_instance instance;

    return ria_slice_equal(member->name, call->name) &&
           consumer_detail_decode(member->detail, &call->request->arena, &instance) == RIA_OK &&
           instance.make_id == creating->make_id;
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    struct creating *creating = arg;
    struct consumer_call *call = creating->call;
    const struct describe_groups_response *said = response;

    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        request_fail_err(call->request, err, text);
        return;
    }
    if (err == RIA_OK && said->groups_count > 0 && said->groups[0].mode != MODE_STREAM) {
        consumer_refuse(
            call->request,
            40903,
            "group",
            "group \"" RIA_SLICE_FMT "\" is a queue: POST /v1/queues/{topic}/{group}/receive",
            RIA_SLICE_ARG(call->group)
        );
        return;
    }
    for (uint32_t i = 0;
         err == RIA_OK && said->groups_count > 0 && i < said->groups[0].members_count;
         i++) {
        if (is_own(creating, &said->groups[0].members[i])) {
            call->epoch = said->groups[0].members[i].epoch;
            respond(creating);
            return;
        }
    }
    refuse_name(creating);
}

/* Whose is the one that lives: somebody else's, or an earlier attempt's whose answer was lost?
 * Asked in a way that is no sign of life. */
static void look(struct creating *creating)
{
    struct consumer_call *call = creating->call;

    describe_groups_request_init(&creating->describe);
    creating->describe.name = call->group;
    creating->describe.limit = 1;
    ria_err err = coordinator_call(
        &call->gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &creating->describe,
        ADMIN_TIMEOUT_MS,
        described,
        creating
    );
    if (err != RIA_OK) {
        request_fail_err(call->request, err, "");
    }
}

static void made(struct group_op *op, const struct group_op_result *result)
{
    struct creating *creating = op->arg;
    struct consumer_call *call = creating->call;

    if (result->err == RIA_ERR_CONFLICT && call->member.must_be_new) {
        look(creating);
    } else if (result->err != RIA_OK) {
        consumer_fail(call->request, result);
    } else if (consumer_take_member(call, result->body)) {
        respond(creating);
    }
}

/* --- the document ------------------------------------------------------------------------------*/

/* The first of the synonyms (ended by NULL) that is there, as text; null if none is. */
static struct ria_slice
take_text(struct consumer_call *call, const json_t *document, const char *const *names)
{
    for (; *names != NULL; names++) {
        const json_t *value = json_object_get(document, *names);
        if (value != NULL && !json_is_null(value)) {
            struct ria_slice text = document_scalar(value, &call->request->arena);
            return ria_slice_is_null(text) ? RIA_SLICE_EMPTY : text;
        }
    }
    return RIA_SLICE_NULL;
}

static bool is_word(struct ria_slice text, const char *word)
{
    return text.size == strlen(word) && strncasecmp((const char *)text.data, word, text.size) == 0;
}

/* 0, 1 for the first and second word (of any case); the fallback if there is nothing. False:
 * answered with the code. */
static bool take_choice(
    struct consumer_call *call,
    const json_t *document,
    const char *const *names,
    const char *const words[2],
    int code,
    int *out_index
)
{
    struct ria_slice text = take_text(call, document, names);

    if (ria_slice_is_null(text)) {
        return true;
    }
    for (int i = 0; i < 2; i++) {
        if (is_word(text, words[i])) {
            *out_index = i;
            return true;
        }
    }
    consumer_refuse(
        call->request,
        code,
        names[0],
        "%s must be %s or %s, not \"" RIA_SLICE_FMT "\"",
        names[0],
        words[0],
        words[1],
        RIA_SLICE_ARG(ria_slice_sub(text, 0, 100))
    );
    return false;
}

static bool take_number(
    struct consumer_call *call,
    const json_t *document,
    const char *const *names,
    int64_t min,
    int64_t max,
    int32_t *out_value
)
{
    struct ria_slice text = take_text(call, document, names);
    int64_t value = 0;

    if (ria_slice_is_null(text)) {
        return true;
    }
    if (!request_parse_i64(text, &value)) {
        consumer_refuse(call->request, 42204, names[0], "%s must be a whole number", names[0]);
        return false;
    }
    if (value < min || value > max) {
        consumer_refuse(
            call->request,
            40001,
            names[0],
            "%s must be from %lld to %lld",
            names[0],
            (long long)min,
            (long long)max
        );
        return false;
    }
    *out_value = (int32_t)value;
    return true;
}

static bool take_settings(struct consumer_call *call, const json_t *document)
{
    static const char *const format[] = {"format", NULL};
    static const char *const reset[] = {"auto.offset.reset", NULL};
    static const char *const commit[] = {"auto.commit.enable", "enable.auto.commit", NULL};
    static const char *const bytes[] = {"fetch.min.bytes", "responseMinBytes", NULL};
    static const char *const wait[] = {"consumer.request.timeout.ms", "requestWaitMs", NULL};
    static const char *const isolation[] = {"isolation.level", NULL};
    static const char *const formats[] = {"binary", "json"};
    static const char *const resets[] = {"earliest", "latest"};
    static const char *const flags[] = {"false", "true"};
    static const char *const levels[] = {"read_uncommitted", "read_committed"};
    struct consumer_instance *instance = &call->instance;
    int as = CONSUMER_BINARY;
    int from = 1;
    int auto_commit = 1;
    int level = 0; /* there are no transactions: both are the same */

    consumer_instance_init(instance);
    instance->fetch_min_bytes = -1;
    instance->request_timeout_ms = REQUEST_TIMEOUT_MS_DEFAULT;
    if (!take_choice(call, document, format, formats, 422, &as) ||
        !take_choice(call, document, reset, resets, 42204, &from) ||
        !take_choice(call, document, commit, flags, 42204, &auto_commit) ||
        !take_choice(call, document, isolation, levels, 42204, &level) ||
        !take_number(call, document, bytes, -1, FETCH_MIN_BYTES_MAX, &instance->fetch_min_bytes) ||
        !take_number(call, document, wait, 0, GATEWAY_WAIT_MS_MAX, &instance->request_timeout_ms)) {
        return false;
    }
    instance->format = (int8_t)as;
    instance->from_latest = from == 1;
    instance->auto_commit = auto_commit == 1;
    return true;
}

static bool draw_name(struct consumer_call *call)
{
    char text[NAME_PREFIX_SIZE + RIA_UUID_TEXT_SIZE] = "rest-consumer-";
    uint8_t random[RIA_UUID_SIZE];

    ria_rand_bytes(call->gateway->env->rand, random, sizeof(random));
    ria_uuid_format(ria_uuid_v4(random), text + NAME_PREFIX_SIZE);
    const char *copy = ria_arena_strdup(&call->request->arena, ria_slice_cstr(text));
    if (copy == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    call->name = ria_slice_cstr(copy);
    return true;
}

static bool take_name(struct creating *creating, const json_t *document)
{
    static const char *const names[] = {"name", "id", NULL};
    struct consumer_call *call = creating->call;
    struct ria_slice name = take_text(call, document, names);

    if (ria_slice_is_null(name)) {
        return draw_name(call);
    }
    creating->is_named = true;
    call->name = name;
    if (memmem(name.data, name.size, ";epoch=", 7) != NULL) {
        consumer_refuse(call->request, 42204, "name", "name must not contain \";epoch=\"");
        return false;
    }
    return group_input_name(call->request, "name", name);
}

static bool take_document(struct creating *creating, const json_t *document)
{
    static const char *const known[] = {
        "name",
        "id",
        "format",
        "auto.offset.reset",
        "auto.commit.enable",
        "enable.auto.commit",
        "fetch.min.bytes",
        "responseMinBytes",
        "consumer.request.timeout.ms",
        "requestWaitMs",
        "isolation.level",
        "take.over",
        NULL,
    };
    static const char *const over[] = {"take.over", NULL};
    static const char *const flags[] = {"false", "true"};
    int takes_over = 0;

    if (!consumer_known(creating->call->request, document, known) ||
        !take_settings(creating->call, document) || !take_name(creating, document) ||
        !take_choice(creating->call, document, over, flags, 42204, &takes_over)) {
        return false;
    }
    creating->takes_over = takes_over == 1;
    return true;
}

void handle_consumer_create(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);
    struct creating *creating = NULL;
    json_t *document = NULL;

    if (call == NULL || !consumer_document(request, true, &document)) {
        return;
    }
    creating = ria_arena_alloc(&request->arena, sizeof(*creating));
    json_t *all = document != NULL ? document : json_object();
    if (creating == NULL || all == NULL) {
        json_decref(all);
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    creating->call = call;
    bool fine = take_document(creating, all);
    json_decref(all);
    if (!fine) {
        return;
    }
    creating->make_id = (int64_t)(ria_rand_u64(gateway->env->rand) >> 1);
    call->instance.make_id = creating->make_id;
    struct group_member *member = consumer_member(call);
    member->make = true;
    member->must_be_new = creating->is_named && !creating->takes_over;
    member->detail = consumer_detail(call);
    member->subscription = ria_arena_empty(); /* nothing of a former life */
    consumer_op(call, GROUP_OP_MEMBER, member, 0, made);
    call->op.arg = creating;
}

/* --- the end -----------------------------------------------------------------------------------*/

static void left(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_call *call = op->arg;

    if (result->err == RIA_OK || (result->err == RIA_ERR_NOT_FOUND && result->repeated)) {
        request_respond_static(call->request, 204, NULL, NULL);
        return;
    }
    consumer_fail(call->request, result);
}

static void leave(struct consumer_call *call)
{
    struct group_leave *body = ria_arena_alloc(&call->request->arena, sizeof(*body));

    if (body == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    group_leave_init(body);
    body->group = call->group;
    body->member = call->name;
    body->member_epoch = call->epoch;
    body->commit_delivered = call->instance.auto_commit;
    consumer_op(call, GROUP_OP_LEAVE, body, 0, left);
}

void handle_consumer_delete(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, leave);
    }
}
