//! Task 4: a page, a counter behind it, and which of them is reached from where.
//!
//! Only what the network shows counts: which server answers which client, with which number. Each *no* is believed only where a *yes* came
//! by the same way: that no port leads to the counter says something where another port leads to the page, and that
//! no server answers after `down`, where one answered before.

use super::history::History;
use super::words::{link_of, list, shortened};
use super::{Evidence, Finding, Outcome};
use crate::record::steps::{Answer, CommandRun, Look, Network, Probe, Process, SessionRecord};
use crate::record::{End, Host};
use crate::session::task4::{FOLDERS, PUBLISHED, STAND_IN, body_of, in_folder, number_of, speaks_http, status_of};

/// What `history` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, history: &History<'_>) -> Option<Finding> {
    let judge = Judge { session: &history.run.session, host: &history.run.host, number: history.number };
    Some(match id {
        "reach.outside" => Finding::whole(judge.reached("outside", "another machine")),
        "reach.host" => judge.by_host(),
        "count.next" => Finding::parts([("number", judge.tells_the_number()), ("once", judge.counts_once())]),
        "count.asked" => Finding::whole(judge.asks()),
        "apart.services" => judge.containers(),
        "apart.counter" => Finding::whole(judge.no_way_in()),
        "internet" => Finding::parts([("page", judge.reaches_out("page")), ("counter", judge.reaches_out("counter"))]),
        "down.gone" => judge.gone(),
        "up.again" => Finding::whole(judge.again()),
        _ => return None,
    })
}

/// One run of the judge.
#[derive(Clone, Copy)]
struct Judge<'a> {
    session: &'a SessionRecord,
    host: &'a Host,
    number: usize,
}

/// The visitor's number is searched among so many at either end of the page: a page that lists all numbers is not a greeting.
const MOST_NUMBERS: usize = 12;
/// The two visitors, as the steps call them.
const VISITORS: [&str; 2] = ["outside", "the host"];

impl<'a> Judge<'a> {
    fn probe(&self, name: &str) -> Option<&'a Probe> {
        self.session.probe(name)
    }

    /// How `up` or `down` ended, and what it said.
    fn told(&self, command: &str) -> String {
        let Some(run) = self.session.command(command) else { return self.session.not_reached() };
        let end = match &run.end {
            None => "goes on".to_owned(),
            Some(End::Exited(code)) => format!("ended with exit status {code}"),
            Some(End::Signaled(signal)) => format!("was ended by signal {signal}"),
            Some(End::TimedOut(stood)) => format!("took too long, {stood}"),
            Some(End::StillComputing(cpu)) => format!("was still computing after {} s of CPU time", cpu.as_secs()),
            Some(End::OverLimit(limit)) => format!("hit a limit: {limit}"),
            Some(End::Unknown) => "ended in a way that was not seen".to_owned(),
        };
        format!("`{}` {end}{}", run.line(), said(run))
    }

    /// How the deployment was taken down: by `down`, or by the tool's `stop` for each container.
    fn told_of_the_end(&self) -> String {
        if self.session.command("down").is_some() {
            return self.told("down");
        }
        let mut stops =
            self.session.steps.iter().map(|step| step.name.as_str()).filter(|name| name.starts_with("stop "));
        let failed = stops.find(|name| self.session.command(name).is_some_and(|run| !run.succeeded()));
        match failed {
            Some(stop) => self.told(stop),
            None => "the tool's `stop` said nothing of it".to_owned(),
        }
    }

    /// The process that is this service, else the container that was made for it: known by the service's files.
    fn service(&self, name: &str) -> Option<&'a Process> {
        self.session.found(name).or_else(|| self.session.found(&format!("container of the {name}")))
    }

    fn evidence(&self, process: &Process, what: &str) -> Vec<Evidence> {
        vec![Evidence {
            run: self.number,
            at_ms: 0,
            pid: process.pid,
            inner_pids: process.state.inner_pids.clone(),
            what: what.to_owned(),
            namespaces: process.state.namespaces.clone(),
        }]
    }

    fn visit(&self, who: &str) -> Option<&'a Probe> {
        self.probe(&format!("visit from {who}"))
    }

    /// Whether the page answers this visitor; not every answer at that port is the page's.
    fn answers(&self, who: &str) -> bool {
        self.visit(who).is_some_and(|it| match it.answer {
            Answer::Connected => true,
            _ => speaks_http(&it.answer) && status_of(&it.answer) != Some(404),
        })
    }

    fn is_greeted(&self, who: &str) -> bool {
        self.visit(who).is_some_and(|it| status_of(&it.answer) == Some(200))
    }

    // Reaching the page.

    fn reached(&self, who: &str, whose: &str) -> Outcome {
        let host = &self.session.addresses.host;
        let expected = format!("{whose} gets an answer of the page at http://{host}:{PUBLISHED}/");
        match self.visit(who) {
            None => Outcome::absent(expected, self.session.not_reached()),
            Some(_) if self.answers(who) => Outcome::Held,
            Some(visit) => Outcome::absent(expected, format!("{}; {}", answer(visit), self.told("up"))),
        }
    }

    fn by_host(&self) -> Finding {
        let finding = Finding::whole(self.reached("the host", "the host"));
        match self.probe("visit by 127.0.0.1") {
            Some(visit) if self.answers("the host") && !speaks_http(&visit.answer) => {
                finding.remark("http://127.0.0.1:3000/ does not lead there: the host has to use its address")
            }
            _ => finding,
        }
    }

    // What the page tells.

    fn tells_the_number(&self) -> Outcome {
        let visitors: Vec<&str> = VISITORS.into_iter().filter(|who| self.answers(who)).collect();
        if visitors.is_empty() {
            return Outcome::NotTried(&["reach.outside", "reach.host"], "nobody reached the page".to_owned());
        }
        let expected = "a greeting with the number that the counter gives out next";
        let mut greetings: Vec<(&str, &Probe, u64)> = Vec::new();
        for who in visitors {
            let Some(visit) = self.visit(who) else { continue };
            if !self.is_greeted(who) {
                return Outcome::absent(expected, format!("the visitor from {who} got {}", answer(visit)));
            }
            let Some(next) = self.next(&format!("before the visit from {who}")) else {
                return Outcome::absent(expected, self.no_counter());
            };
            if !numbers(body_of(&visit.answer)).any(|number| number == next) {
                let observed =
                    format!("the counter was to give out {next}, and the visitor from {who} got {}", answer(visit));
                return Outcome::wrong(expected, observed, Vec::new());
            }
            greetings.push((who, visit, next));
        }
        // A page with many numbers must have the right one at the same position each time.
        let counted = [false, true].into_iter().any(|from_the_end| {
            let order = |text: &str| match from_the_end {
                true => numbers(text).rev().collect::<Vec<_>>(),
                false => numbers(text).collect(),
            };
            let pages: Vec<(Vec<u64>, u64)> =
                greetings.iter().map(|(_, visit, next)| (order(body_of(&visit.answer)), *next)).collect();
            let most = pages.iter().map(|(numbers, _)| numbers.len()).max().unwrap_or(0);
            let is_it = |nth: usize| pages.iter().all(|(numbers, next)| numbers.get(nth) == Some(next));
            (0..most.min(MOST_NUMBERS)).any(is_it)
        });
        match greetings.first() {
            Some((who, visit, next)) if !counted => {
                let observed = format!(
                    "the counter was to give out {next}, and the visitor from {who} got {}, with {} numbers on it",
                    answer(visit),
                    numbers(body_of(&visit.answer)).count()
                );
                Outcome::wrong(expected, observed, Vec::new())
            }
            _ => Outcome::Held,
        }
    }

    fn counts_once(&self) -> Outcome {
        let visitors: Vec<&str> = VISITORS.into_iter().filter(|who| self.is_greeted(who)).collect();
        if visitors.is_empty() {
            return Outcome::NotTried(&["reach.outside", "reach.host"], "nobody was greeted".to_owned());
        }
        for who in visitors {
            let expected = "each visit moves the counter on by one";
            let [before, after] = ["before", "after"].map(|when| self.counter(&format!("{when} the visit from {who}")));
            match (before, after) {
                (Some(before), Some(after)) if after == before + 1 => (),
                (Some(before), Some(after)) => {
                    let observed = format!("it was at {before} before the visit from {who}, and at {after} after it");
                    return Outcome::wrong(expected, observed, Vec::new());
                }
                _ => return Outcome::absent(expected, self.no_counter()),
            }
        }
        Outcome::Held
    }

    fn asks(&self) -> Outcome {
        let expected = "with the counter gone the page does not go on as before";
        let Some(who) = VISITORS.into_iter().find(|who| self.is_greeted(who)) else {
            return Outcome::NotTried(&["count.next"], "nobody was greeted while the counter was there".to_owned());
        };
        let Some(counter) = self.session.found("counter") else {
            return Outcome::NotTried(&["count.next"], self.no_counter());
        };
        if self.counter("without its process").is_some() {
            return Outcome::Unseen("the counter was there again before the page was visited".to_owned());
        }
        let (Some(with), Some(without)) = (self.visit(who), self.probe(&format!("visit from {who} without a counter")))
        else {
            return Outcome::absent(expected, self.session.not_reached());
        };
        let is_greeting = status_of(&without.answer) == Some(200);
        if is_greeting && blanked(body_of(&with.answer)) == blanked(body_of(&without.answer)) {
            let observed = format!("its process was killed, and the visitor from {who} got {}", answer(without));
            return Outcome::wrong(expected, observed, self.evidence(counter, "the counter, before it was killed"));
        }
        Outcome::Held
    }

    /// What the counter said at that moment.
    fn counter(&self, when: &str) -> Option<u64> {
        number_of(&self.probe(&format!("counter {when}"))?.answer)
    }

    /// The number that the counter was to give out at that moment.
    ///
    /// Two readings of `get_and_increment` are in use, and each is right: the value before, which is what `/get_counter` says, or
    /// the value after. Which one it is shows when the counter is moved on: its greatest answer beside what it says then.
    fn next(&self, when: &str) -> Option<u64> {
        let given =
            (0..).map_while(|nth| self.probe(&format!("move {nth}"))).filter_map(|it| number_of(&it.answer)).max();
        let then = VISITORS.iter().find_map(|who| self.counter(&format!("before the visit from {who}")));
        let after = u64::from(given.is_some() && given == then);
        self.counter(when).map(|value| value + after)
    }

    fn no_counter(&self) -> String {
        "no server that the host reaches answers /get_counter with a number".to_owned()
    }

    // Containers and networks.

    fn containers(&self) -> Finding {
        let services = FOLDERS.map(|(name, _)| (name, self.service(name)));
        let own = |(name, process): (&'static str, Option<&Process>)| {
            let expected = format!("the {name} in a container: a network and a root directory other than the host's");
            let outcome = match process {
                None => {
                    let why = format!("no server that the host reaches is the {name}, and no container has its files");
                    Outcome::absent(expected, format!("{why}; {}", self.told("up")))
                }
                Some(it) if self.net(it) == self.host.namespaces.get("net").copied() => {
                    let observed = format!("the {name} is in {}, the host's", link_of("net", &it.state.namespaces));
                    Outcome::wrong(expected, observed, self.evidence(it, name))
                }
                Some(it) if it.state.root == self.host.root => {
                    let observed = format!("the {name} has a network of its own, and the host's root directory");
                    Outcome::wrong(expected, observed, self.evidence(it, name))
                }
                Some(_) => Outcome::Held,
            };
            (name, outcome)
        };
        let [page, counter] = services.map(own);
        let expected = "each in a container of its own";
        let each = match services {
            [(_, Some(page)), (_, Some(counter))] => {
                let same = |kind| page.state.namespaces.get(kind) == counter.state.namespaces.get(kind);
                let bare = [page, counter].iter().all(|it| it.state.root == self.host.root);
                if same("net") {
                    let observed = format!("both are in {}", link_of("net", &page.state.namespaces));
                    Outcome::wrong(expected, observed, self.evidence(page, "the page"))
                } else if bare {
                    Outcome::wrong(expected, "neither is in a container", self.evidence(page, "the page"))
                } else {
                    Outcome::Held
                }
            }
            _ => Outcome::absent(expected, "one of them was not found"),
        };
        Finding::parts([page, counter, ("each", each)])
    }

    fn net(&self, process: &Process) -> Option<u64> {
        process.state.namespaces.get("net").copied()
    }

    fn no_way_in(&self) -> Outcome {
        let expected = "no port of the host leads another machine to the counter";
        if self.service("counter").is_none() {
            return Outcome::NotTried(&["apart.services"], self.no_counter());
        }
        if !self.answers("outside") {
            let why = "the other machine reaches nothing of the host, so this says nothing of the counter";
            return Outcome::NotTried(&["reach.outside"], why.to_owned());
        }
        let ways = self.session.steps.iter().filter(|step| step.name == "ways in");
        let open: Vec<String> = ways
            .flat_map(|step| match &step.did {
                crate::record::steps::StepKind::Probes(probes) => probes.as_slice(),
                _ => &[],
            })
            .filter(|probe| number_of(&probe.answer).is_some() || body_of(&probe.answer).starts_with(STAND_IN))
            .map(|probe| probe.name.trim_start_matches("outside asks ").to_owned())
            .collect();
        if open.is_empty() {
            return Outcome::Held;
        }
        Outcome::wrong(expected, format!("it answers the other machine at {}", list(&open)), Vec::new())
    }

    fn reaches_out(&self, name: &str) -> Outcome {
        let Some(process) = self.service(name) else {
            return Outcome::NotTried(&["apart.services"], format!("no {name} was found"));
        };
        if self.net(process) == self.host.namespaces.get("net").copied() {
            return Outcome::NotTried(&["apart.services"], format!("the {name} is in the host's own network"));
        }
        if !self.session.reached("host calls internet") {
            return Outcome::Unseen("the host itself did not reach the internet".to_owned());
        }
        let expected = format!("the {name}'s container reaches the internet behind the host's address");
        match self.probe(&format!("{name} calls internet")) {
            None => Outcome::absent(expected, self.session.not_reached()),
            Some(probe) => match &probe.answer {
                Answer::Said(word) if word.ends_with(&format!(" {}", self.session.addresses.host)) => Outcome::Held,
                _ => Outcome::wrong(expected, answer(probe), self.evidence(process, name)),
            },
        }
    }

    // What is left.

    /// Whether anything of the deployment was there to be taken down.
    fn stood(&self) -> bool {
        FOLDERS.iter().any(|(name, _)| self.service(name).is_some())
    }

    fn gone(&self) -> Finding {
        let (Some(before), Some(up), Some(end)) =
            (self.session.look("before"), self.session.look("is up"), self.session.look("end"))
        else {
            return Finding::whole(Outcome::absent("nothing is left after `down`", self.session.not_reached()));
        };
        if !self.stood() {
            let why = format!("there was no deployment to take down: {}", self.told("up"));
            return Finding::whole(Outcome::NotTried(&["apart.services"], why));
        }
        let held_or = |expected: &str, left: Vec<String>| match left.as_slice() {
            [] => Outcome::Held,
            _ => Outcome::wrong(
                expected,
                format!("{} is left; {}", shortened(&left), self.told_of_the_end()),
                Vec::new(),
            ),
        };
        let (specific, general) = self.rules_left(before, up, end);
        let network = [self.links_left(before, end), specific].concat();
        let mut finding = Finding::parts([
            ("page", self.page_gone()),
            ("processes", held_or("no process of the deployment", processes_left(before, end))),
            ("network", held_or("no link of a container, no rule that speaks of one or of its port", network)),
            ("state", held_or("no mount and no folder of a container", state_left(before, end))),
            ("each", self.each_gone(before, end)),
        ]);
        if !general.is_empty() {
            finding = finding.remark(format!("rules that name no container stay: {}", shortened(&general)));
        }
        finding
    }

    /// Whether both containers were ended, also when neither could be removed without an error.
    fn each_gone(&self, before: &Look, end: &Look) -> Outcome {
        let expected = "each container is stopped, whatever becomes of the other";
        // A process on the host belongs to the script; it is not a forgotten container.
        let of_containers = |look: &Look| {
            let mut now = look.clone();
            now.processes.retain(|process| process.state.root != self.host.root);
            processes_left(before, &now)
        };
        let left = of_containers(end);
        if !left.is_empty() {
            let observed = format!("{} is left; {}", shortened(&left), self.told_of_the_end());
            return Outcome::wrong(expected, observed, Vec::new());
        }
        let left = self.session.look("end with a fault").map(of_containers).unwrap_or_default();
        if left.is_empty() {
            return Outcome::Held;
        }
        let why = "no container's folder could be removed, and";
        let observed = format!("{why} {} is left; {}", shortened(&left), self.told("down with a fault"));
        Outcome::wrong(expected, observed, Vec::new())
    }

    fn page_gone(&self) -> Outcome {
        let expected = format!("after `down` nobody answers at port {PUBLISHED} of the host");
        let before: Vec<&str> = VISITORS.into_iter().filter(|who| self.answers(who)).collect();
        if before.is_empty() {
            return Outcome::NotTried(&["reach.outside", "reach.host"], "nobody answered there before".to_owned());
        }
        for who in before {
            match self.probe(&format!("visit from {who} at the end")) {
                None => return Outcome::absent(expected, self.session.not_reached()),
                Some(visit) if speaks_http(&visit.answer) => {
                    let observed = format!("the visitor from {who} got {}; {}", answer(visit), self.told_of_the_end());
                    return Outcome::wrong(expected, observed, Vec::new());
                }
                Some(_) => (),
            }
        }
        Outcome::Held
    }

    fn links_left(&self, before: &Look, end: &Look) -> Vec<String> {
        let [before, end] = [before, end].map(|look| self.host_network(look));
        let known = |name: &str| before.is_some_and(|network| network.link(name).is_some());
        let now = end.map(|network| network.links.as_slice()).unwrap_or_default();
        // A link that belongs to no container, such as a bridge for all of them, may stay.
        let of_one = now.iter().filter(|link| link.kind.as_deref() == Some("veth") && !known(&link.name));
        of_one.map(|link| format!("link {}", link.name)).collect()
    }

    fn host_network<'l>(&self, look: &'l Look) -> Option<&'l Network> {
        look.networks.get(self.host.namespaces.get("net")?)
    }

    /// The rules that are new at the end: those that speak of the deployment, and the others.
    fn rules_left(&self, before: &Look, up: &Look, end: &Look) -> (Vec<String>, Vec<String>) {
        let ours = self.host.namespaces.get("net");
        let theirs = up.networks.iter().filter(|(inode, _)| Some(*inode) != ours).map(|(_, network)| network);
        let addresses = theirs.flat_map(|network| &network.links).flat_map(|link| &link.addresses);
        let mut words: Vec<String> = addresses
            .filter(|address| !address.starts_with("127."))
            .filter_map(|address| address.split('/').next().map(str::to_owned))
            .collect();
        words.push(PUBLISHED.to_string());
        let links = self.host_network(up).into_iter().flat_map(|network| &network.links);
        let known = |name: &str| self.host_network(before).is_some_and(|network| network.link(name).is_some());
        words.extend(links.map(|link| link.name.clone()).filter(|name| !known(name)));
        let speaks = |rule: &&String| {
            let mut parts = rule.split([' ', '/', ':', ',', '"']);
            parts.any(|part| words.iter().any(|word| word == part))
        };
        let new = end.rules.iter().filter(|rule| !before.rules.contains(rule) && !rule.contains(" policy "));
        let (specific, general): (Vec<&String>, Vec<&String>) = new.partition(speaks);
        (specific.into_iter().cloned().collect(), general.into_iter().cloned().collect())
    }

    fn again(&self) -> Outcome {
        let expected = "a second `up` after `down`, and a page that tells the new counter's number";
        let Some(who) = VISITORS.into_iter().find(|who| self.is_greeted(who)) else {
            let why = "there was no greeting the first time".to_owned();
            return Outcome::NotTried(&["reach.outside", "reach.host", "count.next"], why);
        };
        if self.session.found("page").is_none() {
            return Outcome::NotTried(&["count.next"], "the page did not come the first time".to_owned());
        }
        let again = format!("visit from {who} again");
        let Some(visit) = self.probe(&again) else { return Outcome::absent(expected, self.session.not_reached()) };
        if status_of(&visit.answer) != Some(200) {
            return Outcome::absent(expected, format!("{}; {}", answer(visit), self.told("up again")));
        }
        // Numbers that were wrong the first time have cost their marks.
        if !matches!(self.tells_the_number(), Outcome::Held) {
            return Outcome::Held;
        }
        match self.next(&format!("before the {again}")) {
            Some(next) if numbers(body_of(&visit.answer)).any(|number| number == next) => Outcome::Held,
            Some(next) => {
                let observed = format!("the counter was to give out {next}, and the visitor got {}", answer(visit));
                Outcome::wrong(expected, observed, Vec::new())
            }
            None => Outcome::absent(expected, self.no_counter()),
        }
    }
}

fn processes_left(before: &Look, end: &Look) -> Vec<String> {
    let is_known = |process: &Process| before.processes.iter().any(|old| old.pid == process.pid);
    let left = end.processes.iter().filter(|process| !process.zombie && !is_known(process));
    left.map(|process| format!("process {} ({})", process.pid, shown(&process.argv.join(" ")))).collect()
}

/// A command line as far as its first line goes.
fn shown(line: &str) -> String {
    const SHOWN: usize = 60;
    let first = line.lines().next().unwrap_or_default();
    let short: String = first.chars().take(SHOWN).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

/// The mounts that the host did not have before, and the folders that conductors keep containers in.
fn state_left(before: &Look, end: &Look) -> Vec<String> {
    // iproute2 makes a mount of the folder in which it names networks, once, and leaves it.
    let is_known = |point: &str| point == "/run/netns" || before.mounts.iter().any(|mount| mount.point == point);
    let mounts =
        end.mounts.iter().filter(|mount| !is_known(&mount.point)).map(|mount| format!("mount {}", mount.point));
    let of_a_container = |path: &&String| in_folder(path, ".containers").is_some();
    let folders = end.files.iter().filter(|path| !before.files.contains(path)).filter(of_a_container);
    mounts.chain(folders.map(|path| format!("folder {path}"))).collect()
}

/// The whole numbers of a text.
fn numbers(text: &str) -> std::vec::IntoIter<u64> {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect::<Vec<u64>>().into_iter()
}

/// What a command said of its failure: the first line that sounds like one, which is nearer to the cause than the last; else the
/// first line of stderr that is no trace of a shell. On a terminal all comes out together.
fn said(run: &CommandRun) -> String {
    const COMPLAINTS: [&str; 9] =
        ["No such", "not found", "annot", "rror", "denied", "does not", "ailed", "nable to", "E: "];
    let complains = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
    let text = if run.terminal { &run.output.stdout } else { &run.output.stderr };
    let text = anstream::adapter::strip_str(text).to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('+'));
    let first = lines.clone().next().filter(|_| !run.terminal);
    lines.find(complains).or(first).map(|line| format!(" and said {line:?}")).unwrap_or_default()
}

/// The text with each number replaced, so that two greetings are alike.
fn blanked(text: &str) -> String {
    let mut blanked = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if blanked.ends_with('#') => (),
            '0'..='9' => blanked.push('#'),
            other => blanked.push(other),
        }
    }
    blanked
}

/// What came of an attempt, in one line.
fn answer(probe: &Probe) -> String {
    const SHOWN: usize = 60;
    match &probe.answer {
        Answer::Said(_) if speaks_http(&probe.answer) => {
            let body = body_of(&probe.answer).trim();
            let shown: String = body.chars().take(SHOWN).collect();
            let more = if shown.len() < body.len() { "…" } else { "" };
            let status = status_of(&probe.answer).map_or_else(String::new, |status| format!("status {status}, "));
            format!("{status}{:?}{more}", shown)
        }
        Answer::Said(word) => format!("{word:?}"),
        Answer::Refused(why) => format!("no connection: {why}"),
        Answer::Connected => format!("a connection, and no answer in {} ms", probe.took.as_millis()),
        Answer::Silence => format!("no answer in {} ms", probe.took.as_millis()),
        Answer::NobodyThere => "nothing: there is no such container".to_owned(),
    }
}
