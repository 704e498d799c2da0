//! Pieces of text that the languages share: wrapped comments and names inside sentences.

/// The widest line of a comment.
const LINE_MAX: usize = 100;

/// A sentence as comment lines, each after `lead`.
pub fn comment(lead: &str, text: &str) -> String {
    let lines = wrapped(text, LINE_MAX - lead.len() - 1);
    let lines = lines.iter().map(|line| format!("{lead} {line}\n"));
    lines.collect()
}

/// A sentence as lines of at most this number of letters.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// A sentence behind a colon: `KV_YES: return the previous pair.`
pub fn after(lead: &str, doc: &str) -> String {
    let mut letters = doc.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string());
    format!("{lead}: {}{}", first.unwrap_or_default(), letters.as_str())
}

/// A sentence whose names in backticks are replaced by what `write` makes of them.
pub fn renamed(doc: &str, write: impl Fn(&str) -> String) -> String {
    let parts = doc.split('`').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => part.to_string(),
        _ => write(part),
    });
    parts.collect()
}
