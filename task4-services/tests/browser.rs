//! The page in a real browser, headless, on another machine than the host.
//!
//! It does not use the usual harness, which knows only "passed" and "failed": without Chromium it reports that it did
//! not run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netlab;

use std::path::Path;
use std::process::{Command, Stdio};

use netlab::netns::HOST;
use netlab::{World, ask, number};

const NAME: &str = "a_browser_on_another_machine_shows_the_number_and_each_look_counts_once";

fn main() {
    let is_asked_for = |flag: &str| std::env::args().any(|word| word == flag);
    if is_asked_for("--list") {
        println!("{NAME}: test");
        return;
    }
    let installed = Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let skipped = if !is_asked_for("--include-ignored") && !is_asked_for("--ignored") {
        Some("needs root: make test")
    } else if installed.is_err() {
        Some("there is no chromium here: vm/provision --browser installs it")
    } else {
        None
    };
    match skipped {
        Some(why) => {
            println!("\nrunning 1 test\ntest {NAME} ... ignored, {why}\n");
            println!("test result: ok. 0 passed; 0 failed; 1 ignored");
        }
        None => {
            println!("\nrunning 1 test");
            a_browser_on_another_machine_shows_the_number_and_each_look_counts_once();
            println!("test {NAME} ... ok\n");
            println!("test result: ok. 1 passed; 0 failed; 0 ignored");
        }
    }
}

fn a_browser_on_another_machine_shows_the_number_and_each_look_counts_once() {
    let world = World::new();
    world.orchestrate("up");
    let profile = tempfile::tempdir().unwrap();
    let first = number(&ask(&world.outside, HOST, 3000, "/"));
    for visit in [first + 1, first + 2] {
        let page = look(&world, profile.path());
        assert!(page.contains(&format!("<title>Visitor {visit}</title>")), "{page}");
        assert!(page.contains(&format!("<div class=\"number\">{visit}</div>")), "{page}");
        assert!(page.contains(&format!("Hello! You are visitor number {visit}.")), "{page}");
    }
    assert_eq!(number(&ask(&world.outside, HOST, 3000, "/")), first + 3, "a browser asks for icons too: no visits");
    world.conductor("stop c2");
    let page = look(&world, profile.path());
    assert!(page.contains("<div class=\"number\">?</div>"), "{page}");
    assert!(page.contains("The counter service cannot be reached: http://192.168.2.2:8080/"), "{page}");
}

/// The page in the browser after loading and running its scripts, if any.
fn look(world: &World, profile: &Path) -> String {
    let mut chromium = world.outside.command("chromium");
    // Chromium has no sandbox for root; the page is our own.
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--timeout=20000"]);
    chromium.arg(format!("--user-data-dir={}", profile.display()));
    let output = chromium.arg("--dump-dom").arg(format!("http://{HOST}:3000/")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
