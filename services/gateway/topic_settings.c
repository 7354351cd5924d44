#include "services/gateway/topic_settings.h"

#include <string.h>

#include "common/limits.h"

#include "services/gateway/document.h"
#include "services/shared/topic_config.h"

static bool check_object(const json_t *config, struct failure *failure)
{
    if (json_is_object(config) && json_object_size(config) <= RIA_CONFIG_ENTRIES_MAX) {
        return true;
    }
    failure_set(
        failure,
        400,
        "invalid",
        "config",
        "config must be an object of at most %d settings",
        (int)RIA_CONFIG_ENTRIES_MAX
    );
    return false;
}

static ria_err check(const struct topic_setting_given *given, char *reason, size_t reason_size)
{
    struct topic_config scratch;

    if (ria_slice_is_null(given->value)) {
        return topic_config_check_name(given->name, reason, reason_size);
    }
    topic_config_init(&scratch, 1);
    return topic_config_set(&scratch, given->name, given->value, reason, reason_size);
}

static bool take_one(
    const char *name,
    const json_t *value,
    bool may_unset,
    struct ria_arena *arena,
    struct topic_setting_given *out_given,
    struct failure *failure
)
{
    char reason[FAILURE_MESSAGE_MAX];
    bool is_unset = may_unset && json_is_null(value);
    struct topic_setting_given given = {
        .name = ria_slice_cstr(ria_arena_strdup(arena, ria_slice_cstr(name))),
        .value = is_unset ? RIA_SLICE_NULL : document_scalar(value, arena),
    };

    if (!is_unset && (ria_slice_is_null(given.value) || given.value.size > RIA_CONFIG_VALUE_MAX)) {
        failure_set(
            failure,
            400,
            "invalid",
            "config",
            "setting %.100s must have a string, number or boolean of at most %d bytes",
            name,
            (int)RIA_CONFIG_VALUE_MAX
        );
        return false;
    }
    ria_err err = check(&given, reason, sizeof(reason));
    if (err != RIA_OK) {
        failure_of_err(failure, err, reason);
        failure->field = "config";
        return false;
    }
    *out_given = given;
    return true;
}

bool topic_settings_take(
    json_t *config,
    bool may_unset,
    struct ria_arena *arena,
    struct topic_setting_given **out_given,
    uint32_t *out_count,
    struct failure *failure
)
{
    struct topic_setting_given *given = NULL;
    uint32_t count = 0;
    const char *name;
    json_t *value;

    if (config != NULL && !check_object(config, failure)) {
        return false;
    }
    given = ria_arena_alloc_array(arena, json_object_size(config), sizeof(*given));
    if (given == NULL) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return false;
    }
    json_object_foreach(config, name, value)
    {
        if (!take_one(name, value, may_unset, arena, &given[count], failure)) {
            return false;
        }
        count++;
    }
    *out_given = given;
    *out_count = count;
    return true;
}

bool topic_settings_names_one(const char *text)
{
    for (size_t i = 0; i < topic_config_count(); i++) {
        if (strstr(text, topic_config_name(i)) != NULL) {
            return true;
        }
    }
    return false;
}
