//! The report: a drawing of the network, the state of the services, and their URLs.

use nsutil::Result;

use crate::deployment::Deployment;
use crate::health;
use crate::host;
use crate::spec::Service;

/// The state of a service and the address of its container.
pub struct ServiceReport<'a> {
    service: &'a Service,
    state: State,
    address: Option<String>,
}

/// The states of a service, from absent to healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no container.
    Absent,
    /// Its first process has ended.
    Ended,
    /// It runs, but has no address.
    Unconnected,
    /// It has an address, but the health check fails.
    Silent,
    /// The health check succeeds.
    Well,
}

impl Deployment {
    /// Determines the state of every service.
    ///
    /// # Errors
    /// When the tool cannot list its containers.
    pub fn look(&self) -> Result<Vec<ServiceReport<'_>>> {
        self.spec.services.iter().map(|service| self.look_at(service)).collect()
    }

    fn look_at<'a>(&self, service: &'a Service) -> Result<ServiceReport<'a>> {
        let name = &service.name;
        let address = self.address(name).ok();
        let state = if address.is_some() {
            let well = self.health_url(service).is_ok_and(|url| health::is_healthy(&url));
            if well { State::Well } else { State::Silent }
        } else if self.conductor.is_running(name) {
            State::Unconnected
        } else if self.conductor.has_container(name)? {
            State::Ended
        } else {
            State::Absent
        };
        Ok(ServiceReport { service, state, address })
    }

    /// Prints the state of every service; returns whether all are healthy.
    ///
    /// # Errors
    /// When the tool cannot list its containers.
    pub fn status(&self) -> Result<bool> {
        let found = self.look()?;
        anstream::print!("{}", table(&found));
        Ok(found.iter().all(|found| found.state == State::Well))
    }

    /// Prints the drawing, the state of every service and the URLs; returns whether all are healthy.
    ///
    /// # Errors
    /// When the tool cannot list its containers.
    pub fn print(&self) -> Result<bool> {
        let found = self.look()?;
        let interface = host::default_route().map(|(interface, _)| interface);
        let host =
            Host { interface: interface.as_deref().unwrap_or("no way out"), address: host::address().to_string() };
        anstream::print!("\n{}\n{}{}", drawing(&found, &host), table(&found), urls(&found, &host));
        Ok(found.iter().all(|found| found.state == State::Well))
    }
}

/// What the drawing shows of the host.
struct Host<'a> {
    interface: &'a str,
    address: String,
}

fn table(found: &[ServiceReport<'_>]) -> String {
    let mut text = format!("{:<12} {:<12} {:<16} {}\n", "Service", "State", "Address", "Ports of the host");
    for ServiceReport { service, state, address } in found {
        let state = match state {
            State::Absent => "not there",
            State::Ended => "ended",
            State::Unconnected => "no network",
            State::Silent => "no answer",
            State::Well => "well",
        };
        let ports = service.expose.iter().map(|pair| format!("{} -> {}", pair.host, pair.inside));
        let ports = ports.collect::<Vec<_>>().join(", ");
        let ports = if ports.is_empty() { "none" } else { &ports };
        text += &format!("{:<12} {state:<12} {:<16} {ports}\n", service.name, address.as_deref().unwrap_or("-"));
    }
    text
}

fn urls(found: &[ServiceReport<'_>], host: &Host<'_>) -> String {
    let mut text = String::new();
    for ServiceReport { service, .. } in found {
        for pair in &service.expose {
            let at = |address: &str| format!("http://{address}:{}", pair.host);
            let (local, everywhere) = (at("127.0.0.1"), at(&host.address));
            // Not every tool forwards connections from the host to 127.0.0.1.
            let here = if health::is_healthy(&format!("{local}{}", service.health)) { &local } else { &everywhere };
            text += &format!("\nOpen {here}/ here, {everywhere}/ from anywhere\n");
        }
    }
    text
}

/// Inner widths of the two boxes in the drawing; their text is cut or padded.
const HOST_WIDTH: usize = 40;
const CONTAINER_WIDTH: usize = 21;

/// The network as the assignment draws it: the host on the left, a veth pair to each container, links between peers.
fn drawing(found: &[ServiceReport<'_>], host: &Host<'_>) -> String {
    let mut text = String::new();
    for (index, it) in found.iter().enumerate() {
        let above = index > 0 && are_peers(it, &found[index - 1]);
        let below = found.get(index + 1).is_some_and(|next| are_peers(it, next));
        if above {
            text += &format!("{:>1$} Peer Link\n", "│", HOST_WIDTH + CONTAINER_WIDTH / 2 + 8);
        } else if index > 0 {
            text += "\n";
        }
        text += &both(it, host, above, below);
    }
    text
}

fn are_peers(one: &ServiceReport<'_>, other: &ServiceReport<'_>) -> bool {
    one.service.peers.contains(&other.service.name) || other.service.peers.contains(&one.service.name)
}

/// One container and the host's end of its veth pair.
fn both(found: &ServiceReport<'_>, host: &Host<'_>, above: bool, below: bool) -> String {
    let service = found.service;
    let address = found.address.as_deref().unwrap_or("-");
    let gateway = address.rsplit_once('.').map_or("-".to_owned(), |(subnet, _)| format!("{subnet}.1"));
    let nat = match (service.internet, service.expose.is_empty()) {
        (true, true) => "(NAT only)",
        (true, false) => "(NAT)",
        (false, _) => "(no NAT)",
    };
    let ports = match service.expose.as_slice() {
        [] => "No port forwarding".to_owned(),
        pairs => {
            let pairs: Vec<String> = pairs.iter().map(|pair| format!("{} → {}", pair.host, pair.inside)).collect();
            format!("Port {}", pairs.join(", "))
        }
    };
    let files = service.files.rsplit('/').next().unwrap_or_default();
    let left = [
        "Host".to_owned(),
        String::new(),
        inner_boxes('┌', '─', '┐'),
        format!("│{}│ │{}│", fitted("default iface", 16), fitted(&format!("{}-outside", service.name), 17)),
        format!("│{}│ │{}│", fitted(host.interface, 16), fitted(&gateway, 17)),
        format!("│{}│ │{}│", fitted(&host.address, 16), fitted(nat, 17)),
        inner_boxes('└', '─', '┘'),
        ports,
    ];
    let right = [
        format!("Container {}", service.name),
        format!("({files})"),
        format!("┌{}┐", "─".repeat(17)),
        format!("│{}│", fitted(&format!("{}-inside", service.name), 17)),
        format!("│{}│", fitted(address, 17)),
        format!("│{}│", fitted(&format!(":{}", service.port), 17)),
        format!("└{}┘", "─".repeat(17)),
        String::new(),
    ];
    let edge = |corners: [char; 2], middle: Option<char>| {
        let half = "─".repeat(CONTAINER_WIDTH / 2);
        format!("{}{half}{}{half}{}", corners[0], middle.unwrap_or('─'), corners[1])
    };
    let host_edge = |corners: [char; 2]| format!("{}{}{}", corners[0], "─".repeat(HOST_WIDTH), corners[1]);
    let mut text = format!("{}    {}\n", host_edge(['┌', '┐']), edge(['┌', '┐'], above.then_some('┴')));
    for (row, (left, right)) in left.iter().zip(&right).enumerate() {
        // The line ends at the interfaces that it connects.
        let (out, line, into) = if row == 4 { ("├", "────", "┤") } else { ("│", "    ", "│") };
        text += &format!("│{}{out}{line}{into}{}│\n", fitted(left, HOST_WIDTH), fitted(right, CONTAINER_WIDTH));
    }
    text + &format!("{}    {}\n", host_edge(['└', '┘']), edge(['└', '┘'], below.then_some('┬')))
}

fn inner_boxes(left: char, line: char, right: char) -> String {
    let one = |width: usize| format!("{left}{}{right}", line.to_string().repeat(width));
    format!("{} {}", one(16), one(17))
}

/// A blank and the text, cut or padded to `width` characters in all.
fn fitted(text: &str, width: usize) -> String {
    let text: String = format!(" {text}").chars().take(width).collect();
    format!("{text:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    const HOST: Host<'_> = Host { interface: "enp1s0", address: String::new() };

    #[test]
    fn the_drawing_shows_the_host_both_veth_pairs_and_the_link_between_peers() {
        let spec = Spec::load(None).unwrap();
        let addresses = ["192.168.1.2", "192.168.2.2"];
        let found: Vec<_> = spec
            .services
            .iter()
            .zip(addresses)
            .map(|(service, address)| ServiceReport { service, state: State::Well, address: Some(address.to_owned()) })
            .collect();
        let shown = drawing(&found, &Host { address: "10.0.2.15".to_owned(), ..HOST });
        assert!(include_str!("../README.md").contains(&shown), "the manual shows another one than\n{shown}");
    }

    #[test]
    fn what_is_down_is_drawn_too_and_nothing_is_wider_than_its_box() {
        let mut spec = Spec::load(None).unwrap();
        spec.services[0].name = "a".repeat(60);
        spec.services[0].peers.clear();
        let found: Vec<_> = spec
            .services
            .iter()
            .map(|service| ServiceReport { service, state: State::Absent, address: None })
            .collect();
        let shown = drawing(&found, &HOST);
        assert!(
            shown.lines().all(|line| line.is_empty() || line.chars().count() == HOST_WIDTH + CONTAINER_WIDTH + 8),
            "{shown}"
        );
        assert!(!shown.contains("Peer Link"), "{shown}");
    }
}
