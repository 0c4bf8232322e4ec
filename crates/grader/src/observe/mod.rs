//! Two ways to watch a program, which may try to hide from an observer.
//!
//! [`traced`] stops every process at the calls that matter and sees all of them, but the program can tell: its status
//! names a seccomp filter, and it cannot be traced a second time. [`frozen`] leaves no mark in the program: it holds writers in their write by a full pipe
//! and the whole box by its cgroup's freezer, and reads `/proc` while everything stands still. What is true in one run
//! and not in the other is itself a finding.

pub mod calls;
pub mod frozen;
pub mod output;
pub mod plan;
pub mod run;
pub mod sampler;
pub mod snapshot;
pub mod traced;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::record::{Event, EventKind, FileId, Pid, ProcessState, Sample};
use crate::sandbox::{Rooted, Sandbox};

/// Most events of one run: a fork bomb shows in the first few thousand.
const MOST_EVENTS: usize = 20_000;

/// Most names of the container's root directory that are noted.
const MOST_NAMES: usize = 1000;

/// What the threads of a run write down.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    events: Mutex<Vec<Event>>,
    samples: Mutex<Vec<Sample>>,
    /// Where `container_root` is looked for, as a path in the box.
    container_root: Option<String>,
    found_root: Mutex<Option<FileId>>,
    /// The cgroups that were there before the submission started, and those that came since.
    cgroups: Mutex<[BTreeSet<String>; 2]>,
    cpu_was_enabled: AtomicBool,
}

impl Recorder {
    /// Starts the clock. `container_root` is where a directory of that name is looked for, as a path in the box.
    pub fn new(container_root: Option<String>) -> Recorder {
        Recorder {
            start: Instant::now(),
            events: Mutex::default(),
            samples: Mutex::default(),
            container_root,
            found_root: Mutex::default(),
            cgroups: Mutex::default(),
            cpu_was_enabled: AtomicBool::default(),
        }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes down that `what` happened to `pid` now.
    pub fn note(&self, pid: Pid, state: ProcessState, what: EventKind) {
        self.note_at(self.now(), pid, state, what);
    }

    /// Writes down that `what` happened to `pid` at `at`.
    pub fn note_at(&self, at: Duration, pid: Pid, state: ProcessState, what: EventKind) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < MOST_EVENTS {
            events.push(Event { at, pid, state, what });
        }
    }

    /// Whether so much was written down that nothing more is.
    pub fn is_full(&self) -> bool {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_EVENTS
    }

    /// Looks whether the container's root directory is there by now.
    pub fn find_container_root(&self, host: &Sandbox) {
        let Some(path) = &self.container_root else { return };
        if let Some(id) = Rooted::of(host.init()).ok().and_then(|root| root.id(path)) {
            *self.found_root.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        }
    }

    /// Remembers which cgroups are there before the submission starts.
    pub fn note_first_cgroups(&self, host: &Sandbox) {
        self.cgroups.lock().unwrap_or_else(PoisonError::into_inner)[0].extend(cgroups(host));
    }

    /// Remembers which cgroups have been made by now.
    pub fn note_new_cgroups(&self, host: &Sandbox) {
        self.cpu_was_enabled.fetch_or(host.cgroups().cpu_enabled(), Ordering::Relaxed);
        let [first, new] = &mut *self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        if new.len() < MOST_NAMES {
            new.extend(cgroups(host).into_iter().filter(|name| !first.contains(name)));
        }
    }

    /// Whether the root was seen to hand on the cpu controller.
    pub fn cpu_was_enabled(&self) -> bool {
        self.cpu_was_enabled.load(Ordering::Relaxed)
    }

    /// The cgroups that were seen to be made, sorted.
    pub fn new_cgroups(&self) -> Vec<String> {
        self.cgroups.lock().unwrap_or_else(PoisonError::into_inner)[1].iter().cloned().collect()
    }

    /// The names in the container's root directory at this moment, sorted.
    pub fn names_in_container_root(&self, host: &Sandbox) -> Vec<String> {
        let Some(path) = &self.container_root else { return Vec::new() };
        Rooted::of(host.init()).map(|root| root.names(path, MOST_NAMES)).unwrap_or_default()
    }

    fn add_sample(&self, sample: Sample, most: usize) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < most {
            samples.push(sample);
        }
    }

    /// What was written down: events, samples, and the container's root if it was ever there.
    pub fn into_parts(self) -> (Vec<Event>, Vec<Sample>, Option<FileId>) {
        (
            self.events.into_inner().unwrap_or_else(PoisonError::into_inner),
            self.samples.into_inner().unwrap_or_else(PoisonError::into_inner),
            self.found_root.into_inner().unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// The cgroups of the box, and what lies where a host with v2 alone has its tree.
fn cgroups(host: &Sandbox) -> Vec<String> {
    let mut found = host.cgroups().added();
    if host.cgroups().cpu_controller() != Some("v2") {
        let root = Rooted::of(host.init());
        found.extend(root.map(|root| root.names("/sys/fs/cgroup", MOST_NAMES)).unwrap_or_default());
    }
    found
}

/// How the first process ended, and when.
#[derive(Debug, Clone, Copy)]
pub struct FirstEnd {
    /// The raw wait status; none when the observer lost it.
    pub status: Option<i32>,
    /// Wall time from the gate to the end.
    pub wall: Duration,
}
