//! Durations in settings: a number of seconds, or text with a unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

/// A duration in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "SecondsText")]
pub struct Seconds(pub Duration);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a duration is a whole number of seconds, or text such as \"500ms\", \"30s\", \"2min\""
)]
enum SecondsText {
    Number(u32),
    Text(String),
}

impl TryFrom<SecondsText> for Seconds {
    type Error = &'static str;

    fn try_from(text: SecondsText) -> Result<Self, Self::Error> {
        match text {
            SecondsText::Number(seconds) => Self::positive(Duration::from_secs(seconds.into())),
            SecondsText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "a duration is a whole number of seconds, or text such as \"500ms\", \"30s\", \"2min\"";
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u32 = number.parse().map_err(|_| FORM)?;
        match unit.trim() {
            "ms" => Self::positive(Duration::from_millis(number.into())),
            "s" | "" => Self::positive(Duration::from_secs(number.into())),
            "min" => Self::positive(Duration::from_secs(u64::from(number) * 60)),
            _ => Err(FORM),
        }
    }
}

impl Seconds {
    /// A duration in whole seconds.
    pub const fn of(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn positive(duration: Duration) -> Result<Self, &'static str> {
        if duration.is_zero() { Err("a duration must not be zero") } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for Seconds {
    /// In the form that the configuration takes: `30s`, `500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.subsec_millis(), u32::try_from(self.0.as_secs())) {
            (0, Ok(seconds)) => write!(f, "{seconds}s"),
            // More seconds than can be read; only minutes lead there.
            (0, Err(_)) => write!(f, "{}min", self.0.as_secs() / 60),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_means_the_same_when_read_again() {
        for text in ["500ms", "30s", "1500ms", "2min", "1", "4294967295s", "4294967295ms", "4294967295min"] {
            let read: Seconds = text.parse().unwrap();
            assert_eq!(read.to_string().parse::<Seconds>().unwrap(), read, "{text}");
        }
        assert!("0s".parse::<Seconds>().is_err() && "5 parsecs".parse::<Seconds>().is_err());
    }
}
