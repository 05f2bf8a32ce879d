//! The door: the socket between `lgss_kcm` and a user's agent, by which the agent gets its connections.
//!
//! Used by both programs. A pair of SOCK_SEQPACKET sockets; the agent finds its end as descriptor 3. Towards the agent, each
//! message is one byte, [`CONNECTION`], with one descriptor, a connected stream socket. Towards `lgss_kcm` there is one kind of
//! message, [`Leaving`]. Its answer is that the door is closed, or nothing: then a connection is on its way.
//!
//! Invariant: nobody waits at a door. An end that is full or says anything else is closed by the other.
#![forbid(unsafe_code)]

/// The agent's descriptor.
pub const DESCRIPTOR: i32 = 3;

/// The message with a connection.
pub const CONNECTION: u8 = 0x01;

/// An agent has nothing to keep and would end. On the wire: 0x02, then the number, u64 big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// How many connections it has received by this door.
    pub received: u64,
}

impl Leaving {
    /// Its length in bytes.
    pub const SIZE: usize = 9;
    const KIND: u8 = 0x02;

    /// The message.
    pub fn encode(self) -> [u8; Self::SIZE] {
        let mut message = [Self::KIND; Self::SIZE];
        let (_, number) = message.split_at_mut(1);
        number.copy_from_slice(&self.received.to_be_bytes());
        message
    }

    /// Reads a message; nothing if it is something else.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (&kind, number) = message.split_first()?;
        let received = u64::from_be_bytes(number.try_into().ok()?);
        (kind == Self::KIND).then_some(Self { received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaving_agents_message_has_nine_bytes_and_nothing_else_is_one() {
        let message = Leaving { received: 0x0102_0304_0506_0708 }.encode();
        assert_eq!(message, [2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Leaving::parse(&message), Some(Leaving { received: 0x0102_0304_0506_0708 }));
        for other in [&message[..8], &[message.as_slice(), &[0]].concat(), &[1; 9], &[]] {
            assert_eq!(Leaving::parse(other), None, "{other:?}");
        }
    }
}
