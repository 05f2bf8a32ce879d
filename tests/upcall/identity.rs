//! Who may ask for whom, and which user the worker then runs as.

use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Request, Step, as_user};
use crate::support::process::{command, succeed};
use crate::support::rpc::call_null_with;
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use nix::errno::Errno;
use std::sync::{Arc, Mutex};

crate::trials![
    a_server_of_root_acting_for_a_user_by_setfsuid_gets_the_users_context,
    a_server_of_root_acting_for_a_user_by_seteuid_gets_the_users_context,
    a_user_whose_ids_differ_is_refused,
    a_user_acting_as_root_is_refused,
    roots_own_context_is_negotiated_by_the_machine_user,
    a_requester_in_a_user_namespace_is_who_it_is_outside,
    the_worker_of_a_user_has_the_users_ids_and_no_rights,
    a_request_by_the_32_bit_system_call_table_is_a_users_request,
];

/// A site whose user has a ticket.
fn ready(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site
}

fn ids(real: u32, effective: u32, saved: u32) -> Step {
    Step::Ids { uid: [real, effective, saved], gid: [effective; 3] }
}

fn a_server_of_root_acting_for_a_user_by_setfsuid_gets_the_users_context(shared: &Shared) {
    let site = ready(shared);
    let uid = site.uid();
    let steps = vec![Step::JoinSession, Step::FsIds { uid, gid: uid }];
    // The session keyring belongs to root, and to the server.
    let context = site.ask_after(steps, site.request(shared.nfs())).context();
    call_null_with(&context, shared.nfs());
    site.log.wait_for_words(&["established", &format!("uid {uid} ")]);
}

fn a_server_of_root_acting_for_a_user_by_seteuid_gets_the_users_context(shared: &Shared) {
    let site = ready(shared);
    let steps = vec![Step::JoinSession, ids(0, site.uid(), 0)];
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
}

#[track_caller]
fn assert_refused(site: &Site, steps: Vec<Step>, request: Request) {
    let shown = format!("{steps:?}");
    match site.ask_after(steps, request) {
        Outcome::Refused(Errno::EACCES) => {}
        other => panic!("not refused: {shown}: {other:?}, log {:#?}", site.log.lines()),
    }
}

fn a_user_whose_ids_differ_is_refused(shared: &Shared) {
    let site = ready(shared);
    let (uid, other) = (site.uid(), site.machine_uid());
    // A user runs another user's set-user-id program, and it asks for each of the two.
    for step in [ids(other, uid, uid), ids(uid, uid, other), ids(other, uid, other)] {
        assert_refused(&site, vec![step, Step::JoinSession], site.request(shared.nfs()));
    }
    site.log.wait_for_words(&["S2", "EACCES"]);
}

fn a_user_acting_as_root_is_refused(shared: &Shared) {
    let site = ready(shared);
    let uid = site.uid();
    // Effective uid 0 by a set-user-id program, real uid the user's: it gets neither root's context nor the user's.
    let roots = site.request_as("0", shared.nfs(), &format!(":{uid}"));
    assert_refused(&site, vec![ids(uid, 0, 0), Step::JoinSession], roots);
    let users = site.request(shared.nfs());
    let steps = vec![ids(uid, 0, 0), Step::JoinSession, Step::FsIds { uid, gid: uid }];
    assert_refused(&site, steps, users);
    // A user's request with another user's file system uid.
    let steps = vec![ids(uid, 0, 0), Step::JoinSession, Step::FsIds { uid: uid + 1, gid: uid }];
    assert_refused(&site, steps, site.request_as(&(uid + 1).to_string(), shared.nfs(), &format!(":{uid}")));
}

fn roots_own_context_is_negotiated_by_the_machine_user(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { round: "20s", ..Settings::default() });
    let cache = format!("FILE:{}", site.path("root-cache").display());
    shared.realm().ticket(0, &cache);
    // The server answers when the test has seen the worker.
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(shared.nfs().address(), move |_| drop(passed.lock()));
    let target = shared.nfs().at(server.port());
    let mut request = site.request_as("0", &target, &format!(":{}", site.uid()));
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    let outcome = std::thread::scope(|scope| {
        let asking = scope.spawn(|| site.ask_after(vec![Step::JoinSession], request));
        let worker = site.wait_for_process("lgss_negotiate");
        assert_eq!(worker.uid, Some(site.machine_uid()), "no process of uid 0 talks to the network");
        drop(closed);
        asking.join().unwrap()
    });
    call_null_with(&outcome.context(), shared.nfs());
}

fn a_requester_in_a_user_namespace_is_who_it_is_outside(shared: &Shared) {
    let site = ready(shared);
    let mut steps = as_user(site.uid());
    steps.push(Step::UserNamespace);
    steps.push(Step::JoinSession);
    // The requester is root in its own namespace only; the kernel knows its uid outside.
    let roots = site.request_as("0", shared.nfs(), &format!(":{}", site.uid()));
    assert_refused(&site, steps.clone(), roots);
    let own = site.request_as("self", shared.nfs(), &format!(":{}", site.uid()));
    call_null_with(&site.ask_after(steps, own).context(), shared.nfs());
}

fn the_worker_of_a_user_has_the_users_ids_and_no_rights(shared: &Shared) {
    let site = ready(shared);
    let silent = Server::silent();
    let mut steps = as_user(site.uid());
    steps.push(Step::Request(site.request(&shared.nfs().at(silent.port()))));
    steps.push(Step::Pause);
    let mut requester = crate::support::probe::Probe::start(&steps);
    assert!(matches!(requester.until_pause().last(), Some(Finding::Requested { serial: Some(_), .. })));
    let worker = site.wait_for_process("lgss_negotiate");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let uid = site.uid().to_string();
    assert_eq!(field("Uid:"), [uid.as_str(); 4]);
    assert_eq!(field("Gid:"), [uid.as_str(); 4]);
    assert_eq!(field("Groups:"), [""; 0]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.pid)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/mem", worker.pid)).unwrap());
    assert_eq!(owner, 0, "the worker can be attached to by its user");
    let environment = std::fs::read(format!("/proc/{}/environ", worker.pid)).unwrap();
    assert_eq!(environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty()).count(), 1);
}

fn a_request_by_the_32_bit_system_call_table_is_a_users_request(shared: &Shared) {
    let site = ready(shared);
    let mut steps = as_user(site.uid());
    steps.extend([
        Step::RequestBy32Bit(site.request(shared.nfs())),
        Step::Settle { within_ms: 10_000 },
        Step::RequestBy32Bit(Request { callout: None, ..site.request(shared.nfs()) }),
    ]);
    let findings = crate::support::probe::Probe::start(&steps).rest();
    let [_, _, asked, settled, again] = findings.as_slice() else {
        // SIGSEGV has killed the probe: this kernel has no `int 0x80`.
        assert!(kernel_lacks_32_bit_calls(), "the probe ended early: {findings:?}");
        site.wait_until_idle();
        assert_eq!(site.log.lines(), [""; 0]);
        return;
    };
    call_null_with(&Outcome::of(&[asked.clone(), settled.clone()]).context(), shared.nfs());
    site.log.wait_for_words(&["established", &format!("uid {} ", site.uid())]);
    assert!(
        matches!(
            (asked, again),
            (Finding::Requested { serial: Some(first), .. }, Finding::Requested { serial: Some(second), .. }) if first == second
        ),
        "{findings:?}"
    );
}

/// The 32-bit calls are not built in, or switched off on the command line.
fn kernel_lacks_32_bit_calls() -> bool {
    let find = "for f in /proc/config.gz /boot/config-$(uname -r); do zcat -f $f 2>/dev/null; done; cat /proc/cmdline";
    let said = succeed(command("sh").args(["-c", find]), "");
    let off = ["# CONFIG_IA32_EMULATION is not set", "CONFIG_IA32_EMULATION_DEFAULT_DISABLED=y"];
    off.iter().any(|line| said.contains(line))
        || said.contains("ia32_emulation=0")
        || said.contains("ia32_emulation=off")
}
