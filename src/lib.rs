#![doc = "stub"]
pub mod bundle;
pub mod crypto;
