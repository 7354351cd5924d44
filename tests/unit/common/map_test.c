#include "common/map.h"

#include <stdio.h>
#include <string.h>

#include "common/rand.h"

#include "tests/lib/harness.h"

enum { MODEL_KEYS = 300 };

struct model {
    char keys[MODEL_KEYS][16];
    bool present[MODEL_KEYS];
    int values[MODEL_KEYS];
    size_t count;
};

static void absent_keys_are_null(void)
{
    struct ria_map map;

    ria_map_init(&map);
    CU_ASSERT_PTR_NULL(ria_map_get(&map, "a", 1));
    CU_ASSERT_PTR_NULL(ria_map_remove(&map, "a", 1));
    ria_map_fini(&map);
}

static void put_replaces_value_and_key(void)
{
    struct ria_map map;
    const char key[] = "key";
    const char same[] = "key";
    int first, second;
    size_t cursor = 0;

    ria_map_init(&map);
    CU_ASSERT_EQUAL(ria_map_put(&map, key, 3, &first), RIA_OK);
    CU_ASSERT_EQUAL(ria_map_put(&map, same, 3, &second), RIA_OK);
    CU_ASSERT_EQUAL(map.count, 1);
    CU_ASSERT_PTR_EQUAL(ria_map_get(&map, "key", 3), &second);
    CU_ASSERT_PTR_EQUAL(ria_map_next(&map, &cursor), &second);
    CU_ASSERT_PTR_EQUAL(map.slots[cursor - 1].key, same);
    CU_ASSERT_PTR_NULL(ria_map_next(&map, &cursor));
    ria_map_fini(&map);
}

static void empty_and_binary_keys_are_keys(void)
{
    struct ria_map map;
    int values[3];

    ria_map_init(&map);
    CU_ASSERT_EQUAL(ria_map_put(&map, NULL, 0, &values[0]), RIA_OK);
    CU_ASSERT_EQUAL(ria_map_put(&map, "\0", 1, &values[1]), RIA_OK);
    CU_ASSERT_EQUAL(ria_map_put(&map, "\0\0", 2, &values[2]), RIA_OK);
    CU_ASSERT_PTR_EQUAL(ria_map_get(&map, "", 0), &values[0]);
    CU_ASSERT_PTR_EQUAL(ria_map_get(&map, "\0", 1), &values[1]);
    CU_ASSERT_PTR_EQUAL(ria_map_get(&map, "\0\0", 2), &values[2]);
    ria_map_fini(&map);
}

static bool agrees(const struct ria_map *map, const struct model *model)
{
    bool seen[MODEL_KEYS] = {false};
    size_t cursor = 0;
    size_t walked = 0;

    for (size_t i = 0; i < MODEL_KEYS; i++) {
        const int *value = ria_map_get(map, model->keys[i], strlen(model->keys[i]));
        if (value != (model->present[i] ? &model->values[i] : NULL)) {
            return false;
        }
    }
    for (const int *value; (value = ria_map_next(map, &cursor)) != NULL; walked++) {
        size_t i = (size_t)(value - model->values);
        if (seen[i] || !model->present[i]) {
            return false;
        }
        seen[i] = true;
    }
    return walked == model->count && map->count == model->count;
}

static void random_history_agrees_with_a_model(void)
{
    static struct model model;
    struct ria_map map;
    struct ria_rand rand;

    ria_map_init(&map);
    ria_rand_init(&rand, 7);
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        (void)snprintf(model.keys[i], sizeof(model.keys[i]), "key-%zu", i);
    }
    for (int step = 0; step < 20000; step++) {
        size_t i = ria_rand_below(&rand, MODEL_KEYS);
        const char *key = model.keys[i];
        /* Waves: mostly puts, then mostly removes. */
        if (ria_rand_below(&rand, 10) < (step / 2000 % 2 == 0 ? 7 : 3)) {
            CU_ASSERT_EQUAL(ria_map_put(&map, key, strlen(key), &model.values[i]), RIA_OK);
            model.count += !model.present[i];
            model.present[i] = true;
        } else {
            const int *removed = ria_map_remove(&map, key, strlen(key));
            CU_ASSERT_PTR_EQUAL(removed, model.present[i] ? &model.values[i] : NULL);
            model.count -= model.present[i];
            model.present[i] = false;
        }
        if (step % 50 == 0) {
            CU_ASSERT_TRUE(agrees(&map, &model));
        }
    }
    ria_map_fini(&map);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(absent_keys_are_null),
    HARNESS_TEST(put_replaces_value_and_key),
    HARNESS_TEST(empty_and_binary_keys_are_keys),
    HARNESS_TEST(random_history_agrees_with_a_model),
};

HARNESS_MAIN(tests);
