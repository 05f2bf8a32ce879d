//! The recipe of docs/sessions.md for logins, by the real su(1), pam_exec and pam_keyinit: tickets that come with the
//! password, or from a delegated file, and go with the session.
//!
//! Accounts, PAM's files and krb5.conf are in a name space of mounts of the test's own.

use crate::support::login::Login;
use crate::support::persistent::PersistentRing;
use crate::support::process::{command, succeed};
use crate::support::realm::PASSWORD;
use crate::support::shared::Shared;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

crate::trials![
    a_login_by_password_has_tickets_until_its_end_and_what_is_left_behind_has_none,
    delegated_tickets_go_from_their_file_into_the_session,
    in_the_session_of_another_user_no_tickets_are_left,
    a_login_without_the_password_or_the_kdc_has_no_tickets,
];

const RECIPE: &str = include_str!("../../docs/sessions.md");
/// Where the recipe installs its script.
const SCRIPT: &str = "/usr/local/libexec/lgss_login";

/// An indented block of the recipe, from the line that begins like this to the next that is not indented.
fn block(first: &str) -> String {
    let lines = RECIPE.lines().skip_while(|line| !line.starts_with(&format!("    {first}")));
    let block: Vec<_> = lines
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.get(4..).unwrap_or_default())
        .collect();
    assert!(block.len() > 1, "no block {first:?} in docs/sessions.md");
    format!("{}\n", block.join("\n").trim_end())
}

/// The user alice, and root, with `su` as in the recipe.
struct LoginSetup {
    login: Login,
    realm: String,
    _persistent: PersistentRing,
}

impl LoginSetup {
    /// With more lines for PAM's session, before those of the recipe.
    fn new(shared: &Shared, before: &str) -> Self {
        let login = Login::new(shared.realm());
        let etc = login.site.path("etc");
        let write = |name: &str, text: String, mode: u32| {
            fs::write(etc.join(name), text).unwrap();
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir_all(etc.join("pam.d")).unwrap();
        let uid = login.site.uid();
        let home = login.site.path("user").display().to_string();
        write("passwd", format!("root:x:0:0::/:/bin/sh\nalice:x:{uid}:{uid}::{home}:/bin/sh\n"), 0o644);
        let hash = succeed(command("openssl").args(["passwd", "-6", PASSWORD]), "");
        let shadow = format!("root:*:19000:0:99999:7:::\nalice:{}:19000:0:99999:7:::\n", hash.trim());
        write("shadow", shadow, 0o600);
        write("script", block("#!/bin/sh"), 0o755);
        let installed = etc.join("script").display().to_string();
        let log = etc.join("log").display().to_string();
        let told = block("auth     optional")
            .replace(SCRIPT, &installed)
            .replace("/var/log/lgss_login.log", &log)
            .replace("/etc/security/lgss_env.conf", &etc.join("env.conf").display().to_string());
        write("env.conf", "KRB5CCNAME DEFAULT=KEYRING:session:krb5\n".to_owned(), 0o644);
        let stack = format!(
            "auth requisite pam_unix.so\naccount required pam_unix.so\n{before}{told}session required pam_unix.so\n"
        );
        write("pam.d/su", stack, 0o644);
        Self { login, realm: shared.realm().name(), _persistent: PersistentRing(uid) }
    }

    fn file(&self, name: &str) -> String {
        self.login.site.path("etc").join(name).display().to_string()
    }

    /// What a root's script prints that has a session keyring; `su_alice PASSWORD SCRIPT` logs in.
    #[track_caller]
    fn done(&self, script: &str) -> String {
        let etc = self.login.site.path("etc").display().to_string();
        let script = format!(
            "for name in passwd shadow pam.d; do mount --bind {etc}/$name /etc/$name; done
            mount --bind $KRB5_CONFIG /etc/krb5.conf; unset KRB5_CONFIG
            # The first directory of setpriv's PATH.
            mount -t tmpfs -o mode=755 lgss-test /usr/local/bin; ln -s {kinit} /usr/local/bin/; cd {home}
            renewer() {{ pgrep -u {uid} -x lgss_kinit || true; }}
            until_gone() {{ i=0; while [ -n \"$(renewer)\" ]; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.05; done; }}
            as_alice() {{ setpriv --reuid={uid} --regid={uid} --clear-groups \"$@\"; }}
            su_alice() {{ printf '%s\\n' \"$1\" | su alice -c \"$2\"; }}
            {script}",
            uid = self.login.site.uid(),
            home = self.login.site.path("user").display(),
            kinit = self.login.site.path("lgss_kinit").display(),
        );
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--propagation", "private", "keyctl", "session", "-", "sh", "-euc"]);
        unshare.arg(script).env("KRB5_CONFIG", self.login.site.path("krb5.conf")).env_remove("KRB5CCNAME");
        unshare.env("PASSWORD", PASSWORD);
        succeed(&mut unshare, "")
    }

    /// What the recipe's script has told.
    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

fn a_login_by_password_has_tickets_until_its_end_and_what_is_left_behind_has_none(shared: &Shared) {
    let setup = LoginSetup::new(shared, "");
    let uid = setup.login.site.uid();
    let inside = setup.login.script(
        "inside",
        &format!(
            "klist; [ $(keyctl rdescribe @s | cut -d\\; -f2) = {uid} ]; [ -n \"$(pgrep -u {uid} -x lgss_kinit)\" ]
            ticket=$(keyctl search $(keyctl search @s keyring _krb_krb5) user krbtgt/{0}@{0}); keyctl pipe $ticket >/dev/null
            echo ring $(keyctl show @s | grep -c '_krb_krb5')
            (until [ -e ended ]; do sleep 0.05; done; if klist -s; then echo has some; else echo has none; fi >left.new
            mv left.new left) </dev/null >/dev/null 2>&1 &",
            setup.realm
        ),
    );
    let said = setup.done(&format!(
        "su_alice \"$PASSWORD\" 'sh {inside}'; until_gone; touch ended
        i=0; until [ -e left ]; do i=$((i+1)); [ $i -lt 600 ]; sleep 0.05; done; echo left behind $(cat left)
        as_alice klist -l -c KEYRING:persistent:{uid} 2>&1 | grep login_ || echo nothing in between
        klist -s -c KEYRING:session:krb5 || echo nothing outside"
    ));
    let client = format!("Default principal: alice@{}", setup.realm);
    for word in [
        "Ticket cache: KEYRING:session:krb5",
        &client,
        "renew until",
        "ring 1\n",
        "left behind has none",
        "nothing in between",
        "nothing outside",
    ] {
        assert!(said.contains(word), "no {word}: {said}; {}", setup.log());
    }
    assert!(!setup.log().contains(PASSWORD));
}

/// As sshd does it: the file is the user's, and PAM's environment has its name before the session begins.
fn delegated_tickets_go_from_their_file_into_the_session(shared: &Shared) {
    let setup = LoginSetup::new(shared, "session required pam_env.so conffile=DELEGATED\n");
    let delegated = setup.login.site.path("user").join("delegated");
    let uid = setup.login.site.uid();
    shared.realm().ticket(uid, &format!("FILE:{}", delegated.display()));
    let stack = fs::read_to_string(setup.file("pam.d/su")).unwrap();
    let stack = stack.replace("DELEGATED", &setup.file("delegated.conf"));
    // Root's su, which nobody asks for a password.
    let stack = format!("auth sufficient pam_rootok.so\n{stack}");
    fs::write(setup.file("pam.d/su"), stack).unwrap();
    let value = format!("KRB5CCNAME DEFAULT=FILE:{}\n", delegated.display());
    fs::write(setup.file("delegated.conf"), value).unwrap();
    let said = setup.done("su_alice '' 'klist; ls'; until_gone; echo ended");
    assert!(said.contains("Ticket cache: KEYRING:session:krb5"), "{said}; {}", setup.log());
    assert!(said.contains(&format!("alice@{}", setup.realm)) && said.contains("ended\n"), "{said}");
    assert!(!delegated.exists(), "{said}");
    // What cannot be copied stays.
    fs::write(&delegated, "no cache").unwrap();
    chown(&delegated, Some(uid), Some(uid)).unwrap();
    setup.done("su_alice '' 'if klist -s; then exit 3; fi'");
    assert!(delegated.exists());
}

/// Where su does not begin a session, it is the caller's.
fn in_the_session_of_another_user_no_tickets_are_left(shared: &Shared) {
    let setup = LoginSetup::new(shared, "");
    let stack = fs::read_to_string(setup.file("pam.d/su")).unwrap();
    let without: String =
        stack.lines().filter(|line| !line.contains("pam_keyinit")).map(|line| format!("{line}\n")).collect();
    assert_ne!(without, stack);
    fs::write(setup.file("pam.d/su"), without).unwrap();
    let said = setup.done(&format!(
        "su_alice \"$PASSWORD\" 'klist -s || echo none inside'; klist -s -c KEYRING:session:krb5 || echo none outside
        as_alice klist -l -c KEYRING:persistent:{} 2>&1 | grep login_ || echo nothing in between",
        setup.login.site.uid()
    ));
    for word in ["none inside", "none outside", "nothing in between"] {
        assert!(said.contains(word), "no {word}: {said}; {}", setup.log());
    }
    assert!(setup.log().contains("the session keyring is uid 0's"), "{}", setup.log());
}

/// A KDC that is away keeps nobody out.
fn a_login_without_the_password_or_the_kdc_has_no_tickets(shared: &Shared) {
    let setup = LoginSetup::new(shared, "");
    let said = setup.done(
        "if su_alice wrong 'echo logged in'; then exit 3; fi; [ -z \"$(renewer)\" ]; echo refused
        sed 's/kdc = .*/kdc = 127.0.0.1:1/' /etc/krb5.conf >away.conf; mount --bind away.conf /etc/krb5.conf
        su_alice \"$PASSWORD\" 'klist -s || echo logged in without'",
    );
    assert!(said.contains("refused\n") && said.contains("logged in without"), "{said}; {}", setup.log());
    assert!(!said.contains("logged in\n"), "{said}");
    assert!(setup.log().contains("Cannot contact any KDC"), "{}", setup.log());
}
