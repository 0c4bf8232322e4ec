//! `network check` and `network reload`: after somebody else has changed what is everybody's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use netlab::{Host, INTERNET, address};

/// The lines of a check: what is there, and what is missing.
fn check(host: &Host) -> (Vec<String>, Vec<String>) {
    let output = host.command().args(["-q", "network", "check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = |state: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.split_whitespace().nth(1) == Some(state));
        lines.map(str::to_owned).collect()
    };
    let (there, missing) = (lines("there"), lines("missing"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(i32::from(!missing.is_empty())), "{text}{said}");
    (there, missing)
}

/// Three containers: one with everything, two that are peers.
fn three_networks(host: &Host) -> [netlab::Netns; 3] {
    let web = host.networked("web", "--internet --expose 3000:8080 --expose 53:5353/udp");
    let (a, b) = (host.networked("a", ""), host.networked("b", ""));
    host.conductor("peer a b");
    [web, a, b]
}

#[test]
#[ignore = "needs root: make test"]
fn what_was_just_made_is_all_there() {
    let host = Host::new();
    assert_eq!(host.conductor("-q network check"), "No networks found\n");
    let _town = three_networks(&host);
    let (there, missing) = check(&host);
    assert_eq!(missing, [""; 0]);
    assert!(there.len() > 24, "{there:#?}");
    // The same with the other set of tables would be the same; and another order of words is the same rule.
    host.end("b");
    assert_eq!(check(&host).1, [""; 0], "also when a peer has gone");
}

#[test]
#[ignore = "needs root: make test"]
fn each_thing_that_goes_missing_is_named_and_comes_back() {
    let host = Host::new();
    let three_networks = three_networks(&host);
    let before = (host.rules(), host.links());
    for (broken, named) in [
        ("iptables -t filter -F CONDUCTOR-FORWARD", "rules in filter: -A CONDUCTOR-FORWARD"),
        ("iptables -t filter -F FORWARD", "-A FORWARD -j CONDUCTOR-FORWARD"),
        ("iptables -t nat -F conductor-web", "rules in nat: -A conductor-web -p "),
        ("iptables -t raw -F conductor-a", "rules in raw: -A conductor-a"),
        ("iptables -t nat -F PREROUTING", "-A PREROUTING -j CONDUCTOR-PREROUTING"),
        ("iptables -t filter -A conductor-b -j ACCEPT", "rules in filter: -F conductor-b"),
        ("iptables -t filter -I conductor-b 1 -j ACCEPT", "rules in filter: -A conductor-b"),
        ("ip link set web-outside down", "link web-outside with 192.168.1.1"),
        ("ip address flush dev a-outside", "link a-outside with 192.168.2.1"),
        ("ip link delete b-outside", "link b-outside with 192.168.3.1"),
        ("sysctl -qw net.ipv4.ip_forward=0", "the host forwards packets"),
        ("sysctl -qw net.ipv4.conf.web-outside.rp_filter=0", "net.ipv4.conf.web-outside.rp_filter = 1"),
        ("sysctl -qw net.ipv4.conf.web-outside.route_localnet=0", "net.ipv4.conf.web-outside.route_localnet = 1"),
    ] {
        host.space.run(broken);
        let (_, missing) = check(&host);
        assert!(missing.iter().any(|line| line.contains(named)), "{broken}: {missing:#?}");
        assert_eq!(host.conductor("-q network reload"), "a\nb\nweb\n");
        assert_eq!(check(&host).1, [""; 0], "after {broken}");
    }
    for (inside, named) in [
        ("ip address flush dev web-inside", "link web-inside with 192.168.1.2"),
        ("ip route delete default", "the default route inside"),
        ("ip link set web-inside down", "link web-inside"),
    ] {
        three_networks[0].run(inside);
        let (_, missing) = check(&host);
        assert!(missing.iter().any(|line| line.contains(named)), "{inside}: {missing:#?}");
        host.conductor("network reload");
        assert_eq!(check(&host).1, [""; 0], "after {inside}");
    }
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&host.rules()), sorted(&before.0), "no rule is there twice");
}

#[test]
#[ignore = "needs root: make test"]
fn after_a_flush_of_all_tables_reload_brings_every_permission_back_at_the_same_addresses() {
    let host = Host::new();
    host.be_a_router();
    let [web, a, b] = three_networks(&host);
    let _server = web.serve(8080);
    let works = || {
        (web.pings(INTERNET), host.world.asks(netlab::HOST, 3000).is_some(), a.pings(address(3)), a.pings(address(1)))
    };
    assert_eq!(works(), (true, true, true, false));
    host.space.run_script("for table in raw nat filter; do iptables -t $table -F; iptables -t $table -X; done");
    assert!(!works().1, "nothing leads inside any more");
    assert!(a.pings(address(1)), "and strangers talk to each other: the host is a router");
    assert_eq!(host.conductor("-q network reload"), "a\nb\nweb\n");
    assert_eq!(works(), (true, true, true, false));
    assert!(b.pings(address(2)), "both ways");
    let foreign = "-A FORWARD -s 203.0.113.9/32 -j DROP";
    host.space.run("iptables -A FORWARD -s 203.0.113.9 -j DROP");
    host.conductor("network reload");
    assert!(host.rules().contains(foreign), "the user's own rules stay");
    for name in ["web", "a", "b"] {
        host.end(name);
    }
    assert_eq!(host.rules().lines().filter(|rule| rule.contains("onductor") || rule.contains("CONDUCTOR")).count(), 0);
}

#[test]
#[ignore = "needs root: make test"]
fn the_drawing_shows_what_the_kernel_has_and_names_what_it_lacks() {
    let host = Host::new();
    assert_eq!(host.conductor("-q network draw"), "No networks found\n");
    let _containers = three_networks(&host);
    let draw = || host.conductor("-q network draw");
    let drawn = draw();
    for line in [
        "├─ a-outside 192.168.2.1/24   ── a-inside 192.168.2.2/24 ── a\n│     reaches b\n",
        "├─ b-outside 192.168.3.1/24   ── b-inside 192.168.3.2/24 ── b\n│     reaches a\n",
        "└─ web-outside 192.168.1.1/24 ── web-inside 192.168.1.2/24 ── web\n",
        "      is reached at port 3000/tcp of the host, its 8080\n",
        "      is reached at port 53/udp of the host, its 5353\n",
        "      reaches the internet\n",
        "forwards packets; to the internet through up0\n",
    ] {
        assert!(drawn.contains(line), "{line:?} in\n{drawn}");
    }
    assert!(!drawn.contains("missing"), "{drawn}");
    for (broken, gone, said) in [
        ("iptables -F conductor-a", "reaches b", "missing: rules in filter: -A conductor-a"),
        ("iptables -t nat -F conductor-web", "3000/tcp", "missing: rules in nat: -A conductor-web"),
        ("ip address flush dev web-outside", "web-outside 192", "missing: link web-outside"),
        ("ip link set b-outside down", "b-outside 192.168.3.1/24  ", "b-outside 192.168.3.1/24 (down)"),
        ("sysctl -qw net.ipv4.ip_forward=0", ": forwards packets", "does not forward packets"),
    ] {
        host.space.run(broken);
        let drawn = draw();
        assert!(drawn.contains(said), "{broken}: {drawn}");
        assert!(!drawn.contains(gone), "{broken}: {drawn}");
        host.conductor("network reload");
        assert!(!draw().contains("missing"), "after {broken}: {}", draw());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_drawing_as_a_file_has_a_box_for_each_container_and_an_arrow_for_each_permission() {
    let host = Host::new();
    let _containers = three_networks(&host);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("networks.svg");
    host.conductor(&format!("network draw {}", file.display()));
    let svg = std::fs::read_to_string(&file).unwrap();
    // Three containers and the host; two peers, two ports, one internet.
    assert_eq!((svg.matches("<rect").count(), svg.matches("url(#head)").count()), (4, 5), "{svg}");
    let refused = host.command().args(["network", "draw", "/proc/no/networks.svg"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cannot write /proc/no/networks.svg") && said.lines().count() == 1, "{said}");
}
