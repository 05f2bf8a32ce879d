use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A program in a directory, both owned by root.
pub(in crate::negotiate::nid_host) struct Site(tempfile::TempDir);

impl Site {
    pub(in crate::negotiate::nid_host) fn new(script: &str) -> Self {
        let site = Self(tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap());
        let text = site.0.path().join("text");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // By another process: what a child that another test has forked has inherited open for writing cannot be executed.
        assert!(std::process::Command::new("cp").arg(&text).arg(site.program()).status().unwrap().success());
        site.mode(0o755);
        site
    }

    pub(in crate::negotiate::nid_host) fn program(&self) -> PathBuf {
        self.0.path().join("nid2hostname")
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(self.program(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn ask(&self) -> Result<String, ProgramError> {
        self.ask_within(Duration::from_secs(20))
    }

    fn ask_within(&self, limit: Duration) -> Result<String, ProgramError> {
        let arguments = ["PTL4LND".to_owned(), "0x0".to_owned(), "0x7;$(id)".to_owned()];
        first_line(&self.program(), &arguments, Instant::now() + limit)
    }
}

#[test]
fn the_first_line_counts_and_arguments_are_passed_as_they_are() {
    let site = Site::new(r#"echo "  $#|$1|$2|$3 "; echo second"#);
    assert_eq!(site.ask().unwrap(), "3|PTL4LND|0x0|0x7;$(id)");
}

#[test]
fn it_has_no_environment_no_input_and_no_descriptors_of_ours() {
    let _ours = fs::File::open("/proc/self/status").unwrap();
    let inherited = crate::sys::files::sealed_memory(b"secret").unwrap();
    fcntl(inherited.as_fd(), FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    // The shell sets more variables; /proc has those that the kernel passed. ls has one descriptor for the directory.
    let site = Site::new("echo $(tr '\\0' ' ' </proc/$$/environ) : $(cat | wc -c) : $(ls /proc/self/fd)");
    let line = site.ask().unwrap();
    assert!(line == ": 0 : 0 1 2 3", "{line}");
}

#[test]
fn a_slow_program_is_ended_at_the_deadline_with_all_of_its_group() {
    let site = Site::new("sleep 100 & echo $! >&2; echo $$; wait");
    let begun = Instant::now();
    let error = site.ask_within(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, ProgramError::Slow(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let left = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(site.program().to_str().unwrap()))
    });
    assert!(!left, "it still runs");
}

#[test]
fn a_program_that_ends_while_a_child_keeps_its_output_open_has_answered() {
    let site = Site::new("echo mds1; sleep 100 &");
    let begun = Instant::now();
    assert_eq!(site.ask().unwrap(), "mds1");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn one_that_closes_its_output_and_stays_is_ended_at_the_deadline() {
    let site = Site::new("echo mds1; exec >&-; exec sleep 100");
    let error = site.ask_within(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, ProgramError::Slow(_)), "{error}");
}

#[test]
fn endless_output_is_cut_off() {
    let begun = Instant::now();
    let error = Site::new("exec cat /dev/zero").ask().unwrap_err();
    assert!(matches!(error, ProgramError::Loud), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn failure_silence_and_bytes_that_are_no_text_are_no_answer() {
    assert!(matches!(Site::new("echo mds1; exit 3").ask(), Err(ProgramError::Failed(_))));
    assert!(matches!(Site::new("kill -9 $$").ask(), Err(ProgramError::Failed(_))));
    assert!(matches!(Site::new("exit 0").ask(), Err(ProgramError::NoLine)));
    assert!(matches!(Site::new("echo; echo mds1").ask(), Err(ProgramError::NoLine)));
    assert!(matches!(Site::new(r"printf 'mds\377\n'").ask(), Err(ProgramError::NoLine)));
}

#[test]
fn a_program_that_others_may_change_or_that_is_no_program_is_not_run() {
    let site = Site::new("touch $0.ran; echo mds1");
    for mode in [0o775, 0o757] {
        site.mode(mode);
        assert!(matches!(site.ask(), Err(ProgramError::Untrusted(Untrusted::Writable(_)))), "{mode:o}");
    }
    site.mode(0o755);
    std::os::unix::fs::chown(site.program(), Some(1), None).unwrap();
    assert!(matches!(site.ask(), Err(ProgramError::Untrusted(Untrusted::Writable(_)))));
    std::os::unix::fs::chown(site.program(), Some(0), None).unwrap();
    fs::set_permissions(site.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(site.ask(), Err(ProgramError::Untrusted(Untrusted::Writable(_)))));
    fs::set_permissions(site.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    site.mode(0o644);
    assert!(matches!(site.ask(), Err(ProgramError::Run(_, Errno::EACCES))));
    assert!(!site.program().with_extension("ran").exists());
    fs::remove_file(site.program()).unwrap();
    assert!(matches!(site.ask(), Err(ProgramError::Untrusted(Untrusted::Open(..)))));
}
