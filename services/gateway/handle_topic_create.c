/* POST /v1/topics: the settings are checked here, the coordinator creates, our view has it. */
#include <jansson.h>

#include "common/limits.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/create_topic_response.h"

#include "services/gateway/document.h"
#include "services/gateway/gateway.h"
#include "services/gateway/topic_render.h"
#include "services/gateway/topic_settings.h"

struct creation {
    struct gateway *gateway;
    struct request *request;
    struct create_topic_request body;
};

static void created_visible(void *arg, bool reached)
{
    struct creation *creation = arg;
    const struct cluster_topic *topic =
        cluster_topic_by_id(creation->gateway->cluster, &creation->body.topic_id);
    struct ria_buf out;

    if (!reached || topic == NULL) {
        struct failure failure;
        failure_set(
            &failure,
            503,
            "timeout",
            NULL,
            "the topic was created, but this gateway has not heard of it yet"
        );
        failure.retry_after_s = 1;
        request_fail(creation->request, &failure);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(creation->request, 201, topic_render(topic, NULL, 0, &out), &out);
}

static void created(void *arg, ria_err err, const char *text, const void *response)
{
    const struct create_topic_response *done = response;
    struct creation *creation = arg;
    struct failure failure;

    if (err == RIA_OK) {
        cluster_wait_version(
            creation->gateway->cluster, done->version, VIEW_TIMEOUT_MS, created_visible, creation
        );
        return;
    }
    failure_of_err(&failure, err, text);
    if (topic_settings_names_one(text)) {
        failure.field = "config";
    } else if (err == RIA_ERR_EXISTS) {
        failure.field = "name";
    } else if (err == RIA_ERR_NOT_ENOUGH_NODES) {
        failure.field = "replicas";
    } else if (failure.status == 503) {
        failure.outcome = ria_err_is_definite(err) ? OUTCOME_NOT_STORED : OUTCOME_UNKNOWN;
    }
    request_fail(creation->request, &failure);
}

/* Member config: setting to string, number or boolean. */
static bool take_configs(
    json_t *config,
    struct create_topic_request *body,
    struct ria_arena *arena,
    struct failure *failure
)
{
    struct topic_setting_given *given = NULL;
    uint32_t count = 0;

    if (!topic_settings_take(config, false, arena, &given, &count, failure)) {
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

static bool
take_creation(const json_t *document, struct creation *creation, struct failure *failure)
{
    static const char *const known[] = {"name", "partitions", "replicas", "config", NULL};
    struct create_topic_request *body = &creation->body;
    struct ria_arena *arena = &creation->request->arena;
    char reason[FAILURE_MESSAGE_MAX];
    int64_t partitions = -1;
    int64_t replicas = -1;

    if (!document_known(document, known, failure) ||
        !document_string(document, "name", arena, &body->name, failure) ||
        !document_i64(document, "partitions", 1, RIA_PARTITIONS_MAX, &partitions, failure) ||
        !document_i64(document, "replicas", 1, RIA_REPLICAS_MAX, &replicas, failure) ||
        !take_configs(json_object_get(document, "config"), body, arena, failure)) {
        return false;
    }
    if (topic_name_check(body->name, reason, sizeof(reason)) != RIA_OK) {
        failure_set(failure, 400, "invalid", "name", "%s", reason);
        return false;
    }
    body->partition_count = (int32_t)partitions;
    body->replication_factor = (int16_t)replicas;
    return true;
}

void handle_topic_create(struct gateway *gateway, struct request *request)
{
    struct creation *creation = ria_arena_alloc(&request->arena, sizeof(*creation));
    uint8_t random[RIA_UUID_SIZE];
    struct failure failure;

    if (creation == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    json_t *document = document_load(request, &failure);
    create_topic_request_init(&creation->body);
    creation->gateway = gateway;
    creation->request = request;
    bool fine = document != NULL && take_creation(document, creation, &failure);
    json_decref(document);
    if (!fine) {
        request_fail(request, &failure);
        return;
    }
    ria_rand_bytes(gateway->env->rand, random, sizeof(random));
    creation->body.topic_id = ria_uuid_v4(random);
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_CREATE_TOPIC,
        &creation->body,
        ADMIN_TIMEOUT_MS,
        created,
        creation
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
