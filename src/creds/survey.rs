//! Surveys a user's credentials: reads every cache that was found and ranks the caches for a target.
//!
//! Called by the worker and by `lgss caches`, with the sources that search/ has found. No KDC and no name service is
//! asked.

mod cache;
mod first_wish;
mod ranked;
mod reading;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::budget::FileBudget;
use super::choice::{self, KnownCache};
use super::contention::{self, Grace, Usability};
use super::identities::Identities;
use super::patience::{Keeper, Patience};
use super::ranking;
use super::source::{Defect, Standing};
use super::source_list::SourceEntry;
use super::ticket::CacheNames;
use crate::event::Cause;
use crate::gss::collection;
use crate::gss::krb5::Library;
use crate::gss::principal::Name;
use crate::gss::private_cache::PrivateCache;
use crate::gss::ticket::Cache;
use cache::Contents;
pub(crate) use cache::{Candidate, Objection};
use first_wish::first_wish;
pub(crate) use ranked::{Ranking, listed};
use reading::{Read, failure, read, read_collection};

/// The caches that were read, and the places that cannot be used.
#[derive(Debug)]
pub(crate) struct Survey {
    caches: Vec<Contents>,
    objections: Vec<Objection>,
    /// The user's keytab, for when no cache is usable.
    pub client_keytab: Option<CacheNames>,
    /// Which principal the user wants to be for each service, and the file that says so.
    identities: Option<(Identities, String)>,
    /// How long to wait for programs that lock caches.
    grace: Grace,
    /// How long to wait for those who keep caches.
    patience: Patience,
    /// The budget for caches that are files.
    budget: FileBudget,
}

impl Survey {
    /// Reads the caches, in a request that has `limit` for name services and KDCs. `begin` is called with the name of
    /// each before it is read.
    pub(crate) fn of(
        library: &Library,
        sources: Vec<SourceEntry>,
        limit: Duration,
        mut begin: impl FnMut(&str),
    ) -> Self {
        let mut survey = Self {
            caches: Vec::new(),
            objections: Vec::new(),
            client_keytab: None,
            identities: None,
            patience: Patience::within(limit),
            grace: Grace::default(),
            budget: FileBudget::default(),
        };
        for source in sources {
            begin(source.display());
            survey.add_source(library, source);
        }
        survey
    }

    fn add_source(&mut self, library: &Library, source: SourceEntry) {
        match source {
            SourceEntry::Cache { name, standing } => match Keeper::of(&name) {
                Some(keeper) => self.add_from_keeper(keeper, library, name, standing),
                None => self.add_file(library, name, standing),
            },
            SourceEntry::Collection { name, standing } => {
                self.add_collection(library, name, standing, Absence::Reported);
            }
            SourceEntry::PossibleCollection(_) if !collection::daemon_is_there(library) => {}
            SourceEntry::PossibleCollection(name) => {
                self.add_collection(library, name, Standing::Found, Absence::Expected);
            }
            // Of other mechanisms.
            SourceEntry::SharedKey { .. } => {}
            SourceEntry::ClientKeytab(name) => match self.usability(&name) {
                Usability::Nothing(why) => {
                    let text = format!("{} {why}", name.shown());
                    self.object_to(&name, text, Some(Cause::BadCache), Standing::Found);
                }
                Usability::Free | Usability::Reading => self.client_keytab = Some(name),
            },
            SourceEntry::Identities(name) => self.add_identities(library, name),
            SourceEntry::Objection { defect, place, text, standing } => {
                let cause = match defect {
                    Defect::Absent => Some(Cause::NoTicket),
                    Defect::Expired => Some(Cause::TicketExpired),
                    Defect::Unusable => Some(Cause::BadCache),
                    Defect::Foreign | Defect::Unseen => None,
                };
                let notable = defect == Defect::Unseen;
                self.objections.push(Objection { place, text, cause, notable, standing });
            }
            // The machine's credentials are not a user's.
            SourceEntry::Machine { .. } => {}
        }
    }

    /// Whether any cache has tickets that have not expired.
    pub(crate) fn has_live(&self, now: u64) -> bool {
        self.caches.iter().any(|cache| ranking::worth(&cache.tickets, None, now).is_ok())
    }

    /// A number for each cache, which changes with the cache, with its standing or with a new ticket of its client's
    /// own, but not with tickets that a KDC adds during use. The last of `limit` numbers stands for all remaining
    /// ones.
    pub(crate) fn fingerprints(&self, limit: usize) -> Vec<u64> {
        let hashed = |of: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            of(&mut hasher);
            hasher.finish()
        };
        let caches = self.caches.iter().map(|cache| hashed(&|hasher| cache.hash(hasher)));
        let mut numbers: Vec<u64> = caches.collect();
        let identities = self.identities.as_ref().map(|(identities, _)| format!("{identities:?}"));
        numbers.extend(identities.map(|identities| hashed(&|hasher| identities.hash(hasher))));
        let keytab = self.client_keytab.as_ref().and_then(|name| {
            let file = std::fs::metadata(name.library.trim_start_matches("FILE:")).ok()?;
            Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        });
        numbers.extend(keytab.map(|keytab| hashed(&|hasher| keytab.hash(hasher))));
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() > limit {
            let rest = numbers.split_off(limit.saturating_sub(1));
            numbers.push(hashed(&|hasher| rest.hash(hasher)));
        }
        numbers
    }

    /// Ranks the caches for `service`, whose realm is empty if a KDC is to find it, or for no service in particular.
    pub(crate) fn rank(self, service: Option<&Name>, now: u64) -> Ranking {
        let Self { caches, mut objections, identities, .. } = self;
        let worths: Vec<_> =
            caches.iter().map(|cache| ranking::worth(&cache.tickets, service, now)).collect();
        let known = caches.iter().zip(&worths).map(|(cache, worth)| KnownCache {
            standing: cache.standing,
            client: &cache.client,
            worth: worth.as_ref().ok().copied(),
        });
        let known: Vec<_> = known.collect();
        let unread: Vec<_> = objections.iter().map(|objection| objection.standing).collect();
        let identity = identities.as_ref().and_then(|(identities, _)| identities.client(service));
        let wishes = choice::wishes(&known, &unread, identity, service);
        let usable = choice::order(&known, &wishes).into_iter().filter_map(|(at, by)| {
            let (Contents { name, client, tickets, .. }, worth) = (caches.get(at)?, known.get(at)?.worth?);
            let ready = ranking::ready(tickets, service, now).is_some();
            Some(Candidate { name: name.clone(), client: client.clone(), worth, ready, by })
        });
        let usable = usable.collect();
        let mut worthless = Vec::new();
        for (cache, why) in
            caches.iter().zip(&worths).filter_map(|(cache, worth)| Some((cache, worth.as_ref().err()?)))
        {
            worthless.push(cache.worthless(*why));
        }
        let file = identities.as_ref().map_or("", |(_, file)| file.as_str());
        let wanted = wishes.first().map(|wish| first_wish(wish, &caches, &worthless, &objections, file));
        worthless.append(&mut objections);
        Ranking { usable, objections: worthless, wanted }
    }

    fn add(&mut self, standing: Standing, name: CacheNames, read: Read) {
        match read {
            Ok((client, tickets)) => self.caches.push(Contents { name, client, tickets, standing }),
            Err(error) => {
                let failure = failure(&name, &error);
                self.object_to(&name, failure.detail, Some(failure.cause), standing);
            }
        }
    }

    /// Reads the user's choice of principals by service.
    fn add_identities(&mut self, library: &Library, name: CacheNames) {
        let file = name.library.trim_start_matches("FILE:");
        match Identities::read(library, Path::new(file)) {
            Ok(identities) => {
                if let Some(line) = identities.malformed.first() {
                    let text = format!("{}: line {line} is no principal with field=value", name.shown());
                    self.object_to(&name, text, None, Standing::Found);
                }
                self.identities = Some((identities, name.display));
            }
            Err(error) => {
                let text = format!("{}: {error}", name.shown());
                self.object_to(&name, text, None, Standing::Found);
            }
        }
    }

    /// Copies caches of daemons to memory, so that no daemon is needed or changed from then on.
    pub(crate) fn copy_from_daemons(&mut self, library: &Library) {
        for mut contents in std::mem::take(&mut self.caches) {
            if Keeper::of(&contents.name) == Some(Keeper::Daemon) {
                let wanted = contents.name.library.clone();
                let copy = move |library: &Library| {
                    Cache::resolve(library, &wanted)?.in_memory().map(PrivateCache::left_in_memory)
                };
                match self.patience.ask(Keeper::Daemon, library, copy) {
                    Some(Ok(copy)) => contents.name.library = copy,
                    Some(Err(error)) => {
                        let failure = failure(&contents.name, &error);
                        self.object_to(
                            &contents.name,
                            failure.detail,
                            Some(failure.cause),
                            contents.standing,
                        );
                        continue;
                    }
                    None => {
                        let silent = self.patience.silent(Keeper::Daemon, &contents.name);
                        self.object_to(&contents.name, silent.detail, Some(silent.cause), contents.standing);
                        continue;
                    }
                }
            }
            self.caches.push(contents);
        }
    }

    /// Adds an objection to a place that turned out to be of no use.
    fn object_to(&mut self, name: &CacheNames, text: String, cause: Option<Cause>, standing: Standing) {
        let place = name.display.clone();
        self.objections.push(Objection { place, text, cause, notable: false, standing });
    }

    /// Reads a cache that no daemon keeps. If another program has it locked but it can be read, a copy is used to get
    /// tickets.
    fn add_file(&mut self, library: &Library, mut name: CacheNames, standing: Standing) {
        let free = self.usability(&name);
        if let Usability::Nothing(why) = free {
            let text = format!("{} {why}", name.shown());
            return self.object_to(&name, text, Some(Cause::BadCache), standing);
        }
        if let Err(why) = self.budget.admit(&name.library) {
            let text = format!("{}: {why}", name.shown());
            return self.object_to(&name, text, Some(Cause::BadCache), standing);
        }
        let read = read(library, &name);
        if free == Usability::Reading && read.is_ok() {
            let copy = Cache::resolve(library, &name.library).and_then(|cache| cache.in_memory());
            name.library = copy.map_or(name.library, PrivateCache::left_in_memory);
        }
        self.add(standing, name, read);
    }

    fn usability(&mut self, name: &CacheNames) -> Usability {
        match name.library.strip_prefix("FILE:") {
            Some(file) => contention::usability(Path::new(file), &mut self.grace),
            None => Usability::Free,
        }
    }

    /// Reads a cache that has a keeper.
    fn add_from_keeper(&mut self, keeper: Keeper, library: &Library, name: CacheNames, standing: Standing) {
        let wanted = name.clone();
        match self.patience.ask(keeper, library, move |library| read(library, &wanted)) {
            Some(read) => self.add(standing, name, read),
            None => {
                let silent = self.patience.silent(keeper, &name);
                self.object_to(&name, silent.detail, Some(silent.cause), standing);
            }
        }
    }

    /// Reads each cache of a collection, the primary one first.
    fn add_collection(&mut self, library: &Library, name: CacheNames, standing: Standing, absence: Absence) {
        let wanted = name.clone();
        let question = move |library: &Library| read_collection(library, &wanted);
        let listed = self.patience.ask(Keeper::Daemon, library, question);
        match (listed, absence) {
            (Some(Ok(members)), _) => {
                if members.is_empty() && absence == Absence::Reported {
                    let text = format!("{}: no cache", name.shown());
                    self.object_to(&name, text, Some(Cause::NoTicket), standing);
                }
                let standings = std::iter::once(standing).chain(std::iter::repeat(standing.of_member()));
                for ((name, read), standing) in members.into_iter().zip(standings) {
                    self.add(standing, name, read);
                }
            }
            (Some(Err(error)), Absence::Reported) => self.add(standing, name, Err(error)),
            (Some(Err(_)), Absence::Expected) => {}
            // The missing ticket may be there, so the silence is reported.
            (None, _) => {
                let silent = self.patience.silent(Keeper::Daemon, &name);
                self.object_to(&name, silent.detail, Some(silent.cause), standing);
            }
        }
    }
}

/// Whether a missing collection is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    Reported,
    Expected,
}

#[cfg(test)]
mod tests;
