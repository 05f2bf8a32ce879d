//! Name services that an attacker reaches or provides: rules S17 and S23. It is root of a network of its own.

use crate::attack::{Attack, Scene, World};
use crate::plan::{Request, Step};
use crate::support::dns::{NameServer, Zone};
use crate::support::netns::NetNamespace;
use crate::support::nscd::Recorder;
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe};
use crate::support::process::{command_as, succeed};
use crate::support::server::Target;
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

pub(crate) fn attacks() -> Vec<Attack> {
    let inside = |rule, name: &str, word, attempt: fn(&Scene<'_>)| Attack {
        worlds: &[World::UserNamespace],
        ..Attack::checked(rule, name, word, attempt)
    };
    vec![
        inside(
            "S17",
            "name the address of one service by the name of another, in its own name service",
            "the principal is the one asked for",
            |scene| lead_elsewhere(scene, ADDRESS.to_string()),
        ),
        inside(
            "S23",
            "make a name an alias of another service's host, in its own name service",
            "the principal is the one asked for",
            |scene| lead_elsewhere(scene, alias(scene)),
        ),
        inside(
            "S23",
            "tell the host's name daemon something from an empty network",
            "the daemon hears nothing",
            tell_the_hosts_daemon,
        ),
        inside(
            "S23",
            "listen where a name daemon would, in its own file system",
            "nobody asks there",
            listen_as_name_daemon,
        ),
    ]
}

/// Of the service, in the attacker's network.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn alias(scene: &Scene<'_>) -> String {
    scene.shared.realm().host().replace("srv.", "payroll.")
}

/// With a ticket for the true service in the cache: whoever takes its name for `name`'s would go on to the server, and
/// whoever does not asks the KDC, which is not in this network.
fn lead_elsewhere(scene: &Scene<'_>, name: String) {
    let (site, host) = (&scene.site, scene.shared.realm().host());
    let mut unshare = command_as(site.uid(), "unshare");
    unshare.args(["--user", "--map-root-user"]);
    let net = NetNamespace::made_by(unshare, &site.path(""));
    let zone = Zone { host: host.clone(), aliases: vec![alias(scene)], address: ADDRESS };
    let names = NameServer::start(&net, &zone);
    get_service_ticket(scene);
    // As sites have it that have not considered this.
    site.libdefaults("dns_canonicalize_hostname = true\n rdns = true");
    let said = succeed(net.enter(Command::new("getent")).args(["ahostsv4", &alias(scene)]), "");
    assert!(said.contains(&host), "the alias leads nowhere: {said}");
    let said = succeed(net.enter(Command::new("getent")).args(["hosts", &ADDRESS.to_string()]), "");
    assert!(said.contains(&host), "the address has no name: {said}");
    let before = names.asked().len();

    let target = Target { host: ADDRESS.into(), ..Target::nfs(&format!("nfs@{name}"), 1) };
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(scene.attacker());
    let outcome = site.ask_after(steps, scene.request_to(&target, ""));
    site.assert_failed(&outcome, Cause::KdcDown, &target);
    let asked = names.asked().split_off(before);
    assert!(asked.iter().all(|name| !name.contains("payroll") && !name.contains("in-addr")), "{asked:?}");
}

/// So that the first look-up is for the server's host.
fn get_service_ticket(scene: &Scene<'_>) {
    let mut kvno = command_as(scene.site.uid(), "kvno");
    kvno.envs(scene.shared.realm().environment());
    kvno.args(["-c", &format!("FILE:{}", scene.site.default_cache().display())]);
    succeed(kvno.arg(scene.shared.nfs().service.replace('@', "/")), "");
}

/// For a server whose host has this name.
fn request_by_name(scene: &Scene<'_>, name: &str) -> Request {
    let service = &scene.shared.nfs().service;
    let callout = format!("lgss1;svc={service};chan=rpc:{name}.invalid:2049,100003,4");
    Request { callout: Some(callout.into_bytes()), ..scene.honest_request(name) }
}

fn tell_the_hosts_daemon(scene: &Scene<'_>) {
    get_service_ticket(scene);
    let recorder = Recorder::start();
    scene.site.let_workers_ask_daemons();
    let heard = format!("open{}", scene.site.uid());
    let outcome = scene.ask(request_by_name(scene, &heard));
    scene.site.assert_failed(&outcome, Cause::UnknownHost, scene.shared.nfs());
    assert!(recorder.has_heard(&heard), "the daemon of the host's network is asked");

    let secret = format!("secret{}", scene.site.uid());
    let outcome = ask_in_empty_network(scene, "exec \"$@\"", &secret);
    scene.site.assert_failed(&outcome, Cause::NameServiceSilent, scene.shared.nfs());
    scene.site.log.wait_for_words(&[&secret]);
    assert!(!recorder.has_heard(&secret), "the host's daemon has heard a name from another network");
}

/// The script runs the requester, as root of a user namespace with a network of its own; `$D` is the site's directory.
fn ask_in_empty_network(scene: &Scene<'_>, script: &str, name: &str) -> Outcome {
    let mut unshare = command_as(scene.site.uid(), "unshare");
    unshare.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec", script, "sh"]);
    unshare.arg(env!("CARGO_BIN_EXE_lgss-probe")).env("D", scene.site.path(""));
    let request = Step::Request(request_by_name(scene, name));
    let findings =
        Probe::start_with(unshare, &[Step::JoinSession, request, Step::Settle { within_ms: 30_000 }]).rest();
    let [Finding::Done, asked @ ..] = findings.as_slice() else { panic!("{findings:?}") };
    Outcome::of(asked)
}

/// Writes down what it hears at the socket of nscd(8), and answers nothing.
const DAEMON: &str = r#"
use strict; use warnings; use Socket;
socket(my $server, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
bind($server, pack_sockaddr_un('/run/nscd/socket')) or die "bind: $!";
listen($server, 9) or die "listen: $!";
open(my $heard, '>>', $ARGV[0]) or die "open: $!";
while (accept(my $client, $server)) { sysread($client, my $question, 4096); syswrite($heard, $question); }
"#;

fn listen_as_name_daemon(scene: &Scene<'_>) {
    get_service_ticket(scene);
    scene.site.let_workers_ask_daemons();
    let daemon = scene.site.path("user").join("daemon");
    fs::write(&daemon, DAEMON).unwrap();
    let script = "mount -t tmpfs none /run; mkdir /run/nscd; perl $D/user/daemon $D/user/heard >/dev/null &
        until test -S /run/nscd/socket && test -f $D/user/heard; do kill -0 $!; done
        ! getent hosts control.invalid; \"$@\"; kill $!";
    let secret = format!("secret{}", scene.site.uid());
    let outcome = ask_in_empty_network(scene, script, &secret);
    scene.site.assert_failed(&outcome, Cause::NameServiceSilent, scene.shared.nfs());
    scene.site.log.wait_for_words(&[&secret]);
    let heard =
        String::from_utf8_lossy(&fs::read(scene.site.path("user").join("heard")).unwrap()).into_owned();
    assert!(
        heard.contains("control.invalid"),
        "the attacker's own process did not ask the daemon: {heard:?}"
    );
    assert!(!heard.contains(&secret), "{heard:?}");
}
