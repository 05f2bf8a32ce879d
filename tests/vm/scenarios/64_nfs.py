"""Programs that use contexts by `lgss::rpc`, with the kernel's NFS server as the other end."""

import contextlib
import os
import shutil
import subprocess

from bed import USERS, scenario
from knfsd import DIRECTORY, PORT, SERVICE, Unmet, kernels_client_lists, knfsd
from realm import SERVER
from sessions import in_session

RULE = "/etc/request-key.d/lgss.conf"
NAMES = [f"name-{number:03}" for number in range(300)]


@scenario
def the_kernels_nfs_server_lists_a_users_directory_with_every_protection(bed):
    """Calls signed and encrypted, all names; the server takes the user for the one of the ticket, and lists it for nobody else."""
    for user in ("alice", "bob"):
        bed.realm.ticket(bed.user(user), user)
    with rule_for_programs(), knfsd(bed, USERS["alice"], NAMES):
        for protection in ("header", "integrity", "privacy"):
            said = example("alice", "nfs_null", f"{SERVER}:{PORT},100003,4", protection)
            assert "as alice@EXAMPLE.TEST" in said and "accepted, signed by the server" in said, said
        for protection in ("header", "integrity"):
            assert listed("alice", protection) == NAMES, protection
        complaint = refusal("bob", "integrity")
        assert "permission denied (NFS4ERR_ACCESS)" in complaint, complaint
        if kernel_serves_itself("krb5p"):
            assert listed("alice", "privacy") == NAMES
        else:
            # Linux 6.1.192 takes the length before encrypted arguments for a part of them, and answers so to every client.
            complaint = refusal("alice", "privacy")
            assert "server cannot decode the arguments" in complaint, complaint
            print(f"note   Linux {os.uname().release} serves krb5p to no client, its own included: no names with privacy", flush=True)


def kernel_serves_itself(flavor):
    """Whether the kernel's own client gets along with this flavor; with krb5i it does."""
    if kernels_client_lists("krb5i") != [DIRECTORY]:
        raise Unmet("the kernel's own client does not get along with krb5i")
    return kernels_client_lists(flavor) == [DIRECTORY]


@contextlib.contextmanager
def rule_for_programs():
    shutil.copyfile("/checkout/request-key.d/lgss.conf", RULE)
    try:
        yield
    finally:
        os.unlink(RULE)


def listed(user, protection):
    """The names that nfs_ls prints, sorted."""
    return sorted(example(user, "nfs_ls", f"{SERVER}:{PORT}", f"/{DIRECTORY}", protection).splitlines())


def refusal(user, protection):
    """What nfs_ls complains of."""
    code, said, complaint = run_example(user, "nfs_ls", f"{SERVER}:{PORT}", f"/{DIRECTORY}", protection)
    assert code != 0 and not said, (code, said)
    return complaint


def example(user, program, *words):
    code, said, complaint = run_example(user, program, *words)
    if code != 0:
        raise Unmet(f"{program} {words} as {user}: {complaint}")
    return said


def run_example(user, program, *words):
    """The user runs it in a session of its own."""

    def run():
        done = subprocess.run([f"/run/vm/examples/{program}", SERVICE, *words], capture_output=True, text=True, timeout=50)
        return done.returncode, done.stdout, done.stderr

    return in_session(user).run(run)
