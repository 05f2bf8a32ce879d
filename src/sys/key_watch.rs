//! Being told that a key changes ([watch_queue](https://docs.kernel.org/core-api/watch_queue.html), KEYCTL_WATCH_KEY), where
//! the kernel is built for it (CONFIG_KEY_NOTIFICATIONS; Debian's is not).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_ulong};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read};

use super::keyctl::RawSerial;

const KEYCTL_WATCH_KEY: c_ulong = 32;
/// O_NOTIFICATION_PIPE has the value of O_EXCL (linux/watch_queue.h).
const NOTIFICATION_PIPE: OFlag = OFlag::O_EXCL;
/// `_IO('W', 0x60)`: how many notifications the queue holds. More changes than that do not matter: one is enough to look again.
const IOC_WATCH_QUEUE_SET_SIZE: c_ulong = 0x5760;
const QUEUE_SIZE: c_ulong = 8;

/// A queue of notifications of one key; the kernel gives the watch up with it.
#[derive(Debug)]
pub(crate) struct KeyWatch {
    queue: OwnedFd,
    /// Nothing is written to it; without it, the queue would be readable at once, as at its end.
    _other_end: OwnedFd,
}

impl KeyWatch {
    /// Watches a key from now on.
    ///
    /// # Errors
    /// ENOPKG or EOPNOTSUPP if the kernel is not built for it, EINVAL or ENOTTY if it is older than 5.8; EACCES without view permission;
    /// ENOMEM, EMFILE; EPERM beyond the user's quota of pipe pages.
    pub(crate) fn of(key: RawSerial) -> Result<Self, Errno> {
        let (queue, other_end) = pipe2(NOTIFICATION_PIPE | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let raw: c_int = queue.as_raw_fd();
        // SAFETY: the descriptor is open, and this request takes a plain number.
        Errno::result(unsafe { libc::ioctl(raw, IOC_WATCH_QUEUE_SET_SIZE as _, QUEUE_SIZE) })?;
        let (key, queue_number) = (c_ulong::from(key.cast_unsigned()), c_ulong::from(raw.cast_unsigned()));
        // SAFETY: all arguments are plain numbers; 1 is how notifications name the watch, which nobody reads.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_keyctl, KEYCTL_WATCH_KEY, key, queue_number, 1 as c_ulong, 0 as c_ulong)
        })?;
        Ok(Self { queue, _other_end: other_end })
    }

    /// Waits until something has happened to the key since the last wait, or for `timeout`. That a key expires is not told.
    ///
    /// # Errors
    /// EINTR is none; ENOMEM.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), Errno> {
        let mut polled = [PollFd::new(self.queue.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        // What it was does not matter. A notification has at most 127 bytes, and is lost if the buffer is smaller.
        let mut notifications = [0; 1024];
        while matches!(read(&self.queue, &mut notifications), Ok(length) if length > 0) {}
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;
    use crate::sys::keyctl;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(30);

    /// On a kernel without notifications it proves that this is said; on one with them, that they come.
    #[test]
    fn a_change_ends_the_wait_where_the_kernel_tells_of_changes() {
        let key = keyctl::add(c"user", c"lgss:test:watch", b"x", keyctl::PROCESS_KEYRING).unwrap();
        let watch = match KeyWatch::of(key) {
            Ok(watch) => watch,
            Err(errno) => {
                assert!(matches!(errno, Errno::ENOPKG | Errno::EOPNOTSUPP | Errno::EINVAL), "{errno}");
                return;
            }
        };
        let begun = Instant::now();
        watch.wait(Duration::from_millis(30)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(30), "nothing has happened");
        // Longer than any wait for it: only a notification ends it in time.
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            keyctl::update(key, b"y").unwrap();
        });
        watch.wait(LONG).unwrap();
        assert!(begun.elapsed() < LONG, "the update was not told");
        other.join().unwrap();
        keyctl::invalidate(key).unwrap();
        watch.wait(LONG).unwrap();
        assert!(begun.elapsed() < LONG, "the end was not told");
    }
}
