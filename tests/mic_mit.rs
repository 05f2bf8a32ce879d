//! Our MIC tokens against MIT Kerberos: both make the same bytes, and each accepts the other's.
//!
//! Needs no root, but the KDC and the headers of MIT Kerberos (Debian: krb5-kdc, krb5-admin-server, libkrb5-dev), a C
//! compiler and util-linux, and fails without them. Every test has its own realm and KDC.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::{KeyOrigin, MicError, MicKeys, Role};
use lgss::secret::Secret;
use mit::Realm;
use peer::{End, Peer};

#[test]
fn tokens_agree_with_mit_for_aes128_sha1() {
    tokens_agree_with_mit(Enctype::Aes128Sha1);
}

#[test]
fn tokens_agree_with_mit_for_aes256_sha1() {
    tokens_agree_with_mit(Enctype::Aes256Sha1);
}

#[test]
fn tokens_agree_with_mit_for_aes128_sha256() {
    tokens_agree_with_mit(Enctype::Aes128Sha256);
}

#[test]
fn tokens_agree_with_mit_for_aes256_sha384() {
    tokens_agree_with_mit(Enctype::Aes256Sha384);
}

fn tokens_agree_with_mit(enctype: Enctype) {
    let realm = Realm::start(enctype);
    let program = realm.compile("mic_peer.c");
    // With mutual authentication MIT's acceptor asserts a subkey; without it, it cannot.
    for (mode, origin) in [("mutual", KeyOrigin::AcceptorSubkey), ("one-way", KeyOrigin::Initiator)] {
        let (mut peer, initiator, acceptor) = Peer::start(&realm, &program, mode);
        assert_eq!(initiator.key, acceptor.key);
        for mut end in [initiator, acceptor] {
            assert_eq!((end.enctype, end.origin), (enctype.number(), origin));
            for message in [&b""[..], b"message", &[0xa5; 4096]] {
                exchange(&mut peer, &mut end, message);
            }
        }
    }
}

/// MIT signs as `end` and we verify; then we sign as the opposite end and MIT verifies as `end`.
fn exchange(peer: &mut Peer, end: &mut End, message: &[u8]) {
    let enctype = Enctype::try_from(end.enctype).expect("an AES type");
    let (same, other) = match end.role {
        Role::Initiator => (Role::Initiator, Role::Acceptor),
        Role::Acceptor => (Role::Acceptor, Role::Initiator),
    };
    let keys = |role| {
        MicKeys::new(enctype, &Secret::new(end.key.clone()), end.origin, role)
            .expect("MIT's key fits its type")
    };

    let theirs = peer.sign(end.role, message);
    assert_eq!(keys(other).verify(message, &theirs), Ok(end.send_sequence));
    assert_eq!(keys(same).sign(message, end.send_sequence), theirs, "our token for the same number differs");
    end.send_sequence += 1;

    let ours = keys(other).sign(message, end.receive_sequence);
    let mut damaged = ours.clone();
    *damaged.last_mut().expect("a token is not empty") ^= 1;
    assert_eq!(keys(same).verify(message, &damaged), Err(MicError::Checksum));
    assert_eq!(peer.verify(end.role, message, &damaged), GSS_S_BAD_SIG);
    assert_eq!(peer.verify(end.role, message, &ours), GSS_S_COMPLETE);
    assert_eq!(peer.verify(end.role, message, &ours), GSS_S_DUPLICATE_TOKEN, "sent a second time");
    end.receive_sequence += 1;
}

// RFC 2744 §3.9.1.
const GSS_S_COMPLETE: u32 = 0;
const GSS_S_DUPLICATE_TOKEN: u32 = 0x2;
const GSS_S_BAD_SIG: u32 = 0x6_0000;

/// A running `tests/peers/mic_peer.c`; the layout of its lines is described there.
mod peer {
    use super::mit::Realm;
    use lgss::crypto::mic::{KeyOrigin, Role};
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;
    use std::process::{Child, ChildStdin, ChildStdout, Stdio};

    pub(super) struct Peer {
        process: Child,
        input: Option<ChildStdin>,
        output: BufReader<ChildStdout>,
    }

    /// One end of MIT's context, in its state just after the context was made.
    pub(super) struct End {
        pub(super) role: Role,
        pub(super) enctype: u32,
        pub(super) origin: KeyOrigin,
        pub(super) send_sequence: u64,
        pub(super) receive_sequence: u64,
        pub(super) key: Vec<u8>,
    }

    impl Peer {
        /// The peer and both ends of its context, the initiator's first.
        pub(super) fn start(realm: &Realm, program: &Path, mode: &str) -> (Self, End, End) {
            let mut command = realm.command(program);
            command.args([super::mit::SERVICE, mode]);
            let mut process = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("timeout(1) can be started");
            let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
            let input = process.stdin.take();
            let mut peer = Self { process, input, output };
            let (initiator, acceptor) = (peer.read_end(Role::Initiator), peer.read_end(Role::Acceptor));
            (peer, initiator, acceptor)
        }

        pub(super) fn sign(&mut self, end: Role, message: &[u8]) -> Vec<u8> {
            from_hex(&self.ask(&format!("sign {} {}", name(end), to_hex(message))))
        }

        pub(super) fn verify(&mut self, end: Role, message: &[u8], token: &[u8]) -> u32 {
            let command = format!("verify {} {} {}", name(end), to_hex(message), to_hex(token));
            u32::from_str_radix(&self.ask(&command), 16).expect("a major status")
        }

        fn ask(&mut self, command: &str) -> String {
            let input = self.input.as_mut().expect("open until the peer is dropped");
            writeln!(input, "{command}").expect("the peer reads commands");
            self.read_line()
        }

        fn read_end(&mut self, role: Role) -> End {
            let line = self.read_line();
            let fields: Vec<&str> = line.split(' ').collect();
            let [end, enctype, origin, send, receive, key] = fields[..] else {
                panic!("not the description of an end: {line}");
            };
            assert_eq!(end, name(role));
            End {
                role,
                enctype: enctype.parse().expect("an enctype"),
                origin: match origin {
                    "acceptor-subkey" => KeyOrigin::AcceptorSubkey,
                    _ => KeyOrigin::Initiator,
                },
                send_sequence: send.parse().expect("a sequence number"),
                receive_sequence: receive.parse().expect("a sequence number"),
                key: from_hex(key),
            }
        }

        /// This ends in time, because the peer runs under timeout(1).
        fn read_line(&mut self) -> String {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("the peer writes text");
            assert_ne!(length, 0, "mic_peer ended (its reason is above) or took too long");
            line.trim_end().to_owned()
        }
    }

    impl Drop for Peer {
        /// The peer ends when its input is closed.
        fn drop(&mut self) {
            self.input = None;
            let _ = self.process.wait();
        }
    }

    fn name(role: Role) -> &'static str {
        match role {
            Role::Initiator => "initiator",
            Role::Acceptor => "acceptor",
        }
    }

    fn to_hex(bytes: &[u8]) -> String {
        if bytes.is_empty() {
            "-".to_owned()
        } else {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        hex.as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            })
            .collect::<Option<_>>()
            .expect("pairs of hex digits")
    }
}

/// A realm with one encryption type, in its own directory.
mod mit {
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
        pub(super) fn compile(&self, source: &str) -> PathBuf {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(source);
            let program = self.directory.path().join("peer");
            let [from, to] = [source.to_string_lossy(), program.to_string_lossy()];
            self.run("cc", &["-Wall", "-Wextra", "-Werror", "-o", &to, &from, "-lgssapi_krb5"]);
            program
        }

        /// A command in this realm that is killed after [`LIMIT`].
        pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
            let mut command = self.environment("timeout");
            command.args(["--kill-after=1", &LIMIT.as_secs().to_string()]).arg(program);
            command
        }

        fn run(&self, program: &str, arguments: &[&str]) {
            let output = self.command(program).args(arguments).output().expect("timeout(1) can be started");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {}: {errors}", output.status);
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
                .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
                .stdin(Stdio::null());
            command
        }

        fn configure(&self, enctype: Enctype, port: u16) {
            let here = self.directory.path().display();
            let krb5 = format!(
                "[libdefaults]\n default_realm = {REALM}\n permitted_enctypes = {enctype}\n\
                 default_tkt_enctypes = {enctype}\n default_tgs_enctypes = {enctype}\n\
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
}
