//! The history of one run, for look-ups: which processes there were, when, and in which state.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Evidence, task1, task2};
use crate::record::{Event, EventKind, Observer, Pid, ProcessState, Run, Sample, UNKNOWN_WRITER};
use crate::rubric::align::{self, Item, Line, Row};
use crate::rubric::{Blanks, Rubric};
use crate::task::Task;

/// One run with its transcript read.
pub struct History<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its number in this grading, from 1.
    pub number: usize,
    /// What the named blanks of the reference are.
    pub blanks: &'a Blanks,
    /// The reference, line by line.
    pub items: Vec<Item>,
    /// What the run wrote to stdout, line by line.
    pub lines: Vec<Line>,
    /// The two side by side.
    pub rows: Vec<Row>,
    /// Lines that another process wrote for the one they speak of, by number, with that one if it was seen: what a shell has
    /// captured by `$(…)`, a pipe to tee(1), a helper that writes for all.
    pub relayed: BTreeMap<usize, Option<Pid>>,
    /// Lines that are no part of the transcript: what the runner and its helpers tell of their work, such as `cp -v`.
    pub chatter: Vec<Line>,
    /// Every moment of each process, oldest first.
    moments: BTreeMap<Pid, Vec<Moment<'a>>>,
    /// Every process, in the order in which it was first seen.
    pids: Vec<Pid>,
    /// The samples of all processes, oldest first.
    samples: Vec<&'a Sample>,
}

/// What the kernel said of a process at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Time since the first exec.
    pub at: Duration,
    /// The process.
    pub pid: Pid,
    /// Its state.
    pub state: &'a ProcessState,
    /// What it did, when it was an event of its own that showed the state.
    pub event: Option<&'a Event>,
}

impl<'a> History<'a> {
    /// Arranges `run`, the `number`th of its grading.
    pub fn new(run: &'a Run, number: usize, rubric: &'a Rubric) -> History<'a> {
        let normalise = rubric.reference.blanks.normalise;
        let items = align::items(&rubric.reference);
        let lines = align::lines(run, normalise);
        let mut all: Vec<Moment<'a>> = all_moments(run).collect();
        all.sort_by_key(|moment| moment.at);
        let (mut moments, mut pids) = (BTreeMap::<Pid, Vec<Moment<'a>>>::new(), Vec::new());
        for moment in all {
            let known = moments.entry(moment.pid).or_default();
            if known.is_empty() {
                pids.push(moment.pid);
            }
            known.push(moment);
        }
        let (blanks, samples) = (&rubric.reference.blanks, lasting(run));
        let mut history = History {
            run,
            number,
            blanks,
            items,
            lines,
            rows: Vec::new(),
            relayed: BTreeMap::new(),
            chatter: Vec::new(),
            moments,
            pids,
            samples,
        };
        let (chatter, lines) =
            std::mem::take(&mut history.lines).into_iter().partition(|line| history.is_chatter(line));
        (history.chatter, history.lines) = (chatter, lines);
        history.rows = align::align(&history.items, &history.lines, normalise);
        history.relayed = match rubric.task {
            Task::Task1 => task1::relayed(&history),
            Task::Task2 => task2::relayed(&history),
            Task::Task3 | Task::Task4 => BTreeMap::new(),
        };
        history
    }

    /// Whether a line is like none of the reference, and was written by another process than one that lists a directory.
    ///
    /// Any line could be an entry of a directory. An entry is written by the process that wrote the heading above the
    /// entries, or by a child of it.
    fn is_chatter(&self, line: &Line) -> bool {
        let listed = self.items.windows(2).find_map(|pair| match pair {
            [heading, Item::Entries(_)] => Some(heading.to_string()),
            _ => None,
        });
        let (Some(heading), Some(writer)) = (listed, self.writer(line)) else { return false };
        if align::is_like_one_of(&self.items, &line.text) {
            return false;
        }
        let lists = |pid: Pid| {
            self.run.events.iter().any(|event| {
                event.pid == pid
                    && matches!(&event.what, EventKind::Wrote { stream: 1, text } if text.contains(&heading))
            })
        };
        !self.ancestry(writer.pid).into_iter().any(lists)
    }

    /// What was typed to start the submission, to be put before what came of it; empty when it was not seen.
    pub fn typed(&self) -> String {
        let first = self.run.events.iter().find_map(|event| match &event.what {
            EventKind::Exec { argv } if event.pid == self.run.root_pid => Some(argv.join(" ")),
            _ => None,
        });
        first.map(|typed| format!("`{typed}`: ")).unwrap_or_default()
    }

    /// The event that began `line`.
    pub fn writer(&self, line: &Line) -> Option<&'a Event> {
        line.event.and_then(|at| self.run.events.get(at)).filter(|event| event.pid != UNKNOWN_WRITER)
    }

    /// Every moment at which the kernel was asked about `pid`, oldest first.
    pub fn moments(&self, pid: Pid) -> &[Moment<'a>] {
        self.moments.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// Every moment of every process, by process.
    pub fn all_moments(&self) -> impl Iterator<Item = &Moment<'a>> {
        self.moments.values().flatten()
    }

    /// The last moment of `pid` that is not after `at`; its first one when all are later.
    pub fn moment_at(&self, pid: Pid, at: Duration) -> Option<Moment<'a>> {
        let moments = self.moments(pid);
        moments.iter().rev().find(|moment| moment.at <= at).or(moments.first()).copied()
    }

    /// Every process that was seen, in the order in which it was first seen.
    pub fn pids(&self) -> &[Pid] {
        &self.pids
    }

    /// The parent of `pid`, as the kernel first told it.
    pub fn parent(&self, pid: Pid) -> Option<Pid> {
        let born = self.run.events.iter().find_map(|event| match &event.what {
            EventKind::Born { child, .. } if *child == pid => Some(event.pid),
            _ => None,
        });
        born.or_else(|| self.moments(pid).first().map(|moment| moment.state.parent))
    }

    /// `pid`, its parent, its parent's parent, …, as far as they were seen.
    pub fn ancestry(&self, pid: Pid) -> Vec<Pid> {
        let mut line = vec![pid];
        let mut last = pid;
        while let Some(parent) = self.parent(last).filter(|parent| *parent > 0 && !line.contains(parent)) {
            line.push(parent);
            last = parent;
        }
        line
    }

    /// The event with which `pid` ended.
    pub fn exit(&self, pid: Pid) -> Option<&'a Event> {
        self.run.events.iter().find(|event| event.pid == pid && matches!(event.what, EventKind::Exited { .. }))
    }

    /// The process that waited for `pid`.
    pub fn reaped_by(&self, pid: Pid) -> Option<Pid> {
        self.run.events.iter().find_map(|event| match event.what {
            EventKind::Reaped { by } if event.pid == pid => Some(by),
            _ => None,
        })
    }

    /// Whether `pid` was alive at `at`; none when this run cannot tell.
    pub fn alive_at(&self, pid: Pid, at: Duration) -> Option<bool> {
        if self.exit(pid).is_some_and(|exit| exit.at < at) {
            return Some(false);
        }
        let moments = self.moments(pid);
        if moments.iter().any(|moment| moment.at >= at) {
            return Some(true);
        }
        match self.run.observer {
            Observer::Traced => moments.first().map(|first| first.at <= at),
            // The box was frozen and looked over at that moment, and the process was not in it.
            Observer::Frozen | Observer::Between => {
                let looked =
                    self.run.events.iter().any(|event| event.at == at && matches!(event.what, EventKind::Seen));
                looked.then_some(false)
            }
        }
    }

    /// The call that made `pid`, which returned its number to the process that made it.
    pub fn creation(&self, pid: Pid) -> Option<&'a Event> {
        let numbers = &self.moments(pid).first()?.state.inner_pids;
        let made = |event: &&Event| match &event.what {
            EventKind::Call { name, result, .. } if ["clone", "clone3", "fork", "vfork"].contains(&name.as_str()) => {
                // A process is numbered in the PID namespaces of its parent, too, at the parent's depth.
                let depth = event.state.inner_pids.len().saturating_sub(1);
                self.parent(pid) == Some(event.pid) && numbers.get(depth).is_some_and(|own| i64::from(*own) == *result)
            }
            _ => false,
        };
        self.run.events.iter().find(made)
    }

    /// The calls of `pid` with that name; those that failed too.
    pub fn calls<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (&'a Event, i64)> + use<'a, 's> {
        self.run.events.iter().filter_map(move |event| match &event.what {
            EventKind::Call { name: called, result, .. } if called == name => Some((event, *result)),
            _ => None,
        })
    }

    /// The samples of `pid`, oldest first.
    pub fn samples(&self, pid: Pid) -> Vec<&'a Sample> {
        self.samples.iter().copied().filter(|sample| sample.pid == pid).collect()
    }

    /// The namespace of `kind` in which the submission started; none when it was not recorded.
    pub fn host_namespace(&self, kind: &str) -> Option<u64> {
        self.run.host.namespaces.get(kind).copied()
    }

    /// The last call, before `at`, that can have moved `pid` or its children to other namespaces.
    pub fn mover(&self, pid: Pid, at: Duration) -> Option<&'a Event> {
        let moves = |event: &&Event| match &event.what {
            EventKind::Call { name, result, .. } => matches!(name.as_str(), "setns" | "unshare") && *result >= 0,
            _ => false,
        };
        self.run.events.iter().filter(|event| event.pid == pid && event.at <= at).rev().find(moves)
    }

    /// An event as evidence.
    pub fn evidence(&self, event: &Event) -> Evidence {
        Evidence {
            run: self.number,
            at_ms: u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX),
            pid: event.pid,
            inner_pids: event.state.inner_pids.clone(),
            what: told(self.run, &event.what),
            namespaces: event.state.namespaces.clone(),
        }
    }

    /// A moment as evidence.
    pub fn evidence_of(&self, moment: &Moment<'_>) -> Evidence {
        match moment.event {
            Some(event) => self.evidence(event),
            None => Evidence {
                run: self.number,
                at_ms: u64::try_from(moment.at.as_millis()).unwrap_or(u64::MAX),
                pid: moment.pid,
                inner_pids: moment.state.inner_pids.clone(),
                what: "was looked at".to_owned(),
                namespaces: moment.state.namespaces.clone(),
            },
        }
    }
}

/// Every moment of every process, in no order.
fn all_moments(run: &Run) -> impl Iterator<Item = Moment<'_>> {
    let events = run.events.iter().flat_map(|event| {
        let own = Moment { at: event.at, pid: event.pid, state: &event.state, event: Some(event) };
        let child = match &event.what {
            EventKind::Born { child, child_state } => {
                Some(Moment { at: event.at, pid: *child, state: child_state, event: None })
            }
            _ => None,
        };
        // What a dead process is said to be in is not asked of the kernel.
        let own = (!matches!(event.what, EventKind::Exited { .. } | EventKind::Reaped { .. })).then_some(own);
        own.into_iter().chain(child)
    });
    let samples = lasting(run).into_iter().map(|sample| Moment {
        at: sample.at,
        pid: sample.pid,
        state: &sample.state,
        event: None,
    });
    events.chain(samples).filter(|moment| !moment.state.namespaces.is_empty())
}

/// The samples after which their process showed another sign of life, oldest first.
///
/// A process on its way out has left its namespaces and, on v1, its cgroup for the root's before it is gone: what the
/// kernel says of it then is not where it lived. A process that was sampled once keeps that sample.
fn lasting(run: &Run) -> Vec<&Sample> {
    let mut samples: Vec<&Sample> = run.samples.iter().collect();
    samples.sort_by_key(|sample| sample.at);
    let (mut first, mut newest) = (BTreeMap::new(), BTreeMap::new());
    for sample in &samples {
        first.entry(sample.pid).or_insert(sample.at);
        newest.insert(sample.pid, sample.at);
    }
    let mut last_act: BTreeMap<Pid, Duration> = BTreeMap::new();
    for event in
        run.events.iter().filter(|event| !matches!(event.what, EventKind::Exited { .. } | EventKind::Reaped { .. }))
    {
        let act = last_act.entry(event.pid).or_default();
        *act = event.at.max(*act);
    }
    samples.retain(|sample| {
        let only_one = first.get(&sample.pid) == Some(&sample.at);
        let seen_again = newest.get(&sample.pid).is_some_and(|at| *at > sample.at);
        let acted_later = last_act.get(&sample.pid).is_some_and(|at| *at >= sample.at);
        only_one || seen_again || acted_later
    });
    samples
}

/// What happened, as one line of text for people. The submission's own words are kept as they are: `escape::drawn`
/// makes them safe when they are printed.
pub fn told(run: &Run, what: &EventKind) -> String {
    match what {
        EventKind::Born { child, .. } => format!("made the child {}", run.number_of(*child)),
        EventKind::Exec { argv } => format!("exec {}", argv.join(" ")),
        EventKind::Call { name, args, decoded, result } => {
            let arguments = if decoded.is_empty() { format!("{}, {}", args[0], args[1]) } else { decoded.clone() };
            format!("{name}({arguments}) = {}", outcome(*result))
        }
        EventKind::Wrote { stream: 1, text } => format!("wrote {text:?}"),
        EventKind::Wrote { text, .. } => format!("wrote {text:?} to stderr"),
        EventKind::Seen => "was there".to_owned(),
        EventKind::Exited { code, signal: None } => format!("ended with status {code}"),
        EventKind::Exited { signal: Some(signal), .. } => match nix::sys::signal::Signal::try_from(*signal) {
            Ok(name) => format!("was ended by {name}"),
            Err(_) => format!("was ended by signal {signal}"),
        },
        EventKind::Reaped { by } => format!("was waited for by {}", run.number_of(*by)),
    }
}

/// A return value with the name of its error.
fn outcome(result: i64) -> String {
    match i32::try_from(-result) {
        Ok(errno @ 1..=4095) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        _ => result.to_string(),
    }
}
