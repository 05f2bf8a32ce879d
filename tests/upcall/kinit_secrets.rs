//! Nobody else gets the password that `lgss_kinit` is told, and it does not keep it (rule S10).

use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process::{command_as, succeed};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::shared::Shared;
use crate::support::spying::{expect_closed, expect_no_core};
use crate::support::wait::{stretched, wait_for};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

crate::trials![
    at_its_end_no_memory_argument_or_variable_has_the_password,
    a_terminal_shows_the_question_and_not_the_password,
    while_it_has_the_password_its_user_gets_it_neither_alive_nor_dead,
];

fn at_its_end_no_memory_argument_or_variable_has_the_password(shared: &Shared) {
    let login = Login::new(shared.realm());
    for (typed, succeeds) in [(PASSWORD, true), ("not the password of alice", false)] {
        let (mut child, pid) = start(&login);
        ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).unwrap();
        child.stdin.take().unwrap().write_all(format!("{typed}\n").as_bytes()).unwrap();
        wait_for_its_end(pid);
        let memory = memory_of(pid);
        ptrace::cont(pid, None).unwrap();
        assert_eq!(child.wait().unwrap().success(), succeeds);
        // What is sure to be there shows that the search would find it.
        assert!(finds(&memory, &shared.realm().name()), "{} bytes", memory.len());
        assert!(!finds(&memory, typed), "{typed} is in memory");
        // Text that is nowhere in the library could be there in part.
        assert!(!finds(&memory, &typed[..8]), "a part of {typed} is in memory");
    }
}

/// `lgss_kinit alice` in a session of its own, where cores would be allowed.
fn start(login: &Login) -> (Child, Pid) {
    let mut command = login.command("sh");
    command
        .args(["-c", "ulimit -c unlimited; exec keyctl session - lgss_kinit alice"])
        .env_remove("PASSWORD");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    (child, pid)
}

/// Waits until a process that this thread traces is about to end, with its memory still there.
#[track_caller]
fn wait_for_its_end(pid: Pid) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < stretched(Duration::from_secs(20)), "lgss_kinit goes on");
        match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::StillAlive => std::thread::sleep(Duration::from_millis(1)),
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT) => return,
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).unwrap(),
            _ => ptrace::cont(pid, None).unwrap(),
        }
    }
}

/// All that it could change; arguments and variables are part of that.
fn memory_of(pid: Pid) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut memory = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        file.read_exact_at(&mut part, from).unwrap_or_else(|error| panic!("{line}: {error}"));
        memory.extend(part);
    }
    memory
}

/// Of text in ASCII. The library's own search is fast in a build without optimisation, too.
fn finds(memory: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(memory).contains(words)
}

/// Reads until this has been shown; returns all of it.
#[track_caller]
fn wait_for_words(shown: &mut impl Read, words: &str) -> Vec<u8> {
    let mut all = Vec::new();
    while !finds(&all, words) {
        let mut part = [0; 256];
        let length = shown.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&part[..length]);
    }
    all
}

fn a_terminal_shows_the_question_and_not_the_password(shared: &Shared) {
    let login = Login::new(shared.realm());
    let mut script = login.command("keyctl");
    let inside = format!("lgss_kinit alice && klist -s -c {SESSION_CACHE} && echo got tickets");
    script.args(["session", "-", "script", "-qec", &inside, "/dev/null"]).env_remove("PASSWORD");
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let mut shown = wait_for_words(&mut terminal, "Password for alice@");
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    terminal.read_to_end(&mut shown).unwrap();
    let said = String::from_utf8_lossy(&shown);
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("got tickets") && !said.contains(PASSWORD), "{said}");
}

/// The KDC falls silent when it has asked for a proof, so that the password stays in memory.
fn while_it_has_the_password_its_user_gets_it_neither_alive_nor_dead(_: &Shared) {
    let realm = Realm::start();
    realm.administrate(&["modprinc +requires_preauth alice"]);
    let login = Login::new(&realm);
    let (mut child, pid) = start(&login);
    wait_for_words(child.stdout.as_mut().unwrap(), "Password for alice@");
    realm.silence();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    // Stopped, since it would give up in some seconds.
    wait_for("the password in memory", Duration::from_secs(10), || {
        kill(pid, Signal::SIGSTOP).unwrap();
        let is_there = finds(&memory_of(pid), PASSWORD);
        if !is_there {
            kill(pid, Signal::SIGCONT).unwrap();
        }
        is_there.then_some(())
    });
    expect_closed(&login.site, pid);
    // Unlike SIGQUIT it is not ignored in what runs in the background.
    succeed(command_as(login.site.uid(), "sh").args(["-c", &format!("kill -ABRT {pid}")]), "");
    kill(pid, Signal::SIGCONT).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(libc::SIGABRT), false));
    expect_no_core(&login.site);
}
