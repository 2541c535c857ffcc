//! [`Text`]: a slice of a message that is known to be UTF-8. The one place where that knowledge is used unchecked.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// UTF-8 text inside a shared buffer: cloning it copies nothing, keeping it keeps the buffer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Checks the bytes; `None` if they are not UTF-8.
    pub fn new(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    /// Text that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    pub fn as_str(&self) -> &str {
        // SAFETY: both constructors take nothing but UTF-8, the field is private, and `Bytes` cannot be changed.
        unsafe { checked_earlier(&self.0) }
    }
}

/// The text in bytes that somebody has checked already. Checking twice would cost a second walk over every value.
///
/// # Safety
///
/// The bytes are UTF-8.
pub(super) unsafe fn checked_earlier(bytes: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok(), "text was let in unchecked");
    // SAFETY: the caller's promise.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// Text outside of tuples is a name (of a table, a column, a type, an origin, a prefix), so it may be printed.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_nothing_but_utf_8() {
        assert_eq!(Text::new(Bytes::from_static("Grüße".as_bytes())).as_deref(), Some("Grüße"));
        assert!(Text::new(Bytes::from_static(b"Gr\xfc\xdfe")).is_none());
    }
}
