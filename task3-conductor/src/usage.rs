//! What the user typed, as it may stand in an error: short, and without letters that a terminal obeys.
//!
//! A name may come from anywhere, such as a file that somebody else wrote: `ESC [2J` in it would clear the screen, a mark
//! that turns the direction of writing would show another text than the one that was refused.

use clap::error::{ContextKind, ContextValue};

/// A word is shown up to so many letters, escapes counted as they are written.
const SHOWN: usize = 80;

/// The word in quotes, for a message: escaped, and cut if it is long.
pub fn quoted(word: &str) -> String {
    format!("\"{}\"", escaped(word))
}

/// The same error, with the user's words made harmless.
pub fn harmless(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
        let Some(ContextValue::String(word)) = error.get(kind) else { continue };
        let shown = escaped(word);
        if shown != *word {
            error.insert(kind, ContextValue::String(shown));
            // This repeats the word in an advice that is of no use then.
            error.insert(ContextKind::Suggested, ContextValue::None);
        }
    }
    error
}

fn escaped(word: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_shown_short_and_harmless() {
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("\x1b[2J\u{202e}é\n"), "\"\\u{1b}[2J\\u{202e}é\\n\"");
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(quoted(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert!(quoted(&"\u{17}".repeat(81)).len() < 100, "short also when each letter takes six");
    }
}
