//! Escapes control characters in text from users, files and containers.
//!
//! Without it, `ESC [2J` in a name would clear the screen, and a direction mark would show another text than the
//! refused one.

/// Maximum length of a word, with escapes.
const SHOWN: usize = 80;

/// The word in quotes, for a message: escaped, and cut if it is long.
pub fn quoted(word: &str) -> String {
    format!("\"{}\"", escaped(word))
}

/// The word as it may stand in a message: escaped, and cut if it is long.
pub fn escaped(word: &str) -> String {
    let mut shown = String::new();
    for letter in word.chars() {
        if shown.chars().count() >= SHOWN {
            shown.push('…');
            break;
        }
        shown.extend(letter.escape_debug());
    }
    shown
}

/// The text with its control characters escaped and all else as it is, for output that programs read too.
pub fn without_control_characters(text: &str) -> String {
    let escaped = |letter: char| {
        let is_control = letter.is_control();
        is_control.then(|| letter.escape_default()).into_iter().flatten().chain((!is_control).then_some(letter))
    };
    text.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_shown_short_and_escaped() {
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("\x1b[2J\u{202e}é\n"), "\"\\u{1b}[2J\\u{202e}é\\n\"");
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(quoted(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert!(quoted(&"\u{17}".repeat(81)).len() < 100, "short also when each letter takes six");
    }
}
