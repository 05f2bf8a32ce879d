//! Tests of the pipe between a command and the helper.

use super::*;
use crate::class;
use crate::provider::operation::{CrossesPipe, RootRights};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    text: String,
}

class::classes!(Echo { text: public });

impl Delegable for Echo {
    const METHOD: &'static str = "echo";
    type Answer = String;

    fn act(self, _: &RootRights) -> Result<String, Undone> {
        Ok(self.text)
    }

    fn words(&self) -> String {
        "echo".to_owned()
    }

    fn outcome(_: &String) -> String {
        "echoed".to_owned()
    }

    fn as_root(&self) -> String {
        "echo".to_owned()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn pair() -> (Pipe<UnixStream, UnixStream>, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    (Pipe::over(one.try_clone().unwrap(), one), other)
}

#[test]
fn a_request_and_its_answer_cross_the_pipe_as_they_are() {
    let (mut here, there) = pair();
    let mut there = Pipe::over(there.try_clone().unwrap(), there);
    here.call(Echo::METHOD, &Echo { text: "a\nb".to_owned() }.over_pipe().unwrap(), soon()).unwrap();
    let message = there.receive(100, soon()).unwrap();
    assert_eq!(message.method().unwrap(), "echo");
    assert_eq!(message.operation::<Echo>().unwrap().operation().text, "a\nb");
    there.answer(&HelperReply::<()>::Refusal(Undone::new("no", "yes")), soon()).unwrap();
    let reply = here.receive(100, soon()).unwrap().reply::<String>().unwrap();
    assert!(matches!(reply, HelperReply::Refusal(refusal) if refusal == Undone::new("no", "yes")));
}

#[test]
fn nothing_in_a_message_can_say_that_it_was_forwarded() {
    for text in [
        r#"{"method":"echo","payload":{"text":"a"},"forwarded":true}"#,
        r#"{"method":"echo","payload":{"text":"a","origin":"Command"}}"#,
        r#"{"method":"echo","payload":{"text":1}}"#,
        r#"{"method":"echo"}"#,
        r#"{"method":"echo","payload":{"text":"a"}} x"#,
        "[]",
        "",
        "\u{0}",
    ] {
        let message = PipeText(text.as_bytes().to_vec().into());
        let error = message.operation::<Echo>().unwrap_err();
        assert!(matches!(error, PipeError::Senseless(_)), "{text}: {error}");
    }
}

#[test]
fn what_is_wrong_with_a_message_is_said_without_its_words() {
    let message = PipeText(br#"{"method":"echo","payload":{"secret-0123":"secret-4567"}}"#.to_vec().into());
    let said = message.operation::<Echo>().unwrap_err().to_string();
    assert!(!said.contains("0123") && !said.contains("4567"), "{said}");
}

#[test]
fn messages_that_are_too_long_too_slow_or_cut_short_are_refused() {
    let (mut here, mut there) = pair();
    there.write_all(&[b'x'; 200]).unwrap();
    assert!(matches!(here.receive(100, soon()), Err(PipeError::Long(100))));
    let (mut here, mut there) = pair();
    there.write_all(b"{").unwrap();
    assert!(matches!(here.receive(100, Instant::now() + Duration::from_millis(20)), Err(PipeError::Slow)));
    let (mut here, there) = pair();
    drop(there);
    assert!(matches!(here.receive(100, soon()), Err(PipeError::Ended)));
    let (mut here, there) = pair();
    drop(there);
    let echo = Echo { text: "x".repeat(REQUEST_BYTES) };
    assert!(matches!(
        here.call(Echo::METHOD, &echo.over_pipe().unwrap(), soon()),
        Err(PipeError::Long(REQUEST_BYTES))
    ));
    let small = Echo { text: String::new() };
    assert!(matches!(here.call(Echo::METHOD, &small.over_pipe().unwrap(), soon()), Err(PipeError::Ended)));
}

#[test]
fn one_who_does_not_read_is_not_waited_for_beyond_the_deadline() {
    let (mut here, _there) = pair();
    let reply = HelperReply::Answer("x".repeat(8 * REQUEST_BYTES));
    assert!(matches!(here.answer(&reply, Instant::now() + Duration::from_millis(50)), Err(PipeError::Slow)));
}

#[test]
fn a_second_message_is_noticed_wherever_it_is_already() {
    let (mut here, mut there) = pair();
    there.write_all(b"1\n2\n").unwrap();
    here.receive(100, soon()).unwrap();
    assert!(here.has_more());
    here.receive(100, soon()).unwrap();
    assert!(!here.has_more());
    there.write_all(b"3").unwrap();
    assert!(here.has_more());
}
