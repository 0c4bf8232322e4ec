//! Marked sections: the functions of a Rust source that a student writes.
//!
//! A section is a whole function whose doc comment has a heading `# Lesson 1.a (6 marks): what it is about`. The language
//! ends it, its signature is kept, and it is unwritten while its body is `todo!("Lesson 1.a: …")`. What is compared outside
//! of sections are the compiler's tokens: another layout and other plain comments are no change.

use std::ops::Range;

use proc_macro2::TokenStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, ExprLit, Lit, Meta, Signature};

/// What the root of a crate says as long as lessons are unwritten: what they would use is not used yet.
pub const UNUSED_YET: &str = "#![allow(unused, clippy::todo)] // until the lessons are written";

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
}

/// Whether a source has marked sections.
pub fn is_marked(source: &str) -> bool {
    source.contains("/// # Lesson ")
}

/// The marked sections of a source, from top to bottom.
///
/// # Errors
/// In words, when it is no Rust, or a heading that begins like a lesson's is not written as one.
pub fn sections(source: &str) -> Result<Vec<Section>, String> {
    let file = syn::parse_file(source).map_err(|why| format!("line {}: {why}", why.span().start().line))?;
    let mut finder = Finder { found: Ok(Vec::new()) };
    finder.visit_file(&file);
    finder.found
}

/// The source with every section unwritten; one that is unwritten already stays as it is.
///
/// # Errors
/// Those of [`sections`].
pub fn unwritten(source: &str) -> Result<String, String> {
    with_bodies(source, |section, indent| {
        let todo = format!("Lesson {}: {}", section.lesson, section.title);
        Ok(format!("{{\n{indent}    todo!({todo:?})\n{indent}}}"))
    })
}

/// The source with the bodies that its sections have in another one.
///
/// # Errors
/// Those of [`sections`], of either; when the other one lacks a section.
pub fn with_bodies_of(source: &str, donor: &str) -> Result<String, String> {
    let theirs = sections(donor)?;
    with_bodies(source, |section, _| {
        let same = theirs.iter().find(|other| other.lesson == section.lesson);
        let body = same.and_then(|other| donor.get(other.body.clone()));
        body.map(str::to_owned).ok_or_else(|| format!("no function is marked as lesson {}", section.lesson))
    })
}

/// The source with other bodies for its sections; `body` is told how far the function is indented.
fn with_bodies(source: &str, body: impl Fn(&Section, &str) -> Result<String, String>) -> Result<String, String> {
    let mut text = source.to_owned();
    // From the end, so that what is before stays where it was found.
    for section in sections(source)?.into_iter().rev() {
        let line = source.get(..section.body.start).and_then(|before| before.lines().last()).unwrap_or_default();
        let indent: String = line.chars().take_while(|letter| letter.is_whitespace()).collect();
        text.replace_range(section.body.clone(), &body(&section, &indent)?);
    }
    Ok(text)
}

/// The root of a crate with [`UNUSED_YET`] after the comment that it begins with.
pub fn with_unused_allowed(root: &str) -> String {
    if root.contains(UNUSED_YET) {
        return root.to_owned();
    }
    let comment: usize = root.split_inclusive('\n').take_while(|line| line.starts_with("//!")).map(str::len).sum();
    let (comment, rest) = root.split_at(comment);
    let blank = if comment.is_empty() { "" } else { "\n" };
    format!("{comment}{blank}{UNUSED_YET}\n\n{}", rest.trim_start_matches('\n'))
}

/// Whether two sources are the same but for the bodies of their sections, layout, plain comments and [`UNUSED_YET`].
///
/// # Errors
/// Those of [`sections`].
pub fn agree_outside(one: &str, other: &str) -> Result<bool, String> {
    let outside = |source: &str| -> Result<String, String> {
        let tokens: TokenStream =
            unwritten(source)?.replace(UNUSED_YET, "").parse().map_err(|why: proc_macro2::LexError| why.to_string())?;
        Ok(tokens.to_string())
    };
    Ok(outside(one)? == outside(other)?)
}

struct Finder {
    found: Result<Vec<Section>, String>,
}

impl Finder {
    fn look_at(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        let Ok(found) = &mut self.found else { return };
        let Some(heading) = attributes.iter().filter_map(doc_line).find_map(lesson_heading) else { return };
        match heading {
            Ok((lesson, marks, title)) => found.push(Section {
                lesson,
                marks,
                title,
                function: signature.ident.to_string(),
                body: block.brace_token.span.open().byte_range().start..block.brace_token.span.close().byte_range().end,
            }),
            Err(why) => self.found = Err(format!("{}: {why}", signature.ident)),
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look_at(&function.attrs, &function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look_at(&function.attrs, &function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
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

/// Number, marks and title of a heading such as `# Lesson 1.a (6 marks): create child 1`; none when it is no lesson's.
fn lesson_heading(line: String) -> Option<Result<(String, u32, String), String>> {
    let rest = line.strip_prefix("# Lesson ")?;
    let parts = || {
        let (lesson, rest) = rest.split_once(" (")?;
        let (marks, title) = rest.split_once(" marks): ")?;
        Some((lesson.to_owned(), marks.parse().ok()?, title.to_owned()))
    };
    Some(parts().ok_or_else(|| format!("{line:?} is no heading like \"# Lesson 1.a (6 marks): what it is about\"")))
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
        assert!(agree_outside(SOURCE, "fn {").unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn bodies_put_back_into_a_starter_give_the_solution() {
        let starter = unwritten(SOURCE).unwrap();
        assert_eq!(with_bodies_of(&starter, SOURCE).unwrap(), SOURCE);
        let theirs = SOURCE.replace("Ok(())", "Err(io::ErrorKind::Other.into())").replace("7", "8");
        let grafted = with_bodies_of(&starter, &theirs).unwrap();
        assert!(grafted.contains("ErrorKind::Other") && grafted.contains('7') && !grafted.contains('8'), "{grafted}");
        let without = SOURCE.replace("# Lesson 1.b (4 marks): ", "");
        assert_eq!(with_bodies_of(&starter, &without).unwrap_err(), "no function is marked as lesson 1.b");
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
            let told = sections(&format!("/// {wrong}\nfn hello() {{}}\n")).unwrap_err();
            assert!(told.starts_with("hello: ") && told.contains("is no heading like"), "{told}");
        }
    }
}
