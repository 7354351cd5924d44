/* lines: records as gateways write them for groups and queues, a JSON object a line:
 *
 *     {"topic":"topic-0","partition":1,...,"offset":7,...,"key":"k3","value":{...}}
 *
 * A judge needs a few members of each, which stand where the gateway puts them.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

struct world;

struct line_record {
    uint32_t partition; /* of all topics */
    int64_t offset;
    uint64_t value;
    int64_t key; /* HISTORY_NO_KEY = none */
};

/* Take the next line, without its newline, off *lines. False: there is no whole line. */
bool lines_next(struct ria_slice *lines, struct ria_slice *out_line);

/* False: the line is no record of ours. */
bool lines_parse(const struct world *world, struct ria_slice line, struct line_record *out);

/* What is behind the first `mark`; null: it is not there. */
struct ria_slice lines_behind(struct ria_slice line, const char *mark);

/* The number behind the first `mark` of the line; false: it is not there. */
bool lines_number(struct ria_slice line, const char *mark, int64_t *out_number);

/* What stands between `mark`, the first one, and the quote behind it; null: it is not there. */
struct ria_slice lines_text(struct ria_slice line, const char *mark);
