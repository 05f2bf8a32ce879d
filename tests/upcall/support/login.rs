//! A user's login as far as tickets go: sessions in which a shell runs `lgss_kinit` and MIT's tools.

use super::process::{command_as, run, succeed};
use super::realm::{PASSWORD, Realm};
use super::site::{Site, install};
use std::fs;
use std::process::Command;

/// What `lgss_kinit` uses without KRB5CCNAME.
pub(crate) const SESSION_CACHE: &str = "KEYRING:session:krb5";

/// The site's user, who has `lgss_kinit` in PATH.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) site: Site,
}

impl Login {
    pub(crate) fn new(realm: &Realm) -> Self {
        let site = Site::new(realm);
        install(env!("CARGO_BIN_EXE_lgss_kinit"), &site.path("lgss_kinit"), 0o711);
        Self { site }
    }

    /// `program` as the user, with the site's configuration, and without a session of its own.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = command_as(self.site.uid(), program);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.site.path("").display()));
        command.env("KRB5_CONFIG", self.site.path("krb5.conf")).env_remove("KRB5CCNAME");
        command.env("PASSWORD", PASSWORD).current_dir(self.site.path("user"));
        command
    }

    /// A script in the user's directory, by its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.site.path("user").join(name);
        fs::write(&path, format!("set -eu\n{FUNCTIONS}{text}")).unwrap();
        path.display().to_string()
    }

    fn session(&self, script: &str) -> Command {
        let mut command = self.command("keyctl");
        command.args(["session", "-", "sh", "-euc"]).arg(format!("{FUNCTIONS}{script}"));
        command
    }

    /// What a script prints, on both streams, in a new session keyring.
    #[track_caller]
    pub(crate) fn done(&self, script: &str) -> String {
        succeed(&mut self.session(script), "")
    }

    /// The same of one that fails with status 1.
    #[track_caller]
    pub(crate) fn refused(&self, script: &str) -> String {
        self.ends_with(1, script)
    }

    /// The same of one that fails with this status.
    #[track_caller]
    pub(crate) fn ends_with(&self, status: u8, script: &str) -> String {
        match run(&mut self.session(script), "") {
            Ok(said) => panic!("{script} does it: {said}"),
            Err(said) => {
                assert!(said.starts_with(&format!("exit status: {status}: ")), "{script}: {said}");
                said
            }
        }
    }
}

/// `fails COMMAND…` succeeds if the command does not, by status 1.
const FUNCTIONS: &str =
    "fails() { status=0; \"$@\" || status=$?; [ $status = 1 ] || { echo \"$status: $*\"; exit 3; }; }
typed() { printf '%s\\n' \"$PASSWORD\" | lgss_kinit \"$@\"; }
";
