//! TCP with deadlines: resolves names, connects to the first address that answers, reads and writes in time.
//!
//! Used by the worker and by client programs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Most addresses of one name that are tried.
pub const ADDRESS_LIMIT: usize = 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("{host}: {source}")]
    UnknownHost {
        /// The name.
        host: String,
        /// The resolver's message.
        source: io::Error,
    },
    /// Every address refused or is unreachable.
    #[error("{}", in_words(.0))]
    Down(Vec<(SocketAddr, io::Error)>),
    /// The limit passed before at least one address had answered.
    #[error("{address}: no answer to the connection within {} s", limit.as_secs())]
    Silent {
        /// An address that did not answer.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
}

/// IPv4 and IPv6 addresses of a host name or literal, in the resolver's order (getaddrinfo(3)).
///
/// # Errors
/// [`ConnectError::UnknownHost`].
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let unknown = |source| ConnectError::UnknownHost { host: host.to_owned(), source };
    let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(unknown)?.take(ADDRESS_LIMIT).collect();
    if addresses.is_empty() { Err(unknown(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
}

/// Connects to the first address that accepts. The limit is for all together. Each address gets an equal share of the time
/// left, so that a dead first address does not use it up.
///
/// # Errors
/// [`ConnectError::Silent`] if some address did not answer, else [`ConnectError::Down`].
pub fn connect(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + limit;
    let (mut silent, mut refusals) = (None, Vec::new());
    for (&address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share =
            deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(&address, share.max(Duration::from_millis(1))) {
            Ok(stream) => {
                // Each call is one write; waiting for more data would only delay it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) if is_timeout(&error) => {
                silent.get_or_insert(address);
            }
            Err(source) => refusals.push((address, source)),
        }
    }
    // Silence is reported before a refusal by another address of the name: something may be filtered there.
    Err(match silent {
        Some(address) => ConnectError::Silent { address, limit },
        None => ConnectError::Down(refusals),
    })
}

/// The error of each address.
fn in_words(refusals: &[(SocketAddr, io::Error)]) -> String {
    let said = refusals.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refused the connection"),
        _ => format!("{address}: {error}"),
    });
    if refusals.is_empty() { "no address".to_owned() } else { said.collect::<Vec<_>>().join("; ") }
}

/// A connection with one deadline for all reads and writes, so that a peer cannot stretch it by single bytes.
#[derive(Debug)]
pub struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    /// The connection until the deadline.
    pub fn new(stream: &'a TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.read(buffer).map_err(as_timeout)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.write(buffer).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stream = self.stream;
        stream.flush()
    }
}

/// The kernel reports a passed SO_RCVTIMEO as EAGAIN.
fn as_timeout(error: io::Error) -> io::Error {
    if is_timeout(&error) { io::ErrorKind::TimedOut.into() } else { error }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn refusing() -> SocketAddr {
        // Bound and gone again: nothing listens there.
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn all_addresses_are_tried_until_one_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(&[refusing(), listener.local_addr().unwrap()], Duration::from_secs(5)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn a_refusing_server_is_down_and_a_name_without_address_unknown() {
        assert!(matches!(connect(&[refusing()], Duration::from_secs(5)), Err(ConnectError::Down(_))));
        assert!(matches!(resolve("host.invalid", 1), Err(ConnectError::UnknownHost { .. })));
        assert_eq!(resolve("::1", 7).unwrap(), ["[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn an_address_that_does_not_answer_is_silent_within_the_limit() {
        // A listener that never accepts: once its queue is full, the kernel drops what comes.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let error = loop {
            match connect(&[address, refusing()], Duration::from_millis(200)) {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
            assert!(queued.len() < 5000, "the queue never fills");
        };
        assert!(
            matches!(error, ConnectError::Silent { address: silent, .. } if silent == address),
            "{error}"
        );
    }

    #[test]
    fn bytes_that_trickle_in_do_not_stretch_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let trickle = std::thread::spawn(move || {
            while server.write_all(b".").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let begun = Instant::now();
        let mut timed = Timed::new(&stream, begun + Duration::from_millis(60));
        let error = timed.read_exact(&mut [0; 100_000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // All bytes would take 500 s.
        assert!(begun.elapsed() < Duration::from_secs(60));
        drop(stream);
        trickle.join().unwrap();
    }
}
