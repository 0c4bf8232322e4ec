//! Text of a submission, made safe to show.
//!
//! A terminal acts on control characters: an escape sequence can clear the screen, change the window's title or recolour a
//! verdict. So every text that a submission chose passes through [`drawn`] before it is printed.
//!
//! Look: `printf '\033[2J'` clears the screen. Manual: console_codes(4).

/// `text` as it is safe to show on a terminal: each control character drawn, none passed on.
pub fn drawn(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push('→'),
            '\u{0}'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('␡'),
            // C1 controls, and the marks that turn the direction of writing.
            '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(c.escape_unicode());
            }
            _ => shown.push(c),
        }
    }
    shown
}

/// `text` without terminal control sequences (ECMA-48: CSI, OSC and two-character escapes).
pub fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']') => {
                while let Some(c) = rest.next() {
                    if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            }
            Some(' '..='/') => {
                rest.next();
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}a\u{8}\u{9b}31m\u{202e}b";
        assert!(drawn(hostile).chars().all(|c| !c.is_control() && c != '\u{202e}'), "{}", drawn(hostile));
        assert_eq!(without_escapes("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;t\u{1b}\\x"), "red x");
    }
}
