//! What the firewall lets through: a container's rules, as text, and how they get into the tables.
//!
//! Each container has a chain of its own in three tables, reached by jumps from one conductor chain for each built-in
//! one, which stands at the end of that, after the user's rules. The policies of built-in chains are never touched:
//!
//! ```text
//! raw     PREROUTING ─ CONDUCTOR-PREROUTING ─ from its cable ─ conductor-NAME   only its own address may be the sender
//! nat     PREROUTING ─ CONDUCTOR-PREROUTING ─ to this host ─── conductor-NAME   published ports lead inside
//!         OUTPUT ───── CONDUCTOR-OUTPUT ───── to this host ─── conductor-NAME   … for the host's own packets too
//!         POSTROUTING  CONDUCTOR-POSTROUTING                                    who must be hidden behind the host
//! filter  FORWARD ──── CONDUCTOR-FORWARD ──── by its cable ─── conductor-NAME   what passes; the rest does not
//! ```
//!
//! What goes to the internet leaves by any interface that is no container's cable, whichever the host's routes name: they
//! change when a VPN comes up or a cable is pulled. `CONDUCTOR-INTERNET` knows all cables.
//!
//! A rule at the end of FORWARD that refuses all (several distributions have one) is a policy in the shape of a rule: our
//! jump stands before it, behind all others of the user's.
//!
//! A packet from one container to another goes by two cables. The sender's chain is asked first (its jump is put at the
//! front), so a permission to send stands in one place, the sender's chain, and goes with it.
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
/// What our chain about ways to the internet is named for. It is no built-in chain: containers' chains lead there.
const INTERNET: &str = "INTERNET";
/// The comment of what is no single container's: the jumps from built-in chains, and the rule about [`ForeignTraffic`]s.
const SHARED_TAG: &str = "conductor";
/// What the comments of a container's rules begin with.
const TAG: &str = "conductor:";

/// All that a container's rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Its address; no other may be the sender on its cable.
    pub address: Ipv4Addr,
    /// By which interface it may reach what is beyond the host, if it may.
    pub internet: Option<Uplink>,
    /// Its published ports.
    pub published: Vec<PublishedPort>,
    /// The containers that it may send to.
    pub peers: Vec<ContainerName>,
}

/// What happens to packets between networks that are none of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignTraffic {
    /// They meet whatever the host's own rules say.
    Unchanged,
    /// They are dropped: the host passed nothing on before conductor made it do so for its containers.
    Dropped {
        /// The links that there were then. One that comes later belongs to somebody who knows of passing packets on.
        between: BTreeSet<String>,
    },
}

/// Puts the rules of some containers into the tables, or takes them out (`None`), whatever of them is there already.
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

/// Whether this host passes packets on for containers of other stores, too, and had not done so before conductor came. Then
/// it is not for the last container of one store to take that back.
///
/// # Errors
/// The firewall tool's own words.
pub fn serves_other_stores(firewall: &Firewall, own: &BTreeSet<ContainerName>) -> Result<bool> {
    let now = firewall.rules(Table::Filter)?;
    let shut = hook_chain("FORWARD");
    let mut others = of_other_stores(&now, &shut, own);
    let internet = hook_chain(INTERNET);
    let is_let_through = |rule: &str| {
        let target = option_value(rule, "-j");
        (target == Some("ACCEPT") || target == Some(internet.as_str()))
            && option_value(rule, "-i").or(option_value(rule, "-o")).is_some()
    };
    Ok(now.of_chain(&shut).any(drops_foreign_traffic)
        && others.any(|name| now.of_chain(&chain(&name)).any(is_let_through)))
}

/// The container of another store to which a port of the host leads.
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

/// The containers of other stores whose chains are reached from one of conductor's.
fn of_other_stores(
    now: &Rules,
    hook_chain: &str,
    own: &BTreeSet<ContainerName>,
) -> impl Iterator<Item = ContainerName> {
    let tagged =
        now.of_chain(hook_chain).filter_map(|rule| option_value(rule, "--comment")?.strip_prefix(TAG)?.parse().ok());
    tagged.filter(|name: &ContainerName| !own.contains(name))
}

/// The links between which strangers' packets are dropped.
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

/// Whether a link has the name of a cable's end on the host, of whatever store.
pub fn is_host_link(link: &str) -> bool {
    link.ends_with("-outside")
}

/// The rule of a built-in chain that refuses everything, and its place, if that is before our jump would do anything.
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

/// The rules of others that send packets for this port of the host elsewhere.
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

/// What of a container's rules is not in a table, or not in its place, as iptables(8) would be told.
pub fn missing(
    table: Table,
    now: &Rules,
    name: &ContainerName,
    wanted: &Permissions,
    foreign_traffic: &ForeignTraffic,
) -> Vec<String> {
    let TableRules { chain, jumps } = part(table, name, wanted);
    let own = self::chain(name);
    // The order counts in its own chain.
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

/// A rule whatever order its parts are listed in, and whether its comment has quotes.
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

/// The name, if it fits; else a hash of it behind a `_`, with which no container's name begins.
fn short(name: &ContainerName, room: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    if name.as_str().len() <= room {
        return name.to_string();
    }
    // Thirty bits of it, the same in every version of conductor.
    let hash = fnv1a(name.as_str().as_bytes());
    let letters = (0..6).map(|n| char::from(LETTERS[(hash >> (5 * n)) as usize % LETTERS.len()]));
    std::iter::once('_').chain(letters).collect()
}

/// Our chain that a built-in one leads to.
pub fn hook_chain(built_in: &str) -> String {
    format!("CONDUCTOR-{built_in}")
}

/// A rule of one of the hook chains.
#[derive(Debug, PartialEq, Eq)]
struct Jump {
    hook: &'static str,
    /// Before those of all other containers.
    first: bool,
    rule: String,
}

/// A container's part of one table.
#[derive(Debug, PartialEq, Eq)]
struct TableRules {
    /// Its own chain; empty is none.
    chain: Vec<String>,
    jumps: Vec<Jump>,
}

/// The changes that lead from `now` to what is wanted in one table.
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
    // What is there now goes, and the way to it when nobody is left.
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
                    // Those that stand behind it: the place of the refusal stays what it is.
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
            // Behind all others.
            last_rules(hook, foreign_traffic).iter().for_each(|rule| changes.append(table, &ours, rule));
        } else if now.has_chain(&ours) {
            // Only now does nothing lead there any more.
            changes.remove_chain(table, &ours);
        }
    }
}

/// The rules at the end of one of our chains that are no single container's.
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

/// What marks a rule as a container's.
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

/// What may come by its cable at all.
fn raw(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain, address) = (host_link(name), chain(name), wanted.address);
    TableRules {
        chain: vec![
            // Nobody can be spoken for.
            format!("! -s {address}/32 -j DROP"),
            // Published ports make the host take packets for its loopback from this cable (route_localnet): only as
            // answers, whose address the kernel turns back later.
            "-d 127.0.0.0/8 -j DROP".to_owned(),
        ],
        jumps: vec![Jump { hook: "PREROUTING", first: false, rule: format!("-i {link} -j {chain}") }],
    }
}

/// Under whose address packets travel.
fn nat(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain, address) = (host_link(name), chain(name), wanted.address);
    let lead_inside = |publish: &PublishedPort| {
        let PublishedPort { address: at, host, inside, protocol } = publish;
        let at = at.map_or(String::new(), |at| format!("-d {at}/32 "));
        format!("{at}-p {protocol} -m {protocol} --dport {host} -j DNAT --to-destination {address}:{inside}")
    };
    // What goes to a container keeps its sender.
    let mut jumps = vec![Jump { hook: "POSTROUTING", first: true, rule: format!("-o {link} -j RETURN") }];
    // The world knows no way to 192.168.N.2: it answers to the host, and the kernel remembers for whom.
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
        // From 127.0.0.1 of the host, and from the container to itself: it could not answer to either address.
        for source in ["127.0.0.0/8".to_owned(), format!("{address}/32")] {
            let rule = format!("-s {source} -o {link} -j MASQUERADE");
            jumps.push(Jump { hook: "POSTROUTING", first: true, rule });
        }
    }
    TableRules { chain: wanted.published.iter().map(lead_inside).collect(), jumps }
}

/// What passes the host by its cable.
fn filter(name: &ContainerName, wanted: &Permissions) -> TableRules {
    let (link, chain) = (host_link(name), chain(name));
    // Whoever was let through may be answered.
    let mut rules = vec!["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned()];
    rules.extend(wanted.peers.iter().map(|peer| format!("-i {link} -o {} -j ACCEPT", host_link(peer))));
    rules.extend(wanted.internet.iter().map(|way| match way {
        Uplink::Any => format!("-i {link} -j {}", hook_chain(INTERNET)),
        Uplink::Interface(interface) => format!("-i {link} -o {interface} -j ACCEPT"),
    }));
    // A port of the host that leads to a container: from outside, and from that container itself.
    let published = |publish: &PublishedPort| {
        let PublishedPort { host, inside, protocol, .. } = publish;
        format!(
            "-o {link} -p {protocol} -m {protocol} --dport {inside} \
             -m conntrack --ctstate DNAT --ctorigdstport {host} -j ACCEPT"
        )
    };
    let from_itself = |publish: &PublishedPort| format!("-i {link} {}", published(publish));
    rules.extend(wanted.published.iter().map(from_itself));
    // Told at once, so that nobody inside waits for a timeout.
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
