//! This machine's log lines about upcalls and caches.

mod files;
mod journal;
mod read;

#[cfg(feature = "tools")]
pub(crate) use files::FILES;
#[cfg(feature = "tools")]
pub(crate) use journal::LISTENS;
#[cfg(feature = "tools")]
pub(crate) use read::LINES_LIMIT;
pub(crate) use read::ReadLog;
#[cfg(feature = "test-programs")]
pub(crate) use read::shown_lines;
