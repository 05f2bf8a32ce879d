// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/lgss-control: a read returns events, one line per read, `name t=<µs since boot> field=value ...`; each open
 * starts at the beginning. A write gives one order.
 */
#include "standin.h"

#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

static DEFINE_XARRAY(events);
static DEFINE_MUTEX(events_lock);
static unsigned long events_next;
static DECLARE_WAIT_QUEUE_HEAD(events_wait);

/* The first word of the format is the event's name. */
void record(const char *format, ...)
{
	const char *fields = strchrnul(format, ' ');
	char *said, *line = NULL;
	va_list args;

	va_start(args, format);
	said = kvasprintf(GFP_KERNEL, fields, args);
	va_end(args);
	if (said)
		line = kasprintf(GFP_KERNEL, "%.*s t=%lld%s\n", (int)(fields - format), format,
				 ktime_to_us(ktime_get_boottime()), said);
	kfree(said);
	if (!line)
		return;
	mutex_lock(&events_lock);
	if (!xa_is_err(xa_store(&events, events_next, line, GFP_KERNEL)))
		events_next++;
	mutex_unlock(&events_lock);
	wake_up_all(&events_wait);
}

/* The value of a field; an empty one is `-`. */
char *hex_of(const void *bytes, size_t len)
{
	char *hex = kmalloc(2 * len + 2, GFP_KERNEL);

	if (hex) {
		*bin2hex(hex, bytes, len) = 0;
		if (!len)
			strcpy(hex, "-");
	}
	return hex;
}

/* A string that others have chosen, as one word. */
const char *word_of(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] > ' ' && from[i] < 0x7f ? from[i] : '?';
	to[i] = 0;
	return i ? to : "-";
}

static ssize_t control_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	size_t len;
	char *line;

	if (file->f_flags & O_NONBLOCK && !xa_load(&events, *pos))
		return -EAGAIN;
	if (wait_event_interruptible(events_wait, (line = xa_load(&events, *pos))))
		return -ERESTARTSYS;
	len = strlen(line);
	if (size < len)
		return -EMSGSIZE;
	if (copy_to_user(to, line, len))
		return -EFAULT;
	(*pos)++;
	return len;
}

static __poll_t control_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &events_wait, table);
	return xa_load(&events, file->f_pos) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* flush UID|all; obd NAME SECID up|stopping|noimport|gone; note WORD */
static int obey(char *order)
{
	char *verb = strsep(&order, " "), *first = strsep(&order, " ");
	char *second = strsep(&order, " "), *third = strsep(&order, " ");
	long long uid = -1;
	u32 secid;

	if (!verb || !first)
		return -EINVAL;
	if (!strcmp(verb, "flush")) {
		if (strcmp(first, "all") && kstrtoll(first, 0, &uid))
			return -EINVAL;
		contexts_flush(uid);
		return 0;
	}
	if (!strcmp(verb, "obd") && second && third && !kstrtou32(second, 0, &secid))
		return obd_set(first, secid, third);
	if (!strcmp(verb, "note")) {
		record("note word=%s", first);
		return 0;
	}
	return -EINVAL;
}

static ssize_t control_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	char *order;
	int rc;

	if (count > 256)
		return -EMSGSIZE;
	order = memdup_user_nul(from, count);
	if (IS_ERR(order))
		return PTR_ERR(order);
	rc = obey(strim(order));
	kfree(order);
	return rc ?: count;
}

static const struct file_operations control_operations = {
	.owner = THIS_MODULE,
	.read = control_read,
	.write = control_write,
	.poll = control_poll,
	.llseek = noop_llseek,
};

struct miscdevice control_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lgss-control",
	.mode = 0600,
	.fops = &control_operations,
};
