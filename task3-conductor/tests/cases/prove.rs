//! Counts what the tests have proved: reads their output from stdin, passes it on, and prints the tables.
//!
//! What is counted stands in `attacks.txt` and `faults.txt` beside this file, each case with the tests that try it, and in
//! the lines `tally …` that tests print which go through a table of their own. A case has passed when all of its tests have.
//! Usage: `cargo test … -- --include-ignored --show-output 2>&1 | prove`; `make prove` does it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::process::ExitCode;

const CATALOGUES: [(&str, &str); 2] =
    [("attacks", include_str!("attacks.txt")), ("faults", include_str!("faults.txt"))];

/// What the tests have said.
#[derive(Default)]
struct Results {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Tried and passed, by table and name.
    tallies: BTreeMap<String, BTreeMap<String, (usize, usize)>>,
}

/// A line of a catalogue.
struct Case<'a> {
    number: &'a str,
    what: &'a str,
    tests: Vec<&'a str>,
    /// Why it cannot be tried on any such machine.
    not_here: Option<&'a str>,
}

fn main() -> ExitCode {
    let results = match Results::read(io::stdin().lock()) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("prove: cannot read what the tests say: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut wrong = Vec::new();
    println!("\n{:<58} {:>6} {:>6} {:>8}", "", "tried", "passed", "not here");
    for (name, text) in CATALOGUES {
        let cases: Vec<Case<'_>> = text.lines().filter_map(Case::read).collect();
        let here: Vec<&Case<'_>> = cases.iter().filter(|case| case.not_here.is_none()).collect();
        let (passed, missed): (Vec<&Case<'_>>, Vec<&Case<'_>>) = here.iter().partition(|case| results.has_passed(case));
        wrong.extend(missed.iter().map(|case| results.why_not(case)));
        println!("{:<58} {:>6} {:>6} {:>8}", name, here.len(), passed.len(), cases.len() - here.len());
        for case in cases.iter().filter(|case| case.not_here.is_some()) {
            println!("  {} {}: {}", case.number, case.what, case.not_here.unwrap_or_default());
        }
    }
    for (table, names) in &results.tallies {
        let (tried, passed) = names.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        println!("{table:<58} {tried:>6} {passed:>6}");
        for (name, (tried, passed)) in names {
            println!("  {name:<56} {tried:>6} {passed:>6}");
        }
        if tried != passed {
            wrong.push(format!("{table}: {} of {tried} failed", tried - passed));
        }
    }
    wrong.extend(results.failed.iter().map(|test| format!("the test {test} failed")));
    println!("{:<58} {:>6} {:>6}", "tests", results.passed.len() + results.failed.len(), results.passed.len());
    for line in &wrong {
        println!("not proved: {line}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Results {
    /// Reads the output of `cargo test`, and passes it on as far as it is news.
    fn read(lines: impl BufRead) -> io::Result<Self> {
        let (mut results, mut program, mut is_news) = (Self::default(), String::new(), true);
        for line in lines.lines() {
            let line = line?;
            if let Some(name) = program_of(&line) {
                program = name;
            }
            if let Some(tally) = line.strip_prefix("tally\t") {
                results.count(tally);
            }
            if let Some((test, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
                let name = format!("{program}::{test}");
                match outcome {
                    "ok" => drop(results.passed.insert(name)),
                    "FAILED" => drop(results.failed.insert(name)),
                    _ => (),
                }
            }
            match line.as_str() {
                "successes:" => is_news = false,
                "failures:" => is_news = true,
                line if line.starts_with("test result:") => is_news = true,
                _ => (),
            }
            if is_news && !line.is_empty() {
                println!("{line}");
            }
        }
        Ok(results)
    }

    /// `TABLE<tab>NAME<tab>TRIED<tab>PASSED`.
    fn count(&mut self, tally: &str) {
        let fields: Vec<&str> = tally.split('\t').collect();
        let [table, name, tried, passed] = fields.as_slice() else { return };
        let (Ok(tried), Ok(passed)) = (tried.parse::<usize>(), passed.parse::<usize>()) else { return };
        let sum = self.tallies.entry((*table).to_owned()).or_default().entry((*name).to_owned()).or_default();
        *sum = (sum.0 + tried, sum.1 + passed);
    }

    fn has_passed(&self, case: &Case<'_>) -> bool {
        let has = |tests: &BTreeSet<String>, test: &str| tests.iter().any(|name| name.starts_with(test));
        case.tests.iter().all(|test| has(&self.passed, test) && !has(&self.failed, test))
    }

    fn why_not(&self, case: &Case<'_>) -> String {
        let ran = |test: &&&str| self.passed.iter().chain(&self.failed).any(|name| name.starts_with(**test));
        let missing: Vec<&str> = case.tests.iter().filter(|test| !ran(test)).copied().collect();
        if missing.is_empty() {
            format!("{} {}", case.number, case.what)
        } else {
            format!("{} {}: no such test was run: {}", case.number, case.what, missing.join(", "))
        }
    }
}

impl<'a> Case<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [number, what, _, tests] = fields.as_slice() else { return None };
        if number.starts_with('#') {
            return None;
        }
        let not_here = tests.strip_prefix("not here: ");
        let tests = if not_here.is_some() { Vec::new() } else { tests.split(", ").collect() };
        Some(Self { number, what, tests, not_here })
    }
}

/// `     Running tests/faults/main.rs (target/…)`, as cargo says it, is the program faults. What a test starts may say
/// "Running" as well: it does not say where it was compiled to.
fn program_of(line: &str) -> Option<String> {
    let (path, compiled) = line.strip_prefix("     Running ")?.split_once(" (")?;
    compiled.ends_with(')').then_some(())?;
    let path = path.trim_start_matches("unittests ").trim_start_matches("tests/");
    Some(path.trim_end_matches("/main.rs").trim_end_matches(".rs").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_catalogues_is_a_case_and_numbers_are_given_once() {
        for (name, text) in CATALOGUES {
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
            let cases: Vec<Case<'_>> = text.lines().filter_map(Case::read).collect();
            assert_eq!(cases.len(), lines, "{name}");
            let numbers: BTreeSet<&str> = cases.iter().map(|case| case.number).collect();
            assert_eq!(numbers.len(), lines, "{name}");
        }
    }

    #[test]
    fn a_case_has_passed_when_all_its_tests_were_run_and_none_failed() {
        let output = "     Running tests/faults/main.rs (target/debug/deps/faults-1)\ntest a::one ... ok\n\
                      test a::two ... FAILED\ntally\tkills\trun\t3\t2\ntally\tkills\trun\t1\t1\n";
        let results = Results::read(output.as_bytes()).unwrap();
        let case = |tests: &str| results.has_passed(&Case::read(&format!("X1 | a | b | {tests}")).unwrap());
        assert!(case("faults::a::one") && case("faults::a::o"));
        assert!(!case("faults::a::two") && !case("faults::a::one, faults::a::two") && !case("faults::a::three"));
        assert!(!case("faults::a::"), "one of those that are meant failed");
        assert_eq!(results.tallies["kills"]["run"], (4, 3));
    }

    #[test]
    fn the_program_is_the_one_that_cargo_runs_whatever_its_tests_say() {
        let output = "     Running unittests src/lib.rs (target/debug/deps/conductor-1)\ntest a ... ok\n\
                      Running hooks in /etc/ca-certificates/update.d...\n     Running late\ntest b ... ok\n\
                      \x20    Running tests/network.rs (target/debug/deps/network-1)\ntest c ... ok\n";
        let results = Results::read(output.as_bytes()).unwrap();
        assert_eq!(results.passed.into_iter().collect::<Vec<_>>(), ["network::c", "src/lib::a", "src/lib::b"]);
    }
}
