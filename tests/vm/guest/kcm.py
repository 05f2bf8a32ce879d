"""SSSD's daemon for credential caches."""

import contextlib
import os
import subprocess

SOCKET = "/run/.heim_org.h5l.kcm-socket"


@contextlib.contextmanager
def kcm(bed):
    """Starts it at the socket where every program looks; returns its process."""
    for directory in ("/etc/sssd", "/var/lib/sss/db", "/var/lib/sss/secrets", "/var/log/sssd", "/run/sssd"):
        os.makedirs(directory, exist_ok=True)
    with open("/etc/sssd/sssd.conf", "w") as file:
        file.write("[sssd]\nservices =\n[kcm]\n")
    os.chmod("/etc/sssd/sssd.conf", 0o600)
    subprocess.run(["sssd", "--genconf-section=kcm"], check=True, capture_output=True)
    words = ["/usr/libexec/sssd/sssd_kcm", "--uid", "0", "--gid", "0", "--logger=stderr"]
    with open("/run/kcm.log", "w") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        bed.until(lambda: os.path.exists(SOCKET), "the socket of the KCM daemon")
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()
        os.unlink(SOCKET)
