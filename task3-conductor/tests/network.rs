//! Networks of containers, tried with real packets on a host of namespaces. Every "no" stands behind a "yes" by the same
//! path, so that a broken network is not taken for isolation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use netlab::{HOST, Host, INTERNET, NEIGHBOUR, address, gateway};

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
#[test]
#[ignore = "needs root: make test"]
fn nothing_beyond_the_host_is_reached_without_internet_whatever_the_policy() {
    for policy in ["ACCEPT", "DROP"] {
        let host = Host::new();
        host.space.run(&format!("iptables -P FORWARD {policy}"));
        host.be_a_router();
        let shut_in = host.networked("inner", "");
        let connected = host.networked("outer", "--internet");
        assert!(connected.pings(INTERNET) && connected.pings(NEIGHBOUR), "{policy}: the same way, with --internet");
        let server = host.world.serve(80);
        assert_eq!(connected.asks(INTERNET, 80), Some(HOST.to_string()), "{policy}: behind the host's address");
        // Give it the route it lacks, and the world a way to answer: the firewall alone must hold.
        host.world.run(&format!("ip route add 192.168.0.0/16 via {HOST}"));
        assert!(shut_in.pings(gateway(1)), "{policy}: its veth pair works");
        shut_in.run("ip route add default via 192.168.1.1");
        assert!(!shut_in.pings(INTERNET) && !shut_in.pings(NEIGHBOUR), "{policy}");
        assert_eq!(shut_in.asks(INTERNET, 80), None, "{policy}");
        drop(server);
        assert!(host.rules().contains(&format!("filter: -P FORWARD {policy}\n")), "the policy is the user's");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn containers_reach_each_other_as_peers_only_both_ways_and_by_name() {
    for policy in ["ACCEPT", "DROP"] {
        let host = Host::new();
        host.space.run(&format!("iptables -P FORWARD {policy}"));
        host.be_a_router();
        let a = host.networked("a", "-i");
        let b = host.networked("b", "-i");
        let c = host.networked("c", "-i");
        assert!(a.pings(gateway(2)), "{policy}: the host's end of the other's veth pair is the host");
        assert!(!a.pings(address(2)) && !b.pings(address(1)), "{policy}: no peers yet");
        host.conductor("peer b a");
        assert!(a.pings(address(2)) && b.pings(address(1)), "{policy}: peers, both ways");
        host.conductor("peer a b");
        assert!(!a.pings(address(3)) && !c.pings(address(1)) && !c.pings(address(2)), "{policy}: nobody else");
        let names = |name: &str| std::fs::read_to_string(host.dir(name).join("hosts")).unwrap();
        assert!(names("a").contains("192.168.2.2\tb\n") && names("b").contains("192.168.1.2\ta\n"), "{}", names("a"));
        assert!(names("a").starts_with("127.0.0.1\tlocalhost\n") && !names("c").contains("\ta\n"));
        // One ends: the other's rules about it go, and a later one of its name is a stranger.
        drop(b);
        host.end("b");
        assert!(!names("a").contains("\tb\n"), "{}", names("a"));
        let b = host.networked("b", "-i");
        assert!(b.pings(INTERNET) && !b.pings(address(1)) && !a.pings(address(2)), "{policy}: no peer by inheritance");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn peers_are_two_running_containers_with_networks() {
    let host = Host::new();
    let _a = host.networked("a", "");
    let b = host.container("b");
    let said = host.refused("peer a b");
    assert!(
        said.contains("cannot make a peer of container b: it has no network yet; run `conductor addnetwork b`"),
        "{said}"
    );
    assert!(host.refused("peer a a").contains("they are the same container"));
    assert!(host.refused("peer a none").contains("cannot find container none"));
    drop(b);
    assert!(host.refused("peer a b").contains("its first process has ended"));
    assert!(host.refused("addnetwork b").contains("its first process has ended"));
    assert!(host.refused("addnetwork none").contains("cannot find container none"));
}

#[test]
#[ignore = "needs root: make test"]
fn a_published_port_answers_from_everywhere_it_should() {
    for (tables, policy) in [("iptables-nft", "ACCEPT"), ("iptables-nft", "DROP"), ("iptables-legacy", "DROP")] {
        let host = Host::new();
        // A rule of the user's tells which set of tables is in use.
        host.space.run(&format!("{tables} -P FORWARD {policy}"));
        host.space.run(&format!("{tables} -A INPUT -s 203.0.113.99 -j DROP"));
        let web = host.networked("web", "--expose 3000:8080");
        let _server = web.serve(8080);
        let friend = host.networked("friend", "");
        let stranger = host.networked("stranger", "-i");
        host.conductor("peer web friend");
        let case = format!("{tables} {policy}");
        assert_eq!(
            host.world.asks(HOST, 3000),
            Some(NEIGHBOUR.to_string()),
            "{case}: LAN, and the caller's address is seen"
        );
        assert_eq!(host.space.asks(HOST, 3000), Some(HOST.to_string()), "{case}: the host by its address");
        assert_eq!(host.space.asks(Ipv4Addr::LOCALHOST, 3000), Some(gateway(1).to_string()), "{case}: 127.0.0.1");
        assert_eq!(
            host.space.asks(gateway(1), 3000),
            Some(gateway(1).to_string()),
            "{case}: the host's end of the veth pair"
        );
        assert_eq!(friend.asks(gateway(2), 3000), Some(address(2).to_string()), "{case}: a peer by its host");
        assert_eq!(friend.asks(address(1), 8080), Some(address(2).to_string()), "{case}: a peer directly");
        assert_eq!(web.asks(HOST, 3000), Some(gateway(1).to_string()), "{case}: itself");
        assert_eq!(stranger.asks(HOST, 3000), None, "{case}: not a peer");
        assert_eq!(host.world.asks(HOST, 8080), None, "{case}: only the port that was published");
        let ours = host.space.run(&format!("{tables} -t nat -S"));
        assert!(ours.contains("conductor:web"), "{case}: in the tables that are in use: {ours}");
        let other = if tables == "iptables-nft" { "iptables-legacy" } else { "iptables-nft" };
        assert!(!host.space.run(&format!("{other}-save")).contains("conductor"), "{case}: and only there");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn datagrams_are_published_too_and_both_spellings_mean_the_same() {
    let host = Host::new();
    let web = host.networked("web", "-e 5353-53/udp -e 8080-3000");
    let (_names, _pages) = (web.serve_udp(5353), web.serve(8080));
    assert_eq!(host.world.asks_udp(HOST, 53), Some(NEIGHBOUR.to_string()));
    assert_eq!(host.space.asks_udp(Ipv4Addr::LOCALHOST, 53), Some(gateway(1).to_string()));
    assert_eq!(host.world.asks(HOST, 3000), Some(NEIGHBOUR.to_string()));
    assert_eq!(host.world.asks(HOST, 53), None, "another protocol, another port");
}

#[test]
#[ignore = "needs root: make test"]
fn a_port_in_use_is_refused_with_its_holder_and_nothing_is_left() {
    let host = Host::new();
    let _web = host.networked("web", "-e 3000:8080");
    let _db = host.container("db");
    let (rules, links) = (host.rules(), host.links());
    let said = host.refused("addnetwork db -e 4000:80 -e 3000:80");
    assert!(said.contains("port 3000 of the host is in use by container web (published as 3000:8080/tcp)"), "{said}");
    let _listener = host.space.serve(4000);
    let said = host.refused("addnetwork db -e 4000:80");
    let me = format!("port 4000 of the host is in use by process {} (", std::process::id());
    assert!(said.contains(&me), "{said}");
    assert_eq!((host.rules(), host.links()), (rules, links));
    assert!(!host.dir("db").join("network.json").exists());
    host.conductor("addnetwork db -e 3000:80/udp");
}

#[test]
#[ignore = "needs root: make test"]
fn neighbours_cannot_route_in_nor_reach_the_loopback() {
    let host = Host::new();
    host.be_a_router();
    let web = host.networked("web", "-i -e 3000:8080");
    let (_server, _loopback) = (web.serve(8080), host.space.serve_at(Ipv4Addr::LOCALHOST, 22));
    assert!(host.world.asks(HOST, 3000).is_some() && host.space.asks(Ipv4Addr::LOCALHOST, 22).is_some());
    host.world.run(&format!("ip route add 192.168.0.0/16 via {HOST}"));
    assert_eq!(host.world.asks(address(1), 8080), None, "the container's own address is not for the LAN");
    assert!(!host.world.pings(address(1)));
    // With route_localnet on its veth pair, a container might send to 127.0.0.1 of the host.
    web.run("ip address flush dev lo");
    web.run("ip link set lo down");
    web.run("ip route add 127.0.0.1 via 192.168.1.1 src 192.168.1.2");
    web.run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
    assert_eq!(web.asks(Ipv4Addr::LOCALHOST, 22), None);
    assert!(web.pings(INTERNET), "its veth pair still works");
    assert!(host.space.asks(Ipv4Addr::LOCALHOST, 3000).is_some(), "and so does 127.0.0.1 the other way");
}

#[test]
#[ignore = "needs root: make test"]
fn source_addresses_cannot_be_forged() {
    let host = Host::new();
    let a = host.networked("a", "-i");
    let _b = host.networked("b", "-i");
    a.run("ip address add 192.168.1.77/32 dev a-inside");
    a.run("ip address add 192.168.2.2/32 dev a-inside");
    let heard = |from: &str| {
        let output = a.command("ping").args(["-c1", "-W1", "-I", from, "192.168.1.1"]).output().unwrap();
        output.status.success()
    };
    assert!(heard("192.168.1.2"));
    assert!(!heard("192.168.1.77") && !heard("192.168.2.2"));
}

#[test]
#[ignore = "needs root: make test"]
fn the_host_is_as_it_was_when_the_last_network_has_gone() {
    for policy in ["ACCEPT", "DROP"] {
        let host = Host::new();
        for rule in [
            "-A INPUT -p tcp --dport 22 -j ACCEPT",
            "-A FORWARD -i virbr0 -j ACCEPT",
            "-t nat -A POSTROUTING -s 10.77.0.0/24 -j MASQUERADE",
            "-t raw -A PREROUTING -s 203.0.113.1 -j DROP",
            "-t mangle -A FORWARD -j MARK --set-mark 7",
        ] {
            host.space.run(&format!("iptables {rule}"));
        }
        host.space.run(&format!("iptables -P FORWARD {policy}"));
        // The counters of the built-in chains count the world's packets as well.
        let saved = || {
            host.space
                .run("iptables-save")
                .lines()
                .filter(|line| !line.starts_with(['#', ':']))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let before = (host.rules(), saved(), host.links(), host.forwards(), host.space.run("ip route"));
        let a = host.networked("a", "-i -e 3000:8080");
        let b = host.networked("b", "-i");
        host.conductor("peer a b");
        assert_eq!(host.forwards(), "1");
        let users: Vec<String> =
            host.rules().lines().filter(|line| !line.to_lowercase().contains("conductor")).map(str::to_owned).collect();
        assert_eq!(users.join("\n") + "\n", before.0, "the user's rules stand while ours are there");
        drop(a);
        host.end("a");
        assert_eq!(host.forwards(), "1", "b needs it");
        assert!(b.pings(INTERNET), "b is not touched");
        drop(b);
        host.end("b");
        assert_eq!((host.rules(), saved(), host.links(), host.forwards(), host.space.run("ip route")), before);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_host_that_was_a_router_stays_one_and_one_that_was_none_serves_its_containers_only() {
    let host = Host::new();
    let lan = netlab::Netns::new();
    host.space.run(&format!("ip link add lan0 type veth peer name lan0-far netns {}", lan.pid()));
    host.space.run("ip address add 10.8.0.1/24 dev lan0");
    host.space.run("ip link set lan0 up");
    lan.run("ip address add 10.8.0.2/24 dev lan0-far");
    lan.run("ip link set lan0-far up");
    lan.run("ip route add default via 10.8.0.1");
    host.world.run(&format!("ip route add 10.8.0.0/24 via {HOST}"));
    assert!(!lan.pings(INTERNET), "the host passes nothing on");
    let a = host.networked("a", "-i");
    assert!(a.pings(INTERNET) && !lan.pings(INTERNET), "for its container only");
    drop(a);
    host.end("a");
    host.space.run("sysctl -qw net.ipv4.ip_forward=1");
    assert!(lan.pings(INTERNET), "now the user made it a router");
    let a = host.networked("a", "-i");
    assert!(a.pings(INTERNET) && lan.pings(INTERNET));
    drop(a);
    host.end("a");
    assert_eq!(host.forwards(), "1", "what conductor did not set it does not take back");
}

#[test]
#[ignore = "needs root: make test"]
fn networks_are_added_to_and_said_twice_they_stay_the_same() {
    let host = Host::new();
    let web = host.networked("web", "-i");
    let _server = web.serve(8080);
    assert!(web.pings(INTERNET));
    assert_eq!(host.world.asks(HOST, 3000), None);
    host.conductor("addnetwork -e 3000:8080 web");
    assert!(web.pings(INTERNET), "still");
    assert_eq!(host.world.asks(HOST, 3000), Some(NEIGHBOUR.to_string()));
    let (rules, links) = (host.rules(), host.links());
    let said = host.conductor("addnetwork web -i -e 3000:8080");
    assert!(said.contains("peer ip 192.168.1.2."), "{said}");
    assert_eq!((host.rules(), host.links()), (rules, links), "no rule twice");
    let said = host.refused("addnetwork web -e 3000:9090");
    assert!(said.contains("in use by container web (published as 3000:8080/tcp)"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn twenty_at_once_get_twenty_subnets() {
    let host = Host::new();
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let spaces: Vec<netlab::Netns> = names.iter().map(|name| host.container(name)).collect();
    let started: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = host.command();
            command.args(["addnetwork", name, "-i"]).stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut addresses: Vec<String> = started
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            let said = String::from_utf8(output.stdout).unwrap();
            said.split("peer ip ").nth(1).unwrap().split(". ").next().unwrap().to_owned()
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    for space in &spaces {
        assert!(space.pings(INTERNET));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn subnets_in_use_on_the_host_are_left_out_and_an_empty_pool_says_so() {
    let host = Host::new();
    host.space.run("ip address add 192.168.1.50/24 dev up0");
    host.space.run("ip route add 192.168.2.128/25 via 10.9.0.1");
    let _a = host.container("a");
    assert!(host.conductor("addnetwork a").contains("peer ip 192.168.3.2."));
    let _b = host.container("b");
    assert!(host.conductor("addnetwork b --pool 10.200.0.0/16").contains("peer ip 10.200.1.2."));
    let _c = host.container("c");
    host.space.run("ip route add 192.168.0.0/16 via 10.9.0.1");
    let said = host.refused("addnetwork c");
    assert!(said.contains("every /24 of 192.168.0.0/16 has a route or a container already; stop containers"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn names_of_every_length_work() {
    let host = Host::new();
    let long = "x".repeat(63);
    let names = ["seven77", "eight888", "fifteen-letters", "sixteen-letters1", "sixteen-letters2", &long];
    for (index, name) in names.iter().enumerate() {
        let space = host.networked(name, "-i");
        assert!(space.pings(INTERNET), "{name}");
        assert!(space.pings(gateway(index as u8 + 1)), "{name}");
        let links = host.space.run("ip -details link show type veth");
        assert!(links.contains(&format!("alias {name}\n")), "{name}: {links}");
        std::mem::forget(space);
    }
    assert!(host.links().contains("seven77-outside@"));
    for name in names {
        host.end(name);
    }
    assert!(
        !host.links().contains("outside") && !host.rules().to_lowercase().contains("conductor"),
        "{}",
        host.rules()
    );
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_kill_left_half_done_is_completed_by_saying_it_again() {
    let host = Host::new();
    let clean = (host.rules(), host.links());
    for delay in (0..25).map(|n| Duration::from_millis(5 * n)) {
        let web = host.container("web");
        let mut command = host.command();
        command.args(["addnetwork", "web", "-i", "-e", "3000:8080"]).stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(delay);
        // nsenter(1) has become conductor: this is its number.
        let _ = child.kill();
        child.wait().unwrap();
        host.conductor("addnetwork web -i -e 3000:8080");
        let _server = web.serve(8080);
        assert!(web.pings(INTERNET), "after {delay:?}");
        assert!(host.world.asks(HOST, 3000).is_some(), "after {delay:?}");
        let rules = host.rules();
        let mut ours: Vec<&str> = rules.lines().filter(|line| line.to_lowercase().contains("conductor")).collect();
        let count = ours.len();
        ours.sort_unstable();
        ours.dedup();
        assert_eq!(ours.len(), count, "after {delay:?} a rule stands twice: {rules}");
        drop(web);
        host.end("web");
        assert_eq!((host.rules(), host.links()), clean, "after {delay:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_network_that_cannot_be_made_leaves_nothing() {
    let host = Host::new();
    let (rules, links) = (host.rules(), host.links());
    let web = host.container("web");
    // Its own end cannot get the address: a link of that name is there, but no veth pair leads out of it.
    web.run("ip link add web-inside type veth peer name elsewhere");
    let said = host.refused("addnetwork web -i -e 3000:8080");
    assert!(said.contains("web-outside"), "{said}");
    assert_eq!((host.rules(), host.links(), host.forwards()), (rules, links, "0".to_owned()));
    assert!(!host.dir("web").join("network.json").exists());
    web.run("ip link delete web-inside");
    host.conductor("addnetwork web -i -e 3000:8080");
    assert!(web.pings(INTERNET));
}

#[test]
#[ignore = "needs root: make test"]
fn a_link_of_another_owner_is_left_alone() {
    let host = Host::new();
    host.space.run("ip link add web-outside type veth peer name elsewhere");
    let _web = host.container("web");
    let said = host.refused("addnetwork web");
    assert!(said.contains("cannot create link web-outside: a link of that name exists"), "{said}");
    host.end("web");
    assert!(host.links().contains("web-outside"));
}

#[test]
#[ignore = "needs root: make test"]
fn the_way_out_is_found_by_route_or_named() {
    let host = Host::new();
    let web = host.container("web");
    let said = host.refused("addnetwork web -i --interface enp9s9");
    assert!(said.contains("cannot use interface enp9s9: it does not exist; `ip route` shows"), "{said}");
    host.conductor("addnetwork web -i --interface up0");
    assert!(web.pings(INTERNET));
    host.space.run("ip route delete default");
    let _db = host.container("db");
    let said = host.refused("addnetwork db -i");
    assert!(said.contains("cannot reach the internet: this host has no default route; connect the host"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn the_story_of_a_network_names_each_step() {
    let host = Host::new();
    let _web = host.container("web");
    let output = host.command().args(["addnetwork", "web", "-i", "--explain"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    for shell in [
        "nsenter --target",
        "ip link add web-inside type veth peer name web-outside",
        "ip address add 192.168.1.2/24 dev web-inside",
        "ip link set lo up",
        "ip route replace default via 192.168.1.1",
        "iptables-restore --noflush",
        "sysctl -w net.ipv4.ip_forward=1",
    ] {
        assert!(told.contains(shell), "{shell}: {told}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn datagrams_that_flow_already_follow_the_port_to_its_next_container() {
    let host = Host::new();
    let first = host.networked("first", "-e 53:53/udp");
    let second = host.networked("second", "");
    let (_one, _two) = (first.serve_udp(53), second.serve_udp(53));
    let client = host.world.inside(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answered = || {
        client.send_to(b"who", (HOST, 53)).unwrap();
        client.recv_from(&mut [0; 64]).is_ok()
    };
    assert!(answered());
    drop(first);
    host.end("first");
    assert!(!answered(), "there is nobody, and it is tried all the same");
    host.conductor("addnetwork second -e 53:53/udp");
    assert!(answered(), "the same flow, led to the new container");
}

#[test]
#[ignore = "needs root: make test"]
fn conductors_with_a_store_each_leave_each_others_networks_as_they_are() {
    let host = Host::new();
    let other = host.with_another_store();
    let before = (host.rules(), host.links());
    for [first, second] in [[&host, &other], [&other, &host]] {
        assert_eq!(host.forwards(), "0");
        let a = first.networked("a", "-i");
        let namesake = second.container("a");
        let b = second.networked("b", "-i");
        let plain = second.networked("plain", "");
        assert!(a.pings(INTERNET) && b.pings(INTERNET) && !plain.pings(INTERNET));
        assert!(
            host.rules().contains("-A CONDUCTOR-FORWARD -i up0 -o up0 -m comment --comment conductor -j DROP"),
            "{}",
            host.rules()
        );
        drop(a);
        first.end("a");
        assert!(b.pings(INTERNET), "whoever came first is not the last");
        assert!(
            host.rules().contains("-A CONDUCTOR-FORWARD -i up0 -o up0 -m comment --comment conductor -j DROP"),
            "{}",
            host.rules()
        );
        drop((b, plain, namesake));
        second.end("b");
        assert_eq!(host.forwards(), "0", "as it was found");
        second.end("plain");
        second.end("a");
        assert_eq!((host.rules(), host.links()), before);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_port_that_leads_to_a_container_of_another_store_is_in_use() {
    let host = Host::new();
    let other = host.with_another_store();
    let web = host.networked("web", "-e 3000:8080");
    let db = other.container("db");
    let (rules, links) = (host.rules(), host.links());
    let said = other.refused("addnetwork db -e 3000:80");
    assert!(said.contains("port 3000 of the host is in use by container web of another store (--root)"), "{said}");
    assert_eq!((host.rules(), host.links()), (rules, links));
    // Another port, another protocol; and its own once more.
    other.conductor("addnetwork db -e 3001:80 -e 3000:80/udp");
    other.conductor("addnetwork db -e 3001:80");
    drop(web);
    host.end("web");
    other.conductor("addnetwork db -e 3000:80");
    drop(db);
    other.end("db");
}

#[test]
#[ignore = "needs root: make test"]
fn an_ended_containers_network_is_given_back_once() {
    let host = Host::new();
    let other = host.with_another_store();
    let web = host.networked("web", "-i");
    drop(web);
    host.conductor("ps");
    assert_eq!((host.forwards().as_str(), host.links().contains("web-outside")), ("0", false));
    // The name, and the host's word on forwarding, are others' now.
    let web = other.networked("web", "-i");
    host.be_a_router();
    host.end("web");
    assert_eq!(host.forwards(), "1");
    assert!(web.pings(INTERNET));
    drop(web);
    other.end("web");
}

#[test]
#[ignore = "needs root: make test"]
fn the_hosts_own_names_are_left_alone_and_its_stub_resolver_is_replaced() {
    let host = Host::new();
    let _web = host.container("web");
    // In the mounts of this host of namespaces only.
    host.space.run("mount -t tmpfs tmpfs /mnt");
    host.space.run("mkdir -p /run/systemd/resolve");
    let write = |path: &str, text: &str| {
        host.space.run_script(&format!("printf '{text}' > {path}"));
    };
    write("/mnt/stub", "nameserver 127.0.0.53\\nsearch lab.example\\n");
    host.space.run("mount --bind /mnt/stub /etc/resolv.conf");
    write("/run/systemd/resolve/resolv.conf", "nameserver 10.9.0.53\\nsearch lab.example\\n");
    let own = || (host.space.run("cat /etc/resolv.conf"), host.space.run("cat /etc/hosts"));
    let before = own();
    host.conductor("addnetwork web -i");
    assert_eq!(own(), before);
    let inside = std::fs::read_to_string(host.dir("web").join("resolv.conf")).unwrap();
    let ours: Vec<&str> = inside.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ours, ["nameserver 10.9.0.53", "search lab.example"]);
    host.end("web");
    assert_eq!(own(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn peer_and_stop_that_were_killed_can_be_said_again() {
    let host = Host::new();
    let clean = (host.rules(), host.links(), host.forwards());
    let killed_after = |delay: Duration, words: &[&str]| {
        let mut command = host.command();
        let mut child = command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        let _ = child.kill();
        child.wait().unwrap();
    };
    for delay in (0..10).map(|n| Duration::from_millis(12 * n)) {
        let (a, b) = (host.networked("a", ""), host.networked("b", ""));
        killed_after(delay, &["peer", "a", "b"]);
        host.conductor("peer a b");
        assert!(a.pings(address(2)) && b.pings(address(1)), "after {delay:?}");
        drop(a);
        killed_after(delay, &["stop", "a"]);
        if host.dir("a").exists() {
            host.end("a");
        }
        let a = host.networked("a", "");
        assert!(a.pings(gateway(1)) && !a.pings(address(2)) && !b.pings(address(1)), "after {delay:?}");
        drop((a, b));
        // Ended, and nobody has said stop: the next command that looks gives back what they held.
        host.conductor("ps");
        assert_eq!((host.rules(), host.links(), host.forwards()), clean, "after {delay:?}");
        host.end("a");
        host.end("b");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn flushed_rules_are_restored_by_repeating_the_command() {
    let host = Host::new();
    let web = host.networked("web", "-i -e 3000:8080");
    let _server = web.serve(8080);
    let whole = host.rules();
    for table in ["filter", "nat", "raw"] {
        host.space.run(&format!("iptables -t {table} -F"));
        host.space.run(&format!("iptables -t {table} -X"));
    }
    assert_eq!(host.world.asks(HOST, 3000), None);
    host.conductor("addnetwork web");
    assert_eq!(host.rules(), whole);
    assert!(host.world.asks(HOST, 3000).is_some() && web.pings(INTERNET));
}

#[test]
#[ignore = "needs root: make test"]
fn after_a_reboot_the_hosts_own_choice_stands() {
    let host = Host::new();
    let _web = host.networked("web", "-i");
    assert_eq!(host.forwards(), "1");
    // As if the host had been started again, and made a router by its own settings.
    let record = host.dir("web").join("record.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&record, text.replace(boot_id.trim_end(), "another")).unwrap();
    host.end("web");
    assert_eq!(host.forwards(), "1");
}

#[test]
#[ignore = "needs root: make test"]
fn a_damaged_record_of_a_network_is_named_and_can_be_stopped() {
    let host = Host::new();
    let (rules, links) = (host.rules(), host.links());
    let (web, db) = (host.networked("web", "-i"), host.networked("db", "-i"));
    host.conductor("peer web db");
    std::fs::write(host.dir("web").join("network.json"), "{\"schema\": 1").unwrap();
    assert!(host.refused("addnetwork web").contains("cannot understand") && db.pings(INTERNET));
    drop(web);
    host.end("web");
    let web = host.networked("web", "-i");
    assert!(web.pings(INTERNET) && !db.pings(address(1)) && !web.pings(address(2)), "no peer by inheritance");
    drop((web, db));
    host.end("web");
    host.end("db");
    assert_eq!((host.rules(), host.links()), (rules, links));
}

/// A network behind the host of its own, such as a VPN's or another provider's: its address, and what there is to reach.
fn another_internet(host: &Host, link: &str, number: u8) -> (netlab::Netns, Ipv4Addr) {
    let there = netlab::Netns::new();
    host.space.run(&format!("ip link add {link} type veth peer name far netns {}", there.pid()));
    host.space.run(&format!("ip address add 10.{number}.0.2/24 dev {link}"));
    host.space.run(&format!("ip link set {link} up"));
    there.run("ip link set lo up");
    there.run(&format!("ip address add 10.{number}.0.1/24 dev far"));
    there.run(&format!("ip address add {INTERNET}/32 dev lo"));
    there.run("ip link set far up");
    (there, Ipv4Addr::new(10, number, 0, 2))
}

#[test]
#[ignore = "needs root: make test"]
fn a_default_route_in_two_halves_takes_no_subnet_away() {
    let host = Host::new();
    for half in ["0.0.0.0/1", "128.0.0.0/1"] {
        host.space.run(&format!("ip route add {half} via {NEIGHBOUR}"));
    }
    host.space.run("ip route add 192.0.0.0/8 via 10.9.0.1");
    let eg = host.networked("eg", "-i");
    assert!(eg.run("ip -brief address").contains("192.168.1.2/24") && eg.pings(INTERNET));
    // Nor is one needed beside them.
    host.space.run("ip route del default");
    let other = host.networked("other", "-i");
    assert!(other.pings(INTERNET));
    host.space.run("ip route add 192.168.0.0/16 via 10.9.0.1");
    let full = host.container("full");
    assert!(host.refused("addnetwork full").contains("every /24 of 192.168.0.0/16 has a route"));
    drop(full);
}

#[test]
#[ignore = "needs root: make test"]
fn the_internet_is_reached_by_whatever_way_the_host_takes_at_that_moment() {
    for policy in ["ACCEPT", "DROP"] {
        let host = Host::new();
        host.space.run(&format!("iptables -P FORWARD {policy}"));
        let eg = host.networked("eg", "-i");
        let other = host.networked("other", "-i");
        let friend = host.networked("friend", "");
        host.conductor("peer eg friend");
        let (vpn, own) = another_internet(&host, "tun0", 77);
        let (_first, _second) = (host.world.serve(80), vpn.serve(80));
        assert_eq!(eg.asks(INTERNET, 80), Some(HOST.to_string()), "{policy}");
        host.space.run("ip route replace default via 10.77.0.1");
        assert_eq!(eg.asks(INTERNET, 80), Some(own.to_string()), "{policy}: a VPN that came later");
        host.space.run(&format!("ip route replace default via {NEIGHBOUR}"));
        host.space.run("ip route add default via 10.77.0.1 table 51820");
        host.space.run("ip rule add not fwmark 0xca6c table 51820");
        host.space.run("ip rule add table main suppress_prefixlength 0");
        assert_eq!(eg.asks(INTERNET, 80), Some(own.to_string()), "{policy}: a table of its own");
        host.conductor("network check");
        // What is a container's is none of it.
        assert!(!eg.pings(address(2)) && !other.pings(address(1)) && !other.pings(address(3)), "{policy}");
        let server = friend.serve(8080);
        assert_eq!(eg.asks(address(3), 8080), Some(address(1).to_string()), "{policy}: a peer sees who asks");
        drop(server);
        // Who is restricted stays so, and is told.
        let only = host.container("only");
        let output = host.command().args(["addnetwork", "only", "-i", "--interface", "up0"]).output().unwrap();
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("only reaches the internet only through up0"),
            "{output:?}"
        );
        assert_eq!(only.asks(INTERNET, 80), None, "{policy}");
        let checked = host.command().args(["network", "check"]).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.code() == Some(1) && said.contains("none did; only up0 may be used"), "{said}");
        host.space.run("ip rule del not fwmark 0xca6c table 51820");
        assert_eq!(only.asks(INTERNET, 80), Some(HOST.to_string()), "{policy}");
        host.conductor("network check");
        for (name, space) in [("eg", eg), ("other", other), ("friend", friend), ("only", only)] {
            drop(space);
            host.end(name);
        }
        assert!(!host.rules().to_lowercase().contains("conductor"), "{policy}: {}", host.rules());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_rule_that_refuses_all_the_rest_is_a_policy_and_one_that_means_us_is_named() {
    for tables in ["iptables-nft", "iptables-legacy"] {
        let host = Host::new();
        host.be_a_router();
        let refusal = "FORWARD -j REJECT --reject-with icmp-host-prohibited";
        host.space.run(&format!("{tables} -A FORWARD -d {INTERNET}/32 -p tcp --dport 81 -j DROP"));
        host.space.run(&format!("{tables} -A {refusal}"));
        let eg = host.networked("eg", "-i -e 3000:80");
        let (_web, _other, _own) = (host.world.serve(80), host.world.serve(81), eg.serve(80));
        assert!(eg.asks(INTERNET, 80).is_some() && host.world.asks(HOST, 3000).is_some(), "{tables}");
        assert!(eg.asks(INTERNET, 81).is_none(), "{tables}: the user's own rules stand before");
        host.conductor("network check");
        // Somebody puts it to the front.
        host.space.run(&format!("{tables} -I {refusal}"));
        let check = |what: &str| {
            let checked = host.command().args(["network", "check"]).output().unwrap();
            let said = String::from_utf8_lossy(&checked.stdout);
            assert!(checked.status.code() == Some(1) && said.contains(what), "{tables}: {said}");
        };
        check("none did; see the rule -A FORWARD -j REJECT");
        check("-j CONDUCTOR-FORWARD before -A FORWARD -j REJECT");
        host.conductor("network reload");
        host.conductor("network check");
        assert!(eg.asks(INTERNET, 80).is_some(), "{tables}");
        // And one that cannot be gone around, of whatever tool.
        host.space.run(&format!("{tables} -I FORWARD -i eg-outside -p udp -j DROP"));
        check("none did; see the rule -A FORWARD -i eg-outside -p udp -j DROP");
        host.space.run(&format!("{tables} -D FORWARD 1"));
        let others = if tables == "iptables-nft" { "iptables-legacy" } else { "iptables-nft" };
        host.space.run(&format!("{others} -P FORWARD DROP"));
        check("a packet to the internet leaves the host: none did");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn another_router_that_came_meanwhile_is_served_and_stays_so() {
    let host = Host::new();
    let eg = host.networked("eg", "-i");
    let (guest, _) = another_internet(&host, "virbr0", 77);
    guest.run("ip address del 198.51.100.7/32 dev lo");
    guest.run("ip route add default via 10.77.0.2");
    // As it would do it: at the end, or not at all where the policy is to accept.
    assert!(eg.pings(INTERNET));
    host.space.run("iptables -A FORWARD -i virbr0 -j ACCEPT");
    host.space.run("iptables -t nat -A POSTROUTING -s 10.77.0.0/24 -o up0 -j MASQUERADE");
    assert!(guest.pings(INTERNET), "while our container lives");
    assert!(!guest.pings(address(1)), "which is not its neighbour");
    drop(eg);
    let output = host.command().args(["stop", "eg"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("packet forwarding stays enabled") && said.contains("virbr0"), "{said}");
    assert_eq!(host.forwards(), "1");
    assert!(guest.pings(INTERNET), "and when it has gone");
    assert!(!host.rules().to_lowercase().contains("conductor"), "{}", host.rules());
}

#[test]
#[ignore = "needs root: make test"]
fn a_port_that_something_else_has_is_refused_and_noticed() {
    let host = Host::new();
    let eg = host.container("eg");
    for rule in [
        "PREROUTING -p tcp --dport 3000 -j DNAT --to-destination 10.1.1.1:80",
        "OUTPUT -p tcp -m multiport --dports 22,2999:3001 -j REDIRECT --to-ports 80",
    ] {
        host.space.run(&format!("iptables -t nat -A {rule}"));
        let said = host.refused("addnetwork eg -e 3000:80");
        assert!(said.contains("port 3000 of the host is in use by the firewall rule -t nat -A "), "{said}");
        host.space.run(&format!("iptables -t nat -D {rule}"));
    }
    host.conductor("addnetwork eg -e 3000:80");
    host.conductor("network check");
    let check = |what: &str| {
        let checked = host.command().args(["network", "check"]).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.code() == Some(1) && said.contains(what), "{said}");
    };
    let listener = host.space.serve(3000);
    check("port 3000/tcp not shared: process ");
    drop(listener);
    host.conductor("network check");
    host.space.run("iptables -t nat -I PREROUTING -p tcp --dport 3000 -j DNAT --to-destination 10.1.1.1:80");
    check("port 3000/tcp not shared: the firewall rule -t nat -A PREROUTING");
    drop(eg);
}

#[test]
#[ignore = "needs root: make test"]
fn a_port_of_one_address_answers_there_alone() {
    let host = Host::new();
    let web = host.networked("web", "-e 127.0.0.1:3000:8080");
    let other = host.networked("other", &format!("-e {HOST}:3000:8080"));
    let (_one, _two) = (web.serve(8080), other.serve(9090));
    assert!(host.space.asks(Ipv4Addr::LOCALHOST, 3000).is_some());
    assert_eq!(host.world.asks(HOST, 3000), None, "that leads to the other, which does not listen there");
    host.conductor(&format!("addnetwork other -e {HOST}:4000:9090"));
    assert_eq!(host.world.asks(HOST, 4000), Some(NEIGHBOUR.to_string()));
    assert_eq!(host.space.asks(Ipv4Addr::LOCALHOST, 4000), None);
    // A program of the host that listens on another address is in nobody's way.
    let _own = host.space.serve_at(HOST, 5000);
    host.conductor("addnetwork web -e 127.0.0.1:5000:8080");
    assert!(host.space.asks(Ipv4Addr::LOCALHOST, 5000).is_some());
    let said = host.refused(&format!("addnetwork web -e {HOST}:5000:8080"));
    assert!(said.contains("port 5000 of the host is in use by process"), "{said}");
    for (asked, owner) in [("3000:1", "container "), ("127.0.0.1:3000:1/tcp", "container web")] {
        let said = host.refused(&format!("addnetwork other -e {asked}"));
        assert!(said.contains("port 3000 of the host is in use by ") && said.contains(owner), "{said}");
    }
    let checked = host.conductor("network check");
    assert!(!checked.contains("missing"), "{checked}");
    host.end("web");
    host.end("other");
    assert!(!host.rules().contains("DNAT"), "{}", host.rules());
}

#[test]
#[ignore = "needs root: make test"]
fn a_range_of_ports_leads_each_to_its_own() {
    let host = Host::new();
    let web = host.networked("web", "-e 8000-8002:80-82");
    let _servers = [web.serve(80), web.serve(82)];
    assert!(host.world.asks(HOST, 8000).is_some() && host.world.asks(HOST, 8002).is_some());
    assert_eq!((host.world.asks(HOST, 8001), host.world.asks(HOST, 8003)), (None, None));
    let said = host.refused("addnetwork web -e 9000-9002:80-81");
    assert!(said.contains("two ranges have the same length"), "{said}");
}
