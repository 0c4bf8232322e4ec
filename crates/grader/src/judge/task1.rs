//! Task 1: two children, and the namespaces they live in.
//!
//! The program's words do not decide the roles: a role belongs to the process that *writes* the line of that role, as the
//! kernel saw it. When the parent writes a child's lines itself, or no process does, the role falls to the process that the
//! namespaces point at, so that a program is not judged by its words but is still understood when it has none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{History, Moment};
use super::words::{end_told, first_said, link, link_of, list};
use super::{Evidence, Finding, Outcome, Style, Why, transcript as text};
use crate::record::{End, Event, EventKind, Observer, Pid};

/// What child 1 calls its host.
const CHILD1_HOSTNAME: &str = "Child1Hostname";

/// What `history` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, history: &History<'_>, style: Style) -> Option<Finding> {
    let roles = Roles::of(history);
    let finding = match id {
        "child1.uts" => child1_uts(history, &roles),
        // One reason for many checks is reported once, by the first.
        "child1.pid" | "child1.name" | "child2.pid" | "child2.uts"
            if roles.child1.is_none() && !parent_wrote(history) =>
        {
            Finding::whole(Outcome::NotTried(&["child1.uts"], "there was no child 1".to_owned()))
        }
        "child1.pid" => child1_pid(history, &roles),
        "child1.name" => child1_name(history, &roles),
        "child2.pid" => child2_pid(history, &roles, style),
        "child2.uts" => child2_uts(history, &roles),
        "parent.stays" => parent_stays(history, &roles),
        "output" => output(history, &roles, style),
        "clean" => clean(history, &roles),
        "method" => method(history, &roles),
        _ => return None,
    };
    Some(match id {
        "output" => finding,
        // When it writes, the children are gone, or have only begun.
        _ if is_out_of_sight(history, &roles) => {
            finding.without_what_did_not_hold("another process wrote for the children, at another time")
        }
        _ => finding,
    })
}

/// Whether the children could not all be seen: without a tracer the box is looked over when one of its processes writes to
/// stdout, and the one that writes for others does so later.
fn is_out_of_sight(history: &History<'_>, roles: &Roles) -> bool {
    let Some(relay) = relay(history) else { return false };
    // Child 1 lives while the parent writes.
    let is_blind = history.run.observer == Observer::Frozen && !ends_were_seen(history);
    is_blind && (relay != history.run.root_pid || roles.child1.is_some())
}

/// Whether every process was looked at when it ended: the first one was, and it ends last.
fn ends_were_seen(history: &History<'_>) -> bool {
    let by_itself = history.calls("exit_group").any(|(event, _)| event.pid == history.run.root_pid);
    by_itself && history.run.observer == Observer::Frozen
}

/// The roles with their processes.
pub(super) fn roles(history: &History<'_>) -> Vec<(&'static str, Pid)> {
    let roles = Roles::of(history);
    let all = [("parent", Some(roles.parent)), ("child 1", roles.child1), ("child 2", roles.child2)];
    all.into_iter().filter_map(|(name, pid)| pid.map(|pid| (name, pid))).collect()
}

/// The process in each role.
#[derive(Debug, Clone, Copy)]
struct Roles {
    parent: Pid,
    child1: Option<Pid>,
    child2: Option<Pid>,
}

impl Roles {
    /// Finds the process in each role.
    fn of(history: &History<'_>) -> Roles {
        let root = history.run.root_pid;
        let relay = relay(history);
        let own = |label: &str| -> Vec<Pid> {
            writers(history, label).into_iter().filter(|pid| Some(*pid) != relay).collect()
        };
        let parents = own("Parent Process PID:");
        let firsts = own("Child1 Process PID:");
        let seconds = own("Child2 Process PID:");
        // A child that inherited the parent's unwritten buffer writes the parent's lines too: the children's lines
        // identify the children better.
        let parent = match parents.iter().find(|pid| **pid == root) {
            Some(_) => root,
            None => {
                let children: Vec<Pid> = firsts.iter().chain(&seconds).copied().collect();
                parents.iter().find(|pid| !children.contains(pid)).copied().unwrap_or(root)
            }
        };
        let child1 = firsts.into_iter().find(|pid| *pid != parent && *pid != root);
        let child1 = child1.or_else(|| first_elsewhere(history, parent));
        let child2 = seconds.into_iter().find(|pid| *pid != parent && *pid != root && Some(*pid) != child1);
        let child2 = child2.or_else(|| second_elsewhere(history, parent, child1, relay));
        Roles { parent, child1, child2 }
    }
}

/// The processes that wrote a line that begins so, the first first.
fn writers(history: &History<'_>, label: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for line in history.lines.iter().filter(|line| line.text.starts_with(label)) {
        if let Some(writer) = history.writer(line) {
            if !found.contains(&writer.pid) {
                found.push(writer.pid);
            }
        }
    }
    found
}

/// The process of the host's PID namespace that writes the lines of both children, if there is one: a helper that writes for
/// all, or the parent, to which they report.
fn relay(history: &History<'_>) -> Option<Pid> {
    let seconds = writers(history, "Child2 Process PID:");
    writers(history, "Child1 Process PID:").into_iter().find(|pid| {
        let stays = !history.moments(*pid).iter().any(|moment| differs(history, moment, "pid"));
        seconds.contains(pid) && stays
    })
}

/// The lines that it wrote for others.
pub(super) fn relayed(history: &History<'_>) -> BTreeMap<usize, Option<Pid>> {
    let Some(relay) = relay(history) else { return BTreeMap::new() };
    let roles = Roles::of(history);
    text::relayed(history, &blocks(&roles), |writer, speaker| {
        writer == relay && (speaker.is_some() || is_out_of_sight(history, &roles))
    })
}

/// The first process that was seen in a PID or UTS namespace other than the box's.
fn first_elsewhere(history: &History<'_>, parent: Pid) -> Option<Pid> {
    let root = history.run.root_pid;
    history.pids().iter().copied().filter(|pid| *pid != root && *pid != parent).find(|pid| {
        history.moments(*pid).iter().any(|moment| differs(history, moment, "pid") || differs(history, moment, "uts"))
    })
}

/// A sibling of child 1 that came later: the first that was in child 1's PID namespace, else in its UTS namespace, else the
/// first of all.
fn second_elsewhere(history: &History<'_>, parent: Pid, child1: Option<Pid>, relay: Option<Pid>) -> Option<Pid> {
    let child1 = child1?;
    let later: Vec<Pid> = history.pids().iter().copied().skip_while(|pid| *pid != child1).skip(1).collect();
    let siblings = later.into_iter().filter(|pid| {
        let ancestry = history.ancestry(*pid);
        // Child 1's own children are of its making.
        let is_other = *pid != parent && *pid != history.run.root_pid && Some(*pid) != relay;
        is_other && !ancestry.contains(&child1) && ancestry.contains(&parent)
    });
    let siblings: Vec<Pid> = siblings.collect();
    let was_there = |pid: &Pid, kind: &str| {
        let place = history.moments(child1).last().and_then(|moment| moment.state.namespaces.get(kind));
        place.is_some() && history.moments(*pid).iter().any(|moment| moment.state.namespaces.get(kind) == place)
    };
    let by = |kind: &str| siblings.iter().find(|pid| was_there(pid, kind));
    by("pid").or_else(|| by("uts")).or(siblings.first()).copied()
}

/// Whether a process was at that moment in another namespace of `kind` than the one the submission started in.
fn differs(history: &History<'_>, moment: &Moment<'_>, kind: &str) -> bool {
    match (history.host_namespace(kind), moment.state.namespaces.get(kind)) {
        (Some(host), Some(own)) => host != *own,
        _ => false,
    }
}

/// The moment a child is judged by: when it wrote its line, else the last time it was seen.
fn telling<'a>(history: &History<'a>, pid: Pid, label: &str) -> Option<Moment<'a>> {
    let wrote = history.lines.iter().filter(|line| line.text.starts_with(label)).find_map(|line| {
        let event = history.writer(line).filter(|event| event.pid == pid)?;
        Some(Moment { at: event.at, pid, state: &event.state, event: Some(event) })
    });
    wrote.or_else(|| history.moments(pid).last().copied())
}

/// Why there is no child to judge.
fn no_child(history: &History<'_>, label: &str, which: &str) -> Outcome {
    let expected = format!("{which} is a process of its own");
    let line = history.lines.iter().find(|line| line.text.starts_with(label));
    let tells_for_others = |pid: Pid| pid != history.run.root_pid || history.run.observer == Observer::Frozen;
    let helper = relay(history).filter(|pid| tells_for_others(*pid));
    match line.and_then(|line| history.writer(line)).filter(|event| Some(event.pid) != helper) {
        Some(writer) => {
            let evidence = vec![history.evidence(writer)];
            Outcome::wrong(
                expected,
                format!("its lines were written by the parent (pid {})", box_pid(writer)),
                evidence,
            )
        }
        // No process wrote a line as this child, so only the looks at exiting processes tell.
        None if ends_were_seen(history) && history.run.end == End::Exited(0) => {
            let found = "each was looked at when it ended, without a tracer, and none";
            Outcome::wrong(expected, format!("{found} could be {which}; {}", ended(history)), Vec::new())
        }
        None => Outcome::absent(expected, format!("no process was seen that could be {which}; {}", ended(history))),
    }
}

/// Whether the parent wrote child 1's lines itself.
fn parent_wrote(history: &History<'_>) -> bool {
    !writers(history, "Child1 Process PID:").is_empty()
}

/// How the program ended, and what it said first on stderr.
fn ended(history: &History<'_>) -> String {
    let end = format!("{}{}", history.typed(), end_told(&history.run.end));
    match first_said(&history.run.output.stderr) {
        Some(line) => format!("{end} and said {line:?} on stderr"),
        None => format!("{end} and said nothing on stderr"),
    }
}

/// The process id of an event's process as the box numbers it.
fn box_pid(event: &Event) -> Pid {
    event.state.inner_pids.get(1).copied().unwrap_or(event.pid)
}

fn child1_uts(history: &History<'_>, roles: &Roles) -> Finding {
    Finding::whole(own_namespace(history, roles, "uts"))
}

fn child1_pid(history: &History<'_>, roles: &Roles) -> Finding {
    let outcome = own_namespace(history, roles, "pid");
    let (Outcome::Held, Some(child1)) = (&outcome, roles.child1) else { return Finding::whole(outcome) };
    let Some(moment) = telling(history, child1, "Child1 Process PID:") else { return Finding::whole(outcome) };
    match moment.state.inner_pids.last() {
        Some(1) | None => Finding::whole(outcome),
        Some(pid) => Finding::whole(Outcome::wrong(
            "child 1 is process 1 of its PID namespace",
            format!("it is process {pid} there"),
            vec![history.evidence_of(&moment)],
        )),
    }
}

/// Whether child 1 has a namespace of `kind` of its own.
fn own_namespace(history: &History<'_>, roles: &Roles, kind: &str) -> Outcome {
    let label = "Child1 Process PID:";
    let Some(child1) = roles.child1 else { return no_child(history, label, "child 1") };
    let Some(moment) = telling(history, child1, label) else { return no_child(history, label, "child 1") };
    let (Some(host), Some(own)) = (history.host_namespace(kind), moment.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespace of child 1 could not be read"));
    };
    if host == *own {
        return Outcome::wrong(
            format!("child 1 in another namespace than {}, the host's", link(kind, host)),
            format!("child 1 is in {}, the host's", link(kind, *own)),
            vec![history.evidence_of(&moment)],
        );
    }
    match shared_at_creation(history, roles.parent, child1, kind, *own) {
        Some(false) => Outcome::Held,
        Some(true) => Outcome::wrong(
            format!("child 1 gets a {} namespace of its own when it is created", kind.to_uppercase()),
            format!("it got {}, in which its parent was then", link(kind, *own)),
            vec![history.evidence_of(&moment)],
        ),
        None => Outcome::Unseen("the parent was not looked at between its start and child 1's first line".to_owned()),
    }
}

/// Whether the parent was in the namespace `own` of `kind` when it created child 1, and stayed: then it is not child 1's
/// own. Where the parent goes afterwards, or one of its threads, is the matter of another check. None when the run cannot tell.
fn shared_at_creation(history: &History<'_>, parent: Pid, child1: Pid, kind: &str, own: u64) -> Option<bool> {
    let was_there = |moment: &Moment<'_>| moment.state.namespaces.get(kind) == Some(&own);
    let born = history.run.events.iter().find_map(|event| match &event.what {
        EventKind::Born { child, .. } if *child == child1 => Some(event.at),
        _ => None,
    });
    let parents = own_moments(history, parent);
    // It created the namespace with unshare(2) and returned to its own: child 1 has it for itself.
    if parents.last().is_some_and(|last| !was_there(last)) {
        return Some(false);
    }
    if let Some(at) = born {
        return Some(parents.iter().rfind(|moment| moment.at <= at).is_some_and(|it| was_there(it)));
    }
    let first = history.moments(child1).first()?.at;
    if parents.iter().any(|moment| moment.at < first && was_there(moment)) {
        return Some(true);
    }
    let there_now = parents.iter().find(|moment| moment.at >= first).is_some_and(|it| was_there(it));
    if there_now { None } else { Some(false) }
}

fn child1_name(history: &History<'_>, roles: &Roles) -> Finding {
    let Some(child1) = roles.child1 else { return Finding::whole(no_child(history, "Child1 Process PID:", "child 1")) };
    let child2 = roles.child2.and_then(|pid| telling(history, pid, "Child2 Process PID:"));
    // The name that counts is the one that child 2 can find.
    let moment = match child2 {
        Some(second) => history.moment_at(child1, second.at),
        None => telling(history, child1, "Child1 Hostname:"),
    };
    let named = match moment {
        None => Outcome::Unseen("child 1's host name could not be read".to_owned()),
        Some(moment) if moment.state.hostname == CHILD1_HOSTNAME => Outcome::Held,
        Some(moment) => Outcome::wrong(
            format!("the host name in child 1's UTS namespace is {CHILD1_HOSTNAME}"),
            format!("it is {:?}", moment.state.hostname),
            vec![history.evidence_of(&moment)],
        ),
    };
    Finding::parts([("name", named), ("lives", child1_lives(history, child1, child2))])
}

/// Whether child 1 was alive when child 2 was at work.
fn child1_lives(history: &History<'_>, child1: Pid, child2: Option<Moment<'_>>) -> Outcome {
    let expected = "child 1 is alive until child 2 is done";
    let exit = history.exit(child1);
    let evidence = exit.map(|exit| history.evidence(exit)).into_iter().collect();
    match child2.map(|second| history.alive_at(child1, second.at)) {
        Some(Some(true)) => Outcome::Held,
        Some(Some(false)) => Outcome::wrong(expected, "it was gone when child 2 wrote its lines", evidence),
        Some(None) => Outcome::Unseen("no look was taken at child 1 while child 2 wrote".to_owned()),
        // There is no child 2: all that can be said is whether child 1 went away by itself.
        None => match exit.map(|exit| &exit.what) {
            Some(EventKind::Exited { signal: None, code }) => Outcome::wrong(
                expected,
                format!("it ended by itself, with status {code}, before there was a child 2"),
                evidence,
            ),
            Some(_) => Outcome::Held,
            None if history.run.observer == Observer::Traced => Outcome::Held,
            None => Outcome::Unseen("there was no child 2 whose end could be waited for".to_owned()),
        },
    }
}

fn child2_pid(history: &History<'_>, roles: &Roles, style: Style) -> Finding {
    let mut finding = in_child1s_pid_namespace(history, roles);
    // The course's text lists calls and asks for an outcome: child 2 comes from outside and is attached.
    let [(_, Outcome::Held)] = finding.points.as_slice() else { return finding };
    if style.is_rust {
        return finding;
    }
    let born_inside =
        roles.child2.is_some_and(|pid| history.ancestry(pid).iter().skip(1).any(|up| Some(*up) == roles.child1));
    let attached = match born_inside {
        false => Outcome::Held,
        true => Outcome::wrong(
            "child 2 is created outside and attached to child 1's namespaces",
            "child 2 is a child of child 1, so nothing was attached",
            Vec::new(),
        ),
    };
    finding.points = vec![("inside", Outcome::Held), ("attached", attached)];
    let missing = calls_missing(history);
    if born_inside || missing.is_empty() || history.run.observer == Observer::Frozen {
        return finding;
    }
    finding
        .remark(format!("child 2 got there without {}, which the assignment lists among the key calls", list(&missing)))
}

fn in_child1s_pid_namespace(history: &History<'_>, roles: &Roles) -> Finding {
    let outcome = shared_namespace(history, roles, "pid");
    let (Outcome::Held, Some(child2)) = (&outcome, roles.child2) else { return Finding::whole(outcome) };
    let inner =
        telling(history, child2, "Child2 Process PID:").and_then(|moment| moment.state.inner_pids.last().copied());
    match inner {
        Some(pid) if pid > 2 => Finding::whole(outcome)
            .remark(format!("child 2 is process {pid} of child 1's PID namespace: others were born there before it")),
        _ => Finding::whole(outcome),
    }
}

fn child2_uts(history: &History<'_>, roles: &Roles) -> Finding {
    Finding::whole(shared_namespace(history, roles, "uts"))
}

/// Whether child 2 is in child 1's namespace of `kind` when it writes.
fn shared_namespace(history: &History<'_>, roles: &Roles, kind: &str) -> Outcome {
    let label = "Child2 Process PID:";
    let Some(child1) = roles.child1 else { return no_child(history, "Child1 Process PID:", "child 1") };
    let Some(child2) = roles.child2 else { return no_child(history, label, "child 2") };
    let second = telling(history, child2, label);
    let first = second.and_then(|second| history.moment_at(child1, second.at));
    let (Some(first), Some(second)) = (first, second) else {
        return Outcome::Unseen(format!("the {kind} namespaces of the children could not be read"));
    };
    let (Some(wanted), Some(own)) = (first.state.namespaces.get(kind), second.state.namespaces.get(kind)) else {
        return Outcome::Unseen(format!("the {kind} namespaces of the children could not be read"));
    };
    if wanted == own {
        return Outcome::Held;
    }
    let whose = match history.host_namespace(kind) {
        Some(host) if host == *own => ", the host's",
        _ => ", neither the host's nor child 1's",
    };
    let mut evidence = vec![history.evidence_of(&second), history.evidence_of(&first)];
    evidence.extend(history.mover(child2, second.at).map(|event| history.evidence(event)));
    let refused = history.calls("setns").find(|(event, result)| event.pid == child2 && *result < 0);
    let comes_late = history
        .moments(child2)
        .iter()
        .any(|moment| moment.at > second.at && moment.state.namespaces.get(kind) == Some(wanted));
    let mut why = Why {
        expected: format!("child 2 in {}, where child 1 is", link(kind, *wanted)),
        observed: format!("child 2 is in {}{whose}", link(kind, *own)),
        evidence,
        positive: true,
        ..Why::default()
    };
    if let Some((event, _)) = refused {
        let refused = history.evidence(event);
        why.observed += &format!("; {}", refused.what);
        why.evidence.push(refused);
    } else if comes_late {
        why.observed += ", when it writes; it enters child 1's only after that";
        why.hints = Some([
            "What does child 2 do first: enter the namespace, or say where it is?",
            "setns(2) changes where a process is from then on. What it has read and written before stays what it was.",
            "In child 2, the call of setns comes before the lines that it writes.",
        ]);
    }
    Outcome::Lost(Box::new(why))
}

fn parent_stays(history: &History<'_>, roles: &Roles) -> Finding {
    let namespaces = parent_namespaces(history, roles);
    let name = host_name(history);
    let tried = roles.child1.is_some_and(|child1| {
        history.moments(child1).iter().any(|moment| differs(history, moment, "uts") || differs(history, moment, "pid"))
    });
    if !tried && matches!((&namespaces, &name), (Outcome::Held, Outcome::Held)) {
        let why = "no process left the host's namespaces, so staying there shows nothing".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.uts", "child1.pid"], why));
    }
    let away = own_moments(history, roles.parent).into_iter().find_map(|it| Some((it, moved_to(history, it)?)));
    let finding = Finding::parts([("namespaces", namespaces.clone()), ("name", name)]);
    match away {
        Some((moment, (kind, own))) if matches!(namespaces, Outcome::Held) => {
            let (by, _) = moving_call(history, roles, moment);
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
fn parent_namespaces(history: &History<'_>, roles: &Roles) -> Outcome {
    match parents_moments(history, roles).into_iter().find_map(|moment| Some((moment, moved_to(history, moment)?))) {
        Some((moment, (kind, own))) => {
            let (by, mut evidence) = moving_call(history, roles, moment);
            evidence.push(history.evidence_of(moment));
            Outcome::wrong(
                format!("{} from start to end", link_of(kind, &history.run.host.namespaces)),
                format!("{}{by}, called by the parent (pid {})", link(kind, own), box_pid_of(moment)),
                evidence,
            )
        }
        None => Outcome::Held,
    }
}

/// The parent's moments that count: those at which it wrote a line, and its last one. All, where another process writes for it.
fn parents_moments<'s, 'a>(history: &'s History<'a>, roles: &Roles) -> Vec<&'s Moment<'a>> {
    let own = own_moments(history, roles.parent);
    let wrote = |moment: &&Moment<'_>| {
        moment.event.is_some_and(|event| matches!(event.what, EventKind::Wrote { stream: 1, .. }))
    };
    if !own.iter().any(wrote) {
        return own;
    }
    let last = own.last().map(|moment| moment.at);
    own.into_iter().filter(|moment| wrote(moment) || Some(moment.at) == last).collect()
}

/// The moments of a process itself: a thread may go where its process must not, and getpid(2) and the process's own links
/// stay what they are.
fn own_moments<'s, 'a>(history: &'s History<'a>, pid: Pid) -> Vec<&'s Moment<'a>> {
    history.moments(pid).iter().filter(|moment| moment.state.thread.is_none()).collect()
}

/// The namespace that is not the host's in which a process is then.
fn moved_to<'a>(history: &History<'_>, moment: &Moment<'a>) -> Option<(&'a String, u64)> {
    // Where its next child is created is not where the process itself lives.
    let lives_there = |kind: &str| !kind.ends_with("_for_children");
    let mut all = moment.state.namespaces.iter().filter(|(kind, _)| lives_there(kind));
    all.find(|(kind, own)| history.host_namespace(kind).is_some_and(|host| host != **own))
        .map(|(kind, own)| (kind, *own))
}

/// The call by which the parent came to where it is then, in words, and as evidence.
fn moving_call(history: &History<'_>, roles: &Roles, moment: &Moment<'_>) -> (String, Vec<Evidence>) {
    let call = history.mover(roles.parent, moment.at);
    let by = match call.map(|call| &call.what) {
        Some(EventKind::Call { name, decoded, .. }) => format!(" after {name}({decoded})"),
        _ => String::new(),
    };
    (by, call.map(|call| history.evidence(call)).into_iter().collect())
}

/// The process id of a moment's process as the box numbers it.
fn box_pid_of(moment: &Moment<'_>) -> Pid {
    moment.state.inner_pids.get(1).copied().unwrap_or(moment.pid)
}

/// Whether the host kept its name all along.
pub(super) fn host_name(history: &History<'_>) -> Outcome {
    let host = &history.run.host.name;
    let expected = format!("the host is called {host:?} from start to end");
    let mut inside: Vec<&Moment<'_>> =
        history.all_moments().filter(|moment| !differs(history, moment, "uts")).collect();
    inside.sort_by_key(|moment| moment.at);
    let renamed = inside.iter().find(|moment| !moment.state.hostname.is_empty() && moment.state.hostname != *host);
    if let Some(moment) = renamed {
        let setter = history.calls("sethostname").find(|(event, result)| {
            let there = event.state.namespaces.get("uts").copied() == history.host_namespace("uts");
            *result >= 0 && there
        });
        let by = setter.map(|(event, _)| match event.pid == history.run.root_pid {
            true => format!(", by the program's first process, pid {}", box_pid(event)),
            false => format!(", by pid {}", box_pid(event)),
        });
        let by = by.unwrap_or_default();
        let mut evidence: Vec<Evidence> = setter.map(|(event, _)| history.evidence(event)).into_iter().collect();
        evidence.push(history.evidence_of(moment));
        return Outcome::wrong(expected, format!("it was renamed {:?}{by}", moment.state.hostname), evidence);
    }
    let after = &history.run.after.hostname;
    if !after.is_empty() && after != host {
        return Outcome::wrong(expected, format!("afterwards it was called {after:?}"), Vec::new());
    }
    Outcome::Held
}

fn output(history: &History<'_>, roles: &Roles, style: Style) -> Finding {
    text::judged(history, &blocks(roles), style)
}

fn blocks(roles: &Roles) -> [text::Block; 3] {
    [
        text::Block { name: "the parent's blocks", label: "parent-pid", writer: Some(roles.parent) },
        text::Block { name: "child 1's block", label: "child1-pid", writer: roles.child1 },
        text::Block { name: "child 2's block", label: "child2-pid", writer: roles.child2 },
    ]
}

fn clean(history: &History<'_>, roles: &Roles) -> Finding {
    let (Some(child1), Some(child2)) = (roles.child1, roles.child2) else {
        let why = "there were no two children to end".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.uts", "child1.pid", "child2.pid", "child2.uts"], why));
    };
    let mut finding = Finding::parts([
        ("status", text::exit_status(history)),
        ("gone", gone(history, &[("child 1", child1), ("child 2", child2)])),
    ]);
    let sleeps = |pid: Pid| {
        let calls = ["nanosleep", "clock_nanosleep"];
        calls.iter().any(|name| history.calls(name).any(|(event, _)| event.pid == pid))
    };
    if sleeps(roles.parent) || sleeps(child2) {
        finding = finding
            .remark("it sleeps to let another process come first: on a slow day that is a race; wait for an event");
    }
    let by_name = history.run.events.iter().any(|event| match &event.what {
        EventKind::Exec { argv } => argv
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
fn gone(history: &History<'_>, children: &[(&str, Pid)]) -> Outcome {
    let left = text::leftovers(history);
    if !left.is_empty() {
        return Outcome::wrong("the host as it was before", format!("left behind: {}", list(&left)), Vec::new());
    }
    if history.run.observer == Observer::Frozen {
        return Outcome::Held;
    }
    let end = history.exit(history.run.root_pid).map_or(Duration::MAX, |exit| exit.at);
    for (name, pid) in children {
        let expected = format!("{name} is ended, and waited for by its parent, before the parent ends");
        let Some(exit) = history.exit(*pid) else {
            return Outcome::absent(expected, format!("{name} was not seen to end"));
        };
        if exit.at > end {
            return Outcome::wrong(
                expected,
                format!("{name} was still there when the parent ended"),
                vec![history.evidence(exit)],
            );
        }
        if history.reaped_by(*pid).is_none() {
            return not_reaped(history, name, *pid, expected, exit);
        }
    }
    Outcome::Held
}

/// A child that stays a zombie, and why, as far as it is known.
fn not_reaped(history: &History<'_>, name: &str, pid: Pid, expected: String, exit: &Event) -> Outcome {
    let mut why = Why { expected, positive: true, evidence: vec![history.evidence(exit)], ..Why::default() };
    let creation = history.creation(pid);
    let silent = creation.filter(|event| match &event.what {
        EventKind::Call { name, decoded, .. } => {
            name.starts_with("clone") && !decoded.split('|').any(|word| word.starts_with("SIG"))
        }
        _ => false,
    });
    let Some(event) = silent else {
        why.observed = format!("{name} ended, and its parent did not wait for it");
        return Outcome::Lost(Box::new(why));
    };
    let (call, flags) = match &event.what {
        EventKind::Call { name, decoded, .. } => (name.as_str(), decoded.as_str()),
        _ => ("clone", ""),
    };
    let refused = ["wait4", "waitid"].iter().any(|name| {
        let echild = -i64::from(libc::ECHILD);
        history.calls(name).any(|(wait, result)| wait.pid == event.pid && result == echild)
    });
    let refused = if refused { "; the parent's wait failed with ECHILD" } else { "" };
    why.observed = format!("{name} ended as a zombie: {call}({flags}) names no signal that tells its parent{refused}");
    why.evidence.insert(0, history.evidence(event));
    why.hints = Some([
        "Which signal tells a parent that a child has ended, and where did your call that makes the child name it?",
        "The low byte of clone's flags is the signal for the parent. Without SIGCHLD there, a plain wait does not see the child.",
        "clone(2), 'The child termination signal'; wait(2), __WALL. Add SIGCHLD to the flags, and wait for the child.",
    ]);
    Outcome::Lost(Box::new(why))
}

fn method(history: &History<'_>, roles: &Roles) -> Finding {
    let elsewhere = |kind: &str| {
        let first = roles.child1.map(|pid| history.moments(pid)).unwrap_or_default();
        let own = first.iter().any(|moment| differs(history, moment, kind));
        own && matches!(shared_namespace(history, roles, kind), Outcome::Held)
    };
    if !elsewhere("pid") && !elsewhere("uts") {
        let why = "child 2 is in no namespace of child 1's".to_owned();
        return Finding::whole(Outcome::NotTried(&["child1.pid", "child1.uts", "child2.pid", "child2.uts"], why));
    }
    if history.run.observer == Observer::Frozen {
        return Finding::whole(Outcome::Unseen("without a tracer no call is seen".to_owned()));
    }
    let missing = calls_missing(history);
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
fn calls_missing(history: &History<'_>) -> Vec<&'static str> {
    let done = |name: &str| history.calls(name).any(|(_, result)| result >= 0);
    let born_with_pidfd = ["clone", "clone3"].iter().any(|name| {
        history.calls(name).any(|(event, result)| {
            let decoded = matches!(&event.what, EventKind::Call { decoded, .. } if decoded.contains("CLONE_PIDFD"));
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
