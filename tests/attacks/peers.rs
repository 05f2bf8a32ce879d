//! An attacker that answers in the place of the server, whose key it does not have: rule S12. It may take over the port of a
//! service that is down, or the network.

use crate::attack::{Attack, End, Scene};
use crate::support::acceptor::token;
use crate::support::outcome::Outcome;
use crate::support::rpc::{InitReply, RPCSEC_GSS, call_null_with, xid};
use crate::support::server::Server;
use nix::errno::Errno;
use std::sync::Mutex;

pub(crate) fn attacks() -> Vec<Attack> {
    let answering = |name: &str, token: fn(&[u8]) -> Vec<u8>| {
        Attack::asking("S12", name, End::Refused(Errno::EPROTO), move |scene| {
            let server = Server::answering(move |call| Some(complete(call, token(call)).encode()));
            let outcome = scene.ask(scene.request_to(&scene.shared.nfs().behind(&server), ""));
            assert!(server.connections() > 0, "the server was never asked");
            outcome
        })
    };
    vec![
        answering("pass for the server without any proof", |_| Vec::new()),
        answering("pass for the server with the client's own token", |call| token(call).to_vec()),
        answering("pass for the server with a token that means nothing", |_| vec![0; 156]),
        Attack::asking(
            "S12",
            "pass for the server with all that it has answered to an earlier request",
            End::Refused(Errno::EPROTO),
            replay,
        ),
    ]
}

/// What says that the context is complete.
fn complete(call: &[u8], token: Vec<u8>) -> InitReply {
    let verifier = vec![0; 28];
    let reply = InitReply::continuing(call, &token);
    InitReply { gss_major: 0, window: 32, verifier_flavor: RPCSEC_GSS, verifier, ..reply }
}

fn replay(scene: &Scene<'_>) -> Outcome {
    let first: Mutex<Option<InitReply>> = Mutex::default();
    let server = Server::between(scene.shared.nfs().address(), move |reply| {
        let mut first = first.lock().unwrap();
        let first = first.get_or_insert_with(|| InitReply::parse(reply));
        *reply = InitReply { xid: xid(reply), ..first.clone() }.encode();
    });
    let target = scene.shared.nfs().behind(&server);
    call_null_with(&scene.ask(scene.request_to(&target, "first")).context(), scene.shared.nfs());
    scene.ask(scene.request_to(&target, "second"))
}
