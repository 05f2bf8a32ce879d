//! Hooks that are at odds with us: they hang, flood, fork, look at others and try to get out.

use crate::support::hook_place::HookPlace;
use crate::support::process::{Daemon, command_as};
use crate::support::shared::Shared;
use crate::support::wait::{assert_lasted, stretched};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

crate::trials![
    a_hook_that_hangs_is_ended_with_all_that_it_has_started,
    a_hook_that_floods_is_ended,
    a_hook_that_forks_without_end_is_ended,
    a_hook_that_takes_memory_without_end_gets_none,
    what_a_hook_leaves_behind_ends_with_it,
    a_hook_reaches_no_network_and_no_local_socket_unless_the_settings_say_so,
    a_hook_writes_nowhere_but_in_a_tmp_of_its_own,
    a_hook_sees_signals_and_reads_no_other_process,
    a_hook_has_no_right_no_environment_and_no_descriptor_of_ours,
    a_hook_cannot_make_namespaces_mount_or_use_keys,
    a_hook_ends_with_its_caller,
];

const QUICK: &str = "delay = \"20ms\"\ntimeout = \"1s\"";
const PATIENT: &str = "delay = \"20ms\"";

fn a_hook_that_hangs_is_ended_with_all_that_it_has_started(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.shell("hangs", "trap '' TERM INT HUP; (setsid sleep 1000 &); sleep 1000");
    // One that has closed everything is waited for, too.
    place.shell("closes", "exec >&- 2>&-; sleep 1000");
    place.python("stops", "os.kill(os.getpid(), 19)\ntime.sleep(1000)");
    for name in ["hangs", "closes", "stops"] {
        let run = place.run(name);
        run.is_refused(name);
        assert_lasted(run.took, 1, stretched(Duration::from_secs(4)));
        place.log.wait_for_words(&[&format!("hook {name} "), "S14: no result within "]);
        place.nothing_is_left();
    }
}

fn a_hook_that_floods_is_ended(_: &Shared) {
    let place = HookPlace::new("delay = \"20ms\"\noutput = 8");
    place.shell("output", "exec cat /dev/zero");
    place.shell("complaints", "exec cat /dev/zero >&2");
    for name in ["output", "complaints"] {
        assert_eq!(place.refused(name), "S14: more than 8192 bytes of output");
    }
    place.python("full", "result = 'x' * 8189");
    assert_eq!(place.run("full").result().as_str().unwrap().len(), 8189);
    place.python("fuller", "result = 'x' * 8190");
    assert_eq!(place.refused("fuller"), "S14: more than 8192 bytes of output");
    place.nothing_is_left();
}

fn a_hook_that_forks_without_end_is_ended(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    place.python("counts", "count = 0\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(60); os._exit(0)\n    count += 1\n  except OSError: break\nresult = count");
    let count = place.run("counts").result().as_u64().unwrap();
    assert!((100..256).contains(&count), "{count}");
    place.nothing_is_left();
    let place = HookPlace::new(QUICK);
    place.shell("bomb", "f() { f | f & }; f; sleep 1000");
    let told = place.refused("bomb");
    assert!(told.starts_with("S14: ") || told.starts_with("it "), "{told}");
    place.nothing_is_left();
}

fn a_hook_that_takes_memory_without_end_gets_none(_: &Shared) {
    let place = HookPlace::new("delay = \"20ms\"\nmemory = 128");
    place.python(
        "memory",
        "taken = []\ntry:\n  while True: taken.append(bytearray(4 << 20))\nexcept MemoryError: result = len(taken)\ntaken = None",
    );
    let taken = place.run("memory").result().as_u64().unwrap();
    assert!((4..32).contains(&taken), "{taken} times 4 MiB");
    place.shell("file", "head -c 64m /dev/zero > /tmp/large 2>/dev/null; stat -c %s /tmp/large");
    let size = place.run("file").result().as_u64().unwrap();
    assert!((1..=16 << 20).contains(&size), "{size}");
}

fn what_a_hook_leaves_behind_ends_with_it(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    place.shell(
        "daemon",
        "setsid sleep 1000 </dev/null >/dev/null 2>&1 & setsid sleep 1000 & echo '\"left two\"'",
    );
    let run = place.run("daemon");
    assert_eq!(run.result(), "left two");
    // It was not waited for what the second one holds open.
    assert!(run.took < Duration::from_secs(10), "{run:?}");
    place.nothing_is_left();
}

const CONNECTS: &str = "\
def tries(family, address):
  try:
    with socket.socket(family) as s: s.settimeout(5); s.connect(address)
    return 'connected'
  except OSError as error: return error.strerror
";

fn a_hook_reaches_no_network_and_no_local_socket_unless_the_settings_say_so(_: &Shared) {
    let place = HookPlace::new("delay = \"20ms\"\nnetwork = [\"granted\"]");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = place.path("socket");
    let _local = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!(
        "{CONNECTS}result['tcp'] = tries(socket.AF_INET, ('127.0.0.1', {port}))\n\
         result['local'] = tries(socket.AF_UNIX, '{}')\nresult['netlink'] = tries(socket.AF_NETLINK, (0, 0))\n\
         result['run'] = len(os.listdir('/run'))\nresult['interfaces'] = [n for _, n in socket.if_nameindex()] if False else len(open('/proc/net/dev').readlines()) - 2\n\
         a, b = socket.socketpair()",
        path.display()
    );
    place.python("denied", &script);
    place.python("granted", &script);
    let refused = "Operation not permitted";
    let expected = json!({ "tcp": refused, "local": refused, "netlink": refused, "run": 0, "interfaces": 1 });
    assert_eq!(place.run("denied").result(), expected);
    let granted = place.run("granted").result();
    assert_eq!([&granted["tcp"], &granted["local"]], ["connected", "connected"], "{granted}");
    assert!(granted["run"].as_u64().unwrap() > 0, "{granted}");
}

fn a_hook_writes_nowhere_but_in_a_tmp_of_its_own(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    let open = place.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let name = format!("lgss-hook-{}", place.uid());
    let places =
        ["", "/dev", "/dev/shm", "/run", "/var/lib", "/proc", "/sys", "/home", open.to_str().unwrap()];
    let script = format!(
        "for d in {places:?}:\n  try:\n    open(d + '/{name}', 'w'); result[d] = 'written'\n  except OSError as e: result[d] = e.strerror\n\
         result['tmp'] = os.listdir('/tmp') + os.listdir('/var/tmp')\nopen('/tmp/{name}', 'w').write('x')\nopen('/var/tmp/{name}', 'w')\n\
         result['back'] = open('/tmp/{name}').read()\n\
         try: open('/proc/self/oom_score_adj', 'w').write('-1000'); result['score'] = 'written'\n\
         except OSError as e: result['score'] = e.strerror\n\
         open('/dev/null', 'w').write('x')\nresult['random'] = len(open('/dev/urandom', 'rb').read(8))"
    );
    place.python("writes", &script);
    // The second run finds nothing of the first.
    for _ in 0..2 {
        let result = place.run("writes").result();
        for at in places {
            assert_ne!(result[at], "written", "{at}: {result}");
        }
        assert_eq!(result[open.to_str().unwrap()], "Read-only file system", "{result}");
        assert_eq!([&result["score"], &result["back"]], ["Read-only file system", "x"], "{result}");
        assert_eq!((&result["tmp"], &result["random"]), (&json!([]), &json!(8)), "{result}");
    }
    assert!(!Path::new("/tmp").join(&name).exists() && !Path::new("/var/tmp").join(&name).exists());
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
}

fn a_hook_sees_signals_and_reads_no_other_process(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    // Even of its own user.
    let mut victim = command_as(place.uid(), "sleep");
    victim.arg("1000");
    let mut victim = Daemon::start(victim, &place.path(""), "victim");
    let pid = victim.pid().as_raw();
    let script = format!(
        "libc = ctypes.CDLL(None, use_errno=True)\n\
         def call(function, *arguments):\n  ctypes.set_errno(0); r = function(*arguments)\n  return os.strerror(ctypes.get_errno()) if r < 0 else 'done'\n\
         result['seen'] = [int(p) for p in os.listdir('/proc') if p.isdigit()]\n\
         result['memory'] = 'opened' if os.path.exists('/proc/{pid}/mem') else 'no such process'\n\
         for name, signal in (('one', {pid}), ('all', -1)):\n  try: os.kill(signal, 9); result[name] = 'sent'\n  except OSError as e: result[name] = e.strerror\n\
         result['trace'] = call(libc.ptrace, 16, {pid}, 0, 0)\n\
         result['own'] = call(libc.ptrace, 0, 0, 0, 0)\n\
         result['read'] = call(libc.process_vm_readv, {pid}, None, 0, None, 0, 0)"
    );
    place.python("looks", &script);
    let refused = "Operation not permitted";
    let absent = "No such process";
    let expected = json!({
        "seen": [1], "memory": "no such process", "one": absent, "all": absent, "trace": refused, "own": refused, "read": refused,
    });
    assert_eq!(place.run("looks").result(), expected);
    assert!(victim.ended().is_none());
}

fn a_hook_has_no_right_no_environment_and_no_descriptor_of_ours(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    let script = "\
lines = dict(line.split(':', 1) for line in open('/proc/self/status'))
for name in ('Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'):
  result[name] = ' '.join(lines[name].split())
result['environment'] = open('/proc/self/environ').read()
result['words'] = open('/proc/self/cmdline').read().split('\\0')[2:]
result['open'] = [n for n in range(64) if os.path.exists('/proc/self/fd/%d' % n)]
result['directory'] = os.getcwd()
result['ids'] = [os.getpid(), os.getppid(), os.getsid(0)]
result['core'] = __import__('resource').getrlimit(4)
try: os.setuid(0); result['root'] = 'regained'
except OSError as e: result['root'] = e.strerror
try: os.write(0, b'x'); result['input'] = 'changed'
except OSError as e: result['input'] = e.strerror";
    place.python("status", script);
    let none = "0000000000000000";
    let id = [place.uid().to_string().as_str(); 4].join(" ");
    let expected = json!({
        "Uid": id, "Gid": id, "Groups": "", "CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none,
        "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2", "environment": "", "words": ["/dev/fd/3", ""],
        "open": [0, 1, 2, 3], "directory": "/", "ids": [1, 0, 1], "core": [0, 0],
        "root": "Operation not permitted", "input": "Operation not permitted",
    });
    let mut command = place.command("status");
    let output = command.env("LD_PRELOAD", "").env("SECRET", "x").current_dir("/tmp").output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result, expected);
}

fn a_hook_cannot_make_namespaces_mount_or_use_keys(_: &Shared) {
    let place = HookPlace::new(PATIENT);
    let script = "\
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
  ctypes.set_errno(0); r = libc.syscall(*arguments)
  return ctypes.get_errno() if r < 0 else 'done'
m = os.uname().machine == 'x86_64'
numbers = {'unshare': 272, 'setns': 308, 'clone3': 435, 'mount': 165, 'open_tree': 428, 'add_key': 248, 'request_key': 249,
  'keyctl': 250, 'bpf': 321, 'io_uring_setup': 425, 'userfaultfd': 323, 'chroot': 161} if m else \\
  {'unshare': 97, 'setns': 268, 'clone3': 435, 'mount': 40, 'open_tree': 428, 'add_key': 217, 'request_key': 218,
  'keyctl': 219, 'bpf': 280, 'io_uring_setup': 425, 'userfaultfd': 282, 'chroot': 51}
for name, number in numbers.items(): result[name] = call(number, 0, 0, 0, 0, 0)
result['clone'] = call(56 if m else 220, 0x10000000 | 17, 0, 0, 0, 0)";
    place.python("calls", script);
    let result = place.run("calls").result();
    let result = result.as_object().unwrap();
    assert_eq!(result.len(), 13, "{result:?}");
    for (name, errno) in result {
        let expected = if name == "clone3" { libc_enosys() } else { nix::errno::Errno::EPERM as i64 };
        assert_eq!(errno.as_i64(), Some(expected), "{name}: {errno}");
    }
}

fn libc_enosys() -> i64 {
    nix::errno::Errno::ENOSYS as i64
}

fn a_hook_ends_with_its_caller(_: &Shared) {
    let place = HookPlace::new("delay = \"20ms\"\ntimeout = \"1min\"");
    place.shell("hangs", "sleep 1000 & sleep 1000");
    let run = place.start("hangs");
    crate::support::wait::wait_for("the hook", Duration::from_secs(5), || {
        (place.hooks_running().len() >= 3).then_some(())
    });
    run.kill();
    place.nothing_is_left();
}
