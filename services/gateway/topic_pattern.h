/* topic_pattern: a regular expression that picks topics by their names.
 *
 * POSIX extended expressions over the whole name, of which those are taken whose cost is bounded:
 * at most TOPIC_PATTERN_SIZE_MAX bytes, groups at most TOPIC_PATTERN_DEPTH_MAX deep, no counts
 * ("{3}"), no back-references, no quantifier of a quantifier. \d, \w and \s mean what they mean
 * elsewhere.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

enum { TOPIC_PATTERN_SIZE_MAX = 256, TOPIC_PATTERN_DEPTH_MAX = 4 };

struct topic_pattern;

/* NULL: it is no such pattern, *out_reason (static) says why. */
struct topic_pattern *topic_pattern_new(struct ria_slice text, const char **out_reason);

/* Accepts NULL. */
void topic_pattern_free(struct topic_pattern *pattern);

bool topic_pattern_matches(const struct topic_pattern *pattern, const char *name);
