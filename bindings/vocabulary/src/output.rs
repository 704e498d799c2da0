//! What the generator writes: whole files, and regions of files that are otherwise hand-written.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first line of a generated file, after the sign of a comment.
pub const HEAD: &str = "Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.";

/// How a region begins, before its name.
const REGION: &str = "generated from bindings/vocabulary/vocabulary.toml: ";
/// How it ends.
const REGION_END: &str = "end of generated";

/// A file and what it must contain.
pub struct Output {
    path: &'static str,
    content: Content,
}

enum Content {
    Whole(String),
    Regions(Vec<Region>),
}

/// A part of a file between two marker comments.
struct Region {
    name: String,
    /// Whether the file must have it.
    is_needed: bool,
    /// Its lines, given those that it has.
    fill: Box<dyn Fn(&str) -> String>,
}

impl Output {
    /// A file of Rust, to be formatted.
    pub fn rust(path: &'static str, body: &str) -> Output {
        Output {
            path,
            content: Content::Whole(rustfmt(&format!("// {HEAD}\n{body}"))),
        }
    }

    /// A file that is already formatted.
    pub fn whole(path: &'static str, text: String) -> Output {
        Output {
            path,
            content: Content::Whole(text),
        }
    }

    /// A file of which only some regions are generated.
    pub fn regions(path: &'static str) -> Output {
        Output {
            path,
            content: Content::Regions(Vec::new()),
        }
    }

    /// Fills the regions of this name with `lines`.
    pub fn region(self, name: &str, lines: String) -> Output {
        self.add(name, true, move |_| lines.clone())
    }

    /// Fills the regions of this name, if there are any, with what `fill` makes of their content.
    pub fn perhaps(self, name: &str, fill: impl Fn(&str) -> String + 'static) -> Output {
        self.add(name, false, fill)
    }

    fn add(
        mut self,
        name: &str,
        is_needed: bool,
        fill: impl Fn(&str) -> String + 'static,
    ) -> Output {
        if let Content::Regions(regions) = &mut self.content {
            regions.push(Region {
                name: name.to_string(),
                is_needed,
                fill: Box::new(fill),
            });
        }
        self
    }

    /// Writes the file if it differs. With `check` it only reports the difference.
    pub fn bring_up_to_date(&self, root: &Path, check: bool) -> Result<bool, String> {
        let path = root.join(self.path);
        let old = fs::read_to_string(&path);
        let new = match &self.content {
            Content::Whole(text) => text.clone(),
            Content::Regions(regions) => {
                let old = old.as_ref().map_err(|e| format!("{}: {e}", self.path))?;
                regions.iter().try_fold(old.clone(), |text, region| {
                    region
                        .filled(&text)
                        .map_err(|e| format!("{}: {e}", self.path))
                })?
            }
        };
        if old.is_ok_and(|old| old == new) {
            return Ok(true);
        }
        if check {
            eprintln!("{} is not current: run `cargo vocabulary`", self.path);
        } else {
            fs::write(&path, new).map_err(|e| format!("{}: {e}", self.path))?;
            eprintln!("wrote {}", self.path);
        }
        Ok(!check)
    }
}

impl Region {
    /// The text with every region of this name filled; the lines get the indentation of the marker.
    fn filled(&self, text: &str) -> Result<String, String> {
        let name = &self.name;
        let mut out = String::new();
        let mut lines = text.lines();
        let mut found = false;
        while let Some(line) = lines.next() {
            out.push_str(line);
            out.push('\n');
            let begins = line
                .split_once(REGION)
                .is_some_and(|(_, rest)| rest.trim_end_matches([' ', '-', '>']) == *name);
            if !begins {
                continue;
            }
            found = true;
            let indent = &line[..line.len() - line.trim_start().len()];
            let mut old = String::new();
            let end = loop {
                let line = lines.next().ok_or(format!("region {name} has no end"))?;
                if line.contains(REGION_END) {
                    break line;
                }
                old.push_str(line.strip_prefix(indent).unwrap_or(line));
                old.push('\n');
            };
            for line in (self.fill)(&old).lines() {
                if !line.is_empty() {
                    out.push_str(indent);
                }
                out.push_str(line);
                out.push('\n');
            }
            out.push_str(end);
            out.push('\n');
        }
        match found || !self.is_needed {
            true => Ok(out),
            false => Err(format!("there is no region {name}")),
        }
    }
}

fn rustfmt(source: &str) -> String {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt is installed");
    let mut input = rustfmt.stdin.take().expect("it is piped");
    input
        .write_all(source.as_bytes())
        .expect("rustfmt reads its input");
    drop(input);
    let output = rustfmt.wait_with_output().expect("rustfmt ends");
    assert!(output.status.success(), "rustfmt refused:\n{source}");
    String::from_utf8(output.stdout).expect("rustfmt writes UTF-8")
}
