//! A document of YAML, with the types that etcd's reader gives to scalars: YAML 1.1, where `on` is
//! `true` and `1_000` is a number.

use saphyr::{ScalarStyle, Tag, Yaml, YamlLoader};
use saphyr_parser::Parser;

/// A value.
#[derive(Debug, PartialEq)]
pub enum Node {
    Nothing,
    Bool(bool),
    Whole(i128),
    /// A number that is not whole, or not finite.
    Fraction,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value, for a message about its type.
    pub fn description(&self) -> String {
        match self {
            Node::Nothing => "nothing".into(),
            Node::Bool(value) => format!("{value} (true or false)"),
            Node::Whole(value) => format!("the number {value}"),
            Node::Fraction => "a number that is not whole".into(),
            Node::Text(value) => format!("the text {value:?}"),
            Node::List(_) => "a list".into(),
            Node::Map(_) => "keys with values".into(),
        }
    }
}

/// Reads the first document of a text, like etcd. A text without a document is nothing. If a key is
/// repeated, each of its values is in the map or only the last.
///
/// # Errors
///
/// The reason and the line if the text is not YAML.
pub fn parse(text: &str) -> Result<Node, String> {
    let mut loader = YamlLoader::<Yaml>::default();
    loader.early_parse(false);
    loader.allow_duplicate_keys(true);
    Parser::new_from_str(text)
        .load(&mut loader, false)
        .map_err(|error| error.to_string())?;
    if let Some(error) = loader.error() {
        return Err(error.to_string());
    }
    Ok(loader
        .into_documents()
        .into_iter()
        .next()
        .map_or(Node::Nothing, node))
}

fn node(yaml: Yaml) -> Node {
    match yaml {
        Yaml::Representation(text, ScalarStyle::Plain, tag) if !is_text(tag.as_deref()) => {
            plain(&text)
        }
        Yaml::Representation(text, ..) => Node::Text(text.into_owned()),
        Yaml::Sequence(items) => Node::List(items.into_iter().map(node).collect()),
        Yaml::Mapping(entries) => Node::Map(
            entries
                .into_iter()
                .filter_map(|(key, value)| match key {
                    Yaml::Representation(name, ..) => Some((name.into_owned(), node(value))),
                    // no setting has a list or a map as its name
                    _ => None,
                })
                .collect(),
        ),
        Yaml::Tagged(_, inner) => node(*inner),
        // the loader resolves aliases and keeps scalars as they are written
        Yaml::Alias(_) | Yaml::BadValue | Yaml::Value(_) => Node::Nothing,
    }
}

/// Whether this is the tag `!!str`.
fn is_text(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str")
}

/// A scalar without quotes.
fn plain(text: &str) -> Node {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Nothing,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Node::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Node::Bool(false);
        }
        _ => {}
    }
    let number = text.replace('_', "");
    whole(&number)
        .or_else(|| float(&number))
        .unwrap_or_else(|| Node::Text(text.into()))
}

/// A number like in Go: decimal, 0x…, 0o…, 0b…, or octal after a 0.
fn whole(text: &str) -> Option<Node> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix_of = |prefix: &str| match prefix {
        "0x" | "0X" => Some(16),
        "0o" | "0O" => Some(8),
        "0b" | "0B" => Some(2),
        _ => None,
    };
    let (radix, digits) = match digits.get(..2).and_then(radix_of) {
        Some(radix) => (radix, &digits[2..]),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if text.starts_with('-') { -value } else { value };
    let of_64_bits = i128::from(i64::MIN)..=i128::from(u64::MAX);
    of_64_bits.contains(&value).then_some(Node::Whole(value))
}

/// A number with a point or an exponent. It is whole if it has no fraction: etcd accepts `1e3`.
fn float(text: &str) -> Option<Node> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".nan"].contains(&digits.to_ascii_lowercase().as_str()) {
        return Some(Node::Fraction);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go writes larger numbers with an exponent, which is not a whole number for its reader
    match value.fract() == 0.0 && value.abs() < 1e21 {
        true => Some(Node::Whole(value as i128)),
        false => Some(Node::Fraction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_have_the_types_of_yaml_1_1() {
        let text = |text: &str| Node::Text(text.into());
        for (written, value) in [
            ("", Node::Nothing),
            ("~", Node::Nothing),
            ("on", Node::Bool(true)),
            ("No", Node::Bool(false)),
            ("'on'", text("on")),
            ("!!str 5", text("5")),
            ("\"5\"", text("5")),
            ("5", Node::Whole(5)),
            ("-5", Node::Whole(-5)),
            ("1_000", Node::Whole(1_000)),
            ("0x64", Node::Whole(100)),
            ("0o17", Node::Whole(15)),
            ("017", Node::Whole(15)),
            ("-0b11", Node::Whole(-3)),
            ("09", Node::Whole(9)),
            ("0", Node::Whole(0)),
            ("18446744073709551615", Node::Whole(u64::MAX.into())),
            ("1e3", Node::Whole(1_000)),
            ("1.5", Node::Fraction),
            ("1e30", Node::Fraction),
            ("-.inf", Node::Fraction),
            (".NaN", Node::Fraction),
            ("0x", text("0x")),
            ("0-5", text("0-5")),
            ("-", Node::List(vec![Node::Nothing])),
            ("10m", text("10m")),
            ("http://127.0.0.1:2379", text("http://127.0.0.1:2379")),
            ("127.0.0.1:2379", text("127.0.0.1:2379")),
        ] {
            assert_eq!(parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn documents() {
        let pair = |key: &str, value| (key.to_string(), value);
        let one = Node::Map(vec![pair("a", Node::Whole(1))]);
        assert_eq!(parse("# nothing\n"), Ok(Node::Nothing));
        assert_eq!(parse("a: 1\n---\nb: 2\n"), Ok(one));
        let aliased = Node::Map(vec![
            pair("a", Node::Text("x".into())),
            pair("b", Node::Text("x".into())),
        ]);
        assert_eq!(parse("a: &it x\nb: *it\n"), Ok(aliased));
        assert_eq!(
            parse("a: [x, 2]"),
            Ok(Node::Map(vec![pair(
                "a",
                Node::List(vec![Node::Text("x".into()), Node::Whole(2)])
            )]))
        );
        for damaged in ["a: [b", "a: b: c", "a: }", "'a"] {
            assert!(parse(damaged).is_err(), "{damaged}");
        }
    }
}
