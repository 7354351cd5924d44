#include "services/coordinator/metadata_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/map.h"

#include "schemas/gen/alter_topic_request.h"
#include "schemas/gen/delete_topic_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

struct world {
    struct fixture_machine m;
    struct ria_arena arena;
    struct metadata_response response;
};

static void set_up(struct world *w)
{
    memset(w, 0, sizeof(*w));
    fixture_machine_open(&w->m);
    fixture_nodes(&w->m, 3, NULL);
    ria_arena_init(&w->arena, 256 * 1024 * 1024);
}

static void tear_down(struct world *w)
{
    ria_arena_fini(&w->arena);
    fixture_machine_close(&w->m);
}

static int64_t newest(struct world *w)
{
    struct state_summary summary;

    CU_ASSERT_TRUE(state_summary(w->m.db, &summary));
    return summary.version;
}

static void read_since(struct world *w, int64_t known)
{
    const struct ria_uuid cluster = fixture_uuid(0xc1);

    ria_arena_reset(&w->arena);
    ria_err err = metadata_view_read(w->m.db, &cluster, known, newest(w), &w->arena, &w->response);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
}

static void create_topic(struct world *w, uint32_t id, const char *name, int32_t partitions)
{
    struct create_topic_request request = fixture_topic(id, name, partitions, 3);

    CU_ASSERT_EQUAL(fixture_apply(&w->m, API_CREATE_TOPIC, &request), RIA_OK);
}

static void delete_topic(struct world *w, const char *name)
{
    const struct delete_topic_request request = {.name = ria_slice_cstr(name)};

    CU_ASSERT_EQUAL(fixture_apply(&w->m, API_DELETE_TOPIC, &request), RIA_OK);
}

static void alter_topic(struct world *w, uint32_t id)
{
    struct alter_topic_request_alter_topic_config config = {
        .name = RIA_SLICE_LITERAL("delivery"), .value = RIA_SLICE_LITERAL("queue")};
    const struct alter_topic_request request = {
        .topic_id = fixture_uuid(id),
        .config_epoch = -1,
        .partition_count = -1,
        .configs = &config,
        .configs_count = 1,
    };

    CU_ASSERT_EQUAL(fixture_apply(&w->m, API_ALTER_TOPIC, &request), RIA_OK);
}

static void from_zero_everything_comes(void)
{
    struct world w;
    struct create_transform_request transform = fixture_transform(100, "big", "a");
    struct create_topic_request_create_topic_config config = {
        .name = RIA_SLICE_LITERAL("durability"), .value = RIA_SLICE_LITERAL("relaxed")};
    struct create_topic_request topic = fixture_topic(1, "a", 4, 3);

    set_up(&w);
    topic.configs = &config;
    topic.configs_count = 1;
    CU_ASSERT_EQUAL(fixture_apply(&w.m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&w.m, API_CREATE_TRANSFORM, &transform), RIA_OK);
    read_since(&w, 0);
    CU_ASSERT_EQUAL(w.response.version, newest(&w));
    CU_ASSERT_TRUE(ria_uuid_equal(w.response.cluster_id, fixture_uuid(0xc1)));
    CU_ASSERT_EQUAL(w.response.nodes_count, 3);
    CU_ASSERT_EQUAL(w.response.nodes[2].node_id, 3);
    CU_ASSERT_TRUE(ria_slice_equal(w.response.nodes[2].address, ria_slice_cstr("tcp://node:1")));
    CU_ASSERT_EQUAL(w.response.topics_count, 3);
    CU_ASSERT_TRUE(ria_slice_equal(w.response.topics[0].name, ria_slice_cstr("a")));
    CU_ASSERT_EQUAL(w.response.topics[0].configs_count, 1);
    CU_ASSERT_TRUE(ria_slice_equal(w.response.topics[0].configs[0].value, ria_slice_cstr("relaxed"))
    );
    CU_ASSERT_EQUAL(w.response.partitions_count, 12);
    CU_ASSERT_EQUAL(w.response.partitions[0].replicas_count, 3);
    CU_ASSERT_EQUAL(w.response.partitions[0].replicas[0], w.response.partitions[0].leader);
    CU_ASSERT_EQUAL(w.response.partitions[0].isr_count, 3);
    CU_ASSERT_EQUAL(w.response.transforms_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(w.response.transforms[0].source_topic_id, fixture_uuid(1)));
    CU_ASSERT_EQUAL(w.response.tasks_count, 4);
    CU_ASSERT_EQUAL(w.response.tasks[3].producer_id, RIA_PRODUCER_ID_INTERNAL + 4);
    tear_down(&w);
}

static void only_what_changed_comes(void)
{
    struct world w;

    set_up(&w);
    create_topic(&w, 1, "a", 4);
    int64_t known = newest(&w);
    create_topic(&w, 2, "b", 2);
    read_since(&w, known);
    CU_ASSERT_EQUAL(w.response.version, known + 1);
    CU_ASSERT_EQUAL(w.response.nodes_count, 0);
    CU_ASSERT_EQUAL(w.response.topics_count, 1);
    CU_ASSERT_EQUAL(w.response.partitions_count, 2);
    read_since(&w, known + 1);
    CU_ASSERT_EQUAL(w.response.topics_count, 0);
    CU_ASSERT_EQUAL(w.response.partitions_count, 0);
    tear_down(&w);
}

static void restarted_nodes_partitions_come_again(void)
{
    struct world w;
    struct register_node_request request = fixture_register(2, 101);

    set_up(&w);
    create_topic(&w, 1, "a", 6);
    int64_t known = newest(&w);
    CU_ASSERT_EQUAL(fixture_apply(&w.m, API_REGISTER_NODE, &request), RIA_OK);
    read_since(&w, known);
    CU_ASSERT_EQUAL(w.response.nodes_count, 1);
    CU_ASSERT_EQUAL(w.response.topics_count, 0);
    CU_ASSERT_EQUAL(w.response.nodes[0].incarnation, 101);
    CU_ASSERT_EQUAL(w.response.partitions_count, 6); /* it left their in-sync sets */
    for (uint32_t i = 0; i < w.response.partitions_count; i++) {
        CU_ASSERT_NOT_EQUAL(w.response.partitions[i].leader, 2);
        CU_ASSERT_EQUAL(w.response.partitions[i].isr_count, 2);
    }
    tear_down(&w);
}

static void deleted_topics_come_as_deleted(void)
{
    struct world w;

    set_up(&w);
    create_topic(&w, 1, "a", 4);
    delete_topic(&w, "a");
    read_since(&w, 0);
    CU_ASSERT_EQUAL(w.response.topics_count, 1);
    CU_ASSERT_TRUE(w.response.topics[0].deleted);
    CU_ASSERT_EQUAL(w.response.partitions_count, 0);
    tear_down(&w);
}

/* ---- pages ---- */

struct follower {
    struct ria_map topics;
    int64_t version;
    uint32_t partitions;
    int pages;
};

/* Merge a page as a reader would: a partition's topic must be known by then. */
static void follow(struct world *w, struct follower *follower)
{
    const struct metadata_response *r = &w->response;

    for (uint32_t i = 0; i < r->topics_count; i++) {
        struct ria_uuid *id = malloc(sizeof(*id));
        CU_ASSERT_PTR_NOT_NULL_FATAL(id);
        *id = r->topics[i].topic_id;
        if (ria_map_get(&follower->topics, id, sizeof(*id)) != NULL) {
            free(id);
        } else {
            CU_ASSERT_EQUAL(ria_map_put(&follower->topics, id, sizeof(*id), id), RIA_OK);
        }
    }
    for (uint32_t i = 0; i < r->partitions_count; i++) {
        const struct ria_uuid *id = &r->partitions[i].topic_id;
        if (ria_map_get(&follower->topics, id, sizeof(*id)) == NULL) {
            CU_FAIL("a partition came before its topic");
        }
    }
    CU_ASSERT_TRUE(r->version > follower->version);
    follower->version = r->version;
    follower->partitions += r->partitions_count;
    follower->pages++;
}

static void follower_fini(struct follower *follower)
{
    size_t cursor = 0;
    void *id = NULL;

    while ((id = ria_map_next(&follower->topics, &cursor)) != NULL) {
        free(id);
    }
    ria_map_fini(&follower->topics);
}

static void a_large_state_comes_in_pages(void)
{
    struct world w;
    struct follower follower = {.version = 0};
    char name[32];

    set_up(&w);
    ria_map_init(&follower.topics);
    for (uint32_t i = 1; i <= 12; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        create_topic(&w, i, name, 10000);
    }
    while (follower.version < newest(&w)) {
        read_since(&w, follower.version);
        CU_ASSERT_TRUE(metadata_response_size(&w.response, 0) <= METADATA_VIEW_BYTES_MAX);
        follow(&w, &follower);
    }
    CU_ASSERT_EQUAL(follower.partitions, 120000);
    CU_ASSERT_TRUE(follower.pages >= 3);
    follower_fini(&follower);
    tear_down(&w);
}

static void a_change_behind_the_page_keeps_pages_complete(void)
{
    struct world w;
    struct follower follower = {.version = 0};

    set_up(&w);
    ria_map_init(&follower.topics);
    create_topic(&w, 1, "a", 10000);
    create_topic(&w, 2, "b", 10000);
    create_topic(&w, 3, "c", 10000);
    create_topic(&w, 4, "d", 10000);
    create_topic(&w, 5, "e", 10000);
    read_since(&w, 0);
    follow(&w, &follower);
    CU_ASSERT_TRUE(follower.version < newest(&w));
    CU_ASSERT_FALSE(w.response.topics[0].is_ahead);
    alter_topic(&w, 1);
    read_since(&w, 0);
    CU_ASSERT_TRUE(w.response.topics[0].is_ahead); /* the change is behind this page */
    CU_ASSERT_FALSE(w.response.topics[1].is_ahead);
    /* "a" is in the page that is known; its row moves to the newest version. */
    delete_topic(&w, "a");
    while (follower.version < newest(&w)) {
        read_since(&w, follower.version);
        follow(&w, &follower);
    }
    CU_ASSERT_EQUAL(follower.topics.count, 5);
    read_since(&w, follower.version - 1);
    CU_ASSERT_EQUAL(w.response.topics_count, 1);
    CU_ASSERT_TRUE(w.response.topics[0].deleted);
    follower_fini(&follower);
    tear_down(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(from_zero_everything_comes),
    HARNESS_TEST(only_what_changed_comes),
    HARNESS_TEST(restarted_nodes_partitions_come_again),
    HARNESS_TEST(deleted_topics_come_as_deleted),
    HARNESS_TEST(a_large_state_comes_in_pages),
    HARNESS_TEST(a_change_behind_the_page_keeps_pages_complete),
};
HARNESS_MAIN(tests);
