//! Marked sections: the functions of a Rust source that a student writes.
//!
//! A section is a whole function whose doc comment has a heading `# Lesson 1.a (6 marks): what it is about`. The language
//! ends it, its signature is kept, and it is unwritten while its body is `todo!("Lesson 1.a: …")`. What is compared outside
//! of sections are the compiler's tokens: another layout and other plain comments are no change.
//!
//! A function whose heading is `# Withheld with lesson 1.a` would show that lesson's solution. Students do not write it: it is
//! emptied with the others, and a graft has ours.

pub mod by_name;
pub mod lines;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::TokenStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, ExprLit, Lit, Meta, Signature};

use crate::error::{Error, OrCannot, Result};

/// What the root of a crate says as long as lessons are unwritten: what they would use is not used yet. No more than that is
/// allowed: a `Result` that is dropped is a mistake also in a lesson that is half written.
pub const UNUSED_YET: &str =
    "#![allow(unused_imports, unused_variables, dead_code, clippy::todo)] // until the lessons are written";

/// One marked section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its number: `1.a`.
    pub lesson: String,
    /// What its heading says that it is worth.
    pub marks: u32,
    /// What it is about.
    pub title: String,
    /// The function's name.
    pub function: String,
    /// Where its body is, in bytes, with both braces.
    body: Range<usize>,
    /// Whether it is only withheld, and no lesson to write.
    is_withheld: bool,
}

impl Section {
    /// Its body in `source`.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.body.clone()).unwrap_or_default()
    }

    /// The line of `source` on which its body begins, from 1.
    pub fn line(&self, source: &str) -> usize {
        let source = as_compiled(source);
        1 + source.get(..self.body.start).unwrap_or_default().matches('\n').count()
    }
}

/// The longest source that is read, in bytes: twice the longest of ours.
const LONGEST: usize = 64 << 10;
/// How much stack parsing gets, in bytes. The parser calls itself for each level of nesting, of which one byte of source can
/// begin one (`<<<<`), and a level takes up to 4.3 KB where the compiler optimises. Elsewhere it is ten times that, and a
/// source made for it could still end the program. What is not used takes no memory.
const STACK: usize = 512 << 20;

/// The marked sections of a source, from top to bottom.
///
/// # Errors
/// In words, when it is no Rust, or too long; when a heading that begins like a lesson's is not written as one, stands twice,
/// or within another section.
pub fn sections(source: &str) -> Result<Vec<Section>> {
    Ok(sections_of(&as_compiled(source))?.into_iter().filter(|section| !section.is_withheld).collect())
}

/// What the compiler sees of a file: no byte order mark, and lines that end in one way.
fn as_compiled(source: &str) -> Cow<'_, str> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    if source.contains("\r\n") { source.replace("\r\n", "\n").into() } else { source.into() }
}

fn sections_of(source: &str) -> Result<Vec<Section>> {
    if source.len() > LONGEST {
        return Err(Error::usage(format!("it is longer than {} KiB", LONGEST >> 10)));
    }
    let found = with_deep_stack(|| {
        // Not `syn::parse_file`: it cuts off a line `#!…`, and positions would then be those in what is left.
        let file = parsed(source)?;
        let mut finder = Finder { found: Ok(Vec::new()), within: None };
        finder.visit_file(&file);
        finder.found
    })?;
    let mut lessons = BTreeSet::new();
    match found.iter().find(|section| !lessons.insert((&section.lesson, section.is_withheld))) {
        Some(twice) => Err(Error::usage(format!("lesson {} stands twice", twice.lesson))),
        None => Ok(found),
    }
}

fn parsed(source: &str) -> Result<syn::File> {
    let at = |line: usize, why: String| Error::usage(format!("line {line}: {why}"));
    let tokens: TokenStream =
        source.parse().map_err(|why: proc_macro2::LexError| at(why.span().start().line, why.to_string()))?;
    syn::parse2(tokens).map_err(|why| at(why.span().start().line, why.to_string()))
}

fn with_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.or_cannot("start", "a thread for the parser")?;
        thread.join().unwrap_or_else(|_| Err(Error::usage("the parser gave up on it")))
    })
}

/// The source with every section unwritten; one that is unwritten already stays as it is.
///
/// # Errors
/// Those of [`sections`].
pub fn unwritten(source: &str) -> Result<String> {
    with_bodies(source, todo)
}

/// The source with the bodies that its sections have in another one, and the lessons that the other one lacks: these are
/// unwritten.
///
/// # Errors
/// Those of [`sections`], of either.
pub fn with_bodies_of(source: &str, donor: &str) -> Result<(String, Vec<String>)> {
    let donor = as_compiled(donor);
    let theirs = sections_of(&donor)?;
    let ours = as_compiled(source);
    let body_of = |section: &Section| {
        if section.is_withheld {
            return ours.get(section.body.clone());
        }
        let same = theirs.iter().find(|other| other.lesson == section.lesson && !other.is_withheld)?;
        donor.get(same.body.clone()).filter(|body| is_one_block(body))
    };
    let missing = sections(source)?.into_iter().filter(|section| body_of(section).is_none());
    let missing = missing.map(|section| section.lesson).collect();
    let text =
        with_bodies(source, |section, indent| body_of(section).map_or_else(|| todo(section, indent), str::to_owned))?;
    Ok((text, missing))
}

/// What a section says before it is written.
fn todo(section: &Section, indent: &str) -> String {
    let todo = match section.is_withheld {
        true => format!("withheld with Lesson {}, whose solution it would show", section.lesson),
        false => format!("Lesson {}: {}", section.lesson, section.title),
    };
    format!("{{\n{indent}    todo!({todo:?})\n{indent}}}")
}

/// Whether a text is a body and nothing beside it.
fn is_one_block(text: &str) -> bool {
    text.starts_with('{')
        && text.ends_with('}')
        && with_deep_stack(|| Ok(syn::parse_str::<Block>(text).is_ok())).is_ok_and(|is_block| is_block)
}

/// The source with other bodies for its sections; `body` is told how far the function is indented.
fn with_bodies(source: &str, body: impl Fn(&Section, &str) -> String) -> Result<String> {
    let source = as_compiled(source);
    let mut text = source.clone().into_owned();
    // From the end, so that what is before stays where it was found.
    for section in sections_of(&source)?.into_iter().rev() {
        let line = source.get(..section.body.start).and_then(|before| before.lines().last()).unwrap_or_default();
        let indent: String = line.chars().take_while(|letter| letter.is_whitespace()).collect();
        text.replace_range(section.body.clone(), &body(&section, &indent));
    }
    Ok(text)
}

/// The root of a crate with [`UNUSED_YET`] after the comment that it begins with.
pub fn with_unused_allowed(root: &str) -> String {
    let (comment, rest) = beginning(root);
    if rest.starts_with(UNUSED_YET) {
        return root.to_owned();
    }
    let blank = if comment.is_empty() || comment.ends_with("\n\n") { "" } else { "\n" };
    format!("{comment}{blank}{UNUSED_YET}\n\n{rest}")
}

/// The root of a crate without the line that [`with_unused_allowed`] put there. Nowhere else is it looked for: within other
/// text, what is cut out could make code of a comment.
fn without_unused_allowed(root: &str) -> String {
    let (comment, rest) = beginning(root);
    let rest = rest.strip_prefix(UNUSED_YET).filter(|rest| rest.starts_with('\n')).unwrap_or(rest);
    format!("{comment}{rest}")
}

/// Divides a source after the comment that it begins with, whole lines of it, and empty ones.
fn beginning(root: &str) -> (&str, &str) {
    let is_of_it = |line: &&str| line.starts_with("//!") || line.trim().is_empty();
    root.split_at(root.split_inclusive('\n').take_while(is_of_it).map(str::len).sum())
}

/// Whether two sources are the same but for the bodies of their sections and what these are worth, layout, plain comments and
/// [`UNUSED_YET`]. Marks are the instructor's, who may change them after the handout.
///
/// # Errors
/// Those of [`sections`].
pub fn agree_outside(one: &str, other: &str) -> Result<bool> {
    let outside = |source: &str| {
        let source = without_marks(&without_unused_allowed(&unwritten(source)?));
        with_deep_stack(|| {
            let tokens: TokenStream =
                source.parse().map_err(|why: proc_macro2::LexError| Error::usage(why.to_string()))?;
            Ok(tokens.to_string())
        })
    };
    Ok(outside(one)? == outside(other)?)
}

/// The source without the marks in its headings.
fn without_marks(source: &str) -> String {
    let plain = |line: &str| {
        let is_heading = line.trim_start().starts_with("/// # Lesson ");
        match (line.split_once(" ("), line.split_once(" marks): ")) {
            (Some((lesson, _)), Some((_, title))) if is_heading => format!("{lesson}: {title}"),
            _ => line.to_owned(),
        }
    };
    source.lines().map(plain).collect::<Vec<_>>().join("\n")
}

struct Finder {
    found: Result<Vec<Section>>,
    /// The lesson whose body is being looked at.
    within: Option<String>,
}

impl Finder {
    /// Takes a function for a section when it is one, and looks at what is inside it by `deeper`.
    fn look_at(
        &mut self,
        attributes: &[Attribute],
        signature: &Signature,
        block: &Block,
        deeper: impl FnOnce(&mut Self),
    ) {
        let before = self.within.clone();
        if let Some(heading) = attributes.iter().filter_map(doc_line).find_map(lesson_heading) {
            let found = heading.and_then(|Heading { lesson, marks, title, is_withheld }| match &self.within {
                Some(outer) => Err(Error::usage(format!("lesson {lesson} stands within lesson {outer}"))),
                None => {
                    let braces = block.brace_token.span;
                    let body = braces.open().byte_range().start..braces.close().byte_range().end;
                    Ok(Section { lesson, marks, title, function: signature.ident.to_string(), body, is_withheld })
                }
            });
            self.within = found.as_ref().ok().map(|section| section.lesson.clone());
            match (&mut self.found, found) {
                (Ok(sections), Ok(section)) => sections.push(section),
                (Ok(_), Err(why)) => self.found = Err(Error::usage(format!("{}: {why}", signature.ident))),
                (Err(_), _) => (),
            }
        }
        deeper(self);
        self.within = before;
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look_at(&function.attrs, &function.sig, &function.block, |inner| visit::visit_item_fn(inner, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look_at(&function.attrs, &function.sig, &function.block, |inner| {
            visit::visit_impl_item_fn(inner, function)
        });
    }
}

/// The text of one line of a doc comment.
fn doc_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// What a heading says, such as `# Lesson 1.a (6 marks): create child 1` or `# Withheld with lesson 1.a`.
struct Heading {
    lesson: String,
    marks: u32,
    title: String,
    is_withheld: bool,
}

/// Reads a heading; none when it is no lesson's.
fn lesson_heading(line: String) -> Option<Result<Heading>> {
    if let Some(lesson) = line.strip_prefix("# Withheld with lesson ") {
        let lesson = lesson.to_owned();
        return Some(Ok(Heading { lesson, marks: 0, title: String::new(), is_withheld: true }));
    }
    let rest = line.strip_prefix("# Lesson ")?;
    let parts = || {
        let (lesson, rest) = rest.split_once(" (")?;
        let (marks, title) = rest.split_once(" marks): ")?;
        let (lesson, title) = (lesson.to_owned(), title.to_owned());
        Some(Heading { lesson, marks: marks.parse().ok()?, title, is_withheld: false })
    };
    Some(parts().ok_or_else(|| {
        Error::usage(format!("{line:?} is no heading like \"# Lesson 1.a (6 marks): what it is about\""))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"//! A program.

use std::io;

/// # Lesson 1.a (6 marks): say "hello"
///
/// On stdout.
fn hello(to: &str) -> io::Result<()> {
    // A brace that is none: }
    println!("}} hello {to}");
    Ok(())
}

struct Greeter;

impl Greeter {
    /// # Lesson 1.b (4 marks): say it again
    pub fn again(&self) { hello("again").ok(); }

    /// # Errors
    /// None.
    fn given(&self) -> u32 {
        7
    }
}
"#;

    #[test]
    fn sections_are_functions_with_a_lessons_heading() {
        let found = sections(SOURCE).unwrap();
        let told: Vec<_> = found.iter().map(|one| (one.lesson.as_str(), one.marks, one.function.as_str())).collect();
        assert_eq!(told, [("1.a", 6, "hello"), ("1.b", 4, "again")]);
        assert_eq!(found[0].title, "say \"hello\"");
    }

    #[test]
    fn unwritten_a_section_keeps_its_words_and_its_signature_and_loses_its_body() {
        let text = unwritten(SOURCE).unwrap();
        assert!(text.contains("/// On stdout.\nfn hello(to: &str) -> io::Result<()> {\n    todo!(\"Lesson 1.a: say \\\"hello\\\"\")\n}\n"), "{text}");
        assert!(
            text.contains("    pub fn again(&self) {\n        todo!(\"Lesson 1.b: say it again\")\n    }\n"),
            "{text}"
        );
        assert!(text.contains("fn given(&self) -> u32 {\n        7\n    }") && !text.contains("println"), "{text}");
        assert_eq!(unwritten(&text).unwrap(), text, "what is unwritten stays as it is");
        assert_eq!(sections(&text).unwrap().len(), 2);
    }

    #[test]
    fn what_is_within_sections_may_differ_and_what_is_outside_may_not() {
        let agree = |from: &str, to: &str| agree_outside(SOURCE, &SOURCE.replacen(from, to, 1)).unwrap();
        assert!(agree("Ok(())", "use std::io::Write; io::stdout().flush()"));
        assert!(agree("use std::io;", "use  std::io ; // a remark"));
        assert!(agree_outside(SOURCE, &with_unused_allowed(&unwritten(SOURCE).unwrap())).unwrap());
        assert!(!agree("7", "8"));
        assert!(!agree("to: &str", "to: String"));
        assert!(!agree("/// On stdout.", "/// On stderr."));
        assert!(!agree("# Lesson 1.b (4 marks): say it again", "Nothing to see here."));
        assert!(!agree("use std::io;", "use std::io; use std::fs;"));
        assert!(agree_outside(SOURCE, "fn {").unwrap_err().reason().starts_with("line 1: "));
    }

    #[test]
    fn bodies_put_back_into_a_starter_give_the_solution() {
        let starter = unwritten(SOURCE).unwrap();
        assert_eq!(with_bodies_of(&starter, SOURCE).unwrap(), (SOURCE.to_owned(), vec![]));
        let theirs = SOURCE.replace("Ok(())", "Err(io::ErrorKind::Other.into())").replace("7", "8");
        let (grafted, _) = with_bodies_of(&starter, &theirs).unwrap();
        assert!(grafted.contains("ErrorKind::Other") && grafted.contains('7') && !grafted.contains('8'), "{grafted}");
        let without = SOURCE.replace("# Lesson 1.b (4 marks): ", "");
        let (grafted, missing) = with_bodies_of(SOURCE, &without).unwrap();
        assert!(grafted.contains("todo!(\"Lesson 1.b: ") && grafted.contains("hello {to}"), "{grafted}");
        assert_eq!(missing, ["1.b"]);
    }

    #[test]
    fn a_byte_order_mark_and_the_line_ends_of_windows_are_no_change() {
        let windows = format!("\u{feff}{}", SOURCE.replace('\n', "\r\n"));
        assert_eq!(with_bodies_of(SOURCE, &windows).unwrap(), (SOURCE.to_owned(), vec![]));
        assert!(agree_outside(SOURCE, &windows).unwrap());
        assert!(with_bodies_of(SOURCE, &format!("\n#!/bin/{SOURCE}")).is_err());
        assert!(
            with_bodies_of(SOURCE, &format!("#!/bin/cargo\n{SOURCE}")).unwrap_err().reason().starts_with("line 1: ")
        );
    }

    #[test]
    fn no_code_hides_from_the_comparison() {
        let beside = |what: &str| agree_outside(SOURCE, &format!("{SOURCE}{what}\n"));
        assert!(!beside("fn evil() {}").unwrap());
        assert!(!beside(&format!("/* /{UNUSED_YET}* */ fn evil() {{}} /* *{UNUSED_YET}/ */")).unwrap_or(false));
        let after = format!("{UNUSED_YET}\nfn evil() {{}}");
        assert!(!agree_outside(SOURCE, &SOURCE.replacen("7", &format!("7 {after}"), 1)).unwrap_or(false));
        // Its end would be looked for where it was before the inner one was emptied.
        let inner =
            "/// # Lesson x (1 marks): y\nfn helper() { /* .............................................. */ }\nOk(())";
        let told = agree_outside(SOURCE, &SOURCE.replacen("Ok(())", inner, 1)).unwrap_err().reason();
        assert_eq!(told, "helper: lesson x stands within lesson 1.a");
        let twice = format!("{SOURCE}#[cfg(any())]\n/// # Lesson 1.a (6 marks): again\nfn dead() {{}}\n");
        assert_eq!(sections(&twice).unwrap_err().reason(), "lesson 1.a stands twice");
    }

    #[test]
    fn what_is_nested_deeply_is_read_and_without_end_is_refused() {
        // A test is not optimised.
        let levels = if cfg!(debug_assertions) { LONGEST / 16 } else { LONGEST - 100 };
        assert_eq!(sections(&format!("fn deep(it: {}u8) {{}}", "&".repeat(levels))).unwrap(), vec![]);
        assert!(sections(&format!("fn deep(it: {}u8) {{}}", "<".repeat(levels))).is_err());
        assert_eq!(sections(&"&".repeat(LONGEST + 1)).unwrap_err().reason(), "it is longer than 64 KiB");
    }

    #[test]
    fn what_would_show_a_solution_is_emptied_too_and_a_graft_has_ours() {
        let source =
            SOURCE.replace("    /// # Errors\n", "    /// # Withheld with lesson 1.a\n    ///\n    /// # Errors\n");
        let starter = unwritten(&source).unwrap();
        assert!(starter.contains("todo!(\"withheld with Lesson 1.a, whose solution it would show\")"), "{starter}");
        assert_eq!(sections(&source).unwrap().len(), 2);
        assert!(agree_outside(&source, &starter).unwrap());
        let theirs = starter.replace("todo!(\"withheld with Lesson 1.a, whose solution it would show\")", "8");
        let (grafted, missing) = with_bodies_of(&source, &theirs).unwrap();
        assert!(grafted.contains("        7\n") && missing.is_empty(), "{grafted}");
    }

    #[test]
    fn the_roots_comment_stays_first() {
        let root = with_unused_allowed(SOURCE);
        assert!(root.starts_with(&format!("//! A program.\n\n{UNUSED_YET}\n\nuse std::io;\n")), "{root}");
        assert_eq!(with_unused_allowed(&root), root);
        assert_eq!(with_unused_allowed("fn main() {}\n"), format!("{UNUSED_YET}\n\nfn main() {{}}\n"));
    }

    #[test]
    fn a_heading_that_is_misspelt_is_an_error_and_no_silence() {
        for wrong in ["# Lesson 1.a: hello", "# Lesson 1.a (six marks): hello", "# Lesson 1.a (6 marks)"] {
            let told = sections(&format!("/// {wrong}\nfn hello() {{}}\n")).unwrap_err().reason();
            assert!(told.starts_with("hello: ") && told.contains("is no heading like"), "{told}");
        }
    }
}
