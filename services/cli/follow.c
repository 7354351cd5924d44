#include "services/cli/follow.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    PATH_MAX_BYTES = 2048,
    NAME_ESCAPED_MAX = 800, /* 255 bytes, three characters each */
    PAUSE_MS_MIN = 100,
    PAUSE_MS_MAX = 2000,
    CALL_TIMEOUT_MS = 45 * 1000, /* more than a gateway waits for a leader, and for records */
    LAST_CALL_TIMEOUT_MS = 5000,
};

static void set_signals(int how)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(how, &set, NULL);
}

static bool stops(void *arg)
{
    return follow_is_stopped(arg);
}

bool follow_open(struct follow *follow, struct cli *cli)
{
    sigset_t set;

    *follow = (struct follow){.cli = cli, .pause_ms = PAUSE_MS_MIN};
    set_signals(SIG_BLOCK);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    follow->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (follow->signal_fd < 0) {
        (void)cli_fail("signals: %s", strerror(errno));
        return false;
    }
    http_client_limit(cli->client, CALL_TIMEOUT_MS, stops, follow);
    return true;
}

void follow_last_calls(struct follow *follow)
{
    (void)follow_is_stopped(follow); /* one that has come is taken */
    set_signals(SIG_UNBLOCK);
    http_client_limit(follow->cli->client, LAST_CALL_TIMEOUT_MS, NULL, NULL);
}

void follow_close(struct follow *follow)
{
    (void)close(follow->signal_fd);
}

void follow_leave(struct follow *follow, const char *group, const char *member)
{
    char path[PATH_MAX_BYTES];
    char escaped[2][NAME_ESCAPED_MAX];
    struct http_reply reply;

    http_escape(escaped[0], sizeof(escaped[0]), group);
    http_escape(escaped[1], sizeof(escaped[1]), member);
    (void)snprintf(path, sizeof(path), "/v1/groups/%s/members/%s", escaped[0], escaped[1]);
    http_reply_init(&reply);
    for (size_t i = 0; i < http_client_gateways(follow->cli->client); i++) {
        ria_err err =
            http_client_call(follow->cli->client, "DELETE", path, NULL, NULL, NULL, 0, &reply);
        if (err == RIA_OK && !follow_is_for_now(&reply)) {
            break;
        }
        http_client_next(follow->cli->client);
    }
    http_reply_fini(&reply);
}

/* The reader of a pipe or socket has gone. */
static bool is_unread(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

bool follow_is_stopped(struct follow *follow)
{
    struct signalfd_siginfo info;

    follow->is_stopped =
        read(follow->signal_fd, &info, sizeof(info)) > 0 || follow->is_stopped || is_unread();
    return follow->is_stopped;
}

bool follow_is_for_now(const struct http_reply *reply)
{
    return reply->status == 0 || reply->status == 429 || reply->status == 503;
}

void follow_answered(struct follow *follow)
{
    follow->pause_ms = PAUSE_MS_MIN;
    follow->was_answered = true;
    follow->is_told = false;
}

static void tell(struct follow *follow, const struct http_reply *reply)
{
    if (follow->is_told) {
        return;
    }
    follow->is_told = true;
    if (reply->error[0] != '\0' || reply->status == 200 || reply->status == 0) {
        (void)fprintf(
            stderr,
            "riacho: %s: %s; going on at another gateway, or when there is one\n",
            http_client_gateway(follow->cli->client),
            reply->error[0] != '\0' ? reply->error : "the stream has ended"
        );
    } else {
        (void)cli_fail_reply(reply);
    }
}

bool follow_again(struct follow *follow, const struct http_reply *reply)
{
    struct pollfd in = {.fd = follow->signal_fd, .events = POLLIN};

    if (follow_is_stopped(follow)) {
        return false;
    }
    tell(follow, reply);
    http_client_next(follow->cli->client);
    (void)poll(&in, 1, follow->pause_ms);
    follow->pause_ms = follow->pause_ms * 2 > PAUSE_MS_MAX ? PAUSE_MS_MAX : follow->pause_ms * 2;
    return !follow_is_stopped(follow);
}
