//! A new network namespace: its one link, an address, and what the address reaches. Needs root.
//!
//! Run: `sudo cargo run --example net`

use std::net::Ipv4Addr;

use nsutil::namespace::{Kind, unshare};
use nsutil::net::Netlink;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    unshare(&[Kind::Net])?;
    let (only, links) = ("lo", Netlink::open()?);
    println!("lo is link number {:?}, eth0 is {:?}", links.find(only)?, links.find("eth0")?);
    links.add_address(only, Ipv4Addr::new(10, 1, 2, 3), 32)?;
    links.set_up(only)?;
    println!("the way out: {:?}", links.default_interface()?);
    // A packet to the link's own address is delivered locally: it needs no further route.
    let receiver = std::net::UdpSocket::bind((Ipv4Addr::new(10, 1, 2, 3), 0))?;
    receiver.send_to(b"hello", receiver.local_addr()?)?;
    let mut received = [0; 5];
    receiver.recv(&mut received)?;
    println!("received: {}", String::from_utf8_lossy(&received));
    Ok(())
}
