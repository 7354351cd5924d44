/* follow: commands that go on until they are told to stop.
 *
 * SIGINT, SIGTERM, and a reader of standard output who has gone (as behind "| head") end them in
 * order, so that they can say to the cluster that they go. A gateway that dies, or can do nothing
 * for now, does not: they go on at the next one of the list, after a pause that grows. Thread: one.
 */
#pragma once

#include "common/base.h"

#include "services/cli/cli.h"

struct follow {
    struct cli *cli;
    int signal_fd;
    int pause_ms;
    bool was_answered; /* some gateway has answered */
    bool is_told;      /* that it broke */
    bool is_stopped;
};

/* From here on the signals are this module's, and a broken standard output is an error of writing.
 * Calls of the cli's client end when they come. False: said. */
bool follow_open(struct follow *follow, struct cli *cli);

/* Before the last calls: they take no longer than a few seconds each, and another signal ends the
 * program. */
void follow_last_calls(struct follow *follow);
void follow_close(struct follow *follow);

/* One of the last calls: a named member leaves its group, so that others have its partitions at
 * once. If that fails its session ends it. */
void follow_leave(struct follow *follow, const char *group, const char *member);

/* Has somebody told it to stop? It stays so. */
bool follow_is_stopped(struct follow *follow);

/* No answer, 429 or 503: another gateway, or another time, may do better. */
bool follow_is_for_now(const struct http_reply *reply);

/* A gateway has answered as it should: pauses are short again. */
void follow_answered(struct follow *follow);

/* After something that follow_is_for_now(): says so (once until one answers), goes on to the next
 * gateway and pauses. False: stopped. */
bool follow_again(struct follow *follow, const struct http_reply *reply);
