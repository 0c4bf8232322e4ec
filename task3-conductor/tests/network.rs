//! Networks of containers, tried with real packets on a host of namespaces. Every "no" stands behind a "yes" by the same
//! path, so that a broken network is not taken for isolation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::net::Ipv4Addr;

use world::{HOST, Host, INTERNET, NEIGHBOUR, address, gateway};

#[test]
#[ignore = "needs root: make test"]
fn a_network_has_the_published_names_addresses_and_routes() {
    let host = Host::new();
    let eg = host.container("eg");
    let said = host.conductor("addnetwork eg");
    assert!(
        said.ends_with(
            "\nSetting up network 'eg' with peer ip 192.168.1.2. Waiting for interface configuration to settle...\n"
        ),
        "{said}"
    );
    let inside = eg.run("ip -brief address");
    assert!(inside.lines().any(|line| line.starts_with("eg-inside@") && line.contains("192.168.1.2/24")), "{inside}");
    assert!(inside.lines().any(|line| line.starts_with("lo ") && line.contains("127.0.0.1/8")), "{inside}");
    let outside = host.space.run("ip -brief address show eg-outside");
    assert!(outside.contains("192.168.1.1/24") && !outside.contains("fe80"), "{outside}");
    let routes = eg.run("ip route");
    assert!(routes.contains("192.168.0.0/16 via 192.168.1.1 dev eg-inside"), "{routes}");
    assert!(!routes.contains("default"), "{routes}");
    assert!(eg.pings(gateway(1)), "container to host");
    assert!(host.space.pings(address(1)), "host to container");
    assert!(eg.pings(Ipv4Addr::LOCALHOST), "lo is up");
}
