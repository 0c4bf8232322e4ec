//! Attacks: programs that try to leave the box, which must reach nothing and be told of.
//!
//! An attack prints `REACHED …` for each thing that it could reach, and `tried` at its end. It changes nothing, or leaves
//! a marker that does no harm. So that it is not believed alone, the machine is compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::zoo::Expect;
use crate::trace::Run;

/// Settings of the machine that attacks try to change.
const SETTINGS: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/printk_ratelimit_burst",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/swappiness",
    "/proc/sys/fs/file-max",
    "/proc/sys/net/ipv4/ip_forward",
    "/sys/kernel/mm/ksm/run",
    "/proc/mtrr",
];
/// What an attack's own marks are called, wherever it can leave one.
const MARKER: &str = "grade-attack";
/// What a file is called that the grader must never see when it looks into the box.
const LEAK: &str = "grade-attack-leak";

/// What of the machine an attack could change: each thing by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(BTreeMap<String, String>);

impl Machine {
    /// The machine as it is.
    pub fn now() -> Machine {
        let mut found = BTreeMap::new();
        for setting in SETTINGS {
            let mode = fs::metadata(setting).map(|meta| meta.mode()).unwrap_or_default();
            let value = fs::read_to_string(setting).unwrap_or_default();
            found.insert(setting.to_owned(), format!("{mode:o} {}", value.trim()));
        }
        for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
            let mode = entry.metadata().map(|meta| meta.permissions().mode()).unwrap_or_default();
            found.insert(entry.path().display().to_string(), format!("{mode:o}"));
        }
        let column = |file: &str, nth: usize| -> Vec<String> {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().filter_map(|line| line.split_whitespace().nth(nth)).map(str::to_owned).collect()
        };
        found.insert("mounts".to_owned(), column("/proc/self/mountinfo", 4).join(" "));
        found.insert("links".to_owned(), column("/proc/net/dev", 0).join(" "));
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        found.insert("keys".to_owned(), keys.lines().filter(|line| line.contains(MARKER)).collect());
        for folder in ["/", "/tmp", "/var/tmp", "/run", "/dev/shm", "/srv", "/opt", "/root"] {
            let names = fs::read_dir(folder).into_iter().flatten().flatten();
            let marks = names.filter(|entry| entry.file_name().to_string_lossy().starts_with(MARKER));
            found.insert(
                format!("markers in {folder}"),
                marks.map(|entry| entry.path().display().to_string()).collect(),
            );
        }
        found.insert("processors".to_owned(), read("/sys/devices/system/cpu/online"));
        Machine(found)
    }

    /// What is other in `after`.
    pub fn changes(&self, after: &Machine) -> Vec<String> {
        let names = self.0.keys().chain(after.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differs = names.filter(|name| self.0.get(*name) != after.0.get(*name));
        differs
            .map(|name| format!("changed on the machine: {name}: {:?}, now {:?}", self.0.get(name), after.0.get(name)))
            .collect()
    }
}

/// Files that an attack looks for; taken away when dropped, with the folders that were made for them.
#[derive(Debug, Default)]
pub struct Bait(Vec<PathBuf>);

impl Bait {
    /// Puts a line into each of these files.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2): `EEXIST` when there is such a file.
    pub fn lay(files: &[PathBuf]) -> io::Result<Bait> {
        let mut bait = Bait::default();
        for file in files {
            let folders: Vec<&Path> = file.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
            for folder in folders.iter().rev() {
                fs::create_dir(folder)?;
                bait.0.push((*folder).to_owned());
            }
            fs::File::create_new(file)?.write_all(b"#error this is a neighbour's\n")?;
            bait.0.push(file.clone());
        }
        Ok(bait)
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            let _ = if made.is_dir() { fs::remove_dir(made) } else { fs::remove_file(made) };
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(file)).unwrap_or_default().trim().to_owned()
}

/// What an attack reached, and what of it was not told.
pub fn judge(expect: &Expect, runs: &[Run]) -> Vec<String> {
    let mut found = Vec::new();
    for run in runs {
        let lines = || run.output.stdout.lines();
        let through = lines().filter(|line| line.starts_with("REACHED"));
        found.extend(through.map(|line| format!("{}: {line}", expect.wall.as_deref().unwrap_or("the box"))));
        if !lines().any(|line| line == "tried") {
            found.push(format!("it did not come to its end: {:?}; {}", run.end, run.output.stderr.trim()));
        }
        if format!("{:?} {:?} {:?} {:?}", run.before, run.after, run.host, run.session).contains(LEAK) {
            found.push("the grader saw a file of its machine through the box".to_owned());
        }
        let told = |word: &&String| !run.refused.iter().any(|refused| refused.contains(word.as_str()));
        found.extend(expect.refused.iter().filter(told).map(|word| format!("not told as refused: {word}")));
    }
    found.sort();
    found.dedup();
    found
}
