/* A context's life without a kernel's key: references, what is known of it, its end, other processes, other threads. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static lgss_security *security;

static void what_is_known_of_it(void)
{
    lgss_context *context = new_context(security, 20);
    char line[256], small[8];
    size_t size;
    CHECK(strcmp(lgss_context_service(context), SERVICE) == 0);
    CHECK(lgss_context_principal(context) == NULL && lgss_context_unmet(context) == NULL);
    CHECK(lgss_context_owner(context) == geteuid() && lgss_context_key(context) == 0);
    CHECK(lgss_context_endtime(context) > time(NULL) && lgss_context_window(context) == 32);
    CHECK(lgss_context_enctype(context) == 20);
    CHECK(memcmp(lgss_context_handle(context, &size), "handle", 6) == 0 && size == 6);
    CHECK(lgss_context_handle(context, NULL) != NULL);
    CHECK(lgss_context_matches(context, geteuid(), SERVICE) == 1);
    CHECK(lgss_context_matches(context, geteuid() + 1, SERVICE) == 0);
    CHECK(lgss_context_matches(context, geteuid(), "nfs@other.example.test") == 0);

    int length = lgss_context_display(context, line, sizeof line);
    CHECK(length == (int)strlen(line) && strstr(line, "nfs@srv.example.test for uid ") == line);
    CHECK(lgss_context_display(context, NULL, 0) == length);
    CHECK(lgss_context_display(context, small, sizeof small) == length && strcmp(small, "nfs@srv") == 0);
    CHECK(lgss_context_display(context, small, 1) == length && small[0] == 0);
    lgss_context_free(context);
}

static void references_are_counted(void)
{
    lgss_context *context = new_context(security, 18), *other = new_context(security, 18);
    CHECK(lgss_context_ref(context) == context);
    lgss_context_free(context);
    CHECK(lgss_context_is(context, context) == 1 && lgss_context_is(context, other) == 0);
    lgss_context_free(other);
    lgss_context_free(context);
}

static void after_its_end_nothing_works(void)
{
    unsigned char token[64];
    size_t size = sizeof token;
    lgss_context *context = new_context(security, 18);
    GOOD(lgss_context_die(context, &error));
    REFUSED(LGSS_EDEAD, lgss_context_validate(context, &error));
    REFUSED(LGSS_EDEAD, lgss_sign(context, "m", 1, token, &size, &error));
    REFUSED(LGSS_EDEAD, lgss_verify(context, "m", 1, token, sizeof token, NULL, &error));
    CHECK(lgss_context_matches(context, geteuid(), SERVICE) == 0);
    lgss_context_free(context);

    lgss_accepted accepted = accepted_of(18);
    accepted.endtime = 1;
    GOOD(lgss_install_reverse(security, &accepted, &context, &error));
    REFUSED(LGSS_EEXPIRED, lgss_sign(context, "m", 1, token, &size, &error));
    lgss_context_free(context);

    accepted = accepted_of(18);
    accepted.send_sequence = UINT64_MAX - 1;
    GOOD(lgss_install_reverse(security, &accepted, &context, &error));
    GOOD(lgss_sign(context, "m", 1, token, &size, &error));
    REFUSED(LGSS_EEXHAUSTED, lgss_sign(context, "m", 1, token, &size, &error));
    lgss_error *error;
    CHECK(lgss_sign(context, "m", 1, token, &size, &error) == LGSS_EEXHAUSTED);
    CHECK(strcmp(lgss_error_remedy(error), "look up a new one") == 0);
    CHECK(strcmp(lgss_error_cause(error), "the context has no numbers left") == 0);
    CHECK(lgss_error_gss_major(error) == 12u << 16);
    lgss_error_free(error);
    lgss_context_free(context);
}

static void a_child_may_not_use_it_and_may_free_everything(void)
{
    lgss_context *context = new_context(security, 18);
    lgss_request *request;
    GOOD(lgss_request_new(SERVICE, CHANNEL, &request, &error));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        unsigned char token[64];
        size_t size = sizeof token;
        REFUSED(LGSS_EFORKED, lgss_sign(context, "m", 1, token, &size, &error));
        REFUSED(LGSS_EFORKED, lgss_context_validate(context, &error));
        lgss_context *own = new_context(security, 18);
        GOOD(lgss_sign(own, "m", 1, token, &size, &error));
        lgss_context_free(own);
    } else {
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        GOOD(lgss_context_validate(context, &error));
    }
    lgss_request_free(request);
    lgss_context_free(context);
    if (child == 0) {
        lgss_security_free(security);
        exit(0);
    }
}

#define THREADS 16
#define EACH 200

static unsigned char seen[7 + THREADS * EACH];

static void *sign_often(void *argument)
{
    lgss_context *context = (lgss_context *)argument;
    for (int turn = 0; turn < EACH; turn++) {
        unsigned char token[64];
        size_t size = sizeof token;
        GOOD(lgss_sign(context, "m", 1, token, &size, &error));
        unsigned number = (unsigned)token[14] << 8 | token[15];
        CHECK(number >= 7 && number < sizeof seen);
        /* Nobody else writes there, unless the number comes twice. */
        CHECK(seen[number]++ == 0);
    }
    lgss_context_free(context);
    return NULL;
}

static void sixteen_threads_use_no_number_twice(void)
{
    pthread_t threads[THREADS];
    lgss_context *context = new_context(security, 18);
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_create(&threads[at], NULL, sign_often, lgss_context_ref(context)) == 0);
    lgss_context_free(context);
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    for (size_t number = 7; number < sizeof seen; number++)
        CHECK(seen[number] == 1);
}

int main(void)
{
    security = new_security();
    what_is_known_of_it();
    references_are_counted();
    after_its_end_nothing_works();
    a_child_may_not_use_it_and_may_free_everything();
    sixteen_threads_use_no_number_twice();
    lgss_security_free(security);
    return 0;
}
