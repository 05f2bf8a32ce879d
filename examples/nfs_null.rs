//! A program that uses a context: requests it, signs a NULL call with it, and checks the server's signature.
//!
//!     nfs_null SERVICE@HOST HOST:PORT,PROGRAM,VERSION
//!     nfs_null KEY_SERIAL HOST:PORT,PROGRAM,VERSION       with the context in this key
//!
//! It needs no Kerberos library and sees no ticket: the key's payload is all it has.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lgss::crypto::mic::{MicKeys, Role};
use lgss::ctx::client::{self, ContextKey};
use lgss::ctx::{Context, ContextRequest, KeySerial, RpcChannel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LIMIT: Duration = Duration::from_secs(10);
/// Longest reply to a NULL call that is read, in bytes.
const REPLY_LIMIT: usize = 4096;

// RFC 5531 §9, RFC 2203 §5.
const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;
const NULL_PROCEDURE: u32 = 0;
const FLAVOR_GSS: u32 = 6;
const GSS_VERSION: u32 = 1;
const GSS_DATA: u32 = 0;
const GSS_SERVICE_NONE: u32 = 1;
/// The mark of a record's last fragment on TCP (RFC 5531 §11).
const LAST_FRAGMENT: u32 = 0x8000_0000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.as_slice() {
        [wanted, server] => call_null(wanted, server),
        _ => Err("usage: nfs_null SERVICE@HOST|KEY_SERIAL HOST:PORT,PROGRAM,VERSION".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfs_null: {error}");
            ExitCode::FAILURE
        }
    }
}

fn call_null(wanted: &str, server: &str) -> Result<()> {
    let server: RpcChannel = format!("rpc:{server}").parse()?;
    let (key, context) = context(wanted, &server)?;
    let enctype = context.base_key.enctype();
    let handle = context.handle.as_bytes();
    say(format_args!(
        "key {key}: {enctype}, window {}, handle {} bytes",
        context.window.count(),
        handle.len()
    ))?;

    let (xid, sequence) = (std::process::id(), fresh_sequence()?);
    let header = call_header(xid, &server, sequence, handle)?;
    let keys = MicKeys::new(enctype, context.base_key.secret(), context.key_origin, Role::Initiator)?;
    let mic = keys.sign(&header, context.send_sequence);
    let call = [header, words(&[FLAVOR_GSS]), opaque(&mic)?].concat();
    say(format_args!("call: program {}, NULL, sequence {sequence}, signed", server.program))?;

    let mut stream = TcpStream::connect((server.host.as_str(), server.port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let reply = transact(&mut stream, &call)?;
    let (verifier, results) = accepted(&reply, xid)?;
    // The server signs the sequence number of the call (RFC 2203 §5.3.3.2).
    keys.verify(&sequence.to_be_bytes(), verifier)?;
    say(format_args!("reply: accepted, signed by the server, {} bytes of results", results.len()))
}

/// The context with a service, or the one in a key.
fn context(wanted: &str, server: &RpcChannel) -> Result<(KeySerial, Context)> {
    let key = match wanted.parse() {
        Ok(serial) => ContextKey::of(serial),
        Err(_) => client::request(&ContextRequest::new(wanted.parse()?, server.clone()))?,
    };
    Ok((key.serial(), key.established(LIMIT)?))
}

/// A number that the server has not seen under this context, because it drops those that it has: milliseconds, which begin
/// again after 25 days, within the 2^31 numbers that RFC 2203 §5.3.3.1 allows. A program with a context of its own counts from 1.
fn fresh_sequence() -> Result<u32> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    Ok(u32::try_from(millis % 0x7fff_ffff)?)
}

/// The call up to the end of its credential, which the verifier signs (RFC 2203 §5.3.1).
fn call_header(xid: u32, server: &RpcChannel, sequence: u32, handle: &[u8]) -> Result<Vec<u8>> {
    let numbers = [GSS_VERSION, GSS_DATA, sequence, GSS_SERVICE_NONE];
    let credential = [words(&numbers), opaque(handle)?].concat();
    let numbers = [xid, CALL, RPC_VERSION, server.program, server.version, NULL_PROCEDURE, FLAVOR_GSS];
    Ok([words(&numbers), opaque(&credential)?].concat())
}

/// Verifier and results of a reply that accepts the call.
fn accepted(reply: &[u8], xid: u32) -> Result<(&[u8], &[u8])> {
    let rest = reply.strip_prefix(words(&[xid, REPLY, 0]).as_slice()).ok_or("the call was not accepted")?;
    let rest = rest.strip_prefix(words(&[FLAVOR_GSS]).as_slice()).ok_or("the reply is not signed")?;
    let (length, rest) = rest.split_first_chunk().ok_or("the reply ends in its verifier")?;
    let length = usize::try_from(u32::from_be_bytes(*length))?;
    let (verifier, rest) = rest.split_at_checked(length).ok_or("the reply ends in its verifier")?;
    let rest = rest.get(length.next_multiple_of(4) - length..).unwrap_or_default();
    let results = rest.strip_prefix(words(&[0]).as_slice()).ok_or("the call was not carried out")?;
    Ok((verifier, results))
}

/// Sends one record and reads one of a single fragment, which suffices for so short a reply.
fn transact(stream: &mut TcpStream, call: &[u8]) -> Result<Vec<u8>> {
    let mark = u32::try_from(call.len())? | LAST_FRAGMENT;
    stream.write_all(&[words(&[mark]), call.to_vec()].concat())?;
    let mut mark = [0; 4];
    stream.read_exact(&mut mark)?;
    let mark = u32::from_be_bytes(mark);
    let length = usize::try_from(mark & !LAST_FRAGMENT)?;
    if mark & LAST_FRAGMENT == 0 || length > REPLY_LIMIT {
        return Err("the reply is longer than one to a NULL call".into());
    }
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Numbers in XDR (RFC 4506 §4.2).
fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Bytes of variable length in XDR (RFC 4506 §4.10).
fn opaque(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut written = [words(&[u32::try_from(bytes.len())?]), bytes.to_vec()].concat();
    written.resize(written.len().next_multiple_of(4), 0);
    Ok(written)
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
