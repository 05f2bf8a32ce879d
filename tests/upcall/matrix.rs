//! Credential caches by type, by the implementation of Kerberos that wrote them, and by user: every cache that either
//! can write serves for a context, and each that knows the type sees the ticket that was stored.

use crate::support::kcm::Kcm;
use crate::support::outcome::Outcome;
use crate::support::persistent::PersistentRing;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::writers::{Writer, run};
use nix::errno::Errno;
use nix::unistd::{Uid, User};
use std::fs;
use std::os::unix::fs::chown;

crate::trials![
    a_file_that_either_writes_serves_and_both_see_the_new_ticket,
    a_collection_in_a_directory_that_either_writes_serves_and_both_see_the_new_ticket,
    one_cache_of_a_directory_that_either_writes_serves_and_both_see_the_new_ticket,
    a_cache_of_sssds_kcm_serves_and_both_see_the_new_ticket,
    a_cache_of_heimdals_kcm_that_either_writes_serves_and_both_see_the_new_ticket,
    a_cache_of_the_users_own_agent_that_either_writes_serves_and_both_see_the_new_ticket,
    keyring_caches_serve_and_show_the_new_ticket,
    a_service_ticket_that_heimdal_has_got_serves_without_a_kdc,
    heimdal_neither_writes_nor_reads_keyring_caches,
    heimdals_kinit_does_not_write_to_sssds_kcm,
    users_with_and_without_a_passwd_entry_are_served,
    caches_of_either_in_a_tmp_of_the_requesters_own_serve,
    a_file_of_roots_that_either_wrote_serves_root,
];

/// In one session of the user: `writer` gets a ticket, a request gets a context from it, then each of `readers` looks
/// at the cache.
fn story(shared: &Shared, site: &Site, cache: &str, parties: (Writer, &[Writer])) -> Vec<Step> {
    let (writer, readers) = parties;
    let mut steps = as_user(site.uid());
    steps.push(writer.gets_ticket(site, cache));
    steps.push(Step::Request(site.request_with(shared.nfs(), &format!("cache={cache}"))));
    steps.push(Step::Settle { within_ms: 30_000 });
    steps.extend(readers.iter().map(|reader| reader.sees(site, cache, &service(shared))));
    steps
}

/// The principal's name, without its realm.
fn service(shared: &Shared) -> String {
    shared.realm().service().replace('@', "/")
}

#[track_caller]
fn expect(shared: &Shared, site: &Site, mut probe: Probe) {
    let findings = probe.rest();
    let asked = findings.iter().position(|finding| matches!(finding, Finding::Requested { .. }));
    let asked = asked.unwrap_or_else(|| panic!("no request: {findings:?}"));
    call_null_with(&Outcome::of(&findings[asked..]).context(), shared.nfs());
    assert!(
        !matches!(findings.last(), Some(Finding::Broken { .. })),
        "the new ticket is not seen: {:?}",
        findings.last()
    );
    site.wait_until_idle();
}

/// Each of them writes, and both read.
#[track_caller]
fn expect_of_both(shared: &Shared, name: impl Fn(&Site) -> String) {
    for writer in Writer::BOTH {
        let site = Site::new(shared.realm());
        let steps = story(shared, &site, &name(&site), (writer, &Writer::BOTH));
        expect(shared, &site, Probe::start(&steps));
    }
}

fn a_file_that_either_writes_serves_and_both_see_the_new_ticket(shared: &Shared) {
    expect_of_both(shared, |site| site.cache("mine"));
}

fn collection(site: &Site) -> String {
    let directory = site.path("user").join("collection");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(site.uid()), Some(site.uid())).unwrap();
    directory.display().to_string()
}

fn a_collection_in_a_directory_that_either_writes_serves_and_both_see_the_new_ticket(shared: &Shared) {
    expect_of_both(shared, |site| format!("DIR:{}", collection(site)));
}

fn one_cache_of_a_directory_that_either_writes_serves_and_both_see_the_new_ticket(shared: &Shared) {
    expect_of_both(shared, |site| format!("DIR::{}/tktmine", collection(site)));
}

fn a_cache_of_sssds_kcm_serves_and_both_see_the_new_ticket(shared: &Shared) {
    let site = Site::new(shared.realm());
    expect_by_kcm(shared, &site, &Kcm::start(&site), Writer::Mit);
}

fn a_cache_of_heimdals_kcm_that_either_writes_serves_and_both_see_the_new_ticket(shared: &Shared) {
    for writer in Writer::BOTH {
        let site = Site::new(shared.realm());
        expect_by_kcm(shared, &site, &Kcm::start_heimdals(&site), writer);
    }
}

/// The tickets exist in the agent alone.
fn a_cache_of_the_users_own_agent_that_either_writes_serves_and_both_see_the_new_ticket(shared: &Shared) {
    for writer in Writer::BOTH {
        let site = Site::new(shared.realm());
        expect_by_kcm(shared, &site, &Kcm::start_agent(&site), writer);
    }
}

/// The daemon tells users apart by who connects, so only the request needs the requester's session.
#[track_caller]
fn expect_by_kcm(shared: &Shared, site: &Site, kcm: &Kcm, writer: Writer) {
    // Heimdal's programs do not know the short name of the default cache.
    let cache = format!("KCM:{}", site.uid());
    kcm.run(site, &writer.kinit(&cache)).unwrap();
    let outcome = site.ask_with(site.request_with(shared.nfs(), &format!("cache={cache}")));
    call_null_with(&outcome.context(), shared.nfs());
    site.wait_until_idle();
    for reader in Writer::BOTH {
        let listed = kcm.run(site, &reader.klist(&cache)).unwrap();
        assert!(listed.contains(&service(shared)), "{reader:?}: {listed}");
    }
}

fn keyring_caches_serve_and_show_the_new_ticket(shared: &Shared) {
    let site = Site::new(shared.realm());
    let _removed = PersistentRing(site.uid());
    for cache in keyring_caches(&site) {
        // Each round has its own session: in the previous one, the previous round's key would be found.
        let steps = story(shared, &site, &cache, (Writer::Mit, &[Writer::Mit]));
        expect(shared, &site, Probe::start(&steps));
    }
}

fn keyring_caches(site: &Site) -> [String; 3] {
    let persistent = format!("KEYRING:persistent:{}", site.uid());
    ["KEYRING:session:mine".to_owned(), "KEYRING:user:mine".to_owned(), persistent]
}

/// The ticket comes from kgetcred(1); the KDC in the upcall's configuration does not exist.
fn a_service_ticket_that_heimdal_has_got_serves_without_a_kdc(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = site.cache("mine");
    let mut steps = as_user(site.uid());
    steps.push(Writer::Heimdal.gets_ticket(&site, &cache));
    steps.push(run(&site, Writer::kgetcred(&cache, &service(shared))));
    steps.push(Step::Pause);
    steps.push(Step::Request(site.request_with(shared.nfs(), &format!("cache={cache}"))));
    steps.push(Step::Settle { within_ms: 30_000 });
    let mut probe = Probe::start(&steps);
    probe.until_pause();
    let unreachable = crate::support::ports::free_port();
    fs::write(site.path("krb5.conf"), shared.realm().krb5_conf_by(unreachable)).unwrap();
    probe.go_on();
    expect(shared, &site, probe);
}

/// So keyring caches have one writer and one reader to test.
fn heimdal_neither_writes_nor_reads_keyring_caches(shared: &Shared) {
    let site = Site::new(shared.realm());
    for cache in keyring_caches(&site) {
        for words in [Writer::Heimdal.kinit(&cache), Writer::Heimdal.klist(&cache)] {
            let said = Writer::refusal(shared.realm(), site.uid(), &words);
            assert!(said.contains(&format!("unknown ccache type {cache}")), "{said}");
        }
    }
}

/// Heimdal's kinit first removes a credential, which SSSD's daemon does not support; no ticket is left.
fn heimdals_kinit_does_not_write_to_sssds_kcm(shared: &Shared) {
    let site = Site::new(shared.realm());
    let kcm = Kcm::start(&site);
    let cache = format!("KCM:{}", site.uid());
    let said = kcm.run(&site, &Writer::Heimdal.kinit(&cache)).expect_err("it does");
    assert!(said.contains("krb5_init_creds_store"), "{said}");
    let outcome = site.ask_with(site.request_with(shared.nfs(), &format!("cache={cache}")));
    assert_eq!(outcome.errno(), Errno::ENOKEY);
}

/// The site's user has no entry; `nobody` has one on every machine.
fn users_with_and_without_a_passwd_entry_are_served(shared: &Shared) {
    let site = Site::new(shared.realm());
    let nobody = User::from_name("nobody").unwrap().expect("an entry for nobody").uid.as_raw();
    // To some services an entry that is not there is an error.
    assert_eq!(User::from_uid(Uid::from_raw(site.uid())).unwrap_or(None), None);
    let directory = site.path("nobody");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(nobody), Some(nobody)).unwrap();
    for (uid, cache) in
        [(site.uid(), site.cache("mine")), (nobody, format!("FILE:{}/mine", directory.display()))]
    {
        let mut request = site.request_as(&uid.to_string(), shared.nfs(), &format!(":{}", site.uid()));
        request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
        let mut steps = as_user(uid);
        steps.push(Writer::Mit.gets_ticket(&site, &cache));
        call_null_with(&site.ask_after(steps, request).context(), shared.nfs());
        site.log.wait_for_words(&["established", &format!("uid {uid} ")]);
    }
}

/// Neither the files nor the directory exist on the host.
fn caches_of_either_in_a_tmp_of_the_requesters_own_serve(shared: &Shared) {
    let site = Site::new(shared.realm());
    let directory = format!("/tmp/lgss-test-{}", site.uid());
    for (number, writer) in Writer::BOTH.into_iter().enumerate() {
        for cache in [format!("FILE:{directory}/file{number}"), format!("DIR:{directory}/collection{number}")]
        {
            let mut steps = vec![Step::PrivateDirectory { directory: "/tmp".to_owned(), files: Vec::new() }];
            let mut told = story(shared, &site, &cache, (writer, &Writer::BOTH));
            let made = ["mkdir", "-p", "-m", "0700", &format!("{directory}/collection{number}")];
            told.insert(2, run(&site, made.map(str::to_owned).to_vec()));
            steps.extend(told);
            expect(shared, &site, Probe::start(&steps));
            assert!(!fs::exists(&directory).unwrap(), "it is on the host");
        }
    }
}

/// The machine user reads a copy, whichever implementation wrote it.
fn a_file_of_roots_that_either_wrote_serves_root(shared: &Shared) {
    let site = Site::new(shared.realm());
    for (number, writer) in Writer::BOTH.into_iter().enumerate() {
        let cache = format!("FILE:{}", site.path(&format!("root{number}")).display());
        let mut request = site.request_as("0", shared.nfs(), &format!(":{}-{number}", site.uid()));
        request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
        let steps = vec![Step::JoinSession, writer.gets_ticket(&site, &cache)];
        call_null_with(&site.ask_after(steps, request).context(), shared.nfs());
        site.log.wait_for_words(&["established", &cache]);
    }
}
