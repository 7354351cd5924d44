/* Streams that share reads, fall behind and catch up. */
#include "services/gateway/stream_flock.h"

#include <string.h>

#include "services/gateway/gateway.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/stream_world.h"

/* --- many clients ------------------------------------------------------------------------------*/

static void those_who_wait_share_a_read(void)
{
    struct stream_world s;
    static struct stream_client clients[20];

    stream_world_init(&s);
    s.logs[0].end = 10;
    for (int i = 0; i < 20; i++) {
        stream_client_open(&s, &clients[i], "/v1/topics/t/stream");
        clients[i].next[0] = 10;
        stream_client_drain(&s, &clients[i]);
    }
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    s.fetches = 0;
    s.logs[0].end = 15;
    stream_world_settle(&s);
    for (int i = 0; i < 20; i++) {
        stream_client_drain(&s, &clients[i]);
        CU_ASSERT_EQUAL(clients[i].records, 5);
    }
    CU_ASSERT_EQUAL(s.fetches, 1);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.records.value, 100);
    for (int i = 0; i < 20; i++) {
        stream_client_hang_up(&s, &clients[i]);
    }
    stream_world_fini(&s);
}

static void who_has_caught_up_joins_the_others(void)
{
    struct stream_world s;
    struct stream_client first;
    struct stream_client second;

    stream_world_init(&s);
    s.logs[0].end = 100;
    s.logs[1].end = 300;
    stream_client_open(&s, &first, "/v1/topics/t/stream");
    stream_client_drain(&s, &first);
    first.next[0] = 100;
    first.next[1] = 300;
    stream_client_open(&s, &second, "/v1/topics/t/stream?from=earliest");
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 2);
    stream_client_drain(&s, &second);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &second));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    s.fetches = 0;
    s.logs[2].end = 1;
    stream_world_settle(&s);
    stream_client_drain(&s, &first);
    stream_client_drain(&s, &second);
    CU_ASSERT_EQUAL(s.fetches, 1);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &first));
    CU_ASSERT_TRUE(stream_client_is_done(&s, &second));
    stream_client_hang_up(&s, &first);
    stream_client_hang_up(&s, &second);
    stream_world_fini(&s);
}

static void a_slow_client_holds_up_nobody(void)
{
    struct stream_world s;
    struct stream_client slow;
    struct stream_client fast;

    stream_world_init(&s);
    s.value_pad = 1000;
    stream_client_open(&s, &slow, "/v1/topics/t/stream");
    stream_client_open(&s, &fast, "/v1/topics/t/stream");
    stream_client_drain(&s, &slow);
    stream_client_drain(&s, &fast);
    s.logs[0].end = 70;
    stream_world_settle(&s);
    fake_request_take(&slow.fake, 1024, 1); /* begins an event, and stops */
    for (int i = 0; i < 40; i++) {
        s.logs[0].end += 70;
        stream_world_settle(&s);
        stream_client_drain(&s, &fast);
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(stream_client_is_done(&s, &fast));
    /* It holds nothing but, perhaps, the event that it has begun. */
    CU_ASSERT_TRUE(s.gateway->streams.metrics.evicted.value >= 1);
    CU_ASSERT_TRUE(s.world.budget.used.value < 200 * 1000);
    stream_client_drain(&s, &slow);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &slow));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    stream_client_hang_up(&s, &slow);
    stream_client_hang_up(&s, &fast);
    stream_world_fini(&s);
}

/* The flock that catches up, with a wake that somebody else was waiting for; NULL: it has. */
static struct flock *catching_up(struct stream_world *s)
{
    size_t cursor = 0;
    struct stream_class *class = ria_map_next(&s->gateway->streams.classes, &cursor);

    RIA_LIST_FOREACH (it, &class->flocks) {
        struct flock *flock = RIA_CONTAINER(it, struct flock, link);
        if (flock != class->lead) {
            ria_timer_start(s->world.env.timers, &flock->wake, 1000 * 1000);
            return flock;
        }
    }
    return NULL;
}

/* It was woken while it was being asked for its next piece, which the web server does not heed, and
 * slept for ever. */
static void who_joins_while_it_is_asked_is_not_forgotten(void)
{
    struct stream_world s;
    struct stream_client first;
    struct stream_client second;

    stream_world_init(&s);
    s.logs[0].end = 300;
    stream_client_open(&s, &first, "/v1/topics/t/stream");
    first.next[0] = 300;
    stream_client_drain(&s, &first);
    stream_client_open(&s, &second, "/v1/topics/t/stream?from=earliest");
    for (int i = 0; i < 1000 && catching_up(&s) != NULL; i++) {
        fake_request_take(&second.fake, 4096, 1);
        stream_client_look(&second);
        while (stream_world_serve(&s)) {
            world_run(&s.world);
        }
    }
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    s.logs[1].end = 1;
    stream_world_settle(&s);
    stream_client_drain(&s, &second);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &second));
    stream_client_hang_up(&s, &first);
    stream_client_hang_up(&s, &second);
    stream_world_fini(&s);
}

/* --- anything ----------------------------------------------------------------------------------*/

static void reopen(struct stream_world *s, struct stream_client *client)
{
    int64_t next[PARTITIONS];
    char cursor[CURSOR_SIZE];
    bool has_filter = client->has_filter;
    bool is_wrong = client->is_wrong;

    memcpy(next, client->next, sizeof(next));
    memcpy(cursor, client->cursor, sizeof(cursor));
    stream_client_hang_up(s, client);
    stream_client_open_as(
        s,
        client,
        has_filter ? "/v1/topics/t/stream?from=earliest&filter=$.n%3C3"
                   : "/v1/topics/t/stream?from=earliest",
        "text/event-stream",
        cursor[0] == '\0' ? NULL : cursor
    );
    memcpy(client->next, next, sizeof(next));
    memcpy(client->cursor, cursor, sizeof(cursor));
    client->has_filter = has_filter;
    client->is_wrong = is_wrong;
}

enum { MIX_CLIENTS = 8, MIX_STEPS = 300, MIX_SEEDS = 20 };

/* One thing that may happen to the log, to a client or to the time. */
static void mix(struct stream_world *s, struct stream_client *client, struct ria_rand *rand)
{
    uint64_t what = ria_rand_below(rand, 100);

    if (what < 30) {
        s->logs[ria_rand_below(rand, PARTITIONS)].end += (int64_t)ria_rand_below(rand, 40);
    } else if (what < 80) {
        fake_request_take(
            &client->fake, 1024 + ria_rand_below(rand, 8192), (uint32_t)ria_rand_below(rand, 4)
        );
        stream_client_look(client);
    } else if (what < 84) {
        world_advance(&s->world, (int64_t)ria_rand_below(rand, 2000) * 1000);
    } else if (what < 87) {
        reopen(s, client);
    } else if (what < 92) {
        (void)stream_world_serve(s);
        world_run(&s->world);
    } else {
        stream_world_settle(s);
    }
}

static void mix_one(uint64_t seed)
{
    static struct stream_client clients[MIX_CLIENTS];
    struct stream_world s;
    struct ria_rand rand;

    stream_world_init(&s);
    ria_rand_init(&rand, seed);
    s.value_pad = seed % 3 == 0 ? 1000 : 10;
    memset(clients, 0, sizeof(clients));
    for (int i = 0; i < MIX_CLIENTS; i++) {
        clients[i].has_filter = i >= MIX_CLIENTS - 2;
        fake_request_init(&clients[i].fake, "GET", "/", NULL);
        reopen(&s, &clients[i]);
    }
    for (int step = 0; step < MIX_STEPS; step++) {
        mix(&s, &clients[ria_rand_below(&rand, MIX_CLIENTS)], &rand);
    }
    for (int i = 0; i < 3 * MIX_CLIENTS; i++) {
        stream_world_settle(&s);
        stream_client_drain(&s, &clients[i % MIX_CLIENTS]);
    }
    for (int i = 0; i < MIX_CLIENTS; i++) {
        CU_ASSERT_TRUE(stream_client_is_done(&s, &clients[i]));
    }
    /* One with the filter, one without. */
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 2);
    for (int i = 0; i < MIX_CLIENTS; i++) {
        stream_client_hang_up(&s, &clients[i]);
    }
    CU_ASSERT_EQUAL(s.gateway->streams.classes.count, 0);
    stream_world_fini(&s);
}

/* Clients that are fast, slow, stuck and come back, records that come in any order: everybody gets
 * everything once, in order. */
static void any_mixture_gives_each_client_each_record_once(void)
{
    for (uint64_t seed = 1; seed <= MIX_SEEDS; seed++) {
        mix_one(seed);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(those_who_wait_share_a_read),
    HARNESS_TEST(who_has_caught_up_joins_the_others),
    HARNESS_TEST(a_slow_client_holds_up_nobody),
    HARNESS_TEST(who_joins_while_it_is_asked_is_not_forgotten),
    HARNESS_TEST(any_mixture_gives_each_client_each_record_once),
};
HARNESS_MAIN(tests);
