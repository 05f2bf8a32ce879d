//! As much of NFSv4.0 (RFC 7530) as it takes to read a directory, and to make one.

use std::error::Error;
use std::fmt;
use std::io;

use lgss::rpc::{Client, WireError, XdrDecoder, XdrEncoder};

/// Procedure 1 carries a list of operations (§15.2).
const COMPOUND: u32 = 1;
/// Bytes of names, and of a whole answer, that one READDIR asks for.
const DIRECTORY_BYTES: u32 = 64 * 1024;
const ANSWER_BYTES: u32 = 256 * 1024;
/// Longest name that is accepted, in bytes.
const NAME_LIMIT: usize = 4096;
/// Longest set of attributes that an answer may have, though none are asked for.
const ATTRIBUTES_LIMIT: usize = 64 * 1024;

/// An operation's number (§16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Operation {
    Create = 6,
    Lookup = 15,
    PutRootFh = 24,
    ReadDir = 26,
    RestoreFh = 31,
    SaveFh = 32,
}

/// What the server says of an operation that it has not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NfsStatus(pub(crate) u32);

impl fmt::Display for NfsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            1 => "not the owner (NFS4ERR_PERM)",
            2 => "no such directory (NFS4ERR_NOENT)",
            13 => "permission denied (NFS4ERR_ACCESS)",
            17 => "it exists already (NFS4ERR_EXIST)",
            20 => "not a directory (NFS4ERR_NOTDIR)",
            10016 => "another protection is wanted here (NFS4ERR_WRONGSEC)",
            other => return write!(f, "nfsstat4 {other}"),
        };
        f.write_str(words)
    }
}

impl Error for NfsStatus {}

/// Calls `take` for each name in the directory, in the server's order.
///
/// # Errors
/// [`lgss::rpc::RpcError`], [`NfsStatus`], [`WireError`] for an answer that is none, and those of `take`.
pub(crate) fn each_name(
    client: &Client,
    path: &str,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let (mut cookie, mut verifier) = (0, [0; 8]);
    loop {
        let mut compound = Compound::at(path)?;
        compound.operation(Operation::ReadDir).u64(cookie).fixed(&verifier);
        // No attributes: an empty bitmap.
        compound.arguments.u32(DIRECTORY_BYTES).u32(ANSWER_BYTES).u32(0);
        let results = client.call(COMPOUND, &compound.encode())?;
        let mut answer = compound.answers(&results, 1)?;
        passed(&mut answer, Operation::ReadDir)?;
        verifier = answer.fixed(8)?.try_into()?;
        let before = cookie;
        while answer.bool()? {
            cookie = answer.u64()?;
            take(answer.opaque(NAME_LIMIT)?)?;
            let words = answer.u32()?;
            (0..words).try_for_each(|_| answer.u32().map(drop))?;
            answer.opaque(ATTRIBUTES_LIMIT)?;
        }
        if answer.bool()? {
            return Ok(());
        }
        if cookie == before {
            return Err("the server gives no more names, and does not say that these are all".into());
        }
    }
}

/// Makes directories in the directory; for tests that need names.
///
/// # Errors
/// As [`each_name`].
#[allow(dead_code, reason = "the example only reads")]
pub(crate) fn make_directories(client: &Client, path: &str, names: &[String]) -> Result<(), Box<dyn Error>> {
    let mut compound = Compound::at(path)?;
    compound.operation(Operation::SaveFh);
    for name in names {
        // nfs_ftype4 NF4DIR, and no attributes.
        compound.operation(Operation::Create).u32(2).opaque(name.as_bytes())?.u32(0).u32(0);
        compound.operation(Operation::RestoreFh);
    }
    let results = client.call(COMPOUND, &compound.encode())?;
    let mut answer = compound.answers(&results, 2 * names.len() + 1)?;
    passed(&mut answer, Operation::SaveFh)?;
    for _ in names {
        passed(&mut answer, Operation::Create)?;
        // change_info4 and the attributes that were set.
        answer.fixed(4 + 8 + 8)?;
        let words = answer.u32()?;
        (0..words).try_for_each(|_| answer.u32().map(drop))?;
        passed(&mut answer, Operation::RestoreFh)?;
    }
    Ok(())
}

/// Operations that are carried out in order, until one fails.
struct Compound {
    arguments: XdrEncoder,
    count: u32,
    /// Those that lead to the directory.
    on_the_way: Vec<Operation>,
}

impl Compound {
    /// From the root to the directory.
    fn at(path: &str) -> Result<Self, WireError> {
        let mut compound = Self { arguments: XdrEncoder::new(), count: 0, on_the_way: Vec::new() };
        compound.operation(Operation::PutRootFh);
        compound.on_the_way.push(Operation::PutRootFh);
        for component in path.split('/').filter(|component| !component.is_empty()) {
            compound.operation(Operation::Lookup).opaque(component.as_bytes())?;
            compound.on_the_way.push(Operation::Lookup);
        }
        Ok(compound)
    }

    fn operation(&mut self, operation: Operation) -> &mut XdrEncoder {
        self.count += 1;
        self.arguments.u32(operation as u32)
    }

    /// With an empty tag, minor version 0.
    fn encode(&self) -> Vec<u8> {
        let mut head = XdrEncoder::new();
        head.u32(0).u32(0).u32(self.count);
        [head.as_slice(), self.arguments.as_slice()].concat()
    }

    /// The results of the operations that follow the way to the directory, of which there are `more`.
    fn answers<'a>(&self, results: &'a [u8], more: usize) -> Result<XdrDecoder<'a>, Box<dyn Error>> {
        let mut answer = XdrDecoder::new(results);
        let status = answer.u32()?;
        answer.opaque(NAME_LIMIT)?;
        let count = usize::try_from(answer.u32()?)?;
        // Too few answers end in the one that failed, which says why.
        if status == 0 && count != self.on_the_way.len() + more {
            return Err("the server answers to other operations than these".into());
        }
        self.on_the_way.iter().try_for_each(|&operation| passed(&mut answer, operation))?;
        Ok(answer)
    }
}

/// Reads past the number and the status of an operation that was carried out.
fn passed(answer: &mut XdrDecoder<'_>, operation: Operation) -> Result<(), Box<dyn Error>> {
    let (number, status) = (answer.u32()?, answer.u32()?);
    if number != operation as u32 {
        return Err(format!("the server answers to operation {number} instead of {operation:?}").into());
    }
    if status == 0 { Ok(()) } else { Err(NfsStatus(status).into()) }
}
