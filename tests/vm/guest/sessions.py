"""Requesters with their own session keyring, and the contents of keyrings."""

import contextlib
import subprocess

from bed import USERS
from requester import Requester, join_new_session, keyctl

PROCESS, SESSION, USER = -2, -3, -4
REVOKE, CLEAR, LINK, SEARCH, READ, SET_TIMEOUT, GET_PERSISTENT = 3, 7, 8, 10, 11, 15, 22


def in_session(user, *after, environment=None):
    """A user in a new session keyring, after these steps."""
    return Requester(USERS[user], after=[join_new_session, *after], environment=environment)


@contextlib.contextmanager
def lasting_keyrings_of(user):
    """Empties the user's keyrings that outlive a session, before and after the block."""
    user.run(empty_lasting_keyrings)
    try:
        yield
    finally:
        user.run(empty_lasting_keyrings)


def empty_lasting_keyrings():
    for ring in (USER, keyctl(GET_PERSISTENT, -1, PROCESS)[0]):
        keyctl(CLEAR, ring)


@contextlib.contextmanager
def big_keys():
    """Debian's kernel has no keys of this type, so a module stands in for them."""
    subprocess.run(["/run/busybox", "insmod", "/run/vm/big_key_standin.ko"], check=True)
    try:
        yield
    finally:
        subprocess.run(["/run/busybox", "rmmod", "big_key_standin"], check=True)
