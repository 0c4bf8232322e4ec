//! The orchestrator's session: `up`, visits, the counter killed, `down`, and `up` again.
//!
//! Only what the network shows counts. Which process is the page and which the counter is found out by asking: the
//! counter is the server that answers `/get_counter` with a number, the page another server that speaks HTTP. What lies
//! between them and the host is up to the submission, and so is whether `up` comes back or stays.
//!
//! The course's own orchestrators have no `up` and `down`: they take no arguments, run their steps from top to bottom, and
//! may stay or wait for a key at the end. Such a one is run on a terminal and judged when the page greets. It is taken down
//! as the assignment does it ("Clean Reset"): by the tool's `stop` for each container and `rmi` for each image.
//!
//! Where the services do not come, servers of ours stand in for them in the containers that have their files, so that the
//! containers' networks can be judged all the same.
//!
//! The counter is moved on a number of times that follows from the seed before the first visit, so that a greeting cannot
//! be prepared. It is read before and after each visit: what the visitor is told must be that number.

use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::record::steps::{Answer, Ask, Place, Probe, Process};
use crate::sandbox::FileKind;
use crate::session::{Listener, Session, Terminal, WEB_PORT};
use crate::submission::PreparedSubmission;

/// The host's port that leads to the page.
pub const PUBLISHED: u16 = 3000;
/// Ports of the host that a careless orchestrator might have given to the counter as well.
const TEMPTING: [u16; 5] = [8080, 8081, 3001, 8000, 80];
/// Most ports of the host that are asked for the counter.
const MOST_PORTS: usize = 24;
/// Where the services listen in their containers, by the assignment.
const INNER: u16 = 8080;
/// The folders of the services, in the root of the container that runs each.
pub const FOLDERS: [(&str, &str); 2] = [("page", "external-service"), ("counter", "counter-service")];
/// What our server in the counter's place says of itself.
pub const STAND_IN: &str = "stands in for the counter";
/// A file that cannot be removed, put into each container's folder.
const STUCK: &str = "cannot-be-removed";
/// The visitors, as the steps call them.
const BY: [(&str, Place); 2] = [("outside", Place::Outside), ("the host", Place::Host)];
/// What the counter is asked.
const READ: &str = "/get_counter";
const COUNT: &str = "/get_and_increment_counter";

/// How long a deployment may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(60);
/// How long the course's may take, whose services install and compile first.
const SCRIPT_LIMIT: Duration = Duration::from_secs(100);
/// How long nothing may change while a script waits for a key, before the key is pressed.
const AT_A_PROMPT: Duration = Duration::from_secs(6);
/// CPU time by which the box's processes are seen to work.
const WORK: Duration = Duration::from_millis(50);
/// How long nothing may change at all, before nothing more is waited for.
const IDLE: Duration = Duration::from_secs(25);
/// How long a script may take to end when it was asked to.
const ENDING: Duration = Duration::from_secs(5);
/// How long its services may take when `up` has come back.
const SERVICES_LIMIT: Duration = Duration::from_secs(8);
/// How long taking it down may take.
const DOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long the kernel may take to clear up behind what has ended.
const CLEARING: Duration = Duration::from_secs(3);
/// Between two visits by which the page is waited for.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs all steps.
///
/// # Errors
/// `Exit::Interrupted`, `Exit::Broken`.
pub fn run_steps(session: &mut Session<'_>, prepared: &PreparedSubmission) -> Result<()> {
    let conductor = conductor_of(prepared);
    let mut tool = Orchestrator { session, words: prepared.run.clone(), is_script: is_script(prepared), conductor };
    tool.session.look("before");
    tool.visit("nobody", Place::Outside)?;
    tool.up("up")?;
    let there = tool.who_is_who("")?;
    tool.session.look("is up");
    tool.visits(&there)?;
    tool.ways_out(&there)?;
    tool.ways_in(&there)?;
    tool.without_counter(&there)?;
    tool.down("")?;
    tool.up("up again")?;
    let there = tool.who_is_who(" again")?;
    for (name, from) in BY {
        tool.read(&format!("counter before the visit from {name} again"), &there)?;
        tool.visit(&format!("visit from {name} again"), from)?;
    }
    if !tool.is_script {
        tool.hindered()?;
    }
    Ok(())
}

/// Whether an orchestrator is one of the course's: a script of bash in which nothing is called `down`.
fn is_script(prepared: &PreparedSubmission) -> bool {
    let script = prepared.run.iter().find(|word| word.ends_with(".sh"));
    let path = script.map(|word| prepared.below.join(word.trim_start_matches("./")));
    let text =
        prepared.files.iter().filter(|file| Some(&file.path) == path.as_ref()).find_map(|file| match &file.what {
            FileKind::File { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        });
    text.is_some_and(|text| !text.lines().any(speaks_of_down))
}

/// Whether a line of a script treats `down` as a word that it was given, or calls a function so. What other programs are
/// told (`ip link set c1 down`) and what is printed is something else.
fn speaks_of_down(line: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with('#') {
        return false;
    }
    let plain: String = code.chars().filter(|c| !matches!(c, '"' | '\'' | ' ' | '\t')).collect();
    let is_label =
        |labels: &str| labels.split('|').any(|label| label.trim_start_matches('(').ends_with("down") && is_word(label));
    fn is_word(label: &str) -> bool {
        let before = label.strip_suffix("down").and_then(|rest| rest.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    }
    // `down)` and `stop|down)` of a case; `== "down"` of a test; `down() {` of a function.
    let case = plain.split_once(')').is_some_and(|(labels, _)| {
        !labels.contains('$') && labels.chars().all(|c| c.is_alphanumeric() || "|(-_*?".contains(c)) && is_label(labels)
    });
    let test =
        plain.contains("=down]") || plain.contains("=down&") || plain.ends_with("=down") || plain.contains("=down;");
    case || test || plain.starts_with("down()") || plain.starts_with("functiondown")
}

/// The words by which the tool of task 3 is called from the orchestrator's folder; none when it was not handed in.
fn conductor_of(prepared: &PreparedSubmission) -> Option<Vec<String>> {
    let has =
        |path: &Path| prepared.files.iter().any(|file| file.path == path && !matches!(file.what, FileKind::Folder));
    let beside = |name: &str| has(&prepared.below.join(name)).then(|| format!("./{name}"));
    let of_task3 = || has(Path::new("task3/conductor.sh")).then(|| "../task3/conductor.sh".to_owned());
    beside("conductor.sh").or_else(|| beside("conductor")).or_else(of_task3).map(|word| vec![word])
}

/// The orchestrator in its session.
struct Orchestrator<'s, 'a> {
    session: &'s mut Session<'a>,
    /// The words before `up` and `down`.
    words: Vec<String>,
    /// It takes no arguments, and is taken down by the tool.
    is_script: bool,
    /// The words that call the tool.
    conductor: Option<Vec<String>>,
}

/// The services that were found.
#[derive(Debug, Default)]
struct Services {
    counter: Option<Service>,
    page: Option<Service>,
}

/// A service, and where the host asks it.
#[derive(Debug, Clone)]
struct Service {
    process: Process,
    address: String,
    port: u16,
}

impl Orchestrator<'_, '_> {
    /// The steps from top to bottom, until the page greets, the script ends, or nothing comes any more. A key is pressed
    /// when a process waits for one before there is a page.
    fn run_script(&mut self, name: &str) -> Result<()> {
        let words = self.words.clone();
        if !self.session.start(name, &words, Terminal::Yes)? {
            return Ok(());
        }
        let (interval, limit) = (self.session.scaled(INTERVAL), self.session.scaled(SCRIPT_LIMIT));
        let (prompt, idle) = (self.session.scaled(AT_A_PROMPT), self.session.scaled(IDLE));
        let begin = self.session.passed();
        // Since when no process came, went or worked, and since when something answers that is no greeting.
        let (mut pids, mut worked, mut quiet, mut answered) = (Vec::new(), Duration::ZERO, begin, None);
        for nth in 0.. {
            let visit = format!("{name} while it works {nth}");
            let greeted = self.visit(&visit, Place::Host)?;
            let answers = self.session.last_answer().is_some_and(speaks_http);
            let at = self.session.passed();
            answered = answered.filter(|_| answers).or(answers.then_some(at));
            let (now, used) = (self.session.inventory().0, self.session.cpu_used());
            if now != pids || used > worked + WORK {
                (pids, worked, quiet) = (now, used, at);
            }
            let nothing_more = at - quiet > idle || answered.is_some_and(|since| at - since > prompt);
            let is_over = self.session.has_ended(name) || at - begin > limit || nothing_more;
            if greeted || is_over || self.session.is_over() {
                break;
            }
            // Services may still install themselves while the script asks for the key that ends it.
            if at - quiet > prompt && self.session.waits_for_a_key() {
                self.session.type_in(name, "\n");
                quiet = self.session.passed();
            }
            self.session.until(interval, |session| session.has_ended(name).then_some(()))?;
        }
        // It may have a word to say yet, or a visit of its own to make.
        let moment = self.session.scaled(CLEARING);
        self.session.until(moment, |session| (session.has_ended(name) || session.waits_for_a_key()).then_some(()))?;
        self.page_comes("", &format!("after {name}"), SERVICES_LIMIT)?;
        Ok(())
    }

    /// Ends a script that stayed: by the key that it waits for, else as Ctrl-C does.
    fn end_script(&mut self, name: &str) -> Result<()> {
        let ending = self.session.scaled(ENDING);
        for key in ["\n", "\x03"] {
            if !self.session.has_ended(name) && (key != "\n" || self.session.waits_for_a_key()) {
                self.session.type_in(name, key);
                self.session.until(ending, |session| session.has_ended(name).then_some(()))?;
            }
        }
        self.session.finish(name, Duration::ZERO)?;
        Ok(())
    }

    /// The assignment's "Clean Reset": each container is stopped, and each image removed, by the tool. A tool may clear a
    /// container's folder at the next `stop` only, so one that is still there is stopped once more.
    fn reset(&mut self) -> Result<()> {
        let Some(conductor) = self.conductor.clone() else { return Ok(()) };
        let line = |words: [&str; 2]| conductor.iter().cloned().chain(words.map(str::to_owned)).collect::<Vec<_>>();
        self.session.look("to be stopped");
        for (look, more) in [("to be stopped", ""), ("stopped once", " once more")] {
            for name in self.kept(look, ".containers") {
                self.session.run(&format!("stop {name}{more}"), &line(["stop", &name]))?;
            }
            if more.is_empty() {
                self.session.look("stopped once");
            }
        }
        for name in self.kept("to be stopped", ".images") {
            self.session.run(&format!("rmi {name}"), &line(["rmi", &name]))?;
        }
        Ok(())
    }

    /// The names in the folders called `kept` of the tool, as they were looked at.
    fn kept(&self, look: &str, kept: &str) -> Vec<String> {
        let files = self.session.looked(look).map(|look| look.files.as_slice()).unwrap_or_default();
        let mut names: Vec<String> = files.iter().filter_map(|path| in_folder(path, kept)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// `down` of a deployment whose containers' folders cannot be removed, for whatever reason: neither failure may keep the
    /// other container from being stopped.
    fn hindered(&mut self) -> Result<()> {
        self.session.look("to be hindered");
        let files = self.session.looked("to be hindered").map(|look| look.files.clone()).unwrap_or_default();
        let folders: Vec<&String> = files.iter().filter(|path| in_folder(path, ".containers").is_some()).collect();
        let stuck = |folder: &String| format!("{}/{folder}/{STUCK}", self.session.folder());
        let stuck: Vec<String> =
            folders.into_iter().map(stuck).filter(|path| self.session.make_unremovable(path, true)).collect();
        if stuck.len() < 2 {
            return Ok(());
        }
        self.down(" with a fault")?;
        for path in &stuck {
            self.session.make_unremovable(path, false);
        }
        Ok(())
    }

    fn line(&self, word: &str) -> Vec<String> {
        self.words.iter().cloned().chain([word.to_owned()]).collect()
    }

    /// `up`, until it has come back, or stays and the page answers; then until the page is well.
    fn up(&mut self, name: &str) -> Result<()> {
        if self.is_script {
            return self.run_script(name);
        }
        let line = self.line("up");
        if !self.session.start(name, &line, Terminal::No)? {
            return Ok(());
        }
        if self.page_comes(name, "while it works", UP_LIMIT)? && !self.session.has_ended(name) {
            // It stays with its services, or has more to say: a moment will tell.
            let moment = self.session.scaled(CLEARING);
            self.session.until(moment, |session| session.has_ended(name).then_some(()))?;
        }
        if self.session.has_ended(name) {
            self.session.finish(name, Duration::ZERO)?;
        }
        self.page_comes("", &format!("after {name}"), SERVICES_LIMIT)?;
        Ok(())
    }

    /// Waits for a greeting, or for the end of `command`.
    fn page_comes(&mut self, command: &str, when: &str, limit: Duration) -> Result<bool> {
        let (interval, limit) = (self.session.scaled(INTERVAL), self.session.scaled(limit));
        let begin = self.session.passed();
        for nth in 0.. {
            let greeted = self.visit(&format!("{command} {when} {nth}"), Place::Host)?;
            let is_over =
                self.session.passed() - begin > limit || !command.is_empty() && self.session.has_ended(command);
            if greeted || is_over || self.session.is_over() {
                return Ok(greeted);
            }
            self.session
                .until(interval, |session| (!command.is_empty() && session.has_ended(command)).then_some(()))?;
        }
        Ok(false)
    }

    /// Identifies all servers; `suffix` tells the second time from the first.
    fn who_is_who(&mut self, suffix: &str) -> Result<Services> {
        let look = format!("servers{suffix}");
        self.session.look(&look);
        let servers: Vec<(Listener, String)> = self
            .session
            .listeners()
            .into_iter()
            .filter_map(|it| Some((it.clone(), self.address(&look, &it)?)))
            .collect();
        let ask = |path: &str| {
            let asks = servers.iter().map(|(it, address)| http(address, it.port, path));
            asks.enumerate().map(|(nth, ask)| (format!("server {nth} {path}{suffix}"), ask)).collect::<Vec<_>>()
        };
        // What passes connections on to a service answers like it, and stands on the host: the service is the other one.
        let ours = self.session.host_state().namespaces.get("net").copied();
        let inside = |nth: usize| servers.get(nth).is_some_and(|(it, _)| Some(it.namespace) != ours);
        let first = |these: Vec<usize>| these.iter().copied().find(|nth| inside(*nth)).or(these.first().copied());
        let such = |probes: &[Probe], is_it: fn(&Answer) -> bool| {
            probes.iter().enumerate().filter(|(_, it)| is_it(&it.answer)).map(|(nth, _)| nth).collect::<Vec<_>>()
        };
        let counters = such(&self.ask_on_host(&format!("counters{suffix}"), ask(READ))?, |it| number_of(it).is_some());
        let pages = such(&self.ask_on_host(&format!("pages{suffix}"), ask("/"))?, speaks_http);
        let page = first(pages.into_iter().filter(|nth| !counters.contains(nth)).collect());
        let counter = first(counters);
        let there = Services {
            counter: self.found(&format!("counter{suffix}"), counter.and_then(|nth| servers.get(nth)))?,
            page: self.found(&format!("page{suffix}"), page.and_then(|nth| servers.get(nth)))?,
        };
        self.stand_in(&there, suffix)?;
        Ok(there)
    }

    /// Puts a server of ours into the container of each service that did not come, known by the service's folder in its root.
    fn stand_in(&mut self, there: &Services, suffix: &str) -> Result<()> {
        for (name, folder) in FOLDERS {
            let is_there = if name == "page" { there.page.is_some() } else { there.counter.is_some() };
            if is_there {
                continue;
            }
            let ours = self.session.host_state();
            let is_it = |session: &Session<'_>, pid| {
                let process = session.process(pid)?;
                let is_inside = process.state.root != ours.root;
                (is_inside && process.entries.iter().any(|entry| entry == folder)).then_some(process)
            };
            let found = self.session.find_process(&format!("container of the {name}{suffix}"), "", is_it)?;
            if let Some(process) = found.filter(|it| it.state.namespaces.get("net") != ours.namespaces.get("net")) {
                self.session.name_place(name, process.pid);
                let word = if name == "page" { "stands in for the page" } else { STAND_IN };
                self.session.serve(name, INNER, word);
            }
        }
        Ok(())
    }

    /// Where the host reaches a server: an address of its network namespace, the host's own being this.
    fn address(&self, look: &str, server: &Listener) -> Option<String> {
        if self.session.host_state().namespaces.get("net") == Some(&server.namespace) {
            return Some("127.0.0.1".to_owned());
        }
        let network = self.session.looked(look)?.networks.get(&server.namespace)?;
        let addresses = network.links.iter().flat_map(|link| &link.addresses);
        let address = addresses.into_iter().find(|address| !address.starts_with("127."))?;
        address.split('/').next().map(str::to_owned)
    }

    fn found(&mut self, name: &str, server: Option<&(Listener, String)>) -> Result<Option<Service>> {
        let Some((listener, address)) = server else { return Ok(None) };
        let pid = listener.pid;
        let is_it = |session: &Session<'_>, it| (it == pid).then(|| session.process(it)).flatten();
        let process = self.session.find_process(name, "", is_it)?;
        if process.is_some() {
            self.session.name_place(name, pid);
        }
        Ok(process.map(|process| Service { process, address: address.clone(), port: listener.port }))
    }

    /// The counter is moved on, and then visited from two sides.
    fn visits(&mut self, there: &Services) -> Result<()> {
        let Some(counter) = &there.counter else {
            // Without one, whether the page is there can still be seen.
            for (name, from) in BY {
                self.visit(&format!("visit from {name}"), from)?;
            }
            return Ok(());
        };
        let times = 20 + self.session.number(7).bytes().map(u32::from).sum::<u32>() % 30;
        let moves = (0..times).map(|nth| (format!("move {nth}"), http(&counter.address, counter.port, COUNT)));
        self.ask_on_host("counter moved", moves.collect())?;
        for (name, from) in BY {
            self.read(&format!("counter before the visit from {name}"), there)?;
            self.visit(&format!("visit from {name}"), from)?;
            self.read(&format!("counter after the visit from {name}"), there)?;
        }
        let local = http("127.0.0.1", PUBLISHED, "/");
        self.session.probe("local", vec![("visit by 127.0.0.1", Place::Host, local)])?;
        Ok(())
    }

    /// Both containers, and the host, on their way to the internet.
    fn ways_out(&mut self, there: &Services) -> Result<()> {
        let internet = Ask::Tcp { to: self.session.world().addresses.internet.clone(), port: WEB_PORT };
        let mut asks = vec![("host calls internet", Place::Host, internet.clone())];
        for (name, ask, server) in
            [("page", "page calls internet", &there.page), ("counter", "counter calls internet", &there.counter)]
        {
            let stands_in = self.session.has_found(&format!("container of the {name}"));
            if server.is_some() || stands_in {
                asks.push((ask, Place::Container(name.to_owned()), internet.clone()));
            }
        }
        self.session.probe("ways out", asks)?;
        Ok(())
    }

    /// From the other machine to every port of the host that may lead to the counter.
    fn ways_in(&mut self, there: &Services) -> Result<()> {
        if there.counter.is_none() && !self.session.has_found("container of the counter") {
            return Ok(());
        }
        let rules = self.session.looked("is up").map(|look| look.rules.clone()).unwrap_or_default();
        let ours = self.session.host_state().namespaces.get("net").copied();
        let listeners = self.session.listeners().into_iter().filter(|it| Some(it.namespace) == ours).map(|it| it.port);
        let own = there.counter.as_ref().map_or(INNER, |counter| counter.port);
        let mut named: Vec<u16> = Vec::new();
        for port in [own].into_iter().chain(led(&rules)).chain(listeners).chain(TEMPTING) {
            if !named.contains(&port) {
                named.push(port);
            }
        }
        // Those that are named are asked whether or not they seem to be open.
        let mut ports: Vec<u16> = named.iter().copied().take(MOST_PORTS).collect();
        let open = self.session.open_ports(&named);
        ports.extend(open.into_iter().filter(|port| !named.contains(port) && *port != PUBLISHED).take(MOST_PORTS));
        let host = self.session.world().addresses.host.clone();
        let names: Vec<String> = ports.iter().map(|port| format!("outside asks port {port}")).collect();
        let asks = names.iter().zip(&ports).map(|(name, port)| (&**name, Place::Outside, http(&host, *port, READ)));
        let asks = asks.collect();
        self.session.probe("ways in", asks)?;
        Ok(())
    }

    /// The counter's process is killed, and the page visited once more.
    fn without_counter(&mut self, there: &Services) -> Result<()> {
        let Some(counter) = &there.counter else { return Ok(()) };
        let pid = counter.process.pid;
        self.session.kill(pid);
        let patience = self.session.scaled(CLEARING);
        self.session.until(patience, |session| (!session.inventory().0.contains(&pid)).then_some(()))?;
        self.read("counter without its process", there)?;
        for (name, from) in BY {
            self.visit(&format!("visit from {name} without a counter"), from)?;
        }
        Ok(())
    }

    /// `down`, and a look at what is left; `suffix` marks the second time.
    fn down(&mut self, suffix: &str) -> Result<()> {
        for place in ["page", "counter"] {
            self.session.forget_place(place);
        }
        let known = self.session.looked("before").map_or(Vec::new(), |look| look.processes.clone());
        if self.is_script {
            self.end_script("up")?;
            self.reset()?;
        } else {
            let (line, name) = (self.line("down"), format!("down{suffix}"));
            if self.session.start(&name, &line, Terminal::No)? {
                let limit = self.session.scaled(DOWN_LIMIT);
                self.session.finish(&name, limit)?;
            }
        }
        let patience = self.session.scaled(CLEARING);
        let is_known = |pid: &i32| known.iter().any(|process| process.pid == *pid);
        self.session.until(patience, |session| session.inventory().0.iter().all(is_known).then_some(()))?;
        self.session.look(&format!("end{suffix}"));
        if suffix.is_empty() {
            for (name, from) in BY {
                self.visit(&format!("visit from {name} at the end"), from)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, name: &str, there: &Services) -> Result<()> {
        if let Some(counter) = &there.counter {
            let ask = http(&counter.address, counter.port, READ);
            self.session.probe(&format!("{name}:"), vec![(name, Place::Host, ask)])?;
        }
        Ok(())
    }

    /// A visit at the published port; whether there was a greeting.
    fn visit(&mut self, name: &str, from: Place) -> Result<bool> {
        let page = http(&self.session.world().addresses.host.clone(), PUBLISHED, "/");
        let probes = self.session.probe(&format!("{name}:"), vec![(name, from, page)])?;
        Ok(probes.iter().any(|probe| status_of(&probe.answer) == Some(200)))
    }

    fn ask_on_host(&mut self, step: &str, asks: Vec<(String, Ask)>) -> Result<Vec<Probe>> {
        let asks = asks.iter().map(|(name, ask)| (&**name, Place::Host, ask.clone())).collect();
        self.session.probe(step, asks)
    }
}

fn http(to: &str, port: u16, path: &str) -> Ask {
    Ask::Http { to: to.to_owned(), port, path: path.to_owned() }
}

/// What lies directly in a folder of that name: `c1` of `task4/.containers/c1`. Names with a leading dot are the tool's own.
pub fn in_folder<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let mut parts = path.rsplit('/');
    let name = parts.next()?;
    (parts.next() == Some(folder) && !name.starts_with('.')).then_some(name)
}

/// The ports that rules lead somewhere: of `--dport 3000`, of a range its ends and its middle, of `--dports 80,8000:8100`
/// each. A rule that names none, or all but some, leads every port, so any of those that are tried.
fn led(rules: &[String]) -> impl Iterator<Item = u16> + '_ {
    let leads = |rule: &&String| rule.contains("DNAT") || rule.contains("REDIRECT");
    rules.iter().filter(leads).flat_map(|rule| {
        let lists = ["--dport ", "--dports ", "--ports "].into_iter().filter_map(|word| rule.split_once(word));
        let lists: Vec<&str> = lists.filter_map(|(_, rest)| rest.split_whitespace().next()).collect();
        lists.into_iter().flat_map(|list| list.split(',')).flat_map(ends_and_middle).collect::<Vec<u16>>()
    })
}

fn ends_and_middle(range: &str) -> Vec<u16> {
    let (from, to) = range.split_once(':').unwrap_or((range, range));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if from == to => vec![from],
        (Ok(from), Ok(to)) if from < to => vec![from, from + (to - from) / 2, to],
        _ => Vec::new(),
    }
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
            "nat -A PREROUTING -p tcp -m multiport --dports 81,9000:9100 -j DNAT --to-destination 192.168.2.2:8080",
            "nat -A PREROUTING -p tcp -m tcp --dport 5000:5001 -j DNAT --to-destination 192.168.2.2:8080",
            "nat -A PREROUTING -i eth0 -p tcp -j DNAT --to-destination 192.168.2.2",
        ];
        let led: Vec<u16> = led(&rules.map(str::to_owned)).collect();
        assert_eq!(led, [3000, 4000, 81, 9000, 9050, 9100, 5000, 5000, 5001]);
    }

    #[test]
    fn an_orchestrator_that_knows_down_is_told_from_a_script_from_top_to_bottom() {
        for down in [
            "down) down ;;",
            "  stop|down)",
            "if [[ $1 == down ]]; then",
            "if [ \"$1\" = \"down\" ]; then",
            "down() {",
            "'down')",
            "[[ $1 = down ]] && take_down",
            "function down {",
        ] {
            assert!(speaks_of_down(down), "{down}");
        }
        for other in [
            "# up and down) are not here",
            "ip link set c1-outside down",
            "echo \"going down\"",
            "shutdown() {",
            "take_down)",
            "./conductor.sh stop c1 # down",
            "echo \"(up or down)\"",
            "(ip link set c1 down)",
        ] {
            assert!(!speaks_of_down(other), "{other}");
        }
    }
}
