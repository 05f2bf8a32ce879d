//! A failure in words for the requester (rule S15): only what the requester may know.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;

use super::cause::Cause;
#[cfg(feature = "upcall")]
use super::failure::Failure;

/// A failure in words, for a requester that asks for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Reason {
    /// The step that failed, in the log's word.
    pub stage: String,
    /// The cause, a word such as `kdc_down`; a later version may know others.
    pub cause: String,
    /// Details.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

impl Reason {
    /// The failure in words; `None` if it is not about the requester's own affairs.
    #[cfg(feature = "upcall")]
    pub(crate) fn of(failure: &Failure) -> Option<Self> {
        failure.cause.is_the_requesters_own().then(|| Self {
            stage: failure.stage.to_string(),
            cause: failure.cause.word(),
            detail: failure.detail.clone(),
            remedy: failure.cause.remedy().to_owned(),
        })
    }

    /// The cause in a few words, if this version knows it.
    pub fn summary(&self) -> Option<&'static str> {
        Cause::of_word(&self.cause).map(Cause::summary)
    }
}

impl Cause {
    /// Whether detail and remedy reveal only what the requester could find out by itself, as the same user at the same
    /// place: its request, its caches, its KDC, its server, its limits. Not so the rules of the threat model, the setup
    /// of the host, and machine credentials.
    #[cfg(feature = "upcall")]
    pub fn is_the_requesters_own(self) -> bool {
        match self {
            Self::BadRequest
            | Self::NoTicket
            | Self::TicketExpired
            | Self::BadCache
            | Self::ClockSkew
            | Self::UnknownService
            | Self::EncryptionType
            | Self::UnknownClient
            | Self::ClientRevoked
            | Self::ClientExpired
            | Self::ServiceClosed
            | Self::KdcPolicy
            | Self::TicketRejected
            | Self::KdcRefused
            | Self::BadKdcAnswer
            | Self::UnknownRealm
            | Self::KdcUnresolved
            | Self::NameServiceSilent
            | Self::WrongProgram
            | Self::KdcDown
            | Self::KdcSilent
            | Self::UnknownHost
            | Self::ServerDown
            | Self::ServerSilent
            | Self::ServerRefused
            | Self::TokenTooLarge
            | Self::BadReply
            | Self::TooMany
            | Self::Paused
            | Self::Unpaused
            | Self::ManyKeys
            | Self::Deadline
            | Self::Quota
            | Self::KeyGone => true,
            Self::Refused
            | Self::NoMachineCredential
            | Self::NoSharedKey
            | Self::SharedKeyExpired
            | Self::BadSharedKey
            | Self::SharedKeyRefused
            | Self::KeytabRefused
            | Self::UnnamedNid
            | Self::UnconfirmedName
            | Self::BadProgram
            | Self::WorkerFault
            | Self::LibraryFault
            | Self::BadKrb5Conf
            | Self::Setup => false,
        }
    }

    /// Its stable name for programs, such as `kdc_down`.
    #[cfg(feature = "upcall")]
    pub fn word(self) -> String {
        serde_json::to_string(&self).unwrap_or_default().trim_matches('"').to_owned()
    }

    /// The cause with this name.
    pub fn of_word(word: &str) -> Option<Self> {
        let word: StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
        Self::deserialize(word).ok()
    }

    /// What happened, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Refused => "the upcall refuses the request",
            Self::BadRequest => "the request is malformed",
            Self::NoTicket => "no usable ticket was found",
            Self::TicketExpired => "the ticket has expired",
            Self::BadCache => "the credential cache cannot be used",
            Self::NoMachineCredential => "this machine has no suitable credentials",
            Self::NoSharedKey => "no shared key is loaded for the file system",
            Self::SharedKeyExpired => "the file system's shared key has expired",
            Self::BadSharedKey => "the loaded shared key does not fit this request",
            Self::SharedKeyRefused => "the server does not accept the shared key",
            Self::KeytabRefused => "the KDC does not accept the keytab",
            Self::ClockSkew => "the clocks differ too much, or the ticket is not valid yet",
            Self::UnknownService => "the KDC does not know the service",
            Self::EncryptionType => "no allowed encryption type is available",
            Self::UnknownClient => "the KDC does not know your principal",
            Self::ClientRevoked => "the KDC says that the account is locked",
            Self::ClientExpired => "the account or its password has expired",
            Self::ServiceClosed => "the KDC gives no tickets for the service",
            Self::KdcPolicy => "the KDC's policy forbids the ticket",
            Self::TicketRejected => "the KDC does not accept the ticket any more",
            Self::KdcRefused => "the KDC refuses the ticket",
            Self::BadKdcAnswer => "the answer does not come from a KDC of this realm",
            Self::UnknownRealm => "no KDC is known for the realm, or no realm for the host",
            Self::KdcUnresolved => "the KDC's host name cannot be resolved",
            Self::NameServiceSilent => "the name service does not answer in time",
            Self::WrongProgram => "the server does not have the program, or not in this version",
            Self::KdcDown => "no KDC can be reached",
            Self::KdcSilent => "the KDC does not answer in time",
            Self::UnknownHost => "the server's host name cannot be resolved",
            Self::UnnamedNid => "a network identifier has no host name",
            Self::UnconfirmedName => "a host name does not lead back to its address",
            Self::BadProgram => "the site's program for host names does not work",
            Self::ServerDown => "the server does not accept the connection",
            Self::ServerSilent => "the server does not answer in time",
            Self::ServerRefused => "the server refuses the context",
            Self::TokenTooLarge => "the ticket is too large for the server",
            Self::BadReply => "the server's answer is not that of an RPCSEC_GSS server",
            Self::TooMany => "too many negotiations are running",
            Self::Paused => "too many requests in a row have failed",
            Self::Unpaused => "the pause has ended",
            Self::ManyKeys => "there are too many keys on this machine",
            Self::Deadline => "the negotiation ran out of time",
            Self::WorkerFault | Self::LibraryFault | Self::BadKrb5Conf | Self::Setup => {
                "the upcall could not do its work on this machine"
            }
            Self::Quota => "the quota of keys is used up",
            Self::KeyGone => "the key has ended before there was a context",
        }
    }
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use crate::event::stage::Stage;

    #[test]
    fn what_is_not_the_requesters_own_is_not_told_in_words() {
        let reason = |cause| Reason::of(&Failure::new(Stage::Admit, cause, "a detail"));
        for cause in [Cause::Refused, Cause::Setup, Cause::WorkerFault, Cause::KeytabRefused] {
            assert_eq!(reason(cause), None, "{cause:?}");
        }
        let told = reason(Cause::KdcDown).unwrap();
        assert_eq!((told.stage.as_str(), told.cause.as_str()), ("admit", "kdc_down"));
        assert_eq!((told.detail.as_str(), told.summary()), ("a detail", Some("no KDC can be reached")));
        let later = Reason { cause: "of_a_later_version".to_owned(), ..told };
        assert_eq!(later.summary(), None);
    }
}
