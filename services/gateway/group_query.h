/* group_query: what reads and streams of groups ask alike. Those that return bool answer the
 * request themselves when they refuse it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "services/gateway/group_fetch.h"
#include "services/gateway/group_input.h"

/* True, and answered: the records would be leased, and shown to nobody. allow: the methods of the
 * path, a literal. */
bool group_query_is_head(struct request *request, const char *allow);

/* Group, member, and topics that are read in order. */
bool group_query_names(struct group_input *input, struct group_fetch *fetch);

/* from, on_out_of_range */
bool group_query_policies(struct group_input *input, struct group_fetch *fetch);

/* The cursor to commit: the text, or if it is null the parameter `name`. In the request's arena.
 * What is of topics that are gone is in fetch->lost. */
bool group_query_commits(
    struct group_input *input, const char *name, struct ria_slice text, struct group_fetch *fetch
);
