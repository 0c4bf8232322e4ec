//! A pseudo-terminal: bytes written to the master are input for the slave; it has a size. Needs root, for a devpts.
//!
//! Run: `sudo cargo run --example terminal`

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nsutil::terminal::{Pty, Size, is_terminal, size};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = File::open("/")?;
    let wanted = Size { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let Pty { master, slave } = Pty::new(root.as_fd(), Some(wanted))?;
    let seen = size(slave.as_fd())?;
    println!("a terminal: {}, {} lines of {}", is_terminal(slave.as_fd()), seen.ws_row, seen.ws_col);
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    master.write_all(b"typed\n")?;
    let mut line = [0; 6];
    slave.read_exact(&mut line)?;
    println!("the program reads: {:?}", String::from_utf8_lossy(&line));
    let mut echo = [0; 7];
    master.read_exact(&mut echo)?;
    println!("the screen shows:  {:?}", String::from_utf8_lossy(&echo));
    Ok(())
}
