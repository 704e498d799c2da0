//! `txn`: runs a transaction in etcdctl's notation.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{CommandFactory, FromArgMatches, Parser};
use libkv::{Compare, CompareResult, KeyValue, Op, OpResponse, TxnResponse};

use crate::command::{Context, del, get, put};
use crate::failure::{Failure, Result};
use crate::json::TxnResponseJson;
use crate::notation::{Notation, parse_lease, unescape};
use crate::output::{Ink, Out};
use crate::target::Access;

const HELP: &str = "\
Reads three blocks, each followed by an empty line, in etcdctl's notation: the compares, the
operations that run if all compares hold, and the operations that run otherwise.

  mod(\"greeting\") > \"0\"            compares: value, version, create, mod or lease of a key
                                   = != < > something in quotes
  put greeting \"changed\"           success: put, get and del with their options
  get greeting

  put greeting \"created\"           failure

Quotes are double (with escapes \\n \\xNN) or single (without).

Examples:
  kv txn                                      prompt for each block on a terminal
  kv txn <deploy.txn
  printf 'version(\"a\") = \"0\"\\n\\nput a 1\\n\\nget a\\n' | kv txn

Exit status: 1 if the compares did not hold and the failure block ran.";

/// `kv txn`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Txn {
    /// Print the prompts also if standard input is not a terminal
    #[arg(short, long)]
    interactive: bool,
}

impl Txn {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let prompts = self.interactive || io::stdin().is_terminal();
        let txn = read(&mut io::stdin().lock(), prompts)?;
        let response = context.open(Access::Create)?.txn(txn.clone())?;
        show(&mut context.out, &txn, &response)?;
        if response.succeeded {
            Ok(())
        } else {
            Err(Failure::No)
        }
    }
}

/// The lines of the input, which are numbered for messages.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: usize,
}

impl Lines<'_> {
    /// The lines of a block: up to an empty one, or the end.
    fn block<T>(
        &mut self,
        prompt: Option<&str>,
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<Vec<T>> {
        if let Some(prompt) = prompt {
            let _ = writeln!(io::stderr(), "{prompt}");
        }
        let mut block = Vec::new();
        loop {
            let mut line = String::new();
            self.number += 1;
            let number = self.number;
            let numbered = |failure| match failure {
                Failure::Usage(message) => Failure::Usage(format!("line {number}: {message}")),
                other => other,
            };
            self.input
                .read_line(&mut line)
                .map_err(Failure::line)
                .map_err(numbered)?;
            // an empty line, or the end of the input
            let line = line.trim();
            if line.is_empty() {
                return Ok(block);
            }
            block.push(read(line).map_err(numbered)?);
        }
    }
}

fn read(input: &mut dyn BufRead, prompts: bool) -> Result<libkv::Txn> {
    let mut lines = Lines { input, number: 0 };
    let prompt = |text| prompts.then_some(text);
    let mut txn = libkv::Txn::new();
    txn.compare = lines.block(prompt("compares (an empty line ends them):"), parse_compare)?;
    txn.success = lines.block(prompt("success requests (get, put, del):"), parse_op)?;
    txn.failure = lines.block(prompt("failure requests (get, put, del):"), parse_op)?;
    Ok(txn)
}

/// Reads `mod("key") > "0"`.
fn parse_compare(line: &str) -> Result<Compare> {
    let malformed = || Failure::usage(format!("not a compare: {line} (as: mod(\"key\") > \"0\")"));
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = take_word(rest.trim_start(), b")")?.ok_or_else(malformed)?;
    let rest = rest
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(malformed)?
        .trim_start();
    let sign_end = rest
        .find(|c| !matches!(c, '=' | '!' | '<' | '>'))
        .unwrap_or(rest.len());
    let result = match &rest[..sign_end] {
        "=" | "==" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        ">" => CompareResult::Greater,
        _ => return Err(malformed()),
    };
    let (operand, rest) = take_word(rest[sign_end..].trim_start(), b"")?.ok_or_else(malformed)?;
    if !rest.trim().is_empty() {
        return Err(malformed());
    }
    let text = String::from_utf8_lossy(&operand).into_owned();
    let number = || {
        text.parse::<i64>()
            .map_err(|_| Failure::usage(format!("not a number: {text:?} in {line}")))
    };
    Ok(match target.trim() {
        "ver" | "version" => Compare::version(key, result, number()?),
        "c" | "create" => Compare::create_revision(key, result, number()?),
        "m" | "mod" => Compare::mod_revision(key, result, number()?),
        "val" | "value" => Compare::value(key, result, operand),
        "lease" => Compare::lease(key, result, parse_lease(&text).map_err(Failure::Usage)?),
        other => {
            let message =
                format!("{other:?} cannot be compared: value, version, create, mod or lease");
            return Err(Failure::usage(message));
        }
    })
}

/// The operations of a txn, as the commands of the same names.
#[derive(Parser)]
#[command(
    name = "txn",
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
enum Operation {
    #[command(alias = "range")]
    Get(get::Get),
    Put(put::Put),
    #[command(alias = "delete")]
    Del(del::Del),
}

fn parse_op(line: &str) -> Result<Op> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let words = words(line)?.into_iter().map(OsString::from_vec);
    let parsed = Operation::command()
        .try_get_matches_from(words)
        .and_then(|matches| Operation::from_arg_matches(&matches))
        .map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Failure::usage(format!("{}: {line}", first.trim_start_matches("error: ")))
        })?;
    // the quotes determine the notation of each word
    let plain = Notation::default();
    Ok(match parsed {
        Operation::Get(get) => get.into_request(plain)?.into(),
        Operation::Put(put) => put.into_request(plain)?.into(),
        Operation::Del(del) => del.into_request(plain)?.into(),
    })
}

/// The words of a line, without their quotes.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some((word, after)) = take_word(rest, b"")? {
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// The first word and the rest of the line. The word is in double quotes (with escapes), in single
/// quotes (without), or ends at a space or at one of `ends`.
fn take_word<'a>(text: &'a str, ends: &[u8]) -> Result<Option<(Vec<u8>, &'a str)>> {
    let mut word = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Ok(None);
    }
    while let Some(c) = rest
        .chars()
        .next()
        .filter(|c| !c.is_whitespace() && !ends.contains(&(*c as u32 as u8)))
    {
        if c != '"' && c != '\'' {
            word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let inside = &rest[1..];
        let end = closing_quote(inside, c)
            .ok_or_else(|| Failure::usage(format!("a quote is not closed: {text}")))?;
        match c {
            '"' => word.extend(unescape(&inside.as_bytes()[..end]).map_err(Failure::Usage)?),
            _ => word.extend_from_slice(&inside.as_bytes()[..end]),
        }
        rest = &inside[end + 1..];
    }
    Ok(Some((word, rest)))
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && quote == '"' && !escaped;
        ends.then_some(at)
    })
}

fn show(out: &mut Out, txn: &libkv::Txn, response: &TxnResponse) -> Result<()> {
    if out.json {
        return out.json(&TxnResponseJson::from(response));
    }
    let (ink, word, ops) = match response.succeeded {
        true => (Ink::Plus, "SUCCESS", &txn.success),
        false => (Ink::Minus, "FAILURE", &txn.failure),
    };
    out.ink(ink, word)?;
    out.line("")?;
    ops.iter()
        .zip(&response.responses)
        .try_for_each(|(op, response)| show_response(out, op, response))
}

fn show_response(out: &mut Out, op: &Op, response: &OpResponse) -> Result<()> {
    out.line("")?;
    let pairs = |out: &mut Out, kvs: &[KeyValue]| kvs.iter().try_for_each(|kv| out.pair_lines(kv));
    match response {
        OpResponse::Range(range) => match op {
            // the response does not show whether only the count was requested
            Op::Range(request) if request.count_only => out.line(range.count.to_string()),
            _ => pairs(out, &range.kvs),
        },
        OpResponse::Put(put) => {
            out.line("OK")?;
            put.prev_kv.as_ref().map_or(Ok(()), |kv| out.pair_lines(kv))
        }
        OpResponse::Delete(delete) => {
            out.line(delete.deleted.to_string())?;
            pairs(out, &delete.prev_kvs)
        }
        // the notation has no nested txns
        OpResponse::Txn(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use libkv::{Delete, KeyRange, Put, Range};

    use super::*;

    fn txn(text: &str) -> Result<libkv::Txn> {
        read(&mut text.as_bytes(), false)
    }

    #[test]
    fn the_example_of_etcdctl() {
        let text = "mod(\"key1\") > \"0\"\n\nput key1 \"overwrote-key1\"\n\nput key1 \"created-key1\"\nput key2 'some \\x key'\n\n";
        let expected = libkv::Txn::new()
            .when(Compare::mod_revision("key1", CompareResult::Greater, 0))
            .and_then(Put::new("key1", "overwrote-key1"))
            .or_else(Put::new("key1", "created-key1"))
            .or_else(Put::new("key2", "some \\x key"));
        assert_eq!(txn(text).ok(), Some(expected));
    }

    #[test]
    fn every_target_and_sign() {
        let known = [
            (
                "value(\"k\\x00\") = \"\\xff\"",
                Compare::value(b"k\0", CompareResult::Equal, b"\xff"),
            ),
            ("val(k)==v", Compare::value("k", CompareResult::Equal, "v")),
            (
                "ver(\"k)\") != 3",
                Compare::version("k)", CompareResult::NotEqual, 3),
            ),
            (
                "c(k)<\"7\"",
                Compare::create_revision("k", CompareResult::Less, 7),
            ),
            (
                "lease( 'k' ) > \"1f\"",
                Compare::lease("k", CompareResult::Greater, 31),
            ),
        ];
        for (text, compare) in known {
            assert_eq!(parse_compare(text).ok(), Some(compare), "{text}");
        }
        for text in [
            "",
            "foo(",
            "mod(\"k\"",
            "mod(k) >",
            "mod(k) => 1",
            "mod(k) > x",
            "size(k) > 1",
            "mod(k) > 1 2",
        ] {
            assert!(parse_compare(text).is_err(), "{text}");
        }
    }

    #[test]
    fn operations_have_the_options_of_their_commands() {
        let known: [(&str, Op); 5] = [
            (
                "get a b --limit 3 --keys-only",
                Range::new(KeyRange::between("a", "b"))
                    .limit(3)
                    .keys_only(true)
                    .into(),
            ),
            (
                "get \"\" --prefix --rev 7",
                Range::new(KeyRange::all()).revision(7).into(),
            ),
            (
                "put k \"a\\nb\" --lease 1f --prev-kv",
                Put::new("k", "a\nb").lease(31).prev_kv(true).into(),
            ),
            ("put -- k -5", Put::new("k", "-5").into()),
            ("del k --prefix", Delete::new(KeyRange::prefix("k")).into()),
        ];
        for (text, op) in known {
            assert_eq!(parse_op(text).ok(), Some(op), "{text}");
        }
        for text in [
            "",
            "put k",
            "watch k",
            "get",
            "put k \"v",
            "del k --no",
            "get k --at 10m",
        ] {
            assert!(parse_op(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let message = txn("mod(k) > 0\n\nput k v\npuf k\n")
            .expect_err("it has no puf")
            .to_string();
        assert!(message.starts_with("line 4: "), "{message}");
    }
}
