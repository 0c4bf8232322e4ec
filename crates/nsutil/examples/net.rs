//! A cable between two network namespaces, an address at each end. Needs root.
//!
//! Run: `sudo cargo run --example net`

use std::net::Ipv4Addr;

use nsutil::namespace::{Kind, unshare};
use nsutil::net::Netlink;
use nsutil::net::link::Ends;
use nsutil::net::netns::{Home, NetNs};
use nsutil::process::{Birth, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This process plays the host, in a network of its own; the child is the container.
    unshare(&[Kind::Net])?;
    let birth = Birth { namespaces: &[Kind::Net], ..Birth::default() };
    let mut child = spawn(birth, |report| {
        report.ready()?;
        loop {
            nix::unistd::pause();
        }
    })?;
    child.ready()?;
    let home = Home::open()?;
    let ends = Ends { here: "inside".to_owned(), there: "outside".to_owned() };
    let veth = NetNs::of(child.pidfd()).run(|| {
        let netlink = Netlink::open()?;
        let veth = netlink.add_veth(&ends, &home)?;
        netlink.add_address("inside", Ipv4Addr::new(192, 168, 1, 2), 24)?;
        netlink.set_up("inside")?;
        println!("inside:  link inside is number {:?}", netlink.find("inside")?);
        Ok(veth)
    })?;
    veth.keep();
    let netlink = Netlink::open()?;
    netlink.add_address("outside", Ipv4Addr::new(192, 168, 1, 1), 24)?;
    netlink.set_up("outside")?;
    netlink.wait_until_up("outside")?;
    println!("outside: the cable carries packets; routed here: {:?}", netlink.routed()?);
    assert!(netlink.find("inside")?.is_none(), "the other end is not ours to see");
    Ok(())
}
