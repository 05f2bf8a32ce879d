//! A ticket, a server: the requester gets a context that the server accepts.

use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{RELEASED_WITHIN, Site, blocked};

crate::trials![a_context_made_by_the_kernels_upcall_is_accepted_by_the_server];

fn a_context_made_by_the_kernels_upcall_is_accepted_by_the_server(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let context = site.ask(shared.nfs()).context();
    assert_eq!(context.window.count(), 32);
    assert_eq!(context.handle.as_bytes().len(), 16);
    call_null_with(&context, shared.nfs());
    let line = site.log.wait_for_words(&["established", &format!("uid {}", site.uid()), &shared.nfs().service]);
    assert!(line.contains("ms"), "the line tells how long it took: {line}");
    site.wait_until_idle();
}
