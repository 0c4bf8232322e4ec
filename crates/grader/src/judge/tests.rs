//! The judges on runs made by hand: a right one, and what is left of its marks after one change.

mod task3;
mod task4;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::record::{
    CpuLimit, Event, EventKind, FileId, Host, Namespaces, Observer, Output, Pid, ProcessState, Sample, Snapshot,
    StdoutKind,
};

const RUST: Style = Style { is_rust: true };
const C: Style = Style { is_rust: false };

const HOST: u64 = 100;
const BOX: &str = "box-7f3a";
const DASHES: &str = "----------------------------------------";

fn namespaces(uts: u64, pid: u64) -> Namespaces {
    let kinds = [("uts", uts), ("pid", pid), ("pid_for_children", pid), ("ipc", HOST), ("mnt", HOST), ("net", HOST)];
    kinds.into_iter().map(|(kind, inode)| (kind.to_owned(), inode)).collect()
}

fn state(inner_pids: &[Pid], parent: Pid, uts: u64, pid: u64, hostname: &str) -> ProcessState {
    ProcessState {
        inner_pids: inner_pids.to_vec(),
        parent,
        namespaces: namespaces(uts, pid),
        hostname: hostname.to_owned(),
        root: FileId { dev: 1, ino: 1 },
        cwd: Some("/".to_owned()),
        ..ProcessState::default()
    }
}

/// A run under construction: each event comes one millisecond after the one before.
struct Film {
    run: Run,
}

impl Film {
    fn new(observer: Observer, stdout_kind: StdoutKind) -> Film {
        let host = Host {
            name: BOX.to_owned(),
            namespaces: namespaces(HOST, HOST),
            root: FileId { dev: 1, ino: 1 },
            ..Host::default()
        };
        let seen = Snapshot { hostname: BOX.to_owned(), ..Snapshot::default() };
        let end = End::Exited(0);
        Film {
            run: Run {
                observer,
                stdout_kind,
                host,
                root_pid: 10,
                before: seen.clone(),
                after: seen,
                end,
                ..Run::default()
            },
        }
    }

    fn push(&mut self, pid: Pid, state: &ProcessState, what: EventKind) -> &mut Film {
        let at = Duration::from_millis(self.run.events.len() as u64);
        self.run.events.push(Event { at, pid, state: state.clone(), what });
        self
    }

    fn wrote(&mut self, pid: Pid, state: &ProcessState, text: &str) -> &mut Film {
        self.run.output.stdout.push_str(text);
        self.push(pid, state, EventKind::Wrote { stream: 1, text: text.to_owned() })
    }

    /// What a process says of itself, and the line below it.
    fn tells(&mut self, who: &str, pid: Pid, state: &ProcessState) -> &mut Film {
        let own = state.inner_pids.last().copied().unwrap_or(pid);
        let text = format!("{who} Process PID: {own}\n{who} Hostname: {}\n{DASHES}\n", state.hostname);
        self.wrote(pid, state, &text)
    }

    fn call(&mut self, pid: Pid, state: &ProcessState, name: &str, decoded: &str, result: i64) -> &mut Film {
        let call = EventKind::Call { name: name.to_owned(), args: [0; 6], decoded: decoded.to_owned(), result };
        self.push(pid, state, call)
    }

    fn ends(&mut self, pid: Pid, state: &ProcessState, signal: Option<i32>, reaped_by: Option<Pid>) -> &mut Film {
        let code = signal.map_or(0, |signal| 128 + signal);
        self.push(pid, state, EventKind::Exited { code, signal });
        if let Some(by) = reaped_by {
            self.push(pid, state, EventKind::Reaped { by });
        }
        self
    }
}

/// The people of task 1, as a right program leaves them.
struct People {
    parent: ProcessState,
    child1: ProcessState,
    child2: ProcessState,
}

fn people() -> People {
    let mut parent = state(&[10, 2], 1, HOST, HOST, BOX);
    parent.namespaces.insert("pid_for_children".into(), HOST);
    People {
        parent,
        child1: state(&[11, 3, 1], 10, 201, 301, "Child1Hostname"),
        child2: state(&[12, 4, 2], 10, 201, 301, "Child1Hostname"),
    }
}

/// Task 1 with these processes, watched by a tracer on a terminal.
fn traced(people: &People) -> Run {
    let People { parent, child1, child2 } = people;
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.wrote(10, parent, &format!("{DASHES}\n")).tells("Parent", 10, parent);
    let born = ProcessState { hostname: BOX.to_owned(), ..child1.clone() };
    film.push(10, parent, EventKind::Born { child: 11, child_state: Box::new(born) });
    film.tells("Child1", 11, child1).tells("Parent", 10, parent);
    film.call(10, parent, "pidfd_open", "11", 5).call(10, parent, "setns", "5, CLONE_NEWPID", 0);
    let mut born = child2.clone();
    born.namespaces.insert("uts".into(), HOST);
    born.hostname = parent.hostname.clone();
    film.push(10, parent, EventKind::Born { child: 12, child_state: Box::new(born) });
    film.call(12, child2, "setns", "5, CLONE_NEWUTS", 0).tells("Child2", 12, child2).ends(12, child2, None, Some(10));
    film.ends(11, child1, Some(9), Some(10)).tells("Parent", 10, parent).ends(10, parent, None, None);
    film.run
}

/// The same without a tracer, on a pipe.
fn frozen(people: &People) -> Run {
    let People { parent, child1, child2 } = people;
    let mut film = Film::new(Observer::Frozen, StdoutKind::Pipe);
    film.wrote(10, parent, &format!("{DASHES}\n")).tells("Parent", 10, parent);
    film.tells("Child1", 11, child1).tells("Parent", 10, parent).tells("Child2", 12, child2);
    let at = film.run.events.last().map(|event| event.at).unwrap_or_default();
    film.run.events.push(Event { at, pid: 11, state: child1.clone(), what: EventKind::Seen });
    film.tells("Parent", 10, parent);
    film.run
}

/// The marks of each check, without those that are full.
fn lost(task: Task, runs: &[Run], style: Style) -> BTreeMap<String, u32> {
    let rubric = Rubric::in_edition(task, style.is_rust).unwrap();
    let verdicts = judge(task, &rubric, runs, style);
    assert_eq!(verdicts.len(), rubric.checks.iter().filter(|check| is_asked(check, runs)).count());
    let lost = verdicts.iter().filter(|verdict| verdict.lost() > 0);
    lost.map(|verdict| (verdict.check.id.clone(), verdict.lost())).collect()
}

fn verdict(task: Task, runs: &[Run], style: Style, id: &str) -> Verdict {
    let rubric = Rubric::in_edition(task, style.is_rust).unwrap();
    judge(task, &rubric, runs, style).into_iter().find(|verdict| verdict.check.id == id).unwrap()
}

fn expect<const N: usize>(pairs: [(&str, u32); N]) -> BTreeMap<String, u32> {
    pairs.into_iter().map(|(id, marks)| (id.to_owned(), marks)).collect()
}

fn both(people: &People) -> [Run; 2] {
    [traced(people), frozen(people)]
}

#[test]
fn a_right_program_loses_nothing() {
    assert_eq!(lost(Task::Task1, &both(&people()), RUST), expect([]));
    assert_eq!(lost(Task::Task1, &both(&people()), C), expect([]));
    let rubric = Rubric::of(Task::Task1).unwrap();
    let verdicts = judge(Task::Task1, &rubric, &both(&people()), RUST);
    assert!(verdicts.iter().all(|verdict| verdict.status == Status::Passed && verdict.open == 0));
}

#[test]
fn the_right_text_from_one_process_gets_no_marks() {
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    let People { parent, .. } = people();
    film.wrote(10, &parent, &traced(&people()).output.stdout).ends(10, &parent, None, None);
    let marks: u32 =
        judge(Task::Task1, &Rubric::of(Task::Task1).unwrap(), &[film.run], RUST).iter().map(|v| v.marks).sum();
    assert_eq!(marks, 0);
}

#[test]
fn a_program_that_does_nothing_gets_no_marks_and_has_lost_them_all() {
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.ends(10, &people().parent, None, None);
    assert_eq!(lost(Task::Task1, &[film.run], RUST).values().sum::<u32>(), 20);
}

#[test]
fn without_the_uts_flag_the_host_is_renamed_and_child_2_has_nothing_to_join() {
    let mut cast = people();
    cast.child1.namespaces.insert("uts".into(), HOST);
    cast.child2.namespaces.insert("uts".into(), HOST);
    let mut runs = both(&cast);
    for run in &mut runs {
        run.after.hostname = "Child1Hostname".to_owned();
    }
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([("child1.uts", 2), ("child2.uts", 3), ("parent.stays", 1)]));
    assert_eq!(verdict(Task::Task1, &runs, RUST, "child2.uts").blocked_by, ["child1.uts"]);
}

#[test]
fn without_the_pid_flag_only_the_pid_checks_are_lost() {
    let mut cast = people();
    (cast.child1.inner_pids, cast.child2.inner_pids) = (vec![11, 3], vec![12, 4]);
    for state in [&mut cast.child1, &mut cast.child2] {
        state.namespaces.insert("pid".into(), HOST);
    }
    assert_eq!(lost(Task::Task1, &both(&cast), RUST), expect([("child1.pid", 2), ("child2.pid", 3)]));
}

#[test]
fn a_pid_namespace_joined_after_the_fork_is_not_joined_and_the_true_line_costs_nothing() {
    let mut cast = people();
    cast.child2.inner_pids = vec![12, 4];
    cast.child2.namespaces.insert("pid".into(), HOST);
    cast.child2.namespaces.insert("pid_for_children".into(), 301);
    assert_eq!(lost(Task::Task1, &both(&cast), RUST), expect([("child2.pid", 3)]));
}

#[test]
fn a_parent_that_joins_is_named_with_its_call() {
    let cast = people();
    let mut runs = both(&cast);
    let last = runs[0].events.iter().rposition(|event| matches!(event.what, EventKind::Wrote { .. })).unwrap();
    runs[0].events[last].state.namespaces.insert("uts".into(), 201);
    let verdict = verdict(Task::Task1, &runs, RUST, "parent.stays");
    assert_eq!((verdict.status, verdict.marks), (Status::Partial, 1));
    assert!(verdict.losses[0].observed.contains("uts:[201] after setns(5, CLONE_NEWPID)"), "{:?}", verdict.losses);
    assert!(!verdict.losses[0].evidence.is_empty());
}

#[test]
fn a_parent_that_moves_before_it_forks_gives_child_1_nothing_of_its_own() {
    let mut people = people();
    people.parent = ProcessState { namespaces: namespaces(people.child1.namespaces["uts"], HOST), ..people.parent };
    let lost = lost(Task::Task1, &both(&people), C);
    assert_eq!(
        (lost.get("child1.uts"), lost.get("child2.uts"), lost.get("parent.stays")),
        (Some(&2), Some(&3), Some(&2))
    );
}

#[test]
fn where_the_parent_or_one_of_its_threads_goes_later_takes_nothing_from_child_1() {
    let mut runs = both(&people());
    for run in &mut runs {
        let birth = run.events.iter().position(|event| event.pid == 11).unwrap();
        for event in run.events.iter_mut().skip(birth).filter(|event| event.pid == 10) {
            event.state.namespaces.insert("uts".into(), 201);
        }
    }
    assert_eq!(lost(Task::Task1, &runs, C), expect([("parent.stays", 2)]));
    for event in runs.iter_mut().flat_map(|run| &mut run.events).filter(|event| event.pid == 10) {
        if event.state.namespaces["uts"] == 201 {
            event.state.thread = Some(19);
        }
    }
    assert_eq!(lost(Task::Task1, &runs, C), expect([]));
}

#[test]
fn a_child_2_that_child_1_made_was_not_attached() {
    let mut runs = both(&people());
    for event in runs.iter_mut().flat_map(|run| &mut run.events) {
        if event.pid == 12 {
            event.state.parent = 11;
        }
        if matches!(event.what, EventKind::Born { child: 12, .. }) {
            (event.pid, event.state) = (11, people().child1);
        }
    }
    assert_eq!(lost(Task::Task1, &runs, C).get("child2.pid"), Some(&1));
    assert_eq!(lost(Task::Task1, &runs, RUST).get("child2.pid"), None);
}

#[test]
fn a_clone_without_a_signal_for_the_parent_is_named_as_the_cause_of_the_zombie() {
    let mut runs = both(&people());
    runs[0].events.retain(|event| !(event.pid == 11 && matches!(event.what, EventKind::Reaped { .. })));
    let at = runs[0].events.iter().position(|event| matches!(event.what, EventKind::Born { child: 11, .. })).unwrap();
    let flags = "CLONE_NEWUTS|CLONE_NEWPID".to_owned();
    let clone = EventKind::Call { name: "clone".into(), args: [0; 6], decoded: flags, result: 3 };
    let event = Event { what: clone, ..runs[0].events[at].clone() };
    runs[0].events.insert(at + 1, event);
    assert_eq!(lost(Task::Task1, &runs, C), expect([("clean", 1)]));
    let clean = verdict(Task::Task1, &runs, C, "clean");
    assert!(clean.losses[0].observed.contains("clone(CLONE_NEWUTS|CLONE_NEWPID)"), "{:?}", clean.losses);
    assert!(clean.check.hints[1].contains("SIGCHLD"), "{:?}", clean.check.hints);
}

#[test]
fn a_program_in_which_nothing_ran_says_once_how_it_ended_and_what_it_said_first() {
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.ends(10, &people().parent, Some(11), None);
    film.run.end = End::Signaled(11);
    film.run.output.stderr =
        "namespace_prog: cannot clone: Operation not permitted\nnote: ask the administrator\n".into();
    let verdicts = judge(Task::Task1, &Rubric::of(Task::Task1).unwrap(), &[film.run], C);
    let told: Vec<&str> =
        verdicts.iter().flat_map(|verdict| &verdict.losses).map(|loss| loss.observed.as_str()).collect();
    let [first] = told.iter().filter(|text| text.contains("no process was seen")).collect::<Vec<_>>()[..] else {
        panic!("{told:?}")
    };
    assert!(first.contains("SIGSEGV") && first.contains("cannot clone"), "{first}");
    assert_eq!(verdicts.iter().map(|verdict| verdict.marks).sum::<u32>(), 0);
}

#[test]
fn child_1_must_live_until_child_2_is_done() {
    let cast = people();
    let mut runs = both(&cast);
    let ended = runs[0]
        .events
        .iter()
        .position(|event| event.pid == 11 && matches!(event.what, EventKind::Exited { .. }))
        .unwrap();
    runs[0].events[ended].at = Duration::from_millis(4);
    runs[1].events.retain(|event| !matches!(event.what, EventKind::Seen));
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([("child1.name", 1)]));
}

#[test]
fn what_is_right_only_while_a_tracer_watches_is_lost() {
    let mut cast = people();
    let good = traced(&cast);
    for (state, inner) in [(&mut cast.child1, vec![11, 3]), (&mut cast.child2, vec![12, 4])] {
        *state = state_of_host(&inner);
    }
    let lost = lost(Task::Task1, &[good, frozen(&cast)], RUST);
    for id in ["child1.uts", "child1.pid", "child1.name", "child2.pid", "child2.uts"] {
        assert!(lost.contains_key(id), "{id} of {lost:?}");
    }
}

fn state_of_host(inner: &[Pid]) -> ProcessState {
    state(inner, 10, HOST, HOST, BOX)
}

#[test]
fn a_crash_gives_no_marks_to_a_program_that_does_more_while_it_is_watched() {
    let mut good = traced(&people());
    let mut crashed = good.events.iter().rfind(|event| event.pid != good.root_pid).unwrap().clone();
    crashed.what = EventKind::Exited { code: 139, signal: Some(11) };
    good.events.push(crashed);
    let mut nothing = Film::new(Observer::Frozen, StdoutKind::Pipe).run;
    nothing.end = End::Exited(0);
    let verdict = verdict(Task::Task1, &[good, nothing], RUST, "child1.uts");
    assert_eq!((verdict.status, verdict.marks), (Status::Undecided, 0));
}

#[test]
fn runs_that_differ_without_proof_are_undecided_and_cost_nothing_for_sure() {
    let good = traced(&people());
    let mut nothing = Film::new(Observer::Frozen, StdoutKind::Pipe).run;
    nothing.end = End::Exited(0);
    let verdict = verdict(Task::Task1, &[good, nothing], RUST, "child1.uts");
    assert_eq!((verdict.status, verdict.marks, verdict.open), (Status::Undecided, 0, 2));
}

#[test]
fn what_waits_for_children_that_only_one_run_has_seen_is_as_undecided_as_they_are() {
    // In C, children that end without a flush say nothing on a pipe; their parent says all when it ends.
    let people = people();
    let good = traced(&people);
    let mut silent = Film::new(Observer::Frozen, StdoutKind::Pipe);
    let own = format!("Parent Process PID: 2\nParent Hostname: {BOX}\n{DASHES}\n");
    silent.wrote(10, &people.parent, &own.repeat(3));
    let runs = [good, silent.run];
    assert_eq!(lost(Task::Task1, &runs, C), expect([]));
    for id in ["child1.uts", "child2.pid", "parent.stays", "clean"] {
        let verdict = verdict(Task::Task1, &runs, C, id);
        assert_eq!((verdict.status, verdict.marks + verdict.open), (Status::Undecided, verdict.check.marks), "{id}");
    }
}

#[test]
fn a_run_that_the_observer_lost_takes_no_marks() {
    let mut runs = both(&people());
    runs[1] = Run { end: End::Unknown, events: Vec::new(), output: Output::default(), ..runs[1].clone() };
    let verdict = verdict(Task::Task1, &runs, RUST, "child2.uts");
    assert_eq!(verdict.status, Status::Passed);
    assert_eq!(verdict.by_run, [Some(Status::Passed), None]);
}

#[test]
fn a_zombie_a_survivor_and_a_bad_status_each_cost_half_of_clean() {
    let cast = people();
    let mut zombie = both(&cast);
    zombie[0].events.retain(|event| !(event.pid == 11 && matches!(event.what, EventKind::Reaped { .. })));
    let mut survivor = both(&cast);
    for run in &mut survivor {
        run.after.processes.push((3, "./namespace_prog".to_owned()));
    }
    let mut status = both(&cast);
    for run in &mut status {
        run.end = End::Exited(1);
    }
    for (story, runs) in [("zombie", zombie), ("survivor", survivor), ("status", status)] {
        assert_eq!(lost(Task::Task1, &runs, RUST), expect([("clean", 1)]), "{story}");
    }
}

#[test]
fn another_road_to_the_same_place_costs_the_method_only() {
    let mut runs = both(&people());
    runs[0].events.retain(|event| !matches!(&event.what, EventKind::Call { name, .. } if name == "pidfd_open"));
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([("method", 1)]));
    // A pidfd that came with the child is a pidfd.
    let clone =
        EventKind::Call { name: "clone".into(), args: [0; 6], decoded: "CLONE_PIDFD|CLONE_NEWPID".into(), result: 11 };
    runs[0].events.insert(3, Event { what: clone, ..runs[0].events[2].clone() });
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([]));
}

#[test]
fn a_line_whose_writer_was_not_seen_is_neither_true_nor_false() {
    let mut runs = both(&people());
    for run in &mut runs {
        for event in run.events.iter_mut().filter(|event| event.pid == 12) {
            if matches!(event.what, EventKind::Wrote { .. }) {
                (event.pid, event.state) = (crate::record::UNKNOWN_WRITER, ProcessState::default());
            }
        }
    }
    let output = verdict(Task::Task1, &runs, RUST, "output");
    assert_eq!(output.status, Status::Undecided, "{:?}", output.losses);
    // A lie of which the writer is known costs its mark all the same.
    for event in runs.iter_mut().flat_map(|run| &mut run.events).filter(|event| event.pid == 11) {
        if let EventKind::Wrote { text, .. } = &mut event.what {
            *text = text.replace("Child1 Process PID: 1", "Child1 Process PID: 7");
        }
    }
    let output = verdict(Task::Task1, &runs, RUST, "output");
    assert!(output.losses.iter().any(|loss| loss.part.contains("lines")), "{output:?}");
}

#[test]
fn a_false_line_costs_half_of_the_output_and_names_the_line() {
    let mut runs = both(&people());
    for run in &mut runs {
        for event in &mut run.events {
            if let EventKind::Wrote { text, .. } = &mut event.what {
                *text = text.replace("Child2 Process PID: 2", "Child2 Process PID: 4");
            }
        }
    }
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([("output", 1)]));
    let details = verdict(Task::Task1, &runs, RUST, "output").losses[0].details.clone();
    assert_eq!(details, ["line 11   - Child2 Process PID: 2   + Child2 Process PID: 4"]);
}

#[test]
fn nonsense_in_every_blank_does_not_hide_that_one_process_wrote_all() {
    let mut run = traced(&people());
    let parent = run.events.iter().find(|event| event.pid == run.root_pid).cloned().unwrap();
    for event in run.events.iter_mut() {
        if let EventKind::Wrote { text, .. } = &mut event.what {
            *text = text
                .lines()
                .map(|line| match line.split_once("PID: ") {
                    Some((label, _)) => format!("{label}PID: <pid>\n"),
                    None => format!("{line}\n"),
                })
                .collect();
            (event.pid, event.state) = (parent.pid, parent.state.clone());
        }
    }
    assert_eq!(lost(Task::Task1, &[run], C).get("output"), Some(&2));
}

#[test]
fn order_on_a_pipe_is_judged_for_rust_and_not_for_c() {
    let mut runs = both(&people());
    let wrote: Vec<usize> = (0..runs[1].events.len()).filter(|at| runs[1].events[*at].pid != 10).collect();
    let moved = runs[1].events.remove(wrote[0]);
    runs[1].events.push(moved);
    assert_eq!(lost(Task::Task1, &runs, RUST), expect([("output", 1)]));
    assert_eq!(lost(Task::Task1, &runs, C), expect([]));
    // The lab's own skeleton forks with text in the buffer: not even a remark.
    assert_eq!(verdict(Task::Task1, &runs, C, "output").remarks, Vec::<String>::new());
}

#[test]
fn an_unwritten_section_is_not_started_and_what_follows_is_blocked() {
    let People { parent, .. } = people();
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.tells("Parent", 10, &parent).ends(10, &parent, None, None);
    film.run.end = End::Exited(101);
    film.run.output.stderr =
        "thread 'main' panicked at src/main.rs:9:5:\nnot yet implemented: Lesson 1.a: create child 1".into();
    let verdicts = judge(Task::Task1, &Rubric::of(Task::Task1).unwrap(), &[film.run], RUST);
    assert_eq!(verdicts.iter().map(|verdict| verdict.marks).sum::<u32>(), 0);
    for verdict in &verdicts {
        let wanted = if verdict.check.lesson.as_deref() == Some("1.a") { Status::NotStarted } else { Status::Blocked };
        assert_eq!(verdict.status, wanted, "{}", verdict.check.id);
    }
}

/// The marks that a program gets which stops at `lesson` of `task`, and the status of each check that is not passed.
fn stopped_at(task: Task, mut runs: Vec<Run>, lesson: &str, pids: &[Pid]) -> (u32, Vec<Status>) {
    for run in &mut runs {
        run.events.retain(|event| !pids.contains(&event.pid));
        run.events.retain(|event| !matches!(event.what, EventKind::Born { child, .. } if pids.contains(&child)));
        run.samples.retain(|sample| !pids.contains(&sample.pid));
        run.end = End::Exited(101);
        run.output.stderr =
            format!("thread 'main' panicked at src/x.rs:9:5:\nnot yet implemented: Lesson {lesson}: x\n");
    }
    let verdicts = judge(task, &Rubric::of(task).unwrap(), &runs, RUST);
    assert!(verdicts.iter().all(|verdict| verdict.open == 0), "{verdicts:?}");
    (
        verdicts.iter().map(|v| v.marks).sum(),
        verdicts.iter().map(|v| v.status).filter(|s| *s != Status::Passed).collect(),
    )
}

#[test]
fn each_lesson_that_is_written_gives_its_marks_while_the_next_is_not() {
    let at_1b = stopped_at(Task::Task1, both(&people()).to_vec(), "1.b", &[12]);
    assert_eq!(at_1b.0, 6, "{:?}", at_1b.1);
    assert!(at_1b.1.iter().all(|status| matches!(status, Status::NotStarted | Status::Blocked)), "{:?}", at_1b.1);
    // Child 2 is created where it belongs, and stops before its first line: only a tracer sees it.
    let mut at_1c = both(&people());
    at_1c[1].events.retain(|event| event.pid != 12);
    at_1c[0].events.retain(|event| event.pid != 12 || matches!(event.what, EventKind::Exited { .. }));
    assert_eq!(stopped_at(Task::Task1, at_1c.to_vec(), "1.c", &[]).0, 10);
    let [_, b, c] = containers().map(|container| container.pid);
    assert_eq!(stopped_at(Task::Task2, vec![right2()], "2.b", &[b, c]).0, 8);
    assert_eq!(stopped_at(Task::Task2, vec![right2()], "2.c", &[c]).0, 16);
}

#[test]
fn a_mistake_in_an_earlier_lesson_is_told_while_a_later_one_is_not_written() {
    let mut cast = containers();
    cast[0].state.cwd = None;
    let mut run = task2_run(&cast, Some(50_000), 100_000);
    let c = cast[2].pid;
    run.events.retain(|event| event.pid != c);
    run.samples.clear();
    run.end = End::Exited(101);
    run.output.stderr = "thread 'main' panicked at src/x.rs:9:5:\nnot yet implemented: Lesson 2.c: x\n".into();
    let isolated = verdict(Task::Task2, &[run], RUST, "root.isolated");
    assert_eq!((isolated.status, isolated.marks), (Status::Partial, 1));
    assert!(isolated.losses[0].observed.contains("still outside"), "{:?}", isolated.losses);
}

#[test]
fn a_plain_todo_is_known_by_the_section_that_it_stands_in() {
    let mut rubric = Rubric::of(Task::Task1).unwrap();
    for check in &mut rubric.checks {
        check.place = match check.lesson.as_deref() {
            Some("1.a") => Some("task1-namespaces/src/main.rs:61".to_owned()),
            Some("1.b") => Some("task1-namespaces/src/main.rs:72".to_owned()),
            _ => None,
        };
    }
    let stopped = |place: &str, why: &str| {
        let mut run = Film::new(Observer::Traced, StdoutKind::Pty).run;
        run.output.stderr = format!("\nthread 'main' (812) panicked at task1-namespaces/src/{place}:5:\n{why}\n");
        unwritten_lessons(&[run], &rubric)
    };
    assert_eq!(stopped("main.rs:62", "not yet implemented"), ["1.a"]);
    assert_eq!(stopped("main.rs:75", "not implemented: later"), ["1.b"]);
    assert!(stopped("other.rs:75", "not yet implemented").is_empty());
    assert!(stopped("main.rs:62", "index out of bounds").is_empty());
}

#[test]
fn sleeping_and_killing_by_name_are_remarks() {
    let mut runs = both(&people());
    let parent = runs[0].events[0].clone();
    let sleep = EventKind::Call { name: "clock_nanosleep".into(), args: [0; 6], decoded: "1 s".into(), result: 0 };
    runs[0].events.insert(1, Event { what: sleep, ..parent.clone() });
    runs[0].events.insert(
        2,
        Event { pid: 15, what: EventKind::Exec { argv: vec!["/usr/bin/pkill".into(), "x".into()] }, ..parent },
    );
    let verdict = verdict(Task::Task1, &runs, RUST, "clean");
    assert_eq!((verdict.status, verdict.remarks.len()), (Status::Passed, 2));
}

// ---- task 2 ----

const SUM: &str = "107375219085276240";

/// One container of task 2: its pid, and what the kernel says of it.
struct Container {
    subtask: &'static str,
    pid: Pid,
    state: ProcessState,
}

fn containers() -> [Container; 3] {
    let inside = |inner: &[Pid], uts, pid| ProcessState {
        root: FileId { dev: 1, ino: 77 },
        cgroups: BTreeMap::from([(String::new(), "/".to_owned())]),
        ..state(inner, 10, uts, pid, BOX)
    };
    let mut b = inside(&[21, 6, 1], 202, 302);
    b.hostname = "new_hostname".to_owned();
    let mut c = inside(&[31, 8, 1], 203, 303);
    c.namespaces.insert("ipc".into(), 403);
    c.cgroups.insert(String::new(), "/limited".to_owned());
    [
        Container { subtask: "subtask1", pid: 20, state: inside(&[20, 5], HOST, HOST) },
        Container { subtask: "subtask2", pid: 21, state: b },
        Container { subtask: "subtask3", pid: 31, state: c },
    ]
}

/// A limit of one cgroup.
fn limit_of(cgroup: &str, quota: Option<u64>, period: u64, nr_periods: u64) -> CpuLimit {
    CpuLimit { cgroup: cgroup.to_owned(), quota_us: quota, period_us: period, nr_periods, nr_throttled: 0 }
}

fn task2_run(containers: &[Container; 3], quota: Option<u64>, period: u64) -> Run {
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.run.host.cpu_controller = Some("v2".to_owned());
    film.run.host.container_root = Some(FileId { dev: 1, ino: 77 });
    let runner = ProcessState {
        cgroups: BTreeMap::from([(String::new(), "/".to_owned())]),
        ..state(&[10, 2], 1, HOST, HOST, BOX)
    };
    let line = "_ _ _ _ _ _ _ _ _ _ _ _ _ _";
    for (name, container) in ["2a", "2b", "2c"].into_iter().zip(containers) {
        let Container { subtask, pid, state } = container;
        let argv = vec!["/container_prog".to_owned(), (*subtask).to_owned()];
        film.wrote(10, &runner, &format!("Output Subtask {name}\n"));
        film.push(10, &runner, EventKind::Born { child: *pid, child_state: Box::new(state.clone()) });
        film.push(*pid, state, EventKind::Exec { argv: argv.clone() });
        let own = state.inner_pids.last().copied().unwrap_or_default();
        film.wrote(*pid, state, &format!("Process PID: {own}\nChild Process PID: {}\n{line}\n", own + 1));
        let inner: Vec<Pid> = state.inner_pids.iter().map(|pid| pid + 1).collect();
        let child = ProcessState { inner_pids: inner, parent: *pid, ..state.clone() };
        film.push(*pid, state, EventKind::Born { child: pid + 1, child_state: Box::new(child) });
        film.wrote(*pid, state, &format!("Files/Directories in root directory:\nlib\n.\n..\n{line}\n"));
        if name == "2b" {
            film.wrote(*pid, state, &format!("Hostname within container: {}\n", state.hostname));
        }
        if name != "2a" {
            film.wrote(*pid, state, &format!("Computation Benchmark:\nTime Taken: 3 ms\nValue (Ignore): {SUM}\n"));
        }
        if name == "2b" {
            film.wrote(10, &runner, &format!("Hostname in the host: {BOX}\n"));
        }
        if name != "2c" {
            film.wrote(10, &runner, "______\n");
            continue;
        }
        let start = film.run.events.len() as u64;
        for look in 0..30_u64 {
            let share = if quota.is_some() { 0.5 } else { 1.0 };
            let periods = quota.map_or(0, |_| look);
            film.run.samples.push(Sample {
                at: Duration::from_millis(start + 100 * look),
                pid: *pid,
                argv: argv.clone(),
                state: state.clone(),
                cpu: Duration::from_millis(100 * look).mul_f64(share),
                limits: vec![limit_of("/limited", quota, period, periods), limit_of("/", None, 100_000, 0)],
            });
        }
    }
    film.run
}

fn right2() -> Run {
    task2_run(&containers(), Some(50_000), 100_000)
}

#[test]
fn a_right_task_2_loses_nothing_with_either_spelling_of_the_limit() {
    assert_eq!(lost(Task::Task2, &[right2()], RUST), expect([]));
    let other = task2_run(&containers(), Some(25_000), 50_000);
    let verdict = verdict(Task::Task2, std::slice::from_ref(&other), RUST, "limit.set");
    assert!(verdict.remarks.iter().any(|remark| remark.contains("25000 50000")));
    assert_eq!(lost(Task::Task2, &[other], RUST), expect([]));
}

#[test]
fn a_long_period_begins_and_ends_with_a_burst() {
    // Half a second in each second: 1.44 s of computing take 2.44 s.
    let mut long = task2_run(&containers(), Some(500_000), 1_000_000);
    let start = long.samples[0].at;
    long.samples.retain(|sample| sample.at - start <= Duration::from_millis(2400));
    for sample in &mut long.samples {
        let (whole, part) = ((sample.at - start).as_secs(), (sample.at - start).subsec_millis());
        sample.cpu = Duration::from_millis(500 * whole + u64::from(part.min(500)));
        sample.limits[0].nr_periods = whole;
    }
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&long), RUST), expect([]));
    for sample in &mut long.samples {
        sample.cpu = sample.at - start;
    }
    assert_eq!(lost(Task::Task2, &[long], RUST), expect([("limit.works", 2)]));
}

#[test]
fn half_of_all_cores_is_not_half_of_one() {
    let run = task2_run(&containers(), Some(100_000), 100_000);
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([("limit.set", 2), ("limit.works", 2), ("limit.all", 2)]));
}

/// The run in which the root does not hand on `cpu`, of a program that does not enable it.
fn without_controller() -> Run {
    let mut run = task2_run(&containers(), None, 100_000);
    run.host.cpu_enabled = false;
    run.cgroups_made = vec![":/limited".to_owned()];
    for sample in &mut run.samples {
        sample.limits = vec![limit_of("/", None, 100_000, 0)];
    }
    run
}

fn with_controller() -> Run {
    let mut run = right2();
    run.host.cpu_enabled = true;
    run
}

#[test]
fn a_controller_that_is_not_enabled_costs_two_marks_and_no_more() {
    let runs = [with_controller(), without_controller()];
    assert_eq!(lost(Task::Task2, &runs, C), expect([("limit.enabled", 2)]));
    let enabled = verdict(Task::Task2, &runs, C, "limit.enabled");
    assert!(enabled.losses[0].observed.contains("cpu.max"), "{:?}", enabled.losses);
}

#[test]
fn a_script_that_stops_for_want_of_the_controller_loses_the_same_two_marks() {
    let mut stopped = without_controller();
    let c = containers()[2].pid;
    stopped.events.retain(|event| event.pid != c && !matches!(event.what, EventKind::Born { child, .. } if child == c));
    stopped.samples.clear();
    stopped.after.cgroups = stopped.cgroups_made.clone();
    (stopped.end, stopped.stdout_kind) = (End::Exited(1), StdoutKind::Pipe);
    let runs = [with_controller(), stopped];
    assert_eq!(lost(Task::Task2, &runs, C), expect([("limit.enabled", 2)]));
    assert!(judge(Task::Task2, &Rubric::of(Task::Task2).unwrap(), &runs, C).iter().all(|verdict| verdict.open == 0));
}

#[test]
fn a_program_that_tries_no_limit_at_all_loses_all_of_it_on_every_machine() {
    let all = [("limit.set", 2), ("limit.enabled", 2), ("limit.works", 2), ("limit.all", 2)];
    let mut runs = [with_controller(), without_controller()];
    for run in &mut runs {
        run.cgroups_made.clear();
        for sample in &mut run.samples {
            sample.limits = vec![limit_of("/", None, 100_000, 0)];
        }
    }
    assert_eq!(lost(Task::Task2, &runs, C), expect(all));
    for run in &mut runs {
        run.host.cpu_controller = Some("v1".to_owned());
        run.host.cpu_enabled = false;
    }
    assert_eq!(lost(Task::Task2, &runs, C), expect(all));
}

#[test]
fn a_limit_of_v2_cannot_be_judged_where_the_controller_is_in_v1() {
    let mut runs = [with_controller(), without_controller()];
    for run in &mut runs {
        run.host.cpu_controller = Some("v1".to_owned());
        run.host.cpu_enabled = false;
        // What the script takes for the v2 tree is a plain directory there.
        run.cgroups_made = vec!["limited".to_owned()];
        for sample in &mut run.samples {
            sample.limits = vec![limit_of("/", None, 100_000, 0)];
        }
        run.end = End::Exited(1);
    }
    assert_eq!(lost(Task::Task2, &runs, C), expect([]));
    let rubric = Rubric::of(Task::Task2).unwrap();
    let skipped: Vec<Verdict> =
        judge(Task::Task2, &rubric, &runs, C).into_iter().filter(|verdict| verdict.open > 0).collect();
    let ids: Vec<&str> = skipped.iter().map(|verdict| verdict.check.id.as_str()).collect();
    assert_eq!(ids, ["limit.set", "limit.enabled", "limit.works", "limit.all", "clean"]);
    assert!(skipped.iter().all(|verdict| verdict.status == Status::Skipped));
    let reasons: Vec<&str> = skipped.iter().filter_map(|verdict| verdict.reason.as_deref()).collect();
    // Where it can be judged is told once.
    assert!(reasons[0].contains("virtual machine"), "{reasons:?}");
    assert_eq!(reasons[1], "for the same reason as limit.set");
}

#[test]
fn a_program_that_went_for_v1_and_stopped_is_judged_where_the_controller_is_in_v1() {
    let mut stopped = without_controller();
    let c = containers()[2].pid;
    stopped.events.retain(|event| event.pid != c);
    stopped.samples.clear();
    (stopped.host.cpu_controller, stopped.host.cpu_enabled) = (Some("v1".to_owned()), false);
    stopped.end = End::Exited(1);
    // The cgroup is removed before the observer's next look.
    stopped.cgroups_made.clear();
    stopped.after.cgroups.clear();
    stopped.output.stderr = "cannot write(\"/sys/fs/cgroup/cpu/mine/cgroup.procs\", \"0\"): ENOENT\n".to_owned();
    let verdicts = judge(Task::Task2, &Rubric::of(Task::Task2).unwrap(), &[stopped], RUST);
    assert!(verdicts.iter().all(|verdict| verdict.status != Status::Skipped), "{verdicts:#?}");
    assert!(verdicts.iter().any(|verdict| verdict.check.id == "root.filled" && verdict.lost() > 0));
}

#[test]
fn a_limit_on_2b_as_well_costs_a_mark() {
    let mut run = right2();
    let mut sample = run.samples[0].clone();
    (sample.pid, sample.at) = (containers()[1].pid, Duration::from_millis(9));
    sample.argv[1] = "subtask2".to_owned();
    sample.state = containers()[1].state.clone();
    sample.limits = vec![limit_of("/limited-b", Some(50_000), 100_000, 3), limit_of("/", None, 100_000, 0)];
    run.samples.insert(0, sample);
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([("limit.all", 1)]));
}

#[test]
fn a_repeated_line_of_2a_is_not_a_container_of_2b() {
    let mut run = right2();
    let [a, b, c] = containers().map(|container| container.pid);
    run.events.retain(|event| ![b, c].contains(&event.pid));
    // The child of 2a writes what it found in the buffer, once more.
    let mut again =
        run.events.iter().find(|event| event.pid == a && matches!(event.what, EventKind::Wrote { .. })).cloned();
    let event = again.as_mut().unwrap();
    event.pid = a + 1;
    run.events.extend(again);
    run.samples.clear();
    let verdict = verdict(Task::Task2, &[run], C, "pid.one");
    assert_eq!((verdict.status, verdict.losses.len()), (Status::Blocked, 0), "{:?}", verdict.losses);
}

#[test]
fn a_limit_that_counts_no_periods_does_not_work() {
    let mut run = right2();
    for limit in run.samples.iter_mut().flat_map(|sample| &mut sample.limits) {
        limit.nr_periods = 0;
    }
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([("limit.works", 2)]));
}

#[test]
fn more_than_half_a_core_is_seen_and_a_skipped_computation_too() {
    let (mut fast, mut idle) = (right2(), right2());
    for sample in &mut fast.samples {
        sample.cpu = sample.cpu.mul_f64(1.3);
    }
    for sample in &mut idle.samples {
        sample.cpu = Duration::from_millis(2);
    }
    assert_eq!(lost(Task::Task2, &[fast], RUST), expect([("limit.works", 2)]));
    assert_eq!(lost(Task::Task2, &[idle], RUST), expect([("limit.works", 2)]));
}

#[test]
fn a_program_that_joins_its_cgroup_late_and_a_runner_that_joins_it_too_cost_one_each() {
    let mut late = right2();
    let exec = late.events.iter().rposition(|event| matches!(event.what, EventKind::Exec { .. })).unwrap();
    late.events[exec].state.cgroups.insert(String::new(), "/".to_owned());
    assert_eq!(lost(Task::Task2, &[late], RUST), expect([("limit.all", 1)]));

    let mut runner = right2();
    let mut event = runner.events[0].clone();
    event.at = Duration::from_secs(9);
    event.state.cgroups.insert(String::new(), "/limited".to_owned());
    event.what = EventKind::Seen;
    runner.events.push(event);
    assert_eq!(lost(Task::Task2, &[runner], RUST), expect([("limit.all", 1)]));
}

#[test]
fn a_limit_that_came_late_works_from_then_on() {
    let mut run = right2();
    let (start, mut used) = (run.samples[0].at, Duration::ZERO);
    for sample in run.samples.iter_mut().take(8) {
        // Alone on its core, in the root: twice as fast as the rest.
        used = (sample.at - start).max(used);
        sample.limits = vec![limit_of("/", None, 100_000, 0)];
        sample.cpu = used;
    }
    for sample in run.samples.iter_mut().skip(8) {
        sample.cpu += used / 2;
    }
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([("limit.all", 1)]));
}

#[test]
fn the_number_of_a_dead_pid_namespace_makes_nobody_a_neighbour_of_2c() {
    let mut containers = containers();
    let reused = containers[1].state.namespaces["pid"];
    containers[2].state.namespaces.insert("pid".into(), reused);
    let mut run = task2_run(&containers, Some(50_000), 100_000);
    // 2b computed first, longer, and without a limit.
    let mut earlier = run.samples.last().cloned().unwrap();
    earlier.at = run.events[2].at;
    earlier.cpu += Duration::from_secs(9);
    (earlier.pid, earlier.state) = (containers[1].pid, containers[1].state.clone());
    earlier.limits = vec![limit_of("/", None, 100_000, 0)];
    run.samples.insert(0, earlier);
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([]));
}

#[test]
fn a_program_whose_loader_gave_up_has_shown_nothing() {
    let mut run = right2();
    let pids = containers().map(|container| container.pid);
    run.events.retain(|event| !pids.contains(&event.pid) || matches!(event.what, EventKind::Exec { .. }));
    run.samples.clear();
    let lost = lost(Task::Task2, &[run], RUST);
    for (id, marks) in [("root.filled", 4), ("root.isolated", 4), ("pid.one", 4), ("uts.isolated", 4), ("limit.set", 2)]
    {
        assert_eq!(lost.get(id), Some(&marks), "{id}");
    }
}

#[test]
fn entries_of_another_root_are_not_compared_with_container_root() {
    let mut run = right2();
    run.after.container_root = vec!["container_prog".to_owned()];
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&run), RUST), expect([("output", 1)]), "lib is not there");
    for event in run.events.iter_mut() {
        if event.state.root == (FileId { dev: 1, ino: 77 }) {
            event.state.root = FileId { dev: 1, ino: 78 };
        }
    }
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([]));
}

#[test]
fn what_a_helper_tells_before_and_between_the_blocks_is_no_part_of_them() {
    let mut run = right2();
    let runner = run.events[0].state.clone();
    let at = |run: &Run, text: &str| {
        run.events
            .iter()
            .position(|event| matches!(&event.what, EventKind::Wrote { text: t, .. } if t.contains(text)))
            .unwrap()
    };
    for (place, text) in [("Subtask 2a", "'lib/x' -> 'container_root/lib/x'\n"), ("Subtask 2c", "mkdir: created\n")] {
        let nth = at(&run, place);
        let what = EventKind::Wrote { stream: 1, text: text.to_owned() };
        run.events.insert(nth, Event { at: run.events[nth].at, pid: 15, state: runner.clone(), what });
    }
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&run), C), expect([]));
    assert!(verdict(Task::Task2, std::slice::from_ref(&run), C, "output").remarks[0].contains("2 lines"));
    // The same from container_prog itself is an entry of its root, or too much.
    let nth = at(&run, "Subtask 2a");
    run.events[nth - 1].pid = containers()[0].pid;
    assert_eq!(lost(Task::Task2, &[run], C).get("output"), Some(&1));
}

#[test]
fn where_no_cpu_controller_can_be_had_the_limit_is_skipped_and_not_lost() {
    let mut run = right2();
    run.host.cpu_controller = None;
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&run), RUST), expect([]));
    for id in ["limit.set", "limit.enabled", "limit.works", "limit.all"] {
        let verdict = verdict(Task::Task2, std::slice::from_ref(&run), RUST, id);
        assert_eq!((verdict.status, verdict.marks), (Status::Skipped, 0), "{id}");
        assert_eq!(verdict.open, verdict.check.marks);
    }
}

#[test]
fn each_missing_namespace_costs_its_own_marks() {
    let mut no_uts = containers();
    no_uts[1].state.namespaces.insert("uts".into(), HOST);
    let mut run = task2_run(&no_uts, Some(50_000), 100_000);
    run.after.hostname = "new_hostname".to_owned();
    assert_eq!(lost(Task::Task2, &[run], RUST), expect([("uts.isolated", 3)]));

    let mut no_fork = containers();
    no_fork[1].state.namespaces.insert("pid".into(), HOST);
    no_fork[1].state.inner_pids = vec![21, 6];
    let run = task2_run(&no_fork, Some(50_000), 100_000);
    let verdict = verdict(Task::Task2, std::slice::from_ref(&run), RUST, "pid.one");
    assert_eq!((verdict.status, verdict.marks), (Status::Partial, 2));
    assert!(verdict.losses[0].observed.contains("only its children"), "{:?}", verdict.losses);

    let mut no_ipc = containers();
    no_ipc[2].state.namespaces.insert("ipc".into(), HOST);
    assert_eq!(lost(Task::Task2, &[task2_run(&no_ipc, Some(50_000), 100_000)], RUST), expect([("ipc.isolated", 2)]));
}

#[test]
fn the_hosts_root_and_a_working_directory_outside_are_no_isolation() {
    let mut outside = containers();
    outside[0].state.cwd = None;
    assert_eq!(lost(Task::Task2, &[task2_run(&outside, Some(50_000), 100_000)], RUST), expect([("root.isolated", 2)]));
    let mut no_chroot = containers();
    no_chroot[2].state.root = FileId { dev: 1, ino: 1 };
    let lost = lost(Task::Task2, &[task2_run(&no_chroot, Some(50_000), 100_000)], RUST);
    assert_eq!(lost, expect([("root.filled", 1), ("root.isolated", 1)]));
}

#[test]
fn a_wrong_sum_and_a_wrong_unit_are_false_lines() {
    let changed = |from: &str, to: &str| {
        let mut run = right2();
        for event in &mut run.events {
            if let EventKind::Wrote { text, .. } = &mut event.what {
                *text = text.replace(from, to);
            }
        }
        run
    };
    assert_eq!(lost(Task::Task2, &[changed(SUM, "7")], RUST), expect([("output", 1)]));
    // The samples say 1450 ms of CPU time: 3 ms is taken for true only while nothing longer was seen.
    let slow = changed("Time Taken: 3 ms", "Time Taken: 1440000 ms");
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&slow), RUST), expect([("output", 1)]));
    // The course's program is given: what it prints is not the student's.
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&slow), C), expect([]));
    assert_eq!(verdict(Task::Task2, &[slow], C, "output").remarks, Vec::<String>::new());
}

#[test]
fn what_is_left_behind_is_named_and_nothing_at_all_is_no_cleanliness() {
    let mut run = right2();
    run.after.cgroups.push("/limited".to_owned());
    let verdict = verdict(Task::Task2, std::slice::from_ref(&run), RUST, "clean");
    assert_eq!((verdict.status, verdict.marks), (Status::Partial, 1));
    assert!(verdict.losses[0].observed.contains("cgroup /limited"));
    let empty = Film::new(Observer::Traced, StdoutKind::Pty).run;
    let marks: u32 =
        judge(Task::Task2, &Rubric::of(Task::Task2).unwrap(), &[empty], RUST).iter().map(|v| v.marks).sum();
    assert_eq!(marks, 0);
}

#[test]
fn a_process_on_its_way_out_is_not_said_to_have_left_its_cgroup() {
    let mut run = right2();
    let mut dying = run.samples.last().cloned().unwrap();
    dying.at += Duration::from_millis(100);
    dying.state.cgroups.insert(String::new(), "/".to_owned());
    dying.limits = vec![limit_of("/", None, 100_000, 0)];
    run.samples.push(dying.clone());
    assert_eq!(lost(Task::Task2, std::slice::from_ref(&run), RUST), expect([]));
    // One that lives on there did leave.
    dying.at += Duration::from_millis(100);
    dying.cpu += Duration::from_millis(50);
    run.samples.extend([dying.clone(), Sample { at: dying.at * 2, ..dying }]);
    assert!(lost(Task::Task2, &[run], RUST).contains_key("limit.set"));
}

#[test]
fn one_reason_for_two_parts_is_told_once() {
    let mut film = Film::new(Observer::Traced, StdoutKind::Pty);
    film.tells("Child1", 10, &people().parent);
    let verdict = verdict(Task::Task1, &[film.run], RUST, "child1.name");
    assert_eq!(verdict.losses.len(), 1);
    assert_eq!((verdict.losses[0].marks, verdict.losses[0].part.as_str()), (2, "lives, name"));
}

// ---- recorded runs ----

/// Both runs of a program of the zoo, as `--record` wrote them.
fn recorded(name: &str) -> Vec<Run> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(name);
    let read = |nth: u32| {
        serde_json::from_str(&std::fs::read_to_string(folder.join(format!("run-{nth}.json"))).unwrap()).unwrap()
    };
    let is_tool = ["task3", "task4"].iter().any(|task| name.starts_with(task));
    let runs = crate::grading::usual_runs(if is_tool { Task::Task3 } else { Task::Task1 });
    (1..=runs).map(read).collect()
}

#[test]
fn recorded_runs_get_the_marks_that_the_zoo_expects() {
    assert_eq!(lost(Task::Task1, &recorded("task1-right"), C), expect([]));
    assert_eq!(lost(Task::Task1, &recorded("task1-joins-pid-after-fork"), C), expect([("child2.pid", 4)]));
    assert_eq!(lost(Task::Task2, &recorded("task2-right"), C), expect([]));
}

#[test]
fn both_recorded_runs_alone_show_the_mistake() {
    for run in recorded("task1-joins-pid-after-fork") {
        assert_eq!(lost(Task::Task1, &[run], C), expect([("child2.pid", 4)]));
    }
}

#[test]
fn the_sample_in_the_handbook_is_what_comes_out() {
    let rubric = Rubric::in_edition(Task::Task1, false).unwrap();
    let runs = recorded("task1-joins-pid-after-fork");
    let grade = crate::grading::Grade {
        verdicts: judge(Task::Task1, &rubric, &runs, C),
        rubric,
        submission: "~/24m0001_assignment3 (C)".to_owned(),
        student: String::new(),
        notes: Vec::new(),
        style: C,
        seed: 0x7f3a,
        runs,
        build_error: None,
        started: std::time::SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(800),
        again: "sudo target/release/grade task1 --submission /home/cs695/24m0001_assignment3".to_owned(),
    };
    let text = crate::report::Format::Text.render(&grade, 1).unwrap();
    let text = anstream::adapter::strip_str(&text).to_string();
    let handbook = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grading.md");
    let handbook = std::fs::read_to_string(handbook).unwrap();
    assert!(handbook.contains(&format!("```text\n{text}```\n")), "docs/grading.md should show:\n{text}");
}

#[test]
fn a_program_that_ran_out_of_time_has_lost_on_a_quiet_machine_and_is_undecided_on_a_crowded_one() {
    let graded = |crowding: f64| {
        let mut runs = recorded("task1-right");
        for run in &mut runs {
            run.events.clear();
            (run.output, run.crowding) = (Output::default(), crowding);
            run.end = End::TimedOut("asleep in pause".to_owned());
        }
        let verdicts = judge(Task::Task1, &Rubric::in_edition(Task::Task1, false).unwrap(), &runs, C);
        verdicts.into_iter().find(|verdict| verdict.check.id == "child1.uts").unwrap()
    };
    assert_eq!(graded(1.0).status, Status::Failed);
    let crowded = graded(20.0);
    assert_eq!((crowded.status, crowded.open), (Status::Undecided, crowded.check.marks));
    assert!(crowded.reason.unwrap().contains("asleep in pause, on a machine that was 20 times too busy"));
}
