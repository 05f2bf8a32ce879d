//! Places with more files than a search looks at, file systems that do not answer, and files that change during the
//! search (rules S8, S9).

use crate::plan::PlantedFile;
use crate::support::cache_file::plant;
use crate::support::fuse::{Fuse, Silence};
use crate::support::kcm::Kcm;
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Step, as_user, probe};
use crate::support::process::{Process, command_as, succeed};
use crate::support::realm::PASSWORD;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

crate::trials![
    of_three_hundred_caches_the_newest_are_looked_at_and_the_rest_is_counted,
    twelve_thousand_names_in_tmp_do_not_stand_in_the_way_of_a_good_cache,
    twelve_thousand_names_of_others_in_tmp_are_counted_and_do_not_stand_in_the_way,
    a_file_system_that_is_mounted_where_a_cache_is_found_is_not_asked,
    a_tmp_that_a_program_serves_is_passed_over,
    a_named_cache_on_a_file_system_that_hangs_is_passed_over_and_the_launcher_counts,
    a_daemon_that_says_nothing_is_passed_over,
    a_daemon_that_is_slow_at_first_is_waited_for,
    with_nothing_else_a_daemon_that_says_nothing_is_named_as_the_reason,
    whatever_is_swapped_for_a_cache_nobody_waits_and_no_victims_ticket_is_used,
    a_cache_that_is_replaced_again_and_again_serves_every_request,
];

fn of_three_hundred_caches_the_newest_are_looked_at_and_the_rest_is_counted(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().ticket(site.uid(), &site.cache("good"));
    let path = |name: &str| PathBuf::from(format!("{}_{name}", site.default_cache().display()));
    for number in 0..299 {
        plant(&path(&number.to_string()), b"", site.uid());
    }
    let good = fs::read(site.path("user").join("good")).unwrap();
    plant(&path("good"), &good, site.uid());
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    let (chosen, _) = site.log.wait_for_choice();
    assert!(chosen.contains(&format!(" in FILE:{}, ", path("good").display())), "{chosen}");
    // The oldest files are not read.
    fs::remove_file(path("good")).unwrap();
    // Root does not write into a user's file there (fs.protected_regular).
    fs::remove_file(path("0")).unwrap();
    fs::copy(site.path("user").join("good"), path("0")).unwrap();
    let old = fs::File::options().write(true).open(path("0")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":old"));
    assert_eq!(outcome.errno(), Errno::ENOKEY);
    site.wait_until_idle();
    let told = site.log.wait_for_words(&["no credentials: ", "; and "]);
    // The default cache, the 256 that were read, and the number of the rest.
    let (listed, more) = told.split_once("no credentials: ").unwrap().1.rsplit_once("; and ").unwrap();
    let more: usize = more.trim().strip_suffix(" more").unwrap().parse().unwrap();
    assert!([258, 259].contains(&(listed.split("; ").count() + more)), "{told}");
}

/// The user's cache in a private /tmp.
fn private_tmp(shared: &Shared, site: &Site) -> Step {
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    let content = fs::read(site.path("user").join("mine")).unwrap();
    let path = site.default_cache().display().to_string();
    let file = PlantedFile { path, owner: site.uid(), mode: 0o600, content };
    Step::PrivateDirectory { directory: "/tmp".to_owned(), files: vec![file] }
}

fn run(words: &[&str]) -> Step {
    Step::Run { words: words.iter().map(|&word| word.to_owned()).collect(), input: String::new() }
}

fn twelve_thousand_names_in_tmp_do_not_stand_in_the_way_of_a_good_cache(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut steps = vec![private_tmp(shared, &site)];
    steps.extend(as_user(site.uid()));
    // Names of the maximum length, with more bytes than fit into a program's arguments.
    let name = format!("krb5cc_{}", "x".repeat(230));
    let script =
        r#"cd /tmp && seq -f "$1_%.0f" 6000 | xargs touch && seq -f "$1_pipe_%.0f" 6000 | xargs mkfifo"#;
    steps.push(run(&["sh", "-c", script, "sh", &name]));
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    let (chosen, _) = site.log.wait_for_choice();
    assert!(chosen.contains(&format!(" in FILE:{}, ", site.default_cache().display())), "{chosen}");
}

fn twelve_thousand_names_of_others_in_tmp_are_counted_and_do_not_stand_in_the_way(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut steps = vec![private_tmp(shared, &site)];
    // This runs as root.
    let script = "cd /tmp && seq -f krb5cc_of_others_%.0f 12000 | xargs touch && echo >krb5cc_mine && chown $1 krb5cc_mine";
    steps.push(run(&["sh", "-c", script, "sh", &site.uid().to_string()]));
    steps.extend(as_user(site.uid()));
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    let (chosen, others) = site.log.wait_for_choice();
    assert!(chosen.contains(&format!(" in FILE:{}, ", site.default_cache().display())), "{chosen}");
    assert_eq!(others.last().unwrap(), "/tmp: 12000 more of other users", "{others:?}");
}

/// A site with a FUSE file system that does not answer; the test mounts it where it disturbs.
fn with_fuse(shared: &Shared, silence: Silence) -> (Site, Fuse) {
    // A file system that does not even answer look-ups need not be allowed.
    let allow = silence != Silence::Lookups;
    let extra = format!("[limits]\nper_owner = 1\n[caches]\nallow_fuse = {allow}\n");
    let settings = Settings { extra: &extra, ..Default::default() };
    let site = Site::with(shared.realm(), &settings);
    let fuse = Fuse::mount(&site.mount_point(), site.uid(), Vec::new(), silence);
    (site, fuse)
}

fn bind(site: &Site, over: &str) -> Step {
    run(&["mount", "--bind", &site.path("mount").display().to_string(), over])
}

fn a_file_system_that_is_mounted_where_a_cache_is_found_is_not_asked(shared: &Shared) {
    let (site, _fuse) = with_fuse(shared, Silence::Lookups);
    let over = format!("{}_dir", site.default_cache().display());
    let mut steps = vec![private_tmp(shared, &site), run(&["mkdir", &over]), bind(&site, &over)];
    steps.extend(as_user(site.uid()));
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    site.log.wait_for_words(&["chosen: ", "; not: ", &format!("FILE:{over} is a mount point")]);
    site.wait_until_idle();
}

fn a_tmp_that_a_program_serves_is_passed_over(shared: &Shared) {
    let (site, _fuse) = with_fuse(shared, Silence::Lookups);
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    site.libdefaults(&format!("default_ccache_name = {}", site.cache("mine")));
    let mut steps = vec![private_tmp(shared, &site), bind(&site, "/tmp")];
    steps.extend(as_user(site.uid()));
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    site.log.wait_for_words(&["chosen: ", "; not: ", "/tmp is on a FUSE file system"]);
    site.wait_until_idle();
}

fn a_named_cache_on_a_file_system_that_hangs_is_passed_over_and_the_launcher_counts(shared: &Shared) {
    expect_passed_over(shared, Silence::Lookups);
    expect_passed_over(shared, Silence::Opens);
}

#[track_caller]
fn expect_passed_over(shared: &Shared, silence: Silence) {
    let (site, fuse) = with_fuse(shared, silence);
    site.ticket(shared.realm());
    let begun = Instant::now();
    let outcome = site.ask_naming(Some(&fuse.cache()), as_user(site.uid()), site.request(shared.nfs()));
    call_null_with(&outcome.context(), shared.nfs());
    assert!(begun.elapsed() < stretched(Duration::from_secs(6)), "{:?}", begun.elapsed());
    let reason = format!("{}: its file system does not answer", fuse.cache());
    site.log.wait_for_words(&["chosen: ", "; not: ", &reason]);
    let exe = site.path("lgss_keyring");
    let stuck = || Process::all().into_iter().any(|p| p.exe == exe && p.uid == Some(site.uid()));
    assert!(stuck(), "no launcher is blocked");
    // The owner may have one negotiation.
    let next = site.request_as(&site.uid().to_string(), shared.nfs(), ":next");
    assert_eq!(site.ask_with(next.clone()).errno(), Errno::EAGAIN);
    assert!(stuck(), "SIGKILL has ended it: this proves nothing");
    drop(fuse);
    site.wait_until_idle();
    drop(site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":last")).context());
}

fn a_daemon_that_says_nothing_is_passed_over(shared: &Shared) {
    for name in ["KCM:".to_owned(), "KCM:%{uid}".to_owned()] {
        let site = Site::new(shared.realm());
        site.libdefaults(&format!("default_ccache_name = {name}"));
        let kcm = Kcm::start(&site);
        kcm.silence();
        site.ticket(shared.realm());
        let begun = Instant::now();
        call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
        assert!(begun.elapsed() < stretched(Duration::from_secs(6)), "{:?}", begun.elapsed());
        site.log.wait_for_words(&[
            "chosen: ",
            "; not: ",
            "KCM",
            ": the daemon that keeps it has not answered within 2.5 s",
        ]);
    }
}

/// Twice the shortest limit for a daemon, and a fifth of what it gets here.
const SLOW: Duration = Duration::from_secs(1);

/// As SSSD's daemon is just after its start.
fn a_daemon_that_is_slow_at_first_is_waited_for(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { kdc: "20s", ..Settings::default() });
    site.libdefaults("default_ccache_name = KCM:");
    let kcm = Kcm::start(&site);
    let mut steps = as_user(site.uid());
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KCM:"));
    assert!(probe(&steps).iter().all(|finding| matches!(finding, Finding::Done)));
    kcm.silence();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kcm.wait_until_asked();
            std::thread::sleep(SLOW);
            kcm.wake();
        });
        // There is no other ticket.
        call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    });
    site.wait_until_idle();
}

fn with_nothing_else_a_daemon_that_says_nothing_is_named_as_the_reason(shared: &Shared) {
    for name in ["KCM:", "FILE:/tmp/krb5cc_%{uid}"] {
        let site = Site::new(shared.realm());
        site.libdefaults(&format!("default_ccache_name = {name}"));
        let kcm = Kcm::start(&site);
        kcm.silence();
        let outcome = site.ask(shared.nfs());
        site.assert_failed(&outcome, Cause::BadCache, shared.nfs());
        site.log
            .wait_for_words(&["KCM: the daemon that keeps it has not answered within 2.5 s", "ask again"]);
    }
}

/// The contents of a path, in turn.
enum Guise<'a> {
    Content(&'a [u8]),
    Fifo,
    Link(&'a Path),
}

/// Renames each of these over `path`, as fast as possible, until `stop`; returns how often.
fn swap(path: &Path, owner: u32, guises: &[Guise<'_>], stop: &AtomicBool) -> usize {
    let directory = PathBuf::from(format!("{}.new", path.display()));
    fs::create_dir(&directory).unwrap();
    let new = directory.join("cache");
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        for guise in guises {
            match guise {
                Guise::Content(content) => plant(&new, content, owner),
                Guise::Fifo => mkfifo(&new, Mode::S_IRUSR | Mode::S_IWUSR).unwrap(),
                Guise::Link(target) => symlink(target, &new).unwrap(),
            }
            lchown(&new, Some(owner), Some(owner)).unwrap();
            fs::rename(&new, path).unwrap();
            turns += 1;
        }
    }
    turns
}

/// Makes requests of the site's user while its default cache is swapped; returns how many were served.
#[track_caller]
fn ask_meanwhile(shared: &Shared, site: &Site, guises: &[Guise<'_>], requests: usize) -> usize {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| swap(&site.default_cache(), site.uid(), guises, &stop));
        let served = (0..requests).filter(|number| {
            let instance = format!(":{number}");
            let request = site.request_as(&site.uid().to_string(), shared.nfs(), &instance);
            let begun = Instant::now();
            let outcome = site.ask_with(request);
            assert!(begun.elapsed() < stretched(Duration::from_secs(5)), "{:?}", begun.elapsed());
            match outcome {
                Outcome::Established(_) => true,
                failed => {
                    assert_eq!(failed.errno(), Errno::ENOKEY, "{:#?}", site.log.lines());
                    false
                }
            }
        });
        let served = served.count();
        stop.store(true, Ordering::Relaxed);
        assert!(swapping.join().unwrap() > requests, "hardly anything was swapped");
        served
    })
}

fn whatever_is_swapped_for_a_cache_nobody_waits_and_no_victims_ticket_is_used(shared: &Shared) {
    let (site, victim) = (Site::new(shared.realm()), Site::new(shared.realm()));
    let name = format!("victim{}", victim.uid());
    shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {name}")]);
    let mut kinit = command_as(victim.uid(), "kinit");
    let cache = format!("FILE:{}", victim.default_cache().display());
    kinit.envs(shared.realm().environment()).args(["-c", &cache, &name]);
    succeed(&mut kinit, &format!("{PASSWORD}\n"));
    shared.realm().ticket(site.uid(), &site.cache("good"));
    let good = fs::read(site.path("user").join("good")).unwrap();
    let bad = [Guise::Fifo, Guise::Link(&victim.default_cache()), Guise::Link(Path::new("/dev/zero"))];
    // Each state lasts until the next one is ready. Good ones come twice in a row, so that one lasts until the next
    // good one.
    let good_twice = || [Guise::Content(&good), Guise::Content(&good)];
    let guises: Vec<_> = bad.into_iter().flat_map(|bad| good_twice().into_iter().chain([bad])).collect();
    let served = ask_meanwhile(shared, &site, &guises, 30);
    assert!(served > 0, "it was never good");
    site.wait_until_idle();
    assert!(!site.log.lines().iter().any(|line| line.contains(&name)), "{:#?}", site.log.lines());
}

fn a_cache_that_is_replaced_again_and_again_serves_every_request(shared: &Shared) {
    let site = Site::new(shared.realm());
    let contents = ["one", "two"].map(|name| {
        shared.realm().ticket(site.uid(), &site.cache(name));
        fs::read(site.path("user").join(name)).unwrap()
    });
    plant(&site.default_cache(), &contents[0], site.uid());
    let guises = contents.each_ref().map(|content| Guise::Content(content));
    assert_eq!(ask_meanwhile(shared, &site, &guises, 30), 30, "{:#?}", site.log.lines());
}
