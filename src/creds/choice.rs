//! Which of a user's usable caches comes first (lgss.toml(5), `choice`): a cache that the user wishes comes before a
//! better one.
//!
//! The order of wishes: the cache that the requester's environment names; the principal that `.k5identity` has for
//! the service; in the default collection the cache that MIT Kerberos would use, one of the service's realm or else
//! the primary one. If a wish cannot be fulfilled, another cache of the same principal comes before the next wish.

use std::cmp::Reverse;

use super::ranking::{TicketReach, Worth};
use super::source::Standing;
use crate::gss::principal::Name;

/// A cache that has been read.
pub(super) struct KnownCache<'a> {
    pub(super) standing: Standing,
    pub(super) client: &'a Name,
    /// Its worth, if it is usable.
    pub(super) worth: Option<Worth>,
}

/// Why a cache comes before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WishedBy {
    /// KRB5CCNAME names the cache.
    Environment,
    /// `.k5identity` names its principal.
    Identities,
    /// It is of the service's realm, in the collection that KRB5CCNAME names or in the default one.
    Realm,
    /// It is the default cache.
    Default,
}

/// A cache or principal that the user wants.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) by: WishedBy,
    /// The cache, by its index in the list.
    pub(super) cache: Option<usize>,
    /// The principal; `None` for a cache that could not be read.
    pub(super) client: Option<Name>,
}

/// All wishes, the strongest first. `unread` are the standings of places that could not be read.
pub(super) fn wishes(
    caches: &[KnownCache<'_>],
    unread: &[Standing],
    identity: Option<&Name>,
    service: Option<&Name>,
) -> Vec<Wish> {
    let wished = Collection { caches, own: Standing::Wished, by: WishedBy::Environment };
    let default = Collection { caches, own: Standing::Default, by: WishedBy::Default };
    let mut wishes = Vec::new();
    if wished.is_collection() {
        wishes.extend(identity.and_then(|client| wished.of(client)));
        wishes.extend(service.and_then(|service| wished.of_realm(service)));
    }
    wishes.extend(wished.primary());
    if wishes.is_empty() && unread.contains(&Standing::Wished) {
        wishes.push(Wish { by: WishedBy::Environment, cache: None, client: None });
    }
    let anywhere =
        |client: &Name| Wish { by: WishedBy::Identities, cache: None, client: Some(client.clone()) };
    wishes.extend(identity.map(|client| default.of(client).unwrap_or_else(|| anywhere(client))));
    if default.is_collection() {
        wishes.extend(service.and_then(|service| default.of_realm(service)));
    }
    wishes.extend(default.primary());
    wishes
}

/// The caches of the collection that a name stands for.
struct Collection<'a> {
    caches: &'a [KnownCache<'a>],
    own: Standing,
    by: WishedBy,
}

impl Collection<'_> {
    fn members(&self) -> impl Iterator<Item = (usize, &KnownCache<'_>)> {
        let member = self.own.of_member();
        self.caches.iter().enumerate().filter(move |(_, c)| c.standing == self.own || c.standing == member)
    }

    fn is_collection(&self) -> bool {
        self.caches.iter().any(|cache| cache.standing == self.own.of_member())
    }

    fn wish(&self, by: WishedBy, found: Option<(usize, &KnownCache<'_>)>) -> Option<Wish> {
        found.map(|(at, cache)| Wish { by, cache: Some(at), client: Some(cache.client.clone()) })
    }

    fn primary(&self) -> Option<Wish> {
        self.wish(self.by, self.members().find(|(_, cache)| cache.standing == self.own))
    }

    fn of(&self, client: &Name) -> Option<Wish> {
        let mut own = self.members().filter(|(_, cache)| cache.client == client);
        let first = own.next();
        let usable = first.into_iter().chain(own).find(|(_, cache)| cache.worth.is_some());
        self.wish(WishedBy::Identities, usable.or_else(|| self.members().find(|(_, c)| c.client == client)))
    }

    /// The first usable cache of the service's realm, the primary cache before the others; if that realm is unknown,
    /// the cache with the longest realm that is a suffix of the host's name.
    fn of_realm(&self, service: &Name) -> Option<Wish> {
        let usable = || self.members().filter(|(_, cache)| cache.worth.is_some());
        let primary_first = |&(at, cache): &(usize, &KnownCache<'_>)| (cache.standing != self.own, at);
        let exact =
            usable().filter(|(_, cache)| cache.client.realm == service.realm).min_by_key(primary_first);
        let by_domain = || {
            let host = service.components.get(1)?;
            let like = usable().filter(|(_, cache)| is_domain_of(&cache.client.realm, host));
            like.min_by_key(|found| (Reverse(found.1.client.realm.len()), primary_first(found)))
        };
        self.wish(WishedBy::Realm, exact.or_else(by_domain))
    }
}

/// Whether the host is in the domain that has the realm's name.
fn is_domain_of(realm: &str, host: &str) -> bool {
    let (realm, host) = (realm.to_ascii_lowercase(), host.to_ascii_lowercase());
    !realm.is_empty()
        && host.strip_suffix(&realm).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Indices of the usable caches in the order in which to try them, each with the kind of wish for the cache itself.
/// Sorted by principal in the order of wishes, within a principal by wish, then by worth.
pub(super) fn order(caches: &[KnownCache<'_>], wishes: &[Wish]) -> Vec<(usize, Option<WishedBy>)> {
    let usable = caches.iter().enumerate().filter_map(|(at, cache)| Some((at, cache, cache.worth?)));
    let mut order: Vec<_> = usable
        .map(|(at, cache, worth)| {
            let own = wishes.iter().position(|wish| wish.cache == Some(at));
            let of_client = wishes.iter().position(|wish| wish.client.as_ref() == Some(cache.client));
            // A cache that leads nowhere fulfils no wish, but is still its principal's.
            let leads = worth.reach >= TicketReach::OtherRealm;
            let place = own.filter(|_| leads).unwrap_or(usize::MAX);
            let by = own.and_then(|own| wishes.get(own)).map(|wish| wish.by);
            ((of_client.unwrap_or(usize::MAX), Reverse(leads), place, Reverse(worth)), (at, by))
        })
        .collect();
    order.sort_by_key(|(key, _)| *key);
    order.into_iter().map(|(_, placed)| placed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let (components, realm) = text.split_once('@').unwrap();
        Name { realm: realm.to_owned(), components: components.split('/').map(str::to_owned).collect() }
    }

    type Cache = (&'static str, Standing, Option<u32>);

    /// Takes caches as principal, standing and end; returns the order of their indices.
    fn ordered(caches: &[Cache], identity: Option<&str>, service: Option<&str>) -> Vec<usize> {
        let clients: Vec<_> = caches.iter().map(|(client, ..)| name(client)).collect();
        let worth =
            |end| Worth { reach: TicketReach::Target, end, renewable: false, authenticated: 0, start: 0 };
        let known: Vec<_> = caches
            .iter()
            .zip(&clients)
            .map(|(&(_, standing, end), client)| KnownCache { standing, client, worth: end.map(worth) })
            .collect();
        let wishes = wishes(&known, &[], identity.map(name).as_ref(), service.map(name).as_ref());
        order(&known, &wishes).into_iter().map(|(at, _)| at).collect()
    }

    use Standing::{Default, DefaultMember, Found, Wished, WishedMember};

    #[test]
    fn the_wished_cache_comes_first_then_the_default_one_then_the_longest() {
        let caches = [
            ("a@A", Found, Some(50)),
            ("b@A", Default, Some(10)),
            ("c@A", Wished, Some(5)),
            ("d@A", Found, Some(90)),
        ];
        assert_eq!(ordered(&caches, None, None), [2, 1, 3, 0]);
    }

    #[test]
    fn what_cannot_be_used_gives_way_to_the_same_principal_first() {
        let caches = [
            ("bob@A", Found, Some(900)),
            ("alice@A", Wished, None),
            ("bob@A", Default, Some(500)),
            ("alice@A", Found, Some(10)),
            ("alice@A", Found, Some(20)),
        ];
        assert_eq!(ordered(&caches, None, None), [4, 3, 2, 0]);
        let of_one = [
            ("alice@A", Found, Some(900)),
            ("alice@A", Wished, Some(5)),
            ("alice@A", Default, Some(10)),
            ("alice@A", Found, Some(50)),
        ];
        assert_eq!(ordered(&of_one, None, None), [1, 2, 0, 3]);
    }

    #[test]
    fn an_identity_comes_after_a_named_cache_and_before_the_default_one() {
        let caches =
            [("alice@A", Default, Some(900)), ("bob@A", Found, Some(10)), ("carol@A", Wished, Some(1))];
        assert_eq!(ordered(&caches, Some("bob@A"), None), [2, 1, 0]);
        assert_eq!(ordered(&caches[..2], Some("bob@A"), None), [1, 0]);
        assert_eq!(ordered(&caches[..2], Some("nobody@A"), None), [0, 1]);
    }

    #[test]
    fn in_a_collection_that_is_named_the_identity_chooses() {
        let caches = [("alice@A", Wished, Some(900)), ("bob@A", WishedMember, Some(10))];
        assert_eq!(ordered(&caches, Some("bob@A"), None), [1, 0]);
        assert_eq!(ordered(&caches, None, None), [0, 1]);
    }

    #[test]
    fn of_a_collection_the_services_realm_comes_before_the_primary_cache_if_it_can_be_used() {
        let caches = [
            ("alice@A", Default, Some(900)),
            ("alice@B", DefaultMember, None),
            ("bob@B", DefaultMember, Some(10)),
            ("carol@B", Found, Some(990)),
        ];
        assert_eq!(ordered(&caches, None, Some("nfs/srv@B")), [2, 0, 3]);
        assert_eq!(ordered(&caches, None, Some("nfs/srv@A")), [0, 3, 2]);
        assert_eq!(ordered(&caches, None, Some("nfs/srv@C")), [0, 3, 2]);
        assert_eq!(ordered(&caches[..1], None, Some("nfs/srv@B")), [0]);
    }

    #[test]
    fn of_an_unknown_realm_the_hosts_domain_tells() {
        let caches = [
            ("a@OTHER.TEST", Default, Some(900)),
            ("a@EXAMPLE.COM", DefaultMember, Some(1)),
            ("a@SUB.EXAMPLE.COM", DefaultMember, Some(1)),
        ];
        assert_eq!(ordered(&caches, None, Some("nfs/srv.sub.example.com@"))[0], 2);
        assert_eq!(ordered(&caches, None, Some("nfs/srv.example.com@"))[0], 1);
        assert_eq!(ordered(&caches, None, Some("nfs/srv.myexample.com@"))[0], 0);
    }
}
