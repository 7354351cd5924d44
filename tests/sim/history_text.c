#include "tests/sim/history_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum {
    /* Of a sane history: the checker has arrays of this size, some of actors x partitions. */
    TEXT_ACTORS_MAX = 1024,
    TEXT_PARTITIONS_MAX = 16 * 1024,
    TEXT_NUMBER_MAX = 100 * 1000 * 1000,
    TEXT_GROUPS_MAX = 64,
};

/* ---- which fields a kind has ---- */

/* In the order in which they are written. `none`: is left out then. */
/* clang-format off */
/*    name        text         of an event   type     low  high                    none */
#define TEXT_FIELDS(X)                                                                        \
    X(GROUP,      "group",      group,       U32,     0,  TEXT_GROUPS_MAX - 1,     -1)        \
    X(PARTITION,  "partition",  partition,   U32,     0,  TEXT_PARTITIONS_MAX - 1, -1)        \
    X(VALUES,     "values",     value,       VALUES,  0,  0,                       0)         \
    X(VALUE,      "value",      value,       VALUE,   0,  0,                       0)         \
    X(OFFSET,     "offset",     offset,      I64,     0,  INT64_MAX / 2,           INT64_MIN) \
    X(EPOCH,      "epoch",      epoch,       I32,     -1, INT32_MAX,               INT64_MIN) \
    X(RECORDS,    "records",    count,       I64,     0,  INT64_MAX / 4,           INT64_MIN) \
    X(WATERMARK,  "watermark",  watermark,   I64,     0,  INT64_MAX / 2,           HISTORY_NO_WATERMARK) \
    X(LEADER,     "leader",     is_leader,   BOOL,    0,  0,                       0)         \
    X(FROM,       "from",       from,        U32,     0,  TEXT_PARTITIONS_MAX - 1, -1)        \
    X(SKIP,       "skip",       skip,        U32,     0,  TEXT_NUMBER_MAX,         -1)        \
    X(IN_SYNC,    "in-sync",    is_in_sync,  BOOL,    0,  0,                       0)         \
    X(IDEMPOTENT, "idempotent", time_us,     PRODUCER, 0, 0,                       0)         \
    X(QUEUE,      "queue",      is_queue,    BOOL,    0,  0,                       0)         \
    X(ORDERED,    "ordered",    is_ordered,  BOOL,    0,  0,                       0)         \
    X(DEAD,       "dead",       has_dead,    BOOL,    0,  0,                       0)         \
    X(LEASE,      "lease",      lease,       I64,     0,  INT64_MAX / 2,           INT64_MIN) \
    X(KEY,        "key",        key,         I64,     0,  INT64_MAX / 2,           HISTORY_NO_KEY) \
    X(ACTION,     "action",     action,      ACTION,  0,  0,                       0)         \
    X(DONE,       "done",       is_done,     BOOL,    0,  0,                       0)         \
    X(UNTIL,      "until",      until_us,    TIME,    0,  0,                       0)         \
    X(CLOCK,      "clock",      clock_ms,    I64,     0,  INT64_MAX / 2,           HISTORY_NO_CLOCK) \
    X(RULE,       "rule",       rule,        WORD,    0,  0,                       0)         \
    X(TEXT,       "text",       text,        REST,    0,  0,                       0)
/* clang-format on */

typedef enum text_type {
    TYPE_I32,
    TYPE_U32,
    TYPE_I64,
    TYPE_BOOL,
    TYPE_TIME,
    TYPE_VALUE,
    TYPE_VALUES,
    TYPE_ACTION,
    TYPE_WORD,
    TYPE_REST,
    TYPE_PRODUCER, /* no event has it */
} text_type;

#define TEXT_ENUM_(name, text, member, type, low, high, none) FIELD_##name,
typedef enum text_field { TEXT_FIELDS(TEXT_ENUM_) FIELD_COUNT } text_field;
_Static_assert(FIELD_COUNT <= 32, "a bit each");

#define TEXT_FIELD_(name, text, member, type, low, high, none) \
    {text, offsetof(struct history_event, member), TYPE_##type, low, high, none},
static const struct {
    const char *name;
    size_t at; /* in the event */
    text_type type;
    int64_t low;
    int64_t high;
    int64_t none;
} fields[] = {TEXT_FIELDS(TEXT_FIELD_)};

#define TEXT_ACTION_(name, text) text,
static const char *const action_names[] = {HISTORY_ACTIONS(TEXT_ACTION_)};

#define BIT(name) (1U << FIELD_##name)
#define PLACE     (BIT(GROUP) | BIT(PARTITION) | BIT(OFFSET))

struct kind_text {
    const char *name;
    const char *actor;
    unsigned needs;
    unsigned takes; /* also */
};

/* The line of a producer is like that of an event, but is none. */
enum { KIND_PRODUCER = HISTORY_BROKEN + 1, KIND_COUNT };

static const struct kind_text kinds[KIND_COUNT] = {
    [HISTORY_SEND] = {"SEND", "producer", BIT(PARTITION) | BIT(VALUES), BIT(UNTIL)},
    [HISTORY_ACK] = {"ACK", "producer", BIT(PARTITION) | BIT(VALUES) | BIT(OFFSET), 0},
    [HISTORY_FAIL] = {"FAIL", "producer", BIT(PARTITION) | BIT(VALUES), 0},
    [HISTORY_UNKNOWN] = {"UNKNOWN", "producer", BIT(PARTITION) | BIT(VALUES), 0},
    [HISTORY_FETCH] =
        {"FETCH",
         "reader",
         BIT(PARTITION) | BIT(OFFSET) | BIT(RECORDS),
         BIT(EPOCH) | BIT(WATERMARK)},
    [HISTORY_READ] = {"READ", "reader", BIT(PARTITION) | BIT(OFFSET) | BIT(VALUE), BIT(WATERMARK)},
    [HISTORY_WATERMARK] = {"WATERMARK", "node", BIT(PARTITION) | BIT(EPOCH) | BIT(WATERMARK), 0},
    [HISTORY_STORED] =
        {"STORED", "node", BIT(PARTITION) | BIT(OFFSET) | BIT(VALUE), BIT(WATERMARK)},
    [HISTORY_REPLICA] =
        {"REPLICA",
         "node",
         BIT(PARTITION) | BIT(OFFSET) | BIT(RECORDS) | BIT(WATERMARK) | BIT(LEADER) | BIT(IN_SYNC),
         BIT(EPOCH)},
    [HISTORY_RECORD] =
        {"RECORD", "node", BIT(PARTITION) | BIT(OFFSET) | BIT(VALUE), BIT(WATERMARK)},
    [HISTORY_DERIVED] = {"DERIVED", NULL, BIT(PARTITION) | BIT(FROM), BIT(SKIP)},
    [HISTORY_DROPPED] = {"DROPPED", NULL, BIT(PARTITION), 0},
    [HISTORY_CONSUMES] = {"CONSUMES", NULL, PLACE | BIT(QUEUE), BIT(ORDERED) | BIT(DEAD)},
    [HISTORY_DELIVERED] = {"DELIVERED", "consumer", PLACE | BIT(RECORDS) | BIT(LEASE), 0},
    [HISTORY_COMMIT] = {"COMMIT", "consumer", PLACE | BIT(LEASE), 0},
    [HISTORY_COMMITTED] = {"COMMITTED", "consumer", PLACE | BIT(LEASE), 0},
    [HISTORY_LOST] = {"LOST", "consumer", PLACE | BIT(LEASE), 0},
    [HISTORY_RESET] = {"RESET", NULL, PLACE, 0},
    [HISTORY_POSITION] = {"POSITION", NULL, PLACE, 0},
    [HISTORY_LOCKED] =
        {"LOCKED", "consumer", PLACE | BIT(VALUE) | BIT(LEASE) | BIT(UNTIL), BIT(KEY) | BIT(CLOCK)},
    [HISTORY_SAY] = {"SAY", "consumer", PLACE | BIT(LEASE) | BIT(ACTION), BIT(UNTIL)},
    [HISTORY_TOLD] =
        {"TOLD", "consumer", PLACE | BIT(LEASE) | BIT(ACTION) | BIT(DONE), BIT(UNTIL) | BIT(CLOCK)},
    [HISTORY_DEAD] = {"DEAD", NULL, PLACE | BIT(VALUE) | BIT(ACTION), 0},
    [HISTORY_REDRIVE] = {"REDRIVE", NULL, BIT(GROUP) | BIT(PARTITION), 0},
    [HISTORY_BROKEN] = {"BROKEN", NULL, BIT(PARTITION) | BIT(RULE) | BIT(TEXT), 0},
    [KIND_PRODUCER] = {"PRODUCER", "producer", BIT(IDEMPOTENT), 0},
};

/* ---- writing ---- */

RIA_PRINTF(3, 4)
static void append(char *out, size_t out_size, const char *fmt, ...)
{
    size_t used = strlen(out);
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(out + used, out_size - used, fmt, args);
    va_end(args);
}

static int64_t get_number(const struct history_event *event, text_field field)
{
    const void *at = (const char *)event + fields[field].at;

    switch (fields[field].type) {
    case TYPE_I32:
        return *(const int32_t *)at;
    case TYPE_U32:
        return *(const uint32_t *)at;
    case TYPE_I64:
    case TYPE_TIME:
        return *(const int64_t *)at;
    case TYPE_BOOL:
        return *(const bool *)at;
    case TYPE_ACTION:
        return *(const history_action *)at;
    case TYPE_VALUE:
    case TYPE_VALUES:
    case TYPE_WORD:
    case TYPE_REST:
    case TYPE_PRODUCER:
        break;
    }
    return 0;
}

static void
append_field(char *out, size_t out_size, text_field field, const struct history_event *event)
{
    const char *name = fields[field].name;
    int64_t number = get_number(event, field);

    switch (fields[field].type) {
    case TYPE_I32:
    case TYPE_U32:
    case TYPE_I64:
        if (number != fields[field].none) {
            append(out, out_size, " %s=%" PRId64, name, number);
        }
        break;
    case TYPE_BOOL:
        append(out, out_size, " %s=%s", name, number != 0 ? "yes" : "no");
        break;
    case TYPE_TIME:
        if (number != fields[field].none) {
            append(out, out_size, " %s=%.6f", name, (double)number / 1e6);
        }
        break;
    case TYPE_VALUE:
    case TYPE_VALUES:
        append(
            out,
            out_size,
            " %s=%" PRIu32 ".%" PRIu32,
            name,
            history_value_producer(event->value),
            history_value_number(event->value)
        );
        if (fields[field].type == TYPE_VALUES) {
            append(out, out_size, "+%" PRId64, event->count);
        }
        break;
    case TYPE_ACTION:
        append(out, out_size, " %s=%s", name, action_names[number]);
        break;
    case TYPE_WORD:
        append(out, out_size, " %s=%s", name, event->rule);
        break;
    case TYPE_REST:
        append(out, out_size, " %s=%s", name, event->text);
        break;
    case TYPE_PRODUCER:
        break;
    }
}

void history_format(const struct history_event *event, char *out, size_t out_size)
{
    const struct kind_text *kind = &kinds[event->kind];

    (void)snprintf(out, out_size, "%10.6f %-9s", (double)event->time_us / 1e6, kind->name);
    if (kind->actor != NULL) {
        append(out, out_size, " %s=%" PRIu32, kind->actor, event->actor);
    }
    for (text_field field = 0; field < FIELD_COUNT; field++) {
        if (((kind->needs | kind->takes) & 1U << field) != 0) {
            append_field(out, out_size, field, event);
        }
    }
}

static bool covers_value(const struct history_event *event, uint64_t value)
{
    return value != HISTORY_NO_VALUE && value >= event->value &&
           value - event->value < (uint64_t)event->count;
}

static bool
touches(const struct history_event *event, uint32_t partition, int64_t offset, uint64_t value)
{
    bool same_partition = event->partition == partition;

    switch (event->kind) {
    case HISTORY_ACK:
        return covers_value(event, value) ||
               (same_partition && offset >= event->offset && offset < event->offset + event->count);
    case HISTORY_SEND:
    case HISTORY_FAIL:
    case HISTORY_UNKNOWN:
        return covers_value(event, value);
    case HISTORY_DELIVERED:
        return same_partition && offset >= event->offset && offset < event->offset + event->count;
    case HISTORY_COMMIT:
    case HISTORY_COMMITTED:
    case HISTORY_LOST:
    case HISTORY_RESET:
    case HISTORY_POSITION: /* what is below it is finished */
        return same_partition && (offset == event->offset || offset + 1 == event->offset);
    case HISTORY_SAY:
    case HISTORY_TOLD:
        return same_partition && event->offset == offset;
    case HISTORY_DEAD:
    case HISTORY_LOCKED:
    case HISTORY_READ:
    case HISTORY_STORED:
    case HISTORY_RECORD:
        return event->value == value || (same_partition && event->offset == offset);
    case HISTORY_REPLICA:
    case HISTORY_DERIVED:
    case HISTORY_DROPPED:
    case HISTORY_CONSUMES:
    case HISTORY_REDRIVE:
        return same_partition;
    case HISTORY_BROKEN:
        return same_partition && offset == HISTORY_NO_OFFSET && value == HISTORY_NO_VALUE;
    case HISTORY_FETCH:
    case HISTORY_WATERMARK:
        return false;
    }
    return false;
}

void history_print(
    const struct history *history,
    FILE *out,
    uint32_t partition,
    int64_t offset,
    uint64_t value,
    size_t line_max
)
{
    char line[HISTORY_LINE_SIZE];
    size_t total = 0;
    size_t at = 0;

    for (size_t i = 0; i < history->count; i++) {
        total += touches(&history->events[i], partition, offset, value);
    }
    for (size_t i = 0; i < history->count; i++) {
        if (!touches(&history->events[i], partition, offset, value)) {
            continue;
        }
        bool skipped = total > line_max && at >= line_max / 2 && at < total - line_max / 2;
        if (!skipped) {
            history_format(&history->events[i], line, sizeof(line));
            (void)fprintf(out, "  %s\n", line);
        } else if (at == line_max / 2) {
            (void)fprintf(out, "  ... %zu more ...\n", total - line_max / 2 * 2);
        }
        at++;
    }
}

void history_write(const struct history *history, FILE *out)
{
    char line[HISTORY_LINE_SIZE];

    for (uint32_t i = 0; i < history->producer_count; i++) {
        (void)fprintf(
            out,
            "%10.6f PRODUCER  producer=%" PRIu32 " idempotent=%s\n",
            0.0,
            i,
            history->producers[i].idempotent ? "yes" : "no"
        );
    }
    for (size_t i = 0; i < history->count; i++) {
        history_format(&history->events[i], line, sizeof(line));
        (void)fprintf(out, "%s\n", line);
    }
}

/* ---- reading ---- */

/* One line as it is being read. */
struct line {
    struct history *history;
    char *reason; /* HISTORY_REASON_SIZE bytes */
    int kind;
    unsigned has;
    struct history_event event;
    bool idempotent;
};

RIA_PRINTF(2, 3)
static ria_err bad(struct line *line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line->reason, HISTORY_REASON_SIZE, fmt, args);
    va_end(args);
    return RIA_ERR_MALFORMED;
}

/* Also moves *text behind the number. */
static bool take_number(const char **text, int64_t low, int64_t high, int64_t *out_number)
{
    char *stop = NULL;

    errno = 0;
    long long number = strtoll(*text, &stop, 10);
    if (stop == *text || errno != 0 || number < low || number > high) {
        return false;
    }
    *text = stop;
    *out_number = number;
    return true;
}

static bool parse_number(const char *text, int64_t low, int64_t high, int64_t *out_number)
{
    return take_number(&text, low, high, out_number) && text[0] == '\0';
}

/* Seconds. */
static bool parse_time(const char *text, int64_t *out_us)
{
    char *end = NULL;
    double seconds = strtod(text, &end);

    *out_us = 0;
    if (end == text || end[0] != '\0' || !(seconds >= 0 && seconds < 1e12)) {
        return false;
    }
    *out_us = (int64_t)(seconds * 1e6 + 0.5);
    return true;
}

static bool parse_action(const char *text, history_action *out_action)
{
    for (size_t i = 0; i < HISTORY_ACTION_COUNT; i++) {
        if (strcmp(text, action_names[i]) == 0) {
            *out_action = (history_action)i;
            return true;
        }
    }
    return false;
}

static bool parse_bool(const char *text, bool *out_yes)
{
    *out_yes = strcmp(text, "yes") == 0;
    return *out_yes || strcmp(text, "no") == 0;
}

/* PRODUCER.NUMBER, with many PRODUCER.NUMBER+COUNT. */
static bool parse_values(const char *text, bool many, struct history_event *event)
{
    int64_t producer = 0;
    int64_t number = 0;

    if (!take_number(&text, 0, TEXT_ACTORS_MAX - 1, &producer) || *text++ != '.' ||
        !take_number(&text, 0, TEXT_NUMBER_MAX, &number)) {
        return false;
    }
    event->value = history_value((uint32_t)producer, (uint32_t)number);
    if (many) {
        return *text++ == '+' && parse_number(text, 1, TEXT_NUMBER_MAX - number, &event->count);
    }
    return text[0] == '\0';
}

static bool parse_whole(struct history_event *event, text_field field, const char *text)
{
    void *at = (char *)event + fields[field].at;
    int64_t number = 0;

    if (!parse_number(text, fields[field].low, fields[field].high, &number)) {
        return false;
    }
    if (fields[field].type == TYPE_I64) {
        *(int64_t *)at = number;
    } else if (fields[field].type == TYPE_I32) {
        *(int32_t *)at = (int32_t)number;
    } else {
        *(uint32_t *)at = (uint32_t)number;
    }
    return true;
}

static bool parse_field(struct line *line, text_field field, const char *text)
{
    struct history_event *event = &line->event;
    void *at = (char *)event + fields[field].at;

    switch (fields[field].type) {
    case TYPE_I32:
    case TYPE_U32:
    case TYPE_I64:
        return parse_whole(event, field, text);
    case TYPE_BOOL:
        return parse_bool(text, at);
    case TYPE_TIME:
        return parse_time(text, at);
    case TYPE_VALUE:
    case TYPE_VALUES:
        return parse_values(text, fields[field].type == TYPE_VALUES, event);
    case TYPE_ACTION:
        return parse_action(text, at);
    case TYPE_WORD:
        event->rule = history_keep(line->history, text);
        return text[0] != '\0';
    case TYPE_REST:
        event->text = history_keep(line->history, text);
        return true;
    case TYPE_PRODUCER:
        return parse_bool(text, &line->idempotent);
    }
    return false;
}

/* One key=value of the line. */
static ria_err take_word(struct line *line, char *word)
{
    const struct kind_text *kind = &kinds[line->kind];
    char *value = strchr(word, '=');
    int64_t actor = 0;
    text_field field = 0;

    if (value == NULL) {
        return bad(line, "%s is not a key=value", word);
    }
    *value++ = '\0';
    if (kind->actor != NULL && strcmp(word, kind->actor) == 0) {
        line->event.actor = UINT32_MAX;
        if (parse_number(value, 0, TEXT_ACTORS_MAX - 1, &actor)) {
            line->event.actor = (uint32_t)actor;
            return RIA_OK;
        }
        return bad(line, "%s=%s is bad", word, value);
    }
    while (field < FIELD_COUNT && strcmp(word, fields[field].name) != 0) {
        field++;
    }
    if (field == FIELD_COUNT || ((kind->needs | kind->takes) & 1U << field) == 0) {
        return bad(line, "%s has no %s", kind->name, word);
    }
    line->has |= 1U << field;
    return parse_field(line, field, value) ? RIA_OK : bad(line, "%s=%s is bad", word, value);
}

/* The next word of *text, which is moved behind it; the last one of a BROKEN line is text=... up to
 * the end. NULL: there is none. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, " \t\r\n");

    if (word[0] == '\0') {
        return NULL;
    }
    bool to_the_end = strncmp(word, "text=", 5) == 0;
    char *end = word + strcspn(word, to_the_end ? "\r\n" : " \t\r\n");
    *text = end + (*end != '\0');
    *end = '\0';
    return word;
}

static ria_err take_kind(struct line *line, const char *word)
{
    line->kind = 0;
    while (word != NULL && line->kind < KIND_COUNT && strcmp(kinds[line->kind].name, word) != 0) {
        line->kind++;
    }
    if (word == NULL || line->kind == KIND_COUNT) {
        return bad(line, "%s is no kind of event", word == NULL ? "nothing" : word);
    }
    return RIA_OK;
}

static ria_err check_complete(struct line *line)
{
    const struct kind_text *kind = &kinds[line->kind];

    if (kind->actor != NULL && line->event.actor == UINT32_MAX) {
        return bad(line, "%s needs %s", kind->name, kind->actor);
    }
    for (text_field field = 0; field < FIELD_COUNT; field++) {
        if ((kind->needs & ~line->has & 1U << field) != 0) {
            return bad(line, "%s needs %s", kind->name, fields[field].name);
        }
    }
    return RIA_OK;
}

static ria_err take_line(struct line *line, char *text)
{
    char *word = next_word(&text);
    int64_t time_us = 0;

    if (word == NULL || word[0] == '#') {
        return RIA_OK;
    }
    if (!parse_time(word, &time_us)) {
        return bad(line, "%s is no time", word);
    }
    line->event = (struct history_event){
        .actor = UINT32_MAX,
        .epoch = -1,
        .offset = HISTORY_NO_OFFSET,
        .value = HISTORY_NO_VALUE,
        .watermark = HISTORY_NO_WATERMARK,
        .time_us = time_us,
        .key = HISTORY_NO_KEY,
        .clock_ms = HISTORY_NO_CLOCK,
    };
    line->has = 0;
    RIA_TRY(take_kind(line, next_word(&text)));
    while ((word = next_word(&text)) != NULL) {
        RIA_TRY(take_word(line, word));
    }
    RIA_TRY(check_complete(line));
    if (line->kind == KIND_PRODUCER) {
        history_set_producer(line->history, line->event.actor, line->idempotent);
        return RIA_OK;
    }
    line->event.kind = (history_kind)line->kind;
    line->event.actor = line->event.actor == UINT32_MAX ? 0 : line->event.actor;
    history_add(line->history, &line->event);
    return RIA_OK;
}

ria_err history_read(struct history *history, FILE *in, char *out_reason)
{
    char reason[HISTORY_REASON_SIZE];
    struct line line = {.history = history, .reason = reason};
    char *text = NULL;
    size_t size = 0;
    uint64_t number = 0;
    ria_err err = RIA_OK;

    while (err == RIA_OK && getline(&text, &size, in) >= 0) {
        number++;
        err = take_line(&line, text);
    }
    free(text);
    if (err != RIA_OK) {
        (void)snprintf(out_reason, HISTORY_REASON_SIZE, "line %" PRIu64 ": %.200s", number, reason);
    } else if (ferror(in)) {
        (void)snprintf(out_reason, HISTORY_REASON_SIZE, "cannot be read");
        err = RIA_ERR_IO;
    }
    return err;
}

/* ---- order ---- */

static void
merge(const struct history_event *from, size_t middle, size_t count, struct history_event *to)
{
    size_t left = 0;
    size_t right = middle;

    for (size_t i = 0; i < count; i++) {
        bool takes_left =
            left < middle && (right == count || from[left].time_us <= from[right].time_us);
        to[i] = from[takes_left ? left++ : right++];
    }
}

/* Runs of 1, 2, 4, ... events. */
void history_sort(struct history *history)
{
    size_t count = history->count;
    struct history_event *from = history->events;
    struct history_event *to = calloc(history->capacity == 0 ? 1 : history->capacity, sizeof(*to));

    RIA_ASSERT(to != NULL);
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t size = ria_min_size(2 * run, count - at);
            merge(from + at, ria_min_size(run, size), size, to + at);
        }
        struct history_event *swap = from;
        from = to;
        to = swap;
    }
    history->events = from;
    free(to);
}
