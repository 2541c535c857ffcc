//! What every export can do wrong in the same way.

use std::hint::black_box;

/// Runs until it is stopped.
pub fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// Some hundred million steps: most of a CPU budget, and an end.
pub fn work() {
    for step in 0..300_000_000_u32 {
        black_box(step);
    }
}

/// A piece of memory after the other, until it is refused.
pub fn allocate() -> ! {
    let mut pieces = Vec::new();
    loop {
        pieces.push(black_box(vec![7_u8; 1 << 20]));
    }
}

/// Calls itself until the stack is used up.
pub fn recurse(depth: u64) -> u64 {
    match black_box(depth) {
        u64::MAX => 0,
        depth => recurse(depth + 1) + black_box(1),
    }
}

/// 2,000 lines that clear the screen, ring, colour, and forge a line of the host.
pub fn flood() {
    for line in 0..2_000 {
        docmill_builder::log::warn(format!(
            "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n2026-01-01T00:00:00Z ERROR docmill: all is lost {line}\u{202e}"
        ));
    }
}
