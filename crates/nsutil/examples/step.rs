//! The steps of creating a child, as they are announced. Needs root.
//!
//! Run: `sudo cargo run --example step`

use nsutil::namespace::Kind;
use nsutil::process::{SpawnOptions, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    nsutil::step::print_to(std::io::stdout());
    let birth = SpawnOptions { namespaces: &[Kind::Uts, Kind::Ipc], ..SpawnOptions::default() };
    let child = spawn(birth, |_| {
        nsutil::step!("sethostname", call: "sethostname(\"example\")";
            why: "only this child will see it"; shell: "hostname example");
        nsutil::OrCannot::or_cannot(nix::unistd::sethostname("example"), "set the host name to", "example")?;
        Ok(0)
    })?;
    assert_eq!(child.wait()?.code(), 0);
    Ok(())
}
