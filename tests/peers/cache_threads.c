/* Threads that use one collection of credential caches at a time, each with a context of its own, as libraries in a server
 * do: cache_threads COLLECTION THREADS ROUNDS. Every thread makes a cache, stores credentials, reads, lists and removes
 * them. Prints "done" if every thread found what it had stored, and nothing else's. */
#include <krb5.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *collection;
static long rounds;

#define TRY(call) do { krb5_error_code code = (call); if (code != 0) fail(#call, code); } while (0)

static void fail(const char *what, krb5_error_code code)
{
    fprintf(stderr, "%s: %ld\n", what, (long)code);
    exit(1);
}

static void expect(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not so: %s\n", what);
        exit(1);
    }
}

static void store(krb5_context context, krb5_ccache cache, krb5_principal client, const char *server)
{
    krb5_creds creds;
    memset(&creds, 0, sizeof(creds));
    creds.client = client;
    TRY(krb5_parse_name(context, server, &creds.server));
    creds.keyblock.enctype = 18;
    creds.keyblock.length = 4;
    creds.keyblock.contents = (krb5_octet *)"keys";
    creds.times.endtime = 0x7fffffff;
    creds.ticket.length = 6;
    creds.ticket.data = "ticket";
    TRY(krb5_cc_store_cred(context, cache, &creds));
    krb5_free_principal(context, creds.server);
}

static void retrieve(krb5_context context, krb5_ccache cache, krb5_principal client, const char *server)
{
    krb5_creds wanted, found;
    memset(&wanted, 0, sizeof(wanted));
    wanted.client = client;
    TRY(krb5_parse_name(context, server, &wanted.server));
    TRY(krb5_cc_retrieve_cred(context, cache, 0, &wanted, &found));
    expect(krb5_principal_compare(context, found.server, wanted.server), "the server that was asked for");
    krb5_free_cred_contents(context, &found);
    TRY(krb5_cc_remove_cred(context, cache, 0, &wanted));
    krb5_free_principal(context, wanted.server);
}

static int count(krb5_context context, krb5_ccache cache)
{
    krb5_cc_cursor cursor;
    krb5_creds creds;
    int found = 0;
    TRY(krb5_cc_start_seq_get(context, cache, &cursor));
    while (krb5_cc_next_cred(context, cache, &cursor, &creds) == 0) {
        found++;
        krb5_free_cred_contents(context, &creds);
    }
    TRY(krb5_cc_end_seq_get(context, cache, &cursor));
    return found;
}

static void *work(void *number)
{
    char name[64], server[64];
    krb5_context context;
    krb5_ccache cache;
    krb5_principal client, stored;
    TRY(krb5_init_context(&context));
    TRY(krb5_cc_set_default_name(context, collection));
    snprintf(name, sizeof(name), "user%ld@T", (long)number);
    TRY(krb5_parse_name(context, name, &client));
    for (long i = 0; i < rounds; i++) {
        TRY(krb5_cc_new_unique(context, "KCM", NULL, &cache));
        TRY(krb5_cc_initialize(context, cache, client));
        /* The second of each takes the place of the first. */
        for (int j = 0; j < 16; j++) {
            snprintf(server, sizeof(server), "svc%d/h%ld@T", j % 8, (long)number);
            store(context, cache, client, server);
        }
        TRY(krb5_cc_get_principal(context, cache, &stored));
        expect(krb5_principal_compare(context, client, stored), "the principal of the cache");
        krb5_free_principal(context, stored);
        expect(count(context, cache) == 8, "eight credentials");
        retrieve(context, cache, client, server);
        expect(count(context, cache) == 7, "seven credentials");
        TRY(krb5_cc_destroy(context, cache));
    }
    krb5_free_principal(context, client);
    krb5_free_context(context);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    if (argc != 4)
        return 2;
    collection = argv[1];
    long many = atol(argv[2]);
    rounds = atol(argv[3]);
    expect(many <= 64, "at most 64 threads");
    for (long i = 0; i < many; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
            return 2;
    for (long i = 0; i < many; i++)
        pthread_join(threads[i], NULL);
    puts("done");
    return 0;
}
