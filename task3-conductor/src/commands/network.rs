//! `conductor network check | draw | reload`: verify the networks of containers, draw them, or restore them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nsutil::error::{OrCannot, Result};
use nsutil::net::address::Subnet;

use crate::network::check;
use crate::network::check::Finding;
use crate::network::draw::Picture;
use crate::network::subnet;
use crate::output::say;
use crate::output::table::table;
use crate::store::Store;

/// Check the networks of containers, draw or restore them
#[derive(clap::Subcommand)]
#[command(after_help = "Examples:
  conductor network check
  conductor network draw networks.svg
  iptables -F && conductor network reload")]
pub enum Network {
    /// Check every link, address, sysctl and firewall rule; exit code 1 if one is missing
    Check,
    /// Draw the networks as the kernel has them
    Draw {
        /// Write an SVG drawing to this file, instead of letters to stdout
        #[arg(value_name = "FILE.svg")]
        file: Option<PathBuf>,
    },
    /// Restore what is missing
    Reload {
        /// Address pool of the subnets, if it is not the default
        #[arg(long, env = "CONDUCTOR_SUBNET_POOL", default_value = "192.168.0.0/16", value_name = "SUBNET", value_parser = subnet::pool)]
        pool: Subnet,
    },
}

/// Exit code of a check that found something missing.
const MISSING: u8 = 1;

impl Network {
    /// Checks, draws or reloads, and prints the result.
    ///
    /// # Errors
    /// Those of [`check::check`], [`check::reload`] and [`Picture::take`]; of write(2).
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        match self {
            Self::Check => {
                let findings = check::check(store)?;
                if findings.is_empty() {
                    return nothing_found();
                }
                say(&table(
                    &[20, 8],
                    &["Container", "State", "What"],
                    &findings.iter().map(cells).collect::<Vec<_>>(),
                ))?;
                let all_there = findings.iter().all(|finding| finding.is_there);
                Ok(if all_there { ExitCode::SUCCESS } else { ExitCode::from(MISSING) })
            }
            Self::Draw { file } => {
                let picture = Picture::take(store)?;
                match file {
                    _ if picture.is_empty() => return nothing_found(),
                    None => say(&picture.to_string())?,
                    Some(file) => fs::write(&file, picture.svg()).or_cannot("write", file.display())?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Reload { pool } => {
                for name in check::reload(store, pool)? {
                    say(&format!("{name}\n"))?;
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn nothing_found() -> Result<ExitCode> {
    say("No networks found\n").map(|()| ExitCode::SUCCESS)
}

fn cells(finding: &Finding) -> Vec<String> {
    let state = if finding.is_there { "there" } else { "missing" };
    vec![finding.container.to_string(), state.to_owned(), finding.what.clone()]
}
