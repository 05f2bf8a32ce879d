//! A test's Kerberos realm: database, KDC, users with tickets.

use super::acceptor::with_clock;
use super::netns::NetNamespace;
use super::ports::free_port;
use super::probe::Step;
use super::process::{Daemon, Until, command, command_as, succeed};
use super::scratch::{Scratch, found_by_sssd, realm_name};
use super::wait::wait_for;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of every user that has a password.
pub(crate) const PASSWORD: &str = "correct horse";

/// What tests may choose; everything else is the same for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealmOptions<'a> {
    /// For all keys and session keys; several are separated by blanks, the preferred one first.
    pub(crate) enctype: &'a str,
    /// Where the KDC listens.
    pub(crate) netns: Option<&'a NetNamespace>,
    pub(crate) until: Until,
}

impl Default for RealmOptions<'_> {
    fn default() -> Self {
        Self { enctype: "aes256-cts-hmac-sha1-96", netns: None, until: Until::TestEnds }
    }
}

/// Its KDC runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Realm {
    kdc: Option<Daemon>,
    port: u16,
    enctype: String,
    scratch: Scratch,
}

impl Realm {
    pub(crate) fn start() -> Self {
        Self::start_with(RealmOptions::default())
    }

    pub(crate) fn start_with(options: RealmOptions<'_>) -> Self {
        let scratch = Scratch::new();
        let mut realm = Self { kdc: None, port: 0, enctype: options.enctype.to_owned(), scratch };
        realm.write_configuration();
        succeed(realm.tool("kdb5_util").args(["create", "-s", "-P", "master"]), "");
        realm.administrate(&[
            format!("addprinc -pw \"{PASSWORD}\" alice"),
            format!("addprinc -randkey {}", realm.service_principal()),
            format!("ktadd -k {} {}", realm.keytab().display(), realm.service_principal()),
        ]);
        for _ in 0..5 {
            realm.port = if options.netns.is_some() { 88 } else { free_port() };
            realm.write_configuration();
            if realm.start_kdc(options) {
                return realm;
            }
        }
        panic!("no KDC: {}", fs::read_to_string(realm.path("kdc.log")).unwrap_or_default());
    }

    /// False if another process has taken the port in the meantime.
    fn start_kdc(&mut self, options: RealmOptions<'_>) -> bool {
        let mut kdc = Command::new("krb5kdc");
        kdc.arg("-n");
        let program = match (options.netns, options.until) {
            (Some(netns), _) => netns.enter(kdc),
            (None, Until::RunEnds) => kdc,
            (None, Until::TestEnds) => {
                let mut short_lived = command("krb5kdc");
                short_lived.arg("-n");
                short_lived
            }
        };
        self.run_kdc(program)
    }

    fn run_kdc(&mut self, mut program: Command) -> bool {
        program.envs(self.environment());
        let _ = fs::remove_file(self.path("kdc.log"));
        let mut daemon = Daemon::start(program, &self.path(""), "kdc.out");
        let up = wait_for("the KDC", Duration::from_secs(20), || {
            let log = fs::read_to_string(self.path("kdc.log")).unwrap_or_default();
            if log.contains("commencing operation") { Some(true) } else { daemon.ended().map(|_| false) }
        });
        // KDCs share a port when both are configured with it, and each gets requests for the other's realm.
        let up = up && listeners(self.port) <= 1;
        self.kdc = Some(daemon).filter(|_| up);
        up
    }

    pub(crate) fn name(&self) -> String {
        realm_name(self.scratch.uid())
    }

    /// Host of this realm's services; the name does not resolve.
    pub(crate) fn host(&self) -> String {
        format!("srv.t{}.test", self.scratch.uid())
    }

    /// The service that has a keytab, by its GSS name.
    pub(crate) fn service(&self) -> String {
        format!("nfs@{}", self.host())
    }

    fn service_principal(&self) -> String {
        format!("nfs/{}", self.host())
    }

    pub(crate) fn keytab(&self) -> PathBuf {
        self.path("service.keytab")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// krb5.conf for a client of the realm.
    pub(crate) fn krb5_conf(&self) -> String {
        self.krb5_conf_by(self.port)
    }

    /// krb5.conf for a client that reaches the KDC by another port.
    pub(crate) fn krb5_conf_by(&self, port: u16) -> String {
        let (name, host, enctype) = (self.name(), self.host(), &self.enctype);
        format!(
            "[libdefaults]\n default_realm = {name}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n permitted_enctypes = {enctype}\n \
             default_tgs_enctypes = {enctype}\n default_tkt_enctypes = {enctype}\n\
             [realms]\n {name} = {{\n  kdc = 127.0.0.1:{port}\n }}\n[domain_realm]\n {host} = {name}\n"
        )
    }

    /// krb5.conf for a client of this realm that uses another realm's services.
    pub(crate) fn krb5_conf_with(&self, other: &Self) -> String {
        // libkrb5 merges sections with the same name.
        let (name, port, host) = (other.name(), other.port, other.host());
        format!(
            "{}[realms]\n {name} = {{\n  kdc = 127.0.0.1:{port}\n }}\n[domain_realm]\n {host} = {name}\n",
            self.krb5_conf()
        )
    }

    /// Principal of another realm's ticket-granting service in this realm.
    pub(crate) fn cross_realm_principal(&self, other: &Self) -> String {
        format!("krbtgt/{}@{}", other.name(), self.name())
    }

    /// Lets users of this realm get tickets for the other realm's services: both KDCs get the same key.
    pub(crate) fn is_trusted_by(&self, other: &Self) {
        let principal = self.cross_realm_principal(other);
        for realm in [self, other] {
            realm.administrate(&[format!("addprinc -pw \"{PASSWORD}\" {principal}")]);
        }
    }

    fn write_configuration(&self) {
        let (name, port, dir, enctype) = (self.name(), self.port, self.path(""), &self.enctype);
        let dir = dir.display();
        fs::write(self.path("krb5.conf"), self.krb5_conf()).unwrap();
        let supported: String = enctype.split(' ').map(|name| format!("{name}:normal ")).collect();
        let master = enctype.split(' ').next().unwrap();
        let kdc_conf = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
             [realms]\n {name} = {{\n  database_name = {dir}/principal\n  key_stash_file = {dir}/stash\n  \
             acl_file = {dir}/acl\n  max_renewable_life = 30d\n  supported_enctypes = {supported}\n  master_key_type = {master}\n }}\n\
             [logging]\n kdc = FILE:{dir}/kdc.log\n admin_server = FILE:{dir}/kadmin.log\n default = FILE:{dir}/krb5.log\n"
        );
        fs::write(self.path("kdc.conf"), kdc_conf).unwrap();
    }

    /// How many requests the KDC has logged.
    #[allow(dead_code, reason = "benches and tests/soak count them")]
    pub(crate) fn kdc_requests(&self) -> usize {
        let log = fs::read_to_string(self.path("kdc.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("_REQ (")).count()
    }

    /// Port of the KDC.
    pub(crate) fn kdc_port(&self) -> u16 {
        self.port
    }

    /// Environment for MIT's tools.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("KRB5_CONFIG", self.path("krb5.conf")), ("KRB5_KDC_PROFILE", self.path("kdc.conf"))]
    }

    fn tool(&self, program: &str) -> Command {
        let mut tool = command(program);
        tool.envs(self.environment());
        tool
    }

    /// Runs commands in kadmin.local.
    #[track_caller]
    pub(crate) fn administrate(&self, commands: &[impl AsRef<str>]) {
        /// The database has one lock, and kadmin.local tries it for seconds only.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let script: String = commands.iter().flat_map(|command| [command.as_ref(), "\n"]).collect();
        let said = succeed(&mut self.tool("kadmin.local"), &script);
        let trouble = said.lines().find(|line| line.contains("error") || line.contains("while "));
        assert!(trouble.is_none(), "kadmin.local: {said}");
    }

    /// Gives the service a new key, and the keytab that servers read no other key.
    #[track_caller]
    pub(crate) fn rekey(&self) {
        let _ = fs::remove_file(self.keytab());
        // ktadd makes a random key.
        self.administrate(&[format!("ktadd -k {} {}", self.keytab().display(), self.service_principal())]);
    }

    /// Contents of a cache, by klist(1) as its owner.
    #[track_caller]
    pub(crate) fn listed(&self, uid: u32, cache: &str, options: &[&str]) -> String {
        let mut klist = command_as(uid, "klist");
        klist.args(options).args(["-c", cache]).envs(self.environment());
        succeed(&mut klist, "")
    }

    /// Gets a ticket of `alice` for this uid.
    #[track_caller]
    pub(crate) fn ticket(&self, uid: u32, cache: &str) {
        self.ticket_with(uid, cache, &[]);
    }

    /// The same with options of kinit(1).
    #[track_caller]
    pub(crate) fn ticket_with(&self, uid: u32, cache: &str, options: &[&str]) {
        let mut kinit = command_as(uid, "kinit");
        kinit.envs(self.environment()).args(["-c", cache]).args(options).arg("alice");
        succeed(&mut kinit, &format!("{PASSWORD}\n"));
    }

    /// Gets a ticket of `alice` from a KDC in another network namespace.
    #[track_caller]
    pub(crate) fn ticket_in(&self, netns: &NetNamespace, uid: u32, cache: &str) {
        let mut kinit = command_as(uid, "kinit");
        kinit.args(["-c", cache]).arg("alice");
        succeed(netns.enter(kinit).envs(self.environment()), &format!("{PASSWORD}\n"));
    }

    /// Gets a ticket of `alice` that the KDC issued this long ago. The KDC's clock is right again on return.
    #[track_caller]
    pub(crate) fn aged_ticket(&mut self, age: &str, uid: u32, cache: &str, options: &[&str]) {
        self.shift_clock(&format!("-{age}"));
        let mut kinit = command_as(uid, "kinit");
        kinit.env("KRB5_CONFIG", heedless_of_clocks(&self.path("krb5.conf")));
        kinit.args(["-c", cache]).args(options).arg("alice");
        succeed(&mut kinit, &format!("{PASSWORD}\n"));
        self.shift_clock("+0s");
    }

    /// Step that gets a ticket of `alice` by this configuration.
    pub(crate) fn kinit(&self, config: &Path, cache: &str) -> Step {
        self.kinit_with(config, cache, &[])
    }

    /// The same with options of kinit(1).
    pub(crate) fn kinit_with(&self, config: &Path, cache: &str, options: &[&str]) -> Step {
        let config = format!("KRB5_CONFIG={}", config.display());
        let words = ["env", &config, "kinit", "-c", cache].into_iter().chain(options.iter().copied());
        Step::Run {
            words: words.chain(["alice"]).map(str::to_owned).collect(),
            input: format!("{PASSWORD}\n"),
        }
    }

    /// The same with options of kinit(1), while the KDC's clock differs.
    pub(crate) fn kinit_heedless(&self, config: &Path, cache: &str, options: &[&str]) -> Step {
        self.kinit_with(&heedless_of_clocks(config), cache, options)
    }

    /// Gets a ticket that has expired on return.
    #[track_caller]
    pub(crate) fn expired_ticket(&self, uid: u32, cache: &str) {
        self.ticket_with(uid, cache, &["-l", "1s"]);
        wait_for("the ticket to expire", Duration::from_secs(10), || {
            let mut klist = command_as(uid, "klist");
            klist.envs(self.environment()).args(["-s", "-c", cache]);
            (!klist.status().unwrap().success()).then_some(())
        });
    }

    /// Restarts the KDC with its clock shifted, e.g. by `+10m` (faketime(1)).
    #[track_caller]
    pub(crate) fn shift_clock(&mut self, shift: &str) {
        self.kdc = None;
        let mut kdc = with_clock(shift, "krb5kdc");
        kdc.arg("-n");
        assert!(
            self.run_kdc(kdc),
            "no KDC: {}",
            fs::read_to_string(self.path("kdc.log")).unwrap_or_default()
        );
    }

    /// Where SSSD would leave the realm's KDCs for its plugin; whatever is there ends with the realm.
    pub(crate) fn found_by_sssd(&self) -> PathBuf {
        found_by_sssd(self.scratch.uid())
    }

    /// Restarts the KDC with more sections in kdc.conf and krb5.conf.
    #[track_caller]
    pub(crate) fn restart_with(&mut self, kdc_conf: &str, krb5_conf: &str) {
        for (name, sections) in [("kdc.conf", kdc_conf), ("krb5.conf", krb5_conf)] {
            let text = fs::read_to_string(self.path(name)).unwrap();
            fs::write(self.path(name), text + sections).unwrap();
        }
        self.shift_clock("+0s");
    }

    /// Stops the KDC: nobody listens any more.
    pub(crate) fn stop(&mut self) {
        self.kdc = None;
    }

    /// Silences the KDC: its sockets take requests, and nobody answers.
    pub(crate) fn silence(&self) {
        self.kdc.as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    /// The KDC goes on.
    pub(crate) fn wake(&self) {
        self.kdc.as_ref().unwrap().signal(Signal::SIGCONT);
    }
}

/// How many sockets of this network namespace listen on a TCP port over IPv4.
fn listeners(port: u16) -> usize {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let address = format!(":{port:04X}");
    let listens = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&address)) && fields.nth(1) == Some("0A")
    };
    sockets.lines().filter(listens).count()
}

/// A copy of this configuration that accepts tickets with a start hours ago.
fn heedless_of_clocks(config: &Path) -> PathBuf {
    let text = fs::read_to_string(config).unwrap();
    let told = "[libdefaults]\n clockskew = 90000\n kdc_timesync = 0\n";
    let heedless = config.with_extension("heedless");
    fs::write(&heedless, text.replacen("[libdefaults]\n", told, 1)).unwrap();
    heedless
}
