//! Which credential a client means: Heimdal's tagged form of a credential, and flags that say how it is compared.

use super::credential::{Fields, TicketTimes, read_key, read_list};
use super::principal::PrincipalBytes;
use crate::wire::{Reader, WireError};

/// Parts that follow, by the bits of the first word.
mod present {
    pub(super) const CLIENT: u32 = 1;
    pub(super) const SERVER: u32 = 1 << 1;
    pub(super) const KEY: u32 = 1 << 2;
    pub(super) const TICKET: u32 = 1 << 3;
    pub(super) const SECOND_TICKET: u32 = 1 << 4;
    pub(super) const AUTHDATA: u32 = 1 << 5;
    pub(super) const ADDRESSES: u32 = 1 << 6;
}

/// Ways of comparing. Bit 0, "cached only", changes nothing: no ticket is fetched here.
pub(crate) mod compare {
    /// Any realm will do for the client.
    pub(crate) const ANY_REALM: u32 = 1 << 31;
    /// The session key's encryption type.
    pub(crate) const KEY_TYPE: u32 = 1 << 30;
    /// Any realm will do for the server.
    pub(crate) const SERVER_NAME_ONLY: u32 = 1 << 29;
    /// The ticket's flags are these.
    pub(crate) const FLAGS_EXACT: u32 = 1 << 28;
    /// The ticket has these flags.
    pub(crate) const FLAGS: u32 = 1 << 27;
    /// All times are these.
    pub(crate) const TIMES_EXACT: u32 = 1 << 26;
    /// The ticket lives so long.
    pub(crate) const TIMES: u32 = 1 << 25;
    /// The authorisation data.
    pub(crate) const AUTHDATA: u32 = 1 << 24;
    /// The second ticket.
    pub(crate) const SECOND_TICKET: u32 = 1 << 23;
    /// Whether the ticket is encrypted in a session key.
    pub(crate) const IS_SESSION_KEY: u32 = 1 << 22;
}

/// What a credential is compared with.
pub(crate) struct Pattern<'a> {
    flags: u32,
    client: Option<PrincipalBytes<'a>>,
    server: Option<PrincipalBytes<'a>>,
    key_type: u16,
    times: TicketTimes,
    is_session_key: u8,
    ticket_flags: u32,
    authdata: &'a [u8],
    second_ticket: &'a [u8],
}

impl<'a> Pattern<'a> {
    /// Reads `u32 flags` and the tagged form: which parts follow, client, server, key, times, `u8`, the ticket's flags,
    /// addresses, authorisation data, ticket, second ticket.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flags = reader.u32_be()?;
        let parts = reader.u32_be()?;
        let has = |part| parts & part != 0;
        let client = has(present::CLIENT).then(|| PrincipalBytes::read(reader)).transpose()?;
        let server = has(present::SERVER).then(|| PrincipalBytes::read(reader)).transpose()?;
        let key_type = if has(present::KEY) { read_key(reader)? } else { 0 };
        let times = TicketTimes::read(reader)?;
        let (is_session_key, ticket_flags) = (reader.u8()?, reader.u32_be()?);
        if has(present::ADDRESSES) {
            read_list(reader)?;
        }
        let authdata = if has(present::AUTHDATA) { read_list(reader)? } else { &[] };
        if has(present::TICKET) {
            reader.opaque_be()?;
        }
        let second_ticket = if has(present::SECOND_TICKET) { reader.opaque_be()? } else { &[] };
        Ok(Self {
            flags,
            client,
            server,
            key_type,
            times,
            is_session_key,
            ticket_flags,
            authdata,
            second_ticket,
        })
    }

    /// Whether a credential is meant. What the pattern does not have, or is not to be compared, does not matter.
    pub(crate) fn matches(&self, credential: &Fields<'_>) -> bool {
        let compared = |way: u32, same: bool| self.flags & way == 0 || same;
        self.names_match(credential)
            && compared(compare::KEY_TYPE, credential.key_type == self.key_type)
            && compared(compare::FLAGS_EXACT, credential.flags == self.ticket_flags)
            && compared(compare::FLAGS, credential.flags & self.ticket_flags == self.ticket_flags)
            && compared(compare::TIMES_EXACT, credential.times == self.times)
            && compared(compare::TIMES, lives_as_long(credential.times, self.times))
            && compared(compare::AUTHDATA, credential.authdata == self.authdata)
            && compared(compare::SECOND_TICKET, credential.second_ticket == self.second_ticket)
            && compared(
                compare::IS_SESSION_KEY,
                (credential.is_session_key != 0) == (self.is_session_key != 0),
            )
    }

    fn names_match(&self, credential: &Fields<'_>) -> bool {
        let same = |wanted: Option<PrincipalBytes<'_>>, has: PrincipalBytes<'_>, name_only: u32| {
            wanted.is_none_or(|wanted| {
                if self.flags & name_only != 0 { has.has_name_of(wanted) } else { has.is(wanted) }
            })
        };
        same(self.client, credential.client, compare::ANY_REALM)
            && same(self.server, credential.server, compare::SERVER_NAME_ONLY | compare::ANY_REALM)
    }
}

/// Whether a ticket lives, and can be renewed, as long as wanted; 0 wants nothing.
fn lives_as_long(has: TicketTimes, wanted: TicketTimes) -> bool {
    has.end >= wanted.end && has.renewable >= wanted.renewable
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::credential::tests::{Sample, opaque, principal};
    use super::*;

    /// A pattern for a server, with these flags.
    pub(crate) fn pattern(flags: u32, server: &str) -> Vec<u8> {
        let head = [flags, present::SERVER].map(u32::to_be_bytes).concat();
        [head, principal(server), vec![0; 16 + 1 + 4]].concat()
    }

    #[track_caller]
    fn matches(pattern: &[u8], sample: &Sample) -> bool {
        let mut reader = Reader::new(pattern);
        let pattern = Pattern::read(&mut reader).unwrap();
        reader.finish().unwrap();
        pattern.matches(&sample.held().fields().unwrap())
    }

    /// A pattern without names, with everything else.
    fn full(flags: u32, [end, ticket_flags]: [u32; 2], key_type: u16, second: &[u8]) -> Vec<u8> {
        let parts = present::KEY | present::SECOND_TICKET | present::TICKET | present::ADDRESSES;
        let mut bytes = [flags, parts].map(u32::to_be_bytes).concat();
        bytes.extend(key_type.to_be_bytes());
        bytes.extend(opaque(b""));
        bytes.extend([100, 100, end, 0].map(u32::to_be_bytes).concat());
        bytes.push(u8::from(!second.is_empty()));
        bytes.extend(ticket_flags.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(opaque(b"any ticket"));
        bytes.extend(opaque(second));
        bytes
    }

    #[test]
    fn a_server_matches_by_name_and_realm_or_by_name_only() {
        let ticket = Sample::for_server("nfs/srv@A");
        assert!(matches(&pattern(0, "nfs/srv@A"), &ticket));
        assert!(!matches(&pattern(0, "nfs/srv@"), &ticket) && !matches(&pattern(0, "nfs/other@A"), &ticket));
        assert!(matches(&pattern(compare::SERVER_NAME_ONLY, "nfs/srv@"), &ticket));
        assert!(matches(&pattern(compare::ANY_REALM, "nfs/srv@B"), &ticket));
        assert!(!matches(&pattern(compare::SERVER_NAME_ONLY, "nfs/other@A"), &ticket));
    }

    #[test]
    fn each_flag_compares_its_part_and_nothing_else() {
        let ticket = Sample { end: 500, flags: 0b110, ..Sample::for_server("nfs/srv@A") };
        let second = Sample { second_ticket: b"second".to_vec(), ..ticket.clone() };
        for (flag, good, bad) in [
            (compare::KEY_TYPE, full(0, [0, 0], 18, b""), full(0, [0, 0], 17, b"")),
            (compare::FLAGS, full(0, [0, 0b010], 0, b""), full(0, [0, 0b001], 0, b"")),
            (compare::FLAGS_EXACT, full(0, [0, 0b110], 0, b""), full(0, [0, 0b010], 0, b"")),
            (compare::TIMES, full(0, [499, 0], 0, b""), full(0, [501, 0], 0, b"")),
            (compare::TIMES_EXACT, full(0, [500, 0], 0, b""), full(0, [499, 0], 0, b"")),
            (compare::SECOND_TICKET, full(0, [0, 0], 0, b""), full(0, [0, 0], 0, b"second")),
            (compare::IS_SESSION_KEY, full(0, [0, 0], 0, b""), full(0, [0, 0], 0, b"second")),
        ] {
            let with = |mut pattern: Vec<u8>, flag: u32| {
                pattern[..4].copy_from_slice(&flag.to_be_bytes());
                pattern
            };
            assert!(matches(&with(good, flag), &ticket), "{flag:#x}");
            assert!(matches(&bad, &ticket) && !matches(&with(bad, flag), &ticket), "{flag:#x}");
        }
        let wanted = full(compare::SECOND_TICKET | compare::IS_SESSION_KEY, [0, 0], 0, b"second");
        assert!(matches(&wanted, &second));
    }
}
