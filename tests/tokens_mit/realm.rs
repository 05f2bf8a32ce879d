//! A realm with one encryption type, in its own directory.

use lgss::crypto::enctype::Enctype;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The service whose key is in the realm's default keytab; the client's is in the default client keytab.
pub(super) const SERVICE: &str = "mic/server@MIC.TEST";
const CLIENT: &str = "client@MIC.TEST";
const REALM: &str = "MIC.TEST";

/// Limit for every command, and for the start of the KDC.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Realm {
    kdc: Option<Kdc>,
    directory: TempDir,
}

/// Whose GSS the peer is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Mit,
    Heimdal,
}

impl Library {
    /// How many numbers a token that fails uses up: Heimdal looks at the number before it checks the token.
    pub(super) fn lost_by_a_damaged_token(self) -> u64 {
        match self {
            Self::Mit => 0,
            Self::Heimdal => 1,
        }
    }
}

/// A krb5kdc; killed when dropped, and by the kernel when the thread that started it ends.
struct Kdc(Child);

impl Realm {
    pub(super) fn start(enctype: Enctype) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut realm = Self { kdc: None, directory };
        realm.configure(enctype, free_port());
        realm.run("kdb5_util", &["create", "-s", "-P", "master", "-r", REALM]);
        for (principal, keytab) in [(CLIENT, "client.keytab"), (SERVICE, "server.keytab")] {
            realm.run("kadmin.local", &["-r", REALM, "addprinc", "-randkey", principal]);
            realm.run("kadmin.local", &["-r", REALM, "ktadd", "-k", &realm.path(keytab), principal]);
        }
        // Another program may take the port between its choice and the KDC's bind(2).
        realm.kdc = (0..5).find_map(|_| {
            realm.configure(enctype, free_port());
            realm.start_kdc()
        });
        assert!(realm.kdc.is_some(), "krb5kdc does not start: {}", realm.read("kdc.stderr"));
        realm
    }

    /// Compiles a program of `tests/peers`.
    pub(super) fn compile(&self, source: &str, library: Library) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(source);
        let program = self.directory.path().join("peer");
        let [from, to] = [source.to_string_lossy(), program.to_string_lossy()];
        let mut arguments = vec!["-Wall", "-Wextra", "-Werror", "-o", &to, &from];
        let flags = match library {
            Library::Mit => "-lgssapi_krb5".to_owned(),
            Library::Heimdal => {
                // It knows no client keytab.
                self.run("kinit", &["-k", "-t", &self.path("client.keytab"), CLIENT]);
                format!("-DHEIMDAL {}", self.run("pkg-config", &["--cflags", "--libs", "heimdal-gssapi"]))
            }
        };
        arguments.extend(flags.split_whitespace());
        self.run("cc", &arguments);
        program
    }

    /// Compiles a library that is loaded with dlopen(3); `source` is its path in the package.
    pub(super) fn compile_shim(&self, source: &Path) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let shim = self.directory.path().join("shim.so");
        let [from, to] = [source.to_string_lossy(), shim.to_string_lossy()];
        self.run("cc", &["-O2", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", &to, &from, "-lgssapi_krb5"]);
        shim
    }

    /// What MIT Kerberos finds this realm by.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        let cache = format!("MEMORY:{}", self.directory.path().display());
        [("KRB5_CONFIG", self.path("krb5.conf")), ("KRB5CCNAME", cache)]
    }

    /// A command in this realm that is killed after [`LIMIT`].
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.environment("timeout");
        command.args(["--kill-after=1", &LIMIT.as_secs().to_string()]).arg(program);
        command
    }

    /// Runs a program to its good end and returns its output.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("timeout(1) can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {}: {errors}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A KDC that is ready, or none if it has ended.
    fn start_kdc(&self) -> Option<Kdc> {
        let _ = fs::remove_file(self.path("kdc.log"));
        let stderr = File::create(self.path("kdc.stderr")).expect("a file in our directory");
        let mut command = self.environment("setpriv");
        command.args(["--pdeathsig", "KILL", "krb5kdc", "-n", "-r", REALM]);
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn();
        let mut kdc = Kdc(child.expect("setpriv(1) can be started"));
        let deadline = Instant::now() + LIMIT;
        while !self.read("kdc.log").contains("commencing operation") {
            if kdc.0.try_wait().expect("our own child").is_some() {
                return None;
            }
            assert!(Instant::now() < deadline, "krb5kdc is not ready: {}", self.read("kdc.log"));
            sleep(Duration::from_millis(10));
        }
        Some(kdc)
    }

    /// The caller's Kerberos environment does not count, and temporary files go into the realm's directory.
    fn environment(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
            .env("LC_ALL", "C")
            .env("TMPDIR", self.directory.path())
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("ccache")))
            .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
            .stdin(Stdio::null());
        command
    }

    fn configure(&self, enctype: Enctype, port: u16) {
        let here = self.directory.path().display();
        let krb5 = format!(
            "[libdefaults]\n default_realm = {REALM}\n permitted_enctypes = {enctype}\n\
             default_tkt_enctypes = {enctype}\n default_tgs_enctypes = {enctype}\n default_etypes = {enctype}\n\
             dns_lookup_kdc = false\n dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n\
             udp_preference_limit = 1\n default_ccache_name = MEMORY:\n default_rcache_name = none:\n\
             default_keytab_name = FILE:{here}/server.keytab\n\
             default_client_keytab_name = FILE:{here}/client.keytab\n\
             [realms]\n {REALM} = {{\n kdc = 127.0.0.1:{port}\n }}\n\
             [logging]\n kdc = FILE:{here}/kdc.log\n"
        );
        let kdc = format!(
            "[realms]\n {REALM} = {{\n database_name = {here}/principal\n key_stash_file = {here}/stash\n\
             master_key_type = {enctype}\n supported_enctypes = {enctype}:normal\n\
             kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n }}\n"
        );
        fs::write(self.path("krb5.conf"), krb5).expect("a file in our directory");
        fs::write(self.path("kdc.conf"), kdc).expect("a file in our directory");
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of the loopback interface that nobody listens on, neither on TCP nor on UDP.
fn free_port() -> u16 {
    let port = |socket: &TcpListener| socket.local_addr().map(|address| address.port());
    (0..100)
        .filter_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|tcp| port(&tcp)).ok())
        .find(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
