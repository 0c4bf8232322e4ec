//! `conductor cp`: copy files between a container and the host.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use nsutil::error::{Error, OrCannot, Result};
use nsutil::rooted::Root;
use nsutil::rooted::copy::{Tree, copy};

use crate::container::root;
use crate::output::escape::quoted;
use crate::output::failure::{CONDUCTOR_FAILED, Failure, remark};
use crate::spec::name::ContainerName;
use crate::store::Store;

/// Copy files or folders between a container, running or exited, and the host
#[derive(clap::Args)]
#[command(after_help = "Examples:
  conductor cp web:/etc/nginx .              the folder, into this one
  conductor cp site/. web:/srv/www           what is in the folder
  conductor cp ./a:b web:/tmp/               a file of the host with a : in its name
Symbolic links are copied as links; owners and set-user-ID bits are not kept.")]
pub struct Cp {
    /// Source: NAME:PATH in a container, or a path of the host
    source: CopyPath,
    /// Destination: NAME:PATH in a container, or a path of the host
    target: CopyPath,
}

/// A path on the host or in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CopyPath {
    Host(PathBuf),
    Container(ContainerName, PathBuf),
}

impl Cp {
    /// Copies it.
    ///
    /// # Errors
    /// When nothing could be copied, or part of it was left out: the rest is copied then.
    pub fn run(self, store: &Store) -> Result<ExitCode, Failure> {
        let host = Tree::new(Root::of_host()?, "");
        let inside = |name: &ContainerName| {
            let upper = store.container_dir(name).join("upper");
            root::of(store, name).map(|root| Tree::new(Root::new(root), format!("{name}:")).with_upper(upper))
        };
        let left_out = match (&self.source, &self.target) {
            (CopyPath::Container(name, from), CopyPath::Host(to)) => copy(&inside(name)?, from, &host, &absolute(to)?)?,
            (CopyPath::Host(from), CopyPath::Container(name, to)) => copy(&host, &absolute(from)?, &inside(name)?, to)?,
            _ => {
                let both = Error::new(
                    "copy",
                    "between these paths",
                    "one path has to be in a container, and the other on the host",
                );
                return Err(both.hint("a path in a container is NAME:PATH, for example web:/etc/hosts").into());
            }
        };
        for line in &left_out {
            remark(format_args!("{line}"));
        }
        if left_out.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(Failure::already_reported(CONDUCTOR_FAILED.into()))
        }
    }
}

/// Makes a path absolute; its ending (`/`, `/.`) keeps its meaning.
fn absolute(path: &Path) -> Result<PathBuf> {
    let whole = std::path::absolute(path).or_cannot("find", path.display())?;
    let ends_with_dot = path.as_os_str().as_encoded_bytes().ends_with(b"/.") || path == Path::new(".");
    Ok(if ends_with_dot { whole.join(".") } else { whole })
}

impl FromStr for CopyPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Err(
                "cp does not support archives: to stream one use `conductor -q exec NAME -- tar c PATH`, or `tar x`"
                    .to_owned(),
            );
        }
        if text.is_empty() || text.contains('\0') {
            return Err("a path must not be empty or contain a NUL byte".to_owned());
        }
        let (name, path) = match text.split_once(':') {
            Some(split) if !text.starts_with(['/', '.']) => split,
            _ => return Ok(Self::Host(PathBuf::from(text))),
        };
        let name = name.parse()?;
        if path.is_empty() {
            return Err(format!("{} has no path: write NAME:PATH, for example {name}:/etc/hosts", quoted(text)));
        }
        // Paths start at the container's root, regardless of its working directory.
        Ok(Self::Container(name, Path::new("/").join(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_path_has_a_name_before_it() {
        let inside = |path: &str| CopyPath::Container("web".parse().unwrap(), PathBuf::from(path));
        for (text, place) in [
            ("web:/etc", inside("/etc")),
            ("web:etc/", inside("/etc/")),
            ("web:/a:b", inside("/a:b")),
            ("web", CopyPath::Host("web".into())),
            ("./web:/etc", CopyPath::Host("./web:/etc".into())),
            ("/web:/etc", CopyPath::Host("/web:/etc".into())),
            ("../a:b", CopyPath::Host("../a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for wrong in ["", "-", "web:", ":/etc", "a b:/etc", "\0"] {
            assert!(wrong.parse::<CopyPath>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_path_ends_with_keeps_its_meaning() {
        let here = std::env::current_dir().unwrap();
        for (path, whole) in [("a", "a"), ("a/", "a/"), ("a/.", "a/."), (".", ".")] {
            let expected = here.join(whole);
            assert_eq!(absolute(Path::new(path)).unwrap().as_os_str(), expected.as_os_str(), "{path}");
        }
    }
}
