//! An agent whose caches are in the persistent keyring is killed at each of its system calls, while it starts and while a
//! client changes its caches: the next agent has all that was acknowledged, and what was not as a whole or not at all.

use crate::support::agent::DONE;
use crate::support::kcm_model::{KcmModel, ModelChange};
use crate::support::kept_caches::KeptCaches;
use crate::support::keys::wait_for_quota;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

crate::trials![killed_at_any_call_it_has_lost_nothing_that_it_acknowledged];

/// What the client asks for, over and over. The last changes lead to what the first begin with.
fn changes() -> Vec<ModelChange> {
    use ModelChange::{Default, Destroy, Empty, Initialize, Move, Offset, Replace, Store};
    vec![
        Initialize("a"),
        Store("a", 1, 1),
        Store("a", 2, 1),
        Store("a", 1, 2),
        Offset("a", 5),
        Replace("b", 7, vec![(1, 1), (2, 1), (3, 1)]),
        Default("b"),
        Replace("b", 8, vec![(4, 1), (1, 2)]),
        Move("b", "a"),
        Store("a", 5, 1),
        Empty("a"),
        Default("a"),
        Initialize("b"),
        Store("b", 6, 1),
        Destroy("a"),
        Destroy("b"),
    ]
}

/// What one agent's client has seen.
struct Told {
    /// By all that was acknowledged.
    known: KcmModel,
    /// With the change that was not answered.
    perhaps: Option<KcmModel>,
}

/// Has the agent make the changes for which there is a cache, as long as it answers.
fn ask(kept: &KeptCaches, instance: &str, before: &KcmModel) -> Told {
    let mut told = Told { known: before.clone(), perhaps: None };
    let client = wait_for("an agent that serves or has ended", Duration::from_secs(20), || {
        let ended = kept.has_ended(instance);
        kept.try_to_connect("kcm.socket").map(Some).or(ended.then_some(None))
    });
    let Some(mut client) = client else { return told };
    for change in changes() {
        let Some(next) = told.known.after(&change) else { continue };
        let (opcode, parameters) = change.request();
        match client.try_to(opcode, &parameters) {
            Some((status, _)) => {
                assert_eq!(status, DONE, "{change:?}; {:#?}", kept.site.log.lines());
                told.known = next;
            }
            None => {
                told.perhaps = Some(next);
                return told;
            }
        }
    }
    kept.end_agents(Signal::SIGTERM);
    told
}

/// Returns whether the agent made so many calls.
fn strike(kept: &KeptCaches, call: u32, state: &mut KcmModel) -> bool {
    let instance = format!("kill-front-{call}");
    let own = kept.site.uid().to_string();
    let killer = kept.struck_agent(&instance);
    let told = ask(kept, &instance, state);
    let word = kept.struck(&instance);
    drop(killer);
    let next = kept.agent();
    let found = KcmModel::of(&mut kept.connect(), &own);
    drop(next);
    let is_right = found == told.known || told.perhaps.as_ref() == Some(&found);
    assert!(
        is_right,
        "{instance}: {word}: acknowledged {:#?}, or {:#?}; found {found:#?}; {:#?}",
        told.known,
        told.perhaps,
        kept.site.log.lines()
    );
    *state = found;
    wait_for_quota(kept.site.uid());
    assert!(word.starts_with("killed at call ") || word.starts_with("ended after "), "{word}");
    word.starts_with("killed")
}

fn killed_at_any_call_it_has_lost_nothing_that_it_acknowledged(shared: &Shared) {
    let (next, last) = (AtomicU32::new(1), AtomicU32::new(u32::MAX));
    let work = || {
        let kept = KeptCaches::new(shared.realm());
        // A cache that nobody touches, and the default one where none was chosen.
        let own: &'static str = kept.site.uid().to_string().leak();
        let first = kept.agent();
        let (opcode, parameters) = ModelChange::Replace(own, 9, vec![(8, 1), (7, 1)]).request();
        kept.connect().done(opcode, &parameters);
        let mut state = KcmModel::of(&mut kept.connect(), own);
        drop(first);
        loop {
            let call = next.fetch_add(1, Ordering::SeqCst);
            if call >= last.load(Ordering::SeqCst) {
                return;
            }
            if !strike(&kept, call, &mut state) {
                last.fetch_min(call, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let calls = last.into_inner() - 1;
    assert!(calls >= 300, "only {calls} calls");
}
