//! What libkv must do: [`model`] is the judge, [`script`] the language of the cases,
//! [`driver`] what can execute a step.
#![allow(
    clippy::missing_errors_doc,
    reason = "an error of a driver ends the test"
)]

pub mod driver;
pub mod follow;
pub mod gateway;
pub mod model;
pub mod programs;
pub mod random;
pub mod script;
