//! What a user's credentials are: every cache that was found is read, and ranked for a target.
//!
//! Called by the worker and by `lgss caches`, with what search/ has found. No KDC and no name service is asked.

mod cache;
mod ranked;
mod reading;
mod wanted;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::budget::FileBudget;
use super::choice::{self, Known};
use super::contention::{self, Grace, Use};
use super::identities::Identities;
use super::patience::{Patience, Whom};
use super::ranking;
use super::source::{Defect, Standing};
use super::source_list::Entry;
use super::ticket::CacheNames;
use crate::event::Cause;
use crate::gss::collection;
use crate::gss::krb5::Library;
use crate::gss::principal::Name;
use crate::gss::private_cache::PrivateCache;
use crate::gss::ticket::Cache;
use cache::Contents;
pub(crate) use cache::{Candidate, Objection};
pub(crate) use ranked::{Ranking, listed};
use reading::{Read, failure, read, read_collection};
use wanted::wanted;

/// What was read.
#[derive(Debug)]
pub(crate) struct Survey {
    caches: Vec<Contents>,
    objections: Vec<Objection>,
    /// The user's keytab, for when no cache will do.
    pub client_keytab: Option<CacheNames>,
    /// Whom the user wants to be, and the file that says so.
    identities: Option<(Identities, String)>,
    /// With programs that hold caches.
    grace: Grace,
    /// With those who are slow to tell.
    patience: Patience,
    /// For caches that are files.
    budget: FileBudget,
}

impl Survey {
    /// Reads the caches, in a request that has so much time for name services and KDCs; `begin` is told of each before
    /// it is read.
    pub(crate) fn of(
        library: &Library,
        sources: Vec<Entry>,
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

    fn add_source(&mut self, library: &Library, source: Entry) {
        match source {
            Entry::Cache { name, standing } => match Whom::keeps(&name) {
                Some(whom) => self.add_kept(whom, library, name, standing),
                None => self.add_file(library, name, standing),
            },
            Entry::Collection { name, standing } => {
                self.add_collection(library, name, standing, Absence::Told);
            }
            Entry::PossibleCollection(_) if !collection::daemon_is_there(library) => {}
            Entry::PossibleCollection(name) => {
                self.add_collection(library, name, Standing::Found, Absence::Expected);
            }
            Entry::ClientKeytab(name) => match self.what_is_free(&name) {
                Use::Nothing(why) => {
                    let text = format!("{} {why}", name.shown());
                    self.object_to(&name, text, Some(Cause::BadCache), Standing::Found);
                }
                Use::Free | Use::Reading => self.client_keytab = Some(name),
            },
            Entry::Identities(name) => self.add_identities(library, name),
            Entry::Objection { defect, place, text, standing } => {
                let cause = match defect {
                    Defect::Absent => Some(Cause::NoTicket),
                    Defect::Expired => Some(Cause::TicketExpired),
                    Defect::Unusable => Some(Cause::BadCache),
                    Defect::Foreign | Defect::Unseen => None,
                };
                let notable = defect == Defect::Unseen;
                self.objections.push(Objection { place, text, cause, notable, standing });
            }
            // The machine's are none of a user's.
            Entry::Machine { .. } => {}
        }
    }

    /// Whether there is anything that is not expired.
    pub(crate) fn has_live(&self, now: u64) -> bool {
        self.caches.iter().any(|cache| ranking::worth(&cache.tickets, None, now).is_ok())
    }

    /// A number for each cache that differs when it is another, has got a new ticket of its client's, or counts
    /// otherwise than before; what a KDC has added by itself makes no difference. The last of `limit` stands for all
    /// that are left.
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

    /// Ranks them for `service`, whose realm is empty if a KDC is to find it, or for none in particular.
    pub(crate) fn rank(self, service: Option<&Name>, now: u64) -> Ranking {
        let Self { caches, mut objections, identities, .. } = self;
        let worths: Vec<_> =
            caches.iter().map(|cache| ranking::worth(&cache.tickets, service, now)).collect();
        let known = caches.iter().zip(&worths).map(|(cache, worth)| Known {
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
        let wanted = wishes.first().map(|wish| wanted(wish, &caches, (&worthless, &objections), file));
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

    /// A file that says whom the user wants to be.
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

    /// Copies what daemons keep to memory, so that no daemon is needed, nor changed, any more.
    pub(crate) fn part_from_daemons(&mut self, library: &Library) {
        for mut contents in std::mem::take(&mut self.caches) {
            if Whom::keeps(&contents.name) == Some(Whom::Daemon) {
                let wanted = contents.name.library.clone();
                let copy = move |library: &Library| {
                    Cache::resolve(library, &wanted)?.in_memory().map(PrivateCache::left_in_memory)
                };
                match self.patience.ask(Whom::Daemon, library, copy) {
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
                        let silent = self.patience.silent(Whom::Daemon, &contents.name);
                        self.object_to(&contents.name, silent.detail, Some(silent.cause), contents.standing);
                        continue;
                    }
                }
            }
            self.caches.push(contents);
        }
    }

    /// What has been found to be of no use here.
    fn object_to(&mut self, name: &CacheNames, text: String, cause: Option<Cause>, standing: Standing) {
        let place = name.display.clone();
        self.objections.push(Objection { place, text, cause, notable: false, standing });
    }

    /// A cache that the library reads by itself. What another program holds is not waited for: if it can be read,
    /// tickets are got with a copy of it.
    fn add_file(&mut self, library: &Library, mut name: CacheNames, standing: Standing) {
        let free = self.what_is_free(&name);
        if let Use::Nothing(why) = free {
            let text = format!("{} {why}", name.shown());
            return self.object_to(&name, text, Some(Cause::BadCache), standing);
        }
        if let Err(why) = self.budget.admit(&name.library) {
            let text = format!("{}: {why}", name.shown());
            return self.object_to(&name, text, Some(Cause::BadCache), standing);
        }
        let read = read(library, &name);
        if free == Use::Reading && read.is_ok() {
            let copy = Cache::resolve(library, &name.library).and_then(|cache| cache.in_memory());
            name.library = copy.map_or(name.library, PrivateCache::left_in_memory);
        }
        self.add(standing, name, read);
    }

    fn what_is_free(&mut self, name: &CacheNames) -> Use {
        match name.library.strip_prefix("FILE:") {
            Some(file) => contention::of(Path::new(file), &mut self.grace),
            None => Use::Free,
        }
    }

    /// A cache that has to be asked of somebody.
    fn add_kept(&mut self, whom: Whom, library: &Library, name: CacheNames, standing: Standing) {
        let wanted = name.clone();
        match self.patience.ask(whom, library, move |library| read(library, &wanted)) {
            Some(read) => self.add(standing, name, read),
            None => {
                let silent = self.patience.silent(whom, &name);
                self.object_to(&name, silent.detail, Some(silent.cause), standing);
            }
        }
    }

    /// Each of its caches, the primary one first.
    fn add_collection(&mut self, library: &Library, name: CacheNames, standing: Standing, absence: Absence) {
        let wanted = name.clone();
        let question = move |library: &Library| read_collection(library, &wanted);
        let listed = self.patience.ask(Whom::Daemon, library, question);
        match (listed, absence) {
            (Some(Ok(members)), _) => {
                if members.is_empty() && absence == Absence::Told {
                    let text = format!("{}: no cache", name.shown());
                    self.object_to(&name, text, Some(Cause::NoTicket), standing);
                }
                let standings = std::iter::once(standing).chain(std::iter::repeat(standing.of_member()));
                for ((name, read), standing) in members.into_iter().zip(standings) {
                    self.add(standing, name, read);
                }
            }
            (Some(Err(error)), Absence::Told) => self.add(standing, name, Err(error)),
            (Some(Err(_)), Absence::Expected) => {}
            // There may be the very ticket that is missing.
            (None, _) => {
                let silent = self.patience.silent(Whom::Daemon, &name);
                self.object_to(&name, silent.detail, Some(silent.cause), standing);
            }
        }
    }
}

/// Whether a missing collection is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    Told,
    Expected,
}

#[cfg(test)]
mod tests;
