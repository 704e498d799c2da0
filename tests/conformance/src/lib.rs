//! What libkv must return: [`model`] computes the expected responses, [`script`] is the language of
//! the cases, [`driver`] executes steps.
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
