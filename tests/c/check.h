/* Checks that end the program, and what several tests need. */
#ifndef CHECK_H
#define CHECK_H

#include <lgss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

static inline void check(int holds, const char *condition, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
        exit(1);
    }
}

/* The call fails with this code, and puts it into words. */
#define REFUSED(wanted, call)                                                                      \
    do {                                                                                           \
        lgss_error *error = NULL;                                                                  \
        int code_ = (call);                                                                        \
        if (code_ != (wanted))                                                                     \
            fprintf(stderr, "%d: %s\n", code_, lgss_error_message(error));                         \
        check(code_ == (wanted), #call, __FILE__, __LINE__);                                       \
        check(lgss_error_code(error) == (wanted), "the error has the code", __FILE__, __LINE__);   \
        check(strlen(lgss_error_message(error)) > 0, "it has words", __FILE__, __LINE__);          \
        lgss_error_free(error);                                                                    \
    } while (0)

/* The call succeeds, and there is no error. */
#define GOOD(call)                                                                                 \
    do {                                                                                           \
        lgss_error *error = NULL;                                                                  \
        int code_ = (call);                                                                        \
        if (code_ != 0)                                                                            \
            fprintf(stderr, "%d: %s\n", code_, lgss_error_message(error));                         \
        check(code_ == 0 && error == NULL, #call, __FILE__, __LINE__);                             \
    } while (0)

static const char SERVICE[] = "nfs@srv.example.test";
static const char CHANNEL[] = "rpc:srv.example.test:2049,100003,4";

static inline lgss_security *new_security(void)
{
    lgss_request *request;
    lgss_security *security;
    GOOD(lgss_request_new(SERVICE, CHANNEL, &request, &error));
    GOOD(lgss_security_new(request, LGSS_OWN, &security, &error));
    lgss_request_free(request);
    return security;
}

static inline size_t key_size(unsigned enctype)
{
    return enctype == 17 || enctype == 19 ? 16 : 32;
}

/* What a server has accepted, with a key that each test knows: the enctype's number in every byte. */
static inline lgss_accepted accepted_of(unsigned enctype)
{
    static unsigned char key[32];
    lgss_accepted accepted;
    memset(key, (int)enctype, sizeof key);
    memset(&accepted, 0, sizeof accepted);
    accepted.size = sizeof accepted;
    accepted.key = key;
    accepted.key_size = key_size(enctype);
    accepted.handle = "handle";
    accepted.handle_size = 6;
    accepted.send_sequence = 7;
    accepted.enctype = enctype;
    accepted.key_origin = LGSS_SUBKEY_OF_ACCEPTOR;
    accepted.window = 32;
    accepted.endtime = (uint32_t)time(NULL) + 3600;
    return accepted;
}

/* A context that needs neither kernel nor KDC. */
static inline lgss_context *new_context(const lgss_security *security, unsigned enctype)
{
    lgss_accepted accepted = accepted_of(enctype);
    lgss_context *context;
    GOOD(lgss_install_reverse(security, &accepted, &context, &error));
    return context;
}

#endif
