//! The token loop with a fake mechanism and a scripted server: every way in which a server can be wrong.

use super::*;
use crate::class::Private;

/// Complete when the server says `done`, goes on at `more`, fails at anything else.
struct FakeMechanism;

struct Complete;

fn objection(fault: MechanismFault) -> MechanismError {
    MechanismError { fault, gss_major: 0xd_0000, text: "objection".to_owned() }
}

impl InitiatorSide for FakeMechanism {
    type Context = Complete;

    fn step(self, token: &[u8]) -> Result<ExchangeStep<Self>, MechanismError> {
        match token {
            b"" | b"more" => Ok(ExchangeStep::Continue(self, Secret::new(b"go on".to_vec()))),
            b"done" => Ok(ExchangeStep::Complete(Complete, Secret::new(Vec::new()))),
            b"done, say so" => Ok(ExchangeStep::Complete(Complete, Secret::new(b"last".to_vec()))),
            b"late" => Err(objection(MechanismFault::ClockSkew)),
            b"unlucky" => Err(objection(MechanismFault::BeginAgain)),
            b"stranger" => Err(objection(MechanismFault::OtherSecret)),
            b"stale" => Err(objection(MechanismFault::StaleKey)),
            _ => Err(objection(MechanismFault::Token)),
        }
    }

    fn fault_of(minor: u32) -> MechanismFault {
        if minor == STALE_KEY { MechanismFault::StaleKey } else { MechanismFault::Token }
    }
}

const STALE_KEY: u32 = 44;

impl CompleteContext for Complete {
    type Keys = &'static str;

    fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Result<(), MechanismError> {
        if mic == [b"mic", message].concat() { Ok(()) } else { Err(objection(MechanismFault::Mic)) }
    }

    fn into_keys(self) -> Result<&'static str, MechanismError> {
        Ok("keys")
    }
}

/// Gives its answers in turn, then the last one for ever, and counts the calls.
struct Scripted {
    answers: Vec<FakeReply>,
    asked: usize,
}

#[derive(Clone)]
struct FakeReply {
    handle: &'static [u8],
    major: u32,
    minor: u32,
    window: u32,
    token: &'static [u8],
    proof: WindowProof,
}

impl Channel for Scripted {
    fn exchange(&mut self, handle: Option<&Handle>, _token: &Secret) -> Result<Answer, ChannelError> {
        assert_eq!(handle.is_some(), self.asked > 0, "the handle is sent once it is known");
        let FakeReply { handle, major, minor, window, token, proof } =
            self.answers[self.asked.min(self.answers.len() - 1)].clone();
        self.asked += 1;
        Ok(Answer {
            handle: Private::new(handle.to_vec()),
            gss_major: major,
            gss_minor: minor,
            window,
            token: Secret::new(token.to_vec()),
            window_proof: proof,
        })
    }
}

fn good() -> FakeReply {
    let proof = WindowProof::Mic([&b"mic"[..], &32u32.to_be_bytes()].concat());
    FakeReply { handle: b"handle", major: 0, minor: 0, window: 32, token: b"done", proof }
}

fn more() -> FakeReply {
    FakeReply { major: 1, token: b"more", window: 0, proof: WindowProof::Missing, ..good() }
}

fn with(answers: &[FakeReply]) -> Result<Negotiated<&'static str>, DriveError> {
    drive(FakeMechanism, &mut Scripted { answers: answers.to_vec(), asked: 0 })
}

#[test]
fn one_round_three_rounds_and_a_last_word_make_a_context() {
    let context = with(&[good()]).unwrap();
    assert_eq!((context.window.count(), context.handle.as_bytes()), (32, &b"handle"[..]));
    assert_eq!(context.keys, "keys");
    assert!(with(&[more(), more(), FakeReply { handle: b"", ..good() }]).is_ok(), "the handle is kept");
    let own_end = FakeReply { token: b"done, say so", ..more() };
    assert!(with(&[own_end, FakeReply { token: b"", ..good() }]).is_ok());
}

#[test]
fn each_wrong_answer_has_its_error_and_cause() {
    use DriveError as E;
    type Is = fn(&DriveError) -> bool;
    let cases: [(&[FakeReply], Is, Cause); 11] = [
        (&[more()], |e| matches!(e, E::TooManyRounds), Cause::BadReply),
        (&[FakeReply { window: 0, ..good() }], |e| matches!(e, E::NoWindow), Cause::BadReply),
        (&[FakeReply { handle: b"", ..good() }], |e| matches!(e, E::Handle(0)), Cause::BadReply),
        (&[FakeReply { handle: &[1; 513], ..good() }], |e| matches!(e, E::Handle(513)), Cause::BadReply),
        (
            &[FakeReply { proof: WindowProof::Missing, ..good() }],
            |e| matches!(e, E::Unsigned),
            Cause::BadReply,
        ),
        (&[FakeReply { window: 33, ..good() }], |e| matches!(e, E::Verifier(_)), Cause::BadReply),
        (&[FakeReply { token: b"", ..good() }], |e| matches!(e, E::OutOfStep), Cause::BadReply),
        (&[FakeReply { token: b"more", ..good() }], |e| matches!(e, E::OutOfStep), Cause::BadReply),
        (&[FakeReply { major: 1, ..good() }], |e| matches!(e, E::OutOfStep), Cause::BadReply),
        (&[FakeReply { token: b"junk", ..good() }], |e| matches!(e, E::Token(_)), Cause::BadReply),
        (&[FakeReply { token: b"late", ..good() }], |e| matches!(e, E::Token(_)), Cause::ClockSkew),
    ];
    for (answers, is, cause) in cases {
        let error = with(answers).unwrap_err();
        assert!(is(&error), "{error:?}");
        assert_eq!(error.cause(), cause, "{error}");
    }
}

#[test]
fn a_refusal_carries_the_servers_status_and_what_its_token_says() {
    let plain = with(&[FakeReply { major: 0xd_0000, token: b"", ..good() }]).unwrap_err();
    assert_eq!((plain.cause(), plain.gss_major()), (Cause::ServerRefused, 0xd_0000));
    let telling = with(&[FakeReply { major: 0xd_0000, token: b"late", ..good() }]).unwrap_err();
    assert_eq!((telling.cause(), telling.gss_major()), (Cause::ClockSkew, 0xd_0000));
    assert!(telling.to_string().contains("objection"), "{telling}");
}

#[test]
fn a_new_ticket_is_asked_for_by_token_by_minor_status_or_by_an_answer_without_a_reason_and_by_nothing_else() {
    let refused = |minor, token| FakeReply { major: 0xd_0000, minor, token, ..good() };
    for (answer, asks) in [
        (refused(0, b"stale"), true),
        (refused(STALE_KEY, b""), true),
        (refused(0, b""), true),
        (FakeReply { major: 0x9_0000, ..refused(0, b"") }, false),
        (refused(5, b""), false),
        (refused(0, b"late"), false),
        // The token takes precedence.
        (refused(STALE_KEY, b"late"), false),
        // A damaged reply is no refusal.
        (FakeReply { token: b"stale", ..good() }, false),
    ] {
        let error = with(&[answer]).unwrap_err();
        assert_eq!(error.asks_for_new_ticket(), asks, "{error:?}");
    }
    let told = with(&[refused(STALE_KEY, b"")]).unwrap_err().to_string();
    assert!(told.contains("cannot decrypt the ticket"), "{told}");
    let rejected = |status| DriveError::from(ChannelError::from(RpcReplyError::Rejected(AuthStatus(status))));
    assert!(rejected(2).asks_for_new_ticket());
    assert!(!rejected(1).asks_for_new_ticket() && !rejected(13).asks_for_new_ticket());
}

#[test]
fn an_exchange_is_begun_again_for_bad_luck_and_with_another_secret_for_a_refusal() {
    let refused = FakeReply { major: 0xd_0000, token: b"", ..good() };
    for (answer, again, another) in [
        (FakeReply { token: b"unlucky", ..good() }, true, false),
        (FakeReply { token: b"stranger", ..good() }, false, false),
        (FakeReply { token: b"unlucky", ..refused.clone() }, false, true),
        (refused, false, true),
        (FakeReply { token: b"junk", ..good() }, false, false),
        (FakeReply { window: 0, ..good() }, false, false),
    ] {
        let error = with(&[answer]).unwrap_err();
        assert_eq!(
            (error.asks_to_begin_again(), error.asks_for_another_secret()),
            (again, another),
            "{error:?}"
        );
    }
}

#[test]
fn a_server_that_goes_on_for_ever_is_left_after_the_limit() {
    let mut channel = Scripted { answers: vec![more()], asked: 0 };
    assert!(drive(FakeMechanism, &mut channel).is_err());
    assert_eq!(channel.asked, ROUND_LIMIT);
}
