//! The clock of time limits: it runs slower while other processes use the machine.
//!
//! A limit on the wall's clock measures the machine as well as the program: beside nine busy processes on one processor,
//! a program gets a tenth of it, and a right one may need ten times as long. The kernel tells how many tasks want a
//! processor at this moment. Those that are not the box's are a crowd with which the box has to share, and a second beside
//! a crowd of nine counts as a tenth of a second. What a hypervisor gives to other machines (steal) does not count either.
//!
//! Look: `grep procs_ /proc/stat`, `cat /proc/loadavg`. Manual: proc_stat(5).

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{getpriority_process, setpriority_process};

/// Between two questions to the kernel.
const INTERVAL: Duration = Duration::from_millis(20);
/// Most by which the clock is slowed: a limit must come to an end, and the box, which has the greatest weight, seldom gets less than
/// an eighth of a processor.
const MOST: f64 = 8.0;
/// The nice value of [`RaisedPriority`].
const RAISED: i32 = -15;
/// How much the newest look counts in [`Pace::crowding`].
const NEWEST: f64 = 0.05;

/// While this lives, the calling thread and the threads it starts have a lower nice value: the box has a great CPU weight, and
/// many of its calls wait for the grader.
#[derive(Debug)]
pub struct RaisedPriority {
    before: i32,
}

impl RaisedPriority {
    /// Raises the priority, as far as this user may.
    pub fn raise() -> RaisedPriority {
        let before = getpriority_process(None).unwrap_or(0);
        let _ = setpriority_process(None, before.min(RAISED));
        RaisedPriority { before }
    }
}

impl Drop for RaisedPriority {
    fn drop(&mut self) {
        let _ = setpriority_process(None, self.before);
    }
}

/// A clock for one run.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    asked: Instant,
    /// What had passed when the kernel was last asked.
    passed: Duration,
    /// How many times slower than alone a program gets on: as it was then, and over the last second or so.
    now: f64,
    lately: f64,
    /// Seconds since the start, each as many times as the machine was crowded, beyond [`MOST`] too.
    crowd: f64,
    before: Option<ProcStat>,
}

/// What `/proc/stat` says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ProcStat {
    processors: f64,
    /// Tasks that run or want to, and tasks that wait for a disk.
    running: f64,
    /// Ticks of all processors since the machine was started, and how many of them another machine had.
    ticks: f64,
    stolen: f64,
}

impl Pace {
    /// Starts the clock.
    pub fn start() -> Pace {
        let now = Instant::now();
        let before = fs::read_to_string("/proc/stat").ok().and_then(|text| ProcStat::from_text(&text));
        Pace { begun: now, asked: now, passed: Duration::ZERO, now: 1.0, lately: 1.0, crowd: 0.0, before }
    }

    /// Asks the kernel, when it is time again. `own` counts the tasks of the box that run or want to.
    pub fn tick(&mut self, own: impl FnOnce() -> usize) {
        if self.asked.elapsed() < INTERVAL {
            return;
        }
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|text| ProcStat::from_text(&text));
        let since = self.asked.elapsed();
        self.passed += since.div_f64(self.now);
        self.asked += since;
        let crowding = machine.map_or(1.0, |machine| machine.crowding(self.before.as_ref(), own));
        self.crowd += since.as_secs_f64() * crowding;
        self.now = crowding.min(MOST);
        self.before = machine;
        self.lately += (self.now - self.lately) * NEWEST;
    }

    /// How much time has passed for a program that shares the machine.
    pub fn passed(&self) -> Duration {
        self.passed + self.asked.elapsed().div_f64(self.now)
    }

    /// How many times longer than on this machine alone things have taken lately; at least 1.
    pub fn crowding(&self) -> f64 {
        self.lately.max(1.0)
    }

    /// How crowded the machine was from the start to now, on average.
    pub fn average(&self) -> f64 {
        let asked = (self.asked - self.begun).as_secs_f64();
        if asked > 0.0 { (self.crowd / asked).max(1.0) } else { 1.0 }
    }
}

impl ProcStat {
    fn from_text(text: &str) -> Option<ProcStat> {
        let number = |key: &str| text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse::<f64>().ok();
        let processors =
            text.lines().filter(|line| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '))).count();
        // user nice system idle iowait irq softirq steal; the guests' time behind them is in user and nice already.
        let all = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = all.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
        Some(ProcStat {
            processors: (processors as f64).max(1.0),
            running: number("procs_running ")? + number("procs_blocked ").unwrap_or(0.0),
            ticks: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0.0),
        })
    }

    /// How many times slower than alone one task of the box would get on, had it no more weight than others; at least 1.
    fn crowding(&self, before: Option<&ProcStat>, own: impl FnOnce() -> usize) -> f64 {
        // The thread that reads this is one of those that run. Where all others have a processor, it does not matter whose
        // they are.
        let others = self.running - 1.0;
        let others = if others > self.processors { (others - own() as f64).max(0.0) } else { 0.0 };
        let shared = ((others + 1.0) / self.processors).max(1.0);
        let stolen = before.map_or(0.0, |before| {
            let (ticks, stolen) = (self.ticks - before.ticks, self.stolen - before.stolen);
            if ticks > 0.0 { (stolen / ticks).clamp(0.0, 0.95) } else { 0.0 }
        });
        shared / (1.0 - stolen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(running: u32, blocked: u32, ticks: u32, stolen: u32) -> ProcStat {
        let text = format!(
            "cpu  {ticks} 0 0 0 0 0 0 {stolen} 9 9\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nintr 5\nprocs_running {running}\n\
             procs_blocked {blocked}\n"
        );
        ProcStat::from_text(&text).unwrap()
    }

    #[test]
    fn who_shares_the_processors_gets_on_more_slowly_and_ones_own_tasks_are_no_crowd() {
        let crowding = |running, own| machine(running, 0, 100, 0).crowding(None, || own);
        assert_eq!(crowding(1, 0), 1.0);
        assert_eq!(crowding(3, 1), 1.0); // two beside the one that looks, and two processors
        assert_eq!(crowding(10, 1), 4.5); // eight others, and one of the box
        assert_eq!(crowding(10, 9), 1.0); // all nine are the box's: its own doing
        assert_eq!(machine(1, 9, 100, 0).crowding(None, || 0), 5.0); // a disk that others wait for
        assert_eq!(machine(1, 0, 200, 50).crowding(Some(&machine(1, 0, 100, 0)), || 0), 1.0 / (1.0 - 50.0 / 150.0));
    }

    #[test]
    fn the_clock_never_goes_back_nor_faster_than_the_wall() {
        let mut pace = Pace::start();
        let (begun, mut last) = (Instant::now(), Duration::ZERO);
        for _ in 0..30 {
            pace.tick(|| 0);
            let passed = pace.passed();
            assert!(passed >= last && passed <= begun.elapsed() + INTERVAL);
            last = passed;
            std::thread::sleep(Duration::from_millis(3));
        }
        assert!(pace.average() >= 1.0 && pace.crowding() >= 1.0);
    }
}
