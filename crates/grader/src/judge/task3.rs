//! Task 3: a tool, four containers, and what stands after each command.
//!
//! A container is its command's process: what the tool put around it is free. Each *no* is believed only where a *yes*
//! came over the same path: that two containers do not reach each other says something where both reach the host and the
//! host reaches both; that a container has no internet, where the host has it.

use std::collections::BTreeSet;

use super::scene::Scene;
use super::words::{command_told, link, link_of, list, plain, probe_told};
use super::{Evidence, Finding, Outcome};
use crate::play::task3::{ALT, BYSTANDER, EG, EGG, IMAGE, MARK, PUBLISHED, RENAMED, WEB, cable, published, spelt};
use crate::trace::Host;
use crate::trace::session::{Answer, CommandRun, Did, Link, Look, Network, Process, Session};

/// What stands first in the output of each command.
const BANNER: &str = "CS695 Conductor that manages containers";
/// The names of containers that are stopped at the end.
const NAMES: [&str; 5] = [EG, EGG, WEB, ALT, "idle"];
/// The namespaces that `run` makes and `exec` joins: as the kernel calls them, and the check of each.
const KINDS: [(&str, &[&str]); 5] =
    [("uts", &["run.uts"]), ("pid", &["run.pid"]), ("net", &["run.net"]), ("mnt", &["run.mnt"]), ("ipc", &["run.ipc"])];

/// What `scene` says about the check `id`; none when there is no such check.
pub(super) fn finding(id: &str, scene: &Scene<'_>) -> Option<Finding> {
    let play = Play { session: &scene.run.session, host: &scene.run.host, number: scene.number };
    Some(match id {
        "run.uts" => Finding::parts([("own", play.own("uts")), ("name", play.name_stays())]),
        "run.pid" => Finding::whole(play.own("pid")),
        "run.net" => Finding::whole(play.own("net")),
        "run.mnt" => Finding::whole(play.own("mnt")),
        "run.ipc" => Finding::whole(play.own("ipc")),
        "run.root" => Finding::parts([("own", play.own_root()), ("apart", play.roots_apart())]),
        "run.mounts" => play.mounts(),
        "run.default" => Finding::whole(play.default_command()),
        "exec.joins" => Finding::parts(KINDS.map(|(kind, check)| (kind, play.joins(kind, check)))),
        "exec.root" => Finding::whole(play.same_root()),
        "net.pair" => play.pair(),
        "net.reach" => play.reach(),
        "net.internet" => play.internet(),
        "net.expose" => play.expose(),
        "net.apart" => play.apart(),
        "net.peer" => play.peer(),
        "stop.gone" => play.gone(),
        "stop.others" => Finding::whole(play.others()),
        "stop.again" => Finding::whole(play.again()),
        "output" => play.output(),
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

/// The cable of one container, as far as it was found.
struct Pair<'a> {
    inside: Option<&'a Link>,
    outside: Option<&'a Link>,
    lo_up: bool,
}

impl<'a> Play<'a> {
    /// The container's command, or why it is not there.
    fn container(&self, name: &str) -> Result<&'a Process, String> {
        let missing = || match self.session.command(&format!("run {name}")) {
            Some(run) => format!("no process with the command that `{}` was given; {}", run.line(), command_told(run)),
            None => self.not_reached(),
        };
        self.session.found(name).ok_or_else(missing)
    }

    /// Why a step was not taken.
    fn not_reached(&self) -> String {
        let cut = self.session.cut.as_ref();
        cut.map_or("it did not come to that".to_owned(), |why| format!("it did not come to that: {why}"))
    }

    fn evidence(&self, process: &Process, what: &str) -> Vec<Evidence> {
        let is_of = |did: &Did| matches!(did, Did::Found(Some(found)) if found.pid == process.pid);
        let step = self.session.steps.iter().find(|step| is_of(&step.did));
        vec![Evidence {
            run: self.number,
            at_ms: step.and_then(|step| u64::try_from(step.at.as_millis()).ok()).unwrap_or(0),
            pid: process.pid,
            inner_pids: process.state.inner_pids.clone(),
            what: what.to_owned(),
            namespaces: process.state.namespaces.clone(),
        }]
    }

    // What `run` makes.

    fn own(&self, kind: &str) -> Outcome {
        let expected =
            format!("a container in a namespace of its own, unlike {}", link_of(kind, &self.host.namespaces));
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(why) => return Outcome::absent(expected, why),
        };
        let theirs = eg.state.namespaces.get(kind);
        if theirs == self.host.namespaces.get(kind) {
            let observed = format!("its command is in {}, the host's", link_of(kind, &eg.state.namespaces));
            return Outcome::wrong(expected, observed, self.evidence(eg, "the container's command"));
        }
        match self.session.found(EGG) {
            Some(egg) if egg.state.namespaces.get(kind) == theirs => {
                let observed = format!("{EG} and {EGG} are both in {}", link_of(kind, &eg.state.namespaces));
                Outcome::wrong(expected, observed, self.evidence(egg, "the other container's command"))
            }
            _ => Outcome::Held,
        }
    }

    fn name_stays(&self) -> Outcome {
        let expected = format!("the host is called {} whatever the container calls itself", self.host.name);
        let (eg, look) = match (self.container(EG), self.session.look("inside")) {
            (Ok(eg), Some(look)) => (eg, look),
            (Err(why), _) => return Outcome::absent(expected, why),
            (_, None) => return Outcome::absent(expected, self.not_reached()),
        };
        if look.shot.hostname != self.host.name {
            let observed = format!("it is called {} now", look.shot.hostname);
            return Outcome::wrong(expected, observed, self.evidence(eg, "renamed itself"));
        }
        match look.process(eg.pid).map(|process| process.state.hostname.as_str()) {
            Some(RENAMED) => Outcome::Held,
            _ => Outcome::absent(expected, "the container ended before it was renamed"),
        }
    }

    fn own_root(&self) -> Outcome {
        let expected = "a root directory that is not the host's";
        match self.container(EG) {
            Err(why) => Outcome::absent(expected, why),
            Ok(eg) if eg.state.root == self.host.root => {
                let observed = "the command's root directory is the host's";
                Outcome::wrong(expected, observed, self.evidence(eg, "the container's command"))
            }
            Ok(_) => Outcome::Held,
        }
    }

    fn roots_apart(&self) -> Outcome {
        let expected = "a file made in one container is not in another";
        let (eg, egg) = match (self.container(EG), self.container(EGG)) {
            (Ok(eg), Ok(egg)) => (eg, egg),
            (Err(why), _) | (_, Err(why)) => return Outcome::absent(expected, why),
        };
        let now = |process: &Process| self.session.look("inside").and_then(|look| look.process(process.pid));
        let has_it = |process: &Process| process.entries.iter().any(|name| name == MARK);
        match (now(eg), now(egg)) {
            (Some(eg), Some(egg)) if has_it(eg) && has_it(egg) => {
                let observed = format!("/{MARK}, made in {EG}, is in {EGG} too");
                Outcome::wrong(expected, observed, self.evidence(egg, "sees the other's file"))
            }
            (Some(eg), Some(_)) if has_it(eg) => Outcome::Held,
            _ => Outcome::absent(expected, format!("no file could be made in the root of {EG}")),
        }
    }

    fn mounts(&self) -> Finding {
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(why) => return Finding::whole(Outcome::absent("/proc, /sys and /dev in the container", why)),
        };
        let kind = |tree: &str| eg.trees.get(tree).map(String::as_str);
        let expected = "a proc file system on the container's /proc that shows its PID namespace";
        let inode = eg.state.namespaces.get("pid").copied();
        let proc = if inode == self.host.namespaces.get("pid").copied() {
            Outcome::NotTried(&["run.pid"], "the container has no processes of its own to show".to_owned())
        } else {
            match eg.proc_of {
                None => Outcome::absent(expected, "there is no process 1 in its /proc"),
                Some(shown) if Some(shown) == inode => Outcome::Held,
                Some(shown) => {
                    let whose = if Some(&shown) == self.host.namespaces.get("pid") { ", the host's" } else { "" };
                    let observed = format!("its /proc shows the processes of {}{whose}", link("pid", shown));
                    Outcome::wrong(expected, observed, self.evidence(eg, "the container's command"))
                }
            }
        };
        let expected = "no proc file system of a container among the host's mounts";
        let new = match (self.session.look("before"), self.session.look(&format!("{EG} runs"))) {
            (Some(before), Some(now)) => Some(new_mounts(before, now, Some("proc"))),
            _ => None,
        };
        let host = match new {
            None => Outcome::absent(expected, self.not_reached()),
            Some(new) if !new.is_empty() => {
                Outcome::wrong(expected, format!("while it runs, the host has proc on {}", list(&new)), Vec::new())
            }
            Some(_) if kind("/proc").is_none() => {
                Outcome::NotTried(&[], "nothing is mounted on the container's /proc".to_owned())
            }
            Some(_) => Outcome::Held,
        };
        let expected = "a sysfs on /sys, and a /dev/null that is the null device";
        let devices = match (kind("/sys"), eg.dev_null) {
            (Some("sysfs"), true) => Outcome::Held,
            (Some("sysfs"), false) => Outcome::absent(expected, "no device at /dev/null"),
            (Some(other), _) => Outcome::absent(expected, format!("{other} on /sys")),
            (None, _) => Outcome::absent(expected, "nothing mounted on /sys"),
        };
        Finding::parts([("proc", proc), ("host", host), ("devices", devices)])
    }

    fn default_command(&self) -> Outcome {
        let expected = "a bash in a container";
        match (self.session.found("run idle's shell"), self.session.command("run idle")) {
            (Some(_), _) => Outcome::Held,
            (None, Some(run)) => {
                Outcome::absent(expected, format!("`{}` brought none; {}", run.line(), command_told(run)))
            }
            (None, None) => Outcome::absent(expected, self.not_reached()),
        }
    }

    // What `exec` joins.

    fn joins(&self, kind: &str, check: &'static [&'static str]) -> Outcome {
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(why) => return Outcome::NotTried(check, why),
        };
        let expected = format!("exec's command in {}, where the container is", link_of(kind, &eg.state.namespaces));
        let Some(exec) = self.session.found("exec's") else { return Outcome::absent(expected, self.no_exec()) };
        let of = |process: &Process| process.state.namespaces.get(kind).copied();
        if of(eg) == self.host.namespaces.get(kind).copied() {
            return Outcome::NotTried(check, "the container has none of its own to join".to_owned());
        }
        if of(exec) == of(eg) {
            return Outcome::Held;
        }
        let whose = if of(exec) == self.host.namespaces.get(kind).copied() { ", the host's" } else { "" };
        let observed = format!("it is in {}{whose}", link_of(kind, &exec.state.namespaces));
        Outcome::wrong(expected, observed, self.evidence(exec, "exec's command"))
    }

    fn same_root(&self) -> Outcome {
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(why) => return Outcome::NotTried(&["run.root"], why),
        };
        let expected = "exec's command has the container's root directory";
        match self.session.found("exec's") {
            None => Outcome::absent(expected, self.no_exec()),
            Some(_) if eg.state.root == self.host.root => {
                Outcome::NotTried(&["run.root"], "the container has no root of its own".to_owned())
            }
            Some(exec) if exec.state.root == eg.state.root => Outcome::Held,
            Some(exec) => {
                let whose = if exec.state.root == self.host.root { "the host's" } else { "another one" };
                Outcome::wrong(expected, format!("it has {whose}"), self.evidence(exec, "exec's command"))
            }
        }
    }

    fn no_exec(&self) -> String {
        match self.session.command("exec") {
            Some(run) => format!("`{}` brought no such process; {}", run.line(), command_told(run)),
            None => self.not_reached(),
        }
    }

    // What `addnetwork` and `peer` connect.

    fn network(&self, look: &'a Look, inode: Option<&u64>) -> Option<&'a Network> {
        look.networks.get(inode?)
    }

    fn cable_of(&self, name: &str) -> Option<Pair<'a>> {
        let look = self.session.look(&format!("{name} wired"))?;
        let process = self.session.found(name)?;
        let inside = self.network(look, process.state.namespaces.get("net"))?;
        let ours = self.network(look, self.host.namespaces.get("net"))?;
        let theirs = inside.links.iter().find(|link| link.peer.is_some());
        let named = ours.link(&format!("{name}-outside"));
        let other_end = theirs.and_then(|end| {
            ours.links.iter().find(|link| Some(link.index) == end.peer && link.peer == Some(end.index))
        });
        let lo_up = inside.link("lo").is_some_and(|lo| lo.up);
        Some(Pair { inside: theirs, outside: other_end.or(named), lo_up })
    }

    fn pair(&self) -> Finding {
        let names = format!("veth ends {EG}-outside on the host and {EG}-inside in the container");
        let Some(pair) = self.cable_of(EG) else {
            return Finding::whole(Outcome::absent(names, self.container(EG).err().unwrap_or(self.not_reached())));
        };
        let (Some(inside), Some(outside)) = (pair.inside, pair.outside) else {
            let said = self.session.command("addnetwork eg").map_or(self.not_reached(), command_told);
            let missing = if pair.inside.is_none() { "no cable in the container" } else { "no other end on the host" };
            return Finding::whole(Outcome::absent(names, format!("{missing}; {said}")));
        };
        let named = [(&inside.name, "inside"), (&outside.name, "outside")];
        let right = named.iter().all(|(name, end)| **name == format!("{EG}-{end}"));
        let kinds = [inside, outside].map(|link| link.kind.as_deref().unwrap_or("no kind"));
        let names = if right && kinds == ["veth"; 2] {
            Outcome::Held
        } else {
            let observed = format!("{} ({}) and {} ({})", outside.name, kinds[1], inside.name, kinds[0]);
            Outcome::wrong(names, observed, Vec::new())
        };
        let subnet = |pair: &Pair<'_>| {
            let host = pair.outside?.addresses.iter().find_map(|address| subnet_of(address, 1))?;
            pair.inside?.addresses.iter().any(|address| subnet_of(address, 2) == Some(host)).then_some(host)
        };
        let expected = "192.168.N.1/24 on the host's end and 192.168.N.2/24 inside, N another one for each container";
        let others = self.cable_of(EGG).and_then(|pair| subnet(&pair));
        let addresses = match subnet(&pair) {
            None => {
                let of =
                    |link: &Link| if link.addresses.is_empty() { "none".to_owned() } else { list(&link.addresses) };
                Outcome::wrong(
                    expected,
                    format!("{} on the host's end, {} inside", of(outside), of(inside)),
                    Vec::new(),
                )
            }
            Some(n) if others == Some(n) => {
                Outcome::wrong(expected, format!("{EG} and {EGG} both have 192.168.{n}.0/24"), Vec::new())
            }
            Some(_) => Outcome::Held,
        };
        let down: Vec<&str> = [outside, inside].iter().filter(|link| !link.up).map(|link| link.name.as_str()).collect();
        let up = match down.as_slice() {
            [] => Outcome::Held,
            down => Outcome::wrong("both ends switched on", format!("{} is down", list(down)), Vec::new()),
        };
        let lo = match pair.lo_up {
            true => Outcome::Held,
            false => Outcome::wrong("lo in the container switched on", "it is down", Vec::new()),
        };
        Finding::parts([("names", names), ("addresses", addresses), ("up", up), ("lo", lo)])
    }

    fn reached(&self, probe: &str) -> bool {
        self.session.reached(probe)
    }

    /// What came of an attempt, in words.
    fn said(&self, probe: &str) -> String {
        self.session.probe(probe).map_or_else(|| self.not_reached(), probe_told)
    }

    /// Whether `name` and the host reached each other when it was asked: half of every path through the host.
    fn is_connected(&self, name: &str) -> bool {
        let host_calls = self.reached(&format!("host calls {name}"));
        host_calls && (![EG, EGG].contains(&name) || self.reached(&format!("{name} pings host")))
    }

    fn reach(&self) -> Finding {
        let to = match self.reached("host pings eg") || self.reached("host calls eg") {
            true => Outcome::Held,
            false => Outcome::absent("the host reaches the container", self.said("host pings eg")),
        };
        let from = match self.reached("eg pings host") {
            true => Outcome::Held,
            false => Outcome::absent("the container reaches the host's end of its cable", self.said("eg pings host")),
        };
        Finding::parts([("to", to), ("from", from)])
    }

    fn internet(&self) -> Finding {
        if let Some(why) = &self.session.no_nat {
            return Finding::whole(Outcome::Skipped(format!("addresses cannot be translated here: {why}")));
        }
        let reach = match self.reached("egg calls internet") {
            true => Outcome::Held,
            false if !self.is_connected(EGG) => self.unconnected(EGG),
            false => {
                let failed = self.failed("addnetwork egg");
                let observed = format!("{}{failed}", self.said("egg calls internet"));
                Outcome::absent("a container with -i reaches the internet", observed)
            }
        };
        let attempts = [
            "eg calls internet",
            "eg pings internet",
            "eg calls internet beside egg",
            "eg calls internet beside its peer",
        ];
        let others = match attempts.into_iter().find(|attempt| self.reached(attempt)) {
            Some(attempt) => Outcome::wrong("a container without -i does not reach it", self.said(attempt), Vec::new()),
            None if !self.reached("egg calls internet") => {
                Outcome::NotTried(&["net.internet"], "nobody was seen to reach the internet".to_owned())
            }
            None if !self.is_connected(EG) => self.unconnected(EG),
            None => Outcome::Held,
        };
        Finding::parts([("reach", reach), ("others", others)])
    }

    /// Nothing can be said of a container that is not connected at all.
    fn unconnected(&self, name: &str) -> Outcome {
        Outcome::NotTried(&["net.reach"], format!("{name} and the host do not reach each other"))
    }

    /// What a command said when it failed, to be put behind something else.
    fn failed(&self, command: &str) -> String {
        let failed = self.session.command(command).filter(|run| !run.succeeded());
        failed.map_or(String::new(), |run| format!("; `{}`: {}", run.line(), command_told(run)))
    }

    fn expose(&self) -> Finding {
        if let Some(why) = &self.session.no_nat {
            return Finding::whole(Outcome::Skipped(format!("addresses cannot be translated here: {why}")));
        }
        let attempt = |who: &str, name: &str| format!("{who} calls the port of {name}");
        // Whether the server behind the port answered, and not somebody else.
        let works = |who: &str, name: &str| {
            let probe = self.session.probe(&attempt(who, name));
            probe.is_some_and(|p| matches!(&p.answer, Answer::Said(word) if word.starts_with(&published(name))))
        };
        let score = |name: &str| u32::from(works("outside", name)) * 2 + u32::from(works("host", name));
        // Two spellings are in use, and each is the right one for somebody.
        let best = if score(ALT) > score(WEB) { ALT } else { WEB };
        let early = format!("outside calls {best} too early");
        let part = |who: &str, words: &str| {
            let expected = format!("{words} reaches the container's port at the host's address");
            if self.reached(&early) {
                let observed = format!("somebody answered before it was published: {}", self.said(&early));
                return Outcome::wrong(expected, observed, Vec::new());
            }
            match works(who, best) {
                true => Outcome::Held,
                false => {
                    let failed = self.failed(&format!("addnetwork {best}"));
                    Outcome::absent(expected, format!("{}{failed}", self.said(&attempt(who, best))))
                }
            }
        };
        let finding = Finding::parts([
            ("outside", part("outside", "another machine")),
            ("host", part("host", "the host itself")),
        ]);
        let only_one = PUBLISHED.into_iter().find(|(name, ..)| score(name) == 0).filter(|_| score(best) > 0);
        match only_one {
            None => finding,
            Some((name, outer, inner)) => {
                let spelt = spelt(name, outer, inner);
                finding.remark(format!("`-e {spelt}` is another way to spell a port, and is not understood"))
            }
        }
    }

    fn apart(&self) -> Finding {
        let part = |expected: &str, names: [&str; 2], attempts: &[&str]| {
            if let Some(attempt) = attempts.iter().find(|attempt| self.reached(attempt)) {
                return Outcome::wrong(expected, self.said(attempt), Vec::new());
            }
            let lost = names.into_iter().find(|name| !self.is_connected(name));
            lost.map_or(Outcome::Held, |name| self.unconnected(name))
        };
        let expected = "nothing passes between two containers without `peer`";
        let before = part(expected, [EG, EGG], &["eg calls egg", "egg calls eg"]);
        // One of the two may be unconnected, when the tool does not know its way to spell a port.
        let third = if self.is_connected(WEB) { WEB } else { ALT };
        let attempts = ["eg calls web", "web calls eg", "eg calls alt", "alt calls eg"];
        let expected = "nothing passes between one of the peers and a third container";
        let after = part(expected, [EG, third], &attempts);
        Finding::parts([("before", before), ("after", after)])
    }

    fn peer(&self) -> Finding {
        let part = |from: &str, to: &str| {
            let attempt = format!("{from} calls its peer");
            if self.reached(&format!("{from} calls {to}")) {
                return Outcome::NotTried(&["net.apart"], format!("{from} reached {to} before they were peers"));
            }
            if self.reached(&attempt) {
                return Outcome::Held;
            }
            match [EG, EGG].into_iter().find(|name| !self.is_connected(name)) {
                Some(name) => self.unconnected(name),
                None => {
                    let observed = format!("{}{}", self.said(&attempt), self.failed("peer"));
                    Outcome::absent(format!("after `peer {EG} {EGG}`, {from} reaches {to}"), observed)
                }
            }
        };
        Finding::parts([("there", part(EG, EGG)), ("back", part(EGG, EG))])
    }

    // What `stop` leaves.

    fn gone(&self) -> Finding {
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(_) => {
                let why = "there was no container to stop".to_owned();
                return Finding::whole(Outcome::NotTried(&["run.root"], why));
            }
        };
        let looks =
            (self.session.look("before"), self.session.look(&format!("{EG} stopped")), self.session.look("end"));
        let (Some(before), Some(stopped), Some(end)) = looks else {
            return Finding::whole(Outcome::absent("nothing left of a container", self.not_reached()));
        };
        let held_or = |expected: &str, left: Vec<String>, untried: Option<Outcome>| match (left.as_slice(), untried) {
            ([], None) => Outcome::Held,
            ([], Some(untried)) => untried,
            (left, _) => Outcome::wrong(expected, shortened(left), Vec::new()),
        };
        let processes = held_or("no process of the container", self.processes_left(eg, stopped), None);
        let folder = format!("{}/", self.host.cwd);
        let of_container =
            |point: &String| point.starts_with(&folder) || point.split('/').any(|part| NAMES.contains(&part));
        let (mounts, other_mounts) = new_mounts(before, end, None).into_iter().partition(of_container);
        let mounts = held_or("no mount of a container", mounts, None);
        let had_cable = self.cable_of(EG).is_some_and(|pair| pair.outside.is_some());
        let untried = |tried: bool, check: &'static [&'static str]| {
            (!tried).then(|| Outcome::NotTried(check, "there was nothing to take away".to_owned()))
        };
        let links = held_or("no link of a container", self.new_links(before, end), untried(had_cable, &["net.pair"]));
        let (specific, general) = self.rules_left(before, end);
        let had_rules = self.session.look("all run").is_some_and(|look| look.rules != before.rules);
        let tried = had_rules || self.reached("egg calls internet");
        let rules = held_or("no rule that speaks of a container", specific, untried(tried, &["net.internet"]));
        let folder = held_or("no folder or cgroup of a container", self.state_left(before, end), None);
        let mut finding = Finding::parts([
            ("processes", processes),
            ("mounts", mounts),
            ("links", links),
            ("rules", rules),
            ("folder", folder),
        ]);
        let forwards = |look: &Look| look.shot.settings.get("net.ipv4.ip_forward").is_some_and(|value| value == "1");
        if forwards(end) && !forwards(before) {
            finding = finding.remark("the host goes on forwarding after its last container");
        }
        if !other_mounts.is_empty() {
            finding = finding.remark(format!("mounts that belong to no container stay: {}", shortened(&other_mounts)));
        }
        if !general.is_empty() {
            finding = finding.remark(format!("rules that name no container stay: {}", shortened(&general)));
        }
        finding
    }

    fn processes_left(&self, eg: &Process, look: &Look) -> Vec<String> {
        let pid_namespace = eg.state.namespaces.get("pid").filter(|own| Some(*own) != self.host.namespaces.get("pid"));
        let exec = self.session.found("exec's").map(|process| process.pid);
        let number = eg.argv.last();
        let belongs = |process: &&Process| {
            let inside = pid_namespace.is_some_and(|own| process.state.namespaces.get("pid") == Some(own));
            let waits = process.argv.len() > 2 && process.argv.last() == number;
            inside || waits || process.pid == eg.pid || Some(process.pid) == exec
        };
        let left = look.processes.iter().filter(|process| !process.zombie).filter(belongs);
        left.map(|process| format!("process {} ({})", process.pid, process.argv.join(" "))).collect()
    }

    fn new_links(&self, before: &Look, end: &Look) -> Vec<String> {
        let ours = self.host.namespaces.get("net");
        let of =
            |look: &Look| ours.and_then(|inode| look.networks.get(inode)).map_or(Vec::new(), |net| net.links.clone());
        let (before, end) = (of(before), of(end));
        let known = |link: &&Link| !before.iter().any(|old| old.name == link.name);
        // A link that belongs to no container, such as a bridge for all of them, may stay.
        let named = |link: &&Link| NAMES.iter().any(|name| has_word(&link.name, name));
        let left = end.iter().filter(known).filter(|link| named(link) || link.kind.as_deref() == Some("veth"));
        left.map(|link| link.name.clone()).collect()
    }

    /// The rules that are new at the end: those that speak of a container, and the others.
    fn rules_left(&self, before: &Look, end: &Look) -> (Vec<String>, Vec<String>) {
        let subnets: BTreeSet<u8> = [EG, EGG, WEB, ALT]
            .into_iter()
            .filter_map(|name| self.session.look(&format!("{name} wired")).zip(self.session.found(name)))
            .filter_map(|(look, process)| cable(look, process, self.host))
            .filter_map(|cable| cable.inside.split('.').nth(2)?.parse().ok())
            .collect();
        let speaks = |rule: &&String| {
            let of_subnet = subnets.iter().any(|n| rule.contains(&format!("192.168.{n}.")));
            of_subnet || NAMES.iter().any(|name| has_word(rule, name))
        };
        let new = end.rules.iter().filter(|rule| !before.rules.contains(rule) && !rule.contains(" policy "));
        let (specific, general): (Vec<&String>, Vec<&String>) = new.partition(speaks);
        (specific.into_iter().cloned().collect(), general.into_iter().cloned().collect())
    }

    fn state_left(&self, before: &Look, end: &Look) -> Vec<String> {
        let named = |path: &&String| path.split('/').any(|part| NAMES.contains(&part));
        let mut left: Vec<String> =
            end.files.iter().filter(|path| !before.files.contains(path)).filter(named).cloned().collect();
        // What lies in a folder that is named already.
        left.retain(|path| path.split('/').next_back().is_some_and(|last| NAMES.contains(&last)));
        left.extend(
            end.shot.cgroups.iter().filter(|group| !before.shot.cgroups.contains(group)).filter(named).cloned(),
        );
        let still_listed = self
            .session
            .command("ps stopped")
            .is_some_and(|run| rows(run).any(|row| row.split_whitespace().next() == Some(EG)));
        if left.is_empty() && still_listed {
            left.push(format!("`ps` still lists {EG}"));
        }
        left
    }

    fn others(&self) -> Outcome {
        let expected = format!("after `stop {EG}` everybody else goes on");
        let (eg, look) = match (self.container(EG), self.session.look(&format!("{EG} stopped"))) {
            (Ok(eg), Some(look)) => (eg, look),
            (Err(_), _) => return Outcome::NotTried(&["stop.gone"], "there was no container to stop".to_owned()),
            (_, None) => return Outcome::absent(expected, self.not_reached()),
        };
        if look.process(eg.pid).is_some_and(|process| !process.zombie) {
            return Outcome::NotTried(&["stop.gone"], format!("{EG} goes on itself"));
        }
        let watched = [("bystander itself", format!("the process `{BYSTANDER}`")), (EGG, format!("container {EGG}"))];
        for (step, who) in watched {
            let lives = |process: &Process| look.process(process.pid).is_some_and(|now| !now.zombie);
            if let Some(process) = self.session.found(step).filter(|process| !lives(process)) {
                return Outcome::wrong(expected, format!("{who} was ended"), self.evidence(process, "is gone"));
            }
        }
        let own = |egg: &Process| egg.state.namespaces.get("net") != self.host.namespaces.get("net");
        let networked = self.session.found(EGG).is_some_and(own);
        for attempt in ["host calls egg", "egg calls internet"].into_iter().filter(|_| networked) {
            let now = format!("{attempt} without eg");
            if self.reached(attempt) && !self.reached(&now) {
                return Outcome::wrong(expected, self.said(&now), Vec::new());
            }
        }
        Outcome::Held
    }

    fn again(&self) -> Outcome {
        let expected = format!("a second `run` with the name {EG} after its `stop`, and a fresh root");
        if self.container(EG).is_err() {
            return Outcome::NotTried(&["run.root"], "it did not run the first time".to_owned());
        }
        match (self.session.found("eg again"), self.session.command("run eg again")) {
            (Some(process), _) if process.entries.iter().any(|name| name == MARK) => {
                let observed = format!("/{MARK}, made before it was stopped, is still there");
                Outcome::wrong(expected, observed, self.evidence(process, "the new container's command"))
            }
            (Some(_), _) => Outcome::Held,
            (None, Some(run)) => {
                Outcome::absent(expected, format!("`{}` brought none; {}", run.line(), command_told(run)))
            }
            (None, None) => Outcome::absent(expected, self.not_reached()),
        }
    }

    // What is printed.

    fn output(&self) -> Finding {
        let finding = Finding::parts([("banner", self.banner()), ("tables", self.tables())]);
        let wanted = [
            ("exec", format!("in {EG} container!")),
            (&format!("stop {EG}"), format!("{EG} succesfully removed")),
            ("rmi", format!("{IMAGE} succesfully removed")),
        ];
        let silent = wanted.into_iter().filter_map(|(name, words)| {
            let run = self.session.command(name)?;
            (!plain(&run.output.stdout).contains(&words)).then(|| format!("`{}` does not say {words:?}", run.line()))
        });
        silent.fold(finding, Finding::remark)
    }

    fn banner(&self) -> Outcome {
        let expected = format!("{BANNER:?} as the first line of stdout");
        let commands = self.session.steps.iter().filter_map(|step| match &step.did {
            Did::Command(run) if step.name != "bystander" => Some(run),
            _ => None,
        });
        let mut seen = 0;
        for run in commands {
            let text = plain(&run.output.stdout);
            if text.lines().find(|line| !line.trim().is_empty()).map(str::trim) != Some(BANNER) {
                let first = text.lines().next().unwrap_or("nothing").to_owned();
                return Outcome::wrong(expected, format!("`{}` begins with {first:?}", run.line()), Vec::new());
            }
            seen += 1;
        }
        if seen == 0 { Outcome::absent(expected, self.not_reached()) } else { Outcome::Held }
    }

    fn tables(&self) -> Outcome {
        let wrong = |name: &str, expected: &str| {
            let run = self.session.command(name);
            let observed = run.map_or(self.not_reached(), |run| {
                let lines: Vec<String> = rows(run).map(|row| format!("{:?}", row.trim())).collect();
                format!("`{}` printed {}", run.line(), list(&lines))
            });
            Outcome::absent(expected, observed)
        };
        let has = |name: &str, is_it: &dyn Fn(&[&str]) -> bool| {
            let run = self.session.command(name);
            run.is_some_and(|run| rows(run).any(|row| is_it(&row.split_whitespace().collect::<Vec<_>>())))
        };
        if !has("images none", &|row| row == ["No", "images", "found"]) {
            return wrong("images none", "No images found");
        }
        if !has("ps none", &|row| row == ["No", "containers", "found"]) {
            return wrong("ps none", "No containers found");
        }
        let image = |row: &[&str]| matches!(row, [IMAGE, _, date] if is_date(date));
        if !has("images", &|row| row == ["Name", "Size", "Date"]) || !has("images", &image) {
            return wrong("images", "a header Name Size Date, and a row with the image's name, size and date");
        }
        if self.container(EG).is_err() {
            return Outcome::NotTried(&["run.root"], "no container ran to be listed".to_owned());
        }
        // The first `ps` after `run` that lists it.
        let listed: Vec<&str> = self.session.steps.iter().map(|step| step.name.as_str()).collect();
        let last = listed.iter().rev().find(|name| name.starts_with("ps egg ")).copied().unwrap_or("ps egg 0");
        let header = |row: &[&str]| row.starts_with(&["Name", "Date"]);
        let lists = |name: &str| has(last, &|row| matches!(row, [first, date, ..] if *first == name && is_date(date)));
        if !has(last, &header) || !lists(EG) || !lists(EGG) {
            return wrong(last, "a header Name Date, and a row with each container's name and date");
        }
        Outcome::Held
    }
}

/// The rows of a table: what was printed below the banner.
fn rows(run: &CommandRun) -> impl Iterator<Item = String> + use<> {
    let lines: Vec<String> = plain(&run.output.stdout).lines().map(str::to_owned).collect();
    lines.into_iter().filter(|line| !line.trim().is_empty() && line.trim() != BANNER)
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2] && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// N of `192.168.N.last/24`.
fn subnet_of(address: &str, last: u8) -> Option<u8> {
    let rest = address.strip_prefix("192.168.")?.strip_suffix(&format!(".{last}/24"))?;
    rest.parse().ok()
}

/// Whether `text` has `name` as a whole word; `-` and `_` end one, since names of links and chains are made with them.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
}

/// The host's mounts that were not there before, of one kind or of all.
fn new_mounts(before: &Look, now: &Look, kind: Option<&str>) -> Vec<String> {
    let mut known: Vec<&str> = before.mounts.iter().map(|mount| mount.point.as_str()).collect();
    let mut new = Vec::new();
    for mount in now.mounts.iter() {
        match known.iter().position(|point| *point == mount.point) {
            Some(at) => drop(known.swap_remove(at)),
            None if kind.is_none_or(|kind| kind == mount.kind) => new.push(mount.point.clone()),
            None => {}
        }
    }
    new
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
