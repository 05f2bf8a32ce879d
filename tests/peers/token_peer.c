/*
 * MIT Kerberos as the other end of a context, for tests/tokens_mit.rs; Heimdal, too, with -DHEIMDAL.
 *
 *     token_peer SERVICE-PRINCIPAL mutual|one-way
 *
 * Makes a context with itself: the initiator from the default cache or client keytab, the acceptor from the default keytab.
 * Then it writes one line for each end,
 *
 *     END ENCTYPE acceptor-subkey|initiator SEND-SEQUENCE RECEIVE-SEQUENCE BASE-KEY
 *
 * and answers commands until its input ends; END is initiator or acceptor, messages and tokens are hex, "-" is empty:
 *
 *     sign END MESSAGE          -> TOKEN
 *     verify END MESSAGE TOKEN  -> MAJOR-STATUS in hex, 0 for a good token in order
 *     seal END MESSAGE          -> TOKEN, encrypted
 *     protect END MESSAGE       -> TOKEN, signed only
 *     unseal END TOKEN          -> MAJOR-STATUS sealed|signed MESSAGE
 *     seal-iov END MESSAGE      -> HEADER MESSAGE TRAILER, the message in two buffers, in place
 *     unseal-iov END HEADER MESSAGE TRAILER  -> MAJOR-STATUS sealed|signed MESSAGE
 */
#include <gssapi/gssapi.h>
#ifndef HEIMDAL
#include <gssapi/gssapi_ext.h>
#endif
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct end {
    const char *name;
    gss_ctx_id_t context;
};

static void establish(const char *service, OM_uint32 flags, struct end *initiator, struct end *acceptor);
static void describe(struct end *end);
static void answer(char *line, struct end ends[2]);
static void sign(gss_ctx_id_t context, const char *hex);
static void verify(gss_ctx_id_t context, const char *hex, const char *token_hex);
static void seal(gss_ctx_id_t context, const char *hex, int confidential);
static void unseal(gss_ctx_id_t context, const char *hex);
static void seal_iov(gss_ctx_id_t context, const char *hex);
static void unseal_iov(gss_ctx_id_t context, char *words[3]);
static struct end *find(struct end ends[2], const char *name);
static void require(OM_uint32 major, OM_uint32 minor, const char *call);
static gss_buffer_desc from_hex(const char *hex);
static void print_hex(const void *bytes, size_t length);

int main(int argc, char **argv)
{
    struct end ends[2] = {{"initiator", GSS_C_NO_CONTEXT}, {"acceptor", GSS_C_NO_CONTEXT}};
    OM_uint32 flags = GSS_C_INTEG_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG;
    char *line = NULL;
    size_t size = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: token_peer SERVICE-PRINCIPAL mutual|one-way\n");
        return 2;
    }
    if (strcmp(argv[2], "mutual") == 0)
        flags |= GSS_C_MUTUAL_FLAG;
    establish(argv[1], flags, &ends[0], &ends[1]);
    describe(&ends[0]);
    describe(&ends[1]);
    fflush(stdout);
    while (getline(&line, &size, stdin) > 0) {
        answer(line, ends);
        fflush(stdout);
    }
    free(line);
    return 0;
}

static void establish(const char *service, OM_uint32 flags, struct end *initiator, struct end *acceptor)
{
    gss_buffer_desc text = {strlen(service), (void *)service};
    gss_buffer_desc to_acceptor = GSS_C_EMPTY_BUFFER, to_initiator = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor, ours = GSS_S_CONTINUE_NEEDED, theirs = GSS_S_CONTINUE_NEEDED;
    gss_name_t target;

    major = gss_import_name(&minor, &text, GSS_KRB5_NT_PRINCIPAL_NAME, &target);
    require(major, minor, "gss_import_name");
    while (ours == GSS_S_CONTINUE_NEEDED || theirs == GSS_S_CONTINUE_NEEDED) {
        if (ours == GSS_S_CONTINUE_NEEDED) {
            gss_release_buffer(&minor, &to_acceptor);
            ours = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &initiator->context, target,
                                        (gss_OID)gss_mech_krb5, flags, 0, GSS_C_NO_CHANNEL_BINDINGS, &to_initiator,
                                        NULL, &to_acceptor, NULL, NULL);
            require(ours, minor, "gss_init_sec_context");
        }
        if (theirs == GSS_S_CONTINUE_NEEDED) {
            gss_release_buffer(&minor, &to_initiator);
            theirs = gss_accept_sec_context(&minor, &acceptor->context, GSS_C_NO_CREDENTIAL, &to_acceptor,
                                            GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &to_initiator, NULL, NULL, NULL);
            require(theirs, minor, "gss_accept_sec_context");
        }
    }
    gss_release_buffer(&minor, &to_acceptor);
    gss_release_buffer(&minor, &to_initiator);
    gss_release_name(&minor, &target);
}

/* Reading the key out of a context ends it, so this makes a copy: by one export and two imports. */
static void describe(struct end *end)
{
    gss_buffer_desc exported = GSS_C_EMPTY_BUFFER;
    gss_krb5_lucid_context_v1_t *lucid;
    gss_krb5_lucid_key_t *key;
    gss_ctx_id_t copy = GSS_C_NO_CONTEXT;
    OM_uint32 major, minor;
    void *result;

    major = gss_export_sec_context(&minor, &end->context, &exported);
    require(major, minor, "gss_export_sec_context");
    major = gss_import_sec_context(&minor, &exported, &end->context);
    require(major, minor, "gss_import_sec_context");
    major = gss_import_sec_context(&minor, &exported, &copy);
    require(major, minor, "gss_import_sec_context of the copy");
    gss_release_buffer(&minor, &exported);

    major = gss_krb5_export_lucid_sec_context(&minor, &copy, 1, &result);
    require(major, minor, "gss_krb5_export_lucid_sec_context");
    lucid = result;
    key = lucid->cfx_kd.have_acceptor_subkey ? &lucid->cfx_kd.acceptor_subkey : &lucid->cfx_kd.ctx_key;
    printf("%s %u %s %llu %llu ", end->name, key->type,
           lucid->cfx_kd.have_acceptor_subkey ? "acceptor-subkey" : "initiator",
           (unsigned long long)lucid->send_seq, (unsigned long long)lucid->recv_seq);
    print_hex(key->data, key->length);
    printf("\n");
    gss_krb5_free_lucid_sec_context(&minor, result);
}

static void answer(char *line, struct end ends[2])
{
    char *command = strtok(line, " \n"), *name = strtok(NULL, " \n"), *words[3] = {NULL, NULL, NULL};
    gss_ctx_id_t context;

    for (int i = 0; i < 3; i++)
        words[i] = strtok(NULL, " \n");
    if (command == NULL || name == NULL || words[0] == NULL) {
        fprintf(stderr, "token_peer: incomplete command\n");
        exit(2);
    }
    context = find(ends, name)->context;
    if (strcmp(command, "sign") == 0) {
        sign(context, words[0]);
    } else if (strcmp(command, "verify") == 0 && words[1] != NULL) {
        verify(context, words[0], words[1]);
    } else if (strcmp(command, "seal") == 0) {
        seal(context, words[0], 1);
    } else if (strcmp(command, "protect") == 0) {
        seal(context, words[0], 0);
    } else if (strcmp(command, "unseal") == 0) {
        unseal(context, words[0]);
    } else if (strcmp(command, "seal-iov") == 0) {
        seal_iov(context, words[0]);
    } else if (strcmp(command, "unseal-iov") == 0 && words[2] != NULL) {
        unseal_iov(context, words);
    } else {
        fprintf(stderr, "token_peer: unknown command %s\n", command);
        exit(2);
    }
}

static void sign(gss_ctx_id_t context, const char *hex)
{
    gss_buffer_desc message = from_hex(hex), token;
    OM_uint32 major, minor;

    major = gss_get_mic(&minor, context, GSS_C_QOP_DEFAULT, &message, &token);
    require(major, minor, "gss_get_mic");
    print_hex(token.value, token.length);
    printf("\n");
    gss_release_buffer(&minor, &token);
    free(message.value);
}

static void verify(gss_ctx_id_t context, const char *hex, const char *token_hex)
{
    gss_buffer_desc message = from_hex(hex), token = from_hex(token_hex);
    OM_uint32 minor;

    printf("%x\n", gss_verify_mic(&minor, context, &message, &token, NULL));
    free(token.value);
    free(message.value);
}

static void seal(gss_ctx_id_t context, const char *hex, int confidential)
{
    gss_buffer_desc message = from_hex(hex), token;
    OM_uint32 major, minor;

    major = gss_wrap(&minor, context, confidential, GSS_C_QOP_DEFAULT, &message, NULL, &token);
    require(major, minor, "gss_wrap");
    print_hex(token.value, token.length);
    printf("\n");
    gss_release_buffer(&minor, &token);
    free(message.value);
}

static void unseal(gss_ctx_id_t context, const char *hex)
{
    gss_buffer_desc token = from_hex(hex), message = GSS_C_EMPTY_BUFFER;
    OM_uint32 major, minor;
    int confidential = 0;

    major = gss_unwrap(&minor, context, &token, &message, &confidential, NULL);
    printf("%x %s ", major, confidential ? "sealed" : "signed");
    print_hex(message.value, message.length);
    printf("\n");
    gss_release_buffer(&minor, &message);
    free(token.value);
}

/* Header, two buffers, padding (which AES does not need) and trailer. */
static void describe_iov(gss_iov_buffer_desc iov[5], gss_buffer_desc message)
{
    size_t first = message.length / 3;

    memset(iov, 0, 5 * sizeof(*iov));
    iov[0].type = GSS_IOV_BUFFER_TYPE_HEADER;
    iov[1].type = iov[2].type = GSS_IOV_BUFFER_TYPE_DATA;
    iov[1].buffer.value = message.value;
    iov[1].buffer.length = first;
    iov[2].buffer.value = (char *)message.value + first;
    iov[2].buffer.length = message.length - first;
    iov[3].type = GSS_IOV_BUFFER_TYPE_PADDING;
    iov[4].type = GSS_IOV_BUFFER_TYPE_TRAILER;
}

static void seal_iov(gss_ctx_id_t context, const char *hex)
{
    gss_buffer_desc message = from_hex(hex);
    gss_iov_buffer_desc iov[5];
    OM_uint32 major, minor;

    describe_iov(iov, message);
    iov[0].type |= GSS_IOV_BUFFER_FLAG_ALLOCATE;
    iov[3].type |= GSS_IOV_BUFFER_FLAG_ALLOCATE;
    iov[4].type |= GSS_IOV_BUFFER_FLAG_ALLOCATE;
    major = gss_wrap_iov(&minor, context, 1, GSS_C_QOP_DEFAULT, NULL, iov, 5);
    require(major, minor, "gss_wrap_iov");
    print_hex(iov[0].buffer.value, iov[0].buffer.length);
    printf(" ");
    print_hex(message.value, message.length);
    printf("%s ", message.length == 0 ? "-" : "");
    print_hex(iov[4].buffer.value, iov[4].buffer.length);
    printf("\n");
    gss_release_iov_buffer(&minor, iov, 5);
    free(message.value);
}

static void unseal_iov(gss_ctx_id_t context, char *words[3])
{
    gss_buffer_desc header = from_hex(words[0]), message = from_hex(words[1]), trailer = from_hex(words[2]);
    gss_iov_buffer_desc iov[5];
    OM_uint32 major, minor;
    int confidential = 0;

    describe_iov(iov, message);
    iov[0].buffer = header;
    iov[4].buffer = trailer;
    major = gss_unwrap_iov(&minor, context, &confidential, NULL, iov, 5);
    printf("%x %s ", major, confidential ? "sealed" : "signed");
    print_hex(message.value, message.length);
    printf("\n");
    free(header.value);
    free(message.value);
    free(trailer.value);
}

static struct end *find(struct end ends[2], const char *name)
{
    return strcmp(name, ends[0].name) == 0 ? &ends[0] : &ends[1];
}

static void require(OM_uint32 major, OM_uint32 minor, const char *call)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc text;

    if (!GSS_ERROR(major))
        return;
    fprintf(stderr, "token_peer: %s: %x", call, major);
    do {
        if (GSS_ERROR(gss_display_status(&ignored, minor, GSS_C_MECH_CODE, gss_mech_krb5, &more, &text)))
            break;
        fprintf(stderr, ": %.*s", (int)text.length, (char *)text.value);
        gss_release_buffer(&ignored, &text);
    } while (more != 0);
    fprintf(stderr, "\n");
    exit(1);
}

static gss_buffer_desc from_hex(const char *hex)
{
    gss_buffer_desc bytes = {strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2, NULL};
    unsigned char *place = malloc(bytes.length + 1);

    if (place == NULL)
        exit(1);
    bytes.value = place;
    for (size_t i = 0; i < bytes.length; i++) {
        if (sscanf(hex + 2 * i, "%2hhx", &place[i]) != 1) {
            fprintf(stderr, "token_peer: not hex: %s\n", hex);
            exit(2);
        }
    }
    return bytes;
}

static void print_hex(const void *bytes, size_t length)
{
    const unsigned char *byte = bytes;

    for (size_t i = 0; i < length; i++)
        printf("%02x", byte[i]);
}
