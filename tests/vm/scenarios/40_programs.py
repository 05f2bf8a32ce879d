"""The programs under test, LGSS_DIST, at their place and by the unchanged rule."""

import errno

from bed import KEYRING, scenario


@scenario
def a_users_own_request_for_lgssc_is_refused(bed):
    """By the native, the 32-bit and the x32 system call; the kernel sees no instantiate, the log has the rule."""
    bed.upcall(KEYRING)
    for count, abi in enumerate((64, 32, "x32")):
        callout = f"{bed.secid}:krb5:2001:2001::-:1:0x20000c0a84d01:lustre-MDT0000-mdc:0x20000c0a84d02:1:"
        serial, failure, micros = bed.user("alice").request_key(
            "lgssc", f"2001@{bed.secid + 4096 + count:x}", callout, ring=-2, abi=abi
        )
        assert serial == -1 and failure == errno.EACCES, (abi, serial, failure)
        assert micros < 5_000_000, micros
        bed.until(lambda: len([line for line in bed.log.lines if "S1" in line]) > count, "a line in the log")
    assert not bed.all_events("act", act="instantiate")
