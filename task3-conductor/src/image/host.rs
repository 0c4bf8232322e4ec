//! `FROM host`: builds a base layer from this host's programs, offline, in a second.
//!
//! Running programs needs little: the programs, their loader and libraries (`ldd` lists them), a few folders for
//! mounts, and the files with user names. That is enough for a shell, `ps`, `ip` and `ping`. It lacks the rest of a
//! distribution: package manager, locales, documentation, services.
//!
//! The host's configuration is not copied: the users are those of [`PASSWD`].
//!
//! Look: `ldd /bin/ls`, `conductor build --from host eg`. Manual: ldd(1), passwd(5), nsswitch.conf(5), hier(7).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nsutil::error::{OrCannot, Result};
use nsutil::rootfs::Rootfs;

use super::layer::{Draft, Key};

/// The packages' programs that make up such an image; those that this host lacks are left out, except [`NEEDED`].
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "bash", "sh",
    // coreutils
    "[", "arch", "b2sum", "base32", "base64", "basename", "cat", "chgrp", "chmod", "chown", "chroot", "cksum", "comm",
    "cp", "csplit", "cut", "date", "dd", "df", "dir", "dirname", "du", "echo", "env", "expand", "expr", "factor",
    "false", "fmt", "fold", "groups", "head", "hostid", "id", "install", "join", "link", "ln", "logname", "ls",
    "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "mv", "nice", "nl", "nohup", "nproc", "numfmt", "od", "paste",
    "pathchk", "pinky", "pr", "printenv", "printf", "ptx", "pwd", "readlink", "realpath", "rm", "rmdir", "seq",
    "sha1sum", "sha256sum", "sha512sum", "shred", "shuf", "sleep", "sort", "split", "stat", "stdbuf", "stty", "sum",
    "sync", "tac", "tail", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tsort", "tty", "uname",
    "unexpand", "uniq", "unlink", "users", "vdir", "wc", "who", "whoami", "yes",
    // procps, psmisc
    "free", "kill", "pgrep", "pidwait", "pkill", "pmap", "ps", "pwdx", "sysctl", "top", "uptime", "vmstat", "w", "watch",
    // iproute2, iputils
    "bridge", "ip", "ping", "ss",
    // text, files
    "awk", "clear", "cmp", "diff", "find", "grep", "gunzip", "gzip", "hostname", "less", "more", "sed", "tar", "which", "xargs",
    // util-linux
    "chrt", "dmesg", "findmnt", "flock", "ionice", "ipcs", "lsblk", "lsns", "mount", "mountpoint", "namei", "nsenter",
    "pivot_root", "prlimit", "renice", "script", "setpriv", "setsid", "taskset", "umount", "unshare",
    // what else tests and lessons ask for, where the host has it
    "capsh", "curl", "getent", "keyctl", "nc", "strace",
];

/// Without these the image would be useless.
const NEEDED: [&str; 6] = ["bash", "sh", "ls", "cat", "sleep", "true"];

/// Where programs are searched, never in folders of users.
const SEARCH_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Folders and their modes.
const FOLDERS: [(&str, u32); 22] = [
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("usr/lib", 0o755),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/share", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/student", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/bin/false
student:x:1000:1000:Student:/home/student:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";

/// Text files. hosts, hostname and resolv.conf are empty: those of each container are mounted over them.
const FILES: [(&str, &str); 9] = [
    ("etc/passwd", PASSWD),
    ("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nstudent:x:1000:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/os-release", "ID=host\nNAME=\"FROM host\"\nPRETTY_NAME=\"The programs of this host\"\n"),
    ("etc/bash.bashrc", "PS1='\\u@\\h:\\w\\$ '\n"),
    ("etc/services", "ssh 22/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n"),
    ("etc/hosts", ""),
    ("etc/hostname", ""),
    ("etc/resolv.conf", ""),
];

/// terminfo entries, which `top`, `less` and `clear` need.
const TERMINALS: [&str; 6] = ["d/dumb", "l/linux", "s/screen", "t/tmux", "v/vt100", "x/xterm"];
const TERMINAL_VARIANTS: [&str; 3] = ["s/screen-256color", "t/tmux-256color", "x/xterm-256color"];

/// Cache key: it changes when the host's programs change.
///
/// # Errors
/// When a program that is needed is missing.
pub fn key() -> Result<Key> {
    let mut key = Key::of("host").with(PASSWD);
    // Libraries may change while programs do not; whoever installs one has ldconfig(8) write this file.
    let index = PathBuf::from("/etc/ld.so.cache");
    for file in programs()?.iter().chain([&index]) {
        key = key.with(file.as_os_str().as_encoded_bytes());
        if let Ok(about) = fs::metadata(file) {
            let stamp = [about.size() as i64, about.mtime(), about.mtime_nsec(), about.ino() as i64];
            key = stamp.iter().fold(key, |key, number| key.with(number.to_le_bytes()));
        }
    }
    Ok(key)
}

/// Fills the layer.
///
/// # Errors
/// Those of [`Rootfs::add_programs`]; `ENOSPC`, `EROFS` … with the path.
pub fn fill(draft: &Draft) -> Result<()> {
    let root = draft.root();
    for (folder, mode) in FOLDERS {
        let folder = root.join(folder);
        fs::create_dir(&folder)
            .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(mode)))
            .or_cannot("make folder", folder.display())?;
    }
    chown_to_student(&root.join("home/student"))?;
    mirror_usr_links(&root)?;
    for (file, text) in FILES {
        let file = root.join(file);
        fs::write(&file, text).or_cannot("write", file.display())?;
    }
    let programs = programs()?;
    // /usr/bin/NAME whatever the host calls its folder: /bin is a link to it, or holds another copy.
    Rootfs::at(&root)?.add_programs(programs.iter().map(|program| (program.as_path(), program.as_path())))?;
    copy_terminfo(&root)
}

/// The host's programs by path, in the order of [`PROGRAMS`].
fn programs() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in PROGRAMS {
        let places = SEARCH_PATH.iter().map(|folder| Path::new(folder).join(name));
        match places.into_iter().find(|path| path.is_file()) {
            Some(path) => found.push(path),
            None if NEEDED.contains(name) => {
                return Err("it is in none of the usual folders").or_cannot("find this host's program", name);
            }
            None => (),
        }
    }
    Ok(found)
}

/// `/bin` and the like as the host has them: links into /usr, or folders.
fn mirror_usr_links(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let (host, inside) = (Path::new("/").join(name), root.join(name));
        let Ok(about) = fs::symlink_metadata(&host) else { continue };
        if about.is_symlink() {
            let target = Path::new("usr").join(name);
            fs::create_dir_all(root.join(&target)).or_cannot("make folder", root.join(&target).display())?;
            symlink(&target, &inside).or_cannot("make link", inside.display())?;
        } else {
            fs::create_dir(&inside).or_cannot("make folder", inside.display())?;
        }
    }
    Ok(())
}

fn chown_to_student(folder: &Path) -> Result<()> {
    std::os::unix::fs::chown(folder, Some(1000), Some(1000)).or_cannot("change the owner of", folder.display())
}

fn copy_terminfo(root: &Path) -> Result<()> {
    for name in TERMINALS.iter().chain(&TERMINAL_VARIANTS) {
        let places = ["/lib/terminfo", "/usr/share/terminfo"].map(|folder| Path::new(folder).join(name));
        let Some(from) = places.into_iter().find(|path| path.is_file()) else { continue };
        let to = root.join("usr/share/terminfo").join(name);
        let folder = to.parent().unwrap_or(root);
        fs::create_dir_all(folder).or_cannot("make folder", folder.display())?;
        fs::copy(&from, &to).or_cannot("copy", from.display())?;
    }
    Ok(())
}
