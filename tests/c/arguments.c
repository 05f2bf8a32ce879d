/* NULL and senseless arguments are errors, whatever the function, and results are NULL then. */
#include "check.h"

static void of_requests(void)
{
    lgss_request *request = (lgss_request *)(size_t)1;
    REFUSED(LGSS_EINVAL, lgss_request_new(NULL, CHANNEL, &request, &error));
    CHECK(request == NULL);
    REFUSED(LGSS_EINVAL, lgss_request_new(SERVICE, NULL, &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new(SERVICE, CHANNEL, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new("", CHANNEL, &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new("nfs", CHANNEL, &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new("nfs@\xff", CHANNEL, &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new("nfs@srv;level=p", CHANNEL, &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new(SERVICE, "rpc:srv:0,1,1", &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_new(SERVICE, "rpc:srv:2049,1,1,1", &request, &error));
    CHECK(lgss_request_new(NULL, NULL, NULL, NULL) == LGSS_EINVAL);

    REFUSED(LGSS_EINVAL, lgss_request_set_level(NULL, LGSS_LEVEL_PRIVACY, &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_principal(NULL, "alice@R", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_cache(NULL, "KCM:", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_instance(NULL, "1", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_ttl(NULL, 1, &error));
    lgss_request_free(NULL);

    GOOD(lgss_request_new(SERVICE, "rpc:[2001:db8::1]:2049,100003,4", &request, &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_level(request, 4, &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_level(request, -1, &error));
    GOOD(lgss_request_set_level(request, LGSS_LEVEL_PRIVACY, &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_principal(request, "", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_principal(request, "a\nb@R", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_cache(request, "\xc3", &error));
    REFUSED(LGSS_EINVAL, lgss_request_set_instance(request, "\x80", &error));
    GOOD(lgss_request_set_principal(request, "alice@R", &error));
    GOOD(lgss_request_set_principal(request, NULL, &error));
    GOOD(lgss_request_set_cache(request, "KCM:", &error));
    GOOD(lgss_request_set_cache(request, NULL, &error));
    GOOD(lgss_request_set_instance(request, "1", &error));
    GOOD(lgss_request_set_instance(request, NULL, &error));
    GOOD(lgss_request_set_ttl(request, UINT32_MAX, &error));
    GOOD(lgss_request_set_ttl(request, 0, &error));

    lgss_security *security = (lgss_security *)(size_t)1;
    REFUSED(LGSS_EINVAL, lgss_security_new(NULL, LGSS_OWN, &security, &error));
    CHECK(security == NULL);
    REFUSED(LGSS_EINVAL, lgss_security_new(request, 2, &security, &error));
    REFUSED(LGSS_EINVAL, lgss_security_new(request, LGSS_OWN, NULL, &error));
    GOOD(lgss_security_new(request, LGSS_SHARED, &security, &error));
    lgss_security_free(security);
    lgss_security_free(NULL);
    lgss_request_free(request);
}

static void of_lookups(lgss_security *security)
{
    lgss_context *context = (lgss_context *)(size_t)1;
    lgss_pending *pending = (lgss_pending *)(size_t)1;
    lgss_context *own = new_context(security, 18);
    REFUSED(LGSS_EINVAL, lgss_lookup(NULL, 0, &context, &error));
    CHECK(context == NULL);
    REFUSED(LGSS_EINVAL, lgss_lookup(security, 0, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_lookup(security, -2, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_start(NULL, &context, &pending, &error));
    CHECK(pending == NULL);
    REFUSED(LGSS_EINVAL, lgss_start(security, NULL, &pending, &error));
    REFUSED(LGSS_EINVAL, lgss_start(security, &context, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_refresh(NULL, &pending, &error));
    REFUSED(LGSS_EINVAL, lgss_refresh(security, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_replace(NULL, own, 0, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_replace(security, NULL, 0, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_replace(security, own, 0, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_replace(security, own, -2, &context, &error));
    /* None of them has ended it. */
    GOOD(lgss_context_validate(own, &error));
    lgss_context_free(own);

    CHECK(lgss_pending_fd(NULL) == LGSS_EINVAL);
    REFUSED(LGSS_EINVAL, lgss_pending_result(NULL, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_pending_wait(NULL, 0, &context, &error));
    lgss_pending_free(NULL);
    REFUSED(LGSS_EINVAL, lgss_flush(security, 2, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_flush_owner(security, 0, -1, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_flush_service(security, NULL, LGSS_FORCED, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_flush_service(security, "nobody", LGSS_FORCED, NULL, &error));
    size_t flushed = 1;
    GOOD(lgss_flush(NULL, LGSS_FORCED, &flushed, &error));
    GOOD(lgss_flush_owner(security, 0, LGSS_GRACEFUL, NULL, &error));
    GOOD(lgss_flush_service(security, SERVICE, LGSS_FORCED, &flushed, &error));
    CHECK(flushed == 0 && lgss_gc() == 0);
}

static void of_contexts(lgss_security *security)
{
    size_t size = 1;
    char line[8];
    CHECK(lgss_context_ref(NULL) == NULL);
    lgss_context_free(NULL);
    REFUSED(LGSS_EINVAL, lgss_context_validate(NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_context_die(NULL, &error));
    CHECK(lgss_context_matches(NULL, 0, SERVICE) == LGSS_EINVAL);
    CHECK(lgss_context_is(NULL, NULL) == LGSS_EINVAL);
    CHECK(lgss_context_display(NULL, line, sizeof line) == LGSS_EINVAL);
    CHECK(lgss_context_principal(NULL) == NULL && lgss_context_service(NULL) == NULL);
    CHECK(lgss_context_unmet(NULL) == NULL && lgss_context_owner(NULL) == UINT32_MAX);
    CHECK(lgss_context_endtime(NULL) == 0 && lgss_context_key(NULL) == 0);
    CHECK(lgss_context_handle(NULL, &size) == NULL && size == 0);
    CHECK(lgss_context_handle(NULL, NULL) == NULL);
    CHECK(lgss_context_window(NULL) == 0 && lgss_context_enctype(NULL) == 0);
    CHECK(lgss_mic_size(NULL) == 0 && lgss_sealed_size(NULL, 1) == 0);
    CHECK(lgss_protected_size(NULL, 1) == 0 && lgss_unsealed_size(NULL, line, 1) == 0);
    lgss_bulk_sizes(NULL, &size, NULL);
    CHECK(size == 0);

    lgss_context *context = new_context(security, 17);
    CHECK(lgss_context_matches(context, 0, NULL) == LGSS_EINVAL);
    CHECK(lgss_context_matches(context, 0, "nfs") == LGSS_EINVAL);
    CHECK(lgss_context_is(context, NULL) == LGSS_EINVAL);
    CHECK(lgss_context_display(context, NULL, 1) == LGSS_EINVAL);
    CHECK(lgss_sealed_size(context, SIZE_MAX) == 0 && lgss_protected_size(context, SIZE_MAX - 20) == 0);
    CHECK(lgss_unsealed_size(context, NULL, 100) == 0 && lgss_unsealed_size(context, NULL, 0) == 0);
    lgss_bulk_sizes(context, NULL, NULL);
    lgss_context_free(context);
}

static void of_accepted_contexts(lgss_security *security)
{
    static unsigned char zeros[32];
    lgss_context *context;
    lgss_accepted good = accepted_of(18), bad;
    REFUSED(LGSS_EINVAL, lgss_install_reverse(NULL, &good, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_install_reverse(security, NULL, &context, &error));
    REFUSED(LGSS_EINVAL, lgss_install_reverse(security, &good, NULL, &error));
#define BAD(member, value)                                                                         \
    bad = good;                                                                                    \
    bad.member = (value);                                                                          \
    REFUSED(LGSS_EINVAL, lgss_install_reverse(security, &bad, &context, &error));                  \
    CHECK(context == NULL)
    BAD(size, 0);
    BAD(size, sizeof bad - 1);
    BAD(key, NULL);
    BAD(key, zeros);
    BAD(key_size, 0);
    BAD(key_size, 31);
    BAD(key_size, SIZE_MAX);
    BAD(handle, NULL);
    BAD(handle_size, 0);
    BAD(handle_size, (size_t)-1);
    BAD(enctype, 23);
    BAD(key_origin, 2);
    BAD(window, 0);
    /* A later version's structure is longer. */
    bad = good;
    bad.size = sizeof bad + 8;
    GOOD(lgss_install_reverse(security, &bad, &context, &error));
    lgss_context_free(context);
}

static void of_errors(void)
{
    CHECK(lgss_error_code(NULL) == 0 && lgss_error_errno(NULL) == 0 && lgss_error_gss_major(NULL) == 0);
    CHECK(!*lgss_error_message(NULL) && !*lgss_error_stage(NULL) && !*lgss_error_cause(NULL));
    CHECK(!*lgss_error_detail(NULL) && !*lgss_error_remedy(NULL));
    lgss_error_free(NULL);
    lgss_error *error = (lgss_error *)(size_t)1;
    CHECK(lgss_request_new(NULL, NULL, NULL, &error) == LGSS_EINVAL);
    CHECK(strcmp(lgss_error_message(error), "argument request: it is NULL") == 0);
    CHECK(!*lgss_error_stage(error) && !*lgss_error_detail(error) && !*lgss_error_remedy(error));
    lgss_error_free(error);
}

int main(void)
{
    CHECK(strcmp(lgss_version(), "0.1.0") == 0);
    lgss_security *security = new_security();
    of_requests();
    of_lookups(security);
    of_contexts(security);
    of_accepted_contexts(security);
    of_errors();
    lgss_security_free(security);
    return 0;
}
