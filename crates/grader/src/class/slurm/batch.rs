//! One array job's folder, `DIR/cluster/NUMBER`, on the file system that all nodes share.
//!
//! ```text
//! grade           this program            jobs/N.json       what index N is to do
//! script          runs it for an index    results/N/taskT/  what came of it; whole when it has this name
//! kit/            of --kit                log/N             what its job printed
//! handins/N/NAME  a student's hand-in     job               Slurm's number, once it is known
//! ```
//!
//! A worker writes in `taskT.HOST.PID.part` and renames. When a node is lost, Slurm starts its jobs elsewhere, and the first
//! copy may still run: rename(2) refuses to put a folder where one with files is, so the first result stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::folder::Folder;
use super::super::work::{Job, is_whole};
use super::super::{Options, Where, copy};
use crate::error::{Error, IntoExit, OrCannot, Result};

/// The program's name there.
const PROGRAM: &str = "grade";
const SCRIPT: &str = "script";

/// What one index of an array is to do: the tasks of one student.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which try of it this is, from 1.
    pub tries: u32,
    /// Where it is to run; none is a box for root, else a machine.
    pub place: Option<Where>,
    /// How; its paths are below the batch's folder.
    pub options: Options,
    /// The tasks; so are their hand-ins' paths.
    pub jobs: Vec<Job>,
}

/// An array job.
#[derive(Debug)]
pub struct Batch {
    /// Its folder.
    pub path: PathBuf,
    /// What each index does.
    pub orders: BTreeMap<u32, Order>,
}

impl Batch {
    /// Those that an earlier command has left, the oldest first. One that was not finished being made is removed.
    ///
    /// # Errors
    /// `Exit::Usage` when one cannot be read.
    pub fn all(folder: &Folder) -> Result<Vec<Batch>> {
        let cluster = folder.path.join("cluster");
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&cluster).into_iter().flatten() {
            let path = entry.or_cannot("read", &cluster).into_usage()?.path();
            if path.extension().is_some_and(|ending| ending == "part") {
                // Of a lost node a job may still be writing in it: then it goes another time, and its number is not used again before.
                let _ = fs::remove_dir_all(&path);
            } else if let Some(number) = number_of(&path) {
                numbers.push((number, path));
            }
        }
        numbers.sort();
        numbers.into_iter().map(|(_, path)| Batch::open(path)).collect()
    }

    fn open(path: PathBuf) -> Result<Batch> {
        let jobs = path.join("jobs");
        let mut orders = BTreeMap::new();
        for entry in fs::read_dir(&jobs).or_cannot("read", &jobs).into_usage()? {
            let file = entry.or_cannot("read", &jobs).into_usage()?.path();
            if let Some(index) = file.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) {
                orders.insert(index, order(&path, index)?);
            }
        }
        Ok(Batch { path, orders })
    }

    /// Makes the folder, with copies of all that its workers need; whole, or not at all.
    ///
    /// # Errors
    /// `Exit::Usage` with the file and the reason.
    pub fn make(folder: &Folder, orders: Vec<Order>, kit: Option<&Path>) -> Result<Batch> {
        let cluster = folder.path.join("cluster");
        fs::create_dir_all(&cluster).or_cannot("make the folder", &cluster).into_usage()?;
        let last = fs::read_dir(&cluster)
            .or_cannot("read", &cluster)
            .into_usage()?
            .flatten()
            .filter_map(|it| number_of(&it.path().with_extension("")))
            .max();
        let path = cluster.join((last.unwrap_or(0) + 1).to_string());
        let part = path.with_extension("part");
        for below in ["jobs", "results", "log", "handins"] {
            fs::create_dir_all(part.join(below)).or_cannot("make the folder", &part).into_usage()?;
        }
        let own = std::env::current_exe().map_err(|why| Error::broken(format!("its own program: {why}")))?;
        fs::copy(&own, part.join(PROGRAM)).or_cannot("copy", &own).into_usage()?;
        fs::write(part.join(SCRIPT), include_str!("script.sh")).or_cannot("write", &part).into_usage()?;
        if let Some(kit) = kit {
            copy::tree(kit, &part.join("kit"))?;
        }
        let mut batch = Batch { path, orders: BTreeMap::new() };
        for (mut order, index) in orders.into_iter().zip(1..) {
            let from = order.jobs.first().map(|job| job.submission.clone()).unwrap_or_default();
            let handin = Path::new("handins").join(index.to_string()).join(from.file_name().unwrap_or_default());
            let to = part.join(&handin);
            let parent = to.parent().unwrap_or(&part);
            fs::create_dir_all(parent).or_cannot("make the folder", parent).into_usage()?;
            if copy::tree(&from, &to).is_err() {
                // One that cannot be read is told by the worker, which finds nothing; half of it would be graded as all of it.
                let _ = fs::remove_dir_all(&to).or_else(|_| fs::remove_file(&to));
            }
            order.jobs.iter_mut().for_each(|job| job.submission.clone_from(&handin));
            let json = serde_json::to_string_pretty(&order).map_err(|why| Error::broken(format!("a job: {why}")))?;
            let file = part.join("jobs").join(format!("{index}.json"));
            fs::write(&file, json).or_cannot("write", &file).into_usage()?;
            let results = part.join("results").join(index.to_string());
            fs::create_dir(&results).or_cannot("make the folder", &results).into_usage()?;
            batch.orders.insert(index, order);
        }
        fs::rename(&part, &batch.path).or_cannot("rename", &part).into_usage()?;
        Ok(batch)
    }

    /// The name under which Slurm knows it: no other folder's batch has it.
    pub fn name(&self) -> String {
        let hash = super::super::stamp::Stamp::default().word(self.path.as_os_str().as_encoded_bytes()).end();
        format!("grade-{}", hash.get(..16).unwrap_or_default())
    }

    /// Its script.
    pub fn script(&self) -> PathBuf {
        self.path.join(SCRIPT)
    }

    /// Slurm's number of it, once that is known.
    pub fn job(&self) -> Option<String> {
        fs::read_to_string(self.path.join("job")).ok().filter(|job| !job.is_empty())
    }

    /// Writes Slurm's number of it down.
    ///
    /// # Errors
    /// `Exit::Usage` when it cannot be written.
    pub fn remember(&self, job: &str) -> Result<()> {
        let (new, file) = (self.path.join("job.new"), self.path.join("job"));
        fs::write(&new, job).and_then(|()| fs::rename(&new, &file)).or_cannot("write", &file).into_usage()
    }

    /// The result of a job, once it is whole.
    pub fn result(&self, index: u32, job: &Job) -> Option<PathBuf> {
        Some(place(&self.path, index, job)).filter(|place| is_whole(place, job))
    }

    /// Tells workers that this result is not needed any more.
    ///
    /// # Errors
    /// `Exit::Usage` when that cannot be written.
    pub fn take(&self, index: u32, job: &Job) -> Result<()> {
        let mark = taken(&self.path, index, job);
        fs::write(&mark, "").or_cannot("write", &mark).into_usage()
    }

    /// Why an index has no result, as far as its worker could tell.
    pub fn why(&self, index: u32) -> Option<String> {
        fs::read_to_string(why(&self.path, index)).ok().map(|text| text.trim().to_owned())
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// `Exit::Usage` when it cannot be removed.
    pub fn remove(self) -> Result<()> {
        // A worker that has just been ended may still be writing: what has its name is whole.
        let part = self.path.with_extension("part");
        fs::rename(&self.path, &part).or_cannot("rename", &self.path).into_usage()?;
        for _ in 0..5 {
            if fs::remove_dir_all(&part).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Reads what an index of the batch in this folder is to do.
///
/// # Errors
/// `Exit::Usage` when it cannot be read.
pub fn order(batch: &Path, index: u32) -> Result<Order> {
    let file = batch.join("jobs").join(format!("{index}.json"));
    let json = fs::read_to_string(&file).or_cannot("read", &file).into_usage()?;
    serde_json::from_str(&json).or_cannot("read", &file).into_usage()
}

/// Where a job's result is put.
pub fn place(batch: &Path, index: u32, job: &Job) -> PathBuf {
    batch.join("results").join(index.to_string()).join(job.task.id())
}

/// The mark that a job's result is not needed any more.
pub fn taken(batch: &Path, index: u32, job: &Job) -> PathBuf {
    place(batch, index, job).with_extension("taken")
}

/// Where an index's worker says why there is no result.
pub fn why(batch: &Path, index: u32) -> PathBuf {
    batch.join("results").join(index.to_string()).join("why")
}

fn number_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}
