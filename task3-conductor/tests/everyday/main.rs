//! Programs of every day, on a Debian made by debootstrap, with the sandbox on: they must not notice it.
//!
//! The image takes minutes and the internet to build, once; so this is no part of `make test` but of `make prove`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, unshare};
use testlab::tally::Tally;

/// A program, what is typed, and what it must print.
const PROGRAMS: &[(&str, &str, &str)] = &[
    (
        "dpkg --build",
        "mkdir -p /p/DEBIAN /p/opt /repo && printf 'Package: lab\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@y>\\nDescription: x\\n' > /p/DEBIAN/control && echo hi > /p/opt/lab && dpkg-deb --build /p /repo/lab.deb && cd /repo && dpkg-scanpackages . > Packages && ls",
        "Packages",
    ),
    (
        "python3, a server",
        "cd /repo && (setsid python3 -m http.server 8000 > /dev/null 2>&1 &) ; until curl -s localhost:8000/Packages; do sleep 0.1; done",
        "Package: lab",
    ),
    (
        "apt-get update",
        "echo 'deb [trusted=yes] http://web:8000 ./' > /etc/apt/sources.list.d/lab.list && apt-get update -o Dir::Etc::sourcelist=/dev/null 2>&1 | tail -3",
        "Reading package lists",
    ),
    ("apt-get install", "apt-get install -y lab 2>&1 | tail -1; cat /opt/lab", "hi"),
    ("dpkg --purge", "dpkg --purge lab && ls /opt | wc -l", "0"),
    ("useradd", "useradd -m -s /bin/bash ada && id ada", "uid=1000(ada)"),
    ("adduser", "adduser --disabled-password --gecos '' bob 2>&1 | tail -1; id -un bob", "bob"),
    ("chpasswd", "echo ada:secret | chpasswd && getent shadow ada | cut -c1-5", "ada:$"),
    ("su", "su - ada -c 'whoami; pwd; touch own && stat -c %U own'", "ada\n/home/ada\nada"),
    (
        "gcc",
        "printf '%s\\n' '#include <stdio.h>' 'int main(){printf(\"%d\\n\", 6*7);}' > /x.c && gcc -O2 -o /x /x.c && /x",
        "42",
    ),
    ("make", "cd /tmp && printf 'all: x\\nx:\\n\\tcp /x x && ./x\\n' > Makefile && make", "42"),
    ("gdb", "gdb -q -batch -ex 'break main' -ex run -ex 'info frame' /x 2>&1 | grep -c 'Breakpoint 1'", "2"),
    ("strace", "strace -o /trace -e trace=write /x > /dev/null; grep write /trace", "write(1, \"42\\n\", 3)"),
    (
        "python3",
        "python3 -c 'import subprocess, threading, socket, ssl, multiprocessing; print(multiprocessing.Pool(2).map(abs, [-1, -2]))'",
        "[1, 2]",
    ),
    ("perl", "perl -e 'print join(\",\", sort {$a <=> $b} 3,1,2), \"\\n\"'", "1,2,3"),
    ("awk", "seq 10 | gawk '{s+=$1} END {print s}'", "55"),
    ("sed", "echo container | sed -E 's/(con)(tain)/\\2\\1/'", "tainconer"),
    ("grep", "grep -rl ada /etc/passwd", "/etc/passwd"),
    ("find", "find /usr/bin -name 'pytho*3' -type l | wc -l; find / -xdev -name no-such-file 2>&1 | wc -l", "0"),
    (
        "tar and xz",
        "cd / && tar cJf /etc.tar.xz etc && mkdir -p /o && tar xJf /etc.tar.xz -C /o && diff -r --no-dereference /etc /o/etc | grep -vE 'hosts|resolv|mtab' | wc -l",
        "0",
    ),
    ("zip", "cd /tmp && zip -q x.zip Makefile && unzip -p x.zip | head -1", "all: x"),
    ("nginx", "echo page > /var/www/html/index.html && nginx && curl -s localhost", "page"),
    ("curl to a peer", "curl -s web:8000/Packages | head -1", "Package: lab"),
    (
        "sshd",
        "mkdir -p /run/sshd /root/.ssh && ssh-keygen -qt ed25519 -N '' -f /root/.ssh/id && cat /root/.ssh/id.pub > /root/.ssh/authorized_keys && /usr/sbin/sshd && until ss -ltn | grep -q ':22 '; do sleep 0.05; done && ssh -i /root/.ssh/id -o StrictHostKeyChecking=no root@localhost 'id -un; tty || true' 2> /dev/null",
        "root",
    ),
    (
        "ssh with a terminal",
        "ssh -tt -i /root/.ssh/id -o StrictHostKeyChecking=no root@localhost tty < /dev/null 2> /dev/null",
        "/dev/pts/",
    ),
    (
        "rsync over ssh",
        "rsync -a -e 'ssh -i /root/.ssh/id' /etc/apt localhost:/copied && ls /copied/apt | head -1",
        "apt.conf.d",
    ),
    (
        "ping",
        "ping -c1 -W2 web | grep -c '1 received'; su ada -c 'ping -c1 -W2 127.0.0.1' | grep -c '1 received'",
        "1\n1",
    ),
    ("ps", "ps -e -o pid,comm | head -2", "1 "),
    ("top", "top -bn1 | head -1", "top -"),
    ("free and uptime", "free | grep -c Mem; uptime | grep -c up", "1\n1"),
    ("kill and pkill", "sleep 777 & pkill -x sleep && wait; echo gone", "gone"),
    ("ip", "ip -brief address show lo; ip route | head -1", "127.0.0.1/8"),
    ("ss", "ss -ltn | grep -c ':80 '", "2"),
    ("lsof", "lsof -p 1 | grep -c cwd", "1"),
    ("nc", "(nc -l 9999 > /nc &) ; sleep 0.3; echo through | nc -N localhost 9999; sleep 0.2; cat /nc", "through"),
    (
        "git",
        "rm -rf /g && git init -q /g && cd /g && git config user.email a@b && git config user.name a && echo x > x && git add x && git commit -qm one && git clone -q /g /g2 && git -C /g2 log --oneline | wc -l",
        "1",
    ),
    ("vi", "printf 'one\\ntwo\\n' > /v && vi -es -c '%s/two/2/' -c wq /v; cat /v", "one\n2"),
    ("sqlite3", "sqlite3 /db 'create table t(x); insert into t values (1),(2); select sum(x) from t;'", "3"),
    (
        "redis",
        "(redis-server --daemonize yes > /dev/null) && sleep 0.5 && redis-cli set a b && redis-cli get a",
        "OK\nb",
    ),
    ("jq", "echo '{\"a\":[1,2]}' | jq -c .a", "[1,2]"),
    ("bc", "echo '2^64' | bc", "18446744073709551616"),
    (
        "tmux",
        "export TERM=xterm LC_ALL=C.UTF-8; tmux new-session -d 'echo inside > /tmux' && sleep 0.5; cat /tmux",
        "inside",
    ),
    ("cron", "cron && echo '* * * * * true' | crontab - && crontab -l", "* * * * * true"),
    ("less", "seq 3 | less", "1\n2\n3"),
    ("file", "file -b /x", "ELF 64-bit"),
    ("sudo, which needs new privileges", "su ada -c 'sudo -n true' 2>&1", "no new privileges"),
    ("mount, which takes more rights", "mount -t tmpfs x /mnt 2>&1", "permission denied"),
    ("temporary files", "su ada -c 'mktemp && mktemp -p /dev/shm' | wc -l; stat -c %a /tmp /dev/shm", "2\n1777\n1777"),
];

#[test]
#[ignore = "needs root, the internet and minutes: make prove"]
fn programs_of_every_day_do_not_notice_the_sandbox() {
    let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("everyday");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/everyday");
    for name in ["web", "eg"] {
        let _ = conductor(&store, &["stop", "-t", "0", name]).output();
    }
    // By the host's own network; when it was built before, this takes no time.
    let built =
        conductor(&store, &["build", "everyday"]).arg(&here).stdout(Stdio::inherit()).stderr(Stdio::inherit()).status();
    assert!(built.unwrap().success(), "the image could not be built");

    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    for words in [
        "link set lo up",
        "link add up0 type veth peer name world",
        "link set up0 up",
        "link set world up",
        "route add default dev up0",
    ] {
        assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
    }
    for name in ["web", "eg"] {
        ok(&store, &["run", "-d", "everyday", name, "--", "sleep", "infinity"]);
        ok(&store, &["addnetwork", name, "-i"]);
    }
    ok(&store, &["peer", "web", "eg"]);
    let mut tally = Tally::new("programs", "Debian bookworm by debootstrap");
    for (name, script, expected) in PROGRAMS {
        // The first two make the other one a server of packages.
        let container = if ["dpkg --build", "python3, a server"].contains(name) { "web" } else { "eg" };
        tally.case(name, || {
            let output = conductor(&store, &["-q", "exec", container, "--", "bash", "-c", script]).output().unwrap();
            let out = said(&output);
            assert!(out.contains(expected), "{expected:?} is not in {out:?}");
        });
    }
    for name in ["web", "eg"] {
        ok(&store, &["stop", "-t", "0", name]);
    }
    tally.end();
}

#[test]
#[ignore = "needs root and minutes: make prove"]
fn a_thousand_containers_in_series_leave_the_host_byte_for_byte_as_it_was() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("series");
    let _ = std::fs::remove_dir_all(&store);
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    ok(&store, &["build", "small", "--from", "host"]);
    // Nobody else's container is called that.
    let name = format!("series-{}", std::process::id());
    let one = |number: usize| {
        ok(&store, &["run", "-d", "small", &name, "--", "sleep", "infinity"]);
        // Each tenth has a network too.
        if number % 10 == 0 {
            ok(&store, &["addnetwork", &name, "-e", "3000:80"]);
        }
        ok(&store, &["stop", "-t", "0", &name]);
    };
    one(0);
    let before = host(&store);
    let mut tally = Tally::new("series", "run and stop, one after the other");
    for number in 0..1000 {
        tally.case(format!("number {number}"), || one(number));
    }
    tally.end();
    let (mut now, begun) = (host(&store), std::time::Instant::now());
    while now != before && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        now = host(&store);
    }
    let differences = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    assert!(now == before, "gone: {:?}, left: {:?}", differences(&before, &now), differences(&now, &before));
    std::fs::remove_dir_all(&store).unwrap();
}

fn conductor(store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.arg("--root").arg(store).args(words).stdin(Stdio::null());
    command
}

fn ok(store: &Path, words: &[&str]) {
    let output = conductor(store, words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a container could leave: mounts, links, routes, rules, settings, cgroups, and every file of the store by name.
fn host(store: &Path) -> Vec<String> {
    let script = format!(
        "grep -vE '/.containers/|/tmp/' /proc/self/mountinfo; grep {0} /proc/self/mountinfo; ip -o link; ip -o address; ip route; ip rule; \
         iptables-save | grep -v '^[#:]'; sysctl -a --pattern 'net.ipv4.(ip_forward|conf)|kernel.pid_max|kernel.core' 2> /dev/null; \
         ls -d /sys/fs/cgroup/conductor-series-{1}-* /sys/fs/cgroup/*/conductor-series-{1}-* 2> /dev/null | wc -l; find {0} -printf '%P %m %s\\n' | sort; \
         pgrep -fc '{0} ' || true",
        store.display(),
        std::process::id()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    said(&output).lines().map(str::to_owned).collect()
}
