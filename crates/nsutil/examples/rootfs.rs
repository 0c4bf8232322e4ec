//! A program started in a root directory that contains only what it needs. Needs root.
//!
//! Run: `sudo cargo run --example rootfs`, or with another program and its arguments:
//! `sudo cargo run --example rootfs -- /bin/ls -l /`

use std::path::Path;

use nsutil::process::{SpawnOptions, exec, spawn};
use nsutil::rootfs::Rootfs;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut command: Vec<String> = std::env::args().skip(1).collect();
    if command.is_empty() {
        command = ["/bin/ls", "-R", "/"].map(str::to_owned).to_vec();
    }
    let program = Path::new(&command[0]);
    let folder = std::env::temp_dir().join(format!("nsutil-rootfs-{}", std::process::id()));
    let root = Rootfs::at(&folder)?;
    let outcome = root.add_program(program, program).and_then(|()| {
        let inside = spawn(SpawnOptions::default(), |_| {
            root.enter()?;
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            match exec(program, &arguments, &[])? {}
        })?;
        inside.wait()
    });
    std::fs::remove_dir_all(&folder)?;
    println!("{} ended with code {} in {}", command[0], outcome?.code(), folder.display());
    Ok(())
}
