//! The transcripts of the manual and the handbook, typed again: what a page shows is what comes out.
//!
//! A block counts when `<!-- tested -->` stands above. All blocks of a page are one session, on a host of its own, and
//! each line after `$ ` is given to a shell in a copy of this folder's two scripts. In the output that is shown,
//!
//! * `<label>` is a blank: some letters, not none, without white space. The same label is the same text everywhere;
//! * `<family:one>` and `<family:other>` are different texts;
//! * a line `…` is any number of lines;
//! * how many blanks stand between words does not count: columns are as wide as what is in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use netlab::Netns;
use nix::sched::{CloneFlags, unshare};

/// A command and the lines it is said to print.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    output: Vec<String>,
}

/// What stands in the blanks, by label.
type Blanks = BTreeMap<String, String>;

#[test]
#[ignore = "needs root: make test"]
fn what_the_manual_shows_is_what_comes_out() {
    let commands = typed_again("README.md");
    assert!(commands > 40, "only {commands} commands of the manual are marked as tested");
}

#[test]
#[ignore = "needs root: make test"]
fn what_the_handbook_shows_is_what_comes_out() {
    for page in ["container", "layers", "cgroups", "privileges", "nat"] {
        let commands = typed_again(&format!("../docs/{page}.md"));
        assert!(commands > 3, "only {commands} commands of {page}.md are marked as tested");
    }
}

#[test]
fn the_reading_tour_leads_to_functions_that_are_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let tour = fs::read_to_string(docs.join("tour.md")).unwrap();
    let stops: Vec<&str> = tour.lines().filter(|line| line.starts_with('`') && line.contains("` in [")).collect();
    assert_eq!(stops.len(), 10, "{stops:?}");
    for stop in stops {
        let function = stop.split('`').nth(1).unwrap();
        let file = stop.split("](").nth(1).unwrap().trim_end_matches(')');
        let source = fs::read_to_string(docs.join(file)).unwrap();
        let is_there = ["(", "<"].iter().any(|after| source.contains(&format!("fn {function}{after}")));
        assert!(is_there, "{file} has no function {function}");
    }
}

/// Types the commands of a page, and compares; returns how many there were.
fn typed_again(page: &str) -> usize {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let session = session(&text);
    let lab = Lab::new(page);
    let mut blanks = Blanks::new();
    for Exchange { command, output } in &session {
        let said = lab.type_in(command);
        blanks = fit(output, &lines(&said), &blanks).unwrap_or_else(|| {
            let shown = output.join("\n");
            panic!("{page}\n$ {command}\n--- it shows\n{shown}\n--- what comes out\n{said}--- blanks {blanks:?}")
        });
    }
    session.len()
}

/// A host with the two scripts in a folder, called as in the manual and with a way to the world.
struct Lab {
    folder: PathBuf,
    space: Netns,
}

impl Lab {
    fn new(page: &str) -> Self {
        // Only this thread, and what it starts, is on a host of that name.
        unshare(CloneFlags::CLONE_NEWUTS).unwrap();
        nix::unistd::sethostname("cs695").unwrap();
        let space = Netns::new();
        space.run_script(
            "ip link set lo up; ip link add uplink type veth peer name world
             ip address add 10.0.2.15/24 dev uplink; ip link set uplink up; ip link set world up
             ip route add default via 10.0.2.2; echo 0 > /proc/sys/net/ipv4/ip_forward",
        );
        let name = Path::new(page).with_extension("").file_name().unwrap().to_owned();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("transcripts").join(name);
        let lab = Self { folder, space };
        lab.clear();
        fs::create_dir_all(&lab.folder).unwrap();
        for script in ["conductor.sh", "config.sh"] {
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(script), lab.folder.join(script)).unwrap();
        }
        lab
    }

    /// What a terminal would show: both outputs, as they come.
    fn type_in(&self, command: &str) -> String {
        let folder = self.folder.display();
        let script = format!("exec 2>&1; cd {folder} || exit; sudo() {{ \"$@\"; }}\n{command}\n");
        let mut shell = self.space.command("bash");
        let output = shell.args(["-c", &script]).env("CONDUCTOR_BINARY", env!("CARGO_BIN_EXE_conductor")).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Takes away what is left of a session that was broken off.
    fn clear(&self) {
        if self.folder.exists() {
            self.type_in("for dir in .containers/*/; do ./conductor.sh stop -t 0 \"$(basename \"$dir\")\"; done");
            fs::remove_dir_all(&self.folder).unwrap();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The commands of all marked blocks, in order.
fn session(manual: &str) -> Vec<Exchange> {
    let blocks = manual.split("<!-- tested -->\n```console\n").skip(1);
    blocks.flat_map(|rest| exchanges(rest.split("\n```").next().unwrap())).collect()
}

fn exchanges(block: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            exchanges.push(Exchange { command: command.to_owned(), output: Vec::new() });
            continue;
        }
        let last = exchanges.last_mut().expect("a block begins with a command");
        match line.strip_prefix("> ") {
            // The shell's sign that the command goes on.
            Some(more) if last.output.is_empty() => last.command.extend(["\n", more]),
            _ => last.output.push(line.to_owned()),
        }
    }
    exchanges
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Whether what was printed is what is shown; and then what stands in the blanks, those known before among them.
fn fit(shown: &[String], printed: &[String], known: &Blanks) -> Option<Blanks> {
    match shown.split_first() {
        None => printed.is_empty().then(|| known.clone()),
        Some((line, rest)) if line == "…" => {
            (0..=printed.len()).find_map(|skipped| fit(rest, &printed[skipped..], known))
        }
        Some((line, rest)) => {
            let (first, others) = printed.split_first()?;
            fit(rest, others, &fit_line(&words(line), &words(first), known)?)
        }
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fit_line(shown: &str, printed: &str, known: &Blanks) -> Option<Blanks> {
    let Some((before, label, after)) = first_blank(shown) else {
        return (shown == printed).then(|| known.clone());
    };
    let rest = printed.strip_prefix(before)?;
    if let Some(value) = known.get(label) {
        return fit_line(after, rest.strip_prefix(value.as_str())?, known);
    }
    let letters = rest.char_indices().take_while(|(_, letter)| !letter.is_whitespace());
    letters.map(|(start, letter)| rest.split_at(start + letter.len_utf8())).find_map(|(value, rest)| {
        let family = |label: &str| label.split_once(':').map(|(family, _)| family.to_owned());
        let relatives = known.iter().filter(|(other, _)| family(label).is_some() && family(other) == family(label));
        if relatives.into_iter().any(|(_, theirs)| theirs == value) {
            return None;
        }
        let mut known = known.clone();
        known.insert(label.to_owned(), value.to_owned());
        fit_line(after, rest, &known)
    })
}

/// What stands before the first blank, its label, and what stands after it.
fn first_blank(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('<').find_map(|(open, _)| {
        let (label, after) = text[open + 1..].split_once('>')?;
        let is_label = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-:".contains(letter);
        (!label.is_empty() && label.chars().all(is_label)).then(|| (&text[..open], label, after))
    })
}

#[test]
fn a_transcript_that_is_not_true_does_not_fit() {
    let fits = |shown: &str, printed: &str| fit(&lines(shown), &lines(printed), &Blanks::new()).is_some();
    for (shown, printed) in [
        ("", ""),
        ("web   <date> running", "web 2026-01-31   running"),
        ("<pid> and <pid>", "17 and 17"),
        ("net:[<net:host>] net:[<net:eg>]", "net:[1] net:[2]"),
        ("first\n…\nlast", "first\n1\n2\nlast"),
        ("first\n…", "first"),
        ("lo: <UP,LOWER_UP>", "lo: <UP,LOWER_UP>"),
        ("<size> <size>x", "1K 1Kx"),
    ] {
        assert!(fits(shown, printed), "{shown:?} {printed:?}");
    }
    for (shown, printed) in [
        ("", "unexpected"),
        ("expected", ""),
        ("web <date> running", "web  running"),
        ("web <date>", "web two words"),
        ("<pid> and <pid>", "17 and 18"),
        ("net:[<net:host>] net:[<net:eg>]", "net:[1] net:[1]"),
        ("first\n…\nlast", "first\n1\n2"),
        ("a\nb", "b\na"),
    ] {
        assert!(!fits(shown, printed), "{shown:?} {printed:?}");
    }
}

#[test]
fn only_marked_blocks_are_typed_and_commands_may_go_on_in_the_next_line() {
    let manual = "```console\n$ no\n```\n<!-- tested -->\n```console\n$ cat <<E\n> x\n> E\nx\n$ true\n```\n$ no\n";
    let exchange = |command: &str, output: &[&str]| Exchange {
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(session(manual), [exchange("cat <<E\nx\nE", &["x"]), exchange("true", &[])]);
}
