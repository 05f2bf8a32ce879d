/*
 * MIT Kerberos as the other end of a context, for tests/mic_mit.rs.
 *
 *     mic_peer SERVICE-PRINCIPAL mutual|one-way
 *
 * Makes a context with itself: the initiator from the default client keytab, the acceptor from the default keytab.
 * Then it writes one line for each end,
 *
 *     END ENCTYPE acceptor-subkey|initiator SEND-SEQUENCE RECEIVE-SEQUENCE BASE-KEY
 *
 * and answers commands until its input ends; END is initiator or acceptor, messages and tokens are hex, "-" is empty:
 *
 *     sign END MESSAGE          -> TOKEN
 *     verify END MESSAGE TOKEN  -> MAJOR-STATUS in hex, 0 for a good token in order
 */
#include <gssapi/gssapi.h>
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
        fprintf(stderr, "usage: mic_peer SERVICE-PRINCIPAL mutual|one-way\n");
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
    gss_krb5_free_lucid_sec_context(&minor, result);
}

static void answer(char *line, struct end ends[2])
{
    char *command = strtok(line, " \n"), *name = strtok(NULL, " \n");
    char *hex = strtok(NULL, " \n"), *token_hex = strtok(NULL, " \n");
    gss_buffer_desc message, token;
    OM_uint32 major, minor;

    if (command == NULL || name == NULL || hex == NULL) {
        fprintf(stderr, "mic_peer: incomplete command\n");
        exit(2);
    }
    message = from_hex(hex);
    if (strcmp(command, "sign") == 0) {
        major = gss_get_mic(&minor, find(ends, name)->context, GSS_C_QOP_DEFAULT, &message, &token);
        require(major, minor, "gss_get_mic");
        print_hex(token.value, token.length);
        gss_release_buffer(&minor, &token);
    } else if (strcmp(command, "verify") == 0 && token_hex != NULL) {
        token = from_hex(token_hex);
        printf("%x\n", gss_verify_mic(&minor, find(ends, name)->context, &message, &token, NULL));
        free(token.value);
    } else {
        fprintf(stderr, "mic_peer: unknown command %s\n", command);
        exit(2);
    }
    free(message.value);
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
    fprintf(stderr, "mic_peer: %s: %x", call, major);
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
            fprintf(stderr, "mic_peer: not hex: %s\n", hex);
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
    printf("\n");
}
