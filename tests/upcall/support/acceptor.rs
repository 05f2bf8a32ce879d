//! A server that accepts contexts with MIT's library and says in full why it refuses one, which NFS-Ganesha does not.

use super::process::{command, succeed};
use super::realm::Realm;
use super::rpc::{InitReply, RPCSEC_GSS, XdrReader};
use super::server::{Server, Target};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// The acceptor of the realm's service. It ends on drop.
pub(crate) struct Acceptor {
    server: Server,
    target: Target,
}

impl Acceptor {
    pub(crate) fn start(realm: &Realm) -> Self {
        Self::start_with(realm, None)
    }

    /// With a clock that differs, such as `+10m` (faketime(1)).
    pub(crate) fn start_with(realm: &Realm, clock: Option<&str>) -> Self {
        let peer = Mutex::new(Peer::start(realm, clock));
        let server = Server::answering(move |call| Some(peer.lock().unwrap().answer(call).encode()));
        let target = Target::nfs(&realm.service(), server.port());
        Self { server, target }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// How many connections have come.
    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }
}

/// A running tests/peers/acceptor.c; the layout of its lines is described there.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(realm: &Realm, clock: Option<&str>) -> Self {
        // One realm may have several acceptors at a time.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let program = realm.path(&format!("acceptor-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/acceptor.c");
        succeed(Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lgssapi_krb5"), "");
        let mut command = match clock {
            Some(clock) => with_clock(clock, &program),
            None => command(&program),
        };
        // Several connections may come within one second; without this, MIT's replay cache would take the second for a
        // replay of the first.
        command.envs(realm.environment()).env("KRB5_KTNAME", realm.keytab()).env("KRB5RCACHENAME", "none:");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    fn answer(&mut self, call: &[u8]) -> InitReply {
        let token: String = token(call).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.input, "{token}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, token, mic] = words[..] else { panic!("acceptor: {line:?}") };
        let number = |hex| u32::from_str_radix(hex, 16).unwrap();
        let reply = InitReply::continuing(call, &from_hex(token));
        match number(major) {
            0 => InitReply {
                gss_major: 0,
                window: 32,
                verifier_flavor: RPCSEC_GSS,
                verifier: from_hex(mic),
                ..reply
            },
            gss_major => InitReply { gss_major, gss_minor: number(minor), handle: Vec::new(), ..reply },
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `program` with its clock shifted by `shift`. It dies with the thread that starts it.
pub(crate) fn with_clock(shift: &str, program: impl AsRef<Path>) -> Command {
    let mut faked = command(program);
    // Without faketime(1), which stays as the program's parent: killing it would leave the program running.
    faked.env("FAKETIME", shift).env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
    faked
}

/// The token in a call of RPCSEC_GSS_INIT (RFC 2203 §5.2.2).
pub(crate) fn token(call: &[u8]) -> Vec<u8> {
    let mut xdr = XdrReader(call);
    for _ in ["xid", "call", "RPC version", "program", "version", "procedure", "flavor"] {
        xdr.u32();
    }
    let _credential = xdr.opaque();
    let _verifier = (xdr.u32(), xdr.opaque());
    xdr.opaque().to_vec()
}

fn from_hex(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
