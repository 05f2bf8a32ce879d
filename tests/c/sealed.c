/* Messages that are encrypted, or signed as one token: sizes, room, what the peer made, hostile tokens; and in place, in buffers. */
#include "check.h"
#include "tokens.h"

#define MESSAGE_SIZE (sizeof MESSAGE - 1)

static lgss_security *security;

static unsigned number_of(const unsigned char *token)
{
    return (unsigned)token[14] << 8 | token[15];
}

static void tokens_have_the_size_that_was_told_and_numbers_in_order(unsigned enctype)
{
    static const size_t OVERHEAD[] = {60, 60, 64, 72};
    lgss_context *context = new_context(security, enctype);
    unsigned char token[200];
    size_t sealed = lgss_sealed_size(context, 7), protected_ = lgss_protected_size(context, 7), size;
    CHECK(sealed == 7 + OVERHEAD[enctype - 17] && protected_ == 7 + lgss_mic_size(context));
    memset(token, 0xee, sizeof token);
    size = sizeof token;
    GOOD(lgss_seal(context, "message", 7, token, &size, &error));
    CHECK(size == sealed && token[size] == 0xee && number_of(token) == 7);
    CHECK(lgss_unsealed_size(context, token, size) == 7);
    size = sizeof token;
    GOOD(lgss_protect(context, "message", 7, token, &size, &error));
    CHECK(size == protected_ && number_of(token) == 8 && lgss_unsealed_size(context, token, size) == 7);
    for (size_t room = 0; room < sealed; room++) {
        size = room;
        REFUSED(LGSS_ERANGE, lgss_seal(context, "message", 7, room ? token : NULL, &size, &error));
        CHECK(size == sealed);
    }
    for (size_t room = 0; room < protected_; room++) {
        size = room;
        REFUSED(LGSS_ERANGE, lgss_protect(context, "message", 7, token, &size, &error));
        CHECK(size == protected_);
    }
    size = sizeof token;
    REFUSED(LGSS_EINVAL, lgss_seal(context, NULL, 7, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_seal(context, "message", SIZE_MAX, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_seal(context, "message", 7, token, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_seal(NULL, "message", 7, token, &size, &error));
    REFUSED(LGSS_EINVAL, lgss_protect(NULL, "message", 7, token, &size, &error));
    size = sizeof token;
    REFUSED(LGSS_EINVAL, lgss_seal(context, "message", 7, NULL, &size, &error));
    /* Where the message is. */
    memcpy(token, "message", 7);
    size = sizeof token;
    GOOD(lgss_seal(context, token, 7, token, &size, &error));
    CHECK(number_of(token) == 9);
    size = sizeof token;
    GOOD(lgss_seal(context, NULL, 0, token, &size, &error));
    CHECK(size == lgss_sealed_size(context, 0) && lgss_unsealed_size(context, token, size) == 0);
    lgss_context_free(context);
}

/* Of the peer's tokens with the numbers 5, 6, 9 and 7. */
static void the_peers_tokens_are_opened_once(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    static const int ORDER[] = {LGSS_IN_ORDER, LGSS_IN_ORDER, LGSS_GAP, LGSS_LATE};
    const size_t sealed = lgss_sealed_size(context, MESSAGE_SIZE), protected_ = lgss_protected_size(context, MESSAGE_SIZE);
    unsigned char message[100];
    size_t size;
    int protection, arrival;
    for (int at = 0; at < 4; at++) {
        const int encrypted = at % 2 == 0;
        const unsigned char *token = encrypted ? SEALED[enctype - 17][at] : PROTECTED[enctype - 17][at];
        const size_t token_size = encrypted ? sealed : protected_;
        for (size_t room = 0; room < MESSAGE_SIZE; room++) {
            size = room;
            REFUSED(LGSS_ERANGE,
                    lgss_unseal(context, token, token_size, message, &size, &protection, &arrival, &error));
            CHECK(size == MESSAGE_SIZE);
        }
        size = sizeof message;
        arrival = protection = -1;
        GOOD(lgss_unseal(context, token, token_size, message, &size, &protection, &arrival, &error));
        CHECK(size == MESSAGE_SIZE && memcmp(message, MESSAGE, size) == 0 && arrival == ORDER[at]);
        CHECK(protection == (encrypted ? LGSS_ENCRYPTED : LGSS_SIGNED));
        size = sizeof message;
        REFUSED(LGSS_EDUPLICATE, lgss_unseal(context, token, token_size, message, &size, &protection, NULL, &error));
    }
    lgss_context_free(context);
}

static void other_tokens_are_refused_and_not_remembered(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    const size_t token_size = lgss_sealed_size(context, MESSAGE_SIZE);
    const unsigned char *good = SEALED[enctype - 17][0];
    unsigned char token[200], message[200];
    size_t size;
    int protection;
    for (size_t shorter = 0; shorter < token_size; shorter++) {
        size = sizeof message;
        REFUSED(LGSS_EBADTOKEN, lgss_unseal(context, good, shorter, message, &size, &protection, NULL, &error));
    }
    for (size_t at = 0; at < token_size; at++) {
        memcpy(token, good, token_size);
        token[at] ^= 2;
        size = sizeof message;
        REFUSED(LGSS_EBADTOKEN, lgss_unseal(context, token, token_size, message, &size, &protection, NULL, &error));
    }
    size = sizeof message;
    REFUSED(LGSS_EINVAL, lgss_unseal(NULL, good, token_size, message, &size, &protection, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_unseal(context, NULL, token_size, message, &size, &protection, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_unseal(context, good, token_size, NULL, &size, &protection, NULL, &error));
    size = sizeof message;
    REFUSED(LGSS_EINVAL, lgss_unseal(context, good, token_size, message, NULL, &protection, NULL, &error));
    REFUSED(LGSS_EINVAL, lgss_unseal(context, good, token_size, message, &size, NULL, NULL, &error));
    REFUSED(LGSS_EBADTOKEN, lgss_unseal(context, NULL, 0, message, &size, &protection, NULL, &error));
    /* Its own, and then the good one in its own place. */
    size = sizeof token;
    GOOD(lgss_seal(context, MESSAGE, MESSAGE_SIZE, token, &size, &error));
    size_t own = size;
    size = sizeof message;
    REFUSED(LGSS_EBADTOKEN, lgss_unseal(context, token, own, message, &size, &protection, NULL, &error));
    memcpy(token, good, token_size);
    size = sizeof token;
    GOOD(lgss_unseal(context, token, token_size, token, &size, &protection, NULL, &error));
    CHECK(size == MESSAGE_SIZE && memcmp(token, MESSAGE, size) == 0);
    lgss_context_free(context);
}

static void buffers_are_encrypted_in_place(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    unsigned char buffer[30], head[64], tail[64];
    size_t head_size, tail_size, needed_head, needed_tail;
    struct iovec buffers[] = {{buffer, 10}, {NULL, 0}, {buffer + 20, 10}};
    lgss_bulk_sizes(context, &needed_head, &needed_tail);
    CHECK(needed_head + needed_tail == lgss_sealed_size(context, 0));
    memset(buffer, 'm', sizeof buffer);
    for (int which = 0; which < 3; which++) {
        head_size = needed_head - (which != 1);
        tail_size = needed_tail - (which != 0);
        REFUSED(LGSS_ERANGE, lgss_wrap_bulk(context, buffers, 3, head, &head_size, tail, &tail_size, &error));
        CHECK(head_size == needed_head && tail_size == needed_tail);
    }
    buffers[1].iov_base = buffer + 9;
    buffers[1].iov_len = 2;
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, buffers, 3, head, &head_size, tail, &tail_size, &error));
    buffers[1].iov_base = NULL;
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, buffers, 3, head, &head_size, tail, &tail_size, &error));
    buffers[1].iov_len = 0;
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, NULL, 3, head, &head_size, tail, &tail_size, &error));
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(NULL, buffers, 3, head, &head_size, tail, &tail_size, &error));
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, buffers, 3, NULL, &head_size, tail, &tail_size, &error));
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, buffers, 3, head, NULL, tail, &tail_size, &error));
    REFUSED(LGSS_EINVAL, lgss_wrap_bulk(context, buffers, 3, head, &head_size, tail, NULL, &error));
    for (size_t at = 0; at < sizeof buffer; at++)
        CHECK(buffer[at] == 'm');
    GOOD(lgss_wrap_bulk(context, buffers, 3, head, &head_size, tail, &tail_size, &error));
    CHECK(number_of(head) == 7 && memcmp(buffer, "mmmmmmmmmm", 10) != 0 && memcmp(buffer + 10, "mmmmmmmmmm", 10) == 0);
    lgss_context_free(context);
}

static void the_peers_buffers_are_decrypted_in_place(unsigned enctype)
{
    lgss_context *context = new_context(security, enctype);
    const unsigned char *token = SEALED[enctype - 17][0];
    unsigned char buffer[MESSAGE_SIZE], zeros[MESSAGE_SIZE];
    size_t head, tail;
    int arrival = -1;
    struct iovec buffers[] = {{buffer, 3}, {buffer + 3, MESSAGE_SIZE - 3}};
    memset(zeros, 0, sizeof zeros);
    lgss_bulk_sizes(context, &head, &tail);
    const unsigned char *end = token + head + MESSAGE_SIZE;
#define OPEN(context, head, end, tail)                                                             \
    (memcpy(buffer, token + 32, sizeof buffer),                                                    \
     lgss_unwrap_bulk(context, buffers, 2, token, head, end, tail, &arrival, &error))
    REFUSED(LGSS_EINVAL, OPEN(NULL, head, end, tail));
    REFUSED(LGSS_EINVAL, OPEN(context, head, NULL, tail));
    REFUSED(LGSS_EINVAL, OPEN(context, head, buffer, tail));
    CHECK(memcmp(buffer, token + 32, sizeof buffer) == 0);
    REFUSED(LGSS_EBADTOKEN, OPEN(context, head - 1, end, tail));
    REFUSED(LGSS_EBADTOKEN, OPEN(context, head, end, tail - 1));
    CHECK(memcmp(buffer, zeros, sizeof buffer) == 0);
    REFUSED(LGSS_EBADTOKEN, OPEN(context, head, end - 1, tail));
    GOOD(OPEN(context, head, end, tail));
    CHECK(memcmp(buffer, MESSAGE, sizeof buffer) == 0 && arrival == LGSS_IN_ORDER);
    REFUSED(LGSS_EDUPLICATE, OPEN(context, head, end, tail));
    CHECK(memcmp(buffer, zeros, sizeof buffer) == 0);
    lgss_context_free(context);
}

int main(void)
{
    security = new_security();
    /* Of other tests. */
    CHECK(SIGNED[0][0][0] == 4);
    for (unsigned enctype = 17; enctype <= 20; enctype++) {
        tokens_have_the_size_that_was_told_and_numbers_in_order(enctype);
        the_peers_tokens_are_opened_once(enctype);
        other_tokens_are_refused_and_not_remembered(enctype);
        buffers_are_encrypted_in_place(enctype);
        the_peers_buffers_are_decrypted_in_place(enctype);
    }
    lgss_security_free(security);
    return 0;
}
