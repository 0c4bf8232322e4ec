//! `namespace_prog`: two children in one pair of namespaces.
//!
//! Child 1 is created in a new UTS and a new PID namespace and sets its host name. Child 2 is created later and joins
//! both: it sees the same host name and is process 2. The parent stays in the namespaces in which it was started.
//!
//! The three functions tagged `# Lesson` are the exercise. They make the system calls; the rest prints, waits and cleans up.
//! Look: `namespace_prog --explain`, `namespace_prog --pause`. Manual: namespaces(7), clone(2), setns(2), pidfd_open(2).

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gethostname, getpid, pause};
use nsutil::error::{OrCannot, Result, line};
use nsutil::process::{Child, Gate, PidFd, Report};
use nsutil::syscall::{CloneArgs, CloneFlags, clone3, pidfd_open, sethostname, setns};
use nsutil::{namespace, step};

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
        step::print_to(anstream::stderr());
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("namespace_prog: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// # Lesson 1.a (6 marks): create child 1 in new namespaces
///
/// Create a child that has a new UTS namespace (the host name) and a new PID namespace (PIDs) from its first
/// instruction: one [`clone3`], with a flag for each. In the child, set the host name to [`CHILD1_HOSTNAME`], then call
/// [`live_as_child1`]; [`Report::run`] runs these two and returns an error to the parent.
///
/// Checks: child1.uts child1.pid child1.name
///
/// You may want: [`clone3`], [`CloneArgs`], [`CloneFlags`], [`Report::run`], [`sethostname`], [`live_as_child1`]
fn create_child1(report: Report) -> Result<PidFd> {
    let flags = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID;
    clone3(&CloneArgs { flags, ..CloneArgs::default() }, || {
        report.run(|report| {
            sethostname(CHILD1_HOSTNAME)?;
            live_as_child1(report)
        })
    })
}

/// # Lesson 1.b (4 marks): create child 2 in child 1's PID namespace
///
/// A process keeps its PID for life, so it cannot *move* into a PID namespace: [`setns`] with the flag for PID only
/// decides where the caller's next child is created. Make three calls, in an order that you have to find: get a
/// descriptor of child 1, join its PID namespace, create child 2. Use no flag for a new namespace this time. In the
/// child, call [`live_as_child2`], which needs the descriptor too.
///
/// Checks: child2.pid method
///
/// You may want: [`pidfd_open`], [`setns`], [`clone3`], [`CloneArgs`], [`Report::run`], [`live_as_child2`]
fn create_child2(child1: Pid, report: Report, done: &Gate) -> Result<PidFd> {
    let child1 = pidfd_open(child1)?;
    setns(&child1, CloneFlags::CLONE_NEWPID)?;
    clone3(&CloneArgs::default(), || report.run(|report| live_as_child2(&child1, report, done)))
}

/// # Lesson 1.c (6 marks): let child 2 join child 1's UTS namespace
///
/// Child 2 runs this. Here [`setns`] moves the caller at once. In the parent, the same call would move the parent out
/// of the host's UTS namespace, and the parent would see the host name Child1Hostname. Join child 1's UTS namespace,
/// and let child 2 introduce itself: [`introduce`]`("Child2")`. Which of the two comes first?
///
/// Checks: child2.uts parent.stays
///
/// You may want: [`setns`], [`CloneFlags`], [`introduce`]
fn join_and_introduce(child1: &PidFd) -> Result<()> {
    setns(child1, CloneFlags::CLONE_NEWUTS)?;
    introduce("Child2")
}

fn run(options: &Options) -> Result<()> {
    if options.user {
        namespace::become_root_of_own_user_namespace()?;
    }
    separator()?;
    introduce("Parent")?;
    let mut child1 = Child::created(create_child1).map_err(|error| offer_user(error, options))?;
    child1.ready()?;
    introduce("Parent")?;

    let done = Gate::shut()?;
    let mut child2 = Child::created(|report| create_child2(child1.pid(), report, &done))?;
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

/// Child 1 after it has set its host name: introduces itself and waits until the parent kills it.
fn live_as_child1(report: &mut Report) -> Result<i32> {
    introduce("Child1")?;
    report.ready()?;
    loop {
        pause();
    }
}

/// Child 2: joins the UTS namespace, introduces itself, and exits when the parent opens the gate.
fn live_as_child2(child1: &PidFd, report: &mut Report, done: &Gate) -> Result<i32> {
    join_and_introduce(child1)?;
    report.ready()?;
    done.wait()?;
    Ok(0)
}

/// Prints the PID and the host name of this process, as it sees them.
fn introduce(who: &str) -> Result<()> {
    let host = gethostname().or_cannot("ask for", "the host name")?;
    say(&format!("{who} Process PID: {}\n{who} Hostname: {}\n", getpid(), host.to_string_lossy()))?;
    separator()
}

fn separator() -> Result<()> {
    say("----------------------------------------\n")
}

/// Writes to stdout and flushes, so that lines appear in the order of events, also in a pipe.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_cannot("write to", "stdout")
}

/// Prints commands that inspect both children, and waits for Enter.
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
