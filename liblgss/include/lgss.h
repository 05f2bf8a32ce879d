/*
 * Security contexts for programs in C: a context is requested from the kernel, and protects messages. lgss(3) explains it.
 *
 * What holds for every function:
 *
 *   Pointers are NULL or lead to what their type says, which nobody else changes or frees during the call. NULL is an error,
 *   LGSS_EINVAL, unless the function's comment gives it a meaning, or its size or count is 0.
 *
 *   A result is 0, or negative: one of the LGSS_E... codes. `error` may be NULL; else `*error` becomes NULL, or the failure in
 *   words, which the caller frees with lgss_error_free. What was there before is not looked at. Where a function fails, pointers
 *   that it would have given are NULL.
 *
 *   Any thread may call any function at any time, except that one thread at a time uses a request or an error, and that nobody
 *   uses what is being freed.
 *
 *   After a fork(2) the child may use every request, security and error that it inherits. A context or a
 *   negotiation that it inherits answers LGSS_EFORKED, and is to be freed all the same; lgss_lookup gives the child a context of
 *   its own.
 *
 * Made by scripts/header. Licence: MIT or Apache-2.0, at your option.
 */


#ifndef LGSS_H
#define LGSS_H

/* Do not change this file; change liblgss/src. */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 An argument is NULL, or makes no sense.
 */
#define LGSS_EINVAL -1

/*
 The buffer is too small. Its size says what is needed; nothing has been done.
 */
#define LGSS_ERANGE -2

/*
 No context yet: the negotiation goes on.
 */
#define LGSS_EAGAIN -3

/*
 The negotiation failed: stage, cause, detail and remedy are in the error.
 */
#define LGSS_EFAILED -4

/*
 The request could not be made, or its key cannot be read.
 */
#define LGSS_EREQUEST -5

/*
 The context has no place to be kept: the user's quota of keys is full.
 */
#define LGSS_EKEEPING -6

/*
 No thread or no descriptor for the negotiation.
 */
#define LGSS_ETHREAD -7

/*
 The context was flushed or given up, or its key has gone. Look up a new one.
 */
#define LGSS_EDEAD -8

/*
 The context's time is over. Look up a new one.
 */
#define LGSS_EEXPIRED -9

/*
 The context belongs to the process that this one was forked from. Look up a new one.
 */
#define LGSS_EFORKED -10

/*
 All numbers of the context have been used. Look up a new one.
 */
#define LGSS_EEXHAUSTED -11

/*
 Other processes use the context, too, and this operation has one sequence for all of them.
 */
#define LGSS_ESHARED -12

/*
 The token is malformed, or is not of this message and context.
 */
#define LGSS_EBADTOKEN -13

/*
 The token has been received before: it is a copy.
 */
#define LGSS_EDUPLICATE -14

/*
 The token is too old to be told from a copy.
 */
#define LGSS_EOLD -15

/*
 The message could not be protected: the kernel has no random numbers.
 */
#define LGSS_ERANDOM -16

/*
 A fault of the library's own. What it was asked for may be half done; end the context.
 */
#define LGSS_EPANIC -17

/*
 A failure that this version has no other code for.
 */
#define LGSS_EOTHER -18

/*
 Contexts of this process's own, in a keyring that ends with it.
 */
#define LGSS_OWN 0

/*
 Contexts that all processes of the user find.
 */
#define LGSS_SHARED 1

/*
 No protection beyond the context itself.
 */
#define LGSS_LEVEL_NULL 0

/*
 Authentication.
 */
#define LGSS_LEVEL_AUTHENTICATION 1

/*
 Signed messages.
 */
#define LGSS_LEVEL_INTEGRITY 2

/*
 Encrypted messages.
 */
#define LGSS_LEVEL_PRIVACY 3

/*
 The message is the next one, or the first of all.
 */
#define LGSS_IN_ORDER 0

/*
 Some messages before it have not been received, or not yet.
 */
#define LGSS_GAP 1

/*
 The message comes after later ones.
 */
#define LGSS_LATE 2

/*
 The message was signed, and could be read on its way.
 */
#define LGSS_SIGNED 0

/*
 The message was encrypted.
 */
#define LGSS_ENCRYPTED 1

/*
 Those who use a flushed context may use it to its end; no lookup gives it any more.
 */
#define LGSS_GRACEFUL 0

/*
 The next use of a flushed context fails with LGSS_EDEAD.
 */
#define LGSS_FORCED 1

/*
 The initiator chose the key of an accepted context.
 */
#define LGSS_KEY_OF_INITIATOR 0

/*
 The acceptor chose the key of an accepted context: the subkey of its AP-REP.
 */
#define LGSS_SUBKEY_OF_ACCEPTOR 1

/*
 Most buffers that one call takes.
 */
#define LGSS_BUFFERS_LIMIT 65536

/*
 An established context. Opaque; it counts its references: lgss_context_ref, lgss_context_free. Threads may use it at the
 same time.
 */
typedef struct lgss_context lgss_context;

/*
 Why a function failed, for programs and people. Opaque; free it with lgss_error_free.
 */
typedef struct lgss_error lgss_error;

/*
 A negotiation that goes on, whether it is waited for or not. Opaque; free it with lgss_pending_free. Threads may use it at the
 same time. In a forked child it answers LGSS_EFORKED.
 */
typedef struct lgss_pending lgss_pending;

/*
 With whom a context is wanted, and how. Opaque; free it with lgss_request_free.
 */
typedef struct lgss_request lgss_request;

/*
 One service over one channel at one level; makes contexts with it, one for each uid that asks, and keeps them. Opaque; free it
 with lgss_security_free. Threads may use it at the same time, and a forked child what it inherits.
 */
typedef struct lgss_security lgss_security;

/*
 A context that the program, as a server, has accepted: what its GSS library exports of it. Later versions may have more
 members at the end; set all to zero first, and `size` to the size of this structure.
 */
typedef struct lgss_accepted {
  /*
   sizeof(lgss_accepted)
   */
  size_t size;
  /*
   The key's bytes; they are copied.
   */
  const void *key;
  /*
   How many.
   */
  size_t key_size;
  /*
   The name that the client has for the context; it is copied.
   */
  const void *handle;
  /*
   Its length.
   */
  size_t handle_size;
  /*
   The number of the acceptor's next token.
   */
  uint64_t send_sequence;
  /*
   The encryption type of the key, 17 to 20.
   */
  uint32_t enctype;
  /*
   LGSS_KEY_OF_INITIATOR or LGSS_SUBKEY_OF_ACCEPTOR.
   */
  int key_origin;
  /*
   The sequence window, at least 1.
   */
  uint32_t window;
  /*
   The end of the context in seconds since the epoch.
   */
  uint32_t endtime;
} lgss_accepted;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the library that the program runs with, such as "0.1.0".

 Returns text that lives as long as the process. Any thread may call it.
 */
const char *lgss_version(void);

/*
 One more reference to the context, to be given back with lgss_context_free.

 Returns `context`; NULL for NULL.
 */
struct lgss_context *lgss_context_ref(struct lgss_context *context);

/*
 Gives a reference back. With the last one the context's key goes away, if the context is this process's own and no
 lookup would give it any more. NULL is allowed.
 */
void lgss_context_free(struct lgss_context *context);

/*
 Whether the context may be used and its key is still there. Costs a system call; every use checks what can be told
 without one.

 Errors: LGSS_EINVAL, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED.
 */
int lgss_context_validate(const struct lgss_context *context,
                          struct lgss_error **error);

/*
 Ends the context at once, for all that use it: their next use fails with LGSS_EDEAD, and its key goes away. For one of
 LGSS_SHARED that holds for the user's other processes, too. References stay to be given back.

 Errors: LGSS_EINVAL.
 */
int lgss_context_die(const struct lgss_context *context,
                     struct lgss_error **error);

/*
 Whether it is a context of the user `owner` with `service` that may be used and whose key is still there.

 Returns 1 or 0, or LGSS_EINVAL.
 */
int lgss_context_matches(const struct lgss_context *context,
                         uint32_t owner,
                         const char *service);

/*
 Whether both are the same context: lookups give the same one under other pointers.

 Returns 1 or 0, or LGSS_EINVAL.
 */
int lgss_context_is(const struct lgss_context *context, const struct lgss_context *other);

/*
 One line for people: service, owner, principal, encryption type, end and key. Written as snprintf(3) does: at most `size`
 bytes with a zero at the end. `buffer` may be NULL if `size` is 0.

 Returns the length of the whole line without the zero, or LGSS_EINVAL.
 */
int lgss_context_display(const struct lgss_context *context,
                         char *buffer,
                         size_t size);

/*
 The principal that the context speaks for; NULL if its key does not say so, and for NULL. Lives as long as the context.
 */
const char *lgss_context_principal(const struct lgss_context *context);

/*
 The wish for a cache or principal that was not met, with the reason; NULL if all were, and for NULL. Lives as long as the
 context.
 */
const char *lgss_context_unmet(const struct lgss_context *context);

/*
 The service, "nfs@srv.example.com"; NULL for NULL. Lives as long as the context.
 */
const char *lgss_context_service(const struct lgss_context *context);

/*
 The uid that the context belongs to; the largest number, which no user has, for NULL.
 */
uint32_t lgss_context_owner(const struct lgss_context *context);

/*
 The end of the context in seconds since the epoch; 0 for NULL.
 */
int64_t lgss_context_endtime(const struct lgss_context *context);

/*
 The serial number of the kernel's key that holds the context; 0 if none does, and for NULL.
 */
int32_t lgss_context_key(const struct lgss_context *context);

/*
 The server's name for the context, as RPCSEC_GSS calls carry it; its length goes to `*size`. NULL for NULL. Lives as long
 as the context.
 */
const void *lgss_context_handle(const struct lgss_context *context,
                                size_t *size);

/*
 The server's sequence window (RFC 2203, section 5.2.3.1); 0 for NULL.
 */
uint32_t lgss_context_window(const struct lgss_context *context);

/*
 The number of the encryption type, 17 to 20 (RFC 3962, RFC 8009); 0 for NULL.
 */
uint32_t lgss_context_enctype(const struct lgss_context *context);

/*
 The code that the function returned; 0 for NULL.
 */
int lgss_error_code(const struct lgss_error *error);

/*
 The whole failure on one line, such as
 "no context: ENOKEY: no usable ticket was found (DETAIL); get a ticket with kinit".

 This and the following texts are UTF-8, never NULL, empty where there is nothing to say, and live as long as the error.
 */
const char *lgss_error_message(const struct lgss_error *error);

/*
 The step of the negotiation that failed, a word such as "credentials"; empty if no negotiation failed.
 */
const char *lgss_error_stage(const struct lgss_error *error);

/*
 What went wrong, in a few words.
 */
const char *lgss_error_cause(const struct lgss_error *error);

/*
 Details of the cause, such as the name of a cache.
 */
const char *lgss_error_detail(const struct lgss_error *error);

/*
 What the user can do about it.
 */
const char *lgss_error_remedy(const struct lgss_error *error);

/*
 The kind of failure as a number of errno(3), such as ENOKEY; 0 if it has none.
 */
int lgss_error_errno(const struct lgss_error *error);

/*
 The GSS major status (RFC 2744, section 3.9.1); 0 if GSS had no part in it.
 */
uint32_t lgss_error_gss_major(const struct lgss_error *error);

/*
 Frees the error and its texts. NULL is allowed.
 */
void lgss_error_free(struct lgss_error *error);

/*
 Flushes contexts that were looked up through `security`, or all that this process has looked up if it is NULL, and forgets
 failures: the next lookup negotiates anew. `manner` is LGSS_GRACEFUL or LGSS_FORCED.

 Puts the number of contexts into `*flushed`, unless that is NULL.

 Errors: LGSS_EINVAL.
 */
int lgss_flush(const struct lgss_security *security,
               int manner,
               size_t *flushed,
               struct lgss_error **error);

/*
 lgss_flush for the contexts of one uid.

 Errors: LGSS_EINVAL.
 */
int lgss_flush_owner(const struct lgss_security *security,
                     uint32_t owner,
                     int manner,
                     size_t *flushed,
                     struct lgss_error **error);

/*
 lgss_flush for the contexts with one service, "nfs@srv.example.com".

 Errors: LGSS_EINVAL.
 */
int lgss_flush_service(const struct lgss_security *security,
                       const char *service,
                       int manner,
                       size_t *flushed,
                       struct lgss_error **error);

/*
 Forgets the contexts of this process that have ended. Lookups do so for the context they want; a program with the contexts
 of many users calls this now and then.

 Returns their number.
 */
size_t lgss_gc(void);

/*
 The token that proves the message to the peer (GSS_GetMIC).

 `*token_size` says how much room there is at `token`, and afterwards how long the token is, lgss_mic_size. Threads may sign at
 the same time; each token has a number of its own.

 Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED, LGSS_EEXHAUSTED.
 */
int lgss_sign(const struct lgss_context *context,
              const void *message,
              size_t message_size,
              void *token,
              size_t *token_size,
              struct lgss_error **error);

/*
 Checks that the peer signed the message (GSS_VerifyMIC), and that this token has not been received before.

 Puts LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE into `*arrival`, unless that is NULL.

 Errors: LGSS_EINVAL, LGSS_EBADTOKEN, LGSS_EDUPLICATE, LGSS_EOLD, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED.
 */
int lgss_verify(const struct lgss_context *context,
                const void *message,
                size_t message_size,
                const void *token,
                size_t token_size,
                int *arrival,
                struct lgss_error **error);

/*
 The message encrypted and signed, as one token (GSS_Wrap with confidentiality).

 `*token_size` says how much room there is at `token`, and afterwards how long the token is, lgss_sealed_size. `token` may be
 where the message is.

 Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_ERANDOM, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED, LGSS_EEXHAUSTED.
 */
int lgss_seal(const struct lgss_context *context,
              const void *message,
              size_t message_size,
              void *token,
              size_t *token_size,
              struct lgss_error **error);

/*
 The message signed, as one token in which it can be read (GSS_Wrap without confidentiality).

 As lgss_seal; the token is as long as lgss_protected_size says.

 Errors: as lgss_seal.
 */
int lgss_protect(const struct lgss_context *context,
                 const void *message,
                 size_t message_size,
                 void *token,
                 size_t *token_size,
                 struct lgss_error **error);

/*
 The message in a token of the peer's (GSS_Unwrap).

 `*message_size` says how much room there is at `message`, at least lgss_unsealed_size, and afterwards how long the message is.
 `message` may be where the token is. `*protection` becomes LGSS_ENCRYPTED or LGSS_SIGNED: a token that is only signed is
 accepted, too, so whoever wants secrecy must look. `*arrival` becomes LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE, unless `arrival` is
 NULL.

 Errors: LGSS_EINVAL, LGSS_ERANGE, LGSS_EBADTOKEN, LGSS_EDUPLICATE, LGSS_EOLD, LGSS_EDEAD, LGSS_EEXPIRED, LGSS_EFORKED. After
 LGSS_ERANGE the token can be received again.
 */
int lgss_unseal(const struct lgss_context *context,
                const void *token,
                size_t token_size,
                void *message,
                size_t *message_size,
                int *protection,
                int *arrival,
                struct lgss_error **error);

/*
 The descriptor that becomes readable (POLLIN) when the negotiation has ended. Nothing is to be read from it, and it is the
 library's to close, with the last one that waits.

 Returns the descriptor, or LGSS_EINVAL or LGSS_EFORKED.
 */
int lgss_pending_fd(const struct lgss_pending *pending);

/*
 The result, once there is one. May be asked for again.

 Puts a reference into `*context`; the caller gives it back with lgss_context_free.

 Errors: LGSS_EAGAIN while there is none, and those of lgss_lookup.
 */
int lgss_pending_result(const struct lgss_pending *pending,
                        struct lgss_context **context,
                        struct lgss_error **error);

/*
 Waits for the result, up to `timeout_ms` milliseconds; -1 is for as long as it takes.

 Puts a reference into `*context`; the caller gives it back with lgss_context_free.

 Errors: LGSS_EAGAIN after the time, and those of lgss_lookup.
 */
int lgss_pending_wait(const struct lgss_pending *pending,
                      int timeout_ms,
                      struct lgss_context **context,
                      struct lgss_error **error);

/*
 Frees it. The negotiation goes on, and the next lookup waits for the same one. NULL is allowed.
 */
void lgss_pending_free(struct lgss_pending *pending);

/*
 lgss_sign for a message in `count` pieces, which are taken as one.

 Errors: as lgss_sign.
 */
int lgss_sign_iov(const struct lgss_context *context,
                  const struct iovec *pieces,
                  size_t count,
                  void *token,
                  size_t *token_size,
                  struct lgss_error **error);

/*
 lgss_verify for a message in `count` pieces, which are taken as one.

 Errors: as lgss_verify.
 */
int lgss_verify_iov(const struct lgss_context *context,
                    const struct iovec *pieces,
                    size_t count,
                    const void *token,
                    size_t token_size,
                    int *arrival,
                    struct lgss_error **error);

/*
 Encrypts a message of `count` buffers in place; they are taken as one message, and nothing is copied. The peer needs head and
 tail, too: head, buffers and tail in this order are a token of lgss_seal.

 `*head_size` and `*tail_size` say how much room there is, and afterwards how long head and tail are, lgss_bulk_sizes. No two
 buffers may have memory in common.

 Errors: as lgss_seal. The buffers are as they were then, except after LGSS_EPANIC.
 */
int lgss_wrap_bulk(const struct lgss_context *context,
                   const struct iovec *buffers,
                   size_t count,
                   void *head,
                   size_t *head_size,
                   void *tail,
                   size_t *tail_size,
                   struct lgss_error **error);

/*
 Decrypts in place what the peer's lgss_wrap_bulk made: a message of `count` buffers, whose sizes need not be those of the
 peer's.

 Puts LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE into `*arrival`, unless that is NULL. No two buffers may have memory in common.

 Errors: as lgss_unseal. The buffers hold zeros then, unless the context could not be used at all, or an argument was wrong.
 */
int lgss_unwrap_bulk(const struct lgss_context *context,
                     const struct iovec *buffers,
                     size_t count,
                     const void *head,
                     size_t head_size,
                     const void *tail,
                     size_t tail_size,
                     int *arrival,
                     struct lgss_error **error);

/*
 A request for a context with `service`, "nfs@srv.example.com", whose tokens go by `channel`,
 "rpc:srv.example.com:2049,100003,4" (host, port, RPC program and version; an IPv6 address in brackets).

 Puts the request into `*request`; the caller frees it with lgss_request_free. Both texts are copied.

 Errors: LGSS_EINVAL.
 */
int lgss_request_new(const char *service,
                     const char *channel,
                     struct lgss_request **request,
                     struct lgss_error **error);

/*
 Which protection the context is to offer: LGSS_LEVEL_NULL, LGSS_LEVEL_AUTHENTICATION, which is the default,
 LGSS_LEVEL_INTEGRITY or LGSS_LEVEL_PRIVACY.

 This and the following setters are for one thread at a time, and do not change what has been made of the request.

 Errors: LGSS_EINVAL.
 */
int lgss_request_set_level(struct lgss_request *request,
                           int level,
                           struct lgss_error **error);

/*
 The one principal that the context may speak for, "alice@EXAMPLE.COM"; NULL for any. The text is copied.

 Errors: LGSS_EINVAL.
 */
int lgss_request_set_principal(struct lgss_request *request,
                               const char *principal,
                               struct lgss_error **error);

/*
 The one credential cache to use, "FILE:/tmp/krb5cc_1000"; NULL to leave the choice to the upcall. The text is copied. One
 that cannot be sent is an error of the lookup.

 Errors: LGSS_EINVAL.
 */
int lgss_request_set_cache(struct lgss_request *request,
                           const char *cache,
                           struct lgss_error **error);

/*
 Distinguishes contexts of one user with one service, 1 to 128 bytes of printable ASCII; NULL for none. The text is
 copied. One that cannot be sent is an error of the lookup.

 Errors: LGSS_EINVAL.
 */
int lgss_request_set_instance(struct lgss_request *request,
                              const char *instance,
                              struct lgss_error **error);

/*
 Upper bound of the context's lifetime in seconds; 0 for none.

 Errors: LGSS_EINVAL.
 */
int lgss_request_set_ttl(struct lgss_request *request, uint32_t seconds, struct lgss_error **error);

/*
 Frees the request. What has been made of it stays. NULL is allowed.
 */
void lgss_request_free(struct lgss_request *request);

/*
 The other end of a context, for calls back to a client: signs as the acceptor. It is kept in memory, in no key.

 Puts a reference into `*context`; the caller gives it back with lgss_context_free.

 Errors: LGSS_EINVAL.
 */
int lgss_install_reverse(const struct lgss_security *security,
                         const struct lgss_accepted *accepted,
                         struct lgss_context **context,
                         struct lgss_error **error);

/*
 A value that looks up contexts for `request`. `keeping` is LGSS_OWN, contexts of this process alone, or LGSS_SHARED, those
 that all processes of the user find: for protocols that do not mind gaps between the numbers of tokens.

 Puts it into `*security`; the caller frees it with lgss_security_free. The request is copied. Nothing is negotiated yet.

 Errors: LGSS_EINVAL.
 */
int lgss_security_new(const struct lgss_request *request,
                      int keeping,
                      struct lgss_security **security,
                      struct lgss_error **error);

/*
 Frees it. Contexts that were looked up may be used to their end. NULL is allowed.
 */
void lgss_security_free(struct lgss_security *security);

/*
 The context of the calling thread's effective uid: the present one if it may be used, else a new one, for which the thread
 waits up to `timeout_ms` milliseconds; -1 is for as long as it takes, 0 for not at all. Threads that ask at the same time
 wait for one negotiation.

 Puts a reference into `*context`; the caller gives it back with lgss_context_free. Signals do not end the wait.

 Errors: LGSS_EINVAL, LGSS_EAGAIN after the time, LGSS_EFAILED, LGSS_EREQUEST, LGSS_EKEEPING, LGSS_ETHREAD, and those of a
 context that has ended at once. A failure is remembered for some seconds; lgss_flush forgets it.
 */
int lgss_lookup(const struct lgss_security *security,
                int timeout_ms,
                struct lgss_context **context,
                struct lgss_error **error);

/*
 lgss_lookup for event loops: does not wait. Of `*context` and `*pending` one is set, the other NULL: a reference to a
 context that is there, to be given back with lgss_context_free, or a negotiation that goes on, to be freed with
 lgss_pending_free.

 Errors: as lgss_lookup, without LGSS_EAGAIN.
 */
int lgss_start(const struct lgss_security *security,
               struct lgss_context **context,
               struct lgss_pending **pending,
               struct lgss_error **error);

/*
 Starts the negotiation of a new context, or joins one that goes on. Lookups give the old one until the new one is there, and
 it may be used until its own end.

 Puts the negotiation into `*pending`; the caller frees it with lgss_pending_free.

 Errors: as lgss_start.
 */
int lgss_refresh(const struct lgss_security *security,
                 struct lgss_pending **pending,
                 struct lgss_error **error);

/*
 Another context than `useless`, which the server does not know any more, say. No lookup gives that one again, but who has it may use it
 on; a shared one ends for all, as with lgss_context_die. If others have replaced it already, theirs is given, so that many
 threads that find out cause one negotiation. The caller's reference to `useless` stays the caller's.

 Puts a reference into `*context`; the caller gives it back with lgss_context_free.

 Errors: as lgss_lookup.
 */
int lgss_replace(const struct lgss_security *security,
                 const struct lgss_context *useless,
                 int timeout_ms,
                 struct lgss_context **context,
                 struct lgss_error **error);

/*
 How long the tokens of lgss_sign are; 0 for NULL. The same for the whole life of a context.
 */
size_t lgss_mic_size(const struct lgss_context *context);

/*
 How long lgss_seal makes a message of `message_size` bytes; 0 for NULL, and if no buffer has such a size.
 */
size_t lgss_sealed_size(const struct lgss_context *context,
                        size_t message_size);

/*
 How long lgss_protect makes a message of `message_size` bytes; 0 for NULL, and if no buffer has such a size.
 */
size_t lgss_protected_size(const struct lgss_context *context,
                           size_t message_size);

/*
 How much room lgss_unseal needs for the message in this token, which may be some bytes more than the message has; 0 for
 NULL, and for what is no token.
 */
size_t lgss_unsealed_size(const struct lgss_context *context,
                          const void *token,
                          size_t token_size);

/*
 How long head and tail are that lgss_wrap_bulk makes. Either may be NULL; 0 for both if `context` is.
 */
void lgss_bulk_sizes(const struct lgss_context *context,
                     size_t *head,
                     size_t *tail_size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LGSS_H */
