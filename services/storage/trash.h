/* trash: folders of deleted partitions, removed a file at a time so that nobody waits for it.
 *
 * A folder is renamed to "<name>.deleted" ("<name>.1.deleted" if there is one already) first: from
 * then on it is garbage, whatever happens, and a start that finds one goes on removing it.
 * Unlinking a large file can take the disk a while, hence one per step.
 *
 * The garbage is also the sign that the checkpoint's entry of that name, if it is still there after
 * a crash, speaks of a log that was removed (storage_forget_removed()). So it stays until a
 * checkpoint without the entry is on disk: one that was begun after the folder came here.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/timers.h"

#define TRASH_SUFFIX ".deleted"

enum { TRASH_STEP_MS = 10 };

struct trash {
    const struct ria_env *env;
    const char *data_dir; /* borrowed */
    struct ria_list folders;
    struct ria_timer timer;
};

void trash_init(struct trash *trash, const struct ria_env *env, const char *data_dir);

/* Forgets what is left; the next start finds it again. */
void trash_fini(struct trash *trash);

/* Rename the folder `name` of the data folder and begin to remove it. A folder that is not there is
 * fine. Errors: those of fs; it is still there then. */
ria_err trash_throw(struct trash *trash, const char *name) RIA_MUST_USE;

/* Go on with a folder that was renamed by an earlier process. */
void trash_resume(struct trash *trash, const char *name);

/* A checkpoint begins to be written, which covers all that is here / has ended. */
void trash_checkpoint_begins(struct trash *trash);
void trash_checkpoint_ended(struct trash *trash, bool on_disk);

/* Is garbage of this folder waiting for a checkpoint? */
bool trash_holds(const struct trash *trash, const char *name);

bool trash_is_empty(const struct trash *trash);
