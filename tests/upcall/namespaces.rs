//! Requesters in containers: served in their network and from their cache; everything else is the host's.

use crate::plan::PlantedFile;
use crate::support::ganesha::Ganesha;
use crate::support::netns::NetNamespace;
use crate::support::probe::Step;
use crate::support::process::Until;
use crate::support::realm::{Realm, RealmOptions};
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::fs;

crate::trials![
    a_requester_with_a_network_of_its_own_is_served_there,
    a_cache_that_only_the_requester_sees_is_used,
    a_requester_in_another_network_cannot_reach_the_hosts,
    files_of_the_requesters_file_system_are_no_configuration,
    a_link_in_the_requesters_file_system_does_not_lead_to_the_hosts_files,
];

fn user(site: &Site) -> [Step; 2] {
    let uid = site.uid();
    [Step::Ids { uid: [uid; 3], gid: [uid; 3] }, Step::JoinSession]
}

/// Takes the cache away from where the host would find it; returns its contents.
fn take_cache(site: &Site) -> Vec<u8> {
    let content = fs::read(site.default_cache()).unwrap();
    fs::remove_file(site.default_cache()).unwrap();
    content
}

fn private_tmp(files: Vec<PlantedFile>) -> Step {
    Step::PrivateDirectory { directory: "/tmp".to_owned(), files }
}

fn planted(site: &Site, content: Vec<u8>) -> PlantedFile {
    PlantedFile { path: site.default_cache().display().to_string(), owner: site.uid(), mode: 0o600, content }
}

/// KDC and server exist only in the requester's network, the cache only in its file system.
fn a_requester_with_a_network_of_its_own_is_served_there(_: &Shared) {
    let directory = crate::support::scratch::Scratch::new();
    let net = NetNamespace::new(&directory.path(""));
    let realm = Realm::start_with(RealmOptions { netns: Some(&net), ..Default::default() });
    let ganesha = Ganesha::start_in(&realm, Until::TestEnds, Some(&net));
    let site = Site::new(&realm);
    let steps = |files| {
        let mut steps = vec![private_tmp(files), Step::EnterNet { path: net.path() }];
        steps.extend(user(&site));
        steps
    };
    realm.ticket_in(&net, site.uid(), &site.cache("tgt"));
    let content = fs::read(site.path("user").join("tgt")).unwrap();
    let outcome = site.ask_after(steps(vec![planted(&site, content)]), site.request(ganesha.target()));
    assert_eq!(outcome.context().handle.as_bytes().len(), 16);
    // Without the cache, it is the cache that is missing.
    let outcome = site.ask_after(steps(Vec::new()), site.request(ganesha.target()));
    assert_eq!(outcome.errno(), Errno::ENOKEY);
    site.wait_until_idle();
}

fn a_cache_that_only_the_requester_sees_is_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let content = take_cache(&site);
    let mut steps = vec![private_tmp(vec![planted(&site, content)])];
    steps.extend(user(&site));
    crate::support::rpc::call_null_with(
        &site.ask_after(steps, site.request(shared.nfs())).context(),
        shared.nfs(),
    );
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY, "the host has no such cache");
}

fn a_requester_in_another_network_cannot_reach_the_hosts(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let net = NetNamespace::new(&site.path(""));
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(user(&site));
    let outcome = site.ask_after(steps, site.request(shared.nfs()));
    site.assert_failed(&outcome, Cause::KdcDown, shared.nfs());
}

/// A krb5.conf, a resolver configuration, a library and a preload list in the requester's /etc have no effect.
fn files_of_the_requesters_file_system_are_no_configuration(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let file = |path: &str, content: &str| PlantedFile {
        path: path.to_owned(),
        owner: 0,
        mode: 0o644,
        content: content.as_bytes().to_vec(),
    };
    let planted = vec![
        file(
            "/etc/krb5.conf",
            "[libdefaults]\n default_realm = EVIL.TEST\n default_ccache_name = FILE:/etc/shadow\n",
        ),
        file("/etc/ld.so.preload", "/etc/evil.so\n"),
        file("/etc/nsswitch.conf", "hosts: evil\n"),
        file("/etc/request-key.conf", "create user * * /bin/false\n"),
    ];
    let mut steps = vec![Step::PrivateDirectory { directory: "/etc".to_owned(), files: planted }];
    steps.extend(user(&site));
    crate::support::rpc::call_null_with(
        &site.ask_after(steps, site.request(shared.nfs())).context(),
        shared.nfs(),
    );
}

/// The user has made the root directory; its links point outside.
fn a_link_in_the_requesters_file_system_does_not_lead_to_the_hosts_files(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().ticket(site.uid(), &site.cache("tgt"));
    let cache = site.path("user").join("tgt");
    let jail = site.path("jail");
    fs::create_dir(&jail).unwrap();
    // `/link` in the jail points to the site's directory on the host, and `..` leads out of the jail.
    std::os::unix::fs::symlink(site.path("user"), jail.join("link")).unwrap();
    std::os::unix::fs::symlink("../user", jail.join("up")).unwrap();
    for name in ["FILE:/link/tgt", "FILE:/up/tgt", "DIR::/link/tgt"] {
        let mut steps = vec![Step::Chroot { path: jail.display().to_string() }];
        steps.extend(user(&site));
        let outcome = site.ask_after(steps, site.request_with(shared.nfs(), &format!("cache={name}")));
        assert_eq!(outcome.errno(), Errno::ENOKEY, "{name}; log {:#?}", site.log.lines());
    }
    // A copy inside the jail is found.
    fs::copy(&cache, jail.join("tgt")).unwrap();
    std::os::unix::fs::chown(jail.join("tgt"), Some(site.uid()), Some(site.uid())).unwrap();
    let mut steps = vec![Step::Chroot { path: jail.display().to_string() }];
    steps.extend(user(&site));
    let outcome = site.ask_after(steps, site.request_with(shared.nfs(), "cache=FILE:/tgt"));
    crate::support::rpc::call_null_with(&outcome.context(), shared.nfs());
}
