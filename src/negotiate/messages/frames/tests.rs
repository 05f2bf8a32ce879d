//! Valid and invalid frames.
#![cfg(feature = "gss")]

use super::super::{Considered, Failed, Message, MonitorEnd, Report, Timing, WorkerEnd};
use super::*;
use crate::class::Private;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::answer::Answer;
use crate::negotiate::channel::lustre::LUSTRE_TOKEN_LIMIT;
use crate::secret::Secret;

fn pair() -> (MonitorEnd, WorkerEnd) {
    let (a, b) = Duplex::pair().unwrap();
    (MonitorEnd::over(a), WorkerEnd::over(b))
}

/// A monitor, and the other end of its pipes for arbitrary bytes.
fn beside_a_stranger() -> (MonitorEnd, Duplex) {
    let (a, b) = Duplex::pair().unwrap();
    (MonitorEnd::over(a), b)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn failed() -> Failed {
    Failed {
        failure: Failure::new(Stage::Kdc, Cause::KdcDown, "no KDC"),
        considered: Considered {
            chosen: None,
            wanted: None,
            others: vec!["FILE:/x: no ticket".into()],
            more: 3,
        },
        stages: vec![Timing { stage: Stage::Kdc, micros: 7 }],
        trail: vec!["reads FILE:/x".into()],
        tried: Private::new(Some(vec![u64::MAX, 0])),
    }
}

#[test]
fn a_report_arrives_as_it_was_sent() {
    let (mut monitor, mut worker) = pair();
    worker.send_failed(&failed()).unwrap();
    let Message::Report(Report::Failed(read)) = monitor.receive_message(soon()).unwrap() else {
        panic!("not a failure")
    };
    assert_eq!(read, failed());
}

#[test]
fn no_kind_is_of_both_sides() {
    for kind in MonitorKind::ALL {
        assert_eq!(MonitorKind::of_number(kind.number()).unwrap(), *kind);
        assert!(WorkerKind::of_number(kind.number()).is_err(), "{kind:?}");
    }
    for kind in WorkerKind::ALL {
        assert_eq!(WorkerKind::of_number(kind.number()).unwrap(), *kind);
        assert!(MonitorKind::of_number(kind.number()).is_err(), "{kind:?}");
    }
}

#[test]
fn what_only_the_monitor_says_is_refused_by_the_monitor() {
    for kind in MonitorKind::ALL.iter().map(|kind| kind.number()) {
        let (mut monitor, mut stranger) = beside_a_stranger();
        let failed = failed();
        let control = over_pipe(&failed).unwrap().expose().to_vec();
        write_frame(&mut stranger, soon(), kind, [&control, &[], &[]]).unwrap();
        let refused = monitor.receive_message(soon());
        assert!(matches!(refused, Err(FrameError::Unexpected(number)) if number == kind), "{refused:?}");
    }
}

#[test]
fn what_only_the_worker_says_is_refused_by_the_worker() {
    for kind in WorkerKind::ALL.iter().map(|kind| kind.number()) {
        let (mut stranger, worker) = Duplex::pair().unwrap();
        let mut worker = WorkerEnd::over(worker);
        for _ in 0..2 {
            write_frame(&mut stranger, soon(), kind, [b"{}", &[], &[]]).unwrap();
        }
        let refused = worker.receive_request(soon());
        assert!(matches!(refused, Err(FrameError::Unexpected(number)) if number == kind), "{refused:?}");
        let refused = worker.receive_reply(soon());
        assert!(matches!(refused, Err(FrameError::Unexpected(number)) if number == kind), "{refused:?}");
    }
}

#[test]
fn oversized_unknown_long_and_cut_frames_are_refused() {
    let (mut monitor, mut stranger) = beside_a_stranger();
    write_all(&mut stranger, soon(), &u32::try_from(FRAME_LIMIT + 1).unwrap().to_ne_bytes()).unwrap();
    assert!(matches!(monitor.receive_message(soon()), Err(FrameError::Layout(WireError::TooLong(..)))));
    let (mut monitor, mut stranger) = beside_a_stranger();
    write_frame(&mut stranger, soon(), 10, [b"null", &[], &[]]).unwrap();
    assert!(matches!(monitor.receive_message(soon()), Err(FrameError::Unexpected(10))));
    let (mut monitor, mut stranger) = beside_a_stranger();
    write_all(&mut stranger, soon(), &14_u32.to_ne_bytes()).unwrap();
    write_all(&mut stranger, soon(), &[&[3][..], &[0; 13]].concat()).unwrap();
    assert!(matches!(monitor.receive_message(soon()), Err(FrameError::Layout(WireError::Trailing(1)))));
    let (mut monitor, mut stranger) = beside_a_stranger();
    write_all(&mut stranger, soon(), &[8, 0, 0, 0, 2]).unwrap();
    drop(stranger);
    assert!(matches!(monitor.receive_message(soon()), Err(FrameError::Closed)));
}

#[test]
fn a_worker_that_does_not_read_does_not_hold_the_monitor_past_its_deadline() {
    let (mut monitor, _worker) = pair();
    let answer =
        Answer { token: Secret::new(vec![7; LUSTRE_TOKEN_LIMIT]), ..super::super::contract::answer() };
    let begun = Instant::now();
    let failed =
        (0..16).find_map(|_| monitor.send_reply(&answer, Instant::now() + Duration::from_millis(100)).err());
    assert!(matches!(failed, Some(FrameError::Unread)), "{failed:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_silent_worker_does_not_hold_the_monitor_past_its_deadline() {
    let (mut monitor, _worker) = pair();
    let deadline = Instant::now() + Duration::from_millis(20);
    assert!(matches!(monitor.receive_message(deadline), Err(FrameError::TimedOut)));
}

#[test]
fn a_token_and_the_answer_to_it_arrive_as_they_were_sent() {
    let (mut monitor, mut worker) = pair();
    let long = Secret::new(vec![7; LUSTRE_TOKEN_LIMIT]);
    // More than fits in the pipe.
    let sending = std::thread::spawn(move || {
        worker.send_token(&long, &[]).unwrap();
        worker
    });
    let Message::Token(token, _) = monitor.receive_message(soon()).unwrap() else { panic!("no token") };
    assert_eq!(token.len(), LUSTRE_TOKEN_LIMIT);
    let mut worker = sending.join().unwrap();
    let answer = crate::negotiate::messages::contract::answer();
    monitor.send_reply(&answer, soon()).unwrap();
    let read = worker.receive_reply(soon()).unwrap().unwrap();
    assert_eq!((read.gss_major, read.gss_minor, read.window, read.handle), (1, 2, 2048, answer.handle));
    assert_eq!(read.token.expose(), b"token");
    monitor.send_again(soon()).unwrap();
    assert!(worker.receive_reply(soon()).unwrap().is_none());
    worker.send_token(&Secret::new(Vec::new()), &[]).unwrap();
    assert!(matches!(monitor.receive_message(soon()), Err(FrameError::Unexpected(4))));
}
