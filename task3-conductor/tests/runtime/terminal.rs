//! Terminals: a person's shell in a container.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use testlab::host::{Host, within};

/// A person's terminal with a conductor command at it.
struct TerminalUser {
    master: File,
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl TerminalUser {
    fn start(host: &Host, arguments: &[&str], size: (u16, u16)) -> Self {
        Self::start_command(host.conductor(arguments), size)
    }

    fn start_command(mut command: Command, size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        resize(&master, size);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "vt100").spawn();
        Self { master: File::from(master), slave, child: child.unwrap(), seen: String::new() }
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until the text shows.
    fn sees(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut ends = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let limit = PollTimeout::try_from(within(Duration::from_secs(10))).unwrap();
            let ready = poll(&mut ends, limit).unwrap();
            assert!(ready > 0, "{text:?} did not show: {:?}", self.seen);
            let mut buffer = [0; 4096];
            let count = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn is_cooked(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }
}

fn resize(terminal: impl AsFd, (rows, columns): (u16, u16)) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn in_the_background_of_a_shell_nothing_takes_the_terminal() {
    let host = Host::new("background");
    host.start("web");
    // A shell with job control, as a person's is: the terminal is its own.
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "--wait", "bash", "--norc", "-i"]).env("PS1", "");
    let mut person = TerminalUser::start_command(shell, (24, 80));
    let program = format!("{} --root {} -q", env!("CARGO_BIN_EXE_conductor"), host.store.display());
    person.types(&format!("conductor() {{ {program} \"$@\"; }}\n"));
    for words in ["exec web -- sleep 0.2", "run --rm img eg -- sleep 0.2"] {
        person.types(&format!("conductor {words} & wait $!; echo ended $((6 * 7)) $?\n"));
        person.sees("ended 42 0");
    }
    // In front it is its terminal.
    person.types("conductor exec web -- tty; echo ended $?\n");
    person.sees("/dev/pts/0");
    person.sees("ended 0");
    person.types("exit\n");
    assert!(person.child.wait().unwrap().success());
}

#[test]
#[ignore = "needs root: make test"]
fn a_shell_has_a_terminal_of_its_own_that_follows_the_size_and_makes_signals_of_keys() {
    let host = Host::new("shell");
    host.start("web");
    for arguments in [&["run", "--rm", "img", "eg"][..], &["exec", "web"]] {
        let mut person = TerminalUser::start(&host, arguments, (33, 101));
        person.types("tty; stty size; echo $TERM\n");
        person.sees("/dev/pts/0\r\n33 101\r\nvt100\r\n");
        assert!(!person.is_cooked(), "keys go through as they are");
        resize(&person.master, (44, 99));
        // The person's terminal has no session here, so the kernel's signal is sent by hand.
        kill(Pid::from_raw(person.child.id() as i32), Signal::SIGWINCH).unwrap();
        person.types("sleep 0.2; stty size; bash -c 'echo ready $((6 * 7)); exec sleep 100'\n");
        person.sees("44 99\r\n");
        person.sees("ready 42");
        person.types("\x03");
        person.types("echo after $?; exit 5\n");
        person.sees("after 130\r\n");
        assert_eq!(person.child.wait().unwrap().code(), Some(5));
        assert!(person.is_cooked(), "the mode is as it was");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_flood_of_text_can_be_stopped_by_a_key() {
    let host = Host::new("flood");
    host.start("web");
    let mut person = TerminalUser::start(
        &host,
        &["exec", "-t", "web", "--", "bash", "-c", "stty -opost; echo go; exec yes $(printf %02000d 0)"],
        (24, 80),
    );
    person.sees("go");
    person.sees("00000000\n0000");
    person.types("\x03");
    // A terminal that is slower than the program: there is always more to show.
    let end = Instant::now() + within(Duration::from_secs(10));
    while person.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it goes on");
        person.seen.clear();
        let mut ends = [PollFd::new(person.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ends, PollTimeout::from(100_u8)).unwrap() > 0 {
            let _ = person.master.read(&mut [0; 512]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(person.child.wait().unwrap().code(), Some(130));
    host.ok(&["stop", "web"]);
}

#[test]
#[ignore = "needs root: make test"]
fn the_persons_terminal_is_given_back_when_conductor_is_asked_to_end() {
    let host = Host::new("given-back");
    let mut person = TerminalUser::start(&host, &["run", "img", "eg"], (24, 80));
    person.types("echo up $((6 * 7))\n");
    person.sees("up 42");
    assert!(!person.is_cooked());
    kill(Pid::from_raw(person.child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(person.child.wait().unwrap().code(), Some(137), "bash ignores SIGTERM at a terminal");
    assert!(person.is_cooked());
}

#[test]
#[ignore = "needs root: make test"]
fn the_first_size_is_there_before_the_first_instruction() {
    let host = Host::new("first-size");
    for _ in 0..10 {
        let mut person = TerminalUser::start(&host, &["run", "--rm", "img", "eg", "--", "stty", "size"], (17, 71));
        person.sees("17 71\r\n");
        assert_eq!(person.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_terminal_can_be_asked_for_where_there_is_none() {
    let host = Host::new("asked");
    let outcome = host.run(&["-q", "run", "-t", "--rm", "img", "eg", "--", "bash", "-c", "tty; exit 4"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (4, "/dev/pts/0\r\n"), "{outcome:?}");
    let both = host.run(&["run", "-d", "-t", "img", "eg"]);
    assert_eq!(both.code, 125);
    assert!(both.err.contains("leave out --tty or --detach"), "{both:?}");
}
