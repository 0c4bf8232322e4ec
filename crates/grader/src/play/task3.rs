//! The conductor's play.

use crate::fault::Fault;
use crate::stage::Stage;
use crate::submission::Handed;

/// Plays it.
pub fn play(stage: &mut Stage<'_>, handed: &Handed) -> Result<(), Fault> {
    let tool = &handed.run;
    let with =
        |words: &[&str]| -> Vec<String> { tool.iter().cloned().chain(words.iter().map(|w| (*w).to_owned())).collect() };
    stage.look("before");
    stage.run("build", &with(&["build", "eg-image"]))?;
    stage.look("built");
    Ok(())
}
