//! `lgss_keyring --self-check` and `lgss config check` on an installation with one fault in its files: both name it.

use crate::support::command_line::{lgss, lines};
use crate::support::process::{command, command_as, succeed};
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

crate::trials![
    an_installation_without_a_fault_passes_its_own_check,
    a_kernel_without_filters_of_system_calls_is_named,
    an_upcall_that_others_could_change_is_named,
    an_upcall_that_gives_its_rights_away_is_named,
    a_program_that_is_not_static_is_named,
    a_worker_that_others_could_change_read_or_use_is_named,
    a_worker_of_another_version_is_named,
    settings_that_no_upcall_can_use_are_named,
    a_run_directory_that_others_can_write_or_look_into_is_named,
];

/// A site, and what its programs say of it.
struct SelfChecked {
    site: Site,
}

impl SelfChecked {
    fn new(shared: &Shared) -> Self {
        Self { site: Site::new(shared.realm()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("lgss.toml")
    }

    /// Exit status and lines of the upcall at `program`.
    fn of_the_upcall(&self, program: &Path) -> (i32, String) {
        let output =
            command(program).args(["--self-check", "--config"]).arg(self.settings()).output().unwrap();
        (output.status.code().unwrap(), lines(&output))
    }

    /// The upcall there says so in one line, with a remedy, and its status fits.
    #[track_caller]
    fn names_at(&self, program: &Path, level: &str, words: &[&str]) {
        let (status, told) = self.of_the_upcall(program);
        let fits = |line: &&str| {
            line.starts_with(&format!("{level} ")) && words.iter().all(|word| line.contains(word))
        };
        let line = told.lines().find(fits).unwrap_or_else(|| panic!("no {level} with {words:?} in\n{told}"));
        let (_, remedy) = line.split_once("; try: ").unwrap_or_else(|| panic!("no remedy: {line}"));
        assert!(remedy.len() > 10, "{line}");
        let faulty = told.lines().any(|line| line.starts_with("error "));
        assert_eq!(status, i32::from(faulty), "{told}");
        assert!(faulty || level != "error", "{told}");
    }

    /// The site's upcall and `lgss config check` both say so.
    #[track_caller]
    fn both_name(&self, level: &str, words: &[&str]) {
        self.names_at(&self.path("lgss_keyring"), level, words);
        let checked =
            command(lgss(&self.site)).args(["config", "check", "--config"]).arg(self.settings()).output();
        let told = lines(&checked.unwrap());
        let fits = |line: &str| line.starts_with(level) && words.iter().all(|word| line.contains(word));
        assert!(told.lines().any(fits), "no {level} with {words:?} in\n{told}");
    }

    #[track_caller]
    fn is_healthy(&self) {
        let (status, told) = self.of_the_upcall(&self.path("lgss_keyring"));
        assert!(status == 0 && !told.contains("error "), "{told}");
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn an_installation_without_a_fault_passes_its_own_check(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    let (status, told) = checked.of_the_upcall(&checked.path("lgss_keyring"));
    assert_eq!(status, 0, "{told}");
    for words in ["kernel ", "settings ", "run_dir ", "machine_user ", "works as uid"] {
        assert!(told.lines().any(|line| line.starts_with("ok ") && line.contains(words)), "{words}: {told}");
    }
    // Without Landlock it is a warning.
    let of_the_machine = |line: &&str| line.contains("landlock ");
    assert_eq!(told.lines().filter(of_the_machine).count(), 1, "{told}");
    // Only `make test` has the static build.
    let all_ok = told.lines().filter(|line| !of_the_machine(line)).all(|line| line.starts_with("ok "));
    assert!(all_ok || std::env::var_os("LGSS_KEYRING_BIN").is_none(), "{told}");
    // A user can ask, too.
    let mut by_user = command_as(checked.site.uid(), checked.path("lgss_keyring"));
    let output = by_user.args(["--self-check", "--config"]).arg(checked.settings()).output().unwrap();
    assert!(lines(&output).contains("works as uid"), "{}", lines(&output));
}

fn a_kernel_without_filters_of_system_calls_is_named(shared: &Shared) {
    const HIDDEN: &str = "mount -t tmpfs none /proc/sys/kernel && exec \"$@\"";
    let checked = SelfChecked::new(shared);
    let mut there = command("unshare");
    there.args(["--mount", "sh", "-c", HIDDEN, "sh"]).arg(checked.path("lgss_keyring"));
    let output = there.args(["--self-check", "--config"]).arg(checked.settings()).output().unwrap();
    let told = lines(&output);
    let named =
        |line: &str| line.starts_with("error ") && line.contains("kernel ") && line.contains("seccomp");
    assert!(told.lines().any(named) && !output.status.success(), "{told}");
}

fn an_upcall_that_others_could_change_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    let program = checked.path("lgss_keyring");
    let uid = checked.site.uid();
    for mode in [0o775, 0o757] {
        checked.mode("lgss_keyring", mode);
        checked.names_at(
            &program,
            "error",
            &["upcall", "lgss_keyring is not owned by root or is writable by others"],
        );
    }
    checked.mode("lgss_keyring", 0o755);
    chown(&program, Some(uid), None).unwrap();
    checked.names_at(
        &program,
        "error",
        &["upcall", "lgss_keyring is not owned by root or is writable by others"],
    );
    chown(&program, Some(0), None).unwrap();
    checked.is_healthy();
    let directory = checked.path("open");
    fs::create_dir_all(directory.join("sbin")).unwrap();
    let copy = directory.join("sbin/lgss_keyring");
    install(&program, &copy, 0o755);
    let (status, told) = checked.of_the_upcall(&copy);
    assert_eq!(status, 0, "{told}");
    checked.mode("open", 0o777);
    checked.names_at(&copy, "error", &["upcall", "open is not owned by root or is writable by others"]);
    checked.mode("open", 0o755);
    chown(&directory, Some(uid), None).unwrap();
    checked.names_at(&copy, "error", &["upcall", "open is not owned by root or is writable by others"]);
}

fn an_upcall_that_gives_its_rights_away_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    for mode in [0o4755, 0o2755] {
        checked.mode("lgss_keyring", mode);
        let told = format!("has mode {mode:04o}");
        checked.names_at(&checked.path("lgss_keyring"), "error", &["upcall", &told, "its owner's rights"]);
    }
}

fn a_program_that_is_not_static_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    install(env!("CARGO_BIN_EXE_lgss_keyring"), &checked.path("lgss_keyring"), 0o755);
    checked.names_at(&checked.path("lgss_keyring"), "warning", &["upcall", "is not static", "ld-"]);
}

fn a_worker_that_others_could_change_read_or_use_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    let worker = checked.path("lgss_negotiate");
    checked.mode("lgss_negotiate", 0o731);
    checked.both_name("error", &["worker", "lgss_negotiate is not owned by root or is writable by others"]);
    checked.mode("lgss_negotiate", 0o711);
    chown(&worker, Some(checked.site.uid()), None).unwrap();
    checked.both_name("error", &["worker", "lgss_negotiate is not owned by root"]);
    chown(&worker, Some(0), None).unwrap();
    for (level, mode, part) in [
        ("warning", 0o755, "users can attach to it"),
        ("error", 0o700, "users cannot execute it"),
        ("error", 0o4711, "its owner's rights"),
    ] {
        checked.mode("lgss_negotiate", mode);
        checked.both_name(level, &["worker", &format!("has mode {mode:04o}"), part]);
    }
    checked.mode("lgss_negotiate", 0o711);
    checked.is_healthy();
    fs::remove_file(&worker).unwrap();
    checked.both_name("error", &["worker", "lgss_negotiate: No such file"]);
}

/// Puts a program in the worker's place that reports what the worker does, with this change.
fn report_instead(checked: &SelfChecked, change: impl FnOnce(&mut Value)) {
    let worker = checked.path("lgss_negotiate");
    install(env!("CARGO_BIN_EXE_lgss_negotiate"), &worker, 0o711);
    let mut worker_itself = command_as(checked.site.uid(), &worker);
    let output =
        worker_itself.arg("--self-test").env("KRB5_CONFIG", checked.path("krb5.conf")).output().unwrap();
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Only the upcall and the check take all its rights away.
    report["rights"] = Value::Null;
    change(&mut report);
    let text = report.to_string();
    assert!(text.is_ascii(), "{text}");
    let source = checked.path("report.c");
    fs::write(&source, format!("#include <stdio.h>\nint main(void) {{ return puts({text:?}) < 0; }}\n"))
        .unwrap();
    let program = checked.path("report");
    succeed(command("cc").arg("-o").arg(&program).arg(&source), "");
    install(&program, &worker, 0o711);
}

fn a_worker_of_another_version_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    report_instead(&checked, |_| {});
    checked.is_healthy();
    report_instead(&checked, |report| report["version"] = "0.0.9".into());
    checked.both_name("warning", &["worker", "has version 0.0.9, this program 0."]);
    report_instead(&checked, |report| report["contract"] = 9999.into());
    checked.both_name("error", &["worker", "cannot work", "every request fails"]);
    report_instead(&checked, |report| drop(report.as_object_mut().unwrap().remove("contract")));
    checked.both_name("error", &["worker", "cannot work", "every request fails"]);
}

fn settings_that_no_upcall_can_use_are_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    let settings = checked.settings();
    let text = fs::read_to_string(&settings).unwrap();
    checked.mode("lgss.toml", 0o666);
    checked.both_name("error", &["settings", "lgss.toml is not owned by root or is writable by others"]);
    checked.mode("lgss.toml", 0o600);
    checked.is_healthy();
    let mut by_user = command_as(checked.site.uid(), checked.path("lgss_keyring"));
    let output = by_user.args(["--self-check", "--config"]).arg(&settings).output().unwrap();
    let told = lines(&output);
    assert!(output.status.code() == Some(1) && told.contains("Permission denied"), "{told}");
    assert!(told.contains("try: run this as root"), "{told}");
    fs::write(&settings, format!("{text}\nno setting\n")).unwrap();
    checked.both_name("error", &["settings", "lgss.toml: line "]);
    checked.both_name("warning", &["worker", "was not checked"]);
    fs::write(&settings, [0xff, 0xfe]).unwrap();
    checked.both_name("error", &["settings", "lgss.toml: "]);
    fs::remove_file(&settings).unwrap();
    checked.both_name("error", &["settings", "lgss.toml: No such file"]);
    fs::create_dir(&settings).unwrap();
    checked.both_name("error", &["settings", "lgss.toml is not a regular file"]);
}

fn a_run_directory_that_others_can_write_or_look_into_is_named(shared: &Shared) {
    let checked = SelfChecked::new(shared);
    let directory = checked.path("run");
    for mode in [0o777, 0o1777, 0o770] {
        checked.mode("run", mode);
        checked.both_name("error", &["run_dir", "run is not owned by root or is writable by others"]);
    }
    checked.mode("run", 0o755);
    checked.both_name("warning", &["run_dir", "has mode 0755", "users see"]);
    checked.mode("run", 0o700);
    checked.is_healthy();
    chown(&directory, Some(checked.site.uid()), None).unwrap();
    checked.both_name("error", &["run_dir", "run is not owned by root"]);
    fs::remove_dir(&directory).unwrap();
    checked.is_healthy();
    fs::write(&directory, "").unwrap();
    checked.both_name("error", &["run_dir", "run is not a directory"]);
}
