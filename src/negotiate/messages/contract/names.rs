//! Pins the words of the messages that stand for values: each table has all of a type, in the order of its declaration.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Canonicalize;
use crate::ctx::lustre::ServerKind;
use crate::ctx::request::Level;
use crate::event::{Cause, Stage};

/// Every value is sent as its word and read from it, and the type has no others.
#[track_caller]
fn are_pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(table: &[(T, &str)]) {
    for (value, word) in table {
        let json = format!("\"{word}\"");
        assert_eq!(serde_json::to_string(value).unwrap(), json);
        assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
    }
    // The error for an unknown word lists those that are known.
    let all: Vec<_> = table.iter().map(|(_, word)| format!("`{word}`")).collect();
    let unknown = serde_json::from_str::<T>("\"?\"").unwrap_err().to_string();
    let listed = format!("unknown variant `?`, expected one of {} at ", all.join(", "));
    assert!(unknown.starts_with(&listed), "{unknown}");
}

#[test]
fn the_treatments_of_a_host_are_these() {
    are_pinned(&[(Canonicalize::No, "no"), (Canonicalize::Fallback, "fallback"), (Canonicalize::Yes, "yes")]);
}

#[test]
fn the_kinds_of_servers_are_these() {
    are_pinned(&[(ServerKind::Mgs, "mgs"), (ServerKind::Mds, "mds"), (ServerKind::Oss, "oss")]);
}

#[test]
fn the_levels_are_these() {
    are_pinned(&[
        (Level::Null, "null"),
        (Level::Authentication, "authentication"),
        (Level::Integrity, "integrity"),
        (Level::Privacy, "privacy"),
    ]);
}

#[test]
fn the_stages_are_these() {
    are_pinned(&[
        (Stage::Authorise, "authorise"),
        (Stage::Config, "config"),
        (Stage::Admit, "admit"),
        (Stage::Launch, "launch"),
        (Stage::Resolve, "resolve"),
        (Stage::Credentials, "credentials"),
        (Stage::Kdc, "kdc"),
        (Stage::Connect, "connect"),
        (Stage::Negotiate, "negotiate"),
        (Stage::Publish, "publish"),
    ]);
}

#[test]
fn the_causes_are_these() {
    are_pinned(&[
        (Cause::Refused, "refused"),
        (Cause::BadRequest, "bad_request"),
        (Cause::NoTicket, "no_ticket"),
        (Cause::TicketExpired, "ticket_expired"),
        (Cause::BadCache, "bad_cache"),
        (Cause::NoMachineCredential, "no_machine_credential"),
        (Cause::NoSharedKey, "no_shared_key"),
        (Cause::SharedKeyExpired, "shared_key_expired"),
        (Cause::BadSharedKey, "bad_shared_key"),
        (Cause::SharedKeyRefused, "shared_key_refused"),
        (Cause::KeytabRefused, "keytab_refused"),
        (Cause::ClockSkew, "clock_skew"),
        (Cause::UnknownService, "unknown_service"),
        (Cause::EncryptionType, "encryption_type"),
        (Cause::UnknownClient, "unknown_client"),
        (Cause::ClientRevoked, "client_revoked"),
        (Cause::ClientExpired, "client_expired"),
        (Cause::ServiceClosed, "service_closed"),
        (Cause::KdcPolicy, "kdc_policy"),
        (Cause::TicketRejected, "ticket_rejected"),
        (Cause::KdcRefused, "kdc_refused"),
        (Cause::BadKdcAnswer, "bad_kdc_answer"),
        (Cause::UnknownRealm, "unknown_realm"),
        (Cause::KdcUnresolved, "kdc_unresolved"),
        (Cause::KdcDown, "kdc_down"),
        (Cause::KdcSilent, "kdc_silent"),
        (Cause::NameServiceSilent, "name_service_silent"),
        (Cause::UnknownHost, "unknown_host"),
        (Cause::UnnamedNid, "unnamed_nid"),
        (Cause::UnconfirmedName, "unconfirmed_name"),
        (Cause::BadProgram, "bad_program"),
        (Cause::ServerDown, "server_down"),
        (Cause::ServerSilent, "server_silent"),
        (Cause::WrongProgram, "wrong_program"),
        (Cause::ServerRefused, "server_refused"),
        (Cause::TokenTooLarge, "token_too_large"),
        (Cause::BadReply, "bad_reply"),
        (Cause::TooMany, "too_many"),
        (Cause::Paused, "paused"),
        (Cause::Unpaused, "unpaused"),
        (Cause::ManyKeys, "many_keys"),
        (Cause::Deadline, "deadline"),
        (Cause::WorkerFault, "worker_fault"),
        (Cause::Quota, "quota"),
        (Cause::KeyGone, "key_gone"),
        (Cause::LibraryFault, "library_fault"),
        (Cause::BadKrb5Conf, "bad_krb5_conf"),
        (Cause::Setup, "setup"),
    ]);
}
