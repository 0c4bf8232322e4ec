//! The conductor's play: what the assignment lets a person do with it, once, with four containers.
//!
//! ```text
//!   eg    a network, nothing else           egg   the internet; later eg's peer
//!   web   the internet, and a port, spelt 3000:8080      alt   the same, spelt 8081-3001
//! ```
//!
//! The name of one begins with the name of another, since a tool that looks for names must look for whole ones. Each
//! container's command is a `sleep` with a number of its own, by which its process is found, whatever the tool put around
//! it. Servers in containers are the grader's, so an image needs none.

use std::time::Duration;

use crate::fault::Fault;
use crate::stage::{Stage, Terminal, WEB_PORT};
use crate::submission::Handed;
use crate::trace::session::{Ask, Look, Place, Process};

/// The image that is built.
pub const IMAGE: &str = "small";
/// The containers, each name at most seven characters long: a link's name has room for `-outside` behind it, no more.
pub const EG: &str = "eg";
/// Its peer, whose name begins with its name.
pub const EGG: &str = "egg";
/// One with a port that is spelt HOST:CONTAINER.
pub const WEB: &str = "web";
/// One with a port that is spelt CONTAINER-HOST.
pub const ALT: &str = "alt";
/// One with the default command.
const IDLE: &str = "idle";

/// Where each container is reached by who may reach it at all.
pub const PORT: u16 = 7000;
/// The ports of `web` and `alt`: on the host, and inside.
pub const PUBLISHED: [(&str, u16, u16); 2] = [(WEB, 3000, 8080), (ALT, 3001, 8081)];
/// A file that `eg` has in its root and nobody else may have.
pub const MARK: &str = "made-in-eg";
/// What `eg` is called from some moment on.
pub const RENAMED: &str = "renamed-inside";
/// What somebody who has nothing to do with containers is called.
pub const BYSTANDER: &str = "vi eg.txt";

/// How long the kernel may take to clear up behind what has ended: namespaces go in the background.
const CLEARING: Duration = Duration::from_secs(2);

/// Plays it.
///
/// # Errors
/// [`Fault::Interrupted`], [`Fault::Broken`].
pub fn play(stage: &mut Stage<'_>, handed: &Handed) -> Result<(), Fault> {
    let mut tool = Tool { stage, words: handed.run.clone() };
    tool.stage.look("before");
    let sleep = format!("exec -a '{BYSTANDER}' sleep {}", tool.stage.number(99));
    tool.stage.start("bystander", &["bash", "-c", &sleep], Terminal::No)?;
    tool.stage.find("bystander itself", "bystander", |argv| argv.first().is_some_and(|name| name == BYSTANDER))?;

    tool.type_line("images none", &["images"])?;
    tool.type_line("ps none", &["ps"])?;
    tool.type_line("build", &["build", IMAGE])?;
    tool.type_line("images", &["images"])?;

    let eg = tool.container(EG, 1)?;
    let egg = tool.container(EGG, 2)?;
    if let Some(eg) = &eg {
        tool.inside(eg)?;
    }
    tool.default_command()?;
    let [web, alt] = [tool.container(WEB, 3)?, tool.container(ALT, 4)?];
    let egg_in = tool.network([&eg, &egg, &web, &alt])?;
    tool.stop([&eg, &egg, &web, &alt], &egg_in)?;
    tool.type_line("rmi", &["rmi", IMAGE])?;
    tool.type_line("images end", &["images"])?;
    Ok(())
}

/// The tool on its stage.
struct Tool<'s, 'a> {
    stage: &'s mut Stage<'a>,
    /// The words before each command line.
    words: Vec<String>,
}

impl Tool<'_, '_> {
    fn line(&self, words: &[&str]) -> Vec<String> {
        self.words.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    /// A command line that is waited for.
    fn type_line(&mut self, name: &str, words: &[&str]) -> Result<bool, Fault> {
        let line = self.line(words);
        Ok(self.stage.run(name, &line)?.succeeded())
    }

    /// `run IMAGE NAME -- sleep N`, in the background, since a tool may stay in the foreground as long as the container
    /// does. Its process is written down under the container's name.
    fn container(&mut self, name: &str, nth: u64) -> Result<Option<Process>, Fault> {
        let process = self.started(name, name, nth)?;
        self.stage.look(&format!("{name} runs"));
        Ok(process)
    }

    /// The same, the step being called `step`.
    fn started(&mut self, step: &str, name: &str, nth: u64) -> Result<Option<Process>, Fault> {
        let (number, command) = (self.stage.number(nth), format!("run {step}"));
        let line = self.line(&["run", IMAGE, name, "--", "sleep", &number]);
        if !self.stage.start(&command, &line, Terminal::No)? {
            return Ok(None);
        }
        let process = self.stage.find(step, &command, |argv| is_sleep(argv, &number))?;
        // Its own list says when the tool is done with what a container needs.
        for nth in 0..20 {
            let listed = self.line(&["ps"]);
            let run = self.stage.run(&format!("ps {step} {nth}"), &listed)?;
            let rows = anstream::adapter::strip_str(&run.output.stdout).to_string();
            if process.is_none() || rows.lines().any(|row| row.split_whitespace().next() == Some(name)) {
                break;
            }
            self.stage.until(Duration::from_millis(50), |_| None::<()>)?;
        }
        Ok(process)
    }

    /// What is asked in and of a container that runs.
    fn inside(&mut self, eg: &Process) -> Result<(), Fault> {
        self.stage.mark(eg.pid, MARK);
        let number = self.stage.number(5);
        let line = self.line(&["exec", EG, "--", "sleep", &number]);
        if self.stage.start("exec", &line, Terminal::No)? {
            self.stage.find("exec's", "exec", |argv| is_sleep(argv, &number))?;
        }
        self.stage.rename(eg.pid, RENAMED);
        self.stage.look("inside");
        Ok(())
    }

    /// `run IMAGE NAME` and `exec NAME` without a command.
    fn default_command(&mut self) -> Result<(), Fault> {
        for (name, words) in [("run idle", &["run", IMAGE, IDLE][..]), ("exec idle", &["exec", EG])] {
            let line = self.line(words);
            let known = self.stage.inventory().0;
            if !self.stage.start(name, &line, Terminal::Yes)? {
                continue;
            }
            let host = self.stage.host_state();
            self.stage.find_process(&format!("{name}'s shell"), name, |stage, pid| {
                let process = (!known.contains(&pid)).then(|| stage.process(pid)).flatten()?;
                let is_shell = process.state.exe.as_deref().is_some_and(|exe| exe.ends_with("/bash"));
                // A bash that the tool itself is written in, or that makes the container ready, has a script to run.
                let has_script = process.argv.iter().skip(1).any(|word| word == "-c" || !word.starts_with('-'));
                (is_shell && !has_script && process.state.root != host.root).then_some(process)
            })?;
            self.stage.type_in(name, "exit\n");
            self.stage.finish(name, self.stage.scaled(CLEARING))?;
        }
        self.type_line("stop idle", &["stop", IDLE])?;
        Ok(())
    }

    /// Networks for all, and who reaches whom before and after. Gives the address of `egg`.
    fn network(&mut self, [eg, egg, web, alt]: [&Option<Process>; 4]) -> Result<String, Fault> {
        let world = self.stage.world().addresses.clone();
        let internet = Ask::Tcp { to: world.internet.clone(), port: WEB_PORT };
        let all = [(EG, eg), (EGG, egg), (WEB, web), (ALT, alt)];
        for (name, process) in all {
            if let Some(process) = process {
                self.stage.name_place(name, process.pid);
                self.stage.serve(name, PORT, name);
            }
        }
        let there = |name: &str| Place::Container(name.to_owned());

        self.type_line("addnetwork eg", &["addnetwork", EG])?;
        let (eg_in, eg_out) = self.wired(EG, eg);
        let host_to_eg = vec![
            ("host pings eg", Place::Host, ping(&eg_in)),
            ("host calls eg", Place::Host, tcp(&eg_in)),
            ("eg pings host", there(EG), ping(&eg_out)),
            ("host calls internet", Place::Host, internet.clone()),
            ("eg calls internet", there(EG), internet.clone()),
            ("eg pings internet", there(EG), ping(&world.internet)),
        ];
        self.stage.probe("eg and its host", host_to_eg)?;

        self.type_line("addnetwork egg", &["addnetwork", EGG, "-i"])?;
        let (egg_in, egg_out) = self.wired(EGG, egg);
        let [at_web, at_alt] = PUBLISHED.map(|(_, port, _)| Ask::Tcp { to: world.host.clone(), port });
        let with_internet = vec![
            ("egg calls internet", there(EGG), internet.clone()),
            ("egg pings internet", there(EGG), ping(&world.internet)),
            ("eg calls internet beside egg", there(EG), internet.clone()),
            ("host calls egg", Place::Host, tcp(&egg_in)),
            ("egg pings host", there(EGG), ping(&egg_out)),
            ("eg calls egg", there(EG), tcp(&egg_in)),
            ("egg calls eg", there(EGG), tcp(&eg_in)),
            ("outside pings host", Place::Outside, ping(&world.host)),
            ("outside calls web too early", Place::Outside, at_web),
            ("outside calls alt too early", Place::Outside, at_alt),
        ];
        self.stage.probe("egg and the internet", with_internet)?;

        for (name, outer, inner) in PUBLISHED {
            let ports = spelt(name, outer, inner);
            self.type_line(&format!("addnetwork {name}"), &["addnetwork", name, "-i", "-e", &ports])?;
            self.stage.serve(name, inner, &published(name));
            let at_host = Ask::Tcp { to: world.host.clone(), port: outer };
            let [outside, host] = ["outside", "host"].map(|who| format!("{who} calls the port of {name}"));
            let from_both = vec![(&*outside, Place::Outside, at_host.clone()), (&*host, Place::Host, at_host)];
            self.stage.probe(&format!("{name} published"), from_both)?;
        }
        let [(web_in, _), (alt_in, _)] = [self.wired(WEB, web), self.wired(ALT, alt)];

        self.type_line("peer", &["peer", EG, EGG])?;
        let with_peers = vec![
            ("eg calls its peer", there(EG), tcp(&egg_in)),
            ("egg calls its peer", there(EGG), tcp(&eg_in)),
            ("eg calls internet beside its peer", there(EG), internet),
            ("host calls web", Place::Host, tcp(&web_in)),
            ("eg calls web", there(EG), tcp(&web_in)),
            ("web calls eg", there(WEB), tcp(&eg_in)),
            ("host calls alt", Place::Host, tcp(&alt_in)),
            ("eg calls alt", there(EG), tcp(&alt_in)),
            ("alt calls eg", there(ALT), tcp(&eg_in)),
        ];
        self.stage.probe("peers", with_peers)?;
        Ok(egg_in)
    }

    /// A look at the network that a container has got, and its addresses: inside, and of the host's end.
    fn wired(&mut self, name: &str, process: &Option<Process>) -> (String, String) {
        let step = format!("{name} wired");
        self.stage.look(&step);
        let look = self.stage.looked(&step);
        let found =
            look.zip(process.as_ref()).and_then(|(look, process)| cable(look, process, &self.stage.host_state()));
        // Where there is no address, one that nobody has: the attempt fails, and says so.
        found
            .map_or(("192.168.255.254".to_owned(), "192.168.255.253".to_owned()), |cable| (cable.inside, cable.outside))
    }

    /// `stop`: first `eg`, to see what becomes of it and of the others, then all.
    fn stop(&mut self, [eg, egg, web, alt]: [&Option<Process>; 4], egg_in: &str) -> Result<(), Fault> {
        let world = self.stage.world().addresses.clone();
        self.stage.look("all run");
        self.end(EG, eg)?;
        self.stage.look("eg stopped");
        let internet = Ask::Tcp { to: world.internet, port: WEB_PORT };
        let still = vec![
            ("host calls egg without eg", Place::Host, tcp(egg_in)),
            ("egg calls internet without eg", Place::Container(EGG.to_owned()), internet),
        ];
        self.stage.probe("without eg", still)?;
        self.type_line("ps stopped", &["ps"])?;

        let again = self.started("eg again", EG, 6)?;
        self.stage.look("eg runs again");
        for (name, process) in [(EG, &again), (EGG, egg), (WEB, web), (ALT, alt)] {
            self.end(name, process)?;
        }
        self.stage.look("end");
        Ok(())
    }

    /// `stop NAME`, and the time that the kernel needs.
    fn end(&mut self, name: &str, process: &Option<Process>) -> Result<(), Fault> {
        self.stage.forget_place(name);
        let again = if self.stage.has_step(&format!("stop {name}")) { " again" } else { "" };
        self.type_line(&format!("stop {name}{again}"), &["stop", name])?;
        let pid = process.as_ref().map(|process| process.pid);
        let prefix = format!("{name}-");
        let gone = |stage: &Stage<'_>| {
            let (pids, links) = stage.inventory();
            let is_there =
                pid.is_some_and(|pid| pids.contains(&pid)) || links.iter().any(|link| link.starts_with(&prefix));
            (!is_there).then_some(())
        };
        let patience = self.stage.scaled(CLEARING);
        self.stage.until(patience, gone)?;
        Ok(())
    }
}

/// Both ends of a container's cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The container's first IPv4 address.
    pub inside: String,
    /// The host's end's.
    pub outside: String,
}

/// The addresses of the cable between `process` and the host, as far as there is one.
pub fn cable(look: &Look, process: &Process, host: &crate::trace::Host) -> Option<Cable> {
    let (theirs, ours) = (process.state.namespaces.get("net")?, host.namespaces.get("net")?);
    let (theirs, ours) = (look.networks.get(theirs)?, look.networks.get(ours)?);
    let inside = theirs.links.iter().find(|link| link.peer.is_some() && !link.addresses.is_empty())?;
    let outside = ours.links.iter().find(|link| Some(link.index) == inside.peer && link.peer == Some(inside.index));
    let plain = |addresses: &[String]| addresses.first().map(|text| text.split('/').next().unwrap_or(text).to_owned());
    Some(Cable {
        inside: plain(&inside.addresses)?,
        outside: outside.and_then(|link| plain(&link.addresses)).unwrap_or_default(),
    })
}

/// How the ports of a container are spelt: `web`'s as the assignment does, `alt`'s as the course's own script does.
pub fn spelt(name: &str, outer: u16, inner: u16) -> String {
    if name == WEB { format!("{outer}:{inner}") } else { format!("{inner}-{outer}") }
}

/// What the server behind a container's published port says first.
pub fn published(name: &str) -> String {
    format!("{name}-published")
}

fn ping(to: &str) -> Ask {
    Ask::Ping { to: to.to_owned() }
}

fn tcp(to: &str) -> Ask {
    Ask::Tcp { to: to.to_owned(), port: PORT }
}

/// Whether these are the arguments of `sleep NUMBER` itself, and not of something that will start it.
fn is_sleep(argv: &[String], number: &str) -> bool {
    match argv {
        [program, word] => program.rsplit('/').next() == Some("sleep") && word == number,
        _ => false,
    }
}
