//! Tokens of a peer for the tests in C: tests/c/tokens.h holds what the crate makes as the initiator.
//!
//! `LGSS_WRITE_TOKENS=1 cargo test --manifest-path liblgss/Cargo.toml --test tokens` writes it anew.
#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::{KeyOrigin, MicKeys, Role};
use lgss::crypto::wrap::WrapKeys;
use lgss::secret::Secret;

const MESSAGE: &[u8] = b"a message of the peer";
/// The peer's first token, the next, one after a gap, the one in the gap.
const NUMBERS: [u64; 4] = [5, 6, 9, 7];

type Written = (&'static str, usize, fn(Enctype, u64) -> Vec<u8>);

/// Their names in C, and the longest.
const KINDS: [Written; 3] = [
    ("SIGNED", 40, |enctype, number| mic_keys(enctype).sign(MESSAGE, number)),
    ("SEALED", 93, |enctype, number| wrap_keys(enctype, Role::Initiator).seal(MESSAGE, number).unwrap()),
    ("PROTECTED", 61, |enctype, number| {
        wrap_keys(enctype, Role::Initiator).protect(MESSAGE, number).unwrap()
    }),
];

fn base_key(enctype: Enctype) -> Secret {
    Secret::new(vec![u8::try_from(enctype.number()).unwrap(); enctype.key_length()])
}

fn mic_keys(enctype: Enctype) -> MicKeys {
    MicKeys::new(enctype, &base_key(enctype), KeyOrigin::AcceptorSubkey, Role::Initiator).unwrap()
}

fn wrap_keys(enctype: Enctype, role: Role) -> WrapKeys {
    WrapKeys::new(enctype, &base_key(enctype), KeyOrigin::AcceptorSubkey, role).unwrap()
}

#[test]
fn the_tokens_are_those_of_the_crate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/c/tokens.h");
    if std::env::var_os("LGSS_WRITE_TOKENS").is_some() {
        fs::write(&path, header()).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap();
    for enctype in (17..=20).map(|number| Enctype::try_from(number).unwrap()) {
        for number in NUMBERS {
            let signed = in_c(&mic_keys(enctype).sign(MESSAGE, number));
            assert!(there.contains(&signed), "see the head of liblgss/tests/tokens.rs");
        }
    }
    // Those that are encrypted differ each time; the tests in C open them.
    let outline =
        |text: &str| text.lines().filter(|line| !line.contains("0x")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(outline(&there), outline(&header()), "see the head of liblgss/tests/tokens.rs");
}

fn header() -> String {
    let mut text =
        "/* Made by liblgss/tests/tokens.rs: tokens of the initiator, by encryption type from 17 on. */\n"
            .to_owned();
    let message = std::str::from_utf8(MESSAGE).unwrap();
    writeln!(text, "static const char MESSAGE[] = \"{message}\";").unwrap();
    for (name, size, make) in KINDS {
        writeln!(text, "static const unsigned char {name}[4][{}][{size}] = {{", NUMBERS.len()).unwrap();
        for enctype in (17..=20).map(|number| Enctype::try_from(number).unwrap()) {
            let tokens = NUMBERS.map(|number| in_c(&make(enctype, number)));
            writeln!(text, "    {{\n        {},\n    }},", tokens.join(",\n        ")).unwrap();
        }
        text += "};\n";
    }
    text
}

fn in_c(token: &[u8]) -> String {
    let bytes: Vec<String> = token.iter().map(|byte| format!("0x{byte:02x}")).collect();
    format!("{{{}}}", bytes.join(", "))
}
