//! Checks for the fuzz targets (docs/fuzzing.md): requests of KCM and what they lead to, and credentials.

use super::change::Memory;
use super::codec::{Header, HeldCredential, KcmRequest, Opcode, Pattern};
use super::collections::Collections;
use super::expiry::{Pressure, sweep};
use super::limits::StoreLimits;
use super::operations::Desk;
use super::peer::ClientScope;
use crate::wire::Reader;

const LIMITS: StoreLimits = StoreLimits { caches: 4, tickets: 8, ticket_size: 2048, memory: 16 * 1024 };
/// What the list of all credentials may have.
const ROOM: usize = 4096;

/// A request with its head: what is taken for one has as many parameters as it says.
pub fn kcm_request(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<{ Header::SIZE }>() else { return };
    let Ok(header) = Header::read(*head) else { return };
    if let Some(parameters) = rest.get(..header.parameters) {
        let _ = KcmRequest::parse(header.opcode, parameters);
    }
}

/// A credential, and another one as a pattern for it: what is accepted is kept byte for byte, and it is its own duplicate.
pub fn credential(data: &[u8]) {
    let Ok(held) = HeldCredential::new(data) else { return };
    assert_eq!(held.bytes(), data);
    let again = HeldCredential::new(held.bytes());
    assert!(again.is_ok_and(|again| again.identity() == held.identity() && again.end() == held.end()));
    // Client and server alone, by whatever flags the credential's first word has, apply to it.
    let Ok(fields) = held.fields() else { return assert!(data.is_empty()) };
    let names = [fields.client.bytes(), fields.server.bytes()].concat();
    let pattern = [&[0, 0, 0, 0, 0, 0, 0, 3][..], &names, &[0; 21]].concat();
    let read = Pattern::read(&mut Reader::new(&pattern));
    assert!(read.is_ok_and(|pattern| pattern.matches(&fields)));
}

/// Names and contents of keys in the persistent keyring.
pub fn stored(data: &[u8]) {
    super::persistent::fuzz::stored(data);
}

/// Requests one after another, each `u8 opcode · u16 length · parameters`; from 24 on, an opcode is one of MIT's, or the time
/// goes on. Limits hold, lists are complete, and the memory that is counted is the sum.
pub fn kcm_requests(data: &[u8]) {
    let mut collections = Collections::new(Box::new(Memory), [7; 8]);
    let mut now = 1_000_000;
    let mut reader = Reader::new(data);
    let next = |reader: &mut Reader<'_>| Some((reader.u8().ok()?, reader.u16_be().ok()?));
    while let Some((opcode, length)) = next(&mut reader) {
        let Ok(parameters) = reader.take(length.into()) else { return };
        let opcode = match opcode {
            24 => 13001,
            25 => 13002,
            26.. => {
                now += u32::from(opcode) * 1000;
                let swept = sweep(&mut collections, Pressure::None, now, &mut Vec::new());
                assert!(swept.is_ok());
                continue;
            }
            opcode => opcode.into(),
        };
        let mut desk = Desk {
            collections: &mut collections,
            scope: &ClientScope::User,
            limits: &LIMITS,
            uid: 1000,
            now,
            room: ROOM,
            dropped: &mut Vec::new(),
        };
        let answer = desk.answer(Opcode(opcode), parameters);
        expect_reply(answer.as_ref().map(|reply| reply.as_slice()).unwrap_or_default(), opcode);
        expect_limits(&collections);
    }
}

fn expect_reply(reply: &[u8], opcode: u16) {
    let mut reader = Reader::new(reply);
    let Ok(length) = reader.u32_be() else { return };
    assert_eq!(usize::try_from(length), Ok(reply.len() - 8));
    assert!(opcode != 13001 || reply.len() - 8 <= ROOM);
}

fn expect_limits(collections: &Collections) {
    assert!(collections.count() <= LIMITS.caches && collections.size() <= LIMITS.memory);
    let sum: usize = collections.all().map(|(_, _, cache)| cache.size()).sum();
    assert_eq!(sum, collections.size());
    for (_, _, cache) in collections.all() {
        assert!(cache.credentials().len() <= LIMITS.tickets);
        let mut credentials = cache.credentials();
        assert!(credentials.all(|(id, credential)| cache.duplicate_of(credential) == Some(*id)));
    }
}
