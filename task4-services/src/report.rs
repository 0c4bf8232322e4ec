//! What is told at the end: the services, the URLs, and a drawing of the network.

use nsutil::Result;

use crate::deployment::Deployment;
use crate::health;
use crate::spec::Service;

/// Where a service's container stands, as it was found.
pub struct Found<'a> {
    service: &'a Service,
    address: Option<String>,
    well: bool,
}

impl Deployment {
    /// Looks at every service.
    pub fn look(&self) -> Vec<Found<'_>> {
        let services = self.spec.services.iter();
        services
            .map(|service| Found {
                service,
                address: self.address(&service.name).ok(),
                well: self.health_url(service).is_ok_and(|url| health::is_well(&url)),
            })
            .collect()
    }

    /// Prints the state of every service; whether all are well.
    ///
    /// # Errors
    /// None of its own.
    pub fn status(&self) -> Result<bool> {
        let found = self.look();
        anstream::print!("{}{}", table(&found), urls(&found));
        Ok(found.iter().all(|found| found.well))
    }
}

fn table(found: &[Found<'_>]) -> String {
    let mut text = format!("{:<12} {:<10} {:<16} {}\n", "Service", "State", "Address", "Ports of the host");
    for Found { service, address, well } in found {
        let state = match (address, well) {
            (None, _) => "down",
            (Some(_), false) => "no answer",
            (Some(_), true) => "well",
        };
        let ports = service.expose.iter().map(|pair| format!("{} -> {}", pair.host, pair.inside));
        let ports = ports.collect::<Vec<_>>().join(", ");
        let ports = if ports.is_empty() { "none" } else { &ports };
        text += &format!("{:<12} {state:<10} {:<16} {ports}\n", service.name, address.as_deref().unwrap_or("-"));
    }
    text
}

fn urls(found: &[Found<'_>]) -> String {
    let published = found.iter().flat_map(|found| &found.service.expose);
    published
        .map(|pair| format!("\nOpen http://127.0.0.1:{0}/ here, http://<this host>:{0}/ from elsewhere\n", pair.host))
        .collect()
}

/// The network as the assignment draws it: the host on the left, a cable to each container, links between peers.
pub fn drawing(found: &[Found<'_>]) -> String {
    let mut text = String::new();
    for (index, Found { service, address, .. }) in found.iter().enumerate() {
        let outside = address.as_deref().map_or("-".to_owned(), gateway_of);
        let reach = match (service.internet, service.expose.first()) {
            (_, Some(pair)) => format!("NAT, {} in", pair.host),
            (true, None) => "NAT only".to_owned(),
            (false, None) => "host only".to_owned(),
        };
        let inside = address.as_deref().unwrap_or("down");
        let host = if index == 0 { "Host" } else { "" };
        text += &format!("{host:<6}┌──────────────────┐      ┌──────────────────┐\n");
        text += &format!(
            "      │ {:<16.16} │      │ {:<16.16} │\n",
            format!("{}-outside", service.name),
            format!("{}-inside", service.name)
        );
        text += &format!("      │ {outside:<16} ├──────┤ {:<16} │  container {}\n", inside, service.name);
        text += &format!("      │ {reach:<16.16} │      │ {:<16} │\n", format!(":{}", service.port));
        text += "      └──────────────────┘      └────────┬─────────┘\n";
        if let Some(next) = found.get(index + 1) {
            let peers = service.peers.contains(&next.service.name) || next.service.peers.contains(&service.name);
            text += if peers { "                                         │ peer link\n" } else { "\n" };
        }
    }
    // Nothing hangs below the last one.
    match text.rfind('┬') {
        Some(last) => text[..last].to_owned() + "─" + &text[last + '┬'.len_utf8()..],
        None => text,
    }
}

/// The host's end of a container's cable: the same subnet, number 1.
fn gateway_of(address: &str) -> String {
    address.rsplit_once('.').map_or("-".to_owned(), |(subnet, _)| format!("{subnet}.1"))
}
