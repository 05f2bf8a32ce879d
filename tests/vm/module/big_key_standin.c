// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Keys of type `big_key` for a kernel built without them: in memory, unencrypted, up to the 32 KiB of `user` keys. Like
 * the real ones they charge a few bytes to the owner's quota, whatever they hold.
 */
#include <linux/key-type.h>
#include <linux/module.h>
#include <keys/user-type.h>

#define QUOTA 16

static int big_key_preparse(struct key_preparsed_payload *prep)
{
	int rc = user_preparse(prep);

	prep->quotalen = QUOTA;
	return rc;
}

static struct key_type big_key_type = {
	.name = "big_key",
	.preparse = big_key_preparse,
	.free_preparse = user_free_preparse,
	.instantiate = generic_key_instantiate,
	.update = user_update,
	.revoke = user_revoke,
	.destroy = user_destroy,
	.describe = user_describe,
	.read = user_read,
};

static int __init big_key_init(void)
{
	return register_key_type(&big_key_type);
}
module_init(big_key_init);

static void __exit big_key_exit(void)
{
	unregister_key_type(&big_key_type);
}
module_exit(big_key_exit);

MODULE_DESCRIPTION("Stand-in for the kernel's big_key, for tests");
MODULE_LICENSE("Dual MIT/GPL");
