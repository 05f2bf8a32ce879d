//! Somebody else's program that uses contexts: requests one, waits for it, signs with it.

use std::error::Error;
use std::time::Duration;

use lgss::crypto::mic::{MicKeys, Role};
use lgss::ctx::client::{self, NotEstablished};
use lgss::ctx::{ContextRequest, Level};

fn main() -> Result<(), Box<dyn Error>> {
    let service = "nfs@srv.example.test".parse()?;
    let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
    let request = ContextRequest { level: Level::Integrity, ..ContextRequest::new(service, channel) };
    if std::env::args().len() > 1 {
        println!("{}", request.description());
        return Ok(());
    }
    match client::request(&request)?.established(Duration::from_secs(30)) {
        Ok(context) => {
            let base = &context.base_key;
            let keys = MicKeys::new(base.enctype(), base.secret(), context.key_origin, Role::Initiator)?;
            println!("{} bytes of signature", keys.sign(b"message", context.send_sequence).len());
        }
        Err(NotEstablished::Failed(no_context)) => {
            println!("{no_context}");
            if no_context.errno.code() == 111 {
                println!("is the server up?");
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
