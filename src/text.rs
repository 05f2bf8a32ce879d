//! Makes text from others fit for a log line and a terminal (rule S10): names of caches and principals, messages of
//! libraries and of workers.
//!
//! Invariant: the result has no character that moves the cursor, breaks a line, changes the direction of writing or
//! is invisible, and a quoted name cannot be mistaken for words of ours.
#![forbid(unsafe_code)]

use std::borrow::Cow;
#[cfg(any(feature = "tools", test))]
use std::fmt::Write;
#[cfg(any(feature = "upcall", test))]
use std::path::Path;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Invisible letters and marks (Unicode, Default_Ignorable_Code_Point; those of category Cf are recognised by the
/// category).
const INVISIBLE: [(char, char); 8] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Whether a character shows what it is; the blank does.
pub(crate) fn is_plain(c: char) -> bool {
    use GeneralCategory as Category;
    match get_general_category(c) {
        Category::Control
        | Category::Format
        | Category::LineSeparator
        | Category::ParagraphSeparator
        | Category::PrivateUse
        | Category::Surrogate
        | Category::Unassigned => false,
        Category::SpaceSeparator => c == ' ',
        _ => c.is_ascii() || !INVISIBLE.iter().any(|&(first, last)| (first..=last).contains(&c)),
    }
}

/// Replaces every character that is not plain by an escape: `\n`, `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// A name as it is, or in quotation marks if a part of it could be mistaken for the text around a name.
#[cfg(any(feature = "upcall", test))]
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    let could_mislead = |c: char| c.is_whitespace() || "\"'\\;,".contains(c) || !is_plain(c);
    if !name.is_empty() && !name.contains(could_mislead) {
        return Cow::Borrowed(name);
    }
    let mut shown = String::with_capacity(name.len() + 16);
    shown.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if is_plain(c) => shown.push(c),
            c => shown.extend(c.escape_default()),
        }
    }
    shown.push('"');
    Cow::Owned(shown)
}

/// The name of a file, like any name.
#[cfg(feature = "tools")]
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

/// The name of a file as one word of a command that somebody may paste into a shell: as it is, or quoted.
#[cfg(any(feature = "upcall", test))]
pub(crate) fn shell_word(path: &Path) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"_./,:@%+=-".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    // A name must not be taken for an option.
    let directory = if bytes.starts_with(b"-") { "./" } else { "" };
    match path.to_str() {
        Some(name) if !bytes.is_empty() && bytes.iter().all(|&byte| stays(byte)) => {
            format!("{directory}{name}")
        }
        Some(name) if name.chars().all(is_plain) => format!("'{directory}{}'", name.replace('\'', r"'\''")),
        // What a terminal or a reader must not get: in the shell's form with escapes, byte by byte.
        _ => {
            let mut word = format!("$'{directory}");
            for &byte in bytes {
                match byte {
                    b'\'' | b'\\' => word.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => word.push(char::from(byte)),
                    _ => word.push_str(&format!("\\{byte:03o}")),
                }
            }
            word.push('\'');
            word
        }
    }
}

/// A number of things: `1 key`, `2 keys`.
#[cfg(feature = "upcall")]
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Longest line that is shown, in bytes: its author is not trusted to be brief.
pub(crate) const SHOWN_LIMIT: usize = 500;

/// The same for each line; line breaks stay.
#[cfg(feature = "tools")]
pub(crate) fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// The text escaped, on one line, cut at [`SHOWN_LIMIT`].
pub(crate) fn one_line(text: &str) -> String {
    cut(&escaped(text), SHOWN_LIMIT).into_owned()
}

/// As much of the text as fits into `limit` bytes, with a mark if it was cut.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let room = limit.saturating_sub(MARK.len_utf8());
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let mut part = text.get(..end).unwrap_or_default().to_owned();
    part.push(MARK);
    Cow::Owned(part)
}

/// The same JSON data fit for a terminal: characters in strings that are not plain become escapes.
#[cfg(any(feature = "tools", test))]
pub(crate) fn plain_json(json: &str) -> Cow<'_, str> {
    // Outside of strings there is only ASCII, with line breaks.
    let stays = |c: char| c == '\n' || is_plain(c);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut plain = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if stays(c) {
            plain.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character that terminals or readers of logs are known to act on, and related ones.
    const UNPLAIN: &str = "\0\x07\x08\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{2003}\
        \u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{3000}\u{3164}\
        \u{e000}\u{fe0f}\u{feff}\u{fff9}\u{ffff}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{f0000}\u{10ffff}";

    #[test]
    fn nothing_that_hides_breaks_or_turns_a_line_is_left() {
        for c in UNPLAIN.chars() {
            let shown = escaped(&format!("a{c}b")).into_owned();
            assert!(shown.is_ascii() && !shown.contains(char::is_control), "{c:?}: {shown:?}");
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{c:?}: {shown:?}");
        }
        for text in ["", "José Łukasz 山田 Ελλάς x\u{301}", "FILE:/tmp/krb5cc_1000: no (really)"] {
            assert_eq!(escaped(text), text);
        }
        assert_eq!(escaped("a\u{202e}b\nc"), "a\\u{202e}b\\nc");
    }

    #[test]
    fn what_was_escaped_is_not_escaped_again() {
        let once = escaped(UNPLAIN).into_owned();
        assert_eq!(escaped(&once), once);
    }

    #[test]
    fn a_name_that_could_be_taken_for_words_of_ours_is_quoted() {
        for name in
            ["FILE:/tmp/krb5cc_1000", "alice/admin@EXAMPLE.COM", "KCM:", "KEYRING:persistent:1000:krb"]
        {
            assert_eq!(quoted(name), name);
        }
        for (name, shown) in [
            ("", "\"\""),
            ("FILE:/tmp/krb5cc_1: ticket expired", "\"FILE:/tmp/krb5cc_1: ticket expired\""),
            ("x;y", "\"x;y\""),
            ("x,y", "\"x,y\""),
            ("a\"; chosen: \"b", "\"a\\\"; chosen: \\\"b\""),
            ("a\\/b@R", "\"a\\\\/b@R\""),
            ("a\u{2028}b", "\"a\\u{2028}b\""),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }

    #[test]
    fn a_shell_takes_the_name_of_a_file_for_one_word_and_runs_nothing_of_it() {
        use std::os::unix::ffi::OsStrExt;
        for (name, word) in [
            ("/etc/lustre/keys/scratch.key", "/etc/lustre/keys/scratch.key"),
            ("a_,:@%+=-b", "a_,:@%+=-b"),
            ("a$(id)b", "'a$(id)b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("~", "'~'"),
            ("-rf", "./-rf"),
            ("-r f", "'./-r f'"),
            ("é", "'é'"),
        ] {
            assert_eq!(shell_word(Path::new(name)), word);
        }
        for name in
            [&b"a\x1b[2J'\\1"[..], b"a\xff1", "-\u{202e}\n`id`".as_bytes(), b"plain", b"a b;$(id)'\"\\"]
        {
            let path = Path::new(std::ffi::OsStr::from_bytes(name));
            let word = shell_word(path);
            assert!(word.chars().all(is_plain), "{word:?}");
            let mut shell = std::process::Command::new("bash");
            let printed = shell.args(["-c", &format!("printf %s {word}")]).output().unwrap().stdout;
            let printed = printed.strip_prefix(b"./").unwrap_or(&printed);
            assert_eq!(printed, name, "{word}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ééé", 6), "ééé");
        for limit in 0..20 {
            let text = "é".repeat(10);
            let shown = cut(&text, limit);
            assert!(shown.len() <= limit.max('…'.len_utf8()), "{limit}: {shown}");
        }
    }

    #[test]
    fn json_for_a_terminal_is_the_same_data() {
        let data = serde_json::json!({ "cache": format!("x{UNPLAIN}\"\\y"), "é": ["z"] });
        let json = serde_json::to_string_pretty(&data).unwrap();
        let plain = plain_json(&json);
        assert!(plain.chars().all(|c| c == '\n' || is_plain(c)), "{plain:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), data);
    }
}
