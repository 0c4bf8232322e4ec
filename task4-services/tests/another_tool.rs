//! Tests with another conductor, which has only the assignment's commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::fs;
use std::net::Ipv4Addr;

use netlab::netns::HOST;
use netlab::{World, ask, kill, number, text, typed, wait_for};

const C2: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);

/// The tool's source with one text replaced.
fn changed(tool: &str, from: &str, to: &str) -> String {
    assert_eq!(tool.matches(from).count(), 1, "{from} stands in the tool once");
    tool.replace(from, to)
}

/// Makes the tool accept ports only in the notation of the lab's older edition.
fn container_port_first(tool: String) -> String {
    changed(&tool, "    [[ $ports == *:* ]] && ports=${ports#*:}-${ports%:*}\n", "")
}

#[test]
#[ignore = "needs root: make test"]
fn it_is_driven_by_the_lines_of_the_assignment_and_nothing_of_it_is_left() {
    let world = World::with_another_tool(|tool| tool);
    let before = world.snapshot();
    let said = world.orchestrate("up");
    let mut lines = typed(&said);
    lines.retain(|line| !line.starts_with("cp -r "));
    assert_eq!(
        lines,
        [
            "./conductor.sh build service-image",
            "./conductor.sh run service-image c1 -- sleep infinity &",
            "./conductor.sh run service-image c2 -- sleep infinity &",
            "./conductor.sh addnetwork c1 --internet --expose 3000:8080",
            "./conductor.sh addnetwork c2 --internet",
            "./conductor.sh peer c1 c2",
            "./conductor.sh exec c2 -- bash /counter-service/run.sh &",
            "./conductor.sh exec c1 -- bash /external-service/run.sh http://192.168.2.2:8080/ &",
        ]
    );
    assert!(said.contains("Open http://10.9.0.2:3000/ here, http://10.9.0.2:3000/ from anywhere\n"), "{said}");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);
    assert_eq!(number(&ask(&world.host, HOST, 3000, "/")), 2);

    let (standing, processes) = (world.snapshot(), world.belonging());
    assert_eq!(typed(&world.orchestrate("up")), [""; 0]);
    assert_eq!((world.snapshot(), world.belonging()), (standing, processes), "up again changes nothing");
    assert_eq!(world.orchestrate("status").matches(" well ").count(), 2);
    let tried = world.orchestrate("test");
    assert!(tried.contains("no    c1 answers at http://127.0.0.1:3000/health: the tool does without"), "{tried}");
    assert_eq!(tried.matches("  ok    ").count(), 7, "{tried}");
    assert!(world.orchestrate("logs c2").contains("c2  counter-service: listening on port 8080\n"));

    world.orchestrate("down --rmi");
    assert_eq!(world.snapshot(), before);
    wait_for("the commands behind it to end", || world.belonging().is_empty());
    assert!(world.conductor("images").contains("No images found"));
}

#[test]
#[ignore = "needs root: make test"]
fn what_died_is_started_again_and_down_works_in_any_state() {
    let world = World::with_another_tool(|tool| tool);
    let before = world.snapshot();
    world.orchestrate("down");
    world.orchestrate("up");
    kill(world.process("/counter-service/counter-service"));
    wait_for("it to be missed", || ask(&world.host, C2, 8080, "/get_counter").is_none());
    assert_eq!(typed(&world.orchestrate("up")), ["./conductor.sh exec c2 -- bash /counter-service/run.sh &"]);
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);

    for round in 0..2 {
        kill(world.process("sleep"));
        let status = || text(&world.orchestrator("status").output().unwrap());
        wait_for("the container to be seen ended", || status().contains(" ended "));
        if round == 0 {
            assert!(typed(&world.orchestrate("up")).iter().any(|line| line.starts_with("./conductor.sh stop c")));
            assert!(ask(&world.outside, HOST, 3000, "/").is_some_and(|(status, _)| status == 200));
        }
    }
    world.orchestrate("down");
    assert_eq!(world.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn killed_while_a_command_of_it_is_at_work_up_goes_on_from_there_and_down_leaves_nothing() {
    let world = World::with_another_tool(|tool| tool);
    assert!(world.survives_a_kill_at(0, false, "down --rmi"), "while it builds");
    world.orchestrate("up");
    world.orchestrate("down");
    assert_eq!((0..).take_while(|&nth| world.survives_a_kill_at(nth, false, "down")).count(), 9);
    // Its `run` copies the image first: that takes a while, and must not be started twice.
    for nth in [0, 1] {
        assert!(world.survives_a_kill_at(nth, true, "down"));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn its_run_may_detach_its_ps_may_hide_what_has_ended_and_its_exec_may_hide_codes() {
    let world = World::with_another_tool(|tool| {
        let tool = changed(&tool, "\nrun) run \"$@\" ;;", "\nrun) run \"$@\" & ;;");
        let tool = changed(&tool, "\nexec) execute \"$@\" ;;", "\nexec) (execute \"$@\"); true ;;");
        let rows = r#"[[ -d $container ]] || continue"#;
        changed(&tool, rows, &format!("{rows}; [[ -d /proc/$(cat \"$container/pid\") ]] || continue"))
    });
    let before = world.snapshot();
    world.orchestrate("up");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);
    kill(world.process("sleep"));
    wait_for("one to be listed no more", || {
        world.conductor("ps").lines().filter(|row| row.starts_with('c')).count() < 2
    });
    world.orchestrate("up");
    assert!(ask(&world.outside, HOST, 3000, "/").is_some_and(|(status, _)| status == 200));
    kill(world.process("sleep"));
    wait_for("one to be listed no more", || {
        world.conductor("ps").lines().filter(|row| row.starts_with('c')).count() < 2
    });
    world.orchestrate("down");
    assert_eq!(world.snapshot(), before);
    wait_for("all to end", || world.belonging().is_empty());
}

#[test]
#[ignore = "needs root: make test"]
fn a_tool_of_the_older_edition_gets_ports_in_its_own_spelling_from_the_spec() {
    let world = World::with_another_tool(container_port_first);
    let said = world.refused("up");
    assert!(said.starts_with("service-orchestrator: cannot finish step 4, connect c1: "), "{said}");
    assert!(said.contains("addnetwork c1 --internet --expose 3000:8080: it ended with exit status: 1"), "{said}");
    let default = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deployment.toml")).unwrap();
    let spec = world.folder().join("older.toml");
    fs::write(&spec, changed(&default, "3000:8080", "8080-3000")).unwrap();
    let files = format!("--spec {} --files {}", spec.display(), env!("CARGO_MANIFEST_DIR"));
    let said = world.orchestrate(&format!("up {files}"));
    assert!(typed(&said).contains(&"./conductor.sh addnetwork c1 --internet --expose 8080-3000"), "{said}");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);
    world.orchestrate(&format!("down {files}"));
}

#[test]
#[ignore = "needs root: make test"]
fn a_command_that_does_nothing_and_says_that_all_is_well_is_found_out() {
    for (command, step, seen) in [
        ("build) build \"$@\"", "step 1, build image service-image", "`images` does not list it"),
        ("addnetwork) add_network \"$@\"", "step 4, connect c1", "cannot ask for the address of c1: it has none"),
        ("peer) peer \"$@\"", "step 4, connect c1", "c1 gets no answer from c2 by ping"),
    ] {
        let (word, _) = command.split_once(' ').unwrap();
        let world = World::with_another_tool(|tool| changed(&tool, command, &format!("{word} true")));
        let said = world.refused("up");
        assert!(said.contains(step) && said.contains("it ended with code 0, but ") && said.contains(seen), "{said}");
        world.orchestrate("down");
    }
    let keeps =
        |tool: String| changed(&tool, "\nstop) stop \"$@\"", "\nstop) [[ $2 == --really ]] && stop \"$1\"; true");
    let world = World::with_another_tool(keeps);
    world.orchestrate("up");
    let said = world.refused("down");
    for name in ["c1", "c2"] {
        let told = format!("cannot stop {name}: it ended with code 0, and the container is still there");
        assert!(said.contains(&told), "both are tried: {said}");
        world.conductor(&format!("stop {name} --really"));
    }
    world.orchestrate("down");
}
