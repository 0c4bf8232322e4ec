//! A detached mount, made read-only before it is attached. Needs root.
//!
//! Run: `sudo cargo run --example detached`

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use nsutil::mount::detached::{Attributes, Detached};
use nsutil::mount::make_all_private;
use nsutil::namespace::{Kind, unshare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    unshare(&[Kind::Mount])?;
    make_all_private()?;
    let host = File::open("/proc/sys")?;
    let copy = Detached::of_file(host.as_fd(), "/proc/sys")?;
    let restricted = copy.restrict(Attributes { read_only: true, ..Attributes::default() })?;
    let place = File::open("/mnt")?;
    restricted.attach(place.as_fd(), Path::new("/mnt"))?;
    println!("read:  {}", fs::read_to_string("/mnt/kernel/ostype")?.trim_end());
    let refused = fs::write("/mnt/kernel/hostname", "mine").err().ok_or("writing should have been refused")?;
    println!("write: {refused}");
    Ok(())
}
