//! The queue of jobs: two that measure CPU time never run at once.

use std::sync::{Condvar, Mutex, MutexGuard};

use super::Job;
use crate::task::Task;

/// Jobs for several threads.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState {
    waiting: Vec<Job>,
    /// Whether a job measures CPU time: two at once would take it from each other.
    is_measuring: bool,
    is_closed: bool,
}

impl Queue {
    /// A queue of these, the first first.
    pub fn new(mut jobs: Vec<Job>) -> Self {
        jobs.reverse();
        let state = QueueState { waiting: jobs, is_measuring: false, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next job that may run now; waits for one, and gives none when all are done.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_closed || state.waiting.is_empty() {
                return None;
            }
            let may_run = |job: &Job| !(state.is_measuring && measures(job));
            if let Some(nth) = state.waiting.iter().rposition(may_run) {
                let job = state.waiting.remove(nth);
                state.is_measuring |= measures(&job);
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A job is done.
    pub fn give_back(&self, job: &Job) {
        if measures(job) {
            self.lock().is_measuring = false;
        }
        self.changed.notify_all();
    }

    /// Drops the remaining jobs.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn measures(job: &Job) -> bool {
    job.task == Task::Task2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, task: Task) -> Job {
        let (submission, place) = Default::default();
        Job { id: id.to_owned(), task, submission, place, stamp: String::new() }
    }

    #[test]
    fn two_that_measure_never_run_at_once_and_the_others_do_not_wait() {
        let queue = Queue::new(vec![job("a", Task::Task2), job("b", Task::Task2), job("c", Task::Task1)]);
        let first = queue.take().unwrap();
        let second = queue.take().unwrap();
        assert_eq!((first.id.as_str(), second.id.as_str()), ("a", "c"));
        std::thread::scope(|scope| {
            let third = scope.spawn(|| queue.take().map(|job| job.id));
            queue.give_back(&first);
            assert_eq!(third.join().unwrap().as_deref(), Some("b"));
        });
        assert!(queue.take().is_none());
    }
}
