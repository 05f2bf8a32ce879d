//! FILE caches of version 4 (krb5 documentation, "Credential cache file format"), taken apart so that a test can leave
//! something out or change what programs read about a ticket.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// `05 04`, and no header fields.
const VERSION_4: [u8; 4] = [5, 4, 0, 0];
const RENEWABLE: u32 = 0x0080_0000;

/// A parsed cache.
#[derive(Debug, Clone)]
pub(crate) struct CacheFile {
    client: Vec<u8>,
    pub(crate) credentials: Vec<Credential>,
}

/// A ticket and its fields in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    /// What it is for: `krbtgt/REALM@REALM`.
    pub(crate) server: String,
    /// The credential's bytes in the file.
    pub(crate) bytes: Vec<u8>,
    /// Offset of the four times; the flags follow one byte after them.
    times: usize,
    /// Offset of the session key, which begins with its encryption type.
    session_key: usize,
}

impl CacheFile {
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        let mut cursor = Cursor { content: fs::read(path).unwrap(), at: 0 };
        assert_eq!(cursor.take(2), [5, 4], "{}: not version 4", path.display());
        let header = u16::from_be_bytes(cursor.take(2).try_into().unwrap());
        cursor.take(header.into());
        let begin = cursor.at;
        cursor.principal();
        let client = cursor.content[begin..cursor.at].to_vec();
        let mut credentials = Vec::new();
        while cursor.at < cursor.content.len() {
            credentials.push(cursor.credential());
        }
        Self { client, credentials }
    }

    /// Keeps the tickets whose service begins with this.
    pub(crate) fn only(mut self, service: &str) -> Self {
        self.credentials.retain(|credential| credential.server.starts_with(service));
        assert!(!self.credentials.is_empty(), "no ticket for {service}");
        self
    }

    /// Changes every ticket.
    pub(crate) fn with(mut self, change: impl Fn(&mut Credential)) -> Self {
        self.credentials.iter_mut().for_each(change);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let credentials = self.credentials.iter().map(|credential| credential.bytes.as_slice());
        [VERSION_4.as_slice(), &self.client].into_iter().chain(credentials).collect::<Vec<_>>().concat()
    }

    /// The same with a header that says that the KDC's clock was so many seconds ahead (tag 1, DeltaTime).
    pub(crate) fn bytes_ahead(&self, seconds: i32) -> Vec<u8> {
        let header = [&[5, 4, 0, 12, 0, 1, 0, 8][..], &seconds.to_be_bytes(), &[0; 4]].concat();
        let bytes = self.bytes();
        [&header, &bytes[VERSION_4.len()..]].concat()
    }

    /// Writes the cache as a file of this user.
    #[track_caller]
    pub(crate) fn write(&self, path: &Path, owner: u32) {
        plant(path, &self.bytes(), owner);
    }
}

/// Writes a file that this user alone may read.
#[track_caller]
pub(crate) fn plant(path: &Path, content: &[u8], owner: u32) {
    // In /tmp, root may not write into a user's file that is there (fs.protected_regular).
    let _ = fs::remove_file(path);
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(path, Some(owner), Some(owner)).unwrap();
}

impl Credential {
    /// Programs that only look at the cache see an end so many seconds later.
    pub(crate) fn prolong(&mut self, seconds: i32) {
        let end = self.field(8).wrapping_add_signed(seconds);
        self.set_field(8, end);
    }

    /// Programs that only look at the cache see a ticket that cannot be renewed.
    pub(crate) fn make_final(&mut self) {
        self.set_field(12, 0);
        let flags = self.field(17) & !RENEWABLE;
        self.set_field(17, flags);
    }

    /// Damages the ticket, so that its KDC rejects it.
    pub(crate) fn spoil(&mut self) {
        // The last four bytes are the length of the second ticket, which is absent.
        let at = self.bytes.len() - 10;
        self.bytes[at] ^= 0xff;
    }

    /// The bytes of its session key.
    pub(crate) fn session_key(&self) -> &[u8] {
        let (length, bytes) = self.bytes[self.session_key + 2..].split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap());
        &bytes[..usize::try_from(length).unwrap()]
    }

    /// Programs see a session key of this encryption type.
    pub(crate) fn set_session_enctype(&mut self, enctype: u16) {
        self.bytes[self.session_key..self.session_key + 2].copy_from_slice(&enctype.to_be_bytes());
    }

    fn field(&self, offset: usize) -> u32 {
        let at = self.times + offset;
        u32::from_be_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn set_field(&mut self, offset: usize, value: u32) {
        let at = self.times + offset;
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
}

/// A reader's position.
struct Cursor {
    content: Vec<u8>,
    at: usize,
}

impl Cursor {
    fn take(&mut self, length: usize) -> &[u8] {
        self.at += length;
        &self.content[self.at - length..self.at]
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn counted(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.number()).unwrap();
        self.take(length).to_vec()
    }

    fn principal(&mut self) -> String {
        let (_kind, components) = (self.number(), self.number());
        let mut text = || String::from_utf8(self.counted()).unwrap();
        let realm = text();
        let components: Vec<String> = (0..components).map(|_| text()).collect();
        format!("{}@{realm}", components.join("/"))
    }

    fn credential(&mut self) -> Credential {
        let begin = self.at;
        let [_client, server] = [self.principal(), self.principal()];
        let session_key = self.at - begin;
        self.take(2);
        self.counted();
        let times = self.at - begin;
        self.take(4 * 4 + 1 + 4);
        // Addresses and authorisation data.
        for _ in 0..2 {
            for _ in 0..self.number() {
                self.take(2);
                self.counted();
            }
        }
        let [_ticket, _second] = [self.counted(), self.counted()];
        Credential { server, bytes: self.content[begin..self.at].to_vec(), times, session_key }
    }
}
