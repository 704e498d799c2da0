//! Pieces of text that the languages share: wrapped comments and names inside sentences.

/// The widest line of a comment.
const LINE_MAX: usize = 100;

/// A sentence as comment lines, each after `lead`.
pub fn comment(lead: &str, text: &str) -> String {
    let mut lines: Vec<String> = vec![lead.to_string()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.chars().count() + 1 + word.chars().count() > LINE_MAX && *last != lead {
            lines.push(format!("{lead} {word}"));
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// A sentence without the backticks of its names.
pub fn plain(doc: &str) -> String {
    doc.replace('`', "")
}

/// A sentence whose names in backticks are written by `rename`.
pub fn renamed(doc: &str, rename: impl Fn(&str) -> String) -> String {
    let parts = doc.split('`').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => part.to_string(),
        _ => format!("`{}`", rename(part)),
    });
    parts.collect()
}
