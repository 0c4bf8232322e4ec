//! Tests of the output on a terminal, and of Ctrl-C.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use netlab::netns::HOST;
use netlab::{World, ask, number, text, wait_for};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A shell is the terminal's session leader, as usual. It ends only when Enter is pressed: the terminal is hung up when
/// its leader exits, and unread output is lost then.
const SHELL: &str = "trap : INT; \"$@\"; echo \"ended with $?\"; read -r";

/// Width of the terminal.
const COLUMNS: u16 = 80;

/// A user's terminal with the orchestrator running on it.
struct Person {
    master: File,
    child: Child,
    seen: String,
}

impl Person {
    /// `redirect` redirects streams away from the terminal, in shell syntax.
    fn types(world: &World, words: &str, redirect: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        let child = at_terminal(world.orchestrator(words), redirect, &slave).spawn().unwrap();
        Self { master: File::from(master), child, seen: String::new() }
    }

    /// Reads until the text appears.
    fn sees(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.reads_on(), "{text:?} did not show: {:?}", self.seen);
        }
    }

    fn presses(&mut self, key: &str) {
        self.master.write_all(key.as_bytes()).unwrap();
    }

    /// Waits for the end; returns everything that was shown.
    fn waits(mut self) -> String {
        self.sees("ended with ");
        self.presses("\r");
        while self.reads_on() {}
        self.child.wait().unwrap();
        self.seen
    }

    /// Reads more output; false when no process has the terminal open any more.
    fn reads_on(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        count > 0
    }
}

fn at_terminal(orchestrator: Command, redirect: &str, slave: &OwnedFd) -> Command {
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "bash", "-c", &SHELL.replace("\"$@\"", &format!("\"$@\" {redirect}")), "shell"]);
    shell.arg(orchestrator.get_program()).args(orchestrator.get_args());
    for (name, value) in orchestrator.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let end = || Stdio::from(slave.try_clone().unwrap());
    shell.env("TERM", "xterm").env_remove("NO_COLOR").stdin(end()).stdout(end()).stderr(end());
    shell
}

/// The lines of a screen with everything that was shown; it is high enough that nothing scrolls off.
fn screen(shown: &str) -> Vec<String> {
    let size = |number: u16| NonZero::new(number).unwrap();
    let mut terminal = vt100::Parser::new(size(200), size(COLUMNS), 0);
    terminal.process(shown.as_bytes());
    terminal.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect()
}

#[test]
#[ignore = "needs root: make test"]
fn a_bar_shows_how_far_it_is_and_is_gone_at_the_end() {
    let world = World::new();
    let shown = Person::types(&world, "up", "").waits();
    for part in [" 0/11 build image service-image", " 1/11 launch container c1"] {
        assert!(shown.contains(part), "no {part:?}: {shown:?}");
    }
    assert!(shown.contains("\x1b[1m$ ./conductor.sh build service-image\x1b[0m"), "commands stand out: {shown:?}");
    assert!(!shown.contains("\x1b[?25l"), "the cursor is not hidden, so nobody has to bring it back");
    let rows = screen(&shown);
    assert!(rows.iter().all(|row| !row.contains("/11 ")), "no bar is left between the lines: {rows:#?}");
    let plain = world.orchestrate("up");
    for line in plain.lines() {
        assert!(rows.iter().any(|row| row == line), "{line:?} is not on the screen: {rows:#?}");
    }
    assert!(rows.iter().any(|row| row == "ended with 0"), "{rows:#?}");
    world.orchestrate("down");
}

#[test]
#[ignore = "needs root: make test"]
fn without_a_terminal_there_is_no_bar_and_no_colour() {
    let world = World::new();
    let (out, err) = (world.folder().join("out"), world.folder().join("err"));
    let shown = Person::types(&world, "up", &format!(">{}", out.display())).waits();
    assert!(shown.contains("launch container"), "{shown:?}");
    let kept = fs::read_to_string(out).unwrap();
    assert!(kept.contains("$ ./conductor.sh run ") && !kept.contains(['\x1b', '\r']), "{kept:?}");
    world.orchestrate("down");
    let shown = Person::types(&world, "up", &format!("2>{}", err.display())).waits();
    assert!(shown.contains("$ ./conductor.sh run ") && !shown.contains("launch container"), "{shown:?}");
    assert_eq!(fs::read_to_string(err).unwrap(), "");
    world.orchestrate("down --rmi");
    let piped = text(&world.orchestrator("up").output().unwrap());
    assert!(!piped.contains(['\x1b', '\r']) && !piped.contains("launch container"), "{piped:?}");
    world.orchestrate("down");
}

#[test]
#[ignore = "needs root: make test"]
fn ctrl_c_at_any_step_leaves_what_down_removes_and_up_goes_on_from() {
    let world = World::new();
    let before = world.snapshot();
    for step in ["build image", "launch container c1", "launch container c2", "connect c1", "start the service of c2"] {
        let mut person = Person::types(&world, "up", "");
        person.sees(step);
        person.presses("\x03");
        let shown = person.waits();
        // A command that it started may print after the shell's last line.
        assert!(shown.contains("ended with 130\r\n"), "{step}: {shown:?}");
        if step == "connect c1" {
            world.orchestrate("up");
            assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);
        }
        world.orchestrate("down --rmi");
        assert_eq!(world.snapshot(), before, "{step}");
        wait_for(step, || world.belonging().is_empty());
        assert!(world.conductor("images").contains("No images found"), "{step}");
    }
}
