/*
 * MIT Kerberos for benches/tokens: a context with itself, and the time that its operations take.
 */
#define main token_peer
#include "../../tests/peers/token_peer.c"
#undef main

#include <time.h>

static struct end ends[2] = {{"initiator", GSS_C_NO_CONTEXT}, {"acceptor", GSS_C_NO_CONTEXT}};

/* A new context with this service, in place of an earlier one. */
void mit_start(const char *service)
{
    OM_uint32 minor, flags = GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG | GSS_C_MUTUAL_FLAG;

    gss_delete_sec_context(&minor, &ends[0].context, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, &ends[1].context, GSS_C_NO_BUFFER);
    establish(service, flags, &ends[0], &ends[1]);
}

static unsigned long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* Nanoseconds of so many operations on a message of this size: sign, verify, seal or unseal. */
unsigned long long mit_time(const char *operation, void *bytes, size_t size, unsigned times)
{
    gss_buffer_desc message = {size, bytes}, token, opened;
    OM_uint32 major, minor;
    unsigned long long begun;
    int sealed = operation[0] == 's' && operation[1] == 'e', unseal_it = operation[0] == 'u';

    if (unseal_it)
        require(gss_wrap(&minor, ends[0].context, 1, 0, &message, NULL, &token), minor, "gss_wrap");
    else
        require(gss_get_mic(&minor, ends[0].context, 0, &message, &token), minor, "gss_get_mic");
    begun = now();
    for (unsigned i = 0; i < times; i++) {
        if (unseal_it) {
            /* The token comes again and again, which is found out after it has been opened. */
            major = gss_unwrap(&minor, ends[1].context, &token, &opened, NULL, NULL);
            require(major, minor, "gss_unwrap");
            gss_release_buffer(&minor, &opened);
        } else if (operation[0] == 'v') {
            major = gss_verify_mic(&minor, ends[1].context, &message, &token, NULL);
            require(major, minor, "gss_verify_mic");
        } else {
            major = sealed ? gss_wrap(&minor, ends[0].context, 1, 0, &message, NULL, &opened)
                           : gss_get_mic(&minor, ends[0].context, 0, &message, &opened);
            require(major, minor, "gss_wrap or gss_get_mic");
            gss_release_buffer(&minor, &opened);
        }
    }
    begun = now() - begun;
    gss_release_buffer(&minor, &token);
    return begun;
}
