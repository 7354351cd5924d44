#include "services/storage/fetch_sessions.h"

#include <stdlib.h>

#include "common/assert.h"

void fetch_sessions_init(
    struct fetch_sessions *set,
    const struct ria_env *env,
    fetch_answer_fn answer,
    void (*on_ready)(void *arg),
    void *arg
)
{
    *set = (struct fetch_sessions){
        .env = env,
        .answer = answer,
        .on_ready = on_ready,
        .arg = arg,
    };
    ria_map_init(&set->by_id);
    ria_list_init(&set->sessions);
    ria_list_init(&set->ready);
}

void fetch_sessions_fini(struct fetch_sessions *set)
{
    RIA_ASSERT(set->count == 0);
    RIA_ASSERT(set->wish_count == 0);

    ria_map_fini(&set->by_id);
}

/* ---- wishes ---- */

static void leave_list(struct fetch_wish *wish)
{
    ria_list_remove(&wish->link);
    if (wish->is_ready) {
        wish->is_ready = false;
        wish->session->ready_count--;
    }
}

static void make_ready(struct fetch_wish *wish)
{
    struct fetch_session *session = wish->session;

    leave_list(wish);
    wish->is_ready = true;
    session->ready_count++;
    ria_list_push_back(&session->ready, &wish->link);
    if (session->request != NULL && !ria_list_is_linked(&session->ready_link)) {
        ria_list_push_back(&session->set->ready, &session->ready_link);
        session->set->on_ready(session->set->arg);
    }
}

struct fetch_wish *
fetch_session_find(const struct fetch_session *session, const struct partition_id *id)
{
    return ria_map_get(&session->wishes, id, sizeof(*id));
}

/* Room for one more wish, at the cost of sessions that are idle. */
static bool make_room(const struct fetch_session *session)
{
    struct fetch_sessions *set = session->set;

    RIA_LIST_FOREACH (it, &set->sessions) {
        struct fetch_session *other = RIA_CONTAINER(it, struct fetch_session, link);
        if (set->wish_count < FETCH_WISHES_MAX) {
            break;
        }
        if (other != session && other->request == NULL) {
            fetch_session_forget(other);
        }
    }
    return set->wish_count < FETCH_WISHES_MAX;
}

ria_err fetch_session_wish(
    struct fetch_session *session, const struct partition_id *id, struct fetch_wish **out_wish
)
{
    struct fetch_wish *wish = fetch_session_find(session, id);

    if (wish == NULL) {
        if (!make_room(session)) {
            return RIA_ERR_BUSY;
        }
        wish = calloc(1, sizeof(*wish));
        if (wish == NULL) {
            return RIA_ERR_NOMEM;
        }
        wish->session = session;
        wish->id = *id;
        ria_list_init(&wish->link);
        if (ria_map_put(&session->wishes, &wish->id, sizeof(wish->id), wish) != RIA_OK) {
            free(wish);
            return RIA_ERR_NOMEM;
        }
        session->set->wish_count++;
    }
    make_ready(wish);
    *out_wish = wish;
    return RIA_OK;
}

void fetch_wish_wait(struct fetch_wish *wish, struct ria_list *list)
{
    leave_list(wish);
    ria_list_push_back(list, &wish->link);
}

void fetch_wish_free(struct fetch_wish *wish)
{
    struct fetch_session *session = wish->session;

    leave_list(wish);
    (void)ria_map_remove(&session->wishes, &wish->id, sizeof(wish->id));
    RIA_ASSERT(session->set->wish_count > 0);
    session->set->wish_count--;
    free(wish);
}

void fetch_wishes_wake(struct ria_list *list, int64_t offset)
{
    RIA_LIST_FOREACH (it, list) {
        struct fetch_wish *wish = RIA_CONTAINER(it, struct fetch_wish, link);
        if (wish->offset < offset) {
            make_ready(wish);
        }
    }
}

/* ---- sessions ---- */

static void drop_wishes(struct fetch_session *session)
{
    size_t cursor = 0;
    struct fetch_wish *wish = NULL;

    while ((wish = ria_map_next(&session->wishes, &cursor)) != NULL) {
        leave_list(wish);
        session->set->wish_count--;
        free(wish);
    }
    ria_map_fini(&session->wishes);
    ria_map_init(&session->wishes);
}

void fetch_session_forget(struct fetch_session *session)
{
    struct fetch_sessions *set = session->set;

    RIA_ASSERT(session->request == NULL);

    drop_wishes(session);
    ria_map_fini(&session->wishes);
    ria_timer_stop(set->env->timers, &session->timer);
    (void)ria_map_remove(&set->by_id, &session->id, sizeof(session->id));
    ria_list_remove(&session->link);
    ria_list_remove(&session->ready_link);
    set->count--;
    free(session);
}

static void on_timer(struct ria_timer *timer, void *arg)
{
    struct fetch_session *session = arg;

    (void)timer;
    if (session->request != NULL) {
        session->set->answer(session->set->arg, session, FETCH_NOTHING);
    } else {
        fetch_session_forget(session);
    }
}

static void start_timer(struct fetch_session *session, uint32_t ms)
{
    ria_timer_start(session->set->env->timers, &session->timer, (int64_t)ms * 1000);
}

static ria_err
open_session(struct fetch_sessions *set, int64_t id, struct fetch_session **out_session)
{
    RIA_LIST_FOREACH (it, &set->sessions) {
        struct fetch_session *other = RIA_CONTAINER(it, struct fetch_session, link);
        if (set->count < FETCH_SESSIONS_MAX) {
            break;
        }
        if (other->request == NULL) {
            fetch_session_forget(other);
        }
    }
    if (set->count >= FETCH_SESSIONS_MAX) {
        return RIA_ERR_BUSY;
    }
    struct fetch_session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        return RIA_ERR_NOMEM;
    }
    session->set = set;
    session->id = id;
    if (ria_map_put(&set->by_id, &session->id, sizeof(session->id), session) != RIA_OK) {
        free(session);
        return RIA_ERR_NOMEM;
    }
    ria_map_init(&session->wishes);
    ria_list_init(&session->ready);
    ria_list_init(&session->ready_link);
    ria_list_init(&session->link);
    ria_timer_init(&session->timer, on_timer, session);
    set->count++;
    *out_session = session;
    return RIA_OK;
}

/* Is the fetch with this number the session's next? */
static ria_err check_number(const struct fetch_session *session, int64_t number, bool is_full)
{
    if (session == NULL) {
        return is_full ? RIA_OK : RIA_ERR_NOT_FOUND;
    }
    if (number <= session->number) {
        return RIA_ERR_CONFLICT;
    }
    return is_full || number == session->number + 1 ? RIA_OK : RIA_ERR_NOT_FOUND;
}

ria_err fetch_sessions_take(
    struct fetch_sessions *set,
    int64_t id,
    int64_t number,
    bool is_full,
    struct fetch_session **out_session
)
{
    struct fetch_session *session = ria_map_get(&set->by_id, &id, sizeof(id));

    RIA_TRY(check_number(session, number, is_full));
    if (session == NULL) {
        RIA_TRY(open_session(set, id, &session));
    }
    if (session->request != NULL) {
        set->answer(set->arg, session, FETCH_NOTHING);
    }
    if (is_full) {
        drop_wishes(session);
    }
    session->number = number;
    ria_list_remove(&session->link);
    ria_list_push_back(&set->sessions, &session->link);
    start_timer(session, FETCH_SESSION_IDLE_MS);
    *out_session = session;
    return RIA_OK;
}

void fetch_session_park(
    struct fetch_session *session,
    struct ria_rpc_request *request,
    int32_t size_max,
    uint32_t wait_ms
)
{
    RIA_ASSERT(session->request == NULL);
    RIA_ASSERT(wait_ms > 0);

    session->request = request;
    session->set->parked_count++;
    session->size_max = size_max;
    start_timer(session, wait_ms);
    if (session->ready_count > 0) {
        ria_list_push_back(&session->set->ready, &session->ready_link);
        session->set->on_ready(session->set->arg);
    }
}

struct ria_rpc_request *fetch_session_unpark(struct fetch_session *session)
{
    struct ria_rpc_request *request = session->request;

    RIA_ASSERT(request != NULL);

    session->request = NULL;
    session->set->parked_count--;
    ria_list_remove(&session->ready_link);
    start_timer(session, FETCH_SESSION_IDLE_MS);
    return request;
}

void fetch_sessions_flush(struct fetch_sessions *set)
{
    struct ria_list *node = NULL;

    while ((node = ria_list_pop_front(&set->ready)) != NULL) {
        set->answer(set->arg, RIA_CONTAINER(node, struct fetch_session, ready_link), FETCH_READY);
    }
}

void fetch_sessions_close(struct fetch_sessions *set)
{
    while (!ria_list_is_empty(&set->sessions)) {
        struct fetch_session *session =
            RIA_CONTAINER(set->sessions.next, struct fetch_session, link);
        if (session->request != NULL) {
            set->answer(set->arg, session, FETCH_NOTHING);
        }
        fetch_session_forget(session);
    }
}

void fetch_sessions_check(const struct fetch_sessions *set)
{
    size_t at = 0;
    size_t wishes = 0;
    const struct fetch_session *session = NULL;

    RIA_ASSERT(set->by_id.count == set->count);
    RIA_ASSERT(set->count <= FETCH_SESSIONS_MAX);
    while ((session = ria_map_next(&set->by_id, &at)) != NULL) {
        size_t cursor = 0;
        uint32_t ready = 0;
        const struct fetch_wish *wish = NULL;
        while ((wish = ria_map_next(&session->wishes, &cursor)) != NULL) {
            RIA_ASSERT(wish->session == session);
            RIA_ASSERT(ria_list_is_linked(&wish->link));
            ready += wish->is_ready ? 1 : 0;
        }
        RIA_ASSERT(ready == session->ready_count);
        RIA_ASSERT(
            session->request == NULL || ready == 0 || ria_list_is_linked(&session->ready_link)
        );
        wishes += session->wishes.count;
    }
    RIA_ASSERT(wishes == set->wish_count);
}
