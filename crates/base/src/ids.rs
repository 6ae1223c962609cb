//! Distinct types for distinct numbers, so that a layer cannot be passed where an expert is meant.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// The id as an index into a slice.
            #[must_use]
            pub const fn idx(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Index of a token in the model's vocabulary.
    TokenId(u32)
);
id!(
    /// Position of a token in its sequence, from 0.
    Pos(u32)
);
id!(
    /// Index of a decoder layer, from 0.
    LayerIdx(u32)
);
id!(
    /// Index of a routed expert within its layer.
    ExpertId(u32)
);
id!(
    /// Index of a KV block in the pool of blocks.
    BlockId(u32)
);
