//! The command line. There is no file of settings: what there is to set are limits and places.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::identity::system_user::KCM_USER;

/// What the words ask for.
#[derive(Debug)]
pub(super) enum KcmCommand {
    Serve(Box<KcmOptions>),
    /// Whether a restart with these would succeed.
    Try(Box<KcmOptions>),
    Help,
    Version,
}

/// Places and limits.
#[derive(Debug)]
pub(super) struct KcmOptions {
    /// The socket that is made, if none is passed.
    pub socket: PathBuf,
    /// The agent's program.
    pub agent: PathBuf,
    /// What every agent is told to read its settings from.
    pub agent_config: Option<PathBuf>,
    /// Who this program and root's agent are.
    pub user: String,
    /// The log's socket.
    pub log_socket: PathBuf,
    /// Most agents.
    pub agents: u32,
    /// Most agents of one range of subordinate uids.
    pub agents_per_owner: u32,
    /// Most connections of one user in a second.
    pub connections: u32,
    /// Whether this process has executed itself, so that what was given up has been given up already.
    pub restarted: bool,
    /// The words that these were read from, without [`RESTARTED`].
    pub words: Vec<OsString>,
}

/// Words that make no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    /// No such option.
    #[error("{0}: no such option")]
    Unknown(String),
    /// An option at the end.
    #[error("{0}: needs a value")]
    NoValue(String),
    /// No number, or one out of bounds.
    #[error("{option}: {value} is no number from 1 to {most}")]
    Number {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// The greatest number.
        most: u32,
    },
}

/// The word that a program which executes itself adds. It is for nobody else, and makes it give up nothing less: see start.rs.
pub(super) const RESTARTED: &str = "--restarted";

/// The word by which a program looks whether it could take the place of the one that runs, before that gives way: also for nobody
/// else.
pub(super) const TRIED: &str = "--tried";

const SOCKET: &str = "/run/.heim_org.h5l.kcm-socket";
const AGENT: &str = "/usr/libexec/lgss/lgss_agent";
const LOG: &str = "/dev/log";
const AGENTS: u32 = 512;
const AGENTS_PER_OWNER: u32 = 32;
const CONNECTIONS: u32 = 500;
/// Bounds: the kernel's of open files, less what each door takes of it; and what no user needs.
const MOST_AGENTS: u32 = 4096;
const MOST_CONNECTIONS: u32 = 1_000_000;

/// Reads `--NAME VALUE` and `--NAME=VALUE`.
///
/// # Errors
/// [`Unclear`].
pub(super) fn read(words: Vec<OsString>) -> Result<KcmCommand, Unclear> {
    let mut options = KcmOptions {
        socket: SOCKET.into(),
        agent: AGENT.into(),
        agent_config: None,
        user: KCM_USER.to_owned(),
        log_socket: LOG.into(),
        agents: AGENTS,
        agents_per_owner: AGENTS_PER_OWNER,
        connections: CONNECTIONS,
        restarted: false,
        words: words.iter().filter(|word| *word != RESTARTED && *word != TRIED).cloned().collect(),
    };
    let mut is_trial = false;
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        let (option, joined) = parts(&word);
        match option.as_str() {
            "--help" | "-h" => return Ok(KcmCommand::Help),
            "--version" | "-V" => return Ok(KcmCommand::Version),
            RESTARTED => options.restarted = true,
            TRIED => is_trial = true,
            _ => {
                if !OPTIONS.iter().any(|(name, ..)| option.strip_prefix("--") == Some(name)) {
                    return Err(Unclear::Unknown(shown(&word)));
                }
                let value = joined.or_else(|| rest.next()).ok_or(Unclear::NoValue(option.clone()))?;
                options.set(&option, value)?;
            }
        }
    }
    let options = Box::new(options);
    Ok(if is_trial { KcmCommand::Try(options) } else { KcmCommand::Serve(options) })
}

/// Names, values and descriptions, for the help.
const OPTIONS: [(&str, &str, &str); 8] = [
    ("socket", "PATH", "the socket to make, unless the service manager passes one"),
    ("agent", "PATH", "the agent's program"),
    ("agent-config", "FILE", "passed on to every agent as --config"),
    ("user", "NAME", "the system user to run as"),
    ("log-socket", "PATH", "the system log's socket"),
    ("agents", "N", "most agents at a time"),
    ("agents-per-owner", "N", "most of them for one range of subordinate uids (subuid(5))"),
    ("connections", "N", "most connections of one user in a second"),
];

impl KcmOptions {
    fn set(&mut self, option: &str, value: OsString) -> Result<(), Unclear> {
        match option {
            "--socket" => self.socket = value.into(),
            "--agent" => self.agent = value.into(),
            "--agent-config" => self.agent_config = Some(value.into()),
            "--user" => self.user = shown(&value),
            "--log-socket" => self.log_socket = value.into(),
            "--agents" => self.agents = number(option, &value, MOST_AGENTS)?,
            "--agents-per-owner" => self.agents_per_owner = number(option, &value, MOST_AGENTS)?,
            "--connections" => self.connections = number(option, &value, MOST_CONNECTIONS)?,
            _ => return Err(Unclear::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

fn parts(word: &OsStr) -> (String, Option<OsString>) {
    let bytes = word.as_bytes();
    let sign = bytes.iter().position(|&byte| byte == b'=');
    let (name, value) = match sign.and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?))) {
        Some((name, value)) => (name, Some(OsStr::from_bytes(value).to_owned())),
        None => (bytes, None),
    };
    (String::from_utf8_lossy(name).into_owned(), value)
}

fn number(option: &str, value: &OsStr, most: u32) -> Result<u32, Unclear> {
    let read = value.to_str().and_then(|text| text.parse().ok());
    read.filter(|number| (1..=most).contains(number)).ok_or_else(|| Unclear::Number {
        option: option.to_owned(),
        value: shown(value),
        most,
    })
}

fn shown(word: &OsStr) -> String {
    crate::text::one_line(&word.to_string_lossy())
}

/// The text of `--help`.
pub(super) fn help() -> String {
    let lines = OPTIONS.map(|(name, value, what)| {
        format!("  {:<24}  {what}{}\n", format!("--{name} {value}"), default(name))
    });
    format!(
        "lgss_kcm: gives each connection to the system's credential cache socket (KCM) to its user's own agent\n\n\
         {}  --help, --version\n\n\
         SIGHUP: start again by the program's present file, and keep all agents. See lgss_kcm(8).\n",
        lines.concat()
    )
}

fn default(name: &str) -> String {
    let value = match name {
        "socket" => SOCKET,
        "agent" => AGENT,
        "user" => KCM_USER,
        "log-socket" => LOG,
        "agents" => return format!(" (default {AGENTS})"),
        "agents-per-owner" => return format!(" (default {AGENTS_PER_OWNER})"),
        "connections" => return format!(" (default {CONNECTIONS})"),
        _ => return String::new(),
    };
    format!(" (default {value})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> Result<KcmCommand, Unclear> {
        read(text.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn values_stand_after_a_space_or_a_sign_and_the_words_are_kept_for_a_restart() {
        let Ok(KcmCommand::Serve(options)) =
            wish("--socket /s --agents=7 --restarted --agent-config= --user a=b")
        else {
            panic!("not read")
        };
        assert_eq!((options.socket, options.agents), ("/s".into(), 7));
        assert_eq!((options.agent_config, options.user.as_str()), (Some(PathBuf::new()), "a=b"));
        assert_eq!(options.words, ["--socket", "/s", "--agents=7", "--agent-config=", "--user", "a=b"]);
        assert!(options.restarted);
    }

    #[test]
    fn what_is_no_option_or_no_number_is_told() {
        assert_eq!(wish("--sockets /s").unwrap_err(), Unclear::Unknown("--sockets".to_owned()));
        assert_eq!(wish("/s").unwrap_err(), Unclear::Unknown("/s".to_owned()));
        assert_eq!(wish("--agent").unwrap_err(), Unclear::NoValue("--agent".to_owned()));
        for value in ["0", "-1", "4097", "x", "4294967296"] {
            let told = wish(&format!("--agents {value}")).unwrap_err();
            assert_eq!(told.to_string(), format!("--agents: {value} is no number from 1 to 4096"));
        }
    }

    #[test]
    fn the_help_has_every_option_with_its_default() {
        let help = help();
        assert!(OPTIONS.iter().all(|(name, ..)| help.contains(&format!("--{name} "))), "{help}");
        assert!(help.contains("(default 512)") && help.contains("(default lgss-kcm)"), "{help}");
        assert!(
            matches!(wish("--help"), Ok(KcmCommand::Help)) && matches!(wish("-V"), Ok(KcmCommand::Version))
        );
    }
}
