//! A process that hangs in the kernel and cannot be killed, as on a server of files that does not answer.
//!
//! The server here is this test: it speaks as much of FUSE as a mount takes, and never answers who looks for a name. A
//! process that waits for an answer which the server has been asked for is in state D, and not even SIGKILL ends it.
//! Manual: fuse(4); linux/fuse.h.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::test_store::{IMAGE, TestStore, until};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// A mounted folder in which no name is ever found.
struct Hanging {
    place: PathBuf,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Hanging {
    fn at(place: &Path) -> Self {
        fs::create_dir_all(place).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount(Some("hanging"), place, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let server = std::thread::spawn(move || serve(device));
        Self { place: place.to_owned(), server: Some(server) }
    }

    /// Breaks the connection: who waits gets an error.
    fn give_up(&mut self) {
        let _ = umount2(&self.place, MntFlags::MNT_FORCE);
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.give_up();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(mut device: File) {
    let mut request = vec![0; 1 << 17];
    // Reading fails when the file system is unmounted.
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (operation, unique) = (word(4), &request[8..16]);
        assert!(length >= 40);
        let (error, body) = match operation {
            LOOKUP | FORGET | INTERRUPT | BATCH_FORGET => continue,
            // Version 7.31; sizes that are large enough.
            INIT => {
                (0, [7_u32, 31, 1 << 16, 0, 0, 1 << 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(u32::to_ne_bytes).concat())
            }
            // Valid for a long time; a folder of root's.
            GETATTR => {
                let mut attributes = vec![0; 104];
                attributes[0..8].copy_from_slice(&3600_u64.to_ne_bytes());
                attributes[16..24].copy_from_slice(&1_u64.to_ne_bytes());
                attributes[76..80].copy_from_slice(&0o040_755_u32.to_ne_bytes());
                attributes[80..84].copy_from_slice(&2_u32.to_ne_bytes());
                (0, attributes)
            }
            _ => (-nix::libc::ENOSYS, Vec::new()),
        };
        let length = (16 + body.len()) as u32;
        let reply = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), unique, &body].concat();
        let _ = device.write_all(&reply);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_process_that_hangs_in_the_kernel_is_named_and_stop_works_when_it_is_free() {
    assert!(Path::new("/dev/fuse").exists(), "this test needs FUSE: modprobe fuse");
    let store = TestStore::new("hung");
    let before = store.baseline(true);
    let mut hanging = Hanging::at(&store.context.path().join("hanging"));
    let volume = format!("{}:/mnt", hanging.place.display());
    store.host.ok(&[
        "run",
        "-d",
        "-v",
        &volume,
        IMAGE,
        "web",
        "--",
        "bash",
        "-c",
        "ls /mnt/name & exec sleep infinity",
    ]);
    store.host.ok(&["addnetwork", "web", "-i"]);
    let hangs = || {
        let inside = store.host.run(&["exec", "web", "--", "bash", "-c", "cat /proc/[0-9]*/comm"]).out;
        inside.lines().any(|line| line == "ls")
    };
    until(hangs, "it waits for an answer");
    let begun = Instant::now();
    let refused = store.host.run(&["stop", "-t", "0", "web"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.err.contains("cannot end process ") && refused.err.contains("hangs in the kernel"), "{refused:?}");
    assert!(begun.elapsed().as_secs() < 15, "it gives up at its limit");
    // It is said of it what is true, and nothing of the host is given away while it lives.
    let listed = store.host.ok(&["ps"]);
    assert!(listed.contains("web "), "{listed}");
    store.host.run(&["stop", "-t", "0", "web"]);
    hanging.give_up();
    until(|| store.host.run(&["stop", "-t", "0", "web"]).code == 0, "now it can be stopped");
    drop(hanging);
    store.assert_unchanged(&before, "after stop");
}
