/* Groups and queues: for each rule a minimal bad history that must fail, and its repaired twin that
 * passes. Group 0 is a stream group or a queue of partition 0, which has the records 0.0 to 0.9 of
 * producer 0 at their offsets. */
#include <string.h>

#include "tests/lib/harness.h"
#include "tests/sim/checker.h"

enum { LEADER = 1, ANNA = 0, BERT = 1, RECORDS = 10, MS = 1000 };

typedef enum world_kind { STREAM, QUEUE, ORDERED } world_kind;

struct scene {
    struct history h;
    int64_t now_us;
    struct history_event dead[2]; /* letters that are there at the end */
    uint32_t dead_count;
    bool has_copy; /* behind the last record stands the first one again */
};

/* ---- saying what happened ---- */

/* A millisecond passes. */
static void add(struct scene *s, history_kind kind, struct history_event event)
{
    s->now_us += MS;
    event.kind = kind;
    event.time_us = s->now_us;
    history_add(&s->h, &event);
}

/* Its dead records go to a topic. */
static void has_dead(struct scene *s)
{
    s->h.events[s->h.count - 1].has_dead = true;
}

static void dead(struct scene *s, int64_t offset, uint64_t value, history_action action)
{
    s->dead[s->dead_count++] =
        (struct history_event){.offset = offset, .value = value, .action = action};
}

static struct scene begin(world_kind kind)
{
    struct scene s = {.now_us = 0};

    history_init(&s.h);
    (void)history_add_producer(&s.h, true);
    add(&s, HISTORY_SEND, (struct history_event){.count = RECORDS});
    add(&s,
        HISTORY_CONSUMES,
        (struct history_event){.is_queue = kind != STREAM, .is_ordered = kind == ORDERED});
    return s;
}

static void delivered(struct scene *s, uint32_t who, int64_t offset, int64_t count, int64_t lease)
{
    add(s,
        HISTORY_DELIVERED,
        (struct history_event){.actor = who, .offset = offset, .count = count, .lease = lease});
}

static void commit(struct scene *s, history_kind kind, uint32_t who, int64_t offset, int64_t lease)
{
    add(s, kind, (struct history_event){.actor = who, .offset = offset, .lease = lease});
}

static void position(struct scene *s, int64_t offset)
{
    add(s, HISTORY_POSITION, (struct history_event){.offset = offset});
}

static void reset(struct scene *s, int64_t offset)
{
    add(s, HISTORY_RESET, (struct history_event){.offset = offset});
}

/* For 100 ms, by both clocks. */
static void locked(struct scene *s, uint32_t who, int64_t offset, int64_t lease, int64_t key)
{
    add(s,
        HISTORY_LOCKED,
        (struct history_event){
            .actor = who,
            .offset = offset,
            .value = (uint64_t)offset,
            .lease = lease,
            .key = key,
            .until_us = s->now_us + 100 * MS,
            .clock_ms = s->now_us / MS + 100,
        });
}

static void say(struct scene *s, uint32_t who, int64_t offset, int64_t lease, history_action action)
{
    add(s,
        HISTORY_SAY,
        (struct history_event){
            .actor = who,
            .offset = offset,
            .lease = lease,
            .action = action,
            .until_us = action == HISTORY_ACTION_NACK ? s->now_us + 50 * MS : 0,
        });
}

static void
told(struct scene *s, uint32_t who, int64_t offset, int64_t lease, history_action action, bool done)
{
    bool is_extend = action == HISTORY_ACTION_EXTEND;

    add(s,
        HISTORY_TOLD,
        (struct history_event){
            .actor = who,
            .offset = offset,
            .lease = lease,
            .action = action,
            .is_done = done,
            .until_us = is_extend                       ? s->now_us + 99 * MS
                        : action == HISTORY_ACTION_NACK ? s->now_us + 49 * MS
                                                        : 0,
            .clock_ms = s->now_us / MS + (is_extend ? 99 : 0),
        });
}

static void acked(struct scene *s, uint32_t who, int64_t offset, int64_t lease)
{
    say(s, who, offset, lease, HISTORY_ACTION_ACK);
    told(s, who, offset, lease, HISTORY_ACTION_ACK, true);
}

static void pass(struct scene *s, int64_t ms)
{
    s->now_us += ms * MS;
}

/* ---- asking ---- */

/* The leader's log has the first `count` records at the end; `rule` NULL: all is well. */
static void judge(struct scene *s, int64_t count, const char *rule)
{
    struct checker_result result;

    int64_t end = count + s->has_copy;

    add(s,
        HISTORY_REPLICA,
        (struct history_event){
            .actor = LEADER,
            .count = end,
            .watermark = end,
            .is_leader = true,
            .is_in_sync = true,
        });
    for (int64_t i = 0; i < end; i++) {
        uint64_t value = i == count ? 0 : (uint64_t)i;
        add(s, HISTORY_RECORD, (struct history_event){.actor = LEADER, .offset = i, .value = value}
        );
    }
    for (uint32_t i = 0; i < s->dead_count; i++) {
        add(s, HISTORY_DEAD, s->dead[i]);
    }
    checker_run(&s->h, &result);
    CU_ASSERT_STRING_EQUAL(
        result.count > 0 ? result.violations[0].rule : "none", rule == NULL ? "none" : rule
    );
    history_fini(&s->h);
}

/* ---- stream groups ---- */

static void a_group_that_gets_on_passes(void)
{
    struct scene s = begin(STREAM);

    position(&s, 0);
    delivered(&s, ANNA, 0, 2, 1);
    commit(&s, HISTORY_COMMIT, ANNA, 2, 1);
    position(&s, 2);
    commit(&s, HISTORY_COMMITTED, ANNA, 2, 1);
    delivered(&s, BERT, 2, 1, 2);
    commit(&s, HISTORY_COMMIT, BERT, 3, 2);
    commit(&s, HISTORY_COMMITTED, BERT, 3, 2);
    position(&s, 3);
    judge(&s, 3, NULL);
}

static void position_back(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, 0, 2, 1);
        commit(&s, HISTORY_COMMIT, ANNA, 2, 1);
        position(&s, 2);
        if (twin == 1) {
            reset(&s, 1);
        }
        position(&s, 1);
        judge(&s, 2, twin == 1 ? NULL : "position-back");
    }
}

static void commit_lost(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, 0, 2, 1);
        commit(&s, HISTORY_COMMIT, ANNA, 2, 1);
        commit(&s, HISTORY_COMMITTED, ANNA, 2, 1);
        position(&s, twin == 1 ? 2 : 0);
        judge(&s, 2, twin == 1 ? NULL : "commit-lost");
    }
}

/* Twin 1: Anna says it before Bert is given the records; 2: she is told that it does not count. */
static void stale_commit(void)
{
    for (int twin = 0; twin < 3; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, 0, 1, 1);
        if (twin == 1) {
            commit(&s, HISTORY_COMMIT, ANNA, 1, 1);
        }
        delivered(&s, BERT, 0, 1, 2);
        commit(&s, HISTORY_COMMIT, ANNA, 1, 1);
        commit(&s, twin == 2 ? HISTORY_LOST : HISTORY_COMMITTED, ANNA, 1, 1);
        position(&s, twin == 2 ? 0 : 1);
        judge(&s, 1, twin == 0 ? "stale-commit" : NULL);
    }
}

/* Twin 0: nobody asked; 1: one did who had not had all; 2: two did, one after the other. */
static void commit_undelivered(void)
{
    for (int twin = 0; twin < 3; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, 0, 1, 1);
        if (twin == 2) {
            commit(&s, HISTORY_COMMIT, ANNA, 1, 1);
        }
        delivered(&s, BERT, 1, 1, 2);
        if (twin > 0) {
            commit(&s, HISTORY_COMMIT, BERT, 2, 2);
        }
        position(&s, 2);
        judge(&s, 2, twin == 2 ? NULL : "commit-undelivered");
    }
}

static void group_missed(void)
{
    for (int twin = 0; twin < 3; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, 0, 1, 1);
        if (twin == 1) {
            delivered(&s, BERT, 1, 1, 2);
        } else if (twin == 2) { /* it was jumped over */
            reset(&s, 2);
            position(&s, 2);
        }
        judge(&s, 2, twin == 0 ? "group-missed" : NULL);
    }
}

static void group_order(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(STREAM);
        delivered(&s, ANNA, twin == 1 ? 0 : 1, 1, 1);
        delivered(&s, ANNA, twin == 1 ? 1 : 0, 1, 2);
        delivered(&s, ANNA, 0, 1, 3); /* again, that may be */
        judge(&s, 2, twin == 1 ? NULL : "group-order");
    }
}

/* ---- queues ---- */

static void a_queue_that_gets_on_passes(void)
{
    struct scene s = begin(ORDERED);

    locked(&s, ANNA, 0, 1, 7);
    locked(&s, BERT, 1, 2, 8);
    acked(&s, BERT, 1, 2);
    say(&s, ANNA, 0, 1, HISTORY_ACTION_NACK);
    told(&s, ANNA, 0, 1, HISTORY_ACTION_NACK, true);
    pass(&s, 60);
    locked(&s, BERT, 0, 3, 7);
    say(&s, BERT, 0, 3, HISTORY_ACTION_REJECT);
    told(&s, BERT, 0, 3, HISTORY_ACTION_REJECT, true);
    say(&s, ANNA, 0, 4, HISTORY_ACTION_BURY);
    told(&s, ANNA, 0, 4, HISTORY_ACTION_BURY, true);
    position(&s, 2);
    locked(&s, BERT, 2, 5, 7);
    acked(&s, BERT, 2, 5);
    judge(&s, 3, NULL);
}

/* Twin 1: Anna's time is over; 2: she has given it back; 3: it came so late that it proves nothing.
 */
static void held_by_two(void)
{
    for (int twin = 0; twin < 4; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        pass(&s, twin == 1 ? 100 : 0);
        if (twin == 2) {
            say(&s, ANNA, 0, 1, HISTORY_ACTION_GIVE_BACK);
        }
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        s.h.events[s.h.count - 1].until_us = twin == 3 ? 1 : s.h.events[s.h.count - 1].until_us;
        acked(&s, BERT, 0, 2);
        judge(&s, 1, twin == 0 ? "held-by-two" : NULL);
    }
}

/* Anna's lock was extended: whoever gets it meanwhile gets it too early. */
static void held_by_two_after_an_extension(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        pass(&s, 60);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_EXTEND);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_EXTEND, true);
        pass(&s, twin == 1 ? 110 : 60);
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        acked(&s, BERT, 0, 2);
        judge(&s, 1, twin == 1 ? NULL : "held-by-two");
    }
}

static void lock_broken(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        pass(&s, twin == 1 ? 100 : 0);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_ACK);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_ACK, false);
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        acked(&s, BERT, 0, 2);
        judge(&s, 1, twin == 1 ? NULL : "lock-broken");
    }
}

/* Nobody else has had it, but the time was over. Twin 1: its extension was not answered. */
static void late_ack(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin == 1) {
            say(&s, ANNA, 0, 1, HISTORY_ACTION_EXTEND);
        }
        pass(&s, 120);
        acked(&s, ANNA, 0, 1);
        judge(&s, 1, twin == 1 ? NULL : "late-ack");
    }
}

static void stale_ack(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        pass(&s, 100);
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_ACK);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_ACK, twin == 0);
        say(&s, BERT, 0, 2, HISTORY_ACTION_ACK);
        judge(&s, 1, twin == 1 ? NULL : "stale-ack");
    }
}

/* Bert has it before Anna hears that her word counts. That is well if the word freed it (0: given
 * back, 1: nack), but not if it finished it (2), was said when Bert had it already (3), or counted
 * when her time was over (4). Twin 5: an extension that was not answered may have made that longer.
 */
static void an_answer_that_the_next_lease_overtakes_is_not_stale(void)
{
    static const char *const rules[] = {NULL, NULL, "stale-ack", "stale-ack", "late-ack", NULL};

    for (int twin = 0; twin < 6; twin++) {
        history_action action = twin == 1   ? HISTORY_ACTION_NACK
                                : twin == 2 ? HISTORY_ACTION_ACK
                                            : HISTORY_ACTION_GIVE_BACK;
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin == 5) {
            say(&s, ANNA, 0, 1, HISTORY_ACTION_EXTEND);
        }
        if (twin != 3) {
            say(&s, ANNA, 0, 1, action);
        }
        int64_t counted_ms = s.now_us / MS;
        pass(&s, 120);
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        if (twin == 3) {
            say(&s, ANNA, 0, 1, action);
        }
        told(&s, ANNA, 0, 1, action, true);
        if (twin < 4) {
            s.h.events[s.h.count - 1].clock_ms = counted_ms;
        }
        say(&s, BERT, 0, 2, HISTORY_ACTION_ACK);
        judge(&s, 1, rules[twin]);
    }
}

static void too_early(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_NACK);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_NACK, true);
        pass(&s, twin == 1 ? 60 : 10);
        locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        acked(&s, BERT, 0, 2);
        judge(&s, 1, twin == 1 ? NULL : "too-early");
    }
}

/* Twin 1: it comes when its time has come. Twin 2: another record has none. 3: a reset changes
 * nothing about it. */
static void before_its_time(void)
{
    for (int twin = 0; twin < 4; twin++) {
        struct scene s = begin(QUEUE);
        s.h.events[0].until_us = twin == 2 ? 0 : 50 * MS;
        if (twin == 3) {
            reset(&s, 0);
        }
        pass(&s, twin == 1 ? 60 : 10);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        acked(&s, ANNA, 0, 1);
        judge(&s, 1, twin == 1 || twin == 2 ? NULL : "before-its-time");
    }
}

/* Twin 1: it was acknowledged, and the answer has not come. */
static void queue_lost(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin == 1) {
            say(&s, ANNA, 0, 1, HISTORY_ACTION_ACK);
        }
        position(&s, 1);
        judge(&s, 1, twin == 1 ? NULL : "queue-lost");
    }
}

/* Twin 1: buried; 2: it came again after an ack without an answer, which so was not done. */
static void queue_missed(void)
{
    for (int twin = 0; twin < 3; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin == 1) {
            say(&s, ANNA, 0, 2, HISTORY_ACTION_BURY);
            told(&s, ANNA, 0, 2, HISTORY_ACTION_BURY, true);
        } else if (twin == 2) {
            say(&s, ANNA, 0, 1, HISTORY_ACTION_ACK);
            pass(&s, 100);
            locked(&s, BERT, 0, 2, HISTORY_NO_KEY);
        }
        judge(&s, 1, twin == 1 ? NULL : "queue-missed");
    }
}

static void acked_twice(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        acked(&s, ANNA, 0, 1);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_ACK);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_ACK, twin == 0);
        judge(&s, 1, twin == 1 ? NULL : "acked-twice");
    }
}

/* Twin 1: another key; 2: the first one is finished; 3: no order was asked for. */
static void key_order(void)
{
    for (int twin = 0; twin < 4; twin++) {
        struct scene s = begin(twin == 3 ? QUEUE : ORDERED);
        locked(&s, ANNA, 0, 1, 7);
        if (twin == 2) {
            acked(&s, ANNA, 0, 1);
        }
        locked(&s, BERT, 1, 2, twin == 1 ? 8 : 7);
        acked(&s, BERT, 1, 2);
        if (twin != 2) {
            acked(&s, ANNA, 0, 1);
        }
        judge(&s, 2, twin == 0 ? "key-order" : NULL);
    }
}

/* The first one is nacked, and the second one of its key is handed out before it comes again. */
static void key_order_after_a_retry(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(ORDERED);
        locked(&s, ANNA, 0, 1, 7);
        say(&s, ANNA, 0, 1, HISTORY_ACTION_NACK);
        told(&s, ANNA, 0, 1, HISTORY_ACTION_NACK, true);
        pass(&s, 60);
        locked(&s, BERT, twin == 1 ? 0 : 1, 2, 7);
        acked(&s, BERT, twin == 1 ? 0 : 1, 2);
        locked(&s, BERT, twin == 1 ? 1 : 0, 3, 7);
        acked(&s, BERT, twin == 1 ? 1 : 0, 3);
        judge(&s, 2, twin == 1 ? NULL : "key-order");
    }
}

static void delivered_after_ack(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        acked(&s, ANNA, 0, 1);
        pass(&s, 100);
        locked(&s, BERT, twin, 2, HISTORY_NO_KEY);
        say(&s, BERT, twin, 2, HISTORY_ACTION_ACK);
        judge(&s, 1 + twin, twin == 1 ? NULL : "delivered-after-ack");
    }
}

/* What a group says of a partition that it does not consume. */
/* ---- dead letters ---- */

static void rejected(struct scene *s, int64_t offset, int64_t lease)
{
    say(s, ANNA, offset, lease, HISTORY_ACTION_REJECT);
    told(s, ANNA, offset, lease, HISTORY_ACTION_REJECT, true);
}

/* It is finished in its queue; twin 1: and in the dead-letter topic. */
static void a_dead_letter_that_is_lost(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        has_dead(&s);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        rejected(&s, 0, 1);
        position(&s, 1);
        if (twin == 1) {
            dead(&s, 0, 0, HISTORY_ACTION_REJECT);
        }
        judge(&s, 1, twin == 1 ? NULL : "queue-lost");
    }
}

/* Twin 1: it is another record; 2: nobody rejected it; 3: its deliveries were used up. */
static void dead_invented(void)
{
    for (int twin = 0; twin < 4; twin++) {
        struct scene s = begin(QUEUE);
        has_dead(&s);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin < 2) {
            rejected(&s, 0, 1);
        }
        position(&s, 1);
        dead(&s, 0, twin == 1, twin == 3 ? HISTORY_ACTION_NACK : HISTORY_ACTION_REJECT);
        judge(&s, 1, twin == 1 || twin == 2 ? "dead-invented" : NULL);
    }
}

/* Twin 1: the queue was set back in between. */
static void dead_and_acked(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(QUEUE);
        has_dead(&s);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        acked(&s, ANNA, 0, 1);
        position(&s, 1);
        if (twin == 1) {
            reset(&s, 0);
        }
        dead(&s, 0, 0, HISTORY_ACTION_NACK);
        judge(&s, 1, twin == 1 ? NULL : "dead-and-acked");
    }
}

/* Anna is given the second of a key while the first is out; twin 1: which is dead. */
static void key_order_behind_a_dead_record(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(ORDERED);
        has_dead(&s);
        locked(&s, ANNA, 0, 1, 7);
        rejected(&s, 0, 1);
        locked(&s, ANNA, 1, 2, 7);
        acked(&s, ANNA, 1, 2);
        if (twin == 1) {
            dead(&s, 0, 0, HISTORY_ACTION_REJECT);
        }
        judge(&s, 2, twin == 1 ? NULL : "key-order");
    }
}

/* The first record stands in the log twice. Twin 1: it was dead and put back; 2: it was put back
 * and never dead. */
static void put_back(void)
{
    for (int twin = 0; twin < 3; twin++) {
        struct scene s = begin(QUEUE);
        has_dead(&s);
        locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
        if (twin == 2) {
            acked(&s, ANNA, 0, 1);
        } else {
            rejected(&s, 0, 1);
            dead(&s, 0, 0, HISTORY_ACTION_REJECT);
        }
        if (twin > 0) {
            add(&s, HISTORY_REDRIVE, (struct history_event){.partition = 0});
        }
        s.has_copy = true;
        locked(&s, ANNA, 1, 2, HISTORY_NO_KEY);
        acked(&s, ANNA, 1, 2);
        judge(&s, 1, twin == 1 ? NULL : "stored-twice");
    }
}

/* Everything comes again; twin 1: nobody asked for that. */
static void a_queue_that_is_set_back(void)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s = begin(ORDERED);
        locked(&s, ANNA, 0, 1, 7);
        acked(&s, ANNA, 0, 1);
        locked(&s, ANNA, 1, 2, 7);
        acked(&s, ANNA, 1, 2);
        position(&s, 2);
        if (twin == 0) {
            reset(&s, 0);
        }
        position(&s, 0);
        locked(&s, BERT, 0, 3, 7);
        acked(&s, BERT, 0, 3);
        position(&s, 1);
        judge(&s, 2, twin == 0 ? NULL : "position-back");
    }
}

static void histories_without_sense_are_said_to_be_bad(void)
{
    struct scene s = begin(STREAM);
    locked(&s, ANNA, 0, 1, HISTORY_NO_KEY);
    judge(&s, 0, "bad-history");

    s = begin(QUEUE);
    delivered(&s, ANNA, 0, 1, 1);
    judge(&s, 0, "bad-history");

    s = begin(STREAM);
    add(&s, HISTORY_POSITION, (struct history_event){.group = 1, .offset = 0});
    judge(&s, 0, "bad-history");

    s = begin(STREAM);
    position(&s, INT64_C(1) << 60);
    judge(&s, 0, "bad-history");
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_group_that_gets_on_passes),
    HARNESS_TEST(position_back),
    HARNESS_TEST(commit_lost),
    HARNESS_TEST(stale_commit),
    HARNESS_TEST(commit_undelivered),
    HARNESS_TEST(group_missed),
    HARNESS_TEST(group_order),
    HARNESS_TEST(a_queue_that_gets_on_passes),
    HARNESS_TEST(held_by_two),
    HARNESS_TEST(held_by_two_after_an_extension),
    HARNESS_TEST(lock_broken),
    HARNESS_TEST(late_ack),
    HARNESS_TEST(stale_ack),
    HARNESS_TEST(an_answer_that_the_next_lease_overtakes_is_not_stale),
    HARNESS_TEST(too_early),
    HARNESS_TEST(before_its_time),
    HARNESS_TEST(queue_lost),
    HARNESS_TEST(queue_missed),
    HARNESS_TEST(acked_twice),
    HARNESS_TEST(key_order),
    HARNESS_TEST(key_order_after_a_retry),
    HARNESS_TEST(delivered_after_ack),
    HARNESS_TEST(a_dead_letter_that_is_lost),
    HARNESS_TEST(dead_invented),
    HARNESS_TEST(dead_and_acked),
    HARNESS_TEST(key_order_behind_a_dead_record),
    HARNESS_TEST(put_back),
    HARNESS_TEST(a_queue_that_is_set_back),
    HARNESS_TEST(histories_without_sense_are_said_to_be_bad),
};
HARNESS_MAIN(tests);
