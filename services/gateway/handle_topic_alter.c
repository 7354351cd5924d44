/* PATCH /v1/topics/{topic}: settings that change while the topic is used, and more partitions.
 *
 * The coordinator is asked to change the settings that it has just been seen to have, so a copy of
 * the request that comes late finds others and does nothing. Whoever loses against another change
 * asks again: the last one wins, setting by setting. */
#include <string.h>

#include "common/limits.h"

#include "schemas/gen/alter_topic_request.h"
#include "schemas/gen/alter_topic_response.h"

#include "services/gateway/document.h"
#include "services/gateway/gateway.h"
#include "services/gateway/topic_render.h"
#include "services/gateway/topic_settings.h"

enum { ATTEMPTS_MAX = 10 };

struct alteration {
    struct gateway *gateway;
    struct request *request;
    const struct cluster_topic *topic;
    struct alter_topic_request body;
    int attempts;
};

/* ---- answering ---- */

static void altered_visible(void *arg, bool reached)
{
    struct alteration *a = arg;
    struct failure failure;
    struct ria_buf out;

    if (!reached) {
        failure_set(
            &failure,
            503,
            "timeout",
            NULL,
            "the topic was changed, but this gateway has not heard of it yet"
        );
        failure.retry_after_s = 1;
        request_fail(a->request, &failure);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(a->request, 200, topic_render(a->topic, NULL, 0, &out), &out);
}

static void overlay(struct topic_config *config, const struct alteration *a)
{
    char ignored[FAILURE_MESSAGE_MAX];

    for (uint32_t i = 0; i < a->body.configs_count; i++) {
        const struct alter_topic_request_alter_topic_config *given = &a->body.configs[i];
        if (ria_slice_is_null(given->value)) {
            topic_config_unset(config, given->name, a->topic->replication_factor);
        } else {
            ria_err err =
                topic_config_set(config, given->name, given->value, ignored, sizeof(ignored));
            (void)err; /* the coordinator has just taken it */
        }
    }
}

/* As it would be: nobody knows yet where the new partitions would be. */
static void answer_dry(struct alteration *a)
{
    struct ria_arena *arena = &a->request->arena;
    struct cluster_topic would_be = *a->topic;
    struct cluster_partition *fresh;
    struct ria_buf out;

    overlay(&would_be.config, a);
    would_be.partition_count =
        (int32_t)ria_max_i64(would_be.partition_count, a->body.partition_count);
    would_be.partitions = ria_arena_alloc_array(
        arena, (size_t)would_be.partition_count, sizeof(struct cluster_partition *)
    );
    if (would_be.partitions == NULL) {
        request_fail_err(a->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (int32_t i = 0; i < would_be.partition_count; i++) {
        if (i < a->topic->partition_count) {
            would_be.partitions[i] = a->topic->partitions[i];
            continue;
        }
        fresh = ria_arena_alloc(arena, sizeof(*fresh));
        if (fresh == NULL) {
            request_fail_err(a->request, RIA_ERR_NOMEM, "");
            return;
        }
        *fresh = (struct cluster_partition
        ){.number = i, .leader = -1, .leader_epoch = -1, .forced_epoch = -1};
        would_be.partitions[i] = fresh;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(a->request, 200, topic_render(&would_be, NULL, 0, &out), &out);
}

static void refuse(const struct alteration *a, ria_err err, const char *text)
{
    struct failure failure;

    failure_of_err(&failure, err, text);
    if (topic_settings_names_one(text)) {
        failure.field = "config";
    } else if (strstr(text, "partitionCount") != NULL || err == RIA_ERR_NOT_ENOUGH_NODES) {
        failure.field = "partitions";
    } else if (failure.status == 503) {
        failure.outcome = ria_err_is_definite(err) ? OUTCOME_NOT_STORED : OUTCOME_UNKNOWN;
    }
    request_fail(a->request, &failure);
}

/* ---- asking ---- */

static void ask(struct alteration *a);

static void altered(void *arg, ria_err err, const char *text, const void *response)
{
    const struct alter_topic_response *done = response;
    struct alteration *a = arg;

    if (err != RIA_OK) {
        refuse(a, err, text);
    } else if (done->stale && a->attempts < ATTEMPTS_MAX) {
        a->body.config_epoch = done->config_epoch;
        ask(a);
    } else if (done->stale) {
        refuse(a, RIA_ERR_CONFLICT, "others are changing this topic's settings all the time");
    } else if (a->body.validate_only) {
        answer_dry(a);
    } else {
        cluster_wait_version(
            a->gateway->cluster, done->version, VIEW_TIMEOUT_MS, altered_visible, a
        );
    }
}

static void ask(struct alteration *a)
{
    a->attempts++;
    ria_err err = coordinator_call(
        &a->gateway->coordinator, API_ALTER_TOPIC, &a->body, ADMIN_TIMEOUT_MS, altered, a
    );
    if (err != RIA_OK) {
        request_fail_err(a->request, err, "");
    }
}

/* ---- the body ---- */

static bool take_configs(json_t *config, struct alteration *a, struct failure *failure)
{
    struct alter_topic_request *body = &a->body;
    struct ria_arena *arena = &a->request->arena;
    struct topic_setting_given *given = NULL;
    uint32_t count = 0;

    if (!topic_settings_take(config, true, arena, &given, &count, failure)) {
        return false;
    }
    body->configs = ria_arena_alloc_array(arena, count, sizeof(*body->configs));
    if (body->configs == NULL) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return false;
    }
    body->configs_count = count;
    for (uint32_t i = 0; i < count; i++) {
        body->configs[i].name = given[i].name;
        body->configs[i].value = given[i].value;
    }
    return true;
}

static bool take_alteration(json_t *document, struct alteration *a, struct failure *failure)
{
    /* As the description calls it; the plural is Kafka's word. */
    static const char *const known[] = {"config", "configs", "partitions", NULL};
    json_t *config = json_object_get(document, "config");
    json_t *configs = json_object_get(document, "configs");
    int64_t partitions = -1;

    if (!document_known(document, known, failure)) {
        return false;
    }
    if (config != NULL && configs != NULL) {
        failure_set(
            failure, 400, "invalid", "configs", "config and configs are the same: give one"
        );
        return false;
    }
    if (!document_i64(document, "partitions", 1, RIA_PARTITIONS_MAX, &partitions, failure) ||
        !take_configs(config != NULL ? config : configs, a, failure)) {
        return false;
    }
    a->body.partition_count = (int32_t)partitions;
    return true;
}

/* False: answered. */
static bool take_dry_run(struct request *request, bool *out_dry)
{
    static const char *const known[] = {"dry_run", NULL};
    struct ria_slice text;
    struct failure failure;

    if (!gateway_query_known(request, known)) {
        return false;
    }
    ria_err err = request_query(request, "dry_run", &text);
    bool is_true = err == RIA_OK && ria_slice_equal(text, RIA_SLICE_LITERAL("true"));
    if (is_true || (err == RIA_OK && (ria_slice_is_null(text) ||
                                      ria_slice_equal(text, RIA_SLICE_LITERAL("false"))))) {
        *out_dry = is_true;
        return true;
    }
    failure_set(&failure, 400, "invalid_query", "dry_run", "dry_run must be true or false");
    request_fail(request, &failure);
    return false;
}

void handle_topic_alter(struct gateway *gateway, struct request *request)
{
    const struct cluster_topic *topic = gateway_topic(gateway, request);
    struct failure failure;
    bool dry = false;

    if (topic == NULL || !take_dry_run(request, &dry)) {
        return;
    }
    struct alteration *a = ria_arena_alloc(&request->arena, sizeof(*a));
    if (a == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    *a = (struct alteration){.gateway = gateway, .request = request, .topic = topic};
    alter_topic_request_init(&a->body);
    a->body.topic_id = topic->id;
    a->body.config_epoch = topic->config_epoch;
    a->body.validate_only = dry;
    json_t *document = document_load(request, &failure);
    bool fine = document != NULL && take_alteration(document, a, &failure);
    json_decref(document);
    if (!fine) {
        request_fail(request, &failure);
        return;
    }
    ask(a);
}
