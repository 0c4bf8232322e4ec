//! The orchestrator's play: brought up, visited, robbed of its counter, taken down, and brought up again.
//!
//! Only what the network shows counts. Which process is the page and which the counter is found out by asking: the
//! counter is who answers `/get_counter` with a number, the page is another server that speaks HTTP. Whatever stands
//! between them and the host is the submission's affair, and so is whether `up` comes back or stays.
//!
//! The counter is moved on a number of times that follows from the seed before anybody visits, so that no greeting can be
//! known before. It is read before and after each visit: what the visitor is told must be that number.

use std::time::Duration;

use crate::fault::Fault;
use crate::stage::{Listener, Stage, Terminal, WEB_PORT};
use crate::submission::Handed;
use crate::trace::session::{Answer, Ask, Place, Probe, Process};

/// The host's port that leads to the page.
pub const PUBLISHED: u16 = 3000;
/// Ports of the host that a careless orchestrator might have given to the counter as well.
const TEMPTING: [u16; 5] = [8080, 8081, 3001, 8000, 80];
/// Most ports of the host that are tried.
const MOST_PORTS: usize = 24;
/// Who visits, as the steps call them.
const BY: [(&str, Place); 2] = [("outside", Place::Outside), ("the host", Place::Host)];
/// What the counter is asked.
const READ: &str = "/get_counter";
const COUNT: &str = "/get_and_increment_counter";

/// How long a deployment may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(60);
/// How long its services may take when `up` has come back.
const SERVICES_LIMIT: Duration = Duration::from_secs(8);
/// How long taking it down may take.
const DOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long the kernel may take to clear up behind what has ended.
const CLEARING: Duration = Duration::from_secs(3);
/// Between two visits by which the page is waited for.
const INTERVAL: Duration = Duration::from_millis(200);

/// Plays it.
///
/// # Errors
/// [`Fault::Interrupted`], [`Fault::Broken`].
pub fn play(stage: &mut Stage<'_>, handed: &Handed) -> Result<(), Fault> {
    let mut tool = Tool { stage, words: handed.run.clone() };
    tool.stage.look("before");
    tool.visit("nobody", Place::Outside)?;
    tool.up("up")?;
    let there = tool.who_is_who("")?;
    tool.stage.look("is up");
    tool.visits(&there)?;
    tool.ways_out(&there)?;
    tool.ways_in(&there)?;
    tool.without_counter(&there)?;
    tool.down()?;
    tool.up("up again")?;
    let there = tool.who_is_who(" again")?;
    for (name, from) in BY {
        tool.read(&format!("counter before the visit from {name} again"), &there)?;
        tool.visit(&format!("visit from {name} again"), from)?;
    }
    Ok(())
}

/// The orchestrator on its stage.
struct Tool<'s, 'a> {
    stage: &'s mut Stage<'a>,
    /// The words before `up` and `down`.
    words: Vec<String>,
}

/// Who was found.
#[derive(Debug, Default)]
struct There {
    counter: Option<Server>,
    page: Option<Server>,
}

/// A service, and where the host asks it.
#[derive(Debug, Clone)]
struct Server {
    process: Process,
    address: String,
    port: u16,
}

impl Tool<'_, '_> {
    fn line(&self, word: &str) -> Vec<String> {
        self.words.iter().cloned().chain([word.to_owned()]).collect()
    }

    /// `up`, until it has come back, or stays and the page answers; then until the page is well.
    fn up(&mut self, name: &str) -> Result<(), Fault> {
        let line = self.line("up");
        if !self.stage.start(name, &line, Terminal::No)? {
            return Ok(());
        }
        if self.page_comes(name, "while it works", UP_LIMIT)? && !self.stage.has_ended(name) {
            // It stays with its services, or has more to say: a moment will tell.
            let moment = self.stage.scaled(CLEARING);
            self.stage.until(moment, |stage| stage.has_ended(name).then_some(()))?;
        }
        if self.stage.has_ended(name) {
            self.stage.finish(name, Duration::ZERO)?;
        }
        self.page_comes("", &format!("after {name}"), SERVICES_LIMIT)?;
        Ok(())
    }

    /// Waits for a greeting, or for the end of `command`.
    fn page_comes(&mut self, command: &str, when: &str, limit: Duration) -> Result<bool, Fault> {
        let (interval, limit) = (self.stage.scaled(INTERVAL), self.stage.scaled(limit));
        let begin = std::time::Instant::now();
        for nth in 0.. {
            let greeted = self.visit(&format!("{command} {when} {nth}"), Place::Host)?;
            let is_over = begin.elapsed() > limit || !command.is_empty() && self.stage.has_ended(command);
            if greeted || is_over || self.stage.is_over() {
                return Ok(greeted);
            }
            self.stage.until(interval, |stage| (!command.is_empty() && stage.has_ended(command)).then_some(()))?;
        }
        Ok(false)
    }

    /// Asks all servers who they are; `suffix` tells the second time from the first.
    fn who_is_who(&mut self, suffix: &str) -> Result<There, Fault> {
        let look = format!("servers{suffix}");
        self.stage.look(&look);
        let servers: Vec<(Listener, String)> =
            self.stage.listeners().into_iter().filter_map(|it| Some((it.clone(), self.address(&look, &it)?))).collect();
        let ask = |path: &str| {
            let asks = servers.iter().map(|(it, address)| http(address, it.port, path));
            asks.enumerate().map(|(nth, ask)| (format!("server {nth} {path}{suffix}"), ask)).collect::<Vec<_>>()
        };
        let counters = self.ask_on_host(&format!("counters{suffix}"), ask(READ))?;
        let counter = counters.iter().position(|probe| number_of(&probe.answer).is_some());
        let pages = self.ask_on_host(&format!("pages{suffix}"), ask("/"))?;
        let page = pages.iter().enumerate().position(|(nth, it)| Some(nth) != counter && speaks_http(&it.answer));
        Ok(There {
            counter: self.found(&format!("counter{suffix}"), counter.and_then(|nth| servers.get(nth)))?,
            page: self.found(&format!("page{suffix}"), page.and_then(|nth| servers.get(nth)))?,
        })
    }

    /// Where the host reaches a server: an address of its network namespace, the host's own being this.
    fn address(&self, look: &str, server: &Listener) -> Option<String> {
        if self.stage.host_state().namespaces.get("net") == Some(&server.namespace) {
            return Some("127.0.0.1".to_owned());
        }
        let network = self.stage.looked(look)?.networks.get(&server.namespace)?;
        let addresses = network.links.iter().flat_map(|link| &link.addresses);
        let address = addresses.into_iter().find(|address| !address.starts_with("127."))?;
        address.split('/').next().map(str::to_owned)
    }

    fn found(&mut self, name: &str, server: Option<&(Listener, String)>) -> Result<Option<Server>, Fault> {
        let Some((listener, address)) = server else { return Ok(None) };
        let pid = listener.pid;
        let is_it = |stage: &Stage<'_>, it| (it == pid).then(|| stage.process(it)).flatten();
        let process = self.stage.find_process(name, "", is_it)?;
        if process.is_some() {
            self.stage.name_place(name, pid);
        }
        Ok(process.map(|process| Server { process, address: address.clone(), port: listener.port }))
    }

    /// The counter is moved on, and then visited from two sides.
    fn visits(&mut self, there: &There) -> Result<(), Fault> {
        let Some(counter) = &there.counter else {
            // Without one, whether the page is there can still be seen.
            for (name, from) in BY {
                self.visit(&format!("visit from {name}"), from)?;
            }
            return Ok(());
        };
        let times = 20 + self.stage.number(7).bytes().map(u32::from).sum::<u32>() % 30;
        let moves = (0..times).map(|nth| (format!("move {nth}"), http(&counter.address, counter.port, COUNT)));
        self.ask_on_host("counter moved", moves.collect())?;
        for (name, from) in BY {
            self.read(&format!("counter before the visit from {name}"), there)?;
            self.visit(&format!("visit from {name}"), from)?;
            self.read(&format!("counter after the visit from {name}"), there)?;
        }
        let local = http("127.0.0.1", PUBLISHED, "/");
        self.stage.probe("local", vec![("visit by 127.0.0.1", Place::Host, local)])?;
        Ok(())
    }

    /// Both containers, and the host, on their way to the internet.
    fn ways_out(&mut self, there: &There) -> Result<(), Fault> {
        let internet = Ask::Tcp { to: self.stage.world().addresses.internet.clone(), port: WEB_PORT };
        let mut asks = vec![("host calls internet", Place::Host, internet.clone())];
        for (name, ask, server) in
            [("page", "page calls internet", &there.page), ("counter", "counter calls internet", &there.counter)]
        {
            if server.is_some() {
                asks.push((ask, Place::Container(name.to_owned()), internet.clone()));
            }
        }
        self.stage.probe("ways out", asks)?;
        Ok(())
    }

    /// From the other machine to every port of the host that may lead somewhere.
    fn ways_in(&mut self, there: &There) -> Result<(), Fault> {
        if there.counter.is_none() {
            return Ok(());
        }
        let rules = self.stage.looked("is up").map(|look| look.rules.clone()).unwrap_or_default();
        let ours = self.stage.host_state().namespaces.get("net").copied();
        let listeners = self.stage.listeners().into_iter().filter(|it| Some(it.namespace) == ours).map(|it| it.port);
        let mut ports: Vec<u16> = TEMPTING.into_iter().chain(led(&rules)).chain(listeners).collect();
        ports.sort_unstable();
        ports.dedup();
        ports.truncate(MOST_PORTS);
        let host = self.stage.world().addresses.host.clone();
        let names: Vec<String> = ports.iter().map(|port| format!("outside asks port {port}")).collect();
        let asks = names.iter().zip(&ports).map(|(name, port)| (&**name, Place::Outside, http(&host, *port, READ)));
        let asks = asks.collect();
        self.stage.probe("ways in", asks)?;
        Ok(())
    }

    /// The counter's process is killed, and the page visited once more.
    fn without_counter(&mut self, there: &There) -> Result<(), Fault> {
        let Some(counter) = &there.counter else { return Ok(()) };
        let pid = counter.process.pid;
        self.stage.kill(pid);
        let patience = self.stage.scaled(CLEARING);
        self.stage.until(patience, |stage| (!stage.inventory().0.contains(&pid)).then_some(()))?;
        self.read("counter without its process", there)?;
        for (name, from) in BY {
            self.visit(&format!("visit from {name} without a counter"), from)?;
        }
        Ok(())
    }

    /// `down`, and what is left.
    fn down(&mut self) -> Result<(), Fault> {
        for place in ["page", "counter"] {
            self.stage.forget_place(place);
        }
        let known = self.stage.looked("before").map_or(Vec::new(), |look| look.processes.clone());
        let line = self.line("down");
        if self.stage.start("down", &line, Terminal::No)? {
            let limit = self.stage.scaled(DOWN_LIMIT);
            self.stage.finish("down", limit)?;
        }
        let patience = self.stage.scaled(CLEARING);
        let is_known = |pid: &i32| known.iter().any(|process| process.pid == *pid);
        self.stage.until(patience, |stage| stage.inventory().0.iter().all(is_known).then_some(()))?;
        self.stage.look("end");
        for (name, from) in BY {
            self.visit(&format!("visit from {name} at the end"), from)?;
        }
        Ok(())
    }

    fn read(&mut self, name: &str, there: &There) -> Result<(), Fault> {
        if let Some(counter) = &there.counter {
            let ask = http(&counter.address, counter.port, READ);
            self.stage.probe(&format!("{name}:"), vec![(name, Place::Host, ask)])?;
        }
        Ok(())
    }

    /// A visit at the published port; whether there was a greeting.
    fn visit(&mut self, name: &str, from: Place) -> Result<bool, Fault> {
        let page = http(&self.stage.world().addresses.host.clone(), PUBLISHED, "/");
        let probes = self.stage.probe(&format!("{name}:"), vec![(name, from, page)])?;
        Ok(probes.iter().any(|probe| status_of(&probe.answer) == Some(200)))
    }

    fn ask_on_host(&mut self, step: &str, asks: Vec<(String, Ask)>) -> Result<Vec<Probe>, Fault> {
        let asks = asks.iter().map(|(name, ask)| (&**name, Place::Host, ask.clone())).collect();
        self.stage.probe(step, asks)
    }
}

fn http(to: &str, port: u16, path: &str) -> Ask {
    Ask::Http { to: to.to_owned(), port, path: path.to_owned() }
}

/// The ports that rules lead somewhere: `nat -A PREROUTING … --dport 3000 … -j DNAT …`.
fn led(rules: &[String]) -> impl Iterator<Item = u16> + '_ {
    rules.iter().filter(|rule| rule.contains("DNAT") || rule.contains("REDIRECT")).filter_map(|rule| {
        let (_, rest) = rule.split_once("--dport ")?;
        rest.split_whitespace().next()?.parse().ok()
    })
}

/// The status of an HTTP answer: the second word of `HTTP/1.1 200 OK`.
pub fn status_of(answer: &Answer) -> Option<u16> {
    match answer {
        Answer::Said(text) if speaks_http(answer) => text.lines().next()?.split_whitespace().nth(1)?.parse().ok(),
        _ => None,
    }
}

/// Whether a server answered in HTTP.
pub fn speaks_http(answer: &Answer) -> bool {
    matches!(answer, Answer::Said(text) if text.starts_with("HTTP/"))
}

/// What stands below the status.
pub fn body_of(answer: &Answer) -> &str {
    match answer {
        Answer::Said(text) => text.split_once('\n').map_or("", |(_, body)| body),
        _ => "",
    }
}

/// The number that a counter answers with, and nothing else.
pub fn number_of(answer: &Answer) -> Option<u64> {
    if status_of(answer) != Some(200) {
        return None;
    }
    body_of(answer).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_answer_is_a_number_and_nothing_else() {
        let said = |text: &str| Answer::Said(text.to_owned());
        assert_eq!(number_of(&said("HTTP/1.1 200 OK\n42\n")), Some(42));
        for other in ["HTTP/1.1 200 OK\nHello, 42", "HTTP/1.1 404 Not Found\n42", "42", "HTTP/1.0 200 OK\n"] {
            assert_eq!(number_of(&said(other)), None, "{other}");
        }
        assert_eq!(number_of(&Answer::Silence), None);
    }

    #[test]
    fn a_rule_that_leads_a_port_somewhere_names_it() {
        let rules = [
            "nat -A PREROUTING -p tcp -m tcp --dport 3000 -j DNAT --to-destination 192.168.1.2:8080",
            "filter -A FORWARD -p tcp -m tcp --dport 8080 -j ACCEPT",
            "nat -A conductor-c2 -p tcp -m tcp --dport 4000 -j DNAT --to-destination 192.168.2.2:8080",
        ];
        assert_eq!(led(&rules.map(str::to_owned)).collect::<Vec<_>>(), [3000, 4000]);
    }
}
