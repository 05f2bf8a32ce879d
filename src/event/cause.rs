//! The causes of a failed upcall: their errnos, and what to do about them.

#[cfg(feature = "upcall")]
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why an upcall failed, as far as that matters for the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A rule of the threat model forbids the request; the detail names it.
    Refused,
    /// The request itself is malformed.
    BadRequest,
    /// There is no credential cache, or it holds no ticket.
    NoTicket,
    /// The ticket has expired.
    TicketExpired,
    /// The cache exists but must not or cannot be used.
    BadCache,
    /// Neither a cache nor the keytab has what this machine needs; the detail says what there is.
    NoMachineCredential,
    /// No shared key is loaded for the file system or its MGS; the detail says where one was looked for.
    NoSharedKey,
    /// The shared key's time in the keyring is over.
    SharedKeyExpired,
    /// The shared key is malformed, of another type, or another file system's or MGS's.
    BadSharedKey,
    /// The server does not accept the shared key.
    SharedKeyRefused,
    /// The KDC knows no principal of the keytab, or the keytab's keys are not the KDC's.
    KeytabRefused,
    /// The clocks of the KDC or server and of this machine differ too much.
    ClockSkew,
    /// The KDC does not know the service.
    UnknownService,
    /// Ticket or context have an encryption type that is not allowed, or no allowed type is available.
    EncryptionType,
    /// The KDC does not know the client.
    UnknownClient,
    /// The KDC has locked or disabled the client.
    ClientRevoked,
    /// The client, or its password, has expired.
    ClientExpired,
    /// The service is locked, has expired, or may have no tickets.
    ServiceClosed,
    /// The KDC's policy forbids the ticket.
    KdcPolicy,
    /// The KDC does not accept the ticket-granting ticket.
    TicketRejected,
    /// The KDC answers with another error.
    KdcRefused,
    /// The answer from the KDC's address is not that of this realm's KDC.
    BadKdcAnswer,
    /// No KDC of the realm is known, or the realm of a host is not.
    UnknownRealm,
    /// No KDC's name has an address.
    KdcUnresolved,
    /// No KDC of the realm accepts a connection.
    KdcDown,
    /// No KDC answers in time.
    KdcSilent,
    /// The name service does not answer in time.
    NameServiceSilent,
    /// The host name of the server cannot be resolved.
    UnknownHost,
    /// No host name can be found for a network identifier.
    UnnamedNid,
    /// A name does not resolve to the address that it was found for (rule S17).
    UnconfirmedName,
    /// The site's program for host names must not be run or does not work (rule S14).
    BadProgram,
    /// The server does not accept the connection.
    ServerDown,
    /// The server does not answer in time.
    ServerSilent,
    /// The server does not have the program, or not in this version.
    WrongProgram,
    /// The server refuses the context.
    ServerRefused,
    /// The token is larger than the server accepts, as with a ticket of very many groups.
    TokenTooLarge,
    /// The server's answer breaks the protocol or fails a check.
    BadReply,
    /// The limit of negotiations is reached (rule S8).
    TooMany,
    /// The owner has a pause because its requests keep failing (rule S8).
    Paused,
    /// No fault: the request was only to end that pause.
    Unpaused,
    /// There are too many keys on this machine to find the requester in time (rule S21).
    ManyKeys,
    /// The deadline of the whole upcall has passed.
    Deadline,
    /// The worker ended without a result or broke its protocol.
    WorkerFault,
    /// The key owner's quota of key bytes is used up.
    Quota,
    /// The key was removed, revoked or has expired during the negotiation.
    KeyGone,
    /// libkrb5 itself has failed: files, memory, plugins.
    LibraryFault,
    /// krb5.conf cannot be used.
    BadKrb5Conf,
    /// The installation or configuration of lgss is broken.
    Setup,
}

#[cfg(feature = "upcall")]
impl Cause {
    /// The error that the requester and readers of the key see.
    pub fn errno(self) -> Errno {
        match self {
            Self::Refused
            | Self::KdcRefused
            | Self::UnknownClient
            | Self::ClientRevoked
            | Self::ClientExpired
            | Self::ServiceClosed
            | Self::KdcPolicy
            | Self::TicketRejected
            | Self::KeytabRefused
            | Self::UnknownService
            | Self::EncryptionType
            | Self::ServerRefused
            | Self::SharedKeyRefused => Errno::EACCES,
            Self::BadRequest => Errno::EINVAL,
            Self::NoTicket | Self::BadCache | Self::NoMachineCredential | Self::NoSharedKey => Errno::ENOKEY,
            Self::TicketExpired | Self::SharedKeyExpired => Errno::EKEYEXPIRED,
            Self::ClockSkew | Self::BadSharedKey => Errno::EKEYREJECTED,
            Self::KdcSilent
            | Self::NameServiceSilent
            | Self::ServerSilent
            | Self::ManyKeys
            | Self::Deadline => Errno::ETIMEDOUT,
            Self::KdcDown | Self::ServerDown => Errno::ECONNREFUSED,
            Self::UnknownRealm
            | Self::KdcUnresolved
            | Self::UnknownHost
            | Self::UnnamedNid
            | Self::UnconfirmedName
            | Self::BadProgram => Errno::EHOSTUNREACH,
            Self::TokenTooLarge => Errno::E2BIG,
            Self::BadKdcAnswer | Self::BadReply => Errno::EPROTO,
            Self::WrongProgram => Errno::EPROTONOSUPPORT,
            Self::TooMany | Self::Paused | Self::Unpaused => Errno::EAGAIN,
            Self::Quota => Errno::EDQUOT,
            Self::KeyGone => Errno::EKEYREVOKED,
            Self::WorkerFault | Self::LibraryFault | Self::BadKrb5Conf | Self::Setup => Errno::EIO,
        }
    }

    /// The remedy, with the name of the settings file that is in effect.
    pub fn remedy_by(self, settings: &std::path::Path) -> String {
        let settings: std::path::PathBuf = settings.components().collect();
        self.remedy().replace("lgss.toml", &crate::text::one_line(&settings.to_string_lossy()))
    }

    /// What a person can do about it.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Refused => {
                "the request is not allowed; if it should be, look up the rule in /usr/share/doc/lgss/threat-model.md"
            }
            Self::BadRequest => {
                "correct the description or callout of the request (formats: /usr/share/doc/lgss/formats.md)"
            }
            Self::NoTicket => "get a ticket with kinit, or name the cache that has one",
            Self::TicketExpired => "get a new ticket with kinit",
            Self::BadCache => {
                "fix what the message names (a cache file must belong to the user and have mode 0600), get a new cache with kinit, or name another"
            }
            Self::ClockSkew => {
                "set the clocks of client, KDC and server (chrony or ntpd); a postdated ticket is validated with kinit -v"
            }
            Self::NoMachineCredential => {
                "add a key of a wanted principal: kadmin -q 'ktadd -k KEYTAB PRINCIPAL'; list keys with klist -k"
            }
            Self::NoSharedKey => {
                "load the key as root: lgss_sk -l FILE (or mount with skpath=); lgss_sk list shows what is loaded"
            }
            Self::SharedKeyExpired => "load the key, or its successor, again as root: lgss_sk -l FILE",
            Self::BadSharedKey => {
                "compare the key with what was asked for (lgss_sk -r FILE, lgss_sk list), then load the right one: lgss_sk -l FILE"
            }
            Self::SharedKeyRefused => {
                "compare the key and its nodemap with the server's (lgss_sk -r FILE on both); after a rotation load the successor on the servers first"
            }
            Self::KeytabRefused => {
                "write the keys again (kadmin -q 'ktadd -k KEYTAB PRINCIPAL'); try them with kinit -k -t KEYTAB PRINCIPAL"
            }
            Self::UnknownService => {
                "check service and host name, and [domain_realm] of krb5.conf for the host; the KDC's admin may have to add the principal"
            }
            Self::EncryptionType => {
                "give the service keys of an allowed type (kadmin), or allow more in [kerberos] enctypes of lgss.toml and krb5.conf"
            }
            Self::UnknownClient => {
                "the KDC's admin may have removed the principal; get a ticket of another one with kinit"
            }
            Self::ClientRevoked => "have the KDC's admin unlock the account (kadmin: modprinc -unlock)",
            Self::ClientExpired => {
                "set a new password with kpasswd, or have the KDC's admin extend the account"
            }
            Self::ServiceClosed => {
                "have the KDC's admin look at the service's principal: expired, locked, or allow_svr taken away"
            }
            Self::KdcPolicy => "the KDC's log names the rule; its admin may have to change it",
            Self::TicketRejected => {
                "get a new ticket with kinit: the KDC's keys have changed, or it revoked this one"
            }
            Self::KdcRefused => "see the KDC's log for the reason",
            Self::BadKdcAnswer => {
                "check the realm name (case matters) and its KDCs in [realms] of krb5.conf: another service may be listening there"
            }
            Self::UnknownRealm => {
                "name the realm's KDCs in [realms] of krb5.conf (or SRV records), and the realm of the host's domain in [domain_realm]"
            }
            Self::KdcUnresolved => "check the KDCs' names in [realms] of krb5.conf, and the resolver",
            Self::NameServiceSilent => {
                "check the resolver (/etc/resolv.conf), and the network towards its servers"
            }
            Self::KdcDown => "check the realm's KDC addresses in krb5.conf and that a KDC runs there",
            Self::KdcSilent => "check network and firewall towards the KDC (port 88, UDP and TCP)",
            Self::UnknownHost => "check the host name and the resolver configuration",
            Self::UnnamedNid => {
                "add the NID to [lustre.nids] in lgss.toml, or its address to the name service"
            }
            Self::UnconfirmedName => {
                "make address and name agree in the name service, or add the NID to [lustre.nids] in lgss.toml"
            }
            Self::BadProgram => "run the program by hand; or add the NID to [lustre.nids] in lgss.toml",
            Self::ServerDown => "check host and port, and that the server runs",
            Self::ServerSilent => {
                "check network and firewall towards the server, and whether the server hangs"
            }
            Self::WrongProgram => {
                "check program and version in the request, and that host and port are the service's"
            }
            Self::ServerRefused => {
                "check that the server offers this security; with Kerberos, also check its clock and that its keytab has the service's newest key"
            }
            Self::TokenTooLarge => {
                "the ticket is too large for the server, perhaps because the user is in very many groups; have the KDC issue a smaller one"
            }
            Self::BadReply => {
                "the peer at that address is not the RPCSEC_GSS server that was asked for, or is broken"
            }
            Self::TooMany => {
                "wait for other negotiations to end; if that is the normal load, raise [limits] in lgss.toml"
            }
            Self::Paused => {
                "fix the last failure; the pause ends by itself, with a new ticket, or with lgss flush --all"
            }
            Self::Unpaused => "nothing to do: ending the pause was the request",
            Self::ManyKeys => "see /proc/key-users; remove keys, or lower kernel.keys.maxkeys (sysctl)",
            Self::Deadline => "find the slow stage in this line, then fix it or raise its timeout",
            Self::WorkerFault => {
                "look at earlier lgss lines in the log, and check the worker with lgss config check; if it happens again, report it"
            }
            Self::KeyGone => "nothing: the requester, or whoever flushed the context, no longer wants it",
            Self::Quota => "remove keys of this user or raise /proc/sys/kernel/keys/maxbytes",
            Self::LibraryFault => "see the message, which is libkrb5's: file system, memory, or a plugin",
            Self::BadKrb5Conf => {
                "correct that fault in krb5.conf, see krb5.conf(5); lgss config check verifies it"
            }
            Self::Setup => "repair the installation or lgss.toml; as root, lgss config check shows more",
        }
    }
}
