//! The description of a deployment: a TOML file, validated when it is read.

use std::collections::BTreeSet;
use std::path::Path;

use nsutil::error::{Error, OrCannot, Result};
use serde::Deserialize;

const DEFAULT: &str = include_str!("../deployment.toml");

/// A deployment: one image, and a container for each service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Image that every container is made from.
    pub image: String,
    /// The services, in the order in which their containers are started.
    #[serde(rename = "service")]
    pub services: Vec<Service>,
}

/// One service and the container it runs in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of its container.
    pub name: String,
    /// Folder that is copied into the container's root.
    pub files: String,
    /// The command that starts it; `{NAME}` is the address of that service's container.
    pub start: Vec<String>,
    /// Services that must be healthy before it is started.
    #[serde(default)]
    pub after: Vec<String>,
    /// Port it listens on in its container.
    pub port: u16,
    /// Path of a request that it answers when it is healthy.
    pub health: String,
    /// Whether it can reach the internet.
    #[serde(default)]
    pub internet: bool,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub expose: Vec<PublishedPort>,
    /// Services that it can talk to, and they to it.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// A port of the host that leads to a port of a container: `3000:8080`, or for a tool of the lab's older edition
/// `8080-3000`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublishedPort {
    /// Port of the host.
    pub host: u16,
    /// Port of the container.
    pub inside: u16,
    /// As written in the file; passed to the tool unchanged.
    pub written: String,
}

impl Spec {
    /// Reads the deployment from a file; without one, returns the assignment's.
    ///
    /// # Errors
    /// When the file cannot be read, is not valid, or names services that do not exist.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        match file {
            None => Self::parse(DEFAULT).or_cannot("understand", "the built-in deployment"),
            Some(file) => {
                let text = std::fs::read_to_string(file).or_cannot("read", file.display())?;
                Self::parse(&text).or_cannot("understand", file.display())
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let spec: Self = toml::from_str(text).map_err(|error| with_line(&error, text))?;
        if !is_name(&spec.image) {
            return Err(format!("{:?} is not a name for an image: {NAMES}, such as service-image", spec.image));
        }
        if spec.services.is_empty() {
            return Err("there is no service in it".to_owned());
        }
        spec.services.iter().try_for_each(Service::check)?;
        let names: BTreeSet<&str> = spec.services.iter().map(|service| service.name.as_str()).collect();
        if names.len() < spec.services.len() {
            return Err("two services have the same name".to_owned());
        }
        let mut ports = BTreeSet::new();
        for service in &spec.services {
            if let Some(twice) = service.expose.iter().find(|pair| !ports.insert(pair.host)) {
                return Err(format!("port {} of the host is given away twice", twice.host));
            }
            for other in service.after.iter().chain(&service.peers) {
                if !names.contains(other.as_str()) || *other == service.name {
                    return Err(format!("service {} names {other:?}, which is not another service", service.name));
                }
            }
            if let Some(blank) = service.start.iter().flat_map(|word| blanks(word)).find(|it| !names.contains(it)) {
                return Err(format!("service {}: {{{blank}}} in `start` is not a service", service.name));
            }
        }
        spec.in_start_order()?;
        Ok(spec)
    }

    /// The services, each after those in its `after`.
    ///
    /// # Errors
    /// When services wait for each other in a cycle.
    pub fn in_start_order(&self) -> Result<Vec<&Service>, String> {
        let mut ordered: Vec<&Service> = Vec::new();
        while ordered.len() < self.services.len() {
            let started = |name: &String| ordered.iter().any(|service| service.name == *name);
            let next =
                self.services.iter().find(|service| !started(&service.name) && service.after.iter().all(started));
            match next {
                Some(service) => ordered.push(service),
                None => return Err("services wait for each other in a circle (see their `after`)".to_owned()),
            }
        }
        Ok(ordered)
    }
}

impl Service {
    /// Checks one service by itself.
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_name(name) {
            return Err(format!("{name:?} is not a name for a service: {NAMES}, such as c1"));
        }
        // The folder keeps its name in the container.
        if Path::new(&self.files).file_name().is_none() {
            return Err(format!("service {name}: files is a folder with a name, such as counter-service"));
        }
        if self.start.is_empty() {
            return Err(format!("service {name} has no start command"));
        }
        if !self.health.starts_with('/') || self.health.contains(|letter: char| !letter.is_ascii_graphic()) {
            return Err(format!("service {name}: health is the path of a request, such as /health"));
        }
        if self.port == 0 {
            return Err(format!("service {name}: there is no port 0"));
        }
        Ok(())
    }
}

impl TryFrom<String> for PublishedPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let port = |text: &str| Some(text).filter(digits)?.parse().ok().filter(|&port: &u16| port > 0);
        let pair = text.split_once(':').or_else(|| text.split_once('-').map(|(inside, host)| (host, inside)));
        let ports = pair.and_then(|(host, inside)| Some((port(host)?, port(inside)?)));
        let (host, inside) = ports.ok_or_else(|| {
            format!("{text:?} is not a pair of ports: write HOST:CONTAINER, such as 3000:8080, or CONTAINER-HOST")
        })?;
        Ok(Self { host, inside, written: text })
    }
}

/// The characters of a name, which is used in command lines and paths.
const NAMES: &str = "letters, digits, '-', '_' and '.', the first a letter or digit";

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().all(is_plain) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// The names in `{NAME}`; a shell's `${NAME}` is left out.
pub fn blanks(word: &str) -> Vec<&str> {
    let opened = word.match_indices('{').filter(|(at, _)| !word[..*at].ends_with('$'));
    let inside = opened.filter_map(|(at, _)| word[at + 1..].split_once('}').map(|(name, _)| name));
    inside.filter(|name| is_name(name)).collect()
}

/// The parser's message with the line number, in one line.
fn with_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1)).unwrap_or_default();
    format!("{place}{}", error.message().replace('\n', ", "))
}

/// The error for a service that the deployment does not have.
pub fn missing(name: &str) -> Error {
    Error::new("find", format_args!("service {name}"), "the deployment does not have it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_deployment_starts_the_counter_before_the_page() {
        let spec = Spec::load(None).unwrap();
        let order: Vec<_> = spec.in_start_order().unwrap().iter().map(|service| service.name.as_str()).collect();
        assert_eq!(order, ["c2", "c1"]);
        let ports = |text: &str| PublishedPort::try_from(text.to_owned()).map(|pair| (pair.host, pair.inside));
        assert_eq!(spec.services[0].expose[0].written, "3000:8080");
        assert_eq!(ports("3000:8080"), Ok((3000, 8080)));
        assert_eq!(ports("8080-3000"), Ok((3000, 8080)), "the other spelling, the other way round");
    }

    #[test]
    fn mistakes_are_named() {
        let with = |change: (&str, &str)| Spec::parse(&DEFAULT.replace(change.0, change.1)).unwrap_err();
        for (change, said) in [
            (("peers = [\"c2\"]", "peers = [\"c3\"]"), "names \"c3\", which is not another service"),
            (("3000:8080", "3000/8080"), "write HOST:CONTAINER, such as 3000:8080"),
            (("3000:8080", "3000:0"), "\"3000:0\" is not a pair of ports"),
            (("3000:8080", "65536-80"), "\"65536-80\" is not a pair of ports"),
            (("3000:8080", "3000:+80"), "\"3000:+80\" is not a pair of ports"),
            (("name = \"c2\"", "name = \"c1\""), "two services have the same name"),
            (("name = \"c2\"", "name = \"../c2\""), "is not a name for a service"),
            (("name = \"c2\"", "name = \"--help\""), "is not a name for a service"),
            (("\"/get_counter\"", "\"get_counter\""), "service c2: health is the path of a request"),
            (("[\"3000:8080\"]", "[\"3000:8080\", \"3000:81\"]"), "port 3000 of the host is given away twice"),
            (("start = [\"bash\", \"/counter-service/run.sh\"]", "start = []"), "service c2 has no start command"),
            (("internet", "internt"), "line 15: unknown field `internt`"),
            (("port = 8080", "port = 99999"), "line 13: invalid value: integer `99999`"),
            (("port = 8080", "port = 0"), "there is no port 0"),
            (("image = \"service-image\"", "image = \"--help\""), "\"--help\" is not a name for an image"),
            (("image = \"service-image\"", ""), "missing field `image`"),
            (("files = \"counter-service\"", "files = \"\""), "service c2: files is a folder with a name"),
            (("files = \"counter-service\"", "files = \"..\""), "service c2: files is a folder with a name"),
            (("http://{c2}", "http://{c3}"), "service c1: {c3} in `start` is not a service"),
            (("\"/get_counter\"", "\"/get counter\""), "service c2: health is the path of a request"),
            (("files = \"counter-service\"", "files = \"counter-service\"\nafter = [\"c1\"]"), "in a circle"),
        ] {
            let error = with(change);
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
        assert_eq!(Spec::parse("image = \"x\"\nservice = []").unwrap_err(), "there is no service in it");
        assert_eq!(blanks("a {b} ${C} {\"d\": 1} {e}"), ["b", "e"], "other braces are a program's own");
    }
}
