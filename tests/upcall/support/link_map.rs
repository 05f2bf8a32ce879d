//! The linker's map of the static `lgss_keyring`, which has no symbols (scripts/build).

use std::fmt::Write;
use std::path::PathBuf;

/// Members of the C library with the allocator's code: musl's and, the last one, the GNU project's.
const ALLOCATOR: [&str; 7] =
    ["malloc.lo", "lite_malloc.lo", "free.lo", "calloc.lo", "realloc.lo", "aligned_alloc.lo", "malloc.o"];

/// The map of the released program, if that is tested.
///
/// # Panics
/// If the program has no map.
pub(crate) fn released_map() -> Option<String> {
    let program = std::env::var_os("LGSS_KEYRING_BIN").map(PathBuf::from)?;
    Some(std::fs::read_to_string(program.with_extension("map")).expect("scripts/build leaves one"))
}

/// Where the allocator's code is: a line for each function, its start and its end in hexadecimal, relative to the program's
/// start.
pub(crate) fn allocator_code(map: &str) -> String {
    let mut code = String::new();
    let mut words = map.split_ascii_whitespace().skip_while(|word| *word != ".text");
    // Each input section: its name, its address, its size, the file that it is from.
    while let Some(word) = words.next() {
        if word != ".text" && !word.starts_with(".text.") {
            continue;
        }
        let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let (Some(start), Some(size)) = (number(), number()) else { continue };
        let file = words.next().unwrap_or_default();
        let of_allocator = ALLOCATOR.iter().any(|member| file.ends_with(&format!("libc.a({member})")));
        // What is not linked has the address 0.
        if of_allocator && start > 0 {
            writeln!(code, "{start:x}-{:x}", start + size).unwrap();
        }
    }
    assert!(!code.is_empty(), "the map has no allocator");
    code
}
