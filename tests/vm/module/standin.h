/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A stand-in for the kernel part of Lustre's GSS, for tests: key type lgssc, init_channel, contexts that are bound to
 * keys. It behaves as specified and as captured from a real file system; none of its code is Lustre's.
 *
 * main.c       registers everything; /sys/fs/lustre
 * client.c     /dev/lgss-client: asks for keys as the file system does
 * key_type.c   what instantiate and update do
 * contexts.c   provisional, established, failed, expired
 * channel.c    init_channel and /dev/lgss-server, the server's side of it
 * events.c     /dev/lgss-control: what was seen, and orders
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <linux/atomic.h>
#include <linux/key-type.h>
#include <linux/key.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define OBD_NAME_MAX 64

/* One request for a key, in the words of a test; see README.md. */
struct ask {
	char mech[16];
	char flags[8];
	char svc[8];
	char obd[OBD_NAME_MAX];
	char uuid[64];
	char ring[8];
	char session[8];
	char at[8];
	char desc[128];
	char *callout;
	u64 secid, lustre_svc, nid, self;
	s64 uid, gid, pid, fsuid;
	u64 wait_ms, fields, known_obd, reconnect;
	/* The context of its last run. */
	struct context *ctx;
	int error;
};

enum context_state {
	CONTEXT_NEW,
	CONTEXT_ESTABLISHED,
	CONTEXT_FAILED,		/* by a failure update */
	CONTEXT_RESTART,	/* the same with -ERESTART */
	CONTEXT_DISLIKED,	/* an update that the importer cannot use */
	CONTEXT_EXPIRED,	/* nothing within 2 x timeout */
	CONTEXT_FLUSHED,
	CONTEXT_REVOKED,	/* somebody revoked the key */
};

/* Lives until the machine is switched off. `key`, `state` and what follows change with the key's semaphore held. */
struct context {
	struct list_head list;
	struct delayed_work timer;
	wait_queue_head_t wait;
	spinlock_t lock;	/* of `key` for those who do not hold its semaphore */
	struct key *key;	/* while bound */
	struct key *ring;	/* where request_key() has linked the key */
	unsigned int id;
	key_serial_t serial;
	bool root;
	char mech[16];
	s64 uid;
	u64 secid;
	ktime_t bound_at;

	enum context_state state;
	ktime_t ended_at;
	unsigned int updates;
	u32 seq_win, gss_major;
	s32 rpc_err;
	const u8 *handle, *token;
	u32 handle_len, token_len;
	u8 *payload;
	size_t payload_len;
};

/* main.c: adjustable, see README.md */
extern unsigned int obd_timeout;
extern unsigned int bind_delay_ms;
extern unsigned int never_bind;
extern atomic_t drop_updates;
extern unsigned int serialise;
extern unsigned int rpc_timeout_ms;
extern unsigned int max_token;

/* events.c */
__printf(1, 2) void record(const char *format, ...);
char *hex_of(const void *bytes, size_t len);
const char *word_of(char *to, size_t size, const char *from);
extern struct miscdevice control_device;

/* contexts.c */
struct context *context_bind(struct key *key, struct key *ring, const struct ask *ask, bool *fresh);
int context_update(struct context *ctx, const void *data, size_t len);
void context_end(struct context *ctx, enum context_state state);
void contexts_flush(s64 uid);
int context_line(struct context *ctx, char *to, size_t size);
struct context *context_by_id(unsigned int id);
const char *context_state_name(enum context_state state);

/* key_type.c */
extern struct key_type lgssc_key_type;

/* channel.c */
extern struct miscdevice server_device;
ssize_t channel_write(const char *buf, size_t count);
int obd_set(const char *name, u32 secid, const char *state);

/* client.c */
extern struct miscdevice client_device;
int client_register_filesystem(void);

#endif
