//! Advice for unknown words: corrections of typos, and equivalents of other tools' words.

use clap::error::{ContextKind, ContextValue};

use super::escape::escaped;

/// Words of other tools and their equivalents. The most similar command would often be wrong: for `top` it is `stop`,
/// which removes a container.
const OTHER_TOOLS: [(&str, &str); 25] = [
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

/// Adds advice for a word of another tool, instead of a guess.
pub fn advised(mut error: clap::Error) -> clap::Error {
    let word =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.as_str()),
            _ => None,
        });
    let advice = OTHER_TOOLS.iter().find(|(habit, _)| Some(*habit) == word).map(|(_, advice)| *advice);
    if let Some(advice) = advice {
        for guess in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(guess);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    error
}

/// Escapes control characters in the user's words.
pub fn escape_words(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
        let Some(ContextValue::String(word)) = error.get(kind) else { continue };
        let shown = escaped(word);
        if shown != *word {
            error.insert(kind, ContextValue::String(shown));
            // This suggestion would repeat the word.
            error.remove(ContextKind::Suggested);
        }
    }
    error
}

/// The word of `known` of which `text` is probably a typo.
pub fn closest(text: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    // At most two errors, and at least half of the word must match.
    let most = 2.min(text.chars().count() / 2);
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(&known, text), known));
    distances.filter(|(distance, _)| (1..=most).contains(distance)).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_word_of_another_tool_gets_advice_instead_of_a_guess() {
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
    fn a_typo_is_recognised_and_a_different_name_is_not() {
        let known = || ["web", "database", "db"].map(str::to_owned);
        for (typed, meant) in [
            ("wbe", Some("web")),
            ("databse", Some("database")),
            ("datbse", Some("database")),
            ("xyz", None),
            ("web", None),
            ("x", None),
        ] {
            assert_eq!(closest(typed, known()).as_deref(), meant, "{typed}");
        }
    }
}
