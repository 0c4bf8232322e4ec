//! Builds that fail, are broken off, or come at once: no half image, no half layer, nothing left behind.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::build_test::{BuildTest, build_log, wait_for};

/// Processes whose command line holds this text.
fn running(text: &str) -> usize {
    let mine = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter(|entry| entry.file_name().to_string_lossy() != mine);
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").contains(text)).count()
}

#[test]
#[ignore = "needs root: make test"]
fn a_mistake_anywhere_is_found_before_anything_is_done() {
    let build_test = BuildTest::with_own_cache("mistake");
    let told = build_test.refusal("FROM host\nRUN touch /x\nCOPPY a /b\n");
    assert!(told.contains("did you mean COPY?"), "{told}");
    build_test.refusal("FROM nowhere\n");
    assert_eq!(build_test.cache("layers"), Vec::<String>::new());
    let missing = build_test.host.run(&["build", "made", "/no/such/file"]);
    assert!(missing.code == 125 && missing.err.contains("cannot read /no/such/file: "), "{missing:?}");
    assert!(!build_test.has_image());
}

#[test]
#[ignore = "needs root: make test"]
fn a_run_that_fails_keeps_the_layers_before_it_and_makes_no_image() {
    let build_test = BuildTest::with_own_cache("run-fails");
    let before = build_test.host.snapshot();
    let text = "FROM host\nRUN touch /run-fails\nRUN sleep 7071 & exit 3\n";
    let told = build_test.refusal(text);
    assert!(
        told.contains("Conductorfile:3:1: cannot run the command: it ended with code 3\n  3 | RUN sleep"),
        "{told}"
    );
    assert!(!build_test.has_image());
    assert_eq!(running("sleep 7071"), 0, "what it left in the background has ended with it");
    assert_eq!(build_test.host.snapshot(), before);
    let missing = build_test.refusal("FROM host\nRUN touch /run-fails\nRUN [\"no-such-program\"]\n");
    assert!(missing.contains("no-such-program"), "{missing}");
    let second = build_test.build_log("FROM host\nRUN touch /run-fails\nRUN sleep 7071 & true\n");
    assert_eq!(second.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(), ["cached", "cached", "done"]);
    assert_eq!(running("sleep 7071"), 0);
    assert_eq!(build_test.host.snapshot(), before);
}

#[test]
#[ignore = "needs root: make test"]
fn a_build_broken_off_by_a_signal_undoes_what_it_began_and_ends_as_the_signal_says() {
    let build_test = BuildTest::with_own_cache("signal");
    let before = build_test.host.snapshot();
    let path = build_test.file("Conductorfile", "FROM host\nRUN sleep 7072\n");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let child = build_test.host.piped(&["build", "made", path.to_str().unwrap()]);
        wait_for(|| (running("sleep 7072") > 0).then_some(()));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let ended = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(ended, Some(signal as i32), "{output:?}");
        wait_for(|| (running("sleep 7072") == 0).then_some(()));
        assert!(!build_test.has_image(), "{signal}");
        // `ps` takes away what a killed command left; the others leave nothing.
        if signal == Signal::SIGKILL {
            assert_eq!(build_test.host.ok(&["ps"]), "No containers found\n");
            build_test.host.ok(&["build", "--from", "host", "other"]);
        }
        assert_eq!(build_test.host.snapshot(), before, "{signal}");
        assert_eq!(build_test.cache("building"), Vec::<String>::new(), "{signal}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_build_killed_at_any_moment_leaves_no_half_layer_and_the_next_one_works() {
    let build_test = BuildTest::with_own_cache("killed-build");
    build_test.file("tree/a", vec![1; 1 << 20]);
    let path = build_test.file("Conductorfile", "FROM host\nCOPY tree /tree\nRUN cp /tree/a /b\nCOPY tree/a /c\n");
    let arguments = ["build", "made", path.to_str().unwrap()];
    build_test.host.ok(&["build", "--from", "host", "base"]);
    for round in 0..25_u64 {
        // Other content each time, so that layers are made and not found.
        build_test.file("tree/a", vec![round as u8; 1 << 20]);
        let mut child = build_test.host.piped(&arguments);
        std::thread::sleep(Duration::from_micros((round * 23_719) % 200_000));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        let built = build_test.host.run(&arguments);
        assert_eq!(built.code, 0, "round {round}: {built:?}");
        let sums = build_test.inside("sha256sum /tree/a /b /c | cut -d' ' -f1 | sort -u | wc -l; stat -c %s /b");
        assert_eq!(sums, "1\n1048576\n", "round {round}");
        assert_eq!(build_test.cache("building"), Vec::<String>::new(), "round {round}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn of_builds_of_one_thing_at_once_one_makes_each_layer_and_all_succeed() {
    let build_test = BuildTest::with_own_cache("at-once");
    build_test.file("a", "A");
    let path = build_test.file("Conductorfile", "FROM host\nCOPY a /a\nRUN sleep 0.3; date +%N > /when\n");
    let names: Vec<String> = (0..6).map(|n| format!("made{n}")).collect();
    let all: Vec<_> =
        names.iter().map(|name| build_test.host.piped(&["build", name, path.to_str().unwrap()])).collect();
    let outcomes: Vec<_> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let mut made = 0;
    for output in &outcomes {
        assert!(output.status.success(), "{output:?}");
        let told = build_log(&String::from_utf8_lossy(&output.stderr));
        made += told.iter().filter(|(_, outcome)| *outcome == "done").count();
    }
    assert_eq!(made, 3, "each layer once: {outcomes:?}");
    let records: Vec<_> = names.iter().map(|name| build_test.layers_of(name)).collect();
    assert!(records.iter().all(|layers| *layers == records[0]), "{records:?}");
    assert_eq!(build_test.cache("building"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn nothing_is_removed_from_under_a_build() {
    let build_test = BuildTest::with_own_cache("busy");
    let path = build_test.file("Conductorfile", "FROM host\nRUN sleep 7073\n");
    let child = build_test.host.piped(&["build", "made", path.to_str().unwrap()]);
    wait_for(|| (running("sleep 7073") > 0).then_some(()));
    let refused = build_test.host.run(&["rmcache"]);
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("another command is working with them"), "{refused:?}");
    // Neither does a listing take it for something left behind.
    assert_eq!(build_test.host.ok(&["ps"]), "No containers found\n");
    assert!(running("sleep 7073") > 0);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    child.wait_with_output().unwrap();
    build_test.host.ok(&["rmcache"]);
    assert_eq!(build_test.cache("layers"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: make test"]
fn a_full_disk_is_named_and_leaves_what_was_there() {
    let build_test = BuildTest::with_own_cache("full");
    let small = build_test.host.store.join(".cache");
    fs::create_dir_all(&small).unwrap();
    let options = "size=8m";
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), flags, Some(options)).unwrap();
    build_test.file("small", "x");
    build_test.file("large", vec![1; 16 << 20]);
    for (text, place) in [
        ("FROM host\n", "cannot "),
        ("FROM scratch\nCOPY small /small\nCOPY large /large\n", "Conductorfile:3:1: cannot write /large: "),
    ] {
        let told = build_test.refusal(text);
        assert!(told.contains(place) && told.contains("No space left on device (ENOSPC)"), "{told}");
        assert!(!build_test.has_image());
        assert_eq!(build_test.cache("building"), Vec::<String>::new());
    }
    build_test.build_log("FROM scratch\nCOPY small /small\n");
    assert!(build_test.has_image());
}

#[test]
#[ignore = "needs root: make test"]
fn what_only_other_builders_know_is_refused_at_its_place() {
    let shop = BuildTest::new("other-builders");
    for (text, place, said) in [
        ("FROM host\nRUN <<EOF\ntouch /made\nEOF\n", "2:5", "here-documents (<<EOF) are not known here"),
        ("FROM host\nCOPY <<EOF /text\nhello\nEOF\n", "2:6", "here-documents (<<EOF) are not known here"),
        ("FROM host\nRUN --mount=type=cache,target=/x true\n", "2:5", "RUN takes no options such as --mount"),
    ] {
        let told = shop.refusal(text);
        assert!(told.contains(&format!(":{place}: {said}")), "{text}: {told}");
    }
}
