#include "tests/sim/sim_wire.h"

#include <stdlib.h>

#include "common/assert.h"

enum {
    UNBLOCK_US_MAX = 1000 * 1000, /* a sender that has retried for a while retries rarely */
};

struct frame {
    struct ria_list link;
    struct ria_msg *msg;
    uint64_t id;
    int64_t arrives_us;
};

void sim_fabric_init(struct sim_fabric *fabric, struct trace *trace, uint64_t seed)
{
    *fabric = (struct sim_fabric){.trace = trace};
    ria_rand_init(&fabric->rand, seed);
    ria_list_init(&fabric->wires);
}

uint32_t sim_fabric_add_host(struct sim_fabric *fabric, struct ria_timers *timers)
{
    RIA_ASSERT(fabric->host_count < SIM_HOSTS_MAX);

    fabric->timers[fabric->host_count] = timers;
    return fabric->host_count++;
}

int64_t sim_fabric_latency(struct sim_fabric *fabric, uint32_t from, uint32_t to)
{
    const struct sim_net_profile *profile = &fabric->profile;
    uint64_t spread = (uint64_t)(profile->latency_us_max - profile->latency_us_min);
    int64_t us = profile->latency_us_min + (int64_t)ria_rand_below(&fabric->rand, spread + 1);

    if (profile->spike_one_in > 0 && ria_rand_one_in(&fabric->rand, profile->spike_one_in)) {
        us += (int64_t)ria_rand_below(&fabric->rand, (uint64_t)profile->spike_us_max + 1);
    }
    return us + fabric->extra_us[from] + fabric->extra_us[to];
}

/* ---- wires ---- */

static int64_t now_us(const struct sim_wire *wire)
{
    return ria_clock_mono_us(wire->fabric->trace->clock);
}

static struct frame *first_frame(const struct sim_wire *wire)
{
    return RIA_CONTAINER(wire->frames.next, struct frame, link);
}

/* Wait for the first frame, unless the way is blocked. */
static void expect(struct sim_wire *wire)
{
    struct ria_timers *timers = wire->fabric->timers[wire->to];

    if (ria_list_is_empty(&wire->frames) || wire->fabric->blocked[wire->from][wire->to]) {
        ria_timer_stop(timers, &wire->timer);
        return;
    }
    int64_t wait_us = first_frame(wire)->arrives_us - now_us(wire);
    ria_timer_start(timers, &wire->timer, ria_max_i64(wait_us, 0));
}

static void on_arrival(struct ria_timer *timer, void *arg)
{
    struct sim_wire *wire = arg;

    (void)timer;
    struct frame *frame = first_frame(wire);
    struct ria_msg *msg = frame->msg;
    uint64_t id = frame->id;
    ria_list_remove(&frame->link);
    free(frame);
    expect(wire);
    trace_add(
        wire->fabric->trace,
        "frame",
        (uint64_t)wire->from << 32 | wire->to,
        id,
        ria_msg_data(msg),
        ria_msg_size(msg)
    );
    wire->deliver(wire->arg, msg, id);
}

void sim_wire_init(
    struct sim_wire *wire,
    struct sim_fabric *fabric,
    uint32_t from,
    uint32_t to,
    sim_wire_fn deliver,
    void *arg
)
{
    *wire =
        (struct sim_wire){.fabric = fabric, .from = from, .to = to, .deliver = deliver, .arg = arg};
    ria_list_init(&wire->frames);
    ria_timer_init(&wire->timer, on_arrival, wire);
    ria_list_push_back(&fabric->wires, &wire->link);
}

void sim_wire_fini(struct sim_wire *wire)
{
    sim_wire_cut(wire, 0);
    ria_list_remove(&wire->link);
}

void sim_wire_send(struct sim_wire *wire, struct ria_msg *msg, uint64_t id)
{
    struct frame *frame = calloc(1, sizeof(*frame));
    int64_t latency_us = sim_fabric_latency(wire->fabric, wire->from, wire->to);

    RIA_ASSERT(frame != NULL);
    wire->last_us = ria_max_i64(wire->last_us, now_us(wire) + latency_us);
    frame->msg = msg;
    frame->id = id;
    frame->arrives_us = wire->last_us;
    ria_list_push_back(&wire->frames, &frame->link);
    if (!wire->timer.active) {
        expect(wire);
    }
}

void sim_wire_cut(struct sim_wire *wire, size_t keep)
{
    RIA_LIST_FOREACH (it, &wire->frames) {
        struct frame *frame = RIA_CONTAINER(it, struct frame, link);
        if (keep > 0) {
            keep--;
            continue;
        }
        ria_list_remove(it);
        ria_msg_free(frame->msg);
        free(frame);
    }
    expect(wire);
}

void sim_wire_delay(struct sim_wire *wire, int64_t us)
{
    RIA_LIST_FOREACH (it, &wire->frames) {
        RIA_CONTAINER(it, struct frame, link)->arrives_us += us;
    }
    wire->last_us += us;
    expect(wire);
}

size_t sim_wire_count(const struct sim_wire *wire)
{
    size_t count = 0;

    RIA_LIST_FOREACH (it, &wire->frames) {
        count++;
    }
    return count;
}

bool sim_wire_carries(const struct sim_wire *wire, uint64_t id)
{
    RIA_LIST_FOREACH (it, &wire->frames) {
        if (RIA_CONTAINER(it, struct frame, link)->id == id) {
            return true;
        }
    }
    return false;
}

void sim_fabric_block(struct sim_fabric *fabric, uint32_t from, uint32_t to, bool blocked)
{
    if (fabric->blocked[from][to] == blocked) {
        return;
    }
    fabric->blocked[from][to] = blocked;
    RIA_LIST_FOREACH (it, &fabric->wires) {
        struct sim_wire *wire = RIA_CONTAINER(it, struct sim_wire, link);
        if (wire->from != from || wire->to != to || ria_list_is_empty(&wire->frames)) {
            continue;
        }
        if (!blocked) {
            int64_t retry_us =
                now_us(wire) + (int64_t)ria_rand_below(&fabric->rand, UNBLOCK_US_MAX);
            RIA_LIST_FOREACH (node, &wire->frames) {
                struct frame *frame = RIA_CONTAINER(node, struct frame, link);
                frame->arrives_us = ria_max_i64(frame->arrives_us, retry_us);
                wire->last_us = frame->arrives_us;
            }
        }
        expect(wire);
    }
}
