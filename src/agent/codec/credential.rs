//! Credentials in the format of file caches, version 4.

use sha2::{Digest, Sha256};

use super::principal::PrincipalBytes;
use crate::secret::Secret;
use crate::wire::{Reader, WireError};

/// What a credential costs beyond its bytes, in bytes: entries of maps and the heap's own.
const ENTRY: usize = 256;

/// Seconds since the epoch; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TicketTimes {
    /// When the client authenticated.
    pub(crate) authenticated: u32,
    /// When the ticket becomes valid.
    pub(crate) start: u32,
    /// When it ends.
    pub(crate) end: u32,
    /// When it can no longer be renewed.
    pub(crate) renewable: u32,
}

impl TicketTimes {
    /// Reads four 32-bit integers.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            authenticated: reader.u32_be()?,
            start: reader.u32_be()?,
            end: reader.u32_be()?,
            renewable: reader.u32_be()?,
        })
    }
}

/// The life of a ticket that its KDC can renew, in seconds since the epoch of the KDC's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RenewableLife {
    /// When the ticket became valid.
    pub(crate) start: u32,
    /// When it ends, before [`RenewableLife::until`].
    pub(crate) end: u32,
    /// When it can be renewed no more.
    pub(crate) until: u32,
}

/// Flags of a ticket (RFC 4120 §5.3).
const INVALID: u32 = 1 << (31 - 7);
const RENEWABLE: u32 = 1 << (31 - 8);

/// The parts of a credential. Session key and tickets are secrets, so there is no `Debug`.
pub(crate) struct Fields<'a> {
    /// Whose it is.
    pub(crate) client: PrincipalBytes<'a>,
    /// What it is for.
    pub(crate) server: PrincipalBytes<'a>,
    /// Encryption type of the session key.
    pub(crate) key_type: u16,
    /// Its times.
    pub(crate) times: TicketTimes,
    /// Not 0 if the ticket is encrypted in another ticket's session key.
    pub(crate) is_session_key: u8,
    /// Flags of the ticket (RFC 4120 §5.3), bit 0 first.
    pub(crate) flags: u32,
    /// The list with its number; nothing if that is 0.
    pub(crate) authdata: &'a [u8],
    /// The second ticket; nothing if there is none.
    pub(crate) second_ticket: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads a credential: client, server, key, times, `u8`, flags, addresses, authorisation data, ticket, second ticket.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (client, server) = (PrincipalBytes::read(reader)?, PrincipalBytes::read(reader)?);
        let key_type = read_key(reader)?;
        let times = TicketTimes::read(reader)?;
        let (is_session_key, flags) = (reader.u8()?, reader.u32_be()?);
        read_list(reader)?;
        let authdata = read_list(reader)?;
        reader.opaque_be()?;
        let second_ticket = reader.opaque_be()?;
        Ok(Self { client, server, key_type, times, is_session_key, flags, authdata, second_ticket })
    }

    /// The life of a ticket-granting ticket of the client's own realm that can be renewed to end later.
    fn renewable_life(&self) -> Option<RenewableLife> {
        let TicketTimes { authenticated, start, end, renewable } = self.times;
        let gains = self.flags & RENEWABLE != 0 && self.flags & INVALID == 0 && renewable > end;
        let start = if start == 0 { authenticated } else { start };
        (gains && self.server.grants_for(self.client)).then_some(RenewableLife {
            start,
            end,
            until: renewable,
        })
    }

    /// What is a duplicate of it: what takes its place in a cache.
    fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.client.compared(), self.server.compared(), self.authdata, self.second_ticket] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.update(self.key_type.to_be_bytes());
        hash.update([u8::from(self.is_session_key != 0)]);
        hash.finalize().into()
    }
}

/// Reads `u16 type · u32 length · key` and returns the type.
pub(super) fn read_key(reader: &mut Reader<'_>) -> Result<u16, WireError> {
    let key_type = reader.u16_be()?;
    reader.opaque_be()?;
    Ok(key_type)
}

/// Reads `u32 number` and that many `u16 type · u32 length · bytes`: addresses or authorisation data. Returns nothing for a
/// list of none.
pub(super) fn read_list<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let list = reader.passed_over(|reader| {
        let count = reader.u32_be()?;
        (0..count).try_for_each(|_| read_key(reader).map(drop))
    })?;
    Ok(if list.len() > 4 { list } else { &[] })
}

/// Names a credential in its cache: a number in the order of arrival, then random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CredentialId(pub(crate) [u8; 16]);

/// A credential of a cache.
#[derive(Debug)]
pub(crate) struct HeldCredential {
    bytes: Secret,
    identity: [u8; 32],
    end: Option<u32>,
    renewable: Option<RenewableLife>,
}

impl HeldCredential {
    /// No credential has fewer bytes: two principals without components, a key, times, `u8`, flags, two lists, two tickets.
    pub(super) const SHORTEST: usize = 2 * 12 + 6 + 16 + 1 + 4 + 2 * 4 + 2 * 4;

    /// Keeps a credential.
    ///
    /// # Errors
    /// [`WireError`] if it is not exactly one.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let fields = Fields::read(&mut reader)?;
        reader.finish()?;
        let end = fields.times.end;
        let is_ticket = end != 0 && !fields.server.is_configuration();
        Ok(Self {
            identity: fields.identity(),
            end: is_ticket.then_some(end),
            renewable: fields.renewable_life(),
            bytes: Secret::new(bytes.to_vec()),
        })
    }

    /// As it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// Its parts.
    ///
    /// # Errors
    /// None: it was read when it came.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, WireError> {
        Fields::read(&mut Reader::new(self.bytes()))
    }

    /// Equal for credentials of which one takes the place of the other.
    pub(crate) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// When it ends, in seconds since the epoch; `None` for a setting of the cache.
    pub(crate) fn end(&self) -> Option<u32> {
        self.end
    }

    /// Its life, if it is a ticket-granting ticket that can be renewed.
    pub(crate) fn renewable(&self) -> Option<RenewableLife> {
        self.renewable
    }

    /// What it costs, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len().saturating_add(ENTRY)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A principal from its name.
    pub(crate) fn principal(name: &str) -> Vec<u8> {
        let (components, realm) = name.split_once('@').unwrap();
        let components: Vec<_> = components.split('/').collect();
        let mut bytes = [1u32, u32::try_from(components.len()).unwrap()].map(u32::to_be_bytes).concat();
        for text in [realm].iter().chain(&components) {
            bytes.extend(opaque(text.as_bytes()));
        }
        bytes
    }

    /// `u32 length` and the bytes.
    pub(crate) fn opaque(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// What a test's credential differs in.
    #[derive(Debug, Clone)]
    pub(crate) struct Sample {
        pub(crate) client: &'static str,
        pub(crate) server: String,
        pub(crate) key_type: u16,
        pub(crate) end: u32,
        pub(crate) renewable: u32,
        pub(crate) flags: u32,
        pub(crate) ticket: Vec<u8>,
        pub(crate) second_ticket: Vec<u8>,
    }

    impl Sample {
        pub(crate) fn for_server(server: &str) -> Self {
            Self {
                client: "alice@A",
                server: server.to_owned(),
                key_type: 18,
                end: u32::MAX,
                renewable: 0,
                flags: 0x40e1_0000,
                ticket: b"ticket".to_vec(),
                second_ticket: Vec::new(),
            }
        }

        pub(crate) fn bytes(&self) -> Vec<u8> {
            let mut bytes = [principal(self.client), principal(&self.server)].concat();
            bytes.extend(self.key_type.to_be_bytes());
            bytes.extend(opaque(&[7; 32]));
            bytes.extend([100, 100, self.end, self.renewable].map(u32::to_be_bytes).concat());
            bytes.push(u8::from(!self.second_ticket.is_empty()));
            bytes.extend(self.flags.to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(opaque(&self.ticket));
            bytes.extend(opaque(&self.second_ticket));
            bytes
        }

        pub(crate) fn held(&self) -> HeldCredential {
            HeldCredential::new(&self.bytes()).unwrap()
        }
    }

    #[test]
    fn one_byte_more_or_less_is_no_credential() {
        let whole = Sample::for_server("krbtgt/A@A").bytes();
        for length in 0..whole.len() {
            assert!(HeldCredential::new(&whole[..length]).is_err(), "{length}");
        }
        assert!(HeldCredential::new(&[whole.as_slice(), &[0]].concat()).is_err());
        let held = HeldCredential::new(&whole).unwrap();
        assert_eq!((held.bytes(), held.end()), (whole.as_slice(), Some(u32::MAX)));
    }

    #[test]
    fn a_newer_ticket_is_a_duplicate_and_one_of_another_key_or_second_ticket_is_none() {
        let first = Sample::for_server("nfs/srv@A");
        let newer = Sample { end: 7, flags: 0, ticket: b"other".to_vec(), ..first.clone() };
        assert_eq!(first.held().identity(), newer.held().identity());
        for other in [
            Sample { key_type: 17, ..first.clone() },
            Sample { second_ticket: b"x".to_vec(), ..first.clone() },
            Sample { client: "bob@A", ..first.clone() },
            Sample::for_server("nfs/srv@B"),
        ] {
            assert_ne!(first.held().identity(), other.held().identity(), "{other:?}");
        }
    }

    #[test]
    fn a_setting_of_the_cache_never_ends() {
        let setting =
            Sample { end: 0, ..Sample::for_server("krb5_ccache_conf_data/fast_avail@X-CACHECONF:") };
        assert_eq!(setting.held().end(), None);
    }

    #[test]
    fn only_a_ticket_granting_ticket_of_the_clients_realm_that_can_end_later_is_renewable() {
        let granting = Sample { end: 200, renewable: 900, ..Sample::for_server("krbtgt/A@A") };
        let life = RenewableLife { start: 100, end: 200, until: 900 };
        assert_eq!(granting.held().renewable(), Some(life));
        for other in [
            Sample { renewable: 200, ..granting.clone() },
            Sample { flags: granting.flags & !RENEWABLE, ..granting.clone() },
            Sample { flags: granting.flags | INVALID, ..granting.clone() },
            Sample { client: "alice@B", ..granting.clone() },
            Sample { server: "krbtgt/B@A".to_owned(), ..granting.clone() },
            Sample { server: "krbtgt/A@B".to_owned(), ..granting.clone() },
            Sample { server: "nfs/A@A".to_owned(), ..granting.clone() },
            Sample { server: "krbtgt/A/A@A".to_owned(), ..granting.clone() },
        ] {
            assert_eq!(other.held().renewable(), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(bytes: Vec<u8>) {
            let _ = HeldCredential::new(&bytes);
        }

        #[test]
        fn a_credential_with_changed_bytes_is_refused_or_kept_as_it_came(at: prop::sample::Index, byte: u8) {
            let mut bytes = Sample::for_server("nfs/srv@A").bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(held) = HeldCredential::new(&bytes) {
                prop_assert_eq!(held.bytes(), &bytes[..]);
                prop_assert!(held.fields().is_ok());
            }
        }
    }
}
