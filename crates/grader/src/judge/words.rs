//! Wordings of the judges: one for each fact.

use crate::record::steps::{Answer, Ask, CommandRun, Place, Probe};
use crate::record::{End, Namespaces};

/// `uts:[4026531838]`, as readlink(1) of `/proc/PID/ns/uts` shows it.
pub fn link(kind: &str, inode: u64) -> String {
    format!("{kind}:[{inode}]")
}

/// The namespace of `kind` in `namespaces`, as a link.
pub fn link_of(kind: &str, namespaces: &Namespaces) -> String {
    match namespaces.get(kind) {
        Some(inode) => link(kind, *inode),
        None => format!("{kind}:[unknown]"),
    }
}

/// `one`, `one and two`, `one, two and three`.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// The first few, and how many more.
pub fn shortened(left: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = left.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match left.len().saturating_sub(SHOWN) {
        0 => list(&shown),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// How a command ended, and the first thing it said on stderr, else the last on stdout.
pub fn command_told(run: &CommandRun) -> String {
    let end = match &run.end {
        None => "it still runs".to_owned(),
        Some(end) => end_told(end),
    };
    let last =
        || plain(&run.output.stdout).lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    match first_said(&run.output.stderr).or_else(last) {
        Some(line) => format!("{end} and said {line:?}"),
        None => format!("{end} and said nothing"),
    }
}

/// Said of a command that had to be ended, and was in no call.
pub const STILL_COMPUTING: &str = "it was still computing";

/// How a program ended.
pub fn end_told(end: &End) -> String {
    match end {
        End::Exited(code) => format!("it ended with exit status {code}"),
        End::Signaled(signal) => match nix::sys::signal::Signal::try_from(*signal) {
            Ok(name) => format!("{name} ended it"),
            Err(_) => format!("signal {signal} ended it"),
        },
        End::TimedOut(stood) => format!("it took too long, {stood}"),
        End::StillComputing(cpu) => format!("{STILL_COMPUTING} after {} s of CPU time", cpu.as_secs()),
        End::OverLimit(limit) => format!("it hit a limit: {limit}"),
        End::Unknown => "its end was not seen".to_owned(),
    }
}

/// The first thing that a text says. What it says first is the cause, what it says last is advice or a consequence.
pub fn first_said(text: &str) -> Option<String> {
    const LONGEST: usize = 160;
    let text = plain(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    // A panic names its place first, and what was wrong in the line below.
    let whole = match lines.next() {
        Some(second) if first.ends_with(':') => format!("{first} {second}"),
        _ => first.to_owned(),
    };
    Some(whole.chars().take(LONGEST).collect())
}

/// Whether a shell said that it cannot read a script.
pub fn does_not_parse(text: &str) -> bool {
    // Of bash and dash. "syntax error: operand expected" is said of one calculation.
    const SAID: [&str; 4] = [
        "syntax error near unexpected",
        "syntax error: unexpected end of file",
        "unexpected EOF while looking for",
        "Syntax error: ",
    ];
    SAID.iter().any(|words| text.contains(words))
}

/// The panics of Rust programs in what they said on stderr: where, as FILE:LINE:COLUMN, and why.
pub fn panics(stderr: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut lines = stderr.lines();
    while let Some(line) = lines.next() {
        if let Some((_, place)) = line.split_once(" panicked at ") {
            found.push((place.trim_end_matches(':'), lines.next().unwrap_or_default()));
        }
    }
    found
}

/// What came of an attempt, as a sentence.
pub fn probe_told(probe: &Probe) -> String {
    let who = match &probe.from {
        Place::Host => "the host",
        Place::Outside => "the other machine",
        Place::Internet => "the internet",
        Place::Container(name) => name,
    };
    let what = match &probe.ask {
        Ask::Ping { to } => format!("{who} pings {to}"),
        Ask::Tcp { to, port } | Ask::Http { to, port, .. } => format!("{who} connects to {to} port {port}"),
    };
    match &probe.answer {
        Answer::Said(word) if word.is_empty() => format!("{what}: it answers"),
        Answer::Said(word) => format!("{what}: it answers {word:?}"),
        Answer::Refused(why) => format!("{what}: {why}"),
        Answer::Connected => format!("{what}: a connection, and no answer in {} ms", probe.took.as_millis()),
        Answer::Silence => format!("{what}: no answer in {} ms", probe.took.as_millis()),
        Answer::NobodyThere => format!("{what}: there is no such container"),
    }
}

/// `text` without colours.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_says_of_a_script_that_it_cannot_read() {
        let said = |shell: &str, script: &str| {
            let run = std::process::Command::new(shell).args(["-c", script]).env("LC_ALL", "C").output().unwrap();
            String::from_utf8(run.stderr).unwrap()
        };
        for shell in ["bash", "dash"] {
            for script in ["if true; then :", "for i in 1; do :;\n}", "echo 'open", "f() { :", ":; fi"] {
                let text = said(shell, script);
                assert!(does_not_parse(&text), "{shell}: {script:?}: {text:?}");
            }
            for script in ["echo $((1+))", "none-such-command", ": >/proc/none", "cd /none"] {
                let text = said(shell, script);
                assert!(!text.is_empty() && !does_not_parse(&text), "{shell}: {script:?}: {text:?}");
            }
        }
    }
}
