//! Rounds and medians, and how they are printed and written.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// One row: libkv compared with the reference.
pub struct Row {
    name: String,
    reference: String,
    reach: f64,
    n: u64,
    bytes_value: usize,
    note: String,
    ours_ns: Vec<f64>,
    ref_ns: Vec<f64>,
}

impl Row {
    /// A row without rounds yet. `reach` is the highest acceptable ratio, `n` the number of
    /// operations in a round.
    pub fn new(name: &str, reference: &str, reach: f64, n: u64, bytes_value: usize) -> Row {
        Row {
            name: name.into(),
            reference: reference.into(),
            reach,
            n,
            bytes_value,
            note: String::new(),
            ours_ns: Vec::new(),
            ref_ns: Vec::new(),
        }
    }

    /// Sets a remark for readers of this row.
    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    /// Runs alternating rounds. Each returns its time. The first of each side is not counted.
    pub fn rounds(
        mut self,
        rounds: usize,
        mut ours: impl FnMut() -> Duration,
        mut reference: impl FnMut() -> Duration,
    ) -> Row {
        let per = |time: Duration, n: u64| time.as_nanos() as f64 / n as f64;
        for round in 0..=rounds {
            // the first side alternates, so that neither always has a warm cache
            let (o, r) = if round % 2 == 0 {
                let o = ours();
                (o, reference())
            } else {
                let r = reference();
                (ours(), r)
            };
            if round > 0 {
                self.ours_ns.push(per(o, self.n));
                self.ref_ns.push(per(r, self.n));
            }
        }
        self.print();
        self
    }

    /// Adds a round that was measured elsewhere, in nanoseconds an operation.
    pub fn add(&mut self, ours_ns: f64, ref_ns: f64) {
        self.ours_ns.push(ours_ns);
        self.ref_ns.push(ref_ns);
    }

    /// Prints the row.
    pub fn print(&self) {
        println!("{}", self.line());
    }

    /// A row of sizes: bytes instead of nanoseconds.
    pub fn sizes(mut self, ours: u64, reference: u64) -> Row {
        self.ours_ns.push(ours as f64);
        self.ref_ns.push(reference as f64);
        self.print();
        self
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours_ns
            .iter()
            .zip(&self.ref_ns)
            .map(|(ours, reference)| ours / reference)
            .collect()
    }

    fn line(&self) -> String {
        let mut ratios = self.ratios();
        ratios.sort_by(f64::total_cmp);
        let ratio = median(&ratios);
        let result = if ratio <= self.reach {
            "reached"
        } else {
            "SHORT"
        };
        format!(
            "{:<18} {:>12.0} {:>12.0}  {:>6.2} [{:.2} .. {:.2}]  reach {:<6} {result:<8} {} {}",
            self.name,
            median(&self.ours_ns),
            median(&self.ref_ns),
            ratio,
            ratios.first().unwrap_or(&f64::NAN),
            ratios.last().unwrap_or(&f64::NAN),
            self.reach,
            self.reference,
            self.note
        )
    }

    fn json(&self) -> String {
        let list: Vec<String> = self
            .ratios()
            .iter()
            .map(|ratio| format!("{ratio:.4}"))
            .collect();
        format!(
            "{{\"name\": {:?}, \"ours_ns\": {:.1}, \"ref\": {:?}, \"ref_ns\": {:.1}, \"ratio\": {:.4}, \"ratios\": [{}], \"n\": {}, \"bytes_value\": {}, \"note\": {:?}}}",
            self.name,
            median(&self.ours_ns),
            self.reference,
            median(&self.ref_ns),
            median(&self.ratios()),
            list.join(", "),
            self.n,
            self.bytes_value,
            self.note
        )
    }
}

/// The heading of the table.
pub fn heading() -> String {
    let columns = ["row", "ours ns", "ref ns", "ratio"];
    format!(
        "{:<18} {:>12} {:>12}  {:>6} [spread]",
        columns[0], columns[1], columns[2], columns[3]
    )
}

/// All rows as a JSON list.
pub fn json(rows: &[Row]) -> String {
    let mut out = String::from("[\n");
    for (at, row) in rows.iter().enumerate() {
        let comma = if at + 1 < rows.len() { "," } else { "" };
        let _ = writeln!(out, "  {}{comma}", row.json());
    }
    out + "]\n"
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// How long `work` took.
pub fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}
