"""The kernel's NFS server, which checks what programs sign and encrypt with their contexts, and the daemons that answer its questions."""

import contextlib
import os
import subprocess

from realm import REALM, SERVER

SERVICE = f"nfs@{SERVER}"
PORT = 2049
# The root of what clients see, and a directory there.
EXPORTED, DIRECTORY = "/run/exported", "shelf"
NFSD, PIPES = "/proc/fs/nfsd", "/var/lib/nfs/rpc_pipefs"
KEYTAB = "/run/nfs.keytab"
LOG = "/run/knfsd.log"
# Names of users in our realm are those of /etc/passwd.
NAMES = f"""[General]
Domain = example.test
Local-Realms = {REALM}
[Translation]
Method = nsswitch
GSS-Methods = nsswitch
"""


class Unmet(AssertionError):
    """With what the daemons and the kernel said."""

    def __init__(self, what):
        super().__init__(f"{what}\n{open(LOG).read()[-4000:]}\n{told('/run/busybox', 'dmesg')[-2000:]}")


@contextlib.contextmanager
def knfsd(bed, owner, names):
    """Serves one directory with these names, which only its owner may list, by krb5, krb5i and krb5p over NFS 4.0."""
    with contextlib.ExitStack() as undo:
        open(LOG, "w").close()
        bed.realm.keytab(KEYTAB, f"nfs/{SERVER}")
        for module in ("nfsd", "rpcsec_gss_krb5"):
            told("modprobe", module)
        told("ip", "address", "add", f"{address_of(SERVER)}/32", "dev", "lo")
        undo.callback(told, "ip", "address", "del", f"{address_of(SERVER)}/32", "dev", "lo")
        for kind, place in (("tmpfs", EXPORTED), ("nfsd", NFSD), ("rpc_pipefs", PIPES)):
            os.makedirs(place, exist_ok=True)
            told("mount", "-t", kind, kind, place)
            undo.callback(told, "umount", place)
        fill(f"{EXPORTED}/{DIRECTORY}", owner, names)
        with open("/etc/idmapd.conf", "w") as file:
            file.write(NAMES)
        for words in (["rpc.mountd", "-F", "-N", "3"], ["rpc.svcgssd", "-f", "-vv", "-p", f"nfs/{SERVER}@{REALM}"]):
            undo.enter_context(daemon(words))
        told("exportfs", "-o", "rw,fsid=0,no_subtree_check,sec=krb5:krb5i:krb5p", f"*:{EXPORTED}")
        undo.callback(told, "exportfs", "-u", f"*:{EXPORTED}")
        undo.callback(told, "rpc.nfsd", "0")
        told("rpc.nfsd", "-N", "3", "-V", "4", "-V", "4.0", "-H", SERVER, "-p", str(PORT), "2")
        yield


def kernels_client_lists(flavor):
    """What the kernel's own client sees at the root of what the server exports, with this flavor and this node's key; None if its mount fails."""
    place = "/mnt"
    options = f"vers=4.0,sec={flavor},port={PORT},soft,timeo=50,retry=0"
    with daemon(["rpc.gssd", "-f", "-v", "-p", PIPES]):
        mounted = subprocess.run(["mount", "-t", "nfs4", "-o", options, f"{SERVER}:/", place], capture_output=True, text=True, timeout=60)
        with open(LOG, "a") as log:
            print(f"mount with {flavor}: {mounted.returncode} {mounted.stderr}", file=log)
        if mounted.returncode != 0:
            return None
        try:
            return os.listdir(place)
        finally:
            told("umount", "-f", place)


def fill(directory, owner, names):
    os.mkdir(directory)
    for name in names:
        open(f"{directory}/{name}", "w").close()
    os.chown(directory, owner, owner)
    os.chmod(directory, 0o700)


@contextlib.contextmanager
def daemon(words):
    environment = os.environ | {"KRB5_KTNAME": KEYTAB}
    with open(LOG, "a") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
    try:
        yield
        if running.poll() is not None:
            raise Unmet(f"{words} has ended: {running.returncode}")
    finally:
        running.kill()
        running.wait()


def address_of(host):
    with open("/etc/hosts") as file:
        return next(line.split()[0] for line in file if host in line.split())


def told(*words, seconds=30):
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
