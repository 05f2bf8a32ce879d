//! Each offence of a request's text, and that what is printed is what was read.

use super::*;
use proptest::prelude::*;

const CALLOUT: &str = "lgss1;mech=krb5;svc=nfs@srv.example.test;chan=rpc:[::1]:2049,100003,4;level=i;cache=FILE:/tmp/x;prefer=KCM:;ttl=60";

#[test]
fn a_callout_is_printed_as_it_was_read() {
    for anew in ["1", "only"] {
        let text = format!("{CALLOUT};anew={anew}");
        assert_eq!(text.parse::<Callout>().unwrap().to_string(), text);
    }
    assert_eq!(CALLOUT.parse::<Callout>().unwrap().to_string(), CALLOUT);
}

#[test]
fn each_offence_of_a_callout_has_its_error() {
    let base = "lgss1;svc=nfs@h;chan=rpc:h:1,2,3";
    for (text, error) in [
        ("svc=nfs@h".to_owned(), RequestError::Version),
        (format!("{base};uid=0"), RequestError::UnknownField),
        (format!("{base};;"), RequestError::UnknownField),
        (format!("{base};svc=nfs@h"), RequestError::Duplicate("svc")),
        ("lgss1;svc=nfs@h".to_owned(), RequestError::Missing("chan")),
        (format!("{base};level=x"), RequestError::Malformed("level")),
        (format!("{base};ttl=0"), RequestError::Malformed("ttl")),
        (format!("{base};ttl=-1"), RequestError::Malformed("ttl")),
        (format!("{base};cache="), RequestError::Malformed("cache")),
        (format!("{base};anew=2"), RequestError::Malformed("anew")),
        (format!("{base};prefer="), RequestError::Malformed("prefer")),
        (format!("{base};prefer={}", "x".repeat(513)), RequestError::Malformed("prefer")),
        (format!("{base};prefer=KCM:;prefer=-"), RequestError::Duplicate("prefer")),
        (format!("{base};cache=a\nb"), RequestError::NotPrintable),
        (format!("{base};cache=\u{e9}"), RequestError::NotPrintable),
        (format!("{base};cache={}", "x".repeat(1000)), RequestError::TooLong),
        ("lgss1;svc=-nfs@h;chan=rpc:h:1,2,3".to_owned(), RequestError::Malformed("svc")),
        ("lgss1;svc=nfs@-h;chan=rpc:h:1,2,3".to_owned(), RequestError::Malformed("svc")),
        ("lgss1;svc=nfs@h;chan=rpc:h:0,2,3".to_owned(), RequestError::Malformed("chan")),
        ("lgss1;svc=nfs@h;chan=rpc:h:1,2,3,4".to_owned(), RequestError::Malformed("chan")),
        ("lgss1;svc=nfs@h;chan=rpc:::1:1,2,3".to_owned(), RequestError::Malformed("chan")),
    ] {
        assert_eq!(text.parse::<Callout>(), Err(error), "{text}");
    }
    assert!(format!("{base};").parse::<Callout>().is_ok(), "one separator may follow the last field");
}

#[test]
fn a_preference_is_a_cache_or_none_and_older_requests_have_neither() {
    let prefer = |field: &str| {
        let text = format!("lgss1;svc=nfs@h;chan=rpc:h:1,2,3{field}");
        text.parse::<Callout>().unwrap().prefer
    };
    assert_eq!(prefer(""), None);
    assert_eq!(prefer(";prefer=-"), Some(Preference::Nothing));
    // What is no name of a cache is for the log, and no offence.
    for name in ["FILE:/tmp/x", "MEMORY:x", "relative", "KEYRING:session:a:b"] {
        assert_eq!(prefer(&format!(";prefer={name}")), Some(Preference::Cache(name.to_owned())));
    }
}

#[test]
fn descriptions_name_owner_service_and_instance() {
    let read: Description = "lgss:1000:nfs@srv.example.test:job7".parse().unwrap();
    assert_eq!((read.owner, read.instance.as_deref()), (Owner::Uid(1000), Some("job7")));
    assert_eq!("lgss:self:nfs@h".parse::<Description>().unwrap().owner, Owner::Caller);
    for bad in [
        "lgss:01:nfs@h",
        "lgss:-1:nfs@h",
        "lgss:4294967296:nfs@h",
        "lgss:1:nfs",
        "lgss:1:nfs@h:",
        "x",
        "lgss:+1:nfs@h",
    ] {
        assert_eq!(bad.parse::<Description>(), Err(RequestError::Description), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,60}", fields in "lgss1;[a-z=;:@,0-9.]{0,80}") {
        let _ = (text.parse::<Callout>(), text.parse::<Description>(), fields.parse::<Callout>());
    }
}
