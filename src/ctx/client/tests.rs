use super::*;
use crate::ctx::NoContext;
use crate::ctx::payload::user;
use crate::event::{Cause, Failure, Reason, Stage};
use crate::key::KeySerial;

/// Needs a kernel with keys, as the whole package does.
#[test]
fn the_state_in_a_key_is_read_and_its_end_is_seen() {
    let ring = keyctl::PROCESS_KEYRING;
    let add = |payload: &[u8]| keyctl::add(c"user", c"lgss:test:client", payload, ring).unwrap();
    let raw = add(user::in_progress().as_slice());
    let key = ContextKey::of(KeySerial::new(raw).unwrap());
    let start = Instant::now();
    assert!(matches!(key.wait(Duration::from_millis(20)), Ok(State::InProgress)));
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!(key.established(Duration::ZERO).unwrap_err(), NotEstablished::InProgress);
    keyctl::update(raw, b"something else").unwrap();
    assert!(matches!(key.wait(Duration::from_secs(9)), Err(ClientError::Payload(_))));
    keyctl::revoke(raw).unwrap();
    assert_eq!(key.state().unwrap_err(), ClientError::Read(OsError(Errno::EKEYREVOKED)));
}

/// Rule S20; needs root. Root's session and user keyring are handed on to others: no user's context goes there.
#[cfg(feature = "upcall")]
#[test]
fn a_process_of_roots_that_acts_for_a_user_keeps_its_contexts_to_itself() {
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use crate::sys::process::end;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{Uid, getuid, setresuid};
    assert!(getuid().is_root(), "needs root");
    let child = match fork().unwrap() {
        ForkResult::Child => {
            let (root, user) = (Uid::from_raw(0), Uid::from_raw(64_001));
            let acts = setresuid(root, user, root).is_ok();
            let shared = destination() == Ok(Destination::Process);
            let ask = |_| Err(Errno::EIO);
            let refused = [Destination::User, Destination::Session].map(|place| place.search(ask));
            let kept = refused == [Err(Errno::EACCES); 2];
            end(if acts && shared && kept { REACHED } else { 1 })
        }
        ForkResult::Parent { child } => child,
    };
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
}

/// Needs a kernel with keys, as the whole package does.
#[test]
fn whoever_waits_for_a_context_gets_the_failure_in_words() {
    let failure = Failure::new(Stage::Kdc, Cause::KdcDown, "127.0.0.1:88 refused").with_gss_major(0x70000);
    let reason = Reason::of(&failure).unwrap();
    let remedy = reason.remedy.clone();
    let payload = user::failed_because(&failure, &reason).unwrap();
    let raw = keyctl::add(c"user", c"lgss:test:failed", payload.as_slice(), keyctl::PROCESS_KEYRING).unwrap();
    let key = ContextKey::of(KeySerial::new(raw).unwrap());
    let error = key.established(Duration::from_secs(9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no context: ECONNREFUSED: no KDC can be reached (127.0.0.1:88 refused); {remedy}")
    );
    let NotEstablished::Failed(NoContext { errno, gss_major, .. }) = error else { panic!("{error:?}") };
    assert_eq!((errno.code(), gss_major), (libc::ECONNREFUSED, 0x70000));
    // Of a secret failure there is the errno alone.
    keyctl::update(raw, user::failed(&failure).as_slice()).unwrap();
    let error = key.established(Duration::ZERO).unwrap_err().to_string();
    assert!(error.starts_with("no context: ECONNREFUSED: the KDC or the server is down; "), "{error}");
}
