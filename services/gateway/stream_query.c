#include "services/gateway/stream_query.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "services/gateway/cursor.h"
#include "services/gateway/gateway.h"

static const char *const types[] = {TYPE_EVENTS, TYPE_NDJSON, NULL};

static bool RIA_PRINTF(3, 4)
    refuse(const struct stream_ask *ask, const char *field, const char *fmt, ...)
{
    char text[FAILURE_MESSAGE_MAX];
    struct failure failure;
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    failure_set(&failure, 400, "invalid_query", field, "%s %s", field, text);
    request_fail(ask->request, &failure);
    return false;
}

static bool fail_memory(const struct stream_ask *ask)
{
    request_fail_err(ask->request, RIA_ERR_NOMEM, "");
    return false;
}

static bool get(const struct stream_ask *ask, const char *name, struct ria_slice *out)
{
    return request_query(ask->request, name, out) == RIA_OK ||
           refuse(ask, name, "cannot be decoded");
}

/* Cuts a piece off at the separator. */
static struct ria_slice cut(struct ria_slice *rest, char separator)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    struct ria_slice piece = ria_slice_sub(*rest, 0, size);

    *rest = ria_slice_sub(*rest, size + 1, rest->size);
    return piece;
}

/* --- partitions --------------------------------------------------------------------------------*/

static int64_t find(const struct stream_ask *ask, int32_t partition)
{
    for (uint32_t i = 0; i < ask->count; i++) {
        if (ask->items[i].partition->number == partition) {
            return i;
        }
    }
    return -1;
}

/* Into its place; false: it is there already. */
static bool insert(struct stream_ask *ask, struct position item)
{
    uint32_t at = ask->count;

    if (find(ask, item.partition->number) >= 0) {
        return false;
    }
    while (at > 0 && ask->items[at - 1].partition->number > item.partition->number) {
        ask->items[at] = ask->items[at - 1];
        at--;
    }
    ask->items[at] = item;
    ask->count++;
    return true;
}

static bool
take_partition(const struct stream_ask *ask, struct ria_slice text, struct cluster_partition **out)
{
    int64_t number = -1;

    if (!request_parse_i64(text, &number) || number < 0 || number >= ask->topic->partition_count) {
        return false;
    }
    *out = ask->topic->partitions[number];
    return true;
}

static bool too_many(const struct stream_ask *ask)
{
    return refuse(
        ask, "partitions", "has too many: one stream takes %d at most", CURSOR_FITS_TOPIC
    );
}

/* partitions=0,2; all without it, unless from= names them. */
static bool read_partitions(struct stream_ask *ask, bool *out_is_given)
{
    struct ria_slice text;
    struct cluster_partition *partition = NULL;

    if (!get(ask, "partitions", &text)) {
        return false;
    }
    ask->items =
        ria_arena_alloc_array(&ask->request->arena, CURSOR_FITS_TOPIC + 1, sizeof(*ask->items));
    if (ask->items == NULL) {
        return fail_memory(ask);
    }
    *out_is_given = !ria_slice_is_null(text);
    while (*out_is_given && (text.size > 0 || ask->count == 0)) {
        if (ask->count == CURSOR_FITS_TOPIC) {
            return too_many(ask);
        }
        if (!take_partition(ask, cut(&text, ','), &partition) ||
            !insert(ask, (struct position){.partition = partition})) {
            return refuse(
                ask,
                "partitions",
                "must be different numbers from 0 to %d, with commas",
                (int)ask->topic->partition_count - 1
            );
        }
    }
    return true;
}

static bool add_all(struct stream_ask *ask)
{
    if (ask->topic->partition_count > CURSOR_FITS_TOPIC) {
        return too_many(ask);
    }
    for (int32_t i = 0; i < ask->topic->partition_count; i++) {
        ask->items[i] = (struct position){.partition = ask->topic->partitions[i]};
    }
    ask->count = (uint32_t)ask->topic->partition_count;
    return true;
}

/* --- where to begin ----------------------------------------------------------------------------*/

/* Decimal digits, exactly so many. */
static bool digits(struct ria_slice *rest, size_t count, int *out)
{
    int64_t value = 0;
    struct ria_slice text = ria_slice_sub(*rest, 0, count);

    if (text.size < count || text.data[0] == '-' || !request_parse_i64(text, &value)) {
        return false;
    }
    *rest = ria_slice_sub(*rest, count, rest->size);
    *out = (int)value;
    return true;
}

static bool letter(struct ria_slice *rest, const char *any)
{
    if (rest->size == 0 || rest->data[0] == '\0' || strchr(any, rest->data[0]) == NULL) {
        return false;
    }
    *rest = ria_slice_sub(*rest, 1, rest->size);
    return true;
}

static void fraction(struct ria_slice *rest, int64_t *ms)
{
    int64_t unit = 100;

    while (rest->size > 0 && rest->data[0] >= '0' && rest->data[0] <= '9') {
        *ms += (rest->data[0] - '0') * unit;
        unit /= 10;
        *rest = ria_slice_sub(*rest, 1, rest->size);
    }
}

/* "Z", "+01:00" */
static bool zone(struct ria_slice *rest, int64_t *ms)
{
    int hours = 0;
    int minutes = 0;

    if (letter(rest, "Zz")) {
        return rest->size == 0;
    }
    bool is_west = rest->size > 0 && rest->data[0] == '-';
    if (!letter(rest, "+-") || !digits(rest, 2, &hours) || !letter(rest, ":") ||
        !digits(rest, 2, &minutes) || hours > 23 || minutes > 59 || rest->size > 0) {
        return false;
    }
    *ms += (is_west ? 1 : -1) * (int64_t)(hours * 60 + minutes) * 60000;
    return true;
}

bool stream_query_time(struct ria_slice text, int64_t *out_ms)
{
    struct tm tm = {0};
    int64_t ms = 0;

    if (!digits(&text, 4, &tm.tm_year) || !letter(&text, "-") || !digits(&text, 2, &tm.tm_mon) ||
        !letter(&text, "-") || !digits(&text, 2, &tm.tm_mday) || !letter(&text, "Tt ") ||
        !digits(&text, 2, &tm.tm_hour) || !letter(&text, ":") || !digits(&text, 2, &tm.tm_min) ||
        !letter(&text, ":") || !digits(&text, 2, &tm.tm_sec)) {
        return false;
    }
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_year < 1970) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (letter(&text, ".")) {
        fraction(&text, &ms);
    }
    if (!zone(&text, &ms)) {
        return false;
    }
    ms += (int64_t)timegm(&tm) * 1000;
    if (ms < 0) {
        return false;
    }
    *out_ms = ms;
    return true;
}

static bool refuse_from(const struct stream_ask *ask)
{
    return refuse(
        ask,
        "from",
        "must be earliest, latest, a time (RFC 3339, or ms since 1970), or an offset for each "
        "partition as PARTITION:OFFSET,..."
    );
}

/* PARTITION:OFFSET,... names the partitions, or all that partitions= names. */
static bool read_offsets(struct stream_ask *ask, struct ria_slice text, bool is_given)
{
    uint32_t named = 0;

    while (text.size > 0) {
        struct ria_slice pair = cut(&text, ',');
        struct ria_slice number = cut(&pair, ':');
        struct position item = {.kind = POSITION_OFFSET};
        if (!take_partition(ask, number, &item.partition) ||
            !request_parse_i64(pair, &item.value) || item.value < 0) {
            return refuse_from(ask);
        }
        int64_t at = find(ask, item.partition->number);
        if (at >= 0 && ask->items[at].kind != POSITION_OFFSET && is_given) {
            ask->items[at] = item;
        } else if (is_given || at >= 0) {
            return refuse(ask, "from", "names a partition twice, or one that partitions= does not");
        } else if (ask->count == CURSOR_FITS_TOPIC) {
            return too_many(ask);
        } else {
            (void)insert(ask, item);
        }
        named++;
    }
    return named == ask->count || refuse(ask, "from", "must name each of partitions=");
}

static bool read_from(struct stream_ask *ask, struct ria_slice text, bool is_given)
{
    position_kind kind = POSITION_LATEST;
    int64_t value = 0;

    if (ria_slice_equal(text, RIA_SLICE_LITERAL("earliest"))) {
        kind = POSITION_EARLIEST;
    } else if (stream_query_time(text, &value) || (request_parse_i64(text, &value) && value >= 0)) {
        kind = POSITION_TIME;
    } else if (text.size > 0 && memchr(text.data, ':', text.size) != NULL) {
        return read_offsets(ask, text, is_given);
    } else if (!ria_slice_is_null(text) && !ria_slice_equal(text, RIA_SLICE_LITERAL("latest"))) {
        return refuse_from(ask);
    }
    if (!is_given && !add_all(ask)) {
        return false;
    }
    for (uint32_t i = 0; i < ask->count; i++) {
        ask->items[i].kind = kind;
        ask->items[i].value = value;
    }
    return true;
}

static bool refuse_topic(const struct stream_ask *ask, const struct ria_uuid *id)
{
    const struct cluster_topic *other = cluster_topic_by_id(ask->gateway->cluster, id);
    struct failure failure;

    if (other != NULL && strcmp(other->name, ask->topic->name) != 0) {
        failure_set(
            &failure, 400, "other_cursor", ask->from, "the cursor is of the topic %s", other->name
        );
    } else {
        failure_set(
            &failure,
            410,
            "stale_cursor",
            ask->from,
            "the topic %s that the cursor is of was deleted; the one of this name was made later "
            "and has other records: begin anew",
            ask->topic->name
        );
    }
    request_fail(ask->request, &failure);
    return false;
}

/* A partition that it does not know was added since: all of it is new. */
static bool read_cursor(struct stream_ask *ask, struct ria_slice text, bool is_given)
{
    struct ria_uuid cluster = cluster_id(ask->gateway->cluster);
    struct cursor cursor;
    struct failure failure;

    cursor_verdict verdict =
        cursor_decode(text, CURSOR_TOPIC, &cluster, &ask->request->arena, &cursor);
    if (verdict != CURSOR_FINE) {
        failure_of_cursor(&failure, verdict, ask->from);
        request_fail(ask->request, &failure);
        return false;
    }
    if (!ria_uuid_equal(cursor.topics[0].id, ask->topic->id)) {
        return refuse_topic(ask, &cursor.topics[0].id);
    }
    if (!is_given && !add_all(ask)) {
        return false;
    }
    for (uint32_t i = 0; i < ask->count; i++) {
        struct position *item = &ask->items[i];
        const struct cursor_entry *entry =
            cursor_entry_of(&cursor.topics[0], item->partition->number);
        item->kind = entry == NULL ? POSITION_EARLIEST : POSITION_OFFSET;
        item->value = entry == NULL ? 0 : entry->offset;
    }
    return true;
}

/* A client that comes back repeats its query and adds the header. */
static bool read_start(struct stream_ask *ask)
{
    struct ria_slice last = request_header(ask->request, "Last-Event-ID");
    struct ria_slice after;
    struct ria_slice from;
    bool is_given = false;

    if (!read_partitions(ask, &is_given) || !get(ask, "after", &after) ||
        !get(ask, "from", &from)) {
        return false;
    }
    if (!ria_slice_is_null(after) && !ria_slice_is_null(from)) {
        return refuse(ask, "from", "cannot come together with after");
    }
    ask->from = last.size > 0 ? "Last-Event-ID" : ria_slice_is_null(after) ? "from" : "after";
    if (last.size > 0 || !ria_slice_is_null(after)) {
        return read_cursor(ask, last.size > 0 ? last : after, is_given);
    }
    return read_from(ask, from, is_given);
}

/* --- the rest ----------------------------------------------------------------------------------*/

static bool read_form(struct stream_ask *ask)
{
    const char *type = media_type_choose(request_header(ask->request, "Accept"), types);
    struct failure failure;

    if (type == NULL) {
        failure_set(
            &failure,
            406,
            "not_acceptable",
            "Accept",
            "a stream comes as " TYPE_EVENTS " or " TYPE_NDJSON
        );
        request_fail(ask->request, &failure);
        return false;
    }
    ask->form = strcmp(type, TYPE_EVENTS) == 0 ? STREAM_EVENTS : STREAM_LINES;
    return true;
}

static bool read_policy(struct stream_ask *ask)
{
    struct ria_slice text;

    if (!get(ask, "on_out_of_range", &text)) {
        return false;
    }
    if (ria_slice_is_null(text) || ria_slice_equal(text, RIA_SLICE_LITERAL("error"))) {
        ask->policy = STREAM_FAIL;
    } else if (ria_slice_equal(text, RIA_SLICE_LITERAL("earliest"))) {
        ask->policy = STREAM_EARLIEST;
    } else if (ria_slice_equal(text, RIA_SLICE_LITERAL("latest"))) {
        ask->policy = STREAM_LATEST;
    } else {
        return refuse(ask, "on_out_of_range", "must be error, earliest or latest");
    }
    return true;
}

static bool read_filters(struct stream_ask *ask)
{
    struct filter_set *set = NULL;
    char reason[FILTER_REASON_MAX] = "";
    struct ria_slice text;

    for (;;) {
        if (request_query_nth(ask->request, "filter", ask->filter_count, &text) != RIA_OK) {
            return refuse(ask, "filter", "cannot be decoded");
        }
        if (ria_slice_is_null(text)) {
            break;
        }
        if (ask->filter_count == FILTERS_MAX) {
            return refuse(ask, "filter", "may come %d times at most", FILTERS_MAX);
        }
        ask->filters[ask->filter_count++] = text;
        /* Each alone, so that the one that is wrong is named. */
        ria_err err = filter_set_new(&text, 1, &set, reason);
        if (err == RIA_ERR_NOMEM) {
            return fail_memory(ask);
        }
        if (err != RIA_OK) {
            return refuse(
                ask,
                "filter",
                "\"" RIA_SLICE_FMT "\" is wrong %s",
                RIA_SLICE_ARG(ria_slice_sub(text, 0, 80)),
                reason
            );
        }
        filter_set_free(set);
    }
    return true;
}

bool stream_query_limits(struct stream_ask *ask)
{
    struct request *request = ask->request;

    return read_form(ask) && read_filters(ask) &&
           gateway_query_i64(
               request,
               "heartbeat_ms",
               STREAM_HEARTBEAT_MS_MIN,
               STREAM_HEARTBEAT_MS_MAX,
               STREAM_HEARTBEAT_MS,
               &ask->heartbeat_ms
           ) &&
           gateway_query_i64(request, "max_records", 1, INT64_MAX, 0, &ask->records_max) &&
           gateway_query_i64(request, "max_ms", 1, STREAM_TIME_MS_MAX, 0, &ask->time_max_ms);
}

bool stream_query_read(struct stream_ask *ask)
{
    static const char *const known[] = {
        "from",
        "after",
        "partitions",
        "filter",
        "heartbeat_ms",
        "max_records",
        "max_ms",
        "on_out_of_range",
        NULL,
    };
    return gateway_query_known(ask->request, known) && stream_query_limits(ask) &&
           read_policy(ask) && read_start(ask);
}

bool stream_query_admit(struct gateway *gateway, struct request *request)
{
    struct failure failure;

    if (gateway->stopping) {
        request_fail_err(request, RIA_ERR_SHUTDOWN, "the gateway is shutting down");
        return false;
    }
    if (streams_reserve(&gateway->streams)) {
        return true;
    }
    failure_set(
        &failure,
        429,
        "too_many_streams",
        NULL,
        "the gateway serves %u live streams at a time (--max-streams) and has them",
        (unsigned)gateway->options.streams_max
    );
    failure.retry_after_s = 5;
    request_fail(request, &failure);
    return false;
}
