//! JSON that passes through a builder unread.

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

/// A json or jsonb value, an array or a composite, as JSON text.
///
/// In a document that derives `Serialize` it stands as it is, every digit of its numbers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub &'a str);

impl Json<'_> {
    /// The value, read.
    ///
    /// # Errors
    /// When it does not fit `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> crate::Result<T> {
        Ok(serde_json::from_str(self.0)?)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
