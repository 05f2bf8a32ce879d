//! Host names from the site's hook, for Lustre's network identifiers. The monitor asks it before there is a worker; the worker
//! checks and confirms the answer (rules S14, S17).
#![forbid(unsafe_code)]

use std::time::Instant;

use super::order::Order;
use crate::config::{Config, HookName};
use crate::ctx::lustre::LustreMechanism;
use crate::event::{Cause, Failure, Stage};
use crate::hook::{self, HookCall, HostAnswer, HostInput, RunsAs};
use crate::negotiate::messages::{Credentials, Request, Target};
use crate::nid::{Lnd, Nid};
use crate::sys::fork::fork_confined;

/// The names that a hook has for a request's network identifiers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HookedNames {
    /// The server's.
    peer: Option<String>,
    /// This machine's.
    myself: Option<String>,
}

impl HookedNames {
    /// Asks the hook, if there is one, for the names that the request needs and lgss.toml does not have.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Resolve` if the hook fails. Its reason is for the log.
    pub(super) fn of(order: &Order, config: &Config, by: Instant) -> Result<Self, Failure> {
        let (Some(hook), Some(callout)) = (&config.lustre.nid_hook.0, order.lustre()) else {
            return Ok(Self::default());
        };
        if callout.mechanism != LustreMechanism::Krb5 {
            return Ok(Self::default());
        }
        let ask = |nid: Nid| if is_askable(nid, config) { name_of(nid, hook, config, by) } else { Ok(None) };
        let peer = ask(callout.peer)?;
        let myself = match callout.roles.any() {
            true if callout.myself == callout.peer => peer.clone(),
            true => ask(callout.myself)?,
            false => None,
        };
        Ok(Self { peer, myself })
    }

    /// The request with them.
    pub(super) fn told_in(self, mut request: Request) -> Request {
        if let Target::Lustre { peer, .. } = &mut request.target {
            peer.proposed = self.peer;
        }
        if let Credentials::Machines { myself: Some(myself), .. } = &mut request.credentials {
            myself.proposed = self.myself;
        }
        request
    }
}

/// What the settings name needs no hook, and what is no node's has no name.
fn is_askable(nid: Nid, config: &Config) -> bool {
    let is_nodes = !nid.is_any() && nid.raw() != 0 && nid.lnd() != Some(Lnd::Lo);
    is_nodes && !config.lustre.nids.contains_key(&nid)
}

fn name_of(nid: Nid, name: &HookName, config: &Config, by: Instant) -> Result<Option<String>, Failure> {
    let driver = nid.lnd().map(Lnd::program_name);
    let input = HostInput {
        purpose: "host",
        nid: nid.to_string(),
        driver,
        network: nid.network(),
        address: nid.address(),
    };
    let call = HookCall { name, input: &input, runs_as: RunsAs::HooksUser, by, fork: &fork_confined };
    let answer = hook::run(&call, &config.hooks).and_then(|output| output.result::<HostAnswer>());
    answer.map(|answer| answer.host).map_err(|failure| {
        Failure::new(Stage::Resolve, Cause::BadProgram, format_args!("{nid}: hook {name}: {failure}"))
    })
}

#[cfg(test)]
mod tests;
