/* Contexts with a real server, for tests/upcall/c_programs.rs: session SERVICE CHANNEL threads|fork|poll. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 16
#define LIMIT_MS 60000

static lgss_security *security;

static lgss_context *look_up(void)
{
    lgss_context *context;
    GOOD(lgss_lookup(security, LIMIT_MS, &context, &error));
    CHECK(lgss_context_key(context) > 0 && lgss_context_principal(context) != NULL);
    return context;
}

struct turn {
    pthread_t thread;
    lgss_context *context;
    unsigned char token[64];
};

static void *sign_once(void *argument)
{
    struct turn *turn = (struct turn *)argument;
    size_t size = sizeof turn->token;
    turn->context = look_up();
    GOOD(lgss_sign(turn->context, "message", 7, turn->token, &size, &error));
    return NULL;
}

static void threads(void)
{
    static struct turn turns[THREADS];
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_create(&turns[at].thread, NULL, sign_once, &turns[at]) == 0);
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_join(turns[at].thread, NULL) == 0);
    for (int at = 0; at < THREADS; at++) {
        CHECK(lgss_context_is(turns[0].context, turns[at].context) == 1);
        for (int other = 0; other < at; other++)
            CHECK(memcmp(turns[at].token + 8, turns[other].token + 8, 8) != 0);
    }
    for (int at = 0; at < THREADS; at++)
        lgss_context_free(turns[at].context);
    printf("%d threads, 1 context, %d numbers\n", THREADS, THREADS);
}

static void forks(void)
{
    lgss_context *context = look_up();
    unsigned char token[200];
    size_t size = sizeof token;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int inherited = lgss_sign(context, "message", 7, token, &size, NULL);
        lgss_context *own = look_up();
        CHECK(lgss_context_key(own) != lgss_context_key(context));
        size = sizeof token;
        GOOD(lgss_seal(own, "message", 7, token, &size, &error));
        lgss_context_free(own);
        lgss_context_free(context);
        lgss_security_free(security);
        printf("child: inherited: %d; has its own\n", inherited);
        fflush(stdout);
        raise(SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* The child has given back what is not its own. */
    GOOD(lgss_context_validate(context, &error));
    GOOD(lgss_sign(context, "message", 7, token, &size, &error));
    lgss_context_free(context);
    printf("parent: goes on\n");
}

static lgss_context *await_readable(lgss_pending *pending)
{
    lgss_context *context;
    struct pollfd polled;
    memset(&polled, 0, sizeof polled);
    polled.fd = lgss_pending_fd(pending);
    polled.events = POLLIN;
    CHECK(poll(&polled, 1, LIMIT_MS) == 1 && (polled.revents & POLLIN));
    GOOD(lgss_pending_result(pending, &context, &error));
    lgss_pending_free(pending);
    return context;
}

static void event_loop(void)
{
    lgss_context *first, *second, *third, *fourth;
    lgss_pending *pending;
    size_t flushed;
    GOOD(lgss_start(security, &first, &pending, &error));
    CHECK(first == NULL && lgss_pending_result(pending, &first, NULL) == LGSS_EAGAIN);
    first = await_readable(pending);
    GOOD(lgss_start(security, &second, &pending, &error));
    CHECK(pending == NULL && lgss_context_is(first, second) == 1);
    lgss_context_free(second);
    GOOD(lgss_refresh(security, &pending, &error));
    second = await_readable(pending);
    CHECK(lgss_context_key(second) != lgss_context_key(first));
    GOOD(lgss_context_validate(first, &error));
    lgss_context_free(first);
    GOOD(lgss_flush(security, LGSS_FORCED, &flushed, &error));
    CHECK(flushed == 1);
    REFUSED(LGSS_EDEAD, lgss_context_validate(second, &error));
    third = look_up();
    CHECK(lgss_context_is(third, second) == 0);
    lgss_context_free(second);
    GOOD(lgss_replace(security, third, -1, &fourth, &error));
    CHECK(lgss_context_is(fourth, third) == 0);
    /* Who has it may use it to the end of its work. */
    GOOD(lgss_context_validate(third, &error));
    lgss_context_free(third);
    lgss_context_free(fourth);
    printf("waited, at once, refreshed, flushed, replaced\n");
}

int main(int argc, char **argv)
{
    lgss_request *request;
    CHECK(argc == 4);
    GOOD(lgss_request_new(argv[1], argv[2], &request, &error));
    GOOD(lgss_request_set_level(request, LGSS_LEVEL_PRIVACY, &error));
    GOOD(lgss_security_new(request, LGSS_OWN, &security, &error));
    lgss_request_free(request);
    if (strcmp(argv[3], "threads") == 0)
        threads();
    else if (strcmp(argv[3], "fork") == 0)
        forks();
    else
        event_loop();
    lgss_security_free(security);
    return 0;
}
