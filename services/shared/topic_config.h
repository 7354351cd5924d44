/* topic_config: the settings a topic may have: names, rules, defaults.
 *
 * One table serves the coordinator (refuses what is unknown, not implemented or out of range),
 * storage (acts on it) and the documents. Names are Kafka's where Kafka has the setting.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

typedef enum topic_durability {
    TOPIC_DURABILITY_SYNCED,  /* an ack means: on disk on the in-sync replicas */
    TOPIC_DURABILITY_RELAXED, /* in their page cache, synced on an interval */
} topic_durability;

typedef enum topic_delivery {
    TOPIC_DELIVERY_STREAM, /* groups read it in order, partition by partition */
    TOPIC_DELIVERY_QUEUE,  /* each record goes to one consumer of a group, and is acknowledged */
} topic_delivery;

/* clang-format off */
/*    field                 setting                  type  default      min          max */
#define TOPIC_CONFIG_TABLE(X)                                                                     \
    X(min_insync_replicas,  "min.insync.replicas",   INT,  -1,          1,           16,          \
      "in-sync replicas without which produce is refused; default 2, or 1 with one replica")      \
    X(segment_bytes,        "segment.bytes",         INT,  134217728,   65536,       2147483647,  \
      "a new segment begins when the log file would grow past this many bytes")                   \
    X(max_message_bytes,    "max.message.bytes",     INT,  8388608,     1024,        8388608,     \
      "largest record batch, header included")                                                    \
    X(replica_lag_ms,       "replica.lag.time.max.ms", INT, 10000,      500,         3600000,     \
      "a follower that has not caught up for this long leaves the in-sync set")
/* clang-format on */

#define TOPIC_CONFIG_FIELD_(field, setting, type, fallback, min, max, about) int64_t field;
struct topic_config {
    TOPIC_CONFIG_TABLE(TOPIC_CONFIG_FIELD_)
    topic_durability durability; /* setting "durability" = synced (default) | relaxed */
    topic_delivery delivery;     /* setting "delivery" = stream (default) | queue */
};

/* Defaults for a topic with this many replicas. */
void topic_config_init(struct topic_config *config, int replication_factor);

/* Errors: RIA_ERR_INVALID (unknown, or out of range), RIA_ERR_UNSUPPORTED (Kafka has it, we do not
 * yet); `reason` gets one sentence that names the setting and the rule. */
ria_err topic_config_set(
    struct topic_config *config,
    struct ria_slice name,
    struct ria_slice value,
    char *reason,
    size_t reason_size
) RIA_MUST_USE;

/* Is there something to be put back to its default? Errors: as topic_config_set(). */
ria_err
topic_config_check_name(struct ria_slice name, char *reason, size_t reason_size) RIA_MUST_USE;

/* The default of a setting that topic_config_check_name() took. */
void topic_config_unset(struct topic_config *config, struct ria_slice name, int replication_factor);

/* What only the whole tells: min.insync.replicas <= replication_factor.
 * Errors: RIA_ERR_INVALID, with reason. */
ria_err topic_config_check(
    const struct topic_config *config, int replication_factor, char *reason, size_t reason_size
) RIA_MUST_USE;

/* Effective value as text, by position 0..count-1; for descriptions. */
size_t topic_config_count(void);
const char *topic_config_name(size_t position);
void topic_config_text(
    const struct topic_config *config, size_t position, char *out, size_t out_size
);

/* The name rule of topics, transforms and groups: [A-Za-z0-9._-]{1,200}, not "." or "..". */
ria_err topic_name_check(struct ria_slice name, char *reason, size_t reason_size) RIA_MUST_USE;
