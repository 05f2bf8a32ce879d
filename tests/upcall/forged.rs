//! Requests that lie about who they are, or break the grammar.

use crate::support::forged_lines::look_alikes;
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Request, SESSION_RING, Step, as_user, probe};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::errno::Errno;

crate::trials![
    a_description_that_names_another_uid_is_refused,
    a_description_that_names_root_is_refused,
    a_service_that_differs_from_the_description_is_refused,
    malformed_callouts_are_refused_as_such,
    callouts_up_to_1023_bytes_are_parsed_and_longer_ones_refused,
    malformed_descriptions_are_refused_as_such,
    words_that_look_like_options_are_only_words,
    a_refused_request_starts_no_worker,
    look_alike_lines_in_proc_keys_do_not_redirect_a_request,
    look_alike_lines_in_proc_keys_give_no_other_identity,
];

/// A site whose user has a ticket, so that lack of one is never the reason of a refusal.
fn ready(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site
}

/// A request with arbitrary bytes; the site's rules must serve the description.
fn request(description: &[u8], callout: &[u8]) -> Request {
    Request {
        key_type: "user".to_owned(),
        description: description.to_vec(),
        callout: Some(callout.to_vec()),
        ring: SESSION_RING,
    }
}

#[track_caller]
fn assert_refused(site: &Site, request: Request, errno: Errno) {
    let shown = format!("{:?}", String::from_utf8_lossy(&request.description));
    match site.ask_with(request) {
        Outcome::Refused(refusal) => assert_eq!(refusal, errno, "{shown}; log {:#?}", site.log.lines()),
        other => panic!("not refused: {shown}: {other:?}"),
    }
}

fn a_description_that_names_another_uid_is_refused(shared: &Shared) {
    let (site, victim) = (ready(shared), ready(shared));
    for owner in [victim.uid(), site.machine_uid(), site.uid() + 2, u32::MAX] {
        let request = site.request_as(&owner.to_string(), shared.nfs(), &format!(":{}", site.uid()));
        assert_refused(&site, request, Errno::EACCES);
    }
    let line = site.log.wait_for_words(&["S2", &format!("uid {} ", site.uid())]);
    assert!(line.contains("EACCES"), "{line}");
}

fn a_description_that_names_root_is_refused(shared: &Shared) {
    let site = ready(shared);
    let request = site.request_as("0", shared.nfs(), &format!(":{}", site.uid()));
    assert_refused(&site, request, Errno::EACCES);
    site.log.wait_for_words(&["S2", "EACCES"]);
}

fn a_service_that_differs_from_the_description_is_refused(shared: &Shared) {
    let site = ready(shared);
    let mut request = site.request(shared.nfs());
    request.description = format!("lgss:{}:host@{}", site.uid(), shared.realm().host()).into_bytes();
    assert_refused(&site, request, Errno::EACCES);
    site.log.wait_for_words(&["S2", "EACCES"]);
}

fn malformed_callouts_are_refused_as_such(shared: &Shared) {
    let site = ready(shared);
    let good = site.request(shared.nfs());
    let base = String::from_utf8(good.callout.clone().unwrap()).unwrap();
    let with = |more: &str| format!("{base}{more}").into_bytes();
    let callouts: Vec<Vec<u8>> = vec![
        b"x".to_vec(),
        b"lgss2;svc=nfs@h".to_vec(),
        base.strip_prefix("lgss1;").unwrap().as_bytes().to_vec(),
        with(";uid=0"),
        with(";pid=1"),
        with(";user=root"),
        with(";principal="),
        with(";principal=a;principal=b"),
        with(";level=p"),
        with(&format!(";svc={}", shared.nfs().service)),
        with(";cache=FILE:/tmp/a;cache=FILE:/tmp/b"),
        with(";;"),
        with(";ttl=0"),
        with(";ttl=99999999999"),
        with(";ttl=-1"),
        with(";cache="),
        with(";cache=FILE:/tmp/a\nlgss1;uid=0"),
        with(";cache=FILE:/tmp/\u{fc}"),
        [with(";cache=FILE:/tmp/").as_slice(), &[0xff, 0xfe, 0x80]].concat(),
        with(";cache=FILE:/tmp/\u{1b}[2J"),
        base.replace("level=i", "level=i ").into_bytes(),
        base.replace("mech=krb5", "mech=ntlm").into_bytes(),
        base.replace("rpc:127.0.0.1", "rpc:-oProxyCommand=x").into_bytes(),
    ];
    for callout in callouts {
        assert_refused(&site, request(&good.description, &callout), Errno::EINVAL);
    }
    site.wait_until_idle();
    let lines = site.log.lines();
    assert!(
        lines.iter().all(|line| !line.trim_end().contains(['\n', '\u{1b}'])),
        "a line was forged: {lines:#?}"
    );
}

fn callouts_up_to_1023_bytes_are_parsed_and_longer_ones_refused(shared: &Shared) {
    let site = ready(shared);
    let good = site.request(shared.nfs());
    let base = good.callout.clone().unwrap();
    // A cache's name has a limit too, so this length comes from a field that is refused for that reason.
    for length in [1024, 1025, 2000, 4085, 4095] {
        let mut callout = [&base[..], b";cache=FILE:/"].concat();
        callout.resize(length, b'x');
        let findings = attempt(&site, request(&good.description, &callout));
        let Some(Finding::Requested { serial: None, errno, .. }) = findings.last() else {
            panic!("{findings:?}")
        };
        let errno = Errno::from_raw(*errno);
        // The kernel or request-key(8) may refuse the longest ones first.
        assert!(
            errno == Errno::EINVAL || (length > 4000 && errno == Errno::ENOKEY),
            "{length} bytes: {errno}"
        );
    }
    let mut longest = [&base[..], b";cache=FILE:/"].concat();
    longest.resize(longest.len() + 490, b'x');
    assert!(longest.len() <= 1023);
    assert_eq!(
        site.ask_with(request(&good.description, &longest)).errno(),
        Errno::ENOKEY,
        "there is no such cache"
    );
}

fn attempt(site: &Site, request: Request) -> Vec<Finding> {
    let mut steps = as_user(site.uid());
    steps.push(Step::Request(request));
    probe(&steps)
}

fn malformed_descriptions_are_refused_as_such(shared: &Shared) {
    let site = ready(shared);
    let uid = site.uid();
    let callout = site.request(shared.nfs()).callout.unwrap();
    let service = &shared.nfs().service;
    let descriptions: Vec<Vec<u8>> = vec![
        format!("lgss:{uid}:").into_bytes(),
        format!("lgss:{uid}:nfs").into_bytes(),
        format!("lgss:{uid}:{service}:").into_bytes(),
        format!("lgss:{uid}:{service}:{}", "x".repeat(129)).into_bytes(),
        format!("lgss:{uid}:{service}:a\nb").into_bytes(),
        format!("lgss:{uid}:{service}:\u{fc}").into_bytes(),
        [format!("lgss:{uid}:{service}:").as_bytes(), &[0xff, 0xfe]].concat(),
        format!("lgss:-1:{service}:{uid}").into_bytes(),
        format!("lgss:+0:{service}:{uid}").into_bytes(),
        format!("lgss:00:{service}:{uid}").into_bytes(),
        format!("lgss:0x0:{service}:{uid}").into_bytes(),
        format!("lgss:4294967296:{service}:{uid}").into_bytes(),
        format!("lgss::{service}:{uid}").into_bytes(),
        format!("lgss:{uid}:-nfs@{}", shared.realm().host()).into_bytes(),
    ];
    for description in descriptions {
        if !description.starts_with(format!("lgss:{uid}:").as_bytes()) {
            site.serve(std::str::from_utf8(&description).unwrap());
        }
        assert_refused(&site, request(&description, &callout), Errno::EINVAL);
    }
    site.wait_until_idle();
}

fn words_that_look_like_options_are_only_words(shared: &Shared) {
    let site = ready(shared);
    let good = site.request(shared.nfs());
    for callout in ["--config", "--config=/tmp/x", "-R", "-f", "--", "-"] {
        assert_refused(&site, request(&good.description, callout.as_bytes()), Errno::EINVAL);
    }
}

fn a_refused_request_starts_no_worker(shared: &Shared) {
    let site = ready(shared);
    // Without the worker's program: an attempt to start it would be in the log.
    std::fs::remove_file(site.path("lgss_negotiate")).unwrap();
    let request = site.request_as("0", shared.nfs(), &format!(":{}", site.uid()));
    assert_refused(&site, request, Errno::EACCES);
    site.wait_until_idle();
    let lines = site.log.wait_for_count(1);
    assert!(lines.len() == 1 && lines[0].contains("authorise"), "{lines:#?}");
}

fn look_alike_lines_in_proc_keys_do_not_redirect_a_request(shared: &Shared) {
    let site = ready(shared);
    let request = site.request(shared.nfs());
    let length = request.callout.as_ref().unwrap().len();
    let mut steps = as_user(site.uid());
    steps.extend(look_alikes(site.uid(), 1, length));
    let context = site.ask_after(steps, request).context();
    call_null_with(&context, shared.nfs());
}

/// The kernel's serials are random, but a user may see the serial of its own key under construction and then add lines.
/// Here a second thread of the session could not be fast enough, so a victim that waits in request_key(2) itself gets a
/// line for every possible request beforehand.
fn look_alike_lines_in_proc_keys_give_no_other_identity(shared: &Shared) {
    let (site, victim) = (ready(shared), ready(shared));
    let mut bystander = Probe::start(&[as_user(victim.uid()), vec![Step::Pause]].concat());
    bystander.until_pause();
    let forged = site.request_as(&victim.uid().to_string(), shared.nfs(), &format!(":{}", site.uid()));
    let length = forged.callout.as_ref().unwrap().len();
    let mut steps = as_user(site.uid());
    steps.extend(look_alikes(victim.uid(), bystander.pid().as_raw().cast_unsigned(), length));
    match site.ask_after(steps, forged) {
        Outcome::Refused(Errno::EACCES) => {}
        other => panic!("not refused: {other:?}"),
    }
}
