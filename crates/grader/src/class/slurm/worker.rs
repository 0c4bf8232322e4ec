//! `grade class-worker BATCH INDEX`: what runs on a node, one student's tasks one after the other.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::work::{self, Children, Job};
use super::super::{Options, Where};
use super::batch;
use crate::error::{IntoExit, OrCannot, Result};

/// Grade one submission of a class as a job of a cluster
#[derive(Debug, Clone, clap::Args)]
pub struct Worker {
    /// The batch's folder
    batch: PathBuf,
    /// The index in the array
    index: u32,
}

impl Worker {
    /// Grades what has no result yet.
    ///
    /// # Errors
    /// `Exit::CannotRun` when this node cannot grade; that is also written down for the one who gathers.
    pub fn run(&self) -> Result<u8> {
        let batch = fs::canonicalize(&self.batch).or_cannot("open", &self.batch).into_usage()?;
        let done = self.grade(&batch);
        if let Err(error) = &done {
            let file = batch::why(&batch, self.index);
            let new = file.with_extension(own_name());
            // It is told on stderr as well, which is in the log.
            let _ =
                fs::write(&new, format!("node {}: {}", node(), error.line())).and_then(|()| fs::rename(&new, &file));
        }
        done.map(|()| 0)
    }

    fn grade(&self, batch: &Path) -> Result<()> {
        let order = batch::order(batch, self.index)?;
        let is_root = nix::unistd::geteuid().is_root();
        let usual = if is_root { Where::Box } else { Where::Vm };
        let options = Options {
            kit: order.options.kit.map(|kit| batch.join(kit)),
            image: batch.join(order.options.image),
            place: order.place.unwrap_or(usual),
            ..order.options
        };
        let children = Children::new()?;
        let mut done = Ok(());
        children.watched(|| {
            done = order.jobs.iter().try_for_each(|job| {
                let job = Job { submission: batch.join(&job.submission), ..job.clone() };
                one(&options, batch, self.index, &job, &children)
            });
        });
        done
    }
}

/// Grades one task, unless its result is there. It makes no folder but that of the result: the batch may have been removed since,
/// because another copy of this job was first.
fn one(options: &Options, batch: &Path, index: u32, job: &Job, children: &Children) -> Result<()> {
    let (place, taken) = (batch::place(batch, index, job), batch::taken(batch, index, job));
    if place.exists() || taken.exists() {
        return Ok(());
    }
    let part = place.with_extension(format!("{}.part", own_name()));
    work::fill(options, job, &part, &place, children)?;
    if !taken.exists() {
        match fs::rename(&part, &place) {
            Ok(()) => return Ok(()),
            // Another copy of this job was first.
            Err(_) if place.exists() => (),
            Err(why) => return Err(why).or_cannot("rename", &part).into_usage(),
        }
    }
    fs::remove_dir_all(&part).or_cannot("remove the folder", &part).into_usage()
}

/// Another one for each process of each node.
fn own_name() -> String {
    format!("{}.{}", node(), std::process::id())
}

fn node() -> String {
    // Of nodes that share a machine, Slurm's name tells them apart.
    let name = std::env::var("SLURMD_NODENAME").ok();
    name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::Task;

    #[test]
    fn a_worker_does_not_make_a_batch_again_that_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let batch = dir.path().join("1");
        let (kit, image, place) = (None, batch.join("image"), Where::Box);
        let options = Options { kit, hint: 0, time_scale: 1.0, rejudge: false, place, image };
        let [submission, place] = [batch.join("handins/1/a"), "a/task1".into()];
        let job = Job { id: "a".to_owned(), task: Task::Task1, submission, place, stamp: "stamp".to_owned() };
        let error = one(&options, &batch, 1, &job, &Children::new().unwrap()).unwrap_err();
        assert!(error.line().contains("cannot make the folder"), "{}", error.line());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
