//! to come
/// The labels of the named blanks in `text`, each once, in order.
pub fn labels(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in text.split('<').skip(1) {
        let Some((label, _)) = piece.split_once('>') else { continue };
        if !found.iter().any(|seen| seen == label) {
            found.push(label.to_owned());
        }
    }
    found
}
