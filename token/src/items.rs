//! A list of names without a vector: what an identity's `audiences` or `scopes` borrow.

#[cfg(feature = "alloc")]
use alloc::string::String;

/// Names that lie in one string, or in the key set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Items<'a> {
    /// Names in one string with this between them; empty ones don't count.
    Text(&'a str, char),
    /// Names that the operator wrote.
    #[cfg(feature = "alloc")]
    Owned(&'a [String]),
}

impl<'a> Items<'a> {
    pub(crate) const NONE: Self = Self::Text("", '\0');

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        #[cfg(feature = "alloc")]
        let (text, separator, owned) = match *self {
            Self::Text(text, separator) => (text, separator, &[][..]),
            Self::Owned(owned) => ("", '\0', owned),
        };
        #[cfg(not(feature = "alloc"))]
        let Self::Text(text, separator) = *self;

        let names = text.split(separator).filter(|name| !name.is_empty());
        #[cfg(feature = "alloc")]
        let names = names.chain(owned.iter().map(String::as_str));
        names
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn contains(&self, wanted: &str) -> bool {
        self.iter().any(|name| name == wanted)
    }
}
