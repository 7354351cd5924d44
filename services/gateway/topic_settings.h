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

/* One member of the object. Both slices are the arena's. may_unset: null is a value, too. False:
 * failure says why, of field "config". */
bool topic_settings_take(
    const char *name,
    const json_t *value,
    bool may_unset,
    struct ria_arena *arena,
    struct topic_setting_given *out_given,
    struct failure *failure
);

/* "config" is an object of not too many members. */
bool topic_settings_check_object(const json_t *config, struct failure *failure);

/* Is a sentence of the coordinator about a setting? */
bool topic_settings_names_one(const char *text);
