//! The floor: the bare system calls of a container's birth, and nothing else. No record, no lock, no sandbox.
//!
//! What `conductor run IMAGE NAME true` is measured against: nobody who wants six namespaces, an overlay and the usual
//! mounts can be faster than this. Usage: `floor LAYER WORKDIR COMMAND [ARG…]`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{chdir, execv, pivot_root};

type Outcome = Result<std::convert::Infallible, Box<dyn std::error::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args();
    let (Some(_), Some(layer), Some(work)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: floor LAYER WORKDIR COMMAND [ARG...]".into());
    };
    let command: Vec<CString> = arguments.map(CString::new).collect::<Result<_, _>>()?;

    let work = Path::new(&work);
    for folder in ["upper", "work", "rootfs"] {
        std::fs::create_dir_all(work.join(folder))?;
    }
    let root = work.join("rootfs");
    let options =
        format!("lowerdir={layer},upperdir={},workdir={}", work.join("upper").display(), work.join("work").display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))?;

    let namespaces = CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    let (child, _) = nsutil::sys::clone3(namespaces, None, || match become_container(&root, &command) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("floor: {error}");
            125
        }
    })?;
    let status = waitpid(child, None)?;
    umount2(&root, MntFlags::MNT_DETACH)?;
    match status {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("the command ended with {other:?}").into()),
    }
}

/// The steps of a container's first process.
///
/// # Withheld with lesson 3.a
fn become_container(root: &Path, command: &[CString]) -> Outcome {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    chdir(root)?;
    mount_new("proc", "proc", MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, "")?;
    mount_new("sysfs", "sys", MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY, "")?;
    mount_new("tmpfs", "dev", MsFlags::MS_NOSUID, "mode=755,size=64k")?;
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let target = root.join("dev").join(device);
        std::fs::File::create(&target)?;
        mount(Some(&Path::new("/dev").join(device)), &target, none, MsFlags::MS_BIND, none)?;
    }
    for (kind, folder, options) in [
        ("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=620"),
        ("tmpfs", "dev/shm", "mode=1777,size=64m"),
        ("mqueue", "dev/mqueue", ""),
    ] {
        std::fs::create_dir(root.join(folder))?;
        mount_new(kind, folder, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, options)?;
    }
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    let program = command.first().ok_or("no command")?;
    let path = find(program)?;
    Ok(execv(&path, command)?)
}

fn mount_new(kind: &str, target: &str, flags: MsFlags, options: &str) -> nix::Result<()> {
    mount(Some(kind), target, Some(kind), flags, (!options.is_empty()).then_some(options))
}

fn find(program: &CString) -> Result<CString, Box<dyn std::error::Error>> {
    let name = Path::new(std::ffi::OsStr::from_bytes(program.as_bytes()));
    let found = ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    Ok(CString::new(found.ok_or("command not found")?.as_os_str().as_bytes())?)
}
