//! The command line of `lgss_kinit`: that of kinit(1), and where the tickets go. One record per option is the source of
//! help, manual page and completion.

use clap::{Command, CommandFactory, Parser};
use clap_complete::ArgValueCandidates;

use super::values::{self, KeyringWord};
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

Exit status:
  0  the tickets are in the keyring
  1  something failed; what was in the keyring is still there
  2  the command line cannot be understood";

const WHERE: &str = "Where the tickets go";
const WHOSE: &str = "Authentication";
const INSTEAD: &str = "Instead of new tickets";
const TICKET: &str = "What the ticket is";
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
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<KinitArguments, clap::error::ErrorKind> {
        KinitArguments::try_parse_from(["lgss_kinit"].iter().chain(words)).map_err(|error| error.kind())
    }

    #[test]
    fn the_record_is_consistent_and_the_options_are_those_of_kinit() {
        KinitArguments::command().debug_assert();
        let words = "-V -l 10h -s 1h -r 7d -f -p -A -C -E -k -t /k -c KEYRING:session:x -S kadmin/x -T /a -I /i -X a=b -X c alice";
        let arguments = parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(arguments.lifetime, Some(36_000));
        assert_eq!(arguments.start_time, Some(3600));
        assert_eq!(arguments.attribute, [("a".into(), "b".into()), ("c".into(), "yes".into())]);
        assert_eq!(arguments.principal.as_deref(), Some("alice"));
        for words in [
            &["-l10h", "-F", "-P", "-a"][..],
            &["-R"],
            &["-v"],
            &["-n", "@R"],
            &["-ki"],
            &["--noaddr"],
            &["-l", "1h", "-l", "2h"],
        ] {
            assert!(parse(words).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn of_keytab_renewal_and_validation_the_last_one_counts() {
        let last = |words: &[&str]| {
            let arguments = parse(words).unwrap();
            (arguments.use_keytab, arguments.renew, arguments.validate)
        };
        assert_eq!(last(&["-k", "-R"]), (false, true, false));
        assert_eq!(last(&["-R", "-k", "-5"]), (true, false, false));
        assert_eq!(last(&["-R", "-v"]), (false, false, true));
    }

    #[test]
    fn what_contradicts_itself_or_is_no_keyring_is_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, ValueValidation};
        for (words, kind) in [
            (&["-f", "-F"][..], ArgumentConflict),
            (&["-p", "-P"], ArgumentConflict),
            (&["-a", "-A"], ArgumentConflict),
            (&["-t", "x", "-i"], ArgumentConflict),
            (&["--from", "FILE:/x", "alice"], ArgumentConflict),
            (&["--from", "FILE:/x", "-l", "1h"], ArgumentConflict),
            (&["--keyring", "user", "-c", "KEYRING:user:x"], ArgumentConflict),
            (&["-c", "FILE:/tmp/x"], ValueValidation),
            (&["-c", "/tmp/x"], ValueValidation),
            (&["-c", "KEYRING:nowhere:x"], ValueValidation),
            (&["--keyring", "nowhere"], ValueValidation),
            (&["--keyring", "session:1"], ValueValidation),
            (&["-l", "soon"], ValueValidation),
            (&["-l", "0"], ValueValidation),
            (&["-s", "20000101000000"], ValueValidation),
            (&["-X", "=x"], ValueValidation),
        ] {
            assert_eq!(parse(words).map(|_| ()), Err(kind), "{words:?}");
        }
    }
}
