//! Command lines of all programs as records, for manual pages and completion, and for tests of both.
//!
//! `lgss_keyring` does not parse its command line with these: it must be small, and takes root's words in one form only
//! (src/upcall/invocation.rs). A test compares the two.

use clap::{Arg, Command, CommandFactory};

use super::arguments::Arguments;

/// Command line of `lgss`.
pub fn lgss() -> Command {
    Arguments::command()
}

/// Command line of `lgss_keyring`.
pub fn lgss_keyring() -> Command {
    let option = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(value).help(help)
    };
    let words = ["KEY", "TYPE", "DESCRIPTION", "CALLOUT", "UID", "GID", "THREAD-KEYRING", "PROCESS-KEYRING"];
    let word = |name: &'static str| Arg::new(name).value_name(name).required(true);
    Command::new("lgss_keyring")
        .about("request_key upcall that puts GSS security contexts into kernel keys")
        .disable_help_flag(true)
        .arg(option(
            "config",
            "FILE",
            "Settings from this file instead of /etc/lgss/lgss.toml. The file and every directory above it must belong \
             to root and be writable by nobody else.",
        ))
        .arg(
            option(
                "realm",
                "REALM",
                "Realm of this machine's own credentials, for Lustre. No effect on keys of type user.",
            )
            .short('R'),
        )
        .arg(Arg::new("operation").value_name("create").required(true))
        .args(words.map(word))
        .arg(word("SESSION-KEYRING"))
}

/// Command line of `lgss_agent`.
pub fn lgss_agent() -> Command {
    let option = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(value).help(help)
    };
    Command::new("lgss_agent")
        .about("keeps a user's Kerberos credential caches (KCM)")
        .disable_help_flag(true)
        .arg(option("socket", "PATH", "Make this socket and take the user's connections there."))
        .arg(option("door", "N", "Descriptor of a socket by which lgss_kcm passes connections on."))
        .arg(option(
            "for-uid",
            "UID",
            "With --door, the user whose connections are taken: the one who runs the program, or 0, whose caches \
             the user of lgss_kcm keeps.",
        ))
        .arg(option(
            "config",
            "FILE",
            "Settings from this file instead of /etc/lgss/lgss.toml. The file and every directory above it must belong \
             to root and be writable by nobody else.",
        ))
}

/// Command line of `lgss_negotiate`, which takes no words.
pub fn lgss_negotiate() -> Command {
    Command::new("lgss_negotiate").about("worker of lgss_keyring").disable_help_flag(true)
}
