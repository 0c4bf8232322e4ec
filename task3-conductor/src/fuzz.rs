//! The fuzz targets (folder fuzz/): everything that parses untrusted text, with the properties that must hold.
//!
//! Look: `cargo fuzz run conductorfile -- -max_total_time=60` in the folder of this crate.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use nsutil::error::line;
use nsutil::net::address::Subnet;

use crate::container::plan::WorkingDirectory;
use crate::image::base::Base;
use crate::image::conductorfile::Conductorfile;
use crate::image::layer_steps::{Settings, plan};
use crate::network::NetworkRecord;
use crate::network::publish::PublishedPort;
use crate::spec::env::Variable;
use crate::spec::hostname::Hostname;
use crate::spec::name::{ContainerName, ImageName};
use crate::spec::resources::{Cpus, Memory, ProcessCount};
use crate::spec::user::User;
use crate::spec::volume::Volume;
use crate::store::ledger::Change;
use crate::store::record::{ContainerRecord, ImageRecord, read};

/// A Conductorfile is parsed, or refused in three lines without control characters.
pub fn conductorfile(bytes: &[u8]) {
    let planned = Conductorfile::parse("Conductorfile", bytes).and_then(|file| plan(&file, Settings::default()));
    match planned {
        Ok((steps, settings)) => {
            for step in steps {
                assert!(step.at.line >= 1 && step.at.column >= 1, "{step:?}");
            }
            assert!(settings.working_directory.is_none_or(|folder| folder.starts_with('/')));
        }
        Err(error) => {
            let told = line(&error);
            assert!(told.lines().count() <= 3, "{told}");
            assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
        }
    }
}

/// A word is parsed, and equals itself after printing and parsing; or it is refused in one short line.
pub fn words(text: &str) {
    back_and_forth::<PublishedPort>(text);
    back_and_forth::<Subnet>(text);
    back_and_forth::<Base>(text);
    back_and_forth::<ImageName>(text);
    back_and_forth::<Hostname>(text);
    if let Some(name) = back_and_forth::<ContainerName>(text) {
        assert!(!name.as_str().contains(['/', '\0']) && !name.as_str().starts_with('.'));
    }
    let refusals = [
        text.parse::<Variable>().err(),
        text.parse::<Volume>().err(),
        text.parse::<User>().err(),
        text.parse::<Cpus>().err(),
        text.parse::<Memory>().err(),
        text.parse::<ProcessCount>().err(),
        text.parse::<WorkingDirectory>().err(),
    ];
    refusals.iter().flatten().for_each(|refusal| is_short(refusal));
}

/// A record or a ledger's line is parsed, or refused in one line.
pub fn records(bytes: &[u8]) {
    let refused = [
        read::<ImageRecord>("record.json", bytes).err(),
        read::<ContainerRecord>("record.json", bytes).err(),
        read::<NetworkRecord>("network.json", bytes).err(),
    ];
    for error in refused.iter().flatten() {
        assert_eq!(line(error).lines().count(), 1, "{}", line(error));
    }
    let _ = serde_json::from_slice::<Change>(bytes);
}

fn back_and_forth<T: FromStr<Err = String> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse::<T>().as_ref(), Ok(&value));
            Some(value)
        }
        Err(refusal) => {
            is_short(&refusal);
            None
        }
    }
}

fn is_short(refusal: &str) {
    assert!(refusal.len() < 1000 && !refusal.chars().any(char::is_control), "{refusal:?}");
}
