//! Keyrings of one user in which another runs, as after sudo(8) or su(1): rule S20.

use crate::attack::{Attack, End, Scene, World};
use crate::caches::Victim;
use crate::plan::{Request, Step};
use crate::support::command_line::lgss;
use crate::support::outcome::Outcome;
use crate::support::probe::Probe;
use crate::support::process::command_as;
use crate::support::setuid::setuid_probe;
use nix::errno::Errno;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DENIED: End = End::Refused(Errno::EACCES);
/// Special id of the process keyring.
const PROCESS_RING: i32 = -2;

pub(crate) fn attacks() -> Vec<Attack> {
    [into_others(), by_setuid_programs()].into_iter().flatten().collect()
}

/// The attacker's context, or a victim's ticket, in a keyring that is not the attacker's.
fn into_others() -> Vec<Attack> {
    vec![
        Attack::asking("S20", "ask into the session of root that it has inherited", DENIED, |scene| {
            let outcome = scene.site.ask_after(in_session_of(scene, 0), scene.honest_request(""));
            scene.site.log.wait_for_words(&["S20", "belongs to uid 0,"]);
            outcome
        }),
        Attack::asking("S20", "ask into the session of a user that it has inherited", DENIED, |scene| {
            let other = scene.site.machine_uid();
            let outcome = scene.site.ask_after(in_session_of(scene, other), scene.honest_request(""));
            scene.site.log.wait_for_words(&["S20", &format!("belongs to uid {other},")]);
            outcome
        }),
        Attack::asking(
            "S20",
            "ask into a keyring that another user has opened to all",
            DENIED,
            ask_into_open_ring,
        ),
        Attack::asking(
            "S20",
            "use the ticket in the session of root that it has inherited",
            End::Refused(Errno::ENOKEY),
            use_inherited_ticket,
        ),
    ]
}

/// Steps that make a process the attacker in a session keyring that this user has made.
fn in_session_of(scene: &Scene<'_>, owner: u32) -> Vec<Step> {
    let ids = |uid| Step::Ids { uid, gid: [0; 3] };
    let mut steps = vec![ids([owner, 0, 0]), Step::JoinSession, ids([0; 3])];
    steps.extend(attacker_in_this_session(scene));
    steps
}

/// Steps that make root's process the attacker and leave its session keyring as it is.
fn attacker_in_this_session(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = scene.attacker();
    steps.retain(|step| !matches!(step, Step::JoinSession));
    steps
}

/// Whoever possesses that keyring would have the attacker's context, as its own.
fn ask_into_open_ring(scene: &Scene<'_>) -> Outcome {
    let owner = scene.site.machine_uid();
    let script =
        "ring=$(keyctl newring open @s) && keyctl setperm $ring 0x3f3f3f3f && echo $ring && exec cat";
    let mut holder = command_as(owner, "keyctl");
    holder.args(["session", "-", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    // keyctl(1) tells of the session first, on standard error or output by its version.
    let ring = lines.filter_map(|line| line.parse::<i32>().ok()).next().expect("a keyring");
    let control = scene.run("keyctl add user control x $1", &[&ring.to_string()]);
    assert!(control.status.success(), "it is not open: {control:?}");
    let outcome = scene.ask(Request { ring, ..scene.honest_request("") });
    scene.site.log.wait_for_words(&["S20", &format!("belongs to uid {owner},")]);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    outcome
}

/// As after su(1), which makes no new session.
fn use_inherited_ticket(scene: &Scene<'_>) -> Outcome {
    let (site, name) = (&scene.site, format!("lgss{}", scene.site.uid()));
    fs::remove_file(site.default_cache()).unwrap();
    let cache = format!("KEYRING:session:{name}");
    let mut steps = vec![Step::JoinSession, scene.shared.realm().kinit(&site.path("krb5.conf"), &cache)];
    steps.extend(attacker_in_this_session(scene));
    // It reaches what is there.
    let words = ["keyctl", "search", "@s", "keyring", &format!("_krb_{name}")];
    steps.push(Step::Run { words: words.map(str::to_owned).to_vec(), input: String::new() });
    let mut request = scene.honest_request("");
    request.ring = PROCESS_RING;
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    site.ask_after(steps, request)
}

/// Programs that the attacker starts in its own session, and that become a victim. In its user namespace they would not: no
/// uid of theirs is mapped there.
fn by_setuid_programs() -> Vec<Attack> {
    vec![
        Attack {
            worlds: &[World::Host],
            ..Attack::asking(
                "S20",
                "have a program that becomes a victim ask into the attacker's session",
                DENIED,
                have_victim_ask,
            )
        },
        Attack {
            worlds: &[World::Host],
            ..Attack::checked(
                "S20",
                "plant its own context where a program that becomes a victim looks for one",
                "the victim's own context, closed to the attacker",
                plant_context,
            )
        },
    ]
}

fn become_user(uid: u32) -> Step {
    Step::Ids { uid: [uid; 3], gid: [uid; 3] }
}

fn have_victim_ask(scene: &Scene<'_>) -> Outcome {
    let victim = Victim::new(scene);
    let mut starter = command_as(scene.site.uid(), "keyctl");
    starter.args(["session", "-"]).arg(setuid_probe(&scene.site));
    let request =
        Step::Request(victim.site.request_as(&victim.site.uid().to_string(), scene.shared.nfs(), ":asked"));
    let steps = [become_user(victim.site.uid()), request, Step::Settle { within_ms: 30_000 }];
    let findings = Probe::start_with(starter, &steps).rest();
    let owner = format!("belongs to uid {}, the context to uid {}", scene.site.uid(), victim.site.uid());
    victim.site.log.wait_for_words(&["S20", &owner]);
    Outcome::of(&findings[1..])
}

/// A victim that took it would work as the attacker, and the attacker could read its context.
fn plant_context(scene: &Scene<'_>) {
    let victim = Victim::new(scene);
    let (site, nfs, uid) = (&scene.site, scene.shared.nfs(), victim.site.uid());
    let get = |program: &str| format!("{program} get {} --channel {}", nfs.service, nfs.channel());
    let out = victim.site.path("user").join("out");
    let victims = format!("exec {} >{} 2>&1", get(&lgss(&victim.site).display().to_string()), out.display());
    let words = ["sh", "-c", &victims].map(str::to_owned).to_vec();
    let plan = [become_user(uid), Step::Run { words, input: String::new() }];
    let script = format!(
        "{} >$D/user/own && key=$(sed -n 's/^key \\([0-9]*\\) .*/\\1/p' $D/user/own) && keyctl pipe $key |
         keyctl padd user lgss:{uid}:{} @s >$D/user/planted && test $(keyctl pipe $(cat $D/user/planted) | wc -c) -gt 50 &&
         exec \"$@\"",
        get(&lgss(site).display().to_string()),
        nfs.service,
    );
    let mut attacker: Command = command_as(site.uid(), "keyctl");
    attacker
        .args(["session", "-", "sh", "-c", &script, "sh"])
        .arg(setuid_probe(site))
        .env("D", site.path(""));
    let findings = Probe::start_with(attacker, &plan).rest();
    let said = fs::read_to_string(&out).unwrap_or_default();
    assert_eq!(findings.len(), plan.len(), "{findings:?} {said}");
    let foreign = format!("since the session keyring belongs to uid {}", site.uid());
    for words in ["established after", &foreign, &format!(" as {}@", victim.principal())] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let key = said.lines().find_map(|line| line.strip_prefix("key ")?.split(' ').next()).expect("a key");
    let read = scene.run("keyctl pipe $1", &[key]);
    assert!(!read.status.success() && read.stdout.is_empty(), "{read:?}");
}
