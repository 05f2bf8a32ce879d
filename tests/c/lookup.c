/* Lookups that fail: nobody serves this service, whether an upcall is installed here or not. Waiting, poll(2), threads, forks. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static lgss_security *security;

static int is_a_failure(int code)
{
    return code == LGSS_EREQUEST || code == LGSS_EFAILED;
}

static void a_thread_waits_and_learns_why(void)
{
    lgss_context *context = (lgss_context *)(size_t)1;
    lgss_error *error;
    int code = lgss_lookup(security, -1, &context, &error);
    CHECK(is_a_failure(code) && context == NULL && lgss_error_code(error) == code);
    CHECK(lgss_error_errno(error) != 0 && *lgss_error_cause(error));
    lgss_error_free(error);
    /* Remembered. */
    CHECK(lgss_lookup(security, -1, &context, NULL) == code);
    GOOD(lgss_flush(security, LGSS_GRACEFUL, NULL, &error));
}

/* AddressSanitizer's allocator (GCC 12) stays locked in the child if a thread was in it at the fork: it is not tried there. */
#ifdef __SANITIZE_ADDRESS__
static void a_child_asks_for_itself(lgss_pending *pending)
{
    (void)pending;
}
#else
static void a_child_asks_for_itself(lgss_pending *pending)
{
    lgss_context *context;
    pid_t child = fork();
    if (child == 0) {
        REFUSED(LGSS_EFORKED, lgss_pending_result(pending, &context, &error));
        REFUSED(LGSS_EFORKED, lgss_pending_wait(pending, -1, &context, &error));
        CHECK(lgss_pending_fd(pending) == LGSS_EFORKED);
        lgss_pending_free(pending);
        /* It asks for itself. */
        CHECK(is_a_failure(lgss_lookup(security, 30000, &context, NULL)));
        /* Not by exit: what the parent's threads had on their stacks would count as lost. */
        raise(SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
#endif

static void an_event_loop_is_told(void)
{
    lgss_context *context;
    lgss_pending *pending;
    GOOD(lgss_start(security, &context, &pending, &error));
    CHECK(context == NULL && pending != NULL);
    int code = lgss_pending_result(pending, &context, NULL);
    CHECK(code == LGSS_EAGAIN || is_a_failure(code));
    CHECK(is_a_failure(code) || lgss_pending_wait(pending, 0, &context, NULL) != 0);
    a_child_asks_for_itself(pending);
    struct pollfd polled;
    memset(&polled, 0, sizeof polled);
    polled.fd = lgss_pending_fd(pending);
    polled.events = POLLIN;
    CHECK(polled.fd >= 0 && poll(&polled, 1, 30000) == 1 && (polled.revents & POLLIN));
    lgss_error *error;
    code = lgss_pending_result(pending, &context, &error);
    CHECK(is_a_failure(code) && context == NULL && *lgss_error_message(error));
    lgss_error_free(error);
    CHECK(lgss_pending_wait(pending, -1, &context, NULL) == code);
    lgss_pending_free(pending);
    GOOD(lgss_flush(NULL, LGSS_FORCED, NULL, &error));
}

static void a_negotiation_may_be_freed_while_it_goes_on(void)
{
    lgss_context *context;
    lgss_pending *pending;
    GOOD(lgss_refresh(security, &pending, &error));
    lgss_pending_free(pending);
    CHECK(lgss_lookup(security, 30000, &context, NULL) != 0);
    GOOD(lgss_flush(security, LGSS_FORCED, NULL, &error));
}

static void *look_up(void *argument)
{
    lgss_context *context;
    (void)argument;
    CHECK(is_a_failure(lgss_lookup(security, 30000, &context, NULL)));
    return NULL;
}

static void sixteen_threads_are_told(void)
{
    pthread_t threads[16];
    for (int at = 0; at < 16; at++)
        CHECK(pthread_create(&threads[at], NULL, look_up, NULL) == 0);
    for (int at = 0; at < 16; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    lgss_gc();
}

static void what_cannot_be_sent_is_an_error_of_the_lookup(void)
{
    lgss_request *request;
    lgss_security *other;
    lgss_context *context;
    GOOD(lgss_request_new(SERVICE, CHANNEL, &request, &error));
    GOOD(lgss_request_set_cache(request, "FILE:/x;ttl=1", &error));
    GOOD(lgss_security_new(request, LGSS_OWN, &other, &error));
    REFUSED(LGSS_EREQUEST, lgss_lookup(other, -1, &context, &error));
    lgss_security_free(other);
    lgss_request_free(request);
}

int main(void)
{
    security = new_security();
    a_thread_waits_and_learns_why();
    an_event_loop_is_told();
    a_negotiation_may_be_freed_while_it_goes_on();
    sixteen_threads_are_told();
    what_cannot_be_sent_is_an_error_of_the_lookup();
    lgss_security_free(security);
    return 0;
}
