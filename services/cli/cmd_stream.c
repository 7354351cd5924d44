/* riacho stream: records as they come, without end.
 *
 * A stream of the gateway (docs/http.md, "Live streams"), one event after the other. When it ends
 * before it should, because the gateway died, was stopped, or says nothing any more, the command
 * goes on behind the last record that was printed, at the next gateway of the list: no gap, no
 * repeat. As one of a group what was printed is committed every second and at the end; what was
 * printed and not committed comes again: at least once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/json.h"

#include "services/cli/cli.h"
#include "services/cli/event_lines.h"
#include "services/cli/follow.h"
#include "services/cli/http_stream.h"
#include "services/cli/record_line.h"

enum {
    PATH_MAX_BYTES = 8000,
    FILTERS_MAX = 8,
    PARTITIONS_MAX = 10000,
    HEARTBEAT_MS = 5000,
    SILENCE_MS = 20000, /* a gateway that says nothing for so long is gone */
    STEP_MS = 1000,
    SAVE_MS = 1000, /* commits, and cursors into the file, at most so often */
};

/* What ended a connection, or the command. */
typedef enum stream_end {
    STREAM_AGAIN, /* go on at the next gateway */
    STREAM_DONE,
    STREAM_INTERRUPTED,
    STREAM_FAILED, /* said */
} stream_end;

struct streaming {
    struct cli *cli;
    const char *group;       /* NULL: the stream of a topic */
    const char *member;      /* NULL: none */
    const char *resume_path; /* NULL: none */
    char path[PATH_MAX_BYTES];
    cli_output output;
    long long left;               /* records still to print; -1 = no limit */
    char cursor[HTTP_CURSOR_MAX]; /* behind the last record that was printed */
    char saved[HTTP_CURSOR_MAX];  /* what was committed, or is in the file */
    int64_t saved_ms;
    int64_t heard_ms;
    bool is_kept; /* everything that was printed was committed, or is in the file */
    bool has_ended;
    stream_end end;
    struct follow follow;
    struct event_lines events;
    struct ria_json json;
    struct http_reply reply;
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end(struct streaming *s, stream_end how)
{
    if (!s->has_ended) {
        s->has_ended = true;
        s->end = how;
    }
}

/* What was not flushed may not have been seen: it is not committed. */
static void fail_output(struct streaming *s)
{
    (void)cli_fail("a record cannot be written to standard output");
    memcpy(s->cursor, s->saved, sizeof(s->cursor));
    end(s, STREAM_FAILED);
}

/* ---- events ---- */

/* A note for people; the stream goes on. */
static void note(const char *what, struct ria_slice data)
{
    (void)fprintf(stderr, "riacho: %s: " RIA_SLICE_FMT "\n", what, RIA_SLICE_ARG(data));
}

/* The stream was ended by the gateway, which says why. */
static void take_end(struct streaming *s, struct ria_slice data)
{
    json_t *why = json_loadb((const char *)data.data, data.size, 0, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(why, "error"), "message"));

    if (message != NULL) {
        (void)cli_fail("%s", message);
        end(s, STREAM_FAILED);
    } else {
        bool is_full = strcmp(cli_text(why, "reason"), "max_records") == 0;
        end(s, is_full ? STREAM_DONE : STREAM_AGAIN);
    }
    json_decref(why);
}

static void take_record(struct streaming *s, struct ria_slice data)
{
    if (!record_line_print(&s->json, s->output, data)) {
        fail_output(s);
        return;
    }
    s->left -= s->left > 0;
    if (s->left == 0) {
        end(s, STREAM_DONE);
    }
}

static void take_event(void *arg, const struct event *event)
{
    struct streaming *s = arg;

    if (s->has_ended) {
        return;
    }
    if (ria_slice_equal(event->name, RIA_SLICE_LITERAL("end"))) {
        take_end(s, event->data);
    } else if (ria_slice_equal(event->name, RIA_SLICE_LITERAL("gap"))) {
        note("records were left out", event->data);
    } else if (ria_slice_equal(event->name, RIA_SLICE_LITERAL("lost"))) {
        note("what was read of a partition counts no more", event->data);
    } else if (!ria_slice_is_null(event->data) && ria_slice_is_null(event->name)) {
        take_record(s, event->data);
    }
    bool is_printed = !s->has_ended || s->end != STREAM_FAILED;
    if (is_printed && event->id.size > 0 && event->id.size < sizeof(s->cursor)) {
        memcpy(s->cursor, event->id.data, event->id.size);
        s->cursor[event->id.size] = '\0';
    }
}

static bool take_bytes(void *arg, struct ria_slice bytes)
{
    struct streaming *s = arg;

    s->heard_ms = now_ms();
    follow_answered(&s->follow);
    if (event_lines_feed(&s->events, bytes, take_event, s) != RIA_OK) {
        (void)cli_fail("an event of the gateway is too large");
        end(s, STREAM_FAILED);
    }
    return !s->has_ended;
}

/* ---- where it stands ---- */

/* The old file stays whole until the new one is. */
static bool write_file(const char *path, const char *cursor)
{
    char other[PATH_MAX_BYTES];
    int length = snprintf(other, sizeof(other), "%s.new", path);
    FILE *file = length < 0 || (size_t)length >= sizeof(other) ? NULL : fopen(other, "w");
    bool fine = file != NULL && fprintf(file, "%s\n", cursor) > 0;

    if (file != NULL && fclose(file) != 0) {
        fine = false;
    }
    return fine && rename(other, path) == 0;
}

/* The status of the call, 0: no answer. */
static long commit(struct streaming *s, bool keep)
{
    char path[PATH_MAX_BYTES];
    char escaped[1024];
    struct http_reply reply;
    long status = 0;

    json_t *body = json_pack("{s:s,s:b}", "cursor", s->cursor, "keep", keep ? 1 : 0);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    http_escape(escaped, sizeof(escaped), s->group);
    (void)snprintf(path, sizeof(path), "/v1/groups/%s/commit", escaped);
    http_reply_init(&reply);
    if (text != NULL &&
        http_client_call(
            s->cli->client, "POST", path, "application/json", NULL, text, strlen(text), &reply
        ) == RIA_OK) {
        status = reply.status;
    }
    http_reply_fini(&reply);
    free(text);
    json_decref(body);
    return status;
}

/* Commits, and writes the file, if there is something new. False: it did not come about; said at
 * the end only. */
static bool save(struct streaming *s, bool is_last)
{
    bool is_new = strcmp(s->cursor, s->saved) != 0;
    bool fine = true;

    /* The last one gives the leases back, too. */
    if (s->group != NULL && (is_new || is_last) && s->cursor[0] != '\0') {
        long status = commit(s, !is_last);
        /* 409: others have the records, which the stream tells. */
        fine = status == 200 || status == 409;
    }
    if (s->resume_path != NULL && is_new && !write_file(s->resume_path, s->cursor)) {
        (void)cli_fail("%s cannot be written: %s", s->resume_path, strerror(errno));
        end(s, STREAM_FAILED);
        fine = false;
    }
    if (fine) {
        memcpy(s->saved, s->cursor, sizeof(s->saved));
    }
    return fine;
}

/* After something was taken: it is seen, and remembered. */
static void settle(struct streaming *s)
{
    if (fflush(stdout) != 0) {
        fail_output(s);
        return;
    }
    int64_t now = now_ms();
    bool is_remembered = s->group != NULL || s->resume_path != NULL;
    if (is_remembered && now - s->saved_ms >= SAVE_MS && strcmp(s->cursor, s->saved) != 0) {
        s->saved_ms = now;
        (void)save(s, false);
    }
}

/* ---- connections ---- */

/* For now, or for good. */
static stream_end refused(struct streaming *s)
{
    if (follow_is_for_now(&s->reply)) {
        return STREAM_AGAIN;
    }
    (void)cli_fail_reply(&s->reply);
    return STREAM_FAILED;
}

/* One connection to one gateway, until it ends. */
static stream_end connection(struct streaming *s)
{
    struct http_stream *stream = NULL;
    char path[PATH_MAX_BYTES];
    http_stream_state state = HTTP_STREAM_GOES_ON;

    event_lines_reset(&s->events);
    s->has_ended = false;
    s->heard_ms = now_ms();
    int used = snprintf(path, sizeof(path), "%s", s->path);
    if (s->left > 0) {
        (void)snprintf(path + used, sizeof(path) - (size_t)used, "&max_records=%lld", s->left);
    }
    ria_err err =
        http_stream_open(s->cli->client, path, s->cursor, take_bytes, s, &s->reply, &stream);
    if (err != RIA_OK) {
        (void)cli_fail("%s", ria_err_text(err));
        return STREAM_FAILED;
    }
    while (state == HTTP_STREAM_GOES_ON && !s->has_ended) {
        state = http_stream_step(stream, s->follow.signal_fd, STEP_MS);
        settle(s);
        if (follow_is_stopped(&s->follow)) {
            end(s, STREAM_INTERRUPTED);
        } else if (now_ms() - s->heard_ms > SILENCE_MS) {
            (void)snprintf(s->reply.error, sizeof(s->reply.error), "it says nothing");
            end(s, STREAM_AGAIN);
        }
    }
    if (!s->has_ended) {
        bool is_refused = state == HTTP_STREAM_ENDED && s->reply.status != 200;
        end(s, is_refused ? refused(s) : STREAM_AGAIN);
    }
    /* Before the connection ends: the gateway gives the leases back then, and they count no more.
     */
    if (s->end != STREAM_AGAIN) {
        follow_last_calls(&s->follow);
    }
    s->is_kept = save(s, s->end != STREAM_AGAIN);
    http_stream_close(stream);
    return s->end;
}

/* Until it is done. A list of gateways of which none has ever answered is a mistake, not a failure
 * that is waited for. */
static stream_end run(struct streaming *s)
{
    size_t failures = 0;

    for (;;) {
        stream_end how = connection(s);
        if (how != STREAM_AGAIN) {
            return how;
        }
        bool is_refused = s->reply.status != 0;
        if (!s->follow.was_answered && !is_refused &&
            ++failures == http_client_gateways(s->cli->client)) {
            (void)cli_fail("%s: %s", http_client_gateway(s->cli->client), s->reply.error);
            return STREAM_FAILED;
        }
        if (!follow_again(&s->follow, &s->reply)) {
            return STREAM_INTERRUPTED;
        }
    }
}

/* What is left to be done, and to be said. */
static int finish(struct streaming *s, stream_end how)
{
    bool is_remembered = s->group != NULL || s->resume_path != NULL;

    /* While there was no connection a gateway may have come back. */
    if (!s->is_kept && s->group != NULL && !save(s, true)) {
        return cli_fail("the last records could not be committed: they will come again");
    }
    if (how == STREAM_INTERRUPTED && !is_remembered && s->cursor[0] != '\0') {
        (void)fprintf(stderr, "riacho: go on behind the last record with --cursor %s\n", s->cursor);
    }
    return how == STREAM_FAILED ? CLI_FAILED : CLI_OK;
}

/* ---- the command ---- */

static bool append(struct streaming *s, const char *name, const char *value)
{
    size_t used = strlen(s->path);
    size_t room = sizeof(s->path) - 64 - used; /* what each connection adds */
    int length = snprintf(s->path + used, room, "%s", name);
    size_t at = used + (size_t)length;

    if (length < 0 || (size_t)length >= room || strlen(value) * 3 + 4 > room - (size_t)length) {
        (void)cli_usage("the arguments are too long together");
        return false;
    }
    http_escape(s->path + at, sizeof(s->path) - at, value);
    return true;
}

/* Takes every --filter out of argv; returns how many words are left, -1 after a message. */
static int take_filters(int argc, char **argv, const char **filters)
{
    int count = 0;
    int found = 0;

    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], "--filter=", 9) == 0) {
            value = argv[i] + 9;
        } else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc) {
            value = argv[++i];
        }
        if (value == NULL) {
            argv[count++] = argv[i];
        } else if (found == FILTERS_MAX) {
            (void)cli_usage("--filter may be given %d times", FILTERS_MAX);
            return -1;
        } else {
            filters[found++] = value;
        }
    }
    return count;
}

static bool is_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* --from and --partition. A number alone is an offset here as in the other commands; the gateway
 * would take it for a time. */
static bool place(struct streaming *s, const char *from, const char *partition)
{
    char pair[64];
    long long number = -1;

    if (partition != NULL && (!cli_number("--partition", partition, 0, PARTITIONS_MAX, &number) ||
                              !append(s, "&partitions=", partition))) {
        return false;
    }
    if (s->cursor[0] != '\0') {
        return true;
    }
    if (from == NULL || strcmp(from, "end") == 0) {
        return append(s, "&from=", "latest");
    }
    if (strcmp(from, "beginning") == 0) {
        return append(s, "&from=", "earliest");
    }
    if (is_digits(from)) {
        if (partition == NULL || strlen(from) > 19) {
            (void)cli_usage("an offset wants --partition N, or --from PARTITION:OFFSET,...");
            return false;
        }
        (void)snprintf(pair, sizeof(pair), "%lld:%s", number, from);
        return append(s, "&from=", pair);
    }
    return append(s, "&from=", from);
}

/* A group that is new begins somewhere; the others go on where they are. */
static bool place_group(struct streaming *s, const char *from, const char *partition)
{
    if (partition != NULL) {
        (void)cli_usage("--partition does not go with --group");
        return false;
    }
    if (from != NULL && strcmp(from, "beginning") != 0 && strcmp(from, "end") != 0) {
        (void)cli_usage("--from wants beginning or end with --group, not \"%s\"", from);
        return false;
    }
    bool is_end = from != NULL && strcmp(from, "end") == 0;
    return append(s, "&ack=", "cursor") && append(s, "&from=", is_end ? "latest" : "earliest");
}

static bool append_base(struct streaming *s, const char *topics)
{
    char heartbeat[16];

    (void)snprintf(heartbeat, sizeof(heartbeat), "%d", HEARTBEAT_MS);
    if (s->group != NULL) {
        return append(s, "/v1/groups/", s->group) && append(s, "/stream?topics=", topics) &&
               append(s, "&heartbeat_ms=", heartbeat);
    }
    return append(s, "/v1/topics/", topics) && append(s, "/stream?heartbeat_ms=", heartbeat);
}

/* --cursor, or what is in the file of --resume (which need not be there yet). */
static bool take_cursor(struct streaming *s, const char *cursor)
{
    if (cursor != NULL) {
        (void)snprintf(s->cursor, sizeof(s->cursor), "%s", cursor);
    }
    if (s->resume_path == NULL) {
        return true;
    }
    FILE *file = fopen(s->resume_path, "r");
    if (file == NULL) {
        if (errno != ENOENT) {
            (void)cli_fail("%s cannot be read: %s", s->resume_path, strerror(errno));
        }
        return errno == ENOENT;
    }
    if (fgets(s->cursor, (int)sizeof(s->cursor), file) != NULL) {
        s->cursor[strcspn(s->cursor, "\r\n")] = '\0';
    }
    (void)fclose(file);
    memcpy(s->saved, s->cursor, sizeof(s->saved));
    return true;
}

static int stream(struct streaming *s)
{
    if (!follow_open(&s->follow, s->cli)) {
        return CLI_FAILED;
    }
    s->saved_ms = now_ms();
    event_lines_init(&s->events);
    ria_json_init(&s->json);
    http_reply_init(&s->reply);
    stream_end how = run(s);
    follow_last_calls(&s->follow);
    int status = finish(s, how);
    if (s->member != NULL) {
        follow_leave(&s->follow, s->group, s->member);
    }
    http_reply_fini(&s->reply);
    ria_json_fini(&s->json);
    event_lines_fini(&s->events);
    follow_close(&s->follow);
    return status;
}

/* What goes together. */
static bool check(const struct cli_option *options, const struct streaming *s)
{
    bool has_cursor = options[3].value != NULL;

    if (s->group == NULL && s->member != NULL) {
        (void)cli_usage("--member wants --group, too");
    } else if (s->group != NULL && s->resume_path != NULL) {
        (void)cli_usage("--resume does not go with --group: the group remembers where it is");
    } else if (has_cursor && (options[0].value != NULL || s->resume_path != NULL)) {
        (void)cli_usage("--cursor goes with neither --from nor --resume");
    } else if (has_cursor && strlen(options[3].value) >= sizeof(s->cursor)) {
        (void)cli_usage("--cursor is longer than any that a gateway makes");
    } else {
        return true;
    }
    return false;
}

static bool take_arguments(
    struct streaming *s, const struct cli_option *options, const char *topics, const char **filters
)
{
    const char *from = options[0].value;
    const char *partition = options[1].value;

    s->group = options[5].value;
    s->resume_path = options[4].value;
    s->member = options[6].value;
    s->left = -1;
    if (!check(options, s) ||
        (options[2].value != NULL && !cli_number("--max", options[2].value, 1, INT64_MAX, &s->left)
        ) ||
        cli_output_of(options[7].value, &s->output) != CLI_OK ||
        !take_cursor(s, options[3].value) || !append_base(s, topics)) {
        return false;
    }
    for (size_t i = 0; i < FILTERS_MAX && filters[i] != NULL; i++) {
        if (!append(s, "&filter=", filters[i])) {
            return false;
        }
    }
    if ((s->member != NULL && !append(s, "&member=", s->member)) ||
        (options[8].value != NULL && !append(s, "&on_out_of_range=", options[8].value))) {
        return false;
    }
    return s->group != NULL ? place_group(s, from, partition) : place(s, from, partition);
}

int cli_stream(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "from"},
        {.name = "partition"},
        {.name = "max"},
        {.name = "cursor"},
        {.name = "resume"},
        {.name = "group"},
        {.name = "member"},
        {.name = "output"},
        {.name = "on-out-of-range"},
    };
    const char *filters[FILTERS_MAX] = {NULL};
    int words = take_filters(argc, argv, filters);
    int count = words < 0 ? -1 : cli_parse(words, argv, options, RIA_COUNT(options));

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("stream wants one TOPIC, or with --group topics with commas between");
    }
    struct streaming *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return cli_fail("out of memory");
    }
    s->cli = cli;
    int status = take_arguments(s, options, argv[0], filters) ? stream(s) : CLI_USAGE;
    free(s);
    return status;
}
