/*
 * Requests a context, waits for it in poll(2), signs and encrypts a message, and prints how long the results are. A failure is said in words.
 *
 *   cc -o sign sign.c $(pkg-config --cflags --libs lgss)
 *   ./sign nfs@srv.example.com rpc:srv.example.com:2049,100003,4
 */
#include <lgss.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 60000

static int fail(const char *what, lgss_error *error)
{
    fprintf(stderr, "sign: %s: %s\n", what, lgss_error_cause(error));
    if (*lgss_error_detail(error))
        fprintf(stderr, "  detail: %s\n", lgss_error_detail(error));
    if (*lgss_error_remedy(error))
        fprintf(stderr, "  try:    %s\n", lgss_error_remedy(error));
    lgss_error_free(error);
    return 1;
}

static int new_security(const char *service, const char *channel, lgss_security **security, lgss_error **error)
{
    lgss_request *request;
    int code = lgss_request_new(service, channel, &request, error);
    if (code == 0)
        code = lgss_request_set_level(request, LGSS_LEVEL_PRIVACY, error);
    if (code == 0)
        code = lgss_security_new(request, LGSS_OWN, security, error);
    lgss_request_free(request);
    return code;
}

/* A program with an event loop adds the descriptor to its own. */
static int await_context(const lgss_security *security, lgss_context **context, lgss_error **error)
{
    lgss_pending *pending;
    int code = lgss_start(security, context, &pending, error);
    if (code != 0 || *context)
        return code;
    struct pollfd polled = {.fd = lgss_pending_fd(pending), .events = POLLIN};
    poll(&polled, 1, LIMIT_MS);
    code = lgss_pending_result(pending, context, error);
    lgss_pending_free(pending);
    return code;
}

static int use(const lgss_context *context, const char *message, lgss_error **error)
{
    size_t length = strlen(message), signature_size = lgss_mic_size(context);
    size_t sealed_size = lgss_sealed_size(context, length);
    void *signature = malloc(signature_size), *sealed = malloc(sealed_size);
    char line[512];
    int code = signature && sealed ? 0 : LGSS_EOTHER;
    if (code == 0)
        code = lgss_sign(context, message, length, signature, &signature_size, error);
    if (code == 0)
        code = lgss_seal(context, message, length, sealed, &sealed_size, error);
    if (code == 0) {
        lgss_context_display(context, line, sizeof line);
        printf("%s\n", line);
        printf("%zu bytes of message, %zu bytes of signature, %zu bytes encrypted\n", length, signature_size, sealed_size);
    }
    free(signature);
    free(sealed);
    return code;
}

int main(int argc, char **argv)
{
    lgss_security *security = NULL;
    lgss_context *context = NULL;
    lgss_error *error = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: sign SERVICE@HOST rpc:HOST:PORT,PROGRAM,VERSION\n");
        return 2;
    }
    int status = 0;
    if (new_security(argv[1], argv[2], &security, &error) != 0)
        status = fail("request", error);
    else if (await_context(security, &context, &error) != 0)
        status = fail("no context", error);
    else if (use(context, "a message", &error) != 0)
        status = fail("no protection", error);
    lgss_context_free(context);
    lgss_security_free(security);
    return status;
}
