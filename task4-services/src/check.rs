//! Tests a deployment: which ports answer, whether visits are counted, and which ports are closed.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use nsutil::error::Result;

use crate::deployment::Deployment;
use crate::health::{answer, is_healthy};
use crate::host;
use crate::spec::Service;

/// The result of a check.
enum Outcome {
    Holds,
    Lost,
    /// This tool lacks it, and the assignment does not require it.
    Without,
    /// It cannot be checked here, for this reason.
    NotTried(&'static str),
}

impl Deployment {
    /// Checks every published port and every service; returns whether all checks passed.
    ///
    /// # Errors
    /// When a container cannot be asked for its address.
    pub fn check(&self) -> Result<bool> {
        let mut all_well = true;
        let mut told = |claim: String, outcome: Outcome| match outcome {
            Outcome::Holds => anstream::println!("  \x1b[32mok\x1b[0m    {claim}"),
            Outcome::Without => anstream::println!("  no    {claim}: the tool does without, and the assignment too"),
            Outcome::NotTried(why) => anstream::println!("  skip  {claim}: {why}"),
            Outcome::Lost => {
                all_well = false;
                anstream::println!("  \x1b[31mLOST\x1b[0m  {claim}");
            }
        };
        for service in &self.spec.services {
            let name = &service.name;
            let url = self.health_url(service)?;
            told(format!("{name} answers the host at {url}"), is_healthy(&url).into());
            let inside = format!("http://{}:", self.address(name)?);
            for pair in &service.expose {
                let at = |address: IpAddr, path: &str| format!("http://{address}:{}{path}", pair.host);
                let url = at(host::address(), &service.health);
                told(format!("{name} answers at {url}"), is_healthy(&url).into());
                let url = at(Ipv4Addr::LOCALHOST.into(), &service.health);
                told(
                    format!("{name} answers at {url}"),
                    if is_healthy(&url) { Outcome::Holds } else { Outcome::Without },
                );
                let (one, other) = (format!("{inside}{}/", pair.inside), at(host::address(), "/"));
                told(format!("two visits, one by {one}, count as two"), counts_on(&one, &other).into());
            }
            if service.expose.is_empty() {
                let url = format!("http://{}:{}{}", host::address(), service.port, service.health);
                let led_here = matches!((answer(&url), self.same_as(service)), (Ok(it), Some(ours)) if it == ours);
                told(format!("no port of the host leads to {name}: {url}"), (!led_here).into());
            }
            if service.internet {
                told(format!("{name} reaches what is beyond the host"), self.reaches_out(service));
            }
        }
        Ok(all_well)
    }

    /// The service's current answer at its own address.
    fn same_as(&self, service: &Service) -> Option<(u16, String)> {
        answer(&self.health_url(service).ok()?).ok()
    }

    /// Pings the host's default gateway from the container.
    fn reaches_out(&self, service: &Service) -> Outcome {
        let Some((_, neighbour)) = host::default_route() else {
            return Outcome::NotTried("the host itself has no way out");
        };
        let neighbour = neighbour.to_string();
        let mut by_host = Command::new("ping");
        by_host
            .args(["-c", "1", "-W", "1", &neighbour])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !by_host.status().is_ok_and(|status| status.success()) {
            return Outcome::NotTried("the host's own neighbour does not answer the host either");
        }
        self.conductor.pings(&service.name, &neighbour).into()
    }
}

impl From<bool> for Outcome {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Lost }
    }
}

/// Whether both answers contain a number, and the second is one greater than the first.
fn counts_on(first: &str, second: &str) -> bool {
    let number = |url: &str| {
        let (status, text) = answer(url).ok()?;
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok().filter(|_| status == 200)
    };
    matches!((number(first), number(second)), (Some(before), Some(after)) if after == before + 1)
}
