//! The conductor's session: each command of the assignment, with a few containers.
//!
//! ```text
//!   eg    a network, nothing else           egg   the internet; later eg's peer
//!   web   the internet, and a port, spelt 3000:8080      alt   the same, spelt 8081-3001
//!   busy  a command of `exec` goes on in it              twice a name that is asked for again
//! ```
//!
//! The name of one begins with the name of another, since a tool that looks for names must look for whole ones. Each
//! container's command is a `sleep` with a number of its own, by which its process is found, whatever the tool put around
//! it. Servers in containers are the grader's, so an image needs none.

use std::time::Duration;

use crate::error::Result;
use crate::record::steps::{Ask, Look, Mount, Place, Process};
use crate::record::{Host, Pid};
use crate::sandbox::FileKind;
use crate::session::{OURS, Session, Terminal, VOLUME, WEB_PORT};
use crate::submission::PreparedSubmission;

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
/// One in which a command of `exec` goes on.
pub const BUSY: &str = "busy";
/// One whose command ends by itself, and whose name is asked for again.
pub const TWICE: &str = "twice";
/// One with the default command.
pub const IDLE: &str = "idle";

/// The port of the server in each container.
pub const PORT: u16 = 7000;
/// The ports of `web` and `alt`: on the host, and inside.
pub const PUBLISHED: [(&str, u16, u16); 2] = [(WEB, 3000, 8080), (ALT, 3001, 8081)];
/// A file that a container has in its root and no other one may have.
pub const MARK: &str = "made-inside";
/// What `exec` is asked to print, and lines of a Conductorfile to write.
pub const WORD: &str = "said-inside";
/// What a file that is copied says after it was changed.
const ANOTHER_WORD: &str = "said-anew";
/// The exit status of a command that `exec` is given.
pub const STATUS: i32 = 124;
/// What `egg` is called, by a tool whose lesson gives host names.
pub const CALLED: &str = "called-egg";
/// What `eg` is called from some moment on.
pub const RENAMED: &str = "renamed-inside";
/// The name of a process that belongs to no container.
pub const BYSTANDER: &str = "vi eg.txt";

/// How long the kernel may take to clear up behind what has ended: namespaces go in the background.
const CLEARING: Duration = Duration::from_secs(2);
/// How long a tool may take to end when its container has.
const ENDING: Duration = Duration::from_secs(10);

/// Runs all steps.
///
/// # Errors
/// `Exit::Interrupted`, `Exit::Broken`.
pub fn run_steps(session: &mut Session<'_>, prepared: &PreparedSubmission) -> Result<()> {
    let edition = ToolEdition::of(session, prepared);
    let [folder, tree] = [prepared.cwd(), prepared.folder.clone()].map(|path| path.display().to_string());
    let mut tool = Conductor { session, words: prepared.run.clone(), edition, folder, tree };
    if edition != ToolEdition::Rust {
        // What the course's tool leaves behind when its last container is stopped, and relies on.
        tool.session.set_forward_policy("DROP")?;
    }
    tool.session.look("before");
    let sleep = format!("exec -a '{BYSTANDER}' sleep {}", tool.session.number(99));
    tool.session.start(&format!("{OURS} bystander"), &["bash", "-c", &sleep], Terminal::No)?;
    let is_bystander = |argv: &[String]| argv.first().is_some_and(|name| name == BYSTANDER);
    tool.session.find("bystander itself", &format!("{OURS} bystander"), is_bystander)?;

    tool.type_line("images none", &["images"])?;
    tool.type_line("ps none", &["ps"])?;
    tool.build()?;
    tool.type_line("images", &["images"])?;

    let eg = tool.container(EG, 1)?;
    let egg = tool.container(EGG, 2)?;
    if let Some(eg) = &eg {
        tool.inside(eg)?;
    }
    tool.default_command()?;
    let [web, alt] = [tool.container(WEB, 3)?, tool.container(ALT, 4)?];
    let egg_in = tool.network([&eg, &egg, &web, &alt])?;
    tool.beside_exec()?;
    tool.stop([&eg, &egg, &web, &alt], &egg_in)?;
    tool.names()?;
    if edition == ToolEdition::Layers {
        tool.layers(prepared)?;
    }
    tool.type_line("rmi", &["rmi", IMAGE])?;
    tool.type_line("images end", &["images"])?;
    Ok(())
}

/// The editions of the lab, as far as a tool is asked for other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToolEdition {
    /// Ours.
    Rust,
    /// The course's: an image is a copy of a root.
    Copies,
    /// The course's newer one: an image is what a Conductorfile says, layer by layer.
    Layers,
}

impl ToolEdition {
    /// A tool of the newer edition knows a Conductorfile, or the command that forgets layers, by name.
    fn of(session: &Session<'_>, prepared: &PreparedSubmission) -> ToolEdition {
        let speaks = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
        let is_newer = prepared.files.iter().any(|file| match &file.what {
            FileKind::File { bytes, .. } if !file.path.ends_with(CONDUCTORFILE) => {
                speaks(bytes, CONDUCTORFILE) || speaks(bytes, "rmcache")
            }
            _ => false,
        });
        match (session.is_rust(), is_newer) {
            (true, _) => ToolEdition::Rust,
            (false, true) => ToolEdition::Layers,
            (false, false) => ToolEdition::Copies,
        }
    }
}

/// The file that says how an image is made, where no other name is given.
const CONDUCTORFILE: &str = "Conductorfile";

/// The tool in its session.
struct Conductor<'s, 'a> {
    session: &'s mut Session<'a>,
    /// The words before each command line.
    words: Vec<String>,
    edition: ToolEdition,
    /// Where it is called, in the box.
    folder: String,
    /// Where the submission lies there.
    tree: String,
}

impl Conductor<'_, '_> {
    fn line(&self, words: &[&str]) -> Vec<String> {
        self.words.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    /// A command line that is waited for.
    fn type_line(&mut self, name: &str, words: &[&str]) -> Result<bool> {
        let line = self.line(words);
        Ok(self.session.run(name, &line)?.succeeded())
    }

    /// The image of most containers: of a base and a line that does nothing, since there seldom is an image without one;
    /// of the base alone where that cannot be built. Whatever else a tool can or cannot do with layers, it is tried when
    /// all the rest has been.
    fn build(&mut self) -> Result<()> {
        if self.edition != ToolEdition::Layers {
            return self.type_line("build", &["build", IMAGE]).map(drop);
        }
        self.session.put(CONDUCTORFILE, "FROM debian:bookworm\nRUN true\n");
        if !self.type_line("build", &["build", IMAGE])? {
            self.session.put(CONDUCTORFILE, "FROM debian:bookworm\n");
            self.type_line("build again", &["build", IMAGE])?;
        }
        Ok(())
    }

    /// `run IMAGE NAME -- sleep N`, in the background, since a tool may stay in the foreground as long as the container
    /// does. Its process is written down under the container's name.
    fn container(&mut self, name: &str, nth: u64) -> Result<Option<Process>> {
        let process = self.started(name, name, nth)?;
        self.session.look(&format!("{name} runs"));
        Ok(process)
    }

    /// The same, the step being called `step`.
    fn started(&mut self, step: &str, name: &str, nth: u64) -> Result<Option<Process>> {
        self.started_from(IMAGE, step, name, nth)
    }

    fn started_from(&mut self, image: &str, step: &str, name: &str, nth: u64) -> Result<Option<Process>> {
        let process = self.typed_run(image, step, name, nth)?;
        // Its own list says when the tool is done with what a container needs.
        for nth in 0..20 {
            let listed = self.line(&["ps"]);
            let run = self.session.run(&format!("ps {step} {nth}"), &listed)?;
            let rows = anstream::adapter::strip_str(&run.output.stdout).to_string();
            if process.is_none() || rows.lines().any(|row| row.split_whitespace().next() == Some(name)) {
                break;
            }
            self.session.until(Duration::from_millis(50), |_| None::<()>)?;
        }
        Ok(process)
    }

    fn typed_run(&mut self, image: &str, step: &str, name: &str, nth: u64) -> Result<Option<Process>> {
        let (number, command) = (self.session.number(nth), format!("run {step}"));
        let volume = format!("{}:{VOLUME}", self.folder);
        let mut words = vec!["run", image, name, "--", "sleep", &number];
        if self.edition == ToolEdition::Rust && name == EGG {
            words.splice(1..1, ["--volume", &volume, "--hostname", CALLED]);
        }
        let line = self.line(&words);
        if !self.session.start(&command, &line, Terminal::No)? {
            return Ok(None);
        }
        let found = self.session.find(step, &command, |argv| is_sleep(argv, &number))?;
        if found.is_none() {
            self.session.end_endless_computing(&command)?;
        }
        Ok(found)
    }

    /// `exec NAME -- sleep N`, in the background.
    fn exec_goes_on(&mut self, step: &str, name: &str, nth: u64) -> Result<Option<Process>> {
        let (number, found) = (self.session.number(nth), format!("{step}'s"));
        let line = self.line(&["exec", name, "--", "sleep", &number]);
        if !self.session.start(step, &line, Terminal::No)? {
            return Ok(None);
        }
        let found = self.session.find(&found, step, |argv| is_sleep(argv, &number))?;
        if found.is_none() {
            self.session.end_endless_computing(step)?;
        }
        Ok(found)
    }

    /// What is asked in and of a container that runs. Nothing that it started goes on afterwards: what a tool does while a
    /// command of `exec` runs is a question of its own.
    fn inside(&mut self, eg: &Process) -> Result<()> {
        self.session.mark(eg.pid, MARK);
        let exec = self.exec_goes_on("exec", EG, 5)?;
        self.session.rename(eg.pid, RENAMED);
        self.session.look("inside");
        if let Some(exec) = exec {
            self.end_process(&exec)?;
            self.session.finish("exec", self.session.scaled(ENDING))?;
        }
        self.type_line("exec shows", &["exec", EG, "--", "echo", WORD])?;
        self.type_line("exec fails", &["exec", EG, "--", "timeout", "0.1", "sleep", "9"])?;
        self.session.look("after exec");
        Ok(())
    }

    /// Ends a process, and waits until it has gone.
    fn end_process(&mut self, process: &Process) -> Result<()> {
        let pid = process.pid;
        self.session.kill(pid);
        let gone = |session: &Session<'_>| session.process(pid).is_none_or(|now| now.zombie).then_some(());
        self.session.until(self.session.scaled(CLEARING), gone)?;
        Ok(())
    }

    /// `run IMAGE NAME` and `exec NAME` without a command.
    fn default_command(&mut self) -> Result<()> {
        for (name, words) in [("run idle", &["run", IMAGE, IDLE][..]), ("exec idle", &["exec", EG])] {
            let line = self.line(words);
            let known = self.session.inventory().0;
            if !self.session.start(name, &line, Terminal::Yes)? {
                continue;
            }
            let host = self.session.host_state();
            self.session.find_process(&format!("{name}'s shell"), name, |session, pid| {
                let process = (!known.contains(&pid)).then(|| session.process(pid)).flatten()?;
                let is_shell = process.state.exe.as_deref().is_some_and(|exe| exe.ends_with("/bash"));
                // A bash that the tool itself is written in, or that makes the container ready, has a script to run.
                let has_script = process.argv.iter().skip(1).any(|word| word == "-c" || !word.starts_with('-'));
                (is_shell && !has_script && process.state.root != host.root).then_some(process)
            })?;
            self.session.type_in(name, "exit\n");
            self.session.finish(name, self.session.scaled(ENDING))?;
        }
        self.end(IDLE, &None)
    }

    /// Connects all containers, and probes who reaches whom before and after. Returns the address of `egg`.
    fn network(&mut self, [eg, egg, web, alt]: [&Option<Process>; 4]) -> Result<String> {
        let world = self.session.world().addresses.clone();
        let internet = Ask::Tcp { to: world.internet.clone(), port: WEB_PORT };
        let all = [(EG, eg), (EGG, egg), (WEB, web), (ALT, alt)];
        for (name, process) in all {
            if let Some(process) = process {
                self.session.name_place(name, process.pid);
                self.session.serve(name, PORT, name);
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
        self.session.probe("eg and its host", host_to_eg)?;

        self.type_line("addnetwork egg", &["addnetwork", EGG, "-i"])?;
        self.choose_policy(&internet)?;
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
        self.session.probe("egg and the internet", with_internet)?;

        for (name, outer, inner) in PUBLISHED {
            let ports = spelt(name, outer, inner);
            self.type_line(&format!("addnetwork {name}"), &["addnetwork", name, "-i", "-e", &ports])?;
            self.session.serve(name, inner, &published(name));
            let at_host = Ask::Tcp { to: world.host.clone(), port: outer };
            let [outside, host] = ["outside", "host"].map(|who| format!("{who} calls the port of {name}"));
            let from_both = vec![(&*outside, Place::Outside, at_host.clone()), (&*host, Place::Host, at_host)];
            self.session.probe(&format!("{name} published"), from_both)?;
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
        self.session.probe("peers", with_peers)?;
        Ok(egg_in)
    }

    /// The host's FORWARD policy is DROP, as the course's tool has it. A tool that relies on a host that forwards
    /// what nothing forbids, as a plain Debian does, is asked everything that follows on such a one.
    fn choose_policy(&mut self, internet: &Ask) -> Result<()> {
        let reaches = |tool: &mut Self, name: &str| {
            let asked = (name, Place::Container(EGG.to_owned()), internet.clone());
            tool.session
                .probe(&format!("{OURS} {name}"), vec![asked])
                .map(|all| all.iter().any(|it| it.answer.reached()))
        };
        let is_ours = self.edition != ToolEdition::Rust && self.session.forward_policy().as_deref() == Some("DROP");
        if is_ours && !reaches(self, "egg tries the internet")? {
            self.session.set_forward_policy("ACCEPT")?;
            if !reaches(self, "egg tries the internet of a host that forwards")? {
                self.session.set_forward_policy("DROP")?;
            }
        }
        Ok(())
    }

    /// While a command of `exec` runs: another one, and a network for its container.
    fn beside_exec(&mut self) -> Result<()> {
        let Some(busy) = self.container(BUSY, 7)? else { return Ok(()) };
        self.exec_goes_on("exec busy", BUSY, 8)?;
        self.type_line("exec beside", &["exec", BUSY, "--", "echo", WORD])?;
        self.type_line("addnetwork busy", &["addnetwork", BUSY])?;
        self.session.look("busy wired");
        self.end(BUSY, &Some(busy))
    }

    /// A look at the network that a container has got, and its addresses: inside, and of the host's end.
    fn wired(&mut self, name: &str, process: &Option<Process>) -> (String, String) {
        let step = format!("{name} wired");
        self.session.look(&step);
        let look = self.session.looked(&step);
        let found =
            look.zip(process.as_ref()).and_then(|(look, process)| veth_pair(look, process, &self.session.host_state()));
        // Without an address, an unused one: the probe fails, and its record says so.
        found.map_or(("192.168.255.254".to_owned(), "192.168.255.253".to_owned()), |pair| (pair.inside, pair.outside))
    }

    /// `stop`: first `eg`, to see what becomes of it and of the others, then all.
    fn stop(&mut self, [eg, egg, web, alt]: [&Option<Process>; 4], egg_in: &str) -> Result<()> {
        let world = self.session.world().addresses.clone();
        self.session.look("all run");
        self.end(EG, eg)?;
        let internet = Ask::Tcp { to: world.internet, port: WEB_PORT };
        let still = vec![
            ("host calls egg without eg", Place::Host, tcp(egg_in)),
            ("egg calls internet without eg", Place::Container(EGG.to_owned()), internet),
        ];
        self.session.probe("without eg", still)?;
        self.type_line("ps stopped", &["ps"])?;

        let again = self.started("eg again", EG, 6)?;
        for (name, process) in [(EG, &again), (EGG, egg), (WEB, web), (ALT, alt)] {
            self.end(name, process)?;
        }
        self.session.look("end");
        Ok(())
    }

    /// `stop NAME`, and a look. What is left of the container's processes and
    /// mounts is taken away by us, and `stop` tried once more: so one thing that it forgets does not keep it from all
    /// the others.
    fn end(&mut self, name: &str, process: &Option<Process>) -> Result<()> {
        self.session.forget_place(name);
        let again = if self.session.has_step(&format!("stop {name}")) { " again" } else { "" };
        let succeeded = self.stopped(name, &format!("stop {name}{again}"), process)?;
        let look = format!("{name} stopped{again}");
        self.session.look(&look);
        let host = self.session.host_state();
        let (processes, mounts) = self.session.looked(&look).map_or((Vec::new(), Vec::new()), |look| {
            let processes = process.as_ref().map_or(Vec::new(), |process| processes_of(process, look, &host));
            let before = self.session.looked("before").map_or(&[][..], |before| &before.mounts);
            (processes.into_iter().cloned().collect::<Vec<_>>(), mounts_of(name, &self.folder, &look.mounts, before))
        });
        if processes.is_empty() && mounts.is_empty() {
            return Ok(());
        }
        for left in &processes {
            self.end_process(left)?;
        }
        for (nth, point) in mounts.iter().enumerate().rev() {
            self.session.run(&format!("{OURS} unmount {look} {nth}"), &["umount", "--lazy", point])?;
        }
        self.stopped(name, &format!("stop {name}{again} once more"), process)?;
        if succeeded {
            return Ok(());
        }
        // It ended at what was left; so the folder does not keep the name from being given again.
        self.session.look(&format!("{look} once more"));
        let files = self.session.looked(&format!("{look} once more")).map_or(&[][..], |look| &look.files);
        let folders: Vec<String> = files.iter().filter(|path| path.rsplit('/').next() == Some(name)).cloned().collect();
        for (nth, folder) in folders.iter().enumerate() {
            let path = format!("{}/{folder}", self.tree);
            self.session.run(&format!("{OURS} remove {look} {nth}"), &["rm", "-rf", "--one-file-system", &path])?;
        }
        Ok(())
    }

    /// `stop NAME`, and the time that the kernel needs; whether it succeeded.
    fn stopped(&mut self, name: &str, step: &str, process: &Option<Process>) -> Result<bool> {
        let succeeded = self.type_line(step, &["stop", name])?;
        let pid = process.as_ref().map(|process| process.pid);
        let prefix = format!("{name}-");
        let gone = |session: &Session<'_>| {
            let (pids, links) = session.inventory();
            let is_there =
                pid.is_some_and(|pid| pids.contains(&pid)) || links.iter().any(|link| link.starts_with(&prefix));
            (!is_there).then_some(())
        };
        let patience = self.session.scaled(CLEARING);
        self.session.until(patience, gone)?;
        Ok(succeeded)
    }

    /// A name that is asked for again: while its container runs, and when the command of that has ended.
    fn names(&mut self) -> Result<()> {
        let Some(first) = self.started(TWICE, TWICE, 10)? else { return Ok(()) };
        self.typed_run(IMAGE, "twice while it runs", TWICE, 11)?;
        self.session.look("twice asked for");
        let (pids, host) = (self.session.inventory().0, self.session.host_state());
        let all: Vec<Process> = pids.into_iter().filter_map(|pid| self.session.process(pid)).collect();
        if let Some(waiter) = unshare_of(&first, &all, &host) {
            self.end_process(waiter)?;
            let pid = first.pid;
            let gone = |session: &Session<'_>| session.process(pid).is_none_or(|now| now.zombie).then_some(());
            if self.session.until(self.session.scaled(CLEARING), gone)?.is_none() {
                self.session.look("twice left alone");
            }
        }
        self.end_process(&first)?;
        // Of a container that has ended the tool hears in its own time.
        self.session.until(self.session.scaled(CLEARING / 4), |_| None::<()>)?;
        self.type_line("ps ended", &["ps"])?;
        self.typed_run(IMAGE, "twice when it has ended", TWICE, 12)?;
        self.end(TWICE, &Some(first))
    }

    /// Images of several layers, each from a Conductorfile that is ours and needs no network.
    fn layers(&mut self, prepared: &PreparedSubmission) -> Result<()> {
        self.session.asks_for_layers();
        let lines = |lines: &[&str]| format!("FROM debian:bookworm\n{}\n", lines.join("\n"));
        let stamp = format!("RUN date +%s%N >{STAMP}");
        let base = format!("RUN echo {WORD} >{OF_BASE}");
        let [below, above] = ["below", "above"].map(|word| format!("RUN echo {word} >{ABOVE}"));
        let last = |word: &str| format!("RUN echo {word} >{LAST}");
        let files = [STAMP, OF_BASE, ABOVE, LAST];
        let first = lines(&[&stamp, &base, &below, &above, &last("last")]);
        self.image("first", "first", &first, &files)?;
        self.image("same", "same", &first, &files)?;
        // A cache may be kept for each image by itself.
        self.type_line("rmi first", &["rmi", "first"])?;
        self.image("first again", "first", &first, &files)?;
        self.image("changed", "changed", &lines(&[&stamp, &base, &below, &above, &last("changed")]), &files)?;

        self.session.put("of-host/inner.txt", WORD);
        self.session.put("of-host.txt", WORD);
        self.image("folder", "folder", &lines(&["COPY of-host /opt/of-host"]), &COPIED_FOLDER)?;
        let file = lines(&["COPY of-host.txt /opt/of-host.txt"]);
        self.image("file", "file", &file, &COPIED_FILE)?;
        self.session.put("of-host.txt", ANOTHER_WORD);
        self.image("file changed", "anew", &file, &COPIED_FILE)?;

        self.session.look("before a failure");
        let fails = lines(&["COPY of-host /opt/before", "RUN touch /opt/left", "RUN false"]);
        for name in ["fails", "still"] {
            self.session.put(CONDUCTORFILE, &fails);
            self.type_line(&format!("build {name}"), &["build", name])?;
            self.type_line(&format!("images {name}"), &["images"])?;
            self.session.look(&format!("after {name}"));
        }
        self.own_conductorfile(prepared)
    }

    /// Builds an image from this Conductorfile, runs a container from it, and reads files in that.
    fn image(&mut self, step: &str, name: &str, conductorfile: &str, files: &[&str]) -> Result<()> {
        self.session.put(CONDUCTORFILE, conductorfile);
        if !self.type_line(&format!("build {step}"), &["build", name])? {
            return Ok(());
        }
        let process = self.typed_run(name, &format!("from {step}"), LAYERED, 20)?;
        if let Some(process) = &process {
            self.session.read(&format!("files of {step}"), process.pid, files);
        }
        self.stopped(LAYERED, &format!("stop from {step}"), &process).map(drop)
    }

    /// The student's own: only where it asks for no packages, since there is no network to bring them.
    fn own_conductorfile(&mut self, prepared: &PreparedSubmission) -> Result<()> {
        let own =
            prepared.files.iter().find(|file| prepared.folder.join(&file.path) == prepared.cwd().join(CONDUCTORFILE));
        if let Some(FileKind::File { bytes, .. }) = own.map(|file| &file.what) {
            let text = String::from_utf8_lossy(bytes);
            if !text.contains("apt") && self.session.put(CONDUCTORFILE, &text) {
                self.type_line("build its own", &["build", "own"])?;
            }
        }
        Ok(())
    }
}

/// What is read in a container of several layers: written once; a file of the base, written anew; a file of one layer,
/// written anew by the next.
pub const STAMP: &str = "/opt/stamp";
/// See [`STAMP`].
pub const OF_BASE: &str = "/etc/os-release";
/// See [`STAMP`].
pub const ABOVE: &str = "/opt/above";
/// What the last line writes, which is changed from one image to the next.
pub const LAST: &str = "/opt/last";
/// Where a folder may be that was copied to `/opt/of-host`: as that, or into it.
pub const COPIED_FOLDER: [&str; 2] = ["/opt/of-host/inner.txt", "/opt/of-host/of-host/inner.txt"];
/// The same of a file.
pub const COPIED_FILE: [&str; 2] = ["/opt/of-host.txt", "/opt/of-host.txt/of-host.txt"];
/// The container of an image of layers.
const LAYERED: &str = "layered";

/// What is there of a container's processes: those in its PID namespace, and what waits for it outside, with the
/// container's command behind its own. The host's namespace holds more than the container.
pub fn processes_of<'l>(container: &Process, look: &'l Look, host: &Host) -> Vec<&'l Process> {
    let own = container.state.namespaces.get("pid").filter(|own| Some(*own) != host.namespaces.get("pid"));
    let number = container.argv.last();
    let belongs = |process: &&Process| {
        let inside = own.is_some_and(|own| process.state.namespaces.get("pid") == Some(own));
        let waits = process.argv.len() > 2 && process.argv.last() == number;
        inside || waits || process.pid == container.pid
    };
    look.processes.iter().filter(|process| !process.zombie).filter(belongs).collect()
}

/// Where the tool has mounted something on the host for the container `name`: below its own folder, or elsewhere under
/// that name.
pub fn mounts_of(name: &str, folder: &str, now: &[Mount], before: &[Mount]) -> Vec<String> {
    let of_container = |point: &str| {
        let below = point.strip_prefix(folder).unwrap_or(point);
        below.split('/').any(|part| part == name)
    };
    new_mounts(before, now, None).into_iter().filter(|point| of_container(point)).collect()
}

/// The host's mounts that were not there before, of one kind or of all.
pub fn new_mounts(before: &[Mount], now: &[Mount], kind: Option<&str>) -> Vec<String> {
    let mut known: Vec<&str> = before.iter().map(|mount| mount.point.as_str()).collect();
    let mut new = Vec::new();
    for mount in now {
        match known.iter().position(|point| *point == mount.point) {
            Some(at) => drop(known.swap_remove(at)),
            None if kind.is_none_or(|kind| kind == mount.kind) => new.push(mount.point.clone()),
            None => {}
        }
    }
    new
}

/// The unshare(1) that waits outside for a container's first process.
fn unshare_of<'p>(container: &Process, all: &'p [Process], host: &Host) -> Option<&'p Process> {
    let with_pid = |pid: Pid| all.iter().find(|process| process.pid == pid);
    let own = container.state.namespaces.get("pid").filter(|own| Some(*own) != host.namespaces.get("pid"))?;
    let mut process = with_pid(container.pid)?;
    while process.state.namespaces.get("pid") == Some(own) {
        process = with_pid(process.state.parent)?;
    }
    let program = process.argv.first()?.rsplit('/').next()?;
    (program == "unshare").then_some(process)
}

/// The addresses of a container's veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPair {
    /// The container's first IPv4 address.
    pub inside: String,
    /// The address of the host side.
    pub outside: String,
}

/// The addresses of the veth pair between `process` and the host, if there is one.
pub fn veth_pair(look: &Look, process: &Process, host: &Host) -> Option<VethPair> {
    let (theirs, ours) = (process.state.namespaces.get("net")?, host.namespaces.get("net")?);
    let (theirs, ours) = (look.networks.get(theirs)?, look.networks.get(ours)?);
    let inside = theirs.links.iter().find(|link| link.peer.is_some() && !link.addresses.is_empty())?;
    let outside = ours.links.iter().find(|link| Some(link.index) == inside.peer && link.peer == Some(inside.index));
    let plain = |addresses: &[String]| addresses.first().map(|text| text.split('/').next().unwrap_or(text).to_owned());
    Some(VethPair {
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
