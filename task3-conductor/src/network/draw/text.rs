//! The picture in letters.

use std::fmt;

use super::{Container, Picture};
use crate::output::escape::without_control_characters;

impl fmt::Display for Picture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forwards = if self.forwards { "forwards packets" } else { "does not forward packets" };
        let uplink = match &self.uplink {
            Some(uplink) => format!("to the internet through {uplink}"),
            None => "no default route".to_owned(),
        };
        writeln!(out, "host {}: {forwards}; {uplink}", without_control_characters(&self.host))?;
        // The middle of the pairs stands below each other.
        let width = self.containers.iter().map(|container| container.outside.to_string().len()).max().unwrap_or(0);
        for (nth, container) in self.containers.iter().enumerate() {
            let is_last = nth + 1 == self.containers.len();
            container.draw(out, width, if is_last { ("└─", "  ") } else { ("├─", "│ ") })?;
        }
        Ok(())
    }
}

impl Container {
    fn draw(&self, out: &mut fmt::Formatter<'_>, width: usize, (branch, below): (&str, &str)) -> fmt::Result {
        let Self { name, outside, inside, .. } = self;
        let (outside, line) = (outside.to_string(), if inside.is_up { "──" } else { "╌╌" });
        writeln!(out, "│\n{branch} {outside:<width$} {line} {inside} ── {name}")?;
        self.permitted.iter().try_for_each(|path| writeln!(out, "{below}    {path}"))?;
        self.missing.iter().try_for_each(|what| writeln!(out, "{below}    missing: {what}"))
    }
}
