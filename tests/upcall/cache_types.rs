//! Every type of credential cache that outlives a process.

use crate::support::kcm::Kcm;
use crate::support::persistent::PersistentRing;
use crate::support::probe::{Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::chown;

crate::trials![
    a_file_named_by_the_request_is_used,
    a_directory_collection_is_used,
    one_cache_of_a_directory_collection_is_used,
    a_cache_in_the_session_keyring_is_used,
    a_cache_in_the_user_keyring_is_used,
    a_cache_in_the_persistent_keyring_is_used,
    a_keyring_cache_of_root_is_used,
    a_cache_of_the_kcm_daemon_is_used,
    the_default_name_of_krb5_conf_is_used,
    the_session_keyring_of_another_does_not_help,
    a_session_inherited_from_root_gives_no_ticket_of_roots,
];

/// The user gets a ticket into `cache`, in its own session, and then asks for a context with `cache=`.
#[track_caller]
fn expect_served_from(shared: &Shared, site: &Site, cache: &str) {
    let mut steps = as_user(site.uid());
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), cache));
    let outcome = site.ask_after(steps, site.request_with(shared.nfs(), &format!("cache={cache}")));
    call_null_with(&outcome.context(), shared.nfs());
    site.wait_until_idle();
}

fn a_file_named_by_the_request_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    expect_served_from(shared, &site, &site.cache("mine"));
}

fn a_directory_collection_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let directory = site.path("user").join("collection");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(site.uid()), Some(site.uid())).unwrap();
    expect_served_from(shared, &site, &format!("DIR:{}", directory.display()));
}

fn one_cache_of_a_directory_collection_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let directory = site.path("user").join("collection");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(site.uid()), Some(site.uid())).unwrap();
    expect_served_from(shared, &site, &format!("DIR::{}/tktmine", directory.display()));
}

fn a_cache_in_the_session_keyring_is_used(shared: &Shared) {
    expect_served_from(shared, &Site::new(shared.realm()), "KEYRING:session:mine");
}

fn a_cache_in_the_user_keyring_is_used(shared: &Shared) {
    expect_served_from(shared, &Site::new(shared.realm()), "KEYRING:user:mine");
}

fn a_cache_in_the_persistent_keyring_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("KEYRING:persistent:{}", site.uid());
    let _removed = PersistentRing(site.uid());
    expect_served_from(shared, &site, &cache);
}

/// The worker for root runs as another user, who cannot reach root's keyrings, and gets a copy.
fn a_keyring_cache_of_root_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("KEYRING:session:lgss{}", site.uid());
    let mut request = site.request_as("0", shared.nfs(), &format!(":{}", site.uid()));
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    let steps = vec![Step::JoinSession, shared.realm().kinit(&site.path("krb5.conf"), &cache)];
    call_null_with(&site.ask_after(steps, request).context(), shared.nfs());
    site.log.wait_for_words(&["established", &cache]);
    site.wait_until_idle();
}

fn a_cache_of_the_kcm_daemon_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let _kcm = Kcm::start(&site);
    expect_served_from(shared, &site, "KCM:");
}

fn the_default_name_of_krb5_conf_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let default =
        format!("[libdefaults]\n default_ccache_name = FILE:{}/%{{uid}}\n", site.path("user").display());
    let krb5 = fs::read_to_string(site.path("krb5.conf")).unwrap();
    fs::write(site.path("krb5.conf"), krb5.replacen("[libdefaults]\n", &default, 1)).unwrap();
    shared.realm().ticket(site.uid(), &site.cache(&site.uid().to_string()));
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
}

/// The cache is in one session of the user; the request comes from another session.
fn the_session_keyring_of_another_does_not_help(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut steps = as_user(site.uid());
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KEYRING:session:mine"));
    steps.push(Step::JoinSession);
    let outcome = site.ask_after(steps, site.request_with(shared.nfs(), "cache=KEYRING:session:mine"));
    assert_eq!(outcome.errno(), Errno::ENOKEY);
}

/// As with su(1), which makes no new session: root's credentials there stay root's, whether named or not.
fn a_session_inherited_from_root_gives_no_ticket_of_roots(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("KEYRING:session:lgss{}", site.uid());
    for mut request in
        [site.request_with(shared.nfs(), &format!("cache={cache}")), site.request(shared.nfs())]
    {
        // Into the process keyring: in root's session not even the context would belong to the user.
        request.ring = -2;
        let steps = vec![
            Step::JoinSession,
            shared.realm().kinit(&site.path("krb5.conf"), &cache),
            Step::Ids { uid: [site.uid(); 3], gid: [site.uid(); 3] },
        ];
        assert_eq!(site.ask_after(steps, request).errno(), Errno::ENOKEY);
    }
}
