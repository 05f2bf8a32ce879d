//! The command line of `lgss_kinit`: that of kinit(1), and where the tickets go. One record per option is the source of
//! help, manual page and completion.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use clap_complete::ArgValueCandidates;

use super::values::{self, KeyringWord, WatchedWord};
use crate::gss::renewal::OldTicket;

const ABOUT: &str = "\
Get Kerberos tickets into kernel keyrings.

Takes the options of kinit, and keeps tickets where no file shows them: in the session keyring, unless another is named. They are there in MIT's layout, so klist, kdestroy and every program with MIT Kerberos use them. They end with the keyring.";

const EXAMPLES: &str = "\
Examples:
  lgss_kinit
  lgss_kinit alice@EXAMPLE.COM
  lgss_kinit --keyring persistent -l 10h -r 7d
  lgss_kinit -k -t /etc/batch.keytab batch
  lgss_kinit --from FILE:/tmp/krb5cc_1000
  lgss_kinit -R
  lgss_kinit --new-session alice -- make check
  lgss_kinit -r 7d --renew-while $$
  lgss_kinit --for 8h || exit

Exit status:
  0  the tickets are in the keyring
  1  something failed; what was in the keyring is still there
  2  the command line cannot be understood
  3  the ticket does not hold as long as --for says
A command after -- has its own; 126 and 127 say that it cannot be executed or is not there";

const WHERE: &str = "Where the tickets go";
const WHOSE: &str = "Authentication";
const INSTEAD: &str = "Instead of new tickets";
const TICKET: &str = "What the ticket is";
const AFTERWARDS: &str = "Sessions, renewal, jobs";
/// What belongs to no copy.
const INSTEAD_OF_ASKING: [&str; 24] = [
    "principal",
    "renew",
    "validate",
    "use_keytab",
    "keytab",
    "client_keytab",
    "anonymous",
    "attribute",
    "armor_cache",
    "input_cache",
    "canonicalize",
    "enterprise",
    "service",
    "lifetime",
    "renewable_life",
    "start_time",
    "forwardable",
    "noforwardable",
    "proxiable",
    "noproxiable",
    "addresses",
    "noaddresses",
    "request_pac",
    "no_request_pac",
];

/// What says something else than to keep the ticket that holds so long.
const NOT_FOR_A_TIME: [&str; 8] =
    ["from", "renew", "validate", "service", "start_time", "new_session", "renew_while", "anonymous"];

/// Before the names of session keyrings' caches.
const SESSION: &str = "KEYRING:session:";

/// The command line of `lgss_kinit`.
#[derive(Debug, Parser)]
#[command(
    name = "lgss_kinit",
    version,
    about = "Get Kerberos tickets into kernel keyrings",
    long_about = ABOUT,
    after_help = EXAMPLES,
    max_term_width = 100,
    // As getopt(3) has it.
    args_override_self = true,
    infer_long_args = true,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
pub(super) struct KinitArguments {
    /// Whose tickets [default: the client of the cache that is there, else the user's name in the default realm]
    ///
    /// With -k, the host's own principal; with -i, the client keytab's first one; with -n, a realm as @REALM. With -R and -v, whose ticket.
    pub principal: Option<String>,

    /// Keyring: session, user, persistent, persistent:UID, process or thread
    ///
    /// Without this and -c, KRB5CCNAME or krb5.conf decides if it names a KEYRING cache, else it is session.
    /// The process's and the thread's keyrings end with lgss_kinit: they only show that it would work.
    #[arg(long, value_name = "WORD", help_heading = WHERE, value_parser = values::keyring, add = ArgValueCandidates::new(values::keyrings), conflicts_with = "cache")]
    pub keyring: Option<KeyringWord>,
    /// This KEYRING cache, whatever is in it
    ///
    /// Other types of caches are kinit's.
    #[arg(short, long, value_name = "CACHE", help_heading = WHERE, value_parser = values::keyring_cache)]
    pub cache: Option<String>,

    /// Store the ticket-granting ticket as one plain key krbtgt/REALM@REALM instead of a cache
    ///
    /// In the session or user keyring. lgss_keyring uses it; MIT Kerberos does not. It takes the least of the quota.
    #[arg(long, help_heading = WHERE, conflicts_with_all = ["cache", "new_session", "renew_while", "hold", "service", "start_time"])]
    pub single_key: bool,

    /// Take the key from a keytab instead of asking for a password
    #[arg(short = 'k', long, help_heading = WHOSE, overrides_with_all = ["renew", "validate"])]
    pub use_keytab: bool,
    /// This keytab; means -k
    #[arg(short = 't', long, value_name = "KEYTAB", help_heading = WHOSE, conflicts_with = "client_keytab")]
    pub keytab: Option<String>,
    /// The default client keytab; means -k
    #[arg(short = 'i', long, help_heading = WHOSE)]
    pub client_keytab: bool,
    /// Get an anonymous ticket, by PKINIT
    #[arg(short = 'n', long, help_heading = WHOSE)]
    pub anonymous: bool,
    /// Attribute of a pre-authentication method, such as X509_user_identity=FILE:cert.pem,key.pem
    #[arg(short = 'X', long, value_name = "NAME[=VALUE]", help_heading = WHOSE, value_parser = values::attribute)]
    pub attribute: Vec<(String, String)>,
    /// Protect the exchange by a ticket of this cache (FAST)
    #[arg(short = 'T', long, value_name = "CACHE", help_heading = WHOSE)]
    pub armor_cache: Option<String>,
    /// Authenticate by the method that this cache has recorded
    #[arg(short = 'I', long, value_name = "CACHE", help_heading = WHOSE)]
    pub input_cache: Option<String>,
    /// Accept another name for the client from the KDC
    #[arg(short = 'C', long, help_heading = WHOSE)]
    pub canonicalize: bool,
    /// The principal is an enterprise name, such as alice@example.com; means -C
    #[arg(short = 'E', long, help_heading = WHOSE)]
    pub enterprise: bool,

    /// Copy the tickets of this cache, of any type; expired ones are left out
    #[arg(long, value_name = "CACHE", help_heading = INSTEAD, conflicts_with_all = INSTEAD_OF_ASKING)]
    pub from: Option<String>,
    /// Renew the ticket-granting ticket
    #[arg(short = 'R', long, help_heading = INSTEAD, overrides_with_all = ["use_keytab", "validate"])]
    pub renew: bool,
    /// Validate the ticket-granting ticket, which is postdated
    #[arg(short = 'v', long, help_heading = INSTEAD, overrides_with = "use_keytab")]
    pub validate: bool,

    /// How long it lasts: 10h, 1d2h, 10:30, or seconds
    #[arg(short, long, value_name = "TIME", help_heading = TICKET, value_parser = values::duration)]
    pub lifetime: Option<i32>,
    /// How long it can be renewed
    #[arg(short, long, value_name = "TIME", help_heading = TICKET, value_parser = values::duration)]
    pub renewable_life: Option<i32>,
    /// When it begins: after a time such as 2h, or at a time such as 20301231235959
    #[arg(short, long, value_name = "TIME", help_heading = TICKET, value_parser = values::start)]
    pub start_time: Option<i32>,
    /// The service it is for [default: the realm's ticket-granting service]
    #[arg(short = 'S', long, value_name = "SERVICE", help_heading = TICKET)]
    pub service: Option<String>,
    /// It can be forwarded
    #[arg(short, long, help_heading = TICKET)]
    pub forwardable: bool,
    /// It cannot be forwarded
    #[arg(short = 'F', long, help_heading = TICKET, conflicts_with = "forwardable")]
    pub noforwardable: bool,
    /// It can be proxied
    #[arg(short, long, help_heading = TICKET)]
    pub proxiable: bool,
    /// It cannot be proxied
    #[arg(short = 'P', long, help_heading = TICKET, conflicts_with = "proxiable")]
    pub noproxiable: bool,
    /// It is bound to this machine's addresses
    #[arg(short, long, help_heading = TICKET)]
    pub addresses: bool,
    /// It can be used from any address
    #[arg(short = 'A', long, help_heading = TICKET, conflicts_with = "addresses")]
    pub noaddresses: bool,
    /// Ask for Microsoft's authorisation data (PAC)
    #[arg(long, help_heading = TICKET)]
    pub request_pac: bool,
    /// Ask for none of it
    #[arg(long, help_heading = TICKET, conflicts_with = "request_pac")]
    pub no_request_pac: bool,

    /// Begin a new session keyring, for the tickets and for COMMAND, without which the user's shell runs
    ///
    /// No other session of the user can use its tickets.
    #[arg(long, help_heading = AFTERWARDS, conflicts_with = "keyring")]
    pub new_session: bool,
    /// Renew the tickets in the background, until that process ends; without PID, until COMMAND ends
    ///
    /// At half of their life, as long as they can be renewed; with a keytab, by new ones after that.
    /// Before a COMMAND, a word here that is no number is the principal.
    #[arg(long, value_name = "PID", num_args = 0..=1, help_heading = AFTERWARDS, value_parser = values::watched, conflicts_with_all = ["service", "start_time"])]
    renew_while: Option<Option<WatchedWord>>,
    /// Make sure that the ticket holds for this time: keep it, renew it or get a new one
    ///
    /// Nothing is asked for on a standard input that is no terminal.
    #[arg(long = "for", value_name = "TIME", help_heading = AFTERWARDS, value_parser = values::duration, conflicts_with_all = NOT_FOR_A_TIME)]
    pub hold: Option<i32>,
    /// What runs with the tickets, and its arguments
    #[arg(last = true, value_name = "COMMAND", help_heading = AFTERWARDS)]
    pub command: Vec<OsString>,

    /// Kerberos 5, which is all there is
    #[arg(short = '5', hide = true)]
    five: bool,
    /// Print the cache, the principal and the outcome
    #[arg(short = 'V', long)]
    pub verbose: bool,
    /// Print version
    #[arg(long, action = clap::ArgAction::Version)]
    version: (),
}

/// The record, for the manual page and completion.
pub fn record() -> Command {
    KinitArguments::command()
}

impl KinitArguments {
    /// Parses a command line, the first word of which is the program's name.
    pub(super) fn read(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut arguments = Self::try_parse_from(words)?;
        arguments.take_principal_for_pid()?;
        arguments.take_principal_after_dashes();
        match arguments.contradiction() {
            Some(said) => Err(Self::command().error(ErrorKind::ArgumentConflict, said)),
            None => Ok(arguments),
        }
    }

    /// Somebody who names a command names no process, but perhaps the principal.
    fn take_principal_for_pid(&mut self) -> Result<(), clap::Error> {
        if let Some(Some(WatchedWord::Principal(name))) = &self.renew_while {
            if self.principal.is_some() {
                let said = "two principals, or the number of no process, with --renew-while";
                return Err(Self::command().error(ErrorKind::ArgumentConflict, said));
            }
            (self.principal, self.renew_while) = (Some(name.clone()), Some(None));
        }
        Ok(())
    }

    /// As getopt(3) has it, where nothing is to be run and somebody who knows kinit's options only can have meant that.
    fn take_principal_after_dashes(&mut self) {
        let is_kinits = !self.runs_something() && self.renew_while.is_none() && self.hold.is_none();
        if is_kinits && self.principal.is_none() {
            if let [principal] = self.command.as_slice() {
                self.principal = principal.to_str().map(str::to_owned);
            }
            if self.principal.is_some() {
                self.command.clear();
            }
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let named = self.cache.as_deref().unwrap_or(SESSION);
        match self.renew_while {
            _ if self.hold.is_some() && !self.command.is_empty() => {
                Some("--for runs no command: lgss_kinit --for 8h && COMMAND")
            }
            Some(Some(WatchedWord::Process(_))) if self.new_session || !self.command.is_empty() => {
                Some("--renew-while takes the number of a process or, after --, a command, not both")
            }
            Some(None) if !self.runs_something() => {
                Some("--renew-while needs the number of a process or, after --, a command")
            }
            None if !self.command.is_empty() && !self.new_session => {
                Some("a command needs --new-session or --renew-while before it")
            }
            _ if self.single_key && !self.keyring.is_none_or(KeyringWord::takes_a_single_key) => {
                Some("a single key goes into the session or user keyring")
            }
            _ if self.new_session && !named.starts_with(SESSION) => {
                Some("the tickets of --new-session go into the session keyring: -c KEYRING:session:NAME")
            }
            _ => None,
        }
    }

    /// Whose end ends the renewal: a process, or within what is returned this one. None without renewal.
    pub(super) fn watched(&self) -> Option<Option<i32>> {
        self.renew_while.as_ref().map(|word| match word {
            Some(WatchedWord::Process(pid)) => Some(*pid),
            Some(WatchedWord::Principal(_)) | None => None,
        })
    }

    /// A name that leads elsewhere from another directory, which the process in the background works in: a keytab's, a cache's, or
    /// that of a variable.
    pub(super) fn relative_name(&self) -> Option<String> {
        let variables = ["KRB5_CONFIG", "KRB5_KTNAME", "KRB5_CLIENT_KTNAME"];
        let set = variables.into_iter().filter_map(std::env::var_os);
        let set = set.map(|value| value.to_string_lossy().into_owned());
        let named = [&self.keytab, &self.armor_cache].into_iter().flatten().cloned();
        set.chain(named).find(|name| values::is_relative(name))
    }

    /// Whether this process becomes a command or a shell.
    pub(super) fn runs_something(&self) -> bool {
        self.new_session || matches!(self.renew_while, Some(None)) && !self.command.is_empty()
    }

    /// Whether a keytab has the key.
    pub(super) fn by_keytab(&self) -> bool {
        self.use_keytab || self.keytab.is_some() || self.client_keytab
    }

    /// What is done to the tickets that are there, if no keytab is named.
    pub(super) fn renewal(&self) -> Option<OldTicket> {
        match (self.renew, self.validate) {
            _ if self.by_keytab() => None,
            (true, _) => Some(OldTicket::Renew),
            (false, true) => Some(OldTicket::Validate),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests;
