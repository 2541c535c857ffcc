//! Text that a guest made, as it may be shown to a person.

/// `text` without anything that could steer a terminal or forge a line, cut to about `bytes_max` bytes.
pub(super) fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let before = shown.len();
        if steers(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > bytes_max {
            shown.truncate(before);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Control characters, line and paragraph separators, and what turns the direction of writing.
fn steers(character: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let separates = '\u{2028}'..='\u{2029}';
    character.is_control() || separates.contains(&character) || turns.iter().any(|turns| turns.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn text_of_a_guest_cannot_steer_a_terminal_or_forge_a_line() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}", 100), "a\\u{1b}[2Jb\\nc\\u{202e}");
    }

    #[test]
    fn it_is_cut_between_characters() {
        assert_eq!(printable("äöü", 4), "äö…");
        assert_eq!(printable("äöü", 6), "äöü");
    }
}
