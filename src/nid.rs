//! Network identifiers of LNet, Lustre's network: network driver, network, address.
//!
//! Parsed from a request (`0x…`) and from lgss.toml (`10.0.0.1@tcp`), written in messages. Invariant: the text of an
//! identifier is parsed as the same identifier, even if its driver is unknown here.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 64-bit network identifier: bits 63 to 48 are the driver, 47 to 32 the network's number, 31 to 0 the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nid(u64);

/// A Lustre network driver (LND); the numbers are LNet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Lnd {
    /// TCP.
    Sock = 2,
    /// InfiniBand and RoCE.
    O2ib = 5,
    /// This machine itself.
    Lo = 9,
    /// Cray Gemini and Aries.
    Gni = 13,
    /// Cray Gemini and Aries, addressed by IP.
    Gnip = 14,
    /// Portals 4.
    Ptl4 = 15,
    /// HPE Slingshot.
    Kfi = 16,
    /// Fujitsu Tofu.
    Tofu = 17,
    /// Elastic Fabric Adapter.
    Efa = 18,
    /// Bull eXascale Interconnect 3.
    Bxi3 = 19,
}

/// Error: the text is no network identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network identifier (such as 10.0.0.1@tcp, 10.0.0.1@o2ib3 or 0x200000a000001)")]
pub struct NidError(String);

/// Each driver, its names in identifiers (the first one is Lustre's, and is written), and its name for programs.
const DRIVERS: [(Lnd, &[&str], &str); 10] = [
    (Lnd::Sock, &["tcp"], "SOCKLND"),
    (Lnd::O2ib, &["o2ib"], "O2IBLND"),
    (Lnd::Lo, &["lo"], "LOLND"),
    (Lnd::Gni, &["gni"], "GNILND"),
    (Lnd::Gnip, &["gip", "gnip"], "GNIPLND"),
    (Lnd::Ptl4, &["ptlf", "ptl4"], "PTL4LND"),
    (Lnd::Kfi, &["kfi"], "KFILND"),
    (Lnd::Tofu, &["tofu"], "TOFULND"),
    (Lnd::Efa, &["efa"], "EFALND"),
    (Lnd::Bxi3, &["bxi3"], "BXI3LND"),
];

impl Nid {
    /// Any node.
    pub const ANY: Self = Self(u64::MAX);

    /// The identifier with this number of the kernel's.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The kernel's number.
    pub fn raw(self) -> u64 {
        self.0
    }

    /// Whether it stands for any node.
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }

    /// The driver; `None` if it is unknown here, as for [`Nid::ANY`].
    pub fn lnd(self) -> Option<Lnd> {
        let [high, low, ..] = self.0.to_be_bytes();
        let number = u16::from_be_bytes([high, low]);
        DRIVERS.iter().map(|&(lnd, ..)| lnd).find(|&lnd| lnd as u16 == number)
    }

    /// The network's number.
    pub fn network(self) -> u16 {
        let [_, _, high, low, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The address; for drivers that are [`Lnd::by_ip`], the name service is asked for it as an IPv4 address.
    pub fn address(self) -> u32 {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    fn from_parts(lnd: Lnd, network: u16, address: u32) -> Self {
        Self(u64::from(lnd as u16) << 48 | u64::from(network) << 32 | u64::from(address))
    }
}

impl Lnd {
    /// Whether Lustre writes addresses as IPv4 addresses, and not as numbers.
    fn is_written_as_ip(self) -> bool {
        matches!(self, Self::Sock | Self::O2ib | Self::Gnip | Self::Efa)
    }

    /// Whether the name service has names of its addresses.
    pub fn by_ip(self) -> bool {
        matches!(self, Self::Sock | Self::O2ib | Self::Kfi | Self::Efa)
    }

    /// The name that a site's programs get, such as `PTL4LND`.
    pub fn program_name(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        let of = |&(lnd, names, program): &(Lnd, &[&'static str], &'static str)| {
            (lnd == self).then_some((*names.first()?, program))
        };
        DRIVERS.iter().find_map(of).unwrap_or(("", ""))
    }
}

impl FromStr for Nid {
    type Err = NidError;

    /// `0x…` as the kernel writes it, or `address@network`; an IPv4 address alone is of the network `tcp`.
    fn from_str(text: &str) -> Result<Self, NidError> {
        let hexadecimal = |digits: &str| {
            let plain = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(Self)
        };
        let nid = match (text.strip_prefix("0x"), text.split_once('@')) {
            (_, Some((address, network))) => from_text(address, network),
            (Some(digits), None) => hexadecimal(digits),
            (None, None) => from_text(text, "tcp"),
        };
        nid.ok_or_else(|| NidError(text.chars().take(64).collect()))
    }
}

fn from_text(address: &str, network: &str) -> Option<Nid> {
    let of_driver = |&(lnd, names, _): &(Lnd, &[&str], &str)| {
        let number = names.iter().find_map(|name| network.strip_prefix(name))?;
        let number = if number.is_empty() { 0 } else { decimal(number)? };
        Some((lnd, u16::try_from(number).ok()?))
    };
    let (lnd, network) = DRIVERS.iter().find_map(of_driver)?;
    if lnd == Lnd::Lo && network != 0 {
        return None;
    }
    let address = match address.parse::<Ipv4Addr>() {
        Ok(address) if lnd.is_written_as_ip() => address.to_bits(),
        Err(_) if !lnd.is_written_as_ip() => number(address)?,
        _ => return None,
    };
    Some(Nid::from_parts(lnd, network, address))
}

fn number(digits: &str) -> Option<u32> {
    let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) else {
        return decimal(digits);
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

fn decimal(digits: &str) -> Option<u32> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Nid {
    /// `address@network` as Lustre writes it, without the network's number if that is 0; a number for [`Nid::ANY`] and for
    /// what Lustre has no text for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_text = |lnd: &Lnd| *lnd != Lnd::Lo || self.network() == 0;
        let Some(lnd) = self.lnd().filter(has_text) else { return write!(f, "{:#x}", self.0) };
        match lnd.is_written_as_ip() {
            true => write!(f, "{}", Ipv4Addr::from_bits(self.address()))?,
            false => write!(f, "{}", self.address())?,
        }
        write!(f, "@{}", lnd.names().0)?;
        if self.network() == 0 { Ok(()) } else { write!(f, "{}", self.network()) }
    }
}

impl TryFrom<String> for Nid {
    type Error = NidError;

    fn try_from(text: String) -> Result<Self, NidError> {
        text.parse()
    }
}

impl From<Nid> for String {
    fn from(nid: Nid) -> Self {
        nid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_numbers_and_the_admins_texts_are_the_same_identifiers() {
        for (number, text) in [
            ("0x200000a000001", "10.0.0.1@tcp"),
            ("0x500030a000001", "10.0.0.1@o2ib3"),
            ("0x9000000000000", "0@lo"),
            ("0xf000000000007", "7@ptlf"),
            ("0xf000200000007", "7@ptlf2"),
            ("0x13000100000009", "9@bxi31"),
            ("0x1000000000000c", "12@kfi"),
            ("0xe00000a000001", "10.0.0.1@gip"),
            ("0x9000200000000", "0x9000200000000"),
        ] {
            let nid: Nid = number.parse().unwrap();
            assert_eq!((nid.to_string().as_str(), text.parse()), (text, Ok(nid)), "{number}");
        }
        let ptl4: Nid = "0xf000300000007".parse().unwrap();
        assert_eq!((ptl4.lnd(), ptl4.network(), ptl4.address()), (Some(Lnd::Ptl4), 3, 7));
        for (other, written) in [
            ("7@ptl4", "7@ptlf"),
            ("7@ptl42", "7@ptlf2"),
            ("10.0.0.1@gnip", "10.0.0.1@gip"),
            ("0x1f@gni", "31@gni"),
            ("10.0.0.1", "10.0.0.1@tcp"),
        ] {
            assert_eq!(other.parse::<Nid>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn all_ones_are_any_and_an_unknown_driver_stays_a_number() {
        assert!("0xffffffffffffffff".parse::<Nid>().unwrap().is_any());
        let unknown: Nid = "0x63000000000001".parse().unwrap();
        assert_eq!((unknown.lnd(), unknown.to_string().as_str()), (None, "0x63000000000001"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "0x",
            "0x1ffffffffffffffff",
            "0x+1",
            "10.0.0",
            "10.0.0.1@",
            "10.0.0.1@kfi",
            "0x@gni",
            "0x1@tcp",
            "0@lo2",
            "10.0.0.1@udp",
            "10.0.0@tcp",
            "1@tcp",
            "10.0.0.1@tcp65536",
            "10.0.0.1@tcp-1",
            "10.0.0.1@tcp 1",
            "x@lo",
            "4294967296@gni",
            "200000a000001",
        ] {
            assert!(text.parse::<Nid>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_identifier_is_read_back_from_its_text(raw: u64, driver in 0u64..24) {
            for raw in [raw, raw & 0xffff_ffff_ffff | driver << 48] {
                let nid = Nid::from_raw(raw);
                prop_assert_eq!(nid.to_string().parse(), Ok(nid));
            }
        }
    }
}
