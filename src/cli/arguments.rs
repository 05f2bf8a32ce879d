//! The command line of `lgss`: one record per flag, the source of help, manual page and completion (programs.rs).
//!
//! The first paragraph of a flag's text is its short help (`-h`); `--help` and lgss(1) have the whole text.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;

use super::candidates::{caches, keys, levels, services, users};
use super::exit;
use super::values::{KeyArgument, channel, duration, level, principal, serial, service};
use crate::config::HookName;
use crate::ctx::initiator::Principal;
use crate::ctx::request::{Level, RpcChannel, Service};
use crate::provider::log::LINES_LIMIT;

const ABOUT: &str = "\
Security contexts (GSS, Kerberos 5) in kernel keys: get one, look at them, end them, check the installation.

A context is what a client and a server share once they have authenticated to each other. A program asks the kernel \
for one with request_key(2). The kernel starts lgss_keyring(8), which negotiates in the background, as the user who \
asks, and leaves the context in a key. lgss get is such a program.";

const EXAMPLES: &str = "\
Examples:
  lgss get nfs@srv.example.com --channel rpc:srv.example.com:2049,100003,4
  lgss list
  lgss flush --service nfs@srv.example.com
  lgss config check

When something fails:
  the log of this machine has the exact reason, one line per upcall:
    journalctl -t lgss_keyring
    grep lgss_keyring /var/log/auth.log    without a journal: Debian, Ubuntu
    grep lgss_keyring /var/log/secure      Rocky Linux
    grep lgss_keyring /var/log/messages    SLES
  lgss config check (as root) finds faults in the installation and says what to do
  more: lgss(1), lgss_keyring(8), lgss.toml(5)";

/// `Examples:`, for the end of a command's help.
macro_rules! after_help {
    ($($example:literal),+) => {
        concat!($("\n  ", $example),+).replacen('\n', if [$($example),+].len() > 1 { "Examples:\n" } else { "Example:\n" }, 1)
    };
}

/// The command line of `lgss`.
#[derive(Debug, Parser)]
#[command(
    name = "lgss",
    version,
    about = "Get, list, show and end GSS security contexts in kernel keys",
    long_about = ABOUT,
    after_help = format!("{EXAMPLES}\n\n{}", exit::EXIT_SUMMARY),
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a context with a service, as yourself, and wait until it is established
    #[command(after_help = after_help!("lgss get nfs@srv.example.com --channel rpc:srv.example.com:2049,100003,4"))]
    Get(GetArgs),
    /// Show the context in a key; never its key bytes
    #[command(after_help = after_help!("lgss show 797025216", "lgss show 2f81a3c0 --json"))]
    Show(ShowArgs),
    /// List the contexts that you can see
    #[command(after_help = after_help!("lgss list", "lgss list --json | jq '.[] | select(.state == \"failed\")'"))]
    List(ListArgs),
    /// End contexts, so that the next request negotiates anew
    ///
    /// Also ends the pause that many failures have caused for your requests.
    #[command(after_help = after_help!("lgss flush --service nfs@srv.example.com", "lgss flush 797025216", "lgss flush --all --dry-run"))]
    Flush(FlushArgs),
    /// Show which of your tickets the upcall would use, and why not the others
    #[command(after_help = after_help!("lgss caches --target nfs@srv.example.com", "lgss caches --json | jq -r .would_use"))]
    Caches(CachesArgs),
    /// Show what the log of this machine says of upcalls and caches (root, and members of lgss_helper's group)
    ///
    /// Reads the journal, or else the file of the facility authpriv below /var/log, of which it searches the last 16 MiB.
    #[command(after_help = after_help!("lgss log --user alice", "lgss log -n 1000 | grep nfs@srv"))]
    Log(LogArgs),
    /// Show the settings that are in effect, or check the whole installation
    #[command(subcommand, after_help = after_help!("lgss config show", "lgss config check"))]
    Config(ConfigCommand),
    /// Run one of this machine's own checks
    #[command(subcommand, after_help = after_help!("lgss hook run check-servers"))]
    Hook(HookCommand),
    /// Print the shell function that completes this command
    #[command(after_help = after_help!("lgss completion bash > /etc/bash_completion.d/lgss"))]
    Completion(CompletionArgs),
}

/// `lgss get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The service to authenticate to, such as nfs@srv.example.com
    #[arg(value_name = "SERVICE@HOST", value_parser = service, add = ArgValueCandidates::new(services))]
    pub service: Service,
    /// Where it listens: ONC RPC program and version on a TCP port
    ///
    /// Put an IPv6 address in brackets.
    #[arg(long, value_name = "rpc:HOST:PORT,PROG,VERS", value_parser = channel)]
    pub channel: RpcChannel,
    /// Credential cache to use, and no other [default: the first that lgss caches shows]
    ///
    /// Named as in KRB5CCNAME: types FILE, DIR, KCM and KEYRING. lgss caches lists yours in order of use.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(caches))]
    pub cache: Option<String>,
    /// Principal that the context must speak for, such as alice@EXAMPLE.COM
    ///
    /// A new context replaces one that you already have and that speaks for another principal. Without a usable ticket
    /// of this principal the command fails.
    #[arg(long, value_name = "PRINCIPAL", value_parser = principal)]
    pub principal: Option<Principal>,
    /// Protection to ask for: n none, a authentication, i integrity, p privacy
    ///
    /// The names that NFS uses work, too: krb5, krb5i, krb5p.
    #[arg(long, value_name = "n|a|i|p", default_value = "a", value_parser = level, add = ArgValueCandidates::new(levels))]
    pub level: Level,
    /// How long to wait for the outcome: seconds, or a number with a unit, such as 500ms, 5s or 2min
    ///
    /// When the time is up, the negotiation goes on: look at the key later.
    #[arg(long, value_name = "TIME", default_value = "200s", value_parser = duration)]
    pub timeout: Duration,
    /// Print one JSON object, whatever the outcome
    #[arg(long)]
    pub json: bool,
}

/// `lgss show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The key's number: decimal, 0x and hexadecimal, or the eight hexadecimal digits of the log
    #[arg(value_name = "SERIAL", value_parser = serial, add = ArgValueCandidates::new(keys))]
    pub key: KeyArgument,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lgss list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Also the contexts in the user keyrings of all users (root, and members of lgss_helper's group)
    ///
    /// Other users see only their own.
    #[arg(long)]
    pub all: bool,
    /// The contexts of this user, a name or a number (root, and members of lgss_helper's group)
    ///
    /// Contexts that are only in session keyrings cannot be seen that way.
    #[arg(long, value_name = "USER", conflicts_with = "all", add = ArgValueCandidates::new(users))]
    pub user: Option<String>,
    /// Print a JSON array; its objects are those of show --json
    #[arg(long)]
    pub json: bool,
}

/// `lgss flush`.
#[derive(Debug, Args)]
pub(crate) struct FlushArgs {
    /// End the contexts in these keys, named as for show
    #[arg(value_name = "SERIAL", value_parser = serial, conflicts_with_all = ["service", "all", "user", "machine"], add = ArgValueCandidates::new(keys))]
    pub keys: Vec<KeyArgument>,
    /// End the contexts with this service
    #[arg(long, value_name = "NAME@HOST", value_parser = service, add = ArgValueCandidates::new(services))]
    pub service: Option<Service>,
    /// End all your contexts; as root, also those in the user keyrings of all users
    ///
    /// With --service, only those with that service.
    #[arg(long)]
    pub all: bool,
    /// End the contexts of this user, a name or a number (root, and members of lgss_helper's group)
    ///
    /// Those in the user's keyring; contexts that are only in session keyrings cannot be reached. With --service, only those
    /// with that service.
    #[arg(long, alias = "uid", value_name = "USER", conflicts_with = "all", add = ArgValueCandidates::new(users))]
    pub user: Option<String>,
    /// Drop the tickets that this machine's requests share, so that the next one gets new ones (root)
    ///
    /// These are the tickets that the upcall got with the keytab, for Lustre. Root's default cache stays as it is (use
    /// kdestroy), and so do existing contexts.
    #[arg(long, conflicts_with_all = ["service", "all", "user", "json"])]
    pub machine: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print a JSON array with an object for each context
    #[arg(long)]
    pub json: bool,
}

/// `lgss caches`.
#[derive(Debug, Args)]
pub(crate) struct CachesArgs {
    /// The tickets of this user, a name or a number (root, and members of lgss_helper's group)
    ///
    /// Does not show caches that only KRB5CCNAME of a program names, nor keyrings of sessions, processes and threads.
    #[arg(long, value_name = "USER", add = ArgValueCandidates::new(users))]
    pub user: Option<String>,
    /// Rank for this service [default: for no particular service]
    ///
    /// Its realm is found as krb5.conf says, which may query a name service but never a KDC.
    #[arg(long, value_name = "SERVICE@HOST", value_parser = service, add = ArgValueCandidates::new(services))]
    pub target: Option<Service>,
    /// Settings from this file [default: the file that the request-key rule names, else /etc/lgss/lgss.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print what was found as lgss_helper passes it on
    #[arg(long, hide = true)]
    pub found: bool,
}

/// `lgss log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only lines about this user, a name or a number
    #[arg(long, value_name = "USER", add = ArgValueCandidates::new(users))]
    pub user: Option<String>,
    /// Most lines; the latest count
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LINES_LIMIT.into()))]
    pub lines: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lgss config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting in effect, and whether the file sets it
    #[command(after_help = after_help!("lgss config show", "lgss config show --config /etc/lgss/site.toml --json", "lgss config show --classes"))]
    Show(ConfigShowArgs),
    /// Check settings, programs, directories and the request-key rule, and say what to do
    #[command(after_help = after_help!("lgss config check"))]
    Check(ConfigCheckArgs),
}

/// `lgss hook`.
#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// Run a hook and print its result as JSON (root, and members of lgss_helper's group)
    ///
    /// Hooks are programs in /etc/lgss/hooks.d; lgss.toml(5) says what they may do. Whatever goes wrong, the command says only
    /// that there is no result; lgss log, as root, has the reason. A failure takes some seconds, for which other runs wait.
    #[command(after_help = after_help!("lgss hook run check-servers"))]
    Run(HookRunArgs),
}

/// `lgss hook run`.
#[derive(Debug, Args)]
pub(crate) struct HookRunArgs {
    /// The hook's name
    #[arg(value_name = "NAME", required_unless_present = "for_uid")]
    pub name: Option<HookName>,
    /// Settings from this file [default: the file that the request-key rule names, else /etc/lgss/lgss.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run the one that LGSS_HOOK names for this uid, and print what lgss_helper passes on
    #[arg(long, hide = true, conflicts_with = "name")]
    pub for_uid: Option<u32>,
}

/// `lgss config show`.
#[derive(Debug, Args)]
pub(crate) struct ConfigShowArgs {
    /// Settings from this file [default: the file that the request-key rule names, else /etc/lgss/lgss.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Instead of settings, print what may become of each: which class it has
    ///
    /// The same of each field of a request and of the messages between the programs. No settings are read.
    #[arg(long, conflicts_with = "config")]
    pub classes: bool,
    /// Print one JSON object; of classes, an array
    #[arg(long)]
    pub json: bool,
}

/// `lgss config check`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCheckArgs {
    /// Settings from this file [default: the file that the request-key rule names, else /etc/lgss/lgss.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print a JSON array of findings
    #[arg(long)]
    pub json: bool,
    /// Look for the request-key rules below this directory (for packagers)
    ///
    /// Reads DIR/etc/request-key.d and DIR/etc/request-key.conf. The programs that the rules name must be on this machine.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// `lgss completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "bash|zsh|fish", value_parser = ["bash", "zsh", "fish"])]
    pub shell: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_defaults_are_the_documented_ones() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        let Command::Get(get) =
            Arguments::try_parse_from(["lgss", "get", "nfs@h", "--channel", "rpc:[::1]:1,2,3"])
                .unwrap()
                .command
        else {
            panic!("not get");
        };
        assert_eq!((get.level, get.timeout), (Level::Authentication, Duration::from_secs(200)));
    }
}
