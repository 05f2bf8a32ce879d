//! Command lines of all programs as records, for manual pages and completion, and for tests of both.
//!
//! `lgss_keyring` and `lgss_kcm` do not parse their command lines with these, since they must be small
//! (src/upcall/invocation.rs, src/kcm/options.rs). Tests compare the two.

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

/// Command line of `lgss_kcm`.
pub fn lgss_kcm() -> Command {
    let option = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(value).help(help)
    };
    Command::new("lgss_kcm")
        .about("gives connections to the credential cache socket to each user's own agent")
        .disable_help_flag(true)
        .arg(
            option(
                "socket",
                "PATH",
                "The socket to make, unless one is passed. Its directory and every one above belong to root and are \
                 writable by nobody else.",
            )
            .default_value("/run/.heim_org.h5l.kcm-socket"),
        )
        .arg(
            option(
                "agent",
                "PATH",
                "The agent's program. It and every directory above it belong to root and are writable by nobody else. \
                 Everybody may execute it. It is opened when lgss_kcm starts: a program that is installed later serves \
                 after a restart.",
            )
            .default_value("/usr/libexec/lgss/lgss_agent"),
        )
        .arg(option(
            "agent-config",
            "FILE",
            "Agents read their settings from this file, named by its whole path, instead of /etc/lgss/lgss.toml. \
             They read it as their users.",
        ))
        .arg(
            option("user", "NAME", "The system user that lgss_kcm and root's agent run as, or its number.")
                .default_value("lgss-kcm"),
        )
        .arg(option(
                "log-socket",
                "PATH",
                "The system log's socket. Agents take log.socket of their settings, and /dev/log until they have read them.",
            ).default_value("/dev/log"))
        .arg(option("agents", "N", "Most agents at a time, up to 4096.").default_value("512"))
        .arg(
            option(
                "agents-per-owner",
                "N",
                "Most agents at a time for one range of subordinate uids, all of which are one user's.",
            )
            .default_value("32"),
        )
        .arg(
            option("connections", "N", "Most connections of one user in a second. Twice as many may come at once.")
                .default_value("500"),
        )
}

/// Command line of `lgss_negotiate`, which takes no words.
pub fn lgss_negotiate() -> Command {
    Command::new("lgss_negotiate").about("worker of lgss_keyring").disable_help_flag(true)
}
