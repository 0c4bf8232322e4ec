//! Runs a tool's commands step by step: in a sandbox with a network around it, with looks and probes between them.
//!
//! A [`Session`] is one run of a tool. [`task3`] and [`task4`] say which steps it takes; each step goes into the run's
//! [`SessionRecord`], and is judged later from that alone. Steps do not judge, but they may depend on what came of earlier
//! ones: a container that did not come up is not probed.
//!
//! ```ignore
//! let mut session = Session::set(plan, prepared, &signals)?;
//! session.look("before");
//! session.run("build", &["./conductor.sh", "build", "eg-image"])?;
//! session.start("run", &["./conductor.sh", "run", "eg-image", "eg", "--", "sleep", "1234"], Terminal::No)?;
//! let first = session.find("eg", |argv| ends_with(argv, &["sleep", "1234"]))?;   // waits until it is there
//! session.name_place("eg", first);                                               // Place::Container("eg") from here on
//! session.serve(&container, 8080, "eg")?;                                        // a server of ours inside
//! session.probe("reach", vec![("host calls eg", Place::Host, Ask::Tcp { to, port: 8080 })])?;   // all at once
//! session.forget_place("eg");                                                    // before `stop`, see there
//! session.run("stop", &["./conductor.sh", "stop", "eg"])?;
//! let run = session.leave();
//! ```
//!
//! **One thread.** All that the tool's programs print is read while this thread waits in [`Session::until`].
//! **Time.** Each command has a limit of its own and all have one together; when that is used up, [`SessionRecord::cut`] says
//! so, and every later step is not done. Each method that waits fails only for what is not the tool's doing: a signal to
//! the grader (`Exit::Interrupted`), or an error of ours (`Exit::Broken`).
//!
//! Look: `grade task3 --record DIR` writes a session as JSON.

mod debootstrap;
pub mod look;
mod probe;
mod prompt;
mod scan;
mod sockets;
pub mod task3;
pub mod task4;
mod world;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use rustix::fs::{AtFlags, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Exit, IntoExit, OrCannot, Result};
use crate::observe::output::Collected;
use crate::observe::plan::RunPlan;
use crate::observe::run;
use crate::observe::sampler;
use crate::pace::{Pace, RaisedPriority};
use crate::record::steps::{Answer, Ask, CommandRun, Look, Place, Probe, Process, SessionRecord, Step, StepKind};
use crate::record::{End, Host, Observer, Pid, Run, StdoutKind};
use crate::sandbox::proc;
use crate::sandbox::{Held, ROOTS_PATH, SESSION, Sandbox, SandboxPlan, mix, sudo};
use crate::signals::Signals;
use crate::submission::PreparedSubmission;
use crate::task::Task;

pub use look::VOLUME;
pub use sockets::Listener;
pub use world::{Server, WEB_PORT, World};

/// How long one command of a tool may take, on a plain machine: some sleep until an interface has settled, and slow is
/// not wrong.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take once one did not end in that time: so that all the rest is tried as well.
const NEXT_COMMAND_LIMIT: Duration = Duration::from_secs(15);
/// After so many commands that had to be ended, no more are tried.
const MOST_HUNG: u32 = 8;
/// How long a whole session may take: of a tool; of an orchestrator, which is brought up twice and may take a minute each time.
const TOOLS_SESSION: Duration = Duration::from_secs(600);
const ORCHESTRATORS_SESSION: Duration = Duration::from_secs(240);
/// How much later the box is ended from outside, when the session does not end by itself.
const LAST_RESORT: Duration = Duration::from_secs(1);
/// How long a process may take to appear once its command has been started; and once one did not.
const APPEARANCE: Duration = Duration::from_secs(40);
const NEXT_APPEARANCE: Duration = Duration::from_secs(5);
/// A command that had to be ended computes without end if it, and what it started, used so much CPU time, and half of all
/// time that it had.
const COMPUTING: Duration = Duration::from_secs(10);
/// How long it may take after the end of that command.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks for what the kernel gives no sign of: that a process became another program, that a link is gone.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long a probe waits for an answer. An answer takes a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(750);

/// How the names of steps begin that are the grader's own doing and no command of the tool.
pub const OURS: &str = "grader:";

/// Whether a command is run on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// stdin is /dev/null, stdout and stderr are pipes.
    No,
    /// All three are a terminal of the box, on which [`Session::type_in`] types.
    Yes,
}

/// Runs a tool's session once, and takes the box down again.
///
/// # Errors
/// Those of a run with any observer.
pub fn observe(plan: &RunPlan<'_>) -> Result<Run> {
    let _priority = RaisedPriority::raise();
    let prepared = plan.submission.prepare()?;
    let signals = Signals::block()?;
    let mut session = Session::set(plan, &prepared, &signals)?;
    match plan.task {
        Task::Task3 => task3::run_steps(&mut session, &prepared)?,
        Task::Task4 => task4::run_steps(&mut session, &prepared)?,
        Task::Task1 | Task::Task2 => return Err(Error::broken(format!("{} is no tool", plan.task))),
    }
    Ok(session.leave())
}

/// One run of a tool; see the module.
pub struct Session<'a> {
    plan: &'a RunPlan<'a>,
    prepared: &'a PreparedSubmission,
    signals: &'a Signals,
    host: Sandbox,
    world: World,
    /// Network namespaces of containers, by name.
    places: BTreeMap<String, File>,
    /// Servers of ours in containers, by the container's name.
    servers: Vec<(String, Server)>,
    programs: Vec<RunningCommand>,
    steps: Vec<Step>,
    cut: Option<String>,
    /// It was cut since time was up, or the box was ended from outside.
    broken_off: bool,
    /// How many commands had to be ended.
    hung: u32,
    /// How long a process may take to appear.
    appearance: Duration,
    /// The longest that one took.
    slowest: Duration,
    /// The policy of FORWARD that was set for the tool.
    forward_policy: Option<String>,
    /// The tool was asked for layers.
    builds_layers: bool,
    begun: Instant,
    /// The clock of all limits.
    pace: Pace,
    /// How much longer things may take here than on a plain machine.
    slowness: f64,
    root: Host,
}

/// A command that was started.
struct RunningCommand {
    name: String,
    argv: Vec<String>,
    at: Duration,
    terminal: bool,
    held: Held,
    pidfd: Option<OwnedFd>,
    /// As the box numbers it.
    box_pid: Pid,
    /// What it prints, by stream.
    read: Vec<(usize, File)>,
    printed: Collected,
    began: Instant,
    end: Option<(End, Duration)>,
}

impl<'a> Session<'a> {
    /// Makes the box, the world around it, and puts the submission there.
    ///
    /// `/home`, where the submission lies, is a file system of its own, on which an overlay's upper layer may lie;
    /// `debootstrap` makes a small root of the host's programs within a second. The box does not forward packets
    /// until the tool enables that, and its packet filter is empty.
    ///
    /// # Errors
    /// As [`Sandbox::start`] and [`World::around`].
    pub fn set(plan: &'a RunPlan<'a>, prepared: &'a PreparedSubmission, signals: &'a Signals) -> Result<Session<'a>> {
        let addresses = World::plan(plan.seed, &prepared.interface());
        let mut system = debootstrap::package();
        system.push(sudo());
        if plan.task == Task::Task4 {
            let (packages, programs) = debootstrap::services(&prepared.files);
            if let Some(program) = programs.into_iter().find(|program| !is_here(program)) {
                return Err(Error::cannot_run(format!(
                    "the services need {program}, which this machine has not: install it"
                )));
            }
            system.extend(packages);
        }
        system.push(debootstrap::file("/etc/resolv.conf", &format!("nameserver {}\n", addresses.internet), 0o644));
        let slowness = run::slowness() * plan.time_scale;
        let mut host = Sandbox::start(&SandboxPlan {
            seed: plan.seed,
            folder: prepared.folder.clone(),
            files: prepared.files.clone(),
            system,
            own_home: true,
            hide: run::hidden(plan.submission),
            disk_bytes: run::DISK_BYTES,
            limits: run::limits(),
            cpu_enabled: plan.cpu_enabled,
            tells_of_ends: false,
        })?;
        // A session ends by itself when its time is up, unless it waits for the box.
        host.watch_over(scaled(session_limit(plan.task) + LAST_RESORT, slowness), signals.fd.as_fd())?;
        let world = World::around(&host, addresses)?;
        let mut session = Session {
            plan,
            prepared,
            signals,
            host,
            world,
            places: BTreeMap::new(),
            servers: Vec::new(),
            programs: Vec::new(),
            steps: Vec::new(),
            cut: None,
            broken_off: false,
            hung: 0,
            appearance: APPEARANCE,
            slowest: Duration::ZERO,
            forward_policy: None,
            builds_layers: false,
            begun: Instant::now(),
            pace: Pace::start(),
            slowness,
            root: Host::default(),
        };
        session.root = session.describe_host();
        Ok(session)
    }

    /// The network around the box.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The box.
    pub fn host(&self) -> &Sandbox {
        &self.host
    }

    /// Whether the session is over before its time: nothing that follows is done.
    pub fn is_over(&self) -> bool {
        self.cut.is_some()
    }

    /// Runs a command of the submission in its folder, without a terminal, and waits for its end.
    ///
    /// What it leaves in the background may go on holding its stdout: its end counts, not its streams'. A command that
    /// takes too long is ended; [`End::TimedOut`] says where it stood, [`End::StillComputing`] that it was in no call at all.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn run<S: AsRef<str>>(&mut self, name: &str, argv: &[S]) -> Result<CommandRun> {
        if !self.start(name, argv, Terminal::No)? {
            return Ok(self.note_failure(name, argv));
        }
        let limit = if self.hung == 0 { COMMAND_LIMIT } else { NEXT_COMMAND_LIMIT };
        self.finish(name, self.scaled(limit))
    }

    /// Starts a command and does not wait for it; false when it cannot be started, or the session is over.
    ///
    /// It is written down when [`Session::finish`] or [`Session::leave`] has seen the last of it.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn start<S: AsRef<str>>(&mut self, name: &str, argv: &[S], terminal: Terminal) -> Result<bool> {
        if self.is_over() {
            return Ok(false);
        }
        let argv: Vec<String> = argv.iter().map(|word| word.as_ref().to_owned()).collect();
        let kind = if terminal == Terminal::Yes { StdoutKind::Pty } else { StdoutKind::Pipe };
        let mut start = self.prepared.start(&argv, Vec::new(), kind);
        start.terminal = terminal == Terminal::Yes;
        let (mut read, stdout, stderr) = match terminal {
            Terminal::No => {
                let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
                (vec![(1, File::from(out)), (2, File::from(err))], stdout, stderr)
            }
            Terminal::Yes => {
                let opened = self.host.open_terminal();
                let Some((master, slave)) = self.unless_used_up(opened)? else { return Ok(false) };
                let again = slave.try_clone().or_cannot("copy", "a descriptor").into_broken()?;
                (vec![(1, File::from(master))], slave, again)
            }
        };
        for (_, file) in &mut read {
            fcntl(&*file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .or_cannot("make", "a pipe non-blocking")
                .into_broken()?;
        }
        let (began, at) = (Instant::now(), self.begun.elapsed());
        let held = match self.host.hold(&start, stdout.as_fd(), stderr.as_fd()) {
            Ok(held) => held,
            Err(error) if error.exit == Exit::CannotRun => {
                self.write_down(name, at, StepKind::Command(not_started(&argv, error.reason())));
                return Ok(false);
            }
            Err(error) => return self.unless_used_up(Err(error)).map(|never: Option<()>| never.is_some()),
        };
        drop((stdout, stderr));
        let pid = held.pid();
        // The second number is the box's, by which init tells of its end.
        let state = proc::state(pid, self.host.cgroups());
        let box_pid = state.and_then(|state| state.inner_pids.get(1).copied()).unwrap_or(0);
        let pidfd = rustix::process::Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let started = held.go();
        if self.unless_used_up(started)?.is_none() {
            return Ok(false);
        }
        let terminal = terminal == Terminal::Yes;
        let (name, printed) = (name.to_owned(), Collected::default());
        self.programs.push(RunningCommand {
            name,
            argv,
            at,
            terminal,
            held,
            pidfd,
            box_pid,
            read,
            printed,
            began,
            end: None,
        });
        Ok(true)
    }

    /// Waits up to `limit` for the end of what was started as `name`, ends it if need be, and writes it down.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn finish(&mut self, name: &str, limit: Duration) -> Result<CommandRun> {
        let ended =
            |session: &Session<'_>| session.programs.iter().any(|p| p.name == name && p.end.is_some()).then_some(());
        if self.until(limit, ended)?.is_none() {
            let computed = self.endless_computing(name);
            let running = |program: &&mut RunningCommand| program.name == name && program.end.is_none();
            if let Some(program) = self.programs.iter_mut().find(running) {
                let end = match computed {
                    Some(cpu) => End::StillComputing(cpu),
                    None => End::TimedOut(sampler::where_it_stands(program.held.pid(), &sampler::Watch::default())),
                };
                let children = proc::descendants(program.held.pid());
                program.kill();
                program.end = Some((end, program.began.elapsed()));
                self.hung += 1;
                if self.hung >= MOST_HUNG {
                    self.broken_off |= self.cut.is_none() && computed.is_none();
                    self.cut.get_or_insert_with(|| format!("{MOST_HUNG} commands took too long, the last one {name}"));
                }
                // What loops in a child would keep a processor from all that follows.
                for (pid, _) in children.into_iter().filter(|_| computed.is_some()) {
                    self.kill(pid);
                }
            }
        }
        self.pump(Duration::ZERO)?;
        let Some(nth) = self.programs.iter().position(|program| program.name == name) else {
            return Ok(CommandRun::default());
        };
        let program = self.programs.swap_remove(nth);
        let at = program.at;
        let run = program.written_down();
        self.write_down(name, at, StepKind::Command(run.clone()));
        Ok(run)
    }

    /// Ends what was started as `name` if it does nothing but compute: more time brings nothing of an endless loop.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn end_endless_computing(&mut self, name: &str) -> Result<()> {
        if self.endless_computing(name).is_some() { self.finish(name, Duration::ZERO).map(drop) } else { Ok(()) }
    }

    /// The CPU time that what was started as `name` and its children have used, if it is all that they do.
    fn endless_computing(&self, name: &str) -> Option<Duration> {
        let program = self.programs.iter().find(|program| program.name == name && program.end.is_none())?;
        let pid = program.held.pid();
        let all = proc::descendants(pid).into_iter().map(|(pid, _)| pid).chain([pid]);
        let cpu: Duration = all.filter_map(|pid| Some(proc::stat(pid)?.cpu)).sum();
        let had = program.began.elapsed().div_f64(self.pace.average());
        // Once a command was seen to do so, it is not waited for that long again.
        let enough = if self.hung == 0 { COMPUTING } else { COMPUTING / 5 };
        (cpu >= self.scaled(enough) && cpu * 2 >= had).then_some(cpu)
    }

    /// Whether what was started as `name` has ended.
    pub fn has_ended(&self, name: &str) -> bool {
        self.programs.iter().all(|program| program.name != name || program.end.is_some())
    }

    /// Types `text` on the terminal of what was started as `name`.
    pub fn type_in(&mut self, name: &str, text: &str) {
        let program = self.programs.iter_mut().find(|program| program.name == name && program.terminal);
        if let Some((_, terminal)) = program.and_then(|program| program.read.first_mut()) {
            // The write fails when the program has ended.
            let _ = terminal.write_all(text.as_bytes());
        }
    }

    /// Waits up to `limit` until `is_so` gives something, and meanwhile reads what is printed.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn until<T>(&mut self, limit: Duration, is_so: impl Fn(&Session<'a>) -> Option<T>) -> Result<Option<T>> {
        let deadline = self.passed() + limit;
        loop {
            if let Some(found) = is_so(self) {
                return Ok(Some(found));
            }
            if self.is_over() || self.passed() >= deadline {
                return Ok(None);
            }
            self.pump(INTERVAL)?;
        }
    }

    /// Waits for a process of the box whose arguments are as wanted, and writes it down as `name`; the youngest, if
    /// there are several. Gives up early when `command`, which is to bring it, has ended without it.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn find(&mut self, name: &str, command: &str, is_it: impl Fn(&[String]) -> bool) -> Result<Option<Process>> {
        self.find_within(name, command, self.appearance, |session, pid| {
            is_it(&proc::argv(pid)).then(|| look::process(pid, &session.host)).flatten()
        })
    }

    /// The same for a process that is not known by its arguments: `is_it` returns it. The limit is ten times the longest
    /// wait so far.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn find_process(
        &mut self,
        name: &str,
        command: &str,
        is_it: impl Fn(&Session<'a>, Pid) -> Option<Process>,
    ) -> Result<Option<Process>> {
        let patience = NEXT_APPEARANCE.max(self.slowest * 10).min(self.appearance);
        self.find_within(name, command, patience, is_it)
    }

    fn find_within(
        &mut self,
        name: &str,
        command: &str,
        patience: Duration,
        is_it: impl Fn(&Session<'a>, Pid) -> Option<Process>,
    ) -> Result<Option<Process>> {
        let (at, since) = (self.begun.elapsed(), self.passed());
        let seek = |session: &Session<'a>| {
            look::pids(session.host.init()).into_iter().rev().find_map(|pid| is_it(session, pid))
        };
        // Asked before the seeking: what ends in between has brought what it was to bring.
        let sought = |session: &Session<'a>| {
            let ended = session.has_ended(command);
            seek(session).map(Some).or(ended.then_some(None))
        };
        let mut found = self.until(self.scaled(patience), sought)?.flatten();
        if found.is_none() {
            // A tool that ends at once may leave its child a moment before that is the command.
            let has_ended = self.has_ended(command);
            let has_failed = self.programs.iter().any(|p| p.name == command && p.failed());
            found = self.until(self.scaled(if has_failed { GRACE / 4 } else { GRACE }), seek)?;
            if found.is_none() && !has_ended {
                self.appearance = NEXT_APPEARANCE;
            }
        }
        if found.is_some() {
            self.slowest = self.slowest.max(self.passed().saturating_sub(since));
        }
        self.write_down(name, at, StepKind::Found(found.clone().map(Box::new)));
        Ok(found)
    }

    /// The process `pid` at this moment.
    pub fn process(&self, pid: Pid) -> Option<Process> {
        look::process(pid, &self.host)
    }

    /// Puts an empty file into the root directory of `pid`, by which that root can be told from others afterwards.
    pub fn mark(&self, pid: Pid, file: &str) -> bool {
        // Made new or not at all: whatever is there already under that name may lead elsewhere.
        look::in_root(pid, file, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).is_ok()
    }

    /// Puts a file of ours into the folder in which the tool is called, in the place of one that is there. False when
    /// that cannot be, as when a folder has the name.
    pub fn put(&self, file: &str, text: &str) -> bool {
        let (init, path) = (self.host.init(), self.prepared.cwd().join(file));
        let path = path.to_string_lossy();
        if let Some((folder, name)) = path.rsplit_once('/') {
            // Whether this worked shows when the file is made.
            let _ = look::make_folder(init, folder);
            let _ = look::in_root(init, folder, OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|folder| rustix::fs::unlinkat(folder, name, AtFlags::empty()));
        }
        let made = look::in_root(init, &path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
        made.is_ok_and(|made| File::from(made).write_all(text.as_bytes()).is_ok())
    }

    /// Reads files in the root directory of a container, and writes them down as `name`.
    pub fn read(&mut self, name: &str, pid: Pid, paths: &[&str]) {
        let read = |path: &&str| Some(((*path).to_owned(), look::text(pid, path)?));
        let (at, files) = (self.begun.elapsed(), paths.iter().filter_map(read).collect());
        self.write_down(name, at, StepKind::Read(files));
    }

    /// Sets the policy of the host's FORWARD chain, as some hosts have it before a tool is called.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn set_forward_policy(&mut self, policy: &str) -> Result<()> {
        let name = format!("{OURS} policy {policy} {}", self.steps.len());
        if self.run(&name, &["iptables", "-P", "FORWARD", policy])?.succeeded() {
            self.forward_policy = Some(policy.to_owned());
        }
        Ok(())
    }

    /// What the policy of the host's FORWARD chain is at this moment.
    pub fn forward_policy(&self) -> Option<String> {
        let rules = look::rules(&self.world.host);
        rules.iter().find_map(|rule| Some(rule.strip_prefix("filter FORWARD policy ")?.to_owned()))
    }

    /// From now on, the tool is asked for images of layers.
    pub fn asks_for_layers(&mut self) {
        self.builds_layers = true;
    }

    /// Whether the submission is a workspace like ours.
    pub fn is_rust(&self) -> bool {
        self.plan.submission.is_rust()
    }

    /// Sets the host name in the UTS namespace of `pid`, as a process there could.
    pub fn rename(&self, pid: Pid, name: &str) -> bool {
        let uts = File::open(format!("/proc/{pid}/ns/uts")).ok();
        let rename = || nix::unistd::sethostname(name).is_ok();
        uts.and_then(|uts| proc::in_namespaces(uts.as_fd(), CloneFlags::CLONE_NEWUTS, rename)).unwrap_or(false)
    }

    /// The processes of the box at this moment, and the names of its links: to wait until some are gone.
    pub fn inventory(&self) -> (Vec<Pid>, Vec<String>) {
        (look::pids(self.host.init()), look::links(&self.host))
    }

    /// A number that follows from the seed, other for each `nth`: for `sleep`, so that its process can be told.
    pub fn number(&self, nth: u64) -> String {
        (1_000_000 * (nth + 1) + mix(self.plan.seed ^ nth) % 1_000_000).to_string()
    }

    /// From now on, [`Place::Container`] of this name is the network namespace of `pid`; false when it is gone.
    ///
    /// A place that is known is held open, and a namespace that is held open does not go: see [`Session::forget_place`].
    pub fn name_place(&mut self, name: &str, pid: Pid) -> bool {
        let place = world::of_process(pid);
        let known = place.is_some();
        self.places.extend(place.map(|place| (name.to_owned(), place)));
        known
    }

    /// Closes a container's network namespace, and ends our servers in it: to be called before the tool stops it,
    /// since the kernel removes a namespace's links only after its last reference is closed.
    pub fn forget_place(&mut self, name: &str) {
        self.servers.retain(|(place, _)| place != name);
        self.places.remove(name);
    }

    fn place(&self, place: &Place) -> Option<&File> {
        match place {
            Place::Host => Some(&self.world.host),
            Place::Outside => Some(&self.world.outside),
            Place::Internet => Some(&self.world.internet),
            Place::Container(name) => self.places.get(name),
        }
    }

    /// Lets a server of ours listen in a container, which tells callers its `word` and whom it sees. It ends with
    /// [`Session::forget_place`]. False when the container is not known or the port is taken.
    pub fn serve(&mut self, container: &str, port: u16, word: &str) -> bool {
        let server = self.places.get(container).and_then(|place| Server::tcp(place, port, word).ok());
        let listens = server.is_some();
        self.servers.extend(server.map(|server| (container.to_owned(), server)));
        listens
    }

    /// Makes all these attempts at the same time, and writes them down. A probe without an answer is repeated, three times in
    /// 750 ms, or longer on a slow machine.
    ///
    /// # Errors
    /// `Exit::Interrupted`, `Exit::Broken`.
    pub fn probe(&mut self, name: &str, wanted: Vec<(&str, Place, Ask)>) -> Result<Vec<Probe>> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let patience = self.scaled(PATIENCE).mul_f64(self.pace.crowding());
        let at = self.begun.elapsed();
        let probes: Vec<Probe> = std::thread::scope(|scope| {
            let asked: Vec<_> = wanted
                .into_iter()
                .map(|(name, from, ask)| {
                    let (place, what, began) = (self.place(&from), ask.clone(), Instant::now());
                    let thread = scope.spawn(move || (probe::ask(place, &what, patience), began.elapsed()));
                    (name.to_owned(), from, ask, thread)
                })
                .collect();
            let made = asked.into_iter().map(|(name, from, ask, thread)| {
                let (answer, took) = thread.join().unwrap_or((Answer::NobodyThere, Duration::ZERO));
                Probe { name, from, ask, answer, took }
            });
            made.collect()
        });
        self.pump(Duration::ZERO)?;
        self.write_down(name, at, StepKind::Probes(probes.clone()));
        Ok(probes)
    }

    /// Looks at everything, and writes it down.
    pub fn look(&mut self, name: &str) {
        if !self.is_over() {
            let at = self.begun.elapsed();
            let look = look::take(&self.host, &self.prepared.folder);
            self.write_down(name, at, StepKind::Look(Box::new(look)));
        }
    }

    /// What "the host" is to the tool: its namespaces and its root, as they were when it was made.
    pub fn host_state(&self) -> Host {
        self.root.clone()
    }

    /// A look that was taken before.
    pub fn looked(&self, name: &str) -> Option<&Look> {
        self.steps.iter().find_map(|step| match &step.did {
            StepKind::Look(look) if step.name == name => Some(&**look),
            _ => None,
        })
    }

    /// The answer of the last probe.
    pub fn last_answer(&self) -> Option<&Answer> {
        self.steps.iter().rev().find_map(|step| match &step.did {
            StepKind::Probes(probes) => probes.last().map(|probe| &probe.answer),
            _ => None,
        })
    }

    /// Whether a process was found under this name.
    pub fn has_found(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name && matches!(step.did, StepKind::Found(Some(_))))
    }

    /// The submission's folder, as a path in the box.
    pub fn folder(&self) -> String {
        self.prepared.folder.display().to_string()
    }

    /// Whether something was done under this name.
    pub fn has_step(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name)
    }

    /// Ends the session, takes the box down, and gives the record of it all.
    pub fn leave(mut self) -> Run {
        // What still runs is a container in the foreground, or something that hangs.
        let _ = self.pump(Duration::ZERO);
        let kept = if self.plan.keep { run::keep_folder(self.plan, &self.host, self.prepared) } else { None };
        for program in std::mem::take(&mut self.programs) {
            let (name, at) = (program.name.clone(), program.at);
            let run = program.written_down();
            self.write_down(&name, at, StepKind::Command(run));
        }
        self.servers.clear();
        self.places.clear();
        self.steps.sort_by_key(|step| step.at);
        let session = SessionRecord {
            addresses: self.world.addresses.clone(),
            no_nat: self.world.no_nat.clone(),
            steps: self.steps,
            cut: self.cut,
            broken_off: self.broken_off,
            forward_policy: self.forward_policy,
            builds_layers: self.builds_layers,
        };
        let wall = self.begun.elapsed();
        let refused = self.host.refused();
        // The box first: the veth pairs to it go with it.
        let not_clean = self.host.take_down();
        Run {
            observer: Observer::Between,
            stdout_kind: StdoutKind::Pipe,
            host: self.root,
            crowding: self.pace.average(),
            end: End::Exited(0),
            wall,
            session,
            not_clean,
            refused,
            kept,
            ..Run::default()
        }
    }

    /// What "the host" is to the tool.
    fn describe_host(&self) -> Host {
        let init = self.host.init();
        let state = proc::state(init, self.host.cgroups()).unwrap_or_default();
        Host {
            name: self.host.name().to_owned(),
            namespaces: state.namespaces,
            cgroup: BTreeMap::from([(String::new(), format!("/{SESSION}"))]),
            root: state.root,
            cwd: self.prepared.cwd().display().to_string(),
            container_root: None,
            cpu_controller: self.host.cgroups().cpu_controller().map(str::to_owned),
            cpu_enabled: self.host.cgroups().cpu_enabled(),
        }
    }

    /// How much time has passed, on the clock of limits.
    pub fn passed(&self) -> Duration {
        self.pace.passed()
    }

    /// A limit as it is on this machine.
    pub fn scaled(&self, limit: Duration) -> Duration {
        scaled(limit, self.slowness)
    }

    /// A box that has run into one of its limits cannot even start a program: then the session is over, and that is the
    /// tool's doing.
    fn unless_used_up<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        match (outcome, self.host.used_up()) {
            (Ok(done), _) => Ok(Some(done)),
            (Err(error), _) if matches!(error.exit, Exit::Interrupted(_)) => Err(error),
            (Err(_), Some(hit)) => {
                self.cut.get_or_insert(hit);
                Ok(None)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn write_down(&mut self, name: &str, at: Duration, did: StepKind) {
        self.steps.push(Step { name: name.to_owned(), at, did });
    }

    /// A command that could not be started, as it was written down.
    fn note_failure<S: AsRef<str>>(&self, name: &str, argv: &[S]) -> CommandRun {
        let known = self.steps.iter().rev().find_map(|step| match &step.did {
            StepKind::Command(run) if step.name == name => Some(run.clone()),
            _ => None,
        });
        let argv = || argv.iter().map(|word| word.as_ref().to_owned()).collect();
        known.unwrap_or_else(|| CommandRun { argv: argv(), ..CommandRun::default() })
    }

    /// Reads the output and the exits that are pending; waits up to `wait` for one.
    fn pump(&mut self, wait: Duration) -> Result<()> {
        let host = &self.host;
        self.pace.tick(|| sampler::running(host));
        let millis = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        let mut fds = vec![
            PollFd::new(self.signals.fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.host.as_fd(), PollFlags::POLLIN),
        ];
        let streams = self.programs.iter().flat_map(|program| &program.read);
        fds.extend(streams.map(|(_, file)| PollFd::new(file.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, millis) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(why) => return Err(why).or_cannot("wait", "for the box").into_broken(),
        }
        drop(fds);
        if let Ok(Some(signal)) = self.signals.fd.read_signal() {
            return Err(Error::interrupted(i32::try_from(signal.ssi_signo).unwrap_or(0)));
        }
        loop {
            let heard = self.host.ended(Duration::ZERO);
            let Some((box_pid, status)) = self.unless_used_up(heard)?.flatten() else { break };
            if box_pid == 0 {
                let hit = self.host.used_up();
                // No process of the box can kill its first one.
                self.broken_off |= hit.is_none();
                self.cut.get_or_insert(hit.unwrap_or_else(|| "the box's first process was killed".to_owned()));
                break;
            }
            let program = self.programs.iter_mut().find(|program| program.box_pid == box_pid && program.end.is_none());
            if let Some(program) = program {
                program.end = Some((ended_how(status), program.began.elapsed()));
            }
        }
        for program in &mut self.programs {
            program.read_what_is_there();
        }
        if self.cut.is_none() && self.passed() > self.scaled(session_limit(self.plan.task)) {
            self.broken_off = true;
            self.cut.get_or_insert_with(|| "the time for the whole session was up".to_owned());
        }
        Ok(())
    }
}

impl RunningCommand {
    /// Whether it has ended, and not well.
    fn failed(&self) -> bool {
        self.end.as_ref().is_some_and(|(end, _)| *end != End::Exited(0))
    }

    fn read_what_is_there(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        let mut full = false;
        self.read.retain_mut(|(stream, file)| {
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => full |= !self.printed.add(*stream, buffer.get(..length).unwrap_or_default()),
                    Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                    // A terminal returns EIO after its last user has closed it.
                    Err(why) => return why.kind() == std::io::ErrorKind::WouldBlock,
                }
                if full {
                    return false;
                }
            }
        });
        if full {
            self.kill();
            self.end = Some((End::OverLimit("output: more than 1 MiB".into()), self.began.elapsed()));
        }
    }

    fn kill(&self) {
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    fn written_down(mut self) -> CommandRun {
        self.read_what_is_there();
        let mut output = self.printed.into_output();
        let failed = if self.end.is_some() { self.held.failure() } else { None };
        if let Some(why) = failed {
            output.stderr += &format!("{why}\n");
        }
        let wall = self.end.as_ref().map_or_else(|| self.began.elapsed(), |(_, wall)| *wall);
        CommandRun {
            argv: self.argv,
            pid: self.held.pid(),
            terminal: self.terminal,
            output,
            end: self.end.map(|(end, _)| end),
            wall,
        }
    }
}

/// How long a whole session of `task` may take, on a plain machine.
pub fn session_limit(task: Task) -> Duration {
    if task == Task::Task4 { ORCHESTRATORS_SESSION } else { TOOLS_SESSION }
}

fn scaled(limit: Duration, slowness: f64) -> Duration {
    limit.mul_f64(slowness.clamp(0.01, 1000.0))
}

/// A raw wait status in words.
fn ended_how(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signaled(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}

/// A command whose program is not there, as a shell would tell it.
fn not_started(argv: &[String], why: String) -> CommandRun {
    let output = crate::record::Output { stderr: format!("{why}\n"), ..crate::record::Output::default() };
    CommandRun { argv: argv.to_vec(), output, end: Some(End::Exited(127)), ..CommandRun::default() }
}

/// Whether this machine has a program where the box looks for it.
fn is_here(program: &str) -> bool {
    std::env::split_paths(ROOTS_PATH).any(|folder| folder.join(program).is_file())
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).or_cannot("make", "a pipe").into_broken()
}

#[cfg(test)]
mod tests;
