//! Getting the tickets, into a memory cache.
//!
//! Used by `kinit`, `holding` and `keeping`. Invariant: nothing is stored elsewhere.

use super::arguments::KinitArguments;
use super::client;
use super::collection_ring;
use super::failure::{Asked, KinitFailure};
use super::place::TicketPlace;
use crate::gss::initial::{self, Addresses, InitialKey, InitialRequest};
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::renewal::OldTicket;
use crate::gss::status::Krb5Error;
use crate::gss::ticket::Cache;
use crate::time;

/// Seconds that a ticket lives longer than it is wanted to.
const RESERVE: i32 = 600;

/// New tickets, renewed or validated ones, or those of another cache, as the command line says.
pub(super) fn tickets(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
) -> Result<PrivateCache, KinitFailure> {
    let service = arguments.service.as_deref();
    let old = |how| old_cache(arguments, library, place).and_then(|cache| cache.renewed_alone(how, service));
    match (&arguments.from, arguments.renewal()) {
        (Some(name), _) => copied(library, name),
        (None, Some(OldTicket::Renew)) => old(OldTicket::Renew).map_err(KinitFailure::Renewal),
        (None, Some(OldTicket::Validate)) => old(OldTicket::Validate).map_err(KinitFailure::Validation),
        (None, None) => new(arguments, library, place),
    }
}

/// A new one, by password, keytab or certificate.
pub(super) fn new(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
) -> Result<PrivateCache, KinitFailure> {
    let client = client::choose(arguments, library, place)?;
    of_client(arguments, library, &client)
}

fn of_client(
    arguments: &KinitArguments,
    library: &Library,
    client: &Krb5Principal,
) -> Result<PrivateCache, KinitFailure> {
    let keytab = keytab(arguments, library)?;
    let key = keytab.as_ref().map_or(InitialKey::Prompted, InitialKey::Keytab);
    let asked = match keytab {
        Some(_) => Asked::Keytab,
        None if arguments.anonymous || !arguments.attribute.is_empty() => Asked::Other,
        None => Asked::Password,
    };
    initial::ask(library, client, key, &request(arguments, library))
        .map_err(|error| KinitFailure::Initial(error, asked))
}

/// A new one by keytab, for a process in the background.
pub(super) fn by_keytab(arguments: &KinitArguments, library: &Library) -> Result<PrivateCache, KinitFailure> {
    let client = client::of_keytab(arguments, library)?;
    of_client(arguments, library, &client)
}

/// The named client's cache, else the one that other programs use.
fn old_cache(arguments: &KinitArguments, library: &Library, place: &TicketPlace) -> Result<Cache, Krb5Error> {
    let Some(name) = &arguments.principal else { return place.open(library) };
    let client = if arguments.enterprise { library.enterprise(name) } else { library.principal(name) }?;
    match library.cache_of(&client)? {
        Some(cache) => Ok(cache),
        None => Err(Krb5Error::no_cache(&format!("no tickets of {client} in {}", place.name()))),
    }
}

fn keytab(arguments: &KinitArguments, library: &Library) -> Result<Option<Keytab>, KinitFailure> {
    if !arguments.by_keytab() {
        return Ok(None);
    }
    let keytab = match &arguments.keytab {
        Some(name) => Keytab::resolve(library, name),
        None if arguments.client_keytab => Keytab::of_the_client(library),
        None => Keytab::of_the_host(library),
    };
    keytab.map(Some).map_err(KinitFailure::Keytab)
}

fn request(arguments: &KinitArguments, library: &Library) -> InitialRequest {
    let choice = |yes: bool, no: bool| (yes || no).then_some(yes);
    let addresses = choice(arguments.addresses, arguments.noaddresses);
    InitialRequest {
        lifetime: lifetime(arguments, library),
        renewable: arguments.renewable_life,
        start: arguments.start_time.unwrap_or(0),
        service: arguments.service.clone(),
        forwardable: choice(arguments.forwardable, arguments.noforwardable),
        proxiable: choice(arguments.proxiable, arguments.noproxiable),
        addresses: addresses.map(|bound| if bound { Addresses::Local } else { Addresses::None }),
        pac: choice(arguments.request_pac, arguments.no_request_pac),
        canonicalize: arguments.canonicalize || arguments.enterprise,
        anonymous: arguments.anonymous,
        armour: arguments.armor_cache.clone(),
        input_cache: arguments.input_cache.clone(),
        attributes: arguments.attribute.clone(),
    }
}

/// As the command line or krb5.conf says, unless that is too short for what it shall hold for; then with a reserve, so that
/// the next call does not find it too short.
fn lifetime(arguments: &KinitArguments, library: &Library) -> Option<i32> {
    let Some(held) = arguments.hold else { return arguments.lifetime };
    let usual = arguments.lifetime.unwrap_or_else(|| library.ticket_lifetime());
    Some(usual.max(held.saturating_add(RESERVE)))
}

/// The tickets of another cache that have not expired.
fn copied(library: &Library, name: &str) -> Result<PrivateCache, KinitFailure> {
    let refused = |error| KinitFailure::Source { name: name.to_owned(), error };
    let cache = Cache::resolve(library, name).map_err(refused)?;
    cache.full_name().iter().for_each(|name| collection_ring::drop_ended(name));
    let copy = cache.unexpired(time::now()).map_err(refused)?;
    let (_, tickets) = copy.open().and_then(|copy| copy.contents()).map_err(refused)?;
    if tickets.is_empty() { Err(KinitFailure::Expired(name.to_owned())) } else { Ok(copy) }
}
