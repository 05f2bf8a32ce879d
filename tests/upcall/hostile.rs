//! A worker that has been taken over gains nothing: no key, no file, no id, no access to the monitor. A message that is
//! not in the table fails the key.

use crate::support::outcome::Outcome;
use crate::support::peak_memory::Followed;
use crate::support::probe::Step;
use crate::support::process::Process;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::Cause;
use lgss::private_to_lgss::sys::keyctl;
use nix::errno::Errno;
use std::ffi::CString;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

crate::trials![
    it_cannot_touch_the_key_nor_keyrings_that_lead_to_it,
    it_cannot_touch_the_machines_tickets_in_roots_keyring,
    it_cannot_open_what_is_roots_or_the_monitors,
    it_cannot_regain_ids_or_capabilities,
    it_cannot_signal_trace_or_read_the_monitor,
    a_child_of_it_that_holds_the_socket_does_not_hold_the_key_up,
    ending_without_a_word_fails_the_key_at_once,
    every_wrong_message_fails_the_key,
    an_unfinished_message_fails_the_key_within_a_second_or_two,
    a_dripping_message_fails_the_key_within_a_second_or_two,
    silence_is_ended_by_the_deadline,
    messages_without_end_cost_the_monitor_no_memory_and_the_log_no_lines,
    a_message_that_never_ends_costs_the_monitor_no_memory_and_the_log_no_lines,
    a_second_report_changes_nothing,
    a_context_of_a_type_that_is_not_allowed_is_not_believed,
    a_report_that_would_forge_log_lines_stays_one_line,
];

struct Scene {
    site: Site,
    socket: UnixDatagram,
    host: String,
}

/// One attempt of the worker's.
#[derive(Debug, serde::Deserialize)]
struct Attempt {
    attempt: String,
    errno: i32,
}

impl Scene {
    fn new(shared: &Shared, deadline: &str) -> Self {
        let worker = env!("CARGO_BIN_EXE_lgss-hostile-worker");
        // What it cannot do without its sandbox; tests/upcall/sandbox.rs shows what that takes in addition.
        let settings = Settings { worker, deadline, sandbox: "off", ..Default::default() };
        let site = Site::with(shared.realm(), &settings);
        site.ticket(shared.realm());
        let host = format!("h{}.test", site.uid());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&host).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { site, socket, host }
    }

    fn ask(&self, attack: &str) -> Outcome {
        self.site.ask(&Target::nfs(&format!("{attack}@{}", self.host), 1))
    }

    /// Every attempt of this attack fails, and the key fails as after a worker's death.
    #[track_caller]
    fn expect_nothing_gained(&self, attack: &str) -> Vec<Attempt> {
        let (outcome, attempts) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| self.ask(attack));
            let attempts = self.attempts();
            (asking.join().unwrap(), attempts)
        });
        let gained: Vec<_> = attempts.iter().filter(|attempt| attempt.errno == 0).collect();
        assert!(gained.is_empty(), "gained: {gained:#?}");
        assert_eq!(outcome.errno(), Errno::EIO);
        let uid = format!("uid {} ", self.site.uid());
        self.site.log.wait_for_words(&[&uid, "EIO", Cause::WorkerFault.remedy()]);
        self.site.wait_until_idle();
        attempts
    }

    #[track_caller]
    fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let length = self.socket.recv(&mut buffer).expect("the worker tells what it tried");
            let attempt: Attempt = serde_json::from_slice(&buffer[..length]).unwrap();
            if attempt.attempt == "end" {
                return attempts;
            }
            attempts.push(attempt);
        }
    }
}

fn it_cannot_touch_the_key_nor_keyrings_that_lead_to_it(shared: &Shared) {
    let attempts = Scene::new(shared, "20s").expect_nothing_gained("keys");
    assert!(attempts.len() > 20, "too little was tried: {attempts:#?}");
}

/// A key as the monitor leaves it for `machine.cache = "keyring"`: its owner alone has rights to it.
struct TicketKey(i32);

impl TicketKey {
    fn of(site: &Site) -> Self {
        let name = format!("lgss:{}/machine/{:064x}", site.path("run").display(), site.uid());
        let name = CString::new(name).unwrap();
        let key = keyctl::add(c"user", &name, b"tickets", keyctl::PROCESS_KEYRING).unwrap();
        keyctl::set_permissions(key, 0x003f_0000).unwrap();
        keyctl::link(key, keyctl::USER_KEYRING).unwrap();
        keyctl::unlink(key, keyctl::PROCESS_KEYRING).unwrap();
        Self(key)
    }
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        let _ = keyctl::unlink(self.0, keyctl::USER_KEYRING);
    }
}

/// The user's worker, and that of the machine user, which negotiates for root and with the machine's tickets.
fn it_cannot_touch_the_machines_tickets_in_roots_keyring(shared: &Shared) {
    let scene = Scene::new(shared, "20s");
    let site = &scene.site;
    let key = TicketKey::of(site);
    let attack = format!("tickets-{}", key.0);
    let attempts = scene.expect_nothing_gained(&attack);
    assert!(attempts.len() > 20, "too little was tried: {attempts:#?}");

    let cache = format!("FILE:{}", site.path("root-cache").display());
    shared.realm().ticket(0, &cache);
    let target = Target::nfs(&format!("{attack}@{}", scene.host), 1);
    let mut request = site.request_as("0", &target, &format!(":{}", site.uid()));
    request.callout.as_mut().unwrap().extend(format!(";cache={cache}").bytes());
    let attempts = std::thread::scope(|scope| {
        let asking = scope.spawn(|| site.ask_after(vec![Step::JoinSession], request));
        let attempts = scene.attempts();
        assert_eq!(asking.join().unwrap().errno(), Errno::EIO);
        attempts
    });
    let gained: Vec<_> = attempts.iter().filter(|attempt| attempt.errno == 0).collect();
    assert!(gained.is_empty() && attempts.len() > 20, "gained: {gained:#?}");
    assert_eq!(*keyctl::read(key.0).unwrap(), b"tickets"[..]);
    site.wait_until_idle();
}

fn it_cannot_open_what_is_roots_or_the_monitors(shared: &Shared) {
    let attempts = Scene::new(shared, "20s").expect_nothing_gained("files");
    assert!(attempts.len() > 10, "too little was tried: {attempts:#?}");
}

fn it_cannot_regain_ids_or_capabilities(shared: &Shared) {
    let attempts = Scene::new(shared, "20s").expect_nothing_gained("ids");
    assert!(attempts.len() > 10, "too little was tried: {attempts:#?}");
}

fn it_cannot_signal_trace_or_read_the_monitor(shared: &Shared) {
    let attempts = Scene::new(shared, "20s").expect_nothing_gained("monitor");
    assert!(attempts.len() > 10, "too little was tried: {attempts:#?}");
}

fn a_child_of_it_that_holds_the_socket_does_not_hold_the_key_up(shared: &Shared) {
    let scene = Scene::new(shared, "60s");
    let start = Instant::now();
    assert_eq!(scene.ask("fork").errno(), Errno::EIO);
    assert!(start.elapsed() < stretched(Duration::from_secs(3)), "took {:?}", start.elapsed());
    scene.site.log.wait_for_words(&["EIO", Cause::WorkerFault.remedy()]);
    scene.site.wait_until_idle();
}

fn ending_without_a_word_fails_the_key_at_once(shared: &Shared) {
    let scene = Scene::new(shared, "60s");
    let start = Instant::now();
    scene.expect_nothing_gained("nothing");
    assert!(start.elapsed() < stretched(Duration::from_secs(3)), "took {:?}", start.elapsed());
}

fn every_wrong_message_fails_the_key(shared: &Shared) {
    let scene = Scene::new(shared, "60s");
    for attack in [
        "unknown-kind",
        "shared-key-nobody-asked-for",
        "prime-nobody-asked-for",
        "token-nobody-wants",
        "reply",
        "credentials-nobody-wants",
        "kind-0",
        "request-back",
        "oversized",
        "empty-frame",
        "trailing",
        "unknown-field",
        "lacking-field",
        "negative-window",
        "window-0",
        "empty-handle",
        "huge-handle",
        "short-key",
        "long-key",
        "null-key",
        "no-key",
        "wrong-enctype",
        "deep-json",
        "not-json",
        "failed-with-key",
    ] {
        let outcome = scene.ask(attack);
        assert_eq!(outcome.errno(), Errno::EIO, "{attack}");
        scene.site.wait_until_idle();
    }
    for attack in ["ended", "no-lifetime"] {
        let errno = scene.ask(attack).errno();
        assert!([Errno::EIO, Errno::EKEYEXPIRED].contains(&errno), "{attack}: {errno}");
        scene.site.wait_until_idle();
    }
}

fn an_unfinished_message_fails_the_key_within_a_second_or_two(shared: &Shared) {
    let scene = Scene::new(shared, "60s");
    let start = Instant::now();
    assert_eq!(scene.ask("partial").errno(), Errno::EIO);
    assert!(start.elapsed() < stretched(Duration::from_secs(5)), "took {:?}", start.elapsed());
    scene.site.wait_until_idle();
}

fn a_dripping_message_fails_the_key_within_a_second_or_two(shared: &Shared) {
    let scene = Scene::new(shared, "60s");
    let start = Instant::now();
    assert_eq!(scene.ask("drip").errno(), Errno::EIO);
    assert!(start.elapsed() < stretched(Duration::from_secs(5)), "took {:?}", start.elapsed());
    scene.site.wait_until_idle();
}

fn silence_is_ended_by_the_deadline(shared: &Shared) {
    let scene = Scene::new(shared, "2s");
    let start = Instant::now();
    assert_eq!(scene.ask("silence").errno(), Errno::ETIMEDOUT);
    assert!(start.elapsed() < stretched(Duration::from_secs(5)), "took {:?}", start.elapsed());
    scene.site.wait_until_idle();
}

/// Of a monitor, in KiB; a flood that it kept would take any amount.
const MEMORY_LIMIT: u64 = 48 * 1024;

/// The outcome of an attack that begins when its monitor is known. The attack has ended the key within seconds, with little
/// memory and few words.
#[track_caller]
fn flooded(shared: &Shared, attack: &str) -> Outcome {
    let scene = Scene::new(shared, "120s");
    let (outcome, most) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| scene.ask(attack));
        scene.site.wait_for_process("lgss_negotiate");
        let running = Process::running_from(&scene.site.path(""));
        let monitors = running.iter().filter(|process| process.exe.ends_with("lgss_keyring"));
        let followed = Followed::new(monitors.map(|monitor| monitor.pid));
        fs::write(scene.site.path("user").join("go"), "").unwrap();
        // Read at their end, since the last work of a monitor is the flood's.
        let most = followed.peak(Duration::from_secs(10));
        (asking.join().unwrap(), most)
    });
    assert!(most < MEMORY_LIMIT, "{attack}: {most} KiB");
    scene.site.wait_until_idle();
    let lines = scene.site.log.wait_for_count(1);
    let length: usize = lines.iter().map(String::len).sum();
    assert!(lines.len() <= 3 && length < 8192, "{attack}: {lines:#?}");
    outcome
}

fn messages_without_end_cost_the_monitor_no_memory_and_the_log_no_lines(shared: &Shared) {
    // The first one counts: an invented context, which no server will accept.
    assert_eq!(flooded(shared, "flood-of-reports").context().handle.as_bytes(), [7; 16]);
    assert_eq!(flooded(shared, "flood-of-credentials").errno(), Errno::EIO);
}

fn a_message_that_never_ends_costs_the_monitor_no_memory_and_the_log_no_lines(shared: &Shared) {
    for attack in ["flood-of-bytes", "endless-message"] {
        assert_eq!(flooded(shared, attack).errno(), Errno::EIO, "{attack}");
    }
}

/// A worker may report an invented context, which no server will accept, but only once.
fn a_second_report_changes_nothing(shared: &Shared) {
    let scene = Scene::new(shared, "20s");
    let context = scene.ask("twice").context();
    assert_eq!(context.handle.as_bytes(), [7; 16]);
    scene.site.wait_until_idle();
    assert_eq!(scene.site.log.wait_for_count(1).len(), 1);
}

/// The attack "twice" begins with a context of type 18, which is accepted if that type is allowed.
fn a_context_of_a_type_that_is_not_allowed_is_not_believed(shared: &Shared) {
    let scene = Scene::new(shared, "20s");
    scene.site.allow_enctypes(&["aes128-cts-hmac-sha256-128"]);
    assert_eq!(scene.ask("twice").errno(), Errno::EIO);
    scene.site.log.wait_for_words(&["S12", "aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha256-128", "EIO"]);
    scene.site.wait_until_idle();
}

fn a_report_that_would_forge_log_lines_stays_one_line(shared: &Shared) {
    let scene = Scene::new(shared, "20s");
    assert_eq!(scene.ask("forged-log").errno(), Errno::ENOKEY);
    let line = scene.site.log.wait_for_words(&["ENOKEY"]);
    assert!(!line.trim_end().contains(['\n', '\u{1b}']) && line.len() < 1000, "{line:?}");
}
