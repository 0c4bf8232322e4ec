//! `--explain CHECK`: what was seen beside what is wanted, out of the trace.

use super::text::wrapped;
use super::{marks, reason};
use crate::escape::drawn;
use crate::grading::Grade;
use crate::judge::words::{command_told, probe_told};
use crate::judge::{self, history::told};
use crate::record::steps::{Step, StepKind};
use crate::record::{Event, EventKind, Namespaces, Observer, Pid, Run};
use crate::rubric::Check;

/// Everything that bears on `check`.
pub fn explained(grade: &Grade, check: &Check) -> String {
    let mut text = String::new();
    if let Some(verdict) = grade.verdicts.iter().find(|verdict| verdict.check.id == check.id) {
        let given = marks(verdict.marks, verdict.open, check.marks);
        text += &wrapped(&format!("{}, {given}: ", check.id), &check.claim);
        let why = reason(verdict);
        if !why.is_empty() {
            text += &wrapped("  ", &why);
        }
        for loss in &verdict.losses {
            text += &wrapped("  expected  ", &loss.expected);
            text += &wrapped("  kernel    ", &loss.observed);
            for evidence in &loss.evidence {
                // As everywhere in this text: the number that the process has in the box.
                let pid = evidence.inner_pids.get(1).unwrap_or(&evidence.pid);
                let head = format!("  evidence  run {}, {} ms, pid {pid}: ", evidence.run, evidence.at_ms);
                text += &wrapped(&head, &evidence.what);
            }
        }
    }
    text += "\nwanted\n";
    for step in &check.wanted {
        text += &wrapped("  ", step);
    }
    for (run, nth) in grade.runs.iter().zip(1..) {
        text += &if grade.task().is_tool() { done(check, run, nth) } else { seen(grade, check, run, nth) };
    }
    if let Some(look) = &check.look {
        text += &wrapped("\nlook  ", look);
    }
    text
}

/// What one run shows.
fn seen(grade: &Grade, check: &Check, run: &Run, nth: usize) -> String {
    let roles = judge::roles(grade.task(), &grade.rubric, run);
    let observer = match run.observer {
        Observer::Traced => "with a tracer",
        Observer::Frozen => "without a tracer: no calls, only states",
        Observer::Between => "between the commands",
    };
    let mut text = format!("\nseen in run {nth}, {observer}\n");
    let events: Vec<&Event> = run.events.iter().filter(|event| bears_on(check, event)).collect();
    for event in events.iter().take(SHOWN) {
        let who = role(run, &roles, event.pid);
        let head = format!("  {:>6} ms  {who:<10}  ", event.at.as_millis());
        text += &wrapped(&head, &named(run, &roles, &event.what));
    }
    if events.len() > SHOWN {
        text += &format!("  … and {} more\n", events.len() - SHOWN);
    }
    if events.is_empty() && run.observer == Observer::Traced {
        text += "  none of the calls that bear on this\n";
    }
    text += &format!(
        "  {:<10}  {:>6}  {:>8}  {:<18}  {:<18}  {:<18}  host name\n",
        "", "pid", "getpid()", "uts", "pid", "ipc"
    );
    for (name, pid) in &roles {
        let state = run.events.iter().rev().find(|event| event.pid == *pid && alive(event)).map(|event| &event.state);
        let Some(state) = state else { continue };
        let inode = |kind: &str| state.namespaces.get(kind).map_or("-".to_owned(), |inode| format!("[{inode}]"));
        let own = state.inner_pids.last().copied().unwrap_or(*pid);
        let [uts, pid_ns, ipc] = ["uts", "pid", "ipc"].map(inode);
        let host = drawn(&state.hostname);
        let pid = run.number_of(*pid);
        text += &format!("  {name:<10}  {pid:>6}  {own:>8}  {uts:<18}  {pid_ns:<18}  {ipc:<18}  {host}\n");
    }
    text
}

/// What was done with a tool in one run, as far as it bears on `check`, and the processes that were found.
fn done(check: &Check, run: &Run, nth: usize) -> String {
    let mut text = format!("\ndone in run {nth}\n");
    let bears = |step: &&Step| check.calls.iter().any(|words| step.name.starts_with(words));
    for step in run.session.steps.iter().filter(bears) {
        let head = format!("  {:>6} ms  ", step.at.as_millis());
        match &step.did {
            StepKind::Command(command) => {
                text += &wrapped(&head, &format!("{}: {}", command.line(), command_told(command)));
            }
            StepKind::Probes(probes) => {
                for probe in probes {
                    text += &wrapped(&head, &probe_told(probe));
                }
            }
            StepKind::Look(_) | StepKind::Found(_) | StepKind::Read(_) => {}
        }
    }
    text += &format!(
        "  {:<18}  {:>10}  {:<12}  {:<12}  {:<12}  {:<12}  {:<12}\n",
        "who", "process id", "uts", "pid", "net", "mnt", "ipc"
    );
    let mut row = |name: &str, pids: &[Pid], namespaces: &Namespaces| {
        let inodes = ["uts", "pid", "net", "mnt", "ipc"]
            .map(|kind| format!("{:<12}", namespaces.get(kind).map_or("-".to_owned(), |inode| format!("[{inode}]"))));
        let own = pids.last().map_or("-".to_owned(), Pid::to_string);
        let line = format!("  {name:<18}  {own:>10}  {}", inodes.join("  "));
        text += &format!("{}\n", line.trim_end());
    };
    row("the host", &[], &run.host.namespaces);
    for step in &run.session.steps {
        if let StepKind::Found(Some(process)) = &step.did {
            row(&step.name, &process.state.inner_pids, &process.state.namespaces);
        }
    }
    text
}

/// Events that are shown before the rest is only counted.
const SHOWN: usize = 40;

/// Whether an event shows a process that is still there.
fn alive(event: &Event) -> bool {
    !matches!(event.what, EventKind::Exited { .. } | EventKind::Reaped { .. }) && !event.state.namespaces.is_empty()
}

/// Whether an event is one of those that the rubric names for this check.
fn bears_on(check: &Check, event: &Event) -> bool {
    let asked = |names: &[&str]| check.calls.iter().any(|call| names.contains(&call.as_str()));
    match &event.what {
        EventKind::Call { name, .. } => check.calls.contains(name),
        EventKind::Born { .. } => asked(&["clone", "clone3", "fork", "vfork"]),
        EventKind::Exec { .. } => asked(&["execve"]),
        EventKind::Wrote { stream, .. } => *stream == 1 && asked(&["write"]),
        EventKind::Exited { .. } => asked(&["exit", "exit_group", "kill", "wait4", "waitid"]),
        EventKind::Reaped { .. } => asked(&["wait4", "waitid"]),
        EventKind::Seen => false,
    }
}

/// The role of a process, else its number.
fn role(run: &Run, roles: &[(&'static str, Pid)], pid: Pid) -> String {
    match roles.iter().find(|(_, known)| *known == pid) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("pid {}", run.number_of(pid)),
    }
}

/// An event in words, with roles for the processes it names.
fn named(run: &Run, roles: &[(&'static str, Pid)], what: &EventKind) -> String {
    match what {
        EventKind::Born { child, .. } => format!("made {}", role(run, roles, *child)),
        EventKind::Reaped { by } => format!("was waited for by {}", role(run, roles, *by)),
        _ => told(run, what),
    }
}
