//! Programs of both implementations of Kerberos that write and read credential caches.

use super::probe::Step;
use super::process::command_as;
use super::realm::{PASSWORD, Realm};
use super::site::Site;

/// Where scripts/setup unpacks Heimdal's programs.
pub(crate) const HEIMDAL: &str = "/usr/local/lib/lgss-test/heimdal/usr";

/// Whose kinit(1) and klist(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    Mit,
    Heimdal,
}

impl Writer {
    pub(crate) const BOTH: [Self; 2] = [Self::Mit, Self::Heimdal];

    /// Gets a ticket of `alice`; the password is [`PASSWORD`], on its stdin.
    pub(crate) fn kinit(self, cache: &str) -> Vec<String> {
        self.kinit_as("alice", cache)
    }

    pub(crate) fn kinit_as(self, principal: &str, cache: &str) -> Vec<String> {
        match self {
            Self::Mit => words(&["kinit", "-c", cache, principal]),
            Self::Heimdal => {
                let program = format!("{HEIMDAL}/bin/kinit.heimdal");
                words(&[&program, "--password-file=STDIN", "-c", cache, principal])
            }
        }
    }

    pub(crate) fn klist(self, cache: &str) -> Vec<String> {
        match self {
            Self::Mit => words(&["klist", "-c", cache]),
            // Called by the tool's name, heimtools would not know which of its tools to run.
            Self::Heimdal => words(&[&format!("{HEIMDAL}/bin/heimtools"), "klist", "-c", cache]),
        }
    }

    /// Heimdal's program that gets a service ticket into a cache.
    pub(crate) fn kgetcred(cache: &str, service: &str) -> Vec<String> {
        words(&[&format!("{HEIMDAL}/bin/kgetcred"), "-c", cache, service])
    }

    /// Step in the requester's session that gets a ticket of `alice` by the site's configuration.
    pub(crate) fn gets_ticket(self, site: &Site, cache: &str) -> Step {
        run(site, self.kinit(cache))
    }

    /// Step in the requester's session that requires a ticket of this service, such as `nfs/srv.example.test`.
    pub(crate) fn sees(self, site: &Site, cache: &str, principal: &str) -> Step {
        let script = r#"principal=$1; shift; said=$("$@" 2>&1); case $said in *"$principal"*) exit 0 ;; esac; echo "$said" >&2; exit 1"#;
        run(site, [words(&["sh", "-c", script, "sh", principal]), self.klist(cache)].concat())
    }

    /// Output of a program that must fail.
    #[track_caller]
    pub(crate) fn refusal(realm: &Realm, uid: u32, words: &[String]) -> String {
        let mut program = command_as(uid, &words[0]);
        let output = program.args(&words[1..]).envs(realm.environment()).output().unwrap();
        assert!(!output.status.success(), "{words:?} does it");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Step that runs a program with the site's configuration and the password on stdin.
pub(crate) fn run(site: &Site, program: Vec<String>) -> Step {
    let config = format!("KRB5_CONFIG={}", site.path("krb5.conf").display());
    Step::Run { words: [words(&["env", &config]), program].concat(), input: format!("{PASSWORD}\n") }
}
