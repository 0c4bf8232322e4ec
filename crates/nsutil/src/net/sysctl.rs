//! Network sysctls: files under /proc/sys/net.
//!
//! Most of them exist per network namespace: that of the thread that opens the file. A link's sysctls
//! (`net/ipv4/conf/LINK/…`) exist as long as the link.
//!
//! Look: `sysctl net.ipv4.ip_forward`, `sysctl -a --pattern 'conf\.eth0'`. Manual: sysctl(8), proc_sys_net(5).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{OrCannot, Result};
use crate::step;

/// Reads a sysctl, such as `net/ipv4/ip_forward`.
///
/// # Errors
/// `ENOENT` when the kernel has no sysctl of that name.
pub fn read(key: &str) -> Result<String> {
    let path = path(key);
    fs::read_to_string(&path).map(|text| text.trim_end().to_owned()).or_cannot("read", path.display())
}

/// Writes a sysctl. `why` is for the step's text.
///
/// # Errors
/// `ENOENT` when the kernel has no sysctl of that name; `EROFS` when /proc/sys is read-only here, as in a container.
pub fn write(key: &str, value: &str, why: &str) -> Result<()> {
    let path = path(key);
    step!("sysctl.write",
        call: "write(\"{}\", \"{value}\")", path.display();
        why: "{why}";
        shell: "sysctl -w {}={value}", key.replace('/', "."));
    fs::write(&path, value).or_cannot(format_args!("write {value} to"), path.display())
}

/// Whether the kernel has a sysctl of that name.
pub fn exists(key: &str) -> bool {
    path(key).exists()
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}
