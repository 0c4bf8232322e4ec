//! Tests of the assignment's deployment, on a host in its own network namespace with an outside network. Every "cannot
//! reach" follows a "can reach" by the same path, so that a broken network is not taken for isolation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netlab::netns::{HOST, INTERNET};
use netlab::{World, ask, kill, number, text, typed, wait_for};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const C1: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const C2: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);

#[test]
#[ignore = "needs root: make test"]
fn the_page_is_reached_from_everywhere_and_the_counter_only_by_the_page_and_the_host() {
    let world = World::new();
    world.orchestrate("up");
    let first = number(&ask(&world.host, HOST, 3000, "/"));
    assert_eq!(number(&ask(&world.host, LOCAL, 3000, "/")), first + 1, "the host by 127.0.0.1");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), first + 2, "another machine");
    assert_eq!(ask(&world.host, C2, 8080, "/get_counter"), Some((200, (first + 3).to_string())), "the counter itself");
    assert_eq!(ask(&world.outside, HOST, 8080, "/get_counter"), None, "no port leads there");
    // Another machine with a route to the veth pairs: the host side answers, the container does not.
    world.outside.run(&format!("ip route add 192.168.0.0/16 via {HOST}"));
    assert!(world.outside.pings(Ipv4Addr::new(192, 168, 2, 1)));
    assert_eq!(ask(&world.outside, C2, 8080, "/get_counter"), None);
    assert!(!world.outside.pings(C2));
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), first + 3, "nobody else was counted");
    world.orchestrate("down");
}

#[test]
#[ignore = "needs root: make test"]
fn both_reach_the_internet_behind_the_address_of_the_host() {
    let world = World::new();
    let _server = world.outside.serve(80);
    world.orchestrate("up");
    for name in ["c1", "c2"] {
        assert_eq!(world.inside(name, &format!("cat < /dev/tcp/{INTERNET}/80")), HOST.to_string(), "{name}");
    }
    let said = world.orchestrate("test");
    assert!(said.contains("ok    c1 reaches what") && said.contains("ok    c2 reaches what"), "{said}");
    assert!(!said.contains("LOST") && !said.contains("skip"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn up_again_changes_nothing_and_down_leaves_nothing() {
    let world = World::new();
    let before = world.snapshot();
    let said = world.orchestrate("up");
    for line in [
        "$ ./conductor.sh build service-image\n",
        "$ ./conductor.sh run service-image c1 -- sleep infinity &\n",
        "$ ./conductor.sh addnetwork c1 --internet --expose 3000:8080\n",
        "$ ./conductor.sh peer c1 c2\n",
        "$ ./conductor.sh exec c1 -- bash /external-service/run.sh http://192.168.2.2:8080/ &\n",
        "Peer Link\n",
        "Open http://127.0.0.1:3000/ here, http://10.9.0.2:3000/ from anywhere\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let (standing, processes, cgroups) = (world.snapshot(), world.belonging(), world.cgroups());
    assert!(cgroups.len() >= 2, "each container has one: {cgroups:?}");
    let again = world.orchestrate("up");
    assert_eq!(typed(&again), [""; 0]);
    assert_eq!((world.snapshot(), world.belonging()), (standing, processes));
    assert_eq!(ask(&world.host, C2, 8080, "/get_counter"), Some((200, "1".to_owned())), "it counts visits only");
    world.orchestrate("down");
    assert_eq!(world.snapshot(), before);
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()), "{cgroups:?}");
    wait_for("the commands behind it to end", || world.belonging().is_empty());
    assert!(world.conductor("images").contains("service-image"), "the image stays for the next time");
    world.orchestrate("down --rmi");
    assert!(world.conductor("images").contains("No images found"));
    assert_eq!(world.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_missing_counter_is_reported_with_its_cause_and_up_restarts_it() {
    let world = World::new();
    world.orchestrate("up");
    assert_eq!(number(&ask(&world.host, LOCAL, 3000, "/")), 1);
    let page = world.process("/external-service/external-service");
    kill(world.process("/counter-service/counter-service"));
    let mut answer = None;
    wait_for("the counter to be missed", || {
        answer = ask(&world.host, LOCAL, 3000, "/");
        // At the moment of its death the cause is different: an open connection is reset.
        answer.as_ref().is_some_and(|(status, told)| *status == 502 && told.contains("Connection refused"))
    });
    let (_, told) = answer.unwrap();
    assert!(told.contains("http://192.168.2.2:8080/"), "{told}");
    assert!(world.orchestrator("status").output().unwrap().stdout.starts_with(b"Service "));
    let said = text(&world.orchestrator("status").output().unwrap());
    assert!(said.contains("c2           no answer    192.168.2.2") && said.contains("c1           well"), "{said}");
    let said = world.orchestrate("up");
    assert_eq!(typed(&said), ["./conductor.sh exec c2 -- bash /counter-service/run.sh &"]);
    assert_eq!(number(&ask(&world.host, LOCAL, 3000, "/")), 1, "a new counter");
    assert_eq!(world.process("/external-service/external-service"), page, "the page recovered by itself");

    // The container itself.
    kill(world.process("sleep"));
    wait_for("the containers to be seen ended", || {
        text(&world.orchestrator("status").output().unwrap()).contains(" ended ")
    });
    world.orchestrate("up");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 2, "one of both was made anew, and they know each other");
}

#[test]
#[ignore = "needs root: make test"]
fn a_counter_that_went_without_a_word_costs_one_visitor_an_answer_and_no_more() {
    let world = World::new();
    world.orchestrate("up");
    // Concurrent visits: the page keeps a connection to the counter for each.
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| number(&ask(&world.host, HOST, 3000, "/")));
        }
    });
    // With the link down, the page does not notice the counter's end.
    world.host.run("ip link set c2-outside down");
    world.conductor("stop c2");
    world.orchestrate("up");
    let answers: Vec<u16> = (0..8).map(|_| ask(&world.host, HOST, 3000, "/").unwrap().0).collect();
    assert_eq!(answers[1..], [200; 7], "{answers:?}");
}

#[test]
#[ignore = "needs root: make test"]
fn killed_while_a_command_is_at_work_up_goes_on_from_there_and_down_leaves_nothing() {
    let world = World::new();
    // Without an image, the first line builds it; that takes long only the first time, then the layers are cached.
    for then_up in [false, true] {
        assert!(world.survives_a_kill_at(0, then_up, "down --rmi"));
    }
    world.orchestrate("up");
    world.orchestrate("down");
    for then_up in [true, false] {
        let lines = (0..).take_while(|&nth| world.survives_a_kill_at(nth, then_up, "down")).count();
        assert_eq!(lines, 9, "each line of the assignment had its turn");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn killed_at_any_moment_up_goes_on_from_there_and_down_leaves_the_host_as_it_was() {
    let world = World::new();
    let before = world.snapshot();
    let begin = Instant::now();
    world.orchestrate("up");
    let whole = begin.elapsed();
    world.orchestrate("down --rmi");
    assert_eq!(world.snapshot(), before);
    let mut seed = std::process::id();
    for round in 0..6 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let moment = whole.mul_f64(f64::from(seed >> 16) / f64::from(1 << 16));
        let case = format!("round {round}, killed after {moment:?} of {whole:?}");
        let mut killed = world.orchestrator("up").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        // nsenter(1) has executed the orchestrator: only that is killed, and its children keep running.
        killed.kill().unwrap();
        killed.wait().unwrap();
        if round % 3 == 0 {
            world.orchestrate("up");
            assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1, "{case}");
        }
        world.orchestrate("down --rmi");
        assert_eq!(world.snapshot(), before, "{case}");
        wait_for(&case, || world.belonging().is_empty());
        assert!(world.conductor("ps").contains("No containers found"), "{case}");
        assert!(world.conductor("images").contains("No images found"), "{case}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn down_killed_at_any_moment_is_finished_by_the_next() {
    let world = World::new();
    let before = world.snapshot();
    for moment in [5, 20, 60, 120, 200] {
        world.orchestrate("up");
        let mut killed = world.orchestrator("down").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        killed.kill().unwrap();
        killed.wait().unwrap();
        world.orchestrate("down");
        assert_eq!(world.snapshot(), before, "killed after {moment} ms");
        wait_for("all to end", || world.belonging().is_empty());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_step_that_fails_is_named_and_what_stands_can_be_taken_down() {
    let world = World::new();
    let before = world.snapshot();
    let listener = world.host.serve(3000);
    let said = world.refused("up");
    assert!(said.starts_with("service-orchestrator: cannot finish step 4, connect c1: "), "{said}");
    assert!(said.contains("cannot do ./conductor.sh addnetwork c1 --internet --expose 3000:8080: "), "{said}");
    assert!(said.ends_with("; `up` goes on from there, `down` removes what stands"), "{said}");
    drop(listener);
    assert_eq!(world.orchestrate("up").matches("./conductor.sh run ").count(), 0, "it went on from there");
    world.orchestrate("down");
    assert_eq!(world.snapshot(), before);

    let spec = world.folder().join("wrong.toml");
    let deployment = "image = \"service-image\"\n[[service]]\nname = \"only\"\nfiles = \"web\"\nport = 8080\n\
        health = \"/\"\nstart = [\"bash\", \"-c\", \"echo no such page >&2; exit 7\"]\n";
    fs::write(&spec, deployment).unwrap();
    let words = |action: &str| format!("{action} --spec {}", spec.display());
    let said = world.refused(&words("up"));
    assert!(said.contains("cannot finish step 3, copy the files of only: ") && said.contains("`make build` fills it"));
    fs::create_dir(world.folder().join("web")).unwrap();
    let said = world.refused(&words("up"));
    assert!(said.contains("cannot finish step 6, start the service of only: "), "{said}");
    assert!(said.contains("exit status: 7, saying \"no such page\""), "{said}");
    world.orchestrate(&words("down --rmi"));
    fs::remove_file(&spec).unwrap();
    fs::remove_dir(world.folder().join("web")).unwrap();
    assert_eq!(world.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn another_deployment_is_a_file() {
    let world = World::new();
    let spec = world.folder().join("web.toml");
    // One service without internet access and with its own port: the page without a counter.
    let deployment = "image = \"service-image\"\n[[service]]\nname = \"web\"\nfiles = \"external-service\"\nport = 8080\n\
        health = \"/health\"\nexpose = [\"8888:8080\"]\n\
        start = [\"bash\", \"/external-service/run.sh\", \"http://{web}:9/\"]\n";
    fs::write(&spec, deployment).unwrap();
    let folder = format!("{}/external-service", env!("CARGO_MANIFEST_DIR"));
    world.host.run(&format!("cp -r {folder} {}", world.folder().display()));
    let words = |action: &str| format!("{action} --spec {}", spec.display());
    let said = world.orchestrate(&words("up --explain"));
    assert!(
        said.contains("# a veth pair to the host") && said.contains("addnetwork web --expose 8888:8080\n"),
        "{said}"
    );
    assert!(said.contains("(no NAT)") && said.contains("Port 8888 → 8080"), "{said}");
    let (status, told) = ask(&world.outside, HOST, 8888, "/").unwrap();
    assert!(status == 502 && told.contains("http://192.168.1.2:9/"), "its own address was asked of it: {told}");
    assert!(world.orchestrate(&words("logs web")).contains("web  external-service: listening on port 8080"));
    // Its files change while it runs.
    let program = world.folder().join("external-service/external-service");
    let mut file = fs::File::options().append(true).open(program).unwrap();
    file.write_all(b"other").unwrap();
    drop(file);
    let said = world.refused(&words("up"));
    assert!(said.contains("a service that runs cannot be replaced: `down`, then `up`"), "{said}");
    // Paths may be relative and consist of a file name only.
    let mut beside = Command::new(env!("CARGO_BIN_EXE_service-orchestrator"));
    beside.current_dir(world.folder()).args(["logs", "--spec", "web.toml", "--conductor", "conductor.sh"]);
    assert!(text(&beside.output().unwrap()).contains("web  external-service: listening on port 8080"));
    assert!(world.refused("logs web").contains("cannot find service web: the deployment does not have it"));
    world.orchestrate(&words("down"));
}

#[test]
#[ignore = "needs root: make test"]
fn without_a_mirror_that_answers_the_image_is_made_of_the_hosts_programs_and_one_line_says_so() {
    let mirror = format!("http://{INTERNET}/debian");
    let world = World::with_a_mirror(&mirror);
    let said = world.orchestrate("up");
    let told =
        format!("cannot reach {mirror}: no answer; the image is made of this host's programs, as with --offline\n");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
    assert!(said.contains("$ ./conductor.sh build service-image .services/Conductorfile\n"), "{said}");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 1);
    world.orchestrate("down --rmi");
    // A mirror that answers but has no files: then the assignment's own command is run, and fails.
    let mut command = world.outside.command("python3");
    command.args(["-m", "http.server", "80", "--directory", "/run"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = command.spawn().unwrap();
    wait_for("the mirror", || ask(&world.host, INTERNET, 80, "/").is_some());
    let output = world.orchestrator("up").output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("$ ./conductor.sh build service-image\n"), "{said}");
    assert!(said.contains("cannot finish step 1, build image service-image: "), "{said}");
    assert!(!said.contains("as with --offline"), "{said}");
}

#[test]
#[ignore = "needs root: make test"]
fn the_lines_of_the_manual_typed_one_after_the_other_deploy_it() {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let by_hand = manual.split("## By hand").nth(1).unwrap();
    let lines = by_hand.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(lines.lines().count(), 12, "the steps of the assignment: {lines}");
    let world = World::new();
    let before = world.snapshot();
    let folder = world.folder();
    let script = format!("cd '{}'; sudo() {{ \"$@\"; }}\n{lines}", folder.display());
    let log = fs::File::create(folder.join("typed")).unwrap();
    let mut shell = world.command("bash");
    let status = shell.args(["-ec", &script]).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    let said = fs::read_to_string(folder.join("typed")).unwrap();
    assert!(status.success(), "{said}");
    assert!(said.contains("Hello! You are visitor number 1.\n"), "{said}");
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), 2);
    assert_eq!(ask(&world.host, C1, 8080, "/health"), Some((200, "ok\n".to_owned())));
    for name in ["c1", "c2"] {
        world.conductor(&format!("stop {name}"));
    }
    wait_for("the commands in the background to end", || world.belonging().is_empty());
    assert_eq!(world.snapshot(), before);
}
