//! Why no tickets were got or stored, with what to do about it.
//!
//! Used by all of `kinit`. Invariant: text of a KDC's is escaped.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;

use super::exit::KinitExit;
use super::quota;
use crate::gss::status::{Krb5Error, Krb5Reason};
use crate::text::{escaped, quoted};
use crate::time::Span;

/// What to look at where no KDC answers.
const NETWORK: &str = "check the network, and the KDCs that krb5.conf or DNS names for the realm";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KinitFailure {
    /// The process could not be kept from leaving its secrets in a core file.
    #[error("cannot disable core dumps: {}", .0.desc())]
    Core(Errno),
    /// krb5.conf cannot be used.
    #[error("{} while reading krb5.conf", escaped(&.0.message))]
    Configuration(#[source] Krb5Error),
    /// There is no name to get tickets for.
    #[error("{} while looking for the principal", escaped(&.0.message))]
    Client(#[source] Krb5Error),
    /// The user has no name.
    #[error("uid {0} has no name, so there is no principal by default")]
    NoName(u32),
    /// The default keytab, or the one named, cannot be used.
    #[error("{} while opening the keytab", escaped(&.0.message))]
    Keytab(#[source] Krb5Error),
    /// The keytab has no entry that could name the client.
    #[error("the client keytab is empty")]
    EmptyKeytab,
    /// The KDC, or the library on the way to it.
    #[error("{} while getting initial credentials", said(.0, *.1))]
    Initial(#[source] Krb5Error, Asked),
    /// The same for an old ticket.
    #[error("{} while renewing credentials", escaped(&.0.message))]
    Renewal(#[source] Krb5Error),
    /// The same for a postdated ticket.
    #[error("{} while validating credentials", escaped(&.0.message))]
    Validation(#[source] Krb5Error),
    /// The cache whose tickets were to be copied.
    #[error("{} while reading {name}", escaped(&.error.message), name = quoted(.name))]
    Source {
        /// As it was named.
        name: String,
        /// What is wrong with it.
        #[source]
        error: Krb5Error,
    },
    /// No ticket of that cache lasts.
    #[error("{} has no ticket that has not expired", quoted(.0))]
    Expired(String),
    /// The library would take this name for another.
    #[error("{} is no plain name of a cache in a keyring", quoted(.0))]
    Name(String),
    /// The session keyring is this user's, whose processes would have the tickets.
    #[error("the session keyring is uid {0}'s, as after su or sudo, and would give the tickets to that user")]
    ForeignSession(u32),
    /// The keyring, before anything was asked.
    #[error("{} while opening {name}", escaped(&.error.message), name = quoted(.name))]
    Place {
        /// The cache or collection.
        name: String,
        /// What the library says.
        #[source]
        error: Krb5Error,
    },
    /// The keyring, once there were tickets.
    #[error("{} while storing the tickets in {name}", escaped(&.error.message), name = quoted(.name))]
    Store {
        /// The cache, or the collection that has none yet.
        name: String,
        /// What the library says.
        #[source]
        error: Krb5Error,
    },
    /// There is no ticket to keep, and nobody to ask for one.
    #[error(
        "there is no ticket, and none is asked for: standard input is no terminal, and no keytab is named"
    )]
    NothingToHold,
    /// The longest ticket that can be had is too short.
    #[error(
        "the tickets of {client} hold for {left}; {wanted} were wanted{}",
        .obstacle.as_ref().map(|obstacle| format!(" ({obstacle})")).unwrap_or_default()
    )]
    Short {
        /// Whose they are.
        client: String,
        /// How long they hold.
        left: Span,
        /// How long they should.
        wanted: Span,
        /// How long they can be renewed.
        renewable: Option<Span>,
        /// Why there are no longer ones.
        obstacle: Option<Box<Self>>,
    },
    /// The KDC gives no longer ticket.
    #[error("the KDC gives no ticket that ends later")]
    NoLonger,
    /// What was got is no ticket-granting ticket of the client's realm.
    #[error("there is no ticket-granting ticket that could be renewed")]
    NothingToRenew,
    /// A name that the process in the background could not find.
    #[error("{} is found from this directory only", quoted(.0))]
    Relative(String),
    /// No new session keyring.
    #[error("cannot begin a session: {}", .0.desc())]
    Session(Errno),
    /// The process that tickets are renewed for.
    #[error("cannot watch process {pid}: {}", .errno.desc())]
    Watched {
        /// Its number.
        pid: i32,
        /// What the kernel says.
        errno: Errno,
    },
    /// The keyring ends with this process.
    #[error("the {0} keyring ends with lgss_kinit, so its tickets cannot be renewed")]
    EndsWithUs(String),
    /// The process that would renew them.
    #[error("cannot renew tickets in the background: {0}")]
    Background(String),
    /// The command could not be started.
    #[error("{}: {error}", quoted(&.program.to_string_lossy()))]
    Command {
        /// As it was named.
        program: OsString,
        /// What the kernel says.
        error: io::Error,
    },
    /// A result could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// What was asked for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A person, for a password.
    Password,
    Keytab,
    /// A certificate, a token, or nothing.
    Other,
}

/// What kinit says where the library only says that a checksum is wrong.
fn said(error: &Krb5Error, asked: Asked) -> String {
    if asked == Asked::Password && error.is_of_a_wrong_password() {
        "Password incorrect".to_owned()
    } else {
        escaped(&error.message).into_owned()
    }
}

impl KinitFailure {
    /// The exit status.
    pub(super) fn exit(&self) -> KinitExit {
        match self {
            Self::Short { .. } => KinitExit::Short,
            Self::Command { error, .. } if error.kind() == io::ErrorKind::NotFound => KinitExit::NotFound,
            Self::Command { .. } => KinitExit::NotExecutable,
            _ => KinitExit::Failed,
        }
    }

    /// What somebody can do about it.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Client(_) | Self::NoName(_) => Some("name the principal, NAME@REALM".to_owned()),
            Self::Name(_) => {
                Some("KEYRING:session:NAME, KEYRING:user:NAME or KEYRING:persistent:UID is one".to_owned())
            }
            Self::ForeignSession(_) => {
                Some("begin a session: --new-session; or name a keyring: --keyring user".to_owned())
            }
            Self::EmptyKeytab => Some("name the principal, or a keytab by -t".to_owned()),
            Self::Keytab(_) => {
                Some("name another keytab by -t alone; klist -k shows what one has".to_owned())
            }
            Self::Initial(error, asked) => of_the_kdc(error, *asked).map(str::to_owned),
            Self::Renewal(error) => of_a_renewal(error).map(str::to_owned),
            Self::Validation(error) => of_a_validation(error).map(str::to_owned),
            Self::Expired(_) => Some("get new ones: lgss_kinit PRINCIPAL".to_owned()),
            Self::Place { error, .. } | Self::Store { error, .. } => of_the_keyring(error),
            Self::Source { error, .. } if error.reason() == Krb5Reason::NoCache => {
                Some("klist -l lists the caches that other programs use".to_owned())
            }
            Self::NothingToHold => Some("get one: lgss_kinit PRINCIPAL; or name a keytab by -t".to_owned()),
            Self::Short { wanted, renewable: Some(renewable), .. } if renewable >= wanted => {
                Some(format!("keep them renewed, which can be done for {renewable}: --renew-while"))
            }
            Self::Short { left, renewable: Some(renewable), .. } if renewable > left => {
                Some(format!("they can be renewed for {renewable} only; get ones that can be for longer: -r TIME"))
            }
            Self::Short { obstacle: Some(obstacle), .. } => obstacle.remedy(),
            Self::Short { .. } => Some(
                "the realm or the ticket allows no more; get renewable ones, by -r TIME, and keep them renewed: --renew-while"
                    .to_owned(),
            ),
            Self::EndsWithUs(_) => Some("name another keyring: --keyring session".to_owned()),
            Self::Session(errno) => of_the_keyring(&Krb5Error::of_kernel(*errno)),
            Self::Relative(_) => Some("name it by its whole path".to_owned()),
            Self::NothingToRenew => Some("get one: lgss_kinit PRINCIPAL".to_owned()),
            Self::Watched { errno: Errno::ESRCH, .. } => {
                Some("name a process that runs, such as $$".to_owned())
            }
            Self::NoLonger => Some("get one that lasts longer: lgss_kinit -l TIME -r TIME".to_owned()),
            Self::Watched { .. } | Self::Background(_) | Self::Command { .. } => None,
            Self::Source { .. } | Self::Core(_) | Self::Configuration(_) | Self::Output(_) => None,
        }
    }
}

fn of_the_kdc(error: &Krb5Error, asked: Asked) -> Option<&'static str> {
    Some(match (error.reason(), asked) {
        (Krb5Reason::UnknownClient, _) => "check the spelling of the principal and of its realm",
        (Krb5Reason::UnknownRealm, _) => {
            "check the realm; krb5.conf or DNS has to name its KDCs, and krb5.conf a default_realm"
        }
        (Krb5Reason::KdcUnresolved | Krb5Reason::KdcUnreachable, _) => NETWORK,
        (Krb5Reason::ClockSkew, _) => "set the clock: it must agree with the KDC's within five minutes",
        (Krb5Reason::ClientRevoked, _) => "the account is locked; its administrator can unlock it",
        (Krb5Reason::ClientExpired, _) => {
            "the account has expired, which its administrator can change, or its password, which kpasswd changes"
        }
        (Krb5Reason::StaleKey | Krb5Reason::WrongKey, Asked::Keytab) => {
            "klist -kte shows whose keys the keytab has; kvno PRINCIPAL the KDC's version"
        }
        (Krb5Reason::Policy, _) => "the realm forbids such a ticket; its administrator knows what it allows",
        _ => return None,
    })
}

fn of_a_renewal(error: &Krb5Error) -> Option<&'static str> {
    Some(match error.reason() {
        Krb5Reason::NoCache => "get some: lgss_kinit PRINCIPAL; or copy some: lgss_kinit --from CACHE",
        Krb5Reason::TicketExpired | Krb5Reason::Policy => {
            "it has ended or cannot be renewed; get a new one, by -r one that can be: lgss_kinit -r 7d"
        }
        Krb5Reason::KdcUnresolved | Krb5Reason::KdcUnreachable => NETWORK,
        _ => return None,
    })
}

fn of_a_validation(error: &Krb5Error) -> Option<&'static str> {
    Some(match error.reason() {
        Krb5Reason::NoCache => "get some by -s: lgss_kinit -s TIME PRINCIPAL",
        Krb5Reason::ClockSkew => "wait until the ticket's start, which klist shows",
        Krb5Reason::Policy => "only a postdated ticket needs it: klist -f shows the flag i",
        Krb5Reason::KdcUnresolved | Krb5Reason::KdcUnreachable => NETWORK,
        _ => return None,
    })
}

fn of_the_keyring(error: &Krb5Error) -> Option<String> {
    match Errno::from_raw(error.code) {
        Errno::EDQUOT => Some(quota::remedy()),
        Errno::EACCES | Errno::EPERM => Some(
            "that keyring is not this user's, or keyctl(2) is forbidden here, as in some containers"
                .to_owned(),
        ),
        Errno::EKEYREVOKED | Errno::EKEYEXPIRED => {
            Some("this login's session keyring has ended; log in again, or --keyring user".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kdcs_text_does_not_reach_the_terminal_as_it_is() {
        let error = Krb5Error { code: 1, message: "\u{1b}]0;x\u{7}".to_owned() };
        let said = KinitFailure::Initial(error, Asked::Password).to_string();
        assert!(!said.contains(char::is_control), "{said:?}");
    }

    #[test]
    fn a_full_quota_is_told_with_figures_and_the_setting() {
        let error = Krb5Error { code: libc::EDQUOT, message: "Disk quota exceeded".to_owned() };
        let failure = KinitFailure::Store { name: "KEYRING:session:krb5".to_owned(), error };
        let remedy = failure.remedy().unwrap();
        assert!(remedy.contains("maxbytes") && remedy.contains("keyctl show"), "{remedy}");
    }
}
