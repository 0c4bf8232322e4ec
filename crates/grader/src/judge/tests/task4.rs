//! The orchestrator's judge on a recorded session with one thing changed.

use super::*;
use crate::record::steps::{Answer, Link, Look, Mount, Process, SessionRecord, Step, StepKind};
use crate::session::task4::number_of;

/// The session of a right orchestrator in bash, after `change`, and the marks that it loses.
fn changed(change: impl Fn(&mut SessionRecord)) -> BTreeMap<String, u32> {
    let mut runs = recorded("task4-right");
    for run in &mut runs {
        change(&mut run.session);
    }
    lost(Task::Task4, &runs, C)
}

fn look<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut Look {
    match session.steps.iter_mut().find(|step| step.name == name).map(|step| &mut step.did) {
        Some(StepKind::Look(look)) => look,
        other => panic!("{name}: {other:?}"),
    }
}

fn found<'a>(session: &'a mut SessionRecord, name: &str) -> &'a mut Process {
    match session.steps.iter_mut().find(|step| step.name == name).map(|step| &mut step.did) {
        Some(StepKind::Found(Some(process))) => process,
        other => panic!("{name}: {other:?}"),
    }
}

fn answer<'a>(session: &'a mut SessionRecord, probe: &str) -> &'a mut Answer {
    let probes = session.steps.iter_mut().filter_map(|step| match &mut step.did {
        StepKind::Probes(probes) => Some(probes),
        _ => None,
    });
    &mut probes.flatten().find(|known| known.name == probe).unwrap_or_else(|| panic!("no {probe}")).answer
}

fn silent(session: &mut SessionRecord, probe: &str) {
    *answer(session, probe) = Answer::Silence;
}

fn says(session: &mut SessionRecord, probe: &str, text: &str) {
    *answer(session, probe) = Answer::Said(text.to_owned());
}

/// The host's network namespace.
fn of_host() -> u64 {
    recorded("task4-right")[0].host.namespaces["net"]
}

#[test]
fn the_recorded_session_of_a_right_orchestrator_loses_nothing() {
    assert_eq!(changed(|_| ()), expect([]));
}

#[test]
fn who_does_not_reach_the_page_costs_his_check_and_what_rests_on_it() {
    assert_eq!(changed(|s| silent(s, "visit from the host")), expect([("reach.host", 2)]));
    let outside = changed(|s| silent(s, "visit from outside"));
    assert_eq!(outside, expect([("reach.outside", 4), ("apart.counter", 3)]));
    // Somebody else answers at that port.
    let other = changed(|s| says(s, "visit from the host", "HTTP/1.0 404 Not Found\nno such page"));
    assert_eq!(other, expect([("reach.host", 2)]));
}

#[test]
fn a_greeting_with_another_number_is_fixed_text() {
    for text in ["HTTP/1.0 200 OK\nWelcome! 1 visits so far", "HTTP/1.0 200 OK\nWelcome!"] {
        assert_eq!(changed(|s| says(s, "visit from the host", text)), expect([("count.next", 3)]), "{text}");
    }
    let told = |text: &'static str| changed(move |s| says(s, "visit from the host", text));
    assert_eq!(told("HTTP/1.0 502 Bad Gateway\nno counter"), expect([("count.next", 3)]));
}

#[test]
fn a_page_with_all_numbers_on_it_tells_none() {
    let all: String = (1..200).map(|number| format!("{number} ")).collect();
    let lost = changed(|s| {
        for who in ["outside", "the host"] {
            says(s, &format!("visit from {who}"), &format!("HTTP/1.0 200 OK\n{all}"));
        }
    });
    assert_eq!(lost, expect([("count.next", 3)]));
    // Other numbers may stand around it, and more of them from visit to visit.
    let right = changed(|s| {
        for (who, more) in [("outside", "2026-11-29 10:15"), ("the host", "2026-11-29 10:16, again")] {
            let next = number_of(answer(s, &format!("counter before the visit from {who}"))).unwrap();
            says(s, &format!("visit from {who}"), &format!("HTTP/1.0 200 OK\n{more}: visitor {next} of task 4"));
        }
    });
    assert_eq!(right, expect([]));
}

#[test]
fn a_container_that_only_the_order_of_the_failures_kept_costs_its_part() {
    let lost = changed(|s| {
        let mut hindered = look(s, "end").clone();
        hindered.processes.push(found(s, "page").clone());
        s.steps.push(Step {
            name: "end with a fault".into(),
            at: Duration::ZERO,
            did: StepKind::Look(Box::new(hindered)),
        });
    });
    assert_eq!(lost, expect([("down.gone", 1)]));
}

#[test]
fn containers_and_their_network_are_judged_without_their_services() {
    let lost = changed(|s| {
        for name in ["page", "counter"] {
            let step = s.steps.iter_mut().find(|step| step.name == name).unwrap();
            step.name = format!("container of the {name}");
        }
        for who in ["outside", "the host"] {
            says(s, &format!("visit from {who}"), "HTTP/1.0 200 OK\nstands in for the page 198.51.100.7");
            silent(s, &format!("counter before the visit from {who}"));
        }
    });
    assert_eq!(lost, expect([("count.next", 5), ("count.asked", 3), ("up.again", 2)]));
    let published =
        changed(|s| says(s, "outside asks port 8080", "HTTP/1.0 200 OK\nstands in for the counter 198.51.100.7"));
    assert_eq!(published, expect([("apart.counter", 3)]));
}

#[test]
fn lessons_that_are_written_earn_their_marks_before_the_later_ones_are() {
    let lesson = |unwritten: &'static str, has_network: bool| {
        changed(move |s| {
            for step in &mut s.steps {
                if let StepKind::Command(run) = &mut step.did {
                    run.output.stderr =
                        format!("thread 'main' panicked: not yet implemented: Lesson {unwritten}: write it\n");
                }
                if ["page", "counter"].contains(&step.name.as_str()) {
                    step.name = format!("container of the {}", step.name);
                }
            }
            for who in ["outside", "the host"] {
                says(s, &format!("visit from {who}"), "HTTP/1.0 200 OK\nstands in for the page 198.51.100.7");
                silent(s, &format!("counter before the visit from {who}"));
                silent(s, &format!("visit from {who} again"));
                if !has_network {
                    silent(s, &format!("visit from {who}"));
                }
            }
            if !has_network {
                silent(s, "page calls internet");
                silent(s, "counter calls internet");
            }
            s.steps.retain(|step| step.name != "end");
        })
    };
    let earned = |lost: &BTreeMap<String, u32>| 30 - lost.values().sum::<u32>();
    let first = lesson("4.b", false);
    assert_eq!((earned(&first), first.get("apart.services")), (4, None), "{first:?}");
    let second = lesson("4.c", true);
    assert_eq!(earned(&second), 15, "{second:?}");
}

#[test]
fn a_visit_that_counts_twice_or_never_costs_its_part() {
    for by in [0, 2] {
        let lost = changed(|s| {
            let before = number_of(answer(s, "counter before the visit from outside")).unwrap();
            says(s, "counter after the visit from outside", &format!("HTTP/1.0 200 OK\n{}", before + by));
        });
        assert_eq!(lost, expect([("count.next", 2)]), "{by}");
    }
}

#[test]
fn without_a_counter_the_same_greeting_is_made_up_and_anything_else_is_not() {
    let told = |text: &'static str| changed(move |s| says(s, "visit from outside without a counter", text));
    let as_before = "HTTP/1.0 200 OK\nWelcome! 4 visits so far, yours included.\n";
    assert_eq!(told(as_before), expect([("count.asked", 3)]));
    assert_eq!(told("HTTP/1.0 200 OK\nSorry, I cannot count today.\n"), expect([]));
    assert_eq!(changed(|s| silent(s, "visit from outside without a counter")), expect([]));
}

#[test]
fn services_of_the_host_or_of_one_container_are_not_apart() {
    let on_host = |name: &'static str| {
        changed(move |s| {
            found(s, name).state.namespaces.insert("net".to_owned(), of_host());
        })
    };
    for name in ["page", "counter"] {
        assert_eq!(on_host(name), expect([("apart.services", 1), ("internet", 1)]), "{name}");
    }
    let together = changed(|s| {
        let inode = found(s, "page").state.namespaces["net"];
        found(s, "counter").state.namespaces.insert("net".to_owned(), inode);
    });
    assert_eq!(together, expect([("apart.services", 2)]));
    let bare = changed(|s| {
        let root = recorded("task4-right")[0].host.root;
        for name in ["page", "counter"] {
            found(s, name).state.root = root;
        }
    });
    assert_eq!(bare, expect([("apart.services", 4)]));
}

#[test]
fn a_port_that_leads_to_the_counter_is_a_way_in_and_one_that_leads_elsewhere_is_not() {
    let at = |text: &'static str| changed(move |s| says(s, "outside asks port 8080", text));
    assert_eq!(at("HTTP/1.0 200 OK\n17"), expect([("apart.counter", 3)]));
    assert_eq!(at("HTTP/1.0 200 OK\nhello"), expect([]));
}

#[test]
fn the_internet_is_reached_when_it_sees_the_host() {
    assert_eq!(changed(|s| silent(s, "counter calls internet")), expect([("internet", 1)]));
    assert_eq!(changed(|s| says(s, "page calls internet", "web 192.168.1.2")), expect([("internet", 1)]));
}

#[test]
fn what_down_leaves_is_found_by_kind_and_only_what_belongs_to_the_deployment_counts() {
    let rule = |text: &'static str| changed(move |s| look(s, "end").rules.push(text.to_owned()));
    for left in [
        "nat -A POSTROUTING -s 192.168.2.2/32 -o eth0 -j MASQUERADE",
        "nat -A PREROUTING -p tcp --dport 3000 -j DNAT --to-destination 10.0.0.1:80",
        "filter -A FORWARD -i c1-outside -j DROP",
    ] {
        assert_eq!(rule(left), expect([("down.gone", 1)]), "{left}");
    }
    for general in ["filter FORWARD policy DROP", "filter -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"] {
        assert_eq!(rule(general), expect([]), "{general}");
    }
    let link = |name: &str, kind: &str| Link { name: name.into(), kind: Some(kind.into()), ..Link::default() };
    let linked =
        |link: Link| changed(move |s| look(s, "end").networks.get_mut(&of_host()).unwrap().links.push(link.clone()));
    assert_eq!(linked(link("c1-outside", "veth")), expect([("down.gone", 1)]));
    assert_eq!(linked(link("br0", "bridge")), expect([]));
    let mount = Mount { point: "/x/rootfs/proc".into(), kind: "proc".into(), source: "proc".into() };
    assert_eq!(changed(|s| look(s, "end").mounts.push(mount.clone())), expect([("down.gone", 1)]));
    assert_eq!(changed(|s| look(s, "end").files.push(".containers/c2".into())), expect([("down.gone", 1)]));
    assert_eq!(changed(|s| look(s, "end").files.push("task3/.containers/.lock".into())), expect([]));
    let netns = Mount { point: "/run/netns".into(), kind: "tmpfs".into(), source: "tmpfs".into() };
    assert_eq!(changed(|s| look(s, "end").mounts.push(netns.clone())), expect([]));
    let process = |root| {
        changed(move |s| {
            let mut left = found(s, "page").clone();
            left.state.root = root;
            look(s, "end").processes.push(left);
        })
    };
    assert_eq!(process(recorded("task4-right")[0].host.root), expect([("down.gone", 1)]));
    let of_a_container = found(&mut recorded("task4-right")[0].session.clone(), "page").state.root;
    assert_eq!(process(of_a_container), expect([("down.gone", 2)]));
    let answers = changed(|s| says(s, "visit from outside at the end", "HTTP/1.0 200 OK\nstill here"));
    assert_eq!(answers, expect([("down.gone", 1)]));
}

#[test]
fn a_second_up_that_brings_no_page_or_an_old_number_costs_its_check() {
    assert_eq!(changed(|s| silent(s, "visit from outside again")), expect([("up.again", 2)]));
    let old = changed(|s| says(s, "visit from outside again", "HTTP/1.0 200 OK\nWelcome! 4711 visits so far"));
    assert_eq!(old, expect([("up.again", 2)]));
}

#[test]
fn a_session_that_was_cut_short_gives_nothing_for_what_was_not_reached() {
    let lost = changed(|s| {
        let end = s.steps.iter().position(|step| step.name == "down").unwrap();
        s.steps.truncate(end);
        s.cut = Some("the time for the whole session was up".to_owned());
    });
    assert_eq!(lost, expect([("down.gone", 5), ("up.again", 2)]));
}

#[test]
fn a_counter_may_answer_with_the_value_before_it_counts_or_after() {
    let lost = changed(|session| {
        let probes = session.steps.iter_mut().filter_map(|step| match &mut step.did {
            StepKind::Probes(probes) => Some(probes),
            _ => None,
        });
        for probe in probes.flatten().filter(|probe| probe.name.starts_with("counter ")) {
            let Some(number) = number_of(&probe.answer) else { continue };
            probe.answer = Answer::Said(format!("HTTP/1.0 200 OK\n{}", number - 1));
        }
    });
    assert_eq!(lost, expect([]));
}

#[test]
fn a_page_that_waits_for_its_counter_has_been_reached() {
    let lost = changed(|session| {
        for who in ["outside", "the host"] {
            *answer(session, &format!("visit from {who}")) = Answer::Connected;
        }
    });
    assert_eq!(lost, expect([("count.next", 5), ("count.asked", 3), ("up.again", 2)]));
}
