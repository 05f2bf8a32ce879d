//! What a key says beyond the errno: the principal of the context, and to a caller that asks for itself, why there is
//! none.

use crate::support::command_line::{json, lines, session};
use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user};
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::{Cause, Reason};
use nix::errno::Errno;
use std::fs;

crate::trials![
    the_caller_of_an_own_request_sees_its_own_reason_without_root,
    a_server_that_acts_for_a_user_gets_the_errno_alone,
    how_the_host_is_set_up_is_not_told,
    a_key_says_whom_its_context_speaks_for,
    where_the_quota_has_no_room_for_words_the_errno_is_told,
];

fn get(target: &Target) -> String {
    format!("lgss get {} --channel {}", target.service, target.channel())
}

fn the_caller_of_an_own_request_sees_its_own_reason_without_root(shared: &Shared) {
    let site = Site::new(shared.realm());
    let (get, nowhere) = (get(shared.nfs()), get(&shared.nfs().called("unknown@srv.invalid")));
    let script = format!("{get}; {get} --json; lgss list --json");
    let output = session(&site, &script);
    let said = lines(&output);
    let default = site.default_cache();
    assert!(said.contains("ENOKEY: no usable ticket was found\n  detail: credentials: "), "{said}");
    let [answer, listed] = json_of(&output);
    // The key of the first request may be about to go.
    let listed = listed.as_array().unwrap().iter().find(|row| row["state"] == "failed").unwrap();
    for failure in [&answer["failure"], &listed["failure"]] {
        assert_eq!((&failure["stage"], &failure["code"]), (&"credentials".into(), &"no_ticket".into()));
        let detail = failure["detail"].as_str().unwrap();
        assert!(detail.contains(default.to_str().unwrap()), "{detail}");
        assert_eq!(failure["remedy"], Cause::NoTicket.remedy());
    }
    site.ticket(shared.realm());
    let said = lines(&session(
        &site,
        &format!("{nowhere}; lgss show $(keyctl request user lgss:{}:unknown@srv.invalid)", site.uid()),
    ));
    assert!(said.contains("EACCES: the KDC does not know the service"), "{said}");
    assert!(said.contains("\ndetail    kdc: ") && said.contains("unknown/srv.invalid"), "{said}");
}

/// The JSON objects on standard output, without the lines of text.
fn json_of<const N: usize>(output: &std::process::Output) -> [serde_json::Value; N] {
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find("\n{").unwrap() + 1;
    let objects = std::process::Output { stdout: text[start..].as_bytes().to_vec(), ..output.clone() };
    json(&objects).try_into().unwrap()
}

fn reason(outcome: Outcome, errno: Errno) -> Option<Reason> {
    match outcome {
        Outcome::Failed { errno: told, reason } if told == errno => reason,
        other => panic!("{other:?}"),
    }
}

fn a_server_that_acts_for_a_user_gets_the_errno_alone(shared: &Shared) {
    let site = Site::new(shared.realm());
    let uid = site.uid();
    let steps = vec![Step::JoinSession, Step::FsIds { uid, gid: uid }];
    assert_eq!(reason(site.ask_after(steps, site.request(shared.nfs())), Errno::ENOKEY), None);
    // The user asks for itself.
    let own = reason(site.ask(shared.nfs()), Errno::ENOKEY).unwrap();
    assert_eq!((own.stage.as_str(), own.cause.as_str()), ("credentials", "no_ticket"));
}

fn how_the_host_is_set_up_is_not_told(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    fs::remove_file(site.path("lgss_negotiate")).unwrap();
    assert_eq!(reason(site.ask(shared.nfs()), Errno::EIO), None);
    fs::write(site.path("lgss.toml"), "nonsense").unwrap();
    assert_eq!(reason(site.ask(shared.nfs()), Errno::EIO), None);
}

fn a_key_says_whom_its_context_speaks_for(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let initiator = site.ask(shared.nfs()).context().initiator.unwrap();
    let alice = format!("alice@{}", shared.realm().name());
    assert_eq!((initiator.principal.as_str(), initiator.unmet), (alice.as_str(), None));
    let output = session(&site, &format!("{0}; {0} --json", get(shared.nfs())));
    assert!(lines(&output).contains(&format!(": as {alice}, window 32")), "{output:?}");
    let [answer] = json_of(&output);
    assert_eq!(answer["context"]["principal"], alice);
}

/// Each time another user, with more room.
fn where_the_quota_has_no_room_for_words_the_errno_is_told(shared: &Shared) {
    let told = |beyond: u32| {
        let site = Site::new(shared.realm());
        let mut steps = as_user(site.uid());
        let cost = u32::try_from(site.request(shared.nfs()).description.len()).unwrap() + 1;
        steps.push(Step::FillQuota { leave: cost + beyond });
        match site.ask_after(steps, site.request(shared.nfs())) {
            Outcome::Refused(Errno::EDQUOT) => None,
            outcome => Some(reason(outcome, Errno::ENOKEY).is_some()),
        }
    };
    let answers: Vec<_> = (60..=240).step_by(30).chain([1500]).map(told).collect();
    assert!(answers.contains(&Some(false)), "{answers:?}");
    assert_eq!(answers.last(), Some(&Some(true)), "{answers:?}");
}
