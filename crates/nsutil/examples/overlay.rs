//! Two folders shown as one, and a third that receives the writes. Needs root.
//!
//! Run: `sudo cargo run --example overlay`

use std::fs;
use std::path::PathBuf;

use nsutil::mount::overlay::Overlay;
use nsutil::mount::{Mount, make_all_private};
use nsutil::namespace::{Kind, unshare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a new mount namespace, on a tmpfs: nothing is visible outside, and nothing remains.
    unshare(&[Kind::Mount])?;
    make_all_private()?;
    let stage = PathBuf::from("/mnt");
    let _memory = Mount::tmpfs(&stage, 1 << 20)?;
    for folder in ["base", "image", "upper", "work", "seen"] {
        fs::create_dir(stage.join(folder))?;
    }
    fs::write(stage.join("base/motd"), "from the base\n")?;
    fs::write(stage.join("image/motd"), "from the image, which lies on top\n")?;

    let layers = [stage.join("image"), stage.join("base")];
    let overlay = Overlay { layers: &layers, upper: &stage.join("upper"), work: &stage.join("work") };
    let _mounted = overlay.mount(&stage.join("seen"))?;
    print!("seen:  {}", fs::read_to_string(stage.join("seen/motd"))?);
    fs::write(stage.join("seen/motd"), "written by the container\n")?;
    print!("seen:  {}", fs::read_to_string(stage.join("seen/motd"))?);
    print!("upper: {}", fs::read_to_string(stage.join("upper/motd"))?);
    print!("image: {}", fs::read_to_string(stage.join("image/motd"))?);
    Ok(())
}
