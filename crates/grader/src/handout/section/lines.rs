//! Marked sections of C and bash: the lines between two comments.
//!
//! ```text
//! # BEGIN LESSON 3.b (8 marks): let a new process join a container
//! nsenter --target "$pid" …
//! # END LESSON 3.b
//! ```
//!
//! A section stands inside of a function or of a script, and is unwritten while it only says so and ends the program: in the
//! words of Rust's `todo!`, by which the judge knows a lesson that is not written yet. What is compared outside of sections
//! are lines, but for blanks at their ends.

use std::collections::BTreeSet;

use super::{Section, as_compiled};
use crate::error::{Error, Result};

/// A language whose sections are lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Comments as `/* … */` or `// …`.
    C,
    /// Comments as `# …`.
    Bash,
}

/// Letters that a title may not have: in a string of C or of bash they mean something else.
const SPECIAL: [char; 5] = ['"', '\\', '%', '$', '`'];

/// The marked sections of a source, from top to bottom.
///
/// # Errors
/// In words, with the line, when a pair of comments is not written as one, or a lesson stands twice or within another.
pub fn sections(source: &str, language: Language) -> Result<Vec<Section>> {
    let source = as_compiled(source);
    let (mut found, mut open, mut lessons) = (Vec::new(), None::<(Section, usize)>, BTreeSet::new());
    let mut at = 0;
    for (line, number) in source.split_inclusive('\n').zip(1..) {
        let wrong = |why: String| Error::usage(format!("line {number}: {why}"));
        let (begins, ends) = (at, at + line.len());
        at = ends;
        match (language.marker(line), &mut open) {
            (Some(Marker::Begin(heading)), None) => {
                let section = heading_of(heading, ends).map_err(|why| wrong(why.reason()))?;
                if !lessons.insert(section.lesson.clone()) {
                    return Err(wrong(format!("lesson {} stands twice", section.lesson)));
                }
                open = Some((section, number));
            }
            (Some(Marker::Begin(heading)), Some((outer, _))) => {
                return Err(wrong(format!("LESSON {heading} stands within lesson {}", outer.lesson)));
            }
            (Some(Marker::End(lesson)), Some((section, from))) if lesson == section.lesson => {
                section.body.end = begins;
                section.function = format!("lines {from} to {number}");
                found.extend(open.take().map(|(section, _)| section));
            }
            (Some(Marker::End(lesson)), _) => {
                return Err(wrong(format!("END LESSON {lesson} ends a lesson that did not begin")));
            }
            (None, _) => {}
        }
    }
    match open {
        Some((section, number)) => Err(Error::usage(format!("line {number}: lesson {} has no end", section.lesson))),
        None => Ok(found),
    }
}

/// The source with every section unwritten.
///
/// # Errors
/// Those of [`sections`].
pub fn unwritten(source: &str, language: Language) -> Result<String> {
    with_bodies(source, language, |section, indent| language.todo(section, indent))
}

/// The source with the bodies that its sections have in another one, and the lessons that the other one lacks: these are
/// unwritten.
///
/// # Errors
/// Those of [`sections`], of either.
pub fn with_bodies_of(source: &str, donor: &str, language: Language) -> Result<(String, Vec<String>)> {
    let donor = as_compiled(donor);
    let theirs = sections(&donor, language)?;
    let mut missing = Vec::new();
    for section in sections(source, language)? {
        if !theirs.iter().any(|other| other.lesson == section.lesson) {
            missing.push(section.lesson);
        }
    }
    let text = with_bodies(source, language, |section, indent| {
        let same = theirs.iter().find(|other| other.lesson == section.lesson);
        let body = same.and_then(|other| donor.get(other.body.clone()));
        body.map_or_else(|| language.todo(section, indent), str::to_owned)
    })?;
    Ok((text, missing))
}

/// Whether two sources are the same but for the bodies of their sections and what these are worth, and blanks at the ends of
/// lines.
///
/// # Errors
/// Those of [`sections`].
pub fn agree_outside(one: &str, other: &str, language: Language) -> Result<bool> {
    let outside = |source: &str| -> Result<Vec<String>> {
        let text = with_bodies(source, language, |_, _| String::new())?;
        let plain = |line: &str| match language.marker(line) {
            Some(Marker::Begin(heading)) => {
                let (lesson, rest) = heading.split_once(" (").unwrap_or((heading, ""));
                format!("BEGIN {lesson}: {}", rest.split_once("): ").map_or("", |(_, title)| title))
            }
            _ => line.trim_end().to_owned(),
        };
        Ok(text.lines().map(plain).collect())
    };
    Ok(outside(one)? == outside(other)?)
}

/// The source without the comments that mark its sections.
pub fn without_markers(source: &str, language: Language) -> String {
    source.split_inclusive('\n').filter(|line| language.marker(line).is_none()).collect()
}

/// What a comment that marks a section says.
enum Marker<'a> {
    /// `1.a (6 marks): what it is about`.
    Begin(&'a str),
    /// `1.a`.
    End(&'a str),
}

impl Language {
    /// What a line marks, if it is a comment that marks something.
    fn marker(self, line: &str) -> Option<Marker<'_>> {
        let line = line.trim();
        let comment = match self {
            Language::C => match line.strip_prefix("/*") {
                Some(rest) => rest.strip_suffix("*/")?,
                None => line.strip_prefix("//")?,
            },
            Language::Bash => line.strip_prefix('#')?,
        };
        let comment = comment.trim();
        let begin = comment.strip_prefix("BEGIN LESSON").map(|heading| Marker::Begin(heading.trim()));
        begin.or_else(|| comment.strip_prefix("END LESSON").map(|lesson| Marker::End(lesson.trim())))
    }

    /// What stands in a section that is not written yet.
    fn todo(self, section: &Section, indent: &str) -> String {
        let says = format!("not yet implemented: Lesson {}: {}", section.lesson, section.title);
        match self {
            Language::C => format!("{indent}fprintf(stderr, \"{says}\\n\");\n{indent}exit(1);\n"),
            Language::Bash => format!("{indent}echo \"{says}\" >&2\n{indent}exit 1\n"),
        }
    }
}

/// The section that a heading begins; its body begins at `body`.
fn heading_of(heading: &str, body: usize) -> Result<Section> {
    let parts = || {
        let (lesson, rest) = heading.split_once(" (")?;
        let (marks, title) = rest.split_once(" marks): ")?;
        let is_plain = !title.is_empty() && !title.contains(SPECIAL) && !lesson.contains(SPECIAL);
        is_plain.then_some((lesson.to_owned(), marks.parse().ok()?, title.to_owned()))
    };
    let (lesson, marks, title) = parts().ok_or_else(|| {
        Error::usage(format!("{heading:?} is no heading like \"BEGIN LESSON 1.a (6 marks): what it is about\""))
    })?;
    Ok(Section { lesson, marks, title, function: String::new(), body: body..body, is_withheld: false })
}

/// The source with other bodies for its sections; `body` is told how far the section is indented.
fn with_bodies(source: &str, language: Language, body: impl Fn(&Section, &str) -> String) -> Result<String> {
    let source = as_compiled(source);
    let mut text = source.clone().into_owned();
    // From the end, so that what is before stays where it was found.
    for section in sections(&source, language)?.into_iter().rev() {
        let heading = source.get(..section.body.start).and_then(|before| before.lines().last()).unwrap_or_default();
        let indent: String = heading.chars().take_while(|letter| letter.is_whitespace()).collect();
        text.replace_range(section.body.clone(), &body(&section, &indent));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "int main(void)\n{\n    int n;\n    /* BEGIN LESSON 1.a (6 marks): count child 1's calls */\n    n = 7;\n    \
        /* END LESSON 1.a */\n    return n;\n}\n";
    const BASH: &str = "# BEGIN LESSON 2.a (8 marks): say it\necho one\n# END LESSON 2.a\necho between\n\
        # BEGIN LESSON 2.b (2 marks): again\necho two\n# END LESSON 2.b\n";

    #[test]
    fn sections_are_the_lines_between_two_comments() {
        let told = |source, language| -> Vec<(String, u32, String)> {
            let found = sections(source, language).unwrap();
            found.into_iter().map(|one| (one.lesson, one.marks, one.title)).collect()
        };
        assert_eq!(told(C, Language::C), [("1.a".to_owned(), 6, "count child 1's calls".to_owned())]);
        let both = [("2.a".to_owned(), 8, "say it".to_owned()), ("2.b".to_owned(), 2, "again".to_owned())];
        assert_eq!(told(BASH, Language::Bash), both);
        assert_eq!(sections(BASH, Language::Bash).unwrap()[1].line(BASH), 6);
    }

    #[test]
    fn unwritten_a_section_says_so_in_the_words_that_the_judge_knows() {
        let text = unwritten(C, Language::C).unwrap();
        let says = "    fprintf(stderr, \"not yet implemented: Lesson 1.a: count child 1's calls\\n\");\n    exit(1);\n    /* END";
        assert!(text.contains(says) && !text.contains("n = 7"), "{text}");
        assert_eq!(unwritten(&text, Language::C).unwrap(), text, "what is unwritten stays as it is");
        let text = unwritten(BASH, Language::Bash).unwrap();
        assert!(text.contains("echo \"not yet implemented: Lesson 2.b: again\" >&2\nexit 1\n# END"), "{text}");
    }

    #[test]
    fn bodies_put_back_into_a_starter_give_the_solution_and_what_is_outside_is_ours() {
        let starter = unwritten(BASH, Language::Bash).unwrap();
        assert_eq!(with_bodies_of(&starter, BASH, Language::Bash).unwrap(), (BASH.to_owned(), vec![]));
        let theirs = BASH.replace("one", "mine").replace("between", "evil").replace('\n', "\r\n");
        let (grafted, _) = with_bodies_of(&starter, &theirs, Language::Bash).unwrap();
        assert_eq!(grafted, BASH.replace("one", "mine"));
        let (grafted, missing) =
            with_bodies_of(BASH, "# BEGIN LESSON 2.b (2 marks): x\n# END LESSON 2.b\n", Language::Bash).unwrap();
        assert!(grafted.contains("Lesson 2.a: say it") && !grafted.contains("echo two"), "{grafted}");
        assert_eq!(missing, ["2.a"]);
    }

    #[test]
    fn what_is_within_sections_may_differ_and_what_is_outside_may_not() {
        let agree =
            |from: &str, to: &str| agree_outside(C, &C.replacen(from, to, 1), Language::C).map_err(|why| why.reason());
        assert_eq!(agree("n = 7", "n = 8; /* mine"), Ok(true));
        assert_eq!(agree("int n;", "int n;  "), Ok(true));
        assert_eq!(agree("6 marks", "7 marks"), Ok(true), "marks are the instructor's");
        assert!(agree_outside(C, &unwritten(C, Language::C).unwrap(), Language::C).unwrap());
        assert!(agree_outside(C, &format!("\u{feff}{}", C.replace('\n', "\r\n")), Language::C).unwrap());
        assert_eq!(agree("return n", "return 0"), Ok(false));
        assert_eq!(agree("1.a (", "1.b ("), Err("line 6: END LESSON 1.a ends a lesson that did not begin".to_owned()));
    }

    #[test]
    fn a_pair_that_is_none_is_an_error_and_no_silence() {
        for (source, why) in [
            ("# BEGIN LESSON 1.a: x\n", "is no heading like"),
            ("# BEGIN LESSON 1.a (six marks): x\n", "is no heading like"),
            ("# BEGIN LESSON 1.a (6 marks): say \"x\"\n", "is no heading like"),
            ("# BEGIN LESSON 1.a (6 marks): x\n", "line 1: lesson 1.a has no end"),
            ("# BEGIN LESSON 1.a (6 marks): x\n# BEGIN LESSON 1.b (6 marks): x\n", "line 2: LESSON 1.b"),
            (&format!("{BASH}{BASH}"), "line 8: lesson 2.a stands twice"),
        ] {
            let told = sections(source, Language::Bash).unwrap_err().reason();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn without_its_markers_it_is_the_program_alone() {
        assert_eq!(without_markers(BASH, Language::Bash), "echo one\necho between\necho two\n");
    }
}
