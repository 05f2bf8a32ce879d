//! What a program that is tried writes.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::sys::process;

/// Reads each pipe until its end, the limit or the deadline.
pub(super) fn read_all(mut pipes: [File; 3], deadline: Instant, most: usize) -> [Vec<u8>; 3] {
    let mut said = [Vec::new(), Vec::new(), Vec::new()];
    let mut open = [true; 3];
    let mut part = [0; 4096];
    while open.contains(&true) {
        let waiting: Vec<_> = (0..)
            .zip(&pipes)
            .filter(|&(at, _)| open.get(at) == Some(&true))
            .map(|(at, pipe)| (at, pipe.as_fd()))
            .collect();
        let ready: Vec<usize> = process::readable(&waiting, deadline).unwrap_or_default();
        drop(waiting);
        if ready.is_empty() {
            break;
        }
        for at in ready {
            let (Some(pipe), Some(said), Some(open)) =
                (pipes.get_mut(at), said.get_mut(at), open.get_mut(at))
            else {
                continue;
            };
            match pipe.read(&mut part) {
                Ok(length) if length > 0 && said.len() < most => {
                    said.extend_from_slice(part.get(..length).unwrap_or_default());
                }
                _ => *open = false,
            }
        }
    }
    said
}
