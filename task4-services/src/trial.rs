//! Trying a deployment out: what should answer, what should count, and what should be closed.

use nsutil::error::Result;

use crate::deployment::Deployment;
use crate::health::answer;
use crate::spec::Service;

impl Deployment {
    /// Tries every published port and every service; whether all was as it should be.
    ///
    /// # Errors
    /// When a container cannot be asked for its address.
    pub fn try_out(&self) -> Result<bool> {
        let mut all_well = true;
        let mut told = |claim: String, holds: bool| {
            all_well &= holds;
            anstream::println!("  {}  {claim}", if holds { "\x1b[32mok\x1b[0m  " } else { "\x1b[31mLOST\x1b[0m" });
        };
        for service in &self.spec.services {
            let url = self.health_url(service)?;
            told(format!("{} answers the host at {url}", service.name), answer(&url).is_ok());
            let address = self.address(&service.name)?;
            for pair in &service.expose {
                let (inner, outer) =
                    (format!("http://{address}:{}/", pair.inside), format!("http://127.0.0.1:{}/", pair.host));
                told(format!("{} answers at {outer}", service.name), answer(&outer).is_ok());
                told(format!("two visits, one by {inner}, count as two"), counts_on(&inner, &outer));
            }
            if service.internet {
                told(format!("{} has a way out: a default route", service.name), self.has_default_route(service));
            }
        }
        Ok(all_well)
    }

    fn has_default_route(&self, service: &Service) -> bool {
        self.conductor
            .ask(&service.name, &["ip", "route", "show", "default"])
            .is_ok_and(|text| text.contains("default"))
    }
}

/// Whether two answers carry a number each, the second one more than the first.
fn counts_on(first: &str, second: &str) -> bool {
    let number = |url: &str| {
        let (status, text) = answer(url).ok()?;
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok().filter(|_| status == 200)
    };
    matches!((number(first), number(second)), (Some(before), Some(after)) if after == before + 1)
}
