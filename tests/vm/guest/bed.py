"""What every scenario uses: the kernel's events, requesters, the server, the realm, the log, and the upcall's settings."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import kernel
import requester
import sk
from requester import Requester, Running

SHARE = Path("/run/vm")
RULE = "/etc/request-key.d/lgssc.conf"
PLAN = "/run/trivial-upcall.plan"
LOG = "/run/trivial-upcall.log"
TRIVIAL = "/run/trivial_upcall"
PROBE = "/run/lgss-probe"
REFERENCE = "/run/reference/lgss_keyring"
KEYRING = "/usr/sbin/lgss_keyring"
SETTINGS = "/etc/lgss/lgss.toml"
RUN_DIRECTORY = "/run/lgss"
OUR_PROGRAMS = ("lgss_keyring", "lgss_negotiate")
USERS = {"root": 0, "alice": 2001, "bob": 2002, "carol": 2003, "dave": 2004}
HOSTS = """127.0.0.1 localhost
192.168.77.1 srv.example.test srv
192.168.77.2 client.example.test client
"""


def scenario(function):
    """Marks a function of scenarios/*.py as a scenario; it takes the bed and fails by an exception.

    `function.processors = 2`, set below it, says that it needs two, and `function.landlock = False` a kernel without Landlock.
    """
    function.is_scenario = True
    return function


class Log:
    """Everything that programs send to /dev/log."""

    def __init__(self):
        self.lines = []
        self.more = threading.Condition()
        Path("/dev/log").unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("/dev/log")
        os.chmod("/dev/log", 0o666)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while True:
            line = self.socket.recv(65536).decode("utf-8", "replace").rstrip("\0\n")
            with self.more:
                self.lines.append(line)
                self.more.notify_all()

    def wait(self, words, seconds=20):
        """Waits for a line of this scenario with these words; returns the first."""
        deadline = time.monotonic() + seconds
        with self.more:
            while True:
                for line in self.lines:
                    if words in line:
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or not self.more.wait(left):
                    raise AssertionError(f"no line with {words!r} in the log: {self.lines}")


class Bed:
    """Everything that a scenario uses. `since` marks the scenario's beginning: earlier events belong to others."""

    def __init__(self):
        from realm import SERVER_KEYTAB
        from server import Server

        self.events = kernel.Events()
        self.server = Server(SERVER_KEYTAB)
        self.log = Log()
        self.the_realm = None
        self.since = 0

    @classmethod
    def prepare(cls):
        prepare_files()
        subprocess.run(["/run/busybox", "insmod", SHARE / "lustre_standin.ko"], check=True)
        return cls()

    def begin(self):
        kernel.reset()
        self.server.reset()
        self.log.lines.clear()
        if self.the_realm:
            self.the_realm.reset()
        self.forget()
        Path(PLAN).unlink(missing_ok=True)
        # The stand-in upcall of an earlier scenario may still have its log open.
        Path(LOG).unlink(missing_ok=True)
        Path(LOG).touch()
        os.chmod(LOG, 0o666)
        requester.SECID += 1
        self.since = self.events.mark()

    def forget(self):
        """Leaves no process, setting, credential or state of an earlier scenario."""
        for name in OUR_PROGRAMS:
            for pid in processes(name):
                kill(pid)
        shutil.rmtree(RUN_DIRECTORY, ignore_errors=True)
        self.settings("")
        for left in [*Path("/tmp").iterdir(), *Path("/run/user").glob("*")]:
            left.unlink() if left.is_symlink() or not left.is_dir() else shutil.rmtree(left)

    @property
    def secid(self):
        """Secid of those of this scenario's requests that name none; no other scenario has it."""
        return requester.SECID

    def target(self, number):
        """Fields of a request for one of this scenario's hundred targets, so that it finds no other scenario's context."""
        return {"secid": 100_000 + 100 * self.secid + number, "wait_ms": 30000}

    @property
    def file_system(self):
        """Name of this scenario's file system, so that its targets find no other scenario's shared key."""
        return f"fs{self.secid}"

    def end(self):
        for running in list(Running.alive):
            running.end()
        sk.unload()
        kernel.reset()

    @property
    def realm(self):
        """The KDC, started by the first scenario that uses it."""
        if not self.the_realm:
            from realm import Realm

            self.the_realm = Realm()
        return self.the_realm

    def user(self, name, **options):
        return Requester(USERS[name], **options)

    def upcall(self, program):
        """From now on the rule for lgssc starts this program, with its options."""
        write_anew(RULE, f"create lgssc * * {program} %o %k %t %d %c %u %g %T %P %S\n")

    def settings(self, text):
        """Writes lgss.toml, which stays until the scenario ends."""
        write_anew(SETTINGS, text)

    def until_gone(self, seconds=10):
        """Waits until none of our processes is left."""
        self.until(lambda: not any(processes(name) for name in OUR_PROGRAMS), "no process of ours", seconds)

    def trivial(self, *plan):
        """Makes the stand-in upcall do these steps: trivial_upcall.c."""
        Path(PLAN).write_text("".join(step + "\n" for step in plan))
        self.upcall(TRIVIAL)

    def did(self, step, count=1, seconds=20):
        """Waits for the `count`-th note of the stand-in upcall about this step."""
        found = []

        def noted():
            lines = Path(LOG).read_text().splitlines()
            found[:] = [fields for fields in map(noted_fields, lines) if fields["step"] == step]
            return len(found) >= count

        self.until(noted, f"{count} x {step} by the stand-in upcall", seconds)
        return found[count - 1]

    @staticmethod
    def until(condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while True:
            got = condition()
            if got:
                return got
            assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
            time.sleep(0.02)

    def event(self, name, seconds=20, **fields):
        return self.events.wait(name, self.since, seconds, **fields)

    def all_events(self, name, **fields):
        return self.events.all(name, self.since, **fields)

    def act(self, act, seconds=20, **fields):
        """Waits for an operation on a key: instantiate, update, revoke."""
        return self.event("act", seconds, act=act, **fields)

    @staticmethod
    def usage(requester, serial):
        """The usage count of a key in /proc/keys, or None if this requester does not see it."""
        for line in requester.proc_keys():
            if int(line.split()[0], 16) == serial:
                return int(line.split()[2])
        return None


def processes(name):
    """Processes that run a program with this name, without zombies."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        comm, state = fields[fields.index("(") + 1 : fields.rindex(")")], fields[fields.rindex(")") + 2]
        if comm == name[:15] and state not in "ZX":
            found.append(int(directory.name))
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def write_anew(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def noted_fields(line):
    pid, *fields = line.split("\t")
    return {"pid": int(pid)} | dict(field.split("=", 1) for field in fields)


def prepare_files():
    """Puts the guest's names, users and programs over the host's files."""
    Path("/etc/hosts").write_text(HOSTS)
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    Path("/etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    with open("/etc/passwd", "a") as passwd, open("/etc/group", "a") as group:
        for name, uid in USERS.items() | {("lgss", 990)}:
            if f"\n{name}:" not in Path("/etc/passwd").read_text():
                passwd.write(f"{name}:x:{uid}:{uid}::/:/bin/sh\n")
                group.write(f"{name}:x:{uid}:\n")
    install(SHARE / "trivial_upcall", TRIVIAL)
    install(SHARE / "lgss-probe", PROBE)
    install_programs()


def install_programs():
    """Puts the programs under test where an installation has them, and the one to compare with."""
    install(SHARE / "programs/lgss_keyring", KEYRING)
    install(SHARE / "programs/lgss_negotiate", "/usr/libexec/lgss/lgss_negotiate", 0o711)
    install(SHARE / "programs/lgss", "/usr/bin/lgss")
    os.makedirs(os.path.dirname(SETTINGS), mode=0o755, exist_ok=True)
    if (SHARE / "reference").exists():
        install(SHARE / "reference", REFERENCE)


def install(source, target, mode=0o755):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, mode)
