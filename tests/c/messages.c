/* Signing and checking signatures: sizes, numbers, arrival, hostile tokens and buffers. */
#include "check.h"
#include "tokens.h"

#define MESSAGE_SIZE (sizeof MESSAGE - 1)

static lgss_security *security;

/* The number in a token (RFC 4121, section 4.2.6.1). */
static unsigned long number_of(const unsigned char *token)
{
    unsigned long number = 0;
    for (int at = 8; at < 16; at++)
        number = number << 8 | token[at];
    return number;
}

static void tokens_have_the_size_that_was_told_and_numbers_in_order(unsigned enctype)
{
    static const size_t SIZES[] = {28, 28, 32, 40};
    lgss_context *context = new_context(security, enctype);
    unsigned char token[64], again[64];
    size_t size = sizeof token;
    CHECK(lgss_mic_size(context) == SIZES[enctype - 17]);
    memset(token, 0xee, sizeof token);
    GOOD(lgss_sign(context, "message", 7, token, &size, &error));
    CHECK(size == lgss_mic_size(context) && number_of(token) == 7 && token[size] == 0xee);

    /* Without room nothing is done: no number is lost. */
    for (size_t room = 0; room < lgss_mic_size(context); room++) {
        size = room;
        REFUSED(LGSS_ERANGE, lgss_sign(context, "message", 7, room ? token : NULL, &size, &error));
        CHECK(size == lgss_mic_size(context));
    }
    REFUSED(LGSS_EINVAL, lgss_sign(context, "message", 7, NULL, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign(context, "message", 7, token, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_sign(context, NULL, 7, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign(context, "message", SIZE_MAX, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign(NULL, "message", 7, token, &size, &error));
    GOOD(lgss_sign(context, NULL, 0, token, &size, &error));
    CHECK(number_of(token) == 8);

    /* In pieces it is the same message. */
    struct iovec pieces[] = {{(void *)"mes", 3}, {NULL, 0}, {(void *)"sage", 4}};
    GOOD(lgss_sign_iov(context, pieces, 3, token, &size, &error));
    CHECK(number_of(token) == 9);
    lgss_context *same = new_context(security, enctype);
    for (int number = 7; number <= 9; number++)
        GOOD(lgss_sign(same, "message", 7, again, &size, &error));
    CHECK(memcmp(token, again, size) == 0);
    lgss_context_free(same);
    lgss_context_free(context);
}

static void pieces_that_are_none_are_refused(void)
{
    lgss_context *context = new_context(security, 18);
    unsigned char token[64];
    size_t size = sizeof token;
    struct iovec pieces[2] = {{NULL, 1}, {(void *)"m", 1}};
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, pieces, 2, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, NULL, 1, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, pieces, LGSS_BUFFERS_LIMIT + 1, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, pieces, (size_t)-1, token, &size, &error));
    pieces[0].iov_base = token;
    pieces[0].iov_len = (size_t)-1;
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, pieces, 2, token, &size, &error));
    pieces[0].iov_len = PTRDIFF_MAX;
    REFUSED(LGSS_EINVAL, lgss_sign_iov(context, pieces, 2, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_sign_iov(NULL, pieces, 0, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_verify_iov(NULL, pieces, 0, token, size, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_verify_iov(context, NULL, 1, token, size, NULL, &error));
    GOOD(lgss_sign_iov(context, NULL, 0, token, &size, &error));
    CHECK(number_of(token) == 7);
    lgss_context_free(context);
}

static void the_peers_tokens_are_accepted_once_and_their_order_is_told(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    const size_t size = lgss_mic_size(context);
    const unsigned char(*tokens)[40] = SIGNED[enctype - 17];
    static const int ORDER[] = {LGSS_IN_ORDER, LGSS_IN_ORDER, LGSS_GAP, LGSS_LATE};
    struct iovec pieces[] = {{(void *)MESSAGE, 4}, {(void *)(MESSAGE + 4), MESSAGE_SIZE - 4}};
    int arrival = -1;
    for (int at = 0; at < 4; at++) {
        if (at % 2)
            GOOD(lgss_verify(context, MESSAGE, MESSAGE_SIZE, tokens[at], size, &arrival, &error));
        else
            GOOD(lgss_verify_iov(context, pieces, 2, tokens[at], size, &arrival, &error));
        CHECK(arrival == ORDER[at]);
    }
    for (int at = 0; at < 4; at++)
        REFUSED(LGSS_EDUPLICATE, lgss_verify(context, MESSAGE, MESSAGE_SIZE, tokens[at], size, NULL, &error));
    lgss_context_free(context);
}

static void other_tokens_are_refused_and_not_remembered(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    const size_t size = lgss_mic_size(context);
    const unsigned char *good = SIGNED[enctype - 17][0];
    unsigned char token[64];
    size_t own_size = sizeof token;
    for (size_t shorter = 0; shorter < size; shorter++)
        REFUSED(LGSS_EBADTOKEN, lgss_verify(context, MESSAGE, MESSAGE_SIZE, good, shorter, NULL, &error));
    for (size_t at = 0; at < size; at++) {
        memcpy(token, good, size);
        token[at] ^= 4;
        REFUSED(LGSS_EBADTOKEN, lgss_verify(context, MESSAGE, MESSAGE_SIZE, token, size, NULL, &error));
    }
    REFUSED(LGSS_EBADTOKEN, lgss_verify(context, MESSAGE, MESSAGE_SIZE - 1, good, size, NULL, &error));
    REFUSED(LGSS_EBADTOKEN, lgss_verify(context, MESSAGE, MESSAGE_SIZE, NULL, 0, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_verify(context, MESSAGE, MESSAGE_SIZE, NULL, size, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_verify(context, NULL, 1, good, size, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_verify(NULL, MESSAGE, MESSAGE_SIZE, good, size, NULL, &error));
    /* One's own token sent back. */
    GOOD(lgss_sign(context, MESSAGE, MESSAGE_SIZE, token, &own_size, &error));
    REFUSED(LGSS_EBADTOKEN, lgss_verify(context, MESSAGE, MESSAGE_SIZE, token, own_size, NULL, &error));
    GOOD(lgss_verify(context, MESSAGE, MESSAGE_SIZE, good, size, NULL, &error));
    lgss_context_free(context);
}

int main(void)
{
    security = new_security();
    for (unsigned enctype = 17; enctype <= 20; enctype++) {
        tokens_have_the_size_that_was_told_and_numbers_in_order(enctype);
        the_peers_tokens_are_accepted_once_and_their_order_is_told(enctype);
        other_tokens_are_refused_and_not_remembered(enctype);
    }
    CHECK(SEALED[0][0][0] == 5 && PROTECTED[0][0][0] == 5);
    pieces_that_are_none_are_refused();
    lgss_security_free(security);
    return 0;
}
