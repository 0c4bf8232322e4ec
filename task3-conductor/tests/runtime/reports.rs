//! What people report about tools such as this one, tried here. Each test is a kind of report.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use crate::host::{Host, within};
use crate::life::wait_for;

/// The store is where its scripts stand, and "copy all that is here" is said there.
#[test]
#[ignore = "needs root: make test"]
fn a_copy_never_enters_what_it_writes_whatever_way_leads_there() {
    let host = Host::new("cp-endless");
    host.start("q");
    let upper = host.container("q").join("upper");
    // The folder that the store is in, into a new folder, one that only the image has, and one of the container's own.
    host.ok(&["exec", "q", "--", "mkdir", "/there"]);
    for place in ["new", "srv", "there"] {
        let source = format!("{}/.", host.store.join(".containers").display());
        let outcome = host.run(&["cp", &source, &format!("q:/{place}")]);
        assert!(outcome.code == 125 && outcome.err.contains("it is where the copy goes"), "{place}: {outcome:?}");
        assert!(!upper.join(place).join("q/upper").join(place).exists(), "{place}");
        host.ok(&["exec", "q", "--", "rm", "-r", &format!("/{place}")]);
    }
    // By a way that does not pass the container's folder.
    let door = host.store.join("door");
    fs::create_dir_all(&door).unwrap();
    let bind = |from: &Path| {
        nix::mount::mount(Some(from), &door, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
    };
    host.ok(&["exec", "q", "--", "mkdir", "-p", "/a/b"]);
    bind(&upper.join("a"));
    let outcome = host.run(&["cp", &format!("{}/.", door.display()), "q:/a/b"]);
    assert!(outcome.err.contains("b: it is where the copy goes"), "{outcome:?}");
    // Out of the container, into what holds its changes.
    let outcome = host.run(&["cp", "q:/a", door.join("b").to_str().unwrap()]);
    assert!(outcome.err.contains("cannot copy q:/a/b"), "{outcome:?}");
    assert!(!upper.join("a/b/a/b/a").exists());
    nix::mount::umount2(&door, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn cp_writes_through_a_link_and_into_the_file_that_is_there() {
    let host = Host::new("cp-through");
    host.start("q");
    let new = host.store.join("new");
    fs::write(&new, "new\n").unwrap();
    let make = "echo old > /real; chown 1000:1000 /real; chmod 4640 /real; ln -s /real /link; ln /real /second; \
                mkdir /d; ln -s ../real /d/new; ln -s nowhere /dangling";
    host.ok(&["exec", "q", "--", "bash", "-c", make]);
    let look = || {
        host.ok(&[
            "-q",
            "exec",
            "q",
            "--",
            "bash",
            "-c",
            "cat /real /second; stat -c '%a %u:%g' /real; readlink /link /d/new",
        ])
    };
    for target in ["q:/link", "q:/d", "q:/second", "q:/real"] {
        host.ok(&["exec", "q", "--", "bash", "-c", "echo old and longer > /real; chmod 640 /real"]);
        host.ok(&["cp", new.to_str().unwrap(), target]);
        assert_eq!(look(), "new\nnew\n640 1000:1000\n/real\n../real\n", "{target}");
    }
    host.ok(&["cp", new.to_str().unwrap(), "q:/dangling"]);
    assert_eq!(host.ok(&["-q", "exec", "q", "--", "cat", "/dangling"]), "new\n");
    // And out of it, onto the host's.
    let (real, link) = (host.store.join("real"), host.store.join("link"));
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, &link).unwrap();
    host.ok(&["cp", "q:/real", link.to_str().unwrap()]);
    assert_eq!(
        (fs::read_to_string(&real).unwrap(), fs::metadata(&real).unwrap().mode() & 0o777),
        ("new\n".into(), 0o600)
    );
    assert!(link.is_symlink());
}

#[test]
#[ignore = "needs root: make test"]
fn cp_keeps_hard_links_and_holes() {
    let host = Host::new("cp-links-holes");
    host.start("q");
    let make = "mkdir /t; cd /t; echo x > a; ln a b; mkdir d; ln a d/c; truncate -s 1G hole; echo end >> hole";
    host.ok(&["exec", "q", "--", "bash", "-c", make]);
    let target = host.store.join("t");
    for _ in 0..2 {
        host.ok(&["cp", "q:/t/.", target.to_str().unwrap()]);
        let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
        assert!(inode("a") == inode("b") && inode("a") == inode("d/c"));
        let hole = fs::metadata(target.join("hole")).unwrap();
        assert!(hole.len() == (1 << 30) + 4 && hole.blocks() < 100, "{hole:?}");
        let names: Vec<_> = fs::read_dir(&target).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}

/// Each opens what its own stdout or stderr is, in the ways that programs do.
const REOPENS: &str = "echo 1; echo 2; echo 3 > /dev/stdout; echo 4; echo 5 | tee /dev/stderr > /dev/null; \
                       echo 6 > /proc/self/fd/1; exec > /dev/stdout; echo 7; echo 8 >> /dev/stderr; \
                       dd if=/dev/null of=/dev/stdout 2> /dev/null; echo 9 >&2";

#[test]
#[ignore = "needs root: make test"]
fn what_was_printed_is_never_lost_whatever_is_done_inside_with_stdout() {
    let host = Host::new("reopened");
    let all = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    for user in ["root", "nobody"] {
        let script = format!("{REOPENS}; sleep infinity");
        host.ok(&["run", "-d", "-u", user, "img", "web", "--", "bash", "-c", &script]);
        wait_for(|| host.ok(&["logs", "web"]).contains('9').then_some(()));
        assert_eq!(host.ok(&["logs", "web"]), all, "{user}");
        // By another process.
        if user == "root" {
            host.ok(&["exec", "web", "--", "bash", "-c", "echo 10 > /proc/1/fd/1"]);
            wait_for(|| host.ok(&["logs", "web"]).contains("10").then_some(()));
            assert_eq!(host.ok(&["logs", "web"]), format!("{all}10\n"), "{user}");
        }
        host.ok(&["stop", "-t", "0", "web"]);
    }
    // The same where it is the caller's own file.
    let file = host.store.join("all.log");
    for command in [&["-q", "run", "--rm", "img", "q", "--"][..], &["-q", "exec", "web", "--"]] {
        for user in ["0", "nobody"] {
            host.start("web");
            fs::write(&file, "before\n").unwrap();
            let out = fs::File::options().append(true).open(&file).unwrap();
            let err = out.try_clone().unwrap();
            let (first, last) = command.split_at(2);
            let words = [first, &["-u", user], last, &["bash", "-c", REOPENS]].concat();
            let status = host.conductor(&words).stdout(out).stderr(err).status().unwrap();
            assert!(status.success(), "{command:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("before\n{all}"), "{command:?} {user}");
            host.ok(&["stop", "-t", "0", "web"]);
        }
    }
    // And in a build, whose commands print on its stderr.
    let conductorfile = host.store.join("Conductorfile");
    let now = std::time::SystemTime::now();
    let text = format!("FROM img\nRUN echo printed > /dev/stderr; echo again > /dev/stdout # {now:?}\n");
    fs::write(&conductorfile, text).unwrap();
    fs::write(&file, "before\n").unwrap();
    let err = fs::File::options().append(true).open(&file).unwrap();
    assert!(
        host.conductor(&["build", "made", conductorfile.to_str().unwrap()]).stderr(err).status().unwrap().success()
    );
    let said = fs::read_to_string(&file).unwrap();
    assert!(said.starts_with("before\n") && said.contains("printed\nagain\n"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_file_behind_stdin_is_read_and_never_written() {
    let host = Host::new("stdin-file");
    let file = host.store.join("precious");
    fs::write(&file, "one\ntwo\nthree\n").unwrap();
    host.start("web");
    for command in [&["-q", "run", "--rm", "img", "q", "--"][..], &["-q", "exec", "web", "--"]] {
        let mut given = fs::File::open(&file).unwrap();
        given.seek(SeekFrom::Start(4)).unwrap();
        let script =
            "read line; echo $line; echo x > /dev/stdin; echo x >> /proc/self/fd/0; dd if=/dev/null of=/dev/stdin";
        let words = [command, &["bash", "-c", script]].concat();
        let output = host.conductor(&words).stdin(given.try_clone().unwrap()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "two\n", "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\nthree\n", "{command:?}");
        // The caller goes on where it stopped, as with any other program.
        let mut rest = String::new();
        given.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "three\n");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_in_the_background_goes_on_printing_to_the_callers_file() {
    let host = Host::new("background-output");
    host.start("web");
    let file = host.store.join("out");
    let out = fs::File::create(&file).unwrap();
    let begun = std::time::Instant::now();
    let script = "echo now; (sleep 2; echo later; sleep 1; echo last) & exit 3";
    let mut exec = host.conductor(&["-q", "exec", "web", "--", "bash", "-c", script]);
    let status = exec.stdout(out).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(begun.elapsed() < within(std::time::Duration::from_millis(1500)), "{:?}", begun.elapsed());
    assert_eq!(fs::read_to_string(&file).unwrap(), "now\n");
    wait_for(|| (fs::read_to_string(&file).unwrap() == "now\nlater\nlast\n").then_some(()));
}

#[test]
#[ignore = "needs root: make test"]
fn a_disk_that_is_full_costs_the_log_what_it_has_no_room_for_and_says_so() {
    let host = Host::new("log-full");
    // A small disk for what containers have.
    let containers = host.store.join(".containers");
    let small = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("small"), &containers, Some("tmpfs"), small, Some("size=4m,mode=700")).unwrap();
    let script = "while ! test -e /dev/shm/go; do sleep 0.1; done; seq 100000; exec sleep infinity";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", script]);
    let ballast = containers.join(".ballast");
    let _ = fs::write(&ballast, vec![1; 8 << 20]);
    host.ok(&["exec", "web", "--", "touch", "/dev/shm/go"]);
    // Nobody in it is kept waiting.
    wait_for(|| host.run(&["-q", "exec", "web", "--", "cat", "/proc/1/comm"]).out.contains("sleep").then_some(()));
    fs::remove_file(&ballast).unwrap();
    host.ok(&["exec", "web", "--", "bash", "-c", "echo room > /proc/1/fd/1"]);
    wait_for(|| {
        host.ok(&["logs", "web"]).ends_with(" bytes are missing here: No space left on device\nroom\n").then_some(())
    });
    // A command that prints to a file of the caller's notices, as if it had the file itself.
    let _ = fs::write(&ballast, vec![1; 8 << 20]);
    let file = fs::File::create(containers.join(".out")).unwrap();
    let output = host.conductor(&["-q", "exec", "web", "--", "yes"]).stdout(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && said.contains("No space left on device"), "{output:?}");
    host.ok(&["stop", "-t", "0", "web"]);
    nix::mount::umount2(&containers, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn a_server_that_is_not_root_listens_on_a_low_port() {
    let host = Host::new("low-port");
    host.start("web");
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(host.container("web").join("record.json")).unwrap()).unwrap();
    let network = format!("--net=/proc/{}/ns/net", record["init"]["pid"]);
    let listen = "use IO::Socket::INET; IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $!";
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let listens = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).args(user).args(["perl", "-e", listen]).output().unwrap()
    };
    let inside = listens(&["nsenter", &network]);
    assert!(inside.status.success(), "{inside:?}");
    assert!(!listens(&["env"]).status.success(), "on the host it is refused");
    let refused = host.run(&["run", "--rm", "-u", "nobody", "--cap-add", "NET_BIND_SERVICE", "img", "q", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("only root"), "{refused:?}");
    for user in ["root", "0", "0:0"] {
        host.ok(&["run", "--rm", "-u", user, "--cap-add", "NET_RAW", "img", "q", "--", "true"]);
    }
}

/// Puts a file of the test's own over one of the host's, in this test's view of it.
fn cover(over: &str, with: &Path) {
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(with), &fs::canonicalize(over).unwrap(), None::<&str>, flags, None::<&str>).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn what_is_made_has_its_mode_whatever_the_callers_umask() {
    let host = Host::new("umask");
    let under = |mask: &str, words: &[&str]| {
        let command = host.conductor(words);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]).arg(command.get_program());
        let output = shell.args(command.get_args()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let look =
        "stat -c '%a %n' / /etc/hosts /etc/resolv.conf /dev /dev/shm /dev/null /new; touch /tmp/x; stat -c %a /tmp/x";
    let made = |mask: &str| {
        let volume = format!("{}:/new", host.store.join(".images").display());
        let options = ["-q", "run", "--rm", "-u", "nobody", "-v", &volume, "img", "q", "--", "bash", "-c", look];
        let seen = under(mask, &options);
        under(mask, &["run", "-d", "img", "web", "--", "sleep", "infinity"]);
        let files = std::process::Command::new("find")
            .arg(host.container("web"))
            .args(["-maxdepth", "1", "-printf", "%m %f\\n"])
            .output();
        let files = String::from_utf8(files.unwrap().stdout).unwrap();
        host.ok(&["stop", "-t", "0", "web"]);
        (seen, files)
    };
    let usual = made("022");
    assert!(usual.0.contains("644 /etc/hosts\n644 /etc/resolv.conf\n"), "{usual:?}");
    for mask in ["077", "000", "777"] {
        assert_eq!(made(mask), usual, "{mask}");
    }
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

fn file_of(path: &Path, content: &[u8]) -> std::path::PathBuf {
    fs::write(path, content).unwrap();
    path.to_owned()
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
fn a_default_limit_that_cannot_be_had_stops_nobody() {
    let host = Host::new("no-pids");
    // A v2 tree that has no controllers: those of this host are in v1 trees, or are used by the processes of its root.
    if !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        println!("skipped: the pids controller is not in a v1 tree here");
        return;
    }
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), flags, None::<&str>).unwrap();
    let outcome = host.inside("q", "cat /proc/sys/kernel/pid_max");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    // Either the PID namespace limits them, or it is told that nothing does.
    assert!(outcome.out == "1025\n" || outcome.err.contains("the number of processes has no limit"), "{outcome:?}");
    assert!(!outcome.err.contains("--pids-limit"), "{outcome:?}");
    let refused = host.run(&["run", "--memory", "64m", "img", "q", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("it has no memory controller itself"), "{refused:?}");
    assert!(refused.err.contains("leave out --memory"), "{refused:?}");
    host.clear();
    nix::mount::umount2("/sys/fs/cgroup", nix::mount::MntFlags::MNT_DETACH).unwrap();
}

/// /dev/null was once found to be a file of mode 644: a copy to it had taken its place.
#[test]
#[ignore = "needs root: make test"]
fn a_device_or_pipe_that_is_copied_to_stays_what_it_is() {
    let host = Host::new("cp-device");
    host.start("q");
    host.ok(&["exec", "q", "--", "bash", "-c", "echo x > /file"]);
    // Devices of the test's own: should they be replaced, the host's are not.
    let dev = host.store.join("dev");
    fs::create_dir_all(&dev).unwrap();
    let make =
        "cd $0; rm -f *; mknod null c 1 3; chmod 666 null; ln -s null link; mkfifo pipe; ln -s /proc/self/fd/1 stdout";
    let made = std::process::Command::new("sh").args(["-ec", make]).arg(&dev).status().unwrap();
    assert!(made.success());
    let look = || {
        let mut listed = std::process::Command::new("stat");
        listed.args(["-c", "%n %F %a %t:%T", "null", "link", "pipe", "stdout"]).current_dir(&dev);
        String::from_utf8(listed.output().unwrap().stdout).unwrap()
    };
    let before = look();
    let copy = |to: &str| host.run(&["-q", "cp", "q:/file", dev.join(to).to_str().unwrap()]);
    for to in ["null", "link"] {
        assert_eq!(copy(to).code, 0, "{to}");
    }
    assert_eq!(copy("stdout").out, "x\n");
    let reader = std::process::Command::new("cat").arg(dev.join("pipe")).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(copy("pipe").code, 0);
    assert_eq!(reader.wait_with_output().unwrap().stdout, b"x\n");
    // Nor by a link of the same name.
    host.ok(&["exec", "q", "--", "bash", "-c", "mkdir /d; ln -s /etc/passwd /d/null"]);
    assert_eq!(host.run(&["cp", "q:/d/.", dev.to_str().unwrap()]).code, 125);
    assert_eq!(look(), before);
    // Inside, nothing of a container's is opened for us but files.
    host.ok(&["exec", "q", "--", "mkfifo", "/pipe"]);
    let file = file_of(&host.store.join("new"), b"new");
    for to in ["q:/dev/null", "q:/pipe"] {
        let refused = host.run(&["cp", file.to_str().unwrap(), to]);
        assert!(refused.code == 125, "{to}: {refused:?}");
    }
    assert!(
        host.ok(&["exec", "q", "--", "stat", "-c", "%F %a", "/dev/null", "/pipe"])
            .contains("character special file 666\nfifo")
    );
}

#[test]
#[ignore = "needs root: make test"]
fn real_time_signals_and_none_at_all_can_be_sent() {
    let host = Host::new("real-time");
    let script = "trap 'echo 37' RTMIN+3; echo ready; while :; do sleep 0.05; done";
    host.ok(&["run", "-d", "img", "web", "--", "bash", "-c", script]);
    wait_for(|| host.ok(&["logs", "web"]).contains("ready").then_some(()));
    let asked = host.run(&["kill", "-s", "0", "web"]);
    assert!(asked.code == 0 && asked.err.is_empty(), "{asked:?}");
    for signal in ["RTMIN+3", "37"] {
        let sent = host.run(&["kill", "-s", signal, "web"]);
        assert!(sent.code == 0 && sent.err.is_empty(), "{sent:?}");
        wait_for(|| host.ok(&["logs", "web"]).ends_with("37\n").then_some(()));
    }
    let unheard = host.run(&["kill", "-s", "40", "web"]);
    assert!(unheard.err.contains("no handler for signal 40"), "{unheard:?}");
    host.ok(&["kill", "-s", "9", "web"]);
    wait_for(|| (host.run(&["kill", "-s", "0", "web"]).code == 125).then_some(()));
}

#[test]
#[ignore = "needs root: make test"]
fn the_last_lines_of_a_flood_are_as_many_as_were_asked_for() {
    let host = Host::new("flood-tail");
    host.ok(&["run", "-d", "img", "web", "--", "yes"]);
    wait_for(|| (fs::metadata(host.container("web").join("log")).unwrap().len() > 1 << 20).then_some(()));
    for _ in 0..5 {
        assert_eq!(host.ok(&["logs", "-n", "1000", "web"]).lines().count(), 1000);
    }
    host.ok(&["kill", "web"]);
    let more = host.run(&["run", "--rm", "--cpus", "4096", "img", "q", "--", "true"]);
    assert!(more.err.contains("4096 cores limit nothing"), "{more:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn line_ends_of_windows_in_the_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(own.join("conductor.sh"), folder.path().join("conductor.sh")).unwrap();
    let settings = fs::read_to_string(own.join("config.sh")).unwrap();
    let run = |settings: &str| {
        fs::write(folder.path().join("config.sh"), settings).unwrap();
        let mut command = std::process::Command::new("sh");
        command
            .arg(folder.path().join("conductor.sh"))
            .arg("ps")
            .env("CONDUCTOR_BINARY", env!("CARGO_BIN_EXE_conductor"));
        command.output().unwrap()
    };
    assert!(run(&settings).status.success());
    let output = run(&settings.replace('\n', "\r\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(125) && said.lines().count() == 1 && said.contains("CR LF"), "{said}");
    // What it says helps.
    let cure = said.split('`').nth(1).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", cure]).status().unwrap().success());
    assert_eq!(fs::read_to_string(folder.path().join("config.sh")).unwrap(), settings);
}

#[test]
#[ignore = "needs root: make test"]
fn a_variable_without_a_value_has_the_callers() {
    let host = Host::new("env-key");
    let mut command =
        host.conductor(&["-q", "run", "--rm", "-e", "MINE", "-e", "B=c", "img", "q", "--", "printenv", "MINE", "B"]);
    let output = command.env("MINE", "two words").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "two words\nc\n", "{output:?}");
    let unset = host.conductor(&["run", "-e", "MINE", "img", "q", "--", "true"]).env_remove("MINE").output().unwrap();
    assert!(
        unset.status.code() == Some(125) && String::from_utf8_lossy(&unset.stderr).contains("is no variable"),
        "{unset:?}"
    );
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
