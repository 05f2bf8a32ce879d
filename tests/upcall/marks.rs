//! A whole run with marked secrets: no log, output, core, argument, variable, file, or memory of a process that does not need
//! them has them (rule S10).

use crate::support::cache_file::{CacheFile, plant};
use crate::support::command_line::{get, lgss};
use crate::support::ganesha::Ganesha;
use crate::support::kcm::Kcm;
use crate::support::login::Login;
use crate::support::marked_delegates::{loaded_by_an_operator, tickets_from_a_hook};
use crate::support::marks::{Marks, Swap, Watch, entries_of, system_logs};
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::{Daemon, Process, Until, command, run, succeed};
use crate::support::realm::Realm;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::spying::{expect_closed, expect_no_core};
use crate::support::wait::wait_for;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

crate::trials![
    marked_secrets_of_a_whole_run_are_nowhere_but_where_they_belong,
    a_mark_is_found_in_every_form_and_place,
];

/// What belongs into the user's caches.
const OF_TICKETS: [&str; 3] = ["a session key", "a service's session key", "a base key"];

/// So many random bytes as hexadecimal text.
fn random(length: usize) -> String {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the run has.
struct MarkedRun {
    ganesha: Ganesha,
    realm: Realm,
    login: Login,
    password: String,
    marks: Marks,
    watch: Watch,
    /// What all commands have printed.
    said: String,
}

impl MarkedRun {
    fn new() -> Self {
        let realm = Realm::start();
        let ganesha = Ganesha::start(&realm, Until::TestEnds);
        let login = Login::new(&realm);
        lgss(&login.site);
        let (password, mistyped) = (format!("mark{}", random(12)), format!("typo{}", random(12)));
        realm.administrate(&[format!("addprinc -pw {password} marked")]);
        let mut marks = Marks::default();
        marks.add("the password", password.as_bytes());
        marks.add("a mistyped password", mistyped.as_bytes());
        let mut run =
            Self { watch: Watch::start(&marks), ganesha, realm, login, password, marks, said: String::new() };
        run.configure();
        let refused = run.attempt("lgss_kinit marked", &mistyped);
        assert!(refused.is_err(), "{refused:?}");
        run
    }

    /// Everything is logged, and the user has a keytab.
    fn configure(&mut self) {
        let site = &self.login.site;
        let config = site.path("lgss.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("level = \"info\"", "level = \"debug\"")).unwrap();
        let uid = site.uid();
        let dir = site.path("");
        site.add_settings(&format!("[caches]\nclient_keytab = \"{}%{{uid}}.keytab\"\n", dir.display()));
        let made = self.realm.path("robot.keytab");
        self.realm.administrate(&[
            "addprinc -randkey robot".to_owned(),
            format!("ktadd -k {} robot", made.display()),
        ]);
        plant(&dir.join(format!("{uid}.keytab")), &fs::read(&made).unwrap(), uid);
        let listed = succeed(command("klist").args(["-K", "-k"]).arg(&made), "");
        let key = listed.split("(0x").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        let key = (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap());
        self.mark("a key of a keytab", &key.collect::<Vec<_>>());
    }

    fn mark(&mut self, what: &str, secret: &[u8]) {
        self.marks.add(what, secret);
        self.watch.update(&self.marks);
    }

    /// Runs a script of the user's in a new session, with this line as its input. Keeps what it prints.
    fn attempt(&mut self, script: &str, line: &str) -> Result<String, String> {
        let mut session = self.login.command("keyctl");
        session.args(["session", "-", "sh", "-uc", script]).env_remove("PASSWORD");
        let result = run(&mut session, &format!("{line}\n"));
        let (Ok(said) | Err(said)) = &result;
        self.said.push_str(said);
        result
    }

    #[track_caller]
    fn done(&mut self, script: &str) -> String {
        let password = self.password.clone();
        self.attempt(script, &password).unwrap_or_else(|said| panic!("{script}: {said}"))
    }

    fn cache(&self) -> String {
        self.login.site.cache("marked")
    }

    /// Marks the keys of the tickets in a file of the user's.
    fn mark_tickets(&mut self, file: &str) {
        let cache = CacheFile::read(&self.login.site.path("user").join(file));
        for credential in cache.credentials.iter().filter(|it| !it.server.contains("X-CACHECONF")) {
            let what = if credential.server.starts_with("krbtgt/") { OF_TICKETS[0] } else { OF_TICKETS[1] };
            self.mark(what, credential.session_key());
        }
    }
}

fn marked_secrets_of_a_whole_run_are_nowhere_but_where_they_belong(_: &Shared) {
    let mut run = MarkedRun::new();
    let target = run.ganesha.target().clone();
    tickets_in_a_session(&mut run, &target);
    tickets_in_a_file(&mut run, &target);
    tickets_of_a_keytab(&mut run, &target);
    failures(&mut run, &target);
    tickets_from_a_hook(&run.login.site, &target, &run.realm.name());
    let agent = tickets_in_an_agent(&mut run, &target);
    shared_keys(&mut run);
    a_server_with_another_key(&mut run, &target);
    run.login.site.wait_until_idle();
    search(run, &agent);
}

/// Every command of `lgss` with a context, and with none.
fn tickets_in_a_session(run: &mut MarkedRun, target: &Target) {
    let get = get(target);
    let config = run.login.site.path("lgss.toml");
    let script = format!(
        "lgss_kinit marked && klist && {get} --json && lgss list && lgss list --json; \
         for key in $(keyctl rlist @u) $(keyctl rlist @s); do lgss show $key; lgss show $key --json; done; \
         lgss caches; lgss caches --json; lgss config show --config {0}; lgss config show --json --config {0}; \
         lgss config check --config {0}; lgss flush --all; {get}; kdestroy; {get}; lgss flush --all --json; exit 0",
        config.display()
    );
    let said = run.done(&script);
    assert!(said.contains("established") && said.contains("KEYRING:session"), "{said}");
}

fn tickets_in_a_file(run: &mut MarkedRun, target: &Target) {
    let cache = run.cache();
    run.done(&format!("kinit -c {cache} marked"));
    run.mark_tickets("marked");
    let site = &run.login.site;
    let context = site.ask_naming(Some(&cache), as_user(site.uid()), site.request(target)).context();
    run.mark(OF_TICKETS[2], context.base_key.secret().expose());
    run.mark_tickets("marked");
}

fn tickets_of_a_keytab(run: &mut MarkedRun, target: &Target) {
    let said = run.done(&format!("{} --json; exit 0", get(target)));
    assert!(said.contains("\"established\"") && said.contains("robot"), "{said}");
}

/// A server that talks nonsense, a worker that is killed while it has a ticket, a ticket that has expired.
fn failures(run: &mut MarkedRun, target: &Target) {
    let (cache, site) = (run.cache(), &run.login.site);
    let nonsense = Server::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let outcome = site.ask_naming(Some(&cache), as_user(site.uid()), site.request(&target.behind(&nonsense)));
    assert_eq!(outcome.errno(), Errno::EPROTO);

    let silent = Server::silent();
    let request = site.request_with(&target.behind(&silent), &format!("cache={cache}"));
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(request), Step::Pause, Step::Settle { within_ms: 30_000 }]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    let worker = site.wait_for_process("lgss_negotiate");
    wait_for("the worker at the server", Duration::from_secs(10), || {
        (silent.connections() > 0).then_some(())
    });
    // Who passes on neither tickets nor keys has none.
    for process in Process::running_from(&site.path("")).iter().filter(|it| it.exe.ends_with("lgss_keyring"))
    {
        let found = run.marks.in_memory(process.pid);
        assert!(found.is_empty(), "the monitor has {found:?}");
    }
    let needed = run.marks.without(&OF_TICKETS).in_memory(worker.pid);
    assert!(needed.is_empty(), "the worker has {needed:?}");
    assert!(!run.marks.in_memory(worker.pid).is_empty(), "a worker with a ticket has none");
    kill(worker.pid, Signal::SIGKILL).unwrap();
    requester.go_on();
    let findings = requester.rest();
    assert!(matches!(findings.last(), Some(Finding::Settled { payload: Some(_), .. })), "{findings:?}");

    let expired = run.login.site.cache("expired");
    run.done(&format!("kinit -l 1s -c {expired} marked && sleep 2; lgss caches --target {}", target.service));
    let site = &run.login.site;
    let outcome = site.ask_with(site.request_with(target, &format!("cache={expired}")));
    assert_eq!(outcome.errno(), Errno::EKEYEXPIRED);
}

/// The KDC has a new key of the service, and the server only the old one.
fn a_server_with_another_key(run: &mut MarkedRun, target: &Target) {
    run.realm.administrate(&[format!("cpw -randkey {}", target.service.replace('@', "/"))]);
    let fresh = run.login.site.cache("fresh");
    run.done(&format!("kinit -c {fresh} marked"));
    let site = &run.login.site;
    let outcome = site.ask_with(site.request_with(target, &format!("cache={fresh}")));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    run.mark_tickets("fresh");
}

fn tickets_in_an_agent(run: &mut MarkedRun, target: &Target) -> Kcm {
    let agent = Kcm::start_agent(&run.login.site);
    let said = run.done(&format!(
        "export KRB5CCNAME=KCM:; kinit marked && klist && {} --json && klist && lgss caches --json && lgss flush --all",
        get(target)
    ));
    assert!(said.contains("KCM:") && said.contains("\"established\""), "{said}");
    agent
}

fn shared_keys(run: &mut MarkedRun) {
    let directory = run.login.site.path("sk");
    fs::create_dir(&directory).unwrap();
    let secret = fs::read("/proc/sys/kernel/random/uuid").unwrap();
    fs::write(directory.join("secret"), &secret[..32]).unwrap();
    run.mark("a shared secret", &secret[..32]);
    let name = format!("mark{}", run.login.site.uid());
    let tool = |words: &[&str]| {
        let mut tool = command(env!("CARGO_BIN_EXE_lgss_sk"));
        tool.args(words).current_dir(&directory);
        crate::support::process::run(&mut tool, "")
    };
    let made = tool(&[
        "-w",
        "key",
        "-d",
        "secret",
        "-k",
        "256",
        "-t",
        "client,server",
        "-f",
        &name,
        "-n",
        "n",
        "-p",
        "512",
    ]);
    let loaded = tool(&["-l", "key", "-v"]);
    let by_operator = loaded_by_an_operator(&run.login.site, &directory.join("key"));
    assert!(by_operator.contains("loaded"), "{by_operator}");
    let shown = [tool(&["list"]), tool(&["list", "--json"]), tool(&["-r", "key"])];
    let changed = tool(&["-m", "key", "-a", "-e", "600"]);
    let removed = tool(&["-R", "key", "-v"]);
    // What fails has a secret at hand, too.
    let failed = tool(&["-w", "key", "-d", "secret", "-k", "1024", "-t", "client", "-f", &name]);
    assert!(failed.is_err(), "{failed:?}");
    let all = [vec![made, loaded, changed, removed], shown.to_vec()].concat();
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let said = all.into_iter().chain([failed]).map(|(Ok(said) | Err(said))| said);
    run.said.extend(said);
    run.said.push_str(&by_operator);
}

/// Looks everywhere.
fn search(run: MarkedRun, agent: &Kcm) {
    let MarkedRun { realm, login, marks, watch, said, .. } = run;
    let site = &login.site;
    let (programs, in_words) = watch.end();
    assert!(in_words.is_empty(), "{in_words:?}");
    for program in ["lgss_keyring", "lgss_negotiate", "lgss_agent"] {
        assert!(programs.contains(program), "{program} was not seen among {programs:?}");
    }
    assert_eq!(marks.named_in(said.as_bytes()), [""; 0].map(str::to_owned).into(), "{said}");
    let log = site.log.lines();
    assert!(log.iter().any(|line| line.contains("established")) && log.len() > 10, "{log:#?}");
    let found: Vec<_> = log.iter().filter(|line| !marks.named_in(line.as_bytes()).is_empty()).collect();
    assert!(found.is_empty(), "{found:#?}");

    let user = site.path("user");
    let keytab = site.path(&format!("{}.keytab", site.uid()));
    let caches = ["marked", "expired", "fresh"].map(|name| user.join(name));
    let keys = ["sk/key", "sk/secret"].map(|name| site.path(name));
    let belongs: Vec<_> = caches.into_iter().chain(keys).chain([keytab]).collect();
    let may = |path: &Path| belongs.iter().any(|known| path == known);
    let mut found = marks.in_files(&site.path(""), may);
    found.extend(marks.in_files(Path::new("/run/lgss"), |_| false));
    for directory in ["/tmp", "/var/tmp", "/dev/shm", "/run/user", "/var/crash"] {
        let entries = entries_of(site.uid(), directory);
        found.extend(entries.iter().flat_map(|entry| marks.in_files(entry, |_| false)));
    }
    found.extend(marks.named_in(&fs::read("/proc/keys").unwrap()));
    found.extend(marks.named_in(&system_logs()));
    assert!(found.is_empty(), "{found:?}");
    // Neither password nor shared secret is in a cache or keytab.
    let elsewhere = marks.without(&OF_TICKETS).without(&["a key of a keytab"]);
    let found = elsewhere.in_files(&user, |_| false);
    assert!(found.is_empty(), "{found:?}");
    expect_no_core(site);

    in_the_agent(site, &marks, &realm.name(), agent);
}

/// Its processes are all that is left of the user's. They have tickets, which are kept out of swap, and nothing else.
fn in_the_agent(site: &Site, marks: &Marks, realm: &str, agent: &Kcm) {
    let left: Vec<_> = Process::all().into_iter().filter(|it| it.uid == Some(site.uid())).collect();
    assert!(left.iter().any(|process| process.pid == agent.pid()), "{left:?}");
    for process in left {
        assert!(process.exe.ends_with("lgss_agent"), "{process:?}");
        let found = marks.in_memory(process.pid);
        assert!(found.is_empty(), "{process:?} has {found:?}");
        expect_closed(site, process.pid);
    }
    let mut tickets = Marks::default();
    tickets.add("a ticket", realm.as_bytes());
    let kept = tickets.in_memory(agent.pid());
    let limited = site.log.lines().iter().any(|line| line.contains("may be swapped out"));
    let swap = if limited { Swap::Possible } else { Swap::Locked };
    assert!(!kept.is_empty() && kept.iter().all(|(_, kept)| *kept >= swap), "{kept:?}");
}

/// Without this the other would pass if it searched for nothing.
fn a_mark_is_found_in_every_form_and_place(_: &Shared) {
    let secret = random(16);
    let mut marks = Marks::default();
    marks.add("it", secret.as_bytes());
    let directory = tempfile::Builder::new().prefix("lgss-test-").tempdir().unwrap();
    let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<_> = secret.bytes().map(|byte| byte.to_string()).collect();
    let base64 = |before: &str| {
        let mut base64 = command("base64");
        succeed(base64.arg("-w0"), &format!("{before}{secret}z"))
    };
    let forms = [
        secret.clone(),
        secret[..20].to_owned(),
        hexadecimal.to_uppercase(),
        hexadecimal,
        format!("[{}]", numbers.join(",")),
        base64(""),
        base64("a"),
        base64("ab"),
    ];
    for form in forms {
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("below/file"), format!("before {form} after")).unwrap();
        let found = marks.in_files(directory.path(), |_| false);
        assert_eq!(found.len(), 1, "{form}");
        assert!(marks.in_files(directory.path(), |path| path.ends_with("file")).is_empty());
        fs::remove_dir_all(directory.path().join("below")).unwrap();
    }
    let socket = directory.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    UnixDatagram::unbound().unwrap().send_to(secret.as_bytes(), &socket).unwrap();
    let mut line = [0; 100];
    let length = log.recv(&mut line).unwrap();
    assert_eq!(marks.named_in(&line[..length]).len(), 1);

    // An argument, a variable, and memory that came by a pipe.
    for (words, variable) in [(["sleep", &secret], ""), (["sleep", "60"], secret.as_str())] {
        let watch = Watch::start(&marks);
        let mut sleep = command("sh");
        sleep.args(["-c", "sleep 60", words[0], words[1]]).env("VARIABLE", variable);
        let process = Daemon::start(sleep, directory.path(), "out");
        wait_for("the shell", Duration::from_secs(10), || {
            let words = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap();
            words.starts_with(b"sh").then_some(())
        });
        std::thread::sleep(Duration::from_millis(300));
        let (_, found) = watch.end();
        assert!(!found.is_empty(), "{words:?} {variable}");
    }
    let mut reader = command("sh");
    reader.args(["-c", "read line; echo read; read more"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    writeln!(reader.stdin.as_mut().unwrap(), "{secret}").unwrap();
    reader.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let found = marks.in_memory(nix::unistd::Pid::from_raw(reader.id().cast_signed()));
    drop(reader.stdin.take());
    reader.wait().unwrap();
    assert_eq!(found, [("it".to_owned(), Swap::Possible)].into());
}
