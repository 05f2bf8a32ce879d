//! What the command line says, and what it cannot say.

use super::*;

fn parse(words: &[&str]) -> Result<KinitArguments, clap::error::ErrorKind> {
    let words = ["lgss_kinit"].iter().chain(words).map(OsString::from).collect();
    KinitArguments::read(words).map_err(|error| error.kind())
}

#[test]
fn the_record_is_consistent_and_the_options_are_those_of_kinit() {
    KinitArguments::command().debug_assert();
    let words = "-V -l 10h -s 1h -r 7d -f -p -A -C -E -k -t /k -c KEYRING:session:x -S kadmin/x -T /a -I /i -X a=b -X c alice";
    let arguments = parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
    assert_eq!(arguments.lifetime, Some(36_000));
    assert_eq!(arguments.start_time, Some(3600));
    assert_eq!(arguments.attribute, [("a".into(), "b".into()), ("c".into(), "yes".into())]);
    assert_eq!(arguments.principal.as_deref(), Some("alice"));
    for words in [
        &["-l10h", "-F", "-P", "-a"][..],
        &["-R"],
        &["-v"],
        &["-n", "@R"],
        &["-ki"],
        &["--noaddr"],
        &["-l", "1h", "-l", "2h"],
    ] {
        assert!(parse(words).is_ok(), "{words:?}");
    }
}

#[test]
fn of_keytab_renewal_and_validation_the_last_one_counts() {
    let last = |words: &[&str]| {
        let arguments = parse(words).unwrap();
        (arguments.use_keytab, arguments.renew, arguments.validate)
    };
    assert_eq!(last(&["-k", "-R"]), (false, true, false));
    assert_eq!(last(&["-R", "-k", "-5"]), (true, false, false));
    assert_eq!(last(&["-R", "-v"]), (false, false, true));
}

#[test]
fn a_command_follows_two_dashes_and_a_principal_may_where_nothing_is_run() {
    let arguments = parse(&["--new-session", "alice", "--", "make", "-k"]).unwrap();
    assert_eq!((arguments.principal.as_deref(), arguments.command.len()), (Some("alice"), 2));
    assert!(!arguments.use_keytab && arguments.runs_something());
    let arguments = parse(&["--renew-while", "--", "make"]).unwrap();
    assert_eq!((arguments.watched(), arguments.command.len()), (Some(None), 1));
    let arguments = parse(&["--renew-while", "alice", "--", "make"]).unwrap();
    assert_eq!((arguments.watched(), arguments.principal.as_deref()), (Some(None), Some("alice")));
    let arguments = parse(&["-R", "--renew-while", "1234"]).unwrap();
    assert_eq!((arguments.watched(), arguments.runs_something()), (Some(Some(1234)), false));
    let arguments = parse(&["-f", "--", "-strange-name"]).unwrap();
    assert_eq!((arguments.principal.as_deref(), arguments.command.len()), (Some("-strange-name"), 0));
    assert!(parse(&["--new-session"]).unwrap().runs_something());
    assert!(parse(&["--new-session", "--renew-while"]).is_ok());
}

#[test]
fn what_contradicts_itself_or_is_no_keyring_is_refused() {
    use clap::error::ErrorKind::{ArgumentConflict, ValueValidation};
    for (words, kind) in [
        (&["-f", "-F"][..], ArgumentConflict),
        (&["-p", "-P"], ArgumentConflict),
        (&["-a", "-A"], ArgumentConflict),
        (&["-t", "x", "-i"], ArgumentConflict),
        (&["--from", "FILE:/x", "alice"], ArgumentConflict),
        (&["--from", "FILE:/x", "-l", "1h"], ArgumentConflict),
        (&["--keyring", "user", "-c", "KEYRING:user:x"], ArgumentConflict),
        (&["-c", "FILE:/tmp/x"], ValueValidation),
        (&["-c", "/tmp/x"], ValueValidation),
        (&["-c", "KEYRING:nowhere:x"], ValueValidation),
        (&["--keyring", "nowhere"], ValueValidation),
        (&["--keyring", "session:1"], ValueValidation),
        (&["-l", "soon"], ValueValidation),
        (&["-l", "0"], ValueValidation),
        (&["-s", "20000101000000"], ValueValidation),
        (&["-X", "=x"], ValueValidation),
        (&["--renew-while"], ArgumentConflict),
        (&["--renew-while", "0"], ValueValidation),
        (&["--renew-while", "alice"], ArgumentConflict),
        (&["--renew-while", "alice", "bob", "--", "make"], ArgumentConflict),
        (&["--renew-while", "1", "--", "make"], ArgumentConflict),
        (&["--renew-while", "1", "--new-session"], ArgumentConflict),
        (&["--", "alice", "bob"], ArgumentConflict),
        (&["alice", "--", "make"], ArgumentConflict),
        (&["--new-session", "-c", "KEYRING:user:x"], ArgumentConflict),
        (&["--new-session", "--keyring", "session"], ArgumentConflict),
        (&["--for", "1h", "-R"], ArgumentConflict),
        (&["--for", "1h", "--new-session"], ArgumentConflict),
        (&["--for", "soon"], ValueValidation),
        (&["--for", "1h", "--", "make"], ArgumentConflict),
        (&["--for", "1h", "alice", "--", "make"], ArgumentConflict),
        (&["-S", "kadmin/changepw", "--renew-while", "1"], ArgumentConflict),
        (&["-s", "2h", "--renew-while", "1"], ArgumentConflict),
        (&["--single-key", "--keyring", "persistent"], ArgumentConflict),
        (&["--single-key", "-c", "KEYRING:user:x"], ArgumentConflict),
        (&["--single-key", "--renew-while", "1"], ArgumentConflict),
    ] {
        assert_eq!(parse(words).map(|_| ()), Err(kind), "{words:?}");
    }
}
