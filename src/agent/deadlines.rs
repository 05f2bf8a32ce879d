//! When the loop has something to do though nobody says anything.
//!
//! Called by serve.rs. Invariant: a deadline that has passed is one after which there is something to do, so that the loop
//! is never busy with nothing.

use std::time::{Duration, Instant};

use super::connection::Connection;

/// How long a request or a reply may stand still.
const STALLED: Duration = Duration::from_secs(30);

/// When a connection is given up. `idle` is how long one may stay without a request.
pub(super) fn patience_ends(connection: &Connection, idle: Duration) -> Instant {
    connection.moved() + if connection.is_idle() { idle } else { STALLED }
}

/// The first deadline: of the connections, of leaving for want of anything to serve, of the other timers.
pub(super) fn next_deadline(
    connections: &[Connection],
    idle: Duration,
    leave: Option<Instant>,
    timers: impl IntoIterator<Item = Option<Instant>>,
) -> Option<Instant> {
    // Whoever is in the middle of a request or a reply keeps the process here.
    let leave = leave.filter(|_| connections.iter().all(Connection::is_idle));
    let due = connections.iter().filter_map(Connection::due);
    let patience = connections.iter().map(|connection| patience_ends(connection, idle));
    patience.chain(due).chain(leave).chain(timers.into_iter().flatten()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::limits::StoreLimits;
    use crate::agent::peer::ClientScope;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn half_a_request_keeps_the_process_and_the_loop_waits_for_it() {
        let limits = StoreLimits { caches: 1, tickets: 1, ticket_size: 100, memory: 1000 };
        let (mut client, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let (now, idle) = (Instant::now(), Duration::from_secs(60));
        let mut connections = [Connection::new(socket, ClientScope::User, now)];
        assert_eq!(next_deadline(&connections, idle, Some(now), []), Some(now));
        client.write_all(b"\0\0\0").unwrap();
        let _ = connections[0].receive(&limits, 1000, now);
        assert_eq!(next_deadline(&connections, idle, Some(now), []), Some(now + STALLED));
        assert_eq!(next_deadline(&[], idle, Some(now), [None]), Some(now));
    }
}
