//! Reads a cache, and converts its times to this machine's clock.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt;

use crate::creds::ranking::SKEW;
use crate::creds::ticket::CacheNames;
use crate::event::{Cause, Failure};
use crate::gss::collection;
use crate::gss::krb5::Library;
use crate::gss::listing::TicketInfo;
use crate::gss::principal::Name;
use crate::gss::status::{Krb5Error, Krb5Reason};
use crate::gss::ticket::Cache;
use crate::time::now;
use crate::wire::Reader;

/// Most caches of a daemon's collection that are read.
const MEMBERS_LIMIT: usize = 64;

pub(super) type Read = Result<(Name, Vec<TicketInfo>), Krb5Error>;

pub(super) fn read(library: &Library, name: &CacheNames) -> Read {
    let (client, mut tickets) = Cache::resolve(library, &name.library)?.contents()?;
    let now = now();
    let strange = |ticket: &TicketInfo| u64::from(ticket.start) > now + SKEW || u64::from(ticket.end) < now;
    // The KDC's clock may have differed; the library corrects for that.
    if tickets.iter().any(strange) && library.makes_up_for_clocks() {
        let offset = offset(library, name);
        let shifted = |time: u32| u32::try_from(i64::from(time) - offset).unwrap_or(time);
        for ticket in tickets.iter_mut().filter(|_| offset != 0) {
            (ticket.start, ticket.end) = (shifted(ticket.start), shifted(ticket.end));
        }
    }
    Ok((client, tickets))
}

pub(super) fn read_collection(
    library: &Library,
    name: &CacheNames,
) -> Result<Vec<(CacheNames, Read)>, Krb5Error> {
    let members = collection::members(library, &name.library)?;
    let names = members.into_iter().take(MEMBERS_LIMIT);
    let names = names.map(|name| CacheNames { library: name.clone(), display: name });
    Ok(names.map(|name| (name.clone(), read(library, &name))).collect())
}

pub(super) fn failure(name: &CacheNames, error: &Krb5Error) -> Failure {
    let cause = if error.reason() == Krb5Reason::NoCache { Cause::NoTicket } else { Cause::BadCache };
    name.failure(cause, &name.in_words(&error.message))
}

/// Seconds by which the KDC's clock was ahead when the cache was made.
fn offset(library: &Library, name: &CacheNames) -> i64 {
    match name.library.strip_prefix("FILE:") {
        Some(file) => header(file).and_then(|header| offset_of_header(&header)).unwrap_or(0),
        None => {
            // A library context takes over the offset of the first cache that it reads.
            let fresh = Library::open_by(library.configuration()).ok();
            let read = |fresh: &Library| Cache::resolve(fresh, &name.library)?.contents();
            fresh.filter(|fresh| read(fresh).is_ok()).map_or(0, |fresh| fresh.offset())
        }
    }
}

fn header(file: &str) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file).ok()?;
    file.take(64).read_to_end(&mut header).ok()?;
    Some(header)
}

/// `05 04 · u16 be length · fields`, each `u16 be tag · u16 be length · data`; tag 1 has `i32 be seconds · i32 be
/// microseconds` (krb5 documentation, "Credential cache file format").
fn offset_of_header(header: &[u8]) -> Option<i64> {
    let mut reader = Reader::new(header);
    if reader.take(2).ok()? != [5, 4] {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(reader.take(2).ok()?.try_into().ok()?));
    let mut fields = Reader::new(reader.take(length).ok()?);
    loop {
        let tag = u16::from_be_bytes(fields.take(2).ok()?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(fields.take(2).ok()?.try_into().ok()?));
        let mut data = Reader::new(fields.take(length).ok()?);
        if tag == 1 {
            return data.u32_be().ok().map(|seconds| i64::from(seconds.cast_signed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::offset_of_header;

    #[test]
    fn the_offset_is_in_the_header_of_the_file() {
        let header = |fields: &[u8]| {
            let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
            [&[5, 4], &length[..], fields, b"what follows"].concat()
        };
        let offset = [0, 1, 0, 8, 0xff, 0xff, 0xff, 0xc4, 0, 0, 0, 0];
        assert_eq!(offset_of_header(&header(&offset)), Some(-60));
        assert_eq!(offset_of_header(&header(&[&[0, 9, 0, 1, 7], &offset[..]].concat())), Some(-60));
        for none in
            [header(&[]), header(&offset[..5]), header(&[0, 1, 0xff, 0xff]), b"\x05\x04".to_vec(), vec![]]
        {
            assert_eq!(offset_of_header(&none), None);
        }
    }
}
