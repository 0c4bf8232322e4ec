//! Users of a container: syntax and look-up.
//!
//! The kernel knows only numbers. Names are in /etc/passwd and /etc/group, and those of the container are used, read
//! through a descriptor of its root. Ambiguous input is refused: `exec -u 1000x` once ran as another user
//! (CVE-2026-30892).
//!
//! Look: `conductor exec -u nobody NAME -- id`. Manual: passwd(5), group(5), setresuid(2), setgroups(2).

use std::fmt;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::Root;
use rustix::fs::{FileType, OFlags};
use serde::{Deserialize, Serialize};

use crate::output::escape::quoted;

/// `USER` or `USER:GROUP`, as typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct User {
    user: NameOrNumber,
    group: Option<NameOrNumber>,
}

/// A number, or a name to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NameOrNumber {
    Number(u32),
    Name(String),
}

/// Credentials of a process, see credentials(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User number.
    pub user: u32,
    /// Group number.
    pub group: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

/// Longest name. See useradd(8).
const LONGEST: usize = 32;
/// Limit of the size of a user database.
const LARGEST_FILE: u64 = 16 << 20;
/// Home folder of root, whatever the container's files say.
pub const ROOTS_HOME: &str = "/root";

impl Credentials {
    /// Root without supplementary groups: the default.
    pub fn root() -> Self {
        Self { user: 0, group: 0, groups: Vec::new(), home: ROOTS_HOME.to_owned() }
    }

    /// Looks up `user` in the container whose root is open.
    ///
    /// # Errors
    /// In words when the container has no such user or group; `ELOOP`, `EACCES` … when its files cannot be read.
    pub fn of(user: &User, root: BorrowedFd<'_>) -> Result<Self> {
        let (passwd, group) = (read(root, "etc/passwd")?, read(root, "etc/group")?);
        user.credentials(&passwd, &group)
    }
}

impl User {
    /// Whether it is root, as far as known without the container's files.
    pub fn is_root(&self) -> bool {
        match &self.user {
            NameOrNumber::Number(number) => *number == 0,
            NameOrNumber::Name(name) => name == "root",
        }
    }

    fn credentials(&self, passwd: &str, group: &str) -> Result<Credentials> {
        let account = passwd.lines().filter_map(Account::parse).find(|account| match &self.user {
            NameOrNumber::Number(number) => account.number == *number,
            NameOrNumber::Name(name) => account.name == name,
        });
        let number = match (&self.user, &account) {
            (_, Some(account)) => account.number,
            (NameOrNumber::Number(number), None) => *number,
            (NameOrNumber::Name(name), None) => {
                let missing =
                    Error::new("find", format_args!("user {name}"), "the container's /etc/passwd has no such name");
                return Err(missing.hint("a number can always be used, for example -u 1000:1000"));
            }
        };
        let groups = || group.lines().filter_map(Group::parse);
        let (first, further) = match &self.group {
            Some(NameOrNumber::Number(number)) => (*number, Vec::new()),
            Some(NameOrNumber::Name(name)) => match groups().find(|group| group.name == name) {
                Some(group) => (group.number, Vec::new()),
                None => {
                    let missing =
                        Error::new("find", format_args!("group {name}"), "the container's /etc/group has no such name");
                    return Err(missing.hint("a number can always be used, for example -u 1000:1000"));
                }
            },
            // As login(1): the primary group, and those that list the name.
            None => match &account {
                Some(account) => {
                    let theirs = groups().filter(|group| group.has(account.name) && group.number != account.group);
                    (account.group, theirs.map(|group| group.number).collect())
                }
                // As Docker does for a number without an account.
                None => (0, Vec::new()),
            },
        };
        let home = account.map_or("/", |account| account.home).to_owned();
        Ok(Credentials { user: number, group: first, groups: further, home })
    }
}

/// A valid line of /etc/passwd.
struct Account<'a> {
    name: &'a str,
    number: u32,
    group: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, number, group, _, home, _] = fields.as_slice() else { return None };
        let home = if home.starts_with('/') { home } else { "/" };
        Some(Self { name, number: self::number(number)?, group: self::number(group)?, home })
    }
}

/// A valid line of /etc/group.
struct Group<'a> {
    name: &'a str,
    number: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, number, members] = fields.as_slice() else { return None };
        Some(Self { name, number: self::number(number)?, members })
    }

    fn has(&self, member: &str) -> bool {
        self.members.split(',').any(|known| known == member)
    }
}

/// Parses digits. The largest number means "unchanged" to the kernel and is invalid.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number != u32::MAX)
}

/// Reads a file of the container as a process inside would; empty if missing.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    // NONBLOCK: a named pipe must not block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let shown = Path::new("/").join(path);
    let file = match Root::new(root).open(&shown, flags) {
        Err(Errno::ENOENT) => return Ok(String::new()),
        opened => opened.or_cannot("read", shown.display())?,
    };
    let about = rustix::fs::fstat(&file).or_cannot("look at", shown.display())?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(Error::new("read", shown.display(), "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(LARGEST_FILE).read_to_end(&mut bytes).or_cannot("read", shown.display())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{} is not a user: use USER or USER:GROUP, each a name or a number, for example nobody or 1000:1000",
                quoted(text)
            )
        };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let group = group.map(|group| NameOrNumber::parse(group).ok_or_else(wrong)).transpose()?;
        Ok(Self { user: NameOrNumber::parse(user).ok_or_else(wrong)?, group })
    }
}

impl NameOrNumber {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|letter: char| letter.is_ascii_digit()) {
            return number(text).map(Self::Number);
        }
        let begins_well = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_name = begins_well && text.len() <= LONGEST && text.bytes().all(is_fine);
        is_name.then(|| Self::Name(text.to_owned()))
    }
}

impl fmt::Display for NameOrNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Name(name) => out.write_str(name),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(out, "{}:{group}", self.user),
            None => self.user.fmt(out),
        }
    }
}

impl TryFrom<String> for User {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<User> for String {
    fn from(user: User) -> Self {
        user.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken:x:1000x:0::/:/bin/sh\nmax:x:4294967295:0::/:/bin/sh\n\
                          amy:x:1000:1000:Amy,,,:/home/amy:/bin/sh\namy:x:0:0::/:/bin/sh\nodd:x:7:8:::\n";
    const GROUP: &str = "root:x:0:amy\nstaff:x:50:bob,amy\nnearly:x:51:amyx\namy:x:1000:\nbad:x:-1:amy\n";

    fn credentials(text: &str) -> Result<(u32, u32, Vec<u32>, String)> {
        let Credentials { user, group, groups, home } = text.parse::<User>().unwrap().credentials(PASSWD, GROUP)?;
        Ok((user, group, groups, home))
    }

    #[test]
    fn the_first_matching_line_of_the_containers_files_decides() {
        let home = "/home/amy".to_owned();
        assert_eq!(credentials("amy").unwrap(), (1000, 1000, vec![0, 50], home.clone()));
        assert_eq!(credentials("1000").unwrap(), (1000, 1000, vec![0, 50], home.clone()), "the number of an account");
        assert_eq!(credentials("amy:staff").unwrap(), (1000, 50, vec![], home.clone()));
        assert_eq!(credentials("amy:7").unwrap(), (1000, 7, vec![], home));
        assert_eq!(credentials("4711").unwrap(), (4711, 0, vec![], "/".to_owned()), "a number that nobody has");
        assert_eq!(credentials("odd").unwrap(), (7, 8, vec![], "/".to_owned()));
    }

    #[test]
    fn a_missing_or_damaged_account_is_not_found() {
        for wrong in ["bob", "broken", "max", "amy:wheel", "amy:bad"] {
            let error = nsutil::error::line(&credentials(wrong).unwrap_err());
            assert!(error.contains("has no such name; a number can always"), "{wrong}: {error}");
        }
    }

    /// The kernel returns EAGAIN for a path with `..` when anything on the host is renamed meanwhile.
    #[test]
    fn a_user_is_found_behind_a_link_while_other_files_are_renamed() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("passwd"), PASSWD).unwrap();
        let target = "../etc/".repeat(200) + "../passwd";
        std::os::unix::fs::symlink(target, root.path().join("etc/passwd")).unwrap();
        let directory = std::fs::File::open(root.path()).unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let rename = || {
            let [a, b] = ["a", "b"].map(|name| other.path().join(name));
            std::fs::write(&a, "").unwrap();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&a, &b).and_then(|()| std::fs::rename(&b, &a)).unwrap();
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(rename);
            let amy: User = "amy".parse().unwrap();
            let failed = (0..10_000).find_map(|_| Credentials::of(&amy, directory.as_fd()).map(drop).err());
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }

    #[test]
    fn an_ambiguous_user_is_refused() {
        let long = "x".repeat(33);
        for wrong in [
            "",
            ":",
            "1000:",
            ":5",
            "-1",
            "+1",
            "4294967295",
            "4294967296",
            "1000x",
            "0x10",
            "1:2:3",
            "root:",
            "root:-1",
            "ro ot",
            "é",
            "a/b",
            "root\n",
            "$(id)",
            " 1",
            &long,
        ] {
            let error = wrong.parse::<User>().unwrap_err();
            assert!(error.contains("for example nobody or 1000:1000"), "{wrong:?}: {error}");
        }
        for fine in ["root", "0", "www-data", "_apt:nogroup", "1000:1000", "a.b"] {
            assert_eq!(fine.parse::<User>().unwrap().to_string(), fine);
        }
    }
}
