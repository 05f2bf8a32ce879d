//! The choice of shared keys, with a keyring that is a table.

pub(in crate::upcall) mod part;

use super::*;
use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyParts, KeyTypes};

const TARGET: &str = "lustre-MDT0000-mdc-ff2d";
const MOUNTS: &str = "lustre:lustre:5f47";
const PLAIN: &str = "lustre:lustre";

fn callout(target: &str) -> LustreCallout {
    format!("4:sk:0:0:r:i:1:0x20000c0a84d01:{target}:0x20000c0a84d02:1:5f47").parse().unwrap()
}

fn parts() -> KeyParts {
    KeyParts::of_a_client()
}

fn form(parts: KeyParts) -> FoundKey {
    bytes(SharedKey::new(parts).unwrap().encode())
}

fn bytes(form: Secret) -> FoundKey {
    FoundKey { form, is_open: false }
}

/// The names found, or the cause and the words of the failure.
fn found(
    target: &str,
    look: impl Fn(&str) -> Result<Option<FoundKey>, LookupFailure>,
) -> Result<Vec<String>, (Cause, String)> {
    match find(&callout(target), look) {
        Ok(found) => Ok(found.candidates.into_iter().map(|candidate| candidate.name).collect()),
        Err(failure) => {
            assert_eq!(failure.stage, Stage::Credentials);
            Err((failure.cause, failure.detail))
        }
    }
}

#[test]
fn a_key_for_the_mount_comes_before_that_of_the_file_system_and_the_newest_before_the_one_before() {
    let all = |name: &str| Ok((!name.contains('x')).then(|| form(parts())));
    assert_eq!(found(TARGET, all).unwrap(), [MOUNTS, "lustre:lustre:5f47#previous"]);
    let plain = |name: &str| Ok((!name.contains("5f47")).then(|| form(parts())));
    assert_eq!(found(TARGET, plain).unwrap(), [PLAIN, "lustre:lustre#previous"]);
    let newest = |name: &str| Ok((name == PLAIN).then(|| form(parts())));
    assert_eq!(found(TARGET, newest).unwrap(), [PLAIN]);
}

#[test]
fn a_missing_key_is_told_with_every_name_it_was_looked_for() {
    let (cause, detail) = found(TARGET, |_| Ok(None)).unwrap_err();
    assert_eq!(cause, Cause::NoSharedKey);
    let expected = "no shared key is loaded for lustre-MDT0000-mdc-ff2d: looked for lustre:lustre:5f47 and lustre:lustre";
    assert_eq!(detail, expected);
    let (_, detail) = found("MGC10.0.0.1@tcp", |_| Ok(None)).unwrap_err();
    assert!(detail.ends_with("looked for lustre:MGC10.0.0.1@tcp"), "{detail}");
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    let types = KeyTypes { server: true, ..KeyTypes::default() };
    let other = || KeyParts { file_system: "other".to_owned(), ..parts() };
    let elsewhere = || KeyParts { mgs_nids: vec!["10.0.0.9@tcp".parse().unwrap()], ..parts() };
    for (target, answer, cause, words) in [
        (TARGET, Err(LookupFailure::Expired), Cause::SharedKeyExpired, "has expired"),
        (TARGET, Err(LookupFailure::Revoked), Cause::BadSharedKey, "has been revoked"),
        (TARGET, Ok(Some(bytes(Secret::new(vec![1; 9])))), Cause::BadSharedKey, "9 bytes"),
        (
            TARGET,
            Ok(Some(form(KeyParts { types, prime: None, ..parts() }))),
            Cause::BadSharedKey,
            "its type is server",
        ),
        (TARGET, Ok(Some(form(other()))), Cause::BadSharedKey, "other"),
        ("MGC10.0.0.1@tcp", Ok(Some(form(elsewhere()))), Cause::BadSharedKey, "10.0.0.9@tcp"),
    ] {
        let name = candidates(target, None).remove(0);
        let answer = std::cell::RefCell::new(Some(answer));
        let look = |asked: &str| if asked == name { answer.take().unwrap() } else { Ok(None) };
        let (found, detail) = found(target, look).unwrap_err();
        assert_eq!(found, cause, "{detail}");
        assert!(detail.contains(&format!("{name}: ")) && detail.contains(words), "{words}: {detail}");
    }
}

#[test]
fn an_unusable_key_for_the_mount_does_not_hide_that_of_the_file_system() {
    let look = |name: &str| match name {
        MOUNTS => Err(LookupFailure::Expired),
        PLAIN => Ok(Some(form(parts()))),
        _ => Ok(None),
    };
    let FoundKeys { candidates, objections } = find(&callout(TARGET), look).unwrap();
    assert_eq!((candidates.len(), objections.len()), (1, 1));
    let part = SharedKeyPart { candidates, objections, primes: vec![None], memory: None };
    let [candidate] = part.candidates() else { panic!("not one") };
    assert_eq!(part.credential(candidate, None), "lustre:lustre (lustre:lustre:5f47: it has expired)");
}

#[test]
fn a_worker_may_call_a_prime_safe_only_if_it_was_to_test_it() {
    let FoundKeys { candidates, objections } = find(&callout(TARGET), |_| Ok(Some(form(parts())))).unwrap();
    let mut part = SharedKeyPart { candidates, objections, primes: vec![None, None], memory: None };
    assert!(part.prime_is_safe(TestedPrime { candidate: 1 }).is_ok());
    for candidate in [1, 2, usize::MAX] {
        let failure = part.prime_is_safe(TestedPrime { candidate }).unwrap_err();
        assert_eq!(failure.cause, Cause::WorkerFault);
    }
    assert!(part.prime_is_safe(TestedPrime { candidate: 0 }).is_ok());
}

#[test]
fn a_key_that_does_not_give_the_flavours_protection_is_refused() {
    use CipherAlgorithm::{Aes256Ctr, Null as NoCipher};
    use HmacAlgorithm::{Null as NoHmac, Sha256};
    for (hmac, cipher, level, missing) in [
        (Sha256, Aes256Ctr, "p", None),
        (Sha256, NoCipher, "i", None),
        (NoHmac, NoCipher, "n", None),
        (NoHmac, NoCipher, "-", None),
        (Sha256, NoCipher, "p", Some("no cipher")),
        (NoHmac, NoCipher, "a", Some("no HMAC")),
        (NoHmac, NoCipher, "i", Some("no HMAC")),
        (NoHmac, NoCipher, "p", Some("no HMAC")),
        (NoHmac, Aes256Ctr, "n", Some("a cipher but no HMAC")),
    ] {
        let callout = format!("4:sk:0:0:r:{level}:1:0x20000c0a84d01:{TARGET}:0x20000c0a84d02:1:5f47");
        let look = |_: &str| Ok(Some(form(KeyParts { hmac, cipher, ..parts() })));
        match (find(&callout.parse().unwrap(), look), missing) {
            (Ok(_), None) => {}
            (Err(failure), Some(missing)) => {
                assert_eq!(failure.cause, Cause::BadSharedKey);
                assert!(failure.detail.contains(missing), "{missing}: {failure}");
            }
            (found, missing) => panic!("{level}: {missing:?}, {:?}", found.map(drop)),
        }
    }
}

#[test]
fn the_newest_keys_fault_counts_and_a_failure_tells_of_all() {
    let look = |name: &str| match name {
        PLAIN => Err(LookupFailure::Expired),
        "lustre:lustre#previous" => Ok(Some(bytes(Secret::new(vec![1; 9])))),
        _ => Ok(None),
    };
    let (cause, detail) = found(TARGET, look).unwrap_err();
    assert_eq!(cause, Cause::SharedKeyExpired);
    assert!(detail.contains("#previous: ") && detail.contains("9 bytes"), "{detail}");
    let objections = vec!["lustre:lustre:5f47: it has expired".to_owned()];
    let part = SharedKeyPart { candidates: Vec::new(), objections, primes: Vec::new(), memory: None };
    let refused = Failure::new(Stage::Negotiate, Cause::SharedKeyRefused, "refused");
    assert_eq!(part.with_objections(refused).detail, "refused; lustre:lustre:5f47: it has expired");
}

/// Refusals are unsigned, and its contexts are signed with a key that is no secret.
#[test]
fn a_former_key_without_cipher_does_not_stand_in_for_one_with_a_cipher() {
    let cipher_of = |newest, former| {
        let look = move |name: &str| {
            let cipher = match name {
                PLAIN => newest,
                "lustre:lustre#previous" => former,
                _ => return Ok(None),
            };
            Ok(Some(form(KeyParts { cipher, ..parts() })))
        };
        found(TARGET, look).unwrap()
    };
    let (with, without) = (parts().cipher, CipherAlgorithm::Null);
    assert_eq!(cipher_of(with, without), [PLAIN]);
    // Nor for one that cannot be used.
    for (cipher, serves) in [(with, true), (without, false)] {
        let look = |name: &str| match name {
            PLAIN => Err(LookupFailure::Expired),
            "lustre:lustre#previous" => Ok(Some(form(KeyParts { cipher, ..parts() }))),
            _ => Ok(None),
        };
        assert_eq!(found(TARGET, look).is_ok(), serves, "{cipher:?}");
    }
    let hashless = FoundKey { ..form(KeyParts { hmac: HmacAlgorithm::Null, cipher: without, ..parts() }) };
    let weak = SharedKey::decode(hashless.form.expose()).unwrap();
    let strong = SharedKey::decode(form(parts()).form.expose()).unwrap();
    assert!(weak.is_weaker_than(&strong) && !strong.is_weaker_than(&weak) && !weak.is_weaker_than(&weak));
    for (newest, former) in [(with, with), (without, with), (without, without)] {
        assert_eq!(cipher_of(newest, former), [PLAIN, "lustre:lustre#previous"]);
    }
}

#[test]
fn a_revoked_key_has_no_substitute() {
    // The key before the newest is another key.
    let look = |name: &str| match name {
        PLAIN => Ok(Some(form(parts()))),
        "lustre:lustre#previous" => Err(LookupFailure::Revoked),
        _ => Ok(None),
    };
    assert_eq!(found(TARGET, look).unwrap(), [PLAIN]);
    for revoked in [MOUNTS, PLAIN] {
        let look = |name: &str| match name {
            name if name == revoked => Err(LookupFailure::Revoked),
            name if name.ends_with("#previous") || name == PLAIN => Ok(Some(form(parts()))),
            _ => Ok(None),
        };
        let outcome = found(TARGET, look);
        // The predecessor of a key that is absent does not serve either.
        let (cause, detail) = outcome.unwrap_err();
        assert_eq!(cause, Cause::BadSharedKey);
        assert!(detail.contains("revoked"), "{detail}");
    }
    let removed = |name: &str| Ok(name.ends_with("#previous").then(|| form(parts())));
    assert_eq!(found(TARGET, removed).unwrap_err().0, Cause::NoSharedKey);
}

#[test]
fn the_log_names_a_key_that_others_may_read_and_one_that_signs_without_a_secret() {
    let parts = KeyParts { cipher: CipherAlgorithm::Null, ..parts() };
    let open = FoundKey { is_open: true, ..form(parts) };
    let open = std::cell::RefCell::new(Some(open));
    let look = |name: &str| Ok(if name == PLAIN { open.take() } else { None });
    let FoundKeys { candidates, objections } = find(&callout(TARGET), look).unwrap();
    let part = SharedKeyPart { candidates, objections, primes: vec![None], memory: None };
    let words = part.credential(&part.candidates()[0], Some("a remark"));
    for told in ["a remark", "no secret", "others than root may read"] {
        assert!(words.contains(told), "{told}: {words}");
    }
}
