//! `lgss config check` on an installation with one fault: it names the fault that makes requests fail, and the remedy.

use crate::support::command_line::{json, lgss, lines};
use crate::support::process::{command, command_as, succeed};
use crate::support::shared::Shared;
use crate::support::site::{Site, install, install_content};
use nix::mount::{MsFlags, mount};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

crate::trials![
    an_installation_without_a_fault_passes_the_check,
    another_program_in_the_workers_place_is_named,
    a_worker_that_cannot_be_executed_is_named_with_the_reason,
    a_run_directory_without_room_is_named,
    keys_that_a_filter_forbids_are_named,
    a_keytab_that_lustre_needs_is_looked_at,
    a_rule_that_others_can_write_is_named,
    the_settings_of_every_rule_are_checked,
    a_rule_of_ours_that_no_request_reaches_is_named,
    contradicting_timeouts_are_named,
    a_worker_without_a_sandbox_is_named,
    a_quota_that_is_nearly_used_up_is_named,
    another_upcall_in_the_place_of_ours_is_named,
    a_fault_of_krb5_conf_is_named,
    a_log_that_nobody_reads_and_a_missing_account_are_named,
];

/// What the kernel is to pass, in this order.
pub(crate) const WORDS: &str = "%o %k %t %d %c %u %g %T %P %S";

/// A site with separate rules for the check, below `root`.
struct Installed {
    site: Site,
}

impl Installed {
    fn new(shared: &Shared) -> Self {
        let site = Site::new(shared.realm());
        fs::create_dir_all(site.path("root/etc/request-key.d")).unwrap();
        let installed = Self { site };
        installed.rule("lgss.conf", &installed.line("user lgss:* *", "lgss.toml"));
        installed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// A rule that starts the site's program with these settings.
    fn line(&self, patterns: &str, settings: &str) -> String {
        let dir = self.path("");
        let dir = dir.display();
        format!("create {patterns} {dir}/lgss_keyring --config {dir}/{settings} {WORDS}\n")
    }

    fn rule(&self, name: &str, text: &str) {
        fs::write(self.path("root/etc/request-key.d").join(name), text).unwrap();
    }

    fn lustres_rule(&self) {
        self.rule("lgssc.conf", &self.line("lgssc * *", "lgss.toml"));
    }

    /// Replaces a part of the settings.
    fn set(&self, from: &str, to: &str) {
        let settings = fs::read_to_string(self.path("lgss.toml")).unwrap();
        assert!(settings.contains(from), "{from} is not in {settings}");
        fs::write(self.path("lgss.toml"), settings.replace(from, to)).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(lgss(&self.site));
        command.args(["config", "check", "--root"]).arg(self.path("root"));
        command
    }

    fn findings(&self) -> (i32, Vec<Value>) {
        let output = self.command().arg("--json").output().unwrap();
        (output.status.code().unwrap(), json(&output)[0].as_array().unwrap().clone())
    }

    /// A finding with this level has all the words and a remedy, and the exit status fits.
    #[track_caller]
    fn names(&self, level: &str, words: &[&str]) {
        let (status, findings) = self.findings();
        let text = |finding: &Value| format!("{} {}", finding["subject"], finding["finding"]);
        let fits = |finding: &&Value| {
            finding["level"] == level && words.iter().all(|word| text(finding).contains(word))
        };
        let found = findings.iter().find(fits);
        let found = found.unwrap_or_else(|| panic!("no {level} with {words:?} in {findings:#?}"));
        assert!(found["remedy"].as_str().is_some_and(|remedy| remedy.len() > 10), "{found}");
        assert!(status == if level == "error" { 8 } else { status }, "{status}");
    }

    /// Nothing but quotas is wrong; those of other tests' users may be full. Only `make test` has a static upcall.
    #[track_caller]
    fn is_healthy(&self) {
        let (status, findings) = self.findings();
        let is_static = std::env::var_os("LGSS_KEYRING_BIN").is_some();
        let others = |finding: &&Value| {
            finding["level"] != "ok"
                && finding["subject"] != "quotas"
                && (is_static || !finding["finding"].as_str().unwrap().contains("is not static"))
        };
        let bad: Vec<_> = findings.iter().filter(others).collect();
        assert!(status == 0 && bad.is_empty(), "{status} {bad:#?}");
    }

    fn tmpfs(&self, options: &str, flags: MsFlags) -> PathBuf {
        let point = self.path(crate::support::scratch::MOUNT_POINT);
        let _ = fs::create_dir(&point);
        mount(Some("lgss-test"), &point, Some("tmpfs"), flags, Some(options)).unwrap();
        point
    }
}

fn compile(source: &str, to: &Path, more: &[&str]) {
    let file = to.with_extension("c");
    fs::write(&file, source).unwrap();
    succeed(command("cc").arg("-o").arg(to).arg(&file).args(more), "");
}

fn an_installation_without_a_fault_passes_the_check(shared: &Shared) {
    let installed = Installed::new(shared);
    installed.is_healthy();
    let (_, findings) = installed.findings();
    for (subject, part) in [("worker", "works as uid"), ("upcall", "lgss_keyring"), ("kernel", "has keys")] {
        let told =
            findings.iter().any(|f| f["subject"] == subject && f["finding"].as_str().unwrap().contains(part));
        assert!(told, "{subject}: {part} is not in {findings:#?}");
    }
    // An ordinary user gets the checks that need no rights.
    let mut user = command_as(installed.site.uid(), lgss(&installed.site));
    let output = user.args(["config", "check", "--root"]).arg(installed.path("root")).output().unwrap();
    assert!(lines(&output).contains("works as uid"), "{}", lines(&output));
}

fn another_program_in_the_workers_place_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    for program in ["/bin/true", "/bin/cat", env!("CARGO_BIN_EXE_lgss")] {
        install(program, &installed.path("lgss_negotiate"), 0o711);
        installed.names("error", &["worker", "another program"]);
    }
    compile("int main(void) { for (;;) __builtin_ia32_pause(); }", &installed.path("loop"), &[]);
    fs::rename(installed.path("loop"), installed.path("lgss_negotiate")).unwrap();
    fs::set_permissions(installed.path("lgss_negotiate"), fs::Permissions::from_mode(0o711)).unwrap();
    installed.names("error", &["worker", "does not answer within"]);
}

fn a_worker_that_cannot_be_executed_is_named_with_the_reason(shared: &Shared) {
    let installed = Installed::new(shared);
    let worker = installed.path("lgss_negotiate");
    let mut program = fs::read(&worker).unwrap();
    // Sets e_machine to another architecture.
    program[18] = 0xb7;
    install_content(program, &worker, 0o711);
    installed.names("error", &["worker", "cannot be executed as uid", "another architecture"]);
    install_content("#!/bin/sh\nexit 0\n", &worker, 0o711);
    installed.names("error", &["worker", "cannot be executed as uid", "a script"]);
    let library = installed.path("liblgsstest.so");
    compile("int lgss_test(void) { return 0; }", &library, &["-shared", "-fPIC"]);
    let directory = format!("-L{}", installed.path("").display());
    compile(
        "int lgss_test(void); int main(void) { return lgss_test(); }",
        &worker,
        &[&directory, "-llgsstest"],
    );
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o711)).unwrap();
    fs::remove_file(library).unwrap();
    installed.names("error", &["worker", "does not start", "liblgsstest.so"]);
    let point = installed.tmpfs("mode=0755", MsFlags::MS_NOEXEC);
    install(env!("CARGO_BIN_EXE_lgss_negotiate"), &point.join("lgss_negotiate"), 0o711);
    installed.set("/lgss_negotiate\"", "/mount/lgss_negotiate\"");
    installed.names("error", &["worker", "mount/lgss_negotiate: it cannot be executed", "noexec"]);
}

fn a_run_directory_without_room_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    installed.set("/run\"", "/mount\"");
    for (options, flags, part) in [
        ("nr_inodes=1,mode=0700", MsFlags::empty(), "No space left"),
        ("mode=0700", MsFlags::MS_RDONLY, "Read-only"),
    ] {
        let point = installed.tmpfs(options, flags);
        installed.names("error", &["run_dir", part]);
        crate::support::fuse::unmount(&point);
    }
    let point = installed.tmpfs("size=8192,mode=0700", MsFlags::empty());
    fs::write(point.join("full"), [0; 8192]).unwrap();
    installed.names("error", &["run_dir", "No space left"]);
    fs::write(point.join("full"), "").unwrap();
    installed.is_healthy();
    fs::write(point.join("slots"), "").unwrap();
    installed.names("error", &["run_dir", "slots is not a directory"]);
}

/// Installs a filter as container engines do.
const FILTER: &str = r#"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_keyctl, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_add_key, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_request_key, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
    execv(argv[1], argv + 1);
    return 98;
}
"#;

fn keys_that_a_filter_forbids_are_named(shared: &Shared) {
    let installed = Installed::new(shared);
    compile(FILTER, &installed.path("filter"), &[]);
    let mut filtered = Command::new(installed.path("filter"));
    filtered.arg(lgss(&installed.site)).args(["config", "check", "--root"]).arg(installed.path("root"));
    let output = filtered.output().unwrap();
    let text = lines(&output);
    assert_eq!(output.status.code(), Some(8), "{text}");
    assert!(text.contains("is not allowed here") && text.contains("seccomp profile"), "{text}");
    let mut by_hand = Command::new(installed.path("filter"));
    by_hand
        .arg(installed.path("lgss_keyring"))
        .args(["--self-check", "--config"])
        .arg(installed.path("lgss.toml"));
    let output = by_hand.output().unwrap();
    assert!(output.status.code() == Some(1) && lines(&output).contains("seccomp"), "{}", lines(&output));
}

fn a_keytab_that_lustre_needs_is_looked_at(shared: &Shared) {
    let installed = Installed::new(shared);
    let keytab = installed.path("krb5.keytab");
    installed.site.add_settings(&format!("[machine]\nkeytab = {keytab:?}\n"));
    // Without Lustre's rule the keytab is not needed.
    installed.is_healthy();
    installed.lustres_rule();
    installed.names("error", &["keytab", "No such file", "no credentials for Lustre"]);
    fs::write(&keytab, "no keytab").unwrap();
    installed.names("error", &["keytab", "krb5.keytab"]);
    fs::copy(shared.realm().keytab(), &keytab).unwrap();
    installed.names("error", &["keytab", "has keys of nfs/", "none that this machine can use"]);
    let realm = crate::support::realm::Realm::start();
    let node = installed.path("node.keytab");
    realm.administrate(&[
        "addprinc -randkey host/this.test".to_owned(),
        format!("ktadd -k {} host/this.test", node.display()),
    ]);
    fs::rename(&node, &keytab).unwrap();
    installed.is_healthy();
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o666)).unwrap();
    installed.names("error", &["keytab", "is writable by others"]);
}

fn a_rule_that_others_can_write_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    let directory = installed.path("root/etc/request-key.d");
    let rule = directory.join("lgss.conf");
    fs::set_permissions(&rule, fs::Permissions::from_mode(0o666)).unwrap();
    installed.names("error", &["rule", "lgss.conf is not owned by root or is writable by others"]);
    fs::set_permissions(&rule, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&rule, Some(installed.site.uid()), None).unwrap();
    installed.names("error", &["rule", "lgss.conf is not owned by root"]);
    chown(&rule, Some(0), None).unwrap();
    // Another package's rule counts too: root executes it.
    installed.rule("other.conf", "create dns_resolver * * /bin/false\n");
    chown(directory.join("other.conf"), Some(installed.site.uid()), None).unwrap();
    installed.names("error", &["rule", "other.conf is not owned by root"]);
    chown(directory.join("other.conf"), Some(0), None).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    installed.names("error", &["rule", "request-key.d is not owned by root or is writable"]);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    installed.is_healthy();
}

fn the_settings_of_every_rule_are_checked(shared: &Shared) {
    let installed = Installed::new(shared);
    installed.rule("special.conf", &installed.line("user lgss:1000:* *", "special.toml"));
    installed.names("error", &["settings", "special.toml: No such file", "special.conf:1"]);
    let settings = fs::read_to_string(installed.path("lgss.toml")).unwrap();
    fs::write(installed.path("special.toml"), &settings).unwrap();
    installed.is_healthy();
    fs::set_permissions(installed.path("special.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    installed
        .names("error", &["settings", "special.toml is not owned by root or is writable", "special.conf:1"]);
    fs::set_permissions(installed.path("special.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(installed.path("special.toml"), settings.replace("lgss_negotiate\"", "absent\"")).unwrap();
    installed.names("error", &["worker", "/absent: No such file"]);
    fs::remove_file(installed.path("root/etc/request-key.d/special.conf")).unwrap();
    installed.rule("lgssc.conf", &installed.line("lgssc * *", "lustre.toml"));
    installed.names("error", &["settings", "lustre.toml: No such file", "lgssc.conf:1"]);
}

fn a_rule_of_ours_that_no_request_reaches_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    let rule = installed.line("user lgss:* *", "lgss.toml");
    installed.rule("slip.conf", &installed.line("usr lgss:* *", "lgss.toml"));
    installed
        .names("warning", &["rule", "slip.conf:1: starts lgss_keyring, but no request reaches it: type"]);
    installed.rule("slip.conf", &installed.line("user lgss:1000:* *", "lgss.toml"));
    installed.is_healthy();
    installed.rule("slip.conf", &rule.replace("create", "created"));
    installed.names("error", &["rule", "slip.conf:1:", "is not create"]);
    fs::remove_file(installed.path("root/etc/request-key.d/slip.conf")).unwrap();
    installed.rule("lgss.conf", &rule.replace("create", "creat"));
    installed.names("error", &["rule", "lgss.conf:1:", "is not create"]);
}

fn contradicting_timeouts_are_named(shared: &Shared) {
    let installed = Installed::new(shared);
    installed.set("kdc = \"10s\"", "kdc = \"60s\"");
    installed.names("warning", &["timeouts", "kdc (60s) is not below deadline (20s)"]);
    installed.set("kdc = \"60s\"", "kdc = \"11s\"");
    installed.names("warning", &["timeouts", "together (21 s) are over deadline (20s)"]);
}

fn a_worker_without_a_sandbox_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    installed.set("worker_sandbox = \"strict\"", "worker_sandbox = \"off\"");
    installed.names("warning", &["worker_sandbox", "off: ", "MIT Kerberos"]);
}

fn a_quota_that_is_nearly_used_up_is_named(shared: &Shared) {
    use crate::support::probe::{Probe, Step, as_user};
    let installed = Installed::new(shared);
    let uid = installed.site.uid();
    let mut steps = as_user(uid);
    steps.extend([Step::FillQuota { leave: 246 }, Step::Pause]);
    let mut full = Probe::start(&steps);
    full.until_pause();
    installed.names("warning", &["quotas", &format!("uid {uid} has used"), "no context fits"]);
    let output = command_as(uid, lgss(&installed.site)).args(["config", "check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(8), "its own: {}", lines(&output));
    full.go_on();
}

fn another_upcall_in_the_place_of_ours_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    install("/bin/true", &installed.path("lgss_keyring"), 0o755);
    installed.names("error", &["upcall", "another program", "Lustre's tools"]);
    install_content("\x7fELF, not", &installed.path("lgss_keyring"), 0o755);
    installed.names("error", &["upcall", "cannot be executed"]);
}

fn a_fault_of_krb5_conf_is_named(shared: &Shared) {
    let installed = Installed::new(shared);
    let good = fs::read_to_string(installed.path("krb5.conf")).unwrap();
    fs::write(installed.path("krb5.conf"), "[libdefaults\n").unwrap();
    installed.names("error", &["krb5_config", "krb5.conf"]);
    fs::write(installed.path("krb5.conf"), &good).unwrap();
    installed.site.add_settings("[namespace.web]\nowner = 1000\nkrb5_config = \"/etc/hosts.absent\"\n");
    installed.names("warning", &["krb5_config", "/etc/hosts.absent does not exist"]);
    let other = installed.path("other.conf");
    fs::write(&other, "[realms\n").unwrap();
    installed.set("/etc/hosts.absent", other.to_str().unwrap());
    installed.names("error", &["krb5_config", "other.conf"]);
    fs::write(&other, "").unwrap();
    installed.site.allow_enctypes(&["aes128-cts-hmac-sha1-96"]);
    installed.names("error", &["enctypes", "permits aes256-cts-hmac-sha1-96"]);
}

fn a_log_that_nobody_reads_and_a_missing_account_are_named(shared: &Shared) {
    let installed = Installed::new(shared);
    let settings = fs::read_to_string(installed.path("lgss.toml")).unwrap();
    let dead = installed.path("dead");
    drop(std::os::unix::net::UnixDatagram::bind(&dead).unwrap());
    installed.set("/log\"", "/dead\"");
    installed.names("warning", &["log", "dead: nobody reads it"]);
    installed.set("/dead\"", "/absent\"");
    installed.names("warning", &["log", "absent: No such file", "nothing is logged"]);
    fs::write(installed.path("lgss.toml"), settings).unwrap();
    let uid = format!("machine_user = \"{}\"", installed.site.machine_uid());
    installed.set(&uid, "machine_user = \"lgss-absent\"");
    installed.names("error", &["machine_user", "lgss-absent does not exist"]);
}
