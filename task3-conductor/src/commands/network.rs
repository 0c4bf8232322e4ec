//! `conductor network check | reload`: whether networks are as they were asked for, and making them so again.

use std::process::ExitCode;

use nsutil::Result;
use nsutil::net::address::Subnet;

use crate::network::check;
use crate::network::check::Finding;
use crate::network::subnet;
use crate::output::say;
use crate::output::table::table;
use crate::store::Store;

/// Compare the networks of containers with what was asked for, or make them so again
#[derive(clap::Subcommand)]
#[command(after_help = "Examples:
  conductor network check
  iptables -F && conductor network reload")]
pub enum Network {
    /// Look for every link, address, sysctl and firewall rule; ends with 1 when one is missing
    Check,
    /// Make again what is missing, from what was asked for
    Reload {
        /// Where subnets were taken from, if it was somewhere else
        #[arg(long, env = "CONDUCTOR_SUBNET_POOL", default_value = "192.168.0.0/16", value_name = "SUBNET", value_parser = subnet::pool)]
        pool: Subnet,
    },
}

/// The exit code of a check that found something missing.
const MISSING: u8 = 1;

impl Network {
    /// Does it, and says what came of it.
    ///
    /// # Errors
    /// Those of [`check::check`] and [`check::reload`].
    pub fn run(self, store: &Store) -> Result<ExitCode> {
        match self {
            Self::Check => {
                let findings = check::check(store)?;
                if findings.is_empty() {
                    say("No networks found\n")?;
                    return Ok(ExitCode::SUCCESS);
                }
                say(&table(
                    &[20, 8],
                    &["Container", "State", "What"],
                    &findings.iter().map(cells).collect::<Vec<_>>(),
                ))?;
                let all_there = findings.iter().all(|finding| finding.is_there);
                Ok(if all_there { ExitCode::SUCCESS } else { ExitCode::from(MISSING) })
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

fn cells(finding: &Finding) -> Vec<String> {
    let state = if finding.is_there { "there" } else { "missing" };
    vec![finding.container.to_string(), state.to_owned(), finding.what.clone()]
}
