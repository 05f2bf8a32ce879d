//! `.k5identity`: which principal its owner wants to use for which service (k5identity(5)).
//!
//! Read by the worker from the descriptor that the launcher has opened. The format is MIT Kerberos's: each line has a
//! principal and conditions `field=value`, where a value is a shell pattern. The first line whose conditions all hold
//! counts. A malformed line never counts.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::limits::IDENTITIES_BYTES;
use crate::gss::krb5::Library;
use crate::gss::principal::Name;

/// The contents of a file.
#[derive(Debug, Default)]
pub(super) struct Identities {
    lines: Vec<IdentityLine>,
    /// Numbers of malformed lines.
    pub(super) malformed: Vec<usize>,
}

#[derive(Debug)]
struct IdentityLine {
    client: Name,
    conditions: Vec<(IdentityField, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdentityField {
    Realm,
    Service,
    Host,
}

impl Identities {
    /// Reads the file; principals without a realm get the default one.
    pub(super) fn read(library: &Library, file: &Path) -> io::Result<Self> {
        let mut content = Vec::new();
        // Do not wait for a lease.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
        file.take(IDENTITIES_BYTES.into()).read_to_end(&mut content)?;
        Ok(Self::parse(&content, |text| library.principal(text).ok().map(|principal| principal.name())))
    }

    pub(super) fn parse(content: &[u8], principal: impl Fn(&str) -> Option<Name>) -> Self {
        let mut identities = Self::default();
        for (line, number) in content.split(|&byte| byte == b'\n').zip(1..) {
            let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'));
            match text.map(|text| IdentityLine::parse(text, &principal)) {
                Some(Ok(line)) => identities.lines.extend(line),
                Some(Err(Malformed)) | None => identities.malformed.push(number),
            }
        }
        identities
    }

    /// The principal for a service; without a service no condition holds.
    pub(super) fn client(&self, service: Option<&Name>) -> Option<&Name> {
        let applies =
            |line: &&IdentityLine| line.conditions.iter().all(|(field, value)| holds(*field, value, service));
        self.lines.iter().find(applies).map(|line| &line.client)
    }
}

#[derive(Debug)]
struct Malformed;

impl IdentityLine {
    /// `None` for an empty line or a comment.
    fn parse(text: &str, principal: impl Fn(&str) -> Option<Name>) -> Result<Option<Self>, Malformed> {
        let mut words = text.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { return Ok(None) };
        let conditions = words.map(|word| {
            let (field, value) = word.split_once('=').ok_or(Malformed)?;
            let field = match field {
                "realm" => IdentityField::Realm,
                "service" => IdentityField::Service,
                "host" => IdentityField::Host,
                _ => return Err(Malformed),
            };
            Ok((field, value.to_owned()))
        });
        let conditions = conditions.collect::<Result<_, _>>()?;
        Ok(Some(Self { client: principal(first).ok_or(Malformed)?, conditions }))
    }
}

fn holds(field: IdentityField, value: &str, service: Option<&Name>) -> bool {
    let Some(Name { realm, components }) = service else { return false };
    let text = match (field, components.as_slice()) {
        (IdentityField::Realm, _) => realm.clone(),
        (IdentityField::Service, [service, _, ..]) => service.clone(),
        (IdentityField::Host, [_, host, ..]) => host.to_ascii_lowercase(),
        _ => return false,
    };
    let (pattern, text): (Vec<char>, Vec<char>) = (value.chars().collect(), text.chars().collect());
    is_like(&text, &pattern)
}

/// Whether a shell pattern (glob(7)) matches the text. Only the part after the last `*` is tried again, once for each
/// place, so that the time is at most proportional to the product of both lengths.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to continue if the part after the last `*` does not match: the place in the pattern, and in the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(next) {
            Some('*') => {
                retry = Some((next + 1, at));
                next += 1;
                continue;
            }
            None if at == text.len() => return true,
            None => None,
            Some(_) => text.get(at).and_then(|&c| match_one(c, pattern.get(next..).unwrap_or_default())),
        };
        match (step, retry) {
            (Some(length), _) => (at, next) = (at + 1, next + length),
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                (at, next) = (from + 1, after);
            }
            (None, _) => return false,
        }
    }
}

/// Length of the pattern's first element if that matches the character, else `None`.
fn match_one(c: char, pattern: &[char]) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', rest @ ..] => match match_set(c, rest) {
            Some((true, length)) => Some(1 + length),
            Some((false, _)) => None,
            // Without an end it is a literal bracket.
            None => (c == '[').then_some(1),
        },
        [other, ..] => (*other == c).then_some(1),
        [] => None,
    }
}

/// Whether the set that begins here contains the character, and the set's length with its end.
fn match_set(c: char, pattern: &[char]) -> Option<(bool, usize)> {
    let negated = matches!(pattern, ['!' | '^', ..]);
    let mut at = usize::from(negated);
    let first = at;
    let mut within = false;
    loop {
        match pattern.get(at..)? {
            [']', ..] if at > first => return Some((within != negated, at + 1)),
            [from, '-', to, ..] if *to != ']' => {
                within |= (*from..=*to).contains(&c);
                at += 3;
            }
            [single, ..] => {
                within |= *single == c;
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let (components, realm) = text.split_once('@').unwrap_or((text, "HOME"));
        Name { realm: realm.to_owned(), components: components.split('/').map(str::to_owned).collect() }
    }

    fn parse(text: &[u8]) -> Identities {
        Identities::parse(text, |text| (!text.ends_with('@')).then(|| name(text)))
    }

    #[test]
    fn the_first_line_whose_conditions_hold_counts() {
        let identities = parse(
            b"# comment\n\n\t alice@A  realm=A  service=nfs\r\nbob service=host host=*.example.com\n carol@C\n",
        );
        let client = |service: Option<&str>| {
            identities.client(service.map(name).as_ref()).map(ToString::to_string).unwrap()
        };
        assert_eq!(client(Some("nfs/srv@A")), "alice@A");
        assert_eq!(client(Some("host/WWW.Example.com@B")), "bob@HOME");
        assert_eq!(client(Some("nfs/srv@B")), "carol@C");
        assert_eq!(client(Some("nfs@A")), "carol@C", "a service without a host is no host-based one");
        assert_eq!(client(None), "carol@C");
        assert!(identities.malformed.is_empty());
    }

    #[test]
    fn a_line_that_is_not_understood_never_counts() {
        let identities = parse(b"a port=22\nb service\nc@ service=nfs\n\xff\nd \0\ne service=host\n");
        assert_eq!(identities.malformed, [1, 2, 3, 4, 5]);
        assert_eq!(identities.client(Some(&name("nfs/srv@A"))), None);
    }

    #[test]
    fn patterns_are_the_shells() {
        let fits = |text: &str, pattern: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            is_like(&chars(text), &chars(pattern))
        };
        for (text, pattern) in [
            ("", ""),
            ("", "*"),
            ("srv.example.com", "*.example.com"),
            ("a/b", "a*b"),
            ("abab", "*ab"),
            ("nfs", "n?s"),
            ("nfs", "n[a-fx]s"),
            ("nfs", "n[!a-e]s"),
            ("a]", "a[]]"),
            ("a-", "a[a-]"),
            ("*", "\\*"),
            ("[x", "[x"),
        ] {
            assert!(fits(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("x", ""),
            ("nfs", "n[!f]s"),
            ("nfs", "nf"),
            ("nfs", "NFS"),
            ("x", "\\*"),
            ("", "?"),
            ("ab", "a\\"),
        ] {
            assert!(!fits(text, pattern), "{text} {pattern}");
        }
        assert!(!fits(&"a".repeat(2000), &("a*".repeat(500) + "b")));
    }
}
