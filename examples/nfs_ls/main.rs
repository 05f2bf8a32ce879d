//! Lists a directory of an NFS server, by NFSv4.0 and nothing of the kernel's: one name a line.
//!
//!     nfs_ls SERVICE@HOST HOST:PORT PATH [header|integrity|privacy]
//!
//! With privacy, which is NFS's krb5p, nobody on the way sees a name.

mod nfs4;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use lgss::ctx::{ContextRequest, Level};
use lgss::rpc::{CallProtection, Client, ClientOptions};
use lgss::security::Security;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [service, server, path] => list(service, server, (path, "privacy")),
        [service, server, path, protection] => list(service, server, (path, protection)),
        _ => Err("usage: nfs_ls SERVICE@HOST HOST:PORT PATH [header|integrity|privacy]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfs_ls: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list(service: &str, server: &str, (path, protection): (&str, &str)) -> Result<(), Box<dyn Error>> {
    let (protection, level) = match protection {
        "header" => (CallProtection::Header, Level::Authentication),
        "integrity" => (CallProtection::Integrity, Level::Integrity),
        "privacy" => (CallProtection::Privacy, Level::Privacy),
        other => return Err(format!("{other} is not header, integrity or privacy").into()),
    };
    let request = ContextRequest::new(service.parse()?, format!("rpc:{server},100003,4").parse()?);
    let security = Security::new(ContextRequest { level, ..request });
    let client = Client::new(security, ClientOptions { protection, ..ClientOptions::default() });

    let mut output = BufWriter::new(io::stdout().lock());
    nfs4::each_name(&client, path, |name| writeln!(output, "{}", name.escape_ascii()))?;
    output.flush()?;
    Ok(client.destroy_context()?)
}
