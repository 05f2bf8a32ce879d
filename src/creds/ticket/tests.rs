use super::*;

#[test]
fn the_librarys_messages_name_the_users_file() {
    let name = CacheNames { library: "FILE:/proc/self/fd/4".into(), display: "FILE:/tmp/krb5cc_1000".into() };
    assert_eq!(name.in_words("file '/proc/self/fd/4' bad"), "file '/tmp/krb5cc_1000' bad");
    assert_eq!(name.in_words("FILE:/proc/self/fd/4: bad"), "FILE:/tmp/krb5cc_1000: bad");
    let kcm = CacheNames { library: "KCM:".into(), display: "KCM:".into() };
    assert_eq!(kcm.in_words("KCM: no"), "KCM: no");
}

#[test]
fn a_cache_that_is_not_there_is_no_ticket_and_a_file_that_is_no_cache_is_bad() {
    let Ok(library) = Library::open() else { panic!("no library") };
    let name = |path: &str| CacheNames { library: format!("FILE:{path}"), display: "FILE:shown".into() };
    let missing = ClientAccount::open(&library, name("/nonexistent/lgss-test")).unwrap_err();
    assert_eq!(missing.cause, Cause::NoTicket, "{missing}");
    assert!(!missing.detail.contains("nonexistent"), "{missing}");
    assert_eq!(ClientAccount::open(&library, name("/proc/self/status")).unwrap_err().cause, Cause::BadCache);
}
