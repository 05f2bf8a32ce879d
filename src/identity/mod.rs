//! Who a process is: the requester's identity, and proofs about our own.
#![forbid(unsafe_code)]

pub mod unprivileged;
