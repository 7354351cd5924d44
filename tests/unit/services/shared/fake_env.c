#include "tests/unit/services/shared/fake_env.h"

#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "common/assert.h"

#include "schemas/envelope.h"

/* ---- clock and log ---- */

static int64_t mono_us(const struct ria_clock *clock)
{
    const struct fake_env *fake =
        (const void *)((const char *)clock - offsetof(struct fake_env, clock));

    return fake->now_us;
}

static int64_t wall_ms(const struct ria_clock *clock)
{
    return mono_us(clock) / 1000;
}

static void write_log(void *arg, const char *line, size_t size)
{
    struct fake_env *fake = arg;

    RIA_ASSERT(fake->log_size + size < sizeof(fake->log_text));
    memcpy(fake->log_text + fake->log_size, line, size);
    fake->log_size += size;
    fake->log_text[fake->log_size] = '\0';
}

unsigned fake_env_logged(const struct fake_env *fake, const char *text)
{
    unsigned count = 0;

    for (const char *p = fake->log_text; (p = strstr(p, text)) != NULL; p++) {
        count++;
    }
    return count;
}

void fake_env_advance_ms(struct fake_env *fake, int64_t ms)
{
    int64_t end_us = fake->now_us + ms * 1000;

    while (ria_timers_next_us(&fake->timers) <= end_us) {
        fake->now_us = ria_max_i64(fake->now_us, ria_timers_next_us(&fake->timers));
        (void)ria_timers_run(&fake->timers);
    }
    fake->now_us = end_us;
}

/* ---- calls ---- */

static void call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct fake_env *fake = RIA_CONTAINER(rpc, struct fake_env, rpc);
    struct fake_call *made = calloc(1, sizeof(*made));

    RIA_ASSERT(made != NULL);
    RIA_ASSERT(strlen(address) <= RIA_ADDRESS_MAX);
    memcpy(made->address, address, strlen(address) + 1);
    made->msg = msg;
    made->timeout_ms = timeout_ms;
    made->done = done;
    made->arg = arg;
    ria_list_push_back(&fake->calls, &made->link);
    fake->call_count++;
}

static const struct ria_rpc_ops ops = {.call = call};

struct fake_call *fake_env_call(struct fake_env *fake, int16_t api_key)
{
    RIA_LIST_FOREACH (it, &fake->calls) {
        struct fake_call *made = RIA_CONTAINER(it, struct fake_call, link);
        struct request_header header;
        struct ria_slice body;
        struct ria_slice payload;

        if (envelope_open_request(made->msg, &header, &body, &payload) == RIA_OK &&
            header.api_key == api_key) {
            return made;
        }
    }
    return NULL;
}

static struct request_header header_of(const struct fake_call *made, struct ria_slice *out_body)
{
    struct request_header header = {0};
    struct ria_slice payload;

    CU_ASSERT_EQUAL(envelope_open_request(made->msg, &header, out_body, &payload), RIA_OK);
    return header;
}

void fake_call_body(const struct fake_call *made, int16_t api_key, void *out_body)
{
    struct ria_arena arena;
    struct ria_slice body;
    struct request_header header = header_of(made, &body);

    CU_ASSERT_EQUAL(header.api_key, api_key);
    ria_arena_init(&arena, 1);
    ria_err err =
        envelope_decode_body(schema_request(api_key), header.api_version, body, &arena, out_body);
    CU_ASSERT_EQUAL(err, RIA_OK);
    ria_arena_fini(&arena);
}

static void end(struct fake_call *made, ria_err err, struct ria_msg *reply)
{
    ria_rpc_done_fn done = made->done;
    void *arg = made->arg;

    ria_list_remove(&made->link);
    ria_msg_free(made->msg);
    free(made);
    done(arg, err, reply);
}

void fake_call_reply(struct fake_call *made, const void *body)
{
    struct ria_slice request;
    struct request_header header = header_of(made, &request);

    end(made, RIA_OK, envelope_reply(&header, body, 0, NULL));
}

void fake_call_reply_error(struct fake_call *made, ria_err err)
{
    struct ria_slice request;
    struct request_header header = header_of(made, &request);

    end(made, RIA_OK, envelope_reply_error(&header, err, "said the fake"));
}

void fake_call_reply_frame(struct fake_call *made, struct ria_msg *frame)
{
    end(made, RIA_OK, frame);
}

void fake_call_fail(struct fake_call *made, ria_err err)
{
    end(made, err, NULL);
}

/* ---- life ---- */

void fake_env_init(struct fake_env *fake)
{
    memset(fake, 0, sizeof(*fake));
    fake->now_us = 1000000;
    fake->clock = (struct ria_clock){.mono_us = mono_us, .wall_ms = wall_ms};
    fake->log = (struct ria_log){.level = RIA_LOG_DEBUG, .write = write_log, .arg = fake};
    fake->rpc.ops = &ops;
    ria_timers_init(&fake->timers, &fake->clock);
    ria_rand_init(&fake->rand, 1);
    ria_list_init(&fake->calls);
    fake->env = (struct ria_env){
        .clock = &fake->clock,
        .timers = &fake->timers,
        .rpc = &fake->rpc,
        .rand = &fake->rand,
        .log = &fake->log,
    };
}

void fake_env_fini(struct fake_env *fake)
{
    while (!ria_list_is_empty(&fake->calls)) {
        end(RIA_CONTAINER(fake->calls.next, struct fake_call, link), RIA_ERR_SHUTDOWN, NULL);
    }
    ria_timers_fini(&fake->timers);
}
