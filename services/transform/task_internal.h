/* task_internal: what the task*.c files share.
 *
 *   task.c         life, states, the turn that does the work
 *   task_run.c     from a slice of records to the outputs
 *   task_commit.c  telling the coordinator
 *   task_report.c  what source and outputs report, and what is logged
 */
#pragma once

#include "services/transform/task.h"

extern const struct source_host task_source_host;
extern const struct output_host task_output_host;

/* Work is to be done, on the next turn of the loop. */
void task_wake(struct task *task);

/* Stop what is under way and begin again after a back-off; text goes to the user. */
void task_pause(struct task *task, ria_err err, const char *text);

/* Somebody else has the lease. */
void task_lose(struct task *task, const char *text);

/* No progress; logged once. */
void task_troubled(struct task *task, const char *what, ria_err err, const char *text);

/* Remember a text for the user; it goes with the next commit. */
void task_note(struct task *task, const char *text);

/* May more be computed before something is acknowledged? */
bool task_has_room(const struct task *task);

/* Process up to one slice. False: there is nothing to process, or it cannot go on now. */
bool task_run_slice(struct task *task);

/* Every output made so far: all of it must be sent. */
void task_flush(struct task *task, bool only_idle);

/* Take a snapshot if it is time, commit it if everything below it is acknowledged. */
void task_commit(struct task *task);

void task_commit_init(struct task *task);

/* What must not survive the outputs: snapshots of positions that will be processed again. */
void task_commit_reset(struct task *task);
