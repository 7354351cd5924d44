/* topic_settings: a topic's settings as JSON bodies give them, checked by the coordinator's table.
 */
#pragma once

#include <jansson.h>

#include "common/arena.h"
#include "common/slice.h"

#include "services/gateway/failure.h"

struct topic_setting_given {
    struct ria_slice name;
    struct ria_slice value; /* null: back to the default */
};

/* Those of the object "config" (NULL: none), in the arena. may_unset: null is a value, too. False:
 * failure says why, of field "config". */
bool topic_settings_take(
    json_t *config,
    bool may_unset,
    struct ria_arena *arena,
    struct topic_setting_given **out_given,
    uint32_t *out_count,
    struct failure *failure
);

/* Is a sentence of the coordinator about a setting? */
bool topic_settings_names_one(const char *text);
