use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use super::*;
use crate::negotiate::messages::HostNames;
use crate::sys::fork::{ForkResult, fork};
use crate::sys::process::end;
use crate::upcall::invocation::Invocation;
use crate::upcall::times::WorkerTime;

const USER: &str = "4:krb5:2001:2002::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff:0x20000c0a84d02:557:";
const MACHINE: &str = "4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff:0x20000c0a84d02:1:";
const PEER: &str = "192.168.77.1@tcp";
const MYSELF: &str = "192.168.77.2@tcp";

/// A directory with one hook. The test needs root.
struct HookSite {
    directory: tempfile::TempDir,
    config: Config,
}

impl HookSite {
    fn new(script: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), executable.clone()).unwrap();
        let file = directory.path().join("name");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, executable).unwrap();
        let mut config = Config::default();
        config.hooks.directory = directory.path().to_owned();
        config.hooks.user = "1600000007".to_owned();
        config.lustre.nid_hook.0 = Some("name".parse().unwrap());
        Self { directory, config }
    }

    /// The names for a request, or why there is none.
    fn names(&self, callout: &str) -> Result<HookedNames, Failure> {
        self.names_within(callout, Duration::from_secs(60))
    }

    /// Asked for by a process with one thread, as the monitor is: a hook's is made by clone(2), and could find malloc's locks held
    /// by a thread of another test.
    fn names_within(&self, callout: &str, limit: Duration) -> Result<HookedNames, Failure> {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let ForkResult::Parent { child } = fork().unwrap() else {
            let named = HookedNames::of(&order(callout), &self.config, Instant::now() + limit);
            let named = named.map(|HookedNames { peer, myself }| (peer, myself));
            let written =
                serde_json::to_vec(&named.map_err(|failure| (failure.stage, failure.cause, failure.detail)));
            end(i32::from(written.map(|named| writer.write_all(&named)).is_err()))
        };
        drop(writer);
        let mut answer = String::new();
        reader.read_to_string(&mut answer).unwrap();
        nix::sys::wait::waitpid(child, None).unwrap();
        type Named = Result<(Option<String>, Option<String>), (Stage, Cause, String)>;
        let named: Named = serde_json::from_str(&answer).unwrap();
        named
            .map(|(peer, myself)| HookedNames { peer, myself })
            .map_err(|(stage, cause, detail)| Failure::new(stage, cause, detail))
    }
}

fn order(callout: &str) -> Order {
    let owner = if callout == MACHINE { "0" } else { "2001" };
    let words = ["create", "77", "lgssc", &format!("{owner}@4"), callout, "1000", "100", "0", "0", "5"]
        .map(OsString::from);
    Order::read(&Invocation::parse(words.into_iter()).unwrap()).unwrap_or_else(|_| panic!("{callout}"))
}

fn names(peer: &str, myself: Option<&str>) -> HookedNames {
    HookedNames { peer: Some(peer.to_owned()), myself: myself.map(str::to_owned) }
}

/// Answers with the identifier it is asked for, as a name.
const ECHO: &str = r#"sed -E 's/.*"nid":"([^"@]*)@([a-z0-9]*)".*/{"host": "n-\1.\2"}/'"#;

#[test]
fn a_hook_is_asked_for_the_names_that_a_request_needs() {
    let site = HookSite::new(ECHO);
    assert_eq!(site.names(USER).unwrap(), names("n-192.168.77.1.tcp", None));
    assert_eq!(site.names(MACHINE).unwrap(), names("n-192.168.77.1.tcp", Some("n-192.168.77.2.tcp")));
    for other in ["sk", "gssnull"] {
        assert_eq!(site.names(&USER.replace("krb5", other)).unwrap(), HookedNames::default(), "{other}");
    }
    // What a hook reads of an exotic network.
    let site = HookSite::new(r#"in=$(cat); printf '{"host": "%s"}' "$(echo "$in" | tr -d '"{},')""#);
    let exotic = USER.replace("0x20000c0a84d01", "0xf000200000007");
    let asked = site.names(&exotic).unwrap().peer.unwrap();
    assert_eq!(asked, "purpose:hostnid:7@ptlf2driver:PTL4LNDnetwork:2address:7");
}

#[test]
fn names_of_the_settings_come_first_and_a_node_has_to_be_named() {
    let mut site = HookSite::new(ECHO);
    site.config.lustre.nids.insert(PEER.parse().unwrap(), "mds1.example.com".to_owned());
    assert_eq!(site.names(USER).unwrap(), HookedNames::default());
    assert_eq!(site.names(MACHINE).unwrap().myself.as_deref(), Some("n-192.168.77.2.tcp"));
    site.config.lustre.nids.insert(MYSELF.parse().unwrap(), "node2.example.com".to_owned());
    assert_eq!(site.names(MACHINE).unwrap(), HookedNames::default());
    // The loopback network, and no node.
    for nobody in ["0@lo", "0xffffffffffffffff"] {
        assert!(!is_askable(nobody.parse().unwrap(), &Config::default()), "{nobody}");
    }
    site.config.lustre.nid_hook.0 = None;
    site.config.lustre.nids.clear();
    assert_eq!(site.names(MACHINE).unwrap(), HookedNames::default());
}

#[test]
fn a_hook_that_knows_no_name_leaves_it_to_the_ways_without_it() {
    let site = HookSite::new(r#"echo '{"host": null}'"#);
    assert_eq!(site.names(MACHINE).unwrap(), HookedNames::default());
}

#[test]
fn a_hook_that_fails_fails_the_request_with_the_reason_for_the_log() {
    for (script, reason) in [
        ("exit 1", "it ended with exit status 1"),
        ("echo mds1", "its output is not the JSON that is expected"),
        (r#"echo '{"host": 7}'"#, "its output is not the JSON that is expected"),
        (r#"echo '{"host": "a", "realm": "B"}'"#, "its output is not the JSON that is expected"),
    ] {
        let failure = HookSite::new(script).names(USER).unwrap_err();
        assert_eq!((failure.stage, failure.cause), (Stage::Resolve, Cause::BadProgram), "{failure}");
        let expected = format!("{PEER}: hook name: {reason}");
        assert!(failure.detail.starts_with(&expected), "{failure}");
    }
    let site = HookSite::new("exec sleep 1000");
    let begun = Instant::now();
    let failure = site.names_within(USER, Duration::from_millis(200)).unwrap_err();
    assert!(failure.detail.contains("S14: no result within "), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    fs::set_permissions(site.directory.path(), fs::Permissions::from_mode(0o775)).unwrap();
    assert!(site.names(USER).unwrap_err().detail.contains("S14: "));
}

#[test]
fn the_worker_is_told_them_beside_each_identifier() {
    let config = Config::default();
    let time = WorkerTime { kdc: Duration::from_secs(3), total: Duration::from_secs(7) };
    let words = ["create", "77", "lgssc", "0@4", MACHINE, "1000", "100", "0", "0", "5"].map(OsString::from);
    let words = Invocation::parse(words.into_iter()).unwrap();
    let order = Order::read(&words).unwrap_or_else(|_| panic!());
    let credentials = order.credentials(&words, &config).unwrap();
    let request = order.request(&config, credentials, HostNames::AsTheHost, time);
    let request = names("peer", Some("myself")).told_in(request);
    let Target::Lustre { peer, .. } = &request.target else { panic!("{:?}", request.target) };
    let Credentials::Machines { myself: Some(myself), .. } = &request.credentials else { panic!() };
    assert_eq!((peer.proposed.as_deref(), myself.proposed.as_deref()), (Some("peer"), Some("myself")));
}
