//! One test's installation of the upcall: programs, configuration, rule, log, one user.

use super::keys::wait_for_quota;
use super::link_map::{allocator_code, released_map};
use super::log::LogReader;
use super::outcome::Outcome;
use super::probe::{Finding, Probe, Request, SESSION_RING, Step, as_user};
use super::process::{Process, command, succeed};
use super::realm::Realm;
use super::scratch::{MOUNT_POINT, Scratch};
use super::server::Target;
use super::wait::wait_for;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A requester is released within milliseconds, and within 250 ms if all goes wrong; busy machines get more time.
pub(crate) const RELEASED_WITHIN: Duration = Duration::from_millis(1500);

/// What a test changes in the configuration; durations as in the file.
#[derive(Debug, Clone)]
pub(crate) struct Settings<'a> {
    pub(crate) deadline: &'a str,
    pub(crate) kdc: &'a str,
    pub(crate) connect: &'a str,
    pub(crate) round: &'a str,
    /// More tables of the file.
    pub(crate) extra: &'a str,
    /// The program that runs as the worker.
    pub(crate) worker: &'a str,
    /// How tightly it is confined.
    pub(crate) sandbox: &'a str,
    /// Whether the upcall runs under the probe that kills it.
    pub(crate) rule: Rule,
}

/// What the request-key rule starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Upcall,
    UpcallUnderKiller,
}

impl Settings<'_> {
    pub(crate) const DEFAULT: Self = Self {
        deadline: "20s",
        kdc: "10s",
        connect: "5s",
        round: "5s",
        // A test's user may fail as often as it likes; tests of the pause set this.
        extra: "[backoff]\nafter = 1000\n",
        worker: env!("CARGO_BIN_EXE_lgss_negotiate"),
        sandbox: "strict",
        rule: Rule::Upcall,
    };
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Removed on drop.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) log: LogReader,
    scratch: Scratch,
}

impl Site {
    pub(crate) fn new(realm: &Realm) -> Self {
        Self::with(realm, &Settings::default())
    }

    pub(crate) fn with(realm: &Realm, settings: &Settings<'_>) -> Self {
        let scratch = Scratch::new();
        let log = LogReader::bind(&scratch.path("log"));
        let site = Self { log, scratch };
        // The static release build if the variable names one, as `make test` and `make bench` do.
        let keyring =
            std::env::var("LGSS_KEYRING_BIN").unwrap_or(env!("CARGO_BIN_EXE_lgss_keyring").to_owned());
        install(&keyring, &site.path("lgss_keyring"), 0o755);
        install(settings.worker, &site.path("lgss_negotiate"), 0o711);
        if settings.rule == Rule::UpcallUnderKiller {
            install(env!("CARGO_BIN_EXE_lgss-probe"), &site.path("killer"), 0o755);
        }
        for private in ["run", "killed"] {
            fs::DirBuilder::new().mode(0o700).create(site.path(private)).unwrap();
        }
        if settings.rule == Rule::UpcallUnderKiller
            && let Some(map) = released_map()
        {
            fs::write(site.path("killed").join("allocator"), allocator_code(&map)).unwrap();
        }
        fs::create_dir(site.path("user")).unwrap();
        chown(site.path("user"), Some(site.uid()), Some(site.uid())).unwrap();
        fs::write(site.path("krb5.conf"), realm.krb5_conf()).unwrap();
        fs::write(site.path("lgss.toml"), site.configuration(settings)).unwrap();
        fs::write(site.scratch.rule_file(), site.rules(settings.rule)).unwrap();
        site
    }

    fn configuration(&self, settings: &Settings<'_>) -> String {
        let dir = self.path("");
        let dir = dir.display();
        // These tests wait for the processes of hundreds of requests, so none may stay to report lines left out.
        let lines = match settings.rule {
            Rule::Upcall => "",
            Rule::UpcallUnderKiller => "per_owner = 100000\nusers = 100000\n",
        };
        format!(
            "krb5_config = \"{dir}/krb5.conf\"\nrun_dir = \"{dir}/run\"\nworker = \"{dir}/lgss_negotiate\"\n\
             worker_sandbox = \"{}\"\nmachine_user = \"{}\"\n[timeouts]\ndeadline = \"{}\"\nkdc = \"{}\"\nconnect = \"{}\"\nround = \"{}\"\n\
             negative_cache = \"10s\"\n[log]\nsocket = \"{dir}/log\"\nlevel = \"info\"\n{lines}{}",
            settings.sandbox,
            self.machine_uid(),
            settings.deadline,
            settings.kdc,
            settings.connect,
            settings.round,
            settings.extra,
        )
    }

    /// A description belongs to this site if it names the site's uid.
    fn rules(&self, rule: Rule) -> String {
        let dir = self.path("");
        let dir = dir.display();
        let before = match rule {
            Rule::Upcall => String::new(),
            Rule::UpcallUnderKiller => format!("{dir}/killer kill-at {dir}/killed "),
        };
        let words =
            format!("{before}{dir}/lgss_keyring --config {dir}/lgss.toml %o %k %t %d %c %u %g %T %P %S");
        format!("create user lgss:{}:* * {words}\n", self.uid())
    }

    /// Adds a description, without blanks, that this site serves; request-key(8) has wildcards at the end of a word
    /// only.
    pub(crate) fn serve(&self, description: &str) {
        let rules = fs::read_to_string(self.scratch.rule_file()).unwrap();
        let first = rules.lines().next().unwrap();
        let rule = first.replacen(&format!("lgss:{}:*", self.uid()), description, 1);
        self.add_rule(&rule);
    }

    /// Replaces the rules.
    pub(crate) fn replace_rules(&self, change: impl FnOnce(&str) -> String) {
        let rules = fs::read_to_string(self.scratch.rule_file()).unwrap();
        let new = self.path("rules");
        fs::write(&new, change(&rules)).unwrap();
        fs::rename(&new, self.scratch.rule_file()).unwrap();
    }

    /// Adds a line for request-key(8), which may read the file at any time.
    pub(crate) fn add_rule(&self, rule: &str) {
        self.replace_rules(|rules| format!("{rules}{rule}\n"));
    }

    /// Lets processes of users write to the site's log, as they may to the system's.
    pub(crate) fn open_log(&self) {
        fs::set_permissions(self.path("log"), fs::Permissions::from_mode(0o666)).unwrap();
    }

    /// Restricts the encryption types of contexts.
    pub(crate) fn allow_enctypes(&self, names: &[&str]) {
        self.add_settings(&format!("[kerberos]\nenctypes = {names:?}\n"));
    }

    /// Has the workers of this site, which are confined strictly, ask name services' daemons, as plugins may.
    pub(crate) fn let_workers_ask_daemons(&self) {
        let config = fs::read_to_string(self.path("lgss.toml")).unwrap();
        let changed = config.replace("worker_sandbox = \"strict\"", "worker_sandbox = \"plugins\"");
        assert_ne!(changed, config);
        fs::write(self.path("lgss.toml"), changed).unwrap();
    }

    /// Adds tables to lgss.toml.
    pub(crate) fn add_settings(&self, tables: &str) {
        let config = fs::read_to_string(self.path("lgss.toml")).unwrap();
        fs::write(self.path("lgss.toml"), config + tables).unwrap();
    }

    /// Adds relations to `[libdefaults]` of the upcall's krb5.conf, before the present ones.
    pub(crate) fn libdefaults(&self, relations: &str) {
        let krb5 = fs::read_to_string(self.path("krb5.conf")).unwrap();
        let told = format!("[libdefaults]\n {relations}\n");
        fs::write(self.path("krb5.conf"), krb5.replacen("[libdefaults]\n", &told, 1)).unwrap();
    }

    pub(crate) fn uid(&self) -> u32 {
        self.scratch.uid()
    }

    /// Uid of the account that runs workers for root's requests.
    pub(crate) fn machine_uid(&self) -> u32 {
        self.scratch.uid() + 1
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// Makes an empty directory for a mount, accessible to root alone.
    pub(crate) fn mount_point(&self) -> PathBuf {
        let point = self.path(MOUNT_POINT);
        fs::create_dir(&point).unwrap();
        point
    }

    /// The user's default cache.
    pub(crate) fn default_cache(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/krb5cc_{}", self.uid()))
    }

    /// A FILE cache's full name for a path in the user's own directory.
    pub(crate) fn cache(&self, name: &str) -> String {
        format!("FILE:{}", self.path("user").join(name).display())
    }

    /// Gets a ticket into the default cache.
    #[track_caller]
    pub(crate) fn ticket(&self, realm: &Realm) {
        realm.ticket(self.uid(), &format!("FILE:{}", self.default_cache().display()));
    }

    /// A request of the site's user.
    pub(crate) fn request(&self, target: &Target) -> Request {
        self.request_as(&self.uid().to_string(), target, "")
    }

    /// A request that names its owner and an instance (`:name`).
    pub(crate) fn request_as(&self, owner: &str, target: &Target, instance: &str) -> Request {
        let (service, channel) = (&target.service, target.channel());
        if owner != self.uid().to_string() {
            self.serve(&format!("lgss:{owner}:{service}{instance}"));
        }
        Request {
            key_type: "user".to_owned(),
            description: format!("lgss:{owner}:{service}{instance}").into_bytes(),
            callout: Some(format!("lgss1;mech=krb5;svc={service};chan={channel};level=i").into_bytes()),
            ring: SESSION_RING,
        }
    }

    /// A request with more fields in its callout.
    pub(crate) fn request_with(&self, target: &Target, fields: &str) -> Request {
        let mut request = self.request(target);
        request.callout.as_mut().unwrap().extend(format!(";{fields}").bytes());
        request
    }

    /// Asks for a context as the user and waits for the outcome.
    #[track_caller]
    pub(crate) fn ask(&self, target: &Target) -> Outcome {
        self.ask_with(self.request(target))
    }

    #[track_caller]
    pub(crate) fn ask_with(&self, request: Request) -> Outcome {
        self.ask_after(as_user(self.uid()), request)
    }

    /// Outcome of a request that follows other steps.
    #[track_caller]
    pub(crate) fn ask_after(&self, steps: Vec<Step>, request: Request) -> Outcome {
        self.ask_naming(None, steps, request)
    }

    /// The same by a program with this KRB5CCNAME in its environment.
    #[track_caller]
    pub(crate) fn ask_naming(&self, cache: Option<&str>, steps: Vec<Step>, request: Request) -> Outcome {
        let variables: Vec<_> = cache.map(|cache| ("KRB5CCNAME", cache)).into_iter().collect();
        self.ask_in(&variables, steps, request)
    }

    /// The same by a program with these variables in its environment.
    #[track_caller]
    pub(crate) fn ask_in(
        &self,
        variables: &[(&str, &str)],
        mut steps: Vec<Step>,
        request: Request,
    ) -> Outcome {
        let before = steps.len();
        steps.extend([Step::Request(request), Step::Settle { within_ms: 30_000 }]);
        let mut program = command(env!("CARGO_BIN_EXE_lgss-probe"));
        program.envs(variables.iter().copied());
        let mut requester = Probe::start_with(program, &steps);
        let findings = requester.rest();
        if let Some(Finding::Broken { step, errno }) = findings.last() {
            panic!("the probe cannot do {step}: {}", Errno::from_raw(*errno));
        }
        Outcome::of(findings.get(before..).unwrap_or_else(|| panic!("the probe ended early: {findings:?}")))
    }

    /// The remedy that the log shows, with this site's path of the settings.
    pub(crate) fn remedy(&self, cause: Cause) -> String {
        cause.remedy_by(&self.path("lgss.toml"))
    }

    /// Checks that the requester got this error, that the log has one line with the remedy, and that no process is
    /// left.
    #[track_caller]
    pub(crate) fn assert_failed(&self, outcome: &Outcome, cause: Cause, target: &Target) {
        assert_eq!(outcome.errno(), cause.errno(), "log: {:#?}", self.log.lines());
        let errno = format!("{:?}", cause.errno());
        let uid = format!("uid {} ", self.uid());
        self.log.wait_for_words(&[&uid, &target.service, &errno, &self.remedy(cause)]);
        self.wait_until_idle();
    }

    /// Waits until no process of the upcall is left.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self) {
        let directory = self.path("");
        wait_for("the processes of the upcall to end", Duration::from_secs(10), || {
            Process::running_from(&directory).is_empty().then_some(())
        });
    }

    /// Whether the killer reached its victim's system call, by what it wrote; false if the victim made fewer calls. Leaves
    /// the user enough keys for another attempt.
    #[track_caller]
    pub(crate) fn was_killed(&self, instance: &str) -> bool {
        self.struck(instance).is_some()
    }

    /// The same; what the killer wrote if it reached the call.
    #[track_caller]
    pub(crate) fn struck(&self, instance: &str) -> Option<String> {
        let told = wait_for("the killer's word", Duration::from_secs(20), || {
            fs::read_to_string(self.path("killed").join(instance)).ok()
        });
        let number =
            |after| told.strip_prefix(after).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        wait_for_quota(self.uid());
        let words = ["killed at call ", "failed call ", "shortened call ", "shortened ", "call "];
        let struck = words.into_iter().find_map(number);
        match (struck, number("ended after ")) {
            (Some(_), None) => Some(told),
            (None, Some(calls)) if calls > 10 => None,
            // The monitor ended it before it got there.
            (None, None) if told.starts_with("ended by another") => None,
            _ => panic!("{instance}: {told}"),
        }
    }

    /// Waits for a process that runs this program of the site.
    #[track_caller]
    pub(crate) fn wait_for_process(&self, program: &str) -> Process {
        let exe = self.path(program);
        wait_for(&format!("a process of {program}"), Duration::from_secs(10), || {
            Process::all().into_iter().find(|process| process.exe == exe)
        })
    }
}

impl Drop for Site {
    /// Shows the upcall's log if the test has failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the site of uid {}: {:#?}", self.uid(), self.log.lines());
        }
    }
}

/// Copies in a separate process: a child of another test could inherit a descriptor that this process has open for
/// writing, and a file open for writing cannot be executed (ETXTBSY).
pub(crate) fn install(program: impl AsRef<Path>, to: &Path, mode: u32) {
    let mut install = command("install");
    install.arg("-m").arg(format!("{mode:o}")).arg("--").arg(program.as_ref()).arg(to);
    succeed(&mut install, "");
}

/// Puts a file with this content there, in the same way: what is at its place may still be executing.
pub(crate) fn install_content(content: impl AsRef<[u8]>, to: &Path, mode: u32) {
    let source = to.with_extension("content");
    fs::write(&source, content).unwrap();
    install(&source, to, mode);
    fs::remove_file(source).unwrap();
}
