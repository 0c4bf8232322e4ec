//! One run: a fresh box, a submission in it, an observer beside it, and the record of what was seen.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::observe::output::{Collected, read_all};
use crate::observe::plan::RunPlan;
use crate::observe::sampler::{self, Cut, Watch};
use crate::observe::{FirstEnd, Recorder, calls, frozen, snapshot, traced};
use crate::pace::RaisedPriority;
use crate::record::{
    End, Event, EventKind, Host, Observer, Pid, ProcessState, Run, Snapshot, StdoutKind, UNKNOWN_WRITER,
};
use crate::sandbox::proc;
use crate::sandbox::{Held, ResourceLimits, Rooted, Sandbox, SandboxPlan, Start, sudo};
use crate::signals::Signals;
use crate::submission::{PreparedSubmission, Submission};
use crate::task::Task;

/// Bytes a box may write to its files.
pub const DISK_BYTES: u64 = 512 << 20;
/// Processes and threads a box may have.
const MOST_PIDS: u64 = 256;
/// Memory a box may use, where there is so much.
const MOST_MEMORY: u64 = 2 << 30;
/// Memory with which any compiler of these labs gets by, so that whatever needs more is the submission's own doing.
const ENOUGH_MEMORY: u64 = 512 << 20;
/// How long a compiler may take.
const BUILD_LIMIT: Duration = Duration::from_secs(120);

/// Runs a submission once, and takes the box down again.
///
/// To be called by one thread at a time: a tracer waits for whatever child its thread has.
///
/// # Errors
/// `Exit::CannotRun` where this machine or user cannot have a box, `Exit::DoesNotBuild` with the compiler's first
/// error, `Exit::Interrupted` when SIGINT or SIGTERM came (the box is gone by then), `Exit::Broken` for our own.
pub fn observe(plan: &RunPlan<'_>) -> Result<Run> {
    let _priority = RaisedPriority::raise();
    if plan.task.is_tool() || (plan.observer, plan.stdout) == (Observer::Frozen, StdoutKind::Pty) {
        return Err(Error::broken("a tool needs a session, and the frozen observer a pipe"));
    }
    let prepared = plan.submission.prepare()?;
    let signals = Signals::block()?;
    let host = Sandbox::start(&SandboxPlan {
        seed: plan.seed,
        folder: prepared.folder.clone(),
        files: prepared.files.clone(),
        system: vec![sudo()],
        own_home: false,
        hide: hidden(plan.submission),
        disk_bytes: DISK_BYTES,
        limits: limits(),
        cpu_enabled: plan.cpu_enabled,
        tells_of_ends: plan.observer == Observer::Frozen && plan.task == Task::Task1,
    })?;
    let mut build_remarks = Vec::new();
    for argv in &prepared.build {
        build_remarks.extend(warning(&build(&host, &prepared, argv, &signals)?));
    }
    let mut run = watch(plan, &host, &prepared, &signals)?;
    run.refused = host.refused();
    run.build_remarks = build_remarks;
    run.not_clean = host.take_down();
    Ok(run)
}

/// Copies the submission's folder out of the box, as far as it can be read, to a new folder that only root can enter.
pub fn keep_folder(plan: &RunPlan<'_>, host: &Sandbox, prepared: &PreparedSubmission) -> Option<PathBuf> {
    let own = fs::Permissions::from_mode(0o700);
    let prefix = format!("grade-kept-{}-", plan.task.id());
    let to = tempfile::Builder::new().prefix(&prefix).permissions(own).tempdir().ok()?;
    // Files that cannot be copied are left out; the run is judged all the same.
    let _ = Rooted::of(host.init()).map(|root| root.copy(&prepared.folder, to.path(), DISK_BYTES));
    Some(to.keep())
}

/// The run proper, between the moment the box is ready and the moment it may go.
fn watch(plan: &RunPlan<'_>, host: &Sandbox, prepared: &PreparedSubmission, signals: &Signals) -> Result<Run> {
    let (before, cpu_enabled) = (snapshot::take(host), host.cgroups().cpu_enabled());
    let mut streams = Streams::open(plan, host)?;
    let traced_calls = match plan.observer {
        Observer::Traced => calls::TRACED.iter().map(|call| call.nr).collect(),
        Observer::Frozen | Observer::Between => Vec::new(),
    };
    let held = streams.hold(host, &prepared.start(&prepared.run, traced_calls, plan.stdout))?;
    let root = held.pid();
    let files = [1, 2].map(|fd| proc::file_id(&format!("/proc/{root}/fd/{fd}")));
    let state =
        proc::state(root, host.cgroups()).ok_or_else(|| Error::broken("the submission's process died at the gate"))?;
    let recorder =
        Recorder::new((plan.task == Task::Task2).then(|| format!("{}/container_root", prepared.folder.display())));
    recorder.note_first_cgroups(host);
    let (collected, watch) = (Collected::default(), Watch::default());
    let limit = time_limit(plan);
    let outcome = std::thread::scope(|scope| {
        if plan.observer == Observer::Traced {
            traced::attach(&held)?;
        }
        let (plugged, read) = (streams.plugged.take(), std::mem::take(&mut streams.read));
        scope.spawn(|| read_all(read, &collected, host, &watch));
        let clock = scope.spawn(|| sampler::keep_time(host, &watch, root, limit, &signals.fd));
        scope.spawn(|| sampler::look(host, &recorder, &watch));
        // Before the program goes: it may be done before we look.
        let ends = host.ends();
        let seen = held.go().and_then(|()| match plugged {
            Some(pipe) => frozen::watch(host, &recorder, &watch, (root, &state), pipe, ends, &collected),
            None => Ok(traced::watch(host, &recorder, &watch, root, files, &collected)),
        });
        recorder.find_container_root(host);
        recorder.note_new_cgroups(host);
        let names = recorder.names_in_container_root(host);
        let hit = host.cgroups().limit_hit();
        let kept = if plan.keep { keep_folder(plan, host, prepared) } else { None };
        // The readers end when the last writer is dead.
        match plan.observer {
            Observer::Traced => traced::let_go(host),
            Observer::Frozen | Observer::Between => host.kill(),
        }
        watch.finish();
        let crowding = clock.join().unwrap_or(1.0);
        seen.map(|(end, after)| (end, Snapshot { container_root: names, ..after }, hit, kept, crowding))
    });
    let (end, after, hit, kept, crowding): (FirstEnd, Snapshot, Option<String>, Option<PathBuf>, f64) = outcome?;
    if let Some(why) = held.failure() {
        return Err(Error::does_not_build(why));
    }
    let how = how_it_ended(end, watch.reason(), hit)?;
    // What was cut short was killed before the observer could look.
    let after = watch.last_look().unwrap_or(after);
    let seen = Seen { root, cpu_enabled, state, recorder, collected, before, after, end, how };
    Ok(Run { kept, crowding, ..record(plan, host, prepared, seen) })
}

/// What one run brought to light.
struct Seen {
    root: Pid,
    cpu_enabled: bool,
    state: ProcessState,
    recorder: Recorder,
    collected: Collected,
    before: Snapshot,
    after: Snapshot,
    end: FirstEnd,
    how: End,
}

fn record(plan: &RunPlan<'_>, host: &Sandbox, prepared: &PreparedSubmission, seen: Seen) -> Run {
    let (cgroups_made, cpu_was_enabled) = (seen.recorder.new_cgroups(), seen.recorder.cpu_was_enabled());
    let (mut events, samples, container_root) = seen.recorder.into_parts();
    // A writer is known only when its text comes out, and noted with the moment at which it was held.
    events.sort_by_key(|event| event.at);
    let output = seen.collected.into_output();
    if !output.cut {
        note_unseen_text(&mut events, &output.stdout);
    }
    Run {
        observer: plan.observer,
        stdout_kind: plan.stdout,
        host: Host {
            name: host.name().to_owned(),
            namespaces: seen.state.namespaces,
            cgroup: seen.state.cgroups,
            root: seen.state.root,
            cwd: prepared.folder.display().to_string(),
            container_root,
            cpu_controller: host.cgroups().cpu_controller().map(str::to_owned),
            cpu_enabled: seen.cpu_enabled,
        },
        root_pid: seen.root,
        events,
        samples,
        output,
        end: seen.how,
        before: seen.before,
        after: seen.after,
        wall: seen.end.wall,
        cgroups_made,
        cpu_was_enabled,
        ..Run::default()
    }
}

/// Puts text that came out, and whose writer was not seen, between the texts whose writers were seen.
fn note_unseen_text(events: &mut Vec<Event>, stdout: &str) {
    let (mut rest, mut found) = (stdout, Vec::new());
    for (nth, event) in events.iter().enumerate() {
        let EventKind::Wrote { stream: 1, text } = &event.what else { continue };
        let text = text.replace("\r\n", "\n");
        // In another order than it was written: two wrote at the same time, and nothing is missing for sure.
        let Some((before, after)) = rest.split_once(text.as_str()) else { return };
        found.push((nth, event.at, before));
        rest = after;
    }
    let end = events.last().map(|event| event.at).unwrap_or_default();
    found.push((events.len(), end, rest));
    for (nth, at, text) in found.into_iter().rev().filter(|(_, _, text)| !text.is_empty()) {
        let what = EventKind::Wrote { stream: 1, text: text.to_owned() };
        events.insert(nth, Event { at, pid: UNKNOWN_WRITER, state: ProcessState::default(), what });
    }
}

fn how_it_ended(end: FirstEnd, cut: Option<Cut>, hit: Option<String>) -> Result<End> {
    Ok(match (cut, end.status) {
        (Some(Cut::Signal(signal)), _) => return Err(Error::interrupted(signal)),
        (Some(Cut::Output), _) => End::OverLimit("output: more than 1 MiB".into()),
        (Some(Cut::Time(stood)), _) => match hit {
            Some(limit) => End::OverLimit(format!("{limit}; then the time was up, {stood}")),
            None => End::TimedOut(stood),
        },
        (None, None) => End::Unknown,
        (None, Some(status)) if libc::WIFSIGNALED(status) => match (libc::WTERMSIG(status), hit) {
            (libc::SIGKILL, Some(limit)) => End::OverLimit(limit),
            (signal, _) => End::Signaled(signal),
        },
        (None, Some(status)) => End::Exited(libc::WEXITSTATUS(status)),
    })
}

/// The two ends of what the program writes to.
struct Streams {
    stdout: Option<OwnedFd>,
    stderr: OwnedFd,
    plugged: Option<frozen::PluggedPipe>,
    /// What is read by the reader: stream number and end.
    read: Vec<(usize, OwnedFd)>,
}

impl Streams {
    fn open(plan: &RunPlan<'_>, host: &Sandbox) -> Result<Streams> {
        let (errors, stderr) = pipe()?;
        let mut streams = Streams { stdout: None, stderr, plugged: None, read: vec![(2, errors)] };
        match (plan.observer, plan.stdout) {
            (Observer::Frozen | Observer::Between, _) => streams.plugged = Some(frozen::PluggedPipe::new()?),
            (Observer::Traced, StdoutKind::Pty) => {
                let (master, slave) = host.open_terminal()?;
                streams.read.push((1, master));
                streams.stdout = Some(slave);
            }
            (Observer::Traced, StdoutKind::Pipe) => {
                let (read, write) = pipe()?;
                streams.read.push((1, read));
                streams.stdout = Some(write);
            }
        }
        Ok(streams)
    }

    /// Starts a program with these streams, and lets go of our copy of its ends.
    fn hold(&mut self, host: &Sandbox, start: &Start) -> Result<Held> {
        let stdout = self.stdout.take();
        let to = stdout.as_ref().map(AsFd::as_fd).or(self.plugged.as_ref().map(frozen::PluggedPipe::writer));
        let held = host.hold(start, to.unwrap_or(self.stderr.as_fd()), self.stderr.as_fd());
        // Else the reader would wait for us to write.
        self.stderr = fs::File::open("/dev/null").or_cannot("open", "/dev/null").into_broken()?.into();
        held
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).or_cannot("make", "a pipe").into_broken()
}

/// Compiles the submission inside the box: a compiler's input is not to be trusted more than its output. Returns what the
/// compiler said.
fn build(host: &Sandbox, prepared: &PreparedSubmission, argv: &[String], signals: &Signals) -> Result<String> {
    let mut streams = Streams { stdout: None, stderr: pipe()?.1, plugged: None, read: Vec::new() };
    let (said, to) = pipe()?;
    streams.stderr = to;
    let held = streams.hold(host, &prepared.start(argv, Vec::new(), StdoutKind::Pipe))?;
    let (collected, watch) = (Collected::default(), Watch::default());
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| read_all(vec![(2, said)], &collected, host, &watch));
        scope.spawn(|| sampler::keep_time(host, &watch, held.pid(), BUILD_LIMIT, &signals.fd));
        let ended = held.go().and_then(|()| host.ended(BUILD_LIMIT * 60));
        if !matches!(ended, Ok(Some((1.., _)))) {
            host.kill();
        }
        watch.finish();
        ended
    });
    let output = collected.into_output();
    let memory = host.limits().memory_bytes;
    let hit = host.cgroups().limit_hit().filter(|_| memory < ENOUGH_MEMORY);
    match (watch.reason(), held.failure(), ended?) {
        (Some(Cut::Signal(signal)), _, _) => Err(Error::interrupted(signal)),
        (Some(Cut::Time(stood)), _, _) => {
            Err(Error::does_not_build(format!("{} took too long, {stood}", argv.join(" "))))
        }
        (_, Some(why), _) => Err(Error::cannot_run(format!("{why}; it is needed to build the submission"))),
        (None, None, Some((_, 0))) => Ok(output.stderr),
        (None, None, _) if hit.is_some() => Err(Error::cannot_run(format!(
            "too little memory to build the submission: this machine can give its box {} MiB; free some, or grade elsewhere",
            memory >> 20
        ))),
        _ => Err(Error::does_not_build(first_error(&output.stderr))),
    }
}

/// A remark on the first undeclared function that a C compiler warned of: newer compilers refuse to build that.
fn warning(said: &str) -> Option<String> {
    let line = said.lines().map(str::trim).find(|line| line.contains("warning: implicit declaration of function"))?;
    Some(format!(
        "the compiler warns: {line}; include the header that the manual page names, since newer compilers refuse this"
    ))
}

/// The line that says what is wrong, from all that a compiler says.
fn first_error(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines().find(|line| line.contains("error") || line.contains("undefined reference"));
    telling.or(lines().next()).unwrap_or("the compiler failed and said nothing").to_owned()
}

/// Ten times what the references take, and more where everything takes longer.
fn time_limit(plan: &RunPlan<'_>) -> Duration {
    let seconds = match plan.task {
        Task::Task1 => 5.0,
        Task::Task2 | Task::Task3 | Task::Task4 => 40.0,
    };
    Duration::try_from_secs_f64(seconds * plan.time_scale * slowness()).unwrap_or(Duration::from_secs(3600))
}

/// How many times slower than a plain computer this one is now: 1 to 20, by what starting a program costs.
///
/// An emulated machine is, and so is one on which a whole class is graded at once.
pub fn slowness() -> f64 {
    static MEASURED: OnceLock<f64> = OnceLock::new();
    const PLAIN: Duration = Duration::from_millis(2);
    let one = || {
        let start = Instant::now();
        Command::new("/bin/true").status().map_or(PLAIN, |_| start.elapsed())
    };
    // The quickest of a few, before other work: what disturbs once is not slowness, and for a crowd there is the pace.
    *MEASURED.get_or_init(|| {
        let _priority = RaisedPriority::raise();
        let quickest = (0..5).map(|_| one()).min().unwrap_or(PLAIN);
        (quickest.as_secs_f64() / PLAIN.as_secs_f64()).clamp(1.0, 20.0)
    })
}

/// What the box must not see: where the submission comes from, and the grader, which holds the answers.
pub fn hidden(submission: &Submission) -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let mut hidden: Vec<PathBuf> = [Some(submission.origin().to_owned()), std::env::current_exe().ok(), workspace]
        .into_iter()
        .flatten()
        .chain(submission.hidden())
        .filter_map(|path| fs::canonicalize(path).ok())
        .map(|path| outermost(&path))
        .collect();
    // The folder above first: what is inside it needs no mark of its own.
    hidden.sort();
    hidden
}

/// The folder around `path` that no system has: what lies beside a submission may be another's, and what lies beside the
/// grader may be a solution.
fn outermost(path: &Path) -> PathBuf {
    const SYSTEMS: [&str; 16] = [
        "/",
        "/etc",
        "/usr",
        "/usr/bin",
        "/usr/sbin",
        "/usr/lib",
        "/usr/libexec",
        "/usr/share",
        "/usr/local",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/usr/local/lib",
        "/usr/local/share",
        "/var",
        "/var/lib",
        "/var/cache",
    ];
    let is_system = |folder: &Path| SYSTEMS.iter().any(|known| folder == Path::new(known));
    path.ancestors().take_while(|folder| !is_system(folder)).last().unwrap_or(path).to_owned()
}

/// What a box may use on this machine.
pub fn limits() -> ResourceLimits {
    ResourceLimits { pids: MOST_PIDS, memory_bytes: MOST_MEMORY.min(available_memory() / 2) }
}

/// Bytes of memory that a program could have now.
fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or("");
    let kib: u64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    if kib == 0 { MOST_MEMORY * 2 } else { kib * 1024 }
}

#[cfg(test)]
mod unseen_text {
    use super::*;

    fn wrote(pid: Pid, text: &str) -> Event {
        let what = EventKind::Wrote { stream: 1, text: text.to_owned() };
        Event { at: Duration::ZERO, pid, state: ProcessState::default(), what }
    }

    fn texts(mut events: Vec<Event>, stdout: &str) -> Vec<(Pid, String)> {
        note_unseen_text(&mut events, stdout);
        let text = |event: Event| match event.what {
            EventKind::Wrote { text, .. } => (event.pid, text),
            _ => (event.pid, String::new()),
        };
        events.into_iter().map(text).collect()
    }

    #[test]
    fn text_whose_writer_was_not_seen_stands_where_it_came_out() {
        let seen = || vec![wrote(7, "one\n"), wrote(8, "three\n")];
        let of = |pid, text: &str| (pid, text.to_owned());
        assert_eq!(texts(seen(), "one\nthree\n"), [of(7, "one\n"), of(8, "three\n")]);
        let all = texts(seen(), "one\ntwo\nthree\nfour\n");
        assert_eq!(all, [of(7, "one\n"), of(0, "two\n"), of(8, "three\n"), of(0, "four\n")]);
        assert_eq!(texts(Vec::new(), "all\n"), [of(0, "all\n")]);
        // Two wrote at once, and came out in the other order: nothing is missing for sure.
        assert_eq!(texts(seen(), "three\none\n"), [of(7, "one\n"), of(8, "three\n")]);
    }
}

#[cfg(test)]
mod tests;
