//! Where credentials may be: each place alone, without any other usable credentials, for a request that names none.

use crate::plan::PlantedFile;
use crate::support::kcm::Kcm;
use crate::support::persistent::PersistentRing;
use crate::support::probe::{Step, as_user};
use crate::support::process::{command_as, succeed};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

crate::trials![
    a_cache_that_the_environment_names_is_found,
    the_setting_says_what_the_environment_counts,
    a_good_member_of_a_directory_collection_is_found_beside_an_expired_primary,
    a_good_cache_of_the_daemon_is_found_beside_an_expired_primary,
    a_good_cache_of_a_keyring_collection_is_found_beside_an_expired_primary,
    a_file_and_a_collection_in_tmp_that_nobody_names_are_found,
    files_in_the_runtime_directory_of_the_requesters_root_are_found,
    collections_in_the_keyrings_of_process_and_thread_are_found,
    a_collection_in_the_user_keyring_is_found_from_any_session,
    a_persistent_keyring_is_looked_into_but_not_made,
];

const PROCESS_RING: i32 = -2;
const THREAD_RING: i32 = -1;

/// After these steps the user's request is served from `place`.
#[track_caller]
fn expect_found(shared: &Shared, site: &Site, steps: Vec<Step>, place: &str) {
    let outcome = site.ask_after(steps, site.request(shared.nfs()));
    call_null_with(&outcome.context(), shared.nfs());
    site.log.wait_for_words(&["chosen: alice@", &format!(" in {place}, ")]);
    site.wait_until_idle();
}

/// [`as_user`], then steps that get a ticket into each cache.
fn with_tickets(shared: &Shared, site: &Site, caches: &[(&str, &str)]) -> Vec<Step> {
    let mut steps = as_user(site.uid());
    for (cache, life) in caches {
        steps.push(shared.realm().kinit_with(&site.path("krb5.conf"), cache, &["-l", life]));
    }
    steps
}

/// Waits, in the session, until all tickets of a cache have expired.
fn expired(site: &Site, cache: &str) -> Step {
    let config = site.path("krb5.conf").display().to_string();
    let script = r#"export KRB5_CONFIG="$1"; while klist -s -c "$2"; do sleep 0.05; done"#;
    let words = ["sh", "-c", script, "sh", &config, cache].map(str::to_owned).to_vec();
    Step::Run { words, input: String::new() }
}

/// Makes a directory that belongs to the user.
fn own_directory(site: &Site, path: PathBuf) -> String {
    fs::create_dir(&path).unwrap();
    chown(&path, Some(site.uid()), Some(site.uid())).unwrap();
    path.display().to_string()
}

/// Values for `KRB5CCNAME`, and the cache that each of them means.
fn named_in_the_environment(site: &Site) -> Vec<(String, String)> {
    let directory = own_directory(site, site.path("user").join("collection"));
    let same = |name: String| (name.clone(), name);
    vec![
        same(site.cache("mine")),
        (format!("DIR:{directory}"), format!("DIR::{directory}/tkt")),
        same(format!("KCM:{}:mine", site.uid())),
        ("KEYRING:session:mine".to_owned(), "KEYRING:session:mine:mine".to_owned()),
    ]
}

fn a_cache_that_the_environment_names_is_found(shared: &Shared) {
    for number in 0..4 {
        let site = Site::new(shared.realm());
        let _kcm = Kcm::start(&site);
        let (name, place) = named_in_the_environment(&site).swap_remove(number);
        let steps = with_tickets(shared, &site, &[(&name, "5h")]);
        let outcome = site.ask_naming(Some(&name), steps, site.request(shared.nfs()));
        call_null_with(&outcome.context(), shared.nfs());
        site.log.wait_for_words(&["chosen: alice@", &format!(" in {place}, ")]);
    }
}

fn the_setting_says_what_the_environment_counts(shared: &Shared) {
    for (setting, comes_first) in [
        ("krb5ccname = \"ranked\"", false),
        ("krb5ccname = \"first\"", true),
        ("krb5ccname = \"ignored\"", false),
        ("choice = \"wish\"", true),
        ("choice = \"longest\"", false),
    ] {
        let site = Site::new(shared.realm());
        let _kcm = Kcm::start(&site);
        site.add_settings(&format!("[caches]\n{setting}\n"));
        // The default cache is better, since its ticket lives longer.
        site.ticket(shared.realm());
        let default = format!("FILE:{}", site.default_cache().display());
        for (number, (name, place)) in named_in_the_environment(&site).into_iter().enumerate() {
            let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{number}"));
            let steps = with_tickets(shared, &site, &[(&name, "1h")]);
            drop(site.ask_naming(Some(&name), steps, request).context());
            let told = site.log.wait_for_established(number + 1);
            let chosen = if comes_first { &place } else { &default };
            assert!(told.contains(&format!(" in {chosen} with ")), "{setting} {name}: {told}");
        }
        site.wait_until_idle();
        // Only the variable leads to the caches in this directory.
        let leads = |line: &String| line.contains(&site.path("user").display().to_string());
        assert_eq!(site.log.lines().iter().any(leads), !setting.contains("ignored"));
    }
}

/// This collection is the default cache; the primary one of its two caches has expired.
#[track_caller]
fn expect_good_member(shared: &Shared, site: &Site, collection: &str, [primary, good]: [&str; 2]) {
    site.libdefaults(&format!("default_ccache_name = {collection}"));
    let mut steps = with_tickets(shared, site, &[(primary, "1s"), (good, "5h")]);
    steps.push(expired(site, primary));
    expect_found(shared, site, steps, good);
    // When the kernel has removed a keyring with its expired ticket, only the collection has a name.
    let place = if primary.starts_with("KEYRING") { collection } else { primary };
    site.log.wait_for_words(&["not: ", place, ": ticket expired"]);
}

fn a_good_member_of_a_directory_collection_is_found_beside_an_expired_primary(shared: &Shared) {
    let site = Site::new(shared.realm());
    let directory = own_directory(&site, site.path("user").join("collection"));
    let members = [format!("DIR::{directory}/tkt"), format!("DIR::{directory}/tktother")];
    expect_good_member(shared, &site, &format!("DIR:{directory}"), members.each_ref().map(String::as_str));
}

fn a_good_cache_of_the_daemon_is_found_beside_an_expired_primary(shared: &Shared) {
    let site = Site::new(shared.realm());
    let _kcm = Kcm::start(&site);
    let members = [format!("KCM:{}", site.uid()), format!("KCM:{}:other", site.uid())];
    expect_good_member(shared, &site, "KCM:", members.each_ref().map(String::as_str));
}

fn a_good_cache_of_a_keyring_collection_is_found_beside_an_expired_primary(shared: &Shared) {
    for anchor in ["session", "user"] {
        let site = Site::new(shared.realm());
        let collection = format!("KEYRING:{anchor}:mine");
        let members = ["tkt", "other"].map(|member| format!("{collection}:{member}"));
        expect_good_member(shared, &site, &collection, members.each_ref().map(String::as_str));
    }
}

fn a_file_and_a_collection_in_tmp_that_nobody_names_are_found(shared: &Shared) {
    let site = Site::new(shared.realm());
    let file = format!("FILE:{}_xyz", site.default_cache().display());
    expect_found(shared, &site, with_tickets(shared, &site, &[(&file, "5h")]), &file);
    let site = Site::new(shared.realm());
    let directory = own_directory(&site, format!("{}_dir", site.default_cache().display()).into());
    let member = format!("DIR::{directory}/tktmine");
    expect_found(shared, &site, with_tickets(shared, &site, &[(&member, "5h")]), &member);
}

fn files_in_the_runtime_directory_of_the_requesters_root_are_found(shared: &Shared) {
    for name in ["krb5cc", "krb5cc_dir/tkt"] {
        let site = Site::new(shared.realm());
        shared.realm().ticket(site.uid(), &site.cache("mine"));
        let content = fs::read(site.path("user").join("mine")).unwrap();
        let directory = format!("/run/user/{}", site.uid());
        let path = format!("{directory}/{name}");
        let place = if name.contains('/') { format!("DIR::{path}") } else { format!("FILE:{path}") };
        let planted = PlantedFile { path, owner: site.uid(), mode: 0o600, content };
        let owner = format!("{}:{}", site.uid(), site.uid());
        let words = ["chown", "-R", &owner, &directory].map(str::to_owned).to_vec();
        let mut steps = vec![
            Step::PrivateDirectory { directory: "/run/user".to_owned(), files: vec![planted] },
            Step::Run { words, input: String::new() },
        ];
        steps.extend(as_user(site.uid()));
        expect_found(shared, &site, steps, &place);
    }
}

/// Both are keyrings that no other program can reach.
fn collections_in_the_keyrings_of_process_and_thread_are_found(shared: &Shared) {
    for (word, ring) in [("process", PROCESS_RING), ("thread", THREAD_RING)] {
        let site = Site::new(shared.realm());
        let mut steps = with_tickets(shared, &site, &[("KEYRING:session:mine", "5h")]);
        steps.push(Step::MoveCollection { name: "mine".to_owned(), ring });
        expect_found(shared, &site, steps, &format!("KEYRING:{word}:mine:mine"));
    }
}

fn a_collection_in_the_user_keyring_is_found_from_any_session(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut steps = with_tickets(shared, &site, &[("KEYRING:user:mine", "5h")]);
    steps.push(Step::JoinSession);
    expect_found(shared, &site, steps, "KEYRING:user:mine:mine");
}

/// Whether the uid has a persistent keyring; does not make one.
fn has_persistent_ring(uid: u32) -> bool {
    let mut keys = command_as(uid, "cat");
    succeed(keys.arg("/proc/keys"), "").contains(&format!("_persistent.{uid}: "))
}

fn a_persistent_keyring_is_looked_into_but_not_made(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("KEYRING:persistent:{}", site.uid());
    let _removed = PersistentRing(site.uid());
    let steps = with_tickets(shared, &site, &[(&cache, "5h")]);
    expect_found(shared, &site, steps, &format!("{cache}:{}", site.uid()));
    assert!(has_persistent_ring(site.uid()));
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    drop(site.ask(shared.nfs()).context());
    assert!(!has_persistent_ring(site.uid()), "the request has made a persistent keyring");
}
