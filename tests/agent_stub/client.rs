//! A client of `lgss_kcm`: one that reads what the stub of an agent answers.

use lgss::private_to_lgss::sys::passing::send;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Far above what any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes `count` connections: one after the other ("ask"), all before the first is read ("crowd"), or each with a descriptor that nobody wants
/// ("laden"). Prints each answer; "closed" for a connection that was closed without one.
pub(crate) fn run(socket: &Path, what: &str, count: u32) {
    match what {
        "ask" => (0..count).for_each(|_| println!("{}", answer(connect(socket)))),
        "crowd" => {
            let all: Vec<UnixStream> = (0..count).map(|_| connect(socket)).collect();
            // Those that wait at a deaf agent's door are not read.
            all.iter().for_each(|connection| println!("{}", answer_so_far(connection)));
        }
        "laden" => (0..count).for_each(|_| {
            let connection = connect(socket);
            let null = File::open("/dev/null").unwrap();
            let sent = send(connection.as_fd(), b"x", &[null.as_fd()]);
            println!("{sent:?}");
        }),
        other => panic!("{other}"),
    }
}

fn connect(socket: &Path) -> UnixStream {
    let connection = UnixStream::connect(socket).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

fn answer(mut connection: UnixStream) -> String {
    let mut text = String::new();
    match connection.read_to_string(&mut text) {
        Ok(0) => "closed".to_owned(),
        Ok(_) => text.trim_end().to_owned(),
        Err(error) => format!("{error}"),
    }
}

/// What is there within a moment.
fn answer_so_far(connection: &UnixStream) -> String {
    connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut buffer = [0; 1024];
    let mut reader = connection;
    match reader.read(&mut buffer) {
        Ok(0) => "closed".to_owned(),
        Ok(length) => String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned(),
        Err(_) => "waits".to_owned(),
    }
}
