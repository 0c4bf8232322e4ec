//! Which subnet a container gets: the first of the pool that nobody uses.
//!
//! Each container has a subnet of 256 addresses for itself: the host is number 1 on it, the container number 2. They
//! are counted from 1, as the published labs do, and left out when the host has a route into them already (its LAN, a
//! VPN, another tool's bridge): two ways to one address are none.
//!
//! Look: `ip route`. Manual: ip-route(8).

use std::net::Ipv4Addr;

use nsutil::error::{Error, Result};
use nsutil::net::address::Subnet;

/// Prefix of a container's subnet, in bits.
pub const PREFIX: u8 = 24;

/// The host's address on a container's subnet.
pub fn host_address(subnet: Subnet) -> Ipv4Addr {
    // Any /24 has an address number 1 and 2.
    subnet.host(1).unwrap_or(subnet.network())
}

/// The container's address on its subnet.
pub fn container_address(subnet: Subnet) -> Ipv4Addr {
    subnet.host(2).unwrap_or(subnet.network())
}

/// The first subnet of `pool`, counted from 1, that overlaps none in `taken`.
///
/// # Errors
/// In words when all are taken, or the pool is too small to hold one.
pub fn choose(pool: Subnet, taken: &[Subnet]) -> Result<Subnet> {
    let candidates = (1..).map_while(|n| pool.part(PREFIX, n));
    let free = candidates.into_iter().find(|candidate| !taken.iter().any(|other| other.overlaps(*candidate)));
    free.ok_or_else(|| {
        let all_taken = match pool.part(PREFIX, 1) {
            Some(_) => format!("every /{PREFIX} of {pool} has a route or a container already"),
            None => {
                format!("{pool} is too small: it must hold two of /{PREFIX} at least, of which the first stays unused")
            }
        };
        Error::new("find", "a free subnet", all_taken)
            .hint("stop containers that are not needed, or set another pool in config.sh (SUBNET_POOL, --pool)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_counted_from_one_and_those_in_use_are_left_out() {
        let pool = subnet("192.168.0.0/16");
        assert_eq!(choose(pool, &[]).unwrap(), subnet("192.168.1.0/24"));
        let taken = [subnet("192.168.1.0/24"), subnet("192.168.2.7/32"), subnet("10.0.0.0/8")];
        assert_eq!(choose(pool, &taken).unwrap(), subnet("192.168.3.0/24"));
    }

    #[test]
    fn an_exhausted_pool_is_an_error_and_never_starts_again_from_the_front() {
        let pool = subnet("192.168.0.0/16");
        let mut taken: Vec<Subnet> = (1..255).filter_map(|n| pool.part(24, n)).collect();
        assert_eq!(choose(pool, &taken).unwrap(), subnet("192.168.255.0/24"), "the last one");
        taken.push(subnet("192.168.255.0/24"));
        let error = nsutil::error::line(&choose(pool, &taken).unwrap_err());
        assert!(error.contains("every /24 of 192.168.0.0/16") && error.contains("another pool"), "{error}");
        assert_eq!(choose(subnet("10.0.0.0/8"), &taken).unwrap(), subnet("10.0.1.0/24"), "a larger pool helps");
        choose(pool, &[subnet("192.168.0.0/16")]).unwrap_err();
        for small in ["192.168.1.0/24", "192.168.1.0/28"] {
            let error = nsutil::error::line(&choose(subnet(small), &[]).unwrap_err());
            assert!(error.contains("too small"), "{error}");
        }
    }
}
