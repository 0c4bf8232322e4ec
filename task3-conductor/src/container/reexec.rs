//! Protects conductor's own program file from the container.
//!
//! Between clone and exec, the process in a container runs *this* program, and `/proc/PID/exe` refers to its file. An
//! image whose command is a script with the first line `#!/proc/self/exe` even makes the kernel execute it again,
//! inside. Through that link an attacker can open the host's file for writing once it is no longer being executed, and
//! replace the `conductor` that root runs next (CVE-2019-5736).
//!
//! So `run` and `exec` first re-execute themselves from a detached, read-only mount of the file that only this process
//! holds. It cannot be written to, whatever the privileges. Nothing is copied, so this costs one execve; if the kernel
//! lacks such mounts, a sealed copy in memory is used.
//!
//! Look: `findmnt` does not show it; `cat /proc/self/exe > /proc/PID/exe` inside says "Read-only file system".
//! Manual: memfd_create(2), execveat(2), fcntl(2) "File Sealing".

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nsutil::error::{Error, OrCannot, Result};
use nsutil::mount::detached::{Attributes, Detached};
use nsutil::step;
use rustix::fs::StatVfsMountFlags;

const OWN: &str = "/proc/self/exe";

/// Re-executes this program from a read-only mount or sealed copy, unless it already runs from one.
///
/// # Errors
/// When neither a read-only mount nor a copy in memory can be made.
pub fn reexec_sealed_copy() -> Result<()> {
    let own = File::open(OWN).or_cannot("open", OWN)?;
    if runs_sealed(&own)? {
        return Ok(());
    }
    step!("own-binary",
        call: "open_tree(\"{OWN}\", OPEN_TREE_CLONE); mount_setattr(MOUNT_ATTR_RDONLY); execveat(it, argv)";
        why: "a process in the container can open this program's file through /proc/PID/exe; a read-only mount keeps it from writing";
        shell: "# no command does this");
    let program = match read_only_mount(&own) {
        Ok(mount) => mount,
        Err(_) => sealed_copy(own)?,
    };
    let arguments: Vec<CString> = c_strings(std::env::args_os().map(OsStringExt::into_vec))?;
    let environment: Vec<CString> =
        c_strings(std::env::vars_os().map(|(key, value)| [key.into_vec(), b"=".to_vec(), value.into_vec()].concat()))?;
    let refused = nix::unistd::execveat(&program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH);
    Err(refused.err().unwrap_or(Errno::UnknownErrno)).or_cannot("re-execute", "a read-only mount of this program")
}

fn runs_sealed(own: &File) -> Result<bool> {
    let mount = rustix::fs::fstatvfs(own).or_cannot("look at", OWN)?;
    let sealed = fcntl(own, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0);
    Ok(sealed || mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read_only_mount(own: &File) -> Result<OwnedFd> {
    let only_to_execute = Attributes { read_only: true, no_devices: true, no_set_user_id: true, no_execution: false };
    Detached::of_file(own.as_fd(), OWN)?.restrict(only_to_execute).map(Detached::into_descriptor)
}

fn sealed_copy(mut own: File) -> Result<OwnedFd> {
    let attempt = "copy into memory";
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create("conductor", flags).or_cannot(attempt, OWN)?);
    io::copy(&mut own, &mut copy).or_cannot(attempt, OWN)?;
    let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(all)).or_cannot("seal", "the copy of this program")?;
    Ok(copy.into())
}

fn c_strings(texts: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>> {
    // They come from the kernel as C strings, so they contain no NUL.
    texts.map(|text| CString::new(text).map_err(|error| Error::new("pass on", "the arguments", error))).collect()
}
