//! Ports of the loopback interface for servers of tests.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;

/// Below the ports that the kernel gives to outgoing connections (/proc/sys/net/ipv4/ip_local_port_range), which would
/// take a port between its choice and its use.
const PORTS: Range<u64> = 12_000..32_000;

/// Names that tell other processes of tests which ports are ours; the kernel drops them with the process.
static RESERVED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A port that nobody listens on, neither on TCP nor on UDP, and that no other test is given while this process lives.
pub(crate) fn free_port() -> u16 {
    loop {
        let drawn = RandomState::new().hash_one(0) % (PORTS.end - PORTS.start) + PORTS.start;
        let port = u16::try_from(drawn).unwrap();
        let name = SocketAddr::from_abstract_name(format!("lgss-test-port-{port}")).unwrap();
        let Ok(reservation) = UnixDatagram::bind_addr(&name) else { continue };
        let at = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            RESERVED.lock().unwrap().push(reservation);
            return port;
        }
    }
}
