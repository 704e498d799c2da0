//! Random scripts in the language of the cases.

use crate::model::Model;
use crate::script;
use libkv_test_support::dice::Dice;

/// The number of steps of a script. Each script begins with an empty store.
pub const SCRIPT_STEPS: usize = 400;

fn pick<'l>(dice: &mut Dice, list: &[&'l str]) -> &'l str {
    list[dice.below(list.len() as u64) as usize]
}

/// Writes a script. It follows the revisions of the model.
struct Writer {
    dice: Dice,
    /// The current revision, from which past, compacted and future revisions are chosen.
    revision: u64,
    compacted: u64,
    reopens: bool,
    /// An alarm is active; a later step disarms it.
    alarmed: bool,
}

const KEYS: [&str; 12] = [
    "a",
    "b",
    "c",
    "d",
    "aa",
    "ab",
    "b\\00",
    "b\\ff",
    "c\\00\\00",
    "\\ff",
    "\\00",
    "dd",
];

impl Writer {
    fn key(&mut self) -> &'static str {
        // a few keys are used often, so that they get many versions
        if self.dice.one_in(2) {
            pick(&mut self.dice, &KEYS[..3])
        } else {
            pick(&mut self.dice, &KEYS)
        }
    }

    fn value(&mut self) -> String {
        match self.dice.below(12) {
            0 => "_".into(),
            1 => format!("*{}", 1_020 + self.dice.below(9)),
            2 => format!("*{}", 2_000 + self.dice.below(6_000)),
            _ => format!("v{}", self.dice.below(1_000)),
        }
    }

    fn range(&mut self) -> String {
        match self.dice.below(8) {
            0 => "\\00,\\00".into(),
            1 => format!("{},\\00", self.key()),
            2 => self.key().into(),
            _ => format!("{},{}", self.key(), self.key()),
        }
    }

    fn past(&mut self) -> i64 {
        match self.dice.below(20) {
            0 => -1,
            1 => (self.revision + self.dice.below(3)) as i64,
            2 => self.compacted as i64 - self.dice.below(3) as i64,
            3..6 => self.compacted as i64,
            _ => {
                (self.compacted + self.dice.below((self.revision - self.compacted).max(1) + 1))
                    as i64
            }
        }
    }

    fn put(&mut self) -> String {
        let mut put = format!("put {} {}", self.key(), self.value());
        for option in ["prev_kv", "ignore_value", "ignore_lease"] {
            if self.dice.one_in(if option == "prev_kv" { 3 } else { 25 }) {
                put += &format!(" {option}");
            }
        }
        if self.dice.one_in(6) {
            put += &format!(" lease={}", self.lease());
        }
        put
    }

    fn lease(&mut self) -> &'static str {
        pick(&mut self.dice, &["1", "2", "3", "-4"])
    }

    /// TTLs are much longer than the run of a script: only `advance` lets a lease expire.
    fn lease_step(&mut self) -> String {
        match self.dice.below(12) {
            0..4 => format!(
                "lease_grant {} id={}",
                60 + self.dice.below(4) * 20,
                self.lease()
            ),
            4 => format!("lease_revoke {}", self.lease()),
            5 | 6 => format!("keep_alive {}", self.lease()),
            7 => format!("time_to_live {} keys", self.lease()),
            8 => "lease_list".into(),
            9 => format!("revision_at {}", self.dice.below(6_000) as i64 - 100),
            _ => format!("advance {}", self.dice.below(5) * 20),
        }
    }

    fn delete(&mut self) -> String {
        let range = if self.dice.one_in(3) {
            self.range()
        } else {
            self.key().into()
        };
        format!(
            "delete {range}{}",
            if self.dice.one_in(2) { " prev_kv" } else { "" }
        )
    }

    fn read(&mut self) -> String {
        let mut range = format!("range {}", self.range());
        if self.dice.one_in(2) {
            range += &format!(" revision={}", self.past());
        }
        if self.dice.one_in(3) {
            range += &format!(" limit={}", self.dice.below(6) as i64 - 1);
        }
        if self.dice.one_in(4) {
            range += &format!(
                " target={}",
                pick(
                    &mut self.dice,
                    &["key", "version", "create", "mod", "value"]
                )
            );
        }
        if self.dice.one_in(4) {
            range += &format!(
                " order={}",
                pick(&mut self.dice, &["none", "ascend", "descend"])
            );
        }
        for filter in ["min_mod", "max_mod", "min_create", "max_create"] {
            if self.dice.one_in(10) {
                range += &format!(" {filter}={}", self.past());
            }
        }
        for flag in ["keys_only", "count_only"] {
            if self.dice.one_in(8) {
                range += &format!(" {flag}");
            }
        }
        range
    }

    fn txn(&mut self, depth: u64) -> String {
        let mut txn = String::from("txn");
        for _ in 0..self.dice.below(3) {
            let target = pick(
                &mut self.dice,
                &["version", "create", "mod", "value", "lease"],
            );
            let operand = match target {
                "value" => self.value(),
                "version" => self.dice.below(4).to_string(),
                "lease" => pick(&mut self.dice, &["0", "1", "2"]).into(),
                _ => self.past().to_string(),
            };
            let result = pick(&mut self.dice, &["==", "!=", ">", "<"]);
            let range = if self.dice.one_in(3) {
                self.range()
            } else {
                self.key().into()
            };
            txn += &format!(" if {target} {result} {operand} {range} ;");
        }
        for list in ["then", "else"] {
            txn += &format!(" {list}");
            for _ in 0..self.dice.below(4) {
                let op = match self.dice.below(8) {
                    0..4 => self.put(),
                    4 | 5 => self.delete(),
                    6 if depth > 0 => self.txn(depth - 1),
                    _ => self.read(),
                };
                txn += &format!(" {op} ;");
            }
        }
        txn + " end"
    }

    /// One alarm at a time: etcd with two alarms loses one. No CORRUPT alarm: under it leases
    /// expire late.
    fn alarm_step(&mut self) -> String {
        self.alarmed = !self.alarmed;
        let member = self.dice.below(3);
        if self.alarmed {
            format!("alarm_activate NOSPACE member={member}")
        } else {
            "alarm_disarm".into()
        }
    }

    fn step(&mut self) -> String {
        if self.alarmed && self.dice.one_in(5) {
            return self.alarm_step();
        }
        match self.dice.below(113) {
            112 if !self.alarmed => self.alarm_step(),
            112 => "alarm_list".into(),
            100.. => self.lease_step(),
            0..35 => self.put(),
            35..45 => self.delete(),
            45..60 => self.read(),
            60..75 => self.txn(2),
            // seldom far ahead: a compaction removes revisions that the other steps read
            75 => format!(
                "compact {}{}",
                self.compacted + self.dice.below(40),
                if self.dice.one_in(2) { " physical" } else { "" }
            ),
            76 => format!("compact {}", self.past()),
            77 => "check".into(),
            78..82 => format!("get {} revision={}", self.key(), self.past()),
            82..85 => format!("get_into {} {}", self.key(), self.dice.below(1_500)),
            85..88 => format!("scan {} revision={}", self.range(), self.past()),
            88..91 => format!("history {} limit={}", self.key(), self.dice.below(4)),
            91..94 => format!("events {} {} {}", self.past(), self.past(), self.range()),
            94..97 => format!("diff {} {} {}", self.past(), self.past(), self.range()),
            97 => "status".into(),
            98 => "check".into(),
            _ if self.reopens => "reopen".into(),
            _ => "check".into(),
        }
    }
}

/// A script of [`SCRIPT_STEPS`] steps, for a store with etcd's limits or libkv's.
pub fn write_script(dice: Dice, etcd_limits: bool) -> Vec<String> {
    let mut writer = Writer {
        dice,
        revision: 1,
        compacted: 0,
        reopens: true,
        alarmed: false,
    };
    let mut model = Model::new(etcd_limits);
    let mut lines = Vec::new();
    for _ in 0..SCRIPT_STEPS {
        let line = writer.step();
        model.run(&script::parse(&line).expect("a valid step"));
        let (revision, compacted) = model.revisions();
        (writer.revision, writer.compacted) = (revision as u64, compacted.max(0) as u64);
        lines.push(line);
    }
    lines
}

/// A file of cases in the format of `cases/`: scripts with the responses of the model.
pub fn write_cases(seed: u64, scripts: u64) -> String {
    let mut file = String::new();
    for number in 0..scripts {
        file += &format!("case random script {number} of SEED={seed}\n");
        let mut model = Model::new(true);
        for line in write_script(Dice(seed.wrapping_add(number)), true) {
            let response = model.run(&script::parse(&line).expect("a valid step"));
            file += &format!("  {line}\n= {response}\n");
        }
        file.push('\n');
    }
    file
}
