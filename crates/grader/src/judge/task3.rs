//! Task 3: a tool, four containers, and what stands after each command.
//!
//! A container is its command's process: what the tool put around it is free. Each *no* is believed only where a *yes*
//! came over the same path: that two containers do not reach each other says something where both reach the host and the
//! host reaches both; that a container has no internet, where the host has it.

use std::collections::{BTreeMap, BTreeSet};

use super::history::History;
use super::words::{command_told, link, link_of, list, plain, probe_told, shortened};
use super::{Evidence, Finding, Outcome, Style, Why};
use crate::record::steps::{Answer, CommandRun, Link, Look, Network, Process, SessionRecord, StepKind};
use crate::record::{End, Host};
use crate::rubric::Check;
use crate::session::task3::{
    ABOVE, ALT, BUSY, BYSTANDER, CALLED, COPIED_FILE, COPIED_FOLDER, EG, EGG, IDLE, IMAGE, LAST, MARK, OF_BASE,
    RENAMED, STAMP, STATUS, TWICE, WEB, WORD, mounts_of, new_mounts, processes_of, published, veth_pair,
};
use crate::session::{OURS, VOLUME};

/// Hints where a container has no route to an address.
const NO_ROUTE: [&str; 3] = [
    "\"Network is unreachable\" is said by the container's own kernel: no packet left. What would it have to know?",
    "An address gives a link a route to its own /24 and no further. A way to all other addresses is a route of its own.",
    "ip-route(8): `ip route` in the container lists what it knows. Setting it is part of `addnetwork`.",
];

/// What stands first in the output of each command.
const BANNER: &str = "CS695 Conductor that manages containers";
/// The names of containers that are stopped at the end.
const NAMES: [&str; 7] = [EG, EGG, WEB, ALT, BUSY, TWICE, IDLE];
/// The namespaces that `run` makes and `exec` joins: as the kernel calls them, and the check of each.
const KINDS: [(&str, &[&str]); 5] =
    [("uts", &["run.uts"]), ("pid", &["run.pid"]), ("net", &["run.net"]), ("mnt", &["run.mnt"]), ("ipc", &["run.ipc"])];

/// What `history` says about `check`; none when there is no such check.
pub(super) fn finding(check: &Check, history: &History<'_>, style: Style) -> Option<Finding> {
    let session = &history.run.session;
    let judge = Judge { session, host: &history.run.host, number: history.number, is_rust: style.is_rust };
    let nothing_ran = [EG, EGG, WEB, ALT].iter().all(|name| session.found(name).is_none());
    let finding = match check.id.as_str() {
        "output" => judge.output(),
        // One reason for all checks is reported with the first.
        "run.uts" if nothing_ran => Finding::whole(Outcome::NotTried(&[], judge.why_nothing_ran())),
        _ if nothing_ran => Finding::whole(Outcome::NotTried(&["run.uts"], judge.why_nothing_ran())),
        "run.uts" => Finding::parts([("own", judge.own("uts")), ("name", judge.name_stays())]),
        "run.pid" => Finding::whole(judge.own("pid")),
        "run.net" => Finding::whole(judge.own("net")),
        "run.mnt" => Finding::whole(judge.own("mnt")),
        "run.ipc" => Finding::whole(judge.own("ipc")),
        "run.root" => Finding::parts([("own", judge.own_root()), ("apart", judge.roots_apart())]),
        "run.mounts" => judge.mounts(),
        "run.usable" => Finding::whole(judge.usable()),
        "run.default" => Finding::whole(judge.default_command()),
        "run.names" => judge.names(),
        "exec.joins" => Finding::parts(KINDS.map(|(kind, check)| (kind, judge.joins(kind, check)))),
        "exec.root" => Finding::parts([("root", judge.same_root()), ("cwd", judge.inside_root())]),
        "exec.clean" => judge.clean_exec(),
        "exec.busy" => Finding::whole(judge.beside_exec()),
        "net.pair" => judge.pair(),
        "net.reach" => judge.reach(),
        "net.internet" => judge.internet(),
        "net.expose" => judge.expose(),
        "net.apart" => judge.apart(),
        "net.peer" => judge.peer(),
        "stop.gone" => judge.gone(),
        "stop.others" => Finding::whole(judge.others()),
        "stop.again" => Finding::whole(judge.again()),
        "layers.order" => judge.layers_in_order(),
        "layers.cache" => judge.layers_kept(),
        "layers.copy" => judge.layers_copied(),
        "layers.failed" => judge.layers_failed(),
        _ => return None,
    };
    Some(judge.as_far_as_time_was(check, finding))
}

/// One run of the judge.
#[derive(Clone, Copy)]
struct Judge<'a> {
    session: &'a SessionRecord,
    host: &'a Host,
    number: usize,
    /// It is ours, or a student's copy of it: of that, more is asked than the assignment does.
    is_rust: bool,
}

/// The veth pair of one container, as far as it was found.
struct Pair<'a> {
    inside: Option<&'a Link>,
    outside: Option<&'a Link>,
    lo_up: bool,
}

impl<'a> Judge<'a> {
    /// The container's command, or why it is not there.
    fn container(&self, name: &str) -> Result<&'a Process, String> {
        let missing = || match self.session.command(&format!("run {name}")) {
            Some(run) => format!("no process with the command that `{}` was given; {}", run.line(), command_told(run)),
            None => self.session.not_reached(),
        };
        self.session.found(name).ok_or_else(missing)
    }

    /// What was typed first without success, and what it answered.
    fn why_nothing_ran(&self) -> String {
        let typed = ["build again", "build", "run eg"].iter().filter_map(|name| self.session.command(name));
        let failed = typed.filter(|run| !run.succeeded()).map(|run| format!("`{}`: {}", run.line(), command_told(run)));
        let ran = || self.session.command("run eg");
        let silent =
            || ran().map(|run| format!("`{}` brought no process with its command; {}", run.line(), command_told(run)));
        failed.into_iter().next().or_else(silent).unwrap_or_else(|| self.session.not_reached())
    }

    /// What was not seen since time was up for one command is not known to be absent. But an endless loop is no lack of time.
    fn as_far_as_time_was(&self, check: &Check, finding: Finding) -> Finding {
        let computes = |run: &CommandRun| matches!(run.end, Some(End::StillComputing(_)));
        if self.session.commands().any(computes) {
            return finding;
        }
        let hung = self.session.steps.iter().find_map(|step| match &step.did {
            StepKind::Command(run) if check.calls.iter().any(|words| step.name.starts_with(words)) => {
                matches!(run.end, Some(End::TimedOut(_))).then_some(run)
            }
            _ => None,
        });
        match hung.map(|run| format!("`{}`: {}; --time-scale 3 waits longer", run.line(), command_told(run))) {
            Some(why) => finding.without_what_was_not_seen(&why),
            None => finding,
        }
    }

    fn evidence(&self, process: &Process, what: &str) -> Vec<Evidence> {
        let is_of = |did: &StepKind| matches!(did, StepKind::Found(Some(found)) if found.pid == process.pid);
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
            (_, None) => return Outcome::absent(expected, self.session.not_reached()),
        };
        if look.shot.hostname != self.host.name {
            let observed = format!("it is called {} now", look.shot.hostname);
            return Outcome::wrong(expected, observed, self.evidence(eg, "renamed itself"));
        }
        if let Some(egg) = self.session.found(EGG).filter(|egg| self.is_rust && egg.state.hostname != CALLED) {
            let observed = format!("`--hostname {CALLED}`: the container is called {:?}", egg.state.hostname);
            return Outcome::wrong(
                "a container is called as it was asked for",
                observed,
                self.evidence(egg, "its command"),
            );
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
        let host = match (self.session.look("before"), self.session.look(&format!("{EG} runs"))) {
            (Some(before), Some(now)) => host_changed(before, now).unwrap_or_else(|| match kind("/proc") {
                Some(_) => Outcome::Held,
                None => Outcome::NotTried(&[], "nothing is mounted on the container's /proc".to_owned()),
            }),
            _ => Outcome::absent("the host is as it was before", self.session.not_reached()),
        };
        let expected = "a sysfs on /sys that shows the container's links, and a /dev/null that is the null device";
        let own_net = eg.state.namespaces.get("net") != self.host.namespaces.get("net");
        let (interface, has_root) = (&self.session.addresses.interface, eg.state.root != self.host.root);
        let devices = match (kind("/sys"), eg.dev_null) {
            (Some("sysfs"), true) if own_net && has_root && eg.sys_links.contains(interface) => {
                let observed = format!("its /sys/class/net lists {interface}, the host's: a sysfs of the host's side");
                Outcome::wrong(expected, observed, self.evidence(eg, "the container's command"))
            }
            (Some("sysfs"), true) if self.is_rust && !eg.trees.contains_key("/proc/sys") => {
                Outcome::absent("what /proc shows of the host is masked or read-only", "its /proc/sys is not read-only")
            }
            (Some("sysfs"), true) => Outcome::Held,
            (Some("sysfs"), false) => Outcome::absent(expected, "no device at /dev/null"),
            (Some(other), _) => Outcome::absent(expected, format!("{other} on /sys")),
            (None, _) => Outcome::absent(expected, "nothing mounted on /sys"),
        };
        Finding::parts([("proc", proc), ("host", host), ("devices", devices)])
    }

    /// What a container needs besides: a root that others than root can use, as apt does; in the Rust edition, what its
    /// lesson asks for as well.
    fn usable(&self) -> Outcome {
        const READ_AND_SEARCH: u32 = 0o005;
        let eg = match self.container(EG) {
            Ok(eg) => eg,
            Err(why) => return Outcome::absent("a container whose programs work", why),
        };
        if eg.root_mode & 0o007 != READ_AND_SEARCH {
            let observed = format!("it has mode {:o}", eg.root_mode);
            let expected =
                "a root directory with mode 755, since programs of other users than root need it, such as apt";
            return Outcome::wrong(expected, observed, self.evidence(eg, "the container's command"));
        }
        let missing = if self.is_rust { self.missing_of_lesson(eg) } else { Vec::new() };
        match missing.as_slice() {
            [] => Outcome::Held,
            missing => Outcome::Lost(Box::new(Why {
                expected: "all that the lesson lists".to_owned(),
                observed: list(missing),
                evidence: self.evidence(eg, "its command"),
                positive: true,
                hints: Some([
                    "Which step of the lesson's list makes what is named above, and did your function come to it?",
                    "A step may also have been undone by a later one, or done in a namespace or a root that is not the container's yet.",
                    "The list of steps above the function names the helper for each.",
                ]),
                ..Why::default()
            })),
        }
    }

    /// What lesson 3.a asks for and no other check looks at.
    fn missing_of_lesson(&self, eg: &Process) -> Vec<&'static str> {
        let network = self.session.look("eg runs").and_then(|look| self.network(look, eg.state.namespaces.get("net")));
        let lo_is_up = network.and_then(|network| network.link("lo")).is_some_and(|lo| lo.up);
        let egg = self.session.found(EGG);
        let own_cgroup = egg.is_none_or(|egg| egg.state.cgroups != eg.state.cgroups);
        let own_view = eg.state.namespaces.get("cgroup") != self.host.namespaces.get("cgroup");
        let has_volume = egg.is_none_or(|egg| egg.trees.contains_key(VOLUME));
        let covered = ["/etc/hosts", "/etc/resolv.conf"].iter().all(|place| eg.trees.contains_key(*place));
        // Made under a mask, it would be its owner's alone to write to.
        let unmasked = eg.null_mode.is_none_or(|mode| mode & 0o002 != 0);
        let wanted = [
            (lo_is_up, "lo is not switched on"),
            (own_cgroup, "two containers are in one cgroup"),
            (own_view, "it sees the host's cgroups"),
            (covered, "its /etc/hosts or /etc/resolv.conf is the image's"),
            (has_volume, "a volume is not there"),
            (unmasked, "its /dev/null cannot be written by everybody, as if made under a umask"),
            (eg.own_session != Some(false), "its streams are not connected: it is in its caller's session"),
        ];
        wanted.into_iter().filter(|(is_there, _)| !is_there).map(|(_, missing)| missing).collect()
    }

    fn names(&self) -> Finding {
        let expected = "a name belongs to its container until `stop`: `run` refuses it and `ps` lists it";
        let Some(first) = self.session.found(TWICE) else {
            return Finding::whole(Outcome::absent(
                expected,
                self.container(TWICE).err().unwrap_or(self.session.not_reached()),
            ));
        };
        let again = ["twice while it runs", "twice when it has ended"];
        let taken = again.into_iter().find_map(|step| Some((step, self.session.found(step)?)));
        let ended = self.session.look("twice asked for").is_some_and(|look| look.process(first.pid).is_none());
        let outcome = match (taken, self.session.command("ps ended")) {
            (Some((step, other)), _) => {
                let when = step.trim_start_matches("twice ");
                let observed = format!("a second container called {TWICE} was started {when}");
                Outcome::wrong(expected, observed, self.evidence(other, "the second container's command"))
            }
            (None, _) if ended => {
                Outcome::wrong(expected, format!("a second `run` with the name {TWICE} ended the first"), Vec::new())
            }
            (None, Some(run)) if !lists(run, TWICE) => {
                let observed = format!("`{}` does not list {TWICE} when its command has ended", run.line());
                Outcome::wrong(expected, observed, Vec::new())
            }
            (None, Some(_)) => Outcome::Held,
            (None, None) => Outcome::absent(expected, self.session.not_reached()),
        };
        let finding = Finding::whole(outcome);
        match self.session.look("twice left alone") {
            Some(_) => {
                finding.remark("the container goes on when the unshare that waits for it is killed: see --kill-child")
            }
            None => finding,
        }
    }

    fn default_command(&self) -> Outcome {
        let expected = "a bash in a container";
        match (self.session.found("run idle's shell"), self.session.command("run idle")) {
            (Some(_), _) => Outcome::Held,
            (None, Some(run)) => {
                Outcome::absent(expected, format!("`{}` brought none; {}", run.line(), command_told(run)))
            }
            (None, None) => Outcome::absent(expected, self.session.not_reached()),
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
            None => Outcome::NotTried(&["exec.joins"], self.no_exec()),
            Some(_) if eg.state.root == self.host.root => {
                Outcome::NotTried(&["run.root"], "the container has no root of its own".to_owned())
            }
            Some(exec) if exec.state.root == eg.state.root => Outcome::Held,
            Some(exec) => {
                let is_hosts = exec.state.root == self.host.root;
                let whose = if is_hosts { "the host's" } else { "another one" };
                let evidence = self.evidence(exec, "exec's command");
                let shares_mounts = exec.state.namespaces.get("mnt") == eg.state.namespaces.get("mnt");
                if !is_hosts || !shares_mounts {
                    return Outcome::wrong(expected, format!("it has {whose}"), evidence);
                }
                Outcome::Lost(Box::new(Why {
                    expected: expected.to_owned(),
                    observed: "it has the host's, which is still the root of the container's mount namespace"
                        .to_owned(),
                    evidence,
                    positive: true,
                    hints: Some([
                        "Which directory is `/` for a process that has just joined a mount namespace?",
                        "setns(2) into a mount namespace puts a process at the root of that namespace. chroot(2) in another process \
                         has not changed that root; pivot_root(2) does.",
                        "Either `exec` changes its root as well (chroot(2), nsenter -r), or `run` changes it for the whole mount \
                         namespace (pivot_root(2)).",
                    ]),
                    ..Why::default()
                }))
            }
        }
    }

    /// Whether the working directory is in the root directory: else a relative path leads out of the container.
    fn inside_root(&self) -> Outcome {
        let expected = "exec's command has a working directory in the container's root";
        match (self.same_root(), self.session.found("exec's")) {
            (Outcome::Held, Some(exec)) if exec.state.cwd.is_none() => {
                let observed = "its working directory is outside: `ls .` lists what is not the container's";
                Outcome::wrong(expected, observed, self.evidence(exec, "exec's command"))
            }
            (same_root, _) => same_root,
        }
    }

    /// What a command of `exec` prints and how it ends come through, and the host is as it was before.
    fn clean_exec(&self) -> Finding {
        let expected = format!("`exec {EG} -- echo {WORD}` prints the line {WORD:?} and nothing after it");
        let Some(shows) = self.session.command("exec shows") else {
            return Finding::whole(Outcome::absent(expected, self.session.not_reached()));
        };
        let mut lines: Vec<String> = rows(shows).map(|row| row.trim().to_owned()).collect();
        let last = lines.pop();
        let mounted = self.mounted_by_exec();
        let fails = self.session.command("exec fails");
        let status = fails.and_then(|run| run.end.clone()) == Some(End::Exited(STATUS));
        let told =
            || fails.map_or(self.session.not_reached(), |run| format!("`{}`: {}", run.line(), command_told(run)));
        let outcome = match last {
            _ if self.session.found("exec's").is_none() && last.as_deref() != Some(WORD) => {
                Outcome::NotTried(&["exec.joins"], self.no_exec())
            }
            _ if !mounted.is_empty() => {
                let observed = format!("each leaves {} mounted on the host", shortened(&mounted));
                Outcome::wrong("`exec` mounts nothing on the host", observed, Vec::new())
            }
            Some(line) if line == WORD => match (status, self.is_rust) {
                (false, true) => {
                    Outcome::absent(format!("`exec` ends with its command's exit status, {STATUS}"), told())
                }
                _ => Outcome::Held,
            },
            Some(line) => Outcome::wrong(expected, format!("the last line is {line:?}"), Vec::new()),
            None => Outcome::absent(expected, format!("`{}`: {}", shows.line(), command_told(shows))),
        };
        let finding = Finding::whole(outcome);
        let noise = plain(&shows.output.stderr);
        let finding = match noise.lines().find(|line| !line.trim().is_empty()) {
            Some(line) => finding.remark(format!("`exec` says besides: {line:?}")),
            None => finding,
        };
        match fails {
            Some(run) if matches!(run.end, Some(End::Exited(_))) && !status && !self.is_rust => {
                finding.remark(format!("`exec` does not end with the exit status of its command, {STATUS}: {}", told()))
            }
            _ => finding,
        }
    }

    /// While a command of `exec` runs, the tool still knows which process the container's is.
    fn beside_exec(&self) -> Outcome {
        let expected = format!("while a command of `exec` runs in {BUSY}, another `exec` and `addnetwork` work");
        if self.session.found(BUSY).is_none() {
            return Outcome::absent(expected, self.container(BUSY).err().unwrap_or(self.session.not_reached()));
        }
        if self.session.found("exec busy's").is_none() {
            return Outcome::NotTried(&["exec.joins"], "no command of `exec` was there".to_owned());
        }
        let shows = |name: &str| self.session.command(name).is_some_and(|run| rows(run).any(|row| row.trim() == WORD));
        let is_wired = |name: &str| self.veth_of(name).is_some_and(|pair| pair.inside.is_some());
        let told = |name: &str| {
            let run = self.session.command(name);
            run.map_or(self.session.not_reached(), |run| format!("`{}`: {}", run.line(), command_told(run)))
        };
        // What does not work without an exec either says nothing here.
        match () {
            () if shows("exec shows") && !shows("exec beside") => Outcome::absent(expected, told("exec beside")),
            () if is_wired(EG) && !is_wired(BUSY) => Outcome::absent(expected, told("addnetwork busy")),
            () if !shows("exec shows") && !is_wired(EG) => {
                Outcome::NotTried(&["exec.clean", "net.pair"], "neither works without one".to_owned())
            }
            () => Outcome::Held,
        }
    }

    fn no_exec(&self) -> String {
        match self.session.command("exec") {
            Some(run) => format!("`{}` brought no such process; {}", run.line(), command_told(run)),
            None => self.session.not_reached(),
        }
    }

    // What `addnetwork` and `peer` connect.

    fn network(&self, look: &'a Look, inode: Option<&u64>) -> Option<&'a Network> {
        look.networks.get(inode?)
    }

    fn veth_of(&self, name: &str) -> Option<Pair<'a>> {
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
        let Some(pair) = self.veth_of(EG) else {
            return Finding::whole(Outcome::absent(
                names,
                self.container(EG).err().unwrap_or(self.session.not_reached()),
            ));
        };
        let (Some(inside), Some(outside)) = (pair.inside, pair.outside) else {
            let said = self.session.command("addnetwork eg").map_or(self.session.not_reached(), command_told);
            let missing = if pair.inside.is_none() {
                "no veth pair has an end in the container"
            } else {
                "the other end of its veth pair is not on the host"
            };
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
        let subnet = |pair: &Pair<'_>| subnet_of(pair.outside?, pair.inside?);
        let expected =
            "x.y.N.1/24 on the host's end and x.y.N.2/24 inside, and no other: N another one for each container";
        let others = self.veth_of(EGG).and_then(|pair| subnet(&pair));
        let addresses = match subnet(&pair) {
            None => {
                let of =
                    |link: &Link| if link.addresses.is_empty() { "none".to_owned() } else { list(&link.addresses) };
                let observed = format!("{} on the host's end, {} inside", of(outside), of(inside));
                Outcome::wrong(expected, observed, Vec::new())
            }
            Some(own) if others.as_ref() == Some(&own) => {
                Outcome::wrong(expected, format!("{EG} and {EGG} both have {own}.0/24"), Vec::new())
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
        self.session.probe(probe).map_or_else(|| self.session.not_reached(), probe_told)
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
            false => {
                Outcome::absent("the container reaches the host's end of its veth pair", self.said("eg pings host"))
            }
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
                let expected = "a container with -i reaches the internet".to_owned();
                let hints = observed.contains("Network is unreachable").then_some(NO_ROUTE);
                Outcome::Lost(Box::new(Why { expected, observed, hints, ..Why::default() }))
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
        // Whether the server behind the port answered, and not another one.
        let works = |who: &str, name: &str| {
            let probe = self.session.probe(&attempt(who, name));
            probe.is_some_and(|p| matches!(&p.answer, Answer::Said(word) if word.starts_with(&published(name))))
        };
        let score = |name: &str| u32::from(works("outside", name)) * 2 + u32::from(works("host", name));
        // Two spellings are in use: the course's, INNER-OUTER, and ours, HOST:CONTAINER. The one that works is the tool's.
        let (own, other) = if self.is_rust { (WEB, ALT) } else { (ALT, WEB) };
        let best = if score(other) > score(own) { other } else { own };
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
        Finding::parts([("outside", part("outside", "another machine")), ("host", part("host", "the host itself"))])
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
        let Some(eg) = self.session.found(EG) else {
            let why = "there was no container to stop".to_owned();
            return Finding::whole(Outcome::NotTried(&["run.root"], why));
        };
        let (Some(before), Some(stopped), Some(end)) =
            (self.session.look("before"), self.session.look(&format!("{EG} stopped")), self.session.look("end"))
        else {
            return Finding::whole(Outcome::absent("nothing left of a container", self.session.not_reached()));
        };
        let held_or = |expected: &str, left: Vec<String>, untried: Option<Outcome>| match (left.as_slice(), untried) {
            ([], None) => Outcome::Held,
            ([], Some(untried)) => untried,
            (left, _) => {
                let failed = self.failed(&format!("stop {EG}"));
                Outcome::wrong(expected, format!("{}{failed}", shortened(left)), Vec::new())
            }
        };
        let mut processes = told(&processes_of(eg, stopped, self.host));
        if processes.is_empty() {
            processes = self.left_of_exec();
        }
        let processes = held_or("no process of the container", processes, None);
        let mounts = held_or("no mount of a container", self.mounts_left(before, end), None);
        let excused = self.excused(before);
        let had_pair = self.veth_of(EG).is_some_and(|pair| pair.outside.is_some());
        let untried = |tried: bool, check: &'static [&'static str]| {
            (!tried).then(|| Outcome::NotTried(check, "there was nothing to take away".to_owned()))
        };
        let links =
            held_or("no link of a container", self.new_links(before, end, &excused), untried(had_pair, &["net.pair"]));
        let had_rules = self.session.look("all run").is_some_and(|look| look.rules != before.rules);
        let tried = had_rules || self.reached("egg calls internet");
        let left = self.rules_left(before, end, &excused);
        let rules = held_or("no rule that speaks of a container", left, untried(tried, &["net.internet"]));
        let folder = held_or("no folder or cgroup of a container", self.state_left(before, end, &excused), None);
        Finding::parts([
            ("processes", processes),
            ("mounts", mounts),
            ("links", links),
            ("rules", rules),
            ("folder", folder),
        ])
    }

    /// What `stop` left of a container in which a command of `exec` was running; nothing where that is charged already.
    fn left_of_exec(&self) -> Vec<String> {
        let look = self.session.look(&format!("{BUSY} stopped"));
        let works_beside = matches!(self.beside_exec(), Outcome::Held);
        let (Some(busy), Some(look), true) = (self.session.found(BUSY), look, works_beside) else { return Vec::new() };
        told(&processes_of(busy, look, self.host))
    }

    /// The mounts of containers that were there when each of them had been stopped, and at the end; those left out that
    /// `exec` made, or that lie where `run` covers a place of the host's: they are charged there.
    fn mounts_left(&self, before: &Look, end: &Look) -> Vec<String> {
        let by_exec: BTreeSet<String> = self.mounted_by_exec().iter().filter_map(|point| below(point, EG)).collect();
        let covered = self.session.look(&format!("{EG} runs")).map_or(Vec::new(), |now| mounted_over(before, now));
        let is_told = |point: &str, name: &str| {
            let over = |place: &String| {
                let above = place.rsplit_once('/').map_or("", |(above, _)| above);
                point.ends_with(place.as_str()) || !above.is_empty() && point.ends_with(above)
            };
            below(point, name).is_some_and(|below| by_exec.contains(&below)) || covered.iter().any(over)
        };
        let mut left = BTreeSet::new();
        // What `stop` makes of a container over which another was run is not asked.
        for name in NAMES.into_iter().filter(|name| *name != TWICE) {
            let stopped = self.session.look(&format!("{name} stopped")).into_iter();
            let found = stopped.chain([end]).flat_map(|look| self.mounts_of(name, before, look));
            left.extend(found.filter(|point| !is_told(point, name)));
        }
        let folder = format!("{}/", self.host.cwd);
        let at_the_end = new_mounts(&before.mounts, &end.mounts, None);
        left.extend(at_the_end.into_iter().filter(|point| point.starts_with(&folder) && !is_told(point, EG)));
        left.into_iter().collect()
    }

    fn mounts_of(&self, name: &str, before: &Look, now: &Look) -> Vec<String> {
        mounts_of(name, &self.host.cwd, &now.mounts, &before.mounts)
    }

    /// The containers whose other leftovers follow from a fault that has cost marks already: `stop` failed where
    /// a process or a mount was left, or `addnetwork` did where a command of `exec` ran.
    fn excused(&self, before: &Look) -> Vec<&'static str> {
        let is_stuck = |name: &&str| {
            let step = format!("stop {name}");
            let failed = self.session.command(&step).is_some_and(|run| !run.succeeded());
            let look = self.session.look(&format!("{name} stopped")).filter(|_| failed);
            look.is_some_and(|look| {
                let process = self.session.found(name);
                let goes_on = process.is_some_and(|process| !processes_of(process, look, self.host).is_empty());
                goes_on || !self.mounts_of(name, before, look).is_empty()
            })
        };
        let works_beside = matches!(self.beside_exec(), Outcome::Held);
        NAMES.into_iter().filter(|name| is_stuck(name) || *name == BUSY && !works_beside).collect()
    }

    /// What `exec` has left mounted on the host.
    fn mounted_by_exec(&self) -> Vec<String> {
        let (before, after) = (self.session.look(&format!("{EGG} runs")), self.session.look("after exec"));
        before.zip(after).map_or(Vec::new(), |(before, after)| new_mounts(&before.mounts, &after.mounts, None))
    }

    fn new_links(&self, before: &Look, end: &Look, excused: &[&str]) -> Vec<String> {
        let ours = self.host.namespaces.get("net");
        let of =
            |look: &Look| ours.and_then(|inode| look.networks.get(inode)).map_or(Vec::new(), |net| net.links.clone());
        let (before, end) = (of(before), of(end));
        let known = |link: &&Link| !before.iter().any(|old| old.name == link.name);
        // A link that belongs to no container, such as a bridge for all of them, may stay.
        let named = |link: &&Link| NAMES.iter().any(|name| has_word(&link.name, name));
        let is_excused = |link: &&Link| excused.iter().any(|name| has_word(&link.name, name));
        let left = end.iter().filter(known).filter(|link| named(link) || link.kind.as_deref() == Some("veth"));
        let left = left.filter(|link| !is_excused(link));
        left.map(|link| link.name.clone()).collect()
    }

    /// The rules that are new at the end and speak of a container. Others may serve all of them, and stay.
    fn rules_left(&self, before: &Look, end: &Look, excused: &[&str]) -> Vec<String> {
        let network = |name: &str| {
            let (look, process) = (self.session.look(&format!("{name} wired"))?, self.session.found(name)?);
            Some(format!("{}.", veth_pair(look, process, self.host)?.inside.rsplit_once('.')?.0))
        };
        let speaks = |rule: &str, name: &str| {
            let of_network =
                network(name).is_some_and(|network| rule.split(' ').any(|word| word.starts_with(&network)));
            of_network || has_word(rule, name)
        };
        let new = end.rules.iter().filter(|rule| !before.rules.contains(rule) && !rule.contains(" policy "));
        let left = new.filter(|rule| {
            let names = NAMES.into_iter().filter(|name| speaks(rule, name)).collect::<Vec<_>>();
            !names.is_empty() && !names.iter().any(|name| excused.contains(name))
        });
        left.cloned().collect()
    }

    fn state_left(&self, before: &Look, end: &Look, excused: &[&str]) -> Vec<String> {
        let named = |path: &&String| path.split('/').any(|part| NAMES.contains(&part) && !excused.contains(&part));
        let mut left: Vec<String> =
            end.files.iter().filter(|path| !before.files.contains(path)).filter(named).cloned().collect();
        // What lies in a folder that is named already.
        left.retain(|path| path.split('/').next_back().is_some_and(|last| NAMES.contains(&last)));
        left.extend(
            end.shot.cgroups.iter().filter(|group| !before.shot.cgroups.contains(group)).filter(named).cloned(),
        );
        let still_listed = self.session.command("ps stopped").is_some_and(|run| lists(run, EG));
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
            (_, None) => return Outcome::absent(expected, self.session.not_reached()),
        };
        if !self.stop_did_something(eg, look) {
            return Outcome::NotTried(&["stop.gone"], format!("`stop {EG}` did nothing at all"));
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

    /// Whether anything of the container was taken away: its processes, its link, its folder.
    fn stop_did_something(&self, eg: &Process, stopped: &Look) -> bool {
        let Some(all) = self.session.look("all run") else { return false };
        let processes = |look: &Look| processes_of(eg, look, self.host).len();
        let links = |look: &Look| {
            let network = self.network_of_host(look);
            network.map_or(0, |network| network.links.iter().filter(|link| has_word(&link.name, EG)).count())
        };
        let files = |look: &Look| look.files.iter().filter(|path| path.split('/').any(|part| part == EG)).count();
        processes(stopped) < processes(all) || links(stopped) < links(all) || files(stopped) < files(all)
    }

    fn network_of_host<'l>(&self, look: &'l Look) -> Option<&'l Network> {
        look.networks.get(self.host.namespaces.get("net")?)
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
            (None, None) => Outcome::absent(expected, self.session.not_reached()),
        }
    }

    // What an image of layers is made of.

    /// What was read in the container of an image; why there is nothing.
    fn files_of(&self, image: &str) -> Result<&'a BTreeMap<String, String>, String> {
        let steps = [format!("build {image}"), format!("run from {image}")];
        let failed = || {
            let runs = steps.iter().rev().filter_map(|step| self.session.command(step));
            runs.map(|run| format!("`{}`: {}", run.line(), command_told(run))).next()
        };
        self.session
            .files(&format!("files of {image}"))
            .ok_or_else(|| failed().unwrap_or_else(|| self.session.not_reached()))
    }

    fn layers_in_order(&self) -> Finding {
        let part = |path: &str, word: &str, what: &str| {
            let expected = format!("{what}: {path} says {word:?}");
            match self.files_of("first") {
                Err(why) => Outcome::absent(expected, why),
                Ok(files) => match files.get(path).map(|text| text.trim()) {
                    Some(text) if text == word => Outcome::Held,
                    Some(text) => Outcome::wrong(expected, format!("it says {:?}", begin(text)), Vec::new()),
                    None => Outcome::absent(expected, "there is no such file"),
                },
            }
        };
        Finding::parts([
            ("base", part(OF_BASE, WORD, "a RUN changes a file of the base")),
            ("above", part(ABOVE, "above", "a RUN changes a file of the RUN before it")),
        ])
    }

    fn layers_kept(&self) -> Finding {
        let stamp = |image: &str| self.files_of(image).map(|files| files.get(STAMP).cloned().unwrap_or_default());
        let expected = "an image from the same lines is there, and works";
        let runs = match (self.files_of("first"), self.files_of("same")) {
            (Err(_), _) => Outcome::NotTried(&["layers.order"], "there is nothing to use again".to_owned()),
            (_, Err(why)) => Outcome::absent(expected, why),
            (Ok(first), Ok(same)) => match [STAMP, OF_BASE, ABOVE, LAST]
                .iter()
                .find(|file| first.contains_key(**file) && !same.contains_key(**file))
            {
                Some(file) => Outcome::wrong(expected, format!("{file} is not in it"), Vec::new()),
                None => Outcome::Held,
            },
        };
        let expected = "a line that was changed is carried out";
        let rebuilt = match self.files_of("changed") {
            Err(why) => Outcome::absent(expected, why),
            Ok(files) => match files.get(LAST).map(|text| text.trim()) {
                Some("changed") => Outcome::Held,
                Some(text) => Outcome::wrong(expected, format!("{LAST} says {:?}", begin(text)), Vec::new()),
                None => Outcome::absent(expected, format!("there is no {LAST}")),
            },
        };
        let expected = "a layer whose lines did not change is used again";
        let again = ["same", "first again"].map(stamp);
        let reused = match (stamp("first"), again.iter().flatten().collect::<Vec<_>>().as_slice()) {
            (Err(_), _) => Outcome::NotTried(&["layers.order"], "there is nothing to use again".to_owned()),
            // A line that was not carried out the first time, either, is reported with the one that changed.
            (Ok(first), _) if first.is_empty() && !matches!(rebuilt, Outcome::Held) => Outcome::Held,
            (Ok(first), _) if first.is_empty() => {
                Outcome::absent(expected, format!("the RUN that writes {STAMP} left nothing"))
            }
            (_, []) => {
                Outcome::absent(expected, self.files_of("same").err().unwrap_or_else(|| self.session.not_reached()))
            }
            // One that is not there at all is reported with the images that do not work.
            (Ok(first), again) if again.iter().any(|again| **again == first || again.is_empty()) => Outcome::Held,
            _ => Outcome::wrong(expected, "its RUN was run once more", Vec::new()),
        };
        let finding = Finding::parts([("reused", reused), ("rebuilt", rebuilt), ("runs", runs)]);
        match self.files_of("file changed") {
            Ok(files) if files.values().any(|text| text == WORD) => finding
                .remark("COPY of a file that was changed is taken from the cache: the new image has the old file"),
            _ => finding,
        }
    }

    fn layers_copied(&self) -> Finding {
        let part = |image: &str, places: [&str; 2], expected: &str| match self.files_of(image) {
            Err(why) => Outcome::absent(expected, why),
            Ok(files) if places.iter().any(|place| files.get(*place).is_some_and(|text| text == WORD)) => Outcome::Held,
            Ok(_) => Outcome::absent(expected, format!("neither {} nor {} says what it should", places[0], places[1])),
        };
        let folder = part("folder", COPIED_FOLDER, "COPY brings a folder with what is in it");
        let file = part("file", COPIED_FILE, "COPY brings one file");
        let finding = Finding::parts([("folder", folder), ("file", file)]);
        let [as_said, below] = COPIED_FILE;
        match self.files_of("file") {
            Ok(files) if files.contains_key(below) && !files.contains_key(as_said) => {
                finding.remark(format!("COPY of a file to {as_said} makes a folder of that name"))
            }
            _ => finding,
        }
    }

    fn layers_failed(&self) -> Finding {
        let built = |name: &str| {
            let listed = self.session.command(&format!("images {name}")).is_some_and(|run| lists(run, name));
            let run = self.session.command(&format!("build {name}"))?;
            Some(if run.succeeded() {
                Some(format!("`{}` ended with exit status 0", run.line()))
            } else if listed {
                Some(format!("`images` lists {name} afterwards"))
            } else {
                None
            })
        };
        let expected = "`build` fails when a RUN does, and makes no image";
        let told = match built("fails") {
            None => Outcome::absent(expected, self.session.not_reached()),
            Some(None) => Outcome::Held,
            Some(Some(why)) => Outcome::wrong(expected, why, Vec::new()),
        };
        let expected = "a RUN that failed leaves nothing mounted";
        let mounts = match (self.session.look("before a failure"), self.session.look("after still")) {
            (Some(before), Some(after)) => match new_mounts(&before.mounts, &after.mounts, None).as_slice() {
                [] => Outcome::Held,
                left => Outcome::wrong(expected, shortened(left), Vec::new()),
            },
            _ => Outcome::absent(expected, self.session.not_reached()),
        };
        let expected = "a layer whose RUN failed is not used: the same lines fail again";
        let again = match (&told, built("still")) {
            (_, None) => Outcome::absent(expected, self.session.not_reached()),
            (Outcome::Held, Some(None)) => Outcome::Held,
            (Outcome::Held, Some(Some(why))) => Outcome::wrong(expected, why, Vec::new()),
            _ => Outcome::NotTried(&[], "the first build did not fail".to_owned()),
        };
        // Where nothing can be built, nothing has been left either.
        let builds = self.files_of("first").is_ok() || self.files_of("same").is_ok();
        let finding = match builds {
            true => Finding::parts([("told", told), ("mounts", mounts), ("again", again)]),
            false => Finding::whole(Outcome::NotTried(&["layers.order"], "no image of layers was built".to_owned())),
        };
        match self.session.command("build its own").filter(|run| !run.succeeded()) {
            Some(run) => finding.remark(format!("its own Conductorfile: `{}`: {}", run.line(), command_told(run))),
            None => finding,
        }
    }

    // What is printed.

    fn output(&self) -> Finding {
        Finding::parts([("banner", self.banner()), ("tables", self.tables())])
    }

    fn banner(&self) -> Outcome {
        let expected = format!("{BANNER:?} as the first line of stdout");
        let commands = self.session.steps.iter().filter_map(|step| match &step.did {
            StepKind::Command(run) if !step.name.starts_with(OURS) => Some(run),
            _ => None,
        });
        let mut seen = 0;
        for run in commands {
            let text = plain(&run.output.stdout);
            let first = text.lines().map(str::trim).find(|line| !line.is_empty());
            if first != Some(BANNER) {
                let observed = match first {
                    Some(line) => format!("`{}` begins with {line:?}", run.line()),
                    None => printed_nothing(run),
                };
                return Outcome::wrong(expected, observed, Vec::new());
            }
            seen += 1;
        }
        if seen == 0 { Outcome::absent(expected, self.session.not_reached()) } else { Outcome::Held }
    }

    fn tables(&self) -> Outcome {
        let wrong = |name: &str, expected: &str| {
            let run = self.session.command(name);
            let observed = run.map_or(self.session.not_reached(), |run| {
                let lines: Vec<String> = rows(run).map(|row| format!("{:?}", row.trim())).collect();
                if lines.is_empty() {
                    printed_nothing(run)
                } else {
                    format!("`{}` printed {}", run.line(), list(&lines))
                }
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
            return Outcome::NotTried(&["run.uts"], "no container ran to be listed".to_owned());
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

fn printed_nothing(run: &CommandRun) -> String {
    let what = if plain(&run.output.stdout).trim().is_empty() { "nothing" } else { "no row below the banner" };
    format!("`{}` printed {what}; {}", run.line(), command_told(run))
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

/// `x.y.N` of a veth pair whose ends have the addresses `x.y.N.1/24` and `x.y.N.2/24` and no other. Which x and y is for the
/// tool's settings to say.
fn subnet_of(outside: &Link, inside: &Link) -> Option<String> {
    let of = |link: &Link, last: &str| match link.addresses.as_slice() {
        [only] => Some(only.strip_suffix(last)?.to_owned()),
        _ => None,
    };
    of(outside, ".1/24").filter(|network| of(inside, ".2/24").as_ref() == Some(network))
}

/// Whether `text` has `name` as a whole word; `-` and `_` end one, since names of links and chains are made with them.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
}

/// What a container that runs has changed of the host: file systems of its own that are seen there, or mounted over the
/// host's places; permissions.
fn host_changed(before: &Look, now: &Look) -> Option<Outcome> {
    let expected = "no proc file system of a container among the host's mounts, and the host's places as they were";
    let wrong = |observed: String| Some(Outcome::wrong(expected, observed, Vec::new()));
    let proc = new_mounts(&before.mounts, &now.mounts, Some("proc"));
    if !proc.is_empty() {
        return wrong(format!("while it runs, the host has proc on {}", list(&proc)));
    }
    let over = mounted_over(before, now);
    if !over.is_empty() {
        return wrong(format!("while it runs, something else is mounted over the host's {}", list(&over)));
    }
    let mut changed = before.modes.iter().filter_map(|(path, mode)| Some((path, mode, now.modes.get(path)?)));
    let (path, mode, other) = changed.find(|(_, mode, other)| mode != other)?;
    wrong(format!("the host's {path} has mode {other:o} now, and had {mode:o}"))
}

/// The places of the host's over which something was mounted.
fn mounted_over(before: &Look, now: &Look) -> Vec<String> {
    let is_hosts = |point: &String| {
        let below = ["/dev/", "/proc/", "/sys/"].iter().any(|place| point.starts_with(place));
        below || before.mounts.iter().any(|mount| mount.point == *point)
    };
    new_mounts(&before.mounts, &now.mounts, None).into_iter().filter(is_hosts).collect()
}

/// Processes in words.
fn told(processes: &[&Process]) -> Vec<String> {
    processes.iter().map(|process| format!("process {} ({})", process.pid, process.argv.join(" "))).collect()
}

/// What of a path lies below the container's folder: `rootfs/proc`.
fn below(point: &str, container: &str) -> Option<String> {
    Some(point.split_once(&format!("/{container}/"))?.1.to_owned())
}

/// As much of a text as fits in a line.
fn begin(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Whether a table has a row for `name`.
fn lists(run: &CommandRun, name: &str) -> bool {
    rows(run).any(|row| row.split_whitespace().next() == Some(name))
}
