use super::*;

fn after(messages: &[&str]) -> TraceRecord {
    let mut record = TraceRecord::new();
    messages.iter().for_each(|message| record.hear(message));
    record
}

#[test]
fn each_kdc_is_told_with_name_address_and_what_became_of_it() {
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let record = after(&[
        "Sending request (167 bytes) to A.TEST",
        "Resolving hostname 127.0.0.1",
        &format!("Sending initial UDP request to dgram {refusing}"),
        "Resolving hostname kdc.a.test",
        "Sending initial UDP request to dgram 192.0.2.1:88",
        "Resolving hostname nosuch.a.test",
        &format!("Initiating TCP connection to stream {refusing}"),
        &format!("Terminating TCP connection to stream {refusing}"),
        "Initiating TCP connection to stream 192.0.2.1:88",
    ]);
    let expected = format!(
        "KDC {refusing} refuses the connection, KDC kdc.a.test (192.0.2.1:88) does not answer, name \
         nosuch.a.test not found"
    );
    assert_eq!(record.attempt.in_words(), expected);
}

#[test]
fn a_kdc_behind_https_is_told_with_what_is_wrong_with_its_certificate() {
    let name = "Resolving hostname 127.0.0.1";
    let record = after(&[name, "Sending HTTPS request to https 127.0.0.1:1443"]);
    assert_eq!(record.attempt.in_words(), "KDC 127.0.0.1:1443 does not answer");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let record = after(&[name, &format!("HTTPS error connecting to https {closed}: 111/Connection refused")]);
    assert_eq!(record.attempt.in_words(), format!("KDC {closed} refuses the connection"));
    let record = after(&[
        name,
        "TLS certificate error at 0 (CN=proxy): 20 (unable to get local issuer certificate)",
        "TLS error: error:0A000086:SSL routines::certificate verify failed",
        "HTTPS error sending to https 127.0.0.1:1443",
        "Terminating TCP connection to https 127.0.0.1:1443",
    ]);
    let expected = "KDC 127.0.0.1:1443 has a certificate that is not accepted";
    assert_eq!(record.attempt.in_words(), expected);
    assert!(record.lines[1].ends_with("(unable to get local issuer certificate)"), "{:?}", record.lines);
}

#[test]
fn a_new_request_forgets_the_last_ones_kdcs() {
    let record = after(&[
        "[77] 1795827933.768844: Sending request (1 bytes) to A.TEST\n",
        "[77] 1795827933.768845: Resolving hostname ::1\n",
        "Initiating TCP connection to stream ::1:88",
        "Sending TCP request to stream ::1:88",
        "Received answer (9 bytes) from stream ::1:88",
        "Sending request (1 bytes) to B.TEST",
        "Sending DNS SRV query for _kerberos._udp.B.TEST.",
        "Resolving hostname kdc.b.test",
    ]);
    assert_eq!(record.attempt.in_words(), "name kdc.b.test not found");
    assert_eq!(record.lines.len(), 8);
    assert_eq!(socket_address("::1:88"), Some("[::1]:88".parse().unwrap()));
}

#[test]
fn of_many_kdcs_some_are_named_and_the_rest_is_counted() {
    let asked: Vec<_> =
        (1..=20).map(|n| format!("Sending initial UDP request to dgram 192.0.2.{n}:88")).collect();
    let asked = asked.iter().map(String::as_str);
    let messages: Vec<_> = asked.chain(["Resolving hostname a.test", "Resolving hostname a.test"]).collect();
    let words = after(&messages).attempt.in_words();
    assert!(words.starts_with("KDC 192.0.2.1:88 does not answer, KDC "), "{words}");
    assert!(words.ends_with("192.0.2.3:88 does not answer, and 18 more"), "{words}");
}

#[test]
fn lines_that_may_hold_parts_of_keys_are_not_taken_and_the_record_stays_small() {
    let mut record = after(&[
        "AS key obtained for encrypted timestamp: aes256-cts/1B5C",
        "Session key is aes256-cts/0D12",
        "Creating authenticator for alice@A -> nfs/h@A, seqnum 1, subkey aes256-cts/77AA",
    ]);
    assert_eq!(record.lines, [""; 0]);
    (0..100).for_each(|_| record.hear(&format!("Resolving hostname {}", "é".repeat(400))));
    assert_eq!((record.lines.len(), record.more), (LINES_LIMIT, 60));
    assert!(record.lines.iter().all(|line| line.len() <= TRACE_LINE_LIMIT));
}
