//! Which principal a service has: the requested one, unless the settings allow the name service a say (rules S17, S23).

use crate::support::dns::{NameServer, Zone};
use crate::support::ganesha::Ganesha;
use crate::support::netns::NetNamespace;
use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user};
use crate::support::process::Until;
use crate::support::realm::{Realm, RealmOptions};
use crate::support::scratch::Scratch;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::net::Ipv4Addr;

crate::trials![
    an_alias_leads_to_no_other_principal_whatever_krb5_conf_says,
    with_fallback_the_canonical_name_comes_second,
    with_yes_the_canonical_name_is_the_name,
];

/// Libdefaults of sites that have not considered this, and other ways to follow DNS.
const FOLLOWING: [&str; 3] = [
    "dns_canonicalize_hostname = true\n rdns = true",
    "dns_canonicalize_hostname = fallback\n rdns = true",
    "dns_canonicalize_hostname = false\n qualify_shortname = t.test",
];

/// A realm, its KDC, a server, and a name service with an alias of the server's host, all in a separate network.
struct World {
    net: NetNamespace,
    names: NameServer,
    realm: Realm,
    _directory: Scratch,
}

impl World {
    fn new() -> Self {
        let directory = Scratch::new();
        let net = NetNamespace::new(&directory.path(""));
        let realm = Realm::start_with(RealmOptions { netns: Some(&net), ..Default::default() });
        let zone = Zone {
            host: realm.host(),
            aliases: vec![realm.host().replace("srv.", "payroll.")],
            address: Ipv4Addr::new(192, 0, 2, 1),
        };
        let names = NameServer::start(&net, &zone);
        Self { net, names, realm, _directory: directory }
    }

    fn alias(&self) -> String {
        self.realm.host().replace("srv.", "payroll.")
    }

    /// A site whose krb5.conf maps both names to the realm.
    fn site(&self, libdefaults: &str) -> Site {
        let site = Site::new(&self.realm);
        site.libdefaults(libdefaults);
        let krb5 = fs::read_to_string(site.path("krb5.conf")).unwrap();
        let domain = format!("[domain_realm]\n {} = {}\n", self.alias(), self.realm.name());
        fs::write(site.path("krb5.conf"), krb5.replace("[domain_realm]\n", &domain)).unwrap();
        self.realm.ticket_in(&self.net, site.uid(), &format!("FILE:{}", site.default_cache().display()));
        site
    }

    fn ask(&self, site: &Site, target: &Target) -> Outcome {
        let mut steps = vec![Step::EnterNet { path: self.net.path() }];
        steps.extend(as_user(site.uid()));
        site.ask_after(steps, site.request(target))
    }

    /// How often the KDC was asked for a service on this host.
    fn requests_for(&self, host: &str) -> usize {
        let log = fs::read_to_string(self.realm.path("kdc.log")).unwrap();
        log.lines().filter(|line| line.contains(&format!(" for nfs/{host}@"))).count()
    }
}

fn an_alias_leads_to_no_other_principal_whatever_krb5_conf_says(_: &Shared) {
    let world = World::new();
    let nobody = Target::nfs(&format!("nfs@{}", world.alias()), 1);
    for how in FOLLOWING {
        let site = world.site(how);
        let outcome = world.ask(&site, &nobody);
        site.assert_failed(&outcome, Cause::UnknownService, &nobody);
    }
    assert_eq!(world.requests_for(&world.realm.host()), 0, "asked for the alias's target");
    assert!(world.requests_for(&world.alias()) >= FOLLOWING.len());
    assert!(world.names.asked().iter().all(|name| !name.contains("payroll")), "{:?}", world.names.asked());
    // A KDC that knows the alias gives a ticket for it.
    world.realm.administrate(&[format!("addprinc -randkey nfs/{}", world.alias())]);
    let site = world.site(FOLLOWING[0]);
    let outcome = world.ask(&site, &nobody);
    site.assert_failed(&outcome, Cause::ServerDown, &nobody);
    assert_eq!(world.requests_for(&world.realm.host()), 0, "asked for the alias's target");
}

fn with_fallback_the_canonical_name_comes_second(_: &Shared) {
    let world = World::new();
    let ganesha = Ganesha::start_in(&world.realm, Until::TestEnds, Some(&world.net));
    let aliased = ganesha.target().called(&format!("nfs@{}", world.alias()));
    let site = world.site(FOLLOWING[0]);
    site.add_settings("[kerberos]\ncanonicalize = \"fallback\"\n");
    assert_eq!(world.ask(&site, &aliased).context().handle.as_bytes().len(), 16);
    let line = site.log.wait_for_established(1);
    let answered = format!(" with nfs/{}@{}, ", world.realm.host(), world.realm.name());
    assert!(line.contains(&answered) && line.contains(&aliased.service), "{line}");
    assert!(world.requests_for(&world.alias()) >= 1 && world.requests_for(&world.realm.host()) == 1);
    // A name that the KDC knows is not looked up.
    let site = world.site(FOLLOWING[0]);
    site.add_settings("[kerberos]\ncanonicalize = \"fallback\"\n");
    let asked = world.names.asked().len();
    assert_eq!(world.ask(&site, ganesha.target()).context().handle.as_bytes().len(), 16);
    assert_eq!(world.names.asked().len(), asked, "{:?}", world.names.asked());
}

fn with_yes_the_canonical_name_is_the_name(_: &Shared) {
    let world = World::new();
    let ganesha = Ganesha::start_in(&world.realm, Until::TestEnds, Some(&world.net));
    let aliased = ganesha.target().called(&format!("nfs@{}", world.alias()));
    let site = world.site("dns_canonicalize_hostname = false");
    site.add_settings("[kerberos]\ncanonicalize = \"yes\"\n");
    assert_eq!(world.ask(&site, &aliased).context().handle.as_bytes().len(), 16);
    let line = site.log.wait_for_established(1);
    assert!(line.contains(&format!(" with nfs/{}@", world.realm.host())), "{line}");
    assert_eq!(world.requests_for(&world.alias()), 0);
}
