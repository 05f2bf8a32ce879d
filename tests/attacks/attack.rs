//! One attack: what an ordinary user does, where, and how it must end.

use crate::plan::{Request, Step};
use crate::support::outcome::Outcome;
use crate::support::probe::as_user;
use crate::support::process::command_as;
use crate::support::rpc::call_null_with;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::process::Output;

/// Where the attacker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// In the namespaces of the host.
    Host,
    /// Root in a user namespace that it has made without any right.
    UserNamespace,
}

impl World {
    pub(crate) const BOTH: [Self; 2] = [Self::Host, Self::UserNamespace];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::UserNamespace => "user namespace",
        }
    }
}

/// How an attack must end, in words for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The request fails with this error.
    Refused(Errno),
    /// The attacker gets a context of its own, as if it had asked in the ordinary way.
    OwnContext,
    /// The function has checked that this is so.
    Checked(&'static str),
}

impl End {
    pub(crate) fn word(self) -> String {
        match self {
            Self::Refused(errno) => format!("{errno:?}"),
            Self::OwnContext => "its own context".to_owned(),
            Self::Checked(word) => word.to_owned(),
        }
    }
}

/// A case of the suite. It succeeds if the attack fails.
pub(crate) struct Attack {
    /// The rule that it would break.
    pub(crate) rule: &'static str,
    pub(crate) name: String,
    pub(crate) end: End,
    /// Where it is possible.
    pub(crate) worlds: &'static [World],
    pub(crate) attempt: Attempt,
}

/// Makes the attack; returns the outcome of its request, if that is to be checked.
type Attempt = Box<dyn Fn(&Scene<'_>) -> Option<Outcome> + Send + Sync>;

impl Attack {
    /// An attack by a request.
    pub(crate) fn asking(
        rule: &'static str,
        name: &str,
        end: End,
        attempt: impl Fn(&Scene<'_>) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        let attempt = Box::new(move |scene: &Scene<'_>| Some(attempt(scene)));
        Self { rule, name: name.to_owned(), end, worlds: &World::BOTH, attempt }
    }

    /// An attack whose function checks its end, which `word` names.
    pub(crate) fn checked(
        rule: &'static str,
        name: &str,
        word: &'static str,
        attempt: impl Fn(&Scene<'_>) + Send + Sync + 'static,
    ) -> Self {
        let attempt = move |scene: &Scene<'_>| {
            attempt(scene);
            None
        };
        let end = End::Checked(word);
        Self { rule, name: name.to_owned(), end, worlds: &World::BOTH, attempt: Box::new(attempt) }
    }

    /// Makes the attack.
    ///
    /// # Panics
    /// If it has gained something, or done harm: to the log, to processes, or to an honest request that follows.
    pub(crate) fn run(&self, shared: &Shared, world: World) {
        // Attacks that wait for a server are over before it is given up, on a busy machine too.
        let [deadline, kdc, connect, round] = ["60s"; 4];
        let settings = Settings { deadline, kdc, connect, round, ..Settings::default() };
        let scene = Scene { shared, site: Site::with(shared.realm(), &settings), world };
        scene.site.ticket(shared.realm());
        match ((self.attempt)(&scene), self.end) {
            (None, End::Checked(_)) => {}
            (Some(Outcome::Established(context)), End::OwnContext) => call_null_with(&context, shared.nfs()),
            (Some(outcome @ (Outcome::Refused(_) | Outcome::Failed { .. })), End::Refused(expected)) => {
                assert_eq!(outcome.errno(), expected, "{:#?}", scene.site.log.lines());
            }
            (got, expected) => panic!("{got:?} instead of {expected:?}: {:#?}", scene.site.log.lines()),
        }
        scene.expect_no_harm();
    }
}

/// The attacker's place: a site of its own, where it has a ticket.
pub(crate) struct Scene<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) site: Site,
    pub(crate) world: World,
}

impl Scene<'_> {
    /// Steps that make a process the attacker.
    pub(crate) fn attacker(&self) -> Vec<Step> {
        let mut steps = as_user(self.site.uid());
        if self.world == World::UserNamespace {
            steps.extend([Step::UserNamespace, Step::JoinSession]);
        }
        steps
    }

    /// A request as an honest user makes it, for the context of this name.
    pub(crate) fn honest_request(&self, name: &str) -> Request {
        self.request_to(self.shared.nfs(), name)
    }

    /// The same to another server.
    pub(crate) fn request_to(&self, target: &Target, name: &str) -> Request {
        let uid = self.site.uid();
        match self.world {
            World::Host => self.site.request_as(&uid.to_string(), target, &format!(":h{name}")),
            // Its uid in the namespace is another, and other tests' users say "self", too.
            World::UserNamespace => self.site.request_as("self", target, &format!(":u{uid}{name}")),
        }
    }

    /// Makes a request as the attacker.
    pub(crate) fn ask(&self, request: Request) -> Outcome {
        self.site.ask_after(self.attacker(), request)
    }

    /// Makes an honest request with this callout.
    pub(crate) fn ask_with_callout(&self, callout: Vec<u8>) -> Outcome {
        let request = self.honest_request("");
        self.ask(Request { callout: Some(callout), ..request })
    }

    /// Makes an honest request with more fields in its callout.
    pub(crate) fn ask_with_fields(&self, fields: &str) -> Outcome {
        let mut request = self.honest_request("");
        request.callout.as_mut().unwrap().extend(format!(";{fields}").bytes());
        self.ask(request)
    }

    /// Runs a script as the attacker; `$D` is the site's directory, `$U` the attacker's uid, and `$1` and so on are `words`.
    pub(crate) fn run(&self, script: &str, words: &[&str]) -> Output {
        let uid = self.site.uid();
        let mut program = vec!["sh", "-c", script, "sh"];
        if self.world == World::UserNamespace {
            program.splice(0..0, ["unshare", "--user", "--map-root-user"]);
        }
        let mut command = command_as(uid, program[0]);
        command.args(&program[1..]).args(words).env("D", self.site.path("")).env("U", uid.to_string());
        let output = command.output().unwrap();
        assert!(!output.stderr.starts_with(b"unshare:"), "no user namespace: {output:?}");
        output
    }

    /// Waits until all upcalls have ended; how many of them the log tells of. None ended by a fault of ours: whatever the
    /// requester does, the installation is sound.
    pub(crate) fn ended_upcalls(&self) -> usize {
        self.site.wait_until_idle();
        let lines = self.site.log.lines();
        let fault = lines.iter().find(|line| line.contains(": EIO;"));
        assert!(fault.is_none(), "a fault of ours: {fault:?}");
        let keys = lines.iter().filter_map(|line| line.split_once("]: key ")?.1.split(' ').next());
        keys.collect::<BTreeSet<_>>().len()
    }

    fn expect_no_harm(&self) {
        let (site, nfs) = (&self.site, self.shared.nfs());
        site.wait_until_idle();
        site.ticket(self.shared.realm());
        match self.ask(self.honest_request("honest")) {
            Outcome::Established(context) => call_null_with(&context, nfs),
            other => panic!("an honest request afterwards: {other:?}: {:#?}", site.log.lines()),
        }
        site.log.wait_for(|line| line.contains(": established "));
        site.wait_until_idle();
        for line in site.log.lines() {
            let forged =
                line.trim_end().contains(|c: char| c.is_control()) || !line.contains(" lgss_keyring[");
            assert!(!forged, "a line was forged: {line:?}");
            let other = line.contains(": established ") && !line.contains(&format!(" uid {} ", site.uid()));
            assert!(!other, "somebody else's context: {line}");
        }
    }
}
