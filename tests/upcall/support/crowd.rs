//! Many users of one site, whose requests come at the same time.

use super::outcome::Outcome;
use super::probe::{Finding, Probe, Request, Step, as_user};
use super::realm::Realm;
use super::scratch::Scratch;
use super::server::Target;
use super::site::{Settings, Site};
use std::time::Duration;

pub(crate) const USERS: usize = 30;
pub(crate) const EACH: usize = 10;
/// Limit for all of them together, on two processors that are busy with other things too.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// A site with additional users, each with a ticket.
pub(crate) struct Crowd {
    pub(crate) site: Site,
    pub(crate) users: Vec<Scratch>,
}

impl Crowd {
    /// `limits` is TOML for the end of the configuration.
    pub(crate) fn new(realm: &Realm, limits: &str) -> Self {
        let [deadline, kdc, connect, round] = ["60s"; 4];
        let settings = Settings { deadline, kdc, connect, round, extra: limits, ..Default::default() };
        let site = Site::with(realm, &settings);
        let users: Vec<_> = (0..USERS).map(|_| Scratch::new()).collect();
        for uid in users.iter().map(Scratch::uid) {
            site.serve(&format!("lgss:{uid}:*"));
            realm.ticket(uid, &format!("FILE:/tmp/krb5cc_{uid}"));
        }
        Self { site, users }
    }

    /// Starts a process for each user, ready to make its requests.
    pub(crate) fn ready(&self, target: &Target) -> Requesters {
        let mut all: Vec<_> = self.users.iter().map(|user| self.requester(user.uid(), target)).collect();
        for requester in &mut all {
            requester.until_pause();
        }
        Requesters(all)
    }

    /// Each request is for its own key and context.
    fn requester(&self, uid: u32, target: &Target) -> Probe {
        let request = |instance| {
            let description = format!("lgss:{uid}:{}:{instance}", target.service).into_bytes();
            Request { description, ..self.site.request(target) }
        };
        let requests = (0..EACH).map(request).collect();
        let within_ms = WITHIN.as_millis().try_into().unwrap();
        let mut steps = as_user(uid);
        steps.extend([Step::Pause, Step::RequestEach { requests, within_ms }, Step::Pause, Step::SettleEach]);
        Probe::start(&steps)
    }
}

/// One process for each user, with all requests of that user.
pub(crate) struct Requesters(Vec<Probe>);

impl Requesters {
    /// Makes all requests at once; `meanwhile` runs when all have been released. Returns the outcomes by user.
    pub(crate) fn ask(&mut self, meanwhile: impl FnOnce()) -> Vec<Vec<Outcome>> {
        let Self(requesters) = self;
        requesters.iter_mut().for_each(Probe::go_on);
        let requested: Vec<_> = requesters.iter_mut().map(Probe::until_pause).collect();
        meanwhile();
        requesters.iter_mut().for_each(Probe::go_on);
        let settled = requesters.iter_mut().map(Probe::rest);
        requested
            .into_iter()
            .zip(settled)
            .map(|(requested, settled)| outcomes(&requested, &settled))
            .collect()
    }
}

fn outcomes(requested: &[Finding], settled: &[Finding]) -> Vec<Outcome> {
    let ([.., Finding::Each(requested)], [.., Finding::Each(settled)]) = (requested, settled) else {
        panic!("{requested:?} {settled:?}")
    };
    let each = requested.iter().cloned().zip(settled.iter().cloned());
    each.map(|(requested, settled)| Outcome::of_any_wait(&[requested, settled])).collect()
}
