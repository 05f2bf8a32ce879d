//! Layouts of key payloads, one file per kind of consumer.

pub mod lustre;
mod texts;
pub mod user;
