//! `service-orchestrator kube`: the same deployment as Kubernetes objects.
//!
//! `up` runs commands in order. Kubernetes is given the desired state instead: a *Pod* is a container to run, a
//! *Service* gives it a stable name and port, a *NetworkPolicy* says which pods may talk to it. There is no start
//! order: while the counter is not there yet, the page answers 502. The image is the one that `up` builds; the folder
//! with the program is mounted at the path to which `up` copies it.
//!
//! Look: `service-orchestrator kube | podman kube play -` (podman has no policies: there, containers of one network can all talk
//! to each other). Source: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.

use std::fmt::Write;
use std::path::Path;

use nsutil::error::{Error, Result};

use crate::spec::{Service, Spec, blanks};

/// The deployment as YAML; `files` is where the folders of the services are.
///
/// # Errors
/// In words when a name is not valid in Kubernetes.
pub fn yaml(spec: &Spec, files: &Path) -> Result<String> {
    let order = spec.in_start_order().map_err(|why| Error::new("understand", "the deployment", why))?;
    let mut text = format!(
        "# Made by `service-orchestrator kube`. The image: conductor save {0} -o {0}.tar && podman load -i {0}.tar\n",
        spec.image
    );
    for service in order {
        check(&service.name)?;
        text.push_str(&pod(spec, service, files));
        text.push_str(&service_of(service));
        text.push_str(&policy(spec, service));
    }
    Ok(text)
}

/// Checks a name, which Kubernetes uses as a host name.
fn check(name: &str) -> Result<()> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.bytes().all(is_part)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= 63;
    if is_name {
        return Ok(());
    }
    let wrong =
        Error::new("name", format_args!("service {name}"), "Kubernetes takes lower-case letters, digits and '-'");
    Err(wrong.hint("rename it in the deployment"))
}

fn pod(spec: &Spec, service: &Service, files: &Path) -> String {
    let Service { name, port, health, .. } = service;
    let words = service.start.iter().map(|word| quoted(&addressed(word))).collect::<Vec<_>>().join(", ");
    let published: String = service
        .expose
        .iter()
        .map(|pair| format!("    - {{containerPort: {}, hostPort: {}}}\n", pair.inside, pair.host))
        .collect();
    // Unpublished ports are not listed: for Kubernetes that changes nothing, and podman would publish them.
    let published = if published.is_empty() { published } else { format!("    ports:\n{published}") };
    let folder = Path::new(&service.files).file_name().map(|name| name.to_string_lossy().into_owned());
    let inside = quoted(&format!("/{}", folder.unwrap_or_default()));
    let outside = quoted(&files.join(&service.files).display().to_string());
    let image = quoted(&format!("localhost/{}:latest", spec.image));
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  automountServiceAccountToken: false
  containers:
  - name: main
    image: {image}
    imagePullPolicy: IfNotPresent
    command: [{words}]
{published}    readinessProbe:
      httpGet: {{path: {path}, port: {port}}}
    securityContext:
      allowPrivilegeEscalation: false
    volumeMounts:
    - {{name: files, mountPath: {inside}}}
  volumes:
  - name: files
    hostPath: {{path: {outside}, type: Directory}}
",
        path = quoted(health)
    )
}

fn service_of(Service { name, port, .. }: &Service) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
  - {{port: {port}, targetPort: {port}}}
"
    )
}

/// The policy of a service. Ingress: from its peers, and to published ports from everywhere. Egress: to its peers, to
/// DNS, and to the internet if requested.
fn policy(spec: &Spec, service: &Service) -> String {
    let Service { name, port, .. } = service;
    let is_peer = |other: &&Service| other.peers.contains(name) || service.peers.contains(&other.name);
    let peers: Vec<&Service> = spec.services.iter().filter(is_peer).collect();
    let mut text = format!(
        "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
spec:
  podSelector: {{matchLabels: {{app: {name}}}}}
  policyTypes: [Ingress, Egress]
"
    );
    let mut ingress = String::new();
    for peer in &peers {
        let _ = writeln!(ingress, "  - from: [{{podSelector: {{matchLabels: {{app: {}}}}}}}]", peer.name);
        let _ = writeln!(ingress, "    ports: [{{port: {port}}}]");
    }
    for pair in &service.expose {
        let _ = writeln!(ingress, "  - ports: [{{port: {}}}]", pair.inside);
    }
    // An empty list denies all ingress.
    text.push_str(&if ingress.is_empty() { "  ingress: []\n".to_owned() } else { format!("  ingress:\n{ingress}") });
    text.push_str("  egress:\n  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]\n");
    for peer in &peers {
        let _ = writeln!(text, "  - to: [{{podSelector: {{matchLabels: {{app: {}}}}}}}]", peer.name);
        let _ = writeln!(text, "    ports: [{{port: {}}}]", peer.port);
    }
    if service.internet {
        // The internet without the other pods, whose addresses are private.
        text.push_str("  - to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}}]\n");
    }
    text
}

/// Replaces each `{NAME}` by the service's name, which the DNS of Kubernetes resolves.
fn addressed(word: &str) -> String {
    blanks(word).iter().fold(word.to_owned(), |word, name| word.replace(&format!("{{{name}}}"), name))
}

/// Quotes a text for YAML (and JSON). Kubernetes would expand `$(NAME)`, so its `$` is doubled.
fn quoted(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    format!("\"{}\"", text.replace("$(", "$$(").chars().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(text: &'a str, kind: &str, name: &str) -> &'a str {
        let is_it =
            |part: &&str| part.contains(&format!("kind: {kind}\n")) && part.contains(&format!("  name: {name}\n"));
        text.split("---\n").find(is_it).unwrap()
    }

    #[test]
    fn only_the_page_reaches_the_counter() {
        let text = yaml(&Spec::load(None).unwrap(), Path::new("/lab")).unwrap();
        let counter = part(&text, "NetworkPolicy", "c2");
        let ingress = counter.split("ingress:\n").nth(1).unwrap().split("  egress:").next().unwrap();
        assert_eq!(ingress, "  - from: [{podSelector: {matchLabels: {app: c1}}}]\n    ports: [{port: 8080}]\n");
        let page = part(&text, "Pod", "c1");
        assert!(page.contains("command: [\"bash\", \"/external-service/run.sh\", \"http://c2:8080/\"]"), "{page}");
        assert!(page.contains("{containerPort: 8080, hostPort: 3000}"), "{page}");
        assert!(page.contains("hostPath: {path: \"/lab/external-service\", type: Directory}"), "{page}");
        assert!(!part(&text, "Pod", "c2").contains("containerPort"), "podman would publish it");
        assert!(part(&text, "Service", "c2").contains("{port: 8080, targetPort: 8080}"));
    }

    #[test]
    fn a_word_is_quoted_and_means_itself() {
        assert_eq!(quoted("a\"b\\c\n$(X) $HOME"), "\"a\\\"b\\\\c\\u000a$$(X) $HOME\"");
        assert!(check("c1").is_ok() && check("C1").is_err() && check("a_b").is_err() && check("1a").is_err());
    }
}
