// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * init_channel: one write is one RPC to the server. The server is the process that has /dev/lgss-server open: it reads
 * the next RPC as struct rpc_header and the token, and answers by writing struct rpc_answer and the bytes of the reply
 * buffer.
 */
#include "standin.h"

#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define RECORDED_MAX 32768	/* bytes of a token or reply that an event shows */

struct parameters {
	u32 version, secid;
	u64 obd;
	u32 lustre_svc, uid, gid, padding;
	u64 send_len, send, reply_size, reply, status;
};
static_assert(sizeof(struct parameters) == 72);

struct rpc_header {
	u64 id;
	u32 secid, lustre_svc, mech, uid, gid, token_len;
	char obd[OBD_NAME_MAX];
};
static_assert(sizeof(struct rpc_header) == 96);

struct rpc_answer {
	u64 id;
	s64 status;
	s32 write_errno;	/* what write(2) fails with, 0 for success */
	u32 reply_len;
};
static_assert(sizeof(struct rpc_answer) == 24);

struct rpc {
	struct list_head list;
	struct rpc_header header;
	u8 *token;
	bool taken, answered;
	struct rpc_answer answer;
	u8 *reply;
};

struct obd {
	struct list_head list;
	char name[OBD_NAME_MAX];
	u32 secid;
	bool up;
};

static LIST_HEAD(rpcs);
static LIST_HEAD(obds);
static DEFINE_MUTEX(channel_lock);
static DECLARE_WAIT_QUEUE_HEAD(server_wait);
static DECLARE_WAIT_QUEUE_HEAD(writer_wait);
static u64 last_rpc;
static unsigned int servers;

static struct obd *obd_named(const char *name)
{
	struct obd *obd;

	list_for_each_entry(obd, &obds, list)
		if (!strcmp(obd->name, name))
			return obd;
	return NULL;
}

/* RPCs can be sent in the state `up` only. */
int obd_set(const char *name, u32 secid, const char *state)
{
	struct obd *obd;
	int rc = 0;

	if (strlen(name) >= OBD_NAME_MAX)
		return -ENAMETOOLONG;
	mutex_lock(&channel_lock);
	obd = obd_named(name);
	if (!obd) {
		obd = kzalloc(sizeof(*obd), GFP_KERNEL);
		if (obd) {
			strscpy(obd->name, name, sizeof(obd->name));
			list_add(&obd->list, &obds);
		}
	}
	if (obd) {
		obd->secid = secid;
		obd->up = !strcmp(state, "up");
	} else {
		rc = -ENOMEM;
	}
	mutex_unlock(&channel_lock);
	return rc;
}

/* Returns 0 or the errno of write(2); other failures go into *status. */
static int take_parameters(const struct parameters *from, struct rpc *rpc, s64 *status)
{
	struct obd *obd;
	long len;
	int rc = 0;

	if (from->version != 2)
		return -EINVAL;
	len = strncpy_from_user(rpc->header.obd, u64_to_user_ptr(from->obd), OBD_NAME_MAX);
	if (len < 0)
		return -EFAULT;
	if (len == OBD_NAME_MAX)
		return -EINVAL;
	mutex_lock(&channel_lock);
	obd = obd_named(rpc->header.obd);
	if (!obd || !obd->up)
		rc = -EINVAL;
	else if (obd->secid != from->secid)
		*status = -EINVAL;
	mutex_unlock(&channel_lock);
	if (rc || *status)
		return rc;
	if (from->send_len > max_token) {
		*status = -E2BIG;
		return 0;
	}
	rpc->token = memdup_user(u64_to_user_ptr(from->send), from->send_len);
	if (IS_ERR(rpc->token)) {
		rc = PTR_ERR(rpc->token);
		rpc->token = NULL;
		return rc;
	}
	rpc->header.secid = from->secid;
	rpc->header.lustre_svc = from->lustre_svc & 0xffff;
	rpc->header.mech = from->lustre_svc >> 16;
	rpc->header.uid = from->uid;
	rpc->header.gid = from->gid;
	rpc->header.token_len = from->send_len;
	return 0;
}

/* Blocks until the server has answered, the time is over, or the caller is killed. */
static int exchange(struct rpc *rpc, s64 *status)
{
	long left;

	mutex_lock(&channel_lock);
	rpc->header.id = ++last_rpc;
	rpc->answer.status = -ETIMEDOUT;
	if (servers)
		list_add_tail(&rpc->list, &rpcs);
	mutex_unlock(&channel_lock);
	if (list_empty(&rpc->list)) {
		*status = -ETIMEDOUT;
		return 0;
	}
	wake_up_all(&server_wait);
	left = wait_event_killable_timeout(writer_wait, READ_ONCE(rpc->answered), msecs_to_jiffies(rpc_timeout_ms));
	mutex_lock(&channel_lock);
	list_del_init(&rpc->list);
	mutex_unlock(&channel_lock);
	*status = rpc->answer.status;
	return left < 0 ? -EINTR : -rpc->answer.write_errno;
}

static int send_and_reply(const struct parameters *from, struct rpc *rpc, s64 *status)
{
	int rc = take_parameters(from, rpc, status);

	if (!rc && !*status)
		rc = exchange(rpc, status);
	if (!rc && !*status && rpc->answer.reply_len > from->reply_size)
		*status = -EFAULT;
	if (!rc && !*status && copy_to_user(u64_to_user_ptr(from->reply), rpc->reply, rpc->answer.reply_len))
		rc = -EFAULT;
	if (!rc && copy_to_user(u64_to_user_ptr(from->status), status, sizeof(*status)))
		rc = -EFAULT;
	return rc;
}

ssize_t channel_write(const char *buf, size_t count)
{
	struct rpc *rpc;
	char *raw, *token, *reply, obd[OBD_NAME_MAX];
	ktime_t start = ktime_get();
	s64 status = 0;
	int rc = -EINVAL;

	rpc = kzalloc(sizeof(*rpc), GFP_KERNEL);
	if (!rpc)
		return -ENOMEM;
	INIT_LIST_HEAD(&rpc->list);
	if (count == sizeof(struct parameters))
		rc = send_and_reply((const struct parameters *)buf, rpc, &status);
	raw = hex_of(buf, min_t(size_t, count, 256));
	token = hex_of(rpc->token, min_t(size_t, rpc->header.token_len, RECORDED_MAX));
	reply = hex_of(rpc->reply, min_t(size_t, rpc->answer.reply_len, RECORDED_MAX));
	record("rpc rpc=%llu pid=%d uid=%u count=%zu raw=%s obd=%s secid=%u svc=%u mech=%u for_uid=%u for_gid=%u token=%s rc=%d status=%lld reply=%s us=%lld",
	       rpc->header.id, task_tgid_nr(current), from_kuid(&init_user_ns, current_uid()), count, raw ?: "?",
	       word_of(obd, sizeof(obd), rpc->header.obd), rpc->header.secid, rpc->header.lustre_svc,
	       rpc->header.mech, rpc->header.uid, rpc->header.gid, token ?: "?", rc, status, reply ?: "?",
	       ktime_us_delta(ktime_get(), start));
	kfree(raw);
	kfree(token);
	kfree(reply);
	kfree(rpc->token);
	kvfree(rpc->reply);
	kfree(rpc);
	return rc ?: count;
}

/* With channel_lock held. */
static struct rpc *next_rpc(void)
{
	struct rpc *rpc;

	list_for_each_entry(rpc, &rpcs, list)
		if (!rpc->taken)
			return rpc;
	return NULL;
}

static bool rpc_waits(void)
{
	bool waits;

	mutex_lock(&channel_lock);
	waits = next_rpc() != NULL;
	mutex_unlock(&channel_lock);
	return waits;
}

static ssize_t server_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct rpc *rpc;
	ssize_t rc = -EAGAIN;

	if (!(file->f_flags & O_NONBLOCK) && wait_event_interruptible(server_wait, rpc_waits()))
		return -ERESTARTSYS;
	mutex_lock(&channel_lock);
	rpc = next_rpc();
	if (rpc) {
		rc = sizeof(rpc->header) + rpc->header.token_len;
		if (size < rc)
			rc = -EMSGSIZE;
		else if (copy_to_user(to, &rpc->header, sizeof(rpc->header)) ||
			 copy_to_user(to + sizeof(rpc->header), rpc->token, rpc->header.token_len))
			rc = -EFAULT;
		else
			rpc->taken = true;
	}
	mutex_unlock(&channel_lock);
	return rc;
}

/* ESRCH if the RPC is gone. */
static ssize_t server_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct rpc_answer answer;
	struct rpc *rpc;
	ssize_t rc = -ESRCH;
	u8 *reply;

	if (count < sizeof(answer) || copy_from_user(&answer, from, sizeof(answer)))
		return -EFAULT;
	if (answer.reply_len != count - sizeof(answer) || answer.reply_len > 1 << 20)
		return -EINVAL;
	reply = kvmalloc(answer.reply_len + 1, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	if (copy_from_user(reply, from + sizeof(answer), answer.reply_len)) {
		kvfree(reply);
		return -EFAULT;
	}
	mutex_lock(&channel_lock);
	list_for_each_entry(rpc, &rpcs, list)
		if (rpc->header.id == answer.id && !rpc->answered) {
			rpc->answer = answer;
			swap(rpc->reply, reply);
			smp_store_release(&rpc->answered, true);
			rc = count;
			break;
		}
	mutex_unlock(&channel_lock);
	kvfree(reply);
	wake_up_all(&writer_wait);
	return rc;
}

static __poll_t server_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &server_wait, table);
	return rpc_waits() ? EPOLLIN | EPOLLRDNORM : 0;
}

static int server_open(struct inode *inode, struct file *file)
{
	mutex_lock(&channel_lock);
	servers++;
	mutex_unlock(&channel_lock);
	return 0;
}

static int server_release(struct inode *inode, struct file *file)
{
	mutex_lock(&channel_lock);
	servers--;
	mutex_unlock(&channel_lock);
	return 0;
}

static const struct file_operations server_operations = {
	.owner = THIS_MODULE,
	.open = server_open,
	.release = server_release,
	.read = server_read,
	.write = server_write,
	.poll = server_poll,
	.llseek = noop_llseek,
};

struct miscdevice server_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lgss-server",
	.mode = 0600,
	.fops = &server_operations,
};
