//! `namespace_prog`: two children in one pair of namespaces.
//!
//! Child 1 is born into a new UTS and a new PID namespace and names its host. Child 2 is born later and joins it there:
//! it sees the same host name and is process 2. The parent looks on and stays what it was.
//!
//! The three functions tagged `# Lesson` are the exercise; the rest is the stage for them.
//! Look: `namespace_prog --explain`, `namespace_prog --pause`. Manual: namespaces(7), clone(2), setns(2), pidfd_open(2).

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gethostname, getpid, pause, sethostname};
use nsutil::error::{OrCannot, Result, line};
use nsutil::namespace::{self, Kind};
use nsutil::process::{Birth, Child, Gate, PidFd, Report, spawn};
use nsutil::step;

const CHILD1_HOSTNAME: &str = "Child1Hostname";

/// Task 1: a child in new UTS and PID namespaces, and a second child that joins it
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  sudo namespace_prog\n  sudo namespace_prog --explain\n  namespace_prog --user --pause"
)]
struct Options {
    /// Tell each step on stderr as it happens: the call, why, and the shell command that does the same
    #[arg(long)]
    explain: bool,
    /// Stop while both children live, say how to look at them, and go on at Enter
    #[arg(long)]
    pause: bool,
    /// Do without root: start in a user namespace, where the kernel allows it
    #[arg(long)]
    user: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.explain {
        step::tell(anstream::stderr());
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("namespace_prog: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// # Lesson 1.a (6 marks): create child 1 in a world of its own
///
/// Start a child that runs `inside` and has from its first instruction a new UTS namespace (its host's name) and a new
/// PID namespace (its process numbers): one call, clone(2), with a flag for each. Inside, it is process 1.
///
/// Checks: child1.uts child1.pid child1.name      You may want: [`spawn`], [`Birth`], [`Kind`]
fn create_child1(inside: impl FnOnce(&mut Report) -> Result<i32>) -> Result<Child> {
    spawn(Birth { namespaces: &[Kind::Uts, Kind::Pid], ..Birth::default() }, inside)
}

/// # Lesson 1.b (4 marks): let the parent's next child be born in child 1's PID namespace
///
/// A process keeps its number for life, so nobody can *move* into a PID namespace: setns(2) there only decides where
/// the caller's next child is born. That is why it has to happen before child 2 exists, and in the parent. Get a
/// descriptor of child 1 (pidfd_open(2)), join through it, and hand it back: child 2 needs it too.
///
/// Checks: child2.pid method      You may want: [`PidFd::open`], [`namespace::join`]
fn send_next_child_to(child1: Pid) -> Result<PidFd> {
    let child1 = PidFd::open(child1)?;
    namespace::join(&child1, &[Kind::Pid])?;
    Ok(child1)
}

/// # Lesson 1.c (6 marks): let child 2 join child 1's UTS namespace
///
/// Here setns(2) moves the caller, at once. So child 2 itself has to call it: in the parent it would take the parent
/// out of the host's UTS namespace, and from then on the parent's host would be called Child1Hostname.
///
/// Checks: child2.uts parent.stays      You may want: [`namespace::join`]
fn join_host_name_of(child1: &PidFd) -> Result<()> {
    namespace::join(child1, &[Kind::Uts])
}

fn run(options: &Options) -> Result<()> {
    if options.user {
        namespace::become_root_of_own_user_namespace()?;
    }
    separator()?;
    introduce("Parent")?;
    let mut child1 = create_child1(live_as_child1).map_err(|error| offer_user(error, options))?;
    child1.ready()?;
    introduce("Parent")?;

    let descriptor = send_next_child_to(child1.pid())?;
    let done = Gate::shut()?;
    let mut child2 = spawn(Birth::default(), |report| {
        join_host_name_of(&descriptor)?;
        introduce("Child2")?;
        report.ready()?;
        done.wait()?;
        Ok(0)
    })?;
    child2.ready()?;
    if options.pause {
        let_the_user_look(&child1, &child2)?;
    }
    done.open()?;
    child2.wait()?;
    introduce("Parent")?;

    child1.signal(Signal::SIGKILL)?;
    child1.wait()?;
    Ok(())
}

/// Names the host, introduces itself, and waits for the parent to end it.
fn live_as_child1(report: &mut Report) -> Result<i32> {
    step!("sethostname", call: "sethostname(\"{CHILD1_HOSTNAME}\")";
        why: "child 1 names its host; only who shares its UTS namespace sees that";
        shell: "hostname {CHILD1_HOSTNAME}");
    sethostname(CHILD1_HOSTNAME).or_cannot("set the host name to", CHILD1_HOSTNAME)?;
    introduce("Child1")?;
    report.ready()?;
    loop {
        pause();
    }
}

/// Says who this process is, as it sees itself.
fn introduce(who: &str) -> Result<()> {
    let host = gethostname().or_cannot("ask for", "the host name")?;
    say(&format!("{who} Process PID: {}\n{who} Hostname: {}\n", getpid(), host.to_string_lossy()))?;
    separator()
}

fn separator() -> Result<()> {
    say("----------------------------------------\n")
}

/// Writes to stdout at once, so that the order of lines is the order of events, also into a pipe.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}

/// Shows both children to the user while they live.
fn let_the_user_look(child1: &Child, child2: &Child) -> Result<()> {
    let (child1, child2) = (child1.pid(), child2.pid());
    eprint!(
        "Both children live now. In another terminal:\n  \
           sudo lsns -p {child1}\n  \
           sudo lsns -p {child2}\n  \
           sudo readlink /proc/{{self,{child1},{child2}}}/ns/{{uts,pid}}\n  \
           grep NSpid /proc/{{{child1},{child2}}}/status\n  \
           sudo nsenter --target {child1} --uts hostname\n\
         Enter goes on. "
    );
    io::stdin().read_line(&mut String::new()).or_cannot("read from", "stdin").map(drop)
}

fn offer_user(error: nsutil::Error, options: &Options) -> nsutil::Error {
    if options.user || error.errno() != Some(nix::errno::Errno::EPERM) {
        return error;
    }
    error.hint("it takes CAP_SYS_ADMIN: run it with sudo, or add --user to start in a user namespace")
}
