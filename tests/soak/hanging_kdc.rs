//! A KDC that answers some requests and hangs with others: it stands before a real one.

use crate::support::ports::free_port;
use nix::sys::socket::{Backlog, listen};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// More than any message of a KDC by UDP.
const LONGEST: usize = 64 * 1024;
/// Interval at which the thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time limit of the real KDC. A client that has got nothing asks again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Ends on drop; then its port refuses.
pub(crate) struct HangingKdc {
    port: u16,
    stop: Arc<AtomicBool>,
    kept: Arc<Mutex<BTreeSet<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
    /// Takes connections into its queue and never accepts one.
    _tcp: TcpListener,
}

impl HangingKdc {
    /// Passes requests on to the KDC at `real`, but not those in which `kept` occurs.
    pub(crate) fn before(real: u16, kept: &'static [u8]) -> Self {
        let port = free_port();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listen(&tcp, Backlog::new(1024).unwrap()).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        udp.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let (stop, from) = (Arc::<AtomicBool>::default(), Arc::<Mutex<BTreeSet<SocketAddr>>>::default());
        let (stopped, keep) = (Arc::clone(&stop), Arc::clone(&from));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; LONGEST];
            std::thread::scope(|scope| {
                while !stopped.load(Ordering::Relaxed) {
                    let Ok((length, client)) = udp.recv_from(&mut buffer) else { continue };
                    let request = &buffer[..length];
                    if request.windows(kept.len()).any(|part| part == kept) {
                        keep.lock().unwrap().insert(client);
                        continue;
                    }
                    let (request, udp) = (request.to_vec(), &udp);
                    scope.spawn(move || {
                        if let Ok(reply) = ask(real, &request) {
                            let _ = udp.send_to(&reply, client);
                        }
                    });
                }
            });
        });
        Self { port, stop, kept: from, thread: Some(thread), _tcp: tcp }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many clients wait for an answer or have given up.
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

impl Drop for HangingKdc {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn ask(kdc: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, kdc))?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN))?;
    socket.send(request)?;
    let mut reply = vec![0; LONGEST];
    let length = socket.recv(&mut reply)?;
    reply.truncate(length);
    Ok(reply)
}
