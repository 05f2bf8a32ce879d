//! A program that uses a context key: reads it, signs a NULL call with it, and checks the server's signature.
//!
//!     nfs_null KEY_SERIAL HOST:PORT,PROGRAM,VERSION
//!
//! It needs no Kerberos library and sees no ticket: all it has is what the key's payload holds.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lgss::crypto::mic::{MicKeys, Role};
use lgss::ctx::Context;
use lgss::ctx::payload::user::{self, State};
use lgss::ctx::request::RpcChannel;
use lgss::key::KeySerial;
use lgss::negotiate::channel::rpc::Client;
use lgss::negotiate::channel::rpc::call::{
    CallHeader, Credential, FLAVOR_GSS, GssProcedure, NULL_PROCEDURE, Program, Protection,
};
use lgss::negotiate::channel::rpc::reply::Reply;
use lgss::negotiate::channel::tcp;
use lgss::sys::keyctl;

const LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.as_slice() {
        [key, server] => call_null(key, server),
        _ => Err("usage: nfs_null KEY_SERIAL HOST:PORT,PROGRAM,VERSION".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfs_null: {error}");
            ExitCode::FAILURE
        }
    }
}

fn call_null(key: &str, server: &str) -> Result<(), Box<dyn Error>> {
    let context = context_of(key.parse()?)?;
    let server: RpcChannel = format!("rpc:{server}").parse()?;
    let enctype = context.base_key.enctype();
    let handle = context.handle.as_bytes();
    say(format_args!(
        "key {key}: {enctype}, window {}, handle {} bytes",
        context.window.count(),
        handle.len()
    ))?;

    let stream = tcp::connect(&tcp::resolve(&server.host, server.port)?, LIMIT)?;
    let program = Program { number: server.program, version: server.version };
    let mut client = Client::new(stream, program, LIMIT);
    let (xid, sequence) = (client.take_xid(), fresh_sequence()?);
    let credential =
        Credential { procedure: GssProcedure::Data, sequence, protection: Protection::None, handle };
    let header = CallHeader::new(xid, program, NULL_PROCEDURE, &credential)?;
    let keys = MicKeys::new(enctype, context.base_key.secret(), context.key_origin, Role::Initiator)?;
    let mic = keys.sign(header.signed(), context.send_sequence);
    let call = header.with_verifier(&mic)?;
    say(format_args!("call: program {}, NULL, sequence {sequence}, signed", program.number))?;

    let message = client.transact(call.as_slice())?;
    let reply = Reply::parse(&message, xid)?;
    if reply.flavor != FLAVOR_GSS {
        return Err("the reply is not signed".into());
    }
    // The server signs the sequence number of the call (RFC 2203 §5.3.3.2).
    keys.verify(&sequence.to_be_bytes(), reply.verifier)?;
    say(format_args!("reply: accepted, signed by the server, {} bytes of results", reply.results.len()))
}

fn context_of(key: KeySerial) -> Result<Context, Box<dyn Error>> {
    match user::parse(&keyctl::read(key.raw())?)? {
        State::Established(context) => Ok(context),
        State::InProgress => Err("the negotiation is still going on".into()),
        State::Failed { errno, gss_major, .. } => {
            Err(format!("no context: {errno}, GSS major {gss_major:#x}").into())
        }
    }
}

/// Larger at every run, because a server drops a number that it has seen under the same context: milliseconds, within the
/// 2^31 numbers that RFC 2203 §5.3.3.1 allows.
fn fresh_sequence() -> Result<u32, Box<dyn Error>> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    Ok(u32::try_from(millis % 0x7fff_ffff)?)
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
