//! Bringing a deployment up and taking it down, step by step; each step first looks whether it is done already.

use std::process::Child;
use std::time::{Duration, Instant};

use nsutil::error::{Error, OrCannot, Result};

use crate::conductor::Conductor;
use crate::health;
use crate::spec::{Service, Spec, missing};

/// Longest wait for a container's first process.
const PATIENCE: Duration = Duration::from_secs(20);

/// A deployment and the tool that carries it out.
pub struct Deployment {
    /// What is deployed.
    pub spec: Spec,
    /// By what.
    pub conductor: Conductor,
    /// Where the services' folders are.
    pub files: std::path::PathBuf,
    /// Arguments to `build` after the image's name.
    pub build: Vec<String>,
}

impl Deployment {
    /// Brings everything up; what is up already is left alone.
    ///
    /// # Errors
    /// The step that failed; what stands by then stays, for the next `up` or for `down`.
    pub fn up(&self) -> Result<()> {
        if !self.conductor.has_image(&self.spec.image)? {
            let mut build = vec!["build", self.spec.image.as_str()];
            build.extend(self.build.iter().map(String::as_str));
            self.conductor.command(&build, "every container is made from this image")?;
        }
        for service in &self.spec.services {
            self.start_container(service)?;
        }
        for service in &self.spec.services {
            self.connect(service)?;
        }
        for service in self.spec.in_start_order().or_cannot("order", "the services")? {
            self.start_service(service)?;
        }
        Ok(())
    }

    /// Removes every container of the deployment that is there, in whatever state; tries all of them.
    ///
    /// # Errors
    /// All that failed.
    pub fn down(&self) -> Result<()> {
        let mut failures = Vec::new();
        for service in self.spec.services.iter().rev() {
            let gone = self.conductor.is_listed(&service.name).and_then(|listed| {
                if !listed {
                    return Ok(());
                }
                self.conductor
                    .command(&["stop", &service.name], "ends its processes and gives back what it had of the host")
            });
            failures.extend(gone.err().map(|error| nsutil::error::line(&error)));
            // A log that is not there needs no removing.
            let _ = std::fs::remove_file(self.conductor.log(&service.name));
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::new("take down", "the deployment", failures.join("; "))) }
    }

    /// The address of a service's container, as the container itself tells it.
    ///
    /// # Errors
    /// When it does not run or has no route.
    pub fn address(&self, name: &str) -> Result<String> {
        let route = self.conductor.ask(name, &["ip", "route", "get", "1"])?;
        let mut words = route.split_whitespace().skip_while(|&word| word != "src").skip(1);
        words.next().map(str::to_owned).ok_or("it has no route").or_cannot("ask for the address of", name)
    }

    /// The URL at which the host asks a service how it is.
    ///
    /// # Errors
    /// When its container does not run or has no address.
    pub fn health_url(&self, service: &Service) -> Result<String> {
        Ok(format!("http://{}:{}{}", self.address(&service.name)?, service.port, service.health))
    }

    fn start_container(&self, service: &Service) -> Result<()> {
        let name = &service.name;
        if self.conductor.is_running(name) {
            return Ok(());
        }
        if self.conductor.is_listed(name)? {
            self.conductor.command(&["stop", name], "its first process has ended: make way for a new one")?;
        }
        let run = ["run", &self.spec.image, name, "--", "sleep", "infinity"];
        let mut process =
            self.conductor.background(&run, &self.conductor.log(name), "a container that waits for its service")?;
        let begin = Instant::now();
        while !self.conductor.is_running(name) {
            self.give_up_if(&mut process, begin, name)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        self.copy_files(service)
    }

    fn give_up_if(&self, process: &mut Child, begin: Instant, name: &str) -> Result<()> {
        let ended = process.try_wait().or_cannot("ask after", "the run command")?;
        if ended.is_none() && begin.elapsed() < PATIENCE {
            return Ok(());
        }
        let why = ended.map_or_else(
            || "it did not start in time".to_owned(),
            |status| format!("the run command ended with {status}"),
        );
        let log = self.conductor.log(name);
        Err(Error::new("start", format_args!("container {name}"), why)
            .hint(format_args!("what it said is in {}", log.display())))
    }

    fn copy_files(&self, service: &Service) -> Result<()> {
        let from = self.files.join(&service.files);
        let to = self.conductor.rootfs(&service.name);
        anstream::println!("\x1b[1m$ cp -r {} {}/\x1b[0m", from.display(), to.display());
        if !from.is_dir() {
            return Err(Error::new("copy", from.display(), "there is no such folder").hint("`make build` fills it"));
        }
        let copied = std::process::Command::new("cp").arg("-r").args([&from, &to]).status().or_cannot("run", "cp")?;
        if copied.success() {
            Ok(())
        } else {
            Err(Error::new("copy", from.display(), format!("cp ended with {copied}")))
        }
    }

    /// Network and peers; the tool is asked only for what is not there yet.
    fn connect(&self, service: &Service) -> Result<()> {
        let name = &service.name;
        if self.address(name).is_err() {
            let pairs: Vec<String> = service.expose.iter().map(ToString::to_string).collect();
            let mut line = vec!["addnetwork", name.as_str()];
            if service.internet {
                line.push("--internet");
            }
            line.extend(pairs.iter().flat_map(|pair| ["--expose", pair.as_str()]));
            self.conductor.command(&line, "a cable to the host, and what may pass through it")?;
        }
        for peer in &service.peers {
            let other = self.spec.services.iter().find(|other| other.name == *peer).ok_or_else(|| missing(peer))?;
            if self.address(&other.name).is_err() {
                self.connect(other)?;
            }
            if !self.can_talk(service, other) {
                self.conductor
                    .command(&["peer", name, peer], "containers cannot reach each other until they are peers")?;
            }
        }
        Ok(())
    }

    fn can_talk(&self, from: &Service, to: &Service) -> bool {
        let Ok(address) = self.address(&to.name) else { return false };
        self.conductor.ask(&from.name, &["ping", "-c", "1", "-W", "1", &address]).is_ok()
    }

    fn start_service(&self, service: &Service) -> Result<()> {
        let url = self.health_url(service)?;
        if health::is_well(&url) {
            return Ok(());
        }
        let mut line = vec!["exec".to_owned(), service.name.clone(), "--".to_owned()];
        for word in &service.start {
            line.push(self.with_addresses(word)?);
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        self.conductor.background(&line, &self.conductor.log(&service.name), "the service itself")?;
        health::wait_for(&url)?;
        anstream::println!("  \x1b[32mok\x1b[0m  {} answers at {url}", service.name);
        Ok(())
    }

    /// Puts addresses in the place of `{NAME}`.
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
