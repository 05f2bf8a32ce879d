//! The command line of `lgss`. Its help says the same as lgss(1), briefly.

use std::num::ParseIntError;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::exit;
use crate::ctx::request::{Level, RequestError, RpcChannel, Service};
use crate::key::KeySerial;

/// Get and look at GSS security contexts in kernel keys.
#[derive(Debug, Parser)]
#[command(name = "lgss", version, after_help = exit::TABLE, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get a context with a service, as yourself, and wait until it is established
    #[command(after_help = exit::TABLE)]
    Get(Get),
    /// Show the context in a key; never its key bytes
    #[command(after_help = exit::TABLE)]
    Show(Show),
}

/// `lgss get`.
#[derive(Debug, Args)]
pub struct Get {
    /// The service to authenticate to, such as nfs@srv.example.com
    #[arg(value_name = "SERVICE@HOST", value_parser = service)]
    pub service: Service,
    /// Where it listens: RPC program and version on a TCP port (IPv6 addresses in brackets)
    #[arg(long, value_name = "rpc:HOST:PORT,PROG,VERS", value_parser = channel)]
    pub channel: RpcChannel,
    /// Credential cache to use [default: KRB5CCNAME, else the default cache]
    #[arg(long, value_name = "NAME")]
    pub cache: Option<String>,
    /// Protection to ask for: n none, a authentication, i integrity, p privacy
    #[arg(long, value_name = "n|a|i|p", default_value = "a", hide_default_value = false, value_parser = level)]
    pub level: Level,
    /// Seconds to wait for the outcome
    #[arg(long, value_name = "S", default_value = "200", value_parser = seconds)]
    pub timeout: Duration,
}

/// `lgss show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The key's number: decimal, 0x… hexadecimal, or the eight hexadecimal digits of the log
    #[arg(value_name = "SERIAL", value_parser = serial)]
    pub key: KeyArgument,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A key as it was named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyArgument {
    /// The key that was meant.
    pub serial: KeySerial,
    /// What the same digits mean as hexadecimal, if the log prints a key like that.
    pub otherwise: Option<KeySerial>,
}

fn service(text: &str) -> Result<Service, &'static str> {
    text.parse().map_err(|_| "a service is NAME@HOST, such as nfs@srv.example.com")
}

fn channel(text: &str) -> Result<RpcChannel, &'static str> {
    let form =
        "a channel is rpc:HOST:PORT,PROGRAM,VERSION with decimal numbers, such as rpc:srv:2049,100003,4";
    text.parse().map_err(|_| form)
}

fn level(text: &str) -> Result<Level, &'static str> {
    text.parse().map_err(
        |_: RequestError| "a level is one of n (none), a (authentication), i (integrity), p (privacy)",
    )
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into()))
}

/// Decimal as keyctl(1) prints keys, `0x` and hexadecimal, or the log's eight digits if they can be nothing else: they
/// hold a letter or start with 0, which no decimal number of a key does.
fn serial(text: &str) -> Result<KeyArgument, &'static str> {
    let form =
        "a key is a positive number: decimal, 0x and hexadecimal, or the eight hexadecimal digits of the log";
    let hexadecimal = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| i32::from_str_radix(digits, 16).ok()).flatten().and_then(KeySerial::new)
    };
    let as_in_the_log = (text.len() == 8).then(|| hexadecimal(text)).flatten();
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let (serial, otherwise) = match (text.strip_prefix("0x"), decimal) {
        (Some(digits), _) => (hexadecimal(digits), None),
        (None, true) => (text.parse().ok(), as_in_the_log),
        (None, false) => (as_in_the_log, None),
    };
    serial.map(|serial| KeyArgument { serial, otherwise }).ok_or(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<(i32, Option<i32>)> {
        serial(text).ok().map(|key| (key.serial.raw(), key.otherwise.map(KeySerial::raw)))
    }

    #[test]
    fn a_key_may_be_named_as_keyctl_or_the_log_prints_it() {
        assert_eq!(key("797025216"), Some((797_025_216, None)));
        assert_eq!(key("0x2f81a3c0"), Some((0x2f81_a3c0, None)));
        assert_eq!(key("2f81a3c0"), Some((0x2f81_a3c0, None)));
        assert_eq!(key("00812345"), Some((0x0081_2345, None)));
    }

    #[test]
    fn eight_digits_are_decimal_and_the_other_reading_is_kept_for_the_error() {
        assert_eq!(key("12345678"), Some((12_345_678, Some(0x1234_5678))));
        assert_eq!(key("99999999"), Some((99_999_999, None)), "no key has that number in hexadecimal");
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in
            ["", "0", "-3", "+3", "0x", "0x0", "0x80000000", "2147483648", "2f81a3c", "abc", "0x+1", "1 "]
        {
            assert_eq!(key(text), None, "{text:?}");
        }
    }

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
