#include "common/heap.h"

#include <stdlib.h>

#include "common/assert.h"

enum { HEAP_CAPACITY_MIN = 16 };

void ria_heap_init(struct ria_heap *heap, ria_heap_less_fn less)
{
    RIA_ASSERT(less != NULL);
    *heap = (struct ria_heap){.less = less};
}

void ria_heap_fini(struct ria_heap *heap)
{
    free(heap->nodes);
    heap->nodes = NULL;
    heap->count = 0;
    heap->capacity = 0;
}

static void place(struct ria_heap *heap, size_t index, struct ria_heap_node *node)
{
    heap->nodes[index] = node;
    node->index = index;
}

static void sift_up(struct ria_heap *heap, struct ria_heap_node *node)
{
    size_t at = node->index;

    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!heap->less(node, heap->nodes[parent])) {
            break;
        }
        place(heap, at, heap->nodes[parent]);
        at = parent;
    }
    place(heap, at, node);
}

static void sift_down(struct ria_heap *heap, struct ria_heap_node *node)
{
    size_t at = node->index;

    for (size_t child = 2 * at + 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count && heap->less(heap->nodes[child + 1], heap->nodes[child])) {
            child++;
        }
        if (!heap->less(heap->nodes[child], node)) {
            break;
        }
        place(heap, at, heap->nodes[child]);
        at = child;
    }
    place(heap, at, node);
}

ria_err ria_heap_push(struct ria_heap *heap, struct ria_heap_node *node)
{
    if (heap->count == heap->capacity) {
        size_t capacity = heap->capacity == 0 ? HEAP_CAPACITY_MIN : heap->capacity * 2;
        struct ria_heap_node **nodes =
            realloc(heap->nodes, capacity * sizeof(struct ria_heap_node *));
        if (nodes == NULL) {
            return RIA_ERR_NOMEM;
        }
        heap->nodes = nodes;
        heap->capacity = capacity;
    }
    place(heap, heap->count++, node);
    sift_up(heap, node);
    return RIA_OK;
}

struct ria_heap_node *ria_heap_top(const struct ria_heap *heap)
{
    return heap->count == 0 ? NULL : heap->nodes[0];
}

void ria_heap_remove(struct ria_heap *heap, struct ria_heap_node *node)
{
    size_t at = node->index;

    RIA_ASSERT(at < heap->count);
    RIA_ASSERT(heap->nodes[at] == node);

    struct ria_heap_node *last = heap->nodes[--heap->count];
    if (last != node) {
        place(heap, at, last);
        ria_heap_update(heap, last);
    }
}

void ria_heap_update(struct ria_heap *heap, struct ria_heap_node *node)
{
    RIA_ASSERT(node->index < heap->count);
    RIA_ASSERT(heap->nodes[node->index] == node);

    sift_up(heap, node);
    sift_down(heap, node);
}

void ria_heap_check(const struct ria_heap *heap)
{
    RIA_ASSERT(heap->count <= heap->capacity);
    for (size_t i = 0; i < heap->count; i++) {
        RIA_ASSERT(heap->nodes[i]->index == i);
        RIA_ASSERT(i == 0 || !heap->less(heap->nodes[i], heap->nodes[(i - 1) / 2]));
    }
}
