//! The firewall: tables of chains of rules that filter packets and rewrite addresses.
//!
//! A packet passes *hooks* in the kernel: it arrives (PREROUTING), is for this machine (INPUT) or for another
//! (FORWARD), is sent by this machine (OUTPUT), leaves (POSTROUTING). Each hook has built-in chains of rules, one for
//! each *table*: `filter` drops or accepts; `nat` rewrites addresses once for each connection, which the kernel
//! remembers for later packets and replies (conntrack); `raw` comes first.
//!
//! Several programs share these chains. So we use chains of our own, reached by jumps at the end of the built-in ones,
//! and every rule has a comment that names its owner. Rules are changed by `iptables-restore --noflush`: all lines for
//! a table take effect together, or none.
//!
//! The kernel has two rule sets: the old one of `iptables-legacy`, and nf_tables, used by `iptables-nft`. A packet
//! passes both, and neither program shows the other's rules.
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

/// Where the tools are; the caller's PATH is not trusted.
const DEFAULT_PATHS: &[&str] = &["/usr/sbin/iptables", "/sbin/iptables", "/usr/local/sbin/iptables"];
const NFT_PATHS: &[&str] = &["/usr/sbin/iptables-nft", "/sbin/iptables-nft", "/usr/local/sbin/iptables-nft"];
const LEGACY_PATHS: &[&str] =
    &["/usr/sbin/iptables-legacy", "/sbin/iptables-legacy", "/usr/local/sbin/iptables-legacy"];
/// Seconds to wait for the xtables lock.
const LOCK_TIMEOUT_SECONDS: &str = "10";

/// Which of the kernel's two rule sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables, filled by iptables-nft.
    Nft,
    /// The tables of iptables-legacy.
    Legacy,
}

/// The tables in the order in which an arriving packet passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Before everything else, even connection tracking.
    Raw,
    /// Rewrites addresses, once for each connection.
    Nat,
    /// Accepts or drops packets.
    Filter,
}

/// Access to one rule set.
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

/// Changes to apply together, table by table, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    tables: Vec<(Table, String)>,
}

impl Firewall {
    /// The rule set that is in use on this host; if neither or both are, the one of the program `iptables`.
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

    /// Access to the given rule set.
    ///
    /// # Errors
    /// In words when its program is not installed.
    pub fn of(backend: Backend) -> Result<Self> {
        let places = if backend == Backend::Nft { NFT_PATHS } else { LEGACY_PATHS };
        let program = installed(places).or_else(|missing| {
            // A host may have only one program, under the plain name.
            if Self::default_backend()? == backend { installed(DEFAULT_PATHS) } else { Err(missing) }
        })?;
        let restore = PathBuf::from(format!("{program}-restore"));
        // Built without `new`, which would run `iptables` from the caller's PATH to learn its version. All versions
        // since 1.4.20 can check and wait.
        let iptables = IPTables { cmd: program, has_check: true, has_wait: true, is_numeric: false };
        Ok(Self { backend, iptables, restore })
    }

    /// Which rule set this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The rules of a table as they are now.
    ///
    /// # Errors
    /// The program's error message, for example without root.
    pub fn rules(&self, table: Table) -> Result<Rules> {
        let lines = self.iptables.list_table(table.name()).map_err(|error| error.to_string());
        let lines = lines.or_cannot("list firewall table", table)?;
        // The crate ignores the exit code; a successful listing begins with the built-in chains.
        if !lines.iter().any(|line| line.starts_with("-P ")) {
            return Err(self.listing_error(table));
        }
        Ok(Rules { lines })
    }

    /// Number of packets matched by those rules of a chain that `counts` selects.
    ///
    /// # Errors
    /// The program's error message.
    pub fn packets(&self, table: Table, chain: &str, counts: impl Fn(&str) -> bool) -> Result<u64> {
        let listed = self.iptables.execute(table.name(), &format!("-v -S {chain}")).map_err(|error| error.to_string());
        let listed = listed.or_cannot("list firewall chain", chain)?;
        let text = String::from_utf8_lossy(&listed.stdout);
        let met = |rule: &str| option_value(rule, "-c").and_then(|packets| packets.parse::<u64>().ok());
        Ok(text.lines().filter(|rule| counts(rule)).filter_map(met).sum())
    }

    /// Applies changes; those of one table take effect together or not at all.
    ///
    /// # Errors
    /// The program's error message with the offending line. Tables before it are already changed.
    pub fn make(&self, changes: &Changes) -> Result<()> {
        if changes.tables.is_empty() {
            return Ok(());
        }
        let text = changes.to_string();
        let program = self.restore.display().to_string();
        step!("firewall.change",
            call: "execve(\"{program}\", [\"--noflush\", \"--wait\"]) < {} lines", text.lines().count();
            why: "filtering and address translation; all lines of a table take effect together";
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
                // It stopped reading; its error message is read below.
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

    /// False if the rule set is certainly empty, without running a program.
    fn may_be_used(&self) -> bool {
        // A table is listed here after its first use.
        let listed = || fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty());
        self.backend == Backend::Nft || listed()
    }

    /// Whether the rule set has any rules or policies.
    fn is_used(&self) -> Result<bool> {
        let tables = [Table::Filter, Table::Nat];
        let used = tables.iter().map(|table| self.rules(*table).map(|rules| rules.affect_packets()));
        Ok(used.collect::<Result<Vec<bool>>>()?.contains(&true))
    }

    /// The rule set of the program `iptables` on this host.
    fn default_backend() -> Result<Backend> {
        let program = installed(DEFAULT_PATHS)?;
        let real = fs::canonicalize(program).or_cannot("follow", program)?;
        let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(if name.contains("nft") { Backend::Nft } else { Backend::Legacy })
    }

    /// The error of a failed listing; runs it again, because the crate discards the message.
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

    /// Every rule with its chain.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| line.strip_prefix("-A ")?.split_once(' '))
    }

    /// Whether there is a rule or a policy other than ACCEPT.
    fn affect_packets(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("-A ") || (line.starts_with("-P ") && !line.ends_with(" ACCEPT")))
    }
}

/// The value of an option in a rule, without quotes.
pub fn option_value<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    let mut words = rule.split(' ');
    words.find(|word| *word == option)?;
    words.next().map(|word| word.trim_matches('"'))
}

impl Changes {
    /// Creates a chain; it must not exist.
    pub fn new_chain(&mut self, table: Table, chain: &str) {
        self.line(table, format_args!("-N {chain}"));
    }

    /// Creates a chain, or empties an existing one.
    pub fn empty_chain(&mut self, table: Table, chain: &str) {
        // In iptables-restore this line does both, also with --noflush.
        self.line(table, format_args!(":{chain} - [0:0]"));
    }

    /// Removes a chain that nothing jumps to any more.
    pub fn remove_chain(&mut self, table: Table, chain: &str) {
        self.line(table, format_args!("-F {chain}"));
        self.line(table, format_args!("-X {chain}"));
    }

    /// Appends a rule to a chain.
    pub fn append(&mut self, table: Table, chain: &str, rule: impl fmt::Display) {
        self.line(table, format_args!("-A {chain} {rule}"));
    }

    /// Inserts a rule at the beginning of a chain.
    pub fn insert(&mut self, table: Table, chain: &str, rule: impl fmt::Display) {
        self.insert_before(table, chain, 0, rule);
    }

    /// Inserts a rule before rule number `index` of a chain, counted from 0.
    pub fn insert_before(&mut self, table: Table, chain: &str, index: usize, rule: impl fmt::Display) {
        self.line(table, format_args!("-I {chain} {} {rule}", index + 1));
    }

    /// Deletes a rule; it must exist.
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
            _ => Err(format!("{text:?} is not a rule set of iptables: use nft or legacy")),
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

/// The program's message with the line it refers to.
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
