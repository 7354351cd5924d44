#include "common/heap.h"

#include <stdlib.h>

#include "common/rand.h"

#include "tests/lib/harness.h"

struct item {
    struct ria_heap_node node;
    uint64_t key;
};

static bool item_less(const struct ria_heap_node *a, const struct ria_heap_node *b)
{
    return ((const struct item *)(const void *)a)->key <
           ((const struct item *)(const void *)b)->key;
}

static struct item *pop(struct ria_heap *heap)
{
    struct ria_heap_node *node = ria_heap_top(heap);

    if (node == NULL) {
        return NULL;
    }
    ria_heap_remove(heap, node);
    return RIA_CONTAINER(node, struct item, node);
}

static void pops_in_order_whatever_was_pushed(void)
{
    enum { COUNT = 1000 };
    static struct item items[COUNT];
    struct ria_rand rand;
    struct ria_heap heap;
    uint64_t last = 0;

    ria_rand_init(&rand, 1);
    ria_heap_init(&heap, item_less);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].key = ria_rand_below(&rand, COUNT / 2);
        CU_ASSERT_EQUAL(ria_heap_push(&heap, &items[i].node), RIA_OK);
    }
    ria_heap_check(&heap);
    for (size_t i = 0; i < COUNT; i++) {
        const struct item *item = pop(&heap);
        CU_ASSERT_TRUE(item != NULL && item->key >= last);
        last = item == NULL ? 0 : item->key;
    }
    CU_ASSERT_PTR_NULL(pop(&heap));
    ria_heap_fini(&heap);
}

static void removes_and_updates_anywhere(void)
{
    enum { COUNT = 200, STEPS = 5000 };
    static struct item items[COUNT];
    static bool in[COUNT];
    struct ria_rand rand;
    struct ria_heap heap;
    size_t count = 0;

    ria_rand_init(&rand, 2);
    ria_heap_init(&heap, item_less);
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = (size_t)ria_rand_below(&rand, COUNT);
        if (!in[i]) {
            items[i].key = ria_rand_u64(&rand);
            CU_ASSERT_EQUAL(ria_heap_push(&heap, &items[i].node), RIA_OK);
            in[i] = true;
            count++;
        } else if (ria_rand_one_in(&rand, 2)) {
            ria_heap_remove(&heap, &items[i].node);
            in[i] = false;
            count--;
        } else {
            items[i].key = ria_rand_u64(&rand);
            ria_heap_update(&heap, &items[i].node);
        }
        ria_heap_check(&heap);
        CU_ASSERT_EQUAL(heap.count, count);
    }
    ria_heap_fini(&heap);
}

static void empty_heap_has_no_top(void)
{
    struct ria_heap heap;

    ria_heap_init(&heap, item_less);
    CU_ASSERT_PTR_NULL(ria_heap_top(&heap));
    ria_heap_check(&heap);
    ria_heap_fini(&heap);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(pops_in_order_whatever_was_pushed),
    HARNESS_TEST(removes_and_updates_anywhere),
    HARNESS_TEST(empty_heap_has_no_top),
};
HARNESS_MAIN(tests);
