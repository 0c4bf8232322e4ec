//! Drawings as SVG: text and lines in the reader's light or dark colours.

use std::fmt::Write as _;

use svg::Document;
use svg::node::element::{Definitions, Group, Line, Marker, Path, Rectangle, Style, Text, Title};

/// A point: pixels from the left and from the top.
pub type Point = (usize, usize);

const STYLE: &str = "
svg { color-scheme: light dark; color: CanvasText; background: Canvas; font: 12px monospace; }
text { fill: currentColor; }
line, path, rect { stroke: currentColor; fill: none; }
.head { font-weight: bold; }
.life { opacity: .3; }
.missing { stroke-dasharray: 4 4; }
text.missing { font-style: italic; }
";
/// The arrow head's reference in attributes.
const HEAD: &str = "url(#head)";

/// A drawing.
#[derive(Debug)]
pub struct Drawing(Document);

impl Drawing {
    /// An empty one, `width` by `height` pixels.
    pub fn new(title: &str, width: usize, height: usize) -> Self {
        let arrow_head = Marker::new()
            .set("id", "head")
            .set("viewBox", (0, 0, 8, 8))
            .set("refX", 8)
            .set("refY", 4)
            .set("markerWidth", 8)
            .set("markerHeight", 8)
            .set("orient", "auto")
            .add(Path::new().set("d", "M0,0 L8,4 L0,8"));
        let document = Document::new()
            .set("viewBox", (0, 0, width, height))
            .set("width", width)
            .set("height", height)
            .set("role", "img")
            .add(Title::new(printable(title)))
            .add(Style::new(STYLE))
            .add(Definitions::new().add(arrow_head));
        Self(document)
    }

    /// A line of text that begins at a point, with a class of the style or none.
    pub fn text(&mut self, class: &str, (x, y): Point, text: &str) {
        self.add(Text::new(printable(text)).set("x", x).set("y", y).set("class", class));
    }

    /// The same, with a longer text that shows where the pointer rests.
    pub fn text_with_details(&mut self, (x, y): Point, text: &str, details: &str) {
        let text = Text::new(printable(text)).set("x", x).set("y", y);
        self.add(Group::new().add(Title::new(printable(details))).add(text));
    }

    /// A line between two points.
    pub fn line(&mut self, class: &str, from: Point, to: Point) {
        self.add(line(from, to).set("class", class));
    }

    /// An arrow from one point to another.
    pub fn arrow(&mut self, from: Point, to: Point) {
        self.add(line(from, to).set("marker-end", HEAD));
    }

    /// An arrow that leaves a point to the left and comes back to another; `bend` is how far it goes.
    pub fn arrow_around(&mut self, (x, y): Point, (to_x, to_y): Point, bend: usize, details: &str) {
        let (left, to_left) = (x.saturating_sub(bend), to_x.saturating_sub(bend));
        let curve = format!("M{x},{y} C{left},{y} {to_left},{to_y} {to_x},{to_y}");
        let path = Path::new().set("d", curve).set("marker-end", HEAD);
        self.add(Group::new().add(Title::new(printable(details))).add(path));
    }

    /// A rectangle by its upper left corner, its width and its height, with a class of the style or none.
    pub fn rectangle(&mut self, class: &str, (x, y): Point, width: usize, height: usize) {
        let shape = Rectangle::new().set("x", x).set("y", y).set("width", width).set("height", height);
        self.add(shape.set("class", class));
    }

    /// The whole file.
    pub fn finish(self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", self.0);
        text
    }

    fn add(&mut self, node: impl Into<Box<dyn svg::Node>>) {
        svg::Node::append(&mut self.0, node);
    }
}

fn line((x1, y1): Point, (x2, y2): Point) -> Line {
    Line::new().set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2)
}

/// Without the control characters that XML forbids.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}
