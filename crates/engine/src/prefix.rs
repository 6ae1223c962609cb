//! Names for prefixes: equal names, equal tokens from the beginning on.
//!
//! A name is a chain of hashes, block by block, so the name of a block's end depends on every token before it and on the salt the
//! chain began with. Two callers with different salts never share a block, nor learn by the time an answer takes what
//! the other has asked. The hash is SHA-256: no one can make two prefixes of one name, not even on purpose.

use sha2::{Digest, Sha256};
use shoal_base::TokenId;

/// The name of a prefix that ends with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixName([u8; 32]);

impl PrefixName {
    /// The name of the empty prefix under `salt`.
    #[must_use]
    pub fn root(salt: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"shoal prefix 1\0");
        hash.update(salt);
        Self(hash.finalize().into())
    }

    /// The name of this prefix with `tokens` after it.
    #[must_use]
    pub fn then(&self, tokens: &[TokenId]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for token in tokens {
            hash.update(token.0.to_le_bytes());
        }
        Self(hash.finalize().into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_depends_on_the_salt_and_on_every_token() {
        let tokens = |ids: &[u32]| ids.iter().map(|&id| TokenId(id)).collect::<Vec<_>>();
        let root = PrefixName::root(b"a");
        assert_ne!(root, PrefixName::root(b"b"));
        assert_eq!(root.then(&tokens(&[1, 2])), root.then(&tokens(&[1, 2])));
        let others = [&[1, 3][..], &[1], &[1, 2, 0], &[2, 1], &[258], &[]];
        for other in others {
            assert_ne!(root.then(&tokens(&[1, 2])), root.then(&tokens(other)), "{other:?}");
        }
        let long = root.then(&tokens(&[1])).then(&tokens(&[2]));
        assert_ne!(long, root.then(&tokens(&[9])).then(&tokens(&[2])), "what came before counts");
    }
}
