//! The namespaces of this process, and what changes with a new one. Needs root.
//!
//! Run: `sudo cargo run --example namespace`

use nsutil::namespace::{Identity, Kind, TABLE, join, unshare};
use nsutil::process::{PidFd, SpawnOptions, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("namespace           what is in it            manual");
    for row in &TABLE {
        println!("{:<19} {:<24} {}", Identity::of_self(row.kind)?.to_string(), row.isolates, row.manual);
    }

    let outside = Identity::of_self(Kind::Uts)?;
    unshare(&[Kind::Uts])?;
    let inside = Identity::of_self(Kind::Uts)?;
    println!("\nunshare(CLONE_NEWUTS): {outside} became {inside}");
    assert_ne!(outside, inside);

    // A child can go back: its parent's parent is still in the old namespace.
    let shell = PidFd::open(nix::unistd::getppid())?;
    let child = spawn(SpawnOptions::default(), |_| {
        join(&shell, &[Kind::Uts])?;
        println!("setns to process {}:  a child is in {} again", shell.pid(), Identity::of_self(Kind::Uts)?);
        Ok(i32::from(Identity::of_self(Kind::Uts)? != outside))
    })?;
    assert_eq!(child.wait()?.code(), 0);
    Ok(())
}
