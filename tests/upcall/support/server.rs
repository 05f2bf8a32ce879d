//! Servers that misbehave, and a proxy that changes a real server's replies.

use super::rpc::{read_record, write_record};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A service and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `service@host`
    pub(crate) service: String,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) program: u32,
    pub(crate) version: u32,
}

impl Target {
    /// NFS version 4.
    pub(crate) fn nfs(service: &str, port: u16) -> Self {
        Self {
            service: service.to_owned(),
            host: Ipv4Addr::LOCALHOST.into(),
            port,
            program: 100_003,
            version: 4,
        }
    }

    /// The same service at another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The same service at another address.
    pub(crate) fn behind(&self, server: &Server) -> Self {
        Self { host: server.address.ip(), port: server.address.port(), ..self.clone() }
    }

    /// Another service at the same address.
    pub(crate) fn called(&self, service: &str) -> Self {
        Self { service: service.to_owned(), ..self.clone() }
    }

    /// The callout's `chan`.
    pub(crate) fn channel(&self) -> String {
        format!("rpc:{},{},{}", self.address(), self.program, self.version)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.host, self.port).into()
    }
}

type Handler = dyn Fn(TcpStream) + Send + Sync;

/// A test's server. It ends on drop, with its connections.
pub(crate) struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a thread with `handle` for every connection.
    pub(crate) fn start(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), handle)
    }

    fn start_on(host: IpAddr, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (open, stop) = (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::<AtomicBool>::default());
        let connections = Arc::<AtomicUsize>::default();
        let accepting = Accepting {
            open: Arc::clone(&open),
            stop: Arc::clone(&stop),
            connections: Arc::clone(&connections),
            handle: Arc::new(handle),
        };
        let thread = Some(std::thread::spawn(move || accepting.run(&listener)));
        Self { address, connections, open, stop, thread }
    }

    /// Takes connections and says nothing.
    pub(crate) fn silent() -> Self {
        Self::start(|stream| {
            // Until the peer or the test ends.
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        })
    }

    /// Answers every connection with the same bytes and keeps it open.
    pub(crate) fn saying(bytes: Vec<u8>) -> Self {
        Self::start(move |mut stream| {
            let _ = stream.write_all(&bytes);
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        })
    }

    /// Answers every call with what `reply` makes of it; `None` closes the connection.
    pub(crate) fn answering(reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start(move |mut stream| {
            while let Ok(call) = read_record(&mut stream) {
                let Some(reply) = reply(&call) else { break };
                if write_record(&mut stream, &reply).is_err() {
                    break;
                }
            }
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    /// A proxy between the client and `server`; `change` may change the replies.
    pub(crate) fn between(server: SocketAddr, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::between_on(Ipv4Addr::LOCALHOST.into(), server, change)
    }

    /// The same, listening on another address of this machine.
    pub(crate) fn between_on(
        host: IpAddr,
        server: SocketAddr,
        change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(host, move |mut client| {
            let Ok(mut server) = TcpStream::connect(server) else { return };
            while let Ok(call) = read_record(&mut client) {
                if write_record(&mut server, &call).is_err() {
                    break;
                }
                let Ok(mut reply) = read_record(&mut server) else { break };
                change(&mut reply);
                if write_record(&mut client, &reply).is_err() {
                    break;
                }
            }
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections have come.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct Accepting {
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    handle: Arc<Handler>,
}

impl Accepting {
    fn run(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
            let (handle, end) = (Arc::clone(&self.handle), stream.try_clone().unwrap());
            std::thread::spawn(move || {
                handle(stream);
                let _ = end.shutdown(Shutdown::Both);
            });
        }
    }
}
