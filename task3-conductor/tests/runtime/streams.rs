//! stdin, stdout, stderr and the log: what is printed inside is never lost, and what is read is never written.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::Stdio;

use crate::life::wait_for;
use testlab::host::{Host, within};

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
fn the_last_lines_of_a_flood_are_as_many_as_were_asked_for() {
    let host = Host::new("flood-tail");
    host.ok(&["run", "-d", "img", "web", "--", "yes"]);
    wait_for(|| (fs::metadata(host.container("web").join("log")).unwrap().len() > 1 << 20).then_some(()));
    for _ in 0..5 {
        assert_eq!(host.ok(&["logs", "-n", "1000", "web"]).lines().count(), 1000);
    }
    host.ok(&["kill", "web"]);
    let more = host.run(&["run", "--rm", "--cpus", "4096", "img", "q", "--", "true"]);
    assert!(more.err.contains("--cpus 4096 has no effect"), "{more:?}");
}
