// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Registers everything. The module cannot be unloaded; the machine is switched off instead. */
#include "standin.h"

#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/sysfs.h>

unsigned int obd_timeout = 100;
static unsigned int debug_level = 1;

unsigned int bind_delay_ms;
module_param(bind_delay_ms, uint, 0644);
MODULE_PARM_DESC(bind_delay_ms, "time between request_key() and the binding of the context");
unsigned int never_bind;
module_param(never_bind, uint, 0644);
unsigned int serialise = 1;
module_param(serialise, uint, 0644);
MODULE_PARM_DESC(serialise, "one request_key() at a time for each secid");
unsigned int rpc_timeout_ms = 20000;
module_param(rpc_timeout_ms, uint, 0644);
unsigned int max_token = 65536;
module_param(max_token, uint, 0644);

atomic_t drop_updates = ATOMIC_INIT(0);

static int set_drop_updates(const char *text, const struct kernel_param *param)
{
	int value, rc = kstrtoint(text, 0, &value);

	if (!rc)
		atomic_set(&drop_updates, value);
	return rc;
}

static int get_drop_updates(char *to, const struct kernel_param *param)
{
	return sysfs_emit(to, "%d\n", atomic_read(&drop_updates));
}

static const struct kernel_param_ops drop_updates_ops = { .set = set_drop_updates, .get = get_drop_updates };
module_param_cb(drop_updates, &drop_updates_ops, NULL, 0644);
MODULE_PARM_DESC(drop_updates, "so many updates answer 0 and do nothing");

static ssize_t show_number(char *to, unsigned int number)
{
	return sysfs_emit(to, "%u\n", number);
}

static ssize_t timeout_show(struct kobject *kobj, struct kobj_attribute *attr, char *to)
{
	return show_number(to, obd_timeout);
}

static ssize_t timeout_store(struct kobject *kobj, struct kobj_attribute *attr, const char *from, size_t count)
{
	return kstrtouint(from, 0, &obd_timeout) ?: count;
}

static ssize_t debug_level_show(struct kobject *kobj, struct kobj_attribute *attr, char *to)
{
	return show_number(to, debug_level);
}

static ssize_t debug_level_store(struct kobject *kobj, struct kobj_attribute *attr, const char *from, size_t count)
{
	return kstrtouint(from, 0, &debug_level) ?: count;
}

static ssize_t init_channel_store(struct kobject *kobj, struct kobj_attribute *attr, const char *from, size_t count)
{
	return channel_write(from, count);
}

static struct kobj_attribute timeout_attr = __ATTR_RW(timeout);
static struct kobj_attribute debug_level_attr = __ATTR_RW(debug_level);
static struct kobj_attribute init_channel_attr = __ATTR(init_channel, 0200, NULL, init_channel_store);

static int __init make_sysfs(void)
{
	struct kobject *lustre = kobject_create_and_add("lustre", fs_kobj);
	struct kobject *sptlrpc = lustre ? kobject_create_and_add("sptlrpc", lustre) : NULL;
	struct kobject *gss = sptlrpc ? kobject_create_and_add("gss", sptlrpc) : NULL;
	struct kobject *keyring = gss ? kobject_create_and_add("lgss_keyring", gss) : NULL;

	if (!keyring)
		return -ENOMEM;
	return sysfs_create_file(lustre, &timeout_attr.attr) ?:
	       sysfs_create_file(gss, &init_channel_attr.attr) ?:
	       sysfs_create_file(keyring, &debug_level_attr.attr);
}

static int __init standin_init(void)
{
	return make_sysfs() ?:
	       misc_register(&control_device) ?:
	       misc_register(&server_device) ?:
	       misc_register(&client_device) ?:
	       client_register_filesystem() ?:
	       register_key_type(&lgssc_key_type);
}
module_init(standin_init);

MODULE_DESCRIPTION("Stand-in for the kernel part of Lustre's GSS, for tests");
MODULE_LICENSE("Dual MIT/GPL");
