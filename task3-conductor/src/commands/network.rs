//! `conductor network check | reload`: verify the networks of containers, or restore them.

use std::process::ExitCode;

use nsutil::Result;
use nsutil::net::address::Subnet;

use crate::network::check;
use crate::network::check::Finding;
use crate::network::subnet;
use crate::output::say;
use crate::output::table::table;
use crate::store::Store;

/// Check the networks of containers, or restore them
#[derive(clap::Subcommand)]
#[command(after_help = "Examples:
  conductor network check
  iptables -F && conductor network reload")]
pub enum Network {
    /// Check every link, address, sysctl and firewall rule; exit code 1 if one is missing
    Check,
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
    /// Runs the check or the reload and prints the result.
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
