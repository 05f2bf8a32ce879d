/*
 * An acceptor of MIT Kerberos, for tests/upcall/support/acceptor.rs.
 *
 * With the default keytab it answers each line, the first token of an initiator in hex, with the line
 *
 *     MAJOR MINOR TOKEN MIC
 *
 * The statuses are in hex, an empty token is "-". MIC, if there is a context, signs the sequence window 32 as four
 * bytes.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(const char *hex);
static gss_buffer_desc from_hex(const char *hex);
static void print_hex(const gss_buffer_desc *bytes);

int main(void)
{
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0) {
        answer(line);
        fflush(stdout);
    }
    free(line);
    return 0;
}

static void answer(const char *hex)
{
    unsigned char window[] = {0, 0, 0, 32};
    gss_buffer_desc token = from_hex(hex), message = {sizeof(window), window};
    gss_buffer_desc reply = GSS_C_EMPTY_BUFFER, mic = GSS_C_EMPTY_BUFFER;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    OM_uint32 major, minor, ignored;

    major = gss_accept_sec_context(&minor, &context, GSS_C_NO_CREDENTIAL, &token, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL,
                                   &reply, NULL, NULL, NULL);
    if (major == GSS_S_COMPLETE && GSS_ERROR(gss_get_mic(&ignored, context, GSS_C_QOP_DEFAULT, &message, &mic)))
        exit(1);
    printf("%x %x ", major, minor);
    print_hex(&reply);
    printf(" ");
    print_hex(&mic);
    printf("\n");
    gss_delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
    gss_release_buffer(&ignored, &reply);
    gss_release_buffer(&ignored, &mic);
    free(token.value);
}

static gss_buffer_desc from_hex(const char *hex)
{
    gss_buffer_desc bytes = {strspn(hex, "0123456789abcdef") / 2, NULL};
    unsigned char *place = malloc(bytes.length + 1);

    if (place == NULL)
        exit(1);
    bytes.value = place;
    for (size_t i = 0; i < bytes.length; i++) {
        if (sscanf(hex + 2 * i, "%2hhx", &place[i]) != 1)
            exit(2);
    }
    return bytes;
}

static void print_hex(const gss_buffer_desc *bytes)
{
    const unsigned char *byte = bytes->value;

    if (bytes->length == 0)
        printf("-");
    for (size_t i = 0; i < bytes->length; i++)
        printf("%02x", byte[i]);
}
