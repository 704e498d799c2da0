//! What libkv must do: [`model`] is the judge, [`script`] the language of the cases,
//! [`driver`] what can execute a step.

pub mod driver;
pub mod follow;
pub mod gateway;
pub mod model;
pub mod programs;
pub mod random;
pub mod script;
