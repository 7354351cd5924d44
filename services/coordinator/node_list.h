/* node_list: a partition's replicas and in-sync set, as text in meta.db ("1,2,3"). Pure. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/slice.h"

enum { NODE_LIST_TEXT_SIZE = RIA_REPLICAS_MAX * 11 + 1 };

struct node_list {
    int32_t ids[RIA_REPLICAS_MAX];
    uint32_t count;
};

bool node_list_has(const struct node_list *list, int32_t node_id);

bool node_list_equal(const struct node_list *a, const struct node_list *b); /* the order counts */

/* At the end, unless it is in there; there must be room. */
void node_list_add(struct node_list *list, int32_t node_id);

/* The others keep their order. */
void node_list_remove(struct node_list *list, int32_t node_id);

/* count at most RIA_REPLICAS_MAX. */
void node_list_format(const int32_t *ids, uint32_t count, char out[NODE_LIST_TEXT_SIZE]);

/* Errors: RIA_ERR_CORRUPT. */
ria_err node_list_parse(struct ria_slice text, struct node_list *out) RIA_MUST_USE;
