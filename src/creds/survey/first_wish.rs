//! What a user wanted, and why it was not available: a change of principal is always reported.
//!
//! The worker reports it in the log and to the requester, `lgss caches` in the same words.

use super::cache::{Candidate, Contents, Objection};
use crate::creds::choice::{Wish, WishedBy};
use crate::creds::source::Standing;
use crate::gss::principal::Name;
use crate::text::quoted;

/// The user's strongest wish, whether it can be fulfilled or not.
#[derive(Debug, Clone)]
pub(crate) struct FirstWish {
    /// The principal, if it is known.
    client: Option<Name>,
    /// The cache, if it was found.
    cache: Option<String>,
    /// The principal, the cache and the origin of the wish, in words.
    text: String,
    /// The objection to it, as far as it is known without a KDC.
    against: Option<String>,
}

impl FirstWish {
    /// The wish in words with the reason why it is not fulfilled: `refusal` of the cache with that name, or else the
    /// objection. `None` if `chosen` has the principal that was wanted.
    pub(crate) fn instead<'t>(
        &self,
        chosen: Option<&Candidate>,
        refusal: impl Fn(&str) -> Option<&'t str>,
    ) -> Option<String> {
        let same = chosen.is_some_and(|chosen| match &self.client {
            Some(client) => *client == chosen.client,
            None => false,
        });
        if same {
            return None;
        }
        let refused = self.cache.as_deref().and_then(refusal);
        match refused.or(self.against.as_deref()) {
            Some(why) => Some(format!("{}: {why}", self.text)),
            None => Some(self.text.clone()),
        }
    }
}

/// The strongest wish in words; `file` is the user's `.k5identity`.
pub(super) fn first_wish(
    wish: &Wish,
    caches: &[Contents],
    worthless: &[Objection],
    unread: &[Objection],
    file: &str,
) -> FirstWish {
    let cache = wish.cache.and_then(|at| caches.get(at)).map(|cache| cache.name.display.clone());
    let unread = unread.iter().find(|objection| objection.standing == Standing::Wished);
    let place = cache.clone().or_else(|| unread.filter(|_| wish.client.is_none()).map(|it| it.place.clone()));
    let of_client = || {
        let own = caches.iter().find(|cache| wish.client.as_ref() == Some(&cache.client))?;
        worthless.iter().find(|objection| objection.place == own.name.display)
    };
    let against = match (wish.by, &cache) {
        (_, Some(cache)) => worthless.iter().find(|objection| objection.place == *cache),
        (WishedBy::Environment, None) => unread,
        (_, None) => of_client(),
    };
    let who = wish.client.as_ref().map(ToString::to_string);
    let what = [who, place].into_iter().flatten().map(|name| quoted(&name).into_owned());
    let what = what.collect::<Vec<_>>().join(" in ");
    let by = match wish.by {
        WishedBy::Environment => "which KRB5CCNAME names".to_owned(),
        WishedBy::Identities => format!("by {}", quoted(file)),
        WishedBy::Realm => "of the service's realm".to_owned(),
        WishedBy::Default => "the default one".to_owned(),
    };
    let none =
        || (wish.by == WishedBy::Identities && cache.is_none()).then(|| "there is no cache of it".to_owned());
    let against = against.map(|objection| objection.reason().to_owned()).or_else(none);
    FirstWish { client: wish.client.clone(), cache, text: format!("{what}, {by}"), against }
}
