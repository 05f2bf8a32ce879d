//! Credentials other than a whole cache: a ticket-granting ticket in a single key, a service ticket alone, a user's
//! keytab.

use crate::support::cache_file::{CacheFile, plant};
use crate::support::ports::free_port;
use crate::support::probe::{Request, Step, as_user};
use crate::support::process::{command_as, succeed};
use crate::support::realm::Realm;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

crate::trials![
    a_ticket_that_is_one_key_serves_from_session_and_user_keyring,
    a_key_that_is_no_ticket_is_passed_over_with_a_reason,
    a_service_ticket_without_a_granting_one_serves_without_a_kdc,
    a_users_keytab_serves_where_no_cache_does_with_one_request_to_the_kdc_each_time,
    a_keytab_that_others_could_have_written_is_passed_over_with_a_reason,
];

/// The user's ticket, from its file.
fn ticket(shared: &Shared, site: &Site) -> CacheFile {
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    CacheFile::read(&site.path("user").join("mine"))
}

fn key_name(realm: &Realm) -> String {
    format!("krbtgt/{0}@{0}", realm.name())
}

/// Adds a key with the contents of a file to a keyring.
fn add_key(site: &Site, content: &[u8], name: &str, ring: &str) -> Step {
    let path = site.path("user").join("payload");
    plant(&path, content, site.uid());
    let script = r#"keyctl padd user "$1" "$2" <"$3""#;
    let words = ["sh", "-c", script, "sh", name, ring, &path.display().to_string()];
    Step::Run { words: words.map(str::to_owned).to_vec(), input: String::new() }
}

fn a_ticket_that_is_one_key_serves_from_session_and_user_keyring(shared: &Shared) {
    let name = key_name(shared.realm());
    for (word, ring) in [("session", "@s"), ("user", "@u")] {
        for whole_file in [true, false] {
            let site = Site::new(shared.realm());
            let file = ticket(shared, &site).only("krbtgt/");
            let content = if whole_file { file.bytes() } else { file.credentials[0].bytes.clone() };
            let mut steps = as_user(site.uid());
            steps.push(add_key(&site, &content, &name, ring));
            let outcome = site.ask_after(steps, site.request(shared.nfs()));
            call_null_with(&outcome.context(), shared.nfs());
            let place = format!(" in \"key {name} in the {word} keyring\", ");
            site.log.wait_for_words(&["chosen: alice@", &place]);
        }
    }
}

fn a_key_that_is_no_ticket_is_passed_over_with_a_reason(shared: &Shared) {
    let name = key_name(shared.realm());
    let good = {
        let site = Site::new(shared.realm());
        ticket(shared, &site).only("krbtgt/")
    };
    let credential = &good.credentials[0].bytes;
    let noise: Vec<u8> = (0u32..2000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let contents = [
        b"x".to_vec(),
        noise.clone(),
        [b"\x05\x04".as_slice(), &noise].concat(),
        credential[..credential.len() / 2].to_vec(),
        [&[0, 0, 0, 1, 0, 0, 0, 16], [0xff; 64].as_slice()].concat(),
    ];
    for content in contents {
        let site = Site::new(shared.realm());
        site.ticket(shared.realm());
        let mut steps = as_user(site.uid());
        steps.push(add_key(&site, &content, &name, "@s"));
        drop(site.ask_after(steps, site.request(shared.nfs())).context());
        let told = site.log.wait_for_words(&["chosen: alice@", "; not: "]);
        let place = format!("\"key {name} in the session keyring\": ");
        let reason = told.split_once(&place).map(|(_, reason)| reason.split(';').next().unwrap().trim());
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{told}");
        assert_eq!(told.lines().count(), 1);
    }
}

fn a_service_ticket_without_a_granting_one_serves_without_a_kdc(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    let service = shared.realm().service().replace('@', "/");
    let mut kvno = command_as(site.uid(), "kvno");
    kvno.envs(shared.realm().environment()).args(["-c", &site.cache("mine"), &service]);
    succeed(&mut kvno, "");
    let file = CacheFile::read(&site.path("user").join("mine")).only(&service);
    file.write(&site.default_cache(), site.uid());
    // These sockets take the place of the KDC and would notice a request.
    let port = free_port();
    fs::write(site.path("krb5.conf"), shared.realm().krb5_conf_by(port)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    site.wait_until_idle();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    assert!(udp.recv(&mut [0; 64]).is_err() && tcp.accept().is_err(), "a KDC was asked");
}

/// A site with a keytab of its user, for a principal that is unique to the test.
fn site_with_keytab(shared: &Shared) -> (Site, PathBuf, String) {
    let site = Site::with(shared.realm(), &Settings::default());
    let setting = site.path("%{uid}.keytab");
    site.add_settings(&format!("[caches]\nclient_keytab = \"{}\"\n", setting.display()));
    let keytab = site.path(&format!("{}.keytab", site.uid()));
    let principal = format!("job{}", site.uid());
    shared.realm().administrate(&[
        format!("addprinc -randkey {principal}"),
        format!("ktadd -k {} {principal}", keytab.display()),
    ]);
    chown(&keytab, Some(site.uid()), Some(site.uid())).unwrap();
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o600)).unwrap();
    (site, keytab, principal)
}

fn request(shared: &Shared, site: &Site, instance: &str) -> Request {
    site.request_as(&site.uid().to_string(), shared.nfs(), instance)
}

/// How often the KDC was asked for a ticket-granting ticket of this principal.
fn granted(shared: &Shared, principal: &str) -> usize {
    let log = fs::read_to_string(shared.realm().path("kdc.log")).unwrap();
    let client = format!(" {principal}@");
    log.lines().filter(|line| line.contains("AS_REQ") && line.contains(&client)).count()
}

fn a_users_keytab_serves_where_no_cache_does_with_one_request_to_the_kdc_each_time(shared: &Shared) {
    let (site, keytab, principal) = site_with_keytab(shared);
    for number in 1..=2 {
        let outcome = site.ask_with(request(shared, &site, &format!(":{number}")));
        call_null_with(&outcome.context(), shared.nfs());
        site.wait_until_idle();
        assert_eq!(granted(shared, &principal), number);
    }
    let place = format!("{principal}@{} in FILE:{}", shared.realm().name(), keytab.display());
    site.log.wait_for_words(&["established", &place]);
    site.log.wait_for_words(&[&format!("chosen: {place}; not: FILE:{}: ", site.default_cache().display())]);
    // A usable cache takes precedence.
    site.ticket(shared.realm());
    drop(site.ask_with(request(shared, &site, ":cache")).context());
    site.log.wait_for_words(&["established", &format!("in FILE:{}", site.default_cache().display())]);
    assert_eq!(granted(shared, &principal), 2);
}

fn a_keytab_that_others_could_have_written_is_passed_over_with_a_reason(shared: &Shared) {
    let (site, keytab, principal) = site_with_keytab(shared);
    let others = (site.machine_uid(), 0o644, "belongs to somebody else");
    for (number, (owner, mode, reason)) in
        [others, (site.uid(), 0o620, "is writable by others")].into_iter().enumerate()
    {
        chown(&keytab, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&keytab, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = site.ask_with(request(shared, &site, &format!(":{number}")));
        site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
        site.log.wait_for_words(&["no credentials: ", &format!("{} {reason}", keytab.display())]);
    }
    assert_eq!(granted(shared, &principal), 0);
}
