//! Requesters in another network than the host's: who learns the names they use (rule S23).

use crate::sandbox::expected::daemons_know_names;
use crate::support::ganesha::Ganesha;
use crate::support::kcm::Kcm;
use crate::support::netns::NetNamespace;
use crate::support::nscd::Recorder;
use crate::support::probe::{Request, Step, as_user};
use crate::support::process::{Until, command_as, succeed};
use crate::support::realm::{Realm, RealmOptions};
use crate::support::scratch::Scratch;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;

crate::trials![
    no_daemon_of_the_host_hears_a_name_from_another_network,
    a_cache_of_a_daemon_serves_in_another_network,
];

fn in_network(net: &NetNamespace, site: &Site) -> Vec<Step> {
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(as_user(site.uid()));
    steps
}

/// With a service ticket in the cache, the first look-up is for the server.
fn no_daemon_of_the_host_hears_a_name_from_another_network(shared: &Shared) {
    let (realm, target) = (shared.realm(), shared.nfs());
    let site = Site::new(realm);
    site.ticket(realm);
    let mut kvno = command_as(site.uid(), "kvno");
    kvno.envs(realm.environment()).args(["-c", &format!("FILE:{}", site.default_cache().display())]);
    succeed(kvno.arg(target.service.replace('@', "/")), "");
    let request = |text: &str| {
        let callout = format!("lgss1;svc={};chan=rpc:{text}.invalid:2049,100003,4", target.service);
        Request { callout: Some(callout.into_bytes()), ..site.request(target) }
    };
    let recorder = Recorder::start();

    // Where nsswitch.conf names none, nobody needs to be asked.
    let strict = format!("strict{}", site.uid());
    let outcome = site.ask_with(Request {
        description: format!("lgss:{}:{}:strict", site.uid(), target.service).into_bytes(),
        ..request(&strict)
    });
    site.assert_failed(&outcome, Cause::UnknownHost, target);
    assert!(
        daemons_know_names() || !recorder.has_heard(&strict),
        "a daemon is asked that nsswitch.conf does not name"
    );

    site.let_workers_ask_daemons();
    let heard = format!("open{}", site.uid());
    let outcome = site.ask_with(request(&heard));
    site.assert_failed(&outcome, Cause::UnknownHost, target);
    assert!(recorder.has_heard(&heard), "the daemon of the host's network is asked");

    let net = NetNamespace::new(&site.path(""));
    let secret = format!("secret{}", site.uid());
    let outcome = site.ask_after(in_network(&net, &site), request(&secret));
    assert_eq!(outcome.errno(), Cause::NameServiceSilent.errno(), "log: {:#?}", site.log.lines());
    site.log.wait_for_words(&[&secret]);
    site.wait_until_idle();
    assert!(!recorder.has_heard(&secret), "the host's daemon has heard a name from another network");
}

fn a_cache_of_a_daemon_serves_in_another_network(_: &Shared) {
    let directory = Scratch::new();
    let net = NetNamespace::new(&directory.path(""));
    let realm = Realm::start_with(RealmOptions { netns: Some(&net), ..Default::default() });
    let ganesha = Ganesha::start_in(&realm, Until::TestEnds, Some(&net));
    let site = Site::new(&realm);
    let _kcm = Kcm::start(&site);
    for name in ["KCM:".to_owned(), format!("KCM:{}:second", site.uid())] {
        let mut steps = in_network(&net, &site);
        steps.push(realm.kinit(&site.path("krb5.conf"), &name));
        let request = site.request_with(ganesha.target(), &format!("cache={name}"));
        assert_eq!(site.ask_after(steps, request).context().handle.as_bytes().len(), 16, "{name}");
    }
    assert!(site.log.wait_for_established(1).contains(" in KCM:"), "{:#?}", site.log.lines());
}
