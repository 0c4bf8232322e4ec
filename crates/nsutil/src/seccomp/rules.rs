//! The same filter as a list of rules, for an OCI runtime to load (`config.json` of a runtime bundle).
//!
//! A rule allows or refuses a call whose arguments pass a list of tests. The upper 32 bits of an argument must be
//! ignored, as the kernel does for these arguments; the only test that can ignore them is *equal under a mask*. "Any
//! value except these" is therefore split into ranges of numbers that agree in their leading bits.
//!
//! Look: `jq .linux.seccomp config.json`. Manual: seccomp_rule_add(3).

use super::{AUDIT, Action, ArgumentCheck, LAST_KNOWN, VSOCK, actions};
use crate::capability::Set;

/// One rule. A call that matches no rule fails with `ENOSYS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The call's number on this machine.
    pub number: u32,
    /// Tests on its arguments; all must pass.
    pub tests: Vec<Test>,
    /// The errno with which it is refused; none allows it.
    pub errno: Option<i32>,
}

/// A test that passes if an argument, under the mask, equals the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Index of the argument, 0 to 5.
    pub argument: u8,
    /// The bits to compare.
    pub mask: u32,
    /// Their required value.
    pub value: u32,
}

/// The rules of a container with these capabilities.
pub fn rules(capabilities: Set) -> Vec<Rule> {
    let action = actions(capabilities);
    (0..=LAST_KNOWN).flat_map(|number| rules_of(number, action(number))).collect()
}

fn rules_of(number: u32, action: Action) -> Vec<Rule> {
    let rule = |tests: &[Test], errno| Rule { number, tests: tests.to_vec(), errno };
    let refuse = |tests: &[Test]| rule(tests, Some(libc::EPERM));
    let is = |argument, value| Test { argument, mask: u32::MAX, value };
    match action {
        Action::Allow => vec![rule(&[], None)],
        Action::Refuse => vec![refuse(&[])],
        Action::Unknown => Vec::new(),
        Action::Socket { audit } => {
            let [family, protocol] = AUDIT;
            let mut rules: Vec<Rule> = others(0, &[family, VSOCK]).map(|test| rule(&[test], None)).collect();
            rules.push(refuse(&[is(0, VSOCK)]));
            if audit {
                rules.push(rule(&[is(0, family)], None));
            } else {
                rules.extend(others(2, &[protocol]).map(|test| rule(&[is(0, family), test], None)));
                rules.push(rule(&[is(0, family), is(2, protocol)], Some(libc::EPROTONOSUPPORT)));
            }
            rules
        }
        Action::Check(ArgumentCheck { argument, test }) => match test {
            super::Test::NoneOfBits(bits) => {
                let one = |bit: u32| 1 << bit;
                let set = (0..32).map(one).filter(|bit| bits & bit != 0);
                let refused = set.map(|bit| refuse(&[Test { argument, mask: bit, value: bit }]));
                std::iter::once(rule(&[Test { argument, mask: bits, value: 0 }], None)).chain(refused).collect()
            }
            super::Test::OneOf(values) => {
                let allowed = values.iter().map(|value| rule(&[is(argument, *value)], None));
                allowed.chain(others(argument, values).map(|test| refuse(&[test]))).collect()
            }
            super::Test::NoneOf(values) => {
                let allowed = others(argument, values).map(|test| rule(&[test], None));
                allowed.chain(values.iter().map(|value| refuse(&[is(argument, *value)]))).collect()
            }
        },
    }
}

/// Tests for "none of `values`": any other number passes exactly one of them.
fn others(argument: u8, values: &[u32]) -> impl Iterator<Item = Test> {
    let mut pieces = Vec::new();
    split(values, 32, 0, &mut pieces);
    pieces.into_iter().map(move |(mask, value)| Test { argument, mask, value })
}

/// Adds to `pieces` the numbers that agree with `value` in all but their last `bits` bits, without `values`.
fn split(values: &[u32], bits: u32, value: u32, pieces: &mut Vec<(u32, u32)>) {
    let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
    let inside: Vec<u32> = values.iter().copied().filter(|other| other & mask == value).collect();
    if inside.is_empty() {
        pieces.push((mask, value));
    } else if let Some(bits) = bits.checked_sub(1) {
        split(&inside, bits, value, pieces);
        split(&inside, bits, value | 1 << bits, pieces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_all_numbers_but_those() {
        let values = [0, 0x5412, 0x541c, u32::MAX];
        let tests: Vec<Test> = others(0, &values).collect();
        let passed = |number: u32| tests.iter().filter(|test| number & test.mask == test.value).count();
        for value in values {
            assert_eq!(passed(value), 0, "{value:#x}");
            for near in [value.wrapping_add(1), value.wrapping_sub(1), value ^ 0x8000_0000] {
                assert_eq!(passed(near), usize::from(!values.contains(&near)), "{near:#x}");
            }
        }
    }

    #[test]
    fn every_call_is_let_through_or_refused_and_never_both() {
        let rules = rules(Set::default());
        let of = |number: i64| rules.iter().filter(move |rule| i64::from(rule.number) == number).collect::<Vec<_>>();
        assert_eq!(of(libc::SYS_read), [&Rule { number: libc::SYS_read as u32, tests: vec![], errno: None }]);
        assert_eq!(of(libc::SYS_mount)[0].errno, Some(libc::EPERM));
        assert!(of(libc::SYS_clone3).is_empty(), "not there");
        assert!(of(libc::SYS_ioctl).len() > 10);
    }
}
