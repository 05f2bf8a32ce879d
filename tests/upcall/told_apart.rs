//! Failures that an administrator repairs in different places have different causes, words and remedies.

use crate::support::node::{Ask, Node};
use crate::support::realm::Realm;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

crate::trials![
    a_program_or_version_that_the_server_does_not_have_is_no_matter_of_keytabs,
    a_realm_without_kdcs_says_domain_realm,
    a_host_of_no_realm_says_domain_realm,
    a_kdc_whose_name_has_no_address_is_told_by_its_name,
    a_service_that_may_have_no_tickets_is_told_from_an_unknown_one,
    what_the_kdc_says_of_a_client_is_told,
    a_ticket_that_the_kdc_can_no_longer_read_asks_for_a_new_one,
    a_locked_account_is_told_when_the_kdc_says_so,
    the_debug_log_tells_names_kdcs_servers_and_caches,
];

fn ready(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site
}

/// Replaces a part of the site's krb5.conf.
fn replace(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(site.path("krb5.conf"), text.replace(from, to)).unwrap();
}

fn a_program_or_version_that_the_server_does_not_have_is_no_matter_of_keytabs(shared: &Shared) {
    let nfs = shared.nfs();
    for (target, words) in [
        (Target { program: 100_099, ..nfs.clone() }, "server does not have the program"),
        (Target { version: 99, ..nfs.clone() }, "server has the program in version"),
    ] {
        let site = ready(shared);
        let outcome = site.ask(&target);
        site.assert_failed(&outcome, Cause::WrongProgram, &target);
        let line = site.log.wait_for_words(&["negotiate: ", words]);
        assert!(!line.contains("keytab"), "{line}");
    }
}

fn a_realm_without_kdcs_says_domain_realm(shared: &Shared) {
    let (site, realm) = (ready(shared), shared.realm());
    let host = realm.host();
    replace(&site, &format!(" {host} = {}", realm.name()), &format!(" {host} = NOWHERE.TEST"));
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::UnknownService, shared.nfs());
    site.log.wait_for_words(&["kdc: ", "NOWHERE.TEST", "[domain_realm]"]);
    // The client's own realm is missing.
    replace(&site, &format!(" {} = {{", realm.name()), " OTHER.TEST = {");
    let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":own"));
    assert_eq!(outcome.errno(), Cause::UnknownRealm.errno(), "log: {:#?}", site.log.lines());
    site.log.wait_for_words(&["kdc: ", realm.name().as_str(), Cause::UnknownRealm.remedy()]);
}

fn a_host_of_no_realm_says_domain_realm(shared: &Shared) {
    let site = ready(shared);
    let unmapped = shared.nfs().called("nfs@files.elsewhere.test");
    let outcome = site.ask(&unmapped);
    assert!(outcome.errno() != nix::errno::Errno::ETIMEDOUT, "log: {:#?}", site.log.lines());
    site.log.wait_for_words(&[
        "nfs/files.elsewhere.test",
        "krb5.conf has no realm for this host in [domain_realm]",
    ]);
}

fn a_kdc_whose_name_has_no_address_is_told_by_its_name(shared: &Shared) {
    let site = ready(shared);
    let here = format!(" kdc = 127.0.0.1:{}", shared.realm().kdc_port());
    replace(&site, &here, " kdc = no-such-kdc.invalid");
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::KdcUnresolved, shared.nfs());
    site.log.wait_for_words(&["kdc: ", "name no-such-kdc.invalid not found"]);
}

/// MIT's KDC has two error numbers for this; one of them is "unknown service", which has nothing to do with
/// [domain_realm].
fn a_service_that_may_have_no_tickets_is_told_from_an_unknown_one(_: &Shared) {
    for (attribute, said) in [("-allow_svr", "SERVER NOT ALLOWED"), ("-allow_tix", "SERVER LOCKED OUT")] {
        let realm = Realm::start();
        let site = Site::new(&realm);
        site.ticket(&realm);
        realm.administrate(&[format!("modprinc {attribute} nfs/{}", realm.host())]);
        let target = Target::nfs(&realm.service(), 1);
        let outcome = site.ask(&target);
        site.assert_failed(&outcome, Cause::ServiceClosed, &target);
        let line = site.log.wait_for_words(&["kdc: ", &format!("the KDC says \"{said}\"")]);
        assert!(!line.contains("domain_realm"), "{line}");
        let unknown = target.called(&format!("nosuch@{}", realm.host()));
        let outcome = site.ask(&unknown);
        site.assert_failed(&outcome, Cause::UnknownService, &unknown);
        site.log.wait_for_words(&["kdc: ", "nosuch/", "[domain_realm]"]);
    }
}

/// MIT's KDC serves a locked client until its ticket ends; other KDCs refuse at once.
fn what_the_kdc_says_of_a_client_is_told(shared: &Shared) {
    // Error numbers of RFC 4120 §7.5.9.
    for (number, cause, said) in [
        (18, Cause::ClientRevoked, "CLIENT LOCKED OUT"),
        (1, Cause::ClientExpired, "CLIENT EXPIRED"),
        (23, Cause::ClientExpired, "CLIENT KEY EXPIRED"),
        (12, Cause::KdcPolicy, "not before nine"),
    ] {
        let site = ready(shared);
        let kdc = UdpSocket::bind("127.0.0.1:0").unwrap();
        let here = format!("127.0.0.1:{}", shared.realm().kdc_port());
        replace(&site, &here, &kdc.local_addr().unwrap().to_string());
        let answer = krb_error(number, &shared.realm().name(), said);
        kdc.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let outcome = std::thread::scope(|scope| {
            let asking = scope.spawn(|| site.ask(shared.nfs()));
            while !asking.is_finished() {
                if let Ok((_, from)) = kdc.recv_from(&mut [0; 8192]) {
                    kdc.send_to(&answer, from).unwrap();
                }
            }
            asking.join().unwrap()
        });
        site.assert_failed(&outcome, cause, shared.nfs());
        site.log.wait_for_words(&["kdc: ", &format!("the KDC says \"{said}\"")]);
    }
}

/// A KRB-ERROR (RFC 4120 §5.9.1) that names no client.
fn krb_error(number: u8, realm: &str, text: &str) -> Vec<u8> {
    let der = |tag: u8, content: Vec<u8>| {
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, content].concat()
    };
    let field = |number: u8, inner: Vec<u8>| der(0xa0 + number, inner);
    let number_of = |value: u8| der(0x02, vec![value]);
    let string = |text: &str| der(0x1b, text.as_bytes().to_vec());
    let names = der(0x30, [string("krbtgt"), string(realm)].concat());
    let server = der(0x30, [field(0, number_of(2)), field(1, names)].concat());
    let fields = [
        field(0, number_of(5)),
        field(1, number_of(30)),
        field(4, der(0x18, b"20261121141402Z".to_vec())),
        field(5, number_of(7)),
        field(6, number_of(number)),
        field(9, string(realm)),
        field(10, server),
        field(11, string(text)),
    ];
    der(0x7e, der(0x30, fields.concat()))
}

fn a_ticket_that_the_kdc_can_no_longer_read_asks_for_a_new_one(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.administrate(&[format!("cpw -randkey krbtgt/{}", realm.name())]);
    let target = Target::nfs(&realm.service(), 1);
    let outcome = site.ask(&target);
    site.assert_failed(&outcome, Cause::TicketRejected, &target);
    site.log.wait_for_words(&["perhaps of an old key", "get a new ticket with kinit"]);
}

fn a_locked_account_is_told_when_the_kdc_says_so(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("lustre_root/@H");
    let name = format!("lustre_root/{}@{}", node.host(), node.realm.name());
    node.realm.administrate(&[format!("modprinc -allow_tix {name}")]);
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&keytab), ..Ask::default() });
    let detail = answer.failure("kdc", "client_revoked");
    assert!(detail.contains(&name), "{detail}");
    for other in [Cause::KdcRefused, Cause::UnknownService, Cause::KdcPolicy, Cause::TicketRejected] {
        assert!(!other.remedy().contains("unlock"), "{other:?}: {}", other.remedy());
    }
}

fn the_debug_log_tells_names_kdcs_servers_and_caches(shared: &Shared) {
    let site = ready(shared);
    assert!(site.ask(shared.nfs()).context().handle.as_bytes().len() == 16);
    site.log.wait_for_established(1);
    assert!(site.log.lines().iter().all(|line| !line.contains(": tried: ")), "{:#?}", site.log.lines());
    let settings = fs::read_to_string(site.path("lgss.toml")).unwrap();
    fs::write(site.path("lgss.toml"), settings.replace("level = \"info\"", "level = \"debug\"")).unwrap();
    let _ = fs::remove_file(site.default_cache());
    site.ticket(shared.realm());
    let again = site.request_as(&site.uid().to_string(), shared.nfs(), ":again");
    assert!(site.ask_with(again).context().handle.as_bytes().len() == 16);
    let line = site.log.wait_for_words(&[": tried: "]);
    for part in [
        format!("reads FILE:{}", site.default_cache().display()),
        format!("request to the KDC of {}", shared.realm().name()),
        format!("127.0.0.1:{}: asked by ", shared.realm().kdc_port()),
        format!("127.0.0.1:{}: has answered", shared.realm().kdc_port()),
        "looks up 127.0.0.1".to_owned(),
        format!("connects to 127.0.0.1:{}", shared.nfs().port),
    ] {
        assert!(line.contains(&part), "{part} is not in {line}");
    }
    assert!(!line.contains("aes256"), "{line}");
}
