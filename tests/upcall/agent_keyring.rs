//! `lgss_agent` with `storage = "keyring"`: what one agent has stored, the next one has.

use crate::support::agent::{DONE, DoorAgent, KcmClient, NO_CACHE, credential, named, principal};
use crate::support::kcm_model::{ModelChange, replacement};
use crate::support::kept_caches::KeptCaches;
use crate::support::process::command_as;
use crate::support::realm::{PASSWORD, Realm};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use nix::sys::signal::Signal;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

crate::trials![
    tickets_of_two_principals_are_the_same_after_a_kill,
    a_new_agent_of_nothing_leaves_no_keyring,
    what_has_no_room_is_refused_as_a_whole_with_figures_in_the_log,
    room_that_the_kernel_has_yet_to_free_is_waited_for_and_nobody_else_waits,
    kinit_says_that_the_quota_is_exceeded,
    with_no_room_left_many_tickets_can_be_removed,
    expired_tickets_are_dropped_at_the_next_start,
    the_kernel_ends_each_key_with_its_ticket,
    planted_keys_are_passed_over_and_told,
    a_keyring_that_others_may_use_is_not_believed,
    a_keyring_that_somebody_has_removed_is_stored_anew,
    a_second_agent_takes_over_and_the_first_one_ends,
    an_agent_whose_caches_were_taken_over_ends_without_a_request,
    an_agent_that_has_made_its_socket_stays_when_it_is_idle,
    mits_collection_in_the_same_keyring_is_another_one,
    roots_caches_stay_in_memory,
    sessions_of_their_own_exclude_the_keyring,
];

const SOON: Duration = Duration::from_secs(20);
/// The status of a store that exceeds the quota.
const EXCEEDED: i32 = 122;

fn initialize(client: &mut KcmClient, label: &str) {
    client.done(4, &named(label, &principal("alice")));
}

fn store(client: &mut KcmClient, label: &str, number: usize, size: usize) -> i32 {
    client.call(6, &named(label, &credential(&format!("svc/h{number}"), size, u32::MAX))).0
}

#[track_caller]
fn count(client: &mut KcmClient, label: &str) -> usize {
    client.done(9, &named(label, &[])).len() / 16
}

fn now() -> u32 {
    u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn tickets_of_two_principals_are_the_same_after_a_kill(_: &Shared) {
    let realm = Realm::start();
    realm.administrate(&[format!("addprinc -pw \"{PASSWORD}\" bob")]);
    let kept = KeptCaches::new(&realm);
    let first = kept.agent();
    kept.done("kinit alice");
    kept.done(&format!("kvno {}", realm.service().replace('@', "/")));
    kept.done("kinit bob");
    kept.done("kswitch -p alice");
    let (listed, all) = (kept.done("klist -l"), kept.done("klist -A -f -e"));
    first.signal(Signal::SIGKILL);
    drop(first);
    let second = kept.agent();
    assert_eq!((kept.done("klist -l"), kept.done("klist -A -f -e")), (listed, all.clone()));
    assert!(all.contains(&realm.service().replace('@', "/")) && all.contains("bob@"), "{all}");
    kept.site.log.wait_for_words(&["lgss_agent", "caches in the persistent keyring: 2"]);
    // What is destroyed stays so.
    kept.done("kdestroy -p bob");
    second.signal(Signal::SIGKILL);
    drop(second);
    let _third = kept.agent();
    let left = kept.done("klist -l");
    assert!(left.contains("alice@") && !left.contains("bob@"), "{left}");
}

fn a_new_agent_of_nothing_leaves_no_keyring(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    let mut keyctl = command_as(kept.site.uid(), "keyctl");
    let script = "keyctl rlist $(keyctl get_persistent @s)";
    let said = keyctl.args(["session", "-", "sh", "-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "");
}

/// Stores tickets until one is refused. Returns how many were stored.
fn fill(client: &mut KcmClient, label: &str, size: usize) -> usize {
    for number in 0..200 {
        match store(client, label, number, size) {
            DONE => {}
            status => {
                assert_eq!(status, EXCEEDED);
                return number;
            }
        }
    }
    panic!("no quota was met");
}

fn what_has_no_room_is_refused_as_a_whole_with_figures_in_the_log(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let first = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    let stored = fill(&mut client, "a", 1000);
    assert!((5..20).contains(&stored), "{stored} tickets");
    let uid = format!("uid {} has used", kept.site.uid());
    kept.site.log.wait_for_words(&[
        "not stored in the persistent keyring",
        &uid,
        "of 200 keys",
        "kernel.keys.maxbytes",
    ]);
    assert_eq!(count(&mut client, "a"), stored);
    // Old and new tickets would have to fit.
    let many: Vec<_> =
        (0..10).map(|number| credential(&format!("svc/new{number}"), 1000, u32::MAX)).collect();
    assert_eq!(client.call(13002, &replacement("a", 0, &many)).0, EXCEEDED);
    assert_eq!(client.call(13002, &replacement("b", 0, &many)).0, EXCEEDED);
    assert_eq!((count(&mut client, "a"), client.call(9, &named("b", &[])).0), (stored, NO_CACHE));
    drop(first);
    let _second = kept.agent();
    assert_eq!(count(&mut kept.connect(), "a"), stored);
}

fn room_that_the_kernel_has_yet_to_free_is_waited_for_and_nobody_else_waits(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    let (mut client, mut other) = (kept.connect(), kept.connect());
    for round in 0..4 {
        initialize(&mut client, "a");
        let stored = fill(&mut client, "a", 3000);
        assert!(stored >= 4, "round {round}: {stored}");
        // Emptied: what comes next may find that its room is not free yet.
        initialize(&mut client, "a");
        client
            .send(&crate::support::agent::request(6, &named("a", &credential("svc/x", 15_000, u32::MAX))))
            .unwrap();
        let start = Instant::now();
        other.done(20, &[]);
        assert!(start.elapsed() < Duration::from_secs(2), "round {round}: {:?}", start.elapsed());
        assert_eq!(client.reply().unwrap().0, DONE, "round {round}");
    }
}

fn kinit_says_that_the_quota_is_exceeded(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    fill(&mut client, "a", 1500);
    fill(&mut client, "a", 150);
    let said = kept.attempt("kinit alice").unwrap_err();
    assert!(said.contains("Disk quota exceeded"), "{said}");
}

fn with_no_room_left_many_tickets_can_be_removed(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let first = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    // Of decreasing size, so that in the end there is no room for the numbers of those that are removed.
    let stored: usize = [1000, 300, 100, 1].iter().map(|size| fill(&mut client, "a", *size)).sum();
    // Each number takes eight bytes, and a ticket that no longer fits less than 400.
    assert!(8 * count(&mut client, "a") > 400, "{stored}");
    let (opcode, parameters) = ModelChange::Empty("a").request();
    assert_eq!(client.call(opcode, &parameters).0, DONE);
    assert_eq!(count(&mut client, "a"), 0);
    drop(first);
    let _second = kept.agent();
    assert_eq!(count(&mut kept.connect(), "a"), 0);
}

fn expired_tickets_are_dropped_at_the_next_start(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let first = kept.agent();
    let mut client = kept.connect();
    let end = now() + 3;
    let (soon, late) = (credential("svc/soon", 100, end), credential("svc/late", 100, u32::MAX));
    client.done(13002, &replacement("over", 0, std::slice::from_ref(&soon)));
    client.done(13002, &replacement("some", 0, &[soon, late.clone()]));
    initialize(&mut client, "new");
    drop(first);
    wait_for("the tickets' end", SOON, || (now() > end).then_some(()));
    let _second = kept.agent();
    let mut client = kept.connect();
    assert_eq!(client.call(8, &named("over", &[])).0, NO_CACHE);
    assert_eq!((count(&mut client, "some"), count(&mut client, "new")), (1, 0));
    assert_eq!(client.done(13001, &named("some", &[]))[8..], late);
    kept.site.log.wait_for_words(&["KCM:over is dropped: its tickets have expired"]);
}

/// Lines of /proc/keys about the user's tickets.
fn ticket_lines(kept: &KeptCaches) -> Vec<String> {
    let said = kept.in_keyring("cat /proc/keys");
    said.lines().filter(|line| line.contains(" ticket:")).map(str::to_owned).collect()
}

fn the_kernel_ends_each_key_with_its_ticket(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    client.done(6, &named("a", &credential("svc/hours", 100, now() + 3 * 3600 - 10)));
    client.done(6, &named("a", &credential("svc/soon", 100, now() + 5)));
    let lines = ticket_lines(&kept);
    let times: Vec<_> = lines.iter().map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert!(times.contains(&"2h") && times.iter().any(|time| time.ends_with('s')), "{lines:#?}");
    // Nobody but a possessor has any right but to see them.
    assert!(lines.iter().all(|line| line.contains(" 3f010000 ")), "{lines:#?}");
    wait_for("the kernel to end a ticket", SOON, || {
        ticket_lines(&kept).iter().any(|line| line.contains(" expd ")).then_some(())
    });
}

fn planted_keys_are_passed_over_and_told(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let first = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    store(&mut client, "a", 1, 100);
    drop(first);
    kept.in_keyring(
        "c=$(keyctl rlist $r | tr ' ' '\\n' | while read k; do keyctl describe $k | grep -q cache: && echo $k; done); \
         keyctl add user stray x $r; keyctl newring cache:77 $r; keyctl add user ticket:ffff junk $c; \
         k=$(keyctl add user ticket:fffe junk $c); keyctl setperm $k 0x3f3f3f3f; keyctl newring loop $c; \
         keyctl link $r $(keyctl search $c keyring loop) || true; keyctl pipe $(keyctl search $c user head) > /dev/null",
    );
    let second = kept.agent();
    let mut client = kept.connect();
    assert_eq!(count(&mut client, "a"), 1);
    for words in ["none of the agent's", "a cache without head", "no credential", "others may use it"] {
        kept.site.log.wait_for_words(&["passed over", words]);
    }
    // It works on with what it believes.
    assert_eq!(store(&mut client, "a", 2, 100), DONE);
    drop(second);
    kept.in_keyring(
        "c=$(keyctl rlist $r | tr ' ' '\\n' | while read k; do keyctl describe $k | grep -q cache: && echo $k; done); \
         for k in $c; do h=$(keyctl search $k user head 2>/dev/null) && keyctl update $h nonsense; done; true",
    );
    let _third = kept.agent();
    assert_eq!(kept.connect().call(9, &named("a", &[])).0, NO_CACHE);
    kept.site.log.wait_for_words(&["passed over", "its head is damaged"]);
}

fn a_keyring_that_others_may_use_is_not_believed(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let first = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    drop(first);
    kept.in_keyring("keyctl setperm $r 0x3f3f3f3f");
    let second = kept.agent();
    let mut client = kept.connect();
    assert_eq!(client.call(9, &named("a", &[])).0, NO_CACHE);
    // It has another one, which takes that one's place.
    initialize(&mut client, "b");
    drop(second);
    let _third = kept.agent();
    assert_eq!(count(&mut kept.connect(), "b"), 0);
}

fn a_keyring_that_somebody_has_removed_is_stored_anew(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let mut agent = kept.agent();
    for removal in ["keyctl unlink $r $p", "keyctl clear $r", "keyctl revoke $r", "keyctl invalidate $r"] {
        let mut client = kept.connect();
        initialize(&mut client, "a");
        assert_eq!(store(&mut client, "a", 1, 100), DONE, "before {removal}");
        client.done(21, b"a\0");
        kept.in_keyring(removal);
        assert_eq!(store(&mut client, "a", 2, 100), DONE, "after {removal}");
        agent.signal(Signal::SIGKILL);
        drop(agent);
        agent = kept.agent();
        let mut client = kept.connect();
        assert_eq!((count(&mut client, "a"), client.done(20, &[])), (2, b"a\0".to_vec()), "{removal}");
    }
}

fn a_second_agent_takes_over_and_the_first_one_ends(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let mut first = kept.agent();
    let mut before = kept.connect();
    initialize(&mut before, "a");
    assert_eq!(store(&mut before, "a", 1, 100), DONE);
    let _second = kept.agent_at("second.socket");
    let mut client = kept.connect_to("second.socket");
    assert_eq!(count(&mut client, "a"), 1);
    assert_eq!(store(&mut client, "a", 2, 100), DONE);
    // The first one answers nothing any more: it does not know what the second one has.
    assert_eq!(before.try_to(9, &named("a", &[])), None);
    wait_for("the end of the first agent", SOON, || first.ended());
    kept.site.log.wait_for_words(&["another lgss_agent serves these caches now"]);
    assert_eq!(count(&mut client, "a"), 2);
}

fn an_agent_whose_caches_were_taken_over_ends_without_a_request(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let mut first = kept.agent();
    let mut client = kept.connect();
    initialize(&mut client, "a");
    let _second = kept.agent_at("second.socket");
    // Root's connection is closed unread: it asks nothing.
    drop(UnixStream::connect(kept.site.path("user").join("kcm.socket")).unwrap());
    wait_for("the end of the first agent", SOON, || first.ended());
    kept.site.log.wait_for_words(&["another lgss_agent serves these caches now"]);
}

fn an_agent_that_has_made_its_socket_stays_when_it_is_idle(shared: &Shared) {
    let kept = KeptCaches::with(shared.realm(), "idle = \"1s\"\n");
    let mut agent = kept.agent();
    // After the time at which it could have left, twice.
    assert!(kept.connect().is_closed() && kept.connect().is_closed());
    assert_eq!(kept.connect().done(20, &[]), format!("{}\0", kept.site.uid()).as_bytes());
    assert!(agent.ended().is_none());
}

fn mits_collection_in_the_same_keyring_is_another_one(shared: &Shared) {
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    let persistent = format!("KEYRING:persistent:{}", kept.site.uid());
    kept.done(&format!("kinit -c {persistent} alice"));
    assert!(kept.attempt("klist").is_err(), "the agent has none");
    kept.done("kinit alice");
    kept.done(&format!("kdestroy -c {persistent}"));
    assert!(kept.done("klist").contains("alice@"));
    kept.done("kdestroy -A");
    kept.done(&format!("kinit -c {persistent} alice && klist -c {persistent}"));
}

fn roots_caches_stay_in_memory(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.add_settings("[agent]\nstorage = \"keyring\"\n");
    let agent = DoorAgent::start(&site);
    let mut client = agent.connect();
    initialize(&mut client, "a");
    site.log.wait_for_words(&["lgss_agent", "agent.storage: root's caches are in memory"]);
    drop(agent);
    let again = DoorAgent::start(&site);
    assert_eq!(again.connect().call(9, &named("a", &[])).0, NO_CACHE);
}

fn sessions_of_their_own_exclude_the_keyring(shared: &Shared) {
    let kept = KeptCaches::with(shared.realm(), "scope = \"session\"\n");
    let said = kept.refused_agent();
    assert!(said.contains("agent.scope") && said.contains("agent.storage = \"memory\""), "{said}");
}
