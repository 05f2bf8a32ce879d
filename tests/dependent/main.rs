//! A third party's program that uses contexts: it requests one, waits for it, reads it, and signs with it.

use std::error::Error;
use std::time::Duration;

use lgss::crypto::mic::{MicKeys, Role};
use lgss::ctx::{Callout, Description, State, client};

fn main() -> Result<(), Box<dyn Error>> {
    let callout: Callout = "lgss1;svc=nfs@srv.example.test;chan=rpc:srv.example.test:2049,100003,4".parse()?;
    let description =
        Description { owner: client::calling_user(), service: callout.service.clone(), instance: None };
    if std::env::args().len() > 1 {
        println!("{description}");
        return Ok(());
    }
    match client::request(&description, &callout)?.wait(Duration::from_secs(30))? {
        State::Established(context) => {
            let base = &context.base_key;
            let keys = MicKeys::new(base.enctype(), base.secret(), context.key_origin, Role::Initiator)?;
            println!("{} bytes of signature", keys.sign(b"message", context.send_sequence).len());
        }
        State::Failed { errno, .. } => println!("failed: {errno}"),
        State::InProgress => println!("not yet"),
    }
    Ok(())
}
