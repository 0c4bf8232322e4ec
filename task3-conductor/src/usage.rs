//! What the user typed, as it may stand in an error: short, and without letters that a terminal obeys.
//!
//! A name may come from anywhere, such as a file that somebody else wrote: `ESC [2J` in it would clear the screen, a mark
//! that turns the direction of writing would show another text than the one that was refused.

use clap::error::{ContextKind, ContextValue};

/// A word is shown up to so many letters, escapes counted as they are written.
const SHOWN: usize = 80;

/// What other tools have under another name, and how it is done here. The nearest command would often be a wrong one: that
/// of `top` is `stop`, which removes a container.
const HABITS: [(&str, &str); 25] = [
    ("attach", "`exec NAME` opens a shell in it, `logs -f NAME` follows what it prints"),
    ("create", "`run -d IMAGE NAME` makes a container and starts it"),
    ("export", "for all of its files: `-q exec NAME -- tar c --one-file-system /`"),
    ("load", "images are made by `build` and `commit`"),
    ("port", "`inspect NAME` shows its ports, `network check` whether they lead to it"),
    ("pull", "images are made by `build`, from Debian's mirror or this host's files"),
    ("push", "images stay on this machine"),
    ("rename", "a container keeps its name: `commit NAME IMAGE`, then `run IMAGE OTHER`"),
    ("restart", "`stop NAME` removes it, `run` makes a new one"),
    ("save", "images stay on this machine"),
    ("start", "a container that has ended is not started again: `stop NAME` removes it, `run` makes a new one"),
    ("tag", "an image keeps the name that `build` or `commit` gave it"),
    ("top", "`exec NAME -- ps aux`, or `stats`"),
    ("volume", "a volume is a folder of the host: `run -v SOURCE:PLACE`"),
    ("--entrypoint", "the command that is given is run as it stands: run IMAGE NAME -- COMMAND"),
    ("--file", "the Conductorfile stands behind the name: build NAME FILE"),
    ("--mount", "`-v SOURCE:PLACE`"),
    ("--name", "the name is the second word: run IMAGE NAME"),
    ("--net", "once it runs: `addnetwork NAME`, and `peer` to reach another"),
    ("--network", "once it runs: `addnetwork NAME`, and `peer` to reach another"),
    ("--publish", "once it runs: `addnetwork NAME -e 3000:80`"),
    ("--restart", "nothing starts a container again when it has ended"),
    ("--tag", "the name is the first word: build NAME"),
    ("-9", "`kill -s KILL NAME`"),
    ("-p", "once it runs: `addnetwork NAME -e 3000:80`"),
];

/// The same error; a word of another tool gets advice in place of a guess.
pub fn advised(mut error: clap::Error) -> clap::Error {
    let word =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.as_str()),
            _ => None,
        });
    let advice = HABITS.iter().find(|(habit, _)| Some(*habit) == word).map(|(_, advice)| *advice);
    if let Some(advice) = advice {
        for guess in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(guess);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    error
}

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
            error.remove(ContextKind::Suggested);
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
    use clap::Parser;

    use super::*;

    #[test]
    fn a_habit_gets_advice_and_no_guess() {
        let told = |words: &[&str]| {
            let error = crate::cli::Conductor::try_parse_from(words).map(drop).unwrap_err();
            advised(error).to_string()
        };
        for (words, advice) in [
            (&["conductor", "top", "web"][..], "tip: `exec NAME -- ps aux`"),
            (&["conductor", "run", "--name", "web", "img"], "tip: the name is the second word"),
            (&["conductor", "run", "-p", "80:80", "img", "web"], "tip: once it runs: `addnetwork NAME -e 3000:80`"),
            (&["conductor", "kill", "-9", "web"], "tip: `kill -s KILL NAME`"),
            (&["conductor", "build", "--tag", "img", "."], "tip: the name is the first word"),
        ] {
            let told = told(words);
            assert!(told.contains(advice) && told.matches("tip:").count() == 1, "{told}");
        }
        assert!(told(&["conductor", "stpo", "web"]).contains("'stop'"), "who mistypes still gets a guess");
    }

    #[test]
    fn a_word_is_shown_short_and_harmless() {
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("\x1b[2J\u{202e}é\n"), "\"\\u{1b}[2J\\u{202e}é\\n\"");
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(quoted(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert!(quoted(&"\u{17}".repeat(81)).len() < 100, "short also when each letter takes six");
    }
}
