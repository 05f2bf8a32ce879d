use super::*;
use crate::config::Lustre;
use crate::negotiate::nid_host::program::tests::Site;
use std::collections::BTreeMap;
use std::time::Duration;

/// A name service with a few entries: name to addresses, and address to name.
#[derive(Default)]
struct FakeNames {
    names: BTreeMap<Ipv4Addr, &'static str>,
    addresses: BTreeMap<&'static str, Vec<&'static str>>,
    host: &'static str,
    canonical: &'static str,
}

impl NameService for FakeNames {
    fn name_of(&self, address: Ipv4Addr) -> io::Result<String> {
        self.names
            .get(&address)
            .map(|name| (*name).to_owned())
            .ok_or_else(|| io::Error::other("no such name"))
    }

    fn addresses_of(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.addresses.get(name).ok_or_else(|| io::Error::other("no such host"))?;
        Ok(found.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn canonical_name(&self, name: &str) -> io::Result<String> {
        if name == self.host { Ok(self.canonical.to_owned()) } else { Err(io::Error::other("no such host")) }
    }

    fn host_name(&self) -> io::Result<String> {
        Ok(self.host.to_owned())
    }
}

fn names(name: &'static str, addresses: &[&'static str]) -> FakeNames {
    let forward = name.trim_end_matches('.');
    FakeNames {
        names: [(Ipv4Addr::new(10, 0, 0, 1), name)].into(),
        addresses: [(forward, addresses.to_vec())].into(),
        host: "node1",
        canonical: "Node1.Example.COM.",
    }
}

fn lookup(nid: &str) -> HostLookup {
    HostLookup::new(nid.parse().unwrap(), &Lustre::default())
}

fn host(lookup: &HostLookup, names: &FakeNames) -> Result<String, Failure> {
    lookup.host(names, Instant::now() + Duration::from_secs(5))
}

#[track_caller]
fn refused(result: Result<String, Failure>, cause: Cause, part: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Resolve, cause), "{failure}");
    assert!(failure.detail.contains(part), "{failure}");
}

#[test]
fn an_address_has_the_name_that_leads_back_to_it() {
    let names = names("mds1.example.com", &["fe80::1", "10.0.0.9", "10.0.0.1"]);
    for nid in ["10.0.0.1@tcp", "10.0.0.1@o2ib3", "167772161@kfi", "10.0.0.1@efa"] {
        assert_eq!(host(&lookup(nid), &names).unwrap(), "mds1.example.com", "{nid}");
    }
    refused(
        host(&lookup("10.0.0.2@tcp"), &names),
        Cause::UnnamedNid,
        "10.0.0.2@tcp: name of 10.0.0.2: no such name",
    );
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_unless_it_is_to_be_trusted() {
    let elsewhere = names("mds1.example.com", &["10.0.0.9"]);
    let nowhere = FakeNames { addresses: BTreeMap::new(), ..names("mds1.example.com", &[]) };
    let mut lookup = lookup("10.0.0.1@tcp");
    refused(host(&lookup, &elsewhere), Cause::UnconfirmedName, "but mds1.example.com is 10.0.0.9 (S17)");
    refused(host(&lookup, &nowhere), Cause::UnconfirmedName, "no such host (S17)");
    lookup.trust_unconfirmed_names = true;
    for names in [elsewhere, nowhere] {
        assert_eq!(host(&lookup, &names).unwrap(), "mds1.example.com");
    }
}

#[test]
fn the_settings_come_before_the_name_service() {
    let mut settings = Lustre::default();
    let nid: Nid = "10.0.0.1@tcp".parse().unwrap();
    settings.nids.insert(nid, "Mapped.example.com".to_owned());
    let names = names("mds1.example.com", &["10.0.0.1"]);
    assert_eq!(host(&HostLookup::new(nid, &settings), &names).unwrap(), "mapped.example.com");
    assert_eq!(
        host(&HostLookup::new("10.0.0.1@tcp1".parse().unwrap(), &settings), &names).unwrap(),
        "mds1.example.com"
    );
    settings.nids.insert(nid, "no name".to_owned());
    refused(
        host(&HostLookup::new(nid, &settings), &names),
        Cause::UnnamedNid,
        "[lustre.nids] gives \"no name\"",
    );
}

#[test]
fn the_name_of_a_hook_comes_after_the_settings_and_is_confirmed_like_the_name_services() {
    let names = names("mds1.example.com", &["10.0.0.1"]);
    let hooked = |nid, name: &str| HostLookup { proposed: Some(name.to_owned()), ..lookup(nid) };
    // Whatever the name service says of the address.
    let other = FakeNames { addresses: [("mds2.example.com", vec!["10.0.0.1"])].into(), ..names };
    assert_eq!(host(&hooked("10.0.0.1@tcp", "MDS2.example.com."), &other).unwrap(), "mds2.example.com");
    refused(
        host(&hooked("10.0.0.3@tcp", "mds2.example.com"), &other),
        Cause::UnconfirmedName,
        "is 10.0.0.1 (S17)",
    );
    refused(host(&hooked("10.0.0.1@tcp", "mds9"), &other), Cause::UnconfirmedName, "no such host (S17)");
    let trusted = HostLookup { trust_unconfirmed_names: true, ..hooked("10.0.0.3@tcp", "mds9") };
    assert_eq!(host(&trusted, &other).unwrap(), "mds9");
    // An address that is none of the Internet's leads nowhere.
    assert_eq!(host(&hooked("7@ptlf", "mds7"), &other).unwrap(), "mds7");
    assert!(!hooked("7@ptlf", "mds7").is_by_program() && lookup("7@ptlf").is_by_program());
    let configured = HostLookup { configured: Some("mds1".to_owned()), ..hooked("7@ptlf", "mds7") };
    assert_eq!(host(&configured, &other).unwrap(), "mds1");
    for bad in ["", "a b", "mds1/x@REALM", "-x", "mds1\n", &"x".repeat(300)] {
        refused(host(&hooked("7@ptlf", bad), &other), Cause::UnnamedNid, "the hook gives ");
    }
}

#[test]
fn this_node_has_its_name_in_full() {
    let names = names("mds1", &[]);
    assert_eq!(host(&lookup("0@lo"), &names).unwrap(), "node1.example.com");
    refused(host(&lookup("1@lo"), &names), Cause::UnnamedNid, "1@lo: an identifier of this machine itself");
    refused(
        own_host(&FakeNames { host: "other", canonical: "a b", ..names }),
        Cause::UnnamedNid,
        "this machine",
    );
}

#[test]
fn what_cannot_be_a_host_name_is_none() {
    for name in ["", "a b", "-x", "a/b@C", "mds1\n", "mds1;id", &"a".repeat(300)] {
        let lookup = HostLookup { configured: Some(name.to_owned()), ..lookup("10.0.0.1@tcp") };
        refused(host(&lookup, &FakeNames::default()), Cause::UnnamedNid, "no host name");
    }
    assert_eq!(host(&lookup("10.0.0.1@tcp"), &names("mds1.", &["10.0.0.1"])).unwrap(), "mds1");
}

#[test]
fn identifiers_that_name_no_node_are_refused() {
    refused(host(&lookup("0xffffffffffffffff"), &FakeNames::default()), Cause::UnnamedNid, "any node");
    refused(
        host(&lookup("0x63000000000001"), &FakeNames::default()),
        Cause::UnnamedNid,
        "driver is not known",
    );
}

#[test]
fn other_drivers_are_for_the_sites_program() {
    let site = Site::new(
        "case $1,$2,$3 in\n\
         PTL4LND,0x0,0x7) echo mds7.example.com;;\nGNILND,0x2,0xff) echo oss255;;\n*) echo @ not known here;;\nesac",
    );
    let asked = |nid: &str| {
        let lookup = HostLookup { program: site.program(), ..lookup(nid) };
        host(&lookup, &FakeNames::default())
    };
    assert_eq!(asked("7@ptlf").unwrap(), "mds7.example.com");
    assert_eq!(asked("255@gni2").unwrap(), "oss255");
    refused(asked("8@ptlf"), Cause::UnnamedNid, "8@ptlf: ");
    refused(asked("8@bxi3"), Cause::UnnamedNid, "not known here");
    let absent = HostLookup { program: site.program().with_extension("absent"), ..lookup("7@ptlf") };
    refused(host(&absent, &FakeNames::default()), Cause::BadProgram, "S14");
}

#[test]
fn a_lookup_is_read_back_as_the_monitor_sent_it() {
    let lookup = lookup("10.0.0.1@o2ib3");
    assert_eq!(serde_json::from_str::<HostLookup>(&serde_json::to_string(&lookup).unwrap()).unwrap(), lookup);
}
