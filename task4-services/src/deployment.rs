//! `up`: brings a deployment up by the steps of the assignment; each step is skipped if it is done already.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nsutil::error::{Error, OrCannot, Result, line};

use crate::background::{Background, PATIENCE};
use crate::command_lock::CommandLock;
use crate::conductor::Conductor;
use crate::health;
use crate::host;
use crate::mirror;
use crate::spec::{Service, Spec, missing};

/// Hint after a failed step.
const WHAT_NOW: &str = "`up` goes on from there, `down` removes what stands";
/// The Conductorfile of an image made from this host's programs.
const OFFLINE: &str = include_str!("../Conductorfile.offline");

/// A deployment and the tool that performs it.
pub struct Deployment {
    /// What is deployed.
    pub spec: Spec,
    /// The tool.
    pub conductor: Conductor,
    /// The folder that contains the services' folders.
    pub files: PathBuf,
}

/// What the image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A Debian system if a mirror answers, otherwise this host's programs.
    Mirror,
    /// This host's programs.
    Host,
}

/// The steps of the assignment, by its numbers. Step 5, the address of a container, is queried whenever it is needed.
#[derive(Debug, Clone, Copy)]
enum Step {
    Image = 1,
    Container,
    Files,
    Network,
    Service = 6,
    Ports,
}

impl Deployment {
    /// # Lesson 4.a (6 marks): bring everything up, step by step
    ///
    /// What is up already is left unchanged. Take the `lock` first, so that no other `up` or `down` runs meanwhile.
    /// Tell `progress` how many steps to expect (one for the image, five for each service) and, when all are done, that
    /// it is the end. Run the steps of the assignment, each through `step`: build the image; launch each container;
    /// copy each service's files; connect each; start each service, dependencies first (`in_start_order`); try each
    /// one's ports. Finish a step for all services before the next step: a service can be given another's address only
    /// after that one has been connected.
    ///
    /// Checks: apart.services up.again
    ///
    /// You may want: [`CommandLock::take`], [`Progress::expect`](crate::progress::Progress::expect), [`Spec::in_start_order`], and the methods below
    ///
    /// # Errors
    /// The step that failed; what was deployed by then stays, for the next `up` or for `down`.
    pub fn up(&self, source: Source) -> Result<()> {
        let lock = CommandLock::take(&self.conductor.notes())?;
        let services = &self.spec.services;
        self.conductor.progress.expect(1 + 5 * services.len());
        self.step(Step::Image, &self.spec.image, || self.build_image(&lock, source))?;
        for service in services {
            self.step(Step::Container, &service.name, || self.start_container(&lock, service))?;
        }
        for service in services {
            self.step(Step::Files, &service.name, || self.copy_files(service))?;
        }
        for service in services {
            self.step(Step::Network, &service.name, || self.connect(&lock, service))?;
        }
        for service in self.spec.in_start_order().or_cannot("order", "the services")? {
            self.step(Step::Service, &service.name, || self.start_service(service))?;
        }
        for service in services {
            self.step(Step::Ports, &service.name, || try_ports(service))?;
        }
        self.conductor.progress.end();
        Ok(())
    }

    /// The address of a service's container, queried inside the container.
    ///
    /// # Errors
    /// When it does not run or has no address.
    pub fn address(&self, name: &str) -> Result<String> {
        // The assignment's command. Without a default route it fails: then list the addresses.
        let asked = self.conductor.ask(name, &["ip", "route", "get", "1"]);
        if let Some(address) = asked.ok().and_then(|route| word_after("src", &route)) {
            return Ok(address);
        }
        let addresses = self.conductor.ask(name, &["ip", "-4", "-oneline", "address", "show", "scope", "global"])?;
        let first = word_after("inet", &addresses).and_then(|it| it.split('/').next().map(str::to_owned));
        first.ok_or("it has none").or_cannot("ask for the address of", name)
    }

    /// The URL of a service's health check, for requests from the host.
    ///
    /// # Errors
    /// When its container does not run or has no address.
    pub fn health_url(&self, service: &Service) -> Result<String> {
        Ok(format!("http://{}:{}{}", self.address(&service.name)?, service.port, service.health))
    }

    fn step(&self, step: Step, object: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let doing = match step {
            Step::Image => "build image",
            Step::Container => "launch container",
            Step::Files => "copy the files of",
            Step::Network => "connect",
            Step::Service => "start the service of",
            Step::Ports => "reach the ports of",
        };
        self.conductor.progress.begin(&format!("{doing} {object}"));
        work().map_err(|error| {
            Error::new(format_args!("finish step {}, {doing}", step as u8), object, line(&error)).hint(WHAT_NOW)
        })?;
        self.conductor.progress.done();
        Ok(())
    }

    fn build_image(&self, lock: &CommandLock, source: Source) -> Result<()> {
        let image = self.spec.image.as_str();
        if self.conductor.has_image(image)? {
            return Ok(());
        }
        let why = "every container is made from this image";
        let from_host = match source {
            Source::Host => true,
            Source::Mirror => self.no_mirror_answers(),
        };
        if from_host {
            let file = self.conductor.notes().join("Conductorfile");
            std::fs::write(&file, OFFLINE).or_cannot("write", file.display())?;
            self.conductor.command(lock, &["build", image, ".services/Conductorfile"], why)?;
        } else {
            self.conductor.command(lock, &["build", image], why)?;
        }
        if self.conductor.has_image(image)? {
            Ok(())
        } else {
            Err(unexpected_state("build", "`images` does not list it"))
        }
    }

    fn no_mirror_answers(&self) -> bool {
        let answer = self.conductor.progress.aside(|| mirror::answers(self.conductor.folder()));
        if let Err(error) = &answer {
            let reason = line(error);
            self.conductor
                .progress
                .say(&format!("{reason}; the image is made of this host's programs, as with --offline"));
        }
        answer.is_err()
    }

    fn start_container(&self, lock: &CommandLock, service: &Service) -> Result<()> {
        let name = &service.name;
        // A container that a killed orchestrator started may not run yet.
        wait(PATIENCE, || Ok(self.conductor.is_running(name) || self.conductor.writers(name)?.is_empty()))?;
        if self.conductor.is_running(name) {
            return Ok(());
        }
        if self.conductor.has_container(name)? {
            self.conductor.stop(lock, name, "its first process has ended: make way for a new one")?;
        }
        let run = ["run", &self.spec.image, name, "--", "sleep", "infinity"];
        let run = Background::start(&self.conductor, name, &run, "a container that waits for its service")?;
        run.wait_until(|| self.conductor.is_running(name))
    }

    fn copy_files(&self, service: &Service) -> Result<()> {
        let from = self.files.join(&service.files);
        let to = self.conductor.rootfs(&service.name);
        if !from.is_dir() {
            return Err(Error::new("copy", from.display(), "there is no such folder").hint("`make build` fills it"));
        }
        if are_equal(&from, &to.join(from.file_name().unwrap_or_default()))? {
            return Ok(());
        }
        // As a user would type it in the folder of the tool.
        let beside = self.conductor.folder().parent().and_then(|parent| from.strip_prefix(parent).ok());
        let shown = beside.map_or_else(|| from.clone(), |path| Path::new("..").join(path));
        self.conductor.progress.command(
            &format!("cp -r {} .containers/{}/rootfs/", shown.display(), service.name),
            "its root is a folder of the host: what is copied there is seen inside",
        );
        let copied = Command::new("cp").arg("-r").args([&from, &to]).status().or_cannot("run", "cp")?;
        if copied.success() {
            return Ok(());
        }
        // A program that is running cannot be written to: ETXTBSY.
        let failed = Error::new("copy", from.display(), format!("cp ended with {copied}"));
        Err(failed.hint("a service that runs cannot be replaced: `down`, then `up`"))
    }

    /// # Lesson 4.b (11 marks): connect a service's container to the world and to its peers
    ///
    /// Run only commands whose effect is missing. Connect the service itself, with `--internet` and its published
    /// ports; then, for each of its `peers`, look up the other service in the spec, connect that one too (a peer needs
    /// a network), and let the two talk by `peer`. Containers that can talk already are left unchanged. Do not trust
    /// the exit code: after `peer`, check again whether they can talk.
    ///
    /// Checks: reach.outside reach.host apart.counter internet
    ///
    /// You may want: `add_network`, `can_talk`, [`Conductor::command`], [`missing`], `unexpected_state`
    fn connect(&self, lock: &CommandLock, service: &Service) -> Result<()> {
        self.add_network(lock, service)?;
        for peer in &service.peers {
            let other = self.spec.services.iter().find(|other| other.name == *peer).ok_or_else(|| missing(peer))?;
            self.add_network(lock, other)?;
            if self.can_talk(service, other) {
                continue;
            }
            let why = "containers cannot reach each other until they are peers";
            self.conductor.command(lock, &["peer", &service.name, peer], why)?;
            if !self.can_talk(service, other) {
                return Err(unexpected_state(
                    "peer",
                    format_args!("{} gets no answer from {peer} by ping", service.name),
                ));
            }
        }
        Ok(())
    }

    fn add_network(&self, lock: &CommandLock, service: &Service) -> Result<()> {
        if self.address(&service.name).is_ok() {
            return Ok(());
        }
        let mut words = vec!["addnetwork", service.name.as_str()];
        if service.internet {
            words.push("--internet");
        }
        words.extend(service.expose.iter().flat_map(|pair| ["--expose", &pair.written]));
        self.conductor.command(lock, &words, "a veth pair to the host, and what may pass through it")?;
        self.address(&service.name).map(|_| ()).map_err(|error| unexpected_state("addnetwork", line(&error)))
    }

    fn can_talk(&self, from: &Service, to: &Service) -> bool {
        let Ok(address) = self.address(&to.name) else { return false };
        self.conductor.pings(&from.name, &address)
    }

    /// # Lesson 4.c (8 marks): start a service and wait until it answers
    ///
    /// A service that already answers at its health URL is left unchanged. The command is `exec NAME -- …` with the
    /// words of the spec's `start`, in which `{NAME}` stands for the *current* address of another container: query it,
    /// do not store it. The tool runs as long as the service, so start it in the background; the service is up when it
    /// answers, and not after a sleep. Then print where it answers.
    ///
    /// Checks: count.next count.asked
    ///
    /// You may want: `health_url`, [`health::is_healthy`], `with_addresses`, [`Background::start`], [`Background::wait_until`]
    fn start_service(&self, service: &Service) -> Result<()> {
        let url = self.health_url(service)?;
        if health::is_healthy(&url) {
            return Ok(());
        }
        let mut words = vec!["exec".to_owned(), service.name.clone(), "--".to_owned()];
        for word in &service.start {
            words.push(self.with_addresses(word)?);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = Background::start(&self.conductor, &service.name, &words, "the service itself")?;
        start.wait_until(|| health::is_healthy(&url))?;
        self.conductor.progress.say(&format!("  \x1b[32mok\x1b[0m  {} answers at {url}", service.name));
        Ok(())
    }

    /// Replaces each `{NAME}` by the address of that service's container.
    fn with_addresses(&self, word: &str) -> Result<String> {
        let mut text = word.to_owned();
        for service in &self.spec.services {
            let blank = format!("{{{}}}", service.name);
            if text.contains(&blank) {
                text = text.replace(&blank, &self.address(&service.name)?);
            }
        }
        Ok(text)
    }
}

/// The error for a tool that ended with code 0 but without the expected effect.
fn unexpected_state(command: &str, seen: impl Display) -> Error {
    Error::new("see what came of", format_args!("`{command}`"), format!("it ended with code 0, but {seen}"))
}

fn word_after(word: &str, text: &str) -> Option<String> {
    text.split_whitespace().skip_while(|&it| it != word).nth(1).map(str::to_owned)
}

/// Checks that every published port of the host leads to the service.
fn try_ports(service: &Service) -> Result<()> {
    for pair in &service.expose {
        let url = format!("http://{}:{}{}", host::address(), pair.host, service.health);
        health::answer(&url).or_cannot("get an answer from", &url).map_err(|error| {
            error.hint("the port is not forwarded as it should be: `down`, then `up` makes it anew")
        })?;
    }
    Ok(())
}

/// Whether two folders have the same files with the same content.
fn are_equal(one: &Path, other: &Path) -> Result<bool> {
    let mut diff = Command::new("diff");
    let output = diff.args(["--recursive", "--brief"]).args([one, other]).output().or_cannot("run", "diff")?;
    Ok(output.status.success())
}

/// Waits until `is_so` returns true, but at most `longest`.
pub fn wait(longest: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !is_so()? && begin.elapsed() < longest {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
