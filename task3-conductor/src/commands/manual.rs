//! `conductor manual [COMMAND]`: the manual page, for man(1), made of what `--help` knows.
//!
//! Pages written beside the program would tell another story than it one day.

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
    /// Which command's; of two words for `network check`
    command: Vec<String>,
}

/// Of the system administrator's manual, as all that takes root.
const SECTION: &str = "8";

/// What it can end with, and what that means.
const EXIT_CODES: [(&str, &str); 7] = [
    ("0", "Done."),
    ("0 to 255", "Of run and exec: the command's own code, whatever it is."),
    ("1", "Of attack: something got through. Of network check: something is missing."),
    ("125", "Conductor could not do its part; stderr says what it tried, on what, and the kernel's reason."),
    ("126", "The container was ready, and the command cannot be executed in it."),
    ("127", "The container was ready, and there is no such command in it."),
    ("128 + n", "The command was ended by signal n."),
];

/// What it leaves where, below the folder that `--root` names.
const FILES: [(&str, &str); 4] = [
    (".images/NAME/record.json", "A list of layers, and what to run."),
    (
        ".containers/NAME",
        "What was asked for (record.json, network.json), what was changed on the host (ledger), the root, what was \
         written in it (upper), what it printed (log).",
    ),
    (".cache/layers/ID", "Read-only layers, shared by all images that begin alike."),
    (".cache/packages", "What debootstrap has fetched."),
];

impl Manual {
    /// Prints it, of the command line `conductor`.
    ///
    /// # Errors
    /// In words when there is no such command; `EPIPE` when nobody reads.
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
