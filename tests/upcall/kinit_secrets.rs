//! The password that `lgss_kinit` is told is nowhere but in the KDC's answer (rule S10).

use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process::Daemon;
use crate::support::realm::PASSWORD;
use crate::support::shared::Shared;
use crate::support::wait::stretched;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

crate::trials![
    at_its_end_no_memory_argument_or_variable_has_the_password,
    a_terminal_shows_the_question_and_not_the_password,
    a_killed_one_leaves_no_core_and_no_process_of_the_user_reads_it,
];

fn at_its_end_no_memory_argument_or_variable_has_the_password(shared: &Shared) {
    let login = Login::new(shared.realm());
    for (typed, succeeds) in [(PASSWORD, true), ("not the password of alice", false)] {
        let mut command = login.command(&login.site.path("lgss_kinit").display().to_string());
        command
            .arg("alice")
            .env_remove("PASSWORD")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).unwrap();
        child.stdin.take().unwrap().write_all(format!("{typed}\n").as_bytes()).unwrap();
        let memory = memory_at_its_end(pid);
        assert_eq!(child.wait().unwrap().success(), succeeds);
        // What is sure to be there shows that the search would find it.
        assert!(finds(&memory, shared.realm().name().as_bytes()), "{} bytes", memory.len());
        assert!(!finds(&memory, typed.as_bytes()), "{typed} is in memory");
        // Text that is nowhere in the library could be there in part.
        assert!(!finds(&memory, &typed.as_bytes()[..8]), "a part of {typed} is in memory");
    }
}

/// All that a process can read when it ends; its arguments and variables are part of that. Its tracer is this thread.
fn memory_at_its_end(pid: Pid) -> Vec<u8> {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < stretched(Duration::from_secs(20)), "lgss_kinit goes on");
        match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::StillAlive => std::thread::sleep(Duration::from_millis(1)),
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT) => break,
            WaitStatus::Stopped(_, signal) => {
                ptrace::cont(pid, Some(signal).filter(|s| *s != Signal::SIGTRAP)).unwrap()
            }
            _ => ptrace::cont(pid, None).unwrap(),
        }
    }
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut memory = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        // Some of the kernel's own mappings cannot be read.
        if file.read_exact_at(&mut part, from).is_ok() {
            memory.extend(part);
        }
    }
    ptrace::cont(pid, None).unwrap();
    memory
}

fn finds(memory: &[u8], words: &[u8]) -> bool {
    memory.windows(words.len()).any(|window| window == words)
}

fn a_terminal_shows_the_question_and_not_the_password(shared: &Shared) {
    let login = Login::new(shared.realm());
    let mut script = login.command("keyctl");
    let inside = format!("lgss_kinit alice && klist -s -c {SESSION_CACHE} && echo got tickets");
    script.args(["session", "-", "script", "-qec", &inside, "/dev/null"]).env_remove("PASSWORD");
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut terminal, mut shown) = (child.stdout.take().unwrap(), Vec::new());
    while !finds(&shown, b"Password for alice@") {
        let mut part = [0; 256];
        let length = terminal.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&part[..length]);
    }
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    terminal.read_to_end(&mut shown).unwrap();
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&shown));
    assert!(
        finds(&shown, b"got tickets") && !finds(&shown, PASSWORD.as_bytes()),
        "{}",
        String::from_utf8_lossy(&shown)
    );
}

fn a_killed_one_leaves_no_core_and_no_process_of_the_user_reads_it(shared: &Shared) {
    let login = Login::new(shared.realm());
    let mut command = login.command("sh");
    // It waits for its input, and its parent would have cores.
    command.args(["-c", "ulimit -c unlimited; sleep 600 | exec lgss_kinit alice"]);
    let _waits = Daemon::start(command, &login.site.path("user"), "../waits");
    let kinit = login.site.wait_for_process("lgss_kinit");
    let core = |limits: String| limits.lines().find(|line| line.starts_with("Max core")).map(str::to_owned);
    let is_ready =
        || core(fs::read_to_string(format!("/proc/{}/limits", kinit.pid)).unwrap()).unwrap().contains(" 0 ");
    crate::support::wait::wait_for("the limit", Duration::from_secs(10), || is_ready().then_some(()));
    login.done(&format!(
        "pid={}; fails cat /proc/$pid/environ; fails cat /proc/$pid/maps; fails head -c1 /proc/$pid/mem; kill -ABRT $pid
        sleep 1; [ -z \"$(ls | grep core)\" ]",
        kinit.pid
    ));
}
