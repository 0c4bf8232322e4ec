//! `container_prog SUBTASK`: the program that task 2 runs in a container; it prints what it sees there.
//!
//! It prints its PID and that of a child, the entries of its root directory and, depending on the subtask, the host
//! name after changing it, and the time of a fixed amount of computation. Run it outside a container to compare, except
//! `subtask2`: without its own UTS namespace it renames the machine.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{gethostname, getpid, sethostname};
use nsutil::error::{Error, OrCannot, Result, line};
use nsutil::process::{SpawnOptions, spawn};
use nsutil::sys;

const USAGE: &str = "usage: container_prog subtask1|subtask2|subtask3";
const NEW_HOSTNAME: &str = "new_hostname";
const SEPARATOR: &str = "_ _ _ _ _ _ _ _ _ _ _ _ _ _";
/// The seed and the rounds determine the sum that the benchmark prints.
const SEED: u32 = 10111;
const ROUNDS: u32 = 10_000;

/// The subtask: what it shows besides processes and files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgramMode {
    /// Nothing.
    One,
    /// Host name and benchmark.
    Two,
    /// Benchmark.
    Three,
}

fn main() -> ExitCode {
    let Some(mode) = mode() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("container_prog: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

fn mode() -> Option<ProgramMode> {
    let mut arguments = std::env::args_os().skip(1);
    let mode = match arguments.next()?.to_str()? {
        "subtask1" => ProgramMode::One,
        "subtask2" => ProgramMode::Two,
        "subtask3" => ProgramMode::Three,
        _ => return None,
    };
    arguments.next().is_none().then_some(mode)
}

fn run(mode: ProgramMode) -> Result<()> {
    say(&format!("Process PID: {}\n", getpid()))?;
    show_child()?;
    show_root()?;
    if mode == ProgramMode::Two {
        sethostname(NEW_HOSTNAME).or_cannot("set the host name to", NEW_HOSTNAME)?;
        let name = gethostname().or_cannot("ask for", "the host name")?;
        say(&format!("Hostname within container: {}\n", name.to_string_lossy()))?;
    }
    if mode != ProgramMode::One {
        benchmark()?;
    }
    Ok(())
}

/// Creates a child that prints its PID; it inherits its parent's namespaces, root and cgroup.
fn show_child() -> Result<()> {
    let child = spawn(SpawnOptions::default(), |_| {
        say(&format!("Child Process PID: {}\n", getpid()))?;
        Ok(0)
    })?;
    match child.wait()?.code() {
        0 => Ok(()),
        code => Err(Error::new("finish", "the child process", format!("it ended with code {code}"))),
    }
}

/// Prints the names in `/` in directory order.
fn show_root() -> Result<()> {
    let mut root = Dir::open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).or_cannot("open", "/")?;
    let mut text = format!("{SEPARATOR}\nFiles/Directories in root directory:\n").into_bytes();
    for entry in root.iter() {
        let entry = entry.or_cannot("list", "/")?;
        text.extend(entry.file_name().to_bytes());
        text.push(b'\n');
    }
    text.extend(format!("{SEPARATOR}\n").into_bytes());
    write(&text)
}

/// A fixed amount of computation: its duration shows how much CPU time this process got.
fn benchmark() -> Result<()> {
    say("Computation Benchmark:\n")?;
    sys::srand(SEED);
    let begin = Instant::now();
    let mut sum: u64 = 0;
    for _ in 0..ROUNDS {
        for _ in 0..ROUNDS {
            // rand(3) never returns a negative number.
            sum += u64::from(sys::rand().unsigned_abs());
        }
    }
    say(&format!("Time Taken: {} ms\nValue (Ignore): {sum}\n", begin.elapsed().as_millis()))
}

fn say(text: &str) -> Result<()> {
    write(text.as_bytes())
}

/// Writes to stdout and flushes, so that lines of two processes appear in the order in which they were written.
fn write(text: &[u8]) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}
