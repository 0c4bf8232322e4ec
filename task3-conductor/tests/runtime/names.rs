//! /etc/hosts and /etc/resolv.conf in a container.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::life::wait_for;
use testlab::host::{Host, file_of};

/// Puts a file of the test's own over one of the host's, in this test's view of it.
fn cover(over: &str, with: &Path) {
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(with), &fs::canonicalize(over).unwrap(), None::<&str>, flags, None::<&str>).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn the_hosts_resolvers_need_be_no_utf8_no_file_and_a_build_has_them_as_they_are() {
    let host = Host::new("resolvers");
    let file = host.store.join("resolv");
    cover(
        "/etc/resolv.conf",
        &file_of(&file, b"# caf\xe9\nnameserver 127.0.0.53\nnameserver 10.9.8.7\noptions edns0\n"),
    );
    let seen = host.run(&["-q", "run", "--rm", "img", "q", "--", "cat", "/etc/resolv.conf"]).out;
    assert!(seen.contains("nameserver 10.9.8.7\noptions edns0\n") && !seen.contains("127.0.0.53"), "{seen}");
    let conductorfile = host.store.join("Conductorfile");
    let now = std::time::SystemTime::now();
    let text = format!("FROM img\nRUN cat /etc/resolv.conf > /seen # {now:?}\n");
    fs::write(&conductorfile, text).unwrap();
    host.ok(&["build", "made", conductorfile.to_str().unwrap()]);
    let built = host.conductor(&["-q", "run", "--rm", "made", "q", "--", "cat", "/seen"]).output().unwrap().stdout;
    assert_eq!(built, fs::read(&file).unwrap());
    // Nobody comes to the other end of this.
    let pipe = host.store.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    cover("/etc/resolv.conf", &pipe);
    let mut run = host
        .conductor(&["-q", "run", "--rm", "img", "q", "--", "cat", "/etc/resolv.conf"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ended = wait_for(|| run.try_wait().unwrap());
    assert!(ended.success());
}

#[test]
#[ignore = "needs root: make test"]
fn names_and_resolvers_are_the_users_to_choose() {
    let host = Host::new("names");
    let file = file_of(&host.store.join("mine"), b"10.1.2.3 mine\n");
    for place in ["/etc/hosts", "/etc/resolv.conf"] {
        let volume = format!("{}:{place}:ro", file.display());
        let seen = host.run(&["-q", "run", "--rm", "-v", &volume, "img", "q", "--", "cat", place]);
        assert_eq!(seen.out, "10.1.2.3 mine\n", "{seen:?}");
    }
    let options = ["--dns", "10.9.8.7", "--dns", "fe80::7", "--add-host", "db:10.0.0.7", "--add-host", "six:fe80::9"];
    host.ok(&[&["run", "-d"], &options[..], &["img", "web", "--", "sleep", "infinity"]].concat());
    let seen = |path: &str| host.ok(&["-q", "exec", "web", "--", "cat", path]);
    assert!(
        seen("/etc/resolv.conf").ends_with("nameserver 10.9.8.7\nnameserver fe80::7\n"),
        "{}",
        seen("/etc/resolv.conf")
    );
    assert!(!seen("/etc/resolv.conf").contains("1.1.1.1"));
    assert!(seen("/etc/hosts").contains("10.0.0.7\tdb\nfe80::9\tsix\n"), "{}", seen("/etc/hosts"));
    host.ok(&["addnetwork", "web"]);
    assert!(seen("/etc/hosts").contains("10.0.0.7\tdb\n") && seen("/etc/hosts").contains("192.168.1.2\t"));
    assert!(seen("/etc/resolv.conf").ends_with("nameserver 10.9.8.7\nnameserver fe80::7\n"));
    // What is written inside stays.
    host.start("db");
    host.ok(&[
        "exec",
        "db",
        "--",
        "bash",
        "-c",
        "echo 10.3.3.3 own >> /etc/hosts; echo nameserver 10.3.3.4 >> /etc/resolv.conf",
    ]);
    host.ok(&["addnetwork", "db"]);
    let (hosts, resolv) = (
        host.ok(&["-q", "exec", "db", "--", "cat", "/etc/hosts"]),
        host.ok(&["-q", "exec", "db", "--", "cat", "/etc/resolv.conf"]),
    );
    assert!(hosts.ends_with("10.3.3.3 own\n") && resolv.ends_with("nameserver 10.3.3.4\n"), "{hosts}{resolv}");
    host.ok(&["exec", "db", "--", "bash", "-c", "echo nameserver 10.3.3.5 > /etc/resolv.conf"]);
    host.ok(&["addnetwork", "db", "-e", "3000:80"]);
    assert_eq!(host.ok(&["-q", "exec", "db", "--", "cat", "/etc/resolv.conf"]), "nameserver 10.3.3.5\n");
    for wrong in [["--dns", "nowhere"], ["--add-host", "db"], ["--add-host", "db:host"]] {
        assert_eq!(host.run(&["run", wrong[0], wrong[1], "img", "q", "--", "true"]).code, 125, "{wrong:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_read_only_container_cannot_write_to_its_own_hosts_either_and_conductor_can() {
    let host = Host::new("read-only-hosts");
    host.ok(&["run", "-d", "--read-only", "img", "web", "--", "sleep", "infinity"]);
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        let refused = host.run(&["exec", "web", "--", "bash", "-c", &format!("echo x >> {file}")]);
        assert!(refused.code == 1 && refused.err.contains("Read-only file system"), "{refused:?}");
    }
    host.ok(&["addnetwork", "web"]);
    assert!(host.ok(&["exec", "web", "--", "cat", "/etc/hosts"]).contains("192.168.1.2\t"));
    // A volume there is the user's.
    let file = file_of(&host.store.join("mine"), b"");
    let volume = format!("{}:/etc/hosts", file.display());
    host.ok(&["run", "--rm", "--read-only", "-v", &volume, "img", "q", "--", "bash", "-c", "echo x > /etc/hosts"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "x\n");
}

/// A program that takes every address of a name would reach another container, and believe it was itself.
#[test]
#[ignore = "needs root: make test"]
fn a_container_named_localhost_does_not_replace_the_loopback() {
    let host = Host::new("called-localhost");
    for name in ["localhost", "web"] {
        host.start(name);
        host.ok(&["addnetwork", name]);
    }
    host.ok(&["peer", "localhost", "web"]);
    for name in ["localhost", "web"] {
        let hosts = host.ok(&["-q", "exec", name, "--", "cat", "/etc/hosts"]);
        let known = hosts.lines().filter(|line| line.split_whitespace().any(|word| word == "localhost"));
        let known: Vec<&str> = known.collect();
        assert_eq!(known, ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"], "{hosts}");
    }
    let hosts = host.ok(&["-q", "exec", "localhost", "--", "cat", "/etc/hosts"]);
    assert!(hosts.contains("192.168.2.2\tweb\n"), "{hosts}");
}
