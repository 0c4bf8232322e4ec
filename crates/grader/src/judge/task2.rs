//! Task 2: one program, three containers.
//!
//! `container_prog` is started three times. A role belongs to the process that *became* `container_prog subtaskN`, or,
//! when that was not seen, to the one that wrote the first line of that block. Whatever started it (a shell, unshare(1),
//! a program of its own) is free.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{History, Moment};
use super::task1::host_name;
use super::words::{end_told, first_said, link, list, panics};
use super::{Evidence, Finding, Outcome, Style, transcript as text};
use crate::record::{CpuLimit, End, Event, EventKind, Observer, Pid, ProcessState, Sample};
use crate::rubric::align::Row;

/// Half of one core, and how far from it a limit may be.
const HALF: f64 = 0.5;
const TOLERANCE: f64 = 0.01;

/// The part of a core that a program held to half of one may be seen to use: what it borrows at the ends of a measurement.
const MOST: f64 = 0.55;

/// The part of its periods that must have been counted: a limited cgroup counts each in which it runs, an unlimited none.
const COUNTED: f64 = 0.2;

/// The shortest busy phase that shows anything, in wall time: five periods.
const SHORTEST: Duration = Duration::from_millis(500);
/// So many periods are few.
const FEW: f64 = 10.0;

/// CPU time below which nothing was computed: a tenth of what 10 000 x 10 000 calls take on a fast machine.
const COMPUTED: Duration = Duration::from_millis(30);

/// The most CPU time that starting a program takes.
const LOADING: Duration = Duration::from_millis(100);

/// What `history` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, history: &History<'_>, style: Style) -> Option<Finding> {
    let started = Roles::of(history);
    // A process that never came to its first line has shown nothing else.
    let roles = started.who(|pid| ran(history, pid) || is_quoted(history, pid));
    let finding = match id {
        "root.filled" => root_filled(history, &started),
        "root.isolated" => root_isolated(history, &roles),
        "pid.one" => pid_one(history, &roles),
        "uts.isolated" => uts_isolated(history, &roles),
        "ipc.isolated" => Finding::whole(own_namespace(history, roles.c, "2c", "ipc")),
        "limit.set" => limit_set(history, &roles),
        "limit.enabled" => limit_enabled(history, &roles),
        "limit.works" => limit_works(history, &roles),
        "limit.all" => limit_all(history, &roles),
        "output" => output(history, &roles, style),
        "clean" => clean(history, &roles),
        _ => return None,
    };
    Some(match id {
        "limit.enabled" => finding,
        "output" | "clean" => excused(finding, id, history, &roles),
        _ if is_out_of_sight(history, &started) => excused(finding, id, history, &roles)
            .without_what_was_not_seen("the runner wrote for a container that was gone by then"),
        _ => excused(finding, id, history, &roles),
    })
}

/// Whether a container could not be seen: without a tracer the box is looked over when one of its processes writes to
/// stdout, and now and then.
fn is_out_of_sight(history: &History<'_>, started: &Roles) -> bool {
    let is_written = |block: &text::Block| {
        history.rows.iter().any(|row| match row {
            Row::Match { blanks, .. } => blanks.iter().any(|(label, _)| label == block.label),
            _ => false,
        })
    };
    let mut unseen = blocks(started).into_iter().filter(|block| block.writer.is_none());
    history.run.observer == Observer::Frozen && unseen.any(|block| is_written(&block))
}

/// Why 2c could not have its limit in this run, whatever the program does; none when it could.
enum Obstacle {
    /// Another run of this machine shows what this one cannot.
    OtherRun,
    /// This machine has no cpu controller in cgroup v2.
    OtherMachine(String),
}

/// Finds what kept a limit of cgroup v2, which the program tried to set, from being there.
fn obstacle(history: &History<'_>, roles: &Roles) -> Option<Obstacle> {
    let host = &history.run.host;
    if host.cpu_controller.as_deref() == Some("v2") {
        let was_enabled = host.cpu_enabled || history.run.cpu_was_enabled;
        let is_off = !was_enabled && tried_v2(history, roles) && !has_limit_file(history, roles);
        return is_off.then_some(Obstacle::OtherRun);
    }
    if uses_v1(history) || !(tried_v2(history, roles) || host.cpu_controller.is_none()) {
        return None;
    }
    let place = match &host.cpu_controller {
        Some(_) => "in cgroup v1",
        None => "nowhere in reach",
    };
    Some(Obstacle::OtherMachine(format!(
        "this machine has its cpu controller {place}, and the program sets its limit in cgroup v2; a machine with cgroup \
         v2 alone can judge it, such as the course's virtual machine"
    )))
}

/// Whether the program went for cgroup v2: it made a cgroup there, or what it thinks is one, or complains of it, or stops
/// before 2c for a reason of its own.
fn tried_v2(history: &History<'_>, roles: &Roles) -> bool {
    let stderr = &history.run.output.stderr;
    let is_unwritten = !panics(stderr).is_empty() || stderr.contains("not yet implemented: Lesson ");
    let failed = matches!(history.run.end, End::Exited(1..)) && !is_unwritten;
    let stopped = failed && roles.b.is_some() && roles.c.is_none();
    let made = history.run.cgroups_made.iter().chain(&history.run.after.cgroups);
    let mut v2 = made.filter(|cgroup| cgroup.starts_with(":/") || !cgroup.contains(":/"));
    stopped || v2.next().is_some() || ["cgroup", "cpu.max"].iter().any(|word| stderr.contains(word))
}

/// Whether the program made a cgroup for the cpu controller of v1, or complains of a file that only v1 has.
fn uses_v1(history: &History<'_>) -> bool {
    // One that is made and removed at once may never be seen.
    let stderr = &history.run.output.stderr;
    if ["cpu.cfs_", "/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/cpu,cpuacct/"].iter().any(|name| stderr.contains(name)) {
        return true;
    }
    let is_cpu = |cgroup: &String| {
        cgroup.split_once(":/").is_some_and(|(controllers, _)| controllers.split(',').any(|name| name == "cpu"))
    };
    history.run.cgroups_made.iter().chain(&history.run.after.cgroups).any(is_cpu)
}

/// Whether the kernel gave 2c a cgroup in which a limit can be set. The box's root is none.
fn has_limit_file(history: &History<'_>, roles: &Roles) -> bool {
    let samples = roles.c.map(|pid| history.samples(pid)).unwrap_or_default();
    samples.iter().any(|sample| sample.limits.iter().any(|limit| limit.cgroup != "/"))
}

/// The finding without what 2c lost through no fault of the program, or through one that another check charges.
fn excused(mut finding: Finding, id: &str, history: &History<'_>, roles: &Roles) -> Finding {
    let Some(obstacle) = obstacle(history, roles) else { return finding };
    let stopped = roles.c.is_none();
    let is_of_2c = |part: &str| match (id, part) {
        ("limit.set" | "limit.works" | "limit.all", _) | (_, "status" | "gone") => true,
        ("ipc.isolated", _) | (_, "2c" | "blocks" | "lines") => stopped,
        _ => false,
    };
    for (part, outcome) in &mut finding.points {
        if is_of_2c(part) && matches!(outcome, Outcome::Lost(_) | Outcome::NotTried(..)) {
            *outcome = match &obstacle {
                Obstacle::OtherRun => Outcome::Unseen("in this run 2c had no cpu controller".to_owned()),
                Obstacle::OtherMachine(why) => Outcome::Skipped(why.clone()),
            };
        }
    }
    finding
}

/// Whether the program enables the cpu controller at the root where that is not done yet.
fn limit_enabled(history: &History<'_>, roles: &Roles) -> Finding {
    let host = &history.run.host;
    let evidence =
        roles.c.and_then(|pid| history.samples(pid).last().copied()).map(|sample| looked(history, sample)).into_iter();
    Finding::whole(match obstacle(history, roles) {
        Some(Obstacle::OtherMachine(why)) => Outcome::Skipped(why),
        Some(Obstacle::OtherRun) => Outcome::wrong(
            "cpu is in the root's cgroup.subtree_control before 2c's cgroup gets its limit",
            "it was not there when this run began, and the program did not write it: 2c's cgroup has no cpu.max",
            evidence.collect(),
        ),
        None if host.cpu_enabled => Outcome::Unseen("the root handed on cpu before this run began".to_owned()),
        None if roles.c.is_none() => never_ran("2c"),
        None if has_limit_file(history, roles) || uses_v1(history) => Outcome::Held,
        None => Outcome::NotTried(&["limit.set"], "there is no cgroup for 2c that would need it".to_owned()),
    })
}

/// The roles with their processes.
pub(super) fn roles(history: &History<'_>) -> Vec<(&'static str, Pid)> {
    let runner = std::iter::once(("runner", history.run.root_pid));
    runner.chain(Roles::of(history).named().into_iter().filter_map(|(name, pid)| pid.map(|pid| (name, pid)))).collect()
}

/// Which process is container_prog in which subtask.
#[derive(Debug, Clone, Copy)]
struct Roles {
    a: Option<Pid>,
    b: Option<Pid>,
    c: Option<Pid>,
}

impl Roles {
    fn of(history: &History<'_>) -> Roles {
        Roles {
            a: container(history, "subtask1", "pid-2a"),
            b: container(history, "subtask2", "pid-2b"),
            c: container(history, "subtask3", "pid-2c"),
        }
    }

    fn named(&self) -> [(&'static str, Option<Pid>); 3] {
        [("2a", self.a), ("2b", self.b), ("2c", self.c)]
    }

    /// Those for whom `holds`.
    fn who(&self, holds: impl Fn(Pid) -> bool) -> Roles {
        let keep = |pid: Option<Pid>| pid.filter(|pid| holds(*pid));
        Roles { a: keep(self.a), b: keep(self.b), c: keep(self.c) }
    }

    fn any(&self) -> bool {
        self.a.or(self.b).or(self.c).is_some()
    }
}

/// The process that became `container_prog SUBTASK`, else the one that wrote the line with the blank `label`.
fn container(history: &History<'_>, subtask: &str, label: &str) -> Option<Pid> {
    let became = history.run.events.iter().filter_map(|event| match &event.what {
        EventKind::Exec { argv } if is_container_prog(argv, subtask) => Some(event.pid),
        _ => None,
    });
    let sampled = history.run.samples.iter().filter(|sample| is_container_prog(&sample.argv, subtask));
    let players: Vec<Pid> = became.chain(sampled.map(|sample| sample.pid)).collect();
    // A fork keeps its parent's arguments, and without a tracer that looks as if it had become the program itself.
    let is_fork = |pid: Pid| history.ancestry(pid).iter().skip(1).any(|parent| players.contains(parent));
    let started = players.iter().rev().copied().find(|pid| !is_fork(*pid));
    let wrote = || {
        let line = history.rows.iter().find_map(|row| match row {
            Row::Match { line, blanks, .. } if blanks.iter().any(|(name, _)| name == label) => history.lines.get(*line),
            _ => None,
        });
        line.and_then(|line| history.writer(line)).map(|event| event.pid).filter(|pid| *pid != history.run.root_pid)
    };
    // Where the program was seen to be started for another subtask, a line of that one may stand here again: text that
    // was in a buffer at a fork is written twice. It says nothing of a process that was not seen.
    let seen_elsewhere = || {
        let execs = history.run.events.iter().filter_map(|event| match &event.what {
            EventKind::Exec { argv } => Some(argv.as_slice()),
            _ => None,
        });
        let samples = history.run.samples.iter().map(|sample| sample.argv.as_slice());
        execs.chain(samples).any(|argv| subtask_of(argv).is_some())
    };
    started.or_else(|| if seen_elsewhere() { None } else { wrote() })
}

/// Whether these are the arguments of `container_prog SUBTASK`.
fn is_container_prog(argv: &[String], subtask: &str) -> bool {
    subtask_of(argv) == Some(subtask)
}

/// The subtask that `container_prog` was started for, by itself or through the dynamic loader; none for other programs.
fn subtask_of(argv: &[String]) -> Option<&str> {
    let name = |argument: &String| argument.rsplit('/').next().unwrap_or_default().to_owned();
    let skip = usize::from(argv.first().is_some_and(|first| name(first).starts_with("ld-")));
    match argv.get(skip..) {
        Some([program, subtask, ..]) if name(program) == "container_prog" => Some(subtask),
        _ => None,
    }
}

/// The moment a container is judged by: when its program wrote its first line, else when it was started or last seen.
fn telling<'a>(history: &History<'a>, pid: Pid) -> Option<Moment<'a>> {
    let moments = history.moments(pid);
    let did = |wanted: fn(&EventKind) -> bool| {
        moments.iter().find(|moment| moment.event.is_some_and(|event| wanted(&event.what))).copied()
    };
    did(|what| matches!(what, EventKind::Wrote { stream: 1, .. }))
        .or_else(|| did(|what| matches!(what, EventKind::Exec { argv } if subtask_of(argv).is_some())))
        .or_else(|| moments.last().copied())
}

/// Whether `pid` wrote anything to stdout.
fn spoke(history: &History<'_>, pid: Pid) -> bool {
    history.run.events.iter().any(|event| event.pid == pid && matches!(event.what, EventKind::Wrote { stream: 1, .. }))
}

/// Whether another process wrote what `pid` says, where only a tracer could see more of `pid`.
fn is_quoted(history: &History<'_>, pid: Pid) -> bool {
    history.run.observer != Observer::Traced && history.relayed.values().any(|speaker| *speaker == Some(pid))
}

/// Whether `pid` came as far as its `main`: it wrote something, made a child, ended well, or computed for longer than a
/// loader does.
fn ran(history: &History<'_>, pid: Pid) -> bool {
    let started = history.run.events.iter().position(|event| {
        event.pid == pid && matches!(&event.what, EventKind::Exec { argv } if subtask_of(argv).is_some())
    });
    let after = history.run.events.iter().skip(started.unwrap_or(history.run.events.len()));
    let did = |what: &EventKind| matches!(what, EventKind::Born { .. } | EventKind::Exited { code: 0, signal: None });
    let computed = || history.samples(pid).iter().any(|sample| sample.cpu > LOADING);
    spoke(history, pid) || after.filter(|event| event.pid == pid).any(|event| did(&event.what)) || computed()
}

/// What blocks a check on a container that never ran.
fn never_ran(which: &str) -> Outcome {
    Outcome::NotTried(&["root.filled"], format!("container_prog did not run in {which}"))
}

fn root_filled(history: &History<'_>, roles: &Roles) -> Finding {
    if !roles.any() {
        // One cause is reported once.
        let expected = "container_prog runs in 2a, 2b and 2c, from an empty container_root";
        return Finding::whole(not_started(history, expected.to_owned(), "any of them"));
    }
    Finding::parts(roles.named().map(|(which, pid)| (which, runs(history, which, pid))))
}

fn runs(history: &History<'_>, which: &'static str, pid: Option<Pid>) -> Outcome {
    let expected = format!("container_prog runs in {which}, from an empty container_root");
    let Some(pid) = pid else { return not_started(history, expected, which) };
    if !ran(history, pid) && !is_quoted(history, pid) {
        if history.run.observer != Observer::Traced {
            return Outcome::Unseen(format!("container_prog was started in {which}, and this run does not show more"));
        }
        let evidence = history.exit(pid).map(|exit| history.evidence(exit)).into_iter().collect();
        return Outcome::wrong(
            expected,
            format!("it was started and wrote nothing{}", complaint(history, which)),
            evidence,
        );
    }
    match telling(history, pid) {
        // In the host's own root every library is there: that says nothing about container_root.
        Some(moment) if moment.state.root == history.run.host.root => {
            Outcome::NotTried(&["root.isolated"], format!("{which} runs from the host's root, which has all it needs"))
        }
        _ => Outcome::Held,
    }
}

/// No process became container_prog.
fn not_started(history: &History<'_>, expected: String, which: &str) -> Outcome {
    let observed = format!("it was not started in {which}{}", complaint(history, which));
    let evidence = failed_exec(history).unwrap_or_default();
    Outcome::Lost(Box::new(super::Why { expected, observed, evidence, ..Default::default() }))
}

/// How the program ended, and what it said first on stderr about `which`, for people.
fn complaint(history: &History<'_>, which: &str) -> String {
    let end = match &history.run.end {
        End::Exited(0) => String::new(),
        end => format!("; {}{}", history.typed(), end_told(end)),
    };
    // A tracer sees what is written when: what came after the heading belongs to it.
    let heading = format!("Output Subtask {which}");
    let wrote = |stream: u8| {
        history.run.events.iter().filter_map(move |event| match &event.what {
            EventKind::Wrote { stream: to, text } if *to == stream => Some((event.at, text.as_str())),
            _ => None,
        })
    };
    let from = wrote(1).find(|(_, text)| text.contains(&heading)).map(|(at, _)| at);
    let to = from.and_then(|from| wrote(1).find(|(at, text)| *at > from && text.contains("Output Subtask")));
    let to = to.map_or(Duration::MAX, |(at, _)| at);
    let own =
        from.map(|from| wrote(2).filter(|(at, _)| (from..to).contains(at)).map(|(_, text)| text).collect::<String>());
    let said = own.as_deref().and_then(first_said).or_else(|| first_said(&history.run.output.stderr));
    let said = said.map(|line| format!("; stderr says {line:?}")).unwrap_or_default();
    format!("{said}{end}")
}

/// The last exec of container_prog that failed. Others are a shell's search for its commands.
fn failed_exec(history: &History<'_>) -> Option<Vec<Evidence>> {
    let is_ours =
        |event: &Event| matches!(&event.what, EventKind::Call { decoded, .. } if decoded.ends_with("container_prog"));
    let (event, _) = history.calls("execve").filter(|(event, result)| *result < 0 && is_ours(event)).last()?;
    Some(vec![history.evidence(event)])
}

fn root_isolated(history: &History<'_>, roles: &Roles) -> Finding {
    let mut finding = Finding::parts(roles.named().map(|(which, pid)| (which, isolated(history, which, pid))));
    let elsewhere = |pid: Pid| {
        let wanted = history.run.host.container_root?;
        let root = telling(history, pid)?.state.root;
        (root != wanted && root != history.run.host.root).then_some(())
    };
    let elsewhere: Vec<&str> = roles
        .named()
        .into_iter()
        .filter(|(_, pid)| pid.and_then(elsewhere).is_some())
        .map(|(which, _)| which)
        .collect();
    if !elsewhere.is_empty() {
        finding = finding.remark(format!("in {} the root is another folder than container_root", list(&elsewhere)));
    }
    finding
}

fn isolated(history: &History<'_>, which: &'static str, pid: Option<Pid>) -> Outcome {
    let Some(moment) = pid.and_then(|pid| telling(history, pid)) else { return never_ran(which) };
    let evidence = vec![history.evidence_of(&moment)];
    if moment.state.root == history.run.host.root {
        return Outcome::wrong(
            format!("in {which}, the root directory of container_prog is container_root"),
            "its root directory is the host's",
            evidence,
        );
    }
    if moment.state.cwd.is_none() {
        return Outcome::wrong(
            format!("in {which}, the working directory of container_prog is inside its root"),
            "its working directory is still outside: ../ from there leads over the whole host",
            evidence,
        );
    }
    Outcome::Held
}

fn pid_one(history: &History<'_>, roles: &Roles) -> Finding {
    let finding = Finding::parts([
        ("2b", is_process_one(history, roles.b, "2b")),
        ("2c", is_process_one(history, roles.c, "2c")),
    ]);
    let first = roles.a.and_then(|pid| telling(history, pid));
    let own = first.and_then(|moment| moment.state.namespaces.get("pid").copied());
    match (own, history.host_namespace("pid")) {
        (Some(own), Some(host)) if own != host => finding.remark(
            "2a has a PID namespace of its own already: the lab adds it in 2b, so that the difference can be seen",
        ),
        _ => finding,
    }
}

fn is_process_one(history: &History<'_>, pid: Option<Pid>, which: &'static str) -> Outcome {
    let outcome = own_namespace(history, pid, which, "pid");
    let Some(moment) = pid.and_then(|pid| telling(history, pid)) else { return outcome };
    let expected = format!("in {which}, container_prog is process 1 of a PID namespace of its own");
    match (&outcome, moment.state.inner_pids.last()) {
        (Outcome::Held, Some(pid)) if *pid != 1 => Outcome::wrong(
            expected,
            format!("it is process {pid} of its PID namespace"),
            vec![history.evidence_of(&moment)],
        ),
        (Outcome::Lost(_), _) => {
            let children = moment.state.namespaces.get("pid_for_children");
            let own = moment.state.namespaces.get("pid");
            match (own, children) {
                (Some(own), Some(next)) if own != next => Outcome::wrong(
                    expected,
                    format!(
                        "it is in {}, the host's; only its children are born in {}",
                        link("pid", *own),
                        link("pid", *next)
                    ),
                    vec![history.evidence_of(&moment)],
                ),
                _ => outcome,
            }
        }
        _ => outcome,
    }
}

/// Whether the container has a namespace of `kind` that is not the host's.
fn own_namespace(history: &History<'_>, pid: Option<Pid>, which: &'static str, kind: &'static str) -> Outcome {
    let Some(moment) = pid.and_then(|pid| telling(history, pid)) else { return never_ran(which) };
    let (Some(host), Some(own)) = (history.host_namespace(kind), moment.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespace of {which} could not be read"));
    };
    if host != *own {
        return Outcome::Held;
    }
    Outcome::wrong(
        format!("{which} in another namespace than {}, the host's", link(kind, host)),
        format!("{which} is in {}", link(kind, *own)),
        vec![history.evidence_of(&moment)],
    )
}

fn uts_isolated(history: &History<'_>, roles: &Roles) -> Finding {
    let host = match (roles.b.or(roles.c), host_name(history)) {
        (None, Outcome::Held) => never_ran("2b and 2c"),
        (_, outcome) => outcome,
    };
    Finding::parts([
        ("2b", own_namespace(history, roles.b, "2b", "uts")),
        ("2c", own_namespace(history, roles.c, "2c", "uts")),
        ("host", host),
    ])
}

/// The half-core limit as the kernel holds it for one process.
struct Limit<'a> {
    /// The samples of the process that computed, oldest first.
    samples: Vec<&'a Sample>,
    /// The tightest limit on it, its own or an ancestor's; none without any.
    tightest: Option<&'a CpuLimit>,
}

impl CpuLimit {
    /// The part of one core it allows; none without a limit.
    fn cores(&self) -> Option<f64> {
        let quota = self.quota_us?;
        (self.period_us > 0).then(|| quota as f64 / self.period_us as f64)
    }
}

/// Finds the limit on 2c, or says why there is nothing to find.
fn limit<'a>(history: &History<'a>, roles: &Roles) -> Result<Limit<'a>, Outcome> {
    if history.run.host.cpu_controller.is_none() {
        return Err(Outcome::Skipped("no cpu controller can be had in the box on this machine".to_owned()));
    }
    let Some(c) = roles.c else { return Err(never_ran("2c")) };
    let busiest =
        inside(history, c).into_iter().max_by_key(|pid| history.samples(*pid).last().map(|sample| sample.cpu));
    let samples = history.samples(busiest.unwrap_or(c));
    let Some(last) = samples.last() else {
        return Err(Outcome::Unseen("2c ended before its cgroup was looked at".to_owned()));
    };
    let limited = last.limits.iter().filter(|limit| limit.cores().is_some());
    let tightest = limited.min_by(|a, b| a.cores().unwrap_or(f64::MAX).total_cmp(&b.cores().unwrap_or(f64::MAX)));
    Ok(Limit { samples, tightest })
}

/// Whether a limit is half of one core.
fn is_half(limit: &CpuLimit) -> bool {
    limit.cores().is_some_and(|cores| (cores - HALF).abs() <= HALF * TOLERANCE)
}

/// The processes of the container whose first is `first`.
fn inside(history: &History<'_>, first: Pid) -> Vec<Pid> {
    let home = telling(history, first).and_then(|moment| moment.state.namespaces.get("pid").copied());
    let home = home.filter(|home| history.host_namespace("pid") != Some(*home));
    // The number of a namespace that is gone may be given to a new one: only processes that live at the same time share it.
    let start = history.moments(first).first().map(|moment| moment.at).unwrap_or_default();
    let belongs = |pid: &Pid| {
        let mut later = history.moments(*pid).iter().filter(|moment| moment.at >= start);
        let lives_there = later.any(|m| home.is_some() && m.state.namespaces.get("pid").copied() == home);
        lives_there || history.ancestry(*pid).contains(&first)
    };
    history.pids().iter().copied().filter(belongs).collect()
}

fn limit_set(history: &History<'_>, roles: &Roles) -> Finding {
    let limit = match limit(history, roles) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let own = limit.samples.last().and_then(|sample| sample.limits.first());
    let expected = "the quota of 2c's cgroup is half its period, such as 50000 100000";
    let evidence = limit.samples.last().map(|sample| looked(history, sample)).into_iter().collect();
    let Some(tightest) = limit.tightest else {
        let place = own.map_or("its cgroup", |own| own.cgroup.as_str());
        let observed = format!("{} has no limit, nor has any cgroup above it", crate::escape::drawn(place));
        return Finding::whole(Outcome::wrong(expected, observed, evidence));
    };
    let figures = format!("{} {}", tightest.quota_us.unwrap_or(0), tightest.period_us);
    if !is_half(tightest) {
        let cores = tightest.cores().unwrap_or(0.0);
        let observed =
            format!("{figures}, which is {cores:.2} of a core, in {}", crate::escape::drawn(&tightest.cgroup));
        return Finding::whole(Outcome::wrong(expected, observed, evidence));
    }
    let mut finding = Finding::whole(Outcome::Held);
    if figures != "50000 100000" {
        finding = finding.remark(format!("the limit is {figures}: the same half of a core as 50000 100000"));
    }
    if own.is_some_and(|own| own.cgroup != tightest.cgroup) {
        finding = finding.remark("the limit is held by a cgroup above the one 2c is in, which holds it as well");
    }
    if history.run.host.cpu_controller.as_deref() == Some("v1") {
        finding = finding.remark("this machine has its cpu controller in cgroup v1, so the limit was looked for there");
    }
    finding
}

/// A sample as evidence.
fn looked(history: &History<'_>, sample: &Sample) -> Evidence {
    let figures = |limit: &CpuLimit| match limit.quota_us {
        Some(quota) => format!("{}: {quota} {}, {} periods", limit.cgroup, limit.period_us, limit.nr_periods),
        None => format!("{}: max {}", limit.cgroup, limit.period_us),
    };
    let limits: Vec<String> = sample.limits.iter().map(figures).collect();
    Evidence {
        what: format!("had used {:.2} s of CPU time; {}", sample.cpu.as_secs_f64(), limits.join("; ")),
        ..history.evidence_of(&Moment { at: sample.at, pid: sample.pid, state: &sample.state, event: None })
    }
}

fn limit_works(history: &History<'_>, roles: &Roles) -> Finding {
    let limit = match limit(history, roles) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let Some(tightest) = limit.tightest else {
        return Finding::whole(Outcome::NotTried(&["limit.set"], "there is no limit that could work".to_owned()));
    };
    let spent = limit.samples.last().map_or(Duration::ZERO, |sample| sample.cpu);
    if spent < COMPUTED {
        let observed = format!("{} ms of CPU time in all: 2c computed nothing", spent.as_millis());
        let evidence = limit.samples.last().map(|sample| looked(history, sample)).into_iter().collect();
        return Finding::whole(Outcome::wrong("2c computes, and is held back while it does", observed, evidence));
    }
    // The busy phase: from the first look at which it had begun to compute to the last at which it still went on. That
    // it may have begun before it was under the limit is the matter of another check.
    let limited = |sample: &&Sample| {
        let held = |limit: &CpuLimit| limit.cgroup == tightest.cgroup && limit.quota_us == tightest.quota_us;
        !sample.cpu.is_zero() && sample.limits.iter().any(held)
    };
    let busy: Vec<&Sample> = limit.samples.iter().copied().filter(limited).collect();
    let (Some(first), Some(last)) = (busy.first(), busy.iter().rev().find(|sample| goes_on(&busy, sample))) else {
        return Finding::whole(Outcome::Unseen("2c was not seen to compute".to_owned()));
    };
    let wall = last.at.saturating_sub(first.at);
    if wall < SHORTEST {
        return Finding::whole(Outcome::Unseen(format!(
            "2c computed for {} ms only, too short to measure",
            wall.as_millis()
        )));
    }
    let cpu = last.cpu.saturating_sub(first.cpu);
    let periods = |sample: &Sample| {
        sample.limits.iter().find(|limit| limit.cgroup == tightest.cgroup).map_or(0, |limit| limit.nr_periods)
    };
    let counted = periods(last).saturating_sub(periods(first));
    let all = wall.as_micros() as f64 / tightest.period_us.max(1) as f64;
    let used = cpu.as_secs_f64() / wall.as_secs_f64();
    // A measurement of few periods may begin or end with a whole quota of its own.
    let borrowed = if all < FEW { tightest.quota_us.unwrap_or(0) as f64 / 1e6 } else { 0.0 };
    let evidence = vec![looked(history, first), looked(history, last)];
    let outcome = if (counted as f64) < (all * COUNTED).floor() {
        Outcome::wrong(
            format!("most of the {all:.0} periods in which 2c computed are counted"),
            format!("{counted} were: the kernel did not hold it to a limit while it computed"),
            evidence,
        )
    } else if cpu.as_secs_f64() > wall.as_secs_f64() * MOST + borrowed {
        Outcome::wrong(
            format!("2c gets at most {MOST} of a core"),
            format!("it got {used:.2} of a core: {:.2} s in {:.2} s", cpu.as_secs_f64(), wall.as_secs_f64()),
            evidence,
        )
    } else {
        Outcome::Held
    };
    Finding::whole(outcome)
        .remark(format!("2c got {used:.2} of a core while it computed, in {counted} counted periods"))
}

/// Whether the process used CPU time between the sample before this one and this one.
fn goes_on(busy: &[&Sample], sample: &&&Sample) -> bool {
    let before = busy.iter().rev().find(|other| other.at < sample.at);
    before.is_none_or(|before| before.cpu < sample.cpu)
}

fn limit_all(history: &History<'_>, roles: &Roles) -> Finding {
    let limit = match limit(history, roles) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let (Some(tightest), Some(c)) = (limit.tightest, roles.c) else {
        return Finding::whole(Outcome::NotTried(&["limit.set"], "there is no limit to be inside of".to_owned()));
    };
    Finding::parts([("inside", all_inside(history, c, tightest)), ("alone", nothing_else(history, roles, c, tightest))])
}

/// The cgroup of a process in the hierarchy that has the cpu controller.
fn cgroup<'a>(history: &History<'_>, state: &'a ProcessState) -> Option<&'a str> {
    let v1 = history.run.host.cpu_controller.as_deref() == Some("v1");
    let here = |name: &str| if v1 { name.split(',').any(|controller| controller == "cpu") } else { name.is_empty() };
    state.cgroups.iter().find(|(name, _)| here(name)).map(|(_, path)| path.as_str())
}

/// Whether `path` is `cgroup` or below it.
fn is_within(path: &str, cgroup: &str) -> bool {
    let cgroup = cgroup.trim_end_matches('/');
    path.trim_end_matches('/').strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// When container_prog of 2c began to run: its exec, else the first time it was seen as itself.
fn began(history: &History<'_>, c: Pid) -> Duration {
    let exec = history.run.events.iter().find(|event| {
        event.pid == c && matches!(&event.what, EventKind::Exec { argv } if is_container_prog(argv, "subtask3"))
    });
    let sampled =
        || history.samples(c).into_iter().find(|sample| is_container_prog(&sample.argv, "subtask3")).map(|s| s.at);
    let wrote = || telling(history, c).map(|moment| moment.at);
    let first = exec.map(|event| event.at).or_else(|| sampled().into_iter().chain(wrote()).min());
    first.unwrap_or_default()
}

fn all_inside(history: &History<'_>, c: Pid, limit: &CpuLimit) -> Outcome {
    let expected = format!("every process of 2c in {} from its first instruction", crate::escape::drawn(&limit.cgroup));
    let start = began(history, c);
    for pid in inside(history, c) {
        for moment in history.moments(pid).iter().filter(|moment| moment.at >= start) {
            let Some(path) = cgroup(history, moment.state) else { continue };
            if !is_within(path, &limit.cgroup) {
                let observed = format!(
                    "process {} of 2c was in {}",
                    moment.state.inner_pids.last().unwrap_or(&pid),
                    crate::escape::drawn(path)
                );
                return Outcome::wrong(expected, observed, vec![history.evidence_of(moment)]);
            }
        }
        let late = history.samples(pid).into_iter().filter(|sample| sample.at >= start).find(|sample| {
            let there = sample.limits.iter().find(|known| known.cgroup == limit.cgroup);
            there.is_none_or(|known| known.quota_us.is_none())
        });
        if let Some(sample) = late {
            let after = sample.at.saturating_sub(start).as_millis();
            let observed = format!("{after} ms after it began, the limit was not there yet");
            return Outcome::wrong(expected, observed, vec![looked(history, sample)]);
        }
    }
    Outcome::Held
}

fn nothing_else(history: &History<'_>, roles: &Roles, c: Pid, limit: &CpuLimit) -> Outcome {
    let start = began(history, c);
    let members = inside(history, c);
    let starters = history.ancestry(c);
    // Whatever also led to 2a or 2b is the runner, not a part of the container.
    let runner: Vec<Pid> = [roles.a, roles.b].into_iter().flatten().flat_map(|pid| history.ancestry(pid)).collect();
    for (which, pid) in [("2a", roles.a), ("2b", roles.b)] {
        let is_limited = |sample: &&Sample| sample.limits.iter().any(|limit| limit.cores().is_some());
        let mut samples = pid.map(|pid| history.samples(pid)).unwrap_or_default().into_iter();
        if let Some(sample) = samples.find(is_limited) {
            let observed = format!("{which} computed under a limit as well");
            return Outcome::wrong("only 2c has a limit of CPU time", observed, vec![looked(history, sample)]);
        }
    }
    for moment in history.all_moments().filter(|moment| moment.at >= start) {
        let is_runner = moment.pid == history.run.root_pid || runner.contains(&moment.pid);
        let may = members.contains(&moment.pid) || (starters.contains(&moment.pid) && !is_runner);
        let there = cgroup(history, moment.state).is_some_and(|path| is_within(path, &limit.cgroup));
        if there && !may {
            let what = if is_runner { "the runner itself" } else { "a process that is not of the container" };
            return Outcome::wrong(
                format!("only 2c's processes in {}", crate::escape::drawn(&limit.cgroup)),
                format!("{what} (pid {}) was in it too", moment.state.inner_pids.get(1).unwrap_or(&moment.pid)),
                vec![history.evidence_of(moment)],
            );
        }
    }
    Outcome::Held
}

fn output(history: &History<'_>, roles: &Roles, style: Style) -> Finding {
    text::judged(history, &blocks(roles), style)
}

fn blocks(roles: &Roles) -> [text::Block; 3] {
    [
        text::Block { name: "block 2a", label: "pid-2a", writer: roles.a },
        text::Block { name: "block 2b", label: "pid-2b", writer: roles.b },
        text::Block { name: "block 2c", label: "pid-2c", writer: roles.c },
    ]
}

/// The lines of containers whose output the runner captured, or sent through another program.
pub(super) fn relayed(history: &History<'_>) -> BTreeMap<usize, Option<Pid>> {
    // Without a tracer, a program that writes into a pipe of the runner's is not seen to write.
    let roles = Roles::of(history).who(|pid| ran(history, pid) || history.run.observer != Observer::Traced);
    let is_container = |pid: Pid| roles.named().iter().any(|(_, container)| *container == Some(pid));
    text::relayed(history, &blocks(&roles), |writer, speaker| {
        !is_container(writer) && speaker.is_some_and(|speaker| !spoke(history, speaker))
    })
}

fn clean(history: &History<'_>, roles: &Roles) -> Finding {
    if !roles.any() {
        return Finding::whole(never_ran("any subtask"));
    }
    let left = text::leftovers(history);
    let gone = match left.as_slice() {
        [] => Outcome::Held,
        left => Outcome::wrong("the host as it was before", format!("left behind: {}", list(left)), Vec::new()),
    };
    Finding::parts([("status", text::exit_status(history)), ("gone", gone)])
}
