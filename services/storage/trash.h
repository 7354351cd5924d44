/* trash: folders of deleted partitions, removed a file at a time so that nobody waits for it.
 *
 * A folder is renamed to "<name>.deleted" ("<name>.1.deleted" if there is one already) first: from
 * then on it is garbage, whatever happens, and a start that finds one goes on removing it.
 * Unlinking a large file can take the disk a while, hence one per step.
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

bool trash_is_empty(const struct trash *trash);
