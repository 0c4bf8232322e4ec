//! Task 2: one program, three containers.
//!
//! `container_prog` is started three times. A role belongs to the process that *became* `container_prog subtaskN`, or,
//! when that was not seen, to the one that wrote the first line of that block. Whatever started it (a shell, unshare(1),
//! a program of its own) is free.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scene::{Moment, Scene};
use super::task1::host_name;
use super::words::{end_told, first_said, link, list, panics};
use super::{Evidence, Finding, Outcome, Style, transcript as text};
use crate::trace::{CpuLimit, End, Event, Observer, Pid, ProcessState, Sample, What};
use crate::transcript::Row;

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

/// What `scene` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, scene: &Scene<'_>, style: Style) -> Option<Finding> {
    let started = Cast::of(scene);
    // Whoever was started and never came to its first line has shown nothing else.
    let cast = started.who(|pid| ran(scene, pid) || is_quoted(scene, pid));
    let finding = match id {
        "root.filled" => root_filled(scene, &started),
        "root.isolated" => root_isolated(scene, &cast),
        "pid.one" => pid_one(scene, &cast),
        "uts.isolated" => uts_isolated(scene, &cast),
        "ipc.isolated" => Finding::whole(own_namespace(scene, cast.c, "2c", "ipc")),
        "limit.set" => limit_set(scene, &cast),
        "limit.enabled" => limit_enabled(scene, &cast),
        "limit.works" => limit_works(scene, &cast),
        "limit.all" => limit_all(scene, &cast),
        "output" => output(scene, &cast, style),
        "clean" => clean(scene, &cast),
        _ => return None,
    };
    Some(match id {
        "limit.enabled" => finding,
        "output" | "clean" => excused(finding, id, scene, &cast),
        _ if is_out_of_sight(scene, &started) => excused(finding, id, scene, &cast)
            .without_what_was_not_seen("the runner wrote for a container that was gone by then"),
        _ => excused(finding, id, scene, &cast),
    })
}

/// Whether a container could not be seen: without a tracer the box is looked over when one of its processes writes to
/// stdout, and now and then.
fn is_out_of_sight(scene: &Scene<'_>, started: &Cast) -> bool {
    let is_written = |block: &text::Block| {
        scene.rows.iter().any(|row| match row {
            Row::Match { blanks, .. } => blanks.iter().any(|(label, _)| label == block.label),
            _ => false,
        })
    };
    let mut unseen = blocks(started).into_iter().filter(|block| block.writer.is_none());
    scene.run.observer == Observer::Frozen && unseen.any(|block| is_written(&block))
}

/// Why 2c could not have its limit in this run, whatever the program does; none when it could.
enum Obstacle {
    /// Another run of this machine shows what this one cannot.
    OtherRun,
    /// This machine has no cpu controller in cgroup v2.
    OtherMachine(String),
}

/// Finds what kept a limit of cgroup v2, which the program tried to set, from being there.
fn obstacle(scene: &Scene<'_>, cast: &Cast) -> Option<Obstacle> {
    let host = &scene.run.host;
    if host.cpu_controller.as_deref() == Some("v2") {
        let was_enabled = host.cpu_enabled || scene.run.cpu_was_enabled;
        let is_off = !was_enabled && tried_v2(scene, cast) && !has_limit_file(scene, cast);
        return is_off.then_some(Obstacle::OtherRun);
    }
    if uses_v1(scene) || !(tried_v2(scene, cast) || host.cpu_controller.is_none()) {
        return None;
    }
    let place = match &host.cpu_controller {
        Some(_) => "in cgroup v1",
        None => "nowhere in reach",
    };
    Some(Obstacle::OtherMachine(format!(
        "this machine has its cpu controller {place}, and the program sets its limit in cgroup v2; a machine with cgroup \
         v2 alone can judge it, such as the kit's virtual machine (vm/README.md)"
    )))
}

/// Whether the program went for cgroup v2: it made a cgroup there, or what it thinks is one, or complains of it, or stops
/// before 2c for a reason of its own.
fn tried_v2(scene: &Scene<'_>, cast: &Cast) -> bool {
    let stderr = &scene.run.output.stderr;
    let is_unwritten = !panics(stderr).is_empty() || stderr.contains("not yet implemented: Lesson ");
    let failed = matches!(scene.run.end, End::Exited(1..)) && !is_unwritten;
    let stopped = failed && cast.b.is_some() && cast.c.is_none();
    let made = scene.run.cgroups_made.iter().chain(&scene.run.after.cgroups);
    let mut v2 = made.filter(|cgroup| cgroup.starts_with(":/") || !cgroup.contains(":/"));
    stopped || v2.next().is_some() || ["cgroup", "cpu.max"].iter().any(|word| scene.run.output.stderr.contains(word))
}

/// Whether the program made a cgroup for the cpu controller of v1.
fn uses_v1(scene: &Scene<'_>) -> bool {
    let is_cpu = |cgroup: &String| {
        cgroup.split_once(":/").is_some_and(|(controllers, _)| controllers.split(',').any(|name| name == "cpu"))
    };
    scene.run.cgroups_made.iter().chain(&scene.run.after.cgroups).any(is_cpu)
}

/// Whether the kernel gave 2c a cgroup in which a limit can be set. The box's root is none.
fn has_limit_file(scene: &Scene<'_>, cast: &Cast) -> bool {
    let samples = cast.c.map(|pid| scene.samples(pid)).unwrap_or_default();
    samples.iter().any(|sample| sample.limits.iter().any(|limit| limit.cgroup != "/"))
}

/// The finding without what 2c lost through no fault of the program, or through one that another check charges.
fn excused(mut finding: Finding, id: &str, scene: &Scene<'_>, cast: &Cast) -> Finding {
    let Some(obstacle) = obstacle(scene, cast) else { return finding };
    let stopped = cast.c.is_none();
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
fn limit_enabled(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let host = &scene.run.host;
    let evidence =
        cast.c.and_then(|pid| scene.samples(pid).last().copied()).map(|sample| looked(scene, sample)).into_iter();
    Finding::whole(match obstacle(scene, cast) {
        Some(Obstacle::OtherMachine(why)) => Outcome::Skipped(why),
        Some(Obstacle::OtherRun) => Outcome::wrong(
            "cpu is in the root's cgroup.subtree_control before 2c's cgroup gets its limit",
            "it was not there when this run began, and the program did not write it: 2c's cgroup has no cpu.max",
            evidence.collect(),
        ),
        None if host.cpu_enabled => Outcome::Unseen("the root handed on cpu before this run began".to_owned()),
        None if cast.c.is_none() => never_ran("2c"),
        None if has_limit_file(scene, cast) || uses_v1(scene) => Outcome::Held,
        None => Outcome::NotTried(&["limit.set"], "there is no cgroup for 2c that would need it".to_owned()),
    })
}

/// The roles with their processes.
pub(super) fn roles(scene: &Scene<'_>) -> Vec<(&'static str, Pid)> {
    let runner = std::iter::once(("runner", scene.run.root_pid));
    runner.chain(Cast::of(scene).named().into_iter().filter_map(|(name, pid)| pid.map(|pid| (name, pid)))).collect()
}

/// Which process is container_prog in which subtask.
#[derive(Debug, Clone, Copy)]
struct Cast {
    a: Option<Pid>,
    b: Option<Pid>,
    c: Option<Pid>,
}

impl Cast {
    fn of(scene: &Scene<'_>) -> Cast {
        Cast {
            a: container(scene, "subtask1", "pid-2a"),
            b: container(scene, "subtask2", "pid-2b"),
            c: container(scene, "subtask3", "pid-2c"),
        }
    }

    fn named(&self) -> [(&'static str, Option<Pid>); 3] {
        [("2a", self.a), ("2b", self.b), ("2c", self.c)]
    }

    /// Those for whom `holds`.
    fn who(&self, holds: impl Fn(Pid) -> bool) -> Cast {
        let keep = |pid: Option<Pid>| pid.filter(|pid| holds(*pid));
        Cast { a: keep(self.a), b: keep(self.b), c: keep(self.c) }
    }

    fn any(&self) -> bool {
        self.a.or(self.b).or(self.c).is_some()
    }
}

/// The process that became `container_prog SUBTASK`, else the one that wrote the line with the blank `label`.
fn container(scene: &Scene<'_>, subtask: &str, label: &str) -> Option<Pid> {
    let became = scene.run.events.iter().filter_map(|event| match &event.what {
        What::Exec { argv } if is_container_prog(argv, subtask) => Some(event.pid),
        _ => None,
    });
    let sampled = scene.run.samples.iter().filter(|sample| is_container_prog(&sample.argv, subtask));
    let players: Vec<Pid> = became.chain(sampled.map(|sample| sample.pid)).collect();
    // A fork keeps its parent's arguments, and without a tracer that looks as if it had become the program itself.
    let is_fork = |pid: Pid| scene.ancestry(pid).iter().skip(1).any(|parent| players.contains(parent));
    let started = players.iter().rev().copied().find(|pid| !is_fork(*pid));
    let wrote = || {
        let line = scene.rows.iter().find_map(|row| match row {
            Row::Match { line, blanks, .. } if blanks.iter().any(|(name, _)| name == label) => scene.lines.get(*line),
            _ => None,
        });
        line.and_then(|line| scene.writer(line)).map(|event| event.pid).filter(|pid| *pid != scene.run.root_pid)
    };
    // Where the program was seen to be started for another subtask, a line of that one may stand here again: text that
    // was in a buffer at a fork is written twice. It says nothing of a process that was not seen.
    let seen_elsewhere = || {
        let execs = scene.run.events.iter().filter_map(|event| match &event.what {
            What::Exec { argv } => Some(argv.as_slice()),
            _ => None,
        });
        let samples = scene.run.samples.iter().map(|sample| sample.argv.as_slice());
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
fn telling<'a>(scene: &Scene<'a>, pid: Pid) -> Option<Moment<'a>> {
    let moments = scene.moments(pid);
    let did = |wanted: fn(&What) -> bool| {
        moments.iter().find(|moment| moment.event.is_some_and(|event| wanted(&event.what))).copied()
    };
    did(|what| matches!(what, What::Wrote { stream: 1, .. }))
        .or_else(|| did(|what| matches!(what, What::Exec { argv } if subtask_of(argv).is_some())))
        .or_else(|| moments.last().copied())
}

/// Whether `pid` wrote anything to stdout.
fn spoke(scene: &Scene<'_>, pid: Pid) -> bool {
    scene.run.events.iter().any(|event| event.pid == pid && matches!(event.what, What::Wrote { stream: 1, .. }))
}

/// Whether another process wrote what `pid` says, where only a tracer could see more of `pid`.
fn is_quoted(scene: &Scene<'_>, pid: Pid) -> bool {
    scene.run.observer != Observer::Traced && scene.relayed.values().any(|speaker| *speaker == Some(pid))
}

/// Whether `pid` came as far as its `main`: it wrote something, made a child, ended well, or computed for longer than a
/// loader does.
fn ran(scene: &Scene<'_>, pid: Pid) -> bool {
    let started =
        scene.run.events.iter().position(|event| {
            event.pid == pid && matches!(&event.what, What::Exec { argv } if subtask_of(argv).is_some())
        });
    let after = scene.run.events.iter().skip(started.unwrap_or(scene.run.events.len()));
    let did = |what: &What| matches!(what, What::Born { .. } | What::Exited { code: 0, signal: None });
    let computed = || scene.samples(pid).iter().any(|sample| sample.cpu > LOADING);
    spoke(scene, pid) || after.filter(|event| event.pid == pid).any(|event| did(&event.what)) || computed()
}

/// What blocks a check on a container that never ran.
fn never_ran(which: &str) -> Outcome {
    Outcome::NotTried(&["root.filled"], format!("container_prog did not run in {which}"))
}

fn root_filled(scene: &Scene<'_>, cast: &Cast) -> Finding {
    if !cast.any() {
        // One cause is told once.
        let expected = "container_prog runs in 2a, 2b and 2c, from an empty container_root";
        return Finding::whole(not_started(scene, expected.to_owned(), "any of them"));
    }
    Finding::parts(cast.named().map(|(which, pid)| (which, runs(scene, which, pid))))
}

fn runs(scene: &Scene<'_>, which: &'static str, pid: Option<Pid>) -> Outcome {
    let expected = format!("container_prog runs in {which}, from an empty container_root");
    let Some(pid) = pid else { return not_started(scene, expected, which) };
    if !ran(scene, pid) && !is_quoted(scene, pid) {
        if scene.run.observer != Observer::Traced {
            return Outcome::Unseen(format!("container_prog was started in {which}, and this run does not show more"));
        }
        let evidence = scene.exit(pid).map(|exit| scene.evidence(exit)).into_iter().collect();
        return Outcome::wrong(
            expected,
            format!("it was started and wrote nothing{}", complaint(scene, which)),
            evidence,
        );
    }
    match telling(scene, pid) {
        // In the host's own root every library is there: that says nothing about container_root.
        Some(moment) if moment.state.root == scene.run.host.root => {
            Outcome::NotTried(&["root.isolated"], format!("{which} runs from the host's root, which has all it needs"))
        }
        _ => Outcome::Held,
    }
}

/// No process became container_prog.
fn not_started(scene: &Scene<'_>, expected: String, which: &str) -> Outcome {
    let observed = format!("it was not started in {which}{}", complaint(scene, which));
    let evidence = failed_exec(scene).unwrap_or_default();
    Outcome::Lost(Box::new(super::Why { expected, observed, evidence, ..Default::default() }))
}

/// How the program ended, and what it said first on stderr about `which`, for people.
fn complaint(scene: &Scene<'_>, which: &str) -> String {
    let end = match &scene.run.end {
        End::Exited(0) => String::new(),
        end => format!("; {}{}", scene.typed(), end_told(end)),
    };
    // A tracer sees what is written when: what came after the heading belongs to it.
    let heading = format!("Output Subtask {which}");
    let wrote = |stream: u8| {
        scene.run.events.iter().filter_map(move |event| match &event.what {
            What::Wrote { stream: to, text } if *to == stream => Some((event.at, text.as_str())),
            _ => None,
        })
    };
    let from = wrote(1).find(|(_, text)| text.contains(&heading)).map(|(at, _)| at);
    let to = from.and_then(|from| wrote(1).find(|(at, text)| *at > from && text.contains("Output Subtask")));
    let to = to.map_or(Duration::MAX, |(at, _)| at);
    let own =
        from.map(|from| wrote(2).filter(|(at, _)| (from..to).contains(at)).map(|(_, text)| text).collect::<String>());
    let said = own.as_deref().and_then(first_said).or_else(|| first_said(&scene.run.output.stderr));
    let said = said.map(|line| format!("; stderr says {line:?}")).unwrap_or_default();
    format!("{said}{end}")
}

/// The last exec of container_prog that failed. Others are a shell's search for its commands.
fn failed_exec(scene: &Scene<'_>) -> Option<Vec<Evidence>> {
    let is_ours =
        |event: &Event| matches!(&event.what, What::Call { decoded, .. } if decoded.ends_with("container_prog"));
    let (event, _) = scene.calls("execve").filter(|(event, result)| *result < 0 && is_ours(event)).last()?;
    Some(vec![scene.evidence(event)])
}

fn root_isolated(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let mut finding = Finding::parts(cast.named().map(|(which, pid)| (which, isolated(scene, which, pid))));
    let elsewhere = |pid: Pid| {
        let wanted = scene.run.host.container_root?;
        let root = telling(scene, pid)?.state.root;
        (root != wanted && root != scene.run.host.root).then_some(())
    };
    let elsewhere: Vec<&str> =
        cast.named().into_iter().filter(|(_, pid)| pid.and_then(elsewhere).is_some()).map(|(which, _)| which).collect();
    if !elsewhere.is_empty() {
        finding = finding.remark(format!("in {} the root is another folder than container_root", list(&elsewhere)));
    }
    finding
}

fn isolated(scene: &Scene<'_>, which: &'static str, pid: Option<Pid>) -> Outcome {
    let Some(moment) = pid.and_then(|pid| telling(scene, pid)) else { return never_ran(which) };
    let evidence = vec![scene.evidence_of(&moment)];
    if moment.state.root == scene.run.host.root {
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

fn pid_one(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let finding =
        Finding::parts([("2b", is_process_one(scene, cast.b, "2b")), ("2c", is_process_one(scene, cast.c, "2c"))]);
    let first = cast.a.and_then(|pid| telling(scene, pid));
    let own = first.and_then(|moment| moment.state.namespaces.get("pid").copied());
    match (own, scene.host_namespace("pid")) {
        (Some(own), Some(host)) if own != host => finding.remark(
            "2a has a PID namespace of its own already: the lab adds it in 2b, so that the difference can be seen",
        ),
        _ => finding,
    }
}

fn is_process_one(scene: &Scene<'_>, pid: Option<Pid>, which: &'static str) -> Outcome {
    let outcome = own_namespace(scene, pid, which, "pid");
    let Some(moment) = pid.and_then(|pid| telling(scene, pid)) else { return outcome };
    let expected = format!("in {which}, container_prog is process 1 of a PID namespace of its own");
    match (&outcome, moment.state.inner_pids.last()) {
        (Outcome::Held, Some(pid)) if *pid != 1 => Outcome::wrong(
            expected,
            format!("it is process {pid} of its PID namespace"),
            vec![scene.evidence_of(&moment)],
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
                    vec![scene.evidence_of(&moment)],
                ),
                _ => outcome,
            }
        }
        _ => outcome,
    }
}

/// Whether the container has a namespace of `kind` that is not the host's.
fn own_namespace(scene: &Scene<'_>, pid: Option<Pid>, which: &'static str, kind: &'static str) -> Outcome {
    let Some(moment) = pid.and_then(|pid| telling(scene, pid)) else { return never_ran(which) };
    let (Some(host), Some(own)) = (scene.host_namespace(kind), moment.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespace of {which} could not be read"));
    };
    if host != *own {
        return Outcome::Held;
    }
    Outcome::wrong(
        format!("{which} in another namespace than {}, the host's", link(kind, host)),
        format!("{which} is in {}", link(kind, *own)),
        vec![scene.evidence_of(&moment)],
    )
}

fn uts_isolated(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let host = match (cast.b.or(cast.c), host_name(scene)) {
        (None, Outcome::Held) => never_ran("2b and 2c"),
        (_, outcome) => outcome,
    };
    Finding::parts([
        ("2b", own_namespace(scene, cast.b, "2b", "uts")),
        ("2c", own_namespace(scene, cast.c, "2c", "uts")),
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
fn limit<'a>(scene: &Scene<'a>, cast: &Cast) -> Result<Limit<'a>, Outcome> {
    if scene.run.host.cpu_controller.is_none() {
        return Err(Outcome::Skipped("no cpu controller can be had in the box on this machine".to_owned()));
    }
    let Some(c) = cast.c else { return Err(never_ran("2c")) };
    let busiest = inside(scene, c).into_iter().max_by_key(|pid| scene.samples(*pid).last().map(|sample| sample.cpu));
    let samples = scene.samples(busiest.unwrap_or(c));
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
fn inside(scene: &Scene<'_>, first: Pid) -> Vec<Pid> {
    let home = telling(scene, first).and_then(|moment| moment.state.namespaces.get("pid").copied());
    let home = home.filter(|home| scene.host_namespace("pid") != Some(*home));
    // The number of a namespace that is gone may be given to a new one: only who lives at the same time is a neighbour.
    let start = scene.moments(first).first().map(|moment| moment.at).unwrap_or_default();
    let belongs = |pid: &Pid| {
        let mut later = scene.moments(*pid).iter().filter(|moment| moment.at >= start);
        let lives_there = later.any(|m| home.is_some() && m.state.namespaces.get("pid").copied() == home);
        lives_there || scene.ancestry(*pid).contains(&first)
    };
    scene.pids().iter().copied().filter(belongs).collect()
}

fn limit_set(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let limit = match limit(scene, cast) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let own = limit.samples.last().and_then(|sample| sample.limits.first());
    let expected = "the quota of 2c's cgroup is half its period, such as 50000 100000";
    let evidence = limit.samples.last().map(|sample| looked(scene, sample)).into_iter().collect();
    let Some(tightest) = limit.tightest else {
        let place = own.map_or("its cgroup", |own| own.cgroup.as_str());
        let observed = format!("{} has no limit, nor has any cgroup above it", crate::transcript::drawn(place));
        return Finding::whole(Outcome::wrong(expected, observed, evidence));
    };
    let figures = format!("{} {}", tightest.quota_us.unwrap_or(0), tightest.period_us);
    if !is_half(tightest) {
        let cores = tightest.cores().unwrap_or(0.0);
        let observed =
            format!("{figures}, which is {cores:.2} of a core, in {}", crate::transcript::drawn(&tightest.cgroup));
        return Finding::whole(Outcome::wrong(expected, observed, evidence));
    }
    let mut finding = Finding::whole(Outcome::Held);
    if figures != "50000 100000" {
        finding = finding.remark(format!("the limit is {figures}: the same half of a core as 50000 100000"));
    }
    if own.is_some_and(|own| own.cgroup != tightest.cgroup) {
        finding = finding.remark("the limit is held by a cgroup above the one 2c is in, which holds it as well");
    }
    if scene.run.host.cpu_controller.as_deref() == Some("v1") {
        finding = finding.remark("this machine has its cpu controller in cgroup v1, so the limit was looked for there");
    }
    finding
}

/// A sample as evidence.
fn looked(scene: &Scene<'_>, sample: &Sample) -> Evidence {
    let figures = |limit: &CpuLimit| match limit.quota_us {
        Some(quota) => format!("{}: {quota} {}, {} periods", limit.cgroup, limit.period_us, limit.nr_periods),
        None => format!("{}: max {}", limit.cgroup, limit.period_us),
    };
    let limits: Vec<String> = sample.limits.iter().map(figures).collect();
    Evidence {
        what: format!("had used {:.2} s of CPU time; {}", sample.cpu.as_secs_f64(), limits.join("; ")),
        ..scene.evidence_of(&Moment { at: sample.at, pid: sample.pid, state: &sample.state, event: None })
    }
}

fn limit_works(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let limit = match limit(scene, cast) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let Some(tightest) = limit.tightest else {
        return Finding::whole(Outcome::NotTried(&["limit.set"], "there is no limit that could work".to_owned()));
    };
    let spent = limit.samples.last().map_or(Duration::ZERO, |sample| sample.cpu);
    if spent < COMPUTED {
        let observed = format!("{} ms of CPU time in all: 2c computed nothing", spent.as_millis());
        let evidence = limit.samples.last().map(|sample| looked(scene, sample)).into_iter().collect();
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
    let evidence = vec![looked(scene, first), looked(scene, last)];
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

fn limit_all(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let limit = match limit(scene, cast) {
        Ok(limit) => limit,
        Err(outcome) => return Finding::whole(outcome),
    };
    let (Some(tightest), Some(c)) = (limit.tightest, cast.c) else {
        return Finding::whole(Outcome::NotTried(&["limit.set"], "there is no limit to be inside of".to_owned()));
    };
    Finding::parts([("inside", all_inside(scene, c, tightest)), ("alone", nothing_else(scene, cast, c, tightest))])
}

/// The cgroup of a process in the hierarchy that has the cpu controller.
fn cgroup<'a>(scene: &Scene<'_>, state: &'a ProcessState) -> Option<&'a str> {
    let v1 = scene.run.host.cpu_controller.as_deref() == Some("v1");
    let here = |name: &str| if v1 { name.split(',').any(|controller| controller == "cpu") } else { name.is_empty() };
    state.cgroups.iter().find(|(name, _)| here(name)).map(|(_, path)| path.as_str())
}

/// Whether `path` is `cgroup` or below it.
fn is_within(path: &str, cgroup: &str) -> bool {
    let cgroup = cgroup.trim_end_matches('/');
    path.trim_end_matches('/').strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// When container_prog of 2c began to run: its exec, else the first time it was seen as itself.
fn began(scene: &Scene<'_>, c: Pid) -> Duration {
    let exec = scene.run.events.iter().find(|event| {
        event.pid == c && matches!(&event.what, What::Exec { argv } if is_container_prog(argv, "subtask3"))
    });
    let sampled =
        || scene.samples(c).into_iter().find(|sample| is_container_prog(&sample.argv, "subtask3")).map(|s| s.at);
    let wrote = || telling(scene, c).map(|moment| moment.at);
    let first = exec.map(|event| event.at).or_else(|| sampled().into_iter().chain(wrote()).min());
    first.unwrap_or_default()
}

fn all_inside(scene: &Scene<'_>, c: Pid, limit: &CpuLimit) -> Outcome {
    let expected =
        format!("every process of 2c in {} from its first instruction", crate::transcript::drawn(&limit.cgroup));
    let start = began(scene, c);
    for pid in inside(scene, c) {
        for moment in scene.moments(pid).iter().filter(|moment| moment.at >= start) {
            let Some(path) = cgroup(scene, moment.state) else { continue };
            if !is_within(path, &limit.cgroup) {
                let observed = format!(
                    "process {} of 2c was in {}",
                    moment.state.inner_pids.last().unwrap_or(&pid),
                    crate::transcript::drawn(path)
                );
                return Outcome::wrong(expected, observed, vec![scene.evidence_of(moment)]);
            }
        }
        let late = scene.samples(pid).into_iter().filter(|sample| sample.at >= start).find(|sample| {
            let there = sample.limits.iter().find(|known| known.cgroup == limit.cgroup);
            there.is_none_or(|known| known.quota_us.is_none())
        });
        if let Some(sample) = late {
            let after = sample.at.saturating_sub(start).as_millis();
            let observed = format!("{after} ms after it began, the limit was not there yet");
            return Outcome::wrong(expected, observed, vec![looked(scene, sample)]);
        }
    }
    Outcome::Held
}

fn nothing_else(scene: &Scene<'_>, cast: &Cast, c: Pid, limit: &CpuLimit) -> Outcome {
    let start = began(scene, c);
    let members = inside(scene, c);
    let starters = scene.ancestry(c);
    // Whatever also led to 2a or 2b is the runner, not a part of the container.
    let runner: Vec<Pid> = [cast.a, cast.b].into_iter().flatten().flat_map(|pid| scene.ancestry(pid)).collect();
    for (which, pid) in [("2a", cast.a), ("2b", cast.b)] {
        let is_limited = |sample: &&Sample| sample.limits.iter().any(|limit| limit.cores().is_some());
        let mut samples = pid.map(|pid| scene.samples(pid)).unwrap_or_default().into_iter();
        if let Some(sample) = samples.find(is_limited) {
            let observed = format!("{which} computed under a limit as well");
            return Outcome::wrong("only 2c has a limit of CPU time", observed, vec![looked(scene, sample)]);
        }
    }
    for moment in scene.all_moments().filter(|moment| moment.at >= start) {
        let is_runner = moment.pid == scene.run.root_pid || runner.contains(&moment.pid);
        let may = members.contains(&moment.pid) || (starters.contains(&moment.pid) && !is_runner);
        let there = cgroup(scene, moment.state).is_some_and(|path| is_within(path, &limit.cgroup));
        if there && !may {
            let what = if is_runner { "the runner itself" } else { "a process that is not of the container" };
            return Outcome::wrong(
                format!("only 2c's processes in {}", crate::transcript::drawn(&limit.cgroup)),
                format!("{what} (pid {}) was in it too", moment.state.inner_pids.get(1).unwrap_or(&moment.pid)),
                vec![scene.evidence_of(moment)],
            );
        }
    }
    Outcome::Held
}

fn output(scene: &Scene<'_>, cast: &Cast, style: Style) -> Finding {
    text::judged(scene, &blocks(cast), style)
}

fn blocks(cast: &Cast) -> [text::Block; 3] {
    [
        text::Block { name: "block 2a", label: "pid-2a", writer: cast.a },
        text::Block { name: "block 2b", label: "pid-2b", writer: cast.b },
        text::Block { name: "block 2c", label: "pid-2c", writer: cast.c },
    ]
}

/// The lines of containers whose output the runner captured, or sent through another program.
pub(super) fn relayed(scene: &Scene<'_>) -> BTreeMap<usize, Option<Pid>> {
    // Without a tracer nobody sees how far a program comes that writes into a pipe of the runner's.
    let cast = Cast::of(scene).who(|pid| ran(scene, pid) || scene.run.observer != Observer::Traced);
    let is_container = |pid: Pid| cast.named().iter().any(|(_, container)| *container == Some(pid));
    text::relayed(scene, &blocks(&cast), |writer, speaker| {
        !is_container(writer) && speaker.is_some_and(|speaker| !spoke(scene, speaker))
    })
}

fn clean(scene: &Scene<'_>, cast: &Cast) -> Finding {
    if !cast.any() {
        return Finding::whole(never_ran("any subtask"));
    }
    let left = text::leftovers(scene);
    let gone = match left.as_slice() {
        [] => Outcome::Held,
        left => Outcome::wrong("the host as it was before", format!("left behind: {}", list(left)), Vec::new()),
    };
    Finding::parts([("status", text::exit_status(scene)), ("gone", gone)])
}
