//! Who takes entries out of a bundle while it is examined.

use super::BundleError;
use super::index::Entry;

/// Takes entries out of a bundle while it is examined at L3.
pub trait EntrySink {
    /// What taking may fail with.
    type Error: From<BundleError>;

    /// An entry begins; its content follows.
    ///
    /// # Errors
    /// The sink's own.
    fn begin(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// More of the entry's content.
    ///
    /// # Errors
    /// The sink's own.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The entry is complete and its digest is right. Not called for a damaged entry.
    ///
    /// # Errors
    /// The sink's own.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Takes nothing.
#[derive(Debug)]
pub struct Nowhere;

impl EntrySink for Nowhere {
    type Error = BundleError;
    fn begin(&mut self, _: &Entry) -> Result<(), BundleError> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> Result<(), BundleError> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}
