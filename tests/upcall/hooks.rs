//! Hooks for operators: which files are run, what callers learn, and the lock against guessing.

use crate::support::hook_place::HookPlace;
use crate::support::shared::Shared;
use crate::support::wait::stretched;
use nix::sys::stat::Mode;
use serde_json::json;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

crate::trials![
    a_hooks_result_is_the_json_that_it_writes,
    a_program_that_is_no_script_and_a_link_to_one_are_run,
    a_hook_that_breaks_a_rule_is_not_run_and_only_the_log_says_why,
    a_directory_on_the_way_that_others_can_change_ends_every_hook,
    what_is_no_bare_name_is_refused_before_anything_is_looked_at,
    only_root_runs_hooks,
    what_is_no_json_or_too_deep_is_no_result,
    a_result_is_printed_without_what_a_terminal_acts_on,
    a_name_that_is_refused_and_one_that_does_not_exist_take_as_long,
    two_operators_at_once_take_turns,
    who_waits_too_long_for_others_may_try_again,
    a_failure_holds_up_the_next_run_even_if_its_caller_is_killed,
    without_its_user_no_hook_runs,
];

/// Failures do not hold up these tests.
const QUICK: &str = "delay = \"20ms\"";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn a_hooks_result_is_the_json_that_it_writes(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.shell("echo-1", "cat");
    let expected = json!({ "purpose": "operator", "hook": "echo-1", "uid": 0 });
    assert_eq!(place.run("echo-1").result(), expected);
    let line = place.log.wait_for_words(&["hook echo-1 asked for by uid 0: done in "]);
    assert!(line.contains("lgss["), "{line}");
    for (name, value) in [("null", "null"), ("_", " [1, \"two\"] \n"), ("-", "7")] {
        place.shell(name, &format!("echo '{value}'"));
        assert_eq!(place.run(name).result(), serde_json::from_str::<serde_json::Value>(value).unwrap());
    }
}

fn a_program_that_is_no_script_and_a_link_to_one_are_run(_: &Shared) {
    let place = HookPlace::new(QUICK);
    crate::support::site::install("/bin/cat", &place.hook("binary"), 0o755);
    assert_eq!(place.run("binary").result()["hook"], "binary");
    symlink("binary", place.hook("link")).unwrap();
    assert_eq!(place.run("link").result()["hook"], "link");
    symlink("/usr/bin/cat", place.hook("far")).unwrap();
    assert_eq!(place.run("far").result()["hook"], "far");
    // Its own group may be the only one that may execute it.
    set_mode(&place.hook("binary"), 0o750);
    chown(place.hook("binary"), None, Some(place.uid())).unwrap();
    assert_eq!(place.run("binary").result()["hook"], "binary");
}

fn a_hook_that_breaks_a_rule_is_not_run_and_only_the_log_says_why(_: &Shared) {
    let place = HookPlace::new(QUICK);
    let hook = |name: &str| place.shell(name, "echo '\"it was run\"'");
    chown(hook("owner"), Some(place.uid()), None).unwrap();
    for (name, mode) in [
        ("group-writable", 0o775),
        ("writable", 0o777),
        ("setuid", 0o4755),
        ("setgid", 0o2755),
        ("data", 0o644),
    ] {
        set_mode(&hook(name), mode);
    }
    DirBuilder::new().mode(0o755).create(place.hook("directory")).unwrap();
    nix::unistd::mkfifo(&place.hook("fifo"), Mode::from_bits_truncate(0o755)).unwrap();
    let anothers = place.path("anothers");
    DirBuilder::new().mode(0o755).create(&anothers).unwrap();
    fs::copy(hook("good"), anothers.join("good")).unwrap();
    chown(&anothers, Some(place.uid()), None).unwrap();
    symlink(anothers.join("good"), place.hook("link-out")).unwrap();
    symlink("good", place.hook("link-of-anothers")).unwrap();
    lchown(place.hook("link-of-anothers"), Some(place.uid()), None).unwrap();
    symlink("absent", place.hook("dangling")).unwrap();
    symlink("/dev/null", place.hook("device")).unwrap();
    symlink("circle", place.hook("circle")).unwrap();
    set_mode(&hook("roots-alone"), 0o700);
    fs::write(place.hook("no-program"), "no program\n").unwrap();
    set_mode(&place.hook("no-program"), 0o755);
    for (name, reason) in [
        ("owner", "belongs to uid"),
        ("group-writable", "has the mode 0775: at most 0755 is allowed"),
        ("writable", "has the mode 0777"),
        ("setuid", "has the mode 4755"),
        ("setgid", "has the mode 2755"),
        ("data", "is not executable"),
        ("directory", "is not a regular file"),
        ("fifo", "is not a regular file"),
        ("device", "is not a regular file"),
        ("link-out", "/anothers belongs to uid"),
        ("link-of-anothers", "/link-of-anothers belongs to uid"),
        ("dangling", "/absent does not exist"),
        ("circle", "too many links"),
        ("absent", "/absent does not exist"),
    ] {
        let told = place.refused(name);
        assert!(told.starts_with("S14: ") && told.contains(reason), "{name}: {told}");
    }
    let told = place.refused("roots-alone");
    assert!(told.starts_with("it cannot be executed: Permission denied"), "{told}");
    let told = place.refused("no-program");
    assert!(told.starts_with("it cannot be executed: Exec format error"), "{told}");
    assert_eq!(place.run("good").result(), "it was run");
}

fn a_directory_on_the_way_that_others_can_change_ends_every_hook(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.shell("good", "echo 1");
    for directory in [place.path("site/hooks.d"), place.path("site")] {
        for mode in [0o775, 0o757, 0o1777, 0o2755] {
            set_mode(&directory, mode);
            let told = place.refused("good");
            assert!(told.contains(&format!("has the mode {mode:04o}")), "{told}");
        }
        set_mode(&directory, 0o755);
    }
    chown(place.path("site/hooks.d"), Some(place.uid()), None).unwrap();
    assert!(place.refused("good").contains("/hooks.d belongs to uid"));
    chown(place.path("site/hooks.d"), Some(0), None).unwrap();
    assert_eq!(place.run("good").result(), 1);
}

fn what_is_no_bare_name_is_refused_before_anything_is_looked_at(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.shell("good", "echo 1");
    fs::copy(place.hook("good"), place.path("outside")).unwrap();
    let long = "x".repeat(65);
    for name in [
        "",
        ".",
        "..",
        ".good",
        "good.sh",
        "../outside",
        "/bin/true",
        "./good",
        "good/",
        "good\n",
        " good",
        "go od",
        "g\u{f6}\u{f6}d",
        "\u{433}ood",
        "good\u{200b}",
        "..\u{2215}outside",
        "$(id)",
        "*",
        &long,
    ] {
        let run = place.run(name);
        assert_eq!((run.status, run.out.as_str()), (Some(2), ""), "{name:?}: {run:?}");
        assert!(run.err.contains("a hook's name has 1 to 64 characters"), "{name:?}: {run:?}");
        assert!(run.err.lines().all(|line| !line.contains(char::is_control)), "{run:?}");
    }
    assert!(place.log.lines().is_empty() && !place.path("run/hooks.lock").exists());
    assert_eq!(place.run("good").result(), 1);
}

fn only_root_runs_hooks(_: &Shared) {
    let place = HookPlace::new(QUICK);
    let run = place.run_as(place.uid(), "good");
    assert_eq!((run.status, run.out.as_str()), (Some(6), ""), "{run:?}");
    // Options are not for the helper, which is not here either.
    assert!(run.err.contains("the rights of root"), "{run:?}");
}

fn what_is_no_json_or_too_deep_is_no_result(_: &Shared) {
    let place = HookPlace::new(QUICK);
    let deep = format!("printf '{}{}'", "[".repeat(200), "]".repeat(200));
    for (name, script) in [
        ("nothing", "true"),
        ("text", "echo hello"),
        ("two", "echo '1 2'"),
        ("cut", "printf '{\"a\": '"),
        ("bytes", "printf '\"\\377\"'"),
        ("null-byte", "printf '1\\000'"),
        ("deep", &deep),
    ] {
        place.shell(name, script);
        let told = place.refused(name);
        assert!(told.starts_with("its output is not the JSON that is expected: line "), "{name}: {told}");
    }
    place.shell("failed", "echo '{}'; echo 'no server \u{1b}[31m' >&2; echo more >&2; exit 3");
    assert_eq!(place.refused("failed"), "it ended with exit status 3: no server \\u{1b}[31m");
    place.shell("killed", "echo '{}'; exec sh -c 'kill -SEGV $$; kill -KILL $$; exit 9'");
    assert!(place.refused("killed").starts_with("it "), "{:?}", place.log.lines());
}

fn a_result_is_printed_without_what_a_terminal_acts_on(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.python(
        "control",
        "result = '\\x1b[2J\\u202e\\x9b\\x7f'\nprint(json.dumps(result, ensure_ascii=False))\nsys.exit()",
    );
    let run = place.run("control");
    assert!(run.out.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{run:?}");
    assert_eq!(run.result(), "\u{1b}[2J\u{202e}\u{9b}\u{7f}");
}

fn a_name_that_is_refused_and_one_that_does_not_exist_take_as_long(_: &Shared) {
    const DELAY: Duration = Duration::from_millis(400);
    let place = HookPlace::new("delay = \"400ms\"");
    set_mode(&place.shell("refused", "echo 1"), 0o777);
    place.shell("fails", "exit 1");
    let names = ["absent", "refused", "fails"];
    let runs: Vec<Vec<Duration>> = (0..5)
        .map(|_| {
            names
                .map(|name| {
                    let run = place.run(name);
                    run.is_refused(name);
                    run.took
                })
                .to_vec()
        })
        .collect();
    let least = |at: usize| runs.iter().map(|times| times[at]).min().unwrap();
    let least = [least(0), least(1), least(2)];
    assert!(least.iter().all(|took| *took >= DELAY), "{least:?}");
    // What is left is the start of the command; a look at one more file takes some microseconds of that.
    let (shortest, longest) = (least.iter().min().unwrap(), least.iter().max().unwrap());
    assert!(*longest - *shortest < stretched(Duration::from_millis(40)), "{runs:?}");
}

fn two_operators_at_once_take_turns(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.python("slow", "begin = time.monotonic()\ntime.sleep(0.3)\nresult = [begin, time.monotonic()]");
    let runs = [place.start("slow"), place.start("slow"), place.start("slow")];
    let mut times = runs.map(|run| {
        let result = run.end().result();
        (result[0].as_f64().unwrap(), result[1].as_f64().unwrap())
    });
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0), "{times:?}");
}

fn who_waits_too_long_for_others_may_try_again(_: &Shared) {
    let place = HookPlace::new("delay = \"2min\"");
    let first = place.start("absent");
    place.log.wait_for_words(&["hook absent asked for"]);
    let run = place.run("other");
    assert_eq!((run.status, run.out.as_str()), (Some(9), ""), "{run:?}");
    assert_eq!(run.err, "lgss: hook other: another hook is running, or failed a moment ago; try again\n");
    assert!(run.took >= Duration::from_secs(30), "{run:?}");
    place.log.wait_for_words(&["hook other asked for by uid 0: others held the lock for 30 s"]);
    first.kill();
}

fn a_failure_holds_up_the_next_run_even_if_its_caller_is_killed(_: &Shared) {
    let place = HookPlace::new("delay = \"2s\"");
    place.shell("good", "echo 1");
    for (failures, kill) in [(1, false), (2, true)] {
        let began = Instant::now();
        let failing = place.start("absent");
        crate::support::wait::wait_for("the failure", Duration::from_secs(5), || {
            let lines = place.log.lines();
            (lines.iter().filter(|line| line.contains("hook absent")).count() == failures).then_some(())
        });
        if kill {
            failing.kill();
            assert_eq!(place.run("good").result(), 1);
        } else {
            assert_eq!(place.run("good").result(), 1);
            failing.end().is_refused("absent");
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "{kill}: {:?}", began.elapsed());
    }
    // Nor does one that is killed while it runs.
    place.shell("hangs", "exec sleep 60");
    let began = Instant::now();
    let hanging = place.start("hangs");
    crate::support::wait::wait_for("the hook", Duration::from_secs(5), || {
        (!place.hooks_running().is_empty()).then_some(())
    });
    hanging.kill();
    place.nothing_is_left();
    assert_eq!(place.run("good").result(), 1);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

fn without_its_user_no_hook_runs(_: &Shared) {
    let place = HookPlace::new(QUICK);
    place.shell("good", "echo 1");
    let settings = fs::read_to_string(place.path("lgss.toml")).unwrap();
    let own = format!("user = \"{}\"", place.uid());
    for (user, reason) in [("no-such-user-here", "does not exist"), ("0", "has uid 0"), ("root", "has uid 0")]
    {
        let other = settings.replace(&own, &format!("user = \"{user}\""));
        fs::write(place.path("lgss.toml"), other).unwrap();
        let told = place.refused("good");
        assert!(told.contains(&format!("the system user {user} {reason}")), "{told}");
    }
}
