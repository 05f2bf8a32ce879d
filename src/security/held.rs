//! The keyring that a process's own contexts are kept in.
//!
//! It hangs on the thread keyring of a thread that does nothing else, so that it ends with the process and no program that the
//! process starts inherits it. A key in it is not read from there: whoever negotiates possesses the key by a keyring of
//! its own thread for as long as that takes. What the ring does is to keep the key alive, so that `lgss list` shows
//! it and `lgss flush` ends it. The thread takes keys out, too: it possesses the ring, whatever the uid of whoever drops a context.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::geteuid;

use super::error::LookupError;
use crate::ctx::visible::PROGRAMS_RING;
use crate::ctx::{KeySerial, OsError};
use crate::sys::keyctl;
use crate::sys::per_process::PerProcess;
use crate::sys::thread_uid::only_effective_uid;

/// The possessor may do everything; the owner may look at the ring, link and unlink keys, and end the ring. By that, `lgss list` tells
/// that a program has the context (src/ctx/visible.rs).
const PERMISSIONS: u32 = 0x3f07_0000;
/// The thread only sleeps.
const STACK: usize = 64 * 1024;

static RINGS: PerProcess<Mutex<HashMap<u32, HeldRing>>> = PerProcess::new(Mutex::default);

/// A ring, and the way to the thread that has it.
#[derive(Debug)]
struct HeldRing {
    serial: KeySerial,
    take_out: Sender<KeySerial>,
}

/// The ring for keys of the calling thread's effective uid; made when it is first needed, and anew if it has been ended.
///
/// # Errors
/// [`LookupError::Keeping`], the kernel's: EDQUOT; [`LookupError::Thread`].
pub(super) fn ring() -> Result<KeySerial, LookupError> {
    let mut rings = rings();
    let owner = geteuid().as_raw();
    if let Some(ring) = rings.get(&owner)
        && keyctl::describe(ring.serial.raw()).is_ok()
    {
        return Ok(ring.serial);
    }
    let ring = start_keeper()?;
    let serial = ring.serial;
    // The thread of one that has been ended ends.
    rings.insert(owner, ring);
    Ok(serial)
}

fn rings() -> MutexGuard<'static, HashMap<u32, HeldRing>> {
    RINGS.here().lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_keeper() -> Result<HeldRing, LookupError> {
    let (tell, told) = mpsc::channel();
    let (take_out, to_take_out) = mpsc::channel::<KeySerial>();
    let keep = move || {
        without_signals();
        let made = make_ring();
        let ring = made.ok();
        if tell.send(made).is_err() {
            return;
        }
        let Some(ring) = ring else { return };
        for key in to_take_out {
            let _ = keyctl::unlink(key.raw(), ring.raw());
        }
    };
    let thread = thread::Builder::new().name("lgss-keyring".to_owned()).stack_size(STACK);
    thread.spawn(keep).map_err(|error| LookupError::Thread(error.kind()))?;
    let serial =
        told.recv().unwrap_or(Err(Errno::EIO)).map_err(|errno| LookupError::Keeping(OsError(errno)))?;
    Ok(HeldRing { serial, take_out })
}

/// A ring that belongs to the effective uid, also in a setuid program and whatever the process becomes: the kernel gives a thread
/// keyring to the real uid, and to another with every change of it, but not the keyrings in it.
fn make_ring() -> Result<KeySerial, Errno> {
    only_effective_uid()?;
    let ring = keyctl::add(c"keyring", PROGRAMS_RING, &[], keyctl::THREAD_KEYRING)?;
    keyctl::set_permissions(ring, PERMISSIONS)?;
    KeySerial::new(ring).ok_or(Errno::EPROTO)
}

/// The program's handlers do not run in threads that it does not know.
pub(super) fn without_signals() {
    let _ = SigSet::all().thread_block();
}

/// Puts a key that the calling thread possesses into the ring.
///
/// # Errors
/// [`LookupError::Keeping`]: EDQUOT.
pub(super) fn keep(key: KeySerial, ring: KeySerial) -> Result<(), LookupError> {
    keyctl::link(key.raw(), ring.raw()).map_err(|errno| LookupError::Keeping(OsError(errno)))
}

/// Has a key taken out, in a moment; the kernel forgets one that is nowhere else. One that has gone is no error.
pub(super) fn release(key: KeySerial, ring: KeySerial) {
    if let Some(held) = rings().values().find(|held| held.serial == ring) {
        let _ = held.take_out.send(key);
    }
}
