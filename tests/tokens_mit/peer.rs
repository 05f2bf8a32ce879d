//! A running `tests/peers/token_peer.c`; the layout of its lines is described there.

use super::realm::{self, Library, Realm};
use lgss::crypto::mic::{KeyOrigin, Role};
use lgss::crypto::wrap::Protection;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

pub(super) struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(super) library: Library,
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

/// What MIT makes of a Wrap token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) status: u32,
    pub(super) kind: Protection,
    pub(super) message: Vec<u8>,
}

impl Opened {
    fn read(answer: &str) -> Self {
        let mut words = answer.split(' ');
        let mut word = || words.next().unwrap_or_default();
        Self {
            status: u32::from_str_radix(word(), 16).expect("a major status"),
            kind: match word() {
                "sealed" => Protection::Confidentiality,
                _ => Protection::Integrity,
            },
            message: from_hex(word()),
        }
    }
}

impl Peer {
    /// The peer and both ends of its context, the initiator's first.
    pub(super) fn start(realm: &Realm, (program, library): (&Path, Library), mode: &str) -> (Self, End, End) {
        let mut command = realm.command(program);
        command.args([realm::SERVICE, mode]);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("timeout(1) can be started");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let input = process.stdin.take();
        let mut peer = Self { process, input, output, library };
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

    pub(super) fn wrap(&mut self, end: Role, kind: Protection, message: &[u8]) -> Vec<u8> {
        let command = match kind {
            Protection::Confidentiality => "seal",
            Protection::Integrity => "protect",
        };
        from_hex(&self.ask(&format!("{command} {} {}", name(end), to_hex(message))))
    }

    pub(super) fn unwrap(&mut self, end: Role, token: &[u8]) -> Opened {
        Opened::read(&self.ask(&format!("unseal {} {}", name(end), to_hex(token))))
    }

    /// Header, message and trailer.
    pub(super) fn wrap_iov(&mut self, end: Role, message: &[u8]) -> [Vec<u8>; 3] {
        let answer = self.ask(&format!("seal-iov {} {}", name(end), to_hex(message)));
        let parts: Vec<_> = answer.split(' ').map(from_hex).collect();
        parts.try_into().expect("three buffers")
    }

    pub(super) fn unwrap_iov(&mut self, end: Role, parts: [&[u8]; 3]) -> Opened {
        let [header, message, trailer] = parts.map(to_hex);
        Opened::read(&self.ask(&format!("unseal-iov {} {header} {message} {trailer}", name(end))))
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
        assert_ne!(length, 0, "token_peer ended (its reason is above) or took too long");
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
    if bytes.is_empty() { "-".to_owned() } else { bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
}

fn from_hex(hex: &str) -> Vec<u8> {
    let hex = if hex == "-" { "" } else { hex };
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
