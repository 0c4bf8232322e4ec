//! `conductor manual [COMMAND]`: the manual page for man(1), generated from `--help`.
//!
//! Generated, so that it cannot differ from the program.

use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use nsutil::error::{Error, OrCannot, Result};
use roff::{Roff, bold, roman};

use crate::output::escape::quoted;
use crate::output::say;

/// Print the manual page of conductor, or of one of its commands
#[derive(clap::Args)]
#[command(after_help = "Examples:
  man <(conductor manual run)
  conductor manual > /usr/local/share/man/man8/conductor.8")]
pub struct Manual {
    /// Command; two words for `network check`
    command: Vec<String>,
}

/// Section 8, system administration commands, because conductor requires root.
const SECTION: &str = "8";

/// Exit codes and their meaning.
const EXIT_CODES: [(&str, &str); 7] = [
    ("0", "Success."),
    ("0 to 255", "Of run and exec: the exit code of the command."),
    ("1", "Of attack: an attempt succeeded. Of network check: something is missing."),
    ("125", "Conductor itself failed; stderr names the attempt, its object and the reason."),
    ("126", "The command exists in the container but cannot be executed."),
    ("127", "The command was not found in the container."),
    ("128 + n", "The command was terminated by signal n."),
];

/// Files below the directory that `--root` names.
const FILES: [(&str, &str); 4] = [
    (".images/NAME/record.json", "The image: its layers and its default command."),
    (
        ".containers/NAME",
        "The container: its configuration (record.json, network.json), changes of the host (ledger), its root, its \
         written files (upper), its output (log).",
    ),
    (".cache/layers/ID", "Read-only layers, shared between images."),
    (".cache/packages", "Packages that debootstrap has downloaded."),
];

impl Manual {
    /// Prints the page for the program `conductor`.
    ///
    /// # Errors
    /// In words when the command does not exist; `EPIPE` when the reader has closed the pipe.
    pub fn run(self, conductor: Command) -> Result<ExitCode> {
        let mut whole = conductor.disable_help_subcommand(true);
        whole.build();
        let mut command = &whole;
        for word in &self.command {
            command = command.find_subcommand(word).ok_or_else(|| {
                Error::new("find the manual of", quoted(word), "there is no such command")
                    .hint("`conductor --help` lists them")
            })?;
        }
        let page = page(command).or_cannot("write", "the manual page")?;
        say(&String::from_utf8_lossy(&page))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).section(SECTION).manual("Docker-lite");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        rest.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines().filter(|line| !line.starts_with("Example")) {
            rest.text([roman(line.trim_start())]);
        }
        rest.control("fi", []);
    }
    table(&mut rest, "EXIT STATUS", &EXIT_CODES);
    table(&mut rest, "FILES", &FILES);
    let others =
        "cgroups(7), capabilities(7), namespaces(7), nsenter(1), seccomp(2), unshare(1), iptables(8), debootstrap(8)";
    rest.control("SH", ["SEE ALSO"]).text([roman(others)]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

fn table(page: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (name, meaning) in rows {
        page.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
    }
}
