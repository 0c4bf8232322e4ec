//! A veth pair between two network namespaces, with an address at each end. Not part of the starter: it is most of
//! lesson 3.c.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Pid;
use nsutil::namespace::{Kind, unshare};
use nsutil::net::Netlink;
use nsutil::net::link::VethNames;
use nsutil::net::netns::{NetNs, OwnNetNs};
use nsutil::process::PidFd;

#[test]
#[ignore = "needs root: make test"]
fn a_veth_pair_connects_two_namespaces_and_each_sees_its_own_end() {
    let parent = std::thread::spawn(|| {
        // This thread is the host, in its own network namespace; another process is in the container's.
        unshare(&[Kind::Net]).unwrap();
        let mut container = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let pid = Pid::from_raw(container.id() as i32);
        let inode = |path: &str| std::fs::metadata(path).unwrap().ino();
        let theirs = format!("/proc/{pid}/ns/net");
        while inode(&theirs) == inode("/proc/thread-self/ns/net") {
            std::thread::sleep(Duration::from_millis(1));
        }
        let process = PidFd::open(pid).unwrap();
        let home = OwnNetNs::open().unwrap();
        let ends = VethNames { here: "inside".to_owned(), there: "outside".to_owned() };
        let (veth, number) = NetNs::of(&process)
            .run(|| {
                let netlink = Netlink::open()?;
                let veth = netlink.add_veth(&ends, &home)?;
                netlink.add_address("inside", Ipv4Addr::new(192, 168, 1, 2), 24)?;
                netlink.set_up("inside")?;
                Ok((veth, netlink.find("inside")?))
            })
            .unwrap();
        veth.keep();
        let netlink = Netlink::open().unwrap();
        netlink.add_address("outside", Ipv4Addr::new(192, 168, 1, 1), 24).unwrap();
        netlink.set_up("outside").unwrap();
        netlink.wait_until_up("outside").unwrap();
        assert!(number.is_some(), "the end inside");
        assert!(netlink.find("inside").unwrap().is_none(), "the other end is not ours to see");
        assert!(!netlink.routed_subnets().unwrap().is_empty(), "the network of the pair is routed");
        container.kill().unwrap();
        container.wait().unwrap();
    });
    parent.join().unwrap();
}
