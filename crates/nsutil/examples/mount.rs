//! A root entered by pivot_root, with its own /proc; nothing is mounted on the host. Needs root.
//!
//! Run: `sudo cargo run --example mount`

use std::fs;
use std::path::Path;

use nsutil::error::{OrCannot, Result};
use nsutil::mount::{self, Mount};
use nsutil::namespace::Kind;
use nsutil::process::{SpawnOptions, spawn};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = std::env::temp_dir().join(format!("nsutil-mount-{}", std::process::id()));
    fs::create_dir(&root)?;
    let birth = SpawnOptions { namespaces: &[Kind::Mount, Kind::Pid], ..SpawnOptions::default() };
    let outcome = spawn(birth, |_| inside(&root).map(|()| 0)).and_then(|child| child.wait());
    let seen = mounts()?.contains(&*root.to_string_lossy());
    fs::remove_dir(&root)?;
    println!("host    the child ended with {}; its mounts are seen here: {seen}", outcome?.code());
    Ok(())
}

fn inside(root: &Path) -> Result<()> {
    mount::make_all_private()?;
    Mount::tmpfs(root, 1 << 20)?.keep();
    for folder in ["proc", "data"] {
        fs::create_dir(root.join(folder)).or_cannot("make folder", folder)?;
    }
    let data = Mount::bind(Path::new("/etc"), &root.join("data"))?;
    println!("inside  /etc is bound, it has hostname: {}", root.join("data/hostname").exists());
    data.unmount()?;
    Mount::proc(&root.join("proc"))?.keep();
    mount::enter(root)?;
    println!("inside  the root holds {}", names("/")?);
    println!("inside  .. of it holds {}", names("/..")?);
    let processes = names("/proc")?;
    let processes: Vec<&str> = processes.split(' ').filter(|name| name.parse::<u32>().is_ok()).collect();
    println!("inside  /proc shows the processes {processes:?}");
    println!("inside  {} mounts are left", mounts()?.lines().count());
    Ok(())
}

fn mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mountinfo").or_cannot("read", "/proc/self/mountinfo")
}

fn names(folder: &str) -> Result<String> {
    let entries = fs::read_dir(folder).or_cannot("list", folder)?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names.join(" "))
}
