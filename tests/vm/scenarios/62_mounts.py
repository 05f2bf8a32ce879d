"""A mount, depending on the node's credentials: it succeeds, or fails with the reason, and never hangs for a failure that can be known."""

import errno
import os
import shutil
import signal

import requester
from bed import KEYRING, SETTINGS, processes, scenario
from late_kdc import LateKdc
from obstacles import SilentNames, held
from realm import CLIENT, CLIENT_KEYTAB, DIRECTORY
from server import refusing
from verdicts import Stopwatch, established, failed

NODE = f"lustre_root/{CLIENT}"
AS_CLIENT = {"flags": "r", "svc": "i"}
# Seconds; without a KDC, only processes take time.
AT_ONCE = 5
# In µs: one second, and what processes cost on a busy machine.
HELD_FOR = range(900_000, 2_500_000)


def secid(bed, number):
    """For each mount another secid, so that no other key is found."""
    return {"secid": 100_000 + 100 * bed.secid + number}


def mounted(bed, number, **fields):
    return bed.user("root").mount(**AS_CLIENT, **secid(bed, number), **fields)


def one_request(bed):
    """The kernel has asked once and was refused; nothing goes on."""
    asked = bed.all_events("request")
    assert len(asked) == 1 and asked[0].errno, asked
    assert not bed.all_events("act", act="instantiate") and not bed.all_events("denied")


@scenario
def a_mount_with_credentials_succeeds(bed):
    """With mount(2) and fsconfig(2), at once and again."""
    bed.realm
    bed.upcall(KEYRING)
    for number, api in enumerate(("mount", "fsconfig", "mount")):
        failure, _ = mounted(bed, number, api=api)
        assert failure == 0, (api, errno.errorcode.get(failure), bed.log.lines)
    assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)


@scenario
def a_mount_without_a_keytab_fails_at_once(bed):
    """ENOKEY, one request, a line in the log; after the repair it succeeds."""
    bed.realm
    bed.upcall(KEYRING)
    shutil.move(CLIENT_KEYTAB, "/run/realm/away")
    failure, seconds = mounted(bed, 0)
    assert failure == errno.ENOKEY and seconds < AT_ONCE, (failure, seconds)
    assert "No such file" in bed.log.wait("wanted"), bed.log.lines
    one_request(bed)
    shutil.move("/run/realm/away", CLIENT_KEYTAB)
    assert mounted(bed, 1)[0] == 0, bed.log.lines


@scenario
def a_mount_without_a_fitting_principal_fails_at_once(bed):
    """ENOKEY where the keytab has no principal of a node, and where it has another node's; the log names it, and no key is instantiated."""
    bed.realm
    bed.upcall(KEYRING)
    for number, principal in enumerate((f"nfs/{CLIENT}", "lustre_root/other.example.test")):
        bed.realm.keytab(CLIENT_KEYTAB, principal)
        failure, seconds = mounted(bed, number)
        assert failure == errno.ENOKEY and seconds < AT_ONCE, (failure, seconds)
        assert principal in bed.log.wait(principal), bed.log.lines
    assert not bed.all_events("act", act="instantiate"), bed.all_events("act")


@scenario
def a_mechanism_that_there_is_not_fails_a_mount_at_once(bed):
    """EINVAL; the log names the field."""
    bed.upcall(KEYRING)
    failure, seconds = mounted(bed, 0, mech="krb4")
    assert failure == errno.EINVAL and seconds < AT_ONCE, (failure, seconds)
    bed.log.wait("mechanism")
    one_request(bed)


@scenario
def a_mount_in_another_mount_namespace_fails_at_once(bed):
    """EACCES, by rule S5."""
    bed.realm
    bed.upcall(KEYRING)
    other = requester.Requester(0, steps=[requester.unshare(requester.CLONE_NEWNS)]).start(lambda: signal.pause())
    bed.until(lambda: os.readlink(f"/proc/{other.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "namespace")
    failure, seconds = mounted(bed, 0, pid=other.pid)
    assert failure == errno.EACCES and seconds < AT_ONCE, (failure, seconds)
    bed.log.wait("S5")
    one_request(bed)
    other.end()


@scenario
def a_dead_kdc_fails_a_mount_without_a_ticket(bed):
    """ECONNREFUSED, quickly."""
    bed.realm.stop_kdc()
    bed.upcall(KEYRING)
    failure, seconds = mounted(bed, 0)
    assert failure == errno.ECONNREFUSED and seconds < AT_ONCE, (failure, seconds, bed.log.lines)
    one_request(bed)
    bed.realm.start_kdc()
    assert mounted(bed, 1)[0] == 0, bed.log.lines


@scenario
def a_silent_kdc_fails_a_mount_within_the_limit(bed):
    """ETIMEDOUT, after the KDC's time is over; also where only the server's ticket is missing."""
    bed.realm
    bed.upcall(KEYRING)
    assert mounted(bed, 0)[0] == 0, bed.log.lines
    bed.settings('[timeouts]\nmount = "6s"\n')
    for number, fields in enumerate(({"lustre_svc": 2}, {"flags": "m", "keys": f"lustre_mds/{CLIENT}"}), 1):
        if keys := fields.pop("keys", None):
            bed.realm.keytab(CLIENT_KEYTAB, keys)
        bed.realm.kdc.send_signal(signal.SIGSTOP)
        failure, seconds = bed.user("root").mount(**AS_CLIENT | secid(bed, number) | fields)
        bed.realm.kdc.send_signal(signal.SIGCONT)
        assert failure == errno.ETIMEDOUT and 4 < seconds < 9, (failure, seconds, bed.log.lines)
    assert "kdc: " in bed.log.wait("ETIMEDOUT"), bed.log.lines
    assert len(bed.all_events("request")) == 3 and len(bed.all_events("act", act="instantiate")) == 1


@scenario
def a_thread_of_the_kernels_is_not_held_by_a_silent_kdc(bed):
    """It is released after a second, and the key fails when its time is over; if the KDC answers by then, it gets its context."""
    bed.realm
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\nkdc = "15s"\n')
    bed.realm.kdc.send_signal(signal.SIGSTOP)
    got = bed.user("root").ask(at="worker", wait_ms=60000, **AS_CLIENT, **secid(bed, 0))
    assert got.blocked_us in HELD_FOR, got
    failed(bed, got, errno.ETIMEDOUT)
    # Nothing is remembered.
    bed.until_gone(20)
    shutil.rmtree("/run/lgss")
    asked = bed.user("root").begin(at="worker", wait_ms=60000, **AS_CLIENT, **secid(bed, 60))
    bed.event("bind", secid=secid(bed, 60)["secid"])
    bed.realm.kdc.send_signal(signal.SIGCONT)
    established(bed, asked.result(), NODE)
    bed.until_gone()


@scenario
def settings_that_cannot_be_read_hold_nobody(bed):
    """A thread of the kernel is released after a second, and a mount fails after its usual time. Then the context is made."""
    bed.realm
    bed.upcall(KEYRING)
    with held(SETTINGS):
        asked = bed.user("root").begin(at="worker", wait_ms=60000, **AS_CLIENT, **secid(bed, 0))
        bed.event("bind", secid=secid(bed, 0)["secid"])
        failure, seconds = mounted(bed, 1, obd="lustre-MDT0001-mdc-ff2d")
        assert failure == errno.ETIMEDOUT and 10 < seconds < 14, (failure, seconds)
    got = asked.result()
    assert got.blocked_us in HELD_FOR, got
    established(bed, got, NODE)
    # Which of its steps the mount was in depends on who was first.
    assert "MDT0001" in bed.log.wait("ETIMEDOUT"), bed.log.lines
    assert mounted(bed, 2)[0] == 0, bed.log.lines


@scenario
def a_silent_name_service_is_no_matter_where_the_keytab_names_this_node(bed):
    """It is not asked. Another node's keytab is refused as such after a part of the time; in one for two hosts the fitting principal serves."""
    bed.realm
    bed.upcall(KEYRING)
    with SilentNames(CLIENT) as names:
        failure, seconds = mounted(bed, 0)
        assert failure == 0 and seconds < 2 * AT_ONCE, (failure, seconds, bed.log.lines)
        assert not names.queries, names.queries
        bed.realm.keytab(CLIENT_KEYTAB, "lustre_root/other.example.test")
        failure, seconds = mounted(bed, 1)
        assert failure == errno.ENOKEY and seconds < 7, (failure, seconds, bed.log.lines)
        line = bed.log.wait("lustre_root/other.example.test")
        assert "HOST client," in line and "the name service does not answer" in line and names.queries, line
        bed.realm.keytab(CLIENT_KEYTAB, "lustre_root/other.example.test", NODE)
        failure, seconds = mounted(bed, 2)
        assert failure == 0 and seconds < 10, (failure, seconds, bed.log.lines)


@scenario
def a_mount_has_its_line_however_many_there_were(bed):
    """After five like failures, requests of kernel threads are only counted; a mount served from what was there is reported."""
    bed.realm
    bed.upcall(KEYRING)
    bed.settings("[backoff]\nafter = 50\n")
    bed.server.answer = refusing(0xC0000)
    for number in range(7):
        failed(bed, bed.user("root").ask(at="worker", wait_ms=30000, **AS_CLIENT, **secid(bed, number)), errno.EACCES, major=0xC0000)
    assert len([line for line in bed.log.lines if "EACCES" in line]) == 5, bed.log.lines
    bed.server.answer = None
    assert mounted(bed, 7)[0] == 0 and os.listdir("/run/lgss/ready"), bed.log.lines
    bed.log.lines.clear()
    bed.server.answer = refusing(0xC0000)
    mount = bed.user("root").begin_mount(**AS_CLIENT, **secid(bed, 8))
    bed.log.wait("EACCES")
    bed.until(lambda: len(bed.all_events("denied")) >= 3, "three tries", 60)
    mount.end()
    assert len([line for line in bed.log.lines if "EACCES" in line]) == 1, bed.log.lines


@scenario
def a_note_is_left_wherever_the_run_directory_is(bed):
    """Also where nothing has made the notes' directory yet: by then the monitor is confined."""
    bed.realm
    bed.upcall(KEYRING)
    bed.settings('run_dir = "/run/elsewhere"\n')
    shutil.rmtree("/run/lgss", ignore_errors=True)
    try:
        assert mounted(bed, 0)[0] == 0, bed.log.lines
        assert os.listdir("/run/lgss/ready"), bed.log.lines
    finally:
        shutil.rmtree("/run/elsewhere", ignore_errors=True)


@scenario
def a_late_kdc_is_waited_for_once(bed):
    """It answers after a second: the first mount waits for it, the next one does not, nor does a thread of the kernel."""
    kdc = LateKdc(bed)
    try:
        kdc.seconds = 1
        bed.settings('[timeouts]\nmount = "40s"\n')
        bed.upcall(KEYRING)
        failure, seconds = mounted(bed, 0)
        assert failure == 0 and seconds > 2, (failure, seconds, bed.log.lines)
        for number in (1, 2):
            failure, seconds = mounted(bed, number)
            assert failure == 0, (failure, seconds, bed.log.lines)
        asked = bed.user("root").ask(at="worker", wait_ms=60000, **AS_CLIENT, **secid(bed, 3))
        established(bed, asked, NODE)
        with open(f"{DIRECTORY}/kdc.log") as log:
            log.seek(bed.realm.logged)
            asked = [line for line in log if "TGS_REQ" in line and NODE in line]
        assert len(asked) == 1, asked
        assert len(bed.realm.as_exchanges(NODE)) == 1, bed.realm.as_exchanges(NODE)
    finally:
        kdc.close()


@scenario
def good_credentials_need_no_second_look_until_something_changes(bed):
    """With the KDC gone the key is instantiated at once; after a change of the keytab the credentials are checked again, and refused."""
    bed.realm
    bed.upcall(KEYRING)
    assert mounted(bed, 0)[0] == 0, bed.log.lines
    bed.realm.stop_kdc()
    assert mounted(bed, 1)[0] == 0, bed.log.lines
    bed.realm.keytab(CLIENT_KEYTAB, NODE)
    assert mounted(bed, 2)[0] == errno.ECONNREFUSED, bed.log.lines


@scenario
def a_refusing_server_lets_the_mount_try_until_it_is_given_up(bed):
    """A failure that only the server knows comes after the instantiation: the kernel asks again, and the mount can be killed."""
    bed.realm
    bed.upcall(KEYRING)
    bed.server.answer = refusing(0xD0000, 0)
    mount = bed.user("root").begin_mount(**AS_CLIENT)
    bed.until(lambda: len(bed.all_events("denied")) >= 3, "three tries", 60)
    watch = Stopwatch()
    mount.end()
    assert watch() < 15, watch()
    bed.until_gone()


def status(pid):
    """What proc_pid_status(5) says of a process."""
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@scenario
def while_a_mount_waits_whoever_shares_the_monitors_memory_has_no_more_rights(bed):
    """The front, whose memory the monitor has, has no capability and a filter of system calls by the time the monitor is confined."""
    bed.realm
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\nmount = "40s"\nkdc = "30s"\n')
    bed.realm.kdc.send_signal(signal.SIGSTOP)
    mount = bed.user("root").begin_mount(**AS_CLIENT, **secid(bed, 0))
    bed.until(lambda: processes("lgss_negotiate"), "a worker")
    pids = processes("lgss_keyring")
    parents = {pid: int(status(pid)["PPid"]) for pid in pids}
    (front,) = [pid for pid in pids if parents[pid] not in pids]
    (monitor,) = [pid for pid in pids if parents[pid] == front]
    only_kill = f"{1 << 5:016x}"
    bed.until(lambda: status(monitor)["CapPrm"] == only_kill and status(monitor)["Seccomp"] == "2", "a confined monitor")
    fronts = status(front)
    assert {fronts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}, fronts
    assert (fronts["NoNewPrivs"], fronts["Seccomp"]) == ("1", "2"), fronts
    bed.realm.kdc.send_signal(signal.SIGCONT)
    failure, _ = mount.result(60)
    assert failure == 0, (failure, bed.log.lines)
    bed.until_gone(15)


@scenario
def whoever_is_killed_while_a_mount_waits_the_mount_is_answered(bed):
    """Monitor, front, worker and clock in turn: the mount never hangs."""
    bed.realm
    bed.upcall(KEYRING)
    bed.settings('[timeouts]\nmount = "20s"\n')
    for number, which in enumerate((0, 1, 2, "worker")):
        shutil.rmtree("/run/lgss", ignore_errors=True)
        bed.realm.kdc.send_signal(signal.SIGSTOP)
        watch = Stopwatch()
        mount = bed.user("root").begin_mount(**AS_CLIENT, **secid(bed, number))
        name = "lgss_negotiate" if which == "worker" else "lgss_keyring"
        wanted = 1 if which == "worker" else 3
        bed.until(lambda: len(processes(name)) >= wanted, f"{wanted} x {name}")
        victims = sorted(processes(name))
        os.kill(victims[0 if which == "worker" else which], signal.SIGKILL)
        bed.realm.kdc.send_signal(signal.SIGCONT)
        failure, _ = mount.result(60)
        assert failure in (0, errno.EIO, errno.ENOKEY), (which, failure, bed.log.lines)
        assert watch() < 18, (which, watch())
        bed.until_gone(15)
