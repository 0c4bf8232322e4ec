//! The conductor's judge on a recorded session with one thing changed.

use super::*;
use crate::record::steps::{Answer, Link, Look, Mount, Process, SessionRecord, StepKind};
use crate::session::task3::{EG, EGG, MARK};

/// The session of a right conductor in bash, after `change`, and the marks that it loses.
fn changed(change: impl Fn(&mut SessionRecord)) -> BTreeMap<String, u32> {
    let mut runs = recorded("task3-right");
    for run in &mut runs {
        change(&mut run.session);
    }
    lost(Task::Task3, &runs, C)
}

fn did<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut StepKind {
    &mut session.steps.iter_mut().find(|step| step.name == name).unwrap().did
}

fn found<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut Process {
    match did(session, name) {
        StepKind::Found(Some(process)) => process,
        other => panic!("{name}: {other:?}"),
    }
}

fn look<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut Look {
    match did(session, name) {
        StepKind::Look(look) => look,
        other => panic!("{name}: {other:?}"),
    }
}

fn printed<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut String {
    match did(session, name) {
        StepKind::Command(command) => &mut command.output.stdout,
        other => panic!("{name}: {other:?}"),
    }
}

fn answer(session: &mut SessionRecord, probe: &str, answer: Answer) {
    let probes = session.steps.iter_mut().filter_map(|step| match &mut step.did {
        StepKind::Probes(probes) => Some(probes),
        _ => None,
    });
    probes.flatten().find(|known| known.name == probe).unwrap().answer = answer;
}

fn silent(session: &mut SessionRecord, probe: &str) {
    answer(session, probe, Answer::Silence);
}

fn reached(session: &mut SessionRecord, probe: &str) {
    answer(session, probe, Answer::Said("somebody".to_owned()));
}

/// The host's namespace of this kind.
fn of_host(kind: &str) -> u64 {
    recorded("task3-right")[0].host.namespaces[kind]
}

/// A link of the host, or of `eg`, in the look after `addnetwork eg`.
fn link_of_eg(session: &mut SessionRecord, inside: bool, change: impl Fn(&mut Link)) {
    let inode = if inside { found(session, EG).state.namespaces["net"] } else { of_host("net") };
    let network = look(session, "eg wired").networks.get_mut(&inode).unwrap();
    change(network.links.iter_mut().find(|link| link.name.starts_with(EG)).unwrap());
}

#[test]
fn the_recorded_session_of_a_right_conductor_loses_nothing() {
    assert_eq!(changed(|_| ()), expect([]));
}

#[test]
fn a_namespace_that_is_the_hosts_costs_its_check_and_what_exec_could_have_joined() {
    for (kind, marks, joined) in [("uts", 1, 1), ("ipc", 1, 1), ("mnt", 1, 1)] {
        let lost = changed(|session| {
            for who in [EG, EGG, "exec's"] {
                found(session, who).state.namespaces.insert(kind.to_owned(), of_host(kind));
            }
        });
        assert_eq!(lost, expect([(&format!("run.{kind}"), marks), ("exec.joins", joined)]), "{kind}");
    }
}

#[test]
fn two_containers_in_one_namespace_have_none_of_their_own() {
    let lost = changed(|session| {
        let inode = found(session, EG).state.namespaces["ipc"];
        found(session, EGG).state.namespaces.insert("ipc".to_owned(), inode);
    });
    assert_eq!(lost, expect([("run.ipc", 1)]));
}

#[test]
fn a_host_that_is_renamed_costs_a_mark_even_when_the_namespaces_are_right() {
    assert_eq!(changed(|s| look(s, "inside").shot.hostname = "renamed-inside".into()), expect([("run.uts", 1)]));
}

#[test]
fn exec_in_four_of_five_namespaces_loses_the_fifth_and_nothing_else() {
    for kind in ["uts", "pid", "net", "mnt", "ipc"] {
        let lost = changed(|session| {
            found(session, "exec's").state.namespaces.insert(kind.to_owned(), of_host(kind));
        });
        assert_eq!(lost, expect([("exec.joins", 1)]), "{kind}");
    }
    let root = recorded("task3-right")[0].host.root;
    assert_eq!(changed(|session| found(session, "exec's").state.root = root), expect([("exec.root", 2)]));
}

#[test]
fn a_file_of_one_container_that_another_sees_costs_a_mark() {
    let lost = changed(|session| {
        let pid = found(session, EGG).pid;
        let egg = look(session, "inside").processes.iter_mut().find(|process| process.pid == pid).unwrap();
        egg.entries.push(MARK.to_owned());
    });
    assert_eq!(lost, expect([("run.root", 1)]));
    assert_eq!(changed(|s| found(s, "eg again").entries.push(MARK.to_owned())), expect([("stop.again", 1)]));
}

#[test]
fn proc_is_judged_by_whose_processes_it_shows_and_by_where_it_is_seen() {
    assert_eq!(changed(|s| found(s, EG).proc_of = Some(of_host("pid"))), expect([("run.mounts", 1)]));
    let mount = Mount { point: "/x/rootfs/proc".into(), kind: "proc".into(), source: "proc".into() };
    assert_eq!(changed(|s| look(s, "eg runs").mounts.push(mount.clone())), expect([("run.mounts", 1)]));
    // Another mount of a container on the host may be, as long as `stop` takes it away.
    let dev = Mount { kind: "tmpfs".into(), ..mount };
    assert_eq!(changed(|s| look(s, "eg runs").mounts.push(dev.clone())), expect([]));
    let left = |point: &'static str| {
        let mount = Mount { point: point.to_owned(), ..dev.clone() };
        changed(move |s| look(s, "end").mounts.push(mount.clone()))
    };
    assert_eq!(left("/home/student/submission/task3/.containers/x/rootfs/dev"), expect([("stop.gone", 1)]));
    assert_eq!(left("/run/netns/eg"), expect([("stop.gone", 1)]));
    // Where iproute2 keeps all names of namespaces: it belongs to no container.
    assert_eq!(left("/run/netns"), expect([]));
    assert_eq!(changed(|s| found(s, EG).dev_null = false), expect([("run.mounts", 1)]));
}

#[test]
fn each_property_of_the_veth_pair_has_marks_of_its_own() {
    let named = |name: &'static str| changed(move |s| link_of_eg(s, true, |link| link.name = name.into()));
    assert_eq!(named("eg-in"), expect([("net.pair", 2)]));
    let address =
        |text: &'static str| changed(move |s| link_of_eg(s, false, |link| link.addresses = vec![text.into()]));
    assert_eq!(address("192.168.1.1/24"), expect([]));
    for wrong in ["192.168.1.3/24", "192.168.1.1/16", "192.168.1.1/32", "10.0.1.1/24", "192.168.2.1/24"] {
        assert_eq!(address(wrong), expect([("net.pair", 2)]), "{wrong}");
    }
    for inside in [true, false] {
        let more = changed(|s| link_of_eg(s, inside, |link| link.addresses.push("192.168.1.9/32".into())));
        assert_eq!(more, expect([("net.pair", 2)]), "an address more");
    }
    // The settings may ask for another network.
    let elsewhere = changed(|s| {
        for inside in [true, false] {
            link_of_eg(s, inside, |link| {
                link.addresses.iter_mut().for_each(|address| *address = address.replace("192.168.", "10.0."));
            });
        }
    });
    assert_eq!(elsewhere, expect([]));
    assert_eq!(changed(|s| link_of_eg(s, false, |link| link.up = false)), expect([("net.pair", 1)]));
}

#[test]
fn a_container_that_gets_out_without_being_let_out_costs_a_mark_wherever_it_is_seen() {
    let attempts =
        ["eg calls internet", "eg pings internet", "eg calls internet beside egg", "eg calls internet beside its peer"];
    for attempt in attempts {
        assert_eq!(changed(|session| reached(session, attempt)), expect([("net.internet", 1)]), "{attempt}");
    }
}

#[test]
fn a_no_without_a_yes_over_the_same_path_gives_no_marks() {
    // Nobody gets out: that eg does not says nothing.
    assert_eq!(changed(|session| silent(session, "egg calls internet")), expect([("net.internet", 2)]));
    // eg is cut off: that nobody reaches it says nothing either.
    let cut_off = changed(|session| silent(session, "eg pings host"));
    assert_eq!(cut_off, expect([("net.reach", 2), ("net.internet", 1), ("net.apart", 2)]));
    // No third container is connected: nothing is known of it.
    let alone = changed(|session| silent(session, "host calls alt"));
    assert_eq!(alone, expect([("net.apart", 1)]));
}

#[test]
fn peers_are_judged_in_each_direction_and_only_if_they_were_apart_before() {
    assert_eq!(changed(|session| silent(session, "egg calls its peer")), expect([("net.peer", 1)]));
    let open = changed(|session| reached(session, "eg calls egg"));
    assert_eq!(open, expect([("net.apart", 1), ("net.peer", 1)]));
    assert_eq!(changed(|session| reached(session, "alt calls eg")), expect([("net.apart", 1)]));
}

#[test]
fn a_published_port_counts_when_the_server_behind_it_answers() {
    assert_eq!(changed(|s| silent(s, "host calls the port of alt")), expect([("net.expose", 1)]));
    assert_eq!(changed(|s| reached(s, "outside calls the port of alt")), expect([("net.expose", 1)]));
    assert_eq!(changed(|s| reached(s, "outside calls alt too early")), expect([("net.expose", 2)]));
}

#[test]
fn what_stop_leaves_is_found_by_kind_and_only_what_belongs_to_a_container_counts() {
    let rule = |text: &'static str| changed(move |s| look(s, "end").rules.push(text.to_owned()));
    for left in ["nat -A POSTROUTING -s 192.168.2.0/24 -j MASQUERADE", "filter -A FORWARD -i eg-outside -j DROP"] {
        assert_eq!(rule(left), expect([("stop.gone", 1)]), "{left}");
    }
    for general in ["filter FORWARD policy DROP", "filter -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"] {
        assert_eq!(rule(general), expect([]), "{general}");
    }
    assert_eq!(changed(|s| look(s, "end").files.push(".containers/web".into())), expect([("stop.gone", 1)]));
    let link = Link { name: "web-outside".into(), kind: Some("veth".into()), ..Link::default() };
    let linked = changed(|s| look(s, "end").networks.get_mut(&of_host("net")).unwrap().links.push(link.clone()));
    assert_eq!(linked, expect([("stop.gone", 1)]));
    let after = |stopped: &'static str, who: &'static str, outside: bool| {
        changed(move |session| {
            let mut left = found(session, who).clone();
            if outside {
                left.state.namespaces.insert("pid".into(), of_host("pid"));
            }
            look(session, stopped).processes.push(left);
        })
    };
    assert_eq!(after("eg stopped", EG, false), expect([("stop.gone", 1)]));
    assert_eq!(after("busy stopped", "exec busy's", false), expect([("stop.gone", 1)]));
    // A command of exec that never was in the PID namespace is charged to exec, and cannot be found by stop.
    assert_eq!(after("busy stopped", "exec busy's", true), expect([]));
}

#[test]
fn whoever_else_ends_with_a_container_costs_a_mark() {
    for step in ["bystander itself", EGG] {
        let lost = changed(|session| {
            let pid = found(session, step).pid;
            look(session, "eg stopped").processes.retain(|process| process.pid != pid);
        });
        assert_eq!(lost, expect([("stop.others", 1)]), "{step}");
    }
    assert_eq!(changed(|s| silent(s, "egg calls internet without eg")), expect([("stop.others", 1)]));
}

#[test]
fn the_banner_stands_first_on_every_command_and_tables_have_headers() {
    for name in ["images", "exec", "run eg", "stop eg"] {
        let lost = changed(|session| {
            let text = printed(session, name);
            *text = text.replacen("CS695 Conductor that manages containers", "", 1);
        });
        assert_eq!(lost, expect([("output", 1)]), "{name}");
    }
    assert_eq!(changed(|s| *printed(s, "images") = printed(s, "images").replace("Size", "")), expect([("output", 1)]));
    // Colours are no difference.
    assert_eq!(changed(|s| *printed(s, "ps none") = printed(s, "ps none").replace("No", "\u{1b}[1mNo")), expect([]));
}

#[test]
fn a_session_that_is_cut_short_gives_nothing_for_what_did_not_happen() {
    let lost = changed(|session| {
        let at = session.steps.iter().position(|step| step.name == "addnetwork eg").unwrap();
        session.steps.truncate(at);
        session.cut = Some("the time for the whole session was up".to_owned());
    });
    // Not run.names, run.default and all before it, but what follows.
    assert_eq!(lost.values().sum::<u32>(), 6 + 4 + 2 + 2 + 2 + 2 + 1 + 1 + 5 + 1 + 1, "{lost:?}");
}

#[test]
fn what_was_not_seen_since_time_was_up_is_undecided() {
    let mut runs = recorded("task3-right");
    let session = &mut runs[0].session;
    let at = session.steps.iter().position(|step| step.name == "addnetwork eg").unwrap();
    session.steps.truncate(at);
    session.cut = Some("the time for the whole session was up".to_owned());
    session.broken_off = true;
    assert_eq!(lost(Task::Task3, &runs, C), expect([]));
    assert_eq!(verdict(Task::Task3, &runs, C, "net.pair").status, Status::Undecided);
    assert_eq!(verdict(Task::Task3, &runs, C, "exec.joins").status, Status::Passed);
}

#[test]
fn a_command_that_took_too_long_decides_nothing_of_its_own_check() {
    let mut runs = recorded("task3-right");
    let session = &mut runs[0].session;
    silent(session, "eg calls its peer");
    match did(session, "peer") {
        StepKind::Command(peer) => peer.end = Some(crate::record::End::TimedOut("asleep in wait4".to_owned())),
        other => panic!("{other:?}"),
    }
    assert_eq!(lost(Task::Task3, &runs, C), expect([]));
    assert_eq!(verdict(Task::Task3, &runs, C, "net.peer").status, Status::Undecided);
}

#[test]
fn where_nothing_ran_what_was_typed_first_is_told_once() {
    let mut runs = recorded("task3-right");
    runs[0].session.steps.retain(|step| {
        let kept = ["images none", "ps none", "images", "rmi"].contains(&step.name.as_str());
        kept || matches!(&step.did, StepKind::Command(_)) && step.name.starts_with("build")
    });
    match did(&mut runs[0].session, "build") {
        StepKind::Command(build) => {
            build.end = Some(crate::record::End::Exited(1));
            build.output.stderr = "debootstrap: cannot find it\nconductor: failed\n".to_owned();
        }
        other => panic!("{other:?}"),
    }
    let rubric = Rubric::of(Task::Task3).unwrap();
    let verdicts = judge(Task::Task3, &rubric, &runs, C);
    assert_eq!(verdicts.iter().map(|verdict| verdict.marks).sum::<u32>(), 1, "the banner");
    let first = &verdicts[0];
    assert_eq!((first.check.id.as_str(), first.status), ("run.uts", Status::Blocked));
    let told = first.reason.as_deref().unwrap();
    assert!(
        told.contains("build small`: it ended with exit status 1 and said \"debootstrap: cannot find it\""),
        "{told}"
    );
    for other in verdicts.iter().skip(1).filter(|verdict| verdict.check.id != "output") {
        // By the first, or by what waits for the first.
        assert!(["run.uts", "run.net", "net.pair", "net.reach"].contains(&other.blocked_by[0].as_str()), "{other:?}");
    }
}

#[test]
fn what_run_and_exec_change_on_the_host_costs_a_mark() {
    let mounted = |at: &'static str, point: &'static str, kind: &'static str| {
        let mount = Mount { point: point.into(), kind: kind.into(), source: kind.into() };
        changed(move |s| look(s, at).mounts.push(mount.clone()))
    };
    assert_eq!(mounted("eg runs", "/dev/pts", "devpts"), expect([("run.mounts", 1)]));
    assert_eq!(mounted("after exec", "/home/student/x/rootfs/proc", "proc"), expect([("exec.clean", 1)]));
    let chmod = changed(|s| {
        look(s, "eg runs").modes.insert("/dev/null".into(), 0o755);
    });
    assert_eq!(chmod, expect([("run.mounts", 1)]));
    let of_host = changed(|s| {
        let interface = s.addresses.interface.clone();
        found(s, EG).sys_links.push(interface);
    });
    assert_eq!(of_host, expect([("run.mounts", 1)]));
    assert_eq!(changed(|s| found(s, EG).root_mode = 0o700), expect([("run.usable", 1)]));
}

#[test]
fn exec_is_judged_by_its_working_directory_its_output_and_what_works_beside_it() {
    assert_eq!(changed(|s| found(s, "exec's").state.cwd = None), expect([("exec.root", 1)]));
    assert_eq!(changed(|s| printed(s, "exec shows").push_str("done\n")), expect([("exec.clean", 1)]));
    assert_eq!(changed(|s| *printed(s, "exec beside") = printed(s, "ps none").clone()), expect([("exec.busy", 1)]));
    let busy = changed(|s| {
        let inode = found(s, "busy").state.namespaces["net"];
        look(s, "busy wired").networks.remove(&inode);
    });
    assert_eq!(busy, expect([("exec.busy", 1)]));
    // The exit status is no promise of the assignment: a remark. In the Rust edition it is one.
    let mut runs = recorded("task3-right");
    match did(&mut runs[0].session, "exec fails") {
        StepKind::Command(run) => run.end = Some(crate::record::End::Exited(0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(lost(Task::Task3, &runs, C), expect([]));
    assert!(verdict(Task::Task3, &runs, C, "exec.clean").remarks.iter().any(|remark| remark.contains("exit status")));
    assert_eq!(verdict(Task::Task3, &runs, RUST, "exec.clean").marks, 0);
}

#[test]
fn a_name_is_taken_until_stop() {
    let taken = |step: &'static str| {
        changed(move |s| {
            let second = found(s, "twice").clone();
            *did(s, step) = StepKind::Found(Some(Box::new(second)));
        })
    };
    for step in ["twice while it runs", "twice when it has ended"] {
        assert_eq!(taken(step), expect([("run.names", 1)]), "{step}");
    }
    let hidden = changed(|s| *printed(s, "ps ended") = printed(s, "ps ended").replace("twice", ""));
    assert_eq!(hidden, expect([("run.names", 1)]));
}

#[test]
fn what_the_rust_lesson_lists_is_asked_of_a_rust_submission_alone() {
    let runs = recorded("task3-right");
    let rust = lost(Task::Task3, &runs, RUST);
    // A script has no host name for egg, masks nothing, and leaves lo down until there is a network.
    for id in ["run.uts", "run.mounts", "run.usable"] {
        assert_eq!(rust.get(id), Some(&1), "{id}: {rust:?}");
    }
}

#[test]
fn an_unwritten_lesson_is_told_as_not_started() {
    let mut runs = recorded("task3-right");
    let before = lost(Task::Task3, &runs, RUST);
    runs[0].session.steps.retain(|step| !step.name.starts_with("exec"));
    let mut exec = crate::record::steps::CommandRun::default();
    exec.output.stderr = "thread 'main' panicked:\nnot yet implemented: Lesson 3.b: join\n".to_owned();
    exec.output.stdout = "CS695 Conductor that manages containers\n".to_owned();
    runs[0].session.steps.push(crate::record::steps::Step {
        name: "exec".into(),
        at: Duration::default(),
        did: StepKind::Command(exec),
    });
    for id in ["exec.joins", "exec.root", "exec.clean"] {
        assert_eq!(verdict(Task::Task3, &runs, RUST, id).status, Status::NotStarted, "{id}");
    }
    let mut lost = lost(Task::Task3, &runs, RUST);
    lost.retain(|id, _| !before.contains_key(id));
    assert_eq!(lost, expect([("exec.joins", 5), ("exec.root", 2), ("exec.clean", 1), ("exec.busy", 1)]));
}

#[test]
fn a_script_is_told_of_subtasks_and_a_workspace_of_lessons() {
    let hints =
        |rust: bool| Rubric::in_edition(Task::Task3, rust).unwrap().checks.into_iter().flat_map(|check| check.hints);
    assert!(hints(true).any(|hint| hint.contains("the section of Lesson 3.b")));
    assert!(hints(false).any(|hint| hint.contains("Subtask 3b")) && !hints(false).any(|hint| hint.contains("Lesson")));
}

#[test]
fn in_rust_a_mask_that_stays_and_streams_that_are_not_connected_are_told() {
    let told = |change: &dyn Fn(&mut Process)| {
        let mut runs = recorded("task3-right");
        for run in &mut runs {
            change(found(&mut run.session, EG));
        }
        let rubric = Rubric::in_edition(Task::Task3, true).unwrap();
        let verdicts = judge(Task::Task3, &rubric, &runs, RUST);
        let usable = verdicts.into_iter().find(|verdict| verdict.check.id == "run.usable").unwrap();
        usable.losses.into_iter().map(|loss| loss.observed).collect::<String>()
    };
    let right = told(&|eg| (eg.null_mode, eg.own_session) = (Some(0o666), Some(true)));
    assert!(!right.contains("umask") && !right.contains("streams"), "{right}");
    let masked = told(&|eg| (eg.null_mode, eg.own_session) = (Some(0o644), Some(true)));
    assert!(masked.contains("umask") && !masked.contains("streams"), "{masked}");
    let unconnected = told(&|eg| (eg.null_mode, eg.own_session) = (Some(0o666), Some(false)));
    assert!(!unconnected.contains("umask") && unconnected.contains("streams"), "{unconnected}");
}
