/* list: intrusive doubly linked list. A head is a node; an unlinked node points at itself. */
#pragma once

#include "common/base.h"

struct ria_list {
    struct ria_list *prev;
    struct ria_list *next;
};

static inline void ria_list_init(struct ria_list *list)
{
    list->prev = list;
    list->next = list;
}

static inline bool ria_list_is_empty(const struct ria_list *list)
{
    return list->next == list;
}

static inline bool ria_list_is_linked(const struct ria_list *node)
{
    return node->next != node;
}

static inline void ria_list_push_back(struct ria_list *list, struct ria_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void ria_list_push_front(struct ria_list *list, struct ria_list *node)
{
    ria_list_push_back(list->next, node);
}

/* Safe on an unlinked (initialised) node; leaves it unlinked. */
static inline void ria_list_remove(struct ria_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    ria_list_init(node);
}

/* NULL when empty. */
static inline struct ria_list *ria_list_pop_front(struct ria_list *list)
{
    struct ria_list *node = list->next;

    if (node == list) {
        return NULL;
    }
    ria_list_remove(node);
    return node;
}

/* Move every node of `from` to the end of `to`. */
static inline void ria_list_splice(struct ria_list *to, struct ria_list *from)
{
    if (ria_list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ria_list_init(from);
}

/* The body may remove `it` itself, but no other node. */
#define RIA_LIST_FOREACH(it, list)                                                 \
    for (struct ria_list *it = (list)->next, *it##_next_ = it->next; it != (list); \
         it = it##_next_, it##_next_ = it->next)
