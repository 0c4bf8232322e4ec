//! Firewall rules of containers, as text, and their installation.
//!
//! Each container has its own chain in three tables. One conductor chain for each built-in one, at its end after the
//! user's rules, jumps to them. The policies of built-in chains are never changed:
//!
//! ```text
//! raw     PREROUTING ─ CONDUCTOR-PREROUTING ─ from its veth  ─ conductor-NAME   only its own address may be the sender
//! nat     PREROUTING ─ CONDUCTOR-PREROUTING ─ to this host ─── conductor-NAME   published ports lead inside
//!         OUTPUT ───── CONDUCTOR-OUTPUT ───── to this host ─── conductor-NAME   … for the host's own packets too
//!         POSTROUTING  CONDUCTOR-POSTROUTING                                    who must be hidden behind the host
//! filter  FORWARD ──── CONDUCTOR-FORWARD ──── by its veth ──── conductor-NAME   what passes; the rest does not
//! ```
//!
//! Packets to the internet may leave through any interface that is not a container's link, as the routing table
//! selects: that changes when a VPN comes up or a plug is pulled. `CONDUCTOR-INTERNET` excludes all containers'
//! links.
//!
//! A rule at the end of FORWARD that refuses everything (several distributions have one) acts as a policy: our jump is
//! inserted before it, after all other rules of the user.
//!
//! A packet between containers passes two links. The sender's chain is evaluated first (its jump is inserted at the
//! front), so a permission to send is in one place, the sender's chain, and is removed with it.
//!
//! Look: `iptables -S`, `iptables -t nat -S`. Manual: iptables-extensions(8).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use nsutil::error::Result;
use nsutil::net::link::LONGEST_NAME;
use nsutil::net::nat::{Changes, Firewall, Rules, Table, option_value};

use super::Uplink;
use super::publish::PublishedPort;
use crate::spec::name::ContainerName;
use crate::store::fnv1a;

/// Longest name of a chain, in bytes (`XT_EXTENSION_MAXNAMELEN` less its NUL).
const LONGEST_CHAIN: usize = 28;
/// The built-in chains from which ours are reached, by table; and [`INTERNET`].
const HOOKS: [(Table, &str); 6] = [
    (Table::Raw, "PREROUTING"),
    (Table::Nat, "PREROUTING"),
    (Table::Nat, "OUTPUT"),
    (Table::Nat, "POSTROUTING"),
    (Table::Filter, "FORWARD"),
    (Table::Filter, INTERNET),
];
/// Name of our chain for packets to the internet. It is not a built-in chain: containers' chains jump to it.
const INTERNET: &str = "INTERNET";
/// Comment of rules that belong to no single container: jumps from built-in chains, and rules for [`ForeignTraffic`].
const SHARED_TAG: &str = "conductor";
/// Prefix of the comments of a container's rules.
const TAG: &str = "conductor:";

/// Everything a container's rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Its address, the only permitted source on its link.
    pub address: Ipv4Addr,
    /// The host interface for the internet, if permitted.
    pub internet: Option<Uplink>,
    /// Its published ports.
    pub published: Vec<PublishedPort>,
    /// The containers that it may send to.
    pub peers: Vec<ContainerName>,
}

/// How packets between other networks are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignTraffic {
    /// The host's own rules decide.
    Unchanged,
    /// They are dropped: the host did not forward before conductor enabled it.
    Dropped {
        /// The links at that time. Links added later belong to software that expects forwarding.
        between: BTreeSet<String>,
    },
}

/// Installs the rules of containers, or removes them (`None`), whatever exists already.
///
/// # Errors
/// The firewall tool's own words.
pub fn apply(
    firewall: &Firewall,
    containers: &[(&ContainerName, Option<&Permissions>)],
    foreign_traffic: ForeignTraffic,
) -> Result<()> {
    let mut changes = Changes::default();
    for table in Table::ALL {
        plan(table, &firewall.rules(table)?, containers, &foreign_traffic, &mut changes);
    }
    firewall.make(&changes)
}

/// Whether containers of other stores need forwarding that conductor enabled. Then the last container of one store must
/// not disable it.
///
/// # Errors
/// The firewall tool's own words.
pub fn serves_other_stores(firewall: &Firewall, own: &BTreeSet<ContainerName>) -> Result<bool> {
    let now = firewall.rules(Table::Filter)?;
    let shut = hook_chain("FORWARD");
    let mut others = of_other_stores(&now, &shut, own);
    let internet = internet_chain();
    let is_let_through = |rule: &str| {
        let target = option_value(rule, "-j");
        (target == Some("ACCEPT") || target == Some(internet.as_str()))
            && option_value(rule, "-i").or(option_value(rule, "-o")).is_some()
    };
    Ok(now.of_chain(&shut).any(drops_foreign_traffic)
        && others.any(|name| now.of_chain(&chain(&name)).any(is_let_through)))
}

/// The container of another store that has published a port.
pub fn publisher_of_another_store(
    nat: &Rules,
    own: &BTreeSet<ContainerName>,
    wanted: PublishedPort,
) -> Option<ContainerName> {
    let (protocol, port) = (wanted.protocol.to_string(), wanted.host.to_string());
    let leads_inside = |rule: &str| {
        option_value(rule, "-j") == Some("DNAT")
            && option_value(rule, "-p") == Some(protocol.as_str())
            && option_value(rule, "--dport") == Some(port.as_str())
    };
    of_other_stores(nat, &hook_chain("PREROUTING"), own).find(|name| nat.of_chain(&chain(name)).any(leads_inside))
}

/// The containers of other stores with jumps in a conductor chain.
fn of_other_stores(
    now: &Rules,
    hook_chain: &str,
    own: &BTreeSet<ContainerName>,
) -> impl Iterator<Item = ContainerName> {
    let tagged =
        now.of_chain(hook_chain).filter_map(|rule| option_value(rule, "--comment")?.strip_prefix(TAG)?.parse().ok());
    tagged.filter(|name: &ContainerName| !own.contains(name))
}

/// The links between which foreign packets are dropped.
pub fn links_of_foreign_traffic(now: &Rules) -> BTreeSet<String> {
    let shut = hook_chain("FORWARD");
    let links =
        now.of_chain(&shut).filter(|rule| drops_foreign_traffic(rule)).filter_map(|rule| option_value(rule, "-i"));
    links.map(str::to_owned).collect()
}

/// Whether a rule leads from a built-in chain to one of ours.
pub fn is_jump_of_ours(rule: &str) -> bool {
    option_value(rule, "-j").is_some_and(|target| target.starts_with("CONDUCTOR-"))
}

/// Whether a link's name is that of the host's end of a container's link, of any store.
pub fn is_host_link(link: &str) -> bool {
    link.ends_with("-outside")
}

/// The rule of a built-in chain that refuses everything and precedes our jump, with its index.
pub fn catch_all_refusal<'a>(now: &'a Rules, hook: &str) -> Option<(usize, &'a str)> {
    let refuses = |rule: &str| {
        let without_comment = match (rule.find("-m comment"), rule.find("-j ")) {
            (Some(0), Some(target)) => rule.get(target..).unwrap_or_default(),
            _ => rule,
        };
        without_comment.starts_with("-j DROP") || without_comment.starts_with("-j REJECT")
    };
    let (index, rule) = now.of_chain(hook).enumerate().find(|(_, rule)| refuses(rule))?;
    let ours = now.of_chain(hook).position(is_jump_of_ours);
    ours.is_none_or(|ours| ours > index).then_some((index, rule))
}

/// A rule of other software that redirects packets for this port of the host.
pub fn conflicting_dnat(nat: &Rules, wanted: PublishedPort) -> Option<String> {
    let (protocol, port) = (wanted.protocol.to_string(), wanted.host);
    let holds = |ports: &str| {
        ports.split(',').any(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            first.parse().is_ok_and(|first: u16| first <= port) && last.parse().is_ok_and(|last: u16| port <= last)
        })
    };
    let leads = |(chain, rule): &(&str, &str)| {
        !chain.starts_with("conductor-")
            && matches!(option_value(rule, "-j"), Some("DNAT" | "REDIRECT"))
            && option_value(rule, "-p").is_none_or(|known| known == protocol)
            && option_value(rule, "--dport").or(option_value(rule, "--dports")).is_some_and(holds)
    };
    nat.all().find(leads).map(|(chain, rule)| format!("-A {chain} {rule}"))
}

fn drops_foreign_traffic(rule: &str) -> bool {
    option_value(rule, "-j") == Some("DROP") && option_value(rule, "--comment") == Some(SHARED_TAG)
}

/// The missing or misplaced rules of a container, in iptables(8) syntax.
pub fn missing(
    table: Table,
    now: &Rules,
    name: &ContainerName,
    wanted: &Permissions,
    foreign_traffic: &ForeignTraffic,
) -> Vec<String> {
    let TableRules { chain, jumps } = part(table, name, wanted);
    let own = self::chain(name);
    // In its own chain the order matters.
    let there: Vec<String> = now.of_chain(&own).map(words).collect();
    let rules = chain.iter().enumerate().filter(|(at, rule)| there.get(*at) != Some(&words(rule)));
    let mut missing: Vec<String> = rules.map(|(_, rule)| format!("-A {own} {rule}")).collect();
    if there.len() > chain.len() {
        missing.push(format!("-F {own}"));
    }
    for Jump { hook, rule, .. } in &jumps {
        let hook_chain = hook_chain(hook);
        if !now.of_chain(&hook_chain).any(|known| words(known) == words(rule)) {
            missing.push(format!("-A {hook_chain} {rule}"));
        }
        if *hook != INTERNET && !now.of_chain(hook).any(|rule| option_value(rule, "-j") == Some(hook_chain.as_str())) {
            missing.push(format!("-A {hook} -j {hook_chain}"));
        }
        if let Some((_, rule)) = catch_all_refusal(now, hook) {
            missing.push(format!("-A {hook} -j {hook_chain} before -A {hook} {rule}"));
        }
    }
    if table == Table::Filter {
        for hook in ["FORWARD", INTERNET] {
            let ours = hook_chain(hook);
            let last = last_rules(hook, foreign_traffic);
            let lost = last.iter().find(|rule| !now.of_chain(&ours).any(|known| words(known) == words(rule)));
            missing.extend(lost.map(|rule| format!("-A {ours} {rule}")));
        }
    }
    missing
}

/// A normalised rule, independent of the order of its options and of quotes.
fn words(rule: &str) -> String {
    let mut words: Vec<&str> = rule.split_whitespace().map(|word| word.trim_matches('"')).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The name of a link's end on the host: `NAME-outside`, or with a hash in place of a name that is too long.
pub fn host_link(name: &ContainerName) -> String {
    format!("{}-outside", short(name, LONGEST_NAME - "-outside".len()))
}

/// The name of a link's end in the container: `NAME-inside`, or with a hash in place of a name that is too long.
pub fn container_link(name: &ContainerName) -> String {
    format!("{}-inside", short(name, LONGEST_NAME - "-inside".len()))
}

/// The name of a container's chain, the same in every table.
pub fn chain(name: &ContainerName) -> String {
    format!("conductor-{}", short(name, LONGEST_CHAIN - "conductor-".len()))
}

/// The name if it fits; otherwise `_` and a hash: no container's name begins with `_`.
fn short(name: &ContainerName, room: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    if name.as_str().len() <= room {
        return name.to_string();
    }
    // Thirty bits of the hash, the same in every version of conductor.
    let hash = fnv1a(name.as_str().as_bytes());
    let letters = (0..6).map(|n| char::from(LETTERS[(hash >> (5 * n)) as usize % LETTERS.len()]));
    std::iter::once('_').chain(letters).collect()
}

/// Our chain for a built-in one.
pub fn hook_chain(built_in: &str) -> String {
    format!("CONDUCTOR-{built_in}")
}

/// Our chain for packets to the internet.
pub fn internet_chain() -> String {
    hook_chain(INTERNET)
}

/// A rule of one of the hook chains.
#[derive(Debug, PartialEq, Eq)]
struct Jump {
    hook: &'static str,
    /// Whether it is inserted before those of other containers.
    first: bool,
    rule: String,
}

/// A container's part of one table.
#[derive(Debug, PartialEq, Eq)]
struct TableRules {
    /// Rules of its own chain; empty is no chain.
    chain: Vec<String>,
    jumps: Vec<Jump>,
}

/// The changes from `now` to what is wanted in one table.
fn plan(
    table: Table,
    now: &Rules,
    containers: &[(&ContainerName, Option<&Permissions>)],
    foreign_traffic: &ForeignTraffic,
    changes: &mut Changes,
) {
    let hooks = HOOKS.iter().filter(|(of, _)| *of == table).map(|(_, hook)| *hook);
    let parts: Vec<(&ContainerName, Option<TableRules>)> =
        containers.iter().map(|(name, wanted)| (*name, wanted.map(|wanted| part(table, name, wanted)))).collect();
    let is_ours = |rule: &str| {
        let whose = option_value(rule, "--comment").unwrap_or_default();
        whose == SHARED_TAG || parts.iter().any(|(name, _)| whose == tag(name))
    };
    let somebody_comes = parts.iter().any(|(_, part)| part.is_some());
    let somebody_stays = |ours: &str| now.of_chain(ours).any(|rule| !is_ours(rule));
    // Remove existing rules, and the jump if no container is left.
    for hook in hooks.clone() {
        let ours = hook_chain(hook);
        let jumps = || now.of_chain(hook).filter(|rule| option_value(rule, "-j") == Some(ours.as_str()));
        let refusal = catch_all_refusal(now, hook);
        if somebody_comes || somebody_stays(&ours) {
            if !now.has_chain(&ours) {
                changes.new_chain(table, &ours);
            }
            now.of_chain(&ours).filter(|rule| is_ours(rule)).for_each(|rule| changes.delete(table, &ours, rule));
            let jump = format!("-m comment --comment {SHARED_TAG} -j {ours}");
            match refusal {
                _ if hook == INTERNET => (),
                Some((index, _)) => {
                    // Existing jumps are behind the refusal, so its index stays valid.
                    jumps().for_each(|jump| changes.delete(table, hook, jump));
                    changes.insert_before(table, hook, index, jump);
                }
                None if jumps().next().is_none() => changes.append(table, hook, jump),
                None => (),
            }
        } else {
            jumps().for_each(|jump| changes.delete(table, hook, jump));
            if now.has_chain(&ours) {
                changes.empty_chain(table, &ours);
            }
        }
    }
    for (name, part) in &parts {
        let chain = chain(name);
        match part {
            Some(part) if !part.chain.is_empty() => {
                changes.empty_chain(table, &chain);
                part.chain.iter().for_each(|rule| changes.append(table, &chain, rule));
            }
            _ if now.has_chain(&chain) => changes.remove_chain(table, &chain),
            _ => (),
        }
        for jump in part.iter().flat_map(|part| &part.jumps) {
            let ours = hook_chain(jump.hook);
            if jump.first {
                changes.insert(table, &ours, &jump.rule);
            } else {
                changes.append(table, &ours, &jump.rule);
            }
        }
    }
    for hook in hooks {
        let ours = hook_chain(hook);
        if somebody_comes || somebody_stays(&ours) {
            // After all others.
            last_rules(hook, foreign_traffic).iter().for_each(|rule| changes.append(table, &ours, rule));
        } else if now.has_chain(&ours) {
            // Only now nothing jumps to it.
            changes.remove_chain(table, &ours);
        }
    }
}

/// The rules at the end of a conductor chain that belong to no single container.
fn last_rules(hook: &str, foreign_traffic: &ForeignTraffic) -> Vec<String> {
    match (hook, foreign_traffic) {
        (INTERNET, _) => vec![format!("-m comment --comment {SHARED_TAG} -j ACCEPT")],
        ("FORWARD", ForeignTraffic::Dropped { between }) => {
            let pairs = between.iter().flat_map(|from| between.iter().map(move |to| (from, to)));
            pairs.map(|(from, to)| format!("-i {from} -o {to} -m comment --comment {SHARED_TAG} -j DROP")).collect()
        }
        _ => Vec::new(),
    }
}

/// The comment of a container's rules.
fn tag(name: &ContainerName) -> String {
    format!("{TAG}{name}")
}

/// A container's rules for one table.
fn part(table: Table, name: &ContainerName, wanted: &Permissions) -> TableRules {
    let mut part = match table {
        Table::Raw => raw(name, wanted),
        Table::Nat => nat(name, wanted),
        Table::Filter => filter(name, wanted),
    };
    let tagged = |rule: &mut String| {
        // Writing to a String cannot fail.
        let _ = write!(rule, " -m comment --comment {}", tag(name));
    };
    part.chain.iter_mut().for_each(tagged);
    part.jumps.iter_mut().for_each(|jump| tagged(&mut jump.rule));
    part
}

/// What may arrive on its link.
fn raw(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain, address) = (host_link(name), chain(name), wanted.address);
    TableRules {
        chain: vec![
            // No forged source addresses.
            format!("! -s {address}/32 -j DROP"),
            // With route_localnet the host accepts packets for 127.0.0.0/8 from this link: drop them, except replies,
            // whose address the kernel translates back later.
            "-d 127.0.0.0/8 -j DROP".to_owned(),
        ],
        jumps: vec![Jump { hook: "PREROUTING", first: false, rule: format!("-i {link} -j {chain}") }],
    }
}

/// Address translation.
fn nat(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain, address) = (host_link(name), chain(name), wanted.address);
    let lead_inside = |publish: &PublishedPort| {
        let PublishedPort { address: at, host, inside, protocol } = publish;
        let at = at.map_or(String::new(), |at| format!("-d {at}/32 "));
        format!("{at}-p {protocol} -m {protocol} --dport {host} -j DNAT --to-destination {address}:{inside}")
    };
    // Packets to a container keep their source address.
    let mut jumps = vec![Jump { hook: "POSTROUTING", first: true, rule: format!("-o {link} -j RETURN") }];
    // The internet has no route to 192.168.N.2: it replies to the host, and conntrack translates back.
    let rule = match &wanted.internet {
        Some(Uplink::Any) => Some(format!("-s {address}/32 -j MASQUERADE")),
        Some(Uplink::Interface(interface)) => Some(format!("-s {address}/32 -o {interface} -j MASQUERADE")),
        None => None,
    };
    jumps.extend(rule.map(|rule| Jump { hook: "POSTROUTING", first: false, rule }));
    if !wanted.published.is_empty() {
        for hook in ["PREROUTING", "OUTPUT"] {
            let rule = format!("-m addrtype --dst-type LOCAL -j {chain}");
            jumps.push(Jump { hook, first: false, rule });
        }
        // From 127.0.0.1 of the host, and from the container to itself: it could not reply to either.
        for source in ["127.0.0.0/8".to_owned(), format!("{address}/32")] {
            let rule = format!("-s {source} -o {link} -j MASQUERADE");
            jumps.push(Jump { hook: "POSTROUTING", first: true, rule });
        }
    }
    TableRules { chain: wanted.published.iter().map(lead_inside).collect(), jumps }
}

/// What the host forwards from and to its link.
fn filter(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain) = (host_link(name), chain(name));
    // Replies to permitted packets.
    let mut rules = vec!["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned()];
    rules.extend(wanted.peers.iter().map(|peer| format!("-i {link} -o {} -j ACCEPT", host_link(peer))));
    rules.extend(wanted.internet.iter().map(|way| match way {
        Uplink::Any => format!("-i {link} -j {}", internet_chain()),
        Uplink::Interface(interface) => format!("-i {link} -o {interface} -j ACCEPT"),
    }));
    // Packets to a published port, from outside and from the container itself.
    let published = |publish: &PublishedPort| {
        let PublishedPort { host, inside, protocol, .. } = publish;
        format!(
            "-o {link} -p {protocol} -m {protocol} --dport {inside} \
             -m conntrack --ctstate DNAT --ctorigdstport {host} -j ACCEPT"
        )
    };
    let from_itself = |publish: &PublishedPort| format!("-i {link} {}", published(publish));
    rules.extend(wanted.published.iter().map(from_itself));
    // Reject, so that programs inside fail at once instead of timing out.
    rules.push(format!("-i {link} -j REJECT --reject-with icmp-admin-prohibited"));
    rules.extend(wanted.published.iter().map(published));
    rules.push(format!("-o {link} -j DROP"));
    TableRules {
        chain: rules,
        jumps: vec![
            Jump { hook: "FORWARD", first: true, rule: format!("-i {link} -j {chain}") },
            Jump { hook: "FORWARD", first: false, rule: format!("-o {link} -j {chain}") },
            Jump { hook: INTERNET, first: false, rule: format!("-o {link} -j RETURN") },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::publish::Ports;
    use super::*;

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    fn nothing() -> Permissions {
        Permissions { address: Ipv4Addr::new(192, 168, 1, 2), internet: None, published: vec![], peers: vec![] }
    }

    #[test]
    fn links_carry_the_published_names_as_long_as_they_fit() {
        assert_eq!(
            (host_link(&name("eg")), container_link(&name("eg"))),
            ("eg-outside".to_owned(), "eg-inside".to_owned())
        );
        assert_eq!(host_link(&name("seven77")), "seven77-outside");
        assert_eq!(container_link(&name("eight888")), "eight888-inside");
        let long = name("a-much-longer-name-1");
        let other = name("a-much-longer-name-2");
        for named in [host_link, container_link, chain] {
            assert_ne!(named(&long), named(&other), "the same first letters are not the same name");
        }
        for named in [host_link, container_link] {
            assert!(named(&long).len() <= LONGEST_NAME && named(&long).starts_with('_'), "{}", named(&long));
        }
        let longest = name(&"x".repeat(63));
        assert!(chain(&longest).len() <= LONGEST_CHAIN, "{}", chain(&longest));
        assert_eq!(chain(&name("eg")), "conductor-eg");
    }

    #[test]
    fn without_permissions_nothing_passes_and_every_rule_says_whose_it_is() {
        let part = part(Table::Filter, &name("eg"), &nothing());
        assert_eq!(
            part.chain,
            [
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT -m comment --comment conductor:eg",
                "-i eg-outside -j REJECT --reject-with icmp-admin-prohibited -m comment --comment conductor:eg",
                "-o eg-outside -j DROP -m comment --comment conductor:eg",
            ]
        );
        let kept = Jump { hook: "POSTROUTING", first: true, rule: "-o eg-outside -j RETURN".to_owned() };
        assert_eq!(
            nat(&name("eg"), &nothing()),
            TableRules { chain: vec![], jumps: vec![kept] },
            "no address is rewritten"
        );
    }

    #[test]
    fn each_permission_is_a_rule_before_the_refusal() {
        let wanted = Permissions {
            internet: Some(Uplink::Interface("enp1s0".to_owned())),
            peers: vec![name("db")],
            published: "3000:8080".parse::<Ports>().unwrap().0,
            ..nothing()
        };
        let rules = filter(&name("eg"), &wanted).chain;
        let refusal = rules.iter().position(|rule| rule.contains("REJECT")).unwrap();
        for allowed in ["-i eg-outside -o db-outside -j ACCEPT", "-i eg-outside -o enp1s0 -j ACCEPT"] {
            assert!(rules[..refusal].iter().any(|rule| rule == allowed), "{allowed}: {rules:?}");
        }
        assert!(!rules.iter().any(|rule| rule.starts_with("-i db-outside")), "the way back is the peer's own rule");
    }
}
