//! A few programs of the zoo, graded as `grade self-test` does it; the whole zoo is `make self-test`.

use std::process::Command;

/// One of each kind: right in C and in bash, a namespace missing, the right text and nothing behind it, a program that
/// behaves only while it is watched, a limit that is none, a way that the box must allow as a host does.
const FEW: &str = "right/c-clone,right/bash-runner,no-uts-flag,joins-only-pid,prints-it-all,prints-by-pwritev2,\
    right-when-traced,period-only,cgroup-left,runner-limited-and-back";

/// Conductors: a right one, one mistake in each of `run`, `addnetwork` and `stop`, and talk with nothing behind it.
const FEW_TOOLS: &str =
    "right/conductor-layers,conductor-no-uts,conductor-internet-for-all,conductor-stop-by-pattern,conductor-talks";

/// Orchestrators: a right one, fixed text, a way in that should not be, and a container that is forgotten.
const FEW_DEPLOYMENTS: &str =
    "right/orchestrator-foreground,orchestrator-fixed-number,orchestrator-counter-published,orchestrator-forgets-c2";

#[test]
#[ignore = "needs root: make test"]
fn the_grader_gives_a_few_known_programs_the_marks_they_deserve() {
    get_what_they_deserve(FEW);
}

/// Attacks, all of them: none takes longer than a few seconds, and none does harm.
const ATTACKS: &str = "attack/devices,attack/hangs-the-grader,attack/kernel-calls,attack/kernel-settings,attack/links,\
    attack/lower-files,attack/neighbours,attack/nested-cgroups,attack/release-agent";

#[test]
#[ignore = "needs root: make test"]
fn attacks_reach_nothing_and_are_told() {
    get_what_they_deserve(ATTACKS);
}

#[test]
#[ignore = "needs root: make test"]
fn the_grader_gives_a_few_known_conductors_the_marks_they_deserve() {
    get_what_they_deserve(FEW_TOOLS);
}

#[test]
#[ignore = "needs root: make test"]
fn the_grader_gives_a_few_known_orchestrators_the_marks_they_deserve() {
    get_what_they_deserve(FEW_DEPLOYMENTS);
}

fn get_what_they_deserve(names: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_grade")).args(["self-test", "--only", names]).output();
    #[allow(clippy::expect_used, reason = "clippy's exception for tests leaves out the functions that tests call")]
    let output = output.expect("grade starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(text.contains("0 false passes, 0 false losses, 0 undecided"), "{text}");
}

/// Right programs of all four tasks, also such as give their steps so many seconds.
const HURRIED: &str = "right/c-clone,right/bash-unshare,right/bash-runner,right/more-isolation,right/conductor-copies,\
    right/orchestrator-bash,right/orchestrator-course-hurries";

#[test]
#[ignore = "needs root: make test"]
fn no_mark_is_lost_on_a_machine_that_is_busy_with_other_work() {
    struct Busy(Vec<std::process::Child>);
    impl Drop for Busy {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let start = |_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
    let busy = Busy((0..4 * processors).filter_map(|nth| start(nth).ok()).collect());
    assert_eq!(busy.0.len(), 4 * processors);
    get_what_they_deserve(HURRIED);
}

/// To be listed, each must fit its rubric and the program that it is made from.
#[test]
fn every_program_of_the_zoo_is_sound() {
    let output = Command::new(env!("CARGO_BIN_EXE_grade")).args(["self-test", "--list"]).output();
    let output = output.expect("grade starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let (wrong, right): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("wrong/"));
    assert!(wrong.len() >= 40 && right.len() >= 14, "{} wrong ones, {} right ones", wrong.len(), right.len());
}

#[test]
fn the_zoo_can_be_listed_by_anyone() {
    let output = Command::new(env!("CARGO_BIN_EXE_grade")).args(["self-test", "--list", "--only", FEW]).output();
    let output = output.expect("grade starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.contains("wrong/no-uts-flag"), "{text}");
}

#[test]
fn a_name_that_is_not_in_the_zoo_is_wrong_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_grade")).args(["self-test", "--only", "unicorn"]).output();
    let output = output.expect("grade starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no \"unicorn\""));
}
