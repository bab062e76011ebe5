//! Many bytes looked at at once: which of them are equal to something, as the bits of a mask.

use std::num::NonZeroU64;
use std::ops::BitOr;
use wide::u8x16;

/// Bytes in a [`Chunk`].
pub(super) const LEN: usize = 16;

/// Bytes that a mask has bits for.
pub(super) const BLOCK: usize = 64;

/// Sixteen bytes of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk(u8x16);

/// For each byte of a chunk yes or no.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hits(u8x16);

impl Chunk {
    /// The chunk that begins at `at`; `None` if the text ends before it does.
    #[inline]
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        bytes.get(at..)?.first_chunk().map(Self::of)
    }

    #[inline]
    pub(super) fn of(bytes: &[u8; LEN]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// The bytes that are `byte`.
    #[inline]
    pub(super) fn is(self, byte: u8) -> Hits {
        Hits(self.0.simd_eq(u8x16::splat(byte)))
    }

    /// The bytes that are `byte` once bit 5 is set: upper-case letters become lower-case, `[` becomes `{`.
    #[inline]
    pub(super) fn is_folded(self, byte: u8) -> Hits {
        Self(self.0 | u8x16::splat(0x20)).is(byte)
    }

    /// The bytes that are `most` or less.
    #[inline]
    pub(super) fn up_to(self, most: u8) -> Hits {
        Hits(self.0.min(u8x16::splat(most)).simd_eq(self.0))
    }
}

impl Hits {
    /// Bit n is set if byte n is one.
    #[inline]
    pub(super) fn mask(self) -> u64 {
        u64::from(self.0.to_bitmask())
    }
}

/// A mask of a whole block for each thing that `look` looks for.
#[inline]
pub(super) fn masks<const N: usize>(block: &[u8; BLOCK], look: impl Fn(Chunk) -> [Hits; N]) -> [u64; N] {
    let mut masks = [0; N];
    for (i, chunk) in block.as_chunks().0.iter().enumerate() {
        for (mask, hits) in masks.iter_mut().zip(look(Chunk::of(chunk))) {
            *mask |= hits.mask() << (i * LEN);
        }
    }
    masks
}

/// The last bytes of a text as a block that ends in `padding`.
pub(super) fn padded(rest: &[u8], padding: u8) -> [u8; BLOCK] {
    let mut block = [padding; BLOCK];
    if let Some(start) = block.get_mut(..rest.len()) {
        start.copy_from_slice(rest);
    }
    block
}

impl BitOr for Hits {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where the lowest bit of a mask is; 64 if there is none.
#[inline]
pub(super) fn first(mask: u64) -> usize {
    usize::try_from(mask.trailing_zeros()).unwrap_or_default()
}

/// Where the lowest bit of a mask is.
#[inline]
pub(super) fn first_of(mask: NonZeroU64) -> usize {
    usize::try_from(mask.trailing_zeros()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_say_which_bytes(bytes in any::<[u8; LEN]>(), byte in any::<u8>(), most in any::<u8>()) {
            let wanted = |test: &dyn Fn(u8) -> bool| {
                bytes.iter().enumerate().fold(0_u64, |mask, (i, b)| mask | u64::from(test(*b)) << i)
            };
            let chunk = Chunk::at(&bytes, 0).unwrap();
            prop_assert_eq!(chunk.is(byte).mask(), wanted(&|b| b == byte));
            prop_assert_eq!(chunk.up_to(most).mask(), wanted(&|b| b <= most));
            prop_assert_eq!(chunk.is_folded(byte).mask(), wanted(&|b| b | 0x20 == byte));
            prop_assert_eq!((chunk.is(byte) | chunk.up_to(most)).mask(), wanted(&|b| b == byte || b <= most));
            prop_assert_eq!(first(wanted(&|b| b == byte)), bytes.iter().position(|b| *b == byte).unwrap_or(64));
            prop_assert!(Chunk::at(&bytes, 1).is_none());
        }
    }
}
