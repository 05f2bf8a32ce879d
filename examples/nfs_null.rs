//! The smallest call: procedure 0 of a program, which does nothing, signed with a context of our own.
//!
//!     nfs_null SERVICE@HOST HOST:PORT,PROGRAM,VERSION [header|integrity|privacy]
//!
//! It needs no Kerberos library and sees no ticket.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use lgss::ctx::{ContextRequest, Level};
use lgss::rpc::{CallProtection, Client, ClientOptions, NULL_PROCEDURE};
use lgss::security::Security;

const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [service, server] => call_null(service, server, "header"),
        [service, server, protection] => call_null(service, server, protection),
        _ => Err("usage: nfs_null SERVICE@HOST HOST:PORT,PROGRAM,VERSION [header|integrity|privacy]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfs_null: {error}");
            ExitCode::FAILURE
        }
    }
}

fn call_null(service: &str, server: &str, protection: &str) -> Result<(), Box<dyn Error>> {
    let (protection, level) = match protection {
        "header" => (CallProtection::Header, Level::Authentication),
        "integrity" => (CallProtection::Integrity, Level::Integrity),
        "privacy" => (CallProtection::Privacy, Level::Privacy),
        other => return Err(format!("{other} is not header, integrity or privacy").into()),
    };
    let request = ContextRequest::new(service.parse()?, format!("rpc:{server}").parse()?);
    let security = Security::new(ContextRequest { level, ..request });
    let context = security.lookup(LIMIT)?;
    say(format_args!("context: {context}, window {}", context.window().count()))?;

    let client =
        Client::new(security, ClientOptions { protection, limit: LIMIT, ..ClientOptions::default() });
    let results = client.call(NULL_PROCEDURE, &[])?;
    say(format_args!("reply: accepted, signed by the server, {} bytes of results", results.len()))?;
    client.destroy_context()?;
    say(format_args!("the context is ended, here and at the server"))
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
