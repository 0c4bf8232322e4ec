//! Commands at once: of those that want the same, one wins; of those that undo each other, both end; nobody waits for ever.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::test_store::{IMAGE, TestStore, until};
use testlab::host::within;
use testlab::tally::is_full;

fn start(store: &TestStore, words: &[&str]) -> Child {
    store.host.piped(words)
}

/// Ends within ten seconds; gives its code and what it said.
fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
#[ignore = "needs root: make test"]
fn of_equal_runs_at_once_one_wins_however_many_they_are() {
    let store = TestStore::new("together-equal");
    let before = store.baseline(false);
    for count in [2, 10] {
        for detach in [&["run", "-d"][..], &["run"]] {
            let words = [detach, &[IMAGE, "eg", "--", "sleep", "infinity"]].concat();
            let mut all: Vec<Child> = (0..count).map(|_| start(&store, &words)).collect();
            until(|| store.lists("eg"), "one of them has won");
            if detach.len() == 1 {
                // The winner stays until its container ends.
                let mut lost = 0;
                until_mut(|| {
                    lost = all
                        .iter_mut()
                        .filter_map(|child| child.try_wait().unwrap())
                        .filter(|status| !status.success())
                        .count();
                    lost == count - 1
                });
                store.host.ok(&["stop", "-t", "0", "eg"]);
                all.into_iter().for_each(|child| drop(end(child)));
            } else {
                let codes: Vec<(i32, String)> = all.into_iter().map(end).collect();
                assert_eq!(codes.iter().filter(|(code, _)| *code == 0).count(), 1, "{codes:?}");
                assert!(codes.iter().all(|(code, said)| *code == 0 || said.contains("it already exists")), "{codes:?}");
                store.host.ok(&["stop", "-t", "0", "eg"]);
            }
            store.assert_unchanged(&before, &format!("{count} times {detach:?}"));
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn run_and_stop_at_once_both_end_and_leave_nothing() {
    let store = TestStore::new("together-run-stop");
    let before = store.baseline(false);
    for round in 0..if is_full() { 200 } else { 25 } {
        let run = start(&store, &["run", "-d", IMAGE, "eg", "--", "sleep", "infinity"]);
        std::thread::sleep(Duration::from_micros(round * 701 % 20_000));
        let stop = start(&store, &["stop", "-t", "0", "eg"]);
        let (stopped, said) = end(stop);
        let (ran, why) = end(run);
        assert!(stopped == 0 || said.contains("it does not exist"), "{said}");
        assert!(ran == 0 || ran == 125, "{ran}: {why}");
        if store.lists("eg") {
            store.host.ok(&["stop", "-t", "0", "eg"]);
        }
        store.assert_unchanged(&before, &format!("round {round}"));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn stop_and_exec_at_once_both_end_and_leave_nothing() {
    let store = TestStore::new("together-stop-exec");
    let before = store.baseline(false);
    for round in 0..if is_full() { 200 } else { 20 } {
        store.host.start("eg");
        let exec = start(&store, &["exec", "eg", "--", "sleep", "infinity"]);
        std::thread::sleep(Duration::from_micros(round * 997 % 15_000));
        store.host.ok(&["stop", "-t", "0", "eg"]);
        let (code, said) = end(exec);
        // It was killed with the container, or came too late.
        assert!(code == 137 || code == 125 || code == 126, "{code}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        store.assert_unchanged(&before, &format!("round {round}"));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn of_stops_at_once_one_does_it_and_the_others_find_nothing() {
    let store = TestStore::new("together-stops");
    let before = store.baseline(true);
    for _ in 0..5 {
        store.host.start("eg");
        store.host.ok(&["addnetwork", "eg", "-i"]);
        let all: Vec<Child> = (0..8).map(|_| start(&store, &["stop", "-t", "0", "eg"])).collect();
        let codes: Vec<(i32, String)> = all.into_iter().map(end).collect();
        assert_eq!(codes.iter().filter(|(code, _)| *code == 0).count(), 1, "{codes:?}");
        assert!(codes.iter().all(|(code, said)| *code == 0 || said.contains("it does not exist")), "{codes:?}");
        store.assert_unchanged(&before, "afterwards");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn listings_never_fail_and_never_show_half_of_anything_while_containers_come_and_go() {
    let store = TestStore::new("together-list");
    let before = store.baseline(false);
    let mut coming = Vec::new();
    let (begun, mut listings) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(2) || listings < 12 {
        coming.push(start(&store, &["run", "--rm", IMAGE, &format!("c{}", coming.len() % 4), "--", "true"]));
        for words in [&["ps"][..], &["images"], &["ps", "--format", "json"]] {
            let listed = store.host.ok(words);
            assert!(!listed.contains("damaged"), "{listed}");
            listings += 1;
        }
    }
    for child in coming {
        let (code, said) = end(child);
        assert!(code == 0 || said.contains("it already exists"), "{said}");
    }
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn listings_answer_at_once_while_a_stop_waits() {
    let store = TestStore::new("together-wait");
    let before = store.baseline(false);
    store.host.ok(&[
        "run",
        "-d",
        IMAGE,
        "deaf",
        "--",
        "bash",
        "-c",
        "trap : TERM; echo up; until [ -e /enough ]; do sleep 0.05; done",
    ]);
    until(|| store.host.ok(&["logs", "deaf"]).contains("up"), "it is up");
    let mut stop = start(&store, &["stop", "-t", "60", "deaf"]);
    for words in [&["ps"][..], &["inspect", "deaf"], &["logs", "deaf"], &["images"], &["exec", "deaf", "--", "true"]] {
        let begun = Instant::now();
        store.host.ok(words);
        assert!(begun.elapsed() < within(Duration::from_millis(500)), "{words:?} took {:?}", begun.elapsed());
    }
    assert!(stop.try_wait().unwrap().is_none(), "it was waiting all the time");
    store.host.ok(&["exec", "deaf", "--", "touch", "/enough"]);
    assert_eq!(end(stop).0, 0);
    store.assert_unchanged(&before, "afterwards");
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_that_is_built_anew_leaves_its_containers_what_they_had() {
    let store = TestStore::with_own_cache("together-rebuild");
    let file = store.context.path().join("Conductorfile");
    let build = |text: &str| {
        std::fs::write(&file, format!("FROM {IMAGE}\nRUN echo {text} > /text\n")).unwrap();
        store.host.ok(&["build", "made", file.to_str().unwrap()]);
    };
    build("old");
    store.host.ok(&["run", "-d", "made", "eg", "--", "sleep", "infinity"]);
    build("new");
    store.host.ok(&["rmcache"]);
    assert!(store.host.ok(&["exec", "eg", "--", "cat", "/text"]).ends_with("old\n"));
    assert_eq!(store.host.ok(&["run", "--rm", "made", "other", "--", "cat", "/text"]), "new\n");
    store.host.ok(&["stop", "-t", "0", "eg"]);
    assert!(store.host.ok(&["rmcache"]).starts_with("Removed 1 layer"), "now nobody needs it");
}

fn until_mut(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 300, "not within minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}
