//! The picture as SVG: containers on the left, the host in the middle, other machines on the right.

use super::{Container, Path, Picture};
use crate::output::svg::Drawing;

/// The left and the right edge of what is drawn, in pixels.
type Edges = (usize, usize);

const CONTAINER: Edges = (110, 330);
const HOST: Edges = (540, 760);
const WIDTH: usize = 1100;
const TOP: usize = 80;
const ROW: usize = 100;
const HEIGHT: usize = 60;
const LINE: usize = 16;
const INDENT: usize = 10;

impl Picture {
    /// Draws it.
    pub fn svg(&self) -> String {
        let height = TOP + ROW * self.containers.len().max(1);
        let mut svg = Drawing::new("The networks of containers", WIDTH, height);
        let forwards = if self.forwards { "forwards packets" } else { "does not forward packets" };
        let uplink = self.uplink.as_ref().map_or("no default route".to_owned(), |uplink| format!("through {uplink}"));
        for (x, head, below) in [
            (CONTAINER.0, "containers".to_owned(), ""),
            (HOST.0, format!("host {}", self.host), forwards),
            (HOST.1 + INDENT, "other machines".to_owned(), &uplink),
        ] {
            svg.text("head", (x, TOP - 50), &head);
            svg.text("", (x, TOP - 50 + LINE), below);
        }
        svg.rectangle("", (HOST.0, TOP - 20), HOST.1 - HOST.0, height - TOP);
        for (row, container) in self.containers.iter().enumerate() {
            self.row(&mut svg, row, container);
        }
        svg.finish()
    }

    fn row(&self, svg: &mut Drawing, row: usize, container: &Container) {
        let Container { name, outside, inside, permitted, missing } = container;
        let (top, middle) = (TOP + row * ROW, TOP + row * ROW + HEIGHT / 2);
        svg.rectangle("", (CONTAINER.0, top), CONTAINER.1 - CONTAINER.0, HEIGHT);
        svg.text("head", (CONTAINER.0 + INDENT, middle - 6), name.as_str());
        svg.text("", (CONTAINER.0 + INDENT, middle - 6 + LINE), &inside.to_string());
        let class = if inside.is_up && outside.is_up { "" } else { "missing" };
        svg.line(class, (CONTAINER.1, middle), (HOST.0, middle));
        svg.text("", (HOST.0 + INDENT, middle + 4), &outside.to_string());
        for (nth, what) in missing.iter().enumerate() {
            svg.text("missing", (CONTAINER.0, top + HEIGHT + LINE * (nth + 1) - 4), &format!("missing: {what}"));
        }
        let mut y = top + 12;
        for path in permitted {
            let (here, there) = ((HOST.1, y), (HOST.1 + 50, y));
            match path {
                Path::Peer(peer) => {
                    if let Some(to) = self.containers.iter().position(|container| container.name == *peer) {
                        // Down on one height and up on another, so that both arrows can be seen.
                        let offset = if row < to { 10 } else { HEIGHT - 10 };
                        let at = |row: usize| (CONTAINER.0, TOP + row * ROW + offset);
                        svg.arrow_around(at(row), at(to), 40 + offset / 2, &format!("{name} {path}"));
                    }
                    continue;
                }
                Path::Internet(_) => svg.arrow(here, there),
                Path::Port { .. } => svg.arrow(there, here),
            }
            svg.text("", (there.0 + INDENT, y + 4), &format!("{name} {path}"));
            y += LINE;
        }
    }
}
