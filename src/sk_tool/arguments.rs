//! The command line of `lgss_sk`: that of Lustre's tool, and the words `list` and `rotate`. One record per option is the
//! source of help, manual page and completion.

use std::path::{Path, PathBuf};

use clap::{
    ArgGroup, Args, Command, CommandFactory, Parser, Subcommand, error::ContextKind, error::ErrorKind,
};
use clap_complete::ArgValueCandidates;

use super::failure::SkFailure;
use super::values::{self, KEY_BITS, NidList, PRIME_BITS, ciphers, hmacs, types};
use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyTypes};

const ABOUT: &str = "\
Lustre's shared keys: make, show, change, load and replace them.

Clients and servers of a file system authenticate to each other with a shared secret. A key file holds the secret and its parameters; loaded into root's user keyring, it serves the flavours skn, ska, ski and skpi.";

const EXAMPLES: &str = "\
Examples:
  lgss_sk -t server,mgs -f scratch -w scratch.server.key
  cp scratch.server.key scratch.client.key
  lgss_sk -t client -g 10.0.0.1@tcp -m scratch.client.key
  lgss_sk -r scratch.client.key
  lgss_sk -l scratch.client.key
  lgss_sk list
  lgss_sk rotate scratch.server.key scratch.client.key

Exit status:
  0  everything was done
  1  something failed, or the command line cannot be understood";

const OPERATIONS: &str = "Operations (choose one)";
const ATTRIBUTES: &str = "With --write and --modify";
const LOADING: &str = "With --load";

/// The command line of `lgss_sk`.
#[derive(Debug, Parser)]
#[command(
    name = "lgss_sk",
    version,
    about = "Make, show, change, load and replace Lustre's shared keys",
    long_about = ABOUT,
    after_help = EXAMPLES,
    max_term_width = 100,
    override_usage = "lgss_sk [OPTIONS] {-l|-R|-r|-m|-w} FILE\n       lgss_sk list [--json]\n       lgss_sk rotate FILE...",
    group = ArgGroup::new("operation").args(["load", "remove", "read", "modify", "write"]).required(true),
    // As Lustre's tool has it.
    args_override_self = true,
    infer_long_args = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(super) struct SkArguments {
    /// Load the file's key into root's user keyring
    ///
    /// Its group must not be able to read or write the file, nor others to write or execute it. A loaded client key with a different secret is kept for two days as NAME#previous.
    #[arg(short, long, value_name = "FILE", help_heading = OPERATIONS)]
    pub load: Option<PathBuf>,
    /// Remove the file's key from the keyring
    ///
    /// Keys with a time in their names and keys for single mounts are removed only if they have the file's secret.
    #[arg(short = 'R', long, value_name = "FILE", help_heading = OPERATIONS)]
    pub remove: Option<PathBuf>,
    /// Print the file's attributes
    ///
    /// The file - is the standard input: keyctl pipe KEY | lgss_sk -r -
    #[arg(short, long, value_name = "FILE", help_heading = OPERATIONS)]
    pub read: Option<PathBuf>,
    /// Change the file's attributes; secret and form stay the same
    #[arg(short, long, value_name = "FILE", help_heading = OPERATIONS)]
    pub modify: Option<PathBuf>,
    /// Make a new file; needs --type, and --fsname or --mgsnids
    #[arg(short, long, value_name = "FILE", help_heading = OPERATIONS)]
    pub write: Option<PathBuf>,
    /// Write the file as text [default: binary]
    #[arg(short, long, help_heading = ATTRIBUTES)]
    pub ascii: bool,
    /// Cipher: AES-256-CTR (or ctr(aes)), NONE (or null) [default: AES-256-CTR]
    #[arg(short, long, value_name = "NAME", help_heading = ATTRIBUTES, value_parser = values::cipher, add = ArgValueCandidates::new(ciphers))]
    pub crypt: Option<CipherAlgorithm>,
    /// Hash for signatures: SHA256, SHA512, NONE (or null) [default: SHA256]
    ///
    /// Also --integrity.
    #[arg(short = 'i', long, alias = "integrity", value_name = "NAME", help_heading = ATTRIBUTES, value_parser = values::hmac, add = ArgValueCandidates::new(hmacs))]
    pub hmac: Option<HmacAlgorithm>,
    /// Read the secret from this file [default: the kernel's random source]
    ///
    /// As many bytes as --key-bits says.
    #[arg(short, long, value_name = "FILE", help_heading = ATTRIBUTES, conflicts_with = "modify")]
    pub data: Option<PathBuf>,
    /// Seconds that a context lasts, 60 to 2147483647 [default: 604800, in FIPS mode 86400]
    #[arg(short, long, value_name = "SECONDS", help_heading = ATTRIBUTES, value_parser = values::expire)]
    pub expire: Option<u32>,
    /// File system
    ///
    /// At most 64 bytes: printable ASCII characters, without blanks and without : # /. With --modify, an empty name
    /// clears it.
    #[arg(short, long, value_name = "NAME", help_heading = ATTRIBUTES, value_parser = values::name)]
    pub fsname: Option<String>,
    /// Network identifiers of the MGS, separated by commas, such as 10.0.0.1@tcp
    ///
    /// At most 16. With --modify, an empty list clears them.
    #[arg(short = 'g', long, value_name = "NIDS", help_heading = ATTRIBUTES, value_parser = values::nids)]
    pub mgsnids: Option<NidList>,
    /// Nodemap that the server puts the client into [default: default]
    ///
    /// At most 16 bytes, of the same characters as the file system.
    #[arg(short, long, value_name = "NAME", help_heading = ATTRIBUTES, value_parser = values::nodemap)]
    pub nodemap: Option<String>,
    /// Length of the prime: 512 to 16384 bits, a multiple of 8 [default: 2048]
    ///
    /// A client's key has a prime; finding one of 2048 bits takes from seconds to a minute, depending on luck and machine. A server's key has only a length: the shortest prime it accepts from a client.
    #[arg(short, long, value_name = "BITS", help_heading = ATTRIBUTES, value_parser = clap::value_parser!(u32).range(PRIME_BITS))]
    pub prime_bits: Option<u32>,
    /// Length of the secret: 8 to 1024 bits, a multiple of 8 [default: 256]
    ///
    /// Also --shared.
    #[arg(short, long, alias = "shared", value_name = "BITS", help_heading = ATTRIBUTES, value_parser = clap::value_parser!(u32).range(KEY_BITS))]
    pub key_bits: Option<u32>,
    /// Who uses the key: client, server, mgs, or several separated by commas
    ///
    /// With --load, only client: a server's file becomes a client's, and is loaded. A file that is a client's already is
    /// loaded for every type that it has.
    #[arg(short = 't', long = "type", value_name = "TYPES", help_heading = ATTRIBUTES, value_parser = values::types_of, add = ArgValueCandidates::new(types))]
    pub types: Option<KeyTypes>,
    /// With --load of a server's key: keep the loaded keys usable for a while
    ///
    /// The new key's name gets the time as a suffix, and the former keys get a timeout.
    #[arg(short, long, help_heading = LOADING)]
    pub suffix: bool,
    /// With --suffix: the timeout in seconds, 1 or more [default: 172800]
    #[arg(short = 'x', long, value_name = "SECONDS", help_heading = LOADING, value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
    /// With --load of a client's key: load it for the client that has mounted this directory
    #[arg(short, long, value_name = "DIR", help_heading = LOADING)]
    pub update: Option<PathBuf>,
    /// With --read: print the bytes of the secret, too
    #[arg(long)]
    pub show_secret: bool,
    /// Print each step
    #[arg(short, long)]
    pub verbose: bool,
    /// Words in the place of options.
    #[command(subcommand)]
    pub command: Option<SkCommand>,
}

/// Words that Lustre's tool does not have.
#[derive(Debug, Subcommand)]
pub(super) enum SkCommand {
    /// List the shared keys that are loaded; never their secrets
    List(SkListArgs),
    /// Make successors for keys, and print the order in which to load them
    ///
    /// A successor has the same parameters, a new secret and, for a client, a new prime. It is written beside its FILE as
    /// FILE.new. Files with the same secret get the same new secret, so name those of servers and clients in one call.
    Rotate(RotateArgs),
}

/// `lgss_sk list`.
#[derive(Debug, Args)]
pub(super) struct SkListArgs {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `lgss_sk rotate`.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// Key files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// What a call does with which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Load(&'a Path),
    Remove(&'a Path),
    Read(&'a Path),
    Modify(&'a Path),
    Write(&'a Path),
}

impl Operation<'_> {
    /// The option that asks for it.
    pub(super) fn option(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Remove(_) => "remove",
            Self::Read(_) => "read",
            Self::Modify(_) => "modify",
            Self::Write(_) => "write",
        }
    }
}

impl SkArguments {
    /// The operation, if the other options fit it.
    ///
    /// # Errors
    /// [`SkFailure::Usage`].
    pub(super) fn operation(&self) -> Result<Operation<'_>, SkFailure> {
        let all = [
            self.load.as_deref().map(Operation::Load),
            self.remove.as_deref().map(Operation::Remove),
            self.read.as_deref().map(Operation::Read),
            self.modify.as_deref().map(Operation::Modify),
            self.write.as_deref().map(Operation::Write),
        ];
        let one = all.into_iter().flatten().next();
        let operation =
            one.ok_or_else(|| usage("name one of --load, --remove, --read, --modify, --write"))?;
        match self.misfit(&operation) {
            Some(complaint) => Err(usage(complaint)),
            None => Ok(operation),
        }
    }

    /// What does not go together.
    fn misfit(&self, operation: &Operation<'_>) -> Option<&'static str> {
        let loads = matches!(operation, Operation::Load(_));
        let writes = matches!(operation, Operation::Write(_));
        let names_an_mgs = self.mgsnids.as_ref().is_some_and(|list| !list.0.is_empty());
        let only_client = KeyTypes { client: true, ..KeyTypes::default() };
        let misfits = [
            (self.suffix && !loads, "--suffix is for --load"),
            (self.update.is_some() && !loads, "--update is for --load"),
            (self.timeout.is_some() && !self.suffix, "--timeout is for --suffix"),
            (self.show_secret && !matches!(operation, Operation::Read(_)), "--show-secret is for --read"),
            (writes && self.types.is_none(), "--write needs --type"),
            (
                writes && self.fsname.as_deref().is_none_or(str::is_empty) && !names_an_mgs,
                "--write needs --fsname or --mgsnids",
            ),
            (
                loads && self.types.is_some_and(|types| types != only_client),
                "with --load, --type can only be client",
            ),
        ];
        misfits.into_iter().find(|(is_one, _)| *is_one).map(|(_, complaint)| complaint)
    }

    /// Options that were given, and that this operation does not look at.
    pub(super) fn without_effect(&self, operation: &Operation<'_>) -> Vec<&'static str> {
        let makes = matches!(operation, Operation::Modify(_) | Operation::Write(_));
        let loads = matches!(operation, Operation::Load(_));
        let is_new = matches!(operation, Operation::Write(_));
        let all = [
            ("ascii", self.ascii, makes),
            ("crypt", self.crypt.is_some(), makes),
            ("hmac", self.hmac.is_some(), makes),
            ("data", self.data.is_some(), is_new),
            ("expire", self.expire.is_some(), makes),
            ("fsname", self.fsname.is_some(), makes),
            ("mgsnids", self.mgsnids.is_some(), makes),
            ("nodemap", self.nodemap.is_some(), makes),
            ("prime-bits", self.prime_bits.is_some(), makes || (loads && self.types.is_some())),
            ("key-bits", self.key_bits.is_some(), is_new),
            ("type", self.types.is_some(), makes || loads),
        ];
        all.into_iter().filter(|(_, given, counts)| *given && !counts).map(|(name, ..)| name).collect()
    }
}

/// The command line as a record, for the manual page and for completion.
pub fn record() -> Command {
    SkArguments::command()
}

/// What is wrong with a command line whose first word is none of ours, unless that resembles one: mostly a file without an
/// operation.
pub(super) fn without_operation(error: clap::Error) -> clap::Error {
    let is_strange =
        error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_none();
    let complaint = "name an operation before the file: -l, -R, -r, -m or -w";
    if is_strange {
        SkArguments::command().error(ErrorKind::MissingRequiredArgument, complaint)
    } else {
        error
    }
}

fn usage(complaint: &str) -> SkFailure {
    SkFailure::Usage(Box::new(SkArguments::command().error(ErrorKind::MissingRequiredArgument, complaint)))
}
