//! Task 4: a page, a counter behind it, and who reaches what.
//!
//! Only what the network shows counts: who answers whom, with which number. Each *no* is believed only where a *yes* came
//! by the same way: that no port leads to the counter says something where another port leads to the page, and that
//! nobody answers after `down`, where somebody answered before.

use super::scene::Scene;
use super::words::{link_of, list};
use super::{Evidence, Finding, Outcome};
use crate::play::task4::{PUBLISHED, body_of, number_of, speaks_http, status_of};
use crate::trace::session::{Answer, Look, Network, Probe, Process, Session};
use crate::trace::{End, Host};

/// What `scene` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, scene: &Scene<'_>) -> Option<Finding> {
    let play = Play { session: &scene.run.session, host: &scene.run.host, number: scene.number };
    Some(match id {
        "reach.outside" => Finding::whole(play.reached("outside", "another machine")),
        "reach.host" => play.by_host(),
        "count.next" => Finding::parts([("number", play.tells_the_number()), ("once", play.counts_once())]),
        "count.asked" => Finding::whole(play.asks()),
        "apart.services" => play.containers(),
        "apart.counter" => Finding::whole(play.no_way_in()),
        "internet" => Finding::parts([("page", play.reaches_out("page")), ("counter", play.reaches_out("counter"))]),
        "down.gone" => play.gone(),
        "up.again" => Finding::whole(play.again()),
        _ => return None,
    })
}

/// One run of the play.
#[derive(Clone, Copy)]
struct Play<'a> {
    session: &'a Session,
    host: &'a Host,
    number: usize,
}

/// The two who visit, as the steps call them.
const VISITORS: [&str; 2] = ["outside", "the host"];

impl<'a> Play<'a> {
    fn probe(&self, name: &str) -> Option<&'a Probe> {
        self.session.probe(name)
    }

    /// Why a step was not taken.
    fn not_reached(&self) -> String {
        let cut = self.session.cut.as_ref();
        cut.map_or("it did not come to that".to_owned(), |why| format!("it did not come to that: {why}"))
    }

    /// How `up` or `down` ended, and the last that it said.
    fn told(&self, command: &str) -> String {
        let Some(run) = self.session.command(command) else { return self.not_reached() };
        let end = match &run.end {
            None => "goes on".to_owned(),
            Some(End::Exited(code)) => format!("ended with exit status {code}"),
            Some(End::Signaled(signal)) => format!("was ended by signal {signal}"),
            Some(End::TimedOut(stood)) => format!("took too long, {stood}"),
            Some(End::OverLimit(limit)) => format!("hit a limit: {limit}"),
            Some(End::Unknown) => "ended in a way that was not seen".to_owned(),
        };
        let text = anstream::adapter::strip_str(&run.output.stderr).to_string();
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        let said = last.map(|line| format!(" and said {line:?}")).unwrap_or_default();
        format!("`{}` {end}{said}", run.line())
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
        self.visit(who).is_some_and(|it| speaks_http(&it.answer) && status_of(&it.answer) != Some(404))
    }

    fn is_greeted(&self, who: &str) -> bool {
        self.visit(who).is_some_and(|it| status_of(&it.answer) == Some(200))
    }

    // Who reaches the page.

    fn reached(&self, who: &str, whose: &str) -> Outcome {
        let host = &self.session.addresses.host;
        let expected = format!("{whose} gets an answer of the page at http://{host}:{PUBLISHED}/");
        match self.visit(who) {
            None => Outcome::absent(expected, self.not_reached()),
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
        for who in visitors {
            let expected = "a greeting with the number that the counter gives out next";
            let Some(visit) = self.visit(who) else { continue };
            if !self.is_greeted(who) {
                return Outcome::absent(expected, format!("the visitor from {who} got {}", answer(visit)));
            }
            let Some(next) = self.counter(&format!("before the visit from {who}")) else {
                return Outcome::absent(expected, self.no_counter());
            };
            if !numbers(body_of(&visit.answer)).any(|number| number == next) {
                let observed = format!("the counter was at {next}, and the visitor from {who} got {}", answer(visit));
                return Outcome::wrong(expected, observed, Vec::new());
            }
        }
        Outcome::Held
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
            return Outcome::absent(expected, self.not_reached());
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

    fn no_counter(&self) -> String {
        "no server that the host reaches answers /get_counter with a number".to_owned()
    }

    // Who is where.

    fn containers(&self) -> Finding {
        let (page, counter) = (self.session.found("page"), self.session.found("counter"));
        let own = |what: &str, process: Option<&Process>| {
            let expected = format!("the {what} in a network of its own, unlike {}", self.ours());
            match process {
                None => Outcome::absent(expected, format!("no server that the host reaches is the {what}")),
                Some(it) if self.net(it) == self.host.namespaces.get("net").copied() => {
                    let observed = format!("the {what} is in {}, the host's", link_of("net", &it.state.namespaces));
                    Outcome::wrong(expected, observed, self.evidence(it, what))
                }
                Some(_) => Outcome::Held,
            }
        };
        let each = match (page, counter) {
            (Some(page), Some(counter)) if self.net(page) == self.net(counter) => {
                let observed = format!("both are in {}", link_of("net", &page.state.namespaces));
                Outcome::wrong("each in a container of its own", observed, self.evidence(page, "the page"))
            }
            (Some(_), Some(_)) => Outcome::Held,
            _ => Outcome::absent("each in a container of its own", "one of them was not found"),
        };
        Finding::parts([("page", own("page", page)), ("counter", own("counter", counter)), ("each", each)])
    }

    fn net(&self, process: &Process) -> Option<u64> {
        process.state.namespaces.get("net").copied()
    }

    fn ours(&self) -> String {
        link_of("net", &self.host.namespaces)
    }

    fn no_way_in(&self) -> Outcome {
        let expected = "no port of the host leads another machine to the counter";
        if self.session.found("counter").is_none() {
            return Outcome::NotTried(&["apart.services"], self.no_counter());
        }
        if !self.answers("outside") {
            let why = "the other machine reaches nothing of the host, so this says nothing of the counter";
            return Outcome::NotTried(&["reach.outside"], why.to_owned());
        }
        let ways = self.session.steps.iter().filter(|step| step.name == "ways in");
        let open: Vec<String> = ways
            .flat_map(|step| match &step.did {
                crate::trace::session::Did::Probes(probes) => probes.as_slice(),
                _ => &[],
            })
            .filter(|probe| number_of(&probe.answer).is_some())
            .map(|probe| probe.name.trim_start_matches("outside asks ").to_owned())
            .collect();
        if open.is_empty() {
            return Outcome::Held;
        }
        Outcome::wrong(expected, format!("it answers the other machine at {}", list(&open)), Vec::new())
    }

    fn reaches_out(&self, name: &str) -> Outcome {
        let Some(process) = self.session.found(name) else {
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
            None => Outcome::absent(expected, self.not_reached()),
            Some(probe) => match &probe.answer {
                Answer::Said(word) if word.ends_with(&format!(" {}", self.session.addresses.host)) => Outcome::Held,
                _ => Outcome::wrong(expected, answer(probe), self.evidence(process, name)),
            },
        }
    }

    // What is left.

    /// Whether anything of the deployment was there to be taken down.
    fn stood(&self) -> bool {
        ["page", "counter"].iter().any(|name| self.session.found(name).is_some())
    }

    fn gone(&self) -> Finding {
        let (Some(before), Some(up), Some(end)) =
            (self.session.look("before"), self.session.look("is up"), self.session.look("end"))
        else {
            return Finding::whole(Outcome::absent("nothing is left after `down`", self.not_reached()));
        };
        if !self.stood() {
            let why = format!("there was no deployment to take down: {}", self.told("up"));
            return Finding::whole(Outcome::NotTried(&["apart.services"], why));
        }
        let held_or = |expected: &str, left: Vec<String>| match left.as_slice() {
            [] => Outcome::Held,
            _ => Outcome::wrong(expected, format!("{} is left; {}", shortened(&left), self.told("down")), Vec::new()),
        };
        let (specific, general) = self.rules_left(before, up, end);
        let mut finding = Finding::parts([
            ("page", self.page_gone()),
            ("processes", held_or("no process of the deployment", processes_left(before, end))),
            ("links", held_or("no link of a container", self.links_left(before, end))),
            ("rules", held_or("no rule that speaks of a container or its port", specific)),
            ("state", held_or("no mount and no folder of a container", state_left(before, end))),
        ]);
        if !general.is_empty() {
            finding = finding.remark(format!("rules that name no container stay: {}", shortened(&general)));
        }
        finding
    }

    fn page_gone(&self) -> Outcome {
        let expected = format!("after `down` nobody answers at port {PUBLISHED} of the host");
        let before: Vec<&str> = VISITORS.into_iter().filter(|who| self.answers(who)).collect();
        if before.is_empty() {
            return Outcome::NotTried(&["reach.outside", "reach.host"], "nobody answered there before".to_owned());
        }
        for who in before {
            match self.probe(&format!("visit from {who} at the end")) {
                None => return Outcome::absent(expected, self.not_reached()),
                Some(visit) if speaks_http(&visit.answer) => {
                    let observed = format!("the visitor from {who} got {}; {}", answer(visit), self.told("down"));
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
        let again = format!("visit from {who} again");
        let Some(visit) = self.probe(&again) else { return Outcome::absent(expected, self.not_reached()) };
        if status_of(&visit.answer) != Some(200) {
            return Outcome::absent(expected, format!("{}; {}", answer(visit), self.told("up again")));
        }
        // Numbers that were wrong the first time have cost their marks.
        if !matches!(self.tells_the_number(), Outcome::Held) {
            return Outcome::Held;
        }
        match self.counter(&format!("before the {again}")) {
            Some(next) if numbers(body_of(&visit.answer)).any(|number| number == next) => Outcome::Held,
            Some(next) => {
                let observed = format!("the counter was at {next}, and the visitor got {}", answer(visit));
                Outcome::wrong(expected, observed, Vec::new())
            }
            None => Outcome::absent(expected, self.no_counter()),
        }
    }
}

fn processes_left(before: &Look, end: &Look) -> Vec<String> {
    let is_known = |process: &Process| before.processes.iter().any(|old| old.pid == process.pid);
    let left = end.processes.iter().filter(|process| !process.zombie && !is_known(process));
    left.map(|process| format!("process {} ({})", process.pid, process.argv.join(" "))).collect()
}

/// The mounts that the host did not have before, and the folders that conductors keep containers in.
fn state_left(before: &Look, end: &Look) -> Vec<String> {
    let is_new = |point: &str| !before.mounts.iter().any(|mount| mount.point == point);
    let mounts = end.mounts.iter().filter(|mount| is_new(&mount.point)).map(|mount| format!("mount {}", mount.point));
    let of_a_container = |path: &&String| {
        let mut parts = path.rsplit('/');
        matches!((parts.next(), parts.next()), (Some("c1" | "c2"), Some(".containers")))
    };
    let folders = end.files.iter().filter(|path| !before.files.contains(path)).filter(of_a_container);
    mounts.chain(folders.map(|path| format!("folder {path}"))).collect()
}

/// The whole numbers of a text.
fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
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
        Answer::Silence => format!("no answer in {} ms", probe.took.as_millis()),
        Answer::NobodyThere => "nothing: there is no such container".to_owned(),
    }
}

/// The first few, and how many more.
fn shortened(left: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = left.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match left.len().saturating_sub(SHOWN) {
        0 => list(&shown),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
