// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Contexts: bound to a key after request_key() has returned, ended by an update, the timer, a flush or a revocation. */
#include "standin.h"

#include <asm/unaligned.h>
#include <linux/cred.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

static LIST_HEAD(contexts);
static DEFINE_MUTEX(contexts_lock);
static unsigned int last_id;

static const char *const state_names[] = {
	[CONTEXT_NEW] = "new",
	[CONTEXT_ESTABLISHED] = "established",
	[CONTEXT_FAILED] = "failed",
	[CONTEXT_RESTART] = "restart",
	[CONTEXT_DISLIKED] = "disliked",
	[CONTEXT_EXPIRED] = "expired",
	[CONTEXT_FLUSHED] = "flushed",
	[CONTEXT_REVOKED] = "revoked",
};

const char *context_state_name(enum context_state state)
{
	return state_names[state];
}

static struct key *bound_key(struct context *ctx)
{
	struct key *key;

	spin_lock(&ctx->lock);
	key = ctx->key ? key_get(ctx->key) : NULL;
	spin_unlock(&ctx->lock);
	return key;
}

/* The keyring of a user in the initial namespace, or NULL. */
static struct key *keyring_of(kuid_t owner)
{
	struct key *keyrings = READ_ONCE(init_user_ns.user_keyring_register);
	char name[24];
	key_ref_t ring;

	if (!keyrings)
		return NULL;
	snprintf(name, sizeof(name), "_uid.%u", from_kuid(&init_user_ns, owner));
	ring = keyring_search(make_key_ref(keyrings, true), &key_type_keyring, name, false);
	return IS_ERR(ring) ? NULL : key_ref_to_ptr(ring);
}

/*
 * The caller holds the key's semaphore and a reference to the key. A user's key is looked for in the keyring of the
 * key's owner, wherever it has been linked to; the node's key in the ring of its request.
 */
static void unbind(struct context *ctx)
{
	struct key *key = ctx->key, *ring;

	if (!key)
		return;
	ring = ctx->root ? key_get(ctx->ring) : keyring_of(key->uid);
	if (ring) {
		key_unlink(ring, key);
		key_put(ring);
	}
	/* key_invalidate() would take the semaphore; without its collector the key goes with its last link. */
	set_bit(KEY_FLAG_INVALIDATED, &key->flags);
	key->payload.data[0] = NULL;
	spin_lock(&ctx->lock);
	ctx->key = NULL;
	spin_unlock(&ctx->lock);
	key_put(key);
}

/* The caller holds the key's semaphore. */
void context_end(struct context *ctx, enum context_state state)
{
	bool kept = state == CONTEXT_ESTABLISHED && !ctx->root;

	if (ctx->state == CONTEXT_NEW) {
		ctx->ended_at = ktime_get();
		/* Before the waiters are woken, so that their next request makes a new key. */
		if (!kept)
			unbind(ctx);
		smp_store_release(&ctx->state, state);
		cancel_delayed_work(&ctx->timer);
		wake_up_all(&ctx->wait);
		record("end ctx=%u key=%08x state=%s rpc_err=%d gss_major=0x%08x after_us=%lld", ctx->id, ctx->serial,
		       state_names[state], ctx->rpc_err, ctx->gss_major,
		       ktime_us_delta(ctx->ended_at, ctx->bound_at));
	} else if (!kept) {
		unbind(ctx);
	}
}

static void end_from_outside(struct context *ctx, enum context_state state)
{
	struct key *key = bound_key(ctx);

	if (!key)
		return;
	down_write(&key->sem);
	if (state != CONTEXT_EXPIRED || ctx->state == CONTEXT_NEW)
		context_end(ctx, state);
	up_write(&key->sem);
	key_put(key);
}

static void expire(struct work_struct *work)
{
	end_from_outside(container_of(work, struct context, timer.work), CONTEXT_EXPIRED);
}

/* uid -1 means every user. */
void contexts_flush(s64 uid)
{
	struct context *ctx;

	mutex_lock(&contexts_lock);
	list_for_each_entry(ctx, &contexts, list)
		if (uid == -1 || ctx->uid == uid)
			end_from_outside(ctx, CONTEXT_FLUSHED);
	mutex_unlock(&contexts_lock);
}

static struct context *make_context(struct key *key, struct key *ring, const struct ask *ask)
{
	struct context *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return NULL;
	INIT_DELAYED_WORK(&ctx->timer, expire);
	init_waitqueue_head(&ctx->wait);
	spin_lock_init(&ctx->lock);
	ctx->key = key_get(key);
	ctx->ring = ring ? key_get(ring) : NULL;
	ctx->serial = key->serial;
	ctx->root = ask->flags[0] != 0;
	strscpy(ctx->mech, ask->mech, sizeof(ctx->mech));
	ctx->uid = ask->uid;
	ctx->secid = ask->secid;
	ctx->bound_at = ktime_get();
	mutex_lock(&contexts_lock);
	ctx->id = ++last_id;
	list_add_tail(&ctx->list, &contexts);
	mutex_unlock(&contexts_lock);
	return ctx;
}

/* The key's context, a new one if it has none. NULL if the key is no longer usable, or without memory. */
struct context *context_bind(struct key *key, struct key *ring, const struct ask *ask, bool *fresh)
{
	struct context *ctx;

	*fresh = false;
	down_write(&key->sem);
	ctx = key->payload.data[0];
	if (!ctx && !key_validate(key)) {
		ctx = make_context(key, ring, ask);
		if (ctx) {
			*fresh = true;
			key->payload.data[0] = ctx;
			schedule_delayed_work(&ctx->timer, 2 * HZ * obd_timeout);
			record("bind ctx=%u key=%08x uid=%lld secid=%llu", ctx->id, key->serial, ctx->uid,
			       ctx->secid);
		}
	}
	up_write(&key->sem);
	return ctx;
}

struct context *context_by_id(unsigned int id)
{
	struct context *ctx, *found = NULL;

	mutex_lock(&contexts_lock);
	list_for_each_entry(ctx, &contexts, list)
		if (ctx->id == id)
			found = ctx;
	mutex_unlock(&contexts_lock);
	return found;
}

/* A context as tests read it; handle and token in hex, `-` if there is none. */
int context_line(struct context *ctx, char *to, size_t size)
{
	enum context_state state = smp_load_acquire(&ctx->state);
	char *handle = hex_of(ctx->handle, state == CONTEXT_ESTABLISHED ? ctx->handle_len : 0);
	char *token = hex_of(ctx->token, state == CONTEXT_ESTABLISHED ? ctx->token_len : 0);
	int len = scnprintf(to, size,
			    " ctx=%u state=%s rpc_err=%d gss_major=0x%08x seq_win=%u updates=%u after_us=%lld handle=%s token=%s",
			    ctx->id, state_names[state], ctx->rpc_err, ctx->gss_major, ctx->seq_win, ctx->updates,
			    state == CONTEXT_NEW ? -1 : ktime_us_delta(ctx->ended_at, ctx->bound_at),
			    handle ?: "?", token ?: "?");

	kfree(handle);
	kfree(token);
	return len;
}

/* `u32 len` and that many bytes. */
static const u8 *take_bytes(const u8 **at, const u8 *end, u32 *len)
{
	const u8 *bytes;

	if (end - *at < 4)
		return NULL;
	*len = get_unaligned((const u32 *)*at);
	bytes = *at + 4;
	if (*len > end - bytes)
		return NULL;
	*at = bytes + *len;
	return bytes;
}

/* u32 2, end time, flags, u64 sequence, enctype, key size, 3, three keys. */
static bool krb5_token_is_good(const u8 *token, u32 len)
{
	u32 enctype, size;

	if (len < 32 || get_unaligned((const u32 *)token) != 2)
		return false;
	enctype = get_unaligned((const u32 *)(token + 20));
	size = get_unaligned((const u32 *)(token + 24));
	return get_unaligned((const u32 *)(token + 28)) == 3 && len == 32 + 3 * size &&
	       ((size == 16 && (enctype == 17 || enctype == 19)) || (size == 32 && (enctype == 18 || enctype == 20)));
}

/*
 * u32 version, two names of 128 bytes, u32 expire, 2 x 4 random bytes, two keys; the rest is ignored. Without an algorithm
 * the first key is empty.
 */
static bool sk_token_is_good(const u8 *token, u32 len)
{
	const u8 *at = token + 4 + 2 * 128 + 4 + 8, *end = token + len;
	u32 key_len;
	bool null = len >= at - token && !strncmp(token + 4, "null", 128);

	return len >= at - token && get_unaligned((const u32 *)token) == 1 && take_bytes(&at, end, &key_len) &&
	       (key_len || null) && take_bytes(&at, end, &key_len);
}

static bool token_is_good(const struct context *ctx)
{
	if (!strcmp(ctx->mech, "krb5"))
		return krb5_token_is_good(ctx->token, ctx->token_len);
	if (!strcmp(ctx->mech, "sk"))
		return sk_token_is_good(ctx->token, ctx->token_len);
	return ctx->token_len != 0;
}

static enum context_state parse_success(struct context *ctx)
{
	const u8 *at = ctx->payload + 4, *end = ctx->payload + ctx->payload_len;

	ctx->handle = take_bytes(&at, end, &ctx->handle_len);
	ctx->token = ctx->handle ? take_bytes(&at, end, &ctx->token_len) : NULL;
	if (!ctx->token || at != end || !ctx->handle_len || !token_is_good(ctx))
		return CONTEXT_DISLIKED;
	return CONTEXT_ESTABLISHED;
}

static enum context_state parse_failure(struct context *ctx)
{
	if (ctx->payload_len != 12)
		return CONTEXT_DISLIKED;
	ctx->rpc_err = get_unaligned((const s32 *)(ctx->payload + 4));
	ctx->gss_major = get_unaligned((const u32 *)(ctx->payload + 8));
	if (!ctx->rpc_err && ctx->gss_major)
		ctx->rpc_err = -EACCES;
	if (ctx->rpc_err >= 0)
		return CONTEXT_DISLIKED;
	return ctx->rpc_err == -ERESTART ? CONTEXT_RESTART : CONTEXT_FAILED;
}

/* The caller holds the key's semaphore. Returns 0 whatever the contents are, unless memory is lacking. */
int context_update(struct context *ctx, const void *data, size_t len)
{
	enum context_state state = CONTEXT_DISLIKED;

	if (ctx->updates++)
		return 0;
	ctx->payload = kmemdup(data, len, GFP_KERNEL);
	if (!ctx->payload)
		return -ENOMEM;
	ctx->payload_len = len;
	if (len >= 4) {
		ctx->seq_win = get_unaligned((const u32 *)ctx->payload);
		state = ctx->seq_win ? parse_success(ctx) : parse_failure(ctx);
	}
	if (state == CONTEXT_DISLIKED && !ctx->rpc_err)
		ctx->rpc_err = -EACCES;
	context_end(ctx, state);
	return 0;
}
