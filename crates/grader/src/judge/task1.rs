//! Task 1: two children, and the namespaces they live in.
//!
//! Who is who is not told by the program: a role belongs to the process that *writes* the line of that role, as the
//! kernel saw it. When the parent writes a child's lines itself, or nobody does, the role falls to the process that the
//! namespaces point at, so that a program is not judged by its words but is still understood when it has none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scene::{Moment, Scene};
use super::words::{end_told, first_said, link, link_of, list};
use super::{Evidence, Finding, Outcome, Style, Why, transcript as text};
use crate::trace::{End, Event, Observer, Pid, What};

/// What child 1 calls its host.
const CHILD1_HOSTNAME: &str = "Child1Hostname";

/// What `scene` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, scene: &Scene<'_>, style: Style) -> Option<Finding> {
    let cast = Cast::of(scene);
    let finding = match id {
        "child1.uts" => child1_uts(scene, &cast),
        // One reason for many checks is told once, by the first.
        "child1.pid" | "child1.name" | "child2.pid" | "child2.uts" if cast.child1.is_none() && !parent_wrote(scene) => {
            Finding::whole(Outcome::NotTried(&["child1.uts"], "there was no child 1".to_owned()))
        }
        "child1.pid" => child1_pid(scene, &cast),
        "child1.name" => child1_name(scene, &cast),
        "child2.pid" => child2_pid(scene, &cast, style),
        "child2.uts" => child2_uts(scene, &cast),
        "parent.stays" => parent_stays(scene, &cast),
        "output" => output(scene, &cast, style),
        "clean" => clean(scene, &cast),
        "method" => method(scene, &cast),
        _ => return None,
    };
    Some(match id {
        "output" => finding,
        // When it writes, the children are gone, or have only begun.
        _ if is_out_of_sight(scene, &cast) => {
            finding.without_what_did_not_hold("another process wrote for the children, at another time")
        }
        _ => finding,
    })
}

/// Whether the children could not all be seen: without a tracer the box is looked over when one of its processes writes to
/// stdout, and the one that writes for others does so later.
fn is_out_of_sight(scene: &Scene<'_>, cast: &Cast) -> bool {
    let Some(relay) = relay(scene) else { return false };
    // Child 1 lives while the parent writes.
    let is_blind = scene.run.observer == Observer::Frozen && !ends_were_seen(scene);
    is_blind && (relay != scene.run.root_pid || cast.child1.is_some())
}

/// Whether every process was looked at when it ended: the first one was, and it ends last.
fn ends_were_seen(scene: &Scene<'_>) -> bool {
    let by_itself = scene.calls("exit_group").any(|(event, _)| event.pid == scene.run.root_pid);
    by_itself && scene.run.observer == Observer::Frozen
}

/// The roles with their processes.
pub(super) fn roles(scene: &Scene<'_>) -> Vec<(&'static str, Pid)> {
    let cast = Cast::of(scene);
    let all = [("parent", Some(cast.parent)), ("child 1", cast.child1), ("child 2", cast.child2)];
    all.into_iter().filter_map(|(name, pid)| pid.map(|pid| (name, pid))).collect()
}

/// Who plays which part.
#[derive(Debug, Clone, Copy)]
struct Cast {
    parent: Pid,
    child1: Option<Pid>,
    child2: Option<Pid>,
}

impl Cast {
    /// Finds out who is who.
    fn of(scene: &Scene<'_>) -> Cast {
        let root = scene.run.root_pid;
        let relay = relay(scene);
        let own =
            |label: &str| -> Vec<Pid> { writers(scene, label).into_iter().filter(|pid| Some(*pid) != relay).collect() };
        let parents = own("Parent Process PID:");
        let firsts = own("Child1 Process PID:");
        let seconds = own("Child2 Process PID:");
        // A child that inherited the parent's unwritten buffer writes the parent's lines too: the children's lines
        // are the better witness of who is a child.
        let parent = match parents.iter().find(|pid| **pid == root) {
            Some(_) => root,
            None => {
                let children: Vec<Pid> = firsts.iter().chain(&seconds).copied().collect();
                parents.iter().find(|pid| !children.contains(pid)).copied().unwrap_or(root)
            }
        };
        let child1 = firsts.into_iter().find(|pid| *pid != parent && *pid != root);
        let child1 = child1.or_else(|| first_elsewhere(scene, parent));
        let child2 = seconds.into_iter().find(|pid| *pid != parent && *pid != root && Some(*pid) != child1);
        let child2 = child2.or_else(|| second_elsewhere(scene, parent, child1, relay));
        Cast { parent, child1, child2 }
    }
}

/// The processes that wrote a line that begins so, the first first.
fn writers(scene: &Scene<'_>, label: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for line in scene.lines.iter().filter(|line| line.text.starts_with(label)) {
        if let Some(writer) = scene.writer(line) {
            if !found.contains(&writer.pid) {
                found.push(writer.pid);
            }
        }
    }
    found
}

/// The process of the host's PID namespace that writes the lines of both children, if there is one: a helper that writes for
/// all, or the parent, to which they report.
fn relay(scene: &Scene<'_>) -> Option<Pid> {
    let seconds = writers(scene, "Child2 Process PID:");
    writers(scene, "Child1 Process PID:").into_iter().find(|pid| {
        let stays = !scene.moments(*pid).iter().any(|moment| differs(scene, moment, "pid"));
        seconds.contains(pid) && stays
    })
}

/// The lines that it wrote for others.
pub(super) fn relayed(scene: &Scene<'_>) -> BTreeMap<usize, Option<Pid>> {
    let Some(relay) = relay(scene) else { return BTreeMap::new() };
    let cast = Cast::of(scene);
    text::relayed(scene, &blocks(&cast), |writer, speaker| {
        writer == relay && (speaker.is_some() || is_out_of_sight(scene, &cast))
    })
}

/// The first process that was seen in a PID or UTS namespace other than the box's.
fn first_elsewhere(scene: &Scene<'_>, parent: Pid) -> Option<Pid> {
    let root = scene.run.root_pid;
    scene.pids().iter().copied().filter(|pid| *pid != root && *pid != parent).find(|pid| {
        scene.moments(*pid).iter().any(|moment| differs(scene, moment, "pid") || differs(scene, moment, "uts"))
    })
}

/// A sibling of child 1 that came later: the first that was in child 1's PID namespace, else in its UTS namespace, else the
/// first of all.
fn second_elsewhere(scene: &Scene<'_>, parent: Pid, child1: Option<Pid>, relay: Option<Pid>) -> Option<Pid> {
    let child1 = child1?;
    let later: Vec<Pid> = scene.pids().iter().copied().skip_while(|pid| *pid != child1).skip(1).collect();
    let siblings = later.into_iter().filter(|pid| {
        let ancestry = scene.ancestry(*pid);
        // Child 1's own children are of its making.
        let is_other = *pid != parent && *pid != scene.run.root_pid && Some(*pid) != relay;
        is_other && !ancestry.contains(&child1) && ancestry.contains(&parent)
    });
    let siblings: Vec<Pid> = siblings.collect();
    let was_there = |pid: &Pid, kind: &str| {
        let place = scene.moments(child1).last().and_then(|moment| moment.state.namespaces.get(kind));
        place.is_some() && scene.moments(*pid).iter().any(|moment| moment.state.namespaces.get(kind) == place)
    };
    let by = |kind: &str| siblings.iter().find(|pid| was_there(pid, kind));
    by("pid").or_else(|| by("uts")).or(siblings.first()).copied()
}

/// Whether a process was at that moment in another namespace of `kind` than the one the submission started in.
fn differs(scene: &Scene<'_>, moment: &Moment<'_>, kind: &str) -> bool {
    match (scene.host_namespace(kind), moment.state.namespaces.get(kind)) {
        (Some(host), Some(own)) => host != *own,
        _ => false,
    }
}

/// The moment a child is judged by: when it wrote its line, else the last time it was seen.
fn telling<'a>(scene: &Scene<'a>, pid: Pid, label: &str) -> Option<Moment<'a>> {
    let wrote = scene.lines.iter().filter(|line| line.text.starts_with(label)).find_map(|line| {
        let event = scene.writer(line).filter(|event| event.pid == pid)?;
        Some(Moment { at: event.at, pid, state: &event.state, event: Some(event) })
    });
    wrote.or_else(|| scene.moments(pid).last().copied())
}

/// Why there is no child to judge.
fn no_child(scene: &Scene<'_>, label: &str, which: &str) -> Outcome {
    let expected = format!("{which} is a process of its own");
    let line = scene.lines.iter().find(|line| line.text.starts_with(label));
    let tells_for_others = |pid: Pid| pid != scene.run.root_pid || scene.run.observer == Observer::Frozen;
    let helper = relay(scene).filter(|pid| tells_for_others(*pid));
    match line.and_then(|line| scene.writer(line)).filter(|event| Some(event.pid) != helper) {
        Some(writer) => {
            let evidence = vec![scene.evidence(writer)];
            Outcome::wrong(
                expected,
                format!("its lines were written by the parent (pid {})", box_pid(writer)),
                evidence,
            )
        }
        // Nobody's own line speaks of it, so only the ends tell.
        None if ends_were_seen(scene) && scene.run.end == End::Exited(0) => {
            let found = "each was looked at when it ended, without a tracer, and none";
            Outcome::wrong(expected, format!("{found} could be {which}; {}", ended(scene)), Vec::new())
        }
        None => Outcome::absent(expected, format!("no process was seen that could be {which}; {}", ended(scene))),
    }
}

/// Whether the parent wrote child 1's lines itself.
fn parent_wrote(scene: &Scene<'_>) -> bool {
    !writers(scene, "Child1 Process PID:").is_empty()
}

/// How the program ended, and what it said first on stderr.
fn ended(scene: &Scene<'_>) -> String {
    let end = format!("{}{}", scene.typed(), end_told(&scene.run.end));
    match first_said(&scene.run.output.stderr) {
        Some(line) => format!("{end} and said {line:?} on stderr"),
        None => format!("{end} and said nothing on stderr"),
    }
}

/// The process id of an event's process as the box numbers it.
fn box_pid(event: &Event) -> Pid {
    event.state.inner_pids.get(1).copied().unwrap_or(event.pid)
}

fn child1_uts(scene: &Scene<'_>, cast: &Cast) -> Finding {
    Finding::whole(own_namespace(scene, cast, "uts"))
}

fn child1_pid(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let outcome = own_namespace(scene, cast, "pid");
    let (Outcome::Held, Some(child1)) = (&outcome, cast.child1) else { return Finding::whole(outcome) };
    let Some(moment) = telling(scene, child1, "Child1 Process PID:") else { return Finding::whole(outcome) };
    match moment.state.inner_pids.last() {
        Some(1) | None => Finding::whole(outcome),
        Some(pid) => Finding::whole(Outcome::wrong(
            "child 1 is process 1 of its PID namespace",
            format!("it is process {pid} there"),
            vec![scene.evidence_of(&moment)],
        )),
    }
}

/// Whether child 1 has a namespace of `kind` of its own.
fn own_namespace(scene: &Scene<'_>, cast: &Cast, kind: &str) -> Outcome {
    let label = "Child1 Process PID:";
    let Some(child1) = cast.child1 else { return no_child(scene, label, "child 1") };
    let Some(moment) = telling(scene, child1, label) else { return no_child(scene, label, "child 1") };
    let (Some(host), Some(own)) = (scene.host_namespace(kind), moment.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespace of child 1 could not be read"));
    };
    if host == *own {
        return Outcome::wrong(
            format!("child 1 in another namespace than {}, the host's", link(kind, host)),
            format!("child 1 is in {}, the host's", link(kind, *own)),
            vec![scene.evidence_of(&moment)],
        );
    }
    match shared_at_creation(scene, cast.parent, child1, kind, *own) {
        Some(false) => Outcome::Held,
        Some(true) => Outcome::wrong(
            format!("child 1 gets a {} namespace of its own when it is created", kind.to_uppercase()),
            format!("it got {}, in which its parent was then", link(kind, *own)),
            vec![scene.evidence_of(&moment)],
        ),
        None => Outcome::Unseen("the parent was not looked at between its start and child 1's first line".to_owned()),
    }
}

/// Whether the parent was in the namespace `own` of `kind` when it created child 1, and stayed: then it is not child 1's
/// own. Where the parent goes afterwards, or one of its threads, is the matter of another check. None when the run cannot tell.
fn shared_at_creation(scene: &Scene<'_>, parent: Pid, child1: Pid, kind: &str, own: u64) -> Option<bool> {
    let was_there = |moment: &Moment<'_>| moment.state.namespaces.get(kind) == Some(&own);
    let born = scene.run.events.iter().find_map(|event| match &event.what {
        What::Born { child, .. } if *child == child1 => Some(event.at),
        _ => None,
    });
    let parents = own_moments(scene, parent);
    // It created the namespace with unshare(2) and returned to its own: child 1 has it for itself.
    if parents.last().is_some_and(|last| !was_there(last)) {
        return Some(false);
    }
    if let Some(at) = born {
        return Some(parents.iter().rfind(|moment| moment.at <= at).is_some_and(|it| was_there(it)));
    }
    let first = scene.moments(child1).first()?.at;
    if parents.iter().any(|moment| moment.at < first && was_there(moment)) {
        return Some(true);
    }
    let there_now = parents.iter().find(|moment| moment.at >= first).is_some_and(|it| was_there(it));
    if there_now { None } else { Some(false) }
}

fn child1_name(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let Some(child1) = cast.child1 else { return Finding::whole(no_child(scene, "Child1 Process PID:", "child 1")) };
    let child2 = cast.child2.and_then(|pid| telling(scene, pid, "Child2 Process PID:"));
    // The name that counts is the one that child 2 can find.
    let moment = match child2 {
        Some(second) => scene.moment_at(child1, second.at),
        None => telling(scene, child1, "Child1 Hostname:"),
    };
    let named = match moment {
        None => Outcome::Unseen("child 1's host name could not be read".to_owned()),
        Some(moment) if moment.state.hostname == CHILD1_HOSTNAME => Outcome::Held,
        Some(moment) => Outcome::wrong(
            format!("the host name in child 1's UTS namespace is {CHILD1_HOSTNAME}"),
            format!("it is {:?}", moment.state.hostname),
            vec![scene.evidence_of(&moment)],
        ),
    };
    Finding::parts([("name", named), ("lives", child1_lives(scene, child1, child2))])
}

/// Whether child 1 was alive when child 2 was at work.
fn child1_lives(scene: &Scene<'_>, child1: Pid, child2: Option<Moment<'_>>) -> Outcome {
    let expected = "child 1 is alive until child 2 is done";
    let exit = scene.exit(child1);
    let evidence = exit.map(|exit| scene.evidence(exit)).into_iter().collect();
    match child2.map(|second| scene.alive_at(child1, second.at)) {
        Some(Some(true)) => Outcome::Held,
        Some(Some(false)) => Outcome::wrong(expected, "it was gone when child 2 wrote its lines", evidence),
        Some(None) => Outcome::Unseen("no look was taken at child 1 while child 2 wrote".to_owned()),
        // There is no child 2: all that can be said is whether child 1 went away by itself.
        None => match exit.map(|exit| &exit.what) {
            Some(What::Exited { signal: None, code }) => Outcome::wrong(
                expected,
                format!("it ended by itself, with status {code}, before there was a child 2"),
                evidence,
            ),
            Some(_) => Outcome::Held,
            None if scene.run.observer == Observer::Traced => Outcome::Held,
            None => Outcome::Unseen("there was no child 2 whose end could be waited for".to_owned()),
        },
    }
}

fn child2_pid(scene: &Scene<'_>, cast: &Cast, style: Style) -> Finding {
    let mut finding = in_child1s_pid_namespace(scene, cast);
    // The course's text lists calls and asks for an outcome: child 2 comes from outside and is attached.
    let [(_, Outcome::Held)] = finding.points.as_slice() else { return finding };
    if style.is_rust {
        return finding;
    }
    let born_inside =
        cast.child2.is_some_and(|pid| scene.ancestry(pid).iter().skip(1).any(|up| Some(*up) == cast.child1));
    let attached = match born_inside {
        false => Outcome::Held,
        true => Outcome::wrong(
            "child 2 is created outside and attached to child 1's namespaces",
            "child 2 is a child of child 1, so nothing was attached",
            Vec::new(),
        ),
    };
    finding.points = vec![("inside", Outcome::Held), ("attached", attached)];
    let missing = calls_missing(scene);
    if born_inside || missing.is_empty() || scene.run.observer == Observer::Frozen {
        return finding;
    }
    finding
        .remark(format!("child 2 got there without {}, which the assignment lists among the key calls", list(&missing)))
}

fn in_child1s_pid_namespace(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let outcome = shared_namespace(scene, cast, "pid");
    let (Outcome::Held, Some(child2)) = (&outcome, cast.child2) else { return Finding::whole(outcome) };
    let inner =
        telling(scene, child2, "Child2 Process PID:").and_then(|moment| moment.state.inner_pids.last().copied());
    match inner {
        Some(pid) if pid > 2 => Finding::whole(outcome)
            .remark(format!("child 2 is process {pid} of child 1's PID namespace: others were born there before it")),
        _ => Finding::whole(outcome),
    }
}

fn child2_uts(scene: &Scene<'_>, cast: &Cast) -> Finding {
    Finding::whole(shared_namespace(scene, cast, "uts"))
}

/// Whether child 2 is in child 1's namespace of `kind` when it writes.
fn shared_namespace(scene: &Scene<'_>, cast: &Cast, kind: &str) -> Outcome {
    let label = "Child2 Process PID:";
    let Some(child1) = cast.child1 else { return no_child(scene, "Child1 Process PID:", "child 1") };
    let Some(child2) = cast.child2 else { return no_child(scene, label, "child 2") };
    let second = telling(scene, child2, label);
    let first = second.and_then(|second| scene.moment_at(child1, second.at));
    let (Some(first), Some(second)) = (first, second) else {
        return Outcome::Unseen(format!("the {kind} namespaces of the children could not be read"));
    };
    let (Some(wanted), Some(own)) = (first.state.namespaces.get(kind), second.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespaces of the children could not be read"));
    };
    if wanted == own {
        return Outcome::Held;
    }
    let whose = match scene.host_namespace(kind) {
        Some(host) if host == *own => ", the host's",
        _ => ", neither the host's nor child 1's",
    };
    let mut evidence = vec![scene.evidence_of(&second), scene.evidence_of(&first)];
    evidence.extend(scene.mover(child2, second.at).map(|event| scene.evidence(event)));
    Outcome::wrong(
        format!("child 2 in {}, where child 1 is", link(kind, *wanted)),
        format!("child 2 is in {}{whose}", link(kind, *own)),
        evidence,
    )
}

fn parent_stays(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let namespaces = parent_namespaces(scene, cast);
    let name = host_name(scene);
    let tried = cast.child1.is_some_and(|child1| {
        scene.moments(child1).iter().any(|moment| differs(scene, moment, "uts") || differs(scene, moment, "pid"))
    });
    if !tried && matches!((&namespaces, &name), (Outcome::Held, Outcome::Held)) {
        let why = "no process left the host's namespaces, so staying there shows nothing".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.uts", "child1.pid"], why));
    }
    let away = own_moments(scene, cast.parent).into_iter().find_map(|it| Some((it, moved_to(scene, it)?)));
    let finding = Finding::parts([("namespaces", namespaces.clone()), ("name", name)]);
    match away {
        Some((moment, (kind, own))) if matches!(namespaces, Outcome::Held) => {
            let (by, _) = moving_call(scene, cast, moment);
            finding.remark(format!(
                "the parent was in {} for a while{by}, and back when it wrote its lines",
                link(kind, own)
            ))
        }
        _ => finding,
    }
}

/// Whether the parent was in the box's namespaces whenever it reported, and at its end.
///
/// A parent that creates a namespace for its child with unshare(2) and returns at once is right: unshare is among the
/// calls that the assignment lists, and what it prints is true of its own namespaces.
fn parent_namespaces(scene: &Scene<'_>, cast: &Cast) -> Outcome {
    match parents_moments(scene, cast).into_iter().find_map(|moment| Some((moment, moved_to(scene, moment)?))) {
        Some((moment, (kind, own))) => {
            let (by, mut evidence) = moving_call(scene, cast, moment);
            evidence.push(scene.evidence_of(moment));
            Outcome::wrong(
                format!("{} from start to end", link_of(kind, &scene.run.host.namespaces)),
                format!("{}{by}, called by the parent (pid {})", link(kind, own), box_pid_of(moment)),
                evidence,
            )
        }
        None => Outcome::Held,
    }
}

/// The parent's moments that count: those at which it wrote a line, and its last one. All, where somebody else writes for it.
fn parents_moments<'s, 'a>(scene: &'s Scene<'a>, cast: &Cast) -> Vec<&'s Moment<'a>> {
    let own = own_moments(scene, cast.parent);
    let wrote =
        |moment: &&Moment<'_>| moment.event.is_some_and(|event| matches!(event.what, What::Wrote { stream: 1, .. }));
    if !own.iter().any(wrote) {
        return own;
    }
    let last = own.last().map(|moment| moment.at);
    own.into_iter().filter(|moment| wrote(moment) || Some(moment.at) == last).collect()
}

/// The moments of a process itself: a thread may go where its process must not, and getpid(2) and the process's own links
/// stay what they are.
fn own_moments<'s, 'a>(scene: &'s Scene<'a>, pid: Pid) -> Vec<&'s Moment<'a>> {
    scene.moments(pid).iter().filter(|moment| moment.state.thread.is_none()).collect()
}

/// The namespace that is not the host's in which a process is then.
fn moved_to<'a>(scene: &Scene<'_>, moment: &Moment<'a>) -> Option<(&'a String, u64)> {
    // Where its next child is created is not where the process itself lives.
    let lives_there = |kind: &str| !kind.ends_with("_for_children");
    let mut all = moment.state.namespaces.iter().filter(|(kind, _)| lives_there(kind));
    all.find(|(kind, own)| scene.host_namespace(kind).is_some_and(|host| host != **own)).map(|(kind, own)| (kind, *own))
}

/// The call by which the parent came to where it is then, in words, and as evidence.
fn moving_call(scene: &Scene<'_>, cast: &Cast, moment: &Moment<'_>) -> (String, Vec<Evidence>) {
    let call = scene.mover(cast.parent, moment.at);
    let by = match call.map(|call| &call.what) {
        Some(What::Call { name, decoded, .. }) => format!(" after {name}({decoded})"),
        _ => String::new(),
    };
    (by, call.map(|call| scene.evidence(call)).into_iter().collect())
}

/// The process id of a moment's process as the box numbers it.
fn box_pid_of(moment: &Moment<'_>) -> Pid {
    moment.state.inner_pids.get(1).copied().unwrap_or(moment.pid)
}

/// Whether the host kept its name all along.
pub(super) fn host_name(scene: &Scene<'_>) -> Outcome {
    let host = &scene.run.host.name;
    let expected = format!("the host is called {host:?} from start to end");
    let mut inside: Vec<&Moment<'_>> = scene.all_moments().filter(|moment| !differs(scene, moment, "uts")).collect();
    inside.sort_by_key(|moment| moment.at);
    let renamed = inside.iter().find(|moment| !moment.state.hostname.is_empty() && moment.state.hostname != *host);
    if let Some(moment) = renamed {
        let setter = scene.calls("sethostname").find(|(event, result)| {
            let there = event.state.namespaces.get("uts").copied() == scene.host_namespace("uts");
            *result >= 0 && there
        });
        let by = setter.map(|(event, _)| format!(", by pid {}", box_pid(event))).unwrap_or_default();
        let mut evidence: Vec<Evidence> = setter.map(|(event, _)| scene.evidence(event)).into_iter().collect();
        evidence.push(scene.evidence_of(moment));
        return Outcome::wrong(expected, format!("it was renamed {:?}{by}", moment.state.hostname), evidence);
    }
    let after = &scene.run.after.hostname;
    if !after.is_empty() && after != host {
        return Outcome::wrong(expected, format!("afterwards it was called {after:?}"), Vec::new());
    }
    Outcome::Held
}

fn output(scene: &Scene<'_>, cast: &Cast, style: Style) -> Finding {
    text::judged(scene, &blocks(cast), style)
}

fn blocks(cast: &Cast) -> [text::Block; 3] {
    [
        text::Block { name: "the parent's blocks", label: "parent-pid", writer: Some(cast.parent) },
        text::Block { name: "child 1's block", label: "child1-pid", writer: cast.child1 },
        text::Block { name: "child 2's block", label: "child2-pid", writer: cast.child2 },
    ]
}

fn clean(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let (Some(child1), Some(child2)) = (cast.child1, cast.child2) else {
        let why = "there were no two children to end".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.uts", "child1.pid", "child2.pid", "child2.uts"], why));
    };
    let mut finding = Finding::parts([
        ("status", text::exit_status(scene)),
        ("gone", gone(scene, &[("child 1", child1), ("child 2", child2)])),
    ]);
    let sleeps = |pid: Pid| {
        let calls = ["nanosleep", "clock_nanosleep"];
        calls.iter().any(|name| scene.calls(name).any(|(event, _)| event.pid == pid))
    };
    if sleeps(cast.parent) || sleeps(child2) {
        finding = finding
            .remark("it sleeps to let another process come first: on a slow day that is a race; wait for an event");
    }
    let by_name = scene.run.events.iter().any(|event| match &event.what {
        What::Exec { argv } => argv
            .first()
            .is_some_and(|program| matches!(program.rsplit('/').next(), Some("pkill" | "killall" | "killall5"))),
        _ => false,
    });
    if by_name {
        finding = finding.remark("it kills by name: every process of that name on the machine is hit");
    }
    finding
}

/// Whether the children were ended and waited for before the first process ended, and nothing of the rest is left.
fn gone(scene: &Scene<'_>, children: &[(&str, Pid)]) -> Outcome {
    let left = text::leftovers(scene);
    if !left.is_empty() {
        return Outcome::wrong("the host as it was before", format!("left behind: {}", list(&left)), Vec::new());
    }
    if scene.run.observer == Observer::Frozen {
        return Outcome::Held;
    }
    let end = scene.exit(scene.run.root_pid).map_or(Duration::MAX, |exit| exit.at);
    for (name, pid) in children {
        let expected = format!("{name} is ended, and waited for by its parent, before the parent ends");
        let Some(exit) = scene.exit(*pid) else {
            return Outcome::absent(expected, format!("{name} was not seen to end"));
        };
        if exit.at > end {
            return Outcome::wrong(
                expected,
                format!("{name} was still there when the parent ended"),
                vec![scene.evidence(exit)],
            );
        }
        if scene.reaped_by(*pid).is_none() {
            return not_reaped(scene, name, *pid, expected, exit);
        }
    }
    Outcome::Held
}

/// A child that stays a zombie, and why, as far as it is known.
fn not_reaped(scene: &Scene<'_>, name: &str, pid: Pid, expected: String, exit: &Event) -> Outcome {
    let mut why = Why { expected, positive: true, evidence: vec![scene.evidence(exit)], ..Why::default() };
    let creation = scene.creation(pid);
    let silent = creation.filter(|event| match &event.what {
        What::Call { name, decoded, .. } => {
            name.starts_with("clone") && !decoded.split('|').any(|word| word.starts_with("SIG"))
        }
        _ => false,
    });
    let Some(event) = silent else {
        why.observed = format!("{name} ended, and its parent did not wait for it");
        return Outcome::Lost(Box::new(why));
    };
    let (call, flags) = match &event.what {
        What::Call { name, decoded, .. } => (name.as_str(), decoded.as_str()),
        _ => ("clone", ""),
    };
    let refused = ["wait4", "waitid"].iter().any(|name| {
        let echild = -i64::from(libc::ECHILD);
        scene.calls(name).any(|(wait, result)| wait.pid == event.pid && result == echild)
    });
    let refused = if refused { "; the parent's wait failed with ECHILD" } else { "" };
    why.observed = format!("{name} ended as a zombie: {call}({flags}) names no signal that tells its parent{refused}");
    why.evidence.insert(0, scene.evidence(event));
    why.hints = Some([
        "Which signal tells a parent that a child has ended, and where did your call that makes the child name it?",
        "The low byte of clone's flags is the signal for the parent. Without SIGCHLD there, a plain wait does not see the child.",
        "clone(2), 'The child termination signal'; wait(2), __WALL. Add SIGCHLD to the flags, and wait for the child.",
    ]);
    Outcome::Lost(Box::new(why))
}

fn method(scene: &Scene<'_>, cast: &Cast) -> Finding {
    let elsewhere = |kind: &str| {
        let first = cast.child1.map(|pid| scene.moments(pid)).unwrap_or_default();
        let own = first.iter().any(|moment| differs(scene, moment, kind));
        own && matches!(shared_namespace(scene, cast, kind), Outcome::Held)
    };
    if !elsewhere("pid") && !elsewhere("uts") {
        let why = "child 2 is in no namespace of child 1's".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.pid", "child1.uts", "child2.pid", "child2.uts"], why));
    }
    if scene.run.observer == Observer::Frozen {
        return Finding::whole(Outcome::Unseen("without a tracer no call is seen".to_owned()));
    }
    let missing = calls_missing(scene);
    if missing.is_empty() {
        return Finding::whole(Outcome::Held);
    }
    Finding::whole(Outcome::Lost(Box::new(Why {
        expected: "a pidfd of child 1, and setns with it".to_owned(),
        observed: format!(
            "{} never succeeded; child 2 got there another way, which the other checks accept",
            list(&missing)
        ),
        positive: true,
        ..Why::default()
    })))
}

/// Which of the calls that the lesson asks for never succeeded.
fn calls_missing(scene: &Scene<'_>) -> Vec<&'static str> {
    let done = |name: &str| scene.calls(name).any(|(_, result)| result >= 0);
    let born_with_pidfd = ["clone", "clone3"].iter().any(|name| {
        scene.calls(name).any(|(event, result)| {
            let decoded = matches!(&event.what, What::Call { decoded, .. } if decoded.contains("CLONE_PIDFD"));
            decoded && result >= 0
        })
    });
    let mut missing = Vec::new();
    if !done("pidfd_open") && !born_with_pidfd {
        missing.push("pidfd_open");
    }
    if !done("setns") {
        missing.push("setns");
    }
    missing
}
