/* confirm: is what this process knows of the cluster still what the coordinator says?
 *
 * Who was deposed and has not heard of it is sure of things that are so no more. Before something
 * definite is said that another leader could know better, the coordinator is asked which version of
 * the metadata there is, and this process's view catches up with it. What it says of who leads then
 * was so at a moment after the question came, whatever clocks and sessions do (as the read index of
 * Raft).
 *
 * One question is under way at a time. Who comes meanwhile waits for the next one, which they
 * share: the answer to an older question proves nothing of them.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"

#include "services/shared/cluster.h"

/* confirmed: the view is as new as the coordinator's when it was asked, after confirm_start().
 * False: it did not answer, or the view has not caught up in time. */
typedef void (*confirm_fn)(void *arg, bool confirmed);

/* Storage is the caller's until fn runs or confirm_cancel(). */
struct confirm_wait {
    struct ria_list link;
    confirm_fn fn;
    void *arg;
};

struct confirm_round;

/* Private. */
struct confirm {
    const struct ria_env *env;
    struct cluster *cluster;
    struct ria_list asked;       /* whom the question under way is for */
    struct ria_list next;        /* who came later */
    struct confirm_round *round; /* NULL: none is under way */
};

/* Borrows both. */
void confirm_init(struct confirm *confirm, const struct ria_env *env, struct cluster *cluster);

/* Nobody waits. Before cluster_free(). */
void confirm_fini(struct confirm *confirm);

/* Calls wait->fn once, within about two seconds, maybe from inside. */
void confirm_start(struct confirm *confirm, struct confirm_wait *wait);
void confirm_cancel(struct confirm_wait *wait);
