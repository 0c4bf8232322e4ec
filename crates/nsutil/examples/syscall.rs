//! The system calls by name: a child with its own mount namespace and root, and the errors of calls that fail. Needs
//! root.
//!
//! Run: `sudo cargo run --example syscall`

use std::fs;

use nsutil::error::line;
use nsutil::process::{Child, prepare_for_exec};
use nsutil::syscall::{
    CloneArgs, CloneFlags, MntFlags, MsFlags, chdir, chroot, clone3, execve, mount, pidfd_open, pivot_root, read_file,
    sethostname, setns, umount2, unshare, write_file,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    nsutil::step::print_to(std::io::stderr());
    let folder = tempfile::tempdir()?;
    let root = folder.path();

    let args = CloneArgs { flags: CloneFlags::CLONE_NEWNS, cgroup: None };
    let mut child = Child::created(|report| {
        clone3(&args, || {
            report.run(|report| {
                mount(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
                mount(Some("tmpfs".as_ref()), root, Some("tmpfs"), MsFlags::MS_NOSUID, Some("size=64k"))?;
                chdir(root)?;
                pivot_root(".", ".")?;
                umount2(".", MntFlags::MNT_DETACH)?;
                chroot("/")?;
                let names: Vec<_> =
                    fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
                println!("inside:  the root holds {names:?}");
                report.ready()?;
                prepare_for_exec()?;
                match execve("/no/such/program", &["program"], &[])? {}
            })
        })
    })?;
    child.ready()?;
    println!("outside: {}", child.wait().err().map_or("no error".to_owned(), |error| line(&error)));

    unshare(CloneFlags::CLONE_NEWUTS)?;
    sethostname("syscall")?;
    let parent = pidfd_open(nix::unistd::getppid())?;
    setns(&parent, CloneFlags::CLONE_NEWUTS)?;
    println!("refused: {}", setns(&parent, CloneFlags::empty()).err().map_or("no".to_owned(), |error| line(&error)));
    write_file("/proc/self/comm", "renamed")?;
    println!("comm:    {}", read_file("/proc/self/comm")?.trim_end());
    println!("refused: {}", write_file("/proc/self/none", "x").err().map_or("no".to_owned(), |error| line(&error)));
    Ok(())
}
