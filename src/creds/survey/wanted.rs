//! What a user wanted, and why it was not available: a change of principal is always reported.
//!
//! The worker reports it in the log and to the requester, `lgss caches` in the same words.

use super::cache::{Candidate, Contents, Objection};
use crate::creds::choice::{By, Wish};
use crate::creds::source::Standing;
use crate::gss::principal::Name;
use crate::text::quoted;

/// The first choice, whether it can be used or not.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Who that would be, if that is known.
    client: Option<Name>,
    /// Which cache, if it is one that was found.
    cache: Option<String>,
    /// In words: who, where, and by what.
    text: String,
    /// What speaks against it, as far as that is known without a KDC.
    against: Option<String>,
}

impl Wanted {
    /// In words, with the reason why it is not so, if it is not so: what speaks against it, or what `refusal` knows of
    /// the cache of that name.
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

/// The strongest wish in words; `file` is the user's that says whom it wants to be.
pub(super) fn wanted(
    wish: &Wish,
    caches: &[Contents],
    (worthless, unread): (&[Objection], &[Objection]),
    file: &str,
) -> Wanted {
    let cache = wish.cache.and_then(|at| caches.get(at)).map(|cache| cache.name.display.clone());
    let unread = unread.iter().find(|objection| objection.standing == Standing::Wished);
    let place = cache.clone().or_else(|| unread.filter(|_| wish.client.is_none()).map(|it| it.place.clone()));
    let of_client = || {
        let own = caches.iter().find(|cache| wish.client.as_ref() == Some(&cache.client))?;
        worthless.iter().find(|objection| objection.place == own.name.display)
    };
    let against = match (wish.by, &cache) {
        (_, Some(cache)) => worthless.iter().find(|objection| objection.place == *cache),
        (By::Environment, None) => unread,
        (_, None) => of_client(),
    };
    let who = wish.client.as_ref().map(ToString::to_string);
    let what = [who, place].into_iter().flatten().map(|name| quoted(&name).into_owned());
    let what = what.collect::<Vec<_>>().join(" in ");
    let by = match wish.by {
        By::Environment => "which KRB5CCNAME names".to_owned(),
        By::Identities => format!("by {}", quoted(file)),
        By::Realm => "of the service's realm".to_owned(),
        By::Default => "the default one".to_owned(),
    };
    let none =
        || (wish.by == By::Identities && cache.is_none()).then(|| "there is no cache of it".to_owned());
    let against = against.map(|objection| objection.reason().to_owned()).or_else(none);
    Wanted { client: wish.client.clone(), cache, text: format!("{what}, {by}"), against }
}
