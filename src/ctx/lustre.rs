//! How Lustre's kernel part asks for a context: description and callout of an `lgssc` key (docs/formats.md, "Lustre's
//! request").
//!
//! Parsed by the front, from bytes that are the kernel's only once the request's origin has been proved. Invariant: a
//! parsed value can be logged and passed on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::request::Level;
use crate::class::classes;
use crate::nid::Nid;

/// Longest name of a target, in bytes.
const TARGET_LIMIT: usize = 63;
/// Longest client identity, in bytes.
const CLIENT_LIMIT: usize = 40;

/// What is wrong with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LustreRequestError {
    /// Neither 11 nor 12 fields.
    #[error("callout has {0} fields, not 11 or 12")]
    Fields(usize),
    /// A field that does not follow its grammar.
    #[error("callout's field {0} is malformed")]
    Malformed(&'static str),
    /// Not `<uid>@<secid>`.
    #[error("description is not <uid>@<secid>")]
    Description,
    /// Description and callout name different ones.
    #[error("description and callout differ in uid or secid")]
    Differ,
}

/// How to authenticate to a Lustre server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LustreMechanism {
    /// Kerberos 5.
    Krb5,
    /// No security, for tests of Lustre's.
    Gssnull,
    /// Shared secret keys.
    Sk,
}

/// In which of a machine's capacities it asks: the letters `r`, `m` and `o`; none for an ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roles {
    /// As a client's root.
    pub root: bool,
    /// As a metadata target.
    pub mdt: bool,
    /// As an object storage target.
    pub ost: bool,
}

classes!(Roles { root: public, mdt: public, ost: public });

impl Roles {
    /// Whether machine credentials are asked for.
    pub fn any(self) -> bool {
        self.root || self.mdt || self.ost
    }

    /// As bits, in tokens of the mechanisms `gssnull` and `sk`: root 1, metadata target 2, object storage target 4.
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.root) | u32::from(self.mdt) << 1 | u32::from(self.ost) << 2
    }
}

/// Which kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerKind {
    /// Management server.
    Mgs,
    /// Metadata server.
    Mds,
    /// Object storage server.
    Oss,
}

impl ServerKind {
    /// The number that the kernel has for it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Mgs => 0,
            Self::Mds => 1,
            Self::Oss => 2,
        }
    }

    /// The first part of its principal.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Mgs => "lustre_mgs",
            Self::Mds => "lustre_mds",
            Self::Oss => "lustre_oss",
        }
    }
}

/// The callout of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LustreCallout {
    /// Number of the kernel's security context.
    pub secid: u32,
    /// How to authenticate.
    pub mechanism: LustreMechanism,
    /// The real uid of whoever wants access.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// In which capacity.
    pub roles: Roles,
    /// Protection; `None` for an ordinary user, whose contexts are for all of them.
    pub level: Option<Level>,
    /// Kind of the server.
    pub server: ServerKind,
    /// The server's network identifier.
    pub peer: Nid,
    /// Name of the target, such as `lustre-MDT0000-mdc-ff46162242dab800`.
    pub target: String,
    /// This machine's network identifier.
    pub myself: Nid,
    /// A process in whose mount namespace the credentials are; 0 for our own.
    pub pid: i32,
    /// Identity of the client, if the kernel tells it.
    pub client: Option<String>,
}

classes!(LustreCallout {
    secid: public,
    mechanism: public,
    uid: public,
    gid: public,
    roles: fields(Roles),
    level: public,
    server: public,
    peer: public,
    target: public,
    myself: public,
    pid: public,
    client: public,
});

impl LustreCallout {
    /// The protection to ask for. A user's context gets the highest, since it is for all levels.
    pub(crate) fn wanted_level(&self) -> Level {
        self.level.unwrap_or(Level::Privacy)
    }
}

impl FromStr for LustreCallout {
    type Err = LustreRequestError;

    fn from_str(text: &str) -> Result<Self, LustreRequestError> {
        let fields: Vec<&str> = text.split(':').collect();
        let (&[secid, mechanism, uid, gid, roles, level, server, peer, target, myself, pid], rest) =
            fields.split_first_chunk::<11>().ok_or(LustreRequestError::Fields(fields.len()))?;
        let client = match *rest {
            [] | [""] => None,
            [client] => Some(words(client, CLIENT_LIMIT).ok_or(LustreRequestError::Malformed("client"))?),
            _ => return Err(LustreRequestError::Fields(fields.len())),
        };
        let malformed = LustreRequestError::Malformed;
        Ok(Self {
            secid: decimal(secid).ok_or(malformed("secid"))?,
            mechanism: mechanism_of(mechanism).ok_or(malformed("mechanism"))?,
            uid: decimal(uid).ok_or(malformed("uid"))?,
            gid: decimal(gid).ok_or(malformed("gid"))?,
            roles: roles_of(roles).ok_or(malformed("flags"))?,
            level: level_of(level).ok_or(malformed("level"))?,
            server: server_of(server).ok_or(malformed("server"))?,
            peer: nid(peer).ok_or(malformed("peer"))?,
            target: words(target, TARGET_LIMIT).ok_or(malformed("target"))?,
            myself: nid(myself).ok_or(malformed("self"))?,
            pid: decimal(pid).ok_or(malformed("pid"))?,
            client,
        })
    }
}

fn decimal<T: FromStr>(digits: &str) -> Option<T> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn mechanism_of(text: &str) -> Option<LustreMechanism> {
    match text {
        "krb5" => Some(LustreMechanism::Krb5),
        "gssnull" => Some(LustreMechanism::Gssnull),
        "sk" => Some(LustreMechanism::Sk),
        _ => None,
    }
}

fn roles_of(letters: &str) -> Option<Roles> {
    let mut roles = Roles { root: false, mdt: false, ost: false };
    for letter in letters.chars() {
        let role = match letter {
            'r' => &mut roles.root,
            'm' => &mut roles.mdt,
            'o' => &mut roles.ost,
            _ => return None,
        };
        if std::mem::replace(role, true) {
            return None;
        }
    }
    Some(roles)
}

fn level_of(text: &str) -> Option<Option<Level>> {
    if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
}

fn server_of(text: &str) -> Option<ServerKind> {
    [ServerKind::Mgs, ServerKind::Mds, ServerKind::Oss]
        .into_iter()
        .find(|kind| decimal::<u32>(text) == Some(kind.number()))
}

fn nid(text: &str) -> Option<Nid> {
    let digits = text.strip_prefix("0x")?;
    let plain = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok())?.map(Nid::from_raw)
}

/// Printable text without blanks, not empty.
fn words(text: &str, limit: usize) -> Option<String> {
    let fits = (1..=limit).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// The description of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LustreDescription {
    /// Whose context; the real uid.
    pub uid: u32,
    /// Number of the kernel's security context.
    pub secid: u32,
}

impl FromStr for LustreDescription {
    type Err = LustreRequestError;

    /// `<uid>@<secid>`, the latter in lower-case hexadecimal.
    fn from_str(text: &str) -> Result<Self, LustreRequestError> {
        let parsed = text.split_once('@').and_then(|(uid, secid)| {
            let plain = secid.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            let secid = if plain { u32::from_str_radix(secid, 16).ok()? } else { return None };
            Some(Self { uid: decimal(uid)?, secid })
        });
        parsed.ok_or(LustreRequestError::Description)
    }
}

impl LustreDescription {
    /// Checks that it names what the callout does.
    ///
    /// # Errors
    /// [`LustreRequestError::Differ`].
    pub(crate) fn agrees_with(self, callout: &LustreCallout) -> Result<(), LustreRequestError> {
        if (self.uid, self.secid) == (callout.uid, callout.secid) {
            Ok(())
        } else {
            Err(LustreRequestError::Differ)
        }
    }
}

impl fmt::Display for LustreCallout {
    /// Mechanism, service and target, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = match self.mechanism {
            LustreMechanism::Krb5 => "krb5",
            LustreMechanism::Gssnull => "gssnull",
            LustreMechanism::Sk => "sk",
        };
        write!(f, "{mechanism} {} {}", self.server.service(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const USER: &str =
        "4:krb5:2001:2001::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x20000c0a84d02:557:caa7";

    /// Every request of a real file system (tests/golden).
    #[test]
    fn every_captured_request_is_understood() {
        let captured: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/golden/lustre-callouts.json")).unwrap();
        assert!(captured.len() > 30);
        for record in captured {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let callout: LustreCallout = text(&record["callout"]).parse().unwrap();
            let description: LustreDescription = text(&record["description"]).parse().unwrap();
            assert_eq!(description.agrees_with(&callout), Ok(()));
            let named = &record["named"];
            assert_eq!(callout.uid.to_string(), text(&named["uid"]));
            assert_eq!(callout.target, text(&named["obd_name"]));
            assert_eq!(format!("{:#x}", callout.peer.raw()), text(&named["peer_nid"]));
            assert_eq!(callout.server.number().to_string(), text(&named["lustre_svc"]));
            assert_eq!(callout.roles.root, text(&named["flags"]).contains('r'));
            assert_eq!(callout.client.unwrap_or_default(), text(&named["client_uuid"]));
        }
    }

    #[test]
    fn an_ordinary_users_request_has_no_roles_and_no_level() {
        let callout: LustreCallout = USER.parse().unwrap();
        assert!(!callout.roles.any());
        assert_eq!((callout.level, callout.pid, callout.uid), (None, 557, 2001));
        let without_client = USER.rsplit_once(':').unwrap().0;
        assert_eq!(without_client.parse::<LustreCallout>().unwrap().client, None);
        assert_eq!(format!("{without_client}:").parse::<LustreCallout>().unwrap().client, None);
    }

    #[test]
    fn what_the_kernel_does_not_write_is_refused() {
        for (from, to) in [
            ("krb5", "KRB5"),
            ("2001:2001", "-1:2001"),
            ("2001:2001", "2001:"),
            ("::-", ":rr:-"),
            ("::-", ":x:-"),
            (":-:", "::"),
            (":1:0x", ":3:0x"),
            ("0x20000c0a84d01", "20000c0a84d01"),
            ("0x20000c0a84d01", "0x+0000c0a84d01"),
            ("0x20000c0a84d01", "0x120000c0a84d010001"),
            ("lustre-MDT0000-mdc-ff2d", ""),
            ("lustre-MDT0000-mdc-ff2d", "a b"),
            ("557", "4294967296"),
            (":caa7", ":caa7:more"),
        ] {
            let text = USER.replacen(from, to, 1);
            assert!(text != USER && text.parse::<LustreCallout>().is_err(), "{text}");
        }
        assert_eq!("4:krb5".parse::<LustreCallout>(), Err(LustreRequestError::Fields(2)));
        for bad in ["", "2001", "@3", "2001@", "2001@0x3", "2001@G", "2001@3@4", "2001@AB"] {
            assert!(bad.parse::<LustreDescription>().is_err(), "{bad}");
        }
        let other: LustreDescription = "2001@5".parse().unwrap();
        assert_eq!(other.agrees_with(&USER.parse().unwrap()), Err(LustreRequestError::Differ));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in any::<String>()) {
            let _ = text.parse::<LustreCallout>();
            let _ = text.parse::<LustreDescription>();
        }
    }
}
