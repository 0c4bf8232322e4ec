//! Sets up `lo`, the only interface of a new network namespace.
//!
//! Without it a program cannot reach itself at 127.0.0.1. It takes one netlink message, which is assembled by hand: the
//! crate used elsewhere needs a runtime, which would take longer than the rest of a container's start.
//!
//! Look: `ip link show lo`. Manual: rtnetlink(7), netlink(7).

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nsutil::error::{OrCannot, Result};
use nsutil::step;

/// The same in every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// Sets `lo` up in the caller's network namespace.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`.
pub fn switch_on() -> Result<()> {
    step!("link.up", call: "sendto(netlink, RTM_NEWLINK lo IFF_UP)";
        why: "a new network namespace has one interface, and it is down: nothing would answer at 127.0.0.1";
        shell: "ip link set lo up");
    ask().or_cannot("set up", "lo")
}

fn ask() -> nix::Result<()> {
    let route = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(route.as_raw_fd(), &message(), &kernel, MsgFlags::empty())?;
    // The answer is an error message with number 0 for success.
    let mut answer = [0; 64];
    let length = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let number = answer.get(HEADER..HEADER + 4).filter(|_| length >= HEADER + 4);
    match number.and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw(-errno)),
        None => Err(Errno::EBADMSG),
    }
}

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// `struct nlmsghdr` and `struct ifinfomsg`: "interface 1: of its flags, IFF_UP shall be set".
fn message() -> Vec<u8> {
    let up = libc::IFF_UP as u32;
    let body: Vec<u8> = [
        // Family (any), a byte of padding, and the type of device, which is not asked for.
        &[0, 0][..],
        &0_u16.to_ne_bytes(),
        &LOOPBACK_INDEX.to_ne_bytes(),
        &up.to_ne_bytes(),
        &up.to_ne_bytes(),
    ]
    .concat();
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let (sequence, sender) = (1_u32, 0_u32);
    [
        &((HEADER + body.len()) as u32).to_ne_bytes()[..],
        &libc::RTM_NEWLINK.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &sender.to_ne_bytes(),
        &body,
    ]
    .concat()
}
