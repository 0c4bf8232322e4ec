//! Repairs what Windows, mail or a web form do to a script: line ends, a byte order mark, lost run bits.
//!
//! Each keeps a right script from running and is not the student's mistake. So it is repaired, and the report says so.

use crate::sandbox::{FileKind, SandboxFile};

/// Puts the scripts among `files` right; says what was done.
pub fn repair(files: &mut [SandboxFile]) -> Vec<String> {
    let (mut ends, mut marks, mut bits) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let name = file.path.display().to_string();
        let by_name = is_text_by_name(&name);
        let FileKind::File { bytes, mode } = &mut file.what else { continue };
        // Three bytes by which some editors say that a text is UTF-8. The kernel finds no `#!` behind them.
        let marked = bytes.strip_prefix(b"\xef\xbb\xbf");
        let is_script = marked.unwrap_or(bytes).starts_with(b"#!") || name.ends_with(".sh");
        if !(is_script || by_name) || bytes.contains(&0) {
            continue;
        }
        if let Some(text) = marked {
            *bytes = text.to_vec();
            marks.push(name.clone());
        }
        if bytes.windows(2).any(|pair| pair == b"\r\n") {
            *bytes = String::from_utf8_lossy(bytes).replace("\r\n", "\n").into_bytes();
            ends.push(name.clone());
        }
        if is_script && bytes.starts_with(b"#!") && *mode & 0o111 == 0 {
            *mode |= 0o755;
            bits.push(name);
        }
    }
    let told = [
        (ends, "Windows ends of lines (CRLF), taken out"),
        (marks, "a byte order mark before the first line, taken out"),
        (bits, "no run bit, given one"),
    ];
    let told = told.into_iter().filter(|(names, _)| !names.is_empty());
    told.map(|(names, what)| format!("{what}: {}", names.join(", "))).collect()
}

/// Whether a file is one that make, a shell or a conductor reads line by line, though it does not begin with `#!`.
fn is_text_by_name(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    ["Makefile", "makefile", "Conductorfile"].contains(&last) || last.ends_with(".py")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, mode: u32) -> SandboxFile {
        SandboxFile { path: path.into(), what: FileKind::File { bytes: text.into(), mode } }
    }

    #[test]
    fn scripts_are_put_right_and_told_and_nothing_else_is_touched() {
        let mut files = [
            file("a.sh", "\u{feff}#!/bin/bash\r\necho a\r\n", 0o644),
            file("b", "#!/bin/sh\n", 0o600),
            file("c.txt", "x\r\n", 0o644),
            file("d.sh", "#!/bin/bash\n", 0o755),
            file("e.sh", "X=1\n", 0o644),
        ];
        let told = repair(&mut files);
        let all = [
            "Windows ends of lines (CRLF), taken out: a.sh",
            "a byte order mark before the first line, taken out: a.sh",
            "no run bit, given one: a.sh, b",
        ];
        assert_eq!(told, all);
        let FileKind::File { bytes, mode } = &files[0].what else { panic!() };
        assert_eq!((bytes.as_slice(), *mode), (&b"#!/bin/bash\necho a\n"[..], 0o755));
        assert!(matches!(&files[2].what, FileKind::File { bytes, .. } if bytes == b"x\r\n"));
        assert!(matches!(&files[4].what, FileKind::File { mode: 0o644, .. }));
    }
}
