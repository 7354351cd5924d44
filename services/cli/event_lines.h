/* event_lines: server-sent events out of the bytes of a stream, as they come.
 *
 * Format: the HTML standard's text/event-stream, of which a gateway uses the fields id, event and
 * data; others (retry) and comments are passed over. Several data lines of an event are joined with
 * newlines. Thread: one; pure.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

enum {
    EVENT_DATA_MAX = 64 * 1024 * 1024,
    EVENT_NAME_MAX = 64,
    EVENT_ID_MAX = 8192,
};

/* Borrows. Null: it has none. */
struct event {
    struct ria_slice id;
    struct ria_slice name;
    struct ria_slice data;
};

typedef void (*event_fn)(void *arg, const struct event *event);

struct event_lines {
    struct ria_buf line; /* the part of it that has come */
    struct ria_buf id;
    struct ria_buf name;
    struct ria_buf data;
    bool has_id;
    bool has_name;
    bool has_data;
};

void event_lines_init(struct event_lines *lines);
void event_lines_fini(struct event_lines *lines);

/* A new stream: what was begun is forgotten. */
void event_lines_reset(struct event_lines *lines);

/* Runs fn for each event that is complete. Errors: RIA_ERR_LIMIT (a line or an
 * event past its limit), RIA_ERR_NOMEM. */
ria_err event_lines_feed(struct event_lines *lines, struct ria_slice bytes, event_fn fn, void *arg)
    RIA_MUST_USE;
