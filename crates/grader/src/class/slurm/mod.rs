//! `grade class --slurm`: the same jobs, done by a cluster. One array job, an index a submission.
//!
//! What knows how far it is are files: a result in `DIR/kept` is done, one in a batch's folder is gathered, and Slurm is
//! only asked whether an index without a result may still bring one. So the command that submitted may end at any moment,
//! with its shell or its login node, and the same command goes on: it gathers first, waits for what still runs, and
//! submits what then has no result.
//!
//! Look: `squeue --me`, `ls MARKS/cluster/1/results`. Manual: sbatch(1), "Job arrays" in Slurm's documentation.

mod batch;
mod queue;
pub mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::machine::Image;
use super::roster::Student;
use super::work::child::{GRACE, LIMIT};
use super::work::{self, Job, Progress};
use super::{Class, Options, Where};
use crate::error::{Error, IntoExit, OrCannot, Result};
use crate::signals::Signals;

use batch::{Batch, Order};
use queue::{Array, State};

/// Between two looks for results.
const LOOK: Duration = Duration::from_secs(1);
/// Between two questions to Slurm, whose controller serves others as well.
const ASK: Duration = Duration::from_secs(5);
/// How long a result may take to be seen here after its job has ended: a shared file system remembers for a while what was there.
const LATE: Duration = Duration::from_secs(30);
/// How often a submission is given to the cluster before it counts as not graded.
const TRIES: u32 = 2;
/// What a virtual machine of the grader's takes.
const MACHINE_CPUS: u32 = 2;
const MACHINE_MEGABYTES: u32 = 3000;

/// Grades on the cluster every task of every student whose result is not there yet.
///
/// # Errors
/// `Exit::CannotRun` when the cluster cannot be used, `Exit::Interrupted` after a signal: the jobs go on then;
/// `Exit::Usage` when the folder cannot be written.
pub fn all(class: &Class, folder: &Folder, students: &[Student]) -> Result<()> {
    let signals = Signals::block()?;
    let options = options(class, folder)?;
    let wanted = work::wanted(class, folder, students)?;
    let left = wanted.iter().filter(|job| !work::is_done(folder, job)).count();
    let failed = BTreeMap::new();
    let mut cluster =
        Cluster { class, folder, wanted, signals, progress: Progress::new(left), failed, told: String::new() };
    cluster.follow(Batch::all(folder)?, true)?;
    loop {
        let orders = cluster.orders(&options);
        if orders.is_empty() {
            break;
        }
        let mut batches = Vec::new();
        for some in orders.chunks(queue::largest_array().try_into().unwrap_or(usize::MAX)) {
            batches.push(cluster.submit(some.to_vec())?);
        }
        cluster.follow(batches, false)?;
    }
    let given_up = cluster.give_up();
    cluster.progress.end();
    given_up
}

/// What workers are told. Paths are below a batch's folder.
fn options(class: &Class, folder: &Folder) -> Result<Options> {
    let image = Path::new("../vm");
    if uses_machines(class) {
        Image::open(&class.image)?.copy(&folder.path.join("cluster/vm"))?;
    }
    Ok(Options {
        kit: class.kit.as_ref().map(|_| "kit".into()),
        hint: class.hint,
        time_scale: class.time_scale,
        rejudge: false,
        place: Where::Box,
        image: image.to_owned(),
    })
}

/// A job runs as the user who submits it.
fn uses_machines(class: &Class) -> bool {
    class.place.map_or(!nix::unistd::geteuid().is_root(), |place| place == Where::Vm)
}

struct Cluster<'a> {
    class: &'a Class,
    folder: &'a Folder,
    wanted: Vec<Job>,
    signals: Signals,
    progress: Progress,
    /// By stamp: how often it was tried, and why there is no result.
    failed: BTreeMap<String, (u32, String)>,
    /// What was last said of the queue.
    told: String,
}

/// A batch that is waited for.
struct Followed {
    batch: Batch,
    job: String,
    /// Indexes that are to bring a result, and since when each has ended.
    open: BTreeMap<u32, Option<Instant>>,
}

impl Cluster<'_> {
    /// One order for each student with a task that is not graded yet.
    fn orders(&self, options: &Options) -> Vec<Order> {
        let mut orders: BTreeMap<&str, Order> = BTreeMap::new();
        for job in self.wanted.iter().filter(|job| !work::is_done(self.folder, job)) {
            let tried = self.failed.get(&job.stamp).map_or(0, |(tries, _)| *tries);
            if tried >= TRIES {
                continue;
            }
            let new = || Order { tries: 0, place: self.class.place, options: options.clone(), jobs: Vec::new() };
            let order = orders.entry(job.id.as_str()).or_insert_with(new);
            order.tries = order.tries.max(tried + 1);
            order.jobs.push(job.clone());
        }
        orders.into_values().collect()
    }

    fn submit(&self, orders: Vec<Order>) -> Result<Batch> {
        let tasks = orders.iter().map(|order| order.jobs.len()).max().unwrap_or(1);
        let batch = Batch::make(self.folder, orders, self.class.kit.as_deref())?;
        let in_machines = uses_machines(self.class);
        let submitted = Array {
            name: &batch.name(),
            folder: &batch.path,
            script: &batch.script(),
            indexes: format!("1-{}", batch.orders.len()),
            at_once: self.class.max_jobs,
            minutes: minutes(tasks, self.class.time_scale),
            cpus: if in_machines { MACHINE_CPUS } else { 1 },
            megabytes: in_machines.then_some(MACHINE_MEGABYTES),
            partition: self.class.partition.as_deref(),
        }
        .submit();
        match submitted {
            Ok(job) => {
                batch.remember(&job)?;
                self.progress.say(&format!("Slurm's job {job}: {} submissions", batch.orders.len()));
                Ok(batch)
            }
            Err(why) => {
                batch.remove()?;
                Err(why)
            }
        }
    }

    /// Gathers until each index has brought its results or will bring none.
    fn follow(&mut self, batches: Vec<Batch>, is_rejoined: bool) -> Result<()> {
        let mut followed = Vec::new();
        for batch in batches {
            match self.job_of(&batch)? {
                Some(job) => {
                    let open = batch.orders.keys().map(|index| (*index, None)).collect();
                    followed.push(Followed { batch, job, open });
                }
                // It was made and never submitted.
                None => batch.remove()?,
            }
        }
        let mut asked: Option<Instant> = None;
        while !followed.is_empty() {
            for batch in &mut followed {
                self.gather(batch)?;
            }
            if asked.is_none_or(|at| at.elapsed() >= ASK) {
                self.ask(&mut followed, is_rejoined);
                asked = Some(Instant::now());
            }
            let (over, open): (Vec<_>, Vec<_>) = followed.into_iter().partition(|batch| batch.open.is_empty());
            followed = open;
            for batch in over {
                queue::cancel(&batch.job);
                batch.batch.remove()?;
            }
            if !followed.is_empty() {
                self.pause(&followed)?;
            }
        }
        Ok(())
    }

    /// Slurm's number of a batch; none when it was never submitted.
    fn job_of(&self, batch: &Batch) -> Result<Option<String>> {
        if let Some(job) = batch.job() {
            return Ok(Some(job));
        }
        let found = queue::named(&batch.name()).map_err(|why| {
            Error::cannot_run(format!(
                "Slurm does not tell whether {} was submitted: {why}; try again",
                batch.path.display()
            ))
        })?;
        if let Some(job) = &found {
            batch.remember(job)?;
        }
        Ok(found)
    }

    /// Moves whole results to where they are kept.
    fn gather(&self, followed: &mut Followed) -> Result<()> {
        let mut done = Vec::new();
        for index in followed.open.keys() {
            let Some(order) = followed.batch.orders.get(index) else { continue };
            for job in &order.jobs {
                let Some(wanted) = self.open_job(job) else { continue };
                if let Some(result) = followed.batch.result(*index, job) {
                    followed.batch.take(*index, job)?;
                    self.progress.done(wanted, &work::replace(&result, &self.folder.path.join(&wanted.place))?);
                }
            }
            if order.jobs.iter().all(|job| self.open_job(job).is_none()) {
                done.push(*index);
            }
        }
        followed.open.retain(|index, _| !done.contains(index));
        Ok(())
    }

    /// The job that is to be done now which this one of an order is; none when it is done, or the hand-in has changed since.
    fn open_job(&self, job: &Job) -> Option<&Job> {
        let same = |wanted: &&Job| wanted.stamp == job.stamp && wanted.place == job.place;
        self.wanted.iter().find(same).filter(|wanted| !work::is_done(self.folder, wanted))
    }

    /// Asks Slurm which of the open indexes can still bring a result.
    fn ask(&mut self, followed: &mut [Followed], is_rejoined: bool) {
        let mut active: BTreeMap<String, usize> = BTreeMap::new();
        for Followed { batch, job, open } in followed {
            let states = match queue::states(job) {
                Ok(states) => states,
                Err(why) => {
                    self.tell(format!("Slurm does not answer, its jobs go on: {why}"));
                    return;
                }
            };
            let mut lost = Vec::new();
            for (index, ended) in open.iter_mut() {
                let how = match states.get(index) {
                    Some(State::Active(how)) => {
                        *active.entry(how.clone()).or_default() += 1;
                        *ended = None;
                        continue;
                    }
                    Some(State::Ended(how)) => how.as_str(),
                    None => "unknown to Slurm",
                };
                if ended.get_or_insert_with(Instant::now).elapsed() >= LATE {
                    lost.push((*index, how.to_owned()));
                }
            }
            for (index, how) in lost {
                open.remove(&index);
                let Some(order) = batch.orders.get(&index) else { continue };
                let tries = match (how.starts_with("CANCELLED"), is_rejoined) {
                    (false, _) => order.tries,
                    // It was cancelled, and the same command was typed again.
                    (true, true) => 0,
                    (true, false) => TRIES,
                };
                let why = batch.why(index).map_or_else(String::new, |why| format!("; {why}"));
                for task in &order.jobs {
                    self.failed
                        .insert(task.stamp.clone(), (tries, format!("Slurm's job {job}_{index} ended: {how}{why}")));
                }
            }
        }
        let said: Vec<String> = active.iter().map(|(how, count)| format!("{count} {how}")).collect();
        // How many run changes all the time; why none runs is worth a line.
        if !active.keys().any(|how| how == "RUNNING") && !said.is_empty() {
            self.tell(format!("Slurm: {}", said.join(", ")));
        }
    }

    fn tell(&mut self, line: String) {
        if self.told != line {
            self.progress.say(&line);
            self.told = line;
        }
    }

    /// Waits a moment.
    fn pause(&self, followed: &[Followed]) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LOOK {
            if let Ok(Some(signal)) = self.signals.fd.read_signal() {
                let jobs: Vec<&str> = followed.iter().map(|batch| batch.job.as_str()).collect();
                let jobs = jobs.join(" ");
                self.progress.end();
                self.progress.say(&format!(
                    "Slurm's job {jobs} goes on; the same command gathers its results, scancel {jobs} ends it"
                ));
                return Err(Error::interrupted(signal.ssi_signo.try_into().unwrap_or(0)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Writes a report of what got no result. It has no stamp, so the same command tries it again.
    fn give_up(&self) -> Result<()> {
        for job in self.wanted.iter().filter(|job| !work::is_done(self.folder, job)) {
            let place = self.folder.path.join(&job.place);
            let part = place.with_extension("part");
            if part.exists() {
                std::fs::remove_dir_all(&part).or_cannot("remove the folder", &part).into_usage()?;
            }
            std::fs::create_dir_all(&part).or_cannot("make the folder", &part).into_usage()?;
            let why = self.failed.get(&job.stamp).map_or("Slurm brought no result", |(_, why)| why.as_str());
            work::tell_not_graded(&part, job, &Error::cannot_run(why.to_owned()))?;
            self.progress.done(job, &work::replace(&part, &place)?);
        }
        Ok(())
    }
}

/// Time limit of an index: more than the grader's own limits allow for each task, tried twice.
fn minutes(tasks: usize, time_scale: f64) -> u64 {
    let one = LIMIT.mul_f64(time_scale.max(1.0)) + GRACE;
    (one * 2).as_secs().div_ceil(60) * tasks as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_time_limit_is_longer_than_what_the_grader_allows_a_submission() {
        assert_eq!((minutes(1, 1.0), minutes(4, 1.0), minutes(1, 2.0)), (123, 489, 243));
    }
}
