// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The key type lgssc. */
#include "standin.h"

#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

/* Records the key and the acting process. */
static void record_act(const char *act, struct key *key, const void *data, size_t len, int rc, const char *more)
{
	char *payload = hex_of(data, data ? len : 0);
	char desc[64], comm[TASK_COMM_LEN * 2];

	record("act act=%s key=%08x desc=%s owner=%u group=%u perm=%08x pid=%d tid=%d uid=%u comm=%s null=%d len=%zu payload=%s rc=%d%s",
	       act, key->serial, word_of(desc, sizeof(desc), key->description), from_kuid(&init_user_ns, key->uid),
	       from_kgid(&init_user_ns, key->gid), key->perm, task_tgid_nr(current), task_pid_nr(current),
	       from_kuid(&init_user_ns, current_uid()), word_of(comm, sizeof(comm), current->comm), !data, len,
	       payload ?: "?", rc, more);
	kfree(payload);
}

/*
 * A ring that stays locked for a second is the one that the caller has named as the key's destination: the caller holds
 * it, and without this check key_link() would never return.
 */
static int link_into_session(struct key *key)
{
	struct key *ring = current_cred()->session_keyring;
	int tries;

	if (!ring)
		return -ENOKEY;
	for (tries = 0; rwsem_is_locked(&ring->sem); tries++) {
		if (tries == 100)
			return -EDEADLK;
		msleep(10);
	}
	return key_link(ring, key);
}

static int instantiate(struct key *key, struct key_preparsed_payload *prep)
{
	const char *linked = "";
	int rc = 0;

	if (prep->data || prep->datalen)
		rc = -EINVAL;
	else if (uid_eq(current_uid(), GLOBAL_ROOT_UID)) {
		rc = link_into_session(key);
		linked = rc ? " session=failed" : " session=linked";
	}
	record_act("instantiate", key, prep->data, prep->datalen, rc, linked);
	return rc;
}

static int update(struct key *key, struct key_preparsed_payload *prep)
{
	struct context *ctx = key->payload.data[0];
	const char *more = "";
	int rc = 0;

	if (atomic_dec_if_positive(&drop_updates) >= 0)
		more = " dropped=1";
	else if (!prep->data || !prep->datalen)
		rc = -EINVAL;
	else if (!ctx)
		rc = -EAGAIN;
	else
		rc = context_update(ctx, prep->data, prep->datalen);
	record_act("update", key, prep->data, prep->datalen, rc, more);
	return rc;
}

static void revoke(struct key *key)
{
	record_act("revoke", key, NULL, 0, 0, "");
	if (key->payload.data[0])
		context_end(key->payload.data[0], CONTEXT_REVOKED);
}

/* A bound context holds the key, so it has none here. */
static void destroy(struct key *key)
{
	WARN_ON(key->payload.data[0]);
	record("destroy key=%08x", key->serial);
}

static void describe(const struct key *key, struct seq_file *to)
{
	seq_puts(to, key->description);
}

struct key_type lgssc_key_type = {
	.name = "lgssc",
	.instantiate = instantiate,
	.update = update,
	.revoke = revoke,
	.destroy = destroy,
	.describe = describe,
};
