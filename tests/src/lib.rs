//! What libkv must do, told once: [`model`] is the judge, [`script`] the language of the cases,
//! [`driver`] whoever can be asked.

pub mod dice;
pub mod driver;
pub mod follow;
pub mod model;
pub mod random;
pub mod script;
