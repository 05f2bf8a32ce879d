use super::*;
use crate::ctx::request::{Anew, Level, Mechanism};

fn callout(cache: &str) -> Callout {
    Callout {
        mechanism: Mechanism::Krb5,
        service: "nfs@srv.example.test".parse().unwrap(),
        channel: "rpc:srv.example.test:2049,100003,4".parse().unwrap(),
        level: Level::Integrity,
        cache: Some(cache.to_owned()),
        prefer: None,
        ttl: None,
        principal: None,
        anew: Anew::Usual,
    }
}

fn description(service: &str) -> Description {
    Description { owner: Owner::Uid(1000), service: service.parse().unwrap(), instance: None }
}

#[test]
fn a_value_cannot_smuggle_a_field_into_the_callout() {
    let smuggled = request(&description("nfs@srv.example.test"), &callout("FILE:/x;ttl=1"));
    assert!(matches!(smuggled, Err(ClientError::Text(_))), "{smuggled:?}");
    let long = request(&description("nfs@srv.example.test"), &callout(&"x".repeat(600)));
    assert_eq!(long, Err(ClientError::Text(RequestError::Malformed("cache"))));
    let line = request(&description("nfs@srv.example.test"), &callout("FILE:/x\ny"));
    assert_eq!(line, Err(ClientError::Text(RequestError::NotPrintable)));
}

#[test]
fn the_callers_cache_is_sent_where_the_request_names_none_and_there_is_room() {
    let text = |callout: &Callout, caller: Option<&str>| {
        let caller = caller.map(|name| Preference::Cache(name.to_owned()));
        with_preference(callout, caller).unwrap().into_string().unwrap()
    };
    let named = callout("FILE:/x");
    assert!(!text(&named, Some("KCM:")).contains("prefer"));
    let plain = Callout { cache: None, ..named };
    assert_eq!(text(&plain, None), plain.to_string());
    assert!(text(&plain, Some("KCM:")).ends_with(";prefer=KCM:"));
    let nothing = Callout { prefer: Some(Preference::Nothing), ..plain.clone() };
    assert!(text(&nothing, Some("KCM:")).ends_with(";prefer=-"));
    // What does not fit is left out.
    let full = Callout { principal: Principal::new(&"p".repeat(400)), ..plain };
    let host = format!("nfs@{}", "h".repeat(250));
    let channel = format!("rpc:{}:2049,100003,4", "h".repeat(250));
    let full = Callout { service: host.parse().unwrap(), channel: channel.parse().unwrap(), ..full };
    assert!(text(&full, Some("KCM:")).contains("prefer"));
    assert_eq!(text(&full, Some(&"x".repeat(500))), full.to_string());
}

#[test]
fn one_service_is_asked_for_in_both_texts() {
    assert_eq!(request(&description("nfs@other"), &callout("KCM:")), Err(ClientError::ServicesDiffer));
}

/// Needs a kernel with keys, as the whole package does.
#[test]
fn the_state_in_a_key_is_read_and_its_end_is_seen() {
    let ring = keyctl::PROCESS_KEYRING;
    let add = |payload: &[u8]| keyctl::add(c"user", c"lgss:test:client", payload, ring).unwrap();
    let raw = add(user::in_progress().as_slice());
    let key = ContextKey::of(KeySerial::new(raw).unwrap());
    let start = Instant::now();
    assert!(matches!(key.wait(Duration::from_millis(20)), Ok(State::InProgress)));
    assert!(start.elapsed() >= Duration::from_millis(20));
    keyctl::update(raw, b"something else").unwrap();
    assert!(matches!(key.wait(Duration::from_secs(9)), Err(ClientError::Payload(_))));
    keyctl::revoke(raw).unwrap();
    assert_eq!(key.state().unwrap_err(), ClientError::Read(Errno::EKEYREVOKED));
}
