/* heap: intrusive binary min-heap. The array of pointers is the only memory it owns. */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct ria_heap_node {
    size_t index; /* place in the array; meaningless when not in a heap */
};

/* True if a goes before b. Must be a strict weak order. */
typedef bool (*ria_heap_less_fn)(const struct ria_heap_node *a, const struct ria_heap_node *b);

struct ria_heap {
    struct ria_heap_node **nodes;
    size_t count;
    size_t capacity;
    ria_heap_less_fn less;
};

void ria_heap_init(struct ria_heap *heap, ria_heap_less_fn less);
void ria_heap_fini(struct ria_heap *heap);

/* Errors: RIA_ERR_NOMEM. */
ria_err ria_heap_push(struct ria_heap *heap, struct ria_heap_node *node) RIA_MUST_USE;

/* NULL when empty. */
struct ria_heap_node *ria_heap_top(const struct ria_heap *heap);

/* The node must be in this heap. */
void ria_heap_remove(struct ria_heap *heap, struct ria_heap_node *node);

/* Call after the order of a node that is in the heap has changed. */
void ria_heap_update(struct ria_heap *heap, struct ria_heap_node *node);

/* Aborts if the heap property does not hold. For tests and the simulator. */
void ria_heap_check(const struct ria_heap *heap);
