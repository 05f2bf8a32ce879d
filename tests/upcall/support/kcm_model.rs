//! What a server of credential caches should have, by the changes that it has acknowledged.

use super::agent::{KcmClient, credential, named, principal};
use std::collections::BTreeMap;

/// A cache: clock offset, and credentials in their order.
pub(crate) type ModelCache = (u32, Vec<Vec<u8>>);

/// Caches of `alice`, and the default one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KcmModel {
    caches: BTreeMap<String, ModelCache>,
    /// The one that was chosen; else that of the user's number.
    default: Option<String>,
}

/// A change that a client asks for. Services and variants of their tickets are numbers.
#[derive(Debug, Clone)]
pub(crate) enum ModelChange {
    Initialize(&'static str),
    Store(&'static str, u32, u32),
    Replace(&'static str, u32, Vec<(u32, u32)>),
    Destroy(&'static str),
    Default(&'static str),
    Offset(&'static str, u32),
    Move(&'static str, &'static str),
    /// All tickets of a cache.
    Empty(&'static str),
}

fn ticket(service: u32, variant: u32) -> Vec<u8> {
    let size = usize::try_from(100 + variant).unwrap();
    credential(&format!("svc/h{service}"), size, u32::MAX)
}

impl ModelChange {
    /// The request.
    pub(crate) fn request(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Initialize(label) => (4, named(label, &principal("alice"))),
            Self::Store(label, service, variant) => (6, named(label, &ticket(*service, *variant))),
            Self::Replace(label, offset, tickets) => {
                let tickets: Vec<_> =
                    tickets.iter().map(|(service, variant)| ticket(*service, *variant)).collect();
                (13002, replacement(label, *offset, &tickets))
            }
            Self::Destroy(label) => (5, named(label, &[])),
            Self::Default(label) => (21, named(label, &[])),
            Self::Offset(label, offset) => (23, named(label, &offset.to_be_bytes())),
            Self::Move(from, to) => (17, named(from, &named(to, &[]))),
            // Flags, parts, times and the rest of a pattern that has nothing.
            Self::Empty(label) => (11, named(label, &[0; 4 + 4 + 16 + 1 + 4])),
        }
    }
}

impl KcmModel {
    /// The state after a change; none if there is no such cache.
    pub(crate) fn after(&self, change: &ModelChange) -> Option<Self> {
        let mut next = self.clone();
        let caches = &mut next.caches;
        match change {
            ModelChange::Initialize(label) => drop(caches.insert((*label).to_owned(), (0, Vec::new()))),
            ModelChange::Store(label, service, variant) => {
                let cache = &mut caches.get_mut(*label)?.1;
                let same = |held: &Vec<u8>| (0..9).any(|variant| *held == ticket(*service, variant));
                cache.retain(|held| !same(held));
                cache.push(ticket(*service, *variant));
            }
            ModelChange::Replace(label, offset, tickets) => {
                let tickets = tickets.iter().map(|(service, variant)| ticket(*service, *variant)).collect();
                caches.insert((*label).to_owned(), (*offset, tickets));
            }
            ModelChange::Destroy(label) => {
                caches.remove(*label)?;
                next.default.take_if(|default| default == label);
            }
            ModelChange::Default(label) => {
                caches.get(*label)?;
                next.default = Some((*label).to_owned());
            }
            ModelChange::Offset(label, offset) => caches.get_mut(*label)?.0 = *offset,
            ModelChange::Move(from, to) => {
                let moved = caches.remove(*from)?;
                caches.insert((*to).to_owned(), moved);
                next.default.take_if(|default| default == from);
            }
            ModelChange::Empty(label) => {
                let credentials = &mut caches.get_mut(*label)?.1;
                // Removing what is not there fails.
                let _ = credentials.first()?;
                credentials.clear();
            }
        }
        Some(next)
    }

    /// What a server has. `own` is the name of its default cache if none was chosen; there is a cache of that name, which is
    /// never chosen.
    #[track_caller]
    pub(crate) fn of(client: &mut KcmClient, own: &str) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end_matches('\0').to_owned();
        let ids = client.done(18, &[]);
        let labels: Vec<String> = ids.chunks(16).map(|id| text(client.done(19, id))).collect();
        let mut caches = BTreeMap::new();
        for label in labels {
            assert_eq!(client.done(8, &named(&label, &[])), principal("alice"));
            let offset = u32::from_be_bytes(client.done(22, &named(&label, &[])).try_into().unwrap());
            let listed = client.done(13001, &named(&label, &[]));
            caches.insert(label, (offset, credentials(&listed)));
        }
        let default = text(client.done(20, &[]));
        Self { caches, default: Some(default).filter(|default| default != own) }
    }
}

/// Parameters that put a whole cache of `alice` in the place of what had the name.
pub(crate) fn replacement(label: &str, offset: u32, credentials: &[Vec<u8>]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let mut rest = [&offset.to_be_bytes()[..], &principal("alice"), &number(credentials.len())].concat();
    for credential in credentials {
        rest.extend(number(credential.len()));
        rest.extend(credential);
    }
    named(label, &rest)
}

/// Credentials of a list: its count, then each with its length.
fn credentials(listed: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &listed[4..];
    let mut credentials = Vec::new();
    while !rest.is_empty() {
        let (length, more) = rest.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let (credential, more) = more.split_at(usize::try_from(length).unwrap());
        credentials.push(credential.to_vec());
        rest = more;
    }
    credentials
}
