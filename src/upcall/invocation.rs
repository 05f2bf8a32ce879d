//! The arguments of an upcall, as request-key passes them: options of the rule, then ten words.
//!
//! Parsed before anything else happens. Options stand before the words and are root's. Type, description and callout
//! may hold any bytes that the requester likes; dashes there begin no option.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::creds::search::Rings;
use crate::event::one_line;
use crate::key::{Consumer, KeySerial, id_of_kernel};

/// The arguments of one upcall.
#[derive(Debug)]
pub(super) struct Invocation {
    /// From the rule: a configuration file other than the default.
    pub config: Option<PathBuf>,
    /// From the rule: the realm of machine credentials.
    pub realm: Option<String>,
    /// The key under construction.
    pub key: KeySerial,
    /// Its type.
    pub key_type: Vec<u8>,
    /// Who reads the key, which follows from its type.
    pub consumer: Consumer,
    /// Its description.
    pub description: Vec<u8>,
    /// The callout, which the requester passed for this program.
    pub callout: Vec<u8>,
    /// The requester's fsuid.
    pub uid: u32,
    /// The requester's fsgid.
    pub gid: u32,
    /// The requester's thread keyring, 0 if it has none.
    pub thread_ring: i32,
    /// The requester's process keyring, 0 if it has none.
    pub process_ring: i32,
    /// The requester's session keyring, 0 if it has none.
    pub session_ring: i32,
}

/// Arguments that are no upcall: the rule's fault, not its requesters'.
#[derive(Debug)]
pub(super) struct Unusable {
    /// From the rule, as far as it was parsed: a configuration file other than the default.
    pub config: Option<PathBuf>,
    /// The key, if that much could be parsed.
    pub key: Option<KeySerial>,
    /// What is wrong.
    pub offence: String,
}

/// How the words of a rule must end.
pub(super) const RULE_WORDS: &str = "%o %k %t %d %c %u %g %T %P %S";

impl Invocation {
    /// Reads `[--config FILE] [-R|--realm REALM] create KEY TYPE DESCRIPTION CALLOUT UID GID RING RING RING`.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(super) fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, Unusable> {
        let mut words = words.map(OsString::into_vec);
        let RuleOptions { config, realm, operation } = RuleOptions::read(&mut words);
        let rest: Vec<Vec<u8>> = words.collect();
        let key = rest.first().and_then(|word| number(word)).and_then(KeySerial::new);
        let unusable =
            |offence: String, config: &Option<PathBuf>| Unusable { config: config.clone(), key, offence };
        if operation.as_deref() != Some(b"create") {
            let offence = match &operation {
                None => "it passes no words".to_owned(),
                Some(word) => {
                    format!("\"{}\" stands where %o, an option or its value is expected", shown(word))
                }
            };
            return Err(unusable(offence, &config));
        }
        let realm = realm
            .map_err(|word| unusable(format!("the realm \"{}\" is not UTF-8", shown(&word)), &config))?;
        let count = rest.len() + 1;
        let [_, key_type, description, callout, uid, gid, thread, process, session] =
            <[Vec<u8>; 9]>::try_from(rest)
                .map_err(|_| unusable(format!("it passes {count} words instead of 10"), &config))?;
        let not_a_number = |name: &str, word: &[u8]| {
            unusable(format!("\"{}\" stands where {name}, a number, is expected", shown(word)), &config)
        };
        let id = |name: &str, word: &[u8]| {
            std::str::from_utf8(word).ok().and_then(id_of_kernel).ok_or_else(|| not_a_number(name, word))
        };
        let ring = |name: &str, word: &[u8]| number(word).ok_or_else(|| not_a_number(name, word));
        let (uid, gid) = (id("%u", &uid)?, id("%g", &gid)?);
        let (thread_ring, process_ring, session_ring) =
            (ring("%T", &thread)?, ring("%P", &process)?, ring("%S", &session)?);
        let key =
            key.ok_or_else(|| unusable("no key's number stands where %k is expected".to_owned(), &config))?;
        let consumer = if key_type == b"lgssc" { Consumer::Kernel } else { Consumer::Program };
        Ok(Self {
            config,
            realm,
            key,
            key_type,
            consumer,
            description,
            callout,
            uid,
            gid,
            thread_ring,
            process_ring,
            session_ring,
        })
    }
}

impl Invocation {
    /// The keyrings in which the requester may have caches. In a request of Lustre's, the thread keyring is the user's
    /// keyring.
    pub(super) fn lendable_rings(&self) -> Rings {
        let (thread, user) = match self.consumer {
            Consumer::Program => (self.thread_ring, 0),
            Consumer::Kernel => (0, self.thread_ring),
        };
        Rings { thread, process: self.process_ring, session: self.session_ring, user, late: None }
    }
}

/// The options of a rule, and the word after them.
struct RuleOptions {
    config: Option<PathBuf>,
    /// Or a word that is not UTF-8.
    realm: Result<Option<String>, Vec<u8>>,
    operation: Option<Vec<u8>>,
}

impl RuleOptions {
    fn read(words: &mut impl Iterator<Item = Vec<u8>>) -> Self {
        let mut options = Self { config: None, realm: Ok(None), operation: None };
        loop {
            match words.next() {
                Some(word) if word == b"--config" => {
                    options.config = words.next().map(|path| PathBuf::from(OsString::from_vec(path)));
                }
                Some(word) if word == b"-R" || word == b"--realm" => {
                    let realm = words.next().map(String::from_utf8).transpose();
                    options.realm = realm.map_err(|error| error.into_bytes());
                }
                operation => return Self { operation, ..options },
            }
        }
    }
}

/// The start of a word, made printable for the log.
fn shown(word: &[u8]) -> String {
    const LIMIT: usize = 40;
    one_line(&String::from_utf8_lossy(word)).chars().take(LIMIT).collect()
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split('|').map(OsString::from).collect()
    }

    #[test]
    fn options_stand_before_the_words_and_dashes_after_them_are_data() {
        let read =
            Invocation::parse(words("--config|/c|-R|X|create|77|user|--config|-R|1|2|-1|0|5").into_iter())
                .unwrap();
        assert_eq!((read.config, read.realm.as_deref()), (Some("/c".into()), Some("X")));
        assert_eq!((read.description, read.callout), (b"--config".to_vec(), b"-R".to_vec()));
        let bad = Invocation::parse(words("--shell|create|77|user|d|c|1|2|0|0|0").into_iter()).unwrap_err();
        assert_eq!(bad.key, None);
    }

    #[test]
    fn missing_or_surplus_words_are_refused_with_the_key_known_where_possible() {
        for (text, key, offence) in [
            ("create|77|user", Some(77), "3 words instead of 10"),
            ("create|77|u|d|c|1|2|0|0|0|0", Some(77), "11 words instead of 10"),
            ("create|-3", None, "2 words instead of 10"),
            ("create|77|u|d|c|1|x|0|0|0", Some(77), "\"x\" stands where %g"),
            ("create|user|77|d|c|1|2|0|0|0", None, "%k"),
            ("77|create|u|d|c|1|2|0|0|0", None, "\"77\" stands where %o"),
            ("--config|/c|--shell|create|77", Some(77), "\"--shell\" stands where %o"),
            ("", None, "%o"),
        ] {
            let error = Invocation::parse(words(text).into_iter()).unwrap_err();
            assert!(error.offence.contains(offence), "{text}: {error:?}");
            if text.starts_with("create") {
                assert_eq!(error.key.map(KeySerial::raw), key, "{text}");
            }
        }
    }

    #[test]
    fn ids_from_2_to_the_31_on_come_as_negative_numbers() {
        let read =
            Invocation::parse(words("create|77|user|d|c|-4096|-2147483648|0|0|0").into_iter()).unwrap();
        assert_eq!((read.uid, read.gid), (0xffff_f000, 1 << 31));
    }

    #[test]
    fn a_realm_that_is_not_utf_8_is_the_rules_fault_and_no_other_realm_serves() {
        let mut all = words("--config|/c|-R|X|create|77|user|d|c|1|2|0|0|0");
        all[3] = OsString::from_vec(vec![b'X', 0xff]);
        let error = Invocation::parse(all.into_iter()).unwrap_err();
        assert!(error.offence.contains("\" is not UTF-8"), "{error:?}");
        assert_eq!((error.config, error.key), (Some("/c".into()), KeySerial::new(77)));
    }
}
