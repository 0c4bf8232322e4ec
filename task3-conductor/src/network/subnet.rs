//! Chooses the subnet of a container: the first free one of the pool.
//!
//! Each container has a subnet of 256 addresses: the host is number 1, the container number 2. Subnets are counted from
//! 1, as in the published labs, and skipped if the host already has a route into them (its LAN, a VPN, another tool's
//! bridge).
//!
//! Look: `ip route`. Manual: ip-route(8).

use std::net::Ipv4Addr;

use nsutil::error::{Error, Result};
use nsutil::net::address::Subnet;

/// Prefix of a container's subnet, in bits.
pub const PREFIX: u8 = 24;

/// Networks without host addresses: this network, loopback, link-local, and everything from multicast on. See RFC 6890.
const NO_ADDRESSES: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Parses an address pool.
///
/// # Errors
/// In words when it is not a subnet, or not one for hosts.
pub fn pool(text: &str) -> std::result::Result<Subnet, String> {
    let pool: Subnet = text.parse()?;
    let taken = NO_ADDRESSES.into_iter().filter_map(|(network, prefix)| Subnet::containing(network, prefix));
    match taken.into_iter().find(|taken| taken.overlaps(pool)) {
        None => Ok(pool),
        Some(taken) => Err(format!(
            "{pool} contains addresses of {taken}, which no host can have: use a part of 10.0.0.0/8, for example"
        )),
    }
}

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
    // Counted from 1.
    let mut candidates = pool.parts(PREFIX).skip(1);
    let free = candidates.find(|candidate| !taken.iter().any(|other| other.overlaps(*candidate)));
    free.ok_or_else(|| {
        let all_taken = match pool.parts(PREFIX).nth(1) {
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
    fn a_pool_has_addresses_that_hosts_can_have() {
        for fine in ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10", "192.168.1.0/24"] {
            assert_eq!(pool(fine).unwrap().to_string(), fine);
        }
        for wrong in
            ["0.0.0.0/0", "224.0.0.0/8", "128.0.0.0/1", "127.0.0.0/16", "240.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8"]
        {
            assert!(pool(wrong).unwrap_err().contains("no host can have"), "{wrong}");
        }
        assert!(pool("10.0.0.0").unwrap_err().contains("is not a subnet"));
    }

    #[test]
    fn an_exhausted_pool_is_an_error_and_never_starts_again_from_the_front() {
        let pool = subnet("192.168.0.0/16");
        let mut taken: Vec<Subnet> = pool.parts(24).skip(1).take(254).collect();
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
