//! The heap of a program whose processes share memory ([`super::heir`]).
//!
//! [`crate::entry`] makes it the program's allocator. It uses the C library's heap until a process finds itself in the memory
//! of one that was killed, perhaps in the middle of an allocation. From then on every block comes from new memory, and none
//! is freed, since such a process only writes a line of the log. Invariant: Rust code reads the torn heap but never changes
//! it. Calls that allocate in the C library are left out then.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::process::end;

/// More than a line of the log needs. Only used pages take memory.
const ROOM: usize = 64 * 1024 * 1024;

/// Address that stands for "no memory yet": the old heap is closed, the new one is not there.
const CLOSED: usize = 1;

/// Null: the C library's heap is in use. [`CLOSED`]: there are no blocks, since [`USED`] is [`ROOM`]. Otherwise the start of
/// the new memory.
static NEW_HEAP: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// How many bytes of the new memory are used; [`ROOM`] while the heap is closed.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Closes the old heap in a process whose maker may have been killed in the middle of an allocation. Until
/// [`leave_as_it_is`], an allocation fails, which normally ends the process: the old heap may be torn.
pub(super) fn close() {
    USED.store(ROOM, Ordering::Relaxed);
    NEW_HEAP.store(ptr::without_provenance_mut(CLOSED), Ordering::Release);
}

/// Leaves the old heap as it is, for good, and allocates from new memory. Ends the process if there is none.
pub(crate) fn leave_as_it_is() {
    let start = reserve();
    if start.is_null() {
        end(1);
    }
    NEW_HEAP.store(start, Ordering::Release);
    USED.store(0, Ordering::Release);
}

/// Whether the old heap was left. From then on nothing may use the C library's own allocations, as reading a directory
/// does.
pub(crate) fn is_left() -> bool {
    !NEW_HEAP.load(Ordering::Acquire).is_null()
}

fn reserve() -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start =
        unsafe { libc::mmap(ptr::null_mut(), ROOM, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED { ptr::null_mut() } else { start.cast() }
}

/// The next block, zeroed; null if there is no room.
fn take(start: *mut u8, used: &AtomicUsize, layout: Layout) -> *mut u8 {
    let end_of = |used: usize| {
        let begin = start.addr().checked_add(used)?.checked_next_multiple_of(layout.align())? - start.addr();
        Some((begin, begin.checked_add(layout.size()).filter(|&end| end <= ROOM)?))
    };
    let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(end_of(used)?.1));
    match taken.ok().and_then(end_of) {
        Some((begin, _)) => start.wrapping_add(begin),
        None => ptr::null_mut(),
    }
}

/// The allocator.
#[derive(Debug)]
pub struct Heap;

// SAFETY: the C library's blocks are freed by the C library only, and not at all once the old heap is left. While the heap is
// closed, there are no blocks, since `USED` is `ROOM`. Blocks of the new memory lie within it, are aligned, and do not overlap, since its use only grows.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match NEW_HEAP.load(Ordering::Acquire) {
            // SAFETY: by this function's contract.
            start if start.is_null() => unsafe { System.alloc(layout) },
            start => take(start, &USED, layout),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if NEW_HEAP.load(Ordering::Acquire).is_null() {
            // SAFETY: by this function's contract. Without new memory all blocks are the C library's.
            unsafe { System.dealloc(block, layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match NEW_HEAP.load(Ordering::Acquire) {
            // SAFETY: by this function's contract.
            start if start.is_null() => unsafe { System.alloc_zeroed(layout) },
            start => take(start, &USED, layout),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = NEW_HEAP.load(Ordering::Acquire);
        if start.is_null() {
            // SAFETY: as for `dealloc`.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: by this function's contract: the size is not 0 and does not overflow.
        let new = take(start, &USED, unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if !new.is_null() {
            // SAFETY: both blocks have this many bytes, and blocks do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(size)) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_closed_heap_gives_no_block_until_it_is_left() {
        let layout = Layout::new::<u64>();
        // SAFETY: the layout is not empty.
        let is_refused = || unsafe { Heap.alloc(layout) }.is_null();
        let child = match fork().unwrap() {
            ForkResult::Child => {
                close();
                let refused = is_refused() && is_left();
                leave_as_it_is();
                end(if refused && !is_refused() && is_left() { REACHED } else { 1 })
            }
            ForkResult::Parent { child } => child,
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
    }

    #[test]
    fn blocks_are_aligned_and_apart_and_end_with_the_room() {
        let (start, used) = (reserve(), AtomicUsize::new(0));
        assert!(!start.is_null());
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let mut end = start.addr();
        for (size, align) in [(1, 1), (8, 8), (3, 1), (4096, 4096), (24, 16)] {
            let block = take(start, &used, layout(size, align)).addr();
            assert!(block >= end && block.is_multiple_of(align), "{size} {align}");
            end = block + size;
        }
        assert!(take(start, &used, layout(ROOM, 1)).is_null());
        let rest = ROOM - (end - start.addr());
        assert_eq!(take(start, &used, layout(rest, 1)).addr(), end);
        assert!(take(start, &used, layout(1, 1)).is_null());
    }
}
