/*
 * Makes a ticket as large as for a user in many groups: asks the KDC for a service ticket with so many bytes of
 * authorization data. MIT's KDC puts these into the ticket, and into every ticket that it gives for a ticket-granting
 * ticket with them.
 *
 *   large_ticket CACHE SERVICE BYTES
 *
 * CACHE has a ticket-granting ticket. The new ticket is stored there; a ticket-granting ticket replaces all others.
 * Prints the length of the ticket.
 */
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Exported by libkrb5, in no header: asks for exactly one ticket by exactly this ticket-granting ticket. */
extern krb5_error_code krb5_get_cred_via_tkt(krb5_context, krb5_creds *, krb5_flags, krb5_address *const *, krb5_creds *,
                                             krb5_creds **);

/* A type of local use, which no KDC issues or filters. */
#define LOCAL_TYPE (-1729)

static krb5_context context;

static void check(krb5_error_code code, const char *what)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, krb5_get_error_message(context, code));
    exit(1);
}

/* Data that a server may ignore: an AD-IF-RELEVANT (RFC 4120 section 5.2.6.1). */
static krb5_authdata **authorization_data(size_t length)
{
    krb5_authdata one, *list[2], **container;

    memset(&one, 0, sizeof(one));
    one.ad_type = LOCAL_TYPE;
    one.length = length;
    one.contents = calloc(1, length + 1);
    list[0] = &one;
    list[1] = NULL;
    check(krb5_encode_authdata_container(context, KRB5_AUTHDATA_IF_RELEVANT, list, &container), "authorization data");
    return container;
}

static krb5_creds *ticket_granting_ticket(krb5_ccache cache, krb5_principal client)
{
    krb5_creds pattern, *found = calloc(1, sizeof(*found));

    memset(&pattern, 0, sizeof(pattern));
    pattern.client = client;
    check(krb5_build_principal(context, &pattern.server, client->realm.length, client->realm.data, "krbtgt",
                               client->realm.data, (char *)NULL),
          "principal");
    check(krb5_cc_retrieve_cred(context, cache, 0, &pattern, found), "ticket-granting ticket");
    return found;
}

int main(int argc, char **argv)
{
    krb5_ccache cache;
    krb5_creds wanted, *tgt, *large;
    krb5_flags options;

    if (argc != 4)
        return 2;
    check(krb5_init_context(&context), "context");
    check(krb5_cc_resolve(context, argv[1], &cache), argv[1]);
    memset(&wanted, 0, sizeof(wanted));
    check(krb5_cc_get_principal(context, cache, &wanted.client), argv[1]);
    check(krb5_parse_name(context, argv[2], &wanted.server), argv[2]);
    tgt = ticket_granting_ticket(cache, wanted.client);
    wanted.times = tgt->times;
    wanted.authdata = authorization_data(strtoul(argv[3], NULL, 10));
    options = tgt->ticket_flags & KDC_TKT_COMMON_MASK;
    check(krb5_get_cred_via_tkt(context, tgt, options, NULL, &wanted, &large), argv[2]);
    /* Otherwise only requests with the same data would find the ticket. */
    large->authdata = NULL;
    if (krb5_principal_compare(context, tgt->server, wanted.server))
        check(krb5_cc_initialize(context, cache, wanted.client), argv[1]);
    check(krb5_cc_store_cred(context, cache, large), argv[1]);
    printf("%u\n", large->ticket.length);
    return 0;
}
