// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/lgss-client: a write requests a key as the file system does, a read returns the result. A request can also be
 * prepared for a later moment of the same process: its ioctl, page fault, open, close or exit, mount.
 */
#include "standin.h"

#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/keyctl.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define RESULT_MAX 8192

struct client {
	struct mutex lock;
	char *result;
};

/* A request prepared for later. */
struct prepared {
	struct list_head list;
	pid_t tgid;
	struct ask *ask;
};

static LIST_HEAD(prepared);
static DEFINE_MUTEX(prepared_lock);
static struct mutex upcalls[16];

struct text_field {
	const char *name;
	size_t at, size;
};

struct number_field {
	const char *name;
	size_t at;
};

#define TEXT(field) { #field, offsetof(struct ask, field), sizeof(((struct ask *)0)->field) }
#define NUMBER(field) { #field, offsetof(struct ask, field) }

static const struct text_field text_fields[] = {
	TEXT(mech), TEXT(flags), TEXT(svc), TEXT(obd), TEXT(uuid), TEXT(ring), TEXT(session), TEXT(at), TEXT(desc),
};

static const struct number_field number_fields[] = {
	NUMBER(secid), NUMBER(lustre_svc), NUMBER(nid), NUMBER(self), NUMBER(uid), NUMBER(gid), NUMBER(pid),
	NUMBER(fsuid), NUMBER(wait_ms), NUMBER(fields), NUMBER(known_obd), NUMBER(reconnect),
};

static int set_field(struct ask *ask, const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(text_fields); i++)
		if (!strcmp(name, text_fields[i].name))
			return strscpy((char *)ask + text_fields[i].at, value, text_fields[i].size) < 0 ? -E2BIG : 0;
	for (i = 0; i < ARRAY_SIZE(number_fields); i++)
		if (!strcmp(name, number_fields[i].name))
			return *value == '-' ? kstrtos64(value, 0, (s64 *)((char *)ask + number_fields[i].at)) :
					       kstrtou64(value, 0, (u64 *)((char *)ask + number_fields[i].at));
	return -ENOENT;
}

static void free_ask(struct ask *ask)
{
	if (ask)
		kfree(ask->callout);
	kfree(ask);
}

/* `name=value` words; `callout=` takes the rest of the text. */
static int parse(struct ask *ask, char *text)
{
	char *word, *value;
	int rc;

	while (text && *text) {
		if (!strncmp(text, "callout=", 8)) {
			ask->callout = kstrdup(text + 8, GFP_KERNEL);
			return ask->callout ? 0 : -ENOMEM;
		}
		word = strsep(&text, " ");
		if (!*word)
			continue;
		value = strchr(word, '=');
		if (!value)
			return -EINVAL;
		*value++ = 0;
		rc = set_field(ask, word, value);
		if (rc)
			return rc;
	}
	return 0;
}

static struct ask *make_ask(char *text)
{
	struct ask *ask = kzalloc(sizeof(*ask), GFP_KERNEL);
	int rc;

	if (!ask)
		return ERR_PTR(-ENOMEM);
	strcpy(ask->mech, "krb5");
	strcpy(ask->svc, "-");
	strcpy(ask->obd, "lustre-MDT0000-mdc-ff2dfdc40a66a800");
	strcpy(ask->uuid, "caa7daff-f77b-4276-b4e5-6503ecb11f91");
	strcpy(ask->ring, "auto");
	strcpy(ask->session, "auto");
	strcpy(ask->at, "write");
	ask->secid = 4;
	ask->lustre_svc = 1;
	ask->nid = 0x20000c0a84d01;
	ask->self = 0x20000c0a84d02;
	ask->uid = ask->gid = ask->pid = ask->fsuid = -1;
	ask->fields = 12;
	ask->known_obd = 1;
	rc = parse(ask, text);
	if (rc) {
		free_ask(ask);
		return ERR_PTR(rc);
	}
	return ask;
}

/* Fields that the test has not set, from the running process. */
static int complete_ask(struct ask *ask)
{
	bool root = ask->flags[0];

	if (ask->uid == -1)
		ask->uid = root ? 0 : from_kuid(&init_user_ns, current_uid());
	if (ask->gid == -1)
		ask->gid = root ? 0 : from_kgid(&init_user_ns, current_gid());
	if (ask->pid == -1)
		ask->pid = task_pid_nr(root ? task_active_pid_ns(current)->child_reaper : current);
	if (!ask->desc[0])
		snprintf(ask->desc, sizeof(ask->desc), "%lld@%llx", ask->uid, ask->secid);
	if (!ask->callout)
		ask->callout = kasprintf(GFP_KERNEL, "%llu:%s:%lld:%lld:%s:%s:%llu:0x%llx:%s:0x%llx:%lld%s%s",
					 ask->secid, ask->mech, ask->uid, ask->gid, ask->flags, ask->svc,
					 ask->lustre_svc, ask->nid, ask->obd, ask->self, ask->pid,
					 ask->fields == 11 ? "" : ":", ask->fields == 11 ? "" : ask->uuid);
	return ask->callout ? 0 : -ENOMEM;
}

static struct key *ring_of(key_serial_t special)
{
	key_ref_t ref = lookup_user_key(special, KEY_LOOKUP_CREATE, KEY_NEED_SEARCH);

	return IS_ERR(ref) ? ERR_CAST(ref) : key_ref_to_ptr(ref);
}

/* A new key goes into the first of these rings: thread, process, session, else the default session of the real uid. */
static void put_ring(struct key **slot, struct key *ring)
{
	key_put(*slot);
	*slot = ring;
}

/*
 * For an ordinary user's request the user's keyring takes the place of the thread keyring. A request for the node has
 * no keyrings at all, so that its key is found whatever session requests it.
 */
static struct cred *request_creds(const struct ask *ask)
{
	bool root = ask->flags[0];
	bool user_ring = !strcmp(ask->ring, "user") || (!root && !strcmp(ask->ring, "auto"));
	bool no_ring = !strcmp(ask->ring, "none") || (root && !strcmp(ask->ring, "auto"));
	bool no_session = !strcmp(ask->session, "drop") || (root && !strcmp(ask->session, "auto"));
	struct cred *cred;
	struct key *ring = NULL;

	if (user_ring) {
		ring = ring_of(KEY_SPEC_USER_KEYRING);
		if (IS_ERR(ring))
			return ERR_CAST(ring);
	}
	cred = prepare_creds();
	if (!cred) {
		key_put(ring);
		return ERR_PTR(-ENOMEM);
	}
	if (user_ring || no_ring)
		put_ring(&cred->thread_keyring, ring);
	if (no_ring)
		put_ring(&cred->process_keyring, NULL);
	if (no_session)
		put_ring(&cred->session_keyring, NULL);
	if (ask->fsuid != -1)
		cred->fsuid = make_kuid(&init_user_ns, ask->fsuid);
	return cred;
}

struct blocked {
	s64 request_us, lock_us;
};

static struct key *request_timed(const struct ask *ask, struct blocked *blocked)
{
	struct mutex *lock = serialise ? &upcalls[ask->secid % ARRAY_SIZE(upcalls)] : NULL;
	ktime_t start = ktime_get(), locked;
	struct key *key;

	if (lock)
		mutex_lock(lock);
	locked = ktime_get();
	key = request_key(&lgssc_key_type, ask->desc, ask->callout);
	blocked->request_us = ktime_us_delta(ktime_get(), locked);
	blocked->lock_us = ktime_us_delta(locked, start);
	if (lock)
		mutex_unlock(lock);
	return key;
}

/* request_key() and the binding, with the request's creds. */
static struct context *request_and_bind(const struct ask *ask, struct blocked *blocked, int *serial, bool *fresh)
{
	struct context *ctx = NULL;
	struct key *key, *ring;

	key = request_timed(ask, blocked);
	if (IS_ERR(key)) {
		*serial = PTR_ERR(key);
		return NULL;
	}
	*serial = key->serial;
	if (bind_delay_ms)
		msleep(bind_delay_ms);
	if (!never_bind) {
		ring = current_cred()->thread_keyring ?: current_cred()->session_keyring;
		ring = ring ? key_get(ring) : ring_of(KEY_SPEC_USER_SESSION_KEYRING);
		ctx = context_bind(key, IS_ERR(ring) ? NULL : ring, ask, fresh);
		if (!IS_ERR(ring))
			key_put(ring);
	}
	key_put(key);
	return ctx;
}

/* Makes a request in the running process; the result is one line. */
static char *run_ask(struct ask *ask)
{
	struct blocked blocked = {};
	struct context *ctx;
	struct cred *cred;
	const struct cred *old;
	char *result = kmalloc(RESULT_MAX, GFP_KERNEL), desc[128];
	ktime_t start = ktime_get();
	int serial = 0, len, rc = complete_ask(ask);
	bool fresh = false;

	ask->ctx = NULL;
	ask->error = rc ?: -ENOMEM;

	if (!result)
		return NULL;
	cred = rc ? ERR_PTR(rc) : request_creds(ask);
	if (IS_ERR(cred)) {
		snprintf(result, RESULT_MAX, "broken=%ld\n", PTR_ERR(cred));
		return result;
	}
	if (ask->known_obd)
		obd_set(ask->obd, ask->secid, "up");
	old = override_creds(cred);
	ctx = request_and_bind(ask, &blocked, &serial, &fresh);
	revert_creds(old);
	put_cred(cred);
	ask->ctx = ctx;
	ask->error = min(serial, 0);

	len = scnprintf(result, RESULT_MAX, "serial=%d errno=%d blocked_us=%lld lock_us=%lld new=%d",
			max(serial, 0), serial < 0 ? -serial : 0, blocked.request_us, blocked.lock_us, fresh);
	record("request tid=%d desc=%s at=%s %s", task_pid_nr(current), word_of(desc, sizeof(desc), ask->desc),
	       ask->at, result);
	if (ctx) {
		if (ask->wait_ms)
			wait_event_killable_timeout(ctx->wait, smp_load_acquire(&ctx->state) != CONTEXT_NEW,
						    msecs_to_jiffies(ask->wait_ms));
		len += context_line(ctx, result + len, RESULT_MAX - len);
	}
	scnprintf(result + len, RESULT_MAX - len, " total_us=%lld\n", ktime_us_delta(ktime_get(), start));
	return result;
}

struct worker {
	struct work_struct work;
	struct ask *ask;
	char *result;
};

static void run_in_worker(struct work_struct *work)
{
	struct worker *worker = container_of(work, struct worker, work);

	worker->result = run_ask(worker->ask);
}

/* In a kernel thread, as the file system's own threads do it. */
static char *run_ask_in_worker(struct ask *ask)
{
	struct worker worker = { .ask = ask };

	INIT_WORK_ONSTACK(&worker.work, run_in_worker);
	queue_work(system_unbound_wq, &worker.work);
	flush_work(&worker.work);
	destroy_work_on_stack(&worker.work);
	return worker.result;
}

static int prepare(struct ask *ask)
{
	struct prepared *new = kmalloc(sizeof(*new), GFP_KERNEL);

	if (!new)
		return -ENOMEM;
	new->tgid = task_tgid_nr(current);
	new->ask = ask;
	mutex_lock(&prepared_lock);
	list_add_tail(&new->list, &prepared);
	mutex_unlock(&prepared_lock);
	return 0;
}

/* NULL if this process has prepared none for this moment. */
static struct ask *take_prepared(const char *at)
{
	struct prepared *entry, *found = NULL;
	struct ask *ask;

	mutex_lock(&prepared_lock);
	list_for_each_entry(entry, &prepared, list)
		if (entry->tgid == task_tgid_nr(current) && !strcmp(entry->ask->at, at)) {
			found = entry;
			list_del(&entry->list);
			break;
		}
	mutex_unlock(&prepared_lock);
	if (!found)
		return NULL;
	ask = found->ask;
	kfree(found);
	return ask;
}

static char *run_prepared(const char *at)
{
	struct ask *ask = take_prepared(at);
	char *result = ask ? run_ask(ask) : NULL;

	free_ask(ask);
	return result;
}

static void put_result(struct file *file, char *result)
{
	struct client *client = file->private_data;

	mutex_lock(&client->lock);
	swap(client->result, result);
	mutex_unlock(&client->lock);
	kfree(result);
}

static ssize_t client_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct ask *ask;
	char *text;
	int rc;

	if (count > 8192)
		return -EMSGSIZE;
	text = memdup_user_nul(from, count);
	if (IS_ERR(text))
		return PTR_ERR(text);
	ask = make_ask(text);
	kfree(text);
	if (IS_ERR(ask))
		return PTR_ERR(ask);
	if (strcmp(ask->at, "write") && strcmp(ask->at, "worker")) {
		rc = prepare(ask);
		if (rc)
			free_ask(ask);
		return rc ?: count;
	}
	put_result(file, !strcmp(ask->at, "worker") ? run_ask_in_worker(ask) : run_ask(ask));
	free_ask(ask);
	return count;
}

/* The result, once; 0 bytes if there is none. */
static ssize_t client_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct client *client = file->private_data;
	ssize_t len = 0;

	mutex_lock(&client->lock);
	if (client->result) {
		len = strlen(client->result);
		if (size < len)
			len = -EMSGSIZE;
		else if (copy_to_user(to, client->result, len))
			len = -EFAULT;
	}
	if (len > 0) {
		kfree(client->result);
		client->result = NULL;
	}
	mutex_unlock(&client->lock);
	return len;
}

/* The argument is the number of a context, whose present state becomes the result; 0 runs a prepared request. */
static long client_ioctl(struct file *file, unsigned int command, unsigned long id)
{
	struct context *ctx;
	char *result;
	int len;

	if (!id) {
		put_result(file, run_prepared("ioctl"));
		return 0;
	}
	ctx = context_by_id(id);
	if (!ctx)
		return -ENOENT;
	result = kmalloc(RESULT_MAX, GFP_KERNEL);
	if (!result)
		return -ENOMEM;
	len = context_line(ctx, result, RESULT_MAX - 1);
	strcpy(result + len, "\n");
	put_result(file, result);
	return 0;
}

static vm_fault_t client_fault(struct vm_fault *vmf)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	if (!page)
		return VM_FAULT_OOM;
	put_result(vmf->vma->vm_file, run_prepared("fault"));
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct client_vm_operations = { .fault = client_fault };

static int client_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &client_vm_operations;
	return 0;
}

static int client_open(struct inode *inode, struct file *file)
{
	struct client *client = kzalloc(sizeof(*client), GFP_KERNEL);

	if (!client)
		return -ENOMEM;
	mutex_init(&client->lock);
	client->result = run_prepared("open");
	file->private_data = client;
	return 0;
}

static int client_release(struct inode *inode, struct file *file)
{
	struct client *client = file->private_data;

	kfree(run_prepared("close"));
	kfree(client->result);
	kfree(client);
	return 0;
}

static const struct file_operations client_operations = {
	.owner = THIS_MODULE,
	.open = client_open,
	.release = client_release,
	.read = client_read,
	.write = client_write,
	.unlocked_ioctl = client_ioctl,
	.compat_ioctl = client_ioctl,
	.mmap = client_mmap,
	.llseek = noop_llseek,
};

struct miscdevice client_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lgss-client",
	.mode = 0666,
	.fops = &client_operations,
};

/*
 * A connection that a mount waits for. mount's own process makes the first request, and if that fails the mount fails.
 * A request on a failed context gets EPERM; then a kernel thread makes the connection again, about twice a second, and
 * the mount waits until that succeeds or it is killed.
 */
static int connect_import(struct ask *ask)
{
	struct context *ctx;
	char *result = run_ask(ask);

	if (ask->error) {
		kfree(result);
		return ask->error;
	}
	for (;;) {
		kfree(result);
		ctx = ask->ctx;
		if (ctx && wait_event_killable(ctx->wait, smp_load_acquire(&ctx->state) != CONTEXT_NEW))
			return -EINTR;
		if (ctx && ctx->state == CONTEXT_ESTABLISHED)
			return 0;
		record("denied desc=%s errno=%d", ask->desc, ask->error ? -ask->error : EPERM);
		if (schedule_timeout_killable(HZ / 2) || fatal_signal_pending(current))
			return -EINTR;
		result = run_ask_in_worker(ask);
	}
}

static int client_fill_super(struct super_block *sb, struct fs_context *context)
{
	static const struct tree_descr none[] = { {}, {}, { "" } };

	return simple_fill_super(sb, 0x4c475353, none);
}

static int client_get_tree(struct fs_context *context)
{
	return connect_import(context->fs_private) ?: get_tree_nodev(context, client_fill_super);
}

static void client_free(struct fs_context *context)
{
	free_ask(context->fs_private);
}

static const struct fs_context_operations client_context_operations = {
	.get_tree = client_get_tree,
	.free = client_free,
};

/* mount -t lgss_client: makes the request, then the mount fails with ENODEV; with `reconnect` it is a real one. */
static int client_mount(struct fs_context *context)
{
	struct ask *ask = take_prepared("mount");

	if (ask && ask->reconnect) {
		context->fs_private = ask;
		context->ops = &client_context_operations;
		return 0;
	}
	if (ask)
		kfree(run_ask(ask));
	free_ask(ask);
	return -ENODEV;
}

static struct file_system_type client_filesystem = {
	.owner = THIS_MODULE,
	.name = "lgss_client",
	.init_fs_context = client_mount,
	.kill_sb = kill_litter_super,
};

int client_register_filesystem(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(upcalls); i++)
		mutex_init(&upcalls[i]);
	return register_filesystem(&client_filesystem);
}
