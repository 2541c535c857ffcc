//! Comparing what was said with what must be said, where numbers of a run stand in it.

/// Asserts that a text reads like a pattern, in which `…` stands for anything.
pub fn assert_reads(text: &str, pattern: &str) {
    assert!(reads(text, pattern), "it says\n  {text}\nand must say\n  {pattern}");
}

fn reads(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_pattern_leaves_out_only_what_it_says() {
    for (text, pattern, same) in [
        ("over 12 of 10", "over … of 10", true),
        ("over 12 of 10", "over … of 1", false),
        ("over 12 of 10", "ver … of 10", false),
        ("over 12 of 10", "over 12 of 10", true),
        ("over 12 of 10, in f", "over 12 of 10", false),
        ("over 12 of 10, in f", "over … of 10…", true),
        ("", "", true),
    ] {
        assert_eq!(reads(text, pattern), same, "{text} and {pattern}");
    }
}
