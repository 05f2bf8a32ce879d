//! Values that each process makes for itself: a forked child starts without them.
//!
//! A lock that another thread held at the fork stays locked in the child, and numbers that were counted on would be used
//! twice. So what a library keeps for the whole process lives in a [`PerProcess`], and what must not be used after a fork
//! remembers its [`generation`].

use std::num::NonZeroUsize;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// One page is more than enough for a number.
const LENGTH: NonZeroUsize = NonZeroUsize::MIN;

/// A number that differs between a process and the children that it forks, however they were forked. Costs one read of
/// memory where the kernel can wipe a page at a fork (Linux 4.14), else a system call.
pub(crate) fn generation() -> u64 {
    static MARK: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    static NEXT: AtomicU64 = AtomicU64::new(1);

    static CANNOT_WIPE: AtomicBool = AtomicBool::new(false);

    let mut mark = MARK.load(Ordering::Acquire);
    if mark.is_null() {
        let made = if CANNOT_WIPE.load(Ordering::Relaxed) { None } else { wiped_at_fork() };
        let Some(made) = made else {
            // From now on in any case: the kind of number does not change.
            CANNOT_WIPE.store(true, Ordering::Relaxed);
            return u64::from(std::process::id());
        };
        // Of two threads that come here at once one wins; the other's page is lost, which is a page.
        mark = match MARK.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(winners) => winners,
        };
    }
    // SAFETY: the pointer comes from `wiped_at_fork`, whose page stays mapped, is aligned for any type, and holds zeros or
    // what was stored through this same type: each a valid AtomicU64.
    let mark = unsafe { &*mark };
    match mark.load(Ordering::Relaxed) {
        0 => {
            // The child's counter continues where the parent's stood, so that no inherited number comes again.
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            mark.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|won| won, |_| next)
        }
        known => known,
    }
}

/// A page of zeros that is zeros again in a forked child.
fn wiped_at_fork() -> Option<*mut AtomicU64> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses; nothing else refers to it.
    let page = unsafe { mmap_anonymous(None, LENGTH, access, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: the mapping was made above and has that length; the advice changes what a child sees of it, and nothing here.
    let advised = unsafe { madvise(page, LENGTH.get(), MmapAdvise::MADV_WIPEONFORK) };
    if advised.is_err() {
        // SAFETY: the mapping was made above, has that length, and nobody has seen its address.
        let _ = unsafe { munmap(page, LENGTH.get()) };
        return None;
    }
    Some(page.cast().as_ptr())
}

/// A value that is made when it is first needed, once in each process, and never dropped.
pub(crate) struct PerProcess<T: 'static> {
    current: AtomicPtr<(u64, T)>,
    make: fn() -> T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), make }
    }

    /// This process's value. What a child inherits from its parent is neither used nor freed.
    pub(crate) fn here(&'static self) -> &'static T {
        let generation = generation();
        loop {
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: null, or from the `Box::leak` below and never freed, so valid and shared for as long as the process.
            if let Some((made_in, value)) = unsafe { current.as_ref() }
                && *made_in == generation
            {
                return value;
            }
            let made = ptr::from_mut(Box::leak(Box::new((generation, (self.make)()))));
            if let Err(_others) =
                self.current.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire)
            {
                // SAFETY: `made` comes from the Box above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use crate::sys::process::end;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::sync::Mutex;

    static COUNT: PerProcess<Mutex<u32>> = PerProcess::new(|| Mutex::new(0));

    #[test]
    fn a_child_starts_anew_even_if_a_lock_was_held_at_the_fork() {
        let before = generation();
        let mut held = COUNT.here().lock().unwrap();
        *held = 7;
        let child = match fork().unwrap() {
            ForkResult::Child => {
                let fresh = generation() != before && generation() == generation();
                let free = COUNT.here().try_lock().is_ok_and(|count| *count == 0);
                end(if fresh && free { REACHED } else { 1 })
            }
            ForkResult::Parent { child } => child,
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
        assert_eq!(generation(), before);
        drop(held);
        assert_eq!(*COUNT.here().lock().unwrap(), 7);
    }

    #[test]
    fn all_threads_of_a_process_see_one_value() {
        static PLACE: PerProcess<AtomicU64> = PerProcess::new(|| AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| PLACE.here().fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(PLACE.here().load(Ordering::Relaxed), 16);
    }
}
