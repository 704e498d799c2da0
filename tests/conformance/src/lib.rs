//! What libkv must do, told once: [`model`] is the judge, [`script`] the language of the cases,
//! [`driver`] whoever can be asked.

pub mod driver;
pub mod follow;
pub mod gateway;
pub mod model;
pub mod programs;
pub mod random;
pub mod script;
