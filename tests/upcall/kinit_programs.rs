//! Programs that know nothing of us use what `lgss_kinit` has stored.

use crate::support::login::{Login, SESSION_CACHE};
use crate::support::process::{command, succeed};
use crate::support::realm::Realm;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

crate::trials![curl_negotiates_with_tickets_of_a_session_keyring];

fn curl_negotiates_with_tickets_of_a_session_keyring(shared: &Shared) {
    let login = Login::new(shared.realm());
    let keytab = login.site.path("http.keytab");
    let service = [
        "addprinc -randkey HTTP/localhost".to_owned(),
        format!("ktadd -k {} HTTP/localhost", keytab.display()),
    ];
    shared.realm().administrate(&service);
    let program = login.site.path("acceptor");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/acceptor.c");
    succeed(command("cc").arg("-o").arg(&program).arg(source).arg("-lgssapi_krb5"), "");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, shared.realm(), &keytab, &program));
        let said = login.done(&format!(
            "typed alice; export KRB5CCNAME={SESSION_CACHE}
            curl -sS --max-time 20 --negotiate -u : http://localhost:{port}/; klist | grep -o HTTP/localhost"
        ));
        assert!(said.contains("HTTP/localhost"), "{said}");
        server.join().unwrap()
    });
    assert!(accepted.starts_with("0 0 "), "{accepted}");
}

/// Answers the first request with a question for Negotiate (RFC 4559), and returns what the acceptor says of the token.
fn serve(listener: &TcpListener, realm: &Realm, keytab: &Path, program: &Path) -> String {
    loop {
        let accepted = || listener.accept().ok();
        let (mut connection, _) = wait_for("a connection", Duration::from_secs(30), accepted);
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while let Some(token) = token_of_a_request(&connection) {
            let Some(token) = token else {
                let question = "HTTP/1.1 401 Who\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n";
                connection.write_all(question.as_bytes()).unwrap();
                continue;
            };
            let mut acceptor = command(program);
            acceptor.envs(realm.environment()).env("KRB5_KTNAME", keytab).env("KRB5RCACHENAME", "none:");
            let mut acceptor = acceptor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(acceptor.stdin.take().unwrap(), "{hex}").unwrap();
            let said = acceptor.wait_with_output().unwrap().stdout;
            connection.write_all(b"HTTP/1.1 200 Yes\r\nContent-Length: 0\r\n\r\n").unwrap();
            return String::from_utf8(said).unwrap();
        }
    }
}

/// The token of the next request, if it has one; `None` at the end of the connection.
fn token_of_a_request(connection: &TcpStream) -> Option<Option<Vec<u8>>> {
    let mut token = None;
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    lines.next().filter(|line| line.starts_with("GET "))?;
    for line in lines.take_while(|line| !line.is_empty()) {
        let negotiated = line.strip_prefix("Authorization: Negotiate ");
        token = negotiated.map(|word| STANDARD.decode(word).unwrap()).or(token);
    }
    Some(token)
}
