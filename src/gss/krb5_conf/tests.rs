use super::*;
use crate::gss::krb5::Library;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn write(directory: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

/// The file's faults, after checking that the library agrees.
#[track_caller]
fn told(file: &Path) -> Vec<String> {
    let found = faults(file, ConfReader::Ourselves);
    let fatal = found.iter().any(|fault| fault.effect == Effect::Fatal);
    assert_eq!(Library::open_with(file).is_err(), fatal, "{found:?}");
    let shorter =
        |fault: &ConfFault| fault.to_string().replace(&format!("{}/", file.parent().unwrap().display()), "");
    found.iter().map(shorter).collect()
}

const GOOD: &str = "# comment\n\n[libdefaults]\n default_realm = A.TEST\n ; comment\n[realms]\n A.TEST = {\n  kdc = a.test\n \
                    }\n B.TEST =\n {\n  kdc = \"b.test\"\n }*\n[domain_realm]* \n .a.test = A.TEST\n";

#[test]
fn a_good_file_has_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(told(&write(directory.path(), "krb5.conf", GOOD)), [""; 0]);
}

#[test]
fn a_fault_is_told_with_file_line_and_words() {
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("[libdefaults\n", "krb5.conf, line 1: ] is missing after \"[libdefaults\""),
        ("[libdefaults] x\n", "krb5.conf, line 1: \"x\" follows [libdefaults]"),
        ("[libdefaults]\n default_realm A\n", "krb5.conf, line 2: = is missing in \"default_realm A\""),
        ("[libdefaults]\n = A\n", "krb5.conf, line 2: there is no name before = in \"= A\""),
        (
            "[libdefaults]\n default realm = A\n",
            "krb5.conf, line 2: more than one word before =: \"default\" \"default realm = A\"",
        ),
        (
            "[realms]\n A = {\n  kdc = a\n[domain_realm]\n",
            "krb5.conf, line 4: a section begins while the { of line 2 is open",
        ),
        ("[realms]\n A = {\n }\n}\n", "krb5.conf, line 4: } without {"),
        ("[realms]\n A =\n  kdc = a\n", "krb5.conf, line 3: { is missing: line 2 ends with ="),
        ("[libdefaults]\ninclude /absent/x\n", "krb5.conf, line 2: include /absent/x: does not exist"),
        ("includedir /absent\n", "krb5.conf, line 1: includedir /absent: does not exist"),
        // Ignored by the library.
        (
            "[realms]\n A = {\n  kdc = a\n",
            "krb5.conf, line 2: the { that begins here, or is to begin, is never closed",
        ),
        (
            " [libdefaults]\n default_realm = A\n[realms]\n",
            "krb5.conf, line 1: \"[libdefaults]\" stands before the first [section], and is ignored",
        ),
    ] {
        assert_eq!(told(&write(directory.path(), "krb5.conf", text)), [expected], "{text:?}");
    }
}

#[test]
fn a_fault_of_an_included_file_names_that_file() {
    let directory = tempfile::tempdir().unwrap();
    let parts = directory.path().join("parts");
    fs::create_dir(&parts).unwrap();
    write(&parts, "good.conf", "[realms]\n A = {\n }\n");
    write(&parts, "kept.rpmsave", "no configuration\n");
    let file = write(directory.path(), "krb5.conf", format!("includedir {}\n{GOOD}", parts.display()));
    assert_eq!(told(&file), [""; 0]);
    write(&parts, "bad", "[realms]\n}\n");
    assert_eq!(told(&file), ["parts/bad, line 2: } without {"]);
    write(&parts, "bad", "module /x.so:y\n");
    assert_eq!(told(&file).len(), 1);
    // Each is read on its own.
    let inner = write(directory.path(), "inner", "x = y\n");
    let file = write(
        directory.path(),
        "krb5.conf",
        format!("[realms]\ninclude {}\n A = {{\n }}\n", inner.display()),
    );
    assert_eq!(told(&file), ["inner, line 1: \"x = y\" stands before the first [section], and is ignored"]);
}

#[test]
fn what_cannot_be_read_is_told_though_the_library_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(told(&directory.path().join("absent")), ["absent: does not exist; it counts as empty"]);
    fs::create_dir(directory.path().join("folder")).unwrap();
    assert_eq!(told(&directory.path().join("folder")), ["folder: is a directory; it counts as empty"]);
}

#[test]
fn what_users_cannot_read_is_told_to_root() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = write(directory.path(), "secret", "[realms]\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let file = write(directory.path(), "krb5.conf", format!("include {}\n", secret.display()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let [fault] = &faults(&file, ConfReader::AnyUser)[..] else { panic!("not one fault") };
    assert_eq!((fault.line, fault.effect), (Some(1), Effect::Fatal));
    assert!(fault.what.ends_with("has mode 0640: users, as workers are, cannot read it"), "{fault}");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let [fault] = &faults(&file, ConfReader::AnyUser)[..] else { panic!("not one fault") };
    assert!(fault.what.contains("has mode 0700: users cannot look into it"), "{fault}");
}

#[test]
fn files_that_include_each_other_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("krb5.conf");
    fs::write(&file, format!("include {}\n", file.display())).unwrap();
    let found = faults(&file, ConfReader::Ourselves);
    assert!(found.iter().any(|fault| fault.what.contains("in a circle")), "{found:?}");
}

/// Lines as configurations have them, whole and broken.
fn any_line() -> impl Strategy<Value = String> {
    let word = "[a-z*=\\[\\]{}\"#; \t]{0,12}";
    prop_oneof![
        Just("[realms]".to_owned()),
        Just(" A = {".to_owned()),
        Just(" A =".to_owned()),
        Just("{".to_owned()),
        Just(" }".to_owned()),
        Just(" kdc = a".to_owned()),
        Just(String::new()),
        Just("# = [".to_owned()),
        word.prop_map(|text| text),
        "include[a-z]{0,3} ?/absent".prop_map(|text| text),
        "[ -~]{0,20}".prop_map(|text| if text.starts_with("module") { String::new() } else { text }),
        "x = y{2030,2060}".prop_map(|text| text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_library_refuses_what_has_a_fatal_fault_and_nothing_else(
        lines in prop::collection::vec(any_line(), 0..10), end in "\n|\r\n",
    ) {
        let directory = tempfile::tempdir().unwrap();
        told(&write(directory.path(), "krb5.conf", lines.join(&end)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text: Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        faults(&write(directory.path(), "krb5.conf", text), ConfReader::Ourselves);
    }
}
