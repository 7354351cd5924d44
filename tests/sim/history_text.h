/* history_text: a history as lines of text, for people and for files. README.md has the format.
 *
 *     1.234567 SEND      producer=3 partition=0 values=3.17+5
 *
 * Each line is one event: seconds, kind, who, where, and what the kind needs. PRODUCER lines
 * declare the producers; they come before what their producers do.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"
#include "common/err.h"

#include "tests/sim/history.h"

enum { HISTORY_LINE_SIZE = 768, HISTORY_REASON_SIZE = 256 };

/* One line, without the newline. */
void history_format(const struct history_event *event, char *out, size_t out_size);

/* The lines that touch this place of the partition or this value (either may be none), with at most
 * line_max lines: the first and the last ones. */
void history_print(
    const struct history *history,
    FILE *out,
    uint32_t partition,
    int64_t offset,
    uint64_t value,
    size_t line_max
);

/* Every producer and every event: what history_read() reads. */
void history_write(const struct history *history, FILE *out);

/* Adds what `in` holds. Errors: RIA_ERR_MALFORMED, RIA_ERR_IO; out_reason (HISTORY_REASON_SIZE
 * bytes) then says where and why. A history that was read is one that the checker can take: its
 * producers are declared, each writes one partition, what is answered was sent before. */
ria_err history_read(struct history *history, FILE *in, char *out_reason) RIA_MUST_USE;

/* By time; what is of the same moment stays as it is. */
void history_sort(struct history *history);
