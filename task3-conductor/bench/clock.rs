//! Times command lines in turn and prints medians and ratios.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Command lines to time together, and one to tidy up after them, not timed.
pub struct Subject {
    name: &'static str,
    timed: Vec<Vec<String>>,
    tidy: Vec<String>,
}

impl Subject {
    pub fn new(name: &'static str, line: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name, timed: vec![words(line)], tidy: vec![] }
    }

    /// A further line, timed with the first.
    pub fn then(mut self, line: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.timed.push(words(line));
        self
    }

    pub fn tidy(mut self, line: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tidy = words(line);
        self
    }
}

fn words(line: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    line.into_iter().map(Into::into).collect()
}

/// Times the subjects in turn and prints medians and ratios; the first one is what the others are compared with. One that
/// does not run here is named, with the reason.
pub fn report(title: &str, subjects: &[Subject], rounds: usize) {
    // It warms up the others.
    let trials: Vec<_> = subjects.iter().map(|subject| (subject, once(subject).err())).collect();
    let here: Vec<&Subject> = trials.iter().filter(|(_, fault)| fault.is_none()).map(|(subject, _)| *subject).collect();
    let mut times = vec![Vec::new(); here.len()];
    for _ in 0..rounds {
        for (subject, times) in here.iter().zip(&mut times) {
            times.push(once(subject).unwrap());
        }
    }
    println!("{title:<38} {:>8} {:>8} {:>8}   ratio", "median", "min", "max");
    let base = median(&mut times[0]);
    for (subject, times) in here.iter().zip(&mut times) {
        let middle = median(times);
        let [shown, least, most] = [middle, times[0], times[times.len() - 1]].map(|time| time.as_secs_f64() * 1e3);
        let ratio = middle.as_secs_f64() / base.as_secs_f64();
        println!("  {:<36} {shown:>8.2} {least:>8.2} {most:>8.2}   {ratio:.2}", subject.name);
    }
    for (subject, fault) in &trials {
        if let Some(fault) = fault {
            println!("  {:<36} does not run here: {fault}", subject.name);
        }
    }
    println!();
}

fn once(subject: &Subject) -> Result<Duration, String> {
    let begin = Instant::now();
    subject.timed.iter().try_for_each(|line| run(line))?;
    let time = begin.elapsed();
    run(&subject.tidy)?;
    Ok(time)
}

/// How long the second line takes, at the median; the others are not timed.
pub fn time(before: &[String], timed: &[String], after: &[String], rounds: usize) -> Duration {
    let once = || {
        must(before);
        let begin = Instant::now();
        must(timed);
        let time = begin.elapsed();
        must(after);
        time
    };
    median(&mut (0..rounds).map(|_| once()).collect::<Vec<_>>())
}

/// Runs a command line, which must succeed, if it has words.
pub fn must(line: &[String]) {
    run(line).unwrap_or_else(|fault| panic!("{}: {fault}", line.join(" ")));
}

fn run(line: &[String]) -> Result<(), String> {
    let [program, arguments @ ..] = line else { return Ok(()) };
    // Not a pipe: what stays in the background would keep it open.
    let said = tempfile::tempfile().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().unwrap());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let mut text = String::new();
            let mut said = said;
            said.rewind().and_then(|()| said.read_to_string(&mut text)).unwrap();
            Err(text.lines().last().unwrap_or("it failed and did not say why").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
