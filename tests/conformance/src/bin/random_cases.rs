//! Prints random scripts as a file of cases, with the responses of the model: `random_cases SEED
//! SCRIPTS`. The suites of other languages run it like any other file of cases.

use libkv_conformance::random;

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Result<Vec<u64>, _> = words.iter().map(|word| word.parse()).collect();
    match numbers.as_deref() {
        Ok(&[seed, scripts]) => {
            print!("{}", random::write_cases(seed, scripts));
            Ok(())
        }
        _ => Err("usage: random_cases SEED SCRIPTS".into()),
    }
}
