//! The cost of choosing among many credential caches; a ready service ticket needs no KDC.

use super::requester::{self, Plan};
use super::support::realm::Realm;
use super::support::server::Target;
use super::support::site::{Settings, Site};
use super::{Bed, PAUSE, median};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

/// Selects this part alone on the command line.
pub(crate) const WORD: &str = "caches";
/// The variable for another `worker_sandbox` than the default.
const SANDBOX: &str = "LGSS_BENCH_SANDBOX";
/// How many caches a user has in /tmp; one user for each number.
const COUNTS: [usize; 3] = [1, 10, 200];
const ROUNDS: usize = 100;

/// Figures with goals.
pub(crate) struct Figures {
    /// Milliseconds that 200 caches cost more than one.
    pub(crate) extra: f64,
    /// How many requests the KDCs got.
    pub(crate) kdc_requests: f64,
}

/// Users with more and more caches ask in turn; each has the service ticket in its default cache from the start.
pub(crate) fn bench(realm: &Realm, target: &Target) -> Figures {
    let beds: Vec<Bed<'_>> = COUNTS.iter().map(|&count| bed(realm, target, count)).collect();
    let mut times = vec![Vec::new(); beds.len()];
    let requests_before = realm.kdc_requests();
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..beds.len()).collect();
        order.rotate_left(round % beds.len());
        for at in order {
            times[at].push(once(&beds[at]));
        }
    }
    let kdc_requests = realm.kdc_requests() - requests_before;
    println!("\n## Request to established context with many caches, in milliseconds\n");
    println!("| caches of the user | rounds | p50 | over one cache |\n|---|---|---|---|");
    let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
    for (count, p50) in COUNTS.iter().zip(&medians) {
        println!("| {count} | {ROUNDS} | {p50:.2} | {:+.2} |", p50 - medians[0]);
    }
    println!("\n({kdc_requests} requests to the KDC meanwhile, by its log)");
    Figures { extra: medians[medians.len() - 1] - medians[0], kdc_requests: kdc_requests as f64 }
}

fn bed<'a>(realm: &Realm, target: &'a Target, count: usize) -> Bed<'a> {
    let sandbox = std::env::var(SANDBOX).unwrap_or("strict".to_owned());
    let site = Site::with(realm, &Settings { sandbox: &sandbox, ..Default::default() });
    site.ticket(realm);
    let bed = Bed { site, target };
    // The first context stores the ticket.
    once(&bed);
    let default = bed.site.default_cache();
    for number in 1..count {
        let path = format!("{}_{number}", default.display());
        fs::copy(&default, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(bed.site.uid()), Some(bed.site.uid())).unwrap();
    }
    bed
}

fn once(bed: &Bed<'_>) -> f64 {
    let variants = vec![bed.ours("ours", "")];
    let samples = requester::start(&Plan { uid: bed.site.uid(), rounds: 1, pause: PAUSE, variants });
    samples[0].established.unwrap_or_else(|| panic!("{:?}", samples[0].error)) * 1e3
}
