//! A recorder in place of nscd(8), which glibc asks for names first: it writes down what it hears and answers nothing.

use super::wait::wait_for;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where glibc looks, in every network namespace.
const DIRECTORY: &str = "/var/run/nscd";
const SOCKET: &str = "/var/run/nscd/socket";

/// Hears every look-up of this machine until it is dropped; callers then go on as if nscd were not running.
#[derive(Debug)]
pub(crate) struct Recorder {
    heard: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Waits while another test does the same.
    pub(crate) fn start() -> Self {
        fs::create_dir_all(DIRECTORY).unwrap();
        let listener = wait_for("the place of nscd", Duration::from_secs(60), || {
            match UnixListener::bind(SOCKET) {
                Ok(listener) => Some(listener),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    // Left by a killed test.
                    let gone = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
                    let _ = UnixStream::connect(SOCKET).is_err_and(gone).then(|| fs::remove_file(SOCKET));
                    None
                }
                Err(error) => panic!("{SOCKET}: {error}"),
            }
        });
        fs::set_permissions(SOCKET, Permissions::from_mode(0o666)).unwrap();
        let (heard, stop) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let (kept, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut client) = client else { continue };
                let _ = client.set_read_timeout(Some(Duration::from_millis(200)));
                let mut question = [0; 4096];
                let length = client.read(&mut question).unwrap_or(0);
                kept.lock().unwrap().extend(&question[..length]);
            }
        });
        Self { heard, stop, thread: Some(thread) }
    }

    pub(crate) fn has_heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(SOCKET));
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_file(SOCKET);
        let _ = fs::remove_dir(DIRECTORY);
    }
}
