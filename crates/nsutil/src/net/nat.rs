//! The firewall: tables of chains of rules, which say what passes and under whose address.
//!
//! A packet meets *hooks* on its way through the kernel: it arrives (PREROUTING), is for this machine (INPUT) or for
//! another (FORWARD), is sent by this machine (OUTPUT), leaves (POSTROUTING). At each hook stand built-in chains of rules, one
//! for each *table*: `filter` drops or accepts; `nat` rewrites addresses, once for each connection, and the kernel
//! remembers it for the packets that follow and the answers (conntrack); `raw` comes before all others.
//!
//! Several programs share those chains. So we keep to chains of our own, jumped to from the end of the built-in ones,
//! and every rule carries a comment that says whose it is. Rules are changed by `iptables-restore --noflush`: all lines
//! for one table take effect together, or none.
//!
//! There are two sets of tables in the kernel: the old one of `iptables-legacy`, and nf_tables, which `iptables-nft`
//! fills. A packet must pass both, and neither program shows the other's rules.
//!
//! Look: `iptables -S`, `iptables -t nat -S`, `iptables --version`. Manual: iptables(8), iptables-extensions(8),
//! iptables-restore(8), xtables-nft(8).

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use iptables::IPTables;

use crate::error::{Error, OrCannot, Result};
use crate::step;

/// Where the tools are: not the caller's PATH, which may lead anywhere.
const DEFAULT_PATHS: &[&str] = &["/usr/sbin/iptables", "/sbin/iptables", "/usr/local/sbin/iptables"];
const NFT_PATHS: &[&str] = &["/usr/sbin/iptables-nft", "/sbin/iptables-nft", "/usr/local/sbin/iptables-nft"];
const LEGACY_PATHS: &[&str] =
    &["/usr/sbin/iptables-legacy", "/sbin/iptables-legacy", "/usr/local/sbin/iptables-legacy"];
/// Seconds to wait for another program that is changing the tables.
const LOCK_TIMEOUT_SECONDS: &str = "10";

/// Which of the kernel's two sets of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables, filled by iptables-nft.
    Nft,
    /// The tables of iptables-legacy.
    Legacy,
}

/// The tables that rules are put into, in the order in which an arriving packet meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Before everything else, also before connections are recognised.
    Raw,
    /// Addresses rewritten, once for each connection.
    Nat,
    /// What passes.
    Filter,
}

/// The way to one set of tables.
pub struct Firewall {
    backend: Backend,
    iptables: IPTables,
    restore: PathBuf,
}

/// The rules of one table at one moment, as `iptables -S` lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    lines: Vec<String>,
}

/// Changes to be made together, table by table, in the order in which they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    tables: Vec<(Table, String)>,
}

impl Firewall {
    /// The set of tables that decides on this host: the one whose rules are in use, else what `iptables` stands for.
    ///
    /// # Errors
    /// In words when iptables is not installed.
    pub fn of_this_host() -> Result<Self> {
        let backend = Self::default_backend()?;
        let (default_backend, other) = (Self::of(backend)?, Self::of(backend.other()));
        match other {
            Ok(other) if other.may_be_used() && !default_backend.is_used()? && other.is_used()? => Ok(other),
            _ => Ok(default_backend),
        }
    }

    /// The way to this set of tables.
    ///
    /// # Errors
    /// In words when its program is not installed.
    pub fn of(backend: Backend) -> Result<Self> {
        let places = if backend == Backend::Nft { NFT_PATHS } else { LEGACY_PATHS };
        let program = installed(places).or_else(|missing| {
            // A host may have one program only, under the plain name.
            if Self::default_backend()? == backend { installed(DEFAULT_PATHS) } else { Err(missing) }
        })?;
        let restore = PathBuf::from(format!("{program}-restore"));
        // Made by hand, as its `new` would run `iptables` of the caller's PATH to learn its version. All since 1.4.20
        // can check and wait.
        let iptables = IPTables { cmd: program, has_check: true, has_wait: true, is_numeric: false };
        Ok(Self { backend, iptables, restore })
    }

    /// Which set of tables this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The rules of a table as they are now.
    ///
    /// # Errors
    /// The program's own words, for example without root's rights.
    pub fn rules(&self, table: Table) -> Result<Rules> {
        let lines = self.iptables.list_table(table.name()).map_err(|error| error.to_string());
        let lines = lines.or_cannot("list firewall table", table)?;
        // The crate does not look at the exit code; a listing that succeeded begins with the built-in chains.
        if !lines.iter().any(|line| line.starts_with("-P ")) {
            return Err(self.listing_error(table));
        }
        Ok(Rules { lines })
    }

    /// How many packets the rules of a chain have met that `counts` picks.
    ///
    /// # Errors
    /// The program's own words.
    pub fn packets(&self, table: Table, chain: &str, counts: impl Fn(&str) -> bool) -> Result<u64> {
        let listed = self.iptables.execute(table.name(), &format!("-v -S {chain}")).map_err(|error| error.to_string());
        let listed = listed.or_cannot("list firewall chain", chain)?;
        let text = String::from_utf8_lossy(&listed.stdout);
        let met = |rule: &str| option_value(rule, "-c").and_then(|packets| packets.parse::<u64>().ok());
        Ok(text.lines().filter(|rule| counts(rule)).filter_map(met).sum())
    }

    /// Makes changes; those of one table take effect together or not at all.
    ///
    /// # Errors
    /// The program's own words, with the line it stumbled over. Tables before that one are changed already.
    pub fn make(&self, changes: &Changes) -> Result<()> {
        if changes.tables.is_empty() {
            return Ok(());
        }
        let text = changes.to_string();
        let program = self.restore.display().to_string();
        step!("firewall.change",
            call: "execve(\"{program}\", [\"--noflush\", \"--wait\"]) < {} lines", text.lines().count();
            why: "what may pass, and under whose address: all lines of a table take effect together";
            shell: "iptables-restore --noflush --wait <<'END'\n{text}END");
        let mut tool = Command::new(&self.restore)
            .args(["--noflush", "--wait", LOCK_TIMEOUT_SECONDS])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .or_cannot("start", &program)?;
        if let Some(mut stdin) = tool.stdin.take() {
            match stdin.write_all(text.as_bytes()) {
                // It stopped reading: why stands in its own words below.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => (),
                outcome => outcome.or_cannot("write to", &program)?,
            }
        }
        let outcome = tool.wait_with_output().or_cannot("wait for", &program)?;
        if outcome.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&outcome.stderr);
        Err(Error::new("change", "the firewall", with_quoted_line(&words, &text)))
    }

    /// False when it is certain, without running a program, that the set is empty.
    fn may_be_used(&self) -> bool {
        // The old tables appear in this list when somebody uses them for the first time.
        let listed = || fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty());
        self.backend == Backend::Nft || listed()
    }

    /// Whether anybody has put rules or policies into this set, other than ours would be.
    fn is_used(&self) -> Result<bool> {
        let tables = [Table::Filter, Table::Nat];
        let used = tables.iter().map(|table| self.rules(*table).map(|rules| rules.affect_packets()));
        Ok(used.collect::<Result<Vec<bool>>>()?.contains(&true))
    }

    /// What `iptables` stands for on this host.
    fn default_backend() -> Result<Backend> {
        let program = installed(DEFAULT_PATHS)?;
        let real = fs::canonicalize(program).or_cannot("follow", program)?;
        let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(if name.contains("nft") { Backend::Nft } else { Backend::Legacy })
    }

    /// Why a listing failed: asked again, as the crate keeps no error text.
    fn listing_error(&self, table: Table) -> Error {
        let words = match self.iptables.execute(table.name(), "-S") {
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Error::new("list firewall table", table, words)
    }
}

impl Rules {
    /// Whether there is a chain of this name.
    pub fn has_chain(&self, chain: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("-N ") == Some(chain))
    }

    /// The rules of a chain, in order, without the leading `-A CHAIN`.
    pub fn of_chain<'a>(&'a self, chain: &str) -> impl Iterator<Item = &'a str> {
        let start = format!("-A {chain} ");
        self.lines.iter().filter_map(move |line| line.strip_prefix(&start))
    }

    /// Every rule, with the chain that it is in.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| line.strip_prefix("-A ")?.split_once(' '))
    }

    /// Whether a rule or a policy here changes a packet's fate.
    fn affect_packets(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("-A ") || (line.starts_with("-P ") && !line.ends_with(" ACCEPT")))
    }
}

/// The word of a rule that follows `option`, its quotes taken off.
pub fn option_value<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    let mut words = rule.split(' ');
    words.find(|word| *word == option)?;
    words.next().map(|word| word.trim_matches('"'))
}

impl Changes {
    /// Makes a new chain; it must not be there yet.
    pub fn new_chain(&mut self, table: Table, chain: &str) {
        self.line(table, format_args!("-N {chain}"));
    }

    /// Makes a chain, or empties the one that is there.
    pub fn empty_chain(&mut self, table: Table, chain: &str) {
        // In iptables-restore this line does both, also with --noflush.
        self.line(table, format_args!(":{chain} - [0:0]"));
    }

    /// Removes a chain that nothing jumps to any more.
    pub fn remove_chain(&mut self, table: Table, chain: &str) {
        self.line(table, format_args!("-F {chain}"));
        self.line(table, format_args!("-X {chain}"));
    }

    /// Puts a rule at the end of a chain.
    pub fn append(&mut self, table: Table, chain: &str, rule: impl fmt::Display) {
        self.line(table, format_args!("-A {chain} {rule}"));
    }

    /// Puts a rule at the beginning of a chain.
    pub fn insert(&mut self, table: Table, chain: &str, rule: impl fmt::Display) {
        self.insert_before(table, chain, 0, rule);
    }

    /// Puts a rule before the one that is number `index` in a chain, counted from 0.
    pub fn insert_before(&mut self, table: Table, chain: &str, index: usize, rule: impl fmt::Display) {
        self.line(table, format_args!("-I {chain} {} {rule}", index + 1));
    }

    /// Removes a rule; it must be there.
    pub fn delete(&mut self, table: Table, chain: &str, rule: impl fmt::Display) {
        self.line(table, format_args!("-D {chain} {rule}"));
    }

    fn line(&mut self, table: Table, line: fmt::Arguments<'_>) {
        let index = self.tables.iter().position(|(known, _)| *known == table).unwrap_or_else(|| {
            self.tables.push((table, String::new()));
            self.tables.len() - 1
        });
        // Writing to a String cannot fail.
        let _ = writeln!(self.tables[index].1, "{line}");
    }
}

/// As iptables-restore reads it.
impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|(table, lines)| write!(out, "*{table}\n{lines}COMMIT\n"))
    }
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Nat, Self::Filter];

    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Nat => "nat",
            Self::Filter => "filter",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl Backend {
    fn other(self) -> Self {
        match self {
            Self::Nft => Self::Legacy,
            Self::Legacy => Self::Nft,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nft" => Ok(Self::Nft),
            "legacy" => Ok(Self::Legacy),
            _ => Err(format!("{text:?} is no kind of iptables: nft or legacy")),
        }
    }
}

impl fmt::Debug for Firewall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Firewall").field("backend", &self.backend).field("program", &self.iptables.cmd).finish()
    }
}

/// The first of these programs that is installed.
fn installed(places: &[&'static str]) -> Result<&'static str> {
    let missing = || Error::new("find", "iptables", format!("there is none of {}", places.join(", ")));
    let found = places.iter().copied().find(|place| Path::new(place).exists());
    found.ok_or_else(|| missing().hint("install it: apt install iptables"))
}

/// The program's words, with the line they mean.
fn with_quoted_line(words: &str, text: &str) -> String {
    let words = words.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join(" ");
    let number = words.split("line").nth(1).and_then(|rest| {
        rest.trim_start_matches([':', ' ']).split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<usize>().ok()
    });
    match number.and_then(|number| text.lines().nth(number.checked_sub(1)?)) {
        Some(line) => format!("{} (`{line}`)", words.trim()),
        None => words.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_grouped_by_table_in_the_order_they_were_asked_for() {
        let mut changes = Changes::default();
        changes.new_chain(Table::Filter, "ours");
        changes.append(Table::Nat, "ours", "-j MASQUERADE");
        changes.append(Table::Filter, "ours", "-j DROP");
        assert_eq!(
            changes.to_string(),
            "*filter\n-N ours\n-A ours -j DROP\nCOMMIT\n*nat\n-A ours -j MASQUERADE\nCOMMIT\n"
        );
    }

    #[test]
    fn a_listing_is_read_by_chain_and_prefixes_do_not_match() {
        let text =
            "-P FORWARD ACCEPT\n-N web\n-N web-1\n-A web -j DROP\n-A web-1 -m comment --comment \"conductor:x\" -j web";
        let rules = Rules { lines: text.lines().map(str::to_owned).collect() };
        assert_eq!(rules.of_chain("web").collect::<Vec<_>>(), ["-j DROP"]);
        let rule = rules.of_chain("web-1").next().unwrap();
        assert_eq!(
            (option_value(rule, "--comment"), option_value(rule, "-j"), option_value(rule, "-o")),
            (Some("conductor:x"), Some("web"), None)
        );
        assert!(rules.has_chain("web-1") && !rules.has_chain("we"));
    }

    #[test]
    fn the_line_a_tool_stumbled_over_is_quoted() {
        let said = with_quoted_line("iptables-restore: line 2 failed\n", "*filter\n-A nowhere -j DROP\nCOMMIT\n");
        assert_eq!(said, "iptables-restore: line 2 failed (`-A nowhere -j DROP`)");
        assert_eq!(with_quoted_line("no such luck\n", ""), "no such luck");
    }
}
