//! What is done with a tool, step by step. See [`crate::stage`].
//!
//! A play is written for any tool with the assignment's command line: it types what the assignment types, finds out what
//! came of it by looking at the kernel, and goes on from there. What it saw is judged afterwards, in `judge/`.

pub mod task3;
pub mod task4;

use crate::fault::Fault;
use crate::plan::RunPlan;
use crate::signals::Signals;
use crate::stage::Stage;
use crate::task::Task;
use crate::trace::Run;

/// Runs a tool once through its play, and takes the box down again.
///
/// # Errors
/// Those of a run with any observer.
pub fn observe(plan: &RunPlan<'_>) -> Result<Run, Fault> {
    let handed = plan.submission.hand_over()?;
    let signals = Signals::held_back()?;
    let mut stage = Stage::set(plan, &handed, &signals)?;
    match plan.task {
        Task::Task3 => task3::play(&mut stage, &handed)?,
        Task::Task4 => task4::play(&mut stage, &handed)?,
        Task::Task1 | Task::Task2 => {
            return Err(Fault::Broken(format!("{} is no tool", plan.task)));
        }
    }
    Ok(stage.leave())
}
