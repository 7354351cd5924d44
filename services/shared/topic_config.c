#include "services/shared/topic_config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

/* ---- the tables ---- */

struct setting {
    const char *name;
    size_t offset; /* of an int64_t in struct topic_config */
    int64_t fallback;
    int64_t min;
    int64_t max;
};

#define SETTING_ROW_(field, setting, type, fallback, min, max, about) \
    {setting, offsetof(struct topic_config, field), fallback, min, max},
static const struct setting settings[] = {TOPIC_CONFIG_TABLE(SETTING_ROW_)};

/* Settings whose value is one of two words. */
struct choice {
    const char *name;
    const char *words[2]; /* by value; the first is the default */
};

static const struct choice durability = {
    "durability",
    {[TOPIC_DURABILITY_SYNCED] = "synced", [TOPIC_DURABILITY_RELAXED] = "relaxed"},
};
static const struct choice delivery = {
    "delivery",
    {[TOPIC_DELIVERY_STREAM] = "stream", [TOPIC_DELIVERY_QUEUE] = "queue"},
};

/* Settings that Kafka has and we do not. A value is accepted only if it asks for exactly what is
 * done anyway; `instead` is the half sentence that says what is done. */
struct kafka_setting {
    const char *name;
    const char *accepted; /* NULL = no value is */
    const char *instead;
};

static const struct kafka_setting kafka_settings[] = {
    {"cleanup.policy", NULL, "records are kept until the topic is deleted"},
    {"compression.gzip.level", NULL, "batches are stored as they are sent"},
    {"compression.lz4.level", NULL, "batches are stored as they are sent"},
    {"compression.type", "producer", "batches are stored as they are sent"},
    {"compression.zstd.level", NULL, "batches are stored as they are sent"},
    {"delete.retention.ms", NULL, "there is no compaction"},
    {"file.delete.delay.ms", NULL, "files are deleted only with their topic"},
    {"flush.messages", NULL, "use durability"},
    {"flush.ms", NULL, "use durability"},
    {"follower.replication.throttled.replicas", "", "replication is not throttled"},
    {"index.interval.bytes", NULL, "the interval is fixed"},
    {"leader.replication.throttled.replicas", "", "replication is not throttled"},
    {"local.retention.bytes", NULL, "there is no tiered storage"},
    {"local.retention.ms", NULL, "there is no tiered storage"},
    {"max.compaction.lag.ms", NULL, "there is no compaction"},
    {"message.downconversion.enable", "false", "batches are served as they are stored"},
    {"message.format.version", NULL, "every batch has format 2"},
    {"message.timestamp.after.max.ms", NULL, "timestamps are not limited"},
    {"message.timestamp.before.max.ms", NULL, "timestamps are not limited"},
    {"message.timestamp.difference.max.ms", NULL, "timestamps are not limited"},
    {"message.timestamp.type", "CreateTime", "records keep the timestamp they were sent with"},
    {"min.cleanable.dirty.ratio", NULL, "there is no compaction"},
    {"min.compaction.lag.ms", NULL, "there is no compaction"},
    {"preallocate", "false", "segment files grow as they are written"},
    {"remote.log.copy.disable", NULL, "there is no tiered storage"},
    {"remote.log.delete.on.disable", NULL, "there is no tiered storage"},
    {"remote.storage.enable", "false", "there is no tiered storage"},
    {"retention.bytes", "-1", "records are kept until the topic is deleted"},
    {"retention.ms", "-1", "records are kept until the topic is deleted"},
    {"segment.index.bytes", NULL, "index files grow as they are written"},
    {"segment.jitter.ms", "0", "segments are rolled by size"},
    {"segment.ms", NULL, "segments are rolled by size"},
    {"unclean.leader.election.enable", "false", "only an in-sync replica may lead"},
};

/* ---- reasons ---- */

enum { QUOTE_MAX = 64 }; /* bytes of a foreign text that a reason repeats */

struct quoted {
    char text[QUOTE_MAX + 4];
};

/* What somebody sent, made fit for one line of text. */
static struct quoted quote(struct ria_slice raw)
{
    struct quoted out = {""};
    size_t size = ria_min_size(raw.size, QUOTE_MAX);

    for (size_t i = 0; i < size; i++) {
        uint8_t byte = raw.data[i];
        out.text[i] = byte < 0x20 || byte >= 0x7f ? '?' : (char)byte;
    }
    if (raw.size > size) {
        (void)snprintf(out.text + size, sizeof(out.text) - size, "...");
    }
    return out;
}

/* Returns err. */
static ria_err refuse(ria_err err, char *reason, size_t reason_size, const char *fmt, ...)
    RIA_PRINTF(4, 5);

static ria_err refuse(ria_err err, char *reason, size_t reason_size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(reason, reason_size, fmt, args);
    va_end(args);
    return err;
}

/* ---- fields ---- */

static int64_t *field_of(struct topic_config *config, const struct setting *setting)
{
    return (int64_t *)(void *)((char *)config + setting->offset);
}

static int64_t value_of(const struct topic_config *config, const struct setting *setting)
{
    return *(const int64_t *)(const void *)((const char *)config + setting->offset);
}

void topic_config_init(struct topic_config *config, int replication_factor)
{
    *config = (struct topic_config
    ){.durability = TOPIC_DURABILITY_SYNCED, .delivery = TOPIC_DELIVERY_STREAM};
    for (size_t i = 0; i < RIA_COUNT(settings); i++) {
        *field_of(config, &settings[i]) = settings[i].fallback;
    }
    config->min_insync_replicas = replication_factor > 1 ? 2 : 1;
}

/* An optional minus and decimal digits, nothing else. */
static bool parse_i64(struct ria_slice text, int64_t *out_value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t value = 0;

    if (i == text.size) {
        return false;
    }
    for (; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        int64_t digit = text.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *out_value = value;
    return true;
}

static ria_err set_int(
    struct topic_config *config,
    const struct setting *setting,
    struct ria_slice text,
    char *reason,
    size_t reason_size
)
{
    int64_t value = 0;

    if (!parse_i64(text, &value) || value < setting->min || value > setting->max) {
        return refuse(
            RIA_ERR_INVALID,
            reason,
            reason_size,
            "%s must be an integer between %" PRId64 " and %" PRId64 ", not \"%s\"",
            setting->name,
            setting->min,
            setting->max,
            quote(text).text
        );
    }
    *field_of(config, setting) = value;
    return RIA_OK;
}

static ria_err choose(
    const struct choice *choice,
    struct ria_slice text,
    size_t *out_value,
    char *reason,
    size_t reason_size
)
{
    for (size_t i = 0; i < RIA_COUNT(choice->words); i++) {
        if (ria_slice_equal(text, ria_slice_cstr(choice->words[i]))) {
            *out_value = i;
            return RIA_OK;
        }
    }
    return refuse(
        RIA_ERR_INVALID,
        reason,
        reason_size,
        "%s must be %s or %s, not \"%s\"",
        choice->name,
        choice->words[0],
        choice->words[1],
        quote(text).text
    );
}

/* The settings we only know by name. */
static ria_err
set_foreign(struct ria_slice name, struct ria_slice value, char *reason, size_t reason_size)
{
    for (size_t i = 0; i < RIA_COUNT(kafka_settings); i++) {
        const struct kafka_setting *setting = &kafka_settings[i];
        if (!ria_slice_equal(name, ria_slice_cstr(setting->name))) {
            continue;
        }
        if (setting->accepted == NULL) {
            return refuse(
                RIA_ERR_UNSUPPORTED,
                reason,
                reason_size,
                "%s is not implemented: %s",
                setting->name,
                setting->instead
            );
        }
        if (ria_slice_equal(value, ria_slice_cstr(setting->accepted))) {
            return RIA_OK;
        }
        return refuse(
            RIA_ERR_UNSUPPORTED,
            reason,
            reason_size,
            "%s is not implemented other than \"%s\": %s",
            setting->name,
            setting->accepted,
            setting->instead
        );
    }
    return refuse(
        RIA_ERR_INVALID, reason, reason_size, "%s is not a topic setting", quote(name).text
    );
}

ria_err topic_config_set(
    struct topic_config *config,
    struct ria_slice name,
    struct ria_slice value,
    char *reason,
    size_t reason_size
)
{
    size_t chosen = 0;

    for (size_t i = 0; i < RIA_COUNT(settings); i++) {
        if (ria_slice_equal(name, ria_slice_cstr(settings[i].name))) {
            return set_int(config, &settings[i], value, reason, reason_size);
        }
    }
    if (ria_slice_equal(name, ria_slice_cstr(durability.name))) {
        RIA_TRY(choose(&durability, value, &chosen, reason, reason_size));
        config->durability = (topic_durability)chosen;
        return RIA_OK;
    }
    if (ria_slice_equal(name, ria_slice_cstr(delivery.name))) {
        RIA_TRY(choose(&delivery, value, &chosen, reason, reason_size));
        config->delivery = (topic_delivery)chosen;
        return RIA_OK;
    }
    return set_foreign(name, value, reason, reason_size);
}

ria_err topic_config_check_name(struct ria_slice name, char *reason, size_t reason_size)
{
    for (size_t i = 0; i < topic_config_count(); i++) {
        if (ria_slice_equal(name, ria_slice_cstr(topic_config_name(i)))) {
            return RIA_OK;
        }
    }
    for (size_t i = 0; i < RIA_COUNT(kafka_settings); i++) {
        const struct kafka_setting *setting = &kafka_settings[i];
        if (ria_slice_equal(name, ria_slice_cstr(setting->name)) && setting->accepted != NULL) {
            return RIA_OK; /* may have been given, and always means the same */
        }
    }
    return set_foreign(name, RIA_SLICE_LITERAL(""), reason, reason_size);
}

void topic_config_unset(struct topic_config *config, struct ria_slice name, int replication_factor)
{
    struct topic_config fresh;

    topic_config_init(&fresh, replication_factor);
    for (size_t i = 0; i < RIA_COUNT(settings); i++) {
        if (ria_slice_equal(name, ria_slice_cstr(settings[i].name))) {
            *field_of(config, &settings[i]) = value_of(&fresh, &settings[i]);
        }
    }
    if (ria_slice_equal(name, ria_slice_cstr(durability.name))) {
        config->durability = fresh.durability;
    } else if (ria_slice_equal(name, ria_slice_cstr(delivery.name))) {
        config->delivery = fresh.delivery;
    }
}

ria_err topic_config_check(
    const struct topic_config *config, int replication_factor, char *reason, size_t reason_size
)
{
    if (config->min_insync_replicas > replication_factor) {
        return refuse(
            RIA_ERR_INVALID,
            reason,
            reason_size,
            "min.insync.replicas must be at most the number of replicas: %" PRId64
            " is more than %d",
            config->min_insync_replicas,
            replication_factor
        );
    }
    return RIA_OK;
}

/* ---- description ---- */

size_t topic_config_count(void)
{
    return RIA_COUNT(settings) + 2;
}

const char *topic_config_name(size_t position)
{
    RIA_ASSERT(position < topic_config_count());

    if (position < RIA_COUNT(settings)) {
        return settings[position].name;
    }
    return position == RIA_COUNT(settings) ? durability.name : delivery.name;
}

void topic_config_text(
    const struct topic_config *config, size_t position, char *out, size_t out_size
)
{
    RIA_ASSERT(position < topic_config_count());

    if (position < RIA_COUNT(settings)) {
        (void)snprintf(out, out_size, "%" PRId64, value_of(config, &settings[position]));
    } else if (position == RIA_COUNT(settings)) {
        (void)snprintf(out, out_size, "%s", durability.words[config->durability]);
    } else {
        (void)snprintf(out, out_size, "%s", delivery.words[config->delivery]);
    }
}

/* ---- names ---- */

static bool name_byte_is_legal(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

ria_err topic_name_check(struct ria_slice name, char *reason, size_t reason_size)
{
    if (name.size == 0) {
        return refuse(RIA_ERR_INVALID, reason, reason_size, "the name must not be empty");
    }
    if (name.size > RIA_TOPIC_NAME_MAX) {
        return refuse(
            RIA_ERR_INVALID,
            reason,
            reason_size,
            "the name must have at most %d characters, not %zu",
            RIA_TOPIC_NAME_MAX,
            name.size
        );
    }
    for (size_t i = 0; i < name.size; i++) {
        if (!name_byte_is_legal(name.data[i])) {
            return refuse(
                RIA_ERR_INVALID,
                reason,
                reason_size,
                "the name \"%s\" has an illegal character at position %zu: only letters, digits, "
                "'.', '_' and '-' are allowed",
                quote(name).text,
                i
            );
        }
    }
    if (ria_slice_equal(name, RIA_SLICE_LITERAL(".")) ||
        ria_slice_equal(name, RIA_SLICE_LITERAL(".."))) {
        return refuse(RIA_ERR_INVALID, reason, reason_size, "the name must not be \".\" or \"..\"");
    }
    return RIA_OK;
}
